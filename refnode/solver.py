"""Solver: the numerics of a solve as one frozen value."""

import itertools
from dataclasses import dataclass, field
from typing import Literal

from refnode.arrays import count, one_of, positive
from refnode.errors import InvalidArgument, describe
from refnode.tableau import TABLEAUX, Tableau

Proposal = tuple[tuple[float, ...], ...]
Method = Literal["euler", "midpoint", "heun", "rk4", "rk4_38", "bosh3", "dopri5", "tsit5", "dop853"]


@dataclass(frozen=True, kw_only=True)
class Controller:
    """How the next step follows from the error of this one (err = 1 is just acceptable):

        factor = safety err^-alpha err_previous^beta,   min_factor <= factor <= max_factor

    with alpha = 1/q, beta = 0 for kind "I", and alpha = 0.7/q, beta = 0.4/q for "PI", where the error estimate is
    O(h^q). After a rejection a step does not grow.

    Source   Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4; Hairer, Wanner, Solving ODEs II, sec. IV.2.
    """

    kind: Literal["I", "PI"] = "PI"
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0

    def __post_init__(self) -> None:
        one_of("controller.kind", self.kind, ("I", "PI"))
        if not positive("controller.safety", self.safety) < 1:
            raise InvalidArgument("controller.safety", self.safety, "between 0 and 1")
        if not positive("controller.min_factor", self.min_factor) < 1:
            raise InvalidArgument("controller.min_factor", self.min_factor, "between 0 and 1")
        if not positive("controller.max_factor", self.max_factor) > 1:
            raise InvalidArgument("controller.max_factor", self.max_factor, "above 1")


@dataclass(frozen=True)
class Solver:
    """How to solve: tableau, and either a tolerance (adaptive steps) or a number of steps (fixed steps).

    Parameters
    ----------
    method      a name of `refnode.tableau.TABLEAUX`
    tol         sets rtol and atol; or give those two
    n_steps     fixed steps over the span instead; a segment between break-points gets its share, rounded up
    steps       "shared": one grid for the batch, in fractions of each sample's span; "own": a controller per sample
    norm        of a shared error: "batch", root mean square over all entries; "max", the worst sample's
    controller  Controller
    first_step  size of the first step, |h| in units of t; None: Hairer's estimate
    max_steps   attempted steps in one solve before TooManySteps is raised
    proposal    steps to try first, as fractions 0 < .. < 1 of every segment between break-points (see `rn.hand_on`);
                after a rejection the controller chooses the rest of the segment

    The default tolerance, where none is given, is 1e-8.
    """

    method: Method = "dopri5"
    tol: float | None = None
    rtol: float | None = None
    atol: float | None = None
    n_steps: int | None = None
    steps: Literal["shared", "own"] = "shared"
    norm: Literal["batch", "max"] = "batch"
    controller: Controller = Controller()
    first_step: float | None = None
    max_steps: int = 100_000
    proposal: Proposal | None = field(default=None, repr=False)  # long; and checkpoints know a solver by its repr

    def __post_init__(self) -> None:
        one_of("method", self.method, tuple(TABLEAUX))
        one_of("steps", self.steps, ("shared", "own"))
        one_of("norm", self.norm, ("batch", "max"))
        count("max_steps", self.max_steps)
        if not isinstance(self.controller, Controller):
            raise InvalidArgument("controller", describe(self.controller), "an rn.Controller")
        if self.steps == "own" and self.norm != "batch":
            raise InvalidArgument("norm", f"{self.norm!r} with steps='own'", "left out: every sample has its own error")
        if self.first_step is not None:
            positive("first_step", self.first_step)
        if self.proposal is not None:
            check_proposal(self.proposal)
            if self.n_steps is not None or self.steps == "own":
                raise InvalidArgument("proposal", "one for fixed or own steps", "None: shared adaptive steps take it")
        if self.n_steps is not None:
            self._check_fixed()
        else:
            self._set_tolerances()

    def _check_fixed(self) -> None:
        count("n_steps", self.n_steps)
        given = [n for n in ("tol", "rtol", "atol", "first_step") if getattr(self, n) is not None]
        if given:
            raise InvalidArgument("n_steps", f"n_steps={self.n_steps} beside {given[0]}", "given without a tolerance")
        if self.steps == "own":
            allowed = "'shared' with n_steps: every sample takes n_steps of its own span"
            raise InvalidArgument("steps", self.steps, allowed)

    def _set_tolerances(self) -> None:
        if not self.tableau.adaptive:
            adaptive = ", ".join(name for name, tableau in TABLEAUX.items() if tableau.adaptive)
            was = f"{self.method}, which has no error estimate"
            raise InvalidArgument("method", was, f"one of {adaptive}; or give n_steps")
        if self.tol is not None and (self.rtol, self.atol) not in ((None, None), (self.tol, self.tol)):
            raise InvalidArgument("tol", f"tol={self.tol} beside rtol or atol", "tol alone, or rtol and atol")
        if (self.rtol is None) != (self.atol is None):
            raise InvalidArgument("rtol, atol", f"rtol={self.rtol}, atol={self.atol}", "both given, or neither")
        tol = 1e-8 if self.tol is None else positive("tol", self.tol)
        rtol, atol = (tol, tol) if self.rtol is None else (positive("rtol", self.rtol), positive("atol", self.atol))
        for name, value in (("rtol", rtol), ("atol", atol)):
            object.__setattr__(self, name, value)

    @property
    def tableau(self) -> Tableau:
        """The Butcher tableau."""
        return TABLEAUX[self.method]

    @property
    def adaptive(self) -> bool:
        """Whether steps follow an error estimate."""
        return self.n_steps is None

    @property
    def tolerance(self) -> float | None:
        """max(rtol, atol), or None for fixed steps."""
        return None if self.rtol is None or self.atol is None else max(self.rtol, self.atol)


def check_proposal(proposal: object, name: str = "proposal") -> None:
    """Raise InvalidArgument unless it has the fractions of steps, for one segment or for several."""
    allowed = "a tuple with a tuple of increasing floats from 0.0 to 1.0 for every segment"
    if not isinstance(proposal, tuple) or not proposal:
        raise InvalidArgument(name, describe(proposal), allowed)
    for fractions in proposal:
        if not isinstance(fractions, tuple) or not all(isinstance(s, float) for s in fractions):
            raise InvalidArgument(name, describe(fractions), allowed)
        rising = all(before < after for before, after in itertools.pairwise(fractions))
        if len(fractions) < 2 or (fractions[0], fractions[-1]) != (0.0, 1.0) or not rising:
            raise InvalidArgument(name, fractions, allowed)
