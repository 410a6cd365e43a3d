"""What is to be done: cells, the suites that resolve to them, and the folder of each cell, whose state is on disk."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bibench.suite.definition import SUITES, Suite, suite
    from bibench.suite.filters import Filters

__all__ = ["SUITES", "Filters", "Suite", "suite"]


def __getattr__(name: str) -> Any:
    return getattr(import_module("bibench.suite.definition"), name)  # this was one file
