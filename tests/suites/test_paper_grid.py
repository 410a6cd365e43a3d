"""The grid of Tables 10-12 on the meta device: every (task, model) of the suite `paper` is built and converted.

Parameter counts against the literature are tested with the models: tests/models/test_models.py (ResNets,
VGG-Small, MobileNetV2), test_detectors.py, test_pointnet.py, test_bert.py and test_fsmn.py.
"""

import csv
from collections import Counter
from pathlib import Path

import pytest
import torch

import bibench
from bibench.foundation.choice import choice
from bibench.models import MODELS
from bibench.nn.calls import on_meta
from bibench.operators import PAPER_ORDER
from bibench.suite.definition import SUITES, cells
from bibench.tasks import TASKS

PAPER = cells(SUITES["paper"])
PLACES = sorted({(c.task.name, str(c.model)) for c in PAPER})
ROWS = Path(__file__).with_name("paper_grid.csv")
"""The rows of Tables 10-12: task, subtask, architecture. "Overall" of ShapeNet-part is a mean of other rows."""


def row_of(task: str, model: str) -> tuple[str, str, str]:
    """(task, subtask, architecture) as the paper's tables name it."""
    name = choice(model).name
    if task.startswith("glue_"):
        return "glue", {"mnli": "mnli_m", "stsb": "sts_b", "sst2": "sst_2"}.get(task[5:], task[5:]), name
    if task.startswith("shapenet_part_"):
        return "shapenet_part", task.removeprefix("shapenet_part_"), name.removesuffix("_seg")
    return task, "", name


def test_the_suite_has_the_rows_of_the_tables_and_no_others() -> None:
    with ROWS.open() as file:
        published = {(r["task"], r["subtask"], r["architecture"]) for r in csv.DictReader(file)}
    assert {row_of(*place) for place in PLACES} == {r for r in published if r[1] != "overall"}
    assert len({choice(model).name for _, model in PLACES}) == 14  # the thirteen, one PointNet in two forms


def test_every_row_has_full_precision_and_the_eight_operators_once() -> None:
    counted = Counter((c.task.name, str(c.model)) for c in PAPER)
    assert set(counted.values()) == {len(PAPER_ORDER)} == {9}
    assert {str(c.operator) for c in PAPER} == set(PAPER_ORDER)
    assert {(str(c.recipe), c.seed) for c in PAPER} == {("paper", 0)}


def test_groups_are_the_eight_tasks_of_equation_2() -> None:
    counted = Counter(TASKS[task].group or task for task, _ in PLACES)
    assert counted == {
        "cifar10": 4,
        "imagenet": 1,
        "voc07": 2,
        "coco17": 1,
        "modelnet40": 2,
        "shapenet_part": 16,
        "glue": 27,
        "speech_commands": 2,
    }


def test_families_are_those_of_equation_3() -> None:
    families = {choice(model).name: MODELS[choice(model).name].family for _, model in PLACES}
    assert {name for name, family in families.items() if family == "transformer"} == {
        "bert_tiny4",
        "bert_tiny6",
        "bert_base",
    }
    assert {name for name, family in families.items() if family == "mlp"} == {
        "pointnet_vanilla",
        "pointnet",
        "pointnet_seg",
        "fsmn",
        "deep_fsmn",
    }


@pytest.mark.parametrize(("task", "model"), PLACES, ids=[f"{t}-{choice(m).name}" for t, m in PLACES])
@pytest.mark.slow_but(
    "cifar10-resnet20",
    "imagenet-resnet18",
    "glue_mrpc-bert_tiny4",
    "modelnet40-pointnet",
    "voc07-ssd300",
    "speech_commands-fsmn",
    "shapenet_part_bag-pointnet_seg",
)
def test_row_is_built_and_converted_on_the_meta_device(task: str, model: str) -> None:
    chosen = choice(model)
    # The operators take turns, so that each meets many rows.
    operator = [o for o in PAPER_ORDER if o != "fp32"][PLACES.index((task, model)) % 8]
    with torch.device("meta"):
        made = TASKS[task]()
        network = made.model(chosen.name, chosen.options)
        float_parameters = sum(p.numel() for p in network.parameters())
        audit = bibench.binarize(network, operator, example_inputs=on_meta(made.example_inputs()))
    assert all(p.is_meta for p in network.parameters())
    assert {row.operator for row in audit.binarized} <= {operator, "bi-attention"}
    assert len(audit.binarized) >= 3
    kept = [row.name for row in audit.rows if row.weight_bits == 32]
    assert kept, "first and last layer stay full precision"
    layers = sum(row.parameters for row in audit.rows)
    assert layers < float_parameters <= audit.parameters
    macs = audit.macs_by_bits()
    assert macs[1, 1] > 0 and macs[32, 32] > 0
