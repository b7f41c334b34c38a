"""Pictures of the flows on a ring of Gaussians."""

from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.figures import COLOURS, in_style, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_style
def density(found: dict[str, Any]) -> "Figure":
    """The ring's density, the flow's, samples of the flow, and samples given which Gaussian, a colour each; seed 0."""
    plain, given = found["seen"]["ring"], found["seen"]["ring_given"]
    axis = np.linspace(-found["side"], found["side"], found["grid"])
    figure, axes = panels_of(4, 2.2, 2.6, columns=4, sharex=True, sharey=True)
    for ax, values, title in ((axes[0], plain["truth"], "$p$ of the ring"), (axes[1], plain["p"], "$p$ of the flow")):
        image = ax.pcolormesh(axis, axis, np.reshape(values, (len(axis), -1)), cmap="cividis", rasterized=True,
                              vmin=0, vmax=max(plain["truth"]))  # fmt: skip
        ax.set_title(title)
    figure.colorbar(image, ax=axes[:2], shrink=0.7, label="density")
    axes[2].plot(*np.transpose(plain["samples"]), "o", ms=1.2, color="black")
    axes[2].set_title("samples of the flow")
    samples, which = np.array(given["samples"]), np.array(given["which"])
    for k, marker in enumerate("o^sDvP"):
        axes[3].plot(*samples[which == k].T, marker, ms=1.6, color=COLOURS[k])
    axes[3].set_title("samples, told which")
    for ax in axes:
        ax.set(aspect="equal", xlim=(-3, 3), ylim=(-3, 3), xlabel="$x_1$")
    axes[0].set_ylabel("$x_2$")
    return figure


@in_style
def training(found: dict[str, Any]) -> "Figure":
    """The negative log-likelihood and evaluations through training, means over seeds; dotted: the ring's own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    words = {"ring": "$p(x)$", "ring_given": "$p(x \\mid c)$"}
    for (name, label), colour, style in zip(words.items(), COLOURS, ("-", "--"), strict=False):
        model = found["models"][name]
        left.plot(model["curve"]["step"], model["curve"]["loss"], style, color=colour, label=label)
        left.axhline(model["reached"]["truth"]["mean_low_high"][0], color=colour, ls=":", lw=0.8)
        right.plot(model["curve"]["step"], model["curve"]["nfe"], style, color=colour)
    left.set(xlabel="step of training", ylabel="negative log-likelihood (nats)")
    right.set(xlabel="step of training", ylabel="forward evaluations")
    left.legend(title="dotted: the ring itself", title_fontsize=8)
    return figure
