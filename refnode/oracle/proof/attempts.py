"""A proof to a number of digits: attempts with more coefficients and precision until the radii are small enough."""

from dataclasses import dataclass
from math import ceil, log10
from typing import Any

import numpy as np
from flint import arb, ctx

from refnode.errors import NotEnoughDigits
from refnode.oracle.proof.decimals import decimal_leaf
from refnode.oracle.proof.dynamics import refuse
from refnode.oracle.proof.gathered import Balls
from refnode.oracle.proof.sample import Contribution, contributions
from refnode.oracle.proof.trajectory import Effort
from refnode.oracle.truth import Truth
from refnode.problem import Problem

GUARD = 4  # digits that the first attempt works with beyond those asked for
ATTEMPTS = 6
MOST = 100  # digits; bounds are float64, in which 1e-100 x 1e-100 still has its digits
FIXED = 25.0  # cost of a step's operations beside series products, in those of one unit with 30 terms
Which = tuple[bool, bool]


@dataclass(frozen=True, eq=False)
class Proof:
    """What an attempt gave: for every asked-for pair (points, integral), each sample's contribution."""

    problem: Problem
    effort: Effort
    samples: list[list[Contribution]]  # of samples, of pairs

    def total(self, pair: int) -> tuple[Any, dict[str, Balls]]:
        """Loss and gradient of the batch."""
        with ctx.workprec(self.effort.bits):
            loss, grads = arb(0), self._zeros()
            for i, found in enumerate(self.samples):
                loss = loss + found[pair].loss
                self._add(grads, i, found[pair])
            return loss, grads

    def single(self, i: int, pair: int) -> tuple[Any, dict[str, Balls]]:
        """What one sample adds, in the leaves' shapes."""
        with ctx.workprec(self.effort.bits):
            grads = self._zeros()
            self._add(grads, i, self.samples[i][pair])
            return self.samples[i][pair].loss, grads

    def _zeros(self) -> dict[str, Balls]:
        return {name: np.full(leaf.shape, arb(0), dtype=object) for name, leaf in self.problem.leaves().items()}

    def _add(self, grads: dict[str, Balls], i: int, part: Contribution) -> None:
        for name, g in part.grads.items():
            own = name == "x" or (name in ("t0", "T") and grads[name].ndim == 1)
            index: Any = i if own else Ellipsis
            grads[name][index] = grads[name][index] + g

    def truth(self, balls: tuple[Any, dict[str, Balls]]) -> Truth:
        """Balls as a Truth."""
        loss, grads = balls
        places = ceil(self.effort.bits * log10(2)) + 2
        mids, radii = {}, {}
        for name, leaf in grads.items():
            mids[name], radii[name] = decimal_leaf(leaf, places)
        nearest = {name: np.asarray(mid.astype(np.float64)) for name, mid in mids.items()}
        (mid_loss,), (loss_radius,) = decimal_leaf(np.array([loss], dtype=object), places)
        how = f"ball arithmetic: Taylor series of {self.effort.order} terms, {self.effort.bits} bits"
        return Truth(nearest, radii, "proven", how, mids, mid_loss, float(loss_radius))


def proof(problem: Problem, digits: float, pairs: list[Which], each: bool = False) -> Proof:
    """The first attempt whose gradient has the digits, in every leaf; with `each` of every sample's contribution."""
    refuse(problem)
    working, best, worst = digits + GUARD, -np.inf, ""
    for number in range(ATTEMPTS):
        if working > MOST + 2 * GUARD:
            break
        effort = effort_for(working, hidden_units(problem))
        try:
            found = attempt(problem, pairs, effort, digits - 1 if number == 0 else -np.inf)
            have, worst = least_digits(found, each)
        except NotEnoughDigits as error:
            have, worst = -np.inf, str(error)
        if have >= digits and len(found.samples) == problem.batch:
            return found
        if np.isfinite(have) and have < best + 0.5:
            break
        best = max(best, have)
        working += max(digits - have, 0) + 1 if np.isfinite(have) else working
    has = f"the proof has {best:.1f}, in {worst}" if np.isfinite(best) else worst
    raise NotEnoughDigits(f"{digits:g} digits were asked for; {has}, and more terms and bits do not help")


def effort_for(working: float, units: int) -> Effort:
    """Terms, steps and bits for a number of working digits and of hidden units.

    Steps of 10^(-working / n) of the disc's radius leave what n terms do not have below 10^-working. A step costs some
    operations whose cost does not depend on n, and series products of n^2 multiplications for every unit: where the
    network is small, many terms and long steps are cheaper.
    """
    def cost(n: int) -> float:
        return (FIXED + units * (n / 30) ** 2) * 10 ** (working / n)

    order = min(range(ceil(working), ceil(3 * working) + 4), key=cost)
    return Effort(order, 10 ** (-working / order), ceil(working / log10(2)) + 24)


def hidden_units(problem: Problem) -> int:
    """Rows of the series that a step multiplies: the network's hidden units, and the state."""
    return sum(getattr(problem.model.field, "widths", ())[1:-1]) + problem.model.state_width


def attempt(problem: Problem, pairs: list[Which], effort: Effort, least: float = -np.inf) -> Proof:
    """Every sample's contributions; the first one's alone if that has fewer digits than `least`."""
    with ctx.workprec(effort.bits):
        first = Proof(problem, effort, [contributions(problem, 0, pairs, effort)])
        if least_digits(first)[0] < least:
            return first
        others = [contributions(problem, i, pairs, effort) for i in range(1, problem.batch)]
        return Proof(problem, effort, first.samples + others)


def least_digits(found: Proof, each: bool = False) -> tuple[float, str]:
    """The digits of the leaf that has fewest, of any pair, and its name; with `each` of any sample."""
    have: list[tuple[float, str]] = []
    pairs, batch = range(len(found.samples[0])), range(len(found.samples)) if each else ()
    for balls in [*(found.total(pair) for pair in pairs), *(found.single(i, pair) for i in batch for pair in pairs)]:
        truth = found.truth(balls)
        scale = truth.scales()
        have += [(uncapped(float(np.max(r, initial=0.0)), scale[name]), name) for name, r in truth.radius.items()]
    return min(have)


def uncapped(radius: float, size: float) -> float:
    """-log10(radius / size): what `Truth.digits` gives, without its cap of 16."""
    if radius == 0:
        return np.inf
    return log10(size) - log10(radius) if size > 0 and np.isfinite(radius) else -np.inf
