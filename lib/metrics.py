"""How well do two sets of features match, how much does one of them know, and how sure are we of a number?

Features are NumPy arrays or torch tensors (n, d) of any real type, on any device; row i of `a` belongs to row i of `b`. Arithmetic is
float64 on the device of the first argument (Apple's MPS has no float64: on the CPU), some rows at a time, so that no n x n matrix stands
in memory. Answers are Python floats or NumPy arrays.

Cosine similarity: a row of zeros has similarity 0 to every row. Ties are fair: where the answer hangs on the order of equal similarities,
it is the mean over all orders, so that the order of the rows never matters, and features that are all equal score as chance does (or are
refused, where a metric has no value for them).

Every function raises ValueError, naming the argument, for NaN, infinity, shapes that do not fit, and what else its docstring excludes.
"""
import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from lib.require import array, refuse, whole

THREE_SIGMA = 0.9973  # the level of an interval of three standard errors either side
CHUNK = 1024          # rows of a block where products are chunk x chunk (8 MB each)
KNN_CHUNK = 256       # rows of a block where products are chunk x n (100 MB each at n = 50,000)
TIE = 1e-12           # closer cosines are equal: float64 rounding in a product is below this, what float32 features can resolve far above
ONE_THREAD = 2**22    # probes on fewer numbers use one thread: on a busy machine, BLAS threads that wait for each other made them 70 times slower


def retrieval_hits(a, b, k=1, chunk=CHUNK):
    """Is b_i among the k rows of b most similar to a_i? One value in [0, 1] per query, (n,), to average or to bootstrap.

    a, b  (n, d), compared by cosine
    k     whole, >= 1; where k >= n every query hits

    With g rows strictly more similar to a_i than b_i is, and t others tied with it, the value is the chance of a hit under
    a random order of the tied, clip((k - g) / (t + 1), 0, 1). Rows equal up to a positive factor are really tied (`TIE`).
    """
    k, chunk = whole("k", k), whole("chunk", chunk)
    a, b = _units(*_pair(a, b, same_width=True))
    above, tied = _above_and_tied(a, b, torch.full_like(a[:, 0], TIE), chunk)
    return _chance_of_hit(above, tied, k).cpu().numpy()


def recall_at_k(a, b, k=1, chunk=CHUNK):
    """Recall@k both ways, (a finds b, b finds a): the means of `retrieval_hits`; chance is k / n. a, b (n, d)."""
    return float(retrieval_hits(a, b, k, chunk).mean()), float(retrieval_hits(b, a, k, chunk).mean())


def mean_recall_at_1(a, b, chunk=CHUNK):
    """MeanR@1, the mean of Recall@1 both ways (SOTAlign section 6); chance is 1 / n. a, b (n, d)."""
    return float(np.mean(recall_at_k(a, b, 1, chunk)))


def zero_shot_accuracy(features, prototypes, labels, chunk=CHUNK):
    """Top-1 accuracy of the most similar prototype (cosine); the right class, tied with t others, counts 1 / (t + 1).

    features    (n, d)
    prototypes  (c, d), one per class, such as the embedding of its name
    labels      (n,), whole numbers from 0 to c - 1
    """
    chunk = whole("chunk", chunk)
    features, prototypes = _table("features", features), _table("prototypes", prototypes)
    _same_width("prototypes", prototypes, "features", features)
    labels = _labels("labels", labels, len(features), len(prototypes))
    features, prototypes = _units(features, prototypes)
    labels = torch.from_numpy(labels).to(features.device)
    hits = 0.0
    for rows, own in zip(features.split(chunk), labels.split(chunk)):
        similarity = rows @ prototypes.T
        true = similarity.gather(1, own[:, None])
        above = torch.count_nonzero(similarity > true + TIE, 1)
        tied = torch.count_nonzero(similarity >= true - TIE, 1) - above - 1
        hits += _chance_of_hit(above, tied, 1).sum().item()
    return hits / len(features)


def foscttm(a, b, chunk=CHUNK):
    """Fraction of samples closer than the true match: mean over queries and both directions; 0 is perfect, 0.5 is chance.

    a, b  (n, d), n >= 2, compared by Euclidean distance as they are: normalise first where cosines are meant

    Of the n - 1 others a closer one counts 1, a tied one 1/2. Squared distances tie when they differ by at most
    2 TIE (|a_i|^2 + |b_i|^2), lengths taken from the mean of all rows. Some authors divide the rank by n instead.
    """
    chunk = whole("chunk", chunk)
    a, b = _pair(a, b, low=2, same_width=True)
    device = _device(a)
    a, b = _whole(a, device), _whole(b, device)
    centre = (a.mean(0) + b.mean(0)) / 2  # distances stay, cancellation goes
    a, b = a - centre, b - centre
    half_a, half_b = ((x**2).sum(1, keepdim=True) / 2 for x in (a, b))
    tolerance = 2 * TIE * (half_a + half_b)[:, 0]
    fractions = []
    for queries, gallery, half in ((a, b, half_b), (b, a, half_a)):  # |q - g|^2 = |q|^2 - 2 (q.g - |g|^2 / 2)
        closer, tied = _above_and_tied(torch.cat([queries, torch.ones_like(half)], 1), torch.cat([gallery, -half], 1), tolerance, chunk)
        fractions.append((closer + tied / 2).mean().item() / (len(a) - 1))
    return float(np.mean(fractions))


def linear_cka(a, b, unbiased=False, chunk=CHUNK):
    """Linear CKA = HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b)), in time linear in n and memory O(d^2).

    a (n, d_a), b (n, d_b), n >= 2, or n >= 4 where unbiased. With centred features A, B, K = A A', L = B B', and p, q the
    diagonals of K and L:

        biased    HSIC = |A'B|_F^2                               (Kornblith et al. 2019; SOTAlign eq. 9 and prop. C.6)
        unbiased  HSIC = |A'B|_F^2 - n/(n-2) p.q + sum(p) sum(q) / ((n-1)(n-2))

    both up to a factor that cancels. The second is n (n - 3) HSIC_1 of Song et al. (2012, eq. 5): HSIC_1 does not see the
    diagonals, nor a shift of the features, and with centred features the row sums of K without its diagonal are -p. It is
    around 0, also below, for unrelated features, where the biased one grows with d / n. Raises ValueError for features
    whose own HSIC is 0: all rows equal or, unbiased, for instance all rows orthogonal.
    """
    chunk = whole("chunk", chunk)
    a, b = _pair(a, b, low=4 if unbiased else 2)
    device = _device(a)
    a, b = _centred("a", a, chunk, device), _centred("b", b, chunk, device)
    scale = 1.0
    for name, x in (("a", a), ("b", b)):
        own, size = _hsic(x, x, unbiased)
        if own <= TIE * size:
            refuse(name, "rows without any similarity structure (HSIC 0)", "features whose similarities vary between rows")
        scale *= own**0.5
    return _hsic(a, b, unbiased)[0] / scale


def _centred(name, x, chunk, device):
    """A function that starts a new pass over the centred blocks of x; refuses rows that are all the same."""
    mean = sum(block.sum(0) for block in _blocks(x, chunk, device)) / len(x)
    spread = sum(((block - mean) ** 2).sum() for block in _blocks(x, chunk, device))
    if spread <= TIE**2 * len(x) * (mean @ mean):
        refuse(name, "features that are the same in every row", "features that vary between rows")
    return lambda: (block - mean for block in _blocks(x, chunk, device))


def _hsic(a, b, unbiased):
    """HSIC as in `linear_cka`, and its first term, which says how large it could be."""
    n = cross = shared = total_p = total_q = 0
    for x, y in zip(a(), b()):
        p, q = (x**2).sum(1), (y**2).sum(1)
        n, cross, shared, total_p, total_q = n + len(x), cross + x.T @ y, shared + p @ q, total_p + p.sum(), total_q + q.sum()
    size = (cross**2).sum()
    hsic = size - n / (n - 2) * shared + total_p * total_q / ((n - 1) * (n - 2)) if unbiased else size
    return hsic.item(), size.item()


def mutual_knn(a, b, k=10, chunk=KNN_CHUNK):
    """Mean fraction of the k nearest neighbours (cosine, self excluded) that a and b share (Huh et al. 2024, appendix A).

    a (n, d_a), b (n, d_b); 1 <= k <= n - 1. Chance is `mutual_knn_chance`. A row tied for the last places is a neighbour by
    the chance that it gets one, in a and in b independently: where that happens, even mutual_knn(a, a) is below 1.
    """
    k, chunk, a, b = _neighbour_input(a, b, k, chunk)
    shared = 0.0
    for start in range(0, len(a), chunk):
        shared += (_neighbours(a, start, chunk, k)[1] * _neighbours(b, start, chunk, k)[1]).sum().item()
    return shared / (len(a) * k)


def mutual_knn_chance(n, k=10):
    """The expected `mutual_knn` of unrelated features, k / (n - 1)."""
    n = whole("n", n, low=2)
    return _neighbour_count(k, n) / (n - 1)


def cknna(a, b, k=10, chunk=KNN_CHUNK):
    """CKNNA, the centred kernel alignment of shared nearest neighbours (Huh et al. 2024, appendix A).

    a (n, d_a), b (n, d_b), rows scaled to length 1 first; 1 <= k <= n - 1. With K_ij = cos(a_i, a_j), L likewise from b,

        Align(K, L) = sum_ij alpha_ij (K_ij - mean_l K_il) (L_ij - mean_l L_il),  CKNNA = Align(K, L) / sqrt(Align(K, K) Align(L, L))

    alpha_ij = 1 where j != i is among the k nearest neighbours of i in both, ties as in `mutual_knn`. So each row of K and L
    is centred, by its mean over ALL n columns. This is the formula in the paper's text; the authors' released code instead
    takes the unbiased HSIC of K and L with the other entries set to zero, and gives other numbers. Raises ValueError for
    features whose cosines are all equal.
    """
    k, chunk, a, b = _neighbour_input(a, b, k, chunk)
    mean_a, mean_b = a.mean(0), b.mean(0)
    both = own_a = own_b = 0.0
    for start in range(0, len(a), chunk):
        (K, near_a), (L, near_b) = (_neighbours(x, start, chunk, k) for x in (a, b))
        K -= (a[start:start + chunk] @ mean_a)[:, None]
        L -= (b[start:start + chunk] @ mean_b)[:, None]
        own_a += (near_a * K**2).sum().item()
        own_b += (near_b * L**2).sum().item()
        both += (near_a * near_b * K * L).sum().item()
    for name, own in (("a", own_a), ("b", own_b)):
        if own <= TIE**2 * k * len(a):
            refuse(name, "rows that are all equally similar", "features whose cosines vary between rows")
    return both / (own_a * own_b) ** 0.5


def _neighbours(x, start, chunk, k):
    """Cosines of the rows from `start` with all rows (chunk, n), 0 with themselves, and how far each is among the k nearest, 0 to 1."""
    similarity = x[start:start + chunk] @ x.T
    itself = similarity.diagonal(start)
    itself.fill_(-torch.inf)
    last = similarity.topk(k, sorted=False).values.amin(1, keepdim=True)
    above = similarity > last + TIE
    tied = (similarity >= last - TIE) & ~above
    share = (k - torch.count_nonzero(above, 1).double()) / torch.count_nonzero(tied, 1)
    itself.zero_()
    return similarity, above + tied * share[:, None]


def linear_probe(train_features, train_labels, test_features, test_labels):
    """Test accuracy of a logistic regression on frozen, standardised features (C = 1; nothing in it is random).

    features (n, d), labels (n,) whole numbers; at least 2 classes to train on. A test class never trained on counts as wrong.
    """
    train_features, test_features = _train_and_test(train_features, test_features)
    train_labels = _labels("train_labels", train_labels, len(train_features))
    test_labels = _labels("test_labels", test_labels, len(test_features))
    if len(np.unique(train_labels)) < 2:
        refuse("train_labels", f"one class, {train_labels[0]}", "at least 2 classes")
    return _probe(LogisticRegression(max_iter=1000), train_features, train_labels, test_features, test_labels)


def linear_probe_r2(train_features, train_targets, test_features, test_targets):
    """Test R^2 of a ridge regression on frozen, standardised features, its penalty chosen by leave-one-out on the training rows.

    features (n, d), targets (n,) or (n, m), the mean R^2 of the m; at least 2 training rows. Raises ValueError where a test
    target is constant: R^2 is undefined there.
    """
    train_features, test_features = _train_and_test(train_features, test_features)
    train_targets = _targets("train_targets", train_targets, len(train_features))
    test_targets = _targets("test_targets", test_targets, len(test_features))
    if train_targets.shape[1:] != test_targets.shape[1:]:
        refuse("test_targets", f"shape {test_targets.shape}", f"{train_targets.shape[1:]} after the first axis, as in train_targets")
    if (np.ptp(test_targets, axis=0) == 0).any():
        refuse("test_targets", "a constant target", "targets that vary")
    return _probe(RidgeCV(alphas=np.logspace(-3, 5, 17)), train_features, train_targets, test_features, test_targets)


def _probe(model, train_features, train_targets, test_features, test_targets):
    with threadpool_limits(1 if train_features.size < ONE_THREAD else None):
        probe = make_pipeline(StandardScaler(), model).fit(train_features, train_targets)
        return float(probe.score(test_features, test_targets))


def mean_interval(values, level=0.95):
    """Mean over seeds and its Student t interval: (mean, (low, high)), each of the shape of values[0].

    values (n_seeds, ...), at least 2 seeds, not empty; 0 < level < 1. For paired differences pass the differences.
    """
    values, level = array("values", values, (...,)), _level(level)
    if values.ndim == 0 or len(values) < 2 or values.size == 0:
        refuse("values", f"shape {values.shape}", "at least 2 values along the first axis")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values, axis=0)
    mean = values.mean(axis=0)
    return mean, (mean - half, mean + half)


def bootstrap_interval(values, level=0.95, n_resamples=2000, seed=0):
    """Mean over queries and its percentile bootstrap interval: (mean, (low, high)).

    values (n,), n >= 2, such as `retrieval_hits`. It says what another draw of queries could give, against the same
    gallery; it does not see how training varies with the seed.
    """
    values, level, rng = _draws("values", values), _level(level), np.random.default_rng(whole("seed", seed, low=0))
    batch = max(1, 2**20 // len(values))  # resamples in memory at once, 8 MB
    result = stats.bootstrap((values,), np.mean, confidence_level=level, n_resamples=whole("n_resamples", n_resamples),
                             method="percentile", batch=batch, random_state=rng)
    return float(values.mean()), tuple(map(float, result.confidence_interval))


def paired_difference(first, second, level=0.95):
    """Mean of first - second over the same seeds, its Student t interval, and the two-sided p-value of the paired t test.

    first, second (n_seeds,), at least 2 seeds. Without any spread of the differences the p-value is 1 if they are all 0 and
    0 if not: then ask `sign_flip_test`.
    """
    differences = _differences(first, second)
    mean, interval = mean_interval(differences, level)
    error = stats.sem(differences)
    p_value = 2 * stats.t.sf(abs(mean) / error, len(differences) - 1) if error > 0 else float(mean == 0)
    return float(mean), tuple(map(float, interval)), float(p_value)


def sign_flip_test(first, second, n_resamples=9999, seed=0):
    """Two-sided p-value of the mean of first - second, when each difference could as well have had the other sign.

    first, second (n_seeds,), at least 2 seeds. Exact where 2^n_seeds <= n_resamples, random beyond. Assumes no normal law, and
    cannot fall below 2 / 2^n_seeds: 5 seeds never reach p < 0.05, 6 can.
    """
    differences, rng = _differences(first, second), np.random.default_rng(whole("seed", seed, low=0))
    test = stats.permutation_test((differences,), np.mean, permutation_type="samples", vectorized=True,
                                  n_resamples=whole("n_resamples", n_resamples), random_state=rng)
    return float(test.pvalue)


def variance_interval(values, level=THREE_SIGMA):
    """Unbiased variance of normal draws and its exact chi-square interval: (variance, (low, high)).

    values (n_draws,), at least 2 draws; 0 < level < 1.
    """
    values, level = _draws("values", values), _level(level)
    degrees, variance = len(values) - 1, values.var(ddof=1)
    low, high = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], degrees)
    return variance, (variance * degrees / low, variance * degrees / high)


def ratio_interval(numerator, denominator, level=THREE_SIGMA):
    """Ratio of two variances of independent normal draws and its exact F interval: (ratio, (low, high)).

    numerator (n,), denominator (m,): at least 2 draws each, independent of each other, the second not all equal; 0 < level < 1.
    """
    numerator, denominator, level = _draws("numerator", numerator), _draws("denominator", denominator), _level(level)
    if np.ptp(denominator) == 0:
        refuse("denominator", f"{len(denominator)} equal values", "values that vary")
    ratio = numerator.var(ddof=1) / denominator.var(ddof=1)
    low, high = stats.f.ppf([(1 + level) / 2, (1 - level) / 2], len(numerator) - 1, len(denominator) - 1)
    return ratio, (ratio / low, ratio / high)


def _above_and_tied(queries, gallery, tolerance, chunk):
    """For each i, how many gallery rows j have queries_i . gallery_j above that of j = i, and how many others tie with it."""
    above, not_below = torch.zeros_like(tolerance), torch.zeros_like(tolerance)
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        true = (queries[rows] @ gallery[rows].T).diagonal()  # the true match out of the same kind of product as its rivals
        low, high = (true - tolerance[rows])[:, None], (true + tolerance[rows])[:, None]
        for block in gallery.split(chunk):
            product = queries[rows] @ block.T
            above[rows] += torch.count_nonzero(product > high, 1)
            not_below[rows] += torch.count_nonzero(product >= low, 1)
    return above, not_below - above - 1


def _chance_of_hit(above, tied, k):
    return ((k - above.double()) / (tied + 1)).clamp(0, 1)


def _table(name, value):
    """`value` as it lies, an array or tensor (n, d) of finite real numbers; refuses anything else."""
    try:
        value = value.detach() if isinstance(value, torch.Tensor) else np.asarray(value)
    except ValueError:
        refuse(name, value, "rows of equal length")
    if value.is_complex() if isinstance(value, torch.Tensor) else value.dtype.kind not in "biuf":
        refuse(name, f"values of type {value.dtype}", "real numbers")
    if value.ndim != 2 or 0 in value.shape:
        refuse(name, f"shape {tuple(value.shape)}", "shape (n, d), n and d at least 1")
    bad = sum(torch.count_nonzero(~torch.isfinite(block)).item() for block in _blocks(value, CHUNK, _device(value)))
    if bad:
        refuse(name, f"{bad} values that are NaN or infinite", "finite numbers")
    return value


def _same_width(name, x, other_name, other):
    if x.shape[1] != other.shape[1]:
        refuse(name, f"{x.shape[1]} columns", f"{other.shape[1]} columns, as {other_name}")


def _pair(a, b, low=1, same_width=False):
    a, b = _table("a", a), _table("b", b)
    if len(a) < low:
        refuse("a", f"{len(a)} rows", f"at least {low} rows")
    if len(a) != len(b):
        refuse("b", f"{len(b)} rows", f"{len(a)} rows, one for each row of a")
    if same_width:
        _same_width("b", b, "a", a)
    return a, b


def _train_and_test(train, test):
    train, test = _table("train_features", train), _table("test_features", test)
    if len(train) < 2:
        refuse("train_features", f"{len(train)} rows", "at least 2 rows")
    _same_width("test_features", test, "train_features", train)
    return [_whole(x, "cpu").numpy() for x in (train, test)]


def _neighbour_input(a, b, k, chunk):
    chunk = whole("chunk", chunk)
    a, b = _pair(a, b, low=2)
    return _neighbour_count(k, len(a)), chunk, *_units(a, b)


def _neighbour_count(k, n):
    if whole("k", k) > n - 1:
        refuse("k", k, f"at most n - 1 = {n - 1} neighbours")
    return int(k)


def _device(x):
    on_tensor_device = isinstance(x, torch.Tensor) and x.device.type != "mps"
    return x.device if on_tensor_device else torch.device("cpu")


def _blocks(x, chunk, device):
    """The rows of an array or tensor (n, d), `chunk` at a time, as float64 tensors on `device`."""
    for start in range(0, len(x), chunk):
        block = x[start:start + chunk]
        if not isinstance(block, torch.Tensor):
            block = torch.from_numpy(np.array(block, dtype=np.float64))  # a copy: memory maps may be read-only
        yield block.to(device).double()


def _whole(x, device):
    return torch.cat(list(_blocks(x, CHUNK, device)))


def _units(a, b):
    """Both in float64 on the device of a, rows of length 1; a row of zeros stays one."""
    device = _device(a)
    a, b = _whole(a, device), _whole(b, device)
    lengths = [torch.linalg.vector_norm(x, dim=1, keepdim=True) for x in (a, b)]
    return [x / torch.where(length > 0, length, 1.0) for x, length in zip((a, b), lengths)]


def _numpy(value):
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def _labels(name, value, n, n_classes=None):
    given = _numpy(value)
    value = array(name, given, (n,))
    if np.asarray(given).dtype.kind not in "biu":
        refuse(name, f"labels of type {np.asarray(given).dtype}", "whole numbers")
    if n_classes is not None and not (0 <= value.min() and value.max() < n_classes):
        refuse(name, f"labels from {value.min():g} to {value.max():g}", f"whole numbers from 0 to {n_classes - 1}")
    return value.astype(np.int64)


def _targets(name, value, n):
    value = array(name, _numpy(value), (...,))
    return array(name, value, (n,) if value.ndim == 1 else (n, None))


def _draws(name, value):
    value = array(name, _numpy(value), (None,))
    if len(value) < 2:
        refuse(name, f"shape {value.shape}", "at least 2 values")
    return value


def _differences(first, second):
    first, second = _draws("first", first), _draws("second", second)
    if len(first) != len(second):
        refuse("second", f"{len(second)} values", f"{len(first)} values, paired with those of first")
    return first - second


def _level(level):
    try:
        inside = 0 < level < 1
    except TypeError:
        inside = False
    if not inside:
        refuse("level", level, "a number between 0 and 1")
    return float(level)
