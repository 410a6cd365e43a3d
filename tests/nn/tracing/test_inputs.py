"""Example inputs: how they are meant, what they keep, and what is said of those that do not fit."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import bibench
from bibench.foundation.errors import ExampleInputsError
from bibench.nn.tracing.inputs import first_of, mapped, on_meta

X = torch.randn(2, 3)
Pair = collections.namedtuple("Pair", "x y")


@dataclasses.dataclass
class Batch:
    x: Tensor
    size: int = 2


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))


class Takes(nn.Module):
    """One argument of a type."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind, self.layers = kind, layers()

    def forward(self, batch: Any, mask: Any = None) -> Any:
        assert type(batch) is self.kind, type(batch)
        x = batch["x"] if isinstance(batch, dict) else batch.x
        return self.layers(x)


class Images(nn.Module):
    """A list of images, of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.middle, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, images: Sequence[Tensor], targets: Any = None) -> list[Tensor]:
        if not isinstance(images, list):
            raise TypeError("images must be a list")
        return [self.head(self.middle(self.body(image[None]))) for image in images]


IMAGES = [torch.randn(3, 8, 8), torch.randn(3, 8, 8)]


@pytest.mark.parametrize("inputs", [IMAGES, (IMAGES,), {"images": IMAGES}, [IMAGES]])
def test_lists_of_images(inputs: Any) -> None:
    audit = bibench.binarize(Images(), "bnn", example_inputs=inputs)
    assert [row.macs for row in audit.rows] == [36 * 4 * 27, 16 * 4 * 36, 16 * 8]


def test_the_only_argument_of_a_model_without_annotations() -> None:
    class Bare(Images):
        def forward(self, images, targets=None):
            return super().forward(images)

    assert len(bibench.binarize(Bare(), "bnn", example_inputs=IMAGES).binarized) == 1


def test_torchvisions_detectors_take_lists() -> None:
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    assert bibench.audit(model, [torch.rand(3, 64, 64), torch.rand(3, 64, 80)]).macs_by_bits()[32, 32] > 0


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (Batch, Batch(torch.zeros(2, 3))),
        (Pair, Pair(torch.zeros(2, 3), None)),
        (Pair, (Pair(torch.zeros(2, 3), None),)),
        (dict, {"x": torch.zeros(2, 3)}),
        (dict, ({"x": torch.zeros(2, 3)},)),
        (collections.OrderedDict, {"batch": collections.OrderedDict(x=torch.zeros(2, 3))}),
        (collections.UserDict, {"batch": collections.UserDict(x=torch.zeros(2, 3))}),
    ],
)
def test_containers_keep_their_type(kind: type, inputs: Any) -> None:
    class Takes_(Takes):
        def forward(self, batch: Any, mask: Any = None) -> Any:
            if kind is collections.UserDict:
                assert type(batch) is kind
                return self.layers(batch["x"])
            return super().forward(batch, mask)

    audit = bibench.binarize(Takes_(kind), "bnn", example_inputs=inputs)
    assert [row.macs for row in audit.rows] == [12, 16, 8]


def test_mappings_are_keyword_arguments() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers()

        def forward(self, x: Tensor, shift: float = 0.0) -> Tensor:
            return self.layers(x + shift)

    for inputs in ({"x": X, "shift": 1.0}, collections.UserDict(x=X)):
        assert [row.macs for row in bibench.binarize(Named(), "bnn", example_inputs=inputs).rows] == [12, 16, 8]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((X, X), r"model\(float32 \[2, 3\], float32 \[2, 3\]\): TypeError: too many positional arguments"),
        ((), r"model\(\): TypeError: missing a required argument: 'input'"),
        ({"input": X, "mask": None}, r"model\(input=float32 \[2, 3\], mask=None\): TypeError: .*'mask'"),
        ({"inputs": X}, r"missing a required argument: 'input'"),
        (None, r"model\(None\): TypeError"),
        ("text", r"model\(str\): TypeError"),
        (torch.randn(2, 5), r"model\(float32 \[2, 5\]\): RuntimeError: mat1 and mat2"),
        (torch.ones(2, 3, dtype=torch.int64), r"model\(int64 \[2, 3\]\): RuntimeError"),
        ([X, X], "too many positional arguments"),
    ],
)
def test_what_does_not_fit_is_told(inputs: Any, said: str) -> None:
    for call in (
        lambda: bibench.binarize(layers(), "bnn", example_inputs=inputs),
        lambda: bibench.complexity.complexity(layers(), inputs),
    ):
        with pytest.raises(ExampleInputsError, match=said) as told:
            call()
        assert str(told.value).startswith("example_inputs: the model (Sequential) cannot be called with them")
        assert "Expected what its forward(input) takes: a tensor, a tuple" in str(told.value)
        assert told.value.__cause__ is not None


@pytest.mark.parametrize("wrap", [lambda x: ({"a": [x]},), lambda x: Batch(x), lambda x: Pair(x, 1), lambda x: [[x]]])
def test_arrays_are_named_at_any_depth(wrap: Any) -> None:
    with pytest.raises(bibench.BiBenchError, match=r"got a NumPy array: torch\.from_numpy"):
        bibench.audit(layers(), wrap(np.zeros((2, 3), np.float32)))


def test_what_does_not_change_is_kept_itself() -> None:
    inputs = {"pair": Pair(X, 1), "batch": Batch(X), "sizes": torch.Size([2, 3])}
    assert mapped(lambda leaf: leaf, inputs) is inputs
    moved = on_meta(inputs)
    assert type(moved["pair"]) is Pair and moved["pair"].x.is_meta and moved["batch"].x.is_meta
    assert moved["sizes"] is inputs["sizes"] and not inputs["batch"].x.is_meta


def test_one_example_of_a_batch() -> None:
    args = first_of((torch.ones(4, 3), [1, 2, 3, 4], (torch.ones(4), torch.ones(2)), torch.ones(2, 4), Batch(X)))
    assert [args[0].shape, args[1], args[2][0].shape, args[2][1].shape, args[3].shape] == [
        (1, 3),
        [1],
        (1,),
        (2,),
        (2, 4),
    ]
    assert first_of({"x": torch.ones(4, 3), "n": 4})["x"].shape == (1, 3)
    assert first_of(torch.ones(4, 3)).shape == (1, 3)
