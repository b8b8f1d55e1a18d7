"""The linear-Gaussian world of UML section 3.1: one parameter, several modalities, known designs.

    X_i = A_c,i theta_c + A_x,i theta_x + e_X,i     e_X ~ N(0, sigma_x^2 I)      (UML eq. 1)
    Y_j = B_c,j theta_c + B_y,j theta_y + e_Y,j     e_Y ~ N(0, sigma_y^2 I)      (UML eq. 2)

theta_c is shared, theta_x and theta_y are private, and theta is ONE fixed unknown vector. Everything is float64 and
batched: leading axes of a design are Monte Carlo draws, each with a design of its own. Information is counted with
its noise, 1 / sigma^2 included; the paper drops that factor, which is right only where both noises are equal.
"""
from dataclasses import dataclass

import numpy as np

from lib.require import array, generator, positive, refuse, whole

RANK_TOLERANCE = 1e-10  # singular values below this fraction of the largest one count as zero
ROUNDING = 1e-14        # what rounding may change in an information matrix, as a fraction of its largest eigenvalue


@dataclass(frozen=True)
class Design:
    """How one modality looks at reality: sample i shows shared[i] @ theta_c + private[i] @ theta_p + noise.

    shared   (..., n_samples, n_observed, d_shared), the paper's A_c or B_c
    private  (..., n_samples, n_observed, d_private), the paper's A_x or B_y; None where nothing is private
    sigma    standard deviation of the noise, in units of the observations

    Raises ValueError for shapes that do not fit, values that are not finite, sigma <= 0.
    """

    shared: np.ndarray
    private: np.ndarray | None = None
    sigma: float = 1.0

    def __post_init__(self):
        shared = array("shared", self.shared, (..., None, None, None))
        private = array("private", np.empty((*shared.shape[:-1], 0)) if self.private is None else self.private, (...,))
        if private.shape[:-1] != shared.shape[:-1]:
            refuse("private", f"shape {private.shape}", f"shape {shared.shape[:-1]} + (d_private,), as `shared`")
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "private", private)
        object.__setattr__(self, "sigma", positive("sigma", self.sigma))

    @property
    def n_samples(self):
        return self.shared.shape[-3]

    @property
    def d_shared(self):
        return self.shared.shape[-1]

    @property
    def d_private(self):
        return self.private.shape[-1]

    def repeat(self, n_samples):
        """The same look `n_samples` times over; `self` must hold one sample (a fixed design, A_i = A)."""
        if self.n_samples != 1:
            refuse("design", f"{self.n_samples} samples", "a design of one sample, to be repeated")
        n_samples = whole("n_samples", n_samples)
        return Design(self.shared.repeat(n_samples, -3), self.private.repeat(n_samples, -3), self.sigma)

    def rows(self):
        """Shared and private design with samples stacked, (..., N, d), N = n_samples * n_observed, in noise units."""
        n_rows = self.shared.shape[-3] * self.shared.shape[-2]
        return [part.reshape(*part.shape[:-3], n_rows, part.shape[-1]) / self.sigma for part in (self.shared, self.private)]


def random_design(rng, n_samples, n_observed, d_shared, d_private=0, sigma=1.0, n_draws=None):
    """A Design with independent N(0, 1) entries, new for every sample (and for every draw, where n_draws is given).

    Raises ValueError for sizes below 1 (d_private below 0) and for d_shared > n_observed: then no single sample has
    full column rank, which Theorem 1 asks for. Build a `Design` yourself to study that case.
    """
    n_samples, n_observed = whole("n_samples", n_samples), whole("n_observed", n_observed)
    d_shared, d_private = whole("d_shared", d_shared), whole("d_private", d_private, low=0)
    if d_shared > n_observed:
        refuse("d_shared", d_shared, f"at most n_observed = {n_observed}, so that one sample can have full column rank")
    lead = () if n_draws is None else (whole("n_draws", n_draws),)
    draw = generator("rng", rng).standard_normal((*lead, n_samples, n_observed, d_shared + d_private))
    return Design(draw[..., :d_shared], draw[..., d_shared:], sigma)


def angled_designs(angle, weak_sight=0.0, sigma_x=1.0, sigma_y=1.0):
    """One sample of X and one of Y in a plane of two shared directions, as two Designs.

    X sees direction 1 at full strength and direction 2, its blind spot, with gain `weak_sight` (0 is blind). Y sees
    the single direction at `angle` degrees from direction 1.
    """
    angle = np.deg2rad(array("angle", angle, ()))
    x = Design(np.diag([1.0, array("weak_sight", weak_sight, ())])[None], sigma=positive("sigma_x", sigma_x))
    y = Design([[[np.cos(angle), np.sin(angle)]]], sigma=positive("sigma_y", sigma_y))
    return x, y


def sample(design, theta_shared, theta_private, rng, n_draws=None):
    """Observations of one modality (UML eq. 1 or 2), shape (..., n_samples, n_observed), n_draws in front if given.

    theta_shared (d_shared,) and theta_private (d_private,) are the fixed truth.
    """
    theta_shared = array("theta_shared", theta_shared, (design.d_shared,))
    theta_private = array("theta_private", theta_private, (design.d_private,))
    clean = design.shared @ theta_shared + design.private @ theta_private
    lead = () if n_draws is None else (whole("n_draws", n_draws),)
    return clean + design.sigma * generator("rng", rng).standard_normal((*lead, *clean.shape))


def _rows(designs):
    """The rows() of every design; refuses designs that do not go together."""
    if len({(*design.shared.shape[:-3], design.d_shared) for design in designs}) != 1:
        refuse("designs", [design.shared.shape for design in designs], "one or more designs with the same d_shared and leading axes")
    return [design.rows() for design in designs]


def stack(*designs):
    """The stacked design (..., N, d) in noise units; columns [theta_c, theta_private of each modality in turn]."""
    rows = _rows(designs)
    widths = [private.shape[-1] for _, private in rows]
    blocks = []
    for k, (shared, private) in enumerate(rows):
        blank = np.zeros((*shared.shape[:-1], sum(widths)))
        start = sum(widths[:k])
        blank[..., start:start + widths[k]] = private
        blocks.append(np.concatenate([shared, blank], axis=-1))
    return np.concatenate(blocks, axis=-2)


def information(*designs):
    """Fisher information about [theta_c, theta_x, theta_y, ...], (..., d, d): the sum over modalities (UML sec. 3.1)."""
    stacked = stack(*designs)
    return stacked.mT @ stacked


def block_information(*designs):
    """The theta_c block of the information, (..., d_shared, d_shared); what the paper's theorems compare.

    Its inverse is the variance of theta_c for somebody who already KNOWS theta_x and theta_y.
    """
    return sum(shared.mT @ shared for shared, _ in _rows(designs))


def efficient_information(*designs):
    """Information about theta_c that is left when theta_x, theta_y are unknown, (..., d_shared, d_shared).

    The Schur complement I_cc - I_cp pinv(I_pp) I_pc of every modality, summed: private parts are disjoint. Computed as
    R'R, R the part of the shared design that the private design cannot explain, so that an exact zero stays one, in
    whatever units the private columns come.
    """
    return sum(_schur(*rows) for rows in _rows(designs))


def _schur(shared, private):
    length = np.linalg.norm(private, axis=-2, keepdims=True)  # a private column hides as much, however short it is
    private = private / np.where(length > RANK_TOLERANCE * length.max(-1, keepdims=True, initial=0.0), length, np.inf)
    hides, weight, _ = np.linalg.svd(private, full_matrices=False)
    hides = hides * (weight > RANK_TOLERANCE * weight[..., :1])[..., None, :]
    residual = shared - hides @ (hides.mT @ shared)
    _, size, directions = np.linalg.svd(residual, full_matrices=False)
    floor = RANK_TOLERANCE * np.linalg.norm(shared, axis=(-2, -1))[..., None]
    return directions.mT @ (np.where(size > floor, size, 0.0)[..., None] ** 2 * directions)


def _information(name, value, d=None):
    """`value` as float64 (..., d, d); refuses what is, beyond rounding, not symmetric or has a negative eigenvalue."""
    value = array(name, value, (..., d, d))
    if value.shape[-2] != value.shape[-1]:
        refuse(name, f"shape {value.shape}", "shape (..., d, d)")
    rounding = RANK_TOLERANCE * np.abs(value).max((-2, -1))
    skew = np.abs(value - value.mT).max((-2, -1))
    if (skew > rounding).any():
        refuse(name, f"entries {skew.max():.3g} off their mirror images", "symmetric matrices")
    lowest = np.linalg.eigvalsh(value)[..., 0]
    if (lowest < -rounding).any():
        refuse(name, f"an eigenvalue of {lowest.min():.3g}", "matrices without negative eigenvalues")
    return value


def covariance(information):
    """Covariance (..., d, d) of the least-squares estimate of least norm: the pseudo-inverse of the information.

    A direction without information has variance 0 here, because that estimate always answers 0 along it. Ask
    `directional_variance` for what is known about the truth.
    """
    return np.linalg.pinv(_information("information", information), rtol=RANK_TOLERANCE, hermitian=True)


def directional_variance(information, v):
    """Least variance of an unbiased estimate of v'theta (Cramer-Rao), (...,): v' pinv(I) v if v is in range(I), else inf."""
    information = _information("information", information)
    v = array("v", v, (information.shape[-1],))
    if not v.any():
        refuse("v", v.tolist(), "a direction that is not zero")
    values, vectors = np.linalg.eigh(information)
    along = (vectors.mT @ v) ** 2
    largest = values[..., -1:]
    seen = np.where(values > RANK_TOLERANCE * largest, values, np.inf)
    unseen = np.where(np.isinf(seen), along, 0.0).sum(-1)
    tilt = ROUNDING**2 * (along * (largest / seen) ** 2).sum(-1)  # of weakly seen directions towards unseen ones, by rounding
    return np.where(unseen > tilt + RANK_TOLERANCE**1.5 * (v @ v), np.inf, (along / seen).sum(-1))


def least_squares(designs, observations):
    """Stacked weighted least squares: estimates (..., d) of [theta_c, theta_x, ...], one for every draw.

    designs        a list of Designs; observations a list of arrays (..., n_samples, n_observed), as `sample` gives them

    One pseudo-inverse serves all draws of a fixed design; designs with leading axes get one each. Directions that no
    modality sees are set to zero (the solution of least norm, as numpy.linalg.lstsq).
    """
    if len(designs) != len(observations):
        refuse("observations", f"{len(observations)} modalities", f"{len(designs)}, one for each design")
    system = stack(*designs)
    scaled, lead = [], (..., *system.shape[:-2])
    for k, (design, seen) in enumerate(zip(designs, observations)):
        seen = array(f"observations[{k}]", seen, (*lead, *design.shared.shape[-3:-1]))
        lead = seen.shape[:-2]  # as many draws of every modality
        scaled.append(seen.reshape(*lead, -1) / design.sigma)
    stacked = np.concatenate(scaled, axis=-1)
    solve = np.linalg.pinv(system, rtol=RANK_TOLERANCE)
    if solve.ndim == 2:
        return stacked @ solve.T
    return (solve @ stacked[..., None])[..., 0]


def exchange_rate(information_x, information_y, v, n_x=1):
    """How many further X samples one Y sample is worth along v, (...,), given n_x samples of X at hand.

    information_x  (..., d, d) of the n_x samples of X; further ones are taken to be like them on average
    information_y  (..., d, d) of one sample of Y

    The k for which k more X give the variance that one Y gives: n_x (var_X / var_XY - 1). Infinite where X is blind
    along v and Y opens it, 0 where Y changes nothing. The paper's exchange rate (Theorem 3) counts Y per X: 1 / k.
    """
    n_x = whole("n_x", n_x)
    information_x = _information("information_x", information_x)
    information_y = _information("information_y", information_y, information_x.shape[-1])
    try:
        both = information_x + information_y
    except ValueError:
        refuse("information_y", f"shape {information_y.shape}", f"leading axes that go with information_x, shape {information_x.shape}")
    before, after = directional_variance(information_x, v), directional_variance(both, v)
    with np.errstate(invalid="ignore"):
        rate = n_x * (before / after - 1)
    return np.where(np.isinf(after), 0.0, rate)
