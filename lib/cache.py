"""What took long to compute, kept outside the repository.

    best = weights({"model": "clip", "seed": 0, "steps": 2000}, train)      # train() returns a dict of tensors
    images = array({"world": VERSION, "scenes": 4000, "seed": 0}, draw)     # draw() returns an array

The key is a dict that says everything that shaped the entry. Keys are the same where they are the same JSON: the order
of names is nothing; 1, 1.0, "1" and True are four keys. One key may name weights and an array at once.

An entry is a folder with a data file and a manifest that knows its size and hash. It appears whole or not at all, and
one process at a time makes it; make() may ask for other entries, not for its own. What is found damaged is made again,
with a warning. `python -m lib.cache` empties the cache.
"""
import hashlib
import json
import os
import re
import secrets
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from lib.require import refuse

MANIFEST, FILES = "manifest.json", {"weights": "weights.safetensors", "array": "array.npy"}
OURS = re.compile(r"\.?([0-9a-f]{24})(|\.lock|\.\d+\.[0-9a-f]{8}\.partial)")  # an entry, its lock, what is unfinished


def folder():
    """Where the cache is: UNPAIRED_CACHE where that is set, else the user's cache folder."""
    chosen = os.environ.get("UNPAIRED_CACHE")
    try:
        return Path(chosen).expanduser().absolute() if chosen else user_cache_path("unpaired")
    except RuntimeError as error:
        refuse("UNPAIRED_CACHE", chosen, f"a folder that can be written to ({error})")


def weights(key, make):
    """The dict of tensors that make() returned for this key: on the CPU, no gradients, in any order, yours to modify."""
    return _cached(key, "weights", make)


def array(key, make):
    """The NumPy array that make() returned for this key: mapped from its file, read-only."""
    return _cached(key, "array", make)


def clear():
    """Delete all entries but those that somebody is making, their locks, and what killed processes left; how many entries.

    Only files with our names are deleted, and folders that are empty then, the cache itself among them.
    """
    at, present, removed = folder(), [], 0
    with suppress(FileNotFoundError, NotADirectoryError):
        present = os.listdir(at)
    for name in {match[1] for match in map(OURS.fullmatch, present) if match}:
        with suppress(Timeout), _locked(at, name, timeout=0):
            removed += _writable(at, lambda: _sweep(at, name))
            _writable(at, (at / f"{name}.lock").unlink)  # filelock >= 4: who waits for it sees that, and makes a new one
    with suppress(OSError):
        at.rmdir()
    return removed


def _cached(key, kind, make):
    text = _canonical(key, kind)
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    at = folder()
    entry, partial = at / name, at / f".{name}.{os.getpid()}.{secrets.token_hex(4)}.partial"
    with _locked(at, name):
        if os.path.lexists(entry):
            try:
                return _read(entry, kind, text)
            except MemoryError:
                raise
            except Exception as fault:
                warnings.warn(f"{entry}: {' '.join(str(fault).split())}; it is rebuilt", stacklevel=3)
        _writable(at, lambda: _make_room(entry, partial))  # before make(): better now than after an hour
        try:
            _write(partial, kind, text, make())
            partial.rename(entry)
        except BaseException:
            _sweep(at, name)
            raise
        _sync(at)
        return _load(entry / FILES[kind], kind)


def _canonical(key, kind):
    """Key and kind as one line of JSON, the same for the same key."""
    try:
        text = json.dumps({"key": key, "kind": kind}, sort_keys=True, allow_nan=False)
        if not isinstance(key, dict) or json.loads(text)["key"] != key:
            raise TypeError(repr(key))
    except (TypeError, ValueError, RecursionError) as error:
        refuse("key", str(error), "a dict that JSON gives back as it was: names are strings; no NaN, no tuples")
    return text


def _locked(at, name, timeout=-1):
    """The lock of an entry, taken: a FileLock, so that the system frees it when its holder dies."""
    def take():
        at.mkdir(parents=True, exist_ok=True)
        (at / f"{name}.lock").touch()
        return FileLock(at / f"{name}.lock", timeout).acquire()
    return _writable(at, take)


def _writable(at, act):
    """What act() returns; where it cannot write, the folder is refused."""
    for _ in range(5):  # clear() in another process may take the folder away in between
        try:
            return act()
        except Timeout:
            raise
        except OSError as error:
            problem = error
    refuse("UNPAIRED_CACHE", str(at), f"a folder that can be written to ({problem})")


def _sweep(at, name):
    """Delete an entry, and what died while it was made; whether there was an entry. Call it with the lock held."""
    found = False
    for path in (at / name, *at.glob(f".{name}.*.partial")):
        known = (MANIFEST, *FILES.values())
        ours = [file for file in (path.iterdir() if path.is_dir() else ())
                if file.is_file() and (file.name in known or path.name != name and file.name.startswith(".tmp"))]  # safetensors writes to .tmp*
        found |= bool(ours) and path.name == name
        for file in ours:
            file.unlink()
        with suppress(OSError):
            path.rmdir()
    return found


def _make_room(entry, partial):
    """Leave nothing where the entry will be, and make the folder that will be renamed to it."""
    _sweep(entry.parent, entry.name)
    if os.path.lexists(entry):  # somebody else's file is in it
        entry.rename(partial.with_suffix(".aside"))
    partial.mkdir()


def _write(partial, kind, text, made):
    """Data and manifest into a folder, down to the disk; raises where the data cannot be read back."""
    data = partial / FILES[kind]
    _save(data, kind, made)
    _load(data, kind)
    told = dict(json.loads(text), file=data.name, bytes=data.stat().st_size, sha256=_sha256(data))
    (partial / MANIFEST).write_text(json.dumps(told, indent=1) + "\n")
    for path in (data, partial / MANIFEST, partial):
        _sync(path)


def _read(entry, kind, text):
    """The data of an entry; raises with a few words where anything is wrong."""
    data = entry / FILES[kind]
    try:
        told = json.loads((entry / MANIFEST).read_bytes())
        asked = json.dumps({name: told[name] for name in ("key", "kind")}, sort_keys=True) == text and told["file"] == data.name
        size, sha256 = told["bytes"], told["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no readable {MANIFEST} ({error})") from None
    if not asked:
        raise ValueError(f"foreign, {MANIFEST} has another key or kind")
    if data.stat().st_size != size:
        raise ValueError(f"truncated, {data.name} has {data.stat().st_size} bytes, not {size}")
    if _sha256(data) != sha256:
        raise ValueError(f"tampered, {data.name} has another sha256")
    return _load(data, kind)


def _save(file, kind, made):
    if kind == "array":
        if not isinstance(made, np.ndarray) or made.dtype.hasobject:
            refuse("make", made, "a function that returns a NumPy array, not one of objects")
        return np.save(file, made, allow_pickle=False)
    import torch  # here, as arrays do without
    from safetensors.torch import save_file
    if not isinstance(made, dict) or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in made.items()):
        refuse("make", made, "a function that returns a dict of torch tensors, named by strings")
    save_file({name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in made.items()}, file)


def _load(file, kind):
    if kind == "array":
        return np.load(file, mmap_mode="r")
    from safetensors.torch import load
    return load(file.read_bytes())  # not mapped, so that tensors may be modified


def _sha256(file):
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path):
    """Wait until a file, or the list of names in a folder, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


if __name__ == "__main__":
    print(f"removed {clear()} entries from {folder()}")
