"""The picture of the study: how the objectives compare."""

from typing import TYPE_CHECKING, Any

from refnode.figures import COLOURS, in_style, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {"at_T": "at $T$", "half": "at $T/2$", "path": "along path", "beyond": "behind $T$", "nfe": "evaluations",
            "training_nfe": "those in training"}  # fmt: skip
LEVEL = 0.05


@in_style
def study(found: dict[str, Any]) -> "Figure":
    """Factors of errors and evaluations with 95 % intervals; filled where it is more than chance."""
    pairs = list(dict.fromkeys((c["a"], c["b"]) for c in found["compared"]))
    tasks = list(dict.fromkeys(c["task"] for c in found["compared"]))
    figure, axes = panels_of(len(pairs), 3.4, 2.2, columns=2, sharey=True)
    names = list(MEASURES)
    for ax, (a, b) in zip(axes, pairs, strict=True):
        ax.axvline(1, color="black", lw=0.8)
        for c in found["compared"]:
            if (c["a"], c["b"]) == (a, b) and c["measure"] in names:
                k = tasks.index(c["task"])
                y = names.index(c["measure"]) + 0.22 * (k - 1)
                ax.plot([c["low"], c["high"]], [y, y], color=COLOURS[k], lw=1)
                fill = COLOURS[k] if c["p_holm"] < LEVEL else "white"
                ax.plot(
                    c["mean"],
                    y,
                    "o^s"[k],
                    color=COLOURS[k],
                    mfc=fill,
                    ms=5,
                    label=c["task"] if c["measure"] == "at_T" else "",
                )
        ax.set(xscale="log", title=f"{a} / {b}", xlabel="factor (below 1: less)")
        ax.set_yticks(range(len(names)), list(MEASURES.values()))
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    shown = [(h, w) for h, w in zip(handles, labels, strict=True) if w]
    title = "filled: more than chance, after the correction for all comparisons"
    figure.legend(*zip(*shown, strict=True), loc="outside upper center", ncols=3, title=title, title_fontsize=8)
    return figure
