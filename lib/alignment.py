"""Alignment of two frozen spaces with few pairs and many unpaired rows: a method is its loss.

    maps   f and g, linear: features (n, d_x), (n, d_y) -> (n, d), of which only directions count
    batch  pairs a, b and unpaired rows x, y, drawn anew for every update
    loss   loss(maps, batch) -> a number: a function, or an nn.Module with numbers of its own

SOTAlign (arXiv 2602.23353, algorithm 1) is here, the methods that it is compared with are in
lib.baselines. All have the same maps, batches, optimiser, schedule and validation score.
"""

import copy
import functools
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lion_pytorch import Lion
from torch import nn

from lib import training
from lib.losses import cka_divergence, cosines, infonce, infonce_divergence, siglip
from lib.metrics import mean_recall_at_1
from lib.teachers import Linear
from lib.transport import klot
from lib.validation import check_choice, check_int, check_nonnegative, check_tensor, invalid


class Maps(nn.Module):
    """f: d_x -> d and g: d_y -> d, each linear with a bias."""

    def __init__(self, d_x, d_y, d):
        super().__init__()
        self.f = nn.Linear(d_x, check_int("d", d))
        self.g = nn.Linear(d_y, d)


class Batch(NamedTuple):
    """What a loss sees in an update: pairs, the rows `pair` of all, and unpaired rows or None."""

    a: torch.Tensor  # (p, d_x)
    b: torch.Tensor  # (p, d_y)
    x: torch.Tensor | None = None  # (n, d_x)
    y: torch.Tensor | None = None  # (m, d_y)
    pair: torch.Tensor | None = None  # (p,)
    step: int = 0

    def unpaired(self):
        """x and y, for a loss that cannot do without them."""
        if self.x is None:
            raise invalid("unpaired", None, "unpaired features: this loss needs them")
        return self.x, self.y


@dataclass(eq=False)
class Aligned:
    """Trained maps and loss; aligned.x(x), aligned.y(y) are unit rows (n, d), arrays of arrays."""

    maps: Maps
    loss: object
    losses: np.ndarray | None = None  # (steps,), before each update
    scored: np.ndarray | None = None  # (t,), the numbers of updates before each score
    scores: np.ndarray | None = None  # (t,)

    def x(self, features):
        return _embed("x", self.maps.f, features)

    def y(self, features):
        return _embed("y", self.maps.g, features)


@torch.no_grad()
def _embed(name, map_, features):
    is_tensor = isinstance(features, torch.Tensor)
    if not is_tensor:
        features = torch.from_numpy(np.array(features, order="C"))  # torch reads none backwards
    features = check_tensor(name, features.to(map_.weight), (None, map_.in_features))
    unit = F.normalize(map_(features), dim=1)
    return unit if is_tensor else unit.cpu().numpy()


class SigLIP(nn.Module):
    """The sigmoid loss of scale * cosines + bias, a mean over its terms (Zhai et al. 2023).

    u (n, d), v (m, d), m >= n: row i of v is the partner of row i of u. Scale and bias are learned
    as they stand (Zhai et al. learn the scale's logarithm); with Lion they hardly move.
    """

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, u, v):
        return siglip(self.scale * cosines(u, v) + self.bias)


class SOTAlign(nn.Module):
    """SigLIP(K[f(A), g(B)], I) + alpha DIV(K[f(X), g(Y)], K[X W_x, Y W_y]) (SOTAlign eq. 5).

    teacher     (W_x, W_y), two lib.teachers.Linear
    alpha       0 is SAIL, exactly. The paper's 1e-3 to 1e-5 are for 10,000 pairs: SigLIP starts at
                about 10 / p for p pairs, so that fewer need a larger alpha for the same balance
    divergence  'klot' (eq. 12), 'infonce' (eq. 10) or 'cka' (eq. 9)
    epsilon, epsilon_teacher  temperatures of student and teacher, for klot and infonce
    tolerance   marginal error of klot's plans, which have mass 1
    """

    def __init__(
        self, teacher, alpha, divergence="klot", epsilon=0.05, epsilon_teacher=0.01, tolerance=1e-3
    ):
        super().__init__()
        epsilons = {"epsilon": epsilon, "epsilon_teacher": epsilon_teacher}
        divergences = {
            "klot": functools.partial(klot, **epsilons, tolerance=tolerance),
            "infonce": functools.partial(infonce_divergence, **epsilons),
            "cka": cka_divergence,
        }
        self.divergence = divergences[check_choice("divergence", divergence, divergences)]
        self.alpha = check_nonnegative("alpha", alpha)
        self.siglip = SigLIP()
        self.teacher = maps_of(teacher).requires_grad_(False)

    def forward(self, maps, batch):
        loss = self.siglip(maps.f(batch.a), maps.g(batch.b))
        if self.alpha == 0:
            return loss
        x, y = batch.unpaired()
        teacher = self.teacher.f(x), self.teacher.g(y)
        return loss + self.alpha * self.divergence(maps.f(x), maps.g(y), *teacher)


def align(
    loss,
    pairs,
    unpaired=None,
    d=None,
    *,
    steps,
    lr,
    batch_size,
    max_pairs=None,
    start=None,
    optimizer="lion",
    weight_decay=1e-5,
    score=None,
    every=50,
    seed=0,
    progress="",
):
    """Train f, g and a copy of `loss` on pairs and unpaired rows (SOTAlign alg. 1): an Aligned.

    pairs       (x (n, d_x), y (n, d_y)), float tensors whose rows belong together
    unpaired    (x (n_x, d_x), y (n_y, d_y)), whose rows belong to nobody, or None
    d           width of the shared space; with `start`, its first d directions, or all
    steps, lr   updates, and the rate, which falls to 0 on a half cosine (paper: 2,000 and 1e-4)
    batch_size  rows of each side per update: all pairs, or `max_pairs` drawn anew, then as many
                unpaired rows as fit. max_pairs left out: half of it, if there are unpaired rows
    start       (W_x, W_y), two lib.teachers.Linear, to begin with instead of random maps
    optimizer   'lion' (the paper's) or 'adam'; weight decay spares what the loss itself learns
    score       validation score(aligned), each `every` updates, by which the best weights are kept
    seed        of weights and batches, the same on every device; progress: the words of a bar

    Raises ValueError for what does not fit, and for a training that diverges.
    """
    check_pairs(pairs, unpaired)
    x, y = pairs
    if max_pairs is None:
        max_pairs = batch_size if unpaired is None else batch_size // 2
    n = len(x)
    n_pairs = min(check_int("max_pairs", max_pairs), batch_size, n)
    n_rest = batch_size - n_pairs
    if unpaired is not None and n_rest == 0:
        raise invalid("max_pairs", max_pairs, f"< {batch_size}, or no unpaired row has a place")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        maps = Maps(x.shape[1], y.shape[1], d) if start is None else maps_of(start, d)
    maps.to(x)
    loss = copy.deepcopy(loss)
    learned = list(loss.to(x).parameters()) if isinstance(loss, nn.Module) else []
    groups = [{"params": list(maps.parameters())}, {"params": learned, "weight_decay": 0.0}]
    optimizers = {"lion": Lion, "adam": torch.optim.AdamW}
    make = optimizers[check_choice("optimizer", optimizer, optimizers)]
    descent = make(groups, lr=check_nonnegative("lr", lr), weight_decay=weight_decay)
    of_pairs, of_rest = (torch.Generator().manual_seed(2 * seed + k) for k in (0, 1))
    losses = np.empty(steps)
    scores = {}
    best = maps, loss
    for step in itertools.chain(training.progress(range(steps), progress), [steps]):
        if score is not None and (step % every == 0 or step == steps):
            value = float(score(Aligned(maps, loss)))
            if np.isnan(value):
                raise invalid("score", f"NaN after {step} updates", "a number")
            if not scores or value > max(scores.values()):
                best = copy.deepcopy((maps, loss))
            scores[step] = value
        if step == steps:
            break
        pair = torch.arange(n) if n_pairs == n else torch.randperm(n, generator=of_pairs)[:n_pairs]
        rest = [z[torch.randperm(len(z), generator=of_rest)[:n_rest]] for z in unpaired or ()]
        value = loss(maps, Batch(x[pair], y[pair], *rest, pair=pair, step=step))
        descent.zero_grad()
        value.backward()
        for group in descent.param_groups:
            group["lr"] = lr * training.warmup_cosine(step, steps)
        descent.step()
        losses[step] = value.item()
        largest = torch.stack([weight.detach().abs().max() for weight in maps.parameters()]).max()
        if not (np.isfinite(losses[step]) and largest < 1e12):  # beyond, cosines overflow
            got = f"{losses[step]:g}, weights up to {largest:g}, in update {step + 1}"
            raise invalid("loss", got, "finite numbers; a lower lr helps")
    return Aligned(*best, losses, np.array([*scores], dtype=int), np.array([*scores.values()]))


def recall(x, y):
    """A `score`: MeanR@1 of validation pairs x (n, d_x), y (n, d_y)."""
    return lambda aligned: mean_recall_at_1(aligned.x(x), aligned.y(y))


class _Contrastive(SigLIP):
    """InfoNCE or SigLIP of the pairs, under the maps without their biases."""

    def __init__(self, loss):
        super().__init__()
        self.loss = check_choice("loss", loss, ("infonce", "siglip"))

    def forward(self, maps, batch):
        u, v = batch.a @ maps.f.weight.T, batch.b @ maps.g.weight.T
        if self.loss == "siglip":
            return super().forward(u, v)
        return infonce(self.scale * cosines(u, v))


def contrastive(
    x, y, d, loss="infonce", steps=300, lr=0.01, weight_decay=0.1, batch_size=1024, seed=0
):
    """Linear teachers trained on the pairs alone (SOTAlign sec. 4): two lib.teachers.Linear.

    x (n, d_x), y (n, d_y)  arrays; d  width of the shared space; settings as in `align`
    loss  'infonce', or 'siglip', the linear SAIL, which may part partners if d is very small. Its
          learned scale starts at 20, is no logarithm, and hardly moves within 300 steps of 0.01
    """
    means = np.mean(x, 0), np.mean(y, 0)
    pairs = [torch.tensor(z - mean, dtype=torch.float32) for z, mean in zip((x, y), means)]
    settings = {"steps": steps, "lr": lr, "weight_decay": weight_decay, "batch_size": batch_size}
    maps = align(_Contrastive(loss), pairs, d=d, optimizer="adam", seed=seed, **settings).maps
    axes = [map_.weight.detach().T.numpy() for map_ in (maps.f, maps.g)]
    return Linear(means[0], axes[0]), Linear(means[1], axes[1])


def check_pairs(pairs, unpaired=None):
    """Refuse pairs (x, y), and unpaired features (x, y), that do not fit together."""
    x, y = pairs
    check_tensor("pairs, x", x)
    check_tensor("pairs, y", y, (len(x), None), like=x)
    for side, z, like in zip("xy", unpaired or (), pairs):
        check_tensor(f"unpaired, {side}", z, (None, like.shape[1]), like)


def maps_of(sides, d=None):
    """Maps of two lib.teachers.Linear, as large as random ones: no cosine changes."""
    axes = [side.axes[:, :d] for side in sides]
    with torch.random.fork_rng(devices=[]):
        maps = Maps(len(axes[0]), len(axes[1]), axes[0].shape[1])
    for map_, side, w in zip((maps.f, maps.g), sides, axes):
        w = w / np.sqrt(3 * len(w) * np.mean(w**2))  # torch draws with mean square 1 / (3 d_in)
        map_.weight.data = torch.from_numpy(np.array(w.T, order="C"))
        map_.bias.data = torch.from_numpy(-side.mean @ w)
    return maps
