"""Exercises of notebook 03: shared neighbours, linear CKA, and whitening fitted elsewhere."""

import numpy as np

from lib.exercises import FunctionExercise


def _two_spaces():
    """Three (A, B, k): noisy views of common points, not centred; no two cosines are equal."""
    rng = np.random.default_rng(5)
    cases = []
    for n, d, e, k in [(40, 6, 4, 3), (30, 5, 8, 5), (50, 3, 7, 4)]:
        z = rng.standard_normal((n, 3))
        A = z @ rng.standard_normal((3, d)) + 0.3 * rng.standard_normal((n, d)) + 2
        B = z @ rng.standard_normal((3, e)) + 0.3 * rng.standard_normal((n, e)) - 1
        cases.append((A, B, k))
    return cases


def _unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def _cosines(X):
    return _unit(X) @ _unit(X).T


def _inner_products(X):
    return X @ X.T


def _negative_distances(X):
    return -((X[:, None] - X) ** 2).sum(2)


def _nearest(X, k, similarity, itself):
    """(n, n) of 0 and 1: which rows are among the k nearest of each row."""
    S = similarity(X)
    if not itself:
        np.fill_diagonal(S, -np.inf)
    nearest = np.zeros_like(S)
    np.put_along_axis(nearest, np.argsort(-S, axis=1)[:, :k], 1.0, axis=1)
    return nearest


def _n_common(A, B, k, similarity=_cosines, itself=False):
    """How many of its k nearest neighbours each row has in common, (n,)."""
    return (_nearest(A, k, similarity, itself) * _nearest(B, k, similarity, itself)).sum(1)


def _mutual_knn(A, B, k, **options):
    return (_n_common(A, B, k, **options) / k).mean()


def _jaccard(A, B, k):
    n_common = _n_common(A, B, k)
    return (n_common / (2 * k - n_common)).mean()


mutual_knn = FunctionExercise(
    "mutual_knn",
    cases=_two_spaces(),
    solution=_mutual_knn,
    mistakes=[
        (
            lambda A, B, k: _mutual_knn(A, B, k, itself=True),
            "every scene is its own nearest neighbour here.",
            "Set the diagonal of the similarities to minus infinity before you sort.",
        ),
        (
            lambda A, B, k: _mutual_knn(A, B, k, similarity=_inner_products),
            "these are neighbours by inner product, which long rows win.",
            "Scale every row to length 1 first.",
        ),
        (
            lambda A, B, k: _mutual_knn(A, B, k, similarity=_negative_distances),
            "these are Euclidean neighbours; we asked for cosine.",
            "Scale every row to length 1 first.",
        ),
        (
            lambda A, B, k: _mutual_knn(A, B, k, similarity=lambda X: -_cosines(X)),
            "these are the FARTHEST neighbours.",
            "argsort sorts upwards: sort the negative similarity.",
        ),
        (
            _jaccard,
            "you divide by the union of the two neighbourhoods.",
            "Divide the number of common neighbours by k.",
        ),
        (
            lambda A, B, k: _n_common(A, B, k).mean() / len(A),
            "you divide by n, but of k neighbours at most k can be common.",
            "Divide by k, so that 1 means the same neighbours.",
        ),
        (
            lambda A, B, k: _n_common(A, B, k).mean(),
            "this counts common neighbours; we asked for their share.",
            "Divide by k.",
        ),
    ],
)


def _hsic(X, Y):
    return ((X.T @ Y) ** 2).sum()


def _ratio(A, B, power=0.5):
    return _hsic(A, B) / (_hsic(A, A) * _hsic(B, B)) ** power


def _centred(X, axis=0):
    return X - X.mean(axis, keepdims=True)


def _linear_cka(A, B):
    return _ratio(_centred(A), _centred(B))


linear_cka = FunctionExercise(
    "linear_cka",
    cases=[(A, B) for A, B, _ in _two_spaces()],
    solution=_linear_cka,
    mistakes=[
        (
            lambda A, B: _ratio(A, B),
            "did you centre?",
            "Subtract from A and from B the mean of each column; else the two means look alike.",
        ),
        (
            lambda A, B: _ratio(_centred(A), B),
            "you centred A and not B.",
            "One centred side is enough in A'B, but HSIC(B, B) needs a centred B.",
        ),
        (
            lambda A, B: _ratio(A, _centred(B)),
            "you centred B and not A.",
            "One centred side is enough in A'B, but HSIC(A, A) needs a centred A.",
        ),
        (
            lambda A, B: _ratio(_centred(A, axis=1), _centred(B, axis=1)),
            "you subtracted the mean of every ROW.",
            "The mean is over scenes: axis 0.",
        ),
        (
            lambda A, B: _ratio(_centred(A), _centred(B), power=1),
            "there is a root missing in the denominator.",
            "Divide by the square root of HSIC(A, A) HSIC(B, B), as for a correlation.",
        ),
        (
            lambda A, B: np.sqrt(_linear_cka(A, B)),
            "this is the root of CKA.",
            "HSIC is the SQUARED Frobenius norm of A'B.",
        ),
    ],
)


def _tables_to_whiten():
    """Three (train, test, d): unequal variances, rotated, not centred; test has its own mean."""
    rng = np.random.default_rng(6)
    cases = []
    for n, m, p, d in [(40, 6, 5, 3), (50, 8, 4, 2), (60, 5, 6, 4)]:
        axes = np.linalg.qr(rng.standard_normal((p, p)))[0] * np.arange(1, p + 1)
        train = rng.standard_normal((n, p)) @ axes.T + 1
        test = 1.5 * rng.standard_normal((m, p)) @ axes.T
        cases.append((train, test, d))
    return cases


def _whitened(train, test, d, mean=None, power=0.5, least=False):
    """Coordinates (m, d) of test, divided by the variances to the given power."""
    values, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
    axes = slice(0, d) if least else slice(-d, None)
    mean = train.mean(0) if mean is None else mean
    return (test - mean) @ vectors[:, axes] / values[axes] ** power


def _whitened_cosines(train, test, d):
    return _cosines(_whitened(train, test, d))


whitened_cosines = FunctionExercise(
    "whitened_cosines",
    cases=_tables_to_whiten(),
    solution=_whitened_cosines,
    mistakes=[
        (
            lambda train, test, d: _whitened_cosines(test, test, d),
            "you fit on the test set.",
            "Mean, axes and standard deviations all come from train.",
        ),
        (
            lambda train, test, d: _cosines(_whitened(train, test, d, mean=test.mean(0))),
            "you centre the test set by its own mean.",
            "The mean, too, is fitted: use the one of train.",
        ),
        (
            lambda train, test, d: _cosines(_whitened(train, test, d, mean=0)),
            "did you centre the test set?",
            "Subtract the mean of train from the test rows.",
        ),
        (
            lambda train, test, d: _cosines(_whitened(train, test, d, power=0)),
            "this is PCA: the axes still have unequal variance.",
            "Divide each coordinate by its standard deviation on train.",
        ),
        (
            lambda train, test, d: _cosines(_whitened(train, test, d, power=1)),
            "you divide by the variance.",
            "Divide by its root, the standard deviation.",
        ),
        (
            lambda train, test, d: _cosines(_whitened(train, test, d, least=True)),
            "these are the axes with the LEAST variance.",
            "numpy.linalg.eigh sorts upwards: take the last d.",
        ),
        (
            lambda train, test, d: _inner_products(_whitened(train, test, d)),
            "the rows do not have length 1 yet.",
            "After whitening, divide every row by its norm: we asked for cosines.",
        ),
    ],
)
