"""Exercises of lesson 01: place Y's axis, an empty promise, and how far Y's truth may be."""

import numpy as np

from lib import linear_gaussian as lg
from lib.exercises import Exercise, FunctionExercise

_ANGLES = np.arange(0, 180, 0.05)


def _variance(angle, I_x, v):
    """Variance along v with one Y of noise 1 at `angle` degrees added to the information I_x."""
    u = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    return v @ np.linalg.inv(I_x + np.outer(u, u)) @ v


def _degrees(v):
    return np.rad2deg(np.arctan2(v[1], v[0]))


def _apart(angle, other):
    """Degrees between two axes; an axis turned by 180 degrees is the same axis."""
    return abs((angle - other + 90) % 180 - 90)


def _judge_angle(best_angle):
    cases = [
        (np.diag([4.0, 1.0]), np.array([0.8, 0.6])),
        (np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([1.0, 0.0])),
    ]
    for I_x, v in cases:
        angle = float(best_angle(I_x, v))
        variances = [_variance(degrees, I_x, v) for degrees in _ANGLES]
        best, worst = _ANGLES[np.argmin(variances)], _ANGLES[np.argmax(variances)]
        long_axis = np.linalg.eigh(I_x)[1][:, 0]  # of X's ellipse, where it knows least
        if _apart(angle, best) <= 1:
            continue
        if _apart(np.rad2deg(angle), best) <= 1:
            return "radians", "your angle is in radians.", "Return np.rad2deg(angle)."
        if _apart(angle, _degrees(v)) <= 1:
            hint = "this is the direction v itself, and another axis lowers its variance more."
            return "v", hint, "The variance is v' inv(I) v: compare it for a grid of angles."
        if _apart(angle, _degrees(long_axis)) <= 1:
            hint = "this is where X knows least, whatever v is. Does v need just that?"
            return "long axis", hint, "Minimise v' inv(I_x + u u') v over the angle of u."
        if _apart(angle, worst) <= 1:
            hint = "this axis lowers the variance least."
            return "worst", hint, "np.argmin of the variances, not np.argmax."
        reached, least = _variance(angle, I_x, v), _variance(best, I_x, v)
        hint = f"at your angle the variance is {reached:.4f}, at the best one {least:.4f}."
        return "other", hint, "Try every half degree; u is (cos, sin) of the angle in radians."
    return None


def _judge_look(look_of_y):
    B_c, B_y = (np.asarray(part, dtype=float) for part in look_of_y())
    if B_c.ndim != 2 or B_c.shape[1] != 2 or B_y.ndim != 2 or len(B_y) != len(B_c):
        hint = f"the shapes are {B_c.shape} and {B_y.shape}, they should be (m, 2) and (m, k)."
        return "shape", hint, "A row for each number that Y shows, a column for each unknown."
    x = lg.Design([np.diag([1.0, 0.3])], sigma=0.5).repeat(20)
    y = lg.Design([B_c], [B_y], sigma=0.8).repeat(60)

    def left(information, v):
        with_y = lg.directional_variance(information(x, y), v)
        return with_y / lg.directional_variance(information(x), v)

    e1, e2 = np.eye(2)
    promised, true = left(lg.block_information, e2), left(lg.efficient_information, e2)
    if promised > 0.5:
        hint = f"by its block, {promised:.0%} of the variance along direction 2 would be left."
        return "promise", hint, "At most half: make the column of direction 2 in B_c longer."
    if true < 0.999:
        hint = f"Y keeps a part of its promise: along direction 2 {true:.1%} is left, in truth."
        return "gives", hint, "The column of direction 2 must lie within the columns of B_y."
    if left(lg.efficient_information, e1) > 0.99:
        hint = "along direction 1 Y does not lower the variance, not even by 1 %."
        return "useless", hint, "Add a number that shows direction 1 and nothing private."
    return f"By its block {promised:.1%} of the variance would be left. In truth {true:.0%} is."


def _distance(var_x, var_y):
    return np.sqrt(var_x + var_y)


def _both(var_x, var_y):
    return var_x * var_y / (var_x + var_y)


best_angle = Exercise("best_angle", _judge_angle, ("I_x", "v"))
look_of_y = Exercise("look_of_y", _judge_look)
harmless_distance = FunctionExercise(
    "harmless_distance",
    [(1.0, 3.0), (0.5, 0.2), (4.0, 0.7)],
    _distance,
    [
        (
            lambda var_x, var_y: var_x + var_y,
            "this is the square of the distance.",
            "A distance is measured like a standard deviation: take the root.",
        ),
        (
            lambda var_x, var_y: np.sqrt(var_x),
            "this is X's standard deviation: a surer Y would change the answer. How?",
            "Solve var_xy + (w delta)^2 = var_x for delta; w and var_xy depend on var_y.",
        ),
        (
            lambda var_x, var_y: np.sqrt(var_x - _both(var_x, var_y)),
            "the weight is missing: Y's bias enters multiplied by w.",
            "Divide by w = var_x / (var_x + var_y).",
        ),
        (
            lambda var_x, var_y: np.sqrt(_both(var_x, var_y)),
            "this is the standard deviation of the estimate from both.",
            "Ask from which delta on its squared error is that of X alone, var_x.",
        ),
        (
            lambda var_x, var_y: np.sqrt(var_x) + np.sqrt(var_y),
            "standard deviations do not add.",
            "Variances do: add them first, then take the root.",
        ),
        (
            lambda var_x, var_y: np.sqrt(var_x - _both(var_x, var_y)) * (var_x + var_y) / var_y,
            "you divided by the weight of X, 1 - w.",
            "The bias comes from Y, whose weight is w = var_x / (var_x + var_y).",
        ),
    ],
)
