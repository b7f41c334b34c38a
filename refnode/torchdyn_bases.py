"""The bases of torchdyn's Galerkin layers, as they are, for comparison with it. Not recommended for anything else.

A layer of degree `deg` takes the numbers n_k = linspace(0, deg, deg), k = 1 .. deg, for frequencies, powers or scales:
0, 1.25, 2.5, 3.75, 5 for deg = 5. They are no harmonics of any span, and many of the functions depend on each other, up
to rounding or wholly: `rn.gram` says how much.

The argument is t itself, not a fraction of the span: use `rn.Galerkin(rn.TorchdynFourier(5), interval=(0.0, 1.0))`,
for which u = t. torchdyn's `dilation` and `shift` are at 1 and 0, where they start. Coefficients correspond by
alpha_j = coeffs[:, k, i] with j = i deg + k, where i counts cosines and sines (Fourier) and is 0 otherwise.

Source   torchdyn 1.0.6, torchdyn/nn/galerkin.py; numbers it gives stand in tests/torchdyn_bases.json.
"""

from dataclasses import dataclass

import numpy as np

from refnode.arrays import Array, count
from refnode.bases import NoKinks, polynomials


@dataclass(frozen=True)
class OfDegree(NoKinks):
    """What they share: deg numbers n_k, and one function for each unless said otherwise."""

    deg: int

    def __post_init__(self) -> None:
        count("deg", self.deg)

    @property
    def m(self) -> int:
        """deg."""
        return self.deg

    @property
    def numbers(self) -> Array:
        """n_k (deg,)."""
        return np.linspace(0, self.deg, self.deg)


@dataclass(frozen=True)
class TorchdynFourier(OfDegree):
    """cos(n_k t), then sin(n_k t): 2 deg functions, one of them sin(0 t) = 0.

    For deg = 5 on [0, 1] the Gram matrix has rank 9 of 10; in float32, torchdyn's usual dtype, 8 functions are seen.
    """

    @property
    def m(self) -> int:
        """2 deg."""
        return 2 * self.deg

    def psi(self, u: Array, cell: int = 0) -> Array:
        """The cosines, the sines."""
        angle = np.asarray(u)[..., None] * self.numbers
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)

    def slope(self, u: Array, cell: int = 0) -> Array:
        """-n sin, n cos."""
        angle = np.asarray(u)[..., None] * self.numbers
        return np.concatenate([-self.numbers * np.sin(angle), self.numbers * np.cos(angle)], axis=-1)


@dataclass(frozen=True)
class TorchdynPolynomial(OfDegree):
    """t^{n_k}: powers that are not whole, for t >= 0 only. The second derivative of t^1.25 is infinite at t = 0."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """t^n."""
        return np.asarray(u)[..., None] ** self.numbers

    def slope(self, u: Array, cell: int = 0) -> Array:
        """n t^(n-1); n is 0 or above 1."""
        return self.numbers * np.asarray(u)[..., None] ** np.maximum(self.numbers - 1, 0)


@dataclass(frozen=True)
class TorchdynChebychev(OfDegree):
    """Chebyshev's T_0 .. T_{deg-1} of t itself: not mapped to [-1, 1], so on [0, 1] by their right half."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """T_k(t)."""
        return polynomials(np.asarray(u), self.deg, False)[0]

    def slope(self, u: Array, cell: int = 0) -> Array:
        """T_k'(t)."""
        return polynomials(np.asarray(u), self.deg, False)[1]


@dataclass(frozen=True)
class TorchdynGaussianRBF(OfDegree):
    """exp(-(n_k t / 2)^2): bells of different widths, all centred at 0."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """The bells."""
        return np.exp(-((np.asarray(u)[..., None] * self.numbers / 2) ** 2))

    def slope(self, u: Array, cell: int = 0) -> Array:
        """-n^2 t / 2 times the bells."""
        return -(self.numbers**2) * np.asarray(u)[..., None] / 2 * self.psi(u)


@dataclass(frozen=True)
class TorchdynVanillaRBF(OfDegree):
    """|t| n_k / 2: deg multiples of one function, a Gram matrix of rank 1."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """|t| n / 2."""
        return np.asarray(u * side(u))[..., None] * self.numbers / 2

    def slope(self, u: Array, cell: int = 0) -> Array:
        """n / 2, with the sign of t."""
        return side(u)[..., None] * self.numbers / 2


@dataclass(frozen=True)
class TorchdynMultiquadRBF(OfDegree):
    """1 + sqrt(1 + (t n_k / 2)^2): centred at 0, all of them."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """1 + the root."""
        return 1 + self._root(u)

    def slope(self, u: Array, cell: int = 0) -> Array:
        """(n / 2)^2 t over the root."""
        return (self.numbers / 2) ** 2 * np.asarray(u)[..., None] / self._root(u)

    def _root(self, u: Array) -> Array:
        return np.sqrt(1 + (np.asarray(u)[..., None] * self.numbers / 2) ** 2)


def side(u: Array) -> Array:
    """-1 for t < 0, else 1, by the real part: |t| = t side(t) also under the complex step."""
    return np.where(np.real(u) < 0, -1.0, 1.0)
