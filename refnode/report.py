"""Tables for the terminal: certificates, gradients, methods. Legible at 80 columns, and without colours."""

from collections.abc import Iterable

import numpy as np
from rich.table import Table
from rich.text import Text

from refnode.gradients import METHODS, GradientResult
from refnode.oracle.certificate import Cell, Certificate
from refnode.terminal import light_table

SHORT = {
    "discrete": "disc",
    "backsolve": "back",
    "interpolating": "interp",
    "quadrature": "quad",
    "forward_discrete": "fwd-d",
    "forward_continuous": "fwd-c",
    "complex_step": "cstep",
    "richardson": "rich",
}
LEGEND = """\
8.2      correct digits of the worst leaf, as many as claimed
(1.2)    known to have few digits
refuses  raises, as claimed
BAD      misses its claim
-        not run
"""


def digits_table(certificate: Certificate) -> Table:
    """Rows problems, columns methods: the digits of the worst leaf, or what came instead."""
    methods = list(dict.fromkeys(cell.method for cell in certificate.cells))
    problems = list(dict.fromkeys(cell.problem for cell in certificate.cells))
    by_name = {(cell.problem, cell.method): cell for cell in certificate.cells}
    table = light_table("problem", *(SHORT.get(name, name) for name in methods))
    for problem in problems:
        row = (by_name.get((problem, method)) for method in methods)
        table.add_row(Text(problem), *(Text("-") if cell is None else digits_of(cell) for cell in row))
    return table


def digits_of(cell: Cell) -> Text:
    """One cell of the digits table."""
    if not cell.ok:
        return Text(f"BAD {_missed(cell)}", "bold red")
    if cell.digits is None:
        return Text("refuses", "green")
    if cell.claim == "known-bad":
        return Text(f"({cell.digits:.1f})", "yellow")
    return Text(f"{cell.digits:.1f}", "green")


def _missed(cell: Cell) -> str:
    if cell.digits is None:
        return "raises"
    short = cell.claimed_digits is not None and cell.digits < cell.claimed_digits
    return f"{cell.digits:.1f} < {cell.claimed_digits:.1f}" if short else f"{cell.digits:.1f}"


def missed_table(cells: Iterable[Cell]) -> Table:
    """The cells that miss their claim, and why."""
    table = light_table("problem", "method", "claims", "instead")
    for cell in cells:
        claims = cell.claim + ("" if cell.claimed_digits is None else f" {cell.claimed_digits:.1f}")
        because = f" (claimed because: {cell.note})" if cell.note else ""
        table.add_row(*map(Text, (cell.problem, cell.method, claims, f"{cell.outcome}{because}; truth: {cell.truth}")))
    return table


def cost_table(cells: Iterable[Cell]) -> Table:
    """What every cell cost: evaluations forwards and after, seconds; its worst leaf and its truth."""
    table = light_table("problem", "method", "leaf", "nfe", "after", "seconds", "truth")
    for cell in cells:
        cost = (str(cell.nfe), str(cell.nfe_backward), f"{cell.seconds:.2f}")
        table.add_row(*map(Text, (cell.problem, cell.method, cell.worst_leaf or "-", *cost, cell.truth)))
    return table


def gradient_table(result: GradientResult) -> Table:
    """The leaves of a gradient: shape and largest entry."""
    table = light_table("leaf", "shape", "max |gradient|")
    for name, leaf in result.grads.items():
        largest = float(np.max(np.abs(leaf), initial=0.0))
        table.add_row(*map(Text, (name, str(leaf.shape), f"{largest:.17g}")))
    return table


def methods_table() -> Table:
    """Every gradient method and what to know of it before use."""
    table = light_table("method", "", "")
    for name, method in METHODS.items():
        table.add_section()
        facts = {
            "exact for": method.exact_for,
            "memory": method.memory,
            "cost": method.cost,
            "fails": method.fails,
        }
        for k, (word, fact) in enumerate(facts.items()):
            table.add_row(Text("" if k else name, "bold"), Text(word), Text(fact))
    return table


def facts_table(facts: dict[str, str]) -> Table:
    """Names and values."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, fact in facts.items():
        table.add_row(Text(name, "bold"), Text(fact, overflow="fold"))
    return table
