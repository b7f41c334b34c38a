"""Bugs planted in the kernels and in what launches them are caught; all others are in tests/test_plant_bugs.py."""

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from tests.plant_bugs import CUDA_BUGS, SHARE, plant, share


@pytest.mark.slow
@pytest.mark.parametrize("bug", share(CUDA_BUGS, 2 * SHARE), ids=lambda bug: bug.name.replace(" ", "_"))
def test_the_bug_is_caught(bug):
    """With this bug planted in a copy of the package, the tests named beside it fail."""
    caught, tail = plant(bug)
    assert caught, tail
