"""A1: how long one loss and gradient take, kernels against the story and against torchdiffeq, diffrax and jax.

    python -m benchmarks.gradients [--short] [--threads 1|2]

Tasks, all z' = MLP(z), 2-64-64-2 tanh, loss half the mean squared norm of z(1), gradient in all weights and x:

    A  a training step: batch 256, dopri5, tol 1e-6, float32 and float64
    B  fixed work: batch 1024, RK4, 40 steps, float32 and float64
    C  an oracle: batch 1 and 8, dopri5, tol 1e-10, float64

Peers take part where they are installed (validation/peers/install.sh). Errors are against refnode's own gradient by
dop853 at tol 1e-12, the largest entry of any leaf's difference over that leaf's largest entry.
"""

import argparse
import os
import sys

import numpy as np


def setup(batch):
    """A problem and its plain arrays."""
    import refnode as rn

    rng = np.random.default_rng(0)
    model = rn.NeuralODE(rn.MLP(2, 64, 64, 2))
    sizes = {name: 1.6 / np.sqrt(shape[0]) if len(shape) == 2 else 0.3 for name, shape in model.shapes.items()}
    params = {name: sizes[name] * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    loss = rn.Loss(rn.SquaredError(np.zeros(2), weight=0.5))
    return rn.Problem(model, params, rng.standard_normal((batch, 2)), loss)


def refnode_calls(problem, solver, dtype, story):
    """Kernels, and the story beside them."""
    import refnode as rn

    def by(backend, **words):
        return lambda: rn.gradient(problem, "discrete", solver, backend=backend, **words).grads

    calls = {"refnode kernels": by("cpu", dtype=dtype)}
    return calls | ({"refnode story (float64)": by("numpy")} if story else {})


def jax_calls(problem, solver, dtype):
    """diffrax, or a scan over RK4's steps."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return {}
    jax.config.update("jax_enable_x64", True)
    names = list(problem.params)
    weights = [jnp.asarray(problem.params[name], dtype) for name in names]
    x = jnp.asarray(problem.x, dtype)

    def field(t, z, weights):
        W0, b0, W1, b1, W2, b2 = weights
        return jnp.tanh(jnp.tanh(z @ W0 + b0) @ W1 + b1) @ W2 + b2

    def called(end):
        gradient = jax.jit(jax.value_and_grad(lambda w, x: 0.5 * (end(w, x) ** 2).sum() / len(x), argnums=(0, 1)))

        def call():
            _, (g_w, g_x) = jax.block_until_ready(gradient(weights, x))
            return dict(zip(names, map(np.asarray, g_w), strict=True)) | {"x": np.asarray(g_x)}

        return call

    if solver.n_steps:
        return {"jax, scan": called(_scan(jax, field, solver.n_steps))}
    return {name: called(end) for name, end in _diffrax_ends(field, solver.rtol).items()}


def _scan(jax, field, n):
    h = 1.0 / n

    def end(w, z):
        def step(z, _):
            k1 = field(0, z, w)
            k2 = field(0, z + 0.5 * h * k1, w)
            k3 = field(0, z + 0.5 * h * k2, w)
            k4 = field(0, z + h * k3, w)
            return z + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4), None

        return jax.lax.scan(step, z, None, length=n)[0]

    return end


def _diffrax_ends(field, tol):
    try:
        import diffrax
    except ImportError:
        return {}

    def end(adjoint):
        def solve(w, z):
            controller = diffrax.PIDController(rtol=tol, atol=tol)
            term, save = diffrax.ODETerm(field), diffrax.SaveAt(t1=True)
            words = {"stepsize_controller": controller, "adjoint": adjoint, "saveat": save, "max_steps": 4096}
            return diffrax.diffeqsolve(term, diffrax.Dopri5(), 0.0, 1.0, None, z, args=w, **words).ys[0]

        return solve

    adjoints = diffrax.RecursiveCheckpointAdjoint(), diffrax.BacksolveAdjoint()
    return dict(zip(("diffrax checkpoint", "diffrax backsolve"), map(end, adjoints), strict=True))


def torch_calls(problem, solver, dtype):
    """torchdiffeq: backpropagation through dopri5, or an eager loop over RK4's steps."""
    try:
        import torch
        import torchdiffeq
    except ImportError:
        return {}
    names = list(problem.params)
    kind = getattr(torch, dtype)
    weights = [torch.tensor(problem.params[name], dtype=kind, requires_grad=True) for name in names]
    x = torch.tensor(problem.x, dtype=kind, requires_grad=True)

    def field(t, z):
        W0, b0, W1, b1, W2, b2 = weights
        return torch.addmm(b2, torch.tanh(torch.addmm(b1, torch.tanh(torch.addmm(b0, z, W0)), W1)), W2)

    span = torch.tensor([0.0, 1.0], dtype=kind)
    if solver.n_steps:
        words = {"method": "rk4", "options": {"step_size": 1.0 / solver.n_steps}}
    else:
        words = {"method": "dopri5", "rtol": solver.rtol, "atol": solver.atol}

    def call():
        loss = 0.5 * (torchdiffeq.odeint(field, x, span, **words)[-1] ** 2).sum() / len(x)
        grads = torch.autograd.grad(loss, [*weights, x])
        return {name: g.numpy() for name, g in zip([*names, "x"], grads, strict=True)}

    return {"torchdiffeq backprop": call}


def tasks(short):
    """(title, batch, solver, dtype, whether the story takes part)."""
    import refnode as rn

    step, work, oracle = rn.Solver("dopri5", tol=1e-6), rn.Solver("rk4", n_steps=40), rn.Solver("dopri5", tol=1e-10)
    dtypes = ("float64",) if short else ("float32", "float64")
    yield from ((f"A, batch 256, {dtype}", 256, step, dtype, True) for dtype in dtypes)
    if not short:
        yield from ((f"B, batch 1024, {dtype}", 1024, work, dtype, True) for dtype in dtypes)
    yield from ((f"C, batch {batch}", batch, oracle, "float64", True) for batch in ((1,) if short else (1, 8)))


def main():
    """Run the races, print and save them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradients")
    parser.add_argument("--short", action="store_true", help="three small races without peers; nothing is saved")
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2))
    arguments = parser.parse_args()
    if arguments.threads == 1:
        os.environ |= {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.sched_setaffinity(0, {0})
    import refnode as rn
    from benchmarks.harness import machine, race, save, table

    races, texts = {}, []
    for title, batch, solver, dtype, story in tasks(arguments.short):
        problem = setup(batch)
        truth = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-12)).grads

        def error(grads, truth=truth):
            shared = [name for name in truth if name in grads and name not in ("t0", "T")]
            return max(float(np.max(np.abs(grads[n] - truth[n])) / np.max(np.abs(truth[n]))) for n in shared)

        calls = refnode_calls(problem, solver, dtype, story)
        if not arguments.short:
            calls |= jax_calls(problem, solver, dtype) | torch_calls(problem, solver, dtype)
        timings = race(calls, error, rounds=3 if arguments.short else 7)
        races[title] = timings
        texts.append(table(title, timings, "refnode kernels"))
        print(texts[-1], flush=True)
    if not arguments.short:
        facts = "\n".join(f"- {name}: {value}" for name, value in machine().items())
        command = f"`python -m benchmarks.gradients --threads {arguments.threads}`"
        head = f"# One loss and gradient, {arguments.threads} threads\n\nRegenerate: {command}.\n\n{facts}\n\n"
        save(f"gradients_{arguments.threads}_threads", races, head + "\n".join(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
