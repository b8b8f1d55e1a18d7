"""How sure are we of a number? Intervals over seeds and draws, and one way to say them in words.

Exact for independent normal values. ValueError is raised for fewer than two values, for NaN and
infinity, for a denominator that does not vary, and for a level outside (0, 1).
"""

import numpy as np
from scipy import stats

from lib.validation import check_array, check_int, check_positive, invalid

THREE_SIGMA = 0.9973  # the level of three standard errors to either side


def mean_interval(values, level=0.95):
    """Mean and Student's t interval, (mean, (low, high)), each of the shape of values[0].

    values (n_seeds, ...). For paired differences pass the differences.
    """
    values = _check_values("values", values, (...,))
    half = stats.t.ppf((1 + _check_level(level)) / 2, len(values) - 1) * stats.sem(values, axis=0)
    mean = values.mean(axis=0)
    return mean, (mean - half, mean + half)


def verdict(differences, more="more", less="less", digits=3):
    """Mean of differences (n_seeds,), its 95 % Student interval, and a word where 0 is outside."""
    digits = check_int("digits", digits, low=0)
    mean, (low, high) = mean_interval(_check_values("differences", differences))
    word = less if high < 0 else "no difference can be shown"
    word = more if low > 0 else word
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}], {word}"


def variance_interval(values, level=THREE_SIGMA):
    """Unbiased variance of draws (n,) and its chi-square interval, (variance, (low, high))."""
    values = _check_values("values", values)
    degrees, variance = len(values) - 1, values.var(ddof=1)
    return variance, _between(variance, stats.chi2(degrees, scale=1 / degrees), level)


def ratio_interval(numerator, denominator, level=THREE_SIGMA):
    """Ratio of the variances of draws (n,) and (m,) and its F interval, (ratio, (low, high))."""
    numerator = _check_values("numerator", numerator)
    denominator = _check_values("denominator", denominator)
    if np.ptp(denominator) == 0:
        raise invalid("denominator", f"{len(denominator)} equal values", "values that vary")
    ratio = numerator.var(ddof=1) / denominator.var(ddof=1)
    return ratio, _between(ratio, stats.f(len(numerator) - 1, len(denominator) - 1), level)


def _between(estimate, law, level):
    """The interval for what was estimated, where estimate / truth has the given law."""
    outside = (1 - _check_level(level)) / 2
    return estimate / law.isf(outside), estimate / law.ppf(outside)


def _check_values(name, values, shape=(None,)):
    values = check_array(name, values, shape)
    if values.ndim == 0 or len(values) < 2 or values.size == 0:
        raise invalid(name, f"shape {values.shape}", "2 or more values along the first axis")
    return values


def _check_level(level):
    level = check_positive("level", level)
    if level >= 1:
        raise invalid("level", level, "a number between 0 and 1")
    return level
