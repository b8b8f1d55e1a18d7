"""Exercises of notebook 09: the SigLIP loss, one step of Lion, names without labels."""

import numpy as np

from lib.exercises import FunctionExercise


def _tables_with_strangers():
    """Three (K, scale, bias): partners on the diagonal; in two, some columns have none."""
    rng = np.random.default_rng(16)
    cases = []
    for n, m, scale, bias in [(4, 4, 5.0, -2.0), (3, 5, 8.0, -1.0), (2, 6, 3.0, 0.5)]:
        cases.append((rng.uniform(-1, 1, (n, m)), scale, bias))
    return cases


def _terms(K, scale, bias, partner=1, stranger=-1):
    """-log sigmoid of every cell, (n, m)."""
    z = np.where(np.eye(*K.shape) > 0, partner, stranger)
    return np.logaddexp(0, -z * (scale * K + bias))


def _siglip_loss(K, scale, bias):
    return _terms(K, scale, bias).mean()


siglip_loss = FunctionExercise(
    "siglip_loss",
    cases=_tables_with_strangers(),
    solution=_siglip_loss,
    mistakes=[
        (
            lambda K, scale, bias: _terms(K, scale, bias, partner=-1, stranger=1).mean(),
            "partners and strangers have changed places.",
            "z is +1 on the diagonal and -1 elsewhere.",
        ),
        (
            lambda K, scale, bias: _terms(K, scale, bias, stranger=1).mean(),
            "every cell counts as a partner.",
            "Off the diagonal z is -1.",
        ),
        (
            lambda K, scale, bias: _terms(K, scale, bias, stranger=0).mean(),
            "what is not a partner has z = 0 here.",
            "2 * eye - 1, not eye: strangers are to be pushed apart.",
        ),
        (
            lambda K, scale, bias: _terms(K, scale, bias).sum() / len(K),
            "you divided by n alone.",
            "Zhai et al. do; here it is the mean over all n m cells.",
        ),
        (
            lambda K, scale, bias: _terms(K, scale, bias).sum(),
            "this is a sum.",
            "Take the mean over all cells.",
        ),
        (
            lambda K, scale, bias: _siglip_loss(K, scale, 0),
            "where is the bias?",
            "The logit is scale * K + bias, in every cell.",
        ),
        (
            lambda K, scale, bias: _siglip_loss(K, 1, bias),
            "where is the scale?",
            "The logit is scale * K + bias.",
        ),
        (
            lambda K, scale, bias: _siglip_loss(K + bias, scale, 0),
            "the scale multiplies the bias, too.",
            "scale * K + bias, not scale * (K + bias).",
        ),
        (
            lambda K, scale, bias: -_siglip_loss(K, scale, bias),
            "the sign is turned.",
            "-log sigmoid is never negative.",
        ),
        (
            lambda K, scale, bias: np.diag(_terms(K, scale, bias)).mean(),
            "only partners count here.",
            "All cells have a say: strangers with z = -1.",
        ),
    ],
)


def _weights_in_motion():
    """Three (w, gradient, momentum, lr, weight_decay): momentum and gradient often disagree."""
    rng = np.random.default_rng(17)
    cases = []
    for shape, lr, weight_decay in [((5, 4), 0.1, 0.3), ((7,), 0.02, 1.0), ((2, 3, 2), 0.5, 0.1)]:
        values = rng.standard_normal((3, *shape))
        w, gradient, momentum = values * np.exp(2 * rng.standard_normal((3, *shape)))
        cases.append((w, gradient, momentum, lr, weight_decay))
    return cases


def _lion_step(w, gradient, momentum, lr, weight_decay, beta_1=0.9, beta_2=0.99, step=np.sign):
    direction = step(beta_1 * momentum + (1 - beta_1) * gradient)
    new_w = (1 - lr * weight_decay) * w - lr * direction
    return np.stack([new_w, beta_2 * momentum + (1 - beta_2) * gradient])


def _coupled_decay(w, gradient, momentum, lr, weight_decay):
    return _lion_step(w, gradient + weight_decay * w, momentum, lr, weight_decay=0)


def _shrunk_step(w, gradient, momentum, lr, weight_decay):
    new_w, new_momentum = _lion_step(w, gradient, momentum, lr, weight_decay=0)
    return np.stack([(1 - lr * weight_decay) * new_w, new_momentum])


lion_step = FunctionExercise(
    "lion_step",
    cases=_weights_in_motion(),
    solution=_lion_step,
    mistakes=[
        (
            lambda *case: _lion_step(*case, step=np.positive),
            "where is the sign?",
            "Lion takes steps of one size: sign(c), whatever the size of c.",
        ),
        (
            lambda *case: _lion_step(*case, beta_1=0),
            "the momentum has no say in the step.",
            "c = 0.9 m + 0.1 gradient, and the step is its sign.",
        ),
        (
            lambda *case: _lion_step(*case, beta_1=0.99, beta_2=0.9),
            "the two betas have changed places.",
            "The step mixes with 0.9, the momentum remembers with 0.99.",
        ),
        (
            lambda *case: _lion_step(*case, beta_2=0.9),
            "the momentum forgets too fast.",
            "m <- 0.99 m + 0.01 gradient.",
        ),
        (
            lambda *case: _lion_step(*case, beta_1=0.1),
            "the weights in c have changed places.",
            "0.9 belongs to the momentum, 0.1 to the gradient.",
        ),
        (
            lambda *case: _lion_step(*case, step=lambda c: -np.sign(c)),
            "your step climbs.",
            "Subtract the rate times the sign.",
        ),
        (
            lambda w, gradient, momentum, lr, weight_decay: _lion_step(
                w, gradient, momentum, lr, 0
            ),
            "where is the weight decay?",
            "First w shrinks by the factor 1 - lr * weight_decay.",
        ),
        (
            lambda w, gradient, momentum, lr, weight_decay: _lion_step(
                w, gradient, momentum, lr, weight_decay / lr
            ),
            "the decay is too strong.",
            "It is multiplied by the rate: 1 - lr * weight_decay.",
        ),
        (
            _coupled_decay,
            "you added the decay to the gradient.",
            "It is decoupled: w shrinks by itself, and the gradient stays as it is.",
        ),
        (
            lambda *case: _lion_step(*case, beta_1=0.99),
            "you stepped along the new momentum.",
            "The step has a mixture of its own, with 0.9, made before the momentum changes.",
        ),
        (
            _shrunk_step,
            "the step shrinks, too.",
            "First w shrinks, then comes the step: (1 - lr * weight_decay) w - lr * sign(c).",
        ),
    ],
)


def _pictures_and_prompts():
    """Two (pictures, prompts): lengths differ much, and the means of classes do, too."""
    rng = np.random.default_rng(18)
    cases = []
    for n, c, t, d in [(60, 5, 4, 3), (80, 7, 3, 4)]:
        topics = rng.standard_normal((c, 1, d))
        spreads = rng.exponential(size=(c, 1, 1))
        directions = topics + spreads * rng.standard_normal((c, t, d))
        pictures = rng.standard_normal((n, d)) * rng.exponential(size=(n, 1))
        prompts = directions * rng.exponential(3, size=(c, t, 1))
        cases.append((pictures, prompts))
    return cases


def _unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def _zero_shot(pictures, prompts):
    return (pictures @ _unit(_unit(prompts).mean(1)).T).argmax(1)


zero_shot = FunctionExercise(
    "zero_shot",
    cases=_pictures_and_prompts(),
    solution=_zero_shot,
    mistakes=[
        (
            lambda pictures, prompts: (pictures @ _unit(prompts).mean(1).T).argmax(1),
            "the averages have different lengths: short where the sentences of a class differ.",
            "Scale each class's average to length 1 as well.",
        ),
        (
            lambda pictures, prompts: (pictures @ _unit(prompts.mean(1)).T).argmax(1),
            "long sentences have more votes.",
            "Scale every sentence to length 1 BEFORE you average.",
        ),
        (
            lambda pictures, prompts: (pictures @ prompts.mean(1).T).argmax(1),
            "nothing was scaled.",
            "Scale every sentence to length 1, and the averages, too.",
        ),
        (
            lambda pictures, prompts: _zero_shot(pictures, prompts[:, :1]),
            "you asked one sentence per class.",
            "Average over axis 1, all t sentences.",
        ),
        (
            lambda pictures, prompts: (_unit(prompts) @ pictures.T).max(1).argmax(0),
            "you took the best sentence of each class.",
            "Here the average of the sentences decides, not the luckiest one.",
        ),
        (
            lambda pictures, prompts: (pictures @ _unit(_unit(prompts).mean(1)).T).argmin(1),
            "this is the class that fits least.",
            "Use argmax.",
        ),
        (
            lambda pictures, prompts: np.linalg.norm(
                pictures[:, None] - _unit(prompts).mean(1), axis=2
            ).argmin(1),
            "you compared distances.",
            "Pictures and averages are of any length: take the greatest cosine.",
        ),
    ],
)
