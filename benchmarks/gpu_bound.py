"""The least time that a launch can take on a card: instructions of its machine code, or bytes of its arrays.

A multiprocessor begins at most so many instructions of a kind in a clock, and memory moves so many bytes: what is
scarcest bounds the time (see validation/ptx/roofline.py). Clock and multiprocessors are the driver's; the clock is the
highest one, so that a share of the bound is rather too small. In float32 all instructions of an evaluation count, those
on one side of a branch too, where loops are understood; elsewhere (float64, own steps, `rates` and `largest`) only
multiplications with weights, which is the looser bound.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from refnode.kernels.cuda.driver import Driver
from validation.ptx.counts import Architecture, instructions, multiplications
from validation.ptx.roofline import Card, card_of, seconds

STEPS_AT = {                                        # h (N, ..) among the arguments
    "forward": 8, "gradient": 10, "backsolve": 9, "tile_forward": 8, "tile_gradient": 11, "tile_backsolve": 11,
}  # fmt: skip
ATTEMPTS_AT = {"own": (13, 14), "tile_own": (15, 16)}   # accepted and rejected steps (b,)
ONE_STEP, ONE_RATE = ("attempt", "tile_attempt"), ("rates", "tile_rates")
ENDS = ("largest", "tile_largest")                      # evaluate at the ends of steps: count, the last argument


def ceiling(driver: Driver) -> Card:
    """A card by its driver."""
    return card_of(driver.name, driver.capability, driver.processors, driver.ghz)


def bound(device: Any, build: Any, shape: Any, arguments: Sequence[Any]) -> float | None:
    """Milliseconds that a launch takes at least, asked after it; None for a kernel that is not listed here."""
    name = build.__name__
    if name not in (*STEPS_AT, *ONE_STEP, *ONE_RATE, *ENDS, *ATTEMPTS_AT):
        return None
    card, batch = ceiling(device.driver), arguments[0].shape[-1]
    found = counts(build, shape, device.driver.architecture)
    computing = seconds(found, card, batch, evaluations(device, name, shape, arguments))
    moving = sum(getattr(a, "nbytes", 0) for a in arguments) / (device.driver.bandwidth * 1e9)
    return 1e3 * max(computing, moving)


def evaluations(device: Any, name: str, shape: Any, arguments: Sequence[Any]) -> float:
    """Of f, of its vjp, or of both, for a trajectory."""
    used = shape.butcher.stages - (shape.butcher.fsal and not getattr(shape, "estimates", False))
    if name in (*ONE_STEP, *ONE_RATE):
        return 1 if name in ONE_RATE else used
    if name in ENDS:
        return 1 + float(np.mean(device.host(arguments[-1])))
    if name in ATTEMPTS_AT:
        return used * float(np.mean(sum(device.host(arguments[k]) for k in ATTEMPTS_AT[name])))
    return used * int(arguments[STEPS_AT[name]].shape[0])


@cache
def counts(build: Any, shape: Any, architecture: Architecture) -> Counter[str]:
    """Instructions that an evaluation for 32 trajectories takes."""
    if shape.dtype == "float32" and build.__name__ not in (*ATTEMPTS_AT, *ONE_RATE, *ENDS):
        return instructions(build, shape, architecture)
    again = build.__name__.endswith("gradient") and shape.keep != "stages"
    number = float(multiplications(build, shape) * (3 + again) / 3)
    return Counter({"all": number, "FP64" if shape.dtype == "float64" else "FFMA": number})
