"""A right answer passes however it is written; every usual mistake gets its own hint."""

import copy
import importlib
import itertools
import pkgutil
import re

import numpy as np
import ot
import pytest
from scipy import linalg, optimize, special, stats
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import normalize

from lib import exercises
from lib.exercises import Exercise, FunctionExercise, NotYet
from lib.teachers import weighted_cca

LESSONS = ["fisher_information", "encoders", "trunk", "few_shots", "prices"]
LESSONS += ["linear_teachers", "transport", "sotalign", "own_data", "breaks", "matching"]


def all_exercises():
    """Those of every lesson in the package, by name."""
    found = {}
    for module in pkgutil.iter_modules(exercises.__path__):
        members = vars(importlib.import_module(f"lib.exercises.{module.name}"))
        for name, member in members.items():
            if isinstance(member, Exercise):
                assert name == member.name and name not in found
                found[name] = member
    return found


EXERCISES = all_exercises()
COMPARED = {name: each for name, each in EXERCISES.items() if isinstance(each, FunctionExercise)}


@pytest.fixture(autouse=True)
def no_mistake_made_before():
    for exercise in EXERCISES.values():
        exercise.seen.clear()


def hint_of(exercise, answer):
    with pytest.raises(NotYet) as caught:
        exercise(answer)
    return str(caught.value)


# The engine


def doubled():
    """2 x sum(values) times a number; the second of its cases is the smallest."""
    return FunctionExercise(
        "doubled",
        cases=[(np.arange(3.0), 2.0), (np.array([0.4]), 2.0), (np.arange(4.0), 3.0)],
        solution=lambda values, factor: 2 * values.sum() * factor,
        mistakes=[
            (lambda values, factor: values.sum() * factor, "once.", "Twice."),
            (lambda values, factor: 2 * values.sum(), "no factor.", "Multiply."),
        ],
    )


def once(values, factor):
    return values.sum() * factor


def stub_pass(*arguments):
    pass


def stub_dots(*arguments):
    return ...


def stub_raises(*arguments):
    raise NotImplementedError


def test_a_right_answer_prints_one_line(capsys):
    doubled()(lambda values, factor: sum(values) * (factor + factor))
    assert capsys.readouterr().out == "right: doubled\n"


@pytest.mark.parametrize("stub", [stub_pass, stub_dots, stub_raises, None, ...])
def test_a_stub_passes_with_one_line(stub, capsys):
    doubled()(stub)
    Exercise("doubled", lambda answer: answer(1))(stub)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("open: write doubled, then run this cell again")


def test_the_fuller_hint_comes_with_the_second_try_of_the_same_mistake():
    exercise = doubled()
    no_factor = exercise.mistakes[1][0]
    assert hint_of(exercise, once) == "once."
    assert hint_of(exercise, no_factor) == "no factor."
    assert hint_of(exercise, lambda values, factor: 7.0).startswith("in the smallest wrong case")
    assert hint_of(exercise, once) == "once. Twice."
    assert hint_of(exercise, no_factor) == "no factor. Multiply."
    assert hint_of(exercise, once) == "once. Twice."


def test_a_notebook_shows_the_hint_without_a_traceback():
    assert NotYet("once.")._render_traceback_() == ["Not yet: once."]


def test_an_unknown_mistake_shows_both_values_of_the_smallest_wrong_case():
    exercise = doubled()

    def answer(values, factor):
        return 4 * values.sum() * factor

    hint = "in the smallest wrong case yours gives 3.2, right is 1.6."
    assert hint_of(exercise, answer) == hint
    fuller = hint_of(exercise, answer)
    assert fuller.startswith(hint) and "checks.doubled.cases[1]" in fuller
    hint = hint_of(exercise, lambda values, factor: 2 * values.sum() * min(factor, 2.5))
    assert hint == "in the smallest wrong case yours gives 30, right is 36."


def test_an_unknown_array_shows_the_first_entries_that_differ_and_the_shape():
    cases = [(np.arange(12.0).reshape(3, 4),)]
    exercise = FunctionExercise("same", cases, solution=lambda x: x, mistakes=[])
    hint = hint_of(exercise, lambda x: np.maximum(x, 7))
    assert "yours gives 7 7 7 7, right is 0 1 2 3 " in hint and "(3, 4)" in hint
    hint = hint_of(exercise, lambda x: np.minimum(x, 9))
    assert "yours gives 9 9, right is 10 11 " in hint


@pytest.mark.parametrize(
    "answer", [lambda values: 1.0, lambda values, factor, third: 1.0, lambda: 1.0, 3.2]
)
def test_a_wrong_signature_is_told_the_arguments(answer):
    exercise = doubled()
    assert "a function of (values, factor)" in hint_of(exercise, answer)
    assert "shapes" not in hint_of(exercise, answer)


@pytest.mark.parametrize(
    ("error", "about_shapes"),
    [(ValueError, True), (IndexError, True), (RuntimeError, True), (TypeError, False)],
)
def test_an_error_is_shown_with_its_type(error, about_shapes):
    exercise = doubled()

    def answer(values, factor):
        raise error("operands do not fit")

    assert hint_of(exercise, answer) == (
        f"your function stops with {error.__name__}: operands do not fit."
    )
    assert ("Print the shapes" in hint_of(exercise, answer)) == about_shapes


def test_two_errors_are_two_mistakes():
    exercise = doubled()
    first = hint_of(exercise, lambda values, factor: 1 / 0)
    second = hint_of(exercise, lambda values, factor: values[99])
    assert "ZeroDivisionError" in first and "IndexError" in second and "shapes" not in second


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda values, factor: np.nan, "NaN or infinite"),
        (lambda values, factor: -np.inf, "NaN or infinite"),
        (lambda values, factor: values, "the shape is (3,), it should be ()"),
        (lambda values, factor: [2 * values.sum() * factor], "the shape is (1,), it should be ()"),
        (lambda values, factor: "text", "cannot use your answer: ValueError"),
        (lambda values, factor: [[1], [2, 3]], "cannot use your answer: ValueError"),
    ],
)
def test_values_that_are_no_values(answer, words):
    exercise = doubled()
    first = hint_of(exercise, answer)
    assert words in first
    assert hint_of(exercise, answer).startswith(f"{first} ")


def test_an_answer_may_overwrite_its_arguments_and_is_called_once_per_case(capsys):
    exercise = doubled()
    calls = []

    def answer(values, factor):
        calls.append(factor)
        total = 2 * values.sum() * factor
        values[:] = 0
        return total

    exercise(answer)
    exercise(answer)
    assert capsys.readouterr().out == "right: doubled\n" * 2
    assert calls == [2.0, 2.0, 3.0] * 2
    assert exercise.cases[0][0].tolist() == [0, 1, 2]


# Exercises that are judged by a property

SCALE = np.array([1.0, 2.0])


def judge_gain(answer):
    """A design, (2,), that promises a gain (its sum) and gives none (its product with SCALE)."""
    design = np.asarray(answer(SCALE))
    if design.sum() <= 0:
        return "promise", f"it promises {design.sum():g}.", "Its sum should be positive."
    if design @ SCALE > 0:
        return "gain", f"it gives {design @ SCALE:g}.", "Weigh the second number more."
    return f"It promises {design.sum():g}."


def test_a_property_is_judged_and_its_line_printed(capsys):
    exercise = Exercise("design", judge_gain, parameters=["scale"])
    exercise(lambda scale: [3.0, -2.0])
    assert capsys.readouterr().out == "right: design. It promises 1.\n"
    Exercise("design", lambda answer: None)([3.0, -2.0])
    assert capsys.readouterr().out == "right: design\n"


def test_a_key_counts_as_one_mistake_whatever_its_hint_says():
    exercise = Exercise("design", judge_gain, parameters=["scale"])
    assert hint_of(exercise, lambda scale: [-1, 0]) == "it promises -1."
    assert hint_of(exercise, lambda scale: [1, 1]) == "it gives 3."
    assert hint_of(exercise, lambda scale: [-2, 0]) == (
        "it promises -2. Its sum should be positive."
    )


def test_a_judged_function_is_guarded_as_well(capsys):
    exercise = Exercise("design", judge_gain, parameters=["scale"])
    assert "a function of (scale)" in hint_of(exercise, lambda: [3, -2])
    assert "ZeroDivisionError" in hint_of(exercise, lambda scale: 1 / 0)
    assert "cannot use your answer: ValueError" in hint_of(exercise, lambda scale: [1, 1, 1])

    def overwrites(scale):
        scale[:] = 0
        return [3.0, -2.0]

    exercise(overwrites)
    exercise(stub_dots)
    right, still_open = capsys.readouterr().out.splitlines()
    assert right.startswith("right") and still_open.startswith("open") and SCALE[0] == 1


# The lessons


def test_the_lessons_have_their_exercises():
    for lesson in LESSONS:
        module = importlib.import_module(f"lib.exercises.{lesson}")
        assert [name for name in RIGHT | JUDGED_RIGHT if hasattr(module, name)]
    assert RIGHT.keys() == WRONG.keys() and RIGHT.keys() <= COMPARED.keys()


@pytest.mark.parametrize("name", COMPARED)
def test_planted_mistakes_are_told_apart(name, capsys):
    """From the solution and from each other; the fuller hint comes after all others were seen."""
    exercise = COMPARED[name]
    before = copy.deepcopy(exercise.cases)
    exercise(exercise.solution)
    assert capsys.readouterr().out == f"right: {name}\n"
    for wrong, hint, _ in exercise.mistakes:
        assert hint_of(exercise, wrong) == hint
    for wrong, hint, fuller in exercise.mistakes:
        assert hint_of(exercise, wrong) == f"{hint} {fuller}"
    assert len(exercise.mistakes) >= 4
    for case, same in zip(exercise.cases, before):
        for argument, unchanged in zip(case, same):
            np.testing.assert_array_equal(argument, unchanged)


def test_an_unknown_mistake_of_a_lesson_shows_both_values():
    for name in RIGHT:
        answer = RIGHT[name]
        hint = hint_of(COMPARED[name], lambda *case, right=answer: 3.7 + np.asarray(right(*case)))
        assert re.search(r"yours gives -?\d.*, right is -?\d", hint)


# The lessons' exercises once more, from scipy and scikit-learn or number by number


def cosine(a, b):
    return a @ b / np.sqrt(a @ a * (b @ b))


def canonical_maps(X, Y, ridge=0.1):
    """Ridge CCA from the two eigenproblems: (W_x, rho, W_y); partners share a sign."""
    C = np.cov(X.T, Y.T, bias=True)
    d = X.shape[1]
    inside = [S + ridge * np.trace(S) / len(S) * np.eye(len(S)) for S in (C[:d, :d], C[d:, d:])]
    product = C[:d, d:] @ np.linalg.solve(inside[1], C[d:, :d])
    squares, W_x = linalg.eigh(product, inside[0])
    rho, W_x = np.sqrt(squares.clip(1e-15))[::-1], W_x[:, ::-1]
    return W_x, rho, np.linalg.solve(inside[1], C[d:, :d] @ W_x) / rho


def voted(X, Y, new_X, new_Y, ask=None, vote=np.var, noise=lambda r: r < 0.2):
    """Direction by direction."""
    W_x, _, W_y = canonical_maps(X, Y)
    ask_X, ask_Y = ask or (new_X, new_Y)
    votes = {True: 0.0, False: 0.0}
    for w_x, w_y in zip(W_x.T, W_y.T):
        r = stats.pearsonr(ask_X @ w_x, ask_Y @ w_y).statistic
        votes[bool(noise(r))] += vote(new_X @ w_x)
    return votes[True] / sum(votes.values())


def along_the_sphere(f, g, P, T, epsilon, e_t, size=None, across=True, scale=normalize):
    """Row by row, by the Jacobian of f / |f|."""
    rows = []
    for row, pull in zip(f, (P - T) @ scale(g) / epsilon):
        length = np.linalg.norm(row)
        jacobian = np.eye(len(row)) - across * np.outer(row, row) / length**2
        rows.append(jacobian @ pull / (size or length))
    return np.array(rows)


def entropy_of(P):
    return special.entr(P).sum()


def as_it_is(rows):
    return rows


def where_believing_stops_to_pay(var_x, var_y, weighs=lambda w: w):
    """The distance at which the squared error with Y reaches that of X alone, by bisection."""
    w = var_x / (var_x + var_y)
    both = 1 / (1 / var_x + 1 / var_y)
    return optimize.brentq(lambda d: both + (weighs(w) * d) ** 2 - var_x, 0, 99)


def recall_curve(X, Y, sizes, held=slice(-100, None), fit=None):
    """Recall@10 of 100 rows that are held back, by the pairs of the fit."""
    found = []
    for n in sizes:
        f, g = weighted_cca(X[: fit or n], Y[: fit or n], 1, 2)
        rows = slice(held(n), None) if callable(held) else held
        similar = normalize(f(X[rows])) @ normalize(g(Y[rows])).T
        own = similar.diagonal()
        found.append(((similar > own[:, None]).sum(1) < 10).mean() / 2)
        found[-1] += ((similar > own).sum(0) < 10).mean() / 2
    return found


RIGHT = {
    "learning_curve": recall_curve,
    "harmless_distance": where_believing_stops_to_pay,
    "noise_vote": voted,
    "gradient_of_f": along_the_sphere,
    "slope_in_epsilon": lambda K, P, T, e: np.vdot(T - P, K / e**2),
    "pick": lambda maps, a, b: max(range(len(maps)), key=lambda k: a @ maps[k] @ b),
}

WRONG = {  # exercise -> a word of the hint -> the mistake
    "learning_curve": {
        "of the fit": lambda X, Y, sizes: [
            recall_curve(X[:n], Y[:n], [n], slice(None))[0] for n in sizes
        ],
        "another question": lambda *case: recall_curve(*case, held=lambda n: n),
        "first 100": lambda *case: recall_curve(*case, held=slice(100)),
        "all pairs": lambda X, Y, sizes: recall_curve(X, Y, sizes, fit=len(X)),
    },
    "harmless_distance": {
        "square of": lambda x, y: where_believing_stops_to_pay(x, y) ** 2,
        "X's standard": lambda x, y: x**0.5,
        "weight is missing": lambda *case: where_believing_stops_to_pay(*case, lambda w: 1),
        "estimate from both": lambda x, y: (1 / x + 1 / y) ** -0.5,
        "do not add": lambda x, y: x**0.5 + y**0.5,
        "1 - w": lambda *case: where_believing_stops_to_pay(*case, lambda w: 1 - w),
    },
    "noise_vote": {
        "asked the pairs": lambda X, Y, x, y: voted(X, Y, x, y, ask=(X, Y)),
        "fitted on the new": lambda X, Y, x, y: voted(x, y, x, y),
        "counted": lambda *case: voted(*case, vote=lambda a: 1),
        "standard deviations": lambda *case: voted(*case, vote=np.std),
        "of the others": lambda *case: 1 - voted(*case),
        "without its sign": lambda *case: voted(*case, noise=lambda r: abs(r) < 0.2),
        "numbers of Y": lambda X, Y, x, y: voted(Y, X, y, x),
        "percent": lambda *case: 100 * voted(*case),
    },
    "gradient_of_f": {
        "convicts": lambda f, g, P, T, e, e_t: along_the_sphere(f, g, P, T, e_t, e),
        "descent": lambda f, g, P, T, e, e_t: along_the_sphere(f, g, T, P, e, e_t),
        "length were free": lambda f, g, P, T, e, e_t: (P - T) / e @ normalize(g),
        "f may be longer": lambda *case: along_the_sphere(*case, size=1),
        "a part along f": lambda *case: along_the_sphere(*case, across=False),
        "g has to be": lambda *case: along_the_sphere(*case, scale=as_it_is),
        "epsilon is missing": lambda f, g, P, T, e, e_t: along_the_sphere(f, g, P, T, 1, 1),
        "where is the teacher": lambda f, g, P, *rest: along_the_sphere(f, g, P, 0, *rest[1:]),
    },
    "slope_in_epsilon": {
        "sign": lambda K, P, T, e: np.vdot(P - T, K) / e**2,
        "not by its square": lambda K, P, T, e: np.vdot(T - P, K) / e,
        "epsilon is missing": lambda K, P, T, e: np.vdot(T - P, K),
        "mean over rows": lambda K, P, T, e: ((T - P) * K).sum(1).mean() / e**2,
        "held W fixed": lambda K, P, T, e: (np.vdot(T - P, K) - e * entropy_of(P)) / e**2,
        "student's plan": lambda K, P, T, e: np.vdot(T, K) / e**2,
    },
    "pick": {
        "the wrong way": lambda maps, a, b: np.argmin(((a - b @ maps) ** 2).sum(1)),
        "fits worst": lambda maps, a, b: np.argmin(a @ maps @ b),
        "cancel": lambda maps, a, b: np.argmin((a @ maps).sum(1) - b.sum()),
        "count from 1": lambda maps, a, b: 1 + np.argmax(a @ maps @ b),
    },
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes_however_it_is_written(name, capsys):
    COMPARED[name](RIGHT[name])
    assert capsys.readouterr().out == f"right: {name}\n"


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_known_however_it_is_written(name):
    exercise = COMPARED[name]
    hints = [hint for _, hint, _ in exercise.mistakes]
    met = []
    for word, answer in WRONG[name].items():
        hint = hint_of(exercise, answer)
        assert word in hint
        met.append(hint)
    assert sorted(met) == sorted(hints)


# Exercises with more than one right answer


def best_axis(I_x, v, score=lambda variance: variance):
    """The axis of one Y of noise 1, in degrees, by Sherman and Morrison's formula."""
    C = np.linalg.inv(I_x)

    def variance(degrees):
        u = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        return v @ C @ v - (v @ C @ u) ** 2 / (1 + u @ C @ u)

    return min(np.arange(0, 180, 0.25), key=lambda degrees: score(variance(degrees)))


def column(*entries):
    return np.array(entries, float)[:, None]


def turned_at_random(X, Y, rng):
    return Y @ stats.ortho_group.rvs(Y.shape[1], random_state=rng)


def noise_like(Z, rng, k=None):
    """Gaussian noise with the spectrum of Z, along random axes; its k loudest only."""
    axes = stats.ortho_group.rvs(Z.shape[1], random_state=rng)[:k]
    spread = PCA().fit(Z).singular_values_[:k] / len(Z) ** 0.5
    return rng.standard_normal((len(Z), len(axes))) * spread @ axes


def six_of(Y, k=6, louder=1.6):
    model = PCA(k).fit(Y)
    return model.inverse_transform(model.transform(Y)) * louder**0.5


def along_random_axes(Y):
    axes = stats.ortho_group.rvs(Y.shape[1], random_state=0)[:6]
    kept = Y @ axes.T @ axes
    return kept * Y.std() / kept.std()


def report(**said):
    right = dict(a="neither", b="optimisation", c="information", d="information", e="neither")
    return lambda: right | said


def touching(error, price):
    """Where a height line touches the line of all that can be bought."""
    most = 20 + 1000 / price
    found = optimize.minimize_scalar(
        lambda n: error(n, 1000 + (20 - n) * price), bounds=(0.01, most), method="bounded"
    )
    return basket(found.x, price)


def basket(images, price):
    return images, 1000 + (20 - images) * price


def best_of(n):
    return lambda error, price: min(
        (basket(k, price) for k in np.linspace(0.5, 20 + 1000 / price, n)), key=lambda b: error(*b)
    )


def quotient(runs, n_images, n_words):
    mean = runs.mean(axis=-2)
    of_image, of_word = mean[..., 0] - mean[..., 1], mean[..., 2] - mean[..., 3]
    return of_image / n_images / (of_word / n_words)


def redrawn(low=2.5, high=97.5, apart=False):
    """The price and percentiles of it over draws drawn again; settings `apart` or together."""

    def read(runs, n_images, n_words):
        shape = (1000, len(runs), 4 if apart else 1)
        rows = np.random.default_rng(7).integers(len(runs), size=shape)
        prices = quotient(runs[rows, np.arange(4)], n_images, n_words)
        return [quotient(runs, n_images, n_words), *np.percentile(prices, [low, high])]

    return read


def by_jackknife(runs, n_images, n_words):
    price, n = quotient(runs, n_images, n_words), len(runs)
    left = [quotient(np.delete(runs, k, axis=0), n_images, n_words) for k in range(n)]
    half = stats.t.ppf(0.975, n - 1) * np.sqrt(n - 1) * np.std(left)
    return price, price - half, price + half


def mean_quotient(runs, n_images, n_words):
    prices = quotient(runs[:, None], n_images, n_words)
    half = 2.07 * stats.sem(prices)
    return prices.mean(), prices.mean() - half, prices.mean() + half


def changed(change):
    """The right price and interval, changed."""
    return lambda runs, *steps: change(np.array(redrawn()(runs, *steps)))


def one_row_times(size):
    return lambda A: np.concatenate([size * A[:1], A[1:]])


def shaken(size):
    return lambda A: A + size * np.random.default_rng(4).standard_normal(A.shape)


def within_groups(A):
    """Each row in the place of another of its group; groups are 50 rows long."""
    shuffle = np.random.default_rng(4)
    return np.concatenate([shuffle.permutation(A[k : k + 50]) for k in range(0, len(A), 50)])


def by_scaling(K, epsilon, stock, sweeps=3000, rows=1.0):
    """Without logarithms, but with the greatest of each row taken out; columns come first."""
    P = np.exp((K - K.max(axis=1, keepdims=True)) / epsilon)
    for _ in range(sweeps):
        P = P * stock / P.sum(0)
        P = rows * P / P.sum(1, keepdims=True)
    return P


def by_descent(K, epsilon, stock):
    """The columns' potentials minimise a convex function, whose gradient is what they lack."""

    def plan(v):
        return special.softmax(K / epsilon + v, axis=1)

    def dual(v):
        return special.logsumexp(K / epsilon + v, axis=1).sum() - stock @ v

    return plan(optimize.minimize(dual, np.log(stock), jac=lambda v: plan(v).sum(0) - stock).x)


def in_plain_numbers(K, epsilon, stock):
    with np.errstate(all="ignore"):
        kernel, b = np.exp(K / epsilon), np.ones_like(stock)
        for _ in range(1000):
            a = 1 / (kernel @ b)
            b = stock / (kernel.T @ a)
        return a[:, None] * kernel * b


def renamed(shape, colour):
    """Names of the classes 8 shape + colour, from two functions of (own, other)."""
    return np.array([8 * shape(s, c) + colour(c, s) for s in range(6) for c in range(8)])


def grid_share(means, centre=True, rows=True, columns=True):
    """The share of the variance on the grid, by dummies and least squares."""
    r, c, d = means.shape
    design = np.hstack([np.kron(np.eye(r), np.ones((c, 1))) * rows,
                        np.tile(np.eye(c), (r, 1)) * columns])  # fmt: skip
    values = means.reshape(r * c, d) - centre * means.mean((0, 1))
    return (LinearRegression().fit(design, values).predict(design) ** 2).sum() / (values**2).sum()


def parallel_sides(means):
    """The mean cosine between the sides that should be parallel."""
    sides = normalize((means[:, 1:] - means[:, :-1]).reshape(-1, means.shape[2]))
    sides = sides.reshape(len(means), -1, means.shape[2])
    pairs = [a * b for k, a in enumerate(sides) for b in sides[k + 1 :]]
    return np.sum(pairs, axis=-1).mean()


def control_named(**said):
    right = dict(a="plain probe", b="labels permuted", c="more draws", d="captions only start")
    return lambda: right | dict(e="nothing") | said


def powered(left, right=None):
    """A teacher of one power on all data, or of another power on the right side."""

    def teacher(X, Y):
        W_x, rho, W_y = canonical_maps(X, Y)
        return W_x * rho**left, W_y * rho ** (left if right is None else right)

    return teacher


def held_back(n_parts, powers=(0, 1, 2, 4, 8), part=slice(None)):
    """The power that finds most partners in each of n_parts of the pairs, fitted on the rest."""

    def n_found(teacher, X, Y):
        found = 0
        for rows in np.array_split(np.arange(len(X)), n_parts):
            others = np.setdiff1d(np.arange(len(X)), rows)
            W_x, W_y = teacher(X[others], Y[others])
            distance = cdist(X[rows] @ W_x, Y[rows] @ W_y, "cosine")
            found += (distance.argmin(0) == np.arange(len(rows))).sum()
            found += (distance.argmin(1) == np.arange(len(rows))).sum()
        return found

    def teacher(X, Y):
        X, Y = X[part], Y[part]
        best = max(powers, key=lambda power: n_found(powered(power), X, Y))
        return powered(best)(X, Y)

    return teacher


def found_among_the_fitted(X, Y):
    def n_found(power):
        W_x, W_y = powered(power)(X, Y)
        return (cdist(X @ W_x, Y @ W_y, "cosine").argmin(1) == np.arange(len(X))).sum()

    return powered(max((0, 1, 2, 4, 8), key=n_found))(X, Y)


def world_with(private, shared=1.0, n_shared=8, n_private=6):
    def world(rng, n):
        both = shared * rng.standard_normal((n, n_shared))
        return [np.hstack([both, private * rng.standard_normal((n, n_private))]) for _ in range(2)]

    return world


def turned_and_loud(rng, n):
    turns = stats.ortho_group.rvs(14, size=2, random_state=rng)
    return [z @ turn for z, turn in zip(world_with(3.0)(rng, n), turns)]


def exchanged(names, i, j):
    names = np.array(names)
    names[[i, j]] = names[[j, i]]
    return names


def fit_of(counts, P_y, names):
    return np.sum(counts * np.log(P_y)[names][:, names])


def every_name(counts, P_y, best=max):
    orders = [list(order) for order in itertools.permutations(range(len(P_y)))]
    return best(orders, key=lambda names: fit_of(counts, P_y, names))


def climbed(counts, P_y, n_starts=150):
    """The best of several climbs, each by the best exchange of two names."""
    tops = []
    for seed in range(n_starts):
        names, fit = np.random.default_rng(seed).permutation(len(P_y)), -np.inf
        while fit_of(counts, P_y, names) > fit:
            fit = fit_of(counts, P_y, names)
            near = [exchanged(names, *pair) for pair in itertools.combinations(range(8), 2)]
            names = max([names, *near], key=lambda near: fit_of(counts, P_y, near))
        tops.append((fit, tuple(names)))
    return max(tops)[1]


def with_names(P, E, names):
    return P[np.ix_(names, names)], E


def placed(**said):
    right = dict(a=("same", "tied", "gain"), b=("same", "free", "nothing"))
    return lambda: right | dict(c=("other", "tied", "loss")) | said


def mapped(teacher, x, y):
    """Rows of both sides in the teacher's space, of length 1."""
    return normalize(teacher[0](x)), normalize(teacher[1](y))


def means(u, v):
    return u.mean(0), v.mean(0)


def energy(u, v):
    """Szekely's energy distance of two clouds."""
    return 2 * cdist(u, v).mean() - cdist(u, u).mean() - cdist(v, v).mean()


def toy_pools(lonely, gap=1.0, away=(9.0, 0.0), n=4):
    """n captions in a row, each with its picture close by, and lonely pictures in one place."""
    y = gap * np.c_[np.arange(n), np.zeros(n)]
    x = np.vstack([y + 0.02, np.tile(away, (lonely, 1))])
    return x, y, np.r_[np.arange(n), np.full(lonely, -1)]


CORNERS = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))


def near(places, n, rng):
    """n points close to places (k, 3), in equal shares."""
    return places[rng.integers(len(places), size=n)] + 0.1 * rng.standard_normal((n, 3))


JUDGED_RIGHT = {
    "folds": [
        lambda picture: np.unique(picture, return_inverse=True)[1] % 5,
        lambda picture: [sorted(set(picture)).index(one) % 5 for one in picture],
    ],
    "best_angle": [best_axis, lambda *case: best_axis(*case) - 180],
    "look_of_y": [
        lambda: (np.array([[0.0, 2.0], [1.0, 0.0]]), column(1, 0)),
        lambda: ([[3, 0], [0, 1], [0, 1]], [[0, 0], [1, 0], [0, 1]]),
    ],
    "control": [
        turned_at_random,
        lambda X, Y, rng: noise_like(Y, rng),
        lambda X, Y, rng: rng.permutation(turned_at_random(X, Y, rng)),
        lambda X, Y, rng: (
            rng.standard_normal((len(Y), 15)) @ rng.standard_normal((15, 50))
            + 0.3 * rng.standard_normal(Y.shape)
        ),
    ],
    "narrow": [
        six_of,
        along_random_axes,
        lambda Y: noise_like(Y, np.random.default_rng(3), 6) * 1.25,
    ],
    "what_it_shows": [report()],
    "spend": [touching, best_of(500)],
    "read_price": [redrawn(), by_jackknife],
    "kind_of_price": [
        lambda image, word: (
            "none" if image[0] <= 0 or word[1] <= 0 else "price" if word[0] > 0 else "at least"
        ),
        lambda image, word: ["none", "at least", "price"][
            (min(image) > 0 < max(word)) + (min(*image, *word) > 0)
        ],
    ],
    "fool_cka": [
        one_row_times(1000),
        lambda A: A * np.random.default_rng(4).exponential(size=(len(A), 1)) ** 6,
    ],
    "fool_neighbours": [shaken(0.4), within_groups],
    "stock_plan": [by_scaling, by_descent],
    "unmatchable": [
        lambda n, rng: near(3 * CORNERS, n, rng),
        lambda n, rng: near(np.vstack([np.eye(3), -np.eye(3)]), n, rng),
    ],
    "levels": [
        stats.kurtosis,
        lambda scores: 0.8 - np.mean(np.abs(scores - scores.mean())) / scores.std(),
    ],
    "fooling_law": [
        lambda n, rng: ((rng.random(n) < 0.18) - 0.18) / (0.18 * 0.82) ** 0.5,
        lambda n, rng: rng.choice([-2.0, 0, 2.0], n, p=[1 / 8, 3 / 4, 1 / 8]),
    ],
    "mismatch": [
        lambda teacher, x, y: energy(*mapped(teacher, x, y)),
        lambda teacher, x, y: ot.sliced_wasserstein_distance(*mapped(teacher, x, y), seed=0),
    ],
    "pools": [
        lambda: toy_pools(10, away=(0.0, 9.0)),
        lambda: [part.tolist() for part in toy_pools(20, n=3)],
    ],
    "new_names": [
        lambda: renamed(lambda s, c: s, lambda c, s: (c + 3) % 8),
        lambda: list(range(40, 48)) + list(range(40)),
        lambda: np.arange(48)[::-1],
        lambda: renamed(lambda s, c: 5 - s, lambda c, s: c ^ 1),
    ],
    "closing": [grid_share, parallel_sides, lambda means: 1 - (1 - grid_share(means)) ** 2],
    "missing_control": [control_named()],
    "weighted_teacher": [held_back(5), held_back(2), held_back(10, (0, 0.5, 1, 2, 3, 5, 8, 12))],
    "loud_world": [world_with(10.0), turned_and_loud, world_with(30.0, n_private=1)],
    "find_names": [climbed, every_name],
    "bad_Y": [
        lambda P, E: with_names(P, E, [1, 0, 2, 3]),
        lambda P, E: [P.tolist(), E[[0, 2, 1, 3]].tolist()],
        lambda P, E: (P, 1.01 * exchanged(E, 2, 3)),
    ],
    "place": [placed(), placed(a=["same", "tied", "gain"])],
}

JUDGED_WRONG = {  # exercise -> a word of the hint -> the mistake
    "folds": {
        "more than one": lambda picture: np.arange(len(picture)) % 5,
        "should be 0 to 4": lambda picture: picture,
        "the shape is": lambda picture: np.arange(5),
        "folds have": lambda picture: 4 * (picture > np.median(picture)),
    },
    "find_names": {
        "are no names": lambda counts, P_y: P_y.argmax(1) * 0,
        "left all names": lambda counts, P_y: range(8),
        "other way round": lambda *case: np.argsort(every_name(*case)),
        "worse": lambda *case: every_name(*case, best=min),
        "better fit": lambda *case: climbed(*case, n_starts=1),
    },
    "bad_Y": {
        "two things": lambda P, E: P,
        "the shapes": lambda P, E: (E, P),
        "another law": lambda P, E: (P[::-1], E),
        "looks like no state": lambda P, E: (P, E + 9),
        "the same state": lambda P, E: (P, E[[0, 0, 1, 2]]),
        "X itself": lambda P, E: (P, E),
        "renamed alike": lambda P, E: with_names(P, E[[1, 0, 2, 3]], [1, 0, 2, 3]),
        "looks the same": lambda P, E: with_names(P, E, [1, 2, 3, 0]),
    },
    "place": {
        "keys a, b": lambda: {},
        "three words": placed(b=("same", "free", "profit")),
        "one disease": placed(a=("other", "tied", "loss")),
        "both hospitals": placed(a=("same", "free", "nothing")),
        "same things": placed(b=("other", "free", "nothing")),
        "its own way in": placed(b=("same", "tied", "gain")),
        "as temperatures": placed(c=("same", "tied", "gain")),
        "both kinds": placed(c=("other", "free", "nothing")),
        "What does the map say": placed(b=("same", "free", "gain")),
    },
    "fool_cka": {
        "the shape": lambda A: A[1:],
        "NaN": lambda A: A * np.inf,
        "A itself": lambda A: A,
        "all rows are equal": np.ones_like,
        "neighbours that you fooled": shaken(0.4),
        "CKA is still": lambda A: 2 * A,
        "and the neighbours with it": lambda A: np.random.default_rng(4).permutation(A),
    },
    "fool_neighbours": {
        "the shape": lambda A: A.T,
        "CKA that you fooled": one_row_times(1000),
        "still those of A": shaken(0.05),
        "and CKA with them": shaken(5),
    },
    "stock_plan": {
        "the shape": lambda K, e, stock: by_scaling(K, e, stock).T,
        "NaN": lambda K, e, stock: by_scaling(K, e, stock) + np.inf,
        "the logarithm": lambda K, e, stock: np.log(by_scaling(K, e, stock)),
        "whole plan": lambda K, e, stock: by_scaling(K, e, stock) / len(K),
        "where is the stock": lambda K, e, stock: by_scaling(K, e, np.full(len(stock), 1.5)),
        "rows are right; columns": lambda K, e, stock: special.softmax(K / e, axis=1),
        "rows sum to": lambda K, e, stock: by_scaling(K, e, stock, 1) * stock / stock.mean(),
        "its sums are right": lambda K, e, stock: np.ones_like(K) * stock / len(K),
        "a cold table": in_plain_numbers,
    },
    "new_names": {
        "accepted: 48": lambda: np.arange(6),
        "used twice": lambda: np.zeros(48, dtype=int),
        "keep their own": lambda: renamed(lambda s, c: s, lambda c, s: c ^ 1 if c < 4 else c),
        "red becomes": lambda: renamed(lambda s, c: s, lambda c, s: (c + 1 + s) % 8),
        "circles become": lambda: renamed(lambda s, c: (s + 1 + c % 5) % 6, lambda c, s: c),
        "tears the grid": lambda: np.r_[16:48:2, 17:48:2, 0:16],
    },
    "closing": {
        "one number": lambda means: means.mean((0, 1)),
        "NaN": lambda means: np.nan,
        "by the same vector": lambda means: grid_share(means, centre=False),
        "five times as loud": lambda means: (means - means.mean((0, 1))).var() - 2,
        "and should be 1": lambda means: grid_share(means, rows=False),
        "where they do not": lambda means: 1 - grid_share(means),
        "as the classes leave": lambda means: 1.0,
    },
    "missing_control": {
        "keys a, b, c": lambda: {"a": "nothing"},
        "accepted": control_named(c="seeds"),
        "squeezes": control_named(a="nothing"),
        "any second task": control_named(b="plain probe"),
        "how many permutations": control_named(c="nothing"),
        "the same head": control_named(d="more draws"),
        "What more": control_named(e="more draws"),
    },
    "weighted_teacher": {
        "two matrices": lambda X, Y: canonical_maps(X, Y),
        "finite numbers": lambda X, Y: (np.full((24, 24), np.nan), np.eye(24)),
        "full vote": powered(0),
        "W_y power 0": powered(4, 0),
        "take power 8": powered(8),
        "with 40 pairs you chose": found_among_the_fitted,
        "not those of power": held_back(5, part=slice(0, None, 2)),
    },
    "loud_world": {
        "two tables": lambda rng, n: world_with(10.0)(rng, n)[0],
        "NaN": world_with(np.inf),
        "two columns": lambda rng, n: np.ones((2, n, 3)),
        "nobody finds": world_with(10.0, shared=0.0),
        "too easy": world_with(0.01),
        "whitening loses": world_with(0.2, 0.8 ** np.arange(12), 12, 12),
        "apart": world_with(1.0, n_private=16),
    },
    "best_angle": {
        "in radians": lambda *case: np.deg2rad(best_axis(*case)),
        "direction v itself": lambda I_x, v: np.rad2deg(np.arctan2(v[1], v[0])),
        "knows least": lambda I_x, v: np.rad2deg(np.arctan2(*np.linalg.eigh(I_x)[1][::-1, 0])),
        "lowers the variance least": lambda *case: best_axis(*case, score=lambda v: -v),
        "at the best one": lambda *case: best_axis(*case) + 20,
    },
    "look_of_y": {
        "shapes are": lambda: (np.ones((3, 2)), np.ones((2, 1))),
        "by its block": lambda: (np.array([[0, 0.01], [1, 0]]), column(1, 0)),
        "a part of its promise": lambda: (np.array([[0, 2.0], [1, 0]]), column(1, 0.5)),
        "not even by 1 %": lambda: (np.array([[0, 2.0], [0, 0]]), column(1, 0)),
    },
    "control": {
        "the shape": lambda X, Y, rng: turned_at_random(X, Y, rng)[:-1],
        "knows X's directions": lambda X, Y, rng: X * (Y.std() / X.std()),
        "a new order of the rows": lambda X, Y, rng: rng.permutation(Y),
        "times that of Y": lambda X, Y, rng: turned_at_random(X, Y, rng) / 4,
        "in 50 directions": lambda X, Y, rng: Y.std() * rng.standard_normal(Y.shape),
    },
    "narrow": {
        "the shape": lambda Y: PCA(6).fit_transform(Y),
        "loud in 15": lambda Y: Y * 6 / 15,
        "loud in 5": lambda Y: six_of(Y, 5, 3),
        "times that of Y": lambda Y: six_of(Y, louder=1),
    },
    "what_it_shows": {
        "keys a, b, c": lambda: {"a": "neither"},
        "accepted": report(c="knowledge"),
        "could the curve cross": report(a="optimisation"),
        "rotated Y knows nothing": report(b="information"),
        "stays for ever": report(c="optimisation"),
        "nothing was trained": report(d="neither"),
        "go away with more updates": report(e="optimisation"),
    },
    "unmatchable": {
        "the shape": lambda n, rng: rng.choice([-1.0, 1.0], (n, 2)),
        "NaN": lambda n, rng: np.full((n, 3), np.nan),
        "flat": lambda n, rng: near(CORNERS * [1, 1, 0], n, rng) * [1, 1, 0],
        "no clusters": lambda n, rng: rng.standard_normal((n, 3)),
        "it is matched": lambda n, rng: near(CORNERS[:5] * [1, 2, 3], n, rng),
    },
    "levels": {
        "it should be one number": lambda scores: (scores - scores.mean()) / scores.std(),
        "NaN": lambda scores: np.nan,
        "shifted or multiplied": lambda scores: (scores**4).mean() - 3,
        "heavy tails": lambda scores: -stats.kurtosis(scores),
        "near zero": lambda scores: stats.kurtosis(scores, fisher=False),
    },
    "fooling_law": {
        "the shape": lambda n, rng: 1.0,
        "NaN": lambda n, rng: np.full(n, np.nan),
        "variance 1": lambda n, rng: 3 * rng.choice([-1, 1], n),
        "finds the levels": lambda n, rng: rng.choice([-1, 1], n),
        "not clean": lambda n, rng: rng.laplace(0, 0.5**0.5, n),
    },
    "mismatch": {
        "one number": lambda teacher, x, y: np.subtract(*means(*mapped(teacher, x, y))),
        "NaN": lambda teacher, x, y: np.nan,
        "another order": lambda teacher, x, y: np.multiply(*mapped(teacher, x, y)).mean(),
        "does not read": lambda teacher, x, y: energy(x, y),
        "moved together": lambda teacher, x, y: sum(
            np.linalg.norm(mean) for mean in means(*mapped(teacher, x, y))
        ),
        "where one side has other shares": lambda teacher, x, y: cdist(
            *mapped(teacher, x, y)
        ).mean(),
        "lacks half": lambda teacher, x, y: np.linalg.norm(
            np.subtract(*means(*mapped(teacher, x, y)))
        ),
    },
    "pools": {
        "shapes": lambda: toy_pools(40),
        "0 are lonely": lambda: toy_pools(0),
        "of the partners": lambda: toy_pools(10, gap=0.01),
        "lonely pictures keep": lambda: toy_pools(10, away=(3.7, 0.0)),
        "wrong first choice": lambda: toy_pools(1),
    },
    "spend": {
        "the shape": lambda error, price: 20,
        "few images: 1.0": lambda error, price: basket(1, price),
        "images and -": lambda error, price: basket(30 + 1000 / price, price),
        "you own": lambda error, price: (40, 2000),
        "unspent": lambda error, price: (15, 1000),
        "keep what": lambda error, price: (20, 1000),
        "sell all words": lambda error, price: (20 + 1000 / price, 0),
        "too many images": lambda error, price: basket(
            touching(error, price)[0] + (price == 400), price
        ),
    },
    "read_price": {
        "your answer is": lambda *case: redrawn()(*case)[:2],
        "images per word": changed(lambda z: (1 / z)[[0, 2, 1]]),
        "are not slopes": lambda runs, *steps: redrawn()(runs, 1, 1),
        "multiply by": lambda runs, n, m: redrawn()(runs, 1 / n, 1 / m),
        "sign": changed(lambda z: (-z)[[0, 2, 1]]),
        "average quotients": mean_quotient,
        "not the first": changed(lambda z: z[::-1]),
        "we have": changed(lambda z: 1.5 * z),
        "not in your interval": changed(lambda z: z[[0, 2, 1]]),
        "as wide as": redrawn(apart=True),
        "more than you said": redrawn(0, 100),
        "95 % interval holds": redrawn(5, 95),
    },
    "kind_of_price": {
        "you say 'yes'": lambda image, word: "yes",
        "both help for sure": lambda image, word: "none",
        "may bring nothing": lambda image, word: "price",
        "the word harms": lambda image, word: "price" if word[0] > 0 else "at least",
        "image is not shown": lambda image, word: (
            "none" if word[1] <= 0 else "price" if word[0] > 0 else "at least"
        ),
        "neither is shown": lambda image, word: (
            "none"
            if word[1] <= 0 or word[0] > 0 >= image[0]
            else "price"
            if word[0] > 0
            else "at least"
        ),
        "both harm": lambda image, word: (
            "price"
            if np.sign(image).sum() * np.sign(word).sum() == 4
            else "none"
            if image[0] <= 0 or word[1] <= 0
            else "at least"
        ),
    },
}


@pytest.mark.parametrize("name", JUDGED_RIGHT)
def test_every_right_answer_of_a_judged_exercise_passes(name, capsys):
    for answer in JUDGED_RIGHT[name]:
        EXERCISES[name](answer)
        assert capsys.readouterr().out.startswith(f"right: {name}")


@pytest.mark.parametrize("name", JUDGED_WRONG)
def test_each_mistake_of_a_judged_exercise_has_its_own_hint(name):
    met = []
    for word, answer in JUDGED_WRONG[name].items():
        hint = hint_of(EXERCISES[name], answer)
        assert word in hint
        met.append(hint)
    assert len(set(met)) == len(met)


def test_every_exercise_has_its_tests():
    assert RIGHT.keys() | JUDGED_RIGHT.keys() == EXERCISES.keys()
    assert JUDGED_RIGHT.keys() == JUDGED_WRONG.keys()
