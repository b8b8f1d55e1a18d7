"""Entropic plans and KLOT: against POT, a plain log-domain loop, finite differences and autograd through the loop."""

import itertools
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from lib import transport
from lib.transport import cka, cosines, entropic_plan, infonce, klot, klot_of_affinities

EXACT = dict(tolerance=1e-12, max_iterations=20_000)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def embeddings(n=7, m=9, d=4, k=3, dtype=torch.float64, seed=0):
    return [
        draw(*shape, seed=4 * seed + i, dtype=dtype)
        for i, shape in enumerate([(n, d), (m, d), (n, k), (m, k)])
    ]


def plain_plan(K, epsilon, row=None, column=None, sweeps=2000):
    """Sinkhorn in the log domain, as in a textbook; differentiable."""
    n, m = K.shape
    row = torch.full((n,), 1 / n, dtype=K.dtype) if row is None else row
    column = torch.full((m,), 1 / m, dtype=K.dtype) if column is None else column
    u, v = torch.zeros(n, dtype=K.dtype), torch.zeros(m, dtype=K.dtype)
    for _ in range(sweeps):
        u = row.log() - torch.logsumexp(K / epsilon + v, 1)
        v = column.log() - torch.logsumexp(K / epsilon + u[:, None], 0)
    return (K / epsilon + u[:, None] + v).exp()


def plain_klot(K, K_teacher, epsilon, epsilon_teacher, **options):
    P, T = plain_plan(K, epsilon, **options), plain_plan(K_teacher, epsilon_teacher, **options)
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


def report_of(K, epsilon, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return entropic_plan(K, epsilon, **options)


# Plans ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (12, 5)])
def test_plan_is_pots(shape, epsilon):
    K = cosines(draw(shape[0], 3), draw(shape[1], 3, seed=1))
    got = report_of(K, epsilon, **EXACT)
    wanted = ot.sinkhorn(
        np.full(shape[0], 1 / shape[0]),
        np.full(shape[1], 1 / shape[1]),
        -K.numpy(),
        epsilon,
        method="sinkhorn_log",
        stopThr=1e-13,
        numItermax=100_000,
        warn=False,
    )
    np.testing.assert_allclose(got.plan.numpy(), wanted, atol=1e-10)


def test_plan_is_pots_with_other_marginals():
    row, column = draw(6, seed=2).exp(), draw(9, seed=3).exp()
    K = cosines(draw(6, 3), draw(9, 3, seed=1))
    got = report_of(K, 0.1, row=row, column=column, **EXACT).plan
    wanted = ot.sinkhorn(
        (row / row.sum()).numpy(),
        (column / column.sum()).numpy(),
        -K.numpy(),
        0.1,
        method="sinkhorn_log",
        stopThr=1e-13,
        numItermax=100_000,
    )
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize("epsilon", [0.001, 0.005, 0.01, 0.05, 0.5, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plan_reaches_its_tolerance_and_says_how(epsilon, dtype):
    K = cosines(draw(60, 8, dtype=dtype), draw(70, 8, seed=1, dtype=dtype))
    got = report_of(K, epsilon, tolerance=1e-4, max_iterations=5000)
    assert got.plan.dtype == dtype and got.error <= 1e-4
    assert abs((70 * got.plan.sum(0) - 1).square().mean().sqrt().item() - got.error) < 1e-5
    assert (got.plan.sum(0) - 1 / 70).abs().sum() <= got.error + 1e-6
    torch.testing.assert_close(
        got.plan.sum(1), torch.full((60,), 1 / 60, dtype=dtype), rtol=1e-5, atol=0
    )  # rows are exact


def test_plan_is_the_exponential_of_its_potential():
    K = cosines(draw(6, 3), draw(7, 3, seed=1))
    got = report_of(K, 0.1, **EXACT)
    torch.testing.assert_close((K / 0.1 + got.v).softmax(1) / 6, got.plan)


def test_small_epsilon_finds_the_assignment():
    K = cosines(draw(9, 4), draw(9, 4, seed=1))
    rows, columns = map(torch.as_tensor, linear_sum_assignment(K.numpy(), maximize=True))
    plan = entropic_plan(K, 0.001, tolerance=1e-6, max_iterations=20_000).plan
    assert torch.equal(plan[rows].argmax(1), columns) and (plan[rows, columns] * 9 > 0.9).all()


def test_great_epsilon_finds_the_product_of_the_marginals():
    plan = entropic_plan(cosines(draw(5, 3), draw(6, 3, seed=1)), 1e6, tolerance=1e-9).plan
    torch.testing.assert_close(
        plan, torch.full((5, 6), 1 / 30, dtype=torch.float64), atol=1e-7, rtol=0
    )


def test_mass_rows_is_bistochastic():
    K = cosines(draw(6, 3), draw(6, 3, seed=1))
    one, rows = (
        entropic_plan(K, 0.1, **EXACT).plan,
        entropic_plan(K, 0.1, mass="rows", **EXACT).plan,
    )
    torch.testing.assert_close(rows, 6 * one)
    torch.testing.assert_close(rows.sum(0), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (1, 2)])
def test_smallest_plans(shape):
    K = draw(*shape)
    got = report_of(K, 0.5, **EXACT).plan
    torch.testing.assert_close(got, plain_plan(K, 0.5))


@pytest.mark.parametrize(
    "name, K",
    {
        "dominated column": torch.cat(
            [torch.full((6, 1), -50.0), draw(6, 4, dtype=torch.float32)], 1
        ),
        "dominating column": torch.cat(
            [torch.full((6, 1), 50.0), draw(6, 4, dtype=torch.float32)], 1
        ),
        "identical rows": draw(1, 5, dtype=torch.float32).expand(6, 5),
        "identical columns": draw(6, 1, dtype=torch.float32).expand(6, 5),
        "constant": torch.zeros(6, 5),
        "huge": 1e6 * draw(6, 5, dtype=torch.float32),
        "tiny": 1e-30 * draw(6, 5, dtype=torch.float32),
        "huge offset": 1e4 + draw(6, 5, dtype=torch.float32),
    }.items(),
)
@pytest.mark.parametrize("epsilon", [0.001, 0.05, 10.0])
@pytest.mark.filterwarnings("ignore:.*marginal error")
def test_odd_affinities_give_no_nan(name, K, epsilon):
    plan = entropic_plan(K, epsilon).plan
    assert torch.isfinite(plan).all() and (plan >= 0).all()
    torch.testing.assert_close(plan.sum(1), torch.full((6,), 1 / 6))
    value = klot_of_affinities(K.clone().requires_grad_(), K.flip(0), epsilon, epsilon)
    assert torch.isfinite(value)


def test_permuting_rows_and_columns_permutes_the_plan():
    K, p, q = cosines(draw(6, 3), draw(8, 3, seed=1)), torch.randperm(6), torch.randperm(8)
    torch.testing.assert_close(
        entropic_plan(K[p][:, q], 0.05, **EXACT).plan, entropic_plan(K, 0.05, **EXACT).plan[p][:, q]
    )


def test_acceleration_needs_far_fewer_sweeps_than_plain_iteration():
    K = cosines(draw(150, 8), draw(150, 8, seed=1))
    sweeps, v = 0, torch.zeros(150, dtype=torch.float64)
    while sweeps < 5000:  # plain Sinkhorn on v
        columns = (K / 0.02 + v).softmax(1).mean(0)
        sweeps += 1
        if (columns - 1 / 150).abs().sum() <= 1e-4:
            break
        v = v - (150 * columns).log()
    assert report_of(K, 0.02, tolerance=1e-4).iterations < sweeps / 3


def test_warns_with_what_is_left():
    with pytest.warns(
        UserWarning, match=r"K: marginal error \d\.\de-0\d after 2 sweeps, tolerance 1.0e-09"
    ):
        entropic_plan(
            cosines(draw(20, 3), draw(20, 3, seed=1)), 0.01, tolerance=1e-9, max_iterations=2
        )


def test_tolerance_out_of_reach_ends_with_a_warning_and_the_best_plan():
    K = cosines(draw(30, 5, dtype=torch.float32), draw(30, 5, seed=1, dtype=torch.float32))
    with pytest.warns(UserWarning, match="use float64"):
        got = entropic_plan(K, 0.05, tolerance=1e-30, max_iterations=300)
    assert got.error < 1e-5
    assert abs((30 * got.plan.double().sum(0) - 1).square().mean().sqrt().item() - got.error) < 1e-6


def test_v_that_wanders_far_is_absorbed(monkeypatch):
    K = cosines(draw(20, 3), draw(20, 3, seed=1))
    wanted = entropic_plan(K, 0.01, **EXACT).plan
    monkeypatch.setattr(transport, "FAR", 0.1)
    torch.testing.assert_close(entropic_plan(K, 0.01, **EXACT).plan, wanted)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("far", [0.1, 30.0])
def test_dual_objective(dense, far, monkeypatch):
    """By which an accelerated step is judged: its changes are those of <b, v> - <a, log sum exp(K / eps + v)>, kept exponentials or not."""
    monkeypatch.setattr(transport, "FAR", far)
    K, column = draw(6, 8), draw(8, seed=1).exp()
    kernel = transport._Kernel(
        transport._Affinity(K, None, 0.5), *transport._marginals(K, 6, 8, None, column), dense
    )
    kernel.start()
    vs = [draw(8, seed=seed) for seed in (2, 3)]
    got = []
    for v in vs:
        kernel.sweep(v)
        got.append(kernel.dual)
    wanted = [
        (column / column.sum() @ v - torch.logsumexp(K / 0.5 + v, 1).mean()).item() for v in vs
    ]
    assert got[1] - got[0] == pytest.approx(wanted[1] - wanted[0], rel=1e-9)


# KLOT -------------------------------------------------------------------------------------------------------------------------


def test_klot_of_affinities_is_the_plain_one():
    K, K_teacher = draw(6, 8) / 3, draw(6, 8, seed=1) / 3
    torch.testing.assert_close(
        klot_of_affinities(K, K_teacher, 0.2, 0.1, **EXACT), plain_klot(K, K_teacher, 0.2, 0.1)
    )


def test_gradient_theorem_three_ways():
    """Theorem 5.1: finite differences, autograd through the unrolled loop, closed form; with the student's eps below."""
    K, K_teacher, epsilon, epsilon_teacher = (
        (draw(5, 6) / 3).requires_grad_(),
        draw(5, 6, seed=1) / 3,
        0.2,
        0.05,
    )
    (closed,) = torch.autograd.grad(
        klot_of_affinities(K, K_teacher, epsilon, epsilon_teacher, **EXACT), K
    )
    (unrolled,) = torch.autograd.grad(
        plain_klot(K, K_teacher, epsilon, epsilon_teacher, sweeps=500), K
    )
    T = plain_plan(K_teacher, epsilon_teacher)
    numeric = numeric_gradient(
        lambda z: -(T * plain_plan(z, epsilon, sweeps=300).log()).sum(), K.detach()
    )
    difference = plain_plan(K.detach(), epsilon) - T
    torch.testing.assert_close(closed, difference / epsilon)
    torch.testing.assert_close(closed, unrolled, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(closed, numeric, atol=1e-7, rtol=1e-5)
    assert (
        difference / epsilon_teacher - numeric
    ).norm() > 2 * numeric.norm()  # eq. 13 of the main text (v1), with the teacher's eps


@pytest.mark.parametrize("mode", ["dense", "stream"])
@pytest.mark.parametrize("n, m", [(7, 9), (9, 7), (1, 4), (4, 1), (2, 2), (1, 1)])
def test_klot_on_embeddings(mode, n, m):
    f, g, a, b = embeddings(n, m)
    f.requires_grad_(), g.requires_grad_()
    value = klot(f, g, a, b, 0.5, 0.3, mode=mode, **EXACT)
    got = torch.autograd.grad(value, (f, g))
    wanted = plain_klot(cosines(f, g), cosines(a, b), 0.5, 0.3, sweeps=1000)
    torch.testing.assert_close(value, wanted, atol=1e-10, rtol=1e-8)
    for mine, plain in zip(got, torch.autograd.grad(wanted, (f, g))):
        torch.testing.assert_close(mine, plain, atol=1e-9, rtol=1e-6)


def test_gradcheck():
    f, g, a, b = embeddings(4, 5)
    f.requires_grad_(), g.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f, g: klot(f, g, a, b, 0.3, 0.2, **EXACT), (f, g), atol=1e-6
    )


@pytest.mark.parametrize("mode", ["dense", "stream"])
def test_finite_differences(mode):
    f, g, a, b = embeddings(4, 5)
    _, of_f, of_g = gradients([f, g, a, b], mode)
    value = lambda f, g: klot(f, g, a, b, 0.1, 0.05, mode=mode, **EXACT).item()
    torch.testing.assert_close(
        of_f, numeric_gradient(lambda z: value(z, g), f), atol=1e-7, rtol=1e-5
    )
    torch.testing.assert_close(
        of_g, numeric_gradient(lambda z: value(f, z), g), atol=1e-7, rtol=1e-5
    )


@pytest.mark.parametrize("mode", ["dense", "stream"])
def test_blocks_of_rows_do_not_show(mode, monkeypatch):
    tensors = embeddings(23, 17, dtype=torch.float64)
    one = gradients(tensors, mode)
    monkeypatch.setattr(transport, "BYTES_IN_MEMORY", 17 * 8 * 4)
    monkeypatch.setattr(transport, "BYTES_IN_CACHE", 17 * 8 * 3)
    for mine, other in zip(gradients(tensors, mode), one):
        torch.testing.assert_close(mine, other)


def gradients(tensors, mode, **options):
    f, g, a, b = (z.clone() for z in tensors)
    f.requires_grad_(), g.requires_grad_()
    value = klot(f, g, a, b, 0.1, 0.05, mode=mode, **{**EXACT, **options})
    return [value.detach(), *torch.autograd.grad(value, (f, g))]


@pytest.mark.parametrize("mode", ["dense", "stream"])
def test_a_loose_tolerance_still_gives_kl_of_the_plans_at_hand(mode):
    """The identity that saves the loss a second table holds for any v, converged or not."""
    f, g, a, b = embeddings(30, 40)
    loose = dict(tolerance=0.3)
    P, T = (
        entropic_plan(cosines(f, g), 0.05, **loose).plan,
        entropic_plan(cosines(a, b), 0.02, **loose).plan,
    )
    assert (P.sum(0) - T.sum(0)).abs().sum() > 0.01
    torch.testing.assert_close(
        klot(f, g, a, b, 0.05, 0.02, mode=mode, **loose), (T * (T / P).log()).sum()
    )


def test_modes_and_numbers_agree():
    dense = gradients(embeddings(40, 50), "dense", tolerance=1e-5)
    assert all(
        torch.allclose(x, y, atol=1e-4)
        for x, y in zip(dense, gradients(embeddings(40, 50), "stream", tolerance=1e-5))
    )
    assert all(
        torch.allclose(x, y.double(), atol=1e-4)
        for x, y in zip(
            dense, gradients(embeddings(40, 50, dtype=torch.float32), "dense", tolerance=1e-5)
        )
    )


def test_gradient_across_the_embeddings_only():
    value, f, g = gradients(tensors := embeddings(), "dense")
    assert (f * tensors[0]).sum(1).abs().max() < 1e-12 < f.norm() and (g * tensors[1]).sum(
        1
    ).abs().max() < 1e-12
    _, twice, _ = gradients([2 * tensors[0], *tensors[1:]], "dense")
    torch.testing.assert_close(twice, f / 2)


def test_klot_is_zero_where_student_is_teacher_and_positive_elsewhere():
    f, g, a, b = embeddings()
    assert klot(f, g, f, g, 0.1, 0.1, **EXACT).abs() < 1e-10
    assert klot(f, g, a, b, 0.1, 0.1, **EXACT) > 0.01
    here = [z.clone().requires_grad_() for z in (f, g)]
    slopes = torch.autograd.grad(klot(*here, f, g, 0.1, 0.1, **EXACT), here)
    assert max(z.abs().max() for z in slopes) < 1e-10


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e3, 1e12])
@pytest.mark.parametrize("mode", ["dense", "stream"])
def test_lengths_do_not_count(scale, mode):
    tensors = embeddings(6, 6, dtype=torch.float32)
    near = dict(mode=mode, tolerance=1e-5)
    value, f, _ = gradients(tensors, **near)
    scaled, of_scaled, _ = gradients(
        [scale * tensors[0], *tensors[1:3], tensors[3] / scale], **near
    )
    torch.testing.assert_close(scaled, value, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scale * of_scaled, f, atol=1e-3, rtol=1e-3)


def test_mass_multiplies_value_and_gradient():
    one, rows = (
        gradients(embeddings(6, 5), "dense"),
        gradients(embeddings(6, 5), "dense", mass="rows"),
    )
    for x, y in zip(one, rows):
        torch.testing.assert_close(6 * x, y)


def test_marginals_in_klot():
    row, column = draw(7, seed=8).exp(), draw(9, seed=9).exp()
    f, g, a, b = embeddings()
    got = klot(f, g, a, b, 0.2, 0.1, row=row, column=column, **EXACT)
    torch.testing.assert_close(
        got,
        plain_klot(
            cosines(f, g),
            cosines(a, b),
            0.2,
            0.1,
            row=row / row.sum(),
            column=column / column.sum(),
        ),
    )


def test_upstream_gradient_and_sides_left_out():
    f, g, a, b = embeddings()
    f.requires_grad_()
    (slope,) = torch.autograd.grad(3 * klot(f, g, a, b, 0.2, 0.1), f)
    (once,) = torch.autograd.grad(klot(f, g, a, b, 0.2, 0.1), f)
    torch.testing.assert_close(slope, 3 * once)
    assert not klot(f.detach(), g, a, b).requires_grad


def test_second_backward():
    f, g, a, b = embeddings()
    f.requires_grad_()
    value = klot(f, g, a, b, 0.2, 0.1, mode="dense")
    one, two = (torch.autograd.grad(value, f, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(one, two)
    value = klot(f, g, a, b, 0.2, 0.1, mode="stream")
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="call klot again"):
        value.backward()


def test_report_and_the_choice_of_mode(monkeypatch):
    report = {}
    klot(*embeddings(), report=report)
    assert (
        report["mode"] == "dense"
        and report["student"]["error"] <= 1e-3
        and report["teacher"]["iterations"] >= 1
    )
    monkeypatch.setattr(
        transport.psutil, "virtual_memory", lambda: type("", (), {"available": 1000})
    )
    klot(*embeddings(), report=report)
    assert report["mode"] == "stream"


def test_klot_names_the_plan_that_is_not_done():
    with pytest.warns(UserWarning, match="teacher: marginal error") as caught:
        klot(*embeddings(30, 30), 1.0, 0.001, max_iterations=3)
    assert len(caught) == 1


def test_stream_holds_no_matrix():
    """Every tensor made in stream mode is far smaller than n x m."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(
                z.numel()
                for z in (result if isinstance(result, (tuple, list)) else [result])
                if isinstance(z, torch.Tensor)
            )
            return result

    f, g, a, b = embeddings(400, 300, dtype=torch.float32)
    with pytest.MonkeyPatch.context() as patch, Watch():
        patch.setattr(transport, "BYTES_IN_MEMORY", 300 * 4 * 10)
        klot(f.requires_grad_(), g.requires_grad_(), a, b, mode="stream").backward()
        assert max(sizes) <= 300 * max(
            10, transport.MEMORY + 1
        )  # rows of a block; steps that the acceleration remembers
        klot(f, g, a, b, mode="dense")
    assert max(sizes) >= 400 * 300


# InfoNCE and CKA --------------------------------------------------------------------------------------------------------------


def test_infonce_by_loops():
    f, g, a, b = embeddings(5, 6)
    K, T = cosines(f, g).numpy() / 0.2, cosines(a, b).numpy() / 0.1

    def kl(target, student):
        p, q = np.exp(target) / np.exp(target).sum(), np.exp(student) / np.exp(student).sum()
        return sum(x * np.log(x / y) for x, y in zip(p, q))

    rows, columns = (
        np.mean([kl(T[i], K[i]) for i in range(5)]),
        np.mean([kl(T[:, j], K[:, j]) for j in range(6)]),
    )
    assert infonce(f, g, a, b, 0.2, 0.1).item() == pytest.approx((rows + columns) / 2, rel=1e-10)


def test_infonce_with_the_identity_as_teacher_is_clips():
    f, g, *_ = embeddings(6, 6)
    a = torch.eye(6, dtype=torch.float64)
    logits, y = cosines(f, g) / 0.1, torch.arange(6)
    clip = (
        torch.nn.functional.cross_entropy(logits, y)
        + torch.nn.functional.cross_entropy(logits.T, y)
    ) / 2
    torch.testing.assert_close(infonce(f, g, a, a, 0.1, 0.001), clip)


def test_cka_by_the_whole_matrices():
    f, g, a, b = embeddings(7, 9)
    centre = lambda K: K - K.mean(0) - K.mean(1, keepdim=True) + K.mean()
    K, T = centre(cosines(f, g)), centre(cosines(a, b))
    torch.testing.assert_close(cka(f, g, a, b), 1 - (K * T).sum() / (K.norm() * T.norm()))
    assert cka(f, g, f, g).abs() < 1e-12


@pytest.mark.parametrize("divergence", [cka, infonce])
def test_gradients_of_the_others(divergence):
    f, g, a, b = embeddings(4, 5)
    assert torch.autograd.gradcheck(
        lambda f, g: divergence(f, g, a, b), (f.requires_grad_(), g.requires_grad_())
    )


def test_cka_of_one_direction_only():
    f, g, a, b = embeddings(4, 5)
    value = cka(torch.ones(4, 2, dtype=torch.float64).requires_grad_(), g[:, :2], a, b)
    assert value == 1


# Refusals ---------------------------------------------------------------------------------------------------------------------


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
    "call, match",
    [
        (
            lambda: klot(*changed(0, with_entry(np.nan))),
            "^f: got '1 values that are NaN or infinite', accepted: finite numbers$",
        ),
        (lambda: klot(*changed(3, with_entry(np.inf))), "^b: got '1 values"),
        (
            lambda: klot(*changed(1, lambda z: z[:, :2])),
            r"^g: got 'shape \(9, 2\)', accepted: rows of 4 numbers, as in f$",
        ),
        (lambda: klot(*changed(3, lambda z: z[:, :2])), "^b: got .* as in a$"),
        (
            lambda: klot(*changed(2, lambda z: z[:3])),
            "^a: got '3 rows, .* accepted: 7 rows as in f",
        ),
        (lambda: klot(*changed(3, lambda z: z[:3])), "^b: got '3 rows"),
        (lambda: klot(*changed(1, lambda z: z.float())), "^g: got 'torch.float32"),
        (lambda: klot(*changed(2, lambda z: z.float())), "^a: got .*float32"),
        (lambda: klot(*changed(0, lambda z: z * 0)), "^f: got 'rows of length 0"),
        (
            lambda: klot(*changed(1, lambda z: z.half())),
            "^g: got 'torch.float16.* accepted: a float32 or float64 tensor",
        ),
        (lambda: klot(*changed(0, lambda z: z.numpy())), "^f: got <class 'numpy.ndarray'>"),
        (lambda: klot(*changed(0, lambda z: z[0])), r"^f: got 'torch.float64, shape \(4,\)'"),
        (lambda: klot(*changed(0, lambda z: z[:0])), r"^f: got .*\(0, 4\)"),
        (lambda: klot(*embeddings(), epsilon=0), "^epsilon: got 0"),
        (lambda: klot(*embeddings(), epsilon_teacher=-1), "^epsilon_teacher: got -1"),
        (lambda: klot(*embeddings(), tolerance=0), "^tolerance: got 0"),
        (lambda: klot(*embeddings(), max_iterations=0), "^max_iterations: got 0"),
        (
            lambda: klot(*embeddings(), mode="sparse"),
            "^mode: got 'sparse', accepted: 'dense', 'stream' or None",
        ),
        (lambda: klot(*embeddings(), mass="n"), "^mass: got 'n', accepted: 'one' or 'rows'"),
        (lambda: klot(*embeddings(), row=torch.ones(3)), r"^row: got 'shape \(3,\)"),
        (
            lambda: klot(*embeddings(), column=torch.zeros(9)),
            "^column: got .* accepted: 9 finite numbers > 0",
        ),
        (
            lambda: entropic_plan(draw(3, 3) * 1e300, 1e-30),
            "^epsilon: got 1e-30, accepted: a number that K can be divided by",
        ),
        (lambda: entropic_plan(torch.tensor([[np.nan, 1.0]]), 1), "^K: got '1 values"),
        (lambda: klot_of_affinities(draw(3, 3), draw(3, 4)), r"^K_teacher: got 'shape \(3, 4\)"),
        (lambda: cka(*changed(2, with_entry(np.nan))), "^a: got '1 values"),
        (lambda: infonce(*changed(3, lambda z: z * 0)), "^b: got 'rows of length 0"),
        (lambda: cosines(torch.zeros(2, 2), torch.ones(2, 2)), "^x: got 'rows of length 0"),
    ],
)
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match):
        call()


# Memory that is used again ----------------------------------------------------------------------------------------------------


def value_and_gradients(z, **options):
    f, g = (x.clone().requires_grad_() for x in z[:2])
    value = klot(f, g, *z[2:], **options)
    value.backward()
    return value.item(), f.grad, g.grad


@pytest.mark.parametrize("mode", ["dense", "stream"])
def test_memory_is_used_again_and_nothing_is_carried_over(mode):
    cases, fresh = (
        [
            embeddings(40, 30, dtype=torch.float32),
            embeddings(60, 50),
            embeddings(dtype=torch.float32),
        ],
        [],
    )
    for z in cases:
        transport._WORKSPACE.held.clear()
        fresh.append(value_and_gradients(z, mode=mode))
    transport._WORKSPACE.held.clear()
    for k in (
        0,
        1,
        2,
        0,
        2,
        1,
    ):  # larger, smaller and of another type, in memory that the last one has filled
        again = value_and_gradients(cases[k], mode=mode)
        assert again[0] == fresh[k][0] and all(
            torch.equal(x, y) for x, y in zip(again[1:], fresh[k][1:])
        )
    addresses = {name: held.data_ptr() for name, held in transport._WORKSPACE.held.items()}
    value_and_gradients(cases[0], mode=mode)
    assert addresses == {name: held.data_ptr() for name, held in transport._WORKSPACE.held.items()}


def test_memory_of_inference_serves_training():
    transport._WORKSPACE.held.clear()
    z = embeddings(20, 20)
    with torch.inference_mode():
        value = klot(*z).item()
    assert value_and_gradients(z)[0] == value


def test_threads_have_memory_of_their_own():
    cases = [embeddings(80, 70, seed=case) for case in range(4)]
    alone = [value_and_gradients(z) for z in cases]
    with ThreadPoolExecutor(4) as pool:
        for together in [pool.map(value_and_gradients, cases) for _ in range(10)]:
            for (value, *gradients), (wanted, *right) in zip(together, alone):
                assert value == wanted and all(torch.equal(x, y) for x, y in zip(gradients, right))


def test_large_matrices_are_not_held(monkeypatch):
    transport._WORKSPACE.held.clear()
    monkeypatch.setattr(transport, "BYTES_TO_REUSE", 20 * 30 * 8 - 1)
    value_and_gradients(embeddings(20, 30), mode="dense")
    assert not transport._WORKSPACE.held


# Thinned plans ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def thin(monkeypatch):
    """Small plans are thinned out, too, and in several blocks; the sizes of thinned sweeps are counted."""
    counted, sweep = [], transport._Kernel._thin_sweep
    monkeypatch.setattr(transport, "THIN_FROM", 1)
    monkeypatch.setattr(transport, "THIN", 1.0)
    for name in ("BYTES_IN_CACHE", "BYTES_IN_MEMORY"):
        monkeypatch.setattr(transport, name, 50 * 8 * 7)
    monkeypatch.setattr(
        transport._Kernel,
        "_thin_sweep",
        lambda self, v: counted.append(self.thinned.nnz) or sweep(self, v),
    )
    return counted


@pytest.mark.parametrize("mode", ["dense", "stream"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-8), (torch.float32, 1e-4)])
def test_a_thinned_plan_is_as_right_as_a_whole_one(thin, mode, dtype, tolerance):
    f, g, a, b = embeddings(60, 50, dtype=dtype)
    row, column = (draw(n, seed=9).double().abs() + 0.1 for n in (60, 50))
    report = {}
    value, *gradients = value_and_gradients(
        [f, g, a, b],
        epsilon=0.3,
        epsilon_teacher=0.01,
        row=row,
        column=column,
        mode=mode,
        tolerance=tolerance,
        report=report,
    )
    assert thin and min(thin) < 0.5 * 60 * 50, "the teacher's plan should have been thinned"
    assert max(report[name]["error"] for name in ("student", "teacher")) <= tolerance
    f, g, a, b = (z.double() for z in (f, g, a, b))
    f, g = f.requires_grad_(), g.requires_grad_()
    wanted = plain_klot(
        cosines(f, g),
        cosines(a, b),
        0.3,
        0.01,
        row=row / row.sum(),
        column=column / column.sum(),
        sweeps=20_000,
    )
    wanted.backward()
    assert value == pytest.approx(wanted.item(), rel=30 * tolerance)
    for got, right in zip(gradients, (f.grad, g.grad)):
        assert (got - right).norm() < 30 * tolerance * right.norm()


@pytest.mark.parametrize("epsilon", [0.001, 0.01, 0.1, 10.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_the_error_of_a_thinned_plan_is_that_of_the_whole(thin, epsilon, tolerance):
    K = draw(40, 50)
    K[:, 3] += 5  # a column that everybody wants
    plan = report_of(K, epsilon, tolerance=tolerance, max_iterations=20_000)
    chi = ((plan.plan.sum(0) - 1 / 50) ** 2 * 50).sum().sqrt().item()
    assert plan.error == pytest.approx(chi, rel=1e-6, abs=1e-12) and chi <= tolerance
    torch.testing.assert_close(plan.plan.sum(1), torch.full((40,), 1 / 40, dtype=torch.float64))
    assert (
        plan.plan > 0
    ).double().mean() > 0.99 or epsilon == 0.001  # nothing is left out of what is returned


@pytest.mark.parametrize("left", range(1, 40, 3))
def test_when_sweeps_run_out_the_whole_plan_is_returned(thin, left):
    K = draw(40, 50)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        plan = entropic_plan(K, 0.005, tolerance=1e-6, max_iterations=left)
    chi = ((plan.plan.sum(0) - 1 / 50) ** 2 * 50).sum().sqrt().item()
    assert plan.error == pytest.approx(chi, rel=1e-6) and bool(said) == (chi > 1e-6)
    assert any(thin) or left <= transport.THIN_AFTER + 1


def test_what_is_not_thin_is_left_alone(thin, monkeypatch):
    monkeypatch.setattr(transport, "THIN", 0.1)
    report_of(draw(40, 50), 1.0, tolerance=1e-9)
    assert not thin


def test_identical_rows_and_single_ones_thinned(thin):
    for K in (
        torch.zeros(20, 30),
        draw(1, 30, dtype=torch.float32).expand(20, 30),
        draw(1, 9),
        draw(9, 1),
        draw(2, 2),
        1e3 * draw(12, 12),
    ):
        for epsilon in (
            0.1,
            1.0,
        ):  # the last one is almost an assignment: thinned sweeps would go on for ever
            plan = entropic_plan(K.contiguous(), epsilon, tolerance=1e-4, max_iterations=5000)
            assert torch.isfinite(plan.plan).all() and plan.error <= 1e-4


def test_a_thinned_stream_raises_the_same_dual_as_the_whole(thin, monkeypatch):
    monkeypatch.setattr(transport, "THIN", 4.0)
    f, g, *_ = embeddings(60, 50)
    for dense in (True, False):
        kernel = transport._Kernel(
            transport._Affinity(f, g, 0.05, f.norm(dim=1), g.norm(dim=1)),
            *transport._marginals(f, 60, 50, None, None),
            dense,
        )
        v = kernel.start() + 0.1
        columns, dual = kernel.sweep(v), kernel.dual
        kernel.thin(1e-12)
        torch.testing.assert_close(kernel.sweep(v), columns)
        assert kernel.thinned is not None and kernel.dual == pytest.approx(dual, rel=1e-9)


def clusters(n, m, k=60, seed=1):
    """Affinities of points in k clusters: many near partners, and so a slow iteration."""
    centres, c = (
        draw(k, 32, seed=seed),
        torch.randint(k, (max(n, m),), generator=torch.Generator().manual_seed(seed)),
    )
    z = centres[c] + 0.3 * draw(max(n, m), 32, seed=seed + 1)
    return cosines(*(z[:q] + 0.1 * draw(q, 32, seed=seed + 2 + k) for k, q in enumerate((n, m))))


@pytest.mark.parametrize(
    "n, m, k, epsilon, seed, sweeps",
    [
        (40, 50, 5, 0.002, 3, 20),
        (40, 50, 5, 0.01, 2, 60),
        (80, 70, 8, 0.01, 2, 20),
        (80, 70, 8, 0.01, 2, 30),
    ],
)
def test_the_best_of_the_whole_plans_seen_is_returned(monkeypatch, n, m, k, epsilon, seed, sweeps):
    """An error of a thinned plan may be far too small: it must not decide which potential is returned."""
    seen, sweep = [], transport._Kernel.sweep

    def watched(self, v):
        columns = sweep(self, v)
        if self.thinned is None:
            seen.append(((columns - self.column) ** 2 / self.column).sum().sqrt().item())
        return columns

    monkeypatch.setattr(transport._Kernel, "sweep", watched)
    monkeypatch.setattr(transport, "THIN_FROM", 1)
    monkeypatch.setattr(transport, "THIN", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = entropic_plan(
            clusters(n, m, k, seed), epsilon, tolerance=1e-3, max_iterations=sweeps
        )
    assert plan.error == min(seen)


def test_thinning_needs_hardly_more_sweeps(monkeypatch):
    for seed in range(3):
        whole = report_of(clusters(400, 380, seed=seed), 0.01, tolerance=1e-3)
        monkeypatch.setattr(transport, "THIN_FROM", 1)
        thinned = report_of(clusters(400, 380, seed=seed), 0.01, tolerance=1e-3)
        monkeypatch.undo()
        assert thinned.error <= 1e-3 and thinned.iterations < 1.5 * whole.iterations


def test_autocast_changes_nothing():
    z = embeddings(40, 30, dtype=torch.float32)
    plan, (value, *gradients) = entropic_plan(cosines(*z[2:]), 0.05).plan, value_and_gradients(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        f, g = (x.clone().requires_grad_() for x in z[:2])
        again = klot(f, g, *z[2:])
        within = entropic_plan(cosines(*z[2:]).float(), 0.05)
    again.backward()
    assert (
        again.item() == value
        and torch.equal(f.grad, gradients[0])
        and torch.equal(g.grad, gradients[1])
    )
    assert (
        within.error
        == pytest.approx(((within.plan.sum(0) - 1 / 30) ** 2 * 30).sum().sqrt().item(), rel=1e-3)
        and plan.shape == within.plan.shape
    )
