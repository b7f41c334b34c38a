"""The fast mirror of the story: the dynamics, steps and adjoints compiled with Numba for a CPU."""
