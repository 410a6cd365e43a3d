"""Furniture libraries of Sweet Home 3D (.sh3f): zip files of OBJ models with a catalogue of their names.

Members are read into memory and never unpacked, so their names cannot lead anywhere.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from bibench.data.batches import mix
from bibench.data.clouds import Cloud
from bibench.data.meshes import centred, parse_obj, sample_surface
from bibench.errors import DataError
from bibench.files import unreadable
from bibench.finding import data_tree, folders_in, listed
from bibench.lines import BLANK, split_lines

CATALOGUE = "PluginFurnitureCatalog.properties"
LARGEST = 256 * 2**20
"""Bytes of the largest member that is read; a damaged or malicious archive may announce any size."""
MESH_POINTS = 4096

CLASSES: dict[str, str] = {
    "bed": r"\b(bed|crib|cradle|bunk)\b",
    "bottle_cup": r"\b(bottle|cup|glass|mug|vase|jug|jar|carafe|pitcher|bowl)\b",
    "chair": r"\b(chair|armchair|stool|seat|rocking)\b",
    "door_window": r"\b(door|window|shutter|gate)\b",
    "lamp": r"\b(lamp|light|chandelier|spot|lantern|candle)\b",
    "person": r"\b(man|woman|boy|girl|child|person|people|character)\b",
    "plant": r"\b(plant|tree|flower|flowers|bush|palm|cactus|fern|ficus|bamboo)\b",
    "sanitary": r"\b(bath|bathtub|shower|sink|toilet|washbasin|basin|bidet|lavabo)\b",
    "sofa": r"\b(sofa|couch|settee|divan)\b",
    "storage": r"\b(cabinet|shelf|shelves|bookcase|wardrobe|dresser|drawers?|cupboard|closet|chest|sideboard)\b",
    "table": r"\b(table|desk|nightstand|workbench|counter)\b",
    "vehicle": r"\b(car|truck|bicycle|bike|motorcycle|motorbike|van|bus|boat|scooter)\b",
}
"""Each class and what its names contain. A name that fits no class, or several, is left out."""


@dataclass(frozen=True)
class Piece:
    """One labelled model of a library."""

    library: Path
    name: str
    member: str
    label: int

    def read(self) -> Cloud:
        """Points of its surface, drawn with its name as the seed."""
        source = f"{self.library}, {self.member}"
        mesh = centred(parse_obj(_member(self.library, self.member).decode("latin-1"), source))
        random = np.random.default_rng(mix(*f"{self.library.name}/{self.member}".encode()))
        points, _ = sample_surface(mesh, MESH_POINTS, random)
        return Cloud(points.astype(np.float32), self.label)


def libraries(root: Path) -> list[Path]:
    """The .sh3f files in `root` and in its folders named after Sweet Home 3D."""
    below = (file for folder in folders_in(root, "sweethome3d*") for file in data_tree(folder, "*.sh3f").files)
    return sorted({*listed(root, "*.sh3f"), *below})


def pieces(files: list[Path]) -> tuple[list[Piece], int]:
    """The labelled models of libraries in order, and how many were left out: no class, several, or no OBJ."""
    found, left_out = [], 0
    for file in files:
        entries = catalogue(file)
        for number in sorted({key.partition("#")[2] for key in entries if key.startswith("model#")}):
            name, member = entries.get(f"name#{number}", ""), entries[f"model#{number}"].lstrip("/")
            label = label_of(name)
            if label is None or not member.lower().endswith(".obj"):
                left_out += 1
            else:
                found.append(Piece(file, name, member, label))
    return found, left_out


def label_of(name: str) -> int | None:
    """The one class that a name fits, or None."""
    fits = [label for label, pattern in enumerate(CLASSES.values()) if re.search(pattern, name, re.IGNORECASE)]
    return fits[0] if len(fits) == 1 else None


def split_of(piece: Piece) -> str:
    """3 of 5 to training, 1 to validation, 1 to the test, by a hash of the name without numbers.

    Variants ("Window 2", "Window 3") therefore stay on one side.
    """
    base = re.sub(r"[\W\d_]+", " ", piece.name).strip().lower()
    place = hashlib.sha256(base.encode()).digest()[0] % 5
    return ("train", "train", "train", "validation", "test")[place]


def readers(files: list[Path], split: str) -> list[Callable[[], Cloud]]:
    """Readers of all models of a split."""
    return [partial(Piece.read, piece) for piece in pieces(files)[0] if split_of(piece) == split]


def catalogue(file: Path) -> dict[str, str]:
    """The properties of a library's catalogue."""
    lines = (line.strip(BLANK) for line in split_lines(_member(file, CATALOGUE).decode("latin-1")))
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#!")
    return {_unescaped(key.strip(BLANK)): _unescaped(value.strip(BLANK)) for key, equals, value in pairs if equals}


def _unescaped(text: str) -> str:
    """With the characters for which ``\\u00e9`` stands; after the lines are split, since it may be a separator."""
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)


def _member(file: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            info = archive.getinfo(str(PurePosixPath(name)))
            if info.file_size > LARGEST:
                raise DataError(f"{file}: {name} announces {info.file_size:,} bytes, more than {LARGEST:,}; not read")
            return archive.read(info)
    except KeyError:
        raise DataError(f"{file} is damaged: it has no member {name!r}; restore this file") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(
            unreadable(file, error) or f"{file} is damaged ({error}); restore this file from its distribution"
        ) from error
