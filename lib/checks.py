"""Instant checks of the exercises: right, or a hint that fits the mistake; a fuller hint on the second try."""
from dataclasses import dataclass, field
from typing import Callable

import numpy as np

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
