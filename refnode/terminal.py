"""What commands print with: a console, a table that fits 80 columns, a bar while something long runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

Report = Callable[[str, int, int], None]  # (what, done, total)


def plain_console() -> Console:
    """A console that leaves text as it is."""
    return Console(highlight=False, markup=False, emoji=False)


def light_table(*columns: str) -> Table:
    """A table without lines between columns; the first column is never broken."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for k, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=k == 0)
    return table


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A bar on stderr, if anyone is looking."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
