"""Random problems and solvers for the gradient tests, and what rounding can do to their gradients.

Every drawn problem has a batch of two or more, a field or a loss that depends on t unless it is told not to, and a
span that starts anywhere and runs either way. Hypothesis draws the structure; the numbers come from a drawn seed.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

import refnode as rn
from refnode.arrays import column
from refnode.loss import Weighted

EPS = np.finfo(np.float64).eps
METHODS = tuple(rn.METHODS)
EXACT_FOR_THE_GRID = ("discrete", "forward_discrete", "complex_step")  # one map, three ways to differentiate it
TO_TOLERANCE = ("backsolve", "interpolating", "quadrature", "forward_continuous")
ADAPTIVE = tuple(name for name, tableau in rn.TABLEAUX.items() if tableau.adaptive)
SMOOTH = ("tanh", "softplus", "sin", "sigmoid", "identity")


# ---------------------------------------------------------------- losses of one's own

@dataclass(frozen=True, eq=False)
class Wave(Weighted):
    """L = cos(t) |y|^2 + w . y, w (batch, k): a point loss that depends on t itself, written to the protocol."""

    w: np.ndarray

    def check(self, name, batch, width):
        assert self.w.shape == (batch, width)

    def value(self, t, y):
        return np.cos(t) * (y**2).sum(axis=1) + (self.w * y).sum(axis=1)

    def grad(self, t, y):
        return -np.sin(t) * (y**2).sum(axis=1), 2 * column(np.cos(t)) * y + self.w


def everything(**how):
    """l = cos(t) |z|^2 + |x|^2 sum(z) + |theta|^2 sum(rate): a running loss that sees all its arguments."""

    def value(at):
        return (
            np.cos(at.t) * (at.z**2).sum(axis=1)
            + (at.x**2).sum(axis=1) * at.z.sum(axis=1)
            + (at.theta**2).sum() * at.rate.sum(axis=1)
        )

    def jvp(at, d):
        return (
            -np.sin(at.t) * d.t * (at.z**2).sum(axis=1)
            + 2 * np.cos(at.t) * (at.z * d.z).sum(axis=1)
            + 2 * (at.x * d.x).sum(axis=1) * at.z.sum(axis=1)
            + (at.x**2).sum(axis=1) * d.z.sum(axis=1)
            + 2 * (at.theta * d.theta).sum() * at.rate.sum(axis=1)
            + (at.theta**2).sum() * d.rate.sum(axis=1)
        )

    def vjp(at, g):
        x_x, z_sum, rate_sum = (at.x**2).sum(axis=1), at.z.sum(axis=1), at.rate.sum(axis=1)
        return rn.RunningArgs(
            t=-g * np.sin(at.t) * (at.z**2).sum(axis=1),
            z=2 * column(g * np.cos(at.t)) * at.z + column(g * x_x),
            theta=2 * at.theta * (g * rate_sum).sum(),
            x=2 * column(g * z_sum) * at.x,
            rate=column(g * (at.theta**2).sum()) * np.ones(at.rate.shape),
        )

    return rn.UserRunning(fn_value=value, fn_jvp=jvp, fn_vjp=vjp, **how)


# ---------------------------------------------------------------- problems

@st.composite
def weights(draw):
    """A term's weight and reduction."""
    return {"weight": draw(st.sampled_from([1.0, -0.5, 0.1])), "reduction": draw(st.sampled_from(["mean", "sum"]))}


@st.composite
def point_losses(draw, batch, k, rng):
    """A point loss of y (batch, k)."""
    kind, how = draw(st.sampled_from(["squared", "linear", "entropy", "wave"])), draw(weights())
    if kind == "squared":
        return rn.SquaredError(rng.standard_normal((batch, k)), **how)
    if kind == "linear":
        return rn.LinearFunctional(rng.standard_normal((batch, k)), **how)
    if kind == "entropy":
        return rn.CrossEntropy(rng.integers(k, size=batch), **how)
    return Wave(rng.standard_normal((batch, k)), **how)


RUNNING = ("squared norm", "kinetic", "kinetic of the state", "parameter norm", "tracking", "everything")


@st.composite
def running_losses(draw, d, rng):
    """Up to three running losses of different kinds."""
    terms = []
    for kind in draw(st.lists(st.sampled_from(RUNNING), max_size=3, unique=True)):
        how = draw(weights())
        harmonic = rn.Harmonic(rng.standard_normal(d), rng.uniform(0.2, 1, d), rng.uniform(0, 6, d))
        terms.append({
            "squared norm": lambda how: rn.SquaredNorm(**how),
            "kinetic": lambda how: rn.Kinetic(**how),
            "kinetic of the state": lambda how: rn.Kinetic(of="state", **how),
            "parameter norm": lambda how: rn.ParameterNorm(**how),
            "tracking": lambda how, beta=harmonic: rn.Tracking(beta=beta, **how),
            "everything": lambda how: everything(**how),
        }[kind](how))  # fmt: skip
    return tuple(terms)


@st.composite
def models(draw, acts=(*SMOOTH, "relu")):
    """A model and the width n of its input."""
    order, n = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 2))
    initial = draw(st.sampled_from(["position", "velocity", "full"])) if order == 2 else "position"
    kind = draw(st.sampled_from(["none", "augment", "linear", "mlp"]))
    if order == 2 and initial == "full":                # h_x fills both blocks: an even width
        kind = "linear" if kind in ("none", "augment") else kind
    out = {"none": n, "augment": n + 1}.get(kind) or draw(st.integers(1, 2))
    filled = 2 * out if order == 2 and initial == "full" else out
    h_xs = {"none": None, "augment": rn.ZeroAugment(1), "linear": rn.Linear(n, filled), "mlp": rn.MLP(n, 2, filled)}
    d, control = order * out, draw(st.sampled_from(["none", "x"]))
    hidden = draw(st.lists(st.integers(1, 3), max_size=2))
    field = rn.MLP(
        d + (n if control == "x" else 0), *hidden, out,
        act=draw(st.sampled_from(acts)), bias=draw(st.booleans()), skip=draw(st.booleans()),
        time=draw(st.sampled_from(["none", "first", "every"])),
    )  # fmt: skip
    k = draw(st.integers(1, 3))
    h_y = draw(st.sampled_from([None, rn.Linear(d, k), rn.MLP(d, 2, k, act="sin")]))
    return rn.NeuralODE(field, h_x=h_xs[kind], h_y=h_y, order=order, init=initial, control=control), n


@st.composite
def spans(draw, batch, rng, ends=("shared", "own T", "own t0 and T")):
    """(t0, T) of length 0.3 to 1.2 in either direction, and the interval (2,) that every sample passes."""
    kind, way = draw(st.sampled_from(ends)), draw(st.sampled_from([1.0, -1.0]))
    t0, T = rng.uniform(-1, 1), rng.uniform(0.3, 1.0)
    if kind == "own t0 and T":
        t0 = t0 - rng.uniform(0, 0.1, batch)
    if kind != "shared":
        T = T + rng.uniform(0, 0.2, batch)
    T = np.max(t0) + T
    common = np.array([np.max(t0), np.min(T)])
    return (way * t0, way * T), way * common


def draw_params(model, rng):
    """Every leaf normal, weights with variance 1 / fan-in."""
    return {
        name: rng.standard_normal(shape) / np.sqrt(shape[0] if len(shape) > 1 else 2)
        for name, shape in model.shapes.items()
    }


@st.composite
def problems(draw, acts=(*SMOOTH, "relu"), ends=("shared", "own T", "own t0 and T"), most_observed=3, running=True):
    """A problem with every ingredient that the library has, in some combination."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    model, n = draw(models(acts))
    batch = draw(st.integers(2, 3))
    x = rng.standard_normal((batch, n))
    span, (low, high) = draw(spans(batch, rng, ends))
    k = model.h_y.width(model.state_width)
    terminal = draw(st.none() | point_losses(batch, k, rng))
    count = draw(st.integers(0, most_observed))
    times = low + (high - low) * np.sort(rng.uniform(0.05, 0.95, count))
    observed = rn.Observations(times, [draw(point_losses(batch, k, rng)) for _ in times]) if count else None
    terms = draw(running_losses(model.state_width, rng)) if running else ()
    if terminal is None and observed is None and not terms:
        terminal = rn.SquaredError(rng.standard_normal((batch, k)))
    loss = rn.Loss(terminal, observed, terms, scale=draw(st.sampled_from([1.0, -3.0, 1e-6, 1e6])))
    return rn.Problem(model, draw_params(model, rng), x, loss, span)


@st.composite
def solvers(draw, fixed=True, adaptive=True, most_steps=8):
    """A solver: any tableau with some fixed steps, or an adaptive one with a tolerance that suits its order."""
    if fixed and (not adaptive or draw(st.booleans())):
        return rn.Solver(draw(st.sampled_from(sorted(rn.TABLEAUX))), n_steps=draw(st.integers(1, most_steps)))
    name = draw(st.sampled_from(ADAPTIVE))
    tol = 10.0 ** -draw(st.integers(2, 5 if name == "bosh3" else 9))
    steps, norm = draw(st.sampled_from([("shared", "batch"), ("shared", "max"), ("own", "batch")]))
    return rn.Solver(name, tol=tol, steps=steps, norm=norm)


# ---------------------------------------------------------------- batches

def rows(problem, index):
    """The problem of some samples, each adding to the loss what it added before; index is an array of integers."""

    def taken(term):
        data = {name: getattr(term, name) for name in ("target", "c", "labels", "w") if hasattr(term, name)}
        data = {name: a[index] for name, a in data.items() if a.ndim == 2 or name == "labels"}  # else the same for all
        return replace(term, weight=term.factor(problem.batch), reduction="sum", **data)

    loss = problem.loss
    terminal, running = loss.terminal and taken(loss.terminal), tuple(map(taken, loss.running))
    observed = loss.observations and replace(loss.observations, terms=tuple(map(taken, loss.observations.terms)))
    loss = replace(loss, terminal=terminal, observations=observed, running=running)
    span = tuple(end[index] if end.ndim else end for end in problem.span)
    return rn.Problem(problem.model, problem.params, problem.x[index], loss, span)


def singles(problem):
    """The samples one by one."""
    return [rows(problem, np.array([i])) for i in range(problem.batch)]


def together(problem, of_singles):
    """Leaves of the batch from its samples': rows of x and of t0 and T per sample are stacked, the rest is summed."""
    own = {"x"} | {name for name, end in zip(("t0", "T"), problem.span, strict=True) if end.ndim}
    return {
        name: np.concatenate([leaves[name] for leaves in of_singles])
        if name in own
        else sum(leaves[name] for leaves in of_singles)
        for name in of_singles[0]
    }


# ---------------------------------------------------------------- what rounding can do

def lipschitz(problem):
    """A bound of |dF/dz| for an MLP field: norms of weights times slopes of activations; 1 more for q' = p."""
    field, L = problem.model.field, 1.0
    for k, width in enumerate(field.widths[:-1]):
        slope = 0.25 if field.act == "sigmoid" and k > 0 else 1.0
        L *= slope * np.linalg.norm(problem.params[f"theta.W{k}"][:width], 2)
    L += np.linalg.norm(problem.params["theta.A"], 2) if field.skip else 0.0
    return L + (1 if problem.model.order > 1 else 0)


def operations(problem):
    """Roundings on the longest path through one evaluation of F, or of its vjp.

    A layer sums up to i terms forwards and o backwards, and costs 8 for bias, activation and slope (libm: a few units
    in the last place); the gradient of a shared parameter sums over the batch, the parameter norm over all of theta.
    """
    field = problem.model.field
    theta = sum(int(np.prod(shape)) for shape in field.shapes.values()) if problem.loss.running else 0
    return 2 * sum(field.widths) + 8 * len(field.widths) + problem.batch + theta


def amplification(problem):
    """exp(L |T - t0|): what the flow can make of a change of the state, or of the costate."""
    t0, T = problem.span
    return float(np.exp(lipschitz(problem) * np.max(np.abs(T - t0))))


def rounding_bound(problem, solver):
    """Leaf -> how far two exact gradients of one computed solution may be apart, normwise: C eps max(magnitude).

    A gradient is a sum of contributions, one for each sample, step and stage: a cotangent that came down from the loss
    times a derivative at a state that came up from x. `magnitude` is the sum of their absolute values. Taken from the
    samples one by one, it also counts what cancels between samples inside one stage.

        one stage      operations(problem) for F or its vjp, and s + 3 for y + h sum_j a_ij k_j
        one path       up through at most N s stages, and down through as many: 2 N s (operations + s + 3) roundings
        the flow       carries a rounding of the state to all later ones, and grows it at most exp(L |T - t0|) times

    Each rounding is eps / 2, and two results are compared: C = 2 N s (operations + s + 3) exp(L |T - t0|). This is a
    worst case to first order: it takes all roundings to have one sign, and makes up in this way for cancellation
    inside a stage, which the magnitude does not see. In 5 000 drawn problems the largest difference was 0.04 of the
    bound, and half of all leaves were below 6e-5 of it.
    """
    per_sample = [rn.gradient(one, "discrete", solver) for one in singles(problem)]
    steps = max(int(np.max(g.stats.accepted)) for g in per_sample) + 2  # the batch may take a step or two more
    s = solver.tableau.stages
    C = 2 * steps * s * (operations(problem) + s + 3) * amplification(problem)
    magnitude = together(problem, [g.magnitude for g in per_sample])
    return {name: C * EPS * float(np.max(m, initial=0.0)) for name, m in magnitude.items()}


def assert_same(got, want, bound):
    """Every leaf of got is that of want, normwise within its bound."""
    assert got.keys() == want.keys()
    for name in want:
        assert got[name].shape == want[name].shape, name
        error = np.max(np.abs(got[name] - want[name]), initial=0.0)
        assert error <= bound[name], f"{name}: off by {error:.3g}, {error / (bound[name] or EPS):.3g} times the bound"


def assert_same_bits(got, want):
    """Every leaf of got is that of want, bit for bit; 0 and -0 are the same number."""
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def largest(leaves):
    """The largest entry of any leaf."""
    return max(float(np.max(np.abs(g), initial=0.0)) for g in leaves.values())
