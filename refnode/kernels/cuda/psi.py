"""psi_1, .., psi_m of theta(t) at a stage: off a table where all trajectories share its depth, else at each one's own.

Bases are four families of functions of u, with three numbers a, b, c for each function:

    recurrence    psi_j = (a u + b) psi_{j-1} - c psi_{j-2},  psi_0 = 1      Legendre, Chebyshev, Monomial
    waves         c sin(pi (a u + b))                                        Fourier
    bells         exp(-(a (u - b))^2 / 2)                                    GaussianRBF
    lines         a + b (u - c)                                              Hat, on one of its cells

Source   `refnode.bases`, whose twins they are.
"""

import math
from typing import Any

import numpy as np
from numba import uint64
from numba.cuda import libdevice

from refnode.arrays import Array
from refnode.bases import Basis, Chebyshev, Fourier, GaussianRBF, Hat, Legendre, Monomial
from refnode.kernels.cuda.compile import by_network, device
from refnode.kernels.cuda.shape import Functions, U

FAMILIES: dict[type, Functions] = {
    Legendre: "recurrence", Chebyshev: "recurrence", Monomial: "recurrence", Fourier: "waves", GaussianRBF: "bells",
    Hat: "lines",
}  # fmt: skip
FIRST = 2                                           # line of a trajectory's table where the functions' numbers begin


def family_of(basis: Basis) -> Functions:
    """The family of a basis; "" if it has none."""
    return FAMILIES.get(type(basis), "")


def numbers_of(basis: Any, cell: int) -> Array:
    """a, b and c of every function, on a cell (m, 3)."""
    if type(basis) is Fourier:
        twice, root = 2 * np.arange(1, basis.n + 1), np.full(basis.n, np.sqrt(2))
        a, b, c = (0.0, *twice, *twice), np.repeat([0.5, 0.0], [1 + basis.n, basis.n]), (1.0, *root, *root)
        return np.stack([a, b, c], axis=1)
    if type(basis) is GaussianRBF:
        centres = np.linspace(0, 1, basis.m) if basis.m > 1 else np.array([0.5])
        width = basis.width or (1.0 / (basis.m - 1) if basis.m > 1 else 1.0)
        return np.stack([np.full(basis.m, 1 / width), centres, np.zeros(basis.m)], axis=1)
    numbers = np.zeros((basis.m, 3))
    if type(basis) is Hat:
        left, right = (0.0, *basis.nodes, 1.0)[cell : cell + 2]
        numbers[cell] = 1.0, -1 / (right - left), left
        numbers[cell + 1] = 0.0, 1 / (right - left), left
        return numbers
    for j in range(1, basis.m):
        numbers[j] = _recurrence(basis, j)
    return numbers


def _recurrence(basis: Basis, j: int) -> tuple[float, float, float]:
    """a, b and c of the function j > 0 of a basis of polynomials."""
    if type(basis) is Monomial:
        return 1.0, 0.0, 0.0
    if type(basis) is Chebyshev:
        return (2.0, -1.0, 0.0) if j == 1 else (4.0, -2.0, 1.0)
    a = (2 * j - 1) / j * np.sqrt((2 * j + 1) / (2 * j - 1))        # orthonormal: sqrt(2 j + 1) times Legendre's
    return 2 * a, -a, (j - 1) / j * np.sqrt((2 * j + 1) / (2 * j - 3)) if j > 1 else 0.0


@by_network
def psi_of(S: Any, slopes: bool) -> Any:
    """Device function psi_at(table, line, i, t, row): row begins with psi; with `slopes` psi' and what moves u follow.

    Of all trajectories   line `line` of the table (N s, S.columns)
    Apart                 of trajectory i at its depth t. table (2 + 3 m, b)   where u is 0, du/dt, and the functions'
                          numbers; what moves u are t, and where u is 0 and 1: t0 and T
    """
    m, numbers = U(S.basis), U(S.columns if slopes else S.basis)
    if not S.functions:
        @device
        def listed(table, line, i, t, row):
            for q in range(numbers):
                row[q] = table[line, q]

        return listed
    one, start, rate, functions = S.real(1), U(0), U(1), _family(S, slopes)

    @device
    def computed(table, line, i, t, row):
        by_t = table[rate, i]
        u = (t - table[start, i]) * by_t
        functions(table, uint64(i), u, row)
        if slopes:
            row[m + m], row[m + m + U(1)], row[m + m + U(2)] = by_t, (u - one) * by_t, -u * by_t

    return computed


@by_network
def _family(S: Any, slopes: bool) -> Any:
    """Device function functions(table, i, u, row): psi(u), and with `slopes` psi'(u) behind it."""
    if S.functions == "recurrence":
        return _recurrence_of(S, slopes)
    m, first, three, half = U(S.basis), U(FIRST), U(3), S.real(0.5)
    pi = S.real(np.pi)
    sin, cos = (libdevice.sinpif, libdevice.cospif) if S.dtype == "float32" else (libdevice.sinpi, libdevice.cospi)

    def wave(u, a, b, c):
        return c * sin(a * u + b)

    def wave_slope(u, a, b, c):
        return c * pi * a * cos(a * u + b)

    def bell(u, a, b, c):
        return math.exp(-half * (a * (u - b)) * (a * (u - b)))

    def bell_slope(u, a, b, c):
        return -a * (a * (u - b)) * math.exp(-half * (a * (u - b)) * (a * (u - b)))

    def line(u, a, b, c):
        return a + b * (u - c)

    def line_slope(u, a, b, c):
        return b

    families = {"waves": (wave, wave_slope), "bells": (bell, bell_slope), "lines": (line, line_slope)}
    value, slope = (device(f) for f in families[S.functions])

    @device
    def functions(table, i, u, row):
        for j in range(m):
            at = first + three * j
            a, b, c = table[at, i], table[at + U(1), i], table[at + U(2), i]
            row[j] = value(u, a, b, c)
            if slopes:
                row[m + j] = slope(u, a, b, c)

    return functions


@by_network
def _recurrence_of(S: Any, slopes: bool) -> Any:
    """The same by recurrence."""
    one, zero, m, first, three = S.real(1), S.real(0), U(S.basis), U(FIRST), U(3)

    @device
    def functions(table, i, u, row):
        now, before, rise, rise_before = one, zero, zero, zero
        for j in range(m):
            if j > U(0):
                at = first + three * j
                a, b, c = table[at, i], table[at + U(1), i], table[at + U(2), i]
                rise, rise_before = a * now + (a * u + b) * rise - c * rise_before, rise
                now, before = (a * u + b) * now - c * before, now
            row[j] = now
            if slopes:
                row[m + j] = rise

    return functions
