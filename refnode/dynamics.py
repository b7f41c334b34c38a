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
from refnode.depth import coordinate, coordinate_jvp, coordinate_vjp
from refnode.model import Model
from refnode.problem import Problem
from refnode.running import RunningArgs, RunningLoss
from refnode.values import Values


class Cotangents(NamedTuple):
    """What a vjp of F returns: for t (b,), y (b, d + r), alpha (summed over the batch), x (b, n), t0 and T (b,)."""

    t: Array
    y: Array
    alpha: Array
    x: Array
    t0: Array
    T: Array


@dataclass(frozen=True)
class Dynamics:
    """F(t, y; alpha, x, t0, T) with forward, jvp and vjp. y is (b, d + r): r = 1 if there is a running loss, else 0.

    t0 and T enter where the basis of theta(t) follows the span. cell is the piece of theta(t) on the present segment.
    """

    model: Model
    running: tuple[RunningLoss, ...]
    cell: int = 0

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
        z, theta = read_only(y[:, : self.d]), self.theta(t, values)
        control = self.model.control_of(values.x)
        dz = self._rate(z, np.array(self.model.field.forward(t, z, theta, control)))
        if not self.running:
            return dz
        q = sum(
            r.factor(len(y)) * r.value(RunningArgs(t, z, theta, values.x, self._seen(r, dz))) for r in self.running
        )
        return np.concatenate([dz, np.asarray(q)[:, None]], axis=1)

    def jvp(self, t: Array, y: Array, values: Values, dt: Array, dy: Array, dvalues: Values) -> Array:
        """dF (b, d + r) for perturbations of t () or (b,), y, alpha and x."""
        z, dz = read_only(y[:, : self.d]), read_only(dy[:, : self.d])
        theta, dtheta = self.theta(t, values), self.theta_jvp(t, values, dt, dvalues)
        control, dcontrol = self.model.control_of(values.x), self.model.control_of(dvalues.x)
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
        """Cotangents of t, y, alpha, x, t0 and T for g (b, d + r)."""
        z, theta = read_only(y[:, : self.d]), self.theta(t, values)
        control, field = self.model.control_of(values.x), self.model.field
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
        g_x = g_x + self.model.control_vjp(values.x, f_x)
        depth_t, g_t0, g_T, g_alpha = self.theta_vjp(t, values, g_theta + f_theta)
        g_y = np.concatenate([g_z, np.zeros((len(y), self.width - self.d))], axis=1)
        return Cotangents(g_t + f_t + depth_t, g_y, g_alpha, g_x, g_t0, g_T)

    def theta(self, t: Array, values: Values) -> Array:
        """theta(t) (p,), or (b, p) where samples differ in it."""
        depth = self.model.depth
        u = coordinate(depth, t, values.t0, values.T)
        return read_only(depth.forward(u, self.cell, values.alpha, self.model.field.shapes))

    def theta_jvp(self, t: Array, values: Values, dt: Array, dvalues: Values) -> Array:
        """dtheta(t), shaped like theta."""
        depth, ends = self.model.depth, (values.t0, values.T)
        u, du = coordinate(depth, t, *ends), coordinate_jvp(depth, t, *ends, dt, dvalues.t0, dvalues.T)
        u = np.broadcast_to(u, np.broadcast_shapes(np.shape(u), np.shape(du)))
        return depth.jvp(u, self.cell, values.alpha, self.model.field.shapes, du, dvalues.alpha)

    def theta_vjp(self, t: Array, values: Values, g: Array) -> tuple[Array, Array, Array, Array]:
        """Cotangents of t, t0, T (b,) and alpha. Through a theta shared by all samples each bears its part of a sum."""
        depth, batch = self.model.depth, (len(values.x),)
        u = coordinate(depth, t, values.t0, values.T)
        g_u, g_alpha = depth.vjp(u, self.cell, values.alpha, self.model.field.shapes, g)
        shared = 1 / batch[0] if np.ndim(g_u) == 0 else 1.0
        ends = coordinate_vjp(depth, t, values.t0, values.T, shared * g_u)
        g_t, g_t0, g_T = (np.broadcast_to(part, batch) for part in ends)
        return g_t, g_t0, g_T, g_alpha

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


def dynamics_of(problem: Problem, i: int = 0) -> Dynamics:
    """The dynamics of a problem on segment i."""
    return Dynamics(problem.model, problem.loss.running, problem.layout.cells[i])


def initial_y(problem: Problem, values: Values) -> Array:
    """y(t0) = [z(t0), 0] (b, d + r)."""
    z0 = problem.model.initial_state(values.w_x, values.x)
    if not problem.loss.running:
        return z0
    return np.concatenate([z0, np.zeros((len(z0), dynamics_of(problem).width - z0.shape[1]))], axis=1)
