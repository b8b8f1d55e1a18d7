"""Every refusal is one line: the name, what came, what is accepted."""

import numpy as np
import pytest
import torch

from lib import validation as v


def refused(function, *arguments, **options):
    with pytest.raises(ValueError) as error:
        function("it", *arguments, **options)
    message = str(error.value)
    assert message.startswith("it: got ")
    assert ", accepted: " in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, np.nan])
def test_whole_numbers(value):
    assert v.check_int("it", np.int64(3)) == 3
    assert "a whole number >= 1" in refused(v.check_int, value)


def test_whole_numbers_have_bounds():
    assert v.check_int("it", 0, low=0, high=0) == 0
    assert "from 0 to 4" in refused(v.check_int, 5, low=0, high=4)


@pytest.mark.parametrize("value", [-1.0, np.inf, np.nan, True, "1", None, 1j])
def test_real_numbers(value):
    assert v.check_positive("it", np.float32(0.5)) == 0.5
    assert v.check_nonnegative("it", 0) == 0.0
    refused(v.check_positive, value)
    refused(v.check_nonnegative, value)


def test_zero_is_not_positive():
    refused(v.check_positive, 0)


def test_choices_and_generators():
    assert v.check_choice("it", None, ("a", None)) is None
    assert "'a' or 'b'" in refused(v.check_choice, "c", ("a", "b"))
    rng = np.random.default_rng(0)
    assert v.check_generator("it", rng) is rng
    refused(v.check_generator, 0)


def test_arrays_of_the_right_shape_pass_as_float64():
    result = v.check_array("it", [[1, 2], [3, 4]], (None, 2))
    assert result.dtype == np.float64
    assert v.check_array("it", np.ones((5, 4, 2)), (..., 4, None)).shape == (5, 4, 2)
    assert v.check_array("it", np.ones(3)[::-1], (3,)).shape == (3,)
    assert v.check_array("it", torch.ones(2), (2,)).tolist() == [1, 1]
    assert v.check_array("it", 3, ()) == 3.0


@pytest.mark.parametrize(
    "value, words",
    [
        (["1", "2"], "<U1"),
        ([True, False], "bool"),
        ([1 + 1j, 2], "complex128"),
        (np.ma.masked_array([1.0, 2.0], mask=[0, 1]), "a masked array"),
        (np.array([1, None]), "object"),
        ([[1], [1, 2]], "rows of equal length"),
        ([1.0, np.nan], "1 values that are NaN or infinite"),
        ([np.inf, np.nan], "2 values that are NaN or infinite"),
        ([1.0], "shape (1,)"),
        ([], "shape (0,)"),
    ],
)
def test_what_only_looks_like_an_array_of_numbers(value, words):
    assert words in refused(v.check_array, value, (2,))


def test_shapes_are_said_as_a_reader_writes_them():
    assert "shape (..., 3, any)" in refused(v.check_array, np.ones((2, 2)), (..., 3, None))
    refused(v.check_array, np.ones((0, 2)), (None, 2))


def test_tensors():
    z = torch.ones(3, 2)
    assert v.check_tensor("it", z) is z
    assert "torch.int64" in refused(v.check_tensor, torch.ones(3, 2, dtype=torch.int64))
    assert "ndarray" in refused(v.check_tensor, np.ones((3, 2)))
    assert "shape (any, 4)" in refused(v.check_tensor, z, (None, 4))
    assert "torch.float64 on cpu" in refused(v.check_tensor, z, like=z.double())
    assert "1 values" in refused(v.check_tensor, torch.tensor([[1.0, torch.nan]]))
    huge = torch.full((2, 2), 3e38)  # finite, although the sum is not
    assert v.check_tensor("it", huge) is huge


def test_the_end_of_a_long_value_is_kept():
    message = str(v.invalid("out", "x" * 300 + "/the/end.json", "another"))
    assert "/the/end.json" in message
    assert len(message) < 160
