"""Point losses have the values of their formulas and the gradients of their values; what is no loss is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.errors import InvalidArgument
from refnode.loss import Weighted
from tests.help import EPS, LIBRARY, assert_close, complex_step, units

TERMS = {
    "squared error": lambda rng: rn.SquaredError(rng.standard_normal((3, 4))),
    "squared error, one target": lambda rng: rn.SquaredError(rng.standard_normal(4)),
    "linear": lambda rng: rn.LinearFunctional(rng.standard_normal((3, 4))),
    "linear, one c": lambda rng: rn.LinearFunctional(rng.standard_normal(4)),
    "cross-entropy": lambda rng: rn.CrossEntropy([2, 0, 3]),
    "standard normal": lambda rng: rn.StandardNormal(),
    "user": lambda rng: wave(),
}
Y = np.array([[1.0, 2, 0], [3, 5, -1]])
T = np.array(0.5)


def wave(**how):
    """L = sin(t) sum_j y_j^3: a loss that depends on t itself."""
    return rn.UserLoss(
        lambda t, y: np.sin(t) * (y**3).sum(axis=1),
        lambda t, y: (np.cos(t) * (y**3).sum(axis=1), 3 * np.sin(np.asarray(t))[..., None] * y**2),
        **how,
    )


# ---------------------------------------------------------------- values by hand

def test_squared_error_by_hand():
    """sum_j (y_j - target_j)^2, summed over features, with a target for each sample or one for all."""
    np.testing.assert_array_equal(rn.SquaredError([[0, 0, 0], [1, 1, 1]]).value(T, Y), [5, 4 + 16 + 4])
    np.testing.assert_array_equal(rn.SquaredError([1, 0, 0]).value(T, Y), [4, 4 + 25 + 1])
    np.testing.assert_array_equal(rn.SquaredError([1, 0, 0]).grad(T, Y)[1], [[0, 4, 0], [4, 10, -2]])


def test_linear_functional_by_hand():
    """sum_j c_j y_j."""
    np.testing.assert_array_equal(rn.LinearFunctional([1, 10, 100]).value(T, Y), [21, 3 + 50 - 100])
    np.testing.assert_array_equal(rn.LinearFunctional([[1, 0, 0], [0, 1, 0]]).value(T, Y), [1, 5])
    np.testing.assert_array_equal(rn.LinearFunctional([1, 10, 100]).grad(T, Y)[1], [[1, 10, 100]] * 2)


def test_cross_entropy_by_hand():
    """log sum_j e^(y_j) - y_label, and softmax - one-hot."""
    term = rn.CrossEntropy([0, 2])
    want = [math.log(math.e + math.e**2 + 1) - 1, math.log(math.exp(3) + math.exp(5) + math.exp(-1)) + 1]
    # exp of a difference, a sum of 3, log, and the largest logit added and another taken away; likewise on the right
    assert_close(term.value(T, Y), np.array(want), 1 + np.abs(Y).sum(axis=1), 2 * LIBRARY + 6)
    exps = np.exp(Y)
    softmax = exps / exps.sum(axis=1, keepdims=True)
    g = term.grad(T, Y)[1]
    assert_close(g, softmax - [[1, 0, 0], [0, 0, 1]], 1 + np.abs(Y).max(), 2 * LIBRARY + 6)
    assert_close(g.sum(axis=1), np.zeros(2), 2.0, LIBRARY + 6)  # softmax sums to 1


def test_standard_normal_by_hand():
    """|y|^2 / 2 + k log(2 pi) / 2: at 0 in one dimension log sqrt(2 pi), and e^-L integrates to 1."""
    term = rn.StandardNormal()
    np.testing.assert_array_equal(term.grad(T, Y)[1], Y)
    assert_close(term.value(T, Y), np.array([5.0, 35.0]) / 2 + 1.5 * math.log(2 * math.pi), 22, LIBRARY + 4)
    y = np.arange(-12, 12.25, 0.5)[:, None]  # the trapezoidal rule errs by e^(-2 pi^2 / h^2) = e^-79
    assert_close(0.5 * np.exp(-term.value(T, y)).sum(), 1.0, 1.0, LIBRARY + 75 + len(y))  # exp of up to 73


def test_user_loss_by_hand():
    """The functions given are the loss; here it depends on t, shared or each sample's own."""
    np.testing.assert_array_equal(wave().value(T, Y), np.sin(T) * np.array([9.0, 27 + 125 - 1]))
    np.testing.assert_array_equal(wave().value(np.zeros(2), Y), [0, 0])


@given(
    logits=st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=2, max_size=2),
    labels=st.lists(st.integers(0, 2), min_size=2, max_size=2),
)
def test_cross_entropy_of_large_logits(logits, labels):
    """Logits up to +-1e4 overflow nowhere: value and gradient are finite, and adding one number to all logits of a
    sample changes neither beyond the rounding of the logits."""
    y, term = np.array(logits), rn.CrossEntropy(labels)
    value, (_, g) = term.value(T, y), term.grad(T, y)
    assert (value >= 0).all()  # of the label's own exponential and more
    assert (np.abs(g) <= 1).all()
    shifted = y + 4096.0
    size = 4096 + np.abs(y).max()  # what the shift rounds, and the subtraction of the label's logit
    assert_close(term.value(T, shifted), value, 1 + size, 2 * LIBRARY + 6)
    assert_close(term.grad(T, shifted)[1], g, 1 + size, 2 * LIBRARY + 6)


def test_cross_entropy_at_the_extreme():
    """One logit ahead by 1e4: the loss is 0 for its label and 1e4 for another, exactly, with gradients 0 and -+1."""
    y = np.array([[1e4, 0.0], [1e4, 0.0]])
    term = rn.CrossEntropy([0, 1])
    np.testing.assert_array_equal(term.value(T, y), [0, 1e4])
    np.testing.assert_array_equal(term.grad(T, y)[1], [[0, 0], [1, -1]])


# ---------------------------------------------------------------- gradients

@pytest.mark.parametrize("own_t", [False, True], ids=["shared t", "own t"])
@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_the_complex_step(name, own_t, rng):
    """grad is the complex step of value, in t and in every number of y, and has the batch's shape in both."""
    term, y = TERMS[name](rng), rng.standard_normal((3, 4))
    t = np.array(rng.standard_normal(3 if own_t else ()))
    g_t, g_y = term.grad(t, y)
    assert (g_t.shape, g_y.shape) == ((3,), (3, 4))
    # values and slopes of all four formulas are sums of at most 4 terms, each below (1 + |y| + |data|)^3
    largest = 1 + np.abs(y).max() + np.abs(getattr(term, "target", getattr(term, "c", np.zeros(())))).max()
    bound, n = 12 * largest**3, 2 * (2 * LIBRARY + 12)
    assert_close(g_t, complex_step(term.value, (t, y), (np.ones(t.shape), np.zeros(y.shape))), bound, n)
    for which, index, d in units((t, y)):
        if which == 1:
            want = np.zeros(3)
            want[index[0]] = g_y[index]  # the other samples do not feel it
            assert_close(want, complex_step(term.value, (t, y), d), bound, n)


# ---------------------------------------------------------------- weight and reduction

@pytest.mark.parametrize("name", TERMS)
def test_factor(name, rng):
    """The mean divides by the batch, the sum does not; the weight multiplies either. Unasked it is the mean."""
    term = TERMS[name](rng)
    assert (term.weight, term.reduction) == (1.0, "mean")
    assert term.factor(4) == 0.25
    assert (0.5 * term).factor(4) == 0.125
    assert rn.LinearFunctional([1.0], weight=0.5, reduction="sum").factor(4) == 0.5
    assert rn.LinearFunctional([1.0], reduction="sum").factor(4) == 1.0


@pytest.mark.parametrize("name", TERMS)
def test_multiplying_a_term_scales_its_weight(name, rng):
    """0.1 * term, term * 0.1 and a NumPy number: a new term with another weight and all else the same."""
    term = TERMS[name](rng)
    for scaled in (0.1 * term, term * 0.1, np.float64(0.1) * term):
        assert type(scaled) is type(term)
        assert scaled.weight == 0.1
        assert scaled.reduction == term.reduction
        y = rng.standard_normal((3, 4))
        np.testing.assert_array_equal(scaled.value(T, y), term.value(T, y))
    assert (-2 * (0.25 * term)).weight == -0.5
    assert term.weight == 1.0
    assert (3 * rn.SquaredError([0.0], reduction="sum")).reduction == "sum"


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, True, "1", None, 1j, np.ones(2)])
def test_weight_refuses(weight):
    """A weight is a finite number; a bool is none."""
    with pytest.raises(InvalidArgument, match=r"^weight: got .*; must be a finite number$"):
        rn.SquaredError([0.0], weight=weight)


def test_a_product_with_nan_is_refused():
    """0.1 * term checks the new weight as the constructor does."""
    with pytest.raises(InvalidArgument, match=r"^weight: got .*nan"):
        math.nan * rn.Kinetic()


@pytest.mark.parametrize("reduction", ["average", "Mean", "", None, 0])
@pytest.mark.parametrize(
    "make",
    [
        Weighted,
        rn.Kinetic,
        lambda **how: rn.SquaredError([0.0], **how),
        lambda **how: rn.CrossEntropy([0], **how),
        lambda **how: rn.LinearFunctional([0.0], **how),
        wave,
        lambda **how: rn.observe([0.5], np.zeros((1, 2, 2)), **how),
    ],
    ids=["weighted", "kinetic", "squared", "cross", "linear", "user", "observe"],
)
def test_reduction_refuses(make, reduction):
    """Every term knows "mean" and "sum" only."""
    with pytest.raises(InvalidArgument, match=r"^reduction: got .*; must be one of 'mean', 'sum'$"):
        make(reduction=reduction)


# ---------------------------------------------------------------- data

@pytest.mark.parametrize("make", [rn.SquaredError, rn.LinearFunctional])
def test_data_are_checked_and_copied(make):
    """Targets and coefficients are read-only float64 copies; float32 and NaN raise by name."""
    data = np.ones((2, 3))
    term = make(data)
    kept = term.target if make is rn.SquaredError else term.c
    data[0, 0] = 5.0
    assert kept[0, 0] == 1.0
    assert not kept.flags.writeable
    with pytest.raises(InvalidArgument, match=r"^(target|c): got dtype float32; must be float64"):
        make(np.ones(3, dtype=np.float32))
    with pytest.raises(InvalidArgument, match=r"^(target|c): .*NaN or infinity at \(1,\)"):
        make([1.0, np.nan])


@pytest.mark.parametrize("make", [rn.SquaredError, rn.LinearFunctional])
@pytest.mark.parametrize("shape", [(), (4,), (1, 3), (3, 3), (2, 4), (2, 3, 1), (2,)])
def test_data_must_fit(make, shape):
    """For batch 2 and width 3 data are (2, 3) or (3,): one row of two is no broadcast."""
    message = r"^terminal\.(target|c): got shape .*; must be of shape \(2, 3\) or \(3,\)$"
    with pytest.raises(InvalidArgument, match=message):
        make(np.zeros(shape)).check("terminal", 2, 3)
    make(np.zeros((2, 3))).check("terminal", 2, 3)
    make(np.zeros(3)).check("terminal", 2, 3)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [True, False], [[0], [1]], 0, ["a"], None])
def test_labels_refuse(labels):
    """Labels are integers (b,): no floats, no bools, no other shape."""
    with pytest.raises(InvalidArgument, match=r"^labels: got .*; must be integers of shape \(b,\)$"):
        rn.CrossEntropy(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], r"^terminal\.labels: got shape \(1,\); must be of shape \(2,\)$"),
        ([0, 1, 2], r"^terminal\.labels: got shape \(3,\)"),
        ([0, 3], r"^terminal\.labels: got labels from 0 to 3; must be from 0 to 2, one for each of 3 logits$"),
        ([-1, 2], r"^terminal\.labels: got labels from -1 to 2"),
    ],
)
def test_labels_must_fit(labels, message):
    """One label per sample, each the number of a logit."""
    with pytest.raises(InvalidArgument, match=message):
        rn.CrossEntropy(labels).check("terminal", 2, 3)


def test_labels_are_copied():
    """Labels are a read-only copy, of any integer type."""
    given_labels = np.array([0, 2], dtype=np.uint8)
    term = rn.CrossEntropy(given_labels)
    given_labels[0] = 1
    np.testing.assert_array_equal(term.labels, [0, 2])
    assert term.labels.dtype == np.int64
    assert not term.labels.flags.writeable
    term.check("terminal", 2, 3)


@pytest.mark.parametrize("part", ["fn_value", "fn_grad"])
def test_user_loss_must_be_functions(part):
    """What cannot be called raises by name."""
    parts = {"fn_value": len, "fn_grad": len} | {part: 3}
    with pytest.raises(InvalidArgument, match=rf"^terminal\.{part}: got 3; must be a function of \(t, y\)$"):
        rn.UserLoss(**parts).check("terminal", 2, 3)


# ---------------------------------------------------------------- observations

def test_observe():
    """Squared errors at the given times, each with its own targets, weight and reduction."""
    targets = np.arange(12.0).reshape(3, 2, 2)
    observations = rn.observe([0.1, 0.2, 0.7], targets, reduction="sum", weight=0.5)
    np.testing.assert_array_equal(observations.times, [0.1, 0.2, 0.7])
    for k, term in enumerate(observations.terms):
        np.testing.assert_array_equal(term.target, targets[k])
        assert (term.weight, term.reduction) == (0.5, "sum")
    assert {(term.weight, term.reduction) for term in rn.observe([0.1, 0.2, 0.7], targets).terms} == {(1.0, "mean")}


def test_observations_of_any_terms():
    """Each time has a term of its own kind; a list of them becomes a tuple."""
    terms = [wave(), rn.SquaredError([0.0, 0.0])]
    assert rn.Observations([0.1, 0.2], terms).terms == tuple(terms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rn.observe([0.1, 0.2], np.zeros((3, 2, 2))), r"^targets: got shape \(3, 2, 2\); .*\(2, any, any\)"),
        (lambda: rn.observe([0.1], np.zeros((1, 2))), r"^targets: got shape \(1, 2\)"),
        (lambda: rn.observe([0.1], np.zeros((1, 2, 2), dtype=np.float32)), r"^targets: got dtype float32"),
        (lambda: rn.observe([np.nan], np.zeros((1, 2, 2))), r"^times: .*NaN"),
        (lambda: rn.observe(0.1, np.zeros((1, 2, 2))), r"^times: got shape \(\)"),
        (lambda: rn.Observations([], ()), r"^observations\.terms: got 0 terms; must be one for each of 0 times"),
        (lambda: rn.Observations([0.1, 0.2], (wave(),)), r"^observations\.terms: got 1 terms; .* each of 2 times"),
        (lambda: rn.Observations([0.1], wave()), r"^observations\.terms: got UserLoss.*; must be a tuple of point"),
        (lambda: rn.Observations([[0.1]], (wave(),)), r"^observations\.times: got shape \(1, 1\)"),
        (lambda: rn.Observations([0.1], (3,)), r"^observations\.terms\[0\]: got 3; must be a loss with methods"),
    ],
)
def test_observations_refuse(make, message):
    """One term per time, times (K,) with K >= 1, and terms that are losses."""
    with pytest.raises(InvalidArgument, match=message):
        make()


# ---------------------------------------------------------------- the whole loss

def test_loss_keeps_its_parts():
    """A single running loss and a list become a tuple; the scale is 1 unasked."""
    kinetic = 0.1 * rn.Kinetic()
    assert rn.Loss(running=kinetic).running == (kinetic,)
    assert rn.Loss(running=[kinetic, kinetic]).running == (kinetic, kinetic)
    assert rn.Loss(terminal=wave()).running == ()
    assert rn.Loss(terminal=wave()).scale == 1.0
    assert rn.Loss(terminal=wave(), scale=-3).scale == -3


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"^loss: got no term at all; must be a terminal, an observation or a running loss$"),
        ({"running": ()}, r"^loss: got no term at all"),
        ({"terminal": 3}, r"^terminal: got 3; must be a loss with methods factor, check, value, grad$"),
        ({"terminal": rn.Kinetic()}, r"^terminal: got Kinetic\("),
        ({"terminal": rn.SquaredError}, r"^terminal: got <class .*SquaredError'>"),
        ({"running": wave()}, r"^running\[0\]: got UserLoss.*; must be a loss with methods factor, .*, jvp, vjp$"),
        ({"running": [rn.Kinetic(), len]}, r"^running\[1\]: got <built-in function len>"),
        ({"running": [None]}, r"^running\[0\]: got None"),
        ({"terminal": wave(), "observations": [0.1]}, r"^observations: got \[0\.1\]; must be rn\.Observations"),
        ({"terminal": wave(), "scale": True}, r"^scale: got True; must be a finite number$"),
        ({"terminal": wave(), "scale": math.nan}, r"^scale: got nan"),
        ({"terminal": wave(), "scale": "1"}, r"^scale: got '?1'?; must be"),
        ({"terminal": wave(), "scale": None}, r"^scale: got None"),
    ],
)
def test_loss_refuses(parts, message):
    """A loss has at least one term, terms have the methods of their kind, and the scale is a finite number."""
    with pytest.raises(InvalidArgument, match=message):
        rn.Loss(**parts)


def test_terms_are_told_apart_by_identity(rng):
    """A term equals itself only, whatever numbers it holds, and can be in a set; it does not change."""
    for make in TERMS.values():
        term = make(rng)
        assert term != make(rng)
        assert len({term, term, make(rng)}) == 2
        with pytest.raises(AttributeError, match="cannot assign to field 'weight'"):
            term.weight = 2.0


def test_weights_are_not_rounded():
    """0.1 * term has weight 0.1 to the bit, and the mean over 3 is one division away from it."""
    assert (0.1 * rn.Kinetic()).factor(3) == 0.1 / 3
    assert abs(0.1 / 3 - 1 / 30) <= EPS / 30
