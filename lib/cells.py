"""Single cells measured twice: SNARE-seq, 1,047 cells of four cell lines, RNA and chromatin.

    Chen, Lake and Zhang 2019 (GEO GSE126074), as prepared by Demetci et al. for SCOT:
    github.com/rsinghlab/SCOT, folder data/SNARE, repository licence MIT.

Looked for in the folder that UNPAIRED_DATA names (there, or in its `snare`), then among what was
downloaded before; the network is asked only with download=True. Every file is held against its pin.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch

from lib import cache
from lib.recordings import NotHere
from lib.validation import invalid

COMMIT = "14649be6e14017dcfe7ba619091b33d1df55f6a9"
URL = f"https://raw.githubusercontent.com/rsinghlab/SCOT/{COMMIT}/data/SNARE/"
SHA256 = {
    "SNAREseq_rna_feat.npy": "a8a2c2bbfc036dea5b350d01dd2180b93bb3b1c0008bed49493080348da96a9b",
    "SNAREseq_atac_feat.npy": "80d685b6517c100a7fd612846ad38209b64ed9caf095d1630af5a1d7797bd79c",
    "SNAREseq_rna_types.txt": "3697fe94aee8b0ed2fad49c10c3226b757cedd8046a5cc0b10d0a845ad540a1d",
}


class Cells(NamedTuple):
    """rna (n, 10), atac (n, 19), float64, of the same cells in rows; types (n,), 1 to 4."""

    rna: np.ndarray
    atac: np.ndarray
    types: np.ndarray


def snare(download=False):
    """The `Cells`. Raises NotHere without them, ValueError for files that are not those pinned."""
    folder = find() or _download(download)
    files = [(folder / name).read_bytes() for name in SHA256]
    for (name, pin), data in zip(SHA256.items(), files, strict=True):
        if hashlib.sha256(data).hexdigest() != pin:
            accepted = f"the file of commit {COMMIT[:12]}"
            raise invalid(f"{name} in {folder}", f"{len(data)} other bytes", accepted)
    return Cells(
        *(np.load(io.BytesIO(data)) for data in files[:2]), np.loadtxt(io.BytesIO(files[2]))
    )


def find():
    """The folder with the files, None where there is none."""
    chosen = os.environ.get("UNPAIRED_DATA")
    places = [Path(chosen).expanduser() / "snare", Path(chosen).expanduser()] if chosen else []
    for folder in (*places, _kept()):
        if all((folder / name).is_file() for name in SHA256):
            return folder
    return None


def _kept():
    return cache.folder() / "downloads" / f"snare-{COMMIT[:12]}"


def _download(allowed):
    where = "UNPAIRED_DATA as a folder that holds them"
    if not allowed:
        raise NotHere(str(invalid("SNARE-seq cells", None, f"{where}, or download=True (0.3 MB)")))
    pooch.get_logger().setLevel("WARNING")
    getter = pooch.create(_kept(), URL, registry=SHA256, retry_if_failed=3)
    try:
        for name in SHA256:
            getter.fetch(name)
    except OSError as error:
        got, accepted = f"{type(error).__name__} {error}", f"a network that reaches it, or {where}"
        raise NotHere(str(invalid(f"SNARE-seq cells from {URL}", got, accepted))) from None
    return _kept()
