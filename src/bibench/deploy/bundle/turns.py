"""Contenders take turns, in a new random order in each round, until every median is known well enough.

Whatever slows the machine down for a moment hits all contenders alike. The interval of a median is the
distribution-free one between two order statistics (David and Nagaraja, Order Statistics, 2003, section 7.1),
since times have long tails and no variance worth the name.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import median

UNLIKELY = 40
"""One in so many, on either side: 95 %."""
FEWEST_ROUNDS = 6
"""Below it, no 95 % interval of a median exists; so many are always made."""
ENOUGH_ROUNDS = 15
ENOUGH_SECONDS = 1.0
"""An interval that happens to be narrow earlier is not believed: a moment does not show how a machine varies."""
MOST_ROUNDS = 10_000
DRIFT = 0.05
"""A change from the first to the last third that is reported."""


@dataclass
class Turns:
    """What came of taking turns: samples in the order of rounds, or why a contender left."""

    samples: dict[str, list[float]]
    failures: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0.0
    narrow: bool = False


def take_turns(
    contenders: Mapping[str, Callable[[], float]],
    precision: float,
    max_seconds: float,
    at: Callable[[str, int], None] = lambda name, number: None,
    clock: Callable[[], float] = time.monotonic,
    seed: int = 0,
    fatal: tuple[type[Exception], ...] = (),
) -> Turns:
    """Let each contender make one sample per round until all intervals are within ± `precision` of their medians.

    Args:
        contenders: functions that do their work (warm already) and return the milliseconds it took.
        precision: half of the interval's width over the median.
        max_seconds: no round begins later, except that there are always `FEWEST_ROUNDS`.
        fatal: errors that end it for all; any other, only its contender leaves.
        at: told the contender that is about to work, and the number of the round.
    """
    found = Turns({name: [] for name in contenders})
    order, shuffle, began, check = list(contenders), random.Random(seed).shuffle, clock(), ENOUGH_ROUNDS
    while order and found.rounds < MOST_ROUNDS:
        if found.rounds >= FEWEST_ROUNDS and clock() - began >= max_seconds:
            break
        shuffle(order)
        for name in list(order):
            at(name, found.rounds)
            try:
                found.samples[name].append(contenders[name]())
            except fatal:
                raise
            except Exception as error:  # of an engine; the others go on
                found.failures[name] = describe(error)
                order.remove(name)
        found.rounds += 1
        if found.rounds >= check:
            found.narrow = all(width(found.samples[name]) <= precision for name in order)
            if found.narrow and clock() - began >= ENOUGH_SECONDS:
                break
            check = found.rounds + max(1, found.rounds // 10)
    found.seconds = clock() - began
    return found


def describe(error: BaseException) -> str:
    """One line."""
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:500]


def interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """The interval between order statistics that holds the median with at least 95 %; None for fewer than six."""
    rank = _rank(len(samples))
    if rank == 0:
        return None
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[-rank]


def width(samples: Sequence[float]) -> float:
    """Half of the interval's width over the median; infinite when there is no interval."""
    bounds = interval(samples)
    middle = median(samples) if samples else 0.0
    return float("inf") if bounds is None or middle <= 0 else (bounds[1] - bounds[0]) / 2 / middle


@cache
def _rank(count: int) -> int:
    """The largest k with P(fewer than k of `count` fair coins) ≤ 2.5 %; 0 if there is none."""
    total, term, rank = 0, 1, 0  # in units of 2^-count, exact
    for k in range(count // 2):
        total += term
        if total * UNLIKELY > 2**count:
            break
        rank, term = k + 1, term * (count - k) // (k + 1)
    return rank


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, by linear interpolation."""
    return quantile(samples, 0.25), median(samples), quantile(samples, 0.75)


def quantile(samples: Sequence[float], share: float) -> float:
    """The `share` quantile, by linear interpolation between order statistics."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def drift(samples: Sequence[float]) -> float:
    """How much slower the last third was than the first, when their intervals are apart; else 0."""
    third = len(samples) // 3
    first, last = samples[:third], samples[len(samples) - third :]
    before, after = interval(first), interval(last)
    if before is None or after is None or (before[0] <= after[1] and after[0] <= before[1]):
        return 0.0
    return median(last) / median(first) - 1
