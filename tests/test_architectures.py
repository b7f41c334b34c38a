"""NeuralODE puts each of its arguments where the model has it, and its defaults are the plain Neural ODE.      (1)"""

import inspect

import numpy as np
import pytest

import refnode as rn
from refnode.dynamics import dynamics_of
from refnode.errors import InvalidArgument
from refnode.maps import Network
from tests.help import LIBRARY, assert_close, mlp_roundings, mlp_sizes


def test_the_plain_neural_ode():
    """Without words: order 1, constant theta, no maps, no control, from 0 to 1; and no numbers anywhere."""
    f = rn.MLP(2, 3, 2)
    model = rn.NeuralODE(f)
    assert model == rn.Model(f)
    assert (model.field, model.depth, model.h_x, model.h_y) == (f, rn.Constant(), rn.Identity(), rn.Identity())
    assert (model.order, model.initial, model.control, model.span) == (1, "position", "none", (0.0, 1.0))


def test_every_word_has_its_place():
    """Each argument arrives where the model has it, and nowhere else."""
    f = rn.MLP(7, 3, 2)
    words = {"h_x": rn.Linear(3, 2), "h_y": rn.MLP(4, 2, 1), "order": 2, "control": "x", "span": (1, -2)}
    model = rn.NeuralODE(f, theta=rn.Constant(), init="velocity", **words)
    assert (model.h_x, model.h_y) == (Network(words["h_x"]), Network(words["h_y"]))
    assert (model.order, model.initial, model.control, model.span) == (2, "velocity", "x", (1.0, -2.0))
    plain = rn.NeuralODE(f)
    for word, name in [(w, w) for w in words] + [("init", "initial")]:
        value = words.get(word, "full")
        if word != "order":
            alone = rn.NeuralODE(f, **{word: value})
            others = [n for n in inspect.signature(rn.Model).parameters if n != name]
            assert [getattr(alone, n) for n in others] == [getattr(plain, n) for n in others]
            assert getattr(alone, name) != getattr(plain, name)


def test_words_are_words():
    """All but the field are given by name."""
    with pytest.raises(TypeError, match="positional"):
        rn.NeuralODE(rn.MLP(2, 2), (0.0, 1.0))


def test_refusals_name_the_argument():
    """A map or word that is wrong is named as it was given."""
    f = rn.MLP(2, 2)
    wrong = {"h_x": 3, "h_y": "linear", "init": "middle", "order": 0, "control": "z", "theta": 1}
    for word, value in wrong.items():
        with pytest.raises(InvalidArgument, match=rf"^{word}: got "):
            rn.NeuralODE(f, **{word: value})


@pytest.mark.parametrize(
    ("model", "n", "z0"),
    [
        (rn.NeuralODE(rn.MLP(2, 3, 2)), 2, [5, 6]),
        (rn.NeuralODE(rn.MLP(5, 3, 5), h_x=rn.ZeroAugment(3)), 2, [5, 6, 0, 0, 0]),  # ANODE                (7)
        (rn.NeuralODE(rn.MLP(3, 3, 3), h_x=rn.Linear(2, 3)), 2, [5, 6, 11]),  # IL-NODE                     (8)
        (rn.NeuralODE(rn.MLP(4, 3, 2), order=2), 2, [5, 6, 0, 0]),  # second order                          (9)
        (rn.NeuralODE(rn.MLP(4, 3, 2), order=2, init="velocity"), 2, [0, 0, 5, 6]),
        (rn.NeuralODE(rn.MLP(4, 3, 2), order=2, init="full"), 4, [5, 6, 7, 8]),
        (rn.NeuralODE(rn.MLP(4, 3, 2), control="x"), 2, [5, 6]),  # data control                           (10)
    ],
    ids=["node", "augmented", "input layer", "second order", "at rest", "full", "control"],
)
def test_the_papers_architectures(model, n, z0, rng):
    """Each starts where its equation says, and moves as its field says."""
    params = model.init(rng)
    if "h_x.W0" in params:
        params |= {"h_x.W0": [[1, 0, 1], [0, 1, 1]], "h_x.b0": [0, 0, 0]}  # (x_1, x_2, x_1 + x_2)
    x = np.array([[5.0, 6, 7, 8][:n], [1.0, 1, 1, 1][:n]])
    problem = rn.Problem(model, params, x, rn.Loss(running=rn.Kinetic()))
    z = model.initial_state(problem.values.w_x, problem.x)
    np.testing.assert_array_equal(z[0], z0)
    F = dynamics_of(problem).forward(np.array(0.5), np.hstack([z, [[0.0], [0.0]]]), problem.values)
    at = (np.array(0.5), z, problem.values.alpha, x if model.control == "x" else None)
    o, d = model.field.width_out, model.state_width
    assert_close(F[:, d - o : d], model.field.forward(*at), mlp_sizes(model.field, at)[0], mlp_roundings(model.field))
    np.testing.assert_array_equal(F[:, : d - o], z[:, o:])


def test_the_papers_closed_form(rng):
    """z' = -theta (z + x), z(0) = x, gives z(1) = -x + 2 x exp(-theta): solved to the solver's tolerance.       (10)"""
    theta, x = 0.8, rng.standard_normal((3, 1))
    model = rn.NeuralODE(rn.Linear(2, 1, bias=False), control="x")
    problem = rn.Problem(model, {"theta.W0": [[-theta], [-theta]]}, x, rn.Loss(terminal=rn.SquaredError([0.0])))
    solution = rn.solve(problem, rn.Solver("rk4", n_steps=64))
    # RK4's error of a step is below (theta h)^5 / 120 |2 x|, 64 of them, and none grows; then the rounding of 64 steps
    truncation = 64 * (theta / 64) ** 5 / 120 * np.abs(2 * x)
    off = np.abs(solution.z_T - (-x + 2 * x * np.exp(-theta)))
    assert (off <= truncation + 64 * (LIBRARY + 20) * np.finfo(float).eps * np.abs(2 * x)).all()
