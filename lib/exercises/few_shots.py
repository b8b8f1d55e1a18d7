"""Exercises of lesson 05: permute at no cost, parallelograms that close, a missing control."""

import numpy as np

from lib.exercises import Exercise


def _judge_names(new_names):
    names = np.asarray(new_names())
    if names.shape != (48,) or names.dtype.kind not in "iu":
        hint = f"got {names.dtype} of shape {names.shape}, accepted: 48 whole numbers."
        return "shape", hint, "Entry k: whose captions class k gets; k = 8 shape + colour."
    if sorted(names) != list(range(48)):
        hint = "some class is used twice, or does not exist."
        return "no permutation", hint, "Every number from 0 to 47 occurs once."
    kept = (names == np.arange(48)).sum()
    if kept:
        hint = f"{kept} classes keep their own captions."
        return "kept", hint, "No class may: it is enough to give every class another colour."
    shape, colour = (part.reshape(6, 8) for part in np.divmod(names, 8))
    shapes_whole = (shape == shape[:, :1]).all()
    colours_whole = (colour == colour[:1]).all()
    if shapes_whole and not colours_whole:
        hint = "one shape keeps together, but red becomes one colour here and another there."
        return "colours", hint, "The new colour may depend on the old colour, not on the shape."
    if colours_whole and not shapes_whole:
        hint = "one colour keeps together, but circles become one shape here and another there."
        return "shapes", hint, "The new shape may depend on the old shape, not on the colour."
    if not shapes_whole:
        hint = "this tears the grid: classes that shared a shape or a colour no longer do."
        return "torn", hint, "Move whole rows and whole columns of the 6 x 8 table."
    return "The grid is whole: 6! x 8! = 29,030,400 permutations of names leave it so."


def _tables():
    """A grid whose parallelograms close, far from the origin, and as loud a table without one."""
    rng = np.random.default_rng(5)
    rows, columns, own = (rng.standard_normal(n) for n in ((4, 1, 40), (1, 5, 40), (4, 5, 40)))
    own = own - own.mean(0) - own.mean(1, keepdims=True) + own.mean((0, 1))
    return rows + columns + 3, np.sqrt(2) * own


def _judge_closing(closing):
    grid, own = _tables()
    values = [np.asarray(closing(grid + t * own), dtype=float) for t in (0, 0.5, 1, 2, 6)]
    if any(value.shape for value in values):
        hint = f"the shape is {next(v.shape for v in values if v.shape)}, it should be one number."
        return "shape", hint, "Sum or average over all classes and all d numbers."
    if not np.isfinite(values).all():
        hint = "some values are NaN or infinite."
        return "finite", hint, "Look for a division by zero."
    moved = float(closing(grid + own + 50))
    if abs(moved - values[2]) > 1e-3:
        hint = f"moving all means by the same vector takes it from {values[2]:.2f} to {moved:.2f}."
        return "moved", hint, "A parallelogram stays one: take off the mean of all classes first."
    louder = float(closing(5 * (grid + own)))
    if abs(louder - values[2]) > 1e-3:
        hint = f"five times as loud, it goes from {values[2]:.2f} to {louder:.2f}."
        return "scale", hint, "Divide by the variance of all the means."
    if (np.diff(values) > 0).all():
        hint = f"it is {values[0]:.2f} where all close, and {values[-1]:.2f} where they do not."
        return "turned", hint, "The other way round: 1 where all parallelograms close."
    if abs(values[0] - 1) > 1e-3:
        hint = f"where every parallelogram closes it is {values[0]:.2f}, and should be 1."
        return "not 1", hint, "The row's mean plus the column's mean: both belong to the grid."
    if not (np.diff(values) < -0.001).all() or values[-1] > 0.4:
        shown = ", ".join(f"{value:.2f}" for value in values)
        hint = f"as the classes leave the grid it goes {shown}; it should fall to nearly 0."
        return "falls", hint, "Which share of the variance does (row's mean + column's mean) hold?"
    return f"1 on a grid, {values[2]:.2f} where the classes have much of their own."


def _judge_control(missing):
    right = dict(a="plain probe", b="labels permuted", c="more draws", d="captions only start")
    right |= dict(e="nothing")
    why = dict(
        a="its baseline squeezes 256 numbers through 48. Who says that this costs nothing?",
        b="is it what captions say about these classes, or would any second task do?",
        c="ten first weights, but how many permutations, and how many draws of the pictures?",
        d="what would the same head do without training on captions?",
        e="true names gain, permuted ones lose, over draws of both. What more do you want?",
    )
    said = missing()
    if not isinstance(said, dict) or set(said) != set(right):
        return "keys", "return a dict with the keys a, b, c, d and e.", "Each with one control."
    for key in right:
        if said[key] not in right.values():
            hint = f"{key}: got {said[key]!r}, accepted: {', '.join(right.values())}."
            return f"word {key}", hint, "As strings, in lower case."
        if said[key] != right[key]:
            return key, f"look at {key} again: {why[key]}", f"It is not {said[key]!r}."
    return None


new_names = Exercise("new_names", _judge_names)
closing = Exercise("closing", _judge_closing, ["means"])
missing_control = Exercise("missing_control", _judge_control)
