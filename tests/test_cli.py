"""The command line prints what the library computes; what is refused is one line on stderr and exit status 2."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import refnode as rn
from refnode import cli, json_file
from refnode.gradients import METHODS
from refnode.oracle.certificate import Cell, Certificate

ROOT = Path(__file__).resolve().parent.parent


def refnode(*arguments, columns=80):
    """Run the command line in this process."""
    return CliRunner().invoke(cli.main, [str(a) for a in arguments], env={"COLUMNS": str(columns)})


def refusal(*arguments):
    """The line on stderr of a command that refuses."""
    done = refnode(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def rows(done):
    """The words of every line on stdout."""
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture
def problem(rng):
    """Two samples, an MLP and a readout."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2, time="first"), h_y=rn.Linear(2, 1))
    return rn.Problem(model, model.init(rng), rng.standard_normal((2, 2)), rn.Loss(rn.SquaredError(np.zeros(1))))


@pytest.fixture
def file(problem, tmp_path):
    """The file of that problem."""
    problem.save(tmp_path / "p.json")
    return tmp_path / "p.json"


# ---------------------------------------------------------------- the group

def test_version_and_help():
    """--version says the version; --help names every command."""
    assert refnode("--version").stdout.strip().endswith(rn.__version__)
    listed = refnode("--help")
    assert listed.exit_code == 0
    assert all(command in listed.stdout for command in ("certify", "gradient", "methods", "info"))


def test_python_m_refnode():
    """`python -m refnode` is the same command, and a refused file ends it with status 2 and one line."""
    command = [sys.executable, "-m", "refnode"]
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[-1]) == (0, rn.__version__)
    done = subprocess.run([*command, "gradient", "none.json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("refnode: none.json: the file: got ")
    assert done.stderr.count("\n") == 1


# ---------------------------------------------------------------- gradient

@pytest.mark.parametrize(
    ("options", "method", "solver"),
    [
        ((), "discrete", rn.Solver()),
        (("--method", "backsolve", "--tol", "1e-6", "--own"), "backsolve", rn.Solver(tol=1e-6, steps="own")),
        (("--method", "discrete", "--solver", "rk4", "--steps-fixed", "4"), "discrete", rn.Solver("rk4", n_steps=4)),
    ],
)
def test_gradient_prints_and_writes_the_gradient(problem, file, tmp_path, options, method, solver):
    """The table has every leaf with shape and largest entry, the file every bit."""
    want = rn.gradient(problem, method, solver)
    done = refnode("gradient", file, *options, "--out", tmp_path / "g.json")
    assert (done.exit_code, done.stderr) == (0, "")
    for name, leaf in want.grads.items():
        assert [name, *str(leaf.shape).split(), f"{np.abs(leaf).max():.17g}"] in rows(done)
    assert f"loss    {want.loss:.17g}" in done.stdout
    assert f"nfe     {want.stats.nfe} forwards, {want.stats.nfe_backward} after" in done.stdout
    written = json.loads((tmp_path / "g.json").read_text())
    jsonschema.validate(written, json.loads((ROOT / "refnode" / "gradient.schema.json").read_text()))
    assert written["grads"] == {name: json_file.encode(leaf) for name, leaf in want.grads.items()}


def test_gradient_refuses_in_one_line(file, tmp_path):
    """Bad files, tolerances, targets and solves: status 2, one line that says what is allowed, nothing written."""
    out = tmp_path / "g.json"
    cut = tmp_path / "cut.json"
    cut.write_text(file.read_text()[:-40])
    assert "no JSON here" in refusal("gradient", cut, "--out", out)
    assert "a folder or a special file" in refusal("gradient", tmp_path)
    assert "tol: got -1.0; must be a finite number > 0" in refusal("gradient", file, "--tol", "-1", "--out", out)
    assert "given without a tolerance" in refusal("gradient", file, "--tol", "1e-3", "--steps-fixed", "3")
    assert "or give n_steps" in refusal("gradient", file, "--solver", "rk4")
    assert "in a folder that exists" in refusal("gradient", file, "--out", tmp_path / "none" / "g.json")
    assert not out.exists()


def test_a_gradient_that_is_refused_is_one_line(tmp_path):
    """UnreliableGradient ends in status 2 too: z' = -40 z cannot be brought back."""
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), span=(0.0, 1.0))
    loss = rn.Loss(rn.LinearFunctional(np.ones(1)))
    rn.Problem(model, {"theta.W0": [[-40.0]]}, np.ones((2, 1)), loss).save(tmp_path / "p.json")
    refusal("gradient", tmp_path / "p.json", "--method", "backsolve")


def test_a_full_disk_is_one_line(file, tmp_path, monkeypatch):
    """What the system refuses is said like what refnode refuses."""

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json_file.os, "fsync", full)
    done = refnode("gradient", file, "--out", tmp_path / "g.json")
    assert done.exit_code == 2
    assert done.stderr.strip() == "refnode: [Errno 28] No space left on device"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("option", [("--method", "adjoint"), ("--solver", "rk5"), ("--steps-fixed", "many")])
def test_unknown_words_are_usage_errors(file, option):
    """Click names the option and what it may be."""
    done = refnode("gradient", file, *option)
    assert done.exit_code == 2
    assert option[0] in done.stderr


# ---------------------------------------------------------------- methods, info

def test_methods_prints_every_method_legibly():
    """Every method and every fact of METHODS stands in the table, word for word, at 80 columns."""
    done = refnode("methods")
    assert max(map(len, done.stdout.splitlines())) <= 80
    words = " ".join(done.stdout.split())
    for name, method in METHODS.items():
        facts = {"exact for": method.exact_for, "memory": method.memory, "cost": method.cost, "fails": method.fails}
        assert f"{name} " + " ".join(f"{word} {fact}" for word, fact in facts.items()) in words


def test_info_says_what_a_number_depends_on(monkeypatch):
    """Versions, processor, cores, threads, linear algebra and backends; no package is imported for its version."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "somewhere")
    done = refnode("info", columns=200)
    facts = dict(line.strip().split(maxsplit=1) for line in done.stdout.splitlines())
    assert facts["refnode"] == rn.__version__
    assert facts["numpy"] == np.__version__
    assert facts["python"].split()[-1] == ".".join(map(str, sys.version_info[:3]))
    assert {"scipy", "numba", "matplotlib", "python-flint", "platform", "processor", "cores", "BLAS"} <= set(facts)
    assert "OMP_NUM_THREADS=3" in facts["threads"]
    assert "somewhere" in done.stdout
    assert "numpy" in facts["backends"]
    code = "import sys; from refnode.environment import *; environment_facts(); print({'numba'} & set(sys.modules))"
    fresh = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == "set()"


# ---------------------------------------------------------------- certify

def cell(problem, method, digits, ok=True, claim="delivers", claimed=6.0, outcome="", note=""):
    """A cell of a certificate, made up."""
    return Cell(problem, method, claim, claimed, digits, "theta.W0", 0.5, 80, 99, outcome, ok, "closed form", note)


KEPT = (
    cell("exp", "discrete", 8.25),
    cell("exp", "backsolve", None, claim="refuses", claimed=None),
    cell("relu", "discrete", 1.5, claim="known-bad", claimed=None),
)
MISSED = (
    cell("exp", "central", 3.1, ok=False, outcome="3.1 digits in T[0], 6.0 promised", note="[bold]because[/bold]"),
    cell("relu", "quadrature", None, ok=False, outcome="raises UnreliableGradient: no"),
    cell("relu", "backsolve", 9.0, ok=False, claim="refuses", claimed=None, outcome="returned where it should refuse"),
)


def certified(monkeypatch, cells, *options):
    """Run certify with a certificate that is made up; also what it was asked for."""
    asked = []

    def certify(problems, methods, quick, progress, backend):
        progress("exp: discrete", 0, 2)
        asked.append((problems, methods, quick))
        return Certificate(cells, rn.Solver(), 12.34)

    monkeypatch.setattr(cli, "certify", certify)
    return refnode("certify", *options), asked


def test_certify_prints_one_table_and_exits_with_0(monkeypatch):
    """Digits, refusals and known weaknesses, rows problems and columns methods; no bar where no terminal is."""
    done, asked = certified(monkeypatch, KEPT, "--problems", "exp, relu", "--methods", "discrete,backsolve", "--quick")
    assert (done.exit_code, done.stderr) == (0, "")
    assert asked == [(["exp", "relu"], ["discrete", "backsolve"], True)]
    assert ["problem", "disc", "back"] in rows(done)
    assert ["exp", "8.2", "refuses"] in rows(done)
    assert ["relu", "(1.5)", "-"] in rows(done)
    assert done.stdout.endswith("3 of 3 cells keep their claim; 12.3 s\n")


def test_certify_lists_what_misses_its_claim_and_exits_with_1(monkeypatch):
    """Every missed cell is BAD in the table and explained below it, its text untouched by markup."""
    done, _ = certified(monkeypatch, KEPT + MISSED)
    assert done.exit_code == 1
    words = " ".join(done.stdout.split())
    assert "BAD 3.1 < 6.0" in words
    assert "BAD raises" in words
    assert "BAD 9.0" in words
    assert "3.1 digits in T[0], 6.0 promised (claimed because: [bold]because[/bold]); truth: closed form" in words
    assert "3 of 6 cells keep their claim" in words


@pytest.mark.parametrize("columns", [80, 100])
def test_certificates_are_legible(monkeypatch, columns):
    """All nine methods fit into 80 columns: no number and no problem's name is broken."""
    cells = tuple(cell("theta_running", method, 10.25, claimed=8.0) for method in METHODS if method != "backsolve")
    cells += (cell("theta_running", "backsolve", None, claim="refuses"), *KEPT)
    monkeypatch.setattr(cli, "certify", lambda *_: Certificate(cells, rn.Solver(), 1.0))
    done = refnode("certify", "--verbose", columns=columns)
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert ["theta_running", *["10.2"] * 8, "refuses"] in rows(done)
    assert ["exp", "discrete", "theta.W0", "80", "99", "0.50", "closed", "form"] in rows(done)


def test_certify_writes_its_certificate(monkeypatch, tmp_path):
    """--json writes all cells, also when some miss their claim; a bad path is refused before anything runs."""
    done, _ = certified(monkeypatch, KEPT + MISSED, "--json", tmp_path / "c.json")
    assert done.exit_code == 1
    written = json.loads((tmp_path / "c.json").read_text())
    assert (written["ok"], len(written["cells"])) == (False, 6)
    done, asked = certified(monkeypatch, KEPT, "--json", tmp_path / "none" / "c.json")
    assert (done.exit_code, asked) == (2, [])


def test_certify_for_real(tmp_path):
    """One closed form by two methods: both deliver, and the digits in the file are those of the library."""
    done = refnode("certify", "--problems", "exp", "--methods", "discrete,interpolating", "--json", tmp_path / "c.json")
    assert done.exit_code == 0
    cells = json.loads((tmp_path / "c.json").read_text())["cells"]
    assert [c["digits"] for c in cells] == [c.digits for c in rn.certify(["exp"], ["discrete", "interpolating"]).cells]


def test_certify_names_what_is_allowed():
    """Unknown problems and methods are refused with the list of known ones; an empty list is a usage error."""
    assert "mild" in refusal("certify", "--problems", "mid")
    assert "interpolating" in refusal("certify", "--problems", "exp", "--methods", "adjoint")
    assert refnode("certify", "--problems", ",").exit_code == 2
