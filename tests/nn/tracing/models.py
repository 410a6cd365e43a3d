"""Models that multiply in all ways, with example inputs and the multiply-accumulates of one example by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CASES: dict[str, tuple[Callable[[], tuple[nn.Module, Any]], int]] = {}
Made = tuple[nn.Module, Any]


def case(macs: int) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def enter(make: Callable[[], Made]) -> Callable[[], Made]:
        CASES[make.__name__] = make, macs
        return make

    return enter


class Does(nn.Module):
    """What `forward` does with the module and its inputs."""

    def __init__(self, does: Callable[..., Any], **held: Any) -> None:
        super().__init__()
        self.does = does
        for name, value in held.items():
            setattr(self, name, nn.Parameter(value) if isinstance(value, Tensor) else value)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.does(self, *inputs, **named)


class Conv1D(nn.Module):
    """x W + b, as in GPT-2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.flatten(0, -2), self.weight).unflatten(0, x.shape[:-1])


def scripted(module: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        return torch.jit.script(module)


X = torch.randn(2, 5, 6)
ENCODER = 5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 5 * 5 * 8
"""Of a layer of width 8 with 16 features inside, over 5 positions."""


@case(64 * 9 * (3 * 8 + 2 * 8 * 8))
def called_twice() -> Made:
    stem, conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
    return Does(lambda m, x: m.conv(m.conv(m.stem(x))), stem=stem, conv=conv), torch.randn(2, 3, 8, 8)


@case(6 * 6 * (5 + 2))
def called_with_two_sizes() -> Made:
    return Does(lambda m, x: (m.layer(x), m.layer(x[:, :2])), layer=nn.Linear(6, 6)), X


@case(4 * 9 * 64 + 8 * 4 // 2 * 64 + 8 * 2 * 4 * 64)
def depthwise_grouped_and_transposed() -> Made:
    layers = (
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 8, 1, groups=2),
        nn.ConvTranspose2d(8, 2, 2, stride=2),
    )
    return nn.Sequential(*layers), torch.randn(2, 4, 8, 8)


@case(2 * 2 * 5 * 4 * 3 * (6 + 3))
def lstm() -> Made:
    return nn.LSTM(6, 3, 2, batch_first=True, bidirectional=True), X


@case(5 * 3 * 3 * (6 + 3))
def gru() -> Made:
    return nn.GRU(6, 3, batch_first=True), X


@case(3 * (6 + 3))
def rnn_cell() -> Made:
    return nn.RNNCell(6, 3), torch.randn(2, 6)


@case((5 + 3 + 2) * 4 * 3 * (6 + 3) // 3)
def packed_sequence() -> Made:
    """Three sequences, a third of their work each."""
    return nn.LSTM(6, 3), nn.utils.rnn.pack_padded_sequence(torch.randn(5, 3, 6), [5, 3, 2])


@case(5 * 4 * 8 * 8 + 2 * 5 * 5 * 8)
def multihead_attention() -> Made:
    x = torch.randn(2, 5, 8)
    return nn.MultiheadAttention(8, 2, batch_first=True), (x, x, x)


@case(5 * 8 * 8 * 2 + 3 * 8 * (6 + 4) + 2 * 5 * 3 * 8)
def cross_attention() -> Made:
    layer = nn.MultiheadAttention(8, 2, batch_first=True, kdim=6, vdim=4, bias=False)
    return layer, (torch.randn(2, 5, 8), torch.randn(2, 3, 6), torch.randn(2, 3, 4))


@case(2 * ENCODER)
def encoder_with_padding() -> Made:
    padded = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    return layers, {"src": torch.randn(2, 5, 8), "src_key_padding_mask": padded}


@case(ENCODER)
def scripted_encoder() -> Made:
    """Which always takes PyTorch's fused layer."""
    layer = scripted(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval())
    return nn.Sequential(layer), torch.randn(2, 5, 8)


@case(5 * 6 * 8 + 5 * 8 * 8 + 7 * 5 * 8)
def scripted_layers() -> Made:
    inner = scripted(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Conv1d(5, 7, 1)))
    return nn.Sequential(nn.Linear(6, 8), inner), X


@case(5 * 6 * 7 + 5 * 7 * 3)
def foreign_layers() -> Made:
    return nn.Sequential(Conv1D(6, 7), Conv1D(7, 3)), X


@case(5 * 6 * 7 + 2 * 5 * 5 * 7 + 5 * 7)
def raw_parameters() -> Made:
    def does(m: Any, x: Tensor) -> Tensor:
        y = F.linear(x, m.weight)
        return torch.baddbmm(y, torch.einsum("bij,bkj->bik", y, y), y) @ m.vector

    return Does(does, weight=torch.randn(7, 6), vector=torch.randn(7)), X


@case(2 * 5 * 5 * 6)
def functional_attention() -> Made:
    return Does(lambda m, x: F.scaled_dot_product_attention(x, x, x)), X


@case(6 * 2 * 3 + 6 * 3 * 3 * 3)
def functional_convolutions() -> Made:
    def does(m: Any, x: Tensor) -> Tensor:
        y = F.conv1d(x, m.point[:, :, None])
        return torch.conv_tbc(y.permute(2, 0, 1).contiguous(), m.time, m.time.new_zeros(3), 1)

    return Does(does, point=torch.randn(3, 2), time=torch.randn(3, 3, 3)), torch.randn(2, 2, 6)


@case(5 * 4 * 3 * 2)
def bilinear() -> Made:
    return nn.Bilinear(4, 3, 2), (torch.randn(2, 5, 4), torch.randn(2, 5, 3))


@case(4 * 2)
def embedding_bag() -> Made:
    return nn.Sequential(nn.EmbeddingBag(10, 4), nn.Linear(4, 2)), torch.zeros(2, 3, dtype=torch.int64)


@case(5 * 6 * 6 * 2)
def checkpointed() -> Made:
    def does(m: Any, x: Tensor) -> Tensor:
        return checkpoint(lambda x: m.layer(x) @ m.weight, x, use_reentrant=False)

    return Does(does, layer=nn.Linear(6, 6), weight=torch.randn(6, 6)), X


@case(5 * 6 * 6 * 2 + 2 * 5 * 5 * 6)
def inference_mode() -> Made:
    def does(m: Any, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return F.scaled_dot_product_attention(m.layer(x), x, x) @ m.weight

    return Does(does, layer=nn.Linear(6, 6), weight=torch.randn(6, 6)), X


@case(5 * 6 * 6)
def forward_called_by_hand() -> Made:
    return Does(lambda m, x: m.layer.forward(x), layer=nn.Linear(6, 6)), X


@case(18 * 27 * 36 + 4 * 27 * 36)
def deformable() -> Made:
    offsets, layer = nn.Conv2d(3, 18, 3, padding=1), torchvision.ops.DeformConv2d(3, 4, 3, padding=1)
    return Does(lambda m, x: m.layer(x, m.offsets(x)), offsets=offsets, layer=layer), torch.randn(2, 3, 6, 6)


@case(5 * 6 * 8 + 7 * 8 * 8)
def tables_made_of_weights_count_once() -> Made:
    """As of relative positions: whatever the batch."""

    def does(m: Any, x: Tensor) -> Tensor:
        return m.layer(x).sum() + m.table(m.positions).sum()

    return Does(does, layer=nn.Linear(6, 8), table=nn.Linear(8, 8), positions=torch.randn(7, 8)), X
