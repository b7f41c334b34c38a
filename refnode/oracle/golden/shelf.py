"""The golden files that ship with refnode: by name, by problem, or any other from its path."""

import json
from functools import cache
from importlib import resources
from pathlib import Path

from refnode.errors import InvalidArgument, ProblemFileError
from refnode.json_file import MAX_BYTES, read_json
from refnode.oracle.golden.document import Golden, problem_digest, to_golden
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.problem_file import shortened

INDEX = "index.json"  # name -> digest of the problem


def golden(name: str | Path) -> Golden:
    """A golden file: a problem of the catalogue with its gradient, as it was proven.

    Parameters
    ----------
    name    a name of the catalogue, or the path of a golden file (.json)

    Returns
    -------
    Golden    problem, truth, its terminal and integral parts, each sample's part, the proof's record

    Raises
    ------
    InvalidArgument     for an unknown name
    ProblemFileError    for a file that is corrupt, of another version, or not the one that was written

    >>> golden("cosine").truth.kind
    'proven'
    """
    if str(name).endswith(".json"):
        return load_golden(name)
    if name not in index():
        raise InvalidArgument("name", str(name), "a path that ends in .json, or among " + ", ".join(index()))
    return _shipped(str(name))


def load_golden(path: str | Path, max_bytes: int = MAX_BYTES) -> Golden:
    """Read a golden file, trusting nothing in it.

    Raises ProblemFileError for whatever is wrong: the message names the file, the place and what is allowed there.
    """
    try:
        return to_golden(read_json(path, max_bytes), max_bytes)
    except InvalidArgument as error:
        raise ProblemFileError(f"{path}: {shortened(str(error))}") from error


def golden_truth(problem: Problem) -> Truth | None:
    """What the shipped golden file of a problem says of its gradient; None if no file has these very numbers."""
    try:
        name = _names().get(problem_digest(problem))
    except InvalidArgument:  # a field or loss of one's own: no file can hold it
        return None
    return None if name is None else _shipped(name).truth


def shelf() -> Path:
    """The folder of the shipped files."""
    return Path(str(resources.files("refnode.oracle.golden") / "catalogue"))


@cache
def index() -> dict[str, str]:
    """Name -> digest of the problem, for every shipped file."""
    file = shelf() / INDEX
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


@cache
def _names() -> dict[str, str]:
    return {problem: name for name, problem in index().items()}


@cache
def _shipped(name: str) -> Golden:
    """One object a process: whoever asks again gets it at once."""
    return load_golden(shelf() / f"{name}.json")
