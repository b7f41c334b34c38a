"""What the double-double Taylor rung does not take, and why."""

from refnode.bases import Basis
from refnode.depth import Constant, Galerkin
from refnode.divergence import Divergence
from refnode.errors import NotProvable
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.layers import ACTIVATIONS
from refnode.maps import Columns, Identity, Map, Network, PartialInput, ZeroAugment
from refnode.oracle.taylor.expansions import BASES
from refnode.oracle.taylor.points import LOSSES
from refnode.problem import Problem
from refnode.running import Harmonic, Kinetic, ParameterNorm, SquaredNorm, Tracking

FLOATS = "a function of floats, which has no more digits than they"
UNKNOWN = "only its values are known, not its Taylor series"


def refuse(problem: Problem) -> None:
    """Raise NotProvable unless every part of a problem has a Taylor series that is known here."""
    model, loss = problem.model, problem.loss
    _check_field(model.field)
    if not isinstance(model.depth, Constant):
        if type(model.depth) is not Galerkin:
            raise NotProvable(f"the depth is a {type(model.depth).__name__}: {UNKNOWN}")
        _check_basis(model.depth.basis)
    for name, h in (("h_x", model.h_x), ("h_y", model.h_y)):
        _check_map(name, h)
    if model.adaptive is not None:
        _check_network("the adaptive depth", model.adaptive.network)
    points = [] if loss.terminal is None else [loss.terminal]
    for point in [*points, *(loss.observations.terms if loss.observations else ())]:
        if type(point) not in LOSSES:
            raise NotProvable(f"the loss is a {type(point).__name__}: {FLOATS}")
    for term in loss.running:
        _check_running(term, model.field)


def _check_field(field: object) -> None:
    if type(field) is MLP:
        _check_network("the field", field)
    elif type(field) is not CosineField:
        raise NotProvable(f"the field is a {type(field).__name__}: {UNKNOWN}")


def _check_network(what: str, mlp: MLP) -> None:
    if mlp.depth > 1 and not ACTIVATIONS[mlp.act].smooth:
        raise NotProvable(f"{what} has the activation {mlp.act!r}, which has kinks and so no Taylor series across them")


def _check_basis(basis: Basis) -> None:
    if type(basis) not in BASES:
        raise NotProvable(f"theta(t) has the basis {type(basis).__name__}: it is not among those with a known series")


def _check_map(name: str, h: Map) -> None:
    if type(h) not in (Identity, ZeroAugment, Columns, Network, PartialInput):
        raise NotProvable(f"{name} is a {type(h).__name__}: {FLOATS}")
    if isinstance(h, Network | PartialInput):
        _check_network(name, h.mlp)


def _check_running(term: object, field: object) -> None:
    if type(term) not in (SquaredNorm, Kinetic, ParameterNorm, Tracking, Divergence):
        raise NotProvable(f"the running loss is a {type(term).__name__}: {UNKNOWN}")
    if type(term) is Tracking and type(term.beta) is not Harmonic:
        raise NotProvable(f"the tracked path is a {type(term.beta).__name__}: {UNKNOWN}")
    if type(term) is Divergence and type(field) is not MLP:
        raise NotProvable(f"the divergence is that of a {type(field).__name__}: {UNKNOWN}")
