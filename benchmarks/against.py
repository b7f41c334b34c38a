"""Old against new: gradients by this checkout and by another one, in turn.

    python -m benchmarks.against CHECKOUT [TASKS] [--threads N] [--rounds N]

CHECKOUT is a folder with another state of refnode, such as `git worktree add ../before HEAD~1` makes; TASKS are some of
ABCD, those of benchmarks/tasks.py. Each state has a process of its own, and only one of them runs at a time: for a
burst of a tenth of a second, then the other. Where a clock wanders, the ratio of neighbouring bursts does not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BURST, LEAST = 0.1, 3  # seconds and calls of a burst, at least
ROOT = Path(__file__).resolve().parent.parent
HELD = "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"  # threads that stay one beside Numba's


class State:
    """A checkout's process, which times the gradient that it is asked for."""

    def __init__(self, checkout: Path, tasks: str, threads: int) -> None:
        path = {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_NUM_THREADS": str(threads)}
        command = [sys.executable, "-W", "ignore", __file__, "--serve", tasks]
        pipe = subprocess.PIPE
        self.process: Any = subprocess.Popen(
            command, cwd=checkout, env=os.environ | dict.fromkeys(HELD, "1") | path, stdin=pipe, stdout=pipe, text=True
        )
        self.titles = self._answer()

    def _answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended with status {self.process.wait()}")
        return json.loads(line)

    def burst(self, title: str) -> float:
        """The median seconds of a gradient."""
        print(title, file=self.process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def serve(names: str) -> None:
    """Answer the titles on stdin with the seconds of a gradient, by whatever refnode is imported."""
    from benchmarks import of_refnode, tasks

    calls = {task.title: of_refnode.gradient(task)[of_refnode.MINE] for name in names for task in getattr(tasks, name)}
    for call in calls.values():
        call()
    print(json.dumps(list(calls)), flush=True)
    for line in sys.stdin:
        call, taken = calls[line.strip()], []
        call()
        end = time.perf_counter() + BURST
        while time.perf_counter() < end or len(taken) < LEAST:
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        print(json.dumps(statistics.median(taken)), flush=True)


def race(before: State, now: State, rounds: int) -> dict[str, list[float]]:
    """now / before of every round, by title; who begins changes from round to round."""
    found: dict[str, list[float]] = {title: [] for title in now.titles}
    for n in range(rounds):
        for title, ratios in found.items():
            order = (before, now) if n % 2 else (now, before)
            seconds = {state: state.burst(title) for state in order}
            ratios.append(seconds[now] / seconds[before])
    return found


def main() -> int:
    """Print the median ratio for each task, and between what the middle half of the rounds lies."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=about)
    parser.add_argument("checkout", metavar="CHECKOUT", type=Path, help="another state of refnode")
    parser.add_argument("tasks", metavar="TASKS", nargs="?", default="ABCD", help="some of ABCD (all)")
    parser.add_argument("--threads", type=int, default=1, help="Numba's (1)")
    parser.add_argument("--rounds", type=int, default=25, help="bursts of each (25)")
    arguments = parser.parse_args()
    if not (arguments.checkout / "refnode" / "__init__.py").exists():
        raise SystemExit(f"{arguments.checkout} holds no refnode")
    if not arguments.tasks or set(arguments.tasks) - set("ABCD"):
        raise SystemExit(f"TASKS is {arguments.tasks!r}; it may be some of ABCD")
    if arguments.rounds < 2:
        raise SystemExit(f"--rounds is {arguments.rounds}; it may be 2 or more")
    before, now = (State(root.resolve(), arguments.tasks, arguments.threads) for root in (arguments.checkout, ROOT))
    for title, ratios in race(before, now, arguments.rounds).items():
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{title}: {middle:.3f} of the time before ({low:.3f} .. {high:.3f})", flush=True)
    before.close()
    now.close()
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        sys.exit(main())
