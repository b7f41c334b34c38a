"""Problems that between them use every part of the kernels, small enough for the PTX runner."""

import numpy as np

import refnode as rn
from refnode.kernels.cuda.shape import Shape

RK4, DOPRI5 = rn.Solver("rk4", n_steps=3), rn.Solver("dopri5", n_steps=2)


def problem(batch, hidden, theta=None, *, inputs=2, act="tanh", time="first", bias=True, seed=0, **words):
    """Observations, running losses and an upstream factor; depths that are no powers of two."""
    rng = np.random.default_rng(seed)
    depth = {} if theta is None else {"theta": theta}
    field = rn.MLP(inputs, hidden, 2, time=time, act=act, bias=bias)
    model = rn.NeuralODE(field, span=(0.25, 1.35), **depth, **words)
    params = {name: 0.5 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    if len(model.edges):
        params["edges"] = model.edges
    d = model.state_width
    seen = rn.observe([0.6], rng.standard_normal((1, batch, d)))
    running = (0.1 * rn.Kinetic(), 0.3 * rn.SquaredNorm())
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((batch, d))), seen, running, scale=1.5)
    return rn.Problem(model, params, rng.standard_normal((batch, 2)), loss)


# name: (problem, solver, dtype, keep); 70 trajectories are two blocks, the last one ragged
CASES = {
    "constant": (lambda: problem(70, 8), RK4, "float32", "stages"),
    "float64": (lambda: problem(70, 8), RK4, "float64", "states"),
    "dopri5": (lambda: problem(70, 8), DOPRI5, "float32", "states"),
    "galerkin": (lambda: problem(5, 8, rn.Galerkin(rn.Fourier(1))), RK4, "float32", "states"),
    "interval": (
        lambda: problem(3, 4, rn.Galerkin(rn.Legendre(2), (0.0, 2.0), ("W0", "b1"))), RK4, "float64", "stages"
    ),
    "stacked": (lambda: problem(5, 8, rn.Stacked(3)), RK4, "float32", "states"),
    "order 2": (lambda: problem(5, 5, inputs=4, order=2, init="position"), RK4, "float64", "stages"),
    "control": (lambda: problem(5, 5, inputs=4, control="x"), RK4, "float64", "states"),
    "time in every layer": (lambda: problem(5, 4, time="every", act="softplus", bias=False), RK4, "float64", "states"),
    "sigmoid": (lambda: problem(5, 4, act="sigmoid", time="none"), RK4, "float64", "states"),
    "sin": (lambda: problem(5, 4, act="sin", time="none"), RK4, "float32", "states"),
    "sin in float64": (lambda: problem(5, 4, act="sin", time="none"), RK4, "float64", "stages"),
    "relu": (lambda: problem(5, 4, act="relu", time="none"), RK4, "float64", "states"),
}  # fmt: skip

# the shapes whose machine code is held to budgets: registers, and instructions of an evaluation on sm_80 and sm_90
BUDGETS = {
    ("forward", Shape("float32", 2, 32, 2)): (64, 764),                    # the prototype's 695, and 10 %
    ("forward", Shape("float32", 2, 32, 2, tableau="dopri5")): (64, 800),
    ("gradient", Shape("float32", 2, 32, 2, keep="stages")): (72, 1850),
    ("gradient", Shape("float32", 2, 32, 2, keep="states")): (72, 2560),
}
