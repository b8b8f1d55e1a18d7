"""UML: modality-specific maps around one shared trunk (UML section 3.2); many seeds trained side by side.

A network here is `n_seeds` networks: every weight has a leading seed axis, every product is a batched one, the loss is
the sum over seeds. No weight of one seed ever meets another seed's, and Adam works weight by weight, so each seed
trains exactly as it would alone, for a fraction of the time.
"""
import sys

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from lib.require import positive, refuse, several, whole


class SeededLinear(nn.Module):
    """`n_seeds` layers nn.Linear(d_in, d_out) side by side: (n_seeds, n, d_in) -> (n_seeds, n, d_out)."""

    def __init__(self, layers):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))

    def forward(self, x):
        return torch.baddbmm(self.bias, x, self.weight)


def layer_sizes(n_observed, width, hidden, d_code):
    """(d_in, d_out) of the six layers: in, trunk down to the code in two, trunk up in two, out."""
    return [(n_observed, width), (width, hidden), (hidden, d_code), (d_code, hidden), (hidden, width), (width, n_observed)]


class SharedAutoencoder(nn.Module):
    """The autoencoder of UML appendix E.14, for any number of modalities and several seeds at once.

    Per modality a linear map in (n_observed -> width) and out (width -> n_observed); shared by all, an encoder of two
    linear layers (width -> hidden -> d_code) and a decoder of two (d_code -> hidden -> width), a ReLU between the two.
    The paper gives width 128 and d_code 10; hidden is not given, 64 is ours.

    seeds       one network each; seed s has the weights that nn.Linear draws after torch.manual_seed(s)
    n_adapters  number of modalities with maps of their own
    linear      True leaves the ReLUs out

    Raises ValueError for no seeds, a negative seed, or a size below 1.
    """

    def __init__(self, seeds, n_adapters, n_observed=50, width=128, hidden=64, d_code=10, linear=False):
        super().__init__()
        for name, value in dict(n_adapters=n_adapters, n_observed=n_observed, width=width, hidden=hidden, d_code=d_code).items():
            whole(name, value)
        seeds = several("seeds", seeds, "one or more whole numbers >= 0")
        sizes = layer_sizes(n_observed, width, hidden, d_code)
        plan = sizes[1:5] + [size for _ in range(n_adapters) for size in (sizes[0], sizes[5])]
        per_seed = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(whole("seeds", seed, low=0))
                per_seed.append([nn.Linear(*size) for size in plan])
        layers = [SeededLinear(same) for same in zip(*per_seed)]
        self.trunk = nn.ModuleList(layers[:4])
        self.into, self.out = nn.ModuleList(layers[4::2]), nn.ModuleList(layers[5::2])
        self.activation = nn.Identity() if linear else nn.ReLU()

    def forward(self, xs):
        """Reconstructions of a list with one batch (n_seeds, n, n_observed) per modality."""
        h = torch.cat([into(x) for into, x in zip(self.into, xs)], dim=1)
        h = self.trunk[1](self.activation(self.trunk[0](h)))
        h = self.trunk[3](self.activation(self.trunk[2](h)))
        return [out(part) for out, part in zip(self.out, h.split([x.shape[1] for x in xs], dim=1))]


def _check(name, x, weight):
    """Refuse all but a tensor that `weight` (n_seeds, n_observed, width) can be multiplied with, with finite values."""
    accepted = f"a finite {weight.dtype} tensor of shape ({weight.shape[0]}, any, {weight.shape[1]}) on {weight.device}"
    if not isinstance(x, torch.Tensor):
        refuse(name, type(x), accepted)
    if (x.dtype, x.device, x.ndim) != (weight.dtype, weight.device, 3) or x.shape[1] == 0 or x.shape[::2] != weight.shape[:2]:
        refuse(name, f"{x.dtype}, shape {tuple(x.shape)}, {x.device}", accepted)
    if not torch.isfinite(x).all():
        refuse(name, "NaN or infinite values", accepted)


def train(model, data, test, batch_sizes, lr, steps, every=50, seed=0, progress=""):
    """Train on unpaired batches with Adam: L = sum over modalities of mean squared error (UML algorithm 1, lambda = 1).

    data         a list, one tensor (n_seeds, n_k, n_observed) per modality; rows of two modalities never belong together
    test         (n_seeds, n, n_observed), read as modality 0
    batch_sizes  one number per modality
    lr           learning rate; steps: number of updates; every: distance of two tests, in steps
    seed         of the batches; progress: the label of a progress bar, none where empty

    Returns (steps_tested (t,), test_mse (t, n_seeds)); the first test comes before the first update.
    Raises ValueError for empty or mismatched input, NaN included.
    """
    lr, steps, every, seed = positive("lr", lr), whole("steps", steps), whole("every", every), whole("seed", seed, low=0)
    data, batch_sizes = several("data", data, "one tensor per modality"), several("batch_sizes", batch_sizes, "one number per modality")
    if len(data) != len(model.into) or len(batch_sizes) != len(data):
        refuse("data", f"{len(data)} modalities with {len(batch_sizes)} batch sizes", f"{len(model.into)} of each, one per adapter")
    for name, x in [*((f"data[{k}]", x) for k, x in enumerate(data)), ("test", test)]:
        _check(name, x, model.into[0].weight)
    batch_sizes = [whole("batch_sizes", size) for size in batch_sizes]
    rows = torch.arange(len(test), device=test.device)[:, None]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    def test_error():
        with torch.no_grad():
            return ((model([test])[0] - test) ** 2).mean((1, 2)).cpu()

    curve = [test_error()]
    bar = tqdm(range(1, steps + 1), desc=progress, disable=not progress, file=sys.stdout, mininterval=0.5,
               bar_format="{desc:<34}{bar:24} {n_fmt}/{total_fmt} updates, {remaining} left")
    for step in bar:
        draws = [torch.randint(x.shape[1], (len(x), n), generator=generator).to(x.device) for x, n in zip(data, batch_sizes)]
        xs = [x[rows, draw] for x, draw in zip(data, draws)]
        loss = sum(((x_hat - x) ** 2).mean((1, 2)).sum() for x_hat, x in zip(model(xs), xs))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == 0:
            curve.append(test_error())
    return np.arange(0, steps + 1, every), torch.stack(curve).numpy()
