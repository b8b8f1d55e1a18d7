"""Closed forms that bring two frozen spaces together from pairs; notebook 07 will add the others.

A side is prepared by an object that is fitted on that side's own unpaired training data and then carried to any data.
"""
from dataclasses import dataclass

import numpy as np

from lib.require import array, positive, refuse, whole


@dataclass(frozen=True)
class Linear:
    """The map z -> (z - mean) @ axes, rows then scaled to length 1 where `unit`; mean (d,), axes (d, k)."""

    mean: np.ndarray
    axes: np.ndarray
    unit: bool = False

    def __call__(self, features):
        """features (n, d) -> (n, k), float64."""
        z = (array("features", features, (None, len(self.mean))) - self.mean) @ self.axes
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) if self.unit else z


def whiten(features, d):
    """Fit on unpaired features (n, d_in): centre, the first d principal axes with variance 1 each, unit norm. d is cut to the rank."""
    features, d = array("features", features, (None, None)), whole("d", d)
    _varies("features", features)
    mean = features.mean(0)
    values, vectors = np.linalg.eigh(np.cov(features.T, bias=True).reshape(len(mean), len(mean)))
    values, vectors = values[::-1][:d], vectors[:, ::-1][:, :d]
    kept = values > 1e-10 * values[0]
    return Linear(mean, vectors[:, kept] / np.sqrt(values[kept]), unit=True)


def weighted_cca(x, y, ridge=0.1, power=2.0):
    """Ridge CCA whose directions are weighted by correlation^power (ours; power 0 is ridge CCA, SOTAlign sec. 4): (map_x, map_y).

    x (n, d_x), y (n, d_y): pairs in rows. To both covariances, ridge times their mean variance is added on the diagonal. With few pairs
    most canonical directions are noise with a small correlation; the weight makes them count for little.
    """
    x, y = array("x", x, (None, None)), array("y", y, (None, None))
    if len(x) != len(y) or len(x) < 2:
        refuse("y", f"{len(y)} rows", f"{max(len(x), 2)} rows, one for each of x" if len(x) > 1 else "2 or more pairs")
    ridge, power = positive("ridge", ridge), positive("power", power) if power != 0 else 0.0
    _varies("x", x)
    _varies("y", y)
    sides = [_root_of_inverse(z - z.mean(0), ridge) for z in (x, y)]
    left, correlation, right = np.linalg.svd(sides[0].T @ (x - x.mean(0)).T @ (y - y.mean(0)) @ sides[1] / len(x), full_matrices=False)
    weight = correlation**power
    return Linear(x.mean(0), sides[0] @ left * weight), Linear(y.mean(0), sides[1] @ right.T * weight)


def _varies(name, z):
    """Refuse rows that are, up to rounding, all the same."""
    if np.ptp(z, axis=0).max() <= 1e-12 * np.abs(z).max():
        refuse(name, "rows that are all the same", "features that vary between rows")


def _root_of_inverse(z, ridge):
    """W with W'(C + ridge tr(C)/d I) W = I for the covariance C of centred rows z."""
    covariance = z.T @ z / len(z)
    size = np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * size * np.eye(len(covariance)))
    return vectors / np.sqrt(values)
