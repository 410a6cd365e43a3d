"""What the records of a cell say: what it is, with what it was made, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bibench.kernels import native
from bibench.models import MODELS
from bibench.recipes.recipe import Recipe
from bibench.records.provenance import environment
from bibench.records.record import Record
from bibench.suite.cell import Cell
from bibench.tasks import TASKS, Task
from bibench.tasks.base import Evaluation
from bibench.train import sharing

if TYPE_CHECKING:
    pass


COLLAPSE = 0.99
"""A model that gives one answer to this share of the test set is flagged as collapsed."""


def precision_of(recipe: Recipe, device: torch.device) -> str:
    """What was computed with: lookups serve on some processors alone, and elsewhere all is as without them."""
    usual = recipe.backward == "float32" or (
        recipe.backward == "lookup" and not (device.type == "cpu" and native.looks_up())
    )
    return recipe.precision if usual else f"{recipe.precision}, backward {recipe.backward}"


def flags_of(diverged: bool, judged: Evaluation) -> list[str]:
    flags = []
    if judged.commonest_answer is not None and judged.commonest_answer >= COLLAPSE:
        flags.append("collapsed")
    if diverged:
        flags.append(sharing.DIVERGED)
    return flags


def identity_fields(cell: Cell) -> dict[str, Any]:
    """The record fields that say what a cell is."""
    task = TASKS[cell.task.name]
    return {
        "cell": cell.path.as_posix(),
        "task": cell.task.name,
        "group": task.group,
        "embedded": task.embedded,
        "stands_in_for": task.stands_in_for,
        "chance": task.chance,
        "model": str(cell.model),
        "family": MODELS[cell.model.name].family,
        "operator": str(cell.operator),
        "profile": str(cell.operator.options.get("profile", "default")),
        "recipe": str(cell.recipe),
        "division": cell.division,
        "study": str(cell.study or ""),
        "seed": cell.seed,
        "flags": ",".join(cell.marks),
    }


def facts_of(cell: Cell, task: Task, trained: sharing.Trained, device: torch.device) -> dict[str, Any]:
    """The record fields that say with what a cell is trained: itself, machine, software, precision and data."""
    made = {"precision": trained.precision, "data": task.checksum()[:16], "data_order": trained.data_order}
    return identity_fields(cell) | environment(device) | made


def failure_record(cell: Cell, status: str, reason: str) -> Record:
    """The row of a cell that has no number."""
    return Record(
        kind="score",
        metric=TASKS[cell.task.name].metric,
        value=None,
        split="test",
        status=status,
        reason=reason,
        **identity_fields(cell),
        **environment(),
    )


def row_of(kind: str, metric: str, value: float | None, **more: Any) -> list[dict[str, Any]]:
    """What a record says of its own; nothing where there is no number."""
    return [] if value is None else [{"kind": kind, "metric": metric, "value": value, **more}]


def judgement(task: Task, judged: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for name, value in judged.metrics.items():
        rows += row_of("score" if name == task.metric else "task", name, value, split="test")
    return rows
