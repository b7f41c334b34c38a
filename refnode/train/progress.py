"""A bar on stderr for a training: loss, evaluations forwards and backwards, time per step."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[int, float, int, int, float], None]  # steps done, loss, nfe, nfe_backward, seconds of the step


@contextmanager
def bar(steps: int, done: int, show: bool | None) -> Iterator[Report]:
    """What to call after each step. show: True, False, or None for a bar if stderr is a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda *facts: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    facts = "loss {task.fields[loss]:.4g}, nfe {task.fields[nfe]} + {task.fields[back]}, {task.fields[ms]:.1f} ms"
    columns = BarColumn(24), MofNCompleteColumn(), TextColumn(facts), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        start: dict[str, Any] = {"loss": float("nan"), "nfe": 0, "back": 0, "ms": float("nan")}
        task = progress.add_task("", total=steps, completed=done, **start)

        def report(step: int, loss: float, nfe: int, nfe_backward: int, seconds: float) -> None:
            progress.update(task, completed=step, loss=loss, nfe=nfe, back=nfe_backward, ms=1e3 * seconds)

        yield report
