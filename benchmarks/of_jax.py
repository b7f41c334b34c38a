"""What jax and diffrax make of a task; nothing where they are not installed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.tasks import Task, of

Calls = dict[str, Callable[[], Any]]


def forward(task: Task) -> Calls:
    """z(1) by a scan over RK4's steps, or by diffrax: one grid for the batch, or by vmap one for each sample."""
    try:
        import jax
    except ImportError:
        return {}
    weights, x, _ = _arrays(task)
    if task.solver.n_steps:
        ends = {"jax, scan": _scan(jax, task.solver.n_steps)}
    elif task.solver.steps == "own":
        ends = {"diffrax, vmap": _own(jax, task.solver.tolerance)}
    else:
        ends = {"diffrax": _diffrax(task.solver.tolerance)}

    def call(end: Any) -> Callable[[], np.ndarray]:
        compiled = jax.jit(end)
        return lambda: np.asarray(jax.block_until_ready(compiled(weights, x)))

    return {name: call(end) for name, end in ends.items()}


def gradient(task: Task) -> Calls:
    """Backpropagation through the steps, which for diffrax is its checkpointing adjoint."""
    if task.solver.n_steps:
        return _gradients(task, lambda jax: {"jax, scan": _scan(jax, task.solver.n_steps)})
    if task.solver.steps == "own":
        return _gradients(task, lambda jax: {"diffrax, vmap, checkpoint": _own(jax, task.solver.tolerance)})
    return _gradients(task, lambda jax: {"diffrax checkpoint": _diffrax(task.solver.tolerance)})


def continuous(task: Task) -> Calls:
    """diffrax's backsolve, with the parameters in the error norm and, by its seminorm, without."""

    def ends(jax: Any) -> dict[str, Any]:
        import diffrax

        tol = task.solver.tolerance
        seminorm = diffrax.PIDController(rtol=tol, atol=tol, norm=diffrax.adjoint_rms_seminorm)
        adjoints = {
            "diffrax backsolve": diffrax.BacksolveAdjoint(),
            "diffrax backsolve, seminorm": diffrax.BacksolveAdjoint(stepsize_controller=seminorm),
        }
        return {name: _diffrax(tol, adjoint) for name, adjoint in adjoints.items()}

    return _gradients(task, ends)


def _arrays(task: Task) -> tuple[list[Any], Any, list[str]]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    problem = of(task)
    weights = [jnp.asarray(a, task.dtype) for a in problem.params.values()]
    return weights, jnp.asarray(problem.x, task.dtype), list(problem.params)


def _gradients(task: Task, ends_of: Callable[[Any], dict[str, Any]]) -> Calls:
    """Calls that give the gradient of half the mean squared norm of end(weights, x)."""
    try:
        import diffrax  # noqa: F401
        import jax
    except ImportError:
        return {}
    weights, x, names = _arrays(task)

    def called(end: Any) -> Callable[[], dict[str, np.ndarray]]:
        def loss(w: Any, x: Any) -> Any:
            return 0.5 * (end(w, x) ** 2).sum() / len(x)

        compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

        def call() -> dict[str, np.ndarray]:
            _, (g_w, g_x) = jax.block_until_ready(compiled(weights, x))
            return dict(zip(names, map(np.asarray, g_w), strict=True)) | {"x": np.asarray(g_x)}

        return call

    return {name: called(end) for name, end in ends_of(jax).items()}


def _field(t: Any, z: Any, weights: Any) -> Any:
    import jax.numpy as jnp

    W0, b0, W1, b1, W2, b2 = weights
    return jnp.tanh(jnp.tanh(z @ W0 + b0) @ W1 + b1) @ W2 + b2


def _scan(jax: Any, n: int) -> Any:
    """end(weights, x) by n steps of RK4."""
    h = 1.0 / n

    def end(w: Any, z: Any) -> Any:
        def step(z: Any, _: Any) -> Any:
            k1 = _field(0, z, w)
            k2 = _field(0, z + 0.5 * h * k1, w)
            k3 = _field(0, z + 0.5 * h * k2, w)
            k4 = _field(0, z + h * k3, w)
            return z + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4), None

        return jax.lax.scan(step, z, None, length=n)[0]

    return end


def _diffrax(tol: float, adjoint: Any = None) -> Any:
    """end(weights, x) by diffrax's dopri5, one grid for whatever x holds."""
    import diffrax

    def end(w: Any, z: Any) -> Any:
        controller = diffrax.PIDController(rtol=tol, atol=tol)
        words = {"stepsize_controller": controller, "saveat": diffrax.SaveAt(t1=True), "max_steps": 4096}
        if adjoint is not None:
            words["adjoint"] = adjoint
        return diffrax.diffeqsolve(diffrax.ODETerm(_field), diffrax.Dopri5(), 0.0, 1.0, None, z, args=w, **words).ys[0]

    return end


def _own(jax: Any, tol: float) -> Any:
    """end(weights, x) where every sample has a grid of its own."""
    return jax.vmap(_diffrax(tol), in_axes=(None, 0))
