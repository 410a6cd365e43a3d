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

from bibench import native
from bibench.fx_leaf import make_leaf
from bibench.spec import exact, without_autocast
from bibench.surrogate import STE, binarize, sign

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
        make_leaf(module)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return self._compute(q, k, v, mask)

    def _compute(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The 1-bit forward, which `bibench.proving` counts."""
        scores = binary_scores(q, k) / math.sqrt(q.shape[-1])
        attended = booleanize(self.dropout(scores), strict=self.strict)
        if mask is not None:
            attended = attended.masked_fill(~mask, 0)
        return binary_context(attended, v).to(v.dtype)


def binary_scores(q: Tensor, k: Tensor) -> Tensor:
    """sign(q) sign(k)ᵀ: q (..., T, d), k (..., S, d) → (..., T, S), integers in [-d, d], exact."""
    scores: Tensor = _Scores.apply(exact(q), exact(k))
    return scores


def binary_context(p: Tensor, v: Tensor) -> Tensor:
    """p sign(v) for p of {0, 1}: p (..., T, S), v (..., S, e) → (..., T, e), integers in [-S, S], exact."""
    context: Tensor = _Context.apply(exact(p), exact(v))
    return context


def _product(a: Tensor, b: Tensor) -> Tensor:
    with without_autocast(a):
        return a @ b


class _Scores(torch.autograd.Function):
    """Saves q and k alone; runs on the compiled kernels where they apply, with the same numbers."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor) -> Tensor:
        if native.serves(q, k) and q.dim() == k.dim() == 4 and q.shape[:2] == k.shape[:2]:
            return native.scores(q, k)
        return _product(sign(q), sign(k).mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (q, k), (for_q, for_k) = ctx.saved_tensors, ctx.needs_input_grad
        signed = (lambda x: binarize(x, CLIP)) if torch.is_grad_enabled() else sign
        return (
            _through_sign(_product(grad, signed(k)), q) if for_q else None,
            _through_sign(_product(grad.mT, signed(q)), k) if for_k else None,
        )


class _Context(torch.autograd.Function):
    """As `_Scores`; p is exactly 0 or 1 and its gradient is that of the product."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor, v: Tensor) -> Tensor:
        if native.serves(p, v) and p.dim() == v.dim() == 4 and p.shape[:2] == v.shape[:2]:
            return native.context(p, v)
        return _product(p, sign(v))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (p, v), (for_p, for_v) = ctx.saved_tensors, ctx.needs_input_grad
        b = binarize(v, CLIP) if torch.is_grad_enabled() else sign(v)
        return (
            _product(grad, b.mT) if for_p else None,
            _through_sign(_product(p.mT, grad), v) if for_v else None,
        )


def _through_sign(grad: Tensor, x: Tensor) -> Tensor:
    # Broadcast operands get the sum of their copies' gradients.
    return CLIP.backward(grad.sum_to_size(x.shape), x, own=True)


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
        return CLIP.backward(grad, x), None


def booleanize(x: Tensor, *, strict: bool = False) -> Tensor:
    """{0, 1} in the dtype of `x`: 1[x ≥ 0] (1[x > 0] if `strict`), with gradient 1 where |x| ≤ 1, else 0."""
    return _Booleanize.apply(x, strict)
