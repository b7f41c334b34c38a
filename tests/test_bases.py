"""The bases psi on [0, 1]: slopes, Gram matrices, kinks, and the constant they can make.                        (6)"""

import re
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad

import refnode as rn
from refnode.bases import constant_coefficients
from refnode.errors import InvalidArgument
from tests.help import EPS, LIBRARY, STEP

NODES, EDGES = (0.15, 0.4, 0.75), (0.3, 0.55)
BASES = {
    "Legendre 1": rn.Legendre(1), "Legendre 2": rn.Legendre(2), "Legendre 6": rn.Legendre(6),
    "Chebyshev 1": rn.Chebyshev(1), "Chebyshev 2": rn.Chebyshev(2), "Chebyshev 5": rn.Chebyshev(5),
    "Monomial 1": rn.Monomial(1), "Monomial 5": rn.Monomial(5),
    "Fourier 1": rn.Fourier(1), "Fourier 3": rn.Fourier(3),
    "RBF 1": rn.GaussianRBF(1), "RBF 4": rn.GaussianRBF(4), "RBF of width 0.2": rn.GaussianRBF(3, 0.2),
    "Hat 2": rn.Hat(2), "Hat 5": rn.Hat(5), "Hat on nodes": rn.Hat(NODES),
    "constant 1": rn.PiecewiseConstant(1), "constant 4": rn.PiecewiseConstant(4),
    "constant on edges": rn.PiecewiseConstant(EDGES),
}  # fmt: skip
every_basis = pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
SMOOTH = {name: basis for name, basis in BASES.items() if name.split()[0] not in ("Hat", "constant")}
FRACTIONS = np.array([0.0, 0.07, 0.31, 0.5, 0.83, 1.0])


def cells(basis):
    """(cell, lo, hi) of every piece."""
    return [(k, lo, hi) for k, (lo, hi) in enumerate(pairwise([0.0, *basis.kinks, 1.0]))]


def by_formula(name, j, u):
    """psi_j(u) from its textbook formula, for one u."""
    kind, m = name.split()[0], BASES[name].m
    if kind == "Legendre":
        return np.sqrt(2 * j + 1) * np.polynomial.Legendre.basis(j)(2 * u - 1)
    if kind == "Chebyshev":
        return np.cos(j * np.arccos(2 * u - 1))
    if kind == "Monomial":
        return u**j
    if kind == "Fourier":
        k = (j - 1) % (m // 2) + 1
        return 1.0 if j == 0 else np.sqrt(2) * (np.cos if j <= m // 2 else np.sin)(2 * np.pi * k * u)
    if kind == "RBF":
        width = 0.2 if "width" in name else 1.0 if m == 1 else 1 / (m - 1)
        centre = 0.5 if m == 1 else j / (m - 1)
        return np.exp(-((u - centre) ** 2) / (2 * width**2))
    ends = np.array([0.0, *BASES[name].kinks, 1.0])
    if kind == "Hat":
        return np.interp(u, ends, np.eye(m)[j])
    return 1.0 if ends[j] <= u < ends[j + 1] else 0.0


# ---------------------------------------------------------------- values and slopes

@pytest.mark.parametrize("name", BASES)
def test_values_are_those_of_the_formula(name):
    """psi_j(u) inside every cell, by recurrence or array, is the textbook's formula number by number.

    Polynomials of degree below 6 on [-1, 1] grow a rounding at most m^2 times (their largest slope), and arccos near
    the ends, where cos(j v) has slope up to j / sqrt(eps), is kept away from.
    """
    basis = BASES[name]
    for cell, lo, hi in cells(basis):
        for u in lo + (hi - lo) * np.array([0.02, 0.3, 0.5, 0.9]):
            want = [by_formula(name, j, u) for j in range(basis.m)]
            size = max(1.0, np.sqrt(2 * basis.m - 1))
            assert np.abs(basis.psi(np.asarray(u), cell) - want).max() <= 8 * basis.m**2 * size * LIBRARY * EPS


@every_basis
def test_slope_is_the_complex_step(basis):
    """slope = d psi / du in every cell, inside and at its ends.

    A recurrence of m steps, each of 4 roundings, on values below sqrt(2 m) and slopes below 2 m^2 sqrt(2 m) (Markov).
    """
    for cell, lo, hi in cells(basis):
        u = lo + (hi - lo) * FRACTIONS
        want = basis.psi(u + 1j * STEP, cell).imag / STEP
        largest = max(1.0, np.abs(want).max())
        assert np.abs(basis.slope(u, cell) - want).max() <= (8 + LIBRARY) * basis.m * largest * EPS


@every_basis
def test_rows_belong_to_samples(basis):
    """For u (b,) psi and slope are (b, m), and each row is what its u gives alone; u () gives (m,)."""
    cell, lo, hi = cells(basis)[-1]
    u = lo + (hi - lo) * FRACTIONS
    for function in (basis.psi, basis.slope):
        together = function(u, cell)
        assert together.shape == (len(u), basis.m)
        assert function(u[0], cell).shape == function(np.asarray(u[0]), cell).shape == (basis.m,)
        for k, u_k in enumerate(u):
            # arrays and numbers may take different routes through exp, sin and powers: their last place
            np.testing.assert_allclose(function(np.asarray(u_k), cell), together[k], rtol=8 * EPS, atol=8 * EPS)


@given(st.floats(-1.5, 2.5), st.sampled_from(list(SMOOTH)))
def test_smooth_bases_continue_outside(u, name):
    """Outside [0, 1] a smooth basis is the same formula, finite, whatever the cell."""
    basis = SMOOTH[name]
    assert np.isfinite(basis.psi(np.asarray(u), 0)).all()
    np.testing.assert_array_equal(basis.psi(np.asarray(u), 0), basis.psi(np.asarray(u), 1))


def test_kinked_bases_continue_their_cell():
    """Outside its cell a hat goes straight on, and a constant piece stays: each step sees one smooth function."""
    hat, step = rn.Hat(NODES), rn.PiecewiseConstant(EDGES)
    np.testing.assert_allclose(hat.psi(np.asarray(0.65), 1), [0, -1, 2, 0, 0], atol=8 * EPS)  # 0.15 + 2 * 0.25
    np.testing.assert_array_equal(step.psi(np.asarray(5.0), 1), [0, 1, 0])


def test_sides_of_a_kink():
    """At an edge the cell decides: a piecewise constant basis jumps there, hats agree and only their slopes jump."""
    hat, step = rn.Hat(NODES), rn.PiecewiseConstant(EDGES)
    for k, u in enumerate(EDGES):
        np.testing.assert_array_equal(step.psi(np.asarray(u), k), np.eye(3)[k])
        np.testing.assert_array_equal(step.psi(np.asarray(u), k + 1), np.eye(3)[k + 1])
    for k, u in enumerate(NODES):
        for cell in (k, k + 1):
            np.testing.assert_allclose(hat.psi(np.asarray(u), cell), np.eye(5)[k + 1], atol=8 * EPS)
        assert np.abs(hat.slope(np.asarray(u), k) - hat.slope(np.asarray(u), k + 1)).max() > 1


def test_kinks_and_jumps():
    """Kinks are the inner nodes or edges, even where a number is given; only a piecewise constant basis jumps."""
    assert not any(len(basis.kinks) or basis.jumps for basis in SMOOTH.values())
    np.testing.assert_array_equal(rn.Hat(NODES).kinks, NODES)
    np.testing.assert_allclose(rn.Hat(5).kinks, [0.25, 0.5, 0.75], rtol=EPS)
    np.testing.assert_array_equal(rn.PiecewiseConstant(EDGES).kinks, EDGES)
    np.testing.assert_allclose(rn.PiecewiseConstant(4).kinks, [0.25, 0.5, 0.75], rtol=EPS)
    assert (rn.Hat(2).m, rn.Hat(NODES).m, rn.PiecewiseConstant(1).m, rn.PiecewiseConstant(EDGES).m) == (2, 5, 1, 3)
    assert not len(rn.Hat(2).kinks)
    assert [basis.jumps for basis in (rn.Hat(5), rn.PiecewiseConstant(5))] == [False, True]
    assert rn.Fourier(3).m == 7


# ---------------------------------------------------------------- Gram matrices

def gram(basis):
    """<psi_j, psi_k> on [0, 1] by scipy's adaptive quadrature, cell by cell."""
    G = np.zeros((basis.m, basis.m))
    for cell, lo, hi in cells(basis):
        for j in range(basis.m):
            for k in range(j + 1):
                value = quad(
                    lambda u, j=j, k=k, cell=cell: float(np.prod(basis.psi(np.asarray(u), cell)[[j, k]])),
                    lo, hi, epsabs=1e-13, epsrel=1e-13,
                )[0]  # fmt: skip
                G[j, k] += value
                G[k, j] = G[j, k]
    return G


@pytest.mark.parametrize("name", ["Legendre 1", "Legendre 2", "Legendre 6", "Fourier 1", "Fourier 3"])
def test_legendre_and_fourier_are_orthonormal(name):
    """int_0^1 psi_j psi_k du = delta_jk, to scipy's 1e-13."""
    basis = BASES[name]
    assert np.abs(gram(basis) - np.eye(basis.m)).max() <= 2e-13


def known_gram(name, m):
    """The Gram matrix by hand."""
    j, k = np.indices((m, m))
    if name.startswith("Monomial"):
        return 1 / (j + k + 1.0)                    # Hilbert's matrix
    if name.startswith("Chebyshev"):                # int T_j T_k dv / 2 over [-1, 1]
        total = np.zeros((m, m))
        for n in (j + k, np.abs(j - k)):            # T_j T_k = (T_{j+k} + T_{|j-k|}) / 2, int T_n = 2 / (1 - n^2)
            total[n % 2 == 0] += (1 / (1 - n[n % 2 == 0] ** 2.0)) / 2
        return total
    ends = np.array([0.0, *BASES[name].kinks, 1.0])
    h = np.diff(ends)
    if name.startswith("constant"):
        return np.diag(h)
    G = np.zeros((m, m))
    for i, h_i in enumerate(h):                     # int over a cell of products of 1 - w and w
        G[i : i + 2, i : i + 2] += h_i * np.array([[1 / 3, 1 / 6], [1 / 6, 1 / 3]])
    return G


@pytest.mark.parametrize("name", [n for n in BASES if n.split()[0] in ("Monomial", "Chebyshev", "Hat", "constant")])
def test_gram_matrices_by_hand(name):
    """Hilbert's matrix for monomials, sums of 1 / (1 - n^2) for Chebyshev, tridiagonal for hats, lengths for pieces."""
    basis = BASES[name]
    assert np.abs(gram(basis) - known_gram(name, basis.m)).max() <= 2e-13


@pytest.mark.parametrize("name", ["RBF 1", "RBF 4", "RBF of width 0.2"])
def test_gram_matrices_of_bells(name):
    """<psi_j, psi_k> = exp(-(c_j - c_k)^2 / 4 w^2) times an error function's difference."""
    from scipy.special import erf

    basis = BASES[name]
    width = 0.2 if "width" in name else 1.0 if basis.m == 1 else 1 / (basis.m - 1)
    centres = np.linspace(0, 1, basis.m) if basis.m > 1 else np.array([0.5])
    middle = (centres[:, None] + centres) / 2
    bells = np.exp(-((centres[:, None] - centres) ** 2) / (4 * width**2))
    want = bells * np.sqrt(np.pi) * width / 2 * (erf((1 - middle) / width) + erf(middle / width))
    assert np.abs(gram(basis) - want).max() <= 2e-13


def test_monomials_are_ill_conditioned():
    """The Gram matrix of 10 monomials has condition 1.6e13, so coefficients' steps are next to arbitrary there."""
    nodes, weights = np.polynomial.legendre.leggauss(10)  # exact to degree 19
    psi = rn.Monomial(10).psi((1 + nodes) / 2)
    assert np.linalg.cond((psi * weights[:, None] / 2).T @ psi) == pytest.approx(1.6e13, rel=0.02)
    psi = rn.Legendre(10).psi((1 + nodes) / 2)
    assert np.linalg.cond((psi * weights[:, None] / 2).T @ psi) == pytest.approx(1, abs=1e-12)


# ---------------------------------------------------------------- one

@pytest.mark.parametrize("name", [n for n in BASES if n.split()[0] in ("Hat", "constant")])
def test_partition_of_unity(name):
    """Hats, and pieces, sum to 1 at every u, and no value lies outside [0, 1] within a cell."""
    basis = BASES[name]
    for cell, lo, hi in cells(basis):
        psi = basis.psi(lo + (hi - lo) * FRACTIONS, cell)
        np.testing.assert_allclose(psi.sum(axis=1), 1, rtol=4 * EPS)
        assert psi.min() >= -8 * EPS
        assert psi.max() <= 1 + 8 * EPS


@pytest.mark.parametrize("name", [n for n in BASES if not n.startswith("RBF")])
def test_constant_coefficients(name):
    """sum_j c_j psi_j = 1 where the basis can make 1: all but bells."""
    basis = BASES[name]
    c = constant_coefficients(basis)
    assert c.shape == (basis.m,)
    for cell, lo, hi in cells(basis):
        np.testing.assert_allclose(basis.psi(lo + (hi - lo) * FRACTIONS, cell) @ c, 1, rtol=1e-12)


@pytest.mark.parametrize("basis", [rn.PiecewiseConstant(200), rn.Hat(200)], ids=["pieces", "hats"])
def test_many_cells_need_no_solve(basis):
    """Of many hats or pieces the coefficients of 1 are ones, found without least squares over all nodes."""
    tracemalloc.start()
    c = constant_coefficients(basis)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(c, np.ones(200))
    assert peak < 16 * 8 * 200 * 200  # in bytes: 16 nodes or more in each of 200 cells, for 200 functions


@pytest.mark.parametrize("name", ["RBF 1", "RBF 4", "RBF of width 0.2"])
def test_constant_coefficients_of_bells(name):
    """For bells, which cannot make 1, the rest of 1 is orthogonal to all of them: the least-squares solution."""
    basis = BASES[name]
    c = constant_coefficients(basis)
    for j in range(basis.m):
        assert abs(quad(lambda u, j=j: (1 - basis.psi(u) @ c) * basis.psi(u)[j], 0, 1, epsabs=1e-13)[0]) <= 1e-12


# ---------------------------------------------------------------- bad input

@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.Legendre(0), "m: got 0; must be an integer >= 1"),
        (lambda: rn.Chebyshev(2.0), "m: got 2.0; must be an integer >= 1"),
        (lambda: rn.Monomial(True), "m: got True; must be an integer >= 1"),
        (lambda: rn.Fourier(0), "n: got 0; must be an integer >= 1"),
        (lambda: rn.Fourier("5"), "n: got '5'; must be an integer >= 1"),
        (lambda: rn.GaussianRBF(0), "m: got 0; must be an integer >= 1"),
        (lambda: rn.GaussianRBF(3, 0.0), "width: got 0.0; must be"),
        (lambda: rn.GaussianRBF(3, -1.0), "width: got -1.0; must be"),
        (lambda: rn.GaussianRBF(3, np.nan), "width: got nan; must be"),
        (lambda: rn.Hat(1), "nodes: got 1; must be an integer >= 2"),
        (lambda: rn.Hat([0.5, 0.2]), "nodes: got [0.5, 0.2]; must be ascending numbers strictly between 0 and 1"),
        (lambda: rn.Hat([0.0, 0.5]), "nodes: got [0.0, 0.5]; must be ascending numbers strictly between 0 and 1"),
        (lambda: rn.Hat([0.5, 0.5]), "nodes: got [0.5, 0.5]; must be ascending numbers strictly between 0 and 1"),
        (lambda: rn.PiecewiseConstant(0), "edges: got 0; must be an integer >= 1"),
        (lambda: rn.PiecewiseConstant([1.0]), "edges: got [1.0]; must be ascending numbers strictly between 0 and 1"),
        (lambda: rn.PiecewiseConstant([[0.5]]), "edges: got shape (1, 1); must be of shape"),
        (lambda: rn.PiecewiseConstant(True), "edges: got"),
        (lambda: rn.PiecewiseConstant([np.nan]), "edges: got"),
        (lambda: rn.PiecewiseConstant("ab"), "edges: got"),
    ],
)
def test_bad_bases(call, message):
    """At least one function (two nodes), positive widths, edges in order inside the interval; the message says so."""
    with pytest.raises(InvalidArgument, match="^" + re.escape(message)):
        call()
