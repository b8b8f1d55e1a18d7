"""Batch runs end: with a result, or with one line that says where and why. The ledger of them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import batch
from lib import cells, concepts, groceries, parameters, recordings

ROOT = Path(__file__).parent.parent
CLAIM = """
from lib.claims import Claims
from lib.parameters import check_parameters
claim = Claims("{name}", check_parameters(globals()))
claim("{name}.a", "{name} is {name}", 1, {interval}, number="one", holds={holds})
"""


def notebook(path, **cells):
    """A notebook whose cells have these names as ids; each starts with a parameters cell."""
    first = new_code_cell('seed = 0\nout = ""', id="parameters", metadata={"tags": ["parameters"]})
    others = [new_code_cell(source, id=name) for name, source in cells.items()]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[first, *others], metadata={"kernelspec": kernel}), path)
    return path


def execute(tmp_path, cell_limit=60, run_limit=120, given=None, **cells):
    source = notebook(tmp_path / "source.ipynb", **cells)
    return batch.execute(source, tmp_path / "copy.ipynb", given or {}, cell_limit, run_limit)


def test_a_cell_that_sleeps_ends_the_run_with_its_name(tmp_path):
    reason = execute(tmp_path, cell_limit=2, fine="x = 1", sleepy="import time; time.sleep(600)")
    assert reason == "cell sleepy: no end of the cell within its limit, tried twice"


def test_a_run_has_a_limit_of_its_own_and_leaves_no_process(tmp_path):
    mark = f"unpaired-{os.getpid()}"
    source = (
        f"import subprocess, time; subprocess.Popen(['sleep', '321']); '{mark}'; time.sleep(600)"
    )
    reason = execute(tmp_path, run_limit=15, sleepy=source)
    assert reason == "cell sleepy: no end of the run within 15 s, tried twice"
    for _ in range(20):  # what was killed needs a moment to be gone
        time.sleep(0.5)
        left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        if str(tmp_path) not in left and "sleep 321" not in left:
            return
    raise AssertionError(left)


def test_a_kernel_that_dies_is_named(tmp_path):
    reason = execute(tmp_path, killer="import os; os.kill(os.getpid(), 9)")
    assert reason == "cell killer: the kernel died (is memory short?), tried twice"


def test_a_run_that_a_signal_stops_is_named(tmp_path):
    reason = execute(tmp_path, stop="import os; os.kill(os.getppid(), 9)")
    assert reason == "cell stop: signal 9 stopped the run (is memory short?), tried twice"


def test_what_fails_once_is_tried_again(tmp_path):
    flag = tmp_path / "flag"
    source = f"""
from pathlib import Path
import os
if not Path({str(flag)!r}).exists():
    Path({str(flag)!r}).touch()
    os.kill(os.getpid(), 9)
"""
    assert execute(tmp_path, once=source) is None


def test_an_error_is_one_line_with_its_cell(tmp_path):
    source = "raise ValueError('first line\\nsecond line')"
    assert execute(tmp_path, wrong=source) == "cell wrong: ValueError: first line; second line"


def test_a_bad_parameter_is_one_line(tmp_path):
    source = "from lib.parameters import check_parameters; check_parameters(globals())"
    reason = execute(tmp_path, given={"seed": -1}, check=source)
    assert reason == (
        "cell check: ParameterError: seed: got -1, accepted: greater than or equal to 0"
    )


def lay_out(folder, *parts):
    """The batch tool in a folder of its own, with links to parts of the repository beside it."""
    shutil.copy(ROOT / "batch.py", folder)  # Python would look beside what a link points to
    for part in parts:
        (folder / part).symlink_to(ROOT / part)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder with the batch system and notebooks of its own: a true claim and a profile."""
    lay_out(tmp_path, "lib", "Snakefile", "ledger.py")
    profiles = tmp_path / "notebooks" / "profiles"
    profiles.mkdir(parents=True)
    for profile in ("laptop", "smoke"):
        (profiles / f"{profile}.yaml").write_text("{}\n")
    (tmp_path / "notebooks" / "papers.yaml").write_text("[]\n")
    claim = CLAIM.format(name="01_true", interval=None, holds=True)
    notebook(tmp_path / "notebooks" / "evidence" / "01_true.ipynb", claim=claim)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parameters, "NOTEBOOKS", tmp_path / "notebooks")
    return tmp_path


@pytest.mark.parametrize(
    "interval, profile, code", [(None, "smoke", 1), ((0, 2), "smoke", 0), ((0, 2), "laptop", 1)]
)
def test_a_false_claim_fails_a_run_that_is_large_enough_to_judge(
    shelf, capsys, interval, profile, code
):
    claim = CLAIM.format(name="02_false", interval=interval, holds=False)
    notebook(shelf / "notebooks" / "02_false.ipynb", claim=claim)
    assert batch.run("02_false", profile, "3") == code
    stem = shelf / "results" / profile / "02_false" / "seed3"
    assert stem.with_suffix(".json").exists() == (code == 0)
    assert stem.with_suffix(".failed.json").exists() == (code == 1)
    out = capsys.readouterr().out
    assert out.startswith(f"running 02_false, profile {profile}, seed 3 ...\n")
    if code:
        line = out.splitlines()[-1]
        assert line.startswith(f"FAILED 02_false, profile {profile}, seed 3: ✗ 02_false.a: one 1")


def test_a_notebook_without_a_record_fails(shelf, capsys):
    notebook(shelf / "notebooks" / "02_silent.ipynb", cell="x = 1")
    assert batch.run("02_silent", "laptop", "0") == 1
    assert "it makes no claim" in capsys.readouterr().out


def reproduce(seeds="0", profile="laptop", *options):
    command = [sys.executable, "batch.py", "reproduce", *options]
    environment = {**os.environ, "SEEDS": seeds, "PROFILE": profile}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_the_grid_runs_what_is_missing_and_gathers_the_ledger(shelf):
    claim = CLAIM.format(name="02_false", interval=(0, 2), holds=False)
    notebook(shelf / "notebooks" / "02_false.ipynb", claim=claim)
    first = reproduce("0")
    assert first.returncode == 1
    lines = first.stdout.splitlines()
    assert sum(line.startswith("FAILED 02_false, profile laptop, seed") for line in lines) == 1
    known = ("running", "done", "FAILED", "1 of 2 runs have")
    end = lines.index("Not complete: of 2 runs 1 failed, 0 did not end.")
    assert all(line.startswith(known) for line in lines[: end - 1]) and not lines[end - 1]
    assert lines[end + 1].startswith("02_false, profile laptop, seed 0: ✗ 02_false.a: one 1")
    assert lines[end + 2] == "Tables of the 2 runs that left a record: results/laptop/incomplete/."
    assert lines[end + 3] == "The same command runs only what is missing."
    assert not (shelf / "results/laptop/CLAIMS.md").exists()
    rows = csv.DictReader((shelf / "results/laptop/incomplete/claims.csv").read_text().splitlines())
    assert {row["id"]: row["held"] for row in rows} == {"01_true.a": "1", "02_false.a": "0"}
    (shelf / "notebooks" / "02_false.ipynb").unlink()
    again = reproduce("0")
    assert again.returncode == 0 and "running" not in again.stdout
    assert again.stdout.startswith("Up to date: 1 runs, profile laptop.\nSee results/laptop/:")
    assert "01_true" in (shelf / "results/laptop/CLAIMS.md").read_text()
    assert not (shelf / "results/laptop/incomplete").exists()


def test_what_is_of_other_sources_has_not_ended(shelf):
    claim = CLAIM.format(name="02_false", interval=(0, 2), holds=False)
    false = notebook(shelf / "notebooks" / "02_false.ipynb", claim=claim)
    run = ("02_false", "laptop", "0")
    assert batch.run(*run) == 1
    ((path, record),) = batch._ended([run]).values()
    assert path.name == "seed0.failed.json" and "02_false.a" in record["run"]["reason"]
    os.utime(false, (time.time() + 9, time.time() + 9))  # as after git checkout
    assert list(batch._ended([run])) == [run]
    false.write_text(false.read_text().replace("one", "two"))
    assert batch._ended([run]) == {}


def test_where_a_grid_fails_no_table_of_an_earlier_one_stays(shelf):
    assert reproduce().returncode == 0
    claim = CLAIM.format(name="01_true", interval=(0, 2), holds=False)
    notebook(shelf / "notebooks" / "evidence" / "01_true.ipynb", claim=claim)
    assert reproduce().returncode == 1
    tables = shelf / "results/laptop"
    assert not [name for name in batch.TABLES if (tables / name).exists()]
    assert [name for name in batch.TABLES if (tables / "incomplete" / name).exists()]


def test_sources_edited_while_a_run_is_at_work_make_it_run_again(shelf):
    """Its record is newer than they are: clocks alone would not tell."""
    claim = CLAIM.format(name="02_edits", interval=None, holds=True)
    profile = shelf / "notebooks/profiles/laptop.yaml"
    edit = f"open({str(profile)!r}, 'a').write('# edited once\\n')"
    notebook(shelf / "notebooks" / "02_edits.ipynb", edit=edit, claim=claim)
    reproduce()
    assert "done 02_edits" in reproduce().stdout


def begun(grid):
    return [line for line in grid.stdout.splitlines() if line.startswith("running")]


def data(shelf):
    """A notebook that uses real data where they are."""
    claim = CLAIM.format(name="02_data", interval=None, holds=True)
    words = f"from lib.recordings import NotHere\n{claim}"
    return notebook(shelf / "notebooks" / "02_data.ipynb", claim=words)


CHANGES = [
    "other data",
    "downloaded data",
    "a copy with the clock of before",
    "a record from elsewhere",
    "half a record",
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_data_or_sources_of_any_age_make_a_run_again(shelf, monkeypatch, change):
    monkeypatch.setenv("UNPAIRED_CACHE", str(shelf / "cache"))
    path = data(shelf)
    assert reproduce().returncode == 0
    assert not begun(reproduce())
    record = shelf / "results/laptop/02_data/seed0.json"
    made = json.loads(record.read_text())
    if change == "other data":
        monkeypatch.setenv("UNPAIRED_DATA", str(shelf))
    elif change == "downloaded data":
        (shelf / "cache/downloads/fsdd").mkdir(parents=True)
    elif change == "a copy with the clock of before":
        path.write_text(path.read_text().replace("is 02_data", "is it"))
        os.utime(path, (1, 1))
    else:  # Snakemake knows nothing of it
        shutil.rmtree(shelf / ".snakemake")
        run = {"run": made["run"] | {"sources": "others"}} if "elsewhere" in change else {"run": {}}
        record.write_text(json.dumps(made | run))
    assert begun(reproduce()) == ["running 02_data, profile laptop, seed 0 ..."]
    assert not begun(reproduce())


def test_to_read_a_notebook_makes_no_run_again(shelf):
    path = data(shelf)
    assert reproduce().returncode == 0
    read = nbformat.read(path, as_version=4)
    read.cells[1].outputs = [new_output("stream", text="what Jupyter writes")]
    nbformat.write(read, path)
    os.utime(path, (time.time() + 9, time.time() + 9))
    assert not begun(reproduce())


def test_the_ledger_is_of_the_seeds_asked_for_and_not_of_what_lies_about(shelf):
    assert reproduce("0 1 01 0").returncode == 0  # each once
    gathered = shelf / "results/laptop/CLAIMS.md"
    assert "Seeds: 0, 1." in gathered.read_text()
    assert reproduce("0").returncode == 0
    assert "Seeds: 0." in gathered.read_text()


def test_a_run_leaves_no_figure_of_an_earlier_one(shelf):
    figure = shelf / "results/laptop/evidence/01_true/seed0/01_gone.svg"
    figure.parent.mkdir(parents=True)
    figure.write_text("old")
    assert batch.run("evidence/01_true", "laptop", "0") == 0
    assert not figure.exists()


def test_after_a_kill_the_same_command_goes_on_and_two_at_once_are_refused(shelf):
    wait = "import time; time.sleep(30)\n"
    slow = notebook(shelf / "notebooks" / "02_slow.ipynb", claim=wait)
    environment = {**os.environ, "SEEDS": "0", "PROFILE": "laptop"}
    command = [sys.executable, "batch.py", "reproduce"]
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert any("running 02_slow" in line for line in first.stdout)
    refused = reproduce()
    assert refused.returncode == 1
    words = "results: got another run at work here, accepted: one at a time; wait for it or stop it"
    said, named = refused.stderr.strip().split(" (kill ")
    assert said == words
    pids = [int(pid) for pid in named.rstrip(")").split()]
    assert pids[0] == first.pid and psutil.Process(pids[1]).ppid() == first.pid
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    claim = CLAIM.format(name="02_slow", interval=None, holds=True)
    notebook(slow, claim=claim)
    again = reproduce()
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.splitlines()[-2].startswith("Up to date")


def test_a_full_disk_is_named(shelf, monkeypatch, capsys):
    full = shutil.disk_usage(shelf)._replace(free=99_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    words = f"{shelf}: got 99 MB free, accepted: 100 MB or more"
    with pytest.raises(ValueError) as refused:
        batch.reproduce()
    assert str(refused.value) == words and not (shelf / "results").exists()
    batch._summary([("evidence/01_true", "laptop", "0")], "laptop", code=1)
    assert capsys.readouterr().out.splitlines()[-1] == words


def test_what_a_killed_grid_started_ends_with_it(shelf):
    """Snakemake too: at the next failure it would wait for ever, and keep the lock.

    A slow `git` keeps the run from its kernel until Snakemake is gone.
    """
    notebook(shelf / "notebooks" / "02_slow.ipynb", claim="import time; time.sleep(100)")
    git = shelf / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\nsleep 5\n")
    git.chmod(0o755)
    path = f"{git.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "SEEDS": "0", "PROFILE": "laptop", "PATH": path}
    command = [sys.executable, "batch.py", "reproduce"]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert any("running 02_slow" in line for line in first.stdout)
    started = psutil.Process(first.pid).children(recursive=True)
    assert len(started) >= 2
    first.kill()
    first.communicate(timeout=60)
    assert psutil.wait_procs(started, timeout=60)[1] == []


@pytest.mark.parametrize(
    "seeds, profile, words",
    [
        ("x", "laptop", "SEEDS: got 'x', accepted: whole numbers >= 0"),
        ("", "laptop", "SEEDS: got ''"),
        ("0 -1", "laptop", "SEEDS: got '0 -1'"),
        ("0,1", "laptop", "SEEDS: got '0,1'"),
        ("0", "nonsense", "PROFILE: got 'nonsense', accepted: laptop, smoke"),
    ],
)
def test_the_grid_refuses_in_one_line(shelf, seeds, profile, words):
    refused = reproduce(seeds, profile)
    assert refused.returncode == 1
    assert refused.stderr.startswith(words) and len(refused.stderr.splitlines()) == 1
    assert not (shelf / "results").exists()


@pytest.mark.parametrize(
    "words, came",
    [
        ("", "batch.py: got unknown name '', accepted: reproduce, run"),
        ("ledgre", "batch.py: got unknown name 'ledgre' (did you mean ledger?)"),
        ("compare figures", "compare: got missing a required argument: 'second', accepted: python"),
        ("run 01_true laptop 0", "notebook: got unknown name '01_true' (did you mean evidence/"),
        ("run evidence/01_true huge 0", "PROFILE: got 'huge', accepted: laptop, smoke"),
        ("run evidence/01_true laptop x", "seed: got 'x', accepted: a whole number >= 0"),
        ("ledger laptop 5", "results/laptop/evidence/01_true/seed5.json: got no such file"),
        ("notebooks nowhere.ipynb", "nowhere.ipynb: got no such file"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(shelf, words, came):
    command = [sys.executable, "batch.py", *words.split()]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert refused.stderr.startswith(came) and len(refused.stderr.splitlines()) == 1
    assert not (shelf / "results").exists()


def test_data_that_cannot_be_had_are_one_line_and_the_others_are_fetched(monkeypatch, capsys):
    asked = []

    def refuse(**given):
        raise recordings.NotHere("spoken digits: got no network, accepted: one")

    monkeypatch.setattr(recordings, "spoken_digits", refuse)
    for room, name in ((concepts, "fetch"), (groceries, "groceries"), (cells, "snare")):
        monkeypatch.setattr(room, name, lambda **given: asked.append(given))
    assert batch.data() == 1
    assert asked == [{}, {"download": True}, {"download": True}]
    assert "spoken digits: got no network, accepted: one\n" in capsys.readouterr().out


def test_results_that_cannot_be_written_are_one_line(shelf):
    (shelf / "results").touch()
    refused = reproduce()
    assert refused.returncode == 1
    assert refused.stderr.startswith("results: got File exists, accepted: a folder")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "value", ["`touch pwned`", "$(touch pwned)", "0'; touch pwned; '", '";touch pwned"']
)
@pytest.mark.parametrize("name", ["SEEDS", "PROFILE"])
def test_nothing_in_seeds_or_profile_is_executed(name, value, tmp_path):
    lay_out(tmp_path, "lib", "Snakefile", "notebooks", "Makefile", "ledger.py")
    ready = ["-o", f"{sys.prefix}/.ready-grid", f"VENV={sys.prefix}"]
    command = ["make", *ready, "reproduce", f"{name}={value}"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode and refused.stderr.startswith(f"{name}: got "), refused.stderr
    assert not list(tmp_path.glob("pwned*"))


def test_make_reproduce_plans_every_notebook(tmp_path):
    """What the user runs, as `make -n` says it, with --dry-run behind it."""
    make = ["make", "-n", "-o", ".venv/.ready-grid", "reproduce"]
    said = subprocess.run(make, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert said[1:] == ["-B", "batch.py", "reproduce"]
    lay_out(tmp_path, "lib", "Snakefile", "notebooks", "ledger.py")
    environment = {**os.environ, "SEEDS": "0 7", "PROFILE": "smoke"}
    command = [sys.executable, *said[1:], "--dry-run", "--quiet", "reason"]
    plan = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert plan.returncode == 0, plan.stderr
    for name in parameters.notebooks():
        assert f"results/smoke/{name}/seed7.json" in plan.stdout


def test_figures_and_the_ledger_are_of_seed_0_and_tables_of_more_seeds_beside_them(
    shelf, capsys, monkeypatch
):
    with pytest.raises(ValueError, match="^results/laptop: got no figures"):
        batch.figures()
    for seed in ("0", "3"):
        assert batch.run("evidence/01_true", "laptop", seed) == 0
    (shelf / "figures").mkdir()
    for name in ("01_true/seed0/01_new", "01_true/seed3/01_other", "01_renamed/seed0/01_old"):
        picture = shelf / "results/laptop/evidence" / f"{name}.svg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.touch()
    (shelf / "figures/01_stale.svg").touch()
    batch.figures()
    names = {path.name for path in (shelf / "figures").iterdir()}
    assert names == {"01_new.svg", "claims.csv", "runs.csv"}
    batch.gather("laptop", "0", "3")  # the last step of a grid of two seeds
    monkeypatch.setenv("SEEDS", "0 3")
    batch.figures()
    assert {path.name for path in (shelf / "figures").iterdir()} == {*names, "seeds"}
    assert "Seeds: 0." in (shelf / "CLAIMS.md").read_text()
    for folder, seeds in (("figures", ["0"]), ("figures/seeds", ["0", "3"])):
        rows = csv.DictReader((shelf / folder / "runs.csv").read_text().splitlines())
        assert [row["seed"] for row in rows] == seeds
        rows = csv.DictReader((shelf / folder / "claims.csv").read_text().splitlines())
        assert [row["seeds"] for row in rows] == [" ".join(seeds)]
    monkeypatch.setenv("SEEDS", "1 2")
    with pytest.raises(ValueError, match="^SEEDS: got 1 2, accepted: 0 too, for its figures"):
        batch.figures()


def test_executed_in_place_a_notebook_is_tidy(tmp_path, capsys):
    prints = "for k in range(3):\n    print(k, flush=True)"
    path = notebook(tmp_path / "a.ipynb", prints=prints)
    assert batch.execute_in_place(path) == 0
    cells = nbformat.read(path, 4).cells
    assert cells[1].outputs[0].text == "0\n1\n2\n" and len(cells[1].outputs) == 1
    assert "execution" not in cells[1].metadata
    path = notebook(tmp_path / "b.ipynb", wrong="1/0")
    assert batch.execute_in_place(path) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_tidy_takes_widgets_out(tmp_path):
    path = notebook(tmp_path / "a.ipynb", cell="x")
    content = nbformat.read(path, 4)
    widget = new_output("display_data", {"text/plain": "VBox"}, metadata={"tags": ["widget"]})
    said = [new_output("stream", name="stdout", text=text) for text in ("kept", "\n")]
    content.cells[1].outputs = [said[1], widget, said[0]]
    content.metadata["widgets"] = {"state": {}}
    nbformat.write(content, path)
    batch.tidy(path)
    tidied = nbformat.read(path, 4)
    assert [output.get("text") for output in tidied.cells[1].outputs] == ["kept"]
    assert list(tidied.metadata) == ["kernelspec"]


def test_a_record_says_with_what_on_what_and_of_which_commit(shelf):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    assert batch.run("evidence/01_true", "laptop", "5") == 0
    path = shelf / "results/laptop/evidence/01_true/seed5.json"
    record = json.loads(path.read_text())
    assert record["parameters"]["seed"] == 5
    assert record["run"]["commit"] is None and record["run"]["clean"] is None
    assert record["run"]["processor"] and record["run"]["platform"] and record["run"]["blas"]
    git("init", "-q", ".")
    git("add", "notebooks")
    git("commit", "-qm", "first")
    assert batch.run("evidence/01_true", "laptop", "5") == 0
    said = json.loads(path.read_text())["run"]
    assert len(said["commit"]) == 40 and said["clean"] is False  # lib and batch.py are not in it
    git("add", "lib", "batch.py")
    git("commit", "-qm", "second")
    assert batch.run("evidence/01_true", "laptop", "5") == 0
    assert json.loads(path.read_text())["run"]["clean"] is True


def test_progress_weighs_what_is_left_by_what_is_known(shelf, monkeypatch):
    notebook(shelf / "notebooks" / "02_slow.ipynb", cell="x = 1")
    runs = [(name, "laptop", "0") for name in ("evidence/01_true", "02_slow")]
    assert batch._progress(runs, time.time()) == ""
    (shelf / "figures").mkdir()
    paths = [f"results/laptop/{name}/seed0.json" for name, *_ in runs]
    rows = [f"{path},{seconds}" for path, seconds in zip(paths, (100, 300))]
    (shelf / "figures" / "runs.csv").write_text("\n".join(["record,seconds", *rows]))
    start = time.time() - 120
    Path(paths[0]).parent.mkdir(parents=True)
    Path(paths[0]).write_text('{"claims": []}')  # it is still at work
    assert batch._progress(runs, start) == ""
    made = {"claims": [], "run": {"sources": batch.digest(*runs[0][:2])}}
    Path(paths[0]).write_text(json.dumps(made))
    said = "1 of 2 runs have ended, about 6 min left"
    assert batch._progress(runs, start) in (said, said.replace("6", "7"))
    Path(paths[1]).parent.mkdir(parents=True)
    made["run"]["sources"] = batch.digest(*runs[1][:2])
    Path(paths[1]).with_suffix(".failed.json").write_text(json.dumps(made))
    assert batch._progress(runs, start) == ""
