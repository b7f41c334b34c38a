"""psi_1, .., psi_m on a tape, as functions of the slot u: the formulas of `refnode.bases`, in exact numbers."""

from decimal import Decimal

from refnode.bases import Basis, Chebyshev, Fourier, GaussianRBF, Hat, Legendre, Monomial, PiecewiseConstant
from refnode.oracle.taylor.decimals import PI
from refnode.oracle.taylor.tape import Tape

Psi = tuple[tuple[int | None, int], ...]  # (slot, j) of the functions that are not zero; slot None: the function 1
BASES = Legendre, Chebyshev, Monomial, Fourier, GaussianRBF, Hat, PiecewiseConstant


def basis_on(tape: Tape, basis: Basis, u: int, cell: int) -> Psi:
    """The basis on one cell."""
    if isinstance(basis, PiecewiseConstant):
        return ((None, cell),)
    if isinstance(basis, Hat):
        return _hat(tape, basis, u, cell)
    if isinstance(basis, Fourier):
        return _fourier(tape, basis, u)
    if isinstance(basis, GaussianRBF):
        return _bells(tape, basis, u)
    if isinstance(basis, Monomial):
        return _monomials(tape, basis.m, u)
    assert isinstance(basis, Legendre | Chebyshev)
    return _polynomials(tape, basis, u)


def _hat(tape: Tape, basis: Hat, u: int, cell: int) -> Psi:
    """1 - w and w, w = (u - u_c) / h."""
    nodes = [Decimal(0), *map(Decimal, basis.nodes), Decimal(1)]
    left, h = nodes[cell], nodes[cell + 1] - nodes[cell]
    falling, rising = tape.slots(1), tape.slots(1)
    for slot, sign, at_left in ((rising, 1, 0), (falling, -1, 1)):
        tape.plus(u, 1, slot, sign / h)
        tape.number(at_left - sign * left / h, slot)
    return ((falling, cell), (rising, cell + 1))


def _fourier(tape: Tape, basis: Fourier, u: int) -> Psi:
    """1, sqrt(2) cos(2 pi k u), sqrt(2) sin(2 pi k u)."""
    n, root = basis.n, Decimal(2).sqrt()
    angles, psi = tape.slots(n), tape.slots(2 * n)
    for k in range(n):
        tape.plus(u, 1, angles + k, 2 * PI * (k + 1))
    sine, cosine = tape.sin_cos(angles, n)
    tape.plus(cosine, n, psi, root)
    tape.plus(sine, n, psi + n, root)
    return ((None, 0), *((psi + k, 1 + k) for k in range(2 * n)))


def _bells(tape: Tape, basis: GaussianRBF, u: int) -> Psi:
    """exp(-((u - c) / width)^2 / 2) for centres spread evenly over [0, 1]."""
    m = basis.m
    apart = Decimal(1) / (m - 1) if m > 1 else Decimal(1)
    width = Decimal(basis.width) if basis.width else apart
    away, half = tape.slots(m), tape.slots(m)
    tape.plus(u, m, away, 1 / width, s_a=0)
    for j in range(m):
        tape.number(-(j * apart if m > 1 else Decimal("0.5")) / width, away + j)
    tape.product(away, away, m, half, Decimal("-0.5"))
    psi = tape.exp(half, m)
    return tuple((psi + j, j) for j in range(m))


def _monomials(tape: Tape, m: int, u: int) -> Psi:
    """1, u, u^2, .."""
    powers = [u]
    for _ in range(m - 2):
        powers.append(tape.slots(1))
        tape.product(powers[-2], u, 1, powers[-1])
    return ((None, 0), *((slot, j + 1) for j, slot in enumerate(powers[: m - 1])))


def _polynomials(tape: Tape, basis: Legendre | Chebyshev, u: int) -> Psi:
    """P_{k+1} = a_k x P_k - b_k P_{k-1} of x = 2u - 1, those of Legendre times sqrt(2k + 1)."""
    m, legendre = basis.m, isinstance(basis, Legendre)
    x = tape.slots(1)
    tape.plus(u, 1, x, 2)
    tape.number(-1, x)
    P = [tape.one, x]
    for k in range(1, m - 1):
        a, b = (Decimal(2 * k + 1) / (k + 1), Decimal(k) / (k + 1)) if legendre else (Decimal(2), Decimal(1))
        P.append(tape.slots(1))
        tape.product(P[k], x, 1, P[k + 1], a)
        tape.plus(P[k - 1], 1, P[k + 1], -b)
    psi: list[tuple[int | None, int]] = [(None, 0)]
    for k in range(1, m):
        slot = P[k]
        if legendre:
            slot = tape.slots(1)
            tape.plus(P[k], 1, slot, Decimal(2 * k + 1).sqrt())
        psi.append((slot, k))
    return tuple(psi)
