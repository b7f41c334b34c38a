"""The loss: terminal, at observation times, and along the path.                                          (3)

    loss = scale * [ L(T, h_y(z(T))) + sum_k L_k(t_k, h_y(z(t_k))) + int l(t, z, theta, x, z') dt ]

Each term gives one number per sample, is weighted, and is then summed over the batch, or averaged: the batch mean
divides once, here, and everything downstream sums. Features are summed, never averaged.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

import numpy as np

from refnode.arrays import Array, finite, float64, one_of, rectangular
from refnode.errors import InvalidArgument

Reduction = Literal["mean", "sum"]
POINT_METHODS = ("factor", "check", "value", "grad")
RUNNING_METHODS = ("factor", "check", "value", "jvp", "vjp")


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighted:
    """A term of the loss with its weight and its reduction over the batch; `0.1 * term` scales the weight."""

    weight: float = 1.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        one_of("reduction", self.reduction, ("mean", "sum"))
        object.__setattr__(self, "weight", finite("weight", self.weight))

    def __mul__(self, factor: float) -> Self:
        return replace(self, weight=self.weight * finite("weight", factor))

    __rmul__ = __mul__
    __array_ufunc__ = None  # array * term is refused above, not spread over the array by NumPy

    def factor(self, batch: int) -> float:
        """What a sample's number is multiplied by before the sum over the batch."""
        return self.weight / batch if self.reduction == "mean" else self.weight


class PointLoss(Protocol):
    """A loss of the prediction y = h_y(z(t)) at one time: terminal or observed."""

    def factor(self, batch: int) -> float: ...

    def check(self, name: str, batch: int, width: int) -> None: ...  # InvalidArgument if its data do not fit

    def value(self, t: Array, y: Array) -> Array: ...  # (b,)

    def grad(self, t: Array, y: Array) -> tuple[Array, Array]: ...  # of t (b,) and y (b, k)


@dataclass(frozen=True, eq=False)
class SquaredError(Weighted):
    """sum_j (y_j - target_j)^2 for each sample; target (b, k), or (k,) for all samples."""

    target: Any  # array-like given, read-only float64 kept

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "target", float64("target", self.target))

    def check(self, name: str, batch: int, width: int) -> None:
        """The target must have one row per sample and one column per output."""
        _check_rows(f"{name}.target", self.target, batch, width)

    def value(self, t: Array, y: Array) -> Array:
        """(b,)."""
        return ((y - self.target) ** 2).sum(axis=1)

    def grad(self, t: Array, y: Array) -> tuple[Array, Array]:
        """0 (b,) and 2 (y - target) (b, k)."""
        return np.zeros(len(y)), 2 * (y - self.target)


@dataclass(frozen=True, eq=False)
class LinearFunctional(Weighted):
    """sum_j c_j y_j for each sample; c (b, k), or (k,) for all samples."""

    c: Any  # array-like given, read-only float64 kept

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "c", float64("c", self.c))

    def check(self, name: str, batch: int, width: int) -> None:
        """c must have one column per output, and one row per sample if it has rows."""
        _check_rows(f"{name}.c", self.c, batch, width)

    def value(self, t: Array, y: Array) -> Array:
        """(b,)."""
        return (self.c * y).sum(axis=1)

    def grad(self, t: Array, y: Array) -> tuple[Array, Array]:
        """0 (b,) and c (b, k)."""
        return np.zeros(len(y)), np.broadcast_to(self.c, y.shape)


@dataclass(frozen=True, eq=False)
class StandardNormal(Weighted):
    """-log N(y; 0, I) = |y|^2 / 2 + k log(2 pi) / 2 for each sample y (k,): the base density of a flow."""

    def check(self, name: str, batch: int, width: int) -> None:
        """Fits every output."""

    def value(self, t: Array, y: Array) -> Array:
        """(b,)."""
        return (y**2).sum(axis=1) / 2 + y.shape[1] * np.log(2 * np.pi) / 2

    def grad(self, t: Array, y: Array) -> tuple[Array, Array]:
        """0 (b,) and y (b, k)."""
        return np.zeros(len(y)), y


@dataclass(frozen=True, eq=False)
class CrossEntropy(Weighted):
    """log sum_j e^(y_j) - y_label for each sample: y are logits (b, k), labels (b,) integers 0 .. k - 1."""

    labels: Any  # integers given, read-only int64 kept

    def __post_init__(self) -> None:
        super().__post_init__()
        given = rectangular("labels", self.labels)
        if given.dtype.kind not in "iu" or given.ndim != 1:
            raise InvalidArgument("labels", given, "integers of shape (b,)")
        labels = given.astype(np.int64)
        labels.setflags(write=False)
        object.__setattr__(self, "labels", labels)

    def check(self, name: str, batch: int, width: int) -> None:
        """One label per sample, each below the number of logits."""
        if len(self.labels) != batch:
            raise InvalidArgument(f"{name}.labels", f"shape {self.labels.shape}", f"of shape ({batch},)")
        if self.labels.min() < 0 or self.labels.max() >= width:
            was = f"labels from {self.labels.min()} to {self.labels.max()}"
            raise InvalidArgument(f"{name}.labels", was, f"from 0 to {width - 1}, one for each of {width} logits")

    def value(self, t: Array, y: Array) -> Array:
        """(b,)."""
        top = y.real.max(axis=1)
        log_sum = top + np.log(np.exp(y - top[:, None]).sum(axis=1))
        return log_sum - y[np.arange(len(y)), self.labels]

    def grad(self, t: Array, y: Array) -> tuple[Array, Array]:
        """0 (b,) and softmax(y) - one_hot(label) (b, k)."""
        e = np.exp(y - y.real.max(axis=1)[:, None])
        g = e / e.sum(axis=1, keepdims=True)
        g[np.arange(len(y)), self.labels] -= 1
        return np.zeros(len(y)), g


@dataclass(frozen=True, eq=False)
class UserLoss(Weighted):
    """Your own loss of the prediction at one time.

    Parameters
    ----------
    fn_value value(t, y) -> (b,), for t () or (b,) and y (b, k); row k may depend on row k of y only; complex-safe
    fn_grad  grad(t, y) -> derivative in t (b,) and in y (b, k)
    """

    fn_value: Callable[[Array, Array], Array]
    fn_grad: Callable[[Array, Array], tuple[Array, Array]]

    def check(self, name: str, batch: int, width: int) -> None:
        """The functions must be functions; what they return is checked where it is used."""
        for part in ("fn_value", "fn_grad"):
            if not callable(getattr(self, part)):
                raise InvalidArgument(f"{name}.{part}", getattr(self, part), "a function of (t, y)")

    def value(self, t: Array, y: Array) -> Array:
        """(b,)."""
        return self.fn_value(t, y)

    def grad(self, t: Array, y: Array) -> tuple[Array, Array]:
        """(b,) and (b, k)."""
        return self.fn_grad(t, y)


def _check_methods(name: str, term: object, methods: tuple[str, ...]) -> None:
    """term must be an object, not a class, that has these methods."""
    if isinstance(term, type) or not all(callable(getattr(term, m, None)) for m in methods):
        raise InvalidArgument(name, term, f"a loss with methods {', '.join(methods)}")


def _check_rows(name: str, a: Array, batch: int, width: int) -> None:
    """a must be (width,) or (batch, width)."""
    if a.shape not in ((width,), (batch, width)):
        raise InvalidArgument(name, f"shape {a.shape}", f"of shape ({batch}, {width}) or ({width},)")


@dataclass(frozen=True, eq=False)
class Observations:
    """Losses at given times behind t0 and not behind T, in the order in which depth passes them.

    Parameters
    ----------
    times    t_k (K,); they are a leaf, `t_obs`, with a gradient of their own
    terms    one point loss per time. One at T stays at its time when T moves; the terminal loss moves with T
    """

    times: Any  # array-like given, read-only float64 kept
    terms: tuple[PointLoss, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", float64("observations.times", self.times, (None,)))
        if not isinstance(self.terms, tuple | list):
            raise InvalidArgument("observations.terms", self.terms, "a tuple of point losses, one for each time")
        object.__setattr__(self, "terms", tuple(self.terms))
        if len(self.terms) != len(self.times) or not self.terms:
            allowed = f"one for each of {len(self.times)} times"
            raise InvalidArgument("observations.terms", f"{len(self.terms)} terms", allowed)
        for k, term in enumerate(self.terms):
            _check_methods(f"observations.terms[{k}]", term, POINT_METHODS)


def observe(times: Any, targets: Any, reduction: Reduction = "mean", weight: float = 1.0) -> Observations:
    """Squared errors against targets (K, b, k) at times (K,)."""
    t = float64("times", times, (None,))
    rows = float64("targets", targets, (len(t), None, None))
    return Observations(t, tuple(SquaredError(row, reduction=reduction, weight=weight) for row in rows))


@dataclass(frozen=True, eq=False)
class Loss:
    """Terminal loss, observation losses and running losses, times an upstream factor that scales every part.

    Parameters
    ----------
    terminal      a point loss at T, or None
    observations  `Observations`, or None
    running       a running loss (see `refnode.running`) or several, or ()
    scale         the upstream cotangent of the loss
    """

    terminal: PointLoss | None = None
    observations: Observations | None = None
    running: Any = ()  # a running loss or several given, a tuple kept
    scale: float = 1.0

    def __post_init__(self) -> None:
        terms = self.running if isinstance(self.running, tuple | list) else (self.running,)
        object.__setattr__(self, "running", tuple(terms))
        if self.terminal is not None:
            _check_methods("terminal", self.terminal, POINT_METHODS)
        for k, term in enumerate(self.running):
            _check_methods(f"running[{k}]", term, RUNNING_METHODS)
        if self.observations is not None and not isinstance(self.observations, Observations):
            raise InvalidArgument("observations", self.observations, "rn.Observations(times, terms) or None")
        object.__setattr__(self, "scale", finite("scale", self.scale))
        if self.terminal is None and self.observations is None and not self.running:
            raise InvalidArgument("loss", "no term at all", "a terminal, an observation or a running loss")

    @property
    def kinds(self) -> tuple[type, ...]:
        """The types of its terms."""
        points = self.observations.terms if self.observations else ()
        return tuple(type(term) for term in (self.terminal, *points, *self.running))
