"""Training of encoders in stages, each on its own split of a world; weights and features cached.

`pretrained` loads or trains an encoder and gives it a `modality` and a `key`, a dict of everything
that shaped it. `features` is what an encoder makes of scenes. Both are kept in the cache, and made
anew when a line of the code that shapes them changes.
"""

import functools
import hashlib
import itertools
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib import cache, training
from lib.encoders import (
    BagOfWords,
    CaptionHalves,
    Encoder,
    MaskedAutoencoder,
    PatchDictionary,
    Pixels,
)
from lib.validation import check_choice, check_int, invalid
from lib.world import MODALITIES, PURPOSES, World


def stages(steps):
    """Steps after which the training is saved: 0, close together at first, then every fifth."""
    return sorted({round(steps * share) for share in (0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1)})


def train(encoder, before, data, start, stop, steps, seed=0, words=""):
    """The state of encoder and AdamW after updates `start` to `stop`; `before` is that at `start`.

    seed   of the batches; what an update sees of data (n, ...) depends on it and on the number of
           the update alone: a training in stages ends where one in a single run does
    words  before the progress bar; none: no bar
    """
    encoder.load_state_dict(_weights(before))
    parameters = dict(encoder.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=encoder.LR, weight_decay=0.01)
    for name in before.keys() - encoder.state_dict().keys():
        _, slot, parameter = name.split(".", 2)
        optimizer.state[parameters[parameter]][slot] = before[name]
    bar = training.progress(range(start, steps), words, start)
    bar.leave = False  # the next stage goes on in the same place
    for step in itertools.islice(bar, stop - start):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**32)
        batch = data[torch.randint(len(data), (encoder.BATCH,), generator=generator)]
        if batch.dtype == torch.uint8:
            batch = encoder.tensor(batch.numpy())
        loss = encoder.loss(batch, generator)
        optimizer.zero_grad()
        loss.backward()
        rate = training.warmup_cosine(step, steps, max(1, steps // 10))
        optimizer.param_groups[0]["lr"] = encoder.LR * rate
        optimizer.step()
    after = encoder.state_dict()
    for name, parameter in parameters.items():
        after |= {f"optimizer.{slot}.{name}": t for slot, t in optimizer.state[parameter].items()}
    return after


def _weights(state):
    return {name: t for name, t in state.items() if not name.startswith("optimizer.")}


def _stage(key, encoder, data, steps, stop, words):
    """The state after `stop` updates: from the cache, or trained on from the stage before.

    So an interrupted training resumes at its last stage, and stages serve as snapshots.
    """

    def make():
        if stop == 0:
            return encoder.state_dict()
        start = max(stage for stage in stages(steps) if stage < stop)
        before = _stage(key, encoder, data, steps, start, words)
        return train(encoder, before, data(), start, stop, steps, key["seed"], words)

    return cache.weights({**key, "stop": stop}, make)


PURPOSE = dict(zip(MODALITIES, PURPOSES[:3], strict=True))  # which split an encoder learns from
KINDS = {  # name: class, modality, settings and their defaults
    "pixels": (Pixels, "image", {}),
    "masked autoencoder": (MaskedAutoencoder, "image", {"width": 24, "steps": 300}),
    "patch dictionary": (PatchDictionary, "image", {"n_patches": 160}),
    "random patches": (PatchDictionary, "image", {"n_patches": 160}),
    "bag of words": (BagOfWords, "caption", {}),
    "caption halves": (CaptionHalves, "caption", {"d": 48, "steps": 600}),
    "sound dictionary": (PatchDictionary, "sound", {"n_patches": 160}),
}
LIBRARIES = ("numpy", "scikit-learn", "scipy", "torch", "transformers")
ROOMS = ("encoders", "losses", "pretraining", "scenes", "training", "world")  # every line counts
SOURCES = {room: Path(__file__).with_name(f"{room}.py").read_bytes() for room in ROOMS}
VERSIONS = {name: version(name) for name in LIBRARIES}
VERSIONS |= {room: hashlib.sha256(text).hexdigest()[:16] for room, text in SOURCES.items()}


def pretrained(kind, world, seed=0, n_samples=20_000, stop=None, progress="", **settings):
    """The encoder `kind`, trained on scenes of its own pretraining split of `world`, frozen.

    kind       a name in KINDS, where its settings stand
    seed       of initial weights, patches, clusters, batches
    n_samples  scenes to learn from; dictionaries take no more than the first 5,000
    stop       for a snapshot after so many updates, one of `stages(steps)`; None for the end
    progress   words before the progress bar; none: no bar
    """
    check_choice("kind", kind, KINDS)
    if not isinstance(world, World):
        raise invalid("world", world, "a World")
    cls, modality, defaults = KINDS[kind]
    for name, value in settings.items():
        if name not in defaults:
            raise invalid(name, value, f"settings of {kind}: {', '.join(defaults) or 'none'}")
        settings[name] = check_int(name, value)
    settings = {**defaults, **settings}
    seed = check_int("seed", seed, 0, 2**31 - 1)
    n_samples = min(check_int("n_samples", n_samples), cls.ENOUGH)
    corpus = {"versions": VERSIONS, "world": world.key(), "n_samples": n_samples}
    key = {**corpus, "kind": kind, "seed": seed, **settings}
    steps = settings.pop("steps", None)
    stop = steps if stop is None else check_int("stop", stop, 0)
    check_choice("stop", stop, stages(steps) if steps else [None])
    samples = functools.partial(_samples, world, modality, PURPOSE[modality], n_samples)

    if modality == "caption":
        words = cache.array(corpus, lambda: np.array(sorted(set(" ".join(samples()).split()))))
        settings["vocabulary"] = words.tolist()
    if cls is PatchDictionary:
        settings["learn"] = kind != "random patches"
        settings = {"state": cache.weights(key, lambda: cls.fit(samples(), seed=seed, **settings))}
    encoder = cls(**settings, seed=seed) if steps else cls(**settings)
    if steps:
        images = modality == "image"
        data = functools.cache(
            lambda: torch.from_numpy(samples()) if images else encoder.tensor(samples())
        )
        encoder.load_state_dict(_weights(_stage(key, encoder, data, steps, stop, progress)))
        key["stop"] = stop
    encoder.key, encoder.modality = key, modality
    return encoder.eval().requires_grad_(False)


def features(encoder, world, purpose, n, start=0):
    """Features (n, d) of scenes `start` to `start + n` of a split of `world`, from the cache."""
    if not getattr(encoder, "key", None):
        raise invalid("encoder", encoder, "an encoder with a key, as `pretrained` gives it")
    n, start = check_int("n", n), check_int("start", start, 0)
    key = {"encoder": encoder.key, "world": world.key(), "purpose": purpose, "n": n, "start": start}
    look = functools.partial(_samples, world, encoder.modality, purpose, n, start)
    return cache.array(key, lambda: encoder.encode(look()))


@functools.lru_cache(maxsize=8)  # several encoders in turn look at the same scenes
def _samples(world, modality, purpose, n, start=0):
    return world.look(modality, world.scenes(purpose, n, start))


class Side(NamedTuple):
    """A frozen encoder, features of its own pretraining scenes (n, d), and {split: (n, d)}."""

    encoder: Encoder
    own: np.ndarray
    splits: dict


def frozen_sides(world, splits, seed=0, n_samples=20_000, steps_text=600):
    """{"pictures": Side, "captions": Side}: a patch dictionary and caption halves.

    splits      {name: (purpose, n)}, whose features the sides hold
    seed        of the run; its encoders are those of seed 3 * seed, the first of notebook 03
    n_samples   unpaired scenes for each encoder; `own` holds the first 4,000 at most
    steps_text  updates of the caption halves
    """
    seed = 3 * check_int("seed", seed, 0)
    sides = {}
    for side, kind, settings in (
        ("pictures", "patch dictionary", {}),
        ("captions", "caption halves", {"steps": steps_text}),
    ):
        encoder = pretrained(kind, world, seed, n_samples, progress=kind, **settings)
        own = features(encoder, world, PURPOSE[encoder.modality], min(4000, n_samples))
        tables = {name: features(encoder, world, *which) for name, which in splits.items()}
        sides[side] = Side(encoder, own, tables)
    return sides
