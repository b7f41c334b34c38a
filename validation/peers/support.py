"""What every adapter asks before it starts: whether its translation can express the problem."""

import refnode as rn

LIMIT = 100_000  # steps of one solve, where a library asks for a number


class NotSupported(Exception):
    """The library cannot express the problem, or its adapter does not; the text says why."""


def require(condition: bool, reason: str) -> None:
    """Raise NotSupported with the reason unless the condition holds."""
    if not condition:
        raise NotSupported(reason)


def check(problem: rn.Problem, own_span: bool = False, observed_end: bool = False) -> None:
    """Raise NotSupported unless the translations beside this file can express the problem.

    own_span        whether the library can solve every sample over a span of its own
    observed_end    whether an observation may stand at t0 or T, a second time beside it
    """
    model, loss = problem.model, problem.loss
    points = [loss.terminal] if loss.terminal is not None else []
    points += list(loss.observations.terms) if loss.observations is not None else []
    built_in = (rn.SquaredNorm, rn.Kinetic, rn.ParameterNorm, rn.Tracking)
    tracked = [term.beta for term in loss.running if isinstance(term, rn.Tracking)]
    require(isinstance(model.field, rn.MLP | rn.CosineField), "the field is not an MLP or a CosineField")
    require(isinstance(model.depth, rn.Constant), "theta depends on depth")
    require(model.order == 1 and model.control == "none", "the model is of higher order or data-controlled")
    require(type(model.h_x) is rn.Identity, "there is an input map h_x")
    require(type(model.h_y) is rn.Identity or readout(problem) is not None, "the readout h_y is not an MLP")
    require(all(isinstance(point, rn.SquaredError) for point in points), "a point loss is not a squared error")
    require(all(isinstance(term, built_in) for term in loss.running), "a running loss is not built in")
    require(all(isinstance(beta, rn.Harmonic) for beta in tracked), "a tracked path is not harmonic")
    require(own_span or all(end.ndim == 0 for end in problem.span), "one span for the whole batch, no T per sample")
    twice = any((end == t).any() for end in problem.span for t in problem.leaves().get("t_obs", ()))
    require(observed_end or not twice, "times rise strictly, so no observation at an end of the span")


def expressible(problem: rn.Problem) -> bool:
    """Whether at least one of the translations can express the problem."""
    try:
        check(problem, own_span=True, observed_end=True)
    except NotSupported:
        return False
    return True


def readout(problem: rn.Problem) -> rn.MLP | None:
    """The MLP of h_y; None where h_y is the identity."""
    return getattr(problem.model.h_y, "mlp", None)


def takes_time(net: rn.MLP, k: int) -> bool:
    """Whether t enters layer k of the network."""
    return net.time == "every" or (net.time == "first" and k == 0)


def part(leaves: dict, prefix: str) -> dict:
    """The leaves of one part of the model by their short names: theta.W0 as W0."""
    return {name.partition(".")[2]: leaf for name, leaf in leaves.items() if name.startswith(prefix + ".")}


def point_losses(problem: rn.Problem) -> list:
    """The squared error at each of t0, the observation times and T, in that order; None where there is none."""
    observed = [] if problem.loss.observations is None else list(problem.loss.observations.terms)
    return [None, *observed, problem.loss.terminal]
