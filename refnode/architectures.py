"""The paper's words as functions of a few lines.

`words` are NeuralODE's other arguments, so that all of them compose.
"""

from typing import Any

from refnode.adaptive import AdaptiveDepth
from refnode.arrays import one_of
from refnode.bases import Basis
from refnode.control import Control
from refnode.depth import Constant, Depth, Galerkin, Stacked
from refnode.field import MLP, Field
from refnode.maps import Identity, ZeroAugment, as_map
from refnode.model import Initial, Model


def NeuralODE(
    field: Field,
    *,
    span: tuple[float, float | AdaptiveDepth] = (0.0, 1.0),
    theta: Depth = Constant(),
    h_x: object = None,
    h_y: object = None,
    order: int = 1,
    init: Initial = "position",
    control: Control = "none",
) -> Model:
    """A Neural ODE: z' = f(t, z, x, theta(t)), z(t0) = h_x(x), yhat = h_y(z).                              (1)

    Parameters
    ----------
    field     the vector field f, such as rn.MLP(2, 32, 2)
    span      (t0, T); T may be an rn.AdaptiveDepth
    theta     how the parameters depend on depth                                                            (4)-(6)
    h_x, h_y  input map and readout: None, an MLP, rn.Linear, rn.ZeroAugment, rn.PartialInput, rn.Columns   (7)(8)
    order     n: the state is n blocks of the field's output width                                          (9)
    init      where h_x(x) goes when n > 1: "position", "velocity" or "full"
    control   "x": the field sees [z, x]; rn.Columns(a, b): [z, x[:, a:b]]                                  (10)

    >>> from refnode.field import MLP
    >>> NeuralODE(MLP(4, 32, 2), order=2).state_width
    4
    """
    one_of("init", init, ("position", "velocity", "full"))
    maps = {name: Identity() if h is None else as_map(name, h) for name, h in (("h_x", h_x), ("h_y", h_y))}
    return Model(field, theta, maps["h_x"], maps["h_y"], order, init, control, span)


def ANODE(field: Field, extra: int, **words: Any) -> Model:
    """Augmented: z(t0) = [x, 0].                                                                           (7)

    >>> from refnode.field import MLP
    >>> ANODE(MLP(5, 32, 5), extra=3).h_x
    ZeroAugment(extra=3)
    """
    return NeuralODE(field, h_x=ZeroAugment(extra), **words)


def ILNODE(field: Field, h_x: object, **words: Any) -> Model:
    """With an input layer: z(t0) = h_x(x), linear (rn.Linear) or an MLP, or beside x itself (rn.PartialInput).  (8)"""
    return NeuralODE(field, h_x=h_x, **words)


def SecondOrderNODE(field: Field, init: Initial = "position", **words: Any) -> Model:
    """z_q'' = f(t, z_q, z_q'): the state is [z_q, z_p].                                                    (9)"""
    return NeuralODE(field, order=2, init=init, **words)


def StackedNODE(field: Field, m: Any, **words: Any) -> Model:
    """theta(t) piecewise constant on m pieces, whose edges are a leaf.                                     (4)"""
    return NeuralODE(field, theta=Stacked(m), **words)


def GalNODE(field: Field, basis: Basis, **words: Any) -> Model:
    """theta(t) = sum_j alpha_j psi_j over the span.                                                        (6)"""
    return NeuralODE(field, theta=Galerkin(basis), **words)


def DataControlledNODE(field: Field, **words: Any) -> Model:
    """z' = f(t, z, x): the field sees [z, x].                                                              (10)"""
    return NeuralODE(field, control="x", **words)


def AdaptiveNODE(field: Field, network: MLP, t0: float = 0.0, **words: Any) -> Model:
    """Every sample to an end of its own, T_i = t0 + softplus(network(x_i))."""
    return NeuralODE(field, span=(t0, AdaptiveDepth(network)), **words)
