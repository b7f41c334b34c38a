"""JSON files: written whole or not at all, read without trust.

Every real number is a C99 hexadecimal float in a string, so that no bit is lost and any language reads it back; every
array is {"shape": [..], "data": [..]}, row-major. Whatever is wrong in a file raises InvalidArgument, whose `argument`
is the JSON pointer of the place.
"""

import json
import math
import os
import re
import reprlib
import secrets
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import InvalidArgument

Place = tuple[str | int, ...]

MAX_BYTES = 256 * 2**20
INTEGER_DIGITS = 15  # every such integer is below 2^53
REAL = re.compile(r"-?0x[01](\.[0-9a-f]{1,13})?p[+-]?[0-9]{1,5}")  # at most 53 bits
REAL_ALLOWED = "a finite C99 hexadecimal float in a string, such as '0x1.8000000000000p+0' for 1.5"


# ---------------------------------------------------------------- numbers

def encode(value: Any) -> Any:
    """A number as a string, an array as shape and data.

    >>> encode(1.5), encode(np.zeros((1, 2)))
    ('0x1.8000000000000p+0', {'shape': [1, 2], 'data': ['0x0.0p+0', '0x0.0p+0']})
    """
    a = np.asarray(value, dtype=np.float64)
    if not np.isfinite(a).all():
        raise InvalidArgument("value", value, "finite, to be written to a file")
    if a.ndim == 0:
        return float(a).hex()
    return {"shape": list(a.shape), "data": [v.hex() for v in a.ravel().tolist()]}


def decode(node: Any, place: Place) -> Array:
    """The inverse of `encode`, bit for bit."""
    if isinstance(node, str):
        return np.array(real(node, place))
    shape, data = tuple(node["shape"]), node["data"]
    if math.prod(shape) != len(data):  # integers of any size: nothing is allocated for a shape that lies
        was = f"shape {list(shape)} with {len(data)} numbers"
        raise InvalidArgument(pointer(place), was, f"{math.prod(shape)} numbers for that shape")
    numbers = [real(text, (*place, "data", i)) for i, text in enumerate(data)]
    return np.array(numbers, dtype=np.float64).reshape(shape)


def real(text: object, place: Place) -> float:
    """The float64 that a hexadecimal string means; InvalidArgument unless it is one exactly.

    >>> real("-0x1.8p1", ("x",))
    -3.0
    """
    if not isinstance(text, str) or REAL.fullmatch(text) is None:
        raise InvalidArgument(pointer(place), reprlib.repr(text), REAL_ALLOWED)
    try:
        value = float.fromhex(text)
    except OverflowError:
        raise InvalidArgument(pointer(place), repr(text), "below 2^1024 in size, as every float64 is") from None
    mantissa, exponent = text.split("p")
    if math.ldexp(value, -int(exponent)) != float.fromhex(mantissa + "p0"):
        raise InvalidArgument(pointer(place), repr(text), f"exactly a float64; this rounds to {value.hex()}")
    return value


def pointer(place: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901); of the whole document: "(document)".

    >>> pointer(("loss", "running", 0))
    '/loss/running/0'
    """
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in place]
    shown = [part if part.isprintable() else ascii(part)[1:-1] for part in parts]
    return "".join("/" + (part if len(part) <= 80 else part[:77] + "...") for part in shown) or "(document)"


def steps(argument: str) -> Place:
    """The steps down to an argument.

    >>> steps("observations.terms[0].target")
    ('observations', 'terms', '0', 'target')
    """
    return tuple(re.findall(r"[^.\[\]]+", argument))


@contextmanager
def within(place: Place) -> Iterator[None]:
    """Name the place in the file of what is found wrong below it; what has been named passes."""
    try:
        yield
    except InvalidArgument as error:
        if error.argument.startswith("/"):
            raise
        raise InvalidArgument(pointer((*place, *steps(error.argument))), error.was, error.allowed) from error


# ---------------------------------------------------------------- reading

@dataclass(frozen=True)
class Refused:
    """Stands in a parsed document where something stood that no file of ours holds, until its place is known."""

    was: str
    allowed: str


def read_json(path: str | Path, max_bytes: int) -> Any:
    """The document in a file: dicts with distinct keys, lists, strings, booleans, null and integers, nothing else."""
    text = _read_text(path, max_bytes)
    try:
        document = json.loads(
            text, parse_int=_integer, parse_float=_decimal, parse_constant=_decimal, object_pairs_hook=_object
        )
        _refuse(document, ())
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidArgument(place, f"no JSON here ({error.msg})", "one complete JSON document") from None
    except RecursionError:
        raise InvalidArgument(pointer(()), "lists or objects nested too deeply", "nested as the schema says") from None
    return document


def _read_text(path: str | Path, max_bytes: int) -> str:
    size = _size(path)
    if size > max_bytes:
        raise InvalidArgument("the file", f"{size} bytes", f"of at most {max_bytes} bytes (max_bytes)")
    try:
        with open(path, "rb") as file:
            raw = file.read(size)  # no more, should it grow meanwhile
    except OSError as error:
        raise InvalidArgument("the file", error.strerror or str(error), "a file that can be read") from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"byte {error.start}", f"{raw[error.start : error.end]!r}", "UTF-8") from None


def _size(path: str | Path) -> int:
    """The bytes of a regular file. Asked before it is opened: opening a pipe waits."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        was = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument("the file", was, "a regular file that exists") from None
    if not stat.S_ISREG(status.st_mode):
        raise InvalidArgument("the file", "a folder or a special file", "a regular file")
    return status.st_size


def _integer(text: str) -> int | Refused:
    if len(text) <= INTEGER_DIGITS:
        return int(text)
    return Refused(f"the integer {reprlib.repr(text)[1:-1]}", f"an integer of at most {INTEGER_DIGITS} digits")


def _decimal(text: str) -> Refused:
    return Refused(f"the number {reprlib.repr(text)[1:-1]}", f"an integer, or {REAL_ALLOWED}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Refused:
    node = dict(pairs)
    if len(node) == len(pairs):
        return node
    counts = Counter(key for key, _ in pairs)
    twice = next(key for key in counts if counts[key] > 1)
    return Refused(f"the key {reprlib.repr(twice)} twice", "an object whose keys are distinct")


def _refuse(node: Any, place: Place) -> None:
    """Raise for the first `Refused` in the document."""
    if isinstance(node, Refused):
        raise InvalidArgument(pointer(place), node.was, node.allowed)
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        if not isinstance(child, str):
            _refuse(child, (*place, key))


# ---------------------------------------------------------------- writing

def write_json(document: Any, path: str | Path) -> None:
    """Write a document so that the file is either the old one or the whole new one, whenever the power goes.

    Raises InvalidArgument as `writable` does, and OSError where the system refuses.
    """
    writable(path)
    write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", path)


def write_text(text: str, path: str | Path) -> None:
    """Write a text file, whole or not at all, as `write_json`."""
    target = writable(path)
    draft = target.with_name(f".refnode-{secrets.token_hex(8)}.tmp")
    try:
        with open(draft, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def writable(path: str | Path) -> Path:
    """The file that a path leads to; InvalidArgument if it is no regular file, or in a folder that does not exist."""
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise InvalidArgument("path", repr(str(path)), "in a folder that exists")
    if target.exists() and not target.is_file():
        raise InvalidArgument("path", repr(str(path)), "a regular file, or a new one")
    return target
