"""Embeddings with 1-bit rows, as BiBERT binarizes the word embedding (https://arxiv.org/abs/2203.06390)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.fx_leaf import make_leaf
from bibench.latent import require_own
from bibench.surrogate import STE, sign


class BinarizableEmbedding(nn.Embedding):
    """An `nn.Embedding` that `bibench.binarize` converts; any other embedding stays full precision."""

    kind = "embedding"
    weight_bits = activation_bits = 32
    operator_name = ""
    macs: int | None = 0


class BinaryEmbedding(BinarizableEmbedding):
    """Rows mean|w| · sign(w - mean(w)), both means over the row; the scale is that of the uncentred row.

    The gradient passes where |w - mean(w)| ≤ 1 and is not multiplied by the scale, as in the binarized
    layers. The rows are looked up, not multiplied: what follows sees real values (W1A32).
    """

    weight_bits = 1
    operator_name = "1-bit rows"

    @classmethod
    def convert_(cls, module: nn.Module, macs: int | None = 0) -> None:
        """Make the float module a binarized one, in place."""
        assert isinstance(module, BinarizableEmbedding)
        module.__class__ = cls
        make_leaf(module)

    def forward(self, input: Tensor) -> Tensor:
        if "weight" not in self._parameters:
            require_own(self)
        return self._compute(input)

    def _compute(self, input: Tensor) -> Tensor:
        """The 1-bit forward, which `bibench.proving` counts."""
        rows = F.embedding(input, self.weight, self.padding_idx)
        centred = rows - rows.mean(-1, keepdim=True)
        return _ScaledSign.apply(centred, rows.detach().abs().mean(-1, keepdim=True))


class _ScaledSign(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, scale: Tensor) -> Tensor:
        return scale * sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad * STE().gradient(x), None
