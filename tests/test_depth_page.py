"""docs/depth.md is live: what it names stands where it says, and its condition numbers are those of today."""

import re
from pathlib import Path

import numpy as np
import pytest

import refnode as rn

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "depth.md").read_text("utf-8")
PLACES = re.findall(r"`?([A-Za-z_]+(?:\.\w+)?)`?, ((?:gradients/)?[a-z_]+\.py)", PAGE)
ROWS = re.findall(r"^\| (Hat|Chebyshev|GaussianRBF|Monomial) \| (.*) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("name", "file"), sorted(set(PLACES)))
def test_what_the_page_names_is_there(name, file):
    """Every "function, file" of the page is a definition in that file, a method in its class."""
    text = next((ROOT / "refnode").rglob(file)).read_text("utf-8")
    holder, _, method = name.rpartition(".")
    where = text[re.search(rf"^class {holder}\b", text, re.MULTILINE).start() :] if holder else text
    indent = r"    " if holder else ""
    assert re.search(rf"^{indent}(?:def|class) {method}\b", where, re.MULTILINE), f"{name} in {file}"


def test_the_page_names_enough():
    """The patterns above find the page's places and its table at all."""
    assert len(PLACES) >= 20
    assert len(ROWS) == 4


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_condition_numbers_are_those_of_the_page(name, row):
    """rn.gram's condition numbers over the span, rounded to two digits; beyond float64 the page says so."""
    x = np.ones((1, 1))
    for m, shown in zip((5, 10, 20), row.split(" | "), strict=True):
        model = rn.NeuralODE(rn.MLP(1, 1), theta=rn.Galerkin(getattr(rn, name)(m)))
        params = {leaf: np.zeros(shape) for leaf, shape in model.shapes.items()}
        condition = rn.gram(rn.Problem(model, params, x, rn.Loss(terminal=rn.SquaredError(x)))).condition
        want = np.inf if shown == "none left" else float(shown)
        # half a unit in the second digit, and as much for what monomials lose (see test_descent.py)
        assert condition == pytest.approx(want, rel=0.1)
