"""A small grid, disturbed at random moments: do its tables come out as those of one left in peace?

    python tests/bench/bench_grid.py [times] [seed]

Killed (SIGKILL): make, batch.py, Snakemake, papermill, a kernel; and `rm -r results`; 10 times
each, of seed 0, unless told otherwise. Then a disk that fills up, where root may mount one. After
each the same command is given again. It must end well, with the same tables; or refuse, in one line
that says to wait, until what survived has ended. Exit status 1 if it once does neither.
"""

import csv
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.executable).parents[1]
COMMAND = ["make", "-o", f"{VENV}/.ready-grid", "reproduce", f"VENV={VENV}"]
WAIT = "results: got another run at work here, accepted: one at a time; wait for it or stop it"
VICTIMS = {
    "make": "make -o",
    "batch.py": "batch.py reproduce",
    "Snakemake": "-m snakemake",
    "papermill": "-m papermill",
    "kernel": "ipykernel_launcher",
    "rm results": "batch.py run",  # while one is at work
}
CELL = """
import time
import numpy as np
from lib.claims import Claims
from lib.parameters import check_parameters
p = check_parameters(globals())
time.sleep(1.5)
mean = np.random.default_rng(p.seed).normal(size=100).mean()
Claims("{name}", p)("{name}.mean", "it is near zero", mean, (-1, 1), number="mean", expected=0)
"""


def lay_out(folder):
    """The batch system, and three notebooks that take three seconds each."""
    folder.mkdir(exist_ok=True)
    for name in ("batch.py", "ledger.py", "Snakefile", "Makefile"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "lib", folder / "lib")
    profiles = folder / "notebooks" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "laptop.yaml").write_text("{}\n")
    (folder / "notebooks" / "papers.yaml").write_text("[]\n")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for name in ("01_one", "02_two", "03_three"):
        first = new_code_cell('seed = 0\nout = ""', id="parameters")
        first.metadata.tags = ["parameters"]
        cells = [first, new_code_cell(CELL.format(name=name), id="claim")]
        made = new_notebook(cells=cells, metadata={"kernelspec": kernel})
        write(made, profiles.parent / f"{name}.ipynb")


def start(folder):
    said = open(folder / "said", "w")
    return subprocess.Popen(COMMAND, cwd=folder, stdout=said, stderr=subprocess.STDOUT)


def finish(folder, child, limit=300):
    """(exit status, last line) of a command that has been started."""
    code = child.wait(limit)
    return code, ((folder / "said").read_text().strip().splitlines() or [""])[-1]


def tables(folder):
    """claims.csv and runs.csv without what a clock says; None where there are none."""
    try:
        results = folder / "results" / "laptop"
        claims, runs = ((results / f"{name}.csv").read_text() for name in ("claims", "runs"))
    except FileNotFoundError:
        return None
    return claims, [{**row, "seconds": None} for row in csv.DictReader(runs.splitlines())]


def alive(folder, words):
    """Processes of this folder with these words in their command."""
    found = []
    for process in psutil.process_iter():
        try:
            here = process.cwd() in (str(folder), str(folder / "notebooks"))
            if here and words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            pass
    return found


def disturb(folder, child, victim, moment, rng):
    """Kill one of those alive then, or the first that comes; False if the grid ended before."""
    time.sleep(moment)
    while child.poll() is None:
        if found := alive(folder, VICTIMS[victim]):
            break
        time.sleep(0.02)
    else:
        return False
    if victim == "rm results":
        subprocess.run(["rm", "-rf", folder / "results"])  # what is written meanwhile may stay
    else:
        rng.choice(found).kill()
    return True


def again(folder, limit=120):
    """The same command until it no longer says to wait: (times refused, exit status, last line)."""
    end = time.monotonic() + limit
    for refused in range(limit):
        code, line = finish(folder, start(folder))
        if WAIT not in (folder / "said").read_text() or time.monotonic() > end:
            return refused, code, line
        time.sleep(1)


def full_disk(folder, expected):
    """A disk that fills up while the grid is at work, and then gets space: what was said, was it
    well in the end; None where one may not mount a disk."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=150m", "none", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        return None
    try:
        lay_out(folder)
        child = subprocess.Popen(
            COMMAND, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        while not alive(folder, "ipykernel_launcher"):
            time.sleep(0.02)
        with suppress(OSError):  # it takes what there is
            (folder / "ballast").write_bytes(b"0" * shutil.disk_usage(folder).free)
        said = child.communicate(timeout=300)[0].splitlines()
        (folder / "ballast").unlink()
        _, code, line = again(folder)
        return said[-2:], code == 0 and tables(folder) == expected
    finally:
        subprocess.run(["umount", "--lazy", folder])


def main():
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    well = Counter()
    with tempfile.TemporaryDirectory() as parent:
        peace = Path(parent, "peace")
        lay_out(peace)
        begin = time.monotonic()
        code, line = finish(peace, start(peace))
        seconds, expected = time.monotonic() - begin, tables(peace)
        print(f"left in peace: {seconds:.0f} s, status {code}, {line}", flush=True)
        assert code == 0 and expected
        for victim in VICTIMS:
            for _ in range(times):
                hit = False
                while not hit:  # else the grid ended before
                    folder = Path(tempfile.mkdtemp(dir=parent))
                    lay_out(folder)
                    child, moment = start(folder), rng.uniform(0, seconds)
                    hit = disturb(folder, child, victim, moment, rng)
                first, said = finish(folder, child)
                refused, code, line = again(folder)
                same = code == 0 and tables(folder) == expected
                well[victim] += same
                print(
                    f"{victim:10} after {moment:4.1f} s: "
                    f"status {first}, {said!r}; then {refused} times refused, status {code}, "
                    f"{'the same tables' if same else f'NOT the same: {line}'}",
                    flush=True,
                )
        folder = Path(parent, "full")
        folder.mkdir()
        print(f"full disk: {full_disk(folder, expected) or 'not root: left out'}")
    print(", ".join(f"{victim} {well[victim]} of {times}" for victim in VICTIMS))
    sys.exit(min(well.values()) < times)


if __name__ == "__main__":
    main()
