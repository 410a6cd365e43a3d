"""Numbers with where they come from, on disk: records, checksums, provenance."""

from importlib import import_module
from typing import Any

from bibench.records.record import COLUMNS, Record, distinct, is_collapsed, parse, read, read_file, write_file

__all__ = ["COLUMNS", "Record", "distinct", "is_collapsed", "parse", "read", "read_file", "write_file"]


def __getattr__(name: str) -> Any:
    return getattr(import_module("bibench.records.record"), name)  # this was one file
