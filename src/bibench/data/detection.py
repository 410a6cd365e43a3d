"""Images with boxes as detectors read them: decoded, augmented, in batches of differing sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bibench.data.annotations import AnnotatedImage, Annotations
from bibench.data.batches import Batch
from bibench.data.decoding import open_rgb
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import BiBenchError, DataError, require

if TYPE_CHECKING:
    from PIL.Image import Image

Transform = Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]


class DetectionSamples:
    """Reads the images of `annotations` one at a time.

    Args:
        transform: of torchvision's v2, applied to (image, target); None serves the images as they are.

    Calling it with an index gives the image, (3, H, W) float32 in [0, 1], and its target: ``boxes`` (N, 4),
    ``labels`` (N,), ``ignored`` (N,), ``areas`` (N,), see `AnnotatedImage`. A transform sees boxes and
    labels alone, and so does who gets its result.
    """

    def __init__(self, annotations: Annotations, transform: Transform | None = None) -> None:
        require("torchvision", extra="bench", purpose="object detection")
        self._images, self._transform = annotations.images, transform

    def __len__(self) -> int:
        return len(self._images)

    def __call__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        from torchvision import tv_tensors
        from torchvision.transforms.v2 import functional as F

        item = self._images[index]
        image = F.pil_to_tensor(_open(item))
        boxes, labels = torch.from_numpy(item.boxes), torch.from_numpy(item.labels)
        if self._transform is None:
            return F.to_dtype(image, torch.float32, scale=True), {
                "boxes": boxes,
                "labels": labels,
                "ignored": torch.from_numpy(item.ignored),
                "areas": torch.from_numpy(item.areas),
            }
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=image.shape[-2:]),  # type: ignore[call-overload]
            "labels": labels,
        }
        image, target = self._transform(tv_tensors.Image(image), target)
        plain = {name: values.as_subclass(Tensor) for name, values in target.items()}
        return F.to_dtype(image, torch.float32, scale=True).as_subclass(Tensor), plain

    def checksum(self) -> str:
        """Over names, boxes and labels, and the sizes of the files (their contents would take hours)."""
        parts = []
        for item in self._images:
            parts.append(f"{item.path.name} {item.path.stat().st_size}\n".encode())
            parts += [values.tobytes() for values in (item.boxes, item.labels, item.ignored)]
        return sha256(*parts)


def _open(item: AnnotatedImage) -> Image:
    image = open_rgb(item.path)
    if image.size != item.size:
        raise DataError(
            f"{item.path} has {image.size[0]}×{image.size[1]} pixels, but its annotation says "
            f"{item.size[0]}×{item.size[1]}, so its boxes cannot be trusted; restore both from the distribution"
        )
    return image


def collate(pairs: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> Batch:
    """Images and targets as lists, since neither sizes nor numbers of objects agree."""
    return Batch(([image for image, _ in pairs],), [target for _, target in pairs])


# -- augmentation ----------------------------------------------------------------------------------------------


def plain(size: tuple[int, int], mirror: bool) -> Transform:
    """Faster R-CNN's: half of the images are mirrored if classes allow it (`mirror`)."""
    from torchvision.transforms import v2

    steps = [v2.RandomHorizontalFlip()] if mirror else [v2.Identity()]
    return v2.Compose([*steps, v2.SanitizeBoundingBoxes()])


def ssd(size: tuple[int, int], mirror: bool) -> Transform:
    """SSD's: photometric distortion, expansion up to 4×, a crop that keeps some object, mirroring.

    Liu et al., ECCV 2016, section 2.2. The result is scaled to `size` (height, width) as the model would,
    so that expanded images stay small.
    """
    from torchvision.transforms import v2

    mean = tuple(round(255 * value) for value in MEAN)
    steps = [
        v2.RandomPhotometricDistort(),
        v2.RandomZoomOut(fill=mean, side_range=(1.0, 4.0)),
        v2.RandomIoUCrop(),
        *([v2.RandomHorizontalFlip()] if mirror else []),
        v2.Resize(size, antialias=False),
        v2.SanitizeBoundingBoxes(),
    ]
    return v2.Compose(steps)


MEAN = (0.485, 0.456, 0.406)
"""Mean colour, which fills what an expansion adds."""

AUGMENTATIONS: dict[str, Callable[[tuple[int, int], bool], Transform]] = {"plain": plain, "ssd": ssd}


def augmentation(name: str, size: tuple[int, int], *, mirror: bool) -> Transform:
    """An augmentation by name. Its random choices come from torch's generator."""
    if name not in AUGMENTATIONS:
        raise BiBenchError(f"augmentation must be one of {', '.join(AUGMENTATIONS)}; got {name!r}")
    return AUGMENTATIONS[name](size, mirror)
