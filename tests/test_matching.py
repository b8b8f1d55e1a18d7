"""Matching without pairs: known turns are found, and not where no turn can be known."""

import itertools

import numpy as np
import pytest
from sklearn.cluster import KMeans

from lib.matching import best_order, geometric_starts, match, matched, polar, wasserstein_procrustes
from lib.metrics import foscttm, linear_cka

CENTRES = np.random.default_rng(3).standard_normal((12, 6))
SHARES = np.arange(1, 13) / 78  # clusters of unequal size


def turned_clusters(n=600):
    """Unpaired x and y, the same clusters, y turned; 200 pairs to test."""
    rng = np.random.default_rng(0)
    turn = polar(rng.standard_normal((6, 6)))
    x, y, test = (
        2 * CENTRES[rng.choice(12, m, p=SHARES)] + 0.3 * rng.standard_normal((m, 6))
        for m in (n, n, 200)
    )
    return x, y @ turn, (test, test @ turn)


def test_polar_is_the_best_orthonormal_map():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((5, 3))
    W = polar(matrix)
    np.testing.assert_allclose(W.T @ W, np.eye(3), atol=1e-12)
    others = (polar(rng.standard_normal((5, 3))) for _ in range(100))
    assert all(np.sum(W * matrix) > np.sum(other * matrix) for other in others)


def test_the_best_order_is_that_of_all_orders():
    rng = np.random.default_rng(0)
    for _ in range(10):
        a, b = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
        order, cka = best_order(a, b, 60, rng)
        assert cka == pytest.approx(linear_cka(a, b[order]))
        everything = (linear_cka(a, b[list(p)]) for p in itertools.permutations(range(6)))
        assert cka == pytest.approx(max(everything))


def test_a_hidden_order_of_many_rows_is_found():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((30, 8))
    hidden = rng.permutation(30)
    order, cka = best_order(a, (a @ polar(rng.standard_normal((8, 8))))[hidden], 40, rng)
    assert (hidden[order] == np.arange(30)).all() and cka == pytest.approx(1)


def test_a_matching_is_one_to_one_and_the_best():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
    rows, columns = matched(x, y)
    assert sorted(columns) == list(range(5))
    best = max(np.sum(x * y[list(p)]) for p in itertools.permutations(range(5)))
    assert np.sum(x[rows] * y[columns]) == pytest.approx(best)


def test_clusters_of_unequal_size_are_found_without_a_pair():
    x, y, (a, b) = turned_clusters()
    W, affinity = match(x, y, n_clusters=12, n_starts=5)
    assert foscttm(a @ W, b) < 0.02 and affinity > 0.9
    assert geometric_starts(x, y, 12, 5)[0].cka > 0.9


def test_a_round_gaussian_is_not():
    rng = np.random.default_rng(1)
    x, y, a = (rng.standard_normal((n, 6)) for n in (600, 600, 200))
    W, _ = match(x, y, n_starts=5)
    assert foscttm(a @ W, a) > 0.3


def test_pairs_pull_the_map_to_themselves():
    rng = np.random.default_rng(0)
    x, y, a = (rng.standard_normal((n, 6)) for n in (300, 300, 100))
    turn = polar(rng.standard_normal((6, 6)))
    start = polar(rng.standard_normal((6, 6)))
    ends = [foscttm(a @ wasserstein_procrustes(x, y, start, p)[0], a @ turn)
            for p in (None, (a[:20], a[:20] @ turn))]  # fmt: skip
    assert ends[1] < 0.1 < ends[0]


def test_spaces_of_different_widths():
    x, y, _ = turned_clusters()
    W, _ = match(x, np.hstack([y, np.zeros((len(y), 3))]), n_clusters=5, n_starts=1)
    assert W.shape == (6, 9)
    np.testing.assert_allclose(W @ W.T, np.eye(6), atol=1e-9)


def test_the_same_seed_gives_the_same_map():
    x, y, _ = turned_clusters(200)
    first, second = (match(x, y, n_clusters=5, n_starts=2, seed=4)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


X, Y = np.random.default_rng(0).standard_normal((2, 30, 4))
BAD = [
    (lambda: match(X[0], Y), r"x: got 'shape \(4,\)', accepted: shape"),
    (lambda: match(X, np.full_like(Y, np.nan)), "y: got .* NaN"),
    (lambda: geometric_starts(X, Y, n_clusters=31), "n_clusters: got 31, accepted: .* 2 to 30"),
    (lambda: geometric_starts(X, Y, n_starts=0), "n_starts: got 0, accepted"),
    (lambda: geometric_starts(X, Y, 5, seed=-1), "seed: got -1, accepted"),
    (lambda: wasserstein_procrustes(X, Y, np.eye(3)), r"start: got 'shape \(3, 3\)', accepted"),
    (lambda: wasserstein_procrustes(X, Y, np.eye(4), (X[:3], Y[:2])), "pairs, y: got .*shape"),
    (lambda: wasserstein_procrustes(X, Y, np.eye(4), batch_size=1), "batch_size: got 1, accepted"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_bad_input_is_one_line(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_chance_is_the_mean_cka_of_random_orders():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 300, 5))
    (start,) = geometric_starts(x, y, n_clusters=6, n_starts=1, seed=0)
    a, b = (
        KMeans(6, n_init=1, random_state=int(s)).fit(z).cluster_centers_
        for z, s in zip((x, y), _states(0))
    )
    orders = list(itertools.permutations(range(6)))
    mean = np.mean([linear_cka(a, b[list(order)]) for order in orders])
    assert np.isclose(start.chance, mean)


def _states(seed):
    """The states of the two k-means of the first start."""
    rng = np.random.default_rng(seed)
    return [rng.integers(2**31) for _ in range(2)]
