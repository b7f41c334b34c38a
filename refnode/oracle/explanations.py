"""Wrong gradients with a name: what a gradient becomes if a known mistake is made, computed from its parts.

Each function yields the mistakes of one kind that would change this problem's gradient. Whether an answer is one of
them is asked elsewhere (see `refnode.oracle.diagnosis`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.oracle.parts import Grads, Parts

TIMES = ("t0", "T", "t_obs")  # their gradients follow from H, whose terms a mistake may or may not share


@dataclass(frozen=True, eq=False)
class Explanation:
    """A mistake: its name, which part of the problem it is about, and the gradient it gives, all leaves."""

    word: str
    where: str
    grads: Grads


def weighted(parts: Parts, changes: Mapping[str, float]) -> Grads:
    """The true gradient with some loss terms' parts multiplied by factors."""
    true = parts.truth.grads
    return {
        leaf: true[leaf] + np.sum([(factor - 1) * parts.terms[name][leaf] for name, factor in changes.items()], axis=0)
        for leaf in true
    }


def less(parts: Parts, missing: Grads) -> Grads:
    """The true gradient without something."""
    return {leaf: g - missing[leaf] for leaf, g in parts.truth.grads.items()}


def terms_of(parts: Parts) -> dict[str, Any]:
    """Loss terms by the names of their parts, as far as they have a reduction; observations if all have the same."""
    loss = parts.problem.loss
    named = {"terminal": loss.terminal} | {f"running[{k}]": term for k, term in enumerate(loss.running)}
    if loss.observations is not None:
        points = loss.observations.terms
        named["observations"] = points[0] if len({getattr(p, "reduction", None) for p in points}) == 1 else None
    return {name: term for name, term in named.items() if hasattr(term, "reduction")}


def groups(parts: Parts) -> dict[str, list[str]]:
    """Names of parts that a mistake may concern together: the integral, the terminal loss, the observations, all."""
    names = list(parts.terms)
    found = {
        "the integral": [name for name in names if name.startswith("running")],
        "the terminal loss": [name for name in names if name == "terminal"],
        "the observations": [name for name in names if name == "observations"],
    }
    found = {group: members for group, members in found.items() if members}
    return {"the loss": names} if len(found) == 1 else found | {"the loss": names}


# ---------------------------------------------------------------- terms of the loss

WEIGHTS = {"dropped": 0.0, "doubled": 2.0, "sign-flipped": -1.0}


def wrong_reduction(parts: Parts) -> Iterator[Explanation]:
    """A sum over the batch where the loss has a mean, or a mean where it has a sum."""
    b, terms = parts.problem.batch, terms_of(parts)
    for group, names in groups(parts).items():
        for word, reduction, factor in (("sum for mean", "mean", b), ("mean for sum", "sum", 1 / b)):
            changes = {name: factor for name in names if name in terms and terms[name].reduction == reduction}
            if changes and b > 1:
                yield Explanation(word, group, weighted(parts, changes))


def ignored_scale(parts: Parts) -> Iterator[Explanation]:
    """The upstream factor of the loss left out, of all terms or of one kind."""
    scale, b, terms = parts.problem.loss.scale, parts.problem.batch, terms_of(parts)
    if scale in (0, 1):
        return
    for group, names in groups(parts).items():
        yield Explanation("ignored upstream scale", group, weighted(parts, dict.fromkeys(names, 1 / scale)))
        mean = {name: b for name in names if name in terms and terms[name].reduction == "mean"}
        if mean and b > 1:
            changes = {name: mean.get(name, 1) / scale for name in names}
            word = "ignored upstream scale and sum for mean"
            yield Explanation(word, group, weighted(parts, changes))


def wrong_weight(parts: Parts) -> Iterator[Explanation]:
    """The whole integral, or the terminal loss, left out, counted twice or with the wrong sign."""
    nouns = {"the integral": "integral term", "the terminal loss": "terminal term"}
    kinds = {group: names for group, names in groups(parts).items() if group in nouns}
    for group, names in kinds.items():
        for verb, factor in WEIGHTS.items():
            yield Explanation(f"{verb} {nouns[group]}", group, weighted(parts, dict.fromkeys(names, factor)))


def wrong_weight_of_one(parts: Parts) -> Iterator[Explanation]:
    """One of several running losses left out, counted twice or with the wrong sign."""
    running = [name for name in parts.terms if name.startswith("running")]
    for name in running if len(running) > 1 else []:
        for verb, factor in WEIGHTS.items():
            yield Explanation(f"{verb} integral term", name, weighted(parts, {name: factor}))


def missing_jumps(parts: Parts) -> Iterator[Explanation]:
    """No jump of the costate at any observation."""
    if "observations" in parts.terms and len(parts.terms) > 1:
        yield Explanation("missing observation jump", "every t_obs", weighted(parts, {"observations": 0.0}))


# ---------------------------------------------------------------- paths of the costate

def missing_theta_path(parts: Parts) -> Iterator[Explanation]:
    """The running loss's own derivative in theta left out of the parameter integral."""
    if parts.problem.loss.running:
        yield Explanation("missing dl/dtheta", "l's own argument theta", less(parts, parts.explicit["theta"]))
        yield Explanation("missing dl/dtheta", "the path through f included", less(parts, parts.theta_integral))


def missing_field_path(parts: Parts) -> Iterator[Explanation]:
    """The running loss's derivative in f left out of costate and integral."""
    if parts.problem.loss.running:
        yield Explanation("dropped dl/df path", "the integral", less(parts, parts.explicit["rate"]))


def missing_state_path(parts: Parts) -> Iterator[Explanation]:
    """The running loss's derivative in z left out of the costate."""
    if parts.problem.loss.running:
        yield Explanation("missing dl/dz", "the costate", less(parts, parts.explicit["z"]))


def missing_input_path(parts: Parts) -> Iterator[Explanation]:
    """The running loss's derivative in x left out."""
    if parts.problem.loss.running:
        yield Explanation("missing dl/dx", "x", less(parts, parts.explicit["x"]))


def detached_control(parts: Parts) -> Iterator[Explanation]:
    """The control path of x left out: x gets only what comes through the initial state."""
    if parts.problem.model.control == "x":
        yield Explanation("detached control", "x", less(parts, parts.control))


NAMED: tuple[Callable[[Parts], Iterator[Explanation]], ...] = (
    wrong_reduction,
    ignored_scale,
    wrong_weight,
    missing_jumps,
    missing_theta_path,
    missing_field_path,
    missing_state_path,
    missing_input_path,
    detached_control,
    wrong_weight_of_one,
)


# ---------------------------------------------------------------- fitted

WELL_CONDITIONED = 1e4
ROUND = 0.01  # how near a fitted factor must be to one with a name


@dataclass(frozen=True, eq=False)
class Fit:
    """Least squares of an answer onto gradients: its factors, one a column, and the condition of the columns."""

    factors: Array
    condition: float


def fit(got: Grads, columns: list[Grads], scale: Mapping[str, float], leaves: list[str]) -> Fit | None:
    """The factors for which the sum of the columns is nearest to the answer on some leaves, each over its scale.

    None if that is not well conditioned: a column is zero, or nearly a sum of others, or there are too few numbers.
    """
    def flat(grads: Grads) -> Array:
        return np.concatenate([np.ravel(grads[leaf]) / scale[leaf] for leaf in leaves])

    if not leaves or not all(scale[leaf] > 0 for leaf in leaves):
        return None
    A, target = np.array([flat(column) for column in columns]).T, flat(got)
    sizes = np.linalg.norm(A, axis=0)
    if len(A) < 2 * len(columns) or not np.all(sizes > 1e-9 * np.max(sizes)):
        return None
    singular = np.linalg.svd(A / sizes, compute_uv=False)
    condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else np.inf
    if condition > WELL_CONDITIONED:
        return None
    return Fit(np.linalg.lstsq(A / sizes, target, rcond=None)[0] / sizes, condition)


def whole_factor(parts: Parts, got: Grads, scale: Mapping[str, float], leaves: list[str]) -> Iterator[Explanation]:
    """The whole gradient times one number."""
    true = parts.truth.grads
    if (found := fit(got, [true], scale, leaves)) is None:
        return
    r = float(found.factors[0])
    names = {-1.0: "sign of the whole gradient", 2.0: "doubled gradient", 0.5: "halved gradient", 0.0: "zero gradient"}
    word = next((name for value, name in names.items() if abs(r - value) < ROUND), "wrong factor")
    yield Explanation(word, f"{r:.6g} times the gradient", {leaf: r * g for leaf, g in true.items()})


def some_jumps(parts: Parts, got: Grads, scale: Mapping[str, float], leaves: list[str]) -> Iterator[Explanation]:
    """No jump of the costate at some of the observations."""
    if len(parts.jumps) < 2:
        return
    rest = less(parts, parts.terms["observations"])
    left = {leaf: got[leaf] - rest[leaf] for leaf in leaves}
    if (found := fit(left, parts.jumps, scale, leaves)) is None:
        return
    kept = np.round(found.factors)
    if np.all(np.abs(found.factors - kept) < ROUND) and set(kept) == {0.0, 1.0}:
        gone = [k for k in range(len(kept)) if kept[k] == 0]
        missing = {leaf: np.sum([parts.jumps[k][leaf] for k in gone], axis=0) for leaf in rest}
        yield Explanation("missing observation jump", f"t_obs{gone}", less(parts, missing))


def several_factors(parts: Parts, got: Grads, scale: Mapping[str, float], leaves: list[str]) -> Iterator[Explanation]:
    """Terminal loss, observations, integral and dl/dtheta, each times a number of its own."""
    columns: dict[str, Grads] = {
        name: parts.terms[name] for name in ("terminal", "observations") if name in parts.terms
    }
    if parts.problem.loss.running:
        own = parts.theta_integral
        columns["integral"] = {leaf: g - own[leaf] for leaf, g in parts.integral.items()}
        if any(np.any(own[leaf]) for leaf in leaves):
            columns["dl/dtheta"] = own
    if len(columns) < 2 or (found := fit(got, list(columns.values()), scale, leaves)) is None:
        return
    factors = dict(zip(columns, map(float, found.factors), strict=True))
    odd = [f"{name} {verb(r, parts)}" for name, r in factors.items() if abs(r - 1) > ROUND]
    word = "missing dl/dtheta" if abs(factors.get("dl/dtheta", 1)) < ROUND else "wrong weight of a term"
    grads = {leaf: np.sum([r * columns[name][leaf] for name, r in factors.items()], axis=0) for leaf in parts.whole}
    if odd:
        yield Explanation(word, ", ".join(odd), grads)


FITTED: tuple[Callable[[Parts, Grads, Mapping[str, float], list[str]], Iterator[Explanation]], ...] = (
    whole_factor,
    some_jumps,
    several_factors,
)


def verb(r: float, parts: Parts) -> str:
    """A factor in words, where it is one that a known mistake gives."""
    b, scale = parts.problem.batch, parts.problem.loss.scale or 1.0
    names = {0.0: "dropped", 2.0: "doubled", -1.0: "sign-flipped", b: "summed for averaged", 1 / scale: "without scale"}
    names |= {b / scale: "summed for averaged, without scale", 1 / b: "averaged for summed"}
    near = (name for value, name in names.items() if abs(r - value) < ROUND * max(1.0, abs(value)))
    return next(near, f"times {r:.4g}")
