"""One evaluation of everything a user may have written, so that a wrong shape is named at the border."""

from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import InvalidArgument
from refnode.loss import PointLoss
from refnode.running import RunningArgs, RunningLoss

if TYPE_CHECKING:
    from refnode.model import Problem


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def probe(problem: "Problem") -> None:
    """Evaluate field and loss terms at t0 and check the shapes and types of what comes back.

    Raises
    ------
    InvalidArgument    naming the function, what it returned and what it may return
    """
    model, values = problem.model, problem.values
    z, theta = model.initial_state(values.w_x, values.x), model.depth.forward(values.t0, values.alpha)
    batch, d, x = problem.batch, model.state_width, values.x if model.control == "x" else None
    f = returned("field.forward", model.field.forward(values.t0, z, theta, x), (batch, model.field.width_out))
    parts = _parts("field.vjp", model.field.vjp(values.t0, z, theta, x, np.zeros(f.shape)), 4)
    shapes = ((batch,), (batch, d), theta.shape, None if x is None else x.shape)
    for name, part, shape in zip(("t", "z", "theta", "x"), parts, shapes, strict=True):
        if shape is not None:
            returned(f"field.vjp, cotangent of {name}", part, shape)
    y = model.h_y.forward(values.w_y, z)
    points = problem.loss.observations.terms if problem.loss.observations else ()
    named = [(f"observations.terms[{k}]", term) for k, term in enumerate(points)]
    if problem.loss.terminal is not None:
        named.append(("terminal", problem.loss.terminal))
    for name, point in named:
        _probe_point(name, point, values.t0, y)
    rate = np.concatenate([z[:, model.field.width_out :], f], axis=1) if model.order > 1 else f
    for k, running in enumerate(problem.loss.running):
        seen = rate if running.of == "state" else f
        _probe_running(f"running[{k}]", running, RunningArgs(values.t0, z, theta, values.x, seen))


def _probe_point(name: str, term: PointLoss, t: Array, y: Array) -> None:
    returned(f"{name}.value", term.value(t, y), (len(y),))
    g_t, g_y = _parts(f"{name}.grad", term.grad(t, y), 2)
    returned(f"{name}.grad, derivative in t", g_t, (len(y),))
    returned(f"{name}.grad, derivative in y", g_y, y.shape)


def _probe_running(name: str, term: RunningLoss, at: RunningArgs) -> None:
    batch = (len(at.z),)
    returned(f"{name}.value", term.value(at), batch)
    zero = RunningArgs(*(np.zeros(np.shape(a)) for a in at))
    returned(f"{name}.jvp", term.jvp(at, zero), batch)
    back = _parts(f"{name}.vjp", term.vjp(at, np.zeros(batch)), 5)
    for part, like, argument in zip(back, at, RunningArgs._fields, strict=True):
        returned(f"{name}.vjp, cotangent of {argument}", part, batch if argument == "t" else np.shape(like))


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
