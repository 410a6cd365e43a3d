"""Faster R-CNN and SSD300: sizes of the literature, what is binarized, training with every operator."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.foundation.errors import BiBenchError, CheckpointError
from bibench.models import create
from bibench.models.faster_rcnn import frozen_norms, load_backbone
from bibench.models.resnet import BasicBlock, ResNet
from bibench.models.ssd300 import Maps
from bibench.nn.calls import trace
from bibench.nn.layers import BinaryLayer, progress
from bibench.operators import PAPER_ORDER

TINY = {
    "faster_rcnn": {"width": 4, "roi_size": 4, "rois": 8, "proposals": 16},
    "ssd300": {"width": 4},
}
SHAPE = (3, 64, 64)


def tiny(name: str, **options: object) -> nn.Module:
    return create(name, num_classes=5, input_shape=SHAPE, **TINY[name] | options)


def scenes() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Two images of different sizes, the second without objects."""
    images = [torch.rand(3, 64, 64), torch.rand(3, 48, 80)]
    boxes = torch.tensor([[4.0, 6.0, 40.0, 44.0], [30.0, 2.0, 60.0, 30.0]])
    return images, [
        {"boxes": boxes, "labels": torch.tensor([0, 4])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]


@pytest.mark.parametrize(
    ("num_classes", "parameters"),
    [
        (20, 26_285_486),  # Liu et al. for VOC, with its learned scale of conv4_3
        (90, 35_641_826),  # torchvision's ssd300_vgg16 for COCO
    ],
)
def test_ssd300_has_the_published_size(num_classes: int, parameters: int) -> None:
    with torch.device("meta"):
        model = create("ssd300", num_classes=num_classes, input_shape=(3, 300, 300))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_ssd300_equals_torchvisions_up_to_names() -> None:
    from torchvision.models.detection import ssd300_vgg16

    with torch.device("meta"):
        theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=21)
        ours = create("ssd300", num_classes=20, input_shape=(3, 300, 300))
    assert sorted(tuple(p.shape) for p in ours.parameters()) == sorted(tuple(p.shape) for p in theirs.parameters())


@pytest.mark.parametrize("num_classes", [20, 80])
def test_faster_rcnn_is_resnet18_with_torchvisions_parts(num_classes: int) -> None:
    from torchvision.models import resnet18

    with torch.device("meta"):
        model = create("faster_rcnn", num_classes=num_classes, input_shape=(3, 600, 1000))
        body = sum(p.numel() for p in resnet18().parameters()) - (512 * 1000 + 1000)
    proposals = (256 * 256 * 9 + 256) + 15 * (256 + 1) + 4 * 15 * (256 + 1)
    predictor = 5 * (num_classes + 1) * (512 + 1)
    assert sum(p.numel() for p in model.parameters()) == body + proposals + predictor
    assert body + proposals == 11_785_867


def test_anchors_and_regions_are_those_of_the_reference() -> None:
    model = create("faster_rcnn", num_classes=20, input_shape=(3, 600, 1000)).network
    generator = model.rpn.anchor_generator
    assert generator.sizes == ((32, 64, 128, 256, 512),)
    assert generator.aspect_ratios == ((0.5, 1.0, 2.0),)
    assert model.rpn.head.conv[0][0].out_channels == 256
    assert model.roi_heads.box_roi_pool.output_size == (14, 14)
    assert model.backbone(torch.zeros(1, 3, 64, 96)).shape == (1, 256, 4, 6)
    assert (model.transform.min_size, model.transform.max_size) == ((600,), 1000)


def test_ssd300_has_8732_default_boxes_on_six_maps() -> None:
    maps = Maps(2, 300, batch_norm=False)
    assert [m.shape[-1] for m in maps(torch.zeros(1, 3, 300, 300)).values()] == [38, 19, 10, 5, 3, 1]
    with torch.device("meta"):
        model = create("ssd300", num_classes=20, input_shape=(3, 300, 300), width=2)
        assert model(torch.zeros(1, 3, 300, 300)).shape == (1, 8732, 21)


def test_first_ssd_map_has_norm_twenty() -> None:
    first = Maps(2, 64, batch_norm=False)(torch.rand(1, 3, 64, 64))["0"]
    torch.testing.assert_close(first.norm(dim=1), torch.full((1, 8, 8), 20.0))


@pytest.mark.parametrize("size", [32, 64, 96, 128, 160, 300])
def test_small_images_have_as_many_maps_as_they_can(size: int) -> None:
    maps = Maps(2, size, batch_norm=True)
    found = list(maps(torch.zeros(2, 3, size, size)).values())
    assert [m.shape[1] for m in found] == maps.out_channels
    assert min(m.shape[-1] for m in found) >= 1


# -- what is binarized ---------------------------------------------------------------------------------------


def binarized(model: nn.Module) -> set[str]:
    audit = bibench.binarize(model, "bnn", example_inputs=torch.zeros(1, *SHAPE))
    return {row.name.removeprefix("network.backbone.") for row in audit.rows if row.weight_bits == 1}


def test_only_three_by_three_convolutions_of_the_features_are_binarized() -> None:
    blocks = {f"stages.{s}.{b}.conv{c}" for s in range(3) for b in range(2) for c in (1, 2)}
    assert binarized(tiny("faster_rcnn")) == blocks
    with_downsample = binarized(tiny("faster_rcnn", binarize_downsample=True))
    assert with_downsample - blocks == {"stages.1.0.downsample.0", "stages.2.0.downsample.0"}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_twelve_convolutions_of_vgg_are_binarized(batch_norm: bool) -> None:
    counts = {0: 2, 1: 2, 2: 3, 3: 3, 4: 3}
    every = {f"groups.{g}.{i}.0" for g, n in counts.items() for i in range(n)}
    assert binarized(tiny("ssd300", batch_norm=batch_norm)) == every - {"groups.0.0.0"}


def test_the_published_ssd_has_no_norm() -> None:
    kinds = {type(m) for m in tiny("ssd300").modules()}
    assert nn.BatchNorm2d not in kinds and nn.Hardtanh in kinds and nn.ReLU not in kinds
    assert nn.BatchNorm2d in {type(m) for m in tiny("ssd300", batch_norm=True).modules()}


# -- calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("operator", PAPER_ORDER)
@pytest.mark.slow_but("*bnn*", "*reactnet*")
def test_every_operator_trains_a_step_and_detects(name: str, operator: str) -> None:
    model = tiny(name)
    for module in model.modules():
        if isinstance(module, BasicBlock):  # zero at first, so that no gradient would reach its convolutions
            nn.init.ones_(module.bn2.weight)
    if operator != "fp32":
        bibench.binarize(model, operator, example_inputs=torch.zeros(1, *SHAPE))
        assert sum(isinstance(m, BinaryLayer) for m in model.modules()) == 12
    images, targets = scenes()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    progress(model, 0.5, 0.1)
    losses = model.train()(images, targets)
    total = torch.stack(list(losses.values())).sum()
    assert total.dim() == 0 and torch.isfinite(total)
    total.backward()
    dead = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not dead
    binarizable = ("network.backbone.stages", "network.backbone.groups")
    layers = [m for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and n.startswith(binarizable)]
    before = [layer.weight.detach().clone() for layer in layers]
    optimizer.step()
    assert not any(torch.equal(layer.weight, old) for layer, old in zip(layers, before, strict=True))
    with torch.inference_mode():
        found = model.eval()(images)
    assert len(found) == 2
    for item, image in zip(found, images, strict=True):
        height, width = image.shape[-2:]
        assert item["boxes"].shape == (len(item["scores"]), 4)
        if len(item["scores"]):
            assert 0 <= item["labels"].min() <= item["labels"].max() < 5
            assert (item["boxes"] >= 0).all() and (item["boxes"] <= torch.tensor([width, height] * 2) + 1e-3).all()


@pytest.mark.parametrize("name", TINY)
@pytest.mark.slow
def test_a_detector_learns_two_scenes_by_heart(name: str) -> None:
    """Losses, matching and coding agree with each other and with the counting of classes from 0."""
    from bibench.tasks.average_precision import voc_scores

    options = {"width": 8} | ({"batch_norm": True} if name == "ssd300" else {})
    model = tiny(name, **options)
    images = [torch.rand(3, 64, 64) for _ in range(2)]
    targets = [
        {"boxes": torch.tensor([[4.0, 6.0, 40.0, 44.0]]), "labels": torch.tensor([0])},
        {"boxes": torch.tensor([[20.0, 20.0, 60.0, 50.0]]), "labels": torch.tensor([4])},
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(model.train()(images, targets).values())).sum().backward()
        optimizer.step()
    with torch.inference_mode():
        found = model.eval()(images)
    truths = [t | {"ignored": torch.zeros(1, dtype=torch.bool)} for t in targets]
    assert voc_scores(found, truths, 5)["map"] > 0.8


@pytest.mark.parametrize("name", TINY)
def test_evaluation_does_not_depend_on_the_batch(name: str) -> None:
    model = tiny(name).eval()
    images = [torch.rand(3, 64, 64) for _ in range(2)]
    with torch.inference_mode():
        together, alone = model(images), model(torch.stack(images[1:]))
    torch.testing.assert_close(together[1]["scores"], alone[0]["scores"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_the_plan_sees_the_shapes_that_training_sees(name: str) -> None:
    with torch.device("meta"):
        planned = tiny(name)
        on_meta = trace(planned, torch.zeros(1, *SHAPE))
    model = tiny(name)
    real = trace(model, torch.rand(1, *SHAPE))
    names = [{module: n for n, module in m.named_modules()} for m in (planned, model)]
    plan, run = (
        {names[i][m]: call.output_shape for m, call in calls.items()} for i, calls in enumerate((on_meta, real))
    )
    linear = {n for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert plan.keys() == run.keys()
    assert {n: s for n, s in plan.items() if n not in linear} == {n: s for n, s in run.items() if n not in linear}


@pytest.mark.parametrize("name", TINY)
def test_training_needs_targets(name: str) -> None:
    with pytest.raises(BiBenchError, match="a detector in training needs targets"):
        tiny(name).train()(scenes()[0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ssd300", {"input_shape": (3, 16, 16)}, "at least 32 pixels"),
        ("ssd300", {"input_shape": (1, 64, 64)}, "images of 3 channels"),
        ("faster_rcnn", {"input_shape": (1, 64, 64)}, "images of 3 channels"),
        ("faster_rcnn", {"input_shape": (20,)}, r"input_shape must be \(C, H, W\)"),
        ("faster_rcnn", {"depth": 50}, "model 'faster_rcnn' has no option 'depth'"),
        ("faster_rcnn", {"backbone": "nowhere.pth"}, r"backbone='nowhere.pth': there is no such file"),
    ],
)
def test_errors(name: str, options: dict, message: str) -> None:
    with pytest.raises(BiBenchError, match=message):
        create(name, **{"num_classes": 5, "input_shape": SHAPE} | options)


# -- a backbone from ImageNet -------------------------------------------------------------------------------


def body(width: int = 64) -> ResNet:
    return create("resnet18", num_classes=1000, input_shape=(3, 224, 224), width=width)


def test_backbones_of_torchvision_and_of_cells_load(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    theirs, ours = resnet18(), body()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    load_backbone(ours, tmp_path / "theirs.pth")
    for mine, published in ((ours.stages[2][1].conv2, theirs.layer3[1].conv2), (ours.conv1, theirs.conv1)):
        assert torch.equal(mine.weight, published.weight)
    wrapped = {"state_dict": {f"module.{name}": value for name, value in theirs.state_dict().items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    load_backbone(again := body(), tmp_path / "wrapped.pth")
    assert torch.equal(again.stages[2][1].conv2.weight, theirs.layer3[1].conv2.weight)
    torch.save({"model": ours.state_dict(), "cell": {}}, tmp_path / "model.pt")
    model = create("faster_rcnn", num_classes=5, input_shape=(3, 64, 64), backbone=str(tmp_path / "model.pt"))
    head = model.network.roi_heads.box_head.stage
    assert torch.equal(head[1].conv2.weight, theirs.layer4[1].conv2.weight)
    assert torch.equal(model.network.backbone.stages[0][0].conv1.weight, theirs.layer1[0].conv1.weight)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in head.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.network.backbone.modules())


def test_frozen_norms_compute_what_the_norms_did() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3))
    nn.init.uniform_(module[0].weight)
    nn.init.uniform_(module[0].running_var)
    x = torch.randn(2, 3, 4, 4)
    expected = module.eval()(x)
    frozen = frozen_norms(module).train()
    torch.testing.assert_close(frozen(x), expected)
    assert not list(frozen.parameters())


def test_backbones_that_do_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"model": body(8).state_dict()}, file)
    with pytest.raises(BiBenchError, match=r"tensors fit; 100 of another shape \(bn1.bias \(8,\) instead of \(64,\)"):
        create("faster_rcnn", num_classes=5, input_shape=SHAPE, backbone=str(file))
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="is damaged"):
        create("faster_rcnn", num_classes=5, input_shape=SHAPE, backbone=str(file))
