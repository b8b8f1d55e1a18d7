"""Teachers: closed forms against slow algebra, scikit-learn, SciPy and what was planted."""

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.cross_decomposition import CCA
from sklearn.preprocessing import normalize

from lib.teachers import Linear, centre, procrustes, weighted_cca, whiten


def data(n, d, seed=0, rank=None):
    """n rows with correlated columns of different scale, off centre."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, rank or d)) @ rng.standard_normal((rank or d, d))
    return mixed * np.arange(1, d + 1) + 5 * rng.standard_normal(d)


def pairs(n, d_x, d_y, seed=0):
    """Two looks at three hidden numbers, each with noise of its own."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, 3))
    x = hidden @ rng.standard_normal((3, d_x)) + 0.7 * data(n, d_x, seed + 1) / d_x
    y = hidden @ rng.standard_normal((3, d_y)) + 0.7 * data(n, d_y, seed + 2) / d_y
    return x, y


def cosine(a, b):
    return np.abs(np.sum(a * b, axis=0)) / linalg.norm(a, axis=0) / linalg.norm(b, axis=0)


def correlation(a, b):
    return np.array([np.corrcoef(p, q)[0, 1] for p, q in zip(a.T, b.T, strict=True)])


def semi_orthogonal(rng, d_in, d):
    return linalg.qr(rng.standard_normal((d_in, d)), mode="economic")[0]


# Preparation ----------------------------------------------------------------------------


def test_whitened_rows_have_unit_covariance_along_the_first_axes():
    x = data(200, 6)
    fitted = whiten(x, 4)
    z = (x - fitted.mean) @ fitted.axes
    np.testing.assert_allclose(z.T @ z / 200, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    principal = np.linalg.svd(np.cov(x.T))[0][:, :4]
    assert cosine(fitted.axes, principal) == pytest.approx(1)
    np.testing.assert_allclose(fitted(x), normalize(z), atol=1e-12)
    np.testing.assert_allclose(linalg.norm(fitted(data(50, 6, 1)), axis=1), 1)


def test_whitening_is_carried_to_other_data_as_it_is():
    fitted, other = whiten(data(100, 5), 3), data(40, 5, seed=1)
    np.testing.assert_allclose(fitted(other)[:7], fitted(other[:7]), atol=1e-12)
    np.testing.assert_allclose(fitted(other[3:4] + 100), fitted(other + 100)[3:4], atol=1e-12)
    assert np.abs(fitted(other + 1000).mean(0)).max() > 0.1  # nothing is centred again
    assert fitted(fitted.mean[None]).tolist() == [[0, 0, 0]]
    of_tensors = whiten(torch.tensor(data(100, 5)), 3)
    np.testing.assert_array_equal(of_tensors(torch.tensor(other)), fitted(other))


@pytest.mark.parametrize(
    "n, d_in, rank, d, expected",
    [
        (50, 6, None, 99, 6),
        (50, 6, 3, 6, 3),
        (50, 6, 3, 2, 2),
        (4, 6, None, 6, 3),
        (50, 1, None, 1, 1),
        (2, 5, None, 5, 1),
    ],
)
def test_whitening_is_cut_to_the_rank(n, d_in, rank, d, expected):
    x = data(n, d_in, rank=rank)
    fitted = whiten(x, d)
    z = (x - fitted.mean) @ fitted.axes
    assert fitted.axes.shape == (d_in, expected)
    assert np.isfinite(fitted(x)).all()
    np.testing.assert_allclose(z.T @ z / n, np.eye(expected), atol=1e-6)


@pytest.mark.parametrize("share, rank", [(3e-11, 1), (3e-10, 2), (0.0, 1)])
def test_the_rank_ends_at_a_variance_of_1e_10_of_the_largest(share, rank):
    """Two uncorrelated columns, with variances 24.5 and `share` of that."""
    small = np.sqrt(share)
    x = 7 * np.array([[1, 0], [-1, 0], [0, small], [0, -small]])
    fitted = whiten(x, 2)
    z = (x - fitted.mean) @ fitted.axes
    np.testing.assert_allclose(z.T @ z / 4, np.eye(rank), atol=1e-12)


def test_centring_turns_and_stretches_nothing():
    x, other = data(100, 5), data(30, 5, 1)
    plain, fitted = centre(x, unit=False), centre(x)
    np.testing.assert_allclose(plain(other), other - x.mean(0))
    np.testing.assert_allclose(fitted(other), normalize(other - x.mean(0)))
    assert fitted.unit
    assert not plain.unit
    assert fitted(fitted.mean[None]).tolist() == [[0] * 5]  # the mean stays a row of zeros


# Procrustes -----------------------------------------------------------------------------


def agreement(x, y, w_x, w_y):
    return np.trace(w_x.T @ (x - x.mean(0)).T @ (y - y.mean(0)) @ w_y)


def close_by(rng, axes, step):
    """A semi-orthogonal matrix a small step away."""
    turned = linalg.qr(axes + step * rng.standard_normal(axes.shape), mode="economic")[0]
    return turned * np.sign((turned * axes).sum(0))


@pytest.mark.parametrize(
    "n, d_x, d_y, d",
    [(60, 5, 5, 5), (60, 7, 4, 4), (60, 4, 7, 2), (6, 12, 9, 5), (2, 5, 5, 1)],
)
def test_no_semi_orthogonal_maps_agree_more(n, d_x, d_y, d):
    x, y = pairs(n, d_x, d_y)
    to_x, to_y = procrustes(x, y, d)
    for axes, width in ((to_x.axes, d_x), (to_y.axes, d_y)):
        assert axes.shape == (width, d)
        np.testing.assert_allclose(axes.T @ axes, np.eye(d), atol=1e-10)
    best = agreement(x, y, to_x.axes, to_y.axes)
    values = linalg.svdvals((x - x.mean(0)).T @ (y - y.mean(0)))
    assert best == pytest.approx(values[:d].sum())
    rng = np.random.default_rng(0)
    for _ in range(200):
        others = semi_orthogonal(rng, d_x, d), semi_orthogonal(rng, d_y, d)
        assert agreement(x, y, *others) < best
    for step in (1e-3, 1e-2):
        near = (close_by(rng, axes, step) for axes in (to_x.axes, to_y.axes))
        assert agreement(x, y, *near) < best
    np.testing.assert_allclose(to_x(x), (x - x.mean(0)) @ to_x.axes)
    assert not to_x.unit
    assert not to_y.unit
    for most in (99, None):
        assert procrustes(x, y, most)[0].axes.shape == (d_x, min(d_x, d_y))


def test_in_the_square_case_it_is_scipys_rotation():
    x, y = pairs(80, 6, 6)
    to_x, to_y = procrustes(x, y)
    rotation, size = linalg.orthogonal_procrustes(x - x.mean(0), y - y.mean(0))
    np.testing.assert_allclose(to_x.axes @ to_y.axes.T, rotation, atol=1e-8)
    assert agreement(x, y, to_x.axes, to_y.axes) == pytest.approx(size)
    to_x, to_y = procrustes(x, x @ rotation + 3)
    new = data(20, 6, 9)
    np.testing.assert_allclose(to_x(new), to_y(new @ rotation + 3), atol=1e-8)


@pytest.mark.parametrize(
    "values, tight", [((3.0, 3.0, 3.0, 3.0), True), ((5.0, 3.0, 2.0, 1.0), False)]
)
def test_the_bound_of_the_printed_proof_needs_equal_singular_values(values, tight):
    """Cauchy-Schwarz gives sqrt(d) |X'Y|_F; von Neumann the sum of the singular values."""
    rng = np.random.default_rng(0)
    left, right = semi_orthogonal(rng, 40, 4), semi_orthogonal(rng, 4, 4)
    x = linalg.qr(left - left.mean(0), mode="economic")[0]  # centred orthonormal columns
    y = x * values @ right.T
    to_x, to_y = procrustes(x, y)
    found = agreement(x, y, to_x.axes, to_y.axes)
    assert found == pytest.approx(sum(values))
    bound = 2 * linalg.norm((x - x.mean(0)).T @ (y - y.mean(0)))
    assert bound == pytest.approx(found) if tight else bound > 1.1 * found


@pytest.mark.parametrize("rank, twins", [(2, False), (5, True), (1, True)])
def test_rank_deficient_and_repeated_pairs(rank, twins):
    """Partners find each other as far as the rank allows; a repeated pair does no harm."""
    x = data(40, 6, rank=rank)
    y = x @ semi_orthogonal(np.random.default_rng(5), 6, 6)
    if twins:
        x, y = np.vstack([x, x[:1]]), np.vstack([y, y[:1]])
    to_x, to_y = procrustes(x, y, rank)
    np.testing.assert_allclose(to_x(x), to_y(y), atol=1e-8)
    to_x, to_y = weighted_cca(x, y, 1e-6, 0, d=rank)
    np.testing.assert_allclose(to_x(x), to_y(y), atol=1e-4)
    if twins:
        np.testing.assert_allclose(to_x(x)[0], to_x(x)[-1])


def test_two_pairs_give_one_direction():
    x, y = pairs(2, 5, 3)
    for to_x, to_y in (procrustes(x, y, 1), weighted_cca(x, y, 0.1, d=1)):
        assert to_x(x)[0] * to_y(y)[0] > 0
        assert to_x(x)[0] == pytest.approx(-to_x(x)[1])


# Weighted CCA ---------------------------------------------------------------------------


def test_without_ridge_and_weight_it_is_cca():
    x, y = pairs(2000, 5, 4)
    to_x, to_y = weighted_cca(x, y, ridge=1e-9, power=0)
    theirs_x, theirs_y = CCA(4, max_iter=5000, tol=1e-12).fit(x, y).transform(x, y)
    ours = np.corrcoef(to_x(x).T, to_y(y).T)[:4, 4:]
    reference = correlation(theirs_x, theirs_y)
    np.testing.assert_allclose(ours, np.diag(reference), atol=1e-4)
    assert ours[0, 0] > 0.9
    assert (np.diff(np.diag(ours)) < 0).all()
    assert cosine(to_x(x), theirs_x) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(to_x(x).T @ to_x(x) / 2000, np.eye(4), atol=1e-6)


@pytest.mark.parametrize(
    "n, d_x, d_y, ridge, power",
    [
        (300, 5, 5, 0.1, 2.0),
        (300, 6, 3, 1.0, 1.0),
        (300, 3, 7, 0.01, 3.5),
        (8, 12, 10, 0.1, 2.0),
        (2, 3, 3, 0.5, 1.0),
    ],
)
def test_it_is_the_generalised_eigenproblem(n, d_x, d_y, ridge, power):
    x, y = pairs(n, d_x, d_y)
    joint = np.cov(np.hstack([x, y]).T, bias=True)
    c_x, c_xy, c_y = joint[:d_x, :d_x], joint[:d_x, d_x:], joint[d_x:, d_x:]
    b_x, b_y = (c + ridge * np.trace(c) / len(c) * np.eye(len(c)) for c in (c_x, c_y))
    a = np.block([[np.zeros((d_x, d_x)), c_xy], [c_xy.T, np.zeros((d_y, d_y))]])
    values, vectors = linalg.eigh(a, linalg.block_diag(b_x, b_y))

    to_x, to_y = weighted_cca(x, y, ridge, power)
    k, found = min(d_x, d_y), min(n - 1, d_x, d_y)
    assert to_x.axes.shape == (d_x, k)
    assert to_y.axes.shape == (d_y, k)
    axes = np.vstack([to_x.axes, to_y.axes])
    weight = values[::-1][:found] ** power
    expected = np.sqrt(2) * vectors[:, ::-1][:, :found] * weight  # half a vector: 1 / sqrt 2
    signs = np.sign((axes[:, :found] * expected).sum(0))
    tolerance = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(axes[:, :found] * signs, expected, atol=tolerance)
    lengths = np.diag(to_x.axes.T @ b_x @ to_x.axes)[:found]
    np.testing.assert_allclose(lengths, weight**2, rtol=1e-6)
    np.testing.assert_allclose(axes[:, found:], 0, atol=1e-6)  # no correlation, no weight
    np.testing.assert_allclose(to_x(x), (x - x.mean(0)) @ to_x.axes)
    assert not to_x.unit
    assert not to_y.unit


@pytest.mark.parametrize("power", [0, 2.0])
def test_the_first_directions_are_kept(power):
    x, y = pairs(200, 6, 4)
    every, part, more = (weighted_cca(x, y, 0.1, power, d) for d in (None, 2, 99))
    for side in (0, 1):
        np.testing.assert_array_equal(part[side].axes, every[side].axes[:, :2])
        np.testing.assert_array_equal(more[side].axes, every[side].axes)
    to_x, to_y = weighted_cca(x, y, 1e-9, 0, 3)
    assert (np.diff(correlation(to_x(x), to_y(y))) < 0).all()


def test_with_fewer_pairs_than_dimensions_every_correlation_in_sample_is_one():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 30)), rng.standard_normal((20, 25))  # nothing shared
    new_x, new_y = rng.standard_normal((4000, 30)), rng.standard_normal((4000, 25))
    to_x, to_y = weighted_cca(x, y, ridge=1e-9, power=0, d=19)
    assert correlation(to_x(x), to_y(y)) == pytest.approx(1, abs=1e-6)
    assert np.abs(correlation(to_x(new_x), to_y(new_y))).max() < 0.07


@pytest.mark.parametrize("power", [0, 2])
def test_a_planted_rotation_is_found(power):
    rotation = linalg.qr(np.random.default_rng(3).standard_normal((8, 8)))[0]
    x, new = np.random.default_rng(4).standard_normal((2, 300, 8))
    to_x, to_y = weighted_cca(x, x @ rotation + 3, ridge=0.01, power=power)
    distance = linalg.norm(to_x(new)[:, None] - to_y(new @ rotation + 3)[None], axis=2)
    assert (distance.argmin(1) == np.arange(300)).all()


def test_the_defaults_are_a_ridge_of_a_tenth_and_squared_correlations():
    x, y = pairs(100, 6, 4)
    for found, expected in zip(weighted_cca(x, y), weighted_cca(x, y, 0.1, 2.0), strict=True):
        np.testing.assert_array_equal(found.axes, expected.axes)


def test_swapping_the_sides_swaps_the_maps():
    x, y = pairs(100, 6, 4)
    (a, b), (d, c) = weighted_cca(x, y), weighted_cca(y, x)
    np.testing.assert_allclose(a(x) @ b(y).T, c(x) @ d(y).T, atol=1e-10)  # signs are free
    np.testing.assert_allclose(np.abs(a.axes), np.abs(c.axes), atol=1e-8)


# No map has NaN -------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [1e-18, 1e-300])
@pytest.mark.parametrize("power", [0.0, 2.0])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_ridge_below_rounding_counts_as_rounding(ridge, power, size):
    """With fewer pairs than dimensions, rounding makes some of the variances negative."""
    x, y = (size * z for z in pairs(8, 12, 9))
    to_x, to_y = weighted_cca(x, y, ridge, power, d=7)
    assert correlation(to_x(x), to_y(y)) == pytest.approx(1, abs=1e-6)


def test_a_huge_ridge_gives_finite_maps():
    x, y = pairs(8, 12, 9)
    for side, z in zip(weighted_cca(x, y, 1e300), (x, y), strict=True):
        assert np.isfinite(side(z)).all()


@pytest.mark.parametrize("spread, varies", [(3e-13, False), (3e-12, True)])
def test_rows_vary_when_they_differ_by_more_than_rounding(spread, varies):
    rows = np.array([[7.0, 7.0], [7.0, 7.0 * (1 + spread)]])
    if varies:
        assert whiten(rows, 2).axes.shape == (2, 1)
    else:
        refused(lambda: whiten(rows, 2), "features")


@pytest.mark.parametrize("size", [1e-90, 1e90])
def test_features_of_any_ordinary_size(size):
    x, y = pairs(40, 5, 4)
    np.testing.assert_allclose(whiten(size * x, 5)(size * x), whiten(x, 5)(x), atol=1e-6)
    for teacher in (procrustes, weighted_cca):
        for side, z in zip(teacher(size * x, size * y), (x, y), strict=True):
            assert np.isfinite(side(size * z)).all()


# Bad input: one line that names the argument --------------------------------------------


def refused(call, name):
    """The call is refused in one line that begins with the argument's name."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ")
    assert ", accepted: " in message
    assert "\n" not in message
    assert len(message) < 240


A = data(9, 3)
SAME = np.full((9, 3), 0.1)
NO_TABLE = [
    *(None, 3.0, "abc", [[1.0], [1.0, 2.0]], A[0], A[None], A[:0], A[:, :0]),
    *(A * np.nan, A + np.inf),
]
NO_FEATURES = [*NO_TABLE, A[:1], np.ones((9, 3)), SAME, 1e101 * A, 1e-102 * A]
NO_PARTNERS = [*NO_TABLE, A[:5], np.vstack([A, A]), SAME]
NO_NUMBER = (True, "2", np.nan, np.inf, None, [2.0])
NO_COUNT = (0, -1, 1.5, 2.0, True, "2")
BAD = [
    ("features", centre, NO_FEATURES),
    ("features", lambda z: whiten(z, 2), NO_FEATURES),
    ("features", whiten(A, 2), [*NO_TABLE, A[:, :2], A.T]),
    ("features", Linear(np.zeros(3), np.eye(3)), [np.ones((2, 4))]),
    ("mean", lambda mean: Linear(mean, np.eye(3)), [np.zeros((3, 1)), [0, 0, np.nan]]),
    ("axes", lambda axes: Linear(np.zeros(3), axes), [np.eye(2), np.full((3, 3), np.nan), [0]]),
    ("unit", lambda unit: centre(A, unit), [None, 1, "yes", [True]]),
    ("d", lambda d: whiten(A, d), [*NO_COUNT, None]),
    ("d", lambda d: procrustes(A, A, d), NO_COUNT),
    ("d", lambda d: weighted_cca(A, A, d=d), NO_COUNT),
    ("x", lambda x: procrustes(x, A), NO_FEATURES),
    ("x", lambda x: weighted_cca(x, A), NO_FEATURES),
    ("x", lambda x: weighted_cca(x, x), [A[:1]]),
    ("y", lambda y: procrustes(A, y), NO_PARTNERS),
    ("y", lambda y: weighted_cca(A, y), NO_PARTNERS),
    ("ridge", lambda ridge: weighted_cca(A, A, ridge), [0, -0.1, *NO_NUMBER]),
    ("power", lambda power: weighted_cca(A, A, power=power), [-2, -0.1, *NO_NUMBER]),
]


@pytest.mark.parametrize(
    "name, call, values", BAD, ids=[f"{k} {name}" for k, (name, _, _) in enumerate(BAD)]
)
def test_bad_input(name, call, values):
    for value in values:
        refused(lambda value=value: call(value), name)
