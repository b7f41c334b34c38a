"""Hypothesis profiles, and one printed seed from which every random number of a run comes."""

import os
import secrets
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

os.environ.setdefault("REFNODE_BACKEND", "numpy")  # tests ask for kernels by name; the story is what "auto" means here

settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile(
    "ci", deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(                          # of a planted bug it is enough to know that it is seen
    "plant", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)                     # before hypothesis reads the option; xdist hands it to its workers
def pytest_configure(config):
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = secrets.randbelow(2**32) if PROFILE == "dev" else 0


def pytest_report_header(config):
    return f"hypothesis profile {PROFILE}; repeat this run with --hypothesis-seed={config.option.hypothesis_seed}"


@pytest.fixture
def rng(request):
    """A Generator of the test's own: the same whatever else runs, and in whatever order."""
    seed = f"{request.config.option.hypothesis_seed} {request.node.nodeid}"
    return np.random.default_rng(zlib.crc32(seed.encode()))
