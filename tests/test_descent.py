"""Descent in function space: Gram matrices are integrals, and representers are (df/dtheta)^T a, whatever mesh. (5)"""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

import refnode as rn
from refnode.bases import constant_coefficients
from tests.help import EPS

FIELD = rn.MLP(2, 8, 2)
BASES = [
    rn.Legendre(5), rn.Chebyshev(5), rn.Monomial(4), rn.Fourier(3), rn.GaussianRBF(4), rn.Hat(5), rn.Hat([0.2, 0.7]),
    rn.PiecewiseConstant(3),
]  # fmt: skip
FINE = rn.Solver("dop853", tol=1e-11)


class NodalHats:
    """Hats on m even nodes that do not declare their kinks, so that one RK4 step has its three times on three nodes."""

    def __init__(self, m):
        self.m, self.kinks, self.jumps = m, np.zeros(0), False

    def psi(self, u, cell=0):
        return np.maximum(1 - np.abs(self._from_node(u)), 0)

    def slope(self, u, cell=0):
        away = self._from_node(u)
        return np.where(np.abs(away) < 1, -np.sign(away), 0) * (self.m - 1)

    def _from_node(self, u):
        return np.asarray(u)[..., None] * (self.m - 1) - np.arange(self.m)


def thetas(seed=1):
    """theta at u = 0 and at u = 1, by leaf; theta(t) runs straight between them."""
    rng = np.random.default_rng(seed)
    return [{name: 0.5 * rng.standard_normal(shape) for name, shape in FIELD.shapes.items()} for _ in range(2)]


def make(basis, coefficients, span=(0.0, 1.0), interval=(0.0, 1.0), x=None, ends=None, h_y=None):
    """A problem on four samples whose theta(t) = theta_0 + (theta_1 - theta_0) u; coefficients (m, 2) give 1 and u."""
    rng = np.random.default_rng(0)
    samples, y = rng.standard_normal((2, 4, 2))
    start, end = thetas()
    one, u = np.transpose(coefficients)
    alpha = {
        f"alpha.{name}": np.multiply.outer(one, leaf) + np.multiply.outer(u, end[name] - leaf)
        for name, leaf in start.items()
    }
    model = rn.NeuralODE(FIELD, theta=rn.Galerkin(basis, interval), span=span)
    return rn.Problem(model, alpha, samples if x is None else x, rn.Loss(terminal=rn.SquaredError(y)), ends)


def nodal(m, **words):
    """The problem on m even nodes of rn.FunctionSpace."""
    return make(rn.Hat(m), np.stack([np.ones(m), np.linspace(0, 1, m)], axis=1), **words)


def constant(basis, **words):
    """The problem with theta(t) = theta_0, as nearly as the basis has it."""
    return make(basis, np.stack([constant_coefficients(basis), np.zeros(basis.m)], axis=1), **words)


def flat(leaves):
    """The alpha leaves as one array (m, p)."""
    parts = [leaves[f"alpha.{name}"] for name in FIELD.shapes]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def gain(problem, loss, direction, eta=1e-3):
    """By how much one step against a direction lowers the loss."""
    moved = {name: problem[name] - eta * g for name, g in direction.items() if name.startswith("alpha.")}
    return loss - rn.solve(problem.with_leaves(moved), FINE).loss


def theorem_1(times, straight=True):
    """dloss/dtheta(t) = sum over samples of a(t)^T df/dtheta (K, p) at times inside the span.                     (5)

    z(t) comes from a solve, and a(t) from a problem of its own that starts there: it is that problem's dloss/dz(t0).
    """
    start, end = (np.concatenate([leaf.ravel() for leaf in leaves.values()]) for leaves in thetas())
    line = np.eye(2) if straight else np.array([[1.0, 0.0], [0.0, 0.0]])
    z_at = rn.solve(make(rn.Monomial(2), line), FINE).z
    rows = []
    for t in times:
        z = z_at(t)
        adj = rn.gradient(make(rn.Monomial(2), line, span=(t, 1.0), x=z), "quadrature", FINE).adj_t0
        theta = start + (end - start) * t * straight
        rows.append(FIELD.vjp(np.asarray(t), z, theta, None, adj)[2])
    return np.array(rows)


# ---------------------------------------------------------------- Gram matrices

@pytest.mark.parametrize("span", [(0.25, 1.75), (1.75, 0.25)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("interval", ["span", (0.0, 2.0)], ids=["span", "fixed"])
@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_exact_gram_is_the_integral(basis, interval, span):
    """G_jk = int psi_j psi_k dt between the ends, positive whichever comes first, against scipy's quadrature."""
    problem = constant(basis, span=span, interval=interval)
    lo, hi = span if interval == "span" else interval
    cuts = [c for c in lo + basis.kinks * (hi - lo) if 0.25 < c < 1.75]
    edges = np.sort([0.25, *cuts, 1.75])
    want = np.zeros((basis.m, basis.m))
    for a, b in pairwise(edges):
        cell = int(np.searchsorted(basis.kinks, ((a + b) / 2 - lo) / (hi - lo)))
        for j, k in np.ndindex(want.shape):
            integrand = lambda t, j=j, k=k, cell=cell: np.prod(basis.psi((t - lo) / (hi - lo), cell)[[j, k]])  # noqa: E731
            want[j, k] += quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12)[0]
    got = rn.gram(problem).matrix
    # quad's own tolerance, on at most five pieces
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-12 * np.max(np.abs(want)))


@pytest.mark.parametrize(("method", "order"), [("midpoint", 2), ("rk4", 4)])
def test_the_solves_gram_tends_to_the_integral(method, order):
    """With the nodes and weights of N steps G errs by O(N^-order), the order of the tableau's quadrature."""
    problem = constant(rn.GaussianRBF(3))
    exact = rn.gram(problem).matrix
    off = []
    for n in (8, 16):
        solution = rn.solve(problem, rn.Solver(method, n_steps=n))
        off.append(np.max(np.abs(rn.gram(problem, solution).matrix - exact)))
    # the next term of the error is h^2 = 1/64 smaller, times a ratio of derivatives of order 10
    assert abs(np.log2(off[0] / off[1]) - order) < 0.3


def test_weights_are_positive_backwards():
    """From 1.75 to 0.25 steps are negative and G is not; RK4 integrates products of two hats exactly."""
    problem = nodal(2, span=(1.75, 0.25), interval="span")
    solution = rn.solve(problem, rn.Solver("rk4", n_steps=3))
    # a dozen terms below 1
    want = 1.5 / 6 * np.array([[2, 1], [1, 2]])
    np.testing.assert_allclose(rn.gram(problem, solution).matrix, want, rtol=0, atol=24 * EPS)


def test_condition_of_monomials():
    """Ten monomials: the Hilbert matrix, of condition 1.6025e13; four Legendre polynomials: 1."""
    # the smallest eigenvalue errs by m EPS of the largest, 10 * 2.2e-16 * 1.6e13 = 4 % of itself; G likewise
    assert rn.gram(constant(rn.Monomial(10))).condition == pytest.approx(1.6025e13, rel=0.08)
    assert rn.gram(constant(rn.Legendre(4))).condition == pytest.approx(1, abs=1e-13)


def test_samples_with_ends_of_their_own_share_by_the_mean():
    """Per-sample spans: G is the mean of what each sample gives alone, with the solve's nodes and exactly."""
    ends = (np.zeros(4), np.array([0.3, 0.9, 1.2, 0.7]))
    problem = constant(rn.Hat(3), ends=ends)
    solver = rn.Solver("dopri5", tol=1e-5, steps="own")
    result = rn.gradient(problem, "discrete", solver)
    assert result.stats.grid.ndim == 2
    for quadrature in ("solve", "exact"):
        parts = []
        for i in range(4):
            grid = result.stats.grid[:, i]
            cells = (grid[:-1] + grid[1:]) / 2 > 0.5
            nodes, weights = np.polynomial.legendre.leggauss(4) if quadrature == "exact" else (None, None)
            tableau = solver.tableau
            c, b = (tableau.c, tableau.b) if nodes is None else ((1 + nodes) / 2, weights / 2)
            G = np.zeros((3, 3))
            for t, h, cell in zip(grid[:-1], np.diff(grid), cells, strict=True):
                psi = rn.Hat(3).psi(t + c * h, int(cell))
                G += psi.T @ (h * b[:, None] * psi)
            parts.append(G)
        got = rn.gram(problem, result, quadrature=quadrature).matrix
        # some hundred additions of terms below 1
        np.testing.assert_allclose(got, np.mean(parts, axis=0), rtol=0, atol=500 * EPS)


@pytest.mark.parametrize("method", list(rn.METHODS))
def test_the_quadrature_belongs_to_the_method(method):
    """By itself `gram` takes the solve's nodes for gradients of the computed solution and integrals for the ODE's."""
    problem = nodal(2)
    result = rn.gradient(problem, method, rn.Solver("dopri5", tol=1e-3))
    continuous = method in ("backsolve", "interpolating", "quadrature", "forward_continuous")
    steps = f"on {result.stats.accepted} steps of dopri5"
    assert rn.gram(problem, result).formed == ("exactly" if continuous else steps)
    assert rn.gram(problem).formed == "exactly"


# ---------------------------------------------------------------- representers

def test_representer_is_theorem_1():
    """Legendre's projection of a(t)^T df/dtheta(t), computed from the costate on its own, is the representer.      (5)

    Its coefficients are int psi_j v dt (Corollary 1), here by Gauss's rule over the independent v.
    """
    points, weights = np.polynomial.legendre.leggauss(16)
    t = (1 + points) / 2
    basis = rn.Legendre(4)
    problem = constant(basis)
    want = (basis.psi(t) * weights[:, None] / 2).T @ theorem_1(t, straight=False)
    for method in ("interpolating", "quadrature"):
        got = flat(rn.riesz(problem, rn.gradient(problem, method, FINE)))
        # claimed: tol times some hundred for the O in O(tol)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * np.max(np.abs(want)))


@pytest.mark.parametrize("steps", ["shared", "own"])
@pytest.mark.parametrize("method", ["bosh3", "dopri5", "dop853"])
@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_representer_of_a_parameter_norm_is_theta(basis, method, steps):
    """c |theta(t)|^2, the mean over the batch, has v = 2 c theta(t), which the basis has: r = 2 c alpha.

    The solve's weights are in gradient and Gram matrix alike and leave no trace: by any tableau equal to round-off.
    """
    rng = np.random.default_rng(5)
    model = rn.NeuralODE(FIELD, theta=rn.Galerkin(basis), span=(0.25, 1.5))
    params = {name: rng.standard_normal(shape) for name, shape in model.shapes.items()}
    x = rng.standard_normal((4, 2))
    ends = (0.25, np.array([1.5, 1.0, 2.0, 0.75])) if steps == "own" else None
    problem = rn.Problem(model, params, x, rn.Loss(running=(0.3 * rn.ParameterNorm(),)), ends)
    result = rn.gradient(problem, "discrete", rn.Solver(method, tol=1e-5, steps=steps))
    G = rn.gram(problem, result)
    got, want = flat(rn.riesz(problem, result)), 2 * 0.3 * flat(params)
    # h from the ends of a step errs by EPS t / h, some hundred, where the solve had it from fractions; G^-1 magnifies
    np.testing.assert_allclose(got, want, rtol=0, atol=1000 * EPS * G.condition * np.max(np.abs(want)))


def test_span_length_divides_the_gradient_of_an_orthonormal_basis():
    """The measure is dt: with psi orthonormal in u over a span of length 1.5, r = gradient / 1.5."""
    problem = constant(rn.Legendre(4), span=(2.0, 0.5), interval="span")
    result = rn.gradient(problem, "quadrature", rn.Solver("dopri5", tol=1e-6))
    # G = 1.5 I but for the rounding of its 40 or so terms
    np.testing.assert_allclose(flat(rn.riesz(problem, result)), flat(result.grads) / 1.5, rtol=0, atol=1e-12)


def test_mesh_does_not_matter():
    """On 5, 9 and 17 nodes the representers tend to one function, and one step lowers the loss by as much.

    The plain gradient shrinks with the mesh: each refinement about halves what a step along it gains.
    """
    points, weights = np.polynomial.legendre.leggauss(3)        # exact for squares of parabolas
    t = ((np.arange(16)[:, None] + (1 + points) / 2) / 16).ravel()
    v, w = theorem_1(t), np.tile(weights / 32, 16)
    off, gains, plain_gains = [], [], []
    for m in (5, 9, 17):
        problem = nodal(m)
        result = rn.gradient(problem, "discrete", rn.Solver("rk4", n_steps=64))
        leaves = rn.riesz(problem, result)
        r = np.stack([np.interp(t, np.linspace(0, 1, m), r_j) for r_j in flat(leaves).T], axis=1)
        off.append(np.sqrt((w @ (r - v) ** 2).sum() / (w @ v**2).sum()))
        gains.append(gain(problem, result.loss, leaves))
        plain_gains.append(gain(problem, result.loss, result.grads))
    # lines between nodes leave O(h^2): a quarter each time, the next term is O(h) of it
    assert off[0] < 0.02
    assert off[0] / off[1] == pytest.approx(4, rel=0.15)
    assert off[1] / off[2] == pytest.approx(4, rel=0.08)
    # a projection: |v|^2 - |Pv|^2 = |v - Pv|^2, so the gains differ by off^2, and by off^2 eta of what is curved
    assert gains[0] == pytest.approx(gains[2], rel=1.1 * off[0] ** 2)
    assert gains[1] == pytest.approx(gains[2], rel=1.1 * off[1] ** 2)
    # g_j = v / (m - 1), half at the ends: the sum of squares is v^2 (m - 1.5) / (m - 1)^2 for a level v
    level = [(m - 1.5) / (m - 1) ** 2 for m in (5, 9, 17)]
    assert plain_gains[1] / plain_gains[0] == pytest.approx(level[1] / level[0], abs=0.05)
    assert plain_gains[2] / plain_gains[1] == pytest.approx(level[2] / level[1], abs=0.05)


def test_nodal_gradients_oscillate_and_representers_do_not():
    """theta at the stage times of RK4: gradients over the nodes' distance swing by 1 : 2 however fine the mesh.

    Simpson's weights h (1/6, 4/6, 1/6) over nodes h/2 apart leave 1/3, 4/3, 2/3, 4/3, .., 1/3 of a(t)^T df/dtheta.
    With the Gram matrix of the same nodes the representer tends to it; the exact mass matrix takes out other weights,
    and errs by 107 % on two cells and 100 % in the limit, as for a level function: 0, 2, 0 instead of 1, 1, 1.

    Source   Xu, Chen, Li, Wright 2023, arXiv 2306.02192.
    """
    off, swing, off_mass = [], [], []
    for n in (1, 2, 4, 8):
        m = 2 * n + 1
        problem = make(NodalHats(m), np.stack([np.ones(m), np.linspace(0, 1, m)], axis=1))
        result = rn.gradient(problem, "discrete", rn.Solver("rk4", n_steps=n))
        v = theorem_1(np.linspace(0, 1, m)[1:-1])
        size = np.max(np.abs(v))
        plain = flat(result.grads)[1:-1] * (m - 1)
        swing.append(np.max(np.abs(plain - v)) / size)
        off.append(np.max(np.abs(flat(rn.riesz(problem, result))[1:-1] - v)) / size)
        mass = rn.gram(nodal(m))
        off_mass.append(np.max(np.abs(mass.solve(flat(result.grads))[1:-1] - v)) / size)
    # 1/3 but for what the stages' costates err by, seen in `off`: h^2 in the limit, at order 1.5 at least here
    assert all(abs(s - 1 / 3) <= 4 / 3 * o for s, o in zip(swing, off, strict=True))
    assert off[0] < 0.05
    assert off[-1] < off[0] / 2 ** (1.5 * 3)
    assert off_mass[0] == pytest.approx(1.07, abs=0.01)              # as seen
    assert off_mass[-1] == pytest.approx(1, abs=0.02)


def test_one_rk4_step_over_two_hat_cells():
    """Its nodes give the Gram matrix diag(1, 4, 1) / 6; the exact one is [[2, 1, 0], [1, 4, 1], [0, 1, 2]] / 12."""
    problem = make(NodalHats(3), np.stack([np.ones(3), np.linspace(0, 1, 3)], axis=1))
    solution = rn.solve(problem, rn.Solver("rk4", n_steps=1))
    np.testing.assert_allclose(rn.gram(problem, solution).matrix, np.diag([1, 4, 1]) / 6, rtol=0, atol=4 * EPS)
    mass = rn.gram(nodal(3))
    np.testing.assert_allclose(mass.matrix, np.array([[2, 1, 0], [1, 4, 1], [0, 1, 2]]) / 12, rtol=0, atol=32 * EPS)
    np.testing.assert_allclose(mass.solve(np.array([1.0, 4.0, 1.0]) / 6), [0, 2, 0], rtol=0, atol=1e-13)


def test_only_alpha_is_changed():
    """theta of layers that do not vary, the learned edges, x and T are plain numbers: their gradients stay."""
    model = rn.NeuralODE(FIELD, theta=rn.Stacked([0.2], layers=("W1", "b1")))
    x = np.ones((2, 2))
    rng = np.random.default_rng(3)
    problem = rn.Problem(model, model.init(rng), x, rn.Loss(terminal=rn.SquaredError(0 * x)))
    result = rn.gradient(problem, "discrete", rn.Solver("dopri5", tol=1e-5))
    leaves = rn.riesz(problem, result)
    assert list(leaves) == list(result.grads)
    for name, g in result.grads.items():
        over = np.reshape([0.2, 0.8], (2, *[1] * (g.ndim - 1))) if name.startswith("alpha.") else 1.0
        # lengths of the pieces, up to the rounding of the steps' sum
        np.testing.assert_allclose(leaves[name], g / over, rtol=1e-13)
    assert {"theta.W0", "edges", "x", "T"} < set(leaves)


# ---------------------------------------------------------------- refusals

@pytest.mark.parametrize(
    ("basis", "solver", "steps"),
    [
        (rn.Legendre(4), rn.Solver("rk4", n_steps=1), "1 step of rk4"),             # three times for four functions
        (rn.Legendre(6), rn.Solver("dopri5", n_steps=1), "1 step of dopri5"),       # five times, one with b < 0
        (rn.Hat(4), rn.Solver("euler", n_steps=3), "3 steps of euler"),             # the last node is never a time
    ],
)
def test_too_few_steps_are_refused(basis, solver, steps):
    """A basis with more functions than the steps have times raises, naming steps and basis; exact integrals do not."""
    problem = constant(basis)
    result = rn.gradient(problem, "discrete", solver)
    with pytest.raises(rn.UnreliableGradient, match=steps) as caught:
        rn.riesz(problem, result)
    assert repr(basis) in str(caught.value)
    assert rn.riesz(problem, result, quadrature="exact").keys() == result.grads.keys()


def test_negative_weights_on_few_steps_are_refused():
    """dopri5's b_5 < 0 gives an indefinite G for a function that lives at c_5 = 8/9 alone."""
    problem = constant(rn.GaussianRBF(10, width=0.02))
    solution = rn.solve(problem, rn.Solver("dopri5", n_steps=1))
    G = rn.gram(problem, solution)
    assert np.linalg.eigvalsh(G.matrix)[0] < -0.1
    with pytest.raises(rn.UnreliableGradient, match="indefinite"):
        G.solve(np.ones(10))


def test_functions_that_no_sample_meets_are_refused():
    """Hats on [0, 2] for a span of [0, 1]: the last is never seen, so G is singular and says so."""
    problem = constant(rn.Hat(5), interval=(0.0, 2.0))
    assert np.isinf(rn.gram(problem).condition)
    with pytest.raises(rn.UnreliableGradient, match="exactly"):
        rn.riesz(problem, rn.gradient(problem, "quadrature", rn.Solver("dopri5", tol=1e-5)))


def test_what_makes_no_sense_is_refused():
    """A constant theta has no basis, a result of another span no nodes here, and hidden kinks do not converge."""
    plain = rn.NeuralODE(FIELD)
    x = np.ones((1, 2))
    no_basis = rn.Problem(plain, plain.init(np.random.default_rng(0)), x, rn.Loss(terminal=rn.SquaredError(x)))
    solution = rn.solve(nodal(3), rn.Solver("rk4", n_steps=4))
    for call in (
        lambda: rn.gram(no_basis),
        lambda: rn.gram("problem"),
        lambda: rn.gram(nodal(3, span=(0.0, 0.9)), solution),
        lambda: rn.gram(nodal(3), quadrature="solve"),
        lambda: rn.gram(nodal(3), solution, quadrature="gauss"),
        lambda: rn.gram(nodal(3), 3),
        lambda: rn.riesz(nodal(3), solution),
    ):
        with pytest.raises(rn.InvalidArgument):
            call()
    hidden = make(NodalHats(4), np.stack([np.ones(4), np.linspace(0, 1, 4)], axis=1))
    with pytest.raises(rn.UnreliableGradient, match="kinks"):
        rn.gram(hidden)
