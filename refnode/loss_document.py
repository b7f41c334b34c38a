"""Losses as plain data, and back (docs/problem_file.md)."""

from typing import Any

import numpy as np

from refnode.divergence import Divergence, as_traced
from refnode.errors import InvalidArgument
from refnode.json_file import Place, decode, encode, pointer, real, within
from refnode.loss import CrossEntropy, LinearFunctional, Loss, Observations, SquaredError, StandardNormal
from refnode.model import Model
from refnode.part_document import kind_of
from refnode.running import Harmonic, Kinetic, ParameterNorm, SquaredNorm, Tracking

POINT_LOSSES: dict[str, type] = {
    "squared_error": SquaredError, "linear_functional": LinearFunctional, "cross_entropy": CrossEntropy,
    "standard_normal": StandardNormal,
}  # fmt: skip
RUNNING_LOSSES: dict[str, type] = {
    "squared_norm": SquaredNorm, "kinetic": Kinetic, "parameter_norm": ParameterNorm, "tracking": Tracking,
    "divergence": Divergence,
}  # fmt: skip
PATHS: dict[str, type] = {"harmonic": Harmonic}

HARMONIC_KEYS = ("amplitude", "frequency", "phase")


def of_loss(loss: Loss) -> dict[str, Any]:
    """A loss."""
    seen = loss.observations
    return {
        "terminal": None if loss.terminal is None else _of_term("terminal", loss.terminal, POINT_LOSSES),
        "observations": None if seen is None else {
            "times": encode(seen.times),
            "terms": [_of_term(f"observations.terms[{k}]", term, POINT_LOSSES) for k, term in enumerate(seen.terms)],
        },
        "running": [_of_term(f"running[{k}]", term, RUNNING_LOSSES) for k, term in enumerate(loss.running)],
        "scale": encode(loss.scale),
    }  # fmt: skip


def to_loss(node: dict[str, Any], place: Place, model: Model) -> Loss:
    """The inverse of `of_loss`, for a model: a divergence is that of its field."""
    terminal, seen = node["terminal"], node["observations"]
    point = None if terminal is None else _to_point(terminal, (*place, "terminal"))
    observations = None if seen is None else _to_observations(seen, place)
    running = tuple(_to_running(term, (*place, "running", k), model) for k, term in enumerate(node["running"]))
    scale = real(node["scale"], (*place, "scale"))
    with within(()):
        return Loss(point, observations, running, scale)


def _to_observations(node: dict[str, Any], place: Place) -> Observations:
    here = (*place, "observations")
    terms = tuple(_to_point(term, (*here, "terms", k)) for k, term in enumerate(node["terms"]))
    times = decode(node["times"], (*here, "times"))
    with within(place):
        return Observations(times, terms)


def _of_term(name: str, term: Any, kinds: dict[str, type]) -> dict[str, Any]:
    node: dict[str, Any] = {"kind": kind_of(name, term, kinds)}
    match term:
        case SquaredError():
            node["target"] = encode(term.target)
        case LinearFunctional():
            node["c"] = encode(term.c)
        case CrossEntropy():
            node["labels"] = term.labels.tolist()
        case Tracking():
            node["beta"] = _of_path(f"{name}.beta", term.beta)
        case Divergence():
            node |= {"trace": term.trace, "noise": None if term.noise is None else encode(term.noise)}
    if kinds is RUNNING_LOSSES and not isinstance(term, Divergence):
        node["of"] = term.of
    return node | {"weight": encode(term.weight), "reduction": term.reduction}


def _to_point(node: dict[str, Any], place: Place) -> Any:
    """A point loss."""
    rest = _rest(node, place)
    match node["kind"]:
        case "squared_error":
            return SquaredError(decode(node["target"], (*place, "target")), **rest)
        case "linear_functional":
            return LinearFunctional(decode(node["c"], (*place, "c")), **rest)
        case "cross_entropy":
            return CrossEntropy(np.array(node["labels"], dtype=np.int64), **rest)
    return POINT_LOSSES[node["kind"]](**rest)


def _to_running(node: dict[str, Any], place: Place, model: Model) -> Any:
    """A running loss."""
    rest = _rest(node, place)
    match node["kind"]:
        case "tracking":
            return Tracking(_to_path(node["beta"], (*place, "beta"), model.state_width), of=node["of"], **rest)
        case "divergence":
            return _to_divergence(node, place, model, rest)
    return RUNNING_LOSSES[node["kind"]](of=node["of"], **rest)


def _rest(node: dict[str, Any], place: Place) -> dict[str, Any]:
    return {"weight": real(node["weight"], (*place, "weight")), "reduction": node["reduction"]}


def _to_divergence(node: dict[str, Any], place: Place, model: Model, rest: dict[str, Any]) -> Divergence:
    as_traced(model.field)
    noise = None if node["noise"] is None else decode(node["noise"], (*place, "noise"))
    with within(place):
        return Divergence(model.field, model.control, node["trace"], noise, **rest)


def _of_path(name: str, path: Any) -> dict[str, Any]:
    return {"kind": kind_of(name, path, PATHS)} | {key: encode(getattr(path, key)) for key in HARMONIC_KEYS}


def _to_path(node: dict[str, Any], place: Place, d: int) -> Harmonic:
    """Its widths are checked before anything is computed: beta(t) has one row per sample."""
    parts = {key: decode(node[key], (*place, key)) for key in HARMONIC_KEYS}
    for key, part in parts.items():
        if part.shape != (d,):
            raise InvalidArgument(pointer((*place, key)), f"shape {part.shape}", f"of shape ({d},), the state's width")
    return Harmonic(**parts)
