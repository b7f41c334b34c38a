"""An experiment of the paper as data: models, samples, numerics, and what is measured at the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array, count, one_of
from refnode.backend import Backend
from refnode.field import MLP
from refnode.gradients import MethodName
from refnode.loss import Loss
from refnode.model import Model
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.train.loop import Run, fit
from refnode.train.optimisers import Optimiser

Measure = Callable[[Model, Mapping[str, Array], Solver], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Kind:
    """A model as an experiment trains it.

    model    Model
    still    whether the field's last layer starts at zero, so that every trajectory stands still at first
    frozen   leaves that are not trained
    riesz    whether it descends in function space
    can      whether theory lets it solve the task; False: its failure is the result
    """

    model: Model
    still: bool = True
    frozen: tuple[str, ...] = ()
    riesz: bool = False
    can: bool = True

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """First parameters."""
        params = self.model.init(rng)
        net = self.model.field
        if self.still and isinstance(net, MLP):
            last = {f"{kind}.{leaf}{net.depth - 1}" for kind in ("theta", "alpha") for leaf in ("W", "b")}
            params |= {name: np.zeros(leaf.shape) for name, leaf in params.items() if name in last}
        return params


@dataclass(frozen=True, eq=False)
class Experiment:
    """A set-up of the paper.

    name       of the experiment;  about: one line;  source: where the settings come from
    kinds      models by name
    draw       draw(rng, b) -> x (b, n), loss
    batch      samples a step, drawn anew; or, if `whole`, once for the whole training
    solver, optimiser, steps
    measure    measure(model, params, solver) -> numbers by name, on data of its own
    deviation  what is not as in the source, and why
    """

    name: str
    about: str
    source: str
    kinds: Mapping[str, Kind]
    draw: Callable[[np.random.Generator, int], tuple[Array, Loss]]
    batch: int
    solver: Solver
    optimiser: Optimiser
    steps: int
    measure: Measure
    whole: bool = False
    deviation: str = ""

    def kind(self, name: str) -> Kind:
        """One of its models, or InvalidArgument."""
        return self.kinds[one_of("model", name, tuple(self.kinds))]

    def problem(self, name: str, seed: int) -> Problem:
        """The first step's problem."""
        rng, kind = np.random.default_rng(count("seed", seed, 0)), self.kind(name)
        return Problem(kind.model, kind.init(rng), *self.draw(rng, self.batch))

    def train(
        self,
        name: str,
        seed: int,
        method: MethodName = "discrete",
        *,
        steps: int | None = None,
        out: str | Path | None = None,
        resume: bool = False,
        backend: Backend = "auto",
        show: bool | None = None,
        **words: Any,
    ) -> Run:
        """Train one of its models; everything random comes from the seed. Other words go to `rn.fit`."""
        kind, problem = self.kind(name), self.problem(name, seed)
        sample = None if self.whole else lambda rng, k: self.draw(rng, self.batch)
        steps = self.steps if steps is None else steps
        given = {"optimiser": self.optimiser, "frozen": kind.frozen, "riesz": kind.riesz, **words}
        return fit(
            problem, sample, method, self.solver, steps=steps, rng=np.random.default_rng([seed, 1]),
            out=out, resume=resume, backend=backend, show=show, **given,
        )  # fmt: skip

    def measured(self, name: str, params: Mapping[str, Array]) -> dict[str, float]:
        """What the trained model reaches."""
        return self.measure(self.kind(name).model, params, self.solver)
