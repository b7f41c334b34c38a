"""The scoreboard: every library's gradients, and refnode's own methods, on the catalogue, against refnode's reference.

    python -m validation.scoreboard                       all that others can express: an hour and a half of one core
    python -m validation.scoreboard --quick               six problems, two tolerances
    python -m validation.scoreboard --problems mild --problems stiff --peers diffrax --peers "torchdyn adjoint"

In the environment that validation/peers/install.sh makes. Writes scoreboard.json, .md and .png, and a smaller
picture, into validation/results, or, if only a part is run, into run/scoreboard; with --html also scoreboard.html, one
file that sorts, filters and tells the command behind every number. The JSON file is written as the run goes: --resume
continues from it, --redraw only writes the other files anew. A library that raises, crashes or takes too long is a row
of the table. --expect FILE compares with what the file states, and exits with status 1 if it differs.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from threading import Lock

import click
from rich.console import Console

import refnode as rn
from refnode.environment import environment_facts
from validation.board import expected, html, picture, table
from validation.board.jobs import GradientJob, TruthJob
from validation.board.problems import entries
from validation.board.scores import Board, Score, load, save, score
from validation.board.worker import THREADS, Worker
from validation.peers.configurations import CONFIGURATIONS, PACKAGES, chosen
from validation.peers.support import expressible

TOLERANCES, QUICK_TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11), (1e-3, 1e-7)
LIMIT = 10.0  # CPU seconds of one gradient
COMPILING = table.COMPILING  # more for a first call that compiles
QUICK_PROBLEMS = ("linear", "cosine", "mild", "contracting", "theta_running", "backwards")
HERE = Path(__file__).parent
console = Console(stderr=True, width=140)


def versions():
    """What the numbers depend on."""
    facts = environment_facts()
    names = {"refnode": rn.__version__, "python": facts["python"]}
    for package in PACKAGES:
        try:
            names[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            names[package] = "not installed"
    return names | {"processor": facts["processor"], "cores": facts["cores"]}


def in_lanes(items, lanes, work):
    """[work(worker, item), ..] in order, items taken one by one by as many worker processes as there are lanes."""
    workers = [Worker(core) for core in range(lanes)]
    free = list(workers)

    def take(item):
        worker = free.pop()
        try:
            return work(worker, item)
        finally:
            free.append(worker)

    try:
        with ThreadPoolExecutor(lanes) as pool:
            return list(pool.map(take, items))
    finally:
        for worker in workers:
            worker.stop()


def expressible_problems():
    """The names of the problems that at least one other library can be given."""
    return [entry.name for entry in entries() if expressible(entry.problem)]


def truths(names, lanes):
    """The reference of every problem."""
    answers = in_lanes(names, lanes, lambda worker, name: worker.ask(TruthJob(name)))
    for name, (outcome, value) in zip(names, answers, strict=True):
        if outcome != "returned":
            raise click.ClickException(f"no truth about {name}: {outcome}, {value}")
    return {name: value for name, (_, value) in zip(names, answers, strict=True)}


def run_cell(worker, entry, configuration, truth, tolerances, limit):
    """One configuration on one problem, loosest tolerance first; after a timeout, the tighter ones are not tried."""
    scores = []
    for tol in tolerances:
        where = (entry.name, configuration.name, tol)
        if scores and scores[-1].outcome in ("timeout", "n/a", "not run"):
            outcome = "n/a" if scores[-1].outcome == "n/a" else "not run"
            scores.append(Score(*where, outcome, scores[-1].message))
            continue
        allowed = limit + COMPILING if configuration.compiles else limit
        outcome, value = worker.ask(GradientJob(entry.name, configuration, tol, allowed))
        if outcome == "returned":
            scores.append(score(*where, entry, truth, *value))
        else:
            scores.append(Score(*where, outcome, value))
    return scores


def run(board, cells, truth, lanes, keep):
    """Add the scores of all cells that the board lacks, one library after the other; keep(board) after each cell."""
    scores = {(s.problem, s.configuration, s.tol): s for s in board.scores}
    todo = [(e, c) for e, c in cells if any((e.name, c.name, tol) not in scores for tol in board.tolerances)]
    started, one_at_a_time = time.perf_counter(), Lock()

    def work(worker, cell):
        entry, configuration = cell
        new = run_cell(worker, entry, configuration, truth[entry.name], board.tolerances, board.limit)
        told = " ".join(table.cell(s) for s in new)
        with one_at_a_time:
            console.print(f"{time.perf_counter() - started:5.0f} s  {entry.name:14s} {configuration.name:40s} {told}")
            scores.update({(s.problem, s.configuration, s.tol): s for s in new})
            board.scores = in_order(scores, cells, board.tolerances)
            keep(board)

    for library in dict.fromkeys(c.library for _, c in todo):  # a worker imports one library only
        in_lanes([cell for cell in todo if cell[1].library == library], lanes, work)


def in_order(scores, cells, tolerances):
    """The scores there are, by problem, configuration, tolerance."""
    keys = ((entry.name, configuration.name, tol) for entry, configuration in cells for tol in tolerances)
    return [scores[key] for key in keys if key in scores]


def earlier(path, board):
    """The scores of an interrupted run with the same versions, tolerances and limit."""
    if not path.exists():
        return []
    was = load(path)
    if (was.environment, was.tolerances, was.limit) != (board.environment, board.tolerances, board.limit):
        raise click.ClickException(f"{path.name} is of other versions, tolerances or limits: run without --resume")
    return was.scores


@click.command()
@click.option("--quick", is_flag=True, help="Six problems, two tolerances.")
@click.option("--problems", multiple=True, help="A problem's name; may be repeated.")
@click.option("--peers", multiple=True, help="A library, or one configuration's whole name; may be repeated.")
@click.option("--resume", is_flag=True, help="Continue the run whose JSON file is there.")
@click.option("--redraw", is_flag=True, help="Run nothing: write tables and pictures from the JSON file that is there.")
@click.option("--draw", type=click.Path(dir_okay=False, path_type=Path), help="Run nothing: only draw the picture of"
              " this name, scoreboard or scoreboard_few, to this file.")  # fmt: skip
@click.option("--html", "as_html", is_flag=True, help="Write scoreboard.html too.")
@click.option("--lanes", type=click.IntRange(1), default=min(2, os.cpu_count() or 1), help="Processes at once.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the files.")
@click.option("--expect", type=click.Path(dir_okay=False, path_type=Path), help="A file that states the verdicts.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="Write such a file.")
def main(quick, problems, peers, resume, redraw, draw, as_html, lanes, out, expect, state):
    """Grade other libraries' gradients, and refnode's own, on refnode's catalogue."""
    part = quick or problems or peers
    out = out or (Path("run") / "scoreboard" if part else HERE / "results")
    out.mkdir(parents=True, exist_ok=True)
    os.environ |= THREADS  # for the workers, before they import anything
    file = out / "scoreboard.json"
    if draw:
        board = load(file)
        picture.draw(picture.few(board) if draw.stem == "scoreboard_few" else board, CONFIGURATIONS, [draw])
        return
    if redraw:
        write_pages(out, load(file), as_html)
        return
    board = Board(versions(), list(QUICK_TOLERANCES if quick else TOLERANCES), LIMIT)
    found = entries(*(problems or (QUICK_PROBLEMS if quick else expressible_problems())))
    board.scores = earlier(file, board) if resume else []
    truth = truths([entry.name for entry in found], lanes)
    board.problems = {e.name: {"about": e.about, "truth": truth[e.name].kind} for e in found}
    cells = [(entry, configuration) for entry in found for configuration in chosen(peers)]
    run(board, cells, truth, lanes, lambda board: save(file, board))
    write_pages(out, board, as_html)
    if state:
        expected.write(state, board)
    if expect:
        compare(expect, board)


def write_pages(out, board, as_html=False):
    """The table, the pictures, and the HTML page if it is wanted."""
    if as_html:
        html.save(out / "scoreboard.html", board)
    (out / "scoreboard.md").write_text(table.page(board), "utf-8")
    picture.draw(board, CONFIGURATIONS, [out / "scoreboard.png"])
    picture.draw(picture.few(board), CONFIGURATIONS, [out / "scoreboard_few.png"])
    spent = os.times()
    cpu = spent.children_user + spent.children_system
    console.print(f"{len(board.scores)} scores in {out.name}/scoreboard.*; the workers took {cpu:.0f} CPU s")


def compare(path, board):
    """Say what differs from the file, and end with status 1 if anything does."""
    found = expected.differences(path, board)
    for line in found:
        console.print(line)
    console.print(f"{len(found)} of {expected.count(path)} cells differ from {path.name}")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
