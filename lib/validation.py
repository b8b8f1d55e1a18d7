"""Checks of arguments: one line that names the argument, what came, and what is accepted."""

import importlib
from numbers import Integral, Real

import numpy as np
import torch


def invalid(name, got, accepted):
    """The ValueError '<name>: got <got>, accepted: <accepted>', on one line, to be raised."""
    name = name.replace("\n", "\\n").encode(errors="backslashreplace").decode()
    shown = " ".join(repr(got).split())
    if len(shown) > 100:
        shown = f"{shown[:60]} ... {shown[-35:]}"  # the end of a path is what a reader needs
    return ValueError(f"{name}: got {shown}, accepted: {accepted}")


def check_int(name, value, low=1, high=None):
    """`value` as int; raises ValueError for anything but a whole number from low to high."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        accepted = f">= {low}" if high is None else f"from {low} to {high}"
        raise invalid(name, value, f"a whole number {accepted}")
    return int(value)


def check_positive(name, value):
    """`value` as float; raises ValueError for anything but a finite number > 0."""
    if not _is_real(value) or not 0 < value < np.inf:
        raise invalid(name, value, "a finite number > 0")
    return float(value)


def check_nonnegative(name, value):
    """`value` as float; raises ValueError for anything but a finite number >= 0."""
    if not _is_real(value) or not 0 <= value < np.inf:
        raise invalid(name, value, "a finite number >= 0")
    return float(value)


def check_choice(name, value, choices):
    """`value`; raises ValueError for anything that is not among `choices`."""
    if not any(value is choice or value == choice for choice in choices):
        raise invalid(name, value, " or ".join(map(repr, choices)))
    return value


def check_package(name):
    """The module `name` of the extra `real`; raises ImportError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        accepted = "the extra `real`: make real, or pip install -c constraints.txt -e '.[real]'"
        raise ImportError(f"{name}: got {error}, accepted: {accepted}") from None


def check_generator(name, value):
    """`value`; raises ValueError for anything but a numpy.random.Generator."""
    if not isinstance(value, np.random.Generator):
        raise invalid(name, value, "a numpy.random.Generator, as numpy.random.default_rng(0) gives")
    return value


def check_array(name, value, shape):
    """`value` as a float64 array of the given shape.

    shape  a tuple such as (..., 3, None): a leading ... allows any number of leading axes, None
           any length of at least 1 on that axis

    Raises ValueError for another shape, NaN or infinity, and for what only looks like numbers:
    strings, truth values, complex numbers, objects, arrays with a mask.
    """
    try:
        result = np.asanyarray(value)
    except ValueError:
        raise invalid(name, value, "rows of equal length") from None
    if isinstance(result, np.ma.MaskedArray) or result.dtype.kind not in "iuf":
        kind = "a masked array" if isinstance(result, np.ma.MaskedArray) else str(result.dtype)
        raise invalid(name, f"{kind}, shape {result.shape}", "an array of real numbers")
    result = np.asarray(result, dtype=np.float64)
    _check_shape(name, result.shape, shape)
    bad = np.count_nonzero(~np.isfinite(result))
    if bad:
        raise invalid(name, f"{bad} values that are NaN or infinite", "finite numbers")
    return result


def check_tensor(name, value, shape=(None, None), like=None):
    """`value`, a float32 or float64 tensor of the given shape, as `check_array` writes shapes.

    like  another tensor, whose type and device `value` must have

    Raises ValueError for anything else, and for NaN or infinity.
    """
    if not isinstance(value, torch.Tensor) or value.dtype not in (torch.float32, torch.float64):
        got = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
        raise invalid(name, str(got), "a float32 or float64 tensor")
    _check_shape(name, tuple(value.shape), shape)
    if like is not None and (value.dtype, value.device) != (like.dtype, like.device):
        got = f"{value.dtype} on {value.device}"
        raise invalid(name, got, f"{like.dtype} on {like.device}")
    if not torch.isfinite(value.detach().sum()):  # one pass; the sum itself may overflow
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise invalid(name, f"{bad} values that are NaN or infinite", "finite numbers")
    return value


def _is_real(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_shape(name, got, wanted):
    free = wanted[:1] == (...,)
    tail = wanted[1:] if free else wanted
    axes = got[len(got) - len(tail) :] if free else got
    fits = len(axes) == len(tail) and all(
        n == w or (w is None and n >= 1) for n, w in zip(axes, tail, strict=True)
    )
    if not fits:
        words = {None: "any", ...: "..."}
        accepted = ", ".join(str(words.get(axis, axis)) for axis in wanted)
        raise invalid(name, f"shape {got}", f"shape ({accepted})")
