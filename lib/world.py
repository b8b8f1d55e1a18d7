"""One world with a known reality Z*, the table of its scenes, and what three projections show.

The dials of a `World` say how scenes are drawn and shown. Splits by purpose have disjoint ids by
construction. The projections themselves, and all that is random, stand in lib.scenes.
"""

from dataclasses import asdict, dataclass
from numbers import Real

import numpy as np

from lib.scenes import FACTORS, MEASURES, SCENE, draw, log_mel, play, tell, uniform
from lib.validation import check_choice, check_int, invalid

MODALITIES = ("image", "caption", "sound")
# fmt: off
PURPOSES = ("image pretraining", "text pretraining", "sound pretraining",
            "alignment", "validation", "test")
# fmt: on
HOME = (0.25, 0.10, 0.25, 0.20, 0.10, 0.10)  # how often each biome at shift 0
AWAY = (0.05, 0.30, 0.05, 0.10, 0.20, 0.30)  # and at shift 1
WINDY = np.array([0.3, 0.5, 0.2, 0.7, 0.8, 0.1], "f4")  # the usual wind of each biome
LIKELY = 0.5  # how often an attribute is one of its biome's favourites, or else any
FAVOURITES = {  # one or two for each biome; corners have none
    "time": "day, day/dusk, dawn, dusk, dawn/night, night",
    "shape": "circle/star, triangle, cross/triangle, diamond/star, circle/cross, square",
    "colour": "red/yellow, orange/white, green/purple, cyan/orange, blue/white, purple/red",
    "fill": "plain, hollow, striped, striped, hollow, plain",
    "companion": "flower, stone, bird/flower, crab, bird, stone",
}


@dataclass(frozen=True)
class World:
    """A world; its fields are the dials.

    seed       another draw of scenes of the same kind
    agreement  share of colours and shapes that captions call by their own name; the others swap
               names, so that pairs still teach who is who; in whole names, so 0.9 is 1
    detail     how much a caption tells: 0 the bare minimum; 0.8 most of it, half of that twice in
               other words; 1 all of it, half of it twice
    shift      0 the home domain, 1 another mixture of biomes and turned colours (white stays)
    blind      factors that a projection may not show, as in (("image", "colour"),)

    Raises ValueError for a dial out of its range, an unknown projection or factor.
    """

    seed: int = 0
    agreement: float = 1.0
    detail: float = 0.8
    shift: float = 0.0
    blind: tuple = ()

    def __post_init__(self):
        object.__setattr__(self, "seed", check_int("seed", self.seed, 0, 2**24 - 1))
        for dial in ("agreement", "detail", "shift"):
            value = getattr(self, dial)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
                raise invalid(dial, value, "a number from 0 to 1")
            object.__setattr__(self, dial, float(value))
        known = {(where, factor) for where in MODALITIES for factor in (*FACTORS, *MEASURES)}
        try:
            blind = {tuple(pair) for pair in self.blind}
        except TypeError:
            blind = {None}
        if not blind <= known:
            accepted = f"pairs of one of {MODALITIES} and one of {(*FACTORS, *MEASURES)}"
            raise invalid("blind", self.blind, accepted)
        object.__setattr__(self, "blind", tuple(sorted(blind)))

    def scenes(self, purpose, n, start=0):
        """Scenes number start to start + n of the split `purpose`: an array (n,) of SCENE.

        A longer draw begins with the shorter one; no id is ever in two purposes or two seeds.
        Raises ValueError for a purpose that is not in PURPOSES.
        """
        split = PURPOSES.index(check_choice("purpose", purpose, PURPOSES))
        start = check_int("start", start, 0, 2**32 - 1)
        n = check_int("n", n, 1, 2**32 - start)
        ids = np.arange(n, dtype=np.uint64) + np.uint64((self.seed << 40) + (split << 32) + start)
        scenes = np.empty(n, SCENE)
        scenes["id"] = ids
        u = uniform(ids, "factors", 2 * len(FACTORS) + 2 * len(MEASURES))
        mixture = np.array(HOME) + self.shift * (np.array(AWAY) - HOME)
        biome = np.searchsorted(mixture.cumsum()[:-1], u[:, 0], side="right")
        for k, (factor, values) in enumerate(FACTORS.items()):
            scenes[factor] = (u[:, 2 * k] * len(values)).astype("i1")
            if factor in FAVOURITES:
                cells = [cell.split("/") for cell in FAVOURITES[factor].split(", ")]
                two = np.array([[values.index(c[0]), values.index(c[-1])] for c in cells])
                favourite = two[biome, (u[:, 2 * k] * 2).astype(int)]
                scenes[factor] = np.where(u[:, 2 * k + 1] < LIKELY, favourite, scenes[factor])
        scenes["biome"] = biome
        v = u[:, 2 * len(FACTORS) :]
        v[:, 3] = 0.6 * WINDY[biome] + 0.4 * v[:, 3]
        v[:, 4] = 0.5 * (1 - v[:, 0]) + 0.5 * v[:, 4]  # small things beat fast
        for k, (measure, (low, high)) in enumerate(MEASURES.items()):
            scenes[measure] = low + v[:, k] * (high - low)
        return scenes

    def images(self, scenes):
        """Pictures (n, 32, 32, 3), uint8 RGB."""
        scenes = self._seen("image", scenes)
        return np.concatenate([draw(part, self.shift) for part in _parts(scenes)])

    def captions(self, scenes):
        """Captions, a list of n strings in lower case, words separated by blanks."""
        return tell(_check_scenes(scenes), self.detail, self._names(), self._hidden("caption"))

    def sounds(self, scenes):
        """Sounds (n, 8000): one second at 8 kHz, float32 in [-1, 1]."""
        return np.concatenate([play(part) for part in _parts(self._seen("sound", scenes))])

    def look(self, modality, scenes):
        """What an encoder gets: images, captions, or the log-mel spectrograms of the sounds."""
        check_choice("modality", modality, MODALITIES)
        if modality == "sound":
            return log_mel(self.sounds(scenes))
        return self.images(scenes) if modality == "image" else self.captions(scenes)

    def key(self):
        """The dials as JSON keeps them, for the key of a cache entry."""
        return {**asdict(self), "blind": [list(pair) for pair in self.blind]}

    def _hidden(self, projection):
        return [factor for where, factor in self.blind if where == projection]

    def _seen(self, projection, scenes):
        """The scenes, every hidden factor at its first value or in the middle of its range."""
        scenes = _check_scenes(scenes).copy()
        for factor in self._hidden(projection):
            scenes[factor] = 0 if factor in FACTORS else np.mean(MEASURES[factor])
        return scenes

    def _names(self):
        """{factor: whose name stands for k}: the last ones swapped where agreement < 1."""
        names = {}
        for factor in ("shape", "colour"):
            n = len(FACTORS[factor])
            moved = round((1 - self.agreement) * n)  # one name alone has nobody to swap with
            names[factor] = np.arange(n)
            names[factor][n - moved :] = np.roll(names[factor][n - moved :], moved // 2)
        return names


def _parts(scenes, n=250):
    """The scenes in slices small enough for the processor's cache."""
    return [scenes[k : k + n] for k in range(0, len(scenes), n)]


def _check_scenes(scenes):
    array = isinstance(scenes, np.ndarray)
    if not array or scenes.dtype != SCENE or scenes.ndim != 1 or len(scenes) == 0:
        got = f"{type(scenes).__name__} of shape {np.shape(scenes)}"
        raise invalid("scenes", got, "one or more scenes, as World.scenes gives them")
    ranges = {**{factor: (0, len(values) - 1) for factor, values in FACTORS.items()}, **MEASURES}
    for name, (low, high) in ranges.items():
        least, most = scenes[name].min(), scenes[name].max()
        if not (least >= np.float32(low) and most <= np.float32(high)):
            raise invalid("scenes", f"{name} from {least} to {most}", f"from {low} to {high}")
    return scenes
