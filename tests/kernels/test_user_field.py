"""Fields that users compile: by kernels they give the story's gradients, and failures inside them become errors."""

import inspect
import textwrap

import numba
import numpy as np
import pytest

import refnode as rn
from refnode.backend import why_no_kernels
from tests.kernels.test_cache import said, start
from tests.kernels.test_twins import ROUNDINGS, ROUNDINGS_32

SHAPES = {"k": (2,), "c": (1,)}


@numba.njit
def row_forward(t, z, theta, x, out):
    """f = k sin(z) cos(t) + c t, flipped; any control is added."""
    for i in range(2):
        out[i] = theta[i] * np.sin(z[1 - i]) * np.cos(t) + theta[2] * t
        for j in range(x.size):
            out[i] += x[j]


@numba.njit
def row_vjp(t, z, theta, x, g, g_t, g_z, g_theta, g_x):
    """Its cotangents."""
    for i in range(2):
        s, c = np.sin(z[1 - i]), np.cos(z[1 - i])
        g_t[0] += g[i] * (theta[2] - theta[i] * s * np.sin(t))
        g_z[1 - i] += g[i] * theta[i] * c * np.cos(t)
        g_theta[i] += g[i] * s * np.cos(t)
        g_theta[2] += g[i] * t
        for j in range(x.size):
            g_x[j] += g[i]


def forward(t, z, theta, x):
    """The same for a batch."""
    t = np.broadcast_to(t, len(z))[:, None]
    f = theta[..., :2] * np.sin(z[:, ::-1]) * np.cos(t) + theta[..., 2:] * t
    return f if x is None else f + x.sum(axis=1, keepdims=True)


def jvp(t, z, theta, x, dt, dz, dtheta, dx):
    """Its jvp."""
    t, dt = (np.broadcast_to(v, len(z))[:, None] for v in (t, dt))
    s, c = np.sin(z[:, ::-1]), np.cos(z[:, ::-1])
    df = dtheta[..., :2] * s * np.cos(t) + theta[..., :2] * (c * dz[:, ::-1] * np.cos(t) - s * np.sin(t) * dt)
    df = df + dtheta[..., 2:] * t + theta[..., 2:] * dt
    return df if x is None else df + dx.sum(axis=1, keepdims=True)


def vjp(t, z, theta, x, g):
    """Its vjp, theta's part summed over the batch where all samples share it."""
    t = np.broadcast_to(t, len(z))[:, None]
    s, c = np.sin(z[:, ::-1]), np.cos(z[:, ::-1])
    g_t = (g * (theta[..., 2:] - theta[..., :2] * s * np.sin(t))).sum(axis=1)
    g_z = (g * theta[..., :2] * c * np.cos(t))[:, ::-1]
    g_theta = np.concatenate([g * s * np.cos(t), (g * t).sum(axis=1, keepdims=True)], axis=1)
    g_x = None if x is None else np.repeat(g.sum(axis=1, keepdims=True), x.shape[1], axis=1)
    return g_t, g_z, g_theta.sum(axis=0) if theta.ndim == 1 else g_theta, g_x


STILL = rn.Constant()
FIELD = rn.UserField(forward, jvp, vjp, SHAPES, 2, row_forward, row_vjp)


def problem(batch=5, theta=STILL, field=FIELD, **words):
    """A problem of this field with a running loss and an observation."""
    rng = np.random.default_rng(0)
    model = rn.NeuralODE(field, span=(0.2, 1.3), theta=theta, **words)
    params = {name: rng.standard_normal(shape) for name, shape in model.shapes.items()}
    if len(model.edges):
        params["edges"] = model.edges
    running = (0.1 * rn.Kinetic(), 0.2 * rn.ParameterNorm())
    seen = rn.observe([0.5], rng.standard_normal((1, batch, 2)))
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((batch, 2))), seen, running)
    return rn.Problem(model, params, rng.standard_normal((batch, 2)), loss)


SOLVERS = {"rk4": rn.Solver("rk4", n_steps=4), "dopri5": rn.Solver("dopri5", n_steps=4)}
GROWTH = 10  # of roundings along the flow: |df/dz| <= max |k| < 2.1 for 1.1
DEPTHS = {"1": rn.Constant(), "psi": rn.Galerkin(rn.Legendre(2)), "cells": rn.Stacked(2)}


@pytest.mark.parametrize("method", ["discrete", "backsolve", "interpolating"])
@pytest.mark.parametrize("theta", DEPTHS.values(), ids=DEPTHS)
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_twins(method, theta, solver, dtype):
    """Every leaf within as many roundings of what it sums as an MLP's twins, grown by the flow, twice for backsolve."""
    p, words = problem(40, theta), {} if method == "discrete" else {"check": False}
    magnitude = {name: np.max(m, initial=0.0) for name, m in rn.gradient(p, "discrete", solver).magnitude.items()}
    got = rn.gradient(p, method, solver, backend="cpu", dtype=dtype, **words)
    want = rn.gradient(p, method, solver, backend="numpy", **words)
    roundings = (ROUNDINGS_32 if dtype == "float32" else ROUNDINGS) * GROWTH ** (2 if method == "backsolve" else 1)
    for name, g in want.grads.items():
        room = roundings * (magnitude[name] + 1e-3 * max(magnitude.values()))
        assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name


def test_own_steps_and_control():
    """Steps of each sample's own, and a control."""
    solver = rn.Solver("dopri5", tol=1e-6, steps="own")
    for p in (problem(), problem(control="x"), problem(theta=rn.Galerkin(rn.Legendre(2)))):
        got, want = (rn.gradient(p, "discrete", solver, backend=backend) for backend in ("cpu", "numpy"))
        for name, g in want.grads.items():
            np.testing.assert_allclose(got.grads[name], g, rtol=1e-9, atol=1e-10)  # a grid that rounding moves


def test_what_is_around_a_field_comes_from_the_cache():
    """Another process compiles the user's two functions and nothing of ours."""
    script = """
from numba.core import event
import numpy as np, refnode as rn
from tests.kernels.test_user_field import problem

with event.install_recorder("numba:compile") as compiled:
    rn.gradient(problem(), "discrete", rn.Solver("rk4", n_steps=2), backend="cpu")
print(*sorted({e.data["dispatcher"].py_func.__module__ for _, e in compiled.buffer}))
"""
    said(start(script))
    assert all(not name.startswith("refnode") for name in said(start(script)))


def test_failures():
    """A function that raises makes states not finite; one that returns something, or is not compiled, is refused."""
    @numba.njit
    def raises(t, z, theta, x, out):
        if z[0] < 100:
            raise ValueError("no")
        out[0] = z[0]

    @numba.njit
    def returns(t, z, theta, x, out):
        return t

    solver = rn.Solver("rk4", n_steps=2)
    for function, error in ((raises, rn.NonFiniteState), (returns, rn.InvalidArgument)):
        field = rn.UserField(forward, jvp, vjp, SHAPES, 2, function, row_vjp)
        with pytest.raises(error):
            rn.gradient(problem(field=field), "discrete", solver, backend="cpu")
    with pytest.raises(rn.InvalidArgument, match="row_forward"):
        rn.UserField(forward, jvp, vjp, SHAPES, 2, forward, row_vjp)
    with pytest.raises(rn.InvalidArgument, match="row_vjp"):
        rn.UserField(forward, jvp, vjp, SHAPES, 2, row_forward)
    plain = problem(field=rn.UserField(forward, jvp, vjp, SHAPES, 2))
    missing = "the field is a UserField without row_forward and row_vjp"
    assert why_no_kernels("cpu", plain, solver, "discrete") == missing
    assert "row_jvp" in why_no_kernels("cpu", problem(), solver, "forward_discrete")


# ---------------------------------------------------------------- check_field

def checked(row_forward=row_forward, row_vjp=row_vjp, x=None):
    """The report on the field with these row functions, three samples at depths of their own."""
    rng = np.random.default_rng(1)
    field = rn.UserField(forward, jvp, vjp, SHAPES, 2, row_forward, row_vjp)
    return rn.check_field(field, rng.standard_normal(3), rng.standard_normal((3, 2)), rng.standard_normal(3), x)


@pytest.mark.parametrize("x", [None, np.array([[0.3], [-1.0], [2.0]])], ids=["plain", "control"])
def test_row_functions_are_checked(x):
    """Right ones agree."""
    assert checked(x=x).ok


WRONG = {  # lines of right functions that go wrong, and where the report says so
    "row_forward: f[": ("* np.cos(t) + theta[2]", "* np.sin(t) + theta[2]"),
    "d t, sample": ("theta[2] - theta[i] * s", "theta[2] + theta[i] * s"),
    "d z[:, ": ("g[i] * theta[i] * c * np.cos(t)", "g[i] * theta[i] * c"),
    "d theta.c[0]": ("g_theta[2] += g[i] * t", "g_theta[2] += g[i]"),
    "d theta.k[": ("g_theta[i] += g[i] * s * np.cos(t)", "g_theta[i] = g[i] * s * np.cos(t)"),  # does not add
    "d x[:, 0]": ("g_x[j] += g[i]", "g_x[j] -= g[i]"),
}


@pytest.mark.parametrize("where", WRONG)
def test_wrong_row_functions_are_named(where):
    """Each mistake is found in its place."""
    right, wrong = WRONG[where]
    functions = {}
    for name, function in (("row_forward", row_forward), ("row_vjp", row_vjp)):
        source = textwrap.dedent(inspect.getsource(function.py_func)).replace("@numba.njit\n", "")
        space = {"np": np}
        exec(source.replace(right, wrong), space)
        functions[name] = numba.njit(space[name])
    report = checked(**functions, x=np.array([[0.3], [-1.0], [2.0]]))
    assert not report.ok
    assert where in report.worst
    assert report.worst.startswith("row_")


def test_a_row_function_that_leaves_numbers_unwritten_or_raises():
    """NaN where nothing was written; an error that names the function."""
    @numba.njit
    def forgets(t, z, theta, x, out):
        out[0] = theta[0] * np.sin(z[1]) * np.cos(t) + theta[2] * t

    @numba.njit
    def raises(t, z, theta, x, out):
        raise ValueError("no")

    report = checked(forgets)
    assert not report.ok
    assert report.worst == "row_forward: f[0, 1]"
    with pytest.raises(rn.InvalidArgument, match=r"field\.row_forward"):
        checked(raises)
