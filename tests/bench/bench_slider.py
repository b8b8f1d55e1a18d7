"""Do slider cells ever hang a batch run? The lessons' own, on a machine that two others keep busy.

    python tests/bench/bench_slider.py [runs of each lesson, default 50]

Cells that write to ipywidgets' Output hung 1 of 16 runs (nbclient issue 312). Here the slider cell
of each lesson runs with the cells that it needs, through papermill, again and again.
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from batch import execute
from lib.parameters import notebooks

FAKE_RUNS = """
import numpy as np
runs = {name: [np.full((31, 3), 5.0)] for name in ("X", "X + Y")}
line = 3.0
"""
NEEDED = {  # lesson: (cells before its slider, code in the place of a training)
    "01_add_fisher_information": (("strips", "one-y", "rate", "ellipses", "slider"), None),
    "02_train_shared_autoencoder": (("curves", "moments", "slider"), FAKE_RUNS),
}
ALWAYS = ("imports", "parameters", "check-parameters")
LIMIT = 60  # seconds per cell


def reduced(name, folder):
    """The lesson's notebook with the cells that its slider needs."""
    needed, fake = NEEDED[name]
    notebook = nbformat.read(notebooks()[name], as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id in ALWAYS + needed]
    if fake:
        notebook.cells.insert(len(ALWAYS), nbformat.v4.new_code_cell(fake, id="fake-runs"))
    path = Path(folder) / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def busy():
    while True:
        sum(range(10_000))


if __name__ == "__main__":
    n_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    others = [multiprocessing.Process(target=busy, daemon=True) for _ in range(2)]
    for other in others:
        other.start()
    with tempfile.TemporaryDirectory() as folder:
        for name in NEEDED:
            source, failed, seconds = reduced(name, folder), [], []
            for run in range(n_runs):
                start = time.perf_counter()
                reason = execute(source, Path(folder) / "copy.ipynb", {}, LIMIT, 5 * LIMIT)
                seconds.append(time.perf_counter() - start)
                if reason:
                    failed.append(f"run {run}: {reason}")
            print(f"{name}: {len(failed)} of {n_runs} failed, {statistics.median(seconds):.1f} s")
            print(*failed, sep="\n", end="")
