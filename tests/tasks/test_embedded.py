"""The embedded tasks: what they hold, that splits share nothing, that anyone gets the same, how they judge."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.data import photos
from bibench.data.batches import TensorBatches
from bibench.data.location import CACHE
from bibench.foundation.errors import BiBenchError, DataError
from bibench.tasks import TASKS
from bibench.tasks.base import SPLITS
from bibench.tasks.digits_photos import COPIES, DIGITS, VERSION, DigitsPhotos, _Digits, blend, enlarge
from bibench.tasks.image_classification import ImageClassification
from bibench.tasks.photo_patches import PATCH, PATCHES, PhotoPatches

CPU = torch.device("cpu")
EMBEDDED_IMAGES: list[type[ImageClassification]] = [DigitsPhotos, PhotoPatches]

image_task = pytest.mark.parametrize("task", EMBEDDED_IMAGES)


# -- all of them -------------------------------------------------------------------------------------------


def test_results_are_never_labelled_as_the_real_data_set() -> None:
    embedded = [TASKS[name] for name in TASKS if TASKS[name].embedded]
    assert {"digits_photos", "photo_patches"} <= {cls.name for cls in embedded}
    for cls in embedded:
        assert cls.stands_in_for, cls.name
        assert cls.stands_in_for.casefold() not in (cls.name.casefold(), cls.title.casefold())
        assert "embedded" in cls.title
        assert cls.source and cls.licence, cls.name
    for name in ("cifar10", "imagenet"):
        assert not TASKS[name].embedded
        assert not TASKS[name].stands_in_for
    assert DigitsPhotos.stands_in_for == TASKS["cifar10"].title
    assert PhotoPatches.stands_in_for == TASKS["imagenet"].title


@image_task
def test_nothing_is_missing(task: type[ImageClassification]) -> None:
    assert task().missing() == ""
    task().prepare()


@image_task
def test_the_photographers_are_credited(task: type[ImageClassification]) -> None:
    assert photos.ATTRIBUTION in task.licence


@image_task
def test_what_is_declared_is_what_is_served(task: type[ImageClassification]) -> None:
    sizes = {split: task().batches(split, batch_size=64).examples for split in SPLITS}
    expected = {
        DigitsPhotos: {"train": 4788, "validation": 960, "test": 1440},
        PhotoPatches: {"train": 4000, "validation": 800, "test": 1200},
    }
    assert sizes == expected[task]
    assert task.train_examples == sizes["train"]
    assert task.chance == pytest.approx(1 / task.num_classes)
    assert task().example_inputs().shape[1:] == task.image_shape
    assert task().model_arguments() == {"num_classes": task.num_classes, "input_shape": task.image_shape}


@image_task
@pytest.mark.parametrize("seed", [None, 1])
def test_batches_are_pictures_of_unit_scale(task: type[ImageClassification], seed: int | None) -> None:
    batches = task().batches("test", batch_size=300, seed=seed)
    batch = next(batches.epoch(0))
    x = torch.cat([b.inputs[0] for b in batches.epoch(0)])
    assert batch.inputs[0].shape == (300, *task.image_shape)
    assert batch.inputs[0].dtype == torch.float32
    assert batch.targets.shape == (300,)
    assert batch.targets.dtype == torch.int64
    assert x.mean().abs() < 0.6
    assert 0.6 < x.std() < 1.5


@image_task
def test_classes_are_balanced_in_every_split(task: type[ImageClassification]) -> None:
    for split in SPLITS:
        labels = torch.cat([batch.targets for batch in task().batches(split, batch_size=500).epoch(0)])
        counts = torch.bincount(labels, minlength=task.num_classes)
        assert len(counts) == task.num_classes
        assert counts.max() <= 1.1 * counts.min(), f"{split}: {counts.tolist()}"


@image_task
def test_unknown_splits_are_refused(task: type[ImageClassification]) -> None:
    with pytest.raises(BiBenchError, match=r"has no split 'tests'; it has: train, validation, test$"):
        task().batches("tests", batch_size=4)


# -- the cache ---------------------------------------------------------------------------------------------


def contents(task: ImageClassification) -> list[bytes]:
    """All the task has stored, pixel for pixel."""
    if isinstance(task, PhotoPatches):
        return [file.read_bytes() for split in SPLITS for file in sorted(task.folder(split).rglob("*.png"))]
    assert isinstance(task, DigitsPhotos)
    return [array.numpy().tobytes() for split in SPLITS for array in task.arrays(split)]


@image_task
@pytest.mark.slow_but("DigitsPhotos")
def test_everyone_composes_the_same(
    task: type[ImageClassification], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksum, ours = task().checksum(), contents(task())
    monkeypatch.setenv(CACHE, str(tmp_path))
    assert task().checksum() == checksum
    assert contents(task()) == ours
    assert list(tmp_path.glob(f"{task.name}-v*"))


@image_task
def test_it_is_composed_once(task: type[ImageClassification], monkeypatch: pytest.MonkeyPatch) -> None:
    task().prepare()

    def load() -> None:
        raise AssertionError("composed again")

    monkeypatch.setattr(photos, "load", load)
    task().prepare()
    assert next(task().batches("test", batch_size=2).epoch(0)).size == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_damaged_digits_are_told_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    shutil.copytree(DigitsPhotos()._folder(), tmp_path / VERSION)
    monkeypatch.setenv(CACHE, str(tmp_path))
    file = tmp_path / VERSION / "test.npz"
    if damage is None:
        np.savez(file, images=np.zeros(3))
    else:
        file.write_bytes(damage)
    with pytest.raises(DataError) as caught:
        DigitsPhotos().batches("test", batch_size=2)
    assert str(caught.value).startswith(f"{file} is damaged (")
    assert str(caught.value).endswith(f"); delete {file.parent} to have it made again")


# -- digits over photographs -------------------------------------------------------------------------------


def test_splits_share_no_digit() -> None:
    from sklearn.datasets import load_digits

    assert sum(DIGITS.values()) == 1797
    dealt = [_Digits().of(split) for split in SPLITS]
    assert [len(scans) for scans, _ in dealt] == [DIGITS[split] for split in SPLITS]
    bunch = load_digits()
    together = sorted((s.tobytes(), int(y)) for scans, labels in dealt for s, y in zip(scans, labels, strict=True))
    assert together == sorted(((s / 16).tobytes(), int(y)) for s, y in zip(bunch.images, bunch.target, strict=True))
    for scans, labels in dealt:
        assert scans.min() == 0 and scans.max() == 1
        counts = np.bincount(labels, minlength=10)
        shares = counts / len(labels) - np.bincount(bunch.target) / 1797
        assert np.abs(shares * len(labels)).max() <= 2, "each class in proportion, up to rounding"


def test_every_digit_is_shown_with_its_label() -> None:
    """The label of each image is that of its digit, for all copies."""
    for split in ("validation", "test"):
        _, labels = DigitsPhotos().arrays(split)
        assert labels.tolist() == np.tile(_Digits().of(split)[1], COPIES[split]).tolist()


def test_blending_is_the_absolute_difference() -> None:
    random = np.random.RandomState(0)
    background = random.randint(0, 256, (32, 32, 3)).astype(np.uint8)
    assert np.array_equal(blend(background, np.zeros((8, 8)), random), background)
    sizes, corners = set(), set()
    for _ in range(300):
        inverted = blend(background, np.ones((8, 8)), random) != background
        rows, columns = inverted.any((1, 2)).nonzero()[0], inverted.any((0, 2)).nonzero()[0]
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        assert bottom - top == right - left
        sizes.add(int(bottom - top))
        corners |= {("top", int(top)), ("bottom", int(bottom)), ("left", int(left)), ("right", int(right))}
    assert sizes == set(range(18, 29))
    assert {("top", 0), ("left", 0), ("bottom", 32), ("right", 32)} <= corners
    image = blend(background, np.ones((8, 8)), random)
    changed = (image != background).any(2)
    assert np.array_equal(image[changed], 255 - background[changed])


@pytest.mark.parametrize("size", [18, 23, 28])
def test_enlarging_equals_bilinear_interpolation(size: int) -> None:
    scan = np.random.RandomState(0).rand(8, 8)
    theirs = F.interpolate(torch.from_numpy(scan)[None, None], size=(size, size), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(enlarge(scan, size), theirs[0, 0].numpy(), rtol=0, atol=1e-12)


def test_digits_are_not_mirrored_in_training() -> None:
    assert not DigitsPhotos.flip
    images, _ = DigitsPhotos().arrays("test")
    crops = {image.numpy().tobytes() for image in DigitsPhotos.normalize(images)}
    shown = next(DigitsPhotos().batches("test", batch_size=1440, seed=1).epoch(0)).inputs[0]
    # At offset (4, 4), one in 81, nothing is moved: then the image is as stored, unless it was mirrored.
    unmoved = sum(image.numpy().tobytes() in crops for image in shown)
    assert unmoved > 1440 / 81 / 2
    mirrored = sum(image.flip(2).contiguous().numpy().tobytes() in crops for image in shown)
    assert mirrored == 0


# -- patches of photographs --------------------------------------------------------------------------------


def occurs(patch: np.ndarray, picture: np.ndarray) -> bool:
    """Whether the patch is somewhere in the picture."""
    windows = sliding_window_view(picture[..., 0], (1, 12))  # red values of the start of the first row
    tops, lefts = (windows[: picture.shape[0] - PATCH + 1, :, 0] == patch[0, :12, 0]).all(2).nonzero()
    places = (picture[top : top + PATCH, left : left + PATCH] for top, left in zip(tops, lefts, strict=True))
    return any(np.array_equal(place, patch) for place in places)


def test_patches_are_from_their_photograph_and_their_split() -> None:
    task, pictures = PhotoPatches(), photos.load()
    for split in SPLITS:
        folders = sorted(task.folder(split).iterdir())
        assert [folder.name for folder in folders] == sorted(pictures)
        for folder in folders:
            files = sorted(folder.iterdir())
            assert len(files) == PATCHES[split]
            for file in (files[0], files[-1]):
                patch = np.asarray(Image.open(file))
                assert patch.shape == (PATCH, PATCH, 3)
                found = [s for s in SPLITS if occurs(patch, photos.strip(pictures[folder.name], s))]
                assert found == [split], f"{file} is from {found}"


def test_patches_are_evaluated_at_their_centre() -> None:
    task = PhotoPatches()
    batch = next(task.batches("validation", batch_size=3).epoch(0))
    names = sorted(photo.name for photo in photos.PHOTOS)
    file = task.folder("validation") / names[0] / "0002.png"
    centre = np.asarray(Image.open(file), np.float64)[4:36, 4:36] / 255
    expected = ((centre - task.mean) / task.std).transpose(2, 0, 1)
    np.testing.assert_allclose(batch.inputs[0][2].numpy(), expected, rtol=0, atol=1e-5)


# -- judging -----------------------------------------------------------------------------------------------


class Remembers(nn.Module):
    """Knows every test image: answers its label plus `shift`, with certainty."""

    def __init__(self, task: ImageClassification, shift: int = 0) -> None:
        super().__init__()
        self.classes, self.labels = task.num_classes, {}
        for batch in task.batches("test", batch_size=200).epoch(0):
            for image, label in zip(batch.inputs[0], batch.targets.tolist(), strict=True):
                self.labels[image.numpy().tobytes()] = (label + shift) % self.classes

    def forward(self, x: Tensor) -> Tensor:
        labels = torch.tensor([self.labels[image.numpy().tobytes()] for image in x])
        return 100 * F.one_hot(labels, self.classes).float()


class Constant(nn.Module):
    """Always the same answer; with `certainty` 0 all classes are equally likely to it."""

    def __init__(self, answer: int, classes: int, certainty: float = 1.0) -> None:
        super().__init__()
        self.logits = certainty * F.one_hot(torch.tensor(answer), classes).float()

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


@pytest.fixture(params=EMBEDDED_IMAGES, ids=lambda task: task.__name__)
def task(request: pytest.FixtureRequest) -> Iterator[ImageClassification]:
    yield request.param()


@pytest.mark.slow_but("DigitsPhotos")
def test_judging_models_of_known_worth(task: ImageClassification) -> None:
    batches = task.batches("test", batch_size=256)
    labels = torch.cat([batch.targets for batch in batches.epoch(0)])
    shares = torch.bincount(labels).double() / len(labels)

    perfect = task.evaluate(Remembers(task), batches, CPU)
    assert perfect.metrics[task.metric] == 1.0
    assert perfect.metrics["loss"] == pytest.approx(0, abs=1e-6)
    assert perfect.commonest_answer == pytest.approx(float(shares.max()))
    assert perfect.examples == len(labels)

    wrong = task.evaluate(Remembers(task, shift=1), batches, CPU)
    assert wrong.metrics[task.metric] == 0.0
    assert wrong.metrics["loss"] == pytest.approx(100)

    constant = task.evaluate(Constant(3, task.num_classes), batches, CPU)
    assert constant.metrics[task.metric] == pytest.approx(float(shares[3]), abs=1e-6)
    assert constant.metrics[task.metric] == pytest.approx(task.chance, abs=0.01)
    assert constant.commonest_answer == 1.0

    unsure = task.evaluate(Constant(0, task.num_classes, certainty=0), batches, CPU)
    assert unsure.metrics["loss"] == pytest.approx(np.log(task.num_classes), rel=1e-5)


def test_judging_counts_what_was_served() -> None:
    """Also where a shuffled epoch leaves examples out."""
    targets = torch.zeros(10, dtype=torch.int64)
    data = torch.zeros(10, 4, 4, 3, dtype=torch.uint8)
    batches = TensorBatches(data, targets, batch_size=4, transform=DigitsPhotos.normalize, seed=1)
    judged = DigitsPhotos().evaluate(Constant(0, 10, certainty=0), batches, CPU)
    assert judged.examples == 8
    assert judged.commonest_answer == 1.0
    assert judged.metrics == {"accuracy": 1.0, "loss": pytest.approx(np.log(10), rel=1e-5)}


def test_every_example_counts_the_same() -> None:
    """Accuracy is the share of right answers, not the mean over classes; a short batch weighs less."""
    data, targets = torch.zeros(8, 4, 4, 3, dtype=torch.uint8), torch.tensor([0, 0, 0, 1, 1, 0, 0, 0])
    batches = TensorBatches(data, targets, batch_size=5, transform=DigitsPhotos.normalize, seed=None)
    judged = DigitsPhotos().evaluate(Constant(0, 10, certainty=2), batches, CPU)
    total = math.e**2 + 9
    assert judged.metrics["accuracy"] == 0.75
    assert judged.metrics["loss"] == pytest.approx(0.75 * math.log(total / math.e**2) + 0.25 * math.log(total))


def test_the_loss_is_the_mean_cross_entropy(task: ImageClassification) -> None:
    batch = next(task.batches("train", batch_size=8, seed=1).epoch(0))
    logits = torch.randn(8, task.num_classes)
    by_hand = -torch.log_softmax(logits, 1)[torch.arange(8), batch.targets].mean()
    torch.testing.assert_close(task.loss(logits, batch), by_hand)
