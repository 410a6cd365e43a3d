"""Detection tasks: embedded scenes, the true layouts of VOC and COCO, augmentation, judging, resuming."""

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bibench.contracts import check
from bibench.data import photos
from bibench.data.annotations import Annotations
from bibench.data.batches import Batch
from bibench.data.coco import read_coco
from bibench.data.detection import DetectionSamples, augmentation
from bibench.data.location import CACHE
from bibench.data.voc import CLASSES, read_voc
from bibench.execution.plan import _repeat
from bibench.execution.worker import Result, run_cell
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, DataError, UnsupportedError
from bibench.records.record import read
from bibench.suite.cell import Cell
from bibench.tasks import TASKS
from bibench.tasks.base import SPLITS
from bibench.tasks.coco17 import COCO17
from bibench.tasks.data_check import check_data
from bibench.tasks.detection import Detection
from bibench.tasks.digit_scenes import (
    CATEGORY_IDS,
    DIGIT_NAMES,
    GAP,
    HEIGHTS,
    SCENES,
    SIZE,
    VERSION,
    DigitScenesCOCO,
    DigitScenesVOC,
    Scene,
    compose,
    write_coco,
    write_voc,
)
from bibench.tasks.digits_photos import _Digits
from bibench.tasks.voc07 import VOC07
from bibench.train.cell import Hooks, Settings

CPU = torch.device("cpu")
EMBEDDED: list[type[Detection]] = [DigitScenesVOC, DigitScenesCOCO]
scene_task = pytest.mark.parametrize("task", EMBEDDED)


# -- the embedded scenes ---------------------------------------------------------------------------------------


def test_scenes_are_what_they_are_said_to_be() -> None:
    for split in SPLITS:
        scenes = list(compose(split))
        assert len(scenes) == SCENES[split]
        assert {len(scene.labels) for scene in scenes} == {1, 2, 3}
        boxes = np.concatenate([scene.boxes for scene in scenes])
        assert boxes.min() == 0 and boxes.max() == SIZE
        heights = boxes[:, 3] - boxes[:, 1]
        assert HEIGHTS[0] * 0.8 < heights.min() and heights.max() <= HEIGHTS[1]
        labels = np.bincount([label for scene in scenes for label in scene.labels], minlength=10)
        assert labels.min() > 0.6 * labels.mean()


def test_boxes_hold_the_whole_digit_and_nothing_else_changes() -> None:
    """Two scenes of the same photograph, with and without digits, differ inside the boxes alone."""
    from bibench.tasks import digit_scenes

    class Nothing(_Digits):
        def of(self, split: str) -> Any:
            scans, labels = super().of(split)
            return scans * 1e-9, labels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_scenes, "INK", 0.25e-9)
        patch.setattr(digit_scenes, "_Digits", Nothing)
        bare = [scene for scene, _ in zip(compose("test"), range(20))]
    for with_digits, without in zip(compose("test"), bare):
        assert np.array_equal(with_digits.boxes, without.boxes)
        changed = np.abs(with_digits.image.astype(int) - without.image).max(2) > 0
        outside = np.ones((SIZE, SIZE), bool)
        for left, top, right, bottom in with_digits.boxes:
            outside[top:bottom, left:right] = False
            assert changed[top:bottom, left:right].mean() > 0.15
        assert not changed[outside].any()


def test_digits_do_not_touch() -> None:
    for scene in compose("validation"):
        grown = scene.boxes + np.array([-GAP, -GAP, 0, 0])
        for index, a in enumerate(grown):
            for b in grown[index + 1 :]:
                overlap = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                assert (overlap <= 0).any()


def test_splits_share_neither_digits_nor_photographs() -> None:
    scans = {split: {scan.tobytes() for scan in _Digits().of(split)[0]} for split in SPLITS}
    columns = sorted(photos.SPLIT_COLUMNS[split] for split in SPLITS)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(columns))
    # A handful of the 1,797 scans are the same picture twice; those may be in two splits.
    assert all(len(scans[a] & scans[b]) <= 2 for a in SPLITS for b in SPLITS if a < b)


@pytest.mark.slow
def test_everyone_composes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [task().checksum() for task in EMBEDDED]
    monkeypatch.setenv(CACHE, str(tmp_path))
    assert [task().checksum() for task in EMBEDDED] == ours
    assert (tmp_path / VERSION / "VOCdevkit" / "VOC2007" / "Annotations").is_dir()


@pytest.mark.slow
def test_both_forms_serve_the_same_scenes() -> None:
    for split in SPLITS:
        voc, coco = (DetectionSamples(task()._splits[split]) for task in (DigitScenesVOC, DigitScenesCOCO))
        assert len(voc) == len(coco) == SCENES[split]
        for index in range(0, len(voc), 50):
            (image, target), (same, other) = voc(index), coco(index)
            assert torch.equal(image, same)
            for name in ("boxes", "labels", "ignored", "areas"):
                assert torch.equal(target[name], other[name]), name


@pytest.mark.slow
def test_what_is_served_is_what_was_composed() -> None:
    samples = DetectionSamples(DigitScenesVOC()._splits["test"])
    for index, scene in zip(range(5), compose("test")):
        image, target = samples(index)
        assert target["boxes"].tolist() == scene.boxes.tolist()
        assert target["labels"].tolist() == scene.labels
        difference = (image * 255).permute(1, 2, 0).numpy() - scene.image.astype(float)
        assert np.abs(difference).mean() < 4  # JPEG


@pytest.mark.slow
def test_other_libraries_read_the_files() -> None:
    """They are true VOC and COCO: torchvision's own data sets find the same boxes in them."""
    from torchvision.datasets import CocoDetection, VOCDetection

    DigitScenesVOC().prepare()
    folder = DigitScenesVOC()._folder()
    voc = VOCDetection(str(folder), year="2007", image_set="val")
    coco = CocoDetection(str(folder / "coco" / "test"), str(folder / "coco" / "annotations" / "instances_test.json"))
    assert (len(voc), len(coco)) == (SCENES["validation"], SCENES["test"])
    image, annotation = voc[3]
    mine = DigitScenesVOC()._splits["validation"].images[3]
    assert image.size == (SIZE, SIZE)
    first = annotation["annotation"]["object"][0]["bndbox"]
    assert [int(first[k]) for k in ("xmin", "ymin", "xmax", "ymax")] == (mine.boxes[0] + [1, 1, 0, 0]).tolist()
    _, objects = coco[3]
    mine = DigitScenesCOCO()._splits["test"].images[3]
    assert [CATEGORY_IDS.index(o["category_id"]) for o in objects] == mine.labels.tolist()
    x, y, width, height = objects[0]["bbox"]
    assert [x, y, x + width, y + height] == mine.boxes[0].tolist()


@scene_task
def test_declarations(task: type[Detection]) -> None:
    assert task().missing() == ""
    assert photos.ATTRIBUTION in task.licence
    assert task.train_examples == task().batches("train", batch_size=8, seed=0).examples
    assert TASKS[{"PASCAL VOC 2007": "voc07", "COCO 2017": "coco17"}[task.stands_in_for]].models
    with pytest.raises(BiBenchError, match="has no split 'tests'"):
        task().batches("tests", batch_size=4)


# -- true layouts ----------------------------------------------------------------------------------------------


def scenes(count: int) -> list[Scene]:
    return [scene for scene, _ in zip(compose("test"), range(count))]


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """VOC 2007 and 2012 with a few images each, digits renamed to VOC's classes."""
    for year, image_set, count in (("2007", "trainval", 25), ("2007", "test", 4), ("2012", "trainval", 15)):
        folder = tmp_path / "VOCdevkit" / f"VOC{year}"
        write_voc(folder, image_set, f"{year}_{image_set}", scenes(count))
        for file in (folder / "Annotations").iterdir():
            text = file.read_text()
            for ours, theirs in zip(("zero", "one", "two", "three", "four"), CLASSES):
                text = text.replace(f"<name>{ours}</name>", f"<name>{theirs}</name>")
            for ours in ("five", "six", "seven", "eight", "nine"):
                text = text.replace(f"<name>{ours}</name>", "<name>dog</name>")
            file.write_text(text)
    return tmp_path


def names(annotations: Annotations) -> list[str]:
    return [image.path.stem for image in annotations.images]


def test_voc07_trains_on_both_years_and_tests_on_2007(voc_root: Path) -> None:
    task = VOC07(voc_root)
    assert task.missing() == ""
    train, validation, test = (names(task._splits[split]) for split in SPLITS)
    assert len(train) + len(validation) == 40
    assert validation == ["2007_trainval_000000", "2007_trainval_000020"]
    assert not set(train) & set(validation)
    assert test == [f"2007_test_{i:06d}" for i in range(4)]
    again = VOC07(voc_root)
    assert names(again._splits["train"]) == train
    assert again.checksum() == task.checksum()


def coco_files(folder: Path, part: str, count: int) -> None:
    write_coco(folder, part, scenes(count))
    file = folder / "annotations" / f"instances_{part}.json"
    data = json.loads(file.read_text())
    used = {c["id"] for c in data["categories"]}
    free = [n for n in range(1, 91) if n not in used]
    data["categories"] += [{"id": n, "name": f"thing {n}"} for n in free[: 80 - len(used)]]
    file.write_text(json.dumps(data))


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    """COCO 2017 with a few images."""
    coco_files(tmp_path / "coco", "train2017", 60)
    coco_files(tmp_path / "coco", "val2017", 4)
    return tmp_path


def test_coco17_tests_on_val2017(coco_root: Path) -> None:
    task = COCO17(coco_root)
    assert task.missing() == ""
    assert [len(task._splits[split].images) for split in SPLITS] == [58, 2, 4]
    assert not set(names(task._splits["train"])) & set(names(task._splits["validation"]))
    assert len(task._splits["train"].classes) == 80


@pytest.mark.parametrize("name", ["voc07", "coco17"])
def test_missing_data_says_what_to_fetch(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    assert "no data root given" in task.missing()
    task = TASKS[name](tmp_path)
    assert str(tmp_path) in task.missing() and "fetch" in task.missing()
    with pytest.raises(DataError, match="is missing; fetch"):
        task.batches("train", batch_size=2, seed=0)


def test_voc07_misses_a_year(voc_root: Path) -> None:
    (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "elsewhere")
    assert "VOC2012" in VOC07(voc_root).missing()


def test_voc07_is_counted(voc_root: Path) -> None:
    report = check_data(VOC07(voc_root))
    found = {piece.path.removeprefix("VOCdevkit/"): (piece.state, piece.files) for piece in report.found}
    assert found["VOC2007/JPEGImages"] == found["VOC2007/Annotations"] == ("incomplete", 29)
    assert found["VOC2012/JPEGImages"] == ("found", 15)  # any number: test images may lie there too
    assert found["VOC2007/ImageSets/Main/test.txt"] == ("found", 1)
    assert len(found) == 7 and not report.usable
    assert report.problem.endswith("has 29 files, the published data set 9,963")
    (voc_root / "VOCdevkit" / "VOC2012").rename(voc_root / "elsewhere")
    (voc_root / "VOCtrainval_11-May-2012.tar").write_bytes(b"half of it")
    report = check_data(VOC07(voc_root))
    assert {piece.path: piece.state for piece in report.found}["VOCtrainval_11-May-2012.tar"] == "damaged"
    assert "VOC2012" in report.problem and "VOCtrainval_11-May-2012.tar" in report.problem


def test_coco17_is_counted(coco_root: Path) -> None:
    found = {piece.path: (piece.state, piece.files) for piece in check_data(COCO17(coco_root)).found}
    assert found == {
        "coco/annotations/instances_train2017.json": ("found", 1),
        "coco/annotations/instances_val2017.json": ("found", 1),
        "coco/train2017": ("incomplete", 60),
        "coco/val2017": ("incomplete", 4),
    }
    (coco_root / "coco" / "val2017").rename(coco_root / "elsewhere")
    (coco_root / "coco" / "val2017.zip").write_bytes(b"half of it")
    (piece,) = (piece for piece in check_data(COCO17(coco_root)).found if piece.path == "coco/val2017.zip")
    assert (piece.state, piece.detail) == ("damaged", "has 10 bytes, the published file 815,585,330")


@pytest.mark.parametrize("name", ["voc07", "coco17", "digit_scenes_voc", "digit_scenes_coco"])
def test_every_cell_builds_on_the_meta_device(name: str) -> None:
    from bibench.execution.plan import on_meta
    from bibench.nn.calls import trace
    from bibench.nn.conversion import resolve
    from bibench.operators import PAPER_ORDER

    for text in TASKS[name].models:
        with torch.device("meta"):
            chosen, task = choice(text), TASKS[name]()
            model = task.model(chosen.name, chosen.options)
            calls = trace(model, on_meta(task.example_inputs()))
            for operator in PAPER_ORDER[1:]:
                converted, _ = resolve(model, operator, calls)
                assert len(converted) == 12


def test_recipes_of_the_paper() -> None:
    assert VOC07.recipe("paper", "faster_rcnn").epochs == 25
    assert VOC07.recipe("paper", "ssd300").epochs == 240
    assert VOC07.recipe("paper", "ssd300").batch_size == 32
    assert VOC07.recipe("paper").lr == VOC07.recipe("paper", "ssd300").lr == COCO17.recipe("paper").lr == 1e-4
    full = COCO17.recipe("paper").for_operator(full_precision=True)
    assert (full.optimizer, full.lr, full.epochs, full.schedule) == ("sgd", 2e-2, 12, "step")
    with pytest.raises(BiBenchError, match="has no recipe 'slow'; it has: paper, quick"):
        VOC07.recipe("slow", "ssd300")


def test_the_model_decides_size_and_augmentation(voc_root: Path) -> None:
    task = VOC07(voc_root)
    assert task.for_model("ssd300").shape == (3, 300, 300)
    assert task.for_model("faster_rcnn").shape == task.shape == (3, 600, 1000)
    for model, expected in (("ssd300", (3, 300, 300)), ("faster_rcnn", (3, SIZE, SIZE))):
        batch = next(task.for_model(model).batches("train", batch_size=4, seed=0).epoch(0))
        assert {tuple(image.shape) for image in batch.inputs[0]} == {expected}


# -- difficult objects, images without objects ---------------------------------------------------------------


def edit(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


def test_what_is_left_out_of_training_is_said_once_and_judged_all_the_same(voc_root: Path) -> None:
    folder = voc_root / "VOCdevkit" / "VOC2007" / "Annotations"
    edit(folder / "2007_trainval_000001.xml", "<difficult>0", "<difficult>1")
    edit(folder / "2007_test_000001.xml", "<difficult>0", "<difficult>1")
    text = (folder / "2007_trainval_000002.xml").read_text()
    (folder / "2007_trainval_000002.xml").write_text(text[: text.index("<object>")] + "</annotation>")
    task = VOC07(voc_root)
    with pytest.warns(UserWarning, match="1 images without objects; 2 images without an object to train on left out"):
        assert task.batches("train", batch_size=4, seed=0).examples == 36
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert task.batches("test", batch_size=4).examples == 4
    ignored = [t["ignored"].all() for b in task.batches("test", batch_size=2).epoch(0) for t in b.targets]
    assert ignored == [False, True, False, False]


def test_nothing_to_train_on(voc_root: Path) -> None:
    for year in ("2007", "2012"):
        for file in (voc_root / "VOCdevkit" / f"VOC{year}" / "Annotations").iterdir():
            edit(file, "<difficult>0", "<difficult>1")
    with pytest.raises(DataError, match="train split: no images with objects found"):
        VOC07(voc_root).batches("train", batch_size=4, seed=0)


# -- batches and augmentation ----------------------------------------------------------------------------------


def flat(batch: Batch) -> list[Tensor]:
    return [*batch.inputs[0], *(values for target in batch.targets for values in target.values())]


@pytest.mark.parametrize("model", ["faster_rcnn", "ssd300"])
def test_batches_depend_on_the_seed_alone(model: str, voc_root: Path) -> None:
    task = VOC07(voc_root).for_model(model)
    torch.manual_seed(1)
    first = list(task.batches("train", batch_size=8, seed=3).epoch(2))
    torch.manual_seed(2)
    later = list(task.batches("train", batch_size=8, seed=3).epoch(2, start=3))
    other = list(task.batches("train", batch_size=8, seed=4).epoch(2))
    assert len(first) == 4 and len(later) == 1
    assert [batch.size for batch in first] == [8] * 4
    assert all(torch.equal(a, b) for a, b in zip(flat(first[3]), flat(later[0]), strict=True))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(flat(first[0]), flat(other[0])))


@pytest.mark.parametrize("name", ["plain", "ssd"])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.slow_but("True-plain")
def test_augmented_boxes_stay_valid(name: str, mirror: bool) -> None:
    """Whatever happens to the image, boxes lie inside it, have an area, and keep their labels."""
    annotations = DigitScenesVOC()._splits["test"].for_training()
    samples = DetectionSamples(annotations, augmentation(name, (80, 80), mirror=mirror))
    counts = []
    for index in range(60):
        torch.manual_seed(index)
        image, target = samples(index)
        height, width = image.shape[-2:]
        boxes = target["boxes"]
        assert type(image) is type(boxes) is Tensor
        assert image.min() >= 0 and image.max() <= 1
        assert boxes.shape == (len(target["labels"]), 4) and len(boxes) >= 1
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= torch.tensor([width, height])).all()
        assert (boxes[:, 2:] - boxes[:, :2] > 0).all()
        assert set(target["labels"].tolist()) <= set(annotations.images[index].labels.tolist())
        counts.append(len(boxes) < len(annotations.images[index].boxes))
    assert any(counts) == (name == "ssd")


def test_mirroring_moves_the_boxes_with_the_picture() -> None:
    annotations = DigitScenesVOC()._splits["test"].for_training()
    samples = DetectionSamples(annotations, augmentation("plain", (SIZE, SIZE), mirror=True))
    straight = DetectionSamples(annotations)
    mirrored = 0
    for seed in range(10):
        torch.manual_seed(seed)
        (image, target), (plain, boxes) = samples(0), straight(0)
        if torch.equal(image, plain):
            assert torch.equal(target["boxes"], boxes["boxes"])
        else:
            mirrored += 1
            assert torch.equal(image, plain.flip(2))
            expected = boxes["boxes"][:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([SIZE, 0, SIZE, 0])
            assert torch.equal(target["boxes"], expected)
    assert 0 < mirrored < 10


def test_digits_are_not_mirrored() -> None:
    task = DigitScenesVOC()
    batch = next(task.batches("train", batch_size=32, seed=0).epoch(0))
    stored = {image.numpy().tobytes() for b in task.batches("train", batch_size=50).epoch(0) for image in b.inputs[0]}
    assert all(image.numpy().tobytes() in stored for image in batch.inputs[0])


def test_unknown_augmentation() -> None:
    with pytest.raises(BiBenchError, match="augmentation must be one of plain, ssd; got 'mixup'"):
        augmentation("mixup", (8, 8), mirror=True)


# -- judging -----------------------------------------------------------------------------------------------------


class Oracle(nn.Module):
    """Answers the objects of the images in the order in which they are served, `shift` classes off."""

    def __init__(self, task: Detection, shift: int = 0, silent: bool = False) -> None:
        super().__init__()
        self.truths = [t for b in task.batches("test", batch_size=50).epoch(0) for t in b.targets]
        self.shift, self.silent = shift, silent

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        mine, self.truths = self.truths[: len(images)], self.truths[len(images) :]
        keep = slice(0, 0) if self.silent else slice(None)
        return [
            {
                "boxes": t["boxes"][keep],
                "labels": (t["labels"][keep] + self.shift) % 10,
                "scores": torch.ones(len(t["labels"]))[keep],
            }
            for t in mine
        ]


@scene_task
def test_perfect_wrong_and_silent_detectors(task: type[Detection]) -> None:
    made = task()
    batches = made.batches("test", batch_size=128)
    for oracle, expected in ((Oracle(made), 1.0), (Oracle(made, shift=1), 0.0), (Oracle(made, silent=True), 0.0)):
        judged = made.evaluate(oracle, batches, CPU)
        assert judged.metrics["map"] == pytest.approx(expected)
        assert judged.examples == SCENES["test"]
        assert judged.commonest_answer == (1.0 if oracle.silent else pytest.approx(0.1, abs=0.06))


def test_evaluation_serves_few_images_at_once() -> None:
    sizes = [batch.size for batch in DigitScenesVOC().batches("test", batch_size=128).epoch(0)]
    assert sizes == [50] * 4


def test_distillation_is_refused() -> None:
    task = DigitScenesVOC()
    batch = Batch(([torch.zeros(3, 32, 32)],), [])
    with pytest.raises(UnsupportedError, match="nothing can be distilled; use a recipe with distillation=none"):
        task.forward(nn.Identity().eval(), batch)


@scene_task
def test_a_probe_of_a_step_runs(task: type[Detection]) -> None:
    made = task()
    model = made.model("faster_rcnn", {"width": 4, "rois": 4, "proposals": 8, "roi_size": 3})
    loss = made.trial_loss(model, _repeat(made.example_inputs(), 2))
    assert loss.dim() == 0 and loss.requires_grad


@pytest.mark.parametrize("name", ["voc07", "coco17"])
def test_contracts_hold_on_true_layouts(name: str, request: pytest.FixtureRequest, monkeypatch: Any) -> None:
    root = request.getfixturevalue({"voc07": "voc_root", "coco17": "coco_root"}[name])
    monkeypatch.setenv("BIBENCH_DATA", str(root))
    small = tuple(f"{m}[width=4,rois=8,proposals=8,image_size=64]" for m in TASKS[name].models if m == "faster_rcnn")
    monkeypatch.setattr(TASKS[name], "models", small)
    assert not [finding for finding in check("task", name) if finding.problem]


def test_readers_are_the_real_ones() -> None:
    """The embedded tasks differ from the real ones in nothing but classes, size and where files lie."""
    folder = DigitScenesVOC()._folder()
    voc = read_voc(folder / "VOCdevkit", [("2007", "val")], DIGIT_NAMES)
    coco = read_coco(folder / "coco" / "annotations" / "instances_validation.json", folder / "coco" / "validation", 10)
    assert len(voc.images) == len(coco.images) == SCENES["validation"]
    assert not +voc.counts and not +coco.counts
    with Image.open(voc.images[0].path) as image:
        assert image.format == "JPEG"


# -- whole cells -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_interrupted_detector_ends_with_the_same_weights(voc_root: Path, tmp_path: Path) -> None:
    """Proposals and regions are drawn at random in every step; a checkpoint keeps where the draws were."""
    model = choice("faster_rcnn[width=4,image_size=64,roi_size=3,rois=8,proposals=16]")
    cell = Cell(choice("voc07"), model, choice("fp32"), choice("quick[batch_size=16,epochs=2]"), 0)
    ends = []
    for name, stops in (("whole", ()), ("parts", (1, 1))):
        settings = Settings(runs=tmp_path / name, data_root=voc_root, device="cpu")
        for stop in stops:
            asked = iter(range(100))
            hooks = Hooks(stop=lambda asked=asked, stop=stop: next(asked) + 1 >= stop)
            assert run_cell(cell, settings, hooks, anew=False).status == "interrupted"
        assert run_cell(cell, settings, Hooks(), anew=False) == Result("done")
        ends.append(json.loads((tmp_path / name / cell.path / "done.json").read_text()))
    assert ends[0]["weights"] == ends[1]["weights"]
    assert ends[0]["score"] == ends[1]["score"]
    records = read([tmp_path / "whole"])
    assert {r.metric for r in records if r.kind == "score"} == {"map"}
    assert {r.stands_in_for for r in records} == {""}
