"""ImageNet read from tiny folders in the true layout: train/<wnid>/*.JPEG and val/<wnid>/*.JPEG."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bibench.foundation.errors import BiBenchError, DataError
from bibench.tasks.imagenet import ImageNet

WNIDS = ["n01440764", "n01443537", "n01484850"]
SIZES = [(300, 260), (160, 500), (256, 224), (90, 70)]
"""(width, height): wide, tall, already resized, smaller than the crop."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with four training and two validation images of each of three classes."""
    root, random = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    for split, count in (("train", 4), ("val", 2)):
        for label, wnid in enumerate(WNIDS):
            folder = root / "imagenet" / split / wnid
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = SIZES[(number + label) % len(SIZES)]
                coarse = random.randint(0, 256, (6, 5, 3)).astype(np.uint8)
                picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
                if number == 1:
                    picture = picture.convert("L")  # ImageNet has grey pictures
                picture.save(folder / f"{wnid}_{number}.JPEG", quality=90)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to damage."""
    monkeypatch.setattr(ImageNet, "num_classes", len(WNIDS))
    return Path(shutil.copytree(written, tmp_path / "data"))


# -- reading -----------------------------------------------------------------------------------------------


def evaluated(path: Path) -> np.ndarray:
    """Short side 256, centre crop 224, normalised: with Pillow and NumPy alone."""
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    image = image.resize([256 * side // short for side in image.size], Image.Resampling.BILINEAR)
    left, top = ((side - 224) / 2 for side in image.size)
    image = image.crop((round(left), round(top), round(left) + 224, round(top) + 224))
    pixels = np.asarray(image, np.float64) / 255
    return ((pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)


def test_evaluation_crops_the_centre(root: Path) -> None:
    task = ImageNet(root)
    assert task.missing() == ""
    task.prepare()
    batches = task.batches("test", batch_size=4)
    assert batches.examples == 6
    served = list(batches.epoch(0))
    images = torch.cat([batch.inputs[0] for batch in served])
    assert images.shape == (6, 3, 224, 224)
    assert type(served[0].inputs[0]) is torch.Tensor
    paths = sorted((root / "imagenet" / "val").rglob("*.JPEG"))
    for ours, path in zip(images, paths, strict=True):
        np.testing.assert_allclose(ours.numpy(), evaluated(path), rtol=0, atol=1e-5, err_msg=str(path))
    assert torch.cat([batch.targets for batch in served]).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_augments_reproducibly(root: Path, workers: int) -> None:
    def served(epoch: int, workers: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
        batches = ImageNet(root, workers=workers).batches("train", batch_size=5, seed=1)
        assert (batches.examples, len(batches)) == (12, 2)
        return [(batch.inputs[0], batch.targets) for batch in batches.epoch(epoch)]

    ours, again, other = served(0), served(0, workers), served(1)
    for (images, labels), (same, same_labels) in zip(ours, again, strict=True):
        assert images.shape == (5, 3, 224, 224)
        assert torch.equal(images, same)
        assert torch.equal(labels, same_labels)
    assert not torch.equal(ours[0][0], other[0][0])


def test_training_labels_belong_to_the_pictures(root: Path) -> None:
    for label, wnid in enumerate(WNIDS):  # one colour for each class
        for path in (root / "imagenet" / "train" / wnid).iterdir():
            Image.new("RGB", (30, 30), (100 * label, 0, 0)).save(path, quality=100)
    task = ImageNet(root)
    for batch in task.batches("train", batch_size=5, seed=1).epoch(0):
        red = batch.inputs[0][:, 0, 100, 100] * task.std[0] + task.mean[0]
        assert torch.equal((red * 255 / 100).round().long(), batch.targets)


def test_training_pictures_are_cropped_and_mirrored(root: Path) -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3))
    for path in (root / "imagenet" / "train").rglob("*.JPEG"):
        Image.fromarray(np.ascontiguousarray(ramp)).save(path, quality=100)
    batches = ImageNet(root).batches("train", batch_size=12, seed=1)
    images = torch.cat([batch.inputs[0] for epoch in range(6) for batch in batches.epoch(epoch)])
    slopes = images[:, 0, 112, -1] - images[:, 0, 112, 0]
    assert 0.3 < (slopes > 0).float().mean() < 0.7
    assert slopes.abs().max() > 2 * slopes.abs().min(), "crops are of many sizes"


def test_the_checksum_follows_the_files(root: Path) -> None:
    checksum = ImageNet(root).checksum()
    assert ImageNet(root).checksum() == checksum
    path = root / "imagenet" / "val" / WNIDS[1] / f"{WNIDS[1]}_0.JPEG"
    path.rename(path.with_name("other.JPEG"))
    assert ImageNet(root).checksum() != checksum


# -- missing and damaged -----------------------------------------------------------------------------------


def told(root: Path | None) -> str:
    """What `missing` says, which `prepare`, `batches` and `checksum` must say too."""
    task = ImageNet(root)
    for use in (task.prepare, lambda: task.batches("test", batch_size=2), task.checksum):
        with pytest.raises(DataError) as caught:
            use()
        assert str(caught.value) == f"task 'imagenet': {task.missing()}"
    return task.missing()


def test_no_data_root() -> None:
    assert told(None) == (
        "no data root given; pass --data-root or set $BIBENCH_DATA to the folder that holds imagenet/"
    )


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_missing_split(root: Path, split: str) -> None:
    shutil.rmtree(root / "imagenet" / split)
    assert told(root) == (
        f"{root / 'imagenet' / split} is missing; get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and the devkit "
        f"from {ImageNet.source}, put them into {root / 'imagenet'} and unpack them with torchvision.datasets.ImageNet"
    )


def test_an_unsorted_validation_folder(root: Path) -> None:
    folder = root / "imagenet" / "val"
    for number, path in enumerate(sorted(folder.rglob("*.JPEG")), start=1):
        path.rename(folder / f"ILSVRC2012_val_{number:08d}.JPEG")
    for wnid in WNIDS:
        (folder / wnid).rmdir()
    assert told(root) == (f"{folder} has no class folders (n01440764, ...); sort its images into them by the devkit")


def test_splits_with_other_classes(root: Path) -> None:
    (root / "imagenet" / "val" / WNIDS[2]).rename(root / "imagenet" / "val" / "shark")
    assert told(root) == (
        f"{root / 'imagenet'}: train/ and val/ differ in 2 class folders ({WNIDS[2]}, ...), "
        "so their labels would not agree; unpack both anew"
    )


def test_too_few_classes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageNet, "num_classes", 1000)
    with pytest.raises(DataError) as caught:
        ImageNet(root).batches("test", batch_size=2)
    assert str(caught.value).startswith(f"{root / 'imagenet' / 'val'} has 3 class folders, expected 1000;")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_picture_is_named(root: Path, workers: int) -> None:
    path = root / "imagenet" / "val" / WNIDS[1] / f"{WNIDS[1]}_0.JPEG"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=f"^{path} is damaged"):
        list(ImageNet(root, workers=workers).batches("test", batch_size=2).epoch(0))


def test_the_test_data_is_no_validation_data(root: Path) -> None:
    assert not ImageNet(root).has_validation()
    with pytest.raises(BiBenchError) as caught:
        ImageNet(root).batches("validation", batch_size=2)
    assert str(caught.value) == "task 'imagenet' has no split 'validation'; it has: train, test"
