"""The cache: what comes back, which keys are one, what damage, crowds and sudden death do."""

import errno
import itertools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from lib import cache

FORK = multiprocessing.get_context("fork")  # a new interpreter would import torch for seconds
ROOT = Path(__file__).parents[1]
MATRIX = torch.randn(3, 4)
TENSORS = {
    "scalar": torch.tensor(1.5),
    "empty": torch.zeros(0, 3),
    "float32": MATRIX,
    "int64": torch.tensor([-(2**63), 2**63 - 1]),
    "bool": torch.tensor([[True], [False]]),
    "bfloat16": torch.randn(5).bfloat16(),
    "nan": torch.tensor([torch.nan, -torch.inf, -0.0]),
    "twin": MATRIX,
    "turned": MATRIX.T,
    "part": MATRIX[1:, ::2],
    "parameter": torch.nn.Parameter(torch.ones(2)),
}
ARRAYS = [
    np.array(1.5),
    np.zeros((0, 3)),
    np.ones((3, 4), np.float32),
    np.array([-(2**63), 2**63 - 1]),
    np.array([[True], [False]]),
    np.array(["ä", "bcd"]),
    np.zeros(2, [("x", "f4"), ("y", "i8")]),
    np.arange(12.0).reshape(3, 4).T[:, ::-1],
]


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    """A cache for each test; nothing unfinished may remain, and nothing may warn unasked."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield tmp_path / "cache"
    assert list((tmp_path / "cache").glob("*.partial")) == []


def child(work, *arguments):
    """A process that does work(*arguments)."""
    process = FORK.Process(target=work, args=arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on threads and forks
        process.start()
    return process


def never():
    raise AssertionError("make() was called although the entry is there")


def one():
    return np.array(1)


def suffixes(at):
    return sorted({path.suffix for path in at.iterdir()})


def only(at, suffix):
    (path,) = at.glob(f"*{suffix}")
    return path


def same(first, second):
    if isinstance(first, np.ndarray):
        alike = first.dtype == second.dtype and first.shape == second.shape
        return alike and first.tobytes() == second.tobytes()
    for name in first.keys() | second.keys():
        a, b = first[name], second[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if not torch.equal(torch.nan_to_num(a, 7), torch.nan_to_num(b, 7)):
            return False
    return True


# What comes back


def test_weights_come_back_and_may_be_modified():
    for make in (lambda: TENSORS, never, never):
        got = cache.weights({"seed": 0}, make)
        assert same(got, TENSORS)
        assert not got["parameter"].requires_grad
        assert all(tensor.is_contiguous() for tensor in got.values())
        for tensor in got.values():
            tensor.zero_()


def test_no_weights_come_back_too():
    assert cache.weights({"seed": 1}, dict) == cache.weights({"seed": 1}, never) == {}


@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: f"{value.dtype.kind}{value.shape}")
def test_arrays_come_back_read_only(value):
    for make in (lambda: value, never):
        got = cache.array({"seed": 0}, make)
        assert isinstance(got, np.memmap)
        assert same(np.asarray(got), value)
        assert os.path.exists(got.filename)
        with pytest.raises(ValueError, match="read-only"):
            got[...] = value


# fmt: off
VALUES = [1, 1.0, "1", True, None, 0, 0.0, -0.0, False, "", [], [1], {}, {"b": 1}, "é", "e\u0301",
          1 + 1e-15]
# fmt: on
KEYS = [
    *({"a": value} for value in VALUES),
    {},
    {"b": 1},
    {"a": 1, "b": 2},
    {"a": 2, "b": 1},
    {"a": {"b": 1, "c": [1, 2]}},
    {"a": {"b": 1, "c": [2, 1]}},
]


def test_other_json_is_another_key():
    for i, key in enumerate(KEYS):
        assert cache.array(key, lambda i=i: np.array(i)) == i
        assert cache.weights(key, lambda i=i: {"x": torch.tensor(-i)})["x"] == -i
    assert [int(cache.array(key, never)) for key in KEYS] == list(range(len(KEYS)))
    assert cache.clear() == 2 * len(KEYS)


def test_the_order_of_names_is_nothing():
    cache.array({"a": {"b": 1, "c": 2}, "d": 3}, one)
    cache.array({"d": 3, "a": {"c": 2, "b": 1}}, never)


def test_a_key_that_make_changes_is_the_one_that_was_asked():
    key = {"seeds": [1]}
    cache.array(key, lambda: np.array(key["seeds"].pop()))
    assert cache.array({"seeds": [1]}, never) == 1


RING = {}
RING["ring"] = RING
DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]
BAD_KEYS = [
    None,
    3,
    "text",
    [1],
    [("a", 1)],
    {1: 2},
    {"a": {None: 1}},
    {"a": [{True: 1}]},
    {1: 2, "1": 2},
    {"a": float("nan")},
    {"a": [np.inf]},
    {"a": {1, 2}},
    {"a": (1, 2)},
    {"a": np.float32(1)},
    {"a": np.ones(2)},
    {"a": torch.ones(1)},
    {"a": b"x"},
    {"a": print},
    {"a": 1j},
    {"a": 10**5000},
    RING,
    {"a": DEEP},
]


@pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
@pytest.mark.parametrize("ask", [cache.weights, cache.array])
def test_bad_keys(at, ask, key):
    with pytest.raises(ValueError, match="^key: got .*, accepted: .*$") as error:
        ask(key, never)
    assert "\n" not in str(error.value)
    assert not at.exists()


BAD_RESULTS = [
    (cache.array, [1]),
    (cache.array, None),
    (cache.array, np.array([None])),
    (cache.array, np.float64(1)),
    (cache.weights, torch.ones(1)),
    (cache.weights, {"a": [1]}),
    (cache.weights, {1: torch.ones(1)}),
]


@pytest.mark.parametrize("ask, made", BAD_RESULTS, ids=range(len(BAD_RESULTS)))
def test_bad_results(at, ask, made):
    with pytest.raises(ValueError, match="^make: got .*, accepted: .*$"):
        ask({}, lambda: made)
    assert suffixes(at) == [".lock"]


def test_what_cannot_be_read_back_is_not_kept(at):
    with pytest.raises(Exception, match="header"):  # safetensors keeps this name for itself
        cache.weights({}, lambda: {"__metadata__": torch.ones(1)})
    assert suffixes(at) == [".lock"]


# Damage


def cut(data, manifest):
    os.truncate(data, data.stat().st_size - 1)


def lengthen(data, manifest):
    data.write_bytes(data.read_bytes() + b"x")


def flip(data, manifest):
    content = bytearray(data.read_bytes())
    content[-3] ^= 1
    data.write_bytes(content)


def empty(data, manifest):
    os.truncate(data, 0)


def lose(data, manifest):
    data.unlink()


def rewrite(data, manifest):
    data.write_bytes(b"nonsense")
    text = json.dumps({k: v for k, v in json.loads(manifest.read_text()).items() if k != "sha256"})
    manifest.write_bytes(cache._manifest(text, data))


def tell(text):
    """Damage that writes `text` into the manifest."""
    return lambda data, manifest: manifest.write_text(text)


def change(**fields):
    """Damage that changes fields of the manifest."""

    def damage(data, manifest):
        content = {**json.loads(manifest.read_text()), **fields}
        manifest.write_text(json.dumps(content, indent=1))

    return damage


NO_FIT = "it does not describe"
DAMAGE = {  # what is done to an entry, the words that name it
    "cut": (cut, NO_FIT),
    "longer": (lengthen, NO_FIT),
    "no bytes": (empty, NO_FIT),
    "one byte": (flip, NO_FIT),
    "no data": (lose, "No such file"),
    "does not load": (rewrite, "."),
    "empty manifest": (tell(""), NO_FIT),
    "half a manifest": (tell('{"key": {"se'), NO_FIT),
    "a list for a manifest": (tell("[]"), NO_FIT),
    "other key": (change(key={"seed": 1.0}), NO_FIT),
    "other kind": (change(kind="picture"), NO_FIT),
    "other sha256": (change(sha256=None), NO_FIT),
}


@pytest.mark.parametrize("damage, words", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize(
    "ask, right",
    [(cache.array, np.arange(1000.0)), (cache.weights, {"w": torch.arange(1000.0)})],
    ids=["array", "weights"],
)
def test_damage_is_named_and_rebuilt(at, ask, right, damage, words):
    ask({"seed": 1}, lambda: right)
    manifest = only(at, ".json")
    (data,) = (path for path in at.iterdir() if path.suffix in cache.SUFFIX.values())
    damage(data, manifest)
    with pytest.warns(UserWarning, match=words) as warned:
        assert same(ask({"seed": 1}, lambda: right), right)
    (warning,) = warned
    assert warning.filename == __file__
    assert str(warning.message).startswith(f"{manifest}: ")
    assert str(warning.message).endswith("; the entry is rebuilt")
    assert "\n" not in str(warning.message)
    assert same(ask({"seed": 1}, never), right)
    assert cache.clear() == 1


def test_what_is_loaded_outlives_a_rebuild(at):
    loaded = cache.array({}, lambda: np.arange(1000))
    lengthen(only(at, ".npy"), None)
    with pytest.warns(UserWarning, match=NO_FIT):
        assert not cache.array({}, lambda: np.zeros(1000, int)).any()
    assert same(np.asarray(loaded), np.arange(1000))


def test_without_a_manifest_there_is_no_entry(at):
    cache.array({}, one)
    only(at, ".json").unlink()
    assert cache.array({}, lambda: np.array(2)) == 2
    assert cache.array({}, never) == 2


# Crowds and sudden death


def test_two_processes_make_once(tmp_path):
    begin = FORK.Barrier(2)

    def make():
        with open(tmp_path / "made", "a") as file:
            file.write("x")
        time.sleep(0.3)
        return np.random.default_rng().random(1000)

    def work(k):
        begin.wait()
        np.save(tmp_path / f"{k}.npy", cache.array({"seed": 0}, make))

    both = [child(work, k) for k in range(2)]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "made").read_text() == "x"
    first, second = (np.load(tmp_path / f"{k}.npy") for k in range(2))
    assert same(first, second)
    assert same(first, np.asarray(cache.array({"seed": 0}, never)))


def test_threads_make_once():
    calls = []

    def make():
        calls.append(time.sleep(0.2))
        return np.random.default_rng().random(3)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cache.array({}, make), range(4)))
    assert len(calls) == 1
    assert all(same(np.asarray(result), np.asarray(results[0])) for result in results)


def test_who_waits_goes_on_when_the_maker_is_killed():
    making = FORK.Event()
    process = child(cache.array, {}, lambda: making.set() or time.sleep(60))
    assert making.wait(60)
    assert cache.clear() == 0  # somebody is at work there
    threading.Timer(0.3, process.kill).start()
    assert cache.array({}, one) == 1
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("step", range(3), ids=["data", "manifest", "folder"])
def test_killed_before_something_is_on_the_disk(step):
    sync, calls = cache._sync, itertools.count()

    def die(path):
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(path)

    def work():
        cache._sync = die
        cache.array({}, lambda: np.arange(1000))

    process = child(work)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    make = never if step == 2 else lambda: np.arange(1000)
    assert same(np.asarray(cache.array({}, make)), np.arange(1000))


def test_killed_at_any_moment(at):
    def work(begun):
        begun.set()
        for i in range(10**6):
            cache.array({"i": i}, lambda i=i: np.full(300_000, i))

    for _ in range(6):
        begun = FORK.Event()
        process = child(work, begun)
        assert begun.wait(60)
        time.sleep(random.uniform(0, 0.15))
        process.kill()
        process.join(60)
    there = len(list(at.glob("*.json")))
    assert there > 0
    for i in range(there + 1):
        make = never if i < there else lambda i=i: np.full(300_000, i)
        assert same(np.asarray(cache.array({"i": i}, make)), np.full(300_000, i))
    for suffix in (".partial", ".npy"):
        (at / f"{'0' * 24}{suffix}").write_text("half")
    assert cache.clear() == there + 1
    assert list(at.iterdir()) == []


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("ask", [cache.weights, cache.array])
def test_an_error_in_make_goes_through_and_leaves_nothing(at, ask, error):
    def make():
        raise error

    with pytest.raises(type(error)) as caught:
        ask({}, make)
    assert caught.value is error
    assert suffixes(at) == [".lock"]
    assert cache.array({}, one) == 1


def test_an_oserror_of_make_is_its_own():
    def make():
        raise FileNotFoundError("no pictures")

    with pytest.raises(FileNotFoundError, match="no pictures"):
        cache.array({}, make)


def stage(n):
    return cache.array({"stage": n}, lambda: stage(n - 1) + 1 if n else np.zeros(2))


def test_stages_are_nested():
    assert stage(5).tolist() == [5, 5]
    assert [cache.array({"stage": n}, never)[0] for n in range(6)] == list(range(6))
    with pytest.raises(RuntimeError, match="Deadlock"):
        cache.array({"snake": 1}, lambda: cache.array({"snake": 1}, never))


# Rows, chunk by chunk


def numbers(start, stop):
    """Rows that say which they are."""
    return np.arange(start, stop, dtype=np.float32)[:, None] * np.array([1, -2, 0.5], np.float32)


@pytest.mark.parametrize("n, chunk", [(1, 1), (1, 9), (9, 1), (10, 3), (9, 3), (10, 1024)])
def test_rows_come_back_read_only(at, n, chunk):
    asked = []

    def make(start, stop):
        asked.append((start, stop))
        return numbers(start, stop)

    for make_ in (make, never, never):
        got = cache.rows({"seed": 0}, n, make_, chunk)
        assert isinstance(got, np.memmap) and same(np.asarray(got), numbers(0, n))
        with pytest.raises(ValueError, match="read-only"):
            got[0] = 1
    assert asked == [(k, min(k + chunk, n)) for k in range(0, n, chunk)]
    assert suffixes(at) == [".json", ".lock", ".npy"]
    assert cache.clear() == 1 and list(at.iterdir()) == []


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
@pytest.mark.parametrize("dtype", ["f8", "f2", "i8", "?", "U3"])
def test_rows_of_any_shape_and_kind(shape, dtype):
    whole = np.arange(5 * int(np.prod(shape)), dtype="i8").astype(dtype).reshape(5, *shape)
    got = cache.rows({}, 5, lambda start, stop: whole[start:stop], 2)
    assert same(np.asarray(got), whole)


def test_other_n_chunk_or_key_are_other_rows():
    cases = [({}, 4, 2), ({}, 4, 3), ({}, 5, 2), ({"n": 5}, 4, 2), ({"n": 6}, 4, 2)]
    cases += [({"chunk": 1}, 4, 2), ({"chunk": 3}, 4, 2), ({"n": 5}, 5, 2)]
    for i, (key, n, chunk) in enumerate(cases):
        cache.rows(key, n, lambda a, b, i=i: np.full(b - a, i), chunk)
    for i, (key, n, chunk) in enumerate(cases):
        assert cache.rows(key, n, never, chunk).tolist() == [i] * n


@pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
def test_bad_keys_of_rows(at, key):
    with pytest.raises(ValueError, match="^key: got .*, accepted: .*$") as error:
        cache.rows(key, 3, never)
    assert "\n" not in str(error.value)
    assert not at.exists()


BAD_SIZES = [(0, 1, "n"), (-1, 1, "n"), (2.0, 1, "n"), (True, 1, "n"), (3, 0, "chunk")]


@pytest.mark.parametrize("n, chunk, name", BAD_SIZES, ids=str)
def test_bad_sizes_of_rows(at, n, chunk, name):
    with pytest.raises(ValueError, match=f"^{name}: got .*, accepted: a whole number >= 1$"):
        cache.rows({}, n, never, chunk)
    assert not at.exists()


BAD_CHUNKS = {  # what the second chunk of three rows is
    "a row less": lambda rows: rows[:-1],
    "a row more": lambda rows: np.vstack([rows, rows])[:4],
    "one row": lambda rows: rows[:1],
    "wider": lambda rows: np.hstack([rows, rows]),
    "narrower": lambda rows: rows[:, :1],
    "other type": lambda rows: rows.astype(np.float64),
    "flat": lambda rows: rows[:, 0],
    "none": lambda rows: None,
    "text": lambda rows: "text",
    "objects": lambda rows: rows.astype(object),
}


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("spoil", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_chunks_that_do_not_fit_are_refused(at, spoil, first):
    def make(start, stop):
        return spoil(numbers(start, stop)) if start == first else numbers(start, stop)

    begun = []
    if first == 0 and spoil(numbers(0, 3)) is not None and len(spoil(numbers(0, 3))) == 3:
        first = 3  # the first chunk says how wide all are: then the second does not fit
    with pytest.raises(ValueError, match="^make: got .*, accepted: .*rows") as error:
        cache.rows({}, 9, make, 3)
    assert "\n" not in str(error.value)

    def again(start, stop):
        begun.append(start)
        return numbers(start, stop)

    assert same(np.asarray(cache.rows({}, 9, again, 3)), numbers(0, 9))
    assert begun[-1] == 6


def test_an_error_in_the_middle_keeps_what_was_done(at):
    def make(start, stop):
        if start == 6:
            raise KeyboardInterrupt
        return numbers(start, stop)

    with pytest.raises(KeyboardInterrupt):
        cache.rows({}, 10, make, 2)
    assert suffixes(at) == [".chunks", ".lock", ".npy"]
    begun = []
    rows = cache.rows({}, 10, lambda a, b: begun.append(a) or numbers(a, b), 2)
    assert same(np.asarray(rows), numbers(0, 10)) and begun == [6, 8]
    assert suffixes(at) == [".json", ".lock", ".npy"]


def test_clear_removes_rows_that_nobody_finished(at):
    test_an_error_in_the_middle_keeps_what_was_done(at)
    cache.clear()

    def make(start, stop):
        if start:
            raise OSError("gone")
        return numbers(start, stop)

    with pytest.raises(OSError, match="gone"):
        cache.rows({}, 10, make, 2)
    assert cache.clear() == 0
    assert list(at.iterdir()) == []


def half_done(at):
    """Five chunks of ten noted; the paths of the data and of the notes."""

    def make(start, stop):
        if start == 50:
            raise InterruptedError
        return numbers(start, stop)

    with pytest.raises(InterruptedError):
        cache.rows({}, 100, make, 10)
    return only(at, ".npy"), only(at, ".chunks")


def poke(data, row):
    table = np.lib.format.open_memmap(data, "r+")
    table[row] += 1
    table.flush()


HALF_DAMAGE = {  # what is done to data and notes; where it goes on
    "nothing": (lambda data, notes: None, 50),
    "first chunk": (lambda data, notes: poke(data, 3), 0),
    "third chunk": (lambda data, notes: poke(data, 29), 20),
    "beyond": (lambda data, notes: poke(data, 70), 50),
    "data gone": (lambda data, notes: data.unlink(), 0),
    "data cut": (lambda data, notes: os.truncate(data, 500), 0),
    "data empty": (lambda data, notes: os.truncate(data, 0), 0),
    "data are a text": (lambda data, notes: data.write_text("hello"), 0),
    "data of another shape": (lambda data, notes: np.save(data, np.zeros((2, 2))), 0),
    "notes gone": (lambda data, notes: notes.unlink(), 0),
    "notes empty": (lambda data, notes: os.truncate(notes, 0), 0),
    "notes cut": (lambda data, notes: os.truncate(notes, 17 * 3 + 5), 30),
    "notes cut at a line's end": (lambda data, notes: os.truncate(notes, 17 * 3 + 16), 40),
    "notes of no text": (lambda data, notes: notes.write_bytes(b"\xff\xfe\0" * 9), 0),
    "notes too long": (lambda data, notes: notes.write_text(notes.read_text() + "x" * 16), 50),
    "other notes": (lambda data, notes: notes.write_text("0123456789abcdef\n" * 5), 0),
}


@pytest.mark.parametrize("damage, goes_on", HALF_DAMAGE.values(), ids=HALF_DAMAGE)
def test_damage_of_what_was_half_done_is_noticed(at, damage, goes_on):
    damage(*half_done(at))
    for stop_at in (60, None):  # and a second stop finds right notes
        begun = []

        def make(start, stop, begun=begun, stop_at=stop_at):
            begun.append(start)
            if start == stop_at:
                raise InterruptedError
            return numbers(start, stop)

        if stop_at:
            with pytest.raises(InterruptedError):
                cache.rows({}, 100, make, 10)
            assert begun[0] == goes_on
    assert same(np.asarray(cache.rows({}, 100, make, 10)), numbers(0, 100))
    assert begun == [60, 70, 80, 90]


@pytest.mark.parametrize("damage, words", DAMAGE.values(), ids=DAMAGE)
def test_damage_of_rows_is_named_and_rebuilt(at, damage, words):
    cache.rows({}, 20, numbers, 6)
    damage(only(at, ".npy"), only(at, ".json"))
    with pytest.warns(UserWarning, match=words):
        assert same(np.asarray(cache.rows({}, 20, numbers, 6)), numbers(0, 20))
    assert same(np.asarray(cache.rows({}, 20, never, 6)), numbers(0, 20))


@pytest.mark.parametrize("step", range(3), ids=["data", "manifest", "folder"])
def test_rows_killed_when_all_are_done_are_not_made_again(at, step):
    sync, calls = cache._sync, itertools.count()

    def die(path):
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(path)

    def work():
        cache._sync = die
        cache.rows({}, 100, numbers, 10)

    process = child(work)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert same(np.asarray(cache.rows({}, 100, never, 10)), numbers(0, 100))
    cache.clear()
    assert list(at.iterdir()) == []


def test_rows_killed_at_any_moment(at, tmp_path):
    note = tmp_path / "note"

    def make(start, stop):
        with open(note, "a") as stream:
            stream.write(f"{start}\n")
        return np.repeat(numbers(start, stop), 1000, axis=1)

    kills = 0
    for _ in range(8):
        process = child(cache.rows, {}, 3000, make, 10)
        time.sleep(random.uniform(0.02, 0.25))
        process.kill()
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
    found = cache.rows({}, 3000, make, 10)
    assert same(np.asarray(found), np.repeat(numbers(0, 3000), 1000, axis=1))
    begun = list(map(int, note.read_text().split()))
    assert sorted(set(begun)) == list(range(0, 3000, 10))
    assert len(begun) <= 300 + kills


def test_two_processes_make_rows_once(at, tmp_path):
    def work(k):
        def make(start, stop):
            (tmp_path / f"{start}-{k}").touch()
            time.sleep(0.02)
            return numbers(start, stop)

        np.save(tmp_path / f"{k}.npy", cache.rows({}, 40, make, 10))

    both = [child(work, k) for k in range(2)]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert len(list(tmp_path.glob("*-*"))) == 4
    assert same(np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"))


# The folder


def test_the_variable_moves_the_folder(tmp_path, monkeypatch):
    cache.array({}, one)
    monkeypatch.setenv("HOME", str(tmp_path))
    for chosen, place in (
        ("~/deep/er", tmp_path / "deep/er"),
        (f"{tmp_path}/[a] *ü", tmp_path / "[a] *ü"),
        ("near", tmp_path / "near"),
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("UNPAIRED_CACHE", chosen)
        assert cache.folder() == place
        got = cache.array({}, lambda: os.chdir("/") or np.array(2))
        monkeypatch.chdir(tmp_path)
        assert got == 2
        assert only(place, ".json")
        assert cache.clear() == 1
        assert list(place.iterdir()) == []


def test_without_the_variable_it_is_the_users_folder(monkeypatch):
    monkeypatch.setenv("UNPAIRED_CACHE", "")
    assert cache.folder() == platformdirs.user_cache_path("unpaired")
    monkeypatch.delenv("UNPAIRED_CACHE")
    assert cache.folder() == platformdirs.user_cache_path("unpaired")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "closed").mkdir(mode=0o500)
    places = [tmp_path / "file", tmp_path / "file" / "below", "~nobody-of-this-name/x", "/dev/null"]
    places += ["/proc", "/proc/none"]
    places += [tmp_path / "closed"] * (os.geteuid() != 0)
    for place in places:
        monkeypatch.setenv("UNPAIRED_CACHE", str(place))
        with pytest.raises(
            ValueError, match="^UNPAIRED_CACHE: got .*, accepted: a folder"
        ) as error:
            cache.array({}, never)
        assert "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("ask", [cache.weights, cache.array])
@pytest.mark.parametrize("step", range(4))
def test_a_full_disk_is_named_and_nothing_half_remains(at, monkeypatch, ask, step):
    """Step by step: the data, their way to the disk, the manifest, its way to the disk."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    writers = {
        0: [(np, "save"), (cache.Path, "write_bytes")],
        1: [(cache, "_sync")],
        2: [(cache, "_manifest")],
        3: [(cache.Path, "replace")],
    }

    def fail(path, *args, **kwargs):
        raise full

    def fill(path, *args, **kwargs):
        path.touch()
        raise full

    with monkeypatch.context() as patch:
        for owner, name in writers[step]:
            patch.setattr(owner, name, fill if step == 0 else fail)
        right = np.ones(3) if ask is cache.array else {"w": torch.ones(3)}
        with pytest.raises(ValueError) as error:
            ask({}, lambda: right)
    message = str(error.value)
    assert message.startswith(f"UNPAIRED_CACHE: got '{str(at)[:40]}")
    assert "No space left on device" in message
    assert "make room there, or choose another" in message
    assert "\n" not in message
    assert suffixes(at) == [".lock"]
    assert same(ask({}, lambda: right), right)


def test_clear_deletes_only_what_it_knows(at):
    assert cache.clear() == 0
    assert not at.exists()
    for seed in range(3):
        cache.weights({"seed": seed}, lambda: TENSORS)
    foreign = [
        "thesis.txt",
        "manifest.json",
        "models/weights.safetensors",
        "0123456789abcdef01234567.txt",
        "x.lock",
        "f" * 40 + ".npy",
        "0123456789abcdef01234567.npy/photo.jpg",
        "0123456789abcdef01234568/array.npy",
    ]
    for name in foreign:
        (at / name).parent.mkdir(exist_ok=True, parents=True)
        (at / name).write_text("mine")
    command = [sys.executable, "-m", "lib.cache"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == f"removed 3 entries from {at}\n"
    left = [str(path.relative_to(at)) for path in at.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(foreign)
    assert cache.clear() == 0
