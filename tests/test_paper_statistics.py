"""The statistics of the paper's results are the textbook's."""

import math

import numpy as np
import pytest
from scipy import stats

from validation.paper.statistics import (
    effect_interval,
    fraction_interval,
    geometric_interval,
    holm,
    mean_interval,
    paired,
    ratio,
)


def test_the_interval_is_students():
    """1 .. 5: mean 3, s = sqrt(2.5), t_0.975(4) = 2.7764451051977934 (Abramowitz and Stegun, table 26.10: 2.776)."""
    mean, low, high = mean_interval([1, 2, 3, 4, 5])
    half = 2.7764451051977934 * math.sqrt(2.5 / 5)
    assert (mean, low, high) == pytest.approx((3, 3 - half, 3 + half), rel=1e-12)
    assert mean_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_the_geometric_interval_is_that_of_the_logarithms():
    """Powers of two: the mean of the exponents 1 .. 5, and an interval that no positive number's can make negative."""
    mean, low, high = geometric_interval(2.0 ** np.arange(1, 6))
    assert np.log2([mean, low, high]) == pytest.approx(mean_interval([1, 2, 3, 4, 5]), rel=1e-12)


def test_the_interval_covers_as_often_as_it_says():
    """2,000 samples of ten normal numbers: 95 % of the intervals cover the mean, to four standard errors of a count."""
    rng = np.random.default_rng(0)
    covered = sum(low <= 0 <= high for _, low, high in (mean_interval(rng.standard_normal(10)) for _ in range(2000)))
    assert abs(covered - 1900) < 4 * math.sqrt(2000 * 0.95 * 0.05)


def test_the_interval_of_fractions_is_clopper_and_pearsons():
    """All seeds at 8 of 10: at each end the binomial's tail is 2.5 %. All right: the end where 0.025 = p^n, and 1.
    With a spread between seeds the interval is wider, and stays within."""
    mean, low, high = fraction_interval([0.8] * 5, 10)
    assert mean == pytest.approx(0.8)
    assert stats.binom.sf(7, 10, low) == pytest.approx(0.025)
    assert stats.binom.cdf(8, 10, high) == pytest.approx(0.025)
    assert fraction_interval([1.0] * 10, 2000) == (1.0, pytest.approx(0.025 ** (1 / 2000)), 1.0)
    assert fraction_interval([0.0] * 10, 2000) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 2000)))
    mean, low, high = fraction_interval([1.0] * 9 + [0.83], 2000)
    assert 0.5 < low < fraction_interval([mean] * 10, 2000)[1] < mean < high < 1


def test_the_interval_of_fractions_covers():
    """1,000 times ten models whose accuracies spread about 20/25, on 500 points: 95 % of the intervals cover it, less
    three standard errors of that count, sqrt(0.0475 / 1000)."""
    rng = np.random.default_rng(1)
    seen = (rng.binomial(500, rng.beta(20, 5, 10)) / 500 for _ in range(1000))
    covered = np.mean([low <= 0.8 <= high for _, low, high in (fraction_interval(v, 500) for v in seen)])
    assert covered > 0.95 - 3 * math.sqrt(0.0475 / 1000)


def test_the_interval_of_an_effect_is_that_of_the_noncentral_t():
    """Hedges and Olkin 1985: about d +- 1.96 sqrt(1 / n + d^2 / 2n), within a tenth of its width at n = 100; exact at
    d = 0, where t is central. The sign turns with d. Of 20,000 times twelve pairs whose true effect is an end of the
    interval, 2.5 % lie beyond d, but for four standard errors of that count."""
    low, high = effect_interval(0.5, 100)
    half = 1.96 * math.sqrt(1 / 100 + 0.5**2 / 200)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.2 * half)
    assert effect_interval(-0.5, 100) == pytest.approx((-high, -low))
    assert effect_interval(0.0, 12)[1] == pytest.approx(stats.norm.ppf(0.975) / math.sqrt(12), rel=1e-6)
    low, high = effect_interval(1.2, 12)
    for end, side in ((low, 1), (high, -1)):
        sample = end + np.random.default_rng(2).standard_normal((20_000, 12))
        beyond = np.mean(side * sample.mean(axis=1) / sample.std(axis=1, ddof=1) > side * 1.2)
        assert abs(beyond - 0.025) < 4 * math.sqrt(0.025 * 0.975 / 20_000)


def test_pairs_and_ratios():
    """All ten differences positive: the exact two-sided p of signed ranks is 2 / 2^10. A ratio of factors is exact."""
    a = np.arange(1.0, 11.0)
    found = paired(3 * a, a)
    assert found["p"] == pytest.approx(2 / 2**10, rel=1e-12)
    assert found["mean"] == 11.0
    assert found["d"] == pytest.approx(11 / np.std(2 * a, ddof=1), rel=1e-12)
    assert ratio(4 * a, a)["mean"] == pytest.approx(4.0, rel=1e-12)
    assert ratio(4 * a, a)["of_b"] == pytest.approx(stats.gmean(a), rel=1e-12)
    assert paired(a, a)["p"] == 1.0
    assert stats.t.ppf(0.975, 9) == pytest.approx(2.262157, abs=1e-6)


def test_holm_steps_down():
    """Holm 1979: the smallest p times n, the next times n - 1, never falling, at most one."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
