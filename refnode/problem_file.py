"""Problem files: a Problem as versioned JSON that any language can read, bit for bit (docs/problem_file.md).

`problem.schema.json` says which keys, kinds and types a file has; `problem_document` writes what stands there; here
stands what it means to one who reads it. Fields, maps, depths and losses have documents of their own.
"""

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from refnode.adaptive import AdaptiveDepth
from refnode.arrays import Array, positive
from refnode.depth_document import to_adaptive, to_depth
from refnode.divergence import Divergence
from refnode.errors import InvalidArgument, ProblemFileError
from refnode.json_file import MAX_BYTES, Place, decode, pointer, read_json, steps, within, write_json
from refnode.loss import Loss
from refnode.loss_document import to_loss
from refnode.maps import Network
from refnode.model import Model
from refnode.part_document import to_control, to_field, to_map
from refnode.problem import Problem
from refnode.problem_document import FORMAT, VERSION, document
from refnode.schema import check_schema

EXPANSION = 4  # one evaluation may take so many times max_bytes
PARENTS: dict[str, Place] = {
    "terminal": ("loss",), "running": ("loss",), "observations": ("loss",), "t0": ("span",), "T": ("span",),
    "field": ("model",), "h_x": ("model",), "h_y": ("model",), "order": ("model",), "initial": ("model",),
    "layers": ("model", "depth"),
}  # fmt: skip


def save_problem(problem: Problem, path: str | Path) -> None:
    """Write a problem to a file, whole or not at all.

    Raises InvalidArgument for a field, map or loss that is your own code, which no file can hold, and for a path that
    is no regular file; OSError where the system refuses.
    """
    if not isinstance(problem, Problem):
        raise InvalidArgument("problem", problem, "an rn.Problem")
    write_json(document(problem), path)


def load_problem(path: str | Path, max_bytes: int = MAX_BYTES) -> Problem:
    """Read the problem that a file holds, trusting nothing in it.

    Parameters
    ----------
    path         the file
    max_bytes    the largest file to open; one evaluation of its networks may take four times as much

    Raises
    ------
    ProblemFileError    for whatever is wrong: the message names the file, the place in it and what is allowed there

    Cost     memory proportional to the file or to max_bytes, whatever widths and shapes it claims.
    """
    positive("max_bytes", max_bytes)
    try:
        return to_problem(read_json(path, max_bytes), max_bytes)
    except InvalidArgument as error:
        raise ProblemFileError(f"{path}: {shortened(str(error))}") from error


def to_problem(node: Any, max_bytes: int = MAX_BYTES) -> Problem:
    """The problem of a document. Raises InvalidArgument, whose argument is a place in the file."""
    _check_version(node)
    check_schema(node, "problem.schema.json")
    return _problem(node, max_bytes)


def _check_version(node: Any) -> None:
    """First of all: the schema can only speak for files of its own version."""
    if not isinstance(node, dict):
        raise InvalidArgument(pointer(()), "no object", f'an object with "format": "{FORMAT}"')
    if node.get("format") != FORMAT:
        raise InvalidArgument("/format", reprlib.repr(node.get("format")), repr(FORMAT))
    version = node.get("version")
    if version != VERSION or isinstance(version, bool):
        raise InvalidArgument("/version", reprlib.repr(version), f"{VERSION}, the only version this refnode reads")


def shortened(text: str) -> str:
    """A message of at most 800 characters."""
    return text if len(text) <= 800 else f"{text[:500]} [..] {text[-280:]}"


def _problem(node: dict[str, Any], max_bytes: int) -> Problem:
    t0, T = to_span(node["span"])
    params = {name: decode(leaf, ("params", name)) for name, leaf in node["params"].items()}
    x = decode(node["x"], ("x",))
    with named(params):
        model = to_model(node["model"], t0, T)
        _check_widths(model, x.shape[1])
        loss = to_loss(node["loss"], ("loss",), model)
        own = t0.ndim > 0 or isinstance(T, AdaptiveDepth) or T.ndim > 0
        _check_units((_units(params) + own * _own_units(params, loss)) * (1 + _tangents(loss)), len(x), max_bytes)
        with np.errstate(all="ignore"):  # a file may hold any float64; what comes of it is the solver's to say
            return Problem(model, params, x, loss, (t0, T))


def _check_units(units: int, batch: int, max_bytes: int) -> None:
    """One evaluation holds a number per sample and unit: a small file must not make it a huge one."""
    if 8 * units * batch > EXPANSION * max_bytes:
        was, most = f"{batch} samples beside layers of {units} units", EXPANSION * max_bytes // (8 * units)
        raise InvalidArgument("/x", was, f"at most {most} samples for so many units, or max_bytes raised")


def _units(params: dict[str, Array]) -> int:
    return sum(sum(leaf.shape) for leaf in params.values())


def _own_units(params: dict[str, Array], loss: Loss) -> int:
    """What samples have beside that if their spans are their own and theta varies: each its own theta and bounds."""
    varying = [leaf for name, leaf in params.items() if name.startswith("alpha.")]
    still = [leaf for name, leaf in params.items() if name.startswith("theta.")]
    bounds = len(loss.observations.times) if loss.observations else 0
    return sum(prod(leaf.shape[1:]) for leaf in varying) + sum(leaf.size for leaf in still) + bounds if varying else 0


def _tangents(loss: Loss) -> int:
    """How many tangents of the field one evaluation of a divergence carries along."""
    traces = [term for term in loss.running if isinstance(term, Divergence)]
    return max((term.field.width_out if term.noise is None else len(term.noise) for term in traces), default=0)


def to_span(node: dict[str, Any]) -> tuple[Array, Any]:
    """t0, and T or the network that computes it."""
    t0, T, place = decode(node["t0"], ("span", "t0")), node["T"], ("span", "T")
    return t0, to_adaptive(T, place) if isinstance(T, dict) and "kind" in T else decode(T, place)


def to_model(node: dict[str, Any], t0: Array, T: Any) -> Model:
    """The model; its own span is the problem's where that is the same for all samples."""
    adaptive = isinstance(T, AdaptiveDepth)
    scalar = t0.ndim == 0 and (adaptive or T.ndim == 0)
    start = float(t0) if scalar else 0.0
    return Model(
        to_field(node["field"]),
        to_depth(node["depth"], ("model", "depth")),
        to_map(node["h_x"], ("model", "h_x")),
        to_map(node["h_y"], ("model", "h_y")),
        node["order"],
        node["initial"],
        to_control(node["control"], ("model", "control")),
        (start, T if adaptive else float(T) if scalar else 1.0),
    )


def _check_widths(model: Model, n: int) -> None:
    """Every part that sees x (b, n) or the state fits it."""
    with within(("model", "h_x")):
        model.h_x.width(n)
    with within(("model", "h_y")):
        model.h_y.width(model.state_width)
    with within(("model", "control")):
        model.control_width(n)
    if model.adaptive is not None:
        with within(("span", "T", "network")):
            Network(model.adaptive.network).width(n)


@contextmanager
def named(params: dict[str, Array]) -> Iterator[None]:
    """Name the place in the file of what is wrong with an argument of Model or Problem."""
    try:
        yield
    except InvalidArgument as error:
        if error.argument.startswith("/"):
            raise
        raise InvalidArgument(pointer(_place(error.argument, params)), error.was, error.allowed) from error


def _place(argument: str, params: dict[str, Array]) -> Place:
    """Where the file says what an argument of Model or Problem says."""
    if argument in params:
        return ("params", argument)
    way = steps(argument)
    return (*PARENTS.get(str(way[0]), ()), *way)
