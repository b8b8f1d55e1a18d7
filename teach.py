"""What a teacher hands out, made of the lessons; TEACHING.md says what for.

    python teach.py student      without solutions and outputs: student/ and student.zip
    python teach.py solutions    each solution in the cell to write in: solutions/, solutions.zip
    python teach.py assignment   a course of nbgrader: course/source/<lesson>/
    python teach.py slides       a deck per lesson, which needs no network: slides/<lesson>.html

Each folder is written anew, below the current one; marks in course/ are left in peace. Where the
environment variable REPOSITORY is the address of the repository, student and solutions begin with a
cell that fetches lib where it is missing: such a notebook runs in Colab by itself.
"""

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import nbformat

from lib.parameters import ParameterError, notebooks

ROOT = Path(__file__).parent
PACKED = ("CLAIMS.md", "LICENSE", "LICENSE-TEXT", "Makefile", "constraints.txt", "pyproject.toml")
BEGIN = """# Unpaired: notebooks for a class

You need Python 3.11 or newer. In this folder, once (it takes several minutes):

    python3 -m venv .venv
    .venv/bin/python -m pip install -c constraints.txt -e .

and whenever you begin:

    .venv/bin/python -m jupyterlab --notebook-dir=notebooks

On Windows say `py -3` for `python3`, and `.venv\\Scripts\\python` for `.venv/bin/python`. On Linux
and macOS `make lab` does all of it. Lesson 11 needs some 200 MB more: `pip install` as above, with
`-e ".[real]"` at the end, or `make real`.

Begin with notebooks/00_start_here.ipynb. Links to `evidence/` lead to notebooks of the full
repository, which are not in here.

Code: MIT (LICENSE). Prose and figures: CC BY 4.0 (LICENSE-TEXT).
"""
FETCH = """import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("lib") is None:  # in Colab, say: fetch it, and what it needs (minutes)
    !git clone --quiet --depth 1 {repository} unpaired
    %pip install --quiet --editable "unpaired{extra}"
    sys.path.insert(0, str(Path("unpaired").resolve()))
"""
COURSE = """c = get_config()
c.CourseDirectory.course_id = "unpaired"
c.Execute.timeout = 600  # seconds per cell; some train networks
"""


def lessons():
    """{name: notebook} of the committed lessons, read anew."""
    paths = {name: path for name, path in notebooks().items() if "/" not in name}
    return {name: nbformat.read(path, as_version=4) for name, path in paths.items()}


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def student():
    """Notebooks without solutions and outputs."""
    hand_out("student", remove_answers)


def solutions():
    """Notebooks without outputs, with each solution in the cell to write in."""
    hand_out("solutions", solve)


def hand_out(folder, change):
    """Write the lessons, each after `change`, without outputs to `folder` and to `folder`.zip."""
    repository = os.environ.get("REPOSITORY", "")
    if not re.fullmatch(r"((https|file)://[\w.~/-]+)?", repository):
        accepted = "the address that git clones, as in https://example.org/unpaired.git"
        raise ParameterError(f"REPOSITORY: got {repository!r}, accepted: {accepted}")
    shutil.rmtree(folder, ignore_errors=True)
    for name, notebook in lessons().items():
        change(notebook)
        if repository:
            extra = "[real]" if name.startswith("11") else ""
            fetch = FETCH.format(repository=repository, extra=extra).rstrip()
            notebook.cells.insert(1, nbformat.v4.new_code_cell(fetch, id="fetch"))
        write(notebook, Path(folder, f"{name}.ipynb"))
    with zipfile.ZipFile(f"{folder}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("unpaired/README.md", BEGIN)
        for path in [*map(ROOT.joinpath, PACKED), *sorted(ROOT.glob("lib/**/*.py"))]:
            packed.write(path, Path("unpaired", path.relative_to(ROOT)))
        for path in sorted(Path(folder).glob("*.ipynb")):
            packed.write(path, Path("unpaired", "notebooks", path.name))
    print(f"{folder}/, and the same with what it needs: {folder}.zip")


def remove_answers(notebook):
    notebook.cells = [c for c in notebook.cells if "answer" not in c.metadata.get("tags", [])]


def solve(notebook):
    """Put every solution in the place of its stub; the reason stays folded below."""
    for cell in tagged(notebook, "exercise"):
        answer = notebook.cells[notebook.cells.index(cell) + 1]
        solution = re.search(r"```python\n(.*?)```", answer.source, re.DOTALL)[1]
        cell.source = f"{solution}\n\n{cell.source.splitlines()[-1]}"


def write(notebook, path):
    """Write a notebook without outputs; of the metadata only tags, folds, marks and the kernel."""
    from nbconvert.preprocessors import ClearMetadataPreprocessor, ClearOutputPreprocessor

    kept = dict(preserve_cell_metadata_mask={"tags", "jupyter", "nbgrader"})
    kept |= dict(preserve_nb_metadata_mask={"kernelspec"})
    ClearOutputPreprocessor().preprocess(notebook, {})
    ClearMetadataPreprocessor(**kept).preprocess(notebook, {})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def assignment():
    """A course for nbgrader: the lessons with a locked test below each exercise."""
    course = Path("course")
    for name, notebook in lessons().items():
        remove_answers(notebook)
        if grade(notebook):
            write(notebook, course / "source" / name / f"{name}.ipynb")
    if not (course / "nbgrader_config.py").exists():
        (course / "nbgrader_config.py").write_text(COURSE)
    print("course/; there, with the environment active: nbgrader generate_assignment <lesson>,")
    print("and when answers lie in submitted/<student>/<lesson>: autograde, then generate_feedback")


def grade(notebook):
    """Add a cell that nbgrader marks below each exercise; returns all points, one per star.

    A check raises where the answer is wrong, but not where it is a stub: the cell asks for both.
    """
    total = 0
    for cell in tagged(notebook, "exercise"):
        at = notebook.cells.index(cell)
        above = "\n".join(c.source for c in notebook.cells[:at] if c.cell_type == "markdown")
        points = len(re.findall(r"^### Exercise \d (★+) ", above, re.MULTILINE)[-1])
        check = cell.source.splitlines()[-1]  # such as checks.control(control)
        test = f'{check}\nassert {check.split("(")[0]}.right, "nothing is written yet"'
        mark = nbformat.v4.new_code_cell(test, id=f"{cell.id}-mark")
        mark.metadata.nbgrader = dict(
            grade=True,
            grade_id=mark.id,
            points=points,
            locked=True,
            solution=False,
            task=False,
            schema_version=3,
        )
        notebook.cells.insert(at + 1, mark)
        total += points
    return total


def slides():
    """A deck per lesson: headings and figures on slides of their own, answers after a click."""
    import jupyter_server_mathjax
    import sphinx_revealjs
    from nbconvert.exporters import SlidesExporter

    target = Path("slides")
    shutil.rmtree(target, ignore_errors=True)
    for package, folder, name in [
        (sphinx_revealjs, "_static/revealjs", "reveal.js"),
        (jupyter_server_mathjax, "static", "mathjax"),
    ]:
        unused = shutil.ignore_patterns("localization", "*.map")
        shutil.copytree(Path(package.__file__).parent / folder, target / name, ignore=unused)
    exporter = SlidesExporter(
        template_file=str(ROOT / "slides.html.j2"),
        reveal_url_prefix="reveal.js",
        reveal_theme="white",
        reveal_width="1280",
        reveal_height="720",
        mathjax_url="mathjax/MathJax.js?config=TeX-AMS-MML_HTMLorMML-full,Safe",
    )
    for name, notebook in lessons().items():
        remove_answers(notebook)
        notebook.cells = list(deck(notebook))
        notebook.metadata.title = name
        (target / f"{name}.html").write_text(exporter.from_notebook_node(notebook)[0])
    print("slides/: open a file in a browser; space goes on, F fills the screen, O shows all")


def deck(notebook):
    """The cells of a lesson as slides: of a picture's cell the picture, of a slider nothing."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            yield from pages(cell.source)
        elif "exercise" in tags:
            cell.outputs = []
            yield slide(cell, "-")
        elif any("image/png" in output.get("data", {}) for output in cell.outputs):
            cell.metadata["transient"] = {"remove_source": True}
            yield slide(cell, "subslide")
        elif not ({"parameters", "widget"} & {*tags} or re.match("imports$|check", cell.id)):
            yield slide(cell, "subslide")


def slide(cell, kind):
    """The cell, beginning a slide, a subslide or a fragment; '-' begins nothing."""
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def pages(source):
    """Markdown cells of a screen each; a `##` begins a slide, what is folded waits for a click."""
    source = re.sub(r"\[([^][]+)\]\([\w./-]+\.(ipynb|md)[^)]*\)", r"\1", source)  # not at hand
    source = re.sub(r"\*\*Where you are\.\*\* .*", "", source)
    for part in re.split(r"(?s)(<details>.*?</details>)", source):
        folded = re.match(r"(?s)<details><summary><b>(.*?)</b></summary>(.*)</details>", part)
        if folded:
            yield slide(nbformat.v4.new_markdown_cell(f"### {folded[1]}"), "subslide")
        for k, page in enumerate(screens(folded[2] if folded else part)):
            begins = "slide" if re.match("##? ", page) else "subslide"
            kind = "fragment" if folded and k == 0 else begins
            yield slide(nbformat.v4.new_markdown_cell(page), kind)


def screens(text, lines=14, letters=80):
    """The blocks of a Markdown text, put together to about a screen each."""
    found, full = [], 0
    for block in blocks(text):
        height = 0.6 + sum(1 + len(line) // letters for line in block.splitlines())
        breaks = full + height > lines or block.startswith("**Predict")
        if not found or block.startswith("#") or breaks and full > 2:  # no heading stays alone
            found, full = [*found, block], 0
        else:
            found[-1] += f"\n\n{block}"
        full += height
    return [page for page in found if page]


def blocks(text, rows=8):
    """Paragraphs, lists, formulas; a long table comes in pieces, each with its head."""
    for block in re.split(r"\n\n+", text.strip()):
        lines = block.splitlines()
        if block.startswith("|") and len(lines) > 2 * rows:
            for k in range(2, len(lines), rows):
                yield "\n".join(lines[:2] + lines[k : k + rows])
        else:
            yield block


COMMANDS = {
    "student": student,
    "solutions": solutions,
    "assignment": assignment,
    "slides": slides,
}

if __name__ == "__main__":
    try:
        COMMANDS[sys.argv[1]]()
    except ParameterError as error:
        sys.exit(str(error))
