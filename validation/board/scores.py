"""Scores: a gradient against the truth, and what a configuration's scores over all tolerances amount to."""

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import refnode as rn
from refnode.oracle.truth import farthest, place

TIMES = ("t0", "T", "t_obs")
STOPPED = ("raised", "timeout", "crashed")


@dataclass(frozen=True)
class Score:
    """One configuration on one problem at one tolerance.

    outcome    "returned", "raised", "timeout", "crashed", "not run" or "n/a"; message says what was raised, or why
    digits     leaf -> correct digits; a leaf in `bounded` has at least those: the truth's radius hides the rest
    missing    leaves that have a gradient but of which none came
    blown      the largest entry of any leaf, against the largest true one of that leaf
    farthest   the number that is farthest off, by leaf and index
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
    farthest: str = ""
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
    gaps = {leaf: truth.gap(leaf, g) for leaf, g in found.items()}
    errors = {leaf: largest(gap) for leaf, gap in gaps.items()}
    radius = {leaf: largest(truth.radius[leaf]) for leaf in found}
    digits = {leaf: rn.digits_left(max(errors[leaf], radius[leaf]), scale[leaf]) for leaf in found}
    worst = min(digits, key=lambda leaf: digits[leaf], default=None)
    return Score(
        problem,
        configuration,
        tol,
        "returned",
        digits={leaf: round(value, 2) for leaf, value in digits.items()},
        bounded=[leaf for leaf in found if errors[leaf] <= radius[leaf]],
        missing=[leaf for leaf in truth.grads if leaf not in grads],
        blown=finite(max((times(largest(g), scale[leaf]) for leaf, g in found.items()), default=0.0)),
        farthest="" if worst is None else place(worst, farthest(gaps[worst])),
        seconds=float(f"{seconds:.3g}"),
        first=float(f"{first:.3g}"),
    )


def largest(a):
    """max |a|; infinite if an entry is not finite."""
    size = float(np.max(np.abs(a), initial=0.0))
    return size if math.isfinite(size) else math.inf


def times(size, scale):
    """size / scale; where every true gradient is zero there is no scale, and only infinity counts."""
    if math.isinf(size):
        return size
    return size / scale if scale else 0.0


def finite(value):
    """The value to three digits, or None, which JSON has, for infinity."""
    return float(f"{value:.3g}") if math.isfinite(value) else None


# ---------------------------------------------------------------- what it amounts to

WORDS = ("right", "short", "wrong", "none", "n/a")
BLOWN = 100.0  # times the truth: not an error of digits any more


def word(scores):
    """What the scores of one configuration on one problem, over all tolerances, amount to.

    "right"    at the tightest tolerance that returned, every leaf has -log10(tol) - 2 digits, or all that are known
    "short"    not so many, but at least one in every leaf
    "wrong"    at the tightest tolerance a leaf has not one digit; or, anywhere, an entry is 100 times too large
    "none"     nothing was returned;  "n/a"  the problem does not apply
    """
    returned = [s for s in scores if s.outcome == "returned"]
    if not returned:
        return "n/a" if scores[0].outcome == "n/a" else "none"
    last = returned[-1]
    if blown(returned) > BLOWN or wrong_leaves(last):
        return "wrong"
    return "right" if len(last.kept()) == len(last.digits) else "short"


def wrong_leaves(last):
    """Leaves without one digit, where the tolerance asks for more than that."""
    lost = [leaf for leaf, digits in last.digits.items() if digits < 1 and leaf not in last.bounded]
    return lost if last.tol < 1e-3 else []


def blown(returned):
    """The largest entry of any leaf at any tolerance, against the largest true one of that leaf; inf if not finite."""
    return max(math.inf if s.blown is None else s.blown for s in returned)


def verdict(scores):
    """The same in a few words, with leaf, digits and what went wrong besides."""
    returned = [s for s in scores if s.outcome == "returned"]
    notes = [f"{s.outcome} at {s.tol:.0e}: {shortened(s.message)}" for s in scores if s.outcome in STOPPED][:1]
    if returned:
        missing = returned[-1].missing
        notes = [in_words(returned), *notes] + ([f"no {', '.join(missing)}"] if missing else [])
    return "; ".join(notes)


def in_words(returned):
    """Whether the digits follow the tolerance, and in which leaves they do not."""
    last, found = returned[-1], word(returned)
    if found == "wrong":
        return f"wrong{where(last)}{too_large(blown(returned))}"
    if found == "right":
        looser = [s for s in returned if len(s.kept()) < len(s.digits)]
        return f"right from {tighter(returned, looser[-1]):.0e}" if looser else "right"
    leaf = min((leaf for leaf in last.digits if leaf not in last.kept()), key=lambda leaf: last.digits[leaf])
    before = returned[-2].digits[leaf] if len(returned) > 1 else 0.0
    stays = len(returned) > 1 and last.digits[leaf] - before < 0.5
    return f"{'stays at' if stays else 'short:'} {last.digits[leaf]:.1f} in {leaf}"


def tighter(returned, score):
    """The next tolerance after the score's."""
    return returned[returned.index(score) + 1].tol


def where(last):
    """The leaves that are wrong, if they are few."""
    wrong = wrong_leaves(last)
    few = wrong and len(wrong) < max(3, len(last.digits) / 2)
    return f" in {', '.join(wrong)}" if few else ""


def too_large(times):
    """How much too large, if it is."""
    if times == math.inf:
        return ", not finite, no exception"
    return f", up to {times:.0e} times the truth, no exception" if times > BLOWN else ""


def shortened(message, length=70):
    """The first line of a message."""
    line = (message.strip().splitlines() or [""])[0]
    return line if len(line) <= length else line[: length - 3] + "..."


# ---------------------------------------------------------------- the file


@dataclass
class Board:
    """A run.

    environment    versions and machine
    tolerances     from the loosest to the tightest
    limit          CPU seconds allowed for one gradient
    problems       name -> {"about", "truth"}
    scores         in the order of problems, configurations, tolerances
    """

    environment: dict
    tolerances: list
    limit: float
    problems: dict = field(default_factory=dict)
    scores: list = field(default_factory=list)

    def cells(self):
        """(problem, configuration) -> its scores, loosest tolerance first."""
        found = {}
        for s in self.scores:
            found.setdefault((s.problem, s.configuration), []).append(s)
        return found


def save(path, board):
    """Write the board so that the file is the old one or the whole new one: one line a score."""
    head = {"format": "refnode.scoreboard", "version": 1, **asdict(board)}
    del head["scores"]
    lines = ",\n".join(json.dumps(asdict(s), allow_nan=False, separators=(",", ":")) for s in board.scores)
    text = json.dumps(head, indent=1)[:-2] + ',\n "scores": [\n' + lines + "\n]}\n"
    draft = Path(path).with_suffix(".tmp")
    draft.write_text(text, "utf-8")
    os.replace(draft, path)


def load(path):
    """The Board of a file."""
    node = json.loads(Path(path).read_text("utf-8"))
    keys = ("environment", "tolerances", "limit", "problems")
    return Board(*(node[key] for key in keys), [Score(**s) for s in node["scores"]])
