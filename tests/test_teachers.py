"""Teachers: whitening and weighted CCA against slow algebra, sklearn and what was planted."""
import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.cross_decomposition import CCA

from lib.teachers import Linear, weighted_cca, whiten


def data(n, d, seed=0, rank=None):
    """n rows with correlated columns of different scale, off centre."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, rank or d)) @ rng.standard_normal((rank or d, d)) * np.arange(1, d + 1) + 5 * rng.standard_normal(d)


def pairs(n, d_x, d_y, seed=0):
    """Two looks at three hidden numbers, each with its own noise."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, 3))
    return tuple(hidden @ rng.standard_normal((3, d)) + 0.7 * data(n, d, seed + k) / d for k, d in ((1, d_x), (2, d_y)))


def covariances(x, y):
    joint = np.cov(np.hstack([x, y]).T, bias=True)
    k = x.shape[1]
    return joint[:k, :k], joint[:k, k:], joint[k:, k:]


def cosine(a, b):
    return np.abs(np.sum(a * b, axis=0)) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)


# Whitening ------------------------------------------------------------------------------------------------------------

def test_whitened_rows_have_unit_covariance_along_the_first_axes():
    x = data(200, 6)
    fitted = whiten(x, 4)
    z, covariance = (x - fitted.mean) @ fitted.axes, np.cov(x.T, bias=True)
    np.testing.assert_allclose(z.T @ z / 200, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    assert cosine(fitted.axes, np.linalg.svd(covariance)[0][:, :4]) == pytest.approx(1)
    np.testing.assert_allclose(fitted(x), z / np.linalg.norm(z, axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(fitted(data(50, 6, 1)), axis=1), 1)


def test_whitening_is_carried_to_other_data_as_it_is():
    fitted, other = whiten(data(100, 5), 3), data(40, 5, seed=1)
    np.testing.assert_allclose(fitted(other)[:7], fitted(other[:7]), atol=1e-12)
    np.testing.assert_allclose(fitted(other[3:4] + 100), fitted(other + 100)[3:4], atol=1e-12)
    assert np.abs(fitted(other + 1000).mean(0)).max() > 0.1 and fitted(fitted.mean[None]).tolist() == [[0, 0, 0]]  # nothing is centred again
    np.testing.assert_array_equal(whiten(torch.tensor(data(100, 5)), 3)(torch.tensor(other)), fitted(other))


@pytest.mark.parametrize("n, d_in, rank, d, expected", [(50, 6, None, 99, 6), (50, 6, 3, 6, 3), (50, 6, 3, 2, 2), (4, 6, None, 6, 3),
                                                       (50, 1, None, 1, 1), (2, 5, None, 5, 1)])
def test_whitening_is_cut_to_the_rank(n, d_in, rank, d, expected):
    x = data(n, d_in, rank=rank)
    fitted = whiten(x, d)
    z = (x - fitted.mean) @ fitted.axes
    assert fitted.axes.shape == (d_in, expected) and np.isfinite(fitted(x)).all()
    np.testing.assert_allclose(z.T @ z / n, np.eye(expected), atol=1e-6)


# Weighted CCA ---------------------------------------------------------------------------------------------------------

def test_without_ridge_and_weight_it_is_cca():
    x, y = pairs(2000, 5, 4)
    to_x, to_y = weighted_cca(x, y, ridge=1e-9, power=0)
    theirs = CCA(4, max_iter=5000, tol=1e-12).fit(x, y)
    ours, reference = (np.corrcoef(a.T, b.T)[:4, 4:] for a, b in ((to_x(x), to_y(y)), theirs.transform(x, y)))
    np.testing.assert_allclose(ours, np.diag(np.diag(reference)), atol=1e-4)
    assert ours[0, 0] > 0.9 and (np.diff(np.diag(ours)) < 0).all()
    assert cosine(to_x(x), theirs.transform(x)) == pytest.approx(1, abs=1e-4)  # centred, so these are correlations
    np.testing.assert_allclose(to_x(x).T @ to_x(x) / 2000, np.eye(4), atol=1e-6)


@pytest.mark.parametrize("n, d_x, d_y, ridge, power", [(300, 5, 5, 0.1, 2.0), (300, 6, 3, 1.0, 1.0), (300, 3, 7, 0.01, 3.5), (8, 12, 10, 0.1, 2.0),
                                                      (2, 3, 3, 0.5, 1.0)])
def test_it_is_the_generalised_eigenproblem(n, d_x, d_y, ridge, power):
    x, y = pairs(n, d_x, d_y)
    (c_x, c_xy, c_y), k, found = covariances(x, y), min(d_x, d_y), min(n - 1, d_x, d_y)
    b_x, b_y = (c + ridge * np.trace(c) / len(c) * np.eye(len(c)) for c in (c_x, c_y))
    a = np.block([[np.zeros((d_x, d_x)), c_xy], [c_xy.T, np.zeros((d_y, d_y))]])
    values, vectors = (v[..., ::-1] for v in linalg.eigh(a, linalg.block_diag(b_x, b_y)))
    to_x, to_y = weighted_cca(x, y, ridge, power)
    assert to_x.axes.shape == (d_x, k) and to_y.axes.shape == (d_y, k) and not to_x.unit and not to_y.unit
    correlation = values[:found]
    expected = np.sqrt(2) * vectors[:, :found] * correlation**power  # every half of a vector has length 1 / sqrt 2
    axes = np.vstack([to_x.axes, to_y.axes])[:, :found]
    np.testing.assert_allclose(axes * np.sign((axes * expected).sum(0)), expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose([to_x.axes[:, j] @ b_x @ to_x.axes[:, j] for j in range(found)], correlation ** (2 * power), rtol=1e-6)
    assert n > k or np.abs(np.vstack([to_x.axes, to_y.axes])[:, found:]).max(initial=0) < 1e-6  # no correlation, no weight
    np.testing.assert_allclose(to_x(x), (x - x.mean(0)) @ to_x.axes)


def test_a_planted_rotation_is_found():
    rotation = linalg.qr(np.random.default_rng(3).standard_normal((8, 8)))[0]
    x, new = np.random.default_rng(4).standard_normal((2, 300, 8))
    for power in (0, 2):
        to_x, to_y = weighted_cca(x, x @ rotation + 3, ridge=0.01, power=power)
        nearest = linalg.norm(to_x(new)[:, None] - to_y(new @ rotation + 3)[None], axis=2).argmin(1)
        assert (nearest == np.arange(300)).all()


def test_swapping_the_sides_swaps_the_maps():
    x, y = pairs(100, 6, 4)
    (a, b), (d, c) = weighted_cca(x, y), weighted_cca(y, x)
    np.testing.assert_allclose(a(x) @ b(y).T, c(x) @ d(y).T, atol=1e-10)  # either side's signs are free
    np.testing.assert_allclose(np.abs(a.axes), np.abs(c.axes), atol=1e-8)


# Bad input: one line that names the argument --------------------------------------------------------------------------

def answers(call, name):
    """The call is refused in one line that begins with the argument's name."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ") and ", accepted: " in message and "\n" not in message and len(message) < 240


A = data(9, 3)
NO_TABLE = (None, 3.0, "abc", A[0], A[None], A[:0], A[:, :0], A * np.nan, A + np.inf, [[1.0], [1.0, 2.0]], np.ones((9, 3)))
BAD = [  # the argument, the call that gets it, and what is refused
    ("features", lambda x: whiten(x, 2), (*NO_TABLE, A[:1])), ("d", lambda x: whiten(A, x), (0, -1, 1.5, 2.0, True, "2", None)),
    ("features", whiten(A, 2), (*NO_TABLE[:-1], A[:, :2], A.T)), ("features", Linear(np.zeros(3), np.eye(3)), (np.ones((2, 4)),)),
    ("x", lambda x: weighted_cca(x, A), NO_TABLE), ("y", lambda y: weighted_cca(A, y), (*NO_TABLE, A[:5], A[:1], np.vstack([A, A]))),
    ("y", lambda x: weighted_cca(x, x), (A[:1],)),
    ("ridge", lambda x: weighted_cca(A, A, x), (0, -0.1, np.nan, np.inf, True, "0.1", None)),
    ("power", lambda x: weighted_cca(A, A, power=x), (-2, -0.1, True, "2", np.nan, np.inf, "two", None, [2.0])),
    ("features", lambda x: whiten(x, 2), (np.full((6, 3), 0.1),)), ("x", lambda x: weighted_cca(x, np.eye(6)), (np.full((6, 3), 0.1),)),
]


@pytest.mark.parametrize("name, call, values", BAD, ids=[f"{k} {name}" for k, (name, _, _) in enumerate(BAD)])
def test_bad_input(name, call, values):
    for value in values:
        answers(lambda: call(value), name)
