"""Every notebook runs small through papermill, with its exercises solved.

In a file of its own, which `make test` starts first, as it takes longest.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest

import batch
import teach
from lib.parameters import notebooks, profile_parameters

ROOT = Path(__file__).parent.parent
PATHS = notebooks()


@pytest.mark.parametrize("name", PATHS)
def test_small_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(PATHS[name], as_version=4)
    stubs = teach.tagged(notebook, "exercise")
    assert len(stubs) >= (0 if "/" in name or name[:2] == "00" else 2)
    assert all(cell.outputs[0].text.startswith("open: write ") for cell in stubs)
    teach.solve(notebook)
    nbformat.write(notebook, "solved.ipynb")
    settings = dict(profile_parameters("smoke", name), seed=1, out="run.json")
    reason = batch.execute("solved.ipynb", "copy.ipynb", settings, *batch.LIMITS["smoke"])
    assert reason is None
    for cell in teach.tagged(nbformat.read("copy.ipynb", as_version=4), "exercise"):
        printed = "".join(output.text for output in cell.outputs)  # a print may come in pieces
        assert printed.startswith("right: "), cell.source
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
