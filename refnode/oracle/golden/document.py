"""A golden file as plain data, and back: a problem file's document with a block `answers` (docs/golden_files.md)."""

import hashlib
import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import prod
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import InvalidArgument
from refnode.json_file import MAX_BYTES, Place, pointer, real
from refnode.oracle.golden.printed import printed
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.problem_document import document as problem_document
from refnode.problem_file import to_problem
from refnode.schema import check_schema

FORMAT, VERSION = "refnode.answers", 1
FINEST = 24  # no midpoint is printed to more than so many digits of its leaf's largest entry
MID = re.compile(r"-?[0-9](\.[0-9]{1,80})?e[+-][0-9]{1,4}|0")
MID_ALLOWED = "a decimal number in a string, such as '-1.25e-3', or '0'"

Leaves = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Golden:
    """A problem and what is known of its gradient.

    name, about    of the problem
    problem        Problem
    truth          the gradient of every leaf, and the loss
    terminal       the part of it that the losses at T and at observation times contribute; None if there are none
    integral       the part of the running losses; None if there are none
    samples        what each sample contributes to every leaf; they sum to the truth
    proof          by what it was computed: engine, digits asked for, versions
    sha256         of the file's content
    """

    name: str
    about: str
    problem: Problem
    truth: Truth
    terminal: Truth | None
    integral: Truth | None
    samples: tuple[Truth, ...]
    proof: Mapping[str, Any]
    sha256: str = ""


# ---------------------------------------------------------------- hashes

def digest(node: Any) -> str:
    """SHA-256 of a document in its canonical form: keys sorted, no white space, ASCII (RFC 8785 for such documents).

    >>> digest({"b": 1, "a": "x"}) == hashlib.sha256(b'{"a":"x","b":1}').hexdigest()
    True
    """
    return hashlib.sha256(json.dumps(node, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def problem_digest(problem: Problem) -> str:
    """The digest of a problem's own document. Raises InvalidArgument for a problem that no file can hold."""
    return digest(problem_document(problem))


# ---------------------------------------------------------------- writing

def golden_document(golden: Golden) -> dict[str, Any]:
    """The content of a golden file."""
    problem, truth = problem_document(golden.problem), golden.truth
    answers = {
        "format": FORMAT,
        "version": VERSION,
        "name": golden.name,
        "about": golden.about,
        "kind": truth.kind,
        "how": truth.how,
        "passed": dict(truth.passed),
        "loss": None if truth.loss is None else _of_ball(truth.loss, truth.loss_radius),
        "gradient": _of_truth(truth),
        "terminal": None if golden.terminal is None else _of_truth(golden.terminal),
        "integral": None if golden.integral is None else _of_truth(golden.integral),
        "samples": [_of_truth(sample) for sample in golden.samples],
        "proof": dict(golden.proof),
        "problem_sha256": digest(problem),
    }
    return {**problem, "answers": answers | {"sha256": digest({**problem, "answers": answers})}}


def _of_ball(mid: Decimal, radius: float) -> dict[str, str]:
    finest = mid.adjusted() - FINEST if mid else -400
    return dict(zip(("mid", "radius"), printed(mid, Decimal(radius), finest), strict=True))


def _of_truth(truth: Truth) -> Leaves:
    return {leaf: _of_leaf(truth.midpoints(leaf), truth.radius[leaf]) for leaf in truth.grads}


def _of_leaf(mids: Array, radius: Array) -> dict[str, Any]:
    entries = mids.ravel().tolist()
    largest = max((v.adjusted() for v in entries if v), default=-400 + FINEST)
    pairs = [
        printed(mid, Decimal(r), largest - FINEST)
        for mid, r in zip(entries, np.ravel(radius).tolist(), strict=True)
    ]
    return {"shape": list(np.shape(radius)), "mid": [mid for mid, _ in pairs], "radius": [r for _, r in pairs]}


# ---------------------------------------------------------------- reading

def to_golden(node: Any, max_bytes: int = MAX_BYTES) -> Golden:
    """The inverse. Raises InvalidArgument, whose argument is a place in the file, for whatever is wrong."""
    problem = to_problem(node, max_bytes)
    if "answers" not in node:
        raise InvalidArgument(pointer(()), "a problem file without answers", "a golden file")
    answers = node["answers"]
    _check_version(answers)
    check_schema(answers, "answers.schema.json", ("answers",))
    _check_digests(node)
    kind, how, passed = answers["kind"], answers["how"], answers["passed"]

    def truth(part: Leaves, *place: str | int) -> Truth:
        return _to_truth(part, ("answers", *place), problem, kind, how)

    whole = truth(answers["gradient"], "gradient")
    if answers["loss"] is not None:
        mid, radius = _to_number(answers["loss"]["mid"], answers["loss"]["radius"], ("answers", "loss"))
        whole = Truth(whole.grads, whole.radius, kind, how, whole.mid, mid, radius, passed)
    parts = {name: None if answers[name] is None else truth(answers[name], name) for name in ("terminal", "integral")}
    samples = tuple(truth(sample, "samples", i) for i, sample in enumerate(answers["samples"]))
    if len(samples) != problem.batch:
        raise InvalidArgument("/answers/samples", f"{len(samples)} samples", f"{problem.batch}, one for each row of x")
    return Golden(
        answers["name"], answers["about"], problem, whole, parts["terminal"], parts["integral"], samples,
        answers["proof"], answers["sha256"],
    )  # fmt: skip


def _check_version(answers: Any) -> None:
    """First of all: the schema can only speak for files of its own version."""
    found = (answers.get("format"), answers.get("version")) if isinstance(answers, dict) else (None, None)
    if found[0] != FORMAT:
        raise InvalidArgument("/answers/format", reprlib.repr(found[0]), repr(FORMAT))
    if found[1] != VERSION or isinstance(found[1], bool):
        allowed = f"{VERSION}, the only version this refnode reads"
        raise InvalidArgument("/answers/version", reprlib.repr(found[1]), allowed)


def _check_digests(node: dict[str, Any]) -> None:
    """The file is the one that was written, and the answers are those of its problem."""
    answers = node["answers"]
    rest = {key: value for key, value in answers.items() if key != "sha256"}
    for place, said, found in (
        ("sha256", answers["sha256"], digest({**node, "answers": rest})),
        ("problem_sha256", answers["problem_sha256"], digest({k: v for k, v in node.items() if k != "answers"})),
    ):
        if said != found:
            raise InvalidArgument(f"/answers/{place}", said, f"{found}, that of the content: the file was changed")


def _to_truth(part: Leaves, place: Place, problem: Problem, kind: Any, how: str) -> Truth:
    leaves = problem.leaves()
    if set(part) != set(leaves):
        raise InvalidArgument(pointer(place), f"leaves {sorted(part)}", f"the leaves {sorted(leaves)}")
    grads, radius, mid = {}, {}, {}
    for name, leaf in leaves.items():
        mids, radii = _to_numbers(part[name], (*place, name), leaf.shape)
        mid[name] = np.array(mids, dtype=object).reshape(leaf.shape)
        grads[name] = np.array([float(v) for v in mids]).reshape(leaf.shape)
        radius[name] = np.array(radii).reshape(leaf.shape)
    return Truth(grads, radius, kind, how, mid)


def _to_numbers(node: dict[str, Any], place: Place, shape: tuple[int, ...]) -> tuple[list[Decimal], list[float]]:
    mids, radii = node["mid"], node["radius"]
    if tuple(node["shape"]) != shape:
        raise InvalidArgument(pointer((*place, "shape")), str(node["shape"]), f"{list(shape)}, the shape of the leaf")
    for key, numbers in (("mid", mids), ("radius", radii)):
        if len(numbers) != prod(shape):
            raise InvalidArgument(pointer((*place, key)), f"{len(numbers)} numbers", f"{prod(shape)} for that shape")
    pairs = [_to_number(m, r, (*place, "entry", i)) for i, (m, r) in enumerate(zip(mids, radii, strict=True))]
    return [mid for mid, _ in pairs], [r for _, r in pairs]


def _to_number(mid: object, radius: object, place: Place) -> tuple[Decimal, float]:
    if not isinstance(mid, str) or MID.fullmatch(mid) is None:
        raise InvalidArgument(pointer((*place, "mid")), reprlib.repr(mid), MID_ALLOWED)
    size = real(radius, (*place, "radius"))
    if not size >= 0:
        raise InvalidArgument(pointer((*place, "radius")), repr(radius), "a radius >= 0")
    return Decimal(mid), size
