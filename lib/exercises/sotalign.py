"""Exercises of lesson 09: are there levels, and can they hide from a fourth moment?"""

import numpy as np
import torch

from lib.exercises import Exercise
from lib.transport import entropic_plan


def _scores():
    """{law: scores (4000,)} of a shared number plus an error of variance 0.16."""
    rng = np.random.default_rng(9)
    n = 4000
    shared = {
        "two levels": rng.choice([-1.0, 1.0], n),
        "Gaussian": rng.standard_normal(n),
        "heavy tails": rng.standard_normal(n) * (rng.random(n) < 0.2) / 0.2**0.5,
    }
    return {law: s + 0.4 * rng.standard_normal(n) for law, s in shared.items()}


def _judge_levels(levels):
    scores = _scores()
    values = {law: np.asarray(levels(s), dtype=float) for law, s in scores.items()}
    if any(value.shape != () for value in values.values()):
        hint = f"the shape is {values['Gaussian'].shape}, it should be one number."
        return hint, hint, "All scores together have or have not levels: take a mean."
    if not all(map(np.isfinite, values.values())):
        hint = "the value is NaN or infinite."
        return hint, hint, "Look for a division by zero."
    if not np.isclose(levels(5 * scores["two levels"] + 3), values["two levels"], atol=1e-6):
        hint = "it changes when scores are shifted or multiplied."
        return hint, hint, "Subtract the mean and divide by the standard deviation first."
    two, none, heavy = values.values()
    if not two < none < heavy:
        hint = f"two levels give {two:.3g}, Gaussian {none:.3g}, heavy tails {heavy:.3g}."
        return "order", hint, "How large are the largest scores, compared with the usual ones?"
    if abs(none) > 0.25 * min(abs(two), abs(heavy)):
        hint = f"a Gaussian should be near zero; it gives {none:.3g}."
        return "zero", hint, "Subtract what a Gaussian gives: its fourth moment is 3."
    if not two < 0 < heavy:
        hint = f"two levels should be below zero, heavy tails above: {two:.3g}, {heavy:.3g}."
        return "sign", hint, "Subtract what a Gaussian gives."
    return f"two levels {two:.2f}, Gaussian {none:.2f}, heavy tails {heavy:.2f}"


levels = Exercise("levels", _judge_levels, ["scores"])


def _step(s, a, b):
    """Error over s in the step of the toy: what T at 0.5 less P at 2.5 passes on of either."""
    affinity = torch.tensor(np.outer(a, b))
    T, P = (entropic_plan(affinity, epsilon).plan.numpy() for epsilon in (0.5, 2.5))
    parts = np.c_[s, a - s, np.ones(len(s))]
    of_s, of_error, _ = np.linalg.lstsq(parts, len(a) * (T - P) @ b, rcond=None)[0]
    return of_error / of_s


def _judge_fooling_law(fooling_law):
    rng = np.random.default_rng(9)
    s = np.asarray(fooling_law(20_000, rng), dtype=float)
    if s.shape != (20_000,):
        hint = f"for n = 20,000 the shape is {s.shape}, it should be (20000,)."
        return hint, hint, "Draw all n at once: rng.choice(values, n, p=shares)."
    if not np.isfinite(s).all():
        hint = "some numbers are NaN or infinite."
        return hint, hint, "Is a standard deviation zero?"
    mean, variance = s.mean(), s.var()
    if abs(mean) > 0.05 or abs(variance - 1) > 0.08:
        hint = f"mean 0 and variance 1 are asked for; here {mean:.2f} and {variance:.2f}."
        return "scale", hint, "Subtract the mean of your law, and divide by its deviation."
    scores = s + 0.4 * rng.standard_normal(len(s))
    z = (scores - scores.mean()) / scores.std()
    kurtosis = np.mean(z**4) - 3
    if kurtosis < -0.05:
        hint = f"the detector finds the levels: the excess kurtosis is {kurtosis:.2f}."
        return "found", hint, "A level far out on which few rows lie raises the fourth moment."
    quotients = []
    for _ in range(5):
        s, t = (np.asarray(fooling_law(400, rng), dtype=float) for _ in "xy")
        a, b = (z + 0.4 * rng.standard_normal(400) for z in (s, t))
        quotients.append(_step(s, a, b))
    quotient = np.mean(quotients)
    if not quotient < 0.5:
        hint = f"the step is not clean: error over s is {quotient:.2f}."
        return "step", hint, "Levels must be farther apart than the error of 0.4, and not too rare."
    return f"excess kurtosis {kurtosis:.2f}, error over s {quotient:.2f}"


fooling_law = Exercise("fooling_law", _judge_fooling_law, ["n", "rng"])
