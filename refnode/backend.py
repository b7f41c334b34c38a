"""Which backend computes: the story in NumPy, or compiled kernels; asked for, or chosen, with the reason."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

from refnode.arrays import one_of
from refnode.errors import BackendUnavailable, InvalidArgument
from refnode.fields import UserField
from refnode.problem import Problem
from refnode.solver import Solver

Backend = Literal["auto", "numpy", "cpu", "cuda"]
DType = Literal["float64", "float32"]
BACKENDS = ("auto", "numpy", "cpu", "cuda")
PREFERENCE = "REFNODE_BACKEND"  # the environment variable that says what "auto" prefers: cpu (as unset) or numpy


def choose(backend: str, dtype: str, why_not: Callable[[str], str]) -> tuple[str, str]:
    """The backend, "numpy", "cpu" or "cuda", and the reason.

    Parameters
    ----------
    why_not    asked only where kernels may run: the reason why those of a backend do not take what is computed, or ""

    Raises
    ------
    InvalidArgument       for an unknown backend or dtype, or float32 asked of the story
    BackendUnavailable    for a backend that was asked for and does not take this
    """
    one_of("backend", backend, BACKENDS)
    one_of("dtype", dtype, ("float64", "float32"))
    reason = "asked for"
    if backend == "auto":
        if dtype == "float64" and _preferred() == "numpy":
            return "numpy", f"auto: {PREFERENCE}=numpy"
        reason = "auto: compiled kernels take this problem"
    if backend == "numpy":
        if dtype != "float64":
            raise InvalidArgument("dtype", dtype, "'float64', or backend='cpu': the story computes in float64 alone")
        return "numpy", reason
    why = why_not(backend)
    if why and backend == "auto" and dtype == "float64":
        return "numpy", f"auto: {why}"
    if why:
        raise BackendUnavailable(f"backend={backend!r}: {why}; use 'numpy' or 'auto'")
    return "cuda" if backend == "cuda" else "cpu", f"{reason}, in {dtype}"


def _preferred() -> str:
    asked = os.environ.get(PREFERENCE) or "cpu"
    one_of(PREFERENCE, asked, ("cpu", "numpy"))
    return asked


def why_no_kernels(
    backend: str,
    problem: Problem,
    solver: Solver,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Why a backend's kernels do not compute this gradient, or, without a method, this solve; "" if they do."""
    from refnode.kernels import pack

    if backend == "cuda":
        return _why_no_card(problem, solver, method, options or {})
    if method is not None and compiled(method) is None:
        return f"method {method!r} is not compiled"
    if solver.steps == "own" and (options or {}).get("store") == "binomial":
        return "store='binomial' is not compiled for own steps, which keep states, N b d, whatever is asked for"
    if method in ("forward_discrete", "forward_continuous") and type(problem.model.field) is UserField:
        return f"method {method!r} is compiled for an MLP, not for a UserField, which has no row_jvp"
    return pack.refusal(problem, solver)


def _why_no_card(problem: Problem, solver: Solver, method: str | None, options: Mapping[str, Any]) -> str:
    from refnode.kernels.cuda.whole import refusal

    if method is not None and compiled_for_a_card(method) is None:
        return f"method {method!r} is not compiled for a card"
    if options.get("store") == "binomial":
        return "store='binomial' is not compiled for a card, where a batch is solved in parts that find room"
    return refusal(problem, solver)


def compiled(method: str) -> Callable[..., Any] | None:
    """The kernels of a method, if it has some; each is imported when it is asked for."""
    if method == "discrete":
        from refnode.kernels.cpu import discrete_adjoint

        return discrete_adjoint
    if method in ("backsolve", "interpolating"):
        from refnode.kernels.continuous import backsolve_adjoint, interpolating_adjoint

        return backsolve_adjoint if method == "backsolve" else interpolating_adjoint
    if method == "quadrature":
        from refnode.kernels.quadrature import quadrature_adjoint

        return quadrature_adjoint
    if method in ("forward_discrete", "forward_continuous"):
        from refnode.kernels.sensitivity import forward_continuous, forward_discrete

        return forward_discrete if method == "forward_discrete" else forward_continuous
    return None


def compiled_for_a_card(method: str) -> Callable[..., Any] | None:
    """The kernels of a method for a card, if it has some; each is imported when it is asked for."""
    if method == "discrete":
        from refnode.kernels.cuda.adjoint import discrete_adjoint

        return discrete_adjoint
    if method == "backsolve":
        from refnode.kernels.cuda.continuous import backsolve_adjoint

        return backsolve_adjoint
    return None
