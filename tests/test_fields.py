"""A user's field is its functions, and the cosine field is the right-hand side of its closed-form flow."""

import numpy as np
import pytest

import refnode as rn
from refnode.errors import InvalidArgument
from tests.help import (
    LIBRARY,
    absolute,
    assert_adjoint,
    assert_close,
    assert_jvp,
    assert_vjp,
    complex_step,
    normals_like,
)

depths = pytest.mark.parametrize("own_t", [False, True], ids=["shared t", "own t"])
thetas = pytest.mark.parametrize("own_theta", [False, True], ids=["shared theta", "own theta"])
N = 2 * (2 * LIBRARY + 8)  # roundings of three products of a cosine, and their sum, over complex numbers


def draw(rng, own_t, own_theta, b=3, d=2):
    """(t, z, theta, None) of a cosine field."""
    lead = (b,) if own_theta else ()
    t = np.array(rng.standard_normal((b,) if own_t else ()))
    return t, rng.standard_normal((b, d)), rng.standard_normal((*lead, d)), None


def sizes_at(args):
    """d -> the sum of |terms| of the cosine field's jvp, with |cos|, |sin| <= 1 and a rounding of t moving either."""
    t, z, theta, _ = absolute(args)

    def sizes(d):
        dt, dz, dtheta, _ = absolute(d)
        return (1 + t.reshape(-1, 1)) * (dtheta * z + theta * dz + theta * z * dt.reshape(-1, 1))

    return sizes


# ---------------------------------------------------------------- cosine field

@depths
@thetas
def test_cosine_field_by_hand(own_t, own_theta, rng):
    """f_bj = k_j cos(t_b) z_bj."""
    t, z, k, _ = args = draw(rng, own_t, own_theta)
    ts, ks = np.broadcast_to(t, 3), np.broadcast_to(k, (3, 2))
    want = [[ks[b, j] * np.cos(ts[b]) * z[b, j] for j in range(2)] for b in range(3)]
    assert_close(rn.CosineField(2).forward(*args), np.array(want), np.abs(k * z), N)


def test_cosine_field_is_the_slope_of_its_flow(rng):
    """z(t) = z0 exp(k (sin t - sin t0)) solves z' = f(t, z), by the complex step in t, for each sample's own t."""
    t, z0, k, _ = draw(rng, True, False)

    def flow(t):
        return z0 * np.exp(k * (np.sin(t) - np.sin(0.4))[:, None])

    f = rn.CosineField(2).forward(t, flow(t), k)
    # the exponent, at most 2 |k|, is rounded before it is exponentiated
    terms = np.abs(k * flow(t)) * (1 + 2 * np.abs(k)) * (1 + np.abs(t[:, None]))
    assert_close(f, complex_step(flow, (t,), (np.ones(3),)), terms, N)


@depths
@thetas
def test_cosine_field_derivatives(own_t, own_theta, rng):
    """jvp and vjp are the complex step of forward in t, z and theta, and adjoint to each other."""
    field, args = rn.CosineField(2), draw(rng, own_t, own_theta)
    g, d, sizes = rng.standard_normal((3, 2)), normals_like(rng, args), sizes_at(args)

    def jvp(d):
        return field.jvp(*args, *d)

    assert_jvp(field.forward, jvp, args, d, sizes, N)
    assert_vjp(field.forward, field.vjp(*args, g), args, g, sizes, N + 6)  # sums over 2 columns and 3 rows
    assert_adjoint(field.vjp(*args, g), jvp, d, g, sizes, N + 12)


def test_cosine_field_structure(rng):
    """One leaf k (d,), drawn standard normal; as wide out as in."""
    field = rn.CosineField(400)
    assert dict(field.shapes) == {"k": (400,)}
    assert (field.width_in(), field.width_out) == (400, 400)
    k = field.init(rng)["k"]
    assert k.shape == (400,)
    assert abs((k**2).mean() - 1) < 6 * np.sqrt(2 / 400)  # six standard deviations of a mean of 400 squared normals


@pytest.mark.parametrize("width", [0, -1, 2.0, True, "2", None])
def test_cosine_field_refuses(width):
    """A width that is no integer >= 1 raises."""
    with pytest.raises(InvalidArgument, match=r"^width: got .*; must be an integer >= 1$"):
        rn.CosineField(width)


# ---------------------------------------------------------------- user field

def user_field(**changes):
    """A user's field with one leaf."""
    parts = {"forward": lambda *a: a, "jvp": lambda *a: a, "vjp": lambda *a: a, "shapes": {"k": (2,)}, "width": 2}
    return rn.UserField(**(parts | changes))


def test_user_field_is_its_functions():
    """forward, jvp and vjp are called with what they are given; the input width is unknown."""
    field = user_field()
    assert field.forward(1, 2, 3, 4) == (1, 2, 3, 4)
    assert field.jvp(*range(8)) == tuple(range(8))
    assert field.vjp(*range(5)) == tuple(range(5))
    assert (field.width_out, field.width_in()) == (2, None)


def test_user_field_has_a_number_as_leaf():
    """A leaf of shape () is one number of theta."""
    model = rn.NeuralODE(user_field(shapes={"k": (), "W": (2, 1)}))
    assert dict(model.shapes) == {"theta.k": (), "theta.W": (2, 1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forward": None}, r"^forward: got None; must be a function$"),
        ({"jvp": 3}, r"^jvp: got 3; must be a function$"),
        ({"vjp": np.ones(2)}, r"^vjp: got an array of shape \(2,\).*; must be a function$"),
        ({"width": 0}, r"^width: got 0; must be an integer >= 1$"),
        ({"width": 2.0}, r"^width: got 2\.0"),
        ({"shapes": None}, r"^shapes: got None; must be a mapping from leaf names to shapes"),
        ({"shapes": [("k", (2,))]}, r"^shapes: got \[\('k', \(2,\)\)\]; must be a mapping"),
        ({"shapes": {0: (2,)}}, r"^shapes: got {0: \(2,\)}; must be a mapping"),
        ({"shapes": {"k": (True,)}}, r"^shapes\['k'\]: got \(True,\)"),
        ({"shapes": {"k": [2]}}, r"^shapes\['k'\]: got \[2\]; must be a tuple of integers >= 1, or \(\)"),
        ({"shapes": {"k": 2}}, r"^shapes\['k'\]: got 2"),
        ({"shapes": {"a": (2,), "k": (2, 0)}}, r"^shapes\['k'\]: got \(2, 0\)"),
        ({"shapes": {"k": (2.0,)}}, r"^shapes\['k'\]: got \(2\.0,\)"),
    ],
)
def test_user_field_refuses(change, message):
    """What is no function, no width or no shape raises, and the message names it."""
    with pytest.raises(InvalidArgument, match=message):
        user_field(**change)
