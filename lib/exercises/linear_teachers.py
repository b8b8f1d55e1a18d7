"""Exercises of notebook 07: Procrustes, ridge CCA, and what its correlations are on new pairs."""

import numpy as np

from lib.exercises import FunctionExercise


def _few_pairs():
    """Three (X, Y): pairs, not centred, that share two numbers; d_x >= d_y."""
    rng = np.random.default_rng(15)
    cases = []
    for n, d_x, d_y in [(30, 6, 4), (40, 5, 5), (25, 7, 3)]:
        shared = rng.standard_normal((n, 2))
        sides = []
        for d in (d_x, d_y):
            signal = shared @ rng.standard_normal((2, d))
            noise = rng.standard_normal((n, d)) * rng.uniform(0.3, 2, d)
            sides.append(signal + noise + rng.standard_normal(d))
        cases.append(tuple(sides))
    return cases


def _centred(Z, axis=0):
    return Z - Z.mean(axis, keepdims=True)


def _bridge(A, B, d):
    """U V' of the first d singular directions of A'B."""
    U, _, Vt = np.linalg.svd(A.T @ B, full_matrices=False)
    return U[:, :d] @ Vt[:d]


def _procrustes_bridge(X, Y, d):
    return _bridge(_centred(X), _centred(Y), d)


def _stretched_bridge(X, Y, d):
    U, S, Vt = np.linalg.svd(_centred(X).T @ _centred(Y), full_matrices=False)
    return U[:, :d] * S[:d] @ Vt[:d]


def _last_bridge(X, Y, d):
    U, _, Vt = np.linalg.svd(_centred(X).T @ _centred(Y), full_matrices=False)
    return U[:, -d:] @ Vt[-d:]


def _mismatched_bridge(X, Y, d):
    U, _, Vt = np.linalg.svd(_centred(X).T @ _centred(Y), full_matrices=False)
    return U[:, :d] @ Vt[:, :d].T


procrustes_bridge = FunctionExercise(
    "procrustes_bridge",
    cases=[(X, Y, 2) for X, Y in _few_pairs()],
    solution=_procrustes_bridge,
    mistakes=[
        (
            _bridge,
            "did you centre the pairs?",
            "Without it the first direction points to the means: subtract each column's mean.",
        ),
        (
            lambda X, Y, d: _bridge(_centred(X, axis=1), _centred(Y, axis=1), d),
            "you centred every ROW.",
            "The mean is taken over the pairs: Z - Z.mean(0).",
        ),
        (
            _stretched_bridge,
            "your maps stretch.",
            "Leave the singular values out: they say how much partners agree, and do not map.",
        ),
        (
            _last_bridge,
            "these are the directions that agree LEAST.",
            "NumPy's svd gives the largest singular values first: take the first d columns.",
        ),
        (
            lambda X, Y, d: _procrustes_bridge(X, Y, None),
            "you kept all directions.",
            "Take only the first d columns of U and the first d rows of V'.",
        ),
        (
            _mismatched_bridge,
            "U and V do not match.",
            "np.linalg.svd returns V', whose ROWS are the directions: Vt[:d].",
        ),
        (
            lambda X, Y, d: _procrustes_bridge(X / X.std(0), Y / Y.std(0), d),
            "you gave every column variance 1.",
            "Procrustes takes the features as they are prepared: centre them, do not scale them.",
        ),
    ],
)


def _mean_variance(C):
    return np.trace(C) / len(C)


def _whitening(Z, ridge, unit, power):
    """(C + ridge unit(C) I)^power for the second moments C of Z, up to a rotation."""
    C = Z.T @ Z / len(Z)
    values, vectors = np.linalg.eigh(C + ridge * unit(C) * np.eye(len(C)))
    return vectors * values**power


def _canonical(A, B, ridge, unit=_mean_variance, power=-0.5):
    """(W_x, rho, W_y) of a ridge CCA of centred pairs; the ridge is in units of `unit`."""
    R_x = _whitening(A, ridge, unit, power)
    R_y = _whitening(B, ridge, unit, power)
    U, rho, Vt = np.linalg.svd(R_x.T @ A.T @ B @ R_y / len(A), full_matrices=False)
    return R_x @ U, rho, R_y @ Vt.T


def _ridge_cca_correlations(X, Y, ridge, **options):
    return _canonical(_centred(X), _centred(Y), ridge, **options)[1]


ridge_cca_correlations = FunctionExercise(
    "ridge_cca_correlations",
    cases=[(X, Y, ridge) for (X, Y), ridge in zip(_few_pairs(), (0.1, 0.5, 2.0), strict=True)],
    solution=_ridge_cca_correlations,
    mistakes=[
        (
            lambda X, Y, ridge: _canonical(X, Y, ridge)[1],
            "did you centre the pairs?",
            "Correlations are about deviations from the mean, on either side.",
        ),
        (
            lambda X, Y, ridge: _ridge_cca_correlations(X, Y, 0),
            "the ridge does nothing.",
            "Add it to both covariances before you take the root.",
        ),
        (
            lambda X, Y, ridge: _ridge_cca_correlations(X, Y, ridge, unit=lambda C: 1),
            "you added the ridge itself.",
            "Add ridge times the MEAN VARIANCE of that side, trace(C) / d.",
        ),
        (
            lambda X, Y, ridge: _ridge_cca_correlations(X, Y, ridge, unit=np.trace),
            "you added ridge times the whole variance.",
            "For the mean variance, divide the trace by the number of columns.",
        ),
        (
            lambda X, Y, ridge: _ridge_cca_correlations(X, Y, ridge, power=-1),
            "you whitened twice.",
            "R'(C + ...)R = I asks for the inverse ROOT: divide by the roots of the eigenvalues.",
        ),
        (
            lambda X, Y, ridge: _ridge_cca_correlations(X, Y, ridge, power=0),
            "these are covariances, as in Procrustes.",
            "Make both covariances the identity first, with the two inverse roots.",
        ),
        (
            lambda X, Y, ridge: _ridge_cca_correlations(X, Y, ridge) ** 2,
            "these are squared correlations.",
            "The eigenvalues of the product of both regressions are squares; take the root.",
        ),
        (
            lambda X, Y, ridge: _ridge_cca_correlations(X, Y, ridge)[::-1],
            "the smallest comes first.",
            "Sort them from the largest.",
        ),
    ],
)


def _old_and_new_pairs():
    cases = []
    for (X, Y), ridge in zip(_few_pairs(), (0.1, 0.5, 0.2), strict=True):
        cases.append((X[:13], Y[:13], X[13:], Y[13:], ridge))
    return cases


def _new_scores(X, Y, new_X, new_Y, ridge):
    W_x, _, W_y = _canonical(_centred(X), _centred(Y), ridge)
    return (new_X - X.mean(0)) @ W_x, (new_Y - Y.mean(0)) @ W_y


def _cosines(a, b):
    return (a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)


def _new_correlations(X, Y, new_X, new_Y, ridge):
    a, b = _new_scores(X, Y, new_X, new_Y, ridge)
    return _cosines(_centred(a), _centred(b))


def _new_covariances(X, Y, new_X, new_Y, ridge):
    a, b = _new_scores(X, Y, new_X, new_Y, ridge)
    return (_centred(a) * _centred(b)).mean(0)


def _fitted_on_all(X, Y, new_X, new_Y, ridge):
    return _new_correlations(np.vstack([X, new_X]), np.vstack([Y, new_Y]), new_X, new_Y, ridge)


new_correlations = FunctionExercise(
    "new_correlations",
    cases=_old_and_new_pairs(),
    solution=_new_correlations,
    mistakes=[
        (
            lambda X, Y, new_X, new_Y, ridge: _new_correlations(X, Y, X, Y, ridge),
            "you asked the pairs that the maps were fitted on.",
            "Apply the two maps to new_X and new_Y.",
        ),
        (
            lambda X, Y, new_X, new_Y, ridge: _new_correlations(new_X, new_Y, new_X, new_Y, ridge),
            "you fitted on the new pairs.",
            "They may only be asked; fit on X and Y.",
        ),
        (
            _fitted_on_all,
            "the new pairs had a part in the fit.",
            "Fit on X and Y alone.",
        ),
        (
            lambda *case: _cosines(*_new_scores(*case)),
            "this is a cosine: the maps subtract the mean of the OLD pairs.",
            "For a correlation, subtract the new scores' own mean as well.",
        ),
        (
            _new_covariances,
            "this is a covariance.",
            "Divide by both standard deviations: over new pairs they are not 1.",
        ),
        (
            lambda *case: np.abs(_new_correlations(*case)),
            "is no correlation negative?",
            "A noise direction is as often wrong in sign: keep the sign, it is the evidence.",
        ),
        (
            lambda *case: _new_correlations(*case) ** 2,
            "these are squared.",
            "We asked for correlations, with their signs.",
        ),
        (
            lambda *case: np.sort(_new_correlations(*case))[::-1],
            "you sorted them.",
            "Keep the order of the fit: a late direction may do better by luck.",
        ),
        (
            lambda X, Y, new_X, new_Y, ridge: _new_correlations(X, Y, new_X, new_Y, 1e-9),
            "the ridge is missing.",
            "Pass ridge=ridge on, and power=0.",
        ),
    ],
)
