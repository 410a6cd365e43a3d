"""PASCAL VOC: image lists and one XML file of objects per image (Everingham et al., IJCV 2010).

http://host.robots.ox.ac.uk/pascal/VOC. torchvision's wrapper of this format leaves out the mark
``difficult`` and believes any name in a list, so the files are read here.

VOC counts pixels from 1 and both corners belong to the box. Read as edges, as everywhere in BiBench,
(xmin, ymin, xmax, ymax) is (xmin - 1, ymin - 1, xmax, ymax): an overlap of such boxes is exactly the
devkit's, which adds 1 to every width and height.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Unpack
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from bibench.data.annotations import AnnotatedImage, Annotations, annotated, file_names
from bibench.foundation.errors import DataError
from bibench.foundation.files import unreadable
from bibench.foundation.lines import BLANK, read_lines
from bibench.foundation.numbers import Limits, parse_number

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SIDES = ("width", "height")
LARGEST_SIDE = 2**31 - 1
LARGEST_FILE = 10_000_000
"""Bytes; the annotations of VOC have a few thousand."""
_IMAGE_ID = re.compile(r"[A-Za-z0-9_][\w.-]*")


def read_voc(devkit: Path, sets: Iterable[tuple[str, str]], classes: Sequence[str] = CLASSES) -> Annotations:
    """The images of some image sets, in the order of the lists.

    Args:
        devkit: the folder ``VOCdevkit``.
        sets: (year, name) of each set: ("2007", "trainval") is VOC2007/ImageSets/Main/trainval.txt.
        classes: names of the classes in the order of their labels.

    Raises:
        DataError: naming the file, for a list, annotation or image that is missing, XML that is
            malformed or declares entities, an unknown class, an impossible box.
    """
    counts: Counter[str] = Counter()
    images = []
    for year, name in sets:
        folder = devkit / f"VOC{year}"
        present = file_names(folder / "JPEGImages")
        for image_id in image_ids(folder / "ImageSets" / "Main" / f"{name}.txt"):
            if f"{image_id}.jpg" not in present:
                raise DataError(f"{folder / 'JPEGImages' / image_id}.jpg is missing; unpack VOC{year} again")
            images.append(_annotation(folder, image_id, classes, counts))
    return Annotations(images, tuple(classes), counts)


def image_ids(file: Path) -> list[str]:
    """The images that a list names, one a line; blank lines do not count."""
    try:
        lines = [line.strip(BLANK) for line in read_lines(file)]
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{file} cannot be read ({error}); unpack the data set again"
        raise DataError(unreadable(file, error) or problem) from error
    found = [line for line in lines if line]
    for line in found:
        if not _IMAGE_ID.fullmatch(line):
            raise DataError(f"{file}: {line[:80]!r} is not the name of an image")
    if len(set(found)) < len(found):
        twice = next(name for name, times in Counter(found).items() if times > 1)
        raise DataError(f"{file} names image {twice!r} twice; restore this file from the distribution")
    if not found:
        raise DataError(f"{file} names no image; restore this file from the distribution")
    return found


def _annotation(folder: Path, image_id: str, classes: Sequence[str], counts: Counter[str]) -> AnnotatedImage:
    file = folder / "Annotations" / f"{image_id}.xml"
    root = parse_xml(file)
    try:
        size = [_number(root, f"size/{side}", file, whole=True, low=1, high=LARGEST_SIDE) for side in SIDES]
        objects = [_object(item, classes, file) for item in root.iterfind("object")]
        path = folder / "JPEGImages" / f"{image_id}.jpg"
        return annotated(path, (int(size[0]), int(size[1])), objects, counts, str(file))
    except _Wrong as error:
        raise DataError(f"{file}: {error}") from error


class _Wrong(ValueError):
    """What is wrong in an annotation, without its file."""


def _object(item: Element, classes: Sequence[str], file: Path) -> tuple[list[float], int, bool, None]:
    name = (item.findtext("name") or "").strip()
    if name not in classes:
        raise _Wrong(f"unknown class {name[:80]!r}; known are: {', '.join(classes)}")
    left, top, right, bottom = (_number(item, f"bndbox/{edge}", file) for edge in ("xmin", "ymin", "xmax", "ymax"))
    difficult = 0.0
    if item.find("difficult") is not None:
        difficult = _number(item, "difficult", file, whole=True, low=0, high=1, expected="0 or 1")
    return [left - 1, top - 1, right, bottom], list(classes).index(name), difficult == 1, None


def _number(item: Element, path: str, file: Path, **limits: Unpack[Limits]) -> float:
    return parse_number(item.findtext(path), f"{file}: {path.replace('/', ' ')}", **limits)


def parse_xml(file: Path) -> Element:
    """The root element of an XML file, in whatever encoding it declares.

    Document types with declarations of their own are refused: by their entities a small file can expand to fill the
    memory, or read other files. Others (``<!DOCTYPE annotation>``) say nothing, and nothing that they name is opened.
    """
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise DataError(f"{file} has more than {LARGEST_FILE:,} bytes, too many for an annotation")
        data = file.read_bytes()
    except OSError as error:
        problem = f"{file} cannot be read ({error.strerror}); unpack the data set again"
        raise DataError(unreadable(file, error) or problem) from error
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = lambda name, system, public, own: _refuse(file) if own else None
    try:
        parser.Parse(_decoded(data, file), True)
        return builder.close()
    except (expat.ExpatError, ParseError, AssertionError) as error:
        raise DataError(f"{file} is no well-formed XML ({error}); restore this file from the distribution") from error


def _decoded(data: bytes, file: Path) -> str:
    """The text of an XML file by its mark, else its declaration, else UTF-8 (XML 1.0, appendix F).

    Not left to the parser, which knows no encoding of several bytes a character but UTF-8 and UTF-16.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        declared = _DECLARED.match(data)
        encoding = declared[1].decode() if declared else "utf-8"
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(
            f"{file} declares the encoding {encoding!r}, which is not known; convert it to UTF-8"
        ) from error
    except ValueError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise DataError(
            f"{file} is no well-formed XML (line {line}: not the encoding {encoding}: {error}); "
            "restore this file from the distribution"
        ) from error


_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)
_DECLARED = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")


def _refuse(file: Path) -> None:
    raise DataError(f"{file} declares a document type, which annotations do not need; it is not read any further")
