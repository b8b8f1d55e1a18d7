"""SOTAlign at the paper's sizes (its app. A.1): seconds per update, hours of a run, peak memory.

python tests/bench/bench_paper.py     full sizes with CUDA; elsewhere divided, so that it ends soon

lib.alignment.align as it is, with float32 features on the device; and with features in half
precision, on the device or in the host's memory, from which the loss draws its own unpaired rows.
Then KLOT at the paper's batch, dense and streamed, against the closed form with 100 plain
iterations, at the loosest tolerance that is no further from the converged gradient.
"""

import copy
import resource
import statistics
import time

import torch
from bench_klot import closed_form, converged, embeddings, gradient_error, ours
from torch import nn

from lib import transport
from lib.alignment import SOTAlign, align
from lib.teachers import procrustes

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DIVISOR = 1 if DEVICE.type == "cuda" else 16
N_PAIRS, N_UNPAIRED, D_X, D_Y, D, BATCH, N_KLOT = (
    n // DIVISOR for n in (10_000, 1_000_000, 2048, 4096, 1024, 32_768, 32_768)
)
STEPS, PAPER_STEPS = 50, 2000
CHUNK = 50_000  # rows drawn at once
SETTINGS = dict(d=D, batch_size=BATCH, max_pairs=N_PAIRS, lr=1e-4, weight_decay=1e-5)


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def start_of_peak():
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak():
    """GiB since `start_of_peak` on a GPU; elsewhere the process's highest so far."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Side:
    """Features of one side: 32 numbers shared with the other side, and twice as much noise."""

    def __init__(self, width, seed):
        self.generator = torch.Generator(DEVICE).manual_seed(seed)
        self.loadings = self.normal(32, width) / 32**0.5

    def normal(self, *shape):
        return torch.randn(shape, generator=self.generator, device=DEVICE)

    def rows(self, shared):
        z = shared @ self.loadings
        return z + 2 * self.normal(*z.shape)

    def many(self, n, like):
        """n rows, drawn chunk by chunk into memory of the type and place of `like`."""
        z = like.new_empty(n, self.loadings.shape[1])
        for chunk in z.split(CHUNK):
            chunk.copy_(self.rows(self.normal(len(chunk), 32)))
        return z


class DrawsItsOwn(nn.Module):
    """A loss whose unpaired rows come from draw(), a function, which no deepcopy copies."""

    def __init__(self, loss, draw):
        super().__init__()
        self.loss, self.draw = loss, draw

    def forward(self, maps, batch):
        x, y = self.draw()
        return self.loss(maps, batch._replace(x=x, y=y))


class Ticking(nn.Module):
    """A loss that calls tick() before each of its values."""

    def __init__(self, loss, tick):
        super().__init__()
        self.loss, self.tick = loss, tick

    def forward(self, maps, batch):
        self.tick()
        return self.loss(maps, batch)


def updates(words, loss, pairs, rest, like):
    """Print what STEPS updates take with unpaired features like `like`: its type and place."""
    start_of_peak()
    unpaired = [side.many(N_UNPAIRED, like) for side in rest]
    times = []

    def tick():
        synchronize()
        times.append(time.perf_counter())

    def draw():
        rows = (torch.randperm(N_UNPAIRED)[: BATCH - N_PAIRS].to(like.device) for _ in unpaired)
        return [z[of].to(DEVICE, torch.float32) for z, of in zip(unpaired, rows)]

    as_it_is = like.dtype == torch.float32 and like.device == DEVICE
    loss = loss if as_it_is else DrawsItsOwn(loss, draw)
    data = (pairs, unpaired) if as_it_is else (pairs,)
    aligned = align(Ticking(loss, tick), *data, steps=STEPS, **SETTINGS)
    spent = [after - before for before, after in zip(times[2:], times[3:])]
    median = statistics.median(spent)
    hours = median * PAPER_STEPS / 3600
    fall = f"{aligned.losses[0]:.3g} to {aligned.losses[-1]:.3g}"
    print(f"{words:36}{median:9.3f}{hours:11.2f}{peak():12.2f}   {fall}", flush=True)


def table_of_updates():
    x, y = Side(D_X, 1), Side(D_Y, 2)
    shared = x.normal(N_PAIRS, 32)
    pairs = x.rows(shared), y.rows(shared)
    start = time.perf_counter()
    teacher = procrustes(*(z.cpu().numpy() for z in pairs), d=D)
    print(f"\nteacher (Procrustes): {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    torch.randperm(N_UNPAIRED)
    print(f"one permutation of {N_UNPAIRED:,}: {time.perf_counter() - start:.4f} s, two an update")
    head = "s/update", f"{PAPER_STEPS} in h", "peak GiB"
    print("\n{:36}{:>9}{:>11}{:>12}   loss".format("unpaired features", *head))
    loss = SOTAlign(teacher, alpha=1e-4)
    places = {
        "float16, in the host's memory": torch.empty(0, dtype=torch.float16),
        "float16, on the device": torch.empty(0, dtype=torch.float16, device=DEVICE),
        "float32, on the device, align as is": torch.empty(0, device=DEVICE),
    }
    for words, like in places.items():
        try:
            updates(words, copy.deepcopy(loss), pairs, (x, y), like)
        except torch.cuda.OutOfMemoryError:
            print(f"{words:36} does not fit this device", flush=True)


def streamed(*z, tolerance):
    """KLOT as where no memory is free."""
    available, on_gpu = transport.psutil.virtual_memory, torch.cuda.mem_get_info
    transport.psutil.virtual_memory = lambda: available()._replace(available=0)
    torch.cuda.mem_get_info = lambda device=None: (0, 0)
    try:
        return ours(*z, tolerance)
    finally:
        transport.psutil.virtual_memory, torch.cuda.mem_get_info = available, on_gpu


def timed(way, z, repeats=2, **settings):
    """(result, median seconds, peak GiB)"""
    times = []
    for _ in range(repeats + 1):
        result = None  # what the last call has made goes first
        start_of_peak()
        synchronize()
        start = time.perf_counter()
        result = way(*z, **settings)
        synchronize()
        times.append(time.perf_counter() - start)
    return result, statistics.median(times[1:]), peak()


def table_of_klot():
    z = [part.to(DEVICE) for part in embeddings(N_KLOT, D)]
    print(f"\nKLOT with its gradient, n = {N_KLOT:,}, d = {D}")
    result, seconds, most = timed(closed_form, z)
    plain = [part.cpu() if isinstance(part, torch.Tensor) else part for part in result]
    del result
    try:
        wanted = [part.cpu() for part in converged(*z)[:3]]
    except torch.cuda.OutOfMemoryError:
        return print("no reference: float64 does not fit this device")
    error = gradient_error(plain, wanted)
    print(f"{'':36}{'seconds':>9}{'x as fast':>11}{'peak GiB':>12}   gradient error")
    print(f"{'closed form, 100 iterations':36}{seconds:9.3f}{1:11.1f}{most:12.2f}   {error:.1e}")
    for tolerance in (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4):
        off = gradient_error([part.cpu() for part in ours(*z, tolerance)[:3]], wanted)
        if off <= error:
            break
    for words, way in (("dense", ours), ("streamed", streamed)):
        _, own, most = timed(way, z, tolerance=tolerance)
        words = f"ours, {words}, tolerance {tolerance:.0e}"
        print(f"{words:36}{own:9.3f}{seconds / own:11.1f}{most:12.2f}   {off:.1e}", flush=True)


if __name__ == "__main__":
    so_far = "" if DEVICE.type == "cuda" else " and is the process's so far"
    divided = "" if DIVISOR == 1 else f", every size divided by {DIVISOR}: NOT the paper's sizes"
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "no CUDA, a CPU"
    print(f"on {name}{divided}")
    print(
        f"{N_PAIRS:,} pairs, {N_UNPAIRED:,} unpaired, widths {D_X:,} and {D_Y:,}, d = {D:,}, batch"
        f" {BATCH:,}, {STEPS} updates; peak memory has the features in it{so_far}"
    )
    table_of_updates()
    table_of_klot()
