"""Arrays made in parts: the same whatever the parts and threads, and never whole in memory."""

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from bibench.data import location, parts
from bibench.data.parts import passing, write
from bibench.foundation.errors import DataError

SHAPE = (50, 4, 4, 3)
WHOLE = np.arange(np.prod(SHAPE), dtype=np.uint64).astype(np.uint8).reshape(SHAPE)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(location.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def cut(first: int, last: int) -> np.ndarray:
    return WHOLE[first:last]


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize("part", [1, 100, 48 * 7, 2**24])
def test_they_arrive_in_order(part: int, threads: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", part)
    made = list(parts.parts(SHAPE, cut, threads))
    assert max(map(len, made)) == min(50, max(1, part // 48))
    np.testing.assert_array_equal(np.concatenate(made), WHOLE)


def test_mapped_and_hashed_without_a_file_that_stays(cache: Path) -> None:
    mapped, digest = passing(SHAPE, parts.parts(SHAPE, cut, 2))
    np.testing.assert_array_equal(mapped, WHOLE)
    assert digest == hashlib.sha256(WHOLE.tobytes()).hexdigest()
    assert type(mapped) is np.ndarray
    assert list(cache.iterdir()) == []


def test_an_error_in_a_part_is_raised_and_the_rest_is_not_made() -> None:
    made: list[int] = []

    def make(first: int, last: int) -> np.ndarray:
        made.append(first)
        if first == 3:
            raise DataError("image 3 is damaged")
        return cut(first, last)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART", 1)
        with pytest.raises(DataError, match="image 3 is damaged"):
            passing(SHAPE, parts.parts(SHAPE, make, 1))
    assert max(made) < 10


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.shutil, "disk_usage", lambda folder: parts.shutil._ntuple_diskusage(10**9, 10**9, 100))
    with pytest.raises(DataError, match=r"cannot hold test images in the cache .*GiB are needed, .* free space"):
        passing(SHAPE, parts.parts(SHAPE, cut, 1))


def test_a_disk_that_fills_meanwhile() -> None:
    class Full:
        def write(self, content: memoryview) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write(Full(), parts.parts(SHAPE, cut, 1))  # type: ignore[arg-type]


def test_memory_is_bounded_by_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB pass through parts of 64 KiB: at most threads + 2 of them and one being hashed exist at a time."""
    threads, shape = 2, (4096, 128, 128, 1)
    monkeypatch.setattr(parts, "PART", 2**16)
    tracemalloc.start()
    try:
        mapped, _ = passing(
            shape, parts.parts(shape, lambda a, b: np.full((b - a, 128, 128, 1), a % 251, np.uint8), threads)
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mapped.nbytes == 2**26
    assert peak < (threads + 3) * 2**16 + 2**19
    assert mapped[4 * 1000, 0, 0, 0] == 4 * 1000 % 251
