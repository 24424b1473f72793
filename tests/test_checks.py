"""Checks of arguments: what is a number, and what only looks like one."""

from typing import Any

import numpy as np
import pytest

from aigc_course.checks import check_count, check_not_negative, check_positive


@pytest.mark.bad_input
@pytest.mark.parametrize("value", [1, 5, np.int64(3), np.int8(1), np.uint16(2)])
def test_whole_numbers_pass(value: Any) -> None:
    check_count("batch_size", value)
    check_positive("batch_size", value)


@pytest.mark.bad_input
@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(2.0)])
def test_numbers_pass(value: Any) -> None:
    check_positive("beta", value)
    check_not_negative("beta", value)


@pytest.mark.bad_input
@pytest.mark.parametrize("value", [2.5, 2.0, "64", True, None, np.float64(3), np.True_, [3], 0, -1, float("nan")])
def test_what_is_no_count(value: Any) -> None:
    with pytest.raises(ValueError, match=r"batch_size is .*; it takes a whole number ≥ 1"):
        check_count("batch_size", value)


@pytest.mark.bad_input
@pytest.mark.parametrize("value", ["0.1", True, None, np.False_, [0.1], -0.1, float("nan")])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"beta is .*; it takes a number ≥ 0"):
        check_not_negative("beta", value)
    with pytest.raises(ValueError, match=r"beta is .*; it takes a number above 0"):
        check_positive("beta", value)
