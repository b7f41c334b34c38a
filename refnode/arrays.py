"""Checked arrays at the border, and the flat vector theta seen as named leaves."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refnode.errors import InvalidArgument, describe

Array = NDArray[Any]  # float64, or complex128 under the complex step
Shapes = Mapping[str, tuple[int, ...]]
FLOAT64 = np.dtype(np.float64)


def float64(name: str, value: object, shape: tuple[int | None, ...] | None = None) -> Array:
    """A read-only float64 copy of `value`, checked.

    Parameters
    ----------
    name     what to call the value in an error
    value    a number, a nested list, or an array of float64 or integers
    shape    the shape it must have; None stands for any length

    Raises
    ------
    InvalidArgument    for float32, complex and other dtypes (their digits are not float64's), for NaN or
                       infinity, for masked entries, and for a wrong shape
    """
    a = value if type(value) is np.ndarray else rectangular(name, value)
    if a.dtype != FLOAT64 and a.dtype.kind not in "iu":
        raise InvalidArgument(name, f"dtype {a.dtype}", "float64 (refnode's problems are exact float64)")
    if shape not in (None, a.shape) and not _fits(a.shape, shape):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        raise InvalidArgument(name, f"shape {a.shape}", f"of shape {wanted}")
    out = np.array(a, dtype=np.float64)
    if not np.isfinite(out).all():
        bad = np.argwhere(~np.isfinite(np.atleast_1d(out)))[0]
        raise InvalidArgument(name, f"{describe(out)} with a NaN or infinity at {tuple(map(int, bad))}", "finite")
    out.setflags(write=False)
    return out


def rectangular(name: str, value: object) -> Array:
    """The value as an array of whatever dtype, or InvalidArgument for ragged lists and masked arrays."""
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidArgument(name, "a masked array", "an array without a mask: a masked entry is no number")
    try:
        return np.asarray(value)
    except ValueError:
        raise InvalidArgument(name, value, "a rectangular array of float64") from None


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w is None or n == w for n, w in zip(shape, wanted, strict=True))


def positive(name: str, value: object) -> float:
    """A finite float > 0, or InvalidArgument."""
    if not _is_number(value):
        raise InvalidArgument(name, describe(value), "a number > 0")
    if not np.isfinite(value) or value <= 0:  # type: ignore[call-overload, operator]
        raise InvalidArgument(name, value, "a finite number > 0")
    return float(value)  # type: ignore[arg-type]


def finite(name: str, value: object) -> float:
    """A finite float of either sign, or InvalidArgument."""
    if not _is_number(value) or not np.isfinite(value):  # type: ignore[call-overload]
        raise InvalidArgument(name, describe(value), "a finite number")
    return float(value)  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def flag(name: str, value: object) -> bool:
    """True or False, or InvalidArgument."""
    if not isinstance(value, bool):
        raise InvalidArgument(name, describe(value), "True or False")
    return value


def count(name: str, value: object, least: int = 1) -> int:
    """An integer >= least, or InvalidArgument."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidArgument(name, describe(value), f"an integer >= {least}")
    return int(value)


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """A member of a closed set of words, or InvalidArgument."""
    if not isinstance(value, str) or value not in allowed:
        raise InvalidArgument(name, describe(value), "one of " + ", ".join(map(repr, allowed)))
    return value


def size(shapes: Shapes) -> int:
    """How many numbers the leaves hold together.

    >>> size({"W0": (2, 3), "b0": (3,)})
    9
    """
    return sum(prod(shape) for shape in shapes.values())


def unflatten(theta: Array, shapes: Shapes) -> dict[str, Array]:
    """Views of theta (p,) as leaves of the given shapes; theta (b, p) gives leaves (b, *shape).

    >>> {k: v.shape for k, v in unflatten(np.arange(9.0), {"W0": (2, 3), "b0": (3,)}).items()}
    {'W0': (2, 3), 'b0': (3,)}
    """
    leaves, start = {}, 0
    for name, shape in shapes.items():
        stop = start + prod(shape)
        leaves[name] = theta[..., start:stop].reshape(theta.shape[:-1] + tuple(shape))
        start = stop
    return leaves


def flatten(leaves: Mapping[str, Array], shapes: Shapes) -> Array:
    """The inverse of `unflatten`: leaves (*shape), in the order of `shapes`, give (p,); (b, *shape) give (b, p)."""
    if not shapes:
        return np.zeros(0)
    parts = []
    for name, shape in shapes.items():
        leaf = np.asarray(leaves[name])
        parts.append(leaf.reshape(leaf.shape[: leaf.ndim - len(shape)] + (-1,)))
    return np.concatenate(parts, axis=-1)


def column(v: Array) -> Array:
    """v () or (b,) as a column that multiplies (b, n): (1,) or (b, 1)."""
    return np.asarray(v)[..., None]


def read_only(a: Array) -> Array:
    """A view that a user's function cannot change in place."""
    view = a.view()
    view.flags.writeable = False
    return view
