"""Computes golden files: a proof where there is one, else the next best, with the reason why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import localcontext
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from refnode.errors import (
    BackendUnavailable,
    InvalidArgument,
    NotEnoughDigits,
    NotProvable,
    NumericalError,
    ProblemFileError,
)
from refnode.json_file import write_json
from refnode.oracle.apart import Engine, integral_part, sample_parts, terminal_part, total
from refnode.oracle.consensus import consensus
from refnode.oracle.decimals import EXACT, exact
from refnode.oracle.entry import Entry
from refnode.oracle.golden.document import Golden, golden_document, problem_digest
from refnode.oracle.golden.shelf import INDEX, load_golden
from refnode.oracle.problems import CATALOGUE, catalogue
from refnode.oracle.truth import Truth, location, place

DIGITS = 22.0  # of a proof; printing costs a little of the radius, and 20 are to be left

Progress = Callable[[str, int, int], None]  # (what, done, total)


def compute(entry: Entry, digits: float = DIGITS) -> Golden:
    """All that a golden file says: by proof, else by double-double Taylor series, else by consensus.

    Raises
    ------
    BackendUnavailable    without python-flint: files without a proof are for problems that have none
    NumericalError        if parts and whole contradict each other, which would be a bug
    """
    passed: dict[str, str] = {}
    for name, engine in ENGINES.items():
        try:
            golden = engine(entry, digits, passed)
        except (NotProvable, NotEnoughDigits) as reason:
            passed[name] = str(reason)
            continue
        if golden.truth.kind != "estimated" and (fault := contradiction(golden)):
            raise NumericalError(f"{entry.name}: {fault}")
        return golden
    raise NotProvable(f"{entry.name}: {passed}")


def build(
    names: Sequence[str], folder: str | Path, digits: float = DIGITS, again: bool = False,
    progress: Progress | None = None,
) -> list[str]:  # fmt: skip
    """Write golden files and their index into a folder; files that are there and whole are kept, unless `again`.

    Returns the names of the files written. The same numbers, versions and digits give the same bytes.

    Raises InvalidArgument for a folder that is not there, and for unknown names.
    """
    target = Path(folder)
    if not target.is_dir():
        raise InvalidArgument("folder", repr(str(folder)), "a folder that exists")
    written, entries = [], catalogue(*names)
    for k, entry in enumerate(entries):
        if progress:
            progress(entry.name, k, len(entries))
        path = target / f"{entry.name}.json"
        if again or not _current(path, entry, digits):
            write_json(golden_document(compute(entry, digits)), path)
            written.append(entry.name)
    write_json(_index(target), target / INDEX)
    return written


def _current(path: Path, entry: Entry, digits: float) -> bool:
    """Whether a file is whole, and of this problem and these digits."""
    try:
        golden = load_golden(path)
    except ProblemFileError:
        return False
    same = problem_digest(golden.problem) == problem_digest(entry.problem)
    return same and golden.proof.get("digits") == f"{digits:g}"


def _index(folder: Path) -> dict[str, str]:
    """Name -> digest of the problem, in the catalogue's order."""
    paths = {name: folder / f"{name}.json" for name in CATALOGUE}
    return {name: problem_digest(load_golden(path).problem) for name, path in paths.items() if path.exists()}


# ---------------------------------------------------------------- engines

def _proven(entry: Entry, digits: float, passed: Mapping[str, str]) -> Golden:
    """One proof for all: its balls of every sample and of both kinds of terms add up to the parts and to the whole."""
    if find_spec("flint") is None:
        raise BackendUnavailable("golden files are proven with python-flint: pip install 'refnode[proof]'")
    from refnode.oracle.proof import attempts

    problem, loss = entry.problem, entry.problem.loss
    terms = [(True, False)] if loss.terminal is not None or loss.observations is not None else []
    terms += [(False, True)] if loss.running else []
    found = attempts.proof(problem, digits, terms)
    parts = dict(zip(terms, [found.truth(found.total(k)) for k in range(len(terms))], strict=True))
    samples = (
        [found.truth(found.single(i, k)) for k in range(len(terms))] for i in range(problem.batch)
    )
    record = _record("ball arithmetic", digits, "python-flint")
    return Golden(
        entry.name, entry.about, problem, _with(total(problem, list(parts.values())), passed),
        parts.get((True, False)), parts.get((False, True)), tuple(total(problem, mine) for mine in samples), record,
    )  # fmt: skip


def _verified(entry: Entry, digits: float, passed: Mapping[str, str]) -> Golden:
    from refnode.oracle.taylor import verify

    record = _record("Taylor series in double-double arithmetic", digits, "numba")
    return _by(lambda problem: verify(problem, digits), entry, passed, record)


def _estimated(entry: Entry, digits: float, passed: Mapping[str, str]) -> Golden:
    return _by(consensus, entry, passed, _record("float64 consensus", digits, "numpy"))


ENGINES: dict[str, Callable[[Entry, float, Mapping[str, str]], Golden]] = {
    "proof": _proven,
    "double-double": _verified,
    "consensus": _estimated,
}


def _by(engine: Engine, entry: Entry, passed: Mapping[str, str], record: Mapping[str, Any]) -> Golden:
    """By an engine that knows whole problems only."""
    problem = entry.problem
    terminal, integral = terminal_part(problem, engine), integral_part(problem, engine)
    samples = sample_parts(problem, engine)
    whole = _with(engine(problem), passed)
    return Golden(entry.name, entry.about, problem, whole, terminal, integral, samples, record)


def _with(truth: Truth, passed: Mapping[str, str]) -> Truth:
    return replace(truth, passed=dict(passed))


def _record(engine: str, digits: float, package: str) -> dict[str, str]:
    """By what a file was computed: nothing that differs from one run to the next."""
    from refnode import __version__

    return {"engine": engine, "digits": f"{digits:g}", "refnode": __version__, package: metadata.version(package)}


# ---------------------------------------------------------------- the whole and its parts

def contradiction(golden: Golden) -> str:
    """Where the whole is not the sum of its parts, within all their radii; empty if it is."""
    terms = [part for part in (golden.terminal, golden.integral) if part is not None]
    for what, parts in (("terminal and integral parts", terms), ("samples", list(golden.samples))):
        for leaf in golden.truth.grads:
            if at := _gap(golden.truth, parts, leaf):
                return f"the {what} do not add up to {at}"
    return ""


def _gap(whole: Truth, parts: Sequence[Truth], leaf: str) -> str:
    """The first number of a leaf that is off by more than the radii."""
    with localcontext(EXACT):
        off = whole.midpoints(leaf).ravel() - sum(part.midpoints(leaf).ravel() for part in parts)
        room = sum((exact(part.radius[leaf]).ravel() for part in parts), exact(whole.radius[leaf]).ravel())
        bad = [k for k in range(len(off)) if abs(off[k]) > room[k]]
    return place(leaf, location(bad[0], whole.radius[leaf].shape)) if bad else ""
