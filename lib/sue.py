"""SUE, a shared space made almost without pairs (Yacobi et al., arXiv 2505.21524, sec. 4).

    1  on each side, coordinates of a random walk on a graph of neighbours: SpectralEmbedding
    2  CCA of the few pairs in these coordinates
    3  on x's side, a residual network that lays the cloud of x on that of y, by their `mmd`

NumPy in, NumPy out. Ours: Nystrom's formula for new rows (the paper trains SpectralNet), weights
tuned to each row, a ridge in CCA, a network that starts at the identity and is kept as it ends.
"""

import numpy as np
import torch
from scipy.sparse import diags_array
from scipy.sparse.linalg import aslinearoperator, eigsh
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize
from torch import nn

from lib.teachers import weighted_cca
from lib.validation import check_array, check_int

ROUNDING = 1 + 1e-9  # leaves no neighbour outside


class SpectralEmbedding:
    """The d coordinates psi with D^-1 W psi = lambda psi of largest lambda, but for the constant.

    features (n, d_in)  the graph's rows. N(i) are the `neighbours` rows nearest to row i, itself
    among them, s_i is the distance of the last (Zelnik-Manor and Perona 2004), D the row sums of

        W_ij = exp(-|z_i - z_j|^2 / (s_i s_j)) ([j in N(i)] + [i in N(j)])

    embedding(features (m, d_in)) is (m, d), psi(z) = sum_j w(z, j) psi_j / (lambda sum_j w(z, j)),
    for a row of the graph its own, `coordinates` (n, d); a lambda below 0.01 is taken for 0.01.
    """

    def __init__(self, features, d, neighbours=30):
        self.features = check_array("features", features, (None, None))
        n = len(self.features)
        self.last = check_int("neighbours", neighbours, low=2, high=n - 1) - 1
        check_int("d", d, high=n - 2)
        W = kneighbors_graph(self.features, neighbours, mode="distance", include_self=True)
        self.reach = W.data.reshape(n, -1).max(1) * ROUNDING + 1e-12
        W.data = np.exp(-(W.data**2) / (np.repeat(self.reach, neighbours) * self.reach[W.indices]))
        W = W + W.T
        degree = np.asarray(W.sum(1)).ravel()
        root = np.sqrt(degree / degree.sum())
        scale = diags_array(1 / np.sqrt(degree))
        walk = aslinearoperator(scale @ W @ scale)
        constant = aslinearoperator(root[:, None])  # its first eigenvector, which is left out
        start = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(walk - constant @ constant.T, d, which="LA", v0=start)
        self.values = np.maximum(values[::-1], 0.01)
        self.coordinates = vectors[:, ::-1] / root[:, None]

    def __call__(self, features):
        features = check_array("features", features, (None, self.features.shape[1]))
        far = euclidean_distances(features, self.features)
        reach = np.partition(far, self.last)[:, self.last, None] * ROUNDING + 1e-12
        share = (far <= reach) + 1.0 * (far <= self.reach)
        a = np.where(share > 0, far**2 / (reach * self.reach), np.inf)
        w = share * np.exp(a.min(1, keepdims=True) - a)  # a far row keeps a weight
        return w @ self.coordinates / np.outer(w.sum(1), self.values)


def mmd(x, y):
    """Squared maximum mean discrepancy of tensors x (n, d), y (m, d): 0 for the same rows.

    Means over all cells of the sum of exp(-|.|^2 / (c s)), c = 1/2, 1, 2, where s, a constant, is
    the mean squared distance of two of all rows.
    """
    n, both = len(x), torch.cat([x, y])
    squared = torch.cdist(both, both).square()
    s = squared.detach().sum() / (len(both) * (len(both) - 1))
    widest = torch.exp(-squared / (2 * s))
    K = widest + widest**2 + widest**4
    return K[:n, :n].mean() + K[n:, n:].mean() - 2 * K[:n, n:].mean()


class SUE:
    """A shared space; sue.x(features), sue.y(features) are unit rows (n, components), arrays.

    x, y   the SpectralEmbedding of each side, whose first `n_pairs` rows are partners
    d      how many of their coordinates are used; components: directions that CCA keeps
    steps  updates of the residual network, each on 256 rows of both sides; 0: no network
    """

    def __init__(self, x, y, n_pairs, d, components=None, steps=300, seed=0):
        self.sides, self.d = (x, y), check_int("d", d, high=min(len(x.values), len(y.values)))
        check_int("n_pairs", n_pairs, low=2, high=min(len(x.features), len(y.features)))
        all_rows = [side.coordinates[:, :d] for side in self.sides]
        self.cca = weighted_cca(*(z[:n_pairs] for z in all_rows), power=0, d=components)
        clouds = [torch.tensor(f(z)).float() for f, z in zip(self.cca, all_rows)]
        self.residual = _residual(*clouds, check_int("steps", steps, low=0), seed)

    def x(self, features):
        z = self.cca[0](self.sides[0](features)[:, : self.d])
        return normalize(z + self.residual(torch.tensor(z).float()).detach().numpy())

    def y(self, features):
        return normalize(self.cca[1](self.sides[1](features)[:, : self.d]))


def _residual(x, y, steps, seed):
    """The network h, of the authors' size, for which x + h(x) is distributed as y; 0 at first."""
    k = x.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        h = nn.Sequential(nn.Linear(k, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        h.append(nn.Linear(32, k))
        for weight in h[-1].parameters():
            nn.init.zeros_(weight)
        descent = torch.optim.AdamW(h.parameters(), lr=1e-3)
        for _ in range(steps):
            a, b = (z[torch.randint(len(z), (256,))] for z in (x, y))
            descent.zero_grad()
            mmd(a + h(a), b).backward()
            descent.step()
    return h
