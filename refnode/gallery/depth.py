"""Pictures of descent in function space: gradients at nodes, what steps along them leave, and trainings."""

from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.figures import COLOURS, GREY, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"stages": "nodes at the times of RK4's stages", "hats": "hats on wide and narrow cells"}


@in_style
def gradients(found: dict[str, Any]) -> "Figure":
    """The coefficients' gradient by plain differentiation (times their number), its Riesz representer, and
    dloss/dtheta(t) itself, grey: on even nodes that RK4 weighs 1, 4, 2, .., and on an uneven mesh. Seed 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    for ax, (name, seen) in zip(figure.subplots(1, 2, sharey=True), found["seen"].items(), strict=True):
        ax.plot(seen["t"], seen["density"], color=GREY, lw=3, label="$\\partial\\ell/\\partial\\theta(t)$")
        ax.plot(seen["mesh"], seen["plain"], "^--", color=COLOURS[1], ms=3, lw=0.8, label="plain, times $m$")
        ax.plot(seen["mesh"], seen["riesz"], "o-", color=COLOURS[0], ms=3, lw=0.8, label="Riesz representer")
        ax.set(xlabel="$t$", title=TITLES[name])
    figure.axes[0].set_ylabel("gradient of one entry of $W_1$")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@in_style
def theta(found: dict[str, Any]) -> "Figure":
    """theta(t), one entry of W1, after training along both gradients from the same constant; nodes at the times of
    RK4's stages; seed 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 2.8), layout="constrained")
    ax = figure.subplots()
    styles = {"plain": ("plain steps", "^--", COLOURS[1]), "riesz": ("Riesz steps", "o-", COLOURS[0])}
    for kind, (label, style, colour) in styles.items():
        values = found["theta"][kind]
        ax.plot(np.linspace(0, 1, len(values)), values, style, color=colour, ms=3, lw=0.9, label=label)
    ax.set(xlabel="$t$", ylabel="$\\theta(t)$, one entry of $W_1$")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@in_style
def training(found: dict[str, Any]) -> "Figure":
    """The loss through gradient descent of one rate, means over seeds: plain steps slow down with the mesh."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 2.8), layout="constrained")
    ax = figure.subplots()
    meshes = sorted({int(name.split("_")[1]) for name in found["models"]})
    for name, model in found["models"].items():
        kind, nodes = name.split("_")
        label = f"{'Riesz' if kind == 'riesz' else 'plain'}, {nodes} hats"
        style = ("-", "--", ":")[meshes.index(int(nodes))]
        ax.plot(model["curve"]["step"], model["curve"]["loss"], style, color=COLOURS[int(kind != "riesz")], label=label)
    ax.set(yscale="log", xlabel="step of training", ylabel="integral loss")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
