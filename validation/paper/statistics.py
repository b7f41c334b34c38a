"""Means over seeds with their confidence, and differences between two ways of training, paired by seed."""

from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


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


def paired(a: Any, b: Any) -> dict[str, float]:
    """How a differs from b, seed by seed: the mean difference with its 95 % interval, its size in standard deviations
    of the differences (Cohen's d_z), and the two-sided p of Wilcoxon's signed ranks, which assumes no normality."""
    d = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    mean, low, high = mean_interval(d)
    spread = float(d.std(ddof=1))
    p = float(stats.wilcoxon(d).pvalue) if d.any() else 1.0
    return {"mean": mean, "low": low, "high": high, "d": mean / spread if spread else 0.0, "p": p, "n": float(len(d))}


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
