"""How well do two sets of features match, and how much does one of them know?

Features are NumPy arrays or torch tensors (n, d) of real numbers, on any device; row i of `a`
belongs to row i of `b`. Arithmetic is float64 on the device of `a` (Apple's MPS has no float64: on
the CPU), BLOCK rows at a time, so that no n x n matrix stands in memory.

Cosine: a row of zeros has similarity 0 to every row. Ties are fair: the answer is the mean over all
orders of what is equally similar, so features that are all equal score as chance does.
ValueError is raised for NaN, infinity, shapes that do not fit, and where a metric has no value.
"""

import itertools

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from lib.validation import check_array, check_int, check_tensor, invalid

BLOCK = 64  # rows of a product that is n wide: 25 MB at n = 50,000
TIE = 1e-12  # closer cosines are equal: more than float64 rounds, less than float32 tells apart
ONE_THREAD = 2**22  # numbers; in smaller probes, threads that wait for each other cost 70 times


def recall_at_k(a, b, k=1):
    """Recall@k: how often b_i is among the k rows of b most similar to a_i; chance is k / n.

    a, b (n, d) by cosine; where k >= n every query hits. With g rows more similar to a_i than b_i
    is, and t others tied with it, query i counts clip((k - g) / (t + 1), 0, 1).
    """
    k = check_int("k", k)
    rivals = _rivals(*_pair(a, b, same_width=True))
    hits = sum(((k - g) / (t + 1)).clamp(0, 1).sum().item() for g, t in rivals)
    return hits / len(a)


def mean_recall_at_1(a, b):
    """MeanR@1, the mean of Recall@1 both ways (SOTAlign sec. 6); chance is 1 / n. a, b (n, d)."""
    return (recall_at_k(a, b) + recall_at_k(b, a)) / 2


def foscttm(a, b):
    """FOSCTTM, the mean share of other rows that are closer than the partner (Liu et al. 2019).

    a, b (n, d), n >= 2, by cosine, mean of both ways; 0 is perfect, chance 1/2. A tie is half.
    """
    a, b = _pair(a, b, low=2, same_width=True)
    ways = itertools.chain(_rivals(a, b), _rivals(b, a))
    return sum((g + t / 2).sum().item() for g, t in ways) / (2 * len(a) * (len(a) - 1))


def linear_cka(a, b, unbiased=False):
    """Linear CKA = HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b)), in time and memory linear in n.

    a (n, d_a), b (n, d_b), n >= 2, or n >= 4 where unbiased. With centred features A and B, and
    p, q the diagonals of A A' and B B', up to a factor that cancels:

        biased    HSIC = |A'B|_F^2                  (Kornblith et al. 2019; SOTAlign prop. C.6)
        unbiased  HSIC = |A'B|_F^2 - n/(n-2) p.q + sum(p) sum(q) / ((n-1)(n-2))

    The second is n (n - 3) HSIC_1 of Song et al. (2012, eq. 5): around 0 for unrelated features,
    where the first grows with d / n. Rows that are equal or, unbiased, orthogonal are refused.
    """
    a, b = _pair(a, b, low=4 if unbiased else 2)
    scale, centred = 1.0, [a - a.mean(0), b - b.mean(0)]
    for name, x, z in zip("ab", (a, b), centred, strict=True):
        own = _hsic(z, z, unbiased)
        if z.norm() <= TIE * x.norm() or own <= TIE * _hsic(z, z):
            raise invalid(name, "rows with HSIC 0", "features whose similarities vary between rows")
        scale *= own**0.5
    return _hsic(*centred, unbiased) / scale


def mutual_knn(a, b, k=10):
    """Mean share of the k nearest neighbours (cosine) in both a and b (Huh et al. 2024, app. A).

    a (n, d_a), b (n, d_b); 1 <= k <= n - 1. A row tied for the last places is a neighbour by the
    chance that it gets one, in a and b independently: then even mutual_knn(a, a) is below 1.
    """
    a, b = map(_unit_rows, _pair(a, b, low=2))
    k = check_int("k", k, high=len(a) - 1)
    shared = 0.0
    for start in range(0, len(a), BLOCK):
        (near_a, _), (near_b, _) = (_neighbours(x, start, k) for x in (a, b))
        shared += (near_a * near_b).sum().item()
    return shared / (len(a) * k)


def mutual_knn_chance(n, k=10):
    """The expected `mutual_knn` of unrelated features, k / (n - 1)."""
    n = check_int("n", n, low=2)
    return check_int("k", k, high=n - 1) / (n - 1)


def cknna(a, b, k=10):
    """CKNNA, kernel alignment over shared nearest neighbours (Huh et al. 2024, app. A).

    a (n, d_a), b (n, d_b); 1 <= k <= n - 1. With K_ij = cos(a_i, a_j), L likewise from b,

        Align(K, L) = sum_ij alpha_ij (K_ij - mean_l K_il) (L_ij - mean_l L_il)
        CKNNA = Align(K, L) / sqrt(Align(K, K) Align(L, L))

    alpha_ij = 1 where j != i is among the k nearest of i in both, ties as in `mutual_knn`; means
    are over ALL columns. This is the paper's text; the authors' code takes the unbiased HSIC of K
    and L with all other entries set to zero, and gives other numbers.
    """
    a, b = map(_unit_rows, _pair(a, b, low=2))
    k = check_int("k", k, high=len(a) - 1)
    both = own_a = own_b = 0.0
    for start in range(0, len(a), BLOCK):
        (near_a, K), (near_b, L) = (_neighbours(x, start, k) for x in (a, b))
        both += (near_a * near_b * K * L).sum().item()
        own_a += (near_a * K**2).sum().item()
        own_b += (near_b * L**2).sum().item()
    for name, own in (("a", own_a), ("b", own_b)):
        if own <= TIE**2 * k * len(a):
            raise invalid(name, "rows that are all equally similar", "cosines that vary")
    return both / (own_a * own_b) ** 0.5


def linear_probe(train_features, train_labels, test_features, test_labels):
    """Test accuracy of a logistic regression on frozen, standardised features (C = 1).

    features (n, d); labels (n,), whole numbers, 2 or more classes to train on. A test class that
    was never trained on counts as wrong.
    """
    x = _tensor("train_features", train_features)
    y = _tensor("train_labels", train_labels, (len(x),))
    if (y == y[0]).all():
        raise invalid("train_labels", f"one class, {y[0]:g}", "at least 2 classes")
    x_test = _tensor("test_features", test_features, (None, x.shape[1]))
    y_test = _tensor("test_labels", test_labels, (len(x_test),))
    return _probe(LogisticRegression(max_iter=1000), x, y, x_test, y_test)


def linear_probe_r2(train_features, train_targets, test_features, test_targets):
    """Test R^2 of a ridge regression on standardised features, its penalty by leave-one-out.

    features (n, d), 2 or more rows to train on; targets (n,) or (n, m), the mean R^2 of the m. A
    test target that is constant is refused: R^2 is undefined there.
    """
    x = _tensor("train_features", train_features)
    if len(x) < 2:
        raise invalid("train_features", "1 row", "at least 2 rows")
    y = _tensor("train_targets", train_targets, (...,))
    y = _tensor("train_targets", y, (len(x),) if y.ndim == 1 else (len(x), None))
    x_test = _tensor("test_features", test_features, (None, x.shape[1]))
    y_test = _tensor("test_targets", test_targets, (len(x_test), *y.shape[1:]))
    if (y_test == y_test[0]).all(0).any():
        raise invalid("test_targets", "a constant target", "targets that vary")
    return _probe(RidgeCV(alphas=np.logspace(-3, 5, 17)), x, y, x_test, y_test)


def _tensor(name, value, shape=(None, None)):
    """`value` as a float64 tensor of that shape, on its own device where that has float64."""
    if not isinstance(value, torch.Tensor):  # a copy: what it maps may be read-only, or reversed
        return torch.from_numpy(np.array(check_array(name, value, shape), order="C"))
    value = value.detach().cpu() if value.device.type == "mps" else value.detach()
    return check_tensor(name, value if value.is_complex() else value.double(), shape)


def _pair(a, b, low=1, same_width=False):
    a = _tensor("a", a)
    if len(a) < low:
        raise invalid("a", f"{len(a)} rows", f"at least {low} rows")
    b = _tensor("b", b, (len(a), a.shape[1] if same_width else None))
    return a, b.to(a.device)


def _rivals(a, b):
    """Blocks of rows of a: how many rows of b are closer than the partner, how many tie with it."""
    a, b = _unit_rows(a), _unit_rows(b)
    for start in range(0, len(a), BLOCK):
        similarity = a[start : start + BLOCK] @ b.T
        partner = similarity.diagonal(start)[:, None]  # of the same product as its rivals
        closer = (similarity > partner + TIE).sum(1).double()
        yield closer, (similarity >= partner - TIE).sum(1) - closer - 1


def _unit_rows(x):
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(length > 0, length, 1.0)


def _hsic(a, b, unbiased=False):
    hsic = ((a.T @ b) ** 2).sum()
    if unbiased:
        n, p, q = len(a), (a**2).sum(1), (b**2).sum(1)
        hsic += p.sum() * q.sum() / ((n - 1) * (n - 2)) - n / (n - 2) * p @ q
    return hsic.item()


def _neighbours(x, start, k):
    """Chances that j is a neighbour of rows from `start` on, and their cosines, centred by row."""
    similarity = x[start : start + BLOCK] @ x.T
    centred = similarity - similarity.mean(1, keepdim=True)
    similarity.diagonal(start).fill_(-torch.inf)
    last = similarity.topk(k, sorted=False).values.amin(1, keepdim=True)
    above = similarity > last + TIE
    tied = (similarity >= last - TIE) & ~above
    places = k - above.sum(1, keepdim=True).double()
    return above + tied * (places / tied.sum(1, keepdim=True)), centred


def _probe(model, x, y, x_test, y_test):
    x, y, x_test, y_test = (z.cpu().numpy() for z in (x, y, x_test, y_test))
    with threadpool_limits(1 if x.size < ONE_THREAD else None):
        probe = make_pipeline(StandardScaler(), model).fit(x, y)
        return float(probe.score(x_test, y_test))
