"""The methods that SOTAlign is compared with (its app. A.2), each a loss for lib.alignment.align.

    SAIL                 arXiv 2412.04616    the sigmoid loss on the pairs
    SemiSupervisedSAIL   SOTAlign app. A.2   unpaired rows are further strangers
    Structure            arXiv 2506.16895    InfoNCE, and similarities within a modality stay
    NNCLR                arXiv 2104.14548    unpaired neighbours of the partner are partners too
    SCLIP                arXiv 2305.14095    unpaired rows get pseudo-partners among the pairs

Choices that app. A.2 leaves are those of its first author's code (vl-alignment-thesis), or "ours".
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lib.alignment import SigLIP, check_pairs
from lib.losses import cosines, infonce
from lib.transport import entropic_plan
from lib.validation import check_choice, check_int, check_nonnegative, check_positive, invalid


class SAIL(nn.Module):
    """SigLIP on the pairs (arXiv 2412.04616, sec. 4), without the gated layers of SAIL."""

    def __init__(self):
        super().__init__()
        self.siglip = SigLIP()

    def forward(self, maps, batch):
        return self.siglip(maps.f(batch.a), maps.g(batch.b))


class SemiSupervisedSAIL(SAIL):
    """The mean of SigLIP of a against (b, y) and of b against (a, x); x against y is left out."""

    def forward(self, maps, batch):
        x, y = batch.unpaired()
        u, v = maps.f(batch.a), maps.g(batch.b)
        of_u = self.siglip(u, torch.cat([v, maps.g(y)]))
        of_v = self.siglip(v, torch.cat([u, maps.f(x)]))
        return (of_u + of_v) / 2


class Structure(nn.Module):
    """InfoNCE(f(a), g(b)) + weight (R(a, f(a)) + R(b, g(b))) / 2 (arXiv 2506.16895, sec. 3).

    R(z, u) is the Jensen-Shannon divergence of softmax(Z Z' / tau) and softmax(U U' / tau), a mean
    over rows, where Z and U are z and u scaled to length 1, then centred on the batch; `unpaired`
    joins the unpaired rows to the pairs. tau is the temperature of both terms. The weight (SOTAlign
    tries 0.1 to 1000) rises from 0 over `warmup` updates (none, or 500).
    Ours: the textbook's divergence, from P and Q to their mean M; the code has M to P and M to Q.
    """

    def __init__(self, weight=10.0, tau=0.07, warmup=0, unpaired=True):
        super().__init__()
        self.weight = check_nonnegative("weight", weight)
        self.tau = check_positive("tau", tau)
        self.warmup = check_int("warmup", warmup, low=0)
        self.unpaired = check_choice("unpaired", unpaired, (True, False))

    def forward(self, maps, batch):
        a, b = batch.a, batch.b
        if self.unpaired:
            a, b = (torch.cat(rows) for rows in zip((a, b), batch.unpaired()))
        u, v = maps.f(a), maps.g(b)
        loss = infonce(cosines(u[: len(batch.a)], v[: len(batch.b)]) / self.tau)
        share = min(1.0, batch.step / self.warmup) if self.warmup else 1.0
        return loss + self.weight * share * (self.divergence(a, u) + self.divergence(b, v)) / 2

    def divergence(self, z, u):
        """R(z, u), a number from 0 to log 2."""
        log_p, log_q = self._log_softmax(z), self._log_softmax(u)
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        terms = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
        return terms.sum(1).mean() / 2

    def _log_softmax(self, z):
        z = F.normalize(z, dim=1)
        z = z - z.mean(0)
        return (z @ z.T / self.tau).log_softmax(1)


class NNCLR(SAIL):
    """SigLIP(f(a), g(b)) + weight (SigLIP(f(a), g(near b)) + SigLIP(g(b), f(near a))).

    NNCLR eq. 3, both ways as in DeCLIP (arXiv 2110.05208). near b are the k unpaired y whose frozen
    features have the highest cosine with b (SOTAlign: k in {1, 5, 10}), near a likewise. pairs and
    unpaired are those of `align`; a batch of other pairs raises ValueError.
    Ours: the mean over all k; the code draws one. NNCLR itself finds neighbours among embeddings.
    """

    def __init__(self, pairs, unpaired, k=5, weight=1.0):
        super().__init__()
        check_pairs(pairs, unpaired)
        check_int("k", k, high=min(map(len, unpaired)))
        self.weight = check_nonnegative("weight", weight)
        for name, z, rest in zip("ab", pairs, unpaired):
            nearest = [cosines(rows, rest).topk(k, dim=1).indices for rows in z.split(1024)]
            self.register_buffer(name, z)
            self.register_buffer(f"near_{name}", rest[torch.cat(nearest)])  # (n, k, width)

    def forward(self, maps, batch):
        pair = batch.pair.clamp(max=len(self.a) - 1)
        if not (torch.equal(batch.a, self.a[pair]) and torch.equal(batch.b, self.b[pair])):
            raise invalid("pairs", "others than NNCLR was given", "the same for both")
        u, v = maps.f(batch.a), maps.g(batch.b)
        near_u, near_v = maps.f(self.near_a[pair]), maps.g(self.near_b[pair])
        neighbours = zip(near_u.unbind(1), near_v.unbind(1))
        extra = [self.siglip(u, of_b) + self.siglip(v, of_a) for of_a, of_b in neighbours]
        return self.siglip(u, v) + self.weight * sum(extra) / len(extra)


class SCLIP(nn.Module):
    """InfoNCE + weight (L_x + L_y) / 2 (S-CLIP, arXiv 2305.14095, sec. 3, its caption-level loss).

    InfoNCE of the pairs has unpaired rows as further strangers. L_x is the cross-entropy between
    softmax(scale cos(f(x), g(b))) over the paired b and the pseudo-partner of x, a distribution
    over them from how alike x and the paired a are. L_y, the other way round, is SOTAlign's.

    pseudo  'ot': rows of the entropic plan between x and a; 'soft': softmax; 'hard': the nearest
    space   where x and a are compared: 'features' (SOTAlign's code), or 'embeddings' (S-CLIP)
    scale   1 / temperature of logits and pseudo-partners, at the start; tolerance: of the plan
    Ours: no gradient flows through pseudo-partners; the plan converges (S-CLIP: 10 iterations).
    """

    def __init__(self, weight=1.0, pseudo="ot", space="features", scale=20.0, tolerance=1e-3):
        super().__init__()
        self.weight = check_nonnegative("weight", weight)
        self.pseudo = check_choice("pseudo", pseudo, ("ot", "soft", "hard"))
        self.space = check_choice("space", space, ("features", "embeddings"))
        self.scale = nn.Parameter(torch.tensor(check_positive("scale", scale)))
        self.tolerance = check_positive("tolerance", tolerance)

    def forward(self, maps, batch):
        x, y = batch.unpaired()
        u, v, p, q = maps.f(batch.a), maps.g(batch.b), maps.f(x), maps.g(y)
        of_x, of_y = self.scale * cosines(p, v), self.scale * cosines(q, u)
        loss = infonce(self.scale * cosines(u, v), more_columns=of_y.T, more_rows=of_x)
        if self.space == "features":
            u, v, p, q = batch.a, batch.b, x, y
        loss_x = F.cross_entropy(of_x, self.partners(cosines(p, u)))
        loss_y = F.cross_entropy(of_y, self.partners(cosines(q, v)))
        return loss + self.weight * (loss_x + loss_y) / 2

    @torch.no_grad()
    def partners(self, alike):
        """Distributions over the pairs, in rows, from similarities (unpaired, pairs)."""
        if self.pseudo == "hard":
            return F.one_hot(alike.argmax(1), alike.shape[1]).to(alike.dtype)
        if self.pseudo == "soft":
            return (self.scale * alike).softmax(1)
        plan = entropic_plan(alike, 1 / self.scale.item(), tolerance=self.tolerance).plan
        return len(alike) * plan
