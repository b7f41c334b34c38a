"""The least time that a launch can take on a card: instructions of its machine code, or bytes of its arrays.

A multiprocessor begins at most so many instructions of a kind in a clock, and memory moves so many bytes: what is
scarcest bounds the time (see validation/ptx/roofline.py). Clock and multiprocessors are the driver's; the clock is the
highest one, so that a share of the bound is rather too small. In float32 all instructions of an evaluation count, those
on one side of a branch too, where loops are understood; elsewhere (float64, own steps) only multiplications with
weights, which is the looser bound.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.driver import Driver
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_shape import TileShape
from validation.ptx.assemble import assemble
from validation.ptx.roofline import Card, card_of, evaluation, seconds, tile_evaluation, tile_vjp_evaluation

Architecture = tuple[int, int]
STEPS_AT = {"forward": 8, "gradient": 10, "tile_forward": 8, "tile_gradient": 11}      # h (N, ..) among the arguments
ATTEMPTS_AT = 13, 14                                # own: accepted and rejected steps (b,)
PRODUCTS = {"forward": 1, "own": 1, "gradient": 3, "tile_forward": 1, "tile_gradient": 3}    # a vjp has three


def ceiling(driver: Driver) -> Card:
    """A card by its driver."""
    return card_of(driver.name, driver.capability, driver.processors, driver.ghz)


def bound(device: Any, build: Any, shape: Any, arguments: Sequence[Any]) -> float | None:
    """Milliseconds that a launch takes at least, asked after it; None for a kernel that is not listed here."""
    name = build.__name__
    if name not in PRODUCTS:
        return None
    card, batch = ceiling(device.driver), arguments[0].shape[1]
    instructions = counts(build, shape, device.driver.architecture)
    computing = seconds(instructions, card, batch, evaluations(device, name, shape, arguments))
    moving = sum(getattr(a, "nbytes", 0) for a in arguments) / (device.driver.bandwidth * 1e9)
    return 1e3 * max(computing, moving)


def evaluations(device: Any, name: str, shape: Any, arguments: Sequence[Any]) -> float:
    """Of f, or of its vjp, for a trajectory."""
    used = shape.butcher.stages - shape.butcher.fsal
    if name == "own":
        return used * float(np.mean(sum(device.host(arguments[k]) for k in ATTEMPTS_AT)))
    return used * int(arguments[STEPS_AT[name]].shape[0])


@cache
def counts(build: Any, shape: Any, architecture: Architecture) -> Counter[str]:
    """Instructions that an evaluation for 32 trajectories takes."""
    name, tiles = build.__name__, isinstance(shape, TileShape)
    if shape.dtype == "float64" or name == "own":
        useful = sum(i * o for i, o, *_ in shape.layers) if tiles else shape.hidden * (shape.numbers - 1)
        again = name.endswith("gradient") and shape.keep != "stages"
        number = float(useful * (PRODUCTS[name] + again))
        return Counter({"all": number, "FP64" if shape.dtype == "float64" else "FFMA": number})
    if not tiles:
        return evaluation(assemble(ptx(build, shape, architecture)), shape, name == "gradient")
    if name == "tile_forward":
        found = tile_evaluation(assemble(ptx(build, shape, architecture)), shape)
    else:
        kept = replace(shape, keep="stages")
        found = tile_vjp_evaluation(assemble(ptx(build, kept, architecture)), kept)
        if shape.keep != "stages":
            found += tile_evaluation(assemble(ptx(tile_forward, shape, architecture)), shape)
    return Counter({kind: n * shape.threads / shape.rows for kind, n in found.items()})
