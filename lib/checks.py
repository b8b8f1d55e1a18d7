"""Instant checks of the exercises: right, or a hint that fits the mistake; a fuller hint on the second try."""
from dataclasses import dataclass, field
from typing import Callable

import numpy as np
from scipy import stats

from lib import linear_gaussian


class NotYet(AssertionError):
    """An answer that is not right yet; shown in a notebook as its hint, without a traceback."""

    def _render_traceback_(self):
        return [f"Not yet: {self}"]


@dataclass
class Exercise:
    """One exercise: `solution` is right; `mistakes` are usual wrong answers, each with a hint and a fuller one.

    Call it with the learner's function. It prints one line when all `cases` (tuples of arguments) are right and raises
    NotYet with the hint of the first mistake that gives the same wrong values on every case.
    """

    name: str
    cases: list
    solution: Callable
    mistakes: list  # (wrong answer, hint, fuller hint)
    tries: dict = field(default_factory=dict)

    def __call__(self, answer):
        for case in self.cases:
            wanted = np.asarray(self.solution(*case))
            try:
                got = answer(*case)
                if got is None:
                    self._hint("none", "your function returns None.", "Does it end with a `return`?")
                got = np.asarray(got, dtype=float)
            except (NotYet, NotImplementedError):
                raise
            except Exception as error:
                self._hint("error", f"your function stops with {type(error).__name__}: {error}",
                           "Print the shapes of its arguments first.")
            if got.shape != wanted.shape:
                self._hint("shape", f"the shape is {got.shape}, it should be {wanted.shape}.",
                           "Follow the shapes from the first product to the last.")
        if any(not np.isfinite(np.asarray(answer(*case), dtype=float)).all() for case in self.cases):
            self._hint("nan", "some values are NaN or infinite.", "Is something divided by zero, such as a class compared with itself?")
        if self._same(answer, self.solution):
            print(f"right: {self.name}, {len(self.cases)} cases")
            return
        for number, (wrong, hint, more) in enumerate(self.mistakes):
            if self._same(answer, wrong):
                self._hint(number, hint, more)
        self._hint("other", "the values are not right, and this is no mistake that we know.",
                   "Try the smallest case by hand: one sample, one direction.")

    def _same(self, answer, other):
        with np.errstate(all="ignore"):
            return all(np.shape(answer(*case)) == np.shape(other(*case))
                       and np.allclose(answer(*case), other(*case), rtol=1e-6, atol=1e-9) for case in self.cases)

    def _hint(self, mistake, hint, more):
        self.tries[mistake] = self.tries.get(mistake, 0) + 1
        raise NotYet(hint if self.tries[mistake] == 1 else f"{hint} {more}")


def _designs():
    """Three (A_c, A_x, sigma) with A_c (n, m, d_c), A_x (n, m, d_x); no two sizes are alike."""
    rng = np.random.default_rng(1)
    return [(rng.standard_normal((n, m, c)), rng.standard_normal((n, m, p)), sigma)
            for n, m, c, p, sigma in [(5, 4, 2, 1, 0.5), (3, 6, 3, 2, 2.0), (7, 5, 2, 3, 1.5)]]


def _gram(left, right, sigma):
    return np.einsum("nmc,nmd->cd", left, right) / sigma**2


def _schur(a_c, a_x, sigma, sign=-1):
    cross = _gram(a_c, a_x, sigma)
    return _gram(a_c, a_c, sigma) + sign * cross @ np.linalg.inv(_gram(a_x, a_x, sigma)) @ cross.T


block_information = Exercise(
    "block_information", [(a_c, sigma) for a_c, _, sigma in _designs()],
    lambda a_c, sigma: linear_gaussian.block_information(linear_gaussian.Design(a_c, sigma=sigma)),
    [
        (lambda a_c, sigma: _gram(a_c, a_c, 1),
         "where is the noise? A noisier look must carry less information.", "Divide by sigma squared (UML eq. 1 has variance sigma^2)."),
        (lambda a_c, sigma: _gram(a_c, a_c, np.sqrt(sigma)),
         "you divide by sigma; check the units.", "The log-likelihood holds the squared residual over the VARIANCE, sigma squared."),
        (lambda a_c, sigma: _gram(a_c, a_c, sigma) / len(a_c),
         "this is the information of an average sample.", "Independent samples ADD their information: sum over i, no mean."),
        (lambda a_c, sigma: a_c[0].T @ a_c[0] / sigma**2,
         "this is the information of the first sample alone.", "Sum A_i'A_i over all samples i."),
        (lambda a_c, sigma: a_c.sum(0).T @ a_c.sum(0) / sigma**2,
         "you add the designs first and square then.", "Square each sample, A_i'A_i, and add afterwards: signs must not cancel."),
        (lambda a_c, sigma: _gram(a_c, a_c, 1 / sigma),
         "you multiply by the variance.", "More noise, less information: divide by sigma squared."),
    ])

schur_complement = Exercise(
    "schur_complement", _designs(),
    lambda a_c, a_x, sigma: linear_gaussian.efficient_information(linear_gaussian.Design(a_c, a_x, sigma)),
    [
        (lambda a_c, a_x, sigma: _gram(a_c, a_c, sigma),
         "this is the block: what you would know if theta_x were given.", "Subtract I_cx inv(I_xx) I_xc, the price of not knowing theta_x."),
        (lambda a_c, a_x, sigma: _schur(a_c, a_x, sigma, sign=1),
         "not knowing theta_x cannot ADD information.", "It is a minus: I_cc - I_cx inv(I_xx) I_xc."),
        (lambda a_c, a_x, sigma: np.linalg.inv(_schur(a_c, a_x, sigma)),
         "this is the covariance; the information is its inverse.", "Stop one step earlier: the Schur complement itself."),
        (lambda a_c, a_x, sigma: _schur(a_c, a_x, 1),
         "right up to the noise.", "Each of the three blocks carries 1 / sigma^2; one of these factors stays."),
        (lambda a_c, a_x, sigma: _gram(a_c, a_c, sigma) - _gram(a_c, a_x, sigma) @ _gram(a_c, a_x, sigma).T,
         "the middle factor is missing.", "I_cx inv(I_xx) I_xc: without the inverse the units do not fit."),
        (lambda a_c, a_x, sigma: _gram(a_c, a_c, sigma) - _gram(a_c, a_x, sigma) @ _gram(a_x, a_x, sigma) @ _gram(a_c, a_x, sigma).T,
         "the middle block should be inverted.", "Units: I_cx inv(I_xx) I_xc has to be an information again."),
    ])


def _rate(angle, weak_sight, noise_ratio):
    return np.sin(np.deg2rad(angle)) ** 2 / weak_sight**2 / noise_ratio**2


exchange_rate = Exercise(
    "exchange_rate", [(20.0, 0.5, 2.0), (70.0, 0.3, 0.7), (45.0, 0.8, 1.5)], _rate,
    [
        (lambda angle, weak, ratio: np.sin(angle) ** 2 / weak**2 / ratio**2,
         "NumPy's sine wants radians.", "Use np.deg2rad(angle)."),
        (lambda angle, weak, ratio: _rate(90 - angle, weak, ratio),
         "at 0 degrees Y looks where X already looks: what should the rate be there?",
         "The angle is counted from X's strong direction; the blind spot sees the SINE of it."),
        (lambda angle, weak, ratio: _rate(angle, weak, 1 / ratio),
         "a noisier Y should be worth less.", "noise_ratio is sigma_y / sigma_x: divide by its square."),
        (lambda angle, weak, ratio: _rate(angle, weak, np.sqrt(ratio)),
         "the noise enters as a variance.", "Square the noise ratio."),
        (lambda angle, weak, ratio: np.sqrt(_rate(angle, weak, ratio)),
         "you compare amplitudes; information is their square.", "Square the whole expression."),
        (lambda angle, weak, ratio: 1 / _rate(angle, weak, ratio),
         "this is Y per X, the paper's direction; we ask for X per Y.", "Turn the fraction over."),
        (lambda angle, weak, ratio: _rate(angle, 1.0, ratio),
         "and how well does X itself see its weak direction?", "X's own information there is weak_sight squared: divide by it."),
    ])


def _batches():
    """Three (x_hat, x, y_hat, y, lam) with as many rows in x as in y, so that a wrong pairing runs and is wrong."""
    rng = np.random.default_rng(2)
    return [(*(rng.standard_normal((n, d)) for _ in range(4)), lam) for n, d, lam in [(6, 3, 0.5), (4, 5, 2.0), (9, 2, 0.3)]]


def _mse(left, right):
    return ((left - right) ** 2).mean()


uml_loss = Exercise(
    "uml_loss", _batches(), lambda x_hat, x, y_hat, y, lam: _mse(x_hat, x) + lam * _mse(y_hat, y),
    [
        (lambda x_hat, x, y_hat, y, lam: _mse(x_hat, x),
         "and Y?", "Each modality has a term of its own; add lam times the one of Y."),
        (lambda x_hat, x, y_hat, y, lam: _mse(x_hat, x) + _mse(y_hat, y),
         "lam does nothing in your answer.", "It weighs the term of Y."),
        (lambda x_hat, x, y_hat, y, lam: lam * _mse(x_hat, x) + _mse(y_hat, y),
         "lam sits on the wrong modality.", "X is the target and keeps weight one; lam weighs Y."),
        (lambda x_hat, x, y_hat, y, lam: _mse(x_hat, y) + lam * _mse(y_hat, x),
         "you compare x_hat with y: that would need pairs.", "Each reconstruction is compared with its own input."),
        (lambda x_hat, x, y_hat, y, lam: _mse(x_hat, x) + lam * _mse(x_hat, y_hat),
         "your second term pulls x_hat and y_hat together: an alignment loss.", "UML has none; the second term is y_hat against y."),
        (lambda x_hat, x, y_hat, y, lam: ((x_hat - x) ** 2).sum() + lam * ((y_hat - y) ** 2).sum(),
         "you add up; we asked for the mean.", "With a sum the loss would grow with the batch and the width."),
    ])


def _tables():
    """Three (train_x, test_x, k), none of them centred, with unequal variances."""
    rng = np.random.default_rng(3)
    return [(rng.standard_normal((n, d)) * np.arange(1, d + 1) + 3, rng.standard_normal((n + 2, d)) * np.arange(d, 0, -1) + 2, k)
            for n, d, k in [(30, 5, 2), (40, 6, 3), (25, 4, 1)]]


def _pca(train_x, test_x, k, fit_mean=None, test_mean=None, top=True):
    fit_mean = train_x.mean(0) if fit_mean is None else fit_mean
    centred = test_x - (train_x.mean(0) if test_mean is None else test_mean)
    _, _, directions = np.linalg.svd(train_x - fit_mean, full_matrices=False)
    kept = directions[:k] if top else directions[-k:]
    return (centred - centred @ kept.T @ kept) ** 2


pca_reconstruction_error = Exercise(
    "pca_reconstruction_error", _tables(), lambda train_x, test_x, k: _pca(train_x, test_x, k).mean(),
    [
        (lambda train_x, test_x, k: _pca(train_x, test_x, k, fit_mean=0, test_mean=0).mean(),
         "did you centre the data?", "Subtract the mean of train_x from both sets first."),
        (lambda train_x, test_x, k: _pca(train_x, test_x, k, test_mean=test_x.mean(0)).mean(),
         "you centre the test set by its own mean.", "The mean, too, is fitted: use the one of train_x."),
        (lambda train_x, test_x, k: _pca(test_x, test_x, k).mean(),
         "you fit on the test set.", "That is the oracle line; fit mean and components on train_x."),
        (lambda train_x, test_x, k: _pca(train_x, test_x, k, top=False).mean(),
         "these are the components with the LEAST variance.", "numpy.linalg.eigh sorts upwards, numpy.linalg.svd downwards."),
        (lambda train_x, test_x, k: _pca(train_x, test_x, k).sum(1).mean(),
         "you add up over the features; we asked for their mean.", "Divide by the number of features as well."),
        (lambda train_x, test_x, k: _pca(train_x, train_x, k).mean(),
         "this is the training error.", "Project and compare test_x."),
    ])


def _errors():
    """Three (baseline, method), errors over seeds, correlated as paired ones are."""
    rng = np.random.default_rng(4)
    common = [rng.standard_normal(n) for n in (5, 8, 12)]
    return [(c + 5 + 0.3 * rng.standard_normal(len(c)), c + 4 + 0.3 * rng.standard_normal(len(c))) for c in common]


def _interval(mean, error, quantile):
    return np.array([mean - quantile * error, mean + quantile * error])


def _gain(baseline, method, ddof=1, quantile=None, scale=None):
    gains, n = baseline - method, len(baseline)
    return _interval(gains.mean(), gains.std(ddof=ddof) / np.sqrt(scale or n), quantile or stats.t.ppf(0.975, n - 1))


def _unpaired(baseline, method):
    error = np.sqrt((baseline.var(ddof=1) + method.var(ddof=1)) / len(baseline))
    return _interval(baseline.mean() - method.mean(), error, stats.t.ppf(0.975, 2 * len(baseline) - 2))


paired_gain_interval = Exercise(
    "paired_gain_interval", _errors(), _gain,
    [
        (lambda baseline, method: _gain(baseline, method, scale=1),
         "this is the spread of single seeds.", "The MEAN is surer than one seed: divide by the root of their number."),
        (_unpaired,
         "you treat the seeds as if they were not paired.", "Take the difference seed by seed first; what the seeds have in common then cancels."),
        (lambda baseline, method: _gain(baseline, method, quantile=stats.norm.ppf(0.975)),
         "with few seeds the normal quantile is too narrow.", "Use Student's t with n - 1 degrees of freedom."),
        (lambda baseline, method: _gain(baseline, method, ddof=0),
         "the standard deviation is too small.", "The mean is estimated too: ddof=1."),
        (lambda baseline, method: -_gain(baseline, method)[::-1],
         "the sign: these are errors, lower is better.", "Gain is baseline minus method."),
        (lambda baseline, method: _gain(baseline, method, quantile=stats.t.ppf(0.95, len(baseline) - 1)),
         "this is a 90 % interval.", "2.5 % on either side: the quantile is 0.975."),
    ])


def _spaces():
    """Three (A, B, k): two noisy views of common points, not centred, of unequal widths; no two cosines are equal."""
    rng = np.random.default_rng(5)
    cases = []
    for n, d, e, k in [(40, 6, 4, 3), (30, 5, 8, 5), (50, 3, 7, 4)]:
        z = rng.standard_normal((n, 3))
        cases.append((z @ rng.standard_normal((3, d)) + 0.3 * rng.standard_normal((n, d)) + 2, z @ rng.standard_normal((3, e)) + 0.3 * rng.standard_normal((n, e)) - 1, k))
    return cases


def _near(X, k, similarity="cosine", own=False, far=False):
    """Which rows are among the k nearest of each row, (n, n) of 0 and 1."""
    if similarity == "cosine":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    S = -((X[:, None] - X[None]) ** 2).sum(-1) if similarity == "distance" else X @ X.T
    S = -S if far else S
    if not own:
        np.fill_diagonal(S, -np.inf)
    near = np.zeros_like(S)
    np.put_along_axis(near, np.argsort(-S, axis=1)[:, :k], 1.0, axis=1)
    return near


def _shared(A, B, k, divisor=None, **options):
    return (_near(A, k, **options) * _near(B, k, **options)).sum() / (len(A) * (divisor or k))


def _jaccard(A, B, k):
    near_a, near_b = _near(A, k), _near(B, k)
    both = (near_a * near_b).sum(1)
    return (both / (2 * k - both)).mean()


mutual_knn = Exercise(
    "mutual_knn", _spaces(), _shared,
    [
        (lambda A, B, k: _shared(A, B, k, own=True),
         "every scene is its own nearest neighbour here.", "Set the diagonal of the similarities to minus infinity before you sort."),
        (lambda A, B, k: _shared(A, B, k, similarity="product"),
         "these are inner products; long rows win them.", "Scale every row to length 1 first."),
        (lambda A, B, k: _shared(A, B, k, similarity="distance"),
         "these are Euclidean neighbours; we asked for cosine.", "Scale every row to length 1 first."),
        (lambda A, B, k: _shared(A, B, k, far=True),
         "these are the FARTHEST neighbours.", "argsort sorts upwards: sort the negative similarity."),
        (_jaccard,
         "you divide by the union of the two neighbourhoods.", "The measure divides what is common by k."),
        (lambda A, B, k: _shared(A, B, k, divisor=len(A)),
         "you divide by n; of k neighbours at most k can be common.", "Divide by k, so that 1 means the same neighbours."),
        (lambda A, B, k: _shared(A, B, k, divisor=1),
         "this counts common neighbours; we asked for their share.", "Divide by k."),
    ])


def _cka(A, B, centre_a=True, centre_b=True, power=0.5, square=True, columns=True):
    mean = (lambda X: X.mean(0)) if columns else (lambda X: X.mean(1, keepdims=True))
    A, B = A - mean(A) * centre_a, B - mean(B) * centre_b
    hsic = lambda X, Y: ((X.T @ Y) ** 2).sum() if square else np.linalg.norm(X.T @ Y)
    return hsic(A, B) / (hsic(A, A) * hsic(B, B)) ** power


linear_cka = Exercise(
    "linear_cka", [(A, B) for A, B, _ in _spaces()], _cka,
    [
        (lambda A, B: _cka(A, B, False, False),
         "did you centre?", "Subtract from A and from B the mean of their own columns; else the two means alone look alike."),
        (lambda A, B: _cka(A, B, True, False),
         "you centred A and not B.", "In the products a single centred side is enough, but HSIC(B, B) needs it too."),
        (lambda A, B: _cka(A, B, False, True),
         "you centred B and not A.", "In the products a single centred side is enough, but HSIC(A, A) needs it too."),
        (lambda A, B: _cka(A, B, columns=False),
         "you subtracted the mean of every ROW.", "The mean is over scenes: axis 0."),
        (lambda A, B: _cka(A, B, power=1),
         "there is a root missing below.", "Divide by the square root of HSIC(A, A) HSIC(B, B), as for a correlation."),
        (lambda A, B: _cka(A, B, square=False),
         "this is the root of CKA.", "HSIC is the SQUARED Frobenius norm of A'B."),
    ])


def _tables_to_whiten():
    """Three (train, test, d) with unequal variances, rotated, not centred; the test set has a mean and a scale of its own."""
    rng = np.random.default_rng(6)
    cases = []
    for n, m, p, d in [(40, 6, 5, 3), (50, 8, 4, 2), (60, 5, 6, 4)]:
        turn = np.linalg.qr(rng.standard_normal((p, p)))[0] * np.arange(1, p + 1)
        cases.append((rng.standard_normal((n, p)) @ turn.T + 1, 1.5 * rng.standard_normal((m, p)) @ turn.T, d))
    return cases


def _whitened(train, test, d, fit=None, mean=None, scale=True, unit=True, top=True, power=0.5):
    fit = train if fit is None else fit
    values, vectors = np.linalg.eigh(np.cov((fit - fit.mean(0)).T, bias=True))
    kept = slice(-d, None) if top else slice(None, d)
    W = (test - (fit.mean(0) if mean is None else mean)) @ vectors[:, kept] / (values[kept] ** power if scale else 1)
    W = W / np.linalg.norm(W, axis=1, keepdims=True) if unit else W
    return W @ W.T


whitened_cosines = Exercise(
    "whitened_cosines", _tables_to_whiten(), _whitened,
    [
        (lambda train, test, d: _whitened(train, test, d, fit=test),
         "you fit on the test set.", "Mean, axes and standard deviations all come from train."),
        (lambda train, test, d: _whitened(train, test, d, mean=test.mean(0)),
         "you centre the test set by its own mean.", "The mean, too, is fitted: use the one of train."),
        (lambda train, test, d: _whitened(train, test, d, mean=0),
         "did you centre?", "Subtract the mean of train from the test rows."),
        (lambda train, test, d: _whitened(train, test, d, scale=False),
         "this is PCA: the axes still have unequal variance.", "Divide each coordinate by its standard deviation on train."),
        (lambda train, test, d: _whitened(train, test, d, power=1),
         "you divide by the variance.", "Divide by its root, the standard deviation."),
        (lambda train, test, d: _whitened(train, test, d, top=False),
         "these are the axes with the LEAST variance.", "numpy.linalg.eigh sorts upwards: take the last d."),
        (lambda train, test, d: _whitened(train, test, d, unit=False),
         "the rows do not have length 1 yet.", "After whitening, divide every row by its norm: we asked for cosines."),
    ])


# Notebook 05 ------------------------------------------------------------------------------------------------------------------

def _labelled():
    """Three (x, y, n_classes), classes of unequal size, means that are not short of a common part."""
    rng = np.random.default_rng(7)
    cases = []
    for n, d, k in [(20, 4, 3), (25, 6, 5), (18, 3, 4)]:
        y = np.concatenate([np.arange(k), rng.integers(k, size=n - k) // 2])
        cases.append((rng.standard_normal((n, d)) * np.linspace(1, 3, n)[:, None] + np.arange(1, d + 1), y, k))
    return cases


def _head(x, y, n_classes, combine=lambda rows: rows.mean(0), before=False, after=True, grand=False):
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if before else x
    means = np.stack([combine(x[y == k]) for k in range(n_classes)])
    means = means - means.mean(0) if grand else means
    return means / np.linalg.norm(means, axis=1, keepdims=True) if after else means


head_from_text = Exercise(
    "head_from_text", _labelled(), _head,
    [
        (lambda x, y, k: _head(x, y, k, after=False),
         "the rows do not have length 1.", "Divide each mean by its norm; else classes with clear words start with larger logits."),
        (lambda x, y, k: _head(x, y, k, before=True, after=False),
         "you scale the captions; we asked to scale the means.", "First the mean of each class, then its length."),
        (lambda x, y, k: _head(x, y, k, before=True),
         "you scale the captions before you average.", "Average them as they are; only the mean is scaled to length 1."),
        (lambda x, y, k: _head(x, y, k, combine=lambda rows: rows[0]),
         "this is the first caption of each class.", "Average all captions whose label is k."),
        (lambda x, y, k: _head(x, y, k, combine=lambda rows: np.median(rows, axis=0)),
         "this is the median.", "UML (init) takes the mean."),
        (lambda x, y, k: _head(x, y, k, grand=True),
         "you took the common part off the means.", "That is sensible, too, but not what we asked for: no centring here."),
        (lambda x, y, k: _head(x, y, k, after=False) / np.linalg.norm(_head(x, y, k, after=False), axis=0),
         "the columns have length 1, not the rows.", "A class is a row: the norm runs over axis 1."),
    ])


def _distance_tables():
    """Three (A, B): symmetric tables with a zero diagonal, related in part, not linearly."""
    rng = np.random.default_rng(8)
    cases = []
    for n in (6, 9, 7):
        A, noise = (np.abs(t + t.T) for t in rng.standard_normal((2, n, n)))
        cases.append((A * (1 - np.eye(n)), (A**3 + noise) * (1 - np.eye(n))))
    return cases


def _once(A):
    return A[np.triu_indices(len(A), k=1)]


mantel_correlation = Exercise(
    "mantel_correlation", _distance_tables(), lambda A, B: stats.pearsonr(_once(A), _once(B))[0],
    [
        (lambda A, B: np.corrcoef(A.ravel(), B.ravel())[0, 1],
         "you correlate the whole tables.", "The zeros on the diagonal agree for free: take each pair of classes once, without the diagonal."),
        (lambda A, B: stats.pearsonr(A[np.triu_indices(len(A))], B[np.triu_indices(len(A))])[0],
         "the diagonal is still there.", "numpy.triu_indices(n, k=1) leaves it out."),
        (lambda A, B: stats.spearmanr(_once(A), _once(B))[0],
         "this is the correlation of the ranks.", "A fine measure as well; we asked for Pearson's."),
        (lambda A, B: np.cov(_once(A), _once(B))[0, 1],
         "this is the covariance.", "Divide by both standard deviations."),
        (lambda A, B: stats.pearsonr(_once(A), _once(B))[0] ** 2,
         "this is its square.", "The correlation keeps its sign."),
        (lambda A, B: np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(A, B)]),
         "you average one correlation per class.", "One correlation over all pairs of classes."),
    ])


def _heads():
    """Three (W, r, y) with rows of W of very unequal length, so that the strongest rival is not the nearest boundary's."""
    rng = np.random.default_rng(9)
    return [(rng.standard_normal((k, d)) * np.geomspace(0.3, 4, k)[:, None], rng.standard_normal((n, d)), rng.integers(k, size=n))
            for k, n, d in [(4, 12, 3), (6, 15, 5), (5, 10, 4)]]


def _margin(W, r, y, over=1.0, rival="nearest", sign=1, own=False):
    lead = sign * ((W[y] * r).sum(1, keepdims=True) - r @ W.T)
    apart = np.linalg.norm(W[y][:, None] - W, axis=2)
    rows = np.arange(len(y))
    if not own:
        lead[rows, y], apart[rows, y] = np.inf, 1
    else:
        apart[rows, y] = 1
    if rival == "strongest":
        strongest = (r @ W.T)
        strongest[rows, y] = -np.inf
        j = strongest.argmax(1)
        return lead[rows, j] / apart[rows, j] ** over
    return (lead / apart**over).min(1)


functional_margin = Exercise(
    "functional_margin", _heads(), _margin,
    [
        (lambda W, r, y: _margin(W, r, y, over=0),
         "these are differences of logits.", "A distance from the boundary: divide by the length of w_y - w_j."),
        (lambda W, r, y: _margin(W, r, y, rival="strongest"),
         "you take the rival with the highest logit.", "Its boundary need not be the nearest: divide first, then take the minimum over all rivals."),
        (lambda W, r, y: _margin(W, r, y, over=2),
         "you divide by the squared length.", "The distance of a point from a plane divides by the norm itself."),
        (lambda W, r, y: _margin(W, r, y, own=True),
         "the class itself is among its rivals.", "Leave j = y out: its difference is 0, and the minimum can never be positive."),
        (lambda W, r, y: np.abs(_margin(W, r, y)),
         "a picture on the wrong side should come out negative.", "Keep the sign: no absolute value."),
        (lambda W, r, y: -_margin(W, r, y),
         "the sign is turned.", "Positive where the own class has the higher logit: w_y before w_j."),
        (lambda W, r, y: _margin(W / np.linalg.norm(W, axis=1, keepdims=True), r, y),
         "you scaled the head's rows to length 1.", "The head is used as it is; only the difference w_y - w_j is divided out."),
    ])


def _padded():
    """Three (output, x, length): lengths from 2 to longest, zeros in x after them, anything in output."""
    rng = np.random.default_rng(7)
    cases = []
    for length, d in [((5, 3, 2), 4), ((2, 6, 4, 6), 3), ((7, 3), 2)]:
        n, longest = len(length), max(length)
        real = np.arange(longest) < np.array(length)[:, None]
        cases.append((rng.standard_normal((n, longest, d)), rng.standard_normal((n, longest, d)) * real[..., None], np.array(length)))
    return cases


def _next(output, x, length, shift=1, real=1, per=None):
    """Squared errors of output at t against x at t + shift where t + real is inside; their mean, or their sum over `per`."""
    t = np.arange(x.shape[1] - abs(shift))
    error = (output[:, t + max(-shift, 0)] - x[:, t + max(shift, 0)]) ** 2
    kept = error[t + real < length[:, None]]
    return kept.mean() if per is None else kept.sum() / per


next_embedding_loss = Exercise(
    "next_embedding_loss", _padded(), _next,
    [
        (lambda output, x, length: _next(output, x, length, shift=0, real=0),
         "your network is asked for what it has just seen.", "Compare the output at t with the input at t + 1."),
        (lambda output, x, length: _next(output, x, length, shift=-1),
         "you predict the past.", "output[:, :-1] speaks of x[:, 1:]."),
        (lambda output, x, length: _next(output, x, length, real=-10**9),
         "the padding counts as well.", "Keep the places where t + 1 < length."),
        (lambda output, x, length: _next(output, x, length, real=0),
         "the last real output of a short sequence is compared with padding.", "It is the TARGET that must be real: t + 1 < length."),
        (lambda output, x, length: _next(output, x, length, per=output[:, 1:].size),
         "you leave the padding out of the sum and not out of the number you divide by.", "Divide by how many numbers count."),
        (lambda output, x, length: _next(output, x, length, per=output.size),
         "you divide by all numbers of the batch.", "Divide by how many numbers count: real targets only."),
        (lambda output, x, length: _next(output, x, length, per=1),
         "you add up; we asked for the mean.", "Divide by how many numbers count."),
        (lambda output, x, length: _next(output, x, length) * x.shape[2],
         "you add up over the d numbers of an element.", "The mean is over these as well."),
        (lambda output, x, length: np.mean([_next(o[None], y[None], n[None]) for o, y, n in zip(output, x, length)]),
         "you average inside every sequence first; short ones then weigh more.", "One mean over all numbers that count."),
    ])


def _two_views():
    """Three (A, B): activations (n, d) of d units in two views of n samples, not centred, of unequal scales."""
    rng = np.random.default_rng(8)
    cases = []
    for n, d in [(20, 4), (12, 6), (30, 3)]:
        common = rng.standard_normal((n, d))
        cases.append((common * np.arange(1, d + 1) + rng.standard_normal((n, d)) + 2, rng.standard_normal((n, d)) - 0.7 * common - 1))
    return cases


def _correlations(A, B, centre=True, scale=True, ddof=0):
    A, B = (X - X.mean(0) * centre for X in (A, B))
    spread = lambda X: np.sqrt((X**2).sum(0) / (len(X) - ddof)) if scale else 1
    return (A * B).mean(0) / (spread(A) * spread(B))


unit_correlations = Exercise(
    "unit_correlations", _two_views(), _correlations,
    [
        (lambda A, B: _correlations(A, B, centre=False),
         "this is the cosine: did you centre?", "Subtract from every unit its own mean over the samples."),
        (lambda A, B: _correlations(A - A.mean(1, keepdims=True), B - B.mean(1, keepdims=True), centre=False),
         "you centre every SAMPLE over its units.", "The mean is over samples, axis 0."),
        (lambda A, B: _correlations(A, B, scale=False),
         "this is the covariance: a loud unit wins.", "Divide by both standard deviations."),
        (lambda A, B: _correlations(A, B, ddof=1),
         "n in one place, n - 1 in the other.", "Covariance and standard deviations with the same divisor; it cancels."),
        (lambda A, B: np.abs(_correlations(A, B)),
         "where are the negative ones?", "Keep the sign; take the absolute value when you compare strengths."),
        (lambda A, B: _correlations(A, B) ** 2,
         "this is r squared.", "We asked for r, with its sign."),
        (lambda A, B: _correlations(A, A),
         "you correlate A with itself.", "np.corrcoef(A.T, B.T) has four blocks; A against B is an off-diagonal one."),
    ])


def _nulls():
    """Three (null, level): correlations (n_permutations, n_units) under shuffled pairs; negative ones are the larger."""
    rng = np.random.default_rng(9)
    return [(0.1 * rng.standard_normal(shape) * np.arange(1, shape[1] + 1) - 0.1, level) for shape, level in [((50, 4), 0.05), ((30, 7), 0.1), ((80, 3), 0.2)]]


def _largest(null):
    return np.abs(null).max(1)


max_null_threshold = Exercise(
    "max_null_threshold", _nulls(), lambda null, level: np.quantile(_largest(null), 1 - level),
    [
        (lambda null, level: np.quantile(np.abs(null), 1 - level),
         "all units in one pot: that is the threshold for ONE unit chosen beforehand.", "You look for the best of many: take each permutation's largest first."),
        (lambda null, level: np.quantile(null.max(1), 1 - level),
         "a strong negative correlation is a find too.", "Take absolute values before the maximum."),
        (lambda null, level: np.quantile(_largest(null), level),
         "this is the wrong end of the distribution.", "Only `level` of the permutations may lie ABOVE: the quantile is 1 - level."),
        (lambda null, level: np.quantile(np.abs(null).min(1), 1 - level),
         "this is each permutation's WEAKEST unit.", "Take the largest over units."),
        (lambda null, level: np.quantile(np.abs(null), 1 - level, axis=0).mean(),
         "a threshold per unit, averaged: not yet corrected for their number.", "First the maximum over units, then the quantile over permutations."),
        (lambda null, level: np.quantile(np.abs(null).max(0), 1 - level),
         "you take the maximum over permutations.", "The maximum is over units, axis 1; the quantile over permutations."),
        (lambda null, level: np.abs(null).max(),
         "the largest of all permutations grows with their number.", "Take the quantile 1 - level of the permutations' maxima."),
        (lambda null, level: _largest(null).mean(),
         "the mean would be passed by chance about every second time.", "Take the quantile 1 - level."),
    ])


# Notebook 06 ------------------------------------------------------------------------------------------------------------------

def _surfaces():
    """Three (accuracy, shots, words): bent surfaces over unevenly spaced axes, no two sizes alike."""
    rng = np.random.default_rng(10)
    cases = []
    for shots, words in [((1, 2, 4, 8), (0, 30, 60, 120, 240)), ((1, 3, 5, 9, 17), (0, 20, 90, 100)), ((2, 3, 7, 8, 10, 20), (5, 10, 40, 80, 95))]:
        s, w = np.meshgrid(shots, words, indexing="ij")
        cases.append((0.1 * np.log(1 + s) + 0.05 * np.sqrt(w / 30) + 0.01 * rng.standard_normal(s.shape), np.array(shots), np.array(words)))
    return cases


def _plane(accuracy, shots, words, one=1.0, price=lambda b, c: b / c, indexing="ij"):
    s, w = np.meshgrid(shots, words, indexing=indexing)
    _, b, c = np.linalg.lstsq(np.stack([np.full(s.size, one), s.ravel(), w.ravel()], axis=1), np.ravel(accuracy), rcond=None)[0]
    return price(b, c)


words_per_image = Exercise(
    "words_per_image", _surfaces(), _plane,
    [
        (lambda a, s, w: _plane(a, s, w, price=lambda b, c: c / b),
         "these are images per word.", "b is accuracy per image, c per word: b / c words buy what one image buys."),
        (lambda a, s, w: _plane(a, s, w, one=0.0),
         "is there an intercept?", "Without a, the plane has to pass through accuracy 0 at nothing; add a column of ones."),
        (lambda a, s, w: _plane(a, s, w, price=lambda b, c: -b / c),
         "this is the slope of the isoline, and the sign is turned.", "dw/ds = -b/c along an isoline; the price is its size."),
        (lambda a, s, w: _plane(a, np.log2(s), w),
         "your first axis is logarithmic: that is words per doubling.", "The paper's plane has the number of shots itself."),
        (lambda a, s, w: _plane(a, s, np.log1p(w)),
         "your second axis is logarithmic.", "The paper's plane has the number of words itself."),
        (lambda a, s, w: _plane(a, s, w, indexing="xy"),
         "shots and words do not lie beside their accuracies.", "numpy.meshgrid needs indexing='ij' here, for shots run along the rows."),
        (lambda a, s, w: _plane(a, (s - s.mean()) / s.std(), (w - w.mean()) / w.std()),
         "you standardised the axes, and the units are gone.", "Fit in images and words, or undo the scaling."),
    ])


def _slopes(a, s, w, i, j, back=1, ahead=1, price=lambda x, y: x / y, spaced=True):
    x, y = a[i + ahead, j] - a[i - back, j], a[i, j + ahead] - a[i, j - back]
    return price(x / (s[i + ahead] - s[i - back]), y / (w[j + ahead] - w[j - back])) if spaced else price(x, y)


local_rate = Exercise(
    "local_rate", [(*case, i, j) for case, (i, j) in zip(_surfaces(), [(2, 1), (1, 2), (4, 3)])], _slopes,
    [
        (lambda *at: _slopes(*at, price=lambda x, y: y / x),
         "these are images per word.", "The slope along the images, over the slope along the words."),
        (lambda *at: _slopes(*at, spaced=False),
         "the ticks are not one apart.", "Divide each difference by how many images, or words, lie between the two neighbours."),
        (lambda *at: _slopes(*at, back=0),
         "you look ahead only.", "A central difference takes the neighbour before and the one behind."),
        (lambda *at: _slopes(*at, ahead=0),
         "you look back only.", "A central difference takes the neighbour before and the one behind."),
        (lambda *at: _slopes(*at, price=lambda x, y: -x / y),
         "the sign is turned.", "A price is positive where both images and words help."),
        (lambda a, s, w, i, j: np.gradient(a, s, axis=0)[i, j] / np.gradient(a, w, axis=1)[i, j],
         "you weight the two neighbours by their distance, as numpy.gradient does.",
         "Sensible, but not what we asked for: the difference between both neighbours over the distance between them."),
        (lambda a, s, w, i, j: _slopes(a, np.log(s), np.log1p(w), i, j),
         "this is a ratio of elasticities: percent of words per percent of images.", "Differences of the numbers themselves, not of their logarithms."),
    ])


def _resamples():
    """Two (accuracies, rate, rows)."""
    rng = np.random.default_rng(11)
    rate = lambda a: (a[2] - a[0]) / (a[3] - a[1])
    return [(np.array([0.1, 0.3, 0.6, 0.7]) + 0.05 * rng.standard_normal((n, 4)), rate, rng.integers(n, size=(120, n))) for n in (10, 7)]


def _rates(accuracies, rate, rows):
    return np.array([rate(accuracies[row].mean(0)) for row in rows])


rate_interval = Exercise(
    "rate_interval", _resamples(), lambda *case: np.quantile(_rates(*case), [0.025, 0.975]),
    [
        (lambda a, rate, rows: np.quantile([np.mean([rate(one) for one in a[row]]) for row in rows], [0.025, 0.975]),
         "this is the mean of ratios.", "A single draw can have a slope near 0, and its ratio runs away: average the accuracies first, then one ratio."),
        (lambda *case: np.quantile(_rates(*case), [0.05, 0.95]),
         "this is the 90 % interval.", "Leave out 2.5 % on each side."),
        (lambda *case: _rates(*case).mean() + 1.96 * _rates(*case).std() * np.array([-1, 1]),
         "you took the resamples for normal.", "Rates are skewed: use the quantiles, not 1.96 standard deviations."),
        (lambda a, rate, rows: np.quantile([rate(one) for one in a], [0.025, 0.975]),
         "these are quantiles over single draws: how much one draw varies.", "Resample: each row of `rows` names the draws of one resample; use the rate of their mean."),
        (lambda *case: _rates(*case).mean() + 1.96 * _rates(*case).std() / np.sqrt(len(case[2])) * np.array([-1, 1]),
         "this shrinks with the number of resamples, and more of them are no more data.", "The spread of the resampled rates IS the uncertainty: take their quantiles."),
        (lambda *case: np.quantile(_rates(*case), [0, 1]),
         "these are the extremes.", "They grow with the number of resamples; take the 2.5 % and 97.5 % quantiles."),
    ])


def _few_pairs():
    """Three (X, Y), pairs off centre that share two numbers, d_x >= d_y, no two sizes alike."""
    rng, cases = np.random.default_rng(15), []
    for n, d_x, d_y in ((30, 6, 4), (40, 5, 5), (25, 7, 3)):
        shared = rng.standard_normal((n, 2))
        cases.append(tuple(shared @ rng.standard_normal((2, d)) + rng.standard_normal((n, d)) * rng.uniform(0.3, 2, d) + rng.standard_normal(d) for d in (d_x, d_y)))
    return cases


def _bridge(X, Y, d, prepare=lambda Z: Z - Z.mean(0), bridge=lambda U, S, Vt, d: U[:, :d] @ Vt[:d]):
    return bridge(*np.linalg.svd(prepare(X).T @ prepare(Y), full_matrices=False), d)


procrustes_bridge = Exercise(
    "procrustes_bridge", [(*pair, 2) for pair in _few_pairs()], _bridge,
    [
        (lambda *case: _bridge(*case, prepare=lambda Z: Z),
         "did you centre the pairs?", "Without it the first direction points from the origin to the means; subtract each column's mean."),
        (lambda *case: _bridge(*case, prepare=lambda Z: (Z.T - Z.mean(1)).T),
         "you centred every ROW.", "The mean is taken over the pairs: Z - Z.mean(0)."),
        (lambda *case: _bridge(*case, bridge=lambda U, S, Vt, d: U[:, :d] * S[:d] @ Vt[:d]),
         "your maps stretch.", "The singular values say how much partners agree; they are no part of semi-orthogonal maps."),
        (lambda *case: _bridge(*case, bridge=lambda U, S, Vt, d: U[:, -d:] @ Vt[-d:]),
         "these are the directions that agree LEAST.", "NumPy's svd gives the largest singular values first: take the first d columns."),
        (lambda *case: _bridge(*case, bridge=lambda U, S, Vt, d: U @ Vt),
         "you kept all directions.", "Only the first d columns of U and the first d rows of V'."),
        (lambda *case: _bridge(*case, bridge=lambda U, S, Vt, d: U[:, :d] @ Vt[:, :d].T),
         "U and V do not match.", "np.linalg.svd returns V', whose ROWS are the directions: Vt[:d]."),
        (lambda *case: _bridge(*case, prepare=lambda Z: (Z - Z.mean(0)) / (Z - Z.mean(0)).std(0)),
         "you gave every column variance 1.", "Procrustes takes the features as they are prepared: centre them, do not scale them."),
    ])


def _canonical(X, Y, ridge, root=lambda values: 1 / np.sqrt(values), add=lambda C, ridge: ridge * np.trace(C) / len(C), centre=True):
    """(R_x, R_y, U, rho, V') of a ridge CCA."""
    A, B = (Z - Z.mean(0) * centre for Z in (X, Y))
    roots = []
    for Z in (A, B):
        C = Z.T @ Z / len(Z)
        values, vectors = np.linalg.eigh(C + add(C, ridge) * np.eye(len(C)))
        roots.append(vectors * root(values))
    return *roots, *np.linalg.svd(roots[0].T @ A.T @ B @ roots[1] / len(A), full_matrices=False)


ridge_cca_correlations = Exercise(
    "ridge_cca_correlations", [(*pair, ridge) for pair, ridge in zip(_few_pairs(), (0.1, 0.5, 2.0))], lambda *case: _canonical(*case)[3],
    [
        (lambda *case: _canonical(*case, centre=False)[3],
         "did you centre the pairs?", "Correlations are about deviations from the mean, on either side."),
        (lambda *case: _canonical(*case, add=lambda C, ridge: 0)[3],
         "the ridge does nothing.", "Add it to both covariances before you take the root."),
        (lambda *case: _canonical(*case, add=lambda C, ridge: ridge)[3],
         "you added the ridge itself.", "Add ridge times the MEAN VARIANCE of that side, trace(C) / d."),
        (lambda *case: _canonical(*case, add=lambda C, ridge: ridge * np.trace(C))[3],
         "you added ridge times the whole variance.", "The mean variance: divide the trace by the number of columns."),
        (lambda *case: _canonical(*case, root=lambda values: 1 / values)[3],
         "you whitened twice.", "R'(C + ...)R = I asks for the inverse ROOT: divide by the square roots of the eigenvalues."),
        (lambda *case: _canonical(*case, root=np.ones_like)[3],
         "these are covariances.", "Without the two inverse roots it is Procrustes: make both covariances the identity first."),
        (lambda *case: _canonical(*case)[3] ** 2,
         "these are squared correlations.", "The eigenvalues of the product of both regressions are squares; take the root."),
        (lambda *case: _canonical(*case)[3][::-1],
         "the smallest comes first.", "Sort them from the largest."),
    ])


def _asked_again(X, Y, new_X, new_Y, ridge, score=lambda a, b: (a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0), centre=True):
    R_x, R_y, U, _, Vt = _canonical(X, Y, ridge)
    a, b = (new_X - X.mean(0)) @ R_x @ U, (new_Y - Y.mean(0)) @ R_y @ Vt.T
    return score(a - a.mean(0) * centre, b - b.mean(0) * centre)


new_correlations = Exercise(
    "new_correlations", [(X[:13], Y[:13], X[13:], Y[13:], ridge) for (X, Y), ridge in zip(_few_pairs(), (0.1, 0.5, 0.2))], _asked_again,
    [
        (lambda X, Y, new_X, new_Y, ridge: _asked_again(X, Y, X, Y, ridge),
         "you asked the pairs it was fitted on.", "Apply the two maps to new_X and new_Y."),
        (lambda X, Y, new_X, new_Y, ridge: _asked_again(new_X, new_Y, new_X, new_Y, ridge),
         "you fitted on the new pairs.", "They may only be asked; fit on X and Y."),
        (lambda X, Y, new_X, new_Y, ridge: _asked_again(np.vstack([X, new_X]), np.vstack([Y, new_Y]), new_X, new_Y, ridge),
         "the new pairs had a part in the fit.", "Fit on X and Y alone."),
        (lambda *case: _asked_again(*case, centre=False),
         "this is a cosine.", "The maps centre by the mean of the OLD pairs; a correlation takes the new scores' own mean away."),
        (lambda *case: _asked_again(*case, score=lambda a, b: (a * b).mean(0)),
         "this is a covariance.", "Divide by both standard deviations: over new pairs they are not 1."),
        (lambda *case: np.abs(_asked_again(*case)),
         "no correlation is negative?", "A noise direction is as often wrong in sign: keep the sign, it is the evidence."),
        (lambda *case: _asked_again(*case) ** 2,
         "these are squared.", "Correlations, with their signs."),
        (lambda *case: np.sort(_asked_again(*case))[::-1],
         "you sorted them.", "Keep the order of the fit; that a late direction does better by luck is part of the picture."),
        (lambda X, Y, new_X, new_Y, ridge: _asked_again(X, Y, new_X, new_Y, 1e-9),
         "the ridge is missing.", "Pass ridge=ridge on, and power=0."),
    ])


def _affinity_tables():
    """Three (K, epsilon, v), no two sizes alike."""
    rng = np.random.default_rng(13)
    return [(rng.uniform(-1, 1, (n, m)), epsilon, rng.standard_normal(m)) for n, m, epsilon in ((4, 6, 0.5), (7, 3, 0.3), (5, 5, 1.5))]


def _sweep(K, epsilon, v, rows=1.0, columns=1.0, keep=1.0, sign=1.0):
    u = -np.log(len(K)) * rows - keep * np.log(np.exp(K / epsilon + v).sum(1))
    return sign * (-np.log(K.shape[1]) * columns - np.log(np.exp(K / epsilon + u[:, None]).sum(0)))


sinkhorn_step = Exercise(
    "sinkhorn_step", _affinity_tables(), _sweep,
    [
        (lambda K, epsilon, v: _sweep(K, epsilon, np.zeros_like(v)),
         "where is v?", "The rows' sums are those of exp(K / epsilon + v): the old v decides the new u."),
        (lambda *case: _sweep(*case, keep=0.0),
         "the rows did not get their sums right.", "First u, from the sums over a row; then v, from the sums over a column with that u."),
        (lambda *case: _sweep(*case, rows=0.0),
         "your rows sum to 1, not to 1/n.", "u also holds log(1/n): the rows' share."),
        (lambda *case: _sweep(*case, columns=0.0),
         "your columns sum to 1, not to 1/m.", "v also holds log(1/m): the columns' share."),
        (lambda K, epsilon, v: _sweep(K * epsilon**2, epsilon, v),
         "K times epsilon?", "A small epsilon makes differences large: K / epsilon."),
        (lambda K, epsilon, v: v + _sweep(K, epsilon, v),
         "you added the new v to the old one.", "With K and u alone in the exponent, the result IS the new v; only with v in it, it is a change."),
        (lambda *case: np.exp(_sweep(*case)),
         "this is exp(v), the scaling; we asked for v.", "Stay in the log domain: return the logarithm."),
        (lambda *case: _sweep(*case, sign=-1.0),
         "the sign is turned.", "A column whose sum is too great gets a smaller v: minus the logarithm of its sum."),
    ])


def _plans():
    """Two (T, P): plans of total mass 1, without zeros."""
    rng = np.random.default_rng(14)
    return [tuple(plan / plan.sum() for plan in rng.exponential(size=(2, n, m))) for n, m in ((4, 5), (6, 3))]


def _kl(T, P):
    return np.sum(T * np.log(T / P))


plan_divergence = Exercise(
    "plan_divergence", _plans(), _kl,
    [
        (lambda T, P: _kl(P, T),
         "this is KL(P || T).", "The teacher's plan weights: sum of T times log(T / P)."),
        (lambda T, P: -_kl(T, P),
         "the sign is turned: a divergence is never negative.", "log(T / P), not log(P / T)."),
        (lambda T, P: -np.sum(T * np.log(P)),
         "this is the cross-entropy.", "The teacher's own entropy is missing: it does not matter for a gradient, but KL is 0 where the plans agree."),
        (lambda T, P: _kl(T, P) / T.size,
         "a mean over entries?", "The plans sum to 1, so they weight already: take the sum."),
        (lambda T, P: _kl(T, P) * len(T),
         "this is for rows that sum to 1.", "Here the total mass is 1: nothing to multiply with."),
        (lambda T, P: _kl(T / T.sum(1, keepdims=True), P / P.sum(1, keepdims=True)),
         "you made every row sum to 1 first.", "Take the plans as they come: total mass 1."),
        (lambda T, P: _kl(T, P) / np.log(2),
         "this is in bits.", "Use the natural logarithm."),
        (lambda T, P: np.sum(np.log(T / P)),
         "where is the weight?", "Each log(T / P) counts as much as T says."),
    ])


def _plans_and_embeddings():
    """Two (P, T, g_unit, epsilon, epsilon_teacher)."""
    rng, cases = np.random.default_rng(15), []
    for n, m, d in ((4, 5, 3), (6, 3, 2)):
        (P, T), g = rng.exponential(size=(2, n, m)), rng.standard_normal((m, d))
        cases.append((P / P.sum(), T / T.sum(), g / np.linalg.norm(g, axis=1, keepdims=True), 0.05, 0.02))
    return cases


gradient_of_embeddings = Exercise(
    "gradient_of_embeddings", _plans_and_embeddings(), lambda P, T, g, epsilon, epsilon_teacher: (P - T) @ g / epsilon,
    [
        (lambda P, T, g, epsilon, epsilon_teacher: (P - T) @ g / epsilon_teacher,
         "which temperature?", "Only the student's plan moves with the student's K: its epsilon. See the finite difference above."),
        (lambda P, T, g, epsilon, epsilon_teacher: (T - P) @ g / epsilon,
         "this is the direction of descent, minus the gradient.", "P - T: where the student gives more than the teacher, K should fall, and the gradient is positive."),
        (lambda P, T, g, epsilon, epsilon_teacher: (P - T) @ g,
         "epsilon is missing.", "log P holds K / epsilon: the chain rule leaves a 1 / epsilon."),
        (lambda P, T, g, epsilon, epsilon_teacher: (P - T) @ g * epsilon,
         "times epsilon?", "log P holds K / epsilon: divide."),
        (lambda P, T, g, epsilon, epsilon_teacher: (P / epsilon - T / epsilon_teacher) @ g,
         "each plan over its own temperature?", "Both terms come from <T - P, log P> with log P = K / epsilon + u + v: one epsilon, the student's."),
        (lambda P, T, g, epsilon, epsilon_teacher: P @ g / epsilon,
         "and the teacher?", "At P = T the gradient has to vanish."),
        (lambda P, T, g, epsilon, epsilon_teacher: len(P) * (P - T) @ g / epsilon,
         "this is for rows that sum to 1.", "Here the total mass is 1: nothing to multiply with."),
    ])


def _tables_with_strangers():
    """Three (K, scale, bias): partners on the diagonal, in the last two further columns."""
    rng = np.random.default_rng(16)
    return [(rng.uniform(-1, 1, (n, m)), scale, bias) for n, m, scale, bias in ((4, 4, 5.0, -2.0), (3, 5, 8.0, -1.0), (2, 6, 3.0, 0.5))]


def _siglip(K, scale, bias, partner=1.0, stranger=-1.0, average=np.mean):
    sign = np.where(np.eye(*K.shape) > 0, partner, stranger)
    return average(np.logaddexp(0, -sign * (scale * K + bias)))


siglip_loss = Exercise(
    "siglip_loss", _tables_with_strangers(), _siglip,
    [
        (lambda K, scale, bias: _siglip(K, scale, bias, -1.0, 1.0),
         "partners and strangers have changed places.", "z is +1 on the diagonal and -1 elsewhere."),
        (lambda K, scale, bias: _siglip(K, scale, bias, 1.0, 1.0),
         "every cell counts as a partner.", "Off the diagonal z is -1."),
        (lambda K, scale, bias: _siglip(K, scale, bias, 1.0, 0.0),
         "what is not a partner has z = 0 here.", "2 * eye - 1, not eye: strangers shall be pushed apart."),
        (lambda K, scale, bias: _siglip(K, scale, bias, average=lambda t: t.sum() / len(t)),
         "you divided by n alone.", "Zhai et al. do; here it is the mean over all n m cells."),
        (lambda K, scale, bias: _siglip(K, scale, bias, average=np.sum),
         "this is a sum.", "Take the mean over all cells."),
        (lambda K, scale, bias: _siglip(K, scale, 0.0),
         "where is the bias?", "The logit is scale * K + bias, in every cell."),
        (lambda K, scale, bias: _siglip(K, 1.0, bias),
         "where is the scale?", "The logit is scale * K + bias."),
        (lambda K, scale, bias: _siglip(K, scale, scale * bias),
         "the scale multiplies the bias, too.", "scale * K + bias, not scale * (K + bias)."),
        (lambda K, scale, bias: -_siglip(K, scale, bias),
         "the sign is turned.", "-log sigmoid is never negative."),
        (lambda K, scale, bias: np.diag(np.logaddexp(0, -(scale * K + bias))).mean(),
         "only partners count here.", "All cells have a say: strangers with z = -1."),
    ])


def _weights_in_motion():
    """Three (w, gradient, momentum, lr, weight_decay), in which momentum and gradient often disagree."""
    rng = np.random.default_rng(17)
    return [(*rng.standard_normal((3, *shape)) * np.exp(2 * rng.standard_normal((3, *shape))), lr, decay)
            for shape, lr, decay in (((5, 4), 0.1, 0.3), ((7,), 0.02, 1.0), ((2, 3, 2), 0.5, 0.1))]


def _lion(w, gradient, momentum, lr, weight_decay, fast=0.9, slow=0.99, size=np.sign, shrink=lambda lr, decay: lr * decay, up=1.0):
    step = size(fast * momentum + (1 - fast) * gradient)
    return np.stack([(1 - shrink(lr, weight_decay)) * w - up * lr * step, slow * momentum + (1 - slow) * gradient])


lion_step = Exercise(
    "lion_step", _weights_in_motion(), _lion,
    [
        (lambda *case: _lion(*case, size=lambda c: c),
         "where is the sign?", "Lion takes steps of one size: sign(c), whatever the size of c."),
        (lambda *case: _lion(*case, fast=0.0),
         "the momentum has no say in the step.", "c = 0.9 m + 0.1 gradient, and the step is its sign."),
        (lambda *case: _lion(*case, fast=0.99, slow=0.9),
         "the two betas have changed places.", "The step mixes with 0.9, the momentum remembers with 0.99."),
        (lambda *case: _lion(*case, slow=0.9),
         "the momentum forgets too fast.", "m <- 0.99 m + 0.01 gradient."),
        (lambda *case: _lion(*case, fast=0.1),
         "the weights in c have changed places.", "0.9 belongs to the momentum, 0.1 to the gradient."),
        (lambda *case: _lion(*case, up=-1.0),
         "you climb.", "Minus the rate times the sign."),
        (lambda *case: _lion(*case, shrink=lambda lr, decay: 0.0),
         "where is the weight decay?", "First w shrinks by the factor 1 - lr * weight_decay."),
        (lambda *case: _lion(*case, shrink=lambda lr, decay: decay),
         "the decay is too strong.", "It is multiplied by the rate: 1 - lr * weight_decay."),
        (lambda w, gradient, momentum, lr, decay: _lion(w, gradient + decay * w, momentum, lr, 0.0),
         "you added the decay to the gradient.", "It is decoupled: w shrinks by itself, and the gradient stays as it is."),
        (lambda w, gradient, momentum, lr, decay: np.stack([
            (1 - lr * decay) * w - lr * np.sign(0.99 * momentum + 0.01 * gradient), 0.99 * momentum + 0.01 * gradient]),
         "you stepped along the new momentum.", "The step has a mixture of its own, with 0.9, made before the momentum changes."),
        (lambda w, gradient, momentum, lr, decay: _lion(w, gradient, momentum, lr, 0.0) * np.reshape([1 - lr * decay, 1], (2,) + (1,) * w.ndim),
         "the step shrinks, too.", "First w shrinks, then comes the step: (1 - lr * weight_decay) w - lr * sign(c)."),
    ])


def _pictures_and_prompts():
    """Two (pictures, prompts): lengths differ much, and the means of classes do, too."""
    rng, cases = np.random.default_rng(18), []
    for n, c, t, d in ((60, 5, 4, 3), (80, 7, 3, 4)):
        directions = rng.standard_normal((c, 1, d)) + rng.exponential(size=(c, 1, 1)) * rng.standard_normal((c, t, d))
        cases.append((rng.standard_normal((n, d)) * rng.exponential(size=(n, 1)), directions * rng.exponential(3, size=(c, t, 1))))
    return cases


def _unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def _named(pictures, prompts):
    return (pictures @ _unit(_unit(prompts).mean(1)).T).argmax(1)


zero_shot = Exercise(
    "zero_shot", _pictures_and_prompts(), _named,
    [
        (lambda pictures, prompts: (pictures @ _unit(prompts).mean(1).T).argmax(1),
         "the averages have different lengths.", "Scale each class's average to length 1 as well: a class whose sentences differ has a short one."),
        (lambda pictures, prompts: (pictures @ _unit(prompts.mean(1)).T).argmax(1),
         "long sentences have more votes.", "Scale every sentence to length 1 BEFORE you average."),
        (lambda pictures, prompts: (pictures @ prompts.mean(1).T).argmax(1),
         "nothing was scaled.", "Every sentence to length 1, and the averages, too."),
        (lambda pictures, prompts: (_unit(pictures) @ _unit(prompts[:, 0]).T).argmax(1),
         "you asked one sentence per class.", "Average over axis 1, all t sentences."),
        (lambda pictures, prompts: np.einsum("nd,ctd->nct", pictures, _unit(prompts)).max(2).argmax(1),
         "you took the best sentence of each class.", "Here the average of the sentences decides, not the luckiest one."),
        (lambda pictures, prompts: (pictures @ _unit(_unit(prompts).mean(1)).T).argmin(1),
         "this is the class that fits least.", "argmax."),
        (lambda pictures, prompts: np.linalg.norm(pictures[:, None] - _unit(prompts).mean(1), axis=2).argmin(1),
         "you compared distances.", "Pictures and averages are of any length: the greatest cosine, not the smallest distance."),
    ])
