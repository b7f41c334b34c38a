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
from validation.ptx.roofline import Turns, evaluation, tile_evaluation, tile_vjp_evaluation

Architecture = tuple[int, int]


def multiplications(build: Any, shape: Any) -> int:
    """With weights, of a trajectory: f has one product with each, its vjp three, u' of state and costate two."""
    tiles = isinstance(shape, TileShape)
    weights = sum(i * o for i, o, *_ in shape.layers) if tiles else shape.hidden * (shape.numbers - 1)
    if build.__name__.endswith(("gradient", "backsolve")):
        return 3 * weights
    return (1 + isinstance(shape, Costate | TileCostate)) * weights


def turns(build: Any, shape: Any) -> Turns:
    """What the kernel's loops go over.

    `rates` evaluates once, `largest` once for each step; `attempt` takes one step, `own` many. In these two the first
    stage of an FSAL tableau is the last one of the step before, and sweeps have no vjp of it; `forward` runs it again.
    """
    name = build.__name__.removeprefix("tile_")
    if name in ("rates", "largest"):
        return Turns(name == "largest", False, 1)
    kept = shape.butcher.fsal and name in ("gradient", "backsolve", "attempt", "own")
    return Turns(name != "attempt", True, shape.butcher.stages - kept)


def instructions(build: Any, shape: Any, architecture: Architecture) -> Counter[str]:
    """For 32 trajectories; in a tile they are shared by its threads."""
    name, turn = build.__name__, turns(build, shape)
    if not isinstance(shape, TileShape):
        return evaluation(assemble(ptx(build, shape, architecture)), shape, turn)
    kept = replace(shape, keep="stages") if name == "tile_gradient" else shape
    machine = assemble(ptx(build, kept, architecture))
    if name == "tile_gradient" or isinstance(shape, TileCostate):
        found = tile_vjp_evaluation(machine, kept)
    else:
        found = tile_evaluation(machine, shape, turn)
    if shape != kept:  # stages are run again
        found += tile_evaluation(assemble(ptx(tile_forward, shape, architecture)), shape, turns(tile_forward, shape))
    return Counter({kind: n * shape.threads / shape.rows for kind, n in found.items()})
