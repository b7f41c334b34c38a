"""F0: the matrix micro-kernel against OpenBLAS and against what the core can do.

    python -m benchmarks.f0_micro_kernels [--short]

C = A B for the shapes of tiles and weights, one thread. The roof has two parts: the peak of fused multiply-adds, which
is that of the micro-kernel on one number of A and one row of B over and over, so that it waits for nothing; and
memory's bandwidth, from copying 64 MiB. Intensity is 2 M N K operations over the bytes of A, B and C.
"""

import sys
from typing import Any

from benchmarks.children import ask
from benchmarks.harness import as_data, race, ratio
from benchmarks.races import races_of
from benchmarks.script import Data, main

SHAPES = ((32, 64, 64), (32, 64, 2), (32, 2, 64), (256, 64, 64), (64, 64, 32), (32, 17, 17), (256, 256, 256))
MINE, CALLED, COMPILED = "micro-kernel", "OpenBLAS, np.dot", "OpenBLAS, np.dot compiled"


def measure(short: bool) -> Data:
    """The races, on one thread."""
    return ask("f0_micro_kernels:on_one_thread", threads=1, short=short)


def on_one_thread(short: bool) -> Data:
    """Products of every shape, and the roof, in this process."""
    from benchmarks.products import CALLS, contestants, copied_bytes_per_second, peak_contestant

    data: dict[str, Any] = {"shapes": [], "races": [], "peak": {}, "calls": CALLS}
    words = {"rounds": 2, "seconds": 0.0} if short else {"rounds": 7, "seconds": 0.05}
    for dtype in ("float64",) if short else ("float64", "float32"):
        run, operations = peak_contestant(dtype)
        done = race(f"peak, {dtype}", {"peak": run}, lambda _: 0.0, 1.0, **words)
        data["peak"][dtype] = operations / min(done.of("peak").rounds)
        for M, N, K in SHAPES[:2] if short else SHAPES:
            calls, error, within = contestants(M, N, K, dtype)
            done = race(f"{M} x {K} times {K} x {N}, {dtype}", calls, error, within, **words)
            data["shapes"].append({"M": M, "N": N, "K": K, "dtype": dtype})
            data["races"].append(as_data(done))
    return data | {"bandwidth": copied_bytes_per_second()}


def rows(data: Data) -> list[dict[str, Any]]:
    """Of every shape: GFLOP/s of each contestant, intensity and roof."""
    found = []
    for shape, one in zip(data["shapes"], races_of(data), strict=True):
        M, N, K, dtype = (shape[key] for key in ("M", "N", "K", "dtype"))
        operations = 2 * M * N * K
        rates = {t.name: operations * data["calls"] / t.median / 1e9 for t in one.timings}
        intensity = operations / ((M * K + K * N + 2 * M * N) * (8 if dtype == "float64" else 4))
        roof = min(data["peak"][dtype], intensity * data["bandwidth"]) / 1e9
        spread = ratio(one.of(COMPILED), one.of(MINE))
        found.append({"title": one.title, "dtype": dtype, "rates": rates, "intensity": intensity, "roof": roof,
                      "ratio": spread})  # fmt: skip
    return found


def page(data: Data) -> str:
    """GFLOP/s, a row for each shape."""
    peaks = ", ".join(f"{peak / 1e9:.1f} GFLOP/s in {dtype}" for dtype, peak in data["peak"].items())
    lines = [f"Peak of one core {peaks}; copying {data['bandwidth'] / 1e9:.1f} GB/s.", ""]
    lines += [f"| GFLOP/s | {MINE} | {CALLED} | {COMPILED} | times as fast | spread | share of the peak |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows(data):
        middle, low, high = row["ratio"]
        share = row["rates"][MINE] / (data["peak"][row["dtype"]] / 1e9)
        rates = " | ".join(f"{row['rates'][name]:.1f}" for name in (MINE, CALLED, COMPILED))
        lines.append(f"| {row['title']} | {rates} | {middle:.2f} | {low:.2f} .. {high:.2f} | {share:.0%} |")
    return "\n".join(lines) + "\n"


def draw(data: Data, figure: Any) -> None:
    """Measured rates under the roof, a panel for each dtype."""
    panels = figure.subplots(1, len(data["peak"]), squeeze=False)[0]
    for panel, (dtype, peak) in zip(panels, data["peak"].items(), strict=True):
        found = [row for row in rows(data) if row["dtype"] == dtype]
        ridge = peak / data["bandwidth"]
        panel.plot([0.1, ridge, 100], [0.1 * data["bandwidth"] / 1e9, peak / 1e9, peak / 1e9], color="grey",
                   label="roof: copying, fused multiply-adds")  # fmt: skip
        for name, marker in ((MINE, "o"), (COMPILED, "s")):
            panel.plot([r["intensity"] for r in found], [r["rates"][name] for r in found], marker, label=name)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(dtype, fontsize=9)
        panel.set_xlabel("operations a byte")
    panels[0].set_ylabel("GFLOP/s")
    panels[0].legend(fontsize=8)


if __name__ == "__main__":
    sys.exit(main("f0_micro_kernels", __doc__, measure, page, draw))
