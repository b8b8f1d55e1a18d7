"""Exercises of lesson 02: a Y that knows nothing, one that does nothing, reading reports."""

import numpy as np

from lib.exercises import Exercise


def _data(rng, n=2000):
    """X (n, 50) with six loud directions and nine quiet ones, Y (n, 50) with fifteen."""
    strength = np.array([1.0] + [0.05] * 9 + [1.0] * 5)
    X, Y = (
        (rng.standard_normal((n, 15)) * gain) @ rng.standard_normal((15, 50))
        for gain in (strength, 1)
    )
    noise = 0.3 * rng.standard_normal((2, n, 50))
    return X + noise[0], Y + noise[1]


def _spectrum(Z):
    return np.linalg.eigvalsh(np.cov(Z.T))[::-1]


def _n_loud(Z):
    spectrum = _spectrum(Z)
    return int((spectrum > 0.01 * spectrum[0]).sum())


def _overlap(Z, other, k):
    """Share of the k loudest directions of `other` that lies in those of Z; 1 is all."""
    axes = [np.linalg.svd(z - z.mean(0), full_matrices=False)[2][:k] for z in (Z, other)]
    return (np.linalg.svd(axes[0] @ axes[1].T, compute_uv=False) ** 2).mean()


def _judge_control(control):
    X, Y = _data(np.random.default_rng(0))
    made = np.asarray(control(X, Y, np.random.default_rng(1)), dtype=float)
    if made.shape != Y.shape:
        hint = f"the shape is {made.shape}, it should be that of Y, {Y.shape}."
        return "shape", hint, "As many samples and as many numbers, so that the batches are alike."
    if _overlap(made, X, 6) > 0.6:
        hint = "this knows X's directions: it is made of X, so it is a rival and no control."
        return "X", hint, "Start from Y and destroy what could say where X's directions are."
    if _overlap(made, Y, 15) > 0.9:
        hint = "these are still Y's own directions (a new order of the rows changes nothing)."
        return "Y", hint, "No row was ever paired. Move the directions, not the rows."
    louder = made.var(0).sum() / Y.var(0).sum()
    if not 0.8 < louder < 1.25:
        hint = f"its variance is {louder:.2f} times that of Y."
        return "loudness", hint, "Louder data have larger gradients: keep the scale of Y."
    if _n_loud(made) != 15:
        hint = f"it is as loud as Y in all, but in {_n_loud(made)} directions; Y is loud in 15."
        return "directions", hint, "A rotation moves directions and leaves the spectrum as it is."
    return "As loud as Y in as many directions, and none of them is where it was."


def _judge_narrow(narrow):
    _, Y = _data(np.random.default_rng(0))
    made = np.asarray(narrow(Y), dtype=float)
    if made.shape != Y.shape:
        hint = f"the shape is {made.shape}, it should be that of Y, {Y.shape}."
        return "shape", hint, "Six directions, but still 50 numbers: project, then go back."
    if _n_loud(made) != 6:
        hint = f"it is loud in {_n_loud(made)} directions, six are asked."
        return "directions", hint, "The rows of Vh in an SVD of Y are its directions."
    louder = made.var(0).sum() / Y.var(0).sum()
    if not 0.8 < louder < 1.25:
        hint = f"its total variance is {louder:.2f} times that of Y."
        return "loudness", hint, "A quieter Y could fail for being quiet. Multiply it up."
    return "As loud as Y, in six directions."


def _judge_reading(what_it_shows):
    right = dict(a="neither", b="optimisation", c="information", d="information", e="neither")
    why = dict(
        a="one moment and no control: could the curve cross later?",
        b="a rotated Y knows nothing and does as well. What is then the cause?",
        c="the gain stays for ever, and it needs Y as it is.",
        d="nothing was trained here, so no training could be the cause.",
        e="would it go away with more updates? And what of Y does a rotation leave?",
    )
    said = what_it_shows()
    if not isinstance(said, dict) or set(said) != set(right):
        return "keys", "return a dict with the keys a, b, c, d and e.", "Each with one word."
    for key in right:
        if said[key] not in ("information", "optimisation", "neither"):
            hint = f"{key}: got {said[key]!r}, accepted: information, optimisation or neither."
            return f"word {key}", hint, "As strings, in lower case."
        if said[key] != right[key]:
            return key, f"look at {key} again: {why[key]}", f"The word is not {said[key]!r}."
    return None


control = Exercise("control", _judge_control, ("X", "Y", "rng"))
narrow = Exercise("narrow", _judge_narrow, ("Y",))
what_it_shows = Exercise("what_it_shows", _judge_reading)
