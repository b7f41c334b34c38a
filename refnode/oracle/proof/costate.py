"""The costate, step by step backwards, each step proven, and the integrals that make the gradient.

    a' = -J^T a - l_z,       dloss/dM = int g_y y^T dt,    g_y the cotangent of M y in the reverse pass of (a, 1)

The state's series is known about every knot from the forward pass, so that its error does not come back in. The
costate's numbers a_k are exact, alpha_k bounds their distance from the true costate and passes a step times e^(mu h):

    |a(t_{k-1}) - a_{k-1}|_2  <=  e^(mu h) alpha_k + |radii of the polynomial's value| + |remainder|

On the disc |a| <= e^(|J|^T R) (|a_k| + R sup |l_z|), which Cauchy's estimate turns into the remainder.

Source   Massaroli et al. 2020, Prop. 1 (the equations); the enclosure is the state's (see `trajectory`).
"""

from dataclasses import dataclass, field as default
from typing import Any

import numpy as np
from flint import arb, arb_series

from refnode.arrays import Array
from refnode.depth import Galerkin
from refnode.errors import NotEnoughDigits
from refnode.oracle.proof import inputs, jets, quadrature, series
from refnode.oracle.proof.bounds import grown, tail
from refnode.oracle.proof.discs import up, upper
from refnode.oracle.proof.dynamics import Field
from refnode.oracle.proof.gathered import Gathered
from refnode.oracle.proof.graph import Values
from refnode.oracle.proof.inputs import Sample
from refnode.oracle.proof.lognorm import length
from refnode.oracle.proof.on_discs import pull_sizes
from refnode.oracle.proof.on_series import pull_series, run_series
from refnode.oracle.proof.series import Series, truncated
from refnode.oracle.proof.trajectory import Effort, Knot, Stretch, about


@dataclass(eq=False)
class Part:
    """A gradient in the making: of the point losses, of the running losses, or of both.

    points, integral    which of them it has
    a, alpha            the costate here (d,), exact numbers, and their distance from the true one
    gathered            dloss/dM of the field's matrices so far
    x                   dloss/dx by the control
    turn                the integrals (H, H_t, (t - t0) H_t) that the motion of theta(t) with the span needs
    jumps               bound -> H before it less H behind it, its dloss/dt where nothing else moves
    """

    points: bool
    integral: bool
    a: list[Any]
    alpha: float
    gathered: Gathered
    x: list[Any]
    turn: list[Any]
    jumps: dict[tuple[str, int], Any] = default(default_factory=dict)

    @property
    def balls(self) -> list[Any]:
        """The costate as balls."""
        return [v + arb(0, self.alpha) for v in self.a]

    def add(self, g: list[Any]) -> None:
        """A jump of the costate: the gradient of a point loss, as balls."""
        whole = [v + w for v, w in zip(self.a, g, strict=True)]
        self.alpha = (self.alpha + length(np.array([upper(v.rad()) for v in whole]))) * (1 + 1e-12)
        self.a = [v.mid() for v in whole]


def sweep(field: Field, sample: Sample, cell: int, stretch: Stretch, parts: list[Part], effort: Effort) -> Any:
    """Carry the parts from the far end of a segment to its near end; return the integral of l."""
    loss = arb(0)
    ahead = None
    for k in reversed(range(len(stretch.leaps))):
        leap, at = stretch.leaps[k], stretch.knots[k + 1]
        with truncated(effort.order):
            z = about(field, sample, cell, at, -leap.h, ahead, effort)
            step = _Step(field, sample, cell, at, -leap.h, leap.growth, z, effort)
            loss = loss + step.loss()
            for part in parts:
                step.carry(part)
        ahead = leap
    return loss


class _Step:
    """One step backwards from a knot, t = t_k + h s, 0 <= s <= 1."""

    def __init__(
        self, field: Field, sample: Sample, cell: int, at: Knot, h: Any, growth: float, z: Series, effort: Effort
    ) -> None:
        self.field, self.sample, self.at, self.h, self.growth, self.n = field, sample, at, h, growth, effort.order
        given = inputs.as_series(field, sample, cell, at.t, h)
        self.values = run_series(field.graph, {**given, "z": z})
        self.J, self.l_z = jets.jacobian(field, self.values), jets.running_slope(field, self.values)
        self.size, self.d = upper(h), len(z)
        self.geo = tail(self.size / at.reach.R, self.n)

    def loss(self) -> Any:
        """The integral of l over the step."""
        if self.field.running is None:
            return arb(0)
        return self._integral(self.values[self.field.running].rows[0], self.at.reach.running, 0.0)

    def carry(self, part: Part) -> None:
        """Add the step's integrals to a part, and take its costate to the step's end."""
        reach, on = self.at.reach, float(part.integral)
        l_z = self.l_z if part.integral else series.constants([0] * self.d)
        rows = jets.costate_jets(self.J, l_z, part.a, self.h, self.n)
        a = Series([arb_series(row) for row in rows])
        start = np.array([upper(v) for v in part.a])
        a_sup = grown(reach.J.T, reach.R, up(start + on * reach.R * reach.l_z))
        a_off = max(1.0, self.growth) * part.alpha * (1 + 1e-12)
        if not (np.isfinite(a_sup).all() and np.isfinite(a_off)):
            raise NotEnoughDigits("the costate's bound is infinite", float(self.at.t.mid()), float(self.h.mid()))
        self._integrals(part, a, a_sup, a_off)
        ends = [sum(reversed(row), arb(0)) for row in rows]
        off = np.array([upper(v.rad()) for v in ends]) + a_sup * self.geo
        part.a = [v.mid() for v in ends]
        part.alpha = self.growth * part.alpha * (1 + 1e-12) + length(off)

    def _integrals(self, part: Part, a: Series, a_sup: Array, a_off: float) -> None:
        field, on = self.field, int(part.integral)
        seeds = {field.rate: a}
        sizes = {field.rate: np.stack([a_sup, np.full(self.d, a_off)], axis=1)}
        if field.running is not None and on:
            seeds[field.running] = series.constants([1])
            sizes[field.running] = np.array([[1.0, 0.0]])
        g, g_sup = pull_series(self.values, seeds), pull_sizes(self.at.reach.values, sizes)
        for node, op in enumerate(field.graph.ops):
            mine, bound = g[node], g_sup[node]
            if op.kind == "linear" and op.data.leaf and mine is not None and bound is not None:
                x = op.args[0]
                found = quadrature.outer(mine, self.values[x]) * -self.h
                y = self.at.reach.values[x].sup
                error = quadrature.outer_error(bound[:, 0], bound[:, 1], y, self.geo)
                part.gathered.add(op.data, found, up(self.size * error))
        self._control(part, g, g_sup)
        if isinstance(self.sample.problem.model.depth, Galerkin) and self.sample.problem.model.depth.interval == "span":
            self._turn(part, a, a_sup, a_off, g, g_sup)

    def _control(self, part: Part, g: list[Any], g_sup: list[Any]) -> None:
        """dloss/dx by what the field sees of x: the integral of its cotangent."""
        node = self.field.graph.inputs.get("x")
        if node is not None and g[node] is not None:
            for j, row in enumerate(g[node].rows):
                part.x[j] = part.x[j] + self._integral(row, *g_sup[node][j])

    def _turn(self, part: Part, a: Series, a_sup: Array, a_off: float, g: list[Any], g_sup: list[Any]) -> None:
        """The integrals of H = a . z' + l, of its partial derivative H_t in t alone, and of (t - t0) H_t."""
        rate, field = self.values[self.field.rate], self.field
        for i in range(self.d):
            bound = float(a_sup[i] * self.at.reach.rate[i])
            off = float(a_off * self.at.reach.rate[i])
            part.turn[0] = part.turn[0] + self._integral(a.rows[i] * rate.rows[i], bound, off)
        if field.running is not None and part.integral:
            part.turn[0] = part.turn[0] + self.loss()
        slopes = inputs.rates_as_series(field, self.at.t, self.h)
        rho = self.at.reach.values[field.z].rho
        sups = inputs.rates_as_discs(field, self.at.t, rho)
        since = arb_series([self.at.t - self.sample.t0, self.h])
        far = upper(self.at.t - self.sample.t0) + self.at.reach.R
        for name in field.timed:
            node = field.graph.inputs[name]
            if g[node] is None:
                continue
            for j in range(len(g[node])):
                row = g[node].rows[j] * slopes[name].rows[j]
                bound, off = (float(v) for v in g_sup[node][j] * sups[name].sup[j])
                part.turn[1] = part.turn[1] + self._integral(row, bound, off)
                part.turn[2] = part.turn[2] + self._integral(row * since, bound * far, off * far)

    def _integral(self, row: Any, bound: float, off: float) -> Any:
        """The integral over the step of a function with this series, bounded on the disc, known up to `off`."""
        error = self.size * (bound * self.geo + off) * (1 + 1e-9)
        return -self.h * quadrature.integral(row) + arb(0, error)


def hamiltonian(
    field: Field, sample: Sample, cell: int, t: Any, z: list[Any], a: list[Any], integral: bool
) -> Any:
    """H = a . z' + l at one depth, on balls."""
    with truncated(1):
        given = inputs.as_series(field, sample, cell, t, arb(0))
        values: Values = run_series(field.graph, {**given, "z": series.constants(z)})
        rate = series.coefficients(values[field.rate], 1).entries()
        total = sum((v * w for v, w in zip(a, rate, strict=True)), arb(0))
        if field.running is not None and integral:
            total = total + series.coefficients(values[field.running], 1).entries()[0]
        return total


def psi_products(field: Field, sample: Sample, cell: int, stretch: Stretch, effort: Effort) -> Any:
    """int psi psi^T dt (m, m) over a segment, as balls: what the gradient of int |theta(t)|^2 dt is made of."""
    total = None
    for leap, at in zip(stretch.leaps, stretch.knots[1:], strict=True):
        with truncated(effort.order):
            psi = inputs.as_series(field, sample, cell, at.t, -leap.h)["psi"]
            found = quadrature.outer(psi, psi) * leap.h
        sup = at.reach.values[field.graph.inputs["psi"]].sup
        size = upper(leap.h)
        error = up(size * quadrature.outer_error(sup, np.zeros(len(sup)), sup, tail(size / at.reach.R, effort.order)))
        balls = found.entries()
        wide = [v + arb(0, e) for v, e in zip(balls, error.ravel().tolist(), strict=True)]
        total = wide if total is None else [v + w for v, w in zip(total, wide, strict=True)]
    return total
