"""Encoders that look at one modality alone and are then frozen; their weights and features kept in the cache.

Every encoder has `encode(samples) -> (n, d)`, NumPy float32, a `modality` (image, caption or sound) and a `key`, a dict of everything
that shaped it. Nothing else is asked of an encoder by `features`, by metrics or by notebooks. Samples are what `World.look` gives:
images (n, h, w, 3) uint8, captions as a list of strings, log-mel spectrograms (n, bands, frames).

    image    Pixels | MaskedAutoencoder (its step 0: random convolutions) | PatchDictionary (or with random patches)
    caption  BagOfWords | CaptionHalves
    sound    PatchDictionary

`pretrained` loads or trains any of them. Training is a chain of stages; each is an entry of the cache that continues the one
before, so that an interrupted training resumes at its last stage and the stages serve as snapshots.
"""
import functools
import hashlib
import inspect
import sys

import numpy as np
import sklearn
import torch
import torch.nn.functional as F
from scipy.linalg import eigh
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch import nn
from tqdm import tqdm

from lib import cache, world as worlds
from lib.require import refuse, whole


class Encoder(nn.Module):
    """Base of our encoders: `tensor(samples)` makes numbers of them, `forward` makes features of the numbers."""

    chunk = 50  # what so few samples need stays in the processor's cache: for the dictionary ten times faster than 500
    key, modality, SHAPE = {}, "image", (3, 32, 32)

    @property
    def device(self):
        return next((t.device for t in [*self.parameters(), *self.buffers()]), torch.device("cpu"))

    @torch.no_grad()
    def encode(self, samples):
        """Features (n, d), NumPy float32, of n samples; computed `chunk` samples at a time, with gradients off.

        Raises ValueError for anything but one or more samples of the encoder's own modality.
        """
        if not isinstance(samples, (list, np.ndarray)) or len(samples) == 0:
            refuse("samples", type(samples).__name__ if len(np.shape(samples)) == 0 else "none", "an array, or a list of captions, with one or more samples")
        parts = (self.tensor(samples[k:k + self.chunk]).to(self.device) for k in range(0, len(samples), self.chunk))
        return torch.cat([self(part).cpu() for part in parts]).numpy()

    def tensor(self, samples):
        return pictures(samples, self.SHAPE)


def pictures(samples, shape=None):
    """Images or spectrograms as float32 (n, channels, h, w), of about unit scale; refuses any (channels, h, w) but `shape`."""
    if isinstance(samples, np.ndarray) and samples.dtype == np.uint8 and samples.ndim == 4 and samples.shape[3] == 3:
        x = torch.from_numpy(samples.copy()).permute(0, 3, 1, 2).float() / 255
    elif isinstance(samples, np.ndarray) and samples.dtype == np.float32 and samples.ndim == 3:
        x = torch.from_numpy(samples.copy())[:, None] / 10 + 1
        if not torch.isfinite(x).all():
            refuse("samples", "spectrograms with NaN or infinite values", "finite ones")
    else:
        refuse("samples", f"{getattr(samples, 'dtype', type(samples).__name__)}, shape {getattr(samples, 'shape', '?')}",
               "images (n, h, w, 3) uint8 or spectrograms (n, bands, frames) float32")
    if shape and tuple(x.shape[1:]) != tuple(shape):
        refuse("samples", f"(channels, h, w) {tuple(x.shape[1:])}", f"{tuple(shape)}")
    return x


class Pixels(Encoder):
    """No encoder at all: the mean of every square of 2 x 2 pixels."""

    def forward(self, x):
        return F.avg_pool2d(x, 2).flatten(1)


# Patches: one layer, learned by clustering --------------------------------------------------------------------------------

class PatchDictionary(Encoder):
    """How strongly each of k learned patches is present in each part of a picture (after Coates, Lee and Ng 2011; Coates and Ng 2011).

    A patch is normalised to its own mean and contrast and whitened; its features are relu(<patch, atom_j> - threshold), averaged over
    the cells of a coarse grid. Because contrast normalisation forgets colour and loudness, the mean logarithm of a finer grid joins them.
    The principal components of all that are the features. In all: one convolution, one pooling, one projection.

    state  from `fit`: filters (k, c, p, p), bias (k,), centre (m,), axes (m, d), shape (3,) of the pictures
    """

    STRIDE, SOFT, COARSE, FINE, ENOUGH = 2, 0.003, 4, 8, 5000

    def __init__(self, state):
        super().__init__()
        for name, tensor in state.items():
            self.register_buffer(name, tensor)
        self.SHAPE = tuple(state["shape"].tolist())

    @classmethod
    def fit(cls, samples, n_patches=160, learn=True, seed=0, size=6, threshold=0.25, d=256):
        """The state learned from samples; with learn=False, random directions stand where the clusters' centres would."""
        rng = np.random.default_rng([seed, 1])
        x = pictures(samples[:3000])
        if len(samples) < 2 or len(x) * 9 < n_patches:
            refuse("n_samples", len(samples), f"at least {max(2, -(-n_patches // 9))} for {n_patches} patches")
        patches = F.unfold(x, size, stride=3).transpose(1, 2).reshape(-1, x.shape[1] * size**2).numpy()
        patches = patches[rng.choice(len(patches), min(40_000, len(patches)), replace=False)]
        contrast = np.sqrt(patches.var(1, keepdims=True) + cls.SOFT)
        patches = (patches - patches.mean(1, keepdims=True)) / contrast
        mean = patches.mean(0)
        values, vectors = np.linalg.eigh(np.cov(patches.T))
        whitening = vectors / np.sqrt(values + 0.1) @ vectors.T
        atoms = rng.standard_normal((n_patches, len(mean)))
        if learn:
            with threadpool_limits(1):  # the sums of several threads would depend on their number
                clusters = MiniBatchKMeans(n_patches, n_init=1, batch_size=2000, max_iter=30, random_state=seed)
                atoms = clusters.fit((patches - mean) @ whitening).cluster_centers_
        filters = atoms / np.linalg.norm(atoms, axis=1, keepdims=True) @ whitening
        as_float = lambda a: torch.tensor(np.ascontiguousarray(a), dtype=torch.float32)
        state = dict(filters=as_float(filters.reshape(n_patches, -1, size, size)), bias=as_float(-filters @ mean - threshold), shape=torch.tensor(x.shape[1:]))
        encoder = cls(state)
        samples = samples[:cls.ENOUGH]
        h = torch.cat([encoder.cells(pictures(samples[k:k + cls.chunk])) for k in range(0, len(samples), cls.chunk)]).double()
        m = h.shape[1]
        _, axes = eigh(torch.cov(h.T).numpy(), subset_by_index=[max(0, m - d), m - 1], overwrite_a=True)
        return {**state, "centre": h.mean(0).float(), "axes": as_float(axes[:, ::-1])}

    @torch.no_grad()
    def cells(self, x):
        """x (n, c, h, w) -> all activities before the projection, (n, k * COARSE^2 + c * FINE^2)."""
        mean_filter = torch.full_like(self.filters[:1], 1 / self.filters[0].numel())
        mean = F.conv2d(x, mean_filter, stride=self.STRIDE)
        contrast = torch.sqrt((F.conv2d(x * x, mean_filter, stride=self.STRIDE) - mean**2).clamp_min(0) + self.SOFT)
        match = F.conv2d(x, self.filters, stride=self.STRIDE) - mean * self.filters.sum((1, 2, 3))[:, None, None]
        present = F.relu(match / contrast + self.bias[:, None, None])
        tone = F.adaptive_avg_pool2d(torch.log(x.clamp_min(0) + 0.05), self.FINE)
        return torch.cat([F.adaptive_avg_pool2d(present, self.COARSE).flatten(1), tone.flatten(1)], 1)

    def forward(self, x):
        return (self.cells(x) - self.centre) @ self.axes


# Words --------------------------------------------------------------------------------------------------------------------

class BagOfWords(Encoder):
    """How often each word of a vocabulary occurs. vocabulary: a list of words; others count nowhere."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary = list(vocabulary)
        self.index = {word: k for k, word in enumerate(self.vocabulary)}

    @classmethod
    def fit(cls, captions):
        return cls(sorted({word for caption in captions for word in caption.split()}))

    def tensor(self, captions):
        """Word numbers (n, longest), padded with len(vocabulary)."""
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            refuse("samples", type(captions).__name__, "a list of captions (strings)")
        rows = [[self.index[w] for w in caption.split() if w in self.index] for caption in captions]
        words = torch.full((len(rows), max(1, *map(len, rows))), len(self.vocabulary))
        for k, row in enumerate(rows):
            words[k, :len(row)] = torch.tensor(row)
        return words

    def forward(self, words, weight=None):
        """Counts (n, len(vocabulary)), each word counted `weight` times, (n, longest); once if None."""
        weight = torch.ones(words.shape, device=words.device) if weight is None else weight
        counts = torch.zeros(len(words), len(self.vocabulary) + 1, device=words.device)
        return counts.scatter_add_(1, words, weight)[:, :-1]


class CaptionHalves(BagOfWords):
    """A vector per word, their sum per caption, learned so that the two halves of a caption find each other.

    A caption cut at a random place: both parts speak of the same scene, in other words. InfoNCE over a batch (temperature 0.1) then keeps
    what the parts share, and what they share is the scene; it puts two words for one thing on one vector. Sentence-level self-supervision
    in the manner of Giorgi et al. (2021, DeCLUTR), without a transformer.
    """

    BATCH, LR, TEMPERATURE, CUT = 512, 3e-3, 0.1, (0.35, 0.8)

    def __init__(self, vocabulary, d=48, seed=0):
        super().__init__(vocabulary)
        self.vectors = nn.Parameter(0.05 * torch.randn(len(self.vocabulary), d, generator=torch.Generator().manual_seed(seed)))

    def forward(self, words, weight=None):
        return super().forward(words, weight) @ self.vectors

    def loss(self, words, generator):
        length = (words < len(self.vocabulary)).sum(1, keepdim=True).cpu()
        low, high = self.CUT
        cut = (length * (low + (high - low) * torch.rand(len(words), 1, generator=generator))).round()
        first = (torch.arange(words.shape[1]) < cut).float().to(words.device)
        a, b = (F.normalize(self(words, half)) for half in (first, 1 - first))
        similarity, own = a @ b.T / self.TEMPERATURE, torch.arange(len(words), device=words.device)
        return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2


# Masked pictures ------------------------------------------------------------------------------------------------------------

class MaskedAutoencoder(Encoder):
    """Three convolutions to a code of d numbers, from which the whole picture is painted although half of it was hidden.

    Hidden are squares of 4 x 4 pixels; a fourth channel says which (He et al. 2022 hide patches of a transformer; here the encoder is a small
    convolutional one, and the loss is over all pixels). width: channels of the first convolution. At step 0: random convolutions.
    """

    BATCH, LR, HIDDEN_SHARE, SQUARE = 128, 2e-3, 0.5, 4

    def __init__(self, width=24, d=128, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            down = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 4, 2, 1), nn.GELU())
            self.encoder = nn.Sequential(down(4, width), down(width, 2 * width), down(2 * width, 4 * width), nn.Flatten(), nn.Linear(64 * width, d))
            self.decoder = nn.Sequential(nn.Linear(d, 256), nn.GELU(), nn.Linear(256, 3 * 32 * 32), nn.Unflatten(1, (3, 32, 32)))
        self.to(memory_format=torch.channels_last)

    def code(self, x, seen):
        return self.encoder(torch.cat([(x - 0.45) * 4 * seen, seen.expand(len(x), 1, 32, 32)], 1).contiguous(memory_format=torch.channels_last))

    def forward(self, x):
        return self.code(x, torch.ones_like(x[:, :1]))

    def loss(self, x, generator):
        n, side = len(x), 32 // self.SQUARE
        seen = (torch.rand(n, 1, side, side, generator=generator) > self.HIDDEN_SHARE).float().to(x.device)
        seen = seen.repeat_interleave(self.SQUARE, 2).repeat_interleave(self.SQUARE, 3)
        return F.mse_loss(self.decoder(self.code(x, seen)), (x - 0.45) * 4)


# Training in stages -----------------------------------------------------------------------------------------------------------

def stages(steps):
    """Steps after which the training is saved: 0, close together at first, then at least every fifth of the whole."""
    return sorted({round(steps * share) for share in (0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1)})


def _rate(step, steps):
    """Share of the highest learning rate: up over the first tenth, then down on a half cosine to nothing."""
    warm = max(1, steps // 10)
    return min((step + 1) / warm, 0.5 * (1 + np.cos(np.pi * max(0, step - warm) / max(1, steps - warm))))


def train(encoder, data, start, stop, steps, seed=0, optimizer_state=None, progress=""):
    """Steps `start` to `stop` of a training of `steps` in all, with AdamW; returns the optimiser's state as flat tensors.

    data (n, ...) is the tensor of all samples. What step k sees depends on seed and k alone, not on where the training began, so that
    a training in stages ends where one in a single run does.
    """
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=encoder.LR, weight_decay=0.01)
    if optimizer_state:
        parameters = list(encoder.parameters())
        for name, tensor in optimizer_state.items():
            k, slot = name.split(".")
            optimizer.state[parameters[int(k)]][slot] = tensor
    bar = tqdm(range(start, stop), initial=start, total=steps, desc=progress, disable=not progress, file=sys.stdout, leave=False,
               mininterval=0.5, bar_format="{desc:<34}{bar:24} {n_fmt}/{total_fmt} updates")
    for step in bar:
        generator = torch.Generator().manual_seed((seed << 32) + step)
        batch = data[torch.randint(len(data), (encoder.BATCH,), generator=generator)]
        batch = batch if batch.dtype != torch.uint8 else encoder.tensor(batch.numpy())
        loss = encoder.loss(batch.to(encoder.device), generator)  # random numbers are drawn on the CPU, the same for every device
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = encoder.LR * _rate(step, steps)
        optimizer.step()
    return {f"{k}.{slot}": tensor for k, p in enumerate(encoder.parameters()) for slot, tensor in optimizer.state.get(p, {}).items()}


def _stage(key, new, data, steps, stop, progress):
    """Weights and optimiser state after step `stop`, from the cache, or continued from the stage before."""
    def advance():
        encoder, optimizer_state = new(), {}
        if stop > 0:
            start = max(stage for stage in stages(steps) if stage < stop)
            before = _stage(key, new, data, steps, start, progress)
            encoder.load_state_dict(_part(before, "encoder."))
            optimizer_state = train(encoder, data(), start, stop, steps, key["seed"], _part(before, "optimizer."), progress)
        return {**{"encoder." + name: t for name, t in encoder.state_dict().items()}, **{"optimizer." + name: t for name, t in optimizer_state.items()}}
    return cache.weights({**key, "stop": stop}, advance)


def _part(state, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


# Loading or training ----------------------------------------------------------------------------------------------------------

PURPOSE = {"image": "image pretraining", "caption": "text pretraining", "sound": "sound pretraining"}
KINDS = {  # name: class, modality, settings and their defaults
    "pixels": (Pixels, "image", {}),
    "masked autoencoder": (MaskedAutoencoder, "image", dict(width=24, steps=300)),
    "patch dictionary": (PatchDictionary, "image", dict(n_patches=160)),
    "random patches": (PatchDictionary, "image", dict(n_patches=160)),
    "bag of words": (BagOfWords, "caption", {}),
    "caption halves": (CaptionHalves, "caption", dict(d=48, steps=600)),
    "sound dictionary": (PatchDictionary, "sound", dict(n_patches=160)),
}


def _code_version(cls):
    """Digest of the source of everything above that shapes an encoder of this class: other code, other key."""
    source = [inspect.getsource(part) for part in (*cls.__mro__, pictures, stages, _rate, train, _stage) if part.__module__ == __name__]
    return hashlib.sha256("".join(source).encode()).hexdigest()[:12]


LIBRARIES = {module.__name__: module.__version__ for module in (torch, np, sklearn)}
CODE = {cls: _code_version(cls) for cls in (Pixels, PatchDictionary, BagOfWords, CaptionHalves, MaskedAutoencoder)}  # of the code that runs


def pretrained(kind, world, seed=0, n_samples=20_000, stop=None, progress="", **settings):
    """The encoder `kind` (a name in KINDS), trained on `n_samples` scenes of its own pretraining split of `world`, frozen.

    seed      of the encoder: initial weights, batches, clusters
    n_samples scenes to learn from; dictionaries take no more than the first 5,000
    stop      for those trained in steps: a snapshot after so many, one of `stages(steps)`; None for the end
    progress  words before the progress bar; none: no bar
    settings  as in KINDS: width, d, steps, n_patches

    Loaded from the cache if it is there. Raises ValueError for an unknown kind or setting.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        refuse("kind", kind, ", ".join(KINDS))
    if not isinstance(world, worlds.World):
        refuse("world", world, "a World")
    cls, modality, settings_of_kind = KINDS[kind]
    allowed = {**settings_of_kind, "stop": None} if "steps" in settings_of_kind else settings_of_kind
    for name in [*settings, *(["stop"] if stop is not None else [])]:
        if name not in allowed:
            refuse(name, settings.get(name, stop), f"settings of {kind}: {', '.join(allowed) or 'none'}")
    settings = {**settings_of_kind, **{name: whole(name, value) for name, value in settings.items()}}
    n_samples = min(whole("n_samples", n_samples), getattr(cls, "ENOUGH", 2**32))
    seed = whole("seed", seed, low=0)
    if seed >= 2**31:
        refuse("seed", seed, "a whole number below 2^31")
    key = dict(kind=kind, code=CODE[cls], libraries=LIBRARIES, world=worlds.key(world), n_samples=n_samples, seed=seed, **settings)
    samples = functools.partial(_samples, world, modality, PURPOSE[modality], n_samples)
    if "steps" in settings:
        steps = settings.pop("steps")
        stop = steps if stop is None else whole("stop", stop, low=0)
        if stop not in stages(steps):
            refuse("stop", stop, "one of " + ", ".join(map(str, stages(steps))))
        new = functools.partial(cls, *([_vocabulary(key, samples)] if modality == "caption" else []), seed=seed, **settings)
        data = functools.cache(lambda: new().tensor(samples()) if modality == "caption" else torch.from_numpy(samples()))
        encoder = new()
        encoder.load_state_dict(_part(_stage(key, new, data, steps, stop, progress), "encoder."))
        key["stop"] = stop
    elif cls is PatchDictionary:
        encoder = cls(cache.weights(key, lambda: cls.fit(samples(), learn=kind != "random patches", seed=seed, **settings)))
    else:
        encoder = cls(*([_vocabulary(key, samples)] if modality == "caption" else []))
    encoder.key, encoder.modality = key, modality
    return encoder.eval().requires_grad_(False)


def _vocabulary(key, captions):
    """The words of a text corpus, through the cache."""
    key = {"vocabulary": CODE[BagOfWords], "world": key["world"], "n_samples": key["n_samples"]}
    return cache.array(key, lambda: np.array(BagOfWords.fit(captions()).vocabulary)).tolist()


def features(encoder, world, purpose, n, start=0):
    """What `encoder` makes of scenes `start` to `start + n` of a split of `world`: (n, d) float32, memory-mapped from the cache.

    Raises ValueError for an encoder without a key: nothing would tell its features from another's.
    """
    if not getattr(encoder, "key", None):
        refuse("encoder", encoder, "an encoder with a key, as `pretrained` gives it")
    key = dict(encoder=encoder.key, world=worlds.key(world), purpose=purpose, n=whole("n", n), start=whole("start", start, low=0))
    return cache.array(key, lambda: encoder.encode(_samples(world, encoder.modality, purpose, n, start)))


@functools.lru_cache(maxsize=4)  # several encoders in turn look at the same scenes
def _samples(world, modality, purpose, n, start=0):
    return world.look(modality, world.scenes(purpose, n, start))
