"""Measurements that want a process of their own: its imports, its threads, its peak memory.

    python -m benchmarks.children module function '{"argument": value}'        prints what it returned as JSON
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def ask(place: str, *, threads: int | None = None, settings: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """What "module:function" of this package returns for the arguments in a new process, on so many threads."""
    module, _, function = place.partition(":")
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.children", module, function, json.dumps(arguments)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path} | dict(settings or {})
    if threads is not None:
        environment |= dict.fromkeys(THREADS, str(threads))
        eigen = "true" if threads > 1 else "false"
        environment["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
        environment["BENCHMARKS_CORES"] = str(threads)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{place} with {arguments} ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def stay_on_cores() -> None:
    """Keep to as many cores as BENCHMARKS_CORES says: not every library has a setting for its threads."""
    wanted = os.environ.get("BENCHMARKS_CORES")
    if wanted and hasattr(os, "sched_setaffinity"):  # Linux only
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(wanted)])


if __name__ == "__main__":
    stay_on_cores()
    answer = getattr(importlib.import_module(f"benchmarks.{sys.argv[1]}"), sys.argv[2])(**json.loads(sys.argv[3]))
    print(json.dumps(answer), flush=True)
