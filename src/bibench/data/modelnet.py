"""ModelNet40 in the three forms in which it is distributed, found by their folder names.

Reading yields one function per object, so that a split can be stored without holding it in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bibench.data.batches import mix
from bibench.data.clouds import VALIDATION_EVERY, Cloud, every_tenth
from bibench.data.meshes import centred, read_off, sample_surface
from bibench.errors import DataError, require
from bibench.files import unreadable
from bibench.finding import listed
from bibench.lines import BLANK, read_lines
from bibench.numbers import RESTORE, check_finite, check_kind

# fmt: off
CLASSES = (
    "airplane", "bathtub", "bed", "bench", "bookshelf", "bottle", "bowl", "car", "chair", "cone", "cup",
    "curtain", "desk", "door", "dresser", "flower_pot", "glass_box", "guitar", "keyboard", "lamp", "laptop",
    "mantel", "monitor", "night_stand", "person", "piano", "plant", "radio", "range_hood", "sink", "sofa",
    "stairs", "stool", "table", "tent", "toilet", "tv_stand", "vase", "wardrobe", "xbox",
)
# fmt: on
MESH_POINTS = 10_000
"""Points drawn from each mesh and stored, as many as the resampled distribution has."""

Reader = Callable[[], Cloud]


@dataclass(frozen=True)
class Distribution:
    """One form of the data set: its folder, where to get it, and how the objects of a split are read.

    `objects` takes the folder and ``train`` or ``test`` and returns (class, reader) of each object.
    """

    folder: str
    source: str
    objects: Callable[[Path, str], list[tuple[int, Reader]]]


def splits(distribution: Distribution, root: Path) -> dict[str, list[Reader]]:
    """Readers by split. Validation is every tenth training object of each class, in the official order."""
    train = distribution.objects(root, "train")
    labels = [label for label, _ in train]
    parts = {
        "train": [train[i][1] for i in every_tenth(labels, kept_out=False)],
        "validation": [train[i][1] for i in every_tenth(labels, kept_out=True)],
        "test": [reader for _, reader in distribution.objects(root, "test")],
    }
    for name in ("train", "test"):
        if not parts[name]:
            raise DataError(f"{root}: the {name} split is empty; unpack the distribution again")
    if not parts["validation"]:
        most = max(labels.count(label) for label in set(labels))
        raise DataError(
            f"{root}: no class has more than {most} training objects, so the validation split would be empty: it is "
            f"every {VALIDATION_EVERY}th training object of each class, so a class needs at least {VALIDATION_EVERY} "
            "to have one there. Unpack the distribution again, or give at least one class as many"
        )
    return parts


# -- meshes ------------------------------------------------------------------------------------------------


def _meshes(root: Path, split: str) -> list[tuple[int, Reader]]:
    found: list[tuple[int, Reader]] = []
    for label, name in enumerate(CLASSES):
        folder = root / name / split
        files = listed(folder, "*.off")
        if not files:
            raise DataError(f"{folder} is missing or has no .off files; unpack ModelNet40.zip again")
        found += [(label, partial(_mesh, file, file.relative_to(root).as_posix(), label)) for file in files]
    return found


def _mesh(path: Path, name: str, label: int) -> Cloud:
    # Seeded by the file: the same points whoever reads it, whenever and in whatever order.
    random = np.random.default_rng(mix(*name.encode()))
    points, _ = sample_surface(centred(read_off(path)), MESH_POINTS, random)
    return Cloud(points.astype(np.float32), label)


# -- resampled text ----------------------------------------------------------------------------------------


def _text(root: Path, split: str) -> list[tuple[int, Reader]]:
    listing = root / f"modelnet40_{split}.txt"
    found: list[tuple[int, Reader]] = []
    for name in _lines(listing):
        match = re.fullmatch(r"(\w+)_\d+", name)
        if match is None or match[1] not in CLASSES:
            raise DataError(f"{listing}: {name!r} is not of the form class_0001 with a class of ModelNet40")
        label = CLASSES.index(match[1])
        found.append((label, partial(_text_cloud, root / match[1] / f"{name}.txt", label)))
    return found


def _text_cloud(path: Path, label: int) -> Cloud:
    return Cloud(read_table(path, columns=6, delimiter=",")[:, :3], label)


# -- HDF5 --------------------------------------------------------------------------------------------------


def _hdf5(root: Path, split: str) -> list[tuple[int, Reader]]:
    found: list[tuple[int, Reader]] = []
    for line in _lines(root / f"{split}_files.txt"):
        # The lists name files by the folder of their authors; only the last part counts, and it stays in `root`.
        file = root / Path(line.replace("\\", "/")).name
        labels = _hdf5_arrays(file)[1].tolist()
        found += [(label, partial(_hdf5_cloud, file, row)) for row, label in enumerate(labels)]
    return found


def _hdf5_cloud(file: Path, row: int) -> Cloud:
    points, labels = _hdf5_arrays(file)
    check_finite(points[row][None], lambda _: f"{file} is damaged: a coordinate of object {row}")
    return Cloud(points[row], int(labels[row]))


@lru_cache(maxsize=1)  # rows are read one after the other
def _hdf5_arrays(file: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    require("h5py", extra="bench", purpose="reading ModelNet40 from HDF5")
    import h5py  # type: ignore[import-untyped, unused-ignore]

    if not file.is_file():
        raise DataError(f"{file} is missing; unpack modelnet40_ply_hdf5_2048.zip again")
    try:
        with h5py.File(file, "r") as stored:
            data, label = stored["data"], stored["label"]
            check_kind(data, "f", f"{file} is damaged: data", "floating-point numbers")
            check_kind(label, "iu", f"{file} is damaged: label", "integers")
            with np.errstate(over="ignore"):  # told with the object
                points, labels = np.asarray(data, np.float32), np.asarray(label, np.int64).reshape(-1)
    except DataError:  # is a ValueError
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            unreadable(file, error) or f"{file} is damaged ({error}); restore this file from the distribution"
        ) from error
    if points.ndim != 3 or points.shape[2] != 3 or len(points) != len(labels):
        raise DataError(
            f"{file} is damaged: data has shape {points.shape} and there are {len(labels)} labels, "
            "expected (objects, points, 3) and as many labels"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(CLASSES)):
        raise DataError(f"{file} is damaged: labels range from {labels.min()} to {labels.max()}, expected 0 to 39")
    return points, labels


# -- what they share ---------------------------------------------------------------------------------------


DISTRIBUTIONS = (
    Distribution("ModelNet40", "http://modelnet.cs.princeton.edu/ModelNet40.zip", _meshes),
    Distribution(
        "modelnet40_normal_resampled",
        "https://shapenet.cs.stanford.edu/media/modelnet40_normal_resampled.zip",
        _text,
    ),
    Distribution(
        "modelnet40_ply_hdf5_2048",
        "https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip",
        _hdf5,
    ),
)
"""In order of preference: the paper samples meshes."""


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip(BLANK) for line in read_lines(path)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            unreadable(path, error) or f"{path} cannot be read ({error}); unpack the distribution again"
        ) from error
    return [line for line in lines if line]


def read_table(path: Path, *, columns: int, delimiter: str | None) -> NDArray[np.float32]:
    """A text file of finite numbers, (rows, columns) with at least one row; `DataError` naming the file."""
    try:
        lines = list(read_lines(path, "utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(unreadable(path, error) or f"{path} cannot be read ({error}); {RESTORE}") from error
    kept = [number for number, line in enumerate(lines, 1) if line.strip(BLANK)]
    if not kept:
        raise DataError(f"{path} is damaged: it is empty; {RESTORE}")
    if wrong := next((number for number in kept if not lines[number - 1].isascii()), 0):
        raise DataError(f"{path} is damaged: line {wrong} has other characters than those of numbers; {RESTORE}")
    try:
        rows = (lines[number - 1] for number in kept)
        table = np.loadtxt(rows, delimiter=delimiter, dtype=np.float32, ndmin=2, comments=None)
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; truncated? {RESTORE}") from error
    if table.shape[1] != columns:
        raise DataError(f"{path} is damaged: {table.shape[1]} columns, expected {columns}; {RESTORE}")
    check_finite(table, lambda row: f"{path} is damaged: a value in line {kept[row]}")
    return table


def fingerprint(folder: Path, patterns: Iterable[str]) -> Iterable[Any]:
    """Name, size and time of every file below `folder` that matches: what a packed copy depends on."""
    for pattern in patterns:
        for path in listed(folder, pattern):
            status = path.stat()
            yield path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns
