"""What the kernels are to reach, and what they reach: the table in docs/speed.md."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import a2_training, a3_bound, b1_round_off, tasks
from benchmarks.harness import Race, Timing, best_other, ratio
from benchmarks.of_refnode import MINE
from benchmarks.races import OTHERS, SECOND, bounds, mine_of, races_of
from benchmarks.script import RESULTS, load

DIFFRAX, TORCHDIFFEQ = ("diffrax",), ("torchdiffeq",)
CONTINUOUS = [task.title.replace("A:", "A, continuous adjoints:") for task in tasks.A]
FASTER = [  # script, race, other libraries, how many times as long the fastest of them is to take
    ("a1_gradient", tasks.A[0].title, OTHERS, 8), ("a1_gradient", tasks.A[1].title, OTHERS, 5),
    ("a1_gradient", tasks.B[0].title, OTHERS, 5), ("a1_gradient", tasks.B[1].title, OTHERS, 5),
    ("a1_gradient", tasks.C[0].title, DIFFRAX, 8), ("a1_gradient", tasks.C[0].title, TORCHDIFFEQ, 100),
    ("a1_gradient", tasks.C[1].title, DIFFRAX, 8), ("a1_gradient", tasks.C[1].title, TORCHDIFFEQ, 100),
    ("a0_forward", tasks.D[0].title, OTHERS, 6), ("a0_forward", tasks.D[1].title, OTHERS, 4),
    ("a1_gradient", CONTINUOUS[0], DIFFRAX, 3), ("a1_gradient", CONTINUOUS[1], DIFFRAX, 3),
]  # fmt: skip
SHARES = [*((task, 0.75) for task in tasks.A), *((task, 0.9) for task in tasks.B)]  # of the bound, on one thread
TRAINING = 5
DEPTH = 1.25  # times a gradient with one theta, at most


def table() -> str:
    """A row for each aim, on both machines."""
    columns = "aim", "reached", "at most", "with one thread", "on the second machine", "error"
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + len(columns) * "---|"]
    return "\n".join([*lines, *faster(), *training(), *shares(), *depth()]) + "\n"


def faster() -> Iterator[str]:
    """How many times as long other libraries take, and as the bound would let them."""
    of_bounds, on_one = bounds(), races_of(load("c1_threads")["of"][0])
    for script, title, rivals, aim in FASTER:
        what = "forward" if script == "a0_forward" else "gradient"
        races, elsewhere = (races_of(load(script, folder)) for folder in (RESULTS, SECOND))
        alone = on_one if script == "a1_gradient" else []
        least, (mine, rival) = of_bounds.get(f"{what}, {title}"), fastest(races, title, rivals)
        most, error = (f"{rival.median / least:.1f}" if least else ""), errors(title, mine, rival)
        reached, one, there = (times(found, title, rivals) for found in (races, alone, elsewhere))
        against = "the fastest other" if rivals == OTHERS else rivals[0]
        cells = aim, reached, most, one, there, error
        yield f"| {what}, {title}: {against}, times refnode | " + " | ".join(map(str, cells)) + " |"


def errors(title: str, mine: Timing, rival: Timing) -> str:
    """refnode's error over the other's: of the race, or where there are many draws in their geometric mean."""
    draws = {found["title"]: found["errors"] for found in load("b1_round_off")["of"]}
    if title not in draws:
        return f"{mine.error / rival.error:.2f}"
    mean, factor = b1_round_off.compared(draws[title][MINE], draws[title][rival.name])
    return f"{mean:.2f} +- {mean * (factor - 1):.2f}"


def times(races: Sequence[Race], title: str, rivals: tuple[str, ...]) -> str:
    """How many times as long the fastest rival takes in a race, if it was held."""
    if not any(race.title == title for race in races):
        return ""
    mine, rival = fastest(races, title, rivals)
    return f"{ratio(rival, mine)[0]:.1f}"


def fastest(races: Sequence[Race], title: str, rivals: tuple[str, ...]) -> tuple[Timing, Timing]:
    """refnode in a race, and the fastest of its rivals."""
    (one,) = [race for race in races if race.title == title]
    mine = one.of(mine_of(one))
    return mine, best_other(one, mine.name, rivals)


def training() -> Iterator[str]:
    """How many times as long the fastest other library takes for a step of training, and as the bound would let it."""
    here, there = (load("a2_training", folder)["dtypes"] for folder in (RESULTS, SECOND))
    for dtype, found in here.items():
        (mine, rival), other = fastest_learners(found), fastest_learners(there[dtype])
        most = statistics.median(found["rounds"][rival]) / found["bound"][mine]
        reached, elsewhere = (
            a2_training.ratios(one["rounds"][slow], one["rounds"][fast])[0]
            for one, (fast, slow) in ((found, (mine, rival)), (there[dtype], other))
        )
        cells = f"{TRAINING} | {reached:.1f} | {most:.1f} | | {elsewhere:.1f} |"
        yield f"| a training step on the annuli, {dtype}: the fastest other, times refnode | {cells} |"


def fastest_learners(found: Any) -> tuple[str, str]:
    """refnode's fastest contestant of A2, and the fastest of the others."""
    mine, rival = (a2_training.fastest(found["rounds"], *names) for names in (("refnode",), OTHERS))
    return mine, rival


def shares() -> Iterator[str]:
    """The share that products and activations have in a gradient's time on one thread."""
    found = {one["title"]: a3_bound.share(one) for one in load("a3_bound")["threads"]["1"]}
    for task, aim in SHARES:
        title = f"gradient, {task.title}"
        share = f"{found[title]:.0%}"
        yield f"| {title}: products and activations, of the time on one thread | {aim:.0%} | {share} | | | | |"


def depth() -> Iterator[str]:
    """What nine coefficients of theta(t) cost."""
    data = load("a5_depth")
    for one, alone in zip(races_of(data), races_of({"races": data["alone"]}), strict=True):
        for timing in one.timings:
            what = timing.name.partition(", ")[2]
            if what.startswith("Galerkin"):
                cost, on_one = (f"{ratio(of.of(timing.name), of.of(mine_of(of)))[0]:.2f}" for of in (one, alone))
                cells = f"at most {DEPTH}", cost, "", on_one, "", ""
                yield f"| gradient, {one.title}: {what}, times one theta | " + " | ".join(cells) + " |"
