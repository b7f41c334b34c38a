"""The catalogue's model zoo: every model of "Dissecting Neural ODEs", small, with what the paper's equations ask of it.

Losses have a running part that depends on theta and f, so that no term of the generalised adjoint is idle.
"""

from collections.abc import Callable

import numpy as np

from refnode.adaptive import AdaptiveDepth
from refnode.architectures import NeuralODE
from refnode.bases import Chebyshev, Fourier, GaussianRBF, Legendre, Monomial
from refnode.depth import FunctionSpace, Galerkin, Stacked
from refnode.field import MLP, Linear
from refnode.flows import CNF
from refnode.loss import Loss, Observations, SquaredError, observe
from refnode.maps import PartialInput, ZeroAugment
from refnode.oracle.entry import BATCH, Entry, draw_params, drawn_problem, normal
from refnode.problem import Problem
from refnode.running import Kinetic, ParameterNorm, SquaredNorm


def _loss(seed: int, width: int = 2) -> Loss:
    """Terminal and integral loss; the latter depends on z, f and theta."""
    running = (0.5 * SquaredNorm(), 0.25 * Kinetic(), 0.01 * ParameterNorm())
    return Loss(SquaredError(normal((BATCH, width), seed)), running=running)


# ---------------------------------------------------------------- depth variance (4)-(6)

def galerkin_fourier() -> Entry:
    """theta(t) in Fourier's basis over the span, which T and t0 stretch."""
    model = NeuralODE(MLP(2, 3, 2), theta=Galerkin(Fourier(1)), span=(0.25, 1.25))
    return Entry("galerkin_fourier", "(6) Fourier basis that follows the span", drawn_problem(model, 200, _loss(203)))


def galerkin_legendre() -> Entry:
    """theta(t) in Legendre's basis on an interval of its own, in one layer only."""
    depth = Galerkin(Legendre(4), interval=(0.0, 1.0), layers=("W1", "b1"))
    model = NeuralODE(MLP(2, 3, 3, 2), theta=depth, span=(0.125, 1.125))
    return Entry("galerkin_legendre", "(6) Legendre on [0, 1], one layer", drawn_problem(model, 210, _loss(213)))


def galerkin_chebyshev() -> Entry:
    """theta(t) in Chebyshev's basis, time input beside it."""
    model = NeuralODE(MLP(2, 3, 2, time="first"), theta=Galerkin(Chebyshev(3)), span=(0.0, 1.25))
    return Entry("galerkin_chebyshev", "(6) Chebyshev, time input", drawn_problem(model, 220, _loss(223)))


def galerkin_monomial() -> Entry:
    """theta(t) cubic in t, depth running down."""
    model = NeuralODE(MLP(2, 4, 2), theta=Galerkin(Monomial(4), interval=(0.0, 1.0)), span=(1.0, 0.0))
    return Entry("galerkin_monomial", "(6) monomials, T < t0", drawn_problem(model, 230, _loss(233)))


def galerkin_rbf() -> Entry:
    """theta(t) in Gaussian bells."""
    model = NeuralODE(MLP(2, 3, 2), theta=Galerkin(GaussianRBF(4)), span=(0.0, 1.25))
    return Entry("galerkin_rbf", "(6) Gaussian bells", drawn_problem(model, 240, _loss(243)))


def stacked() -> Entry:
    """Four pieces whose edges are learned and move with the span; observations between them."""
    model = NeuralODE(MLP(2, 4, 2), theta=Stacked(4), span=(0.25, 1.75))
    loss = _loss(253)
    seen = observe([0.5, 1.25], normal((2, BATCH, 2), 254))
    problem = drawn_problem(model, 250, Loss(loss.terminal, seen, loss.running))
    return Entry("stacked", "(4) four pieces, learned edges, observations", problem)


def stacked_fixed() -> Entry:
    """Pieces on an interval of their own, a T for each sample: some samples never see the last piece."""
    model = NeuralODE(MLP(2, 3, 2, time="first"), theta=Stacked(4, interval=(0.0, 2.0)))
    plain = drawn_problem(model, 260, _loss(263))
    problem = Problem(model, plain.params, plain.x, plain.loss, (0.125, np.array([0.75, 1.375, 1.875])))
    return Entry("stacked_fixed", "(4) pieces on [0, 2], one T per sample", problem)


def function_space() -> Entry:
    """theta(t) by its values at five nodes."""
    model = NeuralODE(MLP(2, 3, 2), theta=FunctionSpace(5), span=(0.0, 1.25))
    return Entry("function_space", "(5) five nodal values", drawn_problem(model, 270, _loss(273)))


# ---------------------------------------------------------------- augmentation (7)(8)

def zero_augmented() -> Entry:
    """z(0) = [x, 0]."""
    model = NeuralODE(MLP(5, 6, 5), h_x=ZeroAugment(3), h_y=Linear(5, 2))
    return Entry("zero_augmented", "(7) three zero dimensions", drawn_problem(model, 300, _loss(303)))


def input_layer() -> Entry:
    """z(0) = x W + b, and an MLP as readout."""
    model = NeuralODE(MLP(4, 6, 4), h_x=Linear(2, 4), h_y=MLP(4, 3, 2, act="softplus"))
    return Entry("input_layer", "(8) linear input layer, MLP readout", drawn_problem(model, 310, _loss(313)))


def input_network() -> Entry:
    """z(0) = MLP(x)."""
    model = NeuralODE(MLP(3, 6, 3), h_x=MLP(2, 5, 3), h_y=Linear(3, 2))
    return Entry("input_network", "(8) input network", drawn_problem(model, 320, _loss(323)))


def partial_input() -> Entry:
    """z(0) = [x, g(x)]."""
    model = NeuralODE(MLP(4, 6, 4), h_x=PartialInput(Linear(2, 2)), h_y=Linear(4, 2))
    return Entry("partial_input", "(8) partial input layer", drawn_problem(model, 330, _loss(333)))


# ---------------------------------------------------------------- order (9), control (10), adaptive depth

def second_order() -> Entry:
    """q'' = f(t, q, q'), q(0) = x, q'(0) = 0; the running loss sees the whole z'."""
    model = NeuralODE(MLP(4, 6, 2, time="first"), order=2, h_y=Linear(4, 2))
    running = (0.25 * Kinetic(of="state"), 0.5 * SquaredNorm(), 0.01 * ParameterNorm())
    loss = Loss(SquaredError(normal((BATCH, 2), 343)), running=running)
    return Entry("second_order", "(9) order 2, x is the position", drawn_problem(model, 340, loss))


def third_order() -> Entry:
    """q''' = f, x as the velocity, with a Galerkin depth."""
    model = NeuralODE(MLP(6, 4, 2), order=3, init="velocity", theta=Galerkin(Legendre(2)), h_y=Linear(6, 2))
    return Entry("third_order", "(9) order 3, x is the velocity", drawn_problem(model, 350, _loss(353)))


def data_control() -> Entry:
    """z' = f(t, z, x), z(0) = h_x(x): x acts through field and start."""
    model = NeuralODE(MLP(5, 6, 3), h_x=Linear(2, 3), h_y=Linear(3, 2), control="x")
    return Entry("data_control", "(10) x inside f and h_x", drawn_problem(model, 360, _loss(363)))


def reflection() -> Entry:
    """z' = z A + x B + b, z(0) = x: what learns x -> -x in one dimension."""
    model = NeuralODE(Linear(4, 2), control="x")
    return Entry("reflection", "closed form (10): z' = z A + x B + b", drawn_problem(model, 370))


def stacked_linear() -> Entry:
    """z' = z A_j + b_j on three pieces."""
    model = NeuralODE(Linear(2, 2), theta=Stacked(3), span=(0.25, 1.75))
    return Entry("stacked_linear", "closed form (4): z' = z A_j + b_j", drawn_problem(model, 420))


def adaptive_depth() -> Entry:
    """T_i = g_w(x_i); theta(t) depends on t itself."""
    depth = Galerkin(Legendre(3), interval=(0.0, 1.0))
    model = NeuralODE(MLP(2, 4, 2), theta=depth, span=(0.0, AdaptiveDepth(MLP(2, 3, 1))))
    return Entry("adaptive_depth", "T = g(x), psi at t", drawn_problem(model, 380, _loss(383)))


def adaptive_follows() -> Entry:
    """T_i = g_w(x_i); theta depends on t / T_i, so every sample has parameters of its own.

    Nothing depends on t itself, so that t0 moves all of depth along: dloss/dt0 is zero, by cancellation.
    """
    model = NeuralODE(MLP(2, 4, 2), theta=Galerkin(Fourier(1)), span=(0.0, AdaptiveDepth(MLP(2, 3, 1))))
    return Entry("adaptive_follows", "T = g(x), psi at t / T", drawn_problem(model, 390, _loss(393)), faint=("t0",))


# ---------------------------------------------------------------- continuous normalising flows

def _flow_entry(name: str, about: str, flow: CNF, seed: int, condition: bool = False, draws: int = 0) -> Entry:
    """A flow's negative log-likelihood of random data."""
    x = normal((BATCH, flow.model.state_width), seed + 1)
    noise = np.sign(normal((draws, BATCH, flow.field.width_out), seed + 2)) if draws else None
    c = normal((BATCH, flow.condition), seed + 3) if condition else None
    return Entry(name, about, flow.problem(draw_params(flow.model, seed), x, noise, c))


def cnf() -> Entry:
    """log p(x) with the exact trace."""
    return _flow_entry("cnf", "flow, exact trace", CNF(MLP(2, 6, 2, act="softplus")), 430)


def cnf_hutchinson() -> Entry:
    """log p(x) with two fixed noises for the trace, and a Galerkin depth."""
    flow = CNF(MLP(2, 4, 2, act="softplus"), trace="hutchinson", theta=Galerkin(Legendre(2)))
    return _flow_entry("cnf_hutchinson", "flow, Hutchinson's trace, Legendre depth", flow, 440, draws=2)


def cnf_conditional() -> Entry:
    """log p(x | c): the field sees the condition."""
    flow = CNF(MLP(3, 6, 2, act="tanh", time="first"), condition=1)
    return _flow_entry("cnf_conditional", "flow given a condition", flow, 450, condition=True)


def cnf_second_order() -> Entry:
    """A flow of positions and velocities."""
    return _flow_entry("cnf_second_order", "flow of order 2", CNF(MLP(4, 6, 2), order=2), 460)


# ---------------------------------------------------------------- ends and everything

def fixed_end() -> Entry:
    """An observation at T: the same value as a terminal loss, another dloss/dT, for it stays where it is."""
    model = NeuralODE(MLP(2, 4, 2, time="first"), span=(0.25, 1.25))
    seen = Observations([0.75, 1.25], tuple(SquaredError(normal((BATCH, 2), seed)) for seed in (403, 404)))
    loss = Loss(observations=seen, running=(0.5 * SquaredNorm(), 0.25 * Kinetic()))
    return Entry("fixed_end", "an observation at T", drawn_problem(model, 400, loss))


def everything() -> Entry:
    """Order 2, Galerkin depth, data control, adaptive depth, partial input, readout, integral loss, all at once."""
    model = NeuralODE(
        MLP(8, 4, 3, time="first"), theta=Galerkin(Legendre(2)), span=(0.0, AdaptiveDepth(MLP(2, 3, 1))),
        h_x=PartialInput(Linear(2, 1)), h_y=Linear(6, 2), order=2, control="x",
    )  # fmt: skip
    return Entry("everything", "(3)(6)(8)(9)(10) and adaptive depth at once", drawn_problem(model, 410, _loss(413)))


ENTRIES: tuple[Callable[[], Entry], ...] = (
    galerkin_fourier, galerkin_legendre, galerkin_chebyshev, galerkin_monomial, galerkin_rbf, stacked, stacked_linear,
    stacked_fixed, function_space, zero_augmented, input_layer, input_network, partial_input, second_order, third_order,
    data_control, reflection, adaptive_depth, adaptive_follows, cnf, cnf_hutchinson, cnf_conditional, cnf_second_order,
    fixed_end, everything,
)  # fmt: skip
