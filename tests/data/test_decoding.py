"""Images of every depth and mode become RGB with their levels, or are refused by name."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bibench.data.annotations import AnnotatedImage, Annotations
from bibench.data.corruptions.frost import OFFICIAL, frost_from, textures
from bibench.data.decoding import open_rgb, rgb
from bibench.data.detection import DetectionSamples
from bibench.data.images import ImageFolder
from bibench.errors import DataError

SIDE = 256
RAMP = np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
LEVELS = (RAMP >> 8).astype(np.uint8)


def tiff(values: np.ndarray, *, bits: int = 16, white_is_zero: bool = False, kind: int = 1) -> bytes:
    """A plain little-endian TIFF of one strip; `values` as the bytes of its rows."""
    height = SIDE
    data = values.tobytes()
    tags = [
        *((256, 4, SIDE), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 0 if white_is_zero else 1)),
        *((273, 4, 8 + 2 + 10 * 12 + 4), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, kind)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def png(values: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits: grey 0, RGB 2, grey with alpha 4, RGB with alpha 6."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    pixels = np.repeat(values[..., None], channels, axis=2).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def packed_12_bits(values: np.ndarray) -> np.ndarray:
    pairs = (values >> 4).reshape(-1, 2).astype(np.uint32)
    whole = pairs[:, 0] << 12 | pairs[:, 1]
    return np.stack([whole >> 16, whole >> 8 & 255, whole & 255], 1).astype(np.uint8)


DEEP: dict[str, Callable[[], bytes]] = {
    "grey.png": lambda: png(RAMP, 0),
    "colour.png": lambda: png(RAMP, 2),
    "alpha.png": lambda: png(RAMP, 4),
    "colour_alpha.png": lambda: png(RAMP, 6),
    "grey.tif": lambda: tiff(RAMP),
    "twelve.tif": lambda: tiff(packed_12_bits(RAMP), bits=12),
    "negative.tif": lambda: tiff(65535 - RAMP, white_is_zero=True),
    "grey.pgm": lambda: b"P5 %d %d 65535\n" % (SIDE, SIDE) + RAMP.astype(">u2").tobytes(),
    "text.pgm": lambda: b"P2 %d %d 65535\n" % (SIDE, SIDE) + " ".join(map(str, RAMP.ravel())).encode(),
}


@pytest.mark.parametrize("name", DEEP)
def test_sixteen_bits_are_scaled_by_their_range(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(DEEP[name]())
    image = open_rgb(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (SIDE, SIDE))
    pixels = np.asarray(image)
    assert (pixels == pixels[..., :1]).all()
    assert np.array_equal(pixels[..., 0], LEVELS)


def test_the_range_of_a_pgm_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 1000\n" + np.array([0, 500, 1000], ">u2").tobytes())
    assert np.asarray(open_rgb(tmp_path / "a.pgm"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(("mode", "order"), [("I;16", "<"), ("I;16L", "<"), ("I;16B", ">"), ("I;16N", "=")])
def test_every_order_of_bytes(mode: str, order: str) -> None:
    image = Image.frombytes(mode, (SIDE, SIDE), RAMP.astype(f"{order}u2").tobytes())
    assert np.array_equal(np.asarray(rgb(image, "here"))[..., 0], LEVELS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("float.tif", lambda: tiff(RAMP.astype(np.float32) / 65535, bits=32, kind=3)),
        ("nan.tif", lambda: tiff(np.full_like(RAMP, np.nan, np.float32), bits=32, kind=3)),
        ("long.tif", lambda: tiff(RAMP.astype(np.uint32), bits=32)),
        ("signed.tif", lambda: tiff(RAMP.astype(np.int16), kind=2)),
    ],
)
def test_what_has_no_known_range_is_refused_by_name(name: str, content: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content())
    with pytest.raises(
        DataError, match=rf"/{name} holds .* of which nobody knows what is white; expected at most 16 bits"
    ):
        open_rgb(tmp_path / name)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_other_modes_are_as_pillow_has_them(mode: str) -> None:
    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (8, 8, 3)).astype(np.uint8)).convert(mode)
    assert np.array_equal(np.asarray(rgb(image, "here")), np.asarray(image.convert("RGB")))


def test_every_reader_of_images_goes_this_way(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP)
    (tmp_path / "class").mkdir()
    grey.save(tmp_path / "class" / "a.png")
    assert np.array_equal(ImageFolder(tmp_path, np.asarray, 1)(0)[0][..., 0], LEVELS)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.float32)
    item = AnnotatedImage(tmp_path / "class" / "a.png", (SIDE, SIDE), *none)
    scene = DetectionSamples(Annotations([item], ("a",)))(0)[0]
    assert np.array_equal((scene[0].numpy() * 255).round(), LEVELS)
    (tmp_path / "frost").mkdir()
    for name in OFFICIAL:
        grey.save(tmp_path / "frost" / name, "PNG")
    with frost_from(tmp_path / "frost"):
        assert np.array_equal(textures(224, 224)[0][..., 0], LEVELS)
    assert not [
        file
        for file in (Path(__file__).parents[2] / "src" / "bibench").rglob("*.py")
        if "Image.open(" in file.read_text("utf-8") and file.name not in ("decoding.py", "digital.py")
    ]


def test_a_missing_file_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/a\.png is missing; restore this file from the distribution$"):
        open_rgb(tmp_path / "a.png")
