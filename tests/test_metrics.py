"""Intervals: against SciPy, and by how often they cover the truth."""
import numpy as np
import pytest
from scipy import stats

from lib.metrics import mean_interval, ratio_interval, variance_interval


def test_mean_interval_is_students():
    values = np.random.default_rng(0).standard_normal((7, 3))
    mean, (low, high) = mean_interval(values)
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([mean, low, high], [values.mean(0), reference.low, reference.high])


def test_coverage():
    rng = np.random.default_rng(1)
    x, y = 2 * rng.standard_normal((2000, 12)), rng.standard_normal((2000, 9))
    inside = lambda truth, interval: interval[0] <= truth <= interval[1]
    hits = {"variance": sum(inside(4, variance_interval(a, 0.9)[1]) for a in x),
            "ratio": sum(inside(4, ratio_interval(a, b, 0.9)[1]) for a, b in zip(x, y)),
            "mean": sum(inside(0, mean_interval(a, 0.9)[1]) for a in x)}
    low, high = stats.binom.ppf([0.001, 0.999], 2000, 0.9)
    assert all(low <= hit <= high for hit in hits.values()), hits


@pytest.mark.parametrize("call", [lambda: mean_interval([1.0]), lambda: mean_interval(3.0), lambda: mean_interval([1.0, np.nan]),
                                  lambda: variance_interval([1.0]), lambda: variance_interval([[1.0, 2.0]]), lambda: variance_interval(["a", "b"])])
def test_bad_input(call):
    with pytest.raises(ValueError, match="^values: got .*, accepted: "):
        call()
