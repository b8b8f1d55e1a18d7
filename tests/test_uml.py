"""Seeds trained side by side against a plain loop over one network."""
import numpy as np
import pytest
import torch
from torch import nn

from lib.uml import SharedAutoencoder, train


def worlds(n_seeds=3, n=200):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n_seeds, n, 50, generator=generator) for _ in range(3)]


class Plain(nn.Module):
    """One network, in the order in which its layers are drawn."""

    def __init__(self, n_adapters, linear):
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(128, 64), nn.Linear(64, 10), nn.Linear(10, 64), nn.Linear(64, 128)
        self.adapters = nn.ModuleList(nn.Linear(*size) for _ in range(n_adapters) for size in ((50, 128), (128, 50)))
        self.act = (lambda z: z) if linear else torch.relu

    def forward(self, x, k):
        h = self.b(self.act(self.a(self.adapters[2 * k](x))))
        return self.adapters[2 * k + 1](self.d(self.act(self.c(h))))


@pytest.mark.parametrize("n_adapters, linear", [(1, False), (1, True), (2, False), (2, True)])
def test_side_by_side_equals_one_by_one(n_adapters, linear):
    x, y, test = worlds()
    data, sizes = [x, y][:n_adapters], [16, 24][:n_adapters]
    _, fast = train(SharedAutoencoder(range(3), n_adapters, linear=linear), data, test, sizes, 3e-3, 60, every=20, seed=4)
    for seed in range(3):
        torch.manual_seed(seed)
        model, curve = Plain(n_adapters, linear), []
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        generator = torch.Generator().manual_seed(4)
        for step in range(61):
            if step % 20 == 0:
                curve.append(((model(test[seed], 0) - test[seed]) ** 2).mean().item())
            draws = [torch.randint(200, (3, n), generator=generator)[seed] for n in sizes]
            loss = sum(((model(d[seed][i], k) - d[seed][i]) ** 2).mean() for k, (d, i) in enumerate(zip(data, draws)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        np.testing.assert_allclose(fast[:, seed], curve, rtol=1e-5)


def test_twice_is_the_same_with_two_modalities():
    x, y, test = worlds()
    once, again = (train(SharedAutoencoder(range(3), 2), [x, y], test, [16, 24], 3e-3, 40, every=10)[1] for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_seeds_do_not_touch_each_other():
    x, _, test = worlds()
    run = lambda data: train(SharedAutoencoder(range(3), 1), [data], test, [16], 3e-3, 40, every=10)[1]
    other = x.clone()
    other[0] = 5 * other[0] + 1
    first, again, changed = run(x), run(x), run(other)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first[:, 1:], changed[:, 1:], rtol=1e-6)
    assert not np.allclose(first[1:, 0], changed[1:, 0])


def test_the_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    SharedAutoencoder([5], 2)
    assert torch.equal(before, torch.get_rng_state())


X = torch.zeros(1, 10, 50)
MODEL = SharedAutoencoder([0], 1)


@pytest.mark.parametrize("call, name", [
    (lambda: train(MODEL, [X * torch.nan], X, [4], 1e-3, 5), "data[0]"), (lambda: train(MODEL, [X], X + torch.inf, [4], 1e-3, 5), "test"),
    (lambda: train(MODEL, [X[:, :0]], X, [4], 1e-3, 5), "data[0]"), (lambda: train(MODEL, [X[..., :9]], X, [4], 1e-3, 5), "data[0]"),
    (lambda: train(MODEL, [X, X], X, [4, 4], 1e-3, 5), "data"), (lambda: train(MODEL, [X], X, [4, 4], 1e-3, 5), "data"),
    (lambda: train(MODEL, [X], X, [0], 1e-3, 5), "batch_sizes"), (lambda: train(MODEL, [X], X, [4], 0.0, 5), "lr"),
    (lambda: train(MODEL, [X], X, [4], 1e-3, 0), "steps"), (lambda: train(MODEL, [X], X, [4], 1e-3, 5, every=0), "every"),
    (lambda: SharedAutoencoder([-1], 1), "seeds"), (lambda: SharedAutoencoder([], 1), "seeds"), (lambda: SharedAutoencoder([0], 0), "n_adapters"),
    (lambda: SharedAutoencoder([0], 1, d_code=0), "d_code"), (lambda: SharedAutoencoder([1.5], 1), "seeds"), (lambda: SharedAutoencoder([0], True), "n_adapters"),
    (lambda: SharedAutoencoder([0], 1, width=1.5), "width"), (lambda: train(MODEL, [X], X[:, :0], [4], 1e-3, 5), "test"),
    (lambda: train(MODEL, [X], X, [4], float("nan"), 5), "lr"), (lambda: train(MODEL, [X], X, [4], "fast", 5), "lr"), (lambda: train(MODEL, [X], X, [True], 1e-3, 5), "batch_sizes"),
    (lambda: train(MODEL, [X], X, [4], 1e-3, 2, seed=-1), "seed"), (lambda: train(MODEL, [X], X, [4], 1e-3, 2, seed="a"), "seed"),
    (lambda: train(MODEL, [torch.cat([X, X])], torch.cat([X, X]), [4], 1e-3, 2), "data[0]"),  # two seeds of data, one network
    (lambda: train(MODEL, [X[..., :9]], X[..., :9], [4], 1e-3, 2), "data[0]"),  # the network reads 50 numbers
    (lambda: train(MODEL, [X], X[0], [4], 1e-3, 2), "test"), (lambda: train(MODEL, [X.double()], X, [4], 1e-3, 2), "data[0]"),
    (lambda: train(MODEL, [X.numpy()], X, [4], 1e-3, 2), "data[0]"), (lambda: train(MODEL, [X], X, 4, 1e-3, 2), "batch_sizes"),
    (lambda: SharedAutoencoder(3, 1), "seeds"),
    (lambda: train(MODEL, [], X, [], 1e-3, 2), "data"), (lambda: train(MODEL, 5, X, [4], 1e-3, 2), "data"), (lambda: train(MODEL, [X], X.numpy(), [4], 1e-3, 2), "test"),
])
def test_bad_input(call, name):
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ") and ", accepted: " in message and "\n" not in message
