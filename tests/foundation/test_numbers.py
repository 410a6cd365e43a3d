"""Numbers of other people's files: what passes, and what is told with its place."""

import numpy as np
import pytest

from bibench.foundation.errors import DataError
from bibench.foundation.numbers import check_finite, check_kind, number, parse_number

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [0, -1, 2.5, 10**300, np.float32(2.5), np.int64(3), np.uint8(7)])
def test_finite_numbers_pass(value: float) -> None:
    assert number(value, "here") == value


@pytest.mark.parametrize(
    "value", [NAN, INF, -INF, np.float32(np.nan), True, np.bool_(False), "1", None, [1], 10**400, 1j]
)
@pytest.mark.parametrize("whole", [False, True])
def test_others_are_told(value: object, whole: bool) -> None:
    with pytest.raises(
        DataError, match=r"^file\.json: area is .*, expected a (finite|whole) number; restore this file"
    ):
        number(value, "file.json: area", whole=whole)


@pytest.mark.parametrize(("text", "value"), [("1", 1), (" -2.5\t", -2.5), ("+.5e1", 5), ("3.", 3), ("1E-2", 0.01)])
def test_ascii_spells_numbers(text: str, value: float) -> None:
    assert parse_number(text, "here") == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nan",
        "inf",
        "-Infinity",
        "1e999",
        "1_000",
        "0x10",
        "１２",
        "1,5",
        "1 2",
        "\xa01",
        "1\u2028",
        ".",
        "-",
        None,
        1,
    ],
)
def test_nothing_else_does(text: object) -> None:
    with pytest.raises(DataError, match=r"(?s)^list, line 3 is .*, expected a finite number; fetch it again$"):
        parse_number(text, "list, line 3", fix="fetch it again")


def test_bounds_and_whole_numbers() -> None:
    assert parse_number("3.0", "n", whole=True, low=1, high=3) == 3
    assert isinstance(number(3.0, "n", whole=True), int)
    assert parse_number("9007199254740993", "n", whole=True) == 2**53 + 1
    for value, limits, words in (
        (3.5, {"whole": True}, "a whole number"),
        (-1, {"low": 0}, "a finite number, at least 0"),
        (6, {"low": 0, "high": 5}, "a finite number from 0 to 5"),
        (6, {"high": 5}, "a finite number, at most 5"),
        (2, {"high": 1, "expected": "0 or 1"}, "0 or 1"),
    ):
        with pytest.raises(DataError, match=f"^n is {value}, expected {words}; "):
            number(value, "n", **limits)


def test_arrays_name_the_first_wrong_row() -> None:
    values = np.ones((4, 3))
    check_finite(values, str)
    check_finite(values[:0], str)
    values[2, 1] = NAN
    with pytest.raises(DataError, match=r"^row 2 is nan, expected a finite number; "):
        check_finite(values, lambda row: f"row {row}")
    check_kind(values, "f", "data", "floating-point numbers")
    for wrong in (np.ones(2, int), np.array(["1"]), [1.0]):
        with pytest.raises(DataError, match=r"^data holds .*, expected floating-point numbers; "):
            check_kind(wrong, "f", "data", "floating-point numbers")
