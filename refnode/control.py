"""Data control: what a field sees of the input x beside its state.                                            (10)"""

from typing import Literal

import numpy as np

from refnode.arrays import Array, one_of
from refnode.maps import Columns

Control = Literal["none", "x"] | Columns


def check_control(control: object) -> None:
    """Raise unless it is "none", "x" or rn.Columns."""
    if not isinstance(control, Columns):
        one_of("control", control, ("none", "x"))


def control_of(control: Control, x: Array) -> Array | None:
    """What the field sees beside z: x (b, n), columns of it, or None."""
    if isinstance(control, Columns):
        return control.forward(np.zeros(0), x)
    return x if control == "x" else None


def control_vjp(control: Control, x: Array, g: Array | None) -> Array:
    """Cotangent of x (b, n) for the cotangent g of the control."""
    if g is None or control == "none":
        return np.zeros(x.shape)
    return control.vjp(np.zeros(0), x, g)[1] if isinstance(control, Columns) else g


def control_width(control: Control, n: int) -> int:
    """The width of the control for inputs of width n."""
    if isinstance(control, Columns):
        return control.width(n)
    return n if control == "x" else 0
