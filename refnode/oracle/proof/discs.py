"""Sets of complex numbers with proven bounds: how large a function gets on a polydisc, in float64.

A Disc is a column of sets of complex numbers, each an affine image of the polydisc and a remainder:

    { c + sum_v A_v xi_v + e :   |xi_v| <= rho_v,   |e| <= r },      xi = (z - z_k, t - t_k)

The affine part passes through linear layers with its signs, so that what cancels there cancels in the bound; what a
nonlinear function adds is bounded by Taylor's theorem on the disc |w - c| <= m, m = |A| rho + r:

    |f(c + s) - f(c) - f'(c) s| <= m^2 / 2 sup |f''|    or    |f(c + s) - f(c)| <= m sup |f'|,   whichever is smaller

Rounding: all numbers are float64 of moderate size (see `dynamics.refuse`), and every bound is a sum of at most 2^10
products of non-negative numbers, whose relative error is below 2^10 2^-53 < SLACK (Higham 2002, Lemma 3.1); `up`
multiplies it away. What rounding does to c and A is at most SLACK times their magnitude and goes into r. Elementary
functions are taken from ball arithmetic where something is proven, from NumPy where a good radius is only looked for.

Source   Neumaier 1990, Interval Methods for Systems of Equations, ch. 2 (centred forms);
         de Figueiredo and Stolfi 2004, Affine arithmetic; Rump 1999, Fast and parallel interval arithmetic (discs).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flint import arb, ctx

from refnode.arrays import Array

SLACK = 2.0**-40
TINY = 1e-300  # above what underflow can lose in a function's value
WIDEST = 1.4  # tanh is bounded on discs of smaller radius: its poles are pi / 2 from the real axis


def up(bound: Array) -> Array:
    """A bound of non-negative numbers, rounded up by more than its computation can have lost."""
    return bound * (1 + SLACK)


def upper(ball: Any) -> float:
    """A float64 not below |x| for any x in the ball."""
    return float(ball.abs_upper()) * (1 + SLACK)


Elementary = Callable[[str, Array], Array]


def searched(name: str, x: Array) -> Array:
    """An elementary function by NumPy: good to guess by, not to prove by."""
    return getattr(np, name)(x)


def proven(name: str, x: Array) -> Array:
    """An elementary function by ball arithmetic of 64 bits, rounded: relative error below SLACK."""
    with ctx.workprec(64):
        return np.array([float(getattr(arb(v), name)()) for v in x.tolist()])


@dataclass(frozen=True, eq=False)
class Disc:
    """Rows { c + A xi + e }: c (n,), A (n, v), r (n,), for the polydisc rho (v,) shared by all."""

    c: Array
    A: Array
    r: Array
    rho: Array

    def __len__(self) -> int:
        return len(self.c)

    @cached_property
    def reach(self) -> Array:
        """m = |A| rho + r (n,)."""
        return up(np.abs(self.A) @ self.rho + self.r)

    @cached_property
    def sup(self) -> Array:
        """sup |w| (n,) of the sets."""
        return up(np.abs(self.c) + self.reach)

    def __add__(self, other: "Disc") -> "Disc":
        lost = SLACK * (self.sup + other.sup)
        return Disc(self.c + other.c, self.A + other.A, up(self.r + other.r + lost), self.rho)

    def __sub__(self, other: "Disc") -> "Disc":
        return self + other.scaled(-1)

    def __mul__(self, other: "Disc") -> "Disc":
        """Row by row; one row multiplies every row of the other. The product of two affine parts goes to r."""
        a, b = self, other
        c, d = a.c[:, None], b.c[:, None]
        r = np.abs(a.c) * b.r + np.abs(b.c) * a.r + a.reach * b.reach + SLACK * a.sup * b.sup
        return Disc(a.c * b.c, c * b.A + d * a.A, up(r), a.rho)

    def scaled(self, factor: Any) -> "Disc":
        """A real factor, a number or a ball, times every row."""
        f = float(arb(factor).mid())
        lost = (SLACK * abs(f) + upper(arb(factor).rad())) * self.sup
        return Disc(f * self.c, f * self.A, up(abs(f) * self.r + lost), self.rho)

    def __getitem__(self, rows: slice) -> "Disc":
        return Disc(self.c[rows], self.A[rows], self.r[rows], self.rho)


def disc_constants(numbers: Sequence[Any], rho: Array) -> Disc:
    """Numbers or balls, the same on the whole polydisc."""
    balls = [arb(v) for v in numbers]
    c = np.array([float(b.mid()) for b in balls])
    r = up(np.array([upper(b.rad()) for b in balls]) + SLACK * np.abs(c))
    return Disc(c, np.zeros((len(c), len(rho))), np.where(c == 0, [upper(b) for b in balls], r), rho)


def disc_stacked(parts: Sequence[Disc]) -> Disc:
    """One above the other."""
    c, A, r = (np.concatenate([getattr(p, name) for p in parts]) for name in ("c", "A", "r"))
    return Disc(c, A, r, parts[0].rho)


def disc_linear(M: Array, M_abs: Array, M_off: Array, x: Disc) -> Disc:  # M (o, i)
    """M x, for a matrix within M_off of M up to rounding, and bounded by M_abs."""
    return Disc(M @ x.c, M @ x.A, up(M_abs @ (x.r + SLACK * x.sup) + M_off @ x.sup), x.rho)


@dataclass(frozen=True, eq=False)
class OnDisc:
    """An elementary function on discs |w - c| <= m: f, f', f'' at c, and bounds of |f|, .., |f'''| on the disc."""

    at: tuple[Array, ...]
    sup: tuple[Array, ...]


def apply(on: OnDisc, u: Disc, k: int) -> Disc:
    """The k-th derivative, 0 or 1, of a function of the rows of u, by the better form of Taylor's theorem."""
    m = u.reach
    quadratic, wide = on.sup[k + 2] * m * m / 2, on.sup[k + 1] * m
    affine = quadratic < wide
    slope = np.where(affine, on.at[k + 1], 0.0)
    r = np.where(affine, np.abs(slope) * u.r + quadratic, wide) + SLACK * (np.abs(on.at[k]) + np.abs(slope) * m)
    r = r + TINY
    return Disc(on.at[k], slope[:, None] * u.A, up(r), u.rho)


def on_disc(name: str, u: Disc, f: Elementary) -> OnDisc:
    """The function of this name on the discs of u."""
    return FUNCTIONS[name](u.c, u.reach, f)


LARGE = 300.0  # e^300 is a float64 with room; beyond, bounds are infinite


def _or_infinite(bound: Array, x: Array) -> Array:
    return np.where(x < LARGE, bound, np.inf)


def _tanh(c: Array, m: Array, f: Elementary) -> OnDisc:
    """|1 - tanh^2 (x + iy)| = 2 / (cosh 2x + cos 2y) <= 2 / (cosh 2 max(0, |c| - m) + cos 2m) for m < pi / 2."""
    inside = m < WIDEST
    m = np.where(inside, m, WIDEST)
    h, s0 = f("tanh", c), f("cosh", np.minimum(np.abs(c), LARGE)) ** -2.0
    S = 2 / (f("cosh", 2 * np.minimum(np.maximum(np.abs(c) - m, 0.0) * (1 - SLACK), LARGE / 2)) + f("cos", 2 * m))
    S = np.where(inside, up(S), np.inf)
    T = up(np.abs(h) + m * S)
    return OnDisc((h, s0, -2 * h * s0), (T, S, up(2 * T * S), up(S * (6 * T * T + 2))))


def _sigmoid(c: Array, m: Array, f: Elementary) -> OnDisc:
    """s = (1 + h) / 2, h = tanh(w/2);  s' = (1 - h^2) / 4,  s'' = -s' h,  s''' = s' (h^2 - (1 - h^2) / 2)."""
    half = _tanh(c / 2, m / 2, f)
    s0 = f("exp", np.minimum(c, 0.0)) / (1 + f("exp", -np.abs(c)))
    T, S = half.sup[:2]
    slope = up(S / 4)
    sup = (up(s0 + m * slope), slope, up(slope * T), up(slope * (T * T + S / 2)))
    return OnDisc((s0, half.at[1] / 4, -half.at[1] / 4 * half.at[0]), sup)


def _softplus(c: Array, m: Array, f: Elementary) -> OnDisc:
    """log(1 + e^w), whose slope is the sigmoid."""
    s = _sigmoid(c, m, f)
    value = np.maximum(c, 0.0) + f("log1p", f("exp", -np.abs(c)))
    return OnDisc((value, s.at[0], s.at[1]), (up(value + m * s.sup[0]), *s.sup[:3]))


def _sin(c: Array, m: Array, f: Elementary) -> OnDisc:
    """|sin w|, |cos w| <= cosh |Im w|."""
    s, co, top = f("sin", c), f("cos", c), _or_infinite(up(f("cosh", np.minimum(m, LARGE))), m)
    return OnDisc((s, co, -s), (top, top, top, top))


def _cos(c: Array, m: Array, f: Elementary) -> OnDisc:
    s = _sin(c, m, f)
    return OnDisc((s.at[1], -s.at[0], -s.at[1]), s.sup)


def _exp(c: Array, m: Array, f: Elementary) -> OnDisc:
    """|e^w| = e^(Re w)."""
    right = c + up(m) + SLACK * np.abs(c)
    e, top = f("exp", np.minimum(c, LARGE)), _or_infinite(up(f("exp", np.minimum(right, LARGE))), right)
    return OnDisc((e, e, e), (top, top, top, top))


def _identity(c: Array, m: Array, f: Elementary) -> OnDisc:
    one, zero = np.ones_like(c), np.zeros_like(c)
    return OnDisc((c, one, zero), (up(np.abs(c) + m), one, zero, zero))


FUNCTIONS: dict[str, Callable[[Array, Array, Elementary], OnDisc]] = {
    "tanh": _tanh, "sigmoid": _sigmoid, "softplus": _softplus, "sin": _sin, "cos": _cos, "exp": _exp,
    "identity": _identity,
}  # fmt: skip
