"""The scoreboard as a picture: digits against seconds, one panel a problem, one line a configuration."""

import math

COLOURS = {  # Okabe and Ito's palette: told apart by colour-blind readers
    "refnode": "#000000",
    "torchdiffeq": "#0072B2",
    "torchdyn": "#D55E00",
    "torchode": "#009E73",
    "diffrax": "#CC79A7",
    "scipy": "#E69F00",
}
MARKERS = {"discrete": "o", "backsolve": "v", "interpolated": "s", "forward": "^", "differences": "x"}
WORDS = {
    "discrete": "backpropagation through the solver",
    "backsolve": "adjoint, state solved backwards",
    "interpolated": "adjoint, state kept",
    "forward": "forward sensitivities, complex step",
    "differences": "finite differences",
}
COLUMNS = 4


def draw(scores, configurations, about, paths):
    """Write the picture to each of the paths. about: problem -> what it is."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    problems = list(dict.fromkeys(s.problem for s in scores))
    rows, columns = math.ceil(len(problems) / COLUMNS), min(COLUMNS, len(problems))
    size = (1.2 + 3.4 * columns, 1.9 + 2.6 * rows)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, facecolor="white", layout="constrained"
    )
    for axis, problem in zip(axes.flat, problems, strict=False):
        panel(axis, problem, about[problem], [s for s in scores if s.problem == problem], configurations)
    for axis in axes.flat[len(problems) :]:
        axis.set_visible(False)
    figure.supxlabel("CPU seconds of one gradient, one thread, without compilation", fontsize=11)
    figure.supylabel("correct digits of the worst leaf", fontsize=11)
    figure.legend(handles=legend(scores), loc="outside upper center", ncols=6, frameon=False, fontsize=9)
    for path in paths:
        figure.savefig(path, dpi=110, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def panel(axis, problem, about, scores, configurations):
    """One problem: a line for each configuration through its tolerances."""
    for configuration in configurations:
        mine = [s for s in scores if s.configuration == configuration.name and s.outcome == "returned"]
        seconds, digits = [max(s.seconds, 1e-5) for s in mine], [s.lowest for s in mine]
        colour, marker = COLOURS[configuration.library], MARKERS[configuration.kind]
        front = 2 if configuration.library == "refnode" else 3
        axis.plot(seconds, digits, color=colour, marker=marker, markersize=3.6, linewidth=0.8, alpha=0.75, zorder=front)
    axis.set_xscale("log")
    axis.set_ylim(-0.5, 16.5)
    axis.set_yticks(range(0, 17, 4))
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_title(problem, fontsize=10, fontweight="bold", loc="left", pad=14)
    axis.text(0, 1.02, about, transform=axis.transAxes, fontsize=7.5, color="#444444")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def legend(scores):
    """Colours for libraries, then markers for kinds."""
    from matplotlib.lines import Line2D

    libraries = dict.fromkeys(s.configuration.partition(" ")[0] for s in scores)
    colours = [Line2D([], [], color=COLOURS[name], linewidth=3, label=name) for name in libraries]
    grey = {"color": "#555555", "linestyle": "none", "markersize": 6}
    return colours + [Line2D([], [], marker=marker, label=WORDS[kind], **grey) for kind, marker in MARKERS.items()]
