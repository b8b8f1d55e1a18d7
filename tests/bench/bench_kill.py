"""Trainings killed (SIGKILL) at random moments and run again: do they end bit for bit where an undisturbed one does?

    python tests/bench/bench_kill.py [kills] [seed]        10 kills of seed 0, unless told otherwise; exit 1 if any differs
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import hashlib, warnings
import torch
from lib.encoders import features, pretrained
from lib.world import World
warnings.filterwarnings("error", message=".*rebuilt")  # what a kill leaves must not look like an entry
torch.set_num_threads(1)
print("begins", flush=True)
for kind, settings in (("masked autoencoder", dict(steps=100, width=8)), ("caption halves", dict(steps=200))):
    encoder = pretrained(kind, World(0), n_samples=2000, **settings)
    print(hashlib.sha256(features(encoder, World(0), "test", 200).tobytes()).hexdigest(), flush=True)
"""


def start(cache):
    """A child that trains into this cache; returned when its imports are over."""
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=ROOT, env={**os.environ, "UNPAIRED_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begins\n"
    return child


def finish(cache):
    """Digests of both encoders' features, and how long they took."""
    child, begin = start(cache), time.perf_counter()
    digests = child.stdout.read().split()
    if child.wait() or len(digests) != 2:
        digests = [f"failed with status {child.returncode}"]
    return digests, time.perf_counter() - begin


def stages(cache):
    """How many stages are whole in a cache, and how many unfinished folders lie about."""
    whole = [path for path in cache.glob("*/manifest.json") if re.fullmatch("[0-9a-f]{24}", path.parent.name)]
    return sum("stop" in json.loads(path.read_text())["key"] for path in whole), len(list(cache.glob(".*.partial")))


def main():
    kills, seed = [*map(int, sys.argv[1:]), *(10, 0)[len(sys.argv) - 1:]]
    rng, differing = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        expected, seconds = finish(Path(folder) / "undisturbed")
        total = stages(Path(folder) / "undisturbed")[0]
        print(f"undisturbed: {total} stages in {seconds:.1f} s; features {' '.join(digest[:12] for digest in expected)}", flush=True)
        for k in range(kills):
            cache, moment = Path(folder) / str(k), rng.uniform(0, seconds)
            child = start(cache)
            time.sleep(moment)
            child.kill()
            status, (found, unfinished) = child.wait(), stages(cache)
            digests, again = finish(cache)
            left, identical = stages(cache)[1], digests == expected
            differing += not identical or left > 0
            print(f"kill {k + 1:2} after {moment:5.2f} s (status {status}): {found:2} of {total} stages found, {unfinished} unfinished, {left} after another "
                  f"{again:4.1f} s; {'identical' if identical else f'DIFFERENT: {digests}'}", flush=True)
    print(f"{kills - differing} of {kills} killed trainings ended bit for bit like the undisturbed one")
    sys.exit(bool(differing) or len(expected) != 2)


if __name__ == "__main__":
    main()
