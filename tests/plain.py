"""Plain references that several tests hold the library against."""

import pytest
import torch


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def below(high, *shape, seed=0, low=0):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def plain_cosines(u, v):
    return torch.stack(
        [torch.stack([p @ q / (p @ p).sqrt() / (q @ q).sqrt() for q in v]) for p in u]
    )


def plain_siglip(u, v, scale=20.0, bias=-10.0):
    """Of all (i, j): log(1 + exp(-logit)) for partners, log(1 + exp(logit)) for others."""
    K = plain_cosines(u, v)
    terms = []
    for i in range(len(u)):
        for j in range(len(v)):
            logit = scale * K[i, j] + bias
            terms.append((1 + (-logit if i == j else logit).exp()).log())
    return sum(terms) / len(terms)


def assert_refused(call, name):
    """`call()` raises a ValueError of one line that begins with the argument's name."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ") and ", accepted: " in message
    assert "\n" not in message and len(message) < 400
    return message
