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
    layout = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained", "facecolor": "white"}
    figure, axes = pyplot.subplots(rows, columns, figsize=(1.0 + 3.3 * columns, 2.0 + 2.5 * rows), **layout)
    for axis, problem in zip(axes.flat, problems, strict=False):
        panel(axis, problem, about[problem], [s for s in scores if s.problem == problem], configurations)
    for axis in axes.flat[len(problems) :]:
        axis.set_visible(False)
    figure.supxlabel("CPU seconds of one gradient, one thread, without compilation", fontsize=11)
    figure.supylabel("correct digits of the worst leaf among parameters and inputs", fontsize=11)
    for handles, place in zip(legends(scores), ("outside upper left", "outside upper right"), strict=True):
        figure.legend(handles=handles, loc=place, ncols=3, frameon=False, fontsize=9)
    for path in paths:
        figure.savefig(path, dpi=110, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def panel(axis, problem, about, scores, configurations):
    """One problem: a line for each configuration through its tolerances."""
    for configuration in configurations:
        mine = [s for s in scores if s.configuration == configuration.name and s.outcome == "returned"]
        points = [(s.seconds, s.digits[s.worst()]) for s in mine]
        faint = configuration.kind == "differences" or configuration.library == "refnode"
        style = {"linewidth": 0.8, "markersize": 3.4, "alpha": 0.4 if faint else 0.8, "zorder": 2 if faint else 3}
        style |= {"color": COLOURS[configuration.library], "marker": MARKERS[configuration.kind]}
        axis.plot([p[0] for p in points], [p[1] for p in points], **style)
    axis.axhspan(-1, 1, color="#f3dcdc", linewidth=0, zorder=0)
    axis.set_xscale("log")
    axis.set_ylim(-0.8, 14.5)
    axis.set_yticks(range(0, 15, 2))
    axis.tick_params(labelsize=8)
    axis.grid(color="#e2e2e2", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.set_title(problem, fontsize=10, fontweight="bold", loc="left", pad=14)
    axis.text(0, 1.02, about, transform=axis.transAxes, fontsize=7.5, color="#444444")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def legends(scores):
    """Colours for libraries; markers for kinds, and the band where a returned gradient has no digit."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    libraries = dict.fromkeys(s.configuration.partition(" ")[0] for s in scores)
    colours = [Line2D([], [], color=COLOURS[name], linewidth=3, label=name) for name in libraries]
    grey = {"color": "#555555", "linestyle": "none", "markersize": 6}
    kinds = [Line2D([], [], marker=marker, label=WORDS[kind], **grey) for kind, marker in MARKERS.items()]
    return colours, [*kinds, Patch(color="#f3dcdc", label="returned, and wrong")]
