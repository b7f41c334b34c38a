"""Gradients by scipy's solve_ivp on the adjoint system, as one would write it down by hand.

backsolve     state, cotangent and parameter gradient go back together; at every observation the state is reset
interpolated  the state is read off the forward solve's dense output

rtol = atol = tol, forwards and backwards, all components in the error norm.
"""

import numpy as np
from scipy.integrate import solve_ivp

from validation.peers.numpy_problem import NumpyProblem
from validation.peers.support import point_losses


def _gradient(problem, tol, method, backsolve):
    mine, options = NumpyProblem(problem), {"method": method, "rtol": tol, "atol": tol}
    states, dense = _forwards(mine, options)
    points = iter(reversed(point_losses(problem)))
    a, flat = np.zeros(states[0].shape), np.zeros(sum(int(np.prod(shape)) for shape in mine.shapes().values()))
    h_y = {name: np.zeros(leaf.shape) for name, leaf in problem.leaves().items() if name.startswith("h_y.")}
    g_bounds, last = np.zeros(mine.bounds.shape), len(states) - 1
    for k in reversed(range(last + 1)):
        after = mine.hamiltonian(k, 0.0, states[k], a) if k < last else 0.0
        point = next(points) if problem.layout.bounds[k].kind != "break" else None
        if point is not None:
            jump, of_h_y = mine.point_slopes(point, states[k])
            a, h_y = a + jump, {name: leaf + of_h_y[name] for name, leaf in h_y.items()}
        before = mine.hamiltonian(k - 1, 1.0, states[k], a) if k > 0 else 0.0
        g_bounds[k] = before - after
        if k > 0:
            a, flat = _backwards(mine, k - 1, states[k], a, flat, None if backsolve else dense[k - 1], options)
    grads = mine.unflat(flat)
    spans, g_x = mine.span_slopes(g_bounds, (grads.pop("by t0", 0.0), grads.pop("by T", 0.0)))
    at_start, h_x = mine.start_vjp(a)
    return grads | h_x | h_y | spans | {"x": at_start + g_x + grads.get("x", 0.0)}


def _forwards(mine, options):
    """The state at every bound, and its dense output between them."""
    states, dense = [mine.start()], []
    for segment in range(len(mine.bounds) - 1):
        shape = states[-1].shape

        def rate(s, z, segment=segment, shape=shape):
            return mine.forwards(segment, s, z.reshape(shape)).ravel()

        solution = _solve(rate, (0.0, 1.0), states[-1].ravel(), dense_output=True, **options)
        states.append(solution.y[:, -1].reshape(shape))
        dense.append(solution.sol)
    return states, dense


def _backwards(mine, segment, z, a, flat, known, options):
    """Cotangent and gradient at the segment's start; known is the state's dense output, or None to solve it."""
    n, solved = z.size, known is None

    def rate(s, y):
        state, cotangent = (y[:n], y[n : 2 * n]) if solved else (known(s), y[:n])
        dz, g_z, g = mine.slopes(segment, s, state.reshape(z.shape), cotangent.reshape(z.shape))
        return np.concatenate([*([dz.ravel()] if solved else []), -g_z.ravel(), -g])

    begin = np.concatenate([*([z.ravel()] if solved else []), a.ravel(), flat])
    end = _solve(rate, (1.0, 0.0), begin, **options).y[n if solved else 0 :, -1]
    return end[:n].reshape(z.shape), end[n:]


def _solve(rate, span, y, **options):
    solution = solve_ivp(rate, span, y, **options)
    if not solution.success:
        raise RuntimeError(f"solve_ivp: {solution.message}")
    assert solution.y.dtype == np.float64, f"solve_ivp returned {solution.y.dtype}"
    return solution


def backsolve_rk45(problem, tol):
    """Backsolve with RK45."""
    return _gradient(problem, tol, "RK45", backsolve=True)


def backsolve_dop853(problem, tol):
    """Backsolve with DOP853."""
    return _gradient(problem, tol, "DOP853", backsolve=True)


def backsolve_radau(problem, tol):
    """Backsolve with Radau."""
    return _gradient(problem, tol, "Radau", backsolve=True)


def interpolated_rk45(problem, tol):
    """Interpolated with RK45."""
    return _gradient(problem, tol, "RK45", backsolve=False)


def interpolated_dop853(problem, tol):
    """Interpolated with DOP853."""
    return _gradient(problem, tol, "DOP853", backsolve=False)


def interpolated_radau(problem, tol):
    """Interpolated with Radau."""
    return _gradient(problem, tol, "Radau", backsolve=False)
