"""Schedules are their formulas, at their corners too."""

import math

import pytest

import refnode as rn
from refnode.train.schedules import rate_at


def test_step_decay_is_a_staircase():
    """The rate halves at k = 10, 20, .., and not before."""
    decay = rn.StepDecay(0.8, 0.5, every=10)
    assert [decay(k) for k in (0, 9, 10, 19, 20)] == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_cosine_at_its_corners():
    """From the rate, through the middle, to the least, where it stays."""
    cosine = rn.Cosine(1.0, steps=8, least=0.2)
    assert cosine(0) == 1.0
    assert cosine(4) == pytest.approx(0.6, rel=1e-15)
    assert cosine(2) == pytest.approx(0.6 + 0.4 * math.sqrt(0.5), rel=1e-15)
    assert cosine(8) == cosine(13) == cosine(1000) == pytest.approx(0.2, rel=1e-15)


def test_warmup_multiplies_what_follows():
    """A quarter, a half, three quarters, then the schedule itself, which counts from the same k = 0."""
    warm = rn.Warmup(4, rn.StepDecay(1.0, 0.5, every=6))
    assert [warm(k) for k in (0, 1, 2, 3, 5, 6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]
    assert rate_at(rn.Warmup(2, 0.1), 0) == 0.05


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: rn.StepDecay(0.0), "rate"),
        (lambda: rn.StepDecay(0.1, every=0), "every"),
        (lambda: rn.Cosine(0.1, 0), "steps"),
        (lambda: rn.Cosine(0.1, 5, least=0.2), "least"),
        (lambda: rn.Warmup(0, 0.1), "steps"),
        (lambda: rn.Warmup(3, -0.1), "rate"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(rn.InvalidArgument) as caught:
        make()
    assert caught.value.argument == argument
