"""Fields, maps and controls as plain data, and back (docs/problem_file.md).

What reads a part stands beside what writes it. A document that is read has passed `problem.schema.json`; `place` is
where it stands in the file.
"""

from typing import Any

from refnode.errors import InvalidArgument, describe
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.json_file import Place, within
from refnode.maps import Columns, Identity, Network, PartialInput, ZeroAugment

FIELDS: dict[str, type] = {"mlp": MLP, "cosine": CosineField}
MAPS: dict[str, type] = {
    "identity": Identity, "zero_augment": ZeroAugment, "columns": Columns, "mlp": Network,
    "partial_input": PartialInput,
}  # fmt: skip
CONTROLS: dict[str, type] = {"columns": Columns}

MLP_KEYS = ("act", "bias", "time", "skip")


def kind_of(name: str, part: Any, kinds: dict[str, type]) -> str:
    """The word for a part in a file. A subclass may compute something else, so it has none.

    Raises InvalidArgument, with the argument `name`, for a part that is code.
    """
    for kind, cls in kinds.items():
        if type(part) is cls:
            return kind
    was = f"{describe(part)}, which cannot be written to a file: it is code, not data"
    raise InvalidArgument(name, was, "one of " + ", ".join(cls.__name__ for cls in kinds.values()))


def of_mlp(name: str, net: Any) -> dict[str, Any]:
    """An MLP without its kind."""
    kind_of(name, net, {"mlp": MLP})
    return {"widths": list(net.widths), **{key: getattr(net, key) for key in MLP_KEYS}}


def to_mlp(node: dict[str, Any]) -> MLP:
    """The inverse of `of_mlp`."""
    return MLP(*node["widths"], **{key: node[key] for key in MLP_KEYS})


def of_field(field: Any) -> dict[str, Any]:
    """A field."""
    kind = kind_of("field", field, FIELDS)
    return {"kind": kind} | (of_mlp("field", field) if kind == "mlp" else {"width": int(field.width)})


def to_field(node: dict[str, Any]) -> Any:
    """The inverse of `of_field`."""
    return to_mlp(node) if node["kind"] == "mlp" else CosineField(node["width"])


def of_map(name: str, h: Any) -> dict[str, Any]:
    """h_x or h_y."""
    kind = kind_of(name, h, MAPS)
    match h:
        case Network() | PartialInput():
            return {"kind": kind} | of_mlp(name, h.mlp)
        case ZeroAugment():
            return {"kind": kind, "extra": int(h.extra)}
        case Columns():
            return {"kind": kind} | _of_columns(h)
    return {"kind": kind}


def to_map(node: dict[str, Any], place: Place) -> Any:
    """The inverse of `of_map`."""
    match node["kind"]:
        case "mlp":
            return Network(to_mlp(node))
        case "partial_input":
            return PartialInput(to_mlp(node))
        case "zero_augment":
            return ZeroAugment(node["extra"])
        case "columns":
            return _to_columns(node, place)
    return Identity()


def of_control(control: Any) -> Any:
    """What the field sees of x: "none", "x" or some columns."""
    if isinstance(control, str):
        return control
    return {"kind": kind_of("control", control, CONTROLS)} | _of_columns(control)


def to_control(node: Any, place: Place) -> Any:
    """The inverse of `of_control`."""
    return node if isinstance(node, str) else _to_columns(node, place)


def _of_columns(columns: Columns) -> dict[str, Any]:
    return {"start": int(columns.start), "stop": int(columns.stop)}


def _to_columns(node: dict[str, Any], place: Place) -> Columns:
    with within(place):
        return Columns(node["start"], node["stop"])
