"""The design's table of every lesson, measured: cells, words, lines, and seconds from nothing.

    python tests/bench/bench_lessons.py

From nothing: an empty cache and a fresh kernel, through papermill as `make reproduce` runs it.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import nbformat

from batch import execute
from lib.parameters import notebooks


def facts(path):
    """Cells, words of prose and of code, median and greatest number of lines of a code cell."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    lengths = [len([line for line in source.splitlines() if line.strip()]) for source in code]
    prose = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    words = sum(len(source.split()) for source in code)
    return len(cells), prose, words, statistics.median(lengths), max(lengths)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    lessons = [path for name, path in notebooks().items() if "/" not in name]
    print("lesson                               cells  prose   code  lines median, most  seconds")
    for path in lessons:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["UNPAIRED_CACHE"] = folder
            start = time.perf_counter()
            reason = execute(path, Path(folder) / "copy.ipynb", {}, 600, 1200)
            seconds = time.perf_counter() - start
        cells, prose, words, median, most = facts(path)
        numbers = f"{cells:5}  {prose:5}  {words:5}  {median:12} {most:5}  {seconds:7.1f}"
        print(f"{path.stem:36} {numbers} {reason or ''}")
