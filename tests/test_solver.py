"""A Solver is a frozen value that means what its docstring says: one tolerance or two, or a number of steps."""

from dataclasses import FrozenInstanceError, replace
from typing import get_args

import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.solver import Method
from refnode.tableau import TABLEAUX

ADAPTIVE = {name for name, method in TABLEAUX.items() if method.adaptive}
tolerances = st.floats(1e-15, 1.0)


def test_default():
    """Solver() is dopri5 with tolerance 1e-8, shared steps, the batch norm and the PI controller."""
    solver = rn.Solver()
    assert (solver.method, solver.rtol, solver.atol, solver.tolerance) == ("dopri5", 1e-8, 1e-8, 1e-8)
    assert (solver.steps, solver.norm, solver.first_step, solver.max_steps) == ("shared", "batch", None, 100_000)
    assert solver.adaptive
    assert solver.controller == rn.Controller(kind="PI", safety=0.9, min_factor=0.2, max_factor=10.0)


@given(tol=tolerances)
def test_tol_sets_both(tol):
    """tol is rtol and atol."""
    solver = rn.Solver(tol=tol)
    assert (solver.rtol, solver.atol, solver.tolerance) == (tol, tol, tol)


@given(rtol=tolerances, atol=tolerances)
def test_two_tolerances(rtol, atol):
    """rtol and atol are kept apart; `tolerance` is the larger."""
    solver = rn.Solver(rtol=rtol, atol=atol)
    assert (solver.tol, solver.rtol, solver.atol, solver.tolerance) == (None, rtol, atol, max(rtol, atol))


@pytest.mark.parametrize("name", TABLEAUX)
def test_every_method_takes_fixed_steps(name):
    """Every tableau runs with n_steps, without tolerances."""
    solver = rn.Solver(name, n_steps=3)
    assert (solver.adaptive, solver.rtol, solver.atol, solver.tolerance) == (False, None, None, None)
    assert solver.tableau is TABLEAUX[name]


@pytest.mark.parametrize("name", TABLEAUX)
def test_tolerances_need_an_error_estimate(name):
    """Exactly the tableaux with an embedded method take a tolerance; the others say which do."""
    if name in ADAPTIVE:
        assert rn.Solver(name, tol=1e-3).adaptive
    else:
        with pytest.raises(rn.InvalidArgument, match=rf"^method: got {name}.*one of bosh3, dopri5, tsit5, dop853"):
            rn.Solver(name, tol=1e-3)


def test_the_type_of_method_lists_every_tableau():
    """The Literal that type checkers see and the table that runs have the same names in the same order."""
    assert get_args(Method) == tuple(TABLEAUX)


def test_frozen_equal_and_hashable():
    """Equal settings are equal solvers with one hash; nothing can be assigned."""
    assert rn.Solver(tol=1e-6) == rn.Solver(tol=1e-6)
    assert rn.Solver(tol=1e-6) != rn.Solver(tol=1e-7)
    assert len({rn.Solver(), rn.Solver(), rn.Solver("tsit5")}) == 2
    with pytest.raises(FrozenInstanceError):
        rn.Solver().rtol = 1e-3
    with pytest.raises(FrozenInstanceError):
        rn.Controller().safety = 0.5


@pytest.mark.parametrize("solver", [rn.Solver(), rn.Solver(tol=1e-5), rn.Solver(rtol=1e-5, atol=1e-7)])
def test_replace_keeps_the_tolerances(solver):
    """dataclasses.replace changes one thing and keeps the rest, although rtol and atol were filled in from tol."""
    changed = replace(solver, steps="own", method="tsit5")
    assert (changed.rtol, changed.atol, changed.steps, changed.method) == (solver.rtol, solver.atol, "own", "tsit5")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"tol": 1e-3, "rtol": 1e-3}, r"^tol: got tol=0\.001 beside rtol or atol; must be tol alone, or "),
        ({"tol": 1e-3, "rtol": 1e-3, "atol": 1e-4}, r"^tol: got tol=0\.001 beside rtol or atol"),
        ({"rtol": 1e-3}, r"^rtol, atol: got rtol=0\.001, atol=None; must be both given"),
        ({"atol": 1e-3}, r"^rtol, atol: got rtol=None, atol=0\.001; must be both given"),
        ({"n_steps": 3, "tol": 1e-3}, r"^n_steps: got n_steps=3 beside tol; must be given without"),
        ({"n_steps": 3, "rtol": 1e-3, "atol": 1e-3}, r"^n_steps: got n_steps=3 beside rtol"),
        ({"n_steps": 3, "first_step": 0.1}, r"^n_steps: got n_steps=3 beside first_step"),
        ({"n_steps": 3, "steps": "own"}, r"^steps: got own; must be 'shared' with n_steps"),
        ({"steps": "own", "norm": "max"}, r"^norm: got 'max' with steps='own'"),
    ],
)
def test_contradictions_are_refused(how, words):
    """Settings of which one would have to be ignored raise, naming both."""
    with pytest.raises(rn.InvalidArgument, match=words):
        rn.Solver("dopri5", **how)
