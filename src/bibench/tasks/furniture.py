"""Optional: real CAD models of furniture (libraries of Sweet Home 3D, as in Debian's sweethome3d-furniture)."""

from __future__ import annotations

from pathlib import Path

from bibench.data import furniture
from bibench.data.clouds import Clouds, load_clouds, save_clouds
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT, cached_folder
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import SPLITS, task
from bibench.tasks.point_clouds import PointClassification

FETCH = "apt-get download sweethome3d-furniture, unpack it with dpkg -x, and link its .sh3f files there"
LIBRARY = "zip files .sh3f of OBJ models and a catalogue of their names"


@task("furniture")
class Furniture(PointClassification):
    """Accuracy on models of 12 kinds, told from their English names.

    About 400 of the 820 models of Debian's package have a name that fits exactly one kind; the others
    are left out. Variants of one name stay in one split.
    """

    title = "Sweet Home 3D furniture"
    source = "https://packages.debian.org/stable/sweethome3d-furniture"
    licence = "per library: CC0 (BlendSwap-CC-0) or CC BY 3.0 (BlendSwap-CC-BY, Scopia, KatorLegaz, Reallusion)"
    num_classes = len(furniture.CLASSES)
    points = 512
    train_examples = 240
    chance = 0.175
    models = ("pointnet_vanilla", "pointnet")
    recipes = {
        "paper": Recipe(epochs=200, batch_size=32, lr=1e-3),
        "quick": Recipe(epochs=20, batch_size=32, lr=2e-3),
    }

    def missing(self) -> str:
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to a folder with .sh3f files"
        if furniture.libraries(self.data_root):
            return ""
        return f"{self.data_root} has no .sh3f file, nor a folder sweethome3d*/ with any; {FETCH}"

    def layout(self) -> tuple[Expected, ...]:
        files = furniture.libraries(self.data_root) if self.data_root else []
        return tuple(
            Expected(file.relative_to(self.data_root).as_posix(), LIBRARY) for file in files if self.data_root
        ) or (Expected("sweethome3d-furniture", LIBRARY, pattern="*.sh3f"),)

    def prepare(self) -> None:
        super().prepare()
        self._folder()

    def clouds(self, split: str) -> Clouds:
        self.prepare()
        return load_clouds(self._folder() / split)

    def _folder(self) -> Path:
        assert self.data_root is not None
        files = furniture.libraries(self.data_root)
        states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]

        def build(folder: Path) -> None:
            for split in SPLITS:
                readers = furniture.readers(files, split)
                if not readers:
                    raise DataError(f"task {self.name!r}: no model in {', '.join(map(str, files))} is for {split}")
                save_clouds(folder / split, readers)

        return cached_folder(f"furniture-v1-{sha256(repr(states).encode())[:16]}", build)
