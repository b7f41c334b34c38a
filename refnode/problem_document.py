"""A Problem as plain data: the document that its file holds (docs/problem_file.md)."""

from typing import Any

from refnode.depth_document import of_adaptive, of_depth
from refnode.json_file import encode
from refnode.loss_document import of_loss
from refnode.model import Model
from refnode.part_document import of_control, of_field, of_map
from refnode.problem import Problem

FORMAT, VERSION = "refnode.problem", 1


def document(problem: Problem) -> dict[str, Any]:
    """A problem as plain data: the content of its file."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": of_model(problem.model),
        "span": _of_span(problem),
        "params": {name: encode(leaf) for name, leaf in problem.params.items()},
        "x": encode(problem.x),
        "loss": of_loss(problem.loss),
    }


def of_model(model: Model) -> dict[str, Any]:
    """The structure of a model, without its span."""
    return {
        "field": of_field(model.field),
        "depth": of_depth(model.depth),
        "h_x": of_map("h_x", model.h_x),
        "h_y": of_map("h_y", model.h_y),
        "order": int(model.order),
        "initial": model.initial,
        "control": of_control(model.control),
    }


def _of_span(problem: Problem) -> dict[str, Any]:
    """The ends of depth; of an adaptive one the network, and not the T that it computes."""
    t0, T = problem.span  # type: ignore[misc]
    adaptive = problem.model.adaptive
    return {"t0": encode(t0), "T": encode(T) if adaptive is None else of_adaptive(adaptive)}
