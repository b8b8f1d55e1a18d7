"""Linear teachers: maps that bring two frozen spaces together, from pairs (SOTAlign app. C.1).

A side is prepared by `centre` or `whiten`, fitted on its own unpaired training data. A teacher is
fitted on prepared pairs, x (n, d_x) and y (n, d_y) in rows, and is two maps, one for each side:

    procrustes    keeps lengths and angles: two semi-orthogonal maps              (prop. C.1)
    weighted_cca  ridge CCA (power 0; prop. C.2), or with weighted directions     (weight: ours)

NumPy in, NumPy out, float64. n pairs know at most n - 1 directions; those beyond are arbitrary:
choose d below. ValueError is raised for shapes that do not fit, NaN, infinity, and equal rows.
"""

from dataclasses import dataclass

import numpy as np

from lib.validation import check_array, check_int, check_nonnegative, check_positive, invalid


@dataclass(frozen=True)
class Linear:
    """The map z -> (z - mean) @ axes, mean (d,), axes (d, k); rows of length 1 where `unit`."""

    mean: np.ndarray
    axes: np.ndarray
    unit: bool = False

    def __post_init__(self):
        object.__setattr__(self, "mean", check_array("mean", self.mean, (None,)))
        object.__setattr__(self, "axes", check_array("axes", self.axes, (len(self.mean), None)))

    def __call__(self, features):
        """features (n, d) -> (n, k), float64; a row at the mean stays a row of zeros."""
        z = (check_array("features", features, (None, len(self.mean))) - self.mean) @ self.axes
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) if self.unit else z


def centre(features, unit=True):
    """Fit on features (n, d): centre, and scale rows to length 1 where `unit`."""
    features = _check_features("features", features)
    if not isinstance(unit, bool):
        raise invalid("unit", unit, "True or False")
    return Linear(features.mean(0), np.eye(features.shape[1]), unit)


def whiten(features, d):
    """Fit on features (n, d_in): centre, d principal axes with variance 1 each, unit norm.

    d is cut to the rank: variances above 1e-10 of the largest.
    """
    features = _check_features("features", features)
    d = check_int("d", d)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(features.T, bias=True)))
    values, vectors = values[::-1][:d], vectors[:, ::-1][:, :d]
    rank = np.count_nonzero(values > 1e-10 * values[0])
    return Linear(features.mean(0), vectors[:, :rank] / np.sqrt(values[:rank]), unit=True)


def procrustes(x, y, d=None):
    """The semi-orthogonal W_x (d_x, d), W_y (d_y, d) with the largest tr(W_x' X'Y W_y).

    X and Y are the centred pairs. SOTAlign prop. C.1: the first d singular vectors of X'Y, and the
    trace is the sum of their singular values. Nothing is larger by von Neumann's trace inequality;
    the printed proof's Cauchy-Schwarz bound is attained only with equal singular values.
    d  directions kept, cut to min(d_x, d_y); None keeps as many
    """
    x, y, d = _check_pairs(x, y, d)
    left, _, right = np.linalg.svd((x - x.mean(0)).T @ (y - y.mean(0)), full_matrices=False)
    return Linear(x.mean(0), left[:, :d]), Linear(y.mean(0), right.T[:, :d])


def weighted_cca(x, y, ridge=0.1, power=2.0, d=None):
    """Ridge CCA with directions weighted by correlation^power (ours; power 0: SOTAlign prop. C.2).

    To both covariances, ridge times their mean variance is added on the diagonal. With few pairs
    most canonical directions are noise with a small correlation: the weight makes them count less.
    d  directions kept, of the highest correlation, cut to min(d_x, d_y), and to n where a side
       is more than twice as wide; None keeps as many
    """
    x, y, d = _check_pairs(x, y, d)
    ridge = check_positive("ridge", ridge)
    power = check_nonnegative("power", power)
    centred_x, centred_y = x - x.mean(0), y - y.mean(0)
    white_x, white_y = _whitening(centred_x, ridge), _whitening(centred_y, ridge)
    cross = white_x.T @ centred_x.T @ centred_y @ white_y / len(x)
    left, correlation, right = np.linalg.svd(cross, full_matrices=False)
    axes_x = white_x @ left * correlation**power
    axes_y = white_y @ right.T * correlation**power
    return Linear(x.mean(0), axes_x[:, :d]), Linear(y.mean(0), axes_y[:, :d])


def _whitening(z, ridge):
    """W with W'(C + ridge tr(C)/d I) W = I for the covariance C of centred rows z (n, d).

    Of few rows only their span matters: there W is (d, n), in a tenth of the time.
    """
    n, d = z.shape
    added = ridge * (np.sum(z**2) / n / d)
    if 2 * n < d:
        values, left = np.linalg.eigh(z @ z.T / n)
        spanned = values > 1e-12 * values[-1]
        vectors = z.T @ left[:, spanned] / np.sqrt(n * values[spanned])
        values = values[spanned] + added
    else:
        values, vectors = np.linalg.eigh(z.T @ z / n + added * np.eye(d))
    # where C has no variance, a tiny ridge drowns in rounding, which may be negative
    return vectors / np.sqrt(np.maximum(values, np.finfo(float).eps * values[-1]))


def _check_pairs(x, y, d):
    x = _check_features("x", x)
    y = _check_features("y", y, len(x))
    return x, y, None if d is None else check_int("d", d)


def _check_features(name, z, n=None):
    """`z` as n rows that vary by more than rounding; their variance does not under- or overflow."""
    z = check_array(name, z, (n, None))
    size, spread = max(z.max(), -z.min()), np.ptp(z, axis=0).max()
    if size > 1e100 or spread <= max(1e-12 * size, 1e-100):
        got = f"rows that differ by {spread:.0e} at most"
        raise invalid(name, got, "rows that differ, by 1e-100 to 1e100")
    return z
