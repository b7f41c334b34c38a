"""Kernels for a CUDA card.

    shape.py        what a kernel is compiled for: widths, activation, tableau, precision
    compile.py      PTX from numba-cuda, with or without a card: the one file that knows how
    layout.py       parameters as the kernels read them, and gradients back
    tanh.py, sine.py    tanh and sin in float32
    field.py        f and its vjp for one trajectory, neuron by neuron;  psi.py   psi(u) of its own
    steps.py        a Runge-Kutta step of one trajectory
    forward.py      steps on a given grid
    own.py          steps of each trajectory's own;  controller.py   what a step was worth, and how long the next one is
    shared.py       one step that trajectories share
    gradient.py     the discrete adjoint, with weight gradients summed in one fixed order
    costate.py      the slope of state and costate;  backsolve.py, integrals.py, largest.py    their way down

    tile_shape.py, tile.py    steps on a given grid for wide networks, a block for a tile of trajectories
    tile_product.py, tile_inputs.py, tile_psi.py, tile_turn.py    what layers of a tile are made of
    tile_own.py     theirs of each trajectory's own;  tile_system.py   slopes of what they step, y or state and costate
    tile_shared.py  one step that trajectories share
    tile_gradient.py, tile_vjp.py, tile_sums.py    the discrete adjoint
    tile_costate.py, tile_backsolve.py, tile_largest.py    the way down of state and costate

    problem.py, run.py, parts.py        a part of a batch, whoever launches
    solve.py, own_solve.py, shared_solve.py, costate_solve.py, tile_solve.py, tile_costate_solve.py    by design
    whole.py, backward.py, adjoint.py, continuous.py    whole problems, part by part
    device.py, card.py, driver.py        who launches
    card_array.py, dlpack.py, rows.py    arrays of other libraries on a card, and copies to the kernels' columns

No card is needed to compile them; tests run the PTX on a CPU (validation/ptx).
"""
