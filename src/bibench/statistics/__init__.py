"""Statistics of records: spread over seeds, paired differences, intervals, ranks with ties, coverage."""

from bibench.statistics.cells import LEVEL, CellMean, cells
from bibench.statistics.coverage import Coverage, CoverageRow, coverage
from bibench.statistics.differences import Difference, differences
from bibench.statistics.intervals import Interval, intervals
from bibench.statistics.leaving_out import LeaveOneOut, leave_one_out
from bibench.statistics.ranking import Rank, ranks

__all__ = [
    "LEVEL",
    "CellMean",
    "Coverage",
    "CoverageRow",
    "Difference",
    "Interval",
    "LeaveOneOut",
    "Rank",
    "cells",
    "coverage",
    "differences",
    "intervals",
    "leave_one_out",
    "ranks",
]
