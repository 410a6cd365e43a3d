"""TensorFlow Lite files: bits, geometry, and what is refused; read back by the schema's own package."""

import random

import numpy as np
import pytest
import tflite  # type: ignore[import-untyped]
import torch
import torch.nn.functional as F

import bibench
from bibench.deploy.tflite import bits, file
from bibench.deploy.tflite.bits import Window
from bibench.deploy.tflite.graph import Graph, Operator, Tensor
from bibench.foundation.errors import BiBenchError

from .models import binary


def test_bits() -> None:
    """LSB first, 1 where negative, each pixel in whole words of 32 channels."""
    signs = np.ones((1, 1, 1, 33), np.float32)
    signs[..., [0, 31, 32]] = -1
    packed = bits.pack(signs)
    assert packed.dtype == np.int32
    assert packed.tolist() == [[[[-(2**31) + 1, 1]]]]
    filters = np.where(np.random.default_rng(0).random((5, 3, 2, 70)) < 0.5, -1, 1)
    np.testing.assert_array_equal(bits.unpack(bits.pack(filters), 70), filters)


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "dilation"), [(3, 1, 1, 1), (3, 2, 1, 1), (5, 2, 2, 1), (3, 1, 2, 2)]
)
def test_border(kernel: int, stride: int, pads: int, dilation: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 6, kernel, kernel).sign()
    x = torch.randn(1, 6, 7, 8).sign()
    window = Window.of([kernel] * 2, [stride] * 2, [pads] * 4, [dilation] * 2)
    ones = F.conv2d(F.pad(x, (pads,) * 4, value=1.0), weight, stride=stride, dilation=dilation)
    zeros = F.conv2d(x, weight, stride=stride, padding=pads, dilation=dilation)
    found = bits.border(weight.permute(0, 2, 3, 1).numpy(), (7, 8), window)
    np.testing.assert_array_equal(ones.permute(0, 2, 3, 1).numpy() + found, zeros.permute(0, 2, 3, 1).numpy())


def test_same_padding_is_tensorflows() -> None:
    assert Window.of([3, 3], [1, 1], [1] * 4, None).is_same((8, 8))
    assert Window.of([3, 3], [2, 2], [1] * 4, None).is_same((7, 7))
    assert not Window.of([3, 3], [2, 2], [1] * 4, None).is_same((8, 8))  # TensorFlow pads (0, 1)
    assert not Window.of([7, 7], [2, 2], [3] * 4, None).is_same((224, 224))
    assert Window.of([3], [1], [1, 1], None).is_same((1, 9))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    model, x = binary("vgg_small", "reactnet")
    path = tmp_path_factory.mktemp("tflite") / "m.tflite"
    bibench.export(model, path, x, "larq")
    return path.read_bytes()


def test_the_schema_reads_the_file(content: bytes) -> None:
    assert tflite.Model.ModelBufferHasIdentifier(content, 0)
    model = tflite.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    assert [model.Subgraphs(0).Tensors(graph.Inputs(0)).Shape(i) for i in range(4)] == [1, 16, 16, 3]
    codes = {model.OperatorCodes(i).CustomCode() for i in range(model.OperatorCodesLength())}
    assert {b"LceQuantize", b"LceBconv2d"} <= codes
    for i in range(model.BuffersLength()):
        if model.Buffers(i).DataLength():
            address = model.Buffers(i).DataAsNumpy().__array_interface__["data"][0]
            start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
            assert (address - start) % file.ALIGNMENT == 0


def test_damage_never_does_more_than_an_error(content: bytes) -> None:
    chance = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(damaged) if chance.random() < 0.5 else 4000)
            damaged[place] = chance.randrange(256)
        try:
            file.read(bytes(damaged[: chance.choice([len(content), chance.randrange(len(content))])]), "it")
        except BiBenchError as error:
            assert "it is not a TensorFlow Lite file" in str(error)
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (Graph([Tensor("x", (1, 4))], [Operator("RELU", [0], [7])], [0], [0]), "does not exist"),
        (Graph([Tensor("x", (0, 4))], [], [0], [0]), "has shape"),
        (Graph([Tensor("x", (9, 4), "float32", np.zeros(3, np.float32))], [], [0], [0]), "has 12 bytes"),
        (Graph([Tensor("x", (2**20, 2**20))], [], [0], [0]), "has shape"),
    ],
)
def test_hostile_graphs(graph: Graph, found: str) -> None:
    with pytest.raises(BiBenchError, match=found):
        file.read(file.write(graph), "it")
