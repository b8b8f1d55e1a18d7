"""Entropic optimal transport as a soft matching, and KLOT with its gradient in closed form.

    OT_eps(K) = argmin over P of -<P, K> + eps <P, log P>, rows of sum 1/n and columns of sum 1/m
    KLOT      = KL(OT_eps*(K*) || OT_eps(K)), student K, teacher K*              (SOTAlign eq. 12)
    grad_K    = (OT_eps(K) - OT_eps*(K*)) / eps, the STUDENT's eps      (eq. 28; eq. 13 prints eps*)

A plan is a row softmax with one bias per column, P = softmax(K / eps + v) / n. Its rows are exact,
only v (m,) is unknown, and v -= log(m * column sums) is Sinkhorn's iteration. Anderson acceleration
makes it short. It stops on the marginal error: the root mean square of the columns' relative
errors, their chi distance from uniform, which is never less than sum |column sum - 1/m|.

Where memory allows, exp(K / eps + v0 - row maximum) is kept, and an iteration is two products with
a vector. Else blocks of rows are made from the embeddings at each use, and no n x m matrix ever.
"""

import math
import warnings
from collections import namedtuple
from functools import partial

import psutil
import torch

from lib.losses import lengths
from lib.validation import check_int, check_positive, check_tensor, invalid

HISTORY = 12  # earlier iterates that Anderson acceleration looks at
FAR = 30.0  # how far v may move from v0: e^30 is harmless in float32
BLOCK_BYTES = {"cpu": 2**23, "cuda": 2**27, "mps": 2**27}  # of rows; what a CPU's cache can hold

Plan = namedtuple("Plan", ["plan", "v", "iterations", "error"])


def entropic_plan(K, epsilon, *, tolerance=1e-3, max_iterations=1000):
    """OT_epsilon(K) of affinities K (n, m): a Plan, through which no gradient flows.

    plan (n, m)  of mass 1, as in the authors' code; multiply by n for the paper's, bistochastic one
    v (m,)       its column potential; beside it the iterations made and the marginal error left
    tolerance    marginal error at which to stop; below 1e-5 use float64

    Warns when max_iterations do not reach the tolerance. Raises ValueError when an error above 0.5
    is left, and for input that is not finite.
    """
    check_tensor("K", K)
    check_positive("epsilon", epsilon)
    with torch.no_grad(), torch.autocast(K.device.type, enabled=False):
        kernel = _Kernel(lambda rows, out: torch.div(K[rows], epsilon, out=out), *K.shape, K)
        v, _, iterations, error = _solve(kernel, "K", tolerance, max_iterations)
        return Plan(torch.cat([block for _, block in kernel.plan()]), v, iterations, error)


def klot_of_affinities(K, K_teacher, epsilon=0.05, epsilon_teacher=0.01, **limits):
    """KLOT of affinities K, K_teacher (n, m), differentiable in K; limits as in `entropic_plan`."""
    check_tensor("K_teacher", K_teacher, tuple(check_tensor("K", K).shape), like=K)
    v = entropic_plan(K, epsilon, **limits).v.to(K.dtype)
    T = entropic_plan(K_teacher, check_positive("epsilon_teacher", epsilon_teacher), **limits).plan
    # theorem 5.1: with v held fixed, the gradient of this is (P - T) / epsilon
    log_P = (K / epsilon + v).log_softmax(1) - math.log(len(K))
    return torch.nn.functional.kl_div(log_P, T, reduction="sum")


def klot(f, g, a, b, epsilon=0.05, epsilon_teacher=0.01, *, tolerance=1e-3, max_iterations=1000):
    """KLOT of the student's cosine affinities and the teacher's, a number (SOTAlign eq. 12).

    f (n, d), g (m, d)  the student's embeddings, K = cosines(f, g)
    a (n, k), b (m, k)  the teacher's, K* = cosines(a, b), a constant

    The gradient for f and g is worked out in the forward pass (theorem 5.1). Multiply by n for the
    paper's normalisation. Keeps two n x m matrices where they fill less than half of free memory;
    elsewhere a value has one backward pass. Warns and raises as `entropic_plan`, and raises
    ValueError for shapes that do not fit and for rows without a direction.
    """
    with torch.no_grad():
        given = {"f": f, "g": g, "a": a, "b": b}
        per_f, per_g, per_a, per_b = (1 / lengths(name, z)[:, 0] for name, z in given.items())
    check_tensor("g", g, (None, f.shape[1]), like=f)
    check_tensor("a", a, (len(f), None), like=f)
    check_tensor("b", b, (len(g), a.shape[1]), like=f)
    check_positive("epsilon", epsilon)
    check_positive("epsilon_teacher", epsilon_teacher)
    free = torch.cuda.mem_get_info(f.device)[0] if f.is_cuda else psutil.virtual_memory().available
    with torch.no_grad(), torch.autocast(f.device.type, enabled=False):
        size = (len(f), len(g))
        keep = 2 * math.prod(size) * f.element_size() < free / 2
        student = _Kernel(partial(_cosines, f, g, per_f / epsilon, per_g), *size, f, keep)
        teacher = _Kernel(partial(_cosines, a, b, per_a / epsilon_teacher, per_b), *size, f, keep)
        v, columns, *_ = _solve(student, "student", tolerance, max_iterations)
        _, columns_teacher, *_ = _solve(teacher, "teacher", tolerance, max_iterations)
        # KL = <T, log T> - <P, log P> + <P - T, log P> with log P = K / eps + u + v, where u meets
        # equal row sums and drops out: only the entropies need logarithms
        value = ((columns - columns_teacher) @ v).item()
        slope_f, slope_g = torch.empty_like(f), torch.zeros_like(g)
        for (rows, P), (_, T) in zip(student.plan(), teacher.plan(), strict=True):
            value += _negative_entropy(T) - _negative_entropy(P)
            P -= T
            slope_g.addmm_(P.T, f[rows] * per_f[rows, None])
            torch.mm(P.mul_(per_g), g, out=slope_f[rows])
        for z, per_z, slope in ((f, per_f, slope_f), (g, per_g, slope_g)):
            # only what is across a row counts: its length does not
            along = torch.einsum("nd,nd->n", slope, z) * per_z
            slope.addcmul_(z, (along * per_z)[:, None], value=-1).mul_(per_z[:, None] / epsilon)
        value = f.new_tensor(value + along.sum().item() / epsilon)
    return _WithGradient.apply(_WithGradient.apply(value, f, slope_f, keep), g, slope_g, keep)


class _WithGradient(torch.autograd.Function):
    """`value`, whose gradient for z is `slope`; without `keep` it gives `slope` itself, once."""

    @staticmethod
    def forward(ctx, value, z, slope, keep):
        ctx.slope, ctx.keep = slope, keep
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        if ctx.keep:
            return upstream, upstream * ctx.slope, None, None
        if ctx.slope is None:
            raise RuntimeError("klot: a streamed value has one backward pass: call klot again")
        slope, ctx.slope = ctx.slope, None
        return upstream, slope.mul_(upstream), None, None


def _cosines(x, y, scale_x, scale_y, rows, out):
    return torch.mm(x[rows] * scale_x[rows, None], y.T, out=out).mul_(scale_y)


def _negative_entropy(plan):
    """sum P log P with 0 log 0 = 0; twice as fast as torch.xlogy."""
    logarithms = plan.clamp_min(torch.finfo(plan.dtype).tiny).log_()
    return logarithms.mul_(plan).sum(1).cpu().double().sum().item()


class _Kernel:
    """exp(logits + v0 - row maximum) (n, m) in blocks of rows: kept, or made again at each use.

    logits(rows, out)  fills `out` with K[rows] / epsilon
    """

    def __init__(self, logits, n, m, like, keep=True):
        self.logits, self.keep = logits, keep
        self.top, self.sums = like.new_empty(n), like.new_empty(n)
        length = max(1, BLOCK_BYTES[like.device.type] // (m * like.element_size()))
        memory = like.new_empty(n if keep else min(n, length), m)
        self.blocks = []
        highest = like.new_full((m,), -torch.inf)
        for start in range(0, n, length):
            rows = slice(start, start + length)
            block = memory[rows] if keep else memory[: n - start]
            self.blocks.append((rows, block))
            highest = torch.maximum(highest, logits(rows, block).amax(0))
        # every column starts with a greatest entry of 1, none underflowed
        self.v0 = -highest.to(torch.float32 if like.device.type == "mps" else torch.float64)
        if keep:
            for rows, block in self.blocks:
                self._exponentiate(rows, block)

    def sweep(self, v):
        """Column sums (m,) of the plan of v; `dual` is mean(v) - mean(log sum exp(logits + v))."""
        w = v - self.v0
        far = torch.linalg.vector_norm(w, math.inf).item() > FAR
        if far:
            self.v0 = v.to(self.sums.dtype).to(v.dtype)  # what rounding takes away is left to w
            w = v - self.v0
        self.w = w.exp().to(self.sums.dtype)
        columns = torch.zeros_like(v)
        for rows, block in self.blocks:
            if far or not self.keep:
                self._exponentiate(rows, self.logits(rows, block))
            # in parts: MKL multiplies a batch with vectors on all threads, a single matrix on one
            parts = block.unflatten(0, (math.gcd(len(block), torch.get_num_threads()), -1))
            sums = self.sums[rows].view(len(parts), 1, -1)
            torch.bmm(self.w.expand(len(parts), 1, -1), parts.mT, out=sums)
            columns += torch.bmm(sums.reciprocal(), parts).sum((0, 1))
        self.dual = (v.mean() - (self.sums.log() + self.top).mean(dtype=v.dtype)).item()
        return columns * self.w / len(self.sums)

    def plan(self):
        """The last sweep's plan as pairs (rows, block); it takes the place of the exponentials."""
        for rows, block in self.blocks:
            if not self.keep:
                self._exponentiate(rows, self.logits(rows, block))
            yield rows, block.mul_(self.w).mul_(1 / (len(self.sums) * self.sums[rows, None]))

    def _exponentiate(self, rows, block):
        block += self.v0.to(block.dtype)
        torch.amax(block, 1, out=self.top[rows])
        block.sub_(self.top[rows, None]).exp_()


def _solve(kernel, name, tolerance, max_iterations):
    """(v, its column sums, iterations, marginal error): Sinkhorn's iteration on v, accelerated."""
    check_positive("tolerance", tolerance)
    v, steps, residuals = kernel.v0, [], []
    last_error, last_dual, best = math.inf, -math.inf, (math.inf, 0, v)
    for iteration in range(1, check_int("max_iterations", max_iterations) + 1):
        columns = kernel.sweep(v)
        relative = len(v) * columns
        error = torch.linalg.vector_norm(relative - 1).item() / math.sqrt(len(v))
        best = min(best, (error, iteration, v))
        if error <= tolerance or not math.isfinite(error):
            break
        if error < last_error or kernel.dual > last_dual:
            last_error, last_dual = error, kernel.dual
            residual = -relative.clamp_min(1e-30).log()
            steps = [*steps[-HISTORY:], v + residual]
            residuals = [*residuals[-HISTORY:], residual]
            v = _anderson(steps, residuals)
        else:  # taken back, and what led there forgotten; a plain step passes whatever it does
            v, last_error = steps[-1], math.inf
            del steps[:-7], residuals[:-7]
    error, _, v = best
    if error > tolerance:
        left = f"marginal error {error:.1e} after {iteration} iterations"
        if error > 0.5:
            raise invalid(name, left, "at most 0.5: raise epsilon or max_iterations")
        advice = f"tolerance {tolerance:.1e}; raise epsilon or max_iterations, or use float64"
        warnings.warn(f"{name}: {left}, {advice}", stacklevel=3)
        columns = kernel.sweep(v)
    return v, columns, iteration, error


def _anderson(steps, residuals):
    """The combination of steps whose residual would be least, were it linear (type II)."""
    moves, changes = torch.stack(steps).diff(dim=0), torch.stack(residuals).diff(dim=0)
    gram = (changes @ changes.T).cpu().double()
    gram.diagonal().add_(1e-10 * (gram.trace() + residuals[-1].dot(residuals[-1]).item()))
    weights = torch.linalg.solve(gram, (changes @ residuals[-1]).cpu().double())
    return steps[-1] - weights.to(moves) @ moves
