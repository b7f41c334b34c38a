"""The examples that read golden files run, pass on a right gradient and fail on a wrong one."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import refnode as rn
from refnode.oracle.golden.shelf import shelf

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- Python


def test_the_python_example_needs_numpy_alone():
    """It imports the standard library and NumPy."""
    tree = ast.parse((EXAMPLES / "golden.py").read_text("utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found == {"json", "sys", "decimal", "pathlib", "numpy"}


def test_the_python_example_is_right():
    """Every leaf of the shipped file has eight digits at least."""
    done = run(sys.executable, EXAMPLES / "golden.py", shelf() / "mild.json")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    leaves = rn.golden("mild").problem.leaves()
    assert {words[0] for words in lines[:-1]} == set(leaves)
    assert min(float(words[1]) for words in lines[:-1]) > 8
    assert lines[-1] == ["right"]


def test_the_python_example_sees_a_wrong_number(tmp_path):
    """A midpoint that is off by one part in a million is called wrong."""
    document = json.loads((shelf() / "mild.json").read_text("utf-8"))
    mids = document["answers"]["gradient"]["theta.W1"]["mid"]
    mids[3] = f"{float(mids[3]) * (1 + 1e-6):.15e}"
    (tmp_path / "mild.json").write_text(json.dumps(document), "utf-8")
    done = run(sys.executable, EXAMPLES / "golden.py", tmp_path / "mild.json")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "WRONG")


# ---------------------------------------------------------------- C++


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Both C++ examples, and the one that computes with its planted mistake."""
    assert shutil.which("g++"), "g++ is needed to compile examples/cpp"
    folder = tmp_path_factory.mktemp("cpp")
    for target, source, *flags in (("golden", "golden"), ("right", "gradient"), ("wrong", "gradient", "-DPLANT_BUG")):
        command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", *flags, "-o", folder / target]
        subprocess.run([*command, EXAMPLES / "cpp" / f"{source}.cpp"], check=True)
    return folder


@pytest.mark.parametrize("name", ["mild", "concat_time", "expanding", "backwards"])
def test_a_right_gradient_passes_in_cpp(compiled, tmp_path, name):
    """The golden file is the problem file that the one program reads, and the truth that the other compares with."""
    file = shelf() / f"{name}.json"
    if name == "backwards":  # a running loss of f, which the example does not know: only refnode's own gradient
        rn.save_result(rn.gradient(rn.load_problem(file), solver=rn.Solver(tol=1e-9)), tmp_path / "r.json")
        grads = json.loads((tmp_path / "r.json").read_text("utf-8"))["grads"]
        (tmp_path / "g.json").write_text(json.dumps(grads), "utf-8")
    else:
        assert run(compiled / "right", file, "1e-9", tmp_path / "g.json").returncode == 0
    done = run(compiled / "golden", file, tmp_path / "g.json", "1e-7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{name}: proven\n")
    assert done.stdout.count(" right") == len(rn.golden(name).problem.leaves())


def test_a_wrong_gradient_fails_in_cpp(compiled, tmp_path):
    """The planted sign of t0 is named with both numbers, and the exit status is 1."""
    file = shelf() / "mild.json"
    assert run(compiled / "wrong", file, "1e-9", tmp_path / "g.json").returncode == 0
    done = run(compiled / "golden", file, tmp_path / "g.json", "1e-7")
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines() if line.endswith("WRONG")] == ["t0"]
    should = float(done.stdout.partition("should be ")[2].split()[0])
    assert should == rn.golden("mild").truth.grads["t0"]


def test_no_golden_file_is_no_crash(compiled, tmp_path):
    """What cannot be read ends with status 2 and one line."""
    (tmp_path / "g.json").write_text('{"x": "0x1p+0"}', "utf-8")
    for file in (tmp_path / "none.json", tmp_path / "g.json"):
        done = run(compiled / "golden", file, tmp_path / "g.json", "1e-7")
        assert done.returncode == 2
        assert done.stderr.startswith("golden: ")
        assert done.stderr.count("\n") == 1
