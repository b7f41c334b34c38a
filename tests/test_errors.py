"""Every error says what was wrong, is caught by the class one expects, and survives a trip to another process."""

import copy
import inspect
import pickle

import numpy as np
import pytest

from refnode import errors
from refnode.errors import InvalidArgument, NumericalError, RefnodeError, TrainingDiverged, describe

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, RefnodeError)]
NUMERICAL = [c for c in CLASSES if issubclass(c, NumericalError)]
OTHERS = [c for c in CLASSES if c not in (*NUMERICAL, InvalidArgument, TrainingDiverged)]

each_numerical = pytest.mark.parametrize("cls", NUMERICAL)
each_protocol = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))


def trips(error, protocol):
    """The error after pickling, and after copying."""
    return pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)


# ---------------------------------------------------------------- messages

@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((2, 3)), "an array of shape (2, 3), dtype float64"),
        (np.zeros(1, dtype=np.float32), "an array of shape (1,), dtype float32"),
        (np.array(2.5), "array(2.5)"),
        ("word", "'word'"),
        (None, "None"),
        ("x" * 198, repr("x" * 198)),
        ("x" * 199, "'" + "x" * 196 + "..."),
    ],
)
def test_describe(value, text):
    """Arrays are described by shape and dtype, the rest by a repr that is cut to 200 characters."""
    assert describe(value) == text
    assert len(text) <= 200


def test_invalid_argument_says_what_it_was_and_what_it_may_be():
    """The message has the argument, a description of what it was, and what is allowed."""
    error = InvalidArgument("x", np.zeros((2, 0)), "of shape (b, n)")
    assert str(error) == "x: got an array of shape (2, 0), dtype float64; must be of shape (b, n)"
    assert (error.argument, error.was, error.allowed) == (
        "x",
        "an array of shape (2, 0), dtype float64",
        "of shape (b, n)",
    )
    assert str(InvalidArgument("order", 0, "an integer >= 1")) == "order: got 0; must be an integer >= 1"
    assert InvalidArgument("x", "shape (2,)", "..").was == "shape (2,)"  # words stand as they are


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "went wrong"),
        ({"t": 0.1}, "went wrong (at t = 0.10000000000000001)"),  # 17 digits name the float64
        ({"h": 2.0**-60}, "went wrong (at h = 8.6736173798840355e-19)"),
        ({"t": 0.0, "h": 0.0, "samples": [0]}, "went wrong (at t = 0, h = 0, samples 0)"),
        ({"samples": range(8)}, "went wrong (at samples 0, 1, 2, 3, 4, 5, 6, 7)"),
        ({"samples": range(9)}, "went wrong (at samples 0, 1, 2, 3, 4, 5, 6, 7, ..)"),
    ],
)
def test_numerical_errors_say_where(where, text):
    """t and h stand in the message to 17 digits, where given, and up to eight samples."""
    assert str(NumericalError("went wrong", **where)) == text


def test_an_error_without_a_message_prints_nothing():
    """str of an error raised without arguments is empty, not an IndexError."""
    assert [str(c()) for c in OTHERS] == [""] * len(OTHERS)


# ---------------------------------------------------------------- catching

@pytest.mark.parametrize(
    ("cls", "base"),
    [
        (errors.InvalidArgument, ValueError),
        (errors.ProblemFileError, ValueError),
        (errors.BackendUnavailable, RuntimeError),
        *((cls, ArithmeticError) for cls in NUMERICAL),
    ],
)
def test_bases(cls, base):
    """`except RefnodeError` catches every error, and so does the built-in class of its kind."""
    assert issubclass(cls, RefnodeError)
    assert issubclass(cls, base)


def test_the_numerical_errors_are_known():
    """Nothing that carries t, h and samples is left out of the tests below."""
    names = {"StepUnderflow", "TooManySteps", "NonFiniteState", "UnreliableGradient", "NotEnoughDigits"}
    assert {c.__name__ for c in NUMERICAL} == {"NumericalError", *names}


# ---------------------------------------------------------------- pickling

@each_protocol
@each_numerical
def test_numerical_errors_keep_where_they_happened(cls, protocol):
    """t, h and samples, the message and the class are the same after pickling and copying."""
    error = cls("too far", t=0.1, h=np.float64(1e-3), samples=np.array([3, 1]))
    assert error.samples == (3, 1)
    assert all(type(i) is int for i in error.samples)
    assert error.args == ("too far", 0.1, 1e-3, (3, 1))
    for back in trips(error, protocol):
        assert type(back) is cls
        assert back.args == error.args
        assert (back.t, back.h, back.samples) == (0.1, 1e-3, (3, 1))
        assert str(back) == str(error)


@each_protocol
def test_invalid_argument_keeps_its_parts(protocol):
    """argument, was and allowed are the same after pickling and copying; the value itself does not travel along."""
    error = InvalidArgument("x", np.zeros((2, 3)), "better")
    assert error.args == ("x", "an array of shape (2, 3), dtype float64", "better")
    for back in trips(error, protocol):
        assert type(back) is InvalidArgument
        assert back.args == error.args
        assert (back.argument, back.was, back.allowed) == (error.argument, error.was, error.allowed)
        assert str(back) == str(error)


@each_protocol
def test_a_training_that_diverged_keeps_step_and_checkpoint(protocol):
    """step and checkpoint are the same after pickling and copying, and said."""
    error = TrainingDiverged("too large", 7, "run/checkpoint.json")
    assert str(error) == "step 7: too large; the last good parameters are in run/checkpoint.json"
    for back in trips(error, protocol):
        assert type(back) is TrainingDiverged
        assert (back.step, back.checkpoint, str(back)) == (7, "run/checkpoint.json", str(error))


@each_protocol
@pytest.mark.parametrize("cls", OTHERS)
def test_plain_errors_keep_their_message(cls, protocol):
    """Message and class are the same after pickling and copying."""
    for back in trips(cls("no such thing"), protocol):
        assert type(back) is cls
        assert str(back) == "no such thing"
