"""Scores: a gradient against the truth, and what a configuration's scores over all tolerances amount to."""

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import refnode as rn

TIMES = ("t0", "T", "t_obs")
STOPPED = ("raised", "timeout", "crashed")


@dataclass(frozen=True)
class Score:
    """One configuration on one problem at one tolerance.

    outcome    "returned", "raised", "timeout", "crashed", "not run" or "n/a"; message says what was raised, or why
    digits     leaf -> correct digits; a leaf in `bounded` has at least those: the truth's radius hides the rest
    missing    leaves that have a gradient but of which none came
    blown      the largest entry of any leaf, against the largest true one of that leaf
    seconds    CPU seconds of one gradient; first: of the first call, where compilation shows
    """

    problem: str
    configuration: str
    tol: float
    outcome: str
    message: str = ""
    digits: dict = field(default_factory=dict)
    bounded: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    blown: float | None = None
    seconds: float | None = None
    first: float | None = None

    def worst(self, times=False):
        """The leaf with the fewest digits among parameters and inputs, or among times; None if there is none."""
        leaves = [leaf for leaf in self.digits if (leaf in TIMES) == times]
        return min(leaves, key=lambda leaf: self.digits[leaf], default=None)

    def kept(self):
        """Leaves that have -log10(tol) - 2 digits, or as many as the truth can tell."""
        promised = -math.log10(self.tol) - 2
        return [leaf for leaf, digits in self.digits.items() if digits >= promised or leaf in self.bounded]


def score(problem, configuration, tol, entry, truth, grads, seconds, first):
    """The Score of a returned gradient."""
    scale = truth.scales(entry.faint)
    found = {leaf: np.asarray(grads[leaf]) for leaf in truth.grads if leaf in grads}
    for leaf, g in found.items():
        if g.shape != truth.grads[leaf].shape or g.dtype != np.float64:
            message = f"{leaf} is {g.dtype} {g.shape}, should be float64 {truth.grads[leaf].shape}"
            return Score(problem, configuration, tol, "raised", message)
    errors = {leaf: largest(g - truth.grads[leaf]) for leaf, g in found.items()}
    radius = {leaf: largest(truth.radius[leaf]) for leaf in found}
    digits = {leaf: rn.digits_left(max(errors[leaf], radius[leaf]), scale[leaf]) for leaf in found}
    return Score(
        problem,
        configuration,
        tol,
        "returned",
        digits={leaf: round(value, 2) for leaf, value in digits.items()},
        bounded=[leaf for leaf in found if errors[leaf] <= radius[leaf]],
        missing=[leaf for leaf in truth.grads if leaf not in grads],
        blown=finite(max((largest(g) / scale[leaf] for leaf, g in found.items() if scale[leaf]), default=0.0)),
        seconds=float(f"{seconds:.3g}"),
        first=float(f"{first:.3g}"),
    )


def largest(a):
    """max |a|; infinite if an entry is not finite."""
    size = float(np.max(np.abs(a), initial=0.0))
    return size if math.isfinite(size) else math.inf


def finite(value):
    """The value to three digits, or None, which JSON has, for infinity."""
    return float(f"{value:.3g}") if math.isfinite(value) else None


# ---------------------------------------------------------------- what it amounts to


def verdict(scores):
    """The scores of one configuration on one problem, loosest tolerance first, in a few words."""
    returned = [s for s in scores if s.outcome == "returned"]
    notes = [f"{s.outcome} at {s.tol:.0e}: {shortened(s.message)}" for s in scores if s.outcome in STOPPED][:1]
    if returned:
        missing = returned[-1].missing
        notes = [in_words(returned), *notes] + ([f"no {', '.join(missing)}"] if missing else [])
    return "; ".join(notes)


def in_words(returned):
    """Whether the digits follow the tolerance, and in which leaves they do not."""
    last = returned[-1]
    if all(len(s.kept()) == len(s.digits) for s in returned):
        return "ok"
    wrong = [leaf for leaf, digits in last.digits.items() if digits < 1]
    if wrong and last.tol < 1e-3:
        right = [digits for leaf, digits in last.digits.items() if leaf not in wrong]
        where = f"wrong in {', '.join(wrong)}" if right and min(right) >= 2 else "wrong"
        return where + blown_up(last)
    short = [leaf for leaf in last.digits if leaf not in last.kept()]
    if not short:
        return "ok at the tightest"
    leaf = min(short, key=lambda leaf: last.digits[leaf])
    before = returned[-2].digits[leaf] if len(returned) > 1 else 0.0
    word = "stays at" if last.digits[leaf] - before < 0.5 else "short:"
    return f"{word} {last.digits[leaf]:.1f} in {leaf}"


def blown_up(last):
    """How much too large, if it is."""
    if last.blown is None:
        return ", not finite, no exception"
    return f", {last.blown:.0e} times the truth, no exception" if last.blown > 100 else ""


def shortened(message, length=70):
    """The first line of a message."""
    line = (message.strip().splitlines() or [""])[0]
    return line if len(line) <= length else line[: length - 3] + "..."


# ---------------------------------------------------------------- the file


def save(path, environment, tolerances, scores):
    """Write the board so that the file is the old one or the whole new one: one line a score."""
    head = {"format": "refnode.scoreboard", "version": 1, "environment": environment, "tolerances": list(tolerances)}
    lines = ",\n".join(json.dumps(asdict(s), allow_nan=False, separators=(",", ":")) for s in scores)
    text = json.dumps(head, indent=1)[:-2] + ',\n "scores": [\n' + lines + "\n]}\n"
    draft = Path(path).with_suffix(".tmp")
    draft.write_text(text, "utf-8")
    os.replace(draft, path)


def load(path):
    """Environment, tolerances and scores of a file."""
    board = json.loads(Path(path).read_text("utf-8"))
    return board["environment"], board["tolerances"], [Score(**s) for s in board["scores"]]
