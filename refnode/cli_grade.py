"""refnode grade: another library's gradient, or another program's, held to the truth."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from refnode.errors import InvalidArgument
from refnode.json_file import writable, write_json
from refnode.oracle.entry import Entry
from refnode.oracle.external import TIMEOUT, program
from refnode.oracle.grading import PROBLEMS, TOLS, Asked, grade as grade_function
from refnode.problem_file import load_problem


def _words(ctx: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """a,b as ["a", "b"]."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise click.BadParameter("give at least one, separated by commas", ctx, parameter)
    return words


def _tolerances(ctx: click.Context, parameter: click.Parameter, text: str) -> list[float]:
    """1e-3,1e-6 as [1e-3, 1e-6]."""
    try:
        return [float(word) for word in _words(ctx, parameter, text)]
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from None


@click.command("grade")
@click.argument("target", required=False, metavar="[PACKAGE.MODULE:FUNCTION]")
@click.option("--exec", "command", metavar="'./mine {problem} {tol} {out}'", help="Grade a program instead.")
@click.option("--problems", callback=_words, default=",".join(PROBLEMS), show_default=True, metavar="A,B",
              help="Names of the catalogue, or problem files (.json).")  # fmt: skip
@click.option("--tols", callback=_tolerances, default=",".join(f"{tol:g}" for tol in TOLS), show_default=True,
              metavar="A,B", help="Tolerances handed over.")  # fmt: skip
@click.option("--digits", type=float, metavar="N", help="The most digits to ask for, however small a tolerance is.")
@click.option("--timeout", type=float, default=TIMEOUT, show_default=True, help="Seconds for one run of a program.")
@click.option("--json", "json_file", metavar="F.json", help="Write the report to this file.")
def grade(
    target: str | None,
    command: str | None,
    problems: list[str],
    tols: list[float],
    digits: float | None,
    timeout: float,
    json_file: str | None,
) -> None:
    """Is a gradient right, and to how many digits? FUNCTION(problem, tol) returns {leaf: array}.

    Exit status 0 if every problem passes at every tolerance, 1 if not, 2 if the question makes no sense.
    """
    if (target is None) == (command is None):
        raise click.UsageError("give either PACKAGE.MODULE:FUNCTION or --exec")
    if json_file is not None:
        writable(json_file)
    loss = None
    if command is not None:
        function: Callable[..., Any] = program(command, timeout)
    else:
        function, loss = function_of(str(target))
    asked: list[Asked] = [Entry(name, "", load_problem(name)) if name.endswith(".json") else name for name in problems]
    report = grade_function(function, asked, tols, loss=loss, digits=digits)
    click.echo(str(report))
    if json_file is not None:
        write_json(report.to_json(), json_file)
    sys.exit(0 if report.ok else 1)


def function_of(target: str) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """The function that "package.module:function" names, and the module's `loss` if it has one.

    The working folder is searched first. Raises InvalidArgument if there is no such module or function, or the module
    fails as it is imported.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise InvalidArgument("target", repr(target), "package.module:function")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        was = f"{target!r}, whose import fails ({type(error).__name__}: {error})"
        raise InvalidArgument("target", was, "package.module:function, importable from here") from error
    function, loss = getattr(module, name, None), getattr(module, "loss", None)
    if not callable(function):
        was = f"{target!r}; {module_name} has no function {name}"
        raise InvalidArgument("target", was, "package.module:function")
    return function, loss if callable(loss) else None
