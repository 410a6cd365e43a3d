"""Average ranks of operators over the tasks of a track, and by how much they must differ (Demšar, 2006)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bibench.foundation.wording import plural
from bibench.records.record import Record
from bibench.statistics.cells import LEVEL, check_level
from bibench.statistics.comparing import better
from bibench.statistics.friedman import (
    ENOUGH_BLOCKS,
    ENOUGH_OPERATORS,
    Friedman,
    friedman,
    groups_of,
    nemenyi,
    ranks_within,
)
from bibench.statistics.layout import CLUSTERS, Layout, layouts
from bibench.statistics.letters import letters

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CriticalDifference:
    """Average ranks of `operators` (best first) over `blocks`, the tasks that all of them have.

    Two operators are told apart when their average ranks differ by at least `difference`, and the Friedman test
    (`f`, `p`) finds any difference at all. `groups` are the largest sets that are not. `difference` is None
    for fewer than two operators or tasks, and `note` says so, and what the tests assume that does not hold.

    Attributes:
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        recipe: name of the recipe, with its options.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        average_ranks: in the order of `operators`.
        difference: the critical difference of average ranks, in units of one rank.
        unit: what a block is: ``task``, or task × model.
        chi2: Friedman's χ²; None without a test.
        level: of confidence, in (0, 1).
        source: the published set that the numbers are from; empty for runs.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    operators: tuple[str, ...]
    average_ranks: tuple[float, ...]
    blocks: tuple[str, ...]
    unit: str
    chi2: float | None
    f: float | None
    p: float | None
    difference: float | None
    groups: tuple[tuple[str, ...], ...]
    level: float
    note: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; `f` is None where it is infinite."""
        return {**asdict(self), "f": self.f if self.f is not None and math.isfinite(self.f) else None}

    @property
    def letters(self) -> dict[str, str]:
        """Operators that are not told apart share a letter; empty without a test."""
        apart = [(a, b) for a, b in combinations(self.operators, 2) if not any({a, b} <= set(g) for g in self.groups)]
        return letters(self.operators, apart) if self.difference is not None else {}

    @property
    def title(self) -> str:
        """What was averaged, and how far the averages must lie apart."""
        text = f"Average ranks over {len(self.blocks)} {plural(self.unit, len(self.blocks))}"
        if self.difference is None:
            return text
        return f"{text}; {self.test}; critical difference {self.difference:.2f} (Nemenyi, {100 * self.level:g} %)"

    @property
    def test(self) -> str:
        """The Friedman test in words: ``Friedman F(7, 49) = 9.1, p = 0.0002``."""
        if self.f is None or self.p is None:
            return ""
        free = len(self.operators) - 1
        p = f"p = {self.p:.2g}" if self.p >= 1e-4 else "p < 0.0001"
        return f"Friedman F({free}, {free * (len(self.blocks) - 1)}) {_equals(self.f)}, {p}"


def critical_differences(
    records: Sequence[Record], track: str, *, metric: str = "om", protocol: str = "bibench", level: float = LEVEL
) -> list[CriticalDifference]:
    """One per recipe: average ranks over tasks, or over task × model where the track averages those (Demšar, 2006).

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        level: of confidence, in (0, 1).
    """
    return criticals_of(layouts(records, track, metric, protocol), level)


def criticals_of(made: Iterable[Layout], level: float = LEVEL) -> list[CriticalDifference]:
    """`critical_differences` from layouts, for whoever needs these more than once."""
    check_level(level)
    return [_of_layout(layout, level) for layout in made]


def unit_of(layout: Layout) -> str:
    """What a block is called."""
    return "task" if layout.track in CLUSTERS else "task × model"


def blocks_of(layout: Layout) -> list[str]:
    """(C,) the block of each cell: its task, a group such as GLUE being one, or its task × model.

    Blocks are taken for independent, which tasks of a group and categories that one network tells apart are not.
    """
    return layout.groups if layout.track in CLUSTERS else layout.clusters


def _of_layout(layout: Layout, level: float) -> CriticalDifference:
    scored = [o for o, score in enumerate(layout.scores) if score.value is not None]
    names = np.array(blocks_of(layout), dtype=object)
    there = layout.present(blocks_of(layout))
    merits = np.array([_scores(layout, names == name)[scored] for name in there]).reshape(len(there), len(scored))
    complete = np.isfinite(merits).all(1)
    ranks = ranks_within(better(layout.metric) * merits[complete])
    blocks, k, unit = int(complete.sum()), len(scored), unit_of(layout)
    tested = blocks > 1 and k > 1
    found = friedman(ranks) if tested else None
    difference = nemenyi(blocks, k, level) if tested else None
    means = ranks.mean(0) if blocks else np.zeros(0)
    order = sorted(range(len(means)), key=lambda o: (means[o], o))
    operators = tuple(layout.scores[scored[o]].operator for o in order)
    average = tuple(float(means[o]) for o in order)
    groups: list[tuple[int, int]] = []
    if found is not None and difference is not None:
        groups = groups_of(average, difference) if found.f_p <= 1 - level else [(0, k - 1)]
    return CriticalDifference(
        track=layout.track,
        metric=layout.metric,
        recipe=layout.recipe,
        protocol=layout.protocol,
        operators=operators,
        average_ranks=average,
        blocks=tuple(name for name, whole in zip(there, complete, strict=True) if whole),
        unit=unit,
        chi2=found.chi2 if found else None,
        f=found.f if found else None,
        p=found.f_p if found else None,
        difference=difference,
        groups=tuple(operators[first : last + 1] for first, last in groups),
        level=level,
        note="; ".join(_notes(blocks, len(there), k, unit, difference, found, level)),
        source=layout.source,
    )


def _scores(layout: Layout, cells: npt.NDArray[np.bool_]) -> Floats:
    """(O,) the metric of some cells alone, NaN where an operator has none of them."""
    part = layout.only(cells)
    return part.overall(part.means())


def _notes(
    blocks: int, there: int, k: int, unit: str, difference: float | None, found: Friedman | None, level: float
) -> Iterator[str]:
    """What is missing, and what the tests assume that does not hold."""
    if blocks < there:
        yield f"{there - blocks} of {there} {plural(unit, there)} left out, which some operators lack"
    if found is None or difference is None:
        yield f"no critical difference: it needs two operators and two {plural(unit, 2)}, there are {k} and {blocks}"
        return
    if found.f_p > 1 - level:
        yield "the Friedman test finds no difference, so no pair is told apart"
    elif difference >= k - 1:
        over = f"{blocks} {plural(unit, blocks)}"
        yield f"average ranks of {k} cannot differ by more than {k - 1}, so {over} tell no pair apart"
    small = [f"N = {blocks} is not above {ENOUGH_BLOCKS}"] if blocks <= ENOUGH_BLOCKS else []
    small += [f"k = {k} is not above {ENOUGH_OPERATORS}"] if k <= ENOUGH_OPERATORS else []
    if small:
        yield f"{' and '.join(small)}, so F (Iman and Davenport) is read in the place of χ², and all is approximate"


def _equals(f: float) -> str:
    return "= ∞" if math.isinf(f) else f"= {f:.3g}"
