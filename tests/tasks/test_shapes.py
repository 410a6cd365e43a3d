"""The embedded point-cloud tasks: what they hold, that splits share nothing, that anyone gets the same."""

from pathlib import Path

import pytest
import torch

from bibench.data.location import CACHE
from bibench.data.shapes import KINDS, PARTS
from bibench.tasks import TASKS
from bibench.tasks.base import SPLITS
from bibench.tasks.point_clouds import PointClouds, part_iou
from bibench.tasks.shapes import OBJECTS, STORED_POINTS, ShapeParts, Shapes

both = pytest.mark.parametrize("task", [Shapes, ShapeParts])


@both
def test_nothing_is_missing_and_what_is_declared_is_served(task: type[PointClouds]) -> None:
    assert task().missing() == ""
    sizes = {split: task().batches(split, batch_size=64).examples for split in SPLITS}
    assert sizes == {split: 10 * count for split, count in OBJECTS.items()}
    assert task.train_examples == sizes["train"]
    assert TASKS[task.name] is task
    assert task.stands_in_for in ("ModelNet40", "ShapeNet-part")
    assert task.points <= STORED_POINTS
    batch = next(task().batches("train", batch_size=4, seed=0).epoch(0))
    assert batch.inputs[0].shape == (4, *task().example_inputs().shape[1:])


def test_labels() -> None:
    labels = torch.cat([b.targets for b in Shapes().batches("test", batch_size=100).epoch(0)])
    assert torch.bincount(labels).tolist() == [OBJECTS["test"]] * len(KINDS)
    clouds = ShapeParts().clouds("test")
    assert clouds.parts is not None
    assert torch.bincount(clouds.parts, minlength=30).min() > 0
    for label, parts in zip(clouds.labels.tolist(), clouds.parts.view(-1, STORED_POINTS), strict=True):
        assert set(parts.tolist()) <= set(PARTS[list(KINDS)[label]])


def test_chance_is_the_score_of_a_constant_answer() -> None:
    assert Shapes.chance == 1 / 10
    task = ShapeParts()
    shares = torch.bincount(task.clouds("train").parts, minlength=30)
    own = task.membership()
    commonest = (shares * own).argmax(1)
    scores = []
    for batch in task.batches("test", batch_size=100).epoch(0):
        kind = own.int().argmax(0)[batch.targets[:, 0]]
        constant = commonest[kind][:, None].expand_as(batch.targets)
        scores.append(part_iou(constant, batch.targets, own[kind]))
    assert task.chance == pytest.approx(torch.cat(scores).mean().item(), abs=5e-4)


def test_splits_share_no_object() -> None:
    fingerprints = []
    for split in SPLITS:
        clouds = Shapes().clouds(split)
        fingerprints += [cloud.tobytes() for cloud in clouds.points.view(len(clouds), -1).numpy()]
    assert len(set(fingerprints)) == len(fingerprints) == 10 * sum(OBJECTS.values())


def test_everyone_composes_the_same_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = Shapes().checksum()
    assert ShapeParts().checksum() == checksum  # the same shapes
    monkeypatch.setenv(CACHE, str(tmp_path))
    assert Shapes().checksum() == checksum
    monkeypatch.setattr("bibench.data.shapes.cloud", lambda *arguments: pytest.fail("composed again"))
    ShapeParts().prepare()
    assert next(ShapeParts().batches("test", batch_size=2).epoch(0)).size == 2


@pytest.mark.parametrize(
    "name", ["modelnet40", "shapenet_part", "shapenet_part_airplane", "shapenet_part_table", "shapes", "shape_parts"]
)
def test_its_models_build_on_the_meta_device(name: str) -> None:
    task = TASKS[name]()
    for model in task.models:
        with torch.device("meta"):
            built = task.model(model, {})
            out = built(task.example_inputs())
        assert out.is_meta
        assert out.shape[1] == task.model_arguments()["num_classes"]
