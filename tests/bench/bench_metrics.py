"""Time and peak memory of the metrics at 50,000 rows, each in a process of its own. No time is asserted, memory is.

    python tests/bench/bench_metrics.py [n] [d] [threads]        50,000 rows of 128 on one thread, unless told otherwise
"""
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from lib import metrics

CALLS = {
    "nothing (imports and features)": lambda a, b, labels: None,
    "recall_at_k, k=10, both ways": lambda a, b, labels: metrics.recall_at_k(a, b, 10),
    "foscttm": lambda a, b, labels: metrics.foscttm(a, b),
    "zero_shot_accuracy, 1,000 classes": lambda a, b, labels: metrics.zero_shot_accuracy(a, b[:1000], labels),
    "linear_cka": lambda a, b, labels: metrics.linear_cka(a, b),
    "linear_cka, unbiased": lambda a, b, labels: metrics.linear_cka(a, b, unbiased=True),
    "mutual_knn, k=10": lambda a, b, labels: metrics.mutual_knn(a, b, 10),
    "cknna, k=10": lambda a, b, labels: metrics.cknna(a, b, 10),
    "bootstrap_interval": lambda a, b, labels: metrics.bootstrap_interval(a[:, 0])[0],
    "linear_probe, 3,000 rows, 8 classes":
        lambda a, b, labels: metrics.linear_probe(a[:2000], labels[:2000] % 8, a[2000:3000], labels[2000:3000] % 8),
}


def features(n, d):
    """Two noisy looks at one hidden array, float32, and labels that the first columns carry."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((n, d), dtype=np.float32)
    a, b = (hidden + rng.standard_normal((n, d), dtype=np.float32) for _ in range(2))
    return a, b, (a[:, :10] > 0) @ (2 ** np.arange(10)) % min(n, 1000)


def one(case, n, d, threads):
    torch.set_num_threads(threads)
    arguments = features(n, d)
    start = time.perf_counter()
    value = CALLS[case](*arguments)
    seconds = time.perf_counter() - start
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    return value, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main():
    n, d, threads = [*map(int, sys.argv[1:]), *(50_000, 128, 1)[len(sys.argv) - 1:]]
    full = n * n * 4 / 2**30
    print(f"n = {n:,}, d = {d}, {threads} thread(s); one n x n matrix of float32 is {full:.1f} GB")
    print(f"{'metric':38}{'time':>10}{'peak memory':>14}  value")
    base = 0.0
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for case in CALLS:
            value, seconds, peak = pool.submit(one, case, n, d, threads).result()
            base = base or peak
            assert n < 20_000 or peak - base < full / 4, f"{case}: {peak:.2f} GB"
            print(f"{case:38}{seconds:8.2f} s{peak:11.2f} GB  {value}", flush=True)


if __name__ == "__main__":
    main()
