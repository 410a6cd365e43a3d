"""The work of one forward pass: products of layers, and element operations of everything else.

Layers with weights are watched by hooks. All other work is seen where PyTorch dispatches it, so that
functions count as modules do, whatever the model's code looks like.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bibench.attention import Attention
from bibench.calls import call_with, evaluating

WATCHED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding, Attention)
"""Layers whose work follows from the shapes of a call, binarized or not. Their insides are not looked at."""

_KINDS: dict[str, str] = {
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "miopen_batch_norm"),
        "batch_norm",
    ),
    **dict.fromkeys(("native_layer_norm", "native_group_norm", "_native_batch_norm_legit", "_fused_rms_norm"), "norm"),
    **dict.fromkeys(
        (
            *("relu", "relu_", "hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "clamp_min_", "prelu"),
            *("_prelu_kernel", "leaky_relu", "leaky_relu_", "elu", "elu_", "silu", "silu_", "gelu", "tanh", "tanh_"),
            *("sigmoid", "sigmoid_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "mish", "softplus"),
        ),
        "activation",
    ),
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), "softmax"),
    **dict.fromkeys(
        (
            *("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "mean", "max", "amax"),
            *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "sum"),
            *("roi_align",),
        ),
        "pool",
    ),
    **dict.fromkeys(
        (
            *("add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "exp", "sqrt", "rsqrt", "pow"),
            *("abs", "neg", "addcmul", "linalg_vector_norm", "reciprocal", "log", "maximum", "minimum", "where"),
        ),
        "arithmetic",
    ),
}
_BY_INPUT = ("pool",)
"""Kinds that are counted by the elements they read; the others by those they write."""


@dataclass(frozen=True)
class LayerCall:
    """Shapes of one call of a watched layer, batch axis included (it is 1), and its multiply-accumulates."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    scores: int = 0
    """Of an attention: the elements of all score matrices."""

    @property
    def inputs(self) -> int:
        """Elements read."""
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Elements written."""
        return math.prod(self.output_shape)


@dataclass
class Work:
    """What one example costs: calls of watched layers, and by module what happens outside of them."""

    calls: dict[nn.Module, list[LayerCall]] = field(default_factory=dict)
    macs: Counter[str] = field(default_factory=Counter)
    """Products outside of watched layers, by module name."""
    elements: dict[str, Counter[str]] = field(default_factory=dict)
    """Element operations outside of watched layers: module name → kind → elements."""


def trace(model: nn.Module, example_inputs: Any) -> Work:
    """The work of one example of `example_inputs` (a tensor, or a tuple, list or dict of arguments).

    One forward in evaluation mode. Works on the meta device, where it costs nothing.
    """
    work, stack = Work(), _Stack(model)
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fast path of transformers, oneDNN's recurrent layers and fused attention are opaque operations.
    torch.backends.mha.set_fastpath_enabled(False)
    hooks = [h for m in model.modules() for h in stack.watch(m, work)]
    try:
        with warnings.catch_warnings(), evaluating(model), torch.no_grad():
            warnings.simplefilter("ignore")  # of backends that are not there
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), _Counting(work, stack):
                call_with(model, one_example(example_inputs))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    return work


def one_example(inputs: Any) -> Any:
    """The first example of a batch: every argument as long as the first one, cut to length 1.

    An argument is a tensor with a batch axis, or a list of examples as detectors take them.
    """
    if not isinstance(inputs, tuple | list | dict):
        return _cut(inputs, _length(inputs))
    values = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
    batch = next((n for value in values if (n := _length(value))), 0)
    cut = [_cut(value, batch) for value in values]
    return dict(zip(inputs, cut, strict=True)) if isinstance(inputs, dict) else tuple(cut)


def _length(value: Any) -> int:
    if isinstance(value, Tensor):
        return len(value) if value.dim() else 0
    return len(value) if isinstance(value, list | tuple) else 0


def _cut(value: Any, batch: int) -> Any:
    return value[:1] if batch and _length(value) == batch else value


def _tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | tuple | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


class _Stack:
    """Which module is computing, and whether it is inside of a watched layer."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.open: list[str] = []
        self.inside = 0

    def watch(self, module: nn.Module, work: Work) -> list[Any]:
        watched = isinstance(module, WATCHED)

        def enter(module: nn.Module, inputs: Any) -> None:
            self.open.append(self.names[module])
            self.inside += watched

        def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.open.pop()
            self.inside -= watched
            if watched and not self.inside:
                work.calls.setdefault(module, []).append(_layer_call(module, inputs, output))

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


def _layer_call(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> LayerCall:
    x, out = tuple(inputs[0].shape), tuple(output.shape)
    if isinstance(module, Attention):
        scores = math.prod(out[:-1]) * inputs[1].shape[-2]
        return LayerCall(x, out, scores * (x[-1] + out[-1]), scores)
    if isinstance(module, nn.Embedding):
        return LayerCall(x, out, 0)
    weight = module.weight
    assert isinstance(weight, Tensor)
    return LayerCall(x, out, math.prod(weight.shape[1:]) * math.prod(out))


class _Counting(TorchDispatchMode):
    def __init__(self, work: Work, stack: _Stack) -> None:
        super().__init__()
        self.work, self.stack = work, stack

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not self.stack.inside:
            self._count(func, args, kwargs, out)
        return out

    def _count(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        name = self.stack.open[-1] if self.stack.open else ""
        if func._overloadpacket in flop_registry:
            flops = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
            self.work.macs[name] += int(flops) // 2
            return
        kind = _KINDS.get(func._schema.name.rpartition("::")[2])
        counted = next(_tensors(args if kind in _BY_INPUT else out), None)
        if kind is None or counted is None or not counted.is_floating_point():
            return
        self.work.elements.setdefault(name, Counter())[kind] += counted.numel()
