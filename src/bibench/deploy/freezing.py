"""From a trained model to its inference form: layers without operators, latent weights or surrogate gradients."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bibench.attention import BinaryAttention
from bibench.calls import trace
from bibench.deploy import domain, operations
from bibench.deploy.statement import statements
from bibench.embedding import BinaryEmbedding
from bibench.errors import BiBenchError, UnsupportedError
from bibench.input_scale import activation_scale
from bibench.layers import BINARY_LAYERS, BinaryLayer
from bibench.operators import InferenceForm, Operator
from bibench.spec import LayerSpec

ROUNDING = 1e-4
"""How far a layer's inference form may be from its training form, relative to its largest output."""


class Frozen(nn.Module):
    """Base of the frozen layers: buffers alone, under the names of the domain's inputs.

    `calls` counts the calls of each layer in a forward of the model.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.layer = name
        self.calls: Counter[str] = Counter()

    def label(self) -> str:
        """`layer`, and `layer#2` where it is called again: no optimizer takes two calls for one."""
        self.calls[self.layer] += 1
        count = self.calls[self.layer]
        return self.layer if count == 1 else f"{self.layer}#{count}"


class FrozenConv(Frozen):
    """A binarized convolution. A padding mode that copies values pads before the sign, which is the same.

    Except for the mean of |x| per example, which is of x without its padding: it then follows the operator.
    """

    def __init__(self, name: str, spec: LayerSpec, form: InferenceForm, bias: Tensor | None) -> None:
        super().__init__(name)
        self.spec = spec
        _hold(self, form, bias)
        axes = form.spatial_scale or ()
        self.register_buffer("rows", _values(axes[0] if len(axes) == 2 else None))
        self.register_buffer("columns", _values(axes[-1] if axes else None))

    def forward(self, input: Tensor) -> Tensor:
        x, spec = input, self.spec
        if spec.padding_mode == "zeros":
            return self._product(x, operations.sides(spec.padding), self.activation_scale, self.bias)
        padded, pads = F.pad(x, spec.padding, mode=spec.padding_mode), [0] * len(spec.padding)
        if self.activation_scale != "sample":
            return self._product(padded, pads, self.activation_scale, self.bias)
        y = self._product(padded, pads, "", None) * activation_scale(x, spec, "sample")
        bias: Any = self.bias
        return y if bias is None else y + spec.per_output(bias)

    def _product(self, x: Tensor, pads: list[int], form: Any, bias: Any) -> Tensor:
        spec = self.spec
        y: Tensor = torch.ops.bibench.binary_conv(
            *(x, self.weight, self.scale, bias, self.threshold, self.rows, self.columns),
            *(list(spec.kernel_size), list(spec.stride), pads, list(spec.dilation)),
            *(spec.groups, int(spec.pad_value), spec.in_channels, form, self.label()),
        )
        return y


class FrozenLinear(Frozen):
    """A binarized linear layer."""

    def __init__(self, name: str, spec: LayerSpec, form: InferenceForm, bias: Tensor | None) -> None:
        super().__init__(name)
        self.spec = spec
        _hold(self, form, bias)

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = torch.ops.bibench.binary_linear(
            *(input, self.weight, self.scale, self.bias, self.threshold),
            *(self.spec.in_channels, self.activation_scale, self.label()),
        )
        return y


class FrozenAttention(Frozen):
    """Bi-attention over (B, H, T, d); without heads or batch too."""

    def __init__(self, name: str, strict: bool) -> None:
        super().__init__(name)
        self.strict = strict

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        missing = 4 - q.dim()
        if missing < 0:
            raise UnsupportedError(f"layer {self.layer!r}: attention over {q.dim()} axes; at most 4 can be exported")
        for _ in range(missing):
            q, k, v = q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
        y: Tensor = torch.ops.bibench.binary_attention(q, k, v, mask, self.strict, self.label())
        for _ in range(missing):
            y = y.squeeze(0)
        return y


class FrozenEmbedding(Frozen):
    """Rows of one bit per entry and one scale: the looked-up bytes are unpacked."""

    weight: Tensor
    scale: Tensor
    bits: Tensor

    def __init__(self, name: str, weight: Tensor) -> None:
        super().__init__(name)
        self.width = weight.shape[1]
        signs = torch.where(weight - weight.mean(-1, keepdim=True) >= 0, 1.0, -1.0)
        self.register_buffer("weight", _packed(signs))
        self.register_buffer("scale", weight.abs().mean(-1, keepdim=True))
        self.register_buffer("bits", 2 ** torch.arange(8, dtype=torch.uint8))

    def forward(self, input: Tensor) -> Tensor:
        held = F.embedding(input, self.weight).unsqueeze(-1) & self.bits
        signs = torch.where(held == 0, 1.0, -1.0).flatten(-2)[..., : self.width]
        return F.embedding(input, self.scale) * signs


def freeze(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
    """A copy of `model` (in evaluation mode) whose binarized layers are frozen and proved equal to it.

    The proof is one forward on the example inputs: what an operator states to be left at inference must
    give what its layer gives, up to rounding. Training-only parts are gone afterwards, which is asserted.

    Raises:
        UnsupportedError: a layer that has no 1-bit inference form, or whose statement is not true.
    """
    model = copy.deepcopy(model).cpu().requires_grad_(False)
    _restore_float_layers(model)
    shapes = trace(model, {**_named(model, args), **kwargs} if kwargs else args)
    for module, call in shapes.items():
        if isinstance(module, BinaryLayer) and call.output_shape:  # scales may follow the size of the map
            module.operator.spec = replace(module.spec, input_shape=call.input_shape, output_shape=call.output_shape)
    frozen: dict[nn.Module, Frozen] = {}
    for stated in statements(model):
        if stated.refusal:
            raise UnsupportedError(f"layer {stated.name!r} cannot be exported: {stated.refusal}")
        if isinstance(stated.module, BinaryLayer) and stated.form is not None:
            kind = FrozenLinear if stated.kind == "linear" else FrozenConv
            bias = stated.module.bias
            frozen[stated.module] = kind(stated.name, stated.module.spec, stated.form, bias)
        elif isinstance(stated.module, BinaryAttention):
            frozen[stated.module] = FrozenAttention(stated.name, stated.module.strict)
        elif isinstance(stated.module, BinaryEmbedding):
            frozen[stated.module] = FrozenEmbedding(stated.name, stated.module.weight)
    _prove(model, frozen, args, kwargs)
    if model in frozen:
        return _counting(frozen[model], frozen.values())
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # also a layer that has two names here
            if child in frozen:
                setattr(parent, name, frozen[child])
    assert_inference_only(model)
    return _counting(model, frozen.values())


def _counting(model: nn.Module, layers: Iterable[Frozen]) -> nn.Module:
    """`model`, whose layers count their calls anew in each forward."""
    calls: Counter[str] = Counter()
    for layer in layers:
        layer.calls = calls
    model.register_forward_pre_hook(lambda module, inputs: calls.clear())
    return model.eval()


def assert_inference_only(model: nn.Module) -> None:
    """Raise when anything of an operator (noise modules, standardization, latent weights) is left in `model`."""
    for name, module in model.named_modules():
        if isinstance(module, Operator | BinaryLayer):
            raise BiBenchError(f"{name!r} ({type(module).__name__}) is for training and was not removed: report this")


def _prove(model: nn.Module, frozen: dict[nn.Module, Frozen], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    def compare(module: nn.Module) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
            _require_one_size(frozen[module], output)
            deployed = frozen[module](*inputs, **named)
            off = float((deployed - output).abs().max()) if output.numel() else 0.0
            if not output.isfinite().all():
                raise UnsupportedError(
                    f"layer {frozen[module].layer!r} gives numbers that are not finite on the example inputs, "
                    "which prove nothing: give others, or train again"
                )
            if not off <= ROUNDING * max(1e-30, float(output.abs().max())):
                raise UnsupportedError(
                    f"layer {frozen[module].layer!r} cannot be exported: what its operator states to be left at "
                    f"inference differs from what it computes in evaluation by {off:.3g}"
                )

        return hook

    hooks = [m.register_forward_hook(compare(m), with_kwargs=True) for m in frozen]
    try:
        with torch.no_grad():
            model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()


def _require_one_size(layer: Frozen, output: Tensor) -> None:
    """Refuse a layer whose scales of rows and columns fit one of its calls only."""
    if not isinstance(layer, FrozenConv):
        return
    for axis, values in ((-2, layer.rows), (-1, layer.columns)):
        if isinstance(values, Tensor) and len(values) != output.shape[axis]:
            raise UnsupportedError(
                f"layer {layer.layer!r} cannot be exported: it is called for maps of several sizes, and its scales of "
                "rows and columns are of one; give each size a layer of its own"
            )


def _restore_float_layers(model: nn.Module) -> None:
    """Layers "binarized" by a full-precision operator are float layers again."""
    for module in model.modules():
        if isinstance(module, BinaryLayer) and module.operator.full_precision:
            del module.operator
            float_class = next(base for base, cls in BINARY_LAYERS.items() if isinstance(module, cls))
            module.__class__ = float_class  # type: ignore[assignment]


def _named(model: nn.Module, args: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(inspect.signature(model.forward).parameters, args, strict=False))


def _hold(module: nn.Module, form: InferenceForm, bias: Tensor | None) -> None:
    module.activation_scale = form.activation_scale or ""  # type: ignore[assignment]
    module.register_buffer("weight", _packed(form.weight))
    module.register_buffer("scale", _values(form.channel_scale))
    module.register_buffer("bias", _values(bias))
    module.register_buffer("threshold", _values(form.threshold))


def _packed(signs: Tensor) -> Tensor:
    return torch.from_numpy(domain.pack(signs.detach().cpu().numpy()))


def _values(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach().float().cpu().contiguous().clone()
