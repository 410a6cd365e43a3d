"""The paper's names of tasks and architectures in ours, and what constant answers score there."""

from __future__ import annotations

from bibench.foundation.choice import choice
from bibench.tasks import TASKS

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


def our_task(task: str, subtask: str) -> str:
    """Our name of a row: ``glue, sst_2`` is ``glue_sst2``, ``shapenet_part, cap`` is ``shapenet_part_cap``."""
    return SUBTASKS.get(subtask) or (f"{task}_{subtask}" if subtask else task)


def our_model(paper_task: str, architecture: str, task: str) -> str:
    """Our model, with the options that the task gives it (the weights that BERT starts from)."""
    name = ARCHITECTURES.get((paper_task, architecture), architecture)
    offered = TASKS[task].models if task in TASKS else ()
    return next((model for model in offered if choice(model).name == name), name)


def chance(task: str) -> float:
    """Score of the best constant answer on the split that the paper judges."""
    return CHANCE.get(task, TASKS[task].chance)


def collapsed(task: str, value: float) -> bool:
    """Whether a printed score is that of a constant answer, on the paper's split or on ours, or less.

    On ours as well: XNOR++ has 56.77 on Deep-FSMN, to the digit the commonest class of the test split.
    """
    return value <= max(chance(task), TASKS[task].chance) + ROUNDING


OPERATORS = {
    "bnn": "BNN",
    "xnor": "XNOR",
    "dorefa": "DoReFa",
    "bireal": "Bi-Real",
    "xnorpp": "XNOR++",
    "reactnet": "ReActNet",
    "recu": "ReCU",
    "fda": "FDA",
}
"""Operators as the paper's tables print them."""

METRICS = {
    ("", "cifar10"): "CIFAR10",
    ("", "imagenet"): "ImageNet",
    ("", "voc07"): "VOC07",
    ("", "coco17"): "COCO17",
    ("", "modelnet40"): "ModelNet40",
    ("", "shapenet_part"): "ShapeNet",
    ("", "glue"): "GLUE",
    ("", "speech_commands"): "SpeechCom.",
    ("corruption_robustness", "cifar10"): "CIFAR10-C",
    ("", "cnn"): "CNNs",
    ("", "transformer"): "Transformers",
    ("", "mlp"): "MLPs",
    ("", "sensitivity"): "Sensitivity",
    ("", "time_cost"): "Time Cost",
    ("", "speedup"): "Speedup",
    ("", "compression"): "Compression",
}
"""Rows of Tables 2 and 3 as printed, by track (empty: of all) and metric."""

TRACK_NAMES = {
    "learning_task": "Learning Task",
    "neural_architecture": "Neural Architecture",
    "corruption_robustness": "Corruption Robustness",
    "training_consumption": "Training Consumption",
    "theoretical_complexity": "Theoretical Complexity",
    "hardware_inference": "Hardware Inference",
}
OVERALLS = {
    "learning_task": "OM_task",
    "neural_architecture": "OM_arch",
    "corruption_robustness": "OM_robust",
    "training_consumption": "OM_train",
    "theoretical_complexity": "OM_comp",
    "hardware_inference": "OM_infer",
}
"""Overall metrics as Eq. 2 to 9 call them."""

PROVIDERS = {"larq": ("Larq", "Larq"), "dabnn": ("daBNN", "JD")}
"""Libraries of Table 4 by the name of our engine: title and provider."""

FEATURES = ("Granularity", "Form", "Fold BN", "Act. Re-scaling", "Act. Mean-shifting")
"""Columns of Table 4, "Flod BN" put right."""
