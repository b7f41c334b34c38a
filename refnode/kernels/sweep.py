"""The discrete adjoint of taped steps that the batch shares: the twin of `refnode.gradients.discrete_adjoint`."""

from refnode.kernels.adjoint import hand_times, step_back
from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.fill import copy, zero
from refnode.kernels.mlp import mlp_weights_vjp, transpose_weights
from refnode.kernels.products import add_product
from refnode.kernels.shared_steps import make_copy, place_of, set_psi
from refnode.kernels.steps import first_of, rows_of, runge_kutta, share_step
from refnode.kernels.systems import copies_of
from refnode.kernels.tape import KEEP_STAGES
from refnode.kernels.theta import COLUMNS, theta_vjp, u_vjp


@kernel
def tile_back(F, V, B, kind, piece, tape, scratch, C, x, batch, first, last, task):
    """Steps last - 1 .. first of one tile. The last comes first: what the forward solve wrote last is in the cache."""
    steps_back(F, V, B, kind, piece, tape, scratch, C, x, batch, first, last, scratch.t.shape[0] - 1 - task)


@kernel
def steps_back(F, V, B, kind, piece, tape, scratch, C, x, batch, first, last, tile):
    """The same of a tile by its number; its stages are run again unless they were kept.

    The layers' cotangents of as many stages as C.layers has room for go into one product with what the tape holds.
    """
    place, room_of = place_of(tape, tile), tile % C.layers.shape[0]
    m, useful = rows_of(scratch, tile, batch), B.c.size - B.fsal
    sample = first_of(scratch, tile)
    x_tile, g_x = x[sample * F.controls :], C.x[sample * F.controls :]
    room, used = C.layers.shape[1], 0
    for n in range(last - 1, first - 1, -1):
        base = tape.base[n]
        share_step(piece, scratch.rows, tile, m, tape.s[n], tape.s_new[n])
        k, slots = tape.k[place, base:], tape.slots[place, base:]
        if tape.keep != KEEP_STAGES:
            y = tape.y[place, n]
            runge_kutta(F, V, B, kind, scratch, tile, m, 0, y, scratch.y_new[tile], x_tile, slots, k)
        if kind.by_stage:
            for i in range(useful):
                zero(C.theta[tile, i])
        used += useful
        block = room - used
        step_back(F, V, B, kind, scratch, C, tile, m, block, slots, k, g_x)
        for r in range(m):
            hand_times(scratch.rows, C, tile, r, sample + r)
        if kind.by_stage:
            for i in range(useful):
                g_theta, at = C.theta[tile, i], block + i
                layers, depths = C.layers[room_of, at:], C.depths[room_of, at:]
                mlp_weights_vjp(F.rates.net, scratch.theta[i], m, 1, slots[i:], layers, depths, g_theta)
            used = 0
        elif not kind.by_row and (used + useful > room or n == first or tape.keep != KEEP_STAGES):
            layers, depths = C.layers[room_of, block:], C.depths[room_of, block:]
            mlp_weights_vjp(F.rates.net, scratch.theta[0], m, used, slots, layers, depths, C.theta[tile, 0])
            used = 0
        elif kind.by_row:
            used = 0


@kernel
def sweep(loop, F, V, B, kind, piece, tape, scratch, C, g_still, g_A, ends, x, batch, first, last):
    """The cotangent from the end of steps first .. last - 1 of a segment to their start; sums over tiles in order.

    ends (4,) gathers what theta(t) gives to the segment's start and end and to t0 and T, if the batch shares theta.
    """
    if not kind.by_stage:
        if not kind.by_row:
            transpose_weights(F.rates.net, scratch.theta[0], C.transposed[0])
        each(loop, tape.y.shape[0], tile_back, (F, V, B, kind, piece, tape, scratch, C, x, batch, first, last))
        gather(V, kind, scratch, C, g_still, g_A)
        return
    (blocks, useful), copies = C.u.shape, copies_of(scratch)
    stages = B.c.size if tape.keep != KEEP_STAGES else useful  # whose theta is asked for
    for n in range(last - 1, first - 1, -1):
        set_psi(V, B, piece, scratch, tape.s[n], tape.s_new[n], 0, stages)
        each(loop, copies, make_copy_back, (F, V, scratch, C, stages))
        each(loop, tape.y.shape[0], tile_back, (F, V, B, kind, piece, tape, scratch, C, x, batch, n, n + 1))
        keep_psi(scratch, C)
        each(loop, blocks, gather_block, (V, C))
        for i in range(useful):
            g_u = 0.0
            for block in range(blocks):
                g_u += C.u[block, i]
            hand_coordinate(V, B, piece, g_u, ends, i, tape.s[n], tape.s_new[n])


@kernel
def make_copy_back(F, V, scratch, C, stages, number):
    """One copy of theta at some stages, whose psi are there, and of their weights transposed, but for FSAL's stage."""
    make_copy(V, scratch, 0, stages, number)
    for i in range(C.psi.shape[0]):
        row = number * scratch.psi.shape[0] + i
        transpose_weights(F.rates.net, scratch.theta[row], C.transposed[row])


@kernel
def keep_psi(scratch, C):
    """psi, behind the 1 of leaves that do not vary, and its slopes in theta's precision."""
    for i in range(C.psi.shape[0]):
        C.psi[i, 0] = 1
        copy(scratch.psi[i], C.psi[i, 1:])
        copy(scratch.slope[i], C.slope[i])


@kernel
def gather_block(V, C, block):
    """Some columns of theta's cotangents at the stages of a step: summed over the tiles, handed to the coefficients.

    C.u[block, i] becomes what they give to u at stage i. All stages at once cost one pass over the coefficients, and
    leaves that do not vary are one more, whose function is 1.
    """
    (rows, p), useful, first, totals = C.depth.shape, C.u.shape[1], block * COLUMNS, C.totals[block]
    psi, slope, u = C.psi.reshape(C.psi.size), C.slope.reshape(C.slope.size), C.u.reshape(C.u.size)
    depth, size = C.depth.reshape(C.depth.size), min(COLUMNS, p - first)
    for i in range(useful):
        total = totals[i * COLUMNS : i * COLUMNS + size]
        copy(C.theta[0, i][first : first + size], total)
        for tile in range(1, C.theta.shape[0]):
            row = C.theta[tile, i][first : first + size]
            for q in range(size):
                total[q] += row[q]
    u_vjp(V, slope, useful, totals, 0, COLUMNS, first, size, C.moving[block], u, block * useful)
    add_product(depth, first, p, psi, 0, 1, rows, totals, 0, COLUMNS, rows, size, useful)


@kernel
def gather(V, kind, scratch, C, g_still, g_A):
    """Hand the tiles' cotangents of theta, or of each row's own, to those of the depth."""
    if not kind.by_row:
        gather_tiles(V, scratch, C, g_still, g_A)
        return
    for tile in range(len(C.still)):
        g_still += C.still[tile]
        g_A += C.A[tile]
        C.still[tile] = 0
        C.A[tile] = 0


@kernel
def gather_tiles(V, scratch, C, g_still, g_A):
    """Sum the cotangent of a segment's theta over the tiles, and hand it to the depth."""
    total = C.theta[0, 0]
    for tile in range(1, C.theta.shape[0]):
        row = C.theta[tile, 0]
        for q in range(total.size):
            total[q] += row[q]
            row[q] = 0
    theta_vjp(V, total, scratch.psi[0], scratch.slope[0], g_still, g_A)
    for q in range(total.size):
        total[q] = 0


@kernel
def hand_coordinate(V, B, piece, g_u, ends, i, s, s_new):
    """What stage i's u gives to the ends of the segment and to those it follows: the twin of `coordinate_vjp`."""
    if g_u == 0:
        return
    start, end, t0, T = piece.start[0], piece.end[0], piece.t0[0], piece.T[0]
    c = float(B.c[i])
    place = s_new if c == 1 else (1 - c) * s + c * s_new  # the stage's fraction of the segment
    if V.follows:
        g_t = g_u / (T - t0)
        u = ((1 - place) * start + place * end - t0) / (T - t0)
        ends[2] -= (1 - u) * g_t
        ends[3] -= u * g_t
    else:
        g_t = g_u / (V.hi - V.lo)
    ends[0] += (1 - place) * g_t
    ends[1] += place * g_t
