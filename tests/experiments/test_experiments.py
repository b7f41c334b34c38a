"""The experiments are the paper's: their data, their counts of parameters, and what theory forbids their models."""

import numpy as np
import pytest

import refnode as rn
from refnode.experiments import EXPERIMENTS
from refnode.experiments.annuli import RADII, rings
from refnode.experiments.depth import DEPTH
from refnode.experiments.reflection import KINDS, ONE_SIDE, ORDER_KEPT, REFLECTION, X
from refnode.experiments.ring import FLOW, log_density, ring
from refnode.experiments.tracking import BETA, TRACKING

EVERY = [(e, name) for e in EXPERIMENTS.values() for name in e.kinds]


@pytest.mark.parametrize(("experiment", "name"), EVERY, ids=lambda v: getattr(v, "name", v))
def test_every_model_takes_a_step(experiment, name):
    """One step on a few samples moves every trained leaf but those that the still start holds for a step, and all that
    is measured is finite."""
    few = type(experiment)(**{**vars(experiment), "batch": 8 if not experiment.whole else experiment.batch})
    before, run = few.problem(name, 0), few.train(name, 0, steps=1)
    moved = {leaf for leaf in run.params if not np.array_equal(run.params[leaf], before.params[leaf])}
    kind = few.kind(name)
    assert moved <= set(before.params) - set(kind.frozen)
    assert kind.still or moved == set(before.params) - set(kind.frozen)
    assert len(moved) >= 2
    assert np.isfinite(run.history["loss"]).all()


def test_a_still_field_stands_still():
    """Models that start still have f = 0 everywhere, and a gradient there, so that it is no dead saddle."""
    for experiment, name in EVERY:
        kind = experiment.kind(name)
        if not kind.still or kind.frozen[:1] == ("theta.W0",):
            continue
        p = experiment.problem(name, 0)
        p = p.with_data(p.params, *experiment.draw(np.random.default_rng(0), 4))
        solution = rn.solve(p, rn.Solver("rk4", n_steps=2))
        start = p.model.initial_state(p.values.w_x, p.x)
        assert np.array_equal(solution.z_T[:, : start.shape[1]], start)
        grads = rn.gradient(p, "discrete", rn.Solver("rk4", n_steps=2)).grads
        assert any(np.any(g) for leaf, g in grads.items() if leaf.startswith(("theta", "alpha")))


def test_riesz_steps_are_riesz_steps():
    """From the same parameters a first step moves nodal values by G^-1 g: on the finest mesh the plain step is shorter
    by the width of its hats, 1/64 at inner nodes."""
    steps = {}
    for kind in ("plain", "riesz"):
        before, after = DEPTH.problem(f"{kind}_65", 0), DEPTH.train(f"{kind}_65", 0, steps=1)
        steps[kind] = after.params["alpha.W0"] - before.params["alpha.W0"]
    inner = slice(20, 45)
    factor = np.sum(steps["riesz"][inner] * steps["plain"][inner]) / np.sum(steps["plain"][inner] ** 2)
    assert abs(factor / 64 - 1) < 0.02  # G is no diagonal matrix: second differences of the gradient


def test_the_rings_have_their_radii():
    """4,000 points: radii 1 and 2 beside the labels -1 and 1, radial spread 0.1. The mean radius of a point with noise
    s in each direction lies s^2 / 2R above R; four standard errors of a mean are 4 * 0.1 / sqrt(1800)."""
    x, y = rings(np.random.default_rng(0), 4000)
    radius = np.hypot(*x.T)
    for label, R in zip((-1, 1), RADII, strict=True):
        at = radius[y[:, 0] == label]
        assert len(at) > 1800
        assert abs(at.mean() - R - 0.1**2 / (2 * R)) < 4 * 0.1 / np.sqrt(1800)
        assert abs(at.std() / 0.1 - 1) < 4 / np.sqrt(2 * 1800)


def test_the_density_of_the_ring_integrates_to_one():
    """On a grid of step 0.02, where a Gaussian of spread 0.25 is summed to round-off; points drawn have its mean."""
    axis = np.arange(-4, 4, 0.02)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert abs(np.exp(log_density(grid)).sum() * 0.02**2 - 1) < 1e-12
    entropy = -(np.exp(log_density(grid)) * log_density(grid)).sum() * 0.02**2
    sampled = -log_density(ring(np.random.default_rng(0), 4000)[0])
    assert abs(sampled.mean() - entropy) < 4 * sampled.std() / np.sqrt(4000)
    assert FLOW.field.widths == (2, 64, 64, 64, 2)


def test_what_theory_forbids_on_the_line():
    """Whatever the parameters: trajectories keep their order, the error is at least the variance, with an autonomous
    field and depths of their own half of it. 4 draws of large random parameters for each forbidden model."""
    rng = np.random.default_rng(0)
    for name, kind in KINDS.items():
        if kind.can:
            continue
        for _ in range(4):
            params = {leaf: 2 * rng.standard_normal(a.shape) for leaf, a in kind.init(rng).items() if leaf != "edges"}
            params |= {"edges": kind.model.edges} if len(kind.model.edges) else {}
            reached = REFLECTION.measure(kind.model, params, rn.Solver("dopri5", tol=1e-6))
            least = ONE_SIDE if name == "adaptive_autonomous" else ORDER_KEPT
            assert reached["loss"] >= least * (1 - 1e-4)  # 100 tol


def test_the_bounds_are_those_of_monotone_maps():
    """The best constant is the mean of -x; the best that lets one side pass has the other at 0."""
    assert abs(np.mean((X - X.mean()) ** 2) / ORDER_KEPT - 1) < 1e-12
    one_side = np.where(X > 0, -X, 0.0)
    assert abs(np.mean((one_side + X) ** 2) / ONE_SIDE - 1) < 1e-12


def test_the_signal_is_the_papers():
    """beta = (cos 2 pi t, sin 2 pi t), and the loss its mean squared distance: half the sum over two components."""
    for t in (0.0, 0.3, 1.7):
        assert np.allclose(BETA(np.array(t)), [np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], atol=1e-15 * 20)
    x, loss = TRACKING.draw(np.random.default_rng(0), 3)
    (term,) = loss.running
    assert term.weight == 0.5
    assert x.shape == (3, 2)


def test_what_makes_no_sense_is_named():
    with pytest.raises(rn.InvalidArgument, match="model: got 'magic'"):
        TRACKING.kind("magic")
    with pytest.raises(rn.InvalidArgument, match="seed"):
        TRACKING.train("plain", -1)
    with pytest.raises(rn.InvalidArgument, match="steps: got 0"):
        REFLECTION.train("plain", 0, steps=0)
