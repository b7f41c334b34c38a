"""diffrax: on a contracting field BacksolveAdjoint returns a gradient many orders too large, and raises nothing."""

# z' = a z + b, a = -20, T = 2, loss = int z^2 dt, carried as a second state: backwards, an error in z grows like
# exp(20 (T - t)), and the costate with it. diffrax calls the method "not recommended" and its gradients "approximate";
# how far off they can be it does not say, nor does it notice.
# Who is right: z = c + (x - c) e^{at} with c = -b/a, so dloss/dx = 2 int z e^{at} dt; RecursiveCheckpoint agrees.
import math

import diffrax
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
a, b, T, x = -20.0, 12.0, 2.0, 1.5
c = -b / a
exact = 2 * c * (math.exp(a * T) - 1) / a + (x - c) * (math.exp(2 * a * T) - 1) / a


def loss(x, adjoint, tol):
    term = diffrax.ODETerm(lambda t, y, args: jnp.stack([a * y[0] + b, y[0] ** 2]))
    controller = diffrax.PIDController(rtol=tol, atol=tol)
    options = {"stepsize_controller": controller, "adjoint": adjoint, "max_steps": 100_000}
    return diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, T, None, jnp.stack([x, 0.0]), **options).ys[-1, 1]


for adjoint in (diffrax.RecursiveCheckpointAdjoint(), diffrax.BacksolveAdjoint()):
    for tol in (1e-3, 1e-5, 1e-7, 1e-9, 1e-11):
        got = jax.grad(loss)(x, adjoint, tol)
        print(f"{type(adjoint).__name__} at tol {tol:.0e}: dloss/dx got {got:.6g}, should be {exact:.6g}")
