"""Numbers of NumPy and PyTorch where Python's are wanted: records, cells, options and recipes."""

import enum
import json
from typing import Any

import numpy as np
import pytest
import torch

from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import BiBenchError, StoreError
from bibench.foundation.plain import plain
from bibench.recipes.recipe import Recipe
from bibench.records.record import COLUMNS, parse
from bibench.suite.cell import Cell

from ..records.test_records import make
from ..worlds import cell

HALVES = {
    "float16": np.float16(0.5),
    "float32": np.float32(0.5),
    "float64": np.float64(0.5),
    "long double": np.longdouble(0.5),
    "array without axes": np.array(0.5),
    "array of one": np.array([[0.5]], np.float32),
    "tensor": torch.tensor(0.5),
    "tensor of one": torch.tensor([0.5]),
    "bfloat16": torch.tensor(0.5, dtype=torch.bfloat16),
    "with a gradient": torch.tensor(0.5, requires_grad=True) * 1,
    "parameter": torch.nn.Parameter(torch.tensor([0.5])),
    "float": 0.5,
}
THREES = {
    "int8": np.int8(3),
    "int64": np.int64(3),
    "uint64": np.uint64(3),
    "array": np.array(3),
    "tensor": torch.tensor(3),
    "enumeration": enum.IntEnum("Number", {"three": 3}).three,
    "int": 3,
}


class Word(enum.StrEnum):
    ONE = "one"


@pytest.mark.parametrize("what", HALVES)
def test_broken_numbers(what: str) -> None:
    record = make(value=HALVES[what], low=HALVES[what], chance=HALVES[what], seconds=HALVES[what])
    assert [type(v) for v in (record.value, record.low, record.chance, record.seconds)] == [float] * 4
    assert parse(record.to_line(), "line") == record == make(value=0.5, low=0.5, chance=0.5, seconds=0.5)
    assert choice("m", width=HALVES[what]) == choice("m[width=0.5]")
    assert Recipe(1, 1, lr=HALVES[what], fp32=(("lr", HALVES[what]),)) == Recipe(1, 1, 0.5, fp32=(("lr", 0.5),))


@pytest.mark.parametrize("what", THREES)
def test_whole_numbers(what: str) -> None:
    record = make(seed=THREES[what], samples=THREES[what])
    assert type(record.seed) is type(record.samples) is int
    assert parse(record.to_line(), "line") == make(seed=3, samples=3)
    assert str(choice("m", width=THREES[what])) == "m[width=3]"
    assert json.loads(json.dumps(cell(seed=THREES[what]).to_dict())) == cell(seed=3).to_dict()
    assert json.dumps(Recipe(THREES[what], 1, 0.1).to_dict()) == json.dumps(Recipe(3, 1, 0.1).to_dict())


def test_words_and_truth_values() -> None:
    record = make(embedded=np.bool_(False), git_dirty=torch.tensor(True), unit=np.str_("ms"), engine=Word.ONE)
    assert parse(record.to_line(), "line") == make(embedded=False, git_dirty=True, unit="ms", engine="one")
    assert type(record.embedded) is type(record.git_dirty) is bool and type(record.unit) is type(record.engine) is str
    assert plain(torch.tensor([1, 2])).shape == (2,)


WRONG: dict[type, list[Any]] = {
    float: [True, np.bool_(True), "0.5", np.ones(2), torch.ones(0), torch.empty((), device="meta"), 1j, [0.5]],
    int: [True, 1.0, np.float32(1), "1", torch.tensor(1.0), np.datetime64("2026-01-01")],
    str: [3, b"text", ["text"], None],
    bool: [1, 0.0, "yes", np.int64(1)],
}


@pytest.mark.parametrize("field", COLUMNS)
def test_each_field_refuses_other_types_by_its_name(field: str) -> None:
    for value in WRONG[COLUMNS[field]]:
        with pytest.raises(StoreError, match=rf"field '{field}' is .*, expected {COLUMNS[field].__name__}$") as caught:
            make(**{field: value})
        assert str(caught.value).startswith("record ")


def test_numbers_that_are_not_finite_or_too_large() -> None:
    for field in ("value", "low", "high", "chance", "seconds"):
        for value in (float("nan"), np.float32("inf"), torch.tensor(-torch.inf)):
            with pytest.raises(StoreError, match=f"{field} is .*, expected a finite number"):
                make(**{field: value})
        with pytest.raises(StoreError, match=f"field '{field}' is 1000"):
            make(**{field: 10**400})
    for field in ("seed", "samples", "threads"):
        assert getattr(make(**{field: 2**64 - 1}), field) == 2**64 - 1
        for large, said in ((2**64, "18446744073709551616"), (10**5000, "an integer of 16610 bits")):
            with pytest.raises(StoreError, match=f"{field} is {said}, expected a whole number below"):
                make(**{field: large})
    with pytest.raises(StoreError, match="field 'value' is an integer of 16610 bits, expected float"):
        make(value=10**5000)  # more digits than Python writes
    with pytest.raises(StoreError, match="schema 99, expected one of 1, 2"):
        make(schema=99)


@pytest.mark.parametrize("masked", [np.ma.masked, np.ma.array([0.5], mask=[True])], ids=["constant", "array of one"])
def test_what_is_masked_is_no_number(masked: Any) -> None:
    with pytest.raises(StoreError, match="field 'value' is of type Masked"):
        make(value=masked)
    assert make(value=np.ma.array([0.5], mask=[False])).value == 0.5


@pytest.mark.parametrize(
    "value",
    [np.ones(2), torch.ones(2), object(), float("nan"), {"a": 1}, (1, object()), b"x"],
    ids=lambda value: type(value).__name__,
)
def test_options_that_no_folder_can_be_called_by(value: object) -> None:
    with pytest.raises(BiBenchError, match=r"^m\[width=\.\.\.\]: expected a finite number, a string, .* got "):
        choice("m", width=value)


def test_options_in_lists_are_tuples() -> None:
    assert str(choice("m", sizes=[np.int64(1), (2.5, torch.tensor(3))])) == "m[sizes=(1, (2.5, 3))]"


@pytest.mark.parametrize("seed", [1.0, "0", True, None, np.float32(0), torch.zeros(2)], ids=repr)
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(BiBenchError, match=r"^cell: seed is .*, expected a whole number"):
        cell(seed=seed)


def test_parts_of_a_cell_are_choices() -> None:
    with pytest.raises(BiBenchError, match=r"cell: model is 'm', expected what bibench\.foundation\.choice gives"):
        Cell(Choice("t"), "m", Choice("o"), Choice("r"), 0)  # type: ignore[arg-type]
    with pytest.raises(BiBenchError, match=r"expected a name or name.*, got 3 of type int"):
        choice(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", True), ("epochs", 1.0), ("batch_size", "8"), ("lr", True), ("lr", np.ones(2)), ("lr", None)),
        *(("warmup", "0.1"), ("milestones", [0.5]), ("milestones", (True,)), ("optimizer", 3), ("optimizer", [])),
        *(("pad_value", 2), ("pad_value", "1"), ("pad_value", None)),
    ],
    ids=str,
)
def test_recipes_name_what_they_refuse(name: str, value: object) -> None:
    with pytest.raises(BiBenchError, match=f"^recipe: {name} must be .*; got "):
        Recipe(**{"epochs": 1, "batch_size": 1, "lr": 0.1, name: value})  # type: ignore[arg-type]
