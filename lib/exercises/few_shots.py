"""Exercises of notebook 05: a head made of words, agreement of two geometries, margins."""

import numpy as np
from scipy import stats

from lib.exercises import FunctionExercise


def _labelled():
    """Three (x, y, n_classes): classes of unequal size whose means have much in common."""
    rng = np.random.default_rng(7)
    cases = []
    for n, d, n_classes in [(20, 4, 3), (25, 6, 5), (18, 3, 4)]:
        more = rng.integers(n_classes, size=n - n_classes) // 2
        y = np.concatenate([np.arange(n_classes), more])
        lengths = np.linspace(1, 3, n)[:, None]
        x = rng.standard_normal((n, d)) * lengths + np.arange(1, d + 1)
        cases.append((x, y, n_classes))
    return cases


def _unit(x, axis=1):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def _per_class(x, y, n_classes, combine=np.mean):
    return np.stack([combine(x[y == k], axis=0) for k in range(n_classes)])


def _head_from_text(x, y, n_classes):
    return _unit(_per_class(x, y, n_classes))


def _centred_head(x, y, n_classes):
    means = _per_class(x, y, n_classes)
    return _unit(means - means.mean(0))


head_from_text = FunctionExercise(
    "head_from_text",
    cases=_labelled(),
    solution=_head_from_text,
    mistakes=[
        (
            _per_class,
            "the rows do not have length 1.",
            "Divide each mean by its norm; else clear words give a class larger logits.",
        ),
        (
            lambda x, y, n_classes: _per_class(_unit(x), y, n_classes),
            "you scale the captions; we asked to scale the means.",
            "First take the mean of each class, then scale it to length 1.",
        ),
        (
            lambda x, y, n_classes: _head_from_text(_unit(x), y, n_classes),
            "you scale the captions before you average.",
            "Average them as they are; only the mean is scaled to length 1.",
        ),
        (
            lambda x, y, n_classes: _unit(x[[list(y).index(k) for k in range(n_classes)]]),
            "this is the first caption of each class.",
            "Average all captions whose label is k.",
        ),
        (
            lambda x, y, n_classes: _unit(_per_class(x, y, n_classes, combine=np.median)),
            "this is the median.",
            "UML (init) takes the mean.",
        ),
        (
            _centred_head,
            "you took the common part off the means.",
            "That is sensible, too, but not what we asked for: no centring here.",
        ),
        (
            lambda x, y, n_classes: _unit(_per_class(x, y, n_classes), axis=0),
            "the columns have length 1, not the rows.",
            "A class is a row: the norm runs over axis 1.",
        ),
    ],
)


def _distance_tables():
    """Three (A, B): symmetric, with a zero diagonal, related in part and not linearly."""
    rng = np.random.default_rng(8)
    cases = []
    for n in (6, 9, 7):
        A, noise = (np.abs(table + table.T) for table in rng.standard_normal((2, n, n)))
        off_diagonal = 1 - np.eye(n)
        cases.append((A * off_diagonal, (A**3 + noise) * off_diagonal))
    return cases


def _each_pair_once(A, k=1):
    return A[np.triu_indices(len(A), k)]


def _mantel_correlation(A, B):
    return stats.pearsonr(_each_pair_once(A), _each_pair_once(B))[0]


mantel_correlation = FunctionExercise(
    "mantel_correlation",
    cases=_distance_tables(),
    solution=_mantel_correlation,
    mistakes=[
        (
            lambda A, B: np.corrcoef(A.ravel(), B.ravel())[0, 1],
            "you correlate the whole tables, in which the zeros on the diagonal agree for free.",
            "Take each pair of classes once, without the diagonal.",
        ),
        (
            lambda A, B: stats.pearsonr(_each_pair_once(A, k=0), _each_pair_once(B, k=0))[0],
            "the diagonal is still there.",
            "numpy.triu_indices(n, k=1) leaves it out.",
        ),
        (
            lambda A, B: stats.spearmanr(_each_pair_once(A), _each_pair_once(B))[0],
            "this is the correlation of the ranks.",
            "A fine measure as well; we asked for Pearson's.",
        ),
        (
            lambda A, B: np.cov(_each_pair_once(A), _each_pair_once(B))[0, 1],
            "this is the covariance.",
            "Divide by both standard deviations.",
        ),
        (
            lambda A, B: _mantel_correlation(A, B) ** 2,
            "this is the square of the correlation.",
            "The correlation keeps its sign.",
        ),
        (
            lambda A, B: np.mean([np.corrcoef(A[k], B[k])[0, 1] for k in range(len(A))]),
            "you average one correlation per class.",
            "Take one correlation over all pairs of classes.",
        ),
    ],
)


def _heads():
    """Three (W, r, y): rows of W differ much in length, so that the nearest boundary is often not
    the one of the strongest rival."""
    rng = np.random.default_rng(9)
    cases = []
    for n_classes, n, d in [(4, 12, 3), (6, 15, 5), (5, 10, 4)]:
        W = rng.standard_normal((n_classes, d)) * np.geomspace(0.3, 4, n_classes)[:, None]
        r = rng.standard_normal((n, d))
        y = rng.integers(n_classes, size=n)
        cases.append((W, r, y))
    return cases


def _rivals(W, r, y):
    """(lead, apart), (n, n_classes - 1): w_y'r - w_j'r and |w_y - w_j| for all j other than y."""
    others = np.stack([np.delete(np.arange(len(W)), k) for k in y])
    difference = W[y][:, None] - W[others]
    return np.einsum("njd,nd->nj", difference, r), np.linalg.norm(difference, axis=2)


def _functional_margin(W, r, y, power=1):
    lead, apart = _rivals(W, r, y)
    return (lead / apart**power).min(1)


def _margin_to_strongest(W, r, y):
    lead, apart = _rivals(W, r, y)
    strongest = lead.argmin(1)[:, None]
    return np.take_along_axis(lead / apart, strongest, axis=1)[:, 0]


functional_margin = FunctionExercise(
    "functional_margin",
    cases=_heads(),
    solution=_functional_margin,
    mistakes=[
        (
            lambda W, r, y: _functional_margin(W, r, y, power=0),
            "these are differences of logits.",
            "For the distance from the boundary, divide by the length of w_y - w_j.",
        ),
        (
            _margin_to_strongest,
            "you take the rival with the highest logit, whose boundary need not be the nearest.",
            "Divide first, then take the minimum over all rivals.",
        ),
        (
            lambda W, r, y: _functional_margin(W, r, y, power=2),
            "you divide by the squared length.",
            "The distance of a point from a plane divides by the norm itself.",
        ),
        (
            lambda W, r, y: np.minimum(_functional_margin(W, r, y), 0),
            "the class itself is among its rivals, so that no margin is positive.",
            "Leave j = y out: its difference of logits is 0.",
        ),
        (
            lambda W, r, y: np.abs(_functional_margin(W, r, y)),
            "a picture on the wrong side should come out negative.",
            "Keep the sign: take no absolute value.",
        ),
        (
            lambda W, r, y: -_functional_margin(W, r, y),
            "the sign is turned.",
            "Positive where the own class has the higher logit: w_y before w_j.",
        ),
        (
            lambda W, r, y: _functional_margin(_unit(W), r, y),
            "you scaled the head's rows to length 1.",
            "Use the head as it is; divide only by the length of the difference w_y - w_j.",
        ),
    ],
)
