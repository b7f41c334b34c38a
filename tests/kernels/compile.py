"""Compiles the kernels into the cache before the tests, in all precisions at once: python -m tests.kernels.compile

So no two workers of pytest compile the same function.
"""

import subprocess
import sys
import time

DTYPES = ("float64", "float32")
PAIRS = "double-double"
METHODS = ("discrete", "backsolve", "interpolating", "quadrature", "forward_continuous")


def compile_kernels(dtype: str) -> None:
    """Compile what gradients in this precision take: the same code for every batch, depth and number of threads."""
    import numpy as np

    import refnode as rn
    from refnode.kernels.threads import together

    start, zeros, model = time.perf_counter(), np.zeros((2, 2)), rn.NeuralODE(rn.MLP(2, 4, 2))
    problem = rn.Problem(model, model.init(np.random.default_rng(0)), zeros, rn.Loss(rn.SquaredError(zeros)))
    for method in METHODS:
        rn.gradient(problem, method, rn.Solver("dopri5", tol=1e-2), backend="cpu", dtype=dtype)
    rn.gradient(problem, "discrete", rn.Solver("dopri5", tol=1e-2, steps="own"), backend="cpu", dtype=dtype)
    together()
    print(f"{dtype}: {time.perf_counter() - start:.1f} s", flush=True)


def compile_pairs() -> None:
    """Compile what the oracle's Taylor series take."""
    from refnode.oracle.problems import catalogue
    from refnode.oracle.taylor import verify

    start = time.perf_counter()
    (entry,) = catalogue("theta_running")
    verify(entry.problem)
    print(f"{PAIRS}: {time.perf_counter() - start:.1f} s", flush=True)


def main() -> int:
    """Compile in one process for each precision; 0 if all went well."""
    if sys.argv[1:]:
        compile_pairs() if sys.argv[1] == PAIRS else compile_kernels(sys.argv[1])
        return 0
    command = [sys.executable, "-m", "tests.kernels.compile"]
    processes = [subprocess.Popen([*command, precision]) for precision in (*DTYPES, PAIRS)]
    return max(process.wait() for process in processes)


if __name__ == "__main__":
    sys.exit(main())
