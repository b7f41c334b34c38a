"""Problem files: a Problem as versioned JSON that any language can read, bit for bit (docs/problem_file.md).

`problem.schema.json` says which keys, kinds and types a file has, `problem_document` what stands there; here stands
what it means to one who reads it.
"""

import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array, positive
from refnode.depth import Constant
from refnode.errors import InvalidArgument, ProblemFileError
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.json_file import MAX_BYTES, Place, decode, pointer, read_json, real, write_json
from refnode.loss import CrossEntropy, LinearFunctional, Loss, Observations, SquaredError
from refnode.maps import Identity, ZeroAugment
from refnode.model import Model, Problem
from refnode.problem_document import FORMAT, HARMONIC_KEYS, MLP_KEYS, RUNNING_LOSSES, VERSION, document
from refnode.running import Harmonic, Tracking
from refnode.schema import check_schema

EXPANSION = 4  # one evaluation may take so many times max_bytes
PARENTS = {
    "terminal": "loss", "running": "loss", "observations": "loss", "t0": "span", "T": "span",
    "field": "model", "h_x": "model", "h_y": "model",
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
        node = read_json(path, max_bytes)
        _check_version(node)
        check_schema(node, "problem.schema.json")
        return _problem(node, max_bytes)
    except InvalidArgument as error:
        raise ProblemFileError(f"{path}: {_shortened(str(error))}") from error


def _check_version(node: Any) -> None:
    """First of all: the schema can only speak for files of its own version."""
    if not isinstance(node, dict):
        raise InvalidArgument(pointer(()), "no object", f'an object with "format": "{FORMAT}"')
    if node.get("format") != FORMAT:
        raise InvalidArgument("/format", reprlib.repr(node.get("format")), repr(FORMAT))
    version = node.get("version")
    if version != VERSION or isinstance(version, bool):
        raise InvalidArgument("/version", reprlib.repr(version), f"{VERSION}, the only version this refnode reads")


def _shortened(text: str) -> str:
    return text if len(text) <= 800 else f"{text[:500]} [..] {text[-280:]}"


def _problem(node: dict[str, Any], max_bytes: int) -> Problem:
    span = _span(node["span"])
    params = {name: decode(leaf, ("params", name)) for name, leaf in node["params"].items()}
    x = decode(node["x"], ("x",))
    _check_units(params, len(x), max_bytes)
    model = _model(node["model"], span)
    with _within(("model", "h_x")):
        model.h_x.width(x.shape[1])
    with _within(("model", "h_y")):
        model.h_y.width(model.state_width)
    loss = _loss(node["loss"], model.state_width)
    try:
        with np.errstate(all="ignore"):  # a file may hold any float64; what comes of it is the solver's to say
            return Problem(model, params, x, loss, span)
    except InvalidArgument as error:
        raise InvalidArgument(pointer(_place(error.argument, params)), error.was, error.allowed) from error


def _check_units(params: dict[str, Array], batch: int, max_bytes: int) -> None:
    """One evaluation holds a number per sample and unit: a small file must not make it a huge one."""
    units = sum(sum(leaf.shape) for leaf in params.values())
    if 8 * units * batch > EXPANSION * max_bytes:
        was, most = f"{batch} samples beside layers of {units} units", EXPANSION * max_bytes // (8 * units)
        raise InvalidArgument("/x", was, f"at most {most} samples for so many units, or max_bytes raised")


def _span(node: dict[str, Any]) -> tuple[Array, Array]:
    return decode(node["t0"], ("span", "t0")), decode(node["T"], ("span", "T"))


def _model(node: dict[str, Any], span: tuple[Array, Array]) -> Model:
    """The model; its own span is the problem's where that is the same for all samples."""
    scalar = all(end.ndim == 0 for end in span)
    return Model(
        _part(node["field"]),
        _part(node["depth"]),
        _part(node["h_x"]),
        _part(node["h_y"]),
        node["order"],
        node["initial"],
        node["control"],
        (float(span[0]), float(span[1])) if scalar else (0.0, 1.0),
    )


def _part(node: dict[str, Any]) -> Any:
    """The field, depth or map of a kind."""
    match node["kind"]:
        case "mlp":
            return MLP(*node["widths"], **{key: node[key] for key in MLP_KEYS})
        case "cosine":
            return CosineField(node["width"])
        case "constant":
            return Constant()
        case "zero_augment":
            return ZeroAugment(node["extra"])
    return Identity()


def _loss(node: dict[str, Any], d: int) -> Loss:
    terminal, seen = node["terminal"], node["observations"]
    point = None if terminal is None else _term(terminal, ("loss", "terminal"), d)
    observations = None if seen is None else _observations(seen, d)
    running = tuple(_term(term, ("loss", "running", k), d) for k, term in enumerate(node["running"]))
    scale = real(node["scale"], ("loss", "scale"))
    with _within(()):
        return Loss(point, observations, running, scale)


def _observations(node: dict[str, Any], d: int) -> Observations:
    place: Place = ("loss", "observations")
    terms = tuple(_term(term, (*place, "terms", k), d) for k, term in enumerate(node["terms"]))
    times = decode(node["times"], (*place, "times"))
    with _within(("loss",)):
        return Observations(times, terms)


def _term(node: dict[str, Any], place: Place, d: int) -> Any:
    """A point loss or a running loss; d is the width of the state."""
    rest = {"weight": real(node["weight"], (*place, "weight")), "reduction": node["reduction"]}
    rest |= {"of": node["of"]} if "of" in node else {}
    match node["kind"]:
        case "squared_error":
            return SquaredError(decode(node["target"], (*place, "target")), **rest)
        case "linear_functional":
            return LinearFunctional(decode(node["c"], (*place, "c")), **rest)
        case "cross_entropy":
            return CrossEntropy(np.array(node["labels"], dtype=np.int64), **rest)
        case "tracking":
            return Tracking(_harmonic(node["beta"], (*place, "beta"), d), **rest)
    return RUNNING_LOSSES[node["kind"]](**rest)


def _harmonic(node: dict[str, Any], place: Place, d: int) -> Harmonic:
    """Its widths are checked before anything is computed: beta(t) has one row per sample."""
    parts = {key: decode(node[key], (*place, key)) for key in HARMONIC_KEYS}
    for key, part in parts.items():
        if part.shape != (d,):
            raise InvalidArgument(pointer((*place, key)), f"shape {part.shape}", f"of shape ({d},), the state's width")
    return Harmonic(**parts)


@contextmanager
def _within(place: Place) -> Iterator[None]:
    """Name the place in the file of what is found wrong below it."""
    try:
        yield
    except InvalidArgument as error:
        here = (*place, *_steps(error.argument))
        raise InvalidArgument(pointer(here), error.was, error.allowed) from error


def _steps(argument: str) -> Place:
    """The steps down to an argument: observations.terms[0].target -> observations, terms, 0, target."""
    return tuple(re.findall(r"[^.\[\]]+", argument))


def _place(argument: str, params: dict[str, Array]) -> Place:
    """Where the file says what an argument of Problem says."""
    if argument in params:
        return ("params", argument)
    steps = _steps(argument)
    return (PARENTS[str(steps[0])], *steps) if steps[0] in PARENTS else steps
