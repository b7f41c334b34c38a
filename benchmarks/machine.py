"""What the numbers depend on: processor, threads, versions."""

import os
import platform
from importlib import metadata
from pathlib import Path

VERSIONS = (
    "refnode", "numpy", "scipy", "numba", "llvmlite", "torch", "torchdiffeq", "torchode", "torchdyn", "jax", "jaxlib",
    "diffrax",
)  # fmt: skip


def cores() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def processor() -> str:
    """Its name: Linux knows it best."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """Facts by name, in words."""
    from refnode.kernels.vectors import vector_bytes

    facts = {
        "processor": f"{processor()}, {cores()} cores",
        "vectors": f"{vector_bytes()} bytes",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in VERSIONS:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts
