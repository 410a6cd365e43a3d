"""The paper's names of tasks and architectures in ours, and what constant answers score there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bibench.foundation.choice import choice

if TYPE_CHECKING:
    from bibench.tasks import Task

OVERALL = "overall"
"""Subtask of the row that is the mean of its task's other rows."""

SUBTASKS = {
    "mnli_m": "glue_mnli",
    "mnli_mm": "glue_mnli_mm",
    "qqp": "glue_qqp",
    "qnli": "glue_qnli",
    "sst_2": "glue_sst2",
    "cola": "glue_cola",
    "sts_b": "glue_stsb",
    "mrpc": "glue_mrpc",
    "rte": "glue_rte",
}

ARCHITECTURES = {("shapenet_part", "pointnet"): "pointnet_seg"}

ROUNDING = 5e-5
"""Scores are printed with two decimals of a percent."""

CHANCE = {"speech_commands": 4221 / 7477}
"""Share of the commonest answer where the paper's split is not ours.

Four operators have 56.45 on FSMN: that is the commonest class of the validation split of Speech Commands
v0.01 with 10 % of silence (the test split has 56.77), so the paper's speech results are of that split.
"""


def ours(task: str) -> type[Task]:
    """Our task of that name."""
    from bibench.tasks import TASKS

    return TASKS[task]


def our_task(task: str, subtask: str) -> str:
    """Our name of a row: ``glue, sst_2`` is ``glue_sst2``, ``shapenet_part, cap`` is ``shapenet_part_cap``."""
    return SUBTASKS.get(subtask) or (f"{task}_{subtask}" if subtask else task)


def our_model(paper_task: str, architecture: str, task: str) -> str:
    """Our model, with the options that the task gives it (the weights that BERT starts from)."""
    name = ARCHITECTURES.get((paper_task, architecture), architecture)
    from bibench.tasks import TASKS

    offered = TASKS[task].models if task in TASKS else ()
    return next((model for model in offered if choice(model).name == name), name)


def chance(task: str) -> float:
    """Score of the best constant answer on the split that the paper judges."""
    return CHANCE.get(task, ours(task).chance)


def collapsed(task: str, value: float) -> bool:
    """Whether a printed score is that of a constant answer, on the paper's split or on ours, or less.

    On ours as well: XNOR++ has 56.77 on Deep-FSMN, to the digit the commonest class of the test split.
    """
    return value <= max(chance(task), ours(task).chance) + ROUNDING
