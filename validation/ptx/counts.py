"""Instructions and useful multiplications of an evaluation, by kernel."""

from collections import Counter
from dataclasses import replace
from typing import Any

from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_shape import TileShape
from validation.ptx.assemble import assemble
from validation.ptx.roofline import evaluation, tile_evaluation, tile_vjp_evaluation

Architecture = tuple[int, int]


def multiplications(build: Any, shape: Any) -> int:
    """With weights, of a trajectory: f has one product with each, its vjp three, u' of state and costate two."""
    tiles = isinstance(shape, TileShape)
    weights = sum(i * o for i, o, *_ in shape.layers) if tiles else shape.hidden * (shape.numbers - 1)
    if build.__name__.endswith(("gradient", "backsolve")):
        return 3 * weights
    return (1 + isinstance(shape, Costate | TileCostate)) * weights


def instructions(build: Any, shape: Any, architecture: Architecture) -> Counter[str]:
    """For 32 trajectories; in a tile they are shared by its threads."""
    name, costate = build.__name__, isinstance(shape, Costate | TileCostate)
    steps = not name.endswith("attempt")
    if not isinstance(shape, TileShape):
        machine = assemble(ptx(build, shape, architecture))
        return evaluation(machine, shape, name in ("gradient", "backsolve"), steps)
    kept = replace(shape, keep="stages") if name == "tile_gradient" else shape
    machine = assemble(ptx(build, kept, architecture))
    if name == "tile_gradient" or costate:
        found = tile_vjp_evaluation(machine, kept)
    else:
        found = tile_evaluation(machine, shape, steps)
    if shape != kept:  # stages are run again
        found += tile_evaluation(assemble(ptx(tile_forward, shape, architecture)), shape)
    return Counter({kind: n * shape.threads / shape.rows for kind, n in found.items()})
