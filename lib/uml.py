"""UML: many seeds of a network side by side, trained on unpaired batches (UML section 3.2).

    L = sum over modalities k of lambda_k L_k, each L_k on a batch of its own     (algorithms 1, 2)

`Seeds` gives every weight of a network a leading seed axis, and `torch.func.vmap` runs all at once.
No weight of one seed meets another seed's, and AdamW works weight by weight: each trains as alone.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, stack_module_state

from lib import training
from lib.networks import Supervised
from lib.validation import check_array, check_choice, check_int, check_tensor, invalid


class Seeds(nn.Module):
    """Networks side by side; network s has the weights that `make()` draws after seeds[s].

    `self(method, *args)` runs a method of all networks: tensors, and dicts of tensors, have a
    leading seed axis, and so has the result; strings go to every network as they are.
    `self[name]` is the stacked parameter `name`, (n_seeds, ...).
    """

    def __init__(self, make, seeds):
        super().__init__()
        self.seeds = [check_int("seeds", seed, low=0) for seed in seeds]
        self.n_seeds = len(self.seeds)
        networks = []
        with torch.random.fork_rng(devices=[]):
            for seed in self.seeds:
                torch.default_generator.manual_seed(seed)
                networks.append(make())
        self._network = networks[:1]  # in a list: torch does not count its weights as ours
        parameters, buffers = stack_module_state(networks)
        self._names = [*parameters, *buffers]
        for name, tensor in parameters.items():  # torch allows no dot in a name
            setattr(self, name.replace(".", "/"), nn.Parameter(tensor, tensor.requires_grad))
        for name, tensor in buffers.items():
            self.register_buffer(name.replace(".", "/"), tensor)

    def __getitem__(self, name):
        return getattr(self, name.replace(".", "/"))

    def forward(self, method, *args):
        def call(weights, args):
            return functional_call(self._network[0], weights, (method, *args))

        axes = tuple(None if isinstance(arg, str) else 0 for arg in args)
        weights = {name: self[name] for name in self._names}
        return torch.vmap(call, in_dims=(0, axes))(weights, args)

    @torch.no_grad()
    def accuracy(self, name, x, y):
        """Share (n_seeds,) of x (n_seeds, n, d) that gets its label y (n_seeds, n); refuses NaN."""
        logits = self("logits", name, x)
        _check_finite(self, "logits", logits)
        return (logits.argmax(-1) == y).float().mean(1)


class History(NamedTuple):
    """What `train` saw; a seed that has stopped is scored with the weights that it keeps."""

    losses: dict  # {modality: (steps, n_seeds)}, NaN where it was not trained
    scored: np.ndarray  # (t,), the numbers of updates after which scores were taken
    scores: np.ndarray  # (t, n_seeds)


def train(
    model,
    data,
    batch_sizes,
    steps,
    lr,
    *,
    weights=1.0,
    starts=0,
    in_turn=False,
    frozen=(),
    weight_decay=0.0,
    warmup=0,
    cosine=False,
    score=None,
    every=50,
    patience=None,
    seed=0,
    progress="",
):
    """Train all seeds on unpaired batches with AdamW (UML algorithms 1 and 2): a History.

    data         {modality: {'x': (n_seeds, n_k, ...), ...}}, batches of the networks, seeds first
    batch_sizes  {modality: rows per update}, or one number for all
    weights      {modality: lambda}, each >= 0, a number or (n_seeds,); 1 where left out
    starts       {modality: updates before it joins}; 0 where left out (the paper's curriculum)
    in_turn      True: one modality per update, alternating (the paper, for more than two)
    frozen       names of parameters that stay, or how they begin: ['head', 'into.text']
    warmup       updates in which the rate rises to `lr`; then it stays, or falls if `cosine`
    score        score(model) -> (n_seeds,) on validation data, taken after every `every` updates
    patience     scores without a rise after which a seed stops; each ends with its best weights
    seed         of the batches, the same on every device; progress: the words of a bar

    Raises ValueError for what does not fit, and for losses, scores and weights that are not finite.
    """
    check_int("steps", steps)
    _check_data(model, data)
    batch_sizes = _by_modality("batch_sizes", batch_sizes, data)
    starts = _by_modality("starts", starts, data, 0)
    weights = _by_modality("weights", weights, data, 1.0)
    parameters = list(model.parameters())
    for name in data:
        check_int(f"batch_sizes[{name!r}]", batch_sizes[name])
        weights[name] = torch.as_tensor(weights[name]).to(parameters[0]).expand(model.n_seeds)
        if not (weights[name] >= 0).all():
            raise invalid(f"weights[{name!r}]", weights[name], "numbers >= 0")
    if patience is not None and check_int("patience", patience) and score is None:
        raise invalid("score", score, "a function of the model, for patience to judge by")
    best = [weight.detach().clone() for weight in parameters]
    running = np.ones(model.n_seeds, dtype=bool)
    trained = _trained(model, frozen)
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    each_seed = torch.arange(model.n_seeds)[:, None]
    losses = {name: np.full((steps, model.n_seeds), np.nan) for name in data}
    scores = {}
    for step in itertools.chain(training.progress(range(steps), progress), [steps]):
        if step % every == 0 or step == steps:
            _copy(best, parameters, ~running)
            for name, weight in model.named_parameters():
                _check_finite(model, name.replace("/", "."), weight, f" after {step} updates")
            if score is not None:
                value = torch.as_tensor(score(model)).detach().cpu()
                scores[step] = check_array("score", value, (model.n_seeds,))
            if patience is not None:
                waited = len(scores) - 1 - np.argmax([*scores.values()], axis=0)
                _copy(parameters, best, waited == 0)
                running &= waited < patience
        if step == steps or not running.any():
            break
        active = [name for name in data if step >= starts[name]]
        if in_turn:
            active = [active[step % len(active)]]
        batches = {}
        for name in active:
            n = data[name]["x"].shape[1]
            rows = torch.randint(n, (model.n_seeds, batch_sizes[name]), generator=generator)
            batches[name] = {key: tensor[each_seed, rows] for key, tensor in data[name].items()}
        loss = model("losses", batches)
        for name in active:
            _check_finite(model, f"loss of {name!r}", loss[name], f" in update {step + 1}", running)
            losses[name][step, running] = loss[name].detach().cpu()[running]
        optimizer.zero_grad()
        sum((weights[name] * loss[name]).sum() for name in active).backward(inputs=trained)
        share = training.warmup_cosine(step, steps, warmup) if cosine or step < warmup else 1.0
        optimizer.param_groups[0]["lr"] = lr * share
        optimizer.step()
    if patience is not None:
        _copy(best, parameters, slice(None))
    history = np.reshape([*scores.values()], (-1, model.n_seeds))
    return History(losses, np.array([*scores], dtype=int), history)


def few_shots(y, n_shots, seed, n_classes=None):
    """Positions (n_shots * n_classes,) of n_shots samples of each class in the labels y (n,).

    First one sample of every class, then a second one, and so on: fewer shots are the first ones of
    more. Raises ValueError for labels that are not 0 to n_classes - 1, and for too few samples.
    """
    y = np.asarray(y.cpu() if isinstance(y, torch.Tensor) else y)
    classes, counts = np.unique(y, return_counts=True)
    n_classes = len(classes) if n_classes is None else n_classes
    _check_integers("y", y, 0, n_classes - 1)
    if len(classes) < n_classes:
        raise invalid("y", f"labels of {len(classes)} classes", f"labels of all {n_classes}")
    if check_int("n_shots", n_shots) > counts.min():
        raise invalid("n_shots", n_shots, f"<= {counts.min()}, as class {counts.argmin()} has")
    order = np.random.default_rng(seed).permutation(len(y))
    return np.stack([order[y[order] == k][:n_shots] for k in classes], axis=1).ravel()


def class_means(x, y, n_classes, unit=True):
    """Means (..., n_classes, d) of the rows of each class, scaled to length 1 if `unit`.

    x (..., n, d), labels y (..., n). UML (init) starts the head from those of the text. Raises
    ValueError for labels that are not 0 to n_classes - 1, and for NaN.
    """
    x, y = (z if isinstance(z, torch.Tensor) else torch.tensor(np.array(z)) for z in (x, y))
    check_tensor("x", x, (*y.shape, None))
    _check_integers("y", y, 0, n_classes - 1)
    of_class = F.one_hot(y.to(x.device), n_classes).to(x.dtype)
    counts = of_class.sum(-2)
    if not counts.all():
        raise invalid("y", "a class without samples", f"labels of all {n_classes} classes")
    means = of_class.mT @ x / counts[..., None]
    return F.normalize(means, dim=-1) if unit else means


def _copy(source, target, seeds):
    for old, new in zip(source, target, strict=True):
        new.data[seeds] = old.data[seeds]


def _by_modality(option, amounts, data, default=None):
    """{modality: amount} from one amount for all, or from a dict that leaves some to `default`."""
    if not isinstance(amounts, dict):
        return dict.fromkeys(data, amounts)
    for name in amounts:
        check_choice(option, name, data)
    return dict.fromkeys(data, default) | amounts


def _trained(model, frozen):
    """The parameters of the model of which no name in `frozen` is the beginning."""
    named = {name.replace("/", "."): weight for name, weight in model.named_parameters()}
    stay = set()
    for beginning in frozen:
        begun = {name for name in named if f"{name}.".startswith(f"{beginning}.")}
        if not begun:
            raise invalid("frozen", beginning, "beginnings of " + ", ".join(named))
        stay |= begun
    return [weight for name, weight in named.items() if weight.requires_grad and name not in stay]


def _check_data(model, data):
    network = model._network[0]
    for name, batch in data.items():
        check_choice("data", name, network.into)
        where = f"data[{name!r}]"
        if not isinstance(batch, dict) or "x" not in batch:
            raise invalid(where, batch, "a dict with the tensor 'x'")
        width = getattr(network.into[name], "in_features", None)
        x = check_tensor(f"{where}['x']", batch["x"], (..., width), next(model.parameters()))
        for key, tensor in batch.items():
            if len(x) != model.n_seeds or tensor.shape[:2] != x.shape[:2] or 0 in tensor.shape:
                accepted = f"({model.n_seeds}, rows as in x, ...), none of them 0"
                raise invalid(f"{where}[{key!r}]", tuple(tensor.shape), accepted)
        if "length" in batch:
            _check_integers(f"{where}['length']", batch["length"], 1, x.shape[2])
        if "y" in batch and isinstance(network, Supervised):
            _check_integers(f"{where}['y']", batch["y"], 0, network.head.out_features - 1)


def _check_integers(name, z, low, high):
    """Refuse anything but an array or tensor of integers from low to high."""
    if "int" not in str(z.dtype) or z.min() < low or z.max() > high:
        raise invalid(name, f"{z.dtype}, {z.min()} to {z.max()}", f"integers from {low} to {high}")


def _check_finite(model, name, values, when="", running=True):
    """Refuse `values` (n_seeds, ...) that are NaN or infinite for a seed that is running."""
    finite = torch.isfinite(values.detach()).reshape(model.n_seeds, -1).all(1)
    bad = np.flatnonzero(~finite.cpu().numpy() & running)
    if len(bad):
        got = f"NaN or infinity for seed {model.seeds[bad[0]]}{when}"
        raise invalid(name, got, "finite numbers; a lower lr helps")
