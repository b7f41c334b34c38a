"""Every planted bug is caught: the tests can fail, each for the reason it is there."""

import pytest

from tests.plant_bugs import BUGS, CUDA_BUGS, ROOT, plant


def test_the_list_is_in_step_with_the_code():
    """At least 40 bugs, no name twice, and every text to replace occurs exactly once in its file."""
    every = BUGS + CUDA_BUGS
    assert len(BUGS) >= 40
    assert len({bug.name for bug in every}) == len(every)
    assert [bug.name for bug in every if (ROOT / "refnode" / bug.file).read_text("utf-8").count(bug.old) != 1] == []


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "_"))
def test_the_bug_is_caught(bug):
    """With this bug planted in a copy of the package, the tests named beside it fail."""
    caught, tail = plant(bug)
    assert caught, tail
