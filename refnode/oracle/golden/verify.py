"""Proves golden files again: the new ball, with more digits, lies within the printed one, number by number."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import localcontext
from pathlib import Path

from refnode.errors import ProblemFileError
from refnode.oracle.decimals import EXACT, exact
from refnode.oracle.entry import Entry
from refnode.oracle.golden.build import Progress, compute
from refnode.oracle.golden.document import Golden, problem_digest
from refnode.oracle.golden.shelf import load_golden, shelf
from refnode.oracle.problems import catalogue
from refnode.oracle.truth import Truth, location, place

MORE = 3.0  # digits more than the file's: the new radius is a thousandth of the old one
QUICK = ("exp", "linear", "cosine", "mild", "theta_running", "unused", "zero", "tiny_span", "backwards", "own_T")

Compute = Callable[[Entry, float], Golden]


@dataclass(frozen=True)
class Verdict:
    """What became of one file.

    words     in words; ok   whether the file holds;  seconds   that it took
    """

    name: str
    kind: str
    words: str
    ok: bool
    seconds: float


def verify_golden(
    names: Sequence[str] = (), everything: bool = False, folder: Path | None = None,
    progress: Progress | None = None, compute: Compute = compute,
) -> list[Verdict]:  # fmt: skip
    """Read every golden file, and prove some of them again.

    Parameters
    ----------
    names         only these files, and all of them are proven; none: the whole catalogue, of which the quick are proven
    everything    prove all of the catalogue: many minutes
    folder        where the files are; None: those that ship
    compute       what proves

    A file fails if it is missing or corrupt, if the catalogue's problem has other numbers, or if a number proven again
    is not within its radius.
    """
    entries, verdicts = catalogue(*names), []
    for k, entry in enumerate(entries):
        if progress:
            progress(entry.name, k, len(entries))
        proves = bool(names) or everything or entry.name in QUICK
        verdicts.append(_verdict(entry, (folder or shelf()) / f"{entry.name}.json", compute if proves else None))
    return verdicts


def _verdict(entry: Entry, path: Path, compute: Compute | None) -> Verdict:
    started, kind = time.perf_counter(), ""
    try:
        golden = load_golden(path)
        kind, (words, ok) = golden.truth.kind, _compared(entry, golden, compute)
    except ProblemFileError as error:
        words, ok = str(error), False
    return Verdict(entry.name, kind, words, ok, time.perf_counter() - started)


def _compared(entry: Entry, golden: Golden, compute: Compute | None) -> tuple[str, bool]:
    if problem_digest(golden.problem) != problem_digest(entry.problem):
        return "the problem of the catalogue has other numbers", False
    if compute is None:
        return "whole; not proven again", True
    new = compute(entry, float(golden.proof["digits"]) + MORE)
    estimated = "estimated" in (golden.truth.kind, new.truth.kind)
    if estimated and golden.truth.kind != new.truth.kind:
        return f"the file is {golden.truth.kind}, now it is {new.truth.kind}", False
    for what, old, again in _pairs(golden, new):
        for leaf in old.radius:
            if at := outside(old, again, leaf, touching=estimated):
                return f"{what}: {at} is not what the file says", False
    return ("estimated again: agrees" if estimated else "proven again: within every radius"), True


def _pairs(old: Golden, new: Golden) -> Iterator[tuple[str, Truth, Truth]]:
    """Every truth of a file beside the new one."""
    yield "gradient", old.truth, new.truth
    for what, mine, theirs in (("terminal", old.terminal, new.terminal), ("integral", old.integral, new.integral)):
        if mine is not None and theirs is not None:
            yield what, mine, theirs
    for i, (mine, theirs) in enumerate(zip(old.samples, new.samples, strict=True)):
        yield f"sample {i}", mine, theirs


def outside(old: Truth, new: Truth, leaf: str, touching: bool = False) -> str:
    """The first number of a leaf whose new ball is not within the old one; or, `touching`, does not touch it."""
    with localcontext(EXACT):
        off = abs(old.midpoints(leaf).ravel() - new.midpoints(leaf).ravel())
        mine, theirs = exact(old.radius[leaf]).ravel(), exact(new.radius[leaf]).ravel()
        room = mine + theirs if touching else mine - theirs
        bad = [k for k in range(len(off)) if off[k] > room[k]]
    return place(leaf, location(bad[0], old.radius[leaf].shape)) if bad else ""
