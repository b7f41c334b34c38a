"""A gradient inside another: a user's loss may solve and differentiate problems of its own."""

import numpy as np
import pytest

import refnode as rn
from refnode.kernels.workspace import WORK

METHODS = ("discrete", "backsolve", "interpolating", "quadrature", "forward_discrete")
WAYS = [(method, "shared") for method in METHODS] + [("discrete", "own"), ("backsolve", "own")]


def problem(seed, loss=None, batch=5):
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(2, 16, 2, time="first"))
    x, y = rng.normal(size=(2, batch, 2))
    return rn.Problem(model, model.init(rng), x, rn.Loss(loss or rn.SquaredError(y)))


def user_loss(meanwhile):
    """|y|^2, whose gradient does something else first."""

    def grad(t, y):
        meanwhile()
        return np.zeros(len(y)), 2 * y

    return rn.UserLoss(lambda t, y: (y**2).sum(axis=1), grad)


@pytest.mark.parametrize(("method", "steps"), WAYS)
def test_a_gradient_inside_a_gradient(method, steps):
    """Same bits as without: the inner one has memory of its own."""
    solver = rn.Solver("dopri5", tol=1e-7, steps=steps)
    others = [problem(seed, batch=batch) for seed, batch in ((1, 5), (2, 40))]
    inner = []

    def meanwhile():
        inner.append([rn.gradient(other, method, solver, backend="cpu").grads for other in others])
        rn.solve(others[0], solver, backend="cpu")

    alone = rn.gradient(problem(0, user_loss(lambda: None)), method, solver, backend="cpu")
    busy = rn.gradient(problem(0, user_loss(meanwhile)), method, solver, backend="cpu")
    assert inner
    for name, g in alone.grads.items():
        np.testing.assert_array_equal(busy.grads[name], g)
    for other, grads in zip(others, inner[-1], strict=True):
        for name, g in rn.gradient(other, method, solver, backend="cpu").grads.items():
            np.testing.assert_array_equal(grads[name], g)


@pytest.mark.parametrize("steps", ["shared", "own"])
def test_dense_output_inside_a_gradient(steps):
    """Steps of a solution are put together at the first question, which may come in the middle of something else."""
    solver = rn.Solver("dopri5", tol=1e-7, steps=steps)
    asked = []

    def meanwhile():
        asked.append(rn.solve(problem(1), solver, backend="cpu").z(0.3))

    alone = rn.gradient(problem(0, user_loss(lambda: None)), "discrete", solver, backend="cpu")
    busy = rn.gradient(problem(0, user_loss(meanwhile)), "discrete", solver, backend="cpu")
    for name, g in alone.grads.items():
        np.testing.assert_array_equal(busy.grads[name], g)
    np.testing.assert_array_equal(asked[-1], rn.solve(problem(1), solver, backend="cpu").z(0.3))


def test_memory_comes_back_after_an_error():
    """A loss that raises leaves the thread's memory as it was before."""

    def raises():
        raise RuntimeError("a loss of yours")

    with pytest.raises(RuntimeError, match="a loss of yours"):
        rn.gradient(problem(0, user_loss(raises)), backend="cpu")
    assert not WORK.outer
