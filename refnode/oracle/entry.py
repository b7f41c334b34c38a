"""What a catalogue entry is, and how its numbers are drawn: from fixed seeds, the same on every machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from refnode.arrays import Array
from refnode.loss import Loss, SquaredError
from refnode.model import Model
from refnode.problem import Problem

BATCH = 3
GRAIN = 2.0**-30  # of coefficients from least squares, whose last bits each machine rounds in its own way


@dataclass(frozen=True)
class Claim:
    """What a method promises on a problem.

    word      "delivers": at least `digits`, or -log10(tol) - 2 if that is None; "refuses": raises a NumericalError;
              "known-bad": returns at least `digits`, but fewer than it would have to deliver
    because   why it is not the usual promise
    """

    word: Literal["delivers", "refuses", "known-bad"] = "delivers"
    digits: float | None = None
    because: str = ""


@dataclass(frozen=True, eq=False)
class Entry:
    """A catalogue problem: its name, what it is for, the problem, and the claims that differ from the usual one.

    faint    leaves whose gradient is so much smaller than the others' that a tolerance relative to the largest costate
             does not see it: they are held to the scale of the largest leaf, not to their own
    """

    name: str
    about: str
    problem: Problem
    claims: Mapping[str, Claim] = field(default_factory=dict)
    faint: tuple[str, ...] = ()

    def claim(self, method: str) -> Claim:
        """What the method claims here."""
        return self.claims.get(method, Claim())


def normal(shape: tuple[int, ...], seed: int) -> Array:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def draw_params(model: Model, seed: int) -> dict[str, Array]:
    """Random weights; biases that are not zero; coefficients of theta(t) that let it vary; edges that are not even."""
    rng = np.random.default_rng(seed)
    params = model.init(rng)
    for name, leaf in params.items():
        if name.rpartition(".")[2].startswith("b"):
            params[name] = 0.3 * rng.standard_normal(leaf.shape)
        elif name.startswith("alpha."):
            params[name] = np.round(leaf / GRAIN) * GRAIN + 0.3 * rng.standard_normal(leaf.shape)
        elif name == "edges":
            params[name] = leaf * np.sqrt(np.sqrt(leaf))  # no power: roots round the same on every machine
    return params


def terminal(seed: int, width: int = 2) -> Loss:
    """A squared error against random targets."""
    return Loss(SquaredError(normal((BATCH, width), seed)))


def drawn_problem(model: Model, seed: int, loss: Loss | None = None, **leaves: Array) -> Problem:
    """A model with random parameters, inputs of width 2 and targets, some leaves of theta given."""
    params = draw_params(model, seed) | {f"theta.{name}": leaf for name, leaf in leaves.items()}
    return Problem(model, params, normal((BATCH, 2), seed + 1), loss or terminal(seed + 2))
