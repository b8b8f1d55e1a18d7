"""Notebooks in batch: one through papermill with limits, all of them through Snakemake.

    python batch.py reproduce                         the grid of PROFILE and SEEDS
    python batch.py run <notebook> <profile> <seed>   one run, the rule of the Snakefile
    python batch.py ledger <profile> <seed> ...       tables of the claims of these runs
    python batch.py figures                           figures/ and CLAIMS.md out of results/laptop
    python batch.py compare <a> <b>                   which claims moved from one grid to another
    python batch.py notebooks [<path> ...]            the committed notebooks, executed in place
    python batch.py data                              real data for evidence 06, 11 and 12

Nothing waits for ever: a cell and a run have a limit in seconds; what a limit or a dead kernel
stopped is tried once more. A failure is one line: the notebook, the cell, what came.

Every run of a grid starts this file anew. What takes two seconds to import, and most runs do not
need, is therefore imported by the functions that need it.
"""

import csv
import hashlib
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import psutil
from platformdirs import user_cache_path

from lib.parameters import (
    PACKAGES,
    ParameterError,
    check_names,
    notebooks,
    profile_parameters,
)

LIMITS = {"smoke": (120, 600), "laptop": (600, 3600)}  # seconds per cell, per run
ENDS = (".ipynb", ".json", ".failed.json")  # of a run's files
TABLES = ("CLAIMS.md", "claims.csv", "runs.csv")
SPACE = 100  # MB that a grid needs at least
LONG_LIMITS = (6 * 3600, 48 * 3600)  # of every other profile
STEP = re.compile(r"\d+ of \d+ steps")  # what Snakemake prints when a run has ended
CHATTER = re.compile(  # of Snakemake and of kernels; every other line of theirs reaches the screen
    r"Assuming unrestricted|Building DAG|Using shell|Provided cores|Select jobs|Execute \d+ job"
    r"|Complete log|Elapsed time|Nothing to be done|RuleException|CalledProcessError in file"
    r"|Command '|Exiting because a job|WorkflowError:$|At least one job did not|\[IPKernelApp\]"
    r"|\[\w{3} \w{3} [ \d]\d [\d:]+ \d{4}\]|Job \d+: |Finished jobid|Job stats|job +count"
    r"|(run|ledger|all|total) +\d+$|-+ +-+$|Provided remote|Using workflow|SLURM run ID"
    r"|No SLURM account|No account was given|Unable to guess SLURM|Cleaning up SLURM|Error in rule"
    r"|sbatch |shell:|(jobid|external_jobid|input|output|log): |exec |\(command exited"
    r"|Rules claiming|For further error details"
    r"|message: SLURM-job '\d+' failed, SLURM status is: 'FAILED'"
)
PARENT = os.getppid()  # asked at once: it may be gone before there is something to stop
ON_NODE = re.compile(r"\s+log: (results/\S+), (.*\.log) \(check log")  # of a run that failed there


class Stopped(Exception):
    """What a limit or a dead kernel stopped: worth another try."""


def execute(source, target, parameters, cell_limit, run_limit):
    """Run a notebook through papermill into `target`: None, or why it failed, in one line."""
    command = [sys.executable, "-m", "papermill", str(source), str(target)]
    command += ["-y", json.dumps(parameters), "--log-level", "ERROR", "--no-progress-bar"]
    command += ["--start-timeout", "120", "--execution-timeout", str(cell_limit)]
    try:
        code, errors = _twice(command, run_limit)
    except Stopped as stopped:
        return f"{_last_cell(target)}{stopped}"
    return _error(target, errors) if code else None


def run(notebook, profile, seed):
    """One run of the grid: results/<profile>/<notebook>/seed<seed>.json, .ipynb and figures.

    A false claim fails the run; with the profile smoke, which is too small to judge, only a false
    exact one does. What a failed run found, and why it failed, is in seed<seed>.failed.json.
    Returns 0 or 1.
    """
    from lib.claims import write_atomically

    check_names([notebook], list(notebooks()), "notebook")
    if not re.fullmatch(r"\d+", seed, re.ASCII):
        raise ParameterError(f"seed: got {seed!r}, accepted: a whole number >= 0")
    parameters = profile_parameters(profile, notebook)
    stem = Path("results", profile, notebook, f"seed{seed}")
    copy, out, failed = map(stem.with_suffix, ENDS)
    parameters |= {"seed": int(seed), "out": str(out)}
    title = f"{notebook}, profile {profile}, seed {seed}"
    print(f"running {title} ...", flush=True)
    start = time.monotonic()
    shutil.rmtree(stem, ignore_errors=True)  # figures of an earlier run, of which some may be gone
    for old in (out, failed):
        old.unlink(missing_ok=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    made = {"sources": digest(notebook, profile), **_machine()}  # before anybody edits them
    limits = LIMITS.get(profile, LONG_LIMITS)
    reason = execute(notebooks()[notebook], copy, parameters, *limits)
    made["seconds"] = round(time.monotonic() - start)
    record = json.loads(out.read_text()) if out.exists() else {}
    if reason is None:
        reason = _false_claims(out, record, exact_only=profile == "smoke")
    if reason is None:
        write_atomically(out, json.dumps(record | {"run": made}, indent=1) + "\n")
        print(f"done {title}, {made['seconds']} s", flush=True)
        return 0
    made["reason"] = f"{title}: {reason} (see {copy})"
    write_atomically(failed, json.dumps(record | {"run": made}, indent=1) + "\n")
    out.unlink(missing_ok=True)
    print(f"FAILED {made['reason']}", flush=True)
    return 1


def digest(notebook, profile):
    """Of what shapes a run: code of its notebook, profile, lib, packages, and real data found."""
    cells = json.loads(notebooks()[notebook].read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    files = [Path("notebooks/profiles", f"{profile}.yaml"), *sorted(Path("lib").rglob("[!.]*.py"))]
    parts = [*code, *(path.read_text() for path in files), *map(version, PACKAGES)]
    if any("NotHere" in cell for cell in code):  # it looks for data, and does without
        parts += _data()
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _data():
    """What lies in the folders in which notebooks look for real data."""
    cache = os.environ.get("UNPAIRED_CACHE") or user_cache_path("unpaired")
    places = [Path(cache, "downloads"), Path(cache, "npm")]
    if chosen := os.environ.get("UNPAIRED_DATA"):
        places.append(Path(chosen))
    return [str(path) for place in places for path in sorted(place.expanduser().glob("*"))]


def _machine():
    """Where a run was made, and of which commit; None where git does not know."""
    import numpy  # noqa: F401  whose BLAS it is
    from threadpoolctl import threadpool_info

    def git(*words):
        try:
            asked = subprocess.run(["git", *words], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return asked.stdout.strip() if asked.returncode == 0 else None

    changes = git("status", "--porcelain", "lib", "batch.py", "notebooks")
    blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    about = ("internal_api", "version", "architecture")  # of which some have no architecture
    return {
        "commit": git("rev-parse", "HEAD"),
        "clean": None if changes is None else changes == "",
        "platform": platform.platform(),
        "processor": _processor(),
        "blas": ", ".join(" ".join(str(lib.get(name)) for name in about) for lib in blas),
    }


def _processor():
    try:
        return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def reproduce(*options):
    """Run the grid of the environment variables PROFILE and SEEDS; returns an exit code.

    options  handed to Snakemake, such as --dry-run, or --workflow-profile slurm for a cluster

    Two at once in one folder are refused. After a kill the same command goes on where it was.
    """
    profile, seeds = os.environ.get("PROFILE", "laptop"), _seeds()
    for notebook in notebooks():
        profile_parameters(profile, notebook)
    if short := _short_of_space():
        raise ParameterError(short)
    command = [sys.executable, "-m", "snakemake", "--keep-going", "--nolock"]
    command += ["--rerun-incomplete", "--scheduler", "greedy"]  # by priority, then size of file
    cluster = "--workflow-profile" in options
    dry = bool({"--dry-run", "--dryrun", "-n"} & {*options})
    if not cluster:
        command += ["--cores", "all", "--quiet", "rules", "host", "reason"]
    command += [*options, "--config", f"profile={profile}", f"seeds={' '.join(seeds)}"]
    runs = [(n, profile, seed) for seed in seeds for n in notebooks()]
    start = time.time()
    with _lock() as lock:  # Snakemake inherits it, so that it is free when both are gone
        if cluster and not dry:
            _cancel_left()
        if not dry:
            _forget_old(runs)
        environment = {**os.environ, "GRID": str(os.getpid())}  # with which it is to end
        grid = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, pass_fds=[lock.fileno()], env=environment
        )
        print(os.getpid(), grid.pid, file=lock, flush=True)
        said = set()  # what a cluster refuses, it refuses for every job
        for line in grid.stderr:
            if STEP.match(line):
                line = _progress(runs, start)
            if failed := ON_NODE.match(line):
                print(_said_on_node(*failed.groups()), flush=True)
            elif line.strip() and line not in said and not CHATTER.match(line.strip()):
                print(line.rstrip(), flush=True)
                said.add(line)
        code = grid.wait()
    if not dry:
        _summary(runs, profile, code)
    return code


def _forget_old(runs):
    """Delete records that are not of today's sources, wherever they come from.

    Snakemake knows the sources of what it made here, not of what was copied or half written.
    """
    ended = _ended(runs)
    for notebook, profile, seed in runs:
        if (notebook, profile, seed) not in ended:
            Path("results", profile, notebook, f"seed{seed}.json").unlink(missing_ok=True)


def _seeds():
    """The seeds of SEEDS, each once."""
    seeds = os.environ.get("SEEDS", "0")
    if not re.fullmatch(r"\s*\d+(\s+\d+)*\s*", seeds, re.ASCII):
        accepted = 'whole numbers >= 0 with blanks between, as in SEEDS="0 1 2"'
        raise ParameterError(f"SEEDS: got {seeds!r}, accepted: {accepted}")
    return list(dict.fromkeys(str(int(seed)) for seed in seeds.split()))


def _short_of_space():
    """'' or, in one line, that the disk is full."""
    free = shutil.disk_usage(".").free // 10**6
    words = f"{Path.cwd()}: got {free} MB free, accepted: {SPACE} MB or more"
    return words if free < SPACE else ""


def _cancel_left():
    """Cancel what a killed grid of this folder left at SLURM: it would write where ours does."""
    end = time.monotonic() + 60
    left = _left_at_slurm()
    if left:
        print(f"cancelling what a stopped grid left at SLURM: {' '.join(left)}", flush=True)
    while left:
        if time.monotonic() > end:
            raise ParameterError(f"SLURM: got jobs that do not end, accepted: scancel {left[0]}")
        subprocess.run(["scancel", *left], timeout=60)
        time.sleep(1)
        left = _left_at_slurm()


def _left_at_slurm():
    """Numbers of the jobs that Snakemake submitted for this folder."""
    command = ["squeue", "--me", "--noheader", "--format=%i|%j|%Z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        came = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        accepted = "a machine where squeue lists your jobs"
        raise ParameterError(f"SLURM: got {came}, accepted: {accepted}") from None
    jobs = [line.split("|", 2) for line in listed.stdout.splitlines()]
    return [id for id, name, folder in jobs if (name[:9], folder) == ("unpaired_", os.getcwd())]


def _said_on_node(copy, log):
    """Why a run failed, out of what it and SLURM wrote on its node."""
    lines = Path(log).read_text(errors="replace").splitlines() if Path(log).exists() else []
    for speaker in ("FAILED", "slurmstepd", "srun"):
        said = [line for line in lines if line.startswith(speaker)]
        if said:
            return said[0] if speaker == "FAILED" else f"FAILED {copy}: {said[0]} (see {log})"
    return f"FAILED {copy}: it left no reason (see {log})"


def _ended(runs):
    """{run: (path, record)} of the runs that have ended, well or not, with today's sources."""
    today = {which: digest(*which) for which in {run[:2] for run in runs}}
    ended = {}
    for notebook, profile, seed in runs:
        stem = Path("results", profile, notebook, f"seed{seed}")
        for path in map(stem.with_suffix, ENDS[1:]):
            try:
                record = json.loads(path.read_text())
            except (OSError, ValueError):  # not there, or just written
                continue
            if record.get("run", {}).get("sources") == today[notebook, profile]:
                ended[notebook, profile, seed] = path, record
    return ended


def _progress(runs, start):
    """How many runs have ended, and about how long the others take; '' where nobody can say."""
    try:
        ended = _ended(runs)
        made = [run for run, (path, _) in ended.items() if path.stat().st_mtime >= start]
    except OSError:  # somebody edits, or clears away
        return ""
    left = [run for run in runs if run not in ended]
    seconds = _seconds()
    done, more = (sum(seconds.get(run[0], 60) for run in part) for part in (made, left))
    if not done or not left:
        return ""
    minutes = math.ceil((time.time() - start) * more / done / 60)
    return f"{len(ended)} of {len(runs)} runs have ended, about {minutes} min left"


def _seconds():
    """{notebook: seconds} of the committed runs."""
    try:
        rows = list(csv.DictReader(Path("figures/runs.csv").read_text().splitlines()))
        names = ["/".join(Path(row["record"]).parts[2:-1]) for row in rows]
        return {name: float(row["seconds"]) for name, row in zip(names, rows)}
    except (OSError, KeyError, ValueError):
        return {}


def _summary(runs, profile, code):
    """The last words of a grid; the tables of what there is, where it is not complete."""
    folder = Path("results", profile)
    if not code:
        shutil.rmtree(folder / "incomplete", ignore_errors=True)
        print(f"Up to date: {len(runs)} runs, profile {profile}.")
        print(f"See {folder}/: CLAIMS.md, claims.csv, and each run's record, notebook and figures.")
        return
    for table in TABLES:  # they are of an earlier grid
        (folder / table).unlink(missing_ok=True)
    ended = _ended(runs)
    reasons = [r["run"]["reason"] for _, r in ended.values() if "reason" in r["run"]]
    missing = len(runs) - len(ended)
    said = f"\nNot complete: of {len(runs)} runs {len(reasons)} failed, {missing} did not end."
    print(said, *reasons, sep="\n")
    records = [path for path, record in ended.values() if "claims" in record]
    if records:
        from ledger import gather

        gather(folder / "incomplete", *records)
        print(f"Tables of the {len(records)} runs that left a record: {folder}/incomplete/.")
    print(_short_of_space() or "The same command runs only what is missing.")


def gather(profile, *seeds):
    """The tables of a grid that is complete, results/<profile>/CLAIMS.md and two CSV files."""
    from ledger import gather

    records = [f"results/{profile}/{n}/seed{seed}.json" for seed in seeds for n in notebooks()]
    gather(f"results/{profile}", *records)


def compare(first, second):
    """Say which claims moved between two folders with claims.csv; 1 where a verdict turned."""
    from ledger import compare

    return compare(first, second)


def figures():
    """Seed 0 into figures/ and CLAIMS.md; where SEEDS has more, evidence into figures/seeds/.

    What lessons say and their pictures show is of seed 0. More seeds say how often a claim holds.
    """
    from ledger import gather, merge

    if "0" not in _seeds():
        raise ParameterError(f"SEEDS: got {' '.join(_seeds())}, accepted: 0 too, for its figures")
    source = Path("results/laptop")
    pictures = [svg for name in notebooks() for svg in sorted(source.glob(f"{name}/seed0/*.svg"))]
    if not pictures:
        raise ParameterError(f"{source}: got no figures, accepted: those of `make reproduce`")
    for stale in Path("figures").glob("*.svg"):
        stale.unlink()
    for picture in pictures:
        shutil.copy(picture, "figures")
    gather("figures", *(source / name / "seed0.json" for name in notebooks()))
    Path("figures/CLAIMS.md").replace("CLAIMS.md")
    print(f"{len(pictures)} figures in figures/, the ledger in CLAIMS.md")
    if _seeds() != ["0"]:
        evidence = [name for name in notebooks() if name.startswith("evidence/")]
        merge("figures/seeds", *(source / n / f"seed{s}.json" for n in evidence for s in _seeds()))
        print(f"seeds {' '.join(_seeds())} of the evidence in figures/seeds/")


def execute_in_place(*paths):
    """Execute committed notebooks where they lie, and tidy them; returns 0, or 1 at a failure."""
    cell_limit, run_limit = LIMITS["laptop"]
    convert = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--inplace", "--execute"]
    convert += [f"--ExecutePreprocessor.timeout={cell_limit}", "--log-level", "ERROR"]
    convert += ["--ExecutePreprocessor.record_timing=False"]
    for path in paths or list(notebooks().values()):
        if not Path(path).is_file():
            raise ParameterError(f"{path}: got no such file, accepted: notebooks")
        print(f"executing {path} ...", flush=True)
        try:
            code, errors = _twice([*convert, str(path)], run_limit)
        except Stopped as stopped:
            code, errors = 1, str(stopped)
        if code:
            print(f"FAILED {path}: {_error(path, errors)}", flush=True)
            return 1
        tidy(path)
    return 0


def data():
    """Download into the cache the real data that some evidence can use; 1 where some fails."""
    from lib import cells, concepts, groceries, recordings

    sets = {
        "spoken digits, 20 MB": lambda: recordings.spoken_digits(download=True),
        "drawings of other hands, 60 MB": concepts.fetch,
        "photographs of groceries, 130 MB": lambda: groceries.groceries(download=True),
        "single cells, 1 MB": lambda: cells.snare(download=True),
    }
    failed = 0
    for words, fetch in sets.items():
        print(f"{words} ...", flush=True)
        try:
            fetch()
        except (ValueError, OSError) as error:
            print(error, flush=True)
            failed = 1
    return failed


def tidy(path):
    """Leave out of a notebook what changes from run to run: widgets, prints in pieces, blanks."""
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor, TagRemovePreprocessor

    notebook = nbformat.read(path, as_version=4)
    CoalesceStreamsPreprocessor().preprocess(notebook, {})
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        outputs[:] = [o for o in outputs if o.output_type != "stream" or o.text.strip()]
    widgets = TagRemovePreprocessor(remove_single_output_tags={"widget"}, enabled=True)
    widgets.preprocess(notebook, {})
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    nbformat.write(notebook, path)


def _twice(command, limit):
    """`_limited`, tried once more where it was stopped."""
    try:
        return _limited(command, limit)
    except Stopped:
        pass
    try:
        return _limited(command, limit)
    except Stopped as stopped:
        raise Stopped(f"{stopped}, tried twice") from None


def _limited(command, limit):
    """(exit code, standard error) of a command, killed with its children after `limit` seconds."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    end, errors = time.monotonic() + limit, None
    try:
        while errors is None:
            try:
                _, errors = process.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise Stopped(f"no end of the run within {limit} s") from None
                if os.getppid() != PARENT:
                    sys.exit("whoever asked for this run is gone")
    finally:
        if process.poll() is None:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
    if process.returncode and "CellTimeoutError" in errors:
        raise Stopped("no end of the cell within its limit")
    if process.returncode and "DeadKernelError" in errors:
        raise Stopped("the kernel died (is memory short?)")
    if process.returncode < 0:
        raise Stopped(f"signal {-process.returncode} stopped the run (is memory short?)")
    return process.returncode, errors


def _lock():
    """An open file in results/ that no other `reproduce` holds; the system frees it."""
    import fcntl  # here, as Windows has none, and no make reproduce either

    try:
        Path("results").mkdir(exist_ok=True)
        stream = open("results/.lock", "a+")  # to append keeps what another one wrote
    except OSError as error:
        accepted = "a folder that can be written"
        raise ParameterError(f"results: got {error.strerror}, accepted: {accepted}") from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        accepted = f"one at a time; wait for it or stop it (kill {stream.read().strip()})"
        raise ParameterError(
            f"results: got another run at work here, accepted: {accepted}"
        ) from None
    stream.truncate(0)
    return stream


def _false_claims(out, record, exact_only):
    """The false claims of the record `out` as one line, None where there are none."""
    if not record:
        return f"it left no {out}: it makes no claim"
    false = [c for c in record["claims"] if not c["holds"] and (c["exact"] or not exact_only)]
    if not false:
        return None
    from lib.claims import FAILS, measured

    return "; ".join(f"{FAILS} {c['id']}: {measured(c)}" for c in false)


def _cells(target):
    import nbformat

    return nbformat.read(target, as_version=4).cells if Path(target).exists() else []


def _last_cell(target):
    """'cell <id>: ' of the last cell that papermill began, '' where there is none."""
    begun = [c for c in _cells(target) if c.metadata.get("papermill", {}).get("start_time")]
    return f"cell {begun[-1].id}: " if begun else ""


def _error(target, errors):
    """The error that a run's notebook shows, else the last line that the run printed."""
    for cell in _cells(target):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"cell {cell.id}: {output.ename}: {'; '.join(output.evalue.splitlines())}"
    return (errors.strip().splitlines() or ["no message"])[-1]


def main(command="", *words):
    """What the first lines of this file list."""
    check_names([command], list(COMMANDS), "batch.py")
    try:
        signature(COMMANDS[command]).bind(*words)
    except TypeError as error:
        usage = next(line for line in __doc__.splitlines() if f"batch.py {command}" in line)
        raise ParameterError(f"{command}: got {error}, accepted: {usage.strip()}") from None
    return COMMANDS[command](*words)


COMMANDS = {
    "reproduce": reproduce,
    "run": run,
    "ledger": gather,
    "compare": compare,
    "figures": figures,
    "notebooks": execute_in_place,
    "data": data,
}

if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on where it was")
