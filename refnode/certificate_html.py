"""A certificate as one HTML page: every method on every problem, each number with the command that reproduces it."""

from collections.abc import Iterator
from pathlib import Path

from refnode.environment import environment_facts
from refnode.html_page import Cell, Look, Row, save_page, section
from refnode.oracle import certificate as module
from refnode.oracle.certificate import Certificate

ABOUT = "Correct digits of the worst leaf; refuses: raises, as claimed; in brackets: known to have few."
DETAILS = "What each cell claimed, what came, what it cost, and against which truth."


def save_certificate(certificate: Certificate, path: str | Path, backend: str = "numpy") -> None:
    """Write the page, whole or not at all; `backend` is what the certificate was asked for, for its commands."""
    cells, solver = certificate.cells, certificate.solver
    kept = sum(cell.ok for cell in cells)
    lead = f"{kept} of {len(cells)} cells keep their claim."
    facts = [
        f"Solver {solver.method}, tolerance {solver.tolerance:g}: the usual claim is {usual(certificate):g} digits.",
        ", ".join(f"{name} {fact}" for name, fact in environment_facts().items()),
        "Tap a number for the command that reproduces it, the head of a column to sort by it.",
    ]
    methods = list(dict.fromkeys(cell.method for cell in cells))
    overview = section("Digits", ABOUT, ["problem", "truth", *methods], overview_rows(certificate, methods, backend))
    columns = ["problem", "method", "digits", "claims", "worst leaf", "nfe", "after", "seconds", "truth", "outcome"]
    details = section("Every cell", DETAILS, columns, detail_rows(certificate, backend), filtered=True)
    save_page(path, "refnode certificate", lead, facts, [overview, details])


def usual(certificate: Certificate) -> float:
    """The digits that are usually claimed."""
    return module.usual_digits(certificate.solver)


def overview_rows(certificate: Certificate, methods: list[str], backend: str) -> Iterator[Row]:
    """One row a problem, one column a method."""
    found = {(cell.problem, cell.method): cell for cell in certificate.cells}
    for problem in dict.fromkeys(cell.problem for cell in certificate.cells):
        mine = [found.get((problem, method)) for method in methods]
        truth = next(cell.truth for cell in mine if cell is not None)
        digits = [digits_cell(cell, backend) for cell in mine]
        yield Row([Cell(problem), Cell(truth), *digits], command(backend, problem))


def detail_rows(certificate: Certificate, backend: str) -> Iterator[Row]:
    """One row a cell."""
    for cell in certificate.cells:
        claims = cell.claim + ("" if cell.claimed_digits is None else f" {cell.claimed_digits:g}")
        numbers = Cell(str(cell.nfe), cell.nfe), Cell(str(cell.nfe_backward), cell.nfe_backward)
        seconds = Cell(f"{cell.seconds:.2f}", cell.seconds)
        why = cell.outcome + (f" (claimed because {cell.note})" if cell.note else "")
        what = Cell(cell.problem), Cell(cell.method), digits_cell(cell, backend)
        words = Cell(claims), Cell(cell.worst_leaf), *numbers, seconds, Cell(cell.truth), Cell(why)
        yield Row([*what, *words], command(backend, cell.problem, cell.method))


def digits_cell(cell: module.Cell | None, backend: str) -> Cell:
    """Digits of a cell, or the word for what came instead."""
    if cell is None:
        return Cell("-", look="faint")
    text = "refuses" if cell.digits is None else f"{cell.digits:.1f}"
    look: Look = "good" if cell.ok else "bad"
    if cell.claim == "known-bad" and cell.ok:
        text, look = f"({text})", "known"
    where = f"{cell.worst_leaf}: " if cell.worst_leaf else ""
    return Cell(text, cell.digits, look, command(backend, cell.problem, cell.method), where + cell.outcome)


def command(backend: str, problem: str, method: str = "") -> str:
    """What computes a row or a number again."""
    words = [f"--problems {problem}", *([f"--methods {method}"] if method else [])]
    return " ".join(["refnode certify", *words, *([] if backend == "numpy" else [f"--backend {backend}"])])
