"""What the image architectures share: input checks, stems, initialisation, Hardtanh for ReLU."""

from torch import nn

from bibench.foundation.errors import BiBenchError

SMALL_IMAGE = 96
"""Images below this side get the CIFAR stem (3×3, stride 1), others the ImageNet stem."""


def image_channels(name: str, input_shape: tuple[int, ...]) -> int:
    """Channels of an image shape (C, H, W); a `BiBenchError` for anything else."""
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise BiBenchError(f"model {name!r} takes images: input_shape must be (C, H, W), got {input_shape}")
    return input_shape[0]


def choose_stem(stem: str, input_shape: tuple[int, ...]) -> str:
    """``cifar`` or ``imagenet``; ``auto`` decides by the image size."""
    if stem not in ("auto", "cifar", "imagenet"):
        raise BiBenchError(f"stem must be auto, cifar or imagenet; got {stem!r}")
    if stem == "auto":
        return "cifar" if min(input_shape[1:]) < SMALL_IMAGE else "imagenet"
    return stem


def initialize(model: nn.Module) -> None:
    """He initialisation of convolutions (fan out), ones and zeros for batch norms."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def replace_activations(model: nn.Module) -> None:
    """Hardtanh in place of every ReLU and ReLU6, as all networks of the benchmark (section 4)."""
    for name, child in model.named_children():
        if isinstance(child, nn.ReLU | nn.ReLU6):
            setattr(model, name, nn.Hardtanh(inplace=child.inplace))
        else:
            replace_activations(child)
