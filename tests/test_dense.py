"""Between its steps y(t) is C1, meets every step, and has the order its tableau claims, for one t or one per sample."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import refnode as rn
from refnode.dense import DenseSegment, with_extra_stages
from refnode.integrate import Span, Statistics, segment_steps
from refnode.steps import rms
from refnode.tableau import TABLEAUX
from tests.help import EPS

ADAPTIVE = [name for name, method in TABLEAUX.items() if method.adaptive]
every_tableau = pytest.mark.parametrize("name", TABLEAUX)
every_adaptive = pytest.mark.parametrize("name", ADAPTIVE)

K = np.array([1.0, -0.7, 2.0, -1.6])
Y = np.array([[1.0, 0.6, 0.9, 1.4], [0.7, 1.2, 0.5, 0.8], [1.3, 0.9, 1.1, 0.6]])


def column(t):
    return np.asarray(t)[..., None]


def cosine(t, y):
    return K * np.cos(column(t)) * y


def exact(t0, y0, t):
    return y0 * np.exp(K * (np.sin(column(t)) - np.sin(column(t0))))


def solved(solver, start=0.3, end=1.9, y=Y, rhs=cosine):
    """The dense output of one segment, and its steps."""
    span = Span(np.asarray(start, dtype=float), np.asarray(end, dtype=float))
    steps = list(segment_steps(rhs, span, span.length, y, solver, Statistics()))
    return DenseSegment(rhs, span, steps, solver.tableau), steps


def some_times(start, end, count=29):
    """Depths inside, none of them a fraction that a grid would have."""
    return start + (end - start) * (np.arange(count) + 0.377) / count


# ---------------------------------------------------------------- order

LOCAL = {1: 0.1, 2: 0.2, 3: 0.2, 4: 0.3, 7: 0.6}  # order_dense: largest step


@every_tableau
def test_local_error_inside_a_step(name):
    """One step from exact data: the error inside is O(h^(order_dense + 1)), here a mean over places and starts.

    C h^p (1 + r(h)): over a factor 4 in h, |r| < 0.5 moves a fitted slope by less than log(1.5) / log(4) = 0.3.
    """
    method = TABLEAUX[name]
    sizes, errors = LOCAL[method.order_dense] * 2.0 ** -np.array([0, 0.5, 1, 1.5, 2]), []
    for h in sizes:
        found = []
        for t0 in (-1.0, 0.4, 1.0, 2.0, 4.0):
            dense, _ = solved(rn.Solver(name, n_steps=1), t0, t0 + h)
            found += [dense(t) - exact(t0, Y, t) for t in t0 + h * np.array([0.2, 0.4, 0.6, 0.8])]
        errors.append(rms(np.ravel(found)))
    assert min(errors) > 100 * EPS
    assert abs(np.polyfit(np.log(sizes), np.log(errors), 1)[0] - (method.order_dense + 1)) < 0.3


LADDERS = {1: (256, 1024), 2: (64, 256), 3: (48, 192), 4: (48, 192), 5: (32, 128), 8: (14, 56)}  # order: steps


@pytest.mark.parametrize(("start", "end"), [(-2.0, 2.0), (4.5, 0.5)], ids=["up", "down"])
@every_tableau
def test_global_error_inside_the_steps(name, start, end):
    """Over many steps the error at interior points is O(h^p) with p = min(order, order_dense + 1), which is the order.

    The steps bring in O(h^order) and the interpolant adds its local error, O(h^(order_dense + 1)), once: no tableau
    here loses by its interpolant. Tolerance as above.
    """
    method = TABLEAUX[name]
    assert min(method.order, method.order_dense + 1) == method.order
    times = some_times(start, end)
    sizes, errors = np.round(np.geomspace(*LADDERS[method.order], 5)).astype(int), []
    for n in sizes:
        dense, _ = solved(rn.Solver(name, n_steps=int(n)), start, end)
        errors.append(rms(np.concatenate([(dense(t) - exact(start, Y, t)).ravel() for t in times])))
    assert abs(-np.polyfit(np.log(sizes), np.log(errors), 1)[0] - method.order) < 0.3


# ---------------------------------------------------------------- knots

def knot_error(steps, dense):
    """What rounding does at a knot: s is off by 4 EPS, y by a sum over S stages of absolute terms."""
    slope = max(np.abs(step.k).max() for step in steps)
    weights = np.abs(dense.tableau.dense_rows).sum()
    h = max(np.abs(step.h).max() for step in steps)
    length = np.abs(dense.span.length).max()
    return 4 * EPS * slope * (length + np.abs(dense.span.start).max()) + 20 * EPS * (
        max(np.abs(step.y).max() for step in steps) + h * weights * slope
    )


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("down", [False, True])
@every_adaptive
def test_dense_output_meets_every_step(name, own, down):
    """At each t_n of the grid y(t_n) is the state that the solver had there, from the left and from the right."""
    start, end = (1.9, 0.3) if down else (0.3, 1.9)
    dense, steps = solved(rn.Solver(name, tol=1e-6, steps="own" if own else "shared"), start, end)
    bound = knot_error(steps, dense)
    tiny = 8 * EPS * (end - start)
    for step in steps:
        for t, y in ((step.t, step.y), (step.t_new, step.y_new)):
            for side in (-tiny, 0.0, tiny):
                inside = np.clip(t + side, min(start, end), max(start, end))
                assert np.abs(dense(inside) - y).max() <= bound + 16 * abs(tiny) * np.abs(step.k).max()


@pytest.mark.parametrize("name", TABLEAUX)
def test_slope_is_continuous(name):
    """To the left and to the right of each inner knot the slope is f(t_n, y_n): the whole curve is C1.

    A one-sided difference over delta is off by delta |y''| / 2 and by the rounding of y over delta; y'' of these
    curves, on steps of 0.2, is below 10 times the solution's, 10 (|k|^2 + |k|) |y|.
    """
    dense, steps = solved(rn.Solver(name, n_steps=8))
    delta = 1e-6
    second = 10 * (np.abs(K).max() ** 2 + np.abs(K).max()) * max(np.abs(step.y_new).max() for step in steps)
    bound = delta * second + 2 * knot_error(steps, dense) / delta
    assert bound < 1e-3
    for before, after in itertools.pairwise(steps):
        slope = cosine(after.t, after.y)
        left = (before.y_new - dense(after.t - delta)) / delta
        right = (dense(after.t + delta) - after.y) / delta
        assert np.abs(left - slope).max() < bound
        assert np.abs(right - slope).max() < bound


@every_tableau
def test_extra_stages_are_evaluated_once(name):
    """Beyond its s stages an interpolant costs S - s evaluations a step: none for bosh3, dopri5 and tsit5."""
    method, calls = TABLEAUX[name], []
    _, steps = solved(rn.Solver(name, n_steps=2))
    k = with_extra_stages(lambda t, y: (calls.append(t), cosine(t, y))[1], steps[0], method)
    assert k.shape == (method.dense_stages, *Y.shape)
    assert len(calls) == method.dense_stages - method.stages == {"dop853": 4}.get(name, int(not method.fsal))
    np.testing.assert_array_equal(k[: method.stages], steps[0].k)
    # f_new, bit for bit where it is computed at y_new itself; else y_new is summed again, to rounding
    want = cosine(steps[0].t_new, steps[0].y_new)
    np.testing.assert_allclose(k[method.new_stage], want, rtol=100 * EPS, atol=100 * EPS)


# ---------------------------------------------------------------- own steps, a depth per sample

@every_adaptive
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), own_ends=st.booleans(), down=st.booleans())
def test_a_depth_per_sample(name, seed, own_ends, down):
    """With own steps, y(t) for t (b,) takes for each row its own step: row b is what t_b alone gives, and accurate.

    A sample's steps make at most 2 tol (1 + |y|) each in one entry of four, and e^(2 |k|) = 55 carries it on;
    the interpolant adds its local error, C h^(order_dense + 1), which is below 30 of that for these smooth samples.
    """
    rng = np.random.default_rng(seed)
    way = -1.0 if down else 1.0
    start = way * (rng.uniform(-0.5, 0.3, 3) if own_ends else 0.2)
    end = start + way * (rng.uniform(0.5, 1.5, 3) if own_ends else 1.4)
    tol = 1e-6 if name == "bosh3" else 1e-9
    dense, steps = solved(rn.Solver(name, tol=tol, steps="own"), start, end)
    t = start + (end - start) * rng.uniform(0, 1, 3)
    rows = dense(t)
    size = 1 + max(np.abs(step.y_new).max() for step in steps)
    assert np.abs(rows - exact(start, Y, t)).max() < 30 * 55 * 2 * tol * size * len(steps)
    for b in range(3):
        np.testing.assert_array_equal(dense(np.full(3, t[b]))[b], rows[b])


@every_tableau
def test_one_depth_or_the_same_for_all(name):
    """On a shared grid t () and t (b,) of equal entries are two programs with one answer, to the rounding of a sum."""
    dense, steps = solved(rn.Solver(name, n_steps=6))
    for t in some_times(0.3, 1.9):
        assert np.abs(dense(np.asarray(t)) - dense(np.full(3, t))).max() <= knot_error(steps, dense)


@every_adaptive
def test_samples_that_arrived_early_stay(name):
    """A sample that waits for the others, or that has no span at all, has its last state at every depth beyond."""
    end = np.array([0.3, 0.5, 1.9])
    dense, steps = solved(rn.Solver(name, tol=1e-7, steps="own"), 0.3, end)
    assert np.abs(dense(end) - steps[-1].y_new).max() <= knot_error(steps, dense)
    np.testing.assert_array_equal(dense(np.full(3, 0.3))[0], Y[0])
    late = dense(np.array([0.3, 0.5, 1.2]))
    np.testing.assert_array_equal(late[:2], steps[-1].y_new[:2])


# ---------------------------------------------------------------- what it holds

@pytest.mark.parametrize("name", ["dopri5", "dop853", "rk4"])
def test_fractions_and_bytes(name):
    """fractions() is the grid, and bytes count states and dense stages."""
    dense, steps = solved(rn.Solver(name, n_steps=5))
    np.testing.assert_array_equal(dense.fractions(), np.linspace(0, 1, 6))
    assert dense.bytes == 5 * (1 + TABLEAUX[name].dense_stages) * Y.nbytes
    assert len(steps) == 5


def test_fractions_of_own_steps_are_the_busiest_samples():
    """Of own grids, fractions() returns the one with the most steps, without the waiting."""
    rates = np.array([[1.0], [40.0], [3.0]])
    dense, steps = solved(
        rn.Solver(tol=1e-6, steps="own"), rhs=lambda t, y: -rates * (y - np.cos(column(t))), y=Y
    )
    moved = [step.s_new[1] for step in steps if step.s_new[1] > step.s[1]]
    np.testing.assert_array_equal(dense.fractions(), [0.0, *moved])
    assert len(moved) == max(sum((step.s_new > step.s).astype(int) for step in steps))
