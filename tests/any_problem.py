"""Any problem that a file can hold: hypothesis draws the structure, a seed the numbers."""

import numpy as np
from hypothesis import strategies as st

import refnode as rn
from refnode.layers import ACTIVATIONS

TORCHDYN = (
    rn.TorchdynFourier, rn.TorchdynPolynomial, rn.TorchdynChebychev, rn.TorchdynGaussianRBF, rn.TorchdynVanillaRBF,
    rn.TorchdynMultiquadRBF,
)  # fmt: skip


@st.composite
def mlps(draw, i, o, time=("none",)):
    """An MLP from width i to width o."""
    hidden = draw(st.lists(st.integers(1, 4), max_size=2))
    act, flags = draw(st.sampled_from(sorted(ACTIVATIONS))), draw(st.tuples(st.booleans(), st.booleans()))
    return rn.MLP(i, *hidden, o, act=act, bias=flags[0], time=draw(st.sampled_from(time)), skip=flags[1])


@st.composite
def bases(draw):
    """Any basis, of one function or more."""
    kind, m = draw(st.sampled_from(["smooth", "fourier", "rbf", "kinks", "torchdyn"])), draw(st.integers(1, 4))
    if kind == "torchdyn":
        return draw(st.sampled_from(TORCHDYN))(m)
    if kind == "smooth":
        return draw(st.sampled_from([rn.Legendre, rn.Chebyshev, rn.Monomial]))(m)
    if kind == "fourier":
        return rn.Fourier(draw(st.integers(1, 2)))
    if kind == "rbf":
        return rn.GaussianRBF(m, draw(st.none() | st.floats(0.1, 2)))
    inner = draw(st.lists(st.floats(0.01, 0.99), max_size=3, unique=True))
    return draw(st.sampled_from([rn.Hat, rn.PiecewiseConstant]))(sorted(inner))


@st.composite
def depths(draw, leaves):
    """Any depth for a field with these leaves."""
    if draw(st.integers(0, 3)) == 0:
        return rn.Constant()
    basis = draw(bases())
    elsewhere = [] if isinstance(basis, rn.TorchdynPolynomial) else [(0.1, 1.0)]  # u is negative there at times
    interval = draw(st.sampled_from(["span", (-1.5, 2.25), *elsewhere]))
    layers = draw(st.none() | st.lists(st.sampled_from(list(leaves)), min_size=1, unique=True))
    learns_edges = isinstance(basis, rn.PiecewiseConstant) and draw(st.booleans())
    return rn.Galerkin(basis, interval, layers, learns_edges)


@st.composite
def input_maps(draw, block):
    """h_x that fills a block, and the width of x."""
    kinds = ["identity", "mlp", "columns"] + ["zero_augment", "partial_input"] * (block > 1)
    kind, n = draw(st.sampled_from(kinds)), draw(st.integers(1, 3))
    if kind == "mlp":
        return draw(mlps(n, block)), n
    if kind == "columns":
        start = draw(st.integers(0, 2))
        return rn.Columns(start, start + block), start + block + draw(st.integers(0, 1))
    if kind in ("zero_augment", "partial_input"):
        n = draw(st.integers(1, block - 1))
        return rn.ZeroAugment(block - n) if kind == "zero_augment" else rn.PartialInput(draw(mlps(n, block - n))), n
    return None, block


@st.composite
def controls(draw, n):
    """What the field sees of x (b, n), and how many columns that are."""
    if draw(st.booleans()):
        return draw(st.sampled_from([("none", 0), ("x", n)]))
    start = draw(st.integers(0, n - 1))
    stop = draw(st.integers(start + 1, n))
    return rn.Columns(start, stop), stop - start


@st.composite
def models(draw):
    """Any model, and the width of its x."""
    order, w = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    initial = draw(st.sampled_from(["position", "full"] + ["velocity"] * (order > 1)))
    h_x, n = draw(input_maps(order * w if order == 1 or initial == "full" else w))
    control, beside = draw(controls(n))
    if control == "none" and order == 1 and draw(st.integers(0, 4)) == 0:
        field = rn.CosineField(w)
    else:
        field = draw(mlps(order * w + beside, w, ("none", "first", "every")))
    d = order * w
    h_y = draw(st.none() | mlps(d, draw(st.integers(1, 3))) | st.just(rn.Columns(d - 1, d)))
    theta = draw(depths(field.shapes))
    T = rn.AdaptiveDepth(draw(mlps(n, 1))) if draw(st.integers(0, 3)) == 0 else 1.0
    how = {"theta": theta, "span": (0.0, T), "order": order, "init": initial, "control": control}
    return rn.NeuralODE(field, h_x=h_x, h_y=h_y, **how), n


@st.composite
def spans(draw, rng, batch):
    """(t0, T), each shared or per sample, either of them the larger."""
    t0, T = (rng.uniform(low, low + 0.2, draw(st.sampled_from([(), (batch,)]))) for low in (-0.5, 1))
    return (t0, T) if draw(st.booleans()) else (T, t0)


@st.composite
def times(draw, rng, t0, T):
    """Up to two times that every sample passes, the last of them perhaps at its end."""
    way = np.sign(np.mean(T - t0))
    start, end = (way * float(f(way * np.asarray(t))) for f, t in ((np.max, t0), (np.min, T)))
    inner = start + np.sort(rng.uniform(0.1, 0.9, draw(st.integers(0, 2)))) * (end - start)
    if len(inner) and np.ndim(T) == 0 and draw(st.booleans()):
        inner[-1] = T
    return inner


@st.composite
def point_losses(draw, rng, batch, k):
    """Any point loss of k outputs."""
    how = {"weight": draw(st.sampled_from([1.0, -0.3, 0])), "reduction": draw(st.sampled_from(["mean", "sum"]))}
    kind = draw(st.sampled_from([rn.SquaredError, rn.LinearFunctional, rn.CrossEntropy, rn.StandardNormal]))
    if kind is rn.StandardNormal:
        return kind(**how)
    if kind is rn.CrossEntropy:
        return kind(rng.integers(0, k, batch), **how)
    return kind(rng.standard_normal(draw(st.sampled_from([(batch, k), (k,)]))), **how)


@st.composite
def running_losses(draw, rng, batch, model):
    """Any running loss of a model's states (batch, d)."""
    how = {"weight": draw(st.sampled_from([1.0, 0.1])), "reduction": draw(st.sampled_from(["mean", "sum"]))}
    if isinstance(model.field, rn.MLP) and model.field.act != "relu" and draw(st.integers(0, 3)) == 0:
        noise = rng.choice([-1.0, 1.0], (2, batch, model.field.width_out)) if draw(st.booleans()) else None
        return rn.Divergence(model.field, model.control, "exact" if noise is None else "hutchinson", noise, **how)
    how["of"] = draw(st.sampled_from(["field", "state"]))
    kind = draw(st.sampled_from([rn.SquaredNorm, rn.Kinetic, rn.ParameterNorm, rn.Tracking]))
    path = rn.Harmonic(*rng.standard_normal((3, model.state_width)))
    return kind(path, **how) if kind is rn.Tracking else kind(**how)


@st.composite
def problems(draw):
    """Any problem that a file can hold."""
    (model, n), rng = draw(models()), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch, d = draw(st.integers(1, 3)), model.state_width
    x, params = rng.standard_normal((batch, n)), model.init(rng)
    t0, T = draw(spans(rng, batch))
    if model.adaptive:  # a small network: depths near log 2, so that all samples pass the same times
        params |= {name: 0.1 * leaf for name, leaf in params.items() if name.startswith("T.")}
        problem = rn.Problem(model, params, x, rn.Loss(running=rn.SquaredNorm()), (t0, None))
        t0, T = problem.span
    k, moving = model.h_y.width(d), len(model.depth.breaks) > 0 and model.depth.interval == "span"
    seen_at = np.zeros(0) if moving and t0.ndim + T.ndim > 0 else draw(times(rng, t0, T))
    seen = rn.Observations(seen_at, [draw(point_losses(rng, batch, k)) for _ in seen_at]) if len(seen_at) else None
    running = draw(st.lists(running_losses(rng, batch, model), max_size=2))
    terminal = draw(point_losses(rng, batch, k)) if draw(st.booleans()) or not (seen or running) else None
    loss = rn.Loss(terminal, seen, running, scale=draw(st.sampled_from([1.0, -2.5, 1])))
    return rn.Problem(model, params, x, loss, (t0, None if model.adaptive else T))
