"""The scoreboard as a picture: digits against seconds, one panel a problem, one line a configuration."""

import math
from dataclasses import replace

from validation.board.scores import BLOWN, STOPPED, TIMES, blown, word, wrong_leaves

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
FEW = ("mild", "theta_running", "observations", "backwards", "contracting", "cycle")
MANY = 24  # problems: more of them stand in four columns
RED, BAND = "#a01818", "#f3dcdc"
SMALL, ROW, LEGEND = 7.5, 2.6, 0.95  # points; inches a row of panels and the legends are high


def few(board):
    """The board with the problems of the smaller picture only."""
    return replace(
        board,
        problems={name: about for name, about in board.problems.items() if name in FEW},
        scores=[s for s in board.scores if s.problem in FEW],
    )


def draw(board, configurations, paths):
    """Write the picture to each of the paths."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    problems = list(board.problems)
    columns = min(3 if len(problems) <= MANY else 4, max(1, len(problems)))
    rows = max(1, math.ceil(len(problems) / columns))
    height = LEGEND + 0.5 + ROW * rows
    figure = pyplot.figure(figsize=(max(9.5, 0.7 + 3.3 * columns), height), layout="constrained", facecolor="white")
    top, below = figure.subfigures(2, 1, height_ratios=(LEGEND, height - LEGEND))
    for place, handles in zip((0.78, 0.3), legends(board.scores), strict=True):
        style = {"ncols": len(handles), "frameon": False, "fontsize": 8.5, "columnspacing": 1.3, "handletextpad": 0.5}
        top.legend(handles=handles, loc="center", bbox_to_anchor=(0.5, place), **style)
    axes = below.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis, problem in zip(axes.flat, problems, strict=False):
        mine = {name: scores for (where, name), scores in board.cells().items() if where == problem}
        panel(axis, problem, board.problems[problem]["about"], mine, configurations)
    for axis in axes.flat[len(problems) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, len(problems) - columns) : len(problems)]:
        axis.tick_params(labelbottom=True)
    words = "CPU seconds of one gradient (one thread, without compilation); a point for each tolerance"
    below.supxlabel(words, fontsize=10)
    below.supylabel("correct digits, worst leaf of parameters and inputs", fontsize=10)
    for path in paths:
        write(figure, path)
    pyplot.close(figure)


def write(figure, path):
    """One file. A PNG has a palette of 128 colours: a third of the bytes, and nothing that the eye misses."""
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None)
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            reduced = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        reduced.save(path, optimize=True)


def panel(axis, problem, about, mine, configurations):
    """One problem: a line for each configuration through its tolerances, and what cannot be drawn in words."""
    axis.axhspan(-9, 1, color=BAND, linewidth=0, zorder=0)
    for configuration in configurations:
        returned = [s for s in mine.get(configuration.name, []) if s.outcome == "returned"]
        faint = configuration.kind == "differences"
        style = {"linewidth": 0.9, "markersize": 3.6, "alpha": 0.35 if faint else 0.8, "zorder": 2 if faint else 3}
        style |= {"color": COLOURS[configuration.library], "marker": MARKERS[configuration.kind]}
        axis.plot([s.seconds for s in returned], [s.digits[s.worst()] for s in returned], **style)
    axis.text(0.98, 0.025, wrong_words(mine), transform=axis.transAxes, fontsize=SMALL, color=RED, ha="right")
    axis.set_xscale("log")
    axis.set_ylim(-2.2, 16.4)
    axis.set_yticks(range(0, 17, 2))
    axis.tick_params(labelsize=8)
    axis.grid(color="#e2e2e2", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.set_title(problem, fontsize=10, fontweight="bold", loc="left", pad=14)
    axis.text(0, 1.02, about, transform=axis.transAxes, fontsize=SMALL, color="#444444")
    right = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}  # on the line of the title
    axis.annotate(refusals(mine), (1, 1), (0, 14), fontsize=SMALL, color="#444444", **right)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def wrong_words(mine):
    """How many gradients are wrong, how far they go, and how many only in t0, T or an observation time."""
    wrong = [[s for s in scores if s.outcome == "returned"] for scores in mine.values() if word(scores) == "wrong"]
    most = max((blown(returned) for returned in wrong), default=0.0)
    times = "" if most <= BLOWN else ", NaN or infinite" if math.isinf(most) else f", up to {most:.0e} times the truth"
    only = sum(blown(returned) <= BLOWN and set(wrong_leaves(returned[-1])) <= set(TIMES) for returned in wrong)
    said = [f"{len(wrong) - only} wrong{times}"] if len(wrong) > only else []
    return "; ".join(said + ([f"{only} in times only" if said else f"{only} wrong in times only"] if only else []))


def refusals(mine):
    """How many configurations returned nothing at one tolerance or more."""
    stopped = sum(any(s.outcome in STOPPED for s in scores) for scores in mine.values())
    words = "raises or times out" if stopped == 1 else "raise or time out"
    return f"{stopped} {words}" if stopped else ""


def legends(scores):
    """Colours for libraries; markers for kinds, and the band where a returned gradient has no digit."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    libraries = dict.fromkeys(s.configuration.partition(" ")[0] for s in scores)
    colours = [Line2D([], [], color=COLOURS[name], linewidth=3, label=name) for name in libraries]
    grey = {"color": "#555555", "linestyle": "none", "markersize": 6}
    kinds = [Line2D([], [], marker=marker, label=WORDS[kind], **grey) for kind, marker in MARKERS.items()]
    return [*colours, Patch(color=BAND, label="returned without an exception, not one digit right")], kinds
