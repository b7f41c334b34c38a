"""What the committed scoreboard, findings and README say is what the committed numbers say."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from validation import check
from validation.board import expected, table
from validation.board.known import KNOWN
from validation.board.scores import blown, load, word
from validation.peers.configurations import CONFIGURATIONS, LIBRARIES
from validation.scoreboard import expressible_problems

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PEERS = ROOT / "validation" / "results", ROOT / "validation" / "peers"
REPRODUCERS = sorted(path for path in (PEERS / "findings").glob("*.py") if not path.name.startswith("_"))
BOARD = load(RESULTS / "scoreboard.json")
CELLS = BOARD.cells()
README = (ROOT / "README.md").read_text("utf-8")
FINDINGS = (PEERS / "findings" / "README.md").read_text("utf-8")
INDEPENDENT = (RESULTS / "independent.md").read_text("utf-8")


def at(problem, configuration, tol):
    """The score of one cell at one tolerance."""
    (score,) = [s for s in CELLS[problem, configuration] if s.tol == tol]
    return score


def pinned():
    """Package -> version, of the requirements."""
    lines = [line for path in PEERS.glob("requirements*.txt") for line in path.read_text("utf-8").splitlines()]
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


# ---------------------------------------------------------------- the scoreboard


def test_the_page_is_that_of_the_numbers():
    """scoreboard.md is what the JSON file says, to the letter; the pictures lie beside it."""
    assert (RESULTS / "scoreboard.md").read_text("utf-8") == table.page(BOARD)
    for name in ("scoreboard.png", "scoreboard_few.png"):
        assert (RESULTS / name).read_bytes().startswith(b"\x89PNG")
        assert (RESULTS / name).stat().st_size < 1_000_000


def test_every_configuration_is_scored_on_every_problem():
    """Five libraries besides refnode, at five tolerances; whatever failed is a score too."""
    assert LIBRARIES == ("refnode", "torchdiffeq", "torchdyn", "torchode", "diffrax", "scipy")
    assert set(BOARD.problems) == set(expressible_problems())
    assert len(BOARD.problems) >= 50
    wanted = {(problem, configuration.name) for problem in BOARD.problems for configuration in CONFIGURATIONS}
    assert set(CELLS) == wanted
    assert all([s.tol for s in scores] == BOARD.tolerances for scores in CELLS.values())
    assert BOARD.tolerances == [1e-3, 1e-5, 1e-7, 1e-9, 1e-11]


def test_the_versions_are_those_pinned():
    """Results, findings and requirements speak of the same versions."""
    for package, version in pinned().items():
        if package in BOARD.environment:
            assert BOARD.environment[package].partition("+")[0] == version, package
            assert re.search(rf"{package} {re.escape(version)}\b", FINDINGS), package


def test_what_is_expected_is_what_the_board_says():
    """The file that CI compares with agrees with the committed board at the same tolerance, within half a digit."""
    loose = [s for s in BOARD.scores if s.tol in (1e-3, 1e-7)]
    found = expected.stated(type(BOARD)({}, [1e-3, 1e-7], BOARD.limit, BOARD.problems, loose))
    stated = expected.read(check.EXPECTED)
    assert {name.partition(" ")[0] for name in stated} == set(check.LIBRARIES)
    assert len(check.LIBRARIES) >= 2
    for configuration, cells in stated.items():
        assert cells["contracting"]["word"] == found[configuration]["contracting"]["word"]
        for problem, cell in cells.items():
            assert expected.same(cell, found[configuration][problem]), (configuration, problem)


# ---------------------------------------------------------------- what is known


BACKSOLVES = ["torchdiffeq adjoint", "torchdyn adjoint", "torchode joint backsolve", "diffrax backsolve, Tsit5"]


@pytest.mark.parametrize("name", BACKSOLVES)
def test_backsolves_explode_on_a_contracting_field(name):
    """1e14 times the gradient and more comes back without an exception; refnode's backsolve raises each time."""
    returned = [s for s in CELLS["contracting", name] if s.outcome == "returned"]
    assert blown(returned) >= 1e14
    assert word(CELLS["contracting", name]) == "wrong"
    assert {s.outcome for s in CELLS["contracting", "refnode backsolve"]} == {"raised"}
    assert all("UnreliableGradient" in s.message for s in CELLS["contracting", "refnode backsolve"])


def test_torchdyns_t0_gradient_is_wrong():
    """Its adjoint has not one digit in t0 at any tolerance, its autograd has, and so has everybody else's."""
    for problem in ("mild", "cosine", "concat_time"):
        assert all(s.digits["t0"] < 1 <= s.digits["x"] for s in CELLS[problem, "torchdyn adjoint"])
        for name in ("torchdyn autograd", "torchdiffeq adjoint", "diffrax checkpoint, Tsit5", "torchode autodiff"):
            assert at(problem, name, 1e-9).digits["t0"] > 5


def test_torchdiffeqs_dopri8_levels_off():
    """On cosine it falls short of its tolerance by digits; dopri5 of the same library does not."""
    for kind in ("backprop", "adjoint"):
        high, low = (at("cosine", f"torchdiffeq {kind}{method}", 1e-11) for method in (", dopri8", ""))
        assert high.digits[high.worst()] < 9
        assert low.digits[low.worst()] > 10


def test_torchdyn_computes_in_float32():
    """Its autograd levels off where the same steps in float64 do not."""
    for problem in ("mild", "cosine"):
        single, double = (at(problem, f"torchdyn autograd{more}", 1e-11) for more in ("", ", repaired to float64"))
        assert single.digits[single.worst()] < 8.5
        assert double.digits[double.worst()] > single.digits[single.worst()] + 1.5


def test_torchdyns_integral_loss_is_wrong():
    """With its integral_loss parameters have not two digits on theta_running; carried as a state, they have."""
    own, state = (at("theta_running", f"torchdyn adjoint{more}", 1e-7) for more in (", its integral_loss", ""))
    assert own.digits["theta.W0"] < 2
    assert state.digits["theta.W0"] > 5


def test_torchdyns_adjoints_are_wrong_backwards():
    """Over a span with T < t0 both adjoints are wrong; its autograd is right."""
    for name in ("torchdyn adjoint", "torchdyn interpolated"):
        assert word(CELLS["backwards", name]) == "wrong"
    assert at("backwards", "torchdyn autograd", 1e-7).digits["theta.W0"] > 5


def test_torchdyns_data_control_misses_a_term():
    """With its own DataControl the gradient of x has not one digit at any tolerance; with x a parameter it has."""
    assert all(
        s.digits["x"] < 1 < s.digits["theta.W0"] for s in CELLS["reflection", "torchdyn autograd, its own layers"]
    )
    assert at("reflection", "torchdyn autograd", 1e-7).digits["x"] > 5


def test_torchdyns_integral_loss_with_order_above_one_raises():
    """An AttributeError at every tolerance; carried as one more state, the integral's gradient is right."""
    for s in CELLS["second_order", "torchdyn autograd, its own layers"]:
        assert (s.outcome, s.message.partition(":")[0]) == ("raised", "AttributeError")
    assert at("second_order", "torchdyn autograd", 1e-7).digits["theta.W0"] > 5


def test_torchdyns_galerkin_layers_start_where_gradients_are_zero():
    """To the last digit, for every library and method that needs no differences; only the last bias has a gradient."""
    for (problem, name), scores in CELLS.items():
        if problem == "torchdyn_start" and name not in ("refnode central", "refnode richardson"):
            returned = [s for s in scores if s.outcome == "returned"]
            assert all(s.digits[leaf] == 16 for s in returned for leaf in ("alpha.W0", "alpha.b0", "alpha.W1")), name
    assert at("torchdyn_start", "torchdyn autograd, its own layers", 1e-7).digits["alpha.b1"] < 16


@pytest.mark.parametrize("problem", ["torchdyn_fourier", "torchdyn_bells", "torchdyn_rbf"])
def test_torchdyns_bases_are_not_fourier_or_spread_but_their_gradients_are_right(problem):
    """Its own layers agree with refnode's reference to what float32 leaves; what is wrong are the functions."""
    last = at(problem, "torchdyn autograd, its own layers", 1e-9)
    assert last.digits["alpha.W0"] > 5


def test_a_parameter_without_effect_crashes_torchdyns_adjoint():
    """At every tolerance; torchdiffeq's adjoint is right."""
    assert {s.outcome for s in CELLS["spare", "torchdyn adjoint"]} == {"raised"}
    assert word(CELLS["spare", "torchdiffeq adjoint"]) == "right"


def test_torchdyns_seminorm_does_nothing():
    """With the flag and without it, the same digits of every leaf on every problem at every tolerance."""
    for problem in BOARD.problems:
        pairs = zip(*(CELLS[problem, f"torchdyn adjoint{more}"] for more in ("", ", seminorm")), strict=True)
        assert all(s.digits == flag.digits for s, flag in pairs if s.outcome == flag.outcome == "returned"), problem


@pytest.mark.parametrize("defect", KNOWN, ids=lambda d: d.finding)
def test_known_defects_stand_on_the_page(defect):
    """Each is a row with its cell and its reproducer, which the findings show."""
    page = (RESULTS / "scoreboard.md").read_text("utf-8")
    (found,) = [row for row in rows(page) if row[0] == defect.claim]
    assert found[1] == defect.problem
    assert all(f"{name}: " in found[2] for name in defect.configurations)
    assert f"## {defect.finding}\n" in FINDINGS


def test_torchodes_backpropagation_is_nan_where_the_field_is_zero():
    """Every gradient on `zero` is NaN at every tolerance, status success; its joint backsolve is right."""
    assert all(s.blown is None and s.digits["x"] == 0 for s in CELLS["zero", "torchode autodiff"])
    assert word(CELLS["zero", "torchode joint backsolve"]) == "right"


def test_refnodes_own_methods_are_not_wrong():
    """Only finite differences are, where the catalogue says that they must be."""
    wrong = {cell for cell, scores in CELLS.items() if cell[1].startswith("refnode ") and word(scores) == "wrong"}
    assert {name for _, name in wrong} <= {"refnode central", "refnode richardson"}
    assert {problem for problem, _ in wrong} <= {"zero", "tiny_span"}


# ---------------------------------------------------------------- who is right


def rows(text):
    """The cells of a Markdown page's table rows, heads left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines][1:]


def test_refnodes_reference_is_right_by_another_way():
    """Every entry computed in 40 digits agrees with refnode's reference to 13 digits."""
    found = rows(INDEPENDENT)
    assert len(found) >= 40
    assert {row[0] for row in found} >= {"mild", "concat_time", "backwards", "theta_running", "contracting", "stiff"}
    assert max(float(row[3]) for row in found) < 1e-13


def test_torchdyn_is_wrong_by_another_way():
    """The same entries: torchdyn's autograd agrees, its adjoint's dloss/dt0 differs, and all of it for T < t0."""
    found = {(row[0], row[1]): [float(value) for value in (row[2], *row[4:6])] for row in rows(INDEPENDENT) if row[4]}
    assert all(abs(autograd / exact - 1) < 1e-5 for exact, autograd, _ in found.values())
    exact, _, adjoint = found["concat_time", "t0"]
    assert (round(exact, 4), round(adjoint, 4)) == (-1.6880, 2.5257)
    backwards = [(exact, adjoint) for (problem, _), (exact, _, adjoint) in found.items() if problem == "backwards"]
    assert all(abs(adjoint / exact - 1) > 0.01 for exact, adjoint in backwards)


@pytest.mark.parametrize("path", REPRODUCERS, ids=lambda path: path.stem)
def test_findings_stand_in_the_table_with_their_proof(path):
    """A reproducer needs nothing of refnode; its claim, proof and the library's version stand in the table."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    library, _, claim = ast.get_docstring(tree).partition(": ")
    assert library in LIBRARIES
    assert len(text.splitlines()) <= 40
    assert not re.search(r"import refnode|from refnode|validation", text)
    proof = " ".join(line[2:] for line in text.splitlines() if line.startswith("# ")).partition("Who is right: ")[2]
    (found,) = [row for row in rows(FINDINGS) if path.name in row[0]]
    assert found[1] == f"{library} {pinned()[library]}"
    assert found[2] == claim[0].upper() + claim[1:]
    assert found[3] == proof
    assert found[4] == f"`python validation/peers/findings/{path.name}`"
    assert found[5] in FINDINGS[FINDINGS.index(f"## {path.stem}") :]


@pytest.mark.parametrize("path", REPRODUCERS, ids=lambda path: path.stem)
def test_findings_run(path):
    """Where its library is installed, a reproducer prints what the page shows."""
    pytest.importorskip(ast.get_docstring(ast.parse(path.read_text("utf-8"))).partition(":")[0])
    done = subprocess.run([sys.executable, "-W", "ignore", path], capture_output=True, text=True, check=True)
    section = FINDINGS[FINDINGS.index(f"## {path.stem}") :]
    assert done.stdout.strip() == re.search(r"```text\n(.*?)\n```", section, re.DOTALL)[1]


# ---------------------------------------------------------------- the README


def test_the_readmes_first_picture_is_the_scoreboard():
    """And the sentence below it counts what the board counts."""
    picture = README.index("![")
    assert README[picture:].partition("](")[2].startswith("validation/results/scoreboard_few.png)")
    said = " ".join(README[picture:].split("\n\n")[1].split())
    (returned, wrong, share, most) = re.search(
        r"in (\d+) cases; in (\d+) of them it is wrong, (\d+) of these by (\w+)", table.headline(BOARD)
    ).groups()
    assert re.search(rf"\b{wrong} of {returned}\b", said)
    assert f"{share} of these are {most}'s" in said
