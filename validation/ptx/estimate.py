"""The table of bounds for the kernels: python -m validation.ptx.estimate [--write]

Compiles them for sm_80 and sm_90 and counts their machine instructions; no card is needed, and none was.
"""

import sys
from collections import Counter
from pathlib import Path

from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.shape import THREADS, Shape
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_shape import TileShape
from validation.ptx.assemble import Machine, assemble
from validation.ptx.roofline import (
    A100,
    H100,
    Card,
    clocks,
    evaluation,
    seconds,
    share_of_peak,
    tile_evaluation,
    tile_vjp_evaluation,
)

PAGE = Path(__file__).resolve().parent.parent / "results" / "gpu_estimate.md"
CARDS = ((A100, (8, 0)), (H100, (9, 0)))
SHAPES = {
    "forward, RK4": (forward, Shape("float32", 2, 32, 2)),
    "forward, Dopri5": (forward, Shape("float32", 2, 32, 2, tableau="dopri5")),
    "gradient, RK4, stages kept": (gradient, Shape("float32", 2, 32, 2, keep="stages")),
    "gradient, RK4, stages run again": (gradient, Shape("float32", 2, 32, 2, keep="states")),
}
TILES = {
    f"tiles {name}, 2-{n}-{n}-2, RK4": (build, TileShape("float32", 2, (n, n, 2), keep=keep))
    for name, build, keep in (("forward", tile_forward, "nothing"), ("gradient", tile_gradient, "stages"))
    for n in (64, 128)
}
HEAD = """# What the CUDA kernels could do at best

Bounds in float32 with tanh, from the instructions that the assembler of CUDA 13.0 makes of the compiled kernels; the
first four are for a field 2-32-2. **No card was at hand: nothing here was timed.** Latency, bank conflicts, clocks
under load, memory traffic of tapes and the launch only add to these times; code between branches is counted as if it
were always executed, which errs the other way. An evaluation's clocks are those of a multiprocessor for 32
trajectories, resource by resource; the largest is the bound. `warps` is how many of 64 find room. `of peak` counts
multiplications with weights alone as useful. The last column is the bound for 10^6 trajectories and 100 RK4 steps, or
as many evaluations (400). A thread for each trajectory is the better design up to 32 units, tiles beyond.
The goal for 64 x 64 tiles, 55 % of the H100's peak, is missed: tanh to 3 ulp takes a fifth of the instructions.
Written by `python -m validation.ptx.estimate`.

| kernel | card | registers | warps | instructions | issue | FMA | MUFU | shared | of peak | 10^6 x 100 steps |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def cells(name: str, card: Card, machine: Machine, counts: Counter[str], threads: int, flops: float) -> str:
    """A row of the table; counts are for 32 trajectories, flops for one."""
    bound, warps = clocks(counts, card), machine.warps(threads, shared=card.memory)
    row = [name, card.name, machine.registers, warps, round(counts["all"])]
    row += [round(bound[key]) for key in ("issue", "FMA", "MUFU", "shared")]
    row += [f"{share_of_peak(counts, card, flops):.0%}", f"{1e3 * seconds(counts, card, 1e6, 400):.0f} ms"]
    return "| " + " | ".join(map(str, row)) + " |"


def small(name: str) -> list[str]:
    """The rows of a kernel with a thread for each trajectory, one for each card."""
    build, shape = SHAPES[name]
    flops = 2 * shape.hidden * (shape.numbers - 1) * (1 if build is forward else 3)     # a vjp is three products
    machines = [(card, assemble(ptx(build, shape, architecture))) for card, architecture in CARDS]
    return [
        cells(name, card, machine, evaluation(machine, shape, build is gradient), THREADS, flops)
        for card, machine in machines
    ]


def wide(name: str) -> list[str]:
    """The rows of tiles, whose threads share the work of `rows` trajectories."""
    (build, shape), lines = TILES[name], []
    counted = tile_evaluation if build is tile_forward else tile_vjp_evaluation
    for card, architecture in CARDS:
        machine = assemble(ptx(build, shape, architecture))
        counts = counted(machine, shape)
        whole = Counter({kind: n * shape.threads / shape.rows for kind, n in counts.items()})
        products = 1 if build is tile_forward else 3    # a vjp runs the layers once more, and has two of each
        flops = 2.0 * products * sum(layer[0] * layer[1] for layer in shape.layers)
        lines.append(cells(name, card, machine, whole, shape.threads, flops))
    return lines


def page() -> str:
    """The whole table."""
    rows = [row for name in SHAPES for row in small(name)] + [row for name in TILES for row in wide(name)]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    text = page()
    if "--write" in sys.argv:
        PAGE.write_text(text, "utf-8")
    sys.stdout.write(text)
