"""A process that runs gradients one by one, so that a crash or an endless run costs one row and not the board.

Time is CPU time of the process, all of its threads, with one thread per library: it does not depend on what else the
machine does. The limit is CPU time too, kept by the system (setitimer): the process is killed where it stands. The
limit is on the first call, which warms up; those that are timed run without, for an armed timer coarsens the clock.
"""

import multiprocessing
import os
import signal
import statistics
import sys
import time
import warnings
from contextlib import suppress

REPEATS, ENOUGH = 5, 0.2  # timed calls, and CPU seconds after which there are no more
FINE = 1e-4  # seconds that the clock may step by
SHORT = 1.0  # CPU seconds: longer calls are not repeated
STARTING = 120.0  # wall seconds that importing a library may take
PATIENCE = 20  # wall seconds for each CPU second, on a machine that does other things too
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
THREADS |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


# ---------------------------------------------------------------- in the worker process


def serve(connection, core):
    """Answer jobs until None comes or the other end is gone."""
    warnings.simplefilter("ignore")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, {core})
    with suppress(EOFError, KeyboardInterrupt):
        for job in iter(connection.recv, None):
            connection.send(job())
            _alarm(0)  # where the job raised


def timed(function, limit, compiles):
    """The function's value, the median CPU seconds of a call, and those of the first, which may import and compile."""
    _alarm(limit)
    value, first = _once(function)
    _alarm(0)
    _until_fine()
    repeats = []
    while len(repeats) < REPEATS and sum(repeats) < ENOUGH and (compiles or first < SHORT):
        repeats.append(_once(function)[1])
    return value, statistics.median(repeats or [first]), first


def _once(function):
    started = time.process_time()
    value = function()
    return value, time.process_time() - started


def _until_fine():
    """Spin until the clock, coarse while a timer was armed, moves in small steps again."""
    for _ in range(100):
        before = now = time.process_time()
        while now == before:
            now = time.process_time()
        if now - before < FINE:
            return


def _alarm(seconds):
    """Have this process killed after so many CPU seconds; 0 to call it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


# ---------------------------------------------------------------- in the board's process


class Worker:
    """The other end: starts the process when it is needed, and again after it is gone.

    core     the core it is bound to, where the system can
    """

    def __init__(self, core):
        self.core = core
        self.process = None

    def ask(self, job):
        """(outcome, value or message): what the job returned, or "timeout", or "crashed".

        job.limit is in CPU seconds, kept by the job; many times that in wall seconds is the last resort.
        """
        if self.process is None:
            self._start()
        patience = STARTING + PATIENCE * job.limit
        try:
            self.connection.send(job)
            if not self.connection.poll(patience):
                self.stop()
                return "timeout", f"no answer in {patience:.0f} s"
            return self.connection.recv()
        except (EOFError, ConnectionError):
            return self._gone(job)

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, self.core), daemon=True)
        self.process.start()
        other.close()

    def _gone(self, job):
        self.process.join()
        code = self.process.exitcode
        self.stop()
        if hasattr(signal, "SIGPROF") and code == -signal.SIGPROF:
            return "timeout", f"more than {job.limit:g} CPU seconds"
        return "crashed", f"the process ended with exit status {code}"

    def stop(self):
        """End the process; the next job starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None
