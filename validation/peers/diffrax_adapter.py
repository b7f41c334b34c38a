"""diffrax's gradients of a refnode problem: RecursiveCheckpointAdjoint, BacksolveAdjoint and ForwardMode.

The batch is one state, and the running loss one more component of it. BacksolveAdjoint gives no gradient of times. The
tolerance is an argument of the compiled function, so each problem is compiled once for all of them; rtol = atol = tol.
"""

from functools import lru_cache

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from validation.peers.jax_problem import JaxProblem
from validation.peers.support import LIMIT

TIMES = ("t0", "T", "t_obs")


@lru_cache(maxsize=4)
def compiled(problem, adjoint, solver):
    """The gradient as a compiled function of the leaves and the tolerance."""
    mine = JaxProblem(problem)
    alone = adjoint is diffrax.BacksolveAdjoint and not mine.rescaled  # it has no gradient of the times it is given
    fixed = {name: mine.leaves[name] for name in TIMES if alone and name in mine.leaves}

    def loss(free, tol):
        leaves, controller = free | fixed, diffrax.PIDController(rtol=tol, atol=tol)
        y = mine.solve(leaves, lambda *given: solve(*given, adjoint(), solver(), controller))
        return mine.loss(leaves, y)

    free = {name: leaf for name, leaf in mine.leaves.items() if name not in fixed}
    differentiate = jax.jacfwd if adjoint is diffrax.ForwardMode else jax.grad
    return jax.jit(differentiate(loss)), free


def solve(field, start, times, leaves, adjoint, solver, controller):
    """y (K + 2, b, d + r) at the times."""
    ends, between = (times[0], times[-1]), len(times) > 2
    save = diffrax.SaveAt(ts=jnp.stack(times[1:])) if between else diffrax.SaveAt(t1=True)
    options = {"saveat": save, "stepsize_controller": controller, "adjoint": adjoint, "max_steps": LIMIT}
    solution = diffrax.diffeqsolve(diffrax.ODETerm(field), solver, *ends, None, start, leaves, **options)
    return jnp.concatenate([start[None], solution.ys])


def _gradient(problem, tol, adjoint, solver):
    function, free = compiled(problem, adjoint, solver)
    grads = {name: np.asarray(leaf) for name, leaf in function(free, jnp.asarray(tol)).items()}
    assert all(leaf.dtype == np.float64 for leaf in grads.values()), "a gradient is not float64"
    return grads


def checkpoint_tsit5(problem, tol):
    """RecursiveCheckpointAdjoint, backpropagation through the solver, with Tsit5."""
    return _gradient(problem, tol, diffrax.RecursiveCheckpointAdjoint, diffrax.Tsit5)


def checkpoint_dopri8(problem, tol):
    """RecursiveCheckpointAdjoint with Dopri8."""
    return _gradient(problem, tol, diffrax.RecursiveCheckpointAdjoint, diffrax.Dopri8)


def backsolve_tsit5(problem, tol):
    """BacksolveAdjoint with Tsit5, forwards and backwards."""
    return _gradient(problem, tol, diffrax.BacksolveAdjoint, diffrax.Tsit5)


def backsolve_dopri8(problem, tol):
    """BacksolveAdjoint with Dopri8, forwards and backwards."""
    return _gradient(problem, tol, diffrax.BacksolveAdjoint, diffrax.Dopri8)


def forward_tsit5(problem, tol):
    """ForwardMode with Tsit5: tangents of all leaves through the solver."""
    return _gradient(problem, tol, diffrax.ForwardMode, diffrax.Tsit5)


def forward_dopri8(problem, tol):
    """ForwardMode with Dopri8."""
    return _gradient(problem, tol, diffrax.ForwardMode, diffrax.Dopri8)
