"""Running losses l(t, z, theta, x, z') of the integral in equation (3), with jvp and vjp.                 (3)

`rate` is z', or its last block f where the order is above one: a term says which it sees by its attribute `of`.
z (b, d), theta (p,) or (b, p), x (b, n), rate (b, d or width of f), t () or (b,); values and cotangents g are (b,).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from refnode.arrays import Array, column, float64, one_of
from refnode.errors import InvalidArgument
from refnode.loss import Weighted


class RunningArgs(NamedTuple):
    """The arguments of a running loss, or perturbations or cotangents of them: same names, same shapes."""

    t: Array
    z: Array
    theta: Array
    x: Array
    rate: Array


class RunningLoss(Protocol):
    """What the dynamics need of a running loss."""

    of: Literal["field", "state"]

    def factor(self, batch: int) -> float: ...

    def check(self, name: str, batch: int, width: int) -> None: ...

    def value(self, at: RunningArgs) -> Array: ...  # (b,)

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array: ...  # (b,)

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs: ...  # cotangents


def no_cotangent(at: RunningArgs) -> RunningArgs:
    """Zero cotangents, t as (b,): a term replaces those it has."""
    return RunningArgs(np.zeros(len(at.z)), *(np.zeros(a.shape) for a in at[1:]))


@dataclass(frozen=True, eq=False)
class Plain(Weighted):
    """What the built-in running losses share: nothing to check, and the field's rate."""

    of: Literal["field", "state"] = "field"

    def check(self, name: str, batch: int, width: int) -> None:
        """Fits every state."""
        one_of(f"{name}.of", self.of, ("field", "state"))


@dataclass(frozen=True, eq=False)
class SquaredNorm(Plain):
    """l = |z|^2."""

    def value(self, at: RunningArgs) -> Array:
        """(b,)."""
        return (at.z**2).sum(axis=1)

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array:
        """2 z . dz (b,)."""
        return 2 * (at.z * d.z).sum(axis=1)

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs:
        """2 g z in z."""
        return no_cotangent(at)._replace(z=2 * column(g) * at.z)


@dataclass(frozen=True, eq=False)
class Kinetic(Plain):
    """l = |f|^2 (of="field") or |z'|^2 (of="state"; another thing when the order is above one)."""

    def value(self, at: RunningArgs) -> Array:
        """(b,)."""
        return (at.rate**2).sum(axis=1)

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array:
        """2 f . df (b,)."""
        return 2 * (at.rate * d.rate).sum(axis=1)

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs:
        """2 g f in f: reaches z, theta, x and t through the field."""
        return no_cotangent(at)._replace(rate=2 * column(g) * at.rate)


@dataclass(frozen=True, eq=False)
class ParameterNorm(Plain):
    """l = |theta(t)|^2: weight decay along the depth, the plainest loss with dl/dtheta != 0."""

    def value(self, at: RunningArgs) -> Array:
        """(b,)."""
        return np.broadcast_to((at.theta**2).sum(axis=-1), (len(at.z),))

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array:
        """2 theta . dtheta (b,)."""
        return np.broadcast_to(2 * (at.theta * d.theta).sum(axis=-1), (len(at.z),))

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs:
        """2 g theta in theta, summed over the batch for a shared theta."""
        return no_cotangent(at)._replace(theta=2 * at.theta * (g.sum() if at.theta.ndim == 1 else column(g)))


@dataclass(frozen=True, eq=False)
class Harmonic:
    """beta_j(t) = amplitude_j cos(2 pi frequency_j t + phase_j): a target to track, readable in any language."""

    amplitude: Any  # array-likes given, read-only float64 (d,) kept
    frequency: Any
    phase: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "amplitude", float64("amplitude", self.amplitude, (None,)))
        for name in ("frequency", "phase"):
            object.__setattr__(self, name, float64(name, getattr(self, name), self.amplitude.shape))

    def __call__(self, t: Array) -> Array:
        """beta (d,) or (b, d) for t () or (b,)."""
        return self.amplitude * np.cos(2 * np.pi * self.frequency * column(t) + self.phase)

    def slope(self, t: Array) -> Array:
        """beta' (d,) or (b, d)."""
        omega = 2 * np.pi * self.frequency
        return -omega * self.amplitude * np.sin(omega * column(t) + self.phase)


@dataclass(frozen=True, eq=False)
class Tracking(Weighted):
    """l = |z - beta(t)|^2 for a given path beta with beta(t) (d,) or (b, d) and beta.slope(t) its derivative."""

    beta: Any
    of: Literal["field", "state"] = "field"

    def check(self, name: str, batch: int, width: int) -> None:
        """beta must be callable, have a slope, and fit the state."""
        one_of(f"{name}.of", self.of, ("field", "state"))
        if not callable(self.beta) or not callable(getattr(self.beta, "slope", None)):
            raise InvalidArgument(f"{name}.beta", self.beta, "callable, with a method slope (see rn.Harmonic)")
        shape = np.shape(self.beta(np.zeros(batch)))
        if shape not in ((batch, width), (width,)):
            raise InvalidArgument(f"{name}.beta", f"beta(t) of shape {shape} for t ({batch},)", f"({batch}, {width})")

    def value(self, at: RunningArgs) -> Array:
        """(b,)."""
        return ((at.z - self.beta(at.t)) ** 2).sum(axis=1)

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array:
        """2 (z - beta) . (dz - beta' dt) (b,)."""
        return 2 * ((at.z - self.beta(at.t)) * (d.z - self.beta.slope(at.t) * column(d.t))).sum(axis=1)

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs:
        """2 g (z - beta) in z, and against beta' in t."""
        g_z = 2 * column(g) * (at.z - self.beta(at.t))
        return no_cotangent(at)._replace(t=-(g_z * self.beta.slope(at.t)).sum(axis=1), z=g_z)


@dataclass(frozen=True, eq=False)
class UserRunning(Weighted):
    """Your own running loss, from three functions of RunningArgs: value, jvp and vjp, as the protocol above has them.

    `no_cotangent(at)._replace(z=.., theta=..)` builds the vjp's answer. Complex-safe, like a field.
    """

    fn_value: Callable[[RunningArgs], Array]
    fn_jvp: Callable[[RunningArgs, RunningArgs], Array]
    fn_vjp: Callable[[RunningArgs, Array], RunningArgs]
    of: Literal["field", "state"] = "field"

    def check(self, name: str, batch: int, width: int) -> None:
        """The functions must be functions."""
        one_of(f"{name}.of", self.of, ("field", "state"))
        for part in ("fn_value", "fn_jvp", "fn_vjp"):
            if not callable(getattr(self, part)):
                raise InvalidArgument(f"{name}.{part}", getattr(self, part), "a function of RunningArgs")

    def value(self, at: RunningArgs) -> Array:
        """(b,)."""
        return self.fn_value(at)

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array:
        """(b,)."""
        return self.fn_jvp(at, d)

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs:
        """Cotangents of every argument."""
        return self.fn_vjp(at, g)
