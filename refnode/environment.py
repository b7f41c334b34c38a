"""What a number measured here depends on: versions, processor, threads, linear algebra, backends."""

import os
import platform
from importlib import metadata
from importlib.util import find_spec

import numpy as np

from refnode.backend import Backend
from refnode.errors import BackendUnavailable

PACKAGES = ("numpy", "scipy", "numba", "matplotlib", "python-flint")
BACKENDS: tuple[Backend, ...] = ("numpy", "cpu", "cuda")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_CORETYPE")


def environment_facts() -> dict[str, str]:
    """Facts by name, in words. No package is imported for its version."""
    from refnode import __version__

    return {
        "refnode": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": _cores(),
        "threads": ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ) or "no limit set",
        "BLAS": _blas(),
        "numba cache": os.environ.get("NUMBA_CACHE_DIR", "NUMBA_CACHE_DIR not set"),
        "backends": ", ".join(name for name in BACKENDS if _runs(name)),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name: Linux knows it best."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> str:
    """How many there are, and how many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    usable = len(affinity(0)) if affinity else os.cpu_count()
    return f"{os.cpu_count()}, {usable} usable"


def _blas() -> str:
    config = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _runs(backend: Backend) -> bool:
    """Whether a backend can run at all: "cpu" needs numba, "cuda" its compiler, a driver and a card."""
    if backend != "cuda":
        return backend == "numpy" or find_spec("numba") is not None
    if find_spec("numba_cuda") is None:
        return False
    from refnode.kernels.cuda.card import the_card

    try:
        return bool(the_card().name)
    except BackendUnavailable:
        return False
