"""The README stays true: its example runs, its method table is the code's, its links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

import refnode as rn
from validation import check

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_runs_and_prints_digits(capsys):
    """The ten lines run as they stand; backsolve at 1e-8 has at least 6 digits in every leaf."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "refnode" in block]
    assert len(code.strip().splitlines()) <= 12
    names = {}
    exec(code, names)
    assert "theta.W0" in capsys.readouterr().out
    assert min(rn.compare(names["mine"], names["truth"]).values()) >= 6


def test_the_adapter_is_short_and_what_the_check_grades():
    """About ten lines that define gradient(problem, tol); `validation.check`, which CI runs, grades this very block."""
    (code,) = [block for page, block in check.adapters() if page == "README.md"]
    assert f"```python\n{code}```" in README
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    (function,) = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    assert ast.unparse(function).startswith("def gradient(problem, tol):")
    assert "`refnode grade adapter:gradient --problems mild`" in README


def test_the_adapter_passes():
    """Where its library is installed, it passes at every tolerance."""
    pytest.importorskip("torchdiffeq")
    (code,) = [block for page, block in check.adapters() if page == "README.md"]
    status, report = check.grade(code)
    assert status == 0, report
    assert "1 of 1 problem passes" in report


def test_an_adapter_that_is_wrong_does_not_pass():
    """The check's exit status is that of `refnode grade`."""
    call = "rn.gradient(problem, solver=rn.Solver(tol=tol))"
    right = f"import refnode as rn\ndef gradient(problem, tol):\n    g = {call}.grads"
    assert check.grade(f"{right}\n    return g")[0] == 0
    status, report = check.grade(f"{right}\n    return {{name: -a for name, a in g.items()}}")
    assert status == 1
    assert "diagnosis: sign of the whole gradient" in report


def test_the_method_table_is_the_codes():
    """`refnode.method_table()` stands in the README, word for word."""
    assert rn.method_table() in README


def test_links_lead_to_files():
    """Every relative link of the README, and every file it names in backquotes with a folder, exists."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    named = re.findall(r"`((?:refnode|validation|tests|docs|benchmarks)/[\w./-]*)`", README)
    assert links
    assert named
    assert [path for path in links + named if not (ROOT / path).exists()] == []
