"""ImageNet (ILSVRC 2012): 1.28 million photographs in 1,000 classes.

https://www.image-net.org. Expected under the data root: ``imagenet/train/<wnid>/*.JPEG`` and
``imagenet/val/<wnid>/*.JPEG``, the layout that torchvision's ``ImageNet`` class unpacks to. As in the
literature the 50,000 validation images are the test set; they are evaluated once, after the last epoch.
"""

from __future__ import annotations

from pathlib import Path

from bibench.data.corruptions.official import IMAGENET_C
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT
from bibench.errors import DataError
from bibench.finding import folders_in
from bibench.recipe import Recipe
from bibench.tasks.base import task
from bibench.tasks.image_folder import FolderImages


@task("imagenet")
class ImageNet(FolderImages):
    """Top-1 accuracy on the 50,000 validation images, 224×224 centre crops."""

    title = "ImageNet"
    source = "https://www.image-net.org/download.php (registration)"
    licence = "for non-commercial research, see image-net.org"
    num_classes = 1000
    image_shape = (3, 224, 224)
    resize = 256
    corrupted = IMAGENET_C
    train_examples = 1_281_167
    chance = 0.001
    models = ("resnet18",)
    recipes = {
        "paper": Recipe(
            epochs=100,
            batch_size=256,
            lr=1e-3,
            fp32=(("optimizer", "sgd"), ("lr", 0.1), ("weight_decay", 1e-4)),
        ),
        "quick": Recipe(
            epochs=1,
            batch_size=256,
            lr=1e-3,
            fp32=(("optimizer", "sgd"), ("lr", 0.1), ("weight_decay", 1e-4)),
        ),
    }

    def has_validation(self) -> bool:
        return False

    def folder(self, split: str) -> Path:
        assert self.data_root is not None
        return self.data_root / "imagenet" / ("train" if split == "train" else "val")

    def missing(self) -> str:
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder that holds imagenet/"
        classes = []
        for folder in (self.folder(split) for split in self.splits()):
            if not folder.is_dir():
                return (
                    f"{folder} is missing; get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and the devkit "
                    f"from {self.source}, put them into {self.data_root / 'imagenet'} and unpack them with "
                    "torchvision.datasets.ImageNet"
                )
            try:
                classes.append({path.name for path in folders_in(folder)})
            except DataError as error:
                return str(error)
            if not classes[-1]:
                return f"{folder} has no class folders (n01440764, ...); sort its images into them by the devkit"
        if odd := sorted(classes[0] ^ classes[1]):
            return (
                f"{self.data_root / 'imagenet'}: train/ and val/ differ in {len(odd)} class folders ({odd[0]}, ...), "
                "so their labels would not agree; unpack both anew"
            )
        return ""

    def layout(self) -> tuple[Expected, ...]:
        return (
            Expected("imagenet/train", "training images", pattern="*.JPEG", files=self.train_examples),
            Expected("imagenet/val", "validation images, the test split", pattern="*.JPEG", files=50_000),
        )
