"""refnode figures: every picture of the project, those of a problem of the catalogue, or of a problem file."""

import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refnode import figure_data, figures as draw
from refnode.arrays import one_of
from refnode.dense_costate import Costate, costate
from refnode.errors import InvalidArgument
from refnode.kept_pictures import RESULTS, Kept, kept_pictures
from refnode.oracle.entry import Entry
from refnode.oracle.problems import catalogue
from refnode.problem_file import load_problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Pictures:
    """The pictures of a problem, by name, each drawn when it is asked for; its costate is solved for once."""

    def __init__(self, entry: Entry) -> None:
        self.problem, self.faint = entry.problem, entry.faint

    @cached_property
    def costate(self) -> Costate:
        """z(t), a(t) and H(t)."""
        return costate(self.problem)

    @cached_property
    def paths(self) -> figure_data.Paths:
        """The same along every sample's span."""
        return figure_data.paths(self.costate)

    def theta(self) -> "Figure":
        """theta(t)."""
        return draw.draw_theta(figure_data.theta_curves(self.problem))

    def field(self) -> "Figure":
        """z' over the plane at several t."""
        return draw.draw_field(figure_data.snapshots(self.costate, self.paths))

    def states(self) -> "Figure":
        """z(t)."""
        return draw.draw_states(self.paths)

    def adj(self) -> "Figure":
        """a(t)."""
        return draw.draw_costate(self.paths)

    def hamiltonian(self) -> "Figure":
        """H(t)."""
        return draw.draw_hamiltonian(self.paths)

    def errors(self) -> "Figure":
        """The error of every gradient method against the tolerance."""
        return draw.draw_errors(figure_data.method_errors(self.problem, faint=self.faint))

    @property
    def drawings(self) -> dict[str, Callable[[], "Figure"]]:
        """Name -> what draws it, the quickest first."""
        return {
            "theta": self.theta, "field": self.field, "states": self.states, "costate": self.adj,
            "hamiltonian": self.hamiltonian, "errors": self.errors,
        }  # fmt: skip


NAMES = ("theta", "field", "states", "costate", "hamiltonian", "errors")


def _chosen(ctx: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """a,b as ["a", "b"], names of pictures."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not set(words) <= set(NAMES):
        raise click.BadParameter(f"give names among {', '.join(NAMES)}, separated by commas", ctx, parameter)
    return words


@click.command("figures")
@click.argument("names", nargs=-1, metavar="[NAME ..]")
@click.option("--list", "listed", is_flag=True, help="List the NAMEs, and draw nothing.")
@click.option("--results", default=RESULTS, show_default=True, metavar="DIR", help="The experiments' results.")
@click.option("--problem", metavar="NAME|FILE.json",
              help="Pictures of this problem instead: a name of the catalogue, or a problem file.")  # fmt: skip
@click.option("--out", default="figures", show_default=True, metavar="DIR", help="The folder; made if it is not there.")
@click.option("--in-place", is_flag=True, help="Write each where the project keeps it, over the one that is there.")
@click.option("--format", "form", type=click.Choice(["png", "svg", "pdf"]), default="png", show_default=True)
@click.option("--pictures", callback=_chosen, default=",".join(NAMES), show_default=True, metavar="A,B",
              help="Only these; errors, which runs every method, takes longest.")  # fmt: skip
def figures(
    names: tuple[str, ...], listed: bool, results: str, problem: str | None, out: str, in_place: bool, form: str,
    pictures: list[str],
) -> None:  # fmt: skip
    """Every picture of the project, or each NAME, from what a checkout of it keeps; nothing is measured or trained.

    With --problem, of one problem: theta(t), the vector field over t, z(t), a(t), H(t), and every method's error
    against the tolerance. Exit status 0 if a picture was written, 1 if the problem has none of those asked for, 2 if
    the question makes no sense. Needs matplotlib: pip install 'refnode[figures]'.
    """
    kept = kept_pictures(Path(results), lambda name, picture: Pictures(catalogue(name)[0]).drawings[picture]())
    if listed:
        click.echo("\n".join(kept))
        return
    draw.require_matplotlib()
    if problem is None:
        _again({one_of("NAME", name, tuple(kept)): kept[name] for name in names} or kept, in_place, _folder(out), form)
    elif names or in_place:
        was = " ".join(names) or "--in-place"
        raise InvalidArgument("NAME", was, "left out beside --problem (see --pictures)")
    else:
        _of_problem(problem, _folder(out), form, pictures)


def _again(pictures: Mapping[str, Kept], in_place: bool, folder: Path, form: str) -> None:
    """Pictures that the project keeps, drawn again."""
    for name, kept in pictures.items():
        kept.check(name)
    for name, kept in pictures.items():
        path = (kept.folder if in_place else folder) / f"{name}.{form}"
        path.parent.mkdir(exist_ok=True)
        kept.write(path, form)
        click.echo(f"wrote {path}")


def _of_problem(name: str, folder: Path, form: str, pictures: list[str]) -> None:
    """Pictures of a problem, those that it has."""
    entry = Entry(Path(name).stem, "", load_problem(name)) if name.endswith(".json") else catalogue(name)[0]
    drawings, written = Pictures(entry).drawings, 0
    for picture in pictures:
        try:
            figure = drawings[picture]()
        except InvalidArgument as error:
            click.echo(f"skipped {picture}: {error.argument} is {error.was}; this picture needs it {error.allowed}")
            continue
        _write(figure, folder, f"{entry.name}_{picture}.{form}", form)
        written += 1
    sys.exit(0 if written else 1)


def _write(figure: "Figure", folder: Path, name: str, form: str) -> None:
    folder.mkdir(exist_ok=True)
    draw.save_figure(figure, folder / name, form)
    click.echo(f"wrote {folder / name}")


def _folder(out: str) -> Path:
    """The folder, which is made with the first picture; InvalidArgument if it cannot be."""
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument("out", repr(out), "a folder, not a file")
    if not folder.resolve().parent.is_dir():
        raise InvalidArgument("out", repr(out), "a folder, or a new one in a folder that exists")
    return folder
