"""The world: splits, table, projections and dials against arithmetic written out here; what it draws today, pinned."""
import hashlib
import json
import re

import numpy as np
import pytest
from scipy import stats
from transformers.audio_utils import mel_filter_bank

from lib.world import (AWAY, FACTORS, FAVOURITES, HOME, LIKELY, MEASURES, PURPOSES, RETOLD, SCENE, STREAMS, TOLD, VERSION, WORDS, World,
                       _mix, _uniform, key, log_mel)

PICTURE, CAPTION, SOUND = ALL = ("image", "caption", "sound")
CAN_TELL = {"biome": ALL, "time": ALL[:2], "shape": ALL, "colour": ALL[:2], "fill": ALL[:2], "companion": ALL, "corner": ALL[:2],  # by the module's docstring
            "size": ALL, "x": ALL[:1], "y": ALL[:1], "wind": ALL[1:], "tempo": ALL[1:]}
PHRASES = {phrase: (factor, k) for factor, words in WORDS.items() for k, same in enumerate(words) for phrase in same}
GLUE = {"a", "an", "with", "something", "thing", "that", "is"}


def show(world, modality, scenes):
    """A projection as an array, one row a scene."""
    return np.array({PICTURE: world.images, CAPTION: world.captions, SOUND: world.sounds}[modality](scenes))


def differ(a, b):
    return (a != b).reshape(len(a), -1).any(axis=1)


def other(scenes, factor):
    """The same scenes, but for another value of one factor (a measure goes to its far end)."""
    result, (low, high) = scenes.copy(), MEASURES.get(factor, (0, 0))
    result[factor] = (scenes[factor] + 1) % len(FACTORS[factor]) if factor in FACTORS else np.where(scenes[factor] < (low + high) / 2, high, low)
    return result


def truth(scenes, factor):
    """The value of a factor, or the third of its range in which a measure lies."""
    low, high = MEASURES.get(factor, (0, 0))
    return scenes[factor] if factor in FACTORS else np.digitize(scenes[factor], [low + (high - low) / 3, low + (high - low) * 2 / 3])


def told(caption):
    """{factor: value} of each half of a caption; every word must belong to a phrase or to the glue, and no half say a thing twice."""
    pattern, halves = r"\b(" + "|".join(PHRASES) + r")\b", []
    for half in caption.split(" that is "):
        found = [PHRASES[phrase] for phrase in re.findall(pattern, half)]
        assert len(dict(found)) == len(found) and set(re.sub(pattern, "", half).split()) <= GLUE
        halves.append(dict(found))
    return halves


@pytest.fixture(scope="module")
def scenes():
    return World().scenes("validation", 60)


# Splits, and sameness -------------------------------------------------------------------------------------------------

def test_no_id_is_in_two_splits_or_two_seeds():
    """Every split is a range of 2^32 ids, by its first and last; the ranges never meet."""
    ends = []
    for seed in (0, 1, 2, 255, 2**16, 2**24 - 2, 2**24 - 1):
        for purpose in PURPOSES:
            first, last = (World(seed).scenes(purpose, 3, start)["id"].tolist() for start in (0, 2**32 - 3))
            assert first + last == [first[0] + k for k in (0, 1, 2, 2**32 - 3, 2**32 - 2, 2**32 - 1)]
            ends.append((first[0], last[2]))
    assert all(a[1] < b[0] for a, b in zip(sorted(ends), sorted(ends)[1:]))
    drawn = np.concatenate([World(seed).scenes(purpose, 2000, start)["id"] for seed in (0, 1) for purpose in PURPOSES for start in (0, 10**9)])
    assert len(np.unique(drawn)) == 48000


def test_a_draw_is_the_same_in_whatever_order_batch_or_length():
    world, perm = World(seed=1), np.random.default_rng(0).permutation(260)
    scenes = world.scenes("alignment", 260)                       # pictures and sounds are made 250 at a time
    for k in (1, 7, 259):
        np.testing.assert_array_equal(world.scenes("alignment", k), scenes[:k])
        np.testing.assert_array_equal(world.scenes("alignment", 260 - k, start=k), scenes[k:])
    for modality in ALL:
        shown = show(world, modality, scenes)
        assert len(np.unique(shown, axis=0)) == len(shown) == 260
        for some in (perm, perm[:1], slice(248, 253)):
            np.testing.assert_array_equal(show(world, modality, scenes[some]), shown[some])
        np.testing.assert_array_equal(show(World(seed=9), modality, scenes), shown)  # the table decides, not the seed


def splitmix64(x):
    """In Python's own whole numbers."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_hash_is_splitmix64():
    assert [splitmix64(k * 0x9E3779B97F4A7C15 % 2**64) for k in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # as published
    values = [0, 1, 2**32, 2**63, 2**64 - 1, *range(7 << 40, (7 << 40) + 50)]
    assert _mix(np.array(values, dtype=np.uint64)).tolist() == [splitmix64(x) for x in values]
    for k, stream in enumerate(STREAMS):
        expected = [[(splitmix64(splitmix64(x) ^ splitmix64(k * 2**32 + column)) >> 40) / 2**24 for column in range(6)] for x in values]
        drawn = _uniform(np.array(values, dtype=np.uint64), stream, 6)
        assert drawn.dtype == np.float32 and drawn.tolist() == expected


def test_what_version_1_draws():
    """Where one of these changes, VERSION must rise, or caches go on serving the old world."""
    world, far = World(), World(seed=7, agreement=0, shift=1, detail=1)
    scenes, sounds = world.scenes("test", 5), world.sounds(world.scenes("test", 5))
    assert VERSION == 1 and scenes.dtype == SCENE and [row[:8] for row in scenes.tolist()] == [
        (21474836480, 0, 1, 0, 4, 0, 2, 3), (21474836481, 0, 0, 3, 3, 0, 1, 1), (21474836482, 2, 0, 4, 3, 2, 0, 2),
        (21474836483, 5, 1, 5, 0, 0, 2, 0), (21474836484, 1, 3, 2, 7, 2, 2, 0)]
    np.testing.assert_allclose([row[8:] for row in scenes.tolist()], [
        (7.948975086, 0.763497472, -0.318308234, 0.488458872, 5.534495354), (8.140562057, 0.705445528, 0.937916040, 0.307508230, 5.767366886),
        (9.021752357, 0.331776261, -0.651556849, 0.409141719, 3.866427183), (7.803914547, 0.547855139, -0.554505587, 0.167242408, 6.460546494),
        (8.960406303, -0.603599787, -0.324306846, 0.317816257, 3.135602474)], atol=1e-6)
    assert world.captions(scenes)[1:] + far.captions(far.scenes("validation", 1)) == [
        "a middling solid emerald star with a blossom in the upper right corner in a meadow at sunrise that is a middling emerald thing at sunrise",
        "a hollow green plus at sunrise in a forest pulsing lazily with a bird at the bottom left that is a hollow plus with a gull in the lower left corner",
        "a middling plain crimson diamond by day beating quickly with a stone at the top left in a city in still air that is a medium plain rhombus at noon "
        "with something in the upper left corner in still air beating quickly",
        "a big hollow ivory wedge after dark with a stone in the upper left corner in the desert that is a big ivory wedge in the desert",
        "a large banded golden triangle with a crab at the top left in a gale at dusk pulsing lazily at the shore "
        "that is a large banded golden triangle with a crab at the top left"]
    for pictures, digest in ((world.images(world.scenes("test", 20)), "789f7d96f28f5f703b959d53cbe5275ad0eb77baba7d67d29a5a02b2a16490c8"),
                             (far.images(far.scenes("validation", 20)), "eb3223d4ec06ed53eb1b62494e0b6bfa8beed659eb9380dce0fa588281d9e4ae")):
        assert pictures.dtype == np.uint8 and pictures.shape == (20, 32, 32, 3) and hashlib.sha256(pictures.tobytes()).hexdigest() == digest
    for drawn, pinned in ((sounds.std(axis=1), [0.12705, 0.12024, 0.11424, 0.09421, 0.10701]), (sounds[:, 4000], [0.14177, -0.16756, 0.02227, -0.12220, 0.04825]),
                          (np.abs(np.diff(sounds)).mean(axis=1), [0.02478, 0.05744, 0.08164, 0.07329, 0.02653])):  # sines differ in their last digits
        np.testing.assert_allclose(drawn, pinned, atol=2e-4)


# The table ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shift, mixture", [(0.0, HOME), (1.0, AWAY), (0.25, 0.75 * np.array(HOME) + 0.25 * np.array(AWAY))])
def test_factors_are_as_frequent_as_their_table_says(shift, mixture):
    scenes = World(shift=shift).scenes("image pretraining", 20000)
    counts, independent = np.bincount(scenes["biome"], minlength=6), lambda *factors: stats.chi2_contingency(stats.contingency.crosstab(*factors).count).pvalue > 1e-3
    assert all(abs(count / 20000 - p) < 4 * np.sqrt(p * (1 - p) / 20000) for count, p in zip(counts, mixture, strict=True))
    for factor, values in list(FACTORS.items())[1:]:
        assert set(scenes[factor].tolist()) == set(range(len(values))) and (factor == "corner" or independent(scenes["corner"], scenes[factor])), factor
        for b, biome in enumerate(FACTORS["biome"]):
            favourites = FAVOURITES[biome].get(factor, values)    # no biome has a favourite corner
            for k, value in enumerate(values):
                p = LIKELY * (value in favourites) / len(favourites) + (1 - LIKELY) / len(values)
                assert abs((scenes[factor][scenes["biome"] == b] == k).mean() - p) < 4.5 * np.sqrt(p * (1 - p) / counts[b]), (biome, value)
    snow = scenes[scenes["biome"] == 4]                           # within a biome, attributes know nothing of each other
    assert independent(scenes["corner"], scenes["biome"]) and independent(snow["shape"], snow["colour"]) and independent(snow["time"], snow["fill"])


def test_measures_fill_their_ranges_and_correlate_as_documented():
    """Windy places, and small things beat fast; taken out of wind and tempo, that leaves five independent uniforms."""
    scenes = World().scenes("sound pretraining", 20000)
    assert all(low <= scenes[name].min() and scenes[name].max() <= high for name, (low, high) in MEASURES.items())
    unit = {name: (scenes[name].astype(float) - low) / (high - low) for name, (low, high) in MEASURES.items()}
    calm = np.array([FAVOURITES[biome]["wind"] for biome in FACTORS["biome"]])[scenes["biome"]]
    fair = np.stack([unit["size"], unit["x"], unit["y"], (unit["wind"] - 0.6 * calm) / 0.4, 2 * unit["tempo"] - 1 + unit["size"]])
    assert fair.min() > -1e-5 and fair.max() < 1 + 1e-5 and all(stats.kstest(u, "uniform").pvalue > 0.001 for u in fair)
    assert np.abs(np.corrcoef(fair) - np.eye(5)).max() < 4.5 / np.sqrt(20000)
    assert abs(np.corrcoef(unit["size"], unit["tempo"])[0, 1] + np.sqrt(0.5)) < 4.5 * 0.5 / np.sqrt(20000)


# What each projection can tell ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("factor", CAN_TELL)
def test_a_factor_shows_where_it_is_said_to_and_nowhere_else(factor, scenes):
    world = World(detail=1)
    for modality in ALL:
        difference = differ(show(world, modality, scenes), show(world, modality, other(scenes, factor)))
        assert difference.all() if modality in CAN_TELL[factor] else not difference.any(), modality
    if factor in ("size", "wind", "tempo"):                       # captions round to thirds
        low, high = MEASURES[factor]
        third, rounded = (high - low) / 3, scenes.copy()
        rounded[factor] = low + third * (truth(scenes, factor) + 0.99)
        assert world.captions(rounded) == world.captions(scenes)


def test_a_companion_shows_in_its_own_corner(scenes):
    difference = (World().images(scenes) != World().images(other(scenes, "companion"))).any(axis=3)
    for corner, where in enumerate(FACTORS["corner"]):
        here = difference[scenes["corner"] == corner]
        inside = here[:, slice(0, 16) if "top" in where else slice(16, 32), slice(0, 16) if "left" in where else slice(16, 32)]
        assert inside.any(axis=(1, 2)).all() and inside.sum() == here.sum() > 0


def test_sounds_are_sounds_and_wind_is_their_noise(scenes):
    sounds, calm, gale = World().sounds(scenes), scenes.copy(), scenes.copy()
    assert sounds.dtype == np.float32 and sounds.shape == (60, 8000) and np.isfinite(sounds).all() and 0.2 < np.abs(sounds).max() <= 1
    calm["wind"], gale["wind"] = 0, 1
    np.testing.assert_allclose((World().sounds(gale) - World().sounds(calm)).std(axis=1), 0.35 / 3, rtol=0.2)


# Captions -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("detail", [0, 0.4, 0.8, 0.9, 1])
def test_captions_say_what_is_so_as_often_as_documented(detail):
    scenes = World().scenes("text pretraining", 3000)
    halves, known = [told(caption) for caption in World(detail=detail).captions(scenes)], {factor: truth(scenes, factor) for factor in WORDS}
    for i, (first, *again) in enumerate(halves):                  # the second half, if any, says less or the same
        assert all(known[factor][i] == value for factor, value in first.items()) and len(again) <= 1
        assert all(said and said.items() <= first.items() for said in again)
    at = lambda shares: shares[0] + (shares[1] - shares[0]) * detail / 0.8 if detail <= 0.8 else shares[1] + (shares[2] - shares[1]) * (detail - 0.8) / 0.2
    for factor in WORDS:
        p = np.array([at(TOLD[factor]), at(TOLD[factor]) * at(RETOLD)])
        shares = np.mean([[factor in first, bool(again) and factor in again[0]] for first, *again in halves], axis=0)
        assert (np.abs(shares - p) < 4.5 * np.sqrt(np.maximum(p * (1 - p), 0) / 3000) + 1e-9).all(), factor


def test_captions_are_plain_english():
    some, few, full = (World(detail=detail).captions(World().scenes("text pretraining", 5000)) for detail in (0.8, 0, 1))
    assert set(" ".join(some).split()) == set(" ".join(PHRASES).split()) | GLUE and all(phrase in " ".join(some) for phrase in PHRASES)
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)*", caption) for caption in some + few + full)
    for article, word in re.findall(r"\b(an?) (\w+)", " ".join(some + few + full)):
        assert (article == "an") == (word[0] in "aeiou"), (article, word)
    last = [list(told(caption)[0])[-1] for caption in full[:2000]]  # five clauses in any order
    assert stats.chisquare([last.count(factor) for factor in ("biome", "time", "corner", "wind", "tempo")], [400] * 5).pvalue > 0.001


# Dials ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("agreement", [1, 0.75, 0.5, 0.25, 0])
def test_agreement_swaps_names_and_nothing_else(agreement):
    scenes, world, names = World().scenes("test", 300), World(agreement=agreement), {"shape": {}, "colour": {}}
    for own, called in zip(*(map(told, w.captions(scenes)) for w in (World(), world))):
        for a, b in zip(own, called, strict=True):
            assert a.keys() == b.keys() and all(names[f].setdefault(a[f], b[f]) == b[f] if f in names else a[f] == b[f] for f in a)
    for factor, called in names.items():
        n = len(FACTORS[factor])
        assert sorted(called) == sorted(called.values()) == list(range(n)) and abs(sum(a == b for a, b in called.items()) - agreement * n) <= 0.5
    assert not any(differ(show(World(), modality, scenes), show(world, modality, scenes)).any() for modality in (PICTURE, SOUND))


def test_captions_grow_with_detail():
    lengths = [np.mean([len(c.split()) for c in World(detail=detail).captions(World().scenes("test", 1000))]) for detail in (0, 0.2, 0.4, 0.6, 0.8, 0.9, 1)]
    assert (np.diff(lengths) > 0.5).all() and lengths[0] < 8 and lengths[-1] > 35


def test_shift_turns_colours_and_no_more(scenes):
    home, away = (World(shift=shift).images(scenes[scenes["colour"] != 7]).astype(int) for shift in (0, 1))
    assert differ(home, away).all() and np.abs(away - home).max() > 40 and not differ(home[:, ::31, ::31], away[:, ::31, ::31]).any()  # the ground stays
    assert not any(differ(show(World(), modality, scenes), show(World(shift=1), modality, scenes)).any() for modality in (CAPTION, SOUND))


@pytest.mark.parametrize("modality", ALL)
@pytest.mark.parametrize("factor", CAN_TELL)
def test_a_blind_projection_hides_that_factor_alone(modality, factor, scenes):
    plain, blind, before = World(detail=1), World(detail=1, blind=((modality, factor),)), scenes.copy()
    for looked_at in ALL:
        assert differ(show(blind, looked_at, scenes), show(plain, looked_at, scenes)).any() == (looked_at == modality in CAN_TELL[factor])
    seen, rest = show(blind, modality, scenes), "biome" if factor == "shape" else "shape"
    assert not differ(seen, show(blind, modality, other(scenes, factor))).any() and differ(seen, show(blind, modality, other(scenes, rest))).all()
    if modality == CAPTION:
        for all_told, hidden in zip(map(told, plain.captions(scenes)), map(told, seen)):
            assert hidden == [left for left in ({f: v for f, v in half.items() if f != factor} for half in all_told) if left]
    np.testing.assert_array_equal(scenes, before)                 # the table is not written to


def test_every_projection_has_a_blindness_of_its_own(scenes):
    blind = World(blind=((PICTURE, "colour"), (SOUND, "size"), (PICTURE, "shape")))
    shapes, sizes = other(other(scenes, "colour"), "shape"), other(scenes, "size")
    assert [[differ(show(blind, m, scenes), show(blind, m, table)).mean() > 0.9 for m in ALL] for table in (shapes, sizes)] == [[False, True, True], [True, True, False]]


def test_encoders_look_at_what_the_cache_key_names(scenes):
    keys = [json.dumps(key(world)) for world in (World(), World(1), World(agreement=0.5), World(detail=1), World(shift=1), World(blind=((SOUND, "x"),)), World(blind=((PICTURE, "x"),)))]
    assert len(set(keys)) == 7 and json.dumps(key(World())) == keys[0] and key(World())["version"] == VERSION
    for modality in ALL:
        expected = show(World(), modality, scenes)
        np.testing.assert_array_equal(World().look(modality, scenes), log_mel(expected) if modality == SOUND else expected)


def test_equal_worlds_have_one_key():
    same = World(0, detail=1, blind=(("sound", "x"), ("image", "colour")))
    for other in (World(np.int64(0), detail=1.0, blind=[["image", "colour"], ["sound", "x"]]), World(detail=np.float32(1), blind=(pair for pair in same.blind))):
        assert other == same and hash(other) == hash(same) and json.dumps(key(other)) == json.dumps(key(same))
    assert (World(np.int8(5)).scenes("test", 3) == World(5).scenes("test", 3)).all()


def test_the_loudest_sounds_stay_in_range_and_no_caption_is_empty():
    loud = World().sounds(World().scenes("image pretraining", 1, 104490))
    assert np.abs(loud).max() == 1
    bare = World(detail=0, blind=(("caption", "shape"),)).captions(World().scenes("test", 500))
    assert min(map(len, bare)) > 0 and "a thing" in bare


# Spectrograms ---------------------------------------------------------------------------------------------------------

def slow_log_mel(sound, n_mels):
    """Frame by frame, in double precision."""
    padded, window = np.pad(sound.astype(float), 128, mode="reflect"), 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    power = [np.abs(np.fft.rfft(padded[126 * k:126 * k + 256] * window)) ** 2 for k in range(64)]
    return np.log(power @ mel_filter_bank(129, n_mels, 40.0, 4000.0, 8000, norm="slaney", mel_scale="htk") + 1e-6).T


def test_log_mel_is_that_of_a_slow_transform(scenes):
    sounds, mel = World().sounds(scenes[:2]), lambda hertz: 2595 * np.log10(1 + np.asarray(hertz) / 700)
    for spectra, n_mels in ((log_mel(sounds), 32), (log_mel(sounds, 20), 20)):
        assert spectra.shape == (2, n_mels, 64) and spectra.dtype == np.float32 and np.isfinite(spectra).all()
        np.testing.assert_allclose(spectra, [slow_log_mel(sound, n_mels) for sound in sounds], atol=2e-3)
    louder = log_mel(2 * sounds) - log_mel(sounds)
    assert louder.min() > -1e-5 and louder.mean() > 0.5 and louder.max() == pytest.approx(np.log(4), abs=1e-3) and np.isfinite(log_mel(np.zeros((1, 8000)))).all()
    np.testing.assert_allclose(log_mel(np.tile(sounds, (252, 1)))[[0, 1, 499, 500, 503]], log_mel(sounds)[[0, 1, 1, 0, 1]], atol=1e-4)  # 500 at a time
    tones, centres = np.sin(2 * np.pi * np.array([[300], [1000], [3000]]) * np.arange(8000) / 8000), np.linspace(mel(40), mel(4000), 34)[1:-1]
    assert log_mel(tones)[:, :, 32].argmax(axis=1).tolist() == [np.abs(centres - mel(hertz)).argmin() for hertz in (300, 1000, 3000)]


# Bad input: one line that names the argument --------------------------------------------------------------------------

def answers(call, name):
    """The call is refused in one line that begins with the argument's name."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ") and ", accepted: " in message and "\n" not in message and len(message) < 240


def edited(scenes, field, value):
    scenes = scenes.copy()
    scenes[field] = value
    return scenes


W, S = World(), World().scenes("test", 2)
REFUSED = [  # the argument, the call that gets it, and what is refused
    *((dial, lambda x, dial=dial: World(**{dial: x}), (-0.01, 1.01, np.nan, np.inf, "much", "0.5", True, None, [0.5])) for dial in ("agreement", "detail", "shift")),
    ("seed", World, (-1, 2**24, 2**70, True, 1.0, "1", None, np.nan)), ("purpose", lambda x: W.scenes(x, 1), ("training", "Test", "", None, 0, np.array(["test", "alignment"]))),
    ("n", lambda x: W.scenes("test", x), (0, -1, 1.5, True, "2", None, 2**32 + 1)), ("start", lambda x: W.scenes("test", 1, x), (-1, 0.0, True, "0", None)),
    ("n", lambda x: W.scenes("test", *x), ((1, 2**32), (2, 2**32 - 1))), ("modality", lambda x: W.look(x, S), ("smell", "images", None)),
    ("blind", lambda x: World(blind=x), ((("picture", "colour"),), (("image", "color"),), ("image", "colour"), (("image",),), "image", ((0, 1),), (("sound", "id"),),
                                         (("image", "colour", "shape"),), None, 5, (("image", ["x"]),), (("image", "colour"), ("image", None)))),
    *(("scenes", call, (S.tolist(), S[:0], None, "test", np.ones((2, 13)), S["id"], S[0], S.reshape(1, 2), S[["id", "biome"]], S.astype([(n, "f8") for n in SCENE.names])))
      for call in (W.images, W.captions, W.sounds, lambda x: W.look(SOUND, x))),
    ("n_mels", lambda x: log_mel(np.zeros((1, 8000)), x), (0, -1, 1.5, True, "32", None)),
    ("sounds", lambda x: log_mel(np.zeros(x)), ((8000,), (2, 7999), (2, 8001), (1, 2, 8000), (8000, 2), (), (0, 8000))),
    ("sounds", log_mel, (np.full((1, 8000), np.nan), "text", None, [[1.0], [1.0, 2.0]])),
    ("scenes", W.captions, (edited(S, "colour", 8), edited(S, "shape", -1), edited(S, "wind", np.nan), edited(S, "size", 50))),
]
BAD = {f"{k} {name} {' '.join(str(value).split())[:40]}": (lambda call=call, value=value: call(value), name) for k, (name, call, values) in enumerate(REFUSED) for value in values}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    answers(*BAD[case])
