"""What is known to be wrong in torchdyn 1.0.6: the cells of the scoreboard that show it, and a reproducer each."""

from dataclasses import dataclass

ADJOINT, OWN = "torchdyn adjoint", "torchdyn autograd, its own layers"


@dataclass(frozen=True)
class Known:
    """A defect.

    claim             what is wrong
    problem           of the scoreboard
    configurations    what is run there
    finding           the reproducer beside validation/peers/findings/README.md
    """

    claim: str
    problem: str
    configurations: tuple
    finding: str


KNOWN = (
    Known(
        "an integral loss loses its dependence on theta, and the upstream factor",
        "theta_running",
        (f"{ADJOINT}, its integral_loss",),
        "torchdyn_integral_loss",
    ),
    Known("dloss/dT lacks l(T)", "unused", (f"{ADJOINT}, its integral_loss",), "torchdyn_integral_loss"),
    Known("dloss/dt0 has the wrong sign and value", "mild", (ADJOINT,), "torchdyn_times"),
    Known("DataControl detaches the control", "reflection", (OWN,), "torchdyn_control"),
    Known("an integral loss with order above one raises an AttributeError", "second_order", (OWN,), "torchdyn_order"),
    Known(
        "Galerkin layers start at zero, where all gradients but the last bias's are zero, rightly: two never train",
        "torchdyn_start",
        (OWN,),
        "torchdyn_start",
    ),
    Known(
        "Fourier's frequencies are no harmonics: rank 9 of 10. The gradient is theirs, up to float32",
        "torchdyn_fourier",
        (OWN,),
        "torchdyn_fourier",
    ),
    Known(
        "radial bases have one centre, VanillaRBF rank 1 of 5. The gradient is theirs, up to float32",
        "torchdyn_rbf",
        (OWN,),
        "torchdyn_rbf",
    ),
    Known("a parameter that the field does not use crashes the adjoint", "spare", (ADJOINT,), "torchdyn_unused"),
    Known(
        "the flag seminorm is ignored: the same digits with and without",
        "theta_running",
        (ADJOINT, f"{ADJOINT}, seminorm"),
        "torchdyn_seminorm",
    ),
    Known("both adjoints are wrong for T < t0", "backwards", (ADJOINT, "torchdyn interpolated"), "torchdyn_backwards"),
    Known("several observations are misplaced", "observations", ("torchdyn interpolated",), "torchdyn_observations"),
    Known("the solver computes in float32", "cosine", ("torchdyn autograd",), "torchdyn_float32"),
)
