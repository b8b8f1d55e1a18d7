"""Intervals: how sure are we of a number?"""
import numpy as np
from scipy import stats

from lib.require import array, refuse

THREE_SIGMA = 0.9973  # the level of an interval of three standard errors either side


def mean_interval(values, level=0.95):
    """Mean over seeds and its Student t interval: (mean, (low, high)), each of the shape of values[0].

    values (n_seeds, ...), at least 2 seeds. For paired differences pass the differences.
    """
    values = array("values", values, np.shape(values))
    if values.ndim == 0 or len(values) < 2:
        refuse("values", f"shape {values.shape}", "at least 2 values along the first axis")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values, axis=0)
    mean = values.mean(axis=0)
    return mean, (mean - half, mean + half)


def variance_interval(values, level=THREE_SIGMA):
    """Unbiased variance of normal draws and its exact chi-square interval: (variance, (low, high)).

    values (n_draws,), at least 2 draws.
    """
    values = array("values", values, (None,))
    if len(values) < 2:
        refuse("values", f"shape {values.shape}", "at least 2 values")
    degrees = len(values) - 1
    total = ((values - values.mean()) ** 2).sum()
    low, high = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], degrees)
    return total / degrees, (total / low, total / high)


def ratio_interval(numerator, denominator, level=THREE_SIGMA):
    """Ratio of two variances of independent normal draws and its exact F interval: (ratio, (low, high)).

    numerator (n,), denominator (m,): at least 2 draws each, independent of each other.
    """
    top, _ = variance_interval(numerator)
    bottom, _ = variance_interval(denominator)
    low, high = stats.f.ppf([(1 + level) / 2, (1 - level) / 2], len(numerator) - 1, len(denominator) - 1)
    return top / bottom, (top / bottom / low, top / bottom / high)
