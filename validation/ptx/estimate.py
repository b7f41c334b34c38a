"""The table of bounds for the kernels: python -m validation.ptx.estimate [--write]

Compiles them for sm_80 and sm_90 and counts their machine instructions; no card is needed, and none was.
"""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from refnode.kernels.cuda.backsolve import backsolve
from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.shape import Shape
from refnode.kernels.cuda.shared import attempt
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_backsolve import tile_backsolve
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_shared import tile_attempt
from validation.ptx.assemble import assemble
from validation.ptx.counts import instructions, multiplications
from validation.ptx.roofline import A100, H100, clocks, seconds, share_of_peak, tile_stage

PAGE = Path(__file__).resolve().parent.parent / "results" / "gpu_estimate.md"
CARDS = ((A100, (8, 0)), (H100, (9, 0)))
DOPRI5 = Shape("float32", 2, 32, 2, tableau="dopri5")
SHAPES = {
    "forward, RK4": (forward, Shape("float32", 2, 32, 2)),
    "forward, Dopri5": (forward, DOPRI5),
    "gradient, RK4, stages kept": (gradient, Shape("float32", 2, 32, 2, keep="stages")),
    "gradient, RK4, stages run again": (gradient, Shape("float32", 2, 32, 2, keep="states")),
    "backsolve, RK4": (backsolve, Costate("float32", 2, 32, 2)),
    "attempt, Dopri5": (attempt, DOPRI5),
    "attempt of state and costate, Dopri5": (attempt, Costate("float32", 2, 32, 2, tableau="dopri5")),
}
WIDE = {n: TileShape("float32", 2, (n, n, 2)) for n in (64, 128)}
TILES = {
    f"tiles {name}, 2-{n}-{n}-2, RK4": (build, replace(S, keep=keep))
    for name, build, keep in (("forward", tile_forward, "nothing"), ("gradient", tile_gradient, "stages"))
    for n, S in WIDE.items()
} | {
    f"tiles backsolve, 2-{n}-{n}-2, RK4": (tile_backsolve, TileCostate("float32", 2, (n, n, 2))) for n in WIDE
} | {
    "tiles attempt, 2-64-64-2, Dopri5": (tile_attempt, replace(WIDE[64], tableau="dopri5")),
    "tiles attempt of state and costate, 2-64-64-2, Dopri5": (
        tile_attempt, TileCostate("float32", 2, (64, 64, 2), tableau="dopri5")
    ),
}  # fmt: skip
HEAD = """# What the CUDA kernels could do at best

Bounds in float32 with tanh, from the instructions that the assembler of CUDA 13.0 makes of the compiled kernels; rows
above the tiles are for a field 2-32-2. **No card was at hand: nothing here was timed.** Latency, bank conflicts, clocks
under load, memory traffic of tapes and the launch only add to these times; code between branches is counted as if it
were always executed, which errs the other way. An evaluation's clocks are those of a multiprocessor for 32
trajectories, resource by resource; the largest is the bound. `warps` is how many of 64 find room. `of peak` counts
multiplications with weights alone as useful. The last column is the bound for 10^6 trajectories and 100 RK4 steps, or
as many evaluations (400).
Of some 7850 instructions for a 64 x 64 tile's evaluation on an H100, 4352 multiply with weights and 1792 are tanh's.
Written by `python -m validation.ptx.estimate`.

| kernel | card | registers | warps | instructions | issue | FMA | MUFU | shared | of peak | 10^6 x 100 steps |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def rows(name: str, build: Any, shape: Any) -> list[str]:
    """The rows of a kernel, one for each card."""
    lines, flops = [], 2 * multiplications(build, shape)
    for card, architecture in CARDS:
        counts, machine = instructions(build, shape, architecture), assemble(ptx(build, shape, architecture))
        bound, warps = clocks(counts, card), machine.warps(shape.threads, shared=card.memory)
        row = [name, card.name, machine.registers, warps, round(counts["all"])]
        row += [round(bound[key]) for key in ("issue", "FMA", "MUFU", "shared")]
        row += [f"{share_of_peak(counts, card, flops):.0%}", f"{1e3 * seconds(counts, card, 1e6, 400):.0f} ms"]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return lines


DESIGNS = """
## Which design

10^6 trajectories and 400 evaluations of a field 2-n-2 on an H100, RK4, stages kept: bounds of both designs, that of
tiles with every loop counted as if it turned once. Even so it is above that of a thread for each trajectory, which is
what fields of one hidden layer of up to 32 units run on; all others run on tiles.

| n | forward, a thread each | forward, tiles | gradient, a thread each | gradient, tiles |
|---|---|---|---|---|
"""


def design(n: int) -> str:
    """Both designs' bounds for n hidden units."""
    card, architecture = CARDS[1]
    cells = []
    for alone, tiled, keep in ((forward, tile_forward, "nothing"), (gradient, tile_gradient, "stages")):
        counts = instructions(alone, Shape("float32", 2, n, 2, keep=keep), architecture)  # type: ignore[arg-type]
        shape = TileShape("float32", 2, (n, 2), keep=keep)  # type: ignore[arg-type]
        once = tile_stage(assemble(ptx(tiled, shape, architecture)))
        shared = Counter({kind: k * shape.threads / shape.rows for kind, k in once.items()})
        bounds = [1e3 * seconds(found, card, 1e6, 400) for found in (counts, shared)]
        if bounds[0] >= bounds[1]:
            raise ValueError(f"{n} units: a thread each takes {bounds[0]:.1f} ms, tiles {bounds[1]:.1f}")
        cells += [f"{ms:.0f} ms" for ms in bounds]
    return f"| {n} | " + " | ".join(cells) + " |"


def page() -> str:
    """Both tables."""
    bounds = [row for name, kernel in (SHAPES | TILES).items() for row in rows(name, *kernel)]
    return HEAD + "\n".join(bounds) + "\n" + DESIGNS + "\n".join(map(design, (8, 32))) + "\n"


if __name__ == "__main__":
    text = page()
    if "--write" in sys.argv:
        PAGE.write_text(text, "utf-8")
    sys.stdout.write(text)
