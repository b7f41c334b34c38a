"""`fit`: the training loop. Every step draws its data from a generator of its own, so any step can be the first."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refnode.api import gradient
from refnode.arrays import Array, Shapes, count, flag, flatten, positive, unflatten
from refnode.backend import Backend, DType
from refnode.depth import Galerkin
from refnode.descent import riesz as riesz_of
from refnode.errors import InvalidArgument, NumericalError, TrainingDiverged, describe
from refnode.gradients import MethodName
from refnode.gradients.result import GradientResult
from refnode.model import Model
from refnode.model_file import save_model
from refnode.problem import Problem
from refnode.proposal import hand_on as solver_after
from refnode.solver import Proposal, Solver
from refnode.train.batches import Sample
from refnode.train.book import Book
from refnode.train.checkpoint import COLUMNS, Checkpoint, State, check_settings, load_checkpoint
from refnode.train.lbfgs import LBFGS, leg
from refnode.train.optimisers import AdamW, Optimiser
from refnode.train.progress import Report, bar

CHECKPOINT = "checkpoint.json"


@dataclass(frozen=True, eq=False)
class Run:
    """A training that ended.

    model      Model
    params     every leaf by its full name
    history    loss, nfe, nfe_backward and seconds of every step, (steps,) each; the loss is that before the step, of
               L-BFGS that after it
    seed       from which every step draws its own random numbers
    done       whether the optimiser found nothing more to gain (L-BFGS)
    """

    model: Model
    params: dict[str, Array]
    history: dict[str, Array]
    seed: int
    done: bool

    def save(self, path: str | Path) -> None:
        """Write model and parameters to one file (see `refnode.model_file`)."""
        save_model(self.model, self.params, path)


def fit(
    problem: Problem,
    sample: Sample | None = None,
    method: MethodName = "discrete",
    solver: Solver = Solver(),
    optimiser: Optimiser | LBFGS = AdamW(),
    *,
    steps: int,
    rng: np.random.Generator,
    out: str | Path | None = None,
    resume: bool = False,
    every: int = 100,
    riesz: bool = False,
    hand_on: bool = False,
    frozen: Sequence[str] = (),
    limit: float = 1e4,
    show: bool | None = None,
    backend: Backend = "auto",
    dtype: DType = "float64",
    **options: Any,
) -> Run:
    """Train a model: descend along the gradient of the loss, a batch a step.

    Parameters
    ----------
    problem     the model, its first parameters, and data and loss of the kind that every step has
    sample      sample(rng, k) -> x, loss of step k; None: the problem's own, every step
    method      gradient method, its options behind; solver, backend and dtype as in `rn.gradient`
    optimiser   rn.SGD, rn.Adam, rn.AdamW or your own; rn.LBFGS, on the whole batch only
    steps       how many in all, those before a resumption included
    rng         one number is drawn from it, the run's seed. A resumed run has its own, in the checkpoint
    out         a folder, made if it is not there, for checkpoint.json: written after every so many steps (`every`), at
                the end and at Ctrl-C
    resume      go on from the checkpoint in `out`, if there is one: bit for bit as if nothing had happened
    riesz       descend in function space: G^-1 dloss/dalpha for the coefficients of theta(t) (`rn.riesz`)
    hand_on     hand the accepted steps of a batch on to the next, whose solve tries first what they propose
                (`rn.hand_on`): fewer evaluations, for solvers with a tolerance whose steps the batch shares
    frozen      leaves that are not trained
    limit       the loss may exceed that of the first step by so many times max(1, |it|)
    show        a progress bar; None: if stderr is a terminal

    Raises
    ------
    TrainingDiverged    for a loss, gradient or state that is not finite, a solve that fails, or a loss beyond the
                        limit; the last good parameters are in the checkpoint
    InvalidArgument     for a setting that differs from the run that is resumed
    """
    shapes = _trained(problem, frozen)
    settings = {
        "method": str(method), "solver": _in_words(solver), "optimiser": repr(optimiser),
        "riesz": str(flag("riesz", riesz)), "backend": backend, "dtype": dtype,
        "options": repr(sorted(options.items())), "trained": repr(dict(shapes)),
        "sample": "drawn" if sample else "whole batch", "hand_on": str(flag("hand_on", hand_on)),
    }  # fmt: skip
    if isinstance(optimiser, LBFGS) and sample is not None:
        raise InvalidArgument("sample", describe(sample), "None with rn.LBFGS: a line search needs one loss")
    if riesz and not isinstance(problem.model.depth, Galerkin):
        raise InvalidArgument("riesz", True, "False: theta(t) of this model has no basis")
    if hand_on:
        _check_hand_on(solver, optimiser, backend)
    numerics: dict[str, Any] = {"method": method, "backend": backend, "dtype": dtype, **options}
    training = Training(problem, sample, optimiser, solver, numerics, riesz, hand_on, shapes, positive("limit", limit))
    start = _start(training, rng, settings, _folder(out), resume)
    return _run(training, start, settings, count("steps", steps), count("every", every), _folder(out), show)


@dataclass(frozen=True, eq=False)
class Training:
    """What all steps of a training share."""

    problem: Problem
    sample: Sample | None
    optimiser: Any
    solver: Solver
    numerics: dict[str, Any]
    riesz: bool
    hand_on: bool
    shapes: Shapes
    limit: float

    def at(self, params: Mapping[str, Array], seed: int, k: int) -> Problem:
        """The problem of step k."""
        x, loss = self.problem.x, self.problem.loss
        if self.sample is not None:
            x, loss = self.sample(np.random.default_rng([seed, k]), k)
        return self.problem.with_data(params, x, loss)

    def gradient(self, problem: Problem, proposal: Proposal | None = None) -> tuple[GradientResult, Array]:
        """The result, and the gradient to descend along (p,)."""
        solver = self.solver
        if proposal is not None and len(proposal) == len(problem.layout.cells):  # learned ends may pass break-points
            solver = replace(solver, proposal=proposal)
        result = gradient(problem, solver=solver, **self.numerics)
        grads = riesz_of(problem, result) if self.riesz else result.grads
        g = flatten(grads, self.shapes)
        if not (np.isfinite(result.loss) and np.isfinite(g).all()):
            raise NumericalError("the loss or its gradient is not finite")
        return result, g

    def with_trained(self, params: Mapping[str, Array], w: Array) -> dict[str, Array]:
        """The parameters with the trained ones replaced by w (p,)."""
        if not np.isfinite(w).all():
            raise NumericalError("a parameter is no longer finite")
        return dict(params) | {name: leaf.copy() for name, leaf in unflatten(w, self.shapes).items()}


def _run(
    training: Training, start: Checkpoint, settings: dict[str, str], steps: int, every: int, out: Path | None,
    show: bool | None,
) -> Run:  # fmt: skip
    """Step until done, keeping checkpoints."""
    book, state, good, seed = Book(start.history, training.limit), start.state, start.state, start.seed
    advance = _leg if isinstance(training.optimiser, LBFGS) else _step

    def keep(state: State) -> str | None:
        if out is None:
            return None
        Checkpoint(settings, seed, state, book.history(state.step)).save(out / CHECKPOINT)
        return str(out / CHECKPOINT)

    with bar(steps, state.step, show) as report:
        try:
            while state.step < steps and not state.done:
                good, state = state, advance(training, state, seed, steps, book, report)
                if state.step // every > good.step // every or state.step >= steps or state.done:
                    keep(state)
        except KeyboardInterrupt:
            keep(state)
            raise
        except NumericalError as error:  # good is the last state whose loss is known to be finite
            raise TrainingDiverged(str(error), state.step, keep(good) if good is not state else None) from error
    return Run(training.problem.model, dict(state.params), book.history(state.step), seed, state.done)


def _step(training: Training, state: State, seed: int, steps: int, book: Book, report: Report) -> State:
    """One step of an optimiser that takes any batch."""
    start, k = time.perf_counter(), state.step
    result, g = training.gradient(_checked(training, state, seed), state.proposal)
    w, slots = training.optimiser.step(k, flatten(state.params, training.shapes), g, state.slots)
    params = training.with_trained(state.params, w)
    report(k + 1, *book.enter(k, result, time.perf_counter() - start))
    proposal = solver_after(result).proposal if training.hand_on else None
    return State(k + 1, params, slots, proposal=proposal)


def _checked(training: Training, state: State, seed: int) -> Problem:
    """The problem of the step; edges that have passed each other are a divergence."""
    try:
        return training.at(state.params, seed, state.step)
    except InvalidArgument as error:
        if error.argument == "edges" and state.step:
            raise NumericalError(f"the edges are no longer in order: {error.was}") from error
        raise


def _leg(training: Training, state: State, seed: int, steps: int, book: Book, report: Report) -> State:
    """One leg of L-BFGS."""
    seen: dict[str, Any] = {"k": state.step, "start": time.perf_counter(), "params": state.params, "nfe": 0, "back": 0}

    def loss_and_gradient(w: Array) -> tuple[float, Array]:
        params = training.with_trained(state.params, w)
        result, g = training.gradient(_checked(training, replace(state, params=params), seed))
        nfe, back = seen["nfe"] + result.stats.nfe, seen["back"] + result.stats.nfe_backward
        seen.update(nfe=nfe, back=back, last=replace(result, stats=replace(result.stats, nfe=nfe, nfe_backward=back)))
        return result.loss, g

    def accepted(w: Array) -> None:
        now, k = time.perf_counter(), seen["k"]
        report(k + 1, *book.enter(k, seen["last"], now - seen["start"]))
        seen.update(k=k + 1, start=now, nfe=0, back=0)

    w, most = flatten(state.params, training.shapes), min(training.optimiser.restart, steps - state.step)
    w, done = leg(training.optimiser, most, w, loss_and_gradient, accepted)
    return State(seen["k"], training.with_trained(state.params, w), {}, done)


def _start(training: Training, rng: Any, settings: dict[str, str], out: Path | None, resume: bool) -> Checkpoint:
    """The checkpoint to go on from, or the beginning."""
    if not isinstance(rng, np.random.Generator):
        raise InvalidArgument("rng", rng, "a np.random.Generator, such as np.random.default_rng(0)")
    if flag("resume", resume) and out is None:
        raise InvalidArgument("resume", True, "False, or with a folder `out` that holds the checkpoint")
    there = out is not None and (out / CHECKPOINT).exists()
    if there and not resume:
        raise InvalidArgument("out", repr(str(out)), f"a folder without {CHECKPOINT}, or with resume=True")
    if there and out is not None:
        found = load_checkpoint(out / CHECKPOINT)
        check_settings(found.settings, settings)
        shapes = {name: np.shape(leaf) for name, leaf in training.problem.params.items()}
        if {name: leaf.shape for name, leaf in found.params.items()} != shapes:
            raise InvalidArgument("problem", f"leaves {shapes}", "with those of the run that is resumed")
        return found
    p = sum(int(np.prod(shape)) for shape in training.shapes.values())
    slots = {} if isinstance(training.optimiser, LBFGS) else training.optimiser.start(p)
    params = dict(training.problem.params)
    empty = {name: np.zeros(0) for name in COLUMNS}
    return Checkpoint(settings, int(rng.integers(2**63)), State(0, params, slots), empty)


def _in_words(solver: Solver) -> str:
    return repr(solver) if solver.proposal is None else repr((solver, solver.proposal))


def _check_hand_on(solver: Solver, optimiser: Any, backend: str) -> None:
    """Raise InvalidArgument where no steps can be handed on, or should be."""
    if isinstance(optimiser, LBFGS):
        raise InvalidArgument("hand_on", True, "False with rn.LBFGS: a line search needs one loss")
    if not solver.adaptive or solver.steps == "own" or backend == "cuda":
        raise InvalidArgument("hand_on", True, "False, or with adaptive steps that the batch shares, on a CPU")


def _trained(problem: Any, frozen: Any) -> Shapes:
    """The shapes of the leaves that are trained."""
    if not isinstance(problem, Problem):
        raise InvalidArgument("problem", problem, "an rn.Problem")
    names = list(problem.params)
    if isinstance(frozen, str) or (unknown := sorted(set(frozen) - set(names))):
        raise InvalidArgument("frozen", frozen if isinstance(frozen, str) else unknown, f"names among {names}")
    trained = {name: leaf.shape for name, leaf in problem.params.items() if name not in frozen}
    if not trained:
        raise InvalidArgument("frozen", "every leaf", "fewer: nothing would be trained")
    return trained


def _folder(out: str | Path | None) -> Path | None:
    """The folder, made if it is not there."""
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument("out", repr(str(out)), "a folder, not a file")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
