"""Every error refnode raises on purpose, each saying what was wrong, where, and what would be right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def describe(value: object) -> str:
    """A short account of a value for a message: arrays by shape and dtype, the rest by repr.

    >>> describe(np.zeros((2, 3)))
    'an array of shape (2, 3), dtype float64'
    """
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return f"an array of shape {value.shape}, dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


class RefnodeError(Exception):
    """Base of all refnode errors. Keeps its constructor arguments, so that it pickles."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidArgument(RefnodeError, ValueError):
    """An argument that is not allowed: names the argument, what it was and what it may be."""

    def __init__(self, argument: str, was: object, allowed: str) -> None:
        self.argument, self.was, self.allowed = argument, was if isinstance(was, str) else describe(was), allowed
        super().__init__(argument, self.was, allowed)

    def __str__(self) -> str:
        return f"{self.argument}: got {self.was}; must be {self.allowed}"


class ProblemFileError(RefnodeError, ValueError):
    """A problem, model or checkpoint file that cannot be read: corrupt, of another version, too large or hostile."""


class BackendUnavailable(RefnodeError, RuntimeError):
    """A backend that this installation cannot run."""


class ProgramFailed(RefnodeError, RuntimeError):
    """A program under test that did not answer: it ended with an error, took too long or wrote no gradient."""


class NotProvable(RefnodeError, ValueError):
    """A problem that an oracle's method does not take, with the reason."""


@dataclass(frozen=True, eq=False)
class Finished:
    """What the samples that came to T gave, k of a batch of b in which others failed: not the batch's loss or gradient.

    samples           their numbers in the batch (k,)
    z_T               z(T) (k, d)
    loss_per_sample   what each adds to the loss, weighted as in the whole batch: a mean divides by b (k,)
    grads             leaf name -> gradient of the sum of these; x, and t0 and T of a sample's own, have k rows.
                      Empty after a solve
    adj_t0            dloss/dz(t0) (k, d); None after a solve
    """

    samples: np.ndarray
    z_T: np.ndarray
    loss_per_sample: np.ndarray
    grads: Mapping[str, np.ndarray]
    adj_t0: np.ndarray | None


class NumericalError(RefnodeError, ArithmeticError):
    """A computation that would have returned a wrong number. Carries where it happened.

    Attributes
    ----------
    t, h : float               depth and step at which it happened (units of depth)
    samples : tuple of int     the samples of the batch concerned
    status : tuple of str      for each sample "done", or the name of the error that it would raise alone; from a card,
                               which takes every sample as far as it comes, else ()
    finished : Finished        what those that are done gave, from a card; None if there are none
    """

    status: tuple[str, ...] = ()
    finished: Finished | None = None

    def __init__(self, message: str, t: float | None = None, h: float | None = None, samples: Sequence[int] = ()):
        self.t, self.h, self.samples = t, h, tuple(int(i) for i in samples)
        super().__init__(message, t, h, self.samples)

    def __str__(self) -> str:
        where = [f"{name} = {v:.17g}" for name, v in (("t", self.t), ("h", self.h)) if v is not None]
        if self.samples:
            shown = ", ".join(map(str, self.samples[:8])) + (", .." if len(self.samples) > 8 else "")
            where.append(f"samples {shown}")
        others = f"; {len(self.finished.samples)} others are done, see .finished" if self.finished is not None else ""
        return str(self.args[0]) + (f" (at {', '.join(where)})" if where else "") + others


class StepUnderflow(NumericalError):
    """The controller asked for a step below the resolution of t."""


class TooManySteps(NumericalError):
    """More steps than Solver.max_steps."""


class NonFiniteState(NumericalError):
    """A state or a field value that is NaN or infinite."""


class UnreliableGradient(NumericalError):
    """A gradient that failed its own check, so it is not returned."""


class NotEnoughDigits(NumericalError):
    """A reference that cannot be had to the digits asked for."""


class TrainingDiverged(RefnodeError, ArithmeticError):
    """A training whose loss is no longer finite or grew beyond its limit.

    Attributes
    ----------
    step : int                 the step that failed
    checkpoint : str or None   the file of the last good parameters
    """

    def __init__(self, message: str, step: int, checkpoint: str | None = None) -> None:
        self.step, self.checkpoint = step, checkpoint
        super().__init__(message, step, checkpoint)

    def __str__(self) -> str:
        kept = f"; the last good parameters are in {self.checkpoint}" if self.checkpoint else ""
        return f"step {self.step}: {self.args[0]}{kept}"
