"""The discrete adjoint of steps of each sample's own; their stages are run again from the states on the tape."""

from refnode.kernels.adjoint import hand_times, step_back
from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.mlp import mlp_weights_vjp
from refnode.kernels.own import copy_row, seat
from refnode.kernels.steps import runge_kutta, set_step


@kernel
def pool_back(F, V, B, kind, piece, S, L, scratch, C, x, g, edges, begin, end, pool):
    """Take g (b, w) of a pool's samples over their steps end[i] - 1 .. begin[i]."""
    w, controls, m, waiting, last = F.w, F.controls, 0, edges[pool], edges[pool + 1]
    rows, y, g_rows, g_x = scratch.rows, L.y[pool], C.g[pool], L.g_x[pool]
    while True:
        while m < L.sample.shape[1] and waiting < last:
            if end[waiting] > begin[waiting]:
                seat(F, piece, L, rows, x, pool, m, waiting)
                L.step[pool, m] = end[waiting] - 1
                for j in range(w):
                    g_rows[m * w + j] = g[waiting, j]
                for j in range(controls):
                    g_x[m * controls + j] = 0
                m += 1
            waiting += 1
        if m == 0:
            return
        for r in range(m):
            i, n = L.sample[pool, r], L.step[pool, r]
            rows.s[pool, r], rows.s_new[pool, r] = S.s[i, n], S.s_new[i, n]
            for j in range(w):
                y[r * w + j] = S.y[i, n, j]
        slots, k = L.slots[pool], L.k[pool]
        set_step(rows, pool, m)
        runge_kutta(F, V, B, kind, scratch, pool, m, 0, y, scratch.y_new[pool], L.x[pool], slots, k)
        step_back(F, V, B, kind, scratch, C, pool, m, 0, slots, k, g_x)
        if not kind.by_row:
            useful = B.c.size - B.fsal
            layers, depths = C.layers[pool], C.depths[pool]
            mlp_weights_vjp(F.rates.net, scratch.theta[0], m, useful, slots, layers, depths, C.theta[pool, 0])
        for r in range(m - 1, -1, -1):
            i = L.sample[pool, r]
            hand_times(rows, C, pool, r, i)
            L.step[pool, r] -= 1
            if L.step[pool, r] < begin[i]:
                for j in range(w):
                    g[i, j] = g_rows[r * w + j]
                for j in range(controls):
                    C.x[i * controls + j] += g_x[r * controls + j]
                m -= 1
                seat(F, piece, L, rows, x, pool, r, L.sample[pool, m])
                L.step[pool, r] = L.step[pool, m]
                copy_row(g_rows, m, r, w)
                copy_row(g_x, m, r, controls)


@kernel
def own_back(loop, F, V, B, kind, piece, S, L, scratch, C, x, g, edges, begin, end):
    """`pool_back` of all pools, by this thread or by a loop of all."""
    each(loop, len(edges) - 1, pool_back, (F, V, B, kind, piece, S, L, scratch, C, x, g, edges, begin, end))
