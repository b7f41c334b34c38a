"""A problem as plain arrays for the kernels, or the reason why it is none."""

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from refnode.arrays import Shapes, size
from refnode.bases import Chebyshev, Fourier, GaussianRBF, Hat, Legendre, Monomial, PiecewiseConstant
from refnode.control import control_of
from refnode.depth import Constant, Galerkin
from refnode.field import MLP
from refnode.fields import UserField
from refnode.kernels import theta
from refnode.kernels.activations import IDENTITY, SIN
from refnode.kernels.leaves import gather_leaves, spread_leaves
from refnode.kernels.mlp import Net, net_of
from refnode.kernels.rates import Rates
from refnode.kernels.systems import System, no_costate
from refnode.kernels.tape import Butcher, Control, Kind
from refnode.kernels.theta import Variance
from refnode.kernels.user import addresses
from refnode.kernels.workspace import WORK
from refnode.problem import Problem
from refnode.running import Harmonic, Kinetic, ParameterNorm, SquaredNorm, Tracking
from refnode.solver import Solver
from refnode.tableau import Tableau
from refnode.values import Values

BASES = {
    Legendre: theta.LEGENDRE, Chebyshev: theta.CHEBYSHEV, Monomial: theta.MONOMIAL, Fourier: theta.FOURIER,
    GaussianRBF: theta.GAUSSIAN, Hat: theta.HAT, PiecewiseConstant: theta.PIECEWISE,
}  # fmt: skip
OF_SEGMENT, OF_STAGE, OF_ROW = Kind(0, 0), Kind(1, 0), Kind(0, 1)


class Refusal(Exception):
    """Why a problem does not pack."""


class Packed(NamedTuple):
    """A problem's dynamics and a solver's numbers."""

    F: System
    V: Variance
    B: Butcher
    control: Control
    kind: Kind
    x: np.ndarray


def refusal(problem: Problem, solver: Solver) -> str:
    """Why the kernels do not take this problem with this solver; "" if they do."""
    model, loss = problem.model, problem.loss
    if type(model.field) is UserField and model.field.row_forward is None:
        return "the field is a UserField without row_forward and row_vjp"
    if type(model.field) not in (MLP, UserField):
        return f"the field is {type(model.field).__name__}, not an MLP"
    for term in loss.running:
        if type(term) not in (SquaredNorm, Kinetic, ParameterNorm, Tracking):
            return f"the running loss {type(term).__name__} is not compiled"
        if type(term) is Tracking and type(term.beta) is not Harmonic:
            return "the tracked path is not an rn.Harmonic"
    depth = model.depth
    if type(depth) is Constant:
        return ""
    if type(depth) is not Galerkin or type(depth.basis) not in BASES:
        return f"the depth {type(depth).__name__} is not compiled"
    return ""


def kind_of(problem: Problem, solver: Solver) -> Kind:
    """Whether theta is one for a segment, one for each stage, or, where samples differ in t, each row's own."""
    depth = problem.model.depth
    if type(depth) is Constant or type(depth.basis) is PiecewiseConstant:
        return OF_SEGMENT
    own = any(np.ndim(end) for end in problem.span or ()) or solver.steps == "own"
    return OF_ROW if own else OF_STAGE


def packed(problem: Problem, values: Values, solver: Solver, dtype: type) -> Packed:
    """The plain arrays of a problem that packs."""
    model = problem.model
    x = control_of(model.control, values.x)
    controls = np.zeros(0, dtype) if x is None else np.array(x, dtype).ravel()  # a copy: read-only is another type
    n_x = 0 if x is None else x.shape[1]
    system = _system if type(model.field) is MLP else _system.__wrapped__  # a user's may hold what cannot be hashed
    F = system(model.field, model.state_width, n_x, problem.loss.running, problem.batch, dtype)
    variance, tableau = _variance(problem, values, dtype), _butcher(solver.tableau, dtype)
    return Packed(F, variance, tableau, _control(solver, F.w, dtype), kind_of(problem, solver), controls)


def slot_numbers(net: Net) -> int:
    """`refnode.kernels.mlp.slot_size` without compiled code."""
    return int(net.slots[-1]) * (2 if net.act == SIN else 1)


def cotangent_numbers(net: Net) -> int:
    """`refnode.kernels.mlp.cotangent_size` without compiled code."""
    return int(net.slots[-1] - net.widths[0] + net.widths[-1])


@lru_cache(maxsize=64)
def _system(field: MLP | UserField, d: int, n_x: int, running: tuple[Any, ...], batch: int, dtype: type) -> System:
    """The dynamics of a structure: the same record every time, whose arrays are never written."""
    net = net_of(field) if type(field) is MLP else _user_net(field, d, n_x, dtype)
    rates = _rates(net, d, n_x, running, batch)
    return System(rates, no_costate(dtype), 0, rates.w, rates.controls, slot_numbers(rates.net))


def _user_net(field: UserField, d: int, n_x: int, dtype: type) -> Net:
    """A user's field as a net of one layer, whose functions stand at their addresses."""
    widths, one = np.array([d + n_x, field.width]), np.zeros(1, np.int64)
    forward, vjp = addresses(field, dtype)
    slots = np.array([0, d + n_x])
    return Net(widths, one, one - 1, slots, one, IDENTITY, -1, size(field.shapes), forward, vjp, d)


def _rates(net: Net, d: int, n_x: int, running: tuple[Any, ...], batch: int) -> Rates:
    squares, tracked = np.zeros(4), []
    for term in running:
        c = term.factor(batch)
        if type(term) is Tracking:
            tracked.append((c, term.beta.amplitude, 2 * np.pi * term.beta.frequency, term.beta.phase))
        else:
            kinetic = 1 if term.of == "field" else 2
            squares[{SquaredNorm: 0, Kinetic: kinetic, ParameterNorm: 3}[type(term)]] += c
    w = d + (1 if running else 0)
    c = np.array([term[0] for term in tracked])
    amplitude, omega, phase = (np.array([term[k] for term in tracked]).reshape(len(tracked), d) for k in (1, 2, 3))
    return Rates(net, d, w, n_x, squares, c, amplitude, omega, phase)


def _variance(problem: Problem, values: Values, dtype: type) -> Variance:
    depth, leaves = problem.model.depth, problem.model.field.shapes
    if type(depth) is Constant:
        return _constant(values.alpha, dtype)
    p = size(leaves)
    still, A = WORK.get("still", (p,), dtype), WORK.get("A", (depth.basis.m, p), dtype)
    spread_into(depth, values.alpha, leaves, still, A)
    held: Variance = WORK.record(("depth", depth, p, dtype), lambda: _galerkin(depth, still, A))
    return held


def _galerkin(depth: Galerkin, still: np.ndarray, A: np.ndarray) -> Variance:
    """A depth whose coefficients stand in these arrays."""
    basis, nodes = depth.basis, np.zeros(1)
    if type(basis) is Hat:
        nodes = np.array([0.0, *basis.nodes, 1.0])
    elif type(basis) is GaussianRBF:
        even = (np.linspace(0, 1, basis.m), 1 / (basis.m - 1)) if basis.m > 1 else (np.array([0.5]), 1.0)
        nodes = np.array([*even[0], basis.width or even[1]])
    lo, hi = (0.0, 1.0) if depth.interval == "span" else depth.interval
    return Variance(BASES[type(basis)], int(depth.interval == "span"), lo, hi, nodes, still, A)


def _constant(theta_: np.ndarray, dtype: type) -> Variance:
    """One theta for all depths, in a record that the thread keeps."""
    p = theta_.size
    held: Variance = WORK.record(("constant depth", p, dtype), lambda: Variance(
        theta.NO_BASIS, 0, 0.0, 1.0, np.zeros(1), np.empty(p, dtype), np.zeros((0, p), dtype)
    ))  # fmt: skip
    held.still[:] = theta_
    return held


def places_of(depth: Galerkin, shapes: Shapes) -> np.ndarray:
    """Of each leaf (leaves, 3): where it begins in theta, its size, and how many coefficients a number has, or 0."""
    return _places_of(depth, tuple(shapes.items()))


@lru_cache(maxsize=64)
def _places_of(depth: Galerkin, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> np.ndarray:
    sizes = [math.prod(shape) for _, shape in shapes]
    counts = [depth.basis.m if depth.varies(name) else 0 for name, _ in shapes]
    return np.stack([np.cumsum([0, *sizes[:-1]]), sizes, counts], axis=1)


def spread(depth: Galerkin, alpha: np.ndarray, shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """alpha, leaf by leaf, as still (p,) and A (m, p)."""
    p = size(shapes)
    still, A = np.empty(p, alpha.dtype), np.empty((depth.basis.m, p), alpha.dtype)
    spread_into(depth, alpha, shapes, still, A)
    return still, A


def spread_into(depth: Galerkin, alpha: np.ndarray, shapes: Shapes, still: np.ndarray, A: np.ndarray) -> None:
    """Write it, and zeros elsewhere, to arrays of another dtype perhaps."""
    spread_leaves(places_of(depth, shapes), alpha, still, A)


def varying(problem: Problem) -> np.ndarray:
    """1 for entries of theta that vary with depth, else 0, (p,)."""
    depth, shapes = problem.model.depth, problem.model.field.shapes
    if type(depth) is Constant:
        return np.zeros(size(shapes))
    _, sizes, counts = places_of(depth, shapes).T
    return np.repeat((counts > 0).astype(np.float64), sizes)


def gathered(problem: Problem, g_still: np.ndarray, g_A: np.ndarray) -> np.ndarray:
    """The inverse of `spread` for gradients: alpha's, flat."""
    depth, shapes = problem.model.depth, problem.model.field.shapes
    if type(depth) is Constant:
        return g_still.astype(np.float64)
    places = places_of(depth, shapes)
    alpha = np.empty(int((places[:, 1] * np.maximum(places[:, 2], 1)).sum()))
    gather_leaves(places, np.ascontiguousarray(g_still), np.ascontiguousarray(g_A), alpha)
    return alpha


@cache
def _butcher(tableau: Tableau, dtype: type) -> Butcher:
    zero = np.zeros(tableau.stages)
    rows = (tableau.b_err, tableau.b_err3)
    arrays = (tableau.a, tableau.b, tableau.c, *(zero if row is None else row for row in rows))
    a, b, c, b_err, b_err3 = (np.array(v, dtype) for v in arrays)
    fsal, two = int(tableau.fsal), int(tableau.b_err3 is not None)
    return Butcher(a, b, c, b_err, b_err3, fsal, two, tableau.order, tableau.order_err or tableau.order - 1)


def _control(solver: Solver, w: int, dtype: type) -> Control:
    """A solver's numbers, in a record that the thread keeps: those of solvers that differ in proposals are the same."""
    numbers = solver.method, solver.rtol, solver.atol, solver.norm, solver.controller, solver.max_steps, solver.adaptive
    held: Control = WORK.record(
        ("control", numbers, w, dtype), lambda: control_of_steps(solver, np.full(w, solver.atol or 0.0, dtype))
    )
    return held


def control_of_steps(solver: Solver, atol: np.ndarray) -> Control:
    """A solver's numbers, with an absolute tolerance for each component of what it steps."""
    controller, q = solver.controller, (solver.tableau.order_err or solver.tableau.order - 1) + 1
    alpha, beta = (1 / q, 0.0) if controller.kind == "I" else (0.7 / q, 0.4 / q)
    limits = controller.safety, controller.min_factor, controller.max_factor
    rtol, worst = solver.rtol or 0.0, int(solver.norm == "max")
    return Control(rtol, atol, worst, alpha, beta, *limits, solver.max_steps, int(solver.adaptive))
