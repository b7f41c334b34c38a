"""No wrong number without an exception: cases in which a method would quietly lose its digits, found by a stranger."""

import numpy as np
import pytest

import refnode as rn
from refnode.oracle.closed_forms import closed_form


def zero_initialised(T):
    """A last layer of zeros, as in many training recipes: neither z nor a moves, but df/dW1 depends on t."""
    rng = np.random.default_rng(1)
    model = rn.NeuralODE(rn.MLP(2, 32, 2, time="first"), span=(0.0, T))
    params = model.init(rng) | {"theta.W1": np.zeros((32, 2)), "theta.b0": rng.standard_normal(32)}
    return rn.Problem(model, params, rng.standard_normal((3, 2)), rn.Loss(rn.SquaredError([1.0, -1.0])))


@pytest.mark.parametrize("method", ["backsolve", "interpolating"])
@pytest.mark.parametrize("T", [1.0, 3.0])
def test_parameter_integrals_that_no_step_sees_are_refused(method, T):
    """The steps see z and a, which stand still; the parameter integral's own error estimate refuses the gradient."""
    with pytest.raises(rn.UnreliableGradient, match=r"parameter integrals' estimated error .* use method 'quadrature'"):
        rn.gradient(zero_initialised(T), method)
    unchecked = rn.gradient(zero_initialised(T), method, check=False)
    truth = rn.gradient(zero_initialised(T), "discrete", rn.Solver("rk4", n_steps=2000))  # h^4 = 1e-11 and better
    assert rn.compare(unchecked, truth)["theta.W1"] < 6
    assert rn.compare(rn.gradient(zero_initialised(T), "quadrature"), truth)["theta.W1"] > 9


@pytest.mark.parametrize("method", ["backsolve", "interpolating", "quadrature"])
@pytest.mark.parametrize("unit", [2.0**20, 2.0**33])
def test_units_of_the_state_do_not_matter(method, unit):
    """State, atol and loss in other units (powers of two): the same digits: the costate's tolerance is relative."""
    x = np.random.default_rng(2).standard_normal((3, 2))
    params = {"theta.W0": [[-0.5, 1.0], [-1.0, 0.2]]}
    model = rn.NeuralODE(rn.MLP(2, 2, bias=False), span=(0.0, 3.0))
    grads = []
    for u in (1.0, unit):
        problem = rn.Problem(model, params, u * x, rn.Loss(rn.SquaredError([0.0, 0.0], weight=u**-2)))
        grads.append(rn.gradient(problem, method, rn.Solver(rtol=1e-9, atol=1e-9 * u)).grads["theta.W0"])
    assert np.max(np.abs(grads[1] - grads[0])) <= 1e-12 * np.max(np.abs(grads[0]))


def test_backsolve_measures_the_return_in_units_of_the_state():
    """A contracting field with a state of size 1e-6: the returned state is off by far more than 100 tolerances."""
    u = 1e-6
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), span=(0.0, 2.0))
    loss = rn.Loss(running=rn.SquaredNorm(weight=u**-2))
    problem = rn.Problem(model, {"theta.W0": [[-10.0]]}, [[u], [2 * u]], loss)
    with pytest.raises(rn.UnreliableGradient, match="missed the forward solve's z"):
        rn.gradient(problem, "backsolve", rn.Solver(rtol=1e-8, atol=1e-8 * u))


def test_a_running_loss_that_vanishes_at_the_bounds_sets_the_scale():
    """l = |z - beta(t)|^2 with z = beta at both ends: the costate starts at 0, and its tolerance is not 0."""
    model = rn.NeuralODE(rn.MLP(2, 2, bias=False))
    beta = rn.Harmonic([1.0, 1.0], [1.0, 1.0], [0.0, -np.pi / 2])
    x = np.array([[1.0, 0.0], [1.0, 0.0]])
    turn = 2 * np.pi * np.array([[0.0, 1.0], [-1.0, 0.0]])
    problem = rn.Problem(model, {"theta.W0": 1.01 * turn}, x, rn.Loss(running=rn.Tracking(beta)))
    truth = rn.reference(problem)
    for method in ("backsolve", "interpolating", "quadrature"):
        got = rn.gradient(problem, method, rn.Solver("dopri5", tol=1e-9))
        assert min(rn.compare(got, truth).values()) > 6, method  # -log10(tol) - 2, and one more to spare
        assert got.stats.nfe_backward < 20 * got.stats.nfe


def test_binomial_checkpoints_with_ample_memory_are_not_deep():
    """3,000 steps and room for all of them: the same bits, and no recursion."""
    (entry,) = rn.catalogue("exp")
    solver = rn.Solver("rk4", n_steps=3000)
    stored = rn.gradient(entry.problem, "discrete", solver)
    again = rn.gradient(entry.problem, "discrete", solver, store="binomial", memory_bytes=10**9)
    assert all(stored.grads[leaf].tobytes() == again.grads[leaf].tobytes() for leaf in stored.grads)


def test_a_zero_integral_converges():
    """dloss/dk = 0 over a full period: the quadrature stops at what rounding does to its panels."""
    model = rn.NeuralODE(rn.CosineField(1), span=(0.0, 2 * np.pi))
    problem = rn.Problem(model, {"theta.k": [0.3]}, np.ones((2, 1)), rn.Loss(rn.SquaredError([0.0])))
    assert abs(rn.gradient(problem, "quadrature").grads["theta.k"][0]) < 1e-7  # 10 tol, |a|, |z| and T are O(1)


def test_one_short_sample_does_not_spoil_the_differences():
    """A span of 1e-9 beside one of 1: differences in t0 step by the longest sample's segment."""
    (entry,) = rn.catalogue("own_T")
    problem = entry.problem.with_leaves({"T": np.array([0.25 + 1e-9, 1.0, 1.5])})
    exact = rn.gradient(problem, "complex_step").grads["t0"]
    for method in ("central", "richardson"):
        assert rn.digits(rn.gradient(problem, method).grads["t0"], exact) > 8, method  # eps^(2/3) = 4e-11, times 100


def test_sensitivities_of_tiny_leaves_are_resolved():
    """z' = (theta c - 1) cos(20 t) with theta = 1 / c: the state stands still, its sensitivity does not."""
    c = 1e-6
    field = rn.UserField(
        lambda t, z, th, x: (th[0] * c - 1) * np.cos(20 * np.asarray(t))[..., None] * np.ones_like(z),
        lambda t, z, th, x, dt, dz, dth, dx: dth[0] * c * np.cos(20 * np.asarray(t))[..., None] * np.ones_like(z)
        - (th[0] * c - 1) * 20 * np.sin(20 * np.asarray(t))[..., None] * np.asarray(dt)[..., None] * np.ones_like(z),
        lambda t, z, th, x, g: (
            -(th[0] * c - 1) * 20 * np.sin(20 * np.asarray(t)) * g.sum(axis=1),
            0 * g,
            np.array([(c * np.cos(20 * np.asarray(t))[..., None] * g).sum()]),
            None,
        ),
        {"k": ()},
        2,
    )
    x = np.zeros((2, 2))
    problem = rn.Problem(rn.NeuralODE(field), {"theta.k": 1 / c}, x, rn.Loss(rn.LinearFunctional([1.0, 2.0])))
    got = rn.gradient(problem, "forward_continuous", rn.Solver("dopri5", tol=1e-8))
    assert rn.digits(got.grads["theta.k"], np.asarray(3 * c / 20 * np.sin(20.0))) > 6  # -log10(tol) - 2


def field_of(forward):
    """A user field z' = k .. with jvp and vjp that are not looked at."""
    return rn.UserField(
        forward,
        lambda t, z, th, x, dt, dz, dth, dx: 0 * z,
        lambda t, z, th, x, g: (0 * g[:, 0], 0 * g, np.zeros(1), None),
        {"k": ()},
        2,
    )


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda t, z, th, x: th[0] * t * z, r"another value for t of shape \(2,\) than for each t alone"),
        (lambda t, z, th, x: z.__imul__(th[0]), "an attempt to change its arguments in place"),
        (lambda t, z, th, x: z[:, 0], r"a result of shape \(2,\)"),
    ],
)
def test_fields_that_would_be_wrong_in_silence_are_refused(forward, message):
    """t broadcast along the wrong axis where b = d; arguments changed in place; a lost axis."""
    with pytest.raises(rn.InvalidArgument, match=message):
        rn.Problem(rn.NeuralODE(field_of(forward)), {"theta.k": 1.0}, np.ones((2, 2)), rn.Loss(rn.SquaredError([1, 2])))


def test_a_reused_output_buffer_does_not_leak():
    """A field that returns the same buffer every time gives the bits of one that does not."""
    buffer = np.zeros((2, 2))

    def reusing(t, z, th, x):
        if np.iscomplexobj(z) or np.iscomplexobj(th) or np.iscomplexobj(t):
            return th[0] * np.cos(np.asarray(t))[..., None] * z**2
        np.multiply(th[0] * np.cos(np.asarray(t))[..., None], z**2, out=buffer)
        return buffer

    losses = []
    for forward in (reusing, lambda t, z, th, x: th[0] * np.cos(np.asarray(t))[..., None] * z**2):
        x = np.array([[0.5, 0.25], [-0.5, 0.75]])
        loss = rn.Loss(rn.SquaredError([1.0, 2.0]))
        losses.append(rn.solve(rn.Problem(rn.NeuralODE(field_of(forward)), {"theta.k": 0.5}, x, loss)).loss)
    assert losses[0] == losses[1]


def test_an_unsafe_observation_loss_is_noticed_behind_a_large_terminal_loss():
    """The complex step is held against differences leaf by leaf, so a small wrong part does not hide."""
    unsafe = rn.UserLoss(lambda t, y: 1e-5 * np.abs(y).sum(axis=1), lambda t, y: (0 * y[:, 0].real, 1e-5 * np.sign(y)))
    rng = np.random.default_rng(3)
    model = rn.NeuralODE(rn.MLP(2, 8, 2, time="first"))
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((3, 2))), rn.Observations([0.5], (unsafe,)))
    problem = rn.Problem(model, model.init(rng), rng.standard_normal((3, 2)), loss)
    with pytest.raises(rn.UnreliableGradient, match=r"along a direction of t_obs, .* not complex-safe"):
        rn.gradient(problem, "complex_step")


def test_a_subclass_has_no_closed_form():
    """A loss that only looks like SquaredError is not mistaken for it."""

    class Quartic(rn.SquaredError):
        def value(self, t, y):
            return ((y - self.target) ** 4).sum(axis=1)

    (entry,) = rn.catalogue("linear")
    problem = entry.problem
    loss = rn.Loss(Quartic(problem.loss.terminal.target))
    assert closed_form(rn.Problem(problem.model, problem.params, problem.x, loss, problem.span)) is None


def test_a_tiny_segment_does_not_reset_the_controller():
    """An observation 1e-9 after another costs a step, not a new start from 1e-9."""
    (entry,) = rn.catalogue("mild")
    problem = entry.problem
    times = np.linspace(0.1, 0.9, 9)
    pairs = np.sort(np.concatenate([times, times + 1e-9]))
    steps = []
    for t_obs in (times, pairs):
        loss = rn.Loss(observations=rn.observe(t_obs, np.zeros((len(t_obs), problem.batch, 2))))
        solved = rn.solve(rn.Problem(problem.model, problem.params, problem.x, loss), rn.Solver("dopri5", tol=1e-8))
        steps.append(solved.stats.accepted)
    assert steps[1] <= steps[0] + 2 * len(times)


def narrow(theta):
    """Three samples of a small network whose theta has two breaks next to each other, observed behind them."""
    rng = np.random.default_rng(7)
    model = rn.NeuralODE(rn.MLP(2, 2), theta=theta, span=(0.1, 1.2))
    params = {name: leaf if name == "edges" else leaf + 0.3 * rng.standard_normal(leaf.shape)
              for name, leaf in model.init(rng).items()}  # fmt: skip
    x, y = rng.standard_normal((2, 3, 2))
    return rn.Problem(model, params, x, rn.Loss(rn.SquaredError(y), observations=rn.observe([0.55], y[None])))


@pytest.mark.parametrize("gap", [1e-6, 1e-9, 1e-13])
def test_differences_step_over_edges_that_are_next_to_one_another(gap):
    """Steps in time do not shrink with a segment of no length: a difference over 6e-6 of it would be round-off."""
    problem, solver = narrow(rn.Stacked([0.4, 0.4 + gap])), rn.Solver("rk4", n_steps=8)
    want = rn.gradient(problem, "complex_step", solver)
    # steps are 1 % of the longest segment times 2^-7 or 6e-6, and at most 2^3 shorter: what is left of 16 digits
    assert min(rn.compare(rn.gradient(problem, "richardson", solver), want).values()) >= 8
    assert min(rn.compare(rn.gradient(problem, "central", solver), want).values()) >= 6


def test_quadrature_asks_no_more_of_a_short_segment_than_t_can_say():
    """On a hat's cell of width 1e-9, t is known to seven digits of its length: panels are not halved in vain."""
    problem = narrow(rn.FunctionSpace([0.4, 0.4 + 1e-9, 0.8], (0.0, 1.0)))
    solver = rn.Solver("dopri5", tol=1e-9)
    got = rn.gradient(problem, "quadrature", solver, max_panels=100)
    want = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-11))
    assert min(rn.compare(got, want).values()) >= 7  # a continuous method's claim, -log10(tol) - 2


class Bent:
    """1 and |u - 2|^2, a basis of one's own; `safe` or by an absolute value that drops imaginary parts."""

    m, kinks, jumps = 2, np.zeros(0), False

    def __init__(self, safe):
        self.power = (lambda v: v**2) if safe else lambda v: np.abs(v) ** 2

    def psi(self, u, cell=0):
        return np.stack([np.ones(np.shape(u)), self.power(np.asarray(u) - 2)], axis=-1)

    def slope(self, u, cell=0):
        return np.stack([np.zeros(np.shape(u)), 2 * (np.real(u) - 2)], axis=-1)


def test_a_basis_that_is_not_complex_safe_is_found():
    """On a fixed interval u moves with T: the complex step of a basis that drops it is refused."""
    problem = narrow(rn.Galerkin(Bent(safe=True), (0.0, 1.0)))
    solver = rn.Solver("rk4", n_steps=8)
    want, got = (rn.gradient(problem, method, solver) for method in ("discrete", "complex_step"))
    assert min(rn.compare(got, want).values()) >= 12
    with pytest.raises(rn.UnreliableGradient, match="not complex-safe"):
        rn.gradient(narrow(rn.Galerkin(Bent(safe=False), (0.0, 1.0))), "complex_step", solver)
