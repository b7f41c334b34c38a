"""check_field: are a field's own jvp and vjp the derivatives of its forward?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array, float64, size
from refnode.errors import InvalidArgument
from refnode.field import Field

STEP = 2.0**-100
Arguments = dict[str, Array]


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
    given = _arguments(field, t, z, theta, x)
    f = _call(field.forward, "forward", given)
    _expect("forward", f, (len(given["z"]), field.width_out))
    _check_rows_apart(field, given, f)
    columns, witness = _columns(field, given)
    limit = tol if tol is not None else 1e-10 if witness == "complex step" else 1e-6
    entries = [*_jvp_entries(field, given, columns), *_vjp_entries(field, given, columns)]
    error, where, got, want = max(entries, key=lambda entry: entry[0] if np.isfinite(entry[0]) else np.inf)
    return FieldReport(bool(error <= limit), float(error), where, float(got), float(want), witness, limit)


def _arguments(field: Field, t: Any, z: Any, theta: Any, x: Any) -> Arguments:
    if isinstance(theta, dict):
        theta = np.concatenate([np.ravel(float64(f"theta.{k}", theta[k], s)) for k, s in field.shapes.items()])
    z = float64("z", z, (None, None))
    if len(z) < 2:
        raise InvalidArgument("z", f"shape {z.shape}", "of shape (b, i) with b >= 2, so that mixed-up samples show")
    given = {"t": float64("t", t, () if np.ndim(t) == 0 else (len(z),)), "z": z}
    given["theta"] = float64("theta", theta, (size(field.shapes),))
    return given if x is None else given | {"x": float64("x", x, (len(z), None))}


def _call(function: Callable[..., Any], name: str, given: Arguments, *more: Any) -> Any:
    try:
        return function(given["t"], given["z"], given["theta"], given.get("x"), *more)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        was = f"{type(error).__name__}: {error}"
        raise InvalidArgument(f"field.{name}", was, "a function that runs on these arguments") from error


def _expect(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if np.shape(value) != shape:
        raise InvalidArgument(f"field.{name}", f"a result of shape {np.shape(value)}", f"of shape {shape}")


def _check_rows_apart(field: Field, given: Arguments, f: Array) -> None:
    """Moving the first sample must not move the others."""
    z = given["z"].copy()
    z[0] += 0.5
    moved = _call(field.forward, "forward", given | {"z": z})
    if not np.array_equal(moved[1:], f[1:]):
        raise InvalidArgument("field.forward", "samples that depend on each other", "a function of each sample alone")


def _units(given: Arguments, field: Field) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
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


def _columns(field: Field, given: Arguments) -> tuple[dict[str, Array], str]:
    """Derivative of f (b, o) with respect to each number, by label, and how it was found."""
    try:
        columns = {}
        for name, label, index in _units(given, field):
            moved = given[name].astype(complex)
            moved[index] += 1j * STEP
            column = np.imag(_call(field.forward, "forward", given | {name: moved})) / STEP
            columns[label] = column
        if any(c.any() for c in columns.values()):
            return columns, "complex step"
    except (InvalidArgument, np.exceptions.ComplexWarning):
        pass
    return {label: _difference(field, given, name, index) for name, label, index in _units(given, field)}, "differences"


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
    return float(error[index]), where.format(list(index)), float(got[index]), float(want[index])


def _scales(columns: dict[str, Array]) -> dict[str, float]:
    """Largest derivative with respect to each argument, t, z, x or theta."""
    scales: dict[str, float] = {}
    for label, column in columns.items():
        kind = label[0] if label[:5] != "theta" else "theta"
        scales[kind] = max(scales.get(kind, 0.0), float(np.max(np.abs(column))))
    return scales


def _jvp_entries(field: Field, given: Arguments, columns: dict[str, Array]) -> Iterator[Entry]:
    scales = _scales(columns)
    zero = {name: np.zeros(a.shape) for name, a in given.items()}
    for name, label, index in _units(given, field):
        unit = {k: v.copy() for k, v in zero.items()}
        unit[name][index] = 1.0
        got = _call(field.jvp, "jvp", given, unit["t"], unit["z"], unit["theta"], unit.get("x"))
        _expect("jvp", got, columns[label].shape)
        yield _largest(got, columns[label], scales[name], f"jvp: d f{{}} / d {label}")


def _vjp_entries(field: Field, given: Arguments, columns: dict[str, Array]) -> Iterator[Entry]:
    scales, batch = _scales(columns), len(given["z"])
    weights = np.linspace(1.0, 2.0, batch)  # unequal, so that a vjp that mixes samples shows
    for j in range(field.width_out):
        g = np.zeros((batch, field.width_out))
        g[:, j] = weights
        g_t, g_z, g_theta, g_x = _call(field.vjp, "vjp", given, g)
        want = {label: weights * column[:, j] for label, column in columns.items()}  # (b,)
        parts = {"t": g_t, "z": g_z, "x": g_x}
        _expect("vjp (t)", g_t, (batch,))
        for name in ("z", "x"):
            if name in given:
                _expect(f"vjp ({name})", parts[name], given[name].shape)
        for name, label, index in _units(given, field):
            if name != "theta":
                part = parts[name][index] if name != "t" else g_t
                where = f"vjp: d f[:, {j}] / d {label}, sample {{}}"
                yield _largest(np.asarray(part), want[label], scales[name], where)
        _expect("vjp (theta)", g_theta, given["theta"].shape)
        labels = [label for name, label, _ in _units(given, field) if name == "theta"]
        for label, got in zip(labels, np.asarray(g_theta), strict=True):
            total, where = np.atleast_1d(want[label].sum()), f"vjp: sum over samples of d f[:, {j}] / d {label}"
            yield _largest(np.atleast_1d(got), total, scales["theta"] * batch, where)


