"""Reading the CSV files that come with the package, and what all their records share."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from bibench.foundation.choice import choice
from bibench.foundation.errors import DataError
from bibench.foundation.lines import split_lines
from bibench.foundation.numbers import parse_number
from bibench.operators import PAPER_ORDER
from bibench.records.record import PUBLISHED, Record

Row = dict[str, str]
RECIPE = "paper"


def rows(name: str, columns: Sequence[str], numbers: Sequence[str]) -> list[Row]:
    """The rows of a table of this package."""
    return read_rows(files("bibench.published") / "raw" / name, columns, numbers)


def read_rows(file: Traversable | Path, columns: Sequence[str], numbers: Sequence[str]) -> list[Row]:
    """The rows of a CSV file with exactly these columns, of which `numbers` are finite numbers.

    `DataError` names the file and the line of anything else: other columns, a row that is cut short, an
    operator that the paper does not have.
    """
    try:
        lines = split_lines(file.read_bytes().decode())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}; install BiBench again") from error
    try:
        cells = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise DataError(f"{file}: not CSV: {error}") from error
    if not cells or cells[0] != list(columns):
        raise DataError(
            f"{file}:1: expected the columns {', '.join(columns)}; got {', '.join(cells[0] if cells else [])}"
        )
    found = []
    for line, values in enumerate(cells[1:], 2):
        if len(values) != len(columns):
            raise DataError(f"{file}:{line}: expected {len(columns)} values, got {len(values)}")
        row = dict(zip(columns, values, strict=True))
        for column in numbers:
            parse_number(row[column], f"{file}:{line}: {column}", fix="install BiBench again")
        if row.get("operator", PAPER_ORDER[0]) not in PAPER_ORDER:
            raise DataError(f"{file}:{line}: unknown operator {row['operator']!r}; expected {', '.join(PAPER_ORDER)}")
        found.append(row)
    return found


def record(*, task: str, model: str, operator: str, recipe: str = RECIPE, seed: int = 0, **more: Any) -> Record:
    """A record of the paper's full-sized data; `more` are its further fields."""
    folder = (task, choice(model).path_name, operator, choice(recipe).path_name, f"seed{seed}")
    return Record(
        cell="/".join((PUBLISHED, *folder)),
        task=task,
        embedded=False,
        model=model,
        family=_family(model),
        operator=operator,
        recipe=recipe,
        seed=seed,
        source=PUBLISHED,
        **more,
    )


score = partial(record, split="test")
"""A record of the test split."""


def _family(model: str) -> str:
    from bibench.models import MODELS

    return MODELS[choice(model).name].family
