"""The page and the picture of races: a table each, and how many times refnode's time the others take."""

from typing import Any

from benchmarks.harness import Race, from_data, ratio, table
from benchmarks.of_refnode import MINE
from benchmarks.script import RESULTS, Data, load

OTHERS = ("torch", "jax", "diffrax")  # what other libraries' names begin with
SECOND = RESULTS / "xeon"  # the first questions again, on another machine
REST = "#0072B2"  # of Okabe and Ito's palette, told apart from black by colour-blind readers


def mine_of(race: Race) -> str:
    """The contestant that the others are measured by: refnode's kernels, with the method that stands first."""
    return next(timing.name for timing in race.timings if timing.name.startswith(MINE))


def races_of(data: Data) -> list[Race]:
    """The races of a result."""
    return [from_data(race) for race in data["races"]]


def bounds() -> dict[str, float]:
    """Title -> seconds of the products and activations alone, on all threads."""
    return {one["title"]: one["bound"] for one in list(load("a3_bound")["threads"].values())[-1]}


def page(data: Data) -> str:
    """A table for each race."""
    return "\n".join(table(race, mine_of(race)) for race in races_of(data))


def draw(data: Data, figure: Any) -> None:
    """A panel for each race: times refnode's time, on a logarithmic axis, with the spread of the rounds."""
    races = races_of(data)
    columns = 2
    rows = -(-len(races) // columns)
    figure.set_size_inches(12, 0.4 + 2.1 * rows)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for panel, race in zip(panels.flat, races, strict=False):
        bars(panel, race)
    for panel in panels.flat[len(races) :]:
        panel.set_visible(False)
    figure.supxlabel("times the time of refnode's kernels, with the spread of the rounds", fontsize=9)


def bars(panel: Any, race: Race) -> None:
    """One race: a bar for each contestant, the fastest on top."""
    mine = race.of(mine_of(race))
    timings = sorted(race.timings, key=lambda timing: -timing.median)
    for at, timing in enumerate(timings):
        middle, low, high = ratio(timing, mine)
        own = timing.name.startswith("refnode")
        panel.barh(at, middle, color="black" if own else REST, xerr=[[middle - low], [high - middle]], ecolor="grey")
        panel.text(high * 1.08, at, f"{middle:.2f}", va="center", fontsize=7)
    panel.set_yticks(range(len(timings)), [timing.name for timing in timings], fontsize=7)
    panel.set_xscale("log")
    panel.set_title(f"{race.title}: {1e3 * mine.median:.3g} ms", fontsize=8)
    panel.axvline(1.0, color="grey", linewidth=0.6)
    panel.margins(x=0.15)
    panel.tick_params(axis="x", labelsize=7)
