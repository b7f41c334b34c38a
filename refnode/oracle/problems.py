"""The catalogue: problems that tell gradient methods apart, each built from a fixed seed, with what each method claims.

Every number is an exact float64, so the true gradient is one well-defined real vector, the same for every library.
"""

from collections.abc import Callable

import numpy as np

from refnode.architectures import NeuralODE
from refnode.errors import InvalidArgument
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.gradients import METHODS
from refnode.loss import Loss, Observations, SquaredError, observe
from refnode.oracle import zoo
from refnode.oracle.entry import BATCH, Claim, Entry, draw_params, drawn_problem, normal, terminal
from refnode.problem import Problem
from refnode.running import Harmonic, Kinetic, ParameterNorm, SquaredNorm, Tracking


def exp() -> Entry:
    """z' = w z in one dimension."""
    model = NeuralODE(MLP(1, 1, bias=False), span=(0.25, 1.5))
    problem = Problem(model, {"theta.W0": [[-0.75]]}, normal((BATCH, 1), 1), terminal(2, 1))
    return Entry("exp", "closed form: z' = w z", problem)


def linear() -> Entry:
    """z' = z A in two dimensions, not normal."""
    model = NeuralODE(MLP(2, 2, bias=False), span=(0.25, 1.5))
    problem = Problem(model, {"theta.W0": [[-0.5, 1.25], [-0.75, 0.25]]}, normal((BATCH, 2), 3), terminal(4))
    return Entry("linear", "closed form: z' = z A", problem)


def cosine() -> Entry:
    """z' = k cos(t) z: depends on t, so a wrong stage time shows."""
    model = NeuralODE(CosineField(2), span=(0.25, 2.5))
    problem = Problem(model, {"theta.k": [0.75, -1.25]}, normal((BATCH, 2), 5), terminal(6))
    return Entry("cosine", "closed form: z' = k cos(t) z", problem)


def mild() -> Entry:
    """2-8-2 tanh: nothing special."""
    return Entry("mild", "2-8-2 tanh, T = 1", drawn_problem(NeuralODE(MLP(2, 8, 2)), 10))


def deep() -> Entry:
    """2-16-16-2 tanh."""
    return Entry("deep", "2-16-16-2 tanh, T = 1", drawn_problem(NeuralODE(MLP(2, 16, 16, 2)), 20))


def wide() -> Entry:
    """2-64-2 tanh."""
    return Entry("wide", "2-64-2 tanh, T = 1", drawn_problem(NeuralODE(MLP(2, 64, 2)), 30))


def contracting() -> Entry:
    """Linear part with eigenvalues -20 +- 3i for T = 2, and a running loss: backwards, errors grow by e^40."""
    model = NeuralODE(MLP(2, 8, 2, skip=True), span=(0.0, 2.0))
    loss = Loss(SquaredError(normal((BATCH, 2), 42)), running=0.25 * SquaredNorm())
    problem = drawn_problem(model, 40, loss, A=np.array([[-20.0, 3.0], [-3.0, -20.0]]), b1=np.array([12.0, -8.0]))
    faint = Claim("delivers", 5.0, "dloss/dx is 1/300 of the largest costate, to which atol is relative")
    claims = dict.fromkeys(METHODS, faint)
    claims["backsolve"] = Claim("refuses", because="backwards, the state's error grows like e^40")
    return Entry("contracting", "eigenvalues about -20, T = 2", problem, claims)


def stiff() -> Entry:
    """Linear part with eigenvalues -1 and -200: explicit steps are held down by stability."""
    model = NeuralODE(MLP(2, 8, 2, skip=True))
    problem = drawn_problem(model, 50, A=np.array([[-100.5, 99.5], [99.5, -100.5]]))
    claims = {"backsolve": Claim("refuses", because="backwards, the state's error grows like e^200")}
    return Entry("stiff", "eigenvalues -1 and -200", problem, claims)


def cycle() -> Entry:
    """A stable limit cycle followed for six turns: contraction across it, a phase that drifts with the parameters.

        z' = -0.6 z + 2 (z_2, -z_1) + 1.5 tanh z + ..,   growth 0.9 at the origin, decay far out
    """
    model = NeuralODE(MLP(2, 4, 2, skip=True), span=(0.0, 20.0))
    W0 = np.array([[1.0, 0.0, 0.5, -0.3], [0.0, 1.0, 0.3, 0.5]]) + 0.1 * normal((2, 4), 60)
    W1 = np.array([[1.5, 0.0], [0.0, 1.5], [0.2, 0.0], [0.0, 0.2]]) + 0.1 * normal((4, 2), 61)
    problem = drawn_problem(model, 62, W0=W0, W1=W1, A=np.array([[-0.6, -2.0], [2.0, -0.6]]))
    claims = {"backsolve": Claim("refuses", because="backwards, what contracts onto the cycle flies off it")}
    return Entry("cycle", "limit cycle, T = 20", problem, claims)


def expanding() -> Entry:
    """Eigenvalues about 2 for T = 2: small causes, large effects."""
    model = NeuralODE(MLP(2, 8, 2, skip=True), span=(0.0, 2.0))
    problem = drawn_problem(model, 70, A=np.array([[2.0, 0.5], [-0.5, 2.0]]))
    return Entry("expanding", "eigenvalues about 2, T = 2", problem)


def concat_time() -> Entry:
    """Time enters every layer, t0 is not 0."""
    model = NeuralODE(MLP(2, 8, 2, time="every"), span=(0.5, 2.0))
    return Entry("concat_time", "t in every layer, t0 = 0.5", drawn_problem(model, 80))


def observations() -> Entry:
    """Twenty observations on the way, and a readout."""
    model = NeuralODE(MLP(2, 8, 2, time="first"), h_y=MLP(2, 3), span=(0.0, 2.0))
    times = np.linspace(0.0, 2.0, 22)[1:-1]
    loss = Loss(SquaredError(normal((BATCH, 3), 92)), observe(times, normal((20, BATCH, 3), 91)))
    return Entry("observations", "20 observations, linear readout", drawn_problem(model, 90, loss))


def theta_running() -> Entry:
    """A running loss that depends on theta, on f, on t and on z; and a terminal loss."""
    model = NeuralODE(MLP(2, 8, 2, time="first"), span=(0.25, 1.25))
    beta = Harmonic([1.0, 1.0], [1.0, 1.0], [0.0, -np.pi / 2])
    running = (0.5 * Kinetic(), 0.01 * ParameterNorm(), Tracking(beta), 0.25 * SquaredNorm(reduction="sum"))
    loss = Loss(SquaredError(normal((BATCH, 2), 101)), running=running, scale=1.5)
    return Entry("theta_running", "running loss of theta, f, t and z", drawn_problem(model, 100, loss))


def unused() -> Entry:
    """A readout that no loss sees, a hidden unit without outgoing weights: gradients that are exactly zero."""
    model = NeuralODE(MLP(2, 8, 2), h_y=MLP(2, 3))
    params = draw_params(model, 110)
    params["theta.W1"][0] = 0.0
    problem = Problem(model, params, normal((BATCH, 2), 111), Loss(running=SquaredNorm()))
    return Entry("unused", "parameters without effect", problem)


def zero() -> Entry:
    """A field that is zero and a target that is met: every gradient is exactly zero."""
    model = NeuralODE(MLP(2, 8, 2, time="first"))
    params = draw_params(model, 120) | {"theta.W1": np.zeros((8, 2)), "theta.b1": np.zeros(2)}
    x = normal((BATCH, 2), 121)
    loss = Loss(SquaredError(x), Observations([0.5], (SquaredError(x),)))
    noise = Claim("known-bad", 0.0, "a difference of losses has round-off, and there is no gradient to measure it by")
    claims = {"central": noise, "richardson": noise}
    return Entry("zero", "zero gradient", Problem(model, params, x, loss), claims)


def scales() -> Entry:
    """Leaves of sizes 1e-6 to 1e6 in one model."""
    model = NeuralODE(MLP(2, 8, 2))
    params = draw_params(model, 130)
    params |= {"theta.W0": 1e-6 * params["theta.W0"], "theta.W1": 1e6 * params["theta.W1"]}
    params["theta.b1"] = 1e6 * params["theta.b1"]
    loss = Loss(SquaredError(1e6 * normal((BATCH, 2), 131), weight=1e-9))
    problem = Problem(model, params, 1e6 * normal((BATCH, 2), 132), loss)
    return Entry("scales", "leaf sizes 1e-6 .. 1e6", problem)


def tiny_span() -> Entry:
    """T - t0 = 2^-30: the state hardly moves, yet the gradient has all its digits."""
    model = NeuralODE(MLP(2, 8, 2, time="first"), span=(0.5, 0.5 + 2.0**-30))
    small = Claim("known-bad", 0.0, "the loss hardly depends on theta: round-off of loss / step is larger than it")
    claims = {"central": small, "richardson": small}
    return Entry("tiny_span", "T - t0 = 2^-30", drawn_problem(model, 140), claims)


def backwards() -> Entry:
    """t0 = 1.5, T = 0.25: depth runs down, the integral is signed."""
    model = NeuralODE(MLP(2, 8, 2, time="first"), span=(1.5, 0.25))
    loss = Loss(SquaredError(normal((BATCH, 2), 151)), running=0.5 * Kinetic())
    return Entry("backwards", "T < t0, with a running loss", drawn_problem(model, 150, loss))


def own_T() -> Entry:
    """A T for each sample."""
    model = NeuralODE(MLP(2, 8, 2, time="first"))
    loss = Loss(SquaredError(normal((BATCH, 2), 161)), running=0.5 * SquaredNorm())
    problem = Problem(model, draw_params(model, 160), normal((BATCH, 2), 162), loss, (0.25, np.array([0.75, 1.0, 1.5])))
    return Entry("own_T", "one T per sample", problem)


def relu() -> Entry:
    """2-16-2 ReLU: kinks that no step lands on."""
    kinks = "costate and sensitivities jump at kinks, which steps straddle"
    frozen = "a step across a kink differentiates it as if it stood still: an error of the step's size, whatever tol"
    continuous = ("backsolve", "interpolating", "quadrature", "forward_continuous")
    claims = dict.fromkeys(continuous, Claim("delivers", 4.0, kinks))
    discrete = ("discrete", "forward_discrete", "complex_step", "central", "richardson")
    claims |= dict.fromkeys(discrete, Claim("known-bad", 2.0, frozen))
    return Entry("relu", "2-16-2 ReLU", drawn_problem(NeuralODE(MLP(2, 16, 2, act="relu")), 170), claims)


CATALOGUE: dict[str, Callable[[], Entry]] = {
    build.__name__: build
    for build in (
        exp, linear, cosine, mild, deep, wide, contracting, stiff, cycle, expanding, concat_time, observations,
        theta_running, unused, zero, scales, tiny_span, backwards, own_T, relu, *zoo.ENTRIES,
    )
}  # fmt: skip


def catalogue(*names: str) -> tuple[Entry, ...]:
    """The entries of these names, or all of them, in order.

    >>> [entry.name for entry in catalogue("mild", "stiff")]
    ['mild', 'stiff']
    """
    unknown = [name for name in names if name not in CATALOGUE]
    if unknown:
        raise InvalidArgument("problems", ", ".join(map(str, unknown)), "among " + ", ".join(CATALOGUE))
    return tuple(CATALOGUE[name]() for name in (names or CATALOGUE))
