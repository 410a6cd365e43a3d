"""The set ``published``: all tables of the paper, in its order."""

from __future__ import annotations

from bibench.published import accuracy, corruption, latency, quoted, sensitivity
from bibench.records.record import PUBLISHED, Record, record_set


@record_set(PUBLISHED, "the paper's results")
def records() -> list[Record]:
    """All records of the paper, in the order of its tables."""
    return [record for table in (accuracy, corruption, sensitivity, latency, quoted) for record in table.records()]
