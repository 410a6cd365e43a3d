"""Plain accuracies with their spread over seeds and over settings: what every score starts from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

from bibench.foundation.choice import recorded
from bibench.operators import paper_order
from bibench.records.record import Record, distinct, is_collapsed


@dataclass(frozen=True)
class Accuracy:
    """Test scores of one task × model × operator × recipe over seeds, in percent."""

    task: str
    group: str
    embedded: bool
    model: str
    operator: str
    recipe: str
    metric: str
    mean: float | None
    std: float | None
    seeds: int
    missing: int
    seconds: float | None
    flags: str
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


def is_score(value: float | None) -> bool:
    """Whether a score is in the range of the tasks' metrics, [-1, 1]; anything else enters no average."""
    return value is not None and -1 <= value <= 1


IMPOSSIBLE, TWICE = "impossible score", "measured twice"
"""Flags of rows: a score outside of the range counts as missing; of what is there twice the latest counts."""


def accuracies(records: Iterable[Record]) -> list[Accuracy]:
    """One row per task × model × operator × recipe, in the order of the records."""
    records, displaced = distinct(records)
    twice = Counter(_place(r) for r in displaced if r.kind == "score" and r.split == "test")
    seconds = {r.cell: r.value for r in records if r.metric == "train_seconds"}
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for r in records:
        if r.kind == "score" and r.split == "test":
            groups[_place(r)].append(r)
    rows = []
    for (task, model, operator, recipe, source), group in groups.items():
        values = [100 * r.value for r in group if r.value is not None and is_score(r.value)]
        times = [t for r in group if (t := seconds.get(r.cell)) is not None]
        flags = Counter(flag for r in group for flag in r.flags.split(",") if flag)
        flags[IMPOSSIBLE] = sum(r.value is not None and not is_score(r.value) for r in group)
        flags[TWICE] = twice[task, model, operator, recipe, source]
        rows.append(
            Accuracy(
                task=task,
                group=group[0].group,
                embedded=group[0].embedded,
                model=model,
                operator=operator,
                recipe=recipe,
                metric=group[0].metric,
                mean=mean(values) if values else None,
                std=stdev(values) if len(values) > 1 else None,
                seeds=len(values),
                missing=len(group) - len(values),
                seconds=mean(times) if times else None,
                flags=", ".join(f"{flag} {n}×" for flag, n in flags.items() if n),
                source=source,
            )
        )
    return sorted(rows, key=lambda a: (a.task, a.source, a.model, a.recipe, paper_order(a.operator)))


def _place(record: Record) -> tuple[str, ...]:
    return record.task, record.model, record.operator, record.recipe, record.source


ALL_SETTINGS = "all"


@dataclass(frozen=True)
class SettingAccuracy:
    """Test scores of one operator at one setting of a study, or at all of them, over its runs; in percent.

    `collapsed` is the share of runs that give one answer to (almost) everything or score no better than the best
    constant answer, of those that have a score.
    """

    task: str
    embedded: bool
    model: str
    study: str
    operator: str
    setting: str
    mean: float | None
    std: float | None
    best: float | None
    worst: float | None
    runs: int
    missing: int
    collapsed: float | None
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


def settings(records: Iterable[Record]) -> list[SettingAccuracy]:
    """One row per task × model × study × operator × setting, after one for all settings of the operator."""
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for r in distinct(records)[0]:
        if r.kind == "score" and r.split == "test" and r.study:
            for setting in (ALL_SETTINGS, setting_of(r)):
                groups[r.task, r.model, r.study, r.operator, setting, r.source].append(r)
    rows = [_setting_row(key, group) for key, group in groups.items()]
    return sorted(
        rows,
        key=lambda s: (
            *(s.task, s.model, s.study, s.source),
            *(paper_order(s.operator), s.setting != ALL_SETTINGS, s.setting),
        ),
    )


def setting_of(record: Record) -> str:
    """The options of the record's recipe that are its setting in the study: ``sgd 0.1 cosine``."""
    common = recorded(record.study).options if record.study else {}
    own = {k: v for k, v in recorded(record.recipe).options.items() if k not in common}
    first = [own.pop(name) for name in ("optimizer", "lr", "schedule") if name in own]
    return " ".join([*map(str, first), *(f"{name}={value}" for name, value in own.items())])


def _setting_row(key: tuple[str, ...], group: list[Record]) -> SettingAccuracy:
    task, model, study, operator, setting, source = key
    scored = [(100 * r.value, r) for r in group if r.value is not None and is_score(r.value)]
    values = [value for value, _ in scored]
    return SettingAccuracy(
        task=task,
        embedded=group[0].embedded,
        model=model,
        study=study,
        operator=operator,
        setting=setting,
        mean=mean(values) if values else None,
        std=stdev(values) if len(values) > 1 else None,
        best=max(values, default=None),
        worst=min(values, default=None),
        runs=len(values),
        missing=len(group) - len(values),
        collapsed=100 * mean(is_collapsed(r) for _, r in scored) if scored else None,
        source=source,
    )
