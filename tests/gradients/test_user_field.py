"""A field, a map and losses of one's own go everywhere the built-in ones go, with the same gradients.

Three NumPy functions make a field. Where they are not fit for complex numbers, the complex step says so; it returns no
wrong gradient.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

import refnode as rn
from refnode.arrays import column
from tests.gradients.problems import (
    METHODS,
    SMOOTH,
    assert_same,
    assert_same_bits,
    problems,
    rounding_bound,
    solvers,
)

SOLVERS = {
    "fixed": rn.Solver("rk4", n_steps=4),
    "shared": rn.Solver("dopri5", tol=1e-5),
    "own": rn.Solver("tsit5", tol=1e-5, steps="own"),
}
X, Y = np.random.default_rng(0).standard_normal((2, 3, 2))
SHAPES = {"W0": (3, 3), "b0": (3,), "W1": (3, 2), "b1": (2,)}  # those of MLP(2, 3, 2, time="first")
PARAMS = {f"theta.{name}": np.random.default_rng(1).standard_normal(shape) / 2 for name, shape in SHAPES.items()}


# ---------------------------------------------------------------- a network by hand

def parts(theta):
    W0, b0, W1, b1 = np.split(theta, [9, 12, 18])
    return W0.reshape(3, 3), b0, W1.reshape(3, 2), b1


def with_t(z, t):
    return np.concatenate([z, np.broadcast_to(column(t), (len(z), 1))], axis=1)


def hand_forward(t, z, theta, x):
    W0, b0, W1, b1 = parts(theta)
    return np.tanh(with_t(z, t) @ W0 + b0) @ W1 + b1


def hand_jvp(t, z, theta, x, dt, dz, dtheta, dx):
    (W0, b0, W1, _), (dW0, db0, dW1, db1) = parts(theta), parts(dtheta)
    h = np.tanh(with_t(z, t) @ W0 + b0)
    dh = (1 - h**2) * (with_t(dz, dt) @ W0 + with_t(z, t) @ dW0 + db0)
    return dh @ W1 + h @ dW1 + db1


def hand_vjp(t, z, theta, x, g):
    W0, b0, W1, _ = parts(theta)
    h = np.tanh(with_t(z, t) @ W0 + b0)
    g_u = (1 - h**2) * (g @ W1.T)
    g_in = g_u @ W0.T
    g_theta = [with_t(z, t).T @ g_u, g_u.sum(axis=0), h.T @ g, g.sum(axis=0)]
    return g_in[:, 2], g_in[:, :2], np.concatenate([np.ravel(part) for part in g_theta]), None


HAND = rn.UserField(hand_forward, hand_jvp, hand_vjp, SHAPES, 2)
MLP = rn.MLP(2, 3, 2, time="first")


def network(field=MLP, loss=None, span=(-0.25, 0.75)):
    """The same network in either wording."""
    loss = loss or rn.Loss(rn.SquaredError(Y), rn.observe([0.3], Y[None]), (rn.Kinetic(), rn.ParameterNorm(weight=0.1)))
    return rn.Problem(rn.NeuralODE(field), PARAMS, X, loss, span)


def test_the_hand_written_field_is_right():
    """check_field finds its jvp and vjp to be the derivatives of its forward."""
    leaves = {name: PARAMS[f"theta.{name}"] for name in SHAPES}
    assert rn.check_field(HAND, 0.3, X, leaves).ok


@pytest.mark.parametrize("solver", [SOLVERS["fixed"]], ids=["fixed"])
@pytest.mark.parametrize("method", ["discrete", "forward_discrete", "complex_step"])
def test_hand_written_network_is_the_mlp(method, solver):
    """1 - tanh^2 for 4 sigmoid', other orders of sums: exact methods agree on one grid within the rounding bound."""
    got, want = (rn.gradient(network(field), method, solver).grads for field in (HAND, MLP))
    assert_same(got, want, {name: 2 * b for name, b in rounding_bound(network(), solver).items()})


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("method", METHODS)
def test_hand_written_network_by_every_method(method, solver):
    """Every method takes it, with every kind of step. One ulp in the field may move a step by a few: 9 digits."""
    got, want = (rn.gradient(network(field), method, solver) for field in (HAND, MLP))
    assert min(rn.compare(got, want).values()) >= (8 if method in ("central", "richardson") else 9)


# ---------------------------------------------------------------- the same formula, the same bits

def borrowed(mlp):
    """An MLP's own functions as a user field."""
    return rn.UserField(mlp.forward, mlp.jvp, mlp.vjp, mlp.shapes, mlp.width_out)


@settings(max_examples=30)
@given(problems(), solvers())
def test_borrowed_field_has_the_same_bits(problem, solver):
    """With an MLP's own functions a user field is that MLP, also with control, maps, order two and ends per sample."""
    model = replace(problem.model, field=borrowed(problem.model.field))
    got, want = (rn.gradient(replace(problem, model=m), "discrete", solver) for m in (model, problem.model))
    assert got.loss == want.loss
    assert_same_bits(got.grads, want.grads)
    np.testing.assert_array_equal(got.adj_t0, want.adj_t0)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("method", METHODS)
def test_borrowed_field_by_every_method(method, solver):
    """The same for all nine methods, evaluation for evaluation."""
    got, want = (rn.gradient(network(field), method, solver) for field in (borrowed(MLP), MLP))
    assert got.loss == want.loss
    assert_same_bits(got.grads, want.grads)
    assert got.stats.nfe == want.stats.nfe
    if method != "complex_step":  # which checks user code against a difference
        assert got.stats.nfe_backward == want.stats.nfe_backward


def user_losses():
    """The losses of `network` in a user's words."""

    def squared(**how):
        return rn.UserLoss(
            fn_value=lambda t, y: ((y - Y) ** 2).sum(axis=1),
            fn_grad=lambda t, y: (np.zeros(len(y)), 2 * (y - Y)),
            **how,
        )

    kinetic = rn.UserRunning(
        fn_value=lambda at: (at.rate**2).sum(axis=1),
        fn_jvp=lambda at, d: 2 * (at.rate * d.rate).sum(axis=1),
        fn_vjp=lambda at, g: rn.no_cotangent(at)._replace(rate=2 * column(g) * at.rate),
    )
    norm = rn.UserRunning(
        fn_value=lambda at: np.broadcast_to((at.theta**2).sum(), (len(at.z),)),
        fn_jvp=lambda at, d: np.broadcast_to(2 * (at.theta * d.theta).sum(), (len(at.z),)),
        fn_vjp=lambda at, g: rn.no_cotangent(at)._replace(theta=2 * at.theta * g.sum()),
        weight=0.1,
    )
    return rn.Loss(squared(), rn.Observations([0.3], (squared(),)), (kinetic, norm))


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("method", METHODS)
def test_user_losses_by_every_method(method, solver):
    """UserLoss and UserRunning with the formulas of SquaredError, Kinetic and ParameterNorm have their bits."""
    got, want = (rn.gradient(network(loss=loss), method, solver) for loss in (user_losses(), None))
    assert got.loss == want.loss
    assert_same_bits(got.grads, want.grads)


@settings(max_examples=10)
@given(problems(acts=SMOOTH), solvers())
def test_user_map_has_the_same_bits(problem, solver):
    """An object with a Map's members serves as h_x or h_y."""

    class Borrowed:
        def __init__(self, h):
            self.shapes, self.width, self.init = h.shapes, h.width, h.init
            self.forward, self.jvp, self.vjp = h.forward, h.jvp, h.vjp

    model = replace(problem.model, h_x=Borrowed(problem.model.h_x), h_y=Borrowed(problem.model.h_y))
    got, want = (rn.gradient(replace(problem, model=m), "discrete", solver) for m in (model, problem.model))
    assert_same_bits(got.grads, want.grads)


@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_user_field(method):
    """z' = k cos(t) z as a CosineField and as a UserField of three lines has the same bits."""
    field = rn.UserField(
        forward=lambda t, z, theta, x: theta * np.cos(column(t)) * z,
        jvp=lambda t, z, theta, x, dt, dz, dtheta, dx: dtheta * np.cos(column(t)) * z
        + theta * np.cos(column(t)) * dz - theta * np.sin(column(t)) * z * column(dt),
        vjp=lambda t, z, theta, x, g: (
            -(theta * np.sin(column(t)) * z * g).sum(axis=1), theta * np.cos(column(t)) * g,
            (g * np.cos(column(t)) * z).sum(0), None,
        ),
        shapes={"k": (2,)}, width=2,
    )  # fmt: skip
    params, loss = {"theta.k": np.array([0.7, -1.2])}, rn.Loss(rn.SquaredError(Y), running=rn.Kinetic())
    got, want = (
        rn.gradient(rn.Problem(rn.NeuralODE(f), params, X, loss), method, SOLVERS["shared"])
        for f in (field, rn.CosineField(2))
    )
    assert got.loss == want.loss
    assert_same_bits(got.grads, want.grads)


# ---------------------------------------------------------------- functions that drop imaginary parts

ROOTS = {  # all are sqrt(1 + z^2) for real z
    "abs": lambda z: np.sqrt(1 + np.abs(z) ** 2),
    "real": lambda z: np.sqrt(1 + np.real(z) ** 2),
    "cast": lambda z: np.sqrt(1 + z.astype(np.float64) ** 2),
    "conjugate": lambda z: np.sqrt(1 + z * np.conj(z)),
    "norm": lambda z: np.linalg.norm(np.stack([np.ones_like(z), z]), axis=0),
    "real array": lambda z: np.add(0.0, np.sqrt(1 + z**2), out=np.empty(z.shape), casting="unsafe"),
    "float only": lambda z: np.hypot(1.0, z),
}


def root_field(root, leaf=lambda c: c, size=1.0):
    """z' = k cos(t) sqrt(1 + z^2) + size c; jvp and vjp are right, `root` and `leaf` may be unfit
    for complex numbers.
    """

    def forward(t, z, theta, x):
        return theta[:2] * np.cos(column(t)) * root(z) + size * leaf(theta[2:])

    def slope(z):
        return z / np.sqrt(1 + z**2)

    def jvp(t, z, theta, x, dt, dz, dtheta, dx):
        c, s, k = np.cos(column(t)), np.sin(column(t)), theta[:2]
        return (dtheta[:2] * c - k * s * column(dt)) * root(z) + k * c * slope(z) * dz + size * dtheta[2:]

    def vjp(t, z, theta, x, g):
        c, s, k = np.cos(column(t)), np.sin(column(t)), theta[:2]
        g_theta = np.concatenate([(g * c * root(z)).sum(axis=0), size * g.sum(axis=0)])
        return -(g * k * s * root(z)).sum(axis=1), g * k * c * slope(z), g_theta, None

    return rn.UserField(forward, jvp, vjp, {"k": (2,), "c": (2,)}, 2)


def root_problem(root, **leaf):
    params = {"theta.k": np.array([0.7, -0.4]), "theta.c": np.array([0.3, 0.8])}
    model = rn.NeuralODE(root_field(root, **leaf), span=(0.0, 1.0))
    return rn.Problem(model, params, X, rn.Loss(rn.SquaredError(Y)))


def complex_step(problem, solver):
    """Without NumPy's warning about dropped imaginary parts, which a user may have switched off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return rn.gradient(problem, "complex_step", solver)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("name", ROOTS)
def test_complex_step_refuses_functions_that_drop_imaginary_parts(name, solver):
    """abs, real, casts, conjugates and norms give UnreliableGradient; a ufunc for floats only says so itself."""
    with pytest.raises(TypeError if name == "float only" else rn.UnreliableGradient, match=r"complex-safe|hypot"):
        complex_step(root_problem(ROOTS[name]), solver)


@pytest.mark.parametrize("name", ["float only", "abs"])
@pytest.mark.parametrize("method", [method for method in METHODS if method != "complex_step"])
def test_other_methods_need_no_complex_numbers(method, name):
    """Whatever a function does to imaginary parts, the other eight methods never show it any."""
    solver = SOLVERS["shared"]
    want = rn.gradient(root_problem(lambda z: np.sqrt(1 + z**2)), method, solver)
    got = rn.gradient(root_problem(ROOTS[name]), method, solver)
    assert min(rn.compare(got, want).values()) >= (8 if method in ("central", "richardson") else 9)


@pytest.mark.parametrize("size", [1.0, 1e-2, 1e-4])
def test_small_leaves_do_not_hide_behind_large_ones(size):
    """A dropped derivative is noticed in the leaf where it is, were its gradient 1e-4 of the others."""
    problem = root_problem(lambda z: np.sqrt(1 + z**2), leaf=np.real, size=size)
    with pytest.raises(rn.UnreliableGradient, match=r"direction of theta\.c, .* not complex-safe"):
        rn.gradient(problem, "complex_step", SOLVERS["fixed"])


@pytest.mark.parametrize("part", ["terminal", "observation", "running"])
def test_losses_that_drop_imaginary_parts_are_refused(part):
    """abs in a loss of one's own is noticed wherever the loss stands."""
    bad = rn.UserLoss(lambda t, y: (np.abs(y) ** 2).sum(axis=1), lambda t, y: (np.zeros(len(y)), 2 * y), weight=1e-2)
    running = rn.UserRunning(
        fn_value=lambda at: (np.abs(at.z) ** 2).sum(axis=1),
        fn_jvp=lambda at, d: 2 * (at.z * d.z).sum(axis=1),
        fn_vjp=lambda at, g: rn.no_cotangent(at)._replace(z=2 * column(g) * at.z),
        weight=1e-2,
    )
    good = rn.SquaredError(Y)
    loss = {
        "terminal": rn.Loss(bad, rn.Observations([0.3], (good,))),
        "observation": rn.Loss(good, rn.Observations([0.3], (bad,))),
        "running": rn.Loss(good, running=running),
    }[part]
    with pytest.raises(rn.UnreliableGradient, match="complex-safe"):
        rn.gradient(network(loss=loss), "complex_step", SOLVERS["fixed"])


@settings(max_examples=10)
@given(problems(acts=SMOOTH), solvers())
def test_complex_step_does_not_refuse_safe_functions(problem, solver):
    """The check of user code passes whatever is complex-safe: here, every drawn field as a user's own."""
    model = replace(problem.model, field=borrowed(problem.model.field))
    got, want = (rn.gradient(replace(problem, model=m), "complex_step", solver) for m in (model, problem.model))
    assert_same_bits(got.grads, want.grads)
