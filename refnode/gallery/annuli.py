"""Pictures of the annuli: boundaries, trajectories, accuracy and evaluations through training, learned depths."""

from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.figures import COLOURS, in_style, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INNER, OUTER = COLOURS[0], COLOURS[1]


def words(name: str) -> str:
    """A model's name as words."""
    return name.replace("_", " ")


@in_style
def boundaries(found: dict[str, Any]) -> "Figure":
    """yhat over the plane, -1 blue to 1 vermilion, its boundary black, and points of both rings, of seed 0; accuracies
    are means over the seeds."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("sides", [INNER, "white", OUTER])
    axis = np.linspace(-found["side"], found["side"], found["grid"])
    figure, axes = panels_of(len(found["seen"]), 1.5, 1.6, columns=5, sharex=True, sharey=True)
    for ax, (name, seen) in zip(axes, found["seen"].items(), strict=True):
        yhat = np.reshape(seen["yhat"], (len(axis), -1))
        image = ax.contourf(axis, axis, np.clip(yhat, -1.49, 1.49), np.linspace(-1.5, 1.5, 13), cmap=colours)
        if yhat.min() < 0 < yhat.max():
            ax.contour(axis, axis, yhat, [0.0], colors="black", linewidths=0.9)
        _points(ax, np.array(seen["x"]), np.array(seen["label"]))
        accuracy = found["models"][name]["reached"]["accuracy"]["mean_low_high"][0]
        ax.set_title(f"{words(name)}\n{100 * accuracy:.1f} %", fontsize=9)
        ax.set_aspect("equal")
    figure.colorbar(image, ax=axes, shrink=0.5, label="$\\hat y$", ticks=[-1, 0, 1])
    figure.supxlabel("$x_1$", fontsize=10)
    figure.supylabel("$x_2$", fontsize=10)
    return figure


def _points(ax: Any, x: Any, label: Any) -> None:
    for side, marker in ((-1, "o"), (1, "^")):
        at = x[label == side]
        ax.plot(*at.T, marker, ms=2.2, mfc="white", mec="black", mew=0.5)


@in_style
def trajectories(found: dict[str, Any]) -> "Figure":
    """The ways of 20 points through the first two components of z, dots where they end; seed 0."""
    shown = {name: seen for name, seen in found["seen"].items() if len(seen["ways"]) > 1}
    figure, axes = panels_of(len(shown), 1.7, 1.7, columns=4)
    for ax, (name, seen) in zip(axes, shown.items(), strict=True):
        ways, label = np.array(seen["ways"])[:, ::3], np.array(seen["label"])[::3]
        for side, colour, marker in ((-1, INNER, "o"), (1, OUTER, "^")):
            of_side = ways[:, label == side]
            ax.plot(of_side[..., 0], of_side[..., 1], color=colour, lw=0.5, alpha=0.7)
            ax.plot(of_side[-1, :, 0], of_side[-1, :, 1], marker, color=colour, ms=2.5)
        ax.set_title(words(name), fontsize=9)
        ax.set_aspect("equal", "datalim")
    figure.supxlabel("$z_1$", fontsize=10)
    figure.supylabel("$z_2$", fontsize=10)
    _legend(figure)
    return figure


def _legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=INNER, marker="o", ms=3, label="inner ring"),
               Line2D([], [], color=OUTER, marker="^", ms=3, label="outer ring")]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=2)


@in_style
def training(found: dict[str, Any]) -> "Figure":
    """Accuracy of every model, a dot a seed and the mean as a bar; and forward evaluations through training, means."""
    from matplotlib.figure import Figure

    models = found["models"]
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row, (_name, model) in enumerate(models.items()):
        each = 100 * np.array(model["reached"]["accuracy"]["each"])
        left.plot(each, np.full(len(each), row), "o", color=COLOURS[0], ms=3, alpha=0.5)
        left.plot([each.mean()] * 2, [row - 0.35, row + 0.35], color="black", lw=1.5)
    left.set_yticks(range(len(models)), [words(name) for name in models])
    left.invert_yaxis()
    left.set_xlabel("accuracy on new points (%)")
    left.grid(axis="x", lw=0.3)
    styles = ["-", "--", ":", "-."]
    flows = {name: model for name, model in models.items() if not name.endswith("only")}
    for k, (name, model) in enumerate(flows.items()):
        curve = model["curve"]
        right.plot(curve["step"], curve["nfe"], styles[k // 6], color=COLOURS[k % 6], lw=1, label=words(name))
    right.set(xlabel="step of training", ylabel="forward evaluations", yscale="log")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@in_style
def depths(found: dict[str, Any]) -> "Figure":
    """The learned depth T(x) of the adaptive model over the plane, and points of both rings; seed 0."""
    from matplotlib.figure import Figure

    seen = found["seen"]["adaptive"]
    axis = np.linspace(-found["side"], found["side"], found["grid"])
    figure = Figure(figsize=(3.4, 2.8), layout="constrained")
    ax = figure.subplots()
    image = ax.pcolormesh(axis, axis, np.reshape(seen["T"], (len(axis), -1)), cmap="cividis", rasterized=True)
    _points(ax, np.array(seen["x"]), np.array(seen["label"]))
    figure.colorbar(image, label="depth $T(x)$")
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return figure
