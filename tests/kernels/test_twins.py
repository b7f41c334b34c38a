"""The compiled discrete adjoint is the story's, leaf by leaf, on one grid; tiles, threads and float32 included."""

import numpy as np
import pytest

import refnode as rn
from refnode.arrays import size
from refnode.forward import solve_forward
from refnode.kernels.cpu import discrete_adjoint
from refnode.kernels.pack import refusal
from refnode.kernels.theta import COLUMNS
from refnode.oracle.problems import CATALOGUE

FIXED, ADAPTIVE = rn.Solver("rk4", n_steps=7), rn.Solver("dopri5", tol=1e-6)
REFUSED = {"cosine", "cnf", "cnf_hutchinson", "cnf_conditional", "cnf_second_order"}
KINKS = {"relu"}  # where rounding decides on which side of a kink a unit stands
ROUNDINGS = 1e-12  # of the sum of absolute contributions: some 4000 roundings in sequence
ROUNDINGS_32 = ROUNDINGS * 2.0**29  # float32 has 29 bits less


def assert_twins(problem, solver, dtype=np.float64, roundings=ROUNDINGS, **options):
    """Kernels and story on the story's grid: every leaf within so many roundings of what it sums; the loss likewise."""
    grid = solve_forward(problem, problem.resolved, solver).grid
    got, want = discrete_adjoint(problem, solver, dtype, grid, **options), rn.gradient(problem, "discrete", solver)
    assert abs(got.loss - want.loss) <= roundings * np.sum(np.abs(want.loss_per_sample)) + 1e-300
    largest = max(float(np.max(m, initial=0.0)) for m in want.magnitude.values())
    for name, g in want.grads.items():
        room = roundings * (float(np.max(want.magnitude[name], initial=0.0)) + 1e-3 * largest)  # one path z(t) for all
        assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name
    np.testing.assert_allclose(got.adj_t0, want.adj_t0, rtol=0, atol=roundings * (np.abs(want.adj_t0).max() + largest))


def network_problem(batch, seed=0, hidden=(17, 5), **words):
    """A problem with time input, running losses and observations, in several tiles."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(2, *hidden, 2, time="every", skip=True), span=(0.25, 1.25), **words)
    params = {name: 0.5 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    if len(model.edges):
        params["edges"] = model.edges
    beta = rn.Harmonic([1.0, 0.5], [0.5, 1.0], [0.0, 1.0])
    running = (0.1 * rn.Kinetic(), 0.3 * rn.SquaredNorm(), 0.05 * rn.ParameterNorm(), rn.Tracking(beta))
    seen = rn.observe([0.5], rng.standard_normal((1, batch, 2)))
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((batch, 2))), seen, running, scale=1.5)
    return rn.Problem(model, params, rng.standard_normal((batch, 2)), loss)


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - REFUSED - KINKS))
@pytest.mark.parametrize("solver", [FIXED, ADAPTIVE], ids=["rk4", "dopri5"])
def test_catalogue(name, solver):
    """On every catalogue problem that packs, with fixed steps and with the accepted ones of an adaptive solve."""
    (entry,) = rn.catalogue(name)
    assert refusal(entry.problem, solver) == ""
    stages_grow = 10 if name in ("contracting", "stiff") else 1  # h L near the bound of stability grows rounding
    assert_twins(entry.problem, solver, roundings=stages_grow * ROUNDINGS)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_does_not_pack_says_why(name):
    """A field, a loss or a theta(t) without a kernel raises BackendUnavailable with the reason."""
    (entry,) = rn.catalogue(name)
    why = refusal(entry.problem, ADAPTIVE)
    assert why
    with pytest.raises(rn.BackendUnavailable, match="backend='cpu'"):
        rn.gradient(entry.problem, "discrete", ADAPTIVE, backend="cpu")


@pytest.mark.parametrize("method", ["euler", "heun", "bosh3", "tsit5", "dop853"])
def test_every_tableau(method):
    """Tableaux with and without FSAL, with one error estimate and with two: the grid chosen is the story's too."""
    problem = network_problem(3)
    solver = rn.Solver(method, n_steps=5) if method in ("euler", "heun") else rn.Solver(method, tol=1e-5)
    assert_twins(problem, solver)
    got, want = (rn.gradient(problem, "discrete", solver, backend=b).stats for b in ("cpu", "numpy"))
    assert (got.accepted, got.rejected, got.nfe) == (want.accepted, want.rejected, want.nfe)
    np.testing.assert_allclose(got.grid, want.grid, rtol=1e-6)  # a step follows an error that is itself a difference


@pytest.mark.parametrize("theta", [rn.Constant(), rn.Galerkin(rn.Fourier(1)), rn.Stacked(3)], ids=["1", "psi", "cells"])
@pytest.mark.parametrize(("dtype", "roundings"), [(np.float64, ROUNDINGS), (np.float32, ROUNDINGS_32)])
@pytest.mark.parametrize("batch", [70, 257])
def test_several_tiles(theta, dtype, roundings, batch):
    """70 samples are three small tiles, 257 five large ones, the last one ragged; shared by threads."""
    assert_twins(network_problem(batch, theta=theta), FIXED, dtype, roundings)


@pytest.mark.parametrize("layers", [None, ("W0", "b1")], ids=["all", "some"])
@pytest.mark.parametrize("options", [
    {"store": "stages"}, {"store": "states"}, {"store": "binomial", "memory_bytes": 8000},
], ids=lambda options: options["store"])  # fmt: skip
def test_several_blocks_of_weights(options, layers):
    """Four blocks, the last one ragged, which threads share; three tiles; leaves that vary and leaves that do not. In
    float32 the tape of stages alone.
    """
    problem = network_problem(70, hidden=(24, 24), theta=rn.Galerkin(rn.Fourier(1), layers=layers))
    assert 3 * COLUMNS < size(problem.model.field.shapes) < 4 * COLUMNS
    for solver in (FIXED, rn.Solver("dopri5", tol=1e-3)):
        assert_twins(problem, solver, **options)
    if options["store"] == "stages":
        assert_twins(problem, FIXED, np.float32, ROUNDINGS_32)


@pytest.mark.parametrize("steps", ["shared", "own"])
def test_every_tile_sees_its_own_inputs(steps):
    """A control that the field sees at every stage, in small tiles and in large ones: dloss/dx is each sample's own."""
    for batch in (70, 257):
        rng = np.random.default_rng(batch)
        model = rn.NeuralODE(rn.MLP(4, 9, 2, time="first"), control="x")
        x, y = rng.standard_normal((2, batch, 2))
        problem = rn.Problem(model, model.init(rng), x, rn.Loss(rn.SquaredError(y)))
        assert_twins(problem, rn.Solver("dopri5", tol=1e-5, steps=steps))


def test_same_bits_again():
    """Two runs give the same bits: tiles are fixed, and sums over them run in one order."""
    problem = network_problem(70)
    first, second = (rn.gradient(problem, "discrete", ADAPTIVE, backend="cpu") for _ in range(2))
    for name, g in first.grads.items():
        np.testing.assert_array_equal(second.grads[name], g)


def test_a_tape_grows():
    """A solve of hundreds of steps outgrows its first tape without losing one."""
    (entry,) = rn.catalogue("cycle")
    assert rn.gradient(entry.problem, "discrete", ADAPTIVE, backend="cpu").stats.accepted > 100
    assert_twins(entry.problem, ADAPTIVE)


def test_failures_are_the_storys():
    """Too many steps raise, with t, as they do in the story."""
    (entry,) = rn.catalogue("cycle")
    solver = rn.Solver("dopri5", tol=1e-6, max_steps=20)
    times = []
    for backend in ("cpu", "numpy"):
        with pytest.raises(rn.TooManySteps, match="max_steps = 20") as caught:
            rn.gradient(entry.problem, "discrete", solver, backend=backend)
        times.append(caught.value.t)
    assert times[0] == pytest.approx(times[1], rel=1e-9)
