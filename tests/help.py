"""What several test files share: problems that depend on t, the complex step, and the bounds of comparisons.

Bounds have one form: got and want differ by at most n EPS terms. `terms` is the sum of the absolute values of all that
is added up on the way, found by evaluating the same formula on absolute values; n counts the roundings on the longest
way through it. EPS is two unit round-offs, so that n roundings in `got` and n in `want` are both covered.
"""

import math

import numpy as np
from hypothesis import settings

import refnode as rn
from refnode.arrays import unflatten

EPS = np.finfo(float).eps
STEP = 2.0**-100  # of the complex step: truncation is STEP^2 = 6e-61 of a third derivative, nothing beside EPS
UNSEEN = np.finfo(float).tiny / STEP  # derivatives below this may underflow in the complex step
LIBRARY = 4  # roundings allowed to one exp, log1p, tanh, sin or cos of a library


# ---------------------------------------------------------------- many examples

def many(examples):
    """How many examples a long test draws: all of them where every run draws others, else a quarter.

    Examples that are always the same (profile ci) say nothing new the second time; a test of a few of its own runs
    beside each long one.
    """
    return -(-examples // 4) if settings.default.derandomize else examples


# ---------------------------------------------------------------- directions and derivatives

def complex_step(f, args, d):
    """The derivative of f(*args) along d, a tuple like args. None stands for an argument that is not there."""
    moved = [a if a is None else a + 1j * STEP * e for a, e in zip(args, d, strict=True)]
    return np.imag(f(*moved)) / STEP


def normals_like(rng, args):
    """A random direction."""
    return tuple(None if a is None else np.array(rng.standard_normal(np.shape(a))) for a in args)


def zeros_like(args):
    """No direction at all."""
    return tuple(None if a is None else np.zeros(np.shape(a)) for a in args)


def only(which, d):
    """The direction d in argument number `which`, and none in the others."""
    return tuple(e if k == which else zero for k, (e, zero) in enumerate(zip(d, zeros_like(d), strict=True)))


def units(args):
    """(argument number, index, direction) for every number of args: a one there, zeros elsewhere."""
    for which, a in enumerate(args):
        for index in np.ndindex(np.shape(a)) if a is not None else ():
            d = zeros_like(args)
            d[which][index] = 1.0
            yield which, index, d


def absolute(args):
    """Absolute values of every argument."""
    return tuple(None if a is None else np.abs(a) for a in args)


# ---------------------------------------------------------------- comparisons

def assert_close(got, want, terms, n):
    """|got - want| <= n EPS terms, entry by entry; the shapes agree, and the bound is a number."""
    assert np.shape(got) == np.shape(want)
    bound = n * EPS * np.asarray(terms) + UNSEEN
    assert np.isfinite(bound).all()
    off = np.abs(np.asarray(got) - want)
    assert (off <= bound).all(), f"off by {np.max(off / bound):.3g} bounds:\n{got}\n{want}"


def assert_jvp(f, jvp, args, d, sizes, n):
    """jvp(d) is the complex step of f along d, and along each argument's part of d; sizes(d) sums the jvp's |terms|."""
    for part in (d, *(only(which, d) for which, a in enumerate(args) if a is not None)):
        assert_close(jvp(part), complex_step(f, args, part), sizes(part), n)


def assert_vjp(f, cotangents, args, g, sizes, n):
    """Every entry of the cotangents for g is the complex step of <g, f>; a shared t () has one per sample."""
    assert [c is None for c in cotangents] == [a is None for a in args]
    for which, index, d in units(args):
        slope, terms, got = g * complex_step(f, args, d), np.abs(g) * sizes(d), cotangents[which]
        if got.ndim > args[which].ndim:
            slope, terms = (v.reshape(len(g), -1).sum(axis=1) for v in (slope, terms))
            assert_close(got, slope, terms, n)
        else:
            assert got.shape == args[which].shape
            assert_close(got[index], slope.sum(), terms.sum(), n)


def assert_adjoint(cotangents, jvp, d, g, sizes, n):
    """<J^T g, d> = <g, J d>."""
    left = sum((c * e).sum() for c, e in zip(cotangents, d, strict=True) if e is not None)
    assert_close(left, (g * jvp(d)).sum(), (np.abs(g) * sizes(d)).sum(), n)


# ---------------------------------------------------------------- networks

ACTS = {
    "tanh": math.tanh,
    "softplus": lambda v: math.log1p(math.exp(v)),
    "sin": math.sin,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "relu": lambda v: max(v, 0.0),
    "identity": lambda v: v,
}


def plain_mlp(f, t, z, theta, x=()):
    """The MLP of one sample from its definition, number by number: z (i,), theta (p,), x (n,) -> list of o numbers."""
    numbers = iter(theta)
    inputs = [*z, *x]
    u = []
    for k, width in enumerate(f.widths[1:]):
        h = [ACTS[f.act](v) for v in u] if k else inputs
        h = [*h, t] if takes_time(f, k) else h
        W = [[next(numbers) for _ in range(width)] for _ in h]
        b = [next(numbers) if f.bias else 0.0 for _ in range(width)]
        u = [sum(v * row[j] for v, row in zip(h, W, strict=True)) + b[j] for j in range(width)]
    if f.skip:
        A = [[next(numbers) for _ in u] for _ in inputs]
        u = [v + sum(w * row[j] for w, row in zip(inputs, A, strict=True)) for j, v in enumerate(u)]
    assert not list(numbers)
    return u


def takes_time(f, k):
    """Whether t enters layer k."""
    return f.time == "every" or (f.time == "first" and k == 0)


def mlp_sizes(f, args, d=None):
    """Sums (b, o) of the absolute values of all terms of f's forward at args, and of its jvp along d.

    For each activation |act(u)| <= 1 + |u|, |act'| <= 1 and |act''| <= 1; so a rounding of u, which is a part of the
    sum U of its |terms|, moves the slope by no more than that: the slope counts as 1 + U.
    """
    t, z, theta, x = absolute(args)
    dt, dz, dtheta, dx = absolute(zeros_like(args) if d is None else d)
    leaf, dleaf = unflatten(theta, f.shapes), unflatten(dtheta, f.shapes)
    H0, D0 = (z, dz) if x is None else (np.hstack([z, x]), np.hstack([dz, dx]))
    U, dU = H0, D0
    for k in range(f.depth):
        H, D = (1 + U, (1 + U) * dU) if k else (H0, D0)
        H, D = (with_time(H, t), with_time(D, dt)) if takes_time(f, k) else (H, D)
        U, dU = product(H, leaf[f"W{k}"]), product(D, leaf[f"W{k}"]) + product(H, dleaf[f"W{k}"])
        U, dU = (U + leaf[f"b{k}"], dU + dleaf[f"b{k}"]) if f.bias else (U, dU)
    if f.skip:
        U, dU = U + product(H0, leaf["A"]), dU + product(D0, leaf["A"]) + product(H0, dleaf["A"])
    return U, dU


def with_time(H, t):
    """t () or (b,) as a last column of H (b, i)."""
    return np.hstack([H, np.full((len(H), 1), np.reshape(t, (-1, 1)))])


def product(H, W):
    """H (b, i) times W (i, o) or (b, i, o)."""
    return (H[:, None, :] @ W)[:, 0]


def mlp_roundings(f):
    """n for f, its jvp and its vjp: every layer's sum and activation, forth and back; complex products round twice."""
    return 4 * sum(i + 2 + 2 * LIBRARY for i in f.widths) + 4 * f.widths[0]


def sizes_field(f):
    """A field whose forward and jvp are the sums of |terms| of those of the MLP f."""
    return rn.UserField(
        forward=lambda *args: mlp_sizes(f, args)[0],
        jvp=lambda *args: mlp_sizes(f, args[:4], args[4:])[1],
        vjp=f.vjp,
        shapes=f.shapes,
        width=f.width_out,
    )


# ---------------------------------------------------------------- problems

def random_problem(
    rng, *, order=1, init="position", control=False, h_x=None, h_y=None, running=(), times=(), own_ends=False,
    batch=3, width=2, hidden=3, act="tanh", time="every", skip=True, span=(0.25, 1.5), scale=1.0,
):  # fmt: skip
    """A problem of an MLP field with random numbers in every leaf, and a squared error at T and at `times`."""
    d = order * width
    n = d if init == "full" else width
    n = h_x.widths[0] if isinstance(h_x, rn.MLP) else n - h_x.extra if isinstance(h_x, rn.ZeroAugment) else n
    field = rn.MLP(d + (n if control else 0), hidden, width, act=act, time=time, skip=skip)
    words = {"order": order, "init": init, "control": "x" if control else "none"}
    model = rn.NeuralODE(field, h_x=h_x, h_y=h_y, span=span, **words)
    params = {name: rng.standard_normal(shape) for name, shape in model.shapes.items()}
    outputs = h_y.widths[-1] if isinstance(h_y, rn.MLP) else d
    observed = rn.observe(times, rng.standard_normal((len(times), batch, outputs))) if len(times) else None
    terminal = rn.SquaredError(rng.standard_normal((batch, outputs)))
    loss = rn.Loss(terminal, observed, running, scale)
    ends = (span[0] - 0.1 * rng.random(batch), span[1] + rng.random(batch)) if own_ends else None
    return rn.Problem(model, params, rng.standard_normal((batch, n)), loss, ends)
