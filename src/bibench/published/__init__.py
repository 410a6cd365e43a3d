"""The paper's own results as records, under the name ``published``: Tables 9-20, as printed.

One file per kind of table turns its CSV (``raw/``) into records of the one format, so that everything
that reads runs reads the paper too. They carry ``source="published"``: no average mixes them with runs.
"""

from __future__ import annotations

from bibench.records.record import PUBLISHED, SETS, Record

__all__ = ["PUBLISHED", "records"]


def records() -> list[Record]:
    """All records of the paper, in the order of its tables."""
    return SETS[PUBLISHED].read()
