"""Photographs from shops: the Grocery Store Dataset, 81 classes with a name and a description.

Klasson, Zhang, Kjellström (2019), github.com/marcusklasson/GroceryStoreDataset, folder
`dataset`, licence MIT. Found, downloaded and pinned as in lib.recordings.
"""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import cache
from lib.recordings import BROKEN, check_pin, fetch, named_folder
from lib.validation import invalid

COMMIT = "fc80ba90f803d79d0383df52c5a4ac5de99ff6fc"
URL = f"https://github.com/marcusklasson/GroceryStoreDataset/archive/{COMMIT}.zip"
SHA256 = "f9e6489156543994158fe82f87ae15b3b027f513116455b73a09d2057bea3fa4"


class Groceries(NamedTuple):
    """Paths and labels (n,) of 'train', 'val', 'test'; name, kind and description by class."""

    photographs: dict
    labels: dict
    names: list
    kinds: list
    descriptions: list


def groceries(download=False):
    """The `Groceries`, checked against the pin; raises what `spoken_digits` raises."""
    kept = cache.folder() / "downloads" / f"grocery-{COMMIT[:12]}"
    source = find(kept)
    if source is None:
        source = fetch("grocery photographs", URL, kept.with_suffix(".zip"), 130, download)
    try:
        if source.suffix == ".zip":
            with zipfile.ZipFile(source) as packed:
                packed.extractall(f"{kept}.partial")
            Path(f"{kept}.partial").rename(kept)  # all of it or nothing, if we are stopped here
            source = find(kept)
        lists = {split: _rows(source / f"{split}.txt") for split in ("train", "val", "test")}
        names, _, kinds, *_, texts = zip(*_rows(source / "classes.csv")[1:], strict=True)
        texts = [path.lstrip("/") for path in texts]
        files = [*texts, "classes.csv", *(f"{split}.txt" for split in lists)]
        files += [row[0] for rows in lists.values() for row in rows]
        contents = {name: (source / name).read_bytes() for name in files}
    except BROKEN as error:
        accepted = "files that can be read; if this is a download, delete it and download again"
        got = f"{type(error).__name__} {error}"
        raise invalid(f"photographs in {source}", got, accepted) from None
    check_pin(f"photographs in {source}", contents, SHA256, COMMIT)
    return Groceries(
        {split: [source / row[0] for row in rows] for split, rows in lists.items()},
        {split: np.array([int(row[1]) for row in rows]) for split, rows in lists.items()},
        [name.replace("-", " ") for name in names],
        [kind.replace("-", " ") for kind in kinds],
        [contents[name].decode().strip() for name in texts],
    )


def find(kept):
    """The folder `dataset`: named by UNPAIRED_DATA, or unpacked in `kept`; None where it is not."""
    named = named_folder("grocery", "dataset/classes.csv")
    return named / "dataset" if named else next(kept.glob("*/dataset"), None)


def _rows(path):
    return [re.split(", ?", line) for line in path.read_text(encoding="utf-8").splitlines()]
