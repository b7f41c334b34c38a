"""A4: where the time of forward solves and gradients goes, piece by piece.

    python -m benchmarks.a4_profile [--short]

Tasks A to D of benchmarks/tasks.py and a step of A2's training, on one thread. Beside the whole stands what its pieces
take alone, again and again on numbers that stay in the cache, as often as the task's steps need them: the products of
hidden layers and their weights' gradient and the activations, of which A3's bound consists; products of the thin layers
that lead in and out; sums for the biases; and memory as large as the tape, written and read once, or, where tiles take
known steps one after the other, once for each tile. Two pieces are
solves themselves: what depends on no width is what a network with hidden layers of one neuron takes for as many stages;
and what a call takes once, most of it Python, is a call with one such network, one sample and one step. A forward solve
keeps no tape; what a gradient takes beside it, the tape too, is called backward. D's gradient runs its stages again; it
is left out.
"""

import sys
from typing import Any

import numba
import numpy as np

import refnode as rn
from benchmarks import a2_training, tasks
from benchmarks.a3_bound import activation_costs, evaluated, repeated, seconds
from benchmarks.children import ask
from benchmarks.of_refnode import end
from benchmarks.script import Data, main
from benchmarks.tasks import Task
from refnode.kernels.products import products
from refnode.kernels.row_sums import add_row_sums
from refnode.kernels.tape import tile_of
from refnode.kernels.workspace import aligned

THIN = 2  # the state's width
TRAINING = "a step of training on the annuli, 2-32-32-2"
ROWS = 64  # whose weights' gradients make one product, where a step's stages have fewer
COLOURS = (  # Okabe and Ito's
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000", "#999999",
)  # fmt: skip
Pieces = dict[str, float]


def measure(short: bool) -> Data:
    """Every task in a process of its own."""
    return {"of": [ask("a4_profile:on", threads=1, at=at, short=short) for at in range(len(chosen(short)))]}


def chosen(short: bool) -> list[Task]:
    """The tasks."""
    if short:
        return tasks.SHORT + tasks.SHORT_OWN
    training = [Task(TRAINING, 1024, a2_training.SOLVER, dtype) for dtype in tasks.DTYPES]
    return tasks.A + tasks.B + tasks.C + tasks.D + training


def problem_of(task: Task) -> rn.Problem:
    """A task's problem; that of a training step from half-way of A2's training."""
    if task.name != TRAINING:
        return tasks.of(task)
    learner = a2_training.Refnode(a2_training.beginning(), task.dtype, ("discrete", False))
    for k in range(a2_training.STEPS // 2):
        learner.step(*a2_training.data(k))
    return learner.at(*a2_training.data(a2_training.STEPS // 2))


def solver_of(task: Task, problem: rn.Problem) -> rn.Solver:
    """A task's solver; of training that which a gradient of the problem hands on."""
    if task.name != TRAINING:
        return task.solver
    return rn.hand_on(rn.gradient(problem, "discrete", task.solver, backend="cpu", dtype=task.dtype))


def on(at: int, short: bool) -> dict[str, Any]:
    """Microseconds of a task's pieces and of the whole, forwards and backwards."""
    task = chosen(short)[at]
    least, problem = 0.001 if short else 0.05, problem_of(task)
    tile, width = min(task.batch, tile_of(task.batch)), problem.model.field.widths[1]
    alone = pieces(np.dtype(task.dtype).type, tile, width, least)
    narrow, one = one_neuron(problem, task.batch), (one_neuron(problem, 1), rn.Solver("rk4", n_steps=1))
    calls = (problem, solver_of(task, problem)), (narrow, solver_of(task, narrow))
    (stages, vjps, tape), of_narrow = (counts(*call, task, tile) for call in calls)
    once, whole, bare = (taken(*call, task.dtype, least) for call in (one, *calls))
    forward, backward = ((bare[k] - once[k]) / of_narrow[k] for k in (0, 1))
    into, out = alone["back into"] + alone["weights into"], alone["back out of"] + alone["weights out of"]
    found = {"title": task.title, "forward": {
        "products of hidden layers": stages * alone["hidden"], "activations": 2 * stages * alone["tanh"],
        "thin layers": stages * (alone["into"] + alone["out of"]), "whatever the width": stages * forward,
        "once in a call": once[0], "all": whole[0],
    }}  # fmt: skip
    if task.solver.steps != "own":
        found["backward"] = {
            "products of hidden layers": vjps * alone["hidden"], "their weights' gradient": vjps * alone["weights"],
            "activations": 2 * vjps * alone["slope"], "thin layers": vjps * (into + out),
            "biases": 2 * vjps * alone["bias"], "the tape, written and read": there_and_back(*tape, least),
            "whatever the width": vjps * backward, "once in a call": once[1], "all": whole[1],
        }  # fmt: skip
    return found


def counts(problem: rn.Problem, solver: rn.Solver, task: Task, tile: int) -> tuple[float, float, tuple[int, int]]:
    """Stages of tiles that a task's steps evaluate, and vjps of them; bytes of the tape, and how often it is used."""
    dtype: Any = task.dtype
    stats = rn.gradient(problem, "discrete", solver, backend="cpu", dtype=dtype).stats
    evaluations, vjps = evaluated(problem, solver, stats)
    known = solver.n_steps is not None or solver.proposal is not None
    return evaluations / tile, vjps / tile, (stats.peak_bytes, -(-task.batch // tile) if known else 1)


def one_neuron(wide: rn.Problem, batch: int) -> rn.Problem:
    """A problem with hidden layers of one neuron, for so many of the samples, that takes about as many steps."""
    model = rn.NeuralODE(rn.MLP(2, 1, 1, 2), span=(0.0, 20.0))
    params = {name: np.full(shape, 1.5) for name, shape in model.shapes.items()}
    return rn.Problem(model, params, wide.x[:batch], rn.Loss(rn.SquaredError(np.zeros(2), weight=0.5)))


def there_and_back(size: int, times: int, least: float) -> float:
    """Microseconds to write so many bytes and to read them again, so many times."""
    held = np.zeros(max(1, size // 8))

    def write(count: int) -> None:
        for _ in range(count):
            held.fill(1.0)

    def read(count: int) -> None:
        for _ in range(count):
            held @ held

    return 1e6 * times * (seconds(write, 5, least) + seconds(read, 5, least))


def taken(problem: rn.Problem, solver: rn.Solver, dtype: Any, least: float) -> tuple[float, float]:
    """Microseconds of a forward solve, and of what a gradient takes beside it."""

    def gradient() -> Any:
        return rn.gradient(problem, "discrete", solver, backend="cpu", dtype=dtype)

    forward = seconds(repeated(lambda: end(problem, solver, dtype)), 5, least)
    return 1e6 * forward, 1e6 * (seconds(repeated(gradient), 5, least) - forward)


@numba.njit(error_model="numpy")
def _product(count, C, ldc, S, lds, A, row_step, k_step, B, ldb, M, N, K, Q, apart):
    for _ in range(count):
        products(C, 0, ldc, S, 0, lds, A, 0, row_step, k_step, B, 0, ldb, M, N, K, Q, apart, apart)


@numba.njit(error_model="numpy")
def _sums(count, C, B, N, K):
    for _ in range(count):
        add_row_sums(C, 0, B, 0, N, N, K, 1, 0)


def pieces(dtype: type, tile: int, w: int, least: float) -> Pieces:
    """Microseconds of each piece, for a tile of so many samples and hidden layers of w neurons."""
    rng, at_once = np.random.default_rng(0), max(1, ROWS // tile)
    stages, size = max(4, at_once) * tile * w, tile * w
    A, B, C, S, h, start = (aligned(n, dtype) for n in (stages, stages, max(stages, w**2), w, size, size))
    for a in (A, B, C, S, h, start):
        a[:] = rng.uniform(-0.5, 0.5, a.size)
    s, apart = THIN, tile * w
    W = aligned(w * w, dtype)
    W[:] = rng.uniform(-0.5, 0.5, W.size)
    tanh, slope = activation_costs(h, A[:size], start, least)

    def of(
        ldc: int, lds: int, A_steps: tuple[int, int], right: Any, ldb: int, sizes: tuple[int, int, int], Q: int = 1
    ) -> float:
        call = (C, ldc, S if lds == 0 else C, lds, A, *A_steps, right, ldb, *sizes, Q, apart)
        return 1e6 * seconds(lambda n: _product(n, *call), 20, least) / Q

    return {
        "hidden": of(w, 0, (w, 1), W, w, (tile, w, w)), "weights": of(w, w, (1, w), B, w, (w, w, tile), at_once),
        "into": of(w, 0, (s, 1), W, w, (tile, w, s)), "out of": of(s, 0, (w, 1), W, s, (tile, s, w)),
        "back out of": of(w, -1, (s, 1), W, w, (tile, w, s)), "back into": of(s, -1, (w, 1), W, s, (tile, s, w)),
        "weights into": of(w, w, (1, s), B, w, (s, w, tile), at_once),
        "weights out of": of(s, s, (1, w), B, s, (w, s, tile), at_once),
        "bias": 1e6 * seconds(lambda n: _sums(n, C, B, w, tile), 20, least), "tanh": 1e6 * tanh, "slope": 1e6 * slope,
    }  # fmt: skip


def page(data: Data) -> str:
    """A table for each task, forwards and backwards."""
    lines = []
    for found in data["of"]:
        ways = {way: found[way] for way in ("forward", "backward") if way in found}
        lines += [f"### {found['title']}", "", f"| piece | {' | | '.join(f'{way}, us' for way in ways)} | |"]
        lines.append("|---|" + 2 * len(ways) * "---|")
        for name in whole(list(ways.values())[-1]):
            lines.append(f"| {name} | {' | '.join(cells(name, way) for way in ways.values())} |")
        lines += [f"| all | {' | '.join(f'{all_of:.0f} | ' for all_of in (way['all'] for way in ways.values()))} |", ""]
    return "\n".join(lines)


def cells(name: str, way: Pieces) -> str:
    """A piece's microseconds and share of all, if it is one of this way's."""
    us = whole(way).get(name)
    return " | " if us is None else f"{us:.0f} | {us / way['all']:.0%}"


def whole(found: Pieces) -> Pieces:
    """The pieces, and what is left of all."""
    alone = {name: us for name, us in found.items() if name != "all"}
    return alone | {"the rest": found["all"] - sum(alone.values())}


def draw(data: Data, figure: Any) -> None:
    """A bar of shares for each task and direction."""
    panel, rows = figure.subplots(), [
        (f"{way}, {found['title']}", whole(found[way])) for found in data["of"] for way in ("forward", "backward")
        if way in found
    ]  # fmt: skip
    names = list(dict.fromkeys(name for _, found in reversed(rows) for name in found))
    for at, (_, found) in enumerate(reversed(rows)):
        left = 0.0
        for name, us in found.items():
            share = 100 * max(us, 0.0) / sum(max(part, 0.0) for part in found.values())
            panel.barh(at, share, left=left, color=COLOURS[names.index(name) % len(COLOURS)])
            left += share
    panel.set_yticks(range(len(rows)), [title for title, _ in reversed(rows)], fontsize=7)
    panel.set_xlabel("share of the time, %")
    for k, name in enumerate(names):
        panel.barh(0, 0, color=COLOURS[k % len(COLOURS)], label=name)
    panel.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


if __name__ == "__main__":
    sys.exit(main("a4_profile", __doc__, measure, page, draw))
