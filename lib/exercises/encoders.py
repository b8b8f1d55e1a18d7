"""Exercises of lesson 03: fool each of two rulers for likeness, and leave the other in peace."""

import numpy as np

from lib.exercises import Exercise
from lib.metrics import linear_cka, mutual_knn


def _groups():
    """Features (200, 20) in four clear groups, of which none is at the origin."""
    rng = np.random.default_rng(3)
    middles = 1.5 * rng.standard_normal((4, 20))
    return np.repeat(middles, 50, axis=0) + 0.15 * rng.standard_normal((200, 20))


def _no_table(A, fooled):
    """The verdict on what no ruler can measure, or None."""
    if fooled.shape != A.shape:
        hint = f"the shape is {fooled.shape}, it should be {A.shape}."
        return hint, hint, "Change the numbers of A, not how many there are."
    if not np.isfinite(fooled).all():
        hint = "some values are NaN or infinite."
        return hint, hint, "Look for a division by zero."
    if np.array_equal(fooled, A):
        return "same", "this is A itself.", "Copy A first, then change the copy."
    if np.ptp(fooled, axis=0).max() == 0:
        return "equal", "all rows are equal: there is nobody to be near to.", "Change less."
    return None


def _judge_cka(fool):
    A = _groups()
    fooled = np.asarray(fool(A), dtype=float)
    wrong = _no_table(A, fooled)
    if wrong:
        return wrong
    shared, cka = mutual_knn(A, fooled), linear_cka(A, fooled)
    if cka >= 0.3 and shared < 0.9:
        hint = f"it is the neighbours that you fooled ({shared:.2f} shared); CKA is {cka:.2f}."
        return "other", hint, "Nothing may change for a cosine: what does a cosine not look at?"
    if cka >= 0.3:
        hint = f"neighbours are fine ({shared:.2f} shared), but CKA is still {cka:.2f}."
        return "cka", hint, "CKA multiplies similarities, so make a few of them enormous."
    if shared < 0.9:
        hint = f"CKA has fallen ({cka:.2f}), and the neighbours with it ({shared:.2f} shared)."
        return "both", hint, "Change how long rows are, and not where they point."
    return f"CKA {cka:.2f}, and {shared:.0%} of the neighbours are the old ones"


def _judge_neighbours(fool):
    A = _groups()
    fooled = np.asarray(fool(A), dtype=float)
    wrong = _no_table(A, fooled)
    if wrong:
        return wrong
    shared, cka = mutual_knn(A, fooled), linear_cka(A, fooled)
    if shared >= 0.3 and cka < 0.9:
        hint = f"it is CKA that you fooled ({cka:.2f}); {shared:.2f} of the neighbours are shared."
        return "other", hint, "Every row has to move a little, and none of them far."
    if shared >= 0.3:
        hint = f"CKA is fine ({cka:.2f}), but {shared:.2f} of the neighbours are still those of A."
        return "neighbours", hint, "Move the rows more: farther than rows of one group are apart."
    if cka < 0.9:
        hint = f"the neighbours are gone ({shared:.2f} shared), and CKA with them ({cka:.2f})."
        return "both", hint, "Move the rows less: not as far as the groups are apart."
    return f"CKA {cka:.2f}, and only {shared:.0%} of the neighbours are the old ones"


fool_cka = Exercise("fool_cka", _judge_cka, ["A"])
fool_neighbours = Exercise("fool_neighbours", _judge_neighbours, ["A"])
