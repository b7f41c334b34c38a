"""Kernels for a CUDA card, a thread for each trajectory.

    shape.py       what a kernel is compiled for: widths, activation, tableau, precision
    layout.py      a problem's parameters as the kernels read them, and gradients back
    field.py       f and its vjp for one trajectory, neuron by neuron
    forward.py     steps on a given grid
    own.py         steps of each trajectory's own
    gradient.py    the discrete adjoint, with weight gradients summed in one fixed order
    compile.py     PTX from numba-cuda, with or without a card: the one file that knows it

No card is needed to compile them; tests run the PTX on a CPU (validation/ptx).
"""
