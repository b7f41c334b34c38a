"""The whole certificate as a page: every method on every catalogue problem.

    python -m validation.certificate_page

Writes validation/results/certificate.json and certificate.md.
"""

import json
import platform
from pathlib import Path

import numpy as np
from rich.console import Console

import refnode as rn

RESULTS = Path(__file__).parent / "results"


def cell_text(cell):
    """Digits, or the word of a cell that returned none."""
    text = "refuses" if cell.digits is None else f"{cell.digits:.1f}"
    text = f"({text})" if cell.claim == "known-bad" else text
    return text if cell.ok else f"**{text}!**"


def page(certificate):
    """The certificate as Markdown."""
    methods = list(dict.fromkeys(cell.method for cell in certificate.cells))
    by_problem = {}
    for cell in certificate.cells:
        by_problem.setdefault(cell.problem, {})[cell.method] = cell
    lines = [
        "# Certificate",
        "",
        "Correct digits of the worst leaf of each method on each catalogue problem; `refuses` where the method raises,"
        " as",
        "it claims; in brackets where it is known to be bad. A cell that breaks its claim would be bold with a `!`.",
        "",
        f"Solver {certificate.solver.method}, tol {certificate.solver.tolerance:.0e}: the usual claim is 6 digits.",
        f"refnode {rn.__version__}, numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}.",
        "Regenerate: `python -m validation.certificate_page`.",
        "",
        "| problem | truth | " + " | ".join(methods) + " |",
        "|---|---|" + "---|" * len(methods),
    ]
    for problem, cells in by_problem.items():
        truth = next(iter(cells.values())).truth
        lines.append(f"| {problem} | {truth} | " + " | ".join(cell_text(cells[m]) for m in methods) + " |")
    lines += ["", "Claims that are not the usual one:", ""]
    notes = dict.fromkeys(
        f"- {cell.problem}, {cell.method}: {cell.claim}"
        + ("" if cell.claimed_digits is None else f" {cell.claimed_digits:g} digits")
        + f", because {cell.note}"
        for cell in certificate.cells
        if cell.note
    )
    seconds = {m: sum(c.seconds for c in certificate.cells if c.method == m) for m in methods}
    lines += [*notes, "", "Seconds over the catalogue: " + ", ".join(f"{m} {s:.1f}" for m, s in seconds.items()) + "."]
    return "\n".join(lines) + "\n"


def main():
    """Certify everything and write both files."""
    console = Console(stderr=True)
    certificate = rn.certify(progress=lambda what, done, total: console.print(f"{done}/{total} {what}"))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "certificate.json").write_text(json.dumps(certificate.to_json(), indent=1) + "\n", "utf-8")
    (RESULTS / "certificate.md").write_text(page(certificate), "utf-8")
    print(page(certificate))
    raise SystemExit(0 if certificate.ok else 1)


if __name__ == "__main__":
    main()
