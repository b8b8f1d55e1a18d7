"""The cache: what comes back, what counts as the same key, what damage, crowds and sudden death do to it."""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import platformdirs
import pytest
import torch

from lib import cache

HEAD = "import os, signal, sys, time\nimport numpy as np\nfrom lib import cache\n"
TENSORS = {
    "scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3), "float32": torch.randn(3, 4), "int64": torch.tensor([-2**63, 2**63 - 1]),
    "bool": torch.tensor([[True], [False]]), "bfloat16": torch.randn(5).bfloat16(), "nan": torch.tensor([torch.nan, -torch.inf, -0.0])}
TENSORS |= {"twin": TENSORS["float32"], "turned": TENSORS["float32"].T, "part": TENSORS["float32"][1:, ::2],
            "parameter": torch.nn.Parameter(torch.ones(2))}
ARRAYS = [np.array(1.5), np.zeros((0, 3)), np.ones((3, 4), np.float32), np.array([-2**63, 2**63 - 1]), np.array([[True], [False]]),
          np.array(["ä", "bcd"]), np.zeros(2, [("x", "f4"), ("y", "i8")]), np.arange(12.0).reshape(3, 4).T[:, ::-1]]


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    """A cache of its own for each test; whatever happens in it, nothing unfinished may remain and nothing may warn unasked."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield tmp_path / "cache"
    assert list((tmp_path / "cache").glob(".*")) == []


def child(code):
    return subprocess.Popen([sys.executable, "-c", HEAD + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def never():
    raise AssertionError("make() was called although the entry is there")


def only_entry(at):
    return next(path for path in at.iterdir() if path.is_dir())


def same(first, second):
    if not isinstance(first, dict):
        return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
    return first.keys() == second.keys() and all(
        first[k].dtype == second[k].dtype and first[k].shape == second[k].shape and
        torch.equal(torch.nan_to_num(first[k], 7), torch.nan_to_num(second[k], 7)) for k in first)


# ---- what comes back

def test_weights_come_back_and_may_be_modified():
    for make in (lambda: TENSORS, never, never):
        got = cache.weights({"seed": 0}, make)
        assert same(got, TENSORS) and not got["parameter"].requires_grad and all(v.is_contiguous() for v in got.values())
        for tensor in got.values():
            tensor.zero_()
    assert cache.weights({"seed": 1}, dict) == cache.weights({"seed": 1}, never) == {}


@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: f"{value.dtype.kind}{value.shape}")
def test_arrays_come_back_read_only(value):
    for make in (lambda: value, never):
        got = cache.array({"seed": 0}, make)
        assert isinstance(got, np.memmap) and same(np.asarray(got), value) and os.path.exists(got.filename)
        with pytest.raises(ValueError, match="read-only"):
            got[...] = value


def test_keys_are_the_same_where_they_are_the_same_json():
    keys = [{"a": value} for value in (1, 1.0, "1", True, None, 0, 0.0, -0.0, False, "", [], [1], {}, {"b": 1}, "é", "e\u0301", 1 + 1e-15)]
    keys += [{}, {"b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": {"b": 1, "c": [1, 2]}}, {"a": {"b": 1, "c": [2, 1]}}]
    for i, key in enumerate(keys):
        assert cache.array(key, lambda: np.array(i)) == i
        assert cache.weights(key, lambda: {"x": torch.tensor(-i)})["x"] == -i
    assert [int(cache.array(key, never)) for key in keys] == list(range(len(keys))) and cache.clear() == 2 * len(keys)
    cache.array({"a": {"b": 1, "c": 2}, "d": 3}, lambda: np.ones(1))
    cache.array({"d": 3, "a": {"c": 2, "b": 1}}, never)


def test_a_key_that_make_changes_is_the_one_that_was_asked():
    key = {"seeds": [1]}
    cache.array(key, lambda: np.array(key["seeds"].pop()))
    assert cache.array({"seeds": [1]}, never) == 1


ring = {}
ring["ring"] = ring
deep = []
for _ in range(100_000):
    deep = [deep]
BAD = [None, 3, "text", [1], [("a", 1)], {1: 2}, {"a": {None: 1}}, {"a": [{True: 1}]}, {1: 2, "1": 2}, {"a": float("nan")}, {"a": [np.inf]},
       {"a": {1, 2}}, {"a": (1, 2)}, {"a": np.float32(1)}, {"a": np.ones(2)}, {"a": torch.ones(1)}, {"a": b"x"}, {"a": print}, {"a": 1j},
       {"a": 10**5000}, ring, {"a": deep}]


@pytest.mark.parametrize("key", BAD, ids=range(len(BAD)))
def test_bad_keys(at, key):
    for ask in (cache.weights, cache.array):
        with pytest.raises(ValueError, match="^key: got .*, accepted: .*$") as error:
            ask(key, never)
        assert "\n" not in str(error.value) and not at.exists()


@pytest.mark.parametrize("ask, made", [
    (cache.array, [1]), (cache.array, None), (cache.array, np.array([None])), (cache.array, np.float64(1)),
    (cache.weights, torch.ones(1)), (cache.weights, {"a": [1]}), (cache.weights, {1: torch.ones(1)})])
def test_bad_results(at, ask, made):
    with pytest.raises(ValueError, match="^make: got .*, accepted: .*$"):
        ask({}, lambda: made)
    assert [path.suffix for path in at.iterdir()] == [".lock"]


def test_what_cannot_be_read_back_is_not_kept(at):
    with pytest.raises(Exception, match="header"):
        cache.weights({}, lambda: {"__metadata__": torch.ones(1)})  # the one name that safetensors keeps for itself
    assert [path.suffix for path in at.iterdir()] == [".lock"]


# ---- damage

def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def told(entry, **changes):
    manifest = json.loads((entry / "manifest.json").read_text())
    (entry / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def unloadable(entry, data):
    data.write_bytes(b"nonsense")
    told(entry, bytes=8, sha256=cache._sha256(data))


DAMAGE = {  # what is done to an entry: the words that name it
    "cut": (lambda entry, data: os.truncate(data, data.stat().st_size - 1), "truncated"),
    "longer": (lambda entry, data: data.write_bytes(data.read_bytes() + b"x"), "truncated"),
    "no bytes": (lambda entry, data: os.truncate(data, 0), "truncated"),
    "one byte": (lambda entry, data: flip(data), "tampered"),
    "no data": (lambda entry, data: data.unlink(), "No such file"),
    "does not load": (unloadable, "."),
    "no manifest": (lambda entry, data: (entry / "manifest.json").unlink(), "no readable manifest.json"),
    "empty manifest": (lambda entry, data: os.truncate(entry / "manifest.json", 0), "no readable manifest.json"),
    "half a manifest": (lambda entry, data: os.truncate(entry / "manifest.json", 40), "no readable manifest.json"),
    "bytes for a manifest": (lambda entry, data: (entry / "manifest.json").write_bytes(bytes(range(256))), "no readable manifest.json"),
    "a list for a manifest": (lambda entry, data: (entry / "manifest.json").write_text("[]"), "no readable manifest.json"),
    "a nest for a manifest": (lambda entry, data: (entry / "manifest.json").write_text("[" * 10**5), "no readable manifest.json"),
    "no size": (lambda entry, data: (entry / "manifest.json").write_text('{"key": {}, "kind": "array"}'), "no readable manifest.json"),
    "other key": (lambda entry, data: told(entry, key={"seed": 1.0}), "foreign"),
    "other kind": (lambda entry, data: told(entry, kind="picture"), "foreign"),
    "other file": (lambda entry, data: told(entry, file="../../etc/passwd"), "foreign"),
    "other size": (lambda entry, data: told(entry, bytes="many"), "truncated"),
    "other sha256": (lambda entry, data: told(entry, sha256=None), "tampered"),
    "nothing": (lambda entry, data: [path.unlink() for path in entry.iterdir()], "no readable manifest.json"),
}


@pytest.mark.parametrize("damage, words", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_rebuilt(at, damage, words):
    for ask, right in ((cache.array, np.arange(1000.0)), (cache.weights, {"w": torch.arange(1000.0)})):
        ask({"seed": 1}, lambda: right)
        entry = only_entry(at)
        damage(entry, next(path for path in entry.iterdir() if path.suffix != ".json"))
        with pytest.warns(UserWarning, match=words) as warned:
            assert same(ask({"seed": 1}, lambda: right), right)
        assert len(warned) == 1 and str(warned[0].message).startswith(f"{entry}: ") and warned[0].filename == __file__
        assert str(warned[0].message).endswith("; it is rebuilt") and "\n" not in str(warned[0].message)
        assert same(ask({"seed": 1}, never), right) and cache.clear() == 1


def test_what_stands_in_the_way_is_put_aside_not_deleted(at):
    cache.array({}, lambda: np.ones(1))
    entry = only_entry(at)
    (entry / "array.npy").unlink()
    (entry / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match="rebuilt"):
        cache.array({}, lambda: np.ones(1))
    assert cache.array({}, never) == 1 and cache.clear() == 1
    aside, = at.iterdir()
    assert (aside / "notes.txt").read_text() == "mine"
    aside.rename(at / "notes")


# ---- crowds and sudden death

def test_two_processes_make_once(at, tmp_path):
    both = [child(f"""print(flush=True), input()
def make():
    open({str(tmp_path / "made")!r}, "a").write("x")
    time.sleep(0.3)
    return np.random.default_rng().random(1000)
print(float(cache.array({{"seed": 0}}, make).sum()))""") for _ in range(2)]
    for process in both:
        process.stdout.readline()
    for process in both:
        process.stdin.write("\n"), process.stdin.flush()
    first, second = (process.communicate(timeout=60)[0] for process in both)
    assert (tmp_path / "made").read_text() == "x" and first == second == f"{float(cache.array({'seed': 0}, never).sum())}\n"


def test_threads_make_once():
    calls = []

    def make():
        calls.append(time.sleep(0.2))
        return np.random.default_rng().random(3)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cache.array({}, make), range(4)))
    assert len(calls) == 1 and all(same(np.asarray(r), np.asarray(results[0])) for r in results)


def test_who_waits_goes_on_when_the_maker_is_killed(at):
    process = child("cache.array({}, lambda: print(flush=True) or time.sleep(60))")
    process.stdout.readline()
    assert cache.clear() == 0  # somebody is at work there
    threading.Timer(0.3, process.kill).start()
    start = time.perf_counter()
    assert cache.array({}, lambda: np.array(1)) == 1 and 0.2 < time.perf_counter() - start < 10
    process.communicate()


def test_killed_at_each_step_of_writing(at):
    code = """
sync, left = cache._sync, [{step}]
def count_down(path):
    left[0] -= 1
    if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)
    sync(path)
cache._sync = count_down
cache.array({{"step": {step}}}, lambda: np.arange(1000))"""
    running = [child(code.format(step=step)) for step in range(4)]  # before data, manifest, folder, cache are on the disk
    for step, process in enumerate(running):
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert same(np.asarray(cache.array({"step": step}, never if step == 3 else lambda: np.arange(1000))), np.arange(1000))


def test_killed_at_any_moment(at):
    for _ in range(6):
        process = child("print(flush=True)\nfor i in range(10**6): cache.array({'i': i}, lambda: np.full(300_000, i))")
        process.stdout.readline()
        time.sleep(random.uniform(0, 0.15))
        process.kill(), process.communicate()
    there = sum(path.is_dir() and not path.name.startswith(".") for path in at.iterdir())
    for i in range(there + 1):
        got = cache.array({"i": i}, never if i < there else lambda: np.full(300_000, i))
        assert same(np.asarray(got), np.full(300_000, i))
    (at / f".{'0' * 24}.1.00000000.partial").mkdir()
    (at / f".{'0' * 24}.1.00000000.partial" / "array.npy").write_text("half")
    assert there > 0 and cache.clear() == there + 1 and not at.exists()


@pytest.mark.parametrize("error", [KeyError("no such"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_error_in_make_goes_through_and_leaves_nothing(at, error):
    def make():
        raise error
    for ask in (cache.array, cache.weights):
        with pytest.raises(type(error)) as caught:
            ask({}, make)
        assert caught.value is error and {path.suffix for path in at.iterdir()} == {".lock"}
    assert cache.array({}, lambda: np.array(2)) == 2


def test_stages_are_nested():
    stage = lambda n: cache.array({"stage": n}, lambda: stage(n - 1) + 1 if n else np.zeros(2))
    assert stage(5).tolist() == [5, 5] and all(cache.array({"stage": n}, never)[0] == n for n in range(6))
    with pytest.raises(RuntimeError, match="Deadlock"):
        cache.array({"snake": 1}, lambda: cache.array({"snake": 1}, never))


# ---- the folder

def test_the_variable_moves_the_folder(tmp_path, monkeypatch):
    cache.array({}, lambda: np.array(1))
    monkeypatch.setenv("HOME", str(tmp_path))
    for chosen, place in (("~/deep/er", tmp_path / "deep/er"), (f"{tmp_path}/[a] *ü", tmp_path / "[a] *ü"), ("near", tmp_path / "near")):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("UNPAIRED_CACHE", chosen)
        assert cache.folder() == place
        got = cache.array({}, lambda: os.chdir("/") or np.array(2))
        monkeypatch.chdir(tmp_path)
        assert got == 2 and only_entry(place) and cache.clear() == 1 and not place.exists()
    for unset in (lambda: monkeypatch.setenv("UNPAIRED_CACHE", ""), lambda: monkeypatch.delenv("UNPAIRED_CACHE")):
        unset()
        assert cache.folder() == platformdirs.user_cache_path("unpaired")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "closed").mkdir(mode=0o500)
    places = [tmp_path / "file", tmp_path / "file" / "below", "~nobody-of-this-name/x", "/dev/null", "/proc", "/proc/none"]
    for place in places + [tmp_path / "closed"] * (os.geteuid() != 0):
        monkeypatch.setenv("UNPAIRED_CACHE", str(place))
        with pytest.raises(ValueError, match="^UNPAIRED_CACHE: got .*, accepted: a folder that can be written to .*$") as error:
            cache.array({}, never)
        assert "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_clear_deletes_only_what_it_knows(at):
    assert cache.clear() == 0 and not at.exists()
    for seed in range(3):
        cache.weights({"seed": seed}, lambda: TENSORS)
    foreign = ["thesis.txt", "manifest.json", "models/weights.safetensors", "0123456789abcdef01234567.txt", "x.lock",
               "f" * 40 + "/array.npy", "0123456789abcdef01234567/deep/array.npy", "0123456789abcdef01234568/photo.jpg",
               only_entry(at).name + "/notes.txt"]
    for name in foreign:
        (at / name).parent.mkdir(exist_ok=True, parents=True)
        (at / name).write_text("mine")
    process = child(f"sys.argv = ['x']\nimport runpy\nrunpy.run_path({cache.__file__!r}, run_name='__main__')")
    assert process.communicate(timeout=60)[0] == f"removed 3 entries from {at}\n"
    assert sorted(str(path.relative_to(at)) for path in at.rglob("*") if path.is_file()) == sorted(foreign) and cache.clear() == 0


def test_fifteen_megabytes_load_fast():
    tensors = {"w": torch.randn(4_000_000)}
    cache.weights({}, lambda: tensors), cache.array({}, tensors["w"].numpy)
    for ask in (cache.weights, cache.array):
        start = time.perf_counter()
        ask({}, never)
        assert time.perf_counter() - start < 1  # about 0.02 s


def test_what_safetensors_leaves_when_it_dies_in_the_midst_of_writing_is_swept(monkeypatch, tmp_path):
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path))
    cache.array({"a": 1}, lambda: np.arange(3))
    name = next(path.name for path in tmp_path.iterdir() if path.is_dir())
    for file in ("weights.safetensors", ".tmpAb12Cd"):
        left = tmp_path / f".{name}.1.{'0' * 8}.partial"
        left.mkdir(exist_ok=True)
        (left / file).write_bytes(b"half")
    (tmp_path / name / "array.npy").write_bytes(b"")
    with pytest.warns(UserWarning, match="rebuilt"):
        cache.array({"a": 1}, lambda: np.arange(3))
    assert not left.exists()
