"""One seed's networks around a trunk that all modalities share (UML section 3.2).

    f_k   `into`   one per modality, linear or none
    h     `trunk`  shared by all modalities, and the only way in which one can help another
    g_k   `out`    one per modality (self-supervised, algorithm 1), or
    c     `head`   shared by all (supervised, algorithm 2)

`network.losses({modality: batch})` is {modality: loss}; lib.uml trains many networks at once.
"""

import torch
import torch.nn.functional as F
from torch import nn

from lib.validation import check_choice, check_int, invalid


class Network(nn.Module):
    """Base of all networks, with the modules `into` (by modality) and `trunk`."""

    def forward(self, method, *args):
        """Run a method by name, so that `lib.uml.Seeds` can run it for many networks."""
        return getattr(self, method)(*args)

    def represent(self, name, x):
        """h(f(x)), (n, ..., width)."""
        return self.trunk(self.into[name](x))

    def losses(self, batches):
        """{modality: loss} of {modality: batch}, a batch being what `loss` takes."""
        return {name: self.loss(name, **batch) for name, batch in batches.items()}


class SelfSupervised(Network):
    """g_k(h(f_k(x))), each modality predicting itself (UML algorithm 1).

    widths  {modality: numbers per position}
    trunk   h, (n, length, width) -> (n, length, width), or (n, width) -> (n, width)
    width   numbers per position inside the trunk
    task    'next': the output at position t against the input at t + 1; 'same': an autoencoder
    tied    True: all modalities, then of one width, share one f and one g

    A batch is {'x': (n, length, d) or (n, d)}, with 'length' (n,) where x is padded. What stands
    in the padding is never read: the trunk sees zeros there. Raises ValueError for bad settings.
    """

    def __init__(self, widths, trunk, width, task="next", tied=False):
        super().__init__()
        if tied and len(set(widths.values())) > 1:
            raise invalid("widths", widths, "one width for all modalities whose maps are tied")
        self.task = check_choice("task", task, ("next", "same"))
        self.into = nn.ModuleDict()
        self.trunk = trunk
        self.out = nn.ModuleDict()
        for name, d in widths.items():
            if not tied or len(self.into) == 0:
                into = nn.Linear(d, check_int("width", width))
                out = nn.Linear(width, d)
            self.into[name] = into
            self.out[name] = out

    def pooled(self, name, x, length):
        """Mean of h(f(x)) over the first `length` (n,) positions of x (n, longest, d)."""
        inside = _inside(x, length)
        return (self.represent(name, x * inside) * inside).sum(1) / inside.sum(1)

    def loss(self, name, x, length=None):
        """Mean squared error, a number."""
        if self.task == "next" and (x.ndim != 3 or x.shape[1] < 2):
            raise invalid("x", f"shape {tuple(x.shape)}", "shape (n, 2 or more positions, d)")
        inside = _inside(x, length)
        guess = self.out[name](self.represent(name, x * inside))
        if self.task == "next":
            guess, x, inside = guess[:, :-1], x[:, 1:], inside[:, 1:]
        return ((guess - x) ** 2 * inside).sum() / (inside.sum().clamp_min(1) * x.shape[-1])


class Supervised(Network):
    """One shared head c over h(f_k(x)) for all modalities (UML algorithm 2).

    widths   {modality: number of features}
    project  modalities with a linear f of their own; the others enter as they are
    width    numbers that enter h; left out, the width of the modalities that enter as they are
    trunk    h, (n, width) -> (n, width); left out, the identity

    A batch is {'x': (n, d), 'y': (n,) labels}. What leaves h is scaled to length 1 (ours), and each
    modality has a learned factor for its logits, 10 at first (optional in the paper). Raises
    ValueError for bad settings.
    """

    def __init__(self, widths, n_classes, project=(), width=None, trunk=None):
        super().__init__()
        for name in project:
            check_choice("project", name, widths)
        if width is None:
            width = next((d for name, d in widths.items() if name not in project), None)
        check_int("width", width)
        self.into = nn.ModuleDict()
        for name, d in widths.items():
            if d != width and name not in project:
                raise invalid(f"widths[{name!r}]", d, f"{width}, or {name!r} among `project`")
            self.into[name] = nn.Linear(d, width) if name in project else nn.Identity()
        self.trunk = nn.Identity() if trunk is None else trunk
        self.head = nn.Linear(width, check_int("n_classes", n_classes, low=2), bias=False)
        self.scale = nn.ParameterDict({name: torch.tensor(10.0).log() for name in widths})

    def represent(self, name, x):
        """h(f(x)), scaled to length 1, (n, width)."""
        return F.normalize(super().represent(name, x), dim=-1)

    def logits(self, name, x):
        """c(h(f(x))), (n, n_classes)."""
        return self.scale[name].exp() * self.head(self.represent(name, x))

    def loss(self, name, x, y):
        """Cross-entropy, a number."""
        return F.cross_entropy(self.logits(name, x), y)


class Residual(nn.Module):
    """x + Linear(GELU(Linear(LayerNorm(x)))), the second half of a transformer's block."""

    def __init__(self, width, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Attention(nn.Module):
    """x + self-attention of LayerNorm(x), (n, length, width); causal: none sees a later one."""

    def __init__(self, width, n_heads, causal=True):
        super().__init__()
        if width % n_heads:
            raise invalid("width", width, f"a multiple of the {n_heads} heads")
        self.n_heads = n_heads
        self.causal = causal
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, x):
        n, length, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, length, 3, self.n_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if self.causal:  # written out: torch's fused attention cannot be batched over seeds
            later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)
        return x + self.merge(mixed)


class Transformer(nn.Sequential):
    """The paper's h: `n_layers` blocks, a learned vector per position and a last LayerNorm.

    longest is the greatest number of positions. The paper: 4 or 5 layers and heads, causal.
    """

    def __init__(self, width, n_layers, n_heads, longest, causal=True):
        blocks = []
        for _ in range(check_int("n_layers", n_layers)):
            blocks += [Attention(width, n_heads, causal), Residual(width, 4 * width)]
        super().__init__(*blocks, nn.LayerNorm(width))
        self.position = nn.Parameter(0.02 * torch.randn(longest, width))

    def forward(self, x):
        if x.ndim != 3 or x.shape[1] > len(self.position):
            accepted = f"(n, length, width) with a length of at most {len(self.position)}"
            raise invalid("x", f"shape {tuple(x.shape)} in the trunk", accepted)
        return super().forward(x + self.position[: x.shape[1]])


def bottleneck(width=128, hidden=64, d_code=10, linear=False):
    """Encoder and decoder of UML appendix E.14, with ReLU unless `linear` (hidden is ours)."""
    relu = nn.Identity if linear else nn.ReLU
    encoder = nn.Linear(width, hidden), relu(), nn.Linear(hidden, d_code)
    decoder = nn.Linear(d_code, hidden), relu(), nn.Linear(hidden, width)
    return nn.Sequential(*encoder, *decoder)


def _inside(x, length=None):
    """1 at the positions before `length` (n,), 0 in the padding: (n, longest, 1)."""
    if length is None:
        return torch.ones_like(x[..., :1])
    return (torch.arange(x.shape[1], device=x.device) < length[:, None]).to(x.dtype)[..., None]
