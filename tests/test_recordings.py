"""The spoken digits: found, held against the pin, downloaded; a few of our own stand in."""

import io
import zipfile

import numpy as np
import pooch
import pytest
import requests
from scipy.io import wavfile

from lib import recordings
from lib.recordings import NotHere, digest, one_second, spoken_digits


def wav(k):
    wave = 1000 * np.sin(np.arange(100 + k) * (k + 1) / 9)
    stream = io.BytesIO()
    wavfile.write(stream, 8000, wave.astype(np.int16))
    return stream.getvalue()


@pytest.fixture
def contents(monkeypatch, tmp_path):
    """Forty small recordings, {name: bytes}, pinned; nothing found yet, and no network."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNPAIRED_DATA", raising=False)
    monkeypatch.setattr(recordings, "SPEAKERS", ("ada", "bob"))
    monkeypatch.setattr(recordings, "N_INDICES", 2)
    made = {name: wav(k) for k, name in enumerate(recordings.names())}
    monkeypatch.setattr(recordings, "SHA256", digest(made))
    network(monkeypatch, requests.exceptions.ConnectionError("no network in tests"))
    return made


def network(monkeypatch, *answers):
    """What downloads find, one after the other: bytes or errors. Returns the addresses asked."""
    asked, waiting = [], list(answers)

    def download(self, url, output_file, pooch, **_):
        asked.append(url)
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        recordings.Path(output_file).write_bytes(answer)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two tries
    return asked


def lay(folder, contents):
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)


def pack(contents, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as packed:
        packed.writestr("free-spoken-digit-dataset-x/README.md", "hello")
        for name, data in contents.items():
            packed.writestr(f"free-spoken-digit-dataset-x/recordings/{name}", data)
    return stream.getvalue()


def test_the_real_pin_is_of_3000_recordings():
    assert len(recordings.names()) == 3000
    assert len(recordings.SHA256) == 64
    assert len(recordings.COMMIT) == 40


@pytest.mark.parametrize("inside", ["", "fsdd"])
def test_a_named_folder_is_read_in_order(contents, tmp_path, monkeypatch, inside):
    others = {"notes.txt": b"not ours", "0_eve_0.wav": b"nor this"}
    lay(tmp_path / "data" / inside, contents | others)
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))
    waves, digits, speakers, indices = spoken_digits()
    fields = zip(digits, speakers, indices, strict=True)
    assert [f"{d}_{s}_{i}.wav" for d, s, i in fields] == recordings.names()
    assert digits.dtype == indices.dtype == np.int64
    assert [len(wave) for wave in waves] == list(range(100, 140))
    assert waves[3].dtype == np.float32
    _, expected = wavfile.read(io.BytesIO(contents[recordings.names()[3]]))
    np.testing.assert_array_equal(waves[3] * 32768, expected)


def test_without_them_it_says_what_to_do(contents):
    assert recordings.find() is None
    with pytest.raises(NotHere, match="accepted: UNPAIRED_DATA .*, or download=True"):
        spoken_digits()


def test_a_folder_that_is_none_is_refused(contents, monkeypatch, tmp_path):
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="UNPAIRED_DATA: got .*, accepted: a folder"):
        spoken_digits()


def test_an_empty_folder_is_passed_over(contents, monkeypatch, tmp_path):
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path))
    assert recordings.find() is None


SPOILED = [
    (None, "1 of 40 missing or no WAV, the first 3_bob_1.wav"),
    (b"", "1 of 40 missing or no WAV, the first 3_bob_1.wav"),
    (wav(5), "the files of commit"),
    (wav(15)[:-3], "the files of commit"),
]


@pytest.mark.parametrize("data, words", SPOILED, ids=["missing", "empty", "another", "cut"])
def test_a_spoiled_folder_is_refused_by_name(contents, tmp_path, monkeypatch, data, words):
    spoiled = {**contents, "3_bob_1.wav": data}
    if data is None:
        del spoiled["3_bob_1.wav"]
    lay(tmp_path / "data", spoiled)
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match=words) as error:
        spoken_digits()
    assert str(error.value).startswith(f"recordings in {tmp_path / 'data'}: got ")


def test_a_folder_that_cannot_be_read_is_refused(contents, tmp_path, monkeypatch):
    lay(tmp_path / "data", contents)
    (tmp_path / "data" / "0_eve_0.wav").mkdir()
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match="^recordings in .*/data: got .IsADirectoryError "):
        spoken_digits()


# Downloads


def test_a_download_is_asked_for_once_and_kept(contents, monkeypatch):
    asked = network(monkeypatch, pack(contents))
    first, second = spoken_digits(download=True), spoken_digits()
    assert asked == [recordings.URL]
    assert recordings.COMMIT in recordings.URL
    assert recordings.archive().exists()
    np.testing.assert_array_equal(first.digits, second.digits)
    assert len(first.waves) == 40


def test_a_download_is_held_against_the_pin(contents, monkeypatch):
    network(monkeypatch, pack(contents))
    monkeypatch.setattr(recordings, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="accepted: 000000000000"):
        spoken_digits(download=True)


NO_NETWORK = [
    requests.exceptions.ConnectionError("Max retries exceeded\nwith url"),
    requests.exceptions.ProxyError("Tunnel connection failed: 403 Forbidden"),
    requests.exceptions.ConnectTimeout("timed out"),
    requests.exceptions.ReadTimeout("timed out"),
    requests.exceptions.HTTPError("404 Client Error"),
    requests.exceptions.ChunkedEncodingError("Connection broken"),
    PermissionError("no writing here"),
]


@pytest.mark.parametrize("problem", NO_NETWORK, ids=lambda problem: type(problem).__name__)
def test_without_a_network_it_says_what_to_do(contents, monkeypatch, problem):
    network(monkeypatch, problem)
    with pytest.raises(NotHere) as error:
        spoken_digits(download=True)
    message = str(error.value)
    assert message.startswith(
        f"spoken digits from {recordings.URL}: got '{type(problem).__name__} "
    )
    assert "accepted: a network that reaches it, or UNPAIRED_DATA" in message
    assert "\n" not in message
    assert not recordings.archive().exists()


def test_a_network_that_fails_at_first_is_tried_again(contents, monkeypatch):
    late = requests.exceptions.ConnectTimeout("timed out")
    asked = network(monkeypatch, late, late, late, pack(contents))
    assert len(spoken_digits(download=True).waves) == 40
    assert len(asked) == 4


def truncated(contents):
    return pack(contents)[:500]


def no_zip(contents):
    return b"<html>Sign in to this network</html>"


def flipped_stored(contents):
    """One byte of a recording, which its checksum betrays."""
    packed = pack(contents)
    at = packed.index(b"RIFF") + 60
    return packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]


def flipped_deflated(contents):
    """A compressed stream that is none."""
    packed = pack(contents, zipfile.ZIP_DEFLATED)
    at = packed.index(b"0_ada_0.wav") + len("0_ada_0.wav")
    return packed[:at] + b"\xff" * 20 + packed[at + 20 :]


def flagged(bit):
    """The flag of every file in the archive's list, changed: bit 0 says encrypted."""

    def spoil(contents):
        packed = bytearray(pack(contents))
        at = packed.index(b"PK\x01\x02")
        while at >= 0:
            packed[at + 8] |= bit
            at = packed.find(b"PK\x01\x02", at + 1)
        return bytes(packed)

    return spoil


def other_method(contents):
    """A compression that no program here knows."""
    packed = bytearray(pack(contents))
    at = packed.index(b"PK\x01\x02", packed.index(b"PK\x01\x02") + 1)
    packed[at + 10] = 99
    return bytes(packed)


DAMAGED = {
    "truncated": (truncated, "BadZipFile"),
    "no zip": (no_zip, "BadZipFile"),
    "flipped, stored": (flipped_stored, "BadZipFile"),
    "flipped, deflated": (flipped_deflated, "error Error -3"),
    "encrypted": (flagged(1), "RuntimeError"),
    "other method": (other_method, "NotImplementedError"),
}


@pytest.mark.parametrize("spoil, words", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_is_refused(contents, spoil, words):
    recordings.archive().parent.mkdir(parents=True)
    recordings.archive().write_bytes(spoil(contents))
    with pytest.raises(ValueError) as error:
        spoken_digits(download=True)
    message = str(error.value)
    assert message.startswith(f"recordings in {recordings.archive()}: got ")
    assert words in message
    assert "delete it and download again" in message
    assert "\n" not in message


# Small things


def test_one_second_pads_and_cuts():
    second = one_second([np.ones(3, np.float32), np.full(9000, 2, np.float32)])
    assert second.shape == (2, 8000)
    assert second.dtype == np.float32
    assert second[0].tolist() == [1, 1, 1] + [0] * 7997
    assert (second[1] == 2).all()


def test_the_digest_sees_names_and_bytes():
    first = {"a": b"12", "b": b"3"}
    assert digest(first) == digest({"b": b"3", "a": b"12"})
    assert digest(first) != digest({"a": b"12", "c": b"3"})
    assert digest(first) != digest({"a": b"12", "b": b"4"})


@pytest.mark.parametrize("between", [b"b", b"b\n", b"b \n"])
def test_the_digest_sees_where_a_file_ends(between):
    """Names and bytes in a row are the same; only their lengths say which file has which."""
    one = {"a": b"1", "b": b"2" + between + b"3"}
    other = {"a": b"1" + between + b"2", "b": b"3"}
    assert digest(one) != digest(other)
