"""Optimal transport as a soft matching: entropic plans, and KLOT with its gradient in closed form (SOTAlign section 5).

    OT_eps(K) = argmin over P >= 0 with row sums a and column sums b of  -<P, K> + eps <P, log P>
    KLOT      = KL(OT_eps*(K*) || OT_eps(K)), teacher K*, student K                                      (eq. 12)
    grad_K    = (OT_eps(K) - OT_eps*(K*)) / eps, with the STUDENT's eps                                  (eq. 28; eq. 13 prints eps*)

A plan is a row softmax with one bias per column, P = a * softmax(K / eps + v). Rows are then exact, only v (m numbers) is unknown, and
v += log b - log(column sums) is Sinkhorn's iteration. Anderson acceleration makes it short. It stops on the marginal error
sqrt(sum over columns of (column sum - b)^2 / b), for a plan of mass 1: where b is uniform the root mean square of the columns' relative
errors, and never less than sum |column sum - b|.

Where memory allows (`dense`), exp(K / eps + v0 - row maximum) is kept and an iteration is two products with a vector. Else (`stream`) each
block of rows is made again from the embeddings whenever it is needed, and no n x m matrix ever exists. Where epsilon is small, most of a
plan is next to nothing: after a few iterations the others are made with what is left (truncated kernels, Schmitzer 2019, arXiv 1610.06519).
The whole plan is judged in the end.
"""
import functools
import math
import threading
import warnings
from typing import NamedTuple

import numpy as np
import psutil
import torch
from scipy.sparse import csr_array

from lib.require import positive, refuse, whole

MEMORY = 10           # earlier iterates that Anderson acceleration looks at
FAR = 30.0            # how far v may move from the v0 in the kept exponentials: e^30 is harmless in float32
BYTES_IN_CACHE = 2**22   # of a block of rows in a dense iteration
BYTES_IN_MEMORY = 2**24  # of a block of rows where it is made anew, or multiplied with embeddings
THIN_AFTER, THIN_UNTIL = 4, 300  # sweeps between which a plan is thinned out,
THIN_FROM = 2**22     # if it has this many entries or more,
THIN = 1 / 16         # and at most this share of each block counts; a quarter of it in a stream, which has to save memory
BYTES_TO_REUSE = 2**27   # of a matrix whose memory a thread keeps from one klot to the next


class Plan(NamedTuple):
    """A plan (n, m), its column potential v (m,), the number of sweeps, and the marginal error that is left (for mass 1)."""

    plan: torch.Tensor
    v: torch.Tensor
    iterations: int
    error: float


def entropic_plan(K, epsilon, *, row=None, column=None, mass="one", tolerance=1e-3, max_iterations=1000):
    """OT_epsilon(K) of an affinity matrix K (n, m), as a Plan; no gradient flows through it.

    row, column  marginals (n,), (m,), positive, scaled to sum 1; left out, uniform
    mass         'one': the plan sums to 1 (the authors' code); 'rows': to n, so that with a uniform row marginal every row sums to 1
                 (the paper: bistochastic where n = m)
    tolerance    marginal error at which to stop, for mass 1; below 1e-5 use float64
    Warns when max_iterations sweeps do not reach it. Raises ValueError for input that is not finite, and for K / epsilon out of range.
    """
    K = _matrix("K", K)
    with torch.no_grad(), torch.autocast(K.device.type, enabled=False):
        kernel = _Kernel(_Affinity(K.detach(), None, positive("epsilon", epsilon)), *_marginals(K, *K.shape, row, column), dense=True)
        v, _, iterations, error = _solve(kernel, "K", *_limits(tolerance, max_iterations))
        return Plan(kernel.plan(slice(None)) * _mass(mass, len(K)), v, iterations, error)


def klot(f, g, a, b, epsilon=0.05, epsilon_teacher=0.01, *, row=None, column=None, mass="one", tolerance=1e-3, max_iterations=1000,
         mode=None, report=None):
    """KLOT between the cosine affinities of student embeddings f (n, d), g (m, d) and teacher embeddings a (n, k), b (m, k): a number.

    Its gradient with respect to f and g is worked out in the forward pass, in closed form; the teacher is a constant. `mass`, `row`,
    `column` as in `entropic_plan`: 'rows' multiplies loss and gradient by n, and so what a given alpha means.

    mode    'dense' keeps two n x m matrices; 'stream' only blocks of rows, and allows one backward pass per value; left out, dense where the
            two fill less than half of the free memory
    report  a dict that receives mode, and iterations and marginal error of both plans
    Warns when a plan does not reach the tolerance. Raises ValueError for shapes that do not fit, rows of length 0, and what is not finite.
    """
    f, g, a, b = (_matrix(name, z) for name, z in zip("fgab", (f, g, a, b)))
    lengths = [_lengths(name, z) for name, z in zip("fgab", (f, g, a, b))]
    for name, z, like_name, like in (("g", g, "f", f), ("b", b, "a", a)):
        if z.shape[1] != like.shape[1]:
            refuse(name, f"shape {tuple(z.shape)}", f"rows of {like.shape[1]} numbers, as in {like_name}")
    for name, z, like_name, like in (("a", a, "f", f), ("b", b, "g", g)):
        if len(z) != len(like) or (z.dtype, z.device) != (f.dtype, f.device):
            refuse(name, f"{len(z)} rows, {z.dtype} on {z.device}", f"{len(like)} rows as in {like_name}, {f.dtype} on {f.device}")
    if (g.dtype, g.device) != (f.dtype, f.device):
        refuse("g", f"{g.dtype} on {g.device}", f"{f.dtype} on {f.device}, as f")
    epsilons = positive("epsilon", epsilon), positive("epsilon_teacher", epsilon_teacher)
    dense = _is_dense(mode, f, len(g))
    solver = dict(marginals=_marginals(f, len(f), len(g), row, column), dense=dense, limits=_limits(tolerance, max_iterations), report=report)
    return _mass(mass, len(f)) * _Klot.apply(f, g, a, b, lengths, epsilons, solver)


def klot_of_affinities(K, K_teacher, epsilon=0.05, epsilon_teacher=0.01, *, row=None, column=None, mass="one", tolerance=1e-3,
                       max_iterations=1000, report=None):
    """KLOT of given affinities K (n, m), K_teacher (n, m), differentiable in K; arguments as in `klot`. To teach and to check."""
    K, K_teacher = _matrix("K", K), _matrix("K_teacher", K_teacher)
    if K_teacher.shape != K.shape or (K_teacher.dtype, K_teacher.device) != (K.dtype, K.device):
        refuse("K_teacher", f"shape {tuple(K_teacher.shape)}, {K_teacher.dtype} on {K_teacher.device}", f"{tuple(K.shape)}, {K.dtype} on {K.device}")
    epsilons = positive("epsilon", epsilon), positive("epsilon_teacher", epsilon_teacher)
    solver = dict(marginals=_marginals(K, *K.shape, row, column), dense=True, limits=_limits(tolerance, max_iterations), report=report)
    return _mass(mass, len(K)) * _Klot.apply(K, None, K_teacher, None, [None] * 4, epsilons, solver)


def infonce(f, g, a, b, epsilon=0.05, epsilon_teacher=0.01):
    """Generalised InfoNCE: KL(softmax_eps*(K*) || softmax_eps(K)), the mean over rows and over columns (SOTAlign eq. 10; both directions as in CLIP).

    Shapes as in `klot`. Where the teacher says the identity this is InfoNCE. Needs the n x m matrices.
    """
    f, g, a, b = (_unit(name, z) for name, z in zip("fgab", (f, g, a, b)))
    K, K_teacher = f @ g.T / positive("epsilon", epsilon), (a @ b.T).detach() / positive("epsilon_teacher", epsilon_teacher)
    kl = lambda dim: (K_teacher.softmax(dim) * (K_teacher.log_softmax(dim) - K.log_softmax(dim))).sum(dim).mean()
    return (kl(1) + kl(0)) / 2


def cka(f, g, a, b):
    """1 - CKA of the cosine affinities of f (n, d), g (m, d) and of a (n, k), b (m, k), in linear time (SOTAlign eq. 9, prop. C.6).

    1 where the rows of one side all point the same way.
    """
    f, g, a, b = (z - z.mean(0) for z in (_unit(name, z) for name, z in zip("fgab", (f, g, a, b))))
    inner = lambda x, y, u, w: ((x.T @ u) * (y.T @ w)).sum()  # <x y', u w'>, without either matrix
    return 1 - inner(f, g, a, b) / (inner(f, g, f, g) * inner(a, b, a, b)).clamp_min(torch.finfo(f.dtype).tiny).sqrt()


def cosines(x, y):
    """Cosine affinities (n, m) of the rows of x (n, d) and y (m, d)."""
    return _unit("x", x) @ _unit("y", y).T


# KLOT -------------------------------------------------------------------------------------------------------------------------

class _Klot(torch.autograd.Function):
    """KL between the plans, for mass 1; student (x, y) and teacher (a, b) are embeddings, or (K, None)."""

    @staticmethod
    def forward(ctx, x, *arguments):
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 products would leave other plans than those whose error is reported
            return _Klot.in_full_precision(ctx, x, *arguments)

    @staticmethod
    def in_full_precision(ctx, x, y, a, b, lengths, epsilons, solver):
        student, teacher = _Affinity(x, y, epsilons[0], *lengths[:2]), _Affinity(a, b, epsilons[1], *lengths[2:])
        report = {} if solver["report"] is None else solver["report"]
        report["mode"] = "dense" if solver["dense"] else "stream"
        kernels, solved = [], []
        for name, affinity in (("student", student), ("teacher", teacher)):
            kernels.append(_Kernel(affinity, *solver["marginals"], solver["dense"], functools.partial(_WORKSPACE.take, name)))
            solved.append(_solve(kernels[-1], name, *solver["limits"]))
            report[name] = dict(iterations=solved[-1][2], error=solved[-1][3])
        (v, columns, *_), (_, columns_teacher, *_) = solved
        wanted = any(ctx.needs_input_grad[:2])
        entropies, inner, gradient = 0.0, 0.0, student.gradient() if wanted else None
        room = _WORKSPACE.take("room", x, _blocks(len(x), student.m, x, min(BYTES_IN_CACHE, BYTES_IN_MEMORY) // 4)[0].stop, student.m)
        for rows in _blocks(len(x), student.m, x, BYTES_IN_MEMORY):
            plan, target = kernels[0].plan(rows), kernels[1].plan(rows)
            entropies += _negative_entropy(target, room) - _negative_entropy(plan, room)
            inner += student.accumulate(gradient, rows, plan.sub_(target))
        # KL = <T, log T> - <T, log P> and log P = K / eps + u + v, where u meets equal row sums and drops out of <P - T, log P>
        ctx.gradients, ctx.kept = student.finish(gradient) if wanted else None, solver["dense"]
        return x.new_tensor(entropies + inner / epsilons[0] + ((columns - columns_teacher) * v).sum().item())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        if ctx.gradients is None:
            raise RuntimeError("klot: a second backward pass through a streamed value; its gradient was given away: call klot again")
        times = torch.mul if ctx.kept else torch.Tensor.mul_
        gradients, ctx.gradients = ctx.gradients, ctx.gradients if ctx.kept else None  # streamed: given away, no second copy is needed
        return (*(times(z, upstream) if needed else None for z, needed in zip(gradients, ctx.needs_input_grad)), *[None] * 5)


class _Affinity:
    """K (n, m) / epsilon in blocks of rows, and what a gradient with respect to K means for K, or for the embeddings x, y behind its cosines."""

    def __init__(self, x, y, epsilon, length_x=None, length_y=None):
        self.x, self.y, self.epsilon, self.m = x, y, epsilon, x.shape[1] if y is None else len(y)
        if y is not None:
            self.of_x, self.of_y = 1 / length_x, 1 / length_y

    def logits(self, rows, v, out):
        """K[rows] / epsilon + v (m,), in `out`."""
        if self.y is None:
            return torch.add(v, self.x[rows], alpha=1 / self.epsilon, out=out)
        K = torch.mm(self.x[rows] * (self.of_x[rows, None] / self.epsilon), self.y.T, out=out)
        return torch.addcmul(v, K, self.of_y, out=K)

    def gradient(self):
        """Room for the gradient."""
        return [torch.empty_like(self.x), None if self.y is None else torch.zeros_like(self.y)]

    def accumulate(self, gradient, rows, G):
        """Add what the gradient G of rows of K contributes (G is overwritten); returns <G, K>."""
        if self.y is None:
            if gradient:
                gradient[0][rows] = G / self.epsilon
            return _sum(G * self.x[rows])
        x = self.x[rows] * self.of_x[rows, None]
        if gradient:
            gradient[1].addmm_(G.T, x)
        ahead = torch.mm(G.mul_(self.of_y), self.y, out=gradient[0][rows] if gradient else None)  # G y / |y|
        along = (ahead * x).sum(1, keepdim=True)
        if gradient:
            ahead.addcmul_(x, along, value=-1).mul_(self.of_x[rows, None] / self.epsilon)  # across x only: its length does not count
        return _sum(along)

    def finish(self, gradient):
        if self.y is not None:
            for rows in _blocks(len(self.y), self.y.shape[1], self.y, BYTES_IN_CACHE):
                y, ahead = self.y[rows] * self.of_y[rows, None], gradient[1][rows]
                ahead.addcmul_(y, (ahead * y).sum(1, keepdim=True), value=-1).mul_(self.of_y[rows, None] / self.epsilon)
        return gradient


# Plans ------------------------------------------------------------------------------------------------------------------------

class _Workspace(threading.local):
    """Memory that a thread takes again in its next klot, on a CPU: the first touch of a fresh page costs more than a sweep over an old one."""

    def __init__(self):
        self.held = {}

    def take(self, name, like, n, m):
        """An empty tensor (n, m) of the type of `like`, until the next call with this name."""
        if like.device.type != "cpu" or n * m * like.element_size() > BYTES_TO_REUSE:
            return like.new_empty(n, m)
        held = self.held.get((name, like.dtype))
        if held is None or len(held) < n * m:
            with torch.inference_mode(False):
                held = self.held[name, like.dtype] = torch.empty(n * m, dtype=like.dtype)
        return held[:n * m].view(n, m)


_WORKSPACE = _Workspace()


class _Kernel:
    """exp(K / epsilon + v0 - row maximum), kept where `dense`, else one block of rows at a time; and the plan that belongs to a potential v."""

    def __init__(self, affinity, row, column, dense, memory=torch.Tensor.new_empty):
        self.affinity, self.row, self.column, self.dense, self.v = affinity, row, column, dense, None
        self.thinned, self.thinnable = None, len(row) * len(column) >= THIN_FROM and affinity.x.device.type == "cpu"
        self.shape, self.like = (len(row), len(column)), affinity.x
        rows = len(row) if dense else _blocks(*self.shape, self.like, BYTES_IN_MEMORY)[0].stop
        self.kept = memory(self.like, rows, len(column))  # all blocks of a stream are made in the same memory

    def start(self):
        """v0 for which the greatest entry of every column is 1: no column starts underflowed."""
        top, zero = torch.full_like(self.column, -torch.inf), torch.zeros_like(self.like[0, 0])
        for rows in _blocks(*self.shape, self.like, BYTES_IN_CACHE if self.dense else BYTES_IN_MEMORY):
            block = self.affinity.logits(rows, zero.expand(self.shape[1]), self._room(rows))
            top = torch.maximum(top, block.amax(0).to(top.dtype))
            if not torch.isfinite(block.sum()) and not torch.isfinite(block).all():
                refuse("epsilon", self.affinity.epsilon, "a number that K can be divided by without overflow")
        if self.dense:
            self._keep(-top, fresh=True)
        return -top

    def sweep(self, v):
        """Column sums (m,) of the plan of v, whose rows are exact; `dual` is then <b, v> - <a, log sum exp(K / epsilon + v)>, up to a constant."""
        if self.thinned is not None and np.ptp((v - self.thinned_at).numpy()) < self.thin_far:
            return self._thin_sweep(v)
        self.thinned = None
        self.v, columns = v, torch.zeros_like(self.column)
        if self.dense and (v - self.v0).abs().max() > FAR:
            self._keep(v)
        self.w = (v - self.v0).exp().to(self.like.dtype) if self.dense else None
        self.scale, row = torch.empty_like(self.row, dtype=self.like.dtype), self.row.to(self.like.dtype)
        if not self.dense:
            self.top = 0
        for rows in _blocks(*self.shape, self.like, BYTES_IN_CACHE if self.dense else BYTES_IN_MEMORY):
            block = self._exponentials(rows)
            torch.div(row[rows], block @ self.w if self.dense else block.sum(1), out=self.scale[rows])
            columns += self.scale[rows] @ block
        self.dual = (self.column @ v + self.row @ self.scale.log().to(self.row.dtype) - self.top).item()
        return columns * self.w if self.dense else columns

    def thin(self, share):
        """From now on sweep over the entries P_ij > share * a_i b_j of the last plan: no row or column loses more than this share of its mass."""
        (n, m), parts, top = self.shape, [], self.top
        weight = ((self.w if self.dense else 1) / self.column).to(self.like.dtype)
        for rows in _blocks(n, m, self.like, BYTES_IN_CACHE if self.dense else BYTES_IN_MEMORY):
            block = torch.mul(self._exponentials(rows), weight, out=_WORKSPACE.take("thin", self.like, rows.stop - rows.start, m))
            self.top = top  # a stream has counted this block's maxima again
            counts = block > (share * self.row[rows] / self.scale[rows]).to(block.dtype)[:, None]
            if counts.count_nonzero() > (THIN if self.dense else THIN / 4) * counts.numel():
                self.thinnable = False
                return
            i, j = counts.nonzero(as_tuple=True)
            parts.append((i.bincount(minlength=len(block)), j.int(), block[i, j] / weight[j] * (self.w[j] if self.dense else 1)))
        in_row, j, values = (torch.cat(part).numpy() for part in zip(*parts))
        self.thinned, self.thinned_at = csr_array((values, j, np.append(0, in_row.cumsum()).astype(np.int32)), (n, m)), self.v
        self.thin_far = -math.log(share)  # further off, an entry that was left out may weigh as much as its fair share

    def _thin_sweep(self, v):
        w = (v - self.thinned_at).exp().to(self.like.dtype).numpy()
        scale = self.row.to(self.like.dtype).numpy() / (self.thinned @ w)
        self.dual = (self.column @ v + self.row @ torch.from_numpy(np.log(scale)).to(self.row.dtype) - self.top).item()
        return torch.from_numpy(self.thinned.T @ scale * w).to(self.column.dtype)

    def plan(self, rows):
        """Rows of the plan of the last sweep's v; in the memory of the kept exponentials, which are lost."""
        block = self._exponentials(rows).mul_(self.scale[rows, None])
        return block.mul_(self.w) if self.dense else block

    def _exponentials(self, rows):
        return self.kept[rows] if self.dense else self._exp(self.affinity.logits(rows, self.v.to(self.like.dtype), self._room(rows)), rows)

    def _room(self, rows):
        return self.kept[rows] if self.dense else self.kept[:rows.stop - rows.start]

    def _keep(self, v0, fresh=False):
        self.v0, self.top, v = v0, 0, v0.to(self.like.dtype)
        for rows in _blocks(*self.shape, self.like, BYTES_IN_CACHE if fresh else BYTES_IN_MEMORY):
            self._exp(self.kept[rows].add_(v) if fresh else self.affinity.logits(rows, v, self.kept[rows]), rows)

    def _exp(self, block, rows):
        top = block.amax(1, keepdim=True)
        self.top = self.top + self.row[rows] @ top[:, 0].to(self.row.dtype)
        return block.sub_(top).exp_()


def _solve(kernel, name, tolerance, max_iterations):
    """(v, its column sums, sweeps, marginal error): Sinkhorn's iteration on v with Anderson acceleration (type II).

    An accelerated step that neither lowers the error nor raises the dual objective is taken back: a plain one is made in its place.
    """
    chi = lambda columns: ((columns - kernel.column) ** 2 / kernel.column).sum().sqrt().item()
    tiny, v, plain = torch.finfo(kernel.like.dtype).tiny, kernel.start(), True
    steps, residuals, errors, best, before = [], [], [], (math.inf, None), (math.inf, -math.inf)
    for iteration in range(1, max_iterations + 1):
        if iteration in (THIN_UNTIL, max_iterations):  # almost an assignment: what was left out may be needed; the last word is the whole plan's
            kernel.thinned, kernel.thinnable = None, False
        columns = kernel.sweep(v)
        if kernel.thinned is not None and chi(columns) <= 0.9 * tolerance:
            kernel.thinned = None
            columns = kernel.sweep(v)
        errors.append(chi(columns))
        if kernel.thinned is None:
            best = min(best, (errors[-1], v), key=lambda pair: pair[0])
            if errors[-1] <= tolerance:
                break
            far = iteration >= THIN_AFTER and errors[-1] * (errors[-1] / errors[-3]) ** 4 > tolerance  # for at least 8 more sweeps
            if far and kernel.thinnable and (columns > 0.02 * kernel.column).all():
                kernel.thin(min(0.01 * tolerance, 1e-5))
        if plain or errors[-1] < before[0] or kernel.dual > before[1]:
            before = errors[-1], kernel.dual
            residual = kernel.column.log() - columns.clamp_min(tiny).log()
            steps, residuals = [*steps[-MEMORY:], v + residual], [*residuals[-MEMORY:], residual]
            plain, v = len(steps) == 1, _anderson(steps, residuals)
        else:
            plain, v, steps, residuals = True, steps[-1], [], []
    error = best[0]
    if error > tolerance:
        columns = kernel.sweep(best[1])
        warnings.warn(f"{name}: marginal error {error:.1e} after {iteration} sweeps, tolerance {tolerance:.1e}; raise epsilon, "
                      "max_iterations or the tolerance, or use float64", stacklevel=4)
    return kernel.v, columns, iteration, error


def _anderson(steps, residuals):
    """The combination of the last steps whose residual, were it linear, would be least."""
    if len(steps) < 2:
        return steps[-1]
    changes, moves = (torch.stack(z).diff(dim=0) for z in (residuals, steps))
    gram = changes @ changes.T
    gram.diagonal().add_(1e-10 * gram.diagonal().max() + torch.finfo(gram.dtype).tiny)
    weights = torch.linalg.solve(gram.cpu(), (changes @ residuals[-1]).cpu()).to(moves.device)
    return steps[-1] - weights @ moves


# Sizes and checks -------------------------------------------------------------------------------------------------------------

def _blocks(n, m, like, size):
    """Slices of rows, each of about `size` bytes in rows of m numbers; on a GPU of 16 times as many."""
    rows = max(1, size * (1 if like.device.type == "cpu" else 16) // (m * like.element_size()))
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


def _sum(block):
    """Sum of a block, as a float; over rows in its own precision, over sums of rows in float64."""
    return block.sum(-1).cpu().double().sum().item()


def _negative_entropy(plan, room):
    """sum P log P, as a float; 0 log 0 = 0. In `room`, a tensor with a few rows; twice as fast as torch.xlogy."""
    tiny = torch.finfo(plan.dtype).tiny
    return sum(_sum(torch.clamp(rows, min=tiny, out=room[:len(rows)]).log_().mul_(rows)) for rows in plan.split(len(room)))


def _is_dense(mode, like, m):
    if mode not in (None, "dense", "stream"):
        refuse("mode", mode, "'dense', 'stream' or None")
    free = torch.cuda.mem_get_info(like.device)[0] if like.device.type == "cuda" else psutil.virtual_memory().available
    return mode == "dense" or (mode is None and 2 * len(like) * m * like.element_size() < free / 2)


def _mass(mass, n):
    if mass not in ("one", "rows"):
        refuse("mass", mass, "'one' or 'rows'")
    return 1 if mass == "one" else n


def _limits(tolerance, max_iterations):
    return positive("tolerance", tolerance), whole("max_iterations", max_iterations)


def _matrix(name, z):
    """`z`, a float32 or float64 tensor (rows, columns) without NaN or infinity."""
    if not isinstance(z, torch.Tensor) or z.dtype not in (torch.float32, torch.float64) or z.ndim != 2 or 0 in z.shape:
        refuse(name, f"{z.dtype}, shape {tuple(z.shape)}" if isinstance(z, torch.Tensor) else type(z), "a float32 or float64 tensor with rows and columns")
    if not torch.isfinite(z.detach().sum()) and not torch.isfinite(z).all():  # the sum is one pass, and may itself overflow
        refuse(name, f"{int((~torch.isfinite(z)).sum())} values that are NaN or infinite", "finite numbers")
    return z


def _lengths(name, z):
    """Lengths (rows,) of the rows of z; refuses what has no direction in these numbers."""
    lengths, low = torch.linalg.vector_norm(z.detach(), dim=1), 10 * math.sqrt(torch.finfo(z.dtype).tiny)
    if not (lengths > low).all() or not (lengths < 1 / low).all():
        refuse(name, f"rows of length {lengths.min().item():.1e} to {lengths.max().item():.1e}", f"rows of length {low:.0e} to {1 / low:.0e}")
    return lengths


def _unit(name, z):
    _lengths(name, _matrix(name, z))
    return z / torch.linalg.vector_norm(z, dim=1, keepdim=True)


def _marginals(like, n, m, row, column):
    """Row and column marginals with sum 1, in float64 where the device has it."""
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    result = []
    for name, given, size in (("row", row, n), ("column", column, m)):
        weights = torch.ones(size) if given is None else torch.as_tensor(given)
        if weights.shape != (size,) or not torch.isfinite(weights).all() or not (weights > 0).all():
            refuse(name, f"shape {tuple(weights.shape)}, least {weights.min().item() if weights.numel() else None}", f"{size} finite numbers > 0")
        weights = weights.to(like.device, dtype)
        result.append(weights / weights.sum())
    return result
