"""Intervals by their definitions, by how often they cover the truth, and in words."""

import statistics

import numpy as np
import pytest
from scipy import stats

from lib.intervals import (
    THREE_SIGMA,
    mean_interval,
    ratio_interval,
    variance_interval,
    verdict,
)


def test_mean_interval_is_students():
    values = np.random.default_rng(0).standard_normal((7, 3))
    error = values.std(0, ddof=1) / np.sqrt(7)
    for level in (0.5, 0.95, 0.9973):
        mean, (low, high) = mean_interval(values, level)
        expected = stats.t.interval(level, df=6, loc=values.mean(0), scale=error)
        np.testing.assert_allclose(mean, values.mean(0), rtol=1e-12)
        np.testing.assert_allclose((low, high), expected, rtol=1e-12)
    np.testing.assert_array_equal(mean_interval(values)[1], mean_interval(values, 0.95)[1])


def test_variance_interval_has_the_sum_of_squares_over_quantiles_of_chi_square():
    values = [1.0, 2.0, 4.0]
    squares = 14 / 3  # about the mean
    for level in (0.5, 0.95, THREE_SIGMA):
        variance, (low, high) = variance_interval(values, level)
        assert variance == pytest.approx(statistics.variance(values), rel=1e-12)
        tails = [stats.chi2.sf(squares / low, df=2), stats.chi2.cdf(squares / high, df=2)]
        np.testing.assert_allclose(tails, (1 - level) / 2, rtol=1e-9)
    assert variance_interval(values) == variance_interval(values, THREE_SIGMA)


def test_ratio_interval_has_quantiles_of_f():
    x, y = [1.0, 2.0, 4.0], [0.0, 1.0, 5.0, 2.0, 2.0]
    for level in (0.5, 0.95, THREE_SIGMA):
        ratio, (low, high) = ratio_interval(x, y, level)
        expected = statistics.variance(x) / statistics.variance(y)
        assert ratio == pytest.approx(expected, rel=1e-12)
        tails = [stats.f.sf(expected / low, 2, 4), stats.f.cdf(expected / high, 2, 4)]
        np.testing.assert_allclose(tails, (1 - level) / 2, rtol=1e-9)
    assert ratio_interval(x, y) == ratio_interval(x, y, THREE_SIGMA)


def test_coverage():
    rng = np.random.default_rng(1)
    x, y = 2 * rng.standard_normal((2000, 12)), rng.standard_normal((2000, 9))
    cases = {
        "mean": (0, [mean_interval(a, 0.9) for a in x]),
        "variance": (4, [variance_interval(a, 0.9) for a in x]),
        "ratio": (4, [ratio_interval(a, b, 0.9) for a, b in zip(x, y, strict=True)]),
    }
    few, many = stats.binom.ppf([0.001, 0.999], 2000, 0.9)
    for name, (truth, intervals) in cases.items():
        hits = sum(low <= truth <= high for _, (low, high) in intervals)
        assert few <= hits <= many, name


def test_three_sigma_is_three_standard_errors():
    assert stats.norm.isf((1 - THREE_SIGMA) / 2) == pytest.approx(3, abs=1e-3)


def test_verdict_is_the_mean_its_interval_and_a_word():
    differences = np.array([0.1, 0.2, 0.3])  # 0.2 +- 4.303 * 0.1 / sqrt(3)
    unclear = "no difference can be shown"
    assert verdict(differences) == f"+0.200 [-0.048, +0.448], {unclear}"
    assert verdict(differences + 0.049) == "+0.249 [+0.001, +0.497], more"
    assert verdict(-differences - 0.049) == "-0.249 [-0.497, -0.001], less"
    assert verdict(differences + 1, "ahead", "behind") == "+1.200 [+0.952, +1.448], ahead"
    assert verdict(differences - 1, "ahead", "behind") == "-0.800 [-1.048, -0.552], behind"
    assert verdict(100 * differences, digits=1) == f"+20.0 [-4.8, +44.8], {unclear}"
    assert verdict([0.0, 0.0], digits=0) == f"+0 [+0, +0], {unclear}"


# Bad input: one line that names the argument --------------------------------------------


BAD = [
    *(("values", lambda x=x: mean_interval(x)) for x in (3.0, "abc", np.ones((5, 0)))),
    ("values", lambda: mean_interval([[1.0, 2.0]])),
    ("numerator", lambda: ratio_interval([1.0, np.nan], [1.0, 2.0])),
    ("denominator", lambda: ratio_interval([1.0, 2.0], [1.0])),
    ("denominator", lambda: ratio_interval([1.0, 2.0], [0.1, 0.1, 0.1])),
    ("digits", lambda: verdict([1.0, 2.0], digits=-1)),
    ("digits", lambda: verdict([1.0, 2.0], digits=1.0)),
]
for values in ([1.0], [], [1.0, np.nan], [1.0, np.inf], [[1], [1, 2]], ["a", "b"]):
    BAD.append(("values", lambda x=values: mean_interval(x)))
    BAD.append(("values", lambda x=values: variance_interval(x)))
    BAD.append(("differences", lambda x=values: verdict(x)))
for table in ([[1.0, 2.0], [3.0, 4.0]], 3.0):
    BAD.append(("values", lambda x=table: variance_interval(x)))
    BAD.append(("differences", lambda x=table: verdict(x)))
for level in (0, 1, 2, 95, -1, np.nan, "95%", None, True):
    BAD.append(("level", lambda x=level: mean_interval([1.0, 2.0], x)))
    BAD.append(("level", lambda x=level: variance_interval([1.0, 2.0], x)))
    BAD.append(("level", lambda x=level: ratio_interval([1.0, 2.0], [1.0, 2.0], x)))


@pytest.mark.parametrize("name, call", BAD, ids=[f"{k} {name}" for k, (name, _) in enumerate(BAD)])
def test_bad_input(name, call):
    with pytest.raises(ValueError, match=f"^{name}: got .*, accepted: .*$") as error:
        call()
    assert "\n" not in str(error.value)
