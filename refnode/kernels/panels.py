"""A panel of the quadrature adjoint on tiles: the twin of `refnode.gradients.quadrature_adjoint.Panel`.

A panel is a step whose stages stand at the nodes and do not see each other: state and costate are read off their dense
outputs. Kronrod's weights are its b, their difference from Gauss's its b_err.
"""

from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.dense import dense_state
from refnode.kernels.fill import zero
from refnode.kernels.integrals import gather
from refnode.kernels.shared_steps import set_theta
from refnode.kernels.steps import first_of, rows_of, set_times, share_step
from refnode.kernels.systems import evaluate


@kernel
def tile_nodes(F, V, Q, kind, adj, piece, tape, scratch, x, batch, tile):
    """The records of all nodes for one tile."""
    m = rows_of(scratch, tile, batch)
    rows, x_tile = scratch.rows, x[first_of(scratch, tile) * F.controls :]
    share_step(piece, rows, tile, m, tape.s[0], tape.s_new[0])
    t, a, da = scratch.t[tile], scratch.stage[tile], scratch.total[tile]
    for i in range(Q.c.size):
        set_times(rows, tile, Q.c[i], m, t)
        dense_state(adj, rows.start[tile], rows.end[tile], t, tile, 0, m, F.w, a)
        evaluate(F, V, kind, i * kind.by_stage, scratch, tile, m, a, x_tile, tape.slots[tile, i], da)


@kernel
def panel(loop, F, V, Q, kind, adj, piece, tape, scratch, x, batch, I):
    """Kronrod's rule on the panel that stands as a step at the start of the tape, and how far Gauss's is from it."""
    for part in (I.total, I.missed, I.x):
        zero(part.reshape(part.size))
    zero(I.ends.reshape(I.ends.size))
    if kind.by_stage:
        set_theta(loop, F, V, Q, piece, scratch, tape.s[0], tape.s_new[0], 0, Q.c.size)
    each(loop, tape.slots.shape[0], tile_nodes, (F, V, Q, kind, adj, piece, tape, scratch, x, batch))
    gather(loop, F, V, Q, kind, piece, tape, scratch, I, batch)
