"""The grocery photographs: found, held against the pin, downloaded; a few files stand in."""

import io
import zipfile

import numpy as np
import pytest
import requests
from test_recordings import lay, network

from lib import groceries as room
from lib.groceries import groceries
from lib.recordings import NotHere, digest

TABLE = (
    "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),"
    "Iconic Image Path (str),Product Description Path (str)\r\n"
    "Red-Delicious,0,Apple,0,/icons/red.jpg,/icons/red.txt\r\n"
    "Anjou,1,Pear,1,/icons/anjou.jpg,/icons/anjou.txt"
)
FILES = {
    "classes.csv": TABLE.encode(),
    "train.txt": b"train/Red/1.jpg, 0, 0\ntrain/Anjou/1.jpg, 1, 1\n",
    "val.txt": b"val/Anjou/1.jpg, 1, 1\n",
    "test.txt": b"test/Anjou/1.jpg, 1, 1\ntest/Red/1.jpg, 0, 0\n",
    "icons/red.txt": b"An apple,\nred.\n",
    "icons/anjou.txt": "A pear, très bonne.".encode(),
    "train/Red/1.jpg": b"one",
    "train/Anjou/1.jpg": b"two",
    "val/Anjou/1.jpg": b"three",
    "test/Anjou/1.jpg": b"four",
    "test/Red/1.jpg": b"five",
}


@pytest.fixture(autouse=True)
def pinned(monkeypatch, tmp_path):
    """FILES pinned; nothing found yet, and no network."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNPAIRED_DATA", raising=False)
    monkeypatch.setattr(room, "SHA256", digest(FILES))
    network(monkeypatch, requests.exceptions.ConnectionError("no network in tests"))


def put(tmp_path, monkeypatch, files=FILES, inside="grocery"):
    for name, data in files.items():
        path = tmp_path / "data" / inside / "dataset" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))


def pack(files=FILES):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("GroceryStoreDataset-x/README.md", "hello")
        for name, data in files.items():
            packed.writestr(f"GroceryStoreDataset-x/dataset/{name}", data)
    return stream.getvalue()


@pytest.mark.parametrize("inside", ["", "grocery"])
def test_a_named_folder_is_read_in_the_order_of_its_lists(tmp_path, monkeypatch, inside):
    put(tmp_path, monkeypatch, FILES | {"train/Anjou/not-listed.jpg": b"?"}, inside)
    photographs, labels, names, kinds, descriptions = groceries()
    assert [path.read_bytes() for path in photographs["test"]] == [b"four", b"five"]
    assert {split: part.tolist() for split, part in labels.items()} == {
        "train": [0, 1],
        "val": [1],
        "test": [1, 0],
    }
    assert labels["val"].dtype == np.int64
    assert (names, kinds) == (["Red Delicious", "Anjou"], ["Apple", "Pear"])
    assert descriptions == ["An apple,\nred.", "A pear, très bonne."]


def test_without_them_it_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(NotHere, match="grocery photographs: .* UNPAIRED_DATA .*download=True"):
        groceries()
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path))
    with pytest.raises(NotHere, match="a network that reaches it, or UNPAIRED_DATA"):
        groceries(download=True)


SPOILED = {
    "missing": ({"test/Red/1.jpg": None}, "FileNotFoundError .*test/Red/1.jpg"),
    "another": ({"test/Red/1.jpg": b"six"}, "the files of commit"),
    "relabelled": ({"val.txt": b"val/Anjou/1.jpg, 0, 0\n"}, "the files of commit"),
    "no list": ({"val.txt": None}, "FileNotFoundError .*val.txt"),
    "no text": ({"val.txt": b"\xff\xfe"}, "UnicodeDecodeError"),
    "odd table": ({"classes.csv": TABLE.encode() + b",more"}, "ValueError"),
    "empty table": ({"classes.csv": b""}, "ValueError"),
}


@pytest.mark.parametrize("change, words", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_folder_is_refused_in_one_line(tmp_path, monkeypatch, change, words):
    left = {name: data for name, data in (FILES | change).items() if data is not None}
    put(tmp_path, monkeypatch, left)
    with pytest.raises(ValueError, match=f"^photographs in .*: got .*{words}") as error:
        groceries()
    assert "\n" not in str(error.value)


def test_a_download_is_asked_for_once_unpacked_and_kept(monkeypatch):
    asked = network(monkeypatch, pack())
    first, second = groceries(download=True), groceries()
    assert asked == [room.URL] and room.COMMIT in room.URL
    assert first.photographs == second.photographs
    assert first.photographs["train"][1].read_bytes() == b"two"


def test_what_was_stopped_while_unpacking_is_unpacked_anew(tmp_path, monkeypatch):
    downloads = tmp_path / "cache" / "downloads"
    name = f"grocery-{room.COMMIT[:12]}"
    lay(downloads, {f"{name}.zip": pack()})
    lay(downloads / f"{name}.partial" / "GroceryStoreDataset-x", {"README.md": b"hel"})
    assert len(groceries(download=True).names) == 2


@pytest.mark.parametrize("spoiled", [pack()[:400], b"<html>Sign in</html>"], ids=["cut", "no zip"])
def test_a_damaged_download_is_refused(monkeypatch, spoiled):
    network(monkeypatch, spoiled)
    with pytest.raises(ValueError, match="BadZipFile .*delete it and download again"):
        groceries(download=True)


def test_a_download_is_held_against_the_pin(monkeypatch):
    network(monkeypatch, pack(FILES | {"val/Anjou/1.jpg": b"3"}))
    with pytest.raises(ValueError, match="the files of commit"):
        groceries(download=True)
