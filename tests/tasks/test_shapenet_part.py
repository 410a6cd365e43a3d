"""ShapeNet-part on tiny files in the true layout: what is read, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bibench.data.location import CACHE
from bibench.data.shapenet import CATEGORIES, FOLDER
from bibench.errors import DataError
from bibench.tasks import TASKS
from bibench.tasks.data_check import check_data
from bibench.tasks.shapenet_part import CATEGORY_TASKS, ShapeNetPart, ShapeNetParts

POINTS = 24
SHAPES = {"train": 3, "val": 1, "test": 2}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root with 6 shapes of each category, of 10 to 29 points."""
    monkeypatch.setattr(ShapeNetParts, "points", POINTS)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    folder = tmp_path / "data" / FOLDER
    (folder / "train_test_split").mkdir(parents=True)
    random = np.random.default_rng(0)
    listed: dict[str, list[str]] = {split: [] for split in SHAPES}
    for category in CATEGORIES.values():
        (folder / category.synset).mkdir()
        for split, count in SHAPES.items():
            for index in range(count):
                name = f"{split}-{index}a0b.1"
                size = 10 + (7 * index + category.parts[0]) % 20
                table = np.concatenate([random.normal(size=(size, 6)), random.choice(category.parts, (size, 1))], 1)
                np.savetxt(folder / category.synset / f"{name}.txt", table, "%.6f")
                listed[split].append(f"shape_data/{category.synset}/{name}")
    for split, names in listed.items():
        (folder / "train_test_split" / f"shuffled_{split}_file_list.json").write_text(json.dumps(names))
    return tmp_path / "data"


def airplane(root: Path | None) -> ShapeNetParts:
    return TASKS["shapenet_part_airplane"](root)


def some_file(root: Path) -> Path:
    return root / FOLDER / CATEGORIES["airplane"].synset / "test-1a0b.1.txt"


def listing(root: Path) -> Path:
    return root / FOLDER / "train_test_split" / "shuffled_test_file_list.json"


def problem(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        airplane(root).prepare()
    return str(caught.value)


# -- the tasks ---------------------------------------------------------------------------------------------


def test_sixteen_categories_and_all_of_them() -> None:
    assert len(CATEGORIES) == len(CATEGORY_TASKS) == 16
    assert [part for category in CATEGORIES.values() for part in category.parts] == list(range(50))
    assert {cls.name for cls in CATEGORY_TASKS} == {f"shapenet_part_{name}" for name in CATEGORIES}
    assert [sum(c.shapes[i] for c in CATEGORIES.values()) for i in range(3)] == [12137, 1870, 2874]
    assert ShapeNetPart.num_classes == 50
    assert ShapeNetPart.train_examples == 12137
    for cls, (name, category) in zip(CATEGORY_TASKS, CATEGORIES.items(), strict=True):
        assert TASKS[cls.name] is cls
        assert cls.categories == {name: tuple(range(len(category.parts)))}
        assert cls.num_classes == len(category.parts)
        assert cls.group == "shapenet_part"
    assert ShapeNetPart.group == ""


# -- what is read ------------------------------------------------------------------------------------------


def test_one_category(root: Path) -> None:
    task = airplane(root)
    assert task.missing() == ""
    sizes = {split: task.batches(split, batch_size=4).examples for split in task.splits()}
    assert sizes == {"train": 3, "validation": 1, "test": 2}
    batch = next(task.batches("test", batch_size=4).epoch(0))
    stored = np.loadtxt(some_file(root))
    count = len(stored)
    assert count == 17
    assert batch.inputs[0].shape == (2, 6, POINTS)
    assert batch.targets[1, :count].tolist() == stored[:, 6].astype(int).tolist()
    assert batch.targets[1, count:].tolist() == [-1] * (POINTS - count)  # repeated points
    np.testing.assert_allclose(batch.inputs[0][1, 3:, :count].T, stored[:, 3:6], atol=1e-5)  # normals as stored
    torch.testing.assert_close(batch.inputs[0][1, :, count:], batch.inputs[0][1, :, : POINTS - count])


def test_parts_of_a_category_count_from_zero(root: Path) -> None:
    for name in ("table", "motorbike"):
        task = TASKS[f"shapenet_part_{name}"](root)
        found = torch.cat([b.targets.flatten() for b in task.batches("train", batch_size=4).epoch(0)]).unique()
        assert found.tolist() == [-1, *range(task.num_classes)]


def test_all_categories(root: Path) -> None:
    task = ShapeNetPart(root)
    assert task.batches("train", batch_size=4).examples == 48
    model = task.model("pointnet_seg", {"width": 2}).eval()
    with torch.no_grad():
        judged = task.evaluate(model, task.batches("test", batch_size=16), torch.device("cpu"))
    assert judged.examples == 32
    per_category = [judged.metrics[f"miou_{name}"] for name in CATEGORIES]
    assert judged.metrics["category_miou"] == pytest.approx(np.mean(per_category))
    assert judged.metrics["instance_miou"] == pytest.approx(np.mean(per_category))  # two shapes of each


def test_the_score_of_a_category_does_not_need_the_others(root: Path) -> None:
    task = airplane(root)
    model = task.model("pointnet_seg", {"width": 2}).eval()
    with torch.no_grad():
        judged = task.evaluate(model, task.batches("test", batch_size=16), torch.device("cpu"))
    assert set(judged.metrics) == {"instance_miou", "category_miou", "accuracy", "loss"}
    assert judged.metrics["instance_miou"] == pytest.approx(judged.metrics["category_miou"])


def test_training_is_augmented_and_evaluation_is_not(root: Path) -> None:
    task = airplane(root)
    epochs = [next(task.batches("train", batch_size=3, seed=0).epoch(e)).inputs[0] for e in (0, 1)]
    assert not torch.equal(*epochs)
    assert torch.equal(*(next(task.batches("test", batch_size=2).epoch(e)).inputs[0] for e in (0, 1)))


# -- what is refused ---------------------------------------------------------------------------------------


def test_what_is_missing_and_where_to_get_it(root: Path, tmp_path: Path) -> None:
    assert "--data-root" in airplane(None).missing()
    assert f"{tmp_path / FOLDER} is missing; fetch and unpack https://" in airplane(tmp_path).missing()
    for file in (folder := root / FOLDER / CATEGORIES["airplane"].synset).iterdir():
        file.unlink()
    folder.rmdir()
    assert f"{root / FOLDER} lacks 02691156; unpack" in airplane(root).missing()
    assert TASKS["shapenet_part_bag"](root).missing() == ""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is empty"),
        ("0 0 0 0 0 1\n", "6 columns, expected 7"),
        ("0 0 0 0 0 1 0\n0 0 0 0 0", "truncated?"),
        ("0 0 nan 0 0 1 0\n", "a value in line 1 is nan, expected a finite number"),
        ("0 0 0 0 0 1 0\n0 0 0 0 0 1 4\n", "row 2 has part 4; those of the category airplane are 0 to 3"),
        ("0 0 0 0 0 1 0.5\n", "row 1 has part 0.5"),
        ("0 0 0 0 0 1 -1\n", "row 1 has part -1"),
    ],
)
def test_damaged_shapes(root: Path, content: str, told: str) -> None:
    some_file(root).write_text(content)
    message = problem(root)
    assert message.startswith(f"{some_file(root)} is damaged: ")
    assert told in message


def test_a_listed_shape_that_is_missing(root: Path) -> None:
    some_file(root).unlink()
    assert str(some_file(root)) in problem(root)


@pytest.mark.parametrize(
    "entry",
    [
        "shape_data/02691156/../../../etc/passwd",
        "shape_data/02691156/..",
        "../02691156/a",
        "/02691156/a",
        "shape_data/99999999/a",
        "shape_data/02691156/a/b",
        "shape_data/02691156/.hidden",
        "02691156",
        7,
        None,
    ],
)
def test_lists_do_not_lead_out_of_the_folder(root: Path, entry: object) -> None:
    listing(root).write_text(json.dumps([*json.loads(listing(root).read_text()), entry]))
    message = problem(root)
    assert message.startswith(f"{listing(root)}: {entry!r} is not of the form shape_data/<synset>/<name>")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('["shape_data/02691156/a"', "cannot be read"),
        ('{"a": 1}', "expected a list of shapes, got dict"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "the test list names no airplane"),
        (json.dumps(["shape_data/02691156/a"] * 2), "shape 02691156/a is listed twice"),
    ],
)
def test_damaged_lists(root: Path, content: str, told: str) -> None:
    listing(root).write_text(content)
    assert told in problem(root)


def test_a_missing_list(root: Path) -> None:
    listing(root).unlink()
    assert f"{listing(root)} cannot be read" in problem(root)


def test_a_shape_in_two_splits_is_refused(root: Path) -> None:
    entries = json.loads(listing(root).read_text())
    listing(root).write_text(json.dumps([*entries, "shape_data/02691156/train-0a0b.1"]))
    assert "is in the lists of train and test" in problem(root)


def test_the_check_counts_shapes(root: Path) -> None:
    lists, shapes = check_data(airplane(root)).found
    assert (lists.path, lists.state, lists.files) == (f"{FOLDER}/train_test_split", "found", 3)
    assert (shapes.state, shapes.files) == ("incomplete", 6)
    assert shapes.detail == "has 6 files, the published data set 2,690"
    assert len(check_data(ShapeNetPart(root)).found) == 17
    assert sum(piece.files or 0 for piece in ShapeNetPart().layout()) == 16_881 + 3
