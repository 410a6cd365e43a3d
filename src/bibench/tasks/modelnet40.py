"""ModelNet40 (Wu et al., CVPR 2015): 12,311 CAD models of 40 kinds of objects.

https://modelnet.cs.princeton.edu. Read as meshes, resampled text or HDF5, whichever is there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from bibench.data import modelnet
from bibench.data.clouds import Clouds, load_clouds, save_clouds
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT, cached_folder
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import task
from bibench.tasks.point_clouds import PointClassification

OBJECTS = 12_311
LAYOUTS = {
    "ModelNet40": (
        Expected("ModelNet40", "meshes: airplane/train/airplane_0001.off, ...", pattern="*.off", files=OBJECTS),
    ),
    "modelnet40_normal_resampled": (
        Expected(
            "modelnet40_normal_resampled",
            "10,000 points each, x,y,z,nx,ny,nz: airplane/airplane_0001.txt, ...",
            pattern="*_[0-9][0-9][0-9][0-9].txt",
            files=OBJECTS,
        ),
        Expected("modelnet40_normal_resampled/modelnet40_train.txt", "names of 9,843 objects"),
        Expected("modelnet40_normal_resampled/modelnet40_test.txt", "names of 2,468 objects"),
    ),
    "modelnet40_ply_hdf5_2048": (
        Expected("modelnet40_ply_hdf5_2048", "2,048 points each: data, label", pattern="ply_data_*.h5", files=7),
        Expected("modelnet40_ply_hdf5_2048/train_files.txt", "names of 5 files"),
        Expected("modelnet40_ply_hdf5_2048/test_files.txt", "names of 2 files"),
    ),
}
"""By folder name of the distribution."""
ARCHIVES = (
    Expected(
        "ModelNet40.zip",
        "archive of the meshes",
        checksum="sha256:42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
        required=False,
    ),
    Expected(
        "modelnet40_ply_hdf5_2048.zip",
        "archive of the HDF5 files",
        checksum="md5:c9ab8e6dfb16f67afdab25e155c79e59",
        required=False,
    ),
)


@task("modelnet40")
class ModelNet40(PointClassification):
    """Accuracy on the 2,468 test objects, 1,024 points each.

    The points of test objects never change: of a mesh those drawn with the file's name as the seed,
    otherwise the first of the file, as is usual. Every tenth training object of each class is kept for
    validation (the paper trains on all 9,843); nothing is chosen by test data.
    """

    title = "ModelNet40"
    source = "https://modelnet.cs.princeton.edu"
    licence = "research use; the CAD models belong to their authors"
    num_classes = len(modelnet.CLASSES)
    points = 1024
    train_examples = 8877
    chance = 100 / 2468  # a constant answer: the largest test classes have 100 objects
    models = ("pointnet_vanilla", "pointnet")
    recipes = {
        # The release trains the binarized networks from scratch (paper[init=scratch]); the paper says finetuned.
        "paper": Recipe(epochs=200, batch_size=256, lr=1e-3),
        "quick": Recipe(epochs=5, batch_size=64, lr=1e-3),
    }

    def missing(self) -> str:
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder of ModelNet40"
        if self._found is not None:
            return ""
        known = ", ".join(f"{d.folder}/ ({d.source})" for d in modelnet.DISTRIBUTIONS)
        return f"{self.data_root} has none of: {known}; fetch and unpack one of them there"

    def layout(self) -> tuple[Expected, ...]:
        if self.data_root is not None and self._found is not None:
            return LAYOUTS[self._found.folder]
        if self.data_root is None:
            return (*(piece for pieces in LAYOUTS.values() for piece in pieces), *ARCHIVES)
        folders = (pieces[0] for pieces in LAYOUTS.values())
        return (*(replace(piece, what=f"{piece.what}; one form is enough") for piece in folders), *ARCHIVES)

    def prepare(self) -> None:
        super().prepare()
        self._packed  # noqa: B018 - parsing happens here

    def clouds(self, split: str) -> Clouds:
        self.prepare()
        clouds = load_clouds(self._packed / split)
        smallest = int(clouds.offsets.diff().min()) if len(clouds) else self.points
        if smallest < self.points:
            raise DataError(
                f"task {self.name!r}: an object of the {split} split has {smallest} points, expected at least "
                f"{self.points}; is a file truncated?"
            )
        return clouds

    @cached_property
    def _found(self) -> modelnet.Distribution | None:
        assert self.data_root is not None
        there = (d for d in modelnet.DISTRIBUTIONS if (self.data_root / d.folder).is_dir())
        return next(there, None)

    @cached_property
    def _packed(self) -> Path:
        """The packed copy in the cache: parsing the text of 12,311 objects takes minutes, once."""
        found = self._found
        assert found is not None and self.data_root is not None
        root = self.data_root / found.folder
        files = modelnet.fingerprint(root, ("*.txt", "*.h5", "*/*.txt", "*/*/*.off"))
        key = sha256(repr([str(root), modelnet.MESH_POINTS, *files]).encode())[:16]

        def build(folder: Path) -> None:
            for split, readers in modelnet.splits(found, root).items():
                save_clouds(folder / split, readers)

        return cached_folder(f"{found.folder}-v1-{key}", build)
