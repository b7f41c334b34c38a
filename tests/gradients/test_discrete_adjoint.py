"""The discrete adjoint is the derivative of the computed solution, to round-off, whatever it stores.

Three programs differentiate one map, the accepted steps with their fractions frozen: reverse mode by hand, tangents by
hand, and complex arithmetic, which knows no derivative. They agree within `rounding_bound`.
"""

import tracemalloc
from dataclasses import replace
from functools import cache
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import refnode as rn
from refnode.forward import replay, solve_forward
from refnode.gradients.discrete_adjoint import binomial
from refnode.values import resolved, unnamed
from tests.gradients.problems import (
    EPS,
    assert_same,
    assert_same_bits,
    draw_params,
    problems,
    rounding_bound,
    solvers,
    span_of,
)
from tests.help import many

STATES = st.integers(2, 12)


# ---------------------------------------------------------------- the same derivative

def check_against(method, problem, solver):
    got, want = (rn.gradient(problem, name, solver) for name in ("discrete", method))
    assert got.loss == want.loss
    assert_same(got.grads, want.grads, rounding_bound(problem, solver))


@settings(max_examples=50)
@given(problems(), solvers())
def test_equals_complex_step(problem, solver):
    """Every leaf is the complex step's, on any problem and grid."""
    check_against("complex_step", problem, solver)


@settings(max_examples=25)
@given(problems(), solvers())
def test_equals_forward_sensitivities(problem, solver):
    """Every leaf is that of the tangents carried forward."""
    check_against("forward_discrete", problem, solver)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["complex_step", "forward_discrete"])
@settings(max_examples=many(400))
@given(problems(), solvers())
def test_equals_the_others_on_many_problems(method, problem, solver):
    """The same, on hundreds of problems, or the first quarter of them."""
    check_against(method, problem, solver)


@settings(max_examples=40)
@given(problems(most_observed=0, running=False), solvers(), st.integers(0, 2**32 - 1))
def test_is_the_transpose_of_the_solve(problem, solver, seed):
    """<adj, J v> = <J^T adj, v> for the map J from all leaves to z(T): forward mode says the same as reverse mode."""
    rng = np.random.default_rng(seed)
    model = problem.model
    plain = replace(model, h_y=rn.Identity())
    params = {name: leaf for name, leaf in problem.params.items() if not name.startswith("h_y")}
    adj = rng.standard_normal((problem.batch, model.state_width))
    loss = rn.Loss(terminal=rn.LinearFunctional(adj, reduction="sum"))
    problem = rn.Problem(plain, params, problem.x, loss, span_of(problem))
    v = {name: rng.standard_normal(leaf.shape) for name, leaf in problem.leaves().items()}
    values, step = problem.values, 2.0**-100  # its square underflows beside 1
    grid = solve_forward(problem, problem.resolved, solver).grid
    moved = resolved(values.shifted(1j * step, unnamed(v, problem)), problem)
    Jv = replay(problem, moved, grid, solver.tableau)[-1].imag / step
    transposed = rn.gradient(problem, "discrete", solver).grads
    # each number of a leaf may be off by the leaf's bound; the inner product itself adds one rounding a term
    bound = sum(b * np.abs(v[name]).sum() for name, b in rounding_bound(problem, solver).items())
    error = abs((adj * Jv).sum() - sum((transposed[name] * v[name]).sum() for name in v))
    assert error <= bound


def cosine_problem(batch=3, running=(), times=(), scale=1.0):
    """z' = k cos(t) z with different k and a loss of every sort."""
    rng = np.random.default_rng(0)
    observed = rn.observe(times, rng.standard_normal((len(times), batch, 2)), reduction="sum") if times else None
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((batch, 2))), observed, running, scale)
    model = rn.NeuralODE(rn.CosineField(2), span=(0.25, 1.75))
    return rn.Problem(model, {"theta.k": np.array([0.7, -1.2])}, rng.standard_normal((batch, 2)), loss)


@pytest.mark.parametrize("name", rn.TABLEAUX)
def test_every_tableau(name):
    """No tableau is left to chance: each agrees with the complex step with a running loss and observations."""
    problem = cosine_problem(running=(rn.Kinetic(), rn.ParameterNorm(weight=0.3)), times=(0.5, 1.1), scale=-2.0)
    solver = rn.Solver(name, n_steps=7)
    got, want = (rn.gradient(problem, method, solver) for method in ("discrete", "complex_step"))
    # operations of theta cos(t) z and of its vjp: 6 products and 4 for a cosine, twice; |k| <= 1.2 over 1.5 of depth
    C = 2 * 9 * solver.tableau.stages * (2 * 10 + solver.tableau.stages + 3) * np.exp(1.2 * 1.5)
    assert_same(got.grads, want.grads, {leaf: C * EPS * np.max(m) for leaf, m in got.magnitude.items()})


def test_magnitude_bounds_the_gradient():
    """|gradient| <= magnitude, entry by entry, as a sum is no larger than the sum of absolute values."""
    problem = cosine_problem(running=(rn.SquaredNorm(),), times=(0.5,))
    result = rn.gradient(problem, "discrete", rn.Solver("dopri5", tol=1e-6))
    for name, g in result.grads.items():
        assert np.all(np.abs(g) <= result.magnitude[name] * (1 + 1000 * EPS)), name  # < 1000 terms, each rounded


def test_cost_is_one_vjp_a_stage():
    """nfe_backward is N s, less the FSAL stage that b ignores."""
    problem = cosine_problem()
    for name, stages in (("rk4", 4), ("dopri5", 6), ("bosh3", 3), ("dop853", 12)):
        assert rn.gradient(problem, "discrete", rn.Solver(name, n_steps=5)).stats.nfe_backward == 5 * stages


# ---------------------------------------------------------------- the same bits, whatever is stored

def assert_same_result(got, want):
    assert got.loss == want.loss
    assert_same_bits(got.grads, want.grads)
    assert_same_bits(got.magnitude, want.magnitude)
    np.testing.assert_array_equal(got.adj_t0, want.adj_t0)


@settings(max_examples=60)
@given(problems(), solvers(), STATES)
def test_same_bits_whatever_is_stored(problem, solver, states):
    """Stored, recomputed and checkpointed runs agree to the last bit in every leaf, in adj_t0 and in the magnitude."""
    want = rn.gradient(problem, "discrete", solver)
    assert_same_result(rn.gradient(problem, "discrete", solver, store="states"), want)
    limit = states * state_bytes(problem)
    assert_same_result(rn.gradient(problem, "discrete", solver, store="binomial", memory_bytes=limit), want)


def state_bytes(problem):
    """Bytes of y = [z, q]."""
    return 8 * problem.batch * (problem.model.state_width + (1 if problem.loss.running else 0))


def network_problem(batch=3, own=False):
    """A non-autonomous network with a running loss, per-sample ends if `own`."""
    rng = np.random.default_rng(1)
    model = rn.NeuralODE(rn.MLP(2, 4, 2, time="every"), h_y=rn.Linear(2, 1), span=(0.0, 1.0))
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((batch, 1))), running=rn.Kinetic(weight=0.1))
    span = (-rng.uniform(0, 0.2, batch), 1 + rng.uniform(0, 0.5, batch)) if own else None
    return rn.Problem(model, draw_params(model, rng), rng.standard_normal((batch, 2)), loss, span)


@pytest.mark.parametrize("steps", ["shared", "own"])
@pytest.mark.parametrize("name", ["bosh3", "dopri5", "tsit5", "dop853"])
def test_same_bits_for_all_memory_limits(name, steps):
    """From two states to one more than there are steps, the bits are those of the stored run."""
    problem = network_problem(own=steps == "own")
    solver = rn.Solver(name, tol={"bosh3": 1e-4, "dop853": 1e-11}.get(name, 1e-7), steps=steps)
    want = rn.gradient(problem, "discrete", solver)
    N = len(want.stats.grid) - 1
    assert N >= 5
    for states in range(2, N + 2):
        limit = states * state_bytes(problem) + 7  # seven bytes hold no state
        got = rn.gradient(problem, "discrete", solver, store="binomial", memory_bytes=limit)
        assert_same_result(got, want)
        assert got.stats.peak_bytes == min(states, N) * state_bytes(problem)


# ---------------------------------------------------------------- the binomial schedule

class Counted:
    """A state that knows which step it precedes and how many of its kind are alive."""

    alive = 0

    def __init__(self, n):
        self.n = n
        Counted.alive += 1

    def __del__(self):
        Counted.alive -= 1


class Counter:
    """Counts the steps that are run, and the states that are alive while they are; keeps the order of reversal."""

    def __init__(self):
        self.runs, self.peak, self.order = 0, 0, []

    def run(self, n, y):
        assert y.n == n, "a step is run from the state before it"
        self.runs, self.peak = self.runs + 1, max(self.peak, Counted.alive)
        return Counted(n + 1)

    def advance(self, lo, hi, y):
        for n in range(lo, hi):
            y = self.run(n, y)
        return y

    def back(self, n, y):
        self.run(n, y)
        self.order.append(n)


def schedule(steps, snapshots):
    """Steps run, most states alive, order of reversal."""
    counter = Counter()
    binomial(steps, Counted(0), snapshots, counter.advance, counter.back)
    return counter.runs, counter.peak, counter.order


@cache
def fewest_repeats(steps, snapshots):
    """Steps that must be run again, by optimality: advance m, reverse the right part, then the left."""
    if steps == 1:
        return 0
    if snapshots == 1:
        return steps * (steps - 1) // 2
    return min(
        m + fewest_repeats(steps - m, snapshots - 1) + fewest_repeats(m, snapshots) for m in range(1, steps)
    )


def griewanks_count(steps, snapshots):
    """r l - binom(c + r, c + 1), where r repetitions are the fewest with binom(c + r, c) >= l (Griewank 1992)."""
    c, r = snapshots, next(r for r in range(steps) if comb(snapshots + r, snapshots) >= steps)
    return r * steps - comb(c + r, c + 1)


@pytest.mark.parametrize("snapshots", range(1, 7))
def test_binomial_schedule_is_optimal(snapshots):
    """1 to 40 steps: every step is reversed once, in order, with the fewest repeats, and no state beyond the limit."""
    for steps in range(1, 41):
        runs, peak, order = schedule(steps, snapshots)
        assert order == list(reversed(range(steps)))
        # each reversal runs its own step once, for the stages; the rest are repeats
        assert runs - steps == fewest_repeats(steps, snapshots) == griewanks_count(steps, snapshots)
        assert peak <= snapshots + 1  # the state that a running step starts from is not a snapshot


@pytest.mark.parametrize("states", [2, 3, 5, 30])
def test_binomial_evaluates_as_often_as_the_schedule_says(states):
    """nfe_backward is that of the stored run, and s for each of the N + repeats steps."""
    problem, solver = network_problem(), rn.Solver("rk4", n_steps=20)
    stored = rn.gradient(problem, "discrete", solver).stats.nfe_backward
    limit = states * state_bytes(problem)
    again = rn.gradient(problem, "discrete", solver, store="binomial", memory_bytes=limit).stats.nfe_backward
    assert again - stored == 4 * (20 + fewest_repeats(20, states))


@pytest.mark.parametrize("limit", [None, 0, 1, "one state", 2.5e9])
def test_less_than_two_states_are_refused(limit):
    """Nothing, too little, or no integer at all raises InvalidArgument, naming memory_bytes."""
    problem = network_problem()
    limit = 2 * state_bytes(problem) - 1 if limit == "one state" else limit
    with pytest.raises(rn.InvalidArgument, match="memory_bytes"):
        rn.gradient(problem, "discrete", rn.Solver("rk4", n_steps=3), store="binomial", memory_bytes=limit)


# ---------------------------------------------------------------- memory

def peak_memory(problem, solver, **options):
    """Bytes at the worst moment of a gradient, by tracemalloc, and as the result says."""
    tracemalloc.start()
    try:
        said = rn.gradient(problem, "discrete", solver, **options).stats.peak_bytes
        return tracemalloc.get_traced_memory()[1], said
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("store", ["stages", "states", "binomial"])
def test_memory_is_what_it_says(store):
    """peak_bytes is what is allocated, but for a few dozen arrays of one stage at work and for small objects.

    One stage of 7 has up to 7 arrays of k, 7 of stage states, 7 of cotangents and the layers' own; 60 states in all.
    """
    problem, solver = network_problem(batch=1000), rn.Solver("dopri5", n_steps=100)
    one = state_bytes(problem)
    options = {"memory_bytes": 10 * one} if store == "binomial" else {}
    measured, said = peak_memory(problem, solver, store=store, **options)
    assert said == {"stages": 100 * 8 * one, "states": 100 * one, "binomial": 10 * one}[store]
    small_objects = 100 * 3000  # a step's record: about ten arrays without data to speak of, 100 to 200 bytes each
    assert 0.9 * said <= measured <= said + 60 * one + small_objects
