"""F1: how exact the activations are, and what an element costs.

    python -m benchmarks.f1_activations [--short]

Error in units in the last place of the result: in float32 over every number there is (2^32 of them but NaN), in
float64 over a million normal numbers at each of several scales. The reference has more digits: NumPy's float64
functions for float32, and long double for float64. Where e^-|x| is below 2e-38 (3e-308 in float64) it counts as 0, and
so do sigmoid and softplus. Sine and cosine are measured up to 1e5, beyond which libm takes over.
"""

import sys
from typing import Any

from benchmarks.children import ask
from benchmarks.harness import Timing, as_data, race
from benchmarks.races import races_of
from benchmarks.script import Data, main

NAMES = ("tanh", "softplus", "sigmoid", "sin", "cos")
MINE, NUMPY, LIBM = "refnode", "numpy", "libm"


def measure(short: bool) -> Data:
    """Errors on all cores, costs on one thread."""
    from benchmarks.ulps import SAMPLES, worst_float32, worst_float64

    stride, samples = (65_537, 2_000) if short else (1, SAMPLES)
    errors = {
        name: {"float32": worst_float32(name, stride), "float64": worst_float64(name, samples)} for name in NAMES
    }
    return {"errors": errors, "stride": stride} | ask("f1_activations:costs", threads=1, short=short)


def costs(short: bool) -> Data:
    """Races of one application to 4,096 elements, in this process."""
    from benchmarks.elementwise import APPLICATIONS, SIZE, contestants

    words, races = {"rounds": 2, "seconds": 0.0} if short else {"rounds": 7, "seconds": 0.05}, []
    for name in NAMES[:-1]:
        for dtype in ("float64",) if short else ("float32", "float64"):
            calls, error = contestants(name, dtype)
            races.append(as_data(race(f"{name}, {dtype}", calls, error, 4.0, **words)))
    return {"races": races, "elements": SIZE * APPLICATIONS}


def page(data: Data) -> str:
    """Errors, then nanoseconds."""
    seen = "every number" if data["stride"] == 1 else f"every {data['stride']}th number"
    lines = [f"### Largest error in units in the last place (float32: {seen})", ""]
    lines += ["| | float32 | at | numbers | float64 | at | numbers |", "|---|---|---|---|---|---|---|"]
    for name, by_dtype in data["errors"].items():
        cells = [f"{e['ulps']:.2f} | {e['at']:.9g} | {e['numbers']:,}" for e in by_dtype.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "### Nanoseconds an element, one thread", ""]
    lines += ["sin gives cos too, which its vjp needs.", "", f"| | {MINE} | {NUMPY} | {LIBM} |", "|---|---|---|---|"]
    for one in races_of(data):
        cells = [f"{nanoseconds(one.of(name), data):.2f}" for name in (MINE, NUMPY, LIBM)]
        lines.append(f"| {one.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def nanoseconds(timing: Timing, data: Data) -> float:
    """Of one element."""
    return 1e9 * timing.median / data["elements"]


def draw(data: Data, figure: Any) -> None:
    """Nanoseconds an element, and errors in units in the last place."""
    panels, races = figure.subplots(1, 2, width_ratios=(2, 1)), races_of(data)
    for k, name in enumerate((MINE, NUMPY, LIBM)):
        places = [i + 0.27 * (k - 1) for i in range(len(races))]
        panels[0].bar(places, [nanoseconds(one.of(name), data) for one in races], 0.25, label=name)
    panels[0].set_xticks(range(len(races)), [one.title.replace(", ", "\n") for one in races], fontsize=7)
    panels[0].set_yscale("log")
    panels[0].set_ylabel("nanoseconds an element")
    panels[0].legend(fontsize=8)
    for k, dtype in enumerate(("float32", "float64")):
        places = [i + 0.4 * k - 0.2 for i in range(len(NAMES))]
        panels[1].bar(places, [data["errors"][name][dtype]["ulps"] for name in NAMES], 0.38, label=dtype)
    panels[1].axhline(2.0, color="grey", linewidth=0.8)
    panels[1].set_xticks(range(len(NAMES)), NAMES, fontsize=8)
    panels[1].set_ylabel("largest error, units in the last place")
    panels[1].legend(fontsize=8)


if __name__ == "__main__":
    sys.exit(main("f1_activations", __doc__, measure, page, draw))
