"""Ten seeds side by side against one seed, and against ten plain loops over one network each.

Interleaved; medians of ratios.
"""

import statistics
import time

import torch

from lib.networks import Residual, SelfSupervised, Supervised, Transformer
from lib.uml import Seeds, train

STEPS = 60
REPEATS = 5
N_SEEDS = 10


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def labelled(n, d):
    return {"x": normal(n, d), "y": torch.arange(n) % 48}


def supervised():
    return Supervised({"image": 256, "text": 48}, 48, project=["image"])


def residual():
    return SelfSupervised({"x": 16, "y": 16}, Residual(32, 64), 32)


def transformer():
    return SelfSupervised({"x": 192, "y": 48}, Transformer(64, 2, 4, 16), 64)


SETTINGS = {  # words: network, data of one seed
    "frozen features 256 -> 48, head of 48 classes, batch 32 + 32": (
        supervised,
        {"image": labelled(768, 256), "text": labelled(6000, 48)},
    ),
    "next step, residual trunk of 32, sequences of 10, batch 32 + 32": (
        residual,
        {"x": {"x": normal(100, 10, 16)}, "y": {"x": normal(800, 10, 16)}},
    ),
    "next step, transformer of 2 layers, width 64, 16 positions, batch 32 + 32": (
        transformer,
        {"x": {"x": normal(500, 16, 192)}, "y": {"x": normal(500, 16, 48)}},
    ),
}


def side_by_side(make, data, n_seeds):
    stacked = {
        name: {key: tensor.expand(n_seeds, *tensor.shape) for key, tensor in batch.items()}
        for name, batch in data.items()
    }
    train(Seeds(make, range(n_seeds)), stacked, 32, STEPS, 1e-2)


def plain(make, data):
    """The loop that everybody writes, once for each seed."""
    for _ in range(N_SEEDS):
        network = make()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.0, fused=True)
        for _ in range(STEPS):
            batches = {}
            for name, batch in data.items():
                rows = torch.randint(len(batch["x"]), (32,))
                batches[name] = {key: tensor[rows] for key, tensor in batch.items()}
            optimizer.zero_grad()
            sum(network.losses(batches).values()).backward()
            optimizer.step()


def seconds(run, *arguments):
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def main():
    torch.set_num_threads(2)
    print("ratio of times, medians of", REPEATS)
    for words, (make, data) in SETTINGS.items():
        more, loops = [], []
        for repeat in range(REPEATS + 1):
            ten = seconds(side_by_side, make, data, N_SEEDS)
            one = seconds(side_by_side, make, data, 1)
            plainly = seconds(plain, make, data)
            if repeat > 0:  # the first warms up
                more.append(ten / one)
                loops.append(plainly / ten)
        print(
            f"{words}: ten seeds take {statistics.median(more):.1f} x the time of one; "
            f"ten plain loops take {statistics.median(loops):.1f} x as long"
        )


if __name__ == "__main__":
    main()
