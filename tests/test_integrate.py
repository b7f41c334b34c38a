"""The drivers keep every order on a non-autonomous closed form, meet tolerances, land on ends, count, and raise.

The closed form is z' = k cos(t) z, z(t) = z(t0) exp(k (sin t - sin t0)).
"""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.integrate import solve_ivp

import refnode as rn
from refnode.integrate import Span, Statistics, prescribed_steps, segment_steps, uniform_fractions
from refnode.steps import ErrorNorm, rk_step, rms
from refnode.tableau import TABLEAUX
from tests.help import EPS

ADAPTIVE = [name for name, method in TABLEAUX.items() if method.adaptive]
ERROR_CONTROL = [{"norm": "batch"}, {"norm": "max"}, {"steps": "own"}]
every_tableau = pytest.mark.parametrize("name", TABLEAUX)
every_adaptive = pytest.mark.parametrize("name", ADAPTIVE)
every_control = pytest.mark.parametrize("control", ERROR_CONTROL, ids=["batch", "max", "own"])
shared_or_own = pytest.mark.parametrize("steps", ["shared", "own"])
seeds = st.integers(0, 2**32 - 1)

K = np.array([1.0, -0.7, 2.0, -1.6])
Y = np.array([[1.0, 0.6, 0.9, 1.4], [0.7, 1.2, 0.5, 0.8], [1.3, 0.9, 1.1, 0.6]])


def column(t):
    return np.asarray(t)[..., None]


def cosine(t, y):
    return K * np.cos(column(t)) * y


def exact(t0, y0, t):
    return y0 * np.exp(K * (np.sin(column(t)) - np.sin(column(t0))))


def pulse(t, y):
    """The cosine with a pulse around t = 1, 0.05 wide, that makes any controller reject steps."""
    return cosine(t, y) + 30 * np.exp(-((20 * (column(t) - 1)) ** 2))


def run(rhs, y, solver, start=0.0, end=1.0, statistics=None):
    """The steps over one segment, and what they cost."""
    statistics = Statistics() if statistics is None else statistics
    span = Span(np.asarray(start, dtype=float), np.asarray(end, dtype=float))
    return list(segment_steps(rhs, span, span.length, y, solver, statistics)), statistics


def largest_error(steps, t0, y0=Y):
    return max(np.abs(step.y_new - exact(t0, y0, step.t_new)).max() for step in steps)


# ---------------------------------------------------------------- order

LADDERS = {1: (256, 1024), 2: (64, 256), 3: (48, 192), 4: (48, 192), 5: (32, 128), 8: (10, 40)}  # order: steps
SPANS = {
    "up": (-2.0, 2.0),
    "down": (4.5, 0.5),
    "per sample": (np.array([-2.0, -1.8, 4.5]), np.array([2.0, 2.1, 0.5])),
}


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
@every_tableau
def test_order_of_convergence(name, span):
    """Fixed steps have the tableau's order p on a field that depends on t, upwards, downwards and per sample.

    The error at T, a mean over batch and components, is C h^p (1 + r(h)): over a factor 4 in h, |r| < 0.5 moves a
    fitted slope by less than log(1.5) / log(4) = 0.3. All errors stay a hundred times above EPS |z|, |z| < 80.
    """
    order, (t0, T) = TABLEAUX[name].order, span
    sizes, errors = np.round(np.geomspace(*LADDERS[order], 5)).astype(int), []
    for n in sizes:
        steps, _ = run(cosine, Y, rn.Solver(name, n_steps=int(n)), t0, T)
        errors.append(rms((steps[-1].y_new - exact(t0, Y, T)).ravel()))
    assert min(errors) > 100 * EPS * 80
    assert abs(-np.polyfit(np.log(sizes), np.log(errors), 1)[0] - order) < 0.3


@pytest.mark.parametrize("kind", ["I", "PI"])
@every_control
@every_adaptive
def test_error_is_proportional_to_the_tolerance(name, control, kind):
    """log(error) against log(tol) has slope p / (order_err + 1) = 1 for all four tableaux.

    The error is the largest along the trajectory: at T alone it may pass through zero.
    h follows tol^(1/q), q = order_err + 1, and the error is C h^p with p = q. Steps that stay within a quarter of
    their ideal size leave C within 1.25^q; over eight equidistant points in log10(tol) that are 0.75 apart, errors
    of +-a in log10(error) move the slope by at most a sum |x| / sum x^2 = 0.51 a.
    """
    method = TABLEAUX[name]
    assert method.order == method.order_err + 1
    tols = 10.0 ** -np.arange(3 if name == "bosh3" else 5, 10.5, 0.75)[:8]
    solvers = [rn.Solver(name, tol=tol, controller=rn.Controller(kind=kind), **control) for tol in tols]
    errors = [largest_error(run(cosine, Y, solver, -1.0, 3.0)[0], -1.0) for solver in solvers]
    slope = np.polyfit(np.log10(tols), np.log10(errors), 1)[0]
    assert abs(slope - 1) < 0.51 * method.order * np.log10(1.25)


@every_adaptive
@shared_or_own
def test_downwards_mirrors_upwards(name, steps):
    """z' = -f(-t, z) run from -t0 down takes the same steps as z' = f(t, z) from t0 up, to the last bit."""
    solver = rn.Solver(name, tol=1e-6, steps=steps)
    up, _ = run(pulse, Y, solver, -0.4, 1.9)
    down, _ = run(lambda t, y: -pulse(-np.asarray(t), y), Y, solver, 0.4, -1.9)
    assert len(up) == len(down)
    for a, b in zip(up, down, strict=True):
        np.testing.assert_array_equal(a.t_new, -b.t_new)
        np.testing.assert_array_equal(a.y_new, b.y_new)


W = np.random.default_rng(5).standard_normal((4, 4)) / 2
V = np.random.default_rng(6).standard_normal((4, 4)) / 2


def network(t, y):
    """A field like an MLP with time input: tanh(y W + sin 3t) V."""
    return np.tanh(y @ W + np.sin(3 * column(t))) @ V


@pytest.mark.parametrize(("name", "theirs"), [("bosh3", "RK23"), ("dopri5", "RK45"), ("dop853", "DOP853")])
@every_control
def test_adaptive_solutions_agree_with_scipys(name, theirs, control):
    """On a network that depends on t, both programs are within their tolerances of one solution.

    Either one makes a local error of at most tol (1 + |y|) in the norm a step, hence at most sqrt(12) of it in one
    entry (the norm is a mean over 12), and |V| |W| = L carries it on by at most e^(L 2).
    """
    tol = 1e-7 if name == "bosh3" else 1e-10
    steps, _ = run(network, Y, rn.Solver(name, tol=tol, **control), 0.5, 2.5)
    answer = solve_ivp(
        lambda t, y: network(t, y.reshape(Y.shape)).ravel(), (0.5, 2.5), Y.ravel(), method=theirs, rtol=tol, atol=tol
    )
    grow = np.exp(2 * np.abs(W).sum(axis=0).max() * np.abs(V).sum(axis=0).max())
    size = 1 + np.abs(answer.y).max()
    bound = np.sqrt(12) * tol * size * grow * (len(steps) + len(answer.t))
    assert np.abs(steps[-1].y_new.ravel() - answer.y[:, -1]).max() < min(bound, 1e-3)


# ---------------------------------------------------------------- an independent transcription of the controller

def textbook(rhs, a, b, y, solver, s_first):
    """Adaptive steps of one sample in plain loops: accepted fractions, rejected steps, what rounding does.

    An estimate e = h sum b_err k and its norm are rounded s + 13 times, relative to the sum of absolute terms; dop853's
    e5^2 / sqrt(e5^2 + e3^2 / 100) has twice the relative error of e5 and that of e3. The next step has err^-alpha.
    """
    method, controller = solver.tableau, solver.controller
    q = method.order_err + 1
    alpha, beta = (1 / q, 0.0) if controller.kind == "I" else (0.7 / q, 0.4 / q)
    s, ds, previous, after_rejection = 0.0, s_first, 1.0, False
    grid, rejected, noise = [0.0], 0, 0.0
    while s < 1:
        s_new = 1.0 if s + 1.01 * ds >= 1 else s + ds
        t, t_new, h = (1 - s) * a + s * b, (1 - s_new) * a + s_new * b, (s_new - s) * (b - a)
        y_new, k = rk_step(rhs, np.array(t), np.array(t_new), np.array(h), y, rhs(np.array(t), y), method)
        scale = solver.atol + solver.rtol * np.maximum(np.abs(y), np.abs(y_new))
        err, terms = (
            [np.sqrt(np.mean((h * sum(map(np.multiply, w, f(k))) / scale) ** 2)) for w in estimates(method, f)]
            for f in (np.asarray, np.abs)
        )
        relative = (method.stages + 13) * EPS * sum(len(err) * x / e for x, e in zip(terms, err, strict=True) if e)
        if len(err) == 2:
            total = np.sqrt(err[0] ** 2 + 0.01 * err[1] ** 2)
            err[0] = err[0] ** 2 / total if total else 0.0
        wish = controller.safety * max(err[0], 1e-10) ** -alpha * max(previous, 1e-4) ** beta
        factor = min(max(wish, controller.min_factor), controller.max_factor)
        if factor == wish and err[0] > 1e-10:  # a limit forgets the error, and its noise
            noise += alpha * relative * (s_new - s) * factor
        ds = (s_new - s) * (min(factor, 1.0) if after_rejection or err[0] > 1 else factor)
        after_rejection = err[0] > 1
        if after_rejection:
            rejected += 1
        else:
            s, y, previous = s_new, y_new, err[0]
            grid.append(s)
    return np.array(grid), rejected, noise


def estimates(method, f):
    """The error weights, or their absolute values."""
    return [f(w) for w in (method.b_err, method.b_err3) if w is not None]


@pytest.mark.parametrize("kind", ["I", "PI"])
@every_adaptive
def test_steps_are_those_of_the_book(name, kind):
    """Own steps: each sample's accepted grid and rejections are those of a plain transcription that solves it alone.

    What rounding does to a step is damped in the steps after it (by 1 - q alpha, 0 or 0.3, and 0.4 of the one before);
    it moves the fractions by no more than four times the sum of what it does to each.
    """
    rates, y0 = np.array([[1.0], [-2.0], [4.0]]), Y[:, :2]

    def rhs(t, y, rates=rates):
        return rates * (cosine_2(t, y) + 10 * np.exp(-((20 * (column(t) - 1)) ** 2)))

    ends, first = np.array([2.0, 1.5, 0.9]), 0.3
    solver = rn.Solver(name, tol=1e-6, steps="own", first_step=first, controller=rn.Controller(kind=kind))
    steps, statistics = run(rhs, y0, solver, -0.2, ends)
    assert statistics.rejected.sum() > 0
    for b in range(3):
        one = slice(b, b + 1)
        grid, rejected, noise = textbook(
            lambda t, y, one=one: rhs(t, y, rates[one]), -0.2, ends[b], y0[one], solver, first / (ends[b] + 0.2)
        )
        mine = np.array([0.0, *(step.s_new[b] for step in steps if step.s_new[b] > step.s[b])])
        assert (statistics.accepted[b], statistics.rejected[b]) == (len(grid) - 1, rejected)
        assert 4 * noise < 1e-4
        assert np.abs(mine - grid).max() <= 4 * noise + 8 * EPS


def cosine_2(t, y):
    return np.array([1.0, -0.7]) * np.cos(column(t)) * y


# ---------------------------------------------------------------- own steps

@pytest.mark.parametrize("name", ADAPTIVE)
@settings(max_examples=10)
@given(seed=seeds, stiff=st.booleans())
def test_own_steps_do_not_see_the_neighbours(name, seed, stiff):
    """Exchange all other samples, be it for stiff ones: grid and states of a sample stay the same to the last bit.

    Every operation on a row depends on that row, its place and the shape of the batch only, and these are the same.
    """
    rng = np.random.default_rng(seed)
    mine, place = 1, np.arange(3) == 1
    results = []
    for k in (1.0, -200.0 if stiff else 3.0):
        rates, y0 = np.where(place, -1.5, k * rng.uniform(0.5, 1, 3))[:, None], rng.standard_normal((3, 2))
        y0[mine] = [0.8, -1.1]
        ends = np.where(place, 1.3, rng.uniform(0.5, 2, 3))

        def rhs(t, y, rates=rates):
            return rates * (y - np.sin(3 * column(t)))

        steps, statistics = run(rhs, y0, rn.Solver(name, tol=1e-4, steps="own"), 0.1, ends)
        moved = [step for step in steps if step.s_new[mine] > step.s[mine]]
        results.append([np.array([getattr(s, n)[mine] for s in moved]) for n in ("s_new", "t_new", "h", "y_new")])
        assert len(moved) == statistics.accepted[mine]
        still = [step for step in steps if step.s_new[mine] == step.s[mine]]
        for step in still:
            assert step.h[mine] == 0
            assert not step.k[:, mine].any()  # a failed attempt may have left NaN there
            np.testing.assert_array_equal(step.y_new[mine], step.y[mine])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@every_adaptive
def test_own_steps_cost_a_stiff_sample_no_one_else(name):
    """Beside a stiff sample, an easy one takes the steps it takes alone; in a shared grid it takes them all."""
    rates = np.array([[-300.0], [-1.0]])

    def rhs(t, y):
        return rates * (y - np.cos(column(t)))

    y0 = np.array([[1.0, 0.5], [1.0, 0.5]])
    own, shared = (run(rhs, y0, rn.Solver(name, tol=1e-5, steps=steps))[1].accepted for steps in ("own", "shared"))
    assert own[1] < own[0] / 2
    assert shared > 2 * own[1]


def test_a_sample_without_a_span_waits():
    """Own steps with T = t0 for one sample: it takes one step of length zero and keeps its bits."""
    ends = np.array([2.0, 0.3, -1.0])
    steps, statistics = run(cosine, Y, rn.Solver(tol=1e-8, steps="own"), 0.3, ends)
    assert statistics.accepted[1] == 1
    np.testing.assert_array_equal(steps[-1].y_new[1], Y[1])
    assert np.abs(steps[-1].y_new - exact(0.3, Y, ends)).max() < 1e-6


# ---------------------------------------------------------------- norms

def errors_per_sample(step, solver):
    """The estimated error of every sample in a step."""
    norm = ErrorNorm(solver.rtol, np.asarray(solver.atol), "own")
    return norm.of_step(step.h, step.y, step.y_new, step.k, solver.tableau)


@every_adaptive
def test_accepted_errors_are_within_the_norm(name):
    """own and max: no sample's error exceeds 1 in any step; batch: the mean's does not, though a sample's may.

    12 roundings in a mean of squares.
    """
    y0 = np.concatenate([1e-3 * np.tile(Y, (3, 1)), Y[:1]])  # one of ten samples makes nearly all the error
    found = {}
    for control in ERROR_CONTROL:
        solver = rn.Solver(name, rtol=1e-12, atol=1e-5, controller=rn.Controller(kind="I"), **control)
        steps, _ = run(cosine, y0, solver, 0.0, 8.0)
        found[control.get("norm", "own")] = np.array([errors_per_sample(step, solver) for step in steps])
    assert found["own"].max() <= 1 + 12 * EPS
    assert found["max"].max() <= 1 + 12 * EPS
    if name != "dop853":  # its combination of two means is not a mean of two combinations
        assert np.sqrt((found["batch"] ** 2).mean(axis=1)).max() <= 1 + 12 * EPS
    assert found["batch"].max() > 1.1


# ---------------------------------------------------------------- controller, first step

def attempted(rhs, y, solver, start, end):
    """(t, h) of every attempted step of an FSAL tableau: its last stage stands at the attempt's end."""
    seen = []
    steps, statistics = run(lambda t, y: (seen.append(float(t)), rhs(t, y))[1], y, solver, start, end)
    stages = solver.tableau.stages - 1
    calls = seen[-statistics.attempts * stages :]
    t, attempts, accepted = start, [], [float(step.t_new) for step in steps]
    for t_new in calls[stages - 1 :: stages]:
        attempts.append((t, t_new - t))
        if t_new == accepted[0]:  # a failed attempt is larger than the step that succeeds from there
            t = accepted.pop(0)
    assert not accepted
    return np.array(attempts)


@pytest.mark.parametrize(("least", "most"), [(0.2, 10.0), (0.5, 1.5), (0.8, 1.1)])
@pytest.mark.parametrize("name", ["bosh3", "dopri5", "tsit5"])
def test_steps_change_within_the_limits(name, least, most):
    """From attempt to attempt h changes by a factor in [min_factor, max_factor], and after a failure it does not grow.

    The last step is cut at the end, or stretched by up to 1.01; t + h is rounded to EPS |t|.
    """
    controller = rn.Controller(min_factor=least, max_factor=most)
    t, h = attempted(pulse, Y, rn.Solver(name, tol=1e-6, first_step=0.01, controller=controller), 0.2, 2.2).T
    failed = t[1:] == t[:-1]
    assert failed.any()
    ratio, slack = h[1:] / h[:-1], 8 * EPS * 2.2 / h.min()
    assert ratio[:-1].min() >= least - slack
    assert ratio[:-1].max() <= most + slack
    assert ratio[-1] <= 1.01 * most + slack
    assert ratio[failed].max() <= 1
    after = np.flatnonzero(failed[:-1] & ~failed[1:]) + 1  # the attempt after the one that succeeded
    assert len(after)
    assert ratio[after].max() <= 1 + slack


@pytest.mark.parametrize("kind", ["I", "PI"])
def test_safety_is_honoured(kind):
    """Between two accepted steps h grows by safety err^-alpha err_previous^beta of the estimates recomputed here.

    The estimate cancels: it has (7 + 13) roundings of its absolute terms, which are h |b_err| |k| / scale.
    """
    controller = rn.Controller(kind=kind, safety=0.6)
    solver = rn.Solver("dopri5", tol=1e-5, controller=controller)
    steps, statistics = run(network, Y, solver, 0.0, 6.0)
    assert statistics.rejected == 0
    assert len(steps) > 20
    norm = ErrorNorm(1e-5, np.asarray(1e-5), "batch")
    errors = [norm.of_step(s.h, s.y, s.y_new, s.k, solver.tableau) for s in steps]
    terms = [
        rms((np.abs(s.h) * np.tensordot(np.abs(solver.tableau.b_err), np.abs(s.k), axes=1) / norm.scale(s.y)).ravel())
        for s in steps
    ]
    noise = 20 * EPS * max(t / e for t, e in zip(terms, errors, strict=True))
    alpha, beta = (1 / 5, 0) if kind == "I" else (0.7 / 5, 0.4 / 5)
    previous = 1.0
    for (a, b), err in zip(list(itertools.pairwise(steps))[:-1], errors[:-2], strict=True):
        want = min(0.6 * err**-alpha * previous**beta, 10.0)
        assert abs(b.h / a.h / want - 1) <= noise + 1e3 * EPS  # s + ds - s loses up to EPS / ds of ds, ds > 1e-3
        previous = max(err, 1e-4)


@pytest.mark.parametrize("end", [1.7, -1.7])
@every_adaptive
@every_control
def test_given_first_step_is_taken(name, control, end):
    """first_step is |h| of the first attempt, in units of t, in either direction and for every sample."""
    solver = rn.Solver(name, tol=1e-3, first_step=0.004, **control)
    ends = end if "norm" in control else np.array([end, 2 * end, end / 2])
    steps, statistics = run(cosine, Y, solver, 0.0, ends)
    np.testing.assert_allclose(np.abs(steps[0].h), 0.004, rtol=4 * EPS)
    assert np.all(np.sign(steps[0].h) == np.sign(end))
    assert not np.any(statistics.rejected)


@every_control
def test_a_first_step_beyond_the_end_is_cut(control):
    """A first step larger than the span covers the span, no more."""
    steps, _ = run(lambda t, y: 1e-6 * cosine(t, y), Y, rn.Solver(tol=1e-3, first_step=50.0, **control), 0.0, 0.5)
    assert len(steps) == 1
    assert np.all(steps[0].t_new == 0.5)


@every_control
def test_the_next_segment_starts_with_the_last_wish(control):
    """Over a break-point the step size is kept: the second segment's first attempt is what the first one wished."""
    solver = rn.Solver("dopri5", tol=1e-8, **control)
    first, statistics = run(cosine, Y, solver, 0.0, 1.0)
    wish = statistics.next_step.copy()
    nfe = statistics.nfe
    second, _ = run(cosine, first[-1].y_new, solver, 1.0, 1.5, statistics)
    assert not np.any(statistics.rejected)
    np.testing.assert_allclose(np.broadcast_to(second[0].h, np.shape(wish)), wish, rtol=4 * EPS)
    assert statistics.nfe - nfe == 1 + 6 * len(second)  # no estimate of a first step


# ---------------------------------------------------------------- ends

@pytest.mark.parametrize("solver", [rn.Solver(tol=1e-4), rn.Solver(tol=1e-4, steps="own"), rn.Solver("rk4", n_steps=7)])
@settings(max_examples=30)
@given(seed=seeds, own_ends=st.booleans(), scale=st.sampled_from([1e-8, 1.0, 1e3]))
def test_ends_are_hit_exactly(solver, seed, own_ends, scale):
    """The first step starts at t0, the last ends at T, each begins where the one before ended: all to the last bit."""
    rng = np.random.default_rng(seed)
    shape = (3,) if own_ends else ()
    start, end = scale * rng.standard_normal((2, *shape))
    steps, _ = run(lambda t, y: cosine(t / scale, y) / scale, Y, solver, start, end)
    np.testing.assert_array_equal(steps[0].t, np.broadcast_to(start, np.shape(steps[0].t)))
    np.testing.assert_array_equal(steps[-1].t_new, np.broadcast_to(end, np.shape(steps[-1].t_new)))
    for a, b in itertools.pairwise(steps):
        np.testing.assert_array_equal(a.t_new, b.t)
        np.testing.assert_array_equal(a.s_new, b.s)
        np.testing.assert_array_equal(a.y_new, b.y)
        assert np.all(b.s_new >= b.s)
    assert np.all(steps[-1].s_new == 1)


@pytest.mark.parametrize("name", ADAPTIVE)
@shared_or_own
@pytest.mark.parametrize("t", [0.0, 0.1, -3.7])
def test_no_span_no_change(name, steps, t):
    """T = t0 takes one step of length zero: the state keeps its bits, nothing is NaN, nothing is estimated."""
    taken, statistics = run(cosine, Y, rn.Solver(name, tol=1e-8, steps=steps), t, t)
    assert len(taken) == 1
    np.testing.assert_array_equal(taken[0].y_new, Y)
    assert not np.any(taken[0].h)
    assert statistics.nfe == TABLEAUX[name].stages


# ---------------------------------------------------------------- counts

def cost(method, attempts, accepted):
    """Evaluations: one at the start, s - 1 an attempt, and F(t_{n+1}, y_{n+1}) before each further step unless FSAL."""
    return 1 + attempts * (method.stages - 1) + (0 if method.fsal else accepted - 1)


@every_tableau
@pytest.mark.parametrize("n", [1, 2, 7])
def test_evaluations_of_fixed_steps(name, n):
    """N steps of s stages cost N s evaluations, or 1 + N (s - 1) with FSAL; every one is counted."""
    method, calls = TABLEAUX[name], []
    steps, statistics = run(lambda t, y: (calls.append(1), cosine(t, y))[1], Y, rn.Solver(name, n_steps=n))
    assert (len(steps), statistics.accepted, statistics.rejected) == (n, n, 0)
    assert statistics.nfe == len(calls) == cost(method, n, n)
    assert statistics.nfe == (1 + n * (method.stages - 1) if method.fsal else n * method.stages)


@pytest.mark.parametrize("first", [None, 0.01])
@every_adaptive
@every_control
def test_evaluations_of_adaptive_steps(name, control, first):
    """The same with rejected attempts, and one evaluation for Hairer's first step unless it is given."""
    calls = []
    solver = rn.Solver(name, tol=1e-6, first_step=first, **control)
    steps, statistics = run(lambda t, y: (calls.append(1), pulse(t, y))[1], Y, solver, 0.0, 2.0)
    assert statistics.nfe == len(calls)
    assert statistics.nfe == cost(TABLEAUX[name], statistics.attempts, len(steps)) + (first is None)
    assert np.any(statistics.rejected > 0)
    if "norm" in control:
        assert statistics.attempts == statistics.accepted + statistics.rejected
        assert statistics.accepted == len(steps)
    else:
        moved = sum((step.s_new > step.s).astype(int) for step in steps)
        np.testing.assert_array_equal(statistics.accepted, moved)
        assert (statistics.accepted + statistics.rejected).max() <= statistics.attempts


def test_statistics_go_on_from_segment_to_segment():
    """One record gathers the costs of all segments."""
    statistics, solver = Statistics(), rn.Solver("rk4", n_steps=5)
    run(cosine, Y, solver, 0.0, 1.0, statistics)
    run(cosine, Y, solver, 1.0, 2.0, statistics)
    assert (statistics.nfe, statistics.accepted) == (40, 10)


@pytest.mark.parametrize(
    ("bounds", "n_steps", "want"),
    [
        ([0.0, 1.0], 1, [1]),
        ([0.0, 0.3, 0.5, 1.0], 10, [3, 2, 5]),  # 10 * 0.3 is 3.0000000000000004 in one of the ways to compute it
        ([0.0, 0.3, 0.5, 1.0], 7, [3, 2, 4]),
        ([0.0, -0.1, -0.7, -1.0], 10, [1, 6, 3]),
        ([0.0, 1e-9, 1.0], 10, [1, 10]),
        ([2.0, 2.0], 10, [1]),
    ],
)
def test_a_segment_gets_its_share_of_the_steps(bounds, n_steps, want):
    """n_steps over the span are shared by length, rounded up, at least one a segment."""
    whole = np.asarray(bounds[-1] - bounds[0])
    spans = [Span(np.asarray(a), np.asarray(b)) for a, b in itertools.pairwise(bounds)]
    grids = [uniform_fractions(span, whole, n_steps) for span in spans]
    assert [len(grid) - 1 for grid in grids] == want
    for grid in grids:
        np.testing.assert_array_equal(grid, np.linspace(0, 1, len(grid)))


def test_the_longest_share_counts_where_spans_differ():
    """With T per sample a segment is cut as finely as the sample needs that passes most of its span there."""
    span, whole = Span(np.asarray(0.0), np.asarray(0.5)), np.array([1.0, 2.0])
    assert len(uniform_fractions(span, whole, 10)) - 1 == 5
    assert len(uniform_fractions(Span(np.asarray(0.5), np.array([1.0, 2.0])), whole, 10)) - 1 == 8


# ---------------------------------------------------------------- refusals

def squared(t, y):
    """y' = 2 t y^2, y = 1 / (1 / y0 - t^2): infinite at t = 1 for y0 = 1."""
    return 2 * column(t) * y**2


BLOW_UP = np.array([[0.1, 0.1], [1.0, 0.2], [0.2, 0.1]])


@pytest.mark.parametrize("name", ADAPTIVE)
@shared_or_own
def test_a_singularity_underflows(name, steps):
    """Where the solution becomes infinite the step underflows, at that t; with own steps only that sample is named.

    A relative error of 20 steps' tolerances moves the singularity by as much.
    """
    with pytest.raises(rn.StepUnderflow) as error:
        run(squared, BLOW_UP, rn.Solver(name, tol=1e-6, steps=steps), 0.0, 1.5)
    failure = error.value
    assert abs(failure.t - 1) < 1e-3 if name == "bosh3" else abs(failure.t - 1) < 2e-5
    assert 0 < failure.h <= 16 * np.spacing(1.5)
    assert failure.samples == ((1,) if steps == "own" else ())
    assert f"t = {failure.t:.17g}, h = {failure.h:.17g}" in str(failure)


SINGULAR_AT_ZERO = {
    "1 / t": lambda t, y: -1 / column(t) + 0 * y,
    "1 / sqrt t": lambda t, y: 1 / np.sqrt(-column(t)) + 0 * y,
    "log t": lambda t, y: np.log(-column(t)) * y,
    "y / t": lambda t, y: -y / column(t),
}


@pytest.mark.parametrize("rhs", SINGULAR_AT_ZERO.values(), ids=SINGULAR_AT_ZERO)
@every_adaptive
@shared_or_own
def test_an_end_on_a_singularity_at_zero_raises_soon(name, steps, rhs):
    """Towards t = 0 floats grow ever finer while fractions do not: the driver must not creep without moving.

    Steps shrink at least by safety = 0.9 an attempt from 1 to 1e-16: 350 attempts, and some tens for the start.
    """
    statistics = Statistics()
    with pytest.raises((rn.StepUnderflow, rn.NonFiniteState)) as error:
        run(rhs, Y, rn.Solver(name, tol=1e-4, steps=steps), -1.0, 0.0, statistics)
    assert statistics.attempts < 400
    assert -1e-3 < error.value.t <= 0


def test_steps_too_small_for_the_fraction_underflow():
    """A controller that may shrink a step below the resolution of s gives up: a step that does not move is none."""
    solver = rn.Solver("dopri5", rtol=1e-30, atol=1e-6, controller=rn.Controller(kind="I", min_factor=1e-9))
    statistics = Statistics()
    with pytest.raises(rn.StepUnderflow) as error:  # a jump of 1e60 at t = 0.5: errors of 1e30, factors of 1e-6
        run(lambda t, y: np.where(column(t) > 0.5, 1e60, 0.0) + cosine(t, y), Y, solver, 0.0, 1.0, statistics)
    assert error.value.h == 0
    assert statistics.attempts < 1000


@every_control
def test_too_many_steps(control):
    """max_steps attempts are allowed and one more is not; the error says where the solve stood, and for whom."""
    ends = 2.0 if "norm" in control else np.array([0.05, 2.0, 2.0])
    solver = rn.Solver("dopri5", tol=1e-8, **control)
    _, statistics = run(pulse, Y, solver, 0.0, ends)
    enough = statistics.attempts
    run(pulse, Y, replace(solver, max_steps=enough), 0.0, ends)
    with pytest.raises(rn.TooManySteps, match=f"more than max_steps = {enough - 1} steps") as error:
        run(pulse, Y, replace(solver, max_steps=enough - 1), 0.0, ends)
    assert 0 < error.value.t < 2
    assert 0 < error.value.h < 1
    assert set(error.value.samples) <= (set() if "norm" in control else {1, 2})
    assert error.value.samples or "norm" in control


def test_too_many_steps_downwards_has_a_negative_step():
    """h carries the direction of depth."""
    with pytest.raises(rn.TooManySteps) as error:
        run(cosine, Y, rn.Solver(tol=1e-8, max_steps=3), 1.0, -1.0)
    assert error.value.h < 0


def nan_after(when, sample):
    """The cosine, NaN for one sample from depth `when` on."""

    def rhs(t, y):
        late = np.broadcast_to(np.asarray(t) > when, 3) & (np.arange(3) == sample)
        return np.where(late[:, None], np.nan, cosine(t, y))

    return rhs


@every_adaptive
@shared_or_own
def test_nan_at_the_start(name, steps):
    """A field that is NaN at t0 raises at once, with t and the samples, before any step."""
    with pytest.raises(rn.NonFiniteState) as error:
        run(nan_after(-1.0, 2), Y, rn.Solver(name, tol=1e-6, steps=steps), 0.0, 1.0)
    assert (error.value.t, error.value.h, error.value.samples) == (0.0, None, (2,))


@every_adaptive
@shared_or_own
def test_nan_midway(name, steps):
    """A field that turns NaN at t = 0.5 is approached by ever smaller steps, then raises there.

    Steps of 16 units in the last place of 1 cannot be made smaller; 0.5 is at most one such step, grown by 5, away.
    """
    with pytest.raises(rn.NonFiniteState, match="however small the step") as error:
        run(nan_after(0.5, 0), Y, rn.Solver(name, tol=1e-6, steps=steps), 0.0, 1.0)
    assert 0 <= 0.5 - error.value.t <= 5 * 16 * np.spacing(1.0)
    assert error.value.h <= 16 * np.spacing(1.0)
    assert error.value.samples == ((0,) if steps == "own" else ())


@every_tableau
def test_nan_in_fixed_steps(name):
    """Fixed steps raise at the step whose result is not finite: t is its start, h its size, samples who is concerned.

    The field is NaN from 0.55 on; with steps of 0.1 the first stages there belong to the step from 0.5 or from 0.6.
    """
    with pytest.raises(rn.NonFiniteState) as error:
        run(nan_after(0.55, 1), Y, rn.Solver(name, n_steps=10), 0.0, 1.0)
    first = 0.5 if any(b and c > 0.5 for b, c in zip(TABLEAUX[name].b, TABLEAUX[name].c, strict=True)) else 0.6
    np.testing.assert_allclose((error.value.t, error.value.h), (first, 0.1), rtol=4 * EPS)
    assert error.value.samples == (1,)


@pytest.mark.parametrize("solver", [rn.Solver("rk4", n_steps=4), *(rn.Solver(name, tol=1e-6) for name in ADAPTIVE)])
def test_overflow_raises_and_does_not_warn(solver):
    """A state beyond the largest float raises NonFiniteState rather than return infinity or NaN, and NumPy is quiet."""
    with pytest.raises(rn.NonFiniteState):
        run(lambda t, y: 1.5e308 * np.cos(0.1 * column(t)) + 0 * y, Y, solver, 0.0, 1.5)
    if solver.adaptive:
        own = replace(solver, steps="own")
        with pytest.raises(rn.NonFiniteState) as error:
            run(lambda t, y: np.where(np.arange(3) == 1, 1.5e308, 0.0)[:, None] + cosine(t, y), Y, own, 0.0, 1.5)
        assert error.value.samples == (1,)


@every_adaptive
def test_between_steps_the_field_sees_accepted_states_only(monkeypatch, name):
    """Own steps: where one sample's attempt runs away and another's succeeds, the field is evaluated for the next step
    at states that were accepted, not at those that failed: a field of the user's may raise there."""
    inside, far_off, outside = False, False, []

    def step(*args):
        nonlocal inside
        inside = True
        result = rk_step(*args)
        inside = False
        return result

    def rhs(t, y):
        nonlocal far_off
        far_off = far_off or not np.abs(y).max() < 1e6
        if not inside:
            outside.append(y.tobytes())
        return np.array([[-1e3], [1e-3]]) * column(1 + np.sin(t)) * y**3

    monkeypatch.setattr("refnode.integrate.rk_step", step)
    y0 = np.array([[10.0, 10.0], [1.0, 0.5]])
    steps, statistics = run(rhs, y0, rn.Solver(name, tol=1e-3, steps="own", first_step=0.5), 0.0, 1.0)
    assert far_off
    assert statistics.rejected[0] > 0
    accepted = [y0.tobytes(), *(step.y_new.tobytes() for step in steps)]
    assert outside == (accepted[:1] if TABLEAUX[name].fsal else accepted[:-1])


def test_errors_travel():
    """What a solve raises can be sent to another process: same class, t, h, samples and words."""
    cases = [
        (squared, BLOW_UP, rn.Solver(tol=1e-6, steps="own"), 1.5),
        (cosine, Y, rn.Solver(tol=1e-6, max_steps=2), 1.5),
        (nan_after(0.5, 0), Y, rn.Solver(tol=1e-6, steps="own"), 1.5),
    ]
    for rhs, y, solver, end in cases:
        with pytest.raises(rn.NumericalError) as error:
            run(rhs, y, solver, 0.0, end)
        back = pickle.loads(pickle.dumps(error.value))
        assert type(back) is type(error.value)
        assert str(back) == str(error.value)
        assert (back.t, back.h, back.samples) == (error.value.t, error.value.h, error.value.samples)


# ---------------------------------------------------------------- replay

@every_adaptive
@shared_or_own
@pytest.mark.parametrize("own_ends", [False, True])
def test_replay_has_the_same_bits(name, steps, own_ends):
    """The accepted fractions, prescribed, give every t, h, state and stage of the adaptive solve to the last bit.

    With own steps samples that did not move hold still in both; their stages, which weigh nothing, are not compared.
    """
    ends = np.array([2.0, 1.4, 0.7]) if own_ends else np.asarray(1.8)
    solver = rn.Solver(name, tol=1e-6, steps=steps)
    taken, statistics = run(pulse, Y, solver, 0.1, ends)
    assert np.any(statistics.rejected > 0)
    grid = np.array([taken[0].s, *(step.s_new for step in taken)])
    again = prescribed_steps(pulse, Span(np.asarray(0.1), ends), Y, grid, solver.tableau)
    for a, b in zip(taken, again, strict=True):
        for part in ("t", "t_new", "h", "y", "y_new"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
        moved = np.broadcast_to(a.s_new > a.s, 3)
        np.testing.assert_array_equal(a.k[:, moved], b.k[:, moved])
