"""torchdyn's bases are what torchdyn computes, number by number, and their defects are there to see."""

import json
from pathlib import Path

import numpy as np
import pytest

import refnode as rn
from tests.help import EPS, complex_step

TORCHDYN = json.loads((Path(__file__).parent / "torchdyn_bases.json").read_text("utf-8"))  # its command stands in it
BASES = {
    "Fourier": rn.TorchdynFourier,
    "Polynomial": rn.TorchdynPolynomial,
    "Chebychev": rn.TorchdynChebychev,
    "GaussianRBF": rn.TorchdynGaussianRBF,
    "VanillaRBF": rn.TorchdynVanillaRBF,
    "MultiquadRBF": rn.TorchdynMultiquadRBF,
}


def problem_of(basis):
    """An affine field of one state on [0, 1], its weights expanded in the basis of t itself."""
    model = rn.NeuralODE(rn.MLP(1, 1), theta=rn.Galerkin(basis, interval=(0.0, 1.0)))
    params = {name: np.full(shape, 0.1) for name, shape in model.shapes.items()}
    return rn.Problem(model, params, [[1.0], [2.0]], rn.Loss(terminal=rn.SquaredError([[0.0], [0.0]])))


@pytest.mark.parametrize("entry", TORCHDYN["bases"], ids=lambda e: f"{e['basis']}({e['deg']})")
def test_values_are_torchdyns(entry):
    """psi_j(t) is what a layer of torchdyn with a unit coefficient has for its weight at t."""
    basis = BASES[entry["basis"]](entry["deg"])
    got = basis.psi(np.array(TORCHDYN["t"]))
    assert got.shape == (len(TORCHDYN["t"]), basis.m)
    # two libraries' functions of arguments up to 5, rounded: 5 EPS in the argument, some EPS in the function
    np.testing.assert_allclose(got, entry["psi"], rtol=0, atol=16 * EPS * np.max(np.abs(entry["psi"])))


@pytest.mark.parametrize("shape", [(), (3,)], ids=["shared t", "own t"])
@pytest.mark.parametrize("deg", [1, 2, 5])
@pytest.mark.parametrize("name", BASES)
def test_slopes_are_derivatives(name, deg, shape):
    """The slope is the complex step of psi, for t () and (b,), (m,) or (b, m); negative t where psi has them."""
    basis = BASES[name](deg)
    u = np.array([0.3, 0.8, 1.0 if name == "Polynomial" else -0.6]) if shape else np.array(0.3)
    want = complex_step(basis.psi, (u,), (np.ones(shape),))
    assert basis.slope(u).shape == basis.psi(u).shape == (*shape, basis.m)
    # slopes up to deg^2 / 2, or those of T_4 with coefficients up to 32
    np.testing.assert_allclose(basis.slope(u), want, rtol=0, atol=400 * EPS)


def test_every_basis_starts_at_the_edge():
    """At t = 0, where spans begin, values and slopes are finite."""
    for make in BASES.values():
        assert np.isfinite(make(5).psi(np.zeros(()))).all()
        assert np.isfinite(make(5).slope(np.zeros(()))).all()


def test_fourier_frequencies_are_no_harmonics():
    """Fourier(5): frequencies 0, 1.25, 2.5, 3.75, 5; one function is zero, another nearly a sum of the rest.

    The Gram matrix has rank 9 of 10. Counting psi itself, by the roots of the eigenvalues, at the resolution of
    float32, torchdyn's usual dtype, leaves 8; coefficients have no unique value, and no representer.
    """
    basis = rn.TorchdynFourier(5)
    np.testing.assert_array_equal(basis.numbers, [0, 1.25, 2.5, 3.75, 5])
    G = rn.gram(problem_of(basis))
    assert np.linalg.matrix_rank(G.matrix, hermitian=True) == 9
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(G.matrix), 0))
    assert np.sum(singular > 10 * np.finfo(np.float32).eps * singular[-1]) == 8
    with pytest.raises(rn.UnreliableGradient, match=r"TorchdynFourier\(deg=5\)"):
        G.solve(np.ones(10))
    assert np.linalg.matrix_rank(rn.gram(problem_of(rn.Fourier(5))).matrix, hermitian=True) == 11


def test_vanilla_rbf_is_one_function():
    """VanillaRBF(5): five multiples of |t|, rank 1 of 5. Gaussian bells share the centre 0 but not their widths: 5."""
    assert np.linalg.matrix_rank(rn.gram(problem_of(rn.TorchdynVanillaRBF(5))).matrix, hermitian=True) == 1
    bells = rn.gram(problem_of(rn.TorchdynGaussianRBF(5)))
    assert np.linalg.matrix_rank(bells.matrix, hermitian=True) == 5
    # beside bells with spread centres
    assert bells.condition > 1000 * rn.gram(problem_of(rn.GaussianRBF(5))).condition


@pytest.mark.parametrize("name", BASES)
def test_gradients_agree(name):
    """A field expanded in the basis has one gradient: discrete adjoint = complex step on the steps that were taken."""
    problem = problem_of(BASES[name](3))
    solver = rn.Solver("rk4", n_steps=4)
    got, want = (rn.gradient(problem, method, solver).grads for method in ("discrete", "complex_step"))
    for leaf in want:
            np.testing.assert_allclose(got[leaf], want[leaf], rtol=0, atol=1e-13 * max(1, np.max(np.abs(want[leaf]))))


def test_degree_is_checked():
    """deg is a positive integer."""
    for make in BASES.values():
        with pytest.raises(rn.InvalidArgument):
            make(0)
