"""Exercises of lesson 12: a shape that cannot be matched, and what one pair picks."""

import numpy as np
from sklearn.cluster import KMeans

from lib.exercises import Exercise, FunctionExercise
from lib.matching import match, polar
from lib.metrics import foscttm


def _judge_unmatchable(unmatchable):
    x = np.asarray(unmatchable(600, np.random.default_rng(12)), dtype=float)
    if x.shape != (600, 3):
        hint = f"for n = 600 the shape is {x.shape}, it should be (600, 3)."
        return hint, hint, "Draw a place for every row: places[rng.integers(len(places), size=n)]."
    if not np.isfinite(x).all():
        hint = "some numbers are NaN or infinite."
        return hint, hint, "Look for a division by zero."
    spread = np.sum((x - x.mean(0)) ** 2) / len(x)
    if np.linalg.matrix_rank(x - x.mean(0), tol=0.05 * np.sqrt(spread * len(x))) < 3:
        hint = "the cloud is flat: it does not fill three directions."
        return hint, hint, "Where nothing lies, every turn fits; but that is not the shape's doing."
    left = min(KMeans(k, n_init=3, random_state=0).fit(x).inertia_ for k in range(2, 13))
    if left / len(x) > 0.2 * spread:
        hint = f"there are no clusters: twelve centres leave {left / len(x) / spread:.0%} of it."
        return hint, hint, "A cloud without clusters is easy. Put points close to a few places."
    scores = []
    for k in range(6):
        turn = polar(np.random.default_rng(k).standard_normal((3, 3)))
        draws = [np.random.default_rng([12, k, i]) for i in range(3)]  # calls get copies
        x, y, test = (np.asarray(unmatchable(400, draw), dtype=float) for draw in draws)
        x, y, test = (z - z.mean(0) for z in (x, y, test))
        W, _ = match(x, y @ turn, n_clusters=8, n_starts=6, seed=k)
        scores.append(foscttm(test @ W, test @ turn))
    if np.mean(scores) < 0.2:
        hint = f"it is matched: mean FOSCTTM {np.mean(scores):.2f} over six turns."
        fuller = "Do your places look the same from several sides, and have they equal shares?"
        return "matched", hint, fuller
    return f"mean FOSCTTM {np.mean(scores):.2f} over six turns"


unmatchable = Exercise("unmatchable", _judge_unmatchable, ["n", "rng"])


def _ring_case(seed, n_maps, d):
    """Maps that fit equally well, and a noisy pair that one of them carries over."""
    rng = np.random.default_rng(seed)
    maps = np.array([polar(rng.standard_normal((d, d))) for _ in range(n_maps)])
    a = rng.standard_normal(d)
    return maps, a, a @ maps[rng.integers(n_maps)] + 0.05 * rng.standard_normal(d)


pick = FunctionExercise(
    "pick",
    cases=[_ring_case(seed, *sizes) for seed, sizes in enumerate([(7, 2), (7, 3), (24, 4)] * 4)],
    solution=lambda maps, a, b: np.argmin(((a @ maps - b) ** 2).sum(1)),
    mistakes=[
        (
            lambda maps, a, b: np.argmin(((b @ maps - a) ** 2).sum(1)),
            "your map goes the wrong way: it takes b to a.",
            "x @ W lies in the space of y, so compare a @ W with b.",
        ),
        (
            lambda maps, a, b: np.argmax(((a @ maps - b) ** 2).sum(1)),
            "you take the map that fits worst.",
            "The right map brings a near b: the smallest distance.",
        ),
        (
            lambda maps, a, b: np.argmin((a @ maps - b).sum(1)),
            "differences of both signs cancel in your sum.",
            "Square them first.",
        ),
        (
            lambda maps, a, b: 1 + np.argmin(((a @ maps - b) ** 2).sum(1)),
            "you count from 1.",
            "The first map is number 0, as np.argmin counts.",
        ),
    ],
)
