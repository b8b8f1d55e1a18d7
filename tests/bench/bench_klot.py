"""KLOT, forward and backward to the embeddings: ours against six other ways to the same gradient.

python tests/bench/bench_klot.py [quick]      quick leaves out the large sizes

The paper's closed form with 100 plain iterations is the yardstick: medians of the ratios of its
time to another's, both from one interleaved round. Beside every time stands how far off its plans
and its gradient are; the reference is in float64, from plans that plain iterations polish.
"""

import math
import statistics
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import ot
import torch
from geomloss import SamplesLoss

from lib import transport
from lib.losses import cosines

STUDENT, TEACHER = 0.05, 0.01
REPEATS = 5


def embeddings(n, d):
    """f, g, a, b (n, d) of n items: 32 common dimensions, and noise of each side's own."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    shared = draw(n, 32)
    loadings = [draw(32, d) / 32**0.5 for _ in range(2)]
    return [shared @ loadings[i // 2] + draw(n, d) for i in range(4)]


# Each way gives (value or None, gradient for f, gradient for g, marginal errors or None)


def sinkhorn(K, epsilon, iterations=100):
    """The paper's solver, read plainly: log domain, a fixed number of iterations, marginals 1/n."""
    logits = K / epsilon
    log_n = math.log(len(K))
    v = torch.zeros_like(K[0])
    for _ in range(iterations):
        u = -log_n - torch.logsumexp(logits + v, 1)
        v = -log_n - torch.logsumexp(logits + u[:, None], 0)
    return (logits + u[:, None] + v).exp()


def leaves(f, g):
    return f.detach().requires_grad_(), g.detach().requires_grad_()


def closed_form(f, g, a, b, solve=sinkhorn):
    """Theorem 5.1 as it stands: two plans, and autograd carries (P - T) / epsilon on."""
    f, g = leaves(f, g)
    K = cosines(f, g)
    with torch.no_grad():
        P = solve(K, STUDENT)
        T = solve(cosines(a, b), TEACHER)
        value = (T * (T.log() - P.log())).nan_to_num().sum()
    K.backward((P - T) / STUDENT)
    return value, f.grad, g.grad, [marginal_error(P), marginal_error(T)]


def marginal_error(plan):
    """That of rows and of columns together, each as `entropic_plan` measures it."""
    off = [(len(plan) * plan.sum(axis) - 1).square().mean() for axis in (0, 1)]
    return float(sum(off)) ** 0.5


def by_pot(f, g, a, b):
    def solve(K, epsilon):
        share = torch.full_like(K[0], 1 / len(K))
        stop = 1e-3 / len(K) ** 0.5  # its error is an l2 norm
        limits = {"numItermax": 2000, "stopThr": stop, "warn": False}
        return ot.sinkhorn(share, share, -K, epsilon, **limits)

    return closed_form(f, g, a, b, solve)


def by_geomloss(f, g, a, b):
    """For unit vectors the cosine is 1 - |x - y|^2 / 2, its cost for p = 2. It has no tolerance."""

    def plan(x, y, epsilon):
        x, y = (torch.nn.functional.normalize(z.detach()) for z in (x, y))
        solve = SamplesLoss(
            "sinkhorn",
            p=2,
            blur=epsilon**0.5,
            scaling=0.9,
            debias=False,
            potentials=True,
            backend="tensorized",
        )
        u, v = (potential.reshape(-1) / epsilon for potential in solve(x, y))
        return ((x @ y.T - 1) / epsilon + u[:, None] + v).exp() / (len(x) * len(y))

    plans = iter((plan(f, g, STUDENT), plan(a, b, TEACHER)))
    return closed_form(f, g, a, b, lambda K, epsilon: next(plans))


def unrolled(f, g, a, b):
    """Autograd through the plain iterations."""
    f, g = leaves(f, g)
    T = sinkhorn(cosines(a, b), TEACHER)
    P = sinkhorn(cosines(f, g), STUDENT)
    value = (T * (T.log() - P.log())).nan_to_num().sum()
    value.backward()
    return value.detach(), f.grad, g.grad, None


def implicit(f, g, a, b):
    """Implicit differentiation of the marginal equations.

    dP = P * (dK / eps + du + dv) with the sums of rows and columns held: one linear system for the
    adjoint potentials.
    """
    f, g = leaves(f, g)
    K = cosines(f, g)
    P = sinkhorn(K.detach(), STUDENT)
    T = sinkhorn(cosines(a, b), TEACHER)
    n = len(P)
    upstream = -T / P
    upper = torch.cat([torch.diag(P.sum(1)), P], 1)
    lower = torch.cat([P.T, torch.diag(P.sum(0))], 1)
    system = torch.cat([upper, lower]) + 1e-7 * torch.eye(2 * n)  # one potential is free
    sums = torch.cat([(upstream * P).sum(1), (upstream * P).sum(0)])
    adjoint = torch.linalg.solve(system, sums[:, None])
    K.backward(P * (upstream - adjoint[:n] - adjoint[n:].T) / STUDENT)
    return None, f.grad, g.grad, None


def ours(f, g, a, b, tolerance=1e-3):
    f, g = leaves(f, g)
    value = transport.klot(f, g, a, b, STUDENT, TEACHER, tolerance=tolerance)
    value.backward()
    return value.detach(), f.grad, g.grad, None


def ours_streamed(f, g, a, b, tolerance=1e-3):
    available = transport.psutil.virtual_memory
    transport.psutil.virtual_memory = lambda: available()._replace(available=0)
    try:
        return ours(f, g, a, b, tolerance)
    finally:
        transport.psutil.virtual_memory = available


def ours_loosely_streamed(f, g, a, b):
    """A few sweeps per plan: more of them need no more memory."""
    return ours_streamed(f, g, a, b, tolerance=0.3)


def products(f, g, a, b):
    """The four matrix products that no way does without."""
    K = torch.mm(f, g.T)
    torch.mm(a, b.T, out=K)
    return None, K @ g, K.T @ f, None


def converged(f, g, a, b):
    """The closed form in float64, of plans with a marginal error near 1e-7."""

    def solve(K, epsilon):
        v = transport.entropic_plan(K, epsilon, tolerance=2e-6, max_iterations=400).v
        for _ in range(200):
            relative = len(v) * (K / epsilon + v).softmax(1).mean(0)
            v = v - relative.log()
            if (relative - 1).abs().mean() < 1e-6:
                break
        return (K / epsilon + v).softmax(1) / len(K)

    return closed_form(*(z.double() for z in (f, g, a, b)), solve)


# Measuring


def gradient_error(got, wanted):
    """Relative error of the gradient for both embeddings."""
    off = sum((x - y).square().sum() for x, y in zip(got[1:3], wanted[1:3], strict=True))
    return float(off / sum(y.square().sum() for y in wanted[1:3])) ** 0.5


def seconds(way, z):
    start = time.perf_counter()
    result = way(*z)
    return result, time.perf_counter() - start


def speed(n, d, others=()):
    z = embeddings(n, d)
    ways = {"100 iterations": closed_form}
    for tolerance in (1e-3, 1e-4):
        ways[f"ours, {tolerance:.0e}"] = partial(ours, tolerance=tolerance)
    ways |= dict(others)
    wanted = converged(*z)
    print(f"\nn = {n}, d = {d}; reference: marginal errors {words(wanted[3])}", flush=True)
    ours(*z)
    times = {name: [] for name in ways}
    results = {}
    for _ in range(REPEATS):
        for name, way in ways.items():
            results[name], spent = seconds(way, z)
            times[name].append(spent)
    for name, way in ways.items():
        ratio = statistics.median(map(float.__truediv__, times["100 iterations"], times[name]))
        line = f"  {name:15}{ratio:6.1f} x as fast ({statistics.median(times[name]):.3f} s)"
        line += f"   gradient error {gradient_error(results[name], wanted):.1e}"
        errors = results[name][3]
        if isinstance(way, partial):  # those of the plans that klot has made
            sides = ((cosines(*z[:2]), STUDENT), (cosines(*z[2:]), TEACHER))
            errors = [transport.entropic_plan(*side, **way.keywords).error for side in sides]
        if errors is not None:
            line += f"   marginal errors {words(errors)}"
        print(line, flush=True)
    floor = statistics.median(seconds(products, z)[1] for _ in range(REPEATS))
    bound = statistics.median(times["100 iterations"]) / floor
    print(f"  the four matrix products alone: {bound:.0f} x", flush=True)


def words(errors):
    return ", ".join(f"{error:.1e}" for error in errors)


def memory(key):
    """A line of this process's status, in MiB (Linux)."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def measure_peak(way, n, d):
    """Peak memory above what is there before the call, MiB."""
    torch.set_num_threads(2)
    z = embeddings(n, d)
    way(*embeddings(64, 8))
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = memory("VmRSS")
    way(*z)
    return memory("VmHWM") - before


def peak(words, way, n, d):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        mib = process.submit(measure_peak, way, n, d).result()
    print(f"  {words}, n = {n}, d = {d}:{mib:6.0f}", flush=True)


if __name__ == "__main__":
    quick = "quick" in sys.argv
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    print(f"student eps {STUDENT}, teacher eps {TEACHER}, {torch.get_num_threads()} threads")
    others = {"POT sinkhorn": by_pot, "geomloss": by_geomloss}
    speed(1024, 256, others | {"unrolled": unrolled, "implicit": implicit})
    speed(2048, 256, others)
    if not quick:
        speed(4096, 64)
        speed(4096, 1024)
    print("\npeak memory above the inputs, MiB")
    peak("unrolled", unrolled, 1024, 256)
    peak("100 iterations", closed_form, 1024, 256)
    peak("ours", ours, 1024, 256)
    peak("ours, streamed", ours_streamed, 1024, 256)
    if not quick:
        peak("ours, streamed", ours_loosely_streamed, 32768, 1024)
