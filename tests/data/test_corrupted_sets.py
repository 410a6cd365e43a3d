"""Corrupted sets made by us: small ones once and checked when read, large ones in parts and never kept."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from bibench.data import location, parts
from bibench.data.corruptions import CORRUPTIONS, apply, corrupt, sets
from bibench.data.corruptions.sets import CHECKSUM, IMAGES, VERSION, CleanSet, Corrupted, generated
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError


def clean(images: np.ndarray) -> CleanSet:
    return CleanSet("tiny", images, sha256(images.tobytes()), np.arange(len(images)) % 3)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (20, 16, 16, 3)).astype(np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(location.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def fifth(found: list[Corrupted]) -> Corrupted:
    return found[4]


class TestKept:
    def test_it_is_what_corrupt_makes(self, images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parts, "PART", 7 * 16 * 16 * 3)
        made = generated(clean(images), "fog", seed=5, threads=2)
        assert [(m.corruption, m.severity, m.flags) for m in made] == [("fog", s, ("generated",)) for s in range(1, 6)]
        for condition in made:
            found, digest = condition.read()
            np.testing.assert_array_equal(found, corrupt(images, "fog", condition.severity, seed=5))
            assert digest == sha256(found.tobytes())

    def test_nothing_is_made_before_it_is_read(self, images: np.ndarray, cache: Path) -> None:
        assert {m.known for m in generated(clean(images), "fog")} == {""}
        assert not cache.exists()

    def test_it_is_made_once(self, images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first, digest = fifth(generated(clean(images), "contrast")).read()
        monkeypatch.setattr(sets, "corrupt", lambda *a, **k: pytest.fail("made again"))
        again = fifth(generated(clean(images), "contrast"))
        assert again.known == digest
        np.testing.assert_array_equal(again.read()[0], first)

    def test_other_images_seeds_textures_and_constants_are_other_sets(
        self, images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fifth(generated(clean(images), "frost")).read()
        fifth(generated(clean(images), "frost", seed=1)).read()
        fifth(generated(clean(images[:10]), "frost")).read()
        monkeypatch.setattr(sets, "constants_for", lambda height, width: {"frost": ((1, 0.5),) * 5})
        fifth(generated(clean(images), "frost")).read()
        assert len(list((cache / VERSION).glob("tiny-*/frost-drawn-5"))) == 4

    def test_damage_is_found(self, images: np.ndarray, cache: Path) -> None:
        fifth(generated(clean(images), "contrast")).read()
        (file,) = cache.rglob(IMAGES)
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        again = fifth(generated(clean(images), "contrast"))
        with pytest.raises(DataError, match=r"images\.npy is damaged .* delete .*contrast-5 to have it made again"):
            again.read()
        file.write_bytes(content[:1000])
        with pytest.raises(DataError, match="is damaged"):
            again.read()
        file.unlink()
        with pytest.raises(DataError, match=r"images\.npy is missing; delete"):
            again.read()

    def test_drawn_frost_is_marked(self, images: np.ndarray) -> None:
        assert {m.flags for m in generated(clean(images), "frost")} == {("generated", "drawn_frost")}


class TestPassing:
    """Sets above `SMALL`: nothing but checksums stays."""

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_pixels_and_checksums_are_those_of_the_kept_way(
        self, images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch, corruption: str
    ) -> None:
        kept = [m.read() for m in generated(clean(images), corruption, seed=3)]
        monkeypatch.setenv(location.CACHE, str(cache.with_name("other")))
        monkeypatch.setattr(sets, "SMALL", images.nbytes - 1)
        monkeypatch.setattr(parts, "PART", 3 * 16 * 16 * 3)
        passed = [m.read() for m in generated(clean(images), corruption, seed=3, threads=2)]
        for (stored, stored_digest), (made, digest) in zip(kept, passed, strict=True):
            np.testing.assert_array_equal(made, stored)
            assert digest == stored_digest
        assert not list(cache.with_name("other").rglob(IMAGES))

    def test_the_checksum_is_known_afterwards(
        self, images: np.ndarray, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sets, "SMALL", 0)
        digest = fifth(generated(clean(images), "contrast")).read()[1]
        assert [m.known for m in generated(clean(images), "contrast")] == ["", "", "", "", digest]
        assert [file.name for file in cache.rglob("*") if file.is_file()] == [CHECKSUM]

    def test_memory_is_bounded(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """12 MiB through parts of 48 KiB; a part in work takes as much again, and some arrays of `CHUNK_VALUES`."""
        images = np.zeros((4096, 32, 32, 3), np.uint8)
        monkeypatch.setattr(sets, "SMALL", 0)
        monkeypatch.setattr(parts, "PART", 48 * 1024)
        monkeypatch.setattr(apply, "CHUNK_VALUES", 2**13)
        threads, array = 2, 8 * 2**13
        condition = fifth(generated(clean(images), "contrast", threads=threads))
        tracemalloc.start()
        try:
            condition.read()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < (threads + 3) * 48 * 1024 + threads * 8 * array + 2**19 < images.nbytes / 5
