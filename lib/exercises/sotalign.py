"""Exercises of lesson 09: are there levels, and at which temperatures does a student see them?"""

import numpy as np
import torch

from lib.alignment import SOTAlign, align, recall
from lib.exercises import Exercise
from lib.teachers import weighted_cca


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


def _clusters(seed):
    """Pairs (60), unpaired rows and test pairs of 40 clusters, and noise like the unpaired rows."""
    rng = np.random.default_rng([seed, 77])
    mixings = [np.linalg.qr(rng.standard_normal((24, 24)))[0] for _ in "xy"]
    centres = rng.standard_normal((40, 12))

    def both(n, same):
        shared = 0.95 * centres[rng.integers(40, size=(2, n))]
        shared = shared + 0.3 * rng.standard_normal(shared.shape)
        rows = [np.hstack([s, rng.standard_normal((n, 12))]) for s in shared[[0, 0 if same else 1]]]
        return [torch.tensor(z @ mixing).float() for z, mixing in zip(rows, mixings)]

    pairs, rest, test = both(60, True), both(4000, False), both(1000, True)
    noise = [
        torch.tensor(rng.multivariate_normal(z.mean(0), np.cov(z.T.numpy()), 4000)).float()
        for z in rest
    ]
    return pairs, rest, test, noise


def _judge_temperatures(temperatures):
    pair = np.asarray(temperatures, dtype=float)
    if pair.shape != (2,) or not (np.isfinite(pair) & (pair >= 0.005) & (pair <= 10)).all():
        hint = "give two numbers between 0.005 and 10: (of the student, of the teacher)."
        return hint, hint, "For example (0.1, 0.02), with which the student loses."
    epsilon, epsilon_teacher = pair
    if epsilon <= epsilon_teacher:
        hint = "the student must be hotter than the teacher."
        return (
            hint,
            hint,
            "At equal temperatures P = T, and nothing moves.",
        )
    gains = []
    for seed in (0, 1):
        pairs, rest, test, noise = _clusters(seed)
        teacher = weighted_cca(*(z.numpy() for z in pairs), ridge=0.3, power=3.0)
        loss = SOTAlign(teacher, 10.0, "klot", epsilon, epsilon_teacher, tolerance=3e-3)
        sizes = dict(lr=3e-3, batch_size=316, max_pairs=60)
        score = recall(*test)
        before, true, false = (
            score(align(loss, pairs, rows, start=teacher, steps=steps, **sizes))
            for rows, steps in ((rest, 0), (rest, 60), (noise, 60))
        )
        gains.append((true - before, false - before))
    true, false = np.mean(gains, axis=0)
    found = f"true rows give {true:+.2f}, noise {false:+.2f}"
    if true < 0.2 and epsilon_teacher < 0.08:
        hint = f"{found}: the plans still look within clusters."
        return "cold", hint, "The teacher's plan must be blurred within a cluster: try 0.1."
    if true < 0.2:
        hint = f"{found}: the plans hardly see the clusters, or hardly differ."
        return "hot", hint, "Go back towards 0.1 for the teacher, and thrice that for the student."
    if true <= false:
        hint = f"{found}: that gain is in the covariance."
        return "noise", hint, "Try a teacher's plan at 0.1."
    return found


temperatures = Exercise("temperatures", _judge_temperatures)
