"""One-line errors that name the argument, say what came and what is accepted."""
from numbers import Integral, Real

import numpy as np


def refuse(name, got, accepted):
    """Raise ValueError '<name>: got <got>, accepted: <accepted>' on one line."""
    shown = " ".join(repr(got).split())
    raise ValueError(f"{name}: got {shown[:77] + '...' if len(shown) > 80 else shown}, accepted: {accepted}")


def whole(name, value, low=1):
    """`value` as int; refuses anything but a whole number >= `low` (bool is not a number here)."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        refuse(name, value, f"a whole number >= {low}")
    return int(value)


def positive(name, value):
    """`value` as float; refuses anything but a finite number > 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < np.inf:
        refuse(name, value, "a finite number > 0")
    return float(value)


def several(name, value, accepted):
    """`value` as a list; refuses what has no entries."""
    try:
        result = list(value)
    except TypeError:
        result = []
    return result or refuse(name, value, accepted)


def generator(name, value):
    """`value`; refuses anything but a numpy.random.Generator."""
    if not isinstance(value, np.random.Generator):
        refuse(name, value, "a numpy.random.Generator, as numpy.random.default_rng(0) gives")
    return value


def array(name, value, shape):
    """`value` as a float64 array; refuses NaN, infinity, and any shape but `shape`.

    `shape` is a tuple such as (..., 3, None): a leading ... allows any number of leading axes, None any
    length of at least 1 on that axis.
    """
    try:
        result = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(name, value, "an array of numbers")
    free = shape[:1] == (...,)
    wanted = shape[1:] if free else shape
    tail = result.shape[result.ndim - len(wanted):] if free else result.shape
    fits = len(tail) == len(wanted) and all(n == w or (w is None and n >= 1) for n, w in zip(tail, wanted))
    if not fits:
        axes = ", ".join("..." if w is ... else "any" if w is None else str(w) for w in shape)
        refuse(name, f"shape {result.shape}", f"shape ({axes})")
    if not np.isfinite(result).all():
        refuse(name, f"{(~np.isfinite(result)).sum()} values that are NaN or infinite", "finite numbers")
    return result
