"""The ladder of truth: the best gradient of a problem that is to be had, with its radius and its kind.

1. golden file      a proof that ships with refnode, for the problems of the catalogue
2. closed form      decimal arithmetic
3. proof            ball arithmetic: the true value is within the radius, by proof (needs python-flint)
4. double-double    Taylor series in twice float64's digits: the radius is an estimate that was never seen to fail
5. consensus        float64: two tolerances, two tableaux and the quadrature adjoint; their spread is the estimate

Rungs are tried in this order; a truth says why it does not stand on a better one.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

from refnode.api import solve
from refnode.errors import InvalidArgument, NotEnoughDigits, NotProvable, NumericalError
from refnode.oracle.closed_forms import closed_form_truth
from refnode.oracle.consensus import consensus
from refnode.oracle.golden.shelf import golden_truth
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.solver import Solver

USUAL_DIGITS = 20.0  # of a proof, where no number is asked for
MOST_WORK = 5e3  # steps x samples x parameters of a problem that is proven though no digits are asked for


def reference(problem: Problem, digits: float | None = None) -> Truth:
    """The best truth about a problem's gradient.

    Parameters
    ----------
    problem    Problem
    digits     digits that every leaf must have, or NotEnoughDigits is raised; None: the best that seconds can buy

    Returns
    -------
    Truth    grads, radius, kind; how it was computed, and in `passed` why not on a better rung of the ladder

    Raises
    ------
    NotEnoughDigits    naming what every rung lacks
    NumericalError     if the problem cannot be solved

    Cost     golden files and closed forms: milliseconds; proofs: seconds to minutes, and only if digits are asked for
             or the problem is small; a consensus: four gradients at tolerances 1e-12 and 1e-13.
    """
    if not isinstance(problem, Problem):
        raise InvalidArgument("problem", problem, "an rn.Problem")
    if digits is not None and (isinstance(digits, bool) or not isinstance(digits, int | float) or not digits > 0):
        raise InvalidArgument("digits", digits, "a number > 0, or None")
    passed: dict[str, str] = {}
    for name, rung in RUNGS.items():
        try:
            truth = rung(problem, digits)
        except (NotProvable, NotEnoughDigits) as reason:
            passed[name] = str(reason)
            continue
        if not (short := _shortage(truth, digits)):
            return replace(truth, passed={**passed, **truth.passed})
        passed[name] = short
    said = "; ".join(f"{name}: {reason}" for name, reason in passed.items())
    raise NotEnoughDigits(f"{digits} digits were asked for. {said}")


def _shortage(truth: Truth, digits: float | None) -> str:
    """What a truth lacks of the digits that are asked for; empty if nothing."""
    have = truth.digits()
    worst = min(have, key=lambda leaf: have[leaf])
    if digits is None or have[worst] >= digits:
        return ""
    return f"{worst} has {have[worst]:.1f} digits, {truth.kind}"


# ---------------------------------------------------------------- the rungs: Truth, or NotProvable with the reason

def _golden_file(problem: Problem, digits: float | None) -> Truth:
    truth = golden_truth(problem)
    if truth is None:
        raise NotProvable("no golden file of this problem")
    return truth


def _closed_form(problem: Problem, digits: float | None) -> Truth:
    truth = closed_form_truth(problem)
    if truth is None:
        raise NotProvable("no closed form is known")
    return truth


def _proof(problem: Problem, digits: float | None) -> Truth:
    if find_spec("flint") is None:
        raise NotProvable("python-flint is not installed (pip install 'refnode[proof]')")
    _check_work(problem, digits)
    from refnode.oracle.proof import prove

    return _asked(prove, problem, digits or USUAL_DIGITS)


def _double_double(problem: Problem, digits: float | None) -> Truth:
    _check_work(problem, digits)
    from refnode.oracle.taylor import verify

    return _asked(verify, problem, digits or USUAL_DIGITS)


def _consensus(problem: Problem, digits: float | None) -> Truth:
    return consensus(problem)


Rung = Callable[[Problem, float | None], Truth]
RUNGS: dict[str, Rung] = {
    "golden file": _golden_file,
    "closed form": _closed_form,
    "proof": _proof,
    "double-double": _double_double,
    "consensus": _consensus,
}


def _asked(engine: Callable[..., Truth], problem: Problem, digits: float) -> Truth:
    """What an engine says; a failure of its arithmetic is no failure of the problem, which the consensus will show."""
    try:
        return engine(problem, digits=digits)
    except NotEnoughDigits:
        raise
    except InvalidArgument as error:  # more digits than the engine can give any problem
        raise NotProvable(str(error)) from error
    except NumericalError as error:
        raise NotProvable(f"{type(error).__name__}: {error}") from error


def _check_work(problem: Problem, digits: float | None) -> None:
    """Raise NotProvable for a large problem of which no digits are asked: seconds must not become hours unasked."""
    if digits is not None:
        return
    stats = solve(problem, Solver("dopri5", tol=1e-8, steps="shared")).stats
    parameters = sum(leaf.size for leaf in problem.params.values())
    work = float(stats.accepted) * problem.batch * parameters
    if work > MOST_WORK:
        raise NotProvable(f"{work:.0e} steps x samples x parameters: only where digits are asked for")
