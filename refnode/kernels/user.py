"""Fields that users wrote and compiled with numba.njit: called row by row, by address, in the MLP's place.

The addresses travel as data, so that everything around the field is compiled once and comes from the cache; the user's
own functions are compiled in every process, unless they were given cache=True.
"""

from typing import Any

import numpy as np
from numba.core import types
from numba.np.numpy_support import from_dtype

from refnode.errors import InvalidArgument
from refnode.fields import UserField
from refnode.kernels.apart import address_of, call_at
from refnode.kernels.compiled import kernel


def addresses(field: UserField, dtype: Any) -> tuple[int, int]:
    """Where the machine code of row_forward and row_vjp is, for numbers of this dtype.

    Raises InvalidArgument if one does not compile for these types, or returns something.
    """
    number = from_dtype(np.dtype(dtype))
    row = types.Array(number, 1, "C")
    return _address("row_forward", field.row_forward, (number, *(row,) * 4)), _address(
        "row_vjp", field.row_vjp, (number, *(row,) * 8)
    )


def _address(name: str, function: Any, arguments: tuple[Any, ...]) -> int:
    try:
        address = address_of(function, arguments)
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidArgument(name, first, "a function that numba compiles for a number and arrays (n,)") from error
    result = function.overloads[arguments].signature.return_type
    if result != types.none:
        raise InvalidArgument(name, f"a function that returns {result}", "one that writes into its arguments")
    return address


@kernel
def user_forward(net, theta, t, m, slot, f, f0, ldf):
    """The twin of `mlp_forward`. A row whose function raises becomes NaN, which every solve notices."""
    n, d, o = net.widths[0], net.z, net.widths[-1]
    for s in range(m):
        out = f[f0 + s * ldf : f0 + s * ldf + o]
        z, x = slot[s * n : s * n + d], slot[s * n + d : (s + 1) * n]
        if not call_at(net.forward, (t[s], z, theta, x, out)):
            out[:] = np.nan


@kernel(allocates=True)
def user_vjp(net, theta, m, slot, layers, g_h, t, g_t, g_theta):
    """Add to g_h (m, n_0), g_t (m,) and g_theta (p,) what g, the cotangent of f in `layers`, gives."""
    n, d, o = net.widths[0], net.z, net.widths[-1]
    own_t = np.empty(1, slot.dtype)  # g_t may be float64 beside float32
    for s in range(m):
        own_t[0] = 0
        z, x, g = slot[s * n : s * n + d], slot[s * n + d : (s + 1) * n], layers[s * o : (s + 1) * o]
        g_z, g_x = g_h[s * n : s * n + d], g_h[s * n + d : (s + 1) * n]
        if not call_at(net.vjp, (t[s], z, theta, x, g, own_t, g_z, g_theta, g_x)):
            g_z[:] = np.nan
        g_t[s] += own_t[0]


@kernel(allocates=True)
def user_state_vjp(net, theta, m, slot, layers, g_h, t, g_t):
    """The same, theta's part thrown away."""
    user_vjp(net, theta, m, slot, layers, g_h, t, g_t, np.empty(theta.size, theta.dtype))


@kernel(allocates=True)
def user_weights(net, theta, m, count, H, H0, pitch_h, G, G0, pitch_g, t, t0, pitch_t, g_theta):
    """The twin of `add_weights`: the vjp once more, for theta's part."""
    n, o = net.widths[0], net.widths[-1]
    waste, g_t = np.empty(m * n, H.dtype), np.empty(m, H.dtype)
    for q in range(count):
        h, g, depths = H0 + q * pitch_h, G0 + q * pitch_g, t0 + q * pitch_t
        user_vjp(
            net, theta, m, H[h : h + m * n], G[g : g + m * o], waste, t[depths : depths + m], g_t, g_theta,
        )  # fmt: skip
