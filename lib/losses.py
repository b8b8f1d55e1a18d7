"""The losses that notebooks and methods share, each formula once.

    cosines   K_ij = cos(x_i, y_j)
    infonce   -log softmax at the partner, from either side      (van den Oord et al. 2018)
    siglip    -log sigmoid(+-logit) for partners and strangers   (Zhai et al. 2023, sec. 3.2)
    infonce_divergence, cka_divergence   from a student's affinities to a teacher's
                                                                 (SOTAlign eq. 10, eq. 9)

KLOT, the third divergence, needs a solver and has a room of its own, lib.transport.
"""

import torch
import torch.nn.functional as F

from lib.validation import check_choice, check_positive, check_tensor, invalid


def cosines(x, y):
    """Cosine affinities (n, m) of the rows of x (n, d) and y (m, d), float tensors.

    Raises ValueError where a row has no direction: length 0, or out of the range of its type.
    """
    return unit_rows("x", x) @ unit_rows("y", y).T


def unit_rows(name, z):
    """The rows of z (n, d) scaled to length 1; raises as `lengths`."""
    return z / lengths(name, z)


def lengths(name, z):
    """Lengths (n, 1) of the rows of z (n, d); raises ValueError where a row has no direction."""
    found = torch.linalg.vector_norm(check_tensor(name, z), dim=1, keepdim=True)
    low = 10 * torch.finfo(z.dtype).tiny ** 0.5
    shortest, longest = (end.item() for end in found.aminmax())
    if not (low < shortest and longest < 1 / low):
        got = f"rows of length {shortest:.1e} to {longest:.1e}"
        raise invalid(name, got, f"rows of length {low:.0e} to {1 / low:.0e}")
    return found


def infonce(logits, more_columns=None, more_rows=None):
    """Mean cross-entropy of the partner among all, from either side; a number.

    logits        (n, n), partners on the diagonal
    more_columns  (n, k) further strangers for the rows; more_rows (k, n) for the columns
    """
    partner = torch.arange(len(logits), device=logits.device)
    of_rows = logits if more_columns is None else torch.cat([logits, more_columns], 1)
    of_columns = logits if more_rows is None else torch.cat([logits, more_rows], 0)
    return (F.cross_entropy(of_rows, partner) + F.cross_entropy(of_columns.T, partner)) / 2


def siglip(logits, normalise="entries"):
    """-log sigmoid(logit) of partners and -log sigmoid(-logit) of strangers, normalised.

    logits     (n, m), m >= n: column i is the partner of row i, columns from n on are nobody's
    normalise  'entries': the mean over all n m terms, as in the code of SAIL and of SOTAlign;
               'rows': their sum over n, as Zhai et al. (2023) print it
    """
    check_choice("normalise", normalise, ("entries", "rows"))
    sign = 2 * torch.eye(*logits.shape, dtype=logits.dtype, device=logits.device) - 1
    terms = -F.logsigmoid(sign * logits)
    return terms.mean() if normalise == "entries" else terms.sum() / len(logits)


def infonce_divergence(f, g, a, b, epsilon=0.05, epsilon_teacher=0.01):
    """KL(softmax_eps*(K*) || softmax_eps(K)), mean over rows and over columns (SOTAlign eq. 10).

    f (n, d), g (m, d)  the student's embeddings, K = cosines(f, g)
    a (n, k), b (m, k)  the teacher's, K* = cosines(a, b), a constant
    Where the teacher says the identity this is InfoNCE. The n x m matrices stand in memory.
    """
    student = cosines(f, g) / check_positive("epsilon", epsilon)
    teacher = cosines(a, b).detach() / check_positive("epsilon_teacher", epsilon_teacher)
    divergence = 0.0
    for axis in (0, 1):
        log_p, log_t = student.log_softmax(axis), teacher.log_softmax(axis)
        divergence += (log_t.exp() * (log_t - log_p)).sum(axis).mean() / 2
    return divergence


def cka_divergence(f, g, a, b):
    """1 - CKA of the affinities cosines(f, g) and cosines(a, b) (SOTAlign eq. 9), a number.

    In time linear in n and m: <U V', X Y'> = <U'X, V'Y> (SOTAlign prop. C.6). Shapes as in
    `infonce_divergence`. 1 where the rows of one side all point the same way.
    """
    f, g, a, b = (z - z.mean(0) for z in map(unit_rows, ("f", "g", "a", "b"), (f, g, a, b)))
    own = _inner(f, g, f, g) * _inner(a, b, a, b)
    return 1 - _inner(f, g, a, b) / own.clamp_min(torch.finfo(f.dtype).tiny).sqrt()


def _inner(u, v, x, y):
    """<u v', x y'> without either matrix."""
    return ((u.T @ x) * (v.T @ y)).sum()
