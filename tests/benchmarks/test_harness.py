"""The harness verifies before it times, times in turn, and computes medians, ratios and spreads right."""

import json
from itertools import count

import pytest

from benchmarks import harness
from benchmarks.harness import Race, Timing, WrongAnswer, best_other, race, ratio


class Clock:
    """A clock that only contestants move."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def contestant(self, name, *seconds):
        """A call that takes seconds[0], seconds[1] and so on, and then the last of them each time."""
        calls = count()

        def call():
            self.log.append(name)
            self.now += seconds[min(next(calls), len(seconds) - 1)]
            return name

        return call


@pytest.fixture
def clock(monkeypatch):
    mine = Clock()
    monkeypatch.setattr(harness.time, "perf_counter", lambda: mine.now)
    monkeypatch.setattr(harness, "PAUSE", 0.0)
    return mine


@pytest.mark.parametrize("error", [1e-3, float("nan"), float("inf")])
def test_a_wrong_answer_stops_the_race(clock, error):
    """Who is off by more than is allowed, or by no number, is named; nobody has been called a second time."""
    calls = {name: clock.contestant(name, 1.0) for name in ("good", "bad")}
    with pytest.raises(WrongAnswer, match=r"title: bad is off by .*; allowed are 1e-04"):
        race("title", calls, lambda answer: error if answer == "bad" else 0.0, 1e-4)
    assert clock.log == ["good", "bad"]


def test_an_error_at_the_limit_is_allowed(clock):
    """And it stands in the timing."""
    done = race("title", {"a": clock.contestant("a", 1.0)}, lambda _: 1e-4, 1e-4, rounds=1)
    assert done.of("a").error == 1e-4


def test_first_call_apart(clock):
    """The first call, which compiles, is in no round and in no median."""
    done = race("title", {"a": clock.contestant("a", 100.0, 1.0)}, lambda _: 0.0, 0.0, rounds=3, seconds=0.0)
    assert done.of("a").first == 100.0
    assert done.of("a").rounds == [1.0, 1.0, 1.0]


def test_rounds_alternate(clock):
    """After a verifying and a counting call of each come rounds of one after the other."""
    race("title", {name: clock.contestant(name, 1.0) for name in "ab"}, lambda _: 0.0, 0.0, rounds=3, seconds=0.0)
    assert "".join(clock.log) == "ab" + "ab" + "ababab"


def test_short_calls_are_repeated(clock):
    """A call of 10 ms is repeated ten times for a round of 0.1 s, and a round is divided by that."""
    done = race("title", {"a": clock.contestant("a", 0.01)}, lambda _: 0.0, 0.0, rounds=2, seconds=0.1)
    assert len(clock.log) == 2 + 2 * 10
    assert done.of("a").rounds == pytest.approx([0.01, 0.01])


def test_median(clock):
    """Of the rounds 5, 1, 2 it is 2."""
    done = race("title", {"a": clock.contestant("a", 9.0, 1.0, 5.0, 1.0, 2.0)}, lambda _: 0.0, 0.0, 3, 0.0)
    assert (done.of("a").rounds, done.of("a").median) == ([5.0, 1.0, 2.0], 2.0)


def timing(name, *rounds):
    return Timing(name, 1.0, sorted(rounds)[len(rounds) // 2], list(rounds), 0.0)


def test_ratio_round_by_round():
    """2, 4 and 6 against 1, 1 and 2 are 2, 4 and 3 times: 3 in the middle, from 2 to 4."""
    assert ratio(timing("slow", 2.0, 4.0, 6.0), timing("fast", 1.0, 1.0, 2.0)) == (3.0, 2.0, 4.0)


def test_best_other():
    """The fastest whose name begins as asked, whoever else is faster."""
    contestants = [timing(name, t) for name, t in (("refnode kernels", 1.0), ("jax", 3.0), ("torch", 2.0), ("x", 1.5))]
    assert best_other(Race("title", 0.0, contestants), "refnode kernels", ("torch", "jax")).name == "torch"


def test_files_keep_everything():
    """A race comes back from JSON as it was."""
    before = Race("title", 1e-4, [timing("a", 1.0, 2.0, 4.0), timing("b", 0.1, 0.2, 0.3)])
    assert harness.from_data(json.loads(json.dumps(harness.as_data(before)))) == before


def test_table():
    """A row for each contestant: milliseconds, ratio, spread."""
    done = Race("title", 1e-4, [timing("mine", 1.0, 1.0, 2.0), timing("other", 2.0, 4.0, 6.0)])
    rows = harness.table(done, "mine").splitlines()
    assert rows[-2:] == [
        "| mine | 1000.000 | 1.00 |  | 1.00 | 0.0e+00 |", "| other | 4000.000 | 3.00 | 2.00 .. 4.00 | 1.00 | 0.0e+00 |",
    ]  # fmt: skip
