"""What passes the border is a read-only float64 copy, and theta and its leaves are two views of the same numbers."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from refnode.arrays import column, count, finite, flag, flatten, float64, one_of, positive, size, unflatten
from refnode.errors import InvalidArgument

shapes_of_leaves = st.dictionaries(
    st.sampled_from(["W0", "b0", "W1", "b1", "A"]), st.lists(st.integers(1, 4), max_size=3).map(tuple), max_size=5
)


# ---------------------------------------------------------------- float64

@pytest.mark.parametrize(
    ("value", "shape"),
    [(1, ()), (2.5, ()), ([1, 2], (2,)), ([[1.0, 2], [3, 4]], (2, 2)), (np.arange(3, dtype="u1"), (3,)), ([], (0,))],
)
def test_numbers_lists_and_integers_become_float64(value, shape):
    """Numbers, nested lists and integers come back as float64 of the same values."""
    out = float64("x", value)
    assert out.dtype == np.float64
    assert out.shape == shape
    np.testing.assert_array_equal(out, value)


def test_the_copy_is_read_only_and_its_own():
    """Changing the original later does not change what was checked, and the copy cannot be written to."""
    original = np.ones((2, 3))
    out = float64("x", original)
    original[0, 0] = 7.0
    assert out[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        out[0, 0] = 2.0
    assert not np.shares_memory(out, float64("x", out))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.ones(2, dtype=np.float32), "float32"),
        (np.ones(2, dtype=np.float16), "float16"),
        (np.ones(2, dtype=complex), "complex128"),
        (1j, "complex128"),
        (True, "bool"),
        (np.array([True, False]), "bool"),
        ("1.0", "<U3"),
        ([None], "object"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
    ],
)
def test_other_dtypes_are_refused(value, dtype):
    """A number that is not float64 or an integer raises; the message has its name and its dtype."""
    with pytest.raises(InvalidArgument, match=rf"^theta\.W0: got dtype {dtype}.*must be float64"):
        float64("theta.W0", value)


def test_ragged_lists_are_refused():
    """Rows of unequal length raise InvalidArgument, not NumPy's error."""
    with pytest.raises(InvalidArgument, match=r"^x: got \[\[1\.0\], \[1\.0, 2\.0\]\]; must be a rectangular array"):
        float64("x", [[1.0], [1.0, 2.0]])


def test_masked_arrays_are_refused():
    """A masked entry is no number, even where nothing is masked."""
    for mask in (False, [True, False]):
        with pytest.raises(InvalidArgument, match=r"^x: got a masked array; must be an array without a mask"):
            float64("x", np.ma.masked_array([1.0, 2.0], mask))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (1, 2)])
def test_nan_and_infinity_are_found(bad, where):
    """The message says where the NaN or infinity is."""
    value = np.zeros((2, 3))
    value[where] = bad
    with pytest.raises(InvalidArgument, match=rf"shape \(2, 3\).* infinity at {re.escape(str(where))}; must be finite"):
        float64("x", value)


def test_a_nan_number_is_refused():
    """A NaN without a shape is found as well."""
    with pytest.raises(InvalidArgument, match=r"^T: got .*nan.* NaN or infinity at \(0,\)"):
        float64("T", np.nan)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((), r"\(\)"), ((2,), r"\(2,\)"), ((None,), r"\(any,\)"), ((2, 4), r"\(2, 4\)"), ((None, 4), r"\(any, 4\)")],
)
def test_wrong_shapes_are_refused(shape, words):
    """The message has both shapes; None stands for any length."""
    with pytest.raises(InvalidArgument, match=rf"^x: got shape \(2, 3\); must be of shape {words}$"):
        float64("x", np.zeros((2, 3)), shape)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=3))
def test_a_shape_fits_itself_with_any_lengths_left_open(axes):
    """An array passes for its own shape with None at any places, and for no shape that differs elsewhere."""
    value = np.ones([n for n, _ in axes])
    assert float64("x", value, tuple(None if is_open else n for n, is_open in axes)).shape == value.shape
    with pytest.raises(InvalidArgument, match="must be of shape"):
        float64("x", value, (*(None if is_open else n for n, is_open in axes), None))
    for k, (_, is_open) in enumerate(axes):
        if not is_open:
            with pytest.raises(InvalidArgument, match="must be of shape"):
                float64("x", value, tuple(n + (i == k) for i, (n, _) in enumerate(axes)))


# ---------------------------------------------------------------- numbers and words

@pytest.mark.parametrize("value", [1, 0.5, 5e-324, np.float32(0.5), np.int64(3), np.float64(2.0)])
def test_positive_numbers_pass(value):
    """A finite number > 0 comes back as a float."""
    out = positive("tol", value)
    assert type(out) is float
    assert out == value


@pytest.mark.parametrize("value", [0, 0.0, -1.0, math.inf, math.nan, True, "1", None, 1j, np.ones(1), np.bool_(True)])
def test_other_numbers_are_not_positive(value):
    """Zero, negative, infinite, NaN, bool and what is no number raise."""
    with pytest.raises(InvalidArgument, match=r"^tol: got .*; must be a (finite )?number > 0"):
        positive("tol", value)


@pytest.mark.parametrize("value", [0, -1, 0.5, -5e-324, np.float32(0.5), np.int64(-3), np.float64(2.0)])
def test_finite_numbers_pass(value):
    """A finite number of either sign comes back as a float."""
    out = finite("scale", value)
    assert type(out) is float
    assert out == value


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, True, "1", None, 1j, np.ones(1), np.bool_(True)])
def test_other_numbers_are_not_finite(value):
    """Infinite, NaN, bool and what is no number raise."""
    with pytest.raises(InvalidArgument, match=r"^scale: got .*; must be a finite number$"):
        finite("scale", value)


def test_flags():
    """True and False pass; 0, 1, None and words do not."""
    assert flag("bias", True) is True
    assert flag("bias", False) is False
    for value in (0, 1, None, "no", np.bool_(True)):
        with pytest.raises(InvalidArgument, match=r"^bias: got .*; must be True or False$"):
            flag("bias", value)


@pytest.mark.parametrize(("value", "least"), [(1, 1), (0, 0), (np.int64(7), 1), (np.uint8(2), 2)])
def test_counts_pass(value, least):
    """An integer at or above the least comes back as an int."""
    out = count("order", value, least)
    assert type(out) is int
    assert out == value


@pytest.mark.parametrize(
    ("value", "least"), [(0, 1), (-1, 0), (1, 2), (1.0, 1), (True, 1), (np.bool_(True), 1), ("1", 1), (None, 0)]
)
def test_other_counts_are_refused(value, least):
    """Too small, a float, a bool or no number raises."""
    with pytest.raises(InvalidArgument, match=rf"^order: got .*; must be an integer >= {least}$"):
        count("order", value, least)


def test_one_of():
    """A word of the set passes; another word, or what is no word, raises with the whole set in the message."""
    assert one_of("steps", "own", ("shared", "own")) == "own"
    for value in ("Own", "", None, 1, ["own"]):
        with pytest.raises(InvalidArgument, match=r"^steps: got .*; must be one of 'shared', 'own'$"):
            one_of("steps", value, ("shared", "own"))


# ---------------------------------------------------------------- leaves

@given(shapes_of_leaves, st.sampled_from([None, 1, 3]))
def test_leaves_and_theta_are_inverse(shapes, batch):
    """flatten(unflatten(theta)) is theta, for one theta and for one per sample; no number is lost or doubled."""
    p = size(shapes)
    theta = np.arange(float(p if batch is None else batch * p)).reshape((p,) if batch is None else (batch, p))
    leaves = unflatten(theta, shapes)
    assert {name: leaf.shape for name, leaf in leaves.items()} == {
        name: theta.shape[:-1] + shape for name, shape in shapes.items()
    }
    assert list(leaves) == list(shapes)
    if shapes:
        np.testing.assert_array_equal(flatten(leaves, shapes), theta)
    if batch is not None:
        for k, row in enumerate(theta):
            for name, leaf in unflatten(row, shapes).items():
                np.testing.assert_array_equal(leaves[name][k], leaf)


def test_leaves_stand_in_order_row_by_row():
    """The first leaf comes first, and a matrix (i, o) is stored row by row."""
    shapes = {"W0": (2, 3), "b0": (3,), "k": ()}
    leaves = unflatten(np.arange(10.0), shapes)
    np.testing.assert_array_equal(leaves["W0"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(leaves["b0"], [6, 7, 8])
    assert leaves["k"] == 9
    swapped = dict(reversed(leaves.items()))
    np.testing.assert_array_equal(flatten(swapped, shapes), np.arange(10.0))  # the order is that of shapes


def test_leaves_are_views():
    """unflatten copies nothing."""
    theta = np.zeros(9)
    for leaf in unflatten(theta, {"W0": (2, 3), "b0": (3,)}).values():
        assert np.shares_memory(leaf, theta)


def test_no_leaves():
    """Without leaves theta is empty."""
    assert size({}) == 0
    assert flatten({}, {}).shape == (0,)
    assert unflatten(np.zeros(0), {}) == {}


def test_flatten_keeps_complex_numbers():
    """Leaves under the complex step keep their imaginary parts."""
    np.testing.assert_array_equal(flatten({"a": np.array([1j]), "b": np.ones(())}, {"a": (1,), "b": ()}), [1j, 1])


def test_column():
    """() becomes (1,) and (b,) becomes (b, 1): either multiplies (b, n) row by row."""
    assert column(np.array(2.0)).shape == (1,)
    assert column(np.arange(3.0)).shape == (3, 1)
    np.testing.assert_array_equal(column(np.arange(3.0)) * np.ones((3, 2)), [[0, 0], [1, 1], [2, 2]])
