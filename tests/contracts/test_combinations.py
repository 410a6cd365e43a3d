"""Every operator on every architecture, all layers binarized: conv1d, attention and the heads of detectors too.

Each trains a step, computes the same on the compiled kernels and on PyTorch alone, and is restored from its
state dict. The architectures are narrow; their full sizes are built on the meta device in
tests/suites/test_paper_grid.py.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.kernels import native
from bibench.models import MODELS, create
from bibench.nn.layers import BinaryLayer, progress
from bibench.operators import FULL_PRECISION, PAPER_ORDER

CLASSES = 5
IMAGE, PHOTO, CLOUD, WORD, TEXT = (3, 16, 16), (3, 64, 64), (6, 32), (1, 32, 32), (12,)
BERT = {"layers": 1, "hidden": 24, "heads": 2, "ffn": 40, "vocabulary": 50, "max_length": 16, "dropout": 0.0}

SMALL: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "resnet18": (IMAGE, {"width": 4}),
    "resnet20": (IMAGE, {"width": 4}),
    "resnet34": (IMAGE, {"width": 4}),
    "vgg_small": (IMAGE, {"width": 4}),
    "mobilenetv2": (IMAGE, {"width_multiplier": 0.25, "dropout": 0.0}),
    "faster_rcnn": (PHOTO, {"width": 4, "roi_size": 4, "rois": 8, "proposals": 16}),
    "ssd300": (PHOTO, {"width": 4}),
    "pointnet_vanilla": (CLOUD, {"width": 4}),
    "pointnet": (CLOUD, {"width": 4}),
    "pointnet_seg": (CLOUD, {"width": 4}),
    "bert": (TEXT, {**BERT, "binarize_embedding": True}),
    "bert_tiny4": (TEXT, BERT),
    "bert_tiny6": (TEXT, BERT),
    "bert_base": (TEXT, BERT),
    "fsmn": (WORD, {"width": 8, "num_blocks": 2}),
    "deep_fsmn": (WORD, {"width": 8, "num_layers": 2, "dropout": 0.0}),
}
OPERATORS = [name for name in PAPER_ORDER if name != FULL_PRECISION]
FLOAT_KINDS = (nn.Conv1d, nn.Conv2d, nn.Linear)


def converted(name: str, operator: str, seed: int) -> nn.Module:
    """A model with every layer binarized and parameters that are nowhere zero or equal."""
    torch.manual_seed(seed)
    shape, options = SMALL[name]
    model = create(name, num_classes=CLASSES, input_shape=shape, **options)
    bibench.binarize(model, operator, example_inputs=inputs(name, 1), keep=())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    progress(model, 0.5, 0.1)
    return model


def inputs(name: str, count: int) -> tuple[Any, ...]:
    """`count` examples, always the same."""
    random = torch.Generator().manual_seed(7)
    shape, _ = SMALL[name]
    if shape == TEXT:
        ids = torch.randint(1, 50, (count, *shape), generator=random)
        mask = torch.arange(shape[0]).expand_as(ids) < shape[0] - torch.arange(count)[:, None]
        return ids * mask, mask, (torch.arange(shape[0]) >= 5).expand_as(ids).long()
    return (torch.rand(count, *shape, generator=random),)


def step(model: nn.Module, name: str) -> list[Tensor]:
    """The loss of a training step and the gradient of every parameter."""
    torch.manual_seed(1)  # detectors draw the regions they train on
    model.train().zero_grad()
    given = inputs(name, 3)
    if MODELS[name].answer == "boxes":
        target = {"boxes": torch.tensor([[4.0, 6.0, 40.0, 44.0], [30.0, 2.0, 60.0, 30.0]]), "labels": torch.arange(2)}
        loss = torch.stack(list(model(*given, [target] * 3).values())).sum()
    else:
        loss = model(*given).square().mean()
    loss.backward()
    gradients = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    assert not [key for key, gradient in gradients.items() if gradient is None]
    return [loss.detach(), *(g.clone() for g in gradients.values() if g is not None)]


def answers(model: nn.Module, name: str) -> list[Tensor]:
    """What it computes in evaluation, tensor by tensor."""
    with torch.no_grad():
        return list(tensors(model.eval()(*inputs(name, 3))))


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)


def test_no_architecture_is_left_out() -> None:
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.slow_but("*-bnn", "*-reactnet")
def test_combination(name: str, operator: str) -> None:
    model = converted(name, operator, seed=0)
    plain = [n for n, m in model.named_modules() if isinstance(m, FLOAT_KINDS) and not isinstance(m, BinaryLayer)]
    assert not plain

    before = {key: values.clone() for key, values in model.state_dict().items()}
    trained, judged = step(model, name), answers(model, name)
    assert all(torch.isfinite(x).all() for x in (*trained, *judged))

    model.load_state_dict(before)
    with native.using(native.NONE):
        on_torch, judged_on_torch = step(model, name), answers(model, name)
    torch.testing.assert_close(on_torch, trained)
    torch.testing.assert_close(judged_on_torch, judged)

    other = converted(name, operator, seed=1)
    other.load_state_dict(model.state_dict())
    for a, b in zip(answers(other, name), judged, strict=True):
        assert torch.equal(a, b)
