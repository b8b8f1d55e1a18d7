"""Single cells measured twice: SNARE-seq, 1,047 cells of four cell lines, RNA and chromatin.

    Chen, Lake and Zhang 2019 (GEO GSE126074), as prepared by Demetci et al. for SCOT:
    github.com/rsinghlab/SCOT, folder data/SNARE, repository licence MIT.

Found, downloaded and pinned as in lib.recordings.
"""

import io
from typing import NamedTuple

import numpy as np

from lib import cache
from lib.recordings import check_pin, fetch, named_folder

COMMIT = "14649be6e14017dcfe7ba619091b33d1df55f6a9"
URL = f"https://raw.githubusercontent.com/rsinghlab/SCOT/{COMMIT}/data/SNARE/"
FILES = ("SNAREseq_rna_feat.npy", "SNAREseq_atac_feat.npy", "SNAREseq_rna_types.txt")
SHA256 = "dfa6126670300462555308f2e2341be4b5fe3ee06d536876f8b46166bf3154c2"


class Cells(NamedTuple):
    """rna (n, 10), atac (n, 19), float64, of the same cells in rows; types (n,), 1 to 4."""

    rna: np.ndarray
    atac: np.ndarray
    types: np.ndarray


def snare(download=False):
    """The `Cells`, checked against the pin; raises what `spoken_digits` raises."""
    folder = named_folder("snare", FILES[0])
    if folder is None:
        folder = cache.folder() / "downloads" / f"snare-{COMMIT[:12]}"
        for name in FILES:
            if not (folder / name).exists():
                fetch("SNARE-seq cells", URL + name, folder / name, 0.3, download)
    contents = {name: (folder / name).read_bytes() for name in FILES}
    check_pin(f"cells in {folder}", contents, SHA256, COMMIT)
    rna, atac, types = map(io.BytesIO, contents.values())
    return Cells(np.load(rna), np.load(atac), np.loadtxt(types))
