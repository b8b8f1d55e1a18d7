"""What a reader takes home: two frozen encoders, a few pairs, a closed form, a search.

    collection = read_collection("my_folder")
    vision, text = efficientnet_lite0(), minilm()
    build(vision, text, collection).save("bridge.safetensors")

    bridge = load("bridge.safetensors", vision, text)
    bridge.search("a red boat", collection.pictures)

The closed form is the weighted CCA of lib.teachers, on features centred on everything, paired or
not, and scaled to length 1. Ridge and power are chosen by cross-validation over the pairs.
"""

import hashlib
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from sklearn.model_selection import GroupKFold

from lib.claims import write_atomically
from lib.files import features
from lib.metrics import mean_recall_at_1
from lib.teachers import Linear, centre, weighted_cca
from lib.validation import check_int, invalid

RIDGES, POWERS = (0.3, 1.0, 3.0, 10.0), (0.0, 1.0, 2.0, 4.0)
FOLDS, FEWEST = 5, 10  # of the cross-validation; pictures with a caption
FORMAT = "unpaired bridge 1"


@dataclass(eq=False)
class Bridge:
    """Encoders, and a side's preparation and map: {"picture": (Linear, Linear), "text": ...}.

    facts  how it came about: n_pairs, ridge, power, and recall, the MeanR@1 of the pairs held out
           in cross-validation, among as many strangers as a fold has; chance is 1 / fold
    """

    encoders: dict
    sides: dict
    facts: dict

    def embed(self, modality, samples, progress=""):
        """Unit rows (n, k) of pictures or texts; of zeros where a picture cannot be read."""
        return self._map(modality, features(self.encoders[modality], samples, progress))

    def _map(self, modality, rows):
        whole = np.isfinite(rows[:, 0])
        prepare, map_ = self.sides[modality]
        made = np.zeros((len(rows), map_.axes.shape[1]), np.float32)
        if whole.any():
            z = map_(prepare(rows[whole]))
            made[whole] = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
        return made

    def search(self, words, pictures, k=5):
        """The k pictures that fit a sentence best, of those that can be read, best first.

        A list of (picture, cosine).
        """
        if not isinstance(words, str) or not words.strip():
            raise invalid("words", words, "a sentence")
        k, rows = check_int("k", k), self.embed("picture", pictures)
        cosines = rows @ self._map("text", self.encoders["text"].encode([words]))[0]
        best = [i for i in np.argsort(-cosines, kind="stable") if rows[i].any()][:k]
        return [(pictures[i], float(cosines[i])) for i in best]

    def save(self, path):
        """Write a safetensors file: the maps, what prepares for them, the keys of the encoders."""
        parts = ("mean", "axes")
        tensors = {f"{side}.mean": prepare.mean for side, (prepare, _) in self.sides.items()}
        for side, (_, map_) in self.sides.items():
            tensors |= {f"{side}.map.{part}": getattr(map_, part).copy() for part in parts}
        keys = {side: encoder.key for side, encoder in self.encoders.items()}
        facts = json.dumps({"encoders": keys, **self.facts})
        metadata = {"format": FORMAT, "facts": facts, "sha256": _digest(tensors, facts)}
        write_atomically(Path(path).expanduser(), save(tensors, metadata))


def build(vision, text, collection, progress=""):
    """A `Bridge` from the pairs of a lib.files.Collection, the rest prepares; settings by CV.

    Raises ValueError for fewer than FEWEST pictures with a caption.
    """
    x = features(vision, collection.pictures, progress and f"{progress}: pictures")
    y = features(text, collection.captions, progress and f"{progress}: captions")
    whole = np.isfinite(x[:, 0])
    pairs = collection.pairs[whole[collection.pairs[:, 0]]]
    if len(np.unique(pairs[:, 0])) < FEWEST:
        got = f"{len(np.unique(pairs[:, 0]))} pictures with a caption"
        raise invalid("collection", got, f"{FEWEST} or more, which can be read")
    prepare_x, prepare_y = centre(x[whole]), centre(y)
    a, b = prepare_x(x[pairs[:, 0]]), prepare_y(y[pairs[:, 1]])
    folds = list(GroupKFold(FOLDS).split(a, groups=pairs[:, 0]))
    scores = {}
    for ridge, power in itertools.product(RIDGES, POWERS):
        maps = [(weighted_cca(a[fit], b[fit], ridge, power), held) for fit, held in folds]
        found = [mean_recall_at_1(f(a[held]), g(b[held])) for (f, g), held in maps]
        scores[ridge, power] = math.fsum(found) / FOLDS
    ridge, power = max(scores, key=scores.get)
    f, g = weighted_cca(a, b, ridge, power)
    facts = {"n_pairs": len(pairs), "ridge": ridge, "power": power, "recall": scores[ridge, power]}
    sides = {"picture": (prepare_x, f), "text": (prepare_y, g)}
    return Bridge({"picture": vision, "text": text}, sides, facts)


def load(path, vision, text):
    """The `Bridge` that was saved; raises ValueError for other encoders, and for a damaged file."""
    encoders, sides = {"picture": vision, "text": text}, {}
    try:
        with safe_open(str(Path(path).expanduser()), "np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        metadata = {"format": f"{type(error).__name__} {error}"}
    if metadata.get("format") != FORMAT:
        raise invalid(str(path), metadata.get("format"), f"a whole file of format {FORMAT!r}")
    if metadata.get("sha256") != _digest(tensors, metadata.get("facts", "")):
        raise invalid(str(path), "damaged numbers", "a file as Bridge.save wrote it")
    facts = json.loads(metadata["facts"])
    keys = facts.pop("encoders")
    for side in encoders:
        mean, *map_ = (tensors[f"{side}.{part}"] for part in ("mean", "map.mean", "map.axes"))
        sides[side] = Linear(mean, np.eye(len(mean)), unit=True), Linear(*map_)
    for side, encoder in encoders.items():
        if encoder.key != keys[side]:
            raise invalid(f"encoder of {side}s", encoder.key, f"the one of the file: {keys[side]}")
    return Bridge(encoders, sides, facts)


def _digest(tensors, facts):
    total = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        total.update(tensors[name].tobytes())
    return total.hexdigest()
