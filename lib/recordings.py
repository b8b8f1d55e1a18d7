"""Spoken digits: the Free Spoken Digit Dataset, 3,000 recordings at 8 kHz by six speakers.

    Jackson, Zohar et al., github.com/Jakobovski/free-spoken-digit-dataset, folder `recordings`,
    licence CC BY-SA 4.0. Official test set: indices 0 to 4; for new voices, split by speaker.

Looked for in the folder that UNPAIRED_DATA names (there, or in its `fsdd`), then among what was
downloaded before; the network is asked only with download=True. Wherever they come from, names
and bytes must be those of COMMIT.
"""

import hashlib
import io
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch
from scipy.io import wavfile

from lib import cache
from lib.validation import invalid

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
SHA256 = "8fed8b0b058a7efa7544bbb3e8e98607ecdcbd47a2f0ea31139cab18a6b679c9"  # by `digest`
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
N_INDICES, RATE = 50, 8000
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)


class NotHere(FileNotFoundError):
    """The recordings are in none of the places where we look."""


class Recordings(NamedTuple):
    """waves: float32 arrays in [-1, 1], each as long as it is; digits, speakers, indices (n,)."""

    waves: list
    digits: np.ndarray
    speakers: np.ndarray
    indices: np.ndarray


def spoken_digits(download=False):
    """The `Recordings`, checked against the pin, ordered by file name.

    Raises NotHere where they are not found and cannot, or may not, be downloaded; ValueError where
    what is found cannot be read, or is not what the pin says.
    """
    source = find() or fetch("spoken digits", URL, archive(), 20, download)
    where, found = f"recordings in {source}", _read(source)
    missing = [name for name in names() if not found.get(name, b"").startswith(b"RIFF")]
    if missing:
        got = f"{len(missing)} of {len(names())} missing or no WAV, the first {missing[0]}"
        raise invalid(where, got, "all of them")
    contents = {name: found[name] for name in names()}
    check_pin(where, contents, SHA256, COMMIT)
    waves = [wavfile.read(io.BytesIO(data))[1] / np.float32(32768) for data in contents.values()]
    fields = [name.removesuffix(".wav").split("_") for name in contents]
    digits, speakers, indices = map(np.array, zip(*fields, strict=True))
    return Recordings(waves, digits.astype(np.int64), speakers, indices.astype(np.int64))


def one_second(waves):
    """(n, RATE) float32: silence behind the short ones, the long ones cut at one second."""
    second = np.zeros((len(waves), RATE), np.float32)
    for row, wave in zip(second, waves, strict=True):
        row[: len(wave)] = wave[:RATE]
    return second


def find():
    """Where the recordings are: a folder, or the downloaded archive; None where there are none."""
    folder = named_folder("fsdd", "[0-9]_*_*.wav")
    return folder or (archive() if archive().exists() else None)


def named_folder(name, pattern):
    """What UNPAIRED_DATA names, or its folder `name`: where files fit `pattern`, else None."""
    chosen = os.environ.get("UNPAIRED_DATA")
    if not chosen:
        return None
    at = Path(chosen).expanduser()
    if not at.is_dir():
        raise invalid("UNPAIRED_DATA", chosen, "a folder")
    return next((folder for folder in (at / name, at) if any(folder.glob(pattern))), None)


def archive():
    """Where a download is kept."""
    return cache.folder() / "downloads" / f"fsdd-{COMMIT[:12]}.zip"


def names():
    """The files of the data set, in order: {digit}_{speaker}_{index}.wav."""
    return sorted(f"{d}_{s}_{i}.wav" for d in range(10) for s in SPEAKERS for i in range(N_INDICES))


def digest(contents):
    """sha256 of {name: bytes}: of every file, in the order of names, name, length and bytes."""
    total = hashlib.sha256()
    for name in sorted(contents):
        total.update(f"{name} {len(contents[name])}\n".encode() + contents[name])
    return total.hexdigest()


def check_pin(where, contents, sha256, commit):
    """Refuse, naming `where`, {name: bytes} whose digest is not `sha256`."""
    found = digest(contents)
    if found != sha256:
        got = f"sha256 {found[:12]}"
        raise invalid(where, got, f"{sha256[:12]}, the files of commit {commit[:12]}")


def _read(source):
    """{file name: bytes} of a folder or an archive."""
    try:
        if source.is_dir():
            return {path.name: path.read_bytes() for path in source.glob("*.wav")}
        with zipfile.ZipFile(source) as opened:
            paths = [path for path in opened.namelist() if re.search(r"/recordings/[^/]+$", path)]
            return {Path(path).name: opened.read(path) for path in paths}
    except BROKEN as error:
        got = f"{type(error).__name__} {error}"
        accepted = "files that can be read; if this is a download, delete it and download again"
        raise invalid(f"recordings in {source}", got, accepted) from None


def fetch(what, url, path, megabytes, allowed):
    """`path`, downloaded from `url` if that is allowed and works; raises NotHere if not."""
    where = "UNPAIRED_DATA as a folder that holds them"
    if not allowed:
        accepted = f"{where}, or download=True ({megabytes} MB)"
        raise NotHere(str(invalid(what, None, accepted)))
    pooch.get_logger().setLevel("WARNING")
    # no hash of the archive: GitHub packs it anew at will; what is in it is pinned by its digest
    registry, urls = {path.name: None}, {path.name: url}
    getter = pooch.create(path.parent, "", registry=registry, urls=urls, retry_if_failed=3)
    try:
        return Path(getter.fetch(path.name))
    except OSError as error:  # requests raises no others
        got, accepted = f"{type(error).__name__} {error}", f"a network that reaches it, or {where}"
        raise NotHere(str(invalid(f"{what} from {url}", got, accepted))) from None
