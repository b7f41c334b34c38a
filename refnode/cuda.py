"""Solves of states that live on an NVIDIA card, and their vjps: arrays of CuPy, PyTorch, JAX and Numba in place.

    from refnode import cuda

    solution = cuda.solve(problem, solver, z0)          # z0 (b, d) on the card, in place of h_x(x)
    solution.z_T                                        # (b, d) on the card: torch.as_tensor(solution.z_T)
    back = solution.vjp(g)                              # g = dL/dz(T) (b, d) on the card, of a loss of yours
    back.adj_t0, back.grads["theta.W0"]                 # dL/dz(t0) on the card; leaves in NumPy

An array comes by `__cuda_array_interface__` or by DLPack, with any strides, in float32 or float64, which is then the
kernels' precision. It is read where it lies, when the work of its stream is done, and never written. Results have both
protocols and are complete when they are returned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array, one_of
from refnode.backend import choose, why_no_kernels
from refnode.errors import InvalidArgument
from refnode.forward import loss_per_sample
from refnode.gradients.result import Stats, stats_of
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.values import named


@dataclass(frozen=True, eq=False)
class CardGradient:
    """What a solution's vjp gives.

    adj_t0             dL/dz(t0) (b, d), on the card
    grads              leaf name -> gradient, in NumPy's float64. h_x has none, and h_y only that of the problem's loss;
                       x has what comes by a control
    loss_per_sample    (b,), where L is the problem's loss, else None
    """

    adj_t0: Any
    grads: Mapping[str, Array]
    loss_per_sample: Array | None


class CardSolution:
    """z(T) for z0 on a card, and the tape for vjps, which stays there as long as this object.

    z_T    (b, d), on the card, of z0's precision;  stats   Stats
    """

    def __init__(self, whole: Any, store: Any) -> None:
        self._whole, self._store, problem = whole, store, whole.problem
        self.z_T = whole.device.empty((problem.batch, problem.model.state_width), whole.dtype)
        self._parts = whole.parts(store, self.z_T)
        self._forward = whole.forward(self._parts)
        whole.device.driver.synchronize()
        held = sum(tape.nbytes for _, (_, solved) in self._parts for pair in solved.tapes for tape in pair)
        self.stats: Stats = stats_of(problem, self._forward, problem.resolved, 0, held)

    def vjp(self, g: Any) -> CardGradient:
        """The gradient of L, of which g = dL/dz(T) (b, d) on the card; running losses take no part.

        Raises NonFiniteState where the costate overflows, with the samples and what the others gave.
        """
        device = self._whole.device
        device.driver.enter()                           # other libraries go backwards on a thread of their own
        return self._gradient(_state(device, self._whole.problem, "g", g, self.z_T.dtype), None)

    def gradient(self) -> CardGradient:
        """The gradient of the problem's loss, which is computed on the host from states at observation times and T."""
        self._whole.device.driver.enter()
        problem = self._whole.problem
        return self._gradient(None, loss_per_sample(problem, problem.resolved, self._forward.at_bounds))

    def _gradient(self, upstream: Any, losses: Array | None) -> CardGradient:
        from refnode.kernels.cuda.adjoint import differentiated

        whole = self._whole
        adj_t0 = whole.device.empty(self.z_T.shape, self.z_T.dtype)
        grads, _, _ = differentiated(whole, self._parts, self._forward, self._store, upstream=upstream, to=adj_t0)
        whole.device.driver.synchronize()
        unknown = ("h_x.",) if upstream is None else ("h_x.", "h_y.")
        leaves = {name: g for name, g in named(grads, whole.problem).items() if not name.startswith(unknown)}
        return CardGradient(adj_t0, leaves, losses)


def solve(problem: Problem, solver: Solver, z0: Any, *, store: str = "stages") -> CardSolution:
    """Solve from states on a card.

    Parameters
    ----------
    problem    gives the model, its parameters, the span, b, and the control x; z0 takes the place of h_x(x)
    solver     n_steps, or tol with steps="own"
    z0         (b, d) on the card, float32 or float64; unchanged as long as vjps are asked for
    store      for vjps, as for the discrete adjoint: "stages", or "states", whose stages are run again

    Raises
    ------
    InvalidArgument       for an array that is not on the card, or has another shape or dtype
    BackendUnavailable    without a card, or for a problem that its kernels do not take
    NumericalError        as `refnode.solve`, with the status of each sample and the results of those that are done
    """
    from refnode.kernels.cuda import card as cards
    from refnode.kernels.cuda.whole import Whole

    one_of("store", store, ("stages", "states"))
    choose("cuda", "float64", lambda kernels: why_no_kernels(kernels, problem, solver, "discrete", {}))
    card = cards.the_card()
    start = _state(card, problem, "z0", z0, None)
    return CardSolution(Whole(problem, solver, card, start.dtype.type, z0=start).settled(), store)


def _state(card: Any, problem: Problem, name: str, array: Any, dtype: Any) -> Any:
    """An array (b, d) on the card, in place."""
    found, shape = card.here(name, array), (problem.batch, problem.model.state_width)
    if found.shape != shape:
        raise InvalidArgument(name, f"shape {found.shape}", f"of shape {shape}")
    allowed = (np.float32, np.float64) if dtype is None else (dtype,)
    if found.dtype not in allowed:
        raise InvalidArgument(name, f"dtype {found.dtype}", " or ".join(np.dtype(a).name for a in allowed))
    return found
