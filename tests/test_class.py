"""What a teacher gets: handouts, a course that nbgrader marks, slides, and TEACHING.md."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import teach
from lib.exercises import fisher_information as checks

ROOT = Path(__file__).parent.parent
LESSONS = teach.lessons()
TEACHING = (ROOT / "TEACHING.md").read_text()


def sources(notebook, kind="markdown"):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == kind)


# Handouts


@pytest.fixture(scope="module")
def handouts(tmp_path_factory):
    """A folder in which student and solutions have been made."""
    folder = tmp_path_factory.mktemp("handouts")
    for name in ("student", "solutions"):
        command = [sys.executable, ROOT / "teach.py", name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=100)
    return folder


@pytest.mark.parametrize("name", LESSONS)
def test_handouts_have_no_outputs_and_the_answers_of_one_kind(handouts, name):
    student, solved = (
        nbformat.read(handouts / kind / f"{name}.ipynb", as_version=4)
        for kind in ("student", "solutions")
    )
    assert not [c for n in (student, solved) for c in n.cells if c.get("outputs")]
    assert not teach.tagged(student, "answer") and "<b>Solution" not in sources(student)
    stubs = teach.tagged(LESSONS[name], "exercise")
    assert [c.source for c in teach.tagged(student, "exercise")] == [c.source for c in stubs]
    for stub, cell in zip(stubs, teach.tagged(solved, "exercise"), strict=True):
        assert cell.source.endswith(stub.source.splitlines()[-1])
        assert "\n    ..." not in cell.source and "return ..." not in cell.source
        compile(cell.source, cell.id, "exec")


def unpack(handouts, kind, folder):
    with zipfile.ZipFile(handouts / f"{kind}.zip") as packed:
        packed.extractall(folder)
    return folder / "unpaired"


def test_a_zip_runs_in_an_empty_folder(handouts, tmp_path):
    root = unpack(handouts, "student", tmp_path)
    named = re.findall(r"-c (\S+)|--notebook-dir=(\S+)", (root / "README.md").read_text())
    assert len(named) == 2 and all((root / "".join(name)).exists() for name in named)
    notebook = nbformat.read(root / "notebooks" / "01_add_fisher_information.ipynb", as_version=4)
    exercise = teach.tagged(notebook, "exercise")[0]
    where = nbformat.v4.new_code_cell(f"import sys; sys.path.insert(0, {str(root)!r})")
    which = nbformat.v4.new_code_cell("import lib; print(lib.__file__)")
    notebook.cells = [where, which, *notebook.cells[: 1 + notebook.cells.index(exercise)]]
    NotebookClient(notebook, timeout=100, resources={"metadata": {"path": root}}).execute()
    assert notebook.cells[1].outputs[0].text.startswith(str(root))
    assert notebook.cells[-1].outputs[0].text.startswith("open: write best_angle")


def test_with_an_address_a_notebook_fetches_what_it_needs(tmp_path):
    """Its first cell, in an environment with every package but ours, as Colab is after pip."""
    command = [sys.executable, ROOT / "teach.py", "student"]
    environment = {**os.environ, "REPOSITORY": f"file://{ROOT}"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=100)
    lesson = nbformat.read(tmp_path / "student" / "11_bring_your_own.ipynb", as_version=4)
    fetch = lesson.cells[1].source
    assert "[real]" in fetch
    (tmp_path / "fetch.ipy").write_text(f"{fetch}\nimport lib; print(lib.__file__)\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (packages / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for _ in range(2):  # the second time everything is there
        run = [tmp_path / "venv/bin/python", "-m", "IPython", "fetch.ipy"]
        said = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert said.stdout.splitlines()[-1] == str(tmp_path / "unpaired/lib/__init__.py"), said
    assert "fatal" not in said.stdout + said.stderr


@pytest.mark.parametrize("address", ["git@example.org:unpaired.git", "https://a.b/c;ls", "x"])
def test_an_address_that_git_does_not_clone_alone_is_refused(tmp_path, address):
    command = [sys.executable, ROOT / "teach.py", "student"]
    environment = {**os.environ, "REPOSITORY": address}
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.returncode == 1 and not list(tmp_path.iterdir())
    assert said.stderr.startswith(f"REPOSITORY: got {address!r}, accepted: the address")


def test_both_zips_hold_the_same_but_for_the_notebooks(handouts, tmp_path):
    roots = [unpack(handouts, kind, tmp_path / kind) for kind in ("student", "solutions")]
    files = [{path.relative_to(root) for path in root.rglob("*.*")} for root in roots]
    assert files[0] == files[1]
    assert {path.name for path in (ROOT / "lib").rglob("*.py")} <= {path.name for path in files[0]}
    for kind, root in zip(("student", "solutions"), roots):
        for path in (root / "notebooks").iterdir():
            assert path.read_bytes() == (handouts / kind / path.name).read_bytes()


def test_git_stays_clean():
    made = ["student/", "student.zip", "solutions/", "solutions.zip", "course/", "slides/"]
    said = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout.split() == made


# Marks


def test_a_check_knows_whether_the_last_answer_was_right():
    checks.harmless_distance(lambda var_x, var_y: (var_x + var_y) ** 0.5)
    assert checks.harmless_distance.right
    checks.harmless_distance(lambda var_x, var_y: None)
    assert not checks.harmless_distance.right
    checks.harmless_distance(lambda var_x, var_y: (var_x + var_y) ** 0.5)
    with pytest.raises(AssertionError):
        checks.harmless_distance(lambda var_x, var_y: var_x)
    assert not checks.harmless_distance.right


@pytest.mark.parametrize("name", LESSONS)
def test_each_exercise_has_its_mark(name):
    notebook = LESSONS[name]
    stars = [len(stars) for stars in re.findall(r"^### Exercise \d (★+) ", sources(notebook), re.M)]
    marked = nbformat.from_dict(notebook)
    assert teach.grade(marked) == sum(stars)
    marks = [cell for cell in marked.cells if "nbgrader" in cell.metadata]
    assert [cell.metadata.nbgrader.points for cell in marks] == stars
    for cell, mark in zip(teach.tagged(notebook, "exercise"), marks, strict=True):
        check = cell.source.splitlines()[-1]
        assert re.fullmatch(r"checks\.(\w+)\(\1\)", check)
        assert mark.source.startswith(check) and mark.metadata.nbgrader.locked


WRONG = """
def best_angle(I_x, v):
    return np.rad2deg(np.arctan2(v[1], v[0]))
---
def look_of_y():
    return np.eye(2), np.zeros((2, 1))
---
def harmless_distance(var_x, var_y):
    return np.sqrt(var_x) + np.sqrt(var_y)
""".split("---")


def test_nbgrader_marks_a_right_a_wrong_and_an_empty_answer(tmp_path, monkeypatch):
    """The exercises of 01, from the source to feedback; the lesson itself would take minutes."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install -e '.[class]'")
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    notebook = teach.lessons()["01_add_fisher_information"]
    imports = "import numpy as np\nfrom lib.exercises import fisher_information as checks"
    exercises = [*teach.tagged(notebook, "exercise"), *teach.tagged(notebook, "answer")]
    parts = [c for c in notebook.cells if c in exercises or "### Exercise" in c.source]
    notebook.cells = [nbformat.v4.new_code_cell(imports, id="imports"), *parts]
    right, wrong = nbformat.from_dict(notebook), nbformat.from_dict(notebook)
    teach.solve(right)
    for cell, answer in zip(teach.tagged(wrong, "exercise"), WRONG, strict=True):
        cell.source = answer + cell.source.splitlines()[-1]
    teach.remove_answers(notebook)
    assert teach.grade(notebook) == 5
    teach.write(notebook, tmp_path / "source" / "01" / "01.ipynb")

    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", programs)  # nbgrader calls alembic by its name
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.Execute.timeout = 100
    api = NbGraderAPI(config=config)

    def succeed(step):
        assert step["success"], step.get("error") or step.get("log")

    succeed(api.generate_assignment("01"))
    released = nbformat.read(tmp_path / "release" / "01" / "01.ipynb", as_version=4)
    for who, answers in {"right": right, "wrong": wrong, "empty": released}.items():
        handed_in = nbformat.from_dict(released)
        written = [cell.source for cell in teach.tagged(answers, "exercise")]
        for cell, source in zip(teach.tagged(handed_in, "exercise"), written, strict=True):
            cell.source = source
        path = tmp_path / "submitted" / who / "01" / "01.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(handed_in, path)
        succeed(api.autograde("01", who))
        succeed(api.generate_feedback("01", who))
    with api.gradebook as book:
        marks = {s.student.id: (s.score, s.max_score) for s in book.assignment_submissions("01")}
    assert marks == {"right": (5, 5), "wrong": (0, 5), "empty": (0, 5)}
    pages = {who: (tmp_path / "feedback" / who / "01" / "01.html").read_text() for who in marks}
    assert "standard deviations do not add." in pages["wrong"]
    assert "Variances do: add them first" in pages["wrong"]
    assert "nothing is written yet" in pages["empty"]
    assert "Not yet" not in pages["right"]


# Slides


def test_a_deck_has_the_lessons_headings_pictures_and_folded_answers(tmp_path, monkeypatch):
    for package in ("sphinx_revealjs", "jupyter_server_mathjax"):
        pytest.importorskip(package, reason=f"no {package}: pip install -e '.[class]'")
    name = "02_train_shared_autoencoder"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(teach, "lessons", lambda: {name: nbformat.from_dict(LESSONS[name])})
    teach.slides()
    html = (tmp_path / "slides" / f"{name}.html").read_text()
    assert not re.search(r'(src|href)="?(https?:)?//', html)
    for linked in re.findall(r'(?:src|href)="((?:reveal\.js|mathjax)/[^"?]+)', html):
        assert (tmp_path / "slides" / linked).exists(), linked
    text = sources(LESSONS[name])
    headings = len(re.findall(r"^## ", text, re.M)) + 1
    assert len(re.findall(r"<section[^>]*>\s*<section", html)) == headings
    pictures = [o for c in LESSONS[name].cells for o in c.get("outputs", []) if "data" in o]
    assert html.count('src="data:image/png') == sum("image/png" in o.data for o in pictures)
    assert html.count('class="fragment"') == text.count("<b>Answer")
    assert "<details" not in html


# TEACHING.md


def chapters():
    """{lesson's number: its chapter of TEACHING.md}."""
    return {part[:2]: part for part in re.split(r"^## (?=\d\d)", TEACHING, flags=re.M)[1:]}


def rows(text):
    lines = re.findall(r"^\| .+ \|$", text, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def agenda(chapter):
    """[part, minutes] for each row of the first table of a chapter."""
    return [row[:2] for row in rows(chapter.split("| students think")[0])[1:]]


def test_every_lesson_has_its_chapter():
    assert list(chapters()) == [name[:2] for name in LESSONS]
    assert len(TEACHING.splitlines()) <= 480
    for plan, minutes in [("90 minutes", 90), ("One day", 360)]:
        text = TEACHING.split(f"**{plan}")[1].split("\n\n**")[0]
        assert sum(int(row[0]) for row in rows(text) if row[0].isdigit()) == minutes
    weeks = TEACHING.split("**Four weeks")[1].split("## 00")[0]
    assert {*re.findall(r"\b(\d\d)\b", weeks)} >= {*chapters()}


@pytest.mark.parametrize("name", LESSONS)
def test_a_chapter_is_true_of_its_lesson(name):
    text, chapter = sources(LESSONS[name]), chapters()[name[:2]]
    assert chapter.splitlines()[0] == re.search(r"^# (.+)$", text, re.M)[1]
    parts = ["Opening"]
    for words in re.findall(r"^###? (.+)$", text, re.M):
        exercise = re.fullmatch(r"(Exercise \d ★+ .+) \((\d+) minutes\)", words)
        parts.append(exercise.groups() if exercise else words)
    table = agenda(chapter)
    said = [tuple(row) if row[0].startswith("Exercise") else row[0] for row in table]
    assert said == parts

    exercises = sum(int(row[1]) for row in table if row[0].startswith("Exercise"))
    sections = sum(int(row[1]) for row in table) - exercises
    if name[:2] == "00":
        minutes = re.search(r"\| 00 \|.*?\| (\d+) min \|", text)[1]
    else:
        minutes = re.search(r"\*\*You need\.\*\*.*?(\d+) minutes", text)[1]
    sittings = 2 if "Two sittings" in text else 1
    included = exercises if "exercises included" in text else 0
    assert sections + included == sittings * int(minutes)


@pytest.mark.parametrize("name", list(LESSONS)[1:])
def test_every_hint_is_one_of_the_lessons_check(name):
    imports = sources(LESSONS[name], "code")
    module = re.search(r"from lib\.exercises import (\w+) as checks", imports)[1]
    known = (ROOT / "lib" / "exercises" / f"{module}.py").read_text()
    quoted = re.findall(r'exercise \d: "(.+)" \|', chapters()[name[:2]])
    assert len(quoted) >= len(teach.tagged(LESSONS[name], "exercise")) > 0
    assert not [hint for hint in quoted if f'{hint}"' not in known]
