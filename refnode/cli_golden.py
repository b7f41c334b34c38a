"""refnode golden: the golden files - list, show, verify, build."""

import sys

import click
import numpy as np
from rich.text import Text

from refnode.errors import InvalidArgument
from refnode.oracle.golden.build import DIGITS, build
from refnode.oracle.golden.document import Golden
from refnode.oracle.golden.printed import scientific
from refnode.oracle.golden.shelf import golden as read, index, shelf
from refnode.oracle.golden.verify import verify_golden
from refnode.oracle.truth import Truth, farthest, place
from refnode.terminal import light_table, plain_console, progress_bar

PARTS = ("gradient", "terminal", "integral")


@click.group("golden")
def golden() -> None:
    """Golden files: the catalogue's gradients, proven once, readable from any language (docs/golden_files.md)."""


# ---------------------------------------------------------------- list, show

@golden.command("list")
def list_command() -> None:
    """The files that ship with refnode: kind, digits of the worst leaf, numbers, bytes."""
    table = light_table("problem", "kind", "digits", "numbers", "bytes", "about")
    total = 0
    for name in index():
        found, size = read(name), (shelf() / f"{name}.json").stat().st_size
        total += size
        numbers = sum(g.size for g in found.truth.grads.values())
        cells = name, found.truth.kind, _digits(found.truth), str(numbers), str(size), found.about
        table.add_row(*map(Text, cells))
    console = plain_console()
    console.print(table)
    console.print(f"{len(index())} files, {total} bytes, in {shelf()}", soft_wrap=True)


@golden.command("show")
@click.argument("name", metavar="NAME|FILE.json")
@click.option("--leaf", help="Every number of this leaf.")
@click.option("--part", type=click.Choice(PARTS), default="gradient", show_default=True)
@click.option("--sample", type=click.IntRange(0), help="What this sample contributes, counted from 0.")
def show_command(name: str, leaf: str | None, part: str, sample: int | None) -> None:
    """What a golden file says: of every leaf the largest entry and its radius; with --leaf, all entries."""
    found = read(name)
    truth, console = _chosen(found, part, sample), plain_console()
    if leaf is not None and leaf not in truth.grads:
        raise InvalidArgument("leaf", leaf, f"among {', '.join(truth.grads)}")
    table = light_table("number", "midpoint", "radius")
    for where in truth.grads if leaf is None else [leaf]:
        shape = truth.grads[where].shape
        indices = [farthest(np.abs(truth.grads[where]))] if leaf is None else list(np.ndindex(shape))
        for at in indices:
            cells = place(where, at), scientific(truth.midpoint(where, at)), f"{truth.radius[where][at]:.1e}"
            table.add_row(*map(Text, cells))
    console.print(f"{found.name} - {found.about}")
    console.print(f"{found.truth.kind}: {found.truth.how}", soft_wrap=True)
    for better, why in found.truth.passed.items():
        console.print(f"no {better}: {why}", soft_wrap=True)
    console.print(", ".join(f"{key} {value}" for key, value in found.proof.items()), soft_wrap=True)
    console.print(table)
    if found.truth.loss is not None:
        console.print(f"loss    {scientific(found.truth.loss)}, radius {found.truth.loss_radius:.1e}")
    console.print(f"sha256  {found.sha256}")


def _chosen(found: Golden, part: str, sample: int | None) -> Truth:
    if sample is not None:
        if sample >= len(found.samples):
            raise InvalidArgument("sample", str(sample), f"from 0 to {len(found.samples) - 1}")
        return found.samples[sample]
    truth = {"gradient": found.truth, "terminal": found.terminal, "integral": found.integral}[part]
    if truth is None:
        raise InvalidArgument("part", repr(part), f"a part of the loss of {found.name}")
    return truth


def _digits(truth: Truth) -> str:
    least = min(truth.digits().values())
    return "exact" if np.isinf(least) else f"{least:.1f}"


# ---------------------------------------------------------------- verify, build

@golden.command("verify")
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Prove all files again, which takes many minutes.")
def verify_command(names: tuple[str, ...], everything: bool) -> None:
    """Check that the files are whole, and prove them again: those in NAMES, or the quick ones, or --all.

    Exit status 0 if every file holds, 1 if one does not.
    """
    with progress_bar() as show:
        verdicts = verify_golden(names, everything, progress=show)
    table = light_table("problem", "", "", "seconds")
    for v in verdicts:
        colour = "green" if v.ok else "bold red"
        table.add_row(Text(v.name), Text(v.kind), Text(v.words, colour), Text(f"{v.seconds:.1f}"))
    console, held = plain_console(), sum(v.ok for v in verdicts)
    console.print(table)
    console.print(f"{held} of {len(verdicts)} files hold")
    sys.exit(0 if held == len(verdicts) else 1)


@golden.command("build")
@click.argument("names", nargs=-1)
@click.option("--out", required=True, metavar="DIR", help="The folder, which must be there.")
@click.option("--digits", type=float, default=DIGITS, show_default=True, help="Digits asked of a proof.")
@click.option("--again", is_flag=True, help="Also files that are there and whole.")
def build_command(names: tuple[str, ...], out: str, digits: float, again: bool) -> None:
    """Compute golden files, of all the catalogue or of NAMES; go on where an earlier run was stopped."""
    with progress_bar() as show:
        written = build(names, out, digits, again, show)
    plain_console().print(f"wrote {', '.join(written) or 'nothing: every file is there'}", soft_wrap=True)
