"""Every picture of the gallery is drawn from the results that are kept, and says what its axes are."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from refnode import cli
from refnode.gallery import GALLERY

RESULTS = Path(__file__).resolve().parent.parent / "validation" / "paper" / "results"
KEPT = [name for name, (source, _) in GALLERY.items() if (RESULTS / f"{source}.json").exists()]


def command(*arguments):
    """Run `refnode figures` in this process."""
    return CliRunner().invoke(cli.main, ["figures", *map(str, arguments)])


@pytest.mark.parametrize("name", KEPT)
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
    assert command("--list").stdout.split() == list(GALLERY)
    for arguments, said in (
        (("nothing",), "NAME: got 'nothing'"),
        (("engines", "--results", tmp_path), "python -m validation.paper engines"),
        (("engines", "--problem", "mild"), "left out beside --problem"),
    ):
        done = command(*arguments)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert said in done.stderr
