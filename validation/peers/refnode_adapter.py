"""refnode's own methods with the peers' signature: dopri5, rtol = atol = tol."""

from functools import partial

import refnode as rn


def gradient(problem, tol, method):
    """Leaf name -> gradient, by one of `refnode.METHODS`."""
    return dict(rn.gradient(problem, method, rn.Solver("dopri5", tol=tol)).grads)


discrete = partial(gradient, method="discrete")
backsolve = partial(gradient, method="backsolve")
interpolating = partial(gradient, method="interpolating")
quadrature = partial(gradient, method="quadrature")
forward_discrete = partial(gradient, method="forward_discrete")
forward_continuous = partial(gradient, method="forward_continuous")
complex_step = partial(gradient, method="complex_step")
central = partial(gradient, method="central")
richardson = partial(gradient, method="richardson")
