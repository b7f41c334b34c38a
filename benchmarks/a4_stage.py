"""A4: where the time of a gradient goes: one stage of a tile of 32 samples, piece by piece.

    python -m benchmarks.a4_stage [--short]

Task B, RK4 on 1,024 samples by one thread, divided by its stages and tiles, beside what its pieces take alone, again
and again on numbers that stay in the cache: the products of hidden layers and their weights' gradient, which is what
A3's bound consists of together with the activations; those of the thin layers that lead in and out; sums for the
biases; and all that depends on no width, which a network with hidden layers of one neuron shows. What is left is
waiting for the tape, which is longer than the caches.
"""

import sys
from typing import Any

import numba
import numpy as np

import refnode as rn
from benchmarks import tasks
from benchmarks.a3_bound import activation_costs, repeated, seconds
from benchmarks.children import ask
from benchmarks.of_refnode import end
from benchmarks.script import Data, main
from refnode.kernels.products import add_row_sums, products
from refnode.kernels.tape import LARGE as TILE
from refnode.kernels.workspace import aligned

WIDTH, THIN, STAGES = 64, 2, 4  # of hidden layers and of the state; stages whose weights' gradients make one product
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")  # Okabe and Ito's


def measure(short: bool) -> Data:
    """Forward and backward, in both precisions."""
    return {"dtypes": {dtype: ask("a4_stage:on", threads=1, dtype=dtype, short=short) for dtype in tasks.DTYPES}}


def on(dtype: str, short: bool) -> dict[str, dict[str, float]]:
    """Nanoseconds of a stage's pieces, and of the whole, forwards and backwards."""
    least = 0.001 if short else 0.05
    alone = pieces(np.dtype(dtype).type, least)
    forward, backward = stage(tasks.problem(256 if short else 1024), dtype, least)
    bare_forward, bare_backward = stage(one_neuron(256 if short else 1024), dtype, least)
    return {
        "forward": {
            "products of hidden layers": alone["hidden"], "activations": 2 * alone["tanh"],
            "thin layers": alone["into"] + alone["out of"], "whatever the width": bare_forward, "all": forward,
        },
        "backward": {
            "products of hidden layers": alone["hidden"], "their weights' gradient": alone["weights"],
            "activations": 2 * alone["slope"],
            "thin layers": sum(alone[name] for name in ("back into", "back out of", "weights into", "weights out of")),
            "biases": 2 * alone["bias"], "whatever the width": bare_backward, "all": backward,
        },
    }  # fmt: skip


def one_neuron(batch: int) -> rn.Problem:
    """Task B's problem with hidden layers of one neuron."""
    wide, model = tasks.problem(batch), rn.NeuralODE(rn.MLP(2, 1, 1, 2))
    return rn.Problem(model, model.init(np.random.default_rng(0)), wide.x, wide.loss)


def stage(problem: rn.Problem, dtype: str, least: float) -> tuple[float, float]:
    """Nanoseconds of one stage of one tile, forwards and backwards, in RK4 with 40 steps."""
    count = 40 * 4 * problem.batch / TILE

    def gradient() -> Any:
        return rn.gradient(problem, "discrete", tasks.WORK, backend="cpu", dtype=dtype)

    forward = seconds(repeated(lambda: end(problem, tasks.WORK, dtype)), 5, least)
    return 1e9 * forward / count, 1e9 * (seconds(repeated(gradient), 5, least) - forward) / count


@numba.njit(error_model="numpy")
def _product(count, C, ldc, S, lds, A, row_step, k_step, B, ldb, M, N, K, Q, apart):
    for _ in range(count):
        products(C, 0, ldc, S, 0, lds, A, 0, row_step, k_step, B, 0, ldb, M, N, K, Q, apart, apart)


@numba.njit(error_model="numpy")
def _sums(count, C, B, N, K):
    for _ in range(count):
        add_row_sums(C, 0, B, 0, N, N, K, 1, 0)


def pieces(dtype: type, least: float) -> dict[str, float]:
    """Nanoseconds of each piece, for a tile."""
    rng = np.random.default_rng(0)
    stages, tile = STAGES * TILE * WIDTH, TILE * WIDTH
    A, B, C, S, h, start = (aligned(size, dtype) for size in (stages, stages, stages, WIDTH, tile, tile))
    for a in (A, B, C, S, h, start):
        a[:] = rng.uniform(-0.5, 0.5, a.size)
    w, s, apart = WIDTH, THIN, TILE * WIDTH
    tanh, slope = activation_costs(h, A[:tile], start, least)

    def of(ldc: int, lds: int, A_steps: tuple[int, int], ldb: int, sizes: tuple[int, int, int], Q: int = 1) -> float:
        bias = S if lds == 0 else C
        call = (C, ldc, bias, lds, A, *A_steps, B, ldb, *sizes, Q, apart)
        return 1e9 * seconds(lambda n: _product(n, *call), 20, least) / Q

    return {
        "hidden": of(w, 0, (w, 1), w, (TILE, w, w)), "weights": of(w, w, (1, w), w, (w, w, TILE)),
        "into": of(w, 0, (s, 1), w, (TILE, w, s)), "out of": of(s, 0, (w, 1), s, (TILE, s, w)),
        "back out of": of(w, -1, (s, 1), w, (TILE, w, s)), "back into": of(s, -1, (w, 1), s, (TILE, s, w)),
        "weights into": of(w, w, (1, s), w, (s, w, TILE), STAGES),
        "weights out of": of(s, s, (1, w), s, (w, s, TILE), STAGES),
        "bias": 1e9 * seconds(lambda n: _sums(n, C, B, w, TILE), 20, least), "tanh": 1e9 * tanh, "slope": 1e9 * slope,
    }  # fmt: skip


def page(data: Data) -> str:
    """A table for each precision and direction."""
    lines = []
    for dtype, directions in data["dtypes"].items():
        for direction, found in directions.items():
            lines += [f"### {direction}, {dtype}", "", "| piece | ns | share |", "|---|---|---|"]
            lines += [f"| {name} | {ns:.0f} | {ns / found['all']:.0%} |" for name, ns in whole(found).items()]
            lines += [f"| a stage of a tile | {found['all']:.0f} | |", ""]
    return "\n".join(lines)


def whole(found: dict[str, float]) -> dict[str, float]:
    """The pieces, and what is left of all."""
    alone = {name: ns for name, ns in found.items() if name != "all"}
    return alone | {"the rest: the tape's way through the caches": found["all"] - sum(alone.values())}


def draw(data: Data, figure: Any) -> None:
    """A bar of pieces for each precision and direction."""
    panel, rows = figure.subplots(), [
        (f"{direction}, {dtype}", whole(found))
        for dtype, directions in data["dtypes"].items() for direction, found in directions.items()
    ]  # fmt: skip
    names = list(dict.fromkeys(name for _, found in rows for name in found))
    for at, (_, found) in enumerate(rows):
        left = 0.0
        for name, ns in found.items():
            panel.barh(at, max(ns, 0.0) / 1e3, left=left, color=COLOURS[names.index(name) % len(COLOURS)])
            left += max(ns, 0.0) / 1e3
    panel.set_yticks(range(len(rows)), [title for title, _ in rows])
    panel.set_xlabel("microseconds for a stage of a tile of 32 samples")
    for k, name in enumerate(names):
        panel.barh(0, 0, color=COLOURS[k % len(COLOURS)], label=name)
    panel.legend(fontsize=8)


if __name__ == "__main__":
    sys.exit(main("a4_stage", __doc__, measure, page, draw))
