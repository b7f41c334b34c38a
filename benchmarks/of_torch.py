"""What torch, torchdiffeq, torchode and torchdyn make of a task; nothing where they are not installed."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.tasks import Task, of

Calls = dict[str, Callable[[], Any]]


def forward(task: Task) -> Calls:
    """z(1) by every library that takes the task's steps."""
    if not find_spec("torch"):
        return {}
    import torch

    weights, x, _ = _arrays(task)

    def call(end: Any) -> Callable[[], np.ndarray]:
        def without_tape() -> np.ndarray:
            with torch.no_grad():
                return end(weights, x).cpu().numpy()

        return without_tape

    return {name: call(end) for name, end in _ends(task).items()}


def gradient(task: Task) -> Calls:
    """Backpropagation through each of them."""
    if not find_spec("torch"):
        return {}
    return {f"{name}, backprop": _gradient(task, end) for name, end in _ends(task).items()}


def continuous(task: Task) -> Calls:
    """torchdiffeq's adjoint, with the parameters in the error norm and, by its seminorm, without."""
    if not find_spec("torchdiffeq"):
        return {}
    ends = {
        "torchdiffeq adjoint": _torchdiffeq_adjoint(task, {}),
        "torchdiffeq adjoint, seminorm": _torchdiffeq_adjoint(task, {"norm": "seminorm"}),
    }
    return {name: _gradient(task, end) for name, end in ends.items()}


def _arrays(task: Task) -> tuple[list[Any], Any, list[str]]:
    import torch

    problem, dtype = of(task), getattr(torch, task.dtype)
    weights = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in problem.params.values()]
    return weights, torch.tensor(problem.x, dtype=dtype, requires_grad=True), list(problem.params)


def _gradient(task: Task, end: Any) -> Callable[[], dict[str, np.ndarray]]:
    import torch

    weights, x, names = _arrays(task)

    def call() -> dict[str, np.ndarray]:
        loss = 0.5 * (end(weights, x) ** 2).sum() / len(x)
        grads = torch.autograd.grad(loss, [*weights, x])
        return {name: g.cpu().numpy() for name, g in zip([*names, "x"], grads, strict=True)}

    return call


def _field(weights: list[Any]) -> Any:
    import torch

    W0, b0, W1, b1, W2, b2 = weights
    return lambda t, z: torch.addmm(b2, torch.tanh(torch.addmm(b1, torch.tanh(torch.addmm(b0, z, W0)), W1)), W2)


def _ends(task: Task) -> dict[str, Any]:
    """end(weights, x) by name."""
    if task.solver.n_steps:
        return {"torch, loop": _loop(task.solver.n_steps)}
    ends: dict[str, Any] = {}
    if find_spec("torchode"):
        ends["torchode (own steps)"] = _torchode(task.solver.tolerance)
    if task.solver.steps == "own":
        return ends
    if find_spec("torchdyn"):
        ends["torchdyn"] = _torchdyn(task.solver.tolerance)
    if find_spec("torchdiffeq"):
        ends["torchdiffeq"] = _torchdiffeq(task.solver.tolerance)
    return ends


def _loop(n: int) -> Any:
    """n steps of RK4: torchdiffeq's method of that name is the 3/8 rule."""
    h = 1.0 / n

    def end(weights: list[Any], z: Any) -> Any:
        f = _field(weights)
        for _ in range(n):
            k1 = f(0, z)
            k2 = f(0, z + 0.5 * h * k1)
            k3 = f(0, z + 0.5 * h * k2)
            k4 = f(0, z + h * k3)
            z = z + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4)
        return z

    return end


def _torchdiffeq(tol: float) -> Any:
    import torchdiffeq

    def end(weights: list[Any], z: Any) -> Any:
        span = z.new_tensor([0.0, 1.0])
        return torchdiffeq.odeint(_field(weights), z, span, rtol=tol, atol=tol, method="dopri5")[-1]

    return end


def _torchdiffeq_adjoint(task: Task, options: dict[str, str]) -> Any:
    import torchdiffeq

    words = {"rtol": task.solver.tolerance, "atol": task.solver.tolerance, "method": "dopri5"}

    def end(weights: list[Any], z: Any) -> Any:
        span, own = z.new_tensor([0.0, 1.0]), {"adjoint_params": tuple(weights), "adjoint_options": dict(options)}
        return torchdiffeq.odeint_adjoint(_field(weights), z, span, **words, **own)[-1]

    return end


def _torchode(tol: float) -> Any:
    import torchode

    def end(weights: list[Any], z: Any) -> Any:
        term = torchode.ODETerm(_field(weights))
        controller = torchode.IntegralController(atol=tol, rtol=tol, term=term)
        solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller)
        times = z.new_tensor([[0.0, 1.0]]).expand(len(z), 2)
        solution = solver.solve(torchode.InitialValueProblem(z, times[:, 0], times[:, 1]))
        return solution.ys[:, -1]

    return end


def _torchdyn(tol: float) -> Any:
    import torchdyn.numerics

    def end(weights: list[Any], z: Any) -> Any:
        span = z.new_tensor([0.0, 1.0])
        return torchdyn.numerics.odeint(_field(weights), z, span, solver="dopri5", atol=tol, rtol=tol)[1][-1]

    return end
