"""The grid on SLURM: a cluster of one node, this machine, with a few tiny notebooks."""

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import psutil
import pytest
from test_batch import CLAIM, ROOT, notebook, reproduce, shelf  # noqa: F401  a fixture

PLUGIN = "snakemake_executor_plugin_slurm"
MISSING = [
    *[name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name)],
    *[name for name in [PLUGIN] if not find_spec(name)],
]
needs_slurm = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0,
    reason=f"needs Debian's slurmctld, slurmd and munge, the extra slurm, and root; {MISSING}",
)
OPTIONS = ["--workflow-profile", str(ROOT / "slurm")]
OPTIONS += ["--slurm-init-seconds-before-status-checks", "1"]
SLOW = """
from pathlib import Path
import time
for _ in range(2400):
    if Path("go").exists():
        break
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM of one node, in the environment of whoever is started; it leaves no process."""
    folder = tmp_path_factory.mktemp("slurm")
    command = [ROOT / "tests/one_node_slurm.sh", folder]
    cluster = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert cluster.stdout.readline() == "up\n", (folder / "slurmctld.log").read_text()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            patch.setenv("PATH", f"{folder}/bin", prepend=os.pathsep)
            yield
    finally:
        cluster.terminate()
        cluster.wait(60)
        for process in psutil.process_iter(["environ"]):  # where a test was stopped by its limit
            if (process.info["environ"] or {}).get("SLURM_CONF") == f"{folder}/slurm.conf":
                process.kill()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(folder) not in left


def on_slurm(*options):
    done = reproduce("0", "laptop", *OPTIONS, *options)
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def slow(shelf, slurm):  # noqa: F811
    """A grid on SLURM whose notebook 02_slow has begun, and waits for a file `go`."""
    claim = CLAIM.format(name="02_slow", interval=None, holds=True)
    notebook(shelf / "notebooks" / "evidence" / "02_slow.ipynb", wait=SLOW, claim=claim)
    command = [sys.executable, "batch.py", "reproduce", *OPTIONS]
    environment = {**os.environ, "SEEDS": "0", "PROFILE": "laptop"}
    grid = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    begun = shelf / "results/laptop/evidence/02_slow/seed0.ipynb"
    for _ in range(2400):
        if begun.exists() and '"start_time": "' in begun.read_text():
            break
        time.sleep(0.1)
    yield grid
    if grid.poll() is None:
        os.killpg(grid.pid, signal.SIGKILL)
    grid.communicate(timeout=60)


def jobs(comment=""):
    command = ["squeue", "--noheader", "--format=%i %k"]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
    return [line.split()[0] for line in lines if comment in line]


def tables(shelf):  # noqa: F811
    return (shelf / "results/laptop/CLAIMS.md").read_text()


@needs_slurm
def test_one_fails_the_rest_goes_on_and_the_same_command_runs_what_is_missing(shelf, slurm):  # noqa: F811
    wrong = notebook(shelf / "notebooks" / "02_wrong.ipynb", wrong="1/0")
    code, lines = on_slurm("--retries", "0")
    copy = "results/laptop/02_wrong/seed0.ipynb"
    assert code == 1
    reason = "cell wrong: ZeroDivisionError: division by zero"
    assert f"FAILED 02_wrong, profile laptop, seed 0: {reason} (see {copy})" in lines
    assert "ZeroDivisionError" in (shelf / copy).read_text()
    assert "01_true" in (shelf / "results/laptop/incomplete/CLAIMS.md").read_text()
    end = lines.index("Not complete: of 2 runs 1 failed, 0 did not end.")
    words = ("Job", "FAILED", "1 of", "2 of")
    assert all(line.startswith(words) for line in lines[: end - 1]) and not lines[end - 1], lines
    notebook(wrong, claim=CLAIM.format(name="02_wrong", interval=None, holds=True))
    code, lines = on_slurm()
    assert code == 0
    assert sum("has been submitted" in line for line in lines) == 1
    assert lines[-2].startswith("Up to date")


@needs_slurm
def test_a_killed_grid_is_resumed_without_what_it_left_at_slurm(slow, shelf):  # noqa: F811
    os.killpg(slow.pid, signal.SIGKILL)
    (left,) = jobs("02_slow")
    (shelf / "go").touch()
    code, lines = on_slurm()
    assert code == 0, lines
    assert lines[0].startswith("cancelling what a stopped grid left at SLURM: ")
    assert left in lines[0].split()
    assert lines[-2].startswith("Up to date")
    measured = tables(shelf)
    shutil.rmtree("results")
    assert reproduce().returncode == 0
    assert tables(shelf) == measured


@needs_slurm
def test_a_cancelled_job_is_tried_again(slow, shelf):  # noqa: F811
    subprocess.run(["scancel", *jobs("02_slow")], check=True, timeout=60)
    (shelf / "go").touch()
    said, _ = slow.communicate(timeout=300)
    assert slow.returncode == 0, said
    assert "FAILED results/laptop/evidence/02_slow/seed0.ipynb: slurmstepd" in said
    assert "Up to date" in said and "02_slow" in tables(shelf)


@needs_slurm
def test_what_slurm_refuses_or_stops_is_named(shelf, slurm):  # noqa: F811
    code, lines = on_slurm("--default-resources", "slurm_partition=nowhere")
    assert code == 1
    assert sum("invalid partition specified: nowhere" in line for line in lines) == 1
    code, lines = on_slurm("--retries", "0", "--set-resources", "run:mem_mb=40")
    assert code == 1
    assert any("01_true/seed0.ipynb: slurmstepd" in line for line in lines), lines
    assert any("exceeded memory limit" in line for line in lines), lines


def test_without_slurm_the_grid_refuses_in_one_line(shelf, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PATH", str(shelf))
    refused = reproduce("0", "laptop", *OPTIONS)
    assert refused.returncode == 1
    assert refused.stderr.startswith("SLURM: got ") and len(refused.stderr.splitlines()) == 1
    assert "accepted: a machine where squeue lists your jobs" in refused.stderr


def test_make_slurm_is_the_grid_with_the_profile():
    make = ["make", "-n", "-o", ".venv/.ready-slurm", "slurm"]
    said = subprocess.run(make, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert said[1:] == ["-B", "batch.py", "reproduce", "--workflow-profile", "slurm"]
