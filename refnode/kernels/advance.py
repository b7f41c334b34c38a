"""The forward solve of one segment: the twin of `refnode.integrate.adaptive_steps` and `prescribed_steps`.

`advance` is a loop that can be left and entered again: it returns when the segment is done, when the tape is full, or
when a step fails, with a word that says which.
"""

import math

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.kernels.steps import first_stage, set_theta, step_all
from refnode.kernels.tape import DONE, FULL, NOT_FINITE, TOO_MANY, UNDERFLOW


@kernel
def batch_error(B, control, errors, batch, w):
    """The error norm over all tiles, summed in order."""
    first, second = 0.0, 0.0
    for tile in range(errors.shape[0]):
        if control.worst:
            first, second = larger(first, errors[tile, 0]), larger(second, errors[tile, 1])
        else:
            first, second = first + errors[tile, 0], second + errors[tile, 1]
    count = w if control.worst else batch * w
    err = math.sqrt(first / count)
    if not B.two_errors:
        return err
    total = math.sqrt(err * err + 0.01 * second / count)
    return err * err / total if total != 0 else total


@kernel
def larger(a, b):
    """max that keeps NaN."""
    return b if math.isnan(b) or b > a else a


@kernel
def step_factor(control, err, err_previous):
    """By how much the next step is larger; see `refnode.steps.step_factor`."""
    err = max(err, 1e-10) if math.isfinite(err) else math.inf
    factor = control.safety * err**-control.alpha * max(err_previous, 1e-4) ** control.beta
    factor = min(max(factor, control.min_factor), control.max_factor)
    return factor if err <= 1 else min(factor, 1.0)


@kernel
def advance(by, F, V, B, control, piece, tape, scratch, state, x, batch, fractions):
    """Steps until the segment is done, the tape full, or a step fails: the twin of `adaptive_steps`.

    With control.adaptive = 0 the steps end at `fractions` (N + 1,), else they begin with the first of them.
    """
    varying = V.A.shape[0] > 0
    stages, length = B.c.size, 0.0
    largest = 0.0
    for i in range(batch):
        length = max(length, abs(piece.end[i] - piece.start[i]))
        largest = max(largest, abs(piece.start[i]), abs(piece.end[i]))
    begun = state.whole[7]
    while state.real[0] < 1:
        n, s, ds = state.whole[0], state.real[0], state.real[1]
        if n + 1 >= tape.y.shape[1] or tape.base[n] + 2 * stages > tape.k.shape[1]:
            return FULL
        if control.adaptive and state.whole[2] >= control.max_steps:
            return TOO_MANY
        state.whole[2] += 1
        if control.adaptive:
            s_new = 1.0 if s + 1.01 * ds >= 1 else s + ds
        else:
            s_new = fractions[begun + 1]
        if not state.whole[6]:
            if varying:
                set_theta(V, B, piece, scratch, s, s, 0, 1)
            first_stage(F, piece, tape, scratch, x, batch, n, s)
            state.whole[5] += 1
            state.whole[6] = 1
        if varying:
            set_theta(V, B, piece, scratch, s, s_new, 1, stages)
        step_all(by, F, B, control, piece, tape, scratch, x, batch, n, s, s_new, varying)
        state.whole[5] += stages - 1
        if control.adaptive:
            err = batch_error(B, control, scratch.errors, batch, F.w)
        else:
            err = scratch.errors[:, 0].sum()
            if math.isnan(err):
                state.real[1] = s_new - s
                return NOT_FINITE
        good = err <= 1 and (s_new > s or not control.adaptive)
        if good:
            tape.s[n], tape.s_new[n] = s, s_new
            state.whole[0], state.real[0] = n + 1, s_new
            state.whole[3] += 1
            tape.base[n + 1] = tape.base[n] + (stages - 1 if B.fsal else stages)
            state.whole[6] = B.fsal
            begun += 1
            state.whole[7] = begun
        else:
            state.whole[4] += 1
            if (s_new - s) * length <= 16 * np.spacing(largest):
                state.real[1] = s_new - s
                return NOT_FINITE if not math.isfinite(err) else UNDERFLOW
        if control.adaptive:
            factor = step_factor(control, err, state.real[2])
            if good:
                factor = factor if state.whole[1] else min(factor, 1.0)
                state.real[2] = err
            state.whole[1] = good
            wish = (s_new - s) * factor
            state.real[1] = max(wish, ds) if good and s_new == 1 else wish
    return DONE
