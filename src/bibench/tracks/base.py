"""What a track is, its protocols, and the relative scores that most tracks are made of."""

from __future__ import annotations

import difflib
import math
import typing
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from statistics import fmean, geometric_mean, stdev
from typing import Any

from bibench.comparators.names import is_comparator
from bibench.foundation.choice import is_choice
from bibench.foundation.errors import UnknownNameError
from bibench.foundation.registry import Registry
from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.accuracies import is_score
from bibench.records.record import Record, distinct, is_collapsed

TRACKS: Registry[Track] = Registry("track", "bibench.tracks")
"""The tracks by name, called with records; `track` enters one."""

BIBENCH, PAPER = "bibench", "paper"
PROTOCOLS = {
    BIBENCH: "nothing counted twice, nothing dropped, robust means",
    PAPER: "what the averages printed in the paper contain",
}
"""How scores are averaged; docs/scores.md explains each difference."""


def geometric(values: Sequence[float]) -> float:
    """Geometric mean of positive numbers; one number is itself, to the last digit."""
    return values[0] if len(values) == 1 else geometric_mean(values)


MEANS: Mapping[str, Callable[[Sequence[float]], float]] = {BIBENCH: geometric, PAPER: fmean}
"""How positive ratios of times and sizes are averaged: a ratio and its inverse must not rank operators differently."""


LARGEST = 1e9


def is_ratio(value: float | None) -> bool:
    """Whether a ratio of times or sizes can be one: not zero, negative or astronomic, as damaged records make it."""
    return value is not None and 1 / LARGEST < value < LARGEST


def check_protocol(name: str) -> str:
    """`name`; `UnknownNameError` when it is no protocol."""
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(str(name), PROTOCOLS, n=1, cutoff=0.4)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise UnknownNameError(f"unknown protocol {name!r}{meant} Known protocols: {', '.join(PROTOCOLS)}.")
    return name


@dataclass(frozen=True)
class Score:
    """One score of one operator under one recipe; `value` in its track's unit, None when nothing can be said.

    `std_error`, in the same unit, is over the seeds that have all cells (None for fewer than two); `cells` of
    `expected` entered the value, of which `collapsed` give a constant answer or score no better than one. `note` says
    what is missing or odd. `part` is set on rows that are no summary: what they are restricted to (a device), or how
    they are corrected.
    `source` is the published set that all numbers are from, empty for runs.

    Attributes:
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        operator: name of the operator, with its options.
        recipe: name of the recipe, with its options.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
    """

    track: str
    metric: str
    operator: str
    value: float | None
    std_error: float | None = None
    cells: int = 0
    expected: int = 0
    note: str = ""
    recipe: str = ""
    protocol: str = BIBENCH
    source: str = ""
    part: str = ""
    collapsed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


class Scoring(typing.Protocol):
    """From records to scores, under one of `PROTOCOLS`."""

    def __call__(self, records: Sequence[Record], protocol: str = BIBENCH) -> list[Score]: ...


@dataclass(frozen=True)
class Track:
    """A track: its title, the equation it follows, the function from records to scores, and how they are shown.

    A track with `comparators` shows them beside the operators; there is no rank and no overall metric in it.
    """

    name: str
    title: str
    equation: str
    score: Scoring
    unit: str = "percent of full precision"
    digits: int = 1
    comparators: bool = False


def by_recipe(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by recipe, without the settings of studies: those are no results of their own."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        if not record.study:
            parts.setdefault(record.recipe, []).append(record)
    return parts


def by_study(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by study, its settings pooled; those of no study by their recipe."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(record.study or record.recipe, []).append(record)
    return parts


def track(
    name: str,
    title: str,
    equation: str,
    parts: Callable[[Sequence[Record]], dict[str, list[Record]]] = by_recipe,
    comparators: bool = False,
    **shown: Any,
) -> Callable[..., Any]:
    """Decorator: enter a function from comparable records and a protocol to scores into the catalogue.

    What it becomes takes any records. It scores each of `parts` of each source alone, so that numbers of
    different recipes, or of runs and of the paper, are never averaged; what was measured twice counts once, the
    latest, and the scores say so. Records of comparators reach it only if it asks for `comparators`, so that
    they are in no rank, average or overall metric. `shown`: `unit` and `digits` of its scores.

    Args:
        name: as users write it.
        title: in reports.
        equation: of the overall metric, in LaTeX or words.

    Raises:
        UnknownNameError: no such protocol; raised by what it becomes.
    """

    def enter(function: Callable[[Sequence[Record], str], list[Score]]) -> Any:
        @wraps(function)
        def score(records: Sequence[Record], protocol: str = BIBENCH) -> list[Score]:
            check_protocol(protocol)
            counted, displaced = distinct(records if comparators else without_comparators(records))
            rows = []
            for source in dict.fromkeys(r.source for r in counted):
                twice = parts([r for r in displaced if r.source == source])
                for recipe, part in parts([r for r in counted if r.source == source]).items():
                    scored = [
                        replace(row, recipe=recipe, source=source, protocol=protocol)
                        for row in function(part, protocol)
                    ]
                    rows += _marked(scored, twice.get(recipe, []))
            return rows

        TRACKS.register(name, Track(name, title, equation, score, comparators=comparators, **shown), where=function)
        return score

    return enter


def _marked(rows: Sequence[Score], displaced: Sequence[Record]) -> list[Score]:
    """The rows, with a note where the operator's name is damaged, or it or full precision was measured twice."""
    cells = Counter(operator for operator, _ in {(r.operator, r.cell) for r in displaced})
    marked = []
    for row in rows:
        if not is_choice(row.operator):
            row = replace(row, note=joined_notes(row.note, "its name is not of the form name[option=value,...]"))
        if count := cells[row.operator] + cells[FULL_PRECISION]:
            again = f"measured twice, the latest counts: {count} cell{'s' if count > 1 else ''}"
            row = replace(row, note=joined_notes(row.note, again))
        marked.append(row)
    return marked


def joined_notes(*notes: str) -> str:
    """Notes that say something, each once."""
    return "; ".join(dict.fromkeys(filter(None, notes)))


def without_comparators(records: Sequence[Record]) -> list[Record]:
    """The records of operators and baselines alone."""
    others = {name for name in {r.operator for r in records} if is_comparator(name)}
    return [r for r in records if r.operator not in others]


@dataclass(frozen=True)
class Ratio:
    """The score of one cell relative to its full-precision baseline (value None: it has no number).

    `group` is the task that it counts as: the tasks of a group (GLUE's nine, the categories of ShapeNet-part)
    are one task in the scores. `corrected` is the ratio of what both score above `chance`, the score of a
    constant answer, and 0 below it. `problem` says why there is no number, or what is wrong with it.
    """

    task: str
    group: str
    model: str
    family: str
    operator: str
    seed: int
    value: float | None
    corrected: float | None = None
    chance: float = 0.0
    collapsed: bool = False
    problem: str = ""


def ratios(records: Iterable[Record]) -> list[Ratio]:
    """Every operator cell's score divided by its baseline's."""
    scores = [r for r in records if r.kind == "score" and r.split == "test"]
    baselines = {_comparable(r): r for r in scores if r.operator == FULL_PRECISION}
    return [_ratio(r, baselines.get(_comparable(r))) for r in scores if r.operator != FULL_PRECISION]


def _ratio(record: Record, baseline: Record | None) -> Ratio:
    value = corrected = None
    problem = ""
    if record.value is None:
        pass  # it failed, or cannot be: the accuracies and `bibench status` say why
    elif not is_score(record.value):
        problem = f"a score of {record.value}, expected -1 to 1"
    elif baseline is None or baseline.value is None:
        problem = "its full-precision baseline has no score"
    elif not 1 / LARGEST < baseline.value <= 1:
        problem = f"its full-precision baseline scores {baseline.value}"
    else:
        value = record.value / baseline.value
        if baseline.value - baseline.chance > 1 / LARGEST:
            above = (record.value - record.chance) / (baseline.value - baseline.chance)
            corrected = max(above, 0.0)
        if is_collapsed(baseline):
            problem = "its full-precision baseline collapsed"
    return Ratio(
        task=record.task,
        group=record.counts_as,
        model=record.model,
        family=record.family,
        operator=record.operator,
        seed=record.seed,
        value=value,
        corrected=corrected,
        chance=record.chance,
        collapsed=is_collapsed(record),
        problem=f"{record.cell}: {problem}" if problem else "",
    )


def _comparable(record: Record) -> tuple[Any, ...]:
    return record.task, record.model, record.recipe, record.seed


def operators_of(found: Iterable[Ratio]) -> list[str]:
    """The operators, the paper's first."""
    return sorted({r.operator for r in found}, key=paper_order)


Joined = Callable[[Sequence[Ratio]], float]


def relative_scores(
    track: str, found: Sequence[Ratio], groups: Mapping[str, Sequence[Ratio]], of: str, joined: Joined
) -> list[Score]:
    """Per operator the average of each group of ratios in percent, and the quadratic mean of them, ``om``.

    `of` is the noun for the groups ("tasks"); `joined` averages the ratios of a group.
    """
    by_operator = {name: _by_operator(group) for name, group in groups.items()}
    expected = {name: max(map(len, own.values()), default=0) for name, own in by_operator.items()}
    collapsed_cells = Counter(r.operator for r in found if r.collapsed)
    rows = []
    for operator in operators_of(found):
        own = [
            _average(track, name, operator, by_operator[name].get(operator, []), expected[name], joined)
            for name in groups
        ]
        values = [row.value for row in own]
        count = sum(value is not None for value in values)
        note = f"{count} of {len(groups)} {of}"
        if count == len(groups):
            note = _counted(sum(row.cells for row in own), sum(row.expected for row in own))
        collapsed = collapsed_cells[operator]
        om = Score(track, "om", operator, quadratic_mean(values), None, count, len(groups), note, collapsed=collapsed)
        rows += [*own, om]
    return rows


def chance_corrected(
    track: str, found: Sequence[Ratio], groups: Mapping[str, Sequence[Ratio]], of: str, joined: Joined
) -> list[Score]:
    """The same of what is above chance, for the groups that have a chance level, and overall."""
    above = {r: replace(r, value=r.corrected) for r in found}
    corrected = {name: [above[r] for r in group] for name, group in groups.items()}
    concerned = {name for name, group in groups.items() if any(r.chance for r in group)}
    if not concerned:
        return []
    rows = relative_scores(track, list(above.values()), corrected, of, joined)
    part = "chance-corrected"
    return [
        replace(row, metric=f"{row.metric}_chance_corrected", part=part)
        for row in rows
        if row.metric in concerned or row.metric == "om"
    ]


def _by_operator(group: Sequence[Ratio]) -> dict[str, list[Ratio]]:
    found: dict[str, list[Ratio]] = defaultdict(list)
    for r in group:
        found[r.operator].append(r)
    return found


def _average(track: str, name: str, operator: str, own: Sequence[Ratio], expected: int, joined: Joined) -> Score:
    """Average in percent, its standard error over seeds, and what is missing."""
    valid = [r for r in own if r.value is not None]
    counted = _counted(len(valid), expected) if expected else "no cells"
    note = joined_notes(counted, *_few([r.problem for r in own if r.problem]))
    collapsed = sum(r.collapsed for r in own)
    note = joined_notes(note, f"{collapsed} collapsed" if collapsed else "")
    if not valid:
        return Score(track, name, operator, None, None, 0, expected, note, collapsed=collapsed)
    of_seed: dict[int, list[Ratio]] = defaultdict(list)
    for r in valid:
        of_seed[r.seed].append(r)
    cells = {(r.task, r.model) for r in valid}
    # A seed that lacks a cell differs from the others by what the cell is, not by chance.
    seeds = [joined(own) for _, own in sorted(of_seed.items()) if len(own) == len(cells)]
    error = 100 * stdev(seeds) / math.sqrt(len(seeds)) if len(seeds) > 1 else None
    return Score(track, name, operator, 100 * joined(valid), error, len(valid), expected, note, collapsed=collapsed)


def _counted(cells: int, expected: int) -> str:
    """What to say of an average over incomplete cells, or an empty string."""
    return "" if cells == expected else f"{cells} of {expected} cells"


def _few(problems: Sequence[str], most: int = 3) -> list[str]:
    more = len(problems) - most
    return [*problems[:most], f"and {more} more"] if more > 0 else list(problems)


def plain_mean(valid: Sequence[Ratio]) -> float:
    """Mean of all ratios, whatever they are of."""
    return fmean(r.value for r in valid if r.value is not None)


def nested_mean(valid: Sequence[Ratio]) -> float:
    """Mean over models of a group of tasks, within a model over the tasks of the group, within a task over seeds.

    A task that stands for itself is its own group. So a family of architectures is not ruled by the task that
    has most rows.
    """
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in valid:
        assert r.value is not None
        values[r.group, r.model][r.task].append(r.value)
    return fmean(fmean(fmean(seeds) for seeds in tasks.values()) for tasks in values.values())


def quadratic_mean(values: Sequence[float | None]) -> float | None:
    """√(mean of squares) over the values that exist (the paper's overall metric).

    Where a correlation is negative, so is its ratio; it counts as 0, since its square would be a merit.
    """
    existing = [max(v, 0.0) for v in values if v is not None]
    return math.sqrt(fmean(v * v for v in existing)) if existing else None
