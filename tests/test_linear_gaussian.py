"""The theory's functions against references that share no code with them, and the papers' statements pinned."""
import numpy as np
import pytest
import torch
from scipy import optimize, stats

from lib.linear_gaussian import (Design, angled_designs, block_information, covariance, directional_variance, efficient_information,
                                 exchange_rate, information, least_squares, random_design, sample, stack)

E = np.eye(3)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def three(rng):
    """Three modalities with unequal noise, sizes and private parts."""
    return [random_design(rng, 6, 4, 2, 1, 0.5), random_design(rng, 9, 3, 2, 2, 2.0), random_design(rng, 4, 5, 2, 0, 0.1)]


def tall_system(designs, observations):
    """The stacked system written out sample by sample."""
    width = designs[0].d_shared + sum(d.d_private for d in designs)
    rows, right, start = [], [], designs[0].d_shared
    for design, seen in zip(designs, observations):
        for i in range(design.n_samples):
            block = np.zeros((design.shared.shape[1], width))
            block[:, :design.d_shared] = design.shared[i]
            block[:, start:start + design.d_private] = design.private[i]
            rows.append(block / design.sigma)
            right.append(seen[i] / design.sigma)
        start += design.d_private
    return np.concatenate(rows), np.concatenate(right)


def observe(designs, rng, n_draws=None):
    return [sample(d, np.arange(1, d.d_shared + 1.0), np.ones(d.d_private), rng, n_draws) for d in designs]


def test_information_is_the_hessian_of_the_joint_log_likelihood(three, rng):
    seen = observe(three, rng)

    def minus_log_likelihood(theta):
        total, start = 0, 2
        for design, x in zip(three, seen):
            private = theta[start:start + design.d_private]
            start += design.d_private
            mean = torch.tensor(design.shared) @ theta[:2] + torch.tensor(design.private) @ private
            total = total - torch.distributions.Normal(mean, design.sigma).log_prob(torch.tensor(x)).sum()
        return total

    hessian = torch.autograd.functional.hessian(minus_log_likelihood, torch.ones(5, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(information(*three), hessian, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(block_information(*three), hessian[:2, :2], rtol=1e-8)


def test_efficient_information_is_the_inverse_of_the_block_of_the_inverse(three):
    inverse = np.linalg.inv(information(*three))
    np.testing.assert_allclose(np.linalg.inv(efficient_information(*three)), inverse[:2, :2], rtol=1e-8)
    np.testing.assert_allclose(efficient_information(*three), sum(efficient_information(d) for d in three), rtol=1e-12)
    full = information(*three)
    schur = full[:2, :2] - full[:2, 2:] @ np.linalg.inv(full[2:, 2:]) @ full[2:, :2]
    np.testing.assert_allclose(efficient_information(*three), schur, rtol=1e-8)


@pytest.mark.parametrize("private", [[[1.0, 1.0], [2.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
def test_efficient_information_with_a_private_part_of_low_rank(rng, private):
    design = Design(rng.standard_normal((1, 3, 2)), [private], 0.7)
    full = information(design)
    schur = full[:2, :2] - full[:2, 2:] @ np.linalg.pinv(full[2:, 2:], rtol=1e-10) @ full[2:, :2]
    np.testing.assert_allclose(efficient_information(design), schur, atol=1e-8)


def test_least_squares_is_lstsq_on_the_tall_system(three, rng):
    seen = observe(three, rng)
    expected, *_ = np.linalg.lstsq(*tall_system(three, seen), rcond=None)
    np.testing.assert_allclose(least_squares(three, seen), expected, atol=1e-8)


@pytest.mark.parametrize("n_modalities", [1, 2, 3])
def test_least_squares_of_low_rank_is_the_solution_of_least_norm(rng, n_modalities):
    """Every modality sees one line only, with unequal noise: rank n_modalities out of 2 + n_modalities."""
    blind = [Design(np.ones((2, 3, 2)), np.ones((2, 3, 1)), sigma) for sigma in (0.5, 1.0, 3.0)[:n_modalities]]
    seen = observe(blind, rng)
    expected, *_ = np.linalg.lstsq(*tall_system(blind, seen), rcond=1e-10)
    np.testing.assert_allclose(least_squares(blind, seen), expected, atol=1e-8)


@pytest.mark.parametrize("n_draws", [None, 7])
def test_batched_is_looped(rng, n_draws):
    """Draws with one fixed design (None) and with a design each (7)."""
    designs = [random_design(rng, 4, 3, 2, 1, s, n_draws) for s in (0.5, 2.0)]
    seen = observe(designs, rng, n_draws=None if n_draws else 7)
    pick = lambda d, k: Design(d.shared[k], d.private[k], d.sigma) if n_draws else d
    estimates = least_squares(designs, seen)
    assert estimates.shape == (7, 4)
    for k in range(7):
        one = [pick(d, k) for d in designs]
        np.testing.assert_allclose(estimates[k], np.linalg.lstsq(*tall_system(one, [s[k] for s in seen]), rcond=None)[0], atol=1e-8)
        if n_draws:
            for function in (information, block_information, efficient_information):
                np.testing.assert_allclose(function(*designs)[k], function(*one), rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(directional_variance(information(*designs), np.ones(4))[k], directional_variance(information(*one), np.ones(4)), rtol=1e-8)


def test_covariance_of_the_estimate_also_without_full_rank(rng):
    """The covariance of pinv(D) y is pinv(D) pinv(D)': the pseudo-inverse of the information, batched."""
    designs = [Design(np.ones((5, 2, 3, 2)) * rng.standard_normal((5, 1, 1, 1)), rng.standard_normal((5, 2, 3, 1)), s) for s in (0.5, 2.0)]
    solve = np.linalg.pinv(stack(*designs), rtol=1e-10)
    np.testing.assert_allclose(covariance(information(*designs)), solve @ solve.mT, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_directional_variance(rng, scale):
    I = np.cov(rng.standard_normal((3, 50))) * scale
    v = rng.standard_normal(3)
    np.testing.assert_allclose(directional_variance(I, v), v @ np.linalg.inv(I) @ v, rtol=1e-8)
    blind = np.diag([2.0, 1.0, 0.0]) * scale
    assert np.isinf(directional_variance(blind, E[2])) and np.isinf(directional_variance(blind, E[0] + 1e-3 * E[2]))
    np.testing.assert_allclose(directional_variance(blind, E[0]), 0.5 / scale)
    assert np.isinf(directional_variance(np.zeros((3, 3)), E[0]))
    np.testing.assert_allclose(covariance(I), np.linalg.inv(I), rtol=1e-8)


@pytest.mark.parametrize("weak", [1e-2, 1e-5, 1e-8, 1e-9])
def test_a_weakly_seen_direction_beside_a_blind_one_has_a_finite_variance(weak):
    for seed in range(100):
        Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
        np.testing.assert_allclose(directional_variance(Q * [1, weak, 0] @ Q.T, Q[:, 1]), 1 / weak, rtol=1e-4)
        assert np.isinf(directional_variance(Q * [1, weak, 0] @ Q.T, Q[:, 2]))


def test_exchange_rate_is_the_number_of_x_samples_with_the_same_effect(rng):
    x, y = random_design(rng, 1, 3, 2, 0, 0.5).repeat(10), random_design(rng, 1, 3, 2, 0, 1.5)
    v = np.array([0.3, -1.0])
    rate = exchange_rate(information(x), information(y), v, 10)
    np.testing.assert_allclose(directional_variance(information(x) * (10 + rate) / 10, v), directional_variance(information(x, y), v), rtol=1e-10)
    gap = lambda k: directional_variance(information(x) * (10 + k) / 10, v) - directional_variance(information(x, y), v)
    np.testing.assert_allclose(rate, optimize.brentq(gap, 0, 1e4, xtol=1e-13, rtol=1e-13), rtol=1e-8)
    assert exchange_rate(np.diag([1.0, 0.0]), np.diag([0.0, 1.0]), [0, 1]) == np.inf
    assert exchange_rate(np.diag([1.0, 0.0]), np.diag([1.0, 0.0]), [0, 1]) == 0      # both blind
    assert exchange_rate(np.diag([1.0, 1.0]), np.diag([1.0, 0.0]), [0, 1]) == 0      # Y sees something else
    np.testing.assert_allclose(exchange_rate(np.eye(2), np.eye(2), [1, 2]), 1)       # like for like


def test_exchange_rate_of_angled_designs_has_the_closed_form_of_notebook_01():
    x, y = angled_designs(30.0, 0.3, 0.5, 1.0)
    rate = exchange_rate(information(x) * 1e7, information(y), [0, 1], 10_000_000)
    np.testing.assert_allclose(rate, np.sin(np.pi / 6) ** 2 / 0.3**2 * 0.5**2 / 1.0**2, rtol=1e-5)


def test_angled_designs_have_the_information_written_out():
    for angle, weak, sigma_x, sigma_y in [(0, 0, 1, 1), (30, 0.3, 0.5, 2), (90, 1, 3, 0.1), (-200, -2, 1, 1)]:
        x, y = angled_designs(angle, weak, sigma_x, sigma_y)
        c, s = np.cos(angle * np.pi / 180), np.sin(angle * np.pi / 180)
        np.testing.assert_allclose(information(x), np.diag([1, weak**2]) / sigma_x**2, atol=1e-12)
        np.testing.assert_allclose(information(y), np.array([[c * c, c * s], [c * s, s * s]]) / sigma_y**2, atol=1e-12)


def test_monte_carlo_agrees_with_the_closed_form_over_20_seeds():
    """Deviations in standard errors along both axes and a random v: none above 3.5, and spread like a standard normal."""
    z = []
    for seed in range(20):
        rng = np.random.default_rng(1000 + seed)
        designs = [random_design(rng, 8, 3, 2, 1, 0.5), random_design(rng, 5, 3, 2, 1, 1.5)]
        estimates = least_squares(designs, observe(designs, rng, 10_000))[:, :2]
        for v in ([1, 0], [0, 1], rng.standard_normal(2)):
            closed = directional_variance(efficient_information(*designs), v)
            z.append(((estimates @ v).var(ddof=1) / closed - 1) / np.sqrt(2 / 9999))
    assert np.abs(z).max() < 3.5 and all(stats.kstest(z[k::3], "norm").pvalue > 0.001 for k in range(3))


def test_exchange_rate_is_batched_and_takes_rounding_for_symmetry(rng):
    I_x, I_y = (information(random_design(rng, 2, 3, 2, 0, s, 7)) for s in (0.5, 2.0))
    together = exchange_rate(I_x * (1 + 1e-13 * rng.standard_normal(I_x.shape)), I_y, [1, 2], 2)
    np.testing.assert_allclose(together, [exchange_rate(a, b, [1, 2], 2) for a, b in zip(I_x, I_y)], rtol=1e-8)
    np.testing.assert_allclose(exchange_rate(I_x, I_y[0], [1, 2], 2), [exchange_rate(a, I_y[0], [1, 2], 2) for a in I_x], rtol=1e-10)


# The papers' statements, and where they need care ---------------------------------------------------------------------

def test_theorem_1_loewner_order_with_block_and_efficient_information(rng):
    for _ in range(20):
        x, y = random_design(rng, 3, 4, 3, 2), random_design(rng, 3, 4, 3, 1)
        for kind in (block_information, efficient_information):
            assert np.linalg.eigvalsh(kind(x, y) - kind(x)).min() > 0


def test_corollary_1_contraction():
    x, y = Design([np.diag([2.0, 1.0])]), Design([np.diag([1.0, 3.0])])
    for k, (a, b) in enumerate([(4, 1), (1, 9)]):
        ratio = directional_variance(information(x, y), np.eye(2)[k]) / directional_variance(information(x), np.eye(2)[k])
        np.testing.assert_allclose(ratio, a / (a + b))


def test_corollary_2_needs_the_range_of_the_sum():
    """X sees e1, Y sees e2 + e3: v = e2 has no information from X and some from Y, and stays unidentifiable."""
    I_x, I_y, v = np.outer(E[0], E[0]), np.outer(E[1] + E[2], E[1] + E[2]), E[1]
    assert v @ I_x @ v == 0 and v @ I_y @ v > 0 and np.isinf(directional_variance(I_x + I_y, v))


def test_more_information_along_v_need_not_be_less_variance_along_v(rng):
    """Y sees v but not pinv(I_X) v: the variance along v stays; along an eigenvector (Corollary 3) it cannot."""
    I_x = np.cov(rng.standard_normal((2, 30)))
    v = np.array([1.0, 0.0])
    w = np.linalg.solve(I_x, v)
    I_y = np.outer([-w[1], w[0]], [-w[1], w[0]])
    assert v @ I_y @ v > 0
    np.testing.assert_allclose(directional_variance(I_x + I_y, v), directional_variance(I_x, v), rtol=1e-10)
    for u in np.linalg.eigh(I_x)[1].T:
        assert directional_variance(I_x + I_y, u) < directional_variance(I_x, u)


def test_the_block_promises_what_the_efficient_information_denies(rng):
    shared = rng.standard_normal((1, 4, 2))
    y = Design(shared, shared @ rng.standard_normal((2, 3)), 0.3)      # range(B_c) inside range(B_y)
    assert np.linalg.eigvalsh(block_information(y)).min() > 0
    assert (efficient_information(y) == 0).all()                       # exactly, so that no rounding looks like a gain
    x = random_design(rng, 2, 4, 2, 1, 0.5)
    estimates = least_squares([x, y], observe([x, y], rng, 4000))[:, :2]        # as good as X alone, by simulation too
    expected = directional_variance(efficient_information(x), [1, 0])
    assert abs(estimates[:, 0].var(ddof=1) / expected - 1) < 4 * np.sqrt(2 / 3999)


@pytest.mark.parametrize("spread", [0, 2, 4])
def test_an_explained_shared_part_leaves_exactly_zero(spread):
    """Private columns of sizes 10^-spread to 10^spread, two of four of which span the shared part."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shared, private = rng.standard_normal((20, 2)), rng.standard_normal((20, 4))
        private[:, :2] = shared @ rng.standard_normal((2, 2))
        private *= 10.0 ** rng.uniform(-spread, spread, 4)
        assert (efficient_information(Design(shared.reshape(4, 5, 2), private.reshape(4, 5, 4), 0.3)) == 0).all()


def test_a_fixed_design_never_opens_a_direction_and_random_designs_do(rng):
    fixed = random_design(rng, 1, 3, 2, 3)
    changing = random_design(rng, 5, 3, 2, 3)
    for n in (1, 10, 1000):
        assert np.isinf(directional_variance(efficient_information(fixed.repeat(n)), [1, 0]))
    assert np.isfinite(directional_variance(efficient_information(changing), [1, 0]))


# Bad input: one line that names the argument --------------------------------------------------------------------------

def answers(call, name):
    """The call is refused in one line that begins with the argument's name."""
    with pytest.raises(ValueError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{name}: got ") and ", accepted: " in message and "\n" not in message and len(message) < 240


GOOD = Design(np.ones((2, 3, 2)), np.ones((2, 3, 1)))
BAD = {
    "sigma zero": (lambda: Design(np.ones((1, 1, 1)), sigma=0), "sigma"), "sigma negative": (lambda: Design(np.ones((1, 1, 1)), sigma=-1.0), "sigma"),
    "sigma NaN": (lambda: Design(np.ones((1, 1, 1)), sigma=np.nan), "sigma"), "sigma text": (lambda: Design(np.ones((1, 1, 1)), sigma="1"), "sigma"),
    "sigma bool": (lambda: Design(np.ones((1, 1, 1)), sigma=True), "sigma"), "shared flat": (lambda: Design(np.ones((3, 2))), "shared"),
    "shared text": (lambda: Design("abc"), "shared"), "shared NaN": (lambda: Design([[[np.nan]]]), "shared"), "shared empty": (lambda: Design(np.ones((1, 3, 0))), "shared"),
    "private mismatch": (lambda: Design(np.ones((2, 3, 2)), np.ones((2, 4, 1))), "private"), "private inf": (lambda: Design(np.ones((1, 1, 1)), [[[np.inf]]]), "private"),
    "repeat zero": (lambda: Design(np.ones((1, 1, 1))).repeat(0), "n_samples"), "repeat many": (lambda: GOOD.repeat(2), "design"),
    "n_samples 0": (lambda: random_design(np.random.default_rng(), 0, 3, 2), "n_samples"), "n_observed 0": (lambda: random_design(np.random.default_rng(), 1, 0, 2), "n_observed"),
    "d_shared 0": (lambda: random_design(np.random.default_rng(), 1, 3, 0), "d_shared"), "d_private -1": (lambda: random_design(np.random.default_rng(), 1, 3, 2, -1), "d_private"),
    "more shared than observed": (lambda: random_design(np.random.default_rng(), 1, 3, 4), "d_shared"), "n_draws 0": (lambda: random_design(np.random.default_rng(), 1, 3, 2, n_draws=0), "n_draws"),
    "n_samples float": (lambda: random_design(np.random.default_rng(), 1.5, 3, 2), "n_samples"), "angle text": (lambda: angled_designs("wide"), "angle"),
    "weak_sight NaN": (lambda: angled_designs(30, np.nan), "weak_sight"), "theta too long": (lambda: sample(GOOD, [1, 2, 3], [1], np.random.default_rng()), "theta_shared"),
    "theta NaN": (lambda: sample(GOOD, [1, np.nan], [1], np.random.default_rng()), "theta_shared"), "no designs": (lambda: stack(), "designs"),
    "unequal d_shared": (lambda: information(GOOD, Design(np.ones((1, 3, 3)))), "designs"), "zero v": (lambda: directional_variance(np.eye(2), [0, 0]), "v"),
    "long v": (lambda: directional_variance(np.eye(2), [1, 0, 0]), "v"), "information NaN": (lambda: directional_variance([[np.nan]], [1]), "information"),
    "one data set missing": (lambda: least_squares([GOOD, GOOD], [np.ones((2, 3))]), "observations"), "observations NaN": (lambda: least_squares([GOOD], [np.full((2, 3), np.nan)]), "observations[0]"),
    "observations mismatch": (lambda: least_squares([GOOD], [np.ones((2, 4))]), "observations[0]"), "n_x zero": (lambda: exchange_rate(np.eye(2), np.eye(2), [1, 0], 0), "n_x"),
    "sigma inf": (lambda: Design(np.ones((1, 1, 1)), sigma=np.inf), "sigma"), "sigma array": (lambda: Design(np.ones((1, 1, 1)), sigma=np.ones(2)), "sigma"),
    "shared ragged": (lambda: Design([[[1], [1, 2]]]), "shared"), "private NaN": (lambda: Design(np.ones((1, 1, 1)), [[[np.nan]]]), "private"),
    "n_draws bool": (lambda: random_design(np.random.default_rng(), 1, 3, 2, n_draws=True), "n_draws"), "sample n_draws 0": (lambda: sample(GOOD, [1, 2], [1], np.random.default_rng(), 0), "n_draws"),
    "theta_private NaN": (lambda: sample(GOOD, [1, 2], [np.nan], np.random.default_rng()), "theta_private"), "v NaN": (lambda: directional_variance(np.eye(2), [np.nan, 1]), "v"),
    "information not square": (lambda: directional_variance(np.ones((3, 2)), [1, 0]), "information"), "angle NaN": (lambda: angled_designs(np.nan), "angle"),
    "observations fewer samples": (lambda: least_squares([GOOD], [np.ones((1, 3))]), "observations[0]"), "observations text": (lambda: least_squares([GOOD], ["abc"]), "observations[0]"),
    "designs unlike": (lambda: least_squares([GOOD, Design(np.ones((1, 3, 3)))], [np.ones((2, 3)), np.ones((1, 3))]), "designs"),
    "no designs at all": (lambda: least_squares([], []), "designs"), "block of nothing": (lambda: block_information(), "designs"),
    "efficient of nothing": (lambda: efficient_information(), "designs"),
    "block unequal d_shared": (lambda: block_information(GOOD, Design(np.ones((1, 3, 3)))), "designs"),
    "efficient unequal d_shared": (lambda: efficient_information(GOOD, Design(np.ones((1, 3, 3)))), "designs"),
    "unequal design draws": (lambda: information(GOOD, random_design(np.random.default_rng(), 2, 3, 2, n_draws=7)), "designs"),
    "unequal number of draws": (lambda: least_squares([GOOD, GOOD], [np.ones((7, 2, 3)), np.ones((5, 2, 3))]), "observations[1]"),
    "draws unlike the design's": (lambda: least_squares([random_design(np.random.default_rng(), 2, 3, 2, n_draws=7)], [np.ones((5, 2, 3))]), "observations[0]"),
    "private ragged": (lambda: Design(np.ones((1, 2, 1)), [[[1], [1, 2]]]), "private"), "information a number": (lambda: directional_variance(5.0, [1]), "information"),
    "information text": (lambda: directional_variance("a", [1]), "information"), "information not symmetric": (lambda: directional_variance([[1, 5], [0, 1]], [1, 0]), "information"),
    "information negative": (lambda: directional_variance(-np.eye(2), [1, 0]), "information"), "covariance of NaN": (lambda: covariance([[np.nan]]), "information"),
    "information_y NaN": (lambda: exchange_rate(np.eye(2), np.full((2, 2), np.nan), [1, 0]), "information_y"),
    "information_y shape": (lambda: exchange_rate(np.eye(2), np.eye(3), [1, 0]), "information_y"),
    "sigma_x zero": (lambda: angled_designs(30, sigma_x=0), "sigma_x"), "rng a seed": (lambda: sample(GOOD, [1, 2], [1], 0), "rng"),
    "sigma_y text": (lambda: angled_designs(30, sigma_y="1"), "sigma_y"), "rng None": (lambda: random_design(None, 1, 3, 2), "rng"),
    "information_x negative": (lambda: exchange_rate(-np.eye(2), np.eye(2), [1, 0]), "information_x"),
    "information_y one number": (lambda: exchange_rate(np.eye(2), [[1.0]], [1, 0]), "information_y"),
    "information_y other draws": (lambda: exchange_rate(np.ones((3, 1, 1)), np.ones((2, 1, 1)), [1]), "information_y"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    answers(*BAD[case])
