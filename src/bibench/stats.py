"""Plain accuracies with their spread over seeds: what every score starts from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

from bibench.operators import paper_order
from bibench.records import Record


@dataclass(frozen=True)
class Accuracy:
    """Test scores of one task × model × operator × recipe over seeds, in percent."""

    task: str
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

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


def accuracies(records: Iterable[Record]) -> list[Accuracy]:
    """One row per task × model × operator × recipe, in the order of the records."""
    records = list(records)
    seconds = {r.cell: r.value for r in records if r.metric == "train_seconds"}
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for r in records:
        if r.kind == "score" and r.split == "test":
            groups[r.task, r.model, r.operator, r.recipe].append(r)
    rows = []
    for (task, model, operator, recipe), group in groups.items():
        values = [100 * r.value for r in group if r.value is not None]
        times = [t for r in group if (t := seconds.get(r.cell)) is not None]
        flags = Counter(flag for r in group for flag in r.flags.split(",") if flag)
        rows.append(
            Accuracy(
                task=task,
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
                flags=", ".join(f"{flag} {n}×" for flag, n in flags.items()),
            )
        )
    return sorted(rows, key=lambda a: (a.task, a.model, a.recipe, paper_order(a.operator)))
