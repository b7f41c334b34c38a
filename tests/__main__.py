"""All checks in order, stopping at the first that fails: python -m tests [--fast]"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main(prog_name='lint-imports')"

STEPS = {                                           # name: arguments of python
    "ruff check": ["-m", "ruff", "check", "."],
    "mypy": ["-m", "mypy"],
    "lint-imports": ["-c", LINT_IMPORTS, "--no-logo"],
    "compile kernels": ["-m", "tests.kernels.compile"],
    "pytest": ["-m", "pytest", "-n", "2"],
    "pytest -m slow": ["-m", "pytest", "-n", "2", "-m", "slow"],
}
SLOW = {"pytest -m slow"}


def run(name, arguments):
    """Run one step; its exit status and seconds."""
    print(f"\n=== {name}", flush=True)
    start = time.perf_counter()
    # the same examples on every machine; two workers with one BLAS thread each, for matrices that are small
    environment = {"HYPOTHESIS_PROFILE": "ci", "OPENBLAS_NUM_THREADS": "1", **os.environ}
    status = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode
    return status, time.perf_counter() - start


def main():
    """Exit status 0 if every step passed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests", description="ruff, mypy, lint-imports, pytest.")
    parser.add_argument("--fast", action="store_true", help="leave out the tests marked slow")
    fast = parser.parse_args().fast
    seconds = {}
    for name, arguments in STEPS.items():
        if fast and name in SLOW:
            continue
        status, seconds[name] = run(name, arguments)
        if status:
            print(f"\nFAILED at step '{name}' (exit status {status}, {seconds[name]:.1f} s)", flush=True)
            return 1
    print("\nAll steps passed:", *(f"{name} {s:.1f} s" for name, s in seconds.items()), sep="\n  ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
