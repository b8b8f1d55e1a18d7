"""Exercises of lesson 08: a plan with given column sums, KLOT's slopes in f and in epsilon."""

import numpy as np

from lib.exercises import Exercise, FunctionExercise


def _log_sum_exp(A, axis):
    top = A.max(axis, keepdims=True)
    return top + np.log(np.exp(A - top).sum(axis, keepdims=True))


def _plan(K, epsilon, stock=1.0, sweeps=500):
    v = 0.0
    for _ in range(sweeps):
        u = -_log_sum_exp(K / epsilon + v, 1)
        v = np.log(stock) - _log_sum_exp(K / epsilon + u, 0)
    return np.exp(K / epsilon + u + v)


def _unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def _crowd(rng, n=12, d=6, noise=0.6):
    """Cosines (12, 9) of pictures and captions, the caption of each picture, copies of each."""
    caption = np.array([0, 0, 0, *range(n - 3)])
    things = rng.standard_normal((n - 3, d))
    x = things[caption] + noise * rng.standard_normal((n, d))
    y = things + noise * rng.standard_normal((n - 3, d))
    return _unit(x) @ _unit(y).T, caption, np.bincount(caption).astype(float)


def _judge_stock(plan):
    rng = np.random.default_rng(16)
    K, stock = rng.uniform(-0.5, 0.5, (6, 4)), np.array([3.0, 1.0, 1.5, 0.5])
    wrong = _not_the_plan(np.asarray(plan(K, 0.2, stock), dtype=float), K, 0.2, stock)
    if wrong:
        return wrong
    K, cold = 0.9 + 0.001 * rng.uniform(size=(6, 4)), 0.001
    P = np.asarray(plan(K, cold, stock), dtype=float)
    if not np.isfinite(P).all() or _not_the_plan(P, K, cold, stock):
        hint = "right where it is warm, but a cold table breaks it: exp(900) is no float64."
        return "cold", hint, "Keep logarithms: from each sum of exponentials take the greatest out."
    tables = [_crowd(rng) for _ in range(40)]
    found = [np.mean(plan(K, 0.05, stock).argmax(1) == c) for K, c, stock in tables]
    equal = [np.mean(_plan(K, 0.05, 12 / 9).argmax(1) == c) for K, c, _ in tables]
    shares = f"{np.mean(found):.2f} of the partners, equal shares {np.mean(equal):.2f}"
    return f"In 40 crowds it finds {shares}"


def _not_the_plan(P, K, epsilon, stock):
    """The verdict on a table P that is not the plan, or None."""
    if P.shape != K.shape:
        hint = f"the shape is {P.shape}, it should be {K.shape}."
        return hint, hint, "One number per picture and caption."
    if not np.isfinite(P).all():
        hint = "some values are NaN or infinite."
        return hint, hint, "Divide by sums that are not 0, and keep exponents small."
    if (P < 0).any():
        hint = "some entries are negative. Is this the logarithm?"
        return "logarithm", hint, "Return np.exp of it."
    rows, columns = P.sum(1), P.sum(0)
    if np.allclose(rows, 1 / len(rows), atol=0.01):
        hint = "the whole plan sums to 1."
        return "mass", hint, "Here each row sums to 1: do not divide by the number of pictures."
    if np.allclose(columns, columns[0], atol=0.01):
        hint = f"all columns sum to {columns[0]:.2f}: where is the stock?"
        return "equal", hint, "A column is done when its sum is stock[j], so v gains log(stock[j])."
    if not np.allclose(columns, stock, atol=0.01) and np.allclose(rows, 1, atol=0.01):
        hint = f"rows are right; columns sum to {columns.round(2)}, they should to {stock}."
        return "columns", hint, "Set the columns with the rows' latest numbers, and sweep again."
    if not np.allclose(rows, 1, atol=0.01):
        hint = f"rows sum to {rows.round(2)}, each should to 1."
        return "rows", hint, "Rows and columns spoil each other: sweep more often."
    potentials = np.log(P) - K / epsilon
    gap = potentials - potentials[:1] - potentials[:, :1] + potentials[0, 0]
    if np.abs(gap).max() > 0.01:
        hint = "its sums are right, but it is not exp(K / epsilon + u + v)."
        return (
            "form",
            hint,
            "Only divide whole rows and whole columns, starting at exp(K / epsilon).",
        )
    return None


stock_plan = Exercise("stock_plan", _judge_stock, ["K", "epsilon", "stock"])


def _plans_and_embeddings():
    """Two (f, g, P, T, epsilon, epsilon_teacher); the plans are those of the embeddings."""
    rng = np.random.default_rng(15)
    cases = []
    for n, d in [(4, 3), (6, 2)]:
        f, g, a, b = rng.exponential(size=(4, n, 1)) * rng.standard_normal((4, n, d))
        P, T = _plan(_unit(f) @ _unit(g).T, 0.5), _plan(_unit(a) @ _unit(b).T, 0.2)
        cases.append((f, g, P, T, 0.5, 0.2))
    return cases


def _gradient_of_f(f, g, P, T, epsilon, epsilon_teacher, across=True, by_length=True):
    length = np.linalg.norm(f, axis=1, keepdims=True)
    G = (P - T) @ _unit(g) / epsilon
    if across:
        G = G - (G * _unit(f)).sum(1, keepdims=True) * _unit(f)
    return G / length if by_length else G


def _with_raw_g(f, g, P, T, epsilon, epsilon_teacher):
    length = np.linalg.norm(f, axis=1, keepdims=True)
    G = (P - T) @ g / epsilon
    return (G - (G * _unit(f)).sum(1, keepdims=True) * _unit(f)) / length


gradient_of_f = FunctionExercise(
    "gradient_of_f",
    cases=_plans_and_embeddings(),
    solution=_gradient_of_f,
    mistakes=[
        (
            lambda f, g, P, T, e, e_t: _gradient_of_f(f, g, P, T, e_t, e_t),
            "a finite difference convicts this temperature.",
            "Only the student's plan moves with the student's K: divide by the student's epsilon.",
        ),
        (
            lambda *case: -_gradient_of_f(*case),
            "this is the direction of descent, minus the gradient.",
            "P - T: where the student gives more than the teacher, the gradient is positive.",
        ),
        (
            lambda *case: _gradient_of_f(*case, across=False, by_length=False),
            "this is the gradient for rows of length 1, as if their length were free.",
            "Longer or shorter, f has the same cosines: take away the part of the arrow along f.",
        ),
        (
            lambda *case: _gradient_of_f(*case, by_length=False),
            "right for rows of length 1, but f may be longer.",
            "A step of one size turns a long row less than a short one: divide by the length of f.",
        ),
        (
            lambda *case: _gradient_of_f(*case, across=False),
            "the arrows have a part along f, and it cannot change a cosine.",
            "Subtract (G . f_unit) f_unit, row by row.",
        ),
        (
            _with_raw_g,
            "g has to be brought to length 1.",
            "K is the product of unit rows, on both sides.",
        ),
        (
            lambda f, g, P, T, e, e_t: _gradient_of_f(f, g, P, T, 1.0, e_t),
            "epsilon is missing.",
            "log P holds K / epsilon: the chain rule leaves a 1 / epsilon.",
        ),
        (
            lambda f, g, P, T, e, e_t: _gradient_of_f(f, g, P, 0 * T, e, e_t),
            "where is the teacher?",
            "At P = T the gradient has to vanish.",
        ),
    ],
)


def _tables_and_plans():
    """Two (K, P, T, epsilon); P is the plan of K."""
    rng = np.random.default_rng(17)
    cases = []
    for n, epsilon in [(3, 0.5), (5, 0.2)]:
        K, teacher = rng.uniform(-1, 1, (2, n, n))
        cases.append((K, _plan(K, epsilon), _plan(teacher, epsilon), epsilon))
    return cases


def _slope_in_epsilon(K, P, T, epsilon):
    return ((T - P) * K).sum() / epsilon**2


slope_in_epsilon = FunctionExercise(
    "slope_in_epsilon",
    cases=_tables_and_plans(),
    solution=_slope_in_epsilon,
    mistakes=[
        (
            lambda *case: -_slope_in_epsilon(*case),
            "the sign is turned.",
            "KL holds minus <T, log P>: count the minus signs once more.",
        ),
        (
            lambda K, P, T, epsilon: epsilon * _slope_in_epsilon(K, P, T, epsilon),
            "you divide by epsilon, not by its square.",
            "The derivative of 1 / epsilon is -1 / epsilon ** 2.",
        ),
        (
            lambda K, P, T, epsilon: epsilon**2 * _slope_in_epsilon(K, P, T, epsilon),
            "epsilon is missing.",
            "The derivative of 1 / epsilon is -1 / epsilon ** 2.",
        ),
        (
            lambda K, P, T, epsilon: _slope_in_epsilon(K, P, T, epsilon) / len(K),
            "this is a mean over rows.",
            "Take the sum over the whole table.",
        ),
        (
            lambda K, P, T, epsilon: ((T - P) * K + epsilon * P * np.log(P)).sum() / epsilon**2,
            "you held W fixed, but W moves with epsilon as well.",
            "Envelope theorem: W's slope in epsilon, with P held, is -<P, log P>.",
        ),
        (
            lambda K, P, T, epsilon: (T * K).sum() / epsilon**2,
            "where is the student's plan?",
            "At P = T the slope has to vanish.",
        ),
    ],
)
