"""Models that several tests deploy: small, binarized, with norms that do something."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import bibench
from bibench.models import create

_BERT = {"vocabulary": 50, "max_length": 32}
_SLIM = {**_BERT, "hidden": 24, "ffn": 48}  # the layers and heads are the architecture's
CATALOGUE: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "resnet18": ((3, 32, 32), {"width": 8}),
    "resnet20": ((3, 16, 16), {"width": 8}),
    "resnet34": ((3, 32, 32), {"width": 4}),
    "vgg_small": ((3, 16, 16), {"width": 4}),
    "mobilenetv2": ((3, 32, 32), {}),
    "bert": ((16,), {**_BERT, "binarize_embedding": True}),
    "bert_tiny4": ((16,), _SLIM),
    "bert_tiny6": ((16,), _SLIM),
    "bert_base": ((16,), _SLIM),
    "pointnet": ((3, 32), {"width": 8}),
    "pointnet_vanilla": ((6, 32), {"width": 8, "lsr": True}),
    "pointnet_seg": ((6, 32), {"width": 8}),
    "fsmn": ((1, 16, 16), {"width": 16, "num_blocks": 2}),
    "deep_fsmn": ((1, 16, 16), {"width": 16, "num_layers": 2}),
    "ssd300": ((3, 64, 64), {"width": 8}),
    "faster_rcnn": ((3, 64, 64), {}),
}
"""Of each architecture the input shape and options."""


def stir(model: nn.Module) -> nn.Module:
    """Give the norms statistics and factors of both signs, as training would; in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.eval()


def inputs(name: str, batch: int = 4) -> Any:
    """Inputs of a model of the catalogue."""
    shape = CATALOGUE[name][0]
    if name.startswith("bert"):
        ids = torch.randint(0, 50, (batch, *shape))
        return ids, torch.rand(batch, *shape) > 0.3, torch.zeros_like(ids)
    return torch.rand(batch, *shape) if name in ("ssd300", "faster_rcnn") else torch.randn(batch, *shape)


def binary(name: str, operator: str = "bnn", **options: Any) -> tuple[nn.Module, Any]:
    """A binarized model of the catalogue and inputs for it."""
    torch.manual_seed(0)
    shape, sizes = CATALOGUE[name]
    model = create(name, num_classes=4, input_shape=shape, **sizes)
    x = inputs(name)
    bibench.binarize(model, operator, example_inputs=x, **options)
    return stir(model), x


class Around(nn.Module):
    """A binarized layer and what follows it, with nothing else."""

    def __init__(self, layer: nn.Module, then: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.then = then or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.then(self.layer(x))
        return y
