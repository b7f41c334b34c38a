"""What a proof costs, on one core: seconds to a radius, against what was asked of it.

    python -m benchmarks.proof [--rounds 3] [--only words ..]

Every contestant is a problem, a radius that no number of its gradient may exceed, and the seconds that may take. The
digits that bring the radius are looked for first, untimed; then the problem is proven to them `rounds` times. Median,
rounds and the largest radius go to results/proof.json, a table of them to proof.md. Run it on an idle machine, with
OPENBLAS_NUM_THREADS=1, which keeps it to a core; `cpu` is the processor time of the fastest round, whatever else runs.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from importlib import metadata

import numpy as np

import refnode as rn
from benchmarks.machine import machine
from benchmarks.script import RESULTS, write
from refnode.oracle.proof import prove


def network(widths, batch, seed=0, A=None, span=(0.0, 1.0)):
    """A tanh network with weights of variance 1 / fan-in, terminal and running loss, as in the catalogue's problems."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(*widths, skip=A is not None), span=span)
    params = model.init(rng)
    params |= {name: 0.3 * rng.standard_normal(p.shape) for name, p in params.items() if ".b" in name}
    params |= {} if A is None else {"theta.A": A}
    x, y = rng.standard_normal((2, batch, widths[0]))
    return rn.Problem(model, params, x, rn.Loss(0.5 * rn.SquaredError(y), running=0.25 * rn.SquaredNorm()))


def one_sample(name):
    """A problem of the catalogue with its first sample only."""
    (entry,) = rn.catalogue(name)
    problem = entry.problem
    target = problem.loss.terminal.target[:1]
    loss = replace(problem.loss, terminal=replace(problem.loss.terminal, target=target))
    return rn.Problem(problem.model, problem.params, problem.x[:1], loss, problem.span)


CONTESTANTS = {                                     # name: problem, radius, seconds asked for
    "2-8-2, B = 4, T = 1": (lambda: network((2, 8, 2), 4), 1e-19, 0.3),
    "2-64-2, B = 1": (lambda: network((2, 64, 2), 1), 1e-19, 3.0),
    "2-16-16-2, B = 4": (lambda: network((2, 16, 16, 2), 4), 1e-19, 8.0),
    "limit cycle, T = 20, B = 1": (lambda: one_sample("cycle"), 1e-19, 10.0),
    "stiff, eigenvalue -200, B = 1": (lambda: one_sample("stiff"), 1e-19, 20.0),
    "2-32-32-2, 1,218 parameters, B = 1": (lambda: network((2, 32, 32, 2), 1), 1e-25, 20.0),
}


def digits_for(problem, radius):
    """The fewest digits, relative to each leaf, that bring every radius below `radius`."""
    rough = prove(problem, 3)
    smallest = min(size for size in (float(np.max(np.abs(g))) for g in rough.grads.values()) if size > 0)
    digits = max(3.0, np.ceil(np.log10(smallest / radius)) - 5)  # a proof has some digits more than it is asked for
    while largest_radius(prove(problem, digits)) > radius:
        digits += 1
    return float(digits)


def largest_radius(truth):
    """Of any number of the gradient."""
    return max(float(np.max(r)) for r in truth.radius.values())


def race(problem, radius, rounds):
    """Digits, seconds and processor seconds of every round, and the largest radius."""
    digits, seconds, cpu = digits_for(problem, radius), [], []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        truth = prove(problem, digits)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return digits, seconds, cpu, largest_radius(truth)


def page(found):
    """The table of a result."""
    facts = ", ".join(f"{name} {found['versions'][name]}" for name in ("processor", "python-flint", "numpy"))
    lines = [
        "# What a proof costs, on one core", "", "`OPENBLAS_NUM_THREADS=1 python -m benchmarks.proof`; " + facts, "",
        "| problem | radius asked | largest radius | seconds asked | seconds | times faster |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in found["rows"]:
        radii = f"{row['radius asked']:.0e} | {row['radius']:.1e}"
        seconds = f"{row['seconds asked']:g} | {row['median']:.2f} | {row['asked / median']:.1f}"
        lines.append(f"| {row['problem']} | {radii} | {seconds} |")
    return "\n".join(lines) + "\n"


def main():
    """Print and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proof")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    prove(network((2, 2, 2), 1), 5)  # imports and first calls are not the question
    rows = []
    for name, (build, radius, asked) in CONTESTANTS.items():
        if given.only and not any(word in name for word in given.only):
            continue
        digits, seconds, cpu, reached = race(build(), radius, given.rounds)
        median = statistics.median(seconds)
        rows.append({
            "problem": name, "radius asked": radius, "radius": reached, "digits": digits, "rounds": seconds,
            "median": median, "cpu": min(cpu), "seconds asked": asked, "asked / median": asked / median,
        })  # fmt: skip
        figures = f"{median:6.2f} s ({min(cpu):.2f} s of a core)  asked {asked:5.1f} s  {asked / median:5.1f} x"
        print(f"{name:36s} radius {reached:.1e}  {figures}", flush=True)
    versions = {name: metadata.version(name) for name in ("python-flint", "numpy")}
    if not given.only:
        found = {"versions": versions | machine(), "rows": rows}
        write(RESULTS / "proof.json", json.dumps(found, indent=1) + "\n")
        write(RESULTS / "proof.md", page(found))


if __name__ == "__main__":
    main()
