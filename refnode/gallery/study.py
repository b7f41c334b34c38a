"""The picture of the study: how the objectives compare."""

from typing import TYPE_CHECKING, Any

from refnode.figures import COLOURS, in_style, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "at_T": "error at $T$", "half": "error at $T/2$", "path": "error along path", "beyond": "error behind $T$",
    "nfe": "evaluations", "training_nfe": "evaluations in training",
}  # fmt: skip
MARKERS = "o^s"
LEVEL = 0.05


@in_style
def study(found: dict[str, Any]) -> "Figure":
    """Factors of errors and evaluations with 95 % intervals; filled where it is more than chance."""
    from matplotlib.lines import Line2D

    pairs = list(dict.fromkeys((c["a"], c["b"]) for c in found["compared"]))
    tasks = list(dict.fromkeys(c["task"] for c in found["compared"]))
    figure, axes = panels_of(len(pairs), 3.4, 2.2, columns=2, sharey=True)
    names = list(MEASURES)
    for ax, (a, b) in zip(axes, pairs, strict=True):
        ax.axvline(1, color="black", lw=0.8)
        for c in found["compared"]:
            if (c["a"], c["b"]) == (a, b) and c["measure"] in names:
                _factor(ax, c, tasks.index(c["task"]), names.index(c["measure"]))
        ax.set(xscale="log", title=f"{a} / {b}", xlabel="factor (below 1: less)")
        ax.set_yticks(range(len(names)), list(MEASURES.values()))
    axes[0].invert_yaxis()
    handles = [Line2D([], [], ls="", marker=MARKERS[k], color=COLOURS[k], ms=5, label=t) for k, t in enumerate(tasks)]
    title = "filled: more than chance, after the correction for all comparisons"
    figure.legend(handles=handles, loc="outside upper center", ncols=3, title=title, title_fontsize=8)
    return figure


def _factor(ax: Any, compared: dict[str, Any], k: int, row: int) -> None:
    """One factor and its interval: task k in a row."""
    y, colour = row + 0.22 * (k - 1), COLOURS[k]
    ax.plot([compared["low"], compared["high"]], [y, y], color=colour, lw=1)
    fill = colour if compared["p_holm"] < LEVEL else "white"
    ax.plot(compared["mean"], y, MARKERS[k], color=colour, mfc=fill, ms=5)
