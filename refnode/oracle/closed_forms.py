"""Gradients in closed form, to 40 digits: linear flows and z' = k cos(t) z, with squared error at T.

    z' = z A:           z(T) = x e^(A tau),   dL/dA = tau D exp(A^T tau)[x^T g],   tau = T - t0,   g = dL/dz(T)
    z' = z A + x B + b: the same for s = [z, x, 1], whose matrix M has the rows A, B, b in its first columns
    stacked:            s(T) = s(t0) e^(M_1 tau_1) .. e^(M_m tau_m),   dL/dtau_j = sum (s(s_j) M_j) g(s_j)
    z' = k cos(t) z:    z(T) = x e^(k (sin T - sin t0)),   dL/dk = (sin T - sin t0) z(T) g

Evaluated in decimal arithmetic from the exact float64 inputs, twice: what more digits change is the error of fewer. The
derivative of the matrix exponential is a block of the exponential of a block matrix,

    exp [[M, E], [0, M]] = [[exp M, D exp(M)[E]], [0, exp M]]

Source   Van Loan 1978, IEEE Trans. Automatic Control 23; Higham 2008, Functions of Matrices, sec. 3.2.
"""

from collections.abc import Callable
from decimal import Decimal, getcontext, localcontext

import numpy as np

from refnode.arrays import Array
from refnode.depth import Constant, Stacked
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.loss import SquaredError
from refnode.maps import Identity
from refnode.oracle.decimals import exact
from refnode.oracle.truth import Truth
from refnode.problem import Problem

PRECISION = 60  # decimal digits; inputs of moderate size lose a few of them to cancellation in the series
GUARD = 20  # digits more, from which the error of PRECISION is known

Exact = Array  # of dtype object, holding Decimals


def exp_matrix(M: Exact) -> Exact:
    """exp M for a matrix of Decimals: Taylor series after halving M until its norm is below 1/2, then squaring.

    The remainder after the last term is below that term, which is below 10^-p for the context's p digits.
    """
    norm = float(max(sum(abs(v) for v in row) for row in M))
    halvings = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 1)
    small = M / Decimal(2) ** halvings
    term = total = exact(np.eye(len(M)))
    n = 0
    while max(abs(v) for v in term.ravel()) > Decimal(10) ** -getcontext().prec:
        n += 1
        term = term @ small / Decimal(n)
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def sine_cosine(t: Decimal) -> tuple[Decimal, Decimal]:
    """sin t, cos t: exp of the rotation generator."""
    zero = Decimal(0)
    R = exp_matrix(np.array([[zero, t], [-t, zero]], dtype=object))
    return R[0, 1], R[0, 0]


def closed_form(problem: Problem, precision: int = PRECISION) -> dict[str, Exact] | None:
    """The gradient of every leaf as Decimals of so many digits if it has one of the forms above, or None."""
    recipe = _recipe(problem)
    if recipe is None:
        return None
    with localcontext() as context:
        context.prec = precision
        leaves = recipe({name: exact(leaf) for name, leaf in problem.leaves().items()}, _slope(problem))
        return {name: np.asarray(leaf, dtype=object) for name, leaf in leaves.items()}


def closed_form_truth(problem: Problem) -> Truth | None:
    """The same with its radii; None if there is no closed form.

    Evaluated with PRECISION digits and GUARD more. The first differs from the second by its own error, up to 10^-GUARD
    of that; the second is the midpoint, and ten times the largest difference in a leaf, with some digits for where both
    agree, is its radius.
    """
    mid, fewer = closed_form(problem, PRECISION + GUARD), closed_form(problem)
    if mid is None or fewer is None:
        return None
    with localcontext() as context:
        context.prec = PRECISION + GUARD
        radius = {name: np.full(v.shape, _doubt(v, fewer[name])) for name, v in mid.items()}
    grads = {name: np.array(v.astype(np.float64)) for name, v in mid.items()}
    return Truth(grads, radius, "closed form", f"closed form, {PRECISION + GUARD} decimal digits", mid)


def _doubt(mid: Exact, fewer: Exact) -> float:
    """Ten times the largest difference and one unit in digit PRECISION of the largest entry, rounded up."""
    off = max((abs(a - b) for a, b in zip(mid.ravel(), fewer.ravel(), strict=True)), default=Decimal(0))
    size = max((abs(a) for a in mid.ravel()), default=Decimal(0))
    return float(np.nextafter(float(10 * off + size.scaleb(-PRECISION)), np.inf)) if size or off else 0.0


Slope = Callable[[Exact], Exact]
Recipe = Callable[[dict[str, Exact], Slope], dict[str, Exact]]


def _recipe(problem: Problem) -> Recipe | None:
    model, loss, field = problem.model, problem.loss, problem.model.field
    maps = type(model.h_x) is Identity and type(model.h_y) is Identity
    terminal = type(loss.terminal) is SquaredError and loss.observations is None and not loss.running
    shared = all(end.ndim == 0 for end in problem.span)  # type: ignore[union-attr]
    if not (maps and terminal and shared and model.order == 1):
        return None
    if type(field) is MLP and field.depth == 1 and not field.skip and field.time == "none":
        pieces = model.depth in (Constant(), Stacked(model.edges))
        return _linear_flow if pieces and isinstance(model.control, str) else None
    plain = model.depth == Constant() and model.control == "none"
    return _cosine_flow if plain and type(field) is CosineField else None


def _slope(problem: Problem) -> Slope:
    """dL/dz(T) of the squared error, exactly."""
    term = problem.loss.terminal
    assert isinstance(term, SquaredError)
    factor = Decimal(term.weight) * Decimal(problem.loss.scale)
    if term.reduction == "mean":
        factor = factor / Decimal(problem.batch)
    return lambda z: 2 * factor * (z - exact(np.broadcast_to(term.target, z.shape)))


def _linear_flow(leaf: dict[str, Exact], slope: Slope) -> dict[str, Exact]:
    """s' = s M_j for s = [z, x, 1] on every piece of the span: one, or those of a stacked depth."""
    x, tau, names = leaf["x"], leaf["T"][()] - leaf["t0"][()], [name for name in leaf if name[:5] in ("theta", "alpha")]
    layers = [leaf[name] if name[:5] == "alpha" else leaf[name][None] for name in names]
    rows = np.concatenate([layers[0], *(b[:, None] for b in layers[1:])], axis=1)  # (m, [A, B, b], d)
    fractions = np.array([Decimal(0), *leaf.get("edges", ()), Decimal(1)], dtype=object)
    d, width = x.shape[1], rows.shape[1]
    M = [np.concatenate([A, exact(np.zeros((width, width - d)))], axis=1) for A in rows]
    lengths = tau * np.diff(fractions)
    control = x if len(layers[0][0]) > d else x[:, :0]
    start = np.concatenate([x, control, exact(np.ones((len(x), 1)))], axis=1)[:, :width]
    d_M, d_lengths, d_start = _product_of_flows(M, lengths, start, lambda s: slope(s[:, :d]), d)
    dT = (np.diff(fractions) * d_lengths).sum()
    grads = _as_layers(names, layers, np.array(d_M)[:, :, :d])
    grads |= {"x": d_start[:, :d] + (d_start[:, d : 2 * d] if control.size else 0), "t0": -dT, "T": dT}
    return grads | ({"edges": tau * (d_lengths[:-1] - d_lengths[1:])} if "edges" in leaf else {})


def _product_of_flows(
    M: list[Exact], lengths: Exact, start: Exact, slope: Slope, d: int
) -> tuple[list[Exact], Exact, Exact]:
    """Gradients of M_j, of the lengths and of s(t0), for s(T) = s(t0) e^(M_1 tau_1) .. e^(M_m tau_m)."""
    s = [start]
    for M_j, tau_j in zip(M, lengths, strict=True):
        s.append(s[-1] @ exp_matrix(M_j * tau_j))
    g, zero = exact(np.zeros(start.shape)), exact(np.zeros(M[0].shape))
    g[:, :d] = slope(s[-1])
    d_M, d_lengths = [], []
    for j in reversed(range(len(M))):
        d_lengths.append((g * (s[j + 1] @ M[j])).sum())
        transposed = M[j].T * lengths[j]
        blocks = np.block([[transposed, s[j].T @ g], [zero, transposed]])
        d_M.append(lengths[j] * exp_matrix(blocks)[: len(zero), len(zero) :])
        g = g @ exp_matrix(transposed)
    return d_M[::-1], np.array(d_lengths[::-1], dtype=object), g


def _as_layers(names: list[str], layers: list[Exact], d_rows: Exact) -> dict[str, Exact]:
    """Gradients of the rows [A, B, b] (m, width, d) as those of the leaves W0 and b0."""
    i = layers[0].shape[1]
    parts = [d_rows[:, :i], *(d_rows[:, i] for _ in layers[1:])]
    return {name: g if name[:5] == "alpha" else g[0] for name, g in zip(names, parts, strict=True)}


def _cosine_flow(leaf: dict[str, Exact], slope: Slope) -> dict[str, Exact]:
    k, x = leaf["theta.k"], leaf["x"]
    (s0, c0), (s1, c1) = sine_cosine(leaf["t0"].item()), sine_cosine(leaf["T"].item())
    flow = np.array([(v * (s1 - s0)).exp() for v in k], dtype=object)
    z = x * flow
    g = slope(z)
    dk = ((s1 - s0) * z * g).sum(axis=0)
    return {"theta.k": dk, "x": g * flow, "t0": -(g * z * k * c0).sum(), "T": (g * z * k * c1).sum()}
