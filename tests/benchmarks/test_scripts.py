"""Every script runs in short without other libraries, and the committed results are what pages and README say."""

import ast
import importlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import aims, children, handed, proof, readme, tasks
from benchmarks.__main__ import SCRIPTS, chosen
from benchmarks.races import mine_of, races_of
from benchmarks.script import RESULTS, load, whole_page
from refnode.kernels.threads import ALONE

ROOT = Path(__file__).resolve().parent.parent.parent
QUESTIONS = ("A0", "A1", "A2", "A3", "A4", "A5", "B0", "B1", "C0", "C1", "D0", "E0", "F0", "F1")


def module(name):
    """A script as a module."""
    return importlib.import_module(f"benchmarks.{name}")


def run(*arguments):
    """A process of python -m."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_against_itself(tmp_path):
    """Two processes of one state are timed in turn; what is no checkout, and what is no task, is refused by name."""
    done = run("benchmarks.against", str(ROOT), "C", "--rounds", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("tol 1e-10, float64: " in line and "of the time before" in line for line in lines)
    assert f"{tmp_path} holds no refnode" in run("benchmarks.against", str(tmp_path)).stderr
    assert "TASKS is 'CX'; it may be some of ABCD" in run("benchmarks.against", str(ROOT), "CX").stderr
    assert "--rounds is 1; it may be 2 or more" in run("benchmarks.against", str(ROOT), "--rounds", "1").stderr


def test_short(tmp_path):
    """All scripts in order; every one prints a table and draws, and the committed results stay as they are."""
    before = {path.name: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
    done = run("benchmarks", "--short", "--into", str(tmp_path))
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    for name in SCRIPTS:
        data = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        assert (tmp_path / f"{name}.md").read_text("utf-8") == whole_page(name, data, module(name).page)
        assert "\n|---" in module(name).page(data)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name: path.stat().st_mtime_ns for path in RESULTS.iterdir()} == before


@pytest.mark.parametrize(("other", "first", "second"), [(0, 6, 36), (1, 36, 6)])
def test_what_is_handed_is_read(other, first, second):
    """Rows of 0 and of 10 grow by 1 three times and are added, a task's own or the other: 1 + 2 + 3, 11 + 12 + 13."""
    a, sums = np.zeros((2, 2, 40), np.float32)
    a[1] = 10
    handed.again(ALONE, 3, a, sums, other, 1)
    assert (a[0] == 3).all()
    assert (sums[0] == first).all()
    assert (sums[1] == second).all()


def test_other_libraries_come_late():
    """No script loads torch or jax before a contestant asks for them."""
    scripts = ", ".join(SCRIPTS)
    code = f"import sys; from benchmarks import {scripts}; print(*(name in sys.modules for name in ('torch', 'jax')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_what_modules_take_from_each_other_is_there():
    """Every name that a file of benchmarks imports from another one, inside functions too, exists."""
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "benchmarks":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    assert hasattr(importlib.import_module(node.module), alias.name) or find_spec(whole), (path, whole)


def test_one_script_a_question():
    """Each script's docstring begins with its question's letter."""
    assert tuple(module(name).__doc__.partition(":")[0] for name in SCRIPTS) == QUESTIONS


def test_names_may_be_cut_short():
    """Beginnings choose, in the order of the scripts; what none begins with is refused."""
    assert chosen(["f1", "a"]) == [*SCRIPTS[:6], "f1_activations"]
    assert chosen([]) == list(SCRIPTS)
    with pytest.raises(SystemExit, match="no script begins with 'z'"):
        chosen(["z"])


def test_blas_chooses_for_itself(monkeypatch):
    """OPENBLAS_CORETYPE is taken away before numpy is loaded."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    code = "import sys, benchmarks, os; print('OPENBLAS_CORETYPE' in os.environ, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_children_have_the_threads_they_are_given():
    """A child sees its settings; a child that fails is an error here."""
    assert children.ask("machine:cores", threads=1) == 1 or sys.platform != "linux"
    with pytest.raises(RuntimeError, match="ended with status"):
        children.ask("machine:nothing")


# ---------------------------------------------------------------- committed results

SAVED = readme.saved()
with_results = pytest.mark.skipif(not SAVED, reason="there are no results yet")


def test_all_results_or_none():
    """Numbers of one machine are not mixed with gaps."""
    assert SAVED in ([], list(SCRIPTS))


FOLDERS = [(RESULTS, name) for name in SAVED] + [(path.parent, path.stem) for path in readme.SECOND.glob("*.json")]


@pytest.mark.parametrize(("folder", "name"), FOLDERS, ids=lambda value: getattr(value, "name", value))
def test_pages_are_those_of_the_numbers(folder, name):
    """The page is what the JSON file says, to the letter; the picture lies beside it."""
    data = load(name, folder)
    assert (folder / f"{name}.md").read_text("utf-8") == whole_page(name, data, module(name).page)
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {"processor", "refnode", "numpy", "numba"} <= data["machine"].keys()


@pytest.mark.parametrize("page", readme.SECTIONS)
def test_pages_say_what_the_results_say(page):
    """`python -m benchmarks.readme --write` changes nothing in README.md and docs/."""
    assert readme.BEGIN + readme.SECTIONS[page]() + readme.END in (ROOT / page).read_text("utf-8")


@with_results
@pytest.mark.parametrize("name", ["a0_forward", "a1_gradient", "b0_work_precision", "c0_batch"])
def test_committed_races_are_verified(name):
    """Every contestant is within what was allowed, and others than refnode took part in every race."""
    for one in load(name)["races"]:
        assert all(timing["error"] <= one["within"] for timing in one["timings"])
        assert any(not timing["name"].startswith("refnode") for timing in one["timings"])


@with_results
def test_aims_are_held_against_the_races():
    """A row for each aim; what is reached lies within the race's spread, and is no more than the bound allows."""
    rows = [row.split(" | ") for row in aims.table().splitlines()[2:]]
    assert len(rows) == len(aims.FASTER) + len(aims.SHARES) + 3 * len(tasks.DTYPES)
    for (script, title, rivals, aim), row in zip(aims.FASTER, rows, strict=False):
        assert float(row[1]) == aim
        (race,) = [race for race in races_of(load(script)) if race.title == title]
        mine = race.of(mine_of(race)).rounds
        others = [t.rounds for t in race.timings if t.name.startswith(rivals) and not t.name.startswith("refnode")]
        fastest = min(others, key=lambda rounds: sorted(rounds)[len(rounds) // 2])
        each = sorted(a / b for a, b in zip(fastest, mine, strict=True))
        assert each[0] - 0.05 <= float(row[2]) <= each[-1] + 0.05
        assert not row[3] or float(row[2]) <= float(row[3])
        # nobody is beaten by less care; a mean over draws is within two standard errors of what it would be over all
        ratio, _, spread = row[6].rstrip(" |").partition(" +- ")
        assert float(ratio) <= 1.005 + 2 * float(spread or 0)


@with_results
def test_aims_of_training_are_held_against_the_race():
    """The fastest of refnode's contestants and of the others'; all end at one loss, but for rounding and steps."""
    rows = [row.split(" | ") for row in aims.training()]
    for (dtype, found), row in zip(load("a2_training")["dtypes"].items(), rows, strict=True):
        assert dtype in row[0]
        assert float(row[1]) == aims.TRAINING
        rounds, middle = found["rounds"], len(found["rounds"]["refnode, discrete"]) // 2
        mine = min((r for name, r in rounds.items() if name.startswith("refnode")), key=lambda r: sorted(r)[middle])
        rival = min((r for name, r in rounds.items() if "refnode" not in name), key=lambda r: sorted(r)[middle])
        each = sorted(a / b for a, b in zip(rival, mine, strict=True))
        assert each[0] - 0.05 <= float(row[2]) <= each[-1] + 0.05
        ends = [losses[-1] for losses in found["losses"].values()]
        assert max(ends) - min(ends) < 2e-3 * min(ends)


@with_results
def test_pieces_of_a_profile_add_up():
    """Pieces and rest are all of the time; no piece that is timed alone takes more than the whole."""
    for found in load("a4_profile")["of"]:
        for way in {"forward", "backward"} & found.keys():
            assert sum(module("a4_profile").whole(found[way]).values()) == pytest.approx(found[way]["all"])
            assert 0 < max(us for name, us in found[way].items() if name != "all") < found[way]["all"]


def test_start_up_leaves_imports_to_those_it_times():
    """The script's own module brings neither NumPy nor refnode."""
    found = "import sys, benchmarks.e0_start_up; print({'numpy', 'numba', 'refnode'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@with_results
def test_start_up():
    """`import refnode` costs less than 0.4 s after numpy, a second process's first gradient less than 1.2 s."""
    data = load("e0_start_up")
    assert sorted(one["refnode"] for one in data["imports"])[len(data["imports"]) // 2] < 0.4
    for name, runs in data["first gradient"].items():
        assert sorted(run["gradient"] for run in runs)[len(runs) // 2] < 1.2, name


LINEAR = ("discrete, all stages", "discrete, states", "interpolating", "quadrature")
EXPONENTS = {  # least and most
    "discrete, sqrt(N) checkpoints": (0.4, 0.55), "discrete, log2(N) checkpoints": (0.0, 0.3), "backsolve": (0.0, 0.1),
}  # fmt: skip


def asked_for(name, kind="asked", against="steps"):
    """Steps or batches, and bytes that were asked for."""
    data = load("d0_memory")
    return data["steps" if against == "steps" else "batches"], [point[kind] for point in data[f"by {against}"][name]]


@with_results
@pytest.mark.parametrize("name", LINEAR)
def test_what_is_stored_grows_linearly(name):
    """Four times the steps, four times what is held beyond what the fewest steps take, which is mostly constant."""
    steps, asked = asked_for(name)
    more = [[value - values[0] for value in values[-2:]] for values in (steps, asked)]
    assert module("d0_memory").exponent(*more) == pytest.approx(1, abs=0.05)


@with_results
@pytest.mark.parametrize("name", EXPONENTS)
def test_memory_that_does_not_grow_linearly(name):
    """Backsolve is flat, checkpoints grow like the root or the logarithm: of states and
    stages that are held, and no faster of all that is asked for."""
    least, most = EXPONENTS[name]
    assert least <= module("d0_memory").exponent(*asked_for(name, "reported")) <= most
    assert module("d0_memory").exponent(*asked_for(name)) <= most


@with_results
@pytest.mark.parametrize("name", [*LINEAR, *EXPONENTS])
def test_memory_grows_no_faster_than_the_batch(name):
    """Four times the samples, at most four times the bytes."""
    assert module("d0_memory").exponent(*asked_for(name, against="batch")) <= 1.05


@with_results
def test_activations_are_right_to_two_units():
    """In both precisions; in float32 over every number."""
    data = load("f1_activations")
    assert data["stride"] == 1
    for name, by_dtype in data["errors"].items():
        assert all(error["ulps"] <= 2 for error in by_dtype.values()), name


def test_proofs_are_as_fast_as_they_should_be():
    """The page of proofs is that of the numbers; no radius is larger and no proof slower than asked."""
    found = json.loads((RESULTS / "proof.json").read_text("utf-8"))
    assert (RESULTS / "proof.md").read_text("utf-8") == proof.page(found)
    assert [row["problem"] for row in found["rows"]] == list(proof.CONTESTANTS)
    for row in found["rows"]:
        assert row["radius"] <= row["radius asked"]
        assert row["median"] <= row["seconds asked"]
