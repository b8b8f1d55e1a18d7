"""What a claim prints, records and refuses."""
import json

import pytest

from lib.claims import Claims, FalseClaim, write_atomically
from lib.parameters import Parameters


def claims(out="", enforce=True):
    return Claims("00_test", Parameters(seed=3, out=str(out), figures="", enforce=enforce))


def test_a_true_claim_prints_one_line_and_is_recorded(tmp_path, capsys):
    claim = claims(tmp_path / "new" / "run.json")
    claim("00.two", "one and one is two", "ours", 2.01, (1.9, 2.1), expected=2)
    claim.metric("curve", [1, 2])
    assert capsys.readouterr().out == "holds 00.two: one and one is two. Measured 2.01 [1.9, 2.1], theory 2\n"
    claim.write()
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert record["seed"] == 3 and record["metrics"] == {"curve": [1, 2]} and record["duration_s"] >= 0
    assert record["claims"][0]["interval"] == [1.9, 2.1] and record["claims"][0]["holds"] is True
    assert {"python", "torch", "numpy"} <= set(record["versions"])


def test_a_false_claim_stops_and_keeps_what_is_known(tmp_path):
    claim = claims(tmp_path / "run.json")
    claim("00.first", "fine", "ours", 1, holds=True)
    with pytest.raises(FalseClaim, match="00.wrong"):
        claim("00.wrong", "one is two", "ours", 1, (0.9, 1.1), expected=2)
    kept = json.loads((tmp_path / "run.failed.json").read_text())
    assert [c["holds"] for c in kept["claims"]] == [True, False] and not (tmp_path / "run.json").exists()
    claim("00.wrong", "one is one", "ours", 1, (0.9, 1.1), expected=1)
    claim.write()
    assert (tmp_path / "run.json").exists() and not (tmp_path / "run.failed.json").exists()


def test_a_small_run_records_a_false_statistical_claim_but_never_passes_a_false_exact_one():
    claim = claims(enforce=False)
    claim("00.noisy", "too few draws to tell", "ours", 1, (0.9, 1.1), holds=False)
    assert not claim.claims["00.noisy"]["holds"]
    with pytest.raises(FalseClaim):
        claim("00.exact", "one is two", "ours", 1, holds=False)


def test_a_claim_without_a_verdict_is_refused():
    with pytest.raises(ValueError, match="^holds: got None for claim 00.x"):
        claims()("00.x", "no verdict", "ours", 1)


def test_the_table_has_a_row_per_claim():
    claim = claims(enforce=False)
    claim("00.a", "fine", "eq. 1", 1, holds=True)
    claim("00.b", "not", "eq. 2", 1, (0, 1), holds=False)
    assert claim.table().data.count("\n") == 3 and "| FALSE | `00.b` |" in claim.table().data


def test_nothing_is_written_where_out_is_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    claims().write()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "figure.svg"
    write_atomically(path, "old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
