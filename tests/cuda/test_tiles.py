"""Tiles of trajectories: the story's states, whatever the widths; every barrier is needed; bounds on machine code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.forward import Grid, replay
from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.solve import uniform
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_solve import refusal, solve_tiles
from tests.cuda.launch import on_cpu, prepared
from validation.ptx.assemble import assemble
from validation.ptx.mutate import barriers, with_number_for
from validation.ptx.parse import parse
from validation.ptx.run import Fault, Program

pytestmark = pytest.mark.slow
RK4, DOPRI5 = rn.Solver("rk4", n_steps=2), rn.Solver("dopri5", n_steps=1)


def wide(batch, *widths, theta=None, seed=0, time="every", act="tanh", **words):
    """A problem with running losses and an observation in between."""
    rng = np.random.default_rng(seed)
    depth = {} if theta is None else {"theta": theta}
    model = rn.NeuralODE(rn.MLP(*widths, time=time, act=act), span=(0.25, 1.35), **depth, **words)
    params = {n: rng.standard_normal(shape) / np.sqrt(max(4, shape[-2])) if len(shape) > 1 else
              0.3 * rng.standard_normal(shape) for n, shape in model.shapes.items()}  # fmt: skip
    if len(model.edges):
        params["edges"] = model.edges
    d = model.state_width
    seen = rn.observe([0.6], rng.standard_normal((1, batch, d)))
    loss = rn.Loss(rn.SquaredError(np.zeros((batch, d))), seen, (0.1 * rn.Kinetic(), 0.3 * rn.SquaredNorm()))
    return rn.Problem(model, params, rng.standard_normal((batch, 2)), loss)


CASES = {
    "64 x 64": (lambda: wide(70, 2, 64, 64, 2), RK4, "float32"),
    "128, tiles of 32 in float64": (lambda: wide(33, 2, 128, 128, 2, time="none"), RK4, "float64"),
    "ragged widths": (lambda: wide(3, 2, 37, 21, 50, 2), DOPRI5, "float32"),
    "theta(t), order 2": (
        lambda: wide(5, 4, 40, 33, 2, theta=rn.Galerkin(rn.Fourier(1)), order=2, init="position"), RK4, "float64"
    ),
    "control, stacked": (lambda: wide(5, 4, 40, 2, theta=rn.Stacked(2), control="x"), RK4, "float64"),
}  # fmt: skip
# of the largest state: roundings of 8 to 16 evaluations of up to 128-term sums, and tanh to 3 ulp
ROUNDINGS = {"float64": 1e-13, "float32": 1e-13 * 2.0**29}


@pytest.mark.parametrize("name", CASES)
def test_states_are_the_storys(name):
    """At every bound; the same bits in another order of threads."""
    make, solver, dtype = CASES[name]
    p = make()
    assert refusal(p) == ""
    grid = uniform(p, solver)
    got, again = (solve_tiles(p, solver, on_cpu(order), np.dtype(dtype).type, grid, "stages") for order in (0, 4))
    want = replay(p, p.resolved, Grid(tuple(grid)), solver.tableau)
    for mine, other, true in zip(got.forward.at_bounds, again.forward.at_bounds, want, strict=True):
        np.testing.assert_allclose(mine, true, rtol=0, atol=ROUNDINGS[dtype] * np.abs(true).max())
        np.testing.assert_array_equal(mine, other)
    assert (got.stopped == -1).all()


def test_one_that_fails_does_not_poison_its_tile():
    """A trajectory that overflows ends as NaN with its step; the others in the tile have the bits they have without."""
    p = wide(5, 2, 40, 2)
    x = np.array(p.x)
    x[2] = 3e38
    far = rn.Problem(p.model, p.params, x, p.loss)
    a, b = (solve_tiles(q, RK4, on_cpu(), np.float32, uniform(q, RK4)) for q in (p, far))
    alone = np.array([0, 1, 3, 4])
    np.testing.assert_array_equal(a.forward.at_bounds[-1][alone], b.forward.at_bounds[-1][alone])
    assert np.isnan(b.forward.at_bounds[-1][2]).all()
    assert b.stopped[2] == 0
    assert (b.stopped[alone] == -1).all()


def launched():
    """What the tiles of two layers were launched with."""
    seen = []
    p = wide(70, 2, 24, 20, 2)
    solve_tiles(p, RK4, lambda *words: (seen.append(words), on_cpu()(*words)), np.float32, uniform(p, RK4))
    return seen[0]


def test_every_barrier_is_needed():
    """Each one removed is a race or a read of what nobody wrote; so are threads that take each other for themselves."""
    build, shape, blocks, threads, arguments = launched()
    kernel = parse(ptx(build, shape, (9, 0)))
    Program(kernel).launch(blocks, threads, prepared(build, arguments))
    assert len(barriers(kernel)) >= 4
    for line in barriers(kernel):
        with pytest.raises(Fault) as caught:
            Program(kernel).launch(blocks, threads, prepared(build, arguments), removed=line)
        assert caught.value.kind in ("race", "uninitialised"), line
    with pytest.raises(Fault, match="race"):
        Program(with_number_for(kernel, "%tid.x", 0)).launch(blocks, threads, prepared(build, arguments))


@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("shape", [
    TileShape("float32", 2, (64, 64, 2)), TileShape("float32", 2, (128, 128, 2)), TileShape("float64", 2, (64, 64, 2)),
], ids=["64", "128", "float64"])  # fmt: skip
def test_machine_code(shape, architecture):
    """No spills, at most 48 KB; in float32 no float64, and 64 multiplications for four loads in the inner loop."""
    machine = assemble(ptx(tile_forward, shape, architecture))
    assert machine.spills == 0
    assert machine.shared <= 48 * 1024
    if shape.dtype == "float32":
        assert machine.mix()["FP64"] == 0
        assert machine.registers <= 128
        loops = [a for a in machine.loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in machine.loops)]
        inner = max((machine.mix(*loop) for loop in loops), key=lambda mix: mix["FFMA"])
        assert inner["FFMA"] >= 16 * inner["shared"]
        assert inner["all"] <= 1.17 * inner["FFMA"]
