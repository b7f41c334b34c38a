"""Coefficients start alive: two Galerkin layers that start at zero never move, and those of `model.init` all do. (6)"""

import numpy as np
import pytest

import refnode as rn

SOLVER = rn.Solver("rk4", n_steps=20)
DEPTHS = [
    rn.Galerkin(rn.Legendre(5)),
    rn.Galerkin(rn.Chebyshev(5)),
    rn.Galerkin(rn.Monomial(4)),
    rn.Galerkin(rn.Fourier(3)),
    rn.Galerkin(rn.Fourier(2), interval=(-1.0, 1.5)),
    rn.Galerkin(rn.GaussianRBF(5)),
    rn.Galerkin(rn.PiecewiseConstant(3)),
    rn.Stacked([0.2, 0.7]),
    rn.FunctionSpace(5),
]


def problem_of(depth, field, rng, start=None):
    """Two classes' worth of targets for six points; start: a number for every coefficient instead of model.init."""
    model = rn.NeuralODE(field, theta=depth)
    params = model.init(rng)
    if start is not None:
        params = {n: np.full(v.shape, start) if n.startswith("alpha.") else v for n, v in params.items()}
    x, y = rng.standard_normal((2, 6, 2))
    return rn.Problem(model, params, x, rn.Loss(terminal=rn.SquaredError(y, reduction="mean")))


def descend(problem, steps, rate, leaves_of=lambda problem, result: result.grads):
    """The problem after some steps of gradient descent on its coefficients, and the losses on the way."""
    losses = []
    for _ in range(steps):
        result = rn.gradient(problem, "discrete", SOLVER)
        losses.append(result.loss)
        grads = leaves_of(problem, result)
        problem = problem.with_leaves({n: problem[n] - rate * g for n, g in grads.items() if n.startswith("alpha.")})
    return problem, [*losses, rn.solve(problem, SOLVER).loss]


@pytest.mark.parametrize("depth", DEPTHS, ids=repr)
def test_two_zero_layers_never_move(depth, rng):
    """W1 act(W0 z) with both at zero: dloss/dW0 passes W1 = 0 and dloss/dW1 meets act(0) = 0, exactly, at any loss."""
    problem = problem_of(depth, rn.MLP(2, 4, 2, bias=False), rng, start=0.0)
    after, losses = descend(problem, 3, 1.0)
    assert losses == [losses[0]] * 4
    assert losses[0] > 0.1
    for name in ("alpha.W0", "alpha.W1"):
        assert not np.any(rn.gradient(problem, "discrete", SOLVER).grads[name])
        assert not np.any(after[name])


def test_biases_do_not_wake_them(rng):
    """With biases the last one moves, and nothing else: the field stays a function of t, blind to z."""
    problem = problem_of(rn.Galerkin(rn.Fourier(2)), rn.MLP(2, 4, 2), rng, start=0.0)
    after, losses = descend(problem, 10, 0.3)
    assert losses[-1] < losses[0]
    assert np.any(after["alpha.b1"])
    for name in ("alpha.W0", "alpha.b0", "alpha.W1"):
        assert not np.any(after[name])


@pytest.mark.parametrize("depth", DEPTHS, ids=repr)
def test_every_coefficient_starts_with_a_gradient(depth, rng):
    """After model.init no dloss/dalpha_j is zero, for any psi_j and leaf, nor near it beside the leaf's largest.

    In layers whose biases start at zero too, and for functions whose coefficient starts at zero.
    """
    problem = problem_of(depth, rn.MLP(2, 8, 2), rng)
    result = rn.gradient(problem, "discrete", SOLVER)
    for name, g in result.grads.items():
        if name.startswith("alpha."):
            sizes = np.max(np.abs(g.reshape(len(g), -1)), axis=1)
            # round-off would leave 1e-15 or so; a smooth (df/dtheta)^T a has components of 1e-6 in few functions
            assert np.min(sizes) > 1e-7 * np.max(sizes), (name, sizes)


@pytest.mark.parametrize("depth", DEPTHS, ids=repr)
def test_descent_reduces_the_loss(depth, rng):
    """Five steps from model.init, along the gradient and along its representer, each lower the loss."""
    problem = problem_of(depth, rn.MLP(2, 8, 2), rng)
    for leaves_of in (lambda problem, result: result.grads, rn.riesz):
        after, losses = descend(problem, 5, 0.02, leaves_of)
        assert np.all(np.diff(losses) < 0), losses
        assert all(np.any(after[name] != problem[name]) for name in problem.params if name.startswith("alpha."))
