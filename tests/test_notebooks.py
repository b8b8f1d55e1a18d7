"""The committed notebooks: their form, and numbers that are cited."""

import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest

from lib.parameters import NOTEBOOKS, notebooks, profile_parameters

ROOT = Path(__file__).parent.parent
PATHS = notebooks()
LESSONS = [name for name in PATHS if "/" not in name]
EVIDENCE = [name for name in PATHS if "/" in name]
CITED = re.compile(r"\[([^\]]*)\]\((?:\.\./)*CLAIMS\.md#([\w.-]+)\)")
NUMBER = r"-?[\d.,]+(?:e[-+]?\d+)?"
MEASURED = re.compile(rf" ({NUMBER})(?: \(interval {NUMBER} to {NUMBER}\))?(?:, theory {NUMBER})?$")
each = pytest.mark.parametrize("name", PATHS)
each_lesson = pytest.mark.parametrize("name", LESSONS)
each_long_lesson = pytest.mark.parametrize("name", LESSONS[1:])
each_evidence = pytest.mark.parametrize("name", EVIDENCE)


def read(name):
    return nbformat.read(PATHS[name], as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def longest_row_of_code(notebook):
    kinds = "".join("c" if cell.cell_type == "code" else " " for cell in notebook.cells)
    return max(map(len, kinds.split()), default=0)


def ledger():
    """{id: (mark, value as it is printed)} of CLAIMS.md."""
    rows = re.findall(
        r'^\| (.) \| <a id="([\w.-]+)"></a>.*? \| .*? \| (.*) \| [^|]*? \|$',
        (ROOT / "CLAIMS.md").read_text(),
        re.MULTILINE,
    )
    return {id: (mark, MEASURED.search(measured)[1]) for mark, id, measured in rows}


def test_there_are_lessons_and_evidence():
    assert LESSONS[0] == "00_start_here" and len(LESSONS) >= 3 and len(EVIDENCE) >= 9


# Form


@each
def test_committed_form(name):
    notebook = read(name)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1)), "run all, in order, then commit"
    assert PATHS[name].stat().st_size < 1_000_000
    assert list(notebook.metadata) == ["kernelspec"]
    assert not any("execution" in cell.metadata for cell in cells)
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z0-9-]+", cell.id), cell.id
        assert not re.fullmatch(r"[0-9a-f]{8}(-.*)?", cell.id), cell.id
    shown = outputs(notebook)
    assert not [o for o in shown if o.output_type == "error" or o.get("name") == "stderr"]
    assert not re.search(r"/(root|home|Users|tmp|work)/", json.dumps(shown))
    source = "\n".join(cell.source for cell in cells)
    for forbidden in ("interactive_output", "widgets.Output", "hashlib", "inspect.getsource"):
        assert forbidden not in source
    assert max(len(line) for line in source.splitlines()) <= 100
    assert len(tagged(notebook, "parameters")) == 1


@each
def test_every_picture_has_its_words(name):
    for cell in code_cells(read(name)):
        for picture, following in zip(cell.outputs, [*cell.outputs[1:], None]):
            if "image/png" in picture.get("data", {}):
                alt = picture.metadata["image/png"]["alt"]
                assert len(alt) > 25 and picture.metadata["image/png"]["width"] <= 900
                caption = following.data["text/html"].replace("&lt;", "<").replace("&gt;", ">")
                assert alt[:20] in caption.replace("&#x27;", "'").replace("&quot;", '"')


def test_no_two_notebooks_write_one_figure():
    shown = [o["data"]["text/plain"] for name in PATHS for o in outputs(read(name)) if "data" in o]
    pictures = [words for words in shown if words.startswith("picture ")]
    assert len(pictures) > 100 and len(set(pictures)) == len(pictures)


@each
def test_every_committed_claim_holds(name):
    text = json.dumps([output.get("data", {}) for output in outputs(read(name))])
    assert "\\u2713" in text and "\\u2717" not in text, "a finding that does not hold"


@each
def test_links_lead_somewhere(name):
    for cell in read(name).cells:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", cell.source):
            if cell.cell_type == "markdown" and "://" not in target:
                assert (PATHS[name].parent / target).exists(), target


@each
def test_cells_that_nbval_compares_have_something_to_compare(name):
    assert all(cell.outputs for cell in tagged(read(name), "nbval-check-output"))


# Lessons: the numbers of the design


@each_long_lesson
def test_a_lesson_is_an_hour(name):
    notebook = read(name)
    cells = code_cells(notebook)
    lengths = [len([line for line in c.source.splitlines() if line.strip()]) for c in cells]
    prose = sum(len(c.source.split()) for c in notebook.cells if c.cell_type == "markdown")
    code = sum(len(cell.source.split()) for cell in cells)
    assert 30 <= len(notebook.cells) <= 50
    assert statistics.median(lengths) <= 6 and max(lengths) <= 15
    assert longest_row_of_code(notebook) <= 3
    assert 1500 <= prose <= 2500 and prose >= 1.5 * code
    assert sum(len(re.findall(r"\bclaim\(", cell.source)) for cell in cells) <= 5
    drawings = [k for k, cell in enumerate(notebook.cells) if cell in tagged(notebook, "drawing")]
    assert len(drawings) >= 4 and drawings[0] < 5
    parameters = tagged(notebook, "parameters")[0].source.splitlines()
    assert 3 <= len(parameters) - 1 <= 6 and parameters[-1].startswith("out = ")


@each_long_lesson
def test_a_lesson_asks_and_answers(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    asked, answered = text.count("**Predict.**"), text.count("<details><summary><b>")
    exercises = len(re.findall(r"^### Exercise \d ★{1,3} .*minutes\)$", text, re.MULTILINE))
    assert 2 <= asked and 2 <= exercises <= 3
    assert answered >= asked, "a prediction without its answer"
    assert text.count("<details>") == text.count("</details>")
    for part in ("You will do", "You will learn", "You need", "What we found", "How far to trust"):
        assert part in text
    assert f"evidence/{name[:2]}_" in text


@each_lesson
def test_what_gives_an_answer_away_is_folded(name):
    notebook, asked = read(name), False
    for cell in notebook.cells:
        if "reveal" in cell.metadata.get("tags", []):
            assert cell.metadata.jupyter.outputs_hidden, cell.id
            asked = True
        elif cell.cell_type == "code":
            assert not (asked and cell.outputs), f"{cell.id} shows what the answer below tells"
        elif "<details>" in cell.source:
            asked = False
    for cell in code_cells(notebook):
        if "# Solves exercise" in cell.source:
            assert cell.metadata.jupyter.source_hidden, cell.id


@each_lesson
def test_students_lose_nothing_but_solutions(name):
    for cell in tagged(read(name), "answer"):
        assert re.fullmatch(
            r"(?s)<details><summary><b>Solution</b></summary>.*</details>", cell.source
        )
        assert cell.source.count("</details>") == 1


@each_lesson
def test_no_open_cell_has_a_line_of_a_solution(name):
    notebook = read(name)
    shown = [c for c in notebook.cells if not c.metadata.get("jupyter", {}).get("source_hidden")]
    for answer in tagged(notebook, "answer"):
        at = notebook.cells.index(answer)
        given = [cell.source for cell in notebook.cells[:at]]  # what stands above, one may use
        for line in re.search(r"```python\n(.*?)```", answer.source, re.DOTALL)[1].splitlines():
            words = re.sub(r"^\s*(return|\w+ =) ", "", line).strip()
            if len(words) >= 25 and not any(words in source for source in given):
                below = [cell.id for cell in shown if cell is not answer and words in cell.source]
                assert not below, words


@each_lesson
def test_nothing_of_the_bookkeeping_is_in_a_lesson(name):
    source = "\n".join(cell.source for cell in code_cells(read(name)))
    assert not re.search(r"functools|\bcache\b|hashlib|json|digest", source)


# Evidence


@each_evidence
def test_evidence_is_read_in_steps_and_belongs_to_a_lesson(name):
    notebook = read(name)
    assert longest_row_of_code(notebook) <= 5
    assert notebook.cells[0].source.startswith(f"# Evidence {Path(name).name[:2]} · ")
    lesson = ROOT / "notebooks" / f"{name.split('/')[1][:2]}_*.ipynb"
    if list(lesson.parent.glob(lesson.name)):
        assert re.search(
            rf"\]\(\.\./{name.split('/')[1][:2]}_\w+\.ipynb\)", notebook.cells[0].source
        )


# The ledger


def test_the_ledger_is_that_of_the_committed_evidence():
    known = ledger()
    shown = set()
    for name in EVIDENCE:
        text = json.dumps([output.get("data", {}) for output in outputs(read(name))])
        number = Path(name).name[:2]
        shown |= set(re.findall(rf"\(({number}\.[\w-]+(?:\.[\w-]+)*)\)", text))
    assert shown == set(known)
    assert all(mark == "✓" for mark, _ in known.values())


def texts():
    yield from ((name, cell.source) for name in LESSONS for cell in read(name).cells)
    yield "README.md", (ROOT / "README.md").read_text()


def test_every_cited_claim_exists_holds_and_has_the_number_beside_it():
    known = ledger()
    cited = [(where, *match) for where, text in texts() for match in CITED.findall(text)]
    assert len(cited) >= 4
    for where, words, id in cited:
        mark, value = known.get(id, ("", ""))
        assert mark == "✓", f"{where} cites {id}"
        if re.fullmatch(NUMBER, words):
            digits = len(words.split(".")[1]) if "." in words else 0
            exact = float(value.replace(",", ""))
            assert f"{exact:.{digits}f}" == words.replace(",", ""), f"{where}: {id} is {value}"


@each_long_lesson
def test_a_lesson_its_map_and_the_readme_name_the_same_minutes(name):
    text = read(name).cells[0].source
    one, minutes, exercises = re.search(
        r"(About|Two sittings of) (\d+) minutes\b[^.]* (\d+)(?: more)? for the exercises", text
    ).groups()
    said = (minutes if one == "About" else str(2 * int(minutes)), exercises)
    row = rf"\| {name[:2]} \|.*\| (\d+) min, exercises (\d+) \|"
    for table in (read(LESSONS[0]).cells, (ROOT / "README.md").read_text()):
        table = table if isinstance(table, str) else "\n".join(cell.source for cell in table)
        assert re.search(row, table).groups() == said


def test_profiles_name_notebooks_that_exist():
    for profile in (NOTEBOOKS / "profiles").glob("*.yaml"):
        for name in PATHS:
            profile_parameters(profile.stem, name)
