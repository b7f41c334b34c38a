"""Model files: a model and its parameters as versioned JSON, without data and loss; and its weights alone, as .npz."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array, float64
from refnode.depth_document import of_adaptive
from refnode.errors import InvalidArgument, ProblemFileError
from refnode.json_file import MAX_BYTES, decode, encode, read_json, writable, write_json
from refnode.model import Model
from refnode.problem_document import of_model
from refnode.problem_file import named, to_model, to_span
from refnode.schema import check_schema

FORMAT, VERSION = "refnode.model", 1


def save_model(model: Model, params: Mapping[str, Any], path: str | Path) -> None:
    """Write a model and its parameters to one file, whole or not at all; `load_model` gives back the same bits.

    Raises InvalidArgument for a field or map that is your own code, which no file can hold (see `export_weights`), and
    for parameters that are not the model's.
    """
    if not isinstance(model, Model):
        raise InvalidArgument("model", model, "a Model, such as rn.NeuralODE(rn.MLP(2, 8, 2))")
    t0, T = model.span
    node = {
        "format": FORMAT,
        "version": VERSION,
        "model": of_model(model),
        "span": {"t0": encode(t0), "T": encode(T) if model.adaptive is None else of_adaptive(model.adaptive)},
        "params": {name: encode(leaf) for name, leaf in checked(model, params).items()},
    }
    write_json(node, path)


def load_model(path: str | Path, max_bytes: int = MAX_BYTES) -> tuple[Model, dict[str, Array]]:
    """The model and the parameters in a file, trusting nothing in it.

    Raises ProblemFileError for whatever is wrong, naming the file, the place in it and what is allowed there.
    """
    try:
        node = read_json(path, max_bytes)
        check_schema(node, "model.schema.json")
        check_schema(_as_problem(node), "problem.schema.json")
        params = {name: decode(leaf, ("params", name)) for name, leaf in node["params"].items()}
        with named(params):
            model = to_model(node["model"], *to_span(node["span"]))
            return model, checked(model, params)
    except InvalidArgument as error:
        raise ProblemFileError(f"{path}: {str(error)[:800]}") from error


def export_weights(params: Mapping[str, Any], path: str | Path) -> None:
    """Write every leaf under its plain name to a NumPy .npz file, whole or not at all.

    np.load(path) reads it, without pickle; so does any zip reader that knows the .npy header.
    """
    target = writable(path)
    draft = target.with_name(f".refnode-{secrets.token_hex(8)}.tmp")
    leaves = {name: float64(name, leaf) for name, leaf in params.items()}
    try:
        with open(draft, "xb") as file:
            np.savez(file, allow_pickle=False, **leaves)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def checked(model: Model, params: Mapping[str, Any]) -> dict[str, Array]:
    """The parameters in the model's order, or InvalidArgument."""
    shapes = model.shapes
    if not isinstance(params, Mapping) or set(params) != set(shapes):
        was = f"leaves {sorted(map(str, params))}" if isinstance(params, Mapping) else params
        raise InvalidArgument("params", was, f"the leaves {list(shapes)}")
    return {name: float64(name, params[name], shape) for name, shape in shapes.items()}


def _as_problem(node: dict[str, Any]) -> dict[str, Any]:
    """The parts that a problem file has too, beside an input and a loss that stand for any."""
    x, loss = encode(np.zeros((1, 1))), {"terminal": None, "observations": None, "running": [], "scale": encode(1.0)}
    shared = {key: node[key] for key in ("model", "span", "params")}
    return {"format": "refnode.problem", "version": 1, **shared, "x": x, "loss": loss}
