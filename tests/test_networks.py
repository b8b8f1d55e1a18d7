"""Networks around a trunk, held against torch's own blocks and against sums over positions."""

import pytest
import torch
import torch.nn.functional as F
from plain import assert_refused, below, normal
from torch import nn

from lib.networks import SelfSupervised, Supervised, Transformer, bottleneck

X = normal(40, 5, 3, seed=1)
LENGTH = below(6, 40, seed=1, low=1)
PADDING = torch.arange(5) >= LENGTH[:, None]


def network(causal=True, **settings):
    trunk = Transformer(8, 2, 2, 5, causal)
    return SelfSupervised({"X": 3, "Y": 3}, trunk, 8, **settings).double()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("task", ["next", "same"])
def test_what_stands_in_the_padding_does_not_matter(task, causal):
    model = network(causal, task=task)
    other = torch.where(PADDING[..., None], 100.0, X)
    assert not torch.equal(other, X)
    assert torch.equal(model.loss("X", X, LENGTH), model.loss("X", other, LENGTH))
    pooled = model.pooled("X", X, LENGTH)
    assert torch.equal(pooled, model.pooled("X", other, LENGTH))
    if causal:
        for row, x, length in zip(pooled, X, LENGTH):
            torch.testing.assert_close(row, model.represent("X", x[None, :length])[0].mean(0))


@pytest.mark.parametrize(
    "task, padded, shift", [("next", True, 1), ("next", False, 1), ("same", True, 0)]
)
def test_the_loss_is_the_mean_over_what_is_predicted(task, padded, shift):
    model = network(task=task)
    length = LENGTH if padded else torch.full((40,), 5)
    guess = model.out["X"](model.represent("X", X))  # causal: no position sees the padding
    errors = [
        (guess[i, t] - X[i, t + shift]) ** 2 for i in range(40) for t in range(length[i] - shift)
    ]
    loss = model.loss("X", X, LENGTH) if padded else model.loss("X", X)
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_rows_without_a_next_position_count_for_nothing():
    model = network()
    alone = torch.ones(40, dtype=torch.int64)
    assert model.loss("X", X, alone) == 0
    both = torch.where(torch.arange(40) < 20, 5, 1)
    torch.testing.assert_close(model.loss("X", X, both), model.loss("X", X[:20]))


def test_an_autoencoder_may_do_without_positions():
    model = SelfSupervised({"X": 3}, bottleneck(6, 5, 2), 6, task="same").double()
    x = normal(7, 3)
    guess = model.out["X"](model.trunk(model.into["X"](x)))
    torch.testing.assert_close(model.loss("X", x), F.mse_loss(guess, x))
    assert model.losses({"X": {"x": x}}) == {"X": model.loss("X", x)}


def test_tied_modalities_share_their_maps():
    tied, free = network(tied=True), network()
    assert tied.into["X"] is tied.into["Y"] and tied.out["X"] is tied.out["Y"]
    assert torch.equal(tied.loss("X", X), tied.loss("Y", X))
    assert not torch.equal(free.loss("X", X), free.loss("Y", X))


def test_the_logits_are_scaled_cosines_with_the_rows_of_the_head():
    model = Supervised({"X": 3, "Y": 8}, 4, project=["X"]).double()
    x = normal(7, 3)
    r = model.represent("X", x)
    torch.testing.assert_close(r, F.normalize(model.into["X"](x), dim=1))
    torch.testing.assert_close(model.logits("X", x), 10 * r @ model.head.weight.T)
    torch.testing.assert_close(model.logits("Y", 9 * normal(7, 8)), model.logits("Y", normal(7, 8)))
    y = below(4, 7)
    model.scale["X"].data += 1
    torch.testing.assert_close(model.loss("X", x, y), F.cross_entropy(model.logits("X", x), y))
    assert model("losses", {"X": {"x": x, "y": y}})["X"] == model.loss("X", x, y)


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_transformer_does_not_see_the_future(causal):
    trunk = Transformer(8, 2, 2, 5, causal).double()
    x = normal(7, 5, 8)
    other = x.clone()
    other[:, 3] = other[:, 3].flip(-1)  # adding a number would not do: LayerNorm does not see it
    both = zip(trunk(x).unbind(1), trunk(other).unbind(1))
    same = [torch.allclose(a, b, rtol=1e-12) for a, b in both]
    assert same == ([True] * 3 + [False] * 2 if causal else [False] * 5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_block_is_that_of_torch(causal):
    ours = Transformer(8, 1, 2, 5, causal).double()
    theirs = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs.double()
    attention, residual, norm = ours
    for mine, other in (
        (attention.norm, theirs.norm1),
        (attention.merge, theirs.self_attn.out_proj),
        (residual.norm, theirs.norm2),
        (residual.up, theirs.linear1),
        (residual.down, theirs.linear2),
    ):
        other.load_state_dict(mine.state_dict())
    theirs.self_attn.in_proj_weight.data = attention.qkv.weight.data
    theirs.self_attn.in_proj_bias.data = attention.qkv.bias.data
    x = normal(6, 5, 8)
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    torch.testing.assert_close(ours(x), norm(theirs(x + ours.position, mask)))


def test_a_transformer_tells_positions_apart():
    trunk = Transformer(8, 1, 2, 5).double()
    assert not torch.allclose(*trunk(normal(1, 1, 8).expand(1, 2, 8))[0])


def test_bottleneck_has_the_sizes_of_the_paper_and_may_be_linear():
    sizes = [tuple(layer.weight.shape) for layer in bottleneck() if isinstance(layer, nn.Linear)]
    assert sizes == [(64, 128), (10, 64), (64, 10), (128, 64)]
    x = normal(5, 128).float()
    for linear in (True, False):
        h = bottleneck(linear=linear)
        assert torch.allclose(h(x) + h(-x), 2 * h(0 * x), atol=1e-4) == linear


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: SelfSupervised({"X": 3}, nn.Identity(), 1.5), "width"),
        (lambda: SelfSupervised({"X": 3}, nn.Identity(), 3, task="last"), "task"),
        (lambda: SelfSupervised({"X": 3, "Y": 4}, nn.Identity(), 3, tied=True), "widths"),
        (lambda: network().loss("X", X[:, :1]), "x"),  # the next of what?
        (lambda: network().loss("X", X[:, 0]), "x"),
        (lambda: Supervised({"X": 3}, 1), "n_classes"),
        (lambda: Supervised({"X": 3, "Y": 4}, 2), "widths['Y']"),
        (lambda: Supervised({"X": 3}, 2, project=["Z"]), "project"),
        (lambda: Supervised({"X": 3}, 2, project=["X"]), "width"),
        (lambda: Transformer(8, 1, 3, 5), "width"),
        (lambda: Transformer(8, 0, 2, 5), "n_layers"),
        (lambda: Transformer(8, 1, 2, 5)(torch.zeros(1, 6, 8)), "x"),
        (lambda: Transformer(8, 1, 2, 5)(torch.zeros(6, 8)), "x"),
    ],
)
def test_bad_input(call, name):
    assert_refused(call, name)
