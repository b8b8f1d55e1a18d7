"""Each loss against plain loops, and what it must and must not notice."""

import math

import pytest
import torch

from lib.losses import cka_divergence, cosines, infonce, infonce_divergence, siglip


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_cosines():
    x, y = normal(4, 3), normal(5, 3, seed=1)
    for i in range(4):
        for j in range(5):
            wanted = (x[i] @ y[j]) / x[i].norm() / y[j].norm()
            assert cosines(x, y)[i, j].item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("scale", [0.0, 1e-200, 1e200])
def test_rows_without_a_direction_are_refused(scale):
    x = normal(3, 2)
    x[1] *= scale
    with pytest.raises(ValueError, match="^x: got 'rows of length .*accepted: rows of length"):
        cosines(x, normal(3, 2))


def test_infonce_is_the_mean_cross_entropy_of_the_partner_both_ways():
    logits, rows, columns = normal(4, 4), normal(4, 2, seed=1), normal(3, 4, seed=2)
    wide, tall = torch.cat([logits, rows], 1), torch.cat([logits, columns], 0)
    total = 0.0
    for i in range(4):
        total -= math.log(wide[i, i].exp() / wide[i].exp().sum())
        total -= math.log(tall[i, i].exp() / tall[:, i].exp().sum())
    assert infonce(logits, rows, columns).item() == pytest.approx(total / 8)
    assert infonce(logits).item() == pytest.approx(infonce(logits.T).item())
    assert infonce(logits).item() < infonce(logits, rows, columns).item()


def test_siglip_and_its_two_normalisations():
    logits = normal(3, 5)
    total = 0.0
    for i in range(3):
        for j in range(5):
            sign = 1 if i == j else -1
            total += math.log(1 + math.exp(-sign * logits[i, j]))
    assert siglip(logits).item() == pytest.approx(total / 15)
    assert siglip(logits, normalise="rows").item() == pytest.approx(total / 3)
    with pytest.raises(ValueError, match="^normalise: got 'pairs', accepted: 'entries' or 'rows'"):
        siglip(logits, normalise="pairs")


def test_infonce_divergence_is_kl_both_ways_and_zero_at_the_teacher():
    f, g, a, b = (normal(n, d, seed=k) for k, (n, d) in enumerate([(4, 3), (5, 3), (4, 6), (5, 6)]))
    P, T = cosines(f, g) / 0.3, cosines(a, b) / 0.2
    total = 0.0
    for student, teacher in ((P, T), (P.T, T.T)):
        for p, t in zip(student.softmax(1), teacher.softmax(1)):
            total += (t * (t / p).log()).sum().item() / len(student)
    assert infonce_divergence(f, g, a, b, 0.3, 0.2).item() == pytest.approx(total / 2)
    assert infonce_divergence(a, b, a, b, 0.2, 0.2).item() == pytest.approx(0, abs=1e-12)


def test_cka_divergence_is_the_cosine_of_the_centred_affinities():
    f, g, a, b = (normal(n, d, seed=k) for k, (n, d) in enumerate([(4, 3), (5, 3), (4, 6), (5, 6)]))

    def centred(Z):
        return Z - Z.mean(0) - Z.mean(1, keepdim=True) + Z.mean()

    K, L = centred(cosines(f, g)), centred(cosines(a, b))
    wanted = 1 - (K * L).sum() / K.norm() / L.norm()
    assert cka_divergence(f, g, a, b).item() == pytest.approx(wanted.item())
    same = torch.ones(5, 3, dtype=torch.float64)
    assert cka_divergence(f, same, a, b).item() == 1


def test_no_gradient_reaches_the_teacher_of_infonce():
    f, g, a, b = (normal(4, 3, seed=k).requires_grad_() for k in range(4))
    infonce_divergence(f, g, a, b).backward()
    assert f.grad is not None and g.grad is not None
    assert a.grad is None and b.grad is None
