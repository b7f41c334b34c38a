"""Problem: model, parameters, data and loss, without tolerance and method: one well-defined loss and gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array, float64
from refnode.bases import ascending
from refnode.divergence import check_divergence
from refnode.errors import InvalidArgument
from refnode.loss import Loss
from refnode.model import Model
from refnode.probe import probe
from refnode.segments import Layout, layout
from refnode.values import Values, named, resolved, unnamed


@dataclass(frozen=True, eq=False)
class Problem:
    """A loss to differentiate: model, parameters, inputs, loss and span. No tolerance, no method.

    Parameters
    ----------
    model    Model
    params   every leaf of model.shapes, float64
    x        inputs (b, n)
    loss     Loss
    span     (t0, T), if it is not the model's; T, or t0, may be one per sample (b,). With adaptive depth T is None
             here, and kept as computed, (b,)

    Raises
    ------
    InvalidArgument    naming the leaf or argument that does not fit
    """

    model: Model
    params: Mapping[str, Any]  # array-likes given, read-only float64 kept
    x: Any
    loss: Loss
    span: tuple[Any, Any] | None = None

    def __post_init__(self) -> None:
        self._check()
        probe(self)

    def _check(self, other: "Problem | None" = None) -> None:
        """Everything but what the functions return; what is that of another problem, its model and span, not again."""
        if not isinstance(self.model, Model):
            raise InvalidArgument("model", self.model, "a Model, such as rn.NeuralODE(rn.MLP(2, 8, 2))")
        if not isinstance(self.loss, Loss):
            raise InvalidArgument("loss", self.loss, "an rn.Loss, such as rn.Loss(terminal=rn.SquaredError(y))")
        object.__setattr__(self, "x", float64("x", self.x, (None, None)))
        if 0 in self.x.shape:
            raise InvalidArgument("x", f"shape {self.x.shape}", "of shape (b, n) with b, n >= 1")
        if other is None or other.x.shape[1] != self.x.shape[1]:
            self.model.check_widths(self.x.shape[1])
        object.__setattr__(self, "params", self._checked_params())
        if other is None or self.model.adaptive or any(end.ndim and len(end) != self.batch for end in other.span or ()):
            object.__setattr__(self, "span", self._checked_span())
        self._check_depth()
        self._check_loss()
        self.layout  # noqa: B018  raises for bounds that do not make sense

    def _checked_params(self) -> dict[str, Array]:
        shapes = self.model.shapes
        if not isinstance(self.params, Mapping):
            raise InvalidArgument("params", self.params, "a mapping from leaf names to arrays, such as model.init(rng)")
        if self.params.keys() != shapes.keys():
            if unknown := sorted(set(map(str, self.params)) - set(shapes)):
                raise InvalidArgument("params", f"unknown leaves {unknown}", f"the leaves {list(shapes)}")
            missing = [name for name in shapes if name not in self.params]
            raise InvalidArgument("params", f"no leaves {missing}", f"the leaves {list(shapes)}")
        return {name: float64(name, self.params[name], shape) for name, shape in shapes.items()}

    def _checked_span(self) -> tuple[Array, Array]:
        span = self.model.span if self.span is None else self.span
        if not isinstance(span, tuple | list) or len(span) != 2:
            raise InvalidArgument("span", span, "a pair (t0, T)")
        t0 = self._checked_end("t0", span[0])
        depth = self.model.adaptive
        if depth is None:
            return t0, self._checked_end("T", span[1])
        w_T = unnamed(dict(self.params) | {"x": self.x, "t0": t0}, self).w_T
        T = self._checked_end("T", t0 + depth.forward(w_T, self.x))
        given: Any = span[1]  # dataclasses.replace hands back the T that was computed
        if not (given is None or given is depth or np.array_equal(given, T)):
            raise InvalidArgument("T", given, "None: the model computes it from x (see Problem.with_leaves)")
        return t0, T

    def _checked_end(self, name: str, end: Any) -> Array:
        number = float64(name, end)
        return float64(name, number, () if number.ndim == 0 else (self.batch,))

    def _check_depth(self) -> None:
        """A basis that follows the span needs one; learned edges stay in order."""
        depth = self.model.depth
        t0, T = self.span  # type: ignore[misc]
        if depth.interval == "span" and np.any(t0 == T):
            raise InvalidArgument("T", T.tolist(), "other than t0: the basis of theta(t) follows the span")
        if depth.learns_edges and "edges" in self.params:
            ascending("edges", self.params["edges"], 0.0, 1.0)

    def _check_loss(self) -> None:
        width = self.model.h_y.width(self.model.state_width)
        if self.loss.terminal is not None:
            self.loss.terminal.check("terminal", self.batch, width)
        for k, term in enumerate(self.loss.running):
            term.check(f"running[{k}]", self.batch, self.model.state_width)
            check_divergence(f"running[{k}]", term, self.model.field, self.model.control)
        if self.loss.observations is not None:
            for k, point in enumerate(self.loss.observations.terms):
                point.check(f"observations.terms[{k}]", self.batch, width)
            self._check_times(self.loss.observations.times)

    def _check_times(self, times: Array) -> None:
        t0, T = self.span  # type: ignore[misc]
        forwards = np.sign(T - t0)
        path = [t0, *times, T]
        for before, after in pairwise(path):
            ahead = forwards * (after - before)
            if not np.all(ahead >= 0 if after is T else ahead > 0):
                was = f"times {times.tolist()} in the span from {t0.tolist()} to {T.tolist()}"
                allowed = "behind t0, not behind T, and in the order in which depth passes them, for every sample"
                raise InvalidArgument("observations.times", was, f"{allowed}; a loss that moves with T is terminal")

    @property
    def batch(self) -> int:
        """b, the number of samples."""
        return len(self.x)

    @property
    def values(self) -> Values:
        """The numbers of this problem, which the gradient is taken with respect to."""
        t0, T = self.span  # type: ignore[misc]
        t_obs = np.zeros(0) if self.loss.observations is None else self.loss.observations.times
        ends = {"t0": t0} if self.model.adaptive else {"t0": t0, "T": T}
        return unnamed(dict(self.params) | ends | {"x": self.x, "t_obs": t_obs}, self)

    @property
    def resolved(self) -> Values:
        """These numbers with the T of an adaptive depth computed."""
        return resolved(self.values, self)

    @cached_property
    def layout(self) -> Layout:
        """The bounds that steps land on, in their order (see `refnode.segments`)."""
        return layout(self)

    def leaves(self) -> dict[str, Array]:
        """Every leaf that has a gradient, by name: parameters, x, t0, T and, if there are observations, t_obs."""
        return named(self.values, self)

    def __getitem__(self, leaf: str) -> Array:
        """One leaf: problem["theta.W0"], problem["x"], problem["T"].

        Raises InvalidArgument for an unknown name.
        """
        leaves = self.leaves()
        if not isinstance(leaf, str) or leaf not in leaves:
            raise InvalidArgument("leaf", leaf, f"among {list(leaves)}")
        return leaves[leaf]

    __iter__ = None  # a problem is no sequence: iterating one is a TypeError

    def with_leaves(self, leaves: Mapping[str, Any]) -> "Problem":
        """This problem with some leaves replaced."""
        now = self.leaves()
        if not isinstance(leaves, Mapping):
            raise InvalidArgument("leaves", leaves, f"a mapping from leaf names to arrays, names among {list(now)}")
        if unknown := sorted(set(map(str, leaves)) - set(now)):
            raise InvalidArgument("leaves", f"unknown names {unknown}", f"among {list(now)}")
        new = now | dict(leaves)
        loss = self.loss
        if loss.observations is not None:
            loss = replace(loss, observations=replace(loss.observations, times=new["t_obs"]))
        params = {name: new[name] for name in self.params}
        return Problem(self.model, params, new["x"], loss, (new["t0"], new.get("T")))

    def with_data(self, params: Mapping[str, Any], x: Any, loss: Loss) -> "Problem":
        """This model with other parameters, inputs and a loss of the same kind: the next mini-batch.

        What was asked of every function when this problem was made is not asked again, unless the loss has terms of
        other types; shapes and finite numbers are.
        """
        other = object.__new__(Problem)
        span = (self.span[0], None) if self.model.adaptive else self.span  # type: ignore[index]
        for name, value in (("model", self.model), ("params", params), ("x", x), ("loss", loss), ("span", span)):
            object.__setattr__(other, name, value)
        other._check(self)
        if loss.kinds != self.loss.kinds:
            probe(other)
        return other

    def save(self, path: str | Path) -> None:
        """Write this problem to a file that any language can read (see `load_problem`)."""
        from refnode.problem_file import save_problem

        save_problem(self, path)
