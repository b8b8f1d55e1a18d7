"""Monte Carlo of least squares: lib's batched estimate against a plain loop over the same draws. No time is asserted."""
import time

import numpy as np

from lib.linear_gaussian import least_squares, random_design, sample

N_DRAWS, REPEATS = 10_000, 7


def plain(designs, observations, per_draw):
    """One stacked system and one numpy.linalg.lstsq per draw."""
    x, y = designs
    estimates = []
    for k in range(N_DRAWS):
        A_c, A_x, B_c, B_y = (part[k] if per_draw else part for part in (x.shared, x.private, y.shared, y.private))
        rows = [np.hstack([c, p, np.zeros_like(p)]) / x.sigma for c, p in zip(A_c, A_x)]
        rows += [np.hstack([c, np.zeros_like(p), p]) / y.sigma for c, p in zip(B_c, B_y)]
        right = np.concatenate([observations[0][k].ravel() / x.sigma, observations[1][k].ravel() / y.sigma])
        estimates.append(np.linalg.lstsq(np.concatenate(rows), right, rcond=None)[0])
    return np.array(estimates)


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def main():
    print(f"{N_DRAWS} draws, 20 samples of X and of Y; medians of {REPEATS} interleaved runs (3 of the loop)")
    for per_draw in (False, True):
        rng = np.random.default_rng(0)
        designs = [random_design(rng, 20, 3, 2, 1, s, N_DRAWS if per_draw else None) for s in (0.5, 0.8)]
        observations = [sample(d, [1.0, 0.5], [0.7], rng, None if per_draw else N_DRAWS) for d in designs]
        fast, slow = [], []
        for repeat in range(REPEATS):
            seconds, ours = timed(least_squares, designs, observations)
            fast.append(seconds)
            if repeat < 3:
                seconds, theirs = timed(plain, designs, observations, per_draw)
                slow.append(seconds)
        difference = np.abs(ours - theirs).max()
        assert difference < 1e-8, difference
        print(f"{'a design per draw' if per_draw else 'one fixed design':18} loop {np.median(slow):7.3f} s   lib {np.median(fast):7.4f} s   "
              f"ratio {np.median(slow) / np.median(fast):6.0f}x   largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
