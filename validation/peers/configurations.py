"""Every configuration that the scoreboard runs: its name, its kind, and the function `gradient(problem, tol)`.

Nothing here imports a library: a worker process does, by the function's target.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Literal

Kind = Literal["discrete", "backsolve", "interpolated", "forward", "differences"]


@dataclass(frozen=True)
class Configuration:
    """One way to get a gradient.

    name       library, then method, as printed
    kind       "discrete": derivative of the computed solution, backwards; "forward": the same or the ODE's, forwards;
               "backsolve", "interpolated": the adjoint ODE with the state solved again or kept; "differences"
    target     "module:function" of gradient(problem, tol) -> {leaf: array}
    compiles   whether the first call on a problem compiles, and is to be timed apart
    """

    name: str
    kind: Kind
    target: str
    compiles: bool = False

    @property
    def library(self) -> str:
        """The first word of the name."""
        return self.name.partition(" ")[0]

    def load(self):
        """The function; imports the library."""
        module, _, function = self.target.partition(":")
        return getattr(import_module(module), function)


def _all_of(library, compiles=False, **functions):
    """Configurations of one library: function=(kind, words)."""
    adapter = f"validation.peers.{library}_adapter"
    return tuple(
        Configuration(f"{library} {words}", kind, f"{adapter}:{function}", compiles)
        for function, (kind, words) in functions.items()
    )


CONFIGURATIONS = (
    *_all_of(
        "refnode",
        discrete=("discrete", "discrete"),
        backsolve=("backsolve", "backsolve"),
        interpolating=("interpolated", "interpolating"),
        quadrature=("interpolated", "quadrature"),
        forward_discrete=("forward", "forward_discrete"),
        forward_continuous=("forward", "forward_continuous"),
        complex_step=("forward", "complex_step"),
        central=("differences", "central"),
        richardson=("differences", "richardson"),
    ),
    *_all_of(
        "torchdiffeq",
        backprop=("discrete", "backprop"),
        backprop_dopri8=("discrete", "backprop, dopri8"),
        adjoint=("backsolve", "adjoint"),
        adjoint_seminorm=("backsolve", "adjoint, seminorm"),
        adjoint_dopri8=("backsolve", "adjoint, dopri8"),
    ),
    *_all_of(
        "torchdyn",
        autograd=("discrete", "autograd"),
        autograd_float64=("discrete", "autograd, repaired to float64"),
        adjoint=("backsolve", "adjoint"),
        adjoint_seminorm=("backsolve", "adjoint, seminorm"),
        adjoint_integral_loss=("backsolve", "adjoint, its integral_loss"),
        interpolated=("interpolated", "interpolated"),
        interpolated_integral_loss=("interpolated", "interpolated, its integral_loss"),
        autograd_own_layers=("discrete", "autograd, its own layers"),
        adjoint_own_layers=("backsolve", "adjoint, its own layers"),
    ),
    *_all_of(
        "torchode",
        autodiff=("discrete", "autodiff"),
        joint_backsolve=("backsolve", "joint backsolve"),
    ),
    *_all_of(
        "diffrax",
        compiles=True,
        checkpoint_tsit5=("discrete", "checkpoint, Tsit5"),
        checkpoint_dopri8=("discrete", "checkpoint, Dopri8"),
        backsolve_tsit5=("backsolve", "backsolve, Tsit5"),
        backsolve_dopri8=("backsolve", "backsolve, Dopri8"),
        forward_tsit5=("forward", "forward mode, Tsit5"),
        forward_dopri8=("forward", "forward mode, Dopri8"),
    ),
    *_all_of(
        "scipy",
        backsolve_rk45=("backsolve", "backsolve, RK45"),
        backsolve_dop853=("backsolve", "backsolve, DOP853"),
        backsolve_radau=("backsolve", "backsolve, Radau"),
        interpolated_rk45=("interpolated", "interpolated, RK45"),
        interpolated_dop853=("interpolated", "interpolated, DOP853"),
        interpolated_radau=("interpolated", "interpolated, Radau"),
    ),
)

LIBRARIES = tuple(dict.fromkeys(configuration.library for configuration in CONFIGURATIONS))
PACKAGES = ("torch", "torchdiffeq", "torchdyn", "torchode", "jax", "jaxlib", "diffrax", "equinox", "numpy", "scipy")


def chosen(peers):
    """The configurations whose names start with one of `peers`, a library or a whole name; all if there are none."""
    if unknown := [p for p in peers if not any(matches(c, p) for c in CONFIGURATIONS)]:
        names = "; ".join(configuration.name for configuration in CONFIGURATIONS)
        raise ValueError(f"no configuration is called {', '.join(unknown)}; there are: {names}")
    return [c for c in CONFIGURATIONS if not peers or any(matches(c, p) for p in peers)]


def matches(configuration, peer):
    """Whether `peer` is the configuration's library or its name."""
    return peer in (configuration.library, configuration.name)
