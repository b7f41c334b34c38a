"""Every tableau has exactly the orders it claims: of its step, of its embedded methods and of its interpolant.

A method has order p if sum_i w_i phi_i(t) = 1 / gamma(t) for every rooted tree t with at most p vertices, where
phi_i(t) = prod over the subtrees u at t's root of sum_j a_ij phi_j(u), and gamma(t) = |t| prod gamma(u). An interpolant
has order p if its weights w(theta) give theta^|t| / gamma(t). (Hairer, Norsett, Wanner I, sec. II.2 and II.6.)
"""

from collections import Counter
from dataclasses import replace
from functools import cache
from math import factorial, prod

import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45

from refnode.errors import InvalidArgument
from refnode.tableau import TABLEAUX, tableau

U = np.finfo(float).eps / 2  # unit round-off
THETAS = (0.1, 0.37, 0.83)
NOT_ROUND_OFF = 1e4  # a condition broken by so many bounds is broken by the method
ARRAYS = ("c", "a", "b", "b_err", "b_err3", "c_extra", "a_extra", "d_dense", "dense_rows")

every_tableau = pytest.mark.parametrize("method", TABLEAUX.values(), ids=TABLEAUX)


# ---------------------------------------------------------------- rooted trees

@cache
def trees(order):
    """All rooted trees with `order` vertices; a tree is the tuple of the subtrees at its root."""
    smaller = [tree for m in range(1, order) for tree in trees(m)]
    return tuple(forests(order - 1, smaller))


def forests(vertices, pool):
    """All multisets of trees from the pool that have so many vertices together."""
    if vertices == 0:
        yield ()
    for i, tree in enumerate(pool):
        if size(tree) <= vertices:
            for rest in forests(vertices - size(tree), pool[i:]):
                yield (tree, *rest)


@cache
def size(tree):
    return 1 + sum(map(size, tree))


@cache
def gamma(tree):
    return size(tree) * prod(map(gamma, tree))


def symmetry(tree):
    """sigma: in how many ways the tree can be mapped to itself."""
    return prod(factorial(n) * symmetry(subtree) ** n for subtree, n in Counter(tree).items())


def phi(tree, a):  # a (S, S)
    """Elementary weight of the tree at every stage."""
    return np.prod([np.ones(len(a)), *(a @ phi(subtree, a) for subtree in tree)], axis=0)  # (S,)


def test_trees_are_all_there():
    """1, 1, 2, 4, 9, 20, .. trees (OEIS A000081), with n! / (gamma sigma) monotone labellings, (n-1)! in all."""
    assert [len(trees(n)) for n in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]
    for n in range(1, 10):
        assert sum(factorial(n) // (gamma(tree) * symmetry(tree)) for tree in trees(n)) == factorial(n - 1)


# ---------------------------------------------------------------- order conditions

def violations(weights, size_of_weights, a, order, theta=1.0, roundings=1):
    """How far the conditions of one order are violated, in units of the round-off that they may show.

    A summand of w . phi(t) is a product of |t| coefficients. Each is rounded, summed over S stages and multiplied on:
    at most S + 2 roundings a vertex, one more for theta^|t| / gamma(t), and those with which the weights arrived here.
    Hence the bound (|t| (S + 3) + roundings) u (|w| . phi(t) with |a|, + theta^|t| / gamma(t)).
    """
    exact = np.array([theta**order / gamma(tree) for tree in trees(order)])
    errors = np.array([weights @ phi(tree, a) for tree in trees(order)]) - exact
    sums = np.array([size_of_weights @ phi(tree, abs(a)) for tree in trees(order)]) + exact
    return abs(errors) / ((order * (len(a) + 3) + roundings) * U * sums)


def assert_order(weights, size_of_weights, a, order, **how):
    """All conditions hold through `order`, and one of the next order does not."""
    for n in range(1, order + 1):
        assert max(violations(weights, size_of_weights, a, n, **how)) <= 1
    assert max(violations(weights, size_of_weights, a, order + 1, **how)) > NOT_ROUND_OFF


@every_tableau
def test_step_has_exactly_its_order(method):
    """y_{n+1} has order p and not p + 1."""
    assert_order(method.b, abs(method.b), method.a, method.order)


@pytest.mark.parametrize(
    ("name", "estimate", "order"),
    [
        ("bosh3", "b_err", 2),
        ("dopri5", "b_err", 4),
        ("tsit5", "b_err", 4),
        ("dop853", "b_err", 5),
        ("dop853", "b_err3", 3),
    ],
)
def test_embedded_method_has_exactly_its_order(name, estimate, order):
    """b - b_err is a method of lower order, hence the error estimate is neither zero nor too large."""
    method = tableau(name)
    b_err = getattr(method, estimate)
    assert_order(method.b - b_err, abs(method.b) + abs(b_err), method.a, order)


def test_order_err_is_that_of_the_estimate():
    """The estimate is O(h^(order_err+1)); Hairer's |err5|^2 / sqrt(|err5|^2 + |err3|^2 / 100) is h^6 h^6 / h^4."""
    orders = {name: method.order_err for name, method in TABLEAUX.items() if method.adaptive}
    assert orders == {"bosh3": 2, "dopri5": 4, "tsit5": 4, "dop853": (6 + 6 - 4) - 1}


@every_tableau
def test_nodes_are_row_sums(method):
    """c_i = sum_j a_ij for every stage, so that t and y are advanced alike."""
    c, a = dense_tableau(method)
    assert (abs(a.sum(axis=1) - c) <= (len(c) + 1) * U * abs(a).sum(axis=1)).all()  # S sums, one rounding of each term


# ---------------------------------------------------------------- dense output

def dense_tableau(method):
    """c (S,) and a (S, S) of all dense stages."""
    c_extra, a_extra = method.extra
    a_steps = np.pad(method.a, ((0, 0), (0, method.dense_stages - method.stages)))
    return np.concatenate([method.c, c_extra]), np.concatenate([a_steps, a_extra])


def size_of_rows(method):
    """Sums of absolute values for the rows b, e_first - b, 2 b - e_first - e_new, d_1 .. d_r, (3+r, S)."""
    e_first, e_new = np.eye(method.dense_stages)[[0, method.new_stage]]
    b = np.pad(abs(method.b), (0, method.dense_stages - method.stages))
    return np.stack([b, e_first + b, 2 * b + e_first + e_new, *abs(method.d_dense)])


def size_of_dense_weights(method, theta):
    """The same for w(theta), with theta^1 u^0, theta^1 u^1, theta^2 u^1, .. and u = 1 - theta, (S,)."""
    rows = size_of_rows(method)
    return sum(theta ** ((r + 2) // 2) * (1 - theta) ** ((r + 1) // 2) * row for r, row in enumerate(rows))


def dense_roundings(method):
    """Those of w(theta): two a factor of the basis, one a summand, three a row."""
    return 3 * len(method.dense_rows) + 3


@pytest.mark.parametrize("theta", THETAS)
@every_tableau
def test_interpolant_has_exactly_its_order(method, theta):
    """y(theta) has order_dense between the steps, and not order_dense + 1."""
    _, a = dense_tableau(method)
    size_of_weights = size_of_dense_weights(method, theta)
    how = {"theta": theta, "roundings": dense_roundings(method)}
    assert_order(method.dense_weights(theta), size_of_weights, a, method.order_dense, **how)


@every_tableau
def test_interpolant_meets_the_step(method):
    """w(0) = 0 and w(1) = b, to the last bit."""
    b = np.pad(method.b, (0, method.dense_stages - method.stages))
    np.testing.assert_array_equal(method.dense_weights(np.array([0.0, 1.0])), [0 * b, b])


@every_tableau
def test_interpolant_is_c1(method):
    """dw/dtheta is the first stage at 0 and f(t_{n+1}, y_{n+1}) at 1, so that neighbouring steps meet smoothly."""
    h = 2.0**-600  # complex step: its error h^2 underflows to 0
    slopes = method.dense_weights(np.array([0.0, 1.0]) + 1j * h).imag / h
    expected = np.eye(method.dense_stages)[[0, method.new_stage]]
    tolerance = dense_roundings(method) * U * size_of_rows(method)[:3].sum(axis=0)  # at 0 and 1 the d rows are flat
    assert (abs(slopes - expected) <= tolerance).all()


@every_tableau
def test_new_stage_is_f_at_the_new_point(method):
    """The dense stage new_stage has c = 1 and a = b; it is the only extra one unless the interpolant asks for more."""
    c, a = dense_tableau(method)
    assert c[method.new_stage] == 1
    np.testing.assert_array_equal(a[method.new_stage, : method.stages], method.b)
    assert len(c) == method.stages + (not method.fsal) + len(method.c_extra)


@every_tableau
def test_dense_weights_of_a_batch(method):
    """theta (b,) gives one row of weights a sample, as theta () would."""
    batch = method.dense_weights(np.array(THETAS))
    assert batch.shape == (len(THETAS), method.dense_stages)
    for theta, weights in zip(THETAS, batch, strict=True):
        tolerance = 2 * dense_roundings(method) * U * size_of_dense_weights(method, theta)
        assert (abs(method.dense_weights(theta) - weights) <= tolerance).all()


# ---------------------------------------------------------------- structure

def test_which_are_first_same_as_last():
    """FSAL where the papers say so; dop853 counts f_new as an extra stage."""
    assert {name for name, method in TABLEAUX.items() if method.fsal} == {"bosh3", "dopri5", "tsit5"}


def test_stages():
    """Stages of a step, and with its interpolant."""
    counts = {name: (method.stages, method.dense_stages) for name, method in TABLEAUX.items()}
    assert counts == {
        "euler": (1, 2), "midpoint": (2, 3), "heun": (2, 3), "rk4": (4, 5), "rk4_38": (4, 5),
        "bosh3": (4, 4), "dopri5": (7, 7), "tsit5": (7, 7), "dop853": (12, 16),
    }


@every_tableau
def test_arrays_are_read_only(method):
    """A shared tableau cannot be changed by accident."""
    for name in ARRAYS:
        array = getattr(method, name)
        assert array is None or not array.flags.writeable, name
    assert not any(array.flags.writeable for array in method.extra)


# ---------------------------------------------------------------- scipy has the same numbers

@pytest.mark.parametrize(("name", "theirs"), [("bosh3", RK23), ("dopri5", RK45)])
def test_fsal_methods_equal_scipys(name, theirs):
    """The same doubles; scipy keeps the last stage apart, estimates b_hat - b and has w(theta) in powers of theta."""
    ours = tableau(name)
    np.testing.assert_array_equal(ours.c[:-1], theirs.C)
    np.testing.assert_array_equal(ours.a[:-1, : theirs.A.shape[1]], theirs.A)
    np.testing.assert_array_equal(ours.b[:-1], theirs.B)
    np.testing.assert_array_equal(ours.b_err, -theirs.E)
    for theta in THETAS:
        powers = theta ** np.arange(1, theirs.P.shape[1] + 1)
        size_of_weights = size_of_dense_weights(ours, theta) + abs(theirs.P) @ powers
        tolerance = dense_roundings(ours) * U * size_of_weights
        assert (abs(ours.dense_weights(theta) - theirs.P @ powers) <= tolerance).all()


def test_dop853_equals_scipys():
    """The same doubles; scipy's error weights have a thirteenth entry for f_new, which is zero."""
    ours = tableau("dop853")
    pairs = [
        (ours.c, DOP853.C), (ours.a, DOP853.A), (ours.b, DOP853.B), (ours.c_extra, DOP853.C_EXTRA),
        (ours.a_extra, DOP853.A_EXTRA), (ours.d_dense, DOP853.D),
        (np.append(ours.b_err, 0), DOP853.E5), (np.append(ours.b_err3, 0), DOP853.E3),
    ]
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)


# ---------------------------------------------------------------- refusals

def test_unknown_name():
    """An unknown name is refused, with the names there are."""
    with pytest.raises(InvalidArgument) as refusal:
        tableau("rk5")
    message = str(refusal.value)
    assert message.startswith("tableau: got 'rk5'; must be one of")
    assert all(repr(name) in message for name in TABLEAUX)
    assert isinstance(refusal.value, ValueError)


@pytest.mark.parametrize(
    ("name", "change", "culprit"),
    [
        ("rk4", {"c": np.zeros(3)}, "rk4.a"),
        ("rk4", {"c": np.zeros((4, 1))}, "rk4.c"),
        ("rk4", {"a": np.zeros((4, 3))}, "rk4.a"),
        ("rk4", {"b": np.ones(5)}, "rk4.b"),
        ("bosh3", {"b_err": np.zeros(5)}, "bosh3.b_err"),
        ("dop853", {"b_err3": np.zeros(13)}, "dop853.b_err3"),
        ("dop853", {"c_extra": np.zeros(2)}, "dop853.a_extra"),
        ("dop853", {"a_extra": np.zeros((3, 12))}, "dop853.a_extra"),
        ("dopri5", {"d_dense": np.zeros((1, 6))}, "dopri5.d_dense"),
        ("rk4", {"a": np.eye(4)}, "rk4.a"),
        ("dop853", {"a_extra": np.ones((3, 16))}, "dop853.a"),
        ("bosh3", {"order_err": None}, "bosh3.order_err"),
        ("rk4", {"order_err": 3}, "rk4.order_err"),
    ],
)
def test_disagreeing_shapes_are_refused(name, change, culprit):
    """Wrong shapes, stages that are not explicit, and half an error estimate are refused by name."""
    with pytest.raises(InvalidArgument, match=f"^{culprit}: "):
        replace(tableau(name), **change)
