"""The hash behind all randomness, spectrograms by slow arithmetic, and what is drawn, pinned."""

import hashlib

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank

from lib.scenes import SCENE, STREAMS, log_mel, splitmix64, uniform
from lib.world import World


def slow_splitmix64(x):
    """In Python's own whole numbers."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


VALUES = [0, 1, 2**32, 2**63, 2**64 - 1, *range(7 << 40, (7 << 40) + 50)]


def test_hash_is_splitmix64():
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [slow_splitmix64(k * 0x9E3779B97F4A7C15 % 2**64) for k in range(3)] == published
    hashed = splitmix64(np.array(VALUES, dtype=np.uint64))
    assert hashed.tolist() == [slow_splitmix64(x) for x in VALUES]


@pytest.mark.parametrize("stream", STREAMS)
def test_a_uniform_number_is_the_hash_of_id_stream_and_column(stream):
    first = STREAMS.index(stream) * 2**32
    expected = [
        [
            (slow_splitmix64(slow_splitmix64(x) ^ slow_splitmix64(first + k)) >> 40) / 2**24
            for k in range(6)
        ]
        for x in VALUES
    ]
    drawn = uniform(np.array(VALUES, dtype=np.uint64), stream, 6)
    assert drawn.dtype == np.float32
    assert drawn.tolist() == expected


# What is drawn today. Where one of these changes, every number in notebooks 03 to 09 does.

# fmt: off
FACTORS_PINNED = [
    (21474836480, 0, 1, 0, 4, 0, 2, 3), (21474836481, 0, 0, 3, 3, 0, 1, 1),
    (21474836482, 2, 0, 4, 3, 2, 0, 2), (21474836483, 5, 1, 5, 0, 0, 2, 0),
    (21474836484, 1, 3, 2, 7, 2, 2, 0),
]
MEASURES_PINNED = [
    (7.948975086, 0.763497472, -0.318308234, 0.488458872, 5.534495354),
    (8.140562057, 0.705445528, 0.937916040, 0.307508230, 5.767366886),
    (9.021752357, 0.331776261, -0.651556849, 0.409141719, 3.866427183),
    (7.803914547, 0.547855139, -0.554505587, 0.167242408, 6.460546494),
    (8.960406303, -0.603599787, -0.324306846, 0.317816257, 3.135602474),
]
CAPTIONS_PINNED = [
    "a middling solid emerald star with a blossom in the upper right corner in a meadow at "
    "sunrise that is a middling emerald thing at sunrise",
    "a hollow green plus at sunrise in a forest pulsing lazily with a bird at the bottom left "
    "that is a hollow plus with a gull in the lower left corner",
    "a middling plain crimson diamond by day beating quickly with a stone at the top left in a "
    "city in still air that is a medium plain rhombus at noon with something in the upper left "
    "corner in still air beating quickly",
    "a big hollow ivory wedge after dark with a stone in the upper left corner in the desert "
    "that is a big ivory wedge in the desert",
    "a large banded golden triangle with a crab at the top left in a gale at dusk pulsing lazily "
    "at the shore that is a large banded golden triangle with a crab at the top left",
]
PICTURES_PINNED = (
    "789f7d96f28f5f703b959d53cbe5275ad0eb77baba7d67d29a5a02b2a16490c8",
    "eb3223d4ec06ed53eb1b62494e0b6bfa8beed659eb9380dce0fa588281d9e4ae",
)
SOUNDS_PINNED = {  # sines differ in their last digits from one machine to another
    "loudness": [0.12705, 0.12024, 0.11424, 0.09421, 0.10701],
    "middle": [0.14177, -0.16756, 0.02227, -0.12220, 0.04825],
    "roughness": [0.02478, 0.05744, 0.08164, 0.07329, 0.02653],
}
# fmt: on
WORLD, FAR = World(), World(seed=7, agreement=0, shift=1, detail=1)


def test_scenes_are_those_of_today():
    scenes = WORLD.scenes("test", 5)
    assert scenes.dtype == SCENE
    assert [row[:8] for row in scenes.tolist()] == FACTORS_PINNED
    np.testing.assert_allclose([row[8:] for row in scenes.tolist()], MEASURES_PINNED, atol=1e-6)


def test_captions_are_those_of_today():
    captions = WORLD.captions(WORLD.scenes("test", 5))[1:]
    assert captions + FAR.captions(FAR.scenes("validation", 1)) == CAPTIONS_PINNED


@pytest.mark.parametrize("world, purpose, pinned", [(WORLD, "test", 0), (FAR, "validation", 1)])
def test_pictures_are_those_of_today(world, purpose, pinned):
    pictures = world.images(world.scenes(purpose, 20))
    assert pictures.dtype == np.uint8
    assert pictures.shape == (20, 32, 32, 3)
    assert hashlib.sha256(pictures.tobytes()).hexdigest() == PICTURES_PINNED[pinned]


def test_sounds_are_those_of_today():
    sounds = WORLD.sounds(WORLD.scenes("test", 5))
    drawn = {
        "loudness": sounds.std(axis=1),
        "middle": sounds[:, 4000],
        "roughness": np.abs(np.diff(sounds)).mean(axis=1),
    }
    for name, pinned in SOUNDS_PINNED.items():
        np.testing.assert_allclose(drawn[name], pinned, atol=2e-4)


def test_the_loudest_sound_stays_in_range():
    loud = WORLD.sounds(WORLD.scenes("image pretraining", 1, 104490))
    assert np.abs(loud).max() == 1


# Spectrograms


def slow_log_mel(sound):
    """Frame by frame, in double precision."""
    padded = np.pad(sound.astype(float), 128, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    frames = [padded[126 * k : 126 * k + 256] * window for k in range(64)]
    power = [np.abs(np.fft.rfft(frame)) ** 2 for frame in frames]
    filters = mel_filter_bank(129, 32, 40.0, 4000.0, 8000, norm="slaney", mel_scale="htk")
    return np.log(np.array(power) @ filters + 1e-6).T


@pytest.fixture(scope="module")
def sounds():
    return WORLD.sounds(WORLD.scenes("validation", 2))


def test_log_mel_is_that_of_a_slow_transform(sounds):
    spectra = log_mel(sounds)
    assert spectra.shape == (2, 32, 64)
    assert spectra.dtype == np.float32
    np.testing.assert_allclose(spectra, [slow_log_mel(sound) for sound in sounds], atol=2e-3)


def test_log_mel_grows_with_loudness_and_takes_silence(sounds):
    louder = log_mel(2 * sounds) - log_mel(sounds)
    assert louder.min() > -1e-5
    assert louder.mean() > 0.5
    assert louder.max() == pytest.approx(np.log(4), abs=1e-3)
    assert np.isfinite(log_mel(np.zeros((1, 8000)))).all()


def test_log_mel_of_many_is_that_of_each(sounds):
    many = log_mel(np.tile(sounds, (252, 1)))  # 500 are made at a time
    np.testing.assert_allclose(
        many[[0, 1, 499, 500, 503]], log_mel(sounds)[[0, 1, 1, 0, 1]], atol=1e-4
    )


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_tone_is_loudest_in_its_band(hertz):
    edges = 2595 * np.log10(1 + np.array([40, 4000, hertz]) / 700)
    centres = np.linspace(edges[0], edges[1], 34)[1:-1]
    tone = np.sin(2 * np.pi * hertz * np.arange(8000) / 8000)[None]
    assert log_mel(tone)[0, :, 32].argmax() == np.abs(centres - edges[2]).argmin()


NO_SOUNDS = [
    np.zeros(shape) for shape in ((8000,), (2, 7999), (2, 8001), (1, 2, 8000), (), (0, 8000))
]
NO_SOUNDS += [np.full((1, 8000), np.nan), "text", None, [[1.0], [1.0, 2.0]]]


@pytest.mark.parametrize("value", NO_SOUNDS, ids=range(len(NO_SOUNDS)))
def test_bad_sounds(value):
    with pytest.raises(ValueError, match="^sounds: got .*, accepted: .*$"):
        log_mel(value)
