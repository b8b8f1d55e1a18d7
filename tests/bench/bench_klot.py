"""KLOT, forward and backward to the embeddings: ours, the closed form after 100 plain iterations, POT, geomloss, implicit and unrolled gradients.

Interleaved runs, medians of ratios, the marginal error of both plans and the error of the gradient beside every time. The converged
reference is in float64. `python tests/bench/bench_klot.py quick` leaves out the large sizes.
"""

import math
import statistics
import subprocess
import sys
import time
import warnings

import ot
import torch
from geomloss import SamplesLoss

from lib.transport import cosines, entropic_plan, klot

torch.set_num_threads(2)
STUDENT, TEACHER, REPEATS, MIB = 0.05, 0.01, 5, 2**20
warnings.simplefilter("ignore")


def embeddings(n, d, noise=1.0):
    """Student and teacher embeddings of n items with 32 common dimensions, each side with noise of its own: f, g, a, b (n, d)."""
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw)
    shared, loadings = normal(n, 32), [normal(32, d) / 32**0.5 for _ in range(2)]
    return [shared @ loadings[i // 2] + noise * normal(n, d) for i in range(4)]


def sinkhorn(K, epsilon, iterations=100):
    """The paper's solver as a plain reading of it gives: log domain, a fixed number of iterations, marginals 1/n."""
    logits, u, v, log_n = (
        K / epsilon,
        torch.zeros(len(K), dtype=K.dtype),
        torch.zeros(K.shape[1], dtype=K.dtype),
        math.log(len(K)),
    )
    for _ in range(iterations):
        u = -log_n - torch.logsumexp(logits + v, 1)
        v = -log_n - torch.logsumexp(logits + u[:, None], 0)
    return (logits + u[:, None] + v).exp()


def closed_form(f, g, a, b, solve=sinkhorn):
    """Theorem 5.1 as it stands: two plans, and autograd carries (P - T) / epsilon to the embeddings."""
    f, g = f.detach().requires_grad_(), g.detach().requires_grad_()
    K = cosines(f, g)
    with torch.no_grad():
        P, T = solve(K, STUDENT), solve(cosines(a, b), TEACHER)
        value = (T * (T.log() - P.log())).nan_to_num().sum()
    K.backward((P - T) / STUDENT)
    return (
        value,
        f.grad,
        g.grad,
        [
            float((plan.sum(0) - 1 / len(K)).abs().sum() + (plan.sum(1) - 1 / len(K)).abs().sum())
            for plan in (P, T)
        ],
    )


def pot(K, epsilon):
    n = torch.full((len(K),), 1 / len(K), dtype=K.dtype)
    return ot.sinkhorn(
        n, n, -K, epsilon, numItermax=2000, stopThr=1e-3 / len(K) ** 0.5, warn=False
    )  # its error is an l2 norm


def by_geomloss(f, g, a, b, scaling=0.9):
    """Theorem 5.1 with geomloss's potentials. Unit vectors: cosine = 1 - |x - y|^2 / 2, its cost for p = 2. It takes no tolerance."""

    def plan(x, y, epsilon):
        x, y = (torch.nn.functional.normalize(z) for z in (x.detach(), y.detach()))
        solve = SamplesLoss(
            "sinkhorn",
            p=2,
            blur=epsilon**0.5,
            scaling=scaling,
            debias=False,
            potentials=True,
            backend="tensorized",
        )
        u, v = (potential.reshape(-1) / epsilon for potential in solve(x, y))
        return ((x @ y.T - 1) / epsilon + u[:, None] + v).exp() / (len(x) * len(y))

    plans = iter((plan(f, g, STUDENT), plan(a, b, TEACHER)))
    return closed_form(f, g, a, b, solve=lambda K, epsilon: next(plans))


def ours(f, g, a, b, **options):
    f, g, report = f.detach().requires_grad_(), g.detach().requires_grad_(), {}
    value = klot(f, g, a, b, STUDENT, TEACHER, report=report, **options)
    value.backward()
    return (
        value.detach(),
        f.grad,
        g.grad,
        [report[name]["error"] for name in ("student", "teacher")],
    )


def unrolled(f, g, a, b, implicit=False):
    """Autograd through as many plain iterations as the closed form makes; or implicit differentiation of the marginal equations."""
    f, g = f.detach().requires_grad_(), g.detach().requires_grad_()
    K, T = cosines(f, g), sinkhorn(cosines(a, b), TEACHER).detach()
    P = sinkhorn(K.detach() if implicit else K, STUDENT)
    if implicit:
        # dP = P * (dK / eps + du + dv) with sums of rows and columns held: one linear system for the adjoint potentials
        upstream, n = -T / P, len(P)
        weighted = upstream * P
        system = torch.cat(
            [torch.cat([torch.diag(P.sum(1)), P], 1), torch.cat([P.T, torch.diag(P.sum(0))], 1)]
        )
        x = torch.linalg.solve(
            system + 1e-7 * torch.eye(2 * n), torch.cat([weighted.sum(1), weighted.sum(0)])[:, None]
        )  # one potential is free
        K.backward(P * (upstream - x[:n] - x[n:].T) / STUDENT)
    else:
        (T * (T.log() - P.log())).nan_to_num().sum().backward()
    return None, f.grad, g.grad, None


def converged(f, g, a, b):
    """The gradient in float64, from plans with a marginal error near 1e-7 that plain iterations polish."""

    def plan(K, epsilon):
        v = entropic_plan(K, epsilon, tolerance=2e-6, max_iterations=400).v
        for _ in range(200):
            columns = (K / epsilon + v).softmax(1).mean(0)
            v = v - (columns * len(v)).log()
            if (columns - 1 / len(v)).abs().sum() < 1e-6:
                break
        return (K / epsilon + v).softmax(1) / len(K)

    return closed_form(*(z.double() for z in (f, g, a, b)), solve=plan)


def error(got, wanted):
    """Relative error of the gradient with respect to both embeddings."""
    return float(
        sum((x - y).norm() ** 2 for x, y in zip(got[1:3], wanted[1:3])) ** 0.5
        / sum(y.norm() ** 2 for y in wanted[1:3]) ** 0.5
    )


def seconds(function, *arguments, **options):
    start = time.perf_counter()
    return function(*arguments, **options), time.perf_counter() - start


def speed(n, d, others=()):
    z = embeddings(n, d)
    methods = {
        "100 iterations": closed_form,
        "ours, 1e-3": lambda *z: ours(*z, tolerance=1e-3),
        "ours, 1e-4": lambda *z: ours(*z, tolerance=1e-4),
    } | dict(others)
    wanted = converged(*z)
    print(
        f"\nn = {n}, d = {d}; reference: marginal errors {wanted[3][0]:.0e}, {wanted[3][1]:.0e}",
        flush=True,
    )
    ours(*z)
    times, results = {name: [] for name in methods}, {}
    for _ in range(REPEATS):
        for name, method in methods.items():
            results[name], spent = seconds(method, *z)
            times[name].append(spent)
    for name in methods:
        ratio = statistics.median(
            plain / mine for plain, mine in zip(times["100 iterations"], times[name])
        )
        left = (
            ""
            if results[name][3] is None
            else "marginal errors " + ", ".join(f"{e:.1e}" for e in results[name][3])
        )
        print(
            f"  {name:16} {ratio:6.1f} x as fast ({statistics.median(times[name]):.3f} s)   gradient error {error(results[name], wanted):.1e}   {left}",
            flush=True,
        )
    floor = statistics.median(seconds(products, *z)[1] for _ in range(REPEATS))
    print(
        f"  the four matrix products alone: {statistics.median(times['100 iterations']) / floor:.0f} x",
        flush=True,
    )


def products(f, g, a, b):
    K = torch.mm(f, g.T)
    torch.mm(a, b.T, out=K)
    return K @ g, K.T @ f


def peak(call):
    """Peak memory above what is there before `call`, MiB, in a process of its own (Linux)."""
    code = f"""
import sys; sys.path.insert(0, 'tests/bench')
from bench_klot import *
import gc, resource
z = embeddings(*{call[1]!r}); ours(*embeddings(64, 8)); gc.collect()
open('/proc/self/clear_refs', 'w').write('5')
line = lambda key: int(next(l for l in open('/proc/self/status') if l.startswith(key)).split()[1]) / 1024
before = line('VmRSS'); {call[0]}; print(line('VmHWM') - before)
"""
    return float(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
    )


if __name__ == "__main__":
    quick = "quick" in sys.argv
    print(
        f"student eps {STUDENT}, teacher eps {TEACHER}, {torch.get_num_threads()} threads, medians of {REPEATS} interleaved runs"
    )
    others = {"POT sinkhorn": lambda *z: closed_form(*z, solve=pot), "geomloss": by_geomloss}
    speed(
        1024,
        256,
        others | {"unrolled": unrolled, "implicit": lambda *z: unrolled(*z, implicit=True)},
    )
    speed(2048, 256, others)
    if not quick:
        speed(4096, 64)
        speed(4096, 1024)
    print("\npeak memory above the inputs, MiB")
    for words, call in {
        "unrolled, n = 1024, d = 256": ("unrolled(*z)", (1024, 256)),
        "closed form, n = 1024": ("closed_form(*z)", (1024, 256)),
        "ours, dense, n = 1024": ("ours(*z, mode='dense')", (1024, 256)),
        "ours, stream, n = 1024": ("ours(*z, mode='stream')", (1024, 256)),
    }.items():
        print(f"  {words:34} {peak(call):7.0f}", flush=True)
    if (
        not quick
    ):  # six sweeps per plan, the teacher's last two thinned out: more of them need no more memory
        streamed = peak(("ours(*z, mode='stream', max_iterations=6)", (32768, 1024)))
        print(f"  ours, stream, n = 32768, d = 1024  {streamed:7.0f}")
