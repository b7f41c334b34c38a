"""refnode budget: where the error of a gradient comes from - truncation, round-off, adjoint inconsistency."""

import re
import sys
from pathlib import Path
from typing import get_args

import click
from rich.text import Text

from refnode.figures import draw_budget, require_matplotlib, save_figure
from refnode.json_file import writable, write_json
from refnode.oracle.budget import KINDS, Adjoint, Budget, error_budget
from refnode.oracle.entry import Entry
from refnode.oracle.problems import catalogue
from refnode.problem_file import load_problem
from refnode.tableau import TABLEAUX
from refnode.terminal import light_table, plain_console, progress_bar

FORMS = ("png", "svg", "pdf")


def _numbers(ctx: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """4..32 as [4, 8, 16, 32], 3,5,9 as [3, 5, 9]."""
    doubled = re.fullmatch(r"(\d+)\.\.(\d+)", text.strip())
    if doubled:
        n, last = map(int, doubled.groups())
        numbers = [n * 2**k for k in range(64) if 0 < n * 2**k <= last]
    else:
        numbers = [int(word) for word in text.split(",") if re.fullmatch(r"\s*\d+\s*", word)]
        numbers = numbers if len(numbers) == len(text.split(",")) else []
    if not numbers or min(numbers) < 1:
        raise click.BadParameter("give 4..256 for 4, 8, .., 256, or numbers separated by commas", ctx, parameter)
    return numbers


def _picture(ctx: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """A path whose ending says what kind of picture it is."""
    if path is not None and Path(path).suffix[1:] not in FORMS:
        raise click.BadParameter("give a name that ends in .png, .svg or .pdf", ctx, parameter)
    return path


@click.command("budget")
@click.argument("problem", metavar="PROBLEM|FILE.json")
@click.option("--method", type=click.Choice(list(TABLEAUX)), default="rk4", show_default=True, help="The tableau.")
@click.option("--steps", callback=_numbers, default="4..256", show_default=True, metavar="A..B|A,B",
              help="Numbers of equal steps, doubled from A to B, or listed.")  # fmt: skip
@click.option("--adjoint", type=click.Choice(get_args(Adjoint)), default="backsolve", show_default=True,
              help="The continuous adjoint that is compared with the discrete one.")  # fmt: skip
@click.option("--out", callback=_picture, metavar="F.png", help="Draw it, on logarithmic axes (.png, .svg, .pdf).")
@click.option("--json", "json_file", metavar="F.json", help="Write the numbers to this file.")
def budget(
    problem: str, method: str, steps: list[int], adjoint: Adjoint, out: str | None, json_file: str | None
) -> None:
    """The error of a gradient on N equal steps, taken apart, for a PROBLEM of the catalogue or a problem file.

    Truncation: what the discretisation changes, by the same steps in long doubles. Round-off: what float64 changes.
    Inconsistency: how far the continuous adjoint on the same steps is from the gradient of the computed solution.
    Each is relative to the leaf's largest true entry, of the worst leaf.
    """
    for path in (out, json_file):
        if path is not None:
            writable(path)
    if out is not None:
        require_matplotlib()
    entry = Entry(Path(problem).stem, "", load_problem(problem)) if problem.endswith(".json") else catalogue(problem)[0]
    with progress_bar() as show:
        found = error_budget(entry.problem, method, steps, adjoint, entry.faint, show)
    _print_budget(entry.name, found)
    if json_file is not None:
        write_json({"problem": entry.name, **found.to_json()}, json_file)
    if out is not None:
        save_figure(draw_budget(found), out, Path(out).suffix[1:])
    sys.exit(1 if all(row.raised for row in found.rows) else 0)


def _print_budget(name: str, found: Budget) -> None:
    table = light_table("steps", "truncation", "round-off", "inconsistency", "")
    for row in found.rows:
        cells = ["-" if row.raised else f"{getattr(row, kind):.1e}" for kind in KINDS]
        table.add_row(*map(Text, (str(row.steps), *cells, row.raised)))
    orders = {kind: found.slope(kind) for kind in KINDS}
    measured = ["" if order is None else f"{order:.2f}" for order in orders.values()]
    table.add_section()
    table.add_row(*map(Text, ("order", *measured, "")))
    console = plain_console()
    console.print(f"{name}, {found.tableau} of order {found.order}, {found.adjoint} adjoint")
    console.print(table)
    console.print(f"truth: {found.truth}, to {found.floor:.0e}; long doubles to {found.epsilon:.0e}")
