"""The forward solve of one segment: the twin of `refnode.integrate.adaptive_steps` and `prescribed_steps`.

`advance` is a loop that can be left and entered again: it returns when the segment is done, when the tape is full, or
when a step fails, with a word that says which.
"""

import math

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.kernels.shared_steps import batch_error, set_theta, step_all, turn_over
from refnode.kernels.tape import (
    DONE,
    FULL,
    IN_PLACE,
    KEEP_STAGES,
    NOT_FINITE,
    NOWHERE,
    TOO_MANY,
    UNDERFLOW,
)


@kernel
def step_factor(control, err, err_previous):
    """By how much the next step is larger; see `refnode.steps.step_factor`."""
    if not math.isfinite(err):
        return control.min_factor
    grown = -control.alpha * math.log(max(err, 1e-10))
    if control.beta != 0:
        grown += control.beta * math.log(max(err_previous, 1e-4))
    factor = control.safety * math.exp(grown)
    factor = min(max(factor, control.min_factor), control.max_factor)
    return factor if err <= 1 else min(factor, 1.0)


@kernel
def after_step(B, tape, state, n):
    """Where the stages of step n + 1 begin, and where its k_0 is."""
    stages = B.c.size
    if tape.keep == KEEP_STAGES:
        tape.base[n + 1] = tape.base[n] + (stages - 1 if B.fsal else stages)
    else:
        tape.base[n + 1] = 0
        turn_over(tape, stages, B.fsal)
    state.whole[6] = IN_PLACE if B.fsal else NOWHERE


@kernel
def extent(piece, batch):
    """The longest segment of a sample, and the largest |t| at which one begins or ends."""
    length = largest = 0.0
    for i in range(batch):
        length = max(length, abs(piece.end[i] - piece.start[i]))
        largest = max(largest, abs(piece.start[i]), abs(piece.end[i]))
    return length, largest


@kernel
def judge(B, control, piece, tape, state, batch, s, s_new, err):
    """Accept the step from s to s_new, or reject it; its error err chooses the next. DONE, or why there is none."""
    n, ds = state.whole[0], state.real[1]
    if not control.adaptive and math.isnan(err):
        state.real[1] = s_new - s
        return NOT_FINITE
    good = err <= 1 and (s_new > s or not control.adaptive)
    if good:
        tape.s[n], tape.s_new[n], tape.err[n] = s, s_new, err
        state.whole[0], state.real[0] = n + 1, s_new
        state.whole[3] += 1
        state.whole[7] += 1
        after_step(B, tape, state, n)
    else:
        state.whole[4] += 1
        state.whole[8] = 0
        length, largest = extent(piece, batch)
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


@kernel
def advance(loop, F, V, B, kind, control, piece, tape, scratch, state, x, batch, fractions):
    """Steps until the segment is done, the tape full, or a step fails: the twin of `adaptive_steps`.

    With control.adaptive = 0 the steps end at `fractions` (N + 1,); else, while a proposal is followed, these are it.
    """
    stages, word = B.c.size, DONE
    while state.real[0] < 1 and word == DONE:
        n, s, ds = state.whole[0], state.real[0], state.real[1]
        if n + 1 >= len(tape.s) or (tape.keep == KEEP_STAGES and tape.base[n] + 2 * stages > tape.k.shape[1]):
            return FULL
        if control.adaptive and state.whole[2] >= control.max_steps:
            return TOO_MANY
        state.whole[2] += 1
        if control.adaptive and not state.whole[8]:
            s_new = 1.0 if s + 1.01 * ds >= 1 else s + ds
        else:
            s_new = fractions[state.whole[7] + 1]
        first = 0 if state.whole[6] == NOWHERE else 1
        if kind.by_stage:
            set_theta(loop, F, V, B, piece, scratch, s, s_new, first, stages)
        step_all(loop, F, V, B, kind, control, piece, tape, scratch, x, batch, n, s, s_new, first)
        state.whole[5] += stages - first
        state.whole[6] = IN_PLACE
        err = batch_error(B, control, scratch.errors, batch, F.w)
        word = judge(B, control, piece, tape, state, batch, s, s_new, err)
    return word
