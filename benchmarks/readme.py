"""The numbers in the README and in docs/, from the committed results: python -m benchmarks.readme [--write]

Prints what belongs between the two marks of each page, or puts it there. A test holds the pages to it.
"""

import statistics
import sys
from pathlib import Path

from benchmarks import a2_training, aims, f1_activations
from benchmarks.__main__ import SCRIPTS
from benchmarks.d0_memory import BATCH
from benchmarks.f0_micro_kernels import MINE as PRODUCT, rows
from benchmarks.harness import Race, best_other, ratio
from benchmarks.races import OTHERS, SECOND, bounds, mine_of, races_of
from benchmarks.script import RESULTS, load, write

ROOT = Path(__file__).resolve().parent.parent
PLAIN = "refnode, discrete"  # whose steps are not handed on
BEGIN, END = "<!-- benchmarks.readme -->\n", "<!-- end of benchmarks.readme -->\n"


def section() -> str:
    """What the README says of all questions; nothing while there are no results."""
    if not saved():
        return ""
    facts, second = (load("a1_gradient", folder)["machine"] for folder in (RESULTS, SECOND))
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "torchdiffeq", "torchode", "jax", "diffrax"))
    lines = [
        f"On {facts['processor']} ({versions}), medians of rounds taken in turn; every answer is verified before it is",
        "timed. A ratio is the fastest other library's time over refnode's, with its spread over the rounds. `at most`",
        "is that library's time over what the products and activations alone cost at this machine's measured rates: no",
        "code that computes the same numbers is faster ([page](benchmarks/results/a3_bound.md), [where the time",
        f"goes](benchmarks/results/a4_profile.md)). The last column is the ratio on {second['processor']}",
        f"([gradients](benchmarks/results/{SECOND.name}/a1_gradient.md)). What we aim at, and what keeps us from it:",
        "[docs/speed.md](docs/speed.md).", "",
        "| | refnode, ms | fastest other | its ms | ratio | spread | at most | there |", "|---|" + 7 * "---|",
        *table("forward", "a0_forward"), *table("gradient", "a1_gradient"),
        "", *remarks(),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def table(what: str, name: str) -> list[str]:
    """A row for each race of a script."""
    elsewhere = {race.title: race for race in races_of(load(name, SECOND))}
    return [row(what, race, elsewhere[race.title]) for race in races_of(load(name))]


def row(what: str, race: Race, elsewhere: Race) -> str:
    """One race against the fastest of the other libraries, and its ratio on the second machine."""
    mine = race.of(mine_of(race))
    rival = best_other(race, mine.name, OTHERS)
    middle, low, high = ratio(rival, mine)
    seconds = f"{1e3 * mine.median:.3g} | {rival.name} | {1e3 * rival.median:.3g}"
    least = bounds().get(f"{what}, {race.title}")
    most, second = f"{rival.median / least:.1f}" if least else "", elsewhere.of(mine_of(elsewhere))
    there, *_ = ratio(best_other(elsewhere, second.name, OTHERS), second)
    return f"| {what}, {race.title} | {seconds} | {middle:.1f} | {low:.1f} .. {high:.1f} | {most} | {there:.1f} |"


def remarks() -> list[str]:
    """A line for each of the other questions, with its command."""
    return [training(), threads(), memory(), start_up(), products(), activations()]


def training() -> str:
    """A step of training on the annuli."""
    parts = []
    for dtype, found in load("a2_training")["dtypes"].items():
        rounds = found["rounds"]
        mine, rival = (a2_training.fastest(rounds, *names) for names in (("refnode",), OTHERS))
        middle, low, high = a2_training.ratios(rounds[rival], rounds[mine])
        step, least = f"{1e3 * statistics.median(rounds[mine]):.3g} ms in {dtype}", found["bound"][mine]
        most, alone = statistics.median(rounds[rival]) / least, a2_training.ratios(rounds[rival], rounds[PLAIN])[0]
        longer = f"{middle:.1f} times as long ({low:.1f} .. {high:.1f}; at most {most:.1f})"
        parts.append(f"{step}, {rival} {longer}, {alone:.1f} times where steps are not handed on")
    return f"- A training step on the annuli, with steps handed on from batch to batch, takes {'; '.join(parts)} \
(`python -m benchmarks a2`, [page](benchmarks/results/a2_training.md))."


def threads() -> str:
    """What the most threads bring where they have samples to share."""
    data = load("c1_threads")
    first, last = ([race for race in races_of(data["of"][k]) if race.title[0] != "C"] for k in (0, -1))
    faster = [ratio(a.of(mine_of(a)), b.of(mine_of(b)))[0] for a, b in zip(first, last, strict=True)]
    return f"- {data['threads'][-1]} threads are {min(faster):.2f} to {max(faster):.2f} times as fast as one \
(`python -m benchmarks c1`, [page](benchmarks/results/c1_threads.md))."


def memory() -> str:
    """The methods at the largest number of steps."""
    data = load("d0_memory")
    at = {name: points[-1]["used"] / 2**20 for name, points in data["by steps"].items()}
    return f"- At {data['steps'][-1]:,} steps and batch {BATCH} the discrete adjoint takes \
{at['discrete, all stages']:.0f} MiB with all stages, {at['discrete, states']:.1f} with states and \
{at['discrete, sqrt(N) checkpoints']:.1f} with sqrt(N) checkpoints, backsolve {at['backsolve']:.1f} \
(`python -m benchmarks d0`, [page](benchmarks/results/d0_memory.md))."


def start_up() -> str:
    """Import and first gradient."""
    data = load("e0_start_up")
    imported = statistics.median(one["refnode"] for one in data["imports"])
    first = statistics.median(run["gradient"] for run in data["first gradient"]["discrete, float64"])
    return f"- `import refnode` takes {imported:.2f} s after numpy's, the first gradient of a second process \
{first:.2f} s with all imports (`python -m benchmarks e0`, [page](benchmarks/results/e0_start_up.md))."


def products() -> str:
    """The product of a tile and hidden weights."""
    data = load("f0_micro_kernels")
    shares = {}
    for found in rows(data):
        if found["title"].startswith("32 x 64 times 64 x 64"):
            rate, peak = found["rates"][PRODUCT], data["peak"][found["dtype"]] / 1e9
            shares[found["dtype"]] = f"{rate:.0f} GFLOP/s, {rate / peak:.0%} of a core's peak, in {found['dtype']}"
    return f"- The product of a tile and 64 x 64 weights: {' and '.join(shares.values())} \
(`python -m benchmarks f0`, [page](benchmarks/results/f0_micro_kernels.md))."


def activations() -> str:
    """The largest errors."""
    errors = load("f1_activations")["errors"]
    worst = ", ".join(f"{name} {max(e['ulps'] for e in by.values()):.2f}" for name, by in errors.items())
    return f"- Largest errors of activations in units in the last place, over every float32 and dense float64: {worst} \
(`python -m benchmarks f1`, [page](benchmarks/results/f1_activations.md))."


def saved() -> list[str]:
    """The scripts whose results are there."""
    return [name for name in SCRIPTS if (RESULTS / f"{name}.json").exists()]


def digits() -> str:
    """What docs/kernels.md says of the activations."""
    if not saved():
        return ""
    return f1_activations.page(load("f1_activations"))


def reached() -> str:
    """What docs/speed.md says of the aims."""
    return aims.table() if saved() else ""


SECTIONS = {"README.md": section, "docs/kernels.md": digits, "docs/speed.md": reached}


def main() -> int:
    """Print the sections, or write them into their pages."""
    for name, text in SECTIONS.items():
        if "--write" not in sys.argv[1:]:
            print(f"{name}\n\n{text()}")
            continue
        before, _, rest = (ROOT / name).read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        write(ROOT / name, before + BEGIN + text() + END + after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
