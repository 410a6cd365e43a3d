"""Whether A is better than B, in one sentence made from the numbers of `bibench.statistics.versus`."""

from __future__ import annotations

import math
from dataclasses import replace

from bibench.foundation.wording import counted, plural
from bibench.statistics.comparing import better
from bibench.statistics.versus import Versus
from bibench.tracks import TRACKS


def answer(row: Versus) -> str:
    """Whether one operator is better than the other, from the overall row: one sentence, and what it rests on.

    Differences and intervals are of the operator that is ahead, whichever was named first.
    """
    ahead, behind, gap = _ahead(row)
    digits, size = places(row), _size(row, gap)
    cells, seeds = counted(row.cells, "cell"), f"{from_to(*row.seeds)} {plural('seed', row.seeds[1])}"
    trained = row.track not in SEEDLESS
    rests = f"{cells}, {seeds}" if trained else cells
    bounds = f"{100 * row.level:g} % interval {_ends_ahead(row)}, " if row.low is not None else ""
    by = f"by a factor of {_factor(gap):.{digits}f}" if row.ratio else f"by {size}"
    above = f"{ahead} scores {size} {_side(row)} {behind}"
    if _alike(row):
        above = f"{row.operator} and {row.other} score the same to {counted(digits, 'digit')}"
    if trained and row.seeds[1] < 2:
        return f"One seed: {above} on {cells}; another seed may say otherwise.{_of_tasks(row)}"
    if row.better:
        text = f"{ahead} is better than {behind} {by} ({bounds}{rests})."
    elif row.p is None:
        text = f"Nothing tells how sure it is: {above} ({rests})."
    else:
        text = f"{row.operator} and {row.other} are not told apart: {above} ({bounds}{rests})."
    return text + (f" {PAIR_OF_SEEDS}" if trained and row.over == "seeds" and row.seeds[0] <= 2 else "")


def places(row: Versus) -> int:
    """How many decimals a difference is printed with."""
    return max(TRACKS[row.track].digits, 2 if row.ratio else 0)


def _size(row: Versus, gap: float) -> str:
    """``5.7 points`` of percent, ``0.07`` of times, ``1.13 times`` of ratios of geometric means."""
    if row.ratio:
        return f"{_factor(gap):.{places(row)}f} times"
    points = " points" if TRACKS[row.track].unit.startswith("percent") else ""
    return f"{abs(gap):.{places(row)}f}{points}"


def _side(row: Versus) -> str:
    """Where the operator that is ahead stands: below the other where less is better."""
    if row.ratio:
        return "those of"
    return "above" if better(row.metric) > 0 else "(less is better) below"


def _alike(row: Versus) -> bool:
    """Whether nobody sees a difference in the numbers as printed."""
    if row.ratio:
        return f"{row.difference:.{places(row)}f}" == f"{1:.{places(row)}f}"
    return f"{abs(row.difference):.{places(row)}f}" == f"{0:.{places(row)}f}"


SEEDLESS = ("theoretical_complexity", "hardware_inference")
"""Tracks that measure without training."""
PAIR_OF_SEEDS = "Some of it rests on two seeds or fewer, whose interval may be far off: train more."


def _of_tasks(row: Versus) -> str:
    """What one seed of several tasks says of other tasks of the kind."""
    if row.over != "tasks" or row.low is None:
        return ""
    told = f"{row.better} is better" if row.better else "they are not told apart"
    return f" Over {counted(row.tasks, 'task')} {told} ({100 * row.level:g} % interval {_ends_ahead(row)})."


def _ends_ahead(row: Versus) -> str:
    """The interval of the difference that the sentence states."""
    if _ahead(row)[0] == row.operator:
        return ends(row, places(row))
    low, high = row.low or 0.0, row.high or 0.0
    turned = (1 / high, 1 / low) if row.ratio else (-high, -low)
    return ends(replace(row, low=turned[0], high=turned[1]), places(row))


def _ahead(row: Versus) -> tuple[str, str, float]:
    """The operator with the better score, the other, and the difference (the logarithm of a ratio)."""
    gap = math.log(row.difference) if row.ratio and row.difference > 0 else row.difference
    merit = better(row.metric) * gap
    return (row.operator, row.other, gap) if merit >= 0 else (row.other, row.operator, gap)


def _factor(logarithm: float) -> float:
    return math.exp(abs(logarithm))


def ends(row: Versus, digits: int) -> str:
    """The interval of a difference, as the operators were named; empty without one."""
    if row.low is None or row.high is None:
        return ""
    return f"{signed(row.low, digits, row.ratio)} to {signed(row.high, digits, row.ratio)}"


def signed(value: float, digits: int, ratio: bool = False) -> str:
    """``+1.2`` of a difference, ``1.20`` of a ratio."""
    return f"{value:.{digits}f}" if ratio else f"{value:+.{digits}f}".replace("-", "−")


def from_to(low: int, high: int) -> str:
    """``3``, or ``1 to 3``."""
    return str(low) if low == high else f"{low} to {high}"
