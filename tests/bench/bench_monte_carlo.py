"""Monte Carlo of least squares: lib's batched estimate against a plain loop over the same draws.

No time is asserted.
"""

import time

import numpy as np

from lib.linear_gaussian import least_squares, random_design, sample

N_DRAWS = 10_000
REPEATS = 5
CASES = {  # has every draw a design of its own? is the stacked system built before the loop?
    "fixed design, built in every draw": (False, False),
    "fixed design, built once before the loop": (False, True),
    "a random design per draw": (True, False),
}


def stacked_design(x, y, k=None):
    """The system [theta_c, theta_x, theta_y] of draw k, in noise units, sample by sample."""
    parts = (x.shared, x.private, y.shared, y.private)
    if k is not None:
        parts = [part[k] for part in parts]
    rows = []
    for shared, private in zip(parts[0], parts[1], strict=True):
        rows.append(np.hstack([shared, private, np.zeros_like(private)]) / x.sigma)
    for shared, private in zip(parts[2], parts[3], strict=True):
        rows.append(np.hstack([shared, np.zeros_like(private), private]) / y.sigma)
    return np.concatenate(rows)


def plain_loop(designs, observations, per_draw, system=None):
    """One numpy.linalg.lstsq per draw, on a system that is built in every draw unless given."""
    x, y = designs
    estimates = []
    for k in range(N_DRAWS):
        right = [observations[0][k].ravel() / x.sigma, observations[1][k].ravel() / y.sigma]
        left = stacked_design(x, y, k if per_draw else None) if system is None else system
        estimates.append(np.linalg.lstsq(left, np.concatenate(right), rcond=None)[0])
    return np.array(estimates)


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def compare(per_draw, built_once):
    """Median seconds of the loop and of lib, and their largest difference."""
    rng = np.random.default_rng(0)
    n_designs, n_looks = (N_DRAWS, None) if per_draw else (None, N_DRAWS)
    designs = [random_design(rng, 20, 3, 2, 1, sigma, n_designs) for sigma in (0.5, 0.8)]
    observations = [sample(design, [1.0, 0.5], [0.7], rng, n_looks) for design in designs]
    system = stacked_design(*designs) if built_once else None
    least_squares(designs, observations)  # warm up
    slow, fast = [], []
    for _ in range(REPEATS):
        seconds, expected = timed(plain_loop, designs, observations, per_draw, system)
        slow.append(seconds)
        seconds, found = timed(least_squares, designs, observations)
        fast.append(seconds)
    return np.median(slow), np.median(fast), np.abs(found - expected).max()


def main():
    print(f"{N_DRAWS} draws, 20 samples of X and of Y; medians of {REPEATS} interleaved runs")
    print(f"{'case':42}{'loop':>10}{'lib':>10}{'ratio':>8}  largest difference")
    for case, how in CASES.items():
        slow, fast, difference = compare(*how)
        print(f"{case:42}{slow:8.3f} s{fast:8.4f} s{slow / fast:7.0f}x  {difference:.1e}")
        assert difference < 1e-8


if __name__ == "__main__":
    main()
