"""Pictures draw the data they are given, whole files or none, without a display; without matplotlib they say so."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import refnode as rn
from refnode import cli, figure_data, figures

ROOT = Path(__file__).resolve().parent.parent
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def problem_of(name):
    """A problem of the catalogue."""
    return rn.catalogue(name)[0].problem


@pytest.fixture(scope="module")
def stack():
    """A stack with learned edges and observations: its costate and its paths."""
    found = rn.costate(problem_of("stacked"), rn.Solver(tol=1e-5))
    return found, figure_data.paths(found, 40)


def shown(figure):
    """The panels that are visible."""
    return [ax for ax in figure.axes if ax.get_visible()]


def curves(ax):
    """The y data of the curves, without marks and vertical lines."""
    return [line.get_ydata() for line in ax.lines if len(line.get_xdata()) > 2]


# ---------------------------------------------------------------- drawings

def test_theta_has_a_panel_for_each_leaf():
    """Each entry of each leaf is a curve of the data; edges are lines, nodes are dots."""
    data = figure_data.theta_curves(problem_of("function_space"), 40)
    panels = shown(figures.draw_theta(data))
    assert [ax.get_title() for ax in panels] == ["$W_{0}(t)$", "$b_{0}(t)$", "$W_{1}(t)$", "$b_{1}(t)$"]
    drawn = [line.get_ydata() for line in panels[0].lines if len(line.get_xdata()) == len(data.at)]
    np.testing.assert_array_equal(drawn, data.leaves["W0"].reshape(-1, 6).T)
    assert sum(line.get_marker() == "." for line in panels[0].lines) == 5


@pytest.mark.parametrize(("draw", "part"), [(figures.draw_states, "z"), (figures.draw_costate, "adj")])
def test_a_panel_for_each_component(stack, draw, part):
    """z(t) and a(t): a panel for each component, a curve for each sample, in the same colour in each panel."""
    _, paths = stack
    panels = shown(draw(paths))
    assert len(panels) == 2
    for j, ax in enumerate(panels):
        np.testing.assert_array_equal(curves(ax), getattr(paths, part)[:, :, j].T)
        colours = [line.get_color() for line in ax.lines if len(line.get_xdata()) > 2]
        assert len(set(colours)) == 3
        assert colours == list(figures.COLOURS[:3])


def test_observations_are_marked(stack):
    """Dots where the state is observed, crosses at what was observed: as many as samples, in every panel."""
    _, paths = stack
    for j, ax in enumerate(shown(figures.draw_states(paths))):
        found = {mark: [line.get_ydata() for line in ax.lines if line.get_marker() == mark] for mark in ("o", "x")}
        np.testing.assert_array_equal([y for y in found["o"] if len(y)], paths.z_obs[:, :, j].T)
        np.testing.assert_array_equal([y for y in found["x"] if len(y)], paths.targets[:, :, j].T)


def test_hamiltonian(stack):
    """H(t): a curve for each sample, a vertical line for each edge and observation."""
    _, paths = stack
    (ax,) = shown(figures.draw_hamiltonian(paths))
    np.testing.assert_array_equal(curves(ax), paths.H.T)
    upright = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2]
    np.testing.assert_array_equal(sorted(upright), sorted([*paths.edges, *paths.t_obs]))


def test_a_constant_hamiltonian_looks_constant():
    """Round-off is not blown up: the axis spans a thousandth of the value at least."""
    paths = figure_data.paths(rn.costate(rn.catalogue("exp")[0].problem, rn.Solver(tol=1e-12)))
    one = figure_data.Paths(**(vars(paths) | {"t": paths.t[:, :1], "H": paths.H[:, :1]}))
    (ax,) = shown(figures.draw_hamiltonian(one))
    low, high = ax.get_ylim()
    assert high - low >= 1e-3 * np.abs(one.H).max()


def test_field(stack):
    """A panel for each t, named by it, with an arrow for each place and a dot for each state, on one scale."""
    found, paths = stack
    shots = figure_data.snapshots(found, paths, points=5)
    panels = shown(figures.draw_field(shots))
    assert [ax.get_title() for ax in panels] == ["$t = 0.25$", "$t = 0.75$", "$t = 1.25$", "$t = 1.75$"]
    arrows = [ax.collections[0] for ax in panels]
    for rate, quiver in zip(shots.rate, arrows, strict=True):
        np.testing.assert_array_equal([quiver.U, quiver.V], rate.T)
    assert len({quiver.scale for quiver in arrows}) == 1
    dots = [[line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"] for ax in panels]
    np.testing.assert_array_equal(dots, shots.states)


def test_errors():
    """Every method and the claim 100 tol on two logarithmic axes; the legend says who refuses."""
    tols = np.array([1e-2, 1e-6])
    data = figure_data.MethodErrors(tols, {"a": tols, "b": np.array([np.nan, 1.0]), "c": tols * np.nan}, 1e-12)
    (ax,) = shown(figures.draw_errors(data))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_array_equal(drawn["claim: 100 tol"], 100 * tols)
    np.testing.assert_array_equal(drawn["a"], tols)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"a", "b (refuses some)", "c (refuses)"} <= set(labels)


EVERY = ("own_T", "backwards", "galerkin_monomial", "stacked_fixed", "second_order", "third_order", "data_control",
         "reflection", "adaptive_follows", "everything", "exp")  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_every_kind_of_model_can_be_drawn(name, tmp_path):
    """States, costate, Hamiltonian, and field and theta(t) where there are any, draw without a warning."""
    problem = problem_of(name)
    found = rn.costate(problem, rn.Solver(tol=1e-4))
    paths = figure_data.paths(found, 20)
    pictures = [figures.draw_states(paths), figures.draw_costate(paths), figures.draw_hamiltonian(paths)]
    if problem.model.state_width == 2:
        pictures.append(figures.draw_field(figure_data.snapshots(found, paths, points=5)))
    if not isinstance(problem.model.depth, rn.Constant):
        pictures.append(figures.draw_theta(figure_data.theta_curves(problem, 20)))
    for k, picture in enumerate(pictures):
        assert figures.save_figure(picture, tmp_path / f"{k}.png").stat().st_size > 1000


def test_nothing_is_changed_for_the_caller(stack):
    """The house style is in force while a picture is drawn, and no longer; pyplot is not needed."""
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.draw_hamiltonian(stack[1])
    assert dict(matplotlib.rcParams) == before
    code = "import sys, refnode.figures; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---------------------------------------------------------------- files

@pytest.mark.parametrize("form", MAGIC)
def test_equal_pictures_are_equal_bytes(form, stack, tmp_path):
    """A picture drawn twice gives the same file, of the format asked for, and nothing else beside it."""
    files = [figures.save_figure(figures.draw_states(stack[1]), tmp_path / f"{k}.{form}", form) for k in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes().startswith(MAGIC[form])
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_is_the_old_one_or_the_whole_new_one(stack, tmp_path, monkeypatch):
    """If writing fails, the old file stands, and no draft is left."""
    old = tmp_path / "p.png"
    old.write_bytes(b"old")
    picture = figures.draw_states(stack[1])

    def broken(file, **words):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(picture, "savefig", broken)
    with pytest.raises(OSError, match="no space"):
        figures.save_figure(picture, old)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert old.read_bytes() == b"old"


def test_without_matplotlib(stack, monkeypatch):
    """The error says how to install it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(rn.BackendUnavailable, match=r"pip install 'refnode\[figures\]'"):
        figures.draw_states(stack[1])


# ---------------------------------------------------------------- the command line

def command(*arguments):
    """Run `refnode figures` in this process."""
    return CliRunner().invoke(cli.main, ["figures", *map(str, arguments)])


def refusal(*arguments):
    """The line on stderr of a command that refuses."""
    done = command(*arguments)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr


def test_a_catalogue_problem(tmp_path):
    """It lists what it wrote, a file for each picture asked for, named after the problem."""
    done = command("--problem", "stacked", "--out", tmp_path / "new", "--pictures", "theta,states", "--format", "svg")
    paths = [tmp_path / "new" / f"stacked_{picture}.svg" for picture in ("theta", "states")]
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [f"wrote {path}" for path in paths]
    assert sorted((tmp_path / "new").iterdir()) == sorted(paths)


def test_a_problem_file(tmp_path):
    """A problem file is as good as a name, errors included."""
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False))
    loss = rn.Loss(rn.SquaredError([0.5]))
    rn.Problem(model, {"theta.W0": [[-0.5]]}, [[1.0], [2.0]], loss).save(tmp_path / "mine.json")
    done = command("--problem", tmp_path / "mine.json", "--out", tmp_path, "--pictures", "hamiltonian,errors")
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.glob("*.png")} == {"mine_hamiltonian.png", "mine_errors.png"}


def test_a_picture_that_a_problem_does_not_have(tmp_path):
    """It is skipped, and why is said; status 1 and no folder if nothing is left."""
    done = command("--problem", "second_order", "--out", tmp_path / "o", "--pictures", "theta,field,hamiltonian")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("skipped theta: theta(t) is the same at every depth")
    assert lines[1] == "skipped field: z is of width 4; this picture needs it of width 2"
    assert lines[2].startswith("wrote ")
    done = command("--problem", "second_order", "--out", tmp_path / "none", "--pictures", "field")
    assert done.exit_code == 1
    assert not (tmp_path / "none").exists()


def test_refusals(tmp_path, monkeypatch):
    """An unknown problem, an unknown picture, a folder that cannot be, no matplotlib: status 2, one line."""
    assert "nope; must be among exp, linear" in refusal("--problem", "nope")
    assert "a regular file that exists" in refusal("--problem", tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    assert "a folder, not a file" in refusal("--out", tmp_path / "file")
    assert "in a folder that exists" in refusal("--out", tmp_path / "a" / "b")
    done = command("--pictures", "theta,colours")
    assert done.exit_code == 2
    assert "give names among theta, field" in done.stderr
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'refnode[figures]'" in refusal("--out", tmp_path)
