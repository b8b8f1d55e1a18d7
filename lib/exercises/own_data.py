"""Exercises of lesson 11: folds that keep a picture together, a learning curve."""

import numpy as np

from lib.exercises import Exercise, FunctionExercise
from lib.metrics import recall_at_k
from lib.teachers import weighted_cca

# Exercise 1: all captions of a picture in one fold


def _judge_folds(folds):
    rng = np.random.default_rng(11)
    for picture in (np.repeat(np.arange(60), 5), rng.integers(0, 40, 300) ** 2 + 7):
        answer = np.asarray(folds(picture))
        if answer.shape != picture.shape:
            hint = f"the shape is {answer.shape}, it should be {picture.shape}."
            return hint, hint, "One number for every pair, in the order of the pairs."
        if not np.isin(answer, range(5)).all():
            hint = f"the folds are {np.unique(answer)[:8]}, they should be 0 to 4."
            return "numbers", hint, "Take a number modulo 5."
        torn = sum(len(set(answer[picture == one])) > 1 for one in set(picture))
        if torn:
            hint = f"{torn} of {len(set(picture))} pictures are in more than one fold."
            return "torn", hint, "Draw a fold for every picture, not for every pair."
        sizes = np.bincount(answer, minlength=5)
        if sizes.max() > 2 * sizes.min():
            hint = f"the folds have {sizes} pairs."
            return "sizes", hint, "Number the different pictures 0, 1, 2, ... before you take % 5."
    return None


folds = Exercise("folds", _judge_folds, ["picture"])

# Exercise 2: recall against pairs, on rows that stay the same


def _recall(maps, rows):
    a, b = (to(z) for to, z in zip(maps, rows, strict=True))
    return (recall_at_k(a, b, 10) + recall_at_k(b, a, 10)) / 2


def _curve(X, Y, sizes, held=lambda X, n: X[-100:], fit=lambda X, n: X[:n]):
    found = []
    for n in sizes:
        maps = weighted_cca(fit(X, n), fit(Y, n), ridge=1, power=2)
        found.append(_recall(maps, (held(X, n), held(Y, n))))
    return found


def _pairs(seed, n):
    rng = np.random.default_rng([11, seed])
    shared = rng.standard_normal((n, 6)) * 0.8 ** np.arange(6)
    mixes = rng.standard_normal((2, 6, 15))
    return [shared @ mix + rng.standard_normal((n, 15)) for mix in mixes]


learning_curve = FunctionExercise(
    "learning_curve",
    cases=[(*_pairs(0, 220), [20, 60, 120]), (*_pairs(1, 160), [30, 60])],
    solution=lambda X, Y, sizes: _curve(X, Y, sizes),
    mistakes=[
        (
            lambda X, Y, sizes: _curve(X, Y, sizes, held=lambda X, n: X[:n]),
            "you judge on the pairs of the fit.",
            "These are known by heart. Judge on X[-100:] and Y[-100:].",
        ),
        (
            lambda X, Y, sizes: _curve(X, Y, sizes, held=lambda X, n: X[n:]),
            "you judge on all that is left, which is another question for every size.",
            "Recall among 300 strangers is harder than among 100. Hold the last 100 back.",
        ),
        (
            lambda X, Y, sizes: _curve(X, Y, sizes, held=lambda X, n: X[:100]),
            "you hold the first 100 back, and fit on them, too.",
            "The last 100 are X[-100:].",
        ),
        (
            lambda X, Y, sizes: _curve(X, Y, sizes, fit=lambda X, n: X),
            "every size is fitted on all pairs.",
            "Fit on X[:n] and Y[:n].",
        ),
    ],
)
