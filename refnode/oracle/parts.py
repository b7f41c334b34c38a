"""The gradient of a problem taken apart: what each term of the loss, each path and each jump adds to it.

The costate equation is linear in its sources, so the gradient is the sum of what the sources give alone:

    a' = -(df/dz)^T (a + dl/df) - dl/dz,    dloss/dtheta = int (df/dtheta)^T (a + dl/df) + dl/dtheta dt

A source is silenced by leaving its cotangent out of a vjp; values are left alone, so the path z(t) stays what it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import UnreliableGradient
from refnode.field import Field
from refnode.gradients.interpolating_adjoint import interpolating_adjoint
from refnode.gradients.quadrature_adjoint import quadrature_adjoint
from refnode.loss import Loss, Observations
from refnode.oracle.ladder import reference
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.running import RunningArgs, RunningLoss
from refnode.solver import Solver

SHARP = Solver("dop853", tol=1e-11)

Grads = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Silenced:
    """A running loss without some of its cotangents: `mute` names arguments, or "value"."""

    term: RunningLoss
    mute: tuple[str, ...]

    @property
    def of(self) -> Any:
        """That of the term."""
        return self.term.of

    def factor(self, batch: int) -> float:
        """That of the term."""
        return self.term.factor(batch)

    def check(self, name: str, batch: int, width: int) -> None:
        """That of the term."""
        self.term.check(name, batch, width)

    def value(self, at: RunningArgs) -> Array:
        """(b,)."""
        value = self.term.value(at)
        return np.zeros_like(value) if "value" in self.mute else value

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array:
        """(b,), of the whole term: no part is computed from it."""
        return self.term.jvp(at, d)

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs:
        """Cotangents, those silenced zero."""
        back = self.term.vjp(at, g)
        return back._replace(**{name: np.zeros_like(getattr(back, name)) for name in self.mute if name != "value"})


class SilencedField:
    """A field whose vjp leaves out the cotangent of z or of x."""

    def __init__(self, field: Field, mute: str) -> None:
        self.field, self.mute = field, mute

    def __getattr__(self, name: str) -> Any:
        return getattr(self.field, name)

    def vjp(
        self, t: Array, z: Array, theta: Array, x: Array | None, g: Array
    ) -> tuple[Array, Array, Array, Array | None]:
        """Cotangents, the one silenced zero."""
        g_t, g_z, g_theta, g_x = self.field.vjp(t, z, theta, x, g)
        if self.mute == "z":
            return g_t, np.zeros_like(g_z), g_theta, g_x
        return g_t, g_z, g_theta, None if g_x is None else np.zeros_like(g_x)


@dataclass(frozen=True, eq=False)
class Parts:
    """The truth about a problem and the parts of its gradient, each computed when first asked for, then kept.

    A part is a mapping from leaf names to arrays, all leaves of the problem; their errors are near 1e-10 of the whole.
    """

    problem: Problem

    @cached_property
    def truth(self) -> Truth:
        """The reference gradient."""
        return reference(self.problem)

    @cached_property
    def whole(self) -> Grads:
        """The gradient, computed as the parts are: differences from it cancel what error they share."""
        return self._gradient(self.problem)

    @cached_property
    def terms(self) -> dict[str, Grads]:
        """What each term of the loss adds: "terminal", "observations", "running[0]", ..; all together the gradient."""
        loss, parts = self.problem.loss, {}
        if loss.terminal is not None:
            parts["terminal"] = self._of_loss(Loss(loss.terminal, scale=loss.scale))
        if loss.observations is not None:
            parts["observations"] = self._of_loss(Loss(observations=loss.observations, scale=loss.scale))
        for k, term in enumerate(loss.running):
            parts[f"running[{k}]"] = self._of_loss(Loss(running=term, scale=loss.scale))
        return parts

    @cached_property
    def integral(self) -> Grads:
        """What the running losses add together."""
        return self.total(*(name for name in self.terms if name.startswith("running")))

    @cached_property
    def jumps(self) -> list[Grads]:
        """What each observation adds."""
        loss, parts = self.problem.loss, list[Grads]()
        terms = () if loss.observations is None else zip(loss.observations.times, loss.observations.terms, strict=True)
        for k, (t, term) in enumerate(terms):
            alone = Loss(observations=Observations([t], (term,)), scale=loss.scale)
            grads = self._gradient(replace(self.problem, loss=alone))
            t_obs = np.zeros(self.problem["t_obs"].shape)
            t_obs[k] = grads["t_obs"][0]  # H jumps there only: the costate it sends on is continuous at the others
            parts.append({**grads, "t_obs": t_obs})
        return parts

    @cached_property
    def explicit(self) -> dict[str, Grads]:
        """What the running losses add by one argument alone: "theta", "rate" (dl/df), "z", "x"."""
        return {} if not self.problem.loss.running else {
            name: self._missing(self._silence(name)) for name in ("theta", "rate", "z", "x")
        }  # fmt: skip

    @cached_property
    def theta_integral(self) -> Grads:
        """int (df/dtheta)^T dl/df + dl/dtheta dt: what theta gets from the running losses without any costate."""
        model, loss = self.problem.model, self.problem.loss
        still: Any = replace(model, field=SilencedField(model.field, "z"))
        running = tuple(Silenced(term, ("z",)) for term in loss.running)
        grads = self._gradient(replace(self.problem, model=still, loss=Loss(running=running, scale=loss.scale)))
        return {name: g if name in self.problem.params else np.zeros_like(g) for name, g in self._padded(grads).items()}

    @cached_property
    def control(self) -> Grads:
        """What x gets through the control of the field."""
        model = self.problem.model
        detached: Any = replace(model, field=SilencedField(model.field, "x"))
        return self._missing(replace(self.problem, model=detached))

    @cached_property
    def at_ends(self) -> Grads:
        """l(T) in T and -l(t0) in t0, times the scale: the integrand at the ends of the span."""
        return self._missing(self._silence("value")) if self.problem.loss.running else self.total()

    def total(self, *names: str) -> Grads:
        """The sum of some terms' parts; zero for none."""
        zero = {name: np.zeros(leaf.shape) for name, leaf in self.problem.leaves().items()}
        return {leaf: np.sum([zero[leaf], *(self.terms[name][leaf] for name in names)], axis=0) for leaf in zero}

    def _silence(self, mute: str) -> Problem:
        running = tuple(Silenced(term, (mute,)) for term in self.problem.loss.running)
        return replace(self.problem, loss=replace(self.problem.loss, running=running))

    def _missing(self, variant: Problem) -> Grads:
        """The gradient less that of a variant that lacks something."""
        less = self._gradient(variant)
        return {name: g - less[name] for name, g in self.whole.items()}

    def _of_loss(self, loss: Loss) -> Grads:
        return self._padded(self._gradient(replace(self.problem, loss=loss)))

    def _padded(self, grads: Grads) -> Grads:
        """With zeros for leaves a variant does not have, the observation times."""
        zeros = {name: np.zeros(leaf.shape) for name, leaf in self.problem.leaves().items()}
        return {name: grads.get(name, zero) for name, zero in zeros.items()}

    @staticmethod
    def _gradient(problem: Problem) -> Grads:
        """By the interpolating adjoint; where its steps do not see the parameter integrals, by quadrature."""
        try:
            return interpolating_adjoint(problem, SHARP).grads
        except UnreliableGradient:
            return quadrature_adjoint(problem, SHARP, rtol=1e-9).grads


@lru_cache(maxsize=64)
def parts_of(problem: Problem) -> Parts:
    """The parts of a problem; the last 64 problems are remembered by identity."""
    return Parts(problem)
