"""All scripts in order, each in a process of its own: python -m benchmarks [--short] [NAME ..]

    a0_forward         how long a forward solve takes            c0_batch            batches of 1 to 65,536
    a1_gradient        how long a gradient takes                 c1_threads          what threads bring
    a2_training        how long a training step takes            d0_memory           memory against steps and batch
    a3_bound           how near a gradient is to its bound       e0_start_up         a process's first gradient
    a4_profile         where the time of a gradient goes         f0_micro_kernels    products against OpenBLAS
    a5_depth           what theta(t) costs                       f1_activations      error and cost of tanh and others
    b0_work_precision  digits for milliseconds               b1_round_off         what float32 leaves of the digits

Results go to benchmarks/results: JSON, a page and a picture for each. Other libraries take part where they are
installed (sh validation/peers/install.sh). --short needs none of them, takes seconds where the kernels are compiled,
and saves nothing. A name may be cut short, as in `python -m benchmarks a0 f`.
"""

import argparse
import subprocess
import sys
import time

SCRIPTS = (
    "a0_forward", "a1_gradient", "a2_training", "a3_bound", "a4_profile", "a5_depth", "b0_work_precision",
    "b1_round_off", "c0_batch", "c1_threads", "d0_memory", "e0_start_up", "f0_micro_kernels", "f1_activations",
)  # fmt: skip


def chosen(names: list[str]) -> list[str]:
    """The scripts whose names begin with one of these words; all without one. Raises SystemExit for an unknown word."""
    for name in names:
        if not any(script.startswith(name) for script in SCRIPTS):
            raise SystemExit(f"no script begins with {name!r}; there are: {', '.join(SCRIPTS)}")
    return [script for script in SCRIPTS if not names or script.startswith(tuple(names))]


def main() -> int:
    """Run them; 0 if all went well, else 1, after all have run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--short", action="store_true", help="a small part of each, without other libraries")
    parser.add_argument("--into", metavar="FOLDER", help="write there instead, also with --short")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scripts, or beginnings of their names")
    arguments = parser.parse_args()
    failed = []
    for name in chosen(arguments.names):
        print(f"## {name}\n", flush=True)
        start = time.perf_counter()
        options = ["--short"] * arguments.short + (["--into", arguments.into] if arguments.into else [])
        # other libraries' warnings about each other are not ours to print
        command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", *options]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"{name}: {time.perf_counter() - start:.1f} s\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
