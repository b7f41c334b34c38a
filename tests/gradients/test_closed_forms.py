"""Every method returns the gradient that a pencil returns, in every leaf, to the digits its tolerance promises.

The problems have flows in closed form, and their gradients are written out here by hand:

    z' = k cos(t) z                 z(T) = x exp(k S),  S = sin T - sin t0
    z' = z A + t v + b              [z, t, 1]' = [z, t, 1] M
    q'' = w_q q + w_p q'            [q, p]' = [q, p] M
    z' = a z + c x                  [z, x]' = [z, x] M
    z' = w z with integral losses   int |z|^2, int |z'|^2, int |w|^2, int |z - beta(t)|^2

A method promises -log10(tol) - 2 digits of every leaf; central differences promise 8 of those of the computed solution.
"""

import numpy as np
import pytest
from scipy.linalg import expm, expm_frechet

import refnode as rn
from tests.gradients.problems import METHODS, TO_TOLERANCE

X = np.array([[0.8, -0.5], [1.3, 0.4], [-0.6, 1.1]])
Y = np.array([[0.3, 0.9], [-0.7, 0.2], [0.5, -1.2]])
K = np.array([0.7, -1.2])
OWN_T, OWN_T0 = np.array([1.2, 1.9, 1.5]), np.array([-0.3, 0.1, 0.2])
SPANS = {
    "forwards": (0.25, 1.75),
    "backwards": (1.5, -0.25),
    "own T": (0.25, OWN_T),
    "own t0 and T": (OWN_T0, OWN_T),
    "own, backwards": (OWN_T, OWN_T0),
}


def per_sample(v):
    """v () or (b,) as (b, 1)."""
    return np.broadcast_to(v, (len(X),))[:, None]


def like_end(per_sample, end):
    """The gradient of an end of the span: one per sample, or their sum."""
    return per_sample if np.ndim(end) else per_sample.sum()


# ---------------------------------------------------------------- the problems, each with its gradient

def cosine(span, times=(), reduction="mean", scale=1.0):
    """z' = k cos(t) z with squared errors at T and at observation times."""
    t0, T = span
    targets = np.array([Y + 0.1 * j for j in range(len(times))])
    terminal = rn.SquaredError(Y, reduction=reduction)
    observed = rn.observe(times, targets, reduction=reduction, weight=0.5) if times else None
    problem = rn.Problem(
        rn.NeuralODE(rn.CosineField(2)), {"theta.k": K}, X, rn.Loss(terminal, observed, scale=scale), span
    )
    factor = scale / len(X) if reduction == "mean" else scale
    g = {"theta.k": 0.0, "x": 0.0, "t0": 0.0}
    own = []
    for t, target, weight in (*((t, y, 0.5) for t, y in zip(times, targets, strict=True)), (T, Y, 1.0)):
        S = np.sin(per_sample(t)) - np.sin(per_sample(t0))
        z = X * np.exp(K * S)
        G = 2 * factor * weight * (z - target)                       # dL/dz(t)
        g["theta.k"] = g["theta.k"] + (G * z * S).sum(axis=0)
        g["x"] = g["x"] + G * np.exp(K * S)
        g["t0"] = g["t0"] - (G * z * K * np.cos(per_sample(t0))).sum(axis=1)
        own.append((G * z * K * np.cos(per_sample(t))).sum(axis=1))  # dL/dz . z'(t)
    g |= {"t0": like_end(g["t0"], t0), "T": like_end(own[-1], T)}
    return problem, g | ({"t_obs": np.array([o.sum() for o in own[:-1]])} if times else {})


def linear_flow(w0, M, tau, dL):
    """For w(T) = w0 exp(tau M) and G = dL(w(T)): the gradients of w0, M and tau (b, 1)."""
    E = [expm(t * M) for (t,) in tau]
    wT = np.array([w @ e for w, e in zip(w0, E, strict=True)])
    G = dL(wT)
    g_w0 = np.array([g @ e.T for g, e in zip(G, E, strict=True)])
    # <G, w0 exp'(tau M)[tau dM]> = <tau exp'(tau M^T)[w0^T G], dM>
    g_M = sum(
        t * expm_frechet(t * M.T, np.outer(w, g), compute_expm=False) for (t,), w, g in zip(tau, w0, G, strict=True)
    )
    return g_w0, g_M, (G * (wT @ M)).sum(axis=1)


def affine(span):
    """z' = z A + t v + b, which is linear in [z, t, 1]."""
    t0, T = span
    A, v, b = np.array([[-0.4, 0.9], [-1.1, 0.2]]), np.array([0.5, -0.8]), np.array([0.3, 0.6])
    problem = rn.Problem(
        rn.NeuralODE(rn.MLP(2, 2, time="first")), {"theta.W0": np.vstack([A, v]), "theta.b0": b}, X,
        rn.Loss(rn.SquaredError(Y, reduction="sum")), span,
    )  # fmt: skip
    M = np.zeros((4, 4))
    M[:2, :2], M[2, :2], M[3, :2], M[3, 2] = A, v, b, 1.0
    w0 = np.hstack([X, per_sample(t0), per_sample(1.0)])

    def dL(w):
        return np.hstack([2 * (w[:, :2] - Y), np.zeros((3, 2))])

    g_w0, g_M, g_tau = linear_flow(w0, M, per_sample(T) - per_sample(t0), dL)
    return problem, {
        "theta.W0": g_M[:3, :2], "theta.b0": g_M[3, :2], "x": g_w0[:, :2],
        "t0": like_end(g_w0[:, 2] - g_tau, t0), "T": like_end(g_tau, T),  # t0 is a start value too
    }  # fmt: skip


def oscillator(span, initial):
    """q'' = w_q q + w_p q' with h_x(x) in q, in p or in both."""
    t0, T = span
    w = np.array([[-4.0], [-0.3]])
    x = X if initial == "full" else X[:, :1]
    block = {"position": slice(0, 1), "velocity": slice(1, 2), "full": slice(0, 2)}[initial]
    problem = rn.Problem(
        rn.NeuralODE(rn.MLP(2, 1, bias=False), order=2, init=initial), {"theta.W0": w}, x,
        rn.Loss(rn.LinearFunctional(Y, reduction="sum")), span,
    )  # fmt: skip
    M = np.array([[0.0, w[0, 0]], [1.0, w[1, 0]]])
    w0 = np.zeros((3, 2))
    w0[:, block] = x
    g_w0, g_M, g_tau = linear_flow(w0, M, per_sample(T) - per_sample(t0), lambda w: Y)
    g = {"theta.W0": g_M[:, 1:], "x": g_w0[:, block]}
    return problem, g | {"t0": like_end(-g_tau, t0), "T": like_end(g_tau, T)}


def controlled(span):
    """z' = a z + c x, z(t0) = x: the input acts twice."""
    t0, T = span
    w = np.array([[-0.9], [0.6]])
    problem = rn.Problem(
        rn.NeuralODE(rn.MLP(2, 1, bias=False), control="x"), {"theta.W0": w}, X[:, :1],
        rn.Loss(rn.SquaredError(Y[:, :1], weight=-2.0)), span,
    )  # fmt: skip
    M = np.hstack([w, np.zeros((2, 1))])
    w0 = np.hstack([X[:, :1], X[:, :1]])

    def dL(w):
        return np.hstack([-2.0 / 3 * 2 * (w[:, :1] - Y[:, :1]), np.zeros((3, 1))])

    g_w0, g_M, g_tau = linear_flow(w0, M, per_sample(T) - per_sample(t0), dL)
    g = {"theta.W0": g_M[:, :1], "x": g_w0.sum(axis=1, keepdims=True)}
    return problem, g | {"t0": like_end(-g_tau, t0), "T": like_end(g_tau, T)}


def mapped(span):
    """z' = k cos(t) z between the affine maps h_x and h_y."""
    t0, T = span
    A, c, B, d = np.array([[0.5, -1.0]]), np.array([0.2, 0.7]), np.array([[1.5], [-0.4]]), np.array([0.1])
    params = {"theta.k": K, "h_x.W0": A, "h_x.b0": c, "h_y.W0": B, "h_y.b0": d}
    model = rn.NeuralODE(rn.CosineField(2), h_x=rn.Linear(1, 2), h_y=rn.Linear(2, 1))
    x, y = X[:, :1], Y[:, :1]
    problem = rn.Problem(model, params, x, rn.Loss(rn.SquaredError(y, reduction="sum")), span)
    S = np.sin(per_sample(T)) - np.sin(per_sample(t0))
    z = (x @ A + c) * np.exp(K * S)
    g_y = 2 * (z @ B + d - y)
    G = g_y @ B.T
    g_z0 = G * np.exp(K * S)
    g = {
        "theta.k": (G * z * S).sum(axis=0), "h_x.W0": x.T @ g_z0, "h_x.b0": g_z0.sum(axis=0),
        "h_y.W0": z.T @ g_y, "h_y.b0": g_y.sum(axis=0), "x": g_z0 @ A.T,
    }  # fmt: skip
    g["t0"] = like_end(-(G * z * K * np.cos(per_sample(t0))).sum(axis=1), t0)
    return problem, g | {"T": like_end((G * z * K * np.cos(per_sample(T))).sum(axis=1), T)}


def integral(span, kinds, terminal=False):
    """z' = w z with running losses, signed where t runs backwards, and a linear terminal loss if asked for."""
    t0, T = span
    w, x = -0.8, X[:, :1]
    terms = {
        "squared norm": rn.SquaredNorm(weight=0.5, reduction="sum"),  # 1/2 x^2 (e - 1) / 2 w,  e = exp(2 w tau)
        "kinetic": rn.Kinetic(reduction="sum"),                       # w^2 x^2 (e - 1) / 2 w
        "parameter norm": rn.ParameterNorm(weight=3.0),               # 3 w^2 tau, averaged
    }
    loss = rn.Loss(rn.LinearFunctional(Y[:, :1]) if terminal else None, None, tuple(terms[kind] for kind in kinds))
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False))
    problem = rn.Problem(model, {"theta.W0": np.array([[w]])}, x, loss, span)
    tau = per_sample(T) - per_sample(t0)
    e = np.exp(2 * w * tau)
    g_w, g_x, g_tau = 0.0, np.zeros(x.shape), np.zeros(3)
    for kind in kinds:
        if kind == "parameter norm":
            g_w, g_tau = g_w + 3 * 2 * w * tau.mean(), g_tau + 3 * w**2 / 3
            continue
        c, dc = (0.5, 0.0) if kind == "squared norm" else (w**2, 2 * w)  # l = c(w) z^2
        integral = x**2 * (e - 1) / (2 * w)
        g_w = g_w + (dc * integral + c * x**2 * (2 * w * tau * e - e + 1) / (2 * w**2)).sum()
        g_x = g_x + c * x * (e - 1) / w
        g_tau = g_tau + (c * x**2 * e)[:, 0]
    if terminal:
        zT = x * np.exp(w * tau)
        g_w, g_x = g_w + (Y[:, :1] * zT * tau).mean(), g_x + Y[:, :1] * np.exp(w * tau) / 3
        g_tau = g_tau + (Y[:, :1] * w * zT)[:, 0] / 3
    return problem, {
        "theta.W0": np.array([[g_w]]), "x": g_x, "t0": like_end(-g_tau, t0), "T": like_end(g_tau, T)
    }  # fmt: skip


def waved_integral(span):
    """z' = k cos(t) z with the running loss cos(t) |z|^2, which depends on t itself: x^2 (exp(2 k S) - 1) / 2 k."""
    t0, T = span
    running = rn.UserRunning(
        fn_value=lambda at: np.cos(at.t) * (at.z**2).sum(axis=1),
        fn_jvp=lambda at, d: 2 * np.cos(at.t) * (at.z * d.z).sum(axis=1) - np.sin(at.t) * d.t * (at.z**2).sum(axis=1),
        fn_vjp=lambda at, g: rn.no_cotangent(at)._replace(
            t=-g * np.sin(at.t) * (at.z**2).sum(axis=1), z=2 * (g * np.cos(at.t))[:, None] * at.z
        ),
        reduction="sum",
    )
    problem = rn.Problem(rn.NeuralODE(rn.CosineField(2)), {"theta.k": K}, X, rn.Loss(running=running), span)
    S = np.sin(per_sample(T)) - np.sin(per_sample(t0))
    e = np.exp(2 * K * S)
    return problem, {
        "theta.k": (X**2 * (S * e / K - (e - 1) / (2 * K**2))).sum(axis=0),
        "x": X * (e - 1) / K,
        "t0": like_end(-(np.cos(per_sample(t0)) * X**2 * e).sum(axis=1), t0),
        "T": like_end((np.cos(per_sample(T)) * X**2 * e).sum(axis=1), T),
    }


def tracked(span):
    """z' = w z with int |z - A cos(omega t + phi)|^2 dt, whose closed form is differentiated by the complex step."""
    t0, T = span
    w, x, A, frequency, phi = -0.8, X[:, :1], 0.9, 0.35, 0.4
    beta = rn.Harmonic(np.array([A]), np.array([frequency]), np.array([phi]))
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False))
    loss = rn.Loss(running=rn.Tracking(beta=beta, reduction="sum"))
    problem = rn.Problem(model, {"theta.W0": np.array([[w]])}, x, loss, span)
    omega = 2 * np.pi * frequency

    def closed(w, x, t0, T):  # (b,)
        decay, start, end = np.exp(w * (T - t0)), omega * t0 + phi, omega * T + phi
        slopes = [w * np.cos(angle) + omega * np.sin(angle) for angle in (start, end)]
        z_z = x**2 * (decay**2 - 1) / (2 * w)
        z_beta = A * x * (decay * slopes[1] - slopes[0]) / (w**2 + omega**2)
        beta_beta = A**2 * ((T - t0) / 2 + (np.sin(2 * end) - np.sin(2 * start)) / (4 * omega))
        return z_z - 2 * z_beta + beta_beta

    at, h = (np.array(w), x[:, 0], per_sample(t0)[:, 0], per_sample(T)[:, 0]), 2.0**-100
    g_w, g_x, g_t0, g_T = (closed(*(a + 1j * h * (i == j) for j, a in enumerate(at))).imag / h for i in range(4))
    return problem, {
        "theta.W0": np.array([[g_w.sum()]]), "x": g_x[:, None], "t0": like_end(g_t0, t0), "T": like_end(g_T, T)
    }  # fmt: skip


# ---------------------------------------------------------------- every method, every leaf

def assert_digits(result, truth, promised):
    """Every leaf of the truth to so many digits, and no leaf beside them."""
    assert result.grads.keys() == truth.keys()
    digits = rn.compare(result, truth)
    assert min(digits.values()) >= promised, digits


CASES = {f"cosine, {name}": (cosine, span) for name, span in SPANS.items()}
CASES |= {f"affine, {name}": (affine, span) for name, span in SPANS.items()}
CASES |= {f"oscillator, {initial}": (oscillator, SPANS["own T"], initial) for initial in ("position", "full")}
CASES |= {
    "oscillator, velocity": (oscillator, SPANS["backwards"], "velocity"),
    "control": (controlled, SPANS["forwards"]),
    "control, own, backwards": (controlled, SPANS["own, backwards"]),
    "maps": (mapped, SPANS["forwards"]),
    "maps, own t0 and T": (mapped, SPANS["own t0 and T"]),
    "observations": (cosine, SPANS["forwards"], (0.5, 0.9, 1.6)),
    "observations, own t0 and T, sum": (cosine, SPANS["own t0 and T"], (0.5, 1.0), "sum"),
    "observations, backwards, scaled": (cosine, SPANS["backwards"], (1.2, 0.0), "sum", -1e4),
    "int |z|^2": (integral, SPANS["forwards"], ("squared norm",)),
    "int |z'|^2, backwards": (integral, SPANS["backwards"], ("kinetic",)),
    "int |theta|^2, own T": (integral, SPANS["own T"], ("parameter norm",)),
    "all three and L(T), own t0 and T": (
        integral, SPANS["own t0 and T"], ("squared norm", "kinetic", "parameter norm"), True,
    ),
    "int cos(t) |z|^2": (waved_integral, SPANS["forwards"]),
    "int cos(t) |z|^2, own, backwards": (waved_integral, SPANS["own, backwards"]),
    "int |z - beta|^2": (tracked, SPANS["forwards"]),
    "int |z - beta|^2, own, backwards": (tracked, SPANS["own, backwards"]),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_closed_form(case, method):
    """Shared steps at tol 1e-10: 8 digits of every leaf, whatever the problem."""
    build, *arguments = CASES[case]
    problem, truth = build(*arguments)
    # methods that solve once for every number get the tableau with the fewest steps
    solver = rn.Solver("dopri5" if method in ("discrete", *TO_TOLERANCE) else "dop853", tol=1e-10)
    assert_digits(rn.gradient(problem, method, solver), truth, 8)


@pytest.mark.parametrize("method", [*TO_TOLERANCE, "discrete"])
@pytest.mark.parametrize(("name", "tol"), [("bosh3", 1e-5), ("tsit5", 1e-9), ("dop853", 1e-12)])
@pytest.mark.parametrize("case", ["affine, own t0 and T", "observations, own t0 and T, sum", "int |z - beta|^2"])
def test_digits_are_those_of_the_tolerance(case, name, tol, method):
    """Steps of one's own, and other tableaux, at other tolerances: -log10(tol) - 2 digits."""
    build, *arguments = CASES[case]
    problem, truth = build(*arguments)
    result = rn.gradient(problem, method, rn.Solver(name, tol=tol, steps="own"))
    assert_digits(result, truth, -np.log10(tol) - 2)


@pytest.mark.parametrize("method", METHODS)
def test_adj_t0_is_the_costate_at_the_start(method):
    """adj_t0 = dloss/dz(t0) with the control held, so it is not `x`; None from methods that have no costate."""
    problem, truth = controlled((0.25, 1.75))
    result = rn.gradient(problem, method, rn.Solver("dop853", tol=1e-10))
    if method in ("discrete", "backsolve", "interpolating", "quadrature"):
        # z(T) = x (e + c (e - 1) / a), of which the first e is dz(T)/dz(t0)
        e = np.exp(-0.9 * 1.5)
        adj = -2.0 / 3 * 2 * (X[:, :1] * (e + 0.6 * (e - 1) / -0.9) - Y[:, :1]) * e
        assert rn.digits(result.adj_t0, adj) >= 8
        assert rn.digits(result.adj_t0, truth["x"]) < 1
    else:
        assert result.adj_t0 is None


# ---------------------------------------------------------------- no depth at all

@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("T", [0.4, np.array([0.4, 1.1, 0.4])], ids=["every sample", "some samples"])
def test_empty_span(T, method):
    """T = t0: x gets dL/dz, theta gets nothing, and the ends get -+ dL/dz . f; also for some samples only."""
    problem, truth = cosine((0.4, T))
    if np.ndim(T) == 0:
        np.testing.assert_array_equal(truth["theta.k"], 0)
        np.testing.assert_allclose(truth["T"], -truth["t0"], rtol=1e-15)
    assert_digits(rn.gradient(problem, method, rn.Solver("dopri5", tol=1e-10)), truth, 8)


@pytest.mark.parametrize("method", METHODS)
def test_empty_span_gives_exact_zeros(method):
    """With no depth the parameters get a gradient of exactly 0, and the running loss adds exactly 0."""
    problem, _ = integral((0.7, 0.7), ("squared norm", "kinetic", "parameter norm"))
    result = rn.gradient(problem, method, rn.Solver("dopri5", tol=1e-10))
    assert result.loss == 0
    assert not result.grads["theta.W0"].any()
    assert not result.grads["x"].any()
