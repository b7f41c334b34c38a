"""The house rules hold: imports, lengths, docstrings, one test command, no path of one machine."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "refnode"
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(text, name) for name, text in SOURCES.items()}

FORBIDDEN = {"torch", "jax", "validation", "tests", "benchmarks"}
LAZY = {"scipy", "matplotlib", "rich", "click", "jsonschema", "numba"}
FILE_LINES, BODY_LINES, KERNEL_LINES = 300, 40, 80
SKIPPED_FOLDERS = {"__pycache__", "build", "dist"}                 # generated

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


# ---------------------------------------------------------------- imports

def imported(tree):
    """Top-level names of the packages that a file imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_no_forbidden_import():
    """refnode imports no other framework and nothing that stands beside it, not even lazily."""
    found = [f"{name}: {package}" for name, tree in TREES.items() for package in FORBIDDEN.intersection(imported(tree))]
    assert not found


def test_import_is_light():
    """`import refnode` in a fresh process loads numpy and the standard library, and no slower package."""
    code = "import sys, refnode; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "refnode" in loaded
    heavy = sorted(loaded & (LAZY | FORBIDDEN))
    assert not heavy


# ---------------------------------------------------------------- lengths and docstrings

def body_lines(function, text):
    """Lines from the first statement after the docstring to the last; blank lines and comments do not count."""
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        if len(function.body) == 1:
            return 0
        first = function.body[1]
    lines = (line.strip() for line in text.splitlines()[first.lineno - 1 : function.end_lineno])
    return sum(bool(line) and not line.startswith("#") for line in lines)


def test_files_are_short():
    """One file, one idea: at most 300 lines."""
    lengths = {name: len(text.splitlines()) for name, text in SOURCES.items()}
    assert not {name: lines for name, lines in lengths.items() if lines > FILE_LINES}


def test_functions_are_short():
    """A function's body is at most 40 lines without its docstring, 80 in a kernel, where a call may cost."""
    long = {
        f"{name}:{node.lineno} {node.name}": body_lines(node, SOURCES[name])
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
        and body_lines(node, SOURCES[name]) > (KERNEL_LINES if "/kernels/" in name else BODY_LINES)
    }
    assert not long


def is_overload(node):
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)


def test_public_names_have_docstrings():
    """Every public function and class at module level says what it is."""
    missing = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, (*Function, ast.ClassDef)) and not node.name.startswith("_")
        if ast.get_docstring(node) is None and not is_overload(node)
    ]
    assert not missing


# ---------------------------------------------------------------- the files beside the package

def readme_commands():
    """The README's fenced blocks that set up an environment."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [block.strip() for block in blocks if block.startswith("python -m venv")]


def ci_commands():
    """What .ci/run does once it stands in a clean clone on a machine that has what the tests need."""
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    before = ("#", "set -", 'cd "$(dirname', "rm -rf .venv", "export CI=", "command -v ")
    return [line for line in lines if line and not line.startswith(before)]


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff"])
def test_customary_file_exists(name):
    """A visitor finds the files they look for, and they are not empty."""
    assert (ROOT / name).read_text("utf-8").strip()


def test_ci_runs_the_command_of_the_readme():
    """The README has two commands, one certifies and one tests, and two more for CUDA and for other libraries: CI runs
    all but the first, to the letter, and nothing else."""
    certify, tests, cuda = readme_commands()
    assert certify.endswith("refnode certify")
    assert ci_commands()[0] == tests
    assert ci_commands()[1] == cuda
    (peers,) = ci_commands()[2:]
    assert f"```sh\n{peers}\n```" in (ROOT / "README.md").read_text("utf-8")


def test_one_version():
    """pyproject.toml, CITATION.cff and the CHANGELOG speak of the same version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# ---------------------------------------------------------------- no path of one machine

def text_files():
    """Every readable text file of the project: no environment, cache or build."""
    for folder, folders, names in os.walk(ROOT):
        here = Path(folder)
        folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS and not is_foreign(here / f)]
        for name in names:
            path = here / name
            try:
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
            except (UnicodeDecodeError, FileNotFoundError):
                continue


def is_foreign(folder):
    """An environment, a hidden folder that is not the project's own, or downloaded data."""
    hidden = folder.name.startswith(".") and folder.name != ".ci"
    return hidden or folder.name.endswith(".egg-info") or (folder / "pyvenv.cfg").exists() or folder == ROOT / "data"


def test_no_absolute_machine_path():
    """No text file names a folder of the machine on which it was written."""
    machine_path = re.compile(r"(?<![\w.~*$}-])/(" + "|".join(["work", "tmp", "home", "root", "Users"]) + r")/")
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if machine_path.search(line)
    ]
    assert not found
