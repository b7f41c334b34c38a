"""Small trainings that depend on t, quick enough to be run many times."""

import numpy as np

import refnode as rn

SOLVER, ADAM = rn.Solver("rk4", n_steps=3), rn.Adam(1e-2)
HANDED = {"solver": rn.Solver("dopri5", tol=1e-5), "hand_on": True}  # steps from batch to batch


def rings(rng, b=8):
    """Points and on which side of a circle they lie."""
    x = rng.standard_normal((b, 2))
    return x, rn.Loss(rn.SquaredError(np.sign((x**2).sum(axis=1, keepdims=True) - 1)), running=0.01 * rn.Kinetic())


def sample(rng, k):
    """A batch of step k."""
    return rings(rng)


def problem(seed=0, **words):
    """2-4-2 with t and a readout."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(2, 4, 2, time="first"), h_y=rn.Linear(2, 1), **words)
    return rn.Problem(model, model.init(rng), *rings(rng))


def train(steps=12, sample=sample, optimiser=ADAM, words=None, seed=1, solver=SOLVER, **more):
    """A run of it."""
    rng = np.random.default_rng(seed)
    return rn.fit(problem(**(words or {})), sample, "discrete", solver, optimiser, steps=steps, rng=rng, **more)


def same(a, b):
    """Whether two runs have the same parameters, losses and evaluations, bit for bit."""
    names = ("loss", "nfe", "nfe_backward")
    equal = all(np.array_equal(a.params[n], b.params[n]) for n in a.params) and a.params.keys() == b.params.keys()
    return equal and all(np.array_equal(a.history[n], b.history[n]) for n in names)
