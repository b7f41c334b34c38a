"""A2: training on the annuli, refnode against torchdiffeq and diffrax, in turn.

    python -m benchmarks.a2_training [--short]

The set-up is the paper's: 1,024 fresh points a step, 2-32-32-2 tanh with its last layer zero, a readout, dopri5 at
1e-5, AdamW, squared error. All contestants start from the same parameters and see the same points; their losses must
agree. Rounds of 25 steps alternate between them, with pauses, as in benchmarks/harness.py; the first step, which may
compile, is timed apart, and a round's first step, behind a pause and other libraries, is not counted: training has no
pauses. Seconds are those of whole training steps: solve, gradient and optimiser.

Where refnode hands its steps on, a batch's accepted steps propose those of the next (`rn.hand_on`, `rn.fit(...,
hand_on=True)`). Each is held to the same tolerance; their number is what differs. The bound is what the products and
activations of these steps alone cost on all cores at the rates of this machine, as in A3: nobody who takes them can be
faster.
"""

import statistics
import sys
import time

import numpy as np

import refnode as rn
from benchmarks.a3_bound import bounds_of, costs
from benchmarks.harness import PAUSE, settle, verify
from benchmarks.machine import cores
from benchmarks.script import main
from benchmarks.tasks import I
from refnode.experiments.annuli import KINDS, rings
from refnode.kernels.tape import tile_of

STEPS = 251
RATE, DECAY, TOL, ROUND = 1e-3, 1e-6, 1e-5, 25
SOLVER = rn.Solver("dopri5", tol=TOL, controller=I)
NAMES = ("theta.W0", "theta.b0", "theta.W1", "theta.b1", "theta.W2", "theta.b2", "h_y.W0", "h_y.b0")


def data(k):
    """The points of step k."""
    return rings(np.random.default_rng([7, k]), 1024)


def beginning():
    """The parameters that all begin with."""
    return KINDS["plain"].init(np.random.default_rng(0))


class Refnode:
    """fit's own steps, one at a time."""

    def __init__(self, params, dtype, words):
        method, self.hands_on = words
        self.params = dict(params)
        self.words = {"method": method, "backend": "cpu", "dtype": dtype, "solver": SOLVER}
        x, y = data(0)
        self.problem = rn.Problem(KINDS["plain"].model, params, x, rn.Loss(rn.SquaredError(y)))
        self.adamw, self.k = rn.AdamW(RATE, weight_decay=DECAY), 0
        self.slots = self.adamw.start(sum(leaf.size for leaf in params.values()))
        self.shapes = {name: leaf.shape for name, leaf in params.items()}
        self.stats = []  # of each step

    def at(self, x, y):
        """The problem of a step from here."""
        return self.problem.with_data(self.params, x, rn.Loss(rn.SquaredError(y)))

    def step(self, x, y):
        """One step; its loss."""
        from refnode.arrays import flatten, unflatten

        result = rn.gradient(self.at(x, y), **self.words)
        if self.hands_on:
            self.words["solver"] = rn.hand_on(result)
        w, g = flatten(self.params, self.shapes), flatten(result.grads, self.shapes)
        w, self.slots = self.adamw.step(self.k, w, g, self.slots)
        self.params, self.k = unflatten(w, self.shapes), self.k + 1
        self.stats.append(result.stats)
        return result.loss

    def bound(self):
        """Seconds that the products and activations of a step cost at least, in the mean."""
        dtype, width = np.dtype(self.words["dtype"]).type, self.problem.model.field.widths[1]
        cost = costs(dtype, tile_of(self.problem.batch), 0.05, width)
        return statistics.mean(bounds_of(self.problem, SOLVER, stats, cost)[1] for stats in self.stats) / cores()


class Torchdiffeq:
    """odeint_adjoint, or backpropagation through odeint, and torch.optim.AdamW."""

    def __init__(self, params, dtype, adjoint):
        import torch
        import torchdiffeq

        self.torch, self.kind = torch, getattr(torch, dtype)
        self.leaves = [torch.tensor(params[name], dtype=self.kind, requires_grad=True) for name in NAMES]
        self.optimiser = torch.optim.AdamW(self.leaves, lr=RATE, weight_decay=DECAY)
        self.span = torch.tensor([0.0, 1.0], dtype=self.kind)
        words = {"method": "dopri5", "rtol": TOL, "atol": TOL}
        if adjoint:
            words["adjoint_params"] = tuple(self.leaves[:6])
        solve = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint
        self.end = lambda x: solve(self.field, x, self.span, **words)[-1]

    def field(self, t, z):
        """f(z)."""
        torch = self.torch
        W0, b0, W1, b1, W2, b2 = self.leaves[:6]
        return torch.addmm(b2, torch.tanh(torch.addmm(b1, torch.tanh(torch.addmm(b0, z, W0)), W1)), W2)

    def step(self, x, y):
        """One step; its loss."""
        x, y = (self.torch.tensor(a, dtype=self.kind) for a in (x, y))
        self.optimiser.zero_grad()
        loss = ((self.end(x) @ self.leaves[6] + self.leaves[7] - y) ** 2).mean()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


class Diffrax:
    """diffeqsolve and AdamW in one jitted step."""

    def __init__(self, params, dtype, adjoint):
        import diffrax
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", dtype == "float64")
        self.jnp, self.dtype, self.k = jnp, dtype, 0
        self.w = [jnp.asarray(params[name], dtype) for name in NAMES]
        self.m, self.v = ([jnp.zeros_like(leaf) for leaf in self.w] for _ in range(2))
        method = diffrax.BacksolveAdjoint() if adjoint else diffrax.RecursiveCheckpointAdjoint()

        def field(t, z, w):
            return jnp.tanh(jnp.tanh(z @ w[0] + w[1]) @ w[2] + w[3]) @ w[4] + w[5]

        def loss(w, x, y):
            control = diffrax.PIDController(rtol=TOL, atol=TOL)
            z = diffrax.diffeqsolve(
                diffrax.ODETerm(field), diffrax.Dopri5(), 0.0, 1.0, None, x, args=w[:6], stepsize_controller=control,
                adjoint=method, saveat=diffrax.SaveAt(t1=True), max_steps=4096,
            ).ys[0]  # fmt: skip
            return ((z @ w[6] + w[7] - y) ** 2).mean()

        def step(k, w, m, v, x, y):
            value, g = jax.value_and_grad(loss)(w, x, y)
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b**2 for a, b in zip(v, g, strict=True)]
            size = [jnp.sqrt(b / (1 - 0.999**k)) + 1e-8 for b in v]
            moved = [a / (1 - 0.9**k) / b for a, b in zip(m, size, strict=True)]
            return value, [(1 - RATE * DECAY) * a - RATE * b for a, b in zip(w, moved, strict=True)], m, v

        self.jitted = jax.jit(step)

    def step(self, x, y):
        """One step; its loss."""
        self.k += 1
        k, x, y = (self.jnp.asarray(a, self.dtype) for a in (self.k, x, y))
        value, self.w, self.m, self.v = self.jitted(k, self.w, self.m, self.v, x, y)
        return float(value)


CONTESTANTS = {
    "refnode, discrete, steps handed on": (Refnode, ("discrete", True)),
    "refnode, discrete": (Refnode, ("discrete", False)),
    "refnode, backsolve": (Refnode, ("backsolve", False)),
    "torchdiffeq, adjoint": (Torchdiffeq, True),
    "torchdiffeq, backprop": (Torchdiffeq, False),
    "diffrax, adjoint": (Diffrax, True),
    "diffrax, checkpoints": (Diffrax, False),
}


def present(dtype, params, beginning):
    """The contestants whose names begin so and that are installed, ready to train."""
    found = {}
    for name, (kind, word) in CONTESTANTS.items():
        if not name.startswith(beginning):
            continue
        try:
            found[name] = kind(params, dtype, word)
        except ImportError:
            print(f"{name}: not installed", file=sys.stderr)
    return found


def race(contestants, steps):
    """Losses (steps,), the seconds of the first step, and of every round of the others, by contestant."""
    losses, first, rounds = ({name: [] for name in contestants} for _ in range(3))
    for name, one in contestants.items():
        start = time.perf_counter()
        losses[name].append(one.step(*data(0)))
        first[name] = time.perf_counter() - start
    settle()
    for at in range(1, steps, ROUND):
        batches = [data(k) for k in range(at, min(at + ROUND, steps))]
        for name, one in contestants.items():
            time.sleep(PAUSE)
            losses[name].append(one.step(*batches[0]))
            start = time.perf_counter()
            losses[name] += [one.step(*batch) for batch in batches[1:]]
            rounds[name].append((time.perf_counter() - start) / (len(batches) - 1))
    return losses, first, rounds


def measure(short):
    """The races of both dtypes."""
    params, found = beginning(), {}
    for dtype in ("float64",) if short else ("float32", "float64"):
        contestants = present(dtype, params, "refnode" if short else "")
        losses, first, rounds = race(contestants, 21 if short else STEPS)
        check(losses, dtype)
        mine = {name: one for name, one in contestants.items() if name.startswith("refnode, discrete")}
        bound = {name: one.bound() for name, one in mine.items()}
        steps = {name: _mean_steps(one.stats) for name, one in mine.items()}
        found[dtype] = {"losses": losses, "first": first, "rounds": rounds, "bound": bound, "steps": steps}
    return {"dtypes": found}


def _mean_steps(stats):
    """Evaluations, vjps and rejected steps of a training step, in the mean."""
    return [statistics.mean(row) for row in zip(*((s.nfe, s.nfe_backward, s.rejected) for s in stats), strict=True)]


def check(losses, dtype):
    """Every loss of the first 25 steps is that of every other contestant, to what tolerance and dtype allow."""
    mine = losses["refnode, discrete"][:ROUND]
    off = {name: max(abs(a - b) / b for a, b in zip(path, mine, strict=False)) for name, path in losses.items()}
    verify(f"training, {dtype}", off, 1e-3 if dtype == "float32" else 1e-4)


def page(data):
    """A table for each dtype, ratios against the fastest of refnode's, round by round."""
    lines = []
    for dtype, found in data["dtypes"].items():
        rounds = found["rounds"]
        mine = fastest(rounds, "refnode")
        lines += [f"### {dtype}", "", "| | ms a step | times refnode | spread | first step s | loss at the end |"]
        lines += ["|---|---|---|---|---|---|"]
        for name in rounds:
            middle, low, high = ratios(rounds[name], rounds[mine])
            spread = "" if name == mine else f"{low:.2f} .. {high:.2f}"
            numbers = f"{1e3 * statistics.median(rounds[name]):.2f} | {middle:.2f} | {spread}"
            end = statistics.mean(found["losses"][name][-ROUND:])
            lines.append(f"| {name} | {numbers} | {found['first'][name]:.2f} | {end:.5f} |")
        lines.append("")
        for name, bound in found["bound"].items():
            counts = "{:.1f} evaluations, {:.1f} vjps and {:.2f} rejected steps a training step"
            taken = f"{counts.format(*found['steps'][name])}; " if name in found["steps"] else ""
            lines.append(f"- {name}: {taken}products and activations alone {1e3 * bound:.2f} ms")
        lines.append("")
    return "\n".join(lines)


def fastest(rounds, *beginnings):
    """The contestant with the smallest median among those whose names begin so."""
    return min((name for name in rounds if name.startswith(beginnings)), key=lambda n: statistics.median(rounds[n]))


def ratios(slow, fast):
    """The median of a / b over the rounds, the smallest and the largest."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return statistics.median(each), min(each), max(each)


def draw(data, figure):
    """Milliseconds a step, a panel for each dtype."""
    panels = figure.subplots(1, len(data["dtypes"]), squeeze=False)[0]
    for panel, (dtype, found) in zip(panels, data["dtypes"].items(), strict=True):
        names = sorted(found["rounds"], key=lambda name: -statistics.median(found["rounds"][name]))
        own = ["black" if name.startswith("refnode") else "#0072B2" for name in names]
        panel.barh(names, [1e3 * statistics.median(found["rounds"][name]) for name in names], color=own)
        panel.set_title(dtype, fontsize=9)
        panel.set_xlabel("milliseconds a training step")


if __name__ == "__main__":
    sys.exit(main("a2_training", __doc__, measure, page, draw))
