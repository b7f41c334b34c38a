"""The table of bounds for the kernels: python -m validation.ptx.estimate [--write]

Compiles them for sm_80 and sm_90 and counts their machine instructions; no card is needed, and none was.
"""

import sys
from pathlib import Path

from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.shape import THREADS, Shape
from validation.ptx.assemble import assemble
from validation.ptx.roofline import A100, H100, clocks, evaluation, seconds, share_of_peak

PAGE = Path(__file__).resolve().parent.parent / "results" / "gpu_estimate.md"
SHAPES = {
    "forward, RK4": (forward, Shape("float32", 2, 32, 2)),
    "forward, Dopri5": (forward, Shape("float32", 2, 32, 2, tableau="dopri5")),
    "gradient, RK4, stages kept": (gradient, Shape("float32", 2, 32, 2, keep="stages")),
    "gradient, RK4, stages run again": (gradient, Shape("float32", 2, 32, 2, keep="states")),
}
HEAD = """# What the CUDA kernels could do at best

Bounds for a field 2-32-2 with tanh in float32, from the instructions that the assembler of CUDA 13.0 makes of the
compiled kernels. **No card was at hand: nothing here was timed.** Latency, bank conflicts, clocks under load, memory
traffic of tapes and the launch only add to these times. An evaluation's clocks are those of a multiprocessor for 32
trajectories; the largest of them is the bound. `warps` is how many of the 64 find room. The last column is the bound
for 10^6 trajectories and 100 RK4 steps, or as many evaluations (400). Written by `python -m validation.ptx.estimate`.

| kernel | card | registers | warps | instructions | issue | FMA | MUFU | shared | of fp32 peak | 10^6 x 100 steps |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def row(name: str) -> str:
    """The rows of a kernel: one for each card."""
    build, shape = SHAPES[name]
    weights = shape.hidden * (shape.numbers - 1)
    flops = 2 * weights * (1 if build is forward else 3)                 # f; its vjp and the weight gradient beside it
    lines = []
    for card, architecture in ((A100, (8, 0)), (H100, (9, 0))):
        machine = assemble(ptx(build, shape, architecture))
        counts = evaluation(machine, shape, build is gradient)
        bound, warps = clocks(counts, card), machine.warps(THREADS)
        cells = [name, card.name, machine.registers, warps, round(counts["all"])]
        cells += [round(bound[key]) for key in ("issue", "FMA", "MUFU", "shared")]
        cells += [f"{share_of_peak(counts, card, flops):.0%}", f"{1e3 * seconds(counts, card, 1e6, 400):.0f} ms"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def page() -> str:
    """The whole table."""
    return HEAD + "\n".join(row(name) for name in SHAPES) + "\n"


if __name__ == "__main__":
    text = page()
    if "--write" in sys.argv:
        PAGE.write_text(text, "utf-8")
    sys.stdout.write(text)
