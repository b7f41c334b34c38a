"""Gradient methods: one file a method, one signature, one result, and the table that tells them apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from refnode.gradients.backsolve_adjoint import backsolve_adjoint
from refnode.gradients.complex_step import complex_step
from refnode.gradients.discrete_adjoint import discrete_adjoint
from refnode.gradients.finite_difference import central_differences, richardson
from refnode.gradients.forward_sensitivity import forward_continuous, forward_discrete
from refnode.gradients.interpolating_adjoint import interpolating_adjoint
from refnode.gradients.quadrature_adjoint import quadrature_adjoint
from refnode.gradients.result import GradientResult, Stats

MethodName = Literal[
    "discrete",
    "backsolve",
    "interpolating",
    "quadrature",
    "forward_discrete",
    "forward_continuous",
    "complex_step",
    "central",
    "richardson",
]


@dataclass(frozen=True)
class Method:
    """A gradient method and what to know first. N steps, s stages, b samples, d width, P numbers in all leaves."""

    function: Callable[..., GradientResult]
    options: tuple[str, ...]
    exact_for: str
    memory: str
    cost: str
    fails: str


METHODS: dict[str, Method] = {
    "discrete": Method(
        discrete_adjoint, ("store", "memory_bytes"), "the computed solution, grid frozen",
        "N s b d (stages), N b d (states), as given (binomial)", "1 vjp a stage",
        "never by itself; carries the solver's truncation error",
    ),
    "backsolve": Method(
        backsolve_adjoint, ("check", "limit"), "the ODE, to O(tol)", "b d, whatever N",
        "~3 evaluations a backward stage",
        "contracting or stiff fields: raises UnreliableGradient",
    ),
    "interpolating": Method(
        interpolating_adjoint, ("check",), "the ODE, to O(tol)", "N s b d", "~2 evaluations a backward stage",
        "expanding fields lose digits; kinks cost order",
    ),
    "quadrature": Method(
        quadrature_adjoint, ("rtol", "max_panels"), "the ODE, to O(tol), quadrature error controlled", "2 N s b d",
        "1 vjp a backward stage, 15 a panel", "kinks: many panels, then UnreliableGradient",
    ),
    "forward_discrete": Method(
        forward_discrete, (), "the computed solution, grid frozen", "N s b d", "P jvps a stage",
        "many parameters: slow",
    ),
    "forward_continuous": Method(
        forward_continuous, (), "the ODE, to O(tol), sensitivities in the error norm", "P b d", "P jvps a stage",
        "many parameters: slow",
    ),
    "complex_step": Method(
        complex_step, (), "the computed solution, grid frozen", "b d", "P complex solves",
        "user functions that are not complex-safe",
    ),
    "central": Method(
        central_differences, ("relative_step",), "nothing: ~9 digits of the computed solution", "b d", "2 P solves",
        "gradients small against loss / leaf",
    ),
    "richardson": Method(
        richardson, ("relative_step", "levels"), "nothing: ~11 digits of the computed solution, with an estimate",
        "b d", "8 P solves", "kinks (ReLU)",
    ),
}  # fmt: skip


def method_table() -> str:
    """The table of methods as Markdown: exact for what, memory, cost, when it fails."""
    lines = ["| method | exact for | memory | cost | fails |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {m.exact_for} | {m.memory} | {m.cost} | {m.fails} |" for name, m in METHODS.items()]
    return "\n".join(lines)


__all__ = ["METHODS", "GradientResult", "Method", "MethodName", "Stats", "method_table"]
