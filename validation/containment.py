"""Do proofs hold? Loose enclosures against tight ones, on random problems of every kind, offline.

    python -m validation.containment --checks 20000

A problem is drawn; its gradient is enclosed tightly, and loosely several times: with few Taylor coefficients, long
steps, few bits. Both are rounded to decimal numbers, as a user gets them. A check is one number of one loose enclosure:
the tight midpoint must be within the loose radius and the tight one. The tight run shares code with the loose ones, but
not its bounds: where a bound is too small, the loose enclosure misses what many more terms and bits give.

Outside witnesses stand beside: mpmath.odefun integrates a state to 25 digits by formulas of its own, and differences of
its losses in high precision give directional derivatives.

The answers go to a checkpoint file after every problem; a run that was interrupted goes on from there.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np

import refnode as rn
from refnode.errors import NumericalError
from refnode.oracle.proof.attempts import Proof, attempt
from refnode.oracle.proof.dynamics import refuse
from refnode.oracle.proof.trajectory import Effort
from refnode.oracle.truth import Truth

RESULT = Path(__file__).parent / "results" / "containment.json"
ACTS = ("tanh", "softplus", "sin", "sigmoid", "identity")
PAIRS = [(True, True), (True, False), (False, True)]
TIGHT = Effort(order=50, share=0.3, bits=140)
LOOSE = (
    Effort(order=5, share=0.05, bits=53), Effort(order=9, share=0.2, bits=40), Effort(order=14, share=0.3, bits=64),
    Effort(order=20, share=0.5, bits=36), Effort(order=3, share=0.04, bits=90),
)  # fmt: skip


@dataclass
class Tally:
    """Checks made, those that failed, enclosures too wide to exist (refused), and the digits of the loose ones."""

    checks: int = 0
    violations: int = 0
    refused: int = 0
    problems: int = 0
    narrowest: float = np.inf
    widest: float = 0.0


# ---------------------------------------------------------------- problems of every kind

def choose(rng, *options):
    """One of them."""
    return options[int(rng.integers(len(options)))]


def draw_mlp(rng, i, o, time=False):
    """A small analytic network."""
    hidden = choose(rng, (), (2,), (3,), (2, 2))
    how = {"act": choose(rng, *ACTS), "bias": bool(rng.integers(2)), "skip": bool(rng.integers(2))}
    return rn.MLP(i, *hidden, o, time=choose(rng, "none", "first", "every") if time else "none", **how)


def draw_depth(rng, leaves):
    """Constant, Galerkin in any analytic basis, stacked, or by nodal values."""
    if rng.random() < 0.35:
        return rn.Constant()
    basis = choose(
        rng, rn.Legendre(3), rn.Chebyshev(3), rn.Monomial(3), rn.Fourier(1), rn.GaussianRBF(2), rn.GaussianRBF(3, 0.7),
        rn.Hat(3), rn.PiecewiseConstant(3), rn.TorchdynFourier(2), rn.TorchdynChebychev(3), rn.TorchdynGaussianRBF(2),
    )  # fmt: skip
    some = rng.choice(list(leaves), size=rng.integers(1, len(leaves) + 1), replace=False)
    layers = choose(rng, None, tuple(map(str, some)))
    learns = isinstance(basis, rn.PiecewiseConstant) and bool(rng.integers(2))
    return rn.Galerkin(basis, choose(rng, "span", (-0.5, 1.0), (0.1, 0.9)), layers, learns)


def draw_input_map(rng, block):
    """h_x and the width of x."""
    kind = choose(rng, "none", "mlp", "columns", *(("zero", "partial") if block > 1 else ()))
    n = int(rng.integers(1, 3))
    if kind == "mlp":
        return draw_mlp(rng, n, block), n
    if kind == "columns":
        return rn.Columns(1, 1 + block), block + 1
    if kind == "zero":
        return rn.ZeroAugment(1), block - 1
    return (rn.PartialInput(draw_mlp(rng, block - 1, 1)), block - 1) if kind == "partial" else (None, block)


def draw_model(rng):
    """A model and the width of its input."""
    order, w = choose(rng, 1, 1, 1, 2, 3), choose(rng, 1, 2)
    init = choose(rng, "position", "full", *(("velocity",) if order > 1 else ()))
    h_x, n = draw_input_map(rng, order * w if order == 1 or init == "full" else w)
    control = choose(rng, "none", "none", "x", rn.Columns(0, 1))
    beside = {"none": 0, "x": n}.get(control, 1) if isinstance(control, str) else 1
    if control == "none" and order == 1 and rng.random() < 0.15:
        field = rn.CosineField(w)
    else:
        field = draw_mlp(rng, order * w + beside, w, time=True)
    d = order * w
    h_y = choose(rng, None, rn.Columns(d - 1, d), draw_mlp(rng, d, 2))
    end = rn.AdaptiveDepth(draw_mlp(rng, n, 1)) if rng.random() < 0.2 else 0.5
    words = {"theta": draw_depth(rng, field.shapes), "order": order, "init": init, "control": control}
    return rn.NeuralODE(field, span=(0.0, end), h_x=h_x, h_y=h_y, **words), n


def draw_point_loss(rng, batch, k):
    """Any point loss."""
    how = {"weight": choose(rng, 1.0, -0.3), "reduction": choose(rng, "mean", "sum")}
    return choose(
        rng, rn.SquaredError(rng.standard_normal((batch, k)), **how),
        rn.LinearFunctional(rng.standard_normal(k), **how), rn.StandardNormal(**how),
        rn.CrossEntropy(rng.integers(0, k, batch), **how),
    )  # fmt: skip


def draw_running(rng, batch, model):
    """Any running losses."""
    d, found = model.state_width, []
    for _ in range(int(rng.integers(0, 3))):
        how = {"weight": choose(rng, 0.5, 0.1), "reduction": choose(rng, "mean", "sum")}
        of = {"of": choose(rng, "field", "state")}
        noise = rng.choice([-1.0, 1.0], (2, batch, model.field.width_out))
        found.append(choose(
            rng, rn.SquaredNorm(**how, **of), rn.Kinetic(**how, **of), rn.ParameterNorm(**how, **of),
            rn.Tracking(rn.Harmonic(*rng.standard_normal((3, d))), **how, **of),
            rn.Divergence(model.field, model.control, "exact", **how),
            rn.Divergence(model.field, model.control, "hutchinson", noise, **how),
        ))  # fmt: skip
    return tuple(found)


def draw(rng):
    """A problem of any kind that can be proven."""
    model, n = draw_model(rng)
    batch, d = 2, model.state_width
    params = {name: 0.8 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    if "edges" in params:
        params["edges"] = np.sort(rng.uniform(0.2, 0.8, params["edges"].shape))
    t0 = rng.uniform(-0.2, 0.1, choose(rng, (), (batch,)))
    T = None if model.adaptive else rng.uniform(0.4, 0.7, choose(rng, (), (batch,)))
    if T is not None and rng.random() < 0.3:
        t0, T = T, t0
    if T is not None and model.depth.interval != "span" and t0.ndim + T.ndim == 0 and rng.random() < 0.05:
        T = t0
    k = model.h_y.width(d)
    shared = T is not None and t0.ndim + T.ndim == 0 and t0 != T
    times = t0 + np.sort(rng.uniform(0.1, 0.9, rng.integers(0, 3))) * (T - t0) if shared else np.zeros(0)
    seen = rn.Observations(times, tuple(draw_point_loss(rng, batch, k) for _ in times)) if len(times) else None
    loss = rn.Loss(draw_point_loss(rng, batch, k), seen, draw_running(rng, batch, model), choose(rng, 1.0, -2.5))
    return rn.Problem(model, params, rng.standard_normal((batch, n)), loss, (t0, T))


# ---------------------------------------------------------------- checks

def disagreements(loose: Truth, tight: Truth) -> tuple[int, int]:
    """How many numbers the loose enclosure has, and how many tight ones are not in it."""
    checks = misses = 0
    with localcontext() as context:
        context.prec = 100
        pairs = [(loose.loss, loose.loss_radius, tight.loss, tight.loss_radius)]
        for leaf, mid in loose.mid.items():
            columns = (mid, loose.radius[leaf], tight.mid[leaf], tight.radius[leaf])
            pairs += list(zip(*(np.ravel(c) for c in columns), strict=True))
        for mid, radius, true, doubt in pairs:
            if not np.isfinite(radius):  # it says nothing
                continue
            checks += 1
            misses += abs(mid - true) > Decimal(float(radius)) + Decimal(float(doubt))
    return checks, misses


def truths(proof: Proof) -> list[Truth]:
    """The enclosures of the batch, of its two parts, and of every sample."""
    return [proof.truth(proof.total(pair)) for pair in range(3)] + [proof.truth(proof.single(i, 0)) for i in range(2)]


def check(problem: rn.Problem, loose: Sequence[Effort], tally: Tally) -> None:
    """Enclose one problem tightly and loosely, and count."""
    refuse(problem)
    tight = truths(attempt(problem, PAIRS, TIGHT))
    tally.problems += 1
    for effort in loose:
        try:
            found = truths(attempt(problem, PAIRS, effort))
        except NumericalError:  # so loose that no enclosure exists: refused, which is right
            tally.refused += 1
            continue
        for one, other in zip(found, tight, strict=True):
            checks, misses = disagreements(one, other)
            tally.checks, tally.violations = tally.checks + checks, tally.violations + misses
        radius = max(float(np.max(r, initial=0.0)) for r in found[0].radius.values())
        tally.narrowest, tally.widest = min(tally.narrowest, radius or np.inf), max(tally.widest, radius)


def run(checks: int, seed: int, result: Path) -> Tally:
    """Draw and check until there are enough; problem number k is drawn from the seed and k alone."""
    tally, k = Tally(), 0
    if result.exists() and (before := json.loads(result.read_text("utf-8")))["seed"] == seed:
        tally, k = Tally(**before["tally"]), before["drawn"]
    while tally.checks < checks:
        problem = None
        while problem is None:
            with suppress(rn.InvalidArgument):  # samples that pass edges in different orders, and the like
                problem = draw(np.random.default_rng([seed, k]))
            k += 1
        efforts = [LOOSE[(k + j) % len(LOOSE)] for j in (0, 2)]
        try:
            check(problem, [replace(e, max_steps=2000) for e in efforts], tally)
        except (rn.NotEnoughDigits, rn.TooManySteps):  # the tight run itself needs more
            tally.refused += 1
        save(result, {"seed": seed, "drawn": k, "tally": vars(tally)})
        print(f"\r{tally.checks} checks, {tally.problems} problems, {tally.violations} violations", end="", flush=True)
    print()
    return tally


def save(path: Path, document: object) -> None:
    """Written whole or not at all."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    draft.replace(path)


def main() -> int:
    """Exit status 1 if an enclosure misses."""
    parser = argparse.ArgumentParser(prog="python -m validation.containment", description="Loose against tight proofs.")
    parser.add_argument("--checks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    tally = run(given.checks, given.seed, given.result)
    print(f"seed {given.seed}: {tally.checks} checks of {tally.problems} problems, {tally.violations} violations,")
    print(f"{tally.refused} refused; largest radius of an enclosure {tally.narrowest:.1e} .. {tally.widest:.1e}")
    return int(tally.violations > 0)


if __name__ == "__main__":
    raise SystemExit(main())
