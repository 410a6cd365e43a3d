"""The published corrupted sets: the arrays of CIFAR-10-C and the folders of ImageNet-C, in their true layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bibench.data import location
from bibench.data.corruptions.official import CIFAR_10_C, IMAGENET_C, arrays, folders
from bibench.data.corruptions.sets import CleanSet
from bibench.foundation.errors import DataError, UnknownNameError


class TestArrays:
    @pytest.fixture
    def test_set(self) -> CleanSet:
        return CleanSet("tiny", np.zeros((6, 32, 32, 3), np.uint8), "", np.arange(6) % 3)

    @pytest.fixture
    def folder(self, tmp_path: Path, test_set: CleanSet) -> Path:
        blocks = [np.full((6, 32, 32, 3), severity, np.uint8) for severity in range(1, 6)]
        np.save(tmp_path / "fog.npy", np.concatenate(blocks))
        np.save(tmp_path / "labels.npy", np.tile(test_set.labels, 5))
        return tmp_path

    def test_severity_after_severity(self, folder: Path, test_set: CleanSet) -> None:
        found = arrays(folder, "fog", test_set)
        assert [(f.severity, set(f.read()[0].ravel().tolist())) for f in found] == [(s, {s}) for s in range(1, 6)]
        assert {f.read()[0].shape for f in found} == {(6, 32, 32, 3)}
        assert {f.flags for f in found} == {()}
        assert len({f.known for f in found}) == 5
        assert [f.known for f in found] == [f.read()[1] for f in found]
        assert CIFAR_10_C.there(folder)
        assert not CIFAR_10_C.there(folder / "none")

    def test_missing(self, folder: Path, test_set: CleanSet) -> None:
        with pytest.raises(DataError, match=r"snow\.npy is missing; unpack CIFAR-10-C\.tar"):
            arrays(folder, "snow", test_set)

    def test_no_corruption(self, folder: Path, test_set: CleanSet) -> None:
        for read in (arrays, folders):
            with pytest.raises(UnknownNameError, match="unknown corruption"):
                read(folder, "../fog", test_set)

    def test_a_truncated_file(self, folder: Path, test_set: CleanSet) -> None:
        file = folder / "fog.npy"
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(DataError, match=r"fog\.npy is damaged"):
            arrays(folder, "fog", test_set)

    @pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"hello"])
    def test_no_array_at_all(self, folder: Path, test_set: CleanSet, content: bytes) -> None:
        (folder / "fog.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"fog\.npy is damaged"):
            arrays(folder, "fog", test_set)

    def test_a_pickle_is_not_opened(self, folder: Path, test_set: CleanSet) -> None:
        np.save(folder / "fog.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(DataError, match=r"fog\.npy is damaged"):
            arrays(folder, "fog", test_set)

    @pytest.mark.parametrize(
        "array", [np.zeros((30, 32, 32, 3)), np.zeros((30, 16, 16, 3), np.uint8), np.zeros((6, 32, 32, 3), np.uint8)]
    )
    def test_another_shape_or_type(self, folder: Path, test_set: CleanSet, array: np.ndarray) -> None:
        np.save(folder / "fog.npy", array)
        with pytest.raises(DataError, match=r"expected uint8 \(30, 32, 32, 3\)"):
            arrays(folder, "fog", test_set)

    def test_labels_of_another_set(self, folder: Path, test_set: CleanSet) -> None:
        other = CleanSet("tiny", test_set.images, "", test_set.labels[::-1])
        with pytest.raises(DataError, match=r"labels\.npy does not repeat the labels of the test set"):
            arrays(folder, "fog", other)


class TestFolders:
    FILES = ("n01/a.JPEG", "n01/b.JPEG", "n02/c.JPEG")

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(location.CACHE, str(tmp_path / "cache"))

    @pytest.fixture
    def test_set(self) -> CleanSet:
        return CleanSet("tiny", np.zeros((3, 24, 24, 3), np.uint8), "", np.array([0, 0, 1]), self.FILES)

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for severity in range(1, 6):
            for number, name in enumerate(self.FILES):
                file = tmp_path / "ImageNet-C" / "fog" / str(severity) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (24, 24), (40 * severity, 60 * number, 0)).save(file, quality=85)
        return tmp_path / "ImageNet-C"

    def test_every_severity_in_the_order_of_the_test_set(self, folder: Path, test_set: CleanSet) -> None:
        assert IMAGENET_C.there(folder)
        assert not IMAGENET_C.there(folder / "none")
        for condition in folders(folder, "fog", test_set, threads=2):
            images, data = condition.read()
            assert images.shape == (3, 24, 24, 3)
            assert np.abs(images[..., 0].astype(int) - 40 * condition.severity).max() <= 2
            assert np.abs(images[..., 1].astype(int) - 60 * np.arange(3)[:, None, None]).max() <= 2
            assert data == condition.known
            assert condition.flags == ()
        assert len({c.known for c in folders(folder, "fog", test_set)}) > 1  # their sizes differ

    def test_a_missing_severity(self, folder: Path, test_set: CleanSet) -> None:
        (folder / "fog" / "4").rename(folder / "fog" / "6")
        with pytest.raises(DataError, match=r"fog.4 is missing; .* unpack the archives of ImageNet-C"):
            folders(folder, "fog", test_set)

    def test_a_missing_class(self, folder: Path, test_set: CleanSet) -> None:
        (folder / "fog" / "2" / "n02" / "c.JPEG").unlink()
        (folder / "fog" / "2" / "n02").rmdir()
        with pytest.raises(DataError, match=r"fog.2 has 1 class folders, expected 2"):
            folders(folder, "fog", test_set)

    @pytest.mark.parametrize("name", ["n01/b.JPEG", "n02/c.JPEG"])
    def test_pictures_of_another_set(self, folder: Path, test_set: CleanSet, name: str) -> None:
        file = folder / "fog" / "5" / name
        file.rename(file.with_name("z.JPEG"))
        with pytest.raises(DataError, match=rf"differ in 2 of their files \({name}, \.\.\.\)"):
            folders(folder, "fog", test_set)

    def test_another_size(self, folder: Path, test_set: CleanSet) -> None:
        Image.new("RGB", (32, 24)).save(folder / "fog" / "1" / "n01" / "b.JPEG")
        with pytest.raises(DataError, match=r"b\.JPEG has the shape \(24, 32, 3\), expected \(24, 24, 3\)"):
            folders(folder, "fog", test_set)[0].read()

    def test_a_damaged_picture(self, folder: Path, test_set: CleanSet) -> None:
        (folder / "fog" / "1" / "n01" / "b.JPEG").write_bytes(b"\xff\xd8\xff\xe0nothing")
        with pytest.raises(DataError, match=r"b\.JPEG is damaged"):
            folders(folder, "fog", test_set)[0].read()

    def test_greyscale_pictures_have_three_channels(self, folder: Path, test_set: CleanSet) -> None:
        Image.new("L", (24, 24), 77).save(folder / "fog" / "1" / "n01" / "b.JPEG")
        assert set(folders(folder, "fog", test_set)[0].read()[0][1].ravel()) == {77}
