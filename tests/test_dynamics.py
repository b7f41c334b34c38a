"""What the solver sees is equation (9) with the running loss beside it, and its derivatives hold every term.   (3)(9)

The cotangent of F has the terms of the generalised adjoint: those through f, dl/df included, and dl/dt, dl/dz,
dl/dtheta, dl/dx. Every test compares with complex steps of <g, F>; one checks each term where it is the only one.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.arrays import column
from refnode.dynamics import Cotangents, Dynamics, dynamics_of, initial_y
from tests.help import (
    absolute,
    assert_adjoint,
    assert_close,
    assert_jvp,
    assert_vjp,
    mlp_roundings,
    mlp_sizes,
    normals_like,
    plain_mlp,
    random_problem,
    sizes_field,
    zeros_like,
)
from tests.test_running import absolute_term, everything

PATH = ([0.5, 1.5, -1.0, 2.0], [1.0, 0.5, 2.0, 0.25], [0.0, 0.5, 1.0, -0.5])


def running_terms(d):
    """Every kind of running loss, with weights and both reductions and both rates, for a state of width d."""
    beta = rn.Harmonic(*(np.resize(part, d) for part in PATH))
    return {
        "none": (),
        "squared norm": (rn.SquaredNorm(),),
        "kinetic of f": (0.5 * rn.Kinetic(reduction="sum"),),
        "kinetic of z'": (rn.Kinetic(of="state"),),
        "parameter norm": (rn.ParameterNorm(weight=0.1),),
        "tracking": (rn.Tracking(beta, of="state"),),
        "user, of f": (everything(),),
        "user, of z'": (everything(of="state", reduction="sum"),),
        "several": (rn.Kinetic(of="state"), -0.5 * everything(), rn.ParameterNorm(), rn.Tracking(beta)),
    }


class Case:
    """Dynamics at a point (t, y, alpha, x), as functions of those four, with cotangent g."""

    def __init__(self, seed, order, control, running, own_t):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, order=order, control=control, running=running_terms(2 * order)[running])
        self.rng, self.model, self.dynamics, self.values = rng, problem.model, dynamics_of(problem), problem.values
        t = np.array(rng.standard_normal(3 if own_t else ()))
        y = rng.standard_normal((3, self.dynamics.width))
        self.args = (t, y, self.values.alpha, self.values.x)
        self.g, self.d = rng.standard_normal(y.shape), normals_like(rng, self.args)
        # the field twice (within f and the running loss), the widest sum of squares (theta), and the batch
        self.n = 2 * mlp_roundings(self.model.field) + 4 * (len(self.values.alpha) + 20)

    def at(self, alpha, x):
        """The record with other coefficients and inputs."""
        return replace(self.values, alpha=alpha, x=x)

    def forward(self, t, y, alpha, x):
        return self.dynamics.forward(t, y, self.at(alpha, x))

    def jvp(self, d, dynamics=None, args=None):
        t, y, alpha, x = self.args if args is None else args
        dt, dy, dalpha, dx = d
        along = replace(self.values.like(0.0), alpha=dalpha, x=dx)
        return (dynamics or self.dynamics).jvp(t, y, self.at(alpha, x), dt, dy, along)

    def vjp(self):
        t, y, alpha, x = self.args
        return self.dynamics.vjp(t, y, self.at(alpha, x), self.g)

    def sizes(self, d):
        """The jvp's sum of |terms|: at absolute values, with a field and losses that add up their own."""
        model = replace(self.model, field=sizes_field(self.model.field))
        how = [{"weight": abs(r.weight), "reduction": r.reduction, "of": r.of} for r in self.dynamics.running]
        terms = (replace(absolute_term(r), **h) for r, h in zip(self.dynamics.running, how, strict=True))
        return self.jvp(absolute(d), Dynamics(model, tuple(terms)), absolute(self.args))


cases = st.builds(
    Case,
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    st.sampled_from(list(running_terms(2))),
    st.booleans(),
)


# ---------------------------------------------------------------- forward by hand

@pytest.mark.parametrize("own_t", [False, True], ids=["shared t", "own t"])
@pytest.mark.parametrize("control", [False, True], ids=["plain", "control"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_forward_is_a_chain(order, control, own_t):
    """z_i' = z_{i+1}, and the last block's derivative is f(t, z, x), computed number by number for each sample."""
    c = Case(0, order, control, "none", own_t)
    t, z, alpha, x = c.args
    want = []
    for k in range(3):
        tk = float(t[k]) if own_t else float(t)
        want.append([*z[k, 2:], *plain_mlp(c.model.field, tk, z[k], alpha, x[k] if control else ())])
    sizes = mlp_sizes(c.model.field, (t, z, alpha, x if control else None))[0]
    assert_close(c.forward(*c.args), np.array(want), np.hstack([np.abs(z[:, 2:]), sizes]), c.n)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_running_losses_by_hand(order):
    """q' = sum of weight / b |z'|^2 and so on, beside z', whatever q is; `of` says whether l sees f or all of z'."""
    running = (0.5 * rn.Kinetic(of="state"), rn.Kinetic(reduction="sum"), -1 * rn.SquaredNorm())
    running = (*running, 0.3 * rn.ParameterNorm())
    problem = random_problem(np.random.default_rng(order), order=order, running=running)
    dynamics, d = dynamics_of(problem), 2 * order
    assert (dynamics.d, dynamics.width) == (d, d + 1)
    y, t = np.random.default_rng(9).standard_normal((3, d + 1)), np.array(0.3)
    F = dynamics.forward(t, y, problem.values)
    rate, f, z, theta = F[:, :d], F[:, d - 2 : d], y[:, :d], problem.values.alpha
    squares = [(a**2).sum(axis=1) for a in (rate, f, z)]
    want = 0.5 / 3 * squares[0] + squares[1] - squares[2] / 3 + 0.3 / 3 * (theta**2).sum()
    assert_close(F[:, d], want, sum(squares) + (theta**2).sum(), len(theta) + d + 8)
    other = np.hstack([z, np.full((3, 1), 99.0)])
    np.testing.assert_array_equal(dynamics.forward(t, other, problem.values), F)
    plain = replace(problem, loss=replace(problem.loss, running=()))
    np.testing.assert_array_equal(dynamics_of(plain).forward(t, z, problem.values), rate)


def test_data_control_closed_form():
    """z' = -theta (z + x), which the paper solves in closed form, is the field [z, x] W with W = (-theta, -theta)."""
    field = rn.Linear(2, 1, bias=False)
    model = rn.NeuralODE(field, control="x")
    loss = rn.Loss(terminal=rn.SquaredError([0.0]))
    problem = rn.Problem(model, {"theta.W0": [[-0.5], [-0.5]]}, [[1.0], [3.0]], loss)
    F = dynamics_of(problem).forward(np.array(0.0), np.array([[2.0], [-1.0]]), problem.values)
    np.testing.assert_array_equal(F, [[-1.5], [-1.0]])


@pytest.mark.parametrize(
    ("order", "init", "want"),
    [
        (1, "position", [1, 2]),
        (1, "full", [1, 2]),
        (2, "position", [1, 2, 0, 0]),
        (2, "velocity", [0, 0, 1, 2]),
        (3, "position", [1, 2, 0, 0, 0, 0]),
        (3, "velocity", [0, 0, 1, 2, 0, 0]),
    ],
)
def test_initial_state_by_hand(order, init, want, rng):
    """h_x(x) fills the block that `initial` names, the rest and the gathered running loss start at zero."""
    problem = random_problem(rng, order=order, init=init, running=rn.SquaredNorm())
    values = replace(problem.values, x=np.array([[1.0, 2], [10, 20], [0, 0]]))
    want = np.array([*want, 0.0])
    np.testing.assert_array_equal(initial_y(problem, values), [want, 10 * want, 0 * want])
    plain = replace(problem, loss=replace(problem.loss, running=()))
    np.testing.assert_array_equal(initial_y(plain, values), [want[:-1], 10 * want[:-1], 0 * want[:-1]])
    assert initial_y(problem, replace(values, x=values.x + 0j)).dtype == np.complex128


@pytest.mark.parametrize("order", [2, 3])
def test_initial_state_full(order, rng):
    """With "full" h_x fills all blocks."""
    problem = random_problem(rng, order=order, init="full")
    np.testing.assert_array_equal(initial_y(problem, problem.values), problem.x)


# ---------------------------------------------------------------- derivatives

@given(cases)
def test_jvp_is_the_complex_step(c):
    """In t, y, alpha and x, together and each alone, for order 1 to 3, with control and every running loss."""
    assert_jvp(c.forward, c.jvp, c.args, c.d, c.sizes, c.n)


@given(cases)
def test_vjp_is_the_complex_step(c):
    """Every number of the cotangents of t, y, alpha and x: all terms of the generalised adjoint, and none besides."""
    assert_vjp(c.forward, c.vjp()[:4], c.args, c.g, c.sizes, c.n)


@given(cases)
def test_vjp_is_adjoint_to_jvp(c):
    """<J^T g, d> = <g, J d>."""
    assert_adjoint(c.vjp()[:4], c.jvp, c.d, c.g, c.sizes, c.n + sum(a.size for a in c.args))


@given(cases)
def test_shapes(c):
    """Cotangents are of t (b,), y as y with nothing in q, alpha as alpha, x as x; of the ends (b,), none from a depth
    that does not follow them.
    """
    back = c.vjp()
    assert isinstance(back, Cotangents)
    assert [a.shape for a in back] == [(3,), c.g.shape, c.args[2].shape, c.args[3].shape, (3,), (3,)]
    assert not back.t0.any()
    assert not back.T.any()
    np.testing.assert_array_equal(back.y[:, c.dynamics.d :], np.zeros((3, c.dynamics.width - c.dynamics.d)))
    assert c.forward(*c.args).shape == c.jvp(c.d).shape == c.g.shape


# ---------------------------------------------------------------- the terms of the running loss, one at a time

def sees_only(name):
    """A running loss sum(a^3) of one argument a of its five, that of `name`."""

    def cubes(a):
        own = np.ndim(a) == 2 or (name == "t" and np.ndim(a) == 1)  # else shared by the samples
        return (a**3).reshape(3, -1).sum(axis=1) if own else np.broadcast_to((a**3).sum(), 3)

    def jvp(at, d):
        a, da = getattr(at, name), getattr(d, name)
        own = np.ndim(a) == 2
        change = np.asarray(3 * a**2 * da)
        return change.sum(axis=1) if own else np.broadcast_to(change.sum(), 3)

    def vjp(at, g):
        a = getattr(at, name)
        if name == "t":
            cotangent = 3 * a**2 * g
        else:
            cotangent = 3 * a**2 * (g[:, None] if a.ndim == 2 else g.sum())
        return rn.no_cotangent(at)._replace(**{name: cotangent})

    return rn.UserRunning(lambda at: cubes(getattr(at, name)), jvp, vjp, reduction="sum", of="state")


def named_sizes(field, args, d):
    """|arguments| of a running loss with control, and of their change along d, by name."""
    (t, y, alpha, x), (dt, dy, dalpha, dx) = absolute(args), absolute(d)
    z, dz = y[:, :-1], dy[:, :-1]
    f, df = mlp_sizes(field, (t, z, alpha, x), (dt, dz, dalpha, dx))
    at = {"t": t, "z": z, "theta": alpha, "x": x, "rate": np.hstack([z[:, 2:], f])}
    return at, {"t": dt, "z": dz, "theta": dalpha, "x": dx, "rate": np.hstack([dz[:, 2:], df])}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["t", "z", "theta", "x", "rate"])
def test_no_term_of_the_running_loss_is_dropped(name, order, rng):
    """With g on the running loss alone, the vjp of a loss of t, z, theta, x or z' only is its complex step, not zero.

    The loss of z' reaches t, z, alpha and x through the field: the path that goes missing if only dl/dz is added.
    """
    problem = random_problem(rng, order=order, control=True, running=sees_only(name))
    dynamics, values = dynamics_of(problem), problem.values
    args = (np.array(0.7), rng.standard_normal((3, dynamics.width)), values.alpha, values.x)
    g = np.zeros((3, dynamics.width))
    g[:, -1] = [1.0, -2.0, 0.5]

    def forward(t, y, alpha, x):
        return dynamics.forward(t, y, replace(values, alpha=alpha, x=x))

    def sizes(d):  # 3 a^2 da, where the rate and its change are sums of |terms| of the field and of its jvp
        at, along = named_sizes(problem.model.field, args, d)
        terms = 3 * at[name] ** 2 * along[name]
        q = terms.sum(axis=1) if terms.ndim == 2 else np.broadcast_to(terms.sum(), 3)
        return np.hstack([along["rate"], q[:, None]])

    back = dynamics.vjp(args[0], args[1], values, g)
    n = 2 * mlp_roundings(problem.model.field) + 4 * (len(values.alpha) + 20)
    assert_vjp(forward, back[:4], args, g, sizes, n)
    reached = {"t": {"t"}, "z": {"y"}, "theta": {"alpha"}, "x": {"x"}, "rate": {"t", "y", "alpha", "x"}}[name]
    assert {part for part, a in back._asdict().items() if a.any()} == reached


def test_kinetic_energy_of_field_and_state_differ(rng):
    """For order 2, |z'|^2 = |z_2|^2 + |f|^2, whose cotangent has 2 z_2 beside that of |f|^2; for order 1 they agree."""
    cotangents = {}
    for order in (1, 2):
        for of in ("field", "state"):
            problem = random_problem(np.random.default_rng(1), order=order, running=rn.Kinetic(of=of, reduction="sum"))
            dynamics = dynamics_of(problem)
            y = np.random.default_rng(2).standard_normal((3, dynamics.width))
            g = np.zeros(y.shape)
            g[:, -1] = 1.0
            cotangents[order, of] = dynamics.vjp(np.array(0.5), y, problem.values, g)
    for one, other in zip(cotangents[1, "field"], cotangents[1, "state"], strict=True):
        np.testing.assert_array_equal(one, other)
    extra = cotangents[2, "state"].y - cotangents[2, "field"].y
    want = np.hstack([np.zeros((3, 2)), 2 * y[:, 2:4], np.zeros((3, 1))])
    assert_close(extra, want, np.abs(cotangents[2, "state"].y) + np.abs(want), 2)
    np.testing.assert_array_equal(cotangents[2, "state"].alpha, cotangents[2, "field"].alpha)


def test_without_control_the_field_does_not_see_x(rng):
    """x has no cotangent unless the field, or a running loss, sees it."""
    c = Case(5, 1, False, "kinetic of f", False)
    np.testing.assert_array_equal(c.vjp().x, np.zeros((3, 2)))
    d = list(zeros_like(c.args))
    d[3] = np.ones((3, 2))
    np.testing.assert_array_equal(c.jvp(d), np.zeros(c.g.shape))
    assert Case(5, 1, True, "kinetic of f", False).vjp().x.all()


# ---------------------------------------------------------------- depth and control of another kind

class Swelling:
    """theta(t) = (1 + sin u(t)) alpha: a depth that depends on t; (p,) for a shared u, (b, p) for the samples' own."""

    learns_edges, breaks, jumps = False, np.zeros(0), False

    def __init__(self, interval):
        self.interval = interval

    def shapes(self, leaves):
        return {f"theta.{name}": shape for name, shape in leaves.items()}

    def init(self, leaves):
        return {f"theta.{name}": leaf for name, leaf in leaves.items()}

    def forward(self, u, cell, alpha, leaves):
        return alpha * (1 + np.sin(beside(u)))

    def jvp(self, u, cell, alpha, leaves, du, dalpha):
        return dalpha * (1 + np.sin(beside(u))) + alpha * np.cos(beside(u)) * beside(du)

    def vjp(self, u, cell, alpha, leaves, g):
        g_alpha = g * (1 + np.sin(beside(u)))
        return (g * alpha).sum(axis=-1) * np.cos(u), g_alpha if np.ndim(u) == 0 else g_alpha.sum(axis=0)


def beside(u):
    """u () as it is, u (b,) as a column."""
    return column(u) if np.ndim(u) else u


@pytest.mark.parametrize("own_t", [False, True], ids=["shared t", "own t"])
@pytest.mark.parametrize("interval", ["span", (-0.5, 1.5)], ids=["follows the span", "stays"])
def test_theta_that_depends_on_t(interval, own_t, rng):
    """t, and where u follows the span t0 and T too, also act through theta(t): all cotangents are complex steps.

    A shared u has one theta for all samples: what flows back through it belongs to no sample, only the sum is t's.
    """
    problem = random_problem(rng, running=(rn.ParameterNorm(), rn.Kinetic()), span=(0.25, 1.25))
    problem = replace(problem, model=replace(problem.model, depth=Swelling(interval)))
    dynamics, values, field = dynamics_of(problem), problem.values, problem.model.field
    t = np.array(rng.uniform(0, 1.5, 3 if own_t else ()))
    args = (t, rng.standard_normal((3, 3)), values.alpha, values.t0, values.T)
    g, d = rng.standard_normal((3, 3)), normals_like(rng, args)

    def forward(t, y, alpha, t0, T):
        return dynamics.forward(t, y, replace(values, alpha=alpha, t0=t0, T=T))

    def jvp(d):
        along = replace(values.like(0.0), alpha=d[2], t0=d[3], T=d[4])
        return dynamics.jvp(args[0], args[1], values, d[0], d[1], along)

    def sizes(d):  # |sin|, |cos| <= 1; u is t / length plus at most 1, and a rounding of it moves either by as much
        (t, y, alpha, t0, _), (dt, dy, dalpha, dt0, dT) = absolute(args), absolute(d)
        length = 1.0 if interval == "span" else 2.0
        u = (t + t0 + 0.5) / length
        du = (dt + (1 + u) * dt0 + u * dT) / length
        swell = 2 + beside(u)
        theta, dtheta = swell * alpha, swell * (dalpha + alpha * beside(du))
        rate, drate = mlp_sizes(field, (t, y[:, :2], theta, None), (dt, dy[:, :2], dtheta, None))
        q = 2 * (rate * drate).sum(axis=1) + 2 * (theta * dtheta).sum(axis=-1)
        return np.hstack([drate, q[:, None]])

    n = 2 * mlp_roundings(field) + 4 * (len(values.alpha) + 40)
    assert_jvp(forward, jvp, args, d, sizes, n)
    back = dynamics.vjp(args[0], args[1], values, g)
    assert back.t0.shape == back.T.shape == (3,)
    assert (back.T.sum() != 0) == (interval == "span")
    ends = (back.t0.sum(), back.T.sum())
    assert_vjp(forward, (back.t if own_t else back.t.sum(), back.y, back.alpha, *ends), args, g, sizes, n)


def test_a_cotangent_of_x_without_control_is_ignored(rng):
    """A field that returns a cotangent of x although it was given none does not change that of x."""
    mlp = rn.MLP(2, 2)
    eager = rn.UserField(mlp.forward, mlp.jvp, lambda *args: (*mlp.vjp(*args)[:3], np.ones((3, 2))), mlp.shapes, 2)
    problem = random_problem(rng, running=rn.Kinetic())
    problem = rn.Problem(rn.NeuralODE(eager), mlp_params(mlp, rng), problem.x, problem.loss)
    back = dynamics_of(problem).vjp(np.array(0.3), rng.standard_normal((3, 3)), problem.values, np.ones((3, 3)))
    np.testing.assert_array_equal(back.x, np.zeros((3, 2)))


def mlp_params(mlp, rng):
    """Random leaves of a field, by their full names."""
    return {f"theta.{name}": rng.standard_normal(shape) for name, shape in mlp.shapes.items()}
