"""Bad input is refused at the border, by one class, in words that name the argument, what it was and what it may be.

The table below is the test: a bad call and the message that answers it. Nothing in it may raise from deep inside, warn,
or be taken for something else.
"""

import pickle

import numpy as np
import pytest

import refnode as rn

NAN, INF = float("nan"), float("inf")
X = np.random.default_rng(1).standard_normal((3, 2))
FIELD = rn.MLP(2, 4, 2, time="first")
MODEL = rn.NeuralODE(FIELD, h_y=rn.Linear(2, 2))
PARAMS = MODEL.init(np.random.default_rng(2))
ERROR = rn.SquaredError(np.zeros(2))
LOSS = rn.Loss(terminal=ERROR)
PROBLEM = rn.Problem(MODEL, PARAMS, X, LOSS)
SOLVER = rn.Solver("rk4", n_steps=2)
THETA = {name.removeprefix("theta."): leaf for name, leaf in PARAMS.items() if name.startswith("theta.")}
SOLUTION = rn.solve(PROBLEM, SOLVER)
FLOAT64 = r"; must be float64 \(refnode's problems are exact float64\)"


def problem(**changed):
    """PROBLEM with some arguments changed."""
    return rn.Problem(**{"model": MODEL, "params": PARAMS, "x": X, "loss": LOSS} | changed)


def leaf(value):
    """PROBLEM with another first bias."""
    return problem(params=PARAMS | {"theta.b0": value})


def losing(*terminal, **loss):
    """PROBLEM with another loss."""
    return problem(loss=rn.Loss(*terminal, **loss))


def user_field(**changed):
    """f = cos(t) z as a user would write it, with some parts changed."""
    parts = {
        "forward": lambda t, z, theta, x: np.cos(np.asarray(t)[..., None]) * z,
        "jvp": lambda t, z, theta, x, dt, dz, dtheta, dx: np.cos(np.asarray(t)[..., None]) * dz,
        "vjp": lambda t, z, theta, x, g: (np.zeros(len(z)), g, theta * 0, None),
        "shapes": {},
        "width": 2,
    }
    return rn.UserField(**parts | changed)


def with_field(**changed):
    """A problem with the user's field."""
    return problem(model=rn.NeuralODE(user_field(**changed)), params={})


def user_loss(**changed):
    """L = sum y as a user would write it, with some parts changed, at T."""
    parts = {"fn_value": lambda t, y: y.sum(axis=1), "fn_grad": lambda t, y: (np.zeros(len(y)), np.ones(y.shape))}
    return losing(rn.UserLoss(**parts | changed))


def user_running(**changed):
    """l = sum z as a user would write it, with some parts changed."""
    parts = {
        "fn_value": lambda at: at.z.sum(axis=1),
        "fn_jvp": lambda at, d: d.z.sum(axis=1),
        "fn_vjp": lambda at, g: rn.no_cotangent(at)._replace(z=g[:, None] * np.ones(at.z.shape)),
    }
    return losing(running=rn.UserRunning(**parts | changed))


def harmonic(amplitude=(1.0, 1.0), frequency=(1.0, 2.0), phase=(0.0, 0.0)):
    """A path of two components."""
    return rn.Harmonic(amplitude, frequency, phase)


def tracking(**changed):
    """A tracking loss."""
    return losing(running=rn.Tracking(**{"beta": harmonic()} | changed))


def observed(times=(0.5,), terms=None):
    """PROBLEM with observations."""
    return losing(observations=rn.Observations(times, (ERROR,) * np.size(times) if terms is None else terms))


def tableau(**changed):
    """Euler's method with some parts changed."""
    parts = {"name": "mine", "citation": "", "order": 1, "order_dense": 1, "c": [0], "a": [[0]], "b": [1]}
    return rn.Tableau(**parts | changed)


def grad(method, **options):
    """The gradient of PROBLEM."""
    return rn.gradient(PROBLEM, method, SOLVER, **options)


def check(field=FIELD, t=0.1, z=X, theta=THETA, **more):
    """check_field on good arguments with some changed."""
    return rn.check_field(field, t, z, theta, **more)


ACTS = "one of 'tanh', 'softplus', 'sin', 'sigmoid', 'relu', 'identity'$"
TABLEAUX = "one of 'euler', 'midpoint', 'heun', 'rk4', 'rk4_38', 'bosh3', 'dopri5', 'tsit5', 'dop853'$"
POINT = "a loss with methods factor, check, value, grad$"
RUNNING = "a loss with methods factor, check, value, jvp, vjp$"
INSIDE = "behind t0, not behind T, and in the order in which depth passes them, for every sample"
A_MAP = "None, an MLP, rn.ZeroAugment, rn.PartialInput, rn.Columns, or an object like refnode.maps.Map$"

# id, call, message
CASES = [
    # MLP, Linear, ZeroAugment, CosineField
    ("MLP without widths", lambda: rn.MLP(), r"widths: got \(\); must be at least an input and an output width"),
    ("MLP with one width", lambda: rn.MLP(2), r"widths: got \(2,\); must be at least an input"),
    ("MLP width in words", lambda: rn.MLP("2", 2), r"widths\[0\]: got '2'; must be an integer >= 1"),
    ("MLP width as a float", lambda: rn.MLP(2, 3.0, 2), r"widths\[1\]: got 3\.0; must be an integer >= 1"),
    ("MLP width zero", lambda: rn.MLP(2, 0, 2), r"widths\[1\]: got 0; must be an integer >= 1"),
    ("MLP width negative", lambda: rn.MLP(2, -3, 2), r"widths\[1\]: got -3; must be"),
    ("MLP width True", lambda: rn.MLP(True, 2), r"widths\[0\]: got True; must be"),
    ("MLP width None", lambda: rn.MLP(2, None), r"widths\[1\]: got None; must be"),
    ("MLP widths in a list", lambda: rn.MLP([2, 3]), r"widths: got \(\[2, 3\],\); must be at least"),
    ("MLP unknown act", lambda: rn.MLP(2, 2, act="gelu"), "act: got 'gelu'; must be " + ACTS),
    ("MLP act a function", lambda: rn.MLP(2, 2, act=np.tanh), "act: got <ufunc 'tanh'>; must be " + ACTS),
    ("MLP time True", lambda: rn.MLP(2, 2, time=True), "time: got True; must be one of 'none', 'first', 'every'$"),
    ("MLP bias 1", lambda: rn.MLP(2, 2, bias=1), "bias: got 1; must be True or False$"),
    ("MLP skip None", lambda: rn.MLP(2, 2, skip=None), "skip: got None; must be True or False$"),
    ("Linear width in words", lambda: rn.Linear(2, "1"), r"widths\[1\]: got '1'; must be an integer >= 1"),
    ("Linear bias in words", lambda: rn.Linear(2, 1, bias="yes"), "bias: got 'yes'; must be True or False$"),
    ("ZeroAugment zero", lambda: rn.ZeroAugment(0), "extra: got 0; must be an integer >= 1$"),
    ("ZeroAugment negative", lambda: rn.ZeroAugment(-1), "extra: got -1; must be an integer >= 1$"),
    ("ZeroAugment a half", lambda: rn.ZeroAugment(1.5), r"extra: got 1\.5; must be an integer >= 1$"),
    ("CosineField in words", lambda: rn.CosineField("2"), "width: got '2'; must be an integer >= 1$"),
    # UserField
    ("UserField forward None", lambda: user_field(forward=None), "forward: got None; must be a function$"),
    ("UserField jvp in words", lambda: user_field(jvp="auto"), "jvp: got auto; must be a function$"),
    ("UserField vjp a number", lambda: user_field(vjp=3), "vjp: got 3; must be a function$"),
    ("UserField width zero", lambda: user_field(width=0), "width: got 0; must be an integer >= 1$"),
    ("UserField shapes a list", lambda: user_field(shapes=[("k", (2,))]), r"shapes: got \[\('k'.*; must be a mapping"),
    ("UserField shapes None", lambda: user_field(shapes=None), "shapes: got None; must be a mapping"),
    ("UserField leaf name", lambda: user_field(shapes={1: (2,)}), r"shapes: got \{1: \(2,\)\}; must be a mapping from"),
    ("UserField shape a number", lambda: user_field(shapes={"k": 2}),
     r"shapes\['k'\]: got 2; must be a tuple of integers >= 1"),
    ("UserField shape zero", lambda: user_field(shapes={"k": (0,)}),
     r"shapes\['k'\]: got \(0,\); must be a tuple of integers >= 1"),
    ("UserField shape True", lambda: user_field(shapes={"k": (True,)}),
     r"shapes\['k'\]: got \(True,\); must be a tuple of integers >= 1"),
    ("UserField forward's shape", lambda: with_field(forward=lambda t, z, theta, x: z[:, :1]),
     r"field\.forward: got a result of shape \(3, 1\), dtype float64; must be float64 of shape \(3, 2\)"),
    ("UserField forward's dtype", lambda: with_field(forward=lambda t, z, theta, x: z.astype(np.float32)),
     r"field\.forward: got a result of shape \(3, 2\), dtype float32; must be float64 of shape"),
    ("UserField vjp's shape", lambda: with_field(vjp=lambda t, z, theta, x, g: (0.0, g, theta, None)),
     r"field\.vjp, cotangent of t: got a result of shape \(\).*; must be float64 of shape \(3,\)"),
    ("UserField vjp's parts", lambda: with_field(vjp=lambda t, z, theta, x, g: (np.zeros(3), g)),
     r"field\.vjp: got tuple of 2; must be a tuple of 4"),
    # NeuralODE and Model.init
    ("field in words", lambda: rn.NeuralODE("mlp"), "field: got mlp; must be a field; it lacks shapes, width_out"),
    ("field None", lambda: rn.NeuralODE(None), "field: got None; must be a field; it lacks shapes"),
    ("field a class", lambda: rn.NeuralODE(rn.MLP), "field: got <class .*MLP'>; must be a field"),
    ("theta in words", lambda: rn.NeuralODE(FIELD, theta="constant"),
     "theta: got 'constant'; must be a depth, such as"),
    ("theta a class", lambda: rn.NeuralODE(FIELD, theta=rn.Constant), "theta: got <class .*; must be a depth"),
    ("h_x in words", lambda: rn.NeuralODE(FIELD, h_x="zero"), "h_x: got zero; must be " + A_MAP),
    ("h_x a number", lambda: rn.NeuralODE(FIELD, h_x=3), "h_x: got 3; must be " + A_MAP),
    ("h_x a class", lambda: rn.NeuralODE(FIELD, h_x=rn.ZeroAugment), "h_x: got <class .*; must be " + A_MAP),
    ("h_y a field", lambda: rn.NeuralODE(FIELD, h_y=rn.CosineField(2)), "h_y: got CosineField.*; must be " + A_MAP),
    ("h_x with time", lambda: rn.NeuralODE(FIELD, h_x=rn.MLP(2, 2, time="first")), "time: got first; must be 'none'"),
    ("order zero", lambda: rn.NeuralODE(FIELD, order=0), "order: got 0; must be an integer >= 1$"),
    ("order a float", lambda: rn.NeuralODE(FIELD, order=1.0), r"order: got 1\.0; must be an integer >= 1$"),
    ("init unknown", lambda: rn.NeuralODE(FIELD, order=2, init="zero"), "init: got 'zero'; must be one of 'position'"),
    ("velocity of order 1", lambda: rn.NeuralODE(FIELD, init="velocity"),
     "initial: got 'velocity' with order 1; must be 'position'"),
    ("control True", lambda: rn.NeuralODE(FIELD, control=True), "control: got True; must be one of 'none', 'x'$"),
    ("span of one", lambda: rn.NeuralODE(FIELD, span=(1.0,)), r"span: got shape \(1,\); must be of shape \(2,\)$"),
    ("span in words", lambda: rn.NeuralODE(FIELD, span="01"), "span: got dtype <U2" + FLOAT64),
    ("span NaN", lambda: rn.NeuralODE(FIELD, span=(0.0, NAN)),
     r"span: got .* NaN or infinity at \(1,\); must be finite$"),
    ("span infinite", lambda: rn.NeuralODE(FIELD, span=(0.0, INF)),
     r"span: got .* infinity at \(1,\); must be finite$"),
    ("span None", lambda: rn.NeuralODE(FIELD, span=None), "span: got dtype object" + FLOAT64),
    ("span ragged", lambda: rn.NeuralODE(FIELD, span=(0.0, [1.0, 2.0])), "span: got .*; must be a rectangular array"),
    ("rng a number", lambda: MODEL.init(0), "rng: got 0; must be a np.random.Generator, such as"),
    ("rng None", lambda: MODEL.init(None), "rng: got None; must be a np.random.Generator"),
    ("rng of the old kind", lambda: MODEL.init(np.random.RandomState(0)),
     "rng: got RandomState.*; must be a np.random.Generator"),
    ("init of a UserField", lambda: rn.NeuralODE(user_field()).init(np.random.default_rng(0)),
     r"field: got UserField.*; must be a field with a method init\(rng\)"),
    # Problem
    ("model a field", lambda: problem(model=FIELD), "model: got MLP.*; must be a Model, such as"),
    ("params None", lambda: problem(params=None), "params: got None; must be a mapping from leaf names"),
    ("params a list", lambda: problem(params=[1.0]), r"params: got \[1\.0\]; must be a mapping"),
    ("params without a leaf", lambda: problem(params={k: v for k, v in PARAMS.items() if k != "h_y.b0"}),
     r"params: got no leaves \['h_y\.b0'\]; must be the leaves \['theta\.W0'"),
    ("params with another leaf", lambda: problem(params=PARAMS | {"theta.W9": 1.0}),
     r"params: got unknown leaves \['theta\.W9'\]; must be the leaves"),
    ("leaf of another shape", lambda: leaf(np.zeros(3)), r"theta\.b0: got shape \(3,\); must be of shape \(4,\)$"),
    ("leaf float32", lambda: leaf(np.zeros(4, np.float32)), r"theta\.b0: got dtype float32" + FLOAT64),
    ("leaf complex", lambda: leaf(np.zeros(4, complex)), r"theta\.b0: got dtype complex128" + FLOAT64),
    ("leaf NaN", lambda: leaf(np.full(4, NAN)), r"theta\.b0: got .* NaN or infinity at \(0,\); must be finite$"),
    ("leaf None", lambda: leaf(None), r"theta\.b0: got dtype object" + FLOAT64),
    ("leaf of words", lambda: leaf(["a"] * 4), r"theta\.b0: got dtype <U1" + FLOAT64),
    ("leaf masked", lambda: leaf(np.ma.masked_array(np.zeros(4), [0, 0, 1, 0])),
     r"theta\.b0: got a masked array; must be an array without a mask"),
    ("x float32", lambda: problem(x=X.astype(np.float32)), "x: got dtype float32" + FLOAT64),
    ("x complex", lambda: problem(x=X + 0j), "x: got dtype complex128" + FLOAT64),
    ("x bool", lambda: problem(x=X > 0), "x: got dtype bool" + FLOAT64),
    ("x None", lambda: problem(x=None), "x: got dtype object" + FLOAT64),
    ("x of words", lambda: problem(x=[["a", "b"]]), "x: got dtype <U1" + FLOAT64),
    ("x ragged", lambda: problem(x=[[1.0], [1.0, 2.0]]),
     r"x: got \[\[1\.0\], \[1\.0, 2\.0\]\]; must be a rectangular array"),
    ("x a vector", lambda: problem(x=np.zeros(2)), r"x: got shape \(2,\); must be of shape \(any, any\)$"),
    ("x without samples", lambda: problem(x=np.zeros((0, 2))),
     r"x: got shape \(0, 2\); must be of shape \(b, n\) with"),
    ("x NaN", lambda: problem(x=np.array([[1.0, 2.0], [NAN, 0.0]])), r"x: got .* at \(1, 0\); must be finite$"),
    ("x too wide", lambda: problem(x=np.zeros((3, 3))),
     "h_x: got of output width 3 for x of width 3; must be of output width 2"),
    ("loss None", lambda: problem(loss=None), r"loss: got None; must be an rn\.Loss, such as"),
    ("loss a term", lambda: problem(loss=ERROR), r"loss: got SquaredError.*; must be an rn\.Loss"),
    ("span in words, again", lambda: problem(span="01"), r"span: got 01; must be a pair \(t0, T\)$"),
    ("span a number", lambda: problem(span=1.0), r"span: got 1\.0; must be a pair \(t0, T\)$"),
    ("T None", lambda: problem(span=(0.0, None)), "T: got dtype object" + FLOAT64),
    ("t0 in words", lambda: problem(span=("0", 1.0)), "t0: got dtype <U1" + FLOAT64),
    ("T for two of three", lambda: problem(span=(0.0, np.ones(2))), r"T: got shape \(2,\); must be of shape \(3,\)$"),
    ("t0 a matrix", lambda: problem(span=(np.zeros((3, 1)), 1.0)), r"t0: got shape \(3, 1\); must be of shape \(3,\)$"),
    ("T ragged", lambda: problem(span=(0.0, [[1.0], [1.0, 2.0]])), r"T: got .*; must be a rectangular array"),
    ("T NaN", lambda: problem(span=(0.0, NAN)), "T: got .*nan.*; must be finite$"),
    ("T True", lambda: problem(span=(0.0, True)), "T: got dtype bool" + FLOAT64),
    ("with_leaves unknown", lambda: PROBLEM.with_leaves({"theta.W7": 1.0}),
     r"leaves: got unknown names \['theta\.W7'\]; must be among \['theta\.W0'"),
    ("with_leaves None", lambda: PROBLEM.with_leaves(None), "leaves: got None; must be a mapping from leaf names"),
    ("with_leaves of another shape", lambda: PROBLEM.with_leaves({"x": np.zeros(3)}),
     r"x: got shape \(3,\); must be of shape \(any, any\)$"),
    # point losses
    ("target too wide", lambda: losing(rn.SquaredError(np.zeros(5))),
     r"terminal\.target: got shape \(5,\); must be of shape \(3, 2\) or \(2,\)$"),
    ("target a number", lambda: losing(rn.SquaredError(0.0)), r"terminal\.target: got shape \(\); must be of shape"),
    ("target a column", lambda: losing(rn.SquaredError(np.zeros((3, 1)))),
     r"terminal\.target: got shape \(3, 1\); must be of shape"),
    ("target NaN", lambda: rn.SquaredError([NAN, 1.0]), r"target: got .* infinity at \(0,\); must be finite$"),
    ("target float32", lambda: rn.SquaredError(np.zeros(2, np.float32)), "target: got dtype float32" + FLOAT64),
    ("reduction unknown", lambda: rn.SquaredError(X, reduction="avg"),
     "reduction: got 'avg'; must be one of 'mean', 'sum'"),
    ("weight in words", lambda: rn.SquaredError(X, weight="1"), "weight: got '1'; must be a finite number$"),
    ("weight NaN", lambda: rn.SquaredError(X, weight=NAN), "weight: got nan; must be a finite number$"),
    ("weight True", lambda: rn.SquaredError(X, weight=True), "weight: got True; must be a finite number$"),
    ("weight complex", lambda: 2j * rn.Kinetic(), "weight: got 2j; must be a finite number$"),
    ("term times words", lambda: rn.Kinetic() * "a", "weight: got 'a'; must be a finite number$"),
    ("term times a list", lambda: [0.1] * rn.Kinetic(), r"weight: got \[0\.1\]; must be a finite number$"),
    ("term times an array", lambda: np.ones(2) * rn.Kinetic(),
     r"weight: got an array of shape \(2,\).*; must be a finite number$"),
    ("term times a term", lambda: rn.Kinetic() * rn.Kinetic(), "weight: got Kinetic.*; must be a finite number$"),
    ("c ragged", lambda: rn.LinearFunctional([[1.0], [1.0, 2.0]]),
     "c: got .*; must be a rectangular array of float64$"),
    ("c for two of three", lambda: losing(rn.LinearFunctional(np.zeros((2, 2)))),
     r"terminal\.c: got shape \(2, 2\); must be of shape \(3, 2\) or"),
    ("labels floats", lambda: rn.CrossEntropy([0.0, 1.0]), r"labels: got .*float64; must be integers of shape \(b,\)$"),
    ("labels bool", lambda: rn.CrossEntropy([True, False]), r"labels: got .*bool; must be integers of shape \(b,\)$"),
    ("labels None", lambda: rn.CrossEntropy(None), r"labels: got .*None.*; must be integers of shape \(b,\)$"),
    ("labels ragged", lambda: rn.CrossEntropy([[1], [1, 2]]),
     r"labels: got \[\[1\], \[1, 2\]\]; must be a rectangular array"),
    ("label too large", lambda: losing(rn.CrossEntropy([0, 1, 2])),
     r"terminal\.labels: got labels from 0 to 2; must be from 0 to 1, one for each of 2 logits$"),
    ("label negative", lambda: losing(rn.CrossEntropy([0, -1, 1])),
     r"terminal\.labels: got labels from -1 to 1; must be from 0 to 1"),
    ("labels too few", lambda: losing(rn.CrossEntropy([0, 1])),
     r"terminal\.labels: got shape \(2,\); must be of shape \(3,\)$"),
    ("UserLoss value None", lambda: user_loss(fn_value=None),
     r"terminal\.fn_value: got None; must be a function of \(t, y\)$"),
    ("UserLoss value's shape", lambda: user_loss(fn_value=lambda t, y: y.sum()),
     r"terminal\.value: got a result of shape \(\), dtype float64; must be float64 of shape \(3,\)$"),
    ("UserLoss grad's shape", lambda: user_loss(fn_grad=lambda t, y: (np.zeros(3), np.ones(2))),
     r"terminal\.grad, derivative in y: got a result of shape \(2,\).*; must be float64 of shape \(3, 2\)$"),
    ("UserLoss grad's parts", lambda: user_loss(fn_grad=lambda t, y: np.ones(y.shape)),
     r"terminal\.grad: got ndarray; must be a tuple of 2$"),
    # Observations
    ("terms not a tuple", lambda: observed(terms=ERROR),
     r"observations\.terms: got SquaredError.*; must be a tuple of point losses"),
    ("terms None", lambda: rn.Observations([0.5], None),
     r"observations\.terms: got None; must be a tuple of point losses"),
    ("terms too few", lambda: observed((0.2, 0.5), (ERROR,)),
     r"observations\.terms: got 1 terms; must be one for each of 2 times$"),
    ("no observation", lambda: rn.Observations([], []),
     r"observations\.terms: got 0 terms; must be one for each of 0 times$"),
    ("observed in words", lambda: observed(terms=("mse",)), r"observations\.terms\[0\]: got mse; must be " + POINT),
    ("observed running loss", lambda: observed(terms=(rn.Kinetic(),)),
     r"observations\.terms\[0\]: got Kin.*; must be " + POINT),
    ("observed class", lambda: observed(terms=(rn.SquaredError,)),
     r"observations\.terms\[0\]: got <class .*; must be " + POINT),
    ("observed target", lambda: observed(terms=(rn.SquaredError(np.zeros(7)),)),
     r"observations\.terms\[0\]\.target: got shape \(7,\); must be of shape \(3, 2\) or"),
    ("time a number", lambda: rn.Observations(0.5, (ERROR,)),
     r"observations\.times: got shape \(\); must be of shape \(any,\)$"),
    ("time in words", lambda: rn.Observations("0.5", (ERROR,)), r"observations\.times: got dtype <U3" + FLOAT64),
    ("time NaN", lambda: observed((NAN,)), r"observations\.times: got .* infinity at \(0,\); must be finite$"),
    ("time beyond T", lambda: observed((2.0,)),
     r"observations\.times: got times \[2\.0\] in the span from 0\.0 to 1\.0; must be " + INSIDE),
    ("time at t0", lambda: observed((0.0,)),
     r"observations\.times: got times \[0\.0\] .*; a loss that moves with T is terminal$"),
    ("times unordered", lambda: observed((0.7, 0.3)),
     r"observations\.times: got times \[0\.7, 0\.3\].*; must be " + INSIDE),
    ("a time twice", lambda: observed((0.3, 0.3)),
     r"observations\.times: got times \[0\.3, 0\.3\].*; must be " + INSIDE),
    ("time outside one sample's span", lambda: problem(
        span=(0.0, np.array([1.0, 0.4, 1.0])), loss=rn.Loss(observations=rn.Observations([0.5], (ERROR,)))),
     r"observations\.times: got times \[0\.5\] in the span from 0\.0 to \[1\.0, 0\.4, 1\.0\]; must be .* every sample"),
    ("observe targets", lambda: rn.observe([0.5], np.zeros((2, 3, 2))),
     r"targets: got shape \(2, 3, 2\); must be of shape \(1, any, any\)$"),
    ("observe times ragged", lambda: rn.observe([[0.5], [1, 2]], np.zeros((2, 3, 2))),
     "times: got .*; must be a rectangular array"),
    ("observe times None", lambda: rn.observe(None, np.zeros((1, 3, 2))), "times: got dtype object" + FLOAT64),
    # Loss
    ("no term", lambda: rn.Loss(), "loss: got no term at all; must be a terminal, an observation or a running loss$"),
    ("terminal in words", lambda: rn.Loss("mse"), "terminal: got mse; must be " + POINT),
    ("terminal an array", lambda: rn.Loss(np.zeros(2)), r"terminal: got an array of shape \(2,\).*; must be " + POINT),
    ("terminal a class", lambda: rn.Loss(rn.SquaredError), "terminal: got <class .*; must be " + POINT),
    ("terminal a running loss", lambda: rn.Loss(rn.Kinetic()), "terminal: got Kinetic.*; must be " + POINT),
    ("running in words", lambda: rn.Loss(running="kinetic"), r"running\[0\]: got kinetic; must be " + RUNNING),
    ("running None", lambda: rn.Loss(running=None), r"running\[0\]: got None; must be " + RUNNING),
    ("running a class", lambda: rn.Loss(running=rn.Kinetic), r"running\[0\]: got <class .*; must be " + RUNNING),
    ("running a point loss", lambda: rn.Loss(running=[rn.Kinetic(), ERROR]),
     r"running\[1\]: got Squared.*; must be " + RUNNING),
    ("observations a list", lambda: rn.Loss(observations=[0.5]),
     r"observations: got \[0\.5\]; must be rn\.Observations"),
    ("scale NaN", lambda: rn.Loss(ERROR, scale=NAN), "scale: got nan; must be a finite number$"),
    ("scale infinite", lambda: rn.Loss(ERROR, scale=INF), "scale: got inf; must be a finite number$"),
    ("scale in words", lambda: rn.Loss(ERROR, scale="1"), "scale: got '1'; must be a finite number$"),
    ("scale an array", lambda: rn.Loss(ERROR, scale=np.ones(2)),
     r"scale: got an array of shape \(2,\).*; must be a finite number$"),
    # running losses
    ("kinetic of", lambda: losing(running=rn.Kinetic(of="z")),
     r"running\[0\]\.of: got 'z'; must be one of 'field', 'state'$"),
    ("tracking of", lambda: tracking(of="z"), r"running\[0\]\.of: got 'z'; must be one of 'field', 'state'$"),
    ("beta without slope", lambda: tracking(beta=np.cos),
     r"running\[0\]\.beta: got .*; must be callable, with a method slope"),
    ("beta None", lambda: tracking(beta=None), r"running\[0\]\.beta: got None; must be callable, with a method slope"),
    ("beta too wide", lambda: tracking(beta=harmonic((1.0,) * 3, (1.0,) * 3, (0.0,) * 3)),
     r"running\[0\]\.beta: got beta\(t\) of shape \(3, 3\) for t \(3,\); must be \(3, 2\)$"),
    ("harmonic of two lengths", lambda: harmonic(frequency=(1.0,)),
     r"frequency: got shape \(1,\); must be of shape \(2,\)$"),
    ("harmonic amplitude a number", lambda: harmonic(amplitude=1.0),
     r"amplitude: got shape \(\); must be of shape \(any,\)$"),
    ("harmonic phase NaN", lambda: harmonic(phase=(NAN, 0.0)), r"phase: got .* infinity at \(0,\); must be finite$"),
    ("harmonic in words", lambda: harmonic(amplitude="ab"), "amplitude: got dtype <U2" + FLOAT64),
    ("UserRunning value", lambda: user_running(fn_value=1),
     r"running\[0\]\.fn_value: got 1; must be a function of RunningArgs$"),
    ("UserRunning of", lambda: user_running(of=1), r"running\[0\]\.of: got 1; must be one of 'field', 'state'$"),
    ("UserRunning value's shape", lambda: user_running(fn_value=lambda at: at.z),
     r"running\[0\]\.value: got a result of shape \(3, 2\), dtype float64; must be float64 of shape \(3,\)$"),
    ("UserRunning vjp's parts", lambda: user_running(fn_vjp=lambda at, g: None),
     r"running\[0\]\.vjp: got NoneType; must be a tuple of 5$"),
    # Controller and Solver
    ("controller kind", lambda: rn.Controller(kind="PID"), r"controller\.kind: got 'PID'; must be one of 'I', 'PI'$"),
    ("safety 1", lambda: rn.Controller(safety=1.0), r"controller\.safety: got 1\.0; must be between 0 and 1$"),
    ("safety 0", lambda: rn.Controller(safety=0.0), r"controller\.safety: got 0\.0; must be a finite number > 0$"),
    ("safety in words", lambda: rn.Controller(safety="0.9"), r"controller\.safety: got '0\.9'; must be a number > 0$"),
    ("min_factor above 1", lambda: rn.Controller(min_factor=1.5),
     r"controller\.min_factor: got 1\.5; must be between 0 and 1$"),
    ("max_factor 1", lambda: rn.Controller(max_factor=1.0), r"controller\.max_factor: got 1\.0; must be above 1$"),
    ("max_factor infinite", lambda: rn.Controller(max_factor=INF),
     r"controller\.max_factor: got inf; must be a finite number > 0$"),
    ("method unknown", lambda: rn.Solver("rk45"), "method: got 'rk45'; must be " + TABLEAUX),
    ("method None", lambda: rn.Solver(None), "method: got None; must be " + TABLEAUX),
    ("method a tableau", lambda: rn.Solver(rn.TABLEAUX["rk4"]), "method: got Tableau.*; must be " + TABLEAUX),
    ("tol 0", lambda: rn.Solver(tol=0), "tol: got 0; must be a finite number > 0$"),
    ("tol negative", lambda: rn.Solver(tol=-1e-3), r"tol: got -0\.001; must be a finite number > 0$"),
    ("tol NaN", lambda: rn.Solver(tol=NAN), "tol: got nan; must be a finite number > 0$"),
    ("tol in words", lambda: rn.Solver(tol="1e-3"), "tol: got '1e-3'; must be a number > 0$"),
    ("tol True", lambda: rn.Solver(tol=True), "tol: got True; must be a number > 0$"),
    ("tol complex", lambda: rn.Solver(tol=1e-3j), r"tol: got 0\.001j; must be a number > 0$"),
    ("tol a list", lambda: rn.Solver(tol=[1e-3]), r"tol: got \[0\.001\]; must be a number > 0$"),
    ("tol beside rtol", lambda: rn.Solver(tol=1e-3, rtol=1e-4, atol=1e-4),
     r"tol: got tol=0\.001 beside rtol or atol; must be tol alone"),
    ("rtol alone", lambda: rn.Solver(rtol=1e-3),
     r"rtol, atol: got rtol=0\.001, atol=None; must be both given, or neither$"),
    ("atol 0", lambda: rn.Solver(rtol=1e-3, atol=0.0), r"atol: got 0\.0; must be a finite number > 0$"),
    ("n_steps 0", lambda: rn.Solver("rk4", n_steps=0), "n_steps: got 0; must be an integer >= 1$"),
    ("n_steps a float", lambda: rn.Solver("rk4", n_steps=10.0), r"n_steps: got 10\.0; must be an integer >= 1$"),
    ("n_steps beside tol", lambda: rn.Solver("rk4", n_steps=3, tol=1e-3),
     "n_steps: got n_steps=3 beside tol; must be given without a tolerance$"),
    ("n_steps with own steps", lambda: rn.Solver("rk4", n_steps=3, steps="own"),
     "steps: got own; must be 'shared' with n_steps: every sample takes"),
    ("rk4 with a tolerance", lambda: rn.Solver("rk4", tol=1e-3),
     "method: got rk4, which has no error estimate; must be one of bosh3"),
    ("steps unknown", lambda: rn.Solver(steps="each"), "steps: got 'each'; must be one of 'shared', 'own'$"),
    ("norm unknown", lambda: rn.Solver(norm="inf"), "norm: got 'inf'; must be one of 'batch', 'max'$"),
    ("norm with own steps", lambda: rn.Solver(norm="max", steps="own"),
     "norm: got 'max' with steps='own'; must be left out"),
    ("controller in words", lambda: rn.Solver(controller="PI"), r"controller: got 'PI'; must be an rn\.Controller$"),
    ("controller a class", lambda: rn.Solver(controller=rn.Controller),
     r"controller: got <class .*; must be an rn\.Controller$"),
    ("first_step negative", lambda: rn.Solver(first_step=-0.1), r"first_step: got -0\.1; must be a finite number > 0$"),
    ("max_steps a float", lambda: rn.Solver(max_steps=1e5), r"max_steps: got 100000\.0; must be an integer >= 1$"),
    ("max_steps None", lambda: rn.Solver(max_steps=None), "max_steps: got None; must be an integer >= 1$"),
    # solve and the solution
    ("solve a model", lambda: rn.solve(MODEL, SOLVER), r"problem: got Model.*; must be an rn\.Problem$"),
    ("solve with words", lambda: rn.solve(PROBLEM, "rk4"), r"solver: got rk4; must be an rn\.Solver, such as"),
    ("solve with None", lambda: rn.solve(PROBLEM, None), r"solver: got None; must be an rn\.Solver"),
    ("backend unknown", lambda: rn.solve(PROBLEM, SOLVER, backend="torch"),
     "backend: got 'torch'; must be one of 'auto'"),
    ("backend None", lambda: rn.solve(PROBLEM, SOLVER, backend=None),
     "backend: got None; must be one of 'auto', 'numpy'"),
    ("z beyond T", lambda: SOLUTION.z(2.0), r"t: got 2\.0; must be inside every sample's span, from 0\.0 to 1\.0$"),
    ("z at NaN", lambda: SOLUTION.z(NAN), "t: got .*nan.*; must be finite$"),
    ("z in words", lambda: SOLUTION.z("0.5"), "t: got dtype <U3" + FLOAT64),
    ("z at a matrix", lambda: SOLUTION.z(np.full((2, 2), 0.5)),
     r"t: got shape \(2, 2\); must be of shape \(\) or \(K,\)$"),
    ("y at None", lambda: SOLUTION.y(None), "t: got dtype object" + FLOAT64),
    ("y at a ragged list", lambda: SOLUTION.y([[0.1], [0.2, 0.3]]),
     "t: got .*; must be a rectangular array of float64$"),
    # gradient and its options
    ("gradient of words", lambda: rn.gradient("p"), r"problem: got p; must be an rn\.Problem$"),
    ("gradient method unknown", lambda: grad("adjoint"),
     "method: got 'adjoint'; must be one of 'discrete', 'backsolve'"),
    ("gradient method a solver", lambda: rn.gradient(PROBLEM, SOLVER),
     "method: got Solver.*; must be one of 'discrete'"),
    ("gradient with words", lambda: rn.gradient(PROBLEM, "discrete", "rk4"), r"solver: got rk4; must be an rn\.Solver"),
    ("gradient backend", lambda: grad("discrete", backend="gpu"), "backend: got 'gpu'; must be one of 'auto'"),
    ("option unknown", lambda: grad("discrete", tol=1),
     "options: got tol for method 'discrete'; must be among: store, memory_bytes$"),
    ("option of another method", lambda: grad("interpolating", store="states"),
     "options: got store for .*; must be among"),
    ("store unknown", lambda: grad("discrete", store="all"),
     "store: got 'all'; must be one of 'stages', 'states', 'binomial'$"),
    ("binomial without memory", lambda: grad("discrete", store="binomial"),
     "memory_bytes: got None; must be given with store='binomial': bytes for"),
    ("memory for one state", lambda: grad("discrete", store="binomial", memory_bytes=48),
     "memory_bytes: got 48; must be >= 96"),
    ("memory a float", lambda: grad("discrete", store="binomial", memory_bytes=1e6),
     "memory_bytes: got 1000000.0; must be an integer >= 1$"),
    ("memory negative", lambda: grad("discrete", store="binomial", memory_bytes=-5),
     "memory_bytes: got -5; must be an integer >= 1$"),
    ("memory without binomial", lambda: grad("discrete", memory_bytes=1000),
     "memory_bytes: got 1000 with store='stages'; must be None unless store='binomial'$"),
    ("check in words", lambda: grad("backsolve", check="no"), "check: got 'no'; must be True or False$"),
    ("check None", lambda: grad("backsolve", check=None), "check: got None; must be True or False$"),
    ("limit negative", lambda: grad("backsolve", limit=-1), "limit: got -1; must be a finite number > 0$"),
    ("limit in words", lambda: grad("backsolve", limit="a"), "limit: got 'a'; must be a number > 0$"),
    ("quadrature rtol 0", lambda: grad("quadrature", rtol=0), "rtol: got 0; must be a finite number > 0$"),
    ("max_panels a float", lambda: grad("quadrature", max_panels=2.5),
     r"max_panels: got 2\.5; must be an integer >= 1$"),
    ("max_panels in words", lambda: grad("quadrature", max_panels="x"),
     "max_panels: got 'x'; must be an integer >= 1$"),
    ("central step 0", lambda: grad("central", relative_step=0), "relative_step: got 0; must be a finite number > 0$"),
    ("richardson step", lambda: grad("richardson", relative_step=-1),
     "relative_step: got -1; must be a finite number > 0$"),
    ("richardson levels", lambda: grad("richardson", levels=1), "levels: got 1; must be an integer >= 2$"),
    ("richardson levels a float", lambda: grad("richardson", levels=3.0),
     r"levels: got 3\.0; must be an integer >= 2$"),
    # compare and digits
    ("compare numbers", lambda: rn.compare(3, 4),
     "got: got 3; must be a result with grads, or a mapping from leaf name"),
    ("compare arrays", lambda: rn.compare({"a": X}, X),
     r"truth: got an array of shape \(3, 2\).*; must be a result with grads"),
    ("compare strangers", lambda: rn.compare({"a": X}, {"b": X}), r"got: got leaves \['a'\]; must be among \['b'\]$"),
    ("compare shapes", lambda: rn.compare({"a": X}, {"a": X[:2]}),
     r"a: got shape \(3, 2\); must be of shape \(2, 2\)$"),
    ("compare words", lambda: rn.compare({"a": "x"}, {"a": 1.0}),
     r"got\['a'\]: got dtype <U1; must be an array of numbers$"),
    ("compare None", lambda: rn.compare({"a": 1.0}, {"a": None}),
     r"truth\['a'\]: got dtype object; must be an array of numbers$"),
    ("digits of two shapes", lambda: rn.digits(1.0, np.ones(2)),
     r"got: got shape \(\); must be of shape \(2,\), that of the truth$"),
    ("digits scale in words", lambda: rn.digits(1.0, 0.0, "a"), "scale: got 'a'; must be a finite number$"),
    ("digits scale NaN", lambda: rn.digits(1.0, 0.0, NAN), "scale: got nan; must be a finite number$"),
    # check_field
    ("check words", lambda: check("mlp"), "field: got 'mlp'; must be a field; it lacks shapes, width_out"),
    ("check a class", lambda: check(rn.MLP), "field: got <class .*; must be a field"),
    ("check one sample", lambda: check(z=X[:1]), r"z: got shape \(1, 2\); must be of shape \(b, i\) with b >= 2"),
    ("check z in words", lambda: check(z="z"), "z: got dtype <U1" + FLOAT64),
    ("check t for two of three", lambda: check(t=np.zeros(2)), r"t: got shape \(2,\); must be of shape \(3,\)$"),
    ("check theta too short", lambda: check(theta=np.zeros(3)), r"theta: got shape \(3,\); must be of shape \(26,\)$"),
    ("check theta without a leaf", lambda: check(theta={"W0": np.zeros((3, 4))}),
     r"theta: got leaves \['W0'\]; must be the leaves \['W0', 'b0', 'W1', 'b1'\]$"),
    ("check theta with another leaf", lambda: check(theta=THETA | {"Z": 1.0}),
     r"theta: got leaves .*'Z'\]; must be the leaves"),
    ("check tol in words", lambda: check(tol="a"), "tol: got 'a'; must be a number > 0$"),
    ("check tol negative", lambda: check(tol=-1.0), r"tol: got -1\.0; must be a finite number > 0$"),
    ("check z too wide", lambda: check(z=np.zeros((3, 5))),
     r"field\.forward: got ValueError: .*; must be a function that runs on these arguments$"),
    ("check forward's shape", lambda: check(user_field(width=3), theta={}),
     r"field\.forward: got a result of shape \(3, 2\); must be of shape \(3, 3\)$"),
    ("check mixed samples", lambda: check(user_field(forward=lambda t, z, theta, x: z - z.mean(axis=0)), theta={}),
     r"field\.forward: got samples that depend on each other.*; must be a function of each sample alone$"),
    # Tableau
    ("tableau without stages", lambda: tableau(c=[], a=np.zeros((0, 0)), b=[]),
     r"mine\.c: got .*\(0,\).*; must be nodes of which the first is 0"),
    ("tableau c None", lambda: tableau(c=None), r"mine\.c: got dtype object" + FLOAT64),
    ("tableau first node", lambda: tableau(c=[0.5]), r"mine\.c: got .*; must be nodes of which the first is 0"),
    ("tableau implicit", lambda: tableau(a=[[1.0]]),
     r"mine\.a: got a stage that uses itself or a later one; must be explicit$"),
    ("tableau weights", lambda: tableau(b=[1.0, 0.0]), r"mine\.b: got shape \(2,\); must be of shape \(1,\)$"),
    ("tableau weights NaN", lambda: tableau(b=[NAN]), r"mine\.b: got .* infinity at \(0,\); must be finite$"),
    ("tableau float32", lambda: tableau(b=np.ones(1, np.float32)), r"mine\.b: got dtype float32" + FLOAT64),
    ("tableau order 0", lambda: tableau(order=0), r"mine\.order: got 0; must be an integer >= 1$"),
    ("tableau order in words", lambda: tableau(order="1"), r"mine\.order: got '1'; must be an integer >= 1$"),
    ("tableau dense order", lambda: tableau(order_dense=2.0), r"mine\.order_dense: got 2\.0; must be an integer >= 1$"),
    ("tableau half an estimate", lambda: tableau(b_err=[1.0]),
     r"mine\.order_err: got None; must be given exactly with b_err"),
    ("tableau order of no estimate", lambda: tableau(order_err=1),
     r"mine\.order_err: got 1; must be given exactly with b_err"),
    ("tableau second estimate alone", lambda: tableau(b_err3=[1.0]),
     r"mine\.order_err: got None; must be given exactly with b_err"),
]  # fmt: skip
IDS = [case[0] for case in CASES]


@pytest.mark.parametrize(("call", "message"), [case[1:] for case in CASES], ids=IDS)
def test_bad_input_is_refused_in_words(call, message):
    """InvalidArgument, a ValueError: "argument: got what it was; must be what it may be"; it pickles."""
    with pytest.raises(rn.InvalidArgument, match="(?s)^" + message) as error:
        call()
    assert isinstance(error.value, ValueError)
    name, _, rest = str(error.value).partition(": got ")
    assert (name, bool(rest)) == (error.value.argument, True)
    assert "; must be " in rest
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    # nothing of a traceback's kind: the argument is one word with dots and indices, and the whole can be read
    assert len(str(error.value)) < 800


def test_the_table_is_long_and_its_names_are_unique():
    """Over two hundred bad inputs, each with a name of its own."""
    assert len(set(IDS)) == len(IDS) > 200


@pytest.mark.parametrize(("verb", "backend"), [(rn.solve, "cuda"), (rn.gradient, "cuda")])
def test_backends_that_are_not_there(verb, backend):
    """A backend of the interface that this version lacks is no bad word: BackendUnavailable says what to use."""
    with pytest.raises(rn.BackendUnavailable, match=rf"^backend='{backend}': .*use 'numpy' or 'auto'$"):
        verb(PROBLEM, solver=SOLVER, backend=backend)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rn.MLP(np.int64(2), np.int32(3), 2),
        lambda: rn.Solver("rk4", n_steps=np.int64(3)),
        lambda: rn.Solver(tol=np.float32(1e-3)),
        lambda: rn.SquaredError(np.zeros(2), weight=np.int64(2)),
        lambda: np.float64(0.1) * rn.Kinetic(),
        lambda: rn.Loss(ERROR, scale=np.float64(2.0)),
        lambda: problem(x=[[1, 2], [3, 4], [5, 6]]),
        lambda: problem(span=[0, 2]),
        lambda: problem(span=(np.float64(0.0), [1.0, 2.0, 3.0])),
        lambda: rn.CrossEntropy(np.array([0, 1], dtype=np.uint8)),
        lambda: rn.Loss(running=[rn.Kinetic(), 0.1 * rn.SquaredNorm()]),
        lambda: rn.NeuralODE(FIELD, span=[1, 0]),
        lambda: SOLUTION.z(1),
        lambda: rn.compare({"a": [1, 2]}, {"a": np.array([1.0, 2.0])}),
    ],
)
def test_what_is_unusual_but_right_is_taken(call):
    """NumPy's scalars, integers, lists: what means one thing only is not refused."""
    assert call() is not None
