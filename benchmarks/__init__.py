"""How fast refnode is: one script a question, contestants in turn, verified before they are timed; see __main__."""

import os
import sys

if "numpy" not in sys.modules:  # OpenBLAS shall choose its kernels for this machine, before numpy loads it
    os.environ.pop("OPENBLAS_CORETYPE", None)
