"""Whether a published corrupted set is complete, found out before anyone measures on it: behind ``bibench data check``.

What can be told without reading images: of arrays their type, shape and length, and the labels; of folders of pictures
the classes, and how many pictures there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bibench.data.corruptions.apply import CORRUPTIONS, SEVERITIES
from bibench.data.corruptions.official import Official
from bibench.data.corruptions.sets import open_array
from bibench.data.layout import Expected, Found, inspect
from bibench.errors import DataError
from bibench.finding import folders_in


def inspect_published(published: Official, root: Path, *, everything: bool = False) -> tuple[list[Found], list[str]]:
    """What is there of a set below a data root, and a line for each piece that is not as published.

    Args:
        everything: hash archives of any size.
    """
    folder = root / published.folder
    archives = [*_archives(published, root, everything)]
    problems = [
        f"{root / piece.path} is {piece.state}: {piece.detail}; fetch it again" for piece in archives if not piece.good
    ]
    if len(published.lacking(root)) == len(CORRUPTIONS):
        names = ", ".join(archive.name for archive in published.archives)
        fix = f"fetch {names} from {published.record} and unpack in {root / published.unpacked_in}"
        return [Found(published.folder, "the images", "missing"), *archives], [
            f"{folder} is missing or empty; {fix}",
            *problems,
        ]
    found = []
    for piece, problem in (_arrays if published.piece.endswith(".npy") else _folders)(published, root):
        found.append(piece)
        problems += filter(None, problem.split("\n"))
    return [*found, *archives], problems


def _archives(published: Official, root: Path, everything: bool) -> Iterator[Found]:
    """Those that are there and not yet unpacked, beside their folder or in it."""
    lacking = set(published.lacking(root))
    for archive in published.archives:
        if lacking.isdisjoint(archive.corruptions):
            continue
        for place in (archive.name, f"{published.folder}/{archive.name}"):
            if (root / place).is_file():
                expected = Expected(place, "the archive", checksum=f"md5:{archive.md5}", required=False)
                yield inspect(root, expected, everything=everything)


def _arrays(published: Official, root: Path) -> Iterator[tuple[Found, str]]:
    total = len(SEVERITIES) * published.examples
    for name in CORRUPTIONS:
        what = f"{len(SEVERITIES)} × {published.examples:,} images"
        yield _array(published, root, name, what, published.fix(root, name), (total, *published.size, 3), "u")
    fix = published.fix(root, "labels")
    piece, problem = _array(published, root, "labels", "their classes", fix, (total,), "iu")
    if not problem and (wrong := _labels(open_array(root / piece.path, (total,), fix, "iu"), published.classes)):
        piece, problem = replace(piece, state="damaged", detail=wrong), f"{root / piece.path} {wrong}; {fix}"
    yield piece, problem


def _array(
    published: Official, root: Path, name: str, what: str, fix: str, shape: tuple[int, ...], kinds: str
) -> tuple[Found, str]:
    path = f"{published.folder}/{published.piece.format(name)}"
    piece = inspect(root, Expected(path, what))
    try:
        open_array(root / path, shape, fix, kinds)
    except DataError as error:
        return replace(piece, state="damaged" if piece.good else piece.state), str(error)
    return piece, ""


def _labels(labels: NDArray[np.uint8], classes: int) -> str:
    blocks = labels.reshape(len(SEVERITIES), -1)
    if (blocks != blocks[0]).any():
        return f"does not repeat the same labels for each of the {len(SEVERITIES)} severities"
    if labels.min() < 0 or labels.max() >= classes:
        return f"has labels from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}"
    return ""


def _folders(published: Official, root: Path) -> Iterator[tuple[Found, str]]:
    for name in CORRUPTIONS:
        path = f"{published.folder}/{published.piece.format(name)}"
        if not (root / path).is_dir():
            yield Found(path, "a corruption", "missing"), f"{root / path} is missing; {published.fix(root, name)}"
            continue
        pieces = [_severity(published, root, f"{path}/{severity}") for severity in SEVERITIES]
        bad = [piece for piece in pieces if not piece.good]
        lines = [_line(piece, str(root / piece.path)) for piece in bad]
        yield (
            Found(
                path,
                f"{len(SEVERITIES)} × {published.examples:,} pictures",
                bad[0].state if bad else "found",
                sum(piece.files or 0 for piece in pieces),
                sum(piece.size or 0 for piece in pieces),
                detail=_line(bad[0], f"severity {bad[0].path[-1]}") if bad else "",
            ),
            "\n".join(f"{line}; {published.fix(root, name)}" for line in lines),
        )


def _line(piece: Found, where: str) -> str:
    """``.../fog/2 has 2 files, the published data set 3``, or what else is wrong."""
    return f"{where} {piece.detail}" if piece.detail.startswith("has ") else piece.told(where)


def _severity(published: Official, root: Path, path: str) -> Found:
    piece = inspect(root, Expected(path, pattern="*.JPEG", files=published.examples))
    if not piece.good or not (root / path).is_dir():
        return piece
    try:
        classes = len(folders_in(root / path))
    except DataError as error:
        return replace(piece, state="unreadable", detail=str(error))
    if classes != published.classes:
        detail = f"has {classes:,} class folders, the published data set {published.classes:,}"
        return replace(piece, state="incomplete", detail=detail)
    return piece
