"""Values: the numbers of a problem in one record. Gradients and perturbations of them are records of the same shape."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refnode.arrays import Array, flatten, unflatten

if TYPE_CHECKING:
    from refnode.model import Problem


@dataclass(frozen=True, eq=False)
class Values:
    """The numbers a loss depends on.

    alpha    coefficients of theta(t): (p,), or (m, p)
    w_x, w_y parameters of h_x and h_y, flat
    x        inputs (b, n)
    t0, T    ends of the span, () or (b,)
    t_obs    observation times (K,)
    """

    alpha: Array
    w_x: Array
    w_y: Array
    x: Array
    t0: Array
    T: Array
    t_obs: Array

    def items(self) -> Iterator[tuple[str, Array]]:
        """(name, array) in order."""
        return ((f.name, getattr(self, f.name)) for f in fields(self))

    @property
    def dtype(self) -> np.dtype[Any]:
        """complex128 as soon as one of them is."""
        return np.result_type(*(a for _, a in self.items()))

    def bounds(self) -> list[Array]:
        """[t0, t_1, .., t_K, T]: the ends of the segments between break-points."""
        return [self.t0, *self.t_obs, self.T]

    def like(self, value: float) -> "Values":
        """A record of the same shapes, filled with one number."""
        return Values(*(np.full(a.shape, value) for _, a in self.items()))

    def shifted(self, step: complex, along: "Values") -> "Values":
        """self + step * along."""
        return Values(*(a + step * d for (_, a), (_, d) in zip(self.items(), along.items(), strict=True)))


def named(values: Values, problem: "Problem") -> dict[str, Array]:
    """The record as leaves by their public names: theta.W0, h_x.W0, x, t0, T, t_obs."""
    model = problem.model
    prefix, lead = model.depth.leaf_prefix, len(model.depth.lead)
    flat = {prefix: (values.alpha, model.field.shapes), "h_x": (values.w_x, model.h_x.shapes)}
    flat["h_y"] = (values.w_y, model.h_y.shapes)
    leaves = {f"{p}.{name}": leaf for p, (w, shapes) in flat.items() for name, leaf in unflatten(w, shapes).items()}
    assert lead == values.alpha.ndim - 1
    leaves |= {"x": values.x, "t0": values.t0, "T": values.T}
    return leaves | {"t_obs": values.t_obs} if len(values.t_obs) else leaves


def unnamed(leaves: Mapping[str, Array], problem: "Problem") -> Values:
    """The inverse of `named`."""
    model = problem.model

    def part(prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> Array:
        return flatten({name: leaves[f"{prefix}.{name}"] for name in shapes}, shapes)

    return Values(
        part(model.depth.leaf_prefix, model.field.shapes),
        part("h_x", model.h_x.shapes),
        part("h_y", model.h_y.shapes),
        leaves["x"],
        leaves["t0"],
        leaves["T"],
        leaves.get("t_obs", np.zeros(0)),
    )


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
        own = name == "x" or (name in ("t0", "T") and a.ndim == 1)
        indices = [(slice(None), *i) for i in np.ndindex(a.shape[1:])] if own else list(np.ndindex(a.shape))
        for index in indices:
            unit = np.zeros(a.shape)
            unit[index] = 1.0
            yield Direction((name, index), replace(zero, **{name: unit}), own)
