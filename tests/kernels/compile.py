"""Compiles the kernels into the cache before the tests, in all precisions at once: python -m tests.kernels.compile

So no two workers of pytest compile the same function.
"""

import subprocess
import sys
import time

DTYPES = ("float64", "float32")
PAIRS = "double-double"
METHODS = ("discrete", "backsolve", "interpolating", "quadrature")
BATCHES = {"one thread": 2, "all threads": 40}  # one tile, and more than one; pools are of 32 samples too


def compile_kernels(dtype: str) -> None:
    """Compile what a gradient in this precision takes, with a line for each part."""
    import numpy as np

    import refnode as rn

    by_stage, still = rn.Galerkin(rn.Legendre(1)), rn.Constant()
    for name, batch in BATCHES.items():
        start, zeros = time.perf_counter(), np.zeros((batch, 2))
        for theta, steps in ((by_stage, "shared"), (by_stage, "own"), (still, "own")):
            model, solver = rn.NeuralODE(rn.MLP(2, 4, 2), theta=theta), rn.Solver("dopri5", tol=1e-2, steps=steps)
            problem = rn.Problem(model, model.init(np.random.default_rng(0)), zeros, rn.Loss(rn.SquaredError(zeros)))
            for method in METHODS if steps == "shared" else ("discrete",):
                rn.gradient(problem, method, solver, backend="cpu", dtype=dtype)
        ends = np.zeros(batch), np.ones(batch)  # spans that differ: theta(t) by row, steps shared
        model = rn.NeuralODE(rn.MLP(2, 4, 2), theta=by_stage)
        problem = rn.Problem(model, model.init(np.random.default_rng(0)), zeros, problem.loss, ends)
        for method in METHODS if dtype == "float64" else ("discrete",):
            rn.gradient(problem, method, rn.Solver(tol=1e-2), backend="cpu", dtype=dtype)
        print(f"{dtype}, {name}: {time.perf_counter() - start:.1f} s", flush=True)


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
