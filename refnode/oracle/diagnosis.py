"""Diagnosis: what is wrong with an answer, said only where a named mistake explains nearly all of its error.

First the form of what was returned. Then a mistake that explains all parameter blocks and x at once; then what it left
unexplained, block by block: mostly the ends of the span. Last, how the error goes with the tolerance.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from refnode.arrays import Array
from refnode.errors import NumericalError
from refnode.oracle.answer import as_float64, is_float64
from refnode.oracle.case import Case, Finding, log_slope
from refnode.oracle.explanations import FITTED, NAMED, ROUND, TIMES, Explanation
from refnode.oracle.parts import Grads

Mistake = TypeVar("Mistake")

SMALL, SMALL_OF_ONE = 0.02, 1e-3  # of an error, what an explanation may leave: of an array's, of a single number's


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def diagnose(case: Case) -> list[Finding]:
    """What is wrong with the answers of a case; empty if nothing is, or nothing is known for sure."""
    found = [finding for check in FORM for finding in check(case)]
    base, left = case.true, case.wrong
    if best := explain(case):
        base = best[0].grads
        found.append(_spoken(case, [e.word for e in best], best[0].where, _judged(case), base, case.true))
        left = [leaf for leaf in left if not _little(case, case.off(base, leaf), case.off(case.true, leaf), leaf)]
    blocks, left = explain_blocks(case, base, left)
    found += blocks
    return found + [finding for check in NUMERICS for finding in check(case, left)]


# ---------------------------------------------------------------- the form of the answer

def unknown_leaf(case: Case) -> Iterator[Finding]:
    """A name that the problem does not have."""
    leaves = list(case.parts.problem.leaves())
    if names := sorted({name for answer in case.answers for name in answer.given if name not in leaves}):
        yield Finding("unknown leaf", f"{', '.join(names)}; the problem has {', '.join(leaves)}")


def missing_leaf(case: Case) -> Iterator[Finding]:
    """A parameter block that never comes, though others of the same network do."""
    given = {name for answer in case.answers for name in answer.given}
    networks = {name.partition(".")[0] for name in given if "." in name}
    names = [n for n in case.parts.problem.params if n not in given and n.partition(".")[0] in networks]
    if names:
        yield Finding("leaf missing", ", ".join(names))


def wrong_shape(case: Case) -> Iterator[Finding]:
    """A shape that is not the leaf's; a transposed block if its transpose is right."""
    leaves = case.parts.problem.leaves()
    for name, a in _last_given(case).items():
        if name in leaves and a.shape != leaves[name].shape:
            where = f"{name} is {a.shape}, should be {leaves[name].shape}"
            turned = as_float64(a).T
            if a.ndim == 2 and turned.shape == leaves[name].shape:
                off = np.max(np.abs(turned - case.true[name]))
                if off <= SMALL * np.max(np.abs(case.true[name])):
                    yield Finding("transposed block", where)
                    continue
            yield Finding("wrong shape", where)


def wrong_dtype(case: Case) -> Iterator[Finding]:
    """Numbers that are not float64: float32, complex, or no numbers at all."""
    given = _last_given(case)
    for dtype in dict.fromkeys(a.dtype for a in given.values() if not is_float64(a)):
        names = ", ".join(name for name, a in given.items() if a.dtype == dtype)
        yield Finding("wrong dtype", f"{names}: {dtype}, should be float64")


def not_finite(case: Case) -> Iterator[Finding]:
    """NaN or infinity in what was returned."""
    seen: set[str] = set()
    for answer in case.answers:
        for name, a in answer.given.items():
            bad = np.argwhere(~np.isfinite(as_float64(a)))
            if len(bad) and name not in seen and a.dtype.kind in "fc":
                seen.add(name)
                index = [int(i) for i in bad[0]]
                yield Finding("NaN or infinity", f"{name}{index or ''} at tol {answer.tol:.0e}", {"entries": len(bad)})


def _last_given(case: Case) -> dict[str, Array]:
    """The arrays of the last answer that has any."""
    return next((dict(answer.given) for answer in reversed(case.answers) if answer.given), {})


FORM: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    unknown_leaf, missing_leaf, wrong_shape, wrong_dtype, not_finite,
)  # fmt: skip


# ---------------------------------------------------------------- one mistake for all blocks

def explain(case: Case) -> list[Explanation]:
    """The mistakes that give what was returned: of parameters and x, or of the times where nothing else came.

    Several, if this problem cannot tell them apart, first those that give t0, T and t_obs too; fitted ones only if no
    other does.
    """
    leaves = _judged(case)
    if not any(leaf in case.wrong for leaf in leaves):
        return []
    named = (e for mistake in NAMED for e in _computed(mistake, case.parts))
    if found := [e for e in named if _explains(case, e.grads, leaves)]:
        times = [leaf for leaf in case.got if leaf not in leaves]
        return sorted(found, key=lambda e: sum(not _explains(case, e.grads, [leaf]) for leaf in times))
    for mistake in FITTED:
        tried = _computed(mistake, case.parts, case.got, case.scale, leaves)
        if found := [e for e in tried if _explains(case, e.grads, leaves)]:
            return found
    return []


def _judged(case: Case) -> list[str]:
    return [leaf for leaf in case.got if leaf not in TIMES] or list(case.got)


def _computed(mistakes: Callable[..., Iterable[Mistake]], *given: Any) -> list[Mistake]:
    """The mistakes, or none where the problem's parts cannot be computed."""
    try:
        return list(mistakes(*given))
    except NumericalError:
        return []


def _explains(case: Case, grads: Grads, leaves: list[str]) -> bool:
    """Whether a gradient leaves little of every wrong leaf's error, and right what is right."""
    return all(
        _little(case, case.off(grads, leaf), case.off(case.true, leaf), leaf)
        if leaf in case.wrong
        else case.off(grads, leaf) <= case.room(leaf)
        for leaf in leaves
    )


def _little(case: Case, left: float, error: float, leaf: str) -> bool:
    """Whether what an explanation leaves is little of a leaf's error."""
    return left <= (SMALL if case.got[leaf].size > 1 else SMALL_OF_ONE) * error < np.inf


def _spoken(case: Case, words: list[str], where: str, leaves: list[str], grads: Grads, base: Grads) -> Finding:
    """A finding with its evidence: the error it explains, and what it leaves of it."""
    error = max(case.off(base, leaf) for leaf in leaves)
    left = max(case.off(grads, leaf) for leaf in leaves)
    others = [word for word in dict.fromkeys(words) if word != words[0]]
    untold = f"; on this problem the same as: {', '.join(others)}" if others else ""
    return Finding(words[0], where + untold, {"error": error, "unexplained": left / error if error else 0.0})


# ---------------------------------------------------------------- block by block

Guess = tuple[str, Array]  # a word, and what the block would be


def transposed_block(case: Case, base: Grads, leaf: str) -> Iterator[Guess]:
    """A square block, transposed."""
    if base[leaf].ndim == 2 and base[leaf].shape[0] == base[leaf].shape[1] > 1:
        yield "transposed block", base[leaf].T


def wrong_sign(case: Case, base: Grads, leaf: str) -> Iterator[Guess]:
    """A block with the wrong sign."""
    yield f"sign of {leaf}", -base[leaf]


def missing_end_value(case: Case, base: Grads, leaf: str) -> Iterator[Guess]:
    """The derivative of an end of the span without the integrand there, with the right sign or the wrong one."""
    if leaf in ("t0", "T") and case.parts.problem.loss.running:
        bare = base[leaf] - case.parts.at_ends[leaf]
        yield f"missing l({leaf}) in d{leaf}", bare
        yield f"missing l({leaf}) in d{leaf}, sign of {leaf}", -bare


def swapped_leaves(case: Case, base: Grads, leaf: str) -> Iterator[Guess]:
    """Two blocks of the same shape that stand in each other's place."""
    for other in case.got:
        if other != leaf and base[other].shape == base[leaf].shape and _fits(case, base, other, base[leaf]):
            yield f"swapped leaves {' and '.join(sorted((leaf, other)))}", base[other]


def zero_block(case: Case, base: Grads, leaf: str) -> Iterator[Guess]:
    """A block that is zero, as if it were not connected."""
    yield "zero block", np.zeros(base[leaf].shape)


def block_factor(case: Case, base: Grads, leaf: str) -> Iterator[Guess]:
    """A block times a number: any for an array, one that a known mistake gives for a single number."""
    problem, g = case.parts.problem, base[leaf]
    b, scale = problem.batch, problem.loss.scale or 1.0
    named = {2.0: "doubled block", 0.5: "halved block", 1 / b: "mean for sum", 1 / scale: "ignored upstream scale"}
    named[b] = "sum for mean"
    yield from ((word, r * g) for r, word in named.items() if r != 1)
    if g.size >= 4 and np.any(g):
        r = float(np.vdot(g, case.got[leaf]) / np.vdot(g, g))
        if min(abs(r - known) for known in (*named, 0.0, -1.0)) > ROUND:
            yield f"wrong factor {r:.4g}", r * g


BLOCKS: tuple[Callable[[Case, Grads, str], Iterator[Guess]], ...] = (
    wrong_sign, missing_end_value, transposed_block, swapped_leaves, zero_block, block_factor,
)  # fmt: skip


def explain_blocks(case: Case, base: Grads, left: list[str]) -> tuple[list[Finding], list[str]]:
    """Findings about single blocks, those of one word together, and the leaves that stay unexplained."""
    words: dict[str, list[str]] = {leaf: [] for leaf in left}
    for leaf in left:
        for start in (base, case.true):  # a time's gradient need not share the mistake of the rest
            guesses = [guess for check in BLOCKS for guess in _computed(check, case, start, leaf)]
            words[leaf] = words[leaf] or [word for word, guess in guesses if _fits(case, start, leaf, guess)]
    firsts = dict.fromkeys(found[0] for found in words.values() if found)
    findings = []
    for word in firsts:
        leaves = [leaf for leaf, found in words.items() if found and found[0] == word]
        others = [other for other in dict.fromkeys(o for leaf in leaves for o in words[leaf]) if other != word]
        untold = f"; on this problem the same as: {', '.join(others)}" if others else ""
        findings.append(Finding(word, ", ".join(leaves) + untold, {"error": max(case.off(base, n) for n in leaves)}))
    return findings, [leaf for leaf, found in words.items() if not found]


def _fits(case: Case, base: Grads, leaf: str, guess: Array) -> bool:
    """Whether a guess leaves little of how far a leaf is from its base."""
    return _little(case, case.off({leaf: guess}, leaf), case.off(base, leaf), leaf)


# ---------------------------------------------------------------- error against tolerance

FLOAT32 = (4.5, 7.5)  # digits between which float32 arithmetic levels off
FLAT = 0.25  # slope below which an error does not follow the tolerance any more


def float32_inside(case: Case, left: list[str]) -> Iterator[Finding]:
    """Numbers that float32 can hold, where the true ones are none; or an error that levels off where float32 does."""
    given = _last_given(case)
    for leaf, g in case.got.items():
        numbers = g[(np.abs(g) > 1e-6 * case.scale[leaf]) & is_float64(given.get(leaf, g))]
        if len(numbers) >= 4 and _single(numbers).all() and not _single(case.true[leaf]).any():
            yield Finding("float32 inside", f"every number of {leaf} is a float32")
            return
    last = [answer for answer in case.answers if answer.comparable(case.parts.problem)][-2:]
    for leaf in left if len(case.answers) > 2 else []:
        points = [(answer.tol, case.error(answer, leaf)) for answer in last]
        if all(10.0 ** -FLOAT32[1] < error < 10.0 ** -FLOAT32[0] for _, error in points) and case.got[leaf].size > 1:
            slope = log_slope(points)
            if slope < FLAT:
                where = f"{leaf} levels off at {-np.log10(points[-1][1]):.1f} digits"
                yield Finding("float32 inside", where, {"slope": slope})
                return


def _single(a: Array) -> Array:
    return a == a.astype(np.float32)


def not_proportional(case: Case, left: list[str]) -> Iterator[Finding]:
    """An error above the tolerance that stays where it is, over three decades of tolerance or more."""
    points = [(tol, error) for tol, error in case.errors if tol < error < np.inf]
    if not left or len(points) < 3 or points[0][0] < 1e3 * points[-1][0] or list(float32_inside(case, left)):
        return
    slope = log_slope(points)
    if slope < FLAT and points[-1][1] < 0.1:
        where = f"error {points[0][1]:.0e} at tol {points[0][0]:.0e}, {points[-1][1]:.0e} at {points[-1][0]:.0e}"
        yield Finding("not tolerance-proportional", where, {"slope": slope})


def far_beyond_tolerance(case: Case, left: list[str]) -> Iterator[Finding]:
    """An error that follows the tolerance, a thousand times above it."""
    far = [(tol, error) for tol, error in case.errors if 1000 * tol < error < 0.1]
    if left and far and far[-1] == case.errors[-1] and (case.slope is None or case.slope >= FLAT):
        yield Finding("error above 1000 tol", ", ".join(left), {"error / tol": far[-1][1] / far[-1][0]})


def blow_up(case: Case, left: list[str]) -> Iterator[Finding]:
    """A gradient a thousand times the true one or more, returned without an exception."""
    tol, worst = max(case.errors, key=lambda pair: pair[1], default=(0.0, 0.0))
    if worst > 1e3 and np.isfinite(worst) and (left or not case.wrong):
        yield Finding("blow-up", f"{worst:.1e} times the true gradient at tol {tol:.0e}, without an exception")


NUMERICS: tuple[Callable[[Case, list[str]], Iterator[Finding]], ...] = (
    float32_inside, not_proportional, far_beyond_tolerance, blow_up,
)  # fmt: skip
