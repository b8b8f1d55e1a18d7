"""Trainings killed (SIGKILL) at random moments and run again: do they end bit for bit alike?

    python tests/bench/bench_kill.py [kills] [seed]

10 kills of seed 0, unless told otherwise; exit status 1 if any ends elsewhere than an undisturbed
training, or leaves something unfinished.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import hashlib, warnings
import torch
from lib.pretraining import features, pretrained
from lib.world import World
warnings.filterwarnings("error", message=".*rebuilt")  # a kill must leave nothing like an entry
torch.set_num_threads(1)
print("begins", flush=True)
for kind, settings in (("masked autoencoder", {"steps": 100, "width": 8}),
                       ("caption halves", {"steps": 200})):
    encoder = pretrained(kind, World(0), n_samples=2000, **settings)
    table = features(encoder, World(0), "test", 200)
    print(hashlib.sha256(table.tobytes()).hexdigest(), flush=True)
"""


def start(cache):
    """A child that trains into this cache; returned when its imports are over."""
    command = [sys.executable, "-c", CHILD]
    environment = {**os.environ, "UNPAIRED_CACHE": str(cache)}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begins\n"
    return child


def finish(cache):
    """Digests of both encoders' features, and how long they took."""
    child = start(cache)
    begin = time.perf_counter()
    digests = child.stdout.read().split()
    if child.wait() or len(digests) != 2:
        digests = [f"failed with status {child.returncode}"]
    return digests, time.perf_counter() - begin


def count_stages(cache):
    """How many stages are complete."""
    keys = [json.loads(path.read_text())["key"] for path in cache.glob("*.json")]
    return sum("stop" in key for key in keys)


def count_unfinished(cache):
    """How many files belong to no complete entry."""
    entries = {path.stem for path in cache.glob("*.json")}
    files = [path for path in cache.glob("*.*") if path.suffix not in (".json", ".lock")]
    return sum(path.stem not in entries for path in files)


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        expected, seconds = finish(Path(folder) / "undisturbed")
        total = count_stages(Path(folder) / "undisturbed")
        shown = " ".join(digest[:12] for digest in expected)
        print(f"undisturbed: {total} stages in {seconds:.1f} s; features {shown}", flush=True)
        for k in range(kills):
            cache, moment = Path(folder) / str(k), rng.uniform(0, seconds)
            child = start(cache)
            time.sleep(moment)
            child.kill()
            status = child.wait()
            found, unfinished = count_stages(cache), count_unfinished(cache)
            digests, again = finish(cache)
            left = count_unfinished(cache)
            failed += digests != expected or left > 0
            print(
                f"kill {k + 1:2} after {moment:5.2f} s (status {status}): {found:2} of {total} "
                f"stages found, {unfinished} files unfinished, {left} after {again:4.1f} s; "
                f"{'identical' if digests == expected else f'DIFFERENT: {digests}'}",
                flush=True,
            )
    print(
        f"{kills - failed} of {kills} killed trainings ended bit for bit like the undisturbed one"
    )
    sys.exit(failed > 0 or len(expected) != 2)


if __name__ == "__main__":
    main()
