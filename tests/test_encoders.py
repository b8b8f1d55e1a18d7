"""Encoders: what all kinds promise; that training in stages, interrupted or not, ends where a single run does; each kind against arithmetic written out here."""
import functools
import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer

from lib import cache, encoders
from lib.encoders import KINDS, BagOfWords, CaptionHalves, MaskedAutoencoder, PatchDictionary, features, pictures, pretrained, stages, train
from lib.world import FACTORS, WORDS, World

W, STEPS, N = World(), 20, 300
PURPOSE = {"image": "image pretraining", "caption": "text pretraining", "sound": "sound pretraining"}
TRAINED = {"masked autoencoder": dict(width=4, steps=STEPS), "caption halves": dict(d=8, steps=STEPS)}
DICTIONARIES = ("patch dictionary", "random patches", "sound dictionary")
TINY = {kind: TRAINED.get(kind, dict(n_patches=8) if kind in DICTIONARIES else {}) for kind in KINDS}


@pytest.fixture(scope="module", autouse=True)
def at(tmp_path_factory):
    """A cache for this module; who needs a fresh one asks for `elsewhere`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNPAIRED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def trainings(monkeypatch):
    """The (start, stop) of every call of `train`, in order."""
    calls, original = [], encoders.train
    monkeypatch.setattr(encoders, "train", lambda encoder, data, start, stop, *rest: calls.append((start, stop)) or original(encoder, data, start, stop, *rest))
    return calls


def tiny(kind, **others):
    return pretrained(kind, **{"world": W, "n_samples": N, **TINY[kind], **others})


@functools.cache
def look(kind, purpose="validation", n=60):
    return W.look(KINDS[kind][1], W.scenes(purpose, n))


def learnable(kind, stop=0):
    """An encoder of a kind that is trained, at some step, and the tensor of all it learns from."""
    encoder, samples = tiny(kind, stop=stop).requires_grad_(True), look(kind, PURPOSE[KINDS[kind][1]], N)
    return encoder, torch.from_numpy(samples) if kind == "masked autoencoder" else encoder.tensor(samples)


def state(encoder):
    return {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}


def same(first, second, atol=0.0):
    return first.keys() == second.keys() and all(torch.allclose(first[name], second[name], rtol=0, atol=atol) for name in first)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


# What all kinds promise -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
def test_encode(kind, monkeypatch):
    encoder, samples, perm = tiny(kind), look(kind), np.random.default_rng(0).permutation(60)
    z = encoder.encode(samples)
    assert isinstance(z, np.ndarray) and z.dtype == np.float32 and z.shape == (60, z.shape[1]) and np.isfinite(z).all() and z.std(axis=0).max() > 0
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters()) and encoder.modality == KINDS[kind][1]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * np.abs(z).max())
    mixed = [samples[k] for k in perm] if isinstance(samples, list) else samples[perm]
    close(encoder.encode(mixed), z[perm])
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(encoder, "chunk", chunk)
        close(encoder.encode(samples), z)
        close(encoder.encode(samples[:1]), z[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_says_everything(kind, elsewhere, monkeypatch):
    early, small = {"stop": 0} if kind in TRAINED else {}, {"n_samples": 40}
    encoder = functools.partial(tiny, kind, **{**small, **early})
    others = [{"seed": 1}, {"n_samples": 41}, *({"world": world} for world in (World(1), World(detail=0.5), World(blind=(("image", "x"),)))),
              *({name: value + 1} for name, value in TINY[kind].items()), *([{"stop": 1}, {"stop": None}] if early else [])]
    keys = [encoder(**other).key for other in ({}, *others)]
    assert all(json.loads(json.dumps(key)) == key for key in keys) and len({json.dumps(key, sort_keys=True) for key in keys}) == len(keys)
    assert encoder(seed=0, world=World(detail=0.8)).key == keys[0] and keys[0]["kind"] == kind
    monkeypatch.setattr(PatchDictionary, "ENOUGH", 40)               # more, a dictionary does not look at
    assert (encoder(n_samples=45).key == keys[0]) == (kind in DICTIONARIES)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_the_same_for_its_seed_and_learns_from_its_own_split(kind, elsewhere, monkeypatch):
    asked, scenes, before = [], World.scenes, torch.get_rng_state()
    monkeypatch.setattr(World, "scenes", lambda *a: asked.append(a[1:3]) or scenes(*a))
    encoders._samples.cache_clear()
    first, other = tiny(kind, n_samples=100), tiny(kind, n_samples=100, seed=1)
    loaded = tiny(kind, n_samples=100)
    monkeypatch.setenv("UNPAIRED_CACHE", str(elsewhere / "again"))
    again = tiny(kind, n_samples=100)
    assert same(state(first), state(loaded)) and same(state(first), state(again)) and same(state(first), state(other)) == (not state(first))
    assert getattr(first, "vocabulary", 0) == getattr(again, "vocabulary", 0) and first.key == again.key
    assert set(asked) == (set() if kind == "pixels" else {(PURPOSE[first.modality], 100)}) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_encode_makes_of_scenes(kind, elsewhere, monkeypatch):
    encoder, other = tiny(kind), tiny("bag of words" if kind == "pixels" else "pixels")
    z, expected = features(encoder, W, "test", 30), encoder.encode(look(kind, "test", 30))
    assert isinstance(z, np.memmap) and not z.flags.writeable and z.dtype == np.float32
    np.testing.assert_array_equal(z, expected)
    np.testing.assert_allclose(features(encoder, W, "test", 12, start=18), z[18:], rtol=1e-4, atol=1e-5 * np.abs(z).max())
    strangers = features(encoder, W, "validation", 30), features(encoder, World(1), "test", 30), features(other, W, "test", 30)
    assert all(stranger.shape != z.shape or (stranger != z).any() for stranger in strangers)
    monkeypatch.setattr(encoder, "encode", None)                     # the second time, nobody encodes
    np.testing.assert_array_equal(features(encoder, W, "test", 30), expected)


# Training in stages ---------------------------------------------------------------------------------------------------

def test_stages_and_rate():
    for steps in (1, 2, 3, 7, 20, 100, 500, 801):
        several = stages(steps)
        assert several[0] == 0 and several[-1] == steps and sorted(set(several)) == several and max(np.diff(several)) <= -(-steps // 5)
        rates = [encoders._rate(step, steps) for step in range(steps)]
        assert 0 < min(rates) and max(rates) == 1 and (np.diff(rates[:steps // 10]) > 0).all() and (np.diff(rates[steps // 10:]) <= 0).all()


@pytest.mark.parametrize("kind", TRAINED)
def test_stages_are_what_one_run_passes_through(kind):
    for stop in (1, 8, STEPS):
        encoder, data = learnable(kind)
        train(encoder, data, 0, stop, STEPS)
        assert same(state(encoder), state(tiny(kind, stop=stop)), atol=1e-6) and not same(state(encoder), state(tiny(kind, stop=0)), atol=1e-6)
    assert tiny(kind, stop=STEPS).key == tiny(kind).key
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = MaskedAutoencoder(4) if kind == "masked autoencoder" else CaptionHalves(tiny(kind).vocabulary, 8)
    assert same(state(model), state(tiny(kind, stop=0)))


@pytest.mark.parametrize("kind", TRAINED)
def test_the_optimisers_state_goes_round(kind):
    straight, data = learnable(kind)
    optimizer = train(straight, data, 0, 8, STEPS)
    count = len(list(straight.parameters()))
    assert set(optimizer) == {f"{k}.{slot}" for k in range(count) for slot in ("step", "exp_avg", "exp_avg_sq")} and optimizer["0.step"] == 8
    kept, resumed = cache.weights({"kept": kind}, lambda: {**optimizer, **{"w." + name: t for name, t in straight.state_dict().items()}}), learnable(kind)[0]
    resumed.load_state_dict(encoders._part(kept, "w."))
    blank, _ = learnable(kind)
    blank.load_state_dict(encoders._part(kept, "w."))
    read = {name: tensor for name, tensor in kept.items() if name[:2] != "w."}
    first, second, _ = (train(e, data, 8, STEPS, STEPS, 0, s) for e, s in ((straight, optimizer), (resumed, read), (blank, None)))
    assert same(state(straight), state(resumed), atol=1e-6) and same(first, second, atol=1e-6) and first["0.step"] == STEPS
    assert not same(state(straight), state(blank), atol=1e-6)        # it is needed


def saved(folder):
    """{stop: entry} of the stages in a cache."""
    told = {path.parent: json.loads(path.read_text())["key"] for path in folder.glob("*/manifest.json")}
    return {key["stop"]: entry for entry, key in told.items() if "stop" in key}


@pytest.mark.parametrize("kind", TRAINED)
def test_what_is_missing_is_trained_again_and_no_more(kind, elsewhere, trainings):
    every, undisturbed = list(zip(stages(STEPS), stages(STEPS)[1:])), state(tiny(kind))
    assert trainings == every and sorted(saved(elsewhere)) == stages(STEPS)
    for lost, again in (((STEPS,), every[-1:]), ((8,), []), ((16, STEPS), every[-2:]), (stages(STEPS), every)):
        for stop in lost:
            shutil.rmtree(saved(elsewhere)[stop])
        trainings.clear()
        assert same(state(tiny(kind)), undisturbed) and trainings == again, lost
        trainings.clear()
        tiny(kind, stop=8)
        assert trainings == (every[every.index((4, 8)):][:1] if lost == (8,) else [])


@pytest.mark.parametrize("kind", TRAINED)
def test_an_interrupted_training_goes_on_at_its_last_stage(kind, elsewhere, trainings, monkeypatch):
    undisturbed, counting = state(tiny(kind)), encoders.train
    monkeypatch.setenv("UNPAIRED_CACHE", str(elsewhere / "again"))

    def interrupted(encoder, data, start, *rest):
        result = counting(encoder, data, start, *rest)
        if start == 4:
            raise KeyboardInterrupt
        return result
    monkeypatch.setattr(encoders, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny(kind)
    assert sorted(saved(elsewhere / "again")) == [0, 1, 2, 4] and not list((elsewhere / "again").glob("*.partial"))
    monkeypatch.setattr(encoders, "train", counting)
    trainings.clear()
    assert same(state(tiny(kind)), undisturbed) and trainings == [(4, 8), (8, 12), (12, 16), (16, 20)]


@pytest.mark.parametrize("kind, falls_to", [("masked autoencoder", 0.75), ("caption halves", 0.85)])
def test_learning_happens(kind, falls_to):
    before, after = (float(tiny(kind, stop=stop).loss(tiny(kind).tensor(look(kind, n=200)), draw())) for stop in (0, STEPS))
    assert after < falls_to * before


# Pictures and sounds --------------------------------------------------------------------------------------------------

def test_pixels_are_means_of_squares():
    images = look("pixels")
    expected = images.reshape(60, 16, 2, 16, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2).reshape(60, -1) / 255
    np.testing.assert_allclose(tiny("pixels").encode(images), expected, atol=1e-6)


def test_masked_autoencoder_paints_what_it_cannot_see(monkeypatch):
    encoder, x = tiny("masked autoencoder"), pictures(look("masked autoencoder"))
    masks, code = [], encoder.code
    monkeypatch.setattr(encoder, "code", lambda x, seen: masks.append(seen) or code(x, seen))
    loss = float(encoder.loss(x, draw(1)))
    seen, = masks
    blocks = seen.reshape(60, 8, 4, 8, 4)
    assert seen.shape == (60, 1, 32, 32) and set(seen.unique().tolist()) == {0, 1} and torch.equal(blocks.amin((2, 4)), blocks.amax((2, 4)))
    assert abs(float(seen.mean()) - 0.5) < 4.5 * 0.5 / np.sqrt(60 * 64) and len(seen.flatten(1).unique(dim=0)) == 60
    painted = np.asarray(encoder.decoder(code(x, seen)).double())
    assert loss == pytest.approx(np.mean((painted - (np.asarray(x, float) - 0.45) * 4) ** 2), rel=1e-5)
    hidden_changed, seen_changed = (torch.where(where, torch.rand(x.shape, generator=draw()), x) for where in (seen == 0, seen == 1))
    moved = lambda other: (code(other, seen) - code(x, seen)).abs().amax(1)
    assert moved(hidden_changed).max() == 0 and moved(seen_changed).min() > 1e-4
    np.testing.assert_allclose(encoder.encode(look("masked autoencoder")), code(x, torch.ones(60, 1, 32, 32)), atol=1e-5)


def patches(x, stride):
    """All squares of 6 x 6 of x (n, c, h, w), normalised to mean and contrast: (n, rows, columns, c * 36), float64."""
    x = np.asarray(x, float)
    cut = np.array([[x[:, :, i:i + 6, j:j + 6].reshape(len(x), -1) for j in range(0, x.shape[3] - 5, stride)] for i in range(0, x.shape[2] - 5, stride)])
    cut = (cut - cut.mean(-1, keepdims=True)) / np.sqrt(cut.var(-1, keepdims=True) + 0.003)
    return cut.transpose(2, 0, 1, 3)


def pooled(grid, k):
    """Means over k x k windows, overlapping where k does not divide the grid: (n, rows, columns, m) -> (n, m * k * k)."""
    windows = lambda n: [slice(i * n // k, -(-(i + 1) * n // k)) for i in range(k)]
    means = [[grid[:, r, c].mean((1, 2)) for c in windows(grid.shape[2])] for r in windows(grid.shape[1])]
    return np.array(means).transpose(2, 3, 0, 1).reshape(len(grid), -1)


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_dictionary_is_that_of_slow_arithmetic(kind):
    encoder, x = tiny(kind), pictures(look(kind))
    filters, bias = np.asarray(encoder.filters, float).reshape(8, -1), np.asarray(encoder.bias, float)
    tone = pooled(np.log(np.maximum(np.asarray(x, float), 0) + 0.05).transpose(0, 2, 3, 1), 8)
    cells = np.hstack([pooled(np.maximum(patches(x, 2) @ filters.T + bias, 0), 4), tone])
    np.testing.assert_allclose(encoder.cells(x), cells, atol=1e-4)
    np.testing.assert_allclose(encoder.encode(look(kind)), (cells - np.asarray(encoder.centre)) @ np.asarray(encoder.axes), atol=2e-3)
    learnt_from = look(kind, PURPOSE[KINDS[kind][1]], N)
    every = patches(pictures(learnt_from), 3).reshape(-1, filters.shape[1])  # 300 pictures have fewer than it takes
    if kind != "sound dictionary":
        values, vectors = np.linalg.eigh(np.cov(every.T))
        atoms = filters @ vectors * np.sqrt(values + 0.1)            # undoes the whitening
        np.testing.assert_allclose((every @ filters.T + bias).mean(0), -0.25, atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1, atol=1e-3)
    z = encoder.encode(learnt_from).astype(float)
    covariance = np.cov(z.T)
    assert np.abs(z.mean(0)).max() < 1e-3 and (np.diff(np.diag(covariance)) < 1e-5).all()
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-4 * covariance.max()


def test_dictionaries_differ_as_their_settings_say():
    learnt, drawn, sound = map(tiny, DICTIONARIES)
    assert learnt.filters.shape == drawn.filters.shape == (8, 3, 6, 6) and sound.filters.shape == (8, 1, 6, 6)
    assert not torch.allclose(learnt.filters, drawn.filters, atol=0.1)
    assert len(tiny("random patches", n_patches=5).filters) == 5 and learnt.axes.shape == (320, 256) and sound.axes.shape == (192, 192)
    narrow = PatchDictionary(PatchDictionary.fit(look("patch dictionary"), n_patches=3, d=7, size=4, threshold=1.0))
    assert narrow.encode(look("patch dictionary")).shape == (60, 7) and narrow.filters.shape == (3, 3, 4, 4)
    share = lambda encoder: float((encoder.cells(pictures(look("patch dictionary")))[:, :128] ** 2).mean())
    assert share(learnt) > share(drawn)                              # learned patches occur


# Words ----------------------------------------------------------------------------------------------------------------

def test_bag_of_words_counts_as_sklearn_does():
    encoder, captions = tiny("bag of words"), look("bag of words")
    count = CountVectorizer(token_pattern=r"\S+", lowercase=False).fit(look("bag of words", "text pretraining", N))
    assert encoder.vocabulary == count.get_feature_names_out().tolist() and encoder.encode(captions).max() > 1
    np.testing.assert_array_equal(encoder.encode(captions), count.transform(captions).toarray())
    np.testing.assert_array_equal(BagOfWords(["b", "a"]).encode(["a b  a", "", "zebra a", "A"]), [[1, 2], [0, 0], [0, 1], [0, 0]])


def test_a_captions_code_is_the_sum_of_its_words():
    encoder = tiny("caption halves")
    vector = dict(zip(encoder.vocabulary, np.asarray(encoder.vectors, float), strict=True))
    captions = [*look("caption halves"), "", "zebra", "red zebra red", "red red"]
    expected = [sum([vector[word] for word in caption.split() if word in vector], np.zeros(8)) for caption in captions]
    np.testing.assert_allclose(encoder.encode(captions), expected, atol=1e-5)
    assert np.abs(expected[-1]).max() > 0 and not encoder.encode(["", "zebra"]).any()


def slow_info_nce(encoder, captions, shares):
    """Float64, caption by caption: who belongs together, of each first part among all second parts and the other way round."""
    vector, sides = dict(zip(encoder.vocabulary, np.asarray(encoder.vectors.detach(), float))), ([], [])
    for caption, share in zip(captions, shares, strict=True):
        words = [word for word in caption.split() if word in vector]
        cut = round(len(words) * (0.35 + 0.45 * float(share)))
        for side, part in zip(sides, (words[:cut], words[cut:])):
            total = sum([vector[word] for word in part], np.zeros(8))
            side.append(total / max(np.linalg.norm(total), 1e-12))
    similarity = np.array(sides[0]) @ np.array(sides[1]).T / 0.1
    own = [np.mean([np.log(np.exp(row).sum()) - row[k] for k, row in enumerate(s)]) for s in (similarity, similarity.T)]
    return np.mean(own)


def test_caption_halves_loss_is_info_nce():
    encoder, captions = tiny("caption halves"), look("caption halves")
    for batch in (captions, [*captions[:20], "red", "", "zebra", "red zebra circle"]):
        shares = torch.rand(len(batch), 1, generator=draw(5))
        assert float(encoder.loss(encoder.tensor(batch), draw(5))) == pytest.approx(slow_info_nce(encoder, batch, shares), rel=1e-4)
    encoder.requires_grad_(True).loss(encoder.tensor(["", "zebra", "red", "red circle"]), draw()).backward()
    assert torch.isfinite(encoder.vectors.grad).all()


def test_two_words_for_one_thing_come_together():
    encoder = pretrained("caption halves", W, n_samples=2000, steps=150)
    vector = dict(zip(encoder.vocabulary, torch.nn.functional.normalize(encoder.vectors), strict=True))
    cosine = lambda a, b: float(vector[a] @ vector[b])
    assert cosine("red", "crimson") > 0.6 > 0.4 > cosine("red", "azure")
    for factor in ("shape", "colour", "fill", "companion"):
        words, n = WORDS[factor], len(FACTORS[factor])
        table = np.array([[cosine(words[i][0], words[j][1]) for j in range(n)] for i in range(n)])
        assert (table.argmax(1) == np.arange(n)).all() and (table.argmax(0) == np.arange(n)).all(), factor


def test_views_and_numpy_integers_are_fine():
    images = W.images(W.scenes("test", 3))
    np.testing.assert_allclose(tiny("pixels").encode(images[::-1]), tiny("pixels").encode(images)[::-1])
    one, other = (pretrained("caption halves", W, seed=kind(1), n_samples=kind(200), d=kind(4), steps=kind(20), stop=kind(2)) for kind in (int, np.int64))
    assert one.key == other.key and torch.equal(one.vectors, other.vectors)


# Bad input: one line that names the argument --------------------------------------------------------------------------

def answers(call, name):
    """The call is refused in one line that begins with the argument's name."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ") and ", accepted: " in message and "\n" not in message and len(message) < 240


IMAGES, SPECTRA, CAPTIONS = W.images(W.scenes("test", 2)), W.look("sound", W.scenes("test", 2)), W.captions(W.scenes("test", 2))
NOT_PICTURES = ([], IMAGES[:0], IMAGES[0], IMAGES / 255, IMAGES[..., :2], IMAGES.astype("i8"), IMAGES.tolist(),
                SPECTRA.astype(float), SPECTRA[0], SPECTRA * np.nan, SPECTRA + np.inf, CAPTIONS)
NOT_CAPTIONS = ([], (), [1], [None], [b"a"], ["a", None], IMAGES, SPECTRA, np.array([np.nan]))
REFUSED = [  # the argument, the call that gets it, and what is refused
    ("kind", lambda x: pretrained(x, W), ("pixel", "", None, 0, [])), ("world", lambda x: pretrained("pixels", x), (None, World, 0)),
    ("stop", lambda x: pretrained("pixels", W, stop=x), (0, 7)), ("seed", lambda x: pretrained("pixels", W, seed=x), (2**31,)),
    ("n_samples", lambda x: pretrained("patch dictionary", W, n_samples=x), (1, 3)),
    ("encoder", lambda x: features(x, W, "test", 3), (None, encoders.Pixels(), encoders.BagOfWords(["a"]))),
    ("samples", lambda kind_and_x: tiny(kind_and_x[0]).encode(kind_and_x[1]), (
        ("pixels", SPECTRA), ("masked autoencoder", IMAGES[:, :16, :16]), ("patch dictionary", SPECTRA), ("sound dictionary", IMAGES),
        ("bag of words", "a red circle"), ("caption halves", {"a"}), ("pixels", None), ("pixels", 5), ("caption halves", (caption for caption in CAPTIONS)))),
    *((name, lambda x, kind=kind, name=name: tiny(kind, **{name: x}), values) for kind in KINDS for name, values in (
        ("seed", (-1, 0.0, True, "0", None)), ("n_samples", (0, -1, 1.5, True, "9", None)), ("colour", (1,)), ("D", (48,)),
        *((setting, (0, -1, 1.0, True, "4", None)) for setting in TINY[kind]),
        *((setting, (1,)) for setting in ("width", "d", "steps", "n_patches") if setting not in TINY[kind]),
        *([("stop", (-1, 3, STEPS + 1, "0", 0.5))] if kind in TRAINED else []))),
    *(("samples", lambda x, kind=kind: tiny(kind).encode(x), NOT_CAPTIONS if KINDS[kind][1] == "caption" else NOT_PICTURES) for kind in KINDS),
    ("purpose", lambda x: features(tiny("pixels"), W, x, 3), ("training", None)), ("n", lambda x: features(tiny("pixels"), W, "test", x), (0, -1, 1.5, True, None)),
    ("start", lambda x: features(tiny("pixels"), W, "test", 3, x), (-1, 0.5, True, None)),
]


@pytest.mark.parametrize("name, call, values", REFUSED, ids=[f"{k} {name}" for k, (name, _, _) in enumerate(REFUSED)])
def test_bad_input(name, call, values):
    for value in values:
        answers(lambda: call(value), name)
