"""What several test files share: problems that depend on t, the complex step, and sums of absolute terms for bounds.

Bounds have one form: got and want differ by at most n EPS terms. `terms` is the sum of the absolute values of all that
is added up on the way, found by evaluating the same formula on absolute values; n counts the roundings on the longest
way through it. EPS is two unit round-offs, so that n roundings in `got` and n in `want` are both covered.
"""

import math
from functools import partial

import numpy as np

import refnode as rn
from refnode.arrays import unflatten

EPS = np.finfo(float).eps
STEP = 2.0**-100  # of the complex step: truncation is STEP^2 = 6e-61 of a third derivative, nothing beside EPS
LIBRARY = 4  # roundings allowed to one exp, log1p, tanh, sin or cos of a library


# ---------------------------------------------------------------- derivatives

def complex_step(f, args, d):
    """The derivative of f(*args) along d, a tuple like args. None stands for an argument that is not there."""
    moved = [a if a is None else a + 1j * STEP * e for a, e in zip(args, d, strict=True)]
    return np.imag(f(*moved)) / STEP


def normals_like(rng, args):
    """A random direction for complex_step."""
    return tuple(None if a is None else rng.standard_normal(np.shape(a)) for a in args)


def only(which, d):
    """The direction d in argument number `which`, and none in the others."""
    return tuple(e if e is None or k == which else np.zeros(np.shape(e)) for k, e in enumerate(d))


def units(args):
    """(argument number, index, direction) for every number of args: a one there, zeros elsewhere."""
    for which, a in enumerate(args):
        for index in np.ndindex(np.shape(a)) if a is not None else ():
            d = [None if b is None else np.zeros(np.shape(b)) for b in args]
            d[which][index] = 1.0
            yield which, index, tuple(d)


# ---------------------------------------------------------------- comparisons

def assert_close(got, want, terms, n):
    """|got - want| <= n EPS terms, entry by entry, with bounds that are numbers and no broadcasting."""
    bound = np.broadcast_to(n * EPS * np.asarray(terms), np.shape(got))
    assert np.shape(got) == np.shape(want)
    assert np.isfinite(bound).all()
    np.testing.assert_array_less(np.abs(np.asarray(got) - want), bound + np.finfo(float).tiny)


def assert_jvp(f, jvp, args, d, sizes, n):
    """jvp(d) is the complex step of f along d, along each part of d alone too. `sizes(d)` sums absolute terms of jvp."""
    for part in (d, *(only(which, d) for which, a in enumerate(args) if a is not None)):
        assert_close(jvp(part), complex_step(f, args, part), sizes(part), n)


def assert_vjp(f, cotangents, args, g, sizes, n):
    """Every entry of the cotangents for g is the complex step of <g, f>; that of a t (), shared, is one per sample."""
    for which, index, d in units(args):
        slope, terms = g * complex_step(f, args, d), np.abs(g) * sizes(d)
        if args[which].ndim < np.ndim(cotangents[which]):
            rest = tuple(range(1, g.ndim))
            assert_close(cotangents[which], slope.sum(axis=rest), terms.sum(axis=rest), n)
        else:
            assert_close(cotangents[which][index], slope.sum(), terms.sum(), n)
    for cotangent, a in zip(cotangents, args, strict=True):
        assert (cotangent is None) == (a is None)


def assert_adjoint(cotangents, jvp, d, g, sizes, n):
    """<J^T g, d> = <g, J d>."""
    pairs = [(c, e) for c, e in zip(cotangents, d, strict=True) if e is not None]
    assert_close(sum((c * e).sum() for c, e in pairs), (g * jvp(d)).sum(), (np.abs(g) * sizes(d)).sum(), n)


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
    first = h = [*z, *x]
    for k, width in enumerate(f.widths[1:]):
        h = [ACTS[f.act](v) for v in u] if k else h
        h = [*h, t] if f.time == "every" or (f.time == "first" and k == 0) else h
        W = [[next(numbers) for _ in range(width)] for _ in h]
        b = [next(numbers) if f.bias else 0.0 for _ in range(width)]
        u = [sum(v * row[j] for v, row in zip(h, W, strict=True)) + b[j] for j in range(width)]
    if f.skip:
        A = [[next(numbers) for _ in u] for _ in first]
        u = [v + sum(w * row[j] for w, row in zip(first, A, strict=True)) for j, v in enumerate(u)]
    assert not list(numbers)
    return u


def mlp_sizes(f, args, d=None):
    """Sums (b, o) of the absolute values of all terms of f's forward, and of its jvp along d.

    For each activation |act(u)| <= 1 + |u|, |act'| <= 1 and |act''| <= 1, so a rounding of u moves the slope by less
    than that of the sum U of |terms| of u: the slope counts as 1 + U.
    """
    t, z, theta, x = (None if a is None else np.abs(a) for a in args)
    dt, dz, dtheta, dx = (None if e is None else np.abs(e) for e in (normals_like(ZEROS, args) if d is None else d))
    leaf, dleaf, batch = unflatten(theta, f.shapes), unflatten(dtheta, f.shapes), len(z)
    times = partial(np.einsum, "bi,...io->bo")
    H = H0 = z if x is None else np.hstack([z, x])
    D = D0 = dz if x is None else np.hstack([dz, dx])
    for k in range(f.depth):
        H, D = (1 + U, (1 + U) * dU) if k else (H, D)  # noqa: F821  of the layer before
        if len(leaf[f"W{k}"][..., :, 0].T) > H.shape[1]:
            H, D = (np.hstack([a, np.full((batch, 1), 1.0) * np.reshape(s, (-1, 1))]) for a, s in ((H, t), (D, dt)))
        U = shared(times, H, leaf[f"W{k}"])
        dU = shared(times, D, leaf[f"W{k}"]) + shared(times, H, dleaf[f"W{k}"])
        if f.bias:
            U, dU = U + leaf[f"b{k}"], dU + dleaf[f"b{k}"]
    if f.skip:
        U = U + shared(times, H0, leaf["A"])
        dU = dU + shared(times, D0, leaf["A"]) + shared(times, H0, dleaf["A"])
    return U, dU
