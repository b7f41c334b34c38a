"""Pictures of gradient methods as training engines."""

from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.figures import COLOURS, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_style
def engines(found: dict[str, Any]) -> "Figure":
    """Loss, evaluations a step and the gradient's error through training; dashed: loose tol. Means over the trainings
    that went to their end, of errors over those that still went on; the legend says how many stopped."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    axes = figure.subplots(1, 3)
    methods = list(dict.fromkeys(e["method"] for e in found["engines"].values()))
    tols = sorted({e["tol"] for e in found["engines"].values()})
    for engine in found["engines"].values():
        colour, style = COLOURS[methods.index(engine["method"])], "-" if engine["tol"] == tols[0] else "--"
        curve, label = engine["curve"], f"{engine['method']}, tol {engine['tol']:g}"
        if engine["stopped"]:
            label += f" ({len(engine['stopped'])} of {engine['seeds']} stopped)"
        at = found["stride"] * np.arange(1, len(engine["log10_error"]) + 1)
        axes[2].plot(at, 10.0 ** np.array(engine["log10_error"], dtype=float), style, color=colour, label=label)
        if curve is not None:  # else every training stopped
            axes[0].plot(curve["step"], curve["loss"], style, color=colour)
            axes[1].plot(curve["step"], np.add(curve["nfe"], curve["nfe_backward"]), style, color=colour)
    for ax, label in zip(axes, ("loss", "evaluations a step", "error of the gradient"), strict=True):
        ax.set(xlabel="step of training", ylabel=label, yscale="log")
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
