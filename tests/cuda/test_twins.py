"""The compiled PTX gives the story's gradient, leaf by leaf, on one grid; two orders of threads give the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.forward import solve_forward
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.problem import refusal
from refnode.kernels.cuda.run import uniform
from refnode.kernels.cuda.solve import Run
from tests.cuda.cases import CASES, RK4, problem
from tests.cuda.launch import OnCpu

# of the sum of absolute contributions, as for the CPU's kernels: some 4000 roundings in sequence; a tanh of float32
# is off by 3 ulp at most, which is no more than its four roundings there
ROUNDINGS = {"float64": 1e-12, "float32": 1e-12 * 2.0**29}


def assert_twins(p, solver, dtype, keep, grid=None):
    """Every leaf within so many roundings of what it sums; the loss likewise. The kernels' result."""
    got = discrete_adjoint(p, solver, OnCpu(), np.dtype(dtype).type, grid, store=keep)
    want, roundings = rn.gradient(p, "discrete", solver), ROUNDINGS[dtype]
    assert abs(got.loss - want.loss) <= roundings * np.sum(np.abs(want.loss_per_sample)) + 1e-300
    largest = max(float(np.max(m, initial=0.0)) for m in want.magnitude.values())
    for name, g in want.grads.items():
        room = roundings * (float(np.max(want.magnitude[name], initial=0.0)) + 1e-3 * largest)
        assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name
    np.testing.assert_allclose(got.adj_t0, want.adj_t0, rtol=0, atol=roundings * (np.abs(want.adj_t0).max() + largest))
    return got


FAST = ("constant", "galerkin")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in CASES])
def test_twins(name):
    """Depth variance, order 2, control, time input, activations, tableaux, precisions, stages kept or run again."""
    make, solver, dtype, keep = CASES[name]
    p = make()
    assert refusal(p, solver) == ""
    first = assert_twins(p, solver, dtype, keep)
    again = discrete_adjoint(p, solver, OnCpu(order=3), np.dtype(dtype).type, store=keep)
    for leaf, g in first.grads.items():
        np.testing.assert_array_equal(again.grads[leaf], g, err_msg=leaf)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(1, 130), st.integers(0, 10**6))
def test_ragged_blocks(batch, seed):
    """Any number of trajectories, on an adaptive solve's accepted grid: blocks that are full, ragged, and of one."""
    p, solver = problem(batch, 8, seed=seed), rn.Solver("dopri5", tol=1e-3)
    grid = solve_forward(p, p.resolved, solver).grid
    assert_twins(p, solver, "float32", "states", grid)


@pytest.mark.slow
@settings(max_examples=6)
@given(
    st.integers(1, 32), st.integers(1, 130), st.sampled_from(["none", "first", "every"]), st.booleans(),
    st.sampled_from(["tanh", "softplus", "sin", "sigmoid"]), st.sampled_from(sorted(ROUNDINGS)),
    st.sampled_from(["stages", "states"]), st.integers(0, 10**6),
)  # fmt: skip
def test_drawn_shapes(hidden, batch, time, bias, act, dtype, keep, seed):
    """Any width up to 32, odd ones too, in blocks that are ragged."""
    assert_twins(problem(batch, hidden, act=act, time=time, bias=bias, seed=seed), RK4, dtype, keep)


@pytest.mark.slow
def test_grids_of_their_own():
    """Samples that took steps of their own, some fewer than others, are replayed each on its grid."""
    p, solver = problem(5, 8), rn.Solver("dopri5", tol=1e-3, steps="own")
    grid = solve_forward(p, p.resolved, solver).grid
    assert_twins(p, solver, "float32", "states", grid)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_of_their_own(dtype):
    """Each trajectory's controller takes the story's steps in float64; the gradient is that of the grid it chose."""
    p, solver = problem(40, 8), rn.Solver("dopri5", tol=1e-5, steps="own")
    assert refusal(p, solver) == ""
    got, want = discrete_adjoint(p, solver, OnCpu(), np.dtype(dtype).type), rn.gradient(p, "discrete", solver)
    assert len(set(want.stats.accepted)) > 1        # some wait for others
    if dtype == "float64":
        np.testing.assert_array_equal(got.stats.accepted, want.stats.accepted)
        np.testing.assert_array_equal(got.stats.rejected, want.stats.rejected)
        np.testing.assert_allclose(got.stats.grid, want.stats.grid, rtol=1e-6)  # a step follows a difference
    for name, g in want.grads.items():              # both solve the same problem to the tolerance
        room = 100 * 1e-5 * max(1.0, float(np.max(want.magnitude[name], initial=0.0)))
        assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "x", "error"), [
    (rn.Solver("dopri5", tol=1e-6, steps="own", max_steps=2), 0.5, rn.TooManySteps),
    (rn.Solver("dopri5", tol=1e-5, steps="own"), 3e38, rn.NonFiniteState),
])  # fmt: skip
def test_faults_of_own_steps_name_their_samples(solver, x, error):
    """Too many steps, and a state that is not finite: raised with the samples, in float32."""
    p = problem(5, 8)
    other = np.array(p.x)
    other[3] = x
    with pytest.raises(error) as caught:
        discrete_adjoint(rn.Problem(p.model, p.params, other, p.loss), solver, OnCpu(), np.float32)
    assert 3 in caught.value.samples
    assert error is rn.TooManySteps or caught.value.samples == (3,)


def test_one_that_fails_does_not_poison_others():
    """A trajectory that overflows is named; the others' states and gradients are those without it."""
    p = problem(5, 8)
    x = np.array(p.x)
    x[2] = 3e38                                     # its square overflows in float32
    far = rn.Problem(p.model, p.params, x, p.loss)
    with pytest.raises(rn.NonFiniteState) as caught:
        discrete_adjoint(far, RK4, OnCpu(), np.float32, store="states")
    assert caught.value.samples == (2,)
    alone = np.delete(np.arange(5), 2)
    runs = [Run(q, RK4, OnCpu(), np.float32, "states", uniform(q, RK4)) for q in (p, far)]
    solved = [run.solve() for run in runs]
    g = np.where(np.arange(5)[:, None] == 2, 0.0, np.ones((5, 3)))
    swept = [run.sweep(1, run.to(g.T), one) for run, one in zip(runs, solved, strict=True)]
    ends = [one.at_bounds[-1][alone] for one in solved]
    np.testing.assert_array_equal(*ends)
    np.testing.assert_array_equal(swept[0].g[:, alone], swept[1].g[:, alone])
    np.testing.assert_array_equal(swept[0].g_theta, swept[1].g_theta)
