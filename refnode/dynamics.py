"""What the solver sees: y' = F(t, y), y = [z, q], the state and the running loss it gathers.                 (3)(9)(10)

    z_i' = z_{i+1},  z_n' = f(t, z, theta(t), x);      q' = sum_r c_r l_r(t, z, theta(t), x, z')

The running loss is one more component of the state. Its cotangent is the upstream factor, constant in depth, so that
one vjp of F holds every term of the generalised adjoint, dl/dtheta and the path through f included:

    a' = -(df/dz)^T (a + g dl/df) - g dl/dz,      dloss/dtheta = int (df/dtheta)^T (a + g dl/df) + g dl/dtheta dt

Source   Massaroli et al. 2020, Prop. 1; the terms through f and x are written out in docs/adjoint.md.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refnode.arrays import Array, read_only
from refnode.model import Model, Problem
from refnode.running import RunningArgs, RunningLoss
from refnode.values import Values


class Cotangents(NamedTuple):
    """What a vjp of F returns: for t (b,), y (b, d + r), alpha (summed over the batch), x (b, n)."""

    t: Array
    y: Array
    alpha: Array
    x: Array


@dataclass(frozen=True)
class Dynamics:
    """F(t, y; alpha, x) with forward, jvp and vjp. y is (b, d + r): r = 1 if there is a running loss, else 0."""

    model: Model
    running: tuple[RunningLoss, ...]

    @property
    def d(self) -> int:
        """Width of z."""
        return self.model.state_width

    @property
    def width(self) -> int:
        """Width of y."""
        return self.d + (1 if self.running else 0)

    def forward(self, t: Array, y: Array, values: Values) -> Array:
        """F (b, d + r) at t () or (b,)."""
        z, theta = read_only(y[:, : self.d]), read_only(self.model.depth.forward(t, values.alpha))
        dz = self._rate(z, np.array(self.model.field.forward(t, z, theta, self._control(values.x))))
        if not self.running:
            return dz
        q = sum(
            r.factor(len(y)) * r.value(RunningArgs(t, z, theta, values.x, self._seen(r, dz))) for r in self.running
        )
        return np.concatenate([dz, np.asarray(q)[:, None]], axis=1)

    def jvp(self, t: Array, y: Array, values: Values, dt: Array, dy: Array, dvalues: Values) -> Array:
        """dF (b, d + r) for perturbations of t () or (b,), y, alpha and x."""
        z, dz = read_only(y[:, : self.d]), read_only(dy[:, : self.d])
        theta = read_only(self.model.depth.forward(t, values.alpha))
        dtheta = self.model.depth.jvp(t, values.alpha, dt, dvalues.alpha)
        control, dcontrol = self._control(values.x), self._control(dvalues.x)
        field = self.model.field
        drate = self._rate(dz, np.array(field.jvp(t, z, theta, control, dt, dz, dtheta, dcontrol)))
        if not self.running:
            return drate
        rate = self._rate(z, field.forward(t, z, theta, control))
        dq = np.zeros(len(y), dtype=drate.dtype)
        for r in self.running:
            at = RunningArgs(t, z, theta, values.x, self._seen(r, rate))
            d = RunningArgs(dt, dz, dtheta, dvalues.x, self._seen(r, drate))
            dq = dq + r.factor(len(y)) * r.jvp(at, d)
        return np.concatenate([drate, dq[:, None]], axis=1)

    def vjp(self, t: Array, y: Array, values: Values, g: Array) -> Cotangents:
        """Cotangents of t, y, alpha and x for g (b, d + r)."""
        z, theta = read_only(y[:, : self.d]), read_only(self.model.depth.forward(t, values.alpha))
        control, field = self._control(values.x), self.model.field
        g_rate, g_z, g_theta = g[:, : self.d], np.zeros(z.shape), np.zeros(theta.shape)
        g_x, g_t = np.zeros(values.x.shape), np.zeros(len(y))
        if self.running:
            rate = self._rate(z, field.forward(t, z, theta, control))
            for r in self.running:
                at = RunningArgs(t, z, theta, values.x, self._seen(r, rate))
                back = r.vjp(at, r.factor(len(y)) * g[:, self.d])
                g_t, g_z, g_theta, g_x = g_t + back.t, g_z + back.z, g_theta + back.theta, g_x + back.x
                g_rate = g_rate + self._seen_vjp(r, back.rate)
        f_t, f_z, f_theta, f_x = field.vjp(t, z, theta, control, g_rate[:, self._block()])
        g_z = g_z + f_z + self._shift_vjp(g_rate)
        g_x = g_x if f_x is None or control is None else g_x + f_x
        depth_t, g_alpha = self.model.depth.vjp(t, values.alpha, g_theta + f_theta)
        if np.ndim(depth_t) == 0:  # through a theta shared by all samples: each bears its part of the sum
            depth_t = depth_t / len(y)
        g_y = np.concatenate([g_z, np.zeros((len(y), self.width - self.d))], axis=1)
        return Cotangents(g_t + f_t + depth_t, g_y, g_alpha, g_x)

    def _control(self, x: Array) -> Array | None:
        return x if self.model.control == "x" else None

    def _block(self) -> slice:
        """The columns of z' that the field fills: the last block of equation (9)."""
        return slice(self.d - self.model.field.width_out, self.d)

    def _rate(self, z: Array, f: Array) -> Array:
        """z' = [z_2, .., z_n, f]: linear in z and f, so it is its own jvp."""
        return f if self.model.order == 1 else np.concatenate([z[:, self.model.field.width_out :], f], axis=1)

    def _shift_vjp(self, g: Array) -> Array:
        """The cotangent that z receives from z_i' = z_{i+1}."""
        w = self.model.field.width_out
        return np.concatenate([np.zeros((len(g), w)), g[:, : self.d - w]], axis=1)

    def _seen(self, running: RunningLoss, rate: Array) -> Array:
        """The rate a running loss sees: z', or its last block f."""
        return rate if running.of == "state" else rate[:, self._block()]

    def _seen_vjp(self, running: RunningLoss, g: Array) -> Array:
        if running.of == "state" or self.model.order == 1:
            return g
        return np.concatenate([np.zeros((len(g), self.d - g.shape[1])), g], axis=1)


def dynamics_of(problem: Problem) -> Dynamics:
    """The dynamics of a problem."""
    return Dynamics(problem.model, problem.loss.running)


def initial_y(problem: Problem, values: Values) -> Array:
    """y(t0) = [z(t0), 0] (b, d + r)."""
    z0 = problem.model.initial_state(values.w_x, values.x)
    return np.concatenate([z0, np.zeros((len(z0), dynamics_of(problem).width - z0.shape[1]))], axis=1)
