"""Pictures of descent in function space: gradients at nodes, and trainings on several meshes."""

from typing import TYPE_CHECKING, Any

from refnode.figures import COLOURS, GREY, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_style
def gradients(found: dict[str, Any]) -> "Figure":
    """On a mesh of wide and narrow cells: the coefficients' gradient (times their number), its Riesz representer, and
    dloss/dtheta(t) itself, grey."""
    from matplotlib.figure import Figure

    seen = found["seen"]
    figure = Figure(figsize=(5.6, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.plot(seen["t"], seen["density"], color=GREY, lw=3, label="$\\partial\\ell/\\partial\\theta(t)$")
    ax.plot(seen["mesh"], seen["plain"], "^--", color=COLOURS[1], ms=4, lw=0.8, label="plain, times $m$")
    ax.plot(seen["mesh"], seen["riesz"], "o-", color=COLOURS[0], ms=4, label="Riesz representer")
    ax.set(xlabel="$t$", ylabel="gradient of one entry of $W_1$")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@in_style
def training(found: dict[str, Any]) -> "Figure":
    """The loss through gradient descent of one rate, means over seeds: plain steps slow down with the mesh."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 2.8), layout="constrained")
    ax = figure.subplots()
    for name, curve in found["curves"].items():
        kind, nodes = name.split()
        k = sorted({int(other.split()[1]) for other in found["curves"]}).index(int(nodes))
        label = f"{'Riesz' if kind == 'riesz' else 'plain'}, {nodes} hats"
        ax.plot(curve, ("-", "--", ":")[k], color=COLOURS[0 if kind == "riesz" else 1], label=label)
    ax.set(yscale="log", xlabel="step of training", ylabel="integral loss")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
