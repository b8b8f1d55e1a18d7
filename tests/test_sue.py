"""Spectral coordinates against their equation in plain loops, MMD likewise; the whole; refusals."""

import math

import numpy as np
import pytest
import torch
from plain import assert_refused, normal
from sklearn.metrics import euclidean_distances

from lib.metrics import mean_recall_at_1, recall_at_k
from lib.sue import SUE, SpectralEmbedding, mmd


def clusters(n, k, seed):
    """n rows in the plane around k centres on a circle, and the number of each row's centre."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    angles = 2 * np.pi * labels / k
    centres = 10 * np.stack([np.cos(angles), np.sin(angles)], 1)
    return centres + rng.standard_normal((n, 2)), labels


def plain_weights(z, neighbours):
    D = euclidean_distances(z)
    np.fill_diagonal(D, 0)
    near = np.argsort(D, 1)[:, :neighbours]
    s = [D[i, near[i, -1]] for i in range(len(z))]
    W = np.zeros_like(D)
    for i in range(len(z)):
        for j in near[i]:
            W[i, j] += math.exp(-(D[i, j] ** 2) / (s[i] * s[j]))
            W[j, i] += math.exp(-(D[i, j] ** 2) / (s[i] * s[j]))
    return W


def test_coordinates_solve_their_equation():
    z = normal(80, 3).numpy()
    embedding = SpectralEmbedding(z, 5, 12)
    W = plain_weights(z, 12)
    walk = W / W.sum(1, keepdims=True)
    psi = embedding.coordinates
    np.testing.assert_allclose(walk @ psi, psi * embedding.values, atol=1e-10)
    exact = np.sort(np.linalg.eigvals(walk).real)[::-1]
    np.testing.assert_allclose(embedding.values, exact[1:6], atol=1e-10)
    share = W.sum(1) / W.sum()  # the walk's stationary law: orthonormal, and none is constant
    np.testing.assert_allclose(psi.T * share @ psi, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(share @ psi, 0, atol=1e-10)


def test_coordinates_part_clusters_even_where_the_graph_falls_apart():
    z, labels = clusters(300, 3, seed=0)
    for neighbours in (10, 150):  # three pieces, or one
        psi = SpectralEmbedding(z, 2, neighbours).coordinates
        means = np.stack([psi[labels == k].mean(0) for k in range(3)])
        assert (euclidean_distances(psi, means).argmin(1) == labels).all()


def test_a_row_of_the_graph_is_a_new_row():
    z = normal(200, 4).numpy()
    embedding = SpectralEmbedding(z, 6, 15)
    np.testing.assert_allclose(embedding(z), embedding.coordinates, atol=1e-9)
    np.testing.assert_allclose(embedding(z[7:8]), embedding.coordinates[7:8], atol=1e-9)
    moved = SpectralEmbedding(3 * z + 5, 6, 15)  # neither place nor scale counts
    np.testing.assert_allclose(moved.coordinates, embedding.coordinates, atol=1e-7)


def test_new_rows_of_the_same_law_agree_with_a_graph_that_knows_them():
    z, _ = clusters(900, 3, seed=1)
    small, large = (SpectralEmbedding(z[:n], 2, 200) for n in (600, 900))
    known, new = large.coordinates[600:], small(z[600:])
    turned = new @ np.linalg.lstsq(new, known)[0]  # equal lambdas: any basis will do
    assert 1 - (known - turned).var(0) / known.var(0) == pytest.approx(1, abs=0.02)


def test_equal_rows_and_a_far_row_have_places():
    z = np.repeat(normal(40, 3).numpy(), 5, 0)
    embedding = SpectralEmbedding(z, 4, 4)  # every row's neighbours are its own copies
    assert np.isfinite(embedding.coordinates).all()
    assert np.isfinite(embedding(np.full((1, 3), 1e3))).all()


def plain_mmd(x, y):
    both = [*x, *y]
    n = len(both)
    s = sum(float(((p - q) ** 2).sum()) for p in both for q in both) / (n * (n - 1))

    def mean(a, b):
        cells = [float(((p - q) ** 2).sum()) for p in a for q in b]
        return sum(math.exp(-cell / (c * s)) for cell in cells for c in (0.5, 1, 2)) / len(cells)

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def test_mmd_is_the_plain_loop_and_zero_for_the_same_rows():
    x, y = normal(7, 3, seed=1), 1 + normal(9, 3, seed=2)
    assert mmd(x, y).item() == pytest.approx(plain_mmd(x, y), abs=1e-12)
    assert mmd(x, y).item() == pytest.approx(mmd(y, x).item()) and mmd(x, y).item() > 0.1
    assert mmd(x, x.flip(0)).item() == pytest.approx(0, abs=1e-12)
    x.requires_grad_()
    assert torch.isfinite(torch.autograd.grad(mmd(x, x), x)[0]).all()


# The whole


def two_views(seed, n, n_unpaired):
    """Two nonlinear views of one plane of clusters: pairs, unpaired rows, test pairs."""
    z, _ = clusters(n + 2 * n_unpaired + 200, 5, seed)
    z = z * [1.0, 0.6] + [0, 3]  # a shape that turned or mirrored is another
    loadings = np.random.default_rng([seed, 1]).standard_normal((2, 2, 12))
    x, y = np.tanh(z @ loadings[0] / 8), np.sin(z @ loadings[1] / 12)
    cuts = np.split(np.arange(len(z)), [n, n + n_unpaired, n + 2 * n_unpaired])
    return (x[cuts[0]], y[cuts[0]]), (x[cuts[1]], y[cuts[2]]), (x[cuts[3]], y[cuts[3]])


def fitted(pairs, rest, **settings):
    sides = [SpectralEmbedding(np.concatenate(rows), 8, 20) for rows in zip(pairs, rest)]
    return SUE(*sides, len(pairs[0]), 8, **settings)


def test_a_clustered_world_is_aligned_from_few_pairs():
    pairs, rest, test = two_views(0, 30, 500)
    sue = fitted(pairs, rest, components=4, steps=40)
    u, v = sue.x(test[0]), sue.y(test[1])
    assert u.shape == v.shape == (200, 4)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1)
    assert recall_at_k(u, v, 10) > 0.3 and mean_recall_at_1(u, v) > 0.04  # by chance .05 and .005
    torn = fitted((pairs[0], pairs[1][::-1]), rest, components=4, steps=40)
    assert recall_at_k(torn.x(test[0]), torn.y(test[1]), 10) < 0.15
    again = fitted(pairs, rest, components=4, steps=40)
    assert np.array_equal(u, again.x(test[0]))


def test_the_network_starts_at_the_identity_and_brings_the_clouds_together():
    pairs, rest, _ = two_views(1, 8, 500)

    def gap(sue):
        clouds = [torch.tensor(f(side.coordinates)).float() for f, side in zip(sue.cca, sue.sides)]
        moved = clouds[0] + sue.residual(clouds[0])
        return mmd(moved, clouds[1]).item(), mmd(*clouds).item()

    none, trained = (gap(fitted(pairs, rest, steps=steps)) for steps in (0, 200))
    assert none[0] == none[1] and trained[0] < 0.5 * none[0]


PAIRS, REST, _ = two_views(2, 20, 60)
SIDES = [SpectralEmbedding(np.concatenate(rows), 6, 10) for rows in zip(PAIRS, REST)]


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: SpectralEmbedding(np.full((9, 2), np.nan), 2, 3), "features"),
        (lambda: SpectralEmbedding(np.zeros(9), 2, 3), "features"),
        (lambda: SpectralEmbedding(np.eye(9), 0, 3), "d"),
        (lambda: SpectralEmbedding(np.eye(9), 8, 3), "d"),
        (lambda: SpectralEmbedding(np.eye(9), 2, 1), "neighbours"),
        (lambda: SpectralEmbedding(np.eye(9), 2, 9), "neighbours"),
        (lambda: SIDES[0](np.zeros((3, 5))), "features"),
        (lambda: SIDES[0](["a"]), "features"),
        (lambda: SUE(*SIDES, 81, 4), "n_pairs"),
        (lambda: SUE(*SIDES, 1, 4), "n_pairs"),
        (lambda: SUE(*SIDES, 20, 7), "d"),
        (lambda: SUE(*SIDES, 20, 4, components=0), "d"),
        (lambda: SUE(*SIDES, 20, 4, steps=-1), "steps"),
    ],
)
def test_bad_input(call, name):
    assert_refused(call, name)
