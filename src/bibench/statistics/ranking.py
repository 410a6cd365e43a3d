"""Ranks: the order of the scores, how far each rank is sure, and who cannot be told from whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bibench.records.record import Record
from bibench.statistics.cells import LEVEL
from bibench.statistics.comparing import CORRECTION, USUAL, Inference, Pair, better, pairs_of
from bibench.statistics.correcting import CORRECTIONS
from bibench.statistics.intervals import SAMPLES, of_layout
from bibench.statistics.layout import Layout, layouts
from bibench.statistics.letters import letters


@dataclass(frozen=True)
class Rank:
    """The place of one operator.

    `rank` is 1 + the number of operators with a better score, so that it follows the score; operators share a rank
    only where their scores are equal (`shared`). `best` and `worst` bound it: 1 + the number of operators that are
    better for sure, and n - the number that are worse for sure, after `correction` for all `comparisons`; they are
    None where nothing was compared. Operators that are not told apart (`ties`) share a letter of `groups`, and
    others do not. `value`, `low`, `high`: the score and its interval, in the track's unit.

    Attributes:
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        recipe: name of the recipe, with its options.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        operator: name of the operator, with its options.
        over: what varies in the bootstrap: ``seeds``, ``tasks``, or ``auto`` where both can be.
        level: of confidence, in (0, 1).
        cells: how many cells entered.
        expected: how many cells there should be.
        note: what is missing or odd, in a sentence; empty where nothing is.
        source: the published set that the numbers are from; empty for runs.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    operator: str
    rank: int | None
    best: int | None
    worst: int | None
    groups: str
    ties: tuple[str, ...]
    value: float | None
    low: float | None
    high: float | None
    over: str
    level: float
    cells: int
    expected: int
    note: str = ""
    source: str = ""
    shared: bool = False
    correction: str = CORRECTION
    comparisons: int = 0

    @property
    def label(self) -> str:
        """The rank as it is printed: ``2``, or ``2=`` where it is shared; empty without one."""
        return "" if self.rank is None else f"{self.rank}{'=' if self.shared else ''}"

    @property
    def span(self) -> str:
        """The ranks that the comparisons leave: ``2–5``, or ``2``; empty where nothing was compared."""
        if self.best is None:
            return ""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return {**asdict(self), "ties": ",".join(self.ties)}


def ranks(
    records: Sequence[Record],
    track: str,
    *,
    metric: str = "om",
    protocol: str = "bibench",
    over: str = "auto",
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    correction: str = CORRECTION,
) -> list[Rank]:
    """Ranks of the operators under every recipe, best first. `over` auto: seeds where any cell has two, else tasks.

    The best and worst rank are those of Mogstad et al., 2024, from the pairs that `comparisons` tells apart.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        samples: number of bootstrap samples.
        seed: of the random draws.
        level: of confidence, in (0, 1).
        correction: how p-values are corrected for many comparisons: ``holm`` or another of
            `bibench.statistics.correcting`.
    """
    how = Inference(over, samples, seed, level, correction)
    return ranks_of(layouts(records, track, metric, protocol), how)


def ranks_of(made: Iterable[Layout], how: Inference = USUAL) -> list[Rank]:
    """`ranks` from layouts, for whoever needs these more than once."""
    return [row for layout in made for row in _ranked(layout, how)]


def positions(values: Sequence[float | None], sign: int = 1) -> list[int | None]:
    """1 + the number of better values, so that equal ones share a position; None has none."""
    known = [v for v in values if v is not None]
    return [None if v is None else 1 + sum(sign * other > sign * v for other in known) for v in values]


def sureness(rows: Sequence[Rank]) -> str:
    """What intervals, rank intervals and letters of a ranking are, in a clause."""
    bounded = any(row.low is not None for row in rows)
    intervals = f"{100 * rows[0].level:g} % intervals over {rows[0].over}" if bounded else ""
    return "; ".join(filter(None, (intervals, compared(rows)))) or "no intervals"


def compared(rows: Sequence[Rank]) -> str:
    """What rank intervals and letters rest on; empty where nothing was compared."""
    first, level = rows[0], f"{100 * rows[0].level:g} %"
    if not any(row.groups for row in rows):
        return ""
    if first.comparisons == 1:
        return f"rank intervals and letters of one comparison at {level}"
    how = CORRECTIONS[first.correction].said
    return f"rank intervals and letters {how} for {first.comparisons} comparisons at {level}"


def _ranked(layout: Layout, how: Inference) -> list[Rank]:
    drawn = how.draw(layout)
    rows, sign = of_layout(layout, drawn, how.level), better(layout.metric)
    pairs = pairs_of(layout, drawn, rows, how)
    scored = [o for o, row in enumerate(rows) if row.value is not None]
    place = positions([row.value for row in rows], sign)
    compared = any(pair.p is not None for pair in pairs) or len(scored) == 1
    above, below = (dict.fromkeys(scored, 0) for _ in range(2))
    for winner, loser in (_ordered(pair) for pair in pairs if pair.verdict):
        above[loser] += 1
        below[winner] += 1
    apart = [(pair.one, pair.other) for pair in pairs if pair.verdict]
    ties = {o: [p for p in scored if p != o and (o, p) not in apart and (p, o) not in apart] for o in scored}
    shown = letters(sorted(scored, key=lambda o: (place[o] or 0, o)), apart) if compared and pairs else {}
    found = [
        Rank(
            track=layout.track,
            metric=layout.metric,
            recipe=layout.recipe,
            protocol=layout.protocol,
            operator=row.operator,
            rank=place[o],
            best=1 + above[o] if compared and o in above else None,
            worst=len(scored) - below[o] if compared and o in below else None,
            groups=shown.get(o, ""),
            ties=tuple(rows[p].operator for p in ties.get(o, ())) if compared else (),
            value=row.value,
            low=row.low,
            high=row.high,
            over=drawn.over,
            level=how.level,
            cells=row.cells,
            expected=row.expected,
            note="; ".join(filter(None, (row.note, _contrary(layout, o, pairs)))),
            source=layout.source,
            shared=place[o] is not None and place.count(place[o]) > 1,
            correction=how.correction,
            comparisons=len(pairs),
        )
        for o, row in enumerate(rows)
    ]
    return sorted(found, key=lambda r: (r.rank is None, r.rank))


def _ordered(pair: Pair) -> tuple[int, int]:
    """The better of the two, then the worse."""
    return (pair.one, pair.other) if pair.verdict > 0 else (pair.other, pair.one)


def _contrary(layout: Layout, operator: int, pairs: Sequence[Pair]) -> str:
    """Operators with a worse score that are better on the cells that both have, or an empty string."""
    sign = better(layout.metric)
    found = [pair for pair in pairs if pair.contrary]
    ahead = [p.other for p in found if p.one == operator and sign * p.difference < 0]
    ahead += [p.one for p in found if p.other == operator and sign * p.difference > 0]
    names = ", ".join(layout.operators[o] for o in ahead)
    return f"behind {names} on the cells that both have" if ahead else ""
