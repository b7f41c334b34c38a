"""Plants one bug at a time in a copy of the package and asks the tests that should notice: every one must be caught.

    python -m tests.plant_bugs [words ..]        only the bugs whose names contain one of the words

A bug is a file, a text that occurs there exactly once, what it becomes, and the tests that look. It counts as caught
when pytest reports a failed test: a crash on import, or no test at all, does not count. This plants all bugs; the slow
tests plant a sixth of them, and a twelfth of the cards' (`share`).
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CAUGHT = 1  # pytest's exit status for failed tests
SHARE = 6  # of so many bugs the tests plant one, of the cards' of twice as many: each compiles kernels anew


@dataclass(frozen=True)
class Bug:
    """A planted bug."""

    name: str
    file: str
    old: str
    new: str
    tests: str


DISCRETE = "tests/gradients/test_discrete_adjoint.py"
CLOSED = "tests/gradients/test_closed_forms.py"
CONTINUOUS = "tests/gradients/test_continuous.py"
DIFFERENCES = "tests/gradients/test_finite_difference.py"
STEPS = "tests/test_steps.py"
INTEGRATE = "tests/test_integrate.py"
DENSE = "tests/test_dense.py"
DYNAMICS = "tests/test_dynamics.py"
LAYERS, FIELD, FIELDS, MAPS = "tests/test_layers.py", "tests/test_field.py", "tests/test_fields.py", "tests/test_maps.py"
LOSS, RUNNING, OBJECTIVE = "tests/test_loss.py", "tests/test_running.py", "tests/test_objective.py"
DIVERGENCE, FLOWS = "tests/test_divergence.py", "tests/test_flows.py"
TABLEAU = "tests/test_tableau.py"
VALUES = "tests/test_values.py"
BASES, DEPTH, SEGMENTS = "tests/test_bases.py", "tests/test_depth.py", "tests/test_segments.py"
ADAPTIVE = "tests/test_adaptive.py"
CLOSED_ZOO = "tests/gradients/test_zoo.py::test_linear_closed_form"
EVERY_METHOD = "tests/gradients/test_zoo.py::test_linear_closed_form_by_every_method"
RESCALED = "tests/gradients/test_zoo.py::test_adaptive_depth_is_a_rescaled_field"
RIESZ, TORCHDYN = "tests/test_descent.py", "tests/test_torchdyn_bases.py"
GOLDEN = "tests/oracle/golden"
GRADING, DIAGNOSIS = "tests/oracle/test_grading.py", "tests/oracle/test_diagnosis.py"
EXTERNAL = "tests/oracle/test_external.py"
DEPTH_FILE, LOSS_FILE = "tests/test_depth_document.py", "tests/test_loss_document.py"
TWIN_OF_CATALOGUE = "tests/kernels/test_twins.py::test_catalogue"
PRODUCTS, MLP_TILE = "tests/kernels/test_products.py", "tests/kernels/test_mlp.py"
THETA_TILE, BLOCKS = "tests/kernels/test_theta.py", "tests/kernels/test_twins.py::test_several_blocks_of_weights"
TANGENTS = "tests/kernels/test_sensitivity.py::test_drawn_problems"
DOUBLE, SERIES, VERIFY = (f"tests/oracle/taylor/test_{name}.py" for name in ("double", "series", "verify"))
TAYLOR_CLOSED, COVERS = f"{VERIFY}::test_closed_forms", f"{VERIFY}::test_radius_covers_a_finer_run"
PROOF_BOUNDS, PROOF_DECIMALS = "tests/oracle/proof/test_bounds.py", "tests/oracle/proof/test_decimals.py"
PROOFS = "tests/oracle/proof/test_proofs.py"
ORACLE = "tests/oracle/test_closed_forms.py tests/oracle/test_ladder.py"
PROPOSAL, KNOWN = "tests/test_proposal.py", "tests/kernels/test_known_steps.py"
OPTIMISERS, TRAIN, CHECKPOINT = "tests/train/test_optimisers.py", "tests/train/test_loop.py", "tests/train/test_checkpoint.py"

BUGS = (
    # layers
    Bug("linear: transposed weight in the cotangent of W", "layers.py", "return x.T @ g, g @ W.T", "return (g.T @ x).T * 2, g @ W.T", LAYERS),
    Bug("linear: W instead of its transpose", "layers.py", "return x.T @ g, g @ W.T", "return x.T @ g, g @ (W if W.shape[0] == W.shape[1] else W.T)", LAYERS + " " + FIELD),
    Bug("linear: dropped x dW", "layers.py", "return linear(W, dx) + linear(dW, x)", "return linear(W, dx)", LAYERS),
    Bug("bias: mean for sum", "layers.py", "return g.sum(axis=0) if b.ndim == 1 else g", "return g.mean(axis=0) if b.ndim == 1 else g", LAYERS + " " + FIELD),
    Bug("tanh: slope of the wrong argument", "layers.py", "return 4 * sigmoid_slope(2 * u)", "return 4 * sigmoid_slope(u)", LAYERS),
    Bug("sigmoid: slope without the square", "layers.py", "return e / (1 + e) ** 2", "return e / (1 + e)", LAYERS),
    Bug("relu: slope 1 at 0", "layers.py", "return np.where(u.real > 0, 1.0, 0.0)", "return np.where(u.real >= 0, 1.0, 0.0)", LAYERS),
    Bug("sin: slope with the wrong sign", "layers.py", '"sin": Activation(np.sin, np.cos,', '"sin": Activation(np.sin, lambda u: -np.cos(u),', LAYERS),
    Bug("tanh: curvature without the 2", "layers.py", "return -2 * tanh(u) * tanh_slope(u)", "return -tanh(u) * tanh_slope(u)", LAYERS),
    Bug("sigmoid: curvature by a difference that cancels", "layers.py", "return -sigmoid_slope(u) * tanh(u / 2)", "return sigmoid_slope(u) * (1 - 2 * sigmoid(u))", LAYERS),
    Bug("sin: curvature with the wrong sign", "layers.py", "return -np.sin(u)", "return np.sin(u)", LAYERS),
    Bug("stack of linear layers: the first of the stack only", "layers.py", 'np.einsum("kbi,kbo->io", x, g)', 'np.einsum("bi,bo->io", x[0], g[0])', LAYERS),
    # fields
    Bug("MLP: dropped bias", "field.py", 'pre.append(u + leaf[f"b{k}"] if self.bias else u)', "pre.append(u)", FIELD),
    Bug("MLP: dropped bias in the jvp", "field.py", 'du = du + dleaf[f"b{k}"] if self.bias else du', "du = du", FIELD),
    Bug("MLP: slope at the wrong layer", "field.py", "g_u = slope(pre[k - 1]) * g_h if k > 0 else g_u", "g_u = slope(inputs[k][:, : g_h.shape[1]]) * g_h if k > 0 else g_u", FIELD),
    Bug("MLP: forgotten cotangent of t", "field.py", "g_t, g_h = g_t + g_h[:, -1], g_h[:, :-1]", "g_h = g_h[:, :-1]", FIELD),
    Bug("MLP: cotangent of t of the first layer only", "field.py", "g_t, g_h = g_t + g_h[:, -1], g_h[:, :-1]", "g_t, g_h = g_h[:, -1], g_h[:, :-1]", FIELD),
    Bug("MLP: forgotten skip term in the cotangent of z", "field.py", "g_h = g_h + g_skip", "g_h = g_h + 0 * g_skip", FIELD),
    Bug("MLP: dropped dA in the jvp", "field.py", 'layers.linear_jvp(leaf["A"], h0, dleaf["A"], dh0)', 'layers.linear(leaf["A"], dh0)', FIELD),
    Bug("MLP: detached control", "field.py", "else (g[:, : z.shape[1]], g[:, z.shape[1] :])", "else (g[:, : z.shape[1]], 0 * g[:, z.shape[1] :])", FIELD),
    Bug("cosine field: sign of df/dt", "fields.py", "return -(theta * s * z * g).sum(axis=1)", "return (theta * s * z * g).sum(axis=1)", FIELDS),
    # maps and losses
    Bug("zero augmentation: the wrong end", "maps.py", "return np.zeros(0), g[:, : g.shape[1] - self.extra]", "return np.zeros(0), g[:, self.extra :]", MAPS),
    Bug("mean: divides twice", "loss.py", 'return self.weight / batch if', 'return self.weight / batch**2 if', LOSS),
    Bug("squared error: forgotten 2", "loss.py", "return np.zeros(len(y)), 2 * (y - self.target)", "return np.zeros(len(y)), y - self.target", LOSS),
    Bug("cross-entropy: forgotten one-hot", "loss.py", "g[np.arange(len(y)), self.labels] -= 1", "g[np.arange(len(y)), self.labels] -= 0", LOSS),
    Bug("kinetic: forgotten 2", "running.py", "_replace(rate=2 * column(g) * at.rate)", "_replace(rate=column(g) * at.rate)", RUNNING),
    Bug("parameter norm: mean for sum", "running.py", "(g.sum() if at.theta.ndim == 1", "(g.mean() if at.theta.ndim == 1", RUNNING),
    Bug("tracking: dropped dbeta/dt", "running.py", "_replace(t=-(g_z * self.beta.slope(at.t)).sum(axis=1), z=g_z)", "_replace(z=g_z)", RUNNING),
    Bug("point loss: forgotten upstream factor", "objective.py", "np.asarray(g * term.factor", "np.asarray(term.factor", OBJECTIVE),
    # dynamics
    Bug("dynamics: dropped path dl/df", "dynamics.py", "g_rate = g_rate + self._seen_vjp(r, back.rate)", "pass", DYNAMICS),
    Bug("dynamics: dropped dl/dtheta", "dynamics.py", "g_theta + f_theta)", "f_theta)", DYNAMICS),
    Bug("dynamics: dropped dl/dt", "dynamics.py", "return Cotangents(g_t + f_t + depth_t", "return Cotangents(f_t + depth_t", DYNAMICS),
    Bug("dynamics: dropped shift of the second order", "dynamics.py", "g_z = g_z + f_z + self._shift_vjp(g_rate)", "g_z = g_z + f_z", DYNAMICS),
    Bug("dynamics: detached control", "dynamics.py", "g_x = g_x + self.model.control_vjp(values.x, f_x)", "g_x = g_x", DYNAMICS),
    # divergences and flows
    Bug("standard normal: forgotten constant", "loss.py", "+ y.shape[1] * np.log(2 * np.pi) / 2", "", LOSS),
    Bug("divergence: dropped curvature in the cotangent", "divergence.py", "g_u = slope * g_h + curvature * (images[k - 1] * g_s).sum(axis=0)", "g_u = slope * g_h", DIVERGENCE),
    Bug("divergence: dropped curvature in the jvp", "divergence.py", "curvature * du * images[k - 1] + slope * dw", "slope * dw", DIVERGENCE),
    Bug("divergence: slope instead of curvature", "divergence.py", "dh, ds = slope * du, curvature * du", "dh, ds = slope * du, slope * du", DIVERGENCE),
    Bug("divergence: forgotten skip term", "divergence.py", 'if self.mlp.skip else images[-1]', 'if False else images[-1]', DIVERGENCE),
    Bug("divergence: forgotten cotangent of t", "divergence.py", "g_t, g_h = g_t + g_h[:, -1], g_h[:, :-1]", "g_h = g_h[:, :-1]", DIVERGENCE),
    Bug("divergence: detached control", "divergence.py", "x=control_vjp(self.control, at.x, g_x))", "x=0 * control_vjp(self.control, at.x, g_x))", DIVERGENCE),
    Bug("divergence: directions in the first block", "divergence.py", "[np.zeros((k, b, before)), v,", "[v, np.zeros((k, b, before)),", DIVERGENCE),
    Bug("divergence: Hutchinson's sum for mean", "divergence.py", "return self.noise, 1 / len(self.noise)", "return self.noise, 1.0", DIVERGENCE),
    Bug("divergence: the cosine field's trace stands still", "fields.py", "g_t = -(s * theta * np.sin(column(t))).sum(axis=1)", "g_t = np.zeros(len(z))", FLOWS),
    Bug("divergence: dl/dtheta of the trace left out", "divergence.py", "theta=g_theta, x=control_vjp", "x=control_vjp", FLOWS),
    Bug("flow: the wrong sign of the trace", "flows.py", "running=-1.0 * divergence", "running=divergence", FLOWS),
    Bug("flow: a sample's path with the span turned round", "flows.py", "Span(span.end, span.start)", "Span(span.start, span.end)", FLOWS),
    Bug("flow: segments of a sample's path in the wrong order", "flows.py", "reversed(list(enumerate(segments(problem, values))))", "enumerate(segments(problem, values))", FLOWS),
    Bug("flow: control by the sample let in", "flows.py", 'if control != "none":', "if False:", FLOWS),
    # depth variance and adaptive depth
    Bug("basis: slope of Chebyshev in v, not in u", "bases.py", "return 2 * polynomials(2 * np.asarray(u) - 1, self.m, False)[1]", "return polynomials(2 * np.asarray(u) - 1, self.m, False)[1]", BASES),
    Bug("basis: sign of the cosines' slope", "bases.py", "[-omega * np.sin(angle), omega * np.cos(angle)]", "[omega * np.sin(angle), omega * np.cos(angle)]", BASES),
    Bug("basis: hats that lean the other way", "bases.py", "psi[..., cell], psi[..., cell + 1] = 1 - w, w", "psi[..., cell], psi[..., cell + 1] = w, 1 - w", BASES),
    Bug("depth: theta does not turn with u", "depth.py", " + self._expand(turn, alpha, leaves, still=0)", "", DEPTH),
    Bug("depth: constant leaves turn with u", "depth.py", "self._expand(turn, alpha, leaves, still=0)", "self._expand(turn, alpha, leaves)", DEPTH),
    Bug("depth: forgotten cotangent of u", "depth.py", "g_u = g_u + ((slope @ coefficients", "g_u = g_u + 0 * ((slope @ coefficients", DEPTH),
    Bug("depth: starts dead", "depth.py", "c.reshape(-1, *[1] * leaf.ndim) * leaf", "0 * c.reshape(-1, *[1] * leaf.ndim) * leaf", DEPTH),
    Bug("coordinate: u for 1 - u in the cotangents", "depth.py", "return g_t, -(1 - u) * g_t, -u * g_t", "return g_t, -u * g_t, -(1 - u) * g_t", DEPTH),
    Bug("coordinate: sign of dT in the tangent", "depth.py", "(dt - (1 - u) * dt0 - u * dT)", "(dt - (1 - u) * dt0 + u * dT)", DEPTH),
    Bug("dynamics: a shared theta counted once a sample", "dynamics.py", "shared = 1 / batch[0] if np.ndim(g_u) == 0 else 1.0", "shared = 1.0", DYNAMICS),
    Bug("dynamics: theta does not move with T", "dynamics.py", "g_y, g_alpha, g_x, g_t0, g_T)", "g_y, g_alpha, g_x, g_t0, 0 * g_T)", DYNAMICS),
    Bug("edges: without the interval's length", "segments.py", "edges[k] = (inside * (np.abs(length) if magnitude else length)).sum()", "edges[k] = inside.sum()", SEGMENTS),
    Bug("breaks: t0 for T where a sample ends early", "segments.py", "np.where(side == 0, t, np.where(side < 0, t0, T))", "np.where(side == 0, t, np.where(side < 0, T, t0))", SEGMENTS),
    Bug("breaks: cotangent to the wrong end", "segments.py", "g_t0 + np.where(side < 0, g_i, 0.0), g_T + np.where(side > 0, g_i, 0.0)", "g_t0 + np.where(side > 0, g_i, 0.0), g_T + np.where(side < 0, g_i, 0.0)", SEGMENTS),
    Bug("breaks: u for 1 - u", "segments.py", "g_t0 + (1 - u[k]) * inside, g_T + u[k] * inside", "g_t0 + u[k] * inside, g_T + (1 - u[k]) * inside", SEGMENTS),
    Bug("cells: one off on the way down", "segments.py", "cells[0] = start if rising > 0 else len(u) - start", "cells[0] = start if rising > 0 else len(u) - start - 1", SEGMENTS),
    Bug("cells: up on the way down", "segments.py", '(int(rising) if bound.kind == "break" else 0)', '(1 if bound.kind == "break" else 0)', SEGMENTS),
    Bug("segments: who waits leaves its round-off", "gradients/discrete_adjoint.py", "np.where(self.waiting[i], 0.0, step.h)", "step.h", SEGMENTS),
    Bug("segments: one order of edges, up or down", "segments.py", "passed[:: int(rising)]", "passed", SEGMENTS),
    Bug("segments: an observation on an edge", "segments.py", "if depth.jumps and one.kind != other.kind and np.any(t == s):", "if False:", SEGMENTS),
    Bug("adaptive: forgotten slope of the softplus", "adaptive.py", 'column(g * ACTIVATIONS["softplus"].slope(net.forward(w, x)[:, 0]))', "column(g)", ADAPTIVE),
    Bug("adaptive: T does not pass t0 on", "values.py", "t0=t0, w_T=g.w_T + g_w, x=g.x + g_x)", "t0=g.t0, w_T=g.w_T + g_w, x=g.x + g_x)", ADAPTIVE),
    Bug("adaptive: x detached", "values.py", "t0=t0, w_T=g.w_T + g_w, x=g.x + g_x)", "t0=t0, w_T=g.w_T + g_w, x=g.x)", RESCALED),
    Bug("columns: the first ones", "maps.py", "g_u[:, self.start : self.stop] = g", "g_u[:, : self.stop - self.start] = g", MAPS),
    Bug("partial input: forgotten identity", "maps.py", "return g_w, g[:, :i] + g_u", "return g_w, g_u", MAPS),
    Bug("discrete adjoint: theta does not move with the ends", "gradients/discrete_adjoint.py", "self._add(alpha=stage.alpha, x=stage.x, t0=t0, T=T)", "self._add(alpha=stage.alpha, x=stage.x)", CLOSED_ZOO),
    Bug("continuous: theta does not move with the ends", "gradients/continuous.py", '"x": back.x, "t0": t0, "T": T}', '"x": back.x, "t0": 0 * t0, "T": 0 * T}', EVERY_METHOD),
    Bug("continuous: H on the wrong side of an edge", "gradients/continuous.py", "self.hamiltonian(i, i + 1, adj)", "self.hamiltonian(min(i + 1, len(self.spans) - 1), i + 1, adj)", EVERY_METHOD),
    Bug("forward sensitivity: no jump at edges", "gradients/forward_sensitivity.py", "jump = rate_before - _rate(problem, values, i, span.start, y)", "jump = rate_before - _rate(problem, values, i, span.start, y) if i == 0 else 0 * y", EVERY_METHOD),
    # Runge-Kutta steps
    Bug("stage at the step's end", "steps.py", "return t_new if c == 1 else t + c * h", "return t_new if c > 0 else t", STEPS),
    Bug("step adjoint: forgotten later stages", "steps.py", "(b[i] * g + np.tensordot(a[:, i], g_Y, axes=1))", "(b[i] * g)", STEPS),
    Bug("step adjoint: dropped c dh", "steps.py", "g_t, g_h = g_t + back.t, g_h + c[i] * back.t", "g_t = g_t + back.t", STEPS),
    Bug("step adjoint: dropped dh in the stages", "steps.py", "g_h = g_h + (back.y * np.tensordot(a[i, :i], k[:i], axes=1)).sum(axis=1)", "pass", STEPS),
    Bug("step adjoint: dropped identity", "steps.py", "g + g_Y.sum(axis=0), stages)", "g_Y.sum(axis=0), stages)", STEPS),
    Bug("step tangent: dropped dh", "steps.py", "return dy + np.tensordot(b, column(dh) * k + column(h) * dk, axes=1)", "return dy + np.tensordot(b, column(h) * dk, axes=1)", STEPS),
    Bug("error norm: sum for mean", "steps.py", "return np.sqrt(np.mean(e * e, axis=-1))", "return np.sqrt(np.sum(e * e, axis=-1))", STEPS),
    Bug("controller: wrong exponent", "steps.py", "q = order_err + 1", "q = order_err + 3", STEPS + " " + INTEGRATE),
    Bug("controller: grows after a rejection", "integrate.py", "factor = np.where(grow | failed, factor, np.minimum(factor, 1.0))", "factor = factor", INTEGRATE),
    # tableaux
    Bug("dopri5: c_5", "tableau.py", "4/5, 8/9, 1, 1]", "4/5, 7/9, 1, 1]", TABLEAU),
    Bug("rk4: weights", "tableau.py", "[1/6, 2/6, 2/6, 1/6]", "[1/6, 3/6, 1/6, 1/6]", TABLEAU),
    Bug("dopri5: error weights", "tableau.py", "b_err=np.array([71/57600", "b_err=np.array([-71/57600", TABLEAU),
    # drivers
    Bug("wrong FSAL reuse", "integrate.py", "k0 = k[-1] if tableau.fsal else rhs(t_new, y) if np.any(s_new < 1) else k0", "k0 = k[-1]", INTEGRATE),
    Bug("wrong FSAL reuse after an own step", "integrate.py", "k0 = k_end if good.ndim == 0 else np.where(good[:, None], k_end, k0)", "k0 = k_end", INTEGRATE),
    Bug("the end is not landed on", "integrate.py", "np.where(s + 1.01 * ds >= 1, 1.0, s + ds)", "np.where(s + ds >= 1.0 + 1e-6, 1.0, np.minimum(s + ds, 1.0 - 1e-9 * (s < 0.9)))", INTEGRATE),
    Bug("own steps: everybody moves", "integrate.py", "np.where(row, step.y_new, step.y)", "step.y_new", INTEGRATE),
    Bug("dense output: wrong theta", "dense.py", "np.asarray((s - self.s[n]) / (self.s_new[n] - self.s[n]))", "np.asarray((s - self.s[n]) / (self.s_new[n] - self.s[n])) ** 2", DENSE),
    # discrete gradients
    Bug("discrete adjoint: forgotten upstream factor on the running loss", "gradients/discrete_adjoint.py", "self.g[:, self.d :] = problem.loss.scale", "self.g[:, self.d :] = 1.0", DISCRETE),
    Bug("discrete adjoint: no jump at observations", "gradients/discrete_adjoint.py", "self.g[:, :d] += g_z", "self.g[:, :d] += g_z * (i == len(self.bounds) - 1)", DISCRETE),
    Bug("discrete adjoint: dT without the step sizes", "gradients/discrete_adjoint.py", "s * step.t + s_new * step.t_new + (s_new - s) * step.h)", "s * step.t + s_new * step.t_new)", DISCRETE),
    Bug("discrete adjoint: sign of dt0", "gradients/discrete_adjoint.py", "(1 - s) * step.t + (1 - s_new) * step.t_new - (s_new - s) * step.h)", "(1 - s) * step.t + (1 - s_new) * step.t_new + (s_new - s) * step.h)", DISCRETE),
    Bug("discrete adjoint: x without the input map", "gradients/discrete_adjoint.py", "self._add(w_x=g_w, x=g_x)", "self._add(w_x=g_w)", DISCRETE),
    Bug("binomial: one snapshot too many", "gradients/discrete_adjoint.py", "free = snapshots - len(held) + 1", "free = snapshots - len(held) + 2", DISCRETE),
    Bug("forward sensitivity: forgotten scale", "gradients/forward_sensitivity.py", "return problem.loss.scale * change", "return change", CLOSED + " " + DISCRETE),
    Bug("forward sensitivity: S(t0) without -F", "gradients/forward_sensitivity.py", "jump = rate_before - _rate(problem, values, i, span.start, y)", "jump = rate_before - _rate(problem, values, i, span.start, y) if i > 0 else 0 * y", CLOSED),
    Bug("central differences: one-sided", "gradients/finite_difference.py", "return (loss(up) - loss(down)) / width", "return (loss(up) - loss(values)) / width * 2", DIFFERENCES),
    Bug("Richardson: wrong power of 4", "gradients/finite_difference.py", "(level[1:] - level[:-1]) / (4**j - 1)", "(level[1:] - level[:-1]) / (2**j - 1)", DIFFERENCES),
    # continuous gradients
    Bug("continuous: sign of dt0", "gradients/continuous.py", "self.g_times[i] = self.g_times[i] - self.hamiltonian(i, i, adj)", "self.g_times[i] = self.g_times[i] + self.hamiltonian(i, i, adj)", CLOSED),
    Bug("continuous: weights of the wrong sign", "gradients/continuous.py", "column(-step.h * weight) * self.full(adj[i])", "column(step.h * weight) * self.full(adj[i])", CLOSED),
    Bug("continuous: dT without l(T)", "gradients/continuous.py", "return (self.full(adj) * rate).sum(axis=1)", "return (adj * rate[:, : adj.shape[1]]).sum(axis=1)", CLOSED + " " + CONTINUOUS),
    Bug("continuous: no jump at observations", "gradients/continuous.py", "adj = adj + self.jumps[i + 1]", "adj = adj + self.jumps[i + 1] * (i + 2 == len(self.times))", CLOSED + " " + CONTINUOUS),
    Bug("continuous: forgotten upstream factor on the running loss", "gradients/continuous.py", "self.width - self.d), self.problem.loss.scale)", "self.width - self.d), 1.0)", CLOSED + " " + CONTINUOUS),
    Bug("continuous: absolute tolerance", "gradients/continuous.py", "return max((self.solver.rtol or 0.0) * largest, TINY)", "return self.solver.rtol or TINY", CONTINUOUS),
    Bug("continuous: error of the integrals not looked at", "gradients/continuous.py", "if self.integral_error > allowed:", "if False:", CONTINUOUS + " tests/gradients/test_reliability.py"),
    Bug("quadrature: half a panel too much", "gradients/quadrature_adjoint.py", "weight = np.asarray(half * span.length)", "weight = np.asarray(2 * half * span.length)", CLOSED),
    Bug("backsolve: never refuses", "gradients/backsolve_adjoint.py", "bad = ~(off <= allowed)", "bad = off < 0", CONTINUOUS),
    # function space, torchdyn's bases, live coefficients
    Bug("riesz: exact mass matrix for a solve's gradient", "descent.py", "exact = solved is None or (isinstance(solved, GradientResult) and solved.method in CONTINUOUS)", "exact = True", RIESZ),
    Bug("riesz: psi at the step's end", "descent.py", "np.asarray(stage_time(t, t_new, h, c))", "np.asarray(t_new + 0 * c)", RIESZ),
    Bug("riesz: signed steps", "descent.py", "np.abs(h) * b", "h * b", RIESZ),
    Bug("riesz: always the first cell", "descent.py", "            i += 1", "            i += 0", RIESZ),
    Bug("riesz: sum over the batch for the mean", "descent.py", ".T @ psi / len(psi)", ".T @ psi", RIESZ),
    Bug("riesz: singular matrices solved", "descent.py", "if low > len(eigenvalues) * EPS * high else np.inf", "", RIESZ),
    Bug("torchdyn: true harmonics", "torchdyn_bases.py", "np.linspace(0, self.deg, self.deg)", "1.0 * np.arange(self.deg)", TORCHDYN),
    Bug("torchdyn: sines before cosines", "torchdyn_bases.py", "np.concatenate([np.cos(angle), np.sin(angle)]", "np.concatenate([np.sin(angle), np.cos(angle)]", TORCHDYN),
    Bug("torchdyn: |t| without its sign in the slope", "torchdyn_bases.py", "side(u)[..., None] * self.numbers / 2", "np.ones(np.shape(u))[..., None] * self.numbers / 2", TORCHDYN),
    Bug("depth: dead coefficients", "bases.py", "np.linalg.lstsq(size[:, None] * np.concatenate(rows), size, rcond=None)[0]", "0 * np.linalg.lstsq(size[:, None] * np.concatenate(rows), size, rcond=None)[0]", "tests/test_live_init.py"),
    Bug("costate: sides swapped", "dense.py", 'if side == "before" else', 'if side == "after" else', "tests/test_dense_costate.py"),
    Bug("costate: H without the upstream factor", "dense_costate.py", "dynamics.width - dynamics.d), problem.loss.scale)", "dynamics.width - dynamics.d), 1.0)", "tests/test_dense_costate.py"),
    Bug("costate: steps of a compiled solve left out", "dense_costate.py", "replace(solution.forward, steps=solution.steps())", "solution.forward", "tests/test_dense_costate.py"),
    Bug("costate: segments in the order of the backward pass", "dense_costate.py", "tuple(reversed(found))", "tuple(found)", "tests/test_dense_costate.py"),
    # bookkeeping and oracle
    Bug("leaves in the wrong order", "arrays.py", "parts.append(leaf.reshape(leaf.shape[: leaf.ndim - len(shape)] + (-1,)))", "parts.insert(0, leaf.reshape(leaf.shape[: leaf.ndim - len(shape)] + (-1,)))", VALUES + " tests/test_arrays.py"),
    Bug("closed form: forgotten tau", "oracle/closed_forms.py", "d_M.append(lengths[j] * exp_matrix(blocks)", "d_M.append(exp_matrix(blocks)", ORACLE),
    Bug("closed form: sign of dt0", "oracle/closed_forms.py", '"t0": -(g * z * k * c0).sum()', '"t0": (g * z * k * c0).sum()', ORACLE),
    Bug("certify: promise not checked", "oracle/certificate.py", "if promised > 0 and np.any(excess > 0):", "if False:", "tests/oracle/test_certificate.py"),
    # grading
    Bug("grade: claim not checked", "oracle/grading.py", "if beyond > most:", "if False:", GRADING),
    Bug("grade: one digit less is asked for", "oracle/grading.py", "float(-np.log10(tol) - 2))", "float(-np.log10(tol) - 3))", GRADING),
    Bug("grade: dtype not looked at", "oracle/grading.py", "if not is_float64(a):", "if False:", GRADING),
    Bug("grade: digits beyond the radius", "oracle/grading.py", "blurred = np.maximum(gap, radius)", "blurred = gap", GRADING),
    Bug("own solution: the grid stays when its ends move", "oracle/own_solution.py", "return np.interp(grid, bounds[order], new[order])", "return grid", GRADING),
    Bug("own solution: forgotten size of the direction", "oracle/own_solution.py", "np.sum(g * along)) - slope", "np.sum(g)) - slope", GRADING),
    Bug("diagnosis: half of an error is little", "oracle/diagnosis.py", "SMALL, SMALL_OF_ONE = 0.02, 1e-3", "SMALL, SMALL_OF_ONE = 1.5, 1.5", DIAGNOSIS),
    Bug("diagnosis: what is right may become wrong", "oracle/diagnosis.py", "else case.off(grads, leaf) <= case.room(leaf)", "else True", DIAGNOSIS),
    Bug("parts: control not silenced", "oracle/parts.py", "return g_t, g_z, g_theta, None if g_x is None else np.zeros_like(g_x)", "return g_t, g_z, g_theta, g_x", DIAGNOSIS),
    Bug("parts: jumps in the wrong place", "oracle/parts.py", 't_obs[k] = grads["t_obs"][0]', 't_obs[0] = grads["t_obs"][0]', DIAGNOSIS),
    Bug("external: status ignored", "oracle/external.py", "if status != 0:", "if False:", EXTERNAL),
    Bug("external: children survive", "oracle/external.py", "os.killpg(process.pid, signal.SIGKILL)", "process.kill()", EXTERNAL),
    # kernels
    # steps handed on
    Bug("proposal: the error taken for the work", "proposal.py", "np.maximum(errors ** (1 / q), least)", "np.maximum(errors, least)", PROPOSAL),
    Bug("proposal: the order of the method for that of its estimate", "proposal.py", "(solver.tableau.order_err or 0) + 1", "solver.tableau.order + 1", PROPOSAL),
    Bug("proposal: a step too many", "proposal.py", "- LANDED)))", "+ 1 - LANDED)))", PROPOSAL),
    Bug("proposal: steps grow without a limit", "proposal.py", "np.maximum(errors ** (1 / q), least)", "errors ** (1 / q) + 1e-9", PROPOSAL),
    Bug("proposal: followed after a rejection", "integrate.py", "ends = ends if np.any(good) else iter(())", "ends = ends", PROPOSAL),
    Bug("proposal: an estimate of the first step beside it", "integrate.py", "statistics) if not proposal else np.asarray(proposal[1])", "statistics)", PROPOSAL),
    Bug("proposal: the first segment's for all", "forward.py", "return solver.proposal[i]", "return solver.proposal[0]", PROPOSAL),
    Bug("training: steps handed on are not kept", "train/loop.py", "State(k + 1, params, slots, proposal=proposal)", "State(k + 1, params, slots)", TRAIN),
    Bug("training: a proposal for other segments", "train/loop.py", "proposal is not None and len(proposal) == len(problem.layout.cells)", "proposal is not None", TRAIN),
    Bug("checkpoint: without the steps handed on", "train/checkpoint.py", "if state.proposal is not None:", "if state.proposal == 0:", f"{CHECKPOINT} {TRAIN}"),
    Bug("kernel steps: a proposal followed after a rejection", "kernels/advance.py", "        state.whole[8] = 0\n", "", f"{PROPOSAL} {KNOWN}"),
    Bug("kernel steps: a rejected step's followers kept", "kernels/proposed.py", "word == DONE and state.whole[8] and i < count", "word == DONE and i < count", f"{PROPOSAL} {KNOWN}"),
    Bug("kernel steps: errors of the last proposed step for all", "kernels/proposed.py", "batch_error(B, control, errors[i], batch", "batch_error(B, control, errors[count - 1], batch", f"{PROPOSAL} {KNOWN}"),
    Bug("kernel known steps: not judged", "kernels/through.py", "good = good and tape.err[i] <= 1", "good = good", KNOWN),
    Bug("kernel known steps: a rejected attempt's sums are still there", "kernels/cpu.py", "for part in (C.x, C.start, C.end, C.t0, C.T, of_theta, C.still, C.A):", "for part in (C.still, C.A):", KNOWN),
    Bug("kernel known steps: forgotten 2", "kernels/through.py", "L.factor * (2 * (out - data[j])", "L.factor * ((out - data[j])", KNOWN),
    Bug("kernel known steps: the first sample's target for the tile", "kernels/through.py", "L.data[first + r]", "L.data[first]", KNOWN),
    Bug("kernel known steps: no cotangent of the running loss", "kernels/through.py", "total = L.g_q if i == d else 0.0", "total = 0.0", KNOWN),
    Bug("kernel known steps: a tile begins where the one before ended", "kernels/through.py", "copy(y0[tile], tape.y[place, 0])", "copy(y0[place], tape.y[place, 0])", KNOWN),
    Bug("kernel known steps: errors of one step", "kernels/through.py", "kept = errors[i * control.adaptive, tile]", "kept = errors[0, tile]", KNOWN),
    Bug("kernel slopes: 1 - h for 1 - h^2", "kernels/sloped.py", "builder.fmul(value, value)", "value", KNOWN),
    Bug("kernel slopes: the first row's for a block", "kernels/sloped.py", "C_n, H_n, before_n = (simd.place(p, (first, N)) for p in (C, H, before))", "C_n, before_n = (simd.place(p, (first, N)) for p in (C, before))\n        H_n = H", KNOWN),
    Bug("kernel sums of rows: those left over left out", "kernels/row_sums.py", "builder.srem(K, turns), sums, of_rows(1)", "integer(0), sums, of_rows(1)", PRODUCTS),
    Bug("kernel product: one column left out", "kernels/products.py", "(8, 1, short), (8, 1, 1)):", "(8, 1, short)):", PRODUCTS),
    Bug("kernel product: A's pitch taken for its step", "kernels/micro_kernels.py", "simd.broadcast(simd.place(A_k, (integer(r), row_step)))", "simd.broadcast(simd.place(A_k, (integer(r), k_step)))", PRODUCTS),
    Bug("kernel product by dots: what fills no vector left out", "kernels/products.py", '"<", whole, K', '">", whole, K', PRODUCTS),
    Bug("kernel product by columns: rows that fill no vector left out", "kernels/products.py", '"<", whole, M', '">", whole, M', PRODUCTS),
    Bug("kernel tiles: inputs of a small tile", "kernels/steps.py", "return tile * scratch.t.shape[1]", "return tile * 32", "tests/kernels/test_twins.py::test_every_tile_sees_its_own_inputs"),
    Bug("kernel memory: one workspace for a gradient inside another", "kernels/workspace.py", "if len(self.outer) > 1:", "if len(self.outer) > 9:", "tests/kernels/test_nested.py"),
    Bug("kernel memory: steps put together in that of whoever runs", "api.py", "        with WORK:\n            return put_together()", "        return put_together()", "tests/kernels/test_nested.py::test_dense_output_inside_a_gradient"),
    Bug("kernel threads: called for in a forked child", "kernels/threads.py", "    if _Process.orphaned:\n        return ALONE\n", "", "tests/kernels/test_threads.py::test_forked_children"),
    Bug("kernel MLP: t shared by the rows", "kernels/mlp.py", "s * ldo + o], t[s]\n        if bias", "s * ldo + o], t[0]\n        if bias", MLP_TILE),
    Bug("kernel MLP: the first evaluations' inputs for all", "kernels/mlp.py", "h0 + q * pitch_h, 1, i, G", "h0, 1, i, G", MLP_TILE),
    Bug("kernel columns: a row's pitch forgotten", "kernels/fill.py", "source_pitch == count and target_pitch == count:  # one", "source_pitch == count:  # one", TWIN_OF_CATALOGUE),
    Bug("kernel MLP: tails of blocks not transposed", "kernels/transpose.py", "in_blocks(simd, i, SIDE, of_rows)", "in_blocks(simd, builder.and_(i, integer(-SIDE)), SIDE, of_rows)", PRODUCTS),
    Bug("kernel tangents: dt forgotten in timed layers", "kernels/tangents.py", "out[s * o + j] += dt[s] * row[j]", "out[s * o + j] += 0 * dt[s] * row[j]", TANGENTS),
    Bug("kernel tangents: skip term forgotten", "kernels/tangents.py", "add_product(df, 0, o, tangent, 0, n, 1, theta, net.skip, o, m, o, n)", "pass", TANGENTS),
    Bug("kernel tangents: psi of the first function for all", "kernels/tangents.py", "weight = psi[P.basis[n]]", "weight = psi[0]", TANGENTS),
    Bug("kernel tangents: T does not move u", "kernels/tangents.py", "- u * P.T[n, b]) / (T - t0)", ") / (T - t0)", TANGENTS),
    Bug("kernel theta: slope without the 2 of the interval", "kernels/theta.py", "2.0 * size * slope[j]", "size * slope[j]", THETA_TILE),
    Bug("kernel theta: leaves that do not vary forgotten in the vjp", "kernels/theta.py", "g_still[n] += g[n]", "g_still[n] += 0 * g[n]", THETA_TILE),
    Bug("ahead: both processes in one order", "ahead.py", "for job in reversed(work)", "for job in work", "tests/test_ahead.py"),
    Bug("ahead: no costate's largest slope", "ahead.py", ", running=SquaredNorm()", "", "-m slow tests/test_ahead.py"),
    Bug("kernel product: long sums in float32 go on from C", "kernels/micro_kernels.py", "LONG = 32", "LONG = 2**40", PRODUCTS),
    Bug("kernel theta: the first stage's cotangents for all", "kernels/theta.py", "moving, i * size, size, 1, g, at + i * pitch, 1", "moving, i * size, size, 1, g, at, 1", BLOCKS),
    Bug("kernel leaves: the first coefficient's cotangents for all", "kernels/leaves.py", "row = A[j, start : start + size] if m > 0", "row = A[0, start : start + size] if m > 0", THETA_TILE),
    Bug("kernel leaves: a leaf that does not vary among the coefficients", "kernels/leaves.py", "            else:\n                zero(row)\n        row = still", "            else:\n                copy(alpha[at : at + size], row)\n        row = still", THETA_TILE),
    Bug("kernel sweep: leaves that do not vary left out", "kernels/sweep.py", "C.psi[i, 0] = 1", "C.psi[i, 0] = 0", BLOCKS),
    Bug("kernel sweep: psi of the first of all steps for every step", "kernels/sweep.py", "        keep_psi(scratch, C)\n", "        if n == last - 1:\n            keep_psi(scratch, C)\n", BLOCKS),
    Bug("kernel sweep: theta(t) copied for one thread alone", "kernels/shared_steps.py", "number * stages + first", "first", BLOCKS),
    Bug("kernel sweep: weights transposed for one thread alone", "kernels/sweep.py", "number * scratch.psi.shape[0] + i", "i", BLOCKS),
    Bug("kernel rates: theta(t) for one thread alone", "kernels/shared_steps.py", "        share_theta(scratch)\n", "", "tests/kernels/test_twins.py tests/kernels/test_drawn_twins.py"),
    Bug("kernel sweep: one tile's cotangents of theta(t) left out", "kernels/sweep.py", "for tile in range(1, C.theta.shape[0]):\n            row = C.theta[tile, i][first", "for tile in range(2, C.theta.shape[0]):\n            row = C.theta[tile, i][first", BLOCKS),
    Bug("kernel sweep: what the step behind gave to theta(t) is still there", "kernels/sweep.py", "zero(C.theta[tile, i])", "zero(C.theta[tile, i][:1])", BLOCKS),
    Bug("kernel sweep: coefficients' sums of the last gradient are still there", "kernels/cpu.py", "C.depth if useful else C.theta", "C.theta", BLOCKS),
    Bug("kernel sweep: coefficients' sums not taken", "kernels/backward.py", "C.depth[0], C.depth[1:]", "C.depth[0], 0 * C.depth[1:]", BLOCKS),
    Bug("kernel sweep: theta of the step before", "kernels/sweep.py", "tape.s[n], tape.s_new[n], 0, stages", "tape.s[n - 1], tape.s_new[n - 1], 0, stages", BLOCKS),
    Bug("kernel integrals: the first block's cotangents for u", "kernels/integrals.py", "stages, g, low, I.varies", "stages, g, 0, I.varies", "'tests/kernels/test_continuous_twins.py::test_large_tiles_and_several_blocks_of_weights'"),
    Bug("kernel own steps: what lies behind a sample's last state converted", "kernels/forward.py", "counts[-1].max() + 1].copy()", "counts[-1].max() + 1].astype(np.float64)", "tests/kernels/test_continuous_twins.py::test_whatever_the_workspace_holds"),
    Bug("kernel tanh: the polynomial of the others", "kernels/activations_64.py", "half_expm1_parts_64(y, UPWARD)", "half_expm1_parts_64(y, NEAREST)", "tests/kernels/test_activations.py"),
    Bug("kernel tanh in float32: the polynomial used too far", "kernels/activations_32.py", "F_SMALL = F(0.6)", "F_SMALL = F(0.8)", "tests/kernels/test_activations.py"),
    Bug("kernel first step: 10 % for 1 %", "kernels/first.py", "(0.01 / top)", "(0.1 / top)", "tests/kernels/test_twins.py::test_every_tableau[tsit5]"),
    Bug("kernel own steps: the error of the wrong sample", "kernels/own.py", "step_factor(control, err, S.err[i])", "step_factor(control, err, S.err[0])", "tests/kernels/test_drawn_twins.py::test_own_steps_do_not_see_their_company"),
    Bug("kernel own steps: row handed on with its old state", "kernels/own.py", "copy_row(y, m, r, w)", "copy_row(y, r, r, w)", "tests/kernels/test_drawn_twins.py::test_own_steps_do_not_see_their_company"),
    Bug("kernel own first step: another sample's rate", "kernels/first.py", "y[i, j], S.k[i, j]", "y[i, j], S.k[first, j]", "tests/kernels/test_drawn_twins.py::test_own_steps"),
    Bug("kernel own first step: both rates at the first depth", "kernels/first.py", "t[r] = piece.start[i] + step", "t[r] = piece.start[i]", "tests/kernels/test_drawn_twins.py::test_own_steps"),
    Bug("kernel own first step: h0 of the row before", "kernels/first.py", "/ w) / h0[r]", "/ w) / h0[max(r - 1, 0)]", "tests/kernels/test_drawn_twins.py::test_own_steps"),
    Bug("kernel own steps: the grid of the segment before", "kernels/own.py", "S.s_new[i, before[i] + n]", "S.s_new[i, n]", "tests/kernels/test_drawn_twins.py::test_own_steps"),
    Bug("kernel step: h counted twice in its own cotangent", "kernels/adjoint.py", "g_h[n] += g_k[n] * k[n]\n        g_k[n] *= h[n]", "g_k[n] *= h[n]\n        g_h[n] += g_k[n] * k[n]", "tests/kernels/test_twins.py::test_catalogue[rk4-adaptive_follows]"),
    Bug("kernel step: a stage's depth counted to the step's end", "kernels/adjoint.py", "g_h[r] += c * g_stage[r]", "g_h[r] += g_stage[r]", "tests/kernels/test_twins.py::test_catalogue[rk4-adaptive_follows]"),
    Bug("kernel evaluations: t0's part through theta(t) dropped", "kernels/evaluations.py", "times[3, r], times[4, r]", "times[3, r], 0 * times[4, r]", "tests/kernels/test_continuous_twins.py::test_drawn_evaluations"),
    Bug("kernel evaluations: weights from the first tile's inputs", "kernels/evaluations.py", "slots = scratch.slot[tile : tile + 1]", "slots = scratch.slot[:1]", "tests/kernels/test_continuous_twins.py::test_drawn_evaluations"),
    Bug("kernel theta by row: t0 forgotten", "kernels/adjoint.py", "times[4, r] -= (1 - u) * rate", "times[4, r] -= 0 * rate", "tests/kernels/test_twins.py::test_catalogue[rk4-adaptive_follows]"),
    Bug("kernel cache: digest of names only", "kernels/compiled.py", 'path.name.encode() + b"\\0" + path.read_bytes()', "path.name.encode()", "tests/kernels/test_cache.py::test_every_source_counts"),
    Bug("kernel softplus: what log 2 lacks in float64 forgotten", "kernels/activations_64.py", "(log1p + LOG2_REST) + LOG2", "log1p + LOG2", "-m slow tests/kernels/test_exhaustive.py::test_float64_numbers[softplus]"),
    Bug("benchmarks: NaN passes for right", "../benchmarks/harness.py", "if not error <= within", "if error > within", "tests/benchmarks/test_harness.py"),
    Bug("benchmarks: wrong answers are timed", "../benchmarks/harness.py", "    verify(title, errors, within)\n", "", "tests/benchmarks/test_harness.py"),
    Bug("benchmarks: one contestant after the other", "../benchmarks/harness.py", "    for _ in range(rounds):\n        for name, call in contestants.items():\n", "    for name, call in contestants.items():\n        for _ in range(rounds):\n", "tests/benchmarks/test_harness.py"),
    Bug("benchmarks: ratio of medians", "../benchmarks/harness.py", "return statistics.median(each), min", "return slow.median / fast.median, min", "tests/benchmarks/test_harness.py"),
    Bug("kernel cache: Numba's names of files", "kernels/compiled.py", "    def save(self", "    def unused(self", "tests/kernels/test_cache.py::test_two_writers_keep_two_files"),
    # golden files, the ladder, the error budget
    Bug("golden: rounding does not widen the radius", "oracle/golden/printed.py", "hexadecimal_above(radius + abs(rounded - mid))", "hexadecimal_above(radius)", f"{GOLDEN}/test_printed.py"),
    Bug("golden: radius rounded down", "oracle/decimals.py", "return float(ceil(number / step) * step)", "return float((number // step) * step)", f"{GOLDEN}/test_printed.py"),
    Bug("golden: one digit too many", "oracle/golden/printed.py", "max(finest, radius.adjusted())", "max(finest, radius.adjusted() - 1)", f"{GOLDEN}/test_printed.py"),
    Bug("golden: hashes not checked", "oracle/golden/document.py", "if said != found:", "if False:", f"{GOLDEN}/test_document.py"),
    Bug("golden: overlapping is taken for proven", "oracle/golden/verify.py", "mine + theirs if touching else mine - theirs", "mine + theirs", f"{GOLDEN}/test_verify.py"),
    Bug("golden: samples not proven again", "oracle/golden/verify.py", "in enumerate(zip(old.samples, new.samples, strict=True)):", "in enumerate(()):", f"{GOLDEN}/test_verify.py"),
    Bug("golden: parts may contradict the whole", "oracle/golden/build.py", "if abs(off[k]) > room[k]]", "if abs(off[k]) > 2**99 * room[k]]", f"{GOLDEN}/test_build.py"),
    Bug("apart: a mean's share forgotten", "oracle/apart.py", "truth.midpoints(name) / share", "truth.midpoints(name)", "tests/oracle/test_apart.py"),
    Bug("truth: midpoint rounded before it is subtracted", "oracle/truth.py", "float(abs(Decimal(v) - mid))", "abs(v - float(mid))", "tests/oracle/test_ladder.py"),
    Bug("ladder: digits not looked at", "oracle/ladder.py", "have[worst] >= digits:", "have[worst] >= 1:", "tests/oracle/test_ladder.py"),
    Bug("budget: round-off against the continuous adjoint", "oracle/budget.py", "np.abs(computed[leaf] - precise[leaf])", "np.abs(computed[leaf] - continuous[leaf])", "tests/oracle/test_budget.py"),
    Bug("budget: truncation of the float64 gradient", "oracle/budget.py", "exact(high).ravel() + exact(low).ravel()", "exact(high).ravel()", "tests/oracle/test_budget.py"),
    # problem files
    Bug("depth file: layers forgotten when read", "depth_document.py", 'layers = None if node["layers"] is None else tuple(node["layers"])', "layers = None", DEPTH_FILE),
    Bug("depth file: interval from zero", "depth_document.py", 'return real(node["lo"], (*place, "lo")), real(', "return 0.0, real(", DEPTH_FILE),
    Bug("depth file: width of the bells forgotten", "depth_document.py", 'None if basis.width is None else encode(basis.width)', "None", DEPTH_FILE),
    Bug("depth file: T written as the number that it is", "problem_document.py", "encode(T) if adaptive is None else of_adaptive(adaptive)", "encode(T)", DEPTH_FILE),
    Bug("part file: columns from the first", "part_document.py", 'return Columns(node["start"], node["stop"])', 'return Columns(0, node["stop"])', DEPTH_FILE),
    Bug("loss file: noise of the first draw only", "loss_document.py", 'decode(node["noise"], (*place, "noise"))', 'decode(node["noise"], (*place, "noise"))[:1]', LOSS_FILE),
    Bug("problem file: a theta per sample is not counted", "problem_file.py", "own * _own_units(params, loss)", "0 * _own_units(params, loss)", "tests/test_problem_file.py"),
    Bug("problem file: tangents are not counted", "problem_file.py", "(1 + _tangents(loss))", "(1 + 0 * _tangents(loss))", LOSS_FILE),
    # training
    Bug("experiment: no steps taken for all", "experiments/experiment.py", "self.steps if steps is None else steps", "steps or self.steps", "tests/experiments/test_experiments.py"),
    Bug("Adam: bias corrections of the next step", "train/optimisers.py", "m / (1 - adam.beta1 ** (k + 1)), v / (1 - adam.beta2 ** (k + 1))", "m / (1 - adam.beta1 ** (k + 2)), v / (1 - adam.beta2 ** (k + 2))", OPTIMISERS),
    Bug("Adam: eps inside the root", "train/optimisers.py", "m_hat / (np.sqrt(v_hat) + adam.eps)", "m_hat / np.sqrt(v_hat + adam.eps)", OPTIMISERS),
    Bug("AdamW: decay without the rate", "train/optimisers.py", "(1 - rate * self.weight_decay) * w", "(1 - 0.01 * self.weight_decay) * w", OPTIMISERS),
    Bug("SGD: Nesterov without the gradient", "train/optimisers.py", "g + self.momentum * v if self.nesterov", "self.momentum * v if self.nesterov", OPTIMISERS),
    Bug("cosine that rises again", "train/schedules.py", "np.pi * min(k, self.steps) / self.steps", "np.pi * k / self.steps", "tests/train/test_schedules.py"),
    Bug("fit: the same data at every step", "train/loop.py", "np.random.default_rng([seed, k])", "np.random.default_rng([seed, 0])", TRAIN),
    Bug("fit: the failed state kept for the good one", "train/loop.py", "keep(good) if good is not state", "keep(state) if good is not state", TRAIN),
    Bug("fit: the last step forgotten at Ctrl-C", "train/loop.py", "        except KeyboardInterrupt:\n            keep(state)", "        except KeyboardInterrupt:\n            keep(good)", TRAIN),
    Bug("fit: no step in function space", "train/loop.py", "riesz_of(problem, result) if self.riesz else result.grads", "result.grads", TRAIN),
    Bug("checkpoint without the optimiser's slots", "train/checkpoint.py", '_decoded(node, "slots"), node["done"]', '{n: 0 * a for n, a in _decoded(node, "slots").items()}, node["done"]', CHECKPOINT),
    Bug("checkpoint in single precision", "train/checkpoint.py", "encode(np.atleast_1d(leaf))", "encode(np.atleast_1d(leaf).astype(np.float32).astype(np.float64))", TRAIN),
    Bug("train: no plain names", "cli_train.py", 'export_weights(run.params, Path(out) / "weights.npz")', "pass", "tests/test_cli_train.py"),
    # the paper's results
    Bug("fractions: points of a model taken as independent", "../validation/paper/statistics.py", "        n = min(n, float(", "        n = max(n, float(", "tests/test_paper_statistics.py"),
    Bug("fractions: no bound from the points", "../validation/paper/statistics.py", "    mean, m, n = float(v.mean()), len(v), float(points)", "    mean, m, n = float(v.mean()), len(v), float(points) * len(v)", "tests/test_paper_statistics.py"),
    Bug("effects: ends the wrong way about", "../validation/paper/statistics.py", "(low, high) if d >= 0 else (-high, -low)", "(low, high) if d >= 0 else (-low, -high)", "tests/test_paper_statistics.py"),
    Bug("effects: the central t", "../validation/paper/statistics.py", "stats.nct.cdf(t, n - 1, delta)", "stats.t.cdf(t - delta, n - 1)", "tests/test_paper_statistics.py"),
    Bug("figures: one place for all", "cli_figures.py", "(kept.folder if in_place else folder)", "folder", "tests/test_gallery.py"),
    Bug("figures: the scoreboard left out", "kept_pictures.py", "    return found | dict.fromkeys(SCOREBOARDS, board)", "    return found", "tests/test_gallery.py"),
    Bug("depth: no Riesz step", "experiments/depth.py", 'riesz=kind == "riesz"', "riesz=False", "tests/experiments"),
    Bug("next batch: functions of a new kind not asked", "problem.py", "if loss.kinds != self.loss.kinds:", "if False:", TRAIN),
    # the Taylor rung
    Bug("taylor add: one lost low word", "oracle/taylor/core/double.py", "return quick_two_sum(s, e + f)", "return quick_two_sum(s, e)", DOUBLE),
    Bug("taylor multiply: one lost cross term", "oracle/taylor/core/double.py", "return quick_two_sum(p, e + fma(ah, bl, al * bh))", "return quick_two_sum(p, e + ah * bl)", DOUBLE),
    Bug("taylor sums of products: the rounding of the sum dropped", "oracle/taylor/core/double.py", "sl + (f + (e", "sl + (0 * f + (e", DOUBLE),
    Bug("taylor: products and sums contracted", "kernels/compiled.py", 'EXACT: dict[str, Any] = {', 'EXACT: dict[str, Any] = {"fastmath": {"contract"}, ', f"{DOUBLE}::test_nothing_is_contracted"),
    Bug("taylor exp: a short series", "oracle/taylor/core/functions.py", "for n in range(14, 0, -1):", "for n in range(10, 0, -1):", "tests/oracle/taylor/test_functions.py"),
    Bug("taylor chain: m for k", "oracle/taylor/core/series.py", "S.l[m, u + e], float(m))", "S.l[m, u + e], float(m + (m > 20)))", SERIES),
    Bug("taylor tanh: slope without the square", "oracle/taylor/tape.py", "        self.product(h, h, n, d, -1)", "        self.product(h, d, n, d, -1)", SERIES),
    Bug("taylor: a lost low word of the state", "oracle/taylor/sweeps.py", "K.S.l[:, : P.d].copy()))", "0 * K.S.l[:, : P.d]))", TAYLOR_CLOSED),
    Bug("taylor: the last coefficient of every product left out", "oracle/taylor/core/series.py", "for k in range(first, m + 1):", "for k in range(first, m + (m < 25)):", COVERS),
    Bug("taylor moments: 1/(k + l) for 1/(k + l + 1)", "oracle/taylor/core/cotangents.py", "r = k + l + 1", "r = max(k + l, 1)", TAYLOR_CLOSED),
    Bug("taylor: steps back from the state's series only", "oracle/taylor/sweeps.py", "longest(K.R, P.groups, True, length, steps.log_tol)", "length", f"{COVERS}[stiff]"),
    Bug("taylor: a running loss's cotangent dropped", "oracle/taylor/core/cotangents.py", "R.h[0, P.loss], R.l[0, P.loss] = g[0], g[1]", "R.h[0, P.loss], R.l[0, P.loss] = 0.0, 0.0", f"{VERIFY}::test_consensus_agrees"),
    Bug("taylor: upstream scale rounded off the running loss", "oracle/taylor/solve.py", "terms.append(self.scale * number(", "terms.append(number(", f"{VERIFY}::test_consensus_agrees"),
    Bug("taylor: theta does not move with T", "oracle/taylor/gradient.py", "g_T = (g_1 * start - g_0) / length**2", "g_T = Decimal(0)", f"{VERIFY}::test_consensus_agrees"),
    Bug("taylor: adaptive depth detached from x", "oracle/taylor/gradient.py", 'self._add("x", i, *self.setup.depth.vjp', "(lambda *_: None)(0, *self.setup.depth.vjp", f"{VERIFY}::test_consensus_agrees"),
    Bug("taylor: detached control", "oracle/taylor/gradient.py", 'self.sums["x"][i] += exact(high) + exact(low)', 'pass', f"{VERIFY}::test_consensus_agrees"),
    Bug("taylor: cross terms of the parameter norm once", "oracle/taylor/dynamics.py", "i, j, 1 if i == j else 2, moving)", "i, j, 1, moving)", f"{VERIFY}::test_consensus_agrees[galerkin_monomial]"),
    Bug("taylor gate: one run against itself", "oracle/taylor/gate.py", "best, others = runs[0], runs[1:]", "best, others = runs[2], runs[2:]", f"{VERIFY}::test_gate_sees_a_coarse_run"),
    Bug("taylor: user fields taken", "oracle/taylor/refusals.py", "    elif type(field) is not CosineField:", "    elif False:", f"{VERIFY}::test_refusals"),
    # proofs: bounds that are none
    Bug("disc: forgotten product of what moves", "oracle/proof/discs.py", "+ a.reach * b.reach + SLACK", "+ SLACK", PROOF_BOUNDS + "::test_affine_sets_hold_what_they_are_computed_from"),
    Bug("disc: forgotten rounding of a sum", "oracle/proof/discs.py", "up(self.r + other.r + lost)", "up(self.r + other.r)", PROOF_BOUNDS + "::test_rounding_is_in_the_radius"),
    Bug("disc: linear image without |M|", "oracle/proof/discs.py", "up(M_abs @ (x.r + SLACK * x.sup) +", "up(np.abs(M @ (x.r + SLACK * x.sup)) +", PROOF_BOUNDS + "::test_affine_sets_hold_what_they_are_computed_from"),
    Bug("disc: half of Taylor's remainder", "oracle/proof/discs.py", "on.sup[k + 2] * m * m / 2, on.sup", "on.sup[k + 2] * m * m / 8, on.sup", PROOF_BOUNDS + "::test_second_order_remainder_is_that_of_taylor"),
    Bug("disc: radius of the argument forgotten in a function", "oracle/proof/discs.py", "np.abs(slope) * u.r + quadratic", "quadratic", PROOF_BOUNDS + "::test_affine_sets_hold_what_they_are_computed_from"),
    Bug("disc: tanh's slope at half the height", "oracle/proof/discs.py", 'f("cos", 2 * m))', 'f("cos", m))', PROOF_BOUNDS + "::test_slope_of_tanh_is_bounded_sharply"),
    Bug("disc: tanh bounded across its pole", "oracle/proof/discs.py", "S = np.where(inside, up(S), np.inf)", "S = up(S)", PROOF_BOUNDS + "::test_tanh_is_not_bounded_across_its_pole"),
    Bug("disc: the sine bounded as on the real axis", "oracle/proof/discs.py", '_or_infinite(up(f("cosh", np.minimum(m, LARGE))), m)', "np.ones_like(m)", PROOF_BOUNDS + "::test_derivatives_on_a_disc_are_bounded"),
    Bug("disc: third derivative of tanh", "oracle/proof/discs.py", "up(S * (6 * T * T + 2))", "up(S * (2 * T * T + 1))", PROOF_BOUNDS + "::test_derivatives_on_a_disc_are_bounded"),
    Bug("sizes: slope's bound at the centre", "oracle/proof/on_discs.py", "values.slopes[name, op.args[0]].sup[k + 1][:, None] * g", "np.abs(values.slopes[name, op.args[0]].at[k + 1])[:, None] * g", PROOF_BOUNDS + "::test_slope_on_a_disc_is_not_that_at_its_centre"),
    Bug("comparison: v' = f / 2", "oracle/proof/bounds.py", "exponential_sum(B, still, 1)", "exponential_sum(B, still / 2, 1)", PROOF_BOUNDS + "::test_displacement_is_the_solution_of_the_comparison_equation"),
    Bug("comparison: dropped dependence on t", "oracle/proof/bounds.py", "+ R * R / 2 * exponential_sum(B, turning, 2)", "", PROOF_BOUNDS + "::test_displacement_is_the_solution_of_the_comparison_equation"),
    Bug("comparison: the exponential series stops at once", "oracle/proof/bounds.py", "if norm / (k + 1) < 0.5 and term", "if k >= 4 or term", PROOF_BOUNDS + "::test_growth_is_a_matrix_exponential"),
    Bug("polydisc: the start's uncertainty left out", "oracle/proof/bounds.py", "up(centre.r + delta), everything", "centre.r, everything", PROOF_BOUNDS + "::test_polydisc_holds_the_solution_and_the_start"),
    Bug("polydisc: moved without the motion", "oracle/proof/bounds.py", "up(v + np.abs(s) * R)", "up(v)", PROOF_BOUNDS + "::test_polydisc_holds_the_solution_and_the_start"),
    Bug("tail: one power too many", "oracle/proof/bounds.py", "max(x**n / (1 - x)", "max(x ** (n + 1) / (1 - x)", PROOF_BOUNDS + "::test_tail_is_that_of_the_geometric_series"),
    Bug("tail: first term only", "oracle/proof/bounds.py", "max(x**n / (1 - x)", "max(x**n / 1", PROOF_BOUNDS + "::test_tail_is_that_of_the_geometric_series"),
    Bug("log norm: wrong side of time", "oracle/proof/trajectory.py", "sign = 1 if h > 0 else -1", "sign = 1", PROOF_BOUNDS + "::test_an_error_grows_as_the_solution_says"),
    Bug("log norm: at a point, not over the tube", "oracle/proof/trajectory.py", "box = [v + arb(0, float(r)) for", "box = [v + arb(0, 0 * float(r)) for", PROOF_BOUNDS + "::test_log_norm_holds_over_the_tube"),
    Bug("log norm: dropped from an error's growth", "oracle/proof/trajectory.py", "factor * near.delta * (1 + 1e-12) + length(off)", "near.delta + length(off)", PROOF_BOUNDS + "::test_an_error_grows_as_the_solution_says"),
    Bug("log norm: radii of the matrix forgotten", "oracle/proof/lognorm.py", "S = [[(J[i][j] + J[j][i]) / 2 for", "S = [[((J[i][j] + J[j][i]) / 2).mid() for", PROOF_BOUNDS + "::test_largest_eigenvalue_of_wide_balls"),
    Bug("log norm: every pivot is positive", "oracle/proof/lognorm.py", "if not rows[k][k] > 0:", "if rows[k][k] < 0:", PROOF_BOUNDS + "::test_an_eigenvalue_guess_is_proven"),
    Bug("state: radii of the polynomial forgotten", "oracle/proof/trajectory.py", "np.array([upper(v.rad()) for v in ends]) + left_out", "left_out", PROOF_BOUNDS + "::test_state_and_costate_are_within_their_radii"),
    Bug("state: remainder forgotten", "oracle/proof/trajectory.py", "np.array([upper(v.rad()) for v in ends]) + left_out", "np.array([upper(v.rad()) for v in ends])", PROOF_BOUNDS + "::test_state_and_costate_are_within_their_radii"),
    Bug("state: series not widened by delta", "oracle/proof/trajectory.py", "arb_series([c + p * e for", "arb_series([c for", PROOF_BOUNDS + "::test_the_true_series_is_in_the_widened_one"),
    Bug("costate: remainder forgotten", "oracle/proof/costate.py", "np.array([upper(v.rad()) for v in ends]) + a_sup * self.geo", "np.array([upper(v.rad()) for v in ends])", PROOF_BOUNDS + "::test_state_and_costate_are_within_their_radii"),
    Bug("costate: radii forgotten", "oracle/proof/costate.py", "np.array([upper(v.rad()) for v in ends]) + a_sup * self.geo", "a_sup * self.geo", PROOF_BOUNDS + "::test_state_and_costate_are_within_their_radii"),
    Bug("costate: a jump's radius forgotten", "oracle/proof/costate.py", "(self.alpha + length(np.array([upper(v.rad()) for v in whole]))) * (1 + 1e-12)", "self.alpha", PROOF_BOUNDS + "::test_a_jump_brings_its_radius"),
    Bug("quadrature: remainder forgotten", "oracle/proof/quadrature.py", "up(g * geo * (2 + geo) + g_off)", "g_off", PROOF_BOUNDS + "::test_integral_of_a_product_is_within_its_error"),
    Bug("quadrature: costate's error forgotten", "oracle/proof/quadrature.py", "up(g * geo * (2 + geo) + g_off)", "up(g * geo * (2 + geo))", PROOF_BOUNDS + "::test_integral_of_a_product_is_within_its_error"),
    Bug("disc: elementary functions to the caller's precision", "oracle/proof/discs.py", "with ctx.workprec(64):", "with ctx.workprec(ctx.prec):", PROOF_BOUNDS + "::test_proven_values_do_not_depend_on_the_callers_precision"),
    Bug("disc: radii of a matrix forgotten", "oracle/proof/discs.py", "+ M_off @ x.sup", "", PROOF_BOUNDS + "::test_affine_sets_hold_what_they_are_computed_from"),
    Bug("gathered: what the integrals miss forgotten", "oracle/proof/gathered.py", "flat[:] = [v + arb(0, e) if e else v for", "flat[:] = [v if e else v for", PROOF_DECIMALS),
    Bug("edges: no restart on the next piece", "oracle/proof/sample.py", "found.append(Piece(self._time(start), self._time(end), cell,", "found.append(Piece(self._time(start), self._time(end), 0,", PROOFS + "::test_closed_form_is_enclosed[25-stacked_linear]"),
    Bug("edges: rounded before they are used", "oracle/proof/sample.py", "return lo + self._fraction(bound) * (hi - lo)", "return arb(float((lo + self._fraction(bound) * (hi - lo)).mid()))", PROOFS + "::test_closed_form_is_enclosed[25-stacked_linear]"),
    Bug("decimals: rounding of the midpoint forgotten", "oracle/proof/decimals.py", "_sum_up(_float_up(ball.rad()), _up(float(unit)))", "_float_up(ball.rad())", PROOF_DECIMALS),
    Bug("decimals: a tenth of the midpoint's rounding", "oracle/proof/decimals.py", "Decimal(10) ** (1 - places)", "Decimal(10) ** (-places)", PROOF_DECIMALS),
    Bug("decimals: zero in place of what is not told from it", "oracle/proof/decimals.py", "_sum_up(_up(abs(float(mid[i]))), float(radius[i]))", "float(radius[i])", PROOF_DECIMALS),
    Bug("attempts: digits not looked at", "oracle/proof/attempts.py", "if have >= digits and", "if have > -np.inf and", PROOFS + "::test_a_first_attempt_that_falls_short_is_followed_by_another"),
    Bug("proof: ReLU taken for analytic", "oracle/proof/dynamics.py", 'mlp.act == "relu" and mlp.depth > 1', "False", PROOFS + "::test_relu_is_refused_with_the_reason"),
    Bug("proof: t0 does not move theta(t)", "oracle/proof/sample.py", "T, t0 = (H + since) / tau, H_t - (H + since) / tau", "T, t0 = (H + since) / tau, t0", PROOFS + "::test_float64_agrees[stacked]"),
    Bug("kernel loops: vectors as wide as LLVM likes", "kernels/lowering.py", "set.add(self.function.attributes, width)", "del width", "tests/kernels/test_portable.py"),
)  # fmt: skip

STATUS, LENT = "-m slow tests/cuda/test_status.py", "-m slow tests/cuda/test_lent.py"
TWINS = "tests/cuda/test_twins.py"
BACKSOLVE, SHARED_CUDA = "-m '' tests/cuda/test_backsolve.py", "-m slow tests/cuda/test_shared.py"
TILE_BACKSOLVE = "-m slow tests/cuda/test_tile_backsolve.py"
TILE_OWN = "-m slow tests/cuda/test_tile_own.py"
DEPTHS = "-m '' tests/cuda/test_depths.py::test_gradients_are_the_storys"
CUDA_BUGS = (                                       # they need `pip install 'refnode[cuda]'`
    Bug("cuda: what t gives by the first layer dropped from the vjp", "kernels/cuda/field.py", "g_t += weight(W, psi, at + d + n_x) * back", "g_t += t - t", f"{TWINS}::test_twins[constant]"),
    Bug("cuda: stages at the step's end", "kernels/cuda/steps.py", "            tau = t_new if node == one else t + node * h\n", "            tau = t_new\n", f"{TWINS}::test_twins[constant]"),
    Bug("cuda: a warp's last trajectory left out of the weights' sums", "kernels/cuda/gradient.py", "lane * pitch + column + lanes", "lane * pitch + column + lanes - one", f"{TWINS}::test_twins[constant]"),
    Bug("cuda: one thread too many in the last block", "kernels/cuda/forward.py", "if i >= uint64(y.shape[1]):", "if i > uint64(y.shape[1]):", f"{TWINS}::test_twins[constant]"),
    Bug("cuda: a state that is not finite passed over", "kernels/cuda/run.py", "            word[first] = NOT_FINITE\n", "", f"{STATUS}::test_a_state_that_overflows_on_a_grid[threads]"),
    Bug("cuda: max_steps for every segment anew", "kernels/cuda/own_solve.py", "(attempts > run.solver.max_steps)", "(attempts < 0)", f"{STATUS}::test_max_steps_are_those_of_the_whole_solve"),
    Bug("cuda: failed samples' losses among the others'", "kernels/cuda/backward.py", "self.scale = problem.loss.scale * done", "self.scale = problem.loss.scale * (done | True)", f"{STATUS}::test_a_state_that_overflows_on_a_grid[threads]"),
    Bug("cuda: strides of a lent array ignored", "kernels/cuda/card_array.py", "array, strides=strides, readonly=bool(readonly)", "array, readonly=bool(readonly)", f"{LENT}::test_arrays_are_read_where_they_lie"),
    Bug("cuda: a stream not waited for", "kernels/cuda/card.py", "if found.stream not in (None, LEGACY):", "if found.stream == 2:", f"{LENT}::test_streams_are_waited_for"),
    Bug("cuda: the running loss's slope left out of a'", "kernels/cuda/costate.py", "k[d + i] = two * c[0] * c[3] * u[i]", "k[d + i] = real(0)", f"{BACKSOLVE}::test_twins[constant]"),
    Bug("cuda: f's share of the running loss left out of a'", "kernels/cuda/costate.py", "g[i] += two * (c[2] + (c[1] if i >= first else real(0))) * c[3] * k[i]", "g[i] += real(0)", f"{BACKSOLVE}::test_twins[constant]"),
    Bug("cuda: a stage's weight left out of the control's integral", "kernels/cuda/backsolve.py", "g_mine[j] += b * g_x[j]", "g_mine[j] += g_x[j]", f"{BACKSOLVE}::test_twins[control]"),
    Bug("cuda: theta(t) does not follow t0 and T on the way down", "kernels/cuda/integrals.py", "ends[q] += b * row[t0_at + q] * g_u", "ends[q] += g_u - g_u", f"{BACKSOLVE}::test_twins[galerkin]"),
    Bug("cuda: absolute terms of the integrals with their signs", "kernels/cuda/integrals.py", "size[at + q] += abs(term)", "size[at + q] += term", f"{BACKSOLVE}::test_steps_of_their_own"),
    Bug("cuda: a step's error of the integrals beside the last one's", "kernels/cuda/integrals.py", "            missed[q] = real(0)\n", "            missed[q] += real(0)\n", f"{BACKSOLVE}::test_steps_of_their_own"),
    Bug("cuda: the costate's tolerance is the state's", "kernels/cuda/controller.py", "return L.adj_atol if costate and j >= d else L.atol", "return L.atol", f"{BACKSOLVE}::test_steps_of_their_own"),
    Bug("cuda: the last trajectory of a block left out of a shared error", "kernels/cuda/shared.py", "for other in range(threads):", "for other in range(threads - 1):", f"{SHARED_CUDA}::test_the_grid_is_the_storys[batch]"),
    Bug("cuda: the last error for the worst", "kernels/cuda/shared.py", "most = max(most, errors[other])", "most = errors[other]", f"{SHARED_CUDA}::test_the_grid_is_the_storys[worst]"),
    Bug("cuda: a shared step grows right after a rejection", "kernels/cuda/shared_solve.py", "factor if grow or not good else min(factor, 1.0)", "factor", f"{SHARED_CUDA}::test_no_step_grows_after_a_rejection[shared]"),
    Bug("cuda: sin without its sign in half of a period", "kernels/cuda/sine.py", "value = even if place & 1 else odd\n        value = -value if place & 2 else value", "value = even if place & 1 else odd", "-m slow tests/cuda/test_sine.py"),
    Bug("cuda: pi / 2 to the digits of one float32", "kernels/cuda/sine.py", "F(-4.371138828673793e-08)", "F(0)", "-m slow tests/cuda/test_sine.py"),
    Bug("cuda: pi / 2 to the digits of one float64", "kernels/cuda/sine.py", "6.123233995736766e-17", "0.0", "-m slow tests/cuda/test_sine.py"),
    Bug("cuda: cos by one term less in float64", "kernels/cuda/sine.py", "p = cuda.fma(s, c7, c6)", "p = c6", "-m slow tests/cuda/test_sine.py"),
    Bug("cuda: no room asked for on the way down", "kernels/cuda/whole.py", "check_room(self.device, run.bytes_held + run.bytes_of_sums)", "pass", f"{TILE_BACKSOLVE}::test_a_batch_in_parts"),
    Bug("cuda: rows of a tile's weights that are left over left out", "kernels/cuda/tile_product.py", "if not even:", "if even:", "-m slow 'tests/cuda/test_tiles.py::test_gradients_are_the_storys[ragged widths]'"),
    Bug("cuda: a tile's costate goes the wrong way", "kernels/cuda/tile_backsolve.py", "-share * rate[j], g_z[j]", "-share * rate[j], -g_z[j]", f"{TILE_BACKSOLVE}::test_gradients_are_the_storys[sin]"),
    Bug("cuda: a tile's integrals without their stages' weights", "kernels/cuda/tile_sums.py", "term = weight * number", "term = number", f"{TILE_BACKSOLVE}::test_gradients_are_the_storys[sin]"),
    Bug("cuda: a step grows behind a rejected one", "kernels/cuda/controller.py", "if good and not grow else times", "if grow and not good else times", f"{TILE_OWN}::test_steps_are_the_storys"),
    Bug("cuda: a trajectory that waits steps on", "kernels/cuda/tile_own.py", "elif there and s < one and why == DONE:", "elif there:", f"{TILE_OWN}::test_steps_are_the_storys"),
    Bug("cuda: all of a square at the first one's t", "kernels/cuda/tile_product.py", "held[from_t + m] * weight", "held[from_t] * weight", f"{TILE_OWN}::test_steps_are_the_storys"),
    Bug("cuda: a tile's stages at the step's end", "kernels/cuda/tile_system.py", "t_new if node == one else t + node * h", "t_new", f"{TILE_OWN}::test_steps_are_the_storys"),
    Bug("cuda: a trajectory's step in another's integrals", "kernels/cuda/tile_backsolve.py", "h[n, at], n * s", "h[n, U(0)], n * s", f"{TILE_OWN}::test_integrals_on_the_grids_that_were_chosen"),
    Bug("cuda: shared memory counted without a number of each thread", "kernels/cuda/tile_shape.py", "self._chunk(rows, chunk) + self._threads(rows) + MOST_TABLEAU", "self._chunk(rows, chunk)", "-m slow tests/cuda/test_gates.py::test_what_fits_stays_below_the_limit"),
    Bug("cuda: threads that compile at once", "kernels/cuda/compile.py", "with COMPILING, card_of", "with card_of", "tests/cuda/test_compile.py::test_threads_compile_one_after_the_other"),
    Bug("cuda: PTX of the oldest architecture for all", "kernels/cuda/compile.py", "get_asm_strs(cc=architecture)", "get_asm_strs(cc=OLDEST)", "-m slow tests/cuda/test_compile.py"),
    Bug("cuda: PTX that is kept whatever becomes of its sources", "kernels/cuda/compile.py", "_sources() + repr((words, architecture)).encode()", "repr((words, architecture)).encode()", "tests/cuda/test_compile.py::test_kept_until_something_changes"),
    Bug("cuda: a stage missing from a tile's errors", "kernels/cuda/tile_backsolve.py", "- (S.butcher.fsal and not estimates)", "- S.butcher.fsal", f"{TILE_BACKSOLVE}::test_errors_of_the_integrals"),
    Bug("cuda: theta'(t) does not move a trajectory's own t", "kernels/cuda/gradient.py", "g_t += psi[m + m] * g_theta", "g_t += g_theta - g_theta", f"{DEPTHS}[spans]"),
    Bug("cuda: a lane's psi for a trajectory's", "kernels/cuda/gradient.py", "columns[at + column] if weighs", "columns[at + lane] if weighs", f"{DEPTHS}[spans]"),
    Bug("cuda: a coefficient's integral without its psi", "kernels/cuda/integrals.py", "columns[at + column] if weighs", "columns[at + column] / columns[at + column] if weighs", f"{DEPTHS}[spans]"),
    Bug("cuda: T moves theta(t) of a trajectory's own as t0 does", "kernels/cuda/backsolve.py", "ends[q] += b * psi[t0_at + q] * g_u", "ends[q] += b * psi[t0_at] * g_u", f"{DEPTHS}[spans]"),
    Bug("cuda: all rows of a square by the first one's psi", "kernels/cuda/tile_product.py", "w[m] = held[weights + m]", "w[m] = held[weights]", f"{DEPTHS}[tiles]"),
    Bug("cuda: still for the first coefficient", "kernels/cuda/tile_psi.py", "theta[c + U(1), q]", "theta[c, q]", f"{DEPTHS}[tiles]"),
    Bug("cuda: psi_1' for every psi' of a hidden layer", "kernels/cuda/tile_turn.py", "slopes_at + (c - one) * rows + r0", "slopes_at + r0", f"{DEPTHS}[tiles]"),
    Bug("cuda: a recurrence's slope with the wrong sign", "kernels/cuda/psi.py", "- c * rise_before, rise", "+ c * rise_before, rise", "-m '' tests/cuda/test_depths.py::test_psi_of_a_trajectory"),
)  # fmt: skip


def share(bugs: tuple[Bug, ...], of: int = SHARE) -> tuple[Bug, ...]:
    """The part of the bugs that the tests plant: one of so many, the first one chosen by the package's sources.

    All of them take an hour of two slow cores; so every change of the package has another part planted.
    """
    sources = hashlib.sha256()
    for path in sorted((ROOT / "refnode").rglob("*.py")):
        sources.update(path.read_bytes())
    return bugs[int.from_bytes(sources.digest()) % of :: of]


def copy_with(bug: Bug, folder: Path) -> None:
    """A copy of the repository's code in folder, with the bug planted."""
    for name in ("refnode", "tests", "docs", "examples", "validation", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*", "runs"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    path = folder / "refnode" / bug.file
    text = path.read_text("utf-8")
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: the text to replace occurs {text.count(bug.old)} times in {bug.file}, not once")
    path.write_text(text.replace(bug.old, bug.new), "utf-8")


def plant(bug: Bug) -> tuple[bool, str]:
    """Whether the tests catch the bug, and the last lines of what they said."""
    with tempfile.TemporaryDirectory() as folder:
        copy_with(bug, Path(folder))
        compiled = bug.file.startswith(("kernels/", "oracle/taylor/core/"))
        cache = {"REFNODE_CACHE_DIR": f"{folder}/cache"} if compiled else {}
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *shlex.split(bug.tests)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": folder, "HYPOTHESIS_PROFILE": "plant"} | cache,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    return run.returncode == CAUGHT, "\n".join(run.stdout.splitlines()[-6:] + run.stderr.splitlines()[-3:])


def main() -> int:
    """Plant all bugs, or those named, two at a time; 0 if every one is caught."""
    words, every = sys.argv[1:], BUGS + (CUDA_BUGS if find_spec("numba_cuda") else ())
    bugs = [bug for bug in every if not words or any(word in bug.name for word in words)]
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for bug, (caught, tail) in zip(bugs, pool.map(plant, bugs), strict=True):
            print("caught" if caught else "MISSED", bug.name, flush=True)
            if not caught:
                missed += 1
                print(tail, flush=True)
    print(f"{len(bugs) - missed} of {len(bugs)} bugs caught")
    return 1 if missed or not bugs else 0


if __name__ == "__main__":
    sys.exit(main())
