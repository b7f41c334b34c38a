"""theta(t) where trajectories stand at depths of their own, by their spans or their steps: the story's gradients."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from numba import cuda, from_dtype, uint64, void

import refnode as rn
from refnode.kernels.cuda import problem as threads
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.backsolve import backsolve
from refnode.kernels.cuda.compile import array_of
from refnode.kernels.cuda.continuous import backsolve_adjoint
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.own import own
from refnode.kernels.cuda.psi import family_of, numbers_of, psi_of
from refnode.kernels.cuda.shape import Shape, U
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.whole import refusal
from tests.cuda.cases import RK4, problem
from tests.cuda.launch import WRITTEN, OnCpu
from tests.cuda.proof import assert_every_barrier_is_needed, assert_machine_code, assert_ranges
from tests.cuda.test_backsolve import assert_close
from tests.cuda.test_tiles import wide

OWN, SHARED = rn.Solver("dopri5", tol=1e-4, steps="own"), rn.Solver("dopri5", tol=1e-4)
WRITTEN["rows_of_psi"] = (2,)


@dataclass(frozen=True)
class Row:
    """What a row of psi is compiled for."""

    dtype: str
    functions: str
    basis: int

    @property
    def network(self):
        return self

    @property
    def real(self):
        return np.dtype(self.dtype).type

    @property
    def columns(self):
        return 2 * self.basis + 3


def rows_of_psi(S):
    """The kernel that leaves psi, psi' and what moves u of every trajectory (b, columns)."""
    psi_at, scalar, columns, width = psi_of(S, slopes=True), from_dtype(np.dtype(S.dtype)), U(S.columns), S.columns

    def kernel(table, t, rows):
        i, row = uint64(cuda.grid(1)), cuda.local.array(width, scalar)
        if i < uint64(t.shape[0]):
            psi_at(table, U(0), i, t[i], row)
            for q in range(columns):
                rows[i, q] = row[q]

    two = array_of(S.real, 2)
    return kernel, void(two, array_of(S.real, 1), two)


BASES = (
    (rn.Fourier(2), 0), (rn.Legendre(5), 0), (rn.Chebyshev(4), 0), (rn.Monomial(4), 0), (rn.GaussianRBF(3), 0),
    (rn.GaussianRBF(1, 0.4), 0), (rn.Hat((0.2, 0.7)), 1),
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("basis", "cell"), BASES, ids=lambda x: type(x).__name__ if not isinstance(x, int) else "")
def test_psi_of_a_trajectory(basis, cell, dtype):
    """psi and psi' are the basis's at u of each one's span, beyond its ends, too; u moves with t, t0 and T."""
    b, real = 20, np.dtype(dtype).type
    start, end = np.linspace(0.5, -0.5, b), np.linspace(1.0, 3.0, b)
    u = np.linspace(-0.1, 1.1, b)
    numbers = np.broadcast_to(numbers_of(basis, cell).reshape(-1, 1), (3 * basis.m, b))
    rows = np.empty((b, 2 * basis.m + 3), real)
    table, t = np.vstack([start, 1 / (end - start), numbers]).astype(real), (start + u * (end - start)).astype(real)
    OnCpu().launch(rows_of_psi, Row(dtype, family_of(basis), basis.m), 1, 64, (table, t, rows))
    by_t = 1 / (end - start)
    want = np.hstack([
        basis.psi(u, cell), basis.slope(u, cell), by_t[:, None], ((u - 1) * by_t)[:, None], (-u * by_t)[:, None]
    ])  # fmt: skip
    # u is off by four roundings of its numbers up to 3; psi and psi' have slopes of no more than 500
    room = 500 * 16 * np.finfo(real).eps
    np.testing.assert_allclose(rows, want, rtol=0, atol=room)


def spread(p, **words):
    """Samples whose spans differ: each has a t0 and a T of its own."""
    span = np.linspace(0.1, 0.3, p.batch), np.linspace(0.8, 1.4, p.batch)
    return rn.Problem(p.model, p.params, p.x, kept(p.loss, **words), span=span)


def learned(p):
    """The same by adaptive depth, of a T that a network chooses."""
    model = replace(p.model, span=(0.25, rn.AdaptiveDepth(rn.MLP(2, 3, 1))))
    rng = np.random.default_rng(1)
    more = {name: rng.standard_normal(shape) for name, shape in model.shapes.items() if name not in p.params}
    return rn.Problem(model, p.params | more, p.x, kept(p.loss, observed=False))


def kept(loss, observed=True, running=True):
    """A loss, or a part of it."""
    return rn.Loss(loss.terminal, loss.observations if observed else None, loss.running if running else (), loss.scale)


def of_order_2(batch, depth):
    """With data control and t in every layer; the loss at the end alone."""
    p = problem(batch, 5, depth, inputs=6, control="x", order=2, init="position", time="every")
    return rn.Problem(p.model, p.params, p.x, kept(p.loss, running=False))


def tile(batch, depth):
    """A network of two hidden layers of odd widths, t in every layer."""
    p = wide(batch, 2, 21, 13, 2, theta=depth)
    return rn.Problem(p.model, p.params, p.x, kept(p.loss, running=False))


BOTH = {"discrete": discrete_adjoint, "backsolve": backsolve_adjoint}
LOOSE = {"discrete": {}, "backsolve": {"check": False}}     # any weights: z need not come back
SOME = ("W0", "b1")                                 # leaves that vary, beside others that do not
# name: (problem, solver, dtype, methods); 70 trajectories are two blocks, the last one ragged
CASES = {
    "spans": (lambda: spread(problem(70, 5, rn.Galerkin(rn.Fourier(1), layers=SOME))), RK4, "float32", BOTH),
    "own": (lambda: of_order_2(5, rn.Galerkin(rn.Legendre(3))), OWN, "float64", BOTH),
    "shared": (
        lambda: spread(problem(5, 5, rn.Galerkin(rn.Hat(3), (0.0, 2.0))), observed=False), SHARED, "float64",
        ("discrete",),
    ),                                              # with a kink that some samples never pass
    "tiles": (lambda: learned(tile(35, rn.Galerkin(rn.GaussianRBF(2), (0.0, 2.0)))), RK4, "float32", ("discrete",)),
    "own in tiles": (lambda: tile(35, rn.Galerkin(rn.Legendre(2), layers=SOME)), OWN, "float64", BOTH),
}  # fmt: skip


@pytest.mark.parametrize("name", [n if n == "spans" else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_gradients_are_the_storys(name):
    """theta, x, and t0 and T by theta'(t): on given grids to rounding, by steps that are chosen to a part in a million
    of the tolerance; the same bits in another order of threads. Machine code is held to the gates, but
    for that of 40 numbers a neuron in float64, which registers do not hold for a theta(t) that all share either.
    """
    make, solver, dtype, methods = CASES[name]
    p, real = make(), np.dtype(dtype).type
    assert refusal(p, solver) == ""
    for method in methods:
        device, other = OnCpu(remember=True), OnCpu(order=3)
        got, again = (BOTH[method](p, solver, on, real, **LOOSE[method]) for on in (device, other))
        for build, shape in {launch[:2] for launch in device.launches if name != "own"}:
            assert_machine_code(build, shape, (9, 0))
        want = rn.gradient(p, method, solver, backend="numpy", **LOOSE[method])
        if solver.adaptive:                         # grids differ by 1e-6, their gradients by as much of the tolerance
            magnitude = rn.gradient(p, "discrete", solver, backend="numpy").magnitude
            for leaf, g in want.grads.items():
                room = 1e-6 * solver.rtol * max(1.0, float(np.max(magnitude[leaf], initial=0.0)))
                assert np.max(np.abs(got.grads[leaf] - g), initial=0.0) <= room, leaf
        else:
            assert_close(got.grads, want.grads, p, solver, dtype)
        for leaf, g in got.grads.items():
            np.testing.assert_array_equal(again.grads[leaf], g, err_msg=leaf)


def test_a_basis_without_a_family_is_refused():
    """By name: torchdyn's, which the CPU's kernels refuse as well."""
    p = problem(3, 4, rn.Galerkin(rn.TorchdynFourier(2), (0.0, 1.0)))
    assert refusal(p, RK4) == ""
    assert refusal(p, OWN) == "TorchdynFourier at depths that differ between samples is not compiled"


def test_what_shared_memory_does_not_hold_is_refused():
    """Nine functions for each weight of 32 neurons."""
    p = problem(3, 32, rn.Galerkin(rn.Fourier(4)))
    assert "shared memory" in threads.refusal(p, RK4)


@pytest.fixture(scope="module")
def launches():
    """What the kernels were launched with, by name and shape."""
    found = {}
    for name, methods in (("spans", ("discrete", "backsolve")), ("own", ("discrete",))):
        make, solver, dtype, _ = CASES[name]
        device = OnCpu(remember=True)
        for method in methods:
            BOTH[method](make(), solver, device, np.dtype(dtype).type, **LOOSE[method])
        found |= {launch[0].__name__: launch for launch in device.launches if name == "spans" or launch[0] is own}
    return found


# arguments that are there for tapes, errors, running losses and costates alone
UNUSED = {"forward": (11, 12), "gradient": (), "backsolve": (12, 14, 15), "own": (6, 7)}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNUSED)
def test_broken_kernels_are_found(launches, name):
    """Without a barrier, with threads that take each other for themselves, with arrays too short."""
    assert_every_barrier_is_needed(launches[name])
    rooms = {k: len(launches[name][4][k]) - 1 for k in ((12, 13) if name == "own" else ())}    # most is to spare
    assert_ranges(launches[name], UNUSED[name], rooms | ({16: 2} if name == "gradient" else {}))    # all but the last


WIDE = {"d": 2, "hidden": 32, "out": 2, "tableau": "dopri5", "own": True}
WAVES = Shape("float32", **WIDE, basis=3, keep="states", functions="waves")
TILE = TileShape(
    "float32", 2, (64, 64, 2), timed=(True,) * 3, basis=3, tableau="dopri5", keep="states", own=True, functions="waves"
)  # fmt: skip
BELLS = Shape("float64", **WIDE, basis=2, keep="states", functions="bells")
DOWN = Costate("float32", **WIDE, basis=3, functions="waves", estimates=True)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "shape", "registers"), [
    (own, WAVES, 168), (gradient, WAVES, 168), (backsolve, DOWN, 232), (gradient, BELLS, 255),
    (tile_gradient, TILE, 255),
], ids=lambda x: x.__name__ if callable(x) else "")  # fmt: skip
def test_machine_code(build, shape, registers):
    """No spills, at most 48 KB of shared memory, no atomics; no float64 in float32; registers for enough warps."""
    assert assert_machine_code(build, shape, (8, 0)).registers <= registers
