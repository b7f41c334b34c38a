"""The command line: refnode budget | certify | compile | figures | golden | grade | gradient | info | methods | train.
"""

import sys
from typing import Any

import click

from refnode import __version__, cli_budget, cli_compile, cli_figures, cli_golden, cli_grade, cli_train, report
from refnode.api import gradient
from refnode.certificate_html import save_certificate
from refnode.environment import environment_facts
from refnode.errors import RefnodeError
from refnode.gradients import METHODS, GradientResult
from refnode.json_file import writable, write_json
from refnode.oracle.certificate import Certificate, certify
from refnode.problem_file import load_problem
from refnode.result_file import save_result
from refnode.solver import Solver
from refnode.tableau import TABLEAUX
from refnode.terminal import plain_console, progress_bar


class Commands(click.Group):
    """The group of commands: what refnode or the system refuses becomes one line on stderr and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (RefnodeError, OSError) as error:
            click.echo("refnode: " + " ".join(str(error).split()), err=True)
            ctx.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="refnode")
def main() -> None:
    """Gradients of neural ordinary differential equations, by many methods, with digits that are known."""


# ---------------------------------------------------------------- gradient

@main.command("gradient")
@click.argument("file")
@click.option("--method", type=click.Choice(list(METHODS)), default="discrete", show_default=True)
@click.option("--solver", type=click.Choice(list(TABLEAUX)), default="dopri5", show_default=True, help="The tableau.")
@click.option("--tol", type=float, help="Tolerance, relative and absolute.  [default: 1e-8]")
@click.option("--steps-fixed", type=int, metavar="N", help="N equal steps instead of a tolerance.")
@click.option("--own", is_flag=True, help="Every sample its own adaptive steps.")
@click.option("--out", metavar="G.json", help="Write loss and gradient to this file.")
def gradient_command(
    file: str, method: Any, solver: Any, tol: float | None, steps_fixed: int | None, own: bool, out: str | None
) -> None:
    """The gradient of the problem in FILE by one method (see: refnode methods)."""
    if out is not None:
        writable(out)
    numerics = Solver(solver, tol=tol, n_steps=steps_fixed, steps="own" if own else "shared")
    result = gradient(load_problem(file), method, numerics)
    _print_gradient(result)
    if out is not None:
        save_result(result, out)


def _print_gradient(result: GradientResult) -> None:
    console, stats = plain_console(), result.stats
    console.print(report.gradient_table(result))
    console.print(f"loss    {result.loss:.17g}")
    console.print(f"nfe     {stats.nfe} forwards, {stats.nfe_backward} after")
    console.print(f"method  {result.method}, {result.solver.method}, {_numerics(result.solver)}")


def _numerics(solver: Solver) -> str:
    return f"tol {solver.tolerance:g}" if solver.adaptive else f"{solver.n_steps} steps"


# ---------------------------------------------------------------- certify

def _names(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """a,b as ["a", "b"]."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("give at least one name", ctx, parameter)
    return names


@main.command("certify")
@click.option("--problems", callback=_names, metavar="A,B", help="Only these problems of the catalogue.")
@click.option("--methods", callback=_names, metavar="A,B", help="Only these methods (see: refnode methods).")
@click.option("--quick", is_flag=True, help="Leave out the largest problems and the slowest methods.")
@click.option("--verbose", is_flag=True, help="Print evaluations and seconds of every cell too.")
@click.option(
    "--backend", type=click.Choice(["numpy", "cpu"]), default="numpy", show_default=True,
    help="The story, or the compiled kernels where they take problem and method.",
)  # fmt: skip
@click.option("--json", "json_file", metavar="F.json", help="Write the certificate to this file.")
@click.option("--html", "html_file", metavar="F.html", help="Write it as a page: sortable, every number's command.")
def certify_command(
    problems: list[str] | None, methods: list[str] | None, quick: bool, verbose: bool, backend: Any,
    json_file: str | None, html_file: str | None,
) -> None:  # fmt: skip
    """Hold every method to its claim on every problem: exit status 0 if all keep theirs, 1 if not."""
    for path in (json_file, html_file):
        if path is not None:
            writable(path)
    with progress_bar() as show:
        certificate = certify(problems, methods, quick, show, backend)
    if json_file is not None:
        write_json(certificate.to_json(), json_file)
    if html_file is not None:
        save_certificate(certificate, html_file, backend)
    _print_certificate(certificate, verbose)
    sys.exit(0 if certificate.ok else 1)


def _print_certificate(certificate: Certificate, verbose: bool) -> None:
    console, cells = plain_console(), certificate.cells
    missed = [cell for cell in cells if not cell.ok]
    console.print(report.digits_table(certificate))
    console.print(report.LEGEND)
    if verbose:
        console.print(report.cost_table(cells))
    if missed:
        console.print(report.missed_table(missed))
    kept = len(cells) - len(missed)
    console.print(f"{kept} of {len(cells)} cells keep their claim; {certificate.seconds:.1f} s")


# ---------------------------------------------------------------- methods, info

@main.command("methods")
def methods_command() -> None:
    """The gradient methods: exact for what, memory, cost, and when they fail."""
    plain_console().print(report.methods_table())


@main.command("info")
def info_command() -> None:
    """Versions, processor, threads and backends: what to say beside a number measured here."""
    plain_console().print(report.facts_table(environment_facts()))


main.add_command(cli_budget.budget)
main.add_command(cli_compile.compile_command)
main.add_command(cli_figures.figures)
main.add_command(cli_golden.golden)
main.add_command(cli_grade.grade)
main.add_command(cli_train.train)
