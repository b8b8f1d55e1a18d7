"""Encoders that look at one modality alone and are then frozen.

    image    Pixels | PatchDictionary | MaskedAutoencoder (its step 0: random convolutions)
    caption  BagOfWords | CaptionHalves
    sound    PatchDictionary

An encoder has `encode(samples) -> (n, d)`, NumPy float32. Samples are what `World.look` gives:
images (n, h, w, 3) uint8, captions as a list of strings, log-mel spectrograms (n, bands, frames)
float32. lib.pretraining trains them.
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import eigh
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch import nn

from lib.losses import infonce
from lib.validation import invalid


class Encoder(nn.Module):
    """Base: `tensor(samples)` makes numbers of samples, `forward` makes features of numbers."""

    CHUNK = 50  # so few stay in the processor's cache: for a dictionary ten times faster than 500
    ENOUGH = 2**32  # samples to learn from; more are left out
    SHAPE = (3, 32, 32)  # channels, height and width of a picture

    @torch.no_grad()
    def encode(self, samples):
        """Features (n, d), NumPy float32, of one or more samples of the encoder's modality."""
        if not isinstance(samples, list | np.ndarray) or len(samples) == 0:
            got = f"{type(samples).__name__} of shape {np.shape(samples)}"
            raise invalid("samples", got, "an array, or a list of captions, of one or more")
        device = next((t.device for t in self.state_dict().values()), "cpu")
        return torch.cat([self(x.to(device)).cpu() for x in self.chunks(samples)]).numpy()

    def chunks(self, samples):
        return (
            self.tensor(samples[k : k + self.CHUNK]) for k in range(0, len(samples), self.CHUNK)
        )

    def tensor(self, samples):
        return pictures(samples, self.SHAPE)


def pictures(samples, shape=None):
    """Images or spectrograms as float32 (n, channels, h, w), of about unit scale.

    Raises ValueError for anything else, and for other (channels, h, w) than `shape`.
    """
    dtype, size = getattr(samples, "dtype", type(samples).__name__), np.shape(samples)
    x = None
    if dtype == np.uint8 and len(size) == 4 and size[3] == 3:
        x = torch.from_numpy(samples.copy()).permute(0, 3, 1, 2).float() / 255
    elif dtype == np.float32 and len(size) == 3 and np.isfinite(samples).all():
        x = torch.from_numpy(samples.copy())[:, None] / 10 + 1
    if x is None or shape not in (None, tuple(x.shape[1:])):
        accepted = "images (n, h, w, 3) uint8 or finite spectrograms (n, bands, frames) float32"
        raise invalid("samples", f"{dtype}, shape {size}", f"{accepted}; (channels, h, w) {shape}")
    return x


class Pixels(Encoder):
    """No encoder at all: the mean of every square of 2 x 2 pixels."""

    def forward(self, x):
        return F.avg_pool2d(x, 2).flatten(1)


class PatchDictionary(Encoder):
    """How strongly each of k learned patches is present in each part of a picture.

    After Coates, Lee and Ng (2011) and Coates and Ng (2011). A patch is normalised to its own mean
    and contrast and whitened; what it says is relu(<patch, atom_j> - THRESHOLD), averaged over the
    cells of a coarse grid. Because that forgets colour and loudness, the mean logarithm of a finer
    grid joins them. The features are the principal components. state: as `fit` returns it.
    """

    SIZE, STRIDE, THRESHOLD, SOFT, COARSE, FINE, D = 6, 2, 0.25, 0.003, 4, 8, 256
    ENOUGH = 5000

    def __init__(self, state):
        super().__init__()
        for name, tensor in state.items():
            self.register_buffer(name, tensor)
        self.SHAPE = tuple(state["shape"].tolist())

    @classmethod
    def fit(cls, samples, n_patches, learn=True, seed=0):
        """The state learned from samples; with random patches, not learned ones, if not `learn`."""
        rng = np.random.default_rng([seed, 1])
        x = pictures(samples[:3000])
        if len(x) < 2 or len(x) * 9 < n_patches:
            accepted = f"at least {max(2, -(-n_patches // 9))} for {n_patches} patches"
            raise invalid("n_samples", len(x), accepted)
        patches = F.unfold(x, cls.SIZE, stride=3).transpose(1, 2).flatten(0, 1).numpy()
        patches = patches[rng.choice(len(patches), min(40_000, len(patches)), replace=False)]
        contrast = np.sqrt(patches.var(1, keepdims=True) + cls.SOFT)
        patches = (patches - patches.mean(1, keepdims=True)) / contrast
        mean = patches.mean(0)
        values, vectors = np.linalg.eigh(np.cov(patches.T))
        whitening = vectors / np.sqrt(values + 0.1) @ vectors.T
        atoms = rng.standard_normal((n_patches, len(mean)))
        if learn:
            settings = {"n_init": 1, "batch_size": 2000, "max_iter": 30, "random_state": seed}
            with threadpool_limits(1):  # the sums of several threads would depend on their number
                clusters = MiniBatchKMeans(n_patches, **settings).fit((patches - mean) @ whitening)
            atoms = clusters.cluster_centers_
        filters = atoms / np.linalg.norm(atoms, axis=1, keepdims=True) @ whitening
        state = {
            "filters": torch.from_numpy(filters).float().reshape(n_patches, -1, cls.SIZE, cls.SIZE),
            "bias": torch.from_numpy(-filters @ mean - cls.THRESHOLD).float(),
            "shape": torch.tensor(x.shape[1:]),
        }
        encoder = cls(state)
        cells = torch.cat([encoder.cells(x) for x in encoder.chunks(samples)])
        m = cells.shape[1]
        _, axes = eigh(torch.cov(cells.T).numpy(), subset_by_index=[max(0, m - cls.D), m - 1])
        axes = torch.from_numpy(axes[:, ::-1].copy())
        return {**state, "centre": cells.mean(0), "axes": axes}

    @torch.no_grad()
    def cells(self, x):
        """x (n, c, h, w) -> what the projection gets, (n, k * COARSE^2 + c * FINE^2)."""
        mean_filter = torch.full_like(self.filters[:1], 1 / self.filters[0].numel())
        mean = F.conv2d(x, mean_filter, stride=self.STRIDE)
        variance = F.conv2d(x * x, mean_filter, stride=self.STRIDE) - mean**2
        contrast = torch.sqrt(variance.clamp_min(0) + self.SOFT)
        match = F.conv2d(x, self.filters, stride=self.STRIDE)
        match -= mean * self.filters.sum((1, 2, 3))[:, None, None]
        present = match.div_(contrast).add_(self.bias[:, None, None]).relu_()
        present = F.adaptive_avg_pool2d(present, self.COARSE)
        tone = F.adaptive_avg_pool2d(torch.log(x.clamp_min(0) + 0.05), self.FINE)
        return torch.cat([present.flatten(1), tone.flatten(1)], 1)

    def forward(self, x):
        return (self.cells(x) - self.centre) @ self.axes


class BagOfWords(Encoder):
    """How often each word of a vocabulary, a list of words, occurs; others count nowhere."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary = vocabulary
        self.index = {word: k for k, word in enumerate(vocabulary)}

    def tensor(self, captions):
        """Word numbers (n, longest), padded with len(vocabulary)."""
        if not isinstance(captions, list) or not all(isinstance(c, str) for c in captions):
            raise invalid("samples", type(captions).__name__, "a list of captions (strings)")
        rows = [[self.index[w] for w in c.split() if w in self.index] for c in captions]
        lengths = np.array([len(row) for row in rows])
        words = np.full((len(rows), lengths.max(initial=0)), len(self.vocabulary))
        words[np.arange(words.shape[1]) < lengths[:, None]] = list(itertools.chain(*rows))
        return torch.from_numpy(words)

    def forward(self, words, weight=1.0):
        """Counts (n, len(vocabulary)); `weight`, a number or (n, longest), is each word's worth."""
        weight = torch.as_tensor(weight, device=words.device).expand(words.shape)
        counts = torch.zeros(len(words), len(self.vocabulary) + 1, device=words.device)
        return counts.scatter_add_(1, words, weight)[:, :-1]


class CaptionHalves(BagOfWords):
    """A vector per word, their sum per caption, so that the parts of a caption find each other.

    Cut at a random place, both parts speak of the same scene in other words. InfoNCE keeps what
    they share, the scene, and puts two words for one thing on one vector. In the manner of Giorgi
    et al. (2021, DeCLUTR), without a transformer.
    """

    BATCH, LR, TEMPERATURE, CUT = 512, 3e-3, 0.1, (0.35, 0.8)

    def __init__(self, vocabulary, d=48, seed=0):
        super().__init__(vocabulary)
        generator = torch.Generator().manual_seed(seed)
        self.vectors = nn.Parameter(0.05 * torch.randn(len(vocabulary), d, generator=generator))

    def forward(self, words, weight=1.0):
        return super().forward(words, weight) @ self.vectors

    def loss(self, words, generator):
        length = (words < len(self.vocabulary)).sum(1, keepdim=True)
        low, high = self.CUT
        cut = length * (low + (high - low) * torch.rand(len(words), 1, generator=generator))
        first = (torch.arange(words.shape[1]) < cut.round()).float()
        a, b = (F.normalize(self(words, part)) for part in (first, 1 - first))
        return infonce(a @ b.T / self.TEMPERATURE)


class MaskedAutoencoder(Encoder):
    """Three convolutions to a code, from which the picture is painted though half was hidden.

    Hidden are squares of 4 x 4 pixels; a fourth channel says which. He et al. (2022) hide patches
    of a transformer; here the encoder is convolutional, `width` channels at first, and the loss is
    over all pixels.
    """

    BATCH, LR, HIDDEN, SQUARE, D = 128, 2e-3, 0.5, 4, 128

    def __init__(self, width=24, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = itertools.pairwise((4, width, 2 * width, 4 * width))
            layers = [nn.Sequential(nn.Conv2d(i, o, 4, 2, 1), nn.GELU()) for i, o in sizes]
            self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * width, self.D))
            self.decoder = nn.Sequential(nn.Linear(self.D, 256), nn.GELU(), nn.Linear(256, 3072))
        self.to(memory_format=torch.channels_last)

    def code(self, x, seen):
        x = torch.cat([(x - 0.45) * 4 * seen, seen.expand(len(x), 1, 32, 32)], 1)
        return self.encoder(x.contiguous(memory_format=torch.channels_last))

    def forward(self, x):
        return self.code(x, torch.ones_like(x[:, :1]))

    def loss(self, x, generator):
        side = 32 // self.SQUARE
        seen = torch.rand(len(x), 1, side, side, generator=generator) > self.HIDDEN
        seen = F.interpolate(seen.float(), scale_factor=self.SQUARE)
        painted = self.decoder(self.code(x, seen)).reshape(x.shape)
        return F.mse_loss(painted, (x - 0.45) * 4)
