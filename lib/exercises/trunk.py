"""Exercises of notebook 04: the loss on the next embedding, and units that two modalities share."""

import numpy as np

from lib.exercises import FunctionExercise


def _padded_batches():
    """Three (output, x, length): lengths from 2 on; x is zero beyond them, output is not."""
    rng = np.random.default_rng(7)
    cases = []
    for lengths, d in [((5, 3, 2), 4), ((2, 6, 4, 6), 3), ((7, 3), 2)]:
        length = np.array(lengths)
        shape = (len(length), length.max(), d)
        real = np.arange(length.max()) < length[:, None]
        output = rng.standard_normal(shape)
        x = rng.standard_normal(shape) * real[..., None]
        cases.append((output, x, length))
    return cases


def _squared_errors(output, x, length, shift=1, real=1):
    """Of output at t + max(-shift, 0) against x at t + max(shift, 0), where t + real < length."""
    t = np.arange(x.shape[1] - abs(shift))
    errors = (output[:, t + max(-shift, 0)] - x[:, t + max(shift, 0)]) ** 2
    return errors[t + real < length[:, None]]


def _next_embedding_loss(output, x, length):
    return _squared_errors(output, x, length).mean()


def _mean_per_sequence(output, x, length):
    losses = []
    for i in range(len(x)):
        one = slice(i, i + 1)
        losses.append(_next_embedding_loss(output[one], x[one], length[one]))
    return np.mean(losses)


next_embedding_loss = FunctionExercise(
    "next_embedding_loss",
    cases=_padded_batches(),
    solution=_next_embedding_loss,
    mistakes=[
        (
            lambda output, x, length: _squared_errors(output, x, length, shift=0, real=0).mean(),
            "your network is asked for what it has just seen.",
            "Compare the output at t with the input at t + 1.",
        ),
        (
            lambda output, x, length: _squared_errors(output, x, length, shift=-1).mean(),
            "you predict the past.",
            "output[:, :-1] speaks of x[:, 1:].",
        ),
        (
            lambda output, x, length: ((output[:, :-1] - x[:, 1:]) ** 2).mean(),
            "the padding counts as well.",
            "Keep the places where t + 1 < length.",
        ),
        (
            lambda output, x, length: _squared_errors(output, x, length, real=0).mean(),
            "the last real output of a short sequence is compared with padding.",
            "It is the TARGET that must be real: t + 1 < length.",
        ),
        (
            lambda output, x, length: _squared_errors(output, x, length).sum() / output[:, 1:].size,
            "the padding is left out of the sum, but not out of the number you divide by.",
            "Divide by how many numbers count.",
        ),
        (
            lambda output, x, length: _squared_errors(output, x, length).sum() / output.size,
            "you divide by all numbers of the batch.",
            "Divide by how many numbers count: real targets only.",
        ),
        (
            lambda output, x, length: _squared_errors(output, x, length).sum(),
            "you add up; we asked for the mean.",
            "Divide by how many numbers count.",
        ),
        (
            lambda output, x, length: _squared_errors(output, x, length).sum(1).mean(),
            "you add up over the d numbers of an element.",
            "The mean is over these as well.",
        ),
        (
            _mean_per_sequence,
            "you average inside every sequence first; short ones then weigh more.",
            "Take one mean over all numbers that count.",
        ),
    ],
)


def _two_views():
    """Three (A, B): activations (n, d) in two views, not centred, of unequal scales."""
    rng = np.random.default_rng(8)
    cases = []
    for n, d in [(20, 4), (12, 6), (30, 3)]:
        common = rng.standard_normal((n, d))
        A = common * np.arange(1, d + 1) + rng.standard_normal((n, d)) + 2
        B = rng.standard_normal((n, d)) - 0.7 * common - 1
        cases.append((A, B))
    return cases


def _centred(X, axis=0):
    return X - X.mean(axis, keepdims=True)


def _cosines(A, B):
    return (A * B).sum(0) / np.sqrt((A**2).sum(0) * (B**2).sum(0))


def _unit_correlations(A, B):
    return _cosines(_centred(A), _centred(B))


unit_correlations = FunctionExercise(
    "unit_correlations",
    cases=_two_views(),
    solution=_unit_correlations,
    mistakes=[
        (
            lambda A, B: _cosines(A, B),
            "this is the cosine: did you centre?",
            "Subtract from every unit its own mean over the samples.",
        ),
        (
            lambda A, B: _cosines(_centred(A, axis=1), _centred(B, axis=1)),
            "you centre every SAMPLE over its units.",
            "The mean is over samples, axis 0.",
        ),
        (
            lambda A, B: (_centred(A) * _centred(B)).mean(0),
            "this is the covariance: a loud unit wins.",
            "Divide by both standard deviations.",
        ),
        (
            lambda A, B: _unit_correlations(A, B) * (len(A) - 1) / len(A),
            "you divide by n in one place and by n - 1 in the other.",
            "Use the same divisor for covariance and standard deviations; then it cancels.",
        ),
        (
            lambda A, B: np.abs(_unit_correlations(A, B)),
            "where are the negative ones?",
            "Keep the sign; take the absolute value when you compare strengths.",
        ),
        (
            lambda A, B: _unit_correlations(A, B) ** 2,
            "this is r squared.",
            "We asked for r, with its sign.",
        ),
        (
            lambda A, B: _unit_correlations(A, A),
            "you correlate A with itself.",
            "np.corrcoef(A.T, B.T) has four blocks; A against B is an off-diagonal one.",
        ),
    ],
)


def _nulls():
    """Three (null, level): correlations under shuffled pairs; negative ones are the larger."""
    rng = np.random.default_rng(9)
    cases = []
    for n_permutations, n_units, level in [(50, 4, 0.05), (30, 7, 0.1), (80, 3, 0.2)]:
        scales = np.arange(1, n_units + 1)
        null = 0.1 * rng.standard_normal((n_permutations, n_units)) * scales - 0.1
        cases.append((null, level))
    return cases


def _max_null_threshold(null, level):
    return np.quantile(np.abs(null).max(1), 1 - level)


max_null_threshold = FunctionExercise(
    "max_null_threshold",
    cases=_nulls(),
    solution=_max_null_threshold,
    mistakes=[
        (
            lambda null, level: np.quantile(np.abs(null), 1 - level),
            "with all units in one pot this is the threshold for ONE unit chosen beforehand.",
            "You look for the best of many: take each permutation's largest first.",
        ),
        (
            lambda null, level: np.quantile(null.max(1), 1 - level),
            "a strong negative correlation is a find too.",
            "Take absolute values before the maximum.",
        ),
        (
            lambda null, level: _max_null_threshold(null, 1 - level),
            "this is the wrong end of the distribution.",
            "Only `level` of the permutations may lie ABOVE: the quantile is 1 - level.",
        ),
        (
            lambda null, level: np.quantile(np.abs(null).min(1), 1 - level),
            "this is each permutation's WEAKEST unit.",
            "Take the largest over units.",
        ),
        (
            lambda null, level: np.quantile(np.abs(null), 1 - level, axis=0).mean(),
            "a threshold per unit, averaged, is not yet corrected for the number of units.",
            "First the maximum over units, then the quantile over permutations.",
        ),
        (
            lambda null, level: np.quantile(np.abs(null).max(0), 1 - level),
            "you take the maximum over permutations.",
            "The maximum is over units, axis 1; the quantile over permutations.",
        ),
        (
            lambda null, level: np.abs(null).max(),
            "the largest of all permutations grows with their number.",
            "Take the quantile 1 - level of the permutations' maxima.",
        ),
        (
            lambda null, level: np.abs(null).max(1).mean(),
            "the mean would be passed by chance about every second time.",
            "Take the quantile 1 - level.",
        ),
    ],
)
