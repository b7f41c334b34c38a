"""What every script does: measure, print its page, and write JSON, page and picture to results/, unless --short."""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

RESULTS = Path(__file__).resolve().parent / "results"
Data = Mapping[str, Any]


def main(
    name: str,
    about: str,
    measure: Callable[[bool], Data],
    page: Callable[[Data], str],
    draw: Callable[[Data, Any], None],
) -> int:
    """Run one script.

    measure(short) gives what JSON holds, page(data) its tables in Markdown, draw(data, figure) its picture.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a small part, without other libraries; not for results")
    parser.add_argument("--into", metavar="FOLDER", type=Path, help="write there instead, also with --short")
    parser.add_argument("--draw", metavar="PATH", type=Path, help="measure nothing: draw what results/ holds there")
    arguments = parser.parse_args()
    if arguments.draw:
        picture(arguments.draw, load(name), draw)
        return 0
    into = arguments.into or (None if arguments.short else RESULTS)
    data = {"about": about.partition("\n")[0], "machine": machine(), **measure(arguments.short)}
    data = json.loads(json.dumps(data))  # as a reader of the file will see it
    print(page(data), flush=True)
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        picture(into / f"{name}.png", data, draw)
        write(into / f"{name}.md", whole_page(name, data, page))
        write(into / f"{name}.json", json.dumps(data, indent=1) + "\n")
    return 0


def load(name: str, folder: Path = RESULTS) -> Data:
    """The committed results of a script."""
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    beside = path.with_suffix(path.suffix + ".part")
    beside.write_text(text, "utf-8")
    os.replace(beside, path)


def whole_page(name: str, data: Data, page: Callable[[Data], str]) -> str:
    """The page of a script: its question, its command, the machine, the tables."""
    facts = "\n".join(f"- {fact}: {value}" for fact, value in data["machine"].items())
    command = f"Regenerate: `python -m benchmarks {name}`."
    return f"# {data['about']}\n\n{command}\n\n![]({name}.png)\n\n{page(data)}\n{facts}\n"


def picture(path: Path, data: Data, draw: Callable[[Data, Any], None]) -> None:
    """The picture of a script, in colours that colour-blind readers tell apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    from refnode.figures import COLOURS

    figure = Figure(figsize=(10, 4.5), layout="constrained", facecolor="white")
    with matplotlib.rc_context({"axes.prop_cycle": matplotlib.cycler(color=COLOURS)}):
        draw(data, figure)
    beside = path.with_suffix(f".part{path.suffix}")
    figure.savefig(beside, dpi=110)
    os.replace(beside, path)
