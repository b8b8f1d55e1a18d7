"""Time and peak memory of the metrics, each in a process of its own; only memory is asserted.

python tests/bench/bench_metrics.py [n] [d] [threads]      50,000 rows of 128, one thread
"""

import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from lib import metrics


def nothing(a, b, labels):
    """What the process and its features take."""


def probe(a, b, labels):
    labels = labels % 8
    return metrics.linear_probe(a[:2000], labels[:2000], a[2000:3000], labels[2000:3000])


CALLS = {
    "nothing (imports and features)": nothing,
    "recall_at_k, k=10": lambda a, b, labels: metrics.recall_at_k(a, b, 10),
    "linear_cka": lambda a, b, labels: metrics.linear_cka(a, b),
    "linear_cka, unbiased": lambda a, b, labels: metrics.linear_cka(a, b, unbiased=True),
    "mutual_knn, k=10": lambda a, b, labels: metrics.mutual_knn(a, b, 10),
    "cknna, k=10": lambda a, b, labels: metrics.cknna(a, b, 10),
    "linear_probe, 3,000 rows, 8 classes": probe,
}


def features(n, d):
    """Two noisy looks at one hidden array, float32, and labels that the first columns carry."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((n, d), dtype=np.float32)
    a = hidden + rng.standard_normal((n, d), dtype=np.float32)
    b = hidden + rng.standard_normal((n, d), dtype=np.float32)
    return a, b, (a[:, :10] > 0) @ (2 ** np.arange(10))


def measure(case, n, d, threads):
    """Value, seconds, and peak memory in GiB of one call."""
    torch.set_num_threads(threads)
    arguments = features(n, d)
    start = time.perf_counter()
    value = CALLS[case](*arguments)
    seconds = time.perf_counter() - start
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    return value, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main(n=50_000, d=128, threads=1):
    full = n * n * 4 / 2**30
    print(f"n = {n:,}, d = {d}, {threads} thread(s); one n x n float32 matrix is {full:.1f} GiB")
    print(f"{'metric':38}{'time':>10}{'peak memory':>15}  value")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        base = None
        for case in CALLS:
            value, seconds, peak = pool.submit(measure, case, n, d, threads).result()
            base = base or peak
            print(f"{case:38}{seconds:8.2f} s{peak:11.2f} GiB  {value}", flush=True)
            assert n < 20_000 or peak - base < full / 4, "nearly an n x n matrix"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
