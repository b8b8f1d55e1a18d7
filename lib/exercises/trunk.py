"""Exercises of lesson 04: names from a few jumps, a wrong anchor, three methods on two dials."""

import itertools

import numpy as np

from lib.exercises import Exercise

# Exercise 1


def _puzzles(k=8, n_jumps=72):
    """Three (counts, P_y, names): jumps of X, the law in Y's names, and the true names."""
    rng = np.random.default_rng(4)
    for _ in range(3):
        first, second = (np.eye(k)[rng.permutation(k)] for _ in range(2))
        P = 0.6 * first + 0.3 * second + 0.1 / k
        counts = np.zeros((k, k))
        for state in rng.integers(k, size=n_jumps):
            counts[state, rng.choice(k, p=P[state])] += 1
        names = rng.permutation(k)
        P_y = np.zeros((k, k))
        P_y[np.ix_(names, names)] = P
        yield counts, P_y, names


def _fit(counts, P_y, names):
    return (counts * np.log(P_y[np.ix_(names, names)])).sum()


def _judge_names(find_names):
    for counts, P_y, true in _puzzles():
        k = len(P_y)
        names = np.asarray(find_names(counts, P_y))
        if names.dtype.kind != "i" or sorted(names.ravel().tolist()) != list(range(k)):
            hint = f"these are no names: {names.tolist()}."
            return "form", hint, f"Return the whole numbers from 0 to {k - 1}, each of them once."
        names = names.ravel()
        fit, needed = _fit(counts, P_y, names), _fit(counts, P_y, true) - 1e-6
        if fit >= needed:
            continue
        if np.array_equal(names, np.arange(k)):
            hint = "you left all names as they are."
            return "same", hint, "Begin anywhere, exchange two names, keep what fits better."
        if _fit(counts, P_y, np.argsort(names)) >= needed:
            hint = "you found the names, but return them the other way round."
            return "inverse", hint, "names[i] is the state of Y that X calls i, as `fit` wants it."
        by_chance = [_fit(counts, P_y, np.roll(true, shift)) for shift in range(1, k)]
        if fit < np.mean(by_chance):
            hint = f"these names fit worse ({fit:.0f}) than names by chance would."
            return "sign", hint, "The fit is negative: the largest is the one nearest to zero."
        hint = f"your names fit {fit:.1f}, the true ones {needed:.1f}: a better fit is possible."
        return "stuck", hint, "A search that only climbs gets stuck: climb from many random starts."
    return "In three worlds the names fit at least as well as the true ones"


find_names = Exercise("find_names", _judge_names, ["counts", "P_y"])

# Exercise 2


def _laws():
    """Two (P, E); the second law is the same for every turn of its four names."""
    rng = np.random.default_rng(5)
    ring = np.array([np.roll([0.1, 0.7, 0.15, 0.05], i) for i in range(4)])
    other = np.array(
        [[0.7, 0.2, 0.05, 0.05], [0.1, 0.1, 0.6, 0.2], [0.2, 0.1, 0.1, 0.6], [0.6, 0.2, 0.1, 0.1]]
    )
    for P in (other, ring):
        yield P, 2 * rng.standard_normal((4, 8))


def _judge_bad(bad_Y):
    harms = []
    for P, E in _laws():
        pair = bad_Y(P, E)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            return "pair", "return two things: P_y and E_y.", "return P_y, E_y"
        P_y, E_y = (np.asarray(part, dtype=float) for part in pair)
        if P_y.shape != P.shape or E_y.shape != E.shape:
            hint = f"the shapes are {P_y.shape} and {E_y.shape}, not {P.shape} and {E.shape}."
            return "shapes", hint, "First the law, then the emissions: one row per state."
        orders = map(list, itertools.permutations(range(4)))
        if not any(np.allclose(P_y, P[np.ix_(order, order)]) for order in orders):
            hint = "this is another law: no renaming of its states turns it into X's."
            return "law", hint, "Rename rows and columns in the same way: P[np.ix_(names, names)]."
        distances = np.linalg.norm(E_y[:, None] - E, axis=2)  # of Y's states from X's
        apart = np.linalg.norm(E[:, None] - E, axis=2)[~np.eye(4, dtype=bool)].min()
        if distances.min(1).max() > apart / 2:
            hint = "some state of Y looks like no state of X: nobody would mistake it for one."
            return "strangers", hint, "The worst Y looks just like X. Use the rows of E."
        read_as = distances.argmin(1)
        if len(set(read_as)) < 4:
            hint = "two states of Y look like the same state of X."
            return "twice", hint, "Use every row of E once."
        read = np.zeros((4, 4))
        read[np.ix_(read_as, read_as)] = P_y
        often = np.linalg.matrix_power(P, 200)[0]
        harms.append((often[:, None] * P * np.log(P / read)).sum())
        if harms[-1] > 1e-6:
            continue
        if len(harms) > 1:  # it was none of the others in the first world
            hint = "this law looks the same after that renaming, so nobody is harmed."
            return "symmetry", hint, "Try all renamings, and take the one that changes P most."
        if np.array_equal(read_as, np.arange(4)):
            hint = "this Y is X itself: nothing could help more."
            return "itself", hint, "Rename the states in the law, and leave the emissions, say."
        hint = "law and emissions are renamed alike: whoever reads Y finds X's own law."
        return "alike", hint, "Rename one of the two only."
    words = " and ".join(f"{harm:.2f}" for harm in harms)
    return f"Whoever reads this Y as X loses {words} nats per jump, in two worlds"


bad_Y = Exercise("bad_Y", _judge_bad, ["P", "E"])

# Exercise 3

_PLACES = {
    "a": ("same", "tied", "gain"),
    "b": ("same", "free", "nothing"),
    "c": ("other", "tied", "loss"),
}
_WORDS = {"same", "other"}, {"free", "tied"}, {"gain", "nothing", "loss"}
_HINTS = {
    ("a", 0): ("one disease, two hospitals: what do they share?", "How it runs is its law."),
    ("a", 1): ("the numbers of both hospitals mean the same.", "One device, one unit: tied."),
    ("b", 0): ("both peoples talk about the same things.", "What follows what is alike."),
    ("b", 1): ("each language has its own way in and its own way out.", "So the maps are free."),
    ("c", 0): ("do prices move as temperatures do?", "Equal scales are no equal law."),
    ("c", 1): ("one network reads both kinds of numbers.", "The same maps for both: tied."),
}


def _judge_places(place):
    said = place()
    if not isinstance(said, dict) or set(said) != set(_PLACES):
        return "keys", "return a dictionary with the keys a, b and c.", 'Begin with {"a": (...'
    for letter, right in _PLACES.items():
        words = said[letter]
        if len(words) != 3 or any(w not in known for w, known in zip(words, _WORDS)):
            hint = f"{letter} needs three words: same or other; free or tied; what X will see."
            return "words", hint, f'One of them is not known: {words}. The last is "gain", or ...'
        for k in (0, 1):
            if words[k] != right[k]:
                hint, fuller = _HINTS[letter, k]
                return (letter, k), f"{letter}: {hint}", fuller
    for letter, right in _PLACES.items():
        if said[letter][2] != right[2]:
            hint = f"{letter}: law and adapters are right. What does the map say there?"
            return "effect", hint, f"Find the corner '{right[0]} law, {right[1]}' on it."
    return None


place = Exercise("place", _judge_places)
