"""Every notebook runs small through papermill.

In a file of its own, so that `make test` runs it beside the other tests of notebooks.
"""

import json
import re
from pathlib import Path

import pytest

import batch
from lib.parameters import notebooks, profile_parameters

ROOT = Path(__file__).parent.parent
PATHS = notebooks()


@pytest.mark.parametrize("name", PATHS)
def test_small_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = dict(profile_parameters("smoke", name), seed=1, out="run.json")
    reason = batch.execute(PATHS[name], "copy.ipynb", settings, *batch.LIMITS["smoke"])
    assert reason is None
    record = json.loads(Path("run.json").read_text())
    assert record["notebook"] == Path(name).name
    assert record["parameters"].items() >= settings.items()
    ids = {claim["id"] for claim in record["claims"]}
    assert ids and all(id.startswith(f"{Path(name).name[:2]}.") for id in ids)
    assert not [c["id"] for c in record["claims"] if c["exact"] and not c["holds"]]
    if "/" in name:
        known = re.findall(r'<a id="([\w.-]+)"></a>', (ROOT / "CLAIMS.md").read_text())
        assert ids <= set(known), "claims that the ledger does not know"
        assert list(Path("run").glob(f"{Path(name).name[:2]}_*.svg"))
