"""SOTAlign against plain loops, the trainer against a plain trainer; what a trainer must not do."""

import math
import warnings

import numpy as np
import pytest
import torch
from plain import assert_refused, normal, plain_cosines, plain_siglip

from lib.alignment import (
    Aligned,
    Batch,
    Maps,
    SigLIP,
    SOTAlign,
    align,
    contrastive,
    recall,
)
from lib.baselines import SAIL
from lib.losses import infonce, siglip
from lib.metrics import mean_recall_at_1
from lib.teachers import Linear, weighted_cca, whiten

D_X, D_Y, D = 6, 5, 4


def linear(d_in, k, seed):
    return Linear(normal(d_in, seed=seed).numpy(), normal(d_in, k, seed=seed + 50).numpy())


TEACHER = linear(D_X, D, 1), linear(D_Y, D, 2)
PAIRS = normal(12, D_X, seed=3), normal(12, D_Y, seed=4)
REST = normal(30, D_X, seed=5), normal(40, D_Y, seed=6)
NEW = normal(9, D_X, seed=8), normal(9, D_Y, seed=9)
BATCH = Batch(PAIRS[0][:5], PAIRS[1][:5], REST[0][:7], REST[1][:7], torch.arange(5))


def maps():
    torch.manual_seed(0)
    return Maps(D_X, D_Y, D).double()


# The reference: plain loops


def plain_plan(K, epsilon, sweeps=800):
    """Log of the entropic plan of mass 1; Sinkhorn unrolled, with gradients through every sweep."""
    n, m = K.shape
    v = torch.zeros(m, dtype=K.dtype)
    for _ in range(sweeps):
        u = -math.log(n) - torch.logsumexp(K / epsilon + v, 1)
        v = -math.log(m) - torch.logsumexp(K.T / epsilon + u, 1)
    return K / epsilon + u[:, None] + v


def plain_klot(K, teacher, epsilon, epsilon_teacher):
    log_t, log_p = plain_plan(teacher, epsilon_teacher), plain_plan(K, epsilon)
    return (log_t.exp() * (log_t - log_p)).sum()


def plain_infonce(K, teacher, epsilon, epsilon_teacher):
    total = 0
    for A, B in ((K, teacher), (K.T, teacher.T)):
        for a, b in zip(A / epsilon, B / epsilon_teacher):
            p, q = b.exp() / b.exp().sum(), a.exp() / a.exp().sum()
            total = total + (p * (p / q).log()).sum() / len(A) / 2
    return total


def plain_cka(K, teacher, *_):
    n, m = K.shape
    left, right = torch.eye(n).double() - 1 / n, torch.eye(m).double() - 1 / m
    a, b = left @ K @ right, left @ teacher @ right
    return 1 - (a * b).sum() / a.norm() / b.norm()


DIVERGENCES = {"klot": plain_klot, "infonce": plain_infonce, "cka": plain_cka}


def plain_sotalign(maps, batch, alpha, name, epsilon, epsilon_teacher, scale=20.0, bias=-10.0):
    teacher = [torch.tensor(side(z.numpy())) for side, z in zip(TEACHER, (batch.x, batch.y))]
    student = plain_cosines(maps.f(batch.x), maps.g(batch.y))
    divergence = DIVERGENCES[name](student, plain_cosines(*teacher), epsilon, epsilon_teacher)
    return plain_siglip(maps.f(batch.a), maps.g(batch.b), scale, bias) + alpha * divergence


def slope(loss, model, batch, step=1e-5):
    """(finite difference, autograd) of the loss along one direction of all that is learned."""
    weights = [w for module in (model, loss) for w in module.parameters() if w.requires_grad]
    along = [normal(*w.shape, seed=k) for k, w in enumerate(weights)]
    gradient = torch.autograd.grad(loss(model, batch), weights)
    values = []
    for size in (step, -2 * step):
        for w, direction in zip(weights, along):
            w.data += size * direction
        values.append(loss(model, batch).item())
    exact = sum((g * direction).sum() for g, direction in zip(gradient, along))
    return (values[0] - values[1]) / (2 * step), exact.item()


# Losses


@pytest.mark.parametrize("extra", [0, 3])
def test_siglip_is_the_plain_loop(extra):
    u, v, loss = normal(4, 3, seed=1), normal(4 + extra, 3, seed=2), SigLIP().double()
    assert (loss.scale.item(), loss.bias.item()) == (20, -10)
    assert loss(u, v).item() == pytest.approx(plain_siglip(u, v).item(), rel=1e-12)
    loss.scale.data -= 13
    loss.bias.data += 8
    assert loss(u, v).item() == pytest.approx(plain_siglip(u, v, 7.0, -2.0).item(), rel=1e-12)
    assert loss(3 * u, v).item() == pytest.approx(loss(u, v).item())
    assert loss(u.flip(0), v).item() != pytest.approx(loss(u, v).item())


@pytest.mark.parametrize("name", DIVERGENCES)
def test_sotalign_is_the_plain_loop_with_its_gradient(name):
    loss, model = SOTAlign(TEACHER, 0.7, name, 0.3, 0.2, tolerance=1e-12).double(), maps()
    value, plain = loss(model, BATCH), plain_sotalign(model, BATCH, 0.7, name, 0.3, 0.2)
    assert value.item() == pytest.approx(plain.item(), rel=1e-6)
    weights = list(model.parameters())
    ours, expected = torch.autograd.grad(value, weights), torch.autograd.grad(plain, weights)
    for a, b in zip(ours, expected):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    numeric, exact = slope(loss, model, BATCH)
    assert exact == pytest.approx(numeric, rel=1e-6) and abs(exact) > 1e-3


def test_as_many_captions_as_images_are_not_needed():
    batch = BATCH._replace(y=REST[1][:9])
    loss = SOTAlign(TEACHER, 0.7, "klot", 0.3, 0.2, tolerance=1e-12).double()
    plain = plain_sotalign(maps(), batch, 0.7, "klot", 0.3, 0.2)
    assert loss(maps(), batch).item() == pytest.approx(plain.item(), rel=1e-6)


def test_defaults_are_the_papers():
    plain = plain_sotalign(maps(), BATCH, 2.0, "klot", 0.05, 0.01).item()
    loss = SOTAlign(TEACHER, 2.0, tolerance=1e-10).double()
    assert loss(maps(), BATCH).item() == pytest.approx(plain, rel=2e-4)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_unpaired_data(name):
    model = maps()
    for map_, side in ((model.f, TEACHER[0]), (model.g, TEACHER[1])):
        map_.weight.data = torch.tensor(side.axes.T.copy())
        map_.bias.data = -torch.tensor(side.mean @ side.axes)
    loss, sail = SOTAlign(TEACHER, 1.0, name, 0.2, 0.2, tolerance=1e-12).double(), SAIL().double()
    assert (loss(model, BATCH) - sail(model, BATCH)).item() == pytest.approx(0, abs=1e-9)
    assert (loss(maps(), BATCH) - sail(maps(), BATCH)).item() > 0.01


def test_the_teacher_is_never_trained():
    loss = SOTAlign(TEACHER, 1.0, "cka")
    trained = go(loss, steps=3, lr=0.1)
    for before, after in zip(loss.teacher.parameters(), trained.loss.teacher.parameters()):
        assert torch.equal(before.double(), after) and not after.requires_grad


# The trainer


def go(loss=None, pairs=PAIRS, unpaired=REST, d=D, steps=4, lr=1e-2, batch_size=20, **settings):
    loss = SAIL() if loss is None else loss
    return align(loss, pairs, unpaired, d, steps=steps, lr=lr, batch_size=batch_size, **settings)


def weights(aligned):
    return torch.cat([w.detach().flatten() for w in aligned.maps.parameters()])


def batches(**settings):
    """The batches of a training with SAIL."""
    seen = []

    class Spy(SAIL):
        def __deepcopy__(self, memo):
            return self

        def forward(self, maps, batch):
            seen.append(batch)
            return super().forward(maps, batch)

    go(Spy(), **settings)
    return seen


def rows_of(z, pool):
    """Which rows of the pool those of z are; every one must be there, once."""
    same = (z[:, None] == pool[None]).all(-1)
    assert (same.sum(1) == 1).all()
    return same.to(int).argmax(1).tolist()


def test_all_pairs_are_in_the_batch_and_unpaired_rows_fill_it():
    drawn = batches(batch_size=29, max_pairs=20, steps=40)
    for step, batch in enumerate(drawn):
        assert torch.equal(batch.a, PAIRS[0]) and torch.equal(batch.b, PAIRS[1])
        assert batch.pair.tolist() == list(range(12)) and batch.step == step
    x = [rows_of(batch.x, REST[0]) for batch in drawn]
    y = [rows_of(batch.y, REST[1]) for batch in drawn]
    assert all(len(set(rows)) == 17 for rows in x + y)
    assert {row for rows in x for row in rows} == set(range(30))
    assert {row for rows in y for row in rows} == set(range(40))
    assert len({tuple(rows) for rows in x}) == 40, "drawn anew"
    assert all(a != b for a, b in zip(x, y)), "each side on its own"


@pytest.mark.parametrize(
    "settings, n_pairs, n_rest",
    [
        ({"batch_size": 20, "max_pairs": 8}, 8, 12),
        ({"batch_size": 20}, 10, 10),
        ({"batch_size": 15, "unpaired": None}, 12, 0),
        ({"batch_size": 9, "unpaired": None}, 9, 0),
        ({"batch_size": 30}, 12, 18),
        ({"batch_size": 300}, 12, 300),
    ],
)
def test_no_more_pairs_than_asked_for(settings, n_pairs, n_rest):
    drawn = batches(steps=30, **settings)
    for batch in drawn:
        assert len(batch.a) == len(batch.b) == len(set(batch.pair.tolist())) == n_pairs
        assert rows_of(batch.a, PAIRS[0]) == rows_of(batch.b, PAIRS[1]) == batch.pair.tolist()
        sizes = [0 if z is None else len(z) for z in (batch.x, batch.y)]
        assert sizes == [min(n_rest, 30), min(n_rest, 40)]
    assert {row for batch in drawn for row in batch.pair.tolist()} == set(range(12))


def test_which_pairs_are_drawn_does_not_hang_on_unpaired_data():
    settings = {"batch_size": 20, "max_pairs": 5, "steps": 9}
    with_rest, without = batches(**settings), batches(**settings, unpaired=None)
    assert [b.pair.tolist() for b in with_rest] == [b.pair.tolist() for b in without]
    assert len({tuple(b.pair.tolist()) for b in without}) > 5
    first = batches(batch_size=10, max_pairs=5, steps=1, unpaired=PAIRS)[0]
    assert first.pair.tolist() != rows_of(first.x, PAIRS[0]), "pairs and rest on their own"


@pytest.mark.parametrize("optimizer", ["lion", "adam"])
def test_training_is_the_plain_trainer(optimizer):
    """Lion (Chen et al. 2023) and AdamW written out, on a half cosine."""
    steps, lr, decay = 7, 0.05, 0.3
    settings = {"optimizer": optimizer, "weight_decay": decay, "seed": 3, "max_pairs": 12}
    loss = SOTAlign(TEACHER, 0.5, "infonce")
    aligned = go(loss, batch_size=100, steps=steps, lr=lr, **settings)
    batch = Batch(*PAIRS, *REST)  # all of it; the order of unpaired rows does not matter
    torch.manual_seed(3)
    model = Maps(D_X, D_Y, D).double()
    scale, bias = torch.tensor([20.0, -10.0], dtype=torch.float64)
    trained = [*model.parameters(), scale.requires_grad_(), bias.requires_grad_()]
    first = [torch.zeros_like(w) for w in trained]
    second = [torch.zeros_like(w) for w in trained]
    losses = []
    for step in range(steps):
        value = plain_sotalign(model, batch, 0.5, "infonce", 0.05, 0.01, scale, bias)
        losses.append(value.item())
        rate = lr * math.cos(math.pi * step / steps / 2) ** 2
        for k, gradient in enumerate(torch.autograd.grad(value, trained)):
            w = trained[k].data
            w *= 1 - (rate * decay if k < 4 else 0.0)  # scale and bias are spared
            if optimizer == "lion":
                w -= rate * (0.9 * first[k] + 0.1 * gradient).sign()
                first[k] = 0.99 * first[k] + 0.01 * gradient
                continue
            first[k] = 0.9 * first[k] + 0.1 * gradient
            second[k] = 0.999 * second[k] + 0.001 * gradient**2
            size = (second[k] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
            w -= rate * first[k] / (1 - 0.9 ** (step + 1)) / size
    np.testing.assert_allclose(aligned.losses, losses, rtol=1e-6)
    learned = [*aligned.maps.parameters(), aligned.loss.siglip.scale, aligned.loss.siglip.bias]
    for ours, expected in zip(learned, trained):
        torch.testing.assert_close(ours.data, expected.data, rtol=1e-6, atol=1e-8)


def test_the_rate_falls_on_a_half_cosine():
    """Lion moves every weight by the rate."""
    seen = []

    def loss(maps, batch):
        seen.append(maps.f.weight.detach().clone())
        return maps.f.weight.sum()

    go(loss, steps=50, lr=0.01, weight_decay=0.0)
    moved = torch.stack(seen).diff(dim=0)
    expected = -0.01 * (1 + np.cos(np.pi * np.arange(49) / 50)) / 2
    expected = np.broadcast_to(expected[:, None, None], moved.shape)
    np.testing.assert_allclose(moved, expected, rtol=1e-9, atol=1e-15)


def test_alpha_zero_is_sail_exactly():
    sail = go(SAIL(), max_pairs=9, steps=10)
    for loss, rest in (
        (SAIL(), None),
        (SOTAlign(TEACHER, 0), REST),
        (SOTAlign(TEACHER, 0.0), None),
    ):
        run = go(loss, unpaired=rest, max_pairs=9, steps=10)
        assert torch.equal(weights(run), weights(sail))
        assert np.array_equal(run.losses, sail.losses)
    some = go(SOTAlign(TEACHER, 0.1), max_pairs=9, steps=10)
    assert not torch.allclose(weights(some), weights(sail))


def test_scale_and_bias_are_learned_in_a_copy():
    loss = SOTAlign(TEACHER, 0.1)
    trained = go(loss, steps=5, lr=0.1).loss.siglip
    assert (loss.siglip.scale.item(), loss.siglip.bias.item()) == (20, -10)
    assert 0.05 < abs(trained.scale.item() - 20) < 0.6
    assert 0.05 < abs(trained.bias.item() + 10) < 0.6


@pytest.mark.parametrize("d", [None, D, 2])
def test_a_start_is_the_teacher_before_the_first_update(d):
    seen = []

    def score(aligned):
        seen.append(plain_cosines(aligned.x(NEW[0]), aligned.y(NEW[1])))
        return -len(seen)

    teacher = [torch.tensor(side(z.numpy()))[:, :d] for side, z in zip(TEACHER, NEW)]
    aligned = go(start=TEACHER, d=d, score=score, every=2)
    torch.testing.assert_close(seen[0], plain_cosines(*teacher))
    assert not torch.allclose(seen[1], seen[0])
    torch.testing.assert_close(plain_cosines(aligned.x(NEW[0]), aligned.y(NEW[1])), seen[0])
    for map_ in (aligned.maps.f, aligned.maps.g):
        assert map_.out_features == (d or D)
        size = map_.weight.square().mean().item()
        assert size == pytest.approx(1 / (3 * map_.in_features)), "as large as random weights"


def test_the_best_weights_are_kept():
    planned = [0.1, 0.3, 0.9, 0.2, 0.9, 0.5]
    states = []

    def score(aligned):
        states.append((weights(aligned).clone(), aligned.loss.siglip.scale.item()))
        return planned[len(states) - 1]

    aligned = go(score=score, steps=14, every=3)
    assert aligned.scored.tolist() == [0, 3, 6, 9, 12, 14]
    assert aligned.scores.tolist() == planned
    assert torch.equal(weights(aligned), states[2][0])
    assert aligned.loss.siglip.scale.item() == states[2][1] != states[5][1]
    last = go(steps=14)
    assert torch.equal(weights(last), states[5][0])
    assert len(last.losses) == 14 and len(last.scores) == len(last.scored) == 0


def test_the_same_seed_is_the_same_and_others_differ():
    runs = [go(SOTAlign(TEACHER, 1.0), seed=seed, max_pairs=5) for seed in (1, 1, 2)]
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert np.array_equal(runs[0].losses, runs[1].losses)
    assert not torch.allclose(weights(runs[0]), weights(runs[2]), atol=0.05)
    one, two = batches(seed=1, max_pairs=5), batches(seed=2, max_pairs=5)
    assert not any(torch.equal(a.x, b.x) for a, b in zip(one, two))
    assert [b.pair.tolist() for b in one] != [b.pair.tolist() for b in two]


def test_the_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    go(SOTAlign(TEACHER, 1.0), steps=2, start=TEACHER)
    contrastive(PAIRS[0].numpy(), PAIRS[1].numpy(), 2, steps=2)
    assert torch.equal(before, torch.get_rng_state())


def test_numpy_in_numpy_out():
    aligned = go(pairs=[z.float() for z in PAIRS], unpaired=[z.float() for z in REST])
    x, y = NEW
    u, v = aligned.x(x.numpy()), aligned.y(y.float())
    assert isinstance(u, np.ndarray) and u.dtype == np.float32
    assert isinstance(v, torch.Tensor) and v.dtype == torch.float32 and not v.requires_grad
    raw = aligned.maps.f(x.float()).detach()
    np.testing.assert_allclose(u, raw / raw.norm(dim=1, keepdim=True), rtol=1e-5)
    torch.testing.assert_close(aligned.y(y), v)
    np.testing.assert_array_equal(aligned.x(x.numpy()[::-1]), u[::-1])
    np.testing.assert_array_equal(aligned.x(x.tolist()), u)


# A world in which unpaired data helps


def world(seed=0, n_pairs=40, n_rest=600, n_test=200, shared=8, d=24):
    """Linear views of shared numbers, with a falling spectrum, and of as many private ones."""
    rng = np.random.default_rng(seed)
    sizes = 1 / np.sqrt(np.arange(1, shared + 1))[:, None]
    looks = [
        (rng.standard_normal((shared, d)) * sizes, 0.5 * rng.standard_normal((shared, d)) * sizes)
        for _ in range(2)
    ]

    def view(z, look):
        private = rng.standard_normal(z.shape)
        return z @ look[0] + private @ look[1] + 0.05 * rng.standard_normal((len(z), d))

    hidden = [rng.standard_normal((n, shared)) for n in (n_pairs, n_test)]
    pairs, test = ([view(z, look) for look in looks] for z in hidden)
    rest = [view(rng.standard_normal((n_rest, shared)), look) for look in looks]
    sides = [whiten(z, 2 * shared) for z in rest]
    return [
        tuple(torch.tensor(side(z), dtype=torch.float32) for side, z in zip(sides, part))
        for part in (pairs, rest, test)
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_sotalign_beats_sail_by_far_and_a_wrong_teacher_misleads_it(seed):
    pairs, rest, test = world(seed)
    w_x, w_y = weighted_cca(*(z.numpy() for z in pairs))
    wrong = Linear(w_y.mean, w_y.axes[:, ::-1])

    def found(loss):
        return recall(*test)(align(loss, pairs, rest, 8, steps=150, lr=0.03, batch_size=240))

    sail = found(SAIL())
    both, misled = (found(SOTAlign((w_x, w), 1.0, "klot", 0.1, 0.02)) for w in (w_y, wrong))
    assert sail > 10 / 200 and both > 100 / 200
    assert both > sail + 0.3 and misled < sail / 2


def test_recall_is_that_of_the_embeddings():
    aligned = go()
    expected = mean_recall_at_1(aligned.x(NEW[0].numpy()), aligned.y(NEW[1].numpy()))
    assert recall(*NEW)(aligned) == expected > 0


# Teachers that are trained


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
@pytest.mark.parametrize("batch_size", [1024, 64])
def test_contrastive_training_finds_what_is_shared(loss, batch_size):
    rng = np.random.default_rng(0)
    hidden, noise = rng.standard_normal((2, 400, 12))
    x = hidden @ rng.standard_normal((12, 16)) + 5
    y = (hidden + 0.3 * noise) @ rng.standard_normal((12, 12))
    to_x, to_y = contrastive(x[:200], y[:200], 10, loss, batch_size=batch_size)
    assert to_x.axes.shape == (16, 10) and to_y.axes.shape == (12, 10)
    assert to_x.axes.dtype == np.float64 and not to_x.unit
    np.testing.assert_allclose(to_x.mean, x[:200].mean(0))
    assert mean_recall_at_1(to_x(x[200:]), to_y(y[200:])) > 0.5  # chance is 1 in 200


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
def test_contrastive_is_adamw_on_maps_without_biases(loss):
    x, y = (z - z.mean(0) for z in PAIRS)
    torch.manual_seed(3)
    start = Maps(D_X, D_Y, 2).double()
    w_x, w_y = start.f.weight, start.g.weight
    scale, bias = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in (20.0, -10.0))
    spared = {"params": [scale, bias], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([{"params": [w_x, w_y]}, spared], weight_decay=0.5)
    for step in range(4):
        logits = scale * plain_cosines(x @ w_x.T, y @ w_y.T)
        optimizer.zero_grad()
        (infonce(logits) if loss == "infonce" else siglip(logits + bias)).backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 + math.cos(math.pi * step / 4)) / 2
        optimizer.step()
    settings = {"steps": 4, "lr": 0.05, "weight_decay": 0.5, "seed": 3}
    fitted = contrastive(PAIRS[0].numpy(), PAIRS[1].numpy(), 2, loss, **settings)
    for side, w, z in zip(fitted, (w_x, w_y), PAIRS):
        np.testing.assert_allclose(side.axes, w.detach().T, atol=1e-5)
        np.testing.assert_allclose(side.mean, z.mean(0))


def test_contrastive_is_repeatable_and_centres():
    x, y = (z.numpy() for z in PAIRS)
    settings = {"d": 2, "steps": 5, "batch_size": 6}
    a, b, c = (contrastive(x, y, seed=seed, **settings)[0].axes for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.allclose(a, c, atol=1e-2)
    np.testing.assert_allclose(contrastive(x + 100, y, **settings)[0].axes, a, atol=1e-3)
    backwards = contrastive(x[::-1][::-1], np.asfortranarray(y), **settings)[0].axes
    np.testing.assert_array_equal(backwards, a)


# Refusals

X, Y = PAIRS
ARE = Aligned(maps(), None)


def test_a_training_that_diverges_is_refused():
    for call in (
        lambda: contrastive(X.numpy(), Y.numpy(), 2, lr=1e30),
        lambda: contrastive(X.numpy(), Y.numpy(), 2, "siglip", lr=1e20),
        lambda: contrastive(X.numpy(), Y.numpy(), 2, steps=1, lr=1e30),
        lambda: go(SOTAlign(TEACHER, 1.0), lr=1e20),
        lambda: go(lambda maps, batch: maps.f.weight.sum() * torch.nan),  # Lion would stand still
        lambda: go(lambda maps, batch: maps.f.weight.sum() * torch.nan, score=lambda aligned: 1.0),
    ):
        message = assert_refused(call, "loss")
        assert "in update 1" in message and "lower lr" in message


def score_of(value):
    return {"score": lambda aligned: value}


@pytest.mark.parametrize(
    "call, name",
    [
        # data
        (lambda: go(pairs=(X, Y[:9])), "pairs, y"),
        (lambda: go(pairs=(X.numpy(), Y)), "pairs, x"),
        (lambda: go(pairs=(X, Y.float())), "pairs, y"),
        (lambda: go(pairs=(X[0], Y)), "pairs, x"),
        (lambda: go(pairs=(X, Y / 0)), "pairs, y"),
        (lambda: go(pairs=(X * torch.nan, Y)), "pairs, x"),
        (lambda: go(pairs=(X[:0], Y[:0])), "pairs, x"),
        (lambda: go(pairs=(X.long(), Y)), "pairs, x"),
        (lambda: go(unpaired=(REST[0][:, :3], REST[1])), "unpaired, x"),
        (lambda: go(unpaired=(REST[0], REST[1].float())), "unpaired, y"),
        (lambda: go(unpaired=(REST[0][:0], REST[1])), "unpaired, x"),
        (lambda: go(unpaired=(REST[0], REST[1] * torch.nan)), "unpaired, y"),
        (lambda: go(unpaired=REST[::-1]), "unpaired, x"),
        (lambda: go(SOTAlign(TEACHER, 1.0), unpaired=None), "unpaired"),
        # settings
        (lambda: go(d=None), "d"),
        (lambda: go(d=0), "d"),
        (lambda: go(lr=-1.0), "lr"),
        (lambda: go(lr=math.nan), "lr"),
        (lambda: go(lr="fast"), "lr"),
        (lambda: go(max_pairs=0), "max_pairs"),
        (lambda: go(batch_size=1), "max_pairs"),
        (lambda: go(batch_size=10, max_pairs=10), "max_pairs"),
        (lambda: go(optimizer="sgd"), "optimizer"),
        (lambda: go(**score_of(math.nan)), "score"),
        (lambda: SOTAlign(TEACHER, -1.0), "alpha"),
        (lambda: SOTAlign(TEACHER, math.nan), "alpha"),
        (lambda: SOTAlign(TEACHER, True), "alpha"),
        (lambda: SOTAlign(TEACHER, 1.0, "kl"), "divergence"),
        (lambda: go(SOTAlign(TEACHER, 1.0, epsilon=0)), "epsilon"),
        (lambda: go(SOTAlign(TEACHER, 1.0, epsilon_teacher=-1)), "epsilon_teacher"),
        (lambda: go(SOTAlign(TEACHER, 1.0, tolerance=0)), "tolerance"),
        # teachers that are trained
        (lambda: contrastive(X.numpy(), Y.numpy(), 2, "clip"), "loss"),
        (lambda: contrastive(X.numpy(), Y.numpy()[:9], 2), "pairs, y"),
        (lambda: contrastive(X.numpy() * np.nan, Y.numpy(), 2), "pairs, x"),
        (lambda: contrastive(X.numpy(), Y.numpy(), 1.5), "d"),
        # results
        (lambda: ARE.x(Y), "x"),
        (lambda: ARE.x(Y.numpy()), "x"),
        (lambda: ARE.y(Y * torch.nan), "y"),
        (lambda: ARE.x(X[0]), "x"),
    ],
)
def test_bad_input(call, name):
    assert_refused(call, name)


def test_no_warnings_and_a_bar_where_asked_for(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(SOTAlign(TEACHER, 1.0), score=recall(X, Y), every=2)
        assert capsys.readouterr().out == ""
        go(progress="SAIL, seed 0", steps=2)
        assert "SAIL, seed 0" in capsys.readouterr().out
