"""ShapeNet-part (Yi et al., SIGGRAPH Asia 2016): 16,881 CAD models of 16 categories with 50 parts.

https://cs.stanford.edu/~ericyi/project_page/part_annotation. The paper trains one model per category
(Table 12), so each category is a task, ``shapenet_part_airplane`` to ``shapenet_part_table``; its row
"Overall" is the mean of the 16 scores. ``shapenet_part`` is the usual single model of all categories.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from bibench.data import shapenet
from bibench.data.clouds import Clouds, RotateJitter, Transform, load_clouds, save_clouds
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT, cached_folder
from bibench.data.modelnet import fingerprint
from bibench.foundation.checksums import sha256
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import task
from bibench.tasks.point_clouds import PartSegmentation

RECIPES = {
    # BiPointNet's; trained from scratch there (paper[init=scratch]), while the paper says finetuned.
    "paper": Recipe(epochs=200, batch_size=96, lr=1e-3),
    "quick": Recipe(epochs=5, batch_size=32, lr=1e-3),
}


class ShapeNetParts(PartSegmentation):
    """Mean IoU of the parts on the official test shapes, every point of each.

    Smaller shapes repeat points up to 4,096, and the repetitions do not count; of larger ones the first
    4,096 serve (the published shapes have fewer). The official validation list is used for validation.
    """

    source = shapenet.SOURCE
    licence = "ShapeNet terms of use: non-commercial research and education"
    points = 4096
    models = ("pointnet_seg",)
    recipes = RECIPES
    group: ClassVar[str] = ""
    """What the scores of the categories are averaged as; empty for the model of all categories."""

    def transform(self, augment: bool) -> Transform:
        return RotateJitter() if augment else super().transform(augment)

    def missing(self) -> str:
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder of {shapenet.FOLDER}"
        root = self.data_root / shapenet.FOLDER
        if not root.is_dir():
            return f"{root} is missing; fetch and unpack {shapenet.SOURCE} there"
        needed = ["train_test_split", *(shapenet.CATEGORIES[name].synset for name in self.categories)]
        absent = [name for name in needed if not (root / name).is_dir()]
        return f"{root} lacks {', '.join(absent)}; unpack {shapenet.SOURCE} again" if absent else ""

    def layout(self) -> tuple[Expected, ...]:
        return (
            Expected(f"{shapenet.FOLDER}/train_test_split", "lists of the splits", pattern="shuffled_*.json", files=3),
            *(self._shapes(name) for name in self.categories),
        )

    @staticmethod
    def _shapes(name: str) -> Expected:
        category = shapenet.CATEGORIES[name]
        return Expected(
            f"{shapenet.FOLDER}/{category.synset}",
            f"{name}: one text per shape, x y z nx ny nz part",
            pattern="*.txt",
            files=sum(category.shapes),
        )

    def prepare(self) -> None:
        super().prepare()
        self._packed  # noqa: B018 - parsing happens here

    def clouds(self, split: str) -> Clouds:
        self.prepare()
        first, *others = (load_clouds(folder / split) for folder in self._packed)
        clouds = first.joined(*others) if others else first
        assert clouds.parts is not None
        # One category alone counts its parts from 0.
        return replace(clouds, parts=clouds.parts - shapenet.CATEGORIES[next(iter(self.categories))].parts[0])

    @cached_property
    def _packed(self) -> list[Path]:
        return [self._folder(category) for category in self.categories]

    def _folder(self, category: str) -> Path:
        """The packed copy of a category in the cache: parsing the text takes minutes, once."""
        assert self.data_root is not None
        root = self.data_root / shapenet.FOLDER
        files = fingerprint(root, (f"{shapenet.CATEGORIES[category].synset}/*.txt", "train_test_split/*.json"))
        key = sha256(repr([str(root), *files]).encode())[:16]

        def build(folder: Path) -> None:
            for split, readers in shapenet.shapes_of(root, category).items():
                save_clouds(folder / split, readers)

        return cached_folder(f"{shapenet.FOLDER}-{category}-v1-{key}", build)


@task("shapenet_part")
class ShapeNetPart(ShapeNetParts):
    """One model for all 16 categories and their 50 parts."""

    title = "ShapeNet-part, all categories"
    categories = {name: category.parts for name, category in shapenet.CATEGORIES.items()}
    num_classes = 50
    train_examples = sum(category.shapes[0] for category in shapenet.CATEGORIES.values())


def _category_task(name: str, category: shapenet.Category) -> type[ShapeNetParts]:
    count = len(category.parts)
    members = {
        "__module__": __name__,
        "__doc__": f"The {count} parts of the category {name}, by a model of its own.",
        "title": f"ShapeNet-part, {name}",
        "group": "shapenet_part",
        "categories": {name: tuple(range(count))},
        "num_classes": count,
        "train_examples": category.shapes[0],
    }
    entered: type[ShapeNetParts] = task(f"shapenet_part_{name}")(
        type(f"ShapeNet{name.title()}", (ShapeNetParts,), members)
    )
    return entered


CATEGORY_TASKS = [_category_task(name, category) for name, category in shapenet.CATEGORIES.items()]
