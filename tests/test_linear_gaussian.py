"""The theory against references that share no code with it, and the papers' statements pinned."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from lib import linear_gaussian
from lib.linear_gaussian import (
    Design,
    angled_designs,
    block_information,
    covariance,
    directional_variance,
    efficient_information,
    exchange_rate,
    information,
    least_squares,
    random_design,
    sample,
    stack,
)

E = np.eye(3)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def three(rng):
    """Three modalities with unequal noise, sizes and private parts."""
    return [
        random_design(rng, 6, 4, 2, 1, 0.5),
        random_design(rng, 9, 3, 2, 2, 2.0),
        random_design(rng, 4, 5, 2, 0, 0.1),
    ]


def tall_system(designs, observations):
    """The stacked system written out sample by sample."""
    n_shared = designs[0].shared.shape[-1]
    width = n_shared + sum(design.private.shape[-1] for design in designs)
    rows, right, start = [], [], n_shared
    for design, seen in zip(designs, observations, strict=True):
        stop = start + design.private.shape[-1]
        for shared, private, observed in zip(design.shared, design.private, seen, strict=True):
            block = np.zeros((len(shared), width))
            block[:, :n_shared] = shared
            block[:, start:stop] = private
            rows.append(block / design.sigma)
            right.append(observed / design.sigma)
        start = stop
    return np.concatenate(rows), np.concatenate(right)


def observe(designs, rng, n_draws=None):
    seen = []
    for design in designs:
        theta_shared = np.arange(1, design.shared.shape[-1] + 1.0)
        theta_private = np.ones(design.private.shape[-1])
        seen.append(sample(design, theta_shared, theta_private, rng, n_draws))
    return seen


# Designs and observations ---------------------------------------------------------------


def test_random_designs_are_standard_normal(rng):
    expected = np.random.default_rng(5).standard_normal((7, 4, 3, 3))
    design = random_design(rng, 4, 3, 2, 1, n_draws=7)
    np.testing.assert_array_equal(design.shared, expected[..., :2])
    np.testing.assert_array_equal(design.private, expected[..., 2:])
    assert design.sigma == 1


@pytest.mark.parametrize("n_draws", [None, 7])
def test_samples_are_what_the_design_shows_and_noise(rng, n_draws):
    design = random_design(rng, 4, 3, 2, 2, 0.5)
    lead = () if n_draws is None else (n_draws,)
    noise = np.random.default_rng(1).standard_normal((*lead, 4, 3))
    found = sample(design, [1.0, 2.0], [3.0, -4.0], np.random.default_rng(1), n_draws)
    clean = design.shared @ [1.0, 2.0] + design.private @ [3.0, -4.0]
    np.testing.assert_allclose(found, clean + 0.5 * noise, rtol=1e-12)


def test_a_repeated_design_is_every_sample(rng):
    one = random_design(rng, 1, 3, 2, 1, 0.5)
    many = one.repeat(5)
    np.testing.assert_array_equal(many.shared, np.concatenate([one.shared] * 5))
    np.testing.assert_array_equal(many.private, np.concatenate([one.private] * 5))
    assert many.sigma == 0.5


# Information and estimates --------------------------------------------------------------


def test_information_is_the_hessian_of_the_joint_log_likelihood(three, rng):
    seen = observe(three, rng)

    def minus_log_likelihood(theta):
        total, start = 0, 2
        for design, x in zip(three, seen, strict=True):
            stop = start + design.private.shape[-1]
            mean = torch.tensor(design.shared) @ theta[:2]
            mean = mean + torch.tensor(design.private) @ theta[start:stop]
            law = torch.distributions.Normal(mean, design.sigma)
            total = total - law.log_prob(torch.tensor(x)).sum()
            start = stop
        return total

    theta = torch.ones(5, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(minus_log_likelihood, theta).numpy()
    np.testing.assert_allclose(information(*three), hessian, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(block_information(*three), hessian[:2, :2], rtol=1e-8)


def test_efficient_information_is_the_inverse_of_the_block_of_the_inverse(three):
    full = information(*three)
    found = efficient_information(*three)
    np.testing.assert_allclose(np.linalg.inv(found), np.linalg.inv(full)[:2, :2], rtol=1e-8)
    apart = sum(efficient_information(design) for design in three)
    np.testing.assert_allclose(found, apart, rtol=1e-12)
    schur = full[:2, :2] - full[:2, 2:] @ np.linalg.inv(full[2:, 2:]) @ full[2:, :2]
    np.testing.assert_allclose(found, schur, rtol=1e-8)


@pytest.mark.parametrize("private", [[[1, 1], [2, 2], [0, 0]], [[0, 0], [0, 0], [0, 0]]])
def test_efficient_information_with_a_private_part_of_low_rank(rng, private):
    design = Design(rng.standard_normal((1, 3, 2)), [private], 0.7)
    full = information(design)
    inverse = np.linalg.pinv(full[2:, 2:], rtol=1e-10)
    schur = full[:2, :2] - full[:2, 2:] @ inverse @ full[2:, :2]
    np.testing.assert_allclose(efficient_information(design), schur, atol=1e-8)


def test_least_squares_is_lstsq_on_the_tall_system(three, rng):
    seen = observe(three, rng)
    expected, *_ = np.linalg.lstsq(*tall_system(three, seen), rcond=None)
    np.testing.assert_allclose(least_squares(three, seen), expected, atol=1e-8)


@pytest.mark.parametrize("n_modalities", [1, 2, 3])
def test_least_squares_of_low_rank_is_the_solution_of_least_norm(rng, n_modalities):
    """Every modality sees one line only: rank n_modalities out of 2 + n_modalities."""
    sigmas = (0.5, 1.0, 3.0)[:n_modalities]
    blind = [Design(np.ones((2, 3, 2)), np.ones((2, 3, 1)), sigma) for sigma in sigmas]
    seen = observe(blind, rng)
    expected, *_ = np.linalg.lstsq(*tall_system(blind, seen), rcond=1e-10)
    np.testing.assert_allclose(least_squares(blind, seen), expected, atol=1e-8)


@pytest.mark.parametrize("n_draws", [None, 7])
def test_batched_is_looped(rng, n_draws):
    """Draws with one fixed design (None) and with a design each (7)."""
    designs = [random_design(rng, 4, 3, 2, 1, sigma, n_draws) for sigma in (0.5, 2.0)]
    seen = observe(designs, rng, n_draws=None if n_draws else 7)
    estimates = least_squares(designs, seen)
    assert estimates.shape == (7, 4)
    for k in range(7):
        one = designs
        if n_draws:
            one = [Design(d.shared[k], d.private[k], d.sigma) for d in designs]
            for function in (information, block_information, efficient_information):
                together = function(*designs)[k]
                np.testing.assert_allclose(together, function(*one), rtol=1e-10, atol=1e-10)
            together = directional_variance(information(*designs), np.ones(4))[k]
            alone = directional_variance(information(*one), np.ones(4))
            np.testing.assert_allclose(together, alone, rtol=1e-8)
        expected, *_ = np.linalg.lstsq(*tall_system(one, [s[k] for s in seen]), rcond=None)
        np.testing.assert_allclose(estimates[k], expected, atol=1e-8)


def test_covariance_of_the_estimate_also_without_full_rank(rng):
    """The covariance of pinv(D) y is pinv(D) pinv(D)'."""
    designs = []
    for sigma in (0.5, 2.0):
        shared = np.ones((5, 2, 3, 2)) * rng.standard_normal((5, 1, 1, 1))
        designs.append(Design(shared, rng.standard_normal((5, 2, 3, 1)), sigma))
    solve = np.linalg.pinv(stack(*designs), rtol=1e-10)
    found = covariance(information(*designs))
    np.testing.assert_allclose(found, solve @ solve.mT, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_directional_variance(rng, scale):
    known = np.cov(rng.standard_normal((3, 50))) * scale
    v = rng.standard_normal(3)
    inverse = np.linalg.inv(known)
    np.testing.assert_allclose(directional_variance(known, v), v @ inverse @ v, rtol=1e-8)
    np.testing.assert_allclose(covariance(known), inverse, rtol=1e-8)
    blind = np.diag([2.0, 1.0, 0.0]) * scale
    assert np.isinf(directional_variance(blind, E[2]))
    assert np.isinf(directional_variance(blind, E[0] + 1e-3 * E[2]))
    np.testing.assert_allclose(directional_variance(blind, E[0]), 0.5 / scale)
    assert np.isinf(directional_variance(np.zeros((3, 3)), E[0]))


@pytest.mark.parametrize("weak", [1e-2, 1e-5, 1e-8, 1e-9])
def test_a_weakly_seen_direction_beside_a_blind_one_has_a_finite_variance(weak):
    for seed in range(100):
        axes = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
        known = axes * [1, weak, 0] @ axes.T
        np.testing.assert_allclose(directional_variance(known, axes[:, 1]), 1 / weak, rtol=1e-4)
        assert np.isinf(directional_variance(known, axes[:, 2]))


def test_monte_carlo_agrees_with_the_closed_form_over_20_seeds():
    """Deviations in standard errors: none above 3.5, and spread like a standard normal."""
    z = []
    for seed in range(20):
        rng = np.random.default_rng(1000 + seed)
        designs = [random_design(rng, 8, 3, 2, 1, 0.5), random_design(rng, 5, 3, 2, 1, 1.5)]
        estimates = least_squares(designs, observe(designs, rng, 10_000))[:, :2]
        for v in ([1, 0], [0, 1], rng.standard_normal(2)):
            closed = directional_variance(efficient_information(*designs), v)
            z.append(((estimates @ v).var(ddof=1) / closed - 1) / np.sqrt(2 / 9999))
    assert np.abs(z).max() < 3.5
    assert all(stats.kstest(z[k::3], "norm").pvalue > 0.001 for k in range(3))


# What counts as zero: RANK_TOLERANCE, 1e-10, from both sides ------------------------------

BOTH_SIDES = pytest.mark.parametrize("share, seen", [(3e-11, False), (3e-10, True)])


@BOTH_SIDES
def test_a_weak_eigenvalue_of_the_information(share, seen):
    known = 7.0 * np.diag([1.0, share])
    variance = 1 / (7.0 * share)
    found = directional_variance(known, [0, 1])
    np.testing.assert_allclose(found, variance if seen else np.inf, rtol=1e-12)
    np.testing.assert_allclose(covariance(known)[1, 1], variance if seen else 0.0, rtol=1e-12)


@BOTH_SIDES
def test_a_weak_singular_value_of_the_design(share, seen):
    design = Design([7.0 * np.diag([1.0, share])])
    estimate = least_squares([design], [[[7.0, 7.0 * share]]])
    np.testing.assert_allclose(estimate, [1.0, 1.0 if seen else 0.0], rtol=1e-12)


@BOTH_SIDES
def test_a_short_private_column(share, seen):
    """It hides what it points along as well as a long one does, unless its length is rounding."""
    design = Design([E[:, 1:2]], [np.stack([7 * E[0], 7 * share * E[1]], axis=1)])
    np.testing.assert_allclose(efficient_information(design), [[0.0 if seen else 1.0]])


@BOTH_SIDES
def test_private_columns_that_are_almost_parallel(share, seen):
    """Unit columns at a small angle t have singular values sqrt(2) and t / sqrt(2)."""
    angle = 2 * share
    almost = np.array([np.cos(angle), np.sin(angle), 0])
    design = Design([E[:, 1:2]], [np.stack([E[0], almost], axis=1)])
    np.testing.assert_allclose(efficient_information(design), [[0.0 if seen else 1.0]], atol=1e-8)


@BOTH_SIDES
def test_a_small_rest_of_the_shared_design(share, seen):
    rest = 7 * np.array([[1.0], [share], [0.0]])
    found = efficient_information(Design([rest], [E[:, :1]]))
    np.testing.assert_allclose(found, [[(7 * share) ** 2 if seen else 0.0]], rtol=1e-6)


@BOTH_SIDES
def test_what_rounding_may_do_to_an_information_matrix(share, seen):
    """Entries off their mirror images, and negative eigenvalues, beyond it are refused."""
    for rounded in ([[7.0, 7 * share], [0.0, 7.0]], np.diag([7.0, -7 * share])):
        if seen:
            refused(lambda known=rounded: covariance(known), "information")
        else:
            np.testing.assert_allclose(covariance(rounded)[0, 0], 1 / 7)


def test_a_little_of_a_blind_direction():
    """v may lie outside the range by a share of 1e-15 of its squared length, or by rounding."""
    for outside, infinite in ((2e-8, False), (5e-8, True)):
        assert np.isinf(directional_variance(np.diag([1.0, 0.0]), [3, 3 * outside])) == infinite
    for outside, infinite in ((5e-7, False), (2e-6, True)):  # a tilt of 1e-14 / 1e-8
        v = [0, 3, 3 * outside]
        assert np.isinf(directional_variance(np.diag([1.0, 1e-8, 0.0]), v)) == infinite


# The exchange rate ----------------------------------------------------------------------


def test_exchange_rate_is_the_number_of_x_samples_with_the_same_effect(rng):
    x = random_design(rng, 1, 3, 2, 0, 0.5).repeat(10)
    y = random_design(rng, 1, 3, 2, 0, 1.5)
    v = np.array([0.3, -1.0])
    rate = exchange_rate(information(x), information(y), v, 10)

    def gap(k):
        more_x = directional_variance(information(x) * (10 + k) / 10, v)
        return more_x - directional_variance(information(x, y), v)

    np.testing.assert_allclose(gap(rate), 0, atol=1e-12)
    root = optimize.brentq(gap, 0, 1e4, xtol=1e-13, rtol=1e-13)
    np.testing.assert_allclose(rate, root, rtol=1e-8)


def test_exchange_rate_at_its_ends():
    first, second = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    assert exchange_rate(first, second, [0, 1]) == np.inf
    assert exchange_rate(first, first, [0, 1]) == 0  # both blind
    assert exchange_rate(np.eye(2), first, [0, 1]) == 0  # Y sees something else
    np.testing.assert_allclose(exchange_rate(np.eye(2), np.eye(2), [1, 2]), 1)  # like for like


def test_exchange_rate_of_angled_designs_has_the_closed_form_of_notebook_01():
    x, y = angled_designs(30.0, 0.3, 0.5, 1.0)
    rate = exchange_rate(information(x) * 1e7, information(y), [0, 1], 10_000_000)
    closed = np.sin(np.pi / 6) ** 2 / 0.3**2 * 0.5**2 / 1.0**2
    np.testing.assert_allclose(rate, closed, rtol=1e-5)


@pytest.mark.parametrize(
    "angle, weak, sigma_x, sigma_y",
    [(0, 0, 1, 1), (30, 0.3, 0.5, 2), (90, 1, 3, 0.1), (-200, -2, 1, 1)],
)
def test_angled_designs_have_the_information_written_out(angle, weak, sigma_x, sigma_y):
    x, y = angled_designs(angle, weak, sigma_x, sigma_y)
    c, s = np.cos(angle * np.pi / 180), np.sin(angle * np.pi / 180)
    np.testing.assert_allclose(information(x), np.diag([1, weak**2]) / sigma_x**2, atol=1e-12)
    expected = np.array([[c * c, c * s], [c * s, s * s]]) / sigma_y**2
    np.testing.assert_allclose(information(y), expected, atol=1e-12)


def test_angled_designs_are_blind_and_of_unit_noise_by_default():
    for found, expected in zip(angled_designs(20), angled_designs(20, 0, 1, 1), strict=True):
        np.testing.assert_array_equal(information(found), information(expected))


def test_exchange_rate_is_batched_and_takes_rounding_for_symmetry(rng):
    x, y = (information(random_design(rng, 2, 3, 2, 0, sigma, 7)) for sigma in (0.5, 2.0))
    rounded = x * (1 + 1e-13 * rng.standard_normal(x.shape))
    alone = [exchange_rate(a, b, [1, 2], 2) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(exchange_rate(rounded, y, [1, 2], 2), alone, rtol=1e-8)
    alone = [exchange_rate(a, y[0], [1, 2], 2) for a in x]
    np.testing.assert_allclose(exchange_rate(x, y[0], [1, 2], 2), alone, rtol=1e-10)


# The papers' statements, and where they need care ---------------------------------------


def test_theorem_1_loewner_order_with_block_and_efficient_information(rng):
    for _ in range(20):
        x, y = random_design(rng, 3, 4, 3, 2), random_design(rng, 3, 4, 3, 1)
        for kind in (block_information, efficient_information):
            assert np.linalg.eigvalsh(kind(x, y) - kind(x)).min() > 0


def test_corollary_1_contraction():
    x, y = Design([np.diag([2.0, 1.0])]), Design([np.diag([1.0, 3.0])])
    for v, a, b in (([1, 0], 4, 1), ([0, 1], 1, 9)):
        alone = directional_variance(information(x), v)
        np.testing.assert_allclose(directional_variance(information(x, y), v) / alone, a / (a + b))


def test_corollary_2_needs_the_range_of_the_sum():
    """v = e2 has no information from X and some from Y, and stays unidentifiable."""
    known_x = np.outer(E[0], E[0])
    known_y = np.outer(E[1] + E[2], E[1] + E[2])
    assert E[1] @ known_x @ E[1] == 0
    assert E[1] @ known_y @ E[1] > 0
    assert np.isinf(directional_variance(known_x + known_y, E[1]))


def test_more_information_along_v_need_not_be_less_variance_along_v(rng):
    """Y sees v but not pinv(I_X) v; along an eigenvector (Corollary 3) variance must fall."""
    known_x = np.cov(rng.standard_normal((2, 30)))
    v = np.array([1.0, 0.0])
    w = np.linalg.solve(known_x, v)
    known_y = np.outer([-w[1], w[0]], [-w[1], w[0]])
    assert v @ known_y @ v > 0
    before, after = (directional_variance(known, v) for known in (known_x, known_x + known_y))
    np.testing.assert_allclose(after, before, rtol=1e-10)
    for u in np.linalg.eigh(known_x)[1].T:
        assert directional_variance(known_x + known_y, u) < directional_variance(known_x, u)


def test_the_block_promises_what_the_efficient_information_denies(rng):
    shared = rng.standard_normal((1, 4, 2))
    y = Design(shared, shared @ rng.standard_normal((2, 3)), 0.3)  # range(B_c) in range(B_y)
    assert np.linalg.eigvalsh(block_information(y)).min() > 0
    assert (efficient_information(y) == 0).all()  # so that no rounding looks like a gain
    x = random_design(rng, 2, 4, 2, 1, 0.5)
    estimates = least_squares([x, y], observe([x, y], rng, 4000))[:, 0]
    as_x_alone = directional_variance(efficient_information(x), [1, 0])
    assert abs(estimates.var(ddof=1) / as_x_alone - 1) < 4 * np.sqrt(2 / 3999)


@pytest.mark.parametrize("spread", [0, 2, 4])
def test_an_explained_shared_part_leaves_exactly_zero(spread):
    """Private columns of sizes 10^-spread to 10^spread; two of four span the shared part."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shared, private = rng.standard_normal((20, 2)), rng.standard_normal((20, 4))
        private[:, :2] = shared @ rng.standard_normal((2, 2))
        private *= 10.0 ** rng.uniform(-spread, spread, 4)
        design = Design(shared.reshape(4, 5, 2), private.reshape(4, 5, 4), 0.3)
        assert (efficient_information(design) == 0).all()


def test_a_fixed_design_never_opens_a_direction_and_random_designs_do(rng):
    fixed = random_design(rng, 1, 3, 2, 3)
    changing = random_design(rng, 5, 3, 2, 3)
    for n in (1, 10, 1000):
        assert np.isinf(directional_variance(efficient_information(fixed.repeat(n)), [1, 0]))
    assert np.isfinite(directional_variance(efficient_information(changing), [1, 0]))


# Bad input: one line that names the argument --------------------------------------------


def refused(call, name):
    """The call is refused in one line that begins with the argument's name; that line."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ")
    assert ", accepted: " in message
    assert "\n" not in message
    assert len(message) < 240
    return message


RNG = np.random.default_rng(0)
ONE = np.ones((1, 1, 1))
TWO = Design(np.ones((2, 3, 2)), np.ones((2, 3, 1)))
UNLIKE = Design(np.ones((1, 3, 3)))
SEVEN = random_design(RNG, 2, 3, 2, n_draws=7)
EYE = np.eye(2)


def test_memory_is_never_asked_for_by_accident():
    """A million draws of 1,000 samples of three numbers are 24 GB."""
    design = Design(np.ones((1, 3, 2))).repeat(1000)
    message = refused(lambda: sample(design, [1, 2], [], RNG, 1_000_000), "n_draws")
    assert "22.4 GiB" in message
    assert "at most 4 GiB: fewer draws or samples" in message
    refused(lambda: random_design(RNG, 1000, 3, 2, 1, n_draws=1_000_000), "n_draws")
    refused(lambda: random_design(RNG, 10**9, 3, 2), "n_samples")
    refused(lambda: Design(ONE).repeat(10**10), "n_samples")


def test_the_bound_on_memory_is_exact(monkeypatch):
    """TWO has 12 numbers of the shared and 6 of the private design, 6 observations, 2 x 3 rows."""

    def largest(n_numbers, call):
        monkeypatch.setattr(linear_gaussian, "MAX_BYTES", 8 * n_numbers)
        call()
        monkeypatch.setattr(linear_gaussian, "MAX_BYTES", 8 * n_numbers - 1)
        with pytest.raises(ValueError, match="GiB in one array"):
            call()

    seen = [np.ones((2, 3))]
    largest(7 * 6, lambda: sample(TWO, [1, 2], [1], RNG, 7))
    largest(6, lambda: sample(TWO, [1, 2], [1], RNG))
    largest(7 * 18, lambda: random_design(RNG, 2, 3, 2, 1, n_draws=7))
    largest(5 * 18, lambda: Design(np.ones((1, 6, 2)), np.ones((1, 6, 1))).repeat(5))
    largest(6 * 3, lambda: least_squares([TWO], seen))
    largest(12 * 4, lambda: least_squares([TWO, TWO], seen * 2))
    largest(7 * 6 * 2, lambda: information(SEVEN))


BAD = [
    ("sigma", lambda: Design(ONE, sigma=0)),
    ("sigma", lambda: Design(ONE, sigma=-1.0)),
    ("sigma", lambda: Design(ONE, sigma=np.nan)),
    ("sigma", lambda: Design(ONE, sigma=np.inf)),
    ("sigma", lambda: Design(ONE, sigma="1")),
    ("sigma", lambda: Design(ONE, sigma=True)),
    ("sigma", lambda: Design(ONE, sigma=np.ones(2))),
    ("shared", lambda: Design(np.ones((3, 2)))),
    ("shared", lambda: Design("abc")),
    ("shared", lambda: Design([[[np.nan]]])),
    ("shared", lambda: Design(np.ones((1, 3, 0)))),
    ("shared", lambda: Design([[[1], [1, 2]]])),
    ("private", lambda: Design(np.ones((2, 3, 2)), np.ones((2, 4, 1)))),
    ("private", lambda: Design(ONE, [[[np.inf]]])),
    ("private", lambda: Design(ONE, [[[np.nan]]])),
    ("private", lambda: Design(np.ones((1, 2, 1)), [[[1], [1, 2]]])),
    ("private", lambda: Design(ONE, 1.0)),
    ("n_samples", lambda: Design(ONE).repeat(0)),
    ("design", lambda: TWO.repeat(2)),
    ("n_samples", lambda: random_design(RNG, 0, 3, 2)),
    ("n_samples", lambda: random_design(RNG, 1.5, 3, 2)),
    ("n_observed", lambda: random_design(RNG, 1, 0, 2)),
    ("d_shared", lambda: random_design(RNG, 1, 3, 0)),
    ("d_shared", lambda: random_design(RNG, 1, 3, 4)),
    ("d_private", lambda: random_design(RNG, 1, 3, 2, -1)),
    ("n_draws", lambda: random_design(RNG, 1, 3, 2, n_draws=0)),
    ("n_draws", lambda: random_design(RNG, 1, 3, 2, n_draws=True)),
    ("rng", lambda: random_design(None, 1, 3, 2)),
    ("angle", lambda: angled_designs("wide")),
    ("angle", lambda: angled_designs(np.nan)),
    ("weak_sight", lambda: angled_designs(30, np.nan)),
    ("sigma_x", lambda: angled_designs(30, sigma_x=0)),
    ("sigma_y", lambda: angled_designs(30, sigma_y="1")),
    ("theta_shared", lambda: sample(TWO, [1, 2, 3], [1], RNG)),
    ("theta_shared", lambda: sample(TWO, [1, np.nan], [1], RNG)),
    ("theta_private", lambda: sample(TWO, [1, 2], [np.nan], RNG)),
    ("n_draws", lambda: sample(TWO, [1, 2], [1], RNG, 0)),
    ("rng", lambda: sample(TWO, [1, 2], [1], 0)),
    ("designs", lambda: stack()),
    ("designs", lambda: block_information()),
    ("designs", lambda: efficient_information()),
    ("designs", lambda: information(TWO, UNLIKE)),
    ("designs", lambda: block_information(TWO, UNLIKE)),
    ("designs", lambda: efficient_information(TWO, UNLIKE)),
    ("designs", lambda: information(TWO, SEVEN)),
    ("designs", lambda: least_squares([], [])),
    ("designs", lambda: least_squares([TWO, UNLIKE], [np.ones((2, 3)), np.ones((1, 3))])),
    ("observations", lambda: least_squares([TWO, TWO], [np.ones((2, 3))])),
    ("observations[0]", lambda: least_squares([TWO], [np.full((2, 3), np.nan)])),
    ("observations[0]", lambda: least_squares([TWO], [np.ones((2, 4))])),
    ("observations[0]", lambda: least_squares([TWO], [np.ones((1, 3))])),
    ("observations[0]", lambda: least_squares([TWO], ["abc"])),
    ("observations[0]", lambda: least_squares([SEVEN], [np.ones((5, 2, 3))])),
    (
        "observations[1]",
        lambda: least_squares([TWO, TWO], [np.ones((7, 2, 3)), np.ones((5, 2, 3))]),
    ),
    ("v", lambda: directional_variance(EYE, [0, 0])),
    ("v", lambda: directional_variance(EYE, [1, 0, 0])),
    ("v", lambda: directional_variance(EYE, [np.nan, 1])),
    ("information", lambda: directional_variance([[np.nan]], [1])),
    ("information", lambda: directional_variance(np.ones((3, 2)), [1, 0])),
    ("information", lambda: directional_variance(5.0, [1])),
    ("information", lambda: directional_variance("a", [1])),
    ("information", lambda: directional_variance([[1, 5], [0, 1]], [1, 0])),
    ("information", lambda: directional_variance(-EYE, [1, 0])),
    ("information", lambda: covariance([[np.nan]])),
    ("n_x", lambda: exchange_rate(EYE, EYE, [1, 0], 0)),
    ("information_x", lambda: exchange_rate(-EYE, EYE, [1, 0])),
    ("information_y", lambda: exchange_rate(EYE, np.full((2, 2), np.nan), [1, 0])),
    ("information_y", lambda: exchange_rate(EYE, np.eye(3), [1, 0])),
    ("information_y", lambda: exchange_rate(EYE, [[1.0]], [1, 0])),
    ("information_y", lambda: exchange_rate(np.ones((3, 1, 1)), np.ones((2, 1, 1)), [1])),
]


@pytest.mark.parametrize("name, call", BAD, ids=[f"{k} {name}" for k, (name, _) in enumerate(BAD)])
def test_bad_input(name, call):
    refused(call, name)
