"""Every usual mistake gets its own hint, a fuller one on the second try; a right answer passes however it is written."""
import copy

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from lib import checks
from lib.checks import NotYet


def block(A, sigma, sample):
    return sum(sample(a) for a in A) / sigma**2


def schur(C, P, sigma, middle, sign=-1):
    flat_c, flat_p = C.reshape(-1, C.shape[-1]) / sigma, P.reshape(-1, P.shape[-1]) / sigma
    cross = flat_c.T @ flat_p
    return flat_c.T @ flat_c + sign * cross @ middle(flat_p.T @ flat_p) @ cross.T


def mse(a, b):
    return np.mean(np.square(a - b))


def pca(train, test, k, keep=slice(None), average=np.mean):
    fitted = PCA().fit(train)
    kept = fitted.components_[keep][:k]
    return average((test - fitted.mean_ - (test - fitted.mean_) @ kept.T @ kept) ** 2)


def uncentred(train, test, k):
    kept = np.linalg.eigh(train.T @ train)[1][:, -k:]
    return mse(test, test @ kept @ kept.T)


def own_mean(train, test, k):
    return pca(train, test - test.mean(0) + train.mean(0), k)


def interval(gains, quantile=None, error=None):
    error = stats.sem(gains) if error is None else error
    half = error * (quantile or stats.t.ppf(0.975, len(gains) - 1))
    return gains.mean() - half, gains.mean() + half


def neighbours(X, k, metric="cosine", itself=False):
    """Sets of the k nearest rows, by scipy's distances."""
    D = cdist(X, X, metric) if isinstance(metric, str) else metric(X)
    if not itself:
        D[np.diag_indices(len(D))] = np.inf
    return [set(row) for row in D.argsort(axis=1)[:, :k].tolist()]


def common(A, B, k, score=lambda a, b, k: len(a & b) / k, **options):
    return np.mean([score(a, b, k) for a, b in zip(neighbours(A, k, **options), neighbours(B, k, **options))])


def cka(A, B, left=True, right=True):
    """Through the n x n matrices, centred by H on the sides wanted."""
    H = lambda on: np.eye(len(A)) - on / len(A)
    K, L = H(left) @ A @ A.T @ H(left), H(right) @ B @ B.T @ H(right)
    return (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())


def whitened(train, test, d, fit=None, mean=None, whiten=True, shorten=lambda W: W / np.linalg.norm(W, axis=1, keepdims=True)):
    fitted = PCA(d).fit(train if fit is None else fit)
    W = (test - (fitted.mean_ if mean is None else mean)) @ fitted.components_.T
    W = shorten(W / fitted.singular_values_ if whiten else W)
    return W @ W.T


def whitened_last(train, test, d):
    values, vectors = np.linalg.eigh(np.cov(train.T))
    W = (test - train.mean(0)) @ vectors[:, :d] / np.sqrt(values[:d])
    W /= np.linalg.norm(W, axis=1)[:, None]
    return W @ W.T


def whitened_twice(train, test, d):
    fitted = PCA(d).fit(train)
    W = (test - fitted.mean_) @ fitted.components_.T / fitted.explained_variance_
    W /= np.linalg.norm(W, axis=1)[:, None]
    return W @ W.T


RIGHT = {
    "mutual_knn": common,
    "linear_cka": cka,
    "whitened_cosines": whitened,
    "uml_loss": lambda xh, x, yh, y, lam: np.mean((xh - x) ** 2 + lam * (yh - y) ** 2),
    "pca_reconstruction_error": pca,
    "paired_gain_interval": lambda b, m: list(stats.ttest_rel(b, m).confidence_interval()),
    "block_information": lambda A, s: np.tensordot(A, A, ([0, 1], [0, 1])) / s**2,
    "schur_complement": lambda C, P, s: schur(C, P, s, np.linalg.pinv),
    "exchange_rate": lambda a, g, r: (np.sin(a * np.pi / 180) / (g * r)) ** 2,
}

WRONG = [  # exercise, wrong answer, a word of its own hint
    ("block_information", lambda A, s: block(A, 1, lambda a: a.T @ a), "noise"),
    ("block_information", lambda A, s: block(A, s**0.5, lambda a: a.T @ a), "units"),
    ("block_information", lambda A, s: block(A, s, lambda a: a.T @ a) / len(A), "average"),
    ("block_information", lambda A, s: block(A[:1], s, lambda a: a.T @ a), "first sample"),
    ("block_information", lambda A, s: A.sum(0).T @ A.sum(0) / s**2, "square"),
    ("block_information", lambda A, s: block(A, 1 / s, lambda a: a.T @ a), "multiply"),
    ("block_information", lambda A, s: block(A, s, lambda a: a @ a.T), "shape"),
    ("schur_complement", lambda C, P, s: block(C, s, lambda c: c.T @ c), "block"),
    ("schur_complement", lambda C, P, s: schur(C, P, s, np.linalg.inv, sign=1), "ADD"),
    ("schur_complement", lambda C, P, s: np.linalg.inv(schur(C, P, s, np.linalg.inv)), "covariance"),
    ("schur_complement", lambda C, P, s: schur(C, P, 1, np.linalg.inv), "noise"),
    ("schur_complement", lambda C, P, s: schur(C, P, s, lambda m: np.eye(len(m))), "missing"),
    ("schur_complement", lambda C, P, s: schur(C, P, s, lambda m: m), "inverted"),
    ("exchange_rate", lambda a, g, r: (np.sin(a) / (g * r)) ** 2, "radians"),
    ("exchange_rate", lambda a, g, r: (np.cos(np.deg2rad(a)) / (g * r)) ** 2, "0 degrees"),
    ("exchange_rate", lambda a, g, r: (np.sin(np.deg2rad(a)) / g * r) ** 2, "noisier"),
    ("exchange_rate", lambda a, g, r: (np.sin(np.deg2rad(a)) / g) ** 2 / r, "variance"),
    ("exchange_rate", lambda a, g, r: np.sin(np.deg2rad(a)) / (g * r), "amplitudes"),
    ("exchange_rate", lambda a, g, r: (g * r / np.sin(np.deg2rad(a))) ** 2, "Y per X"),
    ("exchange_rate", lambda a, g, r: (np.sin(np.deg2rad(a)) / r) ** 2, "weak direction"),
    ("uml_loss", lambda xh, x, yh, y, lam: mse(xh, x), "and Y?"),
    ("uml_loss", lambda xh, x, yh, y, lam: mse(xh, x) + mse(yh, y), "does nothing"),
    ("uml_loss", lambda xh, x, yh, y, lam: lam * mse(xh, x) + mse(yh, y), "wrong modality"),
    ("uml_loss", lambda xh, x, yh, y, lam: mse(xh, y) + lam * mse(yh, x), "pairs"),
    ("uml_loss", lambda xh, x, yh, y, lam: mse(xh, x) + lam * mse(xh, yh), "alignment"),
    ("uml_loss", lambda xh, x, yh, y, lam: np.sum((xh - x) ** 2) + lam * np.sum((yh - y) ** 2), "mean"),
    ("pca_reconstruction_error", uncentred, "centre the data"),
    ("pca_reconstruction_error", own_mean, "own mean"),
    ("pca_reconstruction_error", lambda a, b, k: pca(b, b, k), "test set"),
    ("pca_reconstruction_error", lambda a, b, k: pca(a, b, k, slice(None, None, -1)), "LEAST"),
    ("pca_reconstruction_error", lambda a, b, k: pca(a, b, k, average=np.sum) / len(b), "features"),
    ("pca_reconstruction_error", lambda a, b, k: pca(a, a, k), "training error"),
    ("paired_gain_interval", lambda b, m: interval(b - m, error=np.std(b - m, ddof=1)), "single seeds"),
    ("paired_gain_interval", lambda b, m: list(stats.ttest_ind(b, m).confidence_interval()), "not paired"),
    ("paired_gain_interval", lambda b, m: interval(b - m, 1.959963984540054), "normal"),
    ("paired_gain_interval", lambda b, m: interval(b - m, error=np.std(b - m) / np.sqrt(len(b))), "too small"),
    ("paired_gain_interval", lambda b, m: interval(m - b), "sign"),
    ("paired_gain_interval", lambda b, m: list(stats.ttest_rel(b, m).confidence_interval(0.9)), "90 %"),
    ("mutual_knn", lambda A, B, k: common(A, B, k, itself=True), "its own nearest"),
    ("mutual_knn", lambda A, B, k: common(A, B, k, metric=lambda X: -X @ X.T), "inner products"),
    ("mutual_knn", lambda A, B, k: common(A, B, k, metric="euclidean"), "Euclidean"),
    ("mutual_knn", lambda A, B, k: np.mean([len(set(a) & set(b)) / k for a, b in zip(*(np.where(np.eye(len(X)), np.inf, 1 - cdist(X, X, "cosine"))
                                                                                        .argsort(axis=1)[:, :k].tolist() for X in (A, B)))]), "FARTHEST"),
    ("mutual_knn", lambda A, B, k: common(A, B, k, score=lambda a, b, k: len(a & b) / len(a | b)), "union"),
    ("mutual_knn", lambda A, B, k: common(A, B, k) * k / len(A), "divide by n"),
    ("mutual_knn", lambda A, B, k: common(A, B, k) * k, "counts"),
    ("linear_cka", lambda A, B: cka(A, B, False, False), "did you centre"),
    ("linear_cka", lambda A, B: cka(A, B, right=False), "not B"),
    ("linear_cka", lambda A, B: cka(A, B, left=False), "not A"),
    ("linear_cka", lambda A, B: cka(A - A.mean(1)[:, None], B - B.mean(1)[:, None], False, False), "ROW"),
    ("linear_cka", lambda A, B: cka(A, B) / np.sqrt(np.prod([np.linalg.norm(np.cov(X.T, bias=True) * len(X)) ** 2 for X in (A, B)])), "root missing"),
    ("linear_cka", lambda A, B: cka(A, B) ** 0.5, "root of CKA"),
    ("whitened_cosines", lambda a, b, d: whitened(b, b, d), "test set"),
    ("whitened_cosines", lambda a, b, d: whitened(a, b, d, mean=b.mean(0)), "own mean"),
    ("whitened_cosines", lambda a, b, d: whitened(a, b, d, mean=0), "did you centre"),
    ("whitened_cosines", lambda a, b, d: whitened(a, b, d, whiten=False), "PCA"),
    ("whitened_cosines", whitened_twice, "by the variance"),
    ("whitened_cosines", whitened_last, "LEAST"),
    ("whitened_cosines", lambda a, b, d: whitened(a, b, d, shorten=lambda W: W * np.sqrt(len(a))), "length 1"),
]


def fresh(name):
    exercise = copy.copy(getattr(checks, name))
    exercise.tries = {}
    return exercise


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name, capsys):
    fresh(name)(RIGHT[name])
    assert capsys.readouterr().out.startswith(f"right: {name}")


@pytest.mark.parametrize("name, answer, word", WRONG)
def test_each_mistake_has_its_hint_and_a_fuller_one(name, answer, word):
    exercise = fresh(name)
    with pytest.raises(NotYet) as first:
        exercise(answer)
    with pytest.raises(NotYet) as second:
        exercise(answer)
    assert word in str(first.value) and "no mistake that we know" not in str(first.value)
    assert str(second.value).startswith(str(first.value)) and len(str(second.value)) > len(str(first.value))
    assert first.value._render_traceback_() == [f"Not yet: {first.value}"]


@pytest.mark.parametrize("name", RIGHT)
def test_hints_differ_and_there_are_four_planted_mistakes(name):
    hints = [hint for _, hint, _ in getattr(checks, name).mistakes]
    assert len(set(hints)) == len(hints) and sum(exercise == name for exercise, *_ in WRONG) >= 4


@pytest.mark.parametrize("answer, word", [
    (lambda *_: None, "None"), (lambda *_: 1 / 0, "ZeroDivisionError"), (lambda *_: np.zeros(5), "shape"),
    (lambda A, s: np.full((A.shape[-1],) * 2, 7.0), "no mistake that we know"), (lambda *_: "text", "stops with"),
])
def test_other_answers_are_told_what_is_wrong(answer, word):
    with pytest.raises(NotYet, match=word):
        fresh("block_information")(answer)


def test_a_stub_stays_a_stub():
    def stub(*_):
        raise NotImplementedError
    with pytest.raises(NotImplementedError):
        fresh("block_information")(stub)
