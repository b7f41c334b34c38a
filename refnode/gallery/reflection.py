"""Pictures of the reflection: what every model makes of it, and its error through training."""

from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.figures import COLOURS, GREY, in_style, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_style
def maps(found: dict[str, Any]) -> "Figure":
    """x -> y after training (seed 0) against -x, grey; models that cannot, by theory, in vermilion."""
    figure, axes = panels_of(len(found["seen"]), 1.5, 1.6, columns=5, sharex=True, sharey=True)
    for ax, (name, seen) in zip(axes, found["seen"].items(), strict=True):
        can = found["models"][name]["can"]
        x = np.array(seen["x"])
        ax.plot(x, -x, color=GREY, lw=2.5)
        ax.plot(x, seen["y"], color=COLOURS[0 if can else 1], lw=1.4)
        ax.set_title(name.replace("_", " ") + ("" if can else "\ncannot"), fontsize=9)
    figure.supxlabel("$x$", fontsize=10)
    figure.supylabel("$y$ (grey: $-x$)", fontsize=10)
    return figure


@in_style
def training(found: dict[str, Any]) -> "Figure":
    """The mean squared error through training, means over seeds; dashed what theory allows those that cannot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    ax = figure.subplots()
    counts = {True: 0, False: 0}
    for name, model in found["models"].items():
        k, can = counts[model["can"]], model["can"]
        counts[can] += 1
        style = "-" if can else (0, (1, 1))
        ax.plot(
            model["curve"]["step"], model["curve"]["loss"], ls=style, color=COLOURS[k % 7], label=name.replace("_", " ")
        )
    for bound in sorted(set(found["least"].values())):
        ax.axhline(bound, color="black", lw=0.8, ls="--")
        ax.text(1, bound * 0.96, f"no less by theory: {bound:.2f}", fontsize=8, va="top", ha="right",
                transform=ax.get_yaxis_transform())  # fmt: skip
    ax.set(yscale="log", xlabel="step of training", ylabel="mean squared error")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="dotted: cannot", title_fontsize=8)
    return figure


@in_style
def depths(found: dict[str, Any]) -> "Figure":
    """The learned depths T(x) of the adaptive models; seed 0. Only that of a time-dependent f solves the task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 2.6), layout="constrained")
    ax = figure.subplots()
    words = {"adaptive": "$f(t, z)$, solves it", "adaptive_autonomous": "$f(z)$, cannot"}
    for (name, label), colour, style in zip(words.items(), COLOURS, ("-", "--"), strict=False):
        ax.plot(found["seen"][name]["x"], found["seen"][name]["T"], style, color=colour, label=label)
    ax.set(xlabel="$x$", ylabel="depth $T(x)$")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
