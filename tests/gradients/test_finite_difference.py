"""Differences of the computed solution have the digits they claim, and Richardson's estimate says how many.

The truth is the complex step, which differentiates the same map on the same grid and subtracts nothing.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import refnode as rn
from refnode.forward import loss_per_sample, replay, solve_forward
from refnode.gradients.finite_difference import extrapolate, leaf_sizes
from refnode.gradients.result import zero_grads
from refnode.values import directions, named, resolved
from tests.gradients.problems import (
    EPS,
    SMOOTH,
    amplification,
    draw_params,
    operations,
    problems,
    rounding_bound,
    solvers,
)

# ---------------------------------------------------------------- central differences

def central_bound(problem, solver, step=EPS ** (1 / 3)):
    """Leaf -> bound (per entry) of a central difference's error with h = step * size, size that of the leaf.

    Truncation   h^2 |f'''| / 6, and |f'''| / 6 <= M / rho^3 by Cauchy, M the largest |loss| on a circle of radius
                 rho = size / 4 around the number; sampled at eight points, twice the largest of which stands for it
    Round-off    a loss is computed through N s stages with operations + s + 3 roundings each, which the flow grows at
                 most exp(L |T - t0|) times; two losses, over 2 h
    """
    values, sizes = problem.values, leaf_sizes(problem, problem.values)
    forward = solve_forward(problem, problem.resolved, solver)
    steps = sum(len(fractions) - 1 for fractions in forward.grid.fractions)
    roundings = steps * solver.tableau.stages * (operations(problem) + solver.tableau.stages + 3)
    bounds = zero_grads(values)
    for direction in directions(values):
        name, index = direction.where
        size = np.max(getattr(sizes, name)[index])
        M = np.zeros(problem.batch)
        for phase in np.exp(2j * np.pi * (np.arange(8) + 0.5) / 8):
            moved = resolved(values.shifted(size / 4 * phase, direction.along), problem)
            loss = loss_per_sample(problem, moved, replay(problem, moved, forward.grid, solver.tableau))
            M = np.maximum(M, 2 * np.abs(loss))
        truncation = (step * size) ** 2 * M / (size / 4) ** 3
        round_off = roundings * EPS / 2 * amplification(problem) * M / (step * size)
        direction.put(bounds, truncation + round_off)
    return named(bounds, problem)


@settings(max_examples=8)
@given(problems(acts=SMOOTH, most_observed=1), solvers(most_steps=4))
def test_central_differences_are_within_their_bound(problem, solver):
    """Truncation by Cauchy's estimate and round-off by counting: no entry of any leaf is further off."""
    got, want = (rn.gradient(problem, method, solver).grads for method in ("central", "complex_step"))
    bound, exact = central_bound(problem, solver), rounding_bound(problem, solver)
    for name in want:
        assert np.all(np.abs(got[name] - want[name]) <= bound[name] + exact[name]), name


def network(scale=1.0):
    """A network whose state has the unit `scale`, autonomous but for the path it tracks; the loss has no unit."""
    rng = np.random.default_rng(5)
    model = rn.NeuralODE(rn.MLP(2, 3, 2), span=(-0.25, 1.0))
    params = draw_params(model, rng)
    for name in ("theta.W1", "theta.b1"):
        params[name] = scale * params[name]
    params["theta.W0"] = params["theta.W0"] / scale
    beta = rn.Harmonic(scale * rng.standard_normal(2), np.array([0.2, 0.3]), np.array([0.4, 2.0]))
    loss = rn.Loss(
        rn.SquaredError(scale * rng.standard_normal((3, 2)), weight=scale**-2),
        running=rn.Tracking(beta=beta, weight=scale**-2),
    )
    return rn.Problem(model, params, scale * rng.standard_normal((3, 2)), loss)


@pytest.mark.parametrize(("method", "promised"), [("central", 8), ("richardson", 10)])
def test_claimed_digits(method, promised):
    """On a problem whose gradients are as large as loss / leaf: 8 digits, and 10 with extrapolation."""
    solver = rn.Solver("dopri5", tol=1e-8)
    want = rn.gradient(network(), "complex_step", solver)
    assert min(rn.compare(rn.gradient(network(), method, solver), want).values()) >= promised


@pytest.mark.parametrize("method", ["central", "richardson"])
@pytest.mark.parametrize("power", [-20, 20])
def test_the_unit_of_a_leaf_does_not_matter(power, method):
    """Leaves of size 1e-6 and 1e6 beside each other: steps follow the leaves, so a change of unit changes no bit."""
    scale, solver = 2.0**power, rn.Solver("rk4", n_steps=5)
    plain, scaled = (rn.gradient(network(s), method, solver) for s in (1.0, scale))
    assert scaled.loss == plain.loss
    units = {"theta.W0": 1 / scale, "theta.W1": scale, "theta.b1": scale, "x": scale}
    for name, g in plain.grads.items():
        np.testing.assert_array_equal(scaled.grads[name] * units.get(name, 1.0), g, err_msg=name)


def test_central_error_falls_with_the_square_of_the_step():
    """Halving the step divides the error by 4 while it is far above round-off.

    error = c h^2 (1 + d h^2): with steps 2^-5 and 2^-6 of the leaf the second term is some 2^-10 of the first, 1 %
    leaves room for d = 10.
    """
    solver = rn.Solver("rk4", n_steps=6)
    want = rn.gradient(network(), "complex_step", solver).grads
    coarse, fine = (rn.gradient(network(), "central", solver, relative_step=2.0**-n).grads for n in (5, 6))
    for name in ("theta.W0", "theta.b0", "x", "t0", "T"):
        ratio = np.max(np.abs(coarse[name] - want[name])) / np.max(np.abs(fine[name] - want[name]))
        assert abs(ratio / 4 - 1) <= 0.01, (name, ratio)


def test_zero_leaf_is_perturbed_by_one_unit():
    """A leaf of zeros has no size of its own; it is moved by 1 times the relative step, and gets its digits too."""
    problem = network()
    problem = problem.with_leaves({"theta.b0": np.zeros(3), "theta.b1": np.zeros(2)})
    solver = rn.Solver("rk4", n_steps=5)
    want = rn.gradient(problem, "complex_step", solver)
    for method, promised in (("central", 8), ("richardson", 10)):
        digits = rn.compare(rn.gradient(problem, method, solver), want)
        assert min(digits["theta.b0"], digits["theta.b1"]) >= promised


# ---------------------------------------------------------------- Richardson

def test_extrapolation_is_exact_for_polynomials():
    """A triangle of j + 1 rows removes h^2 .. h^(2 j): what is left is round-off of at most eight units."""
    h = 2.0 ** -np.arange(4)[:, None]
    rows = 0.7 + 0.3 * h**2 + 0.2 * h**4 + 0.1 * h**6  # four rows, three powers
    best, error = extrapolate(rows, np.full((4, 1), EPS))
    assert abs(best[0] - 0.7) <= 8 * EPS
    assert abs(best[0] - 0.7) <= error[0]
    partly, error = extrapolate(rows[:3], np.full((3, 1), EPS))  # h^6 is still there, times 0.1 / (4 16)
    np.testing.assert_allclose(partly[0] - 0.7, 0.1 / 64, rtol=1e-12)
    assert abs(partly[0] - 0.7) <= error[0]


def test_extrapolation_prefers_quiet_entries():
    """Where the differences are all noise, the estimate is the noise, and no false agreement is believed."""
    rows = np.array([[1.0], [1.0], [1.0], [1.0]])
    noise = 2.0 ** np.arange(4)[:, None] * 1e-3
    best, error = extrapolate(rows, noise)
    assert best[0] == 1
    assert error[0] == 2 * noise[1, 0]  # the coarsest entry that has a neighbour


def errors_and_estimates(examples):
    """Entry by entry over drawn problems, always the same ones: |error| and estimate; what is exact is left out."""
    pairs = []

    @settings(max_examples=examples, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(problems(acts=SMOOTH, most_observed=1), solvers(most_steps=4))
    def collect(problem, solver):
        got, want = (rn.gradient(problem, method, solver) for method in ("richardson", "complex_step"))
        exact = rounding_bound(problem, solver)  # the truth itself is no better than this
        for name, g in want.grads.items():
            error, estimate = np.abs(got.grads[name] - g).ravel(), got.estimate[name].ravel()
            pairs.extend((e, s) for e, s in zip(error, estimate, strict=True) if e > exact[name] or s > exact[name])

    collect()
    return np.array(pairs).T


def check_estimate(examples):
    """An estimate is no bound: it is made of differences that happen to agree. Nearly always it is one all the same."""
    error, estimate = errors_and_estimates(examples)
    assert len(error) >= 3 * examples
    assert np.mean(error <= estimate) >= 0.95
    assert np.all(error <= 10 * estimate)  # and where it is not, it has the order of magnitude


def test_richardson_knows_its_error():
    """`estimate` bounds the error in 95 of 100 entries, and is never off by more than a factor of 10."""
    check_estimate(10)


@pytest.mark.slow
def test_richardson_knows_its_error_on_many_problems():
    """The same on two hundred problems."""
    check_estimate(200)


def test_richardson_beats_central_differences():
    """Extrapolation is worth a digit and more in the worst leaf.

    eps^(8/9) against eps^(2/3) are 3.5 digits; what rounding draws in the worst leaf may take a digit from each.
    """
    solver = rn.Solver("dopri5", tol=1e-6)
    want = rn.gradient(network(), "complex_step", solver)
    central, extrapolated = (rn.gradient(network(), method, solver) for method in ("central", "richardson"))
    assert min(rn.compare(extrapolated, want).values()) >= min(rn.compare(central, want).values()) + 1


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_richardson_options(levels):
    """Another number of levels and another step find the same gradient, within the two estimates."""
    solver = rn.Solver("rk4", n_steps=5)
    one = rn.gradient(network(), "richardson", solver)
    other = rn.gradient(network(), "richardson", solver, levels=levels, relative_step=2.0**-8)
    for name in one.grads:
        room = 2 * (one.estimate[name] + other.estimate[name])  # each may be exceeded now and then: see above
        assert np.all(np.abs(one.grads[name] - other.grads[name]) <= room), name


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("central", {"relative_step": 0.0}), ("central", {"relative_step": np.inf}),
        ("central", {"relative_step": "1"}), ("central", {"levels": 3}),
        ("richardson", {"levels": 1}), ("richardson", {"levels": 2.5}), ("richardson", {"relative_step": -1e-3}),
    ],
)  # fmt: skip
def test_bad_options_are_refused(method, options):
    """Steps that are not positive numbers, and fewer than two levels, raise InvalidArgument by name."""
    (name,) = options
    with pytest.raises(rn.InvalidArgument, match=name):
        rn.gradient(network(), method, rn.Solver("rk4", n_steps=2), **options)


@pytest.mark.parametrize("method", ["central", "richardson"])
def test_cost(method):
    """nfe_backward is the number of solves on the replayed grid times the evaluations of one."""
    problem, solver = network(), rn.Solver("rk4", n_steps=5)
    # samples share a solve for x, which counts as two numbers; t0 and T are two more
    numbers = sum(leaf.size for leaf in problem.params.values()) + 2 + 2
    stats = rn.gradient(problem, method, solver).stats
    assert stats.nfe_backward == {"central": 2, "richardson": 8}[method] * numbers * stats.nfe


def test_differences_do_not_step_over_observations():
    """Observation times close together: the steps in time follow the shortest segment, not |t|."""
    problem = network()
    times = np.array([0.5, 0.5 + 2.0**-10])
    observed = rn.Observations(times, [rn.SquaredError(np.zeros((3, 2))), rn.LinearFunctional(np.ones(2))])
    problem = replace(problem, loss=replace(problem.loss, observations=observed))
    solver = rn.Solver("rk4", n_steps=4)
    want = rn.gradient(problem, "complex_step", solver)
    got = rn.gradient(problem, "richardson", solver)
    # round-off of the loss over a step of 2^-17 of the span: 6 of 16 digits are gone, 8 are left
    assert min(rn.compare(got, want).values()) >= 8
