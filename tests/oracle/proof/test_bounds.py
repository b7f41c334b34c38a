"""Every bound is one: on functions where it is sharp, at sampled complex points, and against closed forms."""

import mpmath
import numpy as np
import pytest
from flint import arb, arb_mat, arb_series, ctx

import refnode as rn
from refnode.oracle.proof import bounds, costate, discs, inputs, jets, lognorm, quadrature, series, trajectory
from refnode.oracle.proof.bounds import Guess
from refnode.oracle.proof.discs import Disc
from refnode.oracle.proof.dynamics import Leaves, field_of
from refnode.oracle.proof.gathered import Gathered
from refnode.oracle.proof.inputs import Sample
from refnode.oracle.proof.lognorm import largest_eigenvalue
from refnode.oracle.proof.on_discs import pull_sizes, run_discs
from refnode.oracle.proof.series import Series, truncated
from refnode.oracle.proof.trajectory import Effort

NAMES = ("tanh", "sigmoid", "softplus", "sin", "cos", "exp", "identity")
CLOSE = 1 + 1e-9  # what bounds may lose to rounding and still count as sharp


def function(name):
    """The function on complex numbers, from mpmath."""
    sigmoid = lambda w: 1 / (1 + mpmath.exp(-w))  # noqa: E731
    others = {"sigmoid": sigmoid, "softplus": lambda w: mpmath.log(1 + mpmath.exp(w)), "identity": lambda w: w}
    return others.get(name) or getattr(mpmath, name)


def circle(c, m, points=24):
    """Points on |w - c| = m, the real and imaginary ones among them: an analytic function is largest on the circle."""
    return [mpmath.mpc(c) + m * mpmath.expjpi(2 * k / points) for k in range(points)]


# ---------------------------------------------------------------- elementary functions

@pytest.mark.parametrize("f", [discs.searched, discs.proven])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_on_a_disc_are_bounded(name, f):
    """|f|, .., |f'''| on discs of several centres and radii are below the bounds; values at the centre are f's."""
    rng = np.random.default_rng(1)
    c, m = np.append(rng.normal(size=6) * 2, 0.0), np.append(rng.uniform(0.05, 1.3, 6), 1.3)
    rho = np.array([1.0])
    on = discs.on_disc(name, Disc(c, np.zeros((7, 1)), m, rho), f)
    for j in range(7):
        for k in range(4):
            worst = max(abs(mpmath.diff(function(name), w, k)) for w in circle(c[j], m[j], 16))
            assert float(worst) <= on.sup[k][j] * CLOSE, (name, k, c[j], m[j])
        for k in range(3):
            assert float(abs(mpmath.diff(function(name), c[j], k) - on.at[k][j])) < 1e-7


def test_slope_of_tanh_is_bounded_sharply():
    """On |w| <= m the slope is largest at +-im, where it is 1 / cos^2 m: the bound is that."""
    for m in (0.3, 0.9, 1.3):
        on = discs.on_disc("tanh", Disc(np.zeros(1), np.zeros((1, 1)), np.array([m]), np.ones(1)), discs.proven)
        assert 1 <= on.sup[1][0] * np.cos(m) ** 2 <= CLOSE


def test_tanh_is_not_bounded_across_its_pole():
    """A disc that reaches i pi / 2 has no bound: infinity, not a number."""
    on = discs.on_disc("tanh", Disc(np.zeros(1), np.zeros((1, 1)), np.array([1.58]), np.ones(1)), discs.proven)
    assert on.sup[1][0] == np.inf


# ---------------------------------------------------------------- affine sets

def random_disc(rng, n=3, v=2):
    """Sets of moderate size."""
    A, r = rng.normal(size=(n, v)) * 0.3, rng.uniform(0, 0.2, n)
    return Disc(rng.normal(size=n), A, r, rng.uniform(0.1, 0.6, v))


def member(rng, disc, xi, edge=True):
    """A point of each set for the same xi, with an error on the rim."""
    phase = np.exp(2j * np.pi * rng.uniform(size=len(disc)))
    return disc.c + disc.A @ xi + disc.r * phase


def variables(rng, rho):
    """A point of the polydisc's rim."""
    return rho * np.exp(2j * np.pi * rng.uniform(size=len(rho)))


def holds(disc, xi, w):
    """Whether w is in the sets at xi."""
    return np.all(np.abs(w - disc.c - disc.A @ xi) <= disc.r * CLOSE + 1e-14)


def test_affine_sets_hold_what_they_are_computed_from():
    """Sums, products, linear images and functions of members are members, 400 times at random."""
    rng = np.random.default_rng(2)
    for _ in range(400):
        a, b = random_disc(rng), random_disc(rng)
        b = Disc(b.c, b.A, b.r, a.rho)
        xi, M = variables(rng, a.rho), rng.normal(size=(4, 3))
        x, y = member(rng, a, xi), member(rng, b, xi)
        assert holds(a + b, xi, x + y)
        assert holds(a - b, xi, x - y)
        assert holds(a * b, xi, x * y)
        off = rng.uniform(0, 0.1, M.shape)
        near = M + off * rng.choice([-1, 1], M.shape)
        assert holds(discs.disc_linear(M, np.abs(M) + off, off, a), xi, near @ x)
        assert holds(a.scaled(-1.7), xi, -1.7 * x)
        for name, value in (("tanh", np.tanh), ("sin", np.sin), ("exp", np.exp)):
            assert holds(discs.apply(discs.on_disc(name, a, discs.proven), a, 0), xi, value(x))
        slope = discs.apply(discs.on_disc("tanh", a, discs.proven), a, 1)
        assert holds(slope, xi, 1 - np.tanh(x) ** 2)


def test_second_order_remainder_is_that_of_taylor():
    """exp about 0 on |s| <= m: e^m - 1 - m is missed by c + A xi, and r is between that and m^2/2 e^m."""
    m = 0.25
    u = Disc(np.zeros(1), np.ones((1, 1)), np.zeros(1), np.array([m]))
    found = discs.apply(discs.on_disc("exp", u, discs.proven), u, 0)
    assert np.exp(m) - 1 - m <= found.r[0] <= m**2 / 2 * np.exp(m) * CLOSE


def test_proven_values_do_not_depend_on_the_callers_precision():
    """With 20 bits around it, an elementary function is still good to 2^-50."""
    x = np.array([0.3, -1.7, 5.0])
    with ctx.workprec(20):
        found = discs.proven("tanh", x)
    assert np.max(np.abs(found / np.tanh(x) - 1)) < 2.0**-50


def test_rounding_is_in_the_radius():
    """1 + 2^-60 is not a float64: the sum of two constants holds it all the same."""
    one, tiny = (Disc(np.array([c]), np.zeros((1, 1)), np.zeros(1), np.ones(1)) for c in (1.0, 2.0**-60))
    assert (one + tiny).r[0] >= 2.0**-60


def test_cotangents_on_a_polydisc_are_bounded():
    """|df/dz| at complex points of the polydisc is below what `pull_sizes` says, for a network with time input."""
    problem, field, sample = small_problem()
    rho = np.array([0.3, 0.2, 0.25])
    given = inputs.as_discs(field, sample, 0, arb(0.5), rho, discs.proven)
    z = np.array([0.3, -0.7])
    given["z"] = inputs.disc_variable(list(map(arb, z)), 0, rho)
    values = run_discs(field.graph, given, discs.proven)
    bound = pull_sizes(values, {field.rate: np.eye(2)})[field.z].T
    rng, mlp = np.random.default_rng(3), problem.model.field
    for _ in range(200):
        xi = variables(rng, rho)
        J = jacobian_at(mlp, problem, 0.5 + xi[2], z + xi[:2])
        assert np.all(np.abs(J) <= bound * CLOSE)
        f = mlp.forward(np.array(0.5 + xi[2]), (z + xi[:2])[None], problem.values.alpha)[0]
        assert np.all(np.abs(f) <= values[field.rate].sup * CLOSE)


def test_slope_on_a_disc_is_not_that_at_its_centre():
    """z' = tanh(2 z) on |z| <= 0.4: |df/dz| is 2 / cos^2 0.8 at z = 0.4 i, which the bound is, and 2 at the centre."""
    model = rn.NeuralODE(rn.MLP(1, 1, 1, bias=False))
    params = {"theta.W0": [[2.0]], "theta.W1": [[1.0]]}
    problem = rn.Problem(model, params, [[0.0], [0.0]], rn.Loss(rn.StandardNormal()))
    field, rho = field_of(problem, 0, Leaves(problem, 0)), np.array([0.4, 0.1])
    values = run_discs(field.graph, {"z": inputs.disc_variable([arb(0)], 0, rho)}, discs.proven)
    (bound,) = pull_sizes(values, {field.rate: np.ones((1, 1))})[field.z].ravel()
    assert 1 <= bound * np.cos(0.8) ** 2 / 2 <= CLOSE


def jacobian_at(mlp, problem, t, z):
    """df/dz (2, 2) at a complex point, by the story's jvp."""
    theta = problem.values.alpha
    zero = np.zeros(())
    columns = [mlp.jvp(np.array(t), z[None], theta, None, zero, e[None], 0 * theta, None)[0] for e in np.eye(2)]
    return np.stack(columns, axis=1)


def small_problem(span=(0.25, 1.25), skip=None, act="tanh"):
    """2-3-2 with time input, its field as a graph and its first sample."""
    rng = np.random.default_rng(4)
    model = rn.NeuralODE(rn.MLP(2, 3, 2, time="first", act=act, skip=skip is not None), span=span)
    params = {name: rng.normal(size=shape) for name, shape in model.shapes.items()}
    if skip is not None:
        params["theta.A"] = skip
    problem = rn.Problem(model, params, rng.normal(size=(2, 2)), rn.Loss(rn.SquaredError([0.5, -0.5])))
    return problem, field_of(problem, 0, Leaves(problem, 0)), Sample(problem, 0, arb(span[0]), arb(span[1]))


def linear_problem(rate, span=(0.0, 1.0)):
    """z' = rate z in one dimension."""
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), span=span)
    problem = rn.Problem(model, {"theta.W0": [[rate]]}, [[1.0], [0.5]], rn.Loss(rn.SquaredError([0.0])))
    return problem, field_of(problem, 0, Leaves(problem, 0)), Sample(problem, 0, arb(span[0]), arb(span[1]))


# ---------------------------------------------------------------- comparison, Cauchy

@pytest.mark.parametrize(("b", "f", "g"), [(0.0, 1.0, 0.0), (3.0, 2.0, 0.0), (5.0, 0.0, 4.0), (0.5, 1.0, 2.0)])
def test_displacement_is_the_solution_of_the_comparison_equation(b, f, g):
    """v' = f + g tau + b v, v(0) = 0 has v = (f/b + g/b^2) (e^(b R) - 1) - g R / b; the bound is that, rounded up."""
    R = 0.7
    rate = Disc(np.array([f / 2]), np.array([[b, g]]), np.array([f / 2]), np.array([1.0, R]))
    exact = f * R + g * R**2 / 2 if b == 0 else (f / b + g / b**2) * np.expm1(b * R) - g * R / b
    assert exact / CLOSE <= bounds.displacement(rate, R)[0] <= exact * CLOSE


def test_growth_is_a_matrix_exponential():
    """e^(BR) v for a matrix, against SciPy's: not below it, and not by more than 1e-9 above."""
    from scipy.linalg import expm

    rng = np.random.default_rng(5)
    B, v = rng.uniform(size=(4, 4)) * 3, rng.uniform(size=4)
    exact, found = expm(0.9 * B) @ v, bounds.grown(B, 0.9, v)
    assert np.all(found >= exact * (1 - 1e-13))
    assert np.all(found <= exact * CLOSE)


@pytest.mark.parametrize(("x", "n"), [(0.1, 5), (0.5, 8), (0.9, 30)])
def test_tail_is_that_of_the_geometric_series(x, n):
    """1 / (1 - t) is at most M = 1 / (1 - r) on |t| <= r; where all coefficients are M / R^n the bound is sharp."""
    rest = mpmath.mpf(x) ** n / (1 - mpmath.mpf(x))
    assert rest <= bounds.tail(x, n) <= rest * CLOSE
    assert bounds.tail(1.0, n) == np.inf
    assert bounds.tail(1e-12, n * 10) > 0, "too small a number for float64 is not zero"


def test_polydisc_holds_the_solution_and_the_start():
    """z(t) at complex t in the disc stays within `moved`; what is known of the start, delta, is inside the sets."""
    _, field, sample = linear_problem(2.0)
    found = bounds.reach(field, sample, 0, arb(0), [arb(1)], 0.125, Guess(1.0))
    for w in circle(0, found.R, 16):
        for start in (0.875, 1.125):
            assert float(abs(start * mpmath.exp(2 * w) - start)) <= found.moved[0] * CLOSE
            assert float(abs(2 * start * mpmath.exp(2 * w))) <= found.rate[0] * CLOSE
    assert found.R * 2 > 1, "linear growth is not held down by Picard's R |J| < 1"
    assert found.J[0, 0] >= 2


def test_polydisc_of_a_network_holds_the_solution():
    """The same for a network, z at complex depths by mpmath's Taylor integration along rays."""
    problem, field, sample = small_problem()
    z0 = problem.x[0]
    found = bounds.reach(field, sample, 0, arb(0.25), [arb(float(v)) for v in z0], 0.0, Guess(1.0))
    mlp, theta = problem.model.field, problem.values.alpha
    for angle in (0.0, 0.5, 1.0, 1.5):
        turn = np.exp(1j * np.pi * angle)
        z, steps = z0.astype(complex), 400
        h = found.R / steps
        for k in range(steps):  # RK4 along the ray: an error near 1e-10, against a bound with room
            t = 0.25 + k * h * turn
            f = lambda t, z: turn * mlp.forward(np.array(t), z[None], theta)[0]  # noqa: B023, E731
            k1 = f(t, z)
            k2 = f(t + h / 2 * turn, z + h / 2 * k1)
            k3 = f(t + h / 2 * turn, z + h / 2 * k2)
            z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(t + h * turn, z + h * k3))
            assert np.all(np.abs(z - z0) <= found.moved)


# ---------------------------------------------------------------- logarithmic norm

def balls(J, r=0.0):
    """A matrix of balls."""
    return [[arb(float(v), r) for v in row] for row in J]


def test_largest_eigenvalue_is_bounded_tightly():
    """Random symmetric parts of widths 1 to 6: not below NumPy's eigenvalue, at most 1e-6 above."""
    rng = np.random.default_rng(6)
    for d in (1, 2, 3, 6):
        J = rng.normal(size=(d, d))
        exact = np.linalg.eigvalsh((J + J.T) / 2)[-1]
        assert exact - 1e-12 <= largest_eigenvalue(balls(J)) <= exact + 1e-6


def test_largest_eigenvalue_of_wide_balls():
    """Every matrix in the balls is below the bound; the all-plus corner comes near it."""
    J = np.array([[0.5, 1.0], [-2.0, 1.5]])
    bound = largest_eigenvalue(balls(J, 0.25))
    corner = np.linalg.eigvalsh((J + J.T) / 2 + np.array([[0.25, -0.25], [-0.25, 0.25]]))[-1]
    other = np.linalg.eigvalsh((J + J.T) / 2 + 0.25)[-1]
    assert max(corner, other) <= bound <= max(corner, other) + 0.3


@pytest.mark.parametrize("rate", [1.5, -30.0])
@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, 0.0)])
def test_an_error_grows_as_the_solution_says(rate, span):
    """z' = rate z from a start known to 1e-3: delta at the end is 1e-3 e^(rate (T - t0)), neither less nor much more.

    Contraction counts: with |J| instead of the logarithmic norm the factor would be e^30, not e^-30.
    """
    _, field, sample = linear_problem(rate, span)
    ends = (arb(span[0]), arb(span[1]))
    with ctx.workprec(100):
        stretch = trajectory.follow(field, sample, 0, ends, [arb(1)], 1e-3, Effort(40, 0.15, 100))
    exact = 1e-3 * np.exp(rate * (span[1] - span[0]))
    assert exact / CLOSE <= stretch.knots[-1].delta <= exact * 1.01 + 1e-18


@pytest.mark.parametrize("effort", [Effort(40, 0.2, 24), Effort(5, 0.3, 100)], ids=["few bits", "few terms"])
def test_state_and_costate_are_within_their_radii(effort):
    """z' = z, a' = -a on [0, 1] from 1: z(1) = e and a(0) = e within delta and alpha, which rounding makes with few
    bits, and what the polynomial misses with few terms; neither radius is wider than 1e4 times the error it covers."""
    problem, field, sample = linear_problem(1.0)
    assert problem.batch == 2
    with ctx.workprec(effort.bits):
        stretch = trajectory.follow(field, sample, 0, (arb(0), arb(1)), [arb(1)], 0.0, effort)
        zero = arb(0)
        part = costate.Part(True, False, [arb(1)], 0.0, Gathered(), [zero], [zero] * 3)
        costate.sweep(field, sample, 0, stretch, [part], effort)
    with ctx.workprec(200):
        for number, radius in ((stretch.knots[-1].z[0], stretch.knots[-1].delta), (part.a[0], part.alpha)):
            off = float(abs(number - arb(1).exp()).upper())
            assert off <= radius <= 1e4 * off


def test_a_jump_brings_its_radius():
    """A cotangent known to 1/4 makes the costate known to 1/4 and what it was known to before."""
    part = costate.Part(True, False, [arb(1)], 0.125, Gathered(), [], [])
    part.add([arb(2, 0.25)])
    assert float(part.a[0]) == 3
    assert 0.375 <= part.alpha <= 0.375 * (1 + 1e-8), "a ball's radius has 30 bits"


def test_log_norm_holds_over_the_tube():
    """The eigenvalues at all states the step can pass, the start's uncertainty included, are below mu."""
    problem, field, sample = small_problem(skip=np.array([[-1.0, 2.0], [-2.0, 0.5]]))
    z = problem.x[0]
    delta = 0.05
    near = trajectory.knot(field, sample, 0, arb(0.25), [arb(float(v)) for v in z], delta, Guess(1.0))
    h = near.reach.R / 4
    rng, mlp = np.random.default_rng(7), problem.model.field
    for sign in (1, -1):
        mu = trajectory.log_norm(field, sample, 0, near, arb(sign * h))
        worst = -np.inf
        for _ in range(300):
            t, w = 0.25 + sign * h * rng.choice([0, 1]), z + (delta + h * near.reach.rate) * rng.choice([-1, 1], 2)
            J = sign * jacobian_at(mlp, problem, t, w).real
            worst = max(worst, np.linalg.eigvalsh((J + J.T) / 2)[-1])
        assert worst <= mu, "wide enough"
        assert mu <= worst + 2.0


# ---------------------------------------------------------------- series and integrals

@pytest.mark.parametrize("name", NAMES)
def test_series_of_elementary_functions_hold_mpmaths(name):
    """Coefficients of f, f', f'' of a cubic, against mpmath's Taylor coefficients at 50 digits."""
    u = [0.5, -0.75, 0.25, 0.125]
    with mpmath.workdps(50), ctx.workprec(120), truncated(8):
        found = series.derivatives(name, Series([arb_series([arb(c) for c in u])]), 2)
        for k in range(3):
            g = lambda s: mpmath.diff(function(name), u[0] + s * (u[1] + s * (u[2] + s * u[3])), k)  # noqa: B023, E731
            exact = mpmath.taylor(g, 0, 5)
            for c, true in zip(found[k].rows[0].coeffs(), exact, strict=False):
                assert abs(mpmath.mpf(str(c.mid().str(40, radius=False))) - true) < mpmath.mpf(10) ** -14


def test_state_jets_are_those_of_the_exponential():
    """z' = 2 z from 1 with t = h s: the coefficients are (2h)^n / n!, whatever the number of them."""
    _, field, sample = linear_problem(2.0)
    for n in (1, 2, 3, 7, 12, 20):
        with ctx.workprec(100), truncated(n):
            given = inputs.as_series(field, sample, 0, arb(0), arb(0.25))
            (row,) = jets.state_jets(field, given, [arb(1)], arb(0.25), n)
            assert len(row) == n
            assert all(c.overlaps(arb(0.5) ** k / arb(k).fac()) for k, c in enumerate(row))
            assert all(float(c.rad()) < 1e-25 for c in row)


def test_the_true_series_is_in_the_widened_one():
    """`about` a start known to 1e-3: it holds the coefficients of solutions that start 0.9e-3 away."""
    _, field, sample = linear_problem(2.0)
    effort = Effort(10, 0.3, 80)
    with ctx.workprec(80), truncated(10):
        at = trajectory.knot(field, sample, 0, arb(0), [arb(1)], 1e-3, Guess(1.0))
        z = trajectory.about(field, sample, 0, at, arb(0.125), None, effort)
        for start in (arb(1) - arb(0.0009), arb(1) + arb(0.0009)):
            exact = [start * arb(0.25) ** k / arb(k).fac() for k in range(10)]
            assert all(c.contains(e) for c, e in zip(z.rows[0].coeffs(), exact, strict=True))


def test_integral_of_a_product_is_within_its_error():
    """Geometric series, all coefficients as large as Cauchy allows, cut after 6 terms: the integral of the functions'
    product is within `outer_error` of that of the polynomials, and within a tenth of it it is not."""
    x, n = 0.3, 6
    geo, bound = bounds.tail(x, n), np.array([1.0])
    with ctx.workprec(100), truncated(n):
        row = Series([arb_series([arb(x) ** k for k in range(n)])])
        found = quadrature.outer(row, row)[0, 0]
    exact = mpmath.quad(lambda s: 1 / (1 - x * s) ** 2, [0, 1])
    missed = abs(float(exact - mpmath.mpf(found.mid().str(30, radius=False))))
    error = quadrature.outer_error(bound, np.zeros(1), bound, geo)[0, 0]
    assert missed <= error <= 20 * missed
    off = quadrature.outer_error(bound, np.array([0.01]), bound, geo)[0, 0]
    assert off >= error + 0.01, "what the costate is off by counts in full"


def test_hilbert_quadrature_is_exact_for_polynomials():
    """int (1 + 2s)(3 - s^2) ds = 3 + 3 - 1/3 - 1/2."""
    with ctx.workprec(80), truncated(4):
        p, q = Series([arb_series([1, 2])]), Series([arb_series([3, 0, -1])])
        assert quadrature.outer(p, q)[0, 0].overlaps(arb(6) - arb(1) / 3 - arb(1) / 2)


def test_an_eigenvalue_guess_is_proven():
    """A matrix that is not positive definite is not taken for one, though its float64 pivots are positive."""
    tiny = arb(1, 0.25)
    assert not lognorm._positive_definite([[arb(1), tiny], [tiny, arb(1)]])
    assert lognorm._positive_definite([[arb(2), tiny], [tiny, arb(2)]])
    assert arb_mat(1, 1, [tiny])[0, 0].rad() > 0
