"""Exercises of notebook 08: one Sinkhorn sweep, KL between plans, the gradient of KLOT."""

import numpy as np

from lib.exercises import FunctionExercise


def _affinity_tables():
    """Three (K, epsilon, v)."""
    rng = np.random.default_rng(13)
    cases = []
    for n, m, epsilon in [(4, 6, 0.5), (7, 3, 0.3), (5, 5, 1.5)]:
        K = rng.uniform(-1, 1, (n, m))
        cases.append((K, epsilon, rng.standard_normal(m)))
    return cases


def _sinkhorn_step(K, epsilon, v, row_share=True, column_share=True, log=np.log):
    n, m = K.shape
    u = -row_share * log(n) - log(np.exp(K / epsilon + v).sum(1))
    return -column_share * log(m) - log(np.exp(K / epsilon + u[:, None]).sum(0))


def _columns_only(K, epsilon, v):
    return -np.log(K.shape[1]) - np.log(np.exp(K / epsilon).sum(0) / len(K))


sinkhorn_step = FunctionExercise(
    "sinkhorn_step",
    cases=_affinity_tables(),
    solution=_sinkhorn_step,
    mistakes=[
        (
            lambda K, epsilon, v: _sinkhorn_step(K, epsilon, np.zeros_like(v)),
            "where is v?",
            "The rows' sums are those of exp(K / epsilon + v): the old v decides the new u.",
        ),
        (
            _columns_only,
            "the rows did not get their sums right.",
            "First u, from the sums over a row; then v, from the sums over a column with that u.",
        ),
        (
            lambda K, epsilon, v: _sinkhorn_step(K, epsilon, v, row_share=False),
            "your rows sum to 1, not to 1/n.",
            "u also holds -log(n): the rows' share.",
        ),
        (
            lambda K, epsilon, v: _sinkhorn_step(K, epsilon, v, column_share=False),
            "your columns sum to 1, not to 1/m.",
            "v also holds -log(m): the columns' share.",
        ),
        (
            lambda K, epsilon, v: _sinkhorn_step(K, epsilon, v, False, False),
            "your rows and your columns sum to 1, not to their shares.",
            "u also holds -log(n), and v holds -log(m): the total mass is 1.",
        ),
        (
            lambda K, epsilon, v: _sinkhorn_step(K, epsilon, v, log=np.log10),
            "you take logarithms to base 10.",
            "np.exp goes with the natural logarithm, np.log.",
        ),
        (
            lambda K, epsilon, v: _sinkhorn_step(K, 1 / epsilon, v),
            "you multiply K by epsilon.",
            "A small epsilon makes differences large: K / epsilon.",
        ),
        (
            lambda K, epsilon, v: v + _sinkhorn_step(K, epsilon, v),
            "you added the new v to the old one.",
            "With only K and u in the exponent, the result IS the new v, not a change of it.",
        ),
        (
            lambda K, epsilon, v: np.exp(_sinkhorn_step(K, epsilon, v)),
            "this is exp(v), the scaling; we asked for v.",
            "Stay in the log domain: return the logarithm.",
        ),
        (
            lambda K, epsilon, v: -_sinkhorn_step(K, epsilon, v),
            "the sign is turned.",
            "A column whose sum is too large gets a smaller v: minus the logarithm of its sum.",
        ),
    ],
)


def _plans():
    """Two (T, P): plans of total mass 1, without zeros."""
    rng = np.random.default_rng(14)
    cases = []
    for n, m in [(4, 5), (6, 3)]:
        T, P = rng.exponential(size=(2, n, m))
        cases.append((T / T.sum(), P / P.sum()))
    return cases


def _plan_divergence(T, P):
    return np.sum(T * np.log(T / P))


def _rows_to_one(plan):
    return plan / plan.sum(1, keepdims=True)


plan_divergence = FunctionExercise(
    "plan_divergence",
    cases=_plans(),
    solution=_plan_divergence,
    mistakes=[
        (
            lambda T, P: _plan_divergence(P, T),
            "this is KL(P || T).",
            "The teacher's plan weights: sum of T times log(T / P).",
        ),
        (
            lambda T, P: -_plan_divergence(T, P),
            "the sign is turned: a divergence is never negative.",
            "log(T / P), not log(P / T).",
        ),
        (
            lambda T, P: -np.sum(T * np.log(P)),
            "this is the cross-entropy, without the teacher's own entropy.",
            "The gradient does not need it, but KL has to be 0 where the plans agree.",
        ),
        (
            lambda T, P: _plan_divergence(T, P) / T.size,
            "this is a mean over entries.",
            "The plans sum to 1, so they weight already: take the sum.",
        ),
        (
            lambda T, P: _plan_divergence(T, P) * len(T),
            "this is for rows that sum to 1.",
            "Here the total mass is 1: there is nothing to multiply with.",
        ),
        (
            lambda T, P: _plan_divergence(_rows_to_one(T), _rows_to_one(P)),
            "you made every row sum to 1 first.",
            "Take the plans as they come: total mass 1.",
        ),
        (
            lambda T, P: _plan_divergence(T, P) / np.log(2),
            "this is in bits.",
            "Use the natural logarithm.",
        ),
        (
            lambda T, P: _plan_divergence(T, P) / np.log(10),
            "you take logarithms to base 10.",
            "Use the natural logarithm, np.log.",
        ),
        (
            lambda T, P: np.sum(np.log(T / P)),
            "where is the weight?",
            "Each log(T / P) counts as much as T says.",
        ),
    ],
)


def _plans_and_embeddings():
    """Two (P, T, g_unit, epsilon, epsilon_teacher)."""
    rng = np.random.default_rng(15)
    cases = []
    for n, m, d in [(4, 5, 3), (6, 3, 2)]:
        P, T = rng.exponential(size=(2, n, m))
        g = rng.standard_normal((m, d))
        g_unit = g / np.linalg.norm(g, axis=1, keepdims=True)
        cases.append((P / P.sum(), T / T.sum(), g_unit, 0.05, 0.02))
    return cases


def _gradient_of_embeddings(P, T, g_unit, epsilon, epsilon_teacher):
    return (P - T) @ g_unit / epsilon


gradient_of_embeddings = FunctionExercise(
    "gradient_of_embeddings",
    cases=_plans_and_embeddings(),
    solution=_gradient_of_embeddings,
    mistakes=[
        (
            lambda P, T, g_unit, epsilon, epsilon_teacher: (P - T) @ g_unit / epsilon_teacher,
            "which temperature?",
            "Only the student's plan moves with the student's K: divide by the student's epsilon.",
        ),
        (
            lambda *case: -_gradient_of_embeddings(*case),
            "this is the direction of descent, minus the gradient.",
            "P - T: where the student gives more than the teacher, the gradient is positive.",
        ),
        (
            lambda P, T, g_unit, epsilon, epsilon_teacher: (P - T) @ g_unit,
            "epsilon is missing.",
            "log P holds K / epsilon: the chain rule leaves a 1 / epsilon.",
        ),
        (
            lambda P, T, g_unit, epsilon, epsilon_teacher: (P - T) @ g_unit * epsilon,
            "you multiply by epsilon.",
            "log P holds K / epsilon: divide.",
        ),
        (
            lambda P, T, g_unit, epsilon, epsilon_teacher: (
                (P / epsilon - T / epsilon_teacher) @ g_unit
            ),
            "you divide each plan by its own temperature.",
            "Both terms come from <T - P, log P>, and log P = K / epsilon + u + v has one epsilon.",
        ),
        (
            lambda P, T, g_unit, epsilon, epsilon_teacher: P @ g_unit / epsilon,
            "where is the teacher?",
            "At P = T the gradient has to vanish.",
        ),
        (
            lambda P, *rest: len(P) * _gradient_of_embeddings(P, *rest),
            "this is for rows that sum to 1.",
            "Here the total mass is 1: there is nothing to multiply with.",
        ),
    ],
)
