"""CPU-seconds of the world's projections, and of the default encoders, trained and loaded.

python tests/bench/bench_world.py
"""

import os
import tempfile
import time
from statistics import median

from lib.pretraining import KINDS, pretrained
from lib.world import World, log_mel

REPEATS = 5


def seconds(work, *arguments):
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def main():
    world = World()
    scenes = world.scenes("test", 10_000)
    sounds = world.sounds(scenes[:1000])
    for name, *work in (
        ("10,000 pictures", world.images, scenes),
        ("10,000 captions", world.captions, scenes),
        ("1,000 sounds", world.sounds, scenes[:1000]),
        ("1,000 spectrograms", log_mel, sounds),
    ):
        typical = median(seconds(*work) for _ in range(REPEATS))
        print(f"{name:20} {typical:6.2f} CPU-s (median of {REPEATS})")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNPAIRED_CACHE"] = folder
        for state in ("trained", "loaded"):
            each = {kind: seconds(pretrained, kind, world) for kind in KINDS}
            listed = ", ".join(f"{kind} {t:.1f}" for kind, t in each.items())
            print(f"encoders, {state}: {sum(each.values()):6.2f} CPU-s (once); {listed}")


if __name__ == "__main__":
    main()
