"""Every usual mistake gets its own hint, a fuller one on the second try; a right answer passes however it is written."""
import copy

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler, normalize

from lib import checks
from lib.checks import NotYet
from lib.teachers import weighted_cca


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


def text_head(x, y, n_classes, after=normalize):
    return after(np.eye(n_classes)[y].T @ x / np.bincount(y, minlength=n_classes)[:, None])


def margin(W, r, y, length=np.linalg.norm):
    return np.array([min((W[c] - W[j]) @ x / length(W[c] - W[j]) for j in range(len(W)) if j != c) for x, c in zip(r, y)])


def strongest_rival(W, r, y):
    rivals = [max((j for j in range(len(W)) if j != c), key=lambda j: W[j] @ x) for x, c in zip(r, y)]
    return np.array([(W[c] - W[j]) @ x / np.linalg.norm(W[c] - W[j]) for x, c, j in zip(r, y, rivals)])


def next_loss(output, x, length, ahead=1, last=0, every=True, finish=np.mean):
    """Sequence by sequence, number by number."""
    errors = []
    for o, y, n in zip(output, x, length):
        for t in range(len(y)):
            if 0 <= t + ahead < len(y) and (not every or t + max(ahead, 0) < n + last):
                errors.append((o[t] - y[t + ahead]) ** 2)
    return finish(errors)


def looped(A, B, score=lambda a, b: stats.pearsonr(a, b)[0]):
    return [score(a, b) for a, b in zip(A.T, B.T)]


def plane_price(a, s, w, price=lambda b, c: b / c, **options):
    """By scikit-learn, over all points one by one."""
    points = np.array([(x, y) for x in s for y in w])
    return price(*LinearRegression(**options).fit(points, np.concatenate(list(a))).coef_)


def between(a, s, w, i, j, i0=-1, i1=1):
    of_image, of_word = np.diff(a[[i + i0, i + i1], j])[0] / np.ptp(s[[i + i0, i + i1]]), np.diff(a[i, [j + i0, j + i1]])[0] / np.ptp(w[[j + i0, j + i1]])
    return of_image / of_word


def resampled(a, rate, rows):
    return np.apply_along_axis(rate, 1, a[rows].mean(axis=1))


def bridge(X, Y, d, keep=slice(None), scale=StandardScaler(with_std=False).fit_transform):
    """From the two eigenproblems; partners share a sign."""
    C = scale(X).T @ scale(Y)
    W_x, W_y = (np.linalg.eigh(M)[1][:, ::-1][:, keep][:, :d] for M in (C @ C.T, C.T @ C))
    return W_x * np.sign(np.sum(W_x * (C @ W_y), axis=0)) @ W_y.T


def stretched(X, Y, d):
    """The cross-covariance of the pairs itself, cut to rank d."""
    C = len(X) * np.cov(X.T, Y.T, bias=True)[:X.shape[1], X.shape[1]:]
    return C @ PCA(d).fit(np.vstack([C, -C])).components_.T @ PCA(d).fit(np.vstack([C, -C])).components_


def with_ridge(Z, ridge):
    return np.cov(Z.T, bias=True) + ridge * np.var(Z, axis=0).mean() * np.eye(Z.shape[1])


def canonical(X, Y, ridge, ridges=(with_ridge, with_ridge), power=0.5):
    """Canonical correlations from the eigenvalues of the product of both regressions."""
    C = np.cov(X.T, Y.T, bias=True)[:X.shape[1], X.shape[1]:]
    product = np.linalg.inv(ridges[0](X, ridge)) @ C @ np.linalg.inv(ridges[1](Y, ridge)) @ C.T
    return np.sort(np.linalg.eigvals(product).real.clip(0) ** power)[::-1][:min(C.shape)]


def asked(X, Y, new_X, new_Y, ridge, score=lambda a, b: stats.pearsonr(a, b)[0]):
    maps = weighted_cca(X, Y, ridge, power=0)
    return [score(a, b) for a, b in zip(*(to(Z).T for to, Z in zip(maps, (new_X, new_Y))))]


def one_sweep(K, epsilon, v, rows=None, columns=None, before=lambda v: v):
    n, m = K.shape
    P = np.exp(K / epsilon + before(v))
    P = P / P.sum(axis=1, keepdims=True) / (rows or n)
    return before(v) - np.log(P.sum(axis=0) * (columns or m))


def sigmoid_terms(K, scale, bias, z=lambda n, m: 2 * np.eye(n, m) - 1):
    """-log sigmoid(z * logit) of every cell, by scipy."""
    return -special.log_expit(z(*K.shape) * (scale * K + bias))


def lion(w, g, m, lr, decay, beta_1=0.9, beta_2=0.99, step=np.sign, shrink=None):
    c = m + (1 - beta_1) * (g - m)
    return np.array([w - (lr * decay if shrink is None else shrink) * w - lr * step(c), m + (1 - beta_2) * (g - m)])


def named(pictures, prompts, first=normalize, last=normalize, metric="cosine"):
    means = np.array([first(sentences).mean(0) for sentences in prompts])
    return cdist(pictures, last(means), metric).argmin(1)


RIGHT = {
    "sinkhorn_step": one_sweep,
    "plan_divergence": lambda T, P: special.rel_entr(T, P).sum(),
    "gradient_of_embeddings": lambda P, T, g, e, _: np.einsum("ij,jd->id", P / e - T / e, g),
    "procrustes_bridge": bridge,
    "ridge_cca_correlations": canonical,
    "new_correlations": asked,
    "words_per_image": plane_price,
    "local_rate": between,
    "rate_interval": lambda a, rate, rows: np.percentile(resampled(a, rate, rows), [2.5, 97.5]),
    "next_embedding_loss": next_loss,
    "unit_correlations": looped,
    "max_null_threshold": lambda null, level: np.percentile(np.maximum(null.max(axis=1), -null.min(axis=1)), 100 * (1 - level)),
    "mutual_knn": common,
    "linear_cka": cka,
    "whitened_cosines": whitened,
    "head_from_text": text_head,
    "mantel_correlation": lambda A, B: 1 - pdist([squareform(A), squareform(B)], "correlation")[0],
    "functional_margin": margin,
    "uml_loss": lambda xh, x, yh, y, lam: np.mean((xh - x) ** 2 + lam * (yh - y) ** 2),
    "pca_reconstruction_error": pca,
    "paired_gain_interval": lambda b, m: list(stats.ttest_rel(b, m).confidence_interval()),
    "block_information": lambda A, s: np.tensordot(A, A, ([0, 1], [0, 1])) / s**2,
    "schur_complement": lambda C, P, s: schur(C, P, s, np.linalg.pinv),
    "exchange_rate": lambda a, g, r: (np.sin(a * np.pi / 180) / (g * r)) ** 2,
    "siglip_loss": lambda K, s, b: sigmoid_terms(K, s, b).mean(),
    "lion_step": lion,
    "zero_shot": named,
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
    ("head_from_text", lambda x, y, k: text_head(x, y, k, after=lambda m: m), "length 1"),
    ("head_from_text", lambda x, y, k: text_head(normalize(x), y, k, after=lambda m: m), "scale the means"),
    ("head_from_text", lambda x, y, k: text_head(normalize(x), y, k), "before you average"),
    ("head_from_text", lambda x, y, k: normalize(np.array([x[list(y).index(c)] for c in range(k)])), "first caption"),
    ("head_from_text", lambda x, y, k: text_head(x, y, k, after=lambda m: normalize(m - m.mean(0))), "common part"),
    ("head_from_text", lambda x, y, k: text_head(x, y, k, after=lambda m: normalize(m, axis=0)), "columns"),
    ("mantel_correlation", lambda A, B: stats.pearsonr(A.flatten(), B.flatten()).statistic, "whole tables"),
    ("mantel_correlation", lambda A, B: np.corrcoef(A[np.tril_indices(len(A))], B[np.tril_indices(len(A))])[1, 0], "diagonal"),
    ("mantel_correlation", lambda A, B: stats.spearmanr(squareform(A), squareform(B)).statistic, "ranks"),
    ("mantel_correlation", lambda A, B: np.cov(squareform(A), squareform(B))[1, 0], "covariance"),
    ("mantel_correlation", lambda A, B: stats.linregress(squareform(A), squareform(B)).rvalue ** 2, "square"),
    ("functional_margin", lambda W, r, y: margin(W, r, y, length=lambda w: 1), "differences of logits"),
    ("functional_margin", lambda W, r, y: margin(W, r, y, length=lambda w: w @ w), "squared length"),
    ("functional_margin", lambda W, r, y: abs(margin(W, r, y)), "negative"),
    ("functional_margin", lambda W, r, y: -margin(W, r, y), "sign"),
    ("functional_margin", lambda W, r, y: margin(normalize(W), r, y), "rows to length 1"),
    ("functional_margin", strongest_rival, "highest logit"),
    ("next_embedding_loss", lambda o, x, n: next_loss(o, x, n, ahead=0), "just seen"),
    ("next_embedding_loss", lambda o, x, n: next_loss(o[:, 1:], x[:, :-1], n - 1, ahead=0), "the past"),
    ("next_embedding_loss", lambda o, x, n: mse(o[:, :-1], x[:, 1:]), "padding counts"),
    ("next_embedding_loss", lambda o, x, n: next_loss(o, x, n, last=1), "compared with padding"),
    ("next_embedding_loss", lambda o, x, n: next_loss(o, x, n, finish=np.sum) / (x.size - x[:, 0].size), "out of the sum"),
    ("next_embedding_loss", lambda o, x, n: next_loss(o, x, n, finish=np.sum) / x.size, "all numbers of the batch"),
    ("next_embedding_loss", lambda o, x, n: next_loss(o, x, n, finish=np.sum), "asked for the mean"),
    ("next_embedding_loss", lambda o, x, n: next_loss(o, x, n, finish=np.sum) / (n - 1).sum(), "add up over the d"),
    ("next_embedding_loss", lambda o, x, n: np.mean([mse(o[i, :m - 1], x[i, 1:m]) for i, m in enumerate(n)]), "short ones"),
    ("unit_correlations", lambda A, B: looped(A, B, lambda a, b: a @ b / np.sqrt(a @ a * (b @ b))), "cosine"),
    ("unit_correlations", lambda A, B: looped(*((X.T - X.mean(1)).T for X in (A, B)), lambda a, b: a @ b / np.sqrt(a @ a * (b @ b))), "SAMPLE"),
    ("unit_correlations", lambda A, B: looped(A, B, lambda a, b: np.cov(a, b, ddof=0)[0, 1]), "covariance"),
    ("unit_correlations", lambda A, B: looped(A, B, lambda a, b: np.cov(a, b, ddof=0)[0, 1] / (a.std(ddof=1) * b.std(ddof=1))), "n - 1"),
    ("unit_correlations", lambda A, B: np.abs(looped(A, B)), "negative"),
    ("unit_correlations", lambda A, B: looped(A, B, lambda a, b: stats.linregress(a, b).rvalue ** 2), "squared"),
    ("unit_correlations", lambda A, B: np.diag(np.corrcoef(A.T, B.T)[:A.shape[1], :A.shape[1]]), "itself"),
    ("max_null_threshold", lambda null, level: np.percentile(abs(null).ravel(), 100 - 100 * level), "one pot"),
    ("max_null_threshold", lambda null, level: np.quantile([max(row) for row in null], 1 - level), "negative"),
    ("max_null_threshold", lambda null, level: np.quantile([max(abs(row)) for row in null], level), "wrong end"),
    ("max_null_threshold", lambda null, level: np.quantile([min(abs(row)) for row in null], 1 - level), "WEAKEST"),
    ("max_null_threshold", lambda null, level: np.mean([np.quantile(abs(unit), 1 - level) for unit in null.T]), "averaged"),
    ("max_null_threshold", lambda null, level: np.quantile([max(abs(unit)) for unit in null.T], 1 - level), "over permutations"),
    ("max_null_threshold", lambda null, level: max(null.max(), -null.min()), "grows"),
    ("max_null_threshold", lambda null, level: np.mean([max(abs(row)) for row in null]), "by chance"),
    ("words_per_image", lambda a, s, w: 1 / plane_price(a, s, w), "images per word"),
    ("words_per_image", lambda a, s, w: plane_price(a, s, w, fit_intercept=False), "intercept"),
    ("words_per_image", lambda a, s, w: plane_price(a, s, w, lambda b, c: -b / c), "slope of the isoline"),
    ("words_per_image", lambda a, s, w: plane_price(a, np.log2(s), w), "first axis is logarithmic"),
    ("words_per_image", lambda a, s, w: plane_price(a, s, np.log(1 + w)), "second axis is logarithmic"),
    ("words_per_image", lambda a, s, w: plane_price(a.reshape(len(w), len(s)).T, s, w), "beside their accuracies"),
    ("words_per_image", lambda a, s, w: plane_price(a, stats.zscore(s), stats.zscore(w)), "units are gone"),
    ("local_rate", lambda *at: 1 / between(*at), "images per word"),
    ("local_rate", lambda a, s, w, i, j: (a[i + 1, j] - a[i - 1, j]) / (a[i, j + 1] - a[i, j - 1]), "one apart"),
    ("local_rate", lambda *at: between(*at, i0=0), "ahead only"),
    ("local_rate", lambda *at: between(*at, i1=0), "back only"),
    ("local_rate", lambda *at: -between(*at), "sign is turned"),
    ("local_rate", lambda a, s, w, i, j: np.gradient(a[:, j], s)[i] / np.gradient(a[i], w)[j], "numpy.gradient"),
    ("local_rate", lambda a, s, w, i, j: between(a, np.log(s), np.log(1 + w), i, j), "elasticities"),
    ("rate_interval", lambda a, rate, rows: np.percentile(np.array([rate(one) for one in a])[rows].mean(1), [2.5, 97.5]), "mean of ratios"),
    ("rate_interval", lambda a, rate, rows: np.percentile(resampled(a, rate, rows), [5, 95]), "90 %"),
    ("rate_interval", lambda a, rate, rows: [(r := resampled(a, rate, rows)).mean() - 1.96 * r.std(), r.mean() + 1.96 * r.std()], "normal"),
    ("rate_interval", lambda a, rate, rows: np.percentile([rate(one) for one in a], [2.5, 97.5]), "single draws"),
    ("rate_interval", lambda a, rate, rows: [(r := resampled(a, rate, rows)).mean() + k * 1.96 * r.std() / len(rows) ** 0.5 for k in (-1, 1)], "no more data"),
    ("rate_interval", lambda a, rate, rows: [min(resampled(a, rate, rows)), max(resampled(a, rate, rows))], "extremes"),
    ("procrustes_bridge", lambda X, Y, d: bridge(X, Y, d, scale=lambda Z: Z), "centre the pairs"),
    ("procrustes_bridge", lambda X, Y, d: bridge(X, Y, d, scale=lambda Z: Z - Z.mean(1)[:, None]), "every ROW"),
    ("procrustes_bridge", lambda X, Y, d: bridge(X, Y, min(X.shape[1], Y.shape[1])), "all directions"),
    ("procrustes_bridge", lambda X, Y, d: bridge(X, Y, d, keep=slice(min(X.shape[1], Y.shape[1]) - d, min(X.shape[1], Y.shape[1]))), "LEAST"),
    ("procrustes_bridge", lambda X, Y, d: stretched(X, Y, d), "stretch"),
    ("procrustes_bridge", lambda X, Y, d: (lambda U, S, Vt: U[:, :d] @ Vt[:, :d].T)(*np.linalg.svd((X - X.mean(0)).T @ Y, full_matrices=False)), "do not match"),
    ("procrustes_bridge", lambda X, Y, d: bridge(X, Y, d, scale=stats.zscore), "variance 1"),
    ("ridge_cca_correlations", lambda X, Y, r: canonical(X, Y, 0), "does nothing"),
    ("ridge_cca_correlations", lambda X, Y, r: canonical(X, Y, r, [lambda Z, r: np.cov(Z.T, bias=True) + r * np.eye(Z.shape[1])] * 2), "ridge itself"),
    ("ridge_cca_correlations", lambda X, Y, r: canonical(X, Y, r, [lambda Z, r: with_ridge(Z, r * Z.shape[1])] * 2), "whole variance"),
    ("ridge_cca_correlations", lambda X, Y, r: canonical(X, Y, r, [lambda Z, r: np.eye(Z.shape[1])] * 2), "covariances"),
    ("ridge_cca_correlations", lambda X, Y, r: canonical(X, Y, r, power=1), "squared"),
    ("ridge_cca_correlations", lambda X, Y, r: canonical(X, Y, r)[::-1], "smallest comes first"),
    ("new_correlations", lambda X, Y, x, y, r: asked(X, Y, X, Y, r), "fitted on"),
    ("new_correlations", lambda X, Y, x, y, r: asked(x, y, x, y, r), "fitted on the new"),
    ("new_correlations", lambda X, Y, x, y, r: asked(np.concatenate([X, x]), np.concatenate([Y, y]), x, y, r), "a part in the fit"),
    ("new_correlations", lambda *case: asked(*case, lambda a, b: a @ b / np.sqrt(a @ a * (b @ b))), "cosine"),
    ("new_correlations", lambda *case: asked(*case, lambda a, b: np.cov(a, b, ddof=0)[0, 1]), "covariance"),
    ("new_correlations", lambda *case: np.abs(asked(*case)), "negative"),
    ("new_correlations", lambda *case: np.square(asked(*case)), "squared"),
    ("new_correlations", lambda *case: sorted(asked(*case), reverse=True), "sorted"),
    ("new_correlations", lambda X, Y, x, y, r: asked(X, Y, x, y, 1e-9), "ridge is missing"),
    ("sinkhorn_step", lambda K, e, v: one_sweep(K, e, v, before=lambda v: 0 * v), "where is v"),
    ("sinkhorn_step", lambda K, e, v: -np.log(K.shape[1] / len(K)) - np.log(np.exp(K / e).sum(0)), "rows did not"),
    ("sinkhorn_step", lambda K, e, v: one_sweep(K, e, v, rows=1), "not to 1/n"),
    ("sinkhorn_step", lambda K, e, v: one_sweep(K, e, v, columns=1), "not to 1/m"),
    ("sinkhorn_step", lambda K, e, v: one_sweep(K, 1 / e, v), "times epsilon"),
    ("sinkhorn_step", lambda K, e, v: one_sweep(K, e, v) + v, "added"),
    ("sinkhorn_step", lambda K, e, v: np.exp(one_sweep(K, e, v)), "scaling"),
    ("sinkhorn_step", lambda K, e, v: -one_sweep(K, e, v), "sign"),
    ("plan_divergence", lambda T, P: special.rel_entr(P, T).sum(), "P || T"),
    ("plan_divergence", lambda T, P: (T * np.log(P / T)).sum(), "sign"),
    ("plan_divergence", lambda T, P: (T * np.log(1 / P)).sum(), "cross-entropy"),
    ("plan_divergence", lambda T, P: special.rel_entr(T, P).mean(), "mean over"),
    ("plan_divergence", lambda T, P: special.rel_entr(len(T) * T, len(T) * P).sum(), "rows that sum"),
    ("plan_divergence", lambda T, P: stats.entropy(T, P, axis=1).sum(), "every row sum"),
    ("plan_divergence", lambda T, P: stats.entropy(T.ravel(), P.ravel(), base=2), "bits"),
    ("plan_divergence", lambda T, P: (np.log(T) - np.log(P)).sum(), "weight"),
    ("gradient_of_embeddings", lambda P, T, g, e, e_t: (P - T) @ g / e_t, "which temperature"),
    ("gradient_of_embeddings", lambda P, T, g, e, e_t: (T @ g - P @ g) / e, "descent"),
    ("gradient_of_embeddings", lambda P, T, g, e, e_t: P @ g - T @ g, "epsilon is missing"),
    ("gradient_of_embeddings", lambda P, T, g, e, e_t: e * (P @ g - T @ g), "times epsilon"),
    ("gradient_of_embeddings", lambda P, T, g, e, e_t: P @ g / e - T @ g / e_t, "own temperature"),
    ("gradient_of_embeddings", lambda P, T, g, e, e_t: P @ g / e, "and the teacher"),
    ("gradient_of_embeddings", lambda P, T, g, e, e_t: (P - T) @ g / e * g.shape[1] * len(P) / g.shape[1], "rows that sum"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, s, b, lambda n, m: 1 - 2 * np.eye(n, m)).mean(), "changed places"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, s, b, lambda n, m: np.ones((n, m))).mean(), "every cell"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, s, b, np.eye).mean(), "z = 0"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, s, b).sum(1).mean(), "n alone"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, s, b).sum(), "is a sum"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, s, 0).mean(), "the bias?"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, 1, b).mean(), "the scale?"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K + b, s, 0).mean(), "multiplies"),
    ("siglip_loss", lambda K, s, b: -sigmoid_terms(K, s, b).mean(), "sign"),
    ("siglip_loss", lambda K, s, b: sigmoid_terms(K, s, b).diagonal().mean(), "only partners"),
    ("lion_step", lambda *case: lion(*case, step=lambda c: 1 * c), "where is the sign"),
    ("lion_step", lambda *case: lion(*case, beta_1=0), "no say"),
    ("lion_step", lambda *case: lion(*case, beta_1=0.99, beta_2=0.9), "two betas"),
    ("lion_step", lambda *case: lion(*case, beta_2=0.9), "too fast"),
    ("lion_step", lambda *case: lion(*case, beta_1=0.1), "weights in c"),
    ("lion_step", lambda *case: lion(*case, step=lambda c: -np.sign(c)), "climb"),
    ("lion_step", lambda *case: lion(*case, shrink=0), "where is the weight decay"),
    ("lion_step", lambda w, g, m, lr, decay: lion(w, g, m, lr, decay, shrink=decay), "too strong"),
    ("lion_step", lambda w, g, m, lr, decay: lion(w, g + decay * w, m, lr, 0), "added the decay"),
    ("lion_step", lambda *case: np.array([lion(*case, beta_1=0.99)[0], lion(*case)[1]]), "new momentum"),
    ("lion_step", lambda w, g, m, lr, decay: np.array([(1 - lr * decay) * lion(w, g, m, lr, 0)[0], lion(w, g, m, lr, 0)[1]]), "step shrinks"),
    ("zero_shot", lambda x, t: (x @ np.array([normalize(s).mean(0) for s in t]).T).argmax(1), "different lengths"),
    ("zero_shot", lambda x, t: named(x, t, first=lambda s: s), "more votes"),
    ("zero_shot", lambda x, t: (x @ t.mean(1).T).argmax(1), "nothing was scaled"),
    ("zero_shot", lambda x, t: named(x, t[:, :1]), "one sentence"),
    ("zero_shot", lambda x, t: np.array([cdist(x, s, "cosine").min(1) for s in t]).argmin(0), "best sentence"),
    ("zero_shot", lambda x, t: cdist(x, np.array([normalize(s).mean(0) for s in t]), "cosine").argmax(1), "fits least"),
    ("zero_shot", lambda x, t: named(x, t, last=lambda m: m, metric="euclidean"), "distances"),
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
