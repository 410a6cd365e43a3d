"""The work of one forward pass: its multiply-accumulates by layer and weight, and operations on elements by module.

Every operation is seen where PyTorch dispatches it, so that functions count as modules do, whatever the model's code
looks like. What a binarized layer or an attention of BiBench computes inside follows from the shapes of its call.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bibench.nn.attention import Attention
from bibench.nn.layers import BinaryLayer
from bibench.nn.tracing.formulas import Product, may_multiply, product_of, tensors
from bibench.nn.tracing.inputs import leaves
from bibench.nn.tracing.sources import Sources
from bibench.nn.tracing.work import LayerCall, Work

WATCHED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding, Attention)
"""Layers whose products are their own, and whose operations on elements follow from the shapes of a call."""

Note = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]
"""Called with every call of a module: its positional and named inputs, and its output."""

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
THREADS = "layers in other threads"
"""What is said of calls whose operations are not seen, as modes are of one thread."""
_BY_INPUT = ("pool",)
"""Kinds that are counted by the elements they read; the others by those they write."""


@contextmanager
def watching(model: nn.Module, note: Note | None = None, state: Mapping[str, Tensor] | None = None) -> Iterator[Work]:
    """Count the work of what `model` computes inside, and `note` the calls of its modules.

    Args:
        state: what stands in for parameters and buffers of these names, if the model is called functionally.
    """
    watch = _Watch(model, note, state)
    # Fused attention and transformer layers are opaque, and need not take what the layers take one by one.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        recurrent = any(isinstance(m, nn.RNNBase) for m in model.modules())
        unfused = _Unfused() if recurrent else nullcontext()
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), unfused, watch.hooks(), _Operations(watch):
            warnings.simplefilter("ignore")  # of backends that are not there
            yield watch.work
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        watch.work.used |= watch.sources.used


class _Watch:
    """Which module is computing, and what its operations are counted for."""

    def __init__(self, model: nn.Module, note: Note | None, state: Mapping[str, Tensor] | None) -> None:
        self.work, self.sources = Work(), Sources(model, state)
        self._names = {module: name for name, module in model.named_modules()}
        self._note = note
        self._open: list[nn.Module] = []
        self._layers: list[tuple[nn.Module, Counter[str]]] = []
        self._opaque = 0
        self._thread = threading.get_ident()

    @contextmanager
    def hooks(self) -> Iterator[None]:
        handles = []
        for module in self._names:
            if not isinstance(module, torch.jit.ScriptModule):  # which takes none; its operations are seen all the same
                handles += [
                    module.register_forward_pre_hook(self._enter, prepend=True),
                    module.register_forward_hook(self._leave, with_kwargs=True, always_call=True),
                ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        self._open.append(module)
        if isinstance(module, WATCHED):
            self._layers.append((module, Counter()))
        self._opaque += _is_opaque(module)

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if threading.get_ident() != self._thread:
            self._elsewhere(module, inputs, named, output)
            return
        if module not in self._open:
            return
        while (left := self._open.pop()) is not module:  # whose forward raised, and the model went on
            self._close(left)
        macs = self._close(module)
        if output is None or self._opaque:
            return
        if isinstance(module, WATCHED):
            self.work.calls.setdefault(module, []).append(_layer_call(module, inputs, named, output, macs))
        if self._note:
            self._note(module, inputs, named, output)

    def _elsewhere(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if isinstance(module, WATCHED):
            self.work.uncounted[THREADS] += 1
        if self._note and output is not None:
            self._note(module, inputs, named, output)

    def _close(self, module: nn.Module) -> int:
        self._opaque -= _is_opaque(module)
        return self._layers.pop()[1]["macs"] if isinstance(module, WATCHED) else 0

    def count(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Note one operation."""
        self.sources.follow(args, kwargs, out)
        if self._opaque:
            return
        product = self._product(func, args, kwargs, out)
        if product is not None:
            if self._layers:
                self._layers[-1][1]["macs"] += product.macs
            else:
                self.work.products[self._place(product)] += product.macs
        elif not self._layers:
            self._elements(func, args, out)

    def _product(self, func: Any, args: Any, kwargs: Any, out: Any) -> Product | None:
        try:
            product = product_of(func, args, kwargs, out)
        except Exception:  # a formula that does not know such arguments
            product = None
        if product is None and may_multiply(func, args):
            self.work.uncounted[func._schema.name if hasattr(func, "_schema") else str(func)] += 1
        return product

    def _place(self, product: Product) -> tuple[str, str]:
        """Module and weight of a product: of the innermost module at work that owns one of its weights.

        Where none at work does, the weight's own module; without a weight, the innermost module at work.
        """
        weights = [name.rpartition(".") for t in reversed(product.operands) for name in self.sources.of(t) or ()]
        working = [self._names[module] for module in reversed(self._open)]
        for name in working:
            for owner, _, weight in weights:
                if owner == name:
                    return name, weight
        if weights:
            return weights[0][0], weights[0][2]
        return (working[0] if working else ""), ""

    def _elements(self, func: Any, args: Any, out: Any) -> None:
        kind = _KINDS.get(func._schema.name.rpartition("::")[2]) if hasattr(func, "_schema") else None
        if kind is None:
            return
        counted = next(tensors(args if kind in _BY_INPUT else (out,)), None)
        if counted is not None and counted.is_floating_point():
            name = self._names[self._open[-1]] if self._open else ""
            self.work.elements.setdefault(name, Counter())[kind] += counted.numel()


def _is_opaque(module: nn.Module) -> bool:
    """Whether the products of a layer follow from its shapes: kernels of ours compute them."""
    return isinstance(module, BinaryLayer | Attention)


def _layer_call(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any, macs: int) -> LayerCall:
    x, out = (_shape(v) for v in ((*inputs, *named.values()), output))
    if isinstance(module, Attention):
        q, k = (tuple(named[name].shape if name in named else inputs[at].shape) for at, name in enumerate("qk"))
        scores = math.prod(out[:-1]) * k[-2]
        return LayerCall(q, out, scores * (q[-1] + out[-1]), scores)
    if isinstance(module, BinaryLayer):
        macs = math.prod(module.weight.shape[1:]) * math.prod(out)
    return LayerCall(x, out, macs)


def _shape(value: Any) -> tuple[int, ...]:
    return next((tuple(leaf.shape) for leaf in leaves(value) if isinstance(leaf, Tensor)), ())


class _Operations(TorchDispatchMode):
    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to make sure that nothing is compiled inside, PyTorch would import the compiler, for seconds

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_composed(func):
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        self._watch.count(func, args, kwargs, out)
        return out


@cache
def _is_composed(func: Any) -> bool:
    """Whether an operation consists of others; such ones come whole in inference mode."""
    key = "CompositeImplicitAutograd"
    return hasattr(func, "decompose") and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)


class _Unfused(TorchFunctionMode):
    """Recurrent layers step by step, as the libraries' ones hide what happens to the elements."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") not in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            return func(*args, **(kwargs or {}))
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            return func(*args, **(kwargs or {}))
