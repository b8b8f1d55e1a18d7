"""What a claim shows, records and refuses; the ledger of several runs."""

import json

import numpy as np
import pytest
from IPython.core.formatters import format_display_data

from lib import claims as room
from lib.claims import Claims, write_atomically
from lib.parameters import check_parameters


def claims(out="", seed=3):
    return Claims("00_test", check_parameters(dict(seed=seed, out=str(out))))


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, in the order of display."""
    seen = []
    monkeypatch.setattr(room, "display", seen.append)
    return seen


def test_a_true_claim_is_shown_as_a_sentence_and_recorded(tmp_path, shown):
    claim = claims(tmp_path / "new" / "run.json")
    claim("00.two", "one and one is two", 2.01, (1.9, 2.1), number="the sum", expected=2)
    claim.metric("curve", np.array([1, 2]))
    text = "✓ one and one is two: the sum 2.01 (interval 1.9 to 2.1), theory 2 (00.two)"
    assert repr(shown[0]) == text
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert record["parameters"]["seed"] == 3
    assert record["metrics"] == {"curve": [1, 2]}
    assert record["duration_s"] >= 0
    assert record["claims"][0]["interval"] == [1.9, 2.1]
    assert record["claims"][0]["holds"] is True
    assert record["claims"][0]["exact"] is False
    assert {"python", "torch", "numpy"} <= set(record["versions"])


def test_a_false_claim_stops_nothing_and_says_so(tmp_path, shown):
    claim = claims(tmp_path / "run.json")
    claim("00.wrong", "one is <two>", 1, (0.9, 1.1), number="one", expected=2)
    claim("00.right", "one is one", 1, number="one", holds=True)
    assert repr(shown[0]).startswith("✗ not shown by this run: one is <two>")
    html = format_display_data(shown[0])[0]["text/html"]
    assert "Not shown by this run" in html
    assert "one is &lt;two&gt;" in html
    record = json.loads((tmp_path / "run.json").read_text())
    assert [c["holds"] for c in record["claims"]] == [False, True]
    assert [c["exact"] for c in record["claims"]] == [False, True]


def test_a_notebook_shows_a_box_that_wraps(shown):
    claims()("00.a", "fine", 1234567.0, number="seconds", paper="UML eq. 1", holds=True)
    data = format_display_data(shown[0])[0]
    assert "max-width" in data["text/html"]
    assert "UML eq. 1" in data["text/html"]
    assert "1,234,567" in data["text/html"]
    assert "\n" not in data["text/plain"]


@pytest.mark.parametrize("holds", ["False", np.nan, 1, None, 0.0])
def test_a_verdict_is_true_or_false(holds):
    with pytest.raises(ValueError, match="^claim 00.x, holds: got .*accepted: True or False"):
        claims()("00.x", "no verdict", 1, number="one", holds=holds)


@pytest.mark.parametrize("value, interval", [(np.nan, None), (1, (np.nan, 2)), (1, (0, np.nan))])
def test_numbers_are_numbers(value, interval):
    with pytest.raises(ValueError, match="^claim 00.x: got .*accepted: numbers that are not NaN"):
        claims()("00.x", "no number", value, interval, number="it", holds=True)


def test_a_price_that_nothing_determines_is_not_shown_and_stops_nothing(tmp_path, shown):
    claim = claims(tmp_path / "run.json")
    claim("00.price", "it rises", np.nan, (np.nan, np.inf), number="factor", holds=False)
    assert "not shown by this run: it rises: factor undetermined" in repr(shown[0])
    assert json.loads((tmp_path / "run.json").read_text())["claims"][0]["holds"] is False


def test_a_metric_that_cannot_be_written_is_refused_at_once():
    claim = claims()
    with pytest.raises(ValueError, match="^metric curve: got .*accepted: numbers"):
        claim.metric("curve", {1, 2})
    assert claim.metrics == {}


def test_nothing_is_written_where_out_is_empty(tmp_path, monkeypatch, shown):
    monkeypatch.chdir(tmp_path)
    claims()("00.a", "fine", 1, number="one", holds=True)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "figure.svg"
    write_atomically(path, "old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_folder_and_leaves_no_partial_file(tmp_path, monkeypatch):
    def full(self, content):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ValueError) as error:
        write_atomically(tmp_path / "run.json", "{}")
    assert str(tmp_path) in str(error.value)
    assert "No space left on device" in str(error.value)
    assert list(tmp_path.iterdir()) == []
