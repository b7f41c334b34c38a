"""Programs in other languages are graded through files, and whatever they do is an outcome."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import refnode as rn
from refnode.cli import main
from refnode.errors import ProgramFailed
from refnode.oracle.external import program, read_gradient
from refnode.oracle.grading import grade

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = rn.catalogue("exp")[0].problem


def script(folder, text):
    """A command that runs a Python program."""
    path = folder / "mine.py"
    path.write_text(text, "utf-8")
    return f"'{sys.executable}' '{path}' {{problem}} {{tol}} {{out}}"


RIGHT = """
import json, sys
import refnode as rn
problem, tol, out = sys.argv[1:]
g = rn.gradient(rn.load_problem(problem), "discrete", rn.Solver(tol=float(tol)))
"""


# ---------------------------------------------------------------- the C++ example

@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The C++ example, and the same with its planted mistake."""
    assert shutil.which("g++"), "g++ is needed to compile examples/cpp/gradient.cpp"
    folder = tmp_path_factory.mktemp("cpp")

    def build(name, *flags):
        source, target = ROOT / "examples" / "cpp" / "gradient.cpp", folder / name
        subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", *flags, "-o", target, source], check=True)
        return f"'{target}' {{problem}} {{tol}} {{out}}"

    return {"right": build("right", "-O2"), "wrong": build("wrong", "-DPLANT_BUG")}


def test_the_cpp_example_is_right(compiled):
    """A C++ program that shares no line with refnode passes on mild and concat_time at every tolerance."""
    report = grade(program(compiled["right"]), ("mild", "concat_time"))
    assert report.ok, str(report)
    assert not any(problem.findings or problem.not_returned for problem in report.problems)


@pytest.mark.parametrize("name", ["linear", "expanding", "backwards_z"])
def test_the_cpp_example_is_right_elsewhere(compiled, name):
    """Without biases, with a skip term, and with a running loss backwards in t."""
    if name == "backwards_z":
        old = rn.catalogue("backwards")[0].problem
        terminal = rn.SquaredError(old.loss.terminal.target[0], reduction="sum", weight=0.5)
        loss = rn.Loss(terminal, running=0.3 * rn.SquaredNorm(), scale=-2.0)
        problem = rn.Problem(old.model, old.params, old.x, loss, old.span)
    else:
        problem = rn.catalogue(name)[0].problem
    report = grade(program(compiled["right"]), problem, (1e-4, 1e-8))
    assert report.ok, str(report)


def test_the_cpp_examples_mistake_is_named(compiled):
    """Compiled with -DPLANT_BUG it has the wrong sign in t0, which is what the report says."""
    report = grade(program(compiled["wrong"]), ("mild", "concat_time"), (1e-4, 1e-8))
    assert not report.ok
    for problem in report.problems:
        assert [finding.word for finding in problem.findings] == ["sign of t0"]


def test_the_command_line_grades_a_program(compiled, tmp_path):
    """refnode grade --exec has the exit status of the report."""
    for name, status in (("right", 0), ("wrong", 1)):
        arguments = ["grade", "--exec", compiled[name], "--problems", "linear", "--tols", "1e-5"]
        done = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "r.json")])
        assert done.exit_code == status, done.output
        assert json.loads((tmp_path / "r.json").read_text("utf-8"))["ok"] == (status == 0)


def test_what_the_cpp_example_does_not_support_it_says(compiled):
    """A problem beyond it is refused with its own words."""
    (problem,) = grade(program(compiled["right"]), "own_T", (1e-4,)).problems
    assert problem.verdict == "refuses: exit status 1: gradient: spans per sample are not supported"


# ---------------------------------------------------------------- outcomes

def test_a_program_may_write_a_gradient_file(tmp_path):
    """What refnode's own save_result writes is read too."""
    assert grade(program(script(tmp_path, RIGHT + "rn.save_result(g, out)")), PROBLEM, (1e-6,)).ok


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; print('on stdout'); sys.exit('no such field')", "exit status 1: no such field"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("pass", "wrote no file"),
        ("import sys; open(sys.argv[3], 'w').write('garbage')", "wrote no gradient file"),
        ("import sys; open(sys.argv[3], 'wb').write(bytes([255]))", "wrote no gradient file"),
        ("import sys; open(sys.argv[3], 'w').write('[1]')", "wrote no gradient file: (document): got no object"),
        ("import sys; open(sys.argv[3], 'w').write('{\"x\": 1}')", "wrote no gradient file: /x: got no number"),
        ("import os, sys; os.mkdir(sys.argv[3])", "wrote no gradient file"),
    ],
)
def test_a_program_that_fails_is_an_outcome(tmp_path, code, words):
    """Exit status, signal, no file, no JSON: the verdict has the program's own words."""
    (problem,) = grade(program(script(tmp_path, code)), PROBLEM, (1e-4,)).problems
    assert problem.verdict.startswith(f"refuses: {words}")
    assert not problem.ok


def test_a_program_that_hangs_is_ended_with_all_it_started(tmp_path):
    """After the timeout neither the program nor its children are left, even if they hold its output open."""
    mark = tmp_path / "alive"
    child = f"import time, pathlib\ntime.sleep(3)\npathlib.Path({str(mark)!r}).touch()"
    code = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)"
    started = time.monotonic()
    (problem,) = grade(program(script(tmp_path, code), timeout=1.0), PROBLEM, (1e-4,)).problems
    assert problem.verdict == "refuses: took longer than 1 s"
    assert time.monotonic() - started < 30
    time.sleep(max(0.0, started + 4.5 - time.monotonic()))
    assert not mark.exists()


def test_nan_from_a_program_is_found(tmp_path):
    """A number that printf writes as nan or -inf is a finding, not a broken file."""
    text = RIGHT + """
leaves = {"x": {"shape": list(g.grads["x"].shape), "data": ["nan"] * g.grads["x"].size}, "T": "-inf"}
json.dump(leaves, open(out, "w"))
"""
    (problem,) = grade(program(script(tmp_path, text)), PROBLEM, (1e-4,)).problems
    assert [finding.word for finding in problem.findings] == ["NaN or infinity"] * 2


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"x": 1}, "/x: got no number"),
        ({"x": {"shape": [1]}}, "/x: got no number"),
        ({"x": {"shape": 1, "data": []}}, "/x: got another shape or data"),
        ({"x": {"shape": [True], "data": ["0x1p+0"]}}, "/x: got another shape or data"),
        ({"x": {"shape": [-1], "data": []}}, "/x: got another shape or data"),
        ({"x": {"shape": [2], "data": ["0x1p+0"]}}, "2 numbers"),
        ({"x": {"shape": [1], "data": [["0x1p+0"]]}}, "/x/data/0"),
        ({"grads": {"x": "0.5"}}, "/grads/x: got '0.5'; must be a finite C99"),
    ],
)
def test_a_file_that_is_no_gradient_is_refused_by_place(tmp_path, node, words):
    """The message names the place in the file and what is allowed there."""
    path = tmp_path / "g.json"
    path.write_text(json.dumps(node), "utf-8")
    with pytest.raises(ProgramFailed) as failed:
        read_gradient(path)
    assert words in str(failed.value)


def test_numbers_arrive_bit_by_bit(tmp_path):
    """Hexadecimal floats are read exactly, empty arrays too."""
    path = tmp_path / "g.json"
    numbers = np.array([[0.1, -0.0], [5e-324, 1e308]])
    leaves = {"a": {"shape": [2, 2], "data": [v.hex() for v in numbers.ravel()]}, "b": {"shape": [0], "data": []}}
    path.write_text(json.dumps(leaves), "utf-8")
    read = read_gradient(path)
    assert read["a"].tobytes() == numbers.tobytes()
    assert read["b"].shape == (0,)


@pytest.mark.parametrize(
    ("command", "match"),
    [
        ("./mine {tol}", r"a command with \{problem\} and \{out\}"),
        ("sh {problem}", r"a command with \{out\}"),
        ("no_such_program {problem} {out}", "a program that exists"),
        ("'open quote {problem} {out}", "words as a shell would split them"),
        ("", r"a command with"),
    ],
)
def test_a_bad_command_is_refused_at_once(command, match):
    """Placeholders and program are checked before anything runs."""
    with pytest.raises(rn.InvalidArgument, match=match):
        program(command)


def test_no_shell_runs(tmp_path):
    """What a shell would take for a second command is an argument."""
    mark = tmp_path / "made"
    code = "import sys; sys.exit(repr(sys.argv[4:]))"
    command = script(tmp_path, code) + f" ; touch {mark} $(touch {mark})"
    (problem,) = grade(program(command), PROBLEM, (1e-4,)).problems
    assert "';', 'touch'" in problem.verdict
    assert not mark.exists()
