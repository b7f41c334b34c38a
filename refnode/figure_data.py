"""What the pictures show, as plain arrays: computed here, drawn in figures.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from refnode.api import digits_left, gradient
from refnode.arrays import Array, unflatten
from refnode.dense import segment_of
from refnode.dense_costate import Costate
from refnode.depth import Constant, coordinate, with_edges
from refnode.dynamics import Dynamics
from refnode.errors import InvalidArgument, NumericalError
from refnode.gradients import METHODS
from refnode.loss import SquaredError
from refnode.maps import Identity
from refnode.model import Model
from refnode.oracle.ladder import reference
from refnode.problem import Problem
from refnode.segments import break_time
from refnode.solver import Solver
from refnode.span import Span
from refnode.values import Values

TOLS = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)


# ---------------------------------------------------------------- theta(t)

@dataclass(frozen=True, eq=False)
class ThetaCurves:
    """theta(t) of a depth-variant model.

    axis    "t", or "u" = (t - t0) / (T - t0) where every sample's own span stretches theta
    at      depths (K,), or fractions
    leaves  name -> values (K, *shape) of the leaves that vary; a row of NaN parts what jumps
    edges   where theta(t) jumps; nodes where it has a kink or ends, for a function space: on the same axis
    """

    axis: str
    at: Array
    leaves: Mapping[str, Array]
    edges: Array
    nodes: Array


def theta_curves(problem: Problem, count: int = 200) -> ThetaCurves:
    """theta(t) over the span, cut at its breaks; InvalidArgument if it does not vary."""
    depth, values, shapes = problem.model.depth, problem.resolved, problem.model.field.shapes
    vary = [name for name in shapes if f"alpha.{name}" in problem.params]
    if isinstance(depth, Constant) or not vary:
        raise InvalidArgument("theta(t)", "the same at every depth", "to vary, as Galerkin or Stacked let it")
    own_axis = depth.interval == "span" and (values.t0.ndim or values.T.ndim)
    ends = (np.zeros(()), np.ones(())) if own_axis else _farthest(values)
    u_ends = [float(coordinate(depth, t, *ends)) for t in ends]
    breaks = with_edges(depth, values.edges)
    at, theta = [], []
    for u, cell in _pieces(min(u_ends), max(u_ends), breaks, count):
        at.append(break_time(depth, u, *ends))
        theta.append(np.array([depth.forward(u_k, cell, values.alpha, shapes) for u_k in u]))
    if depth.jumps:
        at, theta = _parted(at), _parted(theta)
    leaves = unflatten(np.concatenate(theta), shapes)
    nodes = np.zeros(0) if depth.jumps or not len(breaks) else np.concatenate([[0.0], breaks, [1.0]])
    edges, nodes = (_seen(break_time(depth, u, *ends), *ends) for u in (breaks if depth.jumps else nodes[:0], nodes))
    shown = {name: leaves[name] for name in vary}
    return ThetaCurves("u" if own_axis else "t", np.concatenate(at), shown, edges, nodes)


def _pieces(low: float, high: float, breaks: Array, count: int) -> list[tuple[Array, int]]:
    """u (K,) between two breaks, ends included, and the cell there, from low to high."""
    inner = breaks[(low < breaks) & (breaks < high)]
    first = int((breaks <= low).sum())
    knots = np.concatenate([[low], inner, [high]])
    return [
        (np.linspace(a, z, max(9, int(count * (z - a) / (high - low)))), first + i)
        for i, (a, z) in enumerate(pairwise(knots))
    ]


def _farthest(values: Values) -> tuple[Array, Array]:
    """t0 and T of the sample that goes farthest."""
    b = _longest(values)
    return _of(values.t0, b), _of(values.T, b)


def _longest(values: Values) -> int:
    """The sample with the longest span."""
    return int(np.argmax(np.broadcast_to(np.abs(values.T - values.t0), (len(values.x),))))


def _of(v: Array, b: int) -> Array:
    """What a shared or per-sample number is for sample b."""
    return np.asarray(v if v.ndim == 0 else v[b])


def _seen(t: Array, t0: Array, T: Array) -> Array:
    """Those of t (n,) that lie between t0 and T."""
    return t[(np.minimum(t0, T) <= t) & (t <= np.maximum(t0, T))]


def _parted(pieces: Sequence[Array]) -> list[Array]:
    """The pieces with a row of NaN between them."""
    return [row for piece in pieces for row in (piece, np.full((1, *piece.shape[1:]), np.nan))][:-1]


# ---------------------------------------------------------------- z(t), a(t), H(t)

@dataclass(frozen=True, eq=False)
class Paths:
    """State, costate and Hamiltonian of every sample along its own span.

    names          what tells the components of z apart: "1", "2", or "q,1", "p,1" for order 2
    t              depths (K, b)
    z, adj, H      (K, b, d), (K, b, d), (K, b); a row of NaN between segments, where a and H may jump
    t_obs, z_obs   observation times (n,) and z there (n, b, d)
    targets        what was observed (n, b, d) if z itself is compared with it; else (0, b, d)
    edges          depths at which theta(t) jumps, shared by the samples that reach them
    """

    names: tuple[str, ...]
    t: Array
    z: Array
    adj: Array
    H: Array
    t_obs: Array
    z_obs: Array
    targets: Array
    edges: Array


def paths(found: Costate, count: int = 200) -> Paths:
    """z(t), a(t) and H(t) at about `count` depths."""
    problem, values, b = found.problem, found.problem.resolved, found.problem.batch
    pieces: list[list[Array]] = [[], [], [], []]
    for span in (Span(*ends) for ends in pairwise(found.times)):
        if not np.any(span.length):
            continue
        share = np.max(np.abs(span.length)) / np.max(np.abs(values.T - values.t0))
        fractions = np.linspace(0, 1, max(9, int(count * share)))
        rows = [_row(found, span, s) for s in fractions]
        for part, columns in zip(pieces, zip(*rows, strict=True), strict=True):
            part.append(np.array([np.broadcast_to(v, (b, *v.shape[1:])) for v in columns]))
    if not pieces[0]:
        raise InvalidArgument("span", "of length zero", "from t0 to another T")
    t, z, adj, H = (np.concatenate(_parted(part)) for part in pieces)
    t_obs = values.t_obs
    z_obs = np.array([found.z(t) for t in t_obs]).reshape(len(t_obs), *z.shape[1:])
    depth = problem.model.depth
    breaks = break_time(depth, with_edges(depth, values.edges), *_farthest(values)) if depth.jumps else np.zeros(0)
    edges = _seen(breaks, *_farthest(values)) if not _own_basis(problem) else np.zeros(0)
    return Paths(component_names(problem.model), t, z, adj, H, t_obs, z_obs, _targets(problem, z_obs), edges)


def _row(found: Costate, span: Span, s: float) -> tuple[Array, Array, Array, Array]:
    """t, z, a and H at the fraction s of a segment, seen from inside it."""
    side = "before" if s == 1 else "after"
    t = np.clip(span.at(np.asarray(s)), np.minimum(span.start, span.end), np.maximum(span.start, span.end))
    return t[None] if t.ndim == 0 else t, found.z(t), found.adj(t, side), found.hamiltonian(t, side)  # type: ignore


def _own_basis(problem: Problem) -> bool:
    """Whether every sample's own span stretches theta(t)."""
    values = problem.resolved
    return problem.model.depth.interval == "span" and bool(values.t0.ndim or values.T.ndim)


def _targets(problem: Problem, z_obs: Array) -> Array:
    """The targets of squared errors at the observation times, if the readout is the state itself."""
    seen = problem.loss.observations
    terms = seen.terms if seen is not None and isinstance(problem.model.h_y, Identity) else ()
    if not terms or not all(isinstance(term, SquaredError) for term in terms):
        return np.zeros((0, *z_obs.shape[1:]))
    return np.array([np.broadcast_to(term.target, z_obs.shape[1:]) for term in terms])  # type: ignore[attr-defined]


def component_names(model: Model) -> tuple[str, ...]:
    """"1", "2", ..; for order 2 "q,1", .., "p,1", ..; for order n "1,1", .., "n,1", ..: block, then component."""
    width = model.field.width_out
    blocks = {1: ("",), 2: ("q,", "p,")}.get(model.order, tuple(f"{k + 1}," for k in range(model.order)))
    return tuple(f"{block}{j + 1}" for block in blocks for j in range(width))


# ---------------------------------------------------------------- the field

@dataclass(frozen=True, eq=False)
class Snapshots:
    """The vector field of a two-dimensional state at several depths.

    t         depths (S,), those of one sample's span
    grid      points z (G, 2);  rate (S, G, 2) the field z' there
    states    z(t) (S, b, 2) of the samples that see this field; path (K, b, 2) their whole way
    sample    the one sample that sees this field, or None if all see the same
    """

    names: tuple[str, ...]
    t: Array
    grid: Array
    rate: Array
    states: Array
    path: Array
    sample: int | None


def snapshots(found: Costate, along: Paths, frames: int = 4, points: int = 15) -> Snapshots:
    """z' on a grid around the samples' paths, at depths evenly spaced; InvalidArgument unless z has width 2.

    Where x enters the field, or stretches theta(t), every sample has a field of its own: that of the sample with the
    longest span is taken.
    """
    problem, values = found.problem, found.problem.resolved
    if problem.model.state_width != 2:
        raise InvalidArgument("z", f"of width {problem.model.state_width}", "of width 2")
    b = _longest(values)
    own = _own_basis(problem) or problem.model.control != "none"
    rows = [b] if own else list(range(problem.batch))
    path = along.z[:, rows]
    grid = _grid(path[~np.isnan(path).any(axis=(1, 2))].reshape(-1, 2), points)
    alone = replace(values, x=np.tile(values.x[b], (len(grid), 1)), t0=_of(values.t0, b), T=_of(values.T, b))
    spans = [dense.span for dense in found.solution.dense]
    times = np.clip(np.linspace(alone.t0, alone.T, frames), min(alone.t0, alone.T), max(alone.t0, alone.T))
    rate, states = [], []
    for t in times:
        inside = np.clip(t, np.minimum(values.t0, values.T), np.maximum(values.t0, values.T))
        cell = problem.layout.cells[segment_of(spans, inside, "after", problem.batch)[b]]
        rate.append(Dynamics(problem.model, (), int(cell)).forward(t, grid, alone))
        states.append(found.z(inside)[rows])
    names = component_names(problem.model)
    return Snapshots(names, times, grid, np.array(rate), np.array(states), path, b if own else None)


def _grid(z: Array, points: int) -> Array:
    """points^2 places in the square around all z (n, 2), with a margin of a quarter."""
    low, high = z.min(axis=0), z.max(axis=0)
    half = 0.625 * max(float(np.max(high - low)), 1e-6)
    axes = [np.linspace(middle - half, middle + half, points) for middle in (low + high) / 2]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)


# ---------------------------------------------------------------- digits

@dataclass(frozen=True, eq=False)
class MethodErrors:
    """The error of every method's worst leaf, 10^-digits, at every tolerance.

    tols      (n,);  errors name -> (n,), NaN where the method refused to answer
    radius    what is known of the truth: 10^-digits of its worst leaf
    """

    tols: Array
    errors: Mapping[str, Array]
    radius: float


def method_errors(
    problem: Problem,
    tols: Sequence[float] = TOLS,
    methods: Sequence[str] = tuple(METHODS),
    faint: Sequence[str] = (),
) -> MethodErrors:
    """Errors of dopri5 against the best truth there is (`rn.reference`), each leaf's relative to its largest entry.

    faint    leaves that are measured by the largest leaf instead (see `refnode.oracle.entry.Entry`)
    """
    truth = reference(problem)
    scale = truth.scales(faint)
    errors = {method: np.full(len(tols), np.nan) for method in methods}
    for method in methods:
        for k, tol in enumerate(tols):
            try:
                grads = gradient(problem, method, Solver(tol=tol)).grads  # type: ignore[arg-type]
            except NumericalError:
                continue
            off = {leaf: float(np.max(truth.gap(leaf, g), initial=0.0)) for leaf, g in grads.items()}
            errors[method][k] = 10.0 ** -min(digits_left(off[leaf], scale[leaf]) for leaf in off)
    return MethodErrors(np.array(tols), errors, 10.0 ** -min(16.0, *truth.digits(faint).values()))
