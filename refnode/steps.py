"""One Runge-Kutta step, its error norm, the first step and the controller: the book's formulas, nothing else.    (2)

y (b, n); t, h () for the batch or (b,) with one per sample; k (s, b, n).

Source   Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, sec. II.1 and II.4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refnode.arrays import Array, column
from refnode.solver import Controller
from refnode.tableau import Tableau

Rhs = Callable[[Array, Array], Array]  # F(t, y) -> (b, n)


def stage_time(t: Array, t_new: Array, h: Array, c: float) -> Array:
    """t + c h; exactly t_new for c = 1, so that a stage there equals the next step's first."""
    return t_new if c == 1 else t + c * h


def rk_step(rhs: Rhs, t: Array, t_new: Array, h: Array, y: Array, k0: Array, tableau: Tableau) -> tuple[Array, Array]:
    """y_{n+1} (b, n) and the stages k (s, b, n), from y and k0 = F(t, y).

        k_i = F(t + c_i h, y + h sum_j a_ij k_j),   y_{n+1} = y + h sum_i b_i k_i
    """
    a, b, c = tableau.a, tableau.b, tableau.c
    k = np.empty((tableau.stages, *y.shape), dtype=np.result_type(k0, y, h))
    k[0] = k0
    y_i = y
    for i in range(1, tableau.stages):
        y_i = y + column(h) * np.tensordot(a[i, :i], k[:i], axes=1)
        k[i] = rhs(stage_time(t, t_new, h, c[i]), y_i)
    return (y_i if tableau.fsal else y + column(h) * np.tensordot(b, k, axes=1)), k


def stages_of_step(h: Array, y: Array, k: Array, tableau: Tableau) -> list[Array]:
    """The stage states Y_i = y + h sum_j a_ij k_j (b, n), from stored k, in the bits that `rk_step` had."""
    a = tableau.a
    return [y] + [y + column(h) * np.tensordot(a[i, :i], k[:i], axes=1) for i in range(1, tableau.stages)]


Jvp = Callable[[Array, Array, Array, Array], Array]  # (t, y, dt, dy) -> dF


def rk_step_jvp(
    jvp: Jvp,
    at: tuple[Array, Array, Array],
    moved: tuple[Array, Array, Array],
    y: Array,
    k: Array,
    dy: Array,
    tableau: Tableau,
) -> Array:
    """dy_{n+1} (b, n) for perturbations `moved` of `at` = (t, t_new, h), dy of y, and what jvp knows of the parameters.

        dk_i = dF(t_i, Y_i; dt_i, dY_i),   dY_i = dy + sum_j a_ij (dh k_j + h dk_j)
    """
    (t, t_new, h), (dt, dt_new, dh) = at, moved
    a, b, c = tableau.a, tableau.b, tableau.c
    dk = np.empty(k.shape, dtype=k.dtype)
    for i, y_i in enumerate(stages_of_step(h, y, k, tableau)):
        dy_i = dy + np.tensordot(a[i, :i], column(dh) * k[:i] + column(h) * dk[:i], axes=1)
        dk[i] = jvp(stage_time(t, t_new, h, c[i]), y_i, stage_time(dt, dt_new, dh, c[i]), dy_i)
    return dy + np.tensordot(b, column(dh) * k + column(h) * dk, axes=1)


class StepCotangents(NamedTuple):
    """What the vjp of a step returns: for t, t_new and h (b,), for y (b, n); and what vjp gave at each stage."""

    t: Array
    t_new: Array
    h: Array
    y: Array
    stages: list[Any]


def rk_step_vjp(
    vjp: Callable[[Array, Array, Array], Any],
    at: tuple[Array, Array, Array],
    y: Array,
    k: Array,
    g: Array,
    tableau: Tableau,
) -> StepCotangents:
    """Cotangents of a step's arguments for the cotangent g (b, n) of y_{n+1}, from stored k (s, b, n).

        g_k_i = h (b_i g + sum_{j > i} a_ji g_Y_j),   (g_t_i, g_Y_i, ..) = vjp(t_i, Y_i, g_k_i),   g_y = g + sum_i g_Y_i

    vjp(t, y, g) returns a record with .t (b,) and .y (b, n). A stage that no later one uses and b ignores is skipped,
    so the FSAL stage costs nothing.
    """
    t, t_new, h = at
    a, b, c = tableau.a, tableau.b, tableau.c
    g_Y = np.zeros(k.shape)
    g_t, g_t_new, g_h = np.zeros(len(y)), np.zeros(len(y)), (g * np.tensordot(b, k, axes=1)).sum(axis=1)
    stages = []
    Y = stages_of_step(h, y, k, tableau)
    for i in reversed(range(tableau.stages)):
        if b[i] == 0 and not a[i + 1 :, i].any():
            continue
        back = vjp(stage_time(t, t_new, h, c[i]), Y[i], column(h) * (b[i] * g + np.tensordot(a[:, i], g_Y, axes=1)))
        g_Y[i] = back.y
        g_h = g_h + (back.y * np.tensordot(a[i, :i], k[:i], axes=1)).sum(axis=1)
        if c[i] == 1:
            g_t_new = g_t_new + back.t
        else:
            g_t, g_h = g_t + back.t, g_h + c[i] * back.t
        stages.append(back)
    return StepCotangents(g_t, g_t_new, g_h, g + g_Y.sum(axis=0), stages)


def rms(e: Array) -> Array:
    """Root mean square over the features: (b,) for e (b, n)."""
    return np.sqrt(np.mean(e * e, axis=-1))


@dataclass(frozen=True)
class ErrorNorm:
    """The norm in which an error is measured: entries relative to atol + rtol |y|, then a mean.

    rtol   relative tolerance
    atol   absolute tolerance, () or one per component (n,)
    over   "batch": root mean square over all; "max": the worst sample's; "own": each sample's, (b,)
    """

    rtol: float
    atol: Array
    over: str

    def scale(self, *states: Array) -> Array:
        """atol + rtol max |y| over the given states (b, n)."""
        return self.atol + self.rtol * np.max(np.abs(states), axis=0)

    def norm(self, e: Array, scale: Array) -> Array:
        """|e / scale|: () or (b,); infinite if the scale is, which a state that overflowed would otherwise pass."""
        r = np.where(np.isfinite(scale).all(axis=-1), rms(e / scale), np.inf)
        if self.over == "own":
            return r
        return np.sqrt(np.mean(r * r)) if self.over == "batch" else np.max(r)

    def of_step(self, h: Array, y: Array, y_new: Array, k: Array, tableau: Tableau) -> Array:
        """The error estimate of a step: |h sum_i b_err_i k_i|; Hairer's combination of two estimates for DOP853."""
        scale = self.scale(y, y_new)
        assert tableau.b_err is not None
        err = self.norm(column(h) * np.tensordot(tableau.b_err, k, axes=1), scale)
        if tableau.b_err3 is None:
            return err
        err3 = self.norm(column(h) * np.tensordot(tableau.b_err3, k, axes=1), scale)
        return combined(err, err3)


def combined(err: Array, err3: Array | None = None) -> Array:
    """Hairer's combination of DOP853's two error estimates, O(h^8); one estimate alone stays as it is."""
    if err3 is None:
        return err
    total = np.sqrt(err**2 + 0.01 * err3**2)
    return np.where(total == 0, 0.0, err**2 / np.where(total == 0, 1, total))  # NaN stays NaN: not acceptable


def first_step(rhs: Rhs, t: Array, length: Array, y: Array, k0: Array, norm: ErrorNorm, order: int) -> Array:
    """Hairer's first step, as a fraction of the segment of signed `length`: () or (b,) like the norm.

    An Euler step that moves y by 1 % gives the second derivative; the step is where order + 1 terms reach 1 %.

    Source   Hairer, Norsett, Wanner I, sec. II.4, p. 169.
    """
    scale = norm.scale(y)
    d0, d1 = norm.norm(y, scale), norm.norm(column(length) * k0, scale)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = np.minimum(np.where(small, 1e-6, 0.01 * d0 / np.where(small, 1, d1)), 1.0)
    step = h0 * length
    k1 = rhs(t + step, y + column(step) * k0)
    d2 = norm.norm(column(length) * (k1 - k0), scale) / h0
    top = np.maximum(d1, d2)
    flat = top <= 1e-15
    h1 = np.where(flat, np.maximum(1e-6, h0 * 1e-3), (0.01 / np.where(flat, 1, top)) ** (1 / (order + 1)))
    return np.minimum(np.minimum(100 * h0, h1), 1.0)


def step_factor(controller: Controller, err: Array, err_previous: Array, order_err: int) -> Array:
    """By how much the next step is larger, () or (b,), after an error err; err_previous is the last accepted one's."""
    q = order_err + 1
    alpha, beta = (1 / q, 0.0) if controller.kind == "I" else (0.7 / q, 0.4 / q)
    err = np.where(np.isfinite(err), np.maximum(err, 1e-10), np.inf)
    with np.errstate(over="ignore"):
        factor = controller.safety * err**-alpha * np.maximum(err_previous, 1e-4) ** beta
    factor = np.clip(factor, controller.min_factor, controller.max_factor)
    return np.where(err <= 1, factor, np.minimum(factor, 1.0))
