"""The loss of a prediction, seen from the state: its jvp and vjp are derivatives in the readout's w, in t and in z."""

from dataclasses import replace

import numpy as np
import pytest

import refnode as rn
from refnode.arrays import size
from refnode.maps import Identity, Network
from refnode.objective import point_loss, point_loss_jvp, point_loss_vjp
from tests.help import (
    LIBRARY,
    absolute,
    assert_adjoint,
    assert_close,
    assert_jvp,
    assert_vjp,
    mlp_roundings,
    mlp_sizes,
    normals_like,
)

B, D, K = 3, 4, 2
C = np.array([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0], [2.0, 2.0, -0.5, 1.0]])  # of the loss below
READOUTS = {
    "identity": Identity(),
    "linear": Network(rn.Linear(D, K)),
    "mlp": Network(rn.MLP(D, 3, K, act="softplus", skip=True)),
}


def tilted(c, **how):
    """L = sin(t) sum_j y_j^3 + c . y: depends on t."""
    return rn.UserLoss(
        lambda t, y: np.sin(t) * (y**3).sum(axis=1) + (c * y).sum(axis=1),
        lambda t, y: (np.cos(t) * (y**3).sum(axis=1), 3 * np.sin(np.asarray(t))[..., None] * y**2 + c),
        **how,
    )


def terms(k, rng):
    """One term of each kind for k outputs, with weights and either reduction."""
    return {
        "squared error": 0.5 * rn.SquaredError(rng.standard_normal((B, k))),
        "cross-entropy": rn.CrossEntropy(rng.integers(0, k, B), reduction="sum"),
        "tilted": tilted(C[:, :k], weight=-2.0, reduction="sum"),
    }


every_term = pytest.mark.parametrize("term_name", ["squared error", "cross-entropy", "tilted"])


def test_point_loss_by_hand():
    """factor * L(t, h_y(z)) of each sample: with h_y(z) = 2 z + 1, weight 0.5 and the mean over two samples."""
    h_y, w = Network(rn.Linear(1, 1)), np.array([2.0, 1.0])
    z, target = np.array([[1.0], [2.0]]), [[0.0], [1.0]]
    term = 0.5 * rn.SquaredError(target)
    np.testing.assert_array_equal(point_loss(term, h_y, w, np.zeros(()), z), [0.25 * 9, 0.25 * 16])
    summed = rn.SquaredError(target, reduction="sum")
    np.testing.assert_array_equal(point_loss(summed, h_y, w, np.zeros(()), z), [9, 16])
    g_w, g_t, g_z = point_loss_vjp(term, h_y, w, np.zeros(()), z, 4.0)  # 4 * 0.25 * 2 (y - target) = (6, 8)
    np.testing.assert_array_equal(g_w, [6 * 1 + 8 * 2, 6 + 8])
    np.testing.assert_array_equal(g_t, [0, 0])
    np.testing.assert_array_equal(g_z, [[12], [16]])


@every_term
@pytest.mark.parametrize("own_t", [False, True], ids=["shared t", "own t"])
@pytest.mark.parametrize("readout", READOUTS)
def test_derivatives(readout, term_name, own_t, rng):
    """point_loss_jvp and point_loss_vjp are the complex step of point_loss in w, t and z, and adjoint to each other."""
    h_y = READOUTS[readout]
    term = terms(h_y.width(D), rng)[term_name]
    args = (
        rng.standard_normal(size(h_y.shapes)),
        np.array(rng.standard_normal(B if own_t else ())),
        rng.standard_normal((B, D)),
    )
    d, g = normals_like(rng, args), -1.75  # the upstream factor: one number for all samples

    def value(w, t, z):
        return point_loss(term, h_y, w, t, z)

    def jvp(d):
        return point_loss_jvp(term, h_y, *args, *d)

    def sizes(d):
        return loss_sizes(term, h_y, args, d)

    n = 2 * (2 * LIBRARY + 20) + (mlp_roundings(h_y.mlp) if isinstance(h_y, Network) else 0)
    assert_jvp(value, jvp, args, d, sizes, n)
    cotangents = point_loss_vjp(term, h_y, *args, g)
    assert_vjp(value, cotangents, args, np.full(B, g), sizes, n + B)
    assert_adjoint(cotangents, jvp, d, np.full(B, g), sizes, n + 40)  # <J^T g, d> has at most 40 products


def loss_sizes(term, h_y, args, d):
    """The sum (b,) of |terms| of the jvp, from above.

    Of the three losses |dL/dy_j| and the effect on it of a rounding of y are below 6 (1 + |y|)^2 + 2 |data|, where |y|
    sums over outputs, for softmax couples them; and |dL/dt| is below |y|^3. A rounding of t counts as 1 + |t|.
    """
    (w, t, z), (dw, dt, dz) = absolute(args), absolute(d)
    y, dy = z, dz
    if isinstance(h_y, Network):
        y, dy = mlp_sizes(h_y.mlp, (np.zeros(()), z, w, None), (np.zeros(()), dz, dw, None))
    data = np.abs(getattr(term, "target", C)).max()
    Y = y.sum(axis=1)
    dL = (6 * (1 + Y) ** 2 + 2 * data) * dy.sum(axis=1) + Y**3 * dt
    return abs(term.factor(B)) * (1 + t) * dL


@every_term
def test_the_mean_is_of_the_samples_losses(term_name, rng):
    """With reduction "mean" the samples' numbers sum to the weighted mean of their losses, with "sum" to their sum."""
    term, t, z = terms(D, rng)[term_name], np.array(0.3), rng.standard_normal((B, D))
    of_samples = term.weight * term.value(t, z)
    for reduction, want in (("mean", of_samples.mean()), ("sum", of_samples.sum())):
        got = point_loss(replace(term, reduction=reduction), Identity(), np.zeros(0), t, z).sum()
        assert_close(got, want, np.abs(of_samples).sum(), B + 2)
