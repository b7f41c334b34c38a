"""Who is right? Entries of the catalogue's gradients by mpmath alone, beside refnode's reference and torchdyn's.

    python -m validation.independent          (in the environment that validation/peers/install.sh makes)

Nothing of refnode but the problem's numbers is used: the field and the loss are written anew as Taylor series of
mpmath's 40-digit numbers, summed up step by step, and the loss is differenced, (loss(v + h) - loss(v - h)) / 2h with
h = 1e-12, which is right to about 20 digits. Writes validation/results/independent.md and prints it.
"""

from pathlib import Path

import mpmath
import numpy as np
from mpmath import mpf

import refnode as rn
from validation.board.table import header, row
from validation.peers.configurations import chosen
from validation.peers.support import NotSupported

OUT = Path(__file__).parent / "results" / "independent.md"
DIGITS, ORDER, H, EPS = 40, 36, mpf(10) ** -12, mpf(10) ** -38
PROBLEMS = ("mild", "concat_time", "backwards", "theta_running", "contracting", "stiff")
HARD = ("contracting", "stiff")  # torchdyn is not asked: it takes minutes
TITLES = ("torchdyn autograd", "torchdyn adjoint", "torchdyn adjoint, its integral_loss")
TOL = 1e-9  # handed to the peers


# ---------------------------------------------------------------- a problem in Taylor series of mpmath's numbers


class Series:
    """One sample's y = [z, q] along s in [0, 1], t = t0 + s (T - t0): coefficients of all quantities, order by order.

    So T < t0 is nothing special. Every method returns coefficient k, once those below are there.
    """

    def __init__(self, problem, leaf):
        self.problem, self.leaf, self.length = problem, leaf, leaf["T"] - leaf["t0"]
        self.terms = [(weight(term, len(leaf["x"])), term) for term in problem.loss.running]

    def step(self, s, y):
        """y a step further, and how far that is: such that the last coefficient is below round-off."""
        self.t, self.y = self.leaf["t0"] + s * self.length, [[u] for u in y]
        self.inner = [[([], [], []) for _ in self.leaf[f"theta.b{k}"]] for k in range(self.problem.model.field.depth)]
        self.f, self.theta_norm = [[] for _ in y[:-1]], sum(squares(w) for n, w in self.leaf.items() if "theta" in n)
        for k in range(ORDER):
            for u, rate in zip(self.y, self.rate(k), strict=True):
                u.append(self.length * rate / (k + 1))
        h = min(1 - s, (EPS / max(abs(c) for u in self.y for c in u[-2:])) ** (mpf(1) / ORDER))
        return s + h, [mpmath.polyval(u[::-1], h) for u in self.y]

    def time(self, k):
        """t."""
        return (self.t, self.length, mpf(0))[min(k, 2)]

    def rate(self, k):
        """f and the running loss."""
        z = [u[k] for u in self.y[:-1]]
        for f, rate in zip(self.f, self.field(k, z), strict=True):
            f.append(rate)
        return [f[k] for f in self.f] + [sum((w * self.running(k, term) for w, term in self.terms), mpf(0))]

    def field(self, k, z):
        """f (d,) of a tanh MLP."""
        net, h = self.problem.model.field, z
        for n in range(net.depth):
            h = [self.tanh(k, *unit) for unit in self.inner[n - 1]] if n else h
            h = [*h, self.time(k)] if net.time == "every" or (net.time == "first" and n == 0) else h
            W, b = self.leaf[f"theta.W{n}"], self.leaf[f"theta.b{n}"]
            h = [u + b[j] if k == 0 else u for j, u in enumerate(times(h, W))]
            for (u, _, _), value in zip(self.inner[n], h, strict=True):
                u.append(value)
        if net.skip:
            return [f + g for f, g in zip(h, times(z, self.leaf["theta.A"]), strict=True)]
        return h

    def tanh(self, k, u, h, slope):
        """h = tanh u, by h' = (1 - h^2) u'."""
        if k == 0:
            h.append(mpmath.tanh(u[0]))
        else:
            h.append(mpmath.fdot((j * u[j], slope[k - j]) for j in range(1, k + 1)) / k)
        slope.append((k == 0) - product(k, h, h))
        return h[k]

    def running(self, k, term):
        """A running loss without its weight."""
        if isinstance(term, rn.ParameterNorm):
            return self.theta_norm if k == 0 else mpf(0)
        if isinstance(term, rn.Kinetic):
            return sum(product(k, f, f) for f in self.f)
        if isinstance(term, rn.SquaredNorm):
            return sum(product(k, u, u) for u in self.y[:-1])
        missed = [[u[j] - self.path(j, term.beta, i) for j in range(k + 1)] for i, u in enumerate(self.y[:-1])]
        return sum(product(k, u, u) for u in missed)

    def path(self, k, beta, i):
        """A harmonic path's component: A cos(2 pi w t + phase)."""
        w = 2 * mpmath.pi * mpf(float(beta.frequency[i]))
        angle = w * self.t + mpf(float(beta.phase[i])) + k * mpmath.pi / 2
        return mpf(float(beta.amplitude[i])) * (w * self.length) ** k / mpmath.factorial(k) * mpmath.cos(angle)


def times(h, W):
    """h W."""
    return [mpmath.fdot(h, column) for column in zip(*W, strict=True)]


def product(k, a, b):
    """Coefficient k of a product."""
    return mpmath.fdot(a[: k + 1], b[k::-1])


def squares(nested):
    """The sum of squares of nested lists."""
    return sum(map(squares, nested)) if isinstance(nested, list) else nested**2


def weight(term, batch):
    """What one sample's share of a term counts for."""
    return mpf(float(term.weight)) / (batch if term.reduction == "mean" else 1)


def sample_loss(problem, leaf, n):
    """One sample's share of the loss."""
    series, s, y = Series(problem, leaf), mpf(0), [*leaf["x"][n], mpf(0)]
    while s < 1:
        s, y = series.step(s, y)
    target = problem.loss.terminal.target[n]
    missed = sum((u - mpf(float(v))) ** 2 for u, v in zip(y[:-1], target, strict=True))
    return mpf(float(problem.loss.scale)) * (weight(problem.loss.terminal, problem.batch) * missed + y[-1])


def derivative(problem, name, index):
    """dloss / d(one entry), by a central difference; only one sample's loss depends on an entry of x."""

    def loss(step):
        leaf = {key: numbers(value.tolist()) for key, value in problem.leaves().items()}
        leaf[name] = moved(leaf[name], index, step)
        samples = [index[0]] if name == "x" else range(problem.batch)
        return sum(sample_loss(problem, leaf, n) for n in samples)

    return (loss(H) - loss(-H)) / (2 * H)


def numbers(nested):
    """Floats as mpmath numbers, exactly."""
    return [numbers(part) for part in nested] if isinstance(nested, list) else mpf(nested)


def moved(nested, index, step):
    """The same with one entry moved."""
    if not index:
        return nested + step
    return [moved(part, index[1:], step) if i == index[0] else part for i, part in enumerate(nested)]


# ---------------------------------------------------------------- the page


def peers(problem):
    """What torchdyn returns, by each of TITLES; empty where that does not apply."""
    found = []
    for configuration in chosen(TITLES):
        try:
            found.append(configuration.load()(problem, TOL))
        except NotSupported:
            found.append({})
    return found


def entries(entry):
    """Table rows, the largest entry of each leaf: mpmath, how far refnode's reference is from it, and torchdyn."""
    truth, others = rn.reference(entry.problem), [] if entry.name in HARD else peers(entry.problem)
    for name, reference in truth.grads.items():
        index = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(reference)), reference.shape))
        exact = derivative(entry.problem, name, index)
        off = abs(mpf(float(reference[index])) - exact) / abs(exact)
        said = [f"{float(g[name][index]):.7g}" if name in g else "" for g in others]
        where = f"{name}{list(index) if index else ''}"
        yield [entry.name, where, mpmath.nstr(exact, 18), mpmath.nstr(off, 2), *(said or [""] * len(TITLES))]


def page():
    """The whole page."""
    mpmath.mp.dps = DIGITS
    lines = [HEAD, *header(["problem", "entry", "by Taylor series", "refnode's reference is off by", *TITLES])]
    lines += [row(cells) for entry in rn.catalogue(*PROBLEMS) for cells in entries(entry)]
    return "\n".join(lines) + "\n"


HEAD = f"""\
# Entries of gradients by another way

Taylor series in {DIGITS} digits and a central difference of the loss, sharing nothing with refnode but the problem's
numbers, against refnode's reference (relative), and what torchdyn returns at tolerance {TOL:.0e}. Where torchdyn
differs in the second digit, torchdyn is wrong: [findings](../peers/findings/README.md) say why. The entry is the
largest of each leaf. Regenerate: `python -m validation.independent`.
"""


def main():
    """Write the page and print it."""
    text = page()
    OUT.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
