"""theta(t) = sum_j alpha_j psi_j(u(t)), its derivatives in u and alpha; u on the span or on an interval.     (4)-(6)"""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.arrays import flatten, size, unflatten
from refnode.depth import coordinate, coordinate_jvp, coordinate_vjp, with_edges
from refnode.errors import InvalidArgument
from tests.help import EPS, LIBRARY, STEP, assert_adjoint, assert_close, complex_step, normals_like

LEAVES = {"W0": (3, 2), "b0": (2,), "W1": (2, 1)}
VARYING = (None, ("W0",), ("b0", "W1"), ("W0", "b0", "W1"))
BASES = (
    rn.Legendre(3), rn.Chebyshev(3), rn.Monomial(3), rn.Fourier(1), rn.GaussianRBF(3), rn.Hat(4), rn.Hat([0.2, 0.3]),
    rn.PiecewiseConstant(3), rn.Legendre(1),
)  # fmt: skip


# ---------------------------------------------------------------- constant

@pytest.mark.parametrize("u", [np.array(0.3), np.array([0.3, -1.0])], ids=["shared u", "own u"])
def test_constant_theta_is_alpha(u, rng):
    """theta = alpha, dtheta = dalpha whatever du is, and the cotangent of alpha is that of theta, of u nothing."""
    alpha, dalpha, g = rng.standard_normal((3, 10))
    depth = rn.Constant()
    np.testing.assert_array_equal(depth.forward(u, 0, alpha, LEAVES), alpha)
    np.testing.assert_array_equal(depth.jvp(u, 0, alpha, LEAVES, np.ones(u.shape), dalpha), dalpha)
    g_u, g_alpha = depth.vjp(u, 0, alpha, LEAVES, g)
    np.testing.assert_array_equal(g_alpha, g)
    assert not np.any(g_u)


def test_constant_leaves_are_called_theta():
    """The coefficient of the constant depth is theta: leaves are named theta.W0 and have no leading axis."""
    model = rn.NeuralODE(rn.MLP(2, 2), theta=rn.Constant())
    assert dict(model.shapes) == {"theta.W0": (2, 2), "theta.b0": (2,)}
    assert rn.Constant() == rn.Constant()
    assert not len(rn.Constant().breaks)
    assert (rn.Constant().jumps, rn.Constant().learns_edges) == (False, False)


# ---------------------------------------------------------------- Galerkin: names and values

@pytest.mark.parametrize("layers", VARYING, ids=str)
def test_names_and_shapes(layers):
    """Leaves that vary are alpha.* with m in front; the others theta.* as they are, all in the field's order."""
    depth = rn.Galerkin(rn.Legendre(3), layers=layers)
    varying = LEAVES if layers is None else layers
    want = {f"alpha.{n}" if n in varying else f"theta.{n}": (3, *s) if n in varying else s for n, s in LEAVES.items()}
    assert list(depth.shapes(LEAVES).items()) == list(want.items())


def plain_theta(basis, u, cell, alpha, depth):
    """sum_j alpha_j psi_j of one u, leaf by leaf, number by number."""
    leaves, parts = unflatten(alpha, depth.shapes(LEAVES)), []
    psi = basis.psi(np.asarray(u), cell)
    for name, leaf in leaves.items():
        parts.append(leaf if name.startswith("theta") else sum(p * a for p, a in zip(psi, leaf, strict=True)))
    return np.concatenate([np.ravel(part) for part in parts])


class Case:
    """A depth at (u, alpha) in one of its cells, with a direction and a cotangent of theta."""

    def __init__(self, seed, basis, layers, own):
        rng = np.random.default_rng(seed)
        self.depth = rn.Galerkin(basis, layers=layers)
        self.cell = int(rng.integers(len(basis.kinks) + 1))
        ends = [0.0, *basis.kinks, 1.0]
        self.u = np.array(rng.uniform(ends[self.cell], ends[self.cell + 1], 4 if own else ()))
        self.alpha = rng.standard_normal(size(self.depth.shapes(LEAVES)))
        self.args = (self.u, self.alpha)
        self.d = normals_like(rng, self.args)
        self.g = rng.standard_normal((*self.u.shape, 10))
        # psi: LIBRARY and a recurrence of m; the sum over m; then up to 10 leaves' numbers and 4 samples
        self.n = 8 * basis.m + 2 * LIBRARY + 10 + 4

    def forward(self, u, alpha):
        return self.depth.forward(u, self.cell, alpha, LEAVES)

    def jvp(self, d):
        return self.depth.jvp(*self.args[:1], self.cell, self.alpha, LEAVES, *d)

    def vjp(self):
        return self.depth.vjp(self.u, self.cell, self.alpha, LEAVES, self.g)

    def sizes(self, d):
        """sum_j |psi_j| |dalpha_j| + |psi_j'| |alpha_j| |du|; recurrences and cos lose against the largest psi_j."""
        du, dalpha = np.abs(d[0]), np.abs(d[1])
        psi, slope = (np.full(self.depth.basis.m, np.abs(f(self.u, self.cell)).max() + 1) for f in
                      (self.depth.basis.psi, self.depth.basis.slope))  # fmt: skip
        parts, leaves = [], unflatten(np.abs(self.alpha), self.depth.shapes(LEAVES))
        dleaves = unflatten(dalpha, self.depth.shapes(LEAVES))
        for name, leaf in leaves.items():
            dleaf = dleaves[name]
            if name.startswith("theta"):
                parts.append(np.broadcast_to(dleaf.ravel(), (*self.u.shape, dleaf.size)))
            else:
                flat, dflat = leaf.reshape(len(leaf), -1), dleaf.reshape(len(leaf), -1)
                parts.append(psi @ dflat + np.multiply.outer(du, slope @ flat))
        return np.concatenate(parts, axis=-1)


cases = st.builds(
    Case, st.integers(0, 2**32 - 1), st.sampled_from(BASES), st.sampled_from(VARYING), st.booleans()
)  # fmt: skip


@given(cases)
def test_forward_is_the_sum(c):
    """theta is sum_j alpha_j psi_j for the leaves that vary and alpha for the others; (p,) or a row per sample."""
    got = c.forward(*c.args)
    rows = [plain_theta(c.depth.basis, u, c.cell, c.alpha, c.depth) for u in np.ravel(c.u)]
    assert_close(got, np.reshape(rows, got.shape), c.sizes((0 * c.u, c.alpha)), c.n)


@given(cases)
def test_jvp_is_the_complex_step(c):
    """In u and in alpha, together and each alone."""
    for d in (c.d, (c.d[0], 0 * c.d[1]), (0 * c.d[0], c.d[1])):
        assert_close(c.jvp(d), complex_step(c.forward, c.args, d), c.sizes(d), c.n)


@given(cases)
def test_vjp_is_the_complex_step(c):
    """Every number of the cotangents of u and alpha, the latter summed over the samples, is <g, dtheta>."""
    g_u, g_alpha = c.vjp()
    assert (g_u.shape, g_alpha.shape) == (c.u.shape, c.alpha.shape)
    one = (np.ones(c.u.shape), 0 * c.alpha)
    slope, terms = c.g * complex_step(c.forward, c.args, one), np.abs(c.g) * c.sizes(one)
    assert_close(g_u, slope.sum(axis=-1), terms.sum(axis=-1), c.n)
    for k in range(len(c.alpha)):
        unit = (0 * c.u, np.eye(len(c.alpha))[k])
        slope, terms = c.g * complex_step(c.forward, c.args, unit), np.abs(c.g) * c.sizes(unit)
        assert_close(g_alpha[k], slope.sum(), terms.sum(), c.n)


@given(cases)
def test_vjp_is_adjoint_to_jvp(c):
    """<J^T g, d> = <g, J d>."""
    assert_adjoint(c.vjp(), c.jvp, c.d, c.g, c.sizes, c.n + c.alpha.size + c.g.size)


def test_one_layer_alone(rng):
    """With one layer listed only its parameters move with u, and only its coefficients have m rows."""
    depth = rn.Galerkin(rn.Legendre(3), layers=("W1",))
    alpha = rng.standard_normal(size(depth.shapes(LEAVES)))
    early, late = (depth.forward(np.asarray(u), 0, alpha, LEAVES) for u in (0.1, 0.9))
    np.testing.assert_array_equal(early[:8], late[:8])
    assert (early[8:] != late[8:]).all()
    moved = depth.jvp(np.asarray(0.3), 0, alpha, LEAVES, np.asarray(1.0), 0 * alpha)
    assert not moved[:8].any()
    assert moved[8:].all()


# ---------------------------------------------------------------- the start

@pytest.mark.parametrize("layers", VARYING, ids=str)
@pytest.mark.parametrize("basis", [b for b in BASES if not isinstance(b, rn.GaussianRBF)], ids=repr)
def test_init_is_the_fields_own_at_every_depth(basis, layers, rng):
    """theta(u) of the initial coefficients is the field's random parameters, at every u of every cell."""
    depth, leaves = rn.Galerkin(basis, layers=layers), {n: rng.standard_normal(s) for n, s in LEAVES.items()}
    alpha = flatten(depth.init(leaves), depth.shapes(LEAVES))
    ends = [0.0, *basis.kinks, 1.0]
    for cell in range(len(ends) - 1):
        for u in np.linspace(ends[cell], ends[cell + 1], 5):
            theta = depth.forward(np.asarray(u), cell, alpha, LEAVES)
            np.testing.assert_allclose(theta, flatten(leaves, LEAVES), rtol=1e-12)  # least squares on 28 or more nodes


def test_init_of_bells_is_near_the_fields_own(rng):
    """Bells make 1 only nearly: at 5 centres a distance apart, within 2 % in the mean."""
    depth, leaves = rn.Galerkin(rn.GaussianRBF(5)), {n: rng.standard_normal(s) for n, s in LEAVES.items()}
    alpha = flatten(depth.init(leaves), depth.shapes(LEAVES))
    u = np.linspace(0, 1, 101)
    off = depth.forward(u, 0, alpha, LEAVES) / flatten(leaves, LEAVES) - 1
    assert 0 < np.sqrt(np.mean(off**2)) < 0.02


def test_models_start_alive():
    """The model's init has no block of coefficients at zero that a psi could have moved, and its edges are a leaf."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2), theta=rn.Stacked(3))
    params = model.init(np.random.default_rng(0))
    assert set(params) == set(model.shapes)
    np.testing.assert_allclose(params["edges"], [1 / 3, 2 / 3], rtol=EPS)
    for j in range(3):
        np.testing.assert_allclose(params["alpha.W0"][j], params["alpha.W0"][0], rtol=1e-12)
    assert "edges" not in rn.NeuralODE(rn.MLP(2, 2), theta=rn.Stacked(1)).shapes
    assert "edges" not in rn.NeuralODE(rn.MLP(2, 2), theta=rn.Galerkin(rn.PiecewiseConstant(3))).shapes


# ---------------------------------------------------------------- the coordinate

class Ends:
    """A depth as far as the coordinate looks at it."""

    def __init__(self, interval):
        self.interval = interval


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("interval", ["span", (-0.5, 2.0)], ids=str)
def test_coordinate(interval, own, rng):
    """u is 0 and 1 at the interval's ends, straight between; jvp and vjp are its complex step in t, t0 and T."""
    depth, shape = Ends(interval), (3,) if own else ()
    args = tuple(np.array(rng.uniform(*ends, shape)) for ends in ((0, 1), (-0.3, 0.0), (1.2, 1.9)))
    _, t0, T = args
    lo, hi = (t0, T) if interval == "span" else interval
    np.testing.assert_allclose(coordinate(depth, lo + 0.25 * (hi - lo), t0, T), 0.25 * np.ones(shape), rtol=8 * EPS)
    d, g = normals_like(rng, args), rng.standard_normal(shape)
    step = complex_step(lambda *a: coordinate(depth, *a) + 0j, args, d)
    # u and its slopes are quotients of numbers below 5 by a length above 1.2
    np.testing.assert_allclose(coordinate_jvp(depth, *args, *d), step, atol=32 * EPS, rtol=0)
    back = coordinate_vjp(depth, *args, g)
    for k, cotangent in enumerate(back):
        unit = tuple(np.ones(shape) * (j == k) for j in range(3))
        slope = complex_step(lambda *a: coordinate(depth, *a) + 0j, args, unit)
        np.testing.assert_allclose(cotangent + np.zeros(shape), g * slope, atol=64 * EPS, rtol=0)
    assert np.any(back[2]) == (interval == "span")


def test_edges_are_the_leaf_where_learned():
    """A stacked depth's breaks are its leaf `edges`; any other's are those of its basis."""
    leaf = np.array([0.1, 0.2])
    assert with_edges(rn.Stacked(3), leaf) is leaf
    np.testing.assert_array_equal(with_edges(rn.Galerkin(rn.Hat([0.3])), np.zeros(0)), [0.3])


def test_words():
    """Stacked is Galerkin with pieces and learned edges, function space with hats; psi jumps for pieces only."""
    stacked, nodal = rn.Stacked(3, (0.0, 2.0), ("W0",)), rn.FunctionSpace(4, layers=["W0"])
    assert stacked == rn.Galerkin(rn.PiecewiseConstant(3), (0.0, 2.0), ("W0",), learns_edges=True)
    assert nodal == rn.Galerkin(rn.Hat(4), "span", ("W0",))
    assert (stacked.jumps, nodal.jumps, nodal.learns_edges) == (True, False, False)
    assert rn.Galerkin(rn.Legendre(2), [0, 1]).interval == (0.0, 1.0)


# ---------------------------------------------------------------- bad input

F = rn.MLP(2, 2)


class Rows(rn.Legendre):
    """A basis of one's own that puts the functions first, so that m = b rows pass for samples."""

    def psi(self, u, cell=0):
        return super().psi(u).T


@pytest.mark.parametrize("m", [2, 3])
def test_a_basis_of_ones_own_is_tried(m):
    """psi and slope are called with u () and (b,) at the border: what is not (b, m), or not row by row, is named."""
    params = rn.NeuralODE(F, theta=rn.Galerkin(rn.Legendre(m))).init(np.random.default_rng(0))
    was = "another value for u of shape" if m == 3 else r"a result of shape \(2, 3\)"
    with pytest.raises(InvalidArgument, match=rf"^basis\.psi.*: got {was}"):
        rn.Problem(rn.GalNODE(F, Rows(m)), params, np.ones((3, 2)), rn.Loss(rn.SquaredError(np.zeros(2))))


class Kinked(rn.Legendre):
    """A basis of one's own that says it has a kink outside its interval."""

    kinks = np.array([0.5, 1.5])


class WithoutJumps:
    """A depth of one's own that does not say whether theta(t) jumps at its breaks."""

    interval, learns_edges, breaks = "span", False, np.zeros(0)
    shapes = init = forward = jvp = vjp = staticmethod(lambda *args: {})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.Galerkin(5), "basis: got 5; must be a basis, such as rn.Fourier(5)"),
        (lambda: rn.Galerkin(rn.Fourier), "basis: got <class 'refnode.bases.Fourier'>; must be a basis"),
        (lambda: rn.Galerkin(rn.Fourier(1), "time"), "interval: got 'time'; must be 'span' or a pair (lo, hi)"),
        (lambda: rn.Galerkin(rn.Fourier(1), (1.0, 0.0)), "interval: got (1.0, 0.0); must be 'span' or a pair"),
        (lambda: rn.Galerkin(rn.Fourier(1), (1.0, 1.0)), "interval: got (1.0, 1.0); must be 'span' or a pair"),
        (lambda: rn.Galerkin(Kinked(2)), "basis.kinks: got [0.5, 1.5]; must be ascending numbers strictly"),
        (lambda: rn.Galerkin(rn.Fourier(1), (0.0,)), "interval: got shape (1,); must be of shape (2,)"),
        (lambda: rn.Galerkin(rn.Fourier(1), (0.0, np.inf)), "interval: got"),
        (lambda: rn.Galerkin(rn.Fourier(1), 3.0), "interval: got 3.0; must be 'span' or a pair"),
        (lambda: rn.Galerkin(rn.Fourier(1), layers="W0"), "layers: got W0; must be names of leaves"),
        (lambda: rn.Galerkin(rn.Fourier(1), layers=()), "layers: got (); must be names of leaves"),
        (lambda: rn.Galerkin(rn.Fourier(1), layers=(1,)), "layers: got (1,); must be names of leaves"),
        (lambda: rn.Stacked(0), "edges: got 0; must be an integer >= 1"),
        (lambda: rn.FunctionSpace(1), "nodes: got 1; must be an integer >= 2"),
        (
            lambda: rn.NeuralODE(F, theta=rn.Galerkin(rn.Fourier(1), layers=("W0", "W7"))),
            "layers: got unknown leaves ['W7']; must be among the field's, ['W0', 'b0']",
        ),
        (lambda: rn.NeuralODE(F, theta=rn.Fourier(1)), "theta: got Fourier(n=1); must be a depth"),
        (lambda: rn.NeuralODE(F, theta=WithoutJumps()), "theta: got"),
        (lambda: rn.NeuralODE(F, theta=rn.Constant), "theta: got <class 'refnode.depth.Constant'>; must be a depth"),
    ],
)
def test_bad_depths(call, message):
    """A basis, an interval in order, names of leaves the field has: else the message says which is not."""
    with pytest.raises(InvalidArgument, match="^" + re.escape(message)):
        call()


@pytest.mark.parametrize("edges", [[0.6, 0.3], [0.0, 0.5], [0.5, 1.0], [0.4, 0.4], [-0.1, 0.5]], ids=str)
def test_bad_edges(edges):
    """The leaf `edges` ascends strictly inside (0, 1), as its depth's edges do."""
    model = rn.NeuralODE(F, theta=rn.Stacked(3))
    params = model.init(np.random.default_rng(0)) | {"edges": np.array(edges)}
    with pytest.raises(InvalidArgument, match=r"^edges: got .*; must be ascending numbers strictly between 0 and 1$"):
        rn.Problem(model, params, np.zeros((2, 2)), rn.Loss(rn.SquaredError(np.zeros(2))))


def test_complex_numbers_pass(rng):
    """theta of a complex u or alpha is complex, for every basis: the complex step sees the depth."""
    for basis in BASES:
        depth = rn.Galerkin(basis)
        alpha = rng.standard_normal(size(depth.shapes(LEAVES)))
        for cell in range(len(basis.kinks) + 1):
            moved = depth.forward(np.asarray(0.3), cell, alpha + 1j * STEP, LEAVES)
            # d theta / d alpha along ones is sum_j psi_j
            want = basis.psi(np.asarray(0.3), cell).sum()
            np.testing.assert_allclose(moved.imag / STEP, want, rtol=1e-12, atol=1e-12)
