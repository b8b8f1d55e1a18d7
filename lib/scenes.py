"""Scenes, the rows of a table Z*, and three projections of them.

    draw   a picture, 32 x 32     cannot show wind, tempo; adds light, tints, texture, grain
    tell   a caption              rounds size, wind and tempo to thirds, says nothing of the place,
                                  drops clauses; adds synonyms, an order of the clauses
    play   a second of sound      has no colour, fill, time, corner, place; adds phases, noise

Every scene has a 64-bit id, and all that is random about it is a hash of that id: it looks and
sounds the same in whatever order, batch or split it is drawn.
"""

import numpy as np
import torch

from lib.validation import check_array

FACTORS = {  # the discrete part of Z*
    "biome": ("meadow", "desert", "forest", "beach", "snow", "city"),
    "time": ("dawn", "day", "dusk", "night"),
    "shape": ("circle", "square", "triangle", "star", "cross", "diamond"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white"),
    "fill": ("plain", "striped", "hollow"),
    "companion": ("bird", "flower", "stone", "crab"),
    "corner": ("top left", "top right", "bottom left", "bottom right"),
}
MEASURES = {  # the continuous part: lowest and highest value
    "size": (6.5, 10.0),  # radius of the object in pixels
    "x": (-1.0, 1.0),  # its centre, in pixels right of the middle
    "y": (-1.0, 1.0),  # and below it
    "wind": (0.0, 1.0),  # of full strength
    "tempo": (2.0, 8.0),  # beats per second
}
SCENE = np.dtype([("id", "u8"), *((f, "i1") for f in FACTORS), *((m, "f4") for m in MEASURES)])
PIXELS, RATE = 32, 8000  # width of a picture; samples of sound per second
STREAMS = ("factors", "picture", "grain", "caption", "sound")


def uniform(ids, stream, n):
    """(len(ids), n) float32 in [0, 1), the same for the same id (uint64) and stream."""
    key = np.arange(n, dtype=np.uint64) + np.uint64(STREAMS.index(stream) << 32)
    bits = splitmix64(splitmix64(ids)[:, None] ^ splitmix64(key)) >> np.uint64(40)
    return bits.astype(np.float32) * np.float32(2.0**-24)


def splitmix64(x):
    """Hash of uint64 (Steele, Lea and Flood 2014), the same on every platform."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _rgb(colours):
    return np.array([list(bytes.fromhex(colour)) for colour in colours.split()], "f4") / 255


# Pictures
# fmt: off
PALETTE = _rgb("e03030 f08a1d f2d83a 35a838 35c8d8 3050d8 9038b8 f4f4f4")
GROUND = (_rgb("6fae4a d9b26a 2f6b3a c9b78a cfd8e2 7d7f86"),  # a texture leads from one
          _rgb("5d9a3c c89c50 244f2c 5f9fc4 b9c6d6 5f6168"))  # to the other
LIGHT = _rgb("ffd0dc ffffff ffb070 6874b8")
COMPANION = _rgb("222222 ff66c4 8c8c8c c8321e")
GLYPHS = np.array([[list(map(int, row)) for row in glyph.split()] for glyph in (
    "1000001 1100011 0110110 0011100 0001000 0000000 0000000",
    "0011100 0011100 1101011 1110111 1101011 0011100 0011100",
    "0000000 0011100 0111110 1111111 1111111 1111111 0111110",
    "1100011 1000001 1101011 0111110 1111111 1011101 1010101")], "f4")[..., None]
CORNERS = np.array([[2, 2], [2, 23], [23, 2], [23, 23]])  # row and column where a glyph begins
TIPS = ((0, -1), (0.9511, -0.309), (0.5878, 0.809), (-0.5878, 0.809), (-0.9511, -0.309))
OUTLINES = (  # distance from the edge of a shape of size 1, about; negative inside
    lambda x, y: np.sqrt(x * x + y * y) - 1,
    lambda x, y: np.maximum(abs(x), abs(y)) - 0.85,
    lambda x, y: np.maximum(0.9 * abs(x) - 0.45 * (y + 1), y - 0.75),
    lambda x, y: np.sort([-x * a - y * b - 0.36 for a, b in TIPS], axis=0)[3],  # four of five
    lambda x, y: np.minimum(np.maximum(abs(x) - 0.32, abs(y) - 1),
                            np.maximum(abs(y) - 0.32, abs(x) - 1)),
    lambda x, y: (abs(x) + abs(y) - 1.15) * 0.7,
)
TEXTURES = (  # of the ground, by biome: from 0 to 1 at a row and a column
    lambda row, column: _wave(row, 4) * _wave(column, 5),
    lambda row, column: _wave(row + _wave(column, 16) * 4, 8),
    lambda row, column: _wave(column, 4),
    lambda row, column: _wave(row, 10),
    lambda row, column: _wave(row + column, 12),
    lambda row, column: (row // 4 + column // 4) % 2,
)
# fmt: on


def _wave(t, period):
    return abs((t / period) % 1 * 2 - 1)


def _by_class(functions, classes, x, y):
    """functions[classes[i]](x[i], y[i]) for every i."""
    result = np.empty_like(x)
    for k, function in enumerate(functions):
        result[classes == k] = function(x[classes == k], y[classes == k])
    return result


def draw(scenes, shift):
    """Pictures (n, 32, 32, 3), uint8 RGB; shift from 0 to 1 turns the colours of objects.

    Computed from + - * / and square roots alone, so the same on every platform.
    """
    u = uniform(scenes["id"], "picture", 7)[..., None, None, None]
    row, column = np.mgrid[:PIXELS, :PIXELS, :1].astype("f4")[:2]
    texture = _by_class(TEXTURES, scenes["biome"], row + 2 * u[:, 0], column + 2 * u[:, 1])
    first, second = (ground[scenes["biome"]][:, None, None] for ground in GROUND)
    image = first * (1 - texture) + second * texture

    turn = np.float32(0.35 * shift)
    colour = PALETTE[scenes["colour"]]
    colour = (1 - turn) * colour + turn * np.roll(colour, 1, axis=-1)
    colour = np.clip(colour + (u[:, 2:5, 0, 0, 0] - 0.5) * 0.1, 0, 1)[:, None, None]
    size, x, y = (scenes[name][:, None, None, None] for name in ("size", "x", "y"))
    x, y = (column - 15.5 - x) / size, (row - 15.5 - y) / size
    distance = _by_class(OUTLINES, scenes["shape"], x, y)
    body = np.clip(0.5 - distance * size, 0, 1)
    edge = body - np.clip(0.5 - (distance + 1.2 / size) * size, 0, 1)
    striped, hollow = (scenes["fill"] == FACTORS["fill"].index(f) for f in ("striped", "hollow"))
    body[striped] *= 0.15 + 0.85 * ((row + column + u[striped, 5]) // 2 % 2)
    body[hollow] -= np.clip(0.5 - (distance * size + 2)[hollow], 0, 1)
    image = image * (1 - body) + colour * body
    image *= 1 - 0.35 * edge

    top, left = CORNERS[scenes["corner"]].T[..., None, None]
    seven = np.arange(7)
    box = np.arange(len(scenes))[:, None, None], top + seven[:, None], left + seven
    glyph = GLYPHS[scenes["companion"]]
    paint = COMPANION[scenes["companion"]][:, None, None]
    image[box] = image[box] * (1 - glyph) + paint * glyph

    light = LIGHT[scenes["time"]][:, None, None] * (0.95 + 0.1 * u[:, 6])
    grain = (uniform(scenes["id"], "grain", PIXELS**2) - 0.5) * 0.06
    image = image * light + grain.reshape(-1, PIXELS, PIXELS, 1)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


# Captions
# fmt: off
WORDS = {  # every value of a factor in two ways, which mean the same
    "biome": "in a meadow, on the grass; in the desert, among the dunes; "
             "in a forest, under the trees; on a beach, at the shore; "
             "in the snow, on the ice; in a city, on a street",
    "time": "at dawn, at sunrise; by day, at noon; at dusk, at sunset; at night, after dark",
    "shape": "circle, disc; square, box; triangle, wedge; star, asterisk; cross, plus; "
             "diamond, rhombus",
    "colour": "red, crimson; orange, amber; yellow, golden; green, emerald; cyan, turquoise; "
              "blue, azure; purple, violet; white, ivory",
    "fill": "plain, solid; striped, banded; hollow, outlined",
    "size": "small, little; middling, medium; large, big",
    "companion": "bird, gull; flower, blossom; stone, rock; crab, crayfish",
    "corner": "at the top left, in the upper left corner; at the top right, in the upper right "
              "corner; at the bottom left, in the lower left corner; at the bottom right, in the "
              "lower right corner",
    "wind": "in still air, without wind; in a breeze, in light wind; in a gale, in strong wind",
    "tempo": "beating slowly, pulsing lazily; beating steadily, pulsing evenly; "
             "beating quickly, pulsing hastily",
}
WORDS = {factor: [two.split(", ") for two in text.split("; ")] for factor, text in WORDS.items()}
MENTIONED = {  # how often the first half of a caption speaks of it at detail 0, 0.8 and 1
    "biome": (0.5, 0.98, 1), "time": (0.2, 0.97, 1), "shape": (1, 1, 1), "colour": (0.8, 0.99, 1),
    "fill": (0.2, 0.98, 1), "size": (0.2, 0.95, 1), "companion": (0.2, 0.98, 1),
    "corner": (0.1, 0.98, 1), "wind": (0.1, 0.5, 1), "tempo": (0.1, 0.5, 1),
}
# fmt: on
REPEATED = (0, 0.5, 0.5)  # and how often the second half says it again, in words chosen afresh


def tell(scenes, detail, names, hidden):
    """Captions, a list of n strings in lower case.

    detail  from 0, the bare minimum, to 1, everything
    names   {factor: which value's words stand for value k}
    hidden  factors that no caption mentions
    """
    n = len(WORDS)
    u = uniform(scenes["id"], "caption", 4 * n + 10)
    first, second = [{} for _ in scenes], [{} for _ in scenes]
    for k, (factor, words) in enumerate(WORDS.items()):
        if factor in hidden:
            continue
        if factor in MEASURES:
            low, high = MEASURES[factor]
            value = np.clip((scenes[factor] - low) / (high - low) * 3, 0, 2).astype(int)
        else:
            value = scenes[factor]
        value = names[factor][value] if factor in names else value
        mentioned = u[:, k] < np.interp(detail, (0, 0.8, 1), MENTIONED[factor])
        repeated = mentioned & (u[:, n + k] < np.interp(detail, (0, 0.8, 1), REPEATED))
        for said, where, column in ((first, mentioned, 2 * n), (second, repeated, 3 * n)):
            synonym = (u[:, column + k] * 2).astype(int)
            for i in np.flatnonzero(where):
                said[i][factor] = words[value[i]][synonym[i]]
    order = u[:, 4 * n :].reshape(-1, 2, 5).argsort(axis=2, kind="stable")
    return [
        _phrase(one, a) + (" that is " + _phrase(two, b) if two else "")
        for one, two, (a, b) in zip(first, second, order, strict=True)
    ]


def _phrase(said, order):
    """A noun phrase of {factor: words}, its clauses in the given order."""
    adjectives = [said[factor] for factor in ("size", "fill", "colour") if factor in said]
    subject = " ".join([*adjectives, said.get("shape", "thing")])
    article = "an" if subject[0] in "aeio" else "a"
    beside = ""
    if "companion" in said or "corner" in said:
        companion = f"a {said['companion']}" if "companion" in said else "something"
        beside = f"with {companion} {said.get('corner', '')}".strip()
    place, time, wind, tempo = (said.get(f, "") for f in ("biome", "time", "wind", "tempo"))
    clauses = [(place, time, beside, wind, tempo)[k] for k in order]
    return " ".join([article, subject, *filter(None, clauses)])


# Sounds
# fmt: off
HARMONICS = np.array([  # 1 to 6 of each shape's tone
    [1, 0, 0, 0, 0, 0], [1, 0, 0.6, 0, 0.4, 0], [1, 0.6, 0, 0, 0, 0],
    [0.4, 0, 0, 1, 0, 0.5], [0.6, 0.3, 0.6, 0.3, 0.6, 0.3], [0.3, 1, 0, 0.7, 0, 0]])
BANDS = np.array([[250], [500], [900], [1500], [2300], [3300]])  # Hz, of each biome's noise
# fmt: on


def _timbres():
    """One period of each shape's tone, (n_shapes, 1024)."""
    waves = HARMONICS @ np.sin(np.arange(1, 7)[:, None] * (np.arange(1024) / 1024 * 2 * np.pi))
    return (waves / abs(waves).max(axis=1, keepdims=True)).astype("f4")


def _airs():
    """Twelve seconds of each biome's background, (n_biomes, 12 * RATE): noise in its band."""
    noise = np.random.Generator(np.random.PCG64(7)).random((len(BANDS), 12 * RATE)) - 0.5
    octaves = np.log2(np.maximum(np.fft.rfftfreq(12 * RATE, 1 / RATE), 1)) - np.log2(BANDS)
    air = np.fft.irfft(np.fft.rfft(noise) * np.exp(-((octaves / 0.5) ** 2)), axis=-1)
    return (air / air.std(axis=1, keepdims=True)).astype("f4")


def _calls():
    """A fifth of a second of each companion, (n_companions, RATE / 5)."""
    t = np.arange(RATE // 5) / RATE
    fade = np.sin(np.pi * t / t[-1])
    whistle = np.sin(2 * np.pi * (1500 + 4000 * t) * t) * fade
    hum = np.sin(2 * np.pi * 180 * t) * fade
    knock = np.sin(2 * np.pi * 90 * t) * np.exp(-t * 60)
    clicks = np.sin(2 * np.pi * 3000 * t) * (t * 40 % 1 < 0.25)
    return np.stack([whistle, hum, knock, clicks]).astype("f4")


TIMBRES, AIRS, CALLS = _timbres(), _airs(), _calls()


def play(scenes):
    """Sounds (n, 8000): one second at 8 kHz, float32 in [-1, 1]."""
    u = uniform(scenes["id"], "sound", 4)
    t = np.arange(RATE, dtype="f4") / np.float32(RATE)
    hertz = 1000 - 80 * scenes["size"][:, None]  # large things sound low: 200 to 480 Hz
    period = ((hertz * t + u[:, :1]) * 1024).astype(np.int32) % 1024
    beat = (scenes["tempo"][:, None] * t + u[:, 1:2]) % 1
    sound = TIMBRES[scenes["shape"][:, None], period] * (1 - beat) ** 2

    start = (u[:, 2] * (AIRS.shape[1] - RATE)).astype(int)
    air = np.lib.stride_tricks.sliding_window_view(AIRS, RATE, axis=1)[scenes["biome"], start]
    sound += (0.05 + 0.35 * scenes["wind"][:, None]) * air

    start = (u[:, 3] * (RATE - CALLS.shape[1])).astype(int)
    moments = start[:, None] + np.arange(CALLS.shape[1])
    sound[np.arange(len(scenes))[:, None], moments] += CALLS[scenes["companion"]]
    return np.clip(sound / 3, -1, 1)


def log_mel(sounds):
    """Natural log-mel spectrograms (n, 32, 64), float32, of sounds (n, 8000).

    Windows of 256 samples, one every 126.
    """
    from transformers.audio_utils import mel_filter_bank  # half a second that only sounds cost

    sounds = torch.from_numpy(check_array("sounds", sounds, (None, RATE)).astype(np.float32))
    mels = mel_filter_bank(129, 32, 40.0, RATE / 2, RATE, norm="slaney", mel_scale="htk")
    mels, window = torch.from_numpy(mels).float().T, torch.hann_window(256)
    parts = []
    for part in sounds.split(500):
        spectra = torch.stft(part, 256, 126, window=window, return_complex=True).abs() ** 2
        parts.append(torch.log(mels @ spectra + 1e-6))
    return torch.cat(parts).numpy()
