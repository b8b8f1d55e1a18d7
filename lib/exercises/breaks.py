"""Exercises of lesson 10: a mismatch that foretells, and pools that no balanced plan matches."""

import warnings

import numpy as np
import torch
from scipy.special import logsumexp

from lib.exercises import Exercise
from lib.teachers import Linear
from lib.transport import entropic_plan

EPSILON, RHO = 0.05, 0.3  # of the toy


def _unpaired():
    """A teacher of two maps, and {words: (x (300, 8), y (300, 8))}; it reads 4 shared numbers."""
    rng = np.random.default_rng(10)
    mixings = [np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in "xy"]
    teacher = tuple(Linear(np.zeros(8), mixing.T[:, :4]) for mixing in mixings)
    centres = 2 * np.array([[1, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0]])

    def rows(mixing, shares=(1, 1, 1, 1), moved=0.0):
        kind = rng.choice(4, 300, p=np.divide(shares, sum(shares)))
        shared = centres[kind] + 0.3 * rng.standard_normal((300, 4))
        private = moved + rng.standard_normal((300, 4))
        return np.hstack([shared, private]) @ mixing

    few, half = (8, 1, 8, 1), (1, 1, 0, 0)
    sides = {
        "home": ({}, {}),
        "both moved": ({"shares": few}, {"shares": few}),
        "private": ({"moved": 3.0}, {}),
        "one moved": ({"shares": few}, {}),
        "one lacks half": ({}, {"shares": half}),
    }
    both = {words: [rows(m, **s) for m, s in zip(mixings, of)] for words, of in sides.items()}
    return teacher, both


def _judge_mismatch(mismatch):
    teacher, sides = _unpaired()
    values = {words: np.asarray(mismatch(teacher, *both)) for words, both in sides.items()}
    home = values["home"]
    if any(value.shape != () for value in values.values()):
        hint = f"the shape is {home.shape}, it should be one number."
        return hint, hint, "Is there a mean missing?"
    if not all(map(np.isfinite, values.values())):
        hint = "the value is NaN or infinite."
        return hint, hint, "Look for a division by zero."
    x, y = sides["home"]
    if not np.isclose(mismatch(teacher, x, np.roll(y, 7, axis=0)), home, rtol=0.2, atol=1e-9):
        hint = "it changes when the rows of y come in another order: they are nobody's partners."
        return "order", hint, "Compare the two clouds, not row i with row i."
    both, private, moved, lacks = (values[words] for words in [*sides][1:])
    if private > max(2 * home, moved / 2):
        hint = f"{home:.3g} at home; {private:.3g} where only moves what the teacher does not read."
        return "private", hint, "The plan is made of teacher[0](x) and teacher[1](y)."
    if both > max(2 * home, moved / 2):
        hint = f"{home:.3g} at home, {both:.3g} where both sides moved together."
        return "both", hint, "Compare the sides with each other, not with where they were."
    if moved < 2 * home:
        hint = f"{home:.3g} at home, not twice that where one side has other shares: {moved:.3g}."
        return "one", hint, "Take off what two alike clouds give, and compare how much lies where."
    if lacks < 2 * max(home, private, both):
        hint = f"{home:.3g} at home, not twice that where one side lacks half: {lacks:.3g}."
        return "lacks", hint, "Two clouds can have one mean: compare more of them."
    return ", ".join(f"{words} {value:.2g}" for words, value in values.items())


mismatch = Exercise("mismatch", _judge_mismatch, ["teacher", "x", "y"])


def _unbalanced_plan(cost):
    """(n, m) of mass 1, as in the lesson, in logarithms."""
    logits, power = -cost / EPSILON, -RHO / (RHO + EPSILON)
    v = np.zeros(cost.shape[1])
    for _ in range(300):
        u = power * (logsumexp(logits + v, 1) - np.log(len(v)))
        v = power * (logsumexp(logits.T + u, 1) - np.log(len(u)))
    logarithms = logits + u[:, None] + v
    return np.exp(logarithms - logsumexp(logarithms))


def _balanced_plan(cost):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return entropic_plan(torch.tensor(-cost), EPSILON).plan.numpy()


def _judge_pools(pools):
    x, y, partner = (np.asarray(part) for part in pools())
    x, y = x.astype(float), y.astype(float)
    n, m = len(x), len(y)
    fits = x.shape == (n, 2) and y.shape == (m, 2) and partner.shape == (n,)
    if not (fits and n <= 30 and ((-1 <= partner) & (partner < m)).all()):
        hint = f"the shapes are {x.shape}, {y.shape}, {partner.shape}; a partner is -1 to m - 1."
        return "shapes", hint, "x (n, 2), y (m, 2), partner (n,), n at most 30."
    has = partner >= 0
    if has.sum() < 2 or has.all():
        hint = f"{has.sum()} pictures have a partner, {(~has).sum()} are lonely."
        return "lonely", hint, "Two or more with a partner are asked for, and a lonely one."
    cost = ((x[:, None] - y) ** 2).sum(2)
    plan = _unbalanced_plan(cost)
    right = (plan[has].argmax(1) == partner[has]).mean()
    if right < 1:
        hint = f"the unbalanced plan finds only {right:.0%} of the partners."
        return "partners", hint, "Put partners close to each other, and apart from other pairs."
    left = plan[~has].sum()
    if left > 0.05:
        hint = f"the lonely pictures keep {left:.0%} of the unbalanced plan's mass."
        return "near", hint, "Move them away from every caption: squared distances far above rho."
    wrong = (_balanced_plan(cost)[has].argmax(1) != partner[has]).mean()
    if wrong < 0.5:
        hint = f"the balanced plan gives only {wrong:.0%} of the others a wrong first choice."
        return "harmless", hint, "More lonely pictures, all on one side, need more of the captions."
    return f"balanced: {wrong:.0%} wrong; unbalanced: all right, the lonely keep {left:.1%}"


pools = Exercise("pools", _judge_pools)
