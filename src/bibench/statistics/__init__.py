"""Statistics of records: spread over seeds, paired differences, intervals, ranks and how sure they are, coverage."""

from bibench.statistics.cells import LEVEL, CellMean, cells
from bibench.statistics.comparing import Comparison, comparisons
from bibench.statistics.coverage import Coverage, CoverageRow, coverage
from bibench.statistics.critical import CriticalDifference, critical_differences
from bibench.statistics.differences import Difference, differences
from bibench.statistics.evidence import Evidence, thin
from bibench.statistics.intervals import Interval, intervals
from bibench.statistics.leaving_out import LeaveOneOut, leave_one_out
from bibench.statistics.ranking import Rank, ranks

__all__ = [
    "LEVEL",
    "CellMean",
    "Comparison",
    "Coverage",
    "CoverageRow",
    "CriticalDifference",
    "Difference",
    "Evidence",
    "Interval",
    "LeaveOneOut",
    "Rank",
    "cells",
    "comparisons",
    "coverage",
    "critical_differences",
    "differences",
    "intervals",
    "leave_one_out",
    "ranks",
    "thin",
]
