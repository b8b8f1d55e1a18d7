"""What a reader takes home: built from a folder, saved, loaded again, searched; and refused."""

import csv
import json
import os
import struct
import warnings

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from lib import takehome
from lib.files import read_collection
from lib.takehome import build, load

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
COLOURS |= {"white": (240, 240, 240), "black": (10, 10, 10), "yellow": (230, 220, 30)}
GROUNDS = ("sea", "sand", "grass", "night")
SHADE = {"sea": (20, 60, 160), "sand": (220, 200, 140), "grass": (60, 150, 40), "night": (5, 5, 30)}
PLACES = ("left", "right")


class Eyes:
    """What a picture shows, in coarse pixels."""

    modality = "picture"

    def __init__(self, key="eyes"):
        self.key = {"name": key}

    def encode(self, samples):
        small = [np.asarray(picture.resize((6, 4)), np.float32) for picture in samples]
        return np.stack(small).reshape(len(small), -1)


class Words:
    """Which words a text has."""

    modality = "text"
    words = [*COLOURS, *GROUNDS, *PLACES, "boat", "cat"]

    def __init__(self, key="words"):
        self.key, self.seen = {"name": key}, []

    def encode(self, samples):
        self.seen += samples
        return np.array([[w in s.split() for w in self.words] for s in samples], np.float32)


SCENES = [(c, g, p) for c in COLOURS for g in GROUNDS for p in PLACES]


def paint(colour, ground, place):
    image = Image.new("RGB", (60, 40), SHADE[ground])
    x = 0 if place == "left" else 30
    image.paste(COLOURS[colour], (x, 10, x + 30, 30))
    return image


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A user's folder: 48 pictures, 30 of them with a caption, and 18 captions of nobody."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    (folder / "pictures").mkdir(parents=True)
    order = np.random.default_rng(0).permutation(len(SCENES))
    with open(folder / "captions.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["picture", "caption"])
        for rank, k in enumerate(order):
            colour, ground, place = SCENES[k]
            paint(*SCENES[k]).save(folder / "pictures" / f"{k:02}.jpg", quality=95)
            name = f"{k:02}.jpg" if rank < 30 else ""
            writer.writerow([name, f"a {colour} boat on the {place}, before {ground} and so"])
            if rank < 5:
                writer.writerow([name, f"{ground} with a {colour} thing {place}"])
    return folder


@pytest.fixture
def bridge(at):
    return build(Eyes(), Words(), read_collection(at))


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message and "accepted" in message
    for word in words:
        assert word in message


def shown(found):
    return [SCENES[int(path.stem)] for path, _ in found]


# End to end


def test_five_lines_from_a_folder_to_a_search(at, tmp_path):
    collection = read_collection(at)
    vision, text = Eyes(), Words()
    build(vision, text, collection).save(tmp_path / "bridge.safetensors")
    bridge = load(tmp_path / "bridge.safetensors", vision, text)
    found = bridge.search("a red boat on the sea", collection.pictures)
    assert len(found) == 5
    assert sum(scene[0] == "red" and scene[1] == "sea" for scene in shown(found)) == 2
    cosines = [cosine for _, cosine in found]
    assert cosines == sorted(cosines, reverse=True) and max(cosines) <= 1 + 1e-6


def test_it_finds_pictures_that_had_no_caption(at, bridge):
    collection = read_collection(at)
    paired = set(collection.pairs[:, 0])
    hits = tried = 0
    for k, path in enumerate(collection.pictures):
        if k not in paired:
            colour, ground, place = SCENES[int(path.stem)]
            words = f"a {colour} boat on the {place}, before {ground} and so"
            tried += 1
            hits += path in [p for p, _ in bridge.search(words, collection.pictures, 5)]
    assert tried == 18 and hits >= 12  # by chance 2


def test_the_facts_are_those_of_the_run(at, bridge):
    assert bridge.facts["n_pairs"] == 35
    assert bridge.facts["ridge"] in takehome.RIDGES and bridge.facts["power"] in takehome.POWERS
    assert 1 / 7 < bridge.facts["recall"] <= 1


def test_what_was_saved_is_what_is_loaded(at, bridge, tmp_path):
    collection = read_collection(at)
    path = tmp_path / "deep" / "bridge.safetensors"
    bridge.save(path)
    again = load(str(path), Eyes(), Words())
    assert again.facts == bridge.facts
    for side, samples in (("picture", collection.pictures), ("text", collection.captions)):
        z = bridge.embed(side, samples)
        assert (z == again.embed(side, samples)).all()
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    saved = load_file(path)
    again.save(path)
    assert all((tensor == saved[name]).all() for name, tensor in load_file(path).items())
    assert load(path, Eyes(), Words()).facts == bridge.facts
    assert path.stat().st_size < 10**6


def test_the_home_folder_is_the_same_for_both(bridge, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    bridge.save("~/b.safetensors")
    assert (tmp_path / "b.safetensors").exists() and not (tmp_path / "~").exists()
    load("~/b.safetensors", Eyes(), Words())


def test_two_captions_of_a_picture_are_never_in_both_halves(at, monkeypatch):
    """They would be found by heart: a fold holds whole pictures."""
    seen = []
    plain = takehome.weighted_cca

    def spy(a, b, ridge, power):
        seen.append({row.tobytes() for row in a})
        return plain(a, b, ridge, power)

    held = []
    score = takehome.mean_recall_at_1

    def spy_score(a, b):
        held.append(len(a))
        return score(a, b)

    monkeypatch.setattr(takehome, "weighted_cca", spy)
    monkeypatch.setattr(takehome, "mean_recall_at_1", spy_score)
    build(Eyes(), Words(), read_collection(at))
    everything = seen.pop()  # the last fit is on all
    assert len(everything) == 30
    assert len(seen) == len(held) == len(takehome.RIDGES) * len(takehome.POWERS) * takehome.FOLDS
    for fold in range(takehome.FOLDS):
        fits = seen[fold]
        assert len(fits) == 24  # of 30 pictures: six are held out, with all their captions
    assert sum(held[: takehome.FOLDS]) == 35


def test_unpaired_samples_prepare(at):
    """The mean is that of all captions, not of the paired ones."""
    collection = read_collection(at)
    prepare, _ = build(Eyes(), Words(), collection).sides["text"]
    np.testing.assert_allclose(prepare.mean, Words().encode(collection.captions).mean(0), atol=1e-7)


def test_a_search_leaves_nothing_behind_and_encodes_the_words_alone(at, bridge, tmp_path):
    collection = read_collection(at)
    bridge.search("red", collection.pictures)
    before, words = sorted((tmp_path / "cache").iterdir()), bridge.encoders["text"]
    words.seen.clear()
    for k in range(5):
        bridge.search(f"blue boat {k}", collection.pictures)
    assert len(words.seen) == 5
    assert sorted((tmp_path / "cache").iterdir()) == before


def test_k_is_cut_to_what_there_is(at, bridge):
    pictures = read_collection(at).pictures
    assert len(bridge.search("red", pictures, 1)) == 1
    assert len(bridge.search("red", pictures, 10**6)) == len(pictures)
    assert len(bridge.search("red", [str(path) for path in pictures[:3]])) == 3


# Broken pictures


def test_broken_pictures_are_zeros_and_never_found(at, capsys):
    collection = read_collection(at)
    broken = {collection.pictures[k] for k in (*collection.pairs[:3, 0], 1)}
    for path in broken:
        path.write_bytes(b"no picture")
    bridge = build(Eyes(), Words(), collection)
    assert "pictures cannot be read" in capsys.readouterr().out
    z = bridge.embed("picture", collection.pictures)
    zero = [not row.any() for row in z]
    assert [p for p, none in zip(collection.pictures, zero, strict=True) if none] == sorted(broken)
    for words in ("a red boat", "sea", "unheard of", "night with a black thing left"):
        found = bridge.search(words, collection.pictures, 48)
        assert len(found) == 48 - len(broken)
        assert not {path for path, _ in found} & broken
        assert min(cosine for _, cosine in found) <= 0  # zeros would have come before
    assert bridge.search("red", sorted(broken)) == []


def test_too_few_pictures_with_a_caption(at):
    collection = read_collection(at)
    few = collection._replace(pairs=collection.pairs[:14])  # five of them are second captions
    assert len(set(few.pairs[:, 0])) < takehome.FEWEST
    for pairs, n in ((few.pairs, 9), (few.pairs[:0], 0)):
        with pytest.raises(ValueError) as error:
            build(Eyes(), Words(), collection._replace(pairs=pairs))
        one_line(error, f"got '{n} pictures with a caption'", "10 or more")
    for k in set(few.pairs[:, 0]):
        collection.pictures[k].write_bytes(b"")
    pairs = collection.pairs[:20]
    with pytest.raises(ValueError) as error:
        build(Eyes(), Words(), collection._replace(pairs=pairs))
    one_line(error, "pictures with a caption", "which can be read")


def test_captions_that_are_all_the_same(at):
    collection = read_collection(at)
    with pytest.raises(ValueError) as error:
        build(Eyes(), Words(), collection._replace(captions=["a boat"] * len(collection.captions)))
    one_line(error, "rows that differ")


BAD_SEARCHES = [
    (dict(words=""), "words: got ''"),
    (dict(words="  \n"), "a sentence"),
    (dict(words=["red"]), "words: got ['red']"),
    (dict(words=None), "words: got None"),
    (dict(k=0), "k: got 0"),
    (dict(k="five"), "k: got 'five'"),
    (dict(pictures=[]), "samples: got 0"),
]


@pytest.mark.parametrize("change, words", BAD_SEARCHES, ids=range(len(BAD_SEARCHES)))
def test_searches_that_are_refused(at, bridge, change, words):
    arguments = {"words": "red", "pictures": read_collection(at).pictures, "k": 3, **change}
    with pytest.raises(ValueError) as error:
        bridge.search(**arguments)
    one_line(error, words)


# Files


@pytest.mark.parametrize(
    "encoders, side",
    [
        ((Eyes("other"), Words()), "pictures"),
        ((Eyes(), Words("other")), "texts"),
        ((Words(), Eyes()), "pictures"),
    ],
)
def test_another_encoder_is_refused(bridge, tmp_path, encoders, side):
    bridge.save(tmp_path / "b.safetensors")
    with pytest.raises(ValueError) as error:
        load(tmp_path / "b.safetensors", *encoders)
    one_line(error, f"encoder of {side}: got", "the one of the file")


def flipped(content):
    size = struct.unpack("<Q", content[:8])[0]
    at = 8 + size + (len(content) - 8 - size) // 2
    return content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :]


def of_another_run(content):
    return content.replace(b'ridge\\\\\\":', b'ridgE\\\\\\":').replace(
        b'\\"ridge\\"', b'\\"ridgE\\"'
    )


BAD_FILES = {
    "empty": (lambda content: b"", "SafetensorError"),
    "cut": (lambda content: content[:-7], "SafetensorError"),
    "cut in the header": (lambda content: content[:50], "SafetensorError"),
    "longer": (lambda content: content + b"x", "SafetensorError"),
    "a text": (lambda content: b"I am a letter to my grandmother", "SafetensorError"),
    "a bit of a number": (flipped, "damaged numbers"),
    "a bit of the facts": (of_another_run, "damaged numbers"),
    "another format": (lambda c: c.replace(b"unpaired bridge 1", b"unpaired bridge 9"), "bridge 9"),
}


@pytest.mark.parametrize("damage, words", BAD_FILES.values(), ids=BAD_FILES)
def test_damaged_files_are_refused(bridge, tmp_path, damage, words):
    path = tmp_path / "b.safetensors"
    bridge.save(path)
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    with pytest.raises(ValueError) as error:
        load(path, Eyes(), Words())
    one_line(error, str(path), words)


def test_files_of_others_are_refused(bridge, tmp_path):
    path = tmp_path / "b.safetensors"
    bridge.save(path)
    tensors = load_file(path)
    for metadata in (None, {"format": "pt"}, {"format": takehome.FORMAT}):
        save_file(tensors, tmp_path / "foreign.safetensors", metadata)
        with pytest.raises(ValueError) as error:
            load(tmp_path / "foreign.safetensors", Eyes(), Words())
        one_line(error, "foreign.safetensors")
    for name in ("nowhere.safetensors", ""):
        with pytest.raises(ValueError) as error:
            load(tmp_path / name, Eyes(), Words())
        one_line(error, str(tmp_path), takehome.FORMAT)


def test_saving_over_a_file_is_whole_or_nothing(bridge, tmp_path, monkeypatch):
    path = tmp_path / "home" / "b.safetensors"
    bridge.save(path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        patch.setattr(type(path), "replace", fail)
        bridge.facts["n_pairs"] = 99
        with pytest.raises(ValueError) as error:
            bridge.save(path)
    one_line(error, "No space left on device")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["b.safetensors"]
    bridge.save(path)
    assert load(path, Eyes(), Words()).facts["n_pairs"] == 99


def test_nothing_warns(at, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collection = read_collection(at)
        bridge = build(Eyes(), Words(), collection)
        bridge.save(tmp_path / "b.safetensors")
        load(tmp_path / "b.safetensors", Eyes(), Words()).search("red", collection.pictures)
    json.dumps(bridge.facts)
