"""Every metric against a slow reference written here, on ties, duplicates and edges."""

import itertools

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch.utils._python_dispatch import TorchDispatchMode

from lib import metrics
from lib.metrics import (
    cknna,
    foscttm,
    linear_cka,
    linear_probe,
    linear_probe_r2,
    mean_recall_at_1,
    mutual_knn,
    mutual_knn_chance,
    recall_at_k,
)

BLOCKS = (1, 7, 16, 1000)  # none but the first divides 37


@pytest.fixture
def in_blocks(monkeypatch):
    """Sets the number of rows in a block."""
    return lambda rows: monkeypatch.setattr(metrics, "BLOCK", rows)


def features(n=37, d_a=5, d_b=5, seed=0, noise=0.8):
    """Two related sets of features, each with an offset."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, max(d_a, d_b)))
    a, b = (z @ rng.standard_normal((z.shape[1], d)) for d in (d_a, d_b))
    b = b if d_a != d_b else a
    return a + 0.5, b + noise * rng.standard_normal(b.shape) + 0.3


def kinds(*arrays):
    """The same numbers, rounded to float32, in every way in which features may come."""
    rounded = [np.asarray(x, dtype=np.float32) for x in arrays]
    yield rounded
    yield [x.astype(np.float64) for x in rounded]
    yield [torch.tensor(x, requires_grad=True) for x in rounded]
    yield [torch.tensor(x, dtype=torch.float64) for x in rounded]
    yield [rounded[0], torch.tensor(rounded[1], dtype=torch.float64)]
    yield [np.asfortranarray(x) for x in rounded]
    yield [x[::-1].astype(np.float64)[::-1] for x in rounded]  # a negative stride
    if torch.cuda.is_available():
        yield [torch.tensor(x).cuda() for x in rounded]
        yield [torch.tensor(rounded[0]).cuda(), rounded[1]]
        yield [rounded[0], torch.tensor(rounded[1]).cuda()]


def to_numpy(x):
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x


def cosines(a, b):
    def unit(x):
        rows = np.asarray(x, dtype=np.float64)
        return np.array([row / np.sqrt(row @ row) if row.any() else row for row in rows])

    return unit(a) @ unit(b).T


def orders(scores):
    """Every order of the candidates, best first, that sorts their scores; ties make several."""
    found = []
    for order in itertools.permutations(range(len(scores))):
        if (np.diff(scores[list(order)]) <= 1e-9).all():
            found.append(list(order))
    assert found
    return found


def tied_features(seed, n=5, d=2):
    """Few different rows, some scaled, some zero: many exact ties of cosines."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, 2, (n, d)).astype(float)
    return rows * rng.choice([1.0, 3.0], (n, 1))


# Retrieval ------------------------------------------------------------------------------


def test_recall_is_that_of_a_full_sort(in_blocks):
    for a, b in kinds(*features()):
        similarity = cosines(to_numpy(a), to_numpy(b))
        place = np.array([list(np.argsort(-row)).index(i) for i, row in enumerate(similarity)])
        back = np.array([list(np.argsort(-row)).index(i) for i, row in enumerate(similarity.T)])
        assert 0.1 < (place < 1).mean() < 0.9
        for k, rows in itertools.product((1, 10, 37), BLOCKS):
            in_blocks(rows)
            assert recall_at_k(a, b, k) == pytest.approx((place < k).mean(), abs=1e-15)
            assert recall_at_k(b, a, k) == pytest.approx((back < k).mean(), abs=1e-15)
        mean = ((place < 1).mean() + (back < 1).mean()) / 2
        assert mean_recall_at_1(a, b) == pytest.approx(mean, abs=1e-15)
        closer = (place.mean() + back.mean()) / 2 / (len(a) - 1)
        assert foscttm(a, b) == pytest.approx(closer, abs=1e-15)


def test_foscttm_runs_from_0_over_one_half_to_1():
    a = to_numpy(features()[0])
    blank = np.ones_like(a)
    assert foscttm(a, 3 * a) == 0 and foscttm(blank, a) == foscttm(a, 0 * a) == 0.5
    assert foscttm(np.eye(3), -np.eye(3)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_retrieval_with_ties_is_the_mean_over_all_orders(in_blocks, seed):
    a, b = tied_features(seed), tied_features(seed + 100)
    ranked = [orders(row) for row in cosines(a, b)]
    for k, rows in itertools.product((1, 2, 4, 5, 9), (1, 2, 3, 5, 8)):
        in_blocks(rows)
        hits = [np.mean([i in order[:k] for order in found]) for i, found in enumerate(ranked)]
        assert recall_at_k(a, b, k) == pytest.approx(np.mean(hits), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [7, 64, 133, 1000])
def test_duplicates_across_blocks_are_really_tied(in_blocks, dtype, rows):
    in_blocks(rows)
    rng = np.random.default_rng(2)
    unique = rng.standard_normal((60, 301)).astype(dtype)
    copies = rng.integers(0, 60, 200)
    a = unique[copies]
    b = a * rng.choice([0.25, 1, 4], (200, 1)).astype(dtype)  # exact in floating point
    expected = 1 / np.bincount(copies)[copies]  # each finds its group, and cannot choose in it
    assert recall_at_k(a, b, 1) == pytest.approx(expected.mean(), abs=1e-12)
    assert recall_at_k(b, a, 2) == pytest.approx(np.minimum(2 * expected, 1).mean(), abs=1e-12)
    near = mutual_knn(a, a, 3)
    assert near < 1
    assert near == pytest.approx(mutual_knn(b, b, 3), abs=1e-12)
    shuffled = a[rng.permutation(200)]
    assert near == pytest.approx(mutual_knn(shuffled, shuffled, 3), abs=1e-12)


def test_nothing_to_see_is_chance(in_blocks):
    in_blocks(7)
    rng = np.random.default_rng(3)
    a = rng.standard_normal((23, 4))
    for blank in (np.full((23, 4), 0.1), np.zeros((23, 4))):
        for k in (1, 5):
            assert recall_at_k(a, blank, k) == pytest.approx(k / 23, abs=1e-12)
            assert recall_at_k(blank, a, k) == pytest.approx(k / 23, abs=1e-12)
            chance = mutual_knn_chance(23, k)
            assert mutual_knn(a, blank, k) == pytest.approx(chance, abs=1e-12)
    assert recall_at_k(a[:1], -a[:1]) == 1.0


def test_chance_is_that_of_unrelated_features():
    assert mutual_knn_chance(11, 5) == 0.5
    a, b = np.random.default_rng(3).standard_normal((2, 600, 8))
    assert abs(mutual_knn(a, b, 10) - mutual_knn_chance(600, 10)) < 0.01


@pytest.mark.parametrize("gap, tied", [(3e-13, True), (3e-12, False)])
def test_cosines_tie_within_1e_12(gap, tied):
    almost = [1.0, np.sqrt(2 * gap)]  # at a cosine of 1 - gap from the first axis
    a = np.array([[1.0, 0.0], [0.0, 1.0]])
    b = np.array([[1.0, 0.0], almost])
    assert recall_at_k(a[:1], b[:1]) == 1.0
    assert recall_at_k(a, b) == (0.75 if tied else 1.0)
    three = np.array([[1.0, 0.0], [2.0, 0.0], almost])
    shared = [0.5, 0.5, 0.5] if tied else [1.0, 1.0, 0.5]
    assert mutual_knn(three, three, 1) == pytest.approx(np.mean(shared))


def test_defaults():
    a, b = features()
    assert recall_at_k(a, b) == recall_at_k(a, b, 1)
    assert mutual_knn(a, b) == mutual_knn(a, b, 10)
    assert mutual_knn_chance(37) == mutual_knn_chance(37, 10)
    assert cknna(a, b) == cknna(a, b, 10)
    assert linear_cka(a, b) == linear_cka(a, b, unbiased=False)


def test_two_rows_are_enough():
    a = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert mutual_knn(a, a, 1) == 1.0
    assert mutual_knn_chance(2, 1) == 1.0
    assert cknna(a, a, 1) == pytest.approx(1)
    assert linear_cka(a, a) == pytest.approx(1)
    assert linear_probe(a, [0, 1], a, [0, 1]) == 1.0
    assert linear_probe_r2(a, [0, 1], a, [0, 1]) == pytest.approx(1, abs=1e-3)


def test_perfect_match():
    a, _ = features()
    turned = a @ np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    assert recall_at_k(a, a) == 1.0
    assert mutual_knn(a, turned, 4) == 1.0
    assert cknna(a, 3 * turned, 4) == pytest.approx(1, abs=1e-12)
    assert cknna(1 + 1e-4 * a, 1 + 1e-4 * a, 4) == pytest.approx(1)  # cosines vary by 1e-8
    for unbiased in (False, True):
        assert linear_cka(a, 3 * turned + 1, unbiased) == pytest.approx(1, abs=1e-12)


# Alignment ------------------------------------------------------------------------------


def slow_hsic(K, L, unbiased):
    """By the published definitions, from n x n kernels."""
    n, one = len(K), np.ones(len(K))
    if not unbiased:
        H = np.eye(n) - 1 / n
        return np.trace(K @ H @ L @ H) / (n - 1) ** 2
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    sums = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    sums -= 2 / (n - 2) * (one @ K @ L @ one)
    return (np.trace(K @ L) + sums) / (n * (n - 3))


def slow_cka(a, b, unbiased):
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    K, L = a @ a.T, b @ b.T
    own = slow_hsic(K, K, unbiased) * slow_hsic(L, L, unbiased)
    return slow_hsic(K, L, unbiased) / np.sqrt(own)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("n, d_a, d_b", [(37, 5, 3), (37, 60, 5), (4, 2, 3)])
def test_cka_is_that_of_the_kernels(unbiased, n, d_a, d_b):
    a, b = features(n, d_a, d_b)
    expected = slow_cka(np.float32(a), np.float32(b), unbiased)
    for x, y in kinds(a, b):
        assert linear_cka(x, y, unbiased) == pytest.approx(expected, abs=1e-10)
    found = linear_cka(a, b, unbiased)
    assert found == pytest.approx(linear_cka(b, a, unbiased), abs=1e-12)
    assert found == pytest.approx(linear_cka(a + 1e4, 1e30 * b, unbiased), abs=1e-8)
    assert found == pytest.approx(linear_cka(1e-30 * a, b, unbiased), abs=1e-12)


def test_unbiased_cka_of_unrelated_features_is_around_zero():
    draws = [np.random.default_rng(seed).standard_normal((2, 30, 50)) for seed in range(200)]
    biased = np.array([linear_cka(a, b) for a, b in draws])
    unbiased = np.array([linear_cka(a, b, unbiased=True) for a, b in draws])
    assert biased.mean() > 0.5
    assert abs(unbiased.mean()) < 3 * stats.sem(unbiased)
    assert (unbiased < 0).any()


def slow_neighbours(x, k):
    """(n, n): the share of all orders in which j is among the k nearest of i."""
    similarity, n = cosines(x, x), len(x)
    near = np.zeros((n, n))
    for i in range(n):
        others = np.delete(np.arange(n), i)
        scores = similarity[i, others]
        found = orders(scores) if n < 7 else [np.argsort(-scores)]
        for order in found:
            near[i, others[order[:k]]] += 1 / len(found)
    return near


def slow_mutual_knn(a, b, k):
    return np.mean(np.sum(slow_neighbours(a, k) * slow_neighbours(b, k), axis=1) / k)


def slow_cknna(a, b, k):
    def align(x, y, alpha):
        K, L = cosines(x, x), cosines(y, y)
        total = 0.0
        for i, j in itertools.permutations(range(len(K)), 2):
            total += alpha[i, j] * (K[i, j] - K[i].mean()) * (L[i, j] - L[i].mean())
        return total

    near_a, near_b = slow_neighbours(a, k), slow_neighbours(b, k)
    return align(a, b, near_a * near_b) / np.sqrt(align(a, a, near_a) * align(b, b, near_b))


@pytest.mark.parametrize("k", [1, 5, 36])
def test_neighbours_are_those_of_a_full_sort(in_blocks, k):
    a, b = features(d_a=5, d_b=3)
    mutual = slow_mutual_knn(np.float32(a), np.float32(b), k)
    aligned = slow_cknna(np.float32(a), np.float32(b), k)
    assert k == 36 or 0.05 < mutual < 0.95
    for x, y in kinds(a, b):
        for rows in BLOCKS:
            in_blocks(rows)
            assert mutual_knn(x, y, k) == pytest.approx(mutual, abs=1e-12)
            assert cknna(x, y, k) == pytest.approx(aligned, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_with_ties_are_the_mean_over_all_orders(in_blocks, seed):
    a, b = tied_features(seed, n=6), tied_features(seed + 100, n=6, d=3)
    for k in (1, 2, 3, 5):
        mutual, aligned = slow_mutual_knn(a, b, k), slow_cknna(a, b, k)
        for rows in (1, 4, 6):
            in_blocks(rows)
            assert mutual_knn(a, b, k) == pytest.approx(mutual, abs=1e-12)
            assert cknna(a, b, k) == pytest.approx(aligned, abs=1e-12)


def test_cknna_with_every_neighbour_is_cka_of_centred_unit_rows_without_the_diagonal():
    half = np.random.default_rng(6).standard_normal((2, 20, 4))
    a, b = (np.vstack([x, -x]) for x in half)  # rows that stay centred when scaled to length 1
    off = ~np.eye(40, dtype=bool)
    K, L = cosines(a, a)[off], cosines(b, b)[off]
    assert cknna(a, b, 39) == pytest.approx(K @ L / np.sqrt((K @ K) * (L @ L)), abs=1e-12)


# Memory and kinds of numbers ------------------------------------------------------------


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any torch operation gave."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return result


@pytest.mark.parametrize(
    "metric, most",
    [
        (recall_at_k, 20 * 301),
        (foscttm, 20 * 301),
        (mutual_knn, 20 * 301),
        (cknna, 20 * 301),
        (linear_cka, 301 * 4),
        (lambda a, b: linear_cka(a, b, unbiased=True), 301 * 4),
    ],
)
def test_no_n_by_n_matrix(in_blocks, metric, most):
    in_blocks(20)
    a, b = (torch.from_numpy(x) for x in features(301, 4, 4))
    with LargestTensor() as largest:
        metric(a, b)
    assert 301 * 4 <= largest.elements <= most


def test_memory_maps_and_inputs_stay_as_they_are(tmp_path):
    a, b = features()
    np.save(tmp_path / "a.npy", a)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    before = b.copy()
    tensor = torch.tensor(b)
    for metric in (recall_at_k, foscttm, linear_cka, cknna, mutual_knn):
        assert metric(mapped, b) == metric(a, b) == metric(mapped, tensor)
    np.testing.assert_array_equal(b, before)
    np.testing.assert_array_equal(tensor, before)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bfloat16, torch.float16])
def test_whole_numbers_and_halves_are_taken_as_they_are(kind):
    a, b = torch.tensor(tied_features(0, 30, 4)), torch.tensor(tied_features(1, 30, 4))
    for metric in (recall_at_k, foscttm, linear_cka, cknna, mutual_knn):
        assert metric(a.to(kind), b.to(kind)) == metric(a, b)


# Probes ---------------------------------------------------------------------------------


def blobs(n, seed=0):
    """Four classes in six numbers of different size, of which the last is constant."""
    rng = np.random.default_rng(seed)
    centres = 1.5 * np.random.default_rng(99).standard_normal((4, 6))
    labels = rng.integers(0, 4, n)
    noise = rng.standard_normal((n, 6))
    return (centres[labels] + noise) * [1, 100, 0.01, 1, 1, 0], labels


def test_linear_probe_is_penalised_logistic_regression():
    x, y = blobs(200)
    x_test, y_test = blobs(150, seed=1)
    scale = np.where(x.std(0) > 0, x.std(0), 1)
    z, z_test = (x - x.mean(0)) / scale, (x_test - x.mean(0)) / scale

    def loss(weights):
        W, bias = weights[:24].reshape(6, 4), weights[24:]
        scores = z @ W + bias
        surprise = np.log(np.exp(scores).sum(1)) - scores[np.arange(200), y]
        return surprise.sum() + (W**2).sum() / 2

    weights = optimize.minimize(loss, np.zeros(28)).x
    says = np.argmax(z_test @ weights[:24].reshape(6, 4) + weights[24:], axis=1)
    expected = np.mean(says == y_test)
    assert 0.6 < expected < 0.99
    found = linear_probe(x, y, x_test, y_test)
    assert found == pytest.approx(expected, abs=0.01)  # at most one row on the border
    tensors = [torch.tensor(part) for part in (x, y, x_test)]
    assert linear_probe(*tensors, y_test.tolist()) == found
    assert linear_probe(x, y.astype(np.uint8), x_test, torch.tensor(y_test)) == found
    assert linear_probe(x, y, x_test, y_test + 10) == 0.0


def test_linear_probe_r2_chooses_its_penalty_by_leave_one_out():
    rng = np.random.default_rng(7)
    x, x_test = rng.standard_normal((2, 40, 12)) * np.arange(1, 13)
    w = rng.standard_normal((12, 2))
    y, y_test = (v @ w + 30 * rng.standard_normal((40, 2)) for v in (x, x_test))
    z, z_test = ((v - x.mean(0)) / x.std(0) for v in (x, x_test))

    def predict(z, y, alpha, new):
        centred = z - z.mean(0)
        system = centred.T @ centred + alpha * np.eye(12)
        W = np.linalg.solve(system, centred.T @ (y - y.mean(0)))
        return (new - z.mean(0)) @ W + y.mean(0)

    def left_out(alpha):
        keep = [np.arange(40) != i for i in range(40)]
        return np.mean([(predict(z[k], y[k], alpha, z[~k]) - y[~k]) ** 2 for k in keep])

    alpha = min(np.logspace(-3, 5, 17), key=left_out)
    assert 1e-3 < alpha < 1e5
    residual = ((y_test - predict(z, y, alpha, z_test)) ** 2).sum(0)
    expected = np.mean(1 - residual / ((y_test - y_test.mean(0)) ** 2).sum(0))
    assert linear_probe_r2(x, y, x_test, y_test) == pytest.approx(expected, abs=1e-6)
    one = linear_probe_r2(torch.tensor(x), torch.tensor(y[:, 0]), x_test, y_test[:, 0])
    assert one == pytest.approx(linear_probe_r2(x, y[:, :1], x_test, y_test[:, :1]))


# Bad input: one line that names the argument --------------------------------------------


def refused(call, name):
    """The call is refused in one line that begins with the argument's name; that line."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ")
    assert ", accepted: " in message
    assert "\n" not in message
    return message


A = np.random.default_rng(0).standard_normal((6, 3))
SAME = np.full((6, 3), 0.1)
HOLES = np.where(np.arange(18).reshape(6, 3) == 13, np.nan, A)
ENDLESS = torch.tensor(A)
ENDLESS[0, 0] = -torch.inf
NO_FEATURES = [
    *(HOLES, torch.tensor(HOLES), ENDLESS, A + 1j, torch.tensor(A) + 1j),
    *(A[0], A[None], A[:0], A[:, :0], torch.tensor(A[0])),
    *(3.0, None, "abc", [["a", "b"]], [[1.0], [1.0, 2.0]]),
]
PAIR_METRICS = [
    recall_at_k,
    mean_recall_at_1,
    foscttm,
    linear_cka,
    lambda a, b: mutual_knn(a, b, 2),
    lambda a, b: cknna(a, b, 2),
]


@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_bad_features(metric):
    for bad in NO_FEATURES:
        refused(lambda bad=bad: metric(bad, A), "a")
        refused(lambda bad=bad: metric(A, bad), "b")
    assert "(5, 3)" in refused(lambda: metric(A, A[:5]), "b")


R6 = np.arange(6)
BAD = [
    ("k", lambda: recall_at_k(A, A, 0)),
    ("k", lambda: recall_at_k(A, A, 1.5)),
    ("b", lambda: recall_at_k(A, A[:, :2])),
    ("k", lambda: mutual_knn(A, A, 0)),
    ("k", lambda: mutual_knn(A, A, 6)),
    ("a", lambda: mutual_knn(A[:1], A[:1], 1)),
    ("k", lambda: mutual_knn_chance(6, 6)),
    ("n", lambda: mutual_knn_chance(1, 1)),
    ("k", lambda: cknna(A, A, 6)),
    ("b", lambda: cknna(A, SAME, 2)),
    ("a", lambda: cknna(np.zeros((6, 3)), A, 2)),
    ("a", lambda: linear_cka(A[:1], A[:1])),
    ("a", lambda: linear_cka(A[:3], A[:3], unbiased=True)),
    ("a", lambda: linear_cka(SAME, A)),
    ("a", lambda: linear_cka(SAME + 1e6, A)),
    ("a", lambda: linear_cka(SAME, A, unbiased=True)),
    ("b", lambda: linear_cka(A, np.zeros((6, 3)))),
    ("b", lambda: linear_cka(A, np.eye(6), unbiased=True)),
    ("train_features", lambda: linear_probe(A * np.nan, R6, A, R6)),
    ("train_labels", lambda: linear_probe(A[:1], R6[:1], A, R6)),
    ("train_labels", lambda: linear_probe(A, 0 * R6, A, R6)),
    ("train_labels", lambda: linear_probe(A, ["a"] * 6, A, R6)),
    ("test_features", lambda: linear_probe(A, R6, A[:, :2], R6)),
    ("test_labels", lambda: linear_probe(A, R6, A, R6[:5])),
    ("test_labels", lambda: linear_probe(A, R6, A, [[1], [1, 2]])),
    ("train_features", lambda: linear_probe_r2(A[:1], [1.0], A, R6)),
    ("train_targets", lambda: linear_probe_r2(A, A[:, 0] * np.nan, A, R6)),
    ("train_targets", lambda: linear_probe_r2(A, A[:5], A, A)),
    ("train_targets", lambda: linear_probe_r2(A, A[None], A, A)),
    ("train_targets", lambda: linear_probe_r2(A, 1.0, A, A)),
    ("test_features", lambda: linear_probe_r2(A, A, A[:, :2], A)),
    ("test_targets", lambda: linear_probe_r2(A, A, A, A[:, 0])),
    ("test_targets", lambda: linear_probe_r2(A, A, A, A[:, :2])),
    ("test_targets", lambda: linear_probe_r2(A, A[:, 0], A, np.ones(6))),
]


@pytest.mark.parametrize("name, call", BAD, ids=[f"{k} {name}" for k, (name, _) in enumerate(BAD)])
def test_bad_arguments(name, call):
    refused(call, name)
