"""One line on the terminal while kernels are compiled, so that nobody takes the wait for a fault."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

PATIENCE = 1.0  # seconds of compilation before a word is said


class _Line(event.Listener):  # type: ignore[misc]
    """Counts the functions that are compiled, and shows the count once it has taken a while."""

    open = False  # whether there is one

    def __init__(self) -> None:
        self.count, self.began, self.shown = 0, 0.0, None

    def on_start(self, event: Any) -> None:
        self.began = self.began or time.perf_counter()
        if time.perf_counter() - self.began > PATIENCE:
            self.show()

    def on_end(self, event: Any) -> None:
        self.count += 1

    def show(self) -> None:
        """Say how far it is, if somebody is there to read it."""
        if self.shown is None:
            from rich.console import Console

            console = Console(stderr=True)
            self.shown = console.status("") if console.is_terminal else False
            if self.shown:
                self.shown.start()
        if self.shown:
            self.shown.update(f"Compiling kernels, once for this machine: {self.count} functions")

    def close(self) -> None:
        """Take the line away."""
        if self.shown:
            self.shown.stop()


@contextmanager
def announced() -> Iterator[None]:
    """While this is open, compilation that takes longer than a second is told on a terminal, once."""
    if _Line.open:
        yield
        return
    line, _Line.open = _Line(), True
    try:
        with event.install_listener("numba:compile", line):
            yield
    finally:
        _Line.open = False
        line.close()
