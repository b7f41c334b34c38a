"""GPU: every kernel of a card checked against the CPU, then timed against its bound, the CPU and other libraries.

    python -m benchmarks.gpu [--dry-run] [--into FOLDER]

One command for a machine with an NVIDIA card and `pip install 'refnode[cuda,figures]'`; it takes less than 10 minutes.
Nothing is timed before all gradients are right. Kernels are timed by the device's events, and stand beside the least
that the card could take by its clock, its multiprocessors and the kernels' instructions (gpu_bound.py); gradients as a
whole are timed by the clock, which copies and the host's part belong to. torchdiffeq and diffrax take part where they
are installed for CUDA.

--dry-run needs no card: a CPU runs the kernels' PTX on a few trajectories. Its times mean nothing, and nothing is
written unless --into says where.
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import refnode as rn
from benchmarks import of_jax, of_torch
from benchmarks.gpu_bound import bound
from benchmarks.machine import machine
from benchmarks.script import RESULTS, picture, whole_page, write
from benchmarks.tasks import Task, error_against, problem as wide_problem
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.card import Card
from refnode.kernels.cuda.continuous import backsolve_adjoint
from refnode.kernels.cuda.driver import Driver, Stopwatch, library

ROUNDS = 5
RK4, OWN = rn.Solver("rk4", n_steps=40), rn.Solver("dopri5", tol=1e-5, steps="own")
SHARED = rn.Solver("dopri5", tol=1e-5)
WITHIN = {"float32": 1e-3, "float64": 1e-9}         # of a leaf's largest entry; own steps: a thousand tolerances


class TimedCard(Card):
    """A card that adds up the milliseconds of each kernel, and the least that it could take."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self.milliseconds: dict[str, float] = defaultdict(float)
        self.bounds: dict[str, float] | None = None     # None: not wanted

    def launch(self, build: Any, shape: Any, blocks: int, threads: int, arguments: Any) -> None:
        """Launch between two events."""
        with Stopwatch(self.driver) as watch:
            super().launch(build, shape, blocks, threads, arguments)
        self.milliseconds[build.__name__] += watch.milliseconds
        if self.bounds is not None and (least := bound(self, build, shape, arguments)) is not None:
            self.bounds[build.__name__] += least


@dataclass(frozen=True)
class Case:
    """A network 2-widths-2, trajectories, a solver, a precision, what the tape keeps, and the gradient's method.

    rich    whether it has theta(t), t as an input and a running loss
    """

    widths: tuple[int, ...]
    batch: int
    solver: rn.Solver
    dtype: str
    store: str = "nothing"
    method: str = "discrete"
    rich: bool = False

    @property
    def title(self) -> str:
        """In words."""
        steps = f"{self.solver.n_steps} steps" if self.solver.n_steps else f"{self.solver.steps} steps"
        how = f"{self.store} kept" if self.method == "discrete" else self.method
        network = "-".join(map(str, (2, *self.widths, 2)))
        rich = ", theta(t), t and running loss" if self.rich else ""
        return f"{network}{rich}, {self.batch} trajectories, {self.solver.method}, {steps}, {self.dtype}, {how}"

    @property
    def problem(self) -> rn.Problem:
        """Weights of some size, normal inputs, half the mean squared norm of z(1)."""
        if self.widths == (64, 64) and not self.rich:
            return wide_problem(self.batch)         # what other libraries compute
        rng, depth = np.random.default_rng(0), {"theta": rn.Galerkin(rn.Fourier(1))} if self.rich else {}
        model = rn.NeuralODE(rn.MLP(2, *self.widths, 2, time="first" if self.rich else "none"), **depth)
        sizes = {name: 1 / np.sqrt(shape[-2]) if name[-2] == "W" else 0.3 for name, shape in model.shapes.items()}
        params = {name: sizes[name] * rng.standard_normal(shape) for name, shape in model.shapes.items()}
        running = (0.1 * rn.Kinetic(), 0.1 * rn.SquaredNorm()) if self.rich else ()
        loss = rn.Loss(rn.SquaredError(np.zeros(2), weight=0.5), running=running)
        return rn.Problem(model, params, rng.standard_normal((self.batch, 2)), loss)

    @property
    def within(self) -> float:
        """The largest error that counts as right."""
        return max(WITHIN[self.dtype], 1000 * (self.solver.tolerance or 0.0))


def cases(dry: bool) -> list[Case]:
    """Every kernel: forward, gradient, backsolve, own and shared steps, by threads and by tiles."""
    if dry:
        one = rn.Solver("rk4", n_steps=1)
        return [
            Case((32,), 70, one, "float32", "stages"), Case((32,), 3, OWN, "float32", "states"),
            Case((32,), 3, SHARED, "float32", method="backsolve", rich=True),
            Case((64, 64), 3, SHARED, "float32", "states"), Case((64, 64), 3, OWN, "float32", "states"),
            Case((64, 64), 3, SHARED, "float32", method="backsolve", rich=True),
        ]  # fmt: skip
    many, fewer, some = 2**20, 2**18, 2**16
    return [
        Case((32,), many, RK4, "float32", "stages"), Case((32,), many, RK4, "float32", "states"),
        Case((32,), fewer, RK4, "float64", "states"), Case((32,), many, OWN, "float32", "states"),
        Case((64, 64), some, RK4, "float32", "stages"), Case((64, 64), some, RK4, "float32", "states"),
        Case((64, 64), some // 4, RK4, "float64", "states"), Case((128, 128), some, RK4, "float32", "states"),
        Case((128, 128, 128), some // 4, RK4, "float32", "states"),
        Case((32,), fewer, RK4, "float32", method="backsolve"), Case((32,), fewer, OWN, "float32", method="backsolve"),
        Case((32,), fewer, SHARED, "float32", "states"), Case((32,), fewer, SHARED, "float32", method="backsolve"),
        Case((64, 64), some, RK4, "float32", method="backsolve"), Case((64, 64), some, SHARED, "float32", "states"),
        Case((64, 64), some, SHARED, "float32", method="backsolve"), Case((64, 64), some, OWN, "float32", "states"),
        Case((64, 64), some, OWN, "float32", method="backsolve"),
        Case((32,), fewer, OWN, "float32", "states", rich=True),
        Case((64, 64), some, OWN, "float32", "states", rich=True),
        Case((32,), fewer, SHARED, "float32", method="backsolve", rich=True),
        Case((64, 64), some, SHARED, "float32", method="backsolve", rich=True),
    ]  # fmt: skip


def on(card: Card, case: Case, p: rn.Problem) -> Callable[[], Any]:
    """The gradient on a card."""
    store, dtype = case.store, np.dtype(case.dtype).type
    if case.method == "backsolve":
        return lambda: backsolve_adjoint(p, case.solver, card, dtype, limit=case.within)
    return lambda: discrete_adjoint(p, case.solver, card, dtype, store=store)               # type: ignore[arg-type]


def checked(card: Card, case: Case) -> float:
    """The largest error of a gradient's leaves against the CPU's in float64, for a part of the trajectories.

    Raises SystemExit if it is too large.
    """
    few = replace(case, batch=min(case.batch, 4096))
    p = few.problem
    truth = rn.gradient(p, case.method, few.solver).grads
    error = error_against(truth)(on(card, few, p)().grads)
    if not error <= few.within:
        raise SystemExit(f"{few.title}: off by {error:.1e}; allowed are {few.within:.0e}. Nothing is timed.")
    return error


def timed(card: TimedCard, case: Case, dry: bool) -> dict[str, Any]:
    """Seconds of the gradient as a whole, milliseconds of each kernel, seconds of the CPU and of other libraries."""
    p = case.problem
    call = on(card, case, p)
    card.bounds, bounds, rounds, kernels = defaultdict(float), {}, [], []
    for k in range(1 if dry else 1 + ROUNDS):
        card.milliseconds.clear()
        start = time.perf_counter()
        call()
        if k == 0:
            bounds, card.bounds = dict(card.bounds), None
        if k or dry:                                # the first one looks for bounds
            rounds.append(time.perf_counter() - start)
            kernels.append(dict(card.milliseconds))
    found = {
        "title": case.title, "whole": statistics.median(rounds), "rounds": rounds, "others": {},
        "bounds": bounds,
        "kernels": {name: statistics.median(k[name] for k in kernels) for name in kernels[0]},
    }  # fmt: skip
    if dry:
        return found
    few = replace(case, batch=min(case.batch, 2**14))
    start = time.perf_counter()
    rn.gradient(few.problem, case.method, few.solver, backend="cpu", dtype=few.dtype)      # type: ignore[arg-type]
    found["others"]["refnode, CPU"] = (time.perf_counter() - start) * case.batch / few.batch
    found["others"] |= {name: seconds_of(call) for name, call in others(case).items()}
    return found


def others(case: Case) -> Mapping[str, Callable[[], Any]]:
    """torchdiffeq, torch and diffrax on the same card, for the network that they know."""
    if case.widths != (64, 64) or case.store != "stages":
        return {}
    calls, loose = {}, rn.Solver("dopri5", tol=1e-6)
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            torch.set_default_device("cuda")
            calls |= of_torch.gradient(Task("gpu", case.batch, case.solver, case.dtype))
            calls |= adaptive(of_torch.gradient(Task("gpu", case.batch, loose, case.dtype)))
    if find_spec("jax"):
        import jax

        if jax.default_backend() == "gpu":
            calls |= of_jax.gradient(Task("gpu", case.batch, case.solver, case.dtype))
            calls |= adaptive(of_jax.gradient(Task("gpu", case.batch, loose, case.dtype)))
    return calls


def adaptive(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """Contestants that choose their steps, beside those of the row, by a name that says so."""
    return {f"{name} (dopri5, tol 1e-6)": call for name, call in calls.items()}


def seconds_of(call: Callable[[], Any]) -> float:
    """The median of some calls after the first."""
    call()
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(card: TimedCard, dry: bool) -> dict[str, Any]:
    """All checks, and then all times."""
    errors = {case.title: checked(card, case) for case in cases(dry)}
    return {
        "card": {"name": card.name, "compute capability": ".".join(map(str, card.driver.capability)),
                 "CUDA of the driver": ".".join(map(str, card.driver.version))},
        "dry": dry, "errors": errors, "times": [timed(card, case, dry) for case in cases(dry)],
    }  # fmt: skip


def page(data: Mapping[str, Any]) -> str:
    """Tables: what was right, and how long it took."""
    facts = ", ".join(f"{name} {value}" for name, value in data["card"].items())
    lines = [facts, "", "A dry run: a CPU ran the kernels' PTX, and times mean nothing.\n" if data["dry"] else "",
             "| gradient | error | whole ms | kernels ms | at least ms | share of the bound | others ms |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for one in data["times"]:
        kernels = ", ".join(f"{name} {ms:.2f}" for name, ms in one["kernels"].items())
        least = ", ".join(f"{name} {ms:.3g}" for name, ms in one["bounds"].items())
        shares = ", ".join(f"{name} {share(one, name)}" for name in one["bounds"])
        rivals = ", ".join(f"{name} {1e3 * s:.1f}" for name, s in one["others"].items())
        lines.append(
            f"| {one['title']} | {data['errors'][one['title']]:.1e} | {1e3 * one['whole']:.2f} | {kernels} | {least} "
            f"| {shares} | {rivals} |"
        )
    return "\n".join(lines) + "\n"


def share(one: Mapping[str, Any], name: str) -> str:
    """How near a kernel comes to its bound."""
    ms = one["kernels"][name]
    return f"{one['bounds'][name] / ms:.0%}" if ms else "-"


def draw(data: Mapping[str, Any], figure: Any) -> None:
    """Milliseconds of every gradient, and of whoever computes the same."""
    axes = figure.subplots()
    names = [one["title"] for one in data["times"]]
    axes.barh(names, [1e3 * one["whole"] for one in data["times"]], color="0.7", label="whole gradient")
    axes.barh(names, [sum(one["kernels"].values()) for one in data["times"]], height=0.4, label="its kernels")
    for y, one in enumerate(data["times"]):
        for name, seconds in one["others"].items():
            axes.plot(1e3 * seconds, y, "kx")
            axes.annotate(name, (1e3 * seconds, y), fontsize="x-small", rotation=30)
    axes.set(xlabel="milliseconds", xscale="log" if not data["dry"] else "linear")
    axes.tick_params(axis="y", labelsize="x-small")
    axes.invert_yaxis()
    axes.legend()


def main() -> int:
    """Check, time, write. 0, or SystemExit with what is wrong."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=about)
    parser.add_argument("--dry-run", action="store_true", help="no card: the kernels' PTX on the CPU, small sizes")
    parser.add_argument("--into", metavar="FOLDER", type=Path, help="write there instead, also of a dry run")
    arguments = parser.parse_args()
    if arguments.dry_run:
        from validation.ptx.driver import PtxDriver

        driver = Driver(PtxDriver())
    else:
        driver = Driver(library())
    data = {"about": about, "machine": machine(), **measure(TimedCard(driver), arguments.dry_run)}
    data = json.loads(json.dumps(data))
    print(page(data), flush=True)
    into = arguments.into or (None if arguments.dry_run else RESULTS)
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        if find_spec("matplotlib"):
            picture(into / "gpu.png", data, draw)
        write(into / "gpu.md", whole_page("gpu", data, page).replace("benchmarks gpu", "benchmarks.gpu", 1))
        write(into / "gpu.json", json.dumps(data, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
