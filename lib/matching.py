"""Two spaces matched without a pair: Wasserstein Procrustes, and where to start it.

    W = polar(X'Y[match])           the best map for a matching: orthonormal      (Procrustes)
    match = Hungarian(X W Y')       the best matching for a map: one to one       (transport)

in turn, on batches (Grave et al. 2019). From a random map this ends anywhere, so one starts where
the centroids of k-means fit best: in the order with the largest CKA (Schnaus et al. 2026).

x (n, d_x), y (m, d_y) in rows, prepared (lib.teachers.centre or whiten); nobody is anybody's
partner. NumPy in, NumPy out, float64. A map W (d_x, d_y) has orthonormal rows or columns: x @ W
lies in the space of y. ValueError is raised for shapes that do not fit, NaN and infinity.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from lib.validation import check_array, check_int


class Start(NamedTuple):
    """A map W (d_x, d_y), the CKA of the centroids that it was made of, and that of random orders.

    chance  mean linear CKA over all orders: tr A tr B / ((c - 1) |A| |B|) for c centroids
    """

    cka: float
    chance: float
    map: np.ndarray


def polar(matrix):
    """The W (d_x, d_y) with orthonormal rows or columns that has the largest <W, matrix>."""
    left, _, right = np.linalg.svd(check_array("matrix", matrix, (None, None)), full_matrices=False)
    return left @ right


def matched(x, y):
    """The one-to-one matching (rows, columns) of x (n, d), y (m, d) with the largest products."""
    return linear_sum_assignment(x @ y.T, maximize=True)


def best_order(a, b, n_restarts, rng):
    """The order of the rows of b in which its linear CKA with a is largest, and that CKA.

    a (c, d_a), b (c, d_b). A quadratic assignment: from random orders the best swap of two rows is
    made until none helps. The same local search as SciPy's '2opt', all swaps in one product.
    """
    A, B = ((z - z.mean(0)) @ (z - z.mean(0)).T for z in (a, b))
    best, largest = None, -np.inf
    for _ in range(n_restarts):
        order = rng.permutation(len(B))
        while True:
            C = B[np.ix_(order, order)]
            M = A @ C
            own, p, q = (np.diag(z)[:, None] for z in (M, A, C))
            gain = M + M.T - own - own.T - (p - A) * (C - q) - (A - p.T) * (q.T - C)
            gain += (p - p.T) * (q.T - q) / 2
            i, j = np.unravel_index(gain.argmax(), gain.shape)
            if gain[i, j] <= 1e-9 * np.abs(own).sum():
                break
            order[[i, j]] = order[[j, i]]
        if own.sum() > largest:
            best, largest = order, own.sum()
    return best, largest / (np.linalg.norm(A) * np.linalg.norm(B))


def geometric_starts(x, y, n_clusters=20, n_starts=10, n_restarts=60, seed=0):
    """n_starts `Start`s, each of a k-means of its own on either side; the largest CKA first.

    n_restarts  random orders of each search, see `best_order`
    """
    x, y = check_array("x", x, (None, None)), check_array("y", y, (None, None))
    n_clusters = check_int("n_clusters", n_clusters, 2, min(len(x), len(y)))
    rng = np.random.default_rng(check_int("seed", seed, 0))
    starts = []
    for _ in range(check_int("n_starts", n_starts)):
        with threadpool_limits(1):  # for so few rows threads cost more than they bring
            a, b = (
                KMeans(n_clusters, n_init=1, random_state=int(rng.integers(2**31))).fit(z)
                for z in (x, y)
            )
        a, b = (z.cluster_centers_ - z.cluster_centers_.mean(0) for z in (a, b))
        order, cka = best_order(a, b, check_int("n_restarts", n_restarts), rng)
        sizes = [np.sum(z**2) / np.linalg.norm(z @ z.T) for z in (a, b)]
        starts.append(Start(cka, np.prod(sizes) / (n_clusters - 1), polar(a.T @ b[order])))
    return sorted(starts, key=lambda start: -start.cka)


def wasserstein_procrustes(x, y, start, pairs=None, rounds=10, batch_size=200, seed=0):
    """Map and matching in turn from the map `start`: (W, affinity).

    pairs       (a (p, d_x), b (p, d_y)), whose rows belong together: A'B / p is added to the
                batch's X'Y / batch_size, so that they count as much as the whole batch
    batch_size  rows of each side, drawn anew in every round, all where there are fewer
    affinity    the largest sum of <x W, y> that a matching of one more batch has, over the
                lengths of both; with pairs, plus theirs. By it one chooses between starts
    """
    x, y = check_array("x", x, (None, None)), check_array("y", y, (None, None))
    W = check_array("start", start, (x.shape[1], y.shape[1]))
    a = b = None
    if pairs is not None:
        a = check_array("pairs, x", pairs[0], (None, x.shape[1]))
        b = check_array("pairs, y", pairs[1], (len(a), y.shape[1]))
    rng = np.random.default_rng(check_int("seed", seed, 0))
    n = min(check_int("batch_size", batch_size, 2), len(x), len(y))
    rounds = check_int("rounds", rounds, 0)
    for step in range(rounds + 1):
        u, v = (z[rng.permutation(len(z))[:n]] for z in (x, y))
        rows, columns = matched(u @ W, v)
        if step < rounds:
            known = 0.0 if a is None else a.T @ b / len(a)
            W = polar(u[rows].T @ v[columns] / n + known)
    affinity = _cosine(u[rows] @ W, v[columns])
    return W, affinity if a is None else affinity + _cosine(a @ W, b)


def match(x, y, pairs=None, n_clusters=20, n_starts=10, rounds=10, batch_size=200, seed=0):
    """Wasserstein Procrustes from every geometric start, and the W with the largest affinity."""
    starts = geometric_starts(x, y, n_clusters, n_starts, seed=seed)
    ends = [
        wasserstein_procrustes(x, y, start.map, pairs, rounds, batch_size, seed) for start in starts
    ]
    return max(ends, key=lambda end: end[1])


def _cosine(a, b):
    return float(np.sum(a * b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300))
