"""Encoders: what all kinds promise; training in stages; each kind by arithmetic written out."""

import functools
import itertools
import json
import multiprocessing
import re
import shutil
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer

from lib import cache, pretraining
from lib.encoders import (
    BagOfWords,
    CaptionHalves,
    MaskedAutoencoder,
    PatchDictionary,
    Pixels,
    pictures,
)
from lib.pretraining import (
    KINDS,
    PURPOSE,
    features,
    frozen_sides,
    pretrained,
    stages,
    train,
)
from lib.scenes import FACTORS, WORDS
from lib.world import World

W, STEPS, N = World(), 20, 300
TRAINED = {"masked autoencoder": {"width": 4}, "caption halves": {"d": 8}}
DICTIONARIES = ("patch dictionary", "random patches", "sound dictionary")
TINY = {
    **{kind: {} for kind in KINDS},
    **{kind: {**settings, "steps": STEPS} for kind, settings in TRAINED.items()},
    **{kind: {"n_patches": 8} for kind in DICTIONARIES},
}


@pytest.fixture(scope="module", autouse=True)
def at(tmp_path_factory):
    """A cache for this module, so that most encoders are trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNPAIRED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def trainings(monkeypatch):
    """The (start, stop) of every call of `train`, in order."""
    calls, original = [], pretraining.train

    def counting(encoder, before, data, start, stop, *rest):
        calls.append((start, stop))
        return original(encoder, before, data, start, stop, *rest)

    monkeypatch.setattr(pretraining, "train", counting)
    return calls


def tiny(kind, **others):
    return pretrained(kind, **{"world": W, "n_samples": N, **TINY[kind], **others})


@functools.cache
def look(kind, purpose="validation", n=60):
    return W.look(KINDS[kind][1], W.scenes(purpose, n))


def learnable(kind, stop=0):
    """An encoder of a kind that is trained, at some step, its state, all that it learns from."""
    encoder = tiny(kind, stop=stop).requires_grad_(True)
    samples = look(kind, PURPOSE[KINDS[kind][1]], N)
    data = torch.from_numpy(samples) if kind == "masked autoencoder" else encoder.tensor(samples)
    return encoder, state(encoder), data


def state(encoder):
    return {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}


def same(first, second, atol=0.0):
    """Whether two states have the same names and numbers."""
    close = functools.partial(torch.allclose, rtol=0, atol=atol)
    return first.keys() == second.keys() and all(close(first[n], second[n]) for n in first)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


# What all kinds promise


@pytest.mark.parametrize("kind", KINDS)
def test_encode(kind, monkeypatch):
    encoder, samples = tiny(kind), look(kind)
    z = encoder.encode(samples)
    assert type(z) is np.ndarray
    assert z.dtype == np.float32
    assert z.shape == (60, z.shape[1])
    assert np.isfinite(z).all()
    assert z.std(axis=0).max() > 0
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())
    assert encoder.modality == KINDS[kind][1]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * np.abs(z).max())
    order = np.random.default_rng(0).permutation(60)
    shuffled = [samples[k] for k in order] if isinstance(samples, list) else samples[order]
    close(encoder.encode(shuffled), z[order])
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(encoder, "CHUNK", chunk)
        close(encoder.encode(samples), z)
        close(encoder.encode(samples[:1]), z[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_says_everything(kind, elsewhere, monkeypatch):
    settings = {"n_samples": 40, **({"stop": 0} if kind in TRAINED else {})}
    others = [{}, {"seed": 1}, {"n_samples": 41}]
    others += [{"world": w} for w in (World(1), World(detail=0.5), World(blind=(("image", "x"),)))]
    others += [{name: value + 1} for name, value in TINY[kind].items()]
    others += [{"stop": 1}, {"stop": None}] if kind in TRAINED else []
    keys = [tiny(kind, **{**settings, **other}).key for other in others]
    assert [json.loads(json.dumps(key)) for key in keys] == keys
    assert all(a != b for a, b in itertools.combinations(keys, 2))
    assert keys[0]["kind"] == kind
    assert tiny(kind, **settings, seed=0, world=World(detail=0.8)).key == keys[0]
    monkeypatch.setattr(PatchDictionary, "ENOUGH", 40)  # more, a dictionary does not look at
    assert (tiny(kind, **{**settings, "n_samples": 45}).key == keys[0]) == (kind in DICTIONARIES)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_the_same_for_its_seed(kind, elsewhere, monkeypatch):
    before = torch.get_rng_state()
    first = tiny(kind, n_samples=100)
    loaded = tiny(kind, n_samples=100)
    other = tiny(kind, n_samples=100, seed=1)
    monkeypatch.setenv("UNPAIRED_CACHE", str(elsewhere / "again"))
    again = tiny(kind, n_samples=100)
    assert same(state(first), state(loaded))
    assert same(state(first), state(again))
    assert same(state(first), state(other)) == (not state(first))
    assert getattr(first, "vocabulary", None) == getattr(again, "vocabulary", None)
    assert first.key == again.key
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_learns_from_its_own_split(kind, elsewhere, monkeypatch):
    asked, scenes = [], World.scenes

    def counting(self, purpose, n, start):
        asked.append((purpose, n, start))
        return scenes(self, purpose, n, start)

    monkeypatch.setattr(World, "scenes", counting)
    pretraining._samples.cache_clear()
    encoder = tiny(kind, n_samples=100, **({"stop": 1} if kind in TRAINED else {}))
    assert set(asked) == (set() if kind == "pixels" else {(PURPOSE[encoder.modality], 100, 0)})


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_encode_makes_of_scenes(kind, elsewhere, monkeypatch):
    encoder = tiny(kind, **({"stop": 0} if kind in TRAINED else {}))
    other = tiny("bag of words" if kind == "pixels" else "pixels")
    z = features(encoder, W, "test", 30)
    expected = encoder.encode(look(kind, "test", 30))
    assert isinstance(z, np.memmap)
    assert not z.flags.writeable
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, expected)
    later = features(encoder, W, "test", 12, start=18)
    np.testing.assert_allclose(later, z[18:], rtol=1e-4, atol=1e-5 * np.abs(z).max())
    for stranger in (
        features(encoder, W, "validation", 30),
        features(encoder, World(1), "test", 30),
        features(other, W, "test", 30),
    ):
        assert stranger.shape != z.shape or (stranger != z).any()
    monkeypatch.setattr(encoder, "encode", None)  # the second time, nobody encodes
    np.testing.assert_array_equal(features(encoder, W, "test", 30), expected)


def test_views_and_numpy_integers_are_fine():
    images = W.images(W.scenes("test", 3))
    z = tiny("pixels").encode(images)
    np.testing.assert_allclose(tiny("pixels").encode(images[::-1]), z[::-1])
    one, other = (
        pretrained("caption halves", W, i(1), i(200), i(2), d=i(4), steps=i(20))
        for i in (int, np.int64)
    )
    assert one.key == other.key
    assert torch.equal(one.vectors, other.vectors)


# The key of an entry is made of the code


def entries(cache_folder):
    return len(list(cache_folder.glob("*.json")))


def features_of_a_copy(root, queue):
    """Run in a process of its own: features made by the lib in folder `root`."""
    for name in [name for name in sys.modules if name.split(".")[0] == "lib"]:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    from lib import pretraining, world

    assert Path(pretraining.__file__).is_relative_to(root)
    encoder = pretraining.pretrained("patch dictionary", world.World(), n_samples=40, n_patches=8)
    queue.put(np.array(pretraining.features(encoder, world.World(), "test", 10)))


EDITS = [  # a file, a line of it, what it is changed to; None: no file is changed
    (None, "", ""),
    ("encoders.py", "x.clamp_min(0) + 0.05", "x.clamp_min(0) + 0.06"),
    ("scenes.py", "OUTLINES = (", "OUTLINES = (  # of shapes"),
    ("world.py", "LIKELY = 0.5", "LIKELY = 0.6"),
    ("losses.py", "import torch\n", "import torch  # tensors\n"),
    ("training.py", "import math\n", "import math  # cosines\n"),
    ("pretraining.py", "import functools\n", "import functools  # cache\n"),
]


@pytest.mark.parametrize("file, line, changed", EDITS, ids=[str(edit[0]) for edit in EDITS])
def test_features_are_made_anew_where_a_line_has_changed(file, line, changed, elsewhere):
    encoder = pretrained("patch dictionary", W, n_samples=40, n_patches=8)
    z = np.array(features(encoder, W, "test", 10))
    before = entries(elsewhere)
    shutil.copytree(Path(pretraining.__file__).parent, elsewhere / "copy" / "lib")
    if file:
        path = elsewhere / "copy" / "lib" / file
        assert path.read_text().count(line) == 1
        path.write_text(path.read_text().replace(line, changed))
    fork = multiprocessing.get_context("fork")  # a new interpreter would import for seconds
    queue = fork.Queue()
    process = fork.Process(target=features_of_a_copy, args=(elsewhere / "copy", queue))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on threads and forks
        process.start()
    of_copy = queue.get(timeout=60)
    process.join(60)
    assert (entries(elsewhere) == before) == (file is None)
    assert np.array_equal(of_copy, z) == (file not in ("encoders.py", "world.py"))


def test_libraries_are_part_of_the_key(monkeypatch):
    key = json.dumps(tiny("pixels").key)
    for name in ("numpy", "scikit-learn", "scipy", "torch", "transformers"):
        assert pretraining.VERSIONS[name] == version(name)
        monkeypatch.setitem(pretraining.VERSIONS, name, "0")
        assert json.dumps(tiny("pixels").key) != key
        monkeypatch.undo()


# Two frozen sides


def test_frozen_sides_are_the_encoders_of_notebook_03(elsewhere):
    sides = frozen_sides(W, {"pairs": ("alignment", 20), "test": ("test", 10)}, 2, N, STEPS)
    assert list(sides) == ["pictures", "captions"]
    for side, encoder in (
        (sides["pictures"], pretrained("patch dictionary", W, 6, N)),
        (sides["captions"], pretrained("caption halves", W, 6, N, steps=STEPS)),
    ):
        assert side.encoder.key == encoder.key
        own = features(encoder, W, PURPOSE[encoder.modality], N)
        np.testing.assert_array_equal(side.own, own)
        assert list(side.splits) == ["pairs", "test"]
        pairs, test = features(encoder, W, "alignment", 20), features(encoder, W, "test", 10)
        np.testing.assert_array_equal(side.splits["pairs"], pairs)
        np.testing.assert_array_equal(side.splits["test"], test)


def test_own_features_are_of_4000_scenes_at_most(monkeypatch):
    asked = []
    monkeypatch.setattr(pretraining, "pretrained", lambda *a, **k: tiny("pixels"))
    monkeypatch.setattr(pretraining, "features", lambda *a: asked.append(a[2:]))
    frozen_sides(W, {}, n_samples=5000)
    frozen_sides(W, {}, n_samples=3000)
    assert [n for _, n in asked] == [4000, 4000, 3000, 3000]


# Training in stages


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 100, 500, 801])
def test_stages(steps):
    several = stages(steps)
    assert several[0] == 0
    assert several[-1] == steps
    assert sorted(set(several)) == several
    assert max(np.diff(several)) <= -(-steps // 5)


def test_the_rate_warms_up_over_a_tenth(monkeypatch):
    asked, original = [], pretraining.training.warmup_cosine

    def counting(*arguments):
        asked.append(arguments)
        return original(*arguments)

    encoder, before, data = learnable("caption halves")
    monkeypatch.setattr(pretraining.training, "warmup_cosine", counting)
    train(encoder, before, data, 0, 8, STEPS)
    assert asked == [(step, STEPS, 2) for step in range(8)]


@pytest.mark.parametrize("kind", TRAINED)
def test_stages_are_what_one_run_passes_through(kind):
    for stop in (1, 8, STEPS):
        encoder, before, data = learnable(kind)
        train(encoder, before, data, 0, stop, STEPS)
        assert same(state(encoder), state(tiny(kind, stop=stop)), atol=1e-6)
        assert not same(state(encoder), before, atol=1e-6)
    assert tiny(kind, stop=STEPS).key == tiny(kind).key


def test_every_update_has_a_batch_of_its_own(monkeypatch):
    encoder, before, data = learnable("caption halves")
    seen, loss = [], encoder.loss

    def recording(words, generator):
        seen.append(words)
        return loss(words, generator)

    monkeypatch.setattr(encoder, "loss", recording)
    train(encoder, before, data, 5, 8, STEPS)
    for step, words in zip((5, 6, 7), seen, strict=True):
        rows = torch.randint(N, (encoder.BATCH,), generator=draw(step))
        assert torch.equal(words, data[rows])


def test_the_seed_alone_decides_where_training_begins():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        painter = MaskedAutoencoder(4)
        halves = CaptionHalves(tiny("caption halves").vocabulary, 8)
    assert same(state(painter), state(tiny("masked autoencoder", stop=0)))
    assert same(state(halves), state(tiny("caption halves", stop=0)))


@pytest.mark.parametrize("kind", TRAINED)
def test_the_optimisers_state_goes_round(kind):
    encoder, before, data = learnable(kind)
    middle = train(encoder, before, data, 0, 8, STEPS)
    names = [name for name, _ in encoder.named_parameters()]
    slots = ("step", "exp_avg", "exp_avg_sq")
    expected = {f"optimizer.{slot}.{name}" for slot in slots for name in names}
    assert middle.keys() == before.keys() | expected
    assert middle[f"optimizer.step.{names[0]}"] == 8
    kept = cache.weights({"kept": kind}, lambda: middle)
    weights = {name: kept[name].clone() for name in before}
    end = train(encoder, middle, data, 8, STEPS, STEPS)
    resumed = train(learnable(kind)[0], kept, data, 8, STEPS, STEPS)
    without = train(learnable(kind)[0], weights, data, 8, STEPS, STEPS)
    assert same(end, resumed, atol=1e-6)
    assert end[f"optimizer.step.{names[0]}"] == STEPS
    assert not same(state(encoder), {name: without[name] for name in before}, atol=1e-6)


def test_the_bar_counts_all_updates_and_goes_away(capsys, elsewhere):
    tiny("caption halves", progress="words before")
    printed = capsys.readouterr().out
    assert "words before" in printed
    assert set(re.findall(r"/(\d+), ", printed)) == {str(STEPS)}
    assert "\n" not in printed  # every stage writes over the last


def saved(folder):
    """{stop: name of the entry} of the stages in a cache."""
    keys = {path.stem: json.loads(path.read_text())["key"] for path in folder.glob("*.json")}
    return {key["stop"]: name for name, key in keys.items() if "stop" in key}


@pytest.mark.parametrize("kind", TRAINED)
def test_what_is_missing_is_trained_again_and_no_more(kind, elsewhere, trainings):
    every = list(itertools.pairwise(stages(STEPS)))
    undisturbed = state(tiny(kind))
    assert trainings == every
    assert sorted(saved(elsewhere)) == stages(STEPS)
    for lost, again, again_to_8 in (
        ((STEPS,), every[-1:], []),
        ((8,), [], [(4, 8)]),
        ((16, STEPS), every[-2:], []),
        (stages(STEPS), every, []),
    ):
        for stop in lost:
            for path in elsewhere.glob(f"{saved(elsewhere)[stop]}.*"):
                path.unlink()
        trainings.clear()
        assert same(state(tiny(kind)), undisturbed)
        assert trainings == again, lost
        trainings.clear()
        tiny(kind, stop=8)
        assert trainings == again_to_8


@pytest.mark.parametrize("kind", TRAINED)
def test_an_interrupted_training_goes_on_at_its_last_stage(kind, elsewhere, trainings, monkeypatch):
    undisturbed, counting = state(tiny(kind)), pretraining.train
    monkeypatch.setenv("UNPAIRED_CACHE", str(elsewhere / "again"))

    def interrupted(encoder, before, data, start, *rest):
        result = counting(encoder, before, data, start, *rest)
        if start == 4:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(pretraining, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny(kind)
    assert sorted(saved(elsewhere / "again")) == [0, 1, 2, 4]
    monkeypatch.setattr(pretraining, "train", counting)
    trainings.clear()
    assert same(state(tiny(kind)), undisturbed)
    assert trainings == [(4, 8), (8, 12), (12, 16), (16, 20)]


@pytest.mark.parametrize("kind, share", [("masked autoencoder", 0.75), ("caption halves", 0.85)])
def test_learning_happens(kind, share):
    x = tiny(kind).tensor(look(kind, n=200))
    before, after = (float(tiny(kind, stop=stop).loss(x, draw())) for stop in (0, STEPS))
    assert after < share * before


# Pictures and sounds


def test_pixels_are_means_of_squares():
    images = look("pixels")
    squares = images.reshape(60, 16, 2, 16, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2)
    expected = squares.reshape(60, -1) / 255
    np.testing.assert_allclose(tiny("pixels").encode(images), expected, atol=1e-6)


def test_masked_autoencoder_paints_what_it_cannot_see(monkeypatch):
    encoder, x = tiny("masked autoencoder"), pictures(look("masked autoencoder"))
    masks, code = [], encoder.code
    monkeypatch.setattr(encoder, "code", lambda x, seen: masks.append(seen) or code(x, seen))
    loss = float(encoder.loss(x, draw(1)))
    (seen,) = masks
    assert seen.shape == (60, 1, 32, 32)
    assert set(seen.unique().tolist()) == {0, 1}
    blocks = seen.reshape(60, 8, 4, 8, 4)
    assert torch.equal(blocks.amin((2, 4)), blocks.amax((2, 4)))
    assert abs(float(seen.mean()) - 0.5) < 4.5 * 0.5 / np.sqrt(60 * 64)
    assert len(seen.flatten(1).unique(dim=0)) == 60
    painted = np.asarray(encoder.decoder(code(x, seen)).double()).reshape(x.shape)
    error = painted - (np.asarray(x, float) - 0.45) * 4
    assert loss == pytest.approx(np.mean(error**2), rel=1e-5)
    noise = torch.rand(x.shape, generator=draw())
    for where, moves in ((seen == 0, False), (seen == 1, True)):
        moved = (code(torch.where(where, noise, x), seen) - code(x, seen)).abs().amax(1)
        assert moved.min() > 1e-4 if moves else moved.max() == 0
    z = encoder.encode(look("masked autoencoder"))
    np.testing.assert_allclose(z, code(x, torch.ones(60, 1, 32, 32)), atol=1e-5)


def patches(x, stride):
    """Squares of 6 x 6 of x (n, c, h, w), normalised: (n, rows, columns, c * 36), float64."""
    x = np.asarray(x, float)
    n, _, height, width = x.shape
    cut = []
    for i in range(0, height - 5, stride):
        row = [x[:, :, i : i + 6, j : j + 6] for j in range(0, width - 5, stride)]
        cut.append([square.reshape(n, -1) for square in row])
    cut = np.array(cut)
    cut = (cut - cut.mean(-1, keepdims=True)) / np.sqrt(cut.var(-1, keepdims=True) + 0.003)
    return cut.transpose(2, 0, 1, 3)


def windows(n, k):
    """k slices of n, overlapping where k does not divide n."""
    return [slice(i * n // k, -(-(i + 1) * n // k)) for i in range(k)]


def pooled(grid, k):
    """Means over k x k windows: (n, rows, columns, m) -> (n, m * k * k)."""
    means = []
    for rows in windows(grid.shape[1], k):
        columns = windows(grid.shape[2], k)
        means.append([grid[:, rows, some].mean((1, 2)) for some in columns])
    return np.array(means).transpose(2, 3, 0, 1).reshape(len(grid), -1)


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_dictionary_is_that_of_slow_arithmetic(kind):
    encoder, x = tiny(kind), pictures(look(kind))
    filters = np.asarray(encoder.filters, float).reshape(8, -1)
    bias = np.asarray(encoder.bias, float)
    present = pooled(np.maximum(patches(x, 2) @ filters.T + bias, 0), 4)
    tone = np.log(np.maximum(np.asarray(x, float), 0) + 0.05).transpose(0, 2, 3, 1)
    cells = np.hstack([present, pooled(tone, 8)])
    np.testing.assert_allclose(encoder.cells(x), cells, atol=1e-4)
    expected = (cells - np.asarray(encoder.centre)) @ np.asarray(encoder.axes)
    np.testing.assert_allclose(encoder.encode(look(kind)), expected, atol=2e-3)


@pytest.mark.parametrize("kind", DICTIONARIES[:2])
def test_filters_are_unit_atoms_behind_a_whitening(kind):
    encoder = tiny(kind)
    filters = np.asarray(encoder.filters, float).reshape(8, -1)
    samples = look(kind, PURPOSE["image"], N)  # which have fewer patches than it takes
    every = patches(pictures(samples), 3).reshape(-1, filters.shape[1])
    mean_match = (every @ filters.T + np.asarray(encoder.bias, float)).mean(0)
    np.testing.assert_allclose(mean_match, -0.25, atol=1e-3)
    values, vectors = np.linalg.eigh(np.cov(every.T))
    atoms = filters @ vectors * np.sqrt(values + 0.1)  # undoes the whitening
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_features_of_a_dictionary_are_principal_components(kind):
    z = tiny(kind).encode(look(kind, PURPOSE[KINDS[kind][1]], N)).astype(float)
    covariance = np.cov(z.T)
    variances = np.diag(covariance)
    assert np.abs(z.mean(0)).max() < 1e-3
    # up to float32, in whatever order a processor adds
    assert (np.diff(variances) < 1e-5 * variances[0]).all()
    assert np.abs(covariance - np.diag(variances)).max() < 1e-4 * covariance.max()


def test_dictionaries_differ_as_their_settings_say():
    learned, drawn, sound = map(tiny, DICTIONARIES)
    assert learned.filters.shape == drawn.filters.shape == (8, 3, 6, 6)
    assert sound.filters.shape == (8, 1, 6, 6)
    assert learned.axes.shape == (320, 256)
    assert sound.axes.shape == (192, 192)
    assert len(tiny("random patches", n_patches=5).filters) == 5
    assert not torch.allclose(learned.filters, drawn.filters, atol=0.1)
    x = pictures(look("patch dictionary"))
    often, seldom = (float((e.cells(x)[:, :128] ** 2).mean()) for e in (learned, drawn))
    assert often > seldom  # learned patches occur


# Words


def test_bag_of_words_counts_as_sklearn_does():
    encoder, captions = tiny("bag of words"), look("bag of words")
    count = CountVectorizer(token_pattern=r"\S+", lowercase=False)
    count.fit(look("bag of words", "text pretraining", N))
    assert encoder.vocabulary == count.get_feature_names_out().tolist()
    assert encoder.encode(captions).max() > 1
    np.testing.assert_array_equal(encoder.encode(captions), count.transform(captions).toarray())


def test_bag_of_words_leaves_out_strangers():
    counts = BagOfWords(["b", "a"]).encode(["a b  a", "", "zebra a", "A"])
    np.testing.assert_array_equal(counts, [[1, 2], [0, 0], [0, 1], [0, 0]])


def test_a_captions_code_is_the_sum_of_its_words():
    encoder = tiny("caption halves")
    vectors = np.asarray(encoder.vectors, float)
    vector = dict(zip(encoder.vocabulary, vectors, strict=True))
    captions = [*look("caption halves"), "", "zebra", "red zebra red", "red red"]
    expected = []
    for caption in captions:
        known = [vector[word] for word in caption.split() if word in vector]
        expected.append(sum(known, np.zeros(8)))
    np.testing.assert_allclose(encoder.encode(captions), expected, atol=1e-5)
    assert np.abs(expected[-1]).max() > 0
    assert not encoder.encode(["", "zebra"]).any()


def slow_infonce(encoder, captions, shares):
    """Float64, caption by caption, of each first part among all second ones, and back."""
    vectors = np.asarray(encoder.vectors.detach(), float)
    vector = dict(zip(encoder.vocabulary, vectors, strict=True))
    sides = ([], [])
    for caption, share in zip(captions, shares, strict=True):
        words = [word for word in caption.split() if word in vector]
        cut = round(len(words) * (0.35 + 0.45 * float(share)))
        for side, part in zip(sides, (words[:cut], words[cut:]), strict=True):
            total = sum([vector[word] for word in part], np.zeros(8))
            side.append(total / max(np.linalg.norm(total), 1e-12))
    logits = np.array(sides[0]) @ np.array(sides[1]).T / 0.1
    losses = [
        np.log(np.exp(row).sum()) - row[k] for s in (logits, logits.T) for k, row in enumerate(s)
    ]
    return np.mean(losses)


def test_caption_halves_loss_is_infonce():
    encoder, captions = tiny("caption halves"), look("caption halves")
    for batch in (captions, [*captions[:20], "red", "", "zebra", "red zebra circle"]):
        shares = torch.rand(len(batch), 1, generator=draw(5))
        loss = float(encoder.loss(encoder.tensor(batch), draw(5)))
        assert loss == pytest.approx(slow_infonce(encoder, batch, shares), rel=1e-4)


def test_empty_captions_have_a_gradient():
    encoder = tiny("caption halves").requires_grad_(True)
    encoder.loss(encoder.tensor(["", "zebra", "red", "red circle"]), draw()).backward()
    assert torch.isfinite(encoder.vectors.grad).all()


def test_two_words_for_one_thing_come_together():
    encoder = pretrained("caption halves", W, n_samples=2000, steps=150)
    units = torch.nn.functional.normalize(encoder.vectors)
    vector = dict(zip(encoder.vocabulary, units, strict=True))
    assert vector["red"] @ vector["crimson"] > 0.6
    assert vector["red"] @ vector["azure"] < 0.4
    for factor in ("shape", "colour", "fill", "companion"):
        first = torch.stack([vector[words[0]] for words in WORDS[factor]])
        second = torch.stack([vector[words[1]] for words in WORDS[factor]])
        cosines, own = first @ second.T, torch.arange(len(FACTORS[factor]))
        assert torch.equal(cosines.argmax(1), own), factor
        assert torch.equal(cosines.argmax(0), own), factor


# Bad input: one line that names the argument

S = W.scenes("test", 2)
IMAGES, SPECTRA, CAPTIONS = (W.look(modality, S) for modality in ("image", "sound", "caption"))
NOT_PICTURES = (
    [],
    IMAGES[:0],
    IMAGES[0],
    IMAGES / 255,
    IMAGES[..., :2],
    IMAGES.astype("i8"),
    IMAGES.tolist(),
    SPECTRA.astype(float),
    SPECTRA[0],
    SPECTRA * np.nan,
    SPECTRA + np.inf,
    CAPTIONS,
    None,
    5,
)
# fmt: off
NOT_CAPTIONS = ([], (), [1], [None], [b"a"], ["a", None], IMAGES, SPECTRA, np.array([np.nan]),
                "a red circle", {"a"}, (caption for caption in CAPTIONS))
NOT_COUNTS = (0, -1, 1.5, True, "9", None)
# fmt: on
BAD = [  # the argument, the call that gets it, what is refused
    ("kind", lambda x: pretrained(x, W), ("pixel", "", None, 0, [])),
    ("world", lambda x: pretrained("pixels", x), (None, World, 0)),
    ("stop", lambda x: pretrained("pixels", W, stop=x), (0, 7)),
    ("n_samples", lambda x: pretrained("patch dictionary", W, n_samples=x), (1, 3)),
    ("encoder", lambda x: features(x, W, "test", 3), (None, Pixels(), BagOfWords(["a"]))),
    ("purpose", lambda x: features(tiny("pixels"), W, x, 3), ("training", None)),
    ("n", lambda x: features(tiny("pixels"), W, "test", x), NOT_COUNTS),
    ("start", lambda x: features(tiny("pixels"), W, "test", 3, x), (-1, 0.5, True, None)),
    ("seed", lambda x: frozen_sides(W, {}, x), (-1, 0.0, True, "0", None)),
    ("samples", lambda x: tiny("pixels").encode(x), (SPECTRA,)),
    ("samples", lambda x: tiny("masked autoencoder").encode(x), (IMAGES[:, :16, :16],)),
    ("samples", lambda x: tiny("patch dictionary").encode(x), (SPECTRA,)),
    ("samples", lambda x: tiny("sound dictionary").encode(x), (IMAGES,)),
]
for kind, (_, modality, _) in KINDS.items():

    def encode(x, kind=kind):
        return tiny(kind).encode(x)

    def setting(name, kind=kind):
        return lambda x: tiny(kind, **{name: x})

    BAD += [
        ("samples", encode, NOT_CAPTIONS if modality == "caption" else NOT_PICTURES),
        ("seed", setting("seed"), (-1, 0.0, True, "0", None, 2**31)),
        ("n_samples", setting("n_samples"), NOT_COUNTS),
        ("colour", setting("colour"), (1,)),
        ("D", setting("D"), (48,)),
        *((name, setting(name), NOT_COUNTS) for name in TINY[kind]),
    ]
    unknown = {"width", "d", "steps", "n_patches"} - TINY[kind].keys()
    BAD += [(name, setting(name), (1,)) for name in sorted(unknown)]
    if kind in TRAINED:
        BAD.append(("stop", setting("stop"), (-1, 3, STEPS + 1, "0", 0.5)))


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
