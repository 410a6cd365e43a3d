"""ShapeNet-part as text: one folder per category, 7 columns per point, split lists in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bibench.data.clouds import Cloud
from bibench.data.modelnet import read_table
from bibench.errors import DataError
from bibench.files import unreadable

FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
SOURCE = f"https://shapenet.cs.stanford.edu/media/{FOLDER}.zip"
LISTS = {"train": "train", "validation": "val", "test": "test"}


class Category(NamedTuple):
    """A category: its WordNet synset (name of its folder), its parts, and its shapes in train, validation and test."""

    synset: str
    parts: tuple[int, ...]
    shapes: tuple[int, int, int]


def _table() -> dict[str, Category]:
    rows = (
        ("airplane", "02691156", 4, (1958, 391, 341)),
        ("bag", "02773838", 2, (54, 8, 14)),
        ("cap", "02954340", 2, (39, 5, 11)),
        ("car", "02958343", 4, (659, 81, 158)),
        ("chair", "03001627", 4, (2658, 396, 704)),
        ("earphone", "03261776", 3, (49, 6, 14)),
        ("guitar", "03467517", 3, (550, 78, 159)),
        ("knife", "03624134", 2, (277, 35, 80)),
        ("lamp", "03636649", 4, (1118, 143, 286)),
        ("laptop", "03642806", 2, (324, 44, 83)),
        ("motorbike", "03790512", 6, (125, 26, 51)),
        ("mug", "03797390", 2, (130, 16, 38)),
        ("pistol", "03948459", 3, (209, 30, 44)),
        ("rocket", "04099429", 3, (46, 8, 12)),
        ("skateboard", "04225987", 3, (106, 15, 31)),
        ("table", "04379243", 3, (3835, 588, 848)),
    )
    table, first = {}, 0
    for name, synset, parts, shapes in rows:
        table[name] = Category(synset, tuple(range(first, first + parts)), shapes)
        first += parts
    return table


CATEGORIES = _table()
"""The 16 categories in their usual order; together 50 parts, numbered through as in the files."""


def shapes_of(root: Path, category: str) -> dict[str, list[Callable[[], Cloud]]]:
    """By split a reader for each shape of a category, in the order of the official list."""
    synset = CATEGORIES[category].synset
    found: dict[str, list[Callable[[], Cloud]]] = {}
    seen: dict[str, str] = {}
    for split in LISTS:
        names = _listed(root, split)[synset]
        if not names:
            raise DataError(f"{root}: the {split} list names no {category}; unpack the distribution again")
        for name in names:
            if name in seen:
                raise DataError(f"{root}: shape {synset}/{name} is in the lists of {seen[name]} and {split}")
        seen |= dict.fromkeys(names, split)
        found[split] = [partial(read_shape, root / synset / f"{name}.txt", category) for name in names]
    return found


def _listed(root: Path, split: str) -> dict[str, list[str]]:
    """Names of the shapes of a split by synset."""
    path = root / "train_test_split" / f"shuffled_{LISTS[split]}_file_list.json"
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            unreadable(path, error) or f"{path} cannot be read ({error}); unpack {FOLDER}.zip again"
        ) from error
    if not isinstance(entries, list):
        raise DataError(f"{path} is damaged: expected a list of shapes, got {type(entries).__name__}")
    names: dict[str, list[str]] = {category.synset: [] for category in CATEGORIES.values()}
    for entry in entries:
        # Nothing but a known folder and a plain name: a list may not lead out of the data set.
        match = re.fullmatch(r"(?:shape_data/)?(\d{8})/(\w[\w.-]*)", entry) if isinstance(entry, str) else None
        if match is None or match[1] not in names:
            raise DataError(f"{path}: {entry!r} is not of the form shape_data/<synset>/<name> with a known synset")
        names[match[1]].append(match[2])
    for synset, listed in names.items():
        if len(set(listed)) < len(listed):
            twice = next(name for name in listed if listed.count(name) > 1)
            raise DataError(f"{path}: shape {synset}/{twice} is listed twice")
    return names


def read_shape(path: Path, category: str) -> Cloud:
    """One shape: x y z, normal, part. Parts keep their number among all 50."""
    table = read_table(path, columns=7, delimiter=None)
    parts = table[:, 6].astype(np.int64)
    own = CATEGORIES[category].parts
    wrong = (parts != table[:, 6]) | ~np.isin(parts, own)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{path} is damaged: row {row + 1} has part {table[row, 6]:g}; those of the category "
            f"{category} are {own[0]} to {own[-1]}"
        )
    return Cloud(table[:, :6], list(CATEGORIES).index(category), parts)
