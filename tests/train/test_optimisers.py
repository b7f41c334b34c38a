"""The optimisers walk the paths that torch.optim walks.

torch_optim.json holds w after 1, 6 and 12 steps, computed by the torch of the version that stands in it.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import refnode as rn
from refnode import SGD, Adam, AdamW, Cosine, StepDecay  # noqa: F401  named in the file

STORED = json.loads((Path(__file__).parent / "torch_optim.json").read_text("utf-8"))["w"]
EPS = np.finfo(np.float64).eps


def path(optimiser, w):
    """w after 1, 6 and 12 steps on sum_j c_j (w_j - e_j)^2 + sin 3 w_j."""
    c, e = np.array([1.0, 10.0, 0.1]), np.array([0.3, 0.1, -0.7])
    slots, seen = optimiser.start(3), []
    for k in range(12):
        w, slots = optimiser.step(k, w, 2 * c * (w - e) + 3 * np.cos(3 * w), slots)
        seen.append(w)
    return np.array(seen)[[0, 5, 11]]


@pytest.mark.parametrize("name", STORED)
def test_path_is_that_of_torch(name):
    """Twenty roundings a step of numbers up to 64 (the gradient), times the rate of at most 0.05, for twelve steps;
    each grows to the end as a perturbation of the start does, which is measured: at most a hundredfold."""
    optimiser, start = eval(name), np.array([1.0, -2.0, 0.5])
    truth = np.array([[float.fromhex(v) for v in w] for w in STORED[name]])
    mine = path(optimiser, start)
    grown = np.max(np.abs(path(optimiser, start + 1e-7 * np.array([1.0, -1.0, 1.0])) - mine)) / 1e-7
    assert grown < 100
    assert np.max(np.abs(mine - truth)) < 100 * 12 * 20 * EPS * 64 * 0.05
    assert np.min(np.abs(np.diff(mine, axis=0))) > 1e-3  # and they are not standing still


def test_first_step_of_adam_has_the_size_of_the_rate():
    """m^ = g and v^ = g^2 at k = 0, so that every entry moves by rate g / (|g| + eps)."""
    g = np.array([3.0, -1e-4, 1e-8])
    w, _ = rn.Adam(0.1).step(0, np.zeros(3), g, rn.Adam(0.1).start(3))
    np.testing.assert_allclose(w, -0.1 * g / (np.abs(g) + 1e-8), rtol=1e-12)


def test_weight_decay_of_adamw_stands_outside_the_moments():
    """Without a gradient AdamW shrinks w by 1 - rate decay; Adam, whose decay is a gradient, moves it by the rate."""
    w, words = np.array([2.0, -4.0]), {"weight_decay": 0.5}
    for optimiser, wanted in ((rn.AdamW(0.1, **words), 0.95 * w), (rn.Adam(0.1, **words), w - 0.1 * np.sign(w))):
        got, _ = optimiser.step(0, w, np.zeros(2), optimiser.start(2))
        np.testing.assert_allclose(got, wanted, rtol=1e-7)  # eps of Adam: 1e-8 against a gradient of one


def test_steps_leave_what_they_are_given():
    """w, g and the slots are not written to."""
    for optimiser in (rn.SGD(0.1, 0.9), rn.Adam(), rn.AdamW()):
        w, g, slots = np.ones(2), np.ones(2), optimiser.start(2)
        before = {name: slot.copy() for name, slot in slots.items()}
        for a in (w, g, *slots.values()):
            a.setflags(write=False)
        optimiser.step(0, w, g, slots)
        assert all(np.array_equal(slots[name], before[name]) for name in slots)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: rn.SGD(-1), "rate"),
        (lambda: rn.SGD(0.1, 1.0), "momentum"),
        (lambda: rn.SGD(0.1, nesterov=True), "nesterov"),
        (lambda: rn.SGD(0.1, weight_decay=-1), "weight_decay"),
        (lambda: rn.Adam(0.1, beta1=1), "beta1"),
        (lambda: rn.AdamW(0.1, beta2=-0.1), "beta2"),
        (lambda: rn.Adam(0.1, eps=0), "eps"),
        (lambda: rn.AdamW(np.nan), "rate"),
        (lambda: rn.LBFGS(memory=0), "memory"),
        (lambda: rn.LBFGS(tol=-1.0), "tol"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(rn.InvalidArgument) as caught:
        make()
    assert caught.value.argument == argument
