"""CPU-seconds of the world's projections, and of the default encoders from an empty cache and from a full one.

    python tests/bench/bench_world.py
"""
import os
import tempfile
import time
from statistics import median

from lib.encoders import KINDS, pretrained
from lib.world import World, log_mel

REPEATS = 5


def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def main():
    world = World()
    scenes, few = world.scenes("test", 10_000), world.scenes("test", 1000)
    sounds = world.sounds(few)
    for name, work in [("10,000 pictures", lambda: world.images(scenes)), ("10,000 captions", lambda: world.captions(scenes)),
                       ("1,000 sounds", lambda: world.sounds(few)), ("1,000 spectrograms", lambda: log_mel(sounds))]:
        print(f"{name:20} {median(seconds(work) for _ in range(REPEATS)):6.2f} CPU-s (median of {REPEATS})")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNPAIRED_CACHE"] = folder
        for state in ("cold", "warm"):
            each = {kind: seconds(lambda kind=kind: pretrained(kind, world)) for kind in KINDS}
            print(f"encoders, {state}: {sum(each.values()):6.2f} CPU-s (once);", ", ".join(f"{kind} {t:.1f}" for kind, t in each.items()))


if __name__ == "__main__":
    main()
