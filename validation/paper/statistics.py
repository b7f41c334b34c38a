"""Means over seeds with their confidence, and differences between two ways of training, paired by seed."""

from typing import Any

import numpy as np
from scipy import optimize, stats

CONFIDENCE = 0.95
ROUNDING = 1e-12  # differences that spread no more than this, relatively, are all the same


def mean_interval(values: Any) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % confidence interval by Student's t over the seeds."""
    v = np.asarray(values, dtype=float)
    if len(v) < 2 or np.ptp(v) == 0:
        return float(v.mean()), float(v.mean()), float(v.mean())
    low, high = stats.t.interval(CONFIDENCE, len(v) - 1, v.mean(), stats.sem(v))
    return float(v.mean()), float(low), float(high)


def geometric_interval(values: Any) -> tuple[float, float, float]:
    """The geometric mean of positive values, and the ends of its interval: that of the mean of their logarithms."""
    mean, low, high = np.exp(mean_interval(np.log(np.asarray(values, dtype=float))))
    return float(mean), float(low), float(high)


def fraction_interval(values: Any, points: int) -> tuple[float, float, float]:
    """The mean of fractions of the same so many points, one a seed, and its 95 % interval, which stays within 0 and 1.

    Points that one model decides are a cluster. Clopper and Pearson's interval is therefore taken not with all points
    but with the effective number n that would give a fraction p the variance seen between seeds (Korn and Graubard
    1998, "Confidence intervals for proportions with small expected number of positive counts"):

        n = min(points, p (1 - p) / (s^2 / m) * (t_{points - 1} / t_{m - 1})^2)

    Where all seeds agree only the number of points limits what is known.
    """
    v = np.asarray(values, dtype=float)
    mean, m, n = float(v.mean()), len(v), float(points)
    if m > 1 and np.ptp(v) > 0:
        t = stats.t.ppf((1 + CONFIDENCE) / 2, [points - 1, m - 1])
        n = min(n, float(mean * (1 - mean) / (v.var(ddof=1) / m) * (t[0] / t[1]) ** 2))
    low, high = stats.beta.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], [mean * n, mean * n + 1],
                               [n - mean * n + 1, n - mean * n])  # fmt: skip
    return mean, float(np.nan_to_num(low, nan=0.0)), float(np.nan_to_num(high, nan=1.0))


def paired(a: Any, b: Any) -> dict[str, float]:
    """How a differs from b, seed by seed: the mean difference with its 95 % interval, its size in standard deviations
    of the differences (Cohen's d_z) with its own, and the two-sided p of Wilcoxon's signed ranks, which assumes no
    normality."""
    d = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    mean, low, high = mean_interval(d)
    spread = float(d.std(ddof=1))
    p = float(stats.wilcoxon(d).pvalue) if d.any() else 1.0
    size = mean / spread if spread > ROUNDING * abs(mean) else 0.0
    d_low, d_high = effect_interval(size, len(d))
    return {"mean": mean, "low": low, "high": high, "d": size, "d_low": d_low, "d_high": d_high, "p": p,
            "n": float(len(d))}  # fmt: skip


def effect_interval(d: float, n: int) -> tuple[float, float]:
    """The 95 % interval of an effect size d of n pairs: d sqrt(n) is Student's t, not central by delta sqrt(n); the
    ends are those delta of which it is the upper and the lower 2.5 % point (Cumming and Finch 2001)."""
    t = abs(d) * np.sqrt(n)
    reach = 4 * np.sqrt(1 + t**2 / (2 * (n - 1)))  # standard errors of t

    def end(tail: float) -> float:
        root = optimize.brentq(lambda delta: stats.nct.cdf(t, n - 1, delta) - tail, t - reach, t + reach)
        return float(root / np.sqrt(n))

    low, high = end((1 + CONFIDENCE) / 2), end((1 - CONFIDENCE) / 2)
    return (low, high) if d >= 0 else (-high, -low)


def ratio(a: Any, b: Any) -> dict[str, float]:
    """The same of log a - log b, given back as factors: how many times b is a, in the geometric mean; both means."""
    logs = np.log(np.asarray(a, dtype=float)), np.log(np.asarray(b, dtype=float))
    found = paired(*logs) | {"of_a": float(logs[0].mean()), "of_b": float(logs[1].mean())}
    return found | {word: float(np.exp(found[word])) for word in ("mean", "low", "high", "of_a", "of_b")}


def holm(p: list[float]) -> list[float]:
    """Holm's correction: the chance of any false claim among all of them stays below the level."""
    order = np.argsort(p)
    adjusted, worst = np.zeros(len(p)), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return [float(v) for v in adjusted]
