"""Monte Carlo of least squares: lib's batched estimate against a plain loop over the same draws. No time is asserted."""
import time

import numpy as np

from lib.linear_gaussian import least_squares, random_design, sample

N_DRAWS, REPEATS = 10_000, 5


def tall(x, y, k=None):
    """The stacked system [theta_c, theta_x, theta_y] of draw k, in noise units, sample by sample."""
    A_c, A_x, B_c, B_y = (part if k is None else part[k] for part in (x.shared, x.private, y.shared, y.private))
    rows = [np.hstack([c, p, np.zeros_like(p)]) / x.sigma for c, p in zip(A_c, A_x)]
    rows += [np.hstack([c, np.zeros_like(p), p]) / y.sigma for c, p in zip(B_c, B_y)]
    return np.concatenate(rows)


def plain(designs, observations, per_draw, stacked=None):
    """One numpy.linalg.lstsq per draw; the system is built in every draw, unless it is given ready `stacked`."""
    x, y = designs
    estimates = []
    for k in range(N_DRAWS):
        right = np.concatenate([observations[0][k].ravel() / x.sigma, observations[1][k].ravel() / y.sigma])
        system = tall(x, y, k if per_draw else None) if stacked is None else stacked
        estimates.append(np.linalg.lstsq(system, right, rcond=None)[0])
    return np.array(estimates)


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def main():
    print(f"{N_DRAWS} draws, 20 samples of X and of Y; medians of {REPEATS} interleaved runs")
    print(f"{'case':42}{'loop':>10}{'lib':>10}{'ratio':>8}  largest difference")
    for case, per_draw, ready in [("fixed design, built in every draw", False, False), ("fixed design, built once before the loop", False, True),
                                  ("a random design per draw", True, False)]:
        rng = np.random.default_rng(0)
        designs = [random_design(rng, 20, 3, 2, 1, s, N_DRAWS if per_draw else None) for s in (0.5, 0.8)]
        observations = [sample(d, [1.0, 0.5], [0.7], rng, None if per_draw else N_DRAWS) for d in designs]
        stacked = tall(*designs) if ready else None
        least_squares(designs, observations)                                  # warm up
        slow, fast = [], []
        for _ in range(REPEATS):
            seconds, theirs = timed(plain, designs, observations, per_draw, stacked)
            slow.append(seconds)
            seconds, ours = timed(least_squares, designs, observations)
            fast.append(seconds)
        difference = np.abs(ours - theirs).max()
        assert difference < 1e-8, difference
        slow, fast = np.median(slow), np.median(fast)
        print(f"{case:42}{slow:8.3f} s{fast:8.4f} s{slow / fast:7.0f}x  {difference:.1e}")


if __name__ == "__main__":
    main()
