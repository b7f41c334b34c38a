"""A2: how long the double-double Taylor rung takes, to compile and to verify a gradient to 28 digits, on one core.

    python -m benchmarks.taylor [--write]

Each row is the shortest of a few repeats within one process; compiling is timed in a process with an empty cache, from
the first call to its answer, and loading in a second process. Where the machine is busy, the seconds of the processor
say what those of the clock would be on an idle one. --write puts the table into benchmarks/results/taylor.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "taylor.md"
ONE_CORE = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TARGETS = {"compile": 15.0, "mild": 0.1, "2-64-64-2, B = 8": 10.0}  # seconds
NAMES = ("mild", "contracting", "stiff", "cycle", "galerkin_fourier", "everything", "cnf")


def large():
    """2-64-64-2 tanh for eight samples."""
    import numpy as np

    import refnode as rn

    rng = np.random.default_rng(0)
    model = rn.NeuralODE(rn.MLP(2, 64, 64, 2))
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((8, 2))))
    return rn.Problem(model, model.init(rng), rng.standard_normal((8, 2)), loss)


def worst_digits(truth):
    """Digits that the radius leaves in the worst leaf."""
    import numpy as np

    largest = max(np.max(np.abs(g)) for g in truth.grads.values())
    sizes = {name: np.max(np.abs(g)) or largest for name, g in truth.grads.items()}
    return min(float(-np.log10(np.max(r) / sizes[name])) for name, r in truth.radius.items() if np.max(r) > 0)


def measure(names):
    """Seconds of the first call, then of each problem, with its digits."""
    import refnode as rn
    from refnode.oracle.taylor import verify

    problems = {name: rn.catalogue(name)[0].problem for name in names}
    if names:
        problems["2-64-64-2, B = 8"] = large()
    rows = {"first call": (*timed(lambda: verify(rn.catalogue("mild")[0].problem)), None)}
    for name, problem in problems.items():
        seconds = [timed(lambda problem=problem: verify(problem, 20)) for _ in range(3)]
        rows[name] = *map(min, zip(*seconds, strict=True)), worst_digits(verify(problem, 20))
    return rows


def timed(call):
    """Seconds of the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_a_process(cache, *names):
    """The rows of a fresh process."""
    environment = os.environ | ONE_CORE | {"REFNODE_CACHE_DIR": str(cache)}
    environment.pop("OPENBLAS_CORETYPE", None)
    command = [sys.executable, "-m", "benchmarks.taylor", "--measure", *names]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def table():
    """All rows: what, seconds of clock and processor, target, digits."""
    with tempfile.TemporaryDirectory() as cache:
        rows = {"compile": in_a_process(cache)["first call"]}
        later = in_a_process(cache, *NAMES)
    rows["load from the cache"] = later.pop("first call")
    lines = ["| what | seconds | of the processor | target | digits |", "|---|---:|---:|---:|---:|"]
    for name, (seconds, cpu, digits) in (rows | later).items():
        known = f"{digits:.1f}" if digits else ""
        lines.append(f"| {name} | {seconds:.3f} | {cpu:.3f} | {TARGETS.get(name, '')} | {known} |")
    return "\n".join(lines)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.taylor", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULT.name}")
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="time catalogue problems in this process")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    rows = table()
    print(rows)
    if arguments.write:
        RESULT.parent.mkdir(exist_ok=True)
        head = "# The double-double Taylor rung, on one core\n\n`python -m benchmarks.taylor --write`"
        RESULT.write_text(f"{head}, {platform.machine()}, Python {platform.python_version()}\n\n{rows}\n", "utf-8")


if __name__ == "__main__":
    main()
