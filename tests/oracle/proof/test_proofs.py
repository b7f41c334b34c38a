"""Proofs hold the truth: closed forms, witnesses from outside, tighter proofs; and what cannot be proven is refused."""

from dataclasses import replace
from decimal import Decimal, localcontext
from importlib import util

import mpmath
import numpy as np
import pytest

import refnode as rn
from refnode.errors import BackendUnavailable, NotProvable
from refnode.oracle import closed_forms
from refnode.oracle.problems import CATALOGUE, catalogue
from refnode.oracle.proof import attempts, prove, prove_parts, prove_samples
from refnode.oracle.proof.attempts import attempt, effort_for, uncapped
from refnode.oracle.proof.trajectory import Effort
from validation import containment

CLOSED = ("exp", "linear", "cosine", "reflection", "stacked_linear")


def exact_leaves(problem):
    """The gradient in closed form, as Decimals of 60 digits."""
    with localcontext() as context:
        context.prec = closed_forms.PRECISION
        leaves = {name: closed_forms.exact(leaf) for name, leaf in problem.leaves().items()}
        return closed_forms._recipe(problem)(leaves, closed_forms._slope(problem))


def assert_holds(truth, exact, doubt=Decimal(10) ** -45):
    """Every number of every leaf is within its radius; doubt is what the closed form's 60 digits may be off by."""
    with localcontext() as context:
        context.prec = 80
        for leaf, mid in truth.mid.items():
            pairs = zip(np.ravel(mid), np.ravel(truth.radius[leaf]), np.ravel(exact[leaf]), strict=True)
            for m, r, true in pairs:
                assert abs(m - true) <= Decimal(float(r)) + doubt * (1 + abs(true)), (leaf, m, r, true)


# ---------------------------------------------------------------- closed forms

@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("digits", [5, 25])
def test_closed_form_is_enclosed(name, digits):
    """Few digits and more than float64 has: each enclosure holds the closed form, and has the digits."""
    (entry,) = catalogue(name)
    truth = prove(entry.problem, digits)
    assert truth.kind == "proven"
    assert_holds(truth, exact_leaves(entry.problem))
    scale = truth.scales()
    assert min(uncapped(np.max(r), scale[leaf]) for leaf, r in truth.radius.items()) >= digits


@pytest.mark.parametrize("effort", [Effort(5, 0.3, 30), Effort(9, 0.5, 24), Effort(3, 0.05, 53), Effort(20, 0.7, 40)])
@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_is_in_loose_enclosures(name, effort):
    """With few terms, long steps or few bits the enclosures are wide and hold the closed form still."""
    (entry,) = catalogue(name)
    found = attempt(entry.problem, [(True, True)], effort)
    assert_holds(found.truth(found.total(0)), exact_leaves(entry.problem))


# ---------------------------------------------------------------- tighter proofs

@pytest.mark.parametrize("number", [0, 1, 2, 3, 6, 7, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 5, 8, 9))])
def test_loose_enclosures_hold_tight_ones(number):
    """Random problems of every kind: what many terms and bits give is in what few give (see validation.containment)."""
    tally = containment.Tally()
    rng = np.random.default_rng([2024, number])
    problem = None
    while problem is None:
        try:
            problem = containment.draw(rng)
        except rn.InvalidArgument:
            continue
    containment.check(problem, [containment.LOOSE[number % 4]], tally)
    assert tally.violations == 0
    assert tally.checks + tally.refused > 0


def test_a_wrong_enclosure_is_noticed():
    """The comparison has teeth: a midpoint moved by twice the radii is a violation."""
    (entry,) = catalogue("exp")
    found = attempt(entry.problem, [(True, True)], Effort(8, 0.2, 60))
    loose, tight = found.truth(found.total(0)), prove(entry.problem, 25)
    assert containment.disagreements(loose, tight)[1] == 0
    moved = {leaf: mid + Decimal(3 * float(np.max(loose.radius[leaf]))) for leaf, mid in loose.mid.items()}
    wrong = rn.Truth(loose.grads, loose.radius, "proven", "", moved, loose.loss, loose.loss_radius)
    checks, misses = containment.disagreements(wrong, tight)
    assert misses == checks - 1  # all but the loss


# ---------------------------------------------------------------- witnesses

def witness_loss(leaf, target, batch):
    """The loss of `witness_problem` by mpmath: its own Taylor integrator, formulas written out here."""
    total = mpmath.mpf(0)
    for i in range(batch):
        def f(t, z):
            h = [mpmath.tanh(sum(v * W for v, W in zip([*z[:2], t], column, strict=True)) + b)
                 for column, b in zip(leaf["W0"], leaf["b0"], strict=True)]  # fmt: skip
            u = [sum(v * W for v, W in zip(h, column, strict=True)) + b
                 for column, b in zip(leaf["W1"], leaf["b1"], strict=True)]  # fmt: skip
            return [*u, z[0] ** 2 + z[1] ** 2 + (u[0] ** 2 + u[1] ** 2) / 2]

        z = mpmath.odefun(f, leaf["t0"], [*leaf["x"][i], mpmath.mpf(0)])(leaf["T"])
        total += sum((a - b) ** 2 for a, b in zip(z[:2], target[i], strict=True)) + z[2]
    return total / batch


def witness_problem():
    """2-2-2 tanh with time input, terminal and running losses."""
    rng = np.random.default_rng(11)
    model = rn.NeuralODE(rn.MLP(2, 2, 2, time="first"), span=(0.25, 0.5))
    params = {name: rng.normal(size=shape) for name, shape in model.shapes.items()}
    target = rng.normal(size=(2, 2))
    loss = rn.Loss(rn.SquaredError(target), running=(rn.SquaredNorm(), 0.5 * rn.Kinetic()))
    return rn.Problem(model, params, rng.normal(size=(2, 2)), loss), target


def test_mpmath_is_enclosed():
    """Loss by mpmath.odefun, and its difference quotient along a direction through every leaf, at 24 digits.

    The step 1e-7 leaves h^2 / 6 of the third derivative, about 1e-13; the integrator is good to 1e-22 / 1e-7.
    """
    problem, target = witness_problem()
    truth = prove(problem, 18)
    names = {"theta.W0": "W0", "theta.b0": "b0", "theta.W1": "W1", "theta.b1": "b1", "x": "x", "t0": "t0", "T": "T"}
    rng = np.random.default_rng(12)
    direction = {leaf: rng.normal(size=a.shape) for leaf, a in problem.leaves().items()}
    with mpmath.workdps(24):
        def at(h):
            leaf = {}
            for full, short in names.items():
                moved = [mpmath.mpf(float(a)) + h * mpmath.mpf(float(d))
                         for a, d in zip(problem[full].ravel(), direction[full].ravel(), strict=True)]  # fmt: skip
                a = np.array(moved, dtype=object).reshape(problem[full].shape)
                leaf[short] = a.T if a.ndim == 2 and short != "x" else a if a.ndim else a[()]
            return witness_loss(leaf, target.tolist(), 2)

        assert abs(at(0) - mpmath.mpf(str(truth.loss))) <= truth.loss_radius + 1e-20
        h = mpmath.mpf(10) ** -7
        slope = (at(h) - at(-h)) / (2 * h)
        along = sum(mpmath.mpf(str(g)) * mpmath.mpf(float(d)) for leaf, mid in truth.mid.items()
                    for g, d in zip(mid.ravel(), direction[leaf].ravel(), strict=True))  # fmt: skip
    assert abs(float(slope - along)) < 1e-12


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in ("theta_running", "stacked", "cnf", "backwards", "second_order")
                  else pytest.mark.slow) for n in CATALOGUE if n not in ("relu", "cycle", "stiff")],
)  # fmt: skip
def test_float64_agrees(name):
    """Every problem of the catalogue: 8 digits are proven, and a float64 gradient at 1e-11 lies within 1e-8 of them.

    The quadrature adjoint shares no line with the proof but the problem; 1e-11 leaves it three digits of room.
    """
    (entry,) = catalogue(name)
    truth = prove(entry.problem, 8)
    got = rn.gradient(entry.problem, "quadrature", rn.Solver("dop853", tol=1e-11), rtol=1e-10)
    scale, largest = truth.scales(entry.faint), max(truth.scales().values())
    for leaf, mid in truth.grads.items():
        room = 1e-8 * (largest if name == "contracting" else scale[leaf])  # there x is faint: see the catalogue's claim
        assert np.all(np.abs(got.grads[leaf] - mid) <= truth.radius[leaf] + room), leaf
    assert abs(got.loss - float(truth.loss)) <= 1e-8 * abs(got.loss) + truth.loss_radius


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stiff", "cycle"])
def test_stiff_and_long_problems(name):
    """The problems that take longest, their first sample alone: the float64 gradient lies within 1e-8 of 5 digits."""
    (entry,) = catalogue(name)
    whole = entry.problem
    loss = rn.Loss(rn.SquaredError(whole.loss.terminal.target[:1]))
    problem = rn.Problem(whole.model, whole.params, whole.x[:1], loss)
    truth, got = prove(problem, 5), rn.gradient(problem, "quadrature", rn.Solver("dop853", tol=1e-11), rtol=1e-10)
    for leaf, mid in truth.grads.items():
        room = 1e-8 * np.max(np.abs(got.grads["theta.W0"]))
        assert np.all(np.abs(got.grads[leaf] - mid) <= truth.radius[leaf] + room), leaf


# ---------------------------------------------------------------- parts, samples, digits

def test_parts_add_up():
    """Terminal and integral parts, each proven, sum to the whole; the loss too; parts without a loss are zero."""
    (entry,) = catalogue("stacked")
    whole, parts = prove(entry.problem, 10), prove_parts(entry.problem, 10)
    assert list(parts) == ["terminal", "integral"]
    for leaf, mid in whole.mid.items():
        gap = np.abs(np.asarray(parts["terminal"].mid[leaf] + parts["integral"].mid[leaf] - mid).astype(float))
        room = whole.radius[leaf] + parts["terminal"].radius[leaf] + parts["integral"].radius[leaf]
        assert np.all(gap <= room), leaf
    (mild,) = catalogue("mild")
    alone = prove_parts(mild.problem, 8)["integral"]
    assert alone.loss == 0
    assert all(np.all(r == 0) and np.all(alone.grads[leaf] == 0) for leaf, r in alone.radius.items())


def test_samples_add_up():
    """What the samples contribute sums to the whole; a sample's x has its own row only, its T its own entry."""
    (entry,) = catalogue("own_T")
    whole, samples = prove(entry.problem, 10), prove_samples(entry.problem, 10)
    assert len(samples) == entry.problem.batch
    for leaf, mid in whole.mid.items():
        gap = np.abs(np.asarray(sum(s.mid[leaf] for s in samples) - mid).astype(float))
        assert np.all(gap <= whole.radius[leaf] + sum(s.radius[leaf] for s in samples)), leaf
    for i, sample in enumerate(samples):
        others = np.arange(entry.problem.batch) != i
        assert np.all(sample.grads["x"][others] == 0)
        assert np.all(sample.radius["T"][others] == 0)
        assert sample.grads["T"][i] != 0


@pytest.mark.parametrize("digits", [3, 12, 30, pytest.param(60, marks=pytest.mark.slow)])
def test_digits_are_there(digits):
    """As many digits as are asked for, in every leaf."""
    problem, _ = witness_problem()
    truth = prove(problem, digits)
    scale = truth.scales()
    assert min(uncapped(np.max(r), scale[leaf]) for leaf, r in truth.radius.items()) >= digits
    assert all(truth.grads[leaf].dtype == np.float64 for leaf in truth.grads)
    for leaf, mid in truth.mid.items():
        assert np.array_equal(truth.grads[leaf], mid.astype(float)), "nearest float64 of the midpoint"


def test_a_first_attempt_that_falls_short_is_followed_by_another(monkeypatch):
    """Beginning with two digits fewer than asked for, the proof still ends with as many."""
    monkeypatch.setattr(attempts, "GUARD", -2)
    problem, _ = witness_problem()
    truth = prove(problem, 12)
    scale = truth.scales()
    assert min(uncapped(np.max(r), scale[leaf]) for leaf, r in truth.radius.items()) >= 12


def test_digits_of_every_sample():
    """samples=True holds every sample's contribution to the digits, those beyond float64 too."""
    problem, _ = witness_problem()
    assert prove(problem, 20, samples=True).kind == "proven"
    for truth in prove_samples(problem, 20):
        assert max(float(np.max(r)) for r in truth.radius.values()) < 1e-18


def test_zero_gradient_is_proven_to_be_zero():
    """The catalogue's zero problem: radius and midpoint are zero, not small."""
    (entry,) = catalogue("zero")
    truth = prove(entry.problem, 20)
    assert all(np.all(r == 0) for r in truth.radius.values())
    assert all(np.all(g == 0) for g in truth.grads.values())


def test_no_span():
    """T = t0: z(T) = x, so that dloss/dx is the loss's own and dloss/dT = a . f, proven."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2), span=(0.5, 0.5))
    rng = np.random.default_rng(3)
    target, x = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    problem = rn.Problem(model, model.init(rng), x, rn.Loss(rn.SquaredError(target, reduction="sum")))
    truth = prove(problem, 15)
    assert np.allclose(truth.grads["x"], 2 * (x - target), rtol=1e-15, atol=0)
    f = model.field.forward(np.array(0.5), x, problem.values.alpha)
    assert np.isclose(truth.grads["T"], np.sum(2 * (x - target) * f), rtol=1e-13)
    assert truth.grads["t0"] == -truth.grads["T"]


def test_missing_digits_are_refused_with_the_reason(monkeypatch):
    """Where no attempt is left, the error says how many digits there are, and in which leaf."""
    problem, _ = witness_problem()
    monkeypatch.setattr(attempts, "GUARD", -6)
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    with pytest.raises(rn.NotEnoughDigits, match=r"20 digits were asked for; the proof has 1\d\.\d, in "):
        prove(problem, 20)


def test_too_many_steps_are_refused():
    """Three steps do not reach T."""
    (entry,) = catalogue("mild")
    with pytest.raises(rn.TooManySteps, match="more than 2 steps"):
        attempt(entry.problem, [(True, True)], replace(effort_for(12, 10), max_steps=2))


# ---------------------------------------------------------------- refusals

def plain(field, **words):
    """A problem of a field on two samples."""
    model = rn.NeuralODE(field, **words)
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=shape) for name, shape in model.shapes.items()}
    return rn.Problem(model, params, rng.normal(size=(2, 2)), rn.Loss(rn.StandardNormal()))


def test_relu_is_refused_with_the_reason():
    """ReLU has no Taylor series across its kinks, in the field as in the maps."""
    for problem in (plain(rn.MLP(2, 3, 2, act="relu")), plain(rn.MLP(2, 3, 2), h_y=rn.MLP(2, 3, 2, act="relu"))):
        with pytest.raises(NotProvable, match="act='relu', which is not analytic"):
            prove(problem)


def test_relu_without_a_hidden_layer_is_affine():
    """An MLP without hidden layers uses no activation: nothing to refuse."""
    assert prove(plain(rn.MLP(2, 2, act="relu")), 8).kind == "proven"


def test_functions_of_your_own_are_refused():
    """Fields, running losses, point losses and paths given as functions have values, not enclosures."""
    field = rn.MLP(2, 3, 2)
    own = rn.UserField(field.forward, field.jvp, field.vjp, field.shapes, 2)
    with pytest.raises(NotProvable, match="UserField: functions give values, not enclosures"):
        prove(plain(own))
    problem = plain(field)
    squares = rn.UserLoss(lambda t, y: (y**2).sum(axis=1), lambda t, y: (np.zeros(len(y)), 2 * y))
    with pytest.raises(NotProvable, match="UserLoss"):
        prove(rn.Problem(problem.model, problem.params, problem.x, rn.Loss(squares)))
    running = rn.UserRunning(
        lambda at: (at.z**2).sum(axis=1), lambda at, d: 2 * (at.z * d.z).sum(axis=1),
        lambda at, g: rn.no_cotangent(at)._replace(z=2 * g[:, None] * at.z),
    )  # fmt: skip
    with pytest.raises(NotProvable, match=r"running\[0\], a UserRunning"):
        prove(rn.Problem(problem.model, problem.params, problem.x, rn.Loss(running=running)))


def test_numbers_that_float64_bounds_cannot_carry_are_refused():
    """A weight of 1e-40 is named."""
    problem = plain(rn.MLP(2, 2, 2))
    small = problem.with_leaves({"theta.W0": 1e-40 * problem["theta.W0"]})
    with pytest.raises(NotProvable, match=r"theta.W0 has numbers beyond 1e-30 .. 1e30"):
        prove(small)


def test_powers_that_are_not_whole_are_refused():
    """torchdyn's polynomial basis is not analytic at 0."""
    with pytest.raises(NotProvable, match="TorchdynPolynomial"):
        prove(plain(rn.MLP(2, 2, 2), theta=rn.Galerkin(rn.TorchdynPolynomial(3), interval=(0.0, 1.0))))


@pytest.mark.parametrize("digits", [0, -3, True, "ten", 101, float("inf")])
def test_digits_must_be_possible(digits):
    """A wrong digits argument is named."""
    with pytest.raises(rn.InvalidArgument, match="digits: got"):
        prove(plain(rn.MLP(2, 2)), digits)


def test_problem_must_be_one():
    """A catalogue entry is not a problem."""
    with pytest.raises(rn.InvalidArgument, match="problem: got"):
        prove(catalogue("exp")[0])


def test_without_flint_the_extra_is_named(monkeypatch):
    """Where python-flint is not installed, the error says how to get it."""
    found = util.find_spec
    monkeypatch.setattr("refnode.oracle.proof.find_spec", lambda name: None if name == "flint" else found(name))
    with pytest.raises(BackendUnavailable, match=r"pip install 'refnode\[proof\]'"):
        prove(plain(rn.MLP(2, 2)))


def test_refnode_imports_without_flint():
    """Neither refnode nor its proofs' front door import flint before a proof is asked for."""
    import subprocess
    import sys

    code = "import sys; import refnode, refnode.oracle.proof; sys.exit('flint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
