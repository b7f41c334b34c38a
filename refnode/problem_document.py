"""A Problem as plain data: the document that its file holds (docs/problem_file.md)."""

from typing import Any

from refnode.depth import Constant
from refnode.errors import InvalidArgument, describe
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.json_file import encode
from refnode.loss import CrossEntropy, LinearFunctional, Loss, SquaredError
from refnode.maps import Identity, Network, ZeroAugment
from refnode.model import Model, Problem
from refnode.running import Harmonic, Kinetic, ParameterNorm, SquaredNorm, Tracking

FORMAT, VERSION = "refnode.problem", 1

FIELDS: dict[str, type] = {"mlp": MLP, "cosine": CosineField}
DEPTHS: dict[str, type] = {"constant": Constant}
MAPS: dict[str, type] = {"identity": Identity, "zero_augment": ZeroAugment, "mlp": Network}
POINT_LOSSES: dict[str, type] = {
    "squared_error": SquaredError, "linear_functional": LinearFunctional, "cross_entropy": CrossEntropy,
}  # fmt: skip
RUNNING_LOSSES: dict[str, type] = {
    "squared_norm": SquaredNorm, "kinetic": Kinetic, "parameter_norm": ParameterNorm, "tracking": Tracking,
}  # fmt: skip
PATHS: dict[str, type] = {"harmonic": Harmonic}

MLP_KEYS = ("act", "bias", "time", "skip")
HARMONIC_KEYS = ("amplitude", "frequency", "phase")


def document(problem: Problem) -> dict[str, Any]:
    """A problem as plain data: the content of its file."""
    t0, T = problem.span  # type: ignore[misc]
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": _of_model(problem.model),
        "span": {"t0": encode(t0), "T": encode(T)},
        "params": {name: encode(leaf) for name, leaf in problem.params.items()},
        "x": encode(problem.x),
        "loss": _of_loss(problem.loss),
    }


def _of_model(model: Model) -> dict[str, Any]:
    return {
        "field": _of_part("field", model.field, FIELDS),
        "depth": _of_part("theta", model.depth, DEPTHS),
        "h_x": _of_part("h_x", model.h_x, MAPS),
        "h_y": _of_part("h_y", model.h_y, MAPS),
        "order": int(model.order),
        "initial": model.initial,
        "control": model.control,
    }


def _of_part(name: str, part: Any, kinds: dict[str, type]) -> dict[str, Any]:
    kind = _kind(name, part, kinds)
    match part:
        case MLP():
            return {"kind": kind, "widths": list(part.widths), **{key: getattr(part, key) for key in MLP_KEYS}}
        case Network():
            return _of_part(name, part.mlp, FIELDS)
        case CosineField():
            return {"kind": kind, "width": int(part.width)}
        case ZeroAugment():
            return {"kind": kind, "extra": int(part.extra)}
    return {"kind": kind}


def _of_loss(loss: Loss) -> dict[str, Any]:
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


def _of_term(name: str, term: Any, kinds: dict[str, type]) -> dict[str, Any]:
    node: dict[str, Any] = {"kind": _kind(name, term, kinds)}
    match term:
        case SquaredError():
            node["target"] = encode(term.target)
        case LinearFunctional():
            node["c"] = encode(term.c)
        case CrossEntropy():
            node["labels"] = term.labels.tolist()
        case Tracking():
            beta = {"kind": _kind(f"{name}.beta", term.beta, PATHS)}
            node["beta"] = beta | {key: encode(getattr(term.beta, key)) for key in HARMONIC_KEYS}
    if kinds is RUNNING_LOSSES:
        node["of"] = term.of
    return node | {"weight": encode(term.weight), "reduction": term.reduction}


def _kind(name: str, part: Any, kinds: dict[str, type]) -> str:
    """The word for a part in a file. A subclass may compute something else, so it has none."""
    for kind, cls in kinds.items():
        if type(part) is cls:
            return kind
    was = f"{describe(part)}, which cannot be written to a file: it is code, not data"
    raise InvalidArgument(name, was, "one of " + ", ".join(cls.__name__ for cls in kinds.values()))
