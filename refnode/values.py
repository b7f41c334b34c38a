"""Values: the numbers of a problem in one record. Gradients and perturbations of them are records of the same shape."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.arrays import Array, flatten, unflatten

if TYPE_CHECKING:
    from refnode.problem import Problem


@dataclass(frozen=True, eq=False)
class Values:
    """The numbers a loss depends on.

    alpha    coefficients of theta(t), flat
    edges    of a stacked depth, as fractions of its interval (m - 1,); else (0,)
    w_x, w_y parameters of h_x and h_y, flat
    w_T      parameters of the adaptive depth, flat
    x        inputs (b, n)
    t0, T    ends of the span, () or (b,); with adaptive depth T is (0,) until `resolved` computes it
    t_obs    observation times (K,)
    """

    alpha: Array
    edges: Array
    w_x: Array
    w_y: Array
    w_T: Array
    x: Array
    t0: Array
    T: Array
    t_obs: Array

    def items(self) -> Iterator[tuple[str, Array]]:
        """(name, array) in order."""
        return ((name, getattr(self, name)) for name in self.__dataclass_fields__)

    @property
    def dtype(self) -> np.dtype[Any]:
        """complex128 as soon as one of them is."""
        return np.result_type(*(a for _, a in self.items()))

    def plus(self, other: "Values") -> "Values":
        """self + other."""
        return Values(*(a + b for (_, a), (_, b) in zip(self.items(), other.items(), strict=True)))

    def like(self, value: float) -> "Values":
        """A record of the same shapes, filled with one number."""
        if value == 0:  # what gradients are added to: np.full takes eight times as long
            return Values(*(np.zeros(a.shape) for _, a in self.items()))
        return Values(*(np.full(a.shape, value) for _, a in self.items()))

    def shifted(self, step: complex, along: "Values") -> "Values":
        """self + step * along."""
        return Values(*(a + step * d for (_, a), (_, d) in zip(self.items(), along.items(), strict=True)))


def named(values: Values, problem: "Problem") -> dict[str, Array]:
    """The record as leaves by their public names: theta.W0, edges, h_x.W0, T.W0, x, t0, T, t_obs."""
    leaves: dict[str, Array] = {}
    for part, shapes in problem.model.parts.items():
        leaves |= unflatten(getattr(values, part), shapes)
    leaves |= {"x": values.x, "t0": values.t0}
    leaves |= {} if problem.model.adaptive else {"T": values.T}
    return leaves | ({"t_obs": values.t_obs} if len(values.t_obs) else {})


def unnamed(leaves: Mapping[str, Array], problem: "Problem") -> Values:
    """The inverse of `named`."""
    flat = {part: flatten(leaves, shapes) for part, shapes in problem.model.parts.items()}
    none = np.zeros(0)
    return Values(**flat, x=leaves["x"], t0=leaves["t0"], T=leaves.get("T", none), t_obs=leaves.get("t_obs", none))


def resolved(values: Values, problem: "Problem") -> Values:
    """The record with T = t0 + g_w(x) (b,) of an adaptive depth computed; any other is returned as it is."""
    depth = problem.model.adaptive
    return values if depth is None else replace(values, T=values.t0 + depth.forward(values.w_T, values.x))


def resolved_jvp(values: Values, along: Values, problem: "Problem") -> Values:
    """The perturbation of the resolved record."""
    depth = problem.model.adaptive
    if depth is None:
        return along
    return replace(along, T=along.t0 + depth.jvp(values.w_T, values.x, along.w_T, along.x))


def resolved_vjp(values: Values, g: Values, problem: "Problem") -> Values:
    """The gradient with respect to the raw record for one, g, with respect to the resolved: T hands on to t0, w, x."""
    depth = problem.model.adaptive
    if depth is None:
        return g
    g_w, g_x = depth.vjp(values.w_T, values.x, g.T)
    t0 = g.t0 + (g.T.sum() if g.t0.ndim == 0 else g.T)
    return replace(g, T=np.zeros(0), t0=t0, w_T=g.w_T + g_w, x=g.x + g_x)


def resolved_magnitude(values: Values, g: Values, problem: "Problem") -> Values:
    """As `resolved_vjp`, of the absolute values of what every sample contributes."""
    depth = problem.model.adaptive
    if depth is None:
        return g
    own = np.broadcast_to(values.w_T, (len(values.x), len(values.w_T)))
    g_w, g_x = depth.vjp(own, values.x, g.T)
    t0 = g.t0 + (g.T.sum() if g.t0.ndim == 0 else g.T)
    return replace(g, T=np.zeros(0), t0=t0, w_T=g.w_T + np.abs(g_w).sum(axis=0), x=g.x + np.abs(g_x))


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit perturbation of one number, or of one number per sample at once.

    where    the record's field and the index there that are perturbed
    along    the perturbation
    own      True if every sample is perturbed in a number of its own: samples do not see each other, so one run
             gives b derivatives
    """

    where: tuple[str, tuple[Any, ...]]
    along: Values
    own: bool

    def put(self, grads: Values, per_sample: Array) -> None:
        """Write the derivatives of the samples' losses (b,) to the place they belong."""
        name, index = self.where
        getattr(grads, name)[index] = per_sample if self.own else per_sample.sum()


def directions(values: Values) -> Iterator[Direction]:
    """One direction for each number of the record; for x, and per-sample t0 or T, one for each number of a sample."""
    zero = values.like(0.0)
    for name, a in values.items():
        if a.size == 0:
            continue
        own = name == "x" or (name in ("t0", "T") and a.ndim == 1)
        indices = [(slice(None), *i) for i in np.ndindex(a.shape[1:])] if own else list(np.ndindex(a.shape))
        for index in indices:
            unit = np.zeros(a.shape)
            unit[index] = 1.0
            yield Direction((name, index), replace(zero, **{name: unit}), own)
