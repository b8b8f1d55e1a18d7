"""The committed notebooks: their form, a small run of each, and the student version of each."""
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from papermill.exceptions import PapermillExecutionError

from lib.parameters import profile_parameters

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 2


@each_notebook
def test_committed_form(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run all, in order, then commit"
    assert path.stat().st_size < 1_000_000
    assert "widgets" not in notebook.metadata and not any("execution" in cell.metadata for cell in cells)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]+", cell.id) and not re.fullmatch(r"[0-9a-f]{8}(-.*)?", cell.id) for cell in notebook.cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert not re.search(r"/(root|home|Users|tmp|work)/", json.dumps(outputs))
    images = [o for o in outputs if "image/png" in o.get("data", {})]
    assert images and all(len(o.metadata["image/png"]["alt"]) > 40 for o in images), "every figure needs alt text"


@each_notebook
def test_cells_that_nbval_compares_have_something_to_compare(path):
    compared = [cell for cell in code_cells(nbformat.read(path, 4)) if "nbval-check-output" in tags(cell)]
    assert compared and all(cell.execution_count and cell.outputs for cell in compared)


@each_notebook
def test_small_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = dict(profile_parameters("smoke", path.stem), seed=1, out="run.json", figures="figures")
    run = partial(papermill.execute_notebook, path, "run.ipynb", settings, progress_bar=False, log_output=False, execution_timeout=120)
    try:
        run()
    except CellTimeoutError:  # once in a great while nbclient, writing to a widget, misses that the cell is done, and waits for ever
        run()
    record = json.loads(Path("run.json").read_text())
    assert record["notebook"] == path.stem and record["seed"] == 1 and record["parameters"].items() >= settings.items()
    committed = "".join("".join(cell.source) for cell in nbformat.read(path, 4).cells)
    prefixes = {claim["id"].split(".")[0] for claim in record["claims"]}
    assert len(record["claims"]) >= 5 and prefixes == {path.stem[:2]} and "claim.table()" in committed
    assert list(Path("figures").glob(f"{path.stem[:2]}_*.svg"))


@each_notebook
def test_unknown_and_bad_parameters_stop_a_run_at_once(path, tmp_path):
    for settings, words in [({"sead": 1}, "did you mean seed"), ({"seed": -1}, "seed: got -1"), ({"out": "/proc/nowhere/x.json"}, "out: got")]:
        with pytest.raises(PapermillExecutionError, match=words):
            papermill.execute_notebook(path, tmp_path / "run.ipynb", settings, progress_bar=False)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Folder with the student notebooks, derived just as `make student` does."""
    folder = tmp_path_factory.mktemp("student")
    command = next(line for line in (ROOT / "Makefile").read_text().replace("\\\n", " ").splitlines() if "ClearSolutions" in line)
    options = command[command.index("--to notebook"):].replace("--output-dir student", f"--output-dir {folder}")
    subprocess.run(f"{sys.executable} -m nbconvert {options.replace('$(PY)', sys.executable)}", shell=True, check=True, cwd=ROOT, capture_output=True)
    return folder


@each_notebook
def test_student_version_runs_to_the_first_stub(path, student):
    notebook = nbformat.read(student / path.name, 4)
    text = nbformat.writes(notebook)
    assert "BEGIN SOLUTION" not in text and "source_hidden" not in text
    stubs = [cell for cell in code_cells(notebook) if "raise NotImplementedError" in cell.source]
    solutions = [cell for cell in code_cells(nbformat.read(path, 4)) if "BEGIN SOLUTION" in cell.source]
    assert len(stubs) == len(solutions) >= 2 and not any(cell.outputs for cell in code_cells(notebook))
    smaller = profile_parameters("smoke", path.stem)
    cell = next(cell for cell in notebook.cells if "parameters" in tags(cell))
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in smaller.items())
    with pytest.raises(CellExecutionError, match="NotImplementedError"):
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    first_check = notebook.cells[notebook.cells.index(stubs[0]) + 1]
    done = [cell.execution_count for cell in code_cells(notebook)]
    assert stubs[0].execution_count or first_check.execution_count, "the first error is the first stub's"
    assert done.index(None) <= code_cells(notebook).index(first_check) + 1


@each_notebook
def test_every_solution_is_followed_by_its_check(path):
    cells = nbformat.read(path, 4).cells
    for cell, following in zip(cells, cells[1:]):
        if "BEGIN SOLUTION" in cell.source:
            name = re.search(r"def (\w+)", cell.source)[1]
            assert following.source == f"checks.{name}({name})" and following.outputs[0].text.startswith("right: ")
            assert cell.metadata["jupyter"]["source_hidden"] is True
