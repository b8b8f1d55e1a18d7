"""The spoken digits: found, checked whole against the pin, downloaded only when asked; a few small recordings of our own stand in."""
import io
import zipfile

import numpy as np
import pytest
from scipy.io import wavfile

from lib import recordings


def wav(k, rate=8000, kind=np.int16):
    stream = io.BytesIO()
    wavfile.write(stream, rate, (1000 * np.sin(np.arange(100 + k) * (k + 1) / 9)).astype(kind))
    return stream.getvalue()


@pytest.fixture
def contents(monkeypatch, tmp_path):
    """Forty small recordings, {name: bytes}, pinned; nothing found yet, and no network."""
    monkeypatch.setenv("UNPAIRED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNPAIRED_DATA", raising=False)
    monkeypatch.setattr(recordings, "SPEAKERS", ("ada", "bob"))
    monkeypatch.setattr(recordings, "N_INDICES", 2)
    made = {name: wav(k) for k, name in enumerate(recordings.names())}
    monkeypatch.setattr(recordings, "SHA256", recordings.digest(made))
    return made


def lay(folder, contents):
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)


def pack(contents):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("free-spoken-digit-dataset-x/README.md", "hello")
        for name, data in contents.items():
            packed.writestr(f"free-spoken-digit-dataset-x/recordings/{name}", data)
    return stream.getvalue()


def test_the_real_pin_is_of_3000_recordings():
    assert len(recordings.names()) == 3000 and len(recordings.SHA256) == 64 and len(recordings.COMMIT) == 40


@pytest.mark.parametrize("inside", ["", "fsdd"])
def test_a_named_folder_is_read_in_order(contents, tmp_path, monkeypatch, inside):
    lay(tmp_path / "data" / inside, contents | {"notes.txt": b"not ours", "0_eve_0.wav": b"nor this"})
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))
    waves, digits, speakers, indices = recordings.spoken_digits()
    assert [f"{d}_{s}_{i}.wav" for d, s, i in zip(digits, speakers, indices)] == recordings.names()
    assert digits.dtype == indices.dtype == np.int64 and [len(wave) for wave in waves] == list(range(100, 140))
    assert waves[3].dtype == np.float32 and np.array_equal(waves[3] * 32768, wavfile.read(io.BytesIO(contents[recordings.names()[3]]))[1])


def test_without_them_it_says_what_to_do(contents):
    assert recordings.find() is None
    with pytest.raises(recordings.NotHere, match="set UNPAIRED_DATA .* or ask with download=True"):
        recordings.spoken_digits()


def test_a_folder_that_is_none_is_refused(contents, monkeypatch, tmp_path):
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="UNPAIRED_DATA: got .*, accepted: a folder"):
        recordings.spoken_digits()


def test_an_empty_folder_is_passed_over(contents, monkeypatch, tmp_path):
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path))
    assert recordings.find() is None


@pytest.mark.parametrize("name, data, words", [
    ("3_bob_1.wav", None, "1 of 40 files missing, the first 3_bob_1.wav"),
    ("3_bob_1.wav", b"", "1 files that are no WAV, the first 3_bob_1.wav"),
    ("3_bob_1.wav", wav(5), "the contents of commit"),
    ("3_bob_1.wav", wav(15)[:-3], "the contents of commit"),
])
def test_what_is_not_whole_is_refused_by_name(contents, tmp_path, monkeypatch, name, data, words):
    spoiled = {**contents, name: data}
    lay(tmp_path / "data", {name: data for name, data in spoiled.items() if data is not None})
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match=words):
        recordings.spoken_digits()


@pytest.mark.parametrize("odd", [wav(1, rate=16000), wav(1, kind=np.int32)])
def test_another_format_is_refused(contents, tmp_path, monkeypatch, odd):
    changed = {**contents, "0_ada_1.wav": odd}
    monkeypatch.setattr(recordings, "SHA256", recordings.digest(changed))
    lay(tmp_path / "data", changed)
    monkeypatch.setenv("UNPAIRED_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match="0_ada_1.wav: got .*accepted: one channel of int16 at 8000 Hz"):
        recordings.spoken_digits()


def test_a_download_is_asked_for_once_pinned_and_kept(contents, monkeypatch):
    import pooch
    asked = []

    def fetch(self, url, output_file, *_):
        asked.append(url)
        recordings.Path(output_file).write_bytes(pack(contents))

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", lambda self, url, output_file, *rest, **_: fetch(self, url, output_file))
    first, second = recordings.spoken_digits(download=True), recordings.spoken_digits()
    assert asked == [f"{recordings.URL}{recordings.COMMIT}.zip"] and recordings.archive().exists()
    assert np.array_equal(first.digits, second.digits) and len(first.waves) == 40
    monkeypatch.setattr(recordings, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="accepted: 000000000000"):
        recordings.spoken_digits()


def test_a_broken_archive_is_refused(contents):
    recordings.archive().parent.mkdir(parents=True)
    recordings.archive().write_bytes(pack(contents)[:500])
    with pytest.raises(ValueError, match="delete it, and download again"):
        recordings.spoken_digits(download=True)


def test_one_second_pads_and_cuts():
    second = recordings.one_second([np.ones(3, np.float32), np.full(9000, 2, np.float32)])
    assert second.shape == (2, 8000) and second.dtype == np.float32
    assert second[0].sum() == 3 and second[0, 3] == 0 and (second[1] == 2).all()


def test_the_digest_sees_names_lengths_and_bytes():
    digests = [recordings.digest(c) for c in ({"a": b"12", "b": b"3"}, {"a": b"1", "b": b"23"}, {"b": b"3", "a": b"12"}, {"a": b"12", "c": b"3"})]
    assert digests[0] == digests[2] and len(set(digests)) == 3
