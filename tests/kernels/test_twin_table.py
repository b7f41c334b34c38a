"""Which kernel mirrors which function of the story: one table, with every compiled function in it or among parts."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode import steps
from refnode.kernels.adjoint import idle
from refnode.kernels.advance import step_factor
from refnode.kernels.pack import packed
from tests.kernels.test_twins import network_problem

PACKAGE = Path(__file__).resolve().parent.parent.parent / "refnode"

TWINS = {  # kernels/: the story
    "cpu.py discrete_adjoint": "gradients/discrete_adjoint.py discrete_adjoint",
    "solve.py solve": "forward.py solve_forward",
    "first.py first_step": "steps.py first_step",
    "continuous.py backsolve_adjoint": "gradients/backsolve_adjoint.py backsolve_adjoint",
    "continuous.py interpolating_adjoint": "gradients/interpolating_adjoint.py interpolating_adjoint",
    "quadrature.py quadrature_adjoint": "gradients/quadrature_adjoint.py quadrature_adjoint",
    "costate.py CostatePass": "gradients/continuous.py BackwardPass",
    "systems.py costate_rate": "gradients/continuous.py BackwardPass",
    "backwards.py back": "gradients/continuous.py BackwardPass",
    "backwards.py largest_on_tape": "gradients/continuous.py BackwardPass",
    "backwards.py largest_again": "gradients/continuous.py BackwardPass",
    "integrals.py group_task": "gradients/continuous.py BackwardPass",
    "integrals.py tile_task": "gradients/continuous.py integrals",
    "integrals.py block_task": "gradients/continuous.py BackwardPass",
    "integrals.py add_ends": "depth.py coordinate_vjp",
    "dense.py dense_state": "dense.py DenseSegment",
    "dense.py dense_weight": "tableau.py Tableau",
    "extra.py extra_stages": "dense.py with_extra_stages",
    "panels.py panel": "gradients/quadrature_adjoint.py Panel",
    "forward.py solve_forward": "forward.py solve_forward",
    "sensitivity.py forward_discrete": "gradients/forward_sensitivity.py forward_discrete",
    "sensitivity.py forward_continuous": "gradients/forward_sensitivity.py forward_continuous",
    "tangents.py mlp_jvp": "field.py MLP",
    "tangents.py rate_jvp": "dynamics.py Dynamics",
    "tangents.py running_jvp": "running.py Kinetic",
    "tangents.py theta_slope": "depth.py Galerkin",
    "tangents.py rates_jvp": "dynamics.py Dynamics",
    "own_solve.py solve_own": "forward.py solve_forward",
    "own.py pool_steps": "integrate.py adaptive_steps",
    "own.py own_rates": "dynamics.py Dynamics",
    "first.py own_first_steps": "steps.py first_step",
    "own_sweep.py pool_back": "gradients/discrete_adjoint.py ReverseSweep",
    "proposed.py proposed_steps": "integrate.py adaptive_steps",
    "through.py through": "gradients/discrete_adjoint.py discrete_adjoint",
    "through.py terminal_vjp": "objective.py point_loss_vjp",
    "given.py given_steps": "integrate.py prescribed_steps",
    "advance.py advance": "integrate.py adaptive_steps",
    "shared_steps.py batch_error": "steps.py ErrorNorm",
    "shared_steps.py rates": "dynamics.py Dynamics",
    "advance.py step_factor": "steps.py step_factor",
    "steps.py runge_kutta": "steps.py rk_step",
    "steps.py set_times": "steps.py stage_time",
    "sweep.py sweep": "gradients/discrete_adjoint.py ReverseSweep",
    "adjoint.py step_back": "steps.py rk_step_vjp",
    "adjoint.py coordinate_vjp": "depth.py coordinate_vjp",
    "sweep.py hand_coordinate": "depth.py coordinate_vjp",
    "rates.py rate": "dynamics.py Dynamics",
    "rates.py rate_vjp": "dynamics.py Dynamics",
    "rates.py running_loss": "running.py Kinetic",
    "rates.py running_vjp": "running.py Kinetic",
    "evaluations.py batch_forward": "dynamics.py Dynamics",
    "evaluations.py batch_vjp": "dynamics.py Dynamics",
    "mlp.py mlp_forward": "field.py MLP",
    "mlp.py mlp_vjp": "field.py MLP",
    "mlp.py mlp_weights_vjp": "field.py MLP",
    "theta.py coordinate": "depth.py coordinate",
    "theta.py theta_at": "depth.py Galerkin",
    "theta.py weighted": "depth.py Galerkin",
    "theta.py theta_vjp": "depth.py Galerkin",
    "theta.py u_vjp": "depth.py Galerkin",
    "theta.py basis_at": "bases.py Basis",
    "theta.py polynomials": "bases.py Legendre",
    "products.py add_products": "layers.py linear",
    "activations.py apply_64": "layers.py ACTIVATIONS",
    "activations.py apply_32": "layers.py ACTIVATIONS",
    "activations.py times_slope": "layers.py ACTIVATIONS",
}

PARTS = {  # of twins, compared through them
    "activations.py": {"soft_slope_64", "soft_slope_32"},
    "adjoint.py": {"evaluate_vjp", "stage_cotangent", "stage_time_vjp"},
    "advance.py": {"after_step", "extent", "judge"},
    "backwards.py": {"largest_at"},
    "dense.py": {"fraction_of", "step_at"},
    "first.py": {
        "squares", "scaled_norm", "euler_fraction", "euler_step", "hairers_fraction", "pool_first_steps",
    },
    "evaluations.py": {"place", "tile_forward", "tile_vjp"},
    "extra.py": {"tile_extra"},
    "given.py": {"tile_steps", "finite_steps"},
    "integrals.py": {"add_tiles", "block_or_tile", "gather", "of_own_theta", "of_theta"},
    "own.py": {"seat", "copy_row", "attempt", "standing", "own_steps", "pool_rates", "own_fractions"},
    "leaves.py": {"spread_leaves", "gather_leaves"},
    "own_sweep.py": {"own_back"},
    "mlp.py": {
        "slot_size", "cotangent_size", "transpose_weights", "layer", "time_vjp", "add_weights",
    },
    "panels.py": {"tile_nodes"},
    "proposed.py": {"tile_proposal"},
    "rates.py": {"squared_norm", "parameter_norm_vjp"},
    "shared_steps.py": {
        "larger", "make_copy", "set_psi", "set_theta", "tile_rates", "tile_step", "turn_over", "turn_tile",
    },
    "steps.py": {"set_lengths", "set_step", "share_step", "combine", "error_rows", "error_of", "set_errors"},
    "sweep.py": {"tile_back", "steps_back", "gather", "gather_block", "gather_tiles", "keep_psi", "make_copy_back"},
    "systems.py": {"evaluate", "keep_theta", "record_size", "record_of", "share_out", "share_theta"},
    "tangents.py": {"along_theta", "add_entry", "rows_jvp", "block_jvp"},
    "through.py": {"tiles_through"},
    "fill.py": {"zero", "copy", "copy_columns", "add_columns"},
    "threads.py": {"shared"},
    "user.py": {"user_forward", "user_state_vjp", "user_vjp", "user_weights"},
}  # fmt: skip


def names(path):
    """Names at module level of a file: functions, classes and tables."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def kernels():
    """"file name" of every function with the decorator @kernel."""
    for path in sorted((PACKAGE / "kernels").glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any("kernel" in ast.unparse(d) for d in node.decorator_list):
                yield f"{path.name} {node.name}"


def test_every_kernel_is_listed():
    """Each compiled function is a twin or a part of one, and is listed once."""
    parts = {f"{file} {name}" for file, found in PARTS.items() for name in found}
    assert not parts & TWINS.keys()
    assert set(kernels()) - TWINS.keys() == parts


@pytest.mark.parametrize(("kernel", "story"), TWINS.items())
def test_twins_are_there(kernel, story):
    """Both sides of the table exist."""
    for folder, place in ((PACKAGE / "kernels", kernel), (PACKAGE, story)):
        file, name = place.split()
        assert name in set(names(folder / file))


@given(
    st.floats(0, 1e12) | st.sampled_from([np.inf, np.nan, 1.0]), st.floats(0, 1.0), st.sampled_from(["I", "PI"]),
    st.sampled_from(["bosh3", "dopri5", "dop853"]),
)  # fmt: skip
def test_step_factor(err, before, kind, method):
    """The controller's factor is the story's but for the rounding of two powers, of 4 units each."""
    solver = rn.Solver(method, tol=1e-3, controller=rn.Controller(kind=kind))
    problem = network_problem(2)
    control = packed(problem, problem.resolved, solver, np.float64).control
    tableau = solver.tableau
    want = steps.step_factor(solver.controller, np.array(err), np.array(before), tableau.order_err or tableau.order - 1)
    assert step_factor(control, err, before) == pytest.approx(float(want), rel=10 * np.finfo(float).eps)


@pytest.mark.parametrize("method", rn.TABLEAUX)
def test_idle_stages(method):
    """The stages that the sweep skips are those that neither b nor a later stage uses: the FSAL stage, if any."""
    tableau = rn.TABLEAUX[method]
    problem = network_problem(2)
    B = packed(problem, problem.resolved, rn.Solver(method, n_steps=1), np.float64).B
    want = [tableau.b[i] == 0 and not tableau.a[i + 1 :, i].any() for i in range(tableau.stages)]
    assert [bool(idle(B, i)) for i in range(tableau.stages)] == want
    assert sum(want) == tableau.fsal
