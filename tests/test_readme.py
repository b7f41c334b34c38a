"""The README stays true: its example runs, its method table is the code's, its links lead somewhere."""

import re
from pathlib import Path

import refnode as rn

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_runs_and_prints_digits(capsys):
    """The ten lines run as they stand; backsolve at 1e-8 has at least 6 digits in every leaf."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    names = {}
    exec(code, names)
    assert "theta.W0" in capsys.readouterr().out
    assert min(rn.compare(names["mine"], names["truth"]).values()) >= 6


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
