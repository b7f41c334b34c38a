"""A forward solve lands on every break-point, gathers the running loss beside the state, and replays bit for bit."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import refnode as rn
from refnode.dynamics import initial_y
from refnode.forward import (
    Grid,
    dense_segment,
    loss_per_sample,
    point_terms,
    replay,
    solve_forward,
)
from refnode.integrate import Statistics
from refnode.segments import bounds, segments
from refnode.tableau import TABLEAUX
from tests.help import EPS

ADAPTIVE = [name for name, method in TABLEAUX.items() if method.adaptive]
ALL_SOLVERS = {f"{name} fixed": rn.Solver(name, n_steps=5) for name in TABLEAUX} | {
    f"{name} {steps}": rn.Solver(name, tol=1e-6, steps=steps) for name in ADAPTIVE for steps in ("shared", "own")
}
every_solver = pytest.mark.parametrize("solver", ALL_SOLVERS.values(), ids=ALL_SOLVERS)
SPANS = {
    "up": (0.2, 1.7),
    "down": (1.1, -0.6),
    "T per sample": (0.1, np.array([1.3, 2.0, 1.1])),
    "both per sample": (np.array([0.1, 0.0, 0.2]), np.array([1.1, 1.9, 1.3])),
}
every_span = pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
seeds = st.integers(0, 2**32 - 1)
RNG = np.random.default_rng(8)
X = RNG.standard_normal((3, 2))


def network_problem(span, observed=True, running=True):
    """An MLP with time input, readout, terminal and observation losses and a running loss that depends on t."""
    model = rn.NeuralODE(rn.MLP(2, 5, 2, time="every"), h_y=rn.Linear(2, 3))
    rng = np.random.default_rng(3)
    times = np.array([0.3, 0.61, 1.07] if np.max(span[1]) > np.max(span[0]) else [0.9, 0.17, -0.1])
    targets = rng.standard_normal((len(times), 3, 3))
    beta = rn.Harmonic([1.0, 0.5], [1.0, 2.0], [0.1, 0.7])
    loss = rn.Loss(
        terminal=rn.SquaredError(rng.standard_normal((3, 3))),
        observations=rn.observe(times, targets, reduction="sum", weight=0.3) if observed else None,
        running=(0.5 * rn.Tracking(beta=beta), rn.Kinetic(reduction="sum")) if running else (),
        scale=1.7,
    )
    return rn.Problem(model, model.init(rng), X, loss, span)


def cosine_problem(span, running, k=(1.0, -0.7), x=X, terms=None):
    """The closed form z(t) = x exp(k (sin t - sin t0)) with one running loss."""
    model = rn.NeuralODE(rn.CosineField(2))
    return rn.Problem(model, {"theta.k": np.array(k)}, x, terms or rn.Loss(running=running), span)


def exact(problem, t):
    """z(t) (b, d) for t () or (b,)."""
    t0, k = problem.span[0], problem.params["theta.k"]
    return problem.x * np.exp(k * (np.sin(np.asarray(t))[..., None] - np.sin(t0)[..., None]))


# ---------------------------------------------------------------- grids

@every_span
@every_solver
def test_break_points_are_in_the_grid_bit_for_bit(solver, span):
    """The grid runs strictly from t0 to T, or waits, and holds every observation time to the last bit."""
    problem = network_problem(span)
    forward = solve_forward(problem, problem.values, solver)
    times = forward.grid.times(problem, problem.values)
    steps = np.diff(times, axis=0) * np.sign(np.mean(problem.span[1]) - np.mean(problem.span[0]))
    own = solver.steps == "own"
    assert (steps >= 0).all() if own else (steps > 0).all()
    for t in bounds(problem, problem.values):
        found = times == t
        assert found.any(axis=0).all()
    np.testing.assert_array_equal(times[0], np.broadcast_to(problem.span[0], times[0].shape))
    np.testing.assert_array_equal(times[-1], np.broadcast_to(problem.span[1], times[-1].shape))
    assert times.shape[1:] == ((3,) if own or times.ndim == 2 else ())
    taken = (steps > 0).sum(axis=0)
    np.testing.assert_array_equal(taken, forward.statistics.accepted)


def test_steps_do_not_straddle_a_break_point():
    """A break-point restarts the solve: with fixed steps it has the bits of two problems, one after the other."""
    whole = network_problem((0.2, 1.7), running=False)
    first_time = whole.values.t_obs[1]
    solver = rn.Solver("rk4", n_steps=12)
    forward = solve_forward(whole, whole.values, solver)
    counts = [len(f) - 1 for f in forward.grid.fractions]
    z = whole.x
    for i, (span, n) in enumerate(zip(segments(whole, whole.values), counts, strict=True)):
        part = rn.Problem(whole.model, whole.params, z, rn.Loss(whole.loss.terminal), (span.start, span.end))
        z = solve_forward(part, part.values, rn.Solver("rk4", n_steps=n)).at_bounds[-1]
        np.testing.assert_array_equal(z, forward.at_bounds[i + 1])
    assert first_time == segments(whole, whole.values)[2].start


def test_grid_of_fractions_moves_with_its_ends():
    """Grid.times at other values: the same fractions of other segments."""
    problem = network_problem((0.2, 1.7))
    grid = solve_forward(problem, problem.values, rn.Solver("rk4", n_steps=6)).grid
    moved = replace(problem.values, T=np.array(2.7), t_obs=problem.values.t_obs + 0.1)
    ends = [0.2, *moved.t_obs, 2.7]
    want = [a + (b - a) * f for (a, b), f in zip(itertools.pairwise(ends), grid.fractions, strict=True)]
    joined = np.concatenate([want[0], *(t[1:] for t in want[1:])])
    np.testing.assert_allclose(grid.times(problem, moved), joined, rtol=4 * EPS)
    assert isinstance(grid, Grid)


# ---------------------------------------------------------------- replay

@pytest.mark.parametrize("running", [False, True])
@every_span
@every_solver
def test_replay_has_the_bits_of_the_solve(solver, span, running):
    """The accepted grid, replayed at the same values, gives y at every break-point to the last bit."""
    problem = network_problem(span, running=running)
    forward = solve_forward(problem, problem.values, solver)
    again = replay(problem, problem.values, forward.grid, solver.tableau)
    assert len(again) == len(forward.at_bounds)
    for a, b in zip(again, forward.at_bounds, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        loss_per_sample(problem, problem.values, again), loss_per_sample(problem, problem.values, forward.at_bounds)
    )


def test_keeping_the_steps_changes_nothing():
    """keep="steps" holds the steps, in order, "states" holds them without stages, "nothing" none; the bits are one."""
    problem, solver = network_problem((0.2, 1.7)), rn.Solver(tol=1e-6)
    kept = solve_forward(problem, problem.values, solver, keep="steps")
    states = solve_forward(problem, problem.values, solver, keep="states")
    plain = solve_forward(problem, problem.values, solver)
    assert all(not steps for steps in plain.steps)
    assert [len(steps) for steps in kept.steps] == [len(f) - 1 for f in kept.grid.fractions]
    for i, steps in enumerate(kept.steps):
        np.testing.assert_array_equal(steps[0].y, kept.at_bounds[i])
        np.testing.assert_array_equal(steps[-1].y_new, kept.at_bounds[i + 1])
        np.testing.assert_array_equal(plain.at_bounds[i + 1], kept.at_bounds[i + 1])
        for step, state in zip(steps, states.steps[i], strict=True):
            np.testing.assert_array_equal(step.y, state.y)
            assert (step.k.shape, state.k.size) == ((7, 3, 3), 0)


# ---------------------------------------------------------------- the running loss

BETA = rn.Harmonic([0.8, -0.4], [0.7, 1.3], [0.2, 1.0])
RUNNING = {
    "squared norm": (rn.SquaredNorm(), lambda p, t, z: (z**2).sum(axis=1)),
    "kinetic": (rn.Kinetic(), lambda p, t, z: ((p.params["theta.k"] * np.cos(t)[..., None] * z) ** 2).sum(axis=1)),
    "parameter norm": (rn.ParameterNorm(), lambda p, t, z: np.full(3, (p.params["theta.k"] ** 2).sum())),
    "tracking": (
        rn.Tracking(beta=BETA),
        lambda p, t, z: (
            (z - BETA.amplitude * np.cos(2 * np.pi * BETA.frequency * t[..., None] + BETA.phase)) ** 2
        ).sum(axis=1),
    ),
}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


def quadrature(problem, l):
    """int l dt along the closed form by Gauss's rule with 40 nodes, signed, one number per sample."""
    t0, T = (np.broadcast_to(end, 3) for end in problem.span)
    times = [(T + t0) / 2 + (T - t0) / 2 * node for node in NODES]
    return sum(w * (T - t0) / 2 * l(problem, t, exact(problem, t)) for w, t in zip(WEIGHTS, times, strict=True))


@pytest.mark.parametrize("steps", ["shared", "own"])
@every_span
@pytest.mark.parametrize("name", RUNNING)
def test_running_loss_is_the_integral(name, span, steps):
    """q(T) is int l(t, z(t)) dt by an independent rule along the closed form, signed where t1 < t0.

    40 nodes integrate these entire functions on spans below 2 to round-off. q' depends on z only, so q is off by its
    own local errors, tol (1 + |y|) sqrt(9) each in one of nine entries, and by int |dl/dz| |dz|, where dz is the same
    sum for z, carried on by e^(2 |k|) < 8; |dl/dz| < 2 (1 + |z|) (1 + |k|)^2 < 40 here.
    """
    term, l = RUNNING[name]
    problem, tol = cosine_problem(span, term * 3.0), 1e-12
    forward = solve_forward(problem, problem.values, rn.Solver("dop853", tol=tol, steps=steps))
    size = 1 + max(np.abs(y).max() for y in forward.at_bounds)
    bound = 3 * tol * size * np.max(forward.statistics.accepted) * (1 + 2 * 8 * 40)
    want = quadrature(problem, l)  # times weight 3, divided by 3 samples
    assert np.abs(forward.at_bounds[-1][:, 2] - want).max() < bound
    assert np.abs(loss_per_sample(problem, problem.values, forward.at_bounds) - want).max() < bound
    np.testing.assert_array_equal(forward.at_bounds[0][:, 2], np.zeros(3))


def test_running_losses_add_up_over_the_segments():
    """Observations cut the integral; q goes on from where it was and sums to the uncut one.

    N < 100 steps of local errors tol (1 + |y|) sqrt(9), |y| < 11, and growth below 50 for this network: 2e-7.
    """
    cut, whole = network_problem((0.2, 1.7)), network_problem((0.2, 1.7), observed=False)
    solver = rn.Solver("dop853", tol=1e-12)
    a, b = (solve_forward(p, p.values, solver).at_bounds for p in (cut, whole))
    q = [y[:, 2] for y in a]
    assert all((later > earlier).all() for earlier, later in itertools.pairwise(q))  # both terms are positive
    assert np.abs(a[-1] - b[-1]).max() < 1e-6


# ---------------------------------------------------------------- the loss

@every_span
def test_loss_is_what_its_terms_say(span):
    """scale (terminal + observations + running), each term by hand from z at the bounds and q at the end."""
    problem = network_problem(span)
    values, loss = problem.values, problem.loss
    forward = solve_forward(problem, values, rn.Solver("rk4", n_steps=9))
    W, b = problem.params["h_y.W0"], problem.params["h_y.b0"]
    y = [z[:, :2] @ W + b for z in forward.at_bounds]
    want = ((y[-1] - loss.terminal.target) ** 2).sum(axis=1) / 3
    for at, term in zip(y[1:-1], loss.observations.terms, strict=True):
        want = want + 0.3 * ((at - term.target) ** 2).sum(axis=1)
    want = 1.7 * (want + forward.at_bounds[-1][:, 2])
    # sums of positive terms, some tens of roundings
    np.testing.assert_allclose(loss_per_sample(problem, values, forward.at_bounds), want, rtol=64 * EPS)


def test_point_terms_stand_at_their_bounds():
    """None at t0, the observations in order, the terminal loss at T."""
    problem = network_problem((0.2, 1.7))
    terms = point_terms(problem)
    assert terms[0] is None
    assert terms[-1] is problem.loss.terminal
    assert all(a is b for a, b in zip(terms[1:-1], problem.loss.observations.terms, strict=True))
    assert len(terms) == len(bounds(problem, problem.values)) == 5
    assert len(point_terms(network_problem((0.2, 1.7), observed=False))) == 2


@pytest.mark.parametrize("t", [0.0, 0.3, -1.7])
@every_solver
def test_no_depth_no_change(solver, t):
    """T = t0: state, prediction and loss are those of the initial state, to the last bit, and q is 0."""
    problem = network_problem((t, t), observed=False)
    forward = solve_forward(problem, problem.values, solver)
    start = initial_y(problem, problem.values)
    for y in forward.at_bounds:
        np.testing.assert_array_equal(y, start)
    np.testing.assert_array_equal(
        loss_per_sample(problem, problem.values, forward.at_bounds),
        loss_per_sample(problem, problem.values, [start, start]),
    )
    times = forward.grid.times(problem, problem.values)
    np.testing.assert_array_equal(times, np.full(times.shape, t))


# ---------------------------------------------------------------- samples with spans of their own

@pytest.mark.parametrize("name", ADAPTIVE)
@settings(max_examples=10)
@given(seed=seeds)
def test_each_sample_is_its_own_solve(name, seed):
    """With T per sample, up or down, one of them equal to t0, each sample is what it is alone, to tolerance.

    A solve's local errors are tol (1 + |y|) sqrt(6) each in one of at most six entries, and they grow by
    e^(|k| |sin t - sin s|) <= e^2: both solves are within the sum of that over their steps of the closed form.
    """
    rng = np.random.default_rng(seed)
    ends = np.where(np.arange(3) == rng.integers(3), 0.2, 0.2 + rng.uniform(-1.5, 1.5, 3))
    loss, tol = rn.Loss(rn.LinearFunctional(np.ones(2), reduction="sum")), 1e-6 if name == "bosh3" else 1e-9
    problem = cosine_problem((0.2, ends), None, terms=loss)
    want = exact(problem, ends)
    size = (1 + np.abs(want).max() + np.abs(X).max()) * np.sqrt(6) * np.exp(2)
    for steps in ("shared", "own"):
        solver = rn.Solver(name, tol=tol, steps=steps)
        together = solve_forward(problem, problem.values, solver)
        assert np.abs(together.at_bounds[-1] - want).max() < tol * size * np.max(together.statistics.accepted)
        np.testing.assert_array_equal(together.at_bounds[-1][ends == 0.2], X[ends == 0.2])
        for b in range(3):
            single = cosine_problem((0.2, ends[b : b + 1]), None, x=X[b : b + 1], terms=loss)
            forward = solve_forward(single, single.values, solver)
            error = np.abs(forward.at_bounds[-1][0] - together.at_bounds[-1][b]).max()
            assert error < tol * size * (np.max(together.statistics.accepted) + np.max(forward.statistics.accepted))


def test_own_steps_are_fewer_where_the_span_is_shorter():
    """Accepted steps are counted per sample; a sample with a tenth of the span takes fewer."""
    problem = network_problem((0.0, np.array([2.0, 0.2, 1.0])), observed=False)
    accepted = solve_forward(problem, problem.values, rn.Solver(tol=1e-8, steps="own")).statistics.accepted
    assert accepted[1] < accepted[2] < accepted[0]


# ---------------------------------------------------------------- dense output of a problem, refusals

@every_solver
def test_dense_segments_join_at_the_break_points(solver):
    """y(t) from the left and from the right of an observation are the state there; evaluations are counted.

    s is rounded to 4 EPS, and y'(t) is of order 10; w . k sums up to 16 terms of up to 500.
    """
    problem = network_problem((0.2, 1.7))
    forward = solve_forward(problem, problem.values, solver, keep="steps")
    counted = Statistics()
    dense = [dense_segment(problem, problem.values, forward, i, solver.tableau, counted) for i in range(4)]
    steps = sum(len(s) for s in forward.steps)
    extra = solver.tableau.dense_stages - solver.tableau.stages
    assert counted.nfe == steps * extra
    for i, t in enumerate(problem.values.t_obs):
        for side in (dense[i], dense[i + 1]):
            y = forward.at_bounds[i + 1]
            assert np.abs(side(t) - y).max() < 1e4 * EPS * (1 + np.abs(y).max())


def test_a_state_that_starts_infinite_is_refused():
    """h_x(x) beyond the largest float raises NonFiniteState at t0 for those samples, before any step."""
    model = rn.NeuralODE(rn.CosineField(2), h_x=rn.Linear(2, 2, bias=False))
    loss = rn.Loss(terminal=rn.LinearFunctional(np.ones(2)))
    params = {"theta.k": np.ones(2), "h_x.W0": np.diag([1e200, 1.0])}
    problem = rn.Problem(model, params, np.array([[1.0, 1.0], [2.0, 1.0]]), loss, (0.5, 1.0))
    values = replace(problem.values, x=np.array([[1.0, 1.0], [1e200, 1.0]]))
    with np.errstate(over="ignore"), pytest.raises(rn.NonFiniteState) as error:
        solve_forward(problem, values, rn.Solver())
    assert (error.value.t, error.value.h, error.value.samples) == (0.5, None, (1,))
