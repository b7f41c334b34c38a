"""C1: what more threads bring to a gradient.

    python -m benchmarks.c1_threads [--short]

Tasks A to D of benchmarks/tasks.py, as in A1, and A with 4,096 samples in float64. Contestants race in one process for
each number of threads, which is held to as many cores. A single sample is no work for two threads, in refnode.
"""

import sys
from typing import Any

from benchmarks import of_jax, of_refnode, of_torch, tasks
from benchmarks.children import ask
from benchmarks.harness import as_data, race, ratio
from benchmarks.machine import cores
from benchmarks.of_refnode import MINE
from benchmarks.races import races_of
from benchmarks.script import Data, main
from benchmarks.tasks import Task
from refnode.figures import COLOURS

MARKS = "osD^vPX*"
LARGE = Task("A, larger", 4096, tasks.STEP, "float64")


def measure(short: bool) -> Data:
    """The races of every number of threads: 1, 2, 4 .. and all cores."""
    counts = [1] if short else sorted({2**k for k in range(cores().bit_length()) if 2**k <= cores()} | {cores()})
    return {"threads": counts, "of": [ask("c1_threads:on", threads=n, short=short) for n in counts]}


def on(short: bool) -> Data:
    """The races in this process."""
    races = []
    for task in tasks.SHORT[:1] if short else (*tasks.A, *tasks.B, *tasks.C, tasks.D[1], LARGE):
        calls = {MINE: of_refnode.gradient(task)[MINE]}
        if not short:
            calls |= of_torch.gradient(task) | of_jax.gradient(task)
        words = {"rounds": 2, "seconds": 0.0} if short else {"rounds": 5, "seconds": 0.1}
        races.append(race(task.title, calls, tasks.gradient_error(task), task.within, **words))
    return {"races": [as_data(one) for one in races]}


def page(data: Data) -> str:
    """Milliseconds for each number of threads, and how many times faster the most are than one."""
    counts, lines = data["threads"], []
    by_count = [races_of(one) for one in data["of"]]
    for races in zip(*by_count, strict=True):
        heads = [f"{n} thread{'s' * (n > 1)}, ms" for n in counts]
        lines += [f"### {races[0].title}", "", f"| | {' | '.join(heads)} | times faster |"]
        lines.append("|---" * (len(counts) + 2) + "|")
        for name in [timing.name for timing in races[0].timings]:
            cells = [f"{1e3 * one.of(name).median:.2f}" for one in races]
            faster = ratio(races[0].of(name), races[-1].of(name))[0]
            lines.append(f"| {name} | {' | '.join(cells)} | {faster:.2f} |")
        lines.append("")
    return "\n".join(lines)


def draw(data: Data, figure: Any) -> None:
    """Times faster than one thread."""
    by_count = [races_of(one) for one in data["of"]]
    columns = min(4, len(by_count[0]))
    rows = -(-len(by_count[0]) // columns)
    figure.set_size_inches(3.4 * columns, 3.4 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    names = list(dict.fromkeys(timing.name for races in by_count for race in races for timing in race.timings))
    for panel, races in zip(panels, zip(*by_count, strict=True), strict=False):
        for name in [timing.name for timing in races[0].timings]:
            faster = [ratio(races[0].of(name), one.of(name))[0] for one in races]
            mark, line = MARKS[names.index(name) % len(MARKS)], "-" if name == MINE else "--"
            colour = COLOURS[names.index(name) % len(COLOURS)]
            panel.plot(data["threads"], faster, marker=mark, label=name, linestyle=line, color=colour)
        panel.plot(data["threads"], data["threads"], color="grey", linewidth=0.6)
        panel.set_title(races[0].title.replace(", ", ",\n", 1), fontsize=8)
        panel.set_xlabel("threads")
        panel.set_xticks(data["threads"])
    panels[0].set_ylabel("times faster than one thread")
    shown = {text: line for panel in panels for line, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4, fontsize=8)


if __name__ == "__main__":
    sys.exit(main("c1_threads", __doc__, measure, page, draw))
