"""L-BFGS on the whole batch, by SciPy, in legs that a checkpoint can stand between."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array, count, finite
from refnode.errors import InvalidArgument


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS with a line search, for a loss that is the same at every step: the whole batch.

    Parameters
    ----------
    memory     pairs of steps and gradient differences that are kept
    restart    iterations after which it forgets them and starts anew: a leg. Checkpoints stand between legs, so that a
               resumed run is the uninterrupted one bit for bit; SciPy's own memory could not be kept
    tol        stop where no entry of the gradient is larger

    Source   Liu and Nocedal 1989; scipy.optimize.minimize(method="L-BFGS-B").
    """

    memory: int = 10
    restart: int = 100
    tol: float = 1e-10

    def __post_init__(self) -> None:
        count("memory", self.memory)
        count("restart", self.restart)
        if finite("tol", self.tol) < 0:
            raise InvalidArgument("tol", self.tol, "at least 0")


def leg(
    lbfgs: LBFGS,
    steps: int,
    w: Array,
    loss_and_gradient: Callable[[Array], tuple[float, Array]],
    accepted: Callable[[Array], None],
) -> tuple[Array, bool]:
    """Up to so many iterations from w (p,); accepted(w) is called after each.

    Returns w (p,), and whether there is nothing more to gain: a small gradient, or a line search that finds no descent.
    """
    from scipy.optimize import minimize

    options: dict[str, Any] = {
        "maxiter": steps, "maxcor": lbfgs.memory, "gtol": lbfgs.tol, "ftol": 0.0, "maxfun": 50 * steps
    }  # fmt: skip

    def callback(intermediate_result: Any) -> None:
        accepted(np.array(intermediate_result.x))

    found = minimize(loss_and_gradient, w, jac=True, method="L-BFGS-B", callback=callback, options=options)
    return np.array(found.x), found.nit < steps
