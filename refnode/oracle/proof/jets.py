"""Taylor coefficients of the state and of the costate, by recurrences that run on balls.

With t = t_k + h s, the state's series in s solves z' = h F(t_k + h s, z). Newton's iteration doubles the number of
correct coefficients: if z is right before s^c, then z + y is right before s^(2c+1), where

    y' = h (F(z) - z'/h + J(z) y),     J = dF/dz,     y = O(s^c)

so that F is evaluated on whole series and only J y, of the state's width, is a recurrence.

Source   Brent and Kung 1978, J. ACM 25 (Newton's iteration for power series); Bostan et al. 2007, SODA (for ODEs);
         Moore 1966, Interval Analysis, ch. 11.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import mul
from typing import Any

from flint import arb, arb_series

from refnode.oracle.proof import series
from refnode.oracle.proof.dynamics import Field
from refnode.oracle.proof.graph import Values
from refnode.oracle.proof.on_series import pull_series, run_series
from refnode.oracle.proof.series import Series, truncated


def state_jets(field: Field, given: Mapping[str, Series], z: Sequence[Any], h: Any, n: int) -> list[list[Any]]:
    """The first n coefficients in s of every component of z (d, n), for the start z, balls or numbers."""
    found = [[v] for v in z]
    for before, after in _doublings(n):
        with truncated(after - 1):
            values = run_series(field.graph, {**given, "z": Series([arb_series(c) for c in found])})
            rate = series.coefficients(values[field.rate], after - 1)
        J = None
        if after > before + 1:
            with truncated(after - 1 - before):
                J = jacobian(field, values)
        _correct(found, rate, J, h, before, after)
    return found


def _doublings(n: int) -> list[tuple[int, int]]:
    """1 = c_0 < c_1 < .. = n with c_{i+1} <= 2 c_i + 1, as pairs."""
    counts = [n]
    while counts[-1] > 1:
        counts.append(max(1, counts[-1] // 2))
    counts.reverse()
    return list(pairwise(counts))


def _correct(found: list[list[Any]], rate: Any, J: list[Series] | None, h: Any, before: int, after: int) -> None:
    """Append the coefficients before .. after - 1 of z + y to those of z."""
    d = len(found)
    rows = None if J is None else [_reversed_rows(row) for row in J]
    for m in range(before - 1, after - 1):
        new = []
        for i in range(d):
            total = rate[i, m]
            if rows is not None:
                for coefficients, y in zip(rows[i], found, strict=True):
                    total = total + _convolved(coefficients, y[before:], m - before)
            new.append(h * total / (m + 1))
        for i in range(d):
            found[i].append(new[i])


def _reversed_rows(row: Series) -> list[list[Any]]:
    return [r.coeffs() for r in row.rows]


def _convolved(a: list[Any], y: list[Any], m: int) -> Any:
    """sum_{k=0}^m a_k y_{m-k}."""
    k = min(m + 1, len(a))
    return sum(map(mul, a[:k], y[m::-1] if m >= 0 else []), arb(0))


def jacobian(field: Field, values: Values) -> list[Series]:
    """dF/dz (d, d) as series: row i is the pull-back of the i-th unit cotangent."""
    at = values[field.z]
    d = len(at)
    o = len(values[field.f])
    rows = []
    for i in range(d):
        if i < d - o:  # z_i' = z_{i + o}
            rows.append(series.constants([int(j == i + o) for j in range(d)]))
            continue
        unit = series.constants([int(j == i - (d - o)) for j in range(o)])
        back = pull_series(values, {field.f: unit})[field.z]
        rows.append(series.constants([0] * d) if back is None else back)
    return rows


def running_slope(field: Field, values: Values) -> Series:
    """dl/dz (d,) as series."""
    d = len(values[field.z])
    back = None if field.running is None else pull_series(values, {field.running: series.constants([1])})[field.z]
    return series.constants([0] * d) if back is None else back


def costate_jets(J: list[Series], l_z: Series, a: Sequence[Any], h: Any, n: int) -> list[list[Any]]:
    """The first n coefficients of the costate, a' = -h (J^T a + l_z), for its start a (d,)."""
    d = len(a)
    found = [[v] for v in a]
    columns = [[J[i].rows[j].coeffs() for i in range(d)] for j in range(d)]
    sources = [row.coeffs() for row in l_z.rows]
    for m in range(n - 1):
        new = []
        for j in range(d):
            total = sources[j][m] if m < len(sources[j]) else arb(0)
            for coefficients, y in zip(columns[j], found, strict=True):
                total = total + _convolved(coefficients, y, m)
            new.append(-h * total / (m + 1))
        for j in range(d):
            found[j].append(new[j])
    return found
