"""Every loss against plain loops, with its gradient; what a loss must not see; refusals."""

import math
import warnings

import numpy as np
import pytest
import torch
from plain import assert_refused, normal, plain_cosines, plain_siglip
from scipy.spatial.distance import cosine, jensenshannon

from lib.alignment import Batch, Maps, align
from lib.baselines import NNCLR, SAIL, SCLIP, SemiSupervisedSAIL, Structure

D_X, D_Y, D = 6, 5, 4
PAIRS = normal(12, D_X, seed=3), normal(12, D_Y, seed=4)
REST = normal(30, D_X, seed=5), normal(40, D_Y, seed=6)
PAIR = torch.tensor([7, 2, 10, 3, 11])
BATCH = Batch(PAIRS[0][PAIR], PAIRS[1][PAIR], REST[0][:7], REST[1][:9], PAIR, step=30)


def maps():
    torch.manual_seed(0)
    return Maps(D_X, D_Y, D).double()


# The reference: plain loops


def plain_cross_entropy(logits, targets):
    total = 0
    for row, target in zip(logits, targets):
        log_p = (row.exp() / row.exp().sum()).log()
        total -= sum(t * log_p[j] for j, t in enumerate(target))
    return total / len(logits)


def plain_infonce(K):
    partners = torch.eye(*K.shape)
    return (plain_cross_entropy(K, partners) + plain_cross_entropy(K.T, partners.T)) / 2


def joined(z, rest):
    return torch.stack([*z, *rest])


def plain_sail(f, g, loss, batch):
    return plain_siglip(f(batch.a), g(batch.b), loss.siglip.scale, loss.siglip.bias)


def plain_semi(f, g, loss, batch):
    scale, bias = loss.siglip.scale, loss.siglip.bias
    u, v = f(batch.a), g(batch.b)
    of_u = plain_siglip(u, joined(v, g(batch.y)), scale, bias)
    of_v = plain_siglip(v, joined(u, f(batch.x)), scale, bias)
    return (of_u + of_v) / 2


def plain_structure(f, g, loss, batch, weight, tau, unpaired, warmup):
    value = plain_infonce(plain_cosines(f(batch.a), g(batch.b)) / tau)
    weight = weight * batch.step / warmup if warmup else weight
    for map_, z, rest in ((f, batch.a, batch.x), (g, batch.b, batch.y)):
        z = joined(z, rest) if unpaired else z
        tables = []
        for table in (z, map_(z)):
            table = torch.stack([row / (row @ row).sqrt() for row in table])
            table = table - sum(table) / len(table)
            tables.append([torch.stack([(p @ q / tau).exp() for q in table]) for p in table])
        for p, q in zip(*tables):
            p, q = p / p.sum(), q / q.sum()
            m = (p + q) / 2
            both = (p * (p / m).log()).sum() + (q * (q / m).log()).sum()
            value = value + weight * both / 2 / len(z) / 2
    return value


def plain_nnclr(f, g, loss, batch, weight, k):
    scale, bias = loss.siglip.scale, loss.siglip.bias
    value = plain_siglip(f(batch.a), g(batch.b), scale, bias)
    near = [
        [sorted(range(len(rest)), key=lambda j: cosine(z[i], rest[j]))[:k] for i in batch.pair]
        for z, rest in zip(PAIRS, REST)
    ]
    for j in range(k):
        near_a, near_b = (
            torch.stack([rest[rows[j]] for rows in table]) for table, rest in zip(near, REST)
        )
        of_a = plain_siglip(f(batch.a), g(near_b), scale, bias)
        of_b = plain_siglip(g(batch.b), f(near_a), scale, bias)
        value = value + weight / k * (of_a + of_b)
    return value


def plain_partners(alike, pseudo, scale):
    if pseudo == "hard":
        return torch.eye(alike.shape[1])[alike.argmax(1)]
    P = (scale * alike).exp()
    if pseudo == "ot":  # Sinkhorn, in its oldest form
        for _ in range(3000):
            P = P / P.sum(0) / P.shape[1]
            P = P / P.sum(1, keepdim=True) / P.shape[0]
    return P / P.sum(1, keepdim=True)


def plain_sclip(f, g, loss, batch, weight, pseudo, space):
    scale, n = loss.scale, len(batch.a)
    u, v, p, q = f(batch.a), g(batch.b), f(batch.x), g(batch.y)
    of_u = scale * plain_cosines(u, joined(v, q))
    of_v = scale * plain_cosines(v, joined(u, p))
    value = plain_cross_entropy(of_u, torch.eye(n, of_u.shape[1])) / 2
    value = value + plain_cross_entropy(of_v, torch.eye(n, of_v.shape[1])) / 2
    for rest, own, images, partners, likes in (
        (batch.x, batch.a, p, v, u),
        (batch.y, batch.b, q, u, v),
    ):
        alike = plain_cosines(rest, own) if space == "features" else plain_cosines(images, likes)
        targets = plain_partners(alike.detach(), pseudo, scale.item())
        logits = scale * plain_cosines(images, partners)
        value = value + weight * plain_cross_entropy(logits, targets) / 2
    return value


METHODS = {  # the loss, its plain loop, what that is told
    "SAIL": (SAIL, plain_sail, ()),
    "semi-supervised SAIL": (SemiSupervisedSAIL, plain_semi, ()),
    "STRUCTURE": (lambda: Structure(0.7), plain_structure, (0.7, 0.07, True, 0)),
    "STRUCTURE, pairs": (
        lambda: Structure(0.7, 0.2, unpaired=False),
        plain_structure,
        (0.7, 0.2, False, 0),
    ),
    "STRUCTURE, warm": (lambda: Structure(3.0, warmup=40), plain_structure, (3.0, 0.07, True, 40)),
    "NNCLR": (lambda: NNCLR(PAIRS, REST, 5, 0.6), plain_nnclr, (0.6, 5)),
    "NNCLR, nearest": (lambda: NNCLR(PAIRS, REST, 1), plain_nnclr, (1.0, 1)),
    "S-CLIP": (lambda: SCLIP(0.6, tolerance=1e-12), plain_sclip, (0.6, "ot", "features")),
    "S-CLIP, soft": (lambda: SCLIP(0.6, "soft"), plain_sclip, (0.6, "soft", "features")),
    "S-CLIP, hard": (lambda: SCLIP(0.6, "hard"), plain_sclip, (0.6, "hard", "features")),
    "S-CLIP, among embeddings": (
        lambda: SCLIP(0.6, "ot", "embeddings", 5.0, tolerance=1e-12),
        plain_sclip,
        (0.6, "ot", "embeddings"),
    ),
}


def method(name):
    return METHODS[name][0]().double()


@pytest.mark.parametrize("name", METHODS)
def test_every_loss_is_the_plain_loop_with_its_gradient(name):
    loss, model = method(name), maps()
    _, plain, told = METHODS[name]
    value, expected = loss(model, BATCH), plain(model.f, model.g, loss, BATCH, *told)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    learned = [*model.parameters(), *loss.parameters()]
    ours, theirs = torch.autograd.grad(value, learned), torch.autograd.grad(expected, learned)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)
        assert a.abs().max() > 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_every_gradient_is_that_of_finite_differences(name):
    """In f, g, scale and bias; but S-CLIP's partners are constants, which change with the scale."""
    loss, model, step = method(name), maps(), 1e-5
    learned = [*model.parameters(), *(() if isinstance(loss, SCLIP) else loss.parameters())]
    if name == "S-CLIP, among embeddings":  # or with the embeddings
        x, y = (model.f(BATCH.x), model.f(BATCH.a)), (model.g(BATCH.y), model.g(BATCH.b))
        partners = iter([loss.partners(plain_cosines(*z)) for z in (x, y)] * 3)
        loss.partners = lambda alike: next(partners)
    along = [normal(*w.shape, seed=k) for k, w in enumerate(learned)]
    gradient = torch.autograd.grad(loss(model, BATCH), learned)
    exact = sum((g * direction).sum() for g, direction in zip(gradient, along)).item()
    values = []
    for size in (step, -2 * step):
        for w, direction in zip(learned, along):
            w.data += size * direction
        values.append(loss(model, BATCH).item())
    numeric = (values[0] - values[1]) / (2 * step)
    assert numeric == pytest.approx(exact, rel=1e-5) and abs(exact) > 1e-4


# What each one means


@pytest.mark.parametrize("name", METHODS)
def test_only_the_semi_supervised_look_at_unpaired_data(name):
    loss, model = method(name), maps()
    other = BATCH._replace(x=BATCH.x.flip(1), y=BATCH.y.flip(1))
    same = loss(model, other).item() == loss(model, BATCH).item()
    pairs_only = name in ("SAIL", "STRUCTURE, pairs")
    assert same == (
        pairs_only or isinstance(loss, NNCLR)
    )  # which has its neighbours from the start
    if same:
        assert loss(model, BATCH._replace(x=None, y=None)).item() == loss(model, BATCH).item()


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_rows_does_not_matter_but_partners_do(name):
    loss, model = method(name), maps()
    order = torch.tensor([3, 0, 4, 1, 2])
    value = loss(model, BATCH).item()
    a, b = BATCH.a[order], BATCH.b[order]
    shuffled = Batch(a, b, BATCH.x.flip(0), BATCH.y.roll(1, 0), PAIR[order], BATCH.step)
    assert loss(model, shuffled).item() == pytest.approx(value, rel=1e-9)
    if isinstance(loss, NNCLR):
        loss.b = loss.b.index_copy(0, PAIR, b)  # it is told of the other partners
    assert loss(model, BATCH._replace(b=b)).item() != pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_in_the_one_trainer(name):
    pairs, rest = ([z.float() for z in part] for part in (PAIRS, REST))
    loss = NNCLR(pairs, rest) if name.startswith("NNCLR") else METHODS[name][0]()
    if isinstance(loss, SCLIP):
        loss.tolerance = 1e-4  # float32
    settings = {"steps": 60, "lr": 0.02, "batch_size": 24, "max_pairs": 10, "seed": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again = (align(loss, pairs, rest, D, **settings) for _ in range(2))
    assert first.losses[-10:].mean() < 0.9 * first.losses[:3].mean()
    assert np.array_equal(first.losses, again.losses)
    for before, after in zip(loss.parameters(), first.loss.parameters()):
        assert before.item() in (5, 20, -10)
        assert 0.01 < abs(after.item() - before.item()) < 1.3  # 60 steps of at most 0.02


def test_structure_is_the_textbook_divergence():
    z, u = normal(8, D_X, seed=1), normal(8, D, seed=2)
    unit = [t / t.norm(dim=1, keepdim=True) for t in (z, u)]
    centred = [t - t.mean(0) for t in unit]
    p, q = ((t @ t.T / 0.3).softmax(1).numpy() for t in centred)
    loss = Structure(tau=0.3).double()
    expected = (jensenshannon(p, q, axis=1) ** 2).mean()
    assert loss.divergence(z, u).item() == pytest.approx(expected)
    for same in (7 * z, -z):
        assert loss.divergence(z, same).item() == pytest.approx(0, abs=1e-12)
    assert Structure(tau=1e-3).double().divergence(z, u).item() <= math.log(2) + 1e-9


def test_structure_warms_up():
    def at(step, **settings):
        return Structure(2.0, **settings).double()(maps(), BATCH._replace(step=step)).item()

    pairs = Structure(0).double()(maps(), BATCH).item()
    assert at(0, warmup=10) == pytest.approx(pairs)
    assert at(10, warmup=10) == at(99, warmup=10) == at(0)
    assert at(5, warmup=10) - pairs == pytest.approx((at(0) - pairs) / 2)


def test_neighbours_are_unpaired_rows_of_the_same_side():
    loss = NNCLR(PAIRS, REST, 3)
    for near, z, rest in ((loss.near_a, PAIRS[0], REST[0]), (loss.near_b, PAIRS[1], REST[1])):
        assert near.shape == (12, 3, z.shape[1])
        for own, neighbours in zip(z, near):
            alike = sorted((1 - cosine(own, row) for row in rest), reverse=True)
            np.testing.assert_allclose([1 - cosine(own, row) for row in neighbours], alike[:3])
    # with the pairs themselves among the others, nothing is nearer
    planted = [torch.cat([rest, 5 * z]) for rest, z in zip(REST, PAIRS)]
    assert torch.equal(NNCLR(PAIRS, planted, 1).near_b[:, 0], 5 * PAIRS[1])


def test_neighbours_of_many_pairs_are_found_block_by_block():
    many = normal(1500, D_X, seed=1), normal(1500, D_Y, seed=2)
    loss, few = NNCLR(many, REST, 2), NNCLR([z[1000:1100] for z in many], REST, 2)
    assert torch.equal(loss.near_a[1000:1100], few.near_a)


def test_nnclr_is_refused_with_other_pairs():
    """Their neighbours would be those of the pairs that it knows."""
    loss, model = method("NNCLR"), maps()
    more = [torch.cat([z, z]) for z in PAIRS]
    for pairs in ((PAIRS[0].flip(0), PAIRS[1]), (PAIRS[0], PAIRS[1].flip(0)), more):
        call = {"steps": 2, "lr": 1e-3, "batch_size": 60, "max_pairs": 30}
        with pytest.raises(ValueError, match="^pairs: got .*NNCLR"):
            align(loss, pairs, REST, D, **call)
    assert_refused(lambda: loss(model, BATCH._replace(pair=PAIR + 1)), "pairs")
    rounded = [z.float() for z in PAIRS]  # another type is the same pairs
    align(NNCLR(PAIRS, REST), rounded, [z.float() for z in REST], D, **call)


def test_partners_are_distributions_and_ot_spreads_them():
    alike = normal(40, 6, seed=1) / 4
    alike[:, 0] += 2  # a hub: everybody's nearest
    partners = {
        pseudo: SCLIP(pseudo=pseudo, tolerance=1e-10).double().partners(alike)
        for pseudo in ("ot", "soft", "hard")
    }
    for plan in partners.values():
        torch.testing.assert_close(plan.sum(1), torch.ones(40, dtype=torch.float64))
        assert not plan.requires_grad and (plan >= 0).all()
    assert partners["hard"][:, 0].sum() == 40 and partners["soft"][:, 0].sum() > 35
    spread = torch.full((6,), 40 / 6, dtype=torch.float64)
    torch.testing.assert_close(partners["ot"].sum(0), spread, rtol=1e-6, atol=1e-6)


# Refusals

ALONE = BATCH._replace(x=None, y=None)


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: Structure(-1.0), "weight"),
        (lambda: Structure(math.nan), "weight"),
        (lambda: Structure(tau=0), "tau"),
        (lambda: Structure(warmup=-1), "warmup"),
        (lambda: Structure(unpaired="yes"), "unpaired"),
        (lambda: NNCLR(PAIRS, REST, 0), "k"),
        (lambda: NNCLR(PAIRS, REST, 31), "k"),
        (lambda: NNCLR(PAIRS, REST, weight=-1), "weight"),
        (lambda: NNCLR(PAIRS, REST[::-1]), "unpaired, x"),
        (lambda: NNCLR((PAIRS[0], PAIRS[1][:3]), REST), "pairs, y"),
        (lambda: NNCLR(PAIRS, (REST[0] * torch.nan, REST[1])), "unpaired, x"),
        (lambda: SCLIP(-1.0), "weight"),
        (lambda: SCLIP(pseudo="nearest"), "pseudo"),
        (lambda: SCLIP(space="both"), "space"),
        (lambda: SCLIP(scale=0.0), "scale"),
        (lambda: SCLIP(tolerance=0), "tolerance"),
        (lambda: SemiSupervisedSAIL()(maps(), ALONE), "unpaired"),
        (lambda: SCLIP().double()(maps(), ALONE), "unpaired"),
        (lambda: Structure()(maps(), ALONE), "unpaired"),
    ],
)
def test_bad_input(call, name):
    assert_refused(call, name)
