"""Architectures: parameter counts of the literature, structure, options, contracts."""

import pytest
import torch
from torch import nn

import bibench
from bibench.contracts import check
from bibench.foundation.errors import BiBenchError
from bibench.models import MODELS, create
from bibench.models.resnet import BasicBlock

IMAGENET = {"num_classes": 1000, "input_shape": (3, 224, 224)}


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("resnet18", IMAGENET, 11_689_512),  # He et al., torchvision
        ("resnet34", IMAGENET, 21_797_672),
        ("mobilenetv2", IMAGENET, 3_504_872),  # Sandler et al., torchvision
        ("resnet18", {}, 11_173_962),  # the CIFAR form
        ("resnet34", {}, 21_282_122),
        ("resnet20", {}, 272_474),  # canonical, with projection shortcuts
        ("vgg_small", {}, 4_660_106),
    ],
)
def test_parameter_counts(name: str, options: dict, parameters: int) -> None:
    with torch.device("meta"):
        model = create(name, **options)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resnet18_equals_torchvision_up_to_names_and_activation() -> None:
    import torchvision

    theirs = torchvision.models.resnet18()
    ours = create("resnet18", **IMAGENET)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    ours.load_state_dict(
        {k: v for k, v in zip(ours.state_dict(), theirs.state_dict().values(), strict=True)}  # noqa: C416
    )
    for parent in ours.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Hardtanh):
                setattr(parent, name, nn.ReLU())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.slow_but(
    "resnet20", "vgg_small", "bert", "pointnet", "pointnet_vanilla", "fsmn", "deep_fsmn", "pointnet_seg", "mobilenetv2"
)
def test_model_keeps_its_contracts(name: str) -> None:
    findings = list(check("model", name))
    assert len(findings) == 5
    assert not [f for f in findings if f.problem]


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "resnet34", "vgg_small", "mobilenetv2"])
def test_hardtanh_throughout(name: str) -> None:
    model = create(name, input_shape=(3, 64, 64))
    assert any(isinstance(m, nn.Hardtanh) for m in model.modules())
    assert not any(isinstance(m, nn.ReLU | nn.ReLU6) for m in model.modules())


def test_stem_follows_the_image_size_unless_said() -> None:
    assert create("resnet18").conv1.kernel_size == (3, 3)
    assert isinstance(create("resnet18").maxpool, nn.Identity)
    assert create("resnet18", input_shape=(3, 224, 224)).conv1.kernel_size == (7, 7)
    assert create("resnet18", stem="imagenet").conv1.kernel_size == (7, 7)
    with pytest.raises(BiBenchError, match="stem must be auto, cifar or imagenet; got 'big'"):
        create("resnet18", stem="big")


def test_block_order_and_zero_initialised_residual() -> None:
    block = BasicBlock(4, 4, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(1, 4, 6, 6) * 3
    assert torch.equal(block(x), x.clamp(-1, 1))
    assert all(m.bn2.weight.abs().max() == 0 for m in create("resnet20").modules() if isinstance(m, BasicBlock))


def test_vgg_pools_before_the_norm() -> None:
    kinds = [type(m).__name__ for m in create("vgg_small").features[3:7]]
    assert kinds == ["Conv2d", "MaxPool2d", "BatchNorm2d", "Hardtanh"]


def test_one_skip_per_two_convolutions() -> None:
    """Bi-Real's extra shortcuts are not part of the operator."""
    model = create("resnet18")
    assert len([m for m in model.modules() if isinstance(m, BasicBlock)]) == 8


def test_width_and_downsample_options() -> None:
    x = torch.zeros(1, 3, 32, 32)
    rows = {}
    for flag in (False, True):
        audit = bibench.binarize(create("resnet18", width=8, binarize_downsample=flag), "bnn", example_inputs=x)
        rows[flag] = [r.name for r in audit.rows if r.weight_bits == 32]
    assert len(rows[False]) == 5
    assert rows[True] == ["conv1", "fc"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"depth": 3}, "model 'resnet18' has no option 'depth'; it has: width=64"),
        ("resnet18", {"input_shape": (128,)}, r"takes images: input_shape must be \(C, H, W\), got \(128,\)"),
        ("vgg_small", {"input_shape": (3, 4, 4)}, "pools three times: images need at least 8×8"),
        ("resnet18", {"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ("resnet8", {}, "unknown model 'resnet8'; did you mean 'resnet18'"),
    ],
)
def test_errors(name: str, options: dict, message: str) -> None:
    with pytest.raises(BiBenchError, match=message):
        create(name, **options)


def test_depthwise_convolutions_stay_depthwise() -> None:
    model = create("mobilenetv2")
    bibench.binarize(model, "reactnet", example_inputs=torch.zeros(1, 3, 32, 32))
    assert any(m.groups == m.in_channels > 1 for m in model.modules() if isinstance(m, bibench.nn.layers.BinaryConv2d))
