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
