"""The linear-Gaussian world of UML section 3.1: one parameter, several modalities, known designs.

    X_i = A_c,i theta_c + A_x,i theta_x + e_X,i     e_X ~ N(0, sigma_x^2 I)      (UML eq. 1)
    Y_j = B_c,j theta_c + B_y,j theta_y + e_Y,j     e_Y ~ N(0, sigma_y^2 I)      (UML eq. 2)

theta_c is shared, theta_x and theta_y are private, and theta is ONE fixed unknown vector. Arrays
are float64; leading axes of a design are Monte Carlo draws, each with a design of its own.
Information includes the noise, 1 / sigma^2; the paper drops it, right only where noises are equal.
Raised: ValueError for shapes that do not fit, NaN and infinity, and arrays larger than MAX_BYTES.
"""

import math
from dataclasses import dataclass

import numpy as np

from lib.validation import check_array, check_generator, check_int, check_positive, invalid

MAX_BYTES = 4 * 2**30  # of one array
RANK_TOLERANCE = 1e-10  # singular values and eigenvalues below this share of the largest are zero
ROUNDING = 1e-14  # what rounding may change in an information, as a share of its largest eigenvalue
UNSEEN = 1e-15  # the share of |v|^2 outside the range of an information that counts as none


@dataclass(frozen=True)
class Design:
    """How one modality sees theta: sample i is shared[i] @ theta_c + private[i] @ theta_p + noise.

    shared   (..., n_samples, n_observed, d_shared), the paper's A_c or B_c
    private  (..., n_samples, n_observed, d_private), A_x or B_y; None where nothing is private
    sigma    standard deviation of the noise, > 0, in units of the observations
    """

    shared: np.ndarray
    private: np.ndarray | None = None
    sigma: float = 1.0

    def __post_init__(self):
        shared = check_array("shared", self.shared, (..., None, None, None))
        private = np.empty((*shared.shape[:-1], 0)) if self.private is None else self.private
        private = check_array("private", private, (...,))
        if private.shape[:-1] != shared.shape[:-1]:
            raise invalid("private", private.shape, f"shape {shared.shape[:-1]} + (d_private,)")
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "private", private)
        object.__setattr__(self, "sigma", check_positive("sigma", self.sigma))

    def repeat(self, n_samples):
        """A fixed design (A_i = A): the one sample that `self` holds, `n_samples` times over."""
        if self.shared.shape[-3] != 1:
            raise invalid("design", f"shape {self.shared.shape}", "a design of one sample")
        n_samples = check_int("n_samples", n_samples)
        _check_memory("n_samples", n_samples * (self.shared.size + self.private.size))
        shared, private = (part.repeat(n_samples, -3) for part in (self.shared, self.private))
        return Design(shared, private, self.sigma)


def random_design(rng, n_samples, n_observed, d_shared, d_private=0, sigma=1.0, n_draws=None):
    """A Design with N(0, 1) entries, new for each sample, and for each of n_draws where given."""
    n_samples = check_int("n_samples", n_samples)
    n_observed = check_int("n_observed", n_observed)
    d_shared = check_int("d_shared", d_shared, high=n_observed)  # the rank of Theorem 1
    d_private = check_int("d_private", d_private, low=0)
    entries = _standard_normal(rng, n_draws, (n_samples, n_observed, d_shared + d_private))
    return Design(entries[..., :d_shared], entries[..., d_shared:], sigma)


def angled_designs(angle, weak_sight=0.0, sigma_x=1.0, sigma_y=1.0):
    """One sample of X and one of Y in a plane of two shared directions, as two Designs.

    X sees direction 1 fully and direction 2, its blind spot, with gain `weak_sight` (0 is blind).
    Y sees the single direction at `angle` degrees from direction 1.
    """
    angle = np.deg2rad(check_array("angle", angle, ()))
    gains = np.diag([1.0, check_array("weak_sight", weak_sight, ())])
    x = Design(gains[None], sigma=check_positive("sigma_x", sigma_x))
    y = Design([[[np.cos(angle), np.sin(angle)]]], sigma=check_positive("sigma_y", sigma_y))
    return x, y


def sample(design, theta_shared, theta_private, rng, n_draws=None):
    """Observations (..., n_samples, n_observed) of UML eq. 1 or 2, n_draws in front where given.

    theta_shared (d_shared,) and theta_private (d_private,) are the fixed truth.
    """
    theta_shared = check_array("theta_shared", theta_shared, design.shared.shape[-1:])
    theta_private = check_array("theta_private", theta_private, design.private.shape[-1:])
    observed = _standard_normal(rng, n_draws, design.shared.shape[:-1])
    observed *= design.sigma  # in place: there is no second array of this size
    observed += design.shared @ theta_shared + design.private @ theta_private
    return observed


def stack(*designs):
    """The stacked design (..., N, d) in noise units; columns [theta_c, then each private theta]."""
    rows = _rows(designs)
    widths = [private.shape[-1] for _, private in rows]
    d_shared = rows[0][0].shape[-1]
    n_rows = sum(shared.size for shared, _ in rows) // d_shared
    _check_memory("designs", n_rows * (d_shared + sum(widths)))
    blocks = []
    for k, (shared, private) in enumerate(rows):
        padding = [(0, 0)] * (private.ndim - 1) + [(sum(widths[:k]), sum(widths[k + 1 :]))]
        blocks.append(np.concatenate([shared, np.pad(private, padding)], axis=-1))
    return np.concatenate(blocks, axis=-2)


def information(*designs):
    """Fisher information of [theta_c, theta_x, ...], (..., d, d), summed over modalities."""
    stacked = stack(*designs)
    return stacked.mT @ stacked


def block_information(*designs):
    """The theta_c block of the information, as in UML's theorems: theta_x, theta_y are KNOWN."""
    return sum(shared.mT @ shared for shared, _ in _rows(designs))


def efficient_information(*designs):
    """Information about theta_c while theta_x, theta_y are unknown, (..., d_shared, d_shared).

    The Schur complement I_cc - I_cp pinv(I_pp) I_pc, summed over modalities. Computed as R'R, R the
    part of the shared design that the private one cannot explain, so that an exact zero stays one.
    """
    return sum(_schur(shared, private) for shared, private in _rows(designs))


def covariance(information):
    """Covariance of `least_squares`, pinv(information), (..., d, d): 0 along what nobody sees."""
    information = _check_information("information", information)
    return np.linalg.pinv(information, rtol=RANK_TOLERANCE, hermitian=True)


def directional_variance(information, v):
    """Cramer-Rao bound (...,) on v'theta: v' pinv(I) v, infinite unless v is in the range of I."""
    information = _check_information("information", information)
    v = check_array("v", v, information.shape[-1:])
    if not v.any():
        raise invalid("v", v.tolist(), "a direction that is not zero")
    values, vectors = np.linalg.eigh(information)
    along = (vectors.mT @ v) ** 2
    largest = values[..., -1:]
    seen = np.where(values > RANK_TOLERANCE * largest, values, np.inf)
    unseen = np.where(np.isinf(seen), along, 0.0).sum(-1)
    tilt = ROUNDING**2 * (along * (largest / seen) ** 2).sum(-1)  # of weakly seen directions
    return np.where(unseen > tilt + UNSEEN * (v @ v), np.inf, (along / seen).sum(-1))


def least_squares(designs, observations):
    """Stacked weighted least squares: estimates (..., d) of [theta_c, theta_x, ...], one a draw.

    designs       a list of Designs; draws that share a design share one pseudo-inverse
    observations  a list of arrays (..., n_samples, n_observed), as `sample` gives them

    Directions that no modality sees are set to zero, the solution of least norm.
    """
    if len(designs) != len(observations):
        raise invalid("observations", len(observations), f"{len(designs)}, one for each design")
    solve = np.linalg.pinv(stack(*designs), rtol=RANK_TOLERANCE)
    estimate, lead, start = 0.0, (..., *solve.shape[:-2]), 0
    for k, (design, seen) in enumerate(zip(designs, observations, strict=True)):
        seen = check_array(f"observations[{k}]", seen, (*lead, *design.shared.shape[-3:-1]))
        lead = seen.shape[:-2]  # as many draws of every modality
        stop = start + math.prod(seen.shape[-2:])
        part = solve[..., start:stop] / design.sigma
        estimate = estimate + np.einsum("...n,...dn->...d", seen.reshape(*lead, -1), part)
        start = stop
    return estimate


def exchange_rate(information_x, information_y, v, n_x=1):
    """How many further X samples one Y sample is worth along v, (...,), given n_x samples of X.

    information_x  (..., d, d) of the n_x samples of X; further ones are like them on average
    information_y  (..., d, d) of one sample of Y

    The k for which k more X give the variance that one Y gives: n_x (var_X / var_XY - 1). Infinite
    where X is blind along v and Y opens it, 0 where Y changes nothing. UML Theorem 3 has 1 / k.
    """
    n_x = check_int("n_x", n_x)
    information_x = _check_information("information_x", information_x)
    information_y = _check_information("information_y", information_y, information_x.shape[-1])
    try:
        both = information_x + information_y
    except ValueError:
        accepted = f"leading axes as in information_x, shape {information_x.shape}"
        raise invalid("information_y", information_y.shape, accepted) from None
    before, after = (directional_variance(known, v) for known in (information_x, both))
    with np.errstate(invalid="ignore"):
        rate = n_x * (before / after - 1)
    return np.where(np.isinf(after), 0.0, rate)


def _rows(designs):
    """Shared and private rows of every design, each (..., N, d), in noise units."""
    if len({(*design.shared.shape[:-3], design.shared.shape[-1]) for design in designs}) != 1:
        shapes = [design.shared.shape for design in designs]
        raise invalid("designs", shapes, "one or more, with the same d_shared and leading axes")
    rows = []
    for design in designs:
        shape = (*design.shared.shape[:-3], math.prod(design.shared.shape[-3:-1]), -1)
        rows.append([x.reshape(shape) / design.sigma for x in (design.shared, design.private)])
    return rows


def _schur(shared, private):
    length = np.linalg.norm(private, axis=-2, keepdims=True)
    length[length <= RANK_TOLERANCE * length.max(-1, keepdims=True, initial=0.0)] = np.inf
    hides, weight, _ = np.linalg.svd(private / length, full_matrices=False)  # short ones hide too
    hides = hides * (weight > RANK_TOLERANCE * weight[..., :1])[..., None, :]
    residual = shared - hides @ (hides.mT @ shared)
    _, size, directions = np.linalg.svd(residual, full_matrices=False)
    floor = RANK_TOLERANCE * np.linalg.norm(shared, axis=(-2, -1))[..., None]
    return directions.mT @ (np.where(size > floor, size, 0.0)[..., None] ** 2 * directions)


def _check_information(name, value, d=None):
    value = check_array(name, value, (..., d, d))
    rounding = RANK_TOLERANCE * np.abs(value).max((-2, -1), keepdims=True)
    fits = value.shape[-2] == value.shape[-1] and (np.abs(value - value.mT) <= rounding).all()
    if not fits or (np.linalg.eigvalsh(value) < -rounding[..., 0]).any():
        raise invalid(name, value, "symmetric (..., d, d) without negative eigenvalues")
    return value


def _standard_normal(rng, n_draws, shape):
    lead = () if n_draws is None else (check_int("n_draws", n_draws),)
    _check_memory("n_draws" if lead else "n_samples", math.prod((*lead, *shape)))
    return check_generator("rng", rng).standard_normal((*lead, *shape))


def _check_memory(name, n_numbers):
    if 8 * n_numbers > MAX_BYTES:
        got = f"{8 * n_numbers / 2**30:.1f} GiB in one array"
        raise invalid(name, got, f"at most {MAX_BYTES / 2**30:g} GiB: fewer draws or samples")
