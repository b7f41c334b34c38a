"""Gradients on steps that are known beforehand: each tile goes up to T and down again before the next one begins.

What a tile's stages leave for their vjps is then still in the cache, and its memory serves the thread's next tile: the
tape is as long as before, but as wide as there are threads. The loss must be one whose cotangent is compiled. Proposed
steps are judged afterwards; where one is rejected, all is thrown away.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.fill import copy
from refnode.kernels.mlp import transpose_weights
from refnode.kernels.records import Record
from refnode.kernels.shared_steps import batch_error, tile_step
from refnode.kernels.steps import first_of, rows_of
from refnode.kernels.sweep import gather, steps_back
from refnode.kernels.workspace import WORK
from refnode.loss import LinearFunctional, SquaredError
from refnode.maps import Identity, Network
from refnode.problem import Problem
from refnode.values import Values

NO_LOSS, SQUARED, LINEAR = range(3)
KINDS = {type(None): NO_LOSS, SquaredError: SQUARED, LinearFunctional: LINEAR}


@dataclass(frozen=True)
class Terminal(Record):
    """A terminal loss, factor |y - data|^2 or factor data . y, of the readout y = z W + b or of y = z, in float64.

    kind      NO_LOSS, SQUARED or LINEAR;  affine    whether there is a readout;  g_q    the running loss's cotangent
    W, b      (d, k), (k,);  data   (b, k);  g_y   room for cotangents of y (tiles, k)
    """

    kind: int
    affine: int
    factor: float
    g_q: float
    W: np.ndarray
    b: np.ndarray
    data: np.ndarray
    g_y: np.ndarray


def terminal_of(problem: Problem, values: Values, tiles: int) -> Terminal | None:
    """The loss of a problem, if it is a terminal one whose cotangent is compiled, or none but along the path."""
    loss, d, batch = problem.loss, problem.model.state_width, problem.batch
    h_y: Any = problem.model.h_y
    affine = type(h_y) is Network and h_y.mlp.depth == 1 and not h_y.mlp.skip
    if loss.observations is not None or type(loss.terminal) not in KINDS or not (affine or type(h_y) is Identity):
        return None
    term, k = loss.terminal, h_y.width(d) if loss.terminal is not None else 0
    kind, factor = KINDS[type(term)], 0.0 if term is None else loss.scale * term.factor(batch)
    key = "terminal", kind, affine, factor, loss.scale, d, k, batch, tiles
    L: Terminal = WORK.record(key, lambda: Terminal(
        kind, int(affine), factor, loss.scale, np.empty((d, k)), np.zeros(k), np.empty((batch, k)), np.empty((tiles, k))
    ))  # fmt: skip
    if term is None:
        return L
    L.data[:] = term.target if kind == SQUARED else term.c
    if affine:
        L.W[:] = values.w_y[: d * k].reshape(d, k)
        L.b[:] = values.w_y[d * k :] if h_y.mlp.bias else 0.0
    return L


@kernel
def terminal_vjp(L, y, d, w, first, m, tile, g):
    """The loss's cotangent g (m, w) of y = [z, q] (m, w), rows of the batch from `first` on."""
    g_y = L.g_y[tile]
    for r in range(m):
        z, row, data = y[r * w : r * w + d], g[r * w : (r + 1) * w], L.data[first + r]
        for j in range(g_y.size):
            out = L.b[j] if L.affine else float(z[j])
            if L.affine:
                for i in range(d):
                    out += z[i] * L.W[i, j]
            g_y[j] = L.factor * (2 * (out - data[j]) if L.kind == SQUARED else data[j])
        for i in range(w):
            total = L.g_q if i == d else 0.0
            if i < d and not L.affine and g_y.size:
                total = g_y[i]
            elif i < d and L.affine:
                for j in range(g_y.size):
                    total += g_y[j] * L.W[i, j]
            row[i] = total


@kernel
def tiles_through(F, V, B, kind, control, piece, tape, scratch, C, L, x, batch, fractions, y0, ends, errors, place):
    """Tiles place, place + places, .. from y0 to T and back; their ends, and the errors of their rows (N or 1, ..)."""
    last, w = len(fractions) - 1, F.w
    for tile in range(place, scratch.t.shape[0], tape.y.shape[0]):
        m = rows_of(scratch, tile, batch)
        copy(y0[tile], tape.y[place, 0])
        for i in range(last):
            s, s_new, there = fractions[i], fractions[i + 1], 0 if i == 0 else B.fsal
            tile_step(F, V, B, kind, control, piece, tape, scratch, x, batch, i, s, s_new, there, tile)
            kept = errors[i * control.adaptive, tile]
            for of in range(kept.shape[0]):
                for r in range(m):
                    before = 0.0 if control.adaptive or i == 0 else kept[of, r]
                    kept[of, r] = before + scratch.errors[tile, of, r]
        copy(tape.y[place, last], ends[tile])
        terminal_vjp(L, ends[tile], F.rates.d, w, first_of(scratch, tile), m, tile, C.g[tile])
        steps_back(F, V, B, kind, piece, tape, scratch, C, x, batch, 0, last, tile)


@kernel
def through(
    loop, F, V, B, kind, control, piece, tape, scratch, C, L, g_still, g_A, x, batch, fractions, y0, ends, errors
):  # fmt: skip
    """All tiles along the steps that end at fractions (N + 1,); tape.err their errors. Whether all can be accepted."""
    useful, good = B.c.size - B.fsal, True
    for i in range(len(fractions) - 1):
        tape.s[i], tape.s_new[i], tape.base[i + 1] = fractions[i], fractions[i + 1], (i + 1) * useful
    transpose_weights(F.rates.net, scratch.theta[0], C.transposed[0])
    each(loop, tape.y.shape[0], tiles_through, (
        F, V, B, kind, control, piece, tape, scratch, C, L, x, batch, fractions, y0, ends, errors,
    ))  # fmt: skip
    for i in range(len(fractions) - 1):
        tape.err[i] = batch_error(B, control, errors[i * control.adaptive], batch, F.w)
        good = good and tape.err[i] <= 1
    if good:
        gather(V, kind, scratch, C, g_still, g_A)
    return good
