"""Pictures of tracking: ways to t = 5, and the distance to the signal along them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.figure_data import Snapshots, ThetaCurves
from refnode.figures import COLOURS, GREY, draw_field, draw_theta, in_style, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {
    "right_period": "basis of period 1", "wrong_period": "basis of period 1.4", "time": "$f(t, z)$", "plain": "$f(z)$"
}  # fmt: skip


@in_style
def paths(found: dict[str, Any]) -> "Figure":
    """z_1(t) of eight starts to t = 5, the signal grey; trained on the white part; seed 0."""
    figure, axes = panels_of(len(found["seen"]), 3.4, 1.5, columns=2, sharex=True, sharey=True)
    for ax, (name, seen) in zip(axes, found["seen"].items(), strict=True):
        t = np.array(seen["t"])
        ax.axvspan(1, t[-1], color="0.94", lw=0)
        ax.plot(t, np.cos(2 * np.pi * t), color=GREY, lw=3)
        ax.plot(t, np.array(seen["z"])[..., 0], color=COLOURS[0], lw=0.6)
        ax.set_title(NAMES[name])
        ax.set_ylim(-2.5, 2.5)
    figure.supxlabel("$t$ (trained on $[0, 1]$)", fontsize=10)
    figure.supylabel("$z_1$ (grey: signal)", fontsize=10)
    return figure


@in_style
def distance(found: dict[str, Any]) -> "Figure":
    """The mean squared distance to the signal against t, geometric means over the seeds with their 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(1, 5, color="0.94", lw=0)
    for (name, band), colour, style in zip(found["distance"].items(), COLOURS, ("-", "--", "-.", ":"), strict=False):
        mean, low, high = band
        t = np.linspace(0, found["far"], len(mean))
        ax.plot(t, mean, style, color=colour, label=NAMES[name])
        ax.fill_between(t, low, high, color=colour, alpha=0.25, lw=0)
    ax.set(yscale="log", xlabel="$t$ (trained on $[0, 1]$)", ylabel="mean squared distance", xlim=(0, 5))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def theta(found: dict[str, Any]) -> "Figure":
    """theta(t) of the basis with the signal's period, twelve entries of each leaf at most; seed 0."""
    seen = found["seen"]["right_period"]["theta"]
    arrays = {name: np.array(values, dtype=float) for name, values in seen["leaves"].items()}
    leaves = {name: values.reshape(len(values), -1)[:, :12] for name, values in arrays.items()}
    return draw_theta(ThetaCurves(seen["axis"], np.array(seen["at"]), leaves, np.zeros(0), np.zeros(0)))


def field(found: dict[str, Any]) -> "Figure":
    """Its field over the plane at four depths, with eight samples on their ways; seed 0."""
    seen = found["seen"]["right_period"]["field"]
    arrays = {name: np.array(values, dtype=float) for name, values in seen.items()}
    return draw_field(Snapshots(("1", "2"), sample=None, **arrays))
