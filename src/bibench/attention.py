"""Products between activations: softmax attention, and its binarized form, bi-attention.

BiBERT (Qin et al., ICLR 2022, https://arxiv.org/abs/2203.06390), as the paper applies it to every
transformer (appendix A.3). These products have no weights and are no part of an operator: all eight
operators share the binarizers below, and full precision keeps the softmax.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.surrogate import STE, binarize

CLIP = STE()
"""Behind every sign of the attention: the gradient passes where the value is in [-1, 1]."""


class Attention(nn.Module):
    """softmax(Q Kᵀ/√d + mask) V in full precision; `bibench.binarize` makes it a `BinaryAttention`.

    Args:
        dropout: of the attention probabilities (full precision) or scores (bi-attention), in training.
        strict: threshold of the binarized form: attend where the score is above 0, not where it is at least 0.
    """

    kind = "attention"
    weight_bits = activation_bits = 32
    operator_name = ""

    def __init__(self, dropout: float = 0.0, *, strict: bool = False) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.strict = strict
        self.macs: int | None = None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """q (..., T, d), k (..., S, d), v (..., S, e) → (..., T, e); `mask` broadcasts to (..., T, S), True attends."""
        rate = self.dropout.p if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)

    def extra_repr(self) -> str:
        return "strict" if self.strict else ""


class BinaryAttention(Attention):
    r"""Bi-attention: 1[B_Q B_Kᵀ/√d ≥ 0] B_V with B = sign; no softmax, masked positions stay 0.

    Dropout acts on the scores, as in BiBERT: a dropped score is 0, which the default threshold attends.
    In training the gradient passes each sign where its argument is in [-1, 1], so it reaches Q and K.
    """

    weight_bits = activation_bits = 1
    operator_name = "bi-attention"

    @classmethod
    def convert_(cls, module: nn.Module, macs: int | None = None) -> None:
        """Make the float module a binarized one, in place. `macs` of one example are kept for audits."""
        assert isinstance(module, Attention)
        module.__class__ = cls
        module.macs = macs

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = binary_scores(binarize(q, CLIP), binarize(k, CLIP)) / math.sqrt(q.shape[-1])
        attended = booleanize(self.dropout(scores), strict=self.strict)
        if mask is not None:
            attended = attended.masked_fill(~mask, 0)
        return binary_context(attended, binarize(v, CLIP)).to(v.dtype)


def binary_scores(q: Tensor, k: Tensor) -> Tensor:
    """Q Kᵀ of ±1 values: q (..., T, d), k (..., S, d) → (..., T, S), integers in [-d, d], exact."""
    return _exact_product(q, k.mT)


def binary_context(p: Tensor, v: Tensor) -> Tensor:
    """P V of {0, 1} and ±1 values: p (..., T, S), v (..., S, e) → (..., T, e), integers in [-S, S], exact."""
    return _exact_product(p, v)


def _exact_product(a: Tensor, b: Tensor) -> Tensor:
    # Sums of ±1 are exact in float32 up to 2^24 terms, and not in 16 bits: no autocast.
    with torch.autocast(a.device.type, enabled=False):
        if a.dtype in (torch.float16, torch.bfloat16):
            a, b = a.float(), b.float()
        return a @ b


class _Booleanize(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, strict: bool) -> Tensor:
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad * CLIP.gradient(x), None


def booleanize(x: Tensor, *, strict: bool = False) -> Tensor:
    """{0, 1} in the dtype of `x`: 1[x ≥ 0] (1[x > 0] if `strict`), with gradient 1 where |x| ≤ 1, else 0."""
    return _Booleanize.apply(x, strict)
