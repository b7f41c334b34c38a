"""Every picture of the gallery is drawn from the results that are kept, and says what its axes are."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import SCRIPTS
from refnode import cli
from refnode.gallery import GALLERY
from refnode.kept_pictures import kept_pictures

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "validation" / "paper" / "results"


def command(*arguments):
    """Run `refnode figures` in this process."""
    return CliRunner().invoke(cli.main, ["figures", *map(str, arguments)])


@pytest.mark.parametrize("name", GALLERY)
def test_every_picture_is_drawn(name, tmp_path):
    """Panels with labels or titles, and a file that is the one in the results, wherever the same matplotlib drew it."""
    source, function = GALLERY[name]
    figure = function(json.loads((RESULTS / f"{source}.json").read_text("utf-8")))
    said = [ax.get_xlabel() + ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert all(said[: len(said) - 1])
    done = command(name, "--results", RESULTS, "--out", tmp_path)
    assert done.stdout.splitlines() == [f"wrote {tmp_path / name}.png"]
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_the_list_and_the_refusals(tmp_path):
    """--list names all; an unknown picture, and results that are not there, are refused in one line."""
    listed = command("--list").stdout.split()
    assert set(GALLERY) < set(listed)
    assert {*SCRIPTS, "scoreboard", "scoreboard_few", "stacked_hamiltonian"} < set(listed)
    for arguments, said in (
        (("nothing",), "NAME: got 'nothing'"),
        (("engines", "--results", tmp_path), "engines.json is"),
        (("engines", "--problem", "mild"), "left out beside --problem"),
        (("--in-place", "--problem", "mild"), "left out beside --problem"),
    ):
        done = command(*arguments)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert said in done.stderr


def test_every_picture_that_is_committed_has_a_name(monkeypatch):
    """PNG files in the repository are those of the list, each where the list says, drawn from a file that is there."""
    monkeypatch.chdir(ROOT)
    kept = kept_pictures(Path("validation/paper/results"), lambda problem, picture: None)
    for name, picture in kept.items():
        picture.check(name)
    folders = ("docs/figures", "benchmarks/results", "validation/results", "validation/paper/results")
    there = {path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).glob("*.png")}
    assert there == {picture.folder / f"{name}.png" for name, picture in kept.items()}


def test_a_script_draws_what_it_kept(tmp_path, monkeypatch):
    """The benchmarks' and the scoreboard's pictures come from their scripts, which measure nothing; a script that
    cannot says so in one line."""
    monkeypatch.chdir(ROOT)
    done = command("c0_batch", "scoreboard_few", "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("c0_batch", "scoreboard_few"))
    monkeypatch.setattr(sys, "executable", "false")
    done = command("c0_batch", "--out", tmp_path)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


def test_in_place_draws_over_what_is_kept(tmp_path, monkeypatch):
    """Each in the folder where the project keeps it, from here on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "validation" / "paper" / "results").mkdir(parents=True)
    done = command("depth_theta", "--results", RESULTS, "--in-place")
    assert done.stdout.splitlines() == [f"wrote {Path('validation/paper/results/depth_theta.png')}"]
    assert (tmp_path / "validation/paper/results/depth_theta.png").exists()
