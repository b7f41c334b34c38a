"""check_field: are a field's own jvp and vjp the derivatives of its forward?"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array, flatten, float64, positive, size
from refnode.errors import InvalidArgument, describe
from refnode.field import Field
from refnode.probe import same_row_by_row
from refnode.row_check import Rows

STEP = 2.0**-100
Arguments = dict[str, Array]
Unit = tuple[str, str, tuple[Any, ...]]  # argument, label, index of a number


@dataclass(frozen=True)
class FieldReport:
    """The outcome of `check_field`.

    ok        whether every entry agrees within tol
    error     the largest error, relative to the largest derivative with respect to the same argument
    worst     where it is: which method, the derivative of which output of which sample, with respect to what
    got, want what the field said there, and what it should have said
    witness   "complex step", or "differences" for a forward that is not complex-safe
    tol       the limit: 1e-10 for the complex step, 1e-6 for differences
    """

    ok: bool
    error: float
    worst: str
    got: float
    want: float
    witness: str
    tol: float

    def __str__(self) -> str:
        verdict = "agree" if self.ok else "DISAGREE"
        return (
            f"jvp and vjp {verdict} with forward by {self.witness}: worst relative error {self.error:.1e} "
            f"(limit {self.tol:.0e}) in {self.worst}: got {self.got:.17g}, should be {self.want:.17g}"
        )


def check_field(field: Field, t: Any, z: Any, theta: Any, x: Any = None, *, tol: float | None = None) -> FieldReport:
    """Compare a field's jvp and vjp, entry by entry, with derivatives of its forward.

    The row_forward and row_vjp of a UserField, if it has them, are compared with forward and its derivatives too.

    Parameters
    ----------
    field    a Field: an MLP, a UserField, your own class
    t        depth () or (b,);  z (b, i), b >= 2, so that mixed-up samples show;  theta (p,), or its leaves as a mapping
    x        control (b, n) or None
    tol      limit of the relative error; None: 1e-10 for the complex step, 1e-6 for differences

    Returns
    -------
    FieldReport    print it

    Raises
    ------
    InvalidArgument    if forward, jvp or vjp raise or return a wrong shape, or forward mixes samples
    """
    members = ("shapes", "width_out", "forward", "jvp", "vjp")
    if missing := [m for m in members if isinstance(field, type) or not hasattr(field, m)]:
        raise InvalidArgument("field", describe(field), f"a field; it lacks {', '.join(missing)}")
    if tol is not None:
        positive("tol", tol)
    given = _arguments(field, t, z, theta, x)
    f = _call(field.forward, "forward", given)
    _expect("forward", f, (len(given["z"]), field.width_out))
    _check_rows_apart(field, given, f)
    same_row_by_row("field.forward", lambda t: _call(field.forward, "forward", given | {"t": t}), given["t"], len(f))
    columns, witness = _columns(field, given, np.asarray(f))
    limit = tol if tol is not None else 1e-10 if witness == "complex step" else 1e-6
    entries = [*_jvp_entries(field, given, columns), *_vjp_entries(field, given, columns)]
    if getattr(field, "row_forward", None) is not None:
        entries += _row_entries(Rows(field), given, f, columns)  # type: ignore[arg-type]
    error, where, got, want = max(entries, key=lambda entry: entry[0] if np.isfinite(entry[0]) else np.inf)
    return FieldReport(bool(error <= limit), float(error), where, float(got), float(want), witness, limit)


def _arguments(field: Field, t: Any, z: Any, theta: Any, x: Any) -> Arguments:
    if isinstance(theta, Mapping):
        if set(theta) != set(field.shapes):
            raise InvalidArgument("theta", f"leaves {list(theta)}", f"the leaves {list(field.shapes)}")
        theta = flatten({k: float64(f"theta.{k}", theta[k], s) for k, s in field.shapes.items()}, field.shapes)
    z = float64("z", z, (None, None))
    if len(z) < 2:
        raise InvalidArgument("z", f"shape {z.shape}", "of shape (b, i) with b >= 2, so that mixed-up samples show")
    given = {"t": float64("t", t, () if np.ndim(t) == 0 else (len(z),)), "z": z}
    given["theta"] = float64("theta", theta, (size(field.shapes),))
    return given if x is None else given | {"x": float64("x", x, (len(z), None))}


def _call(function: Callable[..., Any], name: str, given: Arguments, *more: Any) -> Any:
    try:
        return function(given["t"], given["z"], given["theta"], given.get("x"), *more)
    except Exception as error:
        was = f"{type(error).__name__}: {error}"
        raise InvalidArgument(f"field.{name}", was, "a function that runs on these arguments") from error


def _expect(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if np.shape(value) != shape:
        raise InvalidArgument(f"field.{name}", f"a result of shape {np.shape(value)}", f"of shape {shape}")


def _check_rows_apart(field: Field, given: Arguments, f: Array) -> None:
    """Moving one sample must not move the others."""
    for name in ("z", "x", "t"):
        for k in range(len(f)) if name in given and given[name].ndim > 0 else ():
            moved = given[name].copy()
            moved[k] += 0.5
            g = np.asarray(_call(field.forward, "forward", given | {name: moved}))
            if not np.array_equal(np.delete(g, k, axis=0), np.delete(f, k, axis=0)):
                was = f"samples that depend on each other's {name}"
                raise InvalidArgument("field.forward", was, "a function of each sample alone")


def _units(given: Arguments, field: Field | Rows) -> Iterator[Unit]:
    """(argument, label, index) of every number; z and x are moved in all samples at once, t as well."""
    yield "t", "t", (...,)
    for name in ("z", "x"):
        if name in given:
            for j in range(given[name].shape[1]):
                yield name, f"{name}[:, {j}]", (slice(None), j)
    start = 0
    for leaf, shape in field.shapes.items():
        for index in np.ndindex(*shape):
            label = f"theta.{leaf}{list(index) if index else ''}"
            yield "theta", label, (start + int(np.ravel_multi_index(index, shape)) if shape else start,)
        start += int(np.prod(shape))


def _columns(field: Field, given: Arguments, f: Array) -> tuple[dict[str, Array], str]:
    """Derivative of f (b, o) with respect to each number, by label, and how it was found."""
    columns = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            for name, label, index in _units(given, field):
                moved = given[name].astype(complex)
                moved[index] += 1j * STEP
                columns[label] = np.imag(_call(field.forward, "forward", given | {name: moved})) / STEP
        if not any(_contradicted(columns[unit[1]], field, given, f, unit) for unit in _units(given, field)):
            return columns, "complex step"
    except InvalidArgument:
        pass
    return {label: _difference(field, given, name, index) for name, label, index in _units(given, field)}, "differences"


def _contradicted(column: Array, field: Field, given: Arguments, f: Array, unit: Unit) -> bool:
    """Whether differences contradict a complex step: then forward drops imaginary parts (abs, a cast, a comparison).

    Where the differences to either side differ, forward has a kink, and they say nothing.
    """
    name, _, index = unit
    h = 2.0**-20 * max(1.0, float(np.max(np.abs(given[name]))))  # round-off 2e-10 f, truncation 1e-6 f''
    sides = []
    for step in (h, -h):
        moved = given[name].copy()
        moved[index] += step
        sides.append((np.asarray(_call(field.forward, "forward", given | {name: moved})) - f) / step)
    right, left = sides
    room = 1e-3 * np.max(np.abs([column, right, left])) + 1e-7 * np.max(np.abs(f))
    return bool(np.any((np.abs(right - left) <= room) & (np.abs(right - column) > 2 * room)))


def _difference(field: Field, given: Arguments, name: str, index: tuple[Any, ...]) -> Array:
    """A central difference of fourth order."""
    h = 2.0**-10 * max(1.0, float(np.max(np.abs(given[name]))))

    def at(k: int) -> Array:
        moved = given[name].copy()
        moved[index] += k * h
        return np.asarray(_call(field.forward, "forward", given | {name: moved}))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)


Entry = tuple[float, str, float, float]


def _largest(got: Array, want: Array, scale: float, where: str) -> Entry:
    """The worst entry of got against want; its index goes into the braces of `where`."""
    error = np.abs(got - want) / (scale or 1.0)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape))
    return float(error[index]), where.replace("{}", str(list(index))), float(got[index]), float(want[index])


def _scales(columns: dict[str, Array]) -> dict[str, float]:
    """Largest derivative with respect to each argument, t, z, x or theta."""
    scales: dict[str, float] = {}
    for label, column in columns.items():
        kind = label[0] if label[:5] != "theta" else "theta"
        scales[kind] = max(scales.get(kind, 0.0), float(np.max(np.abs(column))))
    return scales


def _weights(batch: int) -> Array:
    """Unequal weights of the samples, so that a jvp or vjp that mixes them shows."""
    return np.linspace(1.0, 2.0, batch)


def _jvp_entries(field: Field, given: Arguments, columns: dict[str, Array]) -> Iterator[Entry]:
    scales, weights = _scales(columns), _weights(len(given["z"]))
    for name, label, index in _units(given, field):
        along = {k: np.zeros(a.shape) for k, a in given.items()}
        own = name != "theta" and given[name].ndim > 0
        along[name][index] = weights if own else 1.0
        got = _call(field.jvp, "jvp", given, along["t"], along["z"], along["theta"], along.get("x"))
        _expect("jvp", got, columns[label].shape)
        got = np.asarray(got) / (weights[:, None] if own else 1.0)
        yield _largest(got, columns[label], scales[name], f"jvp: d f{{}} / d {label}")


def _row_entries(rows: Rows, given: Arguments, f: Array, columns: dict[str, Array]) -> Iterator[Entry]:
    got = _call(rows.forward, "row_forward", given)
    yield _largest(got, f, float(np.max(np.abs(f))), "row_forward: f{}")
    yield from _vjp_entries(rows, given, columns, "row_vjp")


def _vjp_entries(
    field: Field | Rows, given: Arguments, columns: dict[str, Array], method: str = "vjp"
) -> Iterator[Entry]:
    scales, batch = _scales(columns), len(given["z"])
    weights = _weights(batch)
    for j in range(field.width_out):
        g = np.zeros((batch, field.width_out))
        g[:, j] = weights
        back = _call(field.vjp, method, given, g)
        if not isinstance(back, tuple) or len(back) != 4:
            was = f"{type(back).__name__}" + (f" of {len(back)}" if isinstance(back, tuple) else "")
            raise InvalidArgument("field.vjp", was, "a tuple of 4: cotangents of t, z, theta and x")
        g_t, g_z, g_theta, g_x = map(np.asarray, back)
        parts = {"t": g_t, "z": g_z, "x": g_x}
        _expect("vjp (t)", g_t, (batch,))
        for name in ("z", "x"):
            if name in given:
                _expect(f"vjp ({name})", parts[name], given[name].shape)
        for name, label, index in _units(given, field):
            if name != "theta":
                part = parts[name][index] if name != "t" else g_t
                where = f"{method}: d f[:, {j}] / d {label}, sample {{}}"
                yield _largest(part / weights, columns[label][:, j], scales[name], where)
        _expect("vjp (theta)", g_theta, given["theta"].shape)
        labels = [label for name, label, _ in _units(given, field) if name == "theta"]
        for label, got in zip(labels, g_theta, strict=True):
            total = weights @ columns[label][:, j]
            where = f"{method}: weighted sum over samples of d f[:, {j}] / d {label}"
            yield _largest(np.atleast_1d(got), np.atleast_1d(total), scales["theta"] * batch, where)
