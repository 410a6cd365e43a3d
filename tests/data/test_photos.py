"""The photographs: they load without a network, their licences are stated, splits share no pixel."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bibench.data import photos
from bibench.tasks.base import SPLITS


@pytest.fixture(scope="module")
def pictures() -> Iterator[dict[str, photos.Image]]:
    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("the photographs ask for the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield photos.load()


def test_all_photographs_load(pictures: dict[str, photos.Image]) -> None:
    assert list(pictures) == [photo.name for photo in photos.PHOTOS]
    assert len(set(pictures)) == 8
    for name, picture in pictures.items():
        assert picture.dtype == np.uint8, name
        assert picture.ndim == 3 and picture.shape[2] == 3, name
        assert picture.flags.c_contiguous, name
        assert 280 <= min(picture.shape[:2]) < 800, f"{name} is {picture.shape}: the textures are not of one scale"
        assert picture.std() > 20, f"{name} shows almost nothing"


def test_they_come_from_the_wheels(tmp_path: Path) -> None:
    """In a process without pooch, downloads' library, and without what an earlier download cached."""
    code = """
import socket, sys
sys.modules["pooch"] = None
def refuse(*arguments): raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
from bibench.data import photos
print(len(photos.load()))
"""
    places = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | places, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "8\n"


def test_licences_are_stated_and_travel_with_the_attribution() -> None:
    for photo in photos.PHOTOS:
        assert photo.licence in ("public domain", "CC0", "CC BY 2.0")
        assert photo.credit
        assert f"{photo.name} ({photo.credit}, {photo.licence})" in photos.ATTRIBUTION
        if photo.licence.startswith("CC BY"):
            assert "flickr.com/photos/" in photo.credit, "this licence wants the author and the source"


@pytest.mark.parametrize("width", [40, 100, 101, 399, 400, 451, 640, 1023])
def test_strips_share_no_column_and_leave_none_out(width: int) -> None:
    columns = np.arange(width)
    picture = np.broadcast_to(columns[None, :, None], (2, width, 3)).astype(np.int64)
    parts = [photos.strip(picture, split)[0, :, 0].tolist() for split in SPLITS]
    assert [column for part in parts for column in part] == columns.tolist()
    assert all(parts)
    assert len(parts[0]) / width == pytest.approx(0.6, abs=0.02)


def test_strips_keep_the_whole_height_and_hold_a_patch(pictures: dict[str, photos.Image]) -> None:
    for name, picture in pictures.items():
        for split in SPLITS:
            part = photos.strip(picture, split)
            assert part.shape[0] == picture.shape[0]
            assert min(part.shape[:2]) > 40, f"{name}, {split}: {part.shape}"


def test_random_crops_reach_every_place() -> None:
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    random = np.random.RandomState(0)
    crops = [photos.random_crop(picture, 3, random) for _ in range(200)]
    assert {crop.shape for crop in crops} == {(3, 3, 3)}
    corners = {crop[0, 0, 0] for crop in crops}
    assert corners == {picture[top, left, 0] for top in range(2) for left in range(3)}
    assert np.array_equal(photos.random_crop(picture[:, :4], 4, random), picture[:, :4])


def test_large_photographs_are_reduced_by_means_of_blocks() -> None:
    picture = np.random.RandomState(0).randint(0, 256, (7, 9, 3)).astype(np.uint8)
    reduced = photos._reduce(picture, 3)
    assert reduced.shape == (2, 3, 3)
    for row in range(2):
        for column in range(3):
            block = picture[3 * row : 3 * row + 3, 3 * column : 3 * column + 3].reshape(9, 3).astype(np.float64)
            assert np.abs(reduced[row, column] - block.mean(0)).max() <= 0.5
    assert photos._reduce(picture, 1) is picture
