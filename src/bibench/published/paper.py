"""The set ``published``: all tables of the paper, in its order."""

from __future__ import annotations

from typing import Any

from bibench.data.remembered import remembered
from bibench.published import accuracy, corruption, latency, quoted, sensitivity
from bibench.records.record import PUBLISHED, Record, record_set


@record_set(PUBLISHED, "the paper's results")
def records() -> list[Record]:
    """All records of the paper, in the order of its tables."""
    return [Record(**said) for said in remembered("published", _records)]


def _records() -> list[dict[str, Any]]:
    tables = (accuracy, corruption, sensitivity, latency, quoted)
    return [vars(record) for table in tables for record in table.records()]
