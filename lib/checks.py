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
