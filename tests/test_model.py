"""A model fits together or is refused, and a problem is checked in full, by name, before anything is computed."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.errors import InvalidArgument
from tests.help import (
    absolute,
    assert_adjoint,
    assert_jvp,
    assert_vjp,
    complex_step,
    mlp_roundings,
    mlp_sizes,
    normals_like,
    random_problem,
)

FIELD = rn.MLP(2, 3, 2, time="first")
MODEL = rn.NeuralODE(FIELD)


def problem_with(model=MODEL, **changes):
    """A problem of three samples of width 2, with changes."""
    rng = np.random.default_rng(0)
    parts = {
        "params": {name: rng.standard_normal(shape) for name, shape in model.shapes.items()},
        "x": rng.standard_normal((3, 2)),
        "loss": rn.Loss(terminal=rn.SquaredError(np.zeros((3, 2)))),
    }
    return rn.Problem(model, **(parts | changes))


def refused(message):
    """InvalidArgument with this message, `..` standing for anything."""
    return pytest.raises(InvalidArgument, match="^" + re.escape(message).replace(r"\.\.", ".*"))


# ---------------------------------------------------------------- the structure

def test_leaves_in_order():
    """theta.*, then h_x.*, then h_y.*; every leaf by its full name, with the shapes of its part."""
    model = rn.NeuralODE(FIELD, h_x=rn.Linear(5, 2), h_y=rn.Linear(2, 1, bias=False))
    assert list(model.shapes.items()) == [
        *(("theta.W0", (3, 3)), ("theta.b0", (3,)), ("theta.W1", (3, 2)), ("theta.b1", (2,))),
        *(("h_x.W0", (5, 2)), ("h_x.b0", (2,)), ("h_y.W0", (2, 1))),
    ]
    leaves = model.init(np.random.default_rng(0))
    assert {name: leaf.shape for name, leaf in leaves.items()} == dict(model.shapes)
    assert not np.array_equal(leaves["theta.W0"][:2, :2], leaves["h_x.W0"][:2, :2])


@pytest.mark.parametrize(("order", "width"), [(1, 2), (2, 4), (3, 6)])
def test_state_width(order, width):
    """The state is order blocks of the field's output."""
    assert rn.NeuralODE(rn.MLP(2 * order, 2), order=order).state_width == width


def test_models_are_equal_by_structure():
    """Two models of the same structure are equal and hash alike; another order, span or map makes another model."""
    again = rn.NeuralODE(rn.MLP(2, 3, 2, time="first"))
    assert again == MODEL
    assert hash(again) == hash(MODEL)
    for change in ({"order": 2}, {"span": (0, 2)}, {"h_y": rn.Linear(2, 2)}):
        assert replace(again, **change) != again
    assert MODEL.span == (0.0, 1.0)


def test_a_field_without_initial_values():
    """A user's field has no init, and says so; a Generator is needed."""
    model = rn.NeuralODE(rn.UserField(len, len, len, {"k": ()}, 2))
    with refused("field: got UserField(..; must be a field with a method init(rng)"):
        model.init(np.random.default_rng(0))
    with refused("rng: got 0; must be a np.random.Generator"):
        MODEL.init(0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"order": 0}, "order: got 0; must be an integer >= 1"),
        ({"order": 1.0}, "order: got 1.0; must be an integer >= 1"),
        ({"order": True}, "order: got True; must be an integer >= 1"),
        ({"order": "2"}, "order: got '2'; must be an integer >= 1"),
        ({"init": "zero"}, "init: got 'zero'; must be one of 'position', 'velocity', 'full'"),
        ({"init": "zero", "order": 2}, "init: got 'zero'"),
        ({"init": None}, "init: got None"),
        ({"init": "velocity"}, "initial: got 'velocity' with order 1"),
        ({"control": "z"}, "control: got 'z'; must be one of 'none', 'x'"),
        ({"control": True}, "control: got True; must be one of"),
        ({"h_x": 3}, "h_x: got 3; must be None, an MLP"),
        ({"h_y": "linear"}, "h_y: got ..linear..; must be None, an MLP"),
        ({"h_x": rn.MLP(2, 2, time="first")}, "time: got first; must be 'none' for an MLP used as h_x or h_y"),
        ({"theta": None}, "theta: got None; must be a depth, such as rn.Constant()"),
        ({"theta": rn.Constant}, "theta: got <class ..Constant'>; must be a depth"),
        ({"span": (0.0, 1.0, 2.0)}, "span: got shape (3,); must be of shape (2,)"),
        ({"span": 1.0}, "span: got shape (); must be of shape (2,)"),
        ({"span": (0.0, np.nan)}, "span: got ..NaN or infinity at (1,)"),
        ({"span": (0.0, np.inf)}, "span: got ..NaN or infinity at (1,)"),
        ({"span": np.float32([0, 1])}, "span: got dtype float32"),
        ({"span": (0, 1j)}, "span: got dtype complex128"),
        ({"span": (False, True)}, "span: got dtype bool"),
    ],
)
def test_model_refuses(words, message):
    """A word, number, map or span that is not allowed raises by name, with what is allowed."""
    with refused(message):
        rn.NeuralODE(rn.MLP(2, 2), **words)


def test_a_model_checks_itself():
    """Model, without NeuralODE before it, takes networks as maps and refuses the same words."""
    assert rn.Model(FIELD, h_x=rn.Linear(3, 2), h_y=rn.Linear(2, 1)) == rn.NeuralODE(
        FIELD, h_x=rn.Linear(3, 2), h_y=rn.Linear(2, 1)
    )
    assert rn.Model(FIELD, h_x=None, h_y=None) == rn.Model(FIELD) == MODEL
    for words, message in (
        ({"initial": "zero"}, "initial: got 'zero'; must be one of 'position', 'velocity', 'full'"),
        ({"h_x": 3}, "h_x: got 3; must be None, an MLP"),
        ({"h_y": 3}, "h_y: got 3; must be None, an MLP"),
        ({"order": 0}, "order: got 0; must be an integer >= 1"),
    ):
        with refused(message):
            rn.Model(FIELD, **words)


@pytest.mark.parametrize("field", [None, 3, np.tanh, lambda t, z: z, rn.MLP, rn.CosineField, rn.Identity()])
def test_field_refuses(field):
    """What lacks a field's members, or is the class of one, is no field; the message lists what it lacks."""
    with refused("field: got ..; must be a field; it lacks .."):
        rn.NeuralODE(field)


def test_field_says_what_it_lacks():
    """An object with some members of a field is told of the others."""
    with refused("field: got ..; must be a field; it lacks width_out, width_in (see refnode.field.Field)"):
        rn.NeuralODE(rn.Identity())


# ---------------------------------------------------------------- widths

@pytest.mark.parametrize(
    ("model", "n"),
    [
        (rn.NeuralODE(rn.MLP(2, 2)), 2),
        (rn.NeuralODE(rn.MLP(5, 2), control="x", h_x=rn.Linear(3, 2)), 3),
        (rn.NeuralODE(rn.MLP(4, 2), order=2), 2),
        (rn.NeuralODE(rn.MLP(4, 2), order=2, init="velocity"), 2),
        (rn.NeuralODE(rn.MLP(4, 2), order=2, init="full"), 4),
        (rn.NeuralODE(rn.MLP(6, 2), order=2, control="x"), 2),
        (rn.NeuralODE(rn.MLP(5, 5), h_x=rn.ZeroAugment(3), h_y=rn.Linear(5, 1)), 2),
        (rn.NeuralODE(rn.UserField(len, len, len, {}, 2)), 2),
    ],
)
def test_widths_that_fit(model, n):
    """h_x fills its block from x of width n, the field takes [z, x]; any other width of x is refused."""
    assert model.check_widths(n) is None
    with pytest.raises(InvalidArgument, match=r"must be (of output width|of input width|\d+, the width of the map)"):
        model.check_widths(n + 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (rn.NeuralODE(rn.MLP(3, 3)), "h_x: got of output width 2 for x of width 2; must be of output width 3"),
        (rn.NeuralODE(rn.MLP(4, 2), order=2, init="full"), "h_x: got of output width 2 for x of width 2; ..width 4"),
        (rn.NeuralODE(rn.MLP(2, 2), h_x=rn.ZeroAugment(1)), "h_x: got of output width 3 for x of width 2; ..width 2"),
        (rn.NeuralODE(rn.MLP(2, 2), h_x=rn.Linear(2, 3)), "h_x: got of output width 3 for x of width 2; ..width 2"),
        (rn.NeuralODE(rn.MLP(2, 2), h_x=rn.Linear(3, 2)), "widths[0]: got 3; must be 2, the width of the map's input"),
        (rn.NeuralODE(rn.MLP(2, 2), h_y=rn.Linear(3, 1)), "widths[0]: got 3; must be 2, the width of the map's input"),
        (rn.NeuralODE(rn.MLP(3, 2)), "field: got of input width 3; must be of input width 2 (2 for z)"),
        (rn.NeuralODE(rn.MLP(2, 2), order=2), "field: got of input width 2; must be of input width 4 (4 for z)"),
        (rn.NeuralODE(rn.MLP(2, 2), control="x"), "field: got of input width 2; ..width 4 (2 for z and 2 for x)"),
    ],
)
def test_widths_that_do_not_fit(model, message):
    """A problem whose input map, field and readout do not fit each other and x is refused, part by part."""
    with refused(message):
        problem_with(model)
    with refused(message):
        model.check_widths(2)


# ---------------------------------------------------------------- the initial state

@pytest.mark.parametrize("init", ["position", "velocity", "full"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_initial_state_derivatives(order, init, rng):
    """z(t0) = h_x(x) in its block: jvp and vjp are complex steps in w and x, and adjoint to each other."""
    if (order, init) == (1, "velocity"):
        init = "position"  # refused above
    mlp = rn.MLP(3, 4, 2 * order if init == "full" else 2, act="sin")
    model = random_problem(rng, order=order, init=init, h_x=mlp).model
    args = (rng.standard_normal(sum(np.prod(s, dtype=int) for s in mlp.shapes.values())), rng.standard_normal((3, 3)))
    d, g = normals_like(rng, args), rng.standard_normal((3, 2 * order))
    start = 2 if init == "velocity" else 0

    def jvp(d):
        return model.initial_state_jvp(*args, *d)

    def sizes(d):
        (w, x), (dw, dx) = absolute(args), absolute(d)
        out = np.zeros((3, 2 * order))
        terms = mlp_sizes(mlp, (np.zeros(()), x, w, None), (np.zeros(()), dx, dw, None))[1]
        out[:, start : start + terms.shape[1]] = terms
        return out

    n = mlp_roundings(mlp) + 3
    assert_jvp(model.initial_state, jvp, args, d, sizes, n)
    back = model.initial_state_vjp(*args, g)
    assert_vjp(model.initial_state, back, args, g, sizes, n)
    assert_adjoint(back, jvp, d, g, sizes, n + g.size + sum(a.size for a in args))
    assert complex_step(model.initial_state, args, d)[:, start].all()  # that block, and not zeros, was compared


# ---------------------------------------------------------------- what a problem keeps

def test_a_problem_keeps_copies():
    """Params, x and span are read-only float64 copies; integers and lists are taken."""
    x, W = np.ones((3, 2)), np.ones((3, 3))
    problem = problem_with(x=x, params=dict(problem_with().params) | {"theta.W0": W}, span=(0, [1, 2, 3]))
    x[0, 0] = W[0, 0] = 7.0
    assert problem.x[0, 0] == problem.params["theta.W0"][0, 0] == 1.0
    np.testing.assert_array_equal(problem.span[1], [1.0, 2.0, 3.0])
    assert problem.span[0].shape == ()
    assert problem.batch == 3
    for a in (problem.x, *problem.params.values(), *problem.span):
        assert a.dtype == np.float64
        assert not a.flags.writeable


def test_the_models_span_unless_the_problem_has_its_own():
    """span=None takes the model's."""
    model = rn.NeuralODE(FIELD, span=(0.5, -1.0))
    np.testing.assert_array_equal(problem_with(model).span, (0.5, -1.0))
    np.testing.assert_array_equal(problem_with(model, span=[2, 3]).span, (2.0, 3.0))


def test_params_in_the_models_order():
    """Leaves may be given in any order, as lists too; they are kept in the model's."""
    params = problem_with().params
    shuffled = {name: params[name].tolist() for name in reversed(params)}
    again = problem_with(params=shuffled)
    assert list(again.params) == list(MODEL.shapes)
    for name, leaf in params.items():
        np.testing.assert_array_equal(again.params[name], leaf)


# ---------------------------------------------------------------- what a problem refuses

PARAMS = dict(problem_with().params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (None, "params: got None; must be a mapping from leaf names to arrays"),
        (list(PARAMS), "params: got ['theta.W0'..; must be a mapping"),
        ({}, "params: got no leaves ['theta.W0', 'theta.b0', 'theta.W1', 'theta.b1']; must be the leaves ['theta."),
        ({k: v for k, v in PARAMS.items() if k != "theta.b0"}, "params: got no leaves ['theta.b0']; must be ..theta"),
        (PARAMS | {"theta.W2": 1.0}, "params: got unknown leaves ['theta.W2']; must be the leaves ['theta.W0'"),
        (PARAMS | {"W0": PARAMS["theta.W0"]}, "params: got unknown leaves ['W0']"),
        (PARAMS | {0: 1.0}, "params: got unknown leaves ['0']"),
        (PARAMS | {"theta.W0": np.ones((3, 2))}, "theta.W0: got shape (3, 2); must be of shape (3, 3)"),
        (PARAMS | {"theta.b0": np.ones((1, 3))}, "theta.b0: got shape (1, 3); must be of shape (3,)"),
        (PARAMS | {"theta.b0": 1.0}, "theta.b0: got shape (); must be of shape (3,)"),
        (PARAMS | {"theta.W1": np.ones((3, 2), np.float32)}, "theta.W1: got dtype float32; must be float64"),
        (PARAMS | {"theta.W1": np.ones((3, 2), complex)}, "theta.W1: got dtype complex128; must be float64"),
        (PARAMS | {"theta.W1": np.ones((3, 2), bool)}, "theta.W1: got dtype bool"),
        (PARAMS | {"theta.b1": [1.0, np.nan]}, "theta.b1: got ..NaN or infinity at (1,); must be finite"),
        (PARAMS | {"theta.b1": [np.inf, 1.0]}, "theta.b1: got ..NaN or infinity at (0,); must be finite"),
        (PARAMS | {"theta.W1": [[1.0], [1.0, 2.0], [0.0]]}, "theta.W1: got ..; must be a rectangular array"),
        (PARAMS | {"theta.b1": None}, "theta.b1: got dtype object"),
    ],
)
def test_params_refuse(params, message):
    """Missing, unknown, misshapen and non-float64 leaves are named, and so is every leaf of the model."""
    with refused(message):
        problem_with(params=params)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((0, 2)), "x: got shape (0, 2); must be of shape (b, n) with b, n >= 1"),
        (np.ones((3, 0)), "x: got shape (3, 0); must be of shape (b, n) with b, n >= 1"),
        (np.ones(2), "x: got shape (2,); must be of shape (any, any)"),
        (1.0, "x: got shape (); must be of shape (any, any)"),
        (np.ones((3, 2, 1)), "x: got shape (3, 2, 1); must be of shape (any, any)"),
        (np.ones((3, 2), np.float32), "x: got dtype float32; must be float64"),
        (np.ones((3, 2)) + 0j, "x: got dtype complex128; must be float64"),
        ([[1.0, 2.0], [np.nan, 1.0], [0.0, 0.0]], "x: got ..NaN or infinity at (1, 0); must be finite"),
        ([[1.0], [1.0, 2.0]], "x: got ..; must be a rectangular array"),
        (np.ma.masked_array(np.ones((3, 2)), np.eye(3, 2)), "x: got a masked array; must be an array without a mask"),
        (np.ones((2, 2)), "terminal.target: got shape (3, 2); must be of shape (2, 2) or (2,)"),
        (np.ones((3, 3)), "h_x: got of output width 3 for x of width 3; must be of output width 2"),
    ],
)
def test_x_refuses(x, message):
    """x is finite float64 (b, n), of the model's width and the loss's batch, and not empty."""
    with refused(message):
        problem_with(x=x)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((0.0,), "span: got (0.0,); must be a pair (t0, T)"),
        ((0.0, 1.0, 2.0), "span: got (0.0, 1.0, 2.0); must be a pair (t0, T)"),
        (1.0, "span: got 1.0; must be a pair (t0, T)"),
        ("ab", "span: got ..ab..; must be a pair (t0, T)"),
        ((0.0, [1.0, 2.0]), "T: got shape (2,); must be of shape (3,)"),
        (([0.0] * 4, 1.0), "t0: got shape (4,); must be of shape (3,)"),
        ((0.0, np.ones((3, 1))), "T: got shape (3, 1); must be of shape (3,)"),
        ((0.0, [[1.0], [1.0, 2.0]]), "T: got ..; must be a rectangular array"),
        ((0.0, np.nan), "T: got ..NaN or infinity"),
        ((-np.inf, 0.0), "t0: got ..NaN or infinity"),
        ((0.0, [1.0, 2.0, np.nan]), "T: got ..NaN or infinity at (2,)"),
        ((np.float32(0), 1.0), "t0: got dtype float32"),
        ((0.0, 1j), "T: got dtype complex128"),
        ((False, 1.0), "t0: got dtype bool"),
        ((None, 1.0), "t0: got dtype object"),
    ],
)
def test_span_refuses(span, message):
    """A span is a pair of numbers, or of one number per sample."""
    with refused(message):
        problem_with(span=span)


@pytest.mark.parametrize(
    "span", [(0, 1), [1.0, 0.0], (0.0, [1.0, -1.0, 2.0]), ([0.0, 0.1, 0.2], 1.0), ([0, 1, 2], [3, 4, 5])]
)
def test_span_forms(span):
    """Forwards, backwards, one end or both per sample, and different directions for different samples."""
    problem = problem_with(span=span)
    for end, given_end in zip(problem.span, span, strict=True):
        np.testing.assert_array_equal(end, given_end)
        assert end.shape == np.shape(given_end)


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (3, None, "model: got 3; must be a Model, such as rn.NeuralODE"),
        (FIELD, None, "model: got MLP(..; must be a Model"),
        (MODEL, None, "loss: got None; must be an rn.Loss"),
        (MODEL, rn.SquaredError(np.zeros(2)), "loss: got SquaredError(..; must be an rn.Loss"),
    ],
)
def test_parts_refuse(model, loss, message):
    """A problem has a Model and a Loss: a field or a term alone is not enough."""
    with refused(message):
        rn.Problem(model, PARAMS, np.ones((3, 2)), loss)


def wide(times):
    """Observations of width 3, one too many."""
    return rn.observe(times, np.zeros((len(times), 3, 3)))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (rn.Loss(rn.SquaredError(np.zeros((3, 3)))), "terminal.target: got shape (3, 3); must be of shape (3, 2)"),
        (rn.Loss(rn.LinearFunctional(np.zeros(3))), "terminal.c: got shape (3,); must be of shape (3, 2) or (2,)"),
        (rn.Loss(rn.CrossEntropy([0, 1])), "terminal.labels: got shape (2,); must be of shape (3,)"),
        (rn.Loss(rn.CrossEntropy([0, 1, 2])), "terminal.labels: got labels from 0 to 2; must be from 0 to 1"),
        (rn.Loss(rn.UserLoss(3, len)), "terminal.fn_value: got 3; must be a function of (t, y)"),
        (rn.Loss(observations=wide([0.5])), "observations.terms[0].target: got shape (3, 3)"),
        (rn.Loss(running=rn.Kinetic(of="path")), "running[0].of: got 'path'; must be one of 'field', 'state'"),
        (
            rn.Loss(running=(rn.Kinetic(), rn.Tracking(rn.Harmonic([1.0], [1.0], [0.0])))),
            "running[1].beta: got beta(t) of shape (3, 1) for t (3,); must be (3, 2)",
        ),
    ],
)
def test_losses_that_do_not_fit(loss, message):
    """Every term is checked against the batch and the widths it sees, and named by its place in the loss."""
    with refused(message):
        problem_with(loss=loss)


def test_point_losses_see_the_readout_and_running_losses_the_state():
    """With h_y from 2 to 1 a target has one column, and a tracked path two."""
    model = rn.NeuralODE(FIELD, h_y=rn.Linear(2, 1))
    path = rn.Tracking(rn.Harmonic([1.0, 1.0], [1.0, 1.0], [0.0, 0.0]))
    loss = rn.Loss(rn.SquaredError(np.zeros((3, 1))), rn.observe([0.5], np.zeros((1, 3, 1))), path)
    assert problem_with(model, loss=loss).loss is loss
    with refused("terminal.target: got shape (3, 2); must be of shape (3, 1) or (1,)"):
        problem_with(model)


# ---------------------------------------------------------------- observation times

def observed(times, span):
    """A problem observed at these times."""
    return problem_with(loss=rn.Loss(observations=rn.observe(times, np.zeros((len(times), 3, 2)))), span=span)


@pytest.mark.parametrize(
    ("times", "span"),
    [
        ([0.5], (0.0, 1.0)),
        ([0.1, 0.2, 0.9], (0.0, 1.0)),
        ([0.9, 0.2], (1.0, 0.0)),
        ([0.5, 0.75], (0.0, [1.0, 2.0, 0.8])),
        ([0.5], ([0.0, 0.4, -1.0], 1.0)),
        ([-0.5, -0.75], ([0.0, 1.0, 2.0], [-1.0, -2.0, -0.8])),
        ([5e-324], (0.0, 1.0)),
        ([1.0], (0.0, 1.0)),  # at T: a fixed end point, where the terminal loss moves with T
        ([0.5, 1.0], (0.0, 1.0)),
        ([0.0], (1.0, 0.0)),
        ([0.5, 0.75], (0.0, [1.0, 2.0, 0.75])),  # at the last sample's end
    ],
)
def test_times_inside_the_span(times, span):
    """Times behind t0 and not behind T, in the order in which depth passes them in every sample, are taken."""
    np.testing.assert_array_equal(observed(times, span).loss.observations.times, times)


@pytest.mark.parametrize(
    ("times", "span"),
    [
        ([1.5], (0.0, 1.0)),  # behind T
        ([-0.5], (0.0, 1.0)),  # before t0
        ([0.0], (0.0, 1.0)),  # on t0
        ([0.6, 0.5], (0.0, 1.0)),  # out of order
        ([0.5, 0.5], (0.0, 1.0)),  # twice
        ([0.2, 0.9], (1.0, 0.0)),  # out of order backwards
        ([1.0, 1.0], (0.0, 1.0)),
        ([1.0], (1.0, 0.0)),
        ([1.5], (1.0, 0.0)),
        ([0.5, 0.76], (0.0, [1.0, 2.0, 0.75])),  # behind the last sample's end
        ([0.5], ([0.0, 0.5, 0.1], 1.0)),  # on the second sample's start
        ([0.5], (0.0, [1.0, 1.0, -1.0])),  # the last sample runs the other way
        ([0.5], (0.5, 0.5)),  # no span at all
    ],
)
def test_times_outside_the_span(times, span):
    """Times outside, on t0, out of order or doubled are refused; the message has times, span and a way out."""
    with refused(f"observations.times: got times {times} in the span from ..; must be behind t0, not behind T, .."):
        observed(times, span)
    with refused("observations.times: ..; a loss that moves with T is terminal"):
        observed(times, span)


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=3), st.booleans())
def test_times_are_taken_just_when_they_lie_in_order(times, backwards):
    """On random times: taken if and only if t0 < t_1 < .. <= T, or the other way round."""
    span = (1.0, 0.0) if backwards else (0.0, 1.0)
    sign = np.sign(span[1] - span[0])
    in_order = all(sign * (b - a) > 0 for a, b in pairwise([span[0], *times])) and sign * (span[1] - times[-1]) >= 0
    try:
        observed(times, span)
        taken = True
    except InvalidArgument:
        taken = False
    assert taken == in_order


# ---------------------------------------------------------------- functions of one's own

def test_a_field_that_returns_a_wrong_shape_is_named():
    """A problem evaluates a user's functions once: a result of the wrong shape raises before anything is solved."""
    field = rn.UserField(
        forward=lambda t, z, theta, x: theta * z,
        jvp=lambda t, z, theta, x, dt, dz, dtheta, dx: theta * dz + dtheta * z,
        vjp=lambda t, z, theta, x, g: (np.zeros(len(z)), theta * g, z * g, None),  # not summed over the batch
        shapes={"k": (2,)},
        width=2,
    )
    with refused("field.vjp, cotangent of theta: got a result of shape (3, 2), .. of shape (2,)"):
        problem_with(rn.NeuralODE(field), params={"theta.k": [1.0, 2.0]})


@pytest.mark.parametrize("theta", [rn.Galerkin(rn.Fourier(1)), rn.Stacked(2)], ids=["Galerkin", "stacked"])
def test_functions_that_mix_the_rows_of_theta_are_named(theta):
    """Where theta(t) varies, samples at depths of their own have a row of it each: a sum over all rows is refused.

    With a constant theta, (p,) always, the same functions are taken.
    """
    summed = rn.UserRunning(
        lambda at: (at.theta**2).sum() * np.ones(len(at.z)),
        lambda at, d: 2 * (at.theta * d.theta).sum() * np.ones(len(at.z)),
        lambda at, g: rn.no_cotangent(at)._replace(theta=2 * at.theta * g.sum()),
    )
    first = rn.UserField(
        forward=lambda t, z, theta, x: theta[0] * z,
        jvp=lambda t, z, theta, x, dt, dz, dtheta, dx: theta[0] * dz + dtheta[0] * z,
        vjp=lambda t, z, theta, x, g: (np.zeros(len(z)), theta[0] * g, np.array([(z * g).sum()]), None),
        shapes={"k": (1,)},
        width=2,
    )
    words = r"theta \(p,\) and \(b, p\) alike"
    for depth, taken in ((rn.Constant(), True), (theta, False)):
        models = (rn.NeuralODE(rn.MLP(2, 2), theta=depth), rn.NeuralODE(first, theta=depth))
        losses = (rn.Loss(running=summed), rn.Loss(running=rn.SquaredNorm()))
        names = (r"running\[0\]\.value", "field.forward")
        for model, loss, name in zip(models, losses, names, strict=True):
            params = {n: np.ones(s) if n != "edges" else model.edges for n, s in model.shapes.items()}
            if taken:
                rn.Problem(model, params, np.ones((3, 2)), loss)
                continue
            with pytest.raises(InvalidArgument, match=rf"^{name}: got .*{words}"):
                rn.Problem(model, params, np.ones((3, 2)), loss)


# ---------------------------------------------------------------- leaves by name

def test_a_leaf_by_its_name():
    """problem["x"] is leaves()["x"] for every leaf; another name raises with the names there are."""
    problem = everything_problem()
    for name, leaf in problem.leaves().items():
        np.testing.assert_array_equal(problem[name], leaf)
    for name in ("W0", "theta", 0, None):
        with refused(f"leaf: got ..{name}..; must be among ['theta.W0'..'t_obs']"):
            problem[name]
    with refused("leaf: got ..t_obs..; must be among"):
        problem_with()["t_obs"]


def test_a_problem_is_no_sequence():
    """Iterating over a problem is a TypeError, not a search for leaf number 0."""
    with pytest.raises(TypeError, match="not iterable"):
        list(problem_with())


# ---------------------------------------------------------------- replacing leaves

def everything_problem():
    """A problem with every kind of leaf."""
    maps = {"h_x": rn.Linear(3, 2), "h_y": rn.Linear(2, 1)}
    return random_problem(np.random.default_rng(4), times=(0.5, 1.0), running=rn.Kinetic(), scale=3.0, **maps)


@pytest.mark.parametrize("name", list(everything_problem().leaves()))
def test_with_leaves_replaces_one_leaf(name):
    """The named leaf has its new numbers, every other is what it was, and so are model, terms and scale."""
    problem = everything_problem()
    leaf = problem.leaves()[name]
    again = problem.with_leaves({name: leaf + 0.125})
    for other, now in again.leaves().items():
        np.testing.assert_array_equal(now, problem.leaves()[other] + (0.125 if other == name else 0.0))
    assert again.model is problem.model
    assert again.loss.terminal is problem.loss.terminal
    assert again.loss.observations.terms == problem.loss.observations.terms
    assert again.loss.running == problem.loss.running
    assert again.loss.scale == 3.0
    np.testing.assert_array_equal(problem.leaves()[name], leaf)


def test_with_leaves_of_a_problem_without_observations():
    """There t_obs is no leaf; the loss is kept whole."""
    problem = problem_with()
    assert problem.with_leaves({"T": 3.0}).loss is problem.loss
    assert problem.with_leaves({"T": 3.0}).span[1] == 3.0
    assert problem.with_leaves({"T": [1.0, 2.0, 3.0]}).span[1].shape == (3,)
    with refused("leaves: got unknown names ['t_obs']; must be among ['theta.W0'..'T']"):
        problem.with_leaves({"t_obs": [0.5]})


def test_with_leaves_checks():
    """New leaves are checked as in a new problem, and unknown names raise with those that are known."""
    problem = everything_problem()
    with refused("leaves: got unknown names ['W0', 'z']; must be among ['theta.W0'"):
        problem.with_leaves({"z": 1.0, "W0": 2.0})
    with refused("theta.W0: got shape (2,); must be of shape"):
        problem.with_leaves({"theta.W0": [1.0, 2.0]})
    with refused("observations.times: got times [1.0, 0.5]"):
        problem.with_leaves({"t_obs": [1.0, 0.5]})
    with refused("observations.terms: got 2 terms; must be one for each of 1 times"):
        problem.with_leaves({"t_obs": [0.5]})
    with refused("leaves: got ..; must be a mapping from leaf names"):
        problem.with_leaves(["x"])
