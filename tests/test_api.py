"""solve and gradient do what they say, choose a backend by name, and measure digits one way.

The closed form is z' = k cos(t) z, z(t) = x exp(k (sin t - sin t0)).
"""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from tests.help import EPS

K = np.array([1.0, -0.7])
X = np.array([[1.0, 2.0], [-0.5, 1.5], [0.3, -1.0]])
TARGET = np.array([[0.5, 0.1], [0.0, 1.0], [1.0, -0.3]])


def problem(span=(0.3, 1.7), h_y=None, **loss):
    """The cosine field with a terminal loss, or what is asked for."""
    model = rn.NeuralODE(rn.CosineField(2), h_y=h_y)
    readout = {"h_y.W0": np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]]), "h_y.b0": np.arange(3.0)} if h_y else {}
    terms = rn.Loss(**(loss or {"terminal": rn.SquaredError(TARGET)}))
    return rn.Problem(model, {"theta.k": K} | readout, X, terms, span)


def exact(t, t0=0.3):
    return X * np.exp(K * (np.sin(np.asarray(t))[..., None] - np.sin(np.asarray(t0))[..., None]))


# A solve with tol = 1e-10 makes less than 100 steps, local errors of tol (1 + |y|) sqrt(6) < 2e-9 each in one of six
# entries, which grow by less than e^2; dense output adds an error of the same order.
NEAR = {"rtol": 0, "atol": 100 * 2e-9 * math.exp(2)}
TIGHT = rn.Solver("dop853", tol=1e-10)


# ---------------------------------------------------------------- solve

SPANS = {"up": (0.3, 1.7), "down": (1.7, 0.3), "own T": (0.3, np.array([1.7, 0.9, -0.4]))}


@pytest.mark.parametrize("steps", ["shared", "own"])
@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_solution_is_the_closed_form(span, steps):
    """z_T, y_T, loss and loss_per_sample, upwards, downwards and with T per sample."""
    answer = rn.solve(problem(span), rn.Solver("dop853", tol=1e-10, steps=steps))
    want = exact(span[1], span[0])
    np.testing.assert_allclose(answer.z_T, want, **NEAR)
    np.testing.assert_array_equal(answer.y_T, answer.z_T)
    np.testing.assert_allclose(answer.loss_per_sample, ((answer.z_T - TARGET) ** 2).sum(axis=1) / 3, rtol=8 * EPS)
    assert answer.loss == answer.loss_per_sample.sum()


def test_readout_is_applied():
    """y_T = h_y(z(T)) and y(t) = h_y(z(t)), with the readout's width."""
    target = rn.SquaredError(np.zeros((3, 3)))
    answer = rn.solve(problem(h_y=rn.Linear(2, 3), terminal=target), TIGHT)
    W, b = (answer.problem.params[f"h_y.{name}"] for name in ("W0", "b0"))
    np.testing.assert_allclose(answer.y_T, answer.z_T @ W + b, rtol=0, atol=16 * EPS * 10)
    times = [0.3, 0.9, 1.7]
    np.testing.assert_allclose(answer.y(times), exact(np.array(times)[:, None]) @ W + b, rtol=0, atol=4 * NEAR["atol"])
    np.testing.assert_array_equal(answer.y(0.9), answer.y(times)[1])
    assert answer.y([]).shape == (0, 3, 3)


def test_default_solver_is_dopri5():
    """solve and gradient without a solver run dopri5 at 1e-8, and the gradient is the discrete one."""
    answer, grad = rn.solve(problem()), rn.gradient(problem())
    assert (grad.method, grad.solver, grad.solver.method, grad.solver.rtol) == ("discrete", rn.Solver(), "dopri5", 1e-8)
    assert grad.loss == answer.loss
    np.testing.assert_array_equal(grad.z_T, answer.z_T)


@pytest.mark.parametrize(
    "solver",
    [rn.Solver("rk4", n_steps=9), rn.Solver("dopri5", tol=1e-6), rn.Solver("bosh3", tol=1e-4, steps="own")],
    ids=["fixed", "shared", "own"],
)
def test_statistics_of_a_solve(solver):
    """accepted, rejected and grid are those of a gradient's forward solve and fit together; z(t) adds nothing."""
    observed = problem(observations=rn.observe([0.7, 1.1], np.zeros((2, 3, 2))), terminal=rn.SquaredError(TARGET))
    answer, forward = rn.solve(observed, solver), rn.gradient(observed, "discrete", solver).stats
    answer.z(0.5)
    stats = answer.stats
    np.testing.assert_array_equal(stats.grid, forward.grid)
    np.testing.assert_array_equal(stats.accepted, forward.accepted)
    np.testing.assert_array_equal(stats.accepted, (np.diff(stats.grid, axis=0) > 0).sum(axis=0))
    assert np.all(np.asarray(stats.rejected) >= 0)
    assert (stats.nfe, stats.nfe_backward) == (forward.nfe, 0)
    assert stats.peak_bytes == (len(stats.grid) - 1) * (1 + solver.tableau.stages) * X.nbytes
    if solver.steps == "shared":
        assert type(stats.accepted) is int
        assert {0.3, 0.7, 1.1, 1.7} <= set(stats.grid.tolist())
    else:
        assert stats.accepted.shape == stats.rejected.shape == (3,)
        assert stats.grid.shape[1] == 3


def test_a_loss_that_is_not_finite_raises():
    """solve returns no NaN: a point loss that is NaN at T raises, naming the samples."""
    def value(t, y):
        return np.where((np.arange(3) == 1) & (t > 1), np.nan, 0.0) * y[:, 0]

    bad = rn.UserLoss(fn_value=value, fn_grad=lambda t, y: (np.zeros(len(y)), 0 * y))
    with pytest.raises(rn.NonFiniteState, match="the loss is NaN") as error:
        rn.solve(problem(terminal=bad), TIGHT)
    assert (error.value.t, error.value.samples) == (1.7, (1,))


# ---------------------------------------------------------------- z(t), y(t)

def test_samples_on_different_pieces():
    """Where edges follow spans that differ, samples pass them at depths of their own: z(t) is that of each alone."""
    model = rn.NeuralODE(rn.MLP(2, 2), theta=rn.Stacked(3))
    rng, T = np.random.default_rng(4), np.array([1.0, 0.6, 0.8])
    params = model.init(rng) | {"alpha.W0": rng.standard_normal((3, 2, 2))}
    loss = rn.Loss(rn.SquaredError(np.zeros(2)))
    answer = rn.solve(rn.Problem(model, params, X, loss, (0.0, T)), TIGHT)
    for t in (0.0, 0.15, 0.25, 0.3, 0.45, 0.55, 0.6):
        alone = [rn.solve(rn.Problem(model, params, X[k : k + 1], loss, (0.0, T[k])), TIGHT).z(t)[0] for k in range(3)]
        np.testing.assert_allclose(answer.z(t), alone, **NEAR)

@pytest.mark.parametrize("solver", [TIGHT, rn.Solver("dop853", tol=1e-10, steps="own"), rn.Solver("rk4", n_steps=2000)])
def test_solution_between_the_steps(solver):
    """z(t) is the closed form at any t of the span, ends and break-points included, with the shape of t in front."""
    answer = rn.solve(problem(observations=rn.observe([0.7, 1.1], np.zeros((2, 3, 2)))), solver)
    times = np.array([0.3, 0.5, 0.7, 0.71, 1.1, 1.5, 1.7])
    z = answer.z(times)
    assert z.shape == (7, 3, 2)
    np.testing.assert_allclose(z, exact(times[:, None]), **NEAR)
    for t, row in zip(times.tolist(), z, strict=True):
        np.testing.assert_array_equal(answer.z(t), row)
    np.testing.assert_array_equal(answer.z(times.tolist()), z)
    np.testing.assert_array_equal(answer.y(times), z)
    np.testing.assert_array_equal(answer.z(0.3), X)
    np.testing.assert_allclose(answer.z(1.7), answer.z_T, rtol=0, atol=1e3 * EPS)
    assert answer.z([]).shape == (0, 3, 2)


@pytest.mark.parametrize("steps", ["shared", "own"])
@pytest.mark.parametrize("t", [0.2999, 1.7001, -5.0])
@pytest.mark.parametrize("span", [(0.3, 1.7), (1.7, 0.3)], ids=["up", "down"])
def test_no_solution_outside_the_span(t, span, steps):
    """z and y raise outside the span, and say what it is; one bad t in a list is enough."""
    answer = rn.solve(problem(span), rn.Solver(steps=steps))
    words = rf"^t: got {t}; must be inside every sample's span, from {span[0]} to {span[1]}$"
    for ask in (answer.z, answer.y):
        with pytest.raises(rn.InvalidArgument, match=words):
            ask(t)
        with pytest.raises(rn.InvalidArgument, match=words):
            ask([0.5, t])


def test_a_span_per_sample_is_known_where_all_are():
    """With T per sample z(t) exists where every sample's span has t, and nowhere else."""
    T = np.array([1.7, 0.9, 1.2])
    answer = rn.solve(problem((0.3, T)), TIGHT)
    np.testing.assert_allclose(answer.z(0.9), exact(0.9), **NEAR)
    np.testing.assert_allclose(answer.z(0.9)[1], answer.z_T[1], rtol=0, atol=1e3 * EPS)
    with pytest.raises(rn.InvalidArgument, match=r"^t: got 0\.95; must be inside every sample's span, from 0\.3 to"):
        answer.z(0.95)
    apart = rn.solve(problem((np.array([0.3, 1.5, 0.3]), T)), TIGHT)  # the second runs from 1.5 down to 0.9
    np.testing.assert_allclose(apart.z(1.0), exact(1.0, np.array([0.3, 1.5, 0.3])), **NEAR)


# ---------------------------------------------------------------- backend

def test_backends(monkeypatch):
    """numpy and auto run here and say so; what has no kernels raises BackendUnavailable; other words name the four."""
    small = problem((0.3, 0.4))
    for backend, reason in (("auto", "auto: REFNODE_BACKEND=numpy"), ("numpy", "asked for")):
        result = rn.gradient(small, "discrete", rn.Solver("rk4", n_steps=1), backend=backend)
        assert (result.backend, result.reason) == ("numpy", reason)
    for backend in ("cpu", "cuda"):
        with pytest.raises(rn.BackendUnavailable, match=f"backend='{backend}'.*use 'numpy' or 'auto'"):
            rn.solve(small, backend=backend)
    monkeypatch.delenv("REFNODE_BACKEND")
    for result in (rn.gradient(small), rn.solve(small)):  # kernels come first, and say why they do not run
        assert (result.backend, result.reason) == ("numpy", "auto: the field is CosineField, not an MLP")
    with pytest.raises(rn.BackendUnavailable, match=r"backend='cuda'.*use 'numpy' or 'auto'"):
        rn.gradient(small, backend="cuda")
    for method, solver, why in (
        ("discrete", rn.Solver(), "the field is CosineField, not an MLP"),
        ("discrete", rn.Solver(steps="own"), "the field is CosineField, not an MLP"),
        ("backsolve", rn.Solver(), "the field is CosineField, not an MLP"),
        ("richardson", rn.Solver(), "method 'richardson' is not compiled"),
    ):
        with pytest.raises(rn.BackendUnavailable, match=f"backend='cpu': {why}; use 'numpy' or 'auto'"):
            rn.gradient(small, method, solver, backend="cpu")
    with pytest.raises(rn.InvalidArgument, match=r"^dtype: got float32; must be 'float64', or backend='cpu'"):
        rn.gradient(small, backend="numpy", dtype="float32")
    with pytest.raises(rn.BackendUnavailable, match=r"^backend='auto': the field is CosineField"):
        rn.gradient(small, dtype="float32")
    model, loss = rn.NeuralODE(rn.MLP(2, 3, 2)), rn.Loss(rn.SquaredError(np.zeros(2)))
    packs = rn.Problem(model, model.init(np.random.default_rng(0)), np.ones((2, 2)), loss)
    for method in ("discrete", "backsolve", "interpolating", "quadrature", "forward_discrete", "forward_continuous"):
        result = rn.gradient(packs, method)
        assert (result.backend, result.reason) == ("cpu", "auto: compiled kernels take this problem, in float64")
    assert rn.gradient(packs, backend="cpu", dtype="float32").reason == "asked for, in float32"
    assert (rn.solve(packs).backend, rn.gradient(packs, "central").backend) == ("cpu", "numpy")
    monkeypatch.setenv("REFNODE_BACKEND", "gpu")
    with pytest.raises(rn.InvalidArgument, match=r"^REFNODE_BACKEND: got 'gpu'; must be one of 'cpu', 'numpy'"):
        rn.gradient(small)
    with pytest.raises(rn.InvalidArgument, match=r"^backend: got 'gpu'; must be one of 'auto', 'numpy', 'cpu'"):
        rn.solve(small, backend="gpu")


# ---------------------------------------------------------------- gradient

@pytest.mark.parametrize("method", rn.METHODS)
def test_options_are_those_of_the_function(method):
    """The table lists exactly the keyword options that the method's function has, and each default passes."""
    entry = rn.METHODS[method]
    options = [p for p in inspect.signature(entry.function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert set(entry.options) == {p.name for p in options}
    solver = rn.Solver("dopri5", tol=1e-6)
    plain = rn.gradient(problem(), method, solver)
    same = rn.gradient(problem(), method, solver, **{p.name: p.default for p in options})
    assert plain.method == method
    for leaf, g in plain.grads.items():
        np.testing.assert_array_equal(g, same.grads[leaf])


@pytest.mark.parametrize("method", rn.METHODS)
def test_unknown_options_are_refused(method):
    """An option that the method does not have is named, with those it has."""
    has = ", ".join(rn.METHODS[method].options) or "no option"
    with pytest.raises(rn.InvalidArgument, match=rf"^options: got tol for method '{method}'; must be among: {has}$"):
        rn.gradient(problem(), method, rn.Solver(), tol=1e-3)


def test_unknown_methods_are_refused():
    """An unknown method is answered with all that there are."""
    with pytest.raises(rn.InvalidArgument, match=r"^method: got 'adjoint'; must be one of ") as error:
        rn.gradient(problem(), "adjoint", rn.Solver())
    assert all(repr(name) in str(error.value) for name in rn.METHODS)


# ---------------------------------------------------------------- digits

sizes = st.floats(1e-30, 1e30)


@given(size=sizes, relative=st.floats(1e-15, 1.0))
def test_digits_are_minus_log10_of_the_relative_error(size, relative):
    """-log10(max |got - truth| / max |truth|), whatever the scale.

    The subtraction (1 + relative) - 1 keeps relative to EPS, a relative change of EPS / relative, in units of digits
    that over log(10).
    """
    truth = size * np.array([1.0, -0.2, 0.0])
    got = truth + size * np.array([0.0, relative, -relative / 3])
    tolerance = (4 * EPS / relative + 8 * EPS) / math.log(10) + 8 * EPS * 16
    assert abs(rn.digits(got, truth) + math.log10(relative)) <= tolerance


@pytest.mark.parametrize(
    ("got", "truth", "scale", "want"),
    [
        ([1.0, 2.0], [1.0, 2.0], None, 16.0),  # equal
        ([1.0, 2.0 * (1 + EPS / 2)], [1.0, 2.0], None, 16.0),
        ([1.0 + 1e-17], [1.0], None, 16.0),
        ([3.0], [1.0], None, 0.0),  # worse than no digit
        ([-1.0], [1.0], None, 0.0),
        ([0.0], [1.0], None, 0.0),
        ([1.1], [1.0], None, 1.0),
        ([1e-3], [0.0], 10.0, 4.0),  # a zero leaf, against the scale
        ([1e-3], [0.0], -10.0, 4.0),
        ([1e-30], [0.0], 1.0, 16.0),
        ([0.0], [0.0], None, 16.0),
        ([1e-30], [0.0], None, 0.0),  # a zero leaf without a scale
        ([1.001], [1.0], 1e9, 3.0),  # the scale is for zero leaves only
        ([np.nan], [1.0], None, 0.0),
        ([np.inf], [1.0], None, 0.0),
        ([1.0], [np.nan], None, 0.0),
        ([1.0], [np.inf], None, 0.0),
        ([], [], None, 16.0),
        ([1e10, 5e-324], [1e10, 0.0], None, 16.0),  # 5e-324 / 1e10 underflows
        ([1e300], [1e-300], None, 0.0),
        (2.002, 2, None, 3.0),
    ],
)
def test_digits_at_the_limits(got, truth, scale, want):
    """At most 16, at least 0, never NaN and never a warning; 1e-12 for the rounding of 1.1, 1.001 and 2.002."""
    digits = rn.digits(np.array(got), np.array(truth), scale)
    assert abs(digits - want) <= 1e-12
    assert type(digits) is float
    assert math.copysign(1, digits) == 1


def test_compare_by_leaf():
    """Each leaf of the truth that got has, in the truth's order; zero leaves against the largest of all leaves."""
    truth = {"b": np.array([10.0, 0.0]), "a": np.zeros(2), "only here": np.ones(1)}
    got = {"a": np.array([1e-3, 0.0]), "b": np.array([10.0, 1e-5]), "only there": np.ones(1)}
    digits = rn.compare(got, truth)
    assert list(digits) == ["b", "a"]
    np.testing.assert_allclose([digits["b"], digits["a"]], [6.0, 4.0], rtol=1e-13)
    assert rn.compare(got, got) == {"a": 16.0, "b": 16.0, "only there": 16.0}


def test_compare_results():
    """Results stand for their gradients, on either side; leaves of another library may be float32 or lists."""
    result = rn.gradient(problem(), "discrete", rn.Solver("rk4", n_steps=4))
    assert set(rn.compare(result, result).values()) == {16.0}
    lists = {name: g.tolist() for name, g in result.grads.items()}
    assert set(rn.compare(lists, result).values()) == {16.0}
    singles = {name: np.asarray(g, dtype=np.float32) for name, g in result.grads.items()}
    u = 2.0**-24  # unit round-off of float32
    assert all(-math.log10(u) <= digits <= 16 for digits in rn.compare(singles, result).values())


@pytest.mark.parametrize(
    ("got", "truth", "words"),
    [
        ({"a": np.zeros(2)}, {"a": np.zeros(3)}, r"^a: got shape \(2,\); must be of shape \(3,\)$"),
        ({"a": np.zeros((1, 3))}, {"a": np.zeros(3)}, r"^a: got shape \(1, 3\)"),
        ({"a": 1.0}, {"a": np.zeros(3)}, r"^a: got shape \(\)"),
        ({"a": np.zeros(2)}, {"b": np.zeros(2)}, r"^got: got leaves \['a'\]; must be among \['b'\]$"),
        ({}, {"b": np.zeros(2)}, r"^got: got leaves \[\]"),
        (3, {"b": np.zeros(2)}, r"^got: got 3; must be a result with grads, or a mapping"),
        ({"b": np.zeros(2)}, None, r"^truth: got None; must be a result"),
        ({"b": "zero"}, {"b": np.zeros(2)}, r"^got\['b'\]: got dtype <U4; must be an array of numbers"),
        ({"b": [0.0, 1.0]}, {"b": None}, r"^truth\['b'\]: got dtype object"),
    ],
)
def test_what_cannot_be_compared_is_refused(got, truth, words):
    """Another shape is never broadcast; nothing in common, or no numbers, raises."""
    with pytest.raises(rn.InvalidArgument, match=words):
        rn.compare(got, truth)
