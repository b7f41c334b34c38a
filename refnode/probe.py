"""One evaluation of everything a user may have written, so that a wrong shape is named at the border."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.arrays import Array, read_only
from refnode.bases import Basis
from refnode.depth import Galerkin, coordinate
from refnode.errors import InvalidArgument
from refnode.loss import PointLoss
from refnode.maps import Map
from refnode.running import RunningArgs, RunningLoss

if TYPE_CHECKING:
    from refnode.problem import Problem


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def probe(problem: "Problem") -> None:
    """Evaluate field, maps and loss terms at t0 and check the shapes and types of what comes back.

    Raises
    ------
    InvalidArgument    naming the function, what it returned and what it may return
    """
    model, values = problem.model, problem.values
    if isinstance(model.depth, Galerkin):
        _probe_basis(model.depth.basis, problem)
    _probe_map("h_x", model.h_x, values.w_x, values.x)
    z = read_only(model.initial_state(values.w_x, values.x))
    f = _probe_field(problem, z)
    y = _probe_map("h_y", model.h_y, values.w_y, z)
    points = problem.loss.observations.terms if problem.loss.observations else ()
    named = [(f"observations.terms[{k}]", term) for k, term in enumerate(points)]
    if problem.loss.terminal is not None:
        named.append(("terminal", problem.loss.terminal))
    for name, point in named:
        _probe_point(name, point, values.t0, y)
    theta = _theta(problem)
    rate = np.concatenate([z[:, model.field.width_out :], f], axis=1) if model.order > 1 else f
    for k, running in enumerate(problem.loss.running):
        seen = rate if running.of == "state" else f
        _probe_running(f"running[{k}]", running, RunningArgs(values.t0, z, theta, values.x, seen), problem)


def _theta(problem: "Problem") -> Array:
    """theta(t0) (p,), or (b, p) where samples start at depths of their own."""
    depth, values = problem.model.depth, problem.resolved
    u = coordinate(depth, values.t0, values.t0, values.T)
    return depth.forward(u, problem.layout.cells[0], values.alpha, problem.model.field.shapes)


def _probe_basis(basis: Basis, problem: "Problem") -> None:
    """psi and slope at u () and (b,), on the first segment."""
    cell, batch = problem.layout.cells[0], problem.batch
    for name, function in (("basis.psi", basis.psi), ("basis.slope", basis.slope)):
        returned(name, function(np.zeros(()), cell), (basis.m,))
        us = 2.0**-16 * np.arange(batch)
        rows = returned(f"{name} at u of shape ({batch},)", function(us, cell), (batch, basis.m))
        for k in {0, batch - 1}:
            alone = function(np.asarray(us[k]), cell)
            if not np.allclose(rows[k], alone, rtol=1e-9, atol=1e-9 * np.max(np.abs(alone)), equal_nan=True):
                was = f"another value for u of shape ({batch},) than for each u alone"
                raise InvalidArgument(name, was, "a function of u () and (b,) alike, psi_1 .. psi_m in the last axis")


def _probe_field(problem: "Problem", z: Array) -> Array:
    """f (b, o) at t0."""
    field, values = problem.model.field, problem.values
    theta, t, x = _theta(problem), values.t0, problem.model.control_of(values.x)
    try:
        f = returned("field.forward", field.forward(t, z, theta, x), (len(z), field.width_out))
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        was = "an attempt to change its arguments in place"
        raise InvalidArgument("field.forward", was, "a function that leaves them as they are") from error
    same_row_by_row("field.forward", lambda t: field.forward(t, z, theta, x), t, len(z))
    _same_for_rows("field.forward", lambda theta: field.forward(t, z, theta, x), problem)
    still = (np.zeros(np.shape(t)), np.zeros(z.shape), np.zeros(theta.shape), None if x is None else np.zeros(x.shape))
    returned("field.jvp", field.jvp(t, z, theta, x, *still), f.shape)
    parts = _parts("field.vjp", field.vjp(t, z, theta, x, np.zeros(f.shape)), 4)
    shapes = ((len(z),), z.shape, theta.shape, None if x is None else x.shape)
    for name, part, shape in zip(("t", "z", "theta", "x"), parts, shapes, strict=True):
        if shape is not None:
            returned(f"field.vjp, cotangent of {name}", part, shape)
    return f


def _probe_map(name: str, h: Map, w: Array, u: Array) -> Array:
    """h(u) (b, o)."""
    v = returned(f"{name}.forward", h.forward(w, u), (len(u), h.width(u.shape[1])))
    returned(f"{name}.jvp", h.jvp(w, u, np.zeros(w.shape), np.zeros(u.shape)), v.shape)
    g_w, g_u = _parts(f"{name}.vjp", h.vjp(w, u, np.zeros(v.shape)), 2)
    returned(f"{name}.vjp, cotangent of w", g_w, w.shape)
    returned(f"{name}.vjp, cotangent of u", g_u, u.shape)
    return v


def _probe_point(name: str, term: PointLoss, t: Array, y: Array) -> None:
    returned(f"{name}.value", term.value(t, y), (len(y),))
    same_row_by_row(f"{name}.value", lambda t: term.value(t, y), t, len(y))
    g_t, g_y = _parts(f"{name}.grad", term.grad(t, y), 2)
    returned(f"{name}.grad, derivative in t", g_t, (len(y),))
    returned(f"{name}.grad, derivative in y", g_y, y.shape)


def _probe_running(name: str, term: RunningLoss, at: RunningArgs, problem: "Problem") -> None:
    batch = (len(at.z),)
    returned(f"{name}.value", term.value(at), batch)
    same_row_by_row(f"{name}.value", lambda t: term.value(at._replace(t=t)), at.t, len(at.z))
    _same_for_rows(f"{name}.value", lambda theta: term.value(at._replace(theta=theta)), problem)
    zero = RunningArgs(*(np.zeros(np.shape(a)) for a in at))
    returned(f"{name}.jvp", term.jvp(at, zero), batch)
    back = _parts(f"{name}.vjp", term.vjp(at, np.zeros(batch)), 5)
    for part, like, argument in zip(back, at, RunningArgs._fields, strict=True):
        returned(f"{name}.vjp, cotangent of {argument}", part, batch if argument == "t" else np.shape(like))


def same_row_by_row(name: str, function: Callable[[Array], Array], t: Array, batch: int) -> None:
    """Raise unless function(t) for t (b,) gives each sample what a shared t () gives it.

    Where b equals a width, a forgotten t[:, None] broadcasts along the wrong axis without an error of its own.
    """
    times = np.broadcast_to(t, (batch,)) + 2.0**-16 * np.arange(batch)
    allowed = "a function of t () and (b,) alike: beside z (b, i) write t[..., None]"
    try:
        rows = np.asarray(function(times))
    except (ValueError, IndexError) as error:
        raise InvalidArgument(name, f"{type(error).__name__} for t of shape ({batch},): {error}", allowed) from error
    for k in {0, batch - 1}:
        alone = np.asarray(function(np.asarray(times[k])))[k]
        size = np.max(np.abs(alone), initial=0.0)
        if rows.shape[:1] != (batch,) or not np.allclose(rows[k], alone, rtol=1e-9, atol=1e-9 * size, equal_nan=True):
            raise InvalidArgument(name, f"another value for t of shape ({batch},) than for each t alone", allowed)


def _same_for_rows(name: str, function: Callable[[Array], Array], problem: "Problem") -> None:
    """Raise unless function(theta) for theta (b, p) gives each sample what its row alone gives it.

    Where theta(t) varies and samples have depths of their own, a function written for (p,) would mix them silently.
    """
    depth, values, batch = problem.model.depth, problem.resolved, problem.batch
    u = np.broadcast_to(coordinate(depth, values.t0, values.t0, values.T), (batch,))
    theta = depth.forward(u, problem.layout.cells[0], values.alpha, problem.model.field.shapes)
    if theta.ndim == 1:
        return
    theta = theta * (1 + 2.0**-10 * np.arange(batch)[:, None])
    allowed = "a function of theta (p,) and (b, p) alike, a row for each sample: index it as theta[..., k]"
    try:
        rows = np.asarray(function(theta))
    except (ValueError, IndexError) as error:
        was = f"{type(error).__name__} for theta of shape {theta.shape}: {error}"
        raise InvalidArgument(name, was, allowed) from error
    for k in {0, batch - 1}:
        alone = np.asarray(function(theta[k]))[k]
        size = np.max(np.abs(alone), initial=0.0)
        if rows.shape[:1] != (batch,) or not np.allclose(rows[k], alone, rtol=1e-9, atol=1e-9 * size, equal_nan=True):
            was = f"another value for theta of shape {theta.shape} than for each row alone"
            raise InvalidArgument(name, was, allowed)


def returned(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """The value as an array, or InvalidArgument if it is not real float64 of this shape."""
    array = np.asarray(value)
    if array.shape != shape or array.dtype != np.float64:
        was = f"a result of shape {array.shape}, dtype {array.dtype}"
        raise InvalidArgument(name, was, f"float64 of shape {shape}")
    return array


def _parts(name: str, value: Any, n: int) -> tuple[Any, ...]:
    """The value as a tuple of n parts, or InvalidArgument."""
    if not isinstance(value, tuple) or len(value) != n:
        was = f"{type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple) else "")
        raise InvalidArgument(name, was, f"a tuple of {n}")
    return value
