"""Networks side by side against one network in plain loops; and what a trainer must not do."""

import copy
import warnings

import numpy as np
import pytest
import torch
from plain import assert_refused, below, normal
from torch import nn

from lib.networks import Network, Residual, SelfSupervised, Supervised, Transformer, bottleneck
from lib.uml import Seeds, class_means, few_shots, train

SEEDS = (3, 8, 5)
N = 40  # rows of data of each seed
SIZES = {"X": 6, "Y": 9}  # rows per update
SCHEDULE = {"weight_decay": 0.1, "warmup": 20, "cosine": True}


def sequences(seed):
    """Rows of 5 positions, padded, for every seed."""
    lengths = below(6, len(SEEDS), N, seed=seed, low=1)
    return {"x": normal(len(SEEDS), N, 5, 3, seed=seed), "length": lengths}


def labelled(seed):
    return {"x": normal(len(SEEDS), N, 8, seed=seed), "y": below(4, len(SEEDS), N, seed=seed)}


PADDED = {"X": sequences(1), "Y": sequences(2)}
PLAIN = {name: {"x": batch["x"]} for name, batch in PADDED.items()}
LABELLED = {"X": labelled(0), "Y": labelled(1)}
FLAT = {name: {"x": batch["x"]} for name, batch in LABELLED.items()}


def mlp(d=3, **settings):
    return lambda: SelfSupervised({"X": d, "Y": d}, Residual(8, 12), 8, **settings)


def transformer(**settings):
    return lambda: SelfSupervised({"X": 3, "Y": 3}, Transformer(8, 2, 2, 5), 8, **settings)


def supervised(**settings):
    return lambda: Supervised({"X": 8, "Y": 8}, 4, trunk=Residual(8, 12), **settings)


def autoencoder():
    return SelfSupervised({"X": 8, "Y": 8}, bottleneck(6, 5, 2), 6, task="same")


# The reference: one network, plain loops


def plain_loss(network, name, x, y=None, length=None):
    """The loss of one batch of one modality, sample by sample; what is padding is cut off."""
    errors = []
    for i in range(len(x)):
        if y is not None:
            r = network.trunk(network.into[name](x[i]))
            logits = network.scale[name].exp() * network.head.weight @ (r / r.norm())
            errors.append(-(logits[y[i]] - logits.exp().sum().log()))
            continue
        row = x[i] if length is None else x[i, : length[i]]
        guess = network.out[name](network.trunk(network.into[name](row[None])))[0]
        shift = 1 if network.task == "next" else 0
        errors += [(guess[t] - row[t + shift]) ** 2 for t in range(len(row) - shift)]
    return torch.stack(errors).mean() if errors else 0 * x.sum()


def alone(
    make,
    s,
    data,
    steps,
    weights=None,
    starts=None,
    in_turn=False,
    frozen=(),
    score=None,
    every=1,
    patience=None,
    weight_decay=0.0,
    warmup=0,
    cosine=False,
):
    """One network trained as `train` trains the s-th: its losses, its scores, and itself."""
    torch.manual_seed(SEEDS[s])
    network = make().double()
    generator = torch.Generator().manual_seed(0)
    trained = [w for name, w in network.named_parameters() if not name.startswith(tuple(frozen))]
    optimizer = torch.optim.AdamW(trained, weight_decay=weight_decay)
    losses, scores, best = [], [], None
    for step in range(steps + 1):
        if score and (step % every == 0 or step == steps):
            scores.append(score(network))
            if scores[-1] > max(scores[:-1], default=-np.inf):
                best = copy.deepcopy(network.state_dict())
            if patience and len(scores) - 1 - int(np.argmax(scores)) >= patience:
                break
        if step == steps:
            break
        here = [name for name in data if step >= (starts or {}).get(name, 0)]
        total = 0
        losses.append({})
        for name in [here[step % len(here)]] if in_turn else here:
            rows = torch.randint(N, (len(SEEDS), SIZES[name]), generator=generator)[s]
            batch = {key: tensor[s][rows] for key, tensor in data[name].items()}
            losses[-1][name] = plain_loss(network, name, **batch)
            total = total + (weights or {}).get(name, 1.0) * losses[-1][name]
        optimizer.zero_grad()
        total.backward()
        rate = 1e-2
        if step < warmup:
            rate *= (step + 1) / warmup
        elif cosine:
            rate *= (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))) / 2
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    if patience:
        network.load_state_dict(best)
    return losses, scores, network


def one(model, make, s):
    """The s-th network of `model`, on its own."""
    network = make().double()
    network.load_state_dict({name: model[name][s] for name in network.state_dict()})
    return network


def agree(make, data, steps, score=None, tolerance=1e-6, **settings):
    """Hold `train` against networks trained alone: every loss, every score, every last weight."""

    def scores(model):
        return torch.stack([score(one(model, make, s)) for s in range(len(SEEDS))])

    model = Seeds(make, SEEDS).double()
    sizes = SIZES if len(data) > 1 else SIZES["X"]
    history = train(model, data, sizes, steps, 1e-2, score=scores if score else None, **settings)
    for s in range(len(SEEDS)):
        losses, plain_scores, network = alone(make, s, data, steps, score=score, **settings)
        for name in data:
            expected = np.full(steps, np.nan)
            for step, row in enumerate(losses):
                expected[step] = row[name].item() if name in row else np.nan
            np.testing.assert_allclose(history.losses[name][:, s], expected, tolerance, tolerance)
        expected = torch.tensor(plain_scores, dtype=torch.float64)
        np.testing.assert_allclose(history.scores[: len(expected), s], expected, tolerance)
        for name, weight in network.named_parameters():
            torch.testing.assert_close(model[name][s], weight, rtol=tolerance, atol=tolerance)
    return history


def means_of_the_first_seed():
    """Direction of the mean of each class of Y."""
    x, y = LABELLED["Y"]["x"][0], LABELLED["Y"]["y"][0]
    means = [sum(x[i] for i in range(N) if y[i] == k) / sum(y == k) for k in range(4)]
    return torch.stack([mean / mean.norm() for mean in means])


def initialised():
    network = supervised()()
    network.head.weight.data = means_of_the_first_seed()
    return network


CASES = {
    "next": (transformer(), PLAIN, {}),
    "next, padded": (transformer(), PADDED, {}),
    "next, tied": (transformer(tied=True), PADDED, {}),
    "next, one modality": (mlp(), {"X": PLAIN["X"]}, {}),
    "same": (autoencoder, FLAT, {}),
    "same, padded": (mlp(task="same"), PADDED, {}),
    "lambda": (mlp(), PLAIN, {"weights": {"Y": 0.3}}),
    "supervised, one modality": (supervised(), {"X": LABELLED["X"]}, {}),
    "UML": (supervised(), LABELLED, {"weights": {"Y": 0.5}}),
    "UML, projected": (supervised(project=["X"]), LABELLED, {}),
    "UML (init)": (initialised, LABELLED, {}),
    "warm start": (supervised(), LABELLED, {"starts": {"X": 2}}),
    "in turn": (supervised(), LABELLED, {"in_turn": True}),
    "frozen": (supervised(project=["X"]), LABELLED, {"frozen": ("head", "into.X")}),
}


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_every_variant_is_the_plain_loop(case, steps):
    make, data, settings = CASES[case]
    agree(make, data, steps, **settings)


@pytest.mark.parametrize("make", [mlp(), transformer()], ids=["mlp", "transformer"])
def test_forty_updates_side_by_side_are_those_of_each_alone(make):
    agree(make, PADDED, 40, tolerance=1e-5, **SCHEDULE)


def test_early_stopping_side_by_side_is_that_of_each_alone():
    def up_and_down(network):
        return (20 * network.head.weight.square().sum()).sin().detach()

    stop = {"score": up_and_down, "every": 5, "patience": 2}
    history = agree(supervised(), LABELLED, 60, tolerance=1e-5, **stop, **SCHEDULE)
    stopped = np.isnan(history.losses["X"]).argmax(0)
    assert len(set(stopped)) > 1, "not all together"
    assert 0 < max(stopped) == history.scored[-1] < 60, "all seeds should stop here"


# Side by side


def float32(data):
    return {
        name: {key: t.float() if t.is_floating_point() else t for key, t in batch.items()}
        for name, batch in data.items()
    }


def trained(make=None, data=PADDED, steps=20, **settings):
    model = Seeds(make or transformer(), SEEDS)
    return train(model, float32(data), SIZES, steps, 1e-2, **settings), model


def test_twice_is_the_same_and_another_seed_draws_other_batches():
    once, again, other = trained()[0], trained()[0], trained(seed=1)[0]
    for name in SIZES:
        np.testing.assert_array_equal(once.losses[name], again.losses[name])
        assert not np.allclose(once.losses[name], other.losses[name], rtol=1e-3)


def test_seeds_do_not_touch_each_other():
    changed = copy.deepcopy(PADDED)
    changed["X"]["x"][0] = 5 * changed["X"]["x"][0] + 1
    first, second = trained()[0], trained(data=changed)[0]
    for name in SIZES:
        np.testing.assert_allclose(first.losses[name][:, 1:], second.losses[name][:, 1:], rtol=1e-5)
        assert not np.allclose(first.losses[name][1:, 0], second.losses[name][1:, 0], rtol=1e-2)


def test_the_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    trained(steps=2)
    assert torch.equal(before, torch.get_rng_state())


def test_the_weights_are_those_that_each_seed_draws():
    model = Seeds(transformer(), [7, 4])
    for s, seed in enumerate([7, 4]):
        torch.manual_seed(seed)
        for name, weight in transformer()().named_parameters():
            assert torch.equal(model[name][s], weight)


def test_calls_methods_for_all_seeds():
    model = Seeds(supervised(), SEEDS)
    x, y = LABELLED["X"]["x"].float(), LABELLED["X"]["y"]
    torch.manual_seed(SEEDS[1])
    right = supervised()().logits("X", x[1]).argmax(-1) == y[1]
    assert model.accuracy("X", x, y).shape == (3,)
    assert model.accuracy("X", x, y)[1] == right.float().mean()
    shared = x[:1].expand(3, -1, -1)  # a tensor that all seeds share
    own = shared.clone()
    torch.testing.assert_close(model("represent", "X", shared), model("represent", "X", own))


def test_buffers_are_stacked_too():
    class Shifted(Network):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.randn(3))

        def shifted(self, x):
            return x + self.shift

    model = Seeds(Shifted, SEEDS)
    torch.manual_seed(SEEDS[2])
    assert torch.equal(model("shifted", torch.zeros(3, 3))[2], torch.randn(3))
    assert model["shift"].shape == (3, 3) and len(list(model.parameters())) == 0


def test_lambda_per_seed_is_that_of_separate_runs():
    lambdas = [0.0, 0.5, 2.0]
    together, model = trained(weights={"Y": torch.tensor(lambdas)})
    for s, amount in enumerate(lambdas):
        single, other = trained(weights={"Y": amount})
        np.testing.assert_allclose(together.losses["X"][:, s], single.losses["X"][:, s], rtol=1e-5)
        ours, theirs = model["trunk.0.merge.weight"][s], other["trunk.0.merge.weight"][s]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    equal = trained()[0]
    assert not np.allclose(together.losses["X"][5:, 0], equal.losses["X"][5:, 0], rtol=1e-3)


@pytest.mark.parametrize(
    "weights", [np.array([0.5, 0.5, 0.5]), torch.full((3,), 0.5), {"X": 0.5, "Y": np.float32(0.5)}]
)
def test_a_lambda_may_be_one_for_all(weights):
    ours, expected = trained(mlp(), weights=weights)[1], trained(mlp(), weights=0.5)[1]
    assert torch.equal(ours["trunk.up.weight"], expected["trunk.up.weight"])


def test_lambda_zero_is_zero():
    history, model = trained(mlp(), weights=0)
    for name, start in Seeds(mlp(), SEEDS).named_parameters():
        assert torch.equal(getattr(model, name), start)
    assert (history.losses["X"] > 0).all()


def test_what_is_frozen_stays_bit_by_bit():
    frozen = ["trunk.0", "into.Y", "into", "trunk.position"]
    model = trained(frozen=frozen, weight_decay=0.1)[1]
    for name, before in Seeds(transformer(), SEEDS).named_parameters():
        stays = name.startswith(("trunk/0/", "into/")) or name == "trunk/position"
        assert torch.equal(getattr(model, name), before) == stays, name


def test_frozen_names_end_at_a_dot():
    def make():
        return SelfSupervised({"a": 3, "ab": 3}, nn.Identity(), 3)

    x = PLAIN["X"]["x"].float()
    model, start = Seeds(make, SEEDS), Seeds(make, SEEDS)
    train(model, {"a": {"x": x}, "ab": {"x": x}}, 4, 2, 1e-2, frozen=["into.a"])
    assert torch.equal(model["into.a.weight"], start["into.a.weight"])
    assert not torch.equal(model["into.ab.weight"], start["into.ab.weight"])


def test_a_network_that_was_frozen_before_stays_so():
    def make():
        network = mlp()()
        network.trunk.requires_grad_(False)
        return network

    model = trained(make, weight_decay=0.1)[1]
    assert torch.equal(model["trunk.up.weight"], Seeds(make, SEEDS)["trunk.up.weight"])
    assert model["into.X.weight"].requires_grad


def test_maps_that_modalities_share_are_one():
    model = trained(transformer(tied=True))[1]
    assert not any(name.startswith("into/Y") for name, _ in model.named_parameters())
    x = PLAIN["X"]["x"].float()
    assert torch.equal(model("represent", "X", x), model("represent", "Y", x))
    free = trained()[1]
    assert not torch.equal(free("represent", "X", x), free("represent", "Y", x))


class SharesOneWeight(Network):
    """Two layers with one weight, as some tie the last layer of a language model to its first."""

    def __init__(self):
        super().__init__()
        self.into = nn.ModuleDict({"X": nn.Linear(3, 3), "Y": nn.Linear(3, 3)})
        self.into["Y"].weight = self.into["X"].weight

    def loss(self, name, x):
        return self.into[name](x).square().mean()


def test_a_weight_that_layers_share_is_one_weight():
    data = float32(PLAIN)
    model = Seeds(SharesOneWeight, SEEDS)
    assert len(list(model.parameters())) == 3
    before = model("losses", data)["Y"]
    in_turn = train(model, data, N, 3, 1e-2, in_turn=True).losses
    assert in_turn["X"][2, 1] < in_turn["X"][0, 1]
    assert (model("losses", data)["Y"] < before).all(), "learned by X's updates too"


# Scores, stopping, diverging


def test_the_best_weights_come_back_only_with_patience():
    """Scores by turn; with patience 2 the seeds stop after the updates 8, 4 and 10 (the last)."""
    tops = np.array([[1, 2, 3, 0, 0, 9], [1, 0, 0, 9, 9, 9], [0, 1, 1, 2, 1, 1]]).T
    for patience, best, stops in ((None, [5, 5, 5], [10, 10, 10]), (2, [2, 0, 3], [8, 4, 10])):
        seen = []

        def score(model, seen=seen):
            seen.append(model["trunk.up.weight"].detach().clone())
            return tops[len(seen) - 1]

        model = Seeds(mlp(), SEEDS)
        settings = {"score": score, "every": 2, "patience": patience}
        history = train(model, float32(PLAIN), 4, 10, 1e-2, **settings)
        for s, turn in enumerate(best):
            assert torch.equal(model["trunk.up.weight"][s], seen[turn][s])
            assert not torch.equal(seen[0][s], seen[1][s])
        np.testing.assert_array_equal(history.scored, range(0, 11, 2))
        np.testing.assert_array_equal(history.scores, tops)
        assert np.isfinite(history.losses["X"]).sum(0).tolist() == stops
    # a seed that has stopped is scored with its best weights
    assert torch.equal(seen[5][0], seen[2][0]) and torch.equal(seen[3][1], seen[0][1])


def test_training_ends_when_every_seed_has_stopped():
    settings = {"score": lambda model: torch.zeros(3), "every": 5, "patience": 3}
    history = train(Seeds(mlp(), SEEDS), float32(PLAIN), 4, 50, 1e-2, **settings)
    assert list(history.scored) == [0, 5, 10, 15]
    assert np.isfinite(history.losses["X"][:15]).all()
    assert np.isnan(history.losses["X"][15:]).all()


def test_the_last_update_is_scored_too():
    history = trained(mlp(), steps=7, score=lambda model: [1, 2, 3], every=5)[0]
    assert list(history.scored) == [0, 5, 7] and history.scores.shape == (3, 3)
    assert trained(mlp(), steps=7)[0].scores.shape == (0, 3)


def test_a_later_modality_joins_at_its_start():
    losses = trained(steps=6, starts={"Y": 4}, in_turn=True)[0].losses
    assert np.isfinite(losses["X"][:, 0]).tolist() == [True] * 5 + [False]
    assert np.isfinite(losses["Y"][:, 0]).tolist() == [False] * 5 + [True]


def test_a_training_that_diverges_says_where():
    big = copy.deepcopy(float32(PLAIN))
    big["Y"]["x"][1] *= 1e20  # the square of its errors overflows
    message = assert_refused(
        lambda: trained(mlp(), data=big, steps=5, starts={"Y": 2}), "loss of 'Y'"
    )
    assert "seed 8 in update 3" in message and "lower lr" in message


class Runaway(Network):
    """A loss without a lower bound: minus its only weight."""

    def __init__(self):
        super().__init__()
        self.into = nn.ModuleDict({"X": nn.Linear(1, 1, bias=False)})

    def loss(self, name, x):
        return -self.into[name].weight.sum()


@pytest.mark.parametrize("score", [None, lambda model: torch.zeros(3)])
def test_weights_that_are_not_finite_are_never_returned(score):
    """The last update makes them infinite: no loss has seen it."""
    data = {"X": {"x": torch.ones(3, 4, 1)}}
    model = Seeds(Runaway, SEEDS)
    message = assert_refused(lambda: train(model, data, 2, 1, 1e39, score=score), "into.X.weight")
    assert "seed 3" in message and "after 1 updates" in message and "lower lr" in message


def test_a_seed_that_has_stopped_may_diverge_unseen():
    """Its updates go on where nobody looks; its best weights are put back."""
    data = {"X": {"x": torch.ones(3, 4, 1)}}

    def score(model):
        turns.append(0)
        return torch.tensor([0.0, len(turns), len(turns)])  # the first seed never rises

    class Dies(Runaway):
        """Its loss is NaN from a weight of 3 on, in the network of the first seed."""

        def __init__(self):
            super().__init__()
            self.register_buffer("dies", torch.tensor(torch.initial_seed() == SEEDS[0]))

        def loss(self, name, x):
            weight = self.into[name].weight.sum()
            return torch.where(self.dies & (weight > 3), torch.nan, -weight)

    turns = []
    model = Seeds(Dies, SEEDS)
    rising = {"lr": 12.0, "warmup": 12}  # steps of 1, 2, 3, ...: the weight is at 3 after the stop
    history = train(model, data, 2, 12, **rising, score=score, every=2, patience=1)
    assert np.isfinite(history.losses["X"]).sum(0).tolist() == [2, 12, 12]
    assert torch.equal(model["into.X.weight"][0], Seeds(Dies, SEEDS)["into.X.weight"][0])


def test_accuracy_refuses_logits_that_are_not_numbers():
    model = Seeds(supervised(), SEEDS)
    model["head.weight"].data[2, 0, 0] = torch.nan
    x, y = LABELLED["X"]["x"].float(), LABELLED["X"]["y"]
    assert "seed 5" in assert_refused(lambda: model.accuracy("X", x, y), "logits")


ACCELERATOR = torch.cuda.is_available() or torch.backends.mps.is_available()


@pytest.mark.skipif(not ACCELERATOR, reason="no accelerator here")
def test_on_an_accelerator_as_on_the_cpu():
    losses = []
    for device in ("cpu", "cuda" if torch.cuda.is_available() else "mps"):
        model = Seeds(supervised(), SEEDS).to(device)
        data = {
            name: {key: tensor.to(device) for key, tensor in batch.items()}
            for name, batch in float32(LABELLED).items()
        }
        x, y = data["X"]["x"], data["X"]["y"]
        settings = {"weights": {"Y": [0.5, 1.0, 2.0]}, "every": 5, "patience": 2, **SCHEDULE}
        settings["score"] = lambda model, x=x, y=y: model.accuracy("X", x, y)
        losses.append(train(model, data, SIZES, 20, 1e-2, **settings).losses)
        assert model["head.weight"].device.type == device
        assert class_means(x, LABELLED["X"]["y"], 4).device.type == device
    for name in SIZES:
        np.testing.assert_allclose(losses[0][name], losses[1][name], rtol=1e-3)


# Few labels

Y = np.random.default_rng(0).integers(5, size=200)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list, lambda y: y[::-1][::-1]])
def test_fewer_shots_are_the_first_of_more(kind):
    many = few_shots(kind(Y), 8, seed=3)
    for k in (1, 2, 5):
        assert np.array_equal(few_shots(kind(Y), k, seed=3), many[: 5 * k])
    assert len(set(many)) == 40
    assert np.array_equal(Y[many].reshape(8, 5), np.tile(range(5), (8, 1)))
    assert np.array_equal(many, few_shots(Y, 8, seed=3, n_classes=5))
    assert not np.array_equal(many, few_shots(Y, 8, seed=4))


def test_every_sample_is_as_likely_a_shot():
    counts = np.bincount(np.concatenate([few_shots(Y, 3, seed) for seed in range(1000)]))
    expected = 3000 / np.bincount(Y)[Y]
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("unit", [True, False])
def test_class_means_are_plain_means(unit):
    x, y = normal(2, 60, 5), below(3, 2, 60)
    means = torch.stack(
        [torch.stack([x[b][y[b] == k].mean(0) for k in range(3)]) for b in range(2)]
    )
    expected = means / means.norm(dim=-1, keepdim=True) if unit else means
    torch.testing.assert_close(class_means(x, y, 3, unit), expected)
    backwards = x[0].numpy()[::-1], y[0].numpy()[::-1]
    torch.testing.assert_close(class_means(*backwards, 3, unit), expected[0])


def test_a_uml_head_may_start_from_class_means():
    means = class_means(LABELLED["Y"]["x"], LABELLED["Y"]["y"], 4)
    torch.testing.assert_close(means[0], means_of_the_first_seed())


# Refusals

X = PLAIN["X"]["x"].float()
LENGTH = PADDED["X"]["length"]
FEATURES = LABELLED["X"]["x"].float()
LABELS = LABELLED["X"]["y"]
MODEL = Seeds(mlp(), SEEDS)
HEAD = Seeds(supervised(), SEEDS)


def go(x=X, batch_sizes=4, steps=2, also=None, **settings):
    return train(MODEL, {"X": {"x": x, **(also or {})}}, batch_sizes, steps, 1e-3, **settings)


def two(batch_sizes=4, **settings):
    return train(MODEL, float32(PLAIN), batch_sizes, 2, 1e-3, **settings)


def head(x=FEATURES, y=LABELS):
    return train(HEAD, {"X": {"x": x, "y": y}}, 4, 2, 1e-3)


def scored(value):
    return go(score=lambda model: value)


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: Seeds(mlp(), [-1]), "seeds"),
        (lambda: Seeds(mlp(), [1.5]), "seeds"),
        # data
        (lambda: train(MODEL, {"Z": {"x": X}}, 4, 2, 1e-3), "data"),
        (lambda: train(MODEL, {"X": X}, 4, 2, 1e-3), "data['X']"),
        (lambda: train(MODEL, {"X": {"length": LENGTH}}, 4, 2, 1e-3), "data['X']"),
        (lambda: train(MODEL, {"X": {"x": X}, "Y": {"x": X[:, :0]}}, 4, 2, 1e-3), "data['Y']['x']"),
        (lambda: go(X.numpy()), "data['X']['x']"),
        (lambda: go(X[:, :0]), "data['X']['x']"),
        (lambda: go(X[:2]), "data['X']['x']"),
        (lambda: go(X[..., :2]), "data['X']['x']"),
        (lambda: go(X.double()), "data['X']['x']"),
        (lambda: go(X * torch.nan), "data['X']['x']"),
        (lambda: go(X / 0), "data['X']['x']"),
        (lambda: go(X.to("meta")), "data['X']['x']"),
        (lambda: go(torch.tensor(1.0)), "data['X']['x']"),
        (lambda: go(X[:, :, 0]), "x"),
        (lambda: go(X[:, :, :1]), "x"),  # the next of what?
        (lambda: go(also={"length": LENGTH[:, :9]}), "data['X']['length']"),
        (lambda: go(also={"length": 0 * LENGTH}), "data['X']['length']"),
        (lambda: go(also={"length": 6 + 0 * LENGTH}), "data['X']['length']"),
        (lambda: go(also={"length": LENGTH + 0.5}), "data['X']['length']"),
        (lambda: head(y=LABELS + 1), "data['X']['y']"),
        (lambda: head(y=LABELS - 1), "data['X']['y']"),
        (lambda: head(y=LABELS.float()), "data['X']['y']"),
        (lambda: head(y=LABELS[:, :9]), "data['X']['y']"),
        (lambda: head(x=FEATURES.log()), "data['X']['x']"),
        # settings
        (lambda: go(batch_sizes=0), "batch_sizes['X']"),
        (lambda: go(batch_sizes=None), "batch_sizes['X']"),
        (lambda: two(batch_sizes={"X": 4}), "batch_sizes['Y']"),
        (lambda: two(batch_sizes={"X": 4, "Y": 4, "Z": 4}), "batch_sizes"),
        (lambda: go(steps=0), "steps"),
        (lambda: two(weights={"Z": 1.0}), "weights"),
        (lambda: two(weights={"Y": -0.1}), "weights['Y']"),
        (lambda: two(weights={"Y": [1.0, 1.0, -1.0]}), "weights['Y']"),
        (lambda: go(weights=torch.nan), "weights['X']"),
        (lambda: two(starts={"Z": 1}), "starts"),
        (lambda: two(frozen=["tronk"]), "frozen"),
        (lambda: two(frozen=["int"]), "frozen"),
        (lambda: two(frozen="trunk"), "frozen"),
        (lambda: go(patience=3), "score"),
        (lambda: go(patience=0, score=lambda model: torch.zeros(3)), "patience"),
        (lambda: scored(torch.zeros(2)), "score"),
        (lambda: scored(1.0), "score"),
        (lambda: scored([0, np.nan, 0]), "score"),
        # few labels
        (lambda: few_shots(Y, 0, 0), "n_shots"),
        (lambda: few_shots(Y, 60, 0), "n_shots"),
        (lambda: few_shots(Y, 1, 0, n_classes=4), "y"),
        (lambda: few_shots(Y, 1, 0, n_classes=6), "y"),
        (lambda: few_shots(Y, 1, 0, n_classes=10**12), "y"),
        (lambda: few_shots(Y - 1, 1, 0), "y"),
        (lambda: few_shots([0, 2], 1, 0), "y"),
        (lambda: few_shots([0, 10**12], 1, 0), "y"),  # at once, and without memory for all between
        (lambda: few_shots([0.5, 1.0], 1, 0), "y"),
        (lambda: class_means(FEATURES, LABELS, 5), "y"),
        (lambda: class_means(FEATURES, LABELS, 3), "y"),
        (lambda: class_means(FEATURES, LABELS.float(), 4), "y"),
        (lambda: class_means(FEATURES[:, :9], LABELS, 4), "x"),
        (lambda: class_means(FEATURES / 0, LABELS, 4), "x"),
        (lambda: class_means(FEATURES.long(), LABELS, 4), "x"),
        (lambda: class_means(FEATURES, LABELS, 0), "y"),
    ],
)
def test_bad_input(call, name):
    assert_refused(call, name)


def test_what_a_network_does_not_take_is_refused():
    for model, batch in (
        (MODEL, {"x": X, "lenght": LENGTH}),
        (HEAD, {"x": FEATURES}),
        (HEAD, {"x": FEATURES, "y": LABELS, "length": LENGTH}),
    ):
        with pytest.raises(TypeError, match="argument"):
            train(model, {"X": batch}, 4, 2, 1e-3)


def test_no_warnings_and_a_bar_where_asked_for(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings = {"score": lambda model: torch.zeros(3), "every": 1, "patience": 2}
        trained(steps=3, **settings, **SCHEDULE)
        assert capsys.readouterr().out == ""
        trained(mlp(), steps=3, progress="reading")
        assert "reading" in capsys.readouterr().out
