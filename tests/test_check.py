"""check_field passes right fields, finds every planted fault, and says where it is and what it should be."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.arrays import size, unflatten
from refnode.errors import InvalidArgument
from refnode.layers import ACTIVATIONS

COMPLEX, DIFFERENCES = "complex step", "differences"
B, D, N = 3, 2, 2
SHAPES = {"W": (D, D), "C": (N, D), "k": ()}


class Right:
    """f = sin(t) (z W) + k z^2 + x C: a field whose every derivative is written out, for tests to break one by one."""

    shapes, width_out = SHAPES, D

    def width_in(self):
        return D + N

    def forward(self, t, z, theta, x):
        w = unflatten(theta, SHAPES)
        return self.wave(t) * (z @ w["W"]) + w["k"] * z**2 + x @ w["C"]

    def jvp(self, t, z, theta, x, dt, dz, dtheta, dx):
        w, dw = unflatten(theta, SHAPES), unflatten(dtheta, SHAPES)
        through_t = np.reshape(np.cos(t) * dt, (-1, 1)) * (z @ w["W"])
        through_z = self.wave(t) * (dz @ w["W"]) + 2 * w["k"] * z * dz
        through_theta = self.wave(t) * (z @ dw["W"]) + dw["k"] * z**2 + x @ dw["C"]
        return through_t + through_z + through_theta + dx @ w["C"]

    def vjp(self, t, z, theta, x, g):
        w, s = unflatten(theta, SHAPES), self.wave(t)
        g_t = (np.reshape(np.cos(t), (-1, 1)) * (z @ w["W"]) * g).sum(axis=1)
        g_z = s * (g @ w["W"].T) + 2 * w["k"] * z * g
        g_theta = np.concatenate([(z.T @ (s * g)).ravel(), (x.T @ g).ravel(), [(z**2 * g).sum()]])
        return g_t, g_z, g_theta, g @ w["C"].T

    def wave(self, t):
        return np.reshape(np.sin(t), (-1, 1))


T, THETA = np.array([0.3, 0.7, -1.1]), np.array([1.0, -2.0, 0.5, 3.0, 0.25, 1.5, -1.0, 2.0, 0.75])
Z = np.array([[1.0, 0.5], [-0.75, 2.0], [0.25, -1.5]])
X = np.array([[0.5, -1.0], [2.0, 0.25], [1.0, 1.0]])


def check(field, t=T, **how):
    """The report on a field at the point above."""
    return rn.check_field(field, t, Z, THETA, X, **how)


def changed(method, change):
    """Right, with the result of a method changed: change(result, *arguments) -> result."""

    def wrapped(self, *arguments):
        return change(getattr(Right, method)(self, *arguments), *arguments)

    return type("Changed", (Right,), {method: wrapped})()


# ---------------------------------------------------------------- right fields pass

@pytest.mark.parametrize("t", [T, np.array(0.3), 0.3, 1], ids=["own t", "shared t", "float", "int"])
def test_a_right_field_passes(t):
    """With the complex step as witness, within its limit, at own and shared t."""
    report = check(Right(), t)
    assert report.ok, report
    assert (report.witness, report.tol) == (COMPLEX, 1e-10)
    assert report.error < 1e-14 * 10  # entries are sums of three products of numbers below 10
    assert report.worst.startswith(("jvp: d f[", "vjp: "))
    assert "agree with forward by complex step" in str(report)


@given(
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    act=st.sampled_from(sorted(ACTIVATIONS)),
    time=st.sampled_from(["none", "first", "every"]),
    skip=st.booleans(),
    control=st.integers(0, 2),
    own_t=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_networks_pass(widths, act, time, skip, control, own_t, seed):
    """Every MLP of refnode passes, whatever its structure, with theta flat or as leaves."""
    rng = np.random.default_rng(seed)
    f = rn.MLP(2 + control, *widths, act=act, time=time, skip=skip)
    leaves = {name: rng.standard_normal(shape) for name, shape in f.shapes.items()}
    z, t = rng.standard_normal((2, 2)), rng.standard_normal(2 if own_t else ())
    x = rng.standard_normal((2, control)) if control else None
    report = rn.check_field(f, t, z, leaves, x)
    assert report.ok, report
    assert report.witness == COMPLEX
    flat = np.concatenate([leaf.ravel() for leaf in leaves.values()])
    assert rn.check_field(f, t, z, flat, x) == report


def test_cosine_field_passes(rng):
    """A field without control and with a single leaf."""
    report = rn.check_field(rn.CosineField(2), 0.3, rng.standard_normal((3, 2)), {"k": rng.standard_normal(2)})
    assert report.ok, report


def test_a_kink_is_no_contradiction():
    """A ReLU network at its kink passes by the complex step: its slope there is 0 by definition."""
    f = rn.MLP(2, 3, 2, act="relu")
    report = rn.check_field(f, 0.0, np.zeros((2, 2)), {**f.init(np.random.default_rng(0)), "b0": np.zeros(3)})
    assert report.ok, report
    assert report.witness == COMPLEX


def test_a_field_without_parameters_passes():
    """theta may be empty, as an array and as a mapping."""
    decay = rn.UserField(
        forward=lambda t, z, theta, x: -z,
        jvp=lambda t, z, theta, x, dt, dz, dtheta, dx: -dz,
        vjp=lambda t, z, theta, x, g: (np.zeros(len(z)), -g, np.zeros(0), None),
        shapes={},
        width=2,
    )
    for theta in ({}, [], np.zeros(0)):
        assert rn.check_field(decay, 0.0, Z, theta).ok


# ---------------------------------------------------------------- wrong derivatives are found

def add_jvp(term):
    """A change of df: term(t, z, theta, x, dt, dz, dtheta, dx) added to it."""
    return lambda df, *arguments: df + term(*arguments)


def through_t(t, z, theta, x, dt, dz, dtheta, dx):
    """The jvp's term in dt."""
    return np.reshape(np.cos(t) * dt, (-1, 1)) * (z @ matrix(theta))


def matrix(theta, leaf="W"):
    """W or C."""
    return unflatten(theta, SHAPES)[leaf]


def transposed(t, theta, v):
    """What W^T in place of W changes in sin(t) v W."""
    return np.reshape(np.sin(t), (-1, 1)) * (v @ (matrix(theta).T - matrix(theta)))


WRONG_JVP = {
    "sign flip of all": (lambda df, *a: -df, r"jvp: d f\["),
    "missing term in t": (add_jvp(lambda *a: -through_t(*a)), r"/ d t$"),
    "sign flip in t": (add_jvp(lambda *a: -2 * through_t(*a)), r"/ d t$"),
    "transposed weight": (add_jvp(lambda t, z, theta, x, dt, dz, *a: transposed(t, theta, dz)), r"/ d z\[:, [01]\]$"),
    "missing term in z": (add_jvp(lambda t, z, theta, x, dt, dz, *a: -2 * theta[8] * z * dz), r"/ d z\[:, [01]\]$"),
    "missing term in theta": (add_jvp(lambda t, z, theta, x, dt, dz, dtheta, dx: -dtheta[8] * z**2), r"/ d theta\.k$"),
    "wrong leaf": (add_jvp(lambda t, z, theta, x, dt, dz, dtheta, dx: dtheta[5] * z), r"/ d theta\.C\[0, 1\]$"),
    "missing control": (
        add_jvp(lambda t, z, theta, x, dt, dz, dtheta, dx: -dx @ matrix(theta, "C")),
        r"/ d x\[:, [01]\]$",
    ),
    "mixed samples in z": (
        add_jvp(lambda t, z, theta, x, dt, dz, *a: theta[8] * (dz[::-1] - dz)),
        r"/ d z\[:, [01]\]$",
    ),
    "mixed samples in x": (
        add_jvp(lambda t, z, theta, x, dt, dz, dtheta, dx: dx.mean(axis=0) - dx),
        r"/ d x\[:, [01]\]$",
    ),
    "mixed samples in t": (add_jvp(lambda t, z, theta, x, dt, *a: (dt.mean() - dt)[:, None]), r"/ d t$"),
    "NaN": (lambda df, *a: df * np.nan, r"jvp: d f\[0, 0\]"),
    "one sample only": (lambda df, *a: df * np.array([[1.0], [1.0], [1.001]]), r"jvp: d f\[2, [01]\]"),
}


def part(which, change):
    """A change of one cotangent of (t, z, theta, x): change(cotangent, t, z, theta, x, g) in its place."""

    def changed_back(back, *arguments):
        return (*back[:which], change(back[which], *arguments), *back[which + 1 :])

    return changed_back


def swapped(g_theta, *arguments):
    """W's cotangent transposed."""
    return np.concatenate([g_theta[[0, 2, 1, 3]], g_theta[4:]])


def without(k):
    """One number of theta's cotangent forgotten."""
    return part(2, lambda g_theta, *arguments: np.where(np.arange(9) == k, 0.0, g_theta))


WRONG_VJP = {
    "sign flip of t": (part(0, lambda c, *a: -c), r"vjp: d f\[:, [01]\] / d t, sample \[[012]\]$"),
    "missing t": (part(0, lambda c, *a: 0 * c), r"/ d t, sample \[[012]\]$"),
    "transposed weight": (
        part(1, lambda c, t, z, theta, x, g: c - transposed(t, theta, g)),
        r"/ d z\[:, [01]\], sample",
    ),
    "missing term in z": (
        part(1, lambda c, t, z, theta, x, g: c - 2 * theta[8] * z * g),
        r"/ d z\[:, [01]\], sample",
    ),
    "missing control": (part(3, lambda c, *a: 0 * c), r"/ d x\[:, [01]\], sample"),
    "transposed cotangent of W": (part(2, swapped), r"/ d theta\.W\[(0, 1|1, 0)\]$"),
    "missing number of theta": (without(8), r"vjp: weighted sum over samples of d f\[:, [01]\] / d theta\.k$"),
    "missing entry of a leaf": (without(5), r"d f\[:, 1\] / d theta\.C\[0, 1\]$"),
    "mixed samples in z": (part(1, lambda c, *a: c[::-1]), r"/ d z\[:, [01]\], sample"),
    "mixed samples in x": (part(3, lambda c, *a: c.mean(axis=0) + 0 * c), r"/ d x\[:, [01]\], sample"),
    "mixed samples in t": (part(0, lambda c, *a: c.mean() + 0 * c), r"/ d t, sample"),
    "mean over the batch": (part(2, lambda c, *a: c / 3), r"d theta\.[WCk]"),
    "NaN": (part(1, lambda c, *a: c * np.nan), r"/ d z\[:, 0\], sample \[0\]"),
}


@pytest.mark.parametrize("fault", WRONG_JVP)
def test_wrong_jvp(fault):
    """A wrong jvp is reported, as such and with the entry where it is wrong."""
    change, where = WRONG_JVP[fault]
    assert_found(check(changed("jvp", change)), "jvp: ", where)


@pytest.mark.parametrize("fault", WRONG_VJP)
def test_wrong_vjp(fault):
    """A wrong vjp is reported, as such and with the entry where it is wrong."""
    change, where = WRONG_VJP[fault]
    assert_found(check(changed("vjp", change)), "vjp: ", where)


def assert_found(report, method, where):
    """The report disagrees, in this method at this place, with a value there that is not what it should be."""
    assert not report.ok
    assert not report.error <= report.tol
    assert report.worst.startswith(method), report
    assert re.search(where, report.worst), report
    assert report.got != report.want
    assert report.witness == COMPLEX
    assert "DISAGREE with forward" in str(report)
    assert report.worst in str(report)
    assert f"got {report.got:.17g}, should be {report.want:.17g}" in str(report)


def test_got_and_want():
    """The report has the number that the field gave and the one that it should have given."""
    field = changed("jvp", lambda df, t, z, theta, x, dt, dz, dtheta, dx: df + 7 * dtheta[8])
    report = check(field)
    k = re.fullmatch(r"jvp: d f\[(\d), (\d)\] / d theta\.k", report.worst)
    want = Z[int(k[1]), int(k[2])] ** 2  # df/dk = z^2
    assert abs(report.want - want) <= 1e-15 * 4
    assert abs(report.got - (want + 7)) <= 1e-14
    assert abs(report.error - 7 / 4) <= 1e-14  # the largest derivative in theta is 2^2, of k too


def test_the_limit():
    """An error below the limit passes, one above does not, and the limit can be set."""
    slight = changed("jvp", lambda df, *a: df * (1 + 1e-9))
    assert not check(slight).ok
    report = check(slight, tol=1e-8)
    assert report.ok
    assert report.tol == 1e-8
    assert 0.9e-9 < report.error < 1.1e-9


# ---------------------------------------------------------------- forward that is not complex-safe

def unsafe(kind):
    """f = |z| + theta z, with right derivatives, and one thing that the complex step does not survive."""

    def absolute(z):
        if kind == "abs":
            return np.abs(z)
        if kind == "float":
            return np.array([[math.fabs(float(v)) for v in row] for row in z])
        if kind == "cast":
            out = np.zeros(z.shape)
            out[:] = z * np.where(np.real(z) > 0, 1, -1)
            return out
        if kind == "real":
            return np.abs(np.real(z))
        return np.sqrt(z * np.conj(z)).real

    return rn.UserField(
        forward=lambda t, z, theta, x: absolute(z) + theta * z,
        jvp=lambda t, z, theta, x, dt, dz, dtheta, dx: (np.sign(z) + theta) * dz + dtheta * z,
        vjp=lambda t, z, theta, x, g: (np.zeros(len(z)), (np.sign(z) + theta) * g, (z * g).sum(axis=0), None),
        shapes={"k": (2,)},
        width=2,
    )


@pytest.mark.parametrize("kind", ["abs", "float", "cast", "real", "conj"])
def test_a_forward_that_is_not_complex_safe_is_checked_by_differences(kind):
    """Right derivatives pass by differences, although the complex step of this forward is wrong, or raises or warns."""
    report = rn.check_field(unsafe(kind), 0.0, Z, THETA[:2])
    assert report.ok, report
    assert (report.witness, report.tol) == (DIFFERENCES, 1e-6)


@pytest.mark.parametrize("kind", ["abs", "float", "cast", "real", "conj"])
def test_wrong_derivatives_of_such_a_forward_are_found(kind):
    """Derivatives that drop the very term that the complex step drops are found by differences."""
    right = unsafe(kind)
    wrong = rn.UserField(
        forward=right.forward,
        jvp=lambda t, z, theta, x, dt, dz, dtheta, dx: theta * dz + dtheta * z,
        vjp=lambda t, z, theta, x, g: (np.zeros(len(z)), theta * g, (z * g).sum(axis=0), None),
        shapes=right.shapes,
        width=2,
    )
    report = rn.check_field(wrong, 0.0, Z, THETA[:2])
    assert not report.ok
    assert report.witness == DIFFERENCES
    assert re.search(r"/ d z\[:, [01]\]", report.worst)
    assert abs(abs(report.got - report.want) - 1) < 1e-6  # |z|' = +-1 is missing


# ---------------------------------------------------------------- what raises

@pytest.mark.parametrize(
    ("name", "mixed"),
    [
        ("z", lambda t, z, theta, x: z - z.mean(axis=0)),
        ("z", lambda t, z, theta, x: np.cumsum(z, axis=0)),
        ("z", lambda t, z, theta, x: np.cumsum(z[::-1], axis=0)[::-1]),
        ("x", lambda t, z, theta, x: z + x.mean(axis=0)),
        ("x", lambda t, z, theta, x: z + np.roll(x, 1, axis=0)),
        ("t", lambda t, z, theta, x: z * np.mean(t)),
    ],
    ids=["mean of z", "sum from the first", "sum from the last", "mean of x", "x of the next", "mean of t"],
)
def test_samples_that_see_each_other(name, mixed):
    """A forward in which any sample sees another's z, x or t raises, whatever its jvp and vjp say."""
    field = changed("forward", lambda f, t, z, theta, x: mixed(t, z, theta, x))
    with pytest.raises(InvalidArgument, match=rf"^field\.forward: got samples that depend on each other's {name};"):
        check(field)


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("forward", lambda f, *a: f[:, :1], r"field\.forward: got a result of shape \(3, 1\); .* \(3, 2\)"),
        ("forward", lambda f, *a: f.T, r"field\.forward: got a result of shape \(2, 3\)"),
        ("forward", lambda f, *a: None, r"field\.forward: got a result of shape \(\)"),
        ("jvp", lambda df, *a: df.sum(axis=1), r"field\.jvp: got a result of shape \(3,\); .* \(3, 2\)"),
        ("vjp", lambda back, *a: (back[0].sum(), *back[1:]), r"field\.vjp \(t\): .*shape \(\); .* \(3,\)"),
        ("vjp", lambda back, *a: (back[0], back[1].T, *back[2:]), r"field\.vjp \(z\): .*\(2, 3\); .* \(3, 2\)"),
        ("vjp", lambda back, *a: (*back[:2], back[2][:-1], back[3]), r"field\.vjp \(theta\): .*\(8,\); .* \(9,\)"),
        ("vjp", lambda back, *a: (*back[:2], np.ones((3, 9)), back[3]), r"field\.vjp \(theta\): .*\(3, 9\); .* \(9,\)"),
        ("vjp", lambda back, *a: (*back[:3], None), r"field\.vjp \(x\): got a result of shape \(\); .* \(3, 2\)"),
        ("vjp", lambda back, *a: back[:3], r"field\.vjp: got tuple of 3; must be a tuple of 4"),
        ("vjp", lambda back, *a: back[0], r"field\.vjp: got ndarray; must be a tuple of 4"),
    ],
)
def test_wrong_shapes(method, change, message):
    """A result of the wrong shape, or not of four parts, raises and names the method and both shapes."""
    with pytest.raises(InvalidArgument, match=f"^{message}"):
        check(changed(method, change))


def failing(*arguments):
    """A method that fails."""
    raise AttributeError("no such thing")


@pytest.mark.parametrize("method", ["forward", "jvp", "vjp"])
def test_methods_that_raise(method):
    """An exception inside a method becomes InvalidArgument with its name and message, and is its cause."""
    field = type("Failing", (Right,), {method: failing})()
    message = rf"^field\.{method}: got AttributeError: no such thing; must be a function that runs on these arguments$"
    with pytest.raises(InvalidArgument, match=message) as caught:
        check(field)
    assert isinstance(caught.value.__cause__, AttributeError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": Z[:1]}, r"z: got shape \(1, 2\); must be of shape \(b, i\) with b >= 2"),
        ({"z": Z[0]}, r"z: got shape \(2,\); must be of shape \(any, any\)"),
        ({"z": Z.astype(np.float32)}, r"z: got dtype float32"),
        ({"z": Z * np.nan}, r"z: got .*NaN"),
        ({"t": np.zeros(2)}, r"t: got shape \(2,\); must be of shape \(3,\)"),
        ({"x": X[:2]}, r"x: got shape \(2, 2\); must be of shape \(3, any\)"),
        ({"theta": THETA[:-1]}, r"theta: got shape \(8,\); must be of shape \(9,\)"),
        ({"theta": {"W": np.eye(2), "C": np.eye(2)}}, r"theta: got leaves \['W', 'C'\]; must be the "),
        ({"theta": {"W": np.ones(4), "C": np.ones((2, 2)), "k": 1.0}}, r"theta\.W: got shape \(4,\)"),
        ({"field": Right}, r"field: got <class .*; must be a field"),
        ({"field": None}, r"field: got None; must be a field; it lacks shapes, width_out, forward, jvp, vjp"),
        ({"tol": 0.0}, r"tol: got 0\.0; must be a finite number > 0"),
    ],
)
def test_arguments(change, message):
    """Arguments are checked by name; one sample is too few to see samples mixed up."""
    arguments = {"field": Right(), "t": T, "z": Z, "theta": THETA, "x": X} | change
    with pytest.raises(InvalidArgument, match=f"^{message}"):
        rn.check_field(**arguments)


def test_the_field_of_these_tests_has_all_numbers():
    """theta above has one number for every entry of the leaves, none of them zero."""
    assert THETA.shape == (size(SHAPES),)
    assert THETA.all()
