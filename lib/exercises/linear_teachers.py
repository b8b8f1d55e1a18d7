"""Exercises of lesson 07: the noise's vote, a weight chosen within the pairs, a loud world."""

import numpy as np

from lib.exercises import Exercise, FunctionExercise
from lib.metrics import mean_recall_at_1
from lib.teachers import weighted_cca

RIDGE = 0.1
POWERS = (0, 1, 2, 4, 8)  # of the correlation, from which the weight may be chosen


def _world(rng, n, n_shared=12, decay=0.8, private=0.3, noise=0.05):
    """n paired rows X, Y (n, 24): shared numbers of decaying size, private ones, noise."""
    shared = rng.standard_normal((n, n_shared)) * decay ** np.arange(n_shared)
    sides = []
    for _ in "XY":
        mix = np.linalg.qr(rng.standard_normal((24, 24)))[0]
        hidden = np.hstack([shared, private * rng.standard_normal((n, 24 - n_shared))])
        sides.append(hidden @ mix + noise * rng.standard_normal((n, 24)))
    return sides


# Exercise 1: the share of the noise in the vote


def _noise_vote(
    X, Y, new_X, new_Y, fit=None, length=np.var, noise=lambda r: r < 0.2, ask=None, side=0
):
    to_x, to_y = weighted_cca(*(fit or (X, Y)), RIDGE, power=0)
    a, b = to_x(new_X), to_y(new_Y)
    asked = (a, b) if ask is None else (to_x(ask[0]), to_y(ask[1]))
    r = np.array([np.corrcoef(*columns)[0, 1] for columns in zip(*(z.T for z in asked))])
    votes = length((a, b)[side], axis=0)
    return votes[noise(r)].sum() / votes.sum()


def _count(votes, axis):
    return np.ones(votes.shape[1])


def _vote_cases():
    cases = []
    for seed, n in enumerate((40, 60, 30)):
        X, Y = _world(np.random.default_rng([7, seed]), n + 60)  # few: some correlate below -0.2
        cases.append((X[:n], Y[:n], X[n:], Y[n:]))
    return cases


noise_vote = FunctionExercise(
    "noise_vote",
    cases=_vote_cases(),
    solution=lambda X, Y, new_X, new_Y: _noise_vote(X, Y, new_X, new_Y),
    mistakes=[
        (
            lambda *case: _noise_vote(*case, ask=case[:2]),
            "you asked the pairs which directions are noise.",
            "They were fitted: over them even noise correlates. Ask new_X and new_Y.",
        ),
        (
            lambda *case: _noise_vote(*case, fit=case[2:]),
            "you fitted on the new rows.",
            "They may only be asked. Fit with cca(X, Y).",
        ),
        (
            lambda *case: _noise_vote(*case, length=_count),
            "you counted the directions.",
            "A direction votes by its variance over the new rows: (new_X @ W_x).var(0).",
        ),
        (
            lambda *case: _noise_vote(*case, length=np.std),
            "these are standard deviations.",
            "Inner products add up squares: the vote is the variance.",
        ),
        (
            lambda *case: _noise_vote(*case, noise=lambda r: r >= 0.2),
            "this is the share of the others.",
            "Noise is what correlates BELOW 0.2 over new rows.",
        ),
        (
            lambda *case: _noise_vote(*case, noise=lambda r: np.abs(r) < 0.2),
            "you took the correlation without its sign.",
            "A direction in which partners disagree, say -0.3, is no help either: it is noise too.",
        ),
        (
            lambda *case: _noise_vote(*case, side=1),
            "this is the vote among the numbers of Y.",
            "We asked for the variances of new_X @ W_x.",
        ),
        (
            lambda *case: 100 * _noise_vote(*case),
            "this is in percent.",
            "Return a share between 0 and 1.",
        ),
    ],
)


# Exercise 2: the weight, its power chosen within the pairs


def _power_of(W, fits):
    """The power that gives W up to its scale and the signs of its columns; None if none does."""
    for power, fitted in fits.items():
        made, right = (M @ M.T / np.linalg.norm(M @ M.T) for M in (W, fitted))
        if np.abs(made - right).max() < 1e-6:
            return power
    return None


def _recall(X, Y, W_x, W_y):
    return mean_recall_at_1(X @ W_x, Y @ W_y)


def _judge_teacher(teacher):
    kinds = [dict(n=40), dict(n=300, n_shared=20, decay=1.0, private=0.5, noise=0.5)]
    chosen, yours, best = [], [], []
    for kind in kinds:
        n, options = kind["n"], {key: kind[key] for key in kind if key != "n"}
        for seed in range(3):
            X, Y = _world(np.random.default_rng([8, seed]), n + 200, **options)
            maps = teacher(X[:n], Y[:n])
            if len(maps) != 2 or any(np.ndim(W) != 2 or len(W) != 24 for W in maps):
                hint = "return two matrices, W_x and W_y, of 24 rows each."
                return "shape", hint, "A column per direction, as cca gives them."
            W_x, W_y = (np.asarray(W, dtype=float) for W in maps)
            if W_x.shape != W_y.shape or not np.isfinite([W_x, W_y]).all() or not W_x.any():
                hint = "W_x and W_y should have the same shape, and finite numbers."
                return "finite", hint, "Look for a division by zero, or a power of NaN."
            fits = {q: weighted_cca(X[:n], Y[:n], RIDGE, q) for q in POWERS}
            fits = {q: [side.axes for side in maps] for q, maps in fits.items()}
            powers = [
                _power_of(W, {q: axes[k] for q, axes in fits.items()})
                for k, W in enumerate((W_x, W_y))
            ]
            if None not in powers and powers[0] != powers[1]:
                hint = f"the columns of W_x have power {powers[0]}, those of W_y power {powers[1]}."
                return "one side", hint, "Give both sides the same weight, column by column."
            chosen.append(powers[0])
            yours.append(_recall(X[n:], Y[n:], W_x, W_y))
            best.append(max(_recall(X[n:], Y[n:], *W) for W in fits.values()))
    yours, best = (np.reshape(values, (2, 3)).mean(1) for values in (yours, best))
    found = f"With 40 pairs yours finds {yours[0]:.2f}, the best power {best[0]:.2f}; "
    found += f"with 300 noisy ones {yours[1]:.2f} and {best[1]:.2f}."
    if (yours >= 0.9 * best).all():
        return found
    few, many = chosen[:3], chosen[3:]
    if set(chosen) == {0}:
        hint = "every direction still has its full vote."
        return "none", hint, "Multiply the columns of W_x and of W_y by rho ** power."
    if len(set(chosen)) == 1 and None not in chosen:
        hint = f"you take power {chosen[0]} on all data. {found}"
        return "one", hint, "Hold back some pairs, fit on the others, and see who is found."
    if None not in chosen:
        hint = f"with 40 pairs you chose {few}, with 300 {many}. {found}"
        fuller = "Over pairs that were fitted nearly every power finds all: ask pairs held back."
        return "chosen badly", hint, fuller
    hint = f"your maps are not those of power 0, 1, 2, 4 or 8 on all pairs. {found}"
    return "other", hint, "Choose with a part of the pairs; then fit on all, and weight both sides."


# Exercise 3: data on which whitening wins


def _whitening(Z):
    """Fit on rows Z: principal axes scaled to variance 1, those without variance left out."""
    values, vectors = np.linalg.eigh(np.cov(Z.T))
    kept = values > 1e-10 * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])


def _recall_of_teacher(x, y, n=40):
    maps = weighted_cca(x[:n], y[:n], RIDGE, power=4)
    return mean_recall_at_1(*(f(z[n:240]) for f, z in zip(maps, (x, y))))


def _judge_world(world):
    found = []
    for seed in range(3):
        sides = world(np.random.default_rng(seed), 1240)
        if len(sides) != 2 or any(np.ndim(z) != 2 or len(z) != 1240 for z in sides):
            hint = "return two tables, X and Y, with n rows each."
            return "shape", hint, "Row i of X and row i of Y are partners."
        X, Y = (np.asarray(z, dtype=float) for z in sides)
        if not (np.isfinite(X).all() and np.isfinite(Y).all()):
            hint = "some values are NaN or infinite."
            return "finite", hint, "Look for a division by zero."
        if min(X.shape[1], Y.shape[1]) < 2 or np.ptp(X) == 0 or np.ptp(Y) == 0:
            hint = "a table needs two columns and more, and rows that differ."
            return "small", hint, "Some columns for what is shared, some for what is private."
        R_x, R_y = _whitening(X[240:740]), _whitening(Y[740:])
        centred = _recall_of_teacher(X - X[240:740].mean(0), Y - Y[740:].mean(0))
        found.append((centred, _recall_of_teacher(X @ R_x, Y @ R_y)))
    centred, whitened = np.mean(found, axis=0)
    numbers = f"Recall@1 is {centred:.2f} centred and {whitened:.2f} whitened"
    if whitened >= 0.4 and whitened - centred >= 0.2:
        return numbers
    if max(centred, whitened) < 0.15:
        hint = f"{numbers}: nobody finds a partner."
        return "nothing", hint, "Both sides must see the same shared numbers, row by row."
    if whitened < centred - 0.05:
        hint = f"{numbers}: whitening loses here."
        return "loses", hint, "What is loud in your world is what is shared. Turn that round."
    if min(centred, whitened) > 0.8:
        hint = f"{numbers}: this world is too easy."
        return "easy", hint, "Give each side private numbers of its own, and make them loud."
    hint = f"{numbers}: less than 0.40 whitened, or less than 0.20 apart."
    return "little", hint, "Louder private numbers, or fewer if whitening finds too little."


weighted_teacher = Exercise("weighted_teacher", _judge_teacher, ("X", "Y"))
loud_world = Exercise("loud_world", _judge_world, ("rng", "n"))
