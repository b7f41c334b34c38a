"""Every picture that the project keeps: where it lies in a checkout, what it is drawn from, and by what.

Those of the paper's experiments are functions of their results (`refnode.gallery`), those of the pages are of a
problem of the catalogue, and those of the benchmarks and of the scoreboard are drawn by the script that measured, which
is asked to draw what it kept and to measure nothing.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refnode.errors import BackendUnavailable, InvalidArgument
from refnode.figures import save_figure
from refnode.gallery import GALLERY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = "validation/paper/results"
OF_PROBLEMS = (("galerkin_fourier", "theta"), ("stacked", "hamiltonian"), ("theta_running", "errors"))
BENCHMARKS = (
    "a0_forward", "a1_gradient", "a2_training", "a3_bound", "a4_profile", "a5_depth", "b0_work_precision",
    "b1_round_off", "c0_batch", "c1_threads", "d0_memory", "e0_start_up", "f0_micro_kernels", "f1_activations",
)  # fmt: skip
SCOREBOARDS = ("scoreboard", "scoreboard_few")

OfProblem = Callable[[str, str], "Figure"]  # problem, picture


@dataclass(frozen=True)
class Kept:
    """A picture.

    folder    where it lies
    source    the file that it is drawn from; None: computed
    write     write(path, form) draws it to a file
    """

    folder: Path
    source: Path | None
    write: Callable[[Path, str], object]

    def check(self, name: str) -> None:
        """Raise InvalidArgument if there is nothing to draw it from."""
        if self.source is not None and not self.source.is_file():
            allowed = f"drawn where {self.source} is: in a checkout of refnode, or see --results"
            raise InvalidArgument("NAME", name, allowed)


def kept_pictures(results: Path, of_problem: OfProblem) -> Mapping[str, Kept]:
    """All of them by name. results: the folder of the experiments' results."""
    found = {name: _experiment(results / f"{source}.json", draw) for name, (source, draw) in GALLERY.items()}
    found |= {f"{problem}_{picture}": _problem(of_problem, problem, picture) for problem, picture in OF_PROBLEMS}
    found |= {name: _script(f"benchmarks.{name}", f"benchmarks/results/{name}.json") for name in BENCHMARKS}
    board = _script("validation.scoreboard", "validation/results/scoreboard.json")
    return found | dict.fromkeys(SCOREBOARDS, board)


def _experiment(source: Path, draw: Callable[[dict[str, object]], "Figure"]) -> Kept:
    def write(path: Path, form: str) -> None:
        save_figure(draw(json.loads(source.read_text("utf-8"))), path, form)

    return Kept(Path(RESULTS), source, write)


def _problem(of_problem: OfProblem, problem: str, picture: str) -> Kept:
    return Kept(Path("docs/figures"), None, lambda path, form: save_figure(of_problem(problem, picture), path, form))


def _script(module: str, source: str) -> Kept:
    def write(path: Path, form: str) -> None:
        command = [sys.executable, "-m", module, "--draw", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = " ".join(done.stderr.split()[-40:])
            raise BackendUnavailable(f"`python -m {module} --draw {path}` failed: {said}")

    return Kept(Path(source).parent, Path(source), write)
