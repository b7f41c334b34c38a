"""Programs under test: any language, through files. A problem file goes in, a file with the gradient comes out."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from refnode.arrays import Array, positive
from refnode.errors import InvalidArgument, ProblemFileError, ProgramFailed
from refnode.json_file import MAX_BYTES, Place, decode, pointer, read_json
from refnode.problem import Problem

TIMEOUT = 600.0  # seconds
TAIL = 2000  # bytes of a program's messages that are looked at
NOT_FINITE = {"nan", "-nan", "inf", "-inf", "infinity", "-infinity"}  # as printf writes them


def program(command: str, timeout: float = TIMEOUT) -> Callable[[Problem, float], dict[str, Array]]:
    """A function to grade that runs a program: it writes the problem to a file and reads the gradient from another.

    Parameters
    ----------
    command   words as a shell would split them, {problem}, {tol} and {out} among them; no shell runs
    timeout   seconds that one run may take

    Returns
    -------
    function(problem, tol) -> {leaf: array}. It raises ProgramFailed if the program ends with another status than 0,
    takes too long, or leaves no readable gradient file; InvalidArgument for a problem that no file can hold.

    Raises InvalidArgument if a placeholder is missing, or there is no such program.
    """
    positive("timeout", timeout)
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidArgument("command", f"{command!r} ({error})", "words as a shell would split them") from None
    if missing := [name for name in ("{problem}", "{out}") if not any(name in word for word in words)]:
        raise InvalidArgument("command", repr(command), f"a command with {' and '.join(missing)} (and {{tol}}) in it")
    if shutil.which(words[0]) is None:
        raise InvalidArgument("command", repr(words[0]), "a program that exists and may be run")

    def run(problem: Problem, tol: float) -> dict[str, Array]:
        with tempfile.TemporaryDirectory(prefix="refnode-") as folder:
            source, out = Path(folder, "problem.json"), Path(folder, "gradient.json")
            problem.save(source)
            values = {"{problem}": str(source), "{tol}": repr(float(tol)), "{out}": str(out)}
            _run([_filled(word, values) for word in words], folder, timeout)
            return read_gradient(out)

    run.__qualname__ = words[0]
    return run


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _run(words: list[str], folder: str, timeout: float) -> None:
    """Run a program to its end, its messages into a file; ProgramFailed unless it ends with status 0."""
    with open(Path(folder, "messages"), "w+b") as messages:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=messages, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise ProgramFailed(f"cannot be started: {error.strerror or error}") from None
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"took longer than {timeout:g} s") from None
        finally:
            _end(process)
        if status != 0:
            how = f"exit status {status}" if status > 0 else f"ended by {_signal_name(-status)}"
            raise ProgramFailed(f"{how}{_last_line(messages)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, and what it started: they are a session of their own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(messages: IO[bytes]) -> str:
    messages.seek(0, os.SEEK_END)
    messages.seek(max(0, messages.tell() - TAIL))
    lines = messages.read().decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""


def read_gradient(path: str | Path) -> dict[str, Array]:
    """The leaves in a file: {leaf: number}, or such an object as `grads` of a gradient file.

    A number is a hexadecimal float in a string, or {"shape": [..], "data": [..]} of them, as in problem files; NaN and
    infinity are read too, since they are to be found. Raises ProgramFailed, naming the place, for anything else.
    """
    try:
        if not Path(path).exists():
            raise ProgramFailed("wrote no file {out}")
        document = read_json(path, MAX_BYTES)
        if not isinstance(document, dict):
            raise InvalidArgument(pointer(()), "no object", "an object from leaf names to numbers")
        inside: Place = ("grads",) if isinstance(document.get("grads"), dict) else ()
        leaves = document["grads"] if inside else document
        return {name: _leaf(node, (*inside, name)) for name, node in leaves.items()}
    except (InvalidArgument, ProblemFileError) as error:
        raise ProgramFailed(f"wrote no gradient file: {error}") from None


def _leaf(node: Any, place: Place) -> Array:
    if isinstance(node, str):
        return np.array(float(node)) if node in NOT_FINITE else decode(node, place)
    if not isinstance(node, dict) or set(node) != {"shape", "data"}:
        raise InvalidArgument(pointer(place), "no number", 'a hexadecimal float, or {"shape": [..], "data": [..]}')
    shape, data = node["shape"], node["data"]
    if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in shape) or not isinstance(data, list):
        raise InvalidArgument(pointer(place), "another shape or data", "a list of counts, and a list of numbers")
    strange = {i: float(text) for i, text in enumerate(data) if isinstance(text, str) and text in NOT_FINITE}
    a = decode({"shape": shape, "data": ["0x0p+0" if i in strange else text for i, text in enumerate(data)]}, place)
    for i, value in strange.items():
        a.flat[i] = value
    return a
