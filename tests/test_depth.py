"""The constant depth gives the field theta itself at every t, and its derivatives are the identity.          (4)"""

import numpy as np
import pytest

import refnode as rn


@pytest.mark.parametrize("t", [np.array(0.3), np.array([0.3, -1.0])], ids=["shared t", "own t"])
def test_theta_is_alpha(t, rng):
    """theta(t) = alpha, dtheta = dalpha whatever dt is, and the cotangent of alpha is that of theta, of t nothing."""
    alpha, dalpha, g = rng.standard_normal((3, 5))
    depth = rn.Constant()
    np.testing.assert_array_equal(depth.forward(t, alpha), alpha)
    np.testing.assert_array_equal(depth.jvp(t, alpha, np.ones(t.shape), dalpha), dalpha)
    g_t, g_alpha = depth.vjp(t, alpha, g)
    np.testing.assert_array_equal(g_alpha, g)
    np.testing.assert_array_equal(g_t + np.zeros(t.shape), np.zeros(t.shape))


def test_leaves_are_called_theta():
    """The coefficient of the constant depth is theta: leaves are named theta.W0 and have no leading axis."""
    depth = rn.Constant()
    assert (depth.leaf_prefix, depth.lead) == ("theta", ())
    model = rn.NeuralODE(rn.MLP(2, 2), theta=depth)
    assert dict(model.shapes) == {"theta.W0": (2, 2), "theta.b0": (2,)}
    assert rn.Constant() == rn.Constant()
