"""The maps around the ODE do what equations (7) and (8) say, and their jvp and vjp are the derivatives.   (7)(8)"""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.arrays import size
from refnode.errors import InvalidArgument
from refnode.maps import Network, as_map
from tests.help import assert_adjoint, assert_close, assert_jvp, assert_vjp, mlp_roundings, mlp_sizes, normals_like

NO_DEPTH = np.zeros(())
MLPS = [rn.Linear(3, 2), rn.Linear(3, 4, bias=False), rn.MLP(3, 4, 2, act="sigmoid"), rn.MLP(3, 4, 4, 2, skip=True)]


def draw(mlp, rng, b=3):
    """(w, u) for a map of input width 3, and a cotangent."""
    return (rng.standard_normal(size(mlp.shapes)), rng.standard_normal((b, 3))), rng.standard_normal((b, mlp.width_out))


# ---------------------------------------------------------------- identity and zero augmentation

def test_identity(rng):
    """u, du and g pass through unchanged; there are no parameters."""
    u, du, g = rng.standard_normal((3, 2, 4))
    h, w = rn.Identity(), np.zeros(0)
    np.testing.assert_array_equal(h.forward(w, u), u)
    np.testing.assert_array_equal(h.jvp(w, u, w, du), du)
    g_w, g_u = h.vjp(w, u, g)
    assert g_w.shape == (0,)
    np.testing.assert_array_equal(g_u, g)
    assert (dict(h.shapes), h.init(rng), h.width(7)) == ({}, {}, 7)


@given(b=st.integers(1, 3), i=st.integers(1, 3), extra=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_zero_augmentation(b, i, extra, seed):
    """z = [u, 0], dz = [du, 0], and the cotangent of u is the first part of that of z, all exactly."""
    rng = np.random.default_rng(seed)
    h, w = rn.ZeroAugment(extra), np.zeros(0)
    u, du, g = rng.standard_normal((b, i)), rng.standard_normal((b, i)), rng.standard_normal((b, i + extra))
    nothing = np.zeros((b, extra))
    np.testing.assert_array_equal(h.forward(w, u), np.hstack([u, nothing]))
    np.testing.assert_array_equal(h.jvp(w, u, w, du), np.hstack([du, nothing]))
    g_w, g_u = h.vjp(w, u, g)
    assert g_w.shape == (0,)
    np.testing.assert_array_equal(g_u, g[:, :i])
    assert (dict(h.shapes), h.init(rng), h.width(i)) == ({}, {}, i + extra)


def test_one_zero_unasked():
    """ZeroAugment() adds one dimension."""
    assert rn.ZeroAugment() == rn.ZeroAugment(1)


def test_zero_augmentation_keeps_the_complex_step():
    """Imaginary parts pass through."""
    np.testing.assert_array_equal(rn.ZeroAugment(1).forward(np.zeros(0), np.array([[1j]])), [[1j, 0]])


@pytest.mark.parametrize("extra", [0, -1, 1.0, True, None])
def test_zero_augmentation_refuses(extra):
    """At least one zero, an integer."""
    with pytest.raises(InvalidArgument, match=r"^extra: got .*; must be an integer >= 1$"):
        rn.ZeroAugment(extra)


# ---------------------------------------------------------------- networks

@pytest.mark.parametrize("mlp", MLPS, ids=str)
def test_network_is_its_mlp(mlp, rng):
    """As a map, an MLP has its own leaves, widths, initial values and output, at whatever depth."""
    (w, u), _ = draw(mlp, rng)
    h = Network(mlp)
    np.testing.assert_array_equal(h.forward(w, u), mlp.forward(np.array(0.7), u, w))
    assert dict(h.shapes) == dict(mlp.shapes)
    assert h.width(3) == mlp.width_out
    drawn, want = h.init(np.random.default_rng(3)), mlp.init(np.random.default_rng(3))
    for name, leaf in want.items():
        np.testing.assert_array_equal(drawn[name], leaf)


@pytest.mark.parametrize("mlp", MLPS, ids=str)
def test_network_derivatives(mlp, rng):
    """jvp and vjp are the complex step in w and u, and adjoint to each other."""
    args, g = draw(mlp, rng)
    h, d, n = Network(mlp), normals_like(rng, args), mlp_roundings(mlp) + 3  # a sum over 3 samples

    def jvp(d):
        return h.jvp(*args, *d)

    def sizes(d):
        (w, u), (dw, du) = args, d
        return mlp_sizes(mlp, (NO_DEPTH, u, w, None), (NO_DEPTH, du, dw, None))[1]

    assert_jvp(h.forward, jvp, args, d, sizes, n)
    assert_vjp(h.forward, h.vjp(*args, g), args, g, sizes, n)
    assert_adjoint(h.vjp(*args, g), jvp, d, g, sizes, n + g.size + size(mlp.shapes))


def test_linear_map_by_hand():
    """h(u) = u W0 + b0."""
    u, w = np.array([[1.0, 2], [3, 4]]), np.array([1.0, 10, 0.5])
    assert_close(Network(rn.Linear(2, 1)).forward(w, u), np.array([[21.5], [43.5]]), 44.0, 0)  # small integers: exact


# ---------------------------------------------------------------- partial input, columns

@pytest.mark.parametrize("mlp", MLPS, ids=str)
def test_partial_input_is_the_input_beside_its_network(mlp, rng):
    """[u, g(u)]: the first columns are u itself, the rest and all leaves are those of the network g."""
    (w, u), _ = draw(mlp, rng)
    h = rn.PartialInput(mlp)
    np.testing.assert_array_equal(h.forward(w, u), np.hstack([u, Network(mlp).forward(w, u)]))
    assert (dict(h.shapes), h.width(3)) == (dict(mlp.shapes), 3 + mlp.width_out)
    drawn, want = h.init(np.random.default_rng(3)), mlp.init(np.random.default_rng(3))
    assert all((drawn[name] == leaf).all() for name, leaf in want.items())


@pytest.mark.parametrize("mlp", MLPS, ids=str)
def test_partial_input_derivatives(mlp, rng):
    """jvp and vjp are the complex step in w and u, which u reaches on both ways, and adjoint to each other."""
    args, _ = draw(mlp, rng)
    h, d, n = rn.PartialInput(mlp), normals_like(rng, args), mlp_roundings(mlp) + 4  # 3 samples, and both ways of u
    g = rng.standard_normal((3, 3 + mlp.width_out))

    def jvp(d):
        return h.jvp(*args, *d)

    def sizes(d):
        (w, u), (dw, du) = args, d
        return np.hstack([np.abs(du), mlp_sizes(mlp, (NO_DEPTH, u, w, None), (NO_DEPTH, du, dw, None))[1]])

    assert_jvp(h.forward, jvp, args, d, sizes, n)
    assert_vjp(h.forward, h.vjp(*args, g), args, g, sizes, n)
    assert_adjoint(h.vjp(*args, g), jvp, d, g, sizes, n + g.size + size(mlp.shapes))


@given(start=st.integers(0, 3), more=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_columns(start, more, seed):
    """u[:, start:stop], its change likewise; the cotangent returns to the columns it came from, and others get 0."""
    rng, stop, w = np.random.default_rng(seed), start + more, np.zeros(0)
    h, u, du = rn.Columns(start, stop), *rng.standard_normal((2, 3, 6))
    g = rng.standard_normal((3, more))
    np.testing.assert_array_equal(h.forward(w, u), u[:, start:stop])
    np.testing.assert_array_equal(h.jvp(w, u, w, du), du[:, start:stop])
    g_w, g_u = h.vjp(w, u, g)
    want = np.zeros((3, 6))
    want[:, start:stop] = g
    np.testing.assert_array_equal(g_u, want)
    assert g_w.shape == (0,)
    assert (dict(h.shapes), h.init(rng), h.width(6)) == ({}, {}, more)
    np.testing.assert_array_equal(h.forward(w, 1j * u), 1j * u[:, start:stop])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.Columns(-1, 2), "start: got -1; must be an integer >= 0"),
        (lambda: rn.Columns(0.0, 2), "start: got 0.0; must be an integer >= 0"),
        (lambda: rn.Columns(2, 2), "stop: got 2; must be an integer >= 3"),
        (lambda: rn.Columns(1, True), "stop: got True; must be an integer >= 2"),
        (lambda: rn.Columns(1, 4).width(3), "stop: got 4; must be at most 3, the width of the input"),
        (lambda: rn.PartialInput("linear"), "mlp: got linear; must be an MLP or an rn.Linear"),
        (lambda: rn.PartialInput(rn.ZeroAugment()), "mlp: got ZeroAugment(extra=1); must be an MLP or an rn.Linear"),
        (lambda: rn.PartialInput(rn.MLP(2, 2, time="first")), "time: got first; must be 'none' for an MLP used as h_x"),
        (lambda: rn.PartialInput(rn.Linear(2, 1)).width(3), "widths[0]: got 2; must be 3, the width of the map's"),
    ],
)
def test_bad_columns_and_partial_inputs(call, message):
    """Columns count from 0 and are at least one, within the input; a partial input is a network without depth."""
    with pytest.raises(InvalidArgument, match="^" + re.escape(message)):
        call()


# ---------------------------------------------------------------- what may be a map

class Doubling:
    """A user's map: 2 u."""

    shapes = {}  # noqa: RUF012

    def width(self, i):
        return i

    def init(self, rng):
        return {}

    def forward(self, w, u):
        return 2 * u

    def jvp(self, w, u, dw, du):
        return 2 * du

    def vjp(self, w, u, g):
        return np.zeros(0), 2 * g


def test_what_becomes_a_map():
    """None is the identity, an MLP a network, and an object with a map's members is one."""
    mlp, own, zeros = rn.MLP(2, 3, 2), Doubling(), rn.ZeroAugment(2)
    assert as_map("h_x", None) == rn.Identity()
    assert as_map("h_x", mlp) == Network(mlp)
    assert as_map("h_x", own) is own
    assert as_map("h_x", zeros) is zeros


@pytest.mark.parametrize("h", [3, "identity", np.eye(2), lambda u: u, rn.CosineField(2), rn.ZeroAugment, Doubling])
def test_what_is_no_map(h):
    """Anything else raises and says what it may be, a map's class in place of a map too."""
    allowed = re.escape("None, an MLP, rn.ZeroAugment, rn.PartialInput, rn.Columns, or an object")
    with pytest.raises(InvalidArgument, match=rf"^h_y: got .*; must be {allowed}"):
        as_map("h_y", h)


@pytest.mark.parametrize("time", ["first", "every"])
def test_a_map_has_no_depth(time):
    """An MLP that sees t cannot be a map."""
    with pytest.raises(InvalidArgument, match=rf"^time: got {time}; must be 'none' for an MLP used as h_x or h_y"):
        as_map("h_x", rn.MLP(2, 2, time=time))


@pytest.mark.parametrize("i", [2, 4])
def test_wrong_widths(i):
    """A network takes inputs of its own width only, and says which width it was given."""
    with pytest.raises(InvalidArgument, match=rf"^widths\[0\]: got 3; must be {i}, the width of the map's input$"):
        as_map("h_x", rn.Linear(3, 2)).width(i)
