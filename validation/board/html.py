"""The scoreboard as one HTML page: right and wrong at a glance, then every row, each with its command."""

import shlex

from refnode.html_page import Cell, Row, save_page, section
from validation.board import table
from validation.board.scores import WORDS, verdict, word

LOOKS = {"right": "good", "short": "known", "wrong": "bad", "none": "faint", "n/a": "faint"}
GLANCE = "On how many problems each way to get a gradient is right, and where it is wrong."
OVERVIEW = "Digits of the worst leaf of parameters and inputs at tol {tol:.0e}; red: returned, not one digit right."
DETAILS = "Digits of that leaf at every tolerance; times: the worst gradient of a time; CPU seconds of one gradient."


def save(path, board):
    """Write the page, whole or not at all."""
    facts = [
        *counted(board),
        ", ".join(f"{name} {value}" for name, value in board.environment.items()),
        "Tap a number for the command that reproduces it, the head of a column to sort by it.",
    ]
    sections = [glance(board), overview(board), details(board)]
    save_page(path, "Is the gradient right?", table.headline(board), facts, sections)


def counted(board):
    """How is counted, one line of plain text for each word."""
    text = table.COUNTED.format(tightest=f"{min(board.tolerances):.0e}", **table.numbers(board))
    return [" ".join(line.split()).replace("*", "") for line in text.replace("\n- ", "\n\n").split("\n\n")]


def glance(board):
    """One row a configuration: problems that are right, short, wrong, without an answer, not applicable."""
    rows = []
    for name in names(board):
        mine = {problem: scores for (problem, configuration), scores in board.cells().items() if configuration == name}
        words = [word(scores) for scores in mine.values()]
        counts = [Cell(str(words.count(w)), words.count(w), LOOKS[w] if words.count(w) else "faint") for w in WORDS]
        rows.append(Row([Cell(name), *counts, Cell(table.faults(mine))], command(configuration=name)))
    return section("At a glance", GLANCE, ["", *WORDS, "where it is wrong"], rows)


def overview(board):
    """Configurations down, problems across, at one tolerance."""
    tol = table.OVERVIEW if table.OVERVIEW in board.tolerances else min(board.tolerances)
    at = {(s.configuration, s.problem): s for s in board.scores if s.tol == tol}
    rows = [
        Row([Cell(name), *(digits(at.get((name, problem)), command(problem, name)) for problem in board.problems)])
        for name in names(board)
    ]
    return section("All problems", OVERVIEW.format(tol=tol), ["", *board.problems], rows)


def details(board):
    """One row a problem and configuration."""
    rows = []
    for (problem, name), scores in board.cells().items():
        returned, at = [s for s in scores if s.outcome == "returned"], {s.tol: s for s in scores}
        last = returned[-1] if returned else None
        seconds = Cell(f"{last.seconds:.2g}", last.seconds) if last else Cell("")
        times = table.times_cell(last) if last else ""
        where = last.farthest if last else ""
        cells = Cell(problem), Cell(name), Cell(word(scores), None, LOOKS[word(scores)])
        numbers = [digits(at.get(tol)) for tol in board.tolerances]
        truth = Cell(board.problems[problem]["truth"])
        rest = Cell(where), Cell(times), seconds, truth, Cell(verdict(scores))
        rows.append(Row([*cells, *numbers, *rest], command(problem, name)))
    columns = ["problem", "by", "", *(f"{tol:.0e}" for tol in board.tolerances)]
    return section("Every row", DETAILS, [*columns, "farthest", "times", "seconds", "truth", "outcome"], rows, True)


def digits(score, command=""):
    """Digits at one tolerance, or one word."""
    if score is None:
        return Cell("")
    if score.outcome != "returned":
        return Cell(table.cell(score), None, "faint", command, score.message[:200])
    wrong = table.loud(score).startswith("**")
    value = score.digits[score.worst()]
    look = "bad" if wrong else "good" if len(score.kept()) == len(score.digits) else "known"
    return Cell(table.cell(score), value, look, command, f"farthest off: {score.farthest}" if score.farthest else "")


def names(board):
    """Configurations in the order they were run."""
    return list(dict.fromkeys(s.configuration for s in board.scores))


def command(problem="", configuration=""):
    """What computes numbers again."""
    words = ["--problems", problem] * bool(problem) + ["--peers", configuration] * bool(configuration)
    return shlex.join(["python", "-m", "validation.scoreboard", *words])
