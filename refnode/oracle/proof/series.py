"""Power series of balls: rows of truncated Taylor series whose coefficients are proven enclosures.

A Series is a column of functions of one variable, each known by its first coefficients. Their number is `order`, set by
`truncated(n)`; with n = 1 a Series is a column of numbers. Balls (midpoint and radius) are python-flint's: every
operation rounds outward, so that true coefficients lie in computed ones.

Source   Johansson 2017, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic;
         Moore 1966, Interval Analysis, ch. 11 (recurrences for Taylor coefficients run on intervals).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flint import arb, arb_mat, arb_series, ctx


@contextmanager
def truncated(order: int) -> Iterator[None]:
    """Series keep `order` coefficients inside this block."""
    before, ctx.cap = ctx.cap, order
    try:
        yield
    finally:
        ctx.cap = before


class Series:
    """Rows of truncated power series of balls."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, other: "Series") -> "Series":
        return Series([a + b for a, b in zip(self.rows, other.rows, strict=True)])

    def __sub__(self, other: "Series") -> "Series":
        return Series([a - b for a, b in zip(self.rows, other.rows, strict=True)])

    def __mul__(self, other: "Series") -> "Series":
        """Row by row; a Series of one row multiplies every row of the other."""
        if len(other) == 1:
            return Series([a * other.rows[0] for a in self.rows])
        if len(self) == 1:
            return other * self
        return Series([a * b for a, b in zip(self.rows, other.rows, strict=True)])

    def scaled(self, factor: Any) -> "Series":
        """factor times every row."""
        c = arb(factor)
        return Series([c * a for a in self.rows])

    def __getitem__(self, rows: slice) -> "Series":
        return Series(self.rows[rows])

    def padded(self, before: int, after: int) -> "Series":
        """With rows of zeros above and below."""
        zero = arb_series([])
        return Series([zero] * before + self.rows + [zero] * after)


def constants(numbers: Sequence[Any]) -> Series:
    """Constant functions."""
    return Series([arb_series([arb(v)]) for v in numbers])


def stacked(parts: Sequence[Series]) -> Series:
    """One above the other."""
    return Series([row for part in parts for row in part.rows])


def coefficients(x: Series, n: int | None = None) -> Any:
    """The coefficients as a matrix (rows, n); n is as many as there are, if it is not given."""
    rows = [row.coeffs()[: ctx.cap] for row in x.rows]
    width = max(1, max(map(len, rows), default=1)) if n is None else n
    zero = arb(0)
    flat = [c for row in rows for c in (row[:width] + [zero] * (width - len(row)))]
    return arb_mat(len(rows), width, flat)


def linear(M: Any, x: Series) -> Series:  # M (o, i), x (i,)
    """M x."""
    X = coefficients(x)
    n, flat = X.ncols(), (M * X).entries()
    return Series([arb_series(flat[k : k + n]) for k in range(0, len(flat), n)])  # (o,)


def derivatives(name: str, u: Series, upto: int) -> list[Series]:
    """An elementary function of u and its derivatives with respect to u, of order 0 .. upto <= 2."""
    return [Series(rows) for rows in zip(*(DERIVATIVES[name](row, upto) for row in u.rows), strict=True)]


def _tanh(u: Any, upto: int) -> list[Any]:
    """h = 2 / (1 + e^-2u) - 1; h' = 1 - h^2; h'' = -2 h h'."""
    h = 2 * (1 + (-2 * u).exp()).inv() - 1
    found = [h]
    if upto > 0:
        found.append(1 - h * h)
    if upto > 1:
        found.append(-2 * h * found[1])
    return found


def _sigmoid(u: Any, upto: int) -> list[Any]:
    """s = 1 / (1 + e^-u); s' = s - s^2; s'' = s' (1 - 2s)."""
    s = (1 + (-u).exp()).inv()
    found = [s]
    if upto > 0:
        found.append(s - s * s)
    if upto > 1:
        found.append(found[1] * (1 - 2 * s))
    return found


def _softplus(u: Any, upto: int) -> list[Any]:
    """log(1 + e^u); its slope is s = 1 - 1 / (1 + e^u); s' = s - s^2."""
    w = 1 + u.exp()
    found = [w.log()]
    if upto > 0:
        found.append(1 - w.inv())
    if upto > 1:
        found.append(found[1] - found[1] * found[1])
    return found


def _sin(u: Any, upto: int) -> list[Any]:
    s, c = u.sin_cos()
    return [s, c, -s][: upto + 1]


def _cos(u: Any, upto: int) -> list[Any]:
    s, c = u.sin_cos()
    return [c, -s, -c][: upto + 1]


def _exp(u: Any, upto: int) -> list[Any]:
    return [u.exp()] * (upto + 1)


def _identity(u: Any, upto: int) -> list[Any]:
    return [u, arb_series([1]), arb_series([])][: upto + 1]


DERIVATIVES = {
    "tanh": _tanh, "sigmoid": _sigmoid, "softplus": _softplus, "sin": _sin, "cos": _cos, "exp": _exp,
    "identity": _identity,
}  # fmt: skip
