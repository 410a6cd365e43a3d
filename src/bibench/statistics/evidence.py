"""What a ranking rests on, in one sentence: seeds and tasks, and what so few of them do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bibench.foundation.wording import plural
from bibench.statistics.critical import blocks_of, unit_of
from bibench.statistics.friedman import ENOUGH_BLOCKS
from bibench.statistics.layout import KINDS, Layout

TRAINED = {"score", "corruption"}
"""Kinds of records that differ from seed to seed because something was trained anew."""

_NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


@dataclass(frozen=True)
class Evidence:
    """Fewest and most `seeds` of a cell (None where nothing is trained), and the number of `tasks` of a kind `unit`."""

    seeds: tuple[int, int] | None
    tasks: int
    unit: str = "task"

    @property
    def single(self) -> bool:
        """Whether some score is of one seed."""
        return self.seeds is not None and self.seeds[0] < 2

    @property
    def double(self) -> bool:
        """Whether some score is of two seeds, which have an interval that rests on a single difference."""
        return self.seeds is not None and 2 in self.seeds

    @property
    def few(self) -> bool:
        """Whether the tasks are too few to be a population."""
        return self.tasks <= ENOUGH_BLOCKS

    @property
    def line(self) -> str:
        """``one seed, five tasks``."""
        counts = [] if self.seeds is None else [_counted(self.seeds, "seed")]
        return ", ".join([*counts, _counted((self.tasks, self.tasks), self.unit)])


def evidence_of(layout: Layout) -> Evidence:
    """Seeds and tasks of the cells that a layout averages."""
    used = (layout.weights > 0) & np.array([not layout.places[p].conditions for p in layout.place], bool)[:, None]
    count = np.isfinite(layout.values).sum(1)
    for cell, spread in layout.spreads.items():
        count[cell] = np.isfinite(spread.accuracies[..., 1:]).any(0).sum(0)
    trained = bool(TRAINED & set(KINDS.get(layout.track, tuple(TRAINED)))) and bool(count[used].any())
    seeds = (int(count[used].min()), int(count[used].max())) if trained else None
    return Evidence(seeds, len(layout.present(blocks_of(layout))), unit_of(layout))


def thin(found: Iterable[tuple[str, Evidence]]) -> str:
    """The sentence that stands first, for the evidence of tracks by title; empty where there is enough of it.

    Args:
        found: title and evidence of each track.

    >>> thin([("Learning task", Evidence((1, 1), 5))])
    'One seed, five tasks: one seed does not tell how far another would move a score, and so few tasks hardly speak \
for others.'
    """
    titles: dict[Evidence, list[str]] = {}
    given = list(found)
    for title, one in given:
        if (one.single or one.double or one.few) and one.tasks and title not in titles.setdefault(one, []):
            titles[one].append(title)
    if not titles:
        return ""
    several = len({title for title, _ in given}) > 1
    heads = [one.line + (f" ({', '.join(own)})" if several else "") for one, own in titles.items()]
    text = "; ".join(heads) + ": " + ", and ".join(_caveats(list(titles)))
    return text[0].upper() + text[1:] + "."


def _caveats(found: Sequence[Evidence]) -> Iterator[str]:
    if any(one.single for one in found):
        yield "one seed does not tell how far another would move a score"
    if any(one.double for one in found):
        yield "the interval of two seeds rests on one difference, so that another seed may move it far"
    if few := [one for one in found if one.few]:
        alone = all(one.tasks == 1 for one in few)
        noun = plural(few[0].unit, 1 if alone else 2)
        yield f"one {noun} does not speak for others" if alone else f"so few {noun} hardly speak for others"


def _counted(count: tuple[int, int], noun: str) -> str:
    low, high = count
    number = _word(low) if low == high else f"{_word(low)} to {_word(high)}"
    return f"{number} {plural(noun, high)}"


def _word(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)
