"""Continuous normalising flows: a Neural ODE that carries data x to the normal distribution, and its densities.

    z' = f(t, z, theta(t)),   z(t0) = x,   z(T) ~ q = N(0, I)
    log p(x) = log q(z(T)) + int_{t0}^{T} tr(df/dz) dt                                                              (3)

The sign: along a path d(log density)/dt = -tr(df/dz), so the density at the start is that at the end plus the integral;
for T < t0 the integral is signed. The negative log-likelihood is an integral loss with the terminal loss -log q and the
running loss l = -tr(df/dz), which depends on z and on theta.

Source   Chen et al. 2018, Theorem 1; Grathwohl et al. 2019; Massaroli et al. 2020, section 6.
"""

from dataclasses import KW_ONLY, InitVar, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refnode.adaptive import AdaptiveDepth
from refnode.api import solve
from refnode.architectures import NeuralODE
from refnode.arrays import Array, count, float64, one_of
from refnode.control import Control
from refnode.depth import Constant, Depth
from refnode.divergence import Divergence, Trace, as_traced
from refnode.dynamics import dynamics_of
from refnode.errors import InvalidArgument, describe
from refnode.field import Field
from refnode.forward import right_hand_side
from refnode.integrate import Statistics, segment_steps
from refnode.loss import Loss, Reduction, StandardNormal
from refnode.maps import Columns
from refnode.model import Model
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver
from refnode.span import Span

WHY_NO_CONTROL_BY_THE_SAMPLE = (
    "the field may not see the sample that it moves: z(T) then depends on x by the control too, and log p(x) needs"
    " log |det(dz(T)/dz(t0) + dz(T)/dcontrol)|, which int tr(df/dz) dt is not. For p(x | c) give condition=width of c"
)


@dataclass(frozen=True)
class CNF:
    """A continuous normalising flow of densities on z (b, d); x is the data, z(T) the base space.

    Parameters
    ----------
    field      f, an MLP of a smooth activation or a field with the methods of `refnode.divergence.Traced`
    span       (t0, T)
    trace      "exact": d tangent passes an evaluation; "hutchinson": as many as there are noises
    theta      how the parameters depend on depth                                                          (4)-(6)
    order      n: the state is n blocks, all of them random, so x is [q, p] for n = 2                        (9)
    condition  the width of c for a conditional density p(x | c): the field sees [z, c]                       (10)
    control    only "none": the field may not see the sample it moves

    >>> from refnode.field import MLP
    >>> flow = CNF(MLP(2, 8, 2, act="softplus"))
    >>> params = flow.init(np.random.default_rng(0))
    >>> flow.log_density(params, np.zeros((3, 2))).shape
    (3,)

    Source   Massaroli et al. 2020, section 6.
    """

    field: Field
    _: KW_ONLY
    span: tuple[float, float] = (0.0, 1.0)
    trace: Trace = "exact"
    theta: Depth = Constant()
    order: int = 1
    condition: int = 0
    control: InitVar[str] = "none"

    def __post_init__(self, control: str) -> None:
        if control != "none":
            raise InvalidArgument("control", describe(control), f"'none': {WHY_NO_CONTROL_BY_THE_SAMPLE}")
        one_of("trace", self.trace, ("exact", "hutchinson"))
        count("condition", self.condition, 0)
        as_traced(self.field)
        if isinstance(self.span, tuple | list) and any(isinstance(end, AdaptiveDepth) for end in self.span):
            allowed = "two numbers: where T depends on x, so does the flow's Jacobian, by a term f dT/dx"
            raise InvalidArgument("span", "an adaptive depth", allowed)
        width = self.model.state_width + self.condition
        if self.field.width_in() not in (None, width):
            was = f"of input width {self.field.width_in()}"
            allowed = f"of input width {width}, that of the state and the condition; {WHY_NO_CONTROL_BY_THE_SAMPLE}"
            raise InvalidArgument("field", was, allowed)

    @cached_property
    def model(self) -> Model:
        """The Neural ODE. Its input is x (b, d), or [x, c] (b, d + condition): c controls the field, x starts it."""
        sample = Columns(0, self.order * self.field.width_out) if self.condition else None
        return NeuralODE(
            self.field, span=self.span, theta=self.theta, h_x=sample, order=self.order, init="full",
            control=self._control,
        )  # fmt: skip

    @property
    def _control(self) -> Control:
        d = self.order * self.field.width_out
        return Columns(d, d + self.condition) if self.condition else "none"

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """Random parameters: every leaf by its full name."""
        return self.model.init(rng)

    def draw_noise(self, rng: np.random.Generator, batch: int, draws: int = 1) -> Array:
        """Signs eps (draws, batch, o) for "hutchinson": of all noises with covariance I those of least variance."""
        _check_rng(rng)
        return rng.choice([-1.0, 1.0], (count("draws", draws), count("batch", batch), self.field.width_out))

    def loss(self, noise: Any = None, reduction: Reduction = "mean") -> Loss:
        """The negative log-likelihood: -log q(z(T)) - int tr(df/dz) dt, averaged or summed over the batch.

        noise (K, b, o) is needed for trace="hutchinson", and stays the same for the whole solve.
        """
        divergence = Divergence(self.field, self._control, self.trace, noise, reduction=reduction)
        return Loss(StandardNormal(reduction=reduction), running=-1.0 * divergence)

    def problem(
        self, params: Any, x: Any, noise: Any = None, condition: Any = None, reduction: Reduction = "mean"
    ) -> Problem:
        """The problem whose loss is the negative log-likelihood of x (b, d), given the condition c (b, condition).

        Its leaf `x` is [x, c].
        """
        return Problem(self.model, params, self._input("x", x, condition), self.loss(noise, reduction))

    def log_density(
        self, params: Any, x: Any, solver: Solver = Solver(), noise: Any = None, condition: Any = None
    ) -> Array:
        """log p(x) or log p(x | c) (b,), to the solver's tolerance; by "hutchinson" an unbiased estimate of it."""
        return -solve(self.problem(params, x, noise, condition, "sum"), solver).loss_per_sample

    def sample(
        self,
        params: Any,
        base: Any,
        solver: Solver = Solver(),
        rng: np.random.Generator | None = None,
        condition: Any = None,
    ) -> Array:
        """Samples of p (b, d): the flow run from T, where the base is normal, back to t0.

        Parameters
        ----------
        params       every leaf by its full name
        base         how many samples, or z(T) (b, d) itself, of which each is carried back to its x
        rng          draws z(T); needed where base is a number
        condition    c (b, condition)
        """
        if not isinstance(solver, Solver):
            raise InvalidArgument("solver", solver, "an rn.Solver, such as rn.Solver('dopri5', tol=1e-8)")
        if isinstance(base, int | np.integer):
            base = _check_rng(rng).standard_normal((count("base", base), self.model.state_width))
        problem = Problem(self.model, params, self._input("base", base, condition), Loss(StandardNormal()))
        return carried_back(problem, problem.x[:, : self.model.state_width], solver)

    def _input(self, name: str, x: Any, condition: Any) -> Array:
        """[x, c] (b, d + condition), checked."""
        x = float64(name, x, (None, self.model.state_width))
        if (condition is None) != (self.condition == 0):
            was = "None" if condition is None else describe(condition)
            allowed = f"an array ({len(x)}, {self.condition})" if self.condition else "None: the flow has condition=0"
            raise InvalidArgument("condition", was, allowed)
        if condition is None:
            return x
        return np.concatenate([x, float64("condition", condition, (len(x), self.condition))], axis=1)


def carried_back(problem: Problem, z_T: Array, solver: Solver) -> Array:
    """z(t0) (b, d) of the solution that ends in z(T) = z_T: the same segments, from last to first."""
    values, z = problem.resolved, z_T
    for i, span in reversed(list(enumerate(segments(problem, values)))):
        rhs = right_hand_side(dynamics_of(problem, i), values)
        for step in segment_steps(rhs, Span(span.end, span.start), values.T - values.t0, z, solver, Statistics()):
            z = step.y_new
    return z


def _check_rng(rng: Any) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise InvalidArgument("rng", rng, "a np.random.Generator, such as np.random.default_rng(0)")
    return rng
