"""Gradient files: a GradientResult as JSON, in the same exact numbers as problem files (docs/problem_file.md)."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import InvalidArgument
from refnode.gradients.result import GradientResult, Stats
from refnode.json_file import encode, write_json
from refnode.solver import Solver

FORMAT, VERSION = "refnode.gradient", 1


def save_result(result: GradientResult, path: str | Path) -> None:
    """Write a loss and its gradient to a file, whole or not at all (see `gradient.schema.json`).

    Raises InvalidArgument for a path that is no regular file, OSError where the system refuses.
    """
    if not isinstance(result, GradientResult):
        raise InvalidArgument("result", result, "an rn.GradientResult")
    write_json(document(result), path)


def document(result: GradientResult) -> dict[str, Any]:
    """A result as plain data: the content of its file."""
    from refnode import __version__  # inside: the package imports this module first

    return {
        "format": FORMAT,
        "version": VERSION,
        "method": result.method,
        "solver": _of_solver(result.solver),
        "backend": result.backend,
        "reason": result.reason,
        "loss": encode(result.loss),
        "loss_per_sample": encode(result.loss_per_sample),
        "grads": _of_leaves(result.grads),
        "adj_t0": None if result.adj_t0 is None else encode(result.adj_t0),
        "z_T": encode(result.z_T),
        "stats": _of_stats(result.stats),
        "magnitude": _of_leaves(result.magnitude),
        "estimate": _of_leaves(result.estimate),
        "versions": {"refnode": __version__, "numpy": np.__version__},
    }


def _of_leaves(leaves: dict[str, Array]) -> dict[str, Any]:
    return {name: encode(leaf) for name, leaf in leaves.items()}


def _of_solver(solver: Solver) -> dict[str, Any]:
    """Every setting; tol is not there, since it is rtol and atol."""
    controller = solver.controller
    return {
        "method": solver.method,
        "rtol": _of_optional(solver.rtol),
        "atol": _of_optional(solver.atol),
        "n_steps": solver.n_steps,
        "steps": solver.steps,
        "norm": solver.norm,
        "controller": {k: v if k == "kind" else encode(v) for k, v in asdict(controller).items()},
        "first_step": _of_optional(solver.first_step),
        "max_steps": solver.max_steps,
        "proposal": None if solver.proposal is None else [encode(np.array(s)) for s in solver.proposal],
    }


def _of_optional(value: float | None) -> str | None:
    return None if value is None else encode(value)


def _of_stats(stats: Stats) -> dict[str, Any]:
    return {
        "nfe": int(stats.nfe),
        "nfe_backward": int(stats.nfe_backward),
        "accepted": np.asarray(stats.accepted).tolist(),
        "rejected": np.asarray(stats.rejected).tolist(),
        "grid": encode(stats.grid),
        "fractions": [encode(s) for s in stats.fractions],
        "errors": [encode(err) for err in stats.errors],
        "peak_bytes": int(stats.peak_bytes),
    }
