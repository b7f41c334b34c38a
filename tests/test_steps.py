"""A step is the book's formula for every tableau, its jvp and vjp are exact, and error norm, first step and controller
are those of Hairer, Norsett and Wanner.

Bounds follow the formulas line by line. A stage state Y_i = y + h sum_j a_ij k_j has an error of at most
D_i = |h| sum_j |a_ij| e_j + (i + 3) EPS (|y| + |h| sum_j |a_ij| |k_j|), and a stage k_i = f(t_i, Y_i) one of
e_i = L D_i + C EPS |f|, where L is f's Lipschitz constant and C counts the roundings in one evaluation of f.
"""

import itertools
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.integrate import DOP853
from scipy.integrate._ivp.common import select_initial_step

import refnode as rn
from refnode.steps import ErrorNorm, first_step, rk_step, rk_step_jvp, rk_step_vjp, rms, stages_of_step, step_factor
from refnode.tableau import TABLEAUX, tableau
from tests.help import EPS, complex_step

ADAPTIVE = [method for method in TABLEAUX.values() if method.adaptive]
every_tableau = pytest.mark.parametrize("method", TABLEAUX.values(), ids=TABLEAUX)
seeds = st.integers(0, 2**32 - 1)
B, D = 3, 2  # batch and width; C below is for this D


# ---------------------------------------------------------------- a field with known bounds

@dataclass(frozen=True)
class Wave:
    """f = sin(y W + t w): depends on t, |f| <= 1, df/dy = cos(u) W, df/dt = cos(u) w; complex-safe."""

    W: np.ndarray
    w: np.ndarray

    def forward(self, t, y):
        return np.sin(self.angle(t, y))

    def jvp(self, t, y, dt, dy):
        return np.cos(self.angle(t, y)) * self.angle(dt, dy)

    def vjp(self, t, y, g):
        g_u = np.cos(self.angle(t, y)) * g
        return SimpleNamespace(t=(g_u * self.w).sum(axis=1), y=g_u @ self.W.T)

    def of_one(self, t, y):
        return self.forward(np.array(t), np.array([y]))[0].tolist()

    def angle(self, t, y):
        return y @ self.W + np.asarray(t)[..., None] * self.w

    @property
    def lipschitz(self):
        return np.abs(self.W).sum(axis=0).max()

    @property
    def speed(self):
        return np.abs(self.w).max()


C = 2 * (D + 3) + 4  # roundings in one evaluation: two sums of D + 2 products, and 4 of sin or cos


@dataclass(frozen=True)
class Case:
    """A step of the field from (t, y), h () or (B,), and a direction in all that it depends on."""

    field: Wave
    at: tuple
    y: np.ndarray
    moved: tuple
    dy: np.ndarray
    g: np.ndarray

    @staticmethod
    def drawn(seed, own):
        rng = np.random.default_rng(seed)
        shape = (B,) if own else ()
        t, h = rng.uniform(-2, 2, shape), rng.uniform(0.05, 0.5, shape) * rng.choice([-1, 1])
        moved = tuple(rng.standard_normal(shape) for _ in range(3))
        field = Wave(rng.standard_normal((D, D)), rng.standard_normal(D))
        y, dy, g = rng.standard_normal((3, B, D))
        return Case(field, (t, t + h, h), y, moved, dy, g)

    def step(self, method, t, t_new, h, y):
        return rk_step(self.field.forward, t, t_new, h, y, self.field.forward(t, y), method)


def state_errors(case, method):
    """D_i of the stage states, and e_i of the stages, by the recursion above; the last D is that of y_{n+1}."""
    h, Y, L = np.abs(case.at[2]).max(), np.abs(case.y).max(), case.field.lipschitz
    t_error = 2 * EPS * (np.abs(case.at[0]).max() + h) * case.field.speed  # t + c h is rounded twice
    e, errors = np.zeros(0), []
    for i, row in enumerate([*method.a, method.b]):
        weights = np.abs(row[: len(e)])
        errors.append(h * weights @ e + (i + 3) * EPS * (Y + h * weights.sum()))
        e = np.append(e, L * errors[-1] + t_error + C * EPS)
    return np.array(errors), e


def slope_bounds(case, method):
    """Size S of dy_{n+1}, a sum of absolute terms, and a bound on the difference of two ways to round it.

    dY_i = dy + sum_j a_ij (dh k_j + h dk_j) and dk_i = cos(u_i) (dY_i W + dt_i w) follow the recursion of the states;
    cos(u_i) differs by no more than u_i does, L D_i.
    """
    h, L, w = np.abs(case.at[2]).max(), case.field.lipschitz, case.field.speed
    (dt, dt_new, dh), dy = (np.abs(d).max() for d in case.moved), np.abs(case.dy).max()
    D_state, e = state_errors(case, method)
    m, delta = np.zeros(0), np.zeros(0)
    for i, row in enumerate([*method.a, method.b]):
        weights = np.abs(row[: len(m)])
        M = dy + weights @ (dh + h * m)
        off = weights @ (dh * e[: len(m)] + h * delta) + (i + 4) * EPS * M
        if i == method.stages:
            return M, off
        dt_i = max(dt + dh, dt_new)
        m_i = L * M + w * dt_i
        delta_i = L * off + (L * D_state[i] + C * EPS) * m_i
        m, delta = np.append(m, m_i), np.append(delta, delta_i)


# ---------------------------------------------------------------- the step

def by_hand(f, t, t_new, h, y, method):
    """y_{n+1} of one sample from the definition, number by number, in Python floats."""
    k = []
    for i in range(method.stages):
        y_i = [y[m] + h * sum(method.a[i][j] * k[j][m] for j in range(i)) for m in range(len(y))]
        k.append(f(t_new if method.c[i] == 1 else t + method.c[i] * h, y_i))
    return [y[m] + h * sum(method.b[i] * k[i][m] for i in range(method.stages)) for m in range(len(y))], k


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@every_tableau
@settings(max_examples=30)
@given(seed=seeds)
def test_step_is_the_tableaus_formula(method, own, seed):
    """k_i and y_{n+1} are those written by hand, sample by sample, for h shared and h per sample, up or down."""
    case = Case.drawn(seed, own)
    y_new, k = case.step(method, *case.at, case.y)
    errors, e = state_errors(case, method)
    for b in range(B):
        t, t_new, h = (float(np.broadcast_to(v, B)[b]) for v in case.at)
        want, want_k = by_hand(case.field.of_one, t, t_new, h, case.y[b].tolist(), method)
        assert np.abs(y_new[b] - want).max() <= 2 * errors[-1]  # each of the two is off by at most that
        assert (np.abs(k[:, b] - want_k).max(axis=1) <= 2 * e[:-1]).all()


@every_tableau
def test_stage_times_are_those_of_the_tableau(method):
    """Stages see t + c_i h, to the last bit, and exactly t_{n+1} where c_i = 1."""
    seen = []
    t, h = np.array([0.3, -1.1]), np.array([0.1, 0.7])
    t_new = np.array([0.4, -0.4])  # 0.3 + 0.1 and -1.1 + 0.7 are one rounding away from these

    def rhs(t, y):
        seen.append(t)
        return np.cos(t)[:, None] * y

    rk_step(rhs, t, t_new, h, np.ones((2, 2)), np.ones((2, 2)), method)
    want = [t_new if c == 1 else t + c * h for c in method.c[1:]]
    np.testing.assert_array_equal(np.reshape(seen, (-1, 2)), np.reshape(want, (-1, 2)))


@pytest.mark.parametrize(("stages_at_the_end", "order"), [(False, 4), (True, 1)])
def test_a_stage_at_the_steps_end_costs_three_orders(monkeypatch, stages_at_the_end, order):
    """RK4 keeps order 4 on z' = z cos t, where stages taken at the step's end would make it fall to order 1.

    On autonomous fields both have order 4. The span is such that the rest of the error's series stays below 0.3 of
    its first term: over a factor 4 in h that moves the slope by less than log(1.3) / log(4) = 0.19.
    """
    if stages_at_the_end:
        monkeypatch.setattr("refnode.steps.stage_time", lambda t, t_new, h, c: t_new if c > 0 else t)
    y0, sizes, errors = np.array([[1.0], [-2.0]]), np.array([16, 32, 64]), []
    for n in sizes:
        grid, y = np.linspace(0.3, 1.3, n + 1), y0
        for t, t_new in itertools.pairwise(grid):
            y, _ = rk_step(lambda t, y: y * np.cos(t), t, t_new, t_new - t, y, y * np.cos(t), tableau("rk4"))
        errors.append(np.abs(y - y0 * np.exp(np.sin(1.3) - np.sin(0.3))).max())
    assert abs(-np.polyfit(np.log(sizes), np.log(errors), 1)[0] - order) < 0.19


@every_tableau
@given(seed=seeds)
def test_stored_stages_give_back_the_states_bit_for_bit(method, seed):
    """stages_of_step returns the very Y_i at which rk_step evaluated the field: reverse sweeps see no other states."""
    case, seen = Case.drawn(seed, own=True), []

    def rhs(t, y):
        seen.append(y)
        return case.field.forward(t, y)

    t, t_new, h = case.at
    _, k = rk_step(rhs, t, t_new, h, case.y, rhs(t, case.y), method)
    for got, want in zip(stages_of_step(h, case.y, k, method), seen, strict=True):
        np.testing.assert_array_equal(got, want)


@every_tableau
def test_first_same_as_last(method):
    """Where the tableau says FSAL, y_{n+1} is the last stage's state to the last bit; nothing is computed twice."""
    case = Case.drawn(7, own=False)
    y_new, k = case.step(method, *case.at, case.y)
    if method.fsal:
        np.testing.assert_array_equal(y_new, stages_of_step(case.at[2], case.y, k, method)[-1])
        np.testing.assert_array_equal(k[-1], case.field.forward(case.at[1], y_new))
    else:
        assert np.abs(k[-1] - case.field.forward(case.at[1], y_new)).max() > 1e-6


# ---------------------------------------------------------------- its derivatives

def parts_of(case):
    """The direction in t, t_new, h and y, together and one at a time."""
    zero = tuple(np.zeros_like(d) for d in case.moved)
    yield case
    for k in range(3):
        only = tuple(d if i == k else z for i, (d, z) in enumerate(zip(case.moved, zero, strict=True)))
        yield replace(case, moved=only, dy=np.zeros_like(case.dy))
    yield replace(case, moved=zero)


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@every_tableau
@settings(max_examples=30)
@given(seed=seeds)
def test_jvp_is_the_complex_step(method, own, seed):
    """dy_{n+1} along t, t_new, h and y, each alone and together, equals Im y_{n+1}(. + i eps d) / eps."""
    for case in parts_of(Case.drawn(seed, own)):
        want = complex_step(lambda *a, c=case: c.step(method, *a)[0], (*case.at, case.y), (*case.moved, case.dy))
        _, k = case.step(method, *case.at, case.y)
        got = rk_step_jvp(case.field.jvp, case.at, case.moved, case.y, k, case.dy, method)
        _, bound = slope_bounds(case, method)
        assert np.abs(got - want).max() <= 2 * bound


@every_tableau
def test_jvp_sees_parameters_through_the_fields_jvp(method):
    """What the caller's jvp adds at every stage, here a change of w, arrives in dy_{n+1} as the complex step says."""
    case = Case.drawn(3, own=True)
    dw = np.array([0.7, -0.3])
    _, k = case.step(method, *case.at, case.y)

    def with_dw(t, y, dt, dy):
        return case.field.jvp(t, y, dt, dy) + np.cos(case.field.angle(t, y)) * t[:, None] * dw

    def moved(w):
        return replace(case, field=Wave(case.field.W, w)).step(method, *case.at, case.y)[0]

    still = tuple(np.zeros(B) for _ in range(3))
    got = rk_step_jvp(with_dw, case.at, still, case.y, k, 0 * case.y, method)
    # a change of w moves f as a change of t by max |t dw / w| would
    dt = np.full(B, np.abs(case.at[0]).max() + np.abs(case.at[2]).max()) * np.abs(dw / case.field.w).max()
    _, bound = slope_bounds(replace(case, moved=(dt, dt, np.zeros(B)), dy=0 * case.y), method)
    assert np.abs(got - complex_step(moved, (case.field.w,), (dw,))).max() <= 2 * bound


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@every_tableau
@settings(max_examples=30)
@given(seed=seeds)
def test_vjp_is_the_transpose_of_the_jvp(method, own, seed):
    """<g, J d> = <J^T g, d> for d in t, t_new, h and y, together and alone.

    Both sides add up the same products along the same paths through the stages, one from the left and one from the
    right: the jvp's bound holds for either, weighted by |g|, and the sum over B D entries adds B D roundings.
    """
    for case in parts_of(Case.drawn(seed, own)):
        _, k = case.step(method, *case.at, case.y)
        dy_new = rk_step_jvp(case.field.jvp, case.at, case.moved, case.y, k, case.dy, method)
        back = rk_step_vjp(case.field.vjp, case.at, case.y, k, case.g, method)
        along = sum((g * d).sum() for g, d in zip((back.t, back.t_new, back.h), case.moved, strict=True))
        size, bound = slope_bounds(case, method)
        tolerance = np.abs(case.g).sum() * (2 * bound + B * D * EPS * size)
        assert abs((case.g * dy_new).sum() - along - (back.y * case.dy).sum()) <= tolerance


@every_tableau
def test_vjp_returns_one_cotangent_per_sample(method):
    """t, t_new and h are (b,) even where h is shared, and samples do not see each other's cotangents."""
    case = Case.drawn(11, own=False)
    _, k = case.step(method, *case.at, case.y)
    back = rk_step_vjp(case.field.vjp, case.at, case.y, k, case.g, method)
    for b in range(B):
        alone = rk_step_vjp(case.field.vjp, case.at, case.y, k, case.g * (np.arange(B) == b)[:, None], method)
        for name in ("t", "t_new", "h", "y"):
            got, want = getattr(alone, name), getattr(back, name)
            np.testing.assert_array_equal(got[b], want[b])
            assert not np.delete(got, b, axis=0).any()


@every_tableau
def test_vjp_skips_stages_that_nothing_uses(method):
    """One vjp a stage, except for the FSAL stage, which neither y_{n+1} nor a later stage uses; last stage first."""
    case, seen = Case.drawn(5, own=True), []

    def vjp(t, y, g):
        seen.append(t)
        return case.field.vjp(t, y, g)

    t, t_new, h = case.at
    _, k = case.step(method, *case.at, case.y)
    back = rk_step_vjp(vjp, case.at, case.y, k, case.g, method)
    used = method.stages - method.fsal
    assert len(back.stages) == len(seen) == used
    want = [t_new if c == 1 else t + c * h for c in method.c[:used][::-1]]
    np.testing.assert_array_equal(seen, want)


# ---------------------------------------------------------------- error norm

@given(seed=seeds, rtol=st.floats(1e-12, 1e-2), atol=st.floats(1e-12, 1e-2))
def test_norms_are_means_of_relative_errors(seed, rtol, atol):
    """batch: root mean square over all entries; max: the worst sample's; own: each sample's.

    Squares, their sum over B D = 6 entries, the mean and the root: 12 roundings of positive terms.
    """
    rng = np.random.default_rng(seed)
    y, y_new, e = rng.standard_normal((3, B, D))
    norms = {over: ErrorNorm(rtol, np.asarray(atol), over) for over in ("batch", "max", "own")}
    scale = norms["own"].scale(y, y_new)
    want = [[atol + rtol * max(abs(y[b, j]), abs(y_new[b, j])) for j in range(D)] for b in range(B)]
    np.testing.assert_allclose(scale, want, rtol=2 * EPS)
    own = np.array([np.sqrt(sum((e[b, j] / want[b][j]) ** 2 for j in range(D)) / D) for b in range(B)])
    np.testing.assert_allclose(norms["own"].norm(e, scale), own, rtol=12 * EPS)
    np.testing.assert_allclose(norms["max"].norm(e, scale), own.max(), rtol=12 * EPS)
    np.testing.assert_allclose(norms["batch"].norm(e, scale), np.sqrt((own**2).mean()), rtol=12 * EPS)
    np.testing.assert_allclose(rms(e), np.sqrt((e**2).mean(axis=1)), rtol=12 * EPS)


def test_absolute_tolerance_per_component():
    """atol (n,) holds for its own component: the backward solve weighs state and costate apart."""
    norm = ErrorNorm(1e-300, np.array([1.0, 100.0]), "own")
    got = norm.norm(np.array([[1.0, 0.0], [0.0, 1.0]]), norm.scale(np.zeros((2, 2))))
    np.testing.assert_allclose(got, np.sqrt(0.5) * np.array([1.0, 0.01]), rtol=4 * EPS)


@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
@given(seed=seeds)
def test_error_of_a_step_is_the_embedded_methods(method, seed):
    """|h sum_i b_err_i k_i| in the norm, for h per sample.

    With s stages: s products and sums, one product with h, then the norm's 12; terms may cancel, so the bound is that
    of the absolute terms, and for dop853 twice that and the 6 roundings of the combination.
    """
    rng = np.random.default_rng(seed)
    y, y_new = rng.standard_normal((2, B, D))
    k, h = rng.standard_normal((method.stages, B, D)), rng.uniform(-0.5, 0.5, B)
    norm = ErrorNorm(1e-3, np.asarray(1e-4), "own")
    scale, err, terms = norm.scale(y, y_new), {}, {}
    for name in ("b_err", "b_err3"):
        weights = getattr(method, name)
        if weights is not None:
            e = sum(w * k_i for w, k_i in zip(weights, k, strict=True)) * h[:, None]
            e_terms = sum(abs(w * k_i) for w, k_i in zip(weights, k, strict=True)) * np.abs(h[:, None])
            err[name] = np.sqrt(((e / scale) ** 2).mean(axis=1))
            terms[name] = np.sqrt(((e_terms / scale) ** 2).mean(axis=1))
    want, bound = err["b_err"], (method.stages + 13) * EPS * terms["b_err"]
    if "b_err3" in err:  # x^2 / sqrt(x^2 + y^2 / 100) is 2-Lipschitz in x and 0.1-Lipschitz in y
        want = want**2 / np.sqrt(want**2 + 0.01 * err["b_err3"] ** 2)
        bound = 2 * bound + 0.1 * (method.stages + 13) * EPS * terms["b_err3"] + 6 * EPS * want
    got = norm.of_step(h, y, y_new, k, method)
    assert (np.abs(got - want) <= bound).all()


@given(seed=seeds)
def test_dop853_norm_is_scipys(seed):
    """scipy's DOP853 estimates the same error from the same stages; its thirteenth error weight is 0."""
    rng = np.random.default_rng(seed)
    y, y_new = rng.standard_normal((2, B, D))
    k, h = rng.standard_normal((12, B, D)), rng.uniform(-0.5, 0.5)
    norm = ErrorNorm(1e-3, np.asarray(1e-4), "batch")
    scale, flat = norm.scale(y, y_new), np.concatenate([k, k[:1]]).reshape(13, -1)
    theirs = DOP853._estimate_error_norm(SimpleNamespace(E3=DOP853.E3, E5=DOP853.E5), flat, h, scale.ravel())
    # the bound of the test above, for all 6 entries in one norm
    terms = [np.abs(h) * np.abs(E) @ np.abs(flat) / scale.ravel() for E in (DOP853.E5, DOP853.E3)]
    sizes = [np.sqrt((e**2).mean()) for e in terms]
    assert abs(norm.of_step(h, y, y_new, k, tableau("dop853")) - theirs) <= 40 * EPS * (2 * sizes[0] + 0.1 * sizes[1])


@pytest.mark.parametrize("over", ["batch", "max", "own"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
def test_a_state_that_is_not_finite_is_never_acceptable(method, bad, over):
    """NaN and infinity in the new state or in a stage give an error that is not <= 1, whatever the norm.

    An infinite state makes its own scale infinite and error / scale zero; dop853's quotient of two NaN was once zero.
    """
    norm = ErrorNorm(1e-3, np.asarray(1e-3), over)
    y, k = np.ones((B, D)), np.zeros((method.stages, B, D))
    where = np.arange(B) == 1
    y_bad, k_bad = y.copy(), k.copy()
    y_bad[1, 0] = bad
    k_bad[0, 1, 0] = bad
    for y_new, k_new in ((y_bad, k), (y, k_bad), (y_bad, k_bad)):
        with np.errstate(invalid="ignore"):
            accepted = norm.of_step(np.asarray(0.1), y, y_new, k_new, method) <= 1
        assert not np.any(accepted & where) if over == "own" else not accepted
        if over == "own":
            assert (accepted == ~where).all()


def test_an_error_of_zero_is_zero():
    """Without stages there is no error: 0, not 0 / 0, also in dop853's combination."""
    for method in ADAPTIVE:
        norm = ErrorNorm(1e-3, np.asarray(1e-3), "own")
        err = norm.of_step(np.asarray(0.1), np.ones((B, D)), np.ones((B, D)), np.zeros((method.stages, B, D)), method)
        np.testing.assert_array_equal(err, np.zeros(B))


# ---------------------------------------------------------------- first step

@pytest.mark.parametrize("method", ADAPTIVE, ids=lambda m: m.name)
@given(
    seed=seeds,
    length=st.floats(1e-3, 1e3),
    down=st.booleans(),
    size=st.sampled_from([0.0, 1e-9, 1e-3, 1.0, 1e3]),
    speed=st.sampled_from([0.0, 1e-12, 1.0, 1e4]),
)
def test_first_step_is_hairers(method, seed, length, down, size, speed):
    """As a fraction of the segment it is scipy's transcription of the same page, for y' rescaled to s in [0, 1].

    Some 20 relative operations, 64 EPS together; but k1 - k0 cancels. The argument of the cosine, a sum of absolute
    terms U, is rounded D + 3 times in each program, so their k1 differ by up to 2 (D + 3) EPS U speed, and d2 by that
    over |k1 - k0|; the step has a power of d2 between -1 and 0.
    """
    rng = np.random.default_rng(seed)
    span = -length if down else length
    y, W = size * rng.standard_normal((B, D)), rng.standard_normal((D, D))
    start, norm = rng.uniform(-1, 1), ErrorNorm(1e-6, np.asarray(1e-6), "batch")

    def rhs(t, y):
        return speed * np.cos(y @ W + np.asarray(t)[..., None])

    k0 = rhs(np.asarray(start), y)

    def rescaled(s, u):
        return span * rhs(np.asarray(start + s * span), u.reshape(B, D)).ravel()

    seen = []
    want = select_initial_step(
        lambda s, u: seen.append(rescaled(s, u)) or seen[-1],
        0.0, y.ravel(), 1.0, np.inf, span * k0.ravel(), 1.0, method.order, 1e-6, 1e-6,
    )  # fmt: skip
    got = first_step(rhs, np.asarray(start), np.asarray(span), y, k0, norm, method.order)
    assert 0 < got <= 1
    change = np.abs(seen[-1] - span * k0.ravel()).max()
    moved = np.abs(y).max() + 1e-6 * length * speed  # an Euler step of 1 % of y, or of 1e-6 of the segment
    U = (np.abs(y).max() + moved) * np.abs(W).sum(axis=0).max() + 1 + length
    noise = 2 * (D + 3) * EPS * U * length * speed / change if change else 0.0
    np.testing.assert_allclose(got, want, rtol=64 * EPS + noise)


def test_first_step_per_sample_is_that_of_each_sample():
    """With the norm over each sample, (b,): every sample gets what it would get alone, to the last bit."""
    rng = np.random.default_rng(0)
    y, t, length = rng.standard_normal((B, D)), rng.uniform(-1, 1, B), np.array([0.5, 2.0, -3.0])

    def rhs(t, y):
        return np.cos(3 * y + t[:, None])

    norm = ErrorNorm(1e-6, np.asarray(1e-6), "own")
    together = first_step(rhs, t, length, y, rhs(t, y), norm, 5)
    for b in range(B):
        one = slice(b, b + 1)
        alone = first_step(rhs, t[one], length[one], y[one], rhs(t[one], y[one]), norm, 5)
        # nothing but elementwise operations and a mean over D features
        np.testing.assert_allclose(alone, together[one], rtol=8 * EPS)


# ---------------------------------------------------------------- controller

controllers = st.builds(
    rn.Controller,
    kind=st.sampled_from(["I", "PI"]),
    safety=st.floats(0.1, 0.99),
    min_factor=st.floats(0.01, 0.9),
    max_factor=st.floats(1.1, 20.0),
)


@given(controller=controllers, err=st.floats(1e-9, 1e9), previous=st.floats(1e-3, 1.0), order_err=st.integers(1, 8))
def test_factor_is_the_formula_within_its_limits(controller, err, previous, order_err):
    """safety err^-alpha err_previous^beta, clipped; alpha = 1/q or 0.7/q, beta = 0 or 0.4/q, q = order_err + 1.

    Two powers, each within 4 EPS times its exponent's argument log(1e9) = 21, and two products: 200 EPS.
    """
    q = order_err + 1
    alpha, beta = {"I": (1 / q, 0), "PI": (0.7 / q, 0.4 / q)}[controller.kind]
    want = controller.safety * err**-alpha * previous**beta
    want = min(max(want, controller.min_factor), controller.max_factor)
    want = want if err <= 1 else min(want, 1.0)
    got = step_factor(controller, np.array([err, err]), np.array([previous, previous]), order_err)
    np.testing.assert_allclose(got, [want, want], rtol=200 * EPS)
    assert (got >= controller.min_factor).all()
    assert (got <= controller.max_factor).all()


@given(controller=controllers, order_err=st.integers(1, 8), errors=st.tuples(*[st.floats(0, 1e300)] * 2))
def test_a_larger_error_never_gives_a_larger_step(controller, order_err, errors):
    """The factor falls monotonically with the error, and after a failed step it is at most 1."""
    small, large = sorted(errors)
    factors = step_factor(controller, np.array([small, large]), np.ones(2), order_err)
    assert factors[1] <= factors[0]
    assert large <= 1 or factors[1] <= 1


@given(controller=controllers, bad=st.sampled_from([np.nan, np.inf]))
def test_no_number_gives_the_smallest_factor(controller, bad):
    """After NaN or infinity the step shrinks as far as the controller allows."""
    assert step_factor(controller, np.asarray(bad), np.ones(()), 4) == controller.min_factor


def test_an_error_of_zero_gives_the_largest_factor():
    """A step without error grows as far as the controller allows: no division by zero."""
    assert step_factor(rn.Controller(), np.zeros(()), np.ones(()), 4) == 10.0
