"""Series of activations and bases on a tape are those of mpmath."""

from decimal import Context, Decimal, localcontext

import mpmath
import numpy as np
import pytest

import refnode as rn
from refnode.oracle.taylor.core.double import EPS
from refnode.oracle.taylor.core.series import expand, work_of
from refnode.oracle.taylor.decimals import DIGITS
from refnode.oracle.taylor.expansions import basis_on
from refnode.oracle.taylor.tape import Tape, weights_of

ORDERS, START = 30, 0.375
SQUARE = Decimal("0.5"), Decimal("-0.75"), Decimal("1.25")  # u(t) = 1/2 - 3/4 t + 5/4 t^2 + sin t: a series without end

def logistic(u):
    """1 / (1 + e^-u)."""
    return 1 / (1 + mpmath.exp(-u))


ACTIVATIONS = {  # value and slope
    "tanh": (mpmath.tanh, lambda u: mpmath.sech(u) ** 2),
    "sin": (mpmath.sin, mpmath.cos),
    "sigmoid": (logistic, lambda u: logistic(u) * logistic(-u)),
    "softplus": (lambda u: mpmath.log1p(mpmath.exp(u)), logistic),
    "identity": (lambda u: u, lambda u: mpmath.mpf(1)),
}


def argument(tape):
    """u(t) on a tape."""
    u = tape.slots(1)
    tape.number(SQUARE[0], u)
    tape.plus(tape.t, 1, u, SQUARE[1])
    tape.product(tape.t, tape.t, 1, u, SQUARE[2])
    tape.plus(tape.sin_cos(tape.t, 1)[0], 1, u)
    return u


def u_of(t):
    """u(t) by mpmath."""
    return sum(mpmath.mpf(float(c)) * t**k for k, c in enumerate(SQUARE)) + mpmath.sin(t)


def series(tape, slots):
    """The series of some slots about START, as mpmath numbers."""
    program = tape.program(list(slots))
    work = work_of(program.n_slots, len(slots), ORDERS)
    none = np.zeros((2, 0))
    expand(program, weights_of(program, none), *none, START, 0.0, *none, work)
    return [[mpmath.mpf(h) + mpmath.mpf(l) for h, l in zip(work.S.h[:, e], work.S.l[:, e], strict=True)] for e in slots]


def assert_series(got, f):
    """The coefficients are those of f: to 40 roundings a term, relative to M / rho^m, which bounds those of f.

    rho is the largest radius, and at most 1, for which |c_m| rho^m <= M = max(1, |c_0|): coefficients are sums of m
    products of coefficients with such bounds.
    """
    want = mpmath.taylor(f, mpmath.mpf(START), ORDERS - 1)
    M = max(1, abs(want[0]))
    rho = min([mpmath.mpf(1)] + [(M / abs(c)) ** (mpmath.mpf(1) / m) for m, c in enumerate(want) if m and c])
    for m, (a, b) in enumerate(zip(got, want, strict=True)):
        assert abs(a - b) * rho**m <= 40 * ORDERS * EPS * M, m


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activations(act):
    """Value and slope of every activation, of a function of t whose series does not end."""
    tape, (f, df) = Tape(0, 0), ACTIVATIONS[act]
    with mpmath.workdps(100):  # mpmath's taylor differentiates numerically
        value, slope = series(tape, tape.activation(act, argument(tape), 1))
        assert_series(value, lambda t: f(u_of(t)))
        assert_series(slope, lambda t: df(u_of(t)))


def bell(m, inverse_width):
    """Gaussian bells of mpmath."""
    return lambda j, u: mpmath.exp(-(((u - mpmath.mpf(j) / (m - 1)) * (inverse_width or m - 1)) ** 2) / 2)


def wave(n):
    """Fourier's functions of mpmath."""
    def psi(j, u):
        k = (j - 1) % n + 1
        turned = (mpmath.cos if j <= n else mpmath.sin)(2 * mpmath.pi * k * u)
        return mpmath.mpf(1) if j == 0 else mpmath.sqrt(2) * turned

    return psi


BASES = {
    "Legendre": (rn.Legendre(6), lambda j, u: mpmath.sqrt(2 * j + 1) * mpmath.legendre(j, 2 * u - 1)),
    "Chebyshev": (rn.Chebyshev(6), lambda j, u: mpmath.chebyt(j, 2 * u - 1)),
    "Monomial": (rn.Monomial(5), lambda j, u: u**j),
    "Monomial of two": (rn.Monomial(2), lambda j, u: u**j),
    "constant": (rn.Legendre(1), lambda j, u: mpmath.mpf(1)),
    "Fourier": (rn.Fourier(2), wave(2)),
    "bells": (rn.GaussianRBF(4), bell(4, None)),
    "bells of a width": (rn.GaussianRBF(3, 0.5), bell(3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", BASES)
def test_bases(name):
    """Every smooth function of every basis, as a series in t for u = t."""
    basis, f = BASES[name]
    tape = Tape(0, 0)
    with mpmath.workdps(120), localcontext(Context(prec=DIGITS)):
        psi = basis_on(tape, basis, tape.t, 0)
        assert [j for _, j in psi] == list(range(basis.m))
        found = series(tape, [tape.one if slot is None else slot for slot, _ in psi])
        for (_, j), got in zip(psi, found, strict=True):
            assert_series(got, lambda t, j=j: f(j, t))


@pytest.mark.parametrize("cell", [0, 1, 2])
def test_hats(cell):
    """The two hats of a cell are those of refnode.bases there."""
    basis, tape = rn.Hat([0.25, 0.625]), Tape(0, 0)
    with localcontext(Context(prec=DIGITS)):
        psi = basis_on(tape, basis, tape.t, cell)
        found = series(tape, [slot for slot, _ in psi])
    want, slope = basis.psi(np.array(START), cell), basis.slope(np.array(START), cell)
    for (_, j), got in zip(psi, found, strict=True):
        assert [float(c) for c in got[:2]] == pytest.approx([want[j], slope[j]], rel=4e-16, abs=4e-16)
        assert not any(got[2:])
