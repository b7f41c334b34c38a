"""Gradients in closed form, to 40 digits: linear flows and z' = k cos(t) z, with squared error at T.

    z' = z A:         z(T) = x e^(A tau),   dL/dA = tau D exp(A^T tau)[x^T g],   tau = T - t0,   g = dL/dz(T)
    z' = k cos(t) z:  z(T) = x e^(k (sin T - sin t0)),   dL/dk = (sin T - sin t0) z(T) g

Evaluated in decimal arithmetic from the exact float64 inputs and rounded once, so that the radius is half a unit in the
last place. The derivative of the matrix exponential is a block of the exponential of a block matrix,

    exp [[M, E], [0, M]] = [[exp M, D exp(M)[E]], [0, exp M]]

Source   Van Loan 1978, IEEE Trans. Automatic Control 23; Higham 2008, Functions of Matrices, sec. 3.2.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np

from refnode.arrays import Array
from refnode.depth import Constant
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.loss import SquaredError
from refnode.maps import Identity
from refnode.model import Problem

PRECISION = 60  # decimal digits; inputs of moderate size lose a few of them to cancellation in the series

Exact = Array  # of dtype object, holding Decimals


def exact(a: Array) -> Exact:
    """The same numbers as Decimals, without rounding."""
    return np.vectorize(lambda v: Decimal(float(v)), otypes=[object])(a)


def exp_matrix(M: Exact) -> Exact:
    """exp M for a matrix of Decimals: Taylor series after halving M until its norm is below 1/2, then squaring.

    The remainder after the last term is below that term, which is below 10^-PRECISION.
    """
    norm = float(max(sum(abs(v) for v in row) for row in M))
    halvings = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 1)
    small = M / Decimal(2) ** halvings
    term = total = exact(np.eye(len(M)))
    n = 0
    while max(abs(v) for v in term.ravel()) > Decimal(10) ** -PRECISION:
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


def closed_form(problem: Problem) -> dict[str, Array] | None:
    """The gradient of every leaf rounded to float64, if the problem has one of the two forms; else None."""
    recipe = _recipe(problem)
    if recipe is None:
        return None
    with localcontext() as context:
        context.prec = PRECISION
        leaves = recipe({name: exact(leaf) for name, leaf in problem.leaves().items()}, _slope(problem))
        return {name: np.array(np.asarray(leaf, dtype=object).astype(np.float64)) for name, leaf in leaves.items()}


Slope = Callable[[Exact], Exact]
Recipe = Callable[[dict[str, Exact], Slope], dict[str, Exact]]


def _recipe(problem: Problem) -> Recipe | None:
    model, loss, field = problem.model, problem.loss, problem.model.field
    maps = type(model.h_x) is Identity and type(model.h_y) is Identity
    plain = maps and isinstance(model.depth, Constant) and model.order == 1 and model.control == "none"
    terminal = type(loss.terminal) is SquaredError and loss.observations is None and not loss.running
    shared = all(end.ndim == 0 for end in problem.span)  # type: ignore[union-attr]
    if not (plain and terminal and shared):
        return None
    if type(field) is MLP and field.depth == 1 and not (field.bias or field.skip) and field.time == "none":
        return _linear_flow
    return _cosine_flow if type(field) is CosineField else None


def _slope(problem: Problem) -> Slope:
    """dL/dz(T) of the squared error, exactly."""
    term = problem.loss.terminal
    assert isinstance(term, SquaredError)
    factor = Decimal(term.weight) * Decimal(problem.loss.scale)
    if term.reduction == "mean":
        factor = factor / Decimal(problem.batch)
    return lambda z: 2 * factor * (z - exact(np.broadcast_to(term.target, z.shape)))


def _linear_flow(leaf: dict[str, Exact], slope: Slope) -> dict[str, Exact]:
    A, x, tau = leaf["theta.W0"], leaf["x"], leaf["T"][()] - leaf["t0"][()]
    flow = exp_matrix(A * tau)
    z = x @ flow
    g = slope(z)
    d, zero = len(A), exact(np.zeros(A.shape))
    blocks = np.block([[A.T * tau, x.T @ g], [zero, A.T * tau]])
    dA = tau * exp_matrix(blocks)[:d, d:]
    dT = (g * (z @ A)).sum()
    return {"theta.W0": dA, "x": g @ flow.T, "t0": -dT, "T": dT}


def _cosine_flow(leaf: dict[str, Exact], slope: Slope) -> dict[str, Exact]:
    k, x = leaf["theta.k"], leaf["x"]
    (s0, c0), (s1, c1) = sine_cosine(leaf["t0"].item()), sine_cosine(leaf["T"].item())
    flow = np.array([(v * (s1 - s0)).exp() for v in k], dtype=object)
    z = x * flow
    g = slope(z)
    dk = ((s1 - s0) * z * g).sum(axis=0)
    return {"theta.k": dk, "x": g * flow, "t0": -(g * z * k * c0).sum(), "T": (g * z * k * c1).sum()}
