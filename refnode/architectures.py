"""The paper's words as functions of a few lines."""

from refnode.adaptive import AdaptiveDepth
from refnode.arrays import one_of
from refnode.depth import Constant, Depth
from refnode.field import Field
from refnode.maps import Identity, as_map
from refnode.model import Control, Initial, Model


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
