"""Names of operators and their order, for whoever reads records: without PyTorch."""

from __future__ import annotations

FULL_PRECISION = "fp32"
"""Name of the baseline that nothing is done to."""
PAPER_ORDER = (FULL_PRECISION, "bnn", "xnor", "dorefa", "bireal", "xnorpp", "reactnet", "recu", "fda")
"""The baseline and the paper's eight operators, in the order of its tables."""


def paper_order(name: str) -> tuple[int, str]:
    """Sort key: the paper's operators in its order, then the others by name (options are ignored).

    Args:
        name: of an operator, options included.
    """
    base = name.partition("[")[0]
    return (PAPER_ORDER.index(base) if base in PAPER_ORDER else len(PAPER_ORDER), name)
