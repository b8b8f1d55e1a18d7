"""Entropic plans and KLOT: against POT, plain loops, finite differences, an unrolled loop."""

import itertools
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.utils._python_dispatch import TorchDispatchMode

from lib import transport
from lib.losses import cosines
from lib.transport import entropic_plan, klot, klot_of_affinities

EXACT = {"tolerance": 1e-12, "max_iterations": 20_000}
F32, F64 = torch.float32, torch.float64


def draw(*shape, seed=0, dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=F64).to(dtype)


def embeddings(n=7, m=9, d=4, k=3, dtype=F64, seed=0):
    shapes = [(n, d), (m, d), (n, k), (m, k)]
    return [draw(*shape, seed=4 * seed + i, dtype=dtype) for i, shape in enumerate(shapes)]


def clusters(n, m, k, seed):
    """Affinities of points in k clusters: many near partners, and so a slow iteration."""
    generator = torch.Generator().manual_seed(seed)
    of_point = torch.randint(k, (max(n, m),), generator=generator)
    z = draw(k, 32, seed=seed)[of_point] + 0.3 * draw(max(n, m), 32, seed=seed + 1)
    return cosines(*(z[:q] + 0.1 * draw(q, 32, seed=seed + 2 + i) for i, q in enumerate((n, m))))


def hub():
    """Affinities with a column that everybody wants."""
    K = draw(40, 50)
    K[:, 3] += 5
    return K


def plain_plan(K, epsilon, sweeps=2000):
    """Sinkhorn in the log domain, as in a textbook; differentiable."""
    n, m = K.shape
    v = torch.zeros(m, dtype=K.dtype)
    for _ in range(sweeps):
        u = -np.log(n) - torch.logsumexp(K / epsilon + v, 1)
        v = -np.log(m) - torch.logsumexp(K / epsilon + u[:, None], 0)
    return (K / epsilon + u[:, None] + v).exp()


def plain_klot(K, K_teacher, epsilon, epsilon_teacher, sweeps=2000):
    P, T = plain_plan(K, epsilon, sweeps), plain_plan(K_teacher, epsilon_teacher, sweeps)
    return (T * (T.log() - P.log())).sum()


def numeric_gradient(function, z, h=1e-5):
    """Central differences of a number with respect to every entry of z."""
    result = torch.zeros_like(z)
    for at in itertools.product(*map(range, z.shape)):
        up, down = z.clone(), z.clone()
        up[at] += h
        down[at] -= h
        result[at] = (function(up) - function(down)) / (2 * h)
    return result


def marginal_error(plan):
    """Root mean square of the relative errors of the columns."""
    return (plan.shape[1] * plan.double().sum(0) - 1).square().mean().sqrt().item()


def value_and_slopes(tensors, epsilon=0.1, epsilon_teacher=0.05, **options):
    f, g, a, b = (z.clone() for z in tensors)
    f.requires_grad_()
    g.requires_grad_()
    value = klot(f, g, a, b, epsilon, epsilon_teacher, **{**EXACT, **options})
    return [value.detach(), *torch.autograd.grad(value, (f, g))]


def free_memory(monkeypatch, available):
    memory = type("memory", (), {"available": available})
    monkeypatch.setattr(transport.psutil, "virtual_memory", lambda: memory)


@pytest.fixture(params=["dense", "stream", "dense in small blocks", "stream in small blocks"])
def mode(request, monkeypatch):
    if "stream" in request.param:
        free_memory(monkeypatch, 0)
    if "small" in request.param:
        monkeypatch.setitem(transport.BLOCK_BYTES, "cpu", 300)
    return request.param


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# Plans


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("n, m", [(8, 8), (5, 12), (12, 5)])
def test_plan_is_pots(n, m, epsilon, no_warning):
    K = cosines(draw(n, 3), draw(m, 3, seed=1))
    wanted = ot.sinkhorn(
        np.full(n, 1 / n),
        np.full(m, 1 / m),
        -K.numpy(),
        epsilon,
        method="sinkhorn_log",
        stopThr=1e-13,
        numItermax=100_000,
        warn=False,
    )
    got = entropic_plan(K, epsilon, **EXACT)
    np.testing.assert_allclose(got.plan.numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize("epsilon", [0.001, 0.005, 0.01, 0.05, 0.5, 10.0])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_plan_reaches_its_tolerance_and_says_how(epsilon, dtype, no_warning):
    K = cosines(draw(60, 8, dtype=dtype), draw(70, 8, seed=1, dtype=dtype))
    got = entropic_plan(K, epsilon, tolerance=1e-4, max_iterations=5000)
    assert got.plan.dtype == dtype
    assert got.error <= 1e-4
    assert marginal_error(got.plan) == pytest.approx(got.error, abs=1e-5 if dtype == F32 else 1e-9)
    assert (got.plan.sum(0) - 1 / 70).abs().sum() <= got.error + 1e-6
    # rows are exact
    torch.testing.assert_close(got.plan.sum(1), torch.full_like(K[:, 0], 1 / 60), rtol=1e-5, atol=0)


def test_plan_is_the_softmax_of_its_potential():
    K = cosines(draw(6, 3), draw(7, 3, seed=1))
    got = entropic_plan(K, 0.1, **EXACT)
    torch.testing.assert_close((K / 0.1 + got.v).softmax(1) / 6, got.plan)


def test_small_epsilon_finds_the_assignment():
    K = cosines(draw(9, 4), draw(9, 4, seed=1))
    rows, columns = map(torch.as_tensor, linear_sum_assignment(K.numpy(), maximize=True))
    plan = entropic_plan(K, 0.001, tolerance=1e-6, max_iterations=20_000).plan
    assert torch.equal(plan[rows].argmax(1), columns)
    assert (plan[rows, columns] * 9 > 0.9).all()


def test_great_epsilon_finds_the_product_of_the_marginals():
    plan = entropic_plan(cosines(draw(5, 3), draw(6, 3, seed=1)), 1e6, tolerance=1e-9).plan
    torch.testing.assert_close(plan, torch.full((5, 6), 1 / 30, dtype=F64), atol=1e-7, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (1, 2)])
def test_smallest_plans(shape, no_warning):
    K = draw(*shape)
    torch.testing.assert_close(entropic_plan(K, 0.5, **EXACT).plan, plain_plan(K, 0.5))


ODD = {
    "dominated column": torch.cat([torch.full((6, 1), -50.0), draw(6, 4, dtype=F32)], 1),
    "dominating column": torch.cat([torch.full((6, 1), 50.0), draw(6, 4, dtype=F32)], 1),
    "identical rows": draw(1, 5, dtype=F32).expand(6, 5),
    "identical columns": draw(6, 1, dtype=F32).expand(6, 5),
    "constant": torch.zeros(6, 5),
    "tiny": 1e-30 * draw(6, 5, dtype=F32),
    "huge offset": 1e4 + draw(6, 5, dtype=F32),
    "almost an assignment": 1e3 * draw(6, 6, dtype=F32),
}


@pytest.mark.parametrize("K", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("epsilon", [0.001, 0.05, 10.0])
@pytest.mark.filterwarnings("ignore:.*marginal error")
def test_odd_affinities(K, epsilon):
    got = entropic_plan(K, epsilon)
    assert (got.plan >= 0).all()
    assert got.error <= 0.5
    assert marginal_error(got.plan) == pytest.approx(got.error, abs=1e-5)
    torch.testing.assert_close(got.plan.sum(1), torch.full((6,), 1 / 6))
    value = klot_of_affinities(K.clone().requires_grad_(), K.flip(0), epsilon, epsilon)
    assert torch.isfinite(value)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 10.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_a_hub_gets_its_share_and_no_more(epsilon, tolerance, no_warning):
    got = entropic_plan(hub(), epsilon, tolerance=tolerance, max_iterations=20_000)
    assert got.error <= tolerance
    assert marginal_error(got.plan) == pytest.approx(got.error, rel=1e-6, abs=1e-12)
    assert abs(got.plan[:, 3].sum() * 50 - 1) < 8 * tolerance
    torch.testing.assert_close(got.plan.sum(1), torch.full((40,), 1 / 40, dtype=F64))


def test_permuting_rows_and_columns_permutes_the_plan():
    K = cosines(draw(6, 3), draw(8, 3, seed=1))
    p, q = torch.randperm(6), torch.randperm(8)
    permuted = entropic_plan(K[p][:, q], 0.05, **EXACT).plan
    torch.testing.assert_close(permuted, entropic_plan(K, 0.05, **EXACT).plan[p][:, q])


def test_blocks_of_rows_do_not_show_in_a_plan(monkeypatch):
    K = cosines(draw(23, 3), draw(17, 3, seed=1))
    one = entropic_plan(K, 0.02, **EXACT).plan
    monkeypatch.setitem(transport.BLOCK_BYTES, "cpu", 17 * 8 * 4)
    torch.testing.assert_close(entropic_plan(K, 0.02, **EXACT).plan, one)


def test_acceleration_needs_far_fewer_sweeps_than_plain_iteration(no_warning):
    K = cosines(draw(150, 8), draw(150, 8, seed=1))
    v = torch.zeros(150, dtype=F64)
    sweeps = 0
    error = 1.0
    while error > 1e-4:  # plain Sinkhorn on v
        columns = (K / 0.02 + v).softmax(1).mean(0)
        error = (150 * columns - 1).square().mean().sqrt()
        sweeps += 1
        v = v - (150 * columns).log()
    assert entropic_plan(K, 0.02, tolerance=1e-4).iterations < sweeps / 3


@pytest.mark.parametrize("seed", [0, 1])
def test_steps_that_overshoot_are_taken_back(seed, no_warning):
    assert entropic_plan(clusters(80, 70, 8, seed), 0.01).iterations < 250


def test_what_led_to_a_step_taken_back_is_forgotten(no_warning):
    assert entropic_plan(ODD["dominated column"], 0.05).iterations < 50


def test_enough_is_remembered(no_warning):
    assert entropic_plan(hub(), 0.01, tolerance=1e-6).iterations < 250


def test_warns_with_what_is_left_at_the_callers_line():
    K = cosines(draw(20, 3), draw(20, 3, seed=1))
    said = r"K: marginal error \d\.\de-0\d after 9 iterations, tolerance 1.0e-09; raise epsilon"
    with pytest.warns(UserWarning, match=said) as caught:
        entropic_plan(K, 0.05, tolerance=1e-9, max_iterations=9)
    assert caught[0].filename == __file__


def test_tolerance_out_of_reach_ends_with_a_warning_and_the_best_plan():
    K = cosines(draw(30, 5, dtype=F32), draw(30, 5, seed=1, dtype=F32))
    with pytest.warns(UserWarning, match="use float64"):
        got = entropic_plan(K, 0.05, tolerance=1e-30, max_iterations=300)
    assert got.error < 1e-5
    assert marginal_error(got.plan) == pytest.approx(got.error, abs=1e-6)


@pytest.mark.parametrize("sweeps", range(5, 45, 3))
@pytest.mark.filterwarnings("ignore:.*marginal error")
def test_when_sweeps_run_out_the_best_plan_seen_is_returned(sweeps, monkeypatch):
    seen = []
    sweep = transport._Kernel.sweep

    def watched(self, v):
        columns = sweep(self, v)
        seen.append((len(v) * columns - 1).square().mean().sqrt().item())
        return columns

    monkeypatch.setattr(transport._Kernel, "sweep", watched)
    got = entropic_plan(clusters(40, 50, 5, 3), 0.01, tolerance=1e-9, max_iterations=sweeps)
    assert got.iterations == sweeps
    assert got.error == pytest.approx(min(seen), rel=1e-12)
    assert got.error == pytest.approx(marginal_error(got.plan), rel=1e-6)
    torch.testing.assert_close((clusters(40, 50, 5, 3) / 0.01 + got.v).softmax(1) / 40, got.plan)


def test_a_senseless_plan_is_refused():
    K = cosines(draw(20, 3), draw(20, 3, seed=1))
    said = (
        "^K: got 'marginal error .* after 1 iterations', "
        "accepted: at most 0.5: raise epsilon or max_iterations$"
    )
    with pytest.raises(ValueError, match=said):
        entropic_plan(K, 0.001, max_iterations=1)
    assert entropic_plan(K, 0.001, tolerance=3.0, max_iterations=1).error > 0.5  # as asked for
    with pytest.raises(ValueError, match="^teacher: got 'marginal error"):
        klot(*embeddings(30, 30), 1.0, 0.0001, max_iterations=4)
    with pytest.raises(ValueError, match="^student: got 'marginal error"):
        klot(*embeddings(30, 30), 0.0001, 1.0, max_iterations=4)


def test_what_overflows_is_refused_at_once():
    with pytest.raises(ValueError, match="^K: got 'marginal error inf after 1 iterations'"):
        entropic_plan(draw(3, 3) * 1e300, 1e-30)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_v_that_wanders_far_is_absorbed(dtype, monkeypatch, no_warning):
    K = cosines(draw(20, 3, dtype=dtype), draw(20, 3, seed=1, dtype=dtype))
    limits = EXACT if dtype == F64 else {"tolerance": 1e-5}
    wanted = entropic_plan(K, 0.01, **limits).plan
    monkeypatch.setattr(transport, "FAR", 0.1)
    got = entropic_plan(K, 0.01, **limits).plan
    near = 1e-5 if dtype == F32 else 1e-10
    torch.testing.assert_close(got, wanted, rtol=0, atol=near)


@pytest.mark.parametrize("epsilon", [0.0005, 0.001])
def test_v_that_must_move_by_hundreds_in_float32(epsilon, no_warning):
    """e^v would overflow in float32, and columns would underflow that nobody wants."""
    K = cosines(draw(40, 3, dtype=F32), draw(40, 3, seed=1, dtype=F32))
    got = entropic_plan(K, epsilon, tolerance=0.01, max_iterations=20_000)
    assert got.error <= 0.01
    assert (got.v.max() - got.v.min()) > 200


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("far", [0.1, 30.0])
def test_dual_objective(keep, far, monkeypatch):
    """By which a step is judged: it changes as mean(v) - mean(log sum exp(K / eps + v)) does."""
    monkeypatch.setattr(transport, "FAR", far)
    K = draw(6, 8)
    kernel = transport._Kernel(lambda rows, out: out.copy_(K[rows] / 0.5), 6, 8, K, keep)
    got, wanted = [], []
    for seed in (2, 3):
        v = draw(8, seed=seed)
        kernel.sweep(v)
        got.append(kernel.dual)
        wanted.append((v.mean() - torch.logsumexp(K / 0.5 + v, 1).mean()).item())
    assert got == pytest.approx(wanted, rel=1e-9)


# KLOT


def test_klot_of_affinities_is_the_plain_one():
    K, K_teacher = draw(6, 8) / 3, draw(6, 8, seed=1) / 3
    got = klot_of_affinities(K, K_teacher, 0.2, 0.1, **EXACT)
    torch.testing.assert_close(got, plain_klot(K, K_teacher, 0.2, 0.1))


def test_gradient_theorem_three_ways():
    """Theorem 5.1: finite differences, unrolled loop, closed form; the student's eps below."""
    K, K_teacher = (draw(5, 6) / 3).requires_grad_(), draw(5, 6, seed=1) / 3
    epsilon, epsilon_teacher = 0.2, 0.05
    value = klot_of_affinities(K, K_teacher, epsilon, epsilon_teacher, **EXACT)
    (closed,) = torch.autograd.grad(value, K)
    value = plain_klot(K, K_teacher, epsilon, epsilon_teacher, sweeps=500)
    (unrolled,) = torch.autograd.grad(value, K)
    T = plain_plan(K_teacher, epsilon_teacher)

    def cross_entropy(z):
        return -(T * plain_plan(z, epsilon, sweeps=100).log()).sum()

    numeric = numeric_gradient(cross_entropy, K.detach())
    difference = plain_plan(K.detach(), epsilon) - T
    torch.testing.assert_close(closed, difference / epsilon)
    torch.testing.assert_close(closed, unrolled, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(closed, numeric, atol=1e-7, rtol=1e-5)
    # eq. 13 of the main text (v1) has the teacher's eps
    assert (difference / epsilon_teacher - numeric).norm() > 2 * numeric.norm()


@pytest.mark.parametrize("n, m", [(7, 9), (9, 7), (1, 4), (4, 1), (2, 2), (1, 1)])
def test_klot_on_embeddings(mode, n, m):
    tensors = embeddings(n, m)
    got = value_and_slopes(tensors, 0.5, 0.3)
    f, g, a, b = tensors
    f.requires_grad_()
    g.requires_grad_()
    wanted = plain_klot(cosines(f, g), cosines(a, b), 0.5, 0.3, sweeps=1000)
    torch.testing.assert_close(got[0], wanted.detach(), atol=1e-10, rtol=1e-8)
    for mine, plain in zip(got[1:], torch.autograd.grad(wanted, (f, g)), strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-9, rtol=1e-6)


def test_gradcheck():
    f, g, a, b = embeddings(4, 5)

    def value(f, g):
        return klot(f, g, a, b, 0.3, 0.2, **EXACT)

    assert torch.autograd.gradcheck(value, (f.requires_grad_(), g.requires_grad_()), atol=1e-6)


def test_finite_differences(mode):
    f, g, a, b = embeddings(4, 5)
    _, of_f, of_g = value_and_slopes([f, g, a, b], tolerance=1e-10)

    def value(f, g):
        return klot(f, g, a, b, 0.1, 0.05, tolerance=1e-10).item()

    numeric_f = numeric_gradient(lambda z: value(z, g), f)
    numeric_g = numeric_gradient(lambda z: value(f, z), g)
    torch.testing.assert_close(of_f, numeric_f, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(of_g, numeric_g, atol=1e-7, rtol=1e-5)


def test_a_loose_tolerance_still_gives_kl_of_the_plans_at_hand(mode):
    """The identity that saves the loss a second table holds for any v, converged or not."""
    f, g, a, b = embeddings(30, 40)
    loose = {"tolerance": 0.3}
    P = entropic_plan(cosines(f, g), 0.05, **loose).plan
    T = entropic_plan(cosines(a, b), 0.02, **loose).plan
    assert (P.sum(0) - T.sum(0)).abs().sum() > 0.01
    kl = (T * (T / P).log()).sum()
    torch.testing.assert_close(klot(f, g, a, b, 0.05, 0.02, **loose), kl)
    of_affinities = klot_of_affinities(cosines(f, g), cosines(a, b), 0.05, 0.02, **loose)
    torch.testing.assert_close(of_affinities, kl)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_stream_is_dense(dtype, monkeypatch):
    dense = value_and_slopes(embeddings(40, 50, dtype=dtype), 0.05, 0.01, tolerance=1e-4)
    free_memory(monkeypatch, 0)
    stream = value_and_slopes(embeddings(40, 50, dtype=dtype), 0.05, 0.01, tolerance=1e-4)
    near = 1e-4 if dtype == F32 else 1e-10
    for one, other in zip(dense, stream, strict=True):
        torch.testing.assert_close(one, other, atol=near, rtol=near)


def test_float32_is_float64():
    single = value_and_slopes(embeddings(40, 50, dtype=F32), tolerance=1e-5)
    double = value_and_slopes(embeddings(40, 50), tolerance=1e-5)
    for one, other in zip(single, double, strict=True):
        assert one.dtype == F32
        torch.testing.assert_close(one.double(), other, atol=1e-4, rtol=1e-4)


def test_a_student_far_from_its_teacher_in_float32():
    """Entries of the student's plan underflow where the teacher's has mass."""
    x = torch.eye(3, dtype=F32)
    value = klot(x, x, x, x.roll(1, 0), 0.005, 0.005)
    wanted = klot(*(z.double() for z in (x, x, x, x.roll(1, 0))), 0.005, 0.005)
    assert value > 190
    torch.testing.assert_close(value.double(), wanted, atol=0, rtol=1e-5)


def test_gradient_across_the_embeddings_only():
    tensors = embeddings()
    _, f, g = value_and_slopes(tensors)
    assert (f * tensors[0]).sum(1).abs().max() < 1e-12 < f.norm()
    assert (g * tensors[1]).sum(1).abs().max() < 1e-12 < g.norm()
    _, twice, _ = value_and_slopes([2 * tensors[0], *tensors[1:]])
    torch.testing.assert_close(twice, f / 2)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e3, 1e12])
def test_lengths_do_not_count(mode, scale):
    tensors = embeddings(6, 6, dtype=F32)
    value, f, g = value_and_slopes(tensors, tolerance=1e-5)
    a_longer, b_shorter = scale * tensors[2], tensors[3] / scale
    scaled = [scale * tensors[0], tensors[1] / scale, a_longer, b_shorter]
    again, of_f, of_g = value_and_slopes(scaled, tolerance=1e-5)
    torch.testing.assert_close(again, value, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scale * of_f, f, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(of_g / scale, g, atol=1e-3, rtol=1e-3)


def test_klot_is_zero_where_student_is_teacher_and_positive_elsewhere():
    f, g, a, b = embeddings()
    value, *slopes = value_and_slopes([f, g, f, g], 0.1, 0.1)
    assert value.abs() < 1e-10
    assert max(z.abs().max() for z in slopes) < 1e-10
    assert klot(f, g, a, b, 0.1, 0.1, **EXACT) > 0.01


def test_no_gradient_flows_into_the_teacher(mode):
    wanted = value_and_slopes(embeddings(), 0.2, 0.1)
    f, g, a, b = (z.requires_grad_() for z in embeddings())
    value = klot(f, g, 2 * a, b, 0.2, 0.1, **EXACT)
    value.backward()
    assert a.grad is None
    assert b.grad is None
    for one, other in zip((value.detach(), f.grad, g.grad), wanted, strict=True):
        torch.testing.assert_close(one, other)
    K, K_teacher = cosines(f, g).detach().requires_grad_(), cosines(a, b)
    klot_of_affinities(K, K_teacher, 0.2, 0.1).backward()
    assert K.grad is not None
    assert a.grad is None
    assert not entropic_plan(K_teacher, 0.2).plan.requires_grad


def test_upstream_gradient_and_sides_left_out(mode):
    f, g, a, b = embeddings()
    f.requires_grad_()
    (slope,) = torch.autograd.grad(3 * klot(f, g, a, b, 0.2, 0.1), f)
    (once,) = torch.autograd.grad(klot(f, g, a, b, 0.2, 0.1), f)
    torch.testing.assert_close(slope, 3 * once)
    assert not klot(f.detach(), g, a, b).requires_grad
    with torch.no_grad():
        assert not klot(f, g, a, b).requires_grad


def test_embeddings_that_are_not_contiguous_or_the_same(mode):
    plain = value_and_slopes(embeddings())
    turned = value_and_slopes([z.T.contiguous().T for z in embeddings()])
    for one, other in zip(plain, turned, strict=True):
        torch.testing.assert_close(one, other)
    f, _, a, b = embeddings(6, 6)
    _, of_f, of_g = value_and_slopes([f, f, a, b])
    f.requires_grad_()
    (both,) = torch.autograd.grad(klot(f, f, a, b, 0.1, 0.05, **EXACT), f)
    torch.testing.assert_close(both, of_f + of_g)


def test_second_backward(mode):
    f, g, a, b = embeddings()
    f.requires_grad_()
    g.requires_grad_()
    value = klot(f, g, a, b, 0.2, 0.1)
    once = [z.clone() for z in torch.autograd.grad(2 * value, (f, g), retain_graph=True)]
    if "stream" in mode:
        with pytest.raises(RuntimeError, match="one backward pass: call klot again"):
            value.backward()
    else:
        twice = torch.autograd.grad(2 * value, (f, g))
        assert all(map(torch.equal, once, twice))


def test_second_derivatives_are_refused():
    f, g, a, b = embeddings()
    value = klot(f.requires_grad_(), g, a, b, 0.2, 0.1)
    (slope,) = torch.autograd.grad(value**2, f, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("available, keep", [(4 * 7 * 9 * 8 + 1, True), (4 * 7 * 9 * 8, False)])
def test_dense_where_two_matrices_fill_less_than_half_of_free_memory(available, keep, monkeypatch):
    free_memory(monkeypatch, available)
    kept = []
    make = transport._Kernel.__init__

    def watched(self, *arguments):
        kept.append(arguments[-1])
        make(self, *arguments)

    monkeypatch.setattr(transport._Kernel, "__init__", watched)
    klot(*embeddings())
    assert kept == [keep, keep]


def test_stream_holds_no_matrix(monkeypatch):
    """Every tensor made by a stream is far smaller than n x m."""
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for z in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(z, torch.Tensor):
                    sizes.append(z.numel())
            return result

    f, g, a, b = embeddings(400, 300, dtype=F32)
    monkeypatch.setitem(transport.BLOCK_BYTES, "cpu", 300 * 4 * 10)
    with Watch():
        klot(f.requires_grad_(), g.requires_grad_(), a, b).backward()
        assert max(sizes) >= 400 * 300
        sizes.clear()
        free_memory(monkeypatch, 0)
        klot(f, g, a, b).backward()
    # rows of a block; steps that the acceleration remembers
    assert max(sizes) <= 300 * max(10, transport.HISTORY + 1)


def test_klot_names_the_plan_that_is_not_done():
    with pytest.warns(UserWarning, match="teacher: marginal error") as caught:
        klot(*embeddings(30, 30), 1.0, 0.05, max_iterations=5)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="student: marginal error") as caught:
        klot(*embeddings(30, 30), 0.05, 1.0, max_iterations=5)
    assert len(caught) == 1


def test_autocast_changes_nothing(mode):
    tensors = embeddings(40, 30, dtype=F32)
    K = cosines(*tensors[2:])
    plan = entropic_plan(K, 0.05).plan
    of_affinities = klot_of_affinities(K, K.flip(0), 0.05, 0.02)
    apart = value_and_slopes(tensors, tolerance=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(entropic_plan(K, 0.05).plan, plan)
        assert torch.equal(klot_of_affinities(K, K.flip(0), 0.05, 0.02), of_affinities)
        within = value_and_slopes(tensors, tolerance=1e-4)
    for one, other in zip(apart, within, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_inference_does_not_disturb_training(mode):
    tensors = embeddings(20, 20)
    with torch.inference_mode():
        value = klot(*tensors, 0.1, 0.05, **EXACT)
    assert value_and_slopes(tensors)[0] == value


def test_threads_do_not_meet():
    cases = [embeddings(80, 70, seed=case) for case in range(4)]
    alone = [value_and_slopes(z, tolerance=1e-3) for z in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda z: value_and_slopes(z, tolerance=1e-3), cases))
    for one, other in zip(alone, together, strict=True):
        assert all(map(torch.equal, one, other))


# Refusals


def changed(position, change):
    tensors = embeddings()
    tensors[position] = change(tensors[position])
    return tensors


def with_entry(value):
    def change(z):
        z = z.clone()
        z[1, 0] = value
        return z

    return change


@pytest.mark.parametrize(
    "position, change, match",
    [
        (0, with_entry(np.nan), "^f: got '1 values that are NaN or infinite', accepted: finite"),
        (3, with_entry(np.inf), "^b: got '1 values"),
        (1, lambda z: z[:, :2], r"^g: got 'shape \(9, 2\)', accepted: shape \(any, 4\)$"),
        (3, lambda z: z[:, :2], r"^b: got 'shape \(9, 2\)', accepted: shape \(9, 3\)$"),
        (2, lambda z: z[:3], r"^a: got 'shape \(3, 3\)', accepted: shape \(7, any\)$"),
        (3, lambda z: z[:3], r"^b: got 'shape \(3, 3\)', accepted: shape \(9, 3\)$"),
        (1, lambda z: z.float(), "^g: got 'torch.float32 on cpu', accepted: torch.float64 on cpu"),
        (2, lambda z: z.float(), "^a: got 'torch.float32 on cpu', accepted: torch.float64"),
        (3, lambda z: z.float(), "^b: got 'torch.float32 on cpu', accepted: torch.float64"),
        (0, lambda z: z * 0, "^f: got 'rows of length 0"),
        (1, lambda z: z * 0, "^g: got 'rows of length 0"),
        (2, lambda z: z * 0, "^a: got 'rows of length 0"),
        (3, lambda z: z * 0, "^b: got 'rows of length 0"),
        (1, lambda z: z.half(), "^g: got 'torch.float16', accepted: a float32 or float64 tensor"),
        (0, lambda z: z.numpy(), "^f: got 'ndarray', accepted: a float32 or float64 tensor"),
        (0, lambda z: z[0], r"^f: got 'shape \(4,\)'"),
        (0, lambda z: z[:0], r"^f: got 'shape \(0, 4\)'"),
    ],
)
def test_embeddings_that_are_refused(position, change, match):
    with pytest.raises(ValueError, match=match):
        klot(*changed(position, change))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"epsilon": 0}, "^epsilon: got 0"),
        ({"epsilon_teacher": -1}, "^epsilon_teacher: got -1"),
        ({"tolerance": 0}, "^tolerance: got 0"),
        ({"max_iterations": 0}, "^max_iterations: got 0"),
    ],
)
def test_numbers_that_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        klot(*embeddings(), **options)
    with pytest.raises(ValueError, match=match):
        klot_of_affinities(draw(3, 4), draw(3, 4), **options)
    if "epsilon_teacher" not in options:
        with pytest.raises(ValueError, match=match):
            entropic_plan(draw(3, 4), **{"epsilon": 0.1, **options})


def test_affinities_that_are_refused():
    with pytest.raises(ValueError, match="^K: got '1 values"):
        entropic_plan(torch.tensor([[np.nan, 1.0]]), 1)
    with pytest.raises(ValueError, match=r"^K_teacher: got 'shape \(3, 4\)', accepted: .*\(3, 3\)"):
        klot_of_affinities(draw(3, 3), draw(3, 4))
    with pytest.raises(ValueError, match="^K_teacher: got 'torch.float32"):
        klot_of_affinities(draw(3, 3), draw(3, 3, dtype=F32))
