"""Gradients on steps that are known beforehand, tile after tile up and down, are the story's, and a whole tape's."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import refnode as rn
from refnode.kernels import through
from refnode.kernels.compiled import kernel
from refnode.kernels.sloped import sloped_products, whole_vectors
from refnode.kernels.tape import LARGE
from refnode.loss import PointLoss
from tests.kernels.test_twins import ROUNDINGS, ROUNDINGS_32

SIZES = st.integers(1, 70)
RK4, DOPRI5 = rn.Solver("rk4", n_steps=4), rn.Solver("dopri5", tol=1e-4)
LOSSES = {
    "squared": lambda rng, b, k: rn.SquaredError(rng.standard_normal((b, k)), weight=0.7),
    "squared, one target": lambda rng, b, k: rn.SquaredError(rng.standard_normal(k), reduction="sum"),
    "linear": lambda rng, b, k: rn.LinearFunctional(rng.standard_normal((b, k))),
    "linear, one row": lambda rng, b, k: rn.LinearFunctional(rng.standard_normal(k), weight=-2.0),
    "none": lambda rng, b, k: None,
    "logits": lambda rng, b, k: rn.CrossEntropy(rng.integers(0, k, b)),
}
READOUTS = {
    "z": (rn.Identity(), 3), "affine": (rn.Linear(3, 2), 2), "linear": (rn.Linear(3, 4, bias=False), 4),
    "network": (rn.maps.Network(rn.MLP(3, 4, 2)), 2),
}  # fmt: skip
COMPILED = {"squared", "squared, one target", "linear", "linear, one row", "none"}, {"z", "affine", "linear"}


def problem(batch, loss="squared", readout="affine", running=True, control=False, seed=0):
    """3-16-5-3 in t: one hidden layer of whole vectors and one of some odd width."""
    rng = np.random.default_rng([seed, batch])
    h_y, k = READOUTS[readout]
    words = {"control": "x", "h_x": rn.Columns(0, 3)} if control else {}
    model = rn.NeuralODE(rn.MLP(7 if control else 3, 16, 5, 3, time="every"), h_y=h_y, span=(0.5, 1.75), **words)
    params = {name: 0.6 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    along = (0.1 * rn.Kinetic(), 0.3 * rn.SquaredNorm()) if running or loss == "none" else ()
    whole = rn.Loss(LOSSES[loss](rng, batch, k), running=along, scale=1.5)
    return rn.Problem(model, params, rng.standard_normal((batch, 4 if control else 3)), whole)


def solver_for(of, kind):
    """Given steps; steps that are proposed and good; steps that are proposed and not."""
    if kind == "proposed":
        return rn.hand_on(rn.solve(of, DOPRI5))
    return RK4 if kind == "given" else rn.Solver("dopri5", tol=1e-8, proposal=((0.0, 0.3, 1.0),))


@pytest.fixture
def passes(monkeypatch):
    """How often tiles went through, and whether all their steps were good."""
    found, run = [], through.through

    def counted(*arguments):
        found.append(bool(run(*arguments)))
        return found[-1]

    monkeypatch.setattr("refnode.kernels.cpu.through", counted)
    return found


def assert_story(of, solver, dtype, roundings):
    """Leaves within so many roundings of what they sum, and the same steps."""
    got = rn.gradient(of, "discrete", solver, backend="cpu", dtype=dtype)
    want = rn.gradient(of, "discrete", solver, backend="numpy")
    largest = max(float(np.max(m, initial=0.0)) for m in want.magnitude.values())
    for name, g in want.grads.items():
        room = roundings * (np.max(want.magnitude[name], initial=0.0) + 1e-3 * largest)
        assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name
    assert abs(got.loss - want.loss) <= roundings * np.sum(np.abs(want.loss_per_sample))
    counts = [(s.nfe, s.nfe_backward, s.accepted, s.rejected) for s in (got.stats, want.stats)]
    assert counts[0] == counts[1]
    return got


@pytest.mark.parametrize("kind", ["given", "proposed"])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_and_readout(loss, readout, kind, passes):
    """Three small tiles, the last one ragged; losses and readouts without a compiled cotangent go the other way."""
    of = problem(70, loss, readout)
    assert_story(of, solver_for(of, kind), "float64", ROUNDINGS)
    assert passes == [True] * (loss in COMPILED[0] and readout in COMPILED[1])


@pytest.mark.parametrize("kind", ["given", "proposed", "rejected"])
@pytest.mark.parametrize("batch", [1, 3, 33, 257, 5 * LARGE])
@pytest.mark.parametrize(("dtype", "roundings"), [("float64", ROUNDINGS), ("float32", ROUNDINGS_32)])
def test_tiles_of_every_size(batch, dtype, roundings, kind, passes):
    """One tile and many; with a control, whose cotangent each tile has to itself; where a proposed step is rejected,
    nothing of the attempt is left. In float32 the steps that follow a rejection move by what rounds in err.
    """
    of = problem(batch, control=True)
    if (kind, dtype) != ("rejected", "float32"):
        assert_story(of, solver_for(of, kind), dtype, roundings)
        assert passes == [kind != "rejected"]


@pytest.mark.parametrize("kind", ["given", "proposed", "rejected"])
def test_any_number_of_threads_gives_the_same_bits(kind):
    """Tiles are summed in their order, whoever went through them."""
    of, threads = problem(300), numba.get_num_threads()
    try:
        for dtype in ("float64", "float32"):
            results = []
            for count in range(1, threads + 1):
                numba.set_num_threads(count)
                results.append(rn.gradient(of, "discrete", solver_for(of, kind), backend="cpu", dtype=dtype).grads)
            for name, g in results[0].items():
                assert all(np.array_equal(other[name], g) for other in results[1:]), name
    finally:
        numba.set_num_threads(threads)


def test_the_bits_are_those_of_a_tape(monkeypatch):
    """Without a readout, whose products BLAS rounds in an order of its own, a whole tape gives the same bits."""
    of = problem(257, "squared", "z")
    solver = solver_for(of, "proposed")
    got = rn.gradient(of, "discrete", solver, backend="cpu")
    monkeypatch.setattr("refnode.kernels.cpu.terminal_of", lambda *arguments: None)
    tape = rn.gradient(of, "discrete", solver, backend="cpu")
    for name, g in tape.grads.items():
        np.testing.assert_array_equal(got.grads[name], g)
    assert got.stats.peak_bytes < tape.stats.peak_bytes


def test_one_tile_asks_for_no_threads(monkeypatch, passes):
    """Where there is nothing to share they are neither compiled for nor called: a fork may follow."""

    def never():
        raise AssertionError("asked for threads")

    monkeypatch.setattr("refnode.kernels.cpu.workers", never)
    rn.gradient(problem(3), "discrete", RK4, backend="cpu")
    assert passes == [True]


def test_a_loss_of_ones_own_is_not_taken_for_a_compiled_one(passes):
    """A subclass may be another loss: only what stands in the table is compiled."""

    class Halved(rn.SquaredError):
        def value(self, t, y):
            return 0.5 * super().value(t, y)

        def grad(self, t, y):
            g_t, g_y = super().grad(t, y)
            return g_t, 0.5 * g_y

    whole = problem(40, "squared", "z", running=False)
    term: PointLoss = Halved(whole.loss.terminal.target, weight=0.7)
    half = whole.with_data(whole.params, whole.x, rn.Loss(term, scale=1.5))
    got = rn.gradient(half, "discrete", RK4, backend="cpu")
    assert passes == []
    np.testing.assert_allclose(got.loss, 0.5 * rn.solve(whole, RK4).loss, rtol=1e-12)


def test_overflow_on_known_steps_raises():
    """What the attempt threw away is found again by the steps that follow it."""
    of = problem(40)
    wild = of.with_data({name: 1e200 * leaf for name, leaf in of.params.items()}, of.x, of.loss)
    for solver in (RK4, solver_for(of, "proposed")):
        with pytest.raises(rn.NonFiniteState):
            rn.gradient(wild, "discrete", solver, backend="cpu")


# ---------------------------------------------------------------- products with slopes

@kernel
def sloped(C, A, B, H, h0, M, N, K):
    """`sloped_products`, and how many numbers a vector has."""
    if N % whole_vectors(A) == 0:
        sloped_products(C, 0, A, 0, B, 0, H, h0, M, N, K)
    return whole_vectors(A)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=80)
@given(M=SIZES, panels=st.integers(1, 11), K=SIZES, before=st.integers(0, 9), seed=st.integers(0, 99))
def test_sloped_products(dtype, M, panels, K, before, seed):
    """(1 - H^2) A B, wherever H begins: each entry a sum of K terms, K eps of their sizes from NumPy's in float64."""
    rng, lanes = np.random.default_rng(seed), sloped(*np.zeros((4, 0), dtype), 0, 0, 0, 0)
    N = panels * lanes
    A, B, H = (rng.standard_normal(shape).astype(dtype) for shape in ((M, K), (K, N), (M, N)))
    held, C = np.concatenate([np.zeros(before, dtype), H.ravel()]), np.full(M * N, np.nan, dtype)
    sloped(C, A.ravel(), B.ravel(), held, before, M, N, K)
    wide = [a.astype(np.float64) for a in (A, B, H)]
    want, size = (1 - wide[2] ** 2) * (wide[0] @ wide[1]), (1 + wide[2] ** 2) * (np.abs(wide[0]) @ np.abs(wide[1]))
    assert np.all(np.abs(C.reshape(M, N) - want) <= (K + 4) * np.finfo(dtype).eps * size)
