"""Faster R-CNN (Ren et al., NeurIPS 2015) on ResNet-18 "C4", without a feature pyramid.

https://arxiv.org/abs/1506.01497. The first three stages of ResNet-18 make the feature map (stride 16);
the region proposal network and RoIAlign read it, and the fourth stage is the head that regions share.
Anchors, proposals, RoIAlign, box coding and losses are torchvision's. Only the 3×3 convolutions of the
three stages are binarized.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bibench.errors import BiBenchError, CheckpointError, require
from bibench.files import load_checkpoint
from bibench.models.base import model
from bibench.models.detector import Detector
from bibench.models.image import choose_stem, image_channels
from bibench.models.resnet import ResNet
from bibench.state_dicts import fit, misfits, tell_choice

ANCHOR_SCALES = (2, 4, 8, 16, 32)
"""Sides of the square anchors, in strides of the feature map."""
ANCHOR_RATIOS = (0.5, 1.0, 2.0)


class Features(nn.Module):
    """ResNet-18 from the stem to the third stage: (B, 3, H, W) → (B, 4 · width, H / 16, W / 16)."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act, self.maxpool = resnet.conv1, resnet.bn1, resnet.act, resnet.maxpool
        self.stages = resnet.stages[:3]
        self.out_channels = _channels(resnet.stages[2])

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(self.maxpool(self.act(self.bn1(self.conv1(x)))))


class RegionHead(nn.Module):
    """ResNet-18's fourth stage on each region, averaged: (R, 4 · width, h, w) → (R, 8 · width)."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.stage = resnet.stages[3]

    def forward(self, x: Tensor) -> Tensor:
        return self.stage(x).mean((2, 3))


@model(
    "faster_rcnn",
    family="cnn",
    paper="Ren et al., Faster R-CNN, NeurIPS 2015 (arXiv:1506.01497)",
    answer="boxes",
)
def faster_rcnn(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    stem: str = "imagenet",
    image_size: int = 0,
    roi_size: int = 14,
    rois: int = 512,
    proposals: int = 1000,
    binarize_downsample: bool = False,
    backbone: str = "",
) -> Detector:
    """Faster R-CNN for images of `input_shape` (3, short side, long side), to which it scales what it gets.

    Args:
        width, stem, binarize_downsample: of the ResNet-18.
        image_size: another short side; the long one keeps its proportion to it.
        roi_size: side of the map that RoIAlign cuts out for a region.
        rois: regions per image that the head is trained on.
        proposals: regions per image that the head judges in evaluation; in training it chooses among twice as many.
        backbone: file with the weights of a ResNet-18 trained on ImageNet to start from (torchvision's, or
            model.pt of a trained `resnet18` cell). The norms of the head, which see few images, then
            stay as they are in that file.
    """
    require("torchvision", extra="bench", purpose="model 'faster_rcnn'")
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    channels = image_channels("faster_rcnn", input_shape)
    if channels != 3:
        raise BiBenchError(f"model 'faster_rcnn' takes images of 3 channels, got input_shape {input_shape}")
    short, long = sorted(input_shape[1:])
    if image_size:
        short, long = image_size, round(image_size * long / short)
    stem = choose_stem(stem, (channels, short, long))
    resnet = ResNet(
        blocks=(2, 2, 2, 2),
        widths=[width * 2**i for i in range(4)],
        num_classes=1,
        in_channels=channels,
        stem=stem,
        binarize_downsample=binarize_downsample,
    )
    if backbone:
        load_backbone(resnet, Path(backbone))
        resnet.stages[3] = frozen_norms(resnet.stages[3])
    stride = 16 if stem == "imagenet" else 4
    network = FasterRCNN(
        Features(resnet),
        min_size=short,
        max_size=long,
        rpn_anchor_generator=AnchorGenerator((tuple(stride * s for s in ANCHOR_SCALES),), (ANCHOR_RATIOS,)),
        rpn_pre_nms_top_n_train=12 * proposals,
        rpn_pre_nms_top_n_test=6 * proposals,
        rpn_post_nms_top_n_train=2 * proposals,
        rpn_post_nms_top_n_test=proposals,
        box_roi_pool=MultiScaleRoIAlign(["0"], roi_size, sampling_ratio=0),
        box_head=RegionHead(resnet),
        box_predictor=FastRCNNPredictor(8 * width, num_classes + 1),
        box_batch_size_per_image=rois,
        size_divisible=stride,
    )
    kept = {"network.rpn.*": "region proposal network", "network.roi_heads.*": "head of the regions"}
    if not binarize_downsample:
        kept["network.backbone.stages.*.downsample.0"] = "downsample (binarize_downsample=False)"
    return Detector(network, _outline, kept)


def _outline(network: Any, images: Tensor) -> Tensor:
    features = network.backbone(images)
    network.rpn.head([features])
    pool = network.roi_heads.box_roi_pool
    count = len(images) * network.rpn._post_nms_top_n["testing"]
    regions = features.new_empty(count, features.shape[1], *pool.output_size)
    logits, _ = network.roi_heads.box_predictor(network.roi_heads.box_head(regions))
    return logits


def _channels(stage: nn.Module) -> int:
    return [m for m in stage.modules() if isinstance(m, nn.BatchNorm2d)][-1].num_features


def frozen_norms(module: nn.Module) -> nn.Module:
    """`module` with batch norms that keep their statistics, scale and shift for ever."""
    from torchvision.ops import FrozenBatchNorm2d

    if isinstance(module, nn.BatchNorm2d):
        frozen = FrozenBatchNorm2d(module.num_features, module.eps)
        state = module.state_dict()
        frozen.load_state_dict({name: state[name] for name in frozen.state_dict()})
        return frozen
    for name, child in module.named_children():
        setattr(module, name, frozen_norms(child))
    return module


def load_backbone(resnet: ResNet, file: Path) -> None:
    """Load the weights of a ResNet-18 from torchvision or from a cell; every one but the classifier's must fit."""
    if not file.is_file():
        raise BiBenchError(f"backbone={str(file)!r}: there is no such file; expected the weights of a ResNet-18")
    if resnet.conv1.weight.is_meta:  # a plan, which reads no data
        return
    own = _without_classifier(resnet.state_dict())
    fitted = fit(load_checkpoint(file), own, translate=_without_classifier)
    if problem := misfits(own, fitted):
        raise CheckpointError(
            f"backbone={str(file)!r}: {problem}; expected the weights of a ResNet-18 with this width and stem"
        )
    tell_choice(fitted, str(file))
    with torch.no_grad():
        resnet.load_state_dict(fitted.state, strict=False)


def _without_classifier(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict under our names."""
    return {_our_name(name): values for name, values in state.items() if not name.startswith("fc.")}


def _our_name(name: str) -> str:
    """torchvision's ``layer1.0.conv1.weight`` is ``stages.0.0.conv1.weight`` here."""
    head, _, rest = name.partition(".")
    return f"stages.{int(head[5:]) - 1}.{rest}" if head.startswith("layer") and head[5:].isdigit() else name
