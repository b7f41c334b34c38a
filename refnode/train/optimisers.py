"""Optimisers: one step of the trained numbers w (p,) against a gradient g (p,).

Each is a value without state. What it remembers between steps k = 0, 1, .. are its slots, a mapping of arrays (p,) that
`start` makes and every `step` replaces; a checkpoint keeps them.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refnode.arrays import Array, finite, flag, positive
from refnode.errors import InvalidArgument
from refnode.train.schedules import Rate, checked_rate, rate_at

Slots = dict[str, Array]


class Optimiser(Protocol):
    """What `fit` needs; any object with these two is one. Its repr should say all its settings (see `rn.fit`)."""

    def start(self, p: int) -> Slots: ...

    def step(self, k: int, w: Array, g: Array, slots: Slots) -> tuple[Array, Slots]: ...


@dataclass(frozen=True)
class SGD:
    """Gradient descent with momentum.

        g <- g + weight_decay w;   v <- momentum v + g;   w <- w - rate v,   or with Nesterov w - rate (g + momentum v)

    Source   Sutskever et al. 2013; the rate stands outside v, as in torch.optim.SGD.
    """

    rate: Rate = 1e-2
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        checked_rate(self.rate)
        _fraction("momentum", self.momentum)
        _not_negative("weight_decay", self.weight_decay)
        if flag("nesterov", self.nesterov) and self.momentum == 0:
            raise InvalidArgument("nesterov", "True with momentum 0", "False, or with a momentum")

    def start(self, p: int) -> Slots:
        """v = 0."""
        return {"v": np.zeros(p)} if self.momentum else {}

    def step(self, k: int, w: Array, g: Array, slots: Slots) -> tuple[Array, Slots]:
        """w and v after step k."""
        g = g + self.weight_decay * w
        if not self.momentum:
            return w - rate_at(self.rate, k) * g, {}
        v = self.momentum * slots["v"] + g
        along = g + self.momentum * v if self.nesterov else v
        return w - rate_at(self.rate, k) * along, {"v": v}


@dataclass(frozen=True)
class Adam:
    """Adaptive moments.

        g <- g + weight_decay w;   m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
        w <- w - rate m^ / (sqrt(v^) + eps),   m^ = m / (1 - beta1^(k + 1)),   v^ = v / (1 - beta2^(k + 1))

    Source   Kingma and Ba 2015, algorithm 1.
    """

    rate: Rate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_adam(self)

    def start(self, p: int) -> Slots:
        """m = v = 0."""
        return {"m": np.zeros(p), "v": np.zeros(p)}

    def step(self, k: int, w: Array, g: Array, slots: Slots) -> tuple[Array, Slots]:
        """w, m and v after step k."""
        along, slots = _moments(self, k, g + self.weight_decay * w, slots)
        return w - rate_at(self.rate, k) * along, slots


@dataclass(frozen=True)
class AdamW:
    """Adam with a weight decay of its own, outside the moments.

        w <- (1 - rate weight_decay) w - rate m^ / (sqrt(v^) + eps)

    Source   Loshchilov and Hutter 2019, algorithm 2, with the decay multiplied by the rate, as in torch.optim.AdamW.
    """

    rate: Rate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        _check_adam(self)

    def start(self, p: int) -> Slots:
        """m = v = 0."""
        return {"m": np.zeros(p), "v": np.zeros(p)}

    def step(self, k: int, w: Array, g: Array, slots: Slots) -> tuple[Array, Slots]:
        """w, m and v after step k."""
        rate = rate_at(self.rate, k)
        along, slots = _moments(self, k, g, slots)
        return (1 - rate * self.weight_decay) * w - rate * along, slots


def _moments(adam: Adam | AdamW, k: int, g: Array, slots: Slots) -> tuple[Array, Slots]:
    """m^ / (sqrt(v^) + eps), and the moments m, v."""
    m = adam.beta1 * slots["m"] + (1 - adam.beta1) * g
    v = adam.beta2 * slots["v"] + (1 - adam.beta2) * g**2
    m_hat, v_hat = m / (1 - adam.beta1 ** (k + 1)), v / (1 - adam.beta2 ** (k + 1))
    return m_hat / (np.sqrt(v_hat) + adam.eps), {"m": m, "v": v}


def _check_adam(adam: Adam | AdamW) -> None:
    checked_rate(adam.rate)
    _fraction("beta1", adam.beta1)
    _fraction("beta2", adam.beta2)
    positive("eps", adam.eps)
    _not_negative("weight_decay", adam.weight_decay)


def _fraction(name: str, value: float) -> None:
    if not 0 <= finite(name, value) < 1:
        raise InvalidArgument(name, value, "at least 0 and below 1")


def _not_negative(name: str, value: float) -> None:
    if finite(name, value) < 0:
        raise InvalidArgument(name, value, "at least 0")
