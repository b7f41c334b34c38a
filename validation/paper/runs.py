"""Runs on any executor: one JSON file a run, so that what is there is not computed again."""

import concurrent.futures
import json
import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUNS, RESULTS = HERE / "runs", HERE / "results"
THREADS = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """A run: a function of this package by its name, and its arguments, which are plain data.

    name      of its file;  function "module:name" -> a dict of plain data
    """

    name: str
    function: str
    words: tuple[tuple[str, Any], ...]

    @property
    def path(self) -> Path:
        """Its file."""
        return RUNS / f"{self.name}.json"


def job(name: str, function: str, **words: Any) -> Job:
    """A job."""
    return Job(name, function, tuple(sorted(words.items())))


def run(one: Job) -> str:
    """Compute a job and keep what it gives; its name."""
    module, _, function = one.function.partition(":")
    words = dict(one.words)
    if "out" in words:
        words["out"] = str(RUNS / str(words["out"]))
    write(one.path, getattr(import_module(module), function)(**words))
    return one.name


def write(path: Path, document: Any) -> None:
    """A JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
    draft.write_text(json.dumps(document, allow_nan=False) + "\n", "utf-8")
    os.replace(draft, path)


def spawned(workers: int) -> Executor:
    """Processes with one thread each, started afresh: forks of a process that has run kernels die."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def results(jobs: Sequence[Job], executor: Callable[[], Executor]) -> list[dict[str, Any]]:
    """What every job gives, in order; computed where there is no file yet."""
    missing = [one for one in jobs if not one.path.exists()]
    if missing:
        start = time.perf_counter()
        with executor() as pool:
            futures = [pool.submit(run, one) for one in missing]
            try:
                for k, future in enumerate(concurrent.futures.as_completed(futures), 1):
                    spent = time.perf_counter() - start
                    print(f"{k}/{len(missing)} {future.result()} ({spent:.0f} s)", file=sys.stderr, flush=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what waits is not begun: the error is seen now, not hours later
                raise
    return [json.loads(one.path.read_text("utf-8")) for one in jobs]
