"""A document against a JSON Schema of this package: the first thing wrong, by its place and with what is allowed."""

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from refnode.errors import InvalidArgument
from refnode.json_file import Place, pointer

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError


def check_schema(document: Any, name: str, place: Place = ()) -> None:
    """Raise InvalidArgument, whose argument is a JSON pointer, unless a document fits the schema `name`.

    place    where the document stands in its file
    """
    try:
        error = next(iter(_validator(name).iter_errors(_outline(document))), None)
    except RecursionError:
        was = "lists or objects nested too deeply"
        raise InvalidArgument(pointer(place), was, "nested as the schema says") from None
    if error is not None:
        raise _explained(error, place)


def _holds_numbers(key: str, child: Any) -> bool:
    return key in ("data", "mid", "radius") and isinstance(child, list)


@cache
def _validator(name: str) -> "Draft202012Validator":
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(resources.files("refnode").joinpath(name).read_text("utf-8")))


def _outline(node: Any) -> Any:
    """The document without the numbers of its arrays: those who decode them check them, and much faster."""
    if isinstance(node, dict):
        return {key: [] if _holds_numbers(key, child) else _outline(child) for key, child in node.items()}
    return [_outline(child) for child in node] if isinstance(node, list) else node


def _explained(error: "ValidationError", above: Place) -> InvalidArgument:
    """What was wrong, where, and what would be right."""
    place, found, wanted = (*above, *error.absolute_path), cast(Any, error.instance), cast(Any, error.validator_value)
    schema = cast(dict[str, Any], error.schema)
    allowed = schema.get("description") or f"of {error.validator} {wanted}"
    was = _shown(found)
    match error.validator:
        case "additionalProperties":
            unknown = sorted(set(found) - set(schema["properties"]))
            place, was, allowed = (*place, unknown[0]), "an unknown key", f"among {', '.join(schema['properties'])}"
        case "required":
            missing = next(key for key in schema["required"] if key not in found)
            was, allowed = f"no key {missing!r}", f"an object with the keys {', '.join(schema['required'])}"
        case "enum":
            allowed = "one of " + ", ".join(map(repr, wanted))
        case "const":
            allowed = repr(wanted)
    return InvalidArgument(pointer(place), was, allowed)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    return f"a list of {len(value)}" if isinstance(value, list) else json.dumps(value)[:80]
