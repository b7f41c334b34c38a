"""A panel of the quadrature adjoint on tiles: the twin of `refnode.gradients.quadrature_adjoint.Panel`.

A panel is a step whose stages stand at the nodes and do not see each other: state and costate are read off their dense
outputs. Kronrod's weights are its b, their difference from Gauss's its b_err.
"""

from numba import prange
from numba.extending import overload

from refnode.kernels.compiled import inline, kernel
from refnode.kernels.dense import dense_state
from refnode.kernels.integrals import gather
from refnode.kernels.shared_steps import set_theta
from refnode.kernels.steps import rows_of, set_times, tile_rows
from refnode.kernels.systems import evaluate
from refnode.kernels.tape import TILE, OneThread


@kernel
def tile_nodes(S, V, Q, kind, adj, piece, tape, scratch, x, tile, batch):
    """The records of all nodes for one tile."""
    m = rows_of(tile, batch)
    rows, x_tile = tile_rows(piece, scratch, tile, m, tape.s[0], tape.s_new[0]), x[tile * TILE * S.controls :]
    t, a, da = scratch.t[tile], scratch.stage[tile], scratch.total[tile]
    for i in range(Q.c.size):
        set_times(rows, Q.c[i], m, t)
        dense_state(adj, rows.start, rows.end, t, tile, 0, m, S.w, a)
        evaluate(S, V, kind, i * kind.by_stage, scratch, rows, tile, m, a, x_tile, tape.slots[tile, i], da)


@kernel(parallel=True)
def nodes_in_parallel(S, V, Q, kind, adj, piece, tape, scratch, x, batch):
    """The records of all nodes, by all threads."""
    for tile in prange(tape.slots.shape[0]):
        tile_nodes(S, V, Q, kind, adj, piece, tape, scratch, x, tile, batch)


@inline
def nodes_in_series(S, V, Q, kind, adj, piece, tape, scratch, x, batch):
    """The records of all nodes, by this thread."""
    for tile in range(tape.slots.shape[0]):
        tile_nodes(S, V, Q, kind, adj, piece, tape, scratch, x, tile, batch)


def all_nodes(by, S, V, Q, kind, adj, piece, tape, scratch, x, batch):
    """The records of all nodes, by the threads that the type of `by` says."""
    raise NotImplementedError("compiled code only")


@overload(all_nodes, inline="always")
def _all_nodes(by, S, V, Q, kind, adj, piece, tape, scratch, x, batch):
    run = nodes_in_series if by.instance_class is OneThread else nodes_in_parallel

    def implementation(by, S, V, Q, kind, adj, piece, tape, scratch, x, batch):
        run(S, V, Q, kind, adj, piece, tape, scratch, x, batch)

    return implementation


@kernel
def panel(by, S, V, Q, kind, adj, piece, tape, scratch, x, batch, I):
    """Kronrod's rule on the panel that stands as a step at the start of the tape, and how far Gauss's is from it."""
    for part in (I.total, I.missed):
        part[:] = 0.0
    I.x[:], I.ends[:] = 0.0, 0.0
    if kind.by_stage:
        set_theta(S, V, Q, piece, scratch, tape.s[0], tape.s_new[0], 0, Q.c.size)
    all_nodes(by, S, V, Q, kind, adj, piece, tape, scratch, x, batch)
    gather(by, S, V, Q, kind, piece, tape, scratch, I, batch)
