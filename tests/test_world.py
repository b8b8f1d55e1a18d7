"""The world: splits, table, projections and dials against arithmetic written out here."""

import itertools
import json
import re

import numpy as np
import pytest
from scipy import stats

from lib.scenes import FACTORS, MEASURES, MENTIONED, REPEATED, SCENE, WORDS
from lib.world import AWAY, FAVOURITES, HOME, LIKELY, PURPOSES, WINDY, World, log_mel

PICTURE, CAPTION, SOUND = ALL = ("image", "caption", "sound")
SHOWN_BY = {  # by the docstring of lib.scenes
    "biome": ALL,
    "time": (PICTURE, CAPTION),
    "shape": ALL,
    "colour": (PICTURE, CAPTION),
    "fill": (PICTURE, CAPTION),
    "companion": ALL,
    "corner": (PICTURE, CAPTION),
    "size": ALL,
    "x": (PICTURE,),
    "y": (PICTURE,),
    "wind": (CAPTION, SOUND),
    "tempo": (CAPTION, SOUND),
}
PHRASES = {
    phrase: (factor, k)
    for factor, words in WORDS.items()
    for k, synonyms in enumerate(words)
    for phrase in synonyms
}
GLUE = {"a", "an", "with", "something", "thing", "that", "is"}


def show(world, modality, scenes):
    """A projection as an array, one row a scene."""
    projection = {PICTURE: world.images, CAPTION: world.captions, SOUND: world.sounds}[modality]
    return np.array(projection(scenes))


def differ(a, b):
    """Which rows differ."""
    return (a != b).reshape(len(a), -1).any(axis=1)


def edited(scenes, field, value):
    scenes = scenes.copy()
    scenes[field] = value
    return scenes


def other(scenes, factor):
    """The same scenes with another value of one factor; a measure goes to its far end."""
    if factor in FACTORS:
        return edited(scenes, factor, (scenes[factor] + 1) % len(FACTORS[factor]))
    low, high = MEASURES[factor]
    return edited(scenes, factor, np.where(scenes[factor] < (low + high) / 2, high, low))


def truth(scenes, factor):
    """The value of a factor, or the third of its range in which a measure lies."""
    if factor in FACTORS:
        return scenes[factor]
    low, high = MEASURES[factor]
    return np.digitize(scenes[factor], [low + (high - low) / 3, low + (high - low) * 2 / 3])


def parse(caption):
    """[{factor: value} of each half of a caption]; no half may say a thing twice."""
    pattern = r"\b(" + "|".join(PHRASES) + r")\b"
    halves = []
    for half in caption.split(" that is "):
        found = [PHRASES[phrase] for phrase in re.findall(pattern, half)]
        assert len(dict(found)) == len(found)
        assert set(re.sub(pattern, "", half).split()) <= GLUE
        halves.append(dict(found))
    return halves


@pytest.fixture(scope="module")
def scenes():
    return World().scenes("validation", 60)


# Splits, and sameness


def test_no_id_is_in_two_splits_or_two_seeds():
    """Every split is a range of 2^32 ids, by its first and last; the ranges never meet."""
    ranges = []
    for seed in (0, 1, 2, 255, 2**16, 2**24 - 2, 2**24 - 1):
        for purpose in PURPOSES:
            first = World(seed).scenes(purpose, 3)["id"].tolist()
            last = World(seed).scenes(purpose, 3, 2**32 - 3)["id"].tolist()
            steps = (0, 1, 2, 2**32 - 3, 2**32 - 2, 2**32 - 1)
            assert first + last == [first[0] + k for k in steps]
            ranges.append((first[0], last[2]))
    assert all(a[1] < b[0] for a, b in itertools.pairwise(sorted(ranges)))


def test_drawn_ids_are_unique():
    draws = itertools.product((0, 1), PURPOSES, (0, 10**9))
    ids = [World(seed).scenes(purpose, 2000, start)["id"] for seed, purpose, start in draws]
    assert len(np.unique(np.concatenate(ids))) == 48000


def test_a_draw_begins_with_the_shorter_one():
    scenes = World(seed=1).scenes("alignment", 260)
    for k in (1, 7, 259):
        np.testing.assert_array_equal(World(seed=1).scenes("alignment", k), scenes[:k])
        np.testing.assert_array_equal(World(seed=1).scenes("alignment", 260 - k, k), scenes[k:])
    np.testing.assert_array_equal(World(np.int8(1)).scenes("alignment", 260), scenes)


@pytest.mark.parametrize("modality", ALL)
def test_a_scene_looks_the_same_in_whatever_order_or_batch(modality):
    scenes = World(seed=1).scenes("alignment", 260)  # pictures and sounds are made 250 at a time
    shown = show(World(seed=1), modality, scenes)
    assert len(np.unique(shown, axis=0)) == len(shown) == 260
    order = np.random.default_rng(0).permutation(260)
    for some in (order, order[:1], slice(248, 253)):
        np.testing.assert_array_equal(show(World(seed=1), modality, scenes[some]), shown[some])
    np.testing.assert_array_equal(show(World(seed=9), modality, scenes), shown)  # no seed in it


# The table


def independent(a, b):
    return stats.chi2_contingency(stats.contingency.crosstab(a, b).count).pvalue > 1e-3


QUARTER = 0.75 * np.array(HOME) + 0.25 * np.array(AWAY)


@pytest.mark.parametrize("shift, mixture", [(0.0, HOME), (1.0, AWAY), (0.25, QUARTER)])
def test_factors_are_as_frequent_as_their_table_says(shift, mixture):
    scenes = World(shift=shift).scenes("image pretraining", 20000)
    counts = np.bincount(scenes["biome"], minlength=6)
    for count, p in zip(counts, mixture, strict=True):
        assert abs(count / 20000 - p) < 4 * np.sqrt(p * (1 - p) / 20000)
    for factor, values in list(FACTORS.items())[1:]:
        cells = FAVOURITES.get(factor, ", ".join(["/".join(values)] * 6)).split(", ")
        for b, cell in enumerate(cells):
            favourites = cell.split("/")
            drawn = scenes[factor][scenes["biome"] == b]
            for k, value in enumerate(values):
                likely = (value in favourites) / len(favourites)
                p = LIKELY * likely + (1 - LIKELY) / len(values)
                assert abs((drawn == k).mean() - p) < 4.5 * np.sqrt(p * (1 - p) / counts[b])


def test_within_a_biome_factors_know_nothing_of_each_other():
    scenes = World().scenes("image pretraining", 20000)
    for factor in list(FACTORS)[:-1]:
        assert independent(scenes["corner"], scenes[factor]), factor
    snow = scenes[scenes["biome"] == 4]
    assert independent(snow["shape"], snow["colour"])
    assert independent(snow["time"], snow["fill"])


def test_measures_fill_their_ranges_and_correlate_as_documented():
    """Windy places, and small things beat fast; without that, five independent uniforms."""
    scenes = World().scenes("sound pretraining", 20000)
    unit = {}
    for name, (low, high) in MEASURES.items():
        assert low <= scenes[name].min()
        assert scenes[name].max() <= high
        unit[name] = (scenes[name].astype(float) - low) / (high - low)
    gust = (unit["wind"] - 0.6 * WINDY[scenes["biome"]]) / 0.4
    beat = 2 * unit["tempo"] - 1 + unit["size"]
    fair = np.stack([unit["size"], unit["x"], unit["y"], gust, beat])
    assert fair.min() > -1e-5
    assert fair.max() < 1 + 1e-5
    assert all(stats.kstest(u, "uniform").pvalue > 0.001 for u in fair)
    assert np.abs(np.corrcoef(fair) - np.eye(5)).max() < 4.5 / np.sqrt(20000)
    correlation = np.corrcoef(unit["size"], unit["tempo"])[0, 1]
    assert abs(correlation + np.sqrt(0.5)) < 4.5 * 0.5 / np.sqrt(20000)


# What each projection can tell


@pytest.mark.parametrize("factor", SHOWN_BY)
def test_a_factor_shows_where_it_is_said_to_and_nowhere_else(factor, scenes):
    world = World(detail=1)
    for modality in ALL:
        changed = show(world, modality, other(scenes, factor))
        difference = differ(show(world, modality, scenes), changed)
        assert difference.all() if modality in SHOWN_BY[factor] else not difference.any(), modality


@pytest.mark.parametrize("factor", ["size", "wind", "tempo"])
def test_captions_round_to_thirds(factor, scenes):
    low, high = MEASURES[factor]
    top = low + (high - low) / 3 * (truth(scenes, factor) + 0.99)
    world = World(detail=1)
    assert world.captions(edited(scenes, factor, top)) == world.captions(scenes)


def test_a_companion_shows_in_its_own_corner(scenes):
    changed = World().images(other(scenes, "companion"))
    difference = (World().images(scenes) != changed).any(axis=3)
    for corner, name in enumerate(FACTORS["corner"]):
        here = difference[scenes["corner"] == corner]
        rows = slice(0, 16) if "top" in name else slice(16, 32)
        columns = slice(0, 16) if "left" in name else slice(16, 32)
        inside = here[:, rows, columns]
        assert inside.any(axis=(1, 2)).all()
        assert inside.sum() == here.sum() > 0


def test_sounds_are_sounds_and_wind_is_their_noise(scenes):
    sounds = World().sounds(scenes)
    assert sounds.dtype == np.float32
    assert sounds.shape == (60, 8000)
    assert 0.2 < np.abs(sounds).max() <= 1
    calm, gale = (World().sounds(edited(scenes, "wind", wind)) for wind in (0, 1))
    np.testing.assert_allclose((gale - calm).std(axis=1), 0.35 / 3, rtol=0.2)


def test_encoders_look_at_the_projections(scenes):
    for modality in (PICTURE, CAPTION):
        expected = show(World(), modality, scenes)
        np.testing.assert_array_equal(World().look(modality, scenes), expected)
    expected = log_mel(World().sounds(scenes))
    np.testing.assert_array_equal(World().look(SOUND, scenes), expected)


# Captions


@pytest.mark.parametrize("detail", [0, 0.4, 0.8, 0.9, 1])
def test_captions_say_what_is_so_as_often_as_documented(detail):
    scenes = World().scenes("text pretraining", 3000)
    halves = [parse(caption) for caption in World(detail=detail).captions(scenes)]
    known = {factor: truth(scenes, factor) for factor in WORDS}
    for i, (first, *again) in enumerate(halves):  # the second half, if any, says less or the same
        assert all(known[factor][i] == value for factor, value in first.items())
        assert len(again) <= 1
        assert all(half and half.items() <= first.items() for half in again)

    def share(at_0, at_08, at_1):
        if detail <= 0.8:
            return at_0 + (at_08 - at_0) * detail / 0.8
        return at_08 + (at_1 - at_08) * (detail - 0.8) / 0.2

    for factor in WORDS:
        once = share(*MENTIONED[factor])
        p = np.array([once, once * share(*REPEATED)])
        said = [[factor in first, any(factor in half for half in rest)] for first, *rest in halves]
        error = np.sqrt(np.maximum(p * (1 - p), 0) / 3000)
        assert (np.abs(np.mean(said, axis=0) - p) < 4.5 * error + 1e-9).all(), factor


def test_captions_are_plain_english():
    scenes = World().scenes("text pretraining", 5000)
    usual = World().captions(scenes)
    text = " ".join(usual)
    assert set(text.split()) == set(" ".join(PHRASES).split()) | GLUE
    assert all(phrase in text for phrase in PHRASES)
    captions = usual + World(detail=0).captions(scenes) + World(detail=1).captions(scenes)
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)*", caption) for caption in captions)
    for article, word in re.findall(r"\b(an?) (\w+)", " ".join(captions)):
        assert (article == "an") == (word[0] in "aeiou"), (article, word)


def test_clauses_come_in_any_order():
    captions = World(detail=1).captions(World().scenes("text pretraining", 2000))
    last = [list(parse(caption)[0])[-1] for caption in captions]
    counts = [last.count(factor) for factor in ("biome", "time", "corner", "wind", "tempo")]
    assert stats.chisquare(counts, [400] * 5).pvalue > 0.001


def test_no_caption_is_empty():
    world = World(detail=0, blind=((CAPTION, "shape"),))
    captions = world.captions(world.scenes("test", 500))
    assert "" not in captions
    assert "a thing" in captions


# Dials


@pytest.mark.parametrize("agreement", [1, 0.75, 0.5, 0.25, 0])
def test_agreement_swaps_names_and_nothing_else(agreement):
    scenes = World().scenes("test", 300)
    names = {"shape": {}, "colour": {}}
    plain = map(parse, World().captions(scenes))
    swapped = map(parse, World(agreement=agreement).captions(scenes))
    for before, after in itertools.chain(*map(zip, plain, swapped)):
        assert before.keys() == after.keys()
        for factor, value in before.items():
            called = names[factor].setdefault(value, after[factor]) if factor in names else value
            assert after[factor] == called
    for factor, called in names.items():
        n = len(FACTORS[factor])
        assert sorted(called) == sorted(called.values()) == list(range(n))
        assert abs(sum(a == b for a, b in called.items()) - agreement * n) <= 0.5
    for modality in (PICTURE, SOUND):
        shown = show(World(agreement=agreement), modality, scenes)
        np.testing.assert_array_equal(shown, show(World(), modality, scenes))


def test_captions_grow_with_detail():
    scenes = World().scenes("test", 1000)
    lengths = []
    for detail in (0, 0.2, 0.4, 0.6, 0.8, 0.9, 1):
        captions = World(detail=detail).captions(scenes)
        lengths.append(np.mean([len(caption.split()) for caption in captions]))
    assert (np.diff(lengths) > 0.5).all()
    assert lengths[0] < 8
    assert lengths[-1] > 35


def test_shift_turns_colours_and_no_more(scenes):
    coloured = scenes[scenes["colour"] != FACTORS["colour"].index("white")]
    home, away = (World(shift=shift).images(coloured).astype(int) for shift in (0, 1))
    assert differ(home, away).all()
    assert np.abs(away - home).max() > 40
    np.testing.assert_array_equal(home[:, ::31, ::31], away[:, ::31, ::31])  # the ground stays
    for modality in (CAPTION, SOUND):
        shown = show(World(shift=1), modality, scenes)
        np.testing.assert_array_equal(shown, show(World(), modality, scenes))


@pytest.mark.parametrize("modality", ALL)
@pytest.mark.parametrize("factor", SHOWN_BY)
def test_a_blind_projection_hides_that_factor_alone(modality, factor, scenes):
    plain = World(detail=1)
    blind = World(detail=1, blind=((modality, factor),))
    before = scenes.copy()
    for seen_by in ALL:
        difference = differ(show(blind, seen_by, scenes), show(plain, seen_by, scenes))
        assert difference.any() == (seen_by == modality in SHOWN_BY[factor])
    seen = show(blind, modality, scenes)
    assert not differ(seen, show(blind, modality, other(scenes, factor))).any()
    another = "biome" if factor == "shape" else "shape"
    assert differ(seen, show(blind, modality, other(scenes, another))).all()
    np.testing.assert_array_equal(scenes, before)  # the table is not written to


@pytest.mark.parametrize("factor", WORDS)
def test_a_blind_caption_says_the_rest(factor, scenes):
    plain = World(detail=1).captions(scenes)
    blind = World(detail=1, blind=((CAPTION, factor),)).captions(scenes)
    for full, hidden in zip(map(parse, plain), map(parse, blind), strict=True):
        rest = [{f: value for f, value in half.items() if f != factor} for half in full]
        assert hidden == [half for half in rest if half]


def test_every_projection_has_a_blindness_of_its_own(scenes):
    world = World(blind=((PICTURE, "colour"), (SOUND, "size"), (PICTURE, "shape")))
    recoloured = other(other(scenes, "colour"), "shape")
    for table, expected in ((recoloured, (CAPTION, SOUND)), (other(scenes, "size"), ALL[:2])):
        for modality in ALL:
            difference = differ(show(world, modality, scenes), show(world, modality, table))
            assert (difference.mean() > 0.9) == (modality in expected)


DIALS = [
    {},
    {"seed": 1},
    {"agreement": 0.5},
    {"detail": 1},
    {"shift": 1},
    {"blind": ((SOUND, "x"),)},
    {"blind": ((PICTURE, "x"),)},
]


def test_a_key_names_every_dial():
    keys = [World(**dials).key() for dials in DIALS]
    assert [json.loads(json.dumps(key)) for key in keys] == keys
    assert all(a != b for a, b in itertools.combinations(keys, 2))


def test_equal_worlds_have_one_key():
    pairs = (("sound", "x"), ("image", "colour"))
    world = World(0, detail=1, blind=pairs)
    for same in (
        World(np.int64(0), detail=1.0, blind=[["image", "colour"], ["sound", "x"]]),
        World(detail=np.float32(1), blind=(pair for pair in pairs)),
    ):
        assert same == world
        assert hash(same) == hash(world)
        assert json.dumps(same.key()) == json.dumps(world.key())


# Bad input: one line that names the argument

W, S = World(), World().scenes("test", 2)
NOT_FROM_0_TO_1 = (-0.01, 1.01, np.nan, np.inf, "much", "0.5", True, None, [0.5])
NOT_BLIND = (
    (("picture", "colour"),),
    (("image", "color"),),
    ("image", "colour"),
    (("image",),),
    "image",
    ((0, 1),),
    (("sound", "id"),),
    (("image", "colour", "shape"),),
    None,
    5,
    (("image", ["x"]),),
    (("image", "colour"), ("image", None)),
)
NOT_SCENES = (
    S.tolist(),
    S[:0],
    None,
    "test",
    np.ones((2, 13)),
    S["id"],
    S[0],
    S.reshape(1, 2),
    S[["id", "biome"]],
    S.astype([(name, "f8") for name in SCENE.names]),
    edited(S, "colour", 8),
    edited(S, "shape", -1),
    edited(S, "wind", np.nan),
    edited(S, "size", 50),
)
BAD = [  # the argument, the call that gets it, what is refused
    ("agreement", lambda x: World(agreement=x), NOT_FROM_0_TO_1),
    ("detail", lambda x: World(detail=x), NOT_FROM_0_TO_1),
    ("shift", lambda x: World(shift=x), NOT_FROM_0_TO_1),
    ("seed", World, (-1, 2**24, 2**70, True, 1.0, "1", None, np.nan)),
    ("blind", lambda x: World(blind=x), NOT_BLIND),
    ("purpose", lambda x: W.scenes(x, 1), ("training", "Test", "", None, 0, ["test"])),
    ("n", lambda x: W.scenes("test", x), (0, -1, 1.5, True, "2", None, 2**32 + 1)),
    ("n", lambda x: W.scenes("test", 2, x), (2**32 - 1,)),
    ("start", lambda x: W.scenes("test", 1, x), (-1, 0.0, True, "0", None, 2**32)),
    ("modality", lambda x: W.look(x, S), ("smell", "images", None)),
    ("scenes", W.images, NOT_SCENES),
    ("scenes", W.captions, NOT_SCENES),
    ("scenes", W.sounds, NOT_SCENES),
    ("scenes", lambda x: W.look(SOUND, x), NOT_SCENES),
]


@pytest.mark.parametrize("name, call, values", BAD, ids=[f"{k} {b[0]}" for k, b in enumerate(BAD)])
def test_bad_input(name, call, values):
    for value in values:
        with pytest.raises(ValueError) as error:
            call(value)
        message = str(error.value)
        assert message.startswith(f"{name}: got ")
        assert ", accepted: " in message
        assert "\n" not in message
        assert len(message) < 300
