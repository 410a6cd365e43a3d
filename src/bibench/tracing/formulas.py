"""Multiply-accumulates of one operation as PyTorch dispatches it: those of its flop registry, and the others.

A multiply-accumulate is one product of two elements and its addition to a sum. Products of single elements (`mul`),
look-ups and sums are none. Masked positions of an attention count, as its kernels may compute them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import flop_registry

PRODUCT_WORDS = frozenset(
    ("mm", "bmm", "addmm", "matmul", "linear", "attention", "rnn", "conv", "conv1d", "conv2d", "conv3d", "convolution")
)
"""Of names of PyTorch's own operations that multiply matrices."""
WITHOUT_PRODUCTS = ("aten", "prim", "prims", "profiler", "c10d", "_c10d_functional", "torchvision")
"""Namespaces whose operations have no products but those that are known here or have such a name."""


@dataclass(frozen=True)
class Product:
    """The work of one call of an operation, and the tensors that are multiplied."""

    macs: int
    operands: tuple[Tensor, ...]


def product_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Product | None:
    """What the call `out = func(*args, **kwargs)` multiplies; None of an operation that has no known count."""
    name = func._schema.name if hasattr(func, "_schema") else str(func)
    if name in FORMULAS:
        macs, first, last = FORMULAS[name](*args), *OPERANDS.get(name, (0, 2))
    elif (packet := getattr(func, "_overloadpacket", func)) in flop_registry:
        macs, (first, last) = int(flop_registry[packet](*args, **kwargs, out_val=out)) // 2, OPERANDS.get(name, (0, 2))
    else:
        return None
    return Product(int(macs), tuple(tensors(args[first:last])))


def may_multiply(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operation without a known count may have products: by its name, or because it is a stranger's."""
    space, _, name = (func._schema.name if hasattr(func, "_schema") else f"higher_order::{func}").rpartition("::")
    if space in WITHOUT_PRODUCTS:
        return not PRODUCT_WORDS.isdisjoint(name.split("_"))
    return any(t.is_floating_point() for t in tensors(args))


def tensors(values: Any) -> Iterator[Tensor]:
    """Those among the arguments of an operation, lists and all."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(value)


# -- formulas: from the operation's arguments ----------------------------------------------------------


def _matrices(a: Tensor, b: Tensor, *_: Any) -> int:
    """(..., m, k) × (..., k, n)."""
    return a.numel() * (b.shape[-1] if b.dim() > 1 else 1)


def _added(_: Tensor, a: Tensor, b: Tensor, *__: Any) -> int:
    return _matrices(a, b)


def _transposed(x: Tensor, weight: Tensor, *_: Any) -> int:
    """(..., k) × (n, k)ᵀ, also of weights that are packed along k."""
    return x.numel() * weight.shape[0]


def _grouped(a: Tensor, b: Tensor, *_: Any) -> int:
    """Every row of `a` meets one of the matrices in `b`."""
    return a.numel() * b.shape[-1]


def _trilinear(a: Tensor, b: Tensor, c: Tensor, *expanded: Any) -> int:
    """Of `nn.Bilinear`: one for each weight and row, and none for the outer product of its two inputs."""
    shapes = [list(t.shape) for t in (a, b, c)]
    for shape, axes in zip(shapes, expanded, strict=False):
        for axis in sorted(axes):
            shape.insert(axis, 1)
    return math.prod(map(max, zip(*shapes, strict=True)))


def _time_first(x: Tensor, weight: Tensor, _: Any = None, pad: int = 0, *__: Any) -> int:
    """`torch.conv_tbc`: (T, B, C_i) with a weight (k, C_i, C_o)."""
    steps = x.shape[0] + 2 * pad - weight.shape[0] + 1
    return steps * x.shape[1] * weight.numel()


def _recurrent(x: Tensor, *weights: Any) -> int:
    """Every row (step of an example) meets every matrix."""
    return math.prod(x.shape[:-1]) * sum(w.numel() for w in tensors(weights) if w.dim() > 1)


def _attention(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> int:
    """(..., T, d), (..., S, d), (..., S, e): scores and context."""
    return math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


def _square(x: Tensor) -> int:
    """Σ T² of sequences (B, T, E), which may be nested."""
    lengths = [t.shape[0] for t in x.unbind()] if x.is_nested else [x.shape[1]] * x.shape[0]
    return sum(n * n for n in lengths)


def _heads(x: Tensor, _: Any, __: Any, width: int, ___: Any, into: Tensor, ____: Any, out: Tensor, *_____: Any) -> int:
    """The fused self-attention: three projections, scores, context, the projection of the output."""
    return x.numel() // width * (into.numel() + out.numel()) + 2 * _square(x) * width


def _encoder_layer(x: Tensor, width: int, heads: int, into: Tensor, _: Any, out: Tensor, *rest: Any) -> int:
    """The fused layer of a transformer's encoder."""
    matrices = sum(w.numel() for w in (into, out, *tensors(rest)) if w.dim() == 2 and width in w.shape)
    return x.numel() // width * matrices + 2 * _square(x) * width


def _deformable(x: Tensor, weight: Tensor, offset: Tensor, *_: Any) -> int:
    """The offsets have the size of the output map."""
    return len(x) * weight.numel() * math.prod(offset.shape[2:])


FORMULAS: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("aten::dot", "aten::vdot", "aten::mv", "aten::_int_mm"), _matrices),
    **dict.fromkeys(("aten::addmv", "aten::addbmm", "aten::_addmm_activation"), _added),
    **dict.fromkeys(("aten::mkldnn_linear", "mkldnn::_linear_pointwise"), _transposed),
    "aten::_weight_int8pack_mm": _transposed,
    **dict.fromkeys(("aten::_grouped_mm", "aten::_scaled_grouped_mm"), _grouped),
    "aten::_trilinear": _trilinear,
    "aten::conv_tbc": _time_first,
    "aten::mkldnn_rnn_layer": lambda x, w, u, *_: _recurrent(x, w, u),
    **dict.fromkeys(("aten::_cudnn_rnn", "aten::miopen_rnn"), lambda x, weights, *_: _recurrent(x, weights)),
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_attention_math_for_mps": _attention,
    "aten::_native_multi_head_attention": _heads,
    "aten::_transformer_encoder_layer_fwd": _encoder_layer,
    "torchvision::deform_conv2d": _deformable,
}
"""By name of the operation, from its arguments."""
OPERANDS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("aten::addmm", "aten::baddbmm", "aten::addmv", "aten::addbmm", "aten::_addmm_activation"), (1, 3)),
    **dict.fromkeys(("aten::_trilinear", "aten::mkldnn_rnn_layer"), (0, 3)),
    "aten::_native_multi_head_attention": (0, 6),
    "aten::_transformer_encoder_layer_fwd": (0, 4),
}
"""Which of the arguments are multiplied (from, to); the first two where nothing is said here."""
