"""A right answer passes however it is written; every usual mistake gets its own hint."""

import copy
import importlib
import itertools
import pkgutil
import re

import numpy as np
import pytest
from scipy import optimize, special, stats
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler, normalize

from lib import exercises
from lib.exercises import Exercise, FunctionExercise, NotYet
from lib.teachers import weighted_cca

LESSONS = ["fisher_information", "encoders", "trunk", "few_shots", "prices"]
LESSONS += ["linear_teachers", "transport", "sotalign"]


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


def without_row_means(X):
    return (X.T - X.mean(1)).T


def looped(A, B, score=stats.pearsonr):
    """Unit by unit."""
    return [np.atleast_1d(score(a, b))[0] for a, b in zip(A.T, B.T)]


def cosine(a, b):
    return a @ b / np.sqrt(a @ a * (b @ b))


def covariance(a, b):
    return np.cov(a, b, ddof=0)[0, 1]


def text_head(x, y, n_classes, after=normalize):
    return after(np.eye(n_classes)[y].T @ x / np.bincount(y, minlength=n_classes)[:, None])


def margin(W, r, y, length=np.linalg.norm, itself=False):
    margins = []
    for x, c in zip(r, y):
        apart = [W[c] - W[j] for j in range(len(W)) if j != c]
        margins.append(min([w @ x / length(w) for w in apart] + [0] * itself))
    return np.array(margins)


def margin_to_strongest(W, r, y):
    margins = []
    for x, c in zip(r, y):
        j = max((j for j in range(len(W)) if j != c), key=lambda j: W[j] @ x)
        margins.append((W[c] - W[j]) @ x / np.linalg.norm(W[c] - W[j]))
    return margins


def plane_price(a, s, w, **options):
    """By scikit-learn, over all points one by one."""
    points = np.array([(x, y) for x in s for y in w])
    b, c = LinearRegression(**options).fit(points, np.concatenate(list(a))).coef_
    return b / c


def between(a, s, w, i, j, first=-1, last=1):
    ends = [first, last]
    of_image = np.diff(a[np.add(i, ends), j]) / np.diff(s[np.add(i, ends)])
    of_word = np.diff(a[i, np.add(j, ends)]) / np.diff(w[np.add(j, ends)])
    return (of_image / of_word).item()


def resampled(a, rate, rows):
    return np.apply_along_axis(rate, 1, a[rows].mean(axis=1))


def normal_interval(rates, n=1):
    return rates.mean() + 1.96 * rates.std() / n**0.5 * np.array([-1, 1])


centre = StandardScaler(with_std=False).fit_transform


def bridge(X, Y, d, prepare=centre, keep=slice(None)):
    """From the two eigenproblems; partners share a sign."""
    C = prepare(X).T @ prepare(Y)
    W_x = np.linalg.eigh(C @ C.T)[1][:, ::-1][:, keep][:, :d]
    W_y = np.linalg.eigh(C.T @ C)[1][:, ::-1][:, keep][:, :d]
    return W_x * np.sign(np.sum(W_x * (C @ W_y), axis=0)) @ W_y.T


def least_bridge(X, Y, d):
    n = min(X.shape[1], Y.shape[1])
    return bridge(X, Y, d, keep=slice(n - d, n))


def stretched(X, Y, d):
    """The cross-covariance of the pairs itself, cut to rank d."""
    C = cross(X, Y) * len(X)
    axes = PCA(d).fit(np.vstack([C, -C])).components_
    return C @ axes.T @ axes


def mismatched(X, Y, d):
    U, _, Vt = np.linalg.svd(centre(X).T @ Y, full_matrices=False)
    return U[:, :d] @ Vt[:, :d].T


def cross(X, Y):
    return np.cov(X.T, Y.T, bias=True)[: X.shape[1], X.shape[1] :]


def with_ridge(Z, ridge):
    return np.cov(Z.T, bias=True) + ridge * np.var(Z, axis=0).mean() * np.eye(Z.shape[1])


def canonical(X, Y, ridge, regularise=with_ridge, cross=cross, power=0.5):
    """From the eigenvalues of the product of both regressions."""
    C = cross(X, Y)
    product = np.linalg.inv(regularise(X, ridge)) @ C @ np.linalg.inv(regularise(Y, ridge)) @ C.T
    values = np.linalg.eigvals(product).real.clip(0) ** power
    return np.sort(values)[::-1][: min(C.shape)]


def second_moment(Z, ridge):
    M = Z.T @ Z / len(Z)
    return M + ridge * M.diagonal().mean() * np.eye(len(M))


def uncentred(X, Y, ridge):
    return canonical(X, Y, ridge, second_moment, lambda X, Y: X.T @ Y / len(X))


def symmetric_root(M):
    values, vectors = np.linalg.eigh(M)
    return vectors * np.sqrt(values) @ vectors.T


def canonical_whitened_twice(X, Y, ridge):
    left = np.linalg.inv(with_ridge(X, ridge))
    right = np.linalg.inv(with_ridge(Y, ridge))
    return np.linalg.svd(left @ cross(X, Y) @ right, compute_uv=False)


def asked(X, Y, new_X, new_Y, ridge, score=stats.pearsonr):
    to_x, to_y = weighted_cca(X, Y, ridge, power=0)
    return looped(to_x(new_X), to_y(new_Y), score)


def one_sweep(K, epsilon, v, rows=None, columns=None):
    """By the plan itself: rows scaled to their share, then the columns' sums."""
    n, m = K.shape
    P = np.exp(K / epsilon + v)
    P = P / P.sum(axis=1, keepdims=True) / (rows or n)
    return v - np.log(P.sum(axis=0) * (columns or m))


def sweep_to_base_10(K, epsilon, v):
    n, m = K.shape
    u = -np.log10(n * np.exp(K / epsilon + v).sum(1))
    return -np.log10(m * np.exp(K / epsilon + u[:, None]).sum(0))


def sigmoid_terms(K, scale, bias, z=lambda n, m: 2 * np.eye(n, m) - 1):
    """-log sigmoid(z * logit) of every cell, by scipy."""
    return -special.log_expit(z(*K.shape) * (scale * K + bias))


def lion(w, g, m, lr, decay, beta_1=0.9, beta_2=0.99, step=np.sign, shrink=None):
    c = m + (1 - beta_1) * (g - m)
    shrink = lr * decay if shrink is None else shrink
    return np.array([w - shrink * w - lr * step(c), m + (1 - beta_2) * (g - m)])


def step_along_new_momentum(*case):
    return np.array([lion(*case, beta_1=0.99)[0], lion(*case)[1]])


def shrunk_step(w, g, m, lr, decay):
    new_w, new_m = lion(w, g, m, lr, 0)
    return np.array([(1 - lr * decay) * new_w, new_m])


def as_it_is(rows):
    return rows


def class_means(prompts, first=normalize):
    return np.array([first(sentences).mean(0) for sentences in prompts])


def named(pictures, prompts, first=normalize, metric="cosine"):
    return cdist(pictures, class_means(prompts, first), metric).argmin(1)


def where_believing_stops_to_pay(var_x, var_y, weighs=lambda w: w):
    """The distance at which the squared error with Y reaches that of X alone, by bisection."""
    w = var_x / (var_x + var_y)
    both = 1 / (1 / var_x + 1 / var_y)
    return optimize.brentq(lambda d: both + (weighs(w) * d) ** 2 - var_x, 0, 99)


RIGHT = {
    "harmless_distance": where_believing_stops_to_pay,
    "head_from_text": text_head,
    "mantel_correlation": lambda A, B: 1 - pdist([squareform(A), squareform(B)], "correlation")[0],
    "functional_margin": margin,
    "words_per_image": plane_price,
    "local_rate": between,
    "rate_interval": lambda *case: np.percentile(resampled(*case), [2.5, 97.5]),
    "procrustes_bridge": bridge,
    "ridge_cca_correlations": canonical,
    "new_correlations": asked,
    "sinkhorn_step": one_sweep,
    "plan_divergence": lambda T, P: special.rel_entr(T, P).sum(),
    "gradient_of_embeddings": lambda P, T, g, e, _: np.einsum("ij,jd->id", P / e - T / e, g),
    "siglip_loss": lambda *case: sigmoid_terms(*case).mean(),
    "lion_step": lion,
    "zero_shot": named,
}

WRONG = {  # exercise -> a word of the hint -> the mistake
    "harmless_distance": {
        "square of": lambda x, y: where_believing_stops_to_pay(x, y) ** 2,
        "X's standard": lambda x, y: x**0.5,
        "weight is missing": lambda *case: where_believing_stops_to_pay(*case, lambda w: 1),
        "estimate from both": lambda x, y: (1 / x + 1 / y) ** -0.5,
        "do not add": lambda x, y: x**0.5 + y**0.5,
        "1 - w": lambda *case: where_believing_stops_to_pay(*case, lambda w: 1 - w),
    },
    "head_from_text": {
        "do not have length 1": lambda x, y, k: text_head(x, y, k, after=as_it_is),
        "scale the means": lambda x, y, k: text_head(normalize(x), y, k, after=as_it_is),
        "before you average": lambda x, y, k: text_head(normalize(x), y, k),
        "first caption": lambda x, y, k: normalize([x[y == c][0] for c in range(k)]),
        "median": lambda x, y, k: normalize([np.median(x[y == c], axis=0) for c in range(k)]),
        "common part": lambda x, y, k: text_head(x, y, k, after=lambda m: normalize(m - m.mean(0))),
        "columns": lambda x, y, k: text_head(x, y, k, after=lambda m: normalize(m, axis=0)),
    },
    "mantel_correlation": {
        "whole tables": lambda A, B: stats.pearsonr(A.flatten(), B.flatten()).statistic,
        "diagonal is still": lambda A, B: np.corrcoef(
            A[np.tril_indices(len(A))], B[np.tril_indices(len(A))]
        )[1, 0],
        "ranks": lambda A, B: stats.spearmanr(squareform(A), squareform(B)).statistic,
        "covariance": lambda A, B: np.cov(squareform(A), squareform(B))[1, 0],
        "square": lambda A, B: stats.linregress(squareform(A), squareform(B)).rvalue ** 2,
        "per class": lambda A, B: np.mean(looped(A, B)),
    },
    "functional_margin": {
        "differences of logits": lambda *case: margin(*case, length=lambda w: 1),
        "highest logit": margin_to_strongest,
        "squared length": lambda *case: margin(*case, length=lambda w: w @ w),
        "among its rivals": lambda *case: margin(*case, itself=True),
        "negative": lambda *case: abs(margin(*case)),
        "sign": lambda *case: -margin(*case),
        "rows to length 1": lambda W, r, y: margin(normalize(W), r, y),
    },
    "words_per_image": {
        "images per word": lambda *case: 1 / plane_price(*case),
        "intercept": lambda *case: plane_price(*case, fit_intercept=False),
        "slope of the isoline": lambda *case: -plane_price(*case),
        "first axis is logarithmic": lambda a, s, w: plane_price(a, np.log2(s), w),
        "second axis is logarithmic": lambda a, s, w: plane_price(a, s, np.log(1 + w)),
        "beside their accuracies": lambda a, s, w: plane_price(a.reshape(len(w), len(s)).T, s, w),
        "units are gone": lambda a, s, w: plane_price(a, stats.zscore(s), stats.zscore(w)),
    },
    "local_rate": {
        "images per word": lambda *case: 1 / between(*case),
        "one apart": lambda a, s, w, i, j: (
            (a[i + 1, j] - a[i - 1, j]) / (a[i, j + 1] - a[i, j - 1])
        ),
        "ahead only": lambda *case: between(*case, first=0),
        "back only": lambda *case: between(*case, last=0),
        "sign is turned": lambda *case: -between(*case),
        "numpy.gradient": lambda a, s, w, i, j: (
            np.gradient(a[:, j], s)[i] / np.gradient(a[i], w)[j]
        ),
        "elasticities": lambda a, s, w, i, j: between(a, np.log(s), np.log(1 + w), i, j),
    },
    "rate_interval": {
        "mean of ratios": lambda a, rate, rows: np.percentile(
            [np.mean([rate(a[n]) for n in row]) for row in rows], [2.5, 97.5]
        ),
        "90 %": lambda *case: np.percentile(resampled(*case), [5, 95]),
        "normal": lambda *case: normal_interval(resampled(*case)),
        "single draws": lambda a, rate, rows: np.percentile([rate(one) for one in a], [2.5, 97.5]),
        "no more data": lambda a, rate, rows: normal_interval(resampled(a, rate, rows), len(rows)),
        "extremes": lambda *case: [min(resampled(*case)), max(resampled(*case))],
    },
    "procrustes_bridge": {
        "centre the pairs": lambda *case: bridge(*case, prepare=as_it_is),
        "every ROW": lambda *case: bridge(*case, prepare=without_row_means),
        "stretch": stretched,
        "LEAST": least_bridge,
        "all directions": lambda X, Y, d: bridge(X, Y, min(X.shape[1], Y.shape[1])),
        "do not match": mismatched,
        "variance 1": lambda *case: bridge(*case, prepare=stats.zscore),
    },
    "ridge_cca_correlations": {
        "did you centre": uncentred,
        "does nothing": lambda X, Y, ridge: canonical(X, Y, 0),
        "ridge itself": lambda X, Y, ridge: canonical(
            X, Y, ridge, lambda Z, r: np.cov(Z.T, bias=True) + r * np.eye(Z.shape[1])
        ),
        "whole variance": lambda X, Y, ridge: canonical(
            X, Y, ridge, lambda Z, r: with_ridge(Z, r * Z.shape[1])
        ),
        "whitened twice": canonical_whitened_twice,
        "covariances": lambda X, Y, ridge: canonical(X, Y, 0, lambda Z, r: np.eye(Z.shape[1])),
        "squared": lambda X, Y, ridge: canonical(X, Y, ridge, power=1),
        "smallest comes first": lambda X, Y, ridge: canonical(X, Y, ridge)[::-1],
    },
    "new_correlations": {
        "were fitted on": lambda X, Y, x, y, ridge: asked(X, Y, X, Y, ridge),
        "fitted on the new": lambda X, Y, x, y, ridge: asked(x, y, x, y, ridge),
        "a part in the fit": lambda X, Y, x, y, ridge: asked(
            np.concatenate([X, x]), np.concatenate([Y, y]), x, y, ridge
        ),
        "cosine": lambda *case: asked(*case, cosine),
        "covariance": lambda *case: asked(*case, covariance),
        "negative": lambda *case: np.abs(asked(*case)),
        "squared": lambda *case: np.square(asked(*case)),
        "sorted": lambda *case: sorted(asked(*case), reverse=True),
        "ridge is missing": lambda X, Y, x, y, ridge: asked(X, Y, x, y, 1e-9),
    },
    "sinkhorn_step": {
        "where is v": lambda K, e, v: one_sweep(K, e, 0 * v),
        "rows did not": lambda K, e, v: np.log(len(K) / K.shape[1] / np.exp(K / e).sum(0)),
        "your rows sum": lambda K, e, v: one_sweep(K, e, v, rows=1),
        "your columns sum": lambda K, e, v: one_sweep(K, e, v, columns=1),
        "your rows and your columns": lambda K, e, v: one_sweep(K, e, v, rows=1, columns=1),
        "base 10": sweep_to_base_10,
        "multiply": lambda K, e, v: one_sweep(K, 1 / e, v),
        "added": lambda K, e, v: one_sweep(K, e, v) + v,
        "scaling": lambda K, e, v: np.exp(one_sweep(K, e, v)),
        "sign": lambda K, e, v: -one_sweep(K, e, v),
    },
    "plan_divergence": {
        "P || T": lambda T, P: special.rel_entr(P, T).sum(),
        "sign": lambda T, P: (T * np.log(P / T)).sum(),
        "cross-entropy": lambda T, P: (T * np.log(1 / P)).sum(),
        "mean over": lambda T, P: special.rel_entr(T, P).mean(),
        "rows that sum": lambda T, P: special.rel_entr(len(T) * T, len(T) * P).sum(),
        "every row sum": lambda T, P: stats.entropy(T, P, axis=1).sum(),
        "bits": lambda T, P: stats.entropy(T.ravel(), P.ravel(), base=2),
        "base 10": lambda T, P: (T * np.log10(T / P)).sum(),
        "weight": lambda T, P: (np.log(T) - np.log(P)).sum(),
    },
    "gradient_of_embeddings": {
        "which temperature": lambda P, T, g, e, e_t: (P - T) @ g / e_t,
        "descent": lambda P, T, g, e, e_t: (T @ g - P @ g) / e,
        "epsilon is missing": lambda P, T, g, e, e_t: P @ g - T @ g,
        "multiply by epsilon": lambda P, T, g, e, e_t: e * (P @ g - T @ g),
        "own temperature": lambda P, T, g, e, e_t: P @ g / e - T @ g / e_t,
        "where is the teacher": lambda P, T, g, e, e_t: P @ g / e,
        "rows that sum": lambda P, T, g, e, e_t: (len(P) * P - len(T) * T) @ g / e,
    },
    "siglip_loss": {
        "changed places": lambda K, s, b: sigmoid_terms(
            K, s, b, lambda n, m: 1 - 2 * np.eye(n, m)
        ).mean(),
        "every cell": lambda K, s, b: sigmoid_terms(K, s, b, lambda n, m: 1).mean(),
        "z = 0": lambda K, s, b: sigmoid_terms(K, s, b, np.eye).mean(),
        "n alone": lambda K, s, b: sigmoid_terms(K, s, b).sum(1).mean(),
        "is a sum": lambda K, s, b: sigmoid_terms(K, s, b).sum(),
        "the bias?": lambda K, s, b: sigmoid_terms(K, s, 0).mean(),
        "the scale?": lambda K, s, b: sigmoid_terms(K, 1, b).mean(),
        "multiplies": lambda K, s, b: sigmoid_terms(K + b, s, 0).mean(),
        "sign": lambda K, s, b: -sigmoid_terms(K, s, b).mean(),
        "only partners": lambda K, s, b: sigmoid_terms(K, s, b).diagonal().mean(),
    },
    "lion_step": {
        "where is the sign": lambda *case: lion(*case, step=lambda c: c),
        "no say": lambda *case: lion(*case, beta_1=0),
        "two betas": lambda *case: lion(*case, beta_1=0.99, beta_2=0.9),
        "too fast": lambda *case: lion(*case, beta_2=0.9),
        "weights in c": lambda *case: lion(*case, beta_1=0.1),
        "climbs": lambda *case: lion(*case, step=lambda c: -np.sign(c)),
        "where is the weight decay": lambda *case: lion(*case, shrink=0),
        "too strong": lambda *case: lion(*case, shrink=case[-1]),
        "added the decay": lambda w, g, m, lr, decay: lion(w, g + decay * w, m, lr, 0),
        "new momentum": step_along_new_momentum,
        "step shrinks": shrunk_step,
    },
    "zero_shot": {
        "different lengths": lambda x, t: (x @ class_means(t).T).argmax(1),
        "more votes": lambda x, t: named(x, t, first=as_it_is),
        "nothing was scaled": lambda x, t: (x @ t.mean(1).T).argmax(1),
        "one sentence": lambda x, t: named(x, t[:, :1]),
        "best sentence": lambda x, t: np.array([cdist(x, s, "cosine").min(1) for s in t]).argmin(0),
        "fits least": lambda x, t: cdist(x, class_means(t), "cosine").argmax(1),
        "distances": lambda x, t: named(x, t, metric="euclidean"),
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


def one_row_times(size):
    return lambda A: np.concatenate([size * A[:1], A[1:]])


def shaken(size):
    return lambda A: A + size * np.random.default_rng(4).standard_normal(A.shape)


def within_groups(A):
    """Each row in the place of another of its group; groups are 50 rows long."""
    shuffle = np.random.default_rng(4)
    return np.concatenate([shuffle.permutation(A[k : k + 50]) for k in range(0, len(A), 50)])


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


def renamed(P, E, names):
    return P[np.ix_(names, names)], E


def placed(**said):
    right = dict(a=("same", "tied", "gain"), b=("same", "free", "nothing"))
    return lambda: right | dict(c=("other", "tied", "loss")) | said


JUDGED_RIGHT = {
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
    "fool_cka": [
        one_row_times(1000),
        lambda A: A * np.random.default_rng(4).exponential(size=(len(A), 1)) ** 6,
    ],
    "fool_neighbours": [shaken(0.4), within_groups],
    "find_names": [climbed, every_name],
    "bad_Y": [
        lambda P, E: renamed(P, E, [1, 0, 2, 3]),
        lambda P, E: [P.tolist(), E[[0, 2, 1, 3]].tolist()],
        lambda P, E: (P, 1.01 * exchanged(E, 2, 3)),
    ],
    "place": [placed(), placed(a=["same", "tied", "gain"])],
}

JUDGED_WRONG = {  # exercise -> a word of the hint -> the mistake
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
        "renamed alike": lambda P, E: renamed(P, E[[1, 0, 2, 3]], [1, 0, 2, 3]),
        "looks the same": lambda P, E: renamed(P, E, [1, 2, 3, 0]),
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
