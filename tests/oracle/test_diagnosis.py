"""Every planted mistake is diagnosed by its own name, and nothing is said of gradients that are right."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

import refnode as rn
from refnode.oracle.grading import grade
from refnode.oracle.problems import catalogue
from refnode.running import no_cotangent

TOLS = (1e-4, 1e-6, 1e-8)


# ---------------------------------------------------------------- problems

@lru_cache
def problem_of(name):
    """A catalogue problem, or one of those below; the same object every time, so that its truth is computed once."""
    return OWN[name]() if name in OWN else catalogue(name)[0].problem


def random_problem(field, loss, n=2, seed=7, scale=0.7, **words):
    """A model with random numbers in every leaf."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(field, **words)
    params = {name: scale * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    return rn.Problem(model, params, rng.standard_normal((3, n)), loss)


def controlled():
    """z' = f(t, z, x): x is the initial state and the control."""
    field = rn.MLP(4, 5, 2, time="first")
    return random_problem(field, rn.Loss(rn.SquaredError(np.eye(3, 2))), control="x", span=(0.25, 1.0))


def square():
    """Two square layers: W0 and W1 of one shape, and b0 and b1."""
    return random_problem(rn.MLP(2, 2, 2), rn.Loss(rn.SquaredError(np.eye(3, 2))))


def summed():
    """A loss that is summed over the batch, and an integral that is averaged."""
    terminal = rn.SquaredError(np.eye(3, 2), reduction="sum")
    return random_problem(rn.MLP(2, 3, 2, time="first"), rn.Loss(terminal, running=rn.SquaredNorm()))


def input_loss():
    """A running loss |z - x|^2, which sees x."""
    def vjp(at, g):
        g_z = 2 * g[:, None] * (at.z - at.x)
        return no_cotangent(at)._replace(z=g_z, x=-g_z)

    running = rn.UserRunning(
        fn_value=lambda at: ((at.z - at.x) ** 2).sum(axis=1),
        fn_jvp=lambda at, d: 2 * ((at.z - at.x) * (d.z - d.x)).sum(axis=1),
        fn_vjp=vjp,
    )
    return random_problem(rn.MLP(2, 3, 2, time="first"), rn.Loss(rn.SquaredError(np.eye(3, 2)), running=running))


def weighted():
    """Terminal loss and three running losses, of theta, of f and of z, with an upstream factor."""
    running = (0.05 * rn.ParameterNorm(), 0.3 * rn.Kinetic(), 0.5 * rn.SquaredNorm())
    loss = rn.Loss(rn.SquaredError(np.eye(3, 2)), running=running, scale=0.4)
    return random_problem(rn.MLP(2, 4, 2, time="first"), loss, span=(0.25, 1.25))


def contracting():
    """z' = -20 z + 3 z_perp + b: backwards, errors grow by e^30."""
    problem = random_problem(rn.MLP(2, 2), rn.Loss(rn.SquaredError(np.eye(3, 2))), span=(0.0, 1.5))
    return problem.with_leaves({"theta.W0": [[-20.0, 3.0], [-3.0, -20.0]], "theta.b0": [12.0, -8.0]})


OWN = {build.__name__: build for build in (controlled, square, summed, input_loss, weighted, contracting)}


# ---------------------------------------------------------------- mistakes, planted without the diagnosis' own code

def exact(problem, tol):
    """The gradient of every leaf."""
    return dict(rn.gradient(problem, "discrete", rn.Solver("dop853", tol=tol)).grads)


def of_loss(**parts):
    """The gradient of another loss: some parts of the loss replaced."""
    return lambda problem, tol: exact(replace(problem, loss=replace(problem.loss, **parts)), tol)


def of_running(change):
    """The gradient of a problem whose running losses are changed, one by one."""
    def gradient(problem, tol):
        running = tuple(change(term) for term in problem.loss.running)
        return exact(replace(problem, loss=replace(problem.loss, running=running)), tol)

    return gradient


def without(*arguments):
    """A running loss whose vjp forgets some arguments."""
    def change(term):
        def vjp(at, g):
            back = term.vjp(at, term.weight * g)
            return back._replace(**{name: 0 * getattr(back, name) for name in arguments})

        return rn.UserRunning(
            fn_value=lambda at: term.weight * term.value(at), fn_jvp=term.jvp, fn_vjp=vjp, reduction=term.reduction
        )

    return of_running(change)


def with_leaves(**changes):
    """The gradient with leaves changed: each value is a function of all leaves."""
    def gradient(problem, tol):
        g = exact(problem, tol)
        return g | {name.replace("_", "."): change(g, problem) for name, change in changes.items()}

    return gradient


def every(change):
    """The gradient with every leaf changed."""
    return lambda problem, tol: {name: change(g) for name, g in exact(problem, tol).items()}


def integrand(problem, t):
    """scale * sum over samples of l at an end of the span."""
    z = rn.solve(problem, rn.Solver("dop853", tol=1e-12)).z(t)
    theta, x = problem.values.alpha, problem.x
    f = problem.model.field.forward(t, z, theta, None)
    at = rn.RunningArgs(t, z, theta, x, f)
    return problem.loss.scale * sum(term.factor(len(z)) * term.value(at).sum() for term in problem.loss.running)


def theta_without_running(problem, tol):
    """dl/dtheta, explicit and through f, left out of the parameter integral, by Gauss's rule along the path."""
    g, (t0, T) = exact(problem, tol), map(float, problem.span)
    path, theta = rn.solve(problem, rn.Solver("dop853", tol=1e-12)), problem.values.alpha
    nodes, weights = np.polynomial.legendre.leggauss(30)
    total = np.zeros(theta.shape)
    for node, weight in zip(nodes, weights, strict=True):
        t = np.array(t0 + (T - t0) * (1 + node) / 2)
        z = path.z(t)
        f = problem.model.field.forward(t, z, theta, None)
        for term in problem.loss.running:
            cotangent = np.full(len(z), problem.loss.scale * term.factor(len(z)) * weight * (T - t0) / 2)
            back = term.vjp(rn.RunningArgs(t, z, theta, problem.x, f), cotangent)
            total += back.theta + problem.model.field.vjp(t, z, theta, None, back.rate)[2]
    lost = rn.arrays.unflatten(total, problem.model.field.shapes)
    return g | {f"theta.{name}": g[f"theta.{name}"] - part for name, part in lost.items()}


def some_observations(gone):
    """The gradient without the jumps at some observations."""
    def gradient(problem, tol):
        seen = problem.loss.observations
        terms = tuple(0.0 * term if k in gone else term for k, term in enumerate(seen.terms))
        return exact(replace(problem, loss=replace(problem.loss, observations=rn.Observations(seen.times, terms))), tol)

    return gradient


def detached(problem, tol):
    """x without the path through the control: the field's parameters take a frozen copy of x."""
    free = rn.UserField(
        forward=lambda t, z, theta, x: problem.model.field.forward(t, z, theta, problem.x.astype(z.dtype)),
        jvp=lambda t, z, theta, x, *d: problem.model.field.jvp(t, z, theta, problem.x, *d[:-1], 0 * problem.x),
        vjp=lambda t, z, theta, x, g: (*problem.model.field.vjp(t, z, theta, problem.x, g)[:3], None),
        shapes=problem.model.field.shapes,
        width=2,
    )
    return exact(replace(problem, model=replace(problem.model, field=free, control="none")), tol)


def noisy(problem, tol):
    """Errors of float32's size that no tolerance changes."""
    rng = np.random.default_rng(int(-np.log10(tol)))
    return {name: g * (1 + 1e-6 * rng.standard_normal(g.shape)) for name, g in exact(problem, tol).items()}


def unchecked_backsolve(problem, tol):
    """The state solved backwards although that amplifies errors by e^40."""
    return rn.gradient(problem, "backsolve", rn.Solver("dopri5", tol=tol), check=False).grads


def torchdyn_like(problem, tol):
    """The integral without the upstream scale, summed over the batch, and no dl/dtheta at all."""
    terms = tuple(replace(term, reduction="sum", weight=term.weight / problem.loss.scale)
                  for term in problem.loss.running)  # fmt: skip
    return theta_without_running(replace(problem, loss=replace(problem.loss, running=terms)), tol)


SINGLE = np.float32
PLANTED = [
    # word that must be spoken, problem, gradient
    ("dropped integral term", "own_T", of_loss(running=())),
    ("doubled integral term", "own_T", of_running(lambda term: 2 * term)),
    ("sign-flipped integral term", "own_T", of_running(lambda term: -1 * term)),
    ("dropped integral term", "weighted", of_running(lambda t: 0 * t if isinstance(t, rn.SquaredNorm) else t)),
    ("doubled integral term", "theta_running", of_running(lambda t: 2 * t if isinstance(t, rn.Tracking) else t)),
    ("dropped terminal term", "own_T", of_loss(terminal=None)),
    ("sum for mean", "mild", every(lambda g: 3 * g)),
    ("sum for mean", "own_T", of_running(lambda term: replace(term, reduction="sum"))),
    ("mean for sum", "summed", of_loss(terminal=rn.SquaredError(np.eye(3, 2)))),
    ("ignored upstream scale", "theta_running", of_loss(scale=1.0)),
    ("ignored upstream scale", "weighted", of_running(lambda term: 1 / 0.4 * term)),
    ("ignored upstream scale and sum for mean", "weighted",
     of_running(lambda term: 1 / 0.4 * replace(term, reduction="sum"))),
    ("missing dl/dtheta", "theta_running", without("theta")),
    ("missing dl/dtheta", "theta_running", theta_without_running),
    ("missing dl/dtheta", "weighted", torchdyn_like),
    ("dropped dl/df path", "theta_running", without("rate")),
    ("missing dl/dz", "theta_running", without("z")),
    ("missing dl/dx", "input_loss", without("x")),
    ("detached control", "controlled", detached),
    ("missing observation jump", "observations", some_observations(range(20))),
    ("missing observation jump", "observations", some_observations([3])),
    ("missing observation jump", "observations", some_observations([0, 7, 19])),
    ("transposed block", "linear", with_leaves(theta_W0=lambda g, p: g["theta.W0"].T)),
    ("transposed block", "concat_time", with_leaves(theta_W0=lambda g, p: g["theta.W0"].T)),
    ("swapped leaves theta.b0 and theta.b1", "square",
     with_leaves(theta_b0=lambda g, p: g["theta.b1"], theta_b1=lambda g, p: g["theta.b0"])),
    ("sign of t0", "concat_time", with_leaves(t0=lambda g, p: -g["t0"])),
    ("sign of T", "concat_time", with_leaves(T=lambda g, p: -g["T"])),
    ("missing l(T) in dT", "theta_running", with_leaves(T=lambda g, p: g["T"] - integrand(p, p["T"]))),
    ("missing l(t0) in dt0, sign of t0", "theta_running",
     with_leaves(t0=lambda g, p: -g["t0"] - integrand(p, p["t0"]))),
    ("sign of the whole gradient", "mild", every(np.negative)),
    ("halved gradient", "concat_time", every(lambda g: g / 2)),
    ("zero block", "mild", with_leaves(theta_b1=lambda g, p: 0 * g["theta.b1"])),
    ("wrong factor 0.9", "mild", with_leaves(theta_W1=lambda g, p: 0.9 * g["theta.W1"])),
    ("float32 inside", "mild", every(lambda g: g.astype(SINGLE).astype(float))),
    ("float32 inside", "mild", noisy),
    ("wrong dtype", "mild", every(lambda g: g.astype(SINGLE))),
    ("wrong dtype", "mild", every(lambda g: g.astype(complex))),
    ("wrong dtype", "mild", with_leaves(x=lambda g, p: g["x"].astype(object))),
    ("wrong shape", "mild", with_leaves(theta_b0=lambda g, p: g["theta.b0"][:, None])),
    ("NaN or infinity", "mild", with_leaves(T=lambda g, p: np.nan * g["T"])),
    ("NaN or infinity", "mild", with_leaves(x=lambda g, p: np.where(g["x"] > 0, np.inf, g["x"]))),
    ("unknown leaf", "mild", with_leaves(w=lambda g, p: g["x"])),
    ("leaf missing", "mild", lambda p, tol: {k: g for k, g in exact(p, tol).items() if k != "theta.b1"}),
    ("not tolerance-proportional", "mild", lambda p, tol: rn.gradient(p, "discrete", rn.Solver("heun", n_steps=9))),
    ("error above 1000 tol", "concat_time", lambda p, tol: rn.gradient(p, "discrete", rn.Solver(tol=1e5 * tol))),
    ("blow-up", "contracting", unchecked_backsolve),
]  # fmt: skip


STANDARD = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)
OTHER_TOLS = {"float32 inside": STANDARD, "error above 1000 tol": STANDARD[2:], "blow-up": STANDARD[:2]}


def test_float32_is_found_beside_another_mistake():
    """A leaf that is plainly wrong does not hide that the others level off at seven digits."""
    def gradient(problem, tol):
        g = noisy(problem, tol)
        return g | {"t0": 0.7 * g["t0"]}

    findings = grade(gradient, problem_of("mild"), STANDARD).problems[0].findings
    assert [finding.word for finding in findings] == ["float32 inside"]


@pytest.mark.parametrize(("word", "name", "gradient"), PLANTED, ids=[f"{word}, {name}" for word, name, _ in PLANTED])
def test_planted_mistake_is_named(word, name, gradient):
    """The mistake's name is spoken, and no other."""
    report = grade(gradient, problem_of(name), OTHER_TOLS.get(word, TOLS))
    assert {finding.word for finding in report.problems[0].findings} == {word}, str(report)
    assert report.ok == (word == "leaf missing")


# ---------------------------------------------------------------- nothing to say

SMALL, LARGER = ("exp", "linear", "cosine", "square", "summed"), ("mild", "own_T", "weighted", "controlled")
QUIET = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)]


@pytest.mark.parametrize("method", rn.METHODS)
@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_said_of_refnodes_own_methods(method, name):
    """All nine methods at three tolerances pass, and no diagnosis is spoken."""
    report = grade(lambda p, tol: rn.gradient(p, method, rn.Solver("dopri5", tol=tol)), problem_of(name), TOLS)
    assert report.ok, str(report)
    assert not report.problems[0].findings


def rk4_complex_step(problem, tol):
    """Somebody else's library: RK4 with as many equal steps as the tolerance asks for, and the complex step."""
    field, leaves, n = problem.model.field, problem.leaves(), int(tol**-0.25) + 1

    def loss(leaf):
        def f(t, z):
            for k in range(field.depth):
                z = np.tanh(z) if k else z
                with_t = field.time == "every" or (field.time == "first" and k == 0)
                z = np.column_stack([z, np.full(len(z), t)]) if with_t else z
                z = z @ leaf[f"theta.W{k}"] + (leaf[f"theta.b{k}"] if field.bias else 0)
            return z

        z, h = leaf["x"], (leaf["T"] - leaf["t0"]) / n
        for t in leaf["t0"] + h * np.arange(n):
            k1 = f(t, z)
            k2 = f(t + h / 2, z + h / 2 * k1)
            k3 = f(t + h / 2, z + h / 2 * k2)
            k4 = f(t + h, z + h * k3)
            z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return ((z - problem.loss.terminal.target) ** 2).sum() / len(z)

    grads = {name: np.zeros(leaf.shape) for name, leaf in leaves.items()}
    for name, leaf in leaves.items():
        for index in np.ndindex(leaf.shape):
            moved = leaf.astype(complex)
            moved[index] += 1e-30j
            grads[name][index] = np.imag(loss(leaves | {name: moved})) / 1e-30
    return grads


@pytest.mark.parametrize("name", ["exp", "linear", "square", "concat_time"])
def test_nothing_is_said_of_another_right_library(name):
    """A discrete gradient that shares no code with refnode passes; its error follows the tolerance."""
    report = grade(rk4_complex_step, problem_of(name), TOLS)
    assert report.ok, str(report)
    assert not report.problems[0].findings
    assert 0.8 < report.problems[0].slope < 1.2


def test_zero_gradients_have_no_scale():
    """Where every gradient is exactly zero, right is right, and what is not zero is wrong without a diagnosis."""
    assert grade(exact, "zero", TOLS).ok
    report = grade(with_leaves(theta_b0=lambda g, p: g["theta.b0"] + 1e-3), "zero", TOLS)
    assert not report.ok
    assert not report.problems[0].findings


def test_huge_numbers_are_no_crash():
    """Numbers near the largest float64 are graded like others."""
    report = grade(every(lambda g: np.full(g.shape, 1e308)), problem_of("square"), TOLS)
    assert not report.ok


def test_an_explanation_that_would_spoil_what_is_right_is_not_spoken():
    """theta as if the integral were dropped, x right: no known mistake does that, so nothing is said."""
    def gradient(problem, tol):
        return of_loss(running=())(problem, tol) | {leaf: exact(problem, tol)[leaf] for leaf in ("x", "t0", "T")}

    problem = grade(gradient, problem_of("own_T"), TOLS).problems[0]
    assert problem.verdict.startswith("wrong: theta.")
    assert not problem.findings


def test_mistakes_that_a_problem_cannot_tell_apart_are_both_said():
    """Where l depends on z alone, dropping dl/dz or all of l differs in T only; without T both are named."""
    def gradient(problem, tol):
        g = of_loss(running=())(problem, tol)
        return {leaf: g[leaf] for leaf in problem.params}

    (finding,) = grade(gradient, problem_of("own_T"), TOLS).problems[0].findings
    assert finding.word == "dropped integral term"
    assert "on this problem the same as: missing dl/dz" in finding.where


def test_a_mistake_of_the_costate_need_not_reach_the_ends():
    """torchdyn's integral loss: named by a fit for theta and x, while dT is that of the right H without l."""
    def gradient(problem, tol):
        g = torchdyn_like(problem, tol)
        return g | {"T": exact(problem, tol)["T"] - integrand(problem, problem["T"])}

    findings = grade(gradient, problem_of("weighted"), TOLS).problems[0].findings
    assert [finding.word for finding in findings] == ["missing dl/dtheta", "missing l(T) in dT"]
    assert "integral summed for averaged, without scale" in findings[0].where


def test_two_mistakes_at_once_are_both_found():
    """A dropped integral, and the wrong sign of what is then dt0."""
    def gradient(problem, tol):
        g = of_loss(running=())(problem, tol)
        return g | {"t0": -g["t0"]}

    findings = grade(gradient, problem_of("theta_running"), TOLS).problems[0].findings
    assert [finding.word for finding in findings] == ["dropped integral term", "sign of t0"]
