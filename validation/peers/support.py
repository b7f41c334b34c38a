"""What every adapter asks before it starts: whether its translation can express the problem, and what it is made of."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev, Legendre, Polynomial

import refnode as rn
from refnode.maps import Network
from refnode.model import Model

LIMIT = 100_000  # steps of one solve, where a library asks for a number


class NotSupported(Exception):
    """The library cannot express the problem, or its adapter does not; the text says why."""


def require(condition: bool, reason: str) -> None:
    """Raise NotSupported with the reason unless the condition holds."""
    if not condition:
        raise NotSupported(reason)


def check(problem: rn.Problem) -> None:
    """Raise NotSupported unless the translations beside this file can express the problem."""
    model, loss = problem.model, problem.loss
    points = [point for point in point_losses(problem) if point is not None]
    built_in = (rn.SquaredNorm, rn.Kinetic, rn.ParameterNorm, rn.Tracking, rn.Divergence)
    tracked = [term.beta for term in loss.running if isinstance(term, rn.Tracking)]
    maps = (rn.Identity, rn.ZeroAugment, rn.Columns, rn.PartialInput, Network)
    require(isinstance(model.field, rn.MLP | rn.CosineField), "the field is not an MLP or a CosineField")
    require(isinstance(model.depth, rn.Constant | rn.Galerkin), "theta(t) is not constant and not Galerkin's")
    require(type(model.h_x) in maps and type(model.h_y) in maps, "a map h_x or h_y is not built in")
    require(all(isinstance(point, rn.SquaredError | rn.StandardNormal) for point in points), "a point loss is other")
    require(all(isinstance(term, built_in) for term in loss.running), "a running loss is not built in")
    require(all(isinstance(beta, rn.Harmonic) for beta in tracked), "a tracked path is not harmonic")
    if isinstance(model.depth, rn.Galerkin):
        functions(model.depth.basis, 0)


def expressible(problem: rn.Problem) -> bool:
    """Whether the translations can express the problem."""
    try:
        check(problem)
    except NotSupported:
        return False
    return True


# ---------------------------------------------------------------- the bases of theta(t), as numbers


class Powers(NamedTuple):
    """psi_j = sum_k c_jk w^k with w = 2u - 1; c (m, n)."""

    c: np.ndarray


class Waves(NamedTuple):
    """psi_j = amplitude_j cos(frequency_j u - phase_j), (m,) each."""

    amplitude: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray


class Bells(NamedTuple):
    """psi_j = exp(-(scale_j (u - centre_j))^2 / 2), (m,) each."""

    scale: np.ndarray
    centre: np.ndarray


@lru_cache
def functions(basis, cell: int) -> Powers | Waves | Bells:
    """A basis of refnode on one cell as the numbers of one of three formulas, which each array library evaluates."""
    if isinstance(basis, rn.Fourier | rn.TorchdynFourier):
        harmonic = isinstance(basis, rn.Fourier)
        n = 2 * np.pi * np.arange(1, basis.n + 1) if harmonic else basis.numbers
        first, size = ([0.0], np.sqrt(2)) if harmonic else ([], 1.0)
        frequency = np.concatenate([first, n, n])
        phase = np.repeat([0.0, np.pi / 2], [len(first) + len(n), len(n)])
        return Waves(np.where(np.arange(len(frequency)) < len(first), 1.0, size), frequency, phase)
    if isinstance(basis, rn.GaussianRBF):
        centre = np.linspace(0, 1, basis.m) if basis.m > 1 else np.array([0.5])
        width = basis.width or (centre[1] - centre[0] if basis.m > 1 else 1.0)
        return Bells(np.full(basis.m, 1 / width), centre)
    if isinstance(basis, rn.TorchdynGaussianRBF):
        return Bells(basis.numbers / np.sqrt(2), np.zeros(basis.m))
    found = polynomials(basis, cell)
    c = np.zeros((basis.m, max(len(p.coef) for p in found)))
    for row_of, p in zip(c, found, strict=True):
        row_of[: len(p.coef)] = p.coef
    return Powers(c)


def polynomials(basis, cell: int) -> list[Polynomial]:
    """The functions of a basis on one cell, as polynomials of w = 2u - 1."""
    u, one, degrees = Polynomial([0.5, 0.5]), Polynomial([1.0]), range(basis.m)
    if isinstance(basis, rn.Legendre):
        return [np.sqrt(2 * j + 1) * Legendre.basis(j).convert(kind=Polynomial) for j in degrees]
    if isinstance(basis, rn.Chebyshev):
        return [Chebyshev.basis(j).convert(kind=Polynomial) for j in degrees]
    if isinstance(basis, rn.TorchdynChebychev):
        return [Chebyshev.basis(j)(u) for j in degrees]
    if isinstance(basis, rn.Monomial):
        return [u**j for j in degrees]
    if isinstance(basis, rn.TorchdynVanillaRBF):
        return [n / 2 * u for n in basis.numbers]  # |t|, for t >= 0
    if isinstance(basis, rn.PiecewiseConstant):
        return [float(j == cell) * one for j in degrees]
    require(isinstance(basis, rn.Hat), f"the basis {type(basis).__name__} is not translated")
    left, right = (0.0, *basis.nodes, 1.0)[cell : cell + 2]
    rising = (u - left) / (right - left)
    return [float(j == cell) * (one - rising) + float(j == cell + 1) * rising for j in degrees]


# ---------------------------------------------------------------- spans


def rescaled(problem: rn.Problem, own_span: bool = False, own_times: bool = True) -> bool:
    """Whether a library needs each segment between bounds brought to 0 <= s <= 1, t = start + s (end - start).

    So it is where theta(t) has breaks to land on, where an observation stands at an end of the span, and where samples
    have spans of their own, unless the library has them too (own_span), with gradients of an adaptive T (own_times).
    """
    ends, times = problem.span, problem.leaves().get("t_obs", ())
    apart = any(end.ndim for end in ends) and not own_span
    adaptive = problem.model.adaptive is not None and not own_times
    twice = any((end == t).any() for end in ends for t in times)
    return apart or adaptive or twice or len(problem.model.depth.breaks) > 0


def follows_span(model: Model) -> bool:
    """Whether theta(t) moves with t0 and T."""
    return isinstance(model.depth, rn.Galerkin) and model.depth.interval == "span"


def used(problem: rn.Problem, moves: bool) -> list[str]:
    """The leaves that the field needs; `moves`: it is brought to a span of its own, or theta(t) follows the span."""
    model, names = problem.model, list(problem.leaves())
    needed = [name for name in names if name.startswith(("theta.", "alpha."))]
    if moves:
        needed += [name for name in names if name in ("t0", "T", "t_obs", "edges") or name.startswith("T.")]
    return needed + (["x"] if model.control != "none" or (moves and model.adaptive) else [])


def at_points(problem: rn.Problem, states: list) -> list:
    """The states at t0, the observation times and T, of those at all bounds."""
    return [y for y, bound in zip(states, problem.layout.bounds, strict=True) if bound.kind != "break"]


# ---------------------------------------------------------------- networks and losses


def takes_time(net: rn.MLP, k: int) -> bool:
    """Whether t enters layer k of the network."""
    return net.time == "every" or (net.time == "first" and k == 0)


def block(model: Model) -> tuple[int, int]:
    """The columns of the state that h_x fills."""
    w = model.field.width_out
    if model.order == 1 or model.initial == "full":
        return 0, model.state_width
    return (0, w) if model.initial == "position" else (w, 2 * w)


def controlled(model: Model, n: int) -> slice:
    """The columns of x (b, n) that the field sees."""
    if model.control == "none":
        return slice(0, 0)
    return slice(0, n) if model.control == "x" else slice(model.control.start, model.control.stop)


def part(leaves: dict, prefix: str) -> dict:
    """The leaves of one part of the model by their short names: theta.W0 as W0."""
    return {name.partition(".")[2]: leaf for name, leaf in leaves.items() if name.startswith(prefix + ".")}


def point_losses(problem: rn.Problem) -> list:
    """The loss at each of t0, the observation times and T, in that order; None where there is none."""
    observed = [] if problem.loss.observations is None else list(problem.loss.observations.terms)
    return [None, *observed, problem.loss.terminal]
