"""Planted bugs are caught: the tests can fail, each for the reason it is there."""

import pytest

from tests.plant_bugs import BUGS, CUDA_BUGS, ROOT, SHARE, plant, share


def test_the_list_is_in_step_with_the_code():
    """At least 40 bugs, no name twice, and every text to replace occurs exactly once in its file."""
    every = BUGS + CUDA_BUGS
    assert len(BUGS) >= 40
    assert len({bug.name for bug in every}) == len(every)
    assert [bug.name for bug in every if (ROOT / "refnode" / bug.file).read_text("utf-8").count(bug.old) != 1] == []


def test_every_bug_has_its_turn():
    """Parts by different first bugs are all bugs, none twice; the part that is planted now is one of them."""
    parts = [BUGS[first::SHARE] for first in range(SHARE)]
    assert sorted(bug.name for part in parts for bug in part) == sorted(bug.name for bug in BUGS)
    assert share(BUGS) in parts


@pytest.mark.slow
@pytest.mark.parametrize("bug", share(BUGS), ids=lambda bug: bug.name.replace(" ", "_"))
def test_the_bug_is_caught(bug):
    """With this bug planted in a copy of the package, the tests named beside it fail."""
    caught, tail = plant(bug)
    assert caught, tail
