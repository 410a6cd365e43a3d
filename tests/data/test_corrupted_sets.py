"""Corrupted sets: made once, checked when read, and the published files of CIFAR-10-C."""

from pathlib import Path

import numpy as np
import pytest

from bibench.data import location
from bibench.data.corruptions import corrupt, sets
from bibench.data.corruptions.sets import IMAGES, VERSION, generated, has_official, official
from bibench.errors import BiBenchError, DataError


@pytest.fixture
def images() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (20, 16, 16, 3)).astype(np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(location.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class TestGenerated:
    def test_it_is_what_corrupt_makes(self, images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sets, "PART", 7)
        made = generated(images, "fog", name="tiny", seed=5, threads=2)
        for severity in (1, 4):
            np.testing.assert_array_equal(made.at(severity), corrupt(images, "fog", severity, seed=5))
        assert made.source == "generated"

    def test_it_is_made_once(self, images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = generated(images, "contrast", name="tiny")
        monkeypatch.setattr(sets, "corrupt", lambda *a, **k: pytest.fail("made again"))
        again = generated(images, "contrast", name="tiny")
        assert again.checksum == first.checksum
        np.testing.assert_array_equal(again.images, first.images)

    def test_other_images_seeds_and_textures_are_other_sets(self, images: np.ndarray, cache: Path) -> None:
        generated(images, "frost", name="tiny")
        generated(images, "frost", name="tiny", seed=1)
        generated(images[:10], "frost", name="tiny")
        folders = list((cache / VERSION).glob("tiny-*/frost-drawn"))
        assert len(folders) == 3

    def test_damage_is_found(self, images: np.ndarray, cache: Path) -> None:
        generated(images, "contrast", name="tiny")
        (file,) = cache.rglob(IMAGES)
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"images\.npy is damaged .* delete .*contrast to have it made again"):
            generated(images, "contrast", name="tiny")
        file.write_bytes(content[:1000])
        with pytest.raises(DataError, match="is damaged"):
            generated(images, "contrast", name="tiny")

    def test_severity_out_of_range(self, images: np.ndarray, cache: Path) -> None:
        with pytest.raises(BiBenchError, match="severity must be"):
            generated(images, "contrast", name="tiny").at(0)


class TestOfficial:
    @pytest.fixture
    def labels(self) -> np.ndarray:
        return np.arange(6) % 3

    @pytest.fixture
    def folder(self, tmp_path: Path, labels: np.ndarray) -> Path:
        blocks = [np.full((6, 32, 32, 3), severity, np.uint8) for severity in range(1, 6)]
        np.save(tmp_path / "fog.npy", np.concatenate(blocks))
        np.save(tmp_path / "labels.npy", np.tile(labels, 5))
        return tmp_path

    def test_severity_after_severity(self, folder: Path, labels: np.ndarray) -> None:
        found = official(folder, "fog", labels, 32)
        assert [set(found.at(s).ravel().tolist()) for s in range(1, 6)] == [{1}, {2}, {3}, {4}, {5}]
        assert found.at(2).shape == (6, 32, 32, 3)
        assert found.source == "official"
        assert has_official(folder)
        assert not has_official(folder / "none")

    def test_missing(self, folder: Path, labels: np.ndarray) -> None:
        with pytest.raises(DataError, match=r"snow\.npy is missing; unpack CIFAR-10-C\.tar"):
            official(folder, "snow", labels, 32)

    def test_a_truncated_file(self, folder: Path, labels: np.ndarray) -> None:
        file = folder / "fog.npy"
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(DataError, match=r"fog\.npy is damaged"):
            official(folder, "fog", labels, 32)

    @pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"hello"])
    def test_no_array_at_all(self, folder: Path, labels: np.ndarray, content: bytes) -> None:
        (folder / "fog.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"fog\.npy is damaged"):
            official(folder, "fog", labels, 32)

    def test_a_pickle_is_not_opened(self, folder: Path, labels: np.ndarray) -> None:
        np.save(folder / "fog.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(DataError, match=r"fog\.npy is damaged"):
            official(folder, "fog", labels, 32)

    @pytest.mark.parametrize(
        "array", [np.zeros((30, 32, 32, 3)), np.zeros((30, 16, 16, 3), np.uint8), np.zeros((6, 32, 32, 3), np.uint8)]
    )
    def test_another_shape_or_type(self, folder: Path, labels: np.ndarray, array: np.ndarray) -> None:
        np.save(folder / "fog.npy", array)
        with pytest.raises(DataError, match=r"expected uint8 \(30, 32, 32, 3\)"):
            official(folder, "fog", labels, 32)

    def test_labels_of_another_set(self, folder: Path, labels: np.ndarray) -> None:
        with pytest.raises(DataError, match=r"labels\.npy does not repeat the labels of the test set"):
            official(folder, "fog", labels[::-1], 32)
