"""Gradients proven by ball arithmetic: midpoints and radii that hold the true value, rounding and truncation included.

    prove(problem, digits=20)          the gradient of every leaf to 20 digits
    prove_parts(problem, digits)       that of the point losses and that of the running losses, apart
    prove_samples(problem, digits)     what every sample of the batch contributes

Read in this order: series (power series of balls), discs (bounds in the complex plane), graph and dynamics (one
description for both), on_series and on_discs, bounds (Picard, Cauchy, comparison), lognorm, jets, trajectory, costate,
quadrature, sample, attempts.

python-flint, which has the balls, is an extra: pip install 'refnode[proof]'.
"""

from importlib.util import find_spec
from types import ModuleType

from refnode.arrays import flag, positive
from refnode.errors import BackendUnavailable, InvalidArgument
from refnode.oracle.truth import Truth
from refnode.problem import Problem


def prove(problem: Problem, digits: float = 20, *, samples: bool = False) -> Truth:
    """The gradient of every leaf, enclosed, with a number of digits.

    Parameters
    ----------
    problem    Problem, of analytic activations
    digits     digits, normwise per leaf; a leaf that is zero is measured against the largest
    samples    whether every sample's contribution (see `prove_samples`) must have the digits too

    Returns
    -------
    Truth    kind "proven"; mid has the midpoints as Decimals, radius is about them and holds all rounding

    Raises
    ------
    NotProvable           for what is not analytic (ReLU) or has no known formula (functions of your own)
    NotEnoughDigits       if more terms and more precision do not give the digits
    BackendUnavailable    without python-flint

    Cost     0.1 to 10 s for networks of up to 1000 parameters and 20 digits; grows like digits^2 and with the steps,
             whose length is a share of the distance to the solution's singularities in the complex plane.
    Source   see the modules; Tucker 2011, Validated Numerics.
    """
    engine = _engine()
    found = engine.proof(problem, _checked(problem, digits), [(True, True)], flag("samples", samples))
    return found.truth(found.total(0))


def prove_parts(problem: Problem, digits: float = 20) -> dict[str, Truth]:
    """The gradient's two parts, each enclosed: the costate equation is linear in its sources.

    Returns
    -------
    dict    "terminal": terminal and observation losses; "integral": running losses. They add up to `prove`'s

    Raises what `prove` raises; a part that is zero is proven to be.
    """
    engine = _engine()
    found = engine.proof(problem, _checked(problem, digits), [(True, False), (False, True)])
    return {name: found.truth(found.total(pair)) for pair, name in enumerate(("terminal", "integral"))}


def prove_samples(problem: Problem, digits: float = 20) -> list[Truth]:
    """What every sample contributes to the loss and to the gradient, in the leaves' shapes; the sum is `prove`'s.

    The digits are those of the sum: a contribution that is smaller has fewer.
    """
    engine = _engine()
    found = engine.proof(problem, _checked(problem, digits), [(True, True)])
    return [found.truth(found.single(i, 0)) for i in range(problem.batch)]


def _engine() -> ModuleType:
    if find_spec("flint") is None:
        raise BackendUnavailable("proofs need python-flint, for ball arithmetic: pip install 'refnode[proof]'")
    from refnode.oracle.proof import attempts as engine

    return engine


def _checked(problem: object, digits: object) -> float:
    if not isinstance(problem, Problem):
        raise InvalidArgument("problem", problem, "an rn.Problem")
    asked = positive("digits", digits)
    if asked > 100:
        raise InvalidArgument("digits", asked, "at most 100")
    return asked


__all__ = ["prove", "prove_parts", "prove_samples"]
