"""How fast refnode is: one script a question, contestants in turn, verified before they are timed; see __main__."""

import os

os.environ.pop("OPENBLAS_CORETYPE", None)  # OpenBLAS shall choose its kernels for this machine, before numpy loads it
