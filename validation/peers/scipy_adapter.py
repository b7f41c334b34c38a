"""Gradients by scipy's solve_ivp on the adjoint system, as one would write it down by hand.

backsolve     state, cotangent and parameter gradient go back together; at every observation the state is reset
interpolated  the state is read off the forward solve's dense output

rtol = atol = tol, forwards and backwards, all components in the error norm.
"""

from itertools import pairwise

import numpy as np
from scipy.integrate import solve_ivp

from validation.peers.numpy_problem import NumpyProblem


def _gradient(problem, tol, method, backsolve):
    mine, times = NumpyProblem(problem), _times(problem)
    options = {"method": method, "rtol": tol, "atol": tol}
    states, dense = _forwards(mine, times, problem.x, options)
    a, theta = np.zeros(problem.x.shape), np.zeros(sum(leaf.size for leaf in mine.leaf.values()))
    h_y, dt = {name: np.zeros(leaf.shape) for name, leaf in mine.h_y.items()}, np.zeros(len(times))
    for k in reversed(range(len(times))):
        after = mine.hamiltonian(times[k], states[k], a) if k + 1 < len(times) else 0.0
        jump, of_h_y = mine.point_slopes(k, states[k])
        a, h_y = a + jump, {name: leaf + of_h_y.get(name, 0.0) for name, leaf in h_y.items()}
        before = mine.hamiltonian(times[k], states[k], a) if k > 0 else 0.0
        dt[k] = before - after
        if k > 0:
            known = None if backsolve else dense[k - 1]
            a, theta = _backwards(mine, times[k - 1 : k + 1][::-1], states[k], a, theta, known, options)
    grads = {f"theta.{name}": leaf for name, leaf in mine.leaves(theta).items()}
    grads |= {f"h_y.{name}": leaf for name, leaf in h_y.items()} | {"x": a, "t0": dt[0], "T": dt[-1]}
    return grads | {"t_obs": dt[1:-1]} if len(dt) > 2 else grads


def _times(problem):
    """t0, observation times, T."""
    leaves = problem.leaves()
    return np.array([leaves["t0"], *leaves.get("t_obs", ()), leaves["T"]])


def _forwards(mine, times, x, options):
    """The state at every time, and its dense output between them."""
    states, dense = [x], []

    def rate(t, z):
        return mine.field(t, z.reshape(x.shape)).ravel()

    for span in pairwise(times):
        solution = _solve(rate, span, states[-1].ravel(), dense_output=True, **options)
        states.append(solution.y[:, -1].reshape(x.shape))
        dense.append(solution.sol)
    return states, dense


def _backwards(mine, span, z, a, theta, known, options):
    """Cotangent and parameter gradient at the earlier end; known is the state's dense output, or None to solve it."""
    n, solved = z.size, known is None

    def rate(t, y):
        state, cotangent = (y[:n], y[n : 2 * n]) if solved else (known(t), y[:n])
        f, g_z, grads = mine.hamiltonian_slopes(t, state.reshape(z.shape), cotangent.reshape(z.shape))
        return np.concatenate([*([f.ravel()] if solved else []), -g_z.ravel(), -mine.flat(grads)])

    start = np.concatenate([*([z.ravel()] if solved else []), a.ravel(), theta])
    end = _solve(rate, span, start, **options).y[n if solved else 0 :, -1]
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
