"""The public names are there, all of them and no others, and the table of equations names what exists."""

import importlib
import inspect
import re
import types
from pathlib import Path

import pytest

import refnode as rn

PACKAGE = Path(rn.__file__).parent


def rows():
    """Rows of the table: [equation, symbols, names, file]."""
    lines = (line for line in inspect.getdoc(rn).splitlines() if line.startswith("| ("))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell):
    """The names in a cell, with the arguments of a call: ("NeuralODE", "order=2")."""
    return re.findall(r"(\w+)(?:\((.*?)\))?(?:,|$)", cell)


every_row = pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])


# ---------------------------------------------------------------- names

@pytest.mark.parametrize("name", rn.__all__)
def test_name(name):
    """Every name of __all__ is an attribute of the package; what is a function or class has a docstring."""
    public = getattr(rn, name)
    assert public is not None
    if inspect.isclass(public) or inspect.isfunction(public):
        assert inspect.getdoc(public)
        assert public.__module__.startswith("refnode.")


def test_all_is_complete():
    """What the package imports for its users is in __all__, once, and is not a module."""
    assert len(set(rn.__all__)) == len(rn.__all__)
    imported = {name for name in vars(rn) if not name.startswith("_")}
    modules = {name for name in imported if isinstance(vars(rn)[name], types.ModuleType)}
    assert imported - modules == set(rn.__all__)


def test_star_import():
    """`from refnode import *` gives exactly these names."""
    space = {}
    exec("from refnode import *", space)  # only inside a function's namespace, so by exec
    assert set(space) - {"__builtins__"} == set(rn.__all__)


def test_no_public_name_hides_a_module():
    """No public name is also the name of a module beside it, so that `import refnode.x` and `refnode.x` agree."""
    files, folders = PACKAGE.glob("*.py"), PACKAGE.glob("*/__init__.py")
    modules = {file.stem for file in files} | {file.parent.name for file in folders}
    assert not modules & set(rn.__all__)


def test_the_users_of_the_readme_find_their_words():
    """The words with which a problem is written, solved, differentiated and compared are public."""
    words = "MLP Linear ZeroAugment NeuralODE Loss SquaredError Problem Solver solve gradient compare check_field"
    assert set(words.split()) <= set(rn.__all__)


# ---------------------------------------------------------------- the table of equations

def test_the_table_has_rows():
    """The table is found, with the equations that the model has: general model, loss, depth, maps, order, control."""
    equations = [row[0].split(" ")[0] for row in rows()]
    assert len(equations) >= 9
    assert {"(1)", "(2)", "(3)", "(4)", "(7)", "(8)", "(9)", "(10)"} <= set(equations)


@every_row
def test_row(row):
    """The file exists; each name is public or lives in that file; arguments of a call are arguments that it takes."""
    _, symbols, here, file = row
    assert symbols
    assert (PACKAGE / file).exists()
    module = importlib.import_module("refnode." + file.rstrip("/").removesuffix(".py").replace("/", "."))
    found = names(here)
    assert found
    for name, arguments in found:
        thing = getattr(rn, name, None) or getattr(module, name, None)
        assert callable(thing), name
        for word in re.findall(r"(\w+)=", arguments):
            assert word in inspect.signature(thing).parameters


@every_row
def test_the_call_of_a_row_works(row):
    """`NeuralODE(order=2)` and its like are calls that a field completes."""
    for name, arguments in names(row[2]):
        if arguments:
            words = dict(re.findall(r"(\w+)=\"?(\w+)\"?", arguments))
            words = {word: int(value) if value.isdigit() else value for word, value in words.items()}
            model = getattr(rn, name)(rn.MLP(4, 2), **words)
            for word, value in words.items():
                assert getattr(model, word) == value
