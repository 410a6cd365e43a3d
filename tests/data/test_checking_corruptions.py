"""What is told of a published corrupted set: complete, lacking, damaged, cut off, of another shape."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bibench.data import layout
from bibench.data.corruptions import CORRUPTIONS
from bibench.data.corruptions.checking import inspect_published
from bibench.data.corruptions.official import CIFAR_10_C, IMAGENET_C, Archive

ARRAYS = replace(CIFAR_10_C, examples=6, classes=3)
FOLDERS = replace(IMAGENET_C, examples=3, classes=2)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A data root with the arrays of all corruptions."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for name in CORRUPTIONS:
        np.save(folder / f"{name}.npy", np.zeros((30, 32, 32, 3), np.uint8))
    np.save(folder / "labels.npy", np.tile(np.arange(6) % 3, 5))
    return tmp_path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A data root with the pictures of all corruptions."""
    for name in CORRUPTIONS:
        for severity in range(1, 6):
            for picture in ("n01/a.JPEG", "n01/b.JPEG", "n02/c.JPEG"):
                file = tmp_path / "ImageNet-C" / name / str(severity) / picture
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"1234")
    return tmp_path


def test_archives_hold_every_corruption_once() -> None:
    for published in (CIFAR_10_C, IMAGENET_C):
        held = [name for archive in published.archives for name in archive.corruptions]
        assert sorted(held) == sorted(CORRUPTIONS)
        assert all(len(archive.md5) == 32 for archive in published.archives)


@pytest.mark.parametrize("published", [CIFAR_10_C, IMAGENET_C])
@pytest.mark.parametrize("empty", [False, True])
def test_nothing_there_is_one_line(published: object, empty: bool, tmp_path: Path) -> None:
    if empty:
        (tmp_path / published.folder).mkdir()
    (piece,), (line,) = inspect_published(published, tmp_path)
    assert (piece.path, piece.state) == (published.folder, "missing")
    assert published.archives[-1].name in line and published.record in line
    assert line.endswith(f"unpack in {tmp_path / published.unpacked_in}")


class TestArrays:
    def test_complete(self, arrays: Path) -> None:
        found, problems = inspect_published(ARRAYS, arrays)
        assert problems == []
        assert [piece.path for piece in found] == [f"CIFAR-10-C/{name}.npy" for name in (*CORRUPTIONS, "labels")]
        assert all(piece.good for piece in found)
        assert found[0].size == 128 + 30 * 32 * 32 * 3

    def test_a_line_for_each_piece_with_what_to_fetch(self, arrays: Path) -> None:
        folder = arrays / "CIFAR-10-C"
        (folder / "fog.npy").unlink()
        (folder / "snow.npy").write_bytes((folder / "snow.npy").read_bytes()[:5000])
        (folder / "frost.npy").write_bytes(b"<html>")
        np.save(folder / "contrast.npy", np.zeros((30, 32, 32, 3), np.float32))
        np.save(folder / "spatter.npy", np.zeros((24, 32, 32, 3), np.uint8))
        (folder / "labels.npy").unlink()
        found, problems = inspect_published(ARRAYS, arrays)
        states = {piece.path.removeprefix("CIFAR-10-C/"): piece.state for piece in found if not piece.good}
        assert states == {
            **{f"{name}.npy": "damaged" for name in ("snow", "frost", "contrast", "spatter")},
            **{f"{name}.npy": "missing" for name in ("fog", "labels")},
        }
        lines = dict(line.removeprefix(f"{folder}/").split(".npy ", 1) for line in problems)
        assert set(lines) == {"snow", "frost", "fog", "contrast", "spatter", "labels"}
        for line in lines.values():
            fix = f"fetch https://zenodo.org/records/2535967/files/CIFAR-10-C.tar and unpack it in {arrays}"
            assert "\n" not in line and line.endswith(fix)
        assert lines["fog"].startswith("is missing") and lines["snow"].startswith("is damaged")
        assert lines["contrast"].startswith("holds float32 (30, 32, 32, 3), expected uint8 (30, 32, 32, 3)")
        assert lines["spatter"].startswith("holds uint8 (24, 32, 32, 3), expected uint8 (30, 32, 32, 3)")

    @pytest.mark.parametrize(
        ("labels", "told"),
        [
            (np.arange(30) % 4 % 3, "does not repeat the same labels for each of the 5 severities"),
            (np.tile(np.arange(6), 5), "has labels from 0 to 5, expected 0 to 2"),
            (np.tile(np.arange(6) % 3 - 1, 5), "has labels from -1 to 1, expected 0 to 2"),
        ],
    )
    def test_labels_of_another_set(self, arrays: Path, labels: np.ndarray, told: str) -> None:
        np.save(arrays / "CIFAR-10-C" / "labels.npy", labels)
        found, (line,) = inspect_published(ARRAYS, arrays)
        assert told in line
        assert (found[-1].state, found[-1].detail) == ("damaged", told)

    def test_an_archive_is_hashed_until_it_is_unpacked(self, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (arrays / "CIFAR-10-C.tar").write_bytes(b"hello")
        assert inspect_published(ARRAYS, arrays)[1] == []
        (arrays / "CIFAR-10-C" / "fog.npy").unlink()
        found, (line, fog) = inspect_published(ARRAYS, arrays)
        assert (found[-1].path, found[-1].state) == ("CIFAR-10-C.tar", "damaged")
        assert line.startswith(f"{arrays / 'CIFAR-10-C.tar'} is damaged: the published file has md5 56bf5dcef84d")
        assert "fog.npy is missing" in fog
        same = replace(ARRAYS, archives=(Archive("CIFAR-10-C.tar", hashlib.md5(b"hello").hexdigest(), CORRUPTIONS),))
        assert inspect_published(same, arrays)[1] == [fog]
        monkeypatch.setattr(layout, "LARGE", 4)
        assert inspect_published(ARRAYS, arrays)[1] == [fog]
        assert len(inspect_published(ARRAYS, arrays, everything=True)[1]) == 2


class TestFolders:
    def test_complete(self, folders: Path) -> None:
        found, problems = inspect_published(FOLDERS, folders)
        assert problems == []
        assert [piece.path for piece in found] == [f"ImageNet-C/{name}" for name in CORRUPTIONS]
        assert {(piece.state, piece.files, piece.size) for piece in found} == {("found", 15, 60)}

    def test_a_line_for_each_piece_with_the_archive_to_fetch(self, folders: Path) -> None:
        folder = folders / "ImageNet-C"
        (folder / "fog" / "2" / "n01" / "b.JPEG").unlink()
        (folder / "spatter").rename(folder / "splatter")
        (folder / "snow" / "5").rename(folder / "snow" / "6")
        (folder / "snow" / "1" / "n02").rename(folder / "snow" / "1" / "n01" / "n02")
        found, problems = inspect_published(FOLDERS, folders)
        states = {piece.path: (piece.state, piece.detail) for piece in found if not piece.good}
        assert states == {
            "ImageNet-C/fog": ("incomplete", "severity 2 has 2 files, the published data set 3"),
            "ImageNet-C/spatter": ("missing", ""),
            "ImageNet-C/snow": ("incomplete", "severity 1 has 1 class folders, the published data set 2"),
        }
        record = "https://zenodo.org/records/2235448/files"
        weather, extra = (f"fetch {record}/{name}.tar and unpack it in {folder}" for name in ("weather", "extra"))
        assert sorted(problems) == [
            f"{folder}/fog/2 has 2 files, the published data set 3; {weather}",
            f"{folder}/snow/1 has 1 class folders, the published data set 2; {weather}",
            f"{folder}/snow/5 is missing; {weather}",
            f"{folder}/spatter is missing; {extra}",
        ]
