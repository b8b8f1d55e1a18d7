"""What took long to compute, kept outside the repository.

    best = weights({"model": "clip", "seed": 0, "steps": 2000}, train)  # train() -> {name: tensor}
    images = array({"world": 0, "scenes": 4000}, draw)                  # draw() -> NumPy array
    table = rows({"encoder": "clip"}, 10**6, encode)                    # encode(0, 1024), ...

The key is a dict that says everything that shaped the entry. Keys are the same where they are the
same JSON: the order of names is nothing; 1, 1.0, "1" and True are four keys.

An entry is a data file and, written last, a manifest with the key and the data's sha256. So it
appears whole or not at all. One process at a time makes it; make() may ask for other entries, not
for its own. What is found damaged is made again, with a warning.
`python -m lib.cache` empties the cache.
"""

import hashlib
import json
import os
import re
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load, save

from lib import training
from lib.validation import check_int, invalid

SUFFIX = {"weights": ".safetensors", "array": ".npy", "rows": ".npy"}
OURS = re.compile(r"([0-9a-f]{24})\.(json|partial|chunks|safetensors|npy|lock)")


def folder():
    """Where the cache is: UNPAIRED_CACHE where that is set, else the user's cache folder."""
    chosen = os.environ.get("UNPAIRED_CACHE")
    try:
        return Path(chosen).expanduser().absolute() if chosen else user_cache_path("unpaired")
    except RuntimeError as error:
        raise invalid("UNPAIRED_CACHE", chosen, f"a folder to write to ({error})") from None


def weights(key, make):
    """The dict of tensors that make() returned for this key: on the CPU, yours to modify."""
    return _cached(key, "weights", make)


def array(key, make):
    """The NumPy array that make() returned for this key: mapped from its file, read-only."""
    return _cached(key, "array", make)


def rows(key, n, make, chunk=1024, progress=""):
    """The array of n rows that make(start, stop) returned chunk by chunk: mapped, read-only.

    Chunks are kept as they come: who is killed loses one, and the next call goes on behind it.
    Another n or chunk is another entry. progress: the words of a bar; none: no bar.
    """
    text = _canonical(key, f"rows, {check_int('n', n)} by {check_int('chunk', chunk)}")
    at, entry = _place(text)
    data, state = entry.with_suffix(".npy"), entry.with_suffix(".chunks")
    with _lock(at, entry.name):
        found = _find(entry, "rows", text)
        if found is not None:
            return found
        done = _kept_chunks(data, state, chunk)
        starts = range(0, n, chunk)
        for start in training.progress(starts[done:], progress, start=done):
            stop = min(start + chunk, n)
            made = np.ascontiguousarray(make(start, stop))
            got = f"{made.dtype} {made.shape} from {start}"
            if len(made) != stop - start or made.dtype.hasobject:
                raise invalid("make", got, f"an array of {stop - start} rows")
            with _writing(at):
                if start == 0:
                    shape = (n, *made.shape[1:])
                    np.lib.format.open_memmap(data, "w+", dtype=made.dtype, shape=shape)
                table = np.load(data, mmap_mode="r")
                if (made.dtype, made.shape[1:]) != (table.dtype, table.shape[1:]):
                    raise invalid("make", got, f"rows like the first: {table.dtype} {table.shape}")
                with open(data, "r+b") as stream:  # a map, where the disk is full, is killed
                    stream.seek(table.offset + start * table.strides[0])
                    stream.write(made)
                with open(state, "a") as stream:
                    stream.write(_digest(made) + "\n")
        with _writing(at):
            _finish(at, entry, "rows", text)
            state.unlink(missing_ok=True)
        return _load(data, "rows")


def clear():
    """Delete all entries but those that somebody is making, and nothing else; how many."""
    at, removed = folder(), 0
    present = os.listdir(at) if at.is_dir() else []
    for name in {match[1] for match in map(OURS.fullmatch, present) if match}:
        with suppress(Timeout), _lock(at, name, timeout=0), _writing(at):
            removed += _delete(at / name)
            (at / f"{name}.lock").unlink()  # filelock sees that; whoever waits makes another
    return removed


def _cached(key, kind, make):
    text = _canonical(key, kind)
    at, entry = _place(text)
    data = entry.with_suffix(SUFFIX[kind])
    with _lock(at, entry.name):
        found = _find(entry, kind, text)
        if found is not None:
            return found
        with _writing(at):
            _delete(entry)  # what was left unfinished
        made = make()
        try:
            with _writing(at):
                _save(data, kind, made)
                _finish(at, entry, kind, text)
        except BaseException:
            _delete(entry)
            raise
        return _load(data, kind)


def _place(text):
    """The cache's folder, and in it the path of an entry without its suffixes."""
    at = folder()
    return at, at / hashlib.sha256(text.encode()).hexdigest()[:24]


def _find(entry, kind, text):
    """What the entry holds, or None; if it is damaged it is deleted, with a warning."""
    data, manifest = entry.with_suffix(SUFFIX[kind]), entry.with_suffix(".json")
    if not manifest.exists():
        return None
    try:
        if manifest.read_bytes() != _manifest(text, data):
            raise ValueError(f"it does not describe {data.name}")
        return _load(data, kind)
    except (OSError, ValueError, EOFError, SafetensorError) as error:
        fault = " ".join(str(error).split())
        warnings.warn(f"{manifest}: {fault}; the entry is rebuilt", stacklevel=4)
    with _writing(entry.parent):
        _delete(entry)
    return None


def _finish(at, entry, kind, text):
    """Write the manifest of data that stand in their file, if they can be read back."""
    data, partial = entry.with_suffix(SUFFIX[kind]), entry.with_suffix(".partial")
    _load(data, kind)
    _sync(data)
    partial.write_bytes(_manifest(text, data))
    _sync(partial)
    partial.replace(entry.with_suffix(".json"))
    _sync(at)


def _kept_chunks(data, state, chunk):
    """How many chunks of an unfinished array are as they were when `state` noted their digests."""
    try:
        noted, table = state.read_text(), np.load(data, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        noted, table = "", np.empty(0)
    kept = ""
    for k, digest in enumerate(noted.splitlines()):
        if _digest(table[k * chunk : (k + 1) * chunk]) != digest:
            break
        kept += f"{digest}\n"
    if kept != noted or not noted:
        with _writing(state.parent):
            state.write_text(kept)
    return kept.count("\n")


def _digest(array):
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:16]


def _canonical(key, kind):
    """Key and kind as one line of JSON, the same for the same key."""
    try:
        text = json.dumps({"key": key, "kind": kind}, sort_keys=True, allow_nan=False)
        if not isinstance(key, dict) or json.loads(text)["key"] != key:
            raise TypeError(repr(key))
    except (TypeError, ValueError, RecursionError) as error:
        accepted = "a dict that JSON gives back as it was: names are strings; no NaN, no tuples"
        raise invalid("key", str(error), accepted) from None
    return text


def _lock(at, name, timeout=-1):
    """The lock of an entry, taken; the system frees it when its holder dies."""
    with _writing(at):
        at.mkdir(parents=True, exist_ok=True)
        (at / f"{name}.lock").touch()  # filelock would try for ever where that cannot be
        return FileLock(at / f"{name}.lock", timeout).acquire()


@contextmanager
def _writing(at):
    """Where the folder cannot be written to, or is full, one line says so and what to do."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        accepted = f"a folder with room to write to ({error}); make room there, or choose another"
        raise invalid("UNPAIRED_CACHE", str(at), accepted) from None


def _delete(entry):
    """Delete the files of an entry, the manifest first; whether there was one."""
    files = [
        entry.with_suffix(suffix)
        for suffix in dict.fromkeys((".json", ".partial", ".chunks", *SUFFIX.values()))
    ]
    present = [file for file in files if file.is_file()]
    for file in present:
        file.unlink()
    return files[0] in present


def _manifest(text, data):
    with open(data, "rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return json.dumps({**json.loads(text), "sha256": sha256}, indent=1).encode()


def _save(data, kind, made):
    if kind == "array":
        if not isinstance(made, np.ndarray) or made.dtype.hasobject:
            raise invalid("make", made, "a function that returns an array, not one of objects")
        np.save(data, made, allow_pickle=False)
    else:
        names = made if isinstance(made, dict) else [None]
        if not all(isinstance(n, str) and isinstance(made[n], torch.Tensor) for n in names):
            raise invalid("make", made, "a function that returns a dict of tensors")
        plain = torch.contiguous_format
        made = {n: made[n].detach().cpu().clone(memory_format=plain) for n in names}
        data.write_bytes(save(made))


def _load(data, kind):
    if kind != "weights":
        return np.load(data, mmap_mode="r")
    return load(data.read_bytes())  # not mapped, so that tensors may be modified


def _sync(path):
    """Wait until a file, or the list of names in a folder, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


if __name__ == "__main__":
    print(f"removed {clear()} entries from {folder()}")
