"""Gradients by Taylor's method are right to the digits they claim, and a problem they do not take is refused."""

import pickle
from dataclasses import replace
from decimal import Context, Decimal, localcontext

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import refnode as rn
from refnode.errors import NotEnoughDigits, NotProvable
from refnode.oracle.closed_forms import PRECISION, _recipe, _slope, exact
from refnode.oracle.entry import drawn_problem, normal
from refnode.oracle.ladder import consensus
from refnode.oracle.problems import CATALOGUE
from refnode.oracle.taylor import gate, verify
from refnode.oracle.taylor.gradient import taylor_gradient
from refnode.oracle.taylor.solve import Precision, setup
from refnode.oracle.taylor.sweeps import Steps
from tests.any_problem import problems

CLOSED = ("exp", "linear", "cosine", "reflection", "stacked_linear")
HARD = (
    "mild", "contracting", "stiff", "expanding", "theta_running", "galerkin_fourier", "adaptive_depth", "everything",
)  # fmt: skip
SLOW = tuple(name for name in CATALOGUE if name not in (*HARD, *CLOSED, "relu"))
FINER = Precision(48, Steps(-80.0, 0.35))  # another order, terms below 1e-34, a third of the length


def problem_of(name):
    """A catalogue problem."""
    return CATALOGUE[name]().problem


def assert_within(truth, want, exactly=1):
    """Every entry of every leaf is within the claimed radius of what it should be, and claims at least 28 digits."""
    assert set(truth.mid) == set(want)
    largest = max(float(np.max(np.abs(g), initial=0.0)) for g in truth.grads.values())
    for name, mid in truth.mid.items():
        error = np.abs(np.asarray(mid - want[name], dtype=object).astype(np.float64))
        assert np.all(error <= exactly * truth.radius[name]), (name, error.max(), truth.radius[name].max())
        scale = float(np.max(np.abs(truth.grads[name]), initial=0.0)) or largest
        assert np.max(truth.radius[name], initial=0.0) <= 1e-28 * scale, name
        assert np.array_equal(truth.grads[name], mid.astype(np.float64))


# ---------------------------------------------------------------- against closed forms, to all digits

@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name):
    """The exact gradient, in Decimals of 60 digits, lies within the radius: every leaf has 28 digits or more."""
    problem = problem_of(name)
    with localcontext(Context(prec=PRECISION)):
        leaves = {leaf: exact(value) for leaf, value in problem.leaves().items()}
        want = _recipe(problem)(leaves, _slope(problem))
        assert_within(verify(problem), {leaf: np.asarray(g, dtype=object) for leaf, g in want.items()})


# ---------------------------------------------------------------- against another order and step

def finer(problem):
    """The gradient by series of 48 terms and steps a third as long."""
    with localcontext(Context(prec=60)):
        return taylor_gradient(setup(problem), FINER)


def assert_covers(problem):
    """A finer run lies within twice the radius: its own round-off, of more steps, is of the radius's kind."""
    truth, best = verify(problem), finer(problem)
    assert_within(truth, best.grads, 2)
    assert abs(float(truth.loss - best.loss)) <= 2 * truth.loss_radius


def assert_agrees(problem):
    """The float64 consensus agrees within its own radius."""
    truth, rough = verify(problem), consensus(problem)
    for name, g in rough.grads.items():
        assert np.all(np.abs(truth.grads[name] - g) <= rough.radius[name] + truth.radius[name]), name


@pytest.mark.parametrize("name", HARD)
def test_radius_covers_a_finer_run(name):
    """The disagreement of orders and steps is an honest radius on what contracts, is stiff, turns, or has it all."""
    assert_covers(problem_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_whole_catalogue(name):
    """Every other problem too; and the float64 consensus, which knows nothing of series, agrees."""
    assert_covers(problem_of(name))
    assert_agrees(problem_of(name))


@pytest.mark.parametrize("name", ["theta_running", "galerkin_monomial", "everything"])
def test_consensus_agrees(name):
    """Four float64 gradients agree with the Taylor gradient to what they claim."""
    assert_agrees(problem_of(name))


@pytest.mark.slow
def test_long_cycle():
    """Sixteen turns of a limit cycle, T = 100: still 28 digits."""
    cycle = problem_of("cycle")
    loss = rn.Loss(rn.SquaredError(normal((2, 2), 5)))
    assert_covers(rn.Problem(cycle.model, cycle.params, cycle.x[:2], loss, (0.0, 100.0)))


# ---------------------------------------------------------------- against another solver, to 28 digits

def test_mpmath_witness():
    """mpmath's odefun on state, sensitivities and loss of a network that sees t agrees to 26 digits.

    z' = w tanh(v z + c t + b) and its derivative in v, c, b, w and z(0), with a running loss |z|^2 / 2; two samples.
    odefun is asked for 30 digits, of which its own error estimate may lose a few.
    """
    model = rn.NeuralODE(rn.MLP(1, 1, 1, time="first", bias=True), span=(0.25, 1.0))
    params = {"theta.W0": [[0.75], [-0.5]], "theta.b0": [0.25], "theta.W1": [[1.25]], "theta.b1": [-0.125]}
    x = np.array([[0.5], [-0.75]])
    running = rn.SquaredNorm(weight=0.5, reduction="sum")
    loss = rn.Loss(rn.SquaredError([[0.25], [1.0]], reduction="sum"), running=running)
    truth = verify(rn.Problem(model, params, x, loss))
    with mpmath.workdps(36):
        v, c, b, w, e = (mpmath.mpf(n) for n in (0.75, -0.5, 0.25, 1.25, -0.125))

        def rhs(t, y):  # z, q, then dz and dq in v, c, b, w, e, x
            z, h = y[0], mpmath.tanh(v * y[0] + c * t + b)
            slope = w * (1 - h * h)
            own = [slope * z, slope * t, slope, h, 1, 0]
            dz = [g + slope * v * s for g, s in zip(own, y[2:8], strict=True)]
            return [w * h + e, z * z / 2, *dz, *(z * s for s in y[2:8])]

        want = np.zeros(6, dtype=object)
        per_x = []
        for start, target in zip(x[:, 0], (0.25, 1.0), strict=True):
            y = mpmath.odefun(rhs, 0.25, [mpmath.mpf(start), 0, *[0] * 5, 1, *[0] * 6], tol=mpmath.mpf(10) ** -31)(1)
            g = [2 * (y[0] - target) * s + q for s, q in zip(y[2:8], y[8:14], strict=True)]
            want, per_x = want + np.array(g, dtype=object), [*per_x, g[5]]
        names = [("theta.W0", 0), ("theta.W0", 1), ("theta.b0", 0), ("theta.W1", 0), ("theta.b1", 0)]
        found = [truth.mid[name].ravel()[k] for name, k in names] + list(truth.mid["x"].ravel())
        for got, should in zip(found, [*want[:5], *per_x], strict=True):
            assert abs(mpmath.mpf(str(got)) - should) <= mpmath.mpf(10) ** -26 * abs(should)


# ---------------------------------------------------------------- ends

def test_span_of_length_zero():
    """T = t0: no depth for theta to act in, dloss/dx is the loss's own slope, dloss/dT = a . f + l, dloss/dt0 its
    opposite."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2, time="first"), span=(0.5, 0.5))
    x, target = normal((2, 2), 1), normal((2, 2), 2)
    problem = drawn_problem(model, 3)
    loss = rn.Loss(rn.SquaredError(target), running=0.5 * rn.SquaredNorm())
    problem = rn.Problem(model, problem.params, x, loss)
    truth = verify(problem)
    theta = np.concatenate([problem.params[f"theta.{leaf}"].ravel() for leaf in model.field.shapes])
    f, g = model.field.forward(np.array(0.5), x, theta), x - target
    assert not any(np.any(truth.grads[name]) for name in truth.grads if name.startswith("theta"))
    assert np.allclose(truth.grads["x"], g, rtol=4e-16, atol=0)
    rate = float((g * f).sum() + 0.5 * (x**2).sum() / 2)
    assert truth.grads["T"] == pytest.approx(rate, rel=1e-14)
    assert truth.mid["t0"][()] == truth.mid["T"][()].copy_negate()
    assert float(truth.loss) == pytest.approx(float((g**2).sum() / 2), rel=1e-15)


def test_there_and_back():
    """Depth turned round, t -> -t with f -> -f, is the same problem: same loss, same dloss/dx."""
    there = drawn_problem(rn.NeuralODE(rn.MLP(2, 4, 2), span=(0.25, 1.5)), 7)
    params = {**there.params, "theta.W1": -there.params["theta.W1"], "theta.b1": -there.params["theta.b1"]}
    back = replace(there, params=params, span=(-0.25, -1.5))
    one, other = verify(there), verify(back)
    turned = ("T", "t0", "theta.W1", "theta.b1")
    with localcontext(Context(prec=PRECISION)):  # even a minus rounds
        assert_within(one, {leaf: -g if leaf in turned else g for leaf, g in other.mid.items()}, 2)
    assert abs(float(one.loss - other.loss)) <= one.loss_radius + other.loss_radius


# ---------------------------------------------------------------- any problem

def has_no_series(problem):
    """Whether something in a problem that a file can hold has kinks, or is one of torchdyn's bases."""
    model = problem.model
    networks = [model.field, getattr(model.h_x, "mlp", None), getattr(model.h_y, "mlp", None)]
    networks.append(model.adaptive.network if model.adaptive else None)
    kinks = any(isinstance(mlp, rn.MLP) and mlp.depth > 1 and mlp.act == "relu" for mlp in networks)
    return kinks or "Torchdyn" in repr(model.depth)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(problems())
def test_any_problem(problem):
    """Any problem that a file can hold is verified to 20 digits, in agreement with the quadrature adjoint, or refused.

    Not with a discrete adjoint: its steps follow the state, which does not show what a coefficient that is zero may do.
    The quadrature claims tol, of the costate and of the integrals; ten times that is allowed, of all that is added up.
    """
    if has_no_series(problem):
        with pytest.raises(NotProvable, match=r"relu|Torchdyn"):
            verify(problem)
        return
    truth = verify(problem, 20)
    rough = rn.gradient(problem, "quadrature", rn.Solver("dop853", tol=1e-10), backend="numpy")
    with localcontext(Context(prec=60)):
        sizes = taylor_gradient(setup(problem), FINER).sizes
    largest = max(float(np.max(size, initial=0.0)) for size in sizes.values())
    for name, g in rough.grads.items():
        assert np.max(np.abs(g - truth.grads[name]), initial=0.0) <= 1e-9 * largest, name


# ---------------------------------------------------------------- refusals

def small(**words):
    """A small problem."""
    return drawn_problem(rn.NeuralODE(words.pop("field", rn.MLP(2, 3, 2)), **words), 5)


def user_field():
    """The zero field, by functions."""
    return rn.UserField(
        lambda t, z, theta, x: 0 * z,
        lambda t, z, theta, x, dt, dz, dtheta, dx: 0 * dz,
        lambda t, z, theta, x, g: (np.zeros(len(z)), 0 * z, 0 * theta, None),
        {"k": (1,)}, 2,
    )  # fmt: skip


def refused():
    """Problems that are not taken, and what the reason must say."""
    plain = small()
    yield "relu", small(field=rn.MLP(2, 3, 2, act="relu"))
    yield "h_y has the activation 'relu'", small(h_y=rn.MLP(2, 3, 2, act="relu"))
    yield "depth has the activation", small(span=(0.0, rn.AdaptiveDepth(rn.MLP(2, 3, 1, act="relu"))))
    yield "TorchdynFourier", small(theta=rn.Galerkin(rn.TorchdynFourier(2), interval=(0.0, 1.0)))
    model = rn.NeuralODE(user_field())
    yield "UserField", rn.Problem(model, {"theta.k": [0.0]}, plain.x, plain.loss)
    own = rn.UserLoss(lambda t, y: y.sum(axis=1), lambda t, y: (np.zeros(len(y)), np.ones(y.shape)))
    yield "UserLoss", replace(plain, loss=rn.Loss(own))


def test_refusals():
    """What has no known Taylor series is refused, with the reason in words; the error pickles."""
    for reason, problem in refused():
        with pytest.raises(NotProvable, match=reason) as caught:
            verify(problem)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_too_many_digits():
    """Digits that are not there are not given: the error names the leaf and what it has."""
    with pytest.raises(NotEnoughDigits, match=r"31 digits were asked for; .* has 2\d\.\d by double-double"):
        verify(problem_of("everything"), 31)
    for digits in (0, 32, True, "all"):
        with pytest.raises(rn.InvalidArgument, match="digits"):
            verify(problem_of("exp"), digits)


def test_gate_sees_a_coarse_run(monkeypatch):
    """One run of three whose steps are too long shows in the radius, and in an error where digits are asked for."""
    coarse = Precision(12, Steps(-20.0, 1.0))
    monkeypatch.setattr(gate, "RUNS", (*gate.RUNS[:2], coarse))
    truth = verify(problem_of("mild"), 3)
    assert all(np.all(truth.radius[name] > 1e-14 * np.max(np.abs(g))) for name, g in truth.grads.items())
    with pytest.raises(NotEnoughDigits, match="two orders"):
        verify(problem_of("mild"))


def test_zeros_are_zero():
    """A gradient that is zero by cancellation is reported as zero, with a radius, and does not want for digits."""
    truth = verify(problem_of("adaptive_follows"))
    assert truth.mid["t0"][()] == Decimal(0)
    assert 0 < truth.radius["t0"] < 1e-28 * max(float(np.max(np.abs(g))) for g in truth.grads.values())
    truth = verify(problem_of("zero"))
    assert not any(np.any(g) for g in truth.grads.values())
    assert not any(np.any(r) for r in truth.radius.values())
