"""One gradient of every leaf by Taylor steps of one order and one length."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from refnode.arrays import Array, unflatten
from refnode.oracle.taylor.core.cotangents import Gathered
from refnode.oracle.taylor.decimals import Decimals, decimals, exact, number, pairs
from refnode.oracle.taylor.solve import Precision, Room, Sample, Setup, room
from refnode.oracle.taylor.times import Bound, bounds_of, times_vjp


@dataclass(frozen=True, eq=False)
class TaylorGradient:
    """A gradient, and what it was added up from.

    grads    leaf -> Decimals;  sizes   leaf -> sums of the absolute values of what was added
    """

    loss: Decimal
    loss_size: float
    grads: dict[str, Decimals]
    sizes: dict[str, Array]


def taylor_gradient(setup: Setup, precision: Precision) -> TaylorGradient:
    """The loss and its gradient; call it within a Decimal context of `DIGITS` digits."""
    return _Gradient(setup, precision).computed()


class _Gradient:
    """Sums over samples. A sum is a pair: of numbers (Decimals) and of their sizes (floats)."""

    def __init__(self, setup: Setup, precision: Precision) -> None:
        self.setup, self.problem, self.precision = setup, setup.problem, precision
        self.room: Room = room(setup, precision.orders)
        values, batch = self.problem.values, self.problem.batch
        self.loss, self.loss_size = Decimal(0), 0.0
        shapes = {"t0": (batch,), "T": (batch,), "t_obs": values.t_obs.shape, "edges": values.edges.shape}
        shapes |= {"x": self.problem.x.shape, "alpha": values.alpha.shape}
        self.sums = {name: exact(np.zeros(shape)) for name, shape in shapes.items()}
        self.sizes = {name: np.zeros(shape) for name, shape in shapes.items()}

    def computed(self) -> TaylorGradient:
        """Every sample, then what weights have gathered."""
        for i in range(self.problem.batch):
            self._add_sample(i)
        for cell in self.setup.cells:
            self._add_weights(cell)
        leaves = [self._leaves(values, flat) for values, flat in ((self.sums, _exactly), (self.sizes, _size))]
        return TaylorGradient(self.loss, self.loss_size, *leaves)

    def _add_sample(self, i: int) -> None:
        problem, values = self.problem, self.problem.resolved
        t0 = Decimal(float(np.broadcast_to(values.t0, problem.batch)[i]))
        T = Decimal(float(np.broadcast_to(values.T, problem.batch)[i]))
        x = pairs(exact(problem.x[i]))
        if self.setup.depth is not None:
            T = t0 + decimals(self.setup.depth.forward(x))[0]
        bounds = bounds_of(problem, i, t0, T)
        sample = Sample(self.setup, self.room, self.precision, i, bounds)
        sample.out()
        sample.back()
        self.loss, self.loss_size = self.loss + sample.loss, self.loss_size + abs(float(sample.loss))
        self._add("x", i, *sample.start_vjp())
        self._add_control(i)
        self._add_times(i, sample, self._span_vjp(bounds))
        self._hand_on_end(i, x)

    def _hand_on_end(self, i: int, x: Array) -> None:
        """T = t0 + g_w(x) of an adaptive depth hands its derivative on to t0, to w and to x."""
        if self.setup.depth is None:
            return
        g_T, size = self.sums["T"][i], self.sizes["T"][i]
        self.sums["T"][i], self.sizes["T"][i] = Decimal(0), 0.0
        self.sums["t0"][i] += g_T
        self.sizes["t0"][i] += size
        self._add("x", i, *self.setup.depth.vjp(x, pairs([g_T]), self.room.depth))

    def _add(self, name: str, i: int, g: Array, size: Array) -> None:
        """Add pairs g (2, ..) to row i, with their sizes."""
        self.sums[name][i] += decimals(g)
        self.sizes[name][i] += np.maximum(size, np.abs(g[0]))

    def _add_control(self, i: int) -> None:
        """What x gets through the control of the field: the integrals of the constants' cotangents, then set to 0."""
        model, x = self.problem.model, self.problem.x[i : i + 1]
        n = model.control_width(x.shape[1])
        for _, _, G in self.room.cells.values():
            high, low, size = (model.control_vjp(x, part[None, :n])[0] for part in (G.c_h, G.c_l, G.c_size))
            self.sums["x"][i] += exact(high) + exact(low)
            self.sizes["x"][i] += size
            for part in (G.c_h, G.c_l, G.c_size):
                part[:] = 0.0

    def _span_vjp(self, bounds: list[Bound]) -> tuple[Decimal, Decimal, float]:
        """What t0 and T get through u = w_0 t + w_1, w_0 = 1 / (T - t0), w_1 = -t0 / (T - t0)."""
        t0, T, size = Decimal(0), Decimal(0), 0.0
        start, length = bounds[0].t, bounds[-1].t - bounds[0].t
        for cell, (dynamics, _) in self.setup.cells.items():
            G, k = self.room.cells[cell][2], dynamics.follows
            if k is None:
                continue
            g_0, g_1 = decimals(np.stack([G.w_h[k : k + 2], G.w_l[k : k + 2]]))
            g_T = (g_1 * start - g_0) / length**2
            T, t0 = T + g_T, t0 - g_T - g_1 / length
            largest = (G.w_size[k] + G.w_size[k + 1] * abs(float(start))) / float(length) ** 2
            size += largest + G.w_size[k + 1] / abs(float(length))
            for part in (G.w_h, G.w_l, G.w_size):
                part[k : k + 2] = 0.0
        return t0, T, size

    def _add_times(self, i: int, sample: Sample, span: tuple[Decimal, Decimal, float]) -> None:
        sizes = [Decimal(size) for size in sample.size_t]
        for into, g, more in (
            (self.sums, times_vjp(self.problem, sample.bounds, sample.g_t), span[:2]),
            (self.sizes, times_vjp(self.problem, sample.bounds, sizes, absolute=True), (Decimal(span[2]),) * 2),
        ):
            like = float if into is self.sizes else Decimal
            into["t0"][i] += like(g.t0 + more[0])
            into["T"][i] += like(g.T + more[1])
            into["t_obs"] += g.t_obs.astype(into["t_obs"].dtype)
            into["edges"] += g.edges.astype(into["edges"].dtype)

    def _add_weights(self, cell: int) -> None:
        """alpha's gradient from the weights of a cell, the parameter norm's included."""
        (dynamics, _), G = self.setup.cells[cell], self.room.cells[cell][2]
        p, alpha = len(self.problem.values.alpha), exact(self.problem.values.alpha)
        self.sums["alpha"] += decimals(np.stack([G.w_h[:p], G.w_l[:p]]))
        self.sizes["alpha"] += G.w_size[:p]
        for norm in dynamics.norms:
            g = number((G.w_h[norm.at], G.w_l[norm.at]))
            change = norm.vjp(alpha, g)
            self.sums["alpha"] += change
            self.sizes["alpha"] += np.abs(change.astype(np.float64))

    def _leaves(self, sums: dict[str, Array], of: Callable[[Gathered], Array]) -> dict[str, Array]:
        """By their public names."""
        problem, flat = self.problem, dict(sums)
        flat |= {"w_x": of(self.room.h_x), "w_y": of(self.room.h_y), "w_T": of(self.room.depth)}
        leaves: dict[str, Array] = {}
        for part, shapes in problem.model.parts.items():
            leaves |= unflatten(flat[part], shapes)
        leaves["x"] = flat["x"]
        for name in ("t0", "T"):
            end = getattr(problem.values, name)
            leaves[name] = np.asarray(flat[name].sum()) if end.ndim == 0 else flat[name]
        if problem.model.adaptive:
            del leaves["T"]
        return leaves | ({"t_obs": flat["t_obs"]} if len(flat["t_obs"]) else {})


def _exactly(G: Gathered) -> Decimals:
    return decimals(np.stack([G.w_h, G.w_l]))


def _size(G: Gathered) -> Array:
    return G.w_size
