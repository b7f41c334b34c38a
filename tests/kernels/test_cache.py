"""Machine code is compiled once for all processes, and anew when a source changes; a bad cache costs only time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refnode as rn
from refnode.kernels import compiled
from refnode.kernels.advance import advance
from refnode.kernels.compiled import _Files
from refnode.kernels.cpu import discrete_adjoint
from refnode.kernels.pack import refusal
from refnode.kernels.sweep import sweep

ROOT = Path(__file__).resolve().parent.parent.parent

GRADIENT = """
from numba.core import event
import numpy as np, refnode as rn
from tests.kernels.test_twins import network_problem

with event.install_recorder("numba:compile") as compiled:
    for batch in (3, 40):
        rn.gradient(network_problem(batch), "discrete", rn.Solver("dopri5", tol=1e-4), backend="cpu")
print(len(compiled.buffer))
"""

SLOPES = """
import sys
import numpy as np
from refnode.kernels.activations import soft_slope_64, soft_slope_32

for dtype in sys.argv[1:]:
    g, h = np.ones(9, dtype), np.linspace(0, 4, 9).astype(dtype)
    (soft_slope_64 if dtype == "float64" else soft_slope_32)(g, h)
    print(np.max(np.abs(g - -np.expm1(-h))) < 4 * np.finfo(dtype).eps, *soft_slope_64.stats.cache_hits.values())
"""

BOTH_DTYPES = """
import sys
import numpy as np
from refnode.kernels.rates import squared_norm

for dtype in sys.argv[1:]:
    assert squared_norm(np.arange(6, dtype=dtype)) == 55
"""


def start(script, *arguments, package=ROOT, **settings):
    """A process that runs a script."""
    environment = os.environ | {"PYTHONPATH": str(package)} | {name: str(value) for name, value in settings.items()}
    command, pipe = [sys.executable, "-c", script, *arguments], subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=package, stdout=pipe, stderr=pipe, text=True)


def said(process):
    """What it printed; it must end well."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.split()


# ---------------------------------------------------------------- what is kept

def test_second_process_compiles_nothing():
    """Once a process has computed a gradient, the next one loads all it needs from the cache."""
    said(start(GRADIENT))
    assert said(start(GRADIENT)) == ["0"]


def test_one_signature_serves_all_problems():
    """Every catalogue problem that packs runs by the same code in one precision."""
    solver, dtypes = rn.Solver("rk4", n_steps=2), (np.float64, np.float32)
    for entry in rn.catalogue():
        if not refusal(entry.problem, solver):
            for dtype in dtypes:
                discrete_adjoint(entry.problem, solver, dtype)
    for function in (advance, sweep):
        assert len(function.signatures) == len(dtypes)


def test_every_source_counts(tmp_path):
    """A change to any file of kernels changes the digest, and so the folder in which machine code is looked for."""
    shutil.copytree(ROOT / "refnode", tmp_path / "refnode", ignore=shutil.ignore_patterns("__pycache__"))
    script = """
from pathlib import Path
from refnode.kernels.compiled import digest

seen = {digest()}
for path in sorted((Path(FOLDER) / "refnode" / "kernels").glob("*.py")):
    path.write_text(path.read_text("utf-8") + "# changed", "utf-8")
    seen.add(digest.__wrapped__())
print(len(seen))
""".replace("FOLDER", repr(str(tmp_path)))
    files = len(list((ROOT / "refnode" / "kernels").glob("*.py")))
    assert files > 10
    assert said(start(script, package=tmp_path)) == [str(files + 1)]


def test_sources_of_another_folder_count(tmp_path):
    """Kernels that stand elsewhere are stale when their own folder changes, and when the kernels do."""
    (tmp_path / "own.py").write_text("one", "utf-8")
    seen = {compiled.digest(), compiled.digest.__wrapped__(tmp_path)}
    (tmp_path / "own.py").write_text("other", "utf-8")
    seen.add(compiled.digest.__wrapped__(tmp_path))
    assert len(seen) == 3


def test_callers_notice_a_change_in_another_file(tmp_path):
    """soft_slope_64 calls into another file: after a change there, a new process does not run its old code."""
    shutil.copytree(ROOT / "refnode", tmp_path / "refnode", ignore=shutil.ignore_patterns("__pycache__"))
    here = {"package": tmp_path, "REFNODE_CACHE_DIR": tmp_path / "cache"}
    assert said(start(SLOPES, "float64", **here)) == ["True"]
    assert said(start(SLOPES, "float64", **here)) == ["True", "1"]  # from the cache
    path = tmp_path / "refnode" / "kernels" / "activations_64.py"
    text = path.read_text("utf-8")
    assert text.count("return (1.0 - s) - s * e") == 1
    path.write_text(text.replace("return (1.0 - s) - s * e", "return 3.0 - s * e"), "utf-8")
    assert said(start(SLOPES, "float64", **here)) == ["False"]


@pytest.mark.parametrize("name", ["32", "64"])
def test_width_of_vectors_counts(name):
    """Code for another width of vectors is another digest."""
    script = "from refnode.kernels.compiled import digest; print(digest())"
    assert said(start(script, REFNODE_VECTOR_BYTES=name)) != said(start(script, REFNODE_VECTOR_BYTES=16))


def test_unknown_width_of_vectors():
    """A width that no machine has is refused by name."""
    process = start("import refnode.kernels.vectors as v; v.vector_bytes()", REFNODE_VECTOR_BYTES=48)
    assert "REFNODE_VECTOR_BYTES: got '48'; must be 16, 32 or 64" in process.communicate()[1]


# ---------------------------------------------------------------- bad folders

def test_missing_folder_is_made(tmp_path):
    """A cache folder that is not there is made, parents included."""
    folder = tmp_path / "a" / "b"
    assert said(start(SLOPES, "float64", REFNODE_CACHE_DIR=folder)) == ["True"]
    assert said(start(SLOPES, "float64", REFNODE_CACHE_DIR=folder)) == ["True", "1"]


def test_folder_that_cannot_be_written(tmp_path):
    """Under a file there can be no folder, not even for root: every process compiles, and computes the same."""
    (tmp_path / "file").write_text("", "utf-8")
    for _ in range(2):
        assert said(start(SLOPES, "float64", REFNODE_CACHE_DIR=tmp_path / "file" / "cache")) == ["True"]


def test_folder_that_goes_away(tmp_path):
    """A folder that is replaced by a file after import costs only time."""
    folder = tmp_path / "cache"
    gone = "import shutil, refnode.kernels.activations; shutil.rmtree(FOLDER); open(FOLDER, 'w').close()\n"
    script = gone.replace("FOLDER", repr(str(folder))) + SLOPES
    assert said(start(script, "float64", REFNODE_CACHE_DIR=folder)) == ["True"]


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 40])
def test_files_cut_short(tmp_path, kind, left):
    """An index or machine code of which a full disk kept only the beginning is compiled anew, and then kept."""
    assert said(start(SLOPES, "float64", REFNODE_CACHE_DIR=tmp_path)) == ["True"]
    files = list(tmp_path.rglob(f"*.{kind}"))
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[:left])
    assert said(start(SLOPES, "float64", REFNODE_CACHE_DIR=tmp_path)) == ["True"]
    assert said(start(SLOPES, "float64", REFNODE_CACHE_DIR=tmp_path)) == ["True", "1"]


# ---------------------------------------------------------------- company

def test_two_writers_keep_two_files(tmp_path, monkeypatch):
    """One saves while another is in the middle of it: an entry may be lost, none leads to the other's machine code."""
    one, other, later = (_Files(str(tmp_path), "f", "stamp") for _ in range(3))
    write = one._save_data

    def interrupted(name, data):
        other.save(("float32",), "code for float32")
        write(name, data)

    for file in (one, other):
        monkeypatch.setattr(file, "_load_index", dict)  # both read the index before there was one
    monkeypatch.setattr(one, "_save_data", interrupted)
    one.save(("float64",), "code for float64")
    found = [later.load((dtype,)) for dtype in ("float32", "float64")]
    assert any(found)
    assert all(code in (None, f"code for {dtype}") for code, dtype in zip(found, ("float32", "float64"), strict=True))


def test_processes_that_compile_at_once(tmp_path):
    """Four processes fill one empty cache in different orders: all are right, and so is whoever comes later."""
    orders = [("float64", "float32"), ("float32", "float64")] * 2
    for process in [start(BOTH_DTYPES, *order, REFNODE_CACHE_DIR=tmp_path) for order in orders]:
        said(process)
    said(start(BOTH_DTYPES, *orders[0], REFNODE_CACHE_DIR=tmp_path))


def test_default_folder(monkeypatch, tmp_path):
    """REFNODE_CACHE_DIR goes before XDG_CACHE_HOME, and that before ~/.cache."""
    monkeypatch.setenv("REFNODE_CACHE_DIR", str(tmp_path / "own"))
    assert compiled.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("REFNODE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.cache_folder() == tmp_path / "refnode" / "kernels"
