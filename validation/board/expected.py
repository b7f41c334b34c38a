"""What a run is expected to find: a file that states for each cell the verdict's word and the worst leaf's digits.

    {"torchdiffeq adjoint": {"mild": {"word": "right", "digits": 6.5, "times": 6.6}, ..}, ..}

At the tightest tolerance of the run; times: of the worst time. Digits are a machine's: they may differ by half a digit,
and turn right into short. Where parameters or inputs have not one digit, their states are rounding errors that grew,
which no two processors share: there the word is all that must agree.
"""

import json
from pathlib import Path

from validation.board.scores import word

ROOM = 0.5  # digits


def stated(board):
    """configuration -> problem -> {"word", "digits", "times"}; digits are left out where there are none."""
    found = {}
    for (problem, configuration), scores in board.cells().items():
        last = next((s for s in reversed(scores) if s.outcome == "returned"), None)
        cell = {"word": word(scores)}
        for name, leaf in {} if last is None else {"digits": last.worst(), "times": last.worst(times=True)}.items():
            cell |= {} if leaf is None else {name: last.digits[leaf]}
        found.setdefault(configuration, {})[problem] = cell
    return found


def write(path, board):
    """The file: one line a cell."""
    rows = [
        f" {json.dumps(configuration)}: {{\n"
        + ",\n".join(f"  {json.dumps(problem)}: {json.dumps(cell)}" for problem, cell in cells.items())
        + "\n }"
        for configuration, cells in stated(board).items()
    ]
    Path(path).write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


def read(path):
    """What the file states."""
    return json.loads(Path(path).read_text("utf-8"))


def count(path):
    """The cells of the file."""
    return sum(map(len, read(path).values()))


def differences(path, board):
    """One line for each cell that differs, or was not run."""
    found, lines = stated(board), []
    for configuration, cells in read(path).items():
        for problem, cell in cells.items():
            mine = found.get(configuration, {}).get(problem)
            if mine is None or not same(cell, mine):
                lines.append(f"{configuration} on {problem}: expected {cell}, found {mine or 'nothing: not run'}")
    return lines


def same(cell, mine):
    """Whether word and digits agree. Half a digit may turn right into short."""
    chance = cell["word"] == "wrong" and max(cell.get("digits", 0.0), mine.get("digits", 0.0)) < 1
    numbers = set() if chance else {name for name in (*cell, *mine) if name != "word"}
    words = {"right" if found["word"] == "short" else found["word"] for found in (cell, mine)}
    return len(words) == 1 and all(
        name in cell and name in mine and abs(cell[name] - mine[name]) <= ROOM for name in numbers
    )
