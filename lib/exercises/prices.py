"""Exercises of notebook 06: what an image is worth in words, and how sure that is."""

import numpy as np

from lib.exercises import FunctionExercise


def _surfaces():
    """Three (accuracy, shots, words): bent surfaces over unevenly spaced axes of unequal length."""
    rng = np.random.default_rng(10)
    cases = []
    for shots, words in [
        ([1, 2, 4, 8], [0, 30, 60, 120, 240]),
        ([1, 3, 5, 9, 17], [0, 20, 90, 100]),
        ([2, 3, 7, 8, 10, 20], [5, 10, 40, 80, 95]),
    ]:
        s, w = np.meshgrid(shots, words, indexing="ij")
        noise = 0.01 * rng.standard_normal(s.shape)
        accuracy = 0.1 * np.log(1 + s) + 0.05 * np.sqrt(w / 30) + noise
        cases.append((accuracy, np.array(shots), np.array(words)))
    return cases


def _slopes(accuracy, shots, words, intercept=1.0, indexing="ij"):
    """(b, c) of the plane a + b shots + c words, by least squares."""
    s, w = np.meshgrid(shots, words, indexing=indexing)
    design = np.stack([np.full(s.size, intercept), s.ravel(), w.ravel()], axis=1)
    _, b, c = np.linalg.lstsq(design, np.ravel(accuracy))[0]
    return b, c


def _words_per_image(accuracy, shots, words, **options):
    b, c = _slopes(accuracy, shots, words, **options)
    return b / c


def _standardised(axis):
    return (axis - axis.mean()) / axis.std()


words_per_image = FunctionExercise(
    "words_per_image",
    cases=_surfaces(),
    solution=_words_per_image,
    mistakes=[
        (
            lambda accuracy, shots, words: 1 / _words_per_image(accuracy, shots, words),
            "these are images per word.",
            "b is accuracy per image, c per word: b / c words buy what one image buys.",
        ),
        (
            lambda accuracy, shots, words: _words_per_image(accuracy, shots, words, intercept=0),
            "is there an intercept?",
            "Without one the plane passes through 0 at no shots and no words: add a column of 1s.",
        ),
        (
            lambda accuracy, shots, words: -_words_per_image(accuracy, shots, words),
            "this is the slope of the isoline, and the sign is turned.",
            "dw/ds = -b/c along an isoline; the price is its size.",
        ),
        (
            lambda accuracy, shots, words: _words_per_image(accuracy, np.log2(shots), words),
            "your first axis is logarithmic: that is words per doubling.",
            "The paper's plane has the number of shots itself.",
        ),
        (
            lambda accuracy, shots, words: _words_per_image(accuracy, shots, np.log1p(words)),
            "your second axis is logarithmic.",
            "The paper's plane has the number of words itself.",
        ),
        (
            lambda accuracy, shots, words: _words_per_image(accuracy, shots, words, indexing="xy"),
            "shots and words do not lie beside their accuracies.",
            "numpy.meshgrid needs indexing='ij' here, for shots run along the rows.",
        ),
        (
            lambda accuracy, shots, words: _words_per_image(
                accuracy, _standardised(shots), _standardised(words)
            ),
            "you standardised the axes, and the units are gone.",
            "Fit in images and words, or undo the scaling.",
        ),
    ],
)


def _gains(accuracy, i, j, back, ahead):
    """What accuracy gains along the shots and along the words, between two neighbours."""
    along_shots = accuracy[i + ahead, j] - accuracy[i - back, j]
    along_words = accuracy[i, j + ahead] - accuracy[i, j - back]
    return along_shots, along_words


def _local_rate(accuracy, shots, words, i, j, back=1, ahead=1):
    along_shots, along_words = _gains(accuracy, i, j, back, ahead)
    n_shots = shots[i + ahead] - shots[i - back]
    n_words = words[j + ahead] - words[j - back]
    return (along_shots / n_shots) / (along_words / n_words)


def _rate_of_gains(accuracy, shots, words, i, j):
    along_shots, along_words = _gains(accuracy, i, j, back=1, ahead=1)
    return along_shots / along_words


def _rate_of_gradients(accuracy, shots, words, i, j):
    per_image = np.gradient(accuracy, shots, axis=0)[i, j]
    per_word = np.gradient(accuracy, words, axis=1)[i, j]
    return per_image / per_word


local_rate = FunctionExercise(
    "local_rate",
    cases=[
        (*surface, i, j) for surface, i, j in zip(_surfaces(), (2, 1, 4), (1, 2, 3), strict=True)
    ],
    solution=_local_rate,
    mistakes=[
        (
            lambda *case: 1 / _local_rate(*case),
            "these are images per word.",
            "Divide the slope along the images by the slope along the words.",
        ),
        (
            _rate_of_gains,
            "the ticks are not one apart.",
            "Divide each difference by how many images, or words, lie between the neighbours.",
        ),
        (
            lambda *case: _local_rate(*case, back=0),
            "you look ahead only.",
            "A central difference takes the neighbour before and the one behind.",
        ),
        (
            lambda *case: _local_rate(*case, ahead=0),
            "you look back only.",
            "A central difference takes the neighbour before and the one behind.",
        ),
        (
            lambda *case: -_local_rate(*case),
            "the sign is turned.",
            "A price is positive where both images and words help.",
        ),
        (
            _rate_of_gradients,
            "you weight the two neighbours by their distance, as numpy.gradient does.",
            "Sensible, but we asked for their difference over the distance between them.",
        ),
        (
            lambda accuracy, shots, words, i, j: _local_rate(
                accuracy, np.log(shots), np.log1p(words), i, j
            ),
            "this is a ratio of elasticities: percent of words per percent of images.",
            "Take differences of the numbers themselves, not of their logarithms.",
        ),
    ],
)


def _rate(accuracy):
    return (accuracy[2] - accuracy[0]) / (accuracy[3] - accuracy[1])


def _resamples():
    """Two (accuracies, rate, rows)."""
    rng = np.random.default_rng(11)
    cases = []
    for n in (10, 7):
        accuracies = np.array([0.1, 0.3, 0.6, 0.7]) + 0.05 * rng.standard_normal((n, 4))
        cases.append((accuracies, _rate, rng.integers(n, size=(120, n))))
    return cases


def _resampled_rates(accuracies, rate, rows):
    return np.array([rate(accuracies[row].mean(0)) for row in rows])


def _rate_interval(accuracies, rate, rows):
    return np.quantile(_resampled_rates(accuracies, rate, rows), [0.025, 0.975])


def _interval_of_mean_ratios(accuracies, rate, rows):
    rates = np.array([rate(one) for one in accuracies])
    return np.quantile(rates[rows].mean(1), [0.025, 0.975])


def _normal_interval(accuracies, rate, rows, n=1):
    rates = _resampled_rates(accuracies, rate, rows)
    return rates.mean() + 1.96 * rates.std() / np.sqrt(n) * np.array([-1, 1])


rate_interval = FunctionExercise(
    "rate_interval",
    cases=_resamples(),
    solution=_rate_interval,
    mistakes=[
        (
            _interval_of_mean_ratios,
            "this is the mean of ratios, and the ratio of a single draw can run away.",
            "Average the accuracies of a resample first, then take one ratio.",
        ),
        (
            lambda *case: np.quantile(_resampled_rates(*case), [0.05, 0.95]),
            "this is the 90 % interval.",
            "Leave out 2.5 % on each side.",
        ),
        (
            _normal_interval,
            "you took the resamples for normal.",
            "Rates are skewed: use the quantiles, not 1.96 standard deviations.",
        ),
        (
            lambda accuracies, rate, rows: np.quantile(
                [rate(one) for one in accuracies], [0.025, 0.975]
            ),
            "these are quantiles over single draws: they say how much one draw varies.",
            "Each row of `rows` names the draws of one resample: use the rate of their mean.",
        ),
        (
            lambda accuracies, rate, rows: _normal_interval(accuracies, rate, rows, n=len(rows)),
            "this shrinks with the number of resamples, and more of them are no more data.",
            "The spread of the resampled rates IS the uncertainty: take their quantiles.",
        ),
        (
            lambda *case: np.quantile(_resampled_rates(*case), [0, 1]),
            "these are the extremes, which grow with the number of resamples.",
            "Take the 2.5 % and 97.5 % quantiles.",
        ),
    ],
)
