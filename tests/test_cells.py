"""The cells of SNARE-seq: found, held against the pin, downloaded; a few of our own stand in."""

import io
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests

from lib import cells
from lib.recordings import NotHere, digest


@pytest.fixture
def contents(monkeypatch, tmp_path):
    """{name: bytes} of three cells, pinned; nothing found yet, and no network."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNPAIRED_DATA", raising=False)
    streams = [io.BytesIO(), io.BytesIO()]
    for stream, width in zip(streams, (10, 19)):
        np.save(stream, np.arange(3.0 * width).reshape(3, width))
    made = dict(zip(cells.FILES, [*(s.getvalue() for s in streams), b"1\n2\n2\n"]))
    monkeypatch.setattr(cells, "SHA256", digest(made))
    network(monkeypatch, requests.exceptions.ConnectionError("no network\nin tests"))
    return made


def network(monkeypatch, answer):
    """What downloads find: {name: bytes}, or an error."""

    def download(self, url, output_file, pooch, **_):
        if isinstance(answer, Exception):
            raise answer
        Path(output_file).write_bytes(answer[url.rsplit("/", 1)[1]])

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two tries


@pytest.mark.parametrize("inside", ["", "snare"])
def test_a_named_folder_is_read(contents, tmp_path, monkeypatch, inside):
    folder = tmp_path / "data" / inside
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))
    found = cells.snare()
    assert found.rna.shape == (3, 10) and found.atac.shape == (3, 19)
    assert found.types.tolist() == [1, 2, 2]
    (folder / "SNAREseq_atac_feat.npy").write_bytes(b"another")
    with pytest.raises(ValueError, match="cells in .*: got 'sha256 "):
        cells.snare()


def test_without_them_it_says_what_to_do(contents, tmp_path, monkeypatch):
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path))
    with pytest.raises(NotHere, match="accepted: UNPAIRED_DATA .*, or download=True") as error:
        cells.snare()
    assert "\n" not in str(error.value)
    with pytest.raises(NotHere, match="accepted: a network that reaches it") as error:
        cells.snare(download=True)
    assert "\n" not in str(error.value)


def test_a_download_is_kept_and_held_against_the_pin(contents, monkeypatch):
    network(monkeypatch, contents)
    assert len(cells.snare(download=True).rna) == 3
    assert len(cells.snare().rna) == 3


def test_the_real_pins_are_pins():
    assert len(cells.COMMIT) == 40 and len(cells.SHA256) == 64
