"""A golden file comes back as it was written; whatever was done to one since is refused, by name and place."""

# ruff: noqa: E501

import copy
import json
import re
from fractions import Fraction
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import refnode as rn
from refnode.oracle.decimals import exact
from refnode.oracle.golden.document import digest, golden_document
from refnode.oracle.golden.shelf import golden, load_golden
from refnode.oracle.problems import catalogue
from tests.hostile_files import drop, put
from tests.oracle.golden.stand_in import compute

SCHEMA = json.loads((Path(rn.__file__).parent / "answers.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def written():
    """The golden file of a closed form, as its document."""
    return golden_document(compute(catalogue("linear")[0]))


def signed(document):
    """The document with the digests of what it says now: someone meant to change it."""
    answers = {key: value for key, value in document["answers"].items() if key not in ("sha256", "problem_sha256")}
    problem = {key: value for key, value in document.items() if key != "answers"}
    answers["problem_sha256"] = digest(problem)
    return {**problem, "answers": answers | {"sha256": digest({**problem, "answers": answers})}}


def saved(document, folder):
    path = folder / "linear.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


def test_a_file_comes_back(written, tmp_path):
    """Problem bit for bit; balls that contain those that were known; parts, samples, record; and it fits its schema."""
    jsonschema.validate(written["answers"], SCHEMA)
    (entry,) = catalogue("linear")
    known, found = compute(entry), load_golden(saved(written, tmp_path))
    assert (found.name, found.about, found.integral) == ("linear", entry.about, None)
    assert {name: a.tobytes() for name, a in found.problem.leaves().items()} == {
        name: a.tobytes() for name, a in entry.problem.leaves().items()
    }
    pairs = [(known.truth, found.truth), (known.terminal, found.terminal)]
    pairs += zip(known.samples, found.samples, strict=True)
    for old, new in pairs:
        for leaf in old.grads:
            off = abs(old.mid[leaf].ravel() - new.mid[leaf].ravel())
            room = exact(new.radius[leaf]).ravel() - exact(old.radius[leaf]).ravel()
            assert all(Fraction(a) <= Fraction(b) for a, b in zip(off, room, strict=True))
            assert np.array_equal(new.grads[leaf], new.mid[leaf].astype(np.float64))
    assert golden_document(found) | {"answers": None} == written | {"answers": None}


def test_a_golden_file_is_a_problem_file(written, tmp_path):
    """Whoever wants the problem alone reads it as one."""
    problem = rn.load_problem(saved(written, tmp_path))
    assert np.array_equal(problem["x"], catalogue("linear")[0].problem["x"])


def test_no_more_than_24_digits_are_printed(written):
    """The closed form is known to 57; the file says 24 of each leaf's largest entry, and the radius covers the rest."""
    for leaf in written["answers"]["gradient"].values():
        assert max(len(re.sub(r"^-|\.|e.*", "", mid)) for mid in leaf["mid"]) <= 25
        assert all(1e-27 < float.fromhex(r) < 1e-22 for r in leaf["radius"])


LEAF = ("answers", "gradient", "theta.W0")
HOSTILE = {  # what: (change, whether digests are made to fit, message)
    "a digit changed": (put(*LEAF, "mid", 0, value="1e+0"), False, r"/answers/sha256: got \w+; must be \w+, that of the content"),
    "the problem changed": (put("x", "data", 0, value="0x1p+0"), False, "/answers/sha256: got"),
    "no answers": (drop("answers"), False, r"\(document\): got a problem file without answers; must be a golden file"),
    "answers of another format": (put("answers", "format", value="mine"), True, "/answers/format: got 'mine'; must be 'refnode.answers'"),
    "answers a list": (put("answers", value=[1]), False, "/answers: got a list of 1; must be an object: what is known"),
    "later version": (put("answers", "version", value=2), True, "/answers/version: got 2; must be 1, the only version this refnode reads"),
    "problem of a later version": (put("version", value=2), True, "/version: got 2; must be 1"),
    "kind of its own": (put("answers", "kind", value="certain"), True, "/answers/kind: got \"certain\"; must be one of 'closed form'"),
    "no radius": (drop(*LEAF, "radius"), True, "/answers/gradient/theta.W0: got no key 'radius'"),
    "NaN": (put(*LEAF, "mid", 1, value="nan"), True, "/answers/gradient/theta.W0/entry/1/mid: got 'nan'; must be a decimal number"),
    "a number": (put(*LEAF, "mid", 1, value=float("nan")), False, "/answers/gradient/theta.W0/mid/1: got the number NaN"),
    "infinite radius": (put(*LEAF, "radius", 1, value="inf"), True, "/answers/gradient/theta.W0/entry/1/radius: got 'inf'"),
    "negative radius": (put(*LEAF, "radius", 1, value="-0x1p-80"), True, r"entry/1/radius: got '-0x1p-80'; must be a radius >= 0"),
    "another shape": (put(*LEAF, "shape", value=[4]), True, r"/answers/gradient/theta.W0/shape: got \[4\]; must be \[2, 2\], the shape of the leaf"),
    "a number too few": (lambda d: d["answers"]["gradient"]["theta.W0"]["mid"].pop(), True, "/answers/gradient/theta.W0/mid: got 3 numbers; must be 4"),
    "a leaf too few": (drop("answers", "gradient", "x"), True, r"/answers/gradient: got leaves \['T', 't0', 'theta.W0'\]; must be the leaves"),
    "a sample too few": (lambda d: d["answers"]["samples"].pop(), True, "/answers/samples: got 2 samples; must be 3, one for each row of x"),
    "unknown key": (put("answers", "extra", value="1"), True, "/answers/extra: got an unknown key"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_spoiled_files_are_refused(written, tmp_path, what):
    """One line that names the file, the place and what is allowed there."""
    change, fitting, message = HOSTILE[what]
    document = copy.deepcopy(written)
    change(document)
    path = saved(signed(document) if fitting else document, tmp_path)
    with pytest.raises(rn.ProblemFileError, match="linear.json: .*" + message):
        load_golden(path)


def test_a_file_cut_short_is_refused(written, tmp_path):
    """As an interrupted copy leaves it."""
    text = json.dumps(written)
    for length in (0, 1, len(text) // 2, len(text) - 1):
        with pytest.raises(rn.ProblemFileError, match=r"linear.json: line 1, column \d+: got no JSON here"):
            load_golden(saved(text[:length], tmp_path))


def test_names_that_are_not_there(tmp_path):
    """An unknown name is refused with the known ones, a missing file by its path."""
    with pytest.raises(rn.InvalidArgument, match=r"name: got mid; must be a path that ends in \.json, or among exp, linear"):
        golden("mid")
    with pytest.raises(rn.ProblemFileError, match=r"none\.json: the file: got No such file"):
        golden(tmp_path / "none.json")
