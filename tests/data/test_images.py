"""Images: augmentation against a loop over single images, normalisation, labels, and damaged folders."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bibench.data.batches import SampleBatches, stack
from bibench.data.images import CropFlip, ImageFolder, Normalize, check_labels
from bibench.errors import DataError

UNCHANGED = Normalize((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def images(count: int, height: int, width: int) -> Tensor:
    # No zeros, so that the border is recognised.
    return torch.randint(1, 256, (count, height, width, 3), dtype=torch.uint8)


# -- augmentation in memory ------------------------------------------------------------------------------


def crop_flip_one_by_one(batch: Tensor, padding: int, flip: bool, random: torch.Generator) -> np.ndarray:
    """What `CropFlip` does, with the same draws in the same order; (B, C, H, W)."""
    count, height, width, channels = batch.shape
    tops = torch.randint(0, 2 * padding + 1, (count,), generator=random)
    lefts = torch.randint(0, 2 * padding + 1, (count,), generator=random)
    mirrored = torch.rand(count, generator=random) < 0.5 if flip else torch.zeros(count, dtype=torch.bool)
    results = []
    for image, top, left, mirror in zip(batch.numpy(), tops.tolist(), lefts.tolist(), mirrored.tolist(), strict=True):
        padded = np.zeros((height + 2 * padding, width + 2 * padding, channels), np.uint8)
        padded[padding : padding + height, padding : padding + width] = image
        crop = padded[top : top + height, left : left + width]
        results.append((crop[:, ::-1] if mirror else crop).transpose(2, 0, 1))
    return np.stack(results)


@pytest.mark.parametrize("shape", [(8, 8), (5, 9)])
@pytest.mark.parametrize(("padding", "flip"), [(4, True), (4, False), (1, True), (0, True)])
def test_crop_and_flip_equal_a_loop_over_images(padding: int, flip: bool, shape: tuple[int, int]) -> None:
    batch = images(40, *shape)
    ours = CropFlip(UNCHANGED, padding=padding, flip=flip)(batch, torch.Generator().manual_seed(1))
    theirs = crop_flip_one_by_one(batch, padding, flip, torch.Generator().manual_seed(1))
    assert np.array_equal(ours.numpy(), theirs)


def test_every_place_and_both_orientations_occur_equally() -> None:
    pad, count = 2, 5000
    batch = torch.zeros(count, 9, 9, 3, dtype=torch.uint8)
    batch[:, 4, 4], batch[:, 4, 5] = 1, 2  # a centre, and what is right of it
    crops = CropFlip(UNCHANGED, padding=pad)(batch, torch.Generator().manual_seed(0))[:, 0]
    centres, neighbours = (crops == 1).nonzero(), (crops == 2).nonzero()
    assert len(centres) == len(neighbours) == count
    for axis in (1, 2):
        places, times = centres[:, axis].unique(return_counts=True)
        assert places.tolist() == [2, 3, 4, 5, 6]
        assert times.min() > 0.9 * count / 5
    assert ((neighbours - centres)[:, 2] == -1).float().mean() == pytest.approx(0.5, abs=0.03)


def test_crop_flip_draws_from_its_generator_alone() -> None:
    batch, before = images(4, 8, 8), torch.get_rng_state()
    CropFlip(UNCHANGED)(batch, torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_crop_flip_normalizes() -> None:
    batch, normalize = images(6, 8, 8), Normalize((10.0, 20.0, 30.0), (2.0, 4.0, 8.0))
    raw = CropFlip(UNCHANGED)(batch, torch.Generator().manual_seed(1))
    ours = CropFlip(normalize)(batch, torch.Generator().manual_seed(1))
    expected = (raw - torch.tensor([10.0, 20, 30])[:, None, None]) / torch.tensor([2.0, 4, 8])[:, None, None]
    assert torch.equal(ours, expected)


def test_normalize_values_and_memory() -> None:
    batch, mean, std = images(3, 4, 5), (125.3, 122.9, 113.8), (51.5, 50.8, 51.2)
    ours = Normalize(mean, std)(batch)
    expected = (batch.numpy().astype(np.float64) - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(ours.numpy(), expected.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)
    assert ours.dtype == torch.float32
    assert ours.shape == (3, 3, 4, 5)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    crops = CropFlip(Normalize(mean, std))(batch, torch.Generator())
    assert crops.is_contiguous(memory_format=torch.channels_last)


# -- labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "cifar: no examples found"),
        ([0, 10], "cifar: labels range from 0 to 10, expected 0 to 9"),
        ([-1, 3], "cifar: labels range from -1 to 3, expected 0 to 9"),
    ],
)
def test_wrong_labels_are_told(labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}$"):
        check_labels(torch.tensor(labels, dtype=torch.int64), 10, "cifar")


def test_labels_in_range_pass() -> None:
    check_labels(torch.tensor([0, 9]), 10, "cifar")


# -- folders of image files ------------------------------------------------------------------------------


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes: one colour and one grey picture of cats, one of dogs with transparency."""
    random = np.random.RandomState(0)
    folder = tmp_path / "pictures"
    for name, shape in (("dog/rex.png", (6, 7, 4)), ("cat/tom.png", (6, 7, 3)), ("cat/zoe.png", (6, 7))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 256, shape).astype(np.uint8)).save(folder / name)
    return folder


def test_classes_are_the_sorted_folders_and_all_pictures_become_rgb(pictures: Path) -> None:
    folder = ImageFolder(pictures, to_tensor, 2)
    assert folder.classes == ["cat", "dog"]
    assert len(folder) == 3
    read = [folder(index) for index in range(3)]
    assert [label for _, label in read] == [0, 0, 1]
    for image, name in zip((image for image, _ in read), ("cat/tom.png", "cat/zoe.png", "dog/rex.png"), strict=True):
        expected = np.array(Image.open(pictures / name).convert("RGB"))
        assert expected.shape == (6, 7, 3)
        assert np.array_equal(image.numpy(), expected)


def test_the_checksum_follows_names_and_sizes_but_not_the_place(pictures: Path, tmp_path: Path) -> None:
    def checksum(folder: Path = pictures) -> str:
        return ImageFolder(folder, to_tensor, 2).checksum()

    first = checksum()
    assert checksum() == first
    moved = pictures.rename(tmp_path / "elsewhere")
    assert checksum(moved) == first
    with (moved / "cat" / "tom.png").open("ab") as stream:
        stream.write(b"x")
    longer = checksum(moved)
    (moved / "cat" / "tom.png").rename(moved / "cat" / "tam.png")
    assert len({first, longer, checksum(moved)}) == 3


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        ImageFolder(tmp_path / "val", to_tensor, 2)
    assert str(caught.value) == f"{tmp_path / 'val'} is missing; expected one subfolder per class there"


def test_folder_without_class_folders(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(DataError, match=f"^{tmp_path}: Couldn't find any class folder"):
        ImageFolder(tmp_path, to_tensor, 2)


@pytest.mark.parametrize("expected", [1, 3])
def test_wrong_number_of_classes(pictures: Path, expected: int) -> None:
    with pytest.raises(DataError) as caught:
        ImageFolder(pictures, to_tensor, expected)
    assert str(caught.value).startswith(
        f"{pictures} has 2 class folders, expected {expected}; is the download complete"
    )


def test_empty_class_folder_is_named(pictures: Path) -> None:
    (pictures / "bird").mkdir()
    (pictures / "bird" / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match=f"^{pictures}: .*no valid file for the classes bird"):
        ImageFolder(pictures, to_tensor, 3)


def encoded(format: str) -> bytes:
    picture = Image.fromarray(np.random.RandomState(1).randint(0, 256, (40, 40, 3)).astype(np.uint8))
    stream = io.BytesIO()
    picture.save(stream, format)
    return stream.getvalue()


DAMAGED = {
    "truncated.jpg": lambda: encoded("JPEG")[:700],
    "truncated.png": lambda: encoded("PNG")[:2000],
    "scrambled.png": lambda: encoded("PNG")[:1000] + bytes(50) + encoded("PNG")[1050:],
    "text.png": lambda: b"this is not a picture",
    "empty.jpg": lambda: b"",
    "letters.ppm": lambda: b"P3 2 2 255 a b c d e f g h i j k l\n",
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named(pictures: Path, name: str, workers: int) -> None:
    path = pictures / "dog" / name
    path.write_bytes(DAMAGED[name]())
    folder = ImageFolder(pictures, lambda image: torch.zeros(1), 2)
    batches = SampleBatches(folder, len(folder), batch_size=2, seed=None, workers=workers, collate=stack)
    with pytest.raises(DataError) as caught:
        list(batches.epoch(0))
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert str(caught.value).endswith("); restore this file from the distribution")
    path.unlink()
    folder = ImageFolder(pictures, lambda image: torch.zeros(1), 2)
    assert [label for _, label in map(folder, range(3))] == [0, 0, 1], "the other files are intact"


def test_a_picture_too_large_to_be_true_is_named(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # an error from twice as many
    with pytest.raises(DataError, match=f"^{pictures / 'cat' / 'tom.png'} is damaged .*decompression bomb"):
        ImageFolder(pictures, to_tensor, 2)(0)


def test_an_error_of_the_transform_does_not_blame_the_file(pictures: Path) -> None:
    def transform(image: Image.Image) -> Tensor:
        raise ValueError("crop larger than the image")

    with pytest.raises(ValueError, match=r"^crop larger") as caught:
        ImageFolder(pictures, transform, 2)(0)
    assert not isinstance(caught.value, DataError)


def test_the_order_is_that_of_torchvision(pictures: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder as Theirs

    for name in ("a/b/1.png", "a.b/2.png", "a/Z.PNG", "a-b/3.png", "z.png", "tam.png", "a/notes.txt"):
        (pictures / "cat" / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / "cat" / name).write_bytes((pictures / "cat" / "tom.png").read_bytes())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "0.png").write_bytes((pictures / "cat" / "tom.png").read_bytes())
    (pictures / "dog" / "linked").symlink_to(tmp_path / "more")
    ours, theirs = ImageFolder(pictures, to_tensor, 2), Theirs(str(pictures))
    assert (ours.classes, ours.samples) == (theirs.classes, theirs.samples)


def test_links_that_lead_nowhere_and_back(pictures: Path, tmp_path: Path) -> None:
    (pictures / "dog" / "again").symlink_to(pictures / "dog")
    assert len(ImageFolder(pictures, to_tensor, 2)) == 3
    (pictures / "dog" / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"dog/gone\.png is a link that cannot be followed"):
        ImageFolder(pictures, to_tensor, 2)
