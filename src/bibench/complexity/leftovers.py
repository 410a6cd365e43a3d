"""What an operator leaves beside the binary product: numbers to store, and element operations of a call."""

from __future__ import annotations

import math

from torch import Tensor

from bibench.kernels.spec import LayerSpec
from bibench.nn.tracing.work import LayerCall
from bibench.operators import InferenceForm


def leftover_numbers(form: InferenceForm) -> dict[str, int]:
    """32-bit numbers that an operator adds to the stored model; K is computed at run time and adds none."""
    found = {
        "channel_scale": _distinct(form.channel_scale),
        "threshold": _distinct(form.threshold),
        "spatial_scale": sum(map(_distinct, form.spatial_scale or ())),
        "activation_step": 0 if form.activation_step is None else 1,
        "window": _distinct(form.window),
        "offset": _distinct(form.offset),
        "gate": 0 if form.gate is None else form.gate.down.numel() + form.gate.up.numel(),
    }
    return {name: n for name, n in found.items() if n}


def _distinct(values: Tensor | None) -> int:
    """Numbers held; one for a scale of the whole layer that is expanded over the channels."""
    if values is None:
        return 0
    return math.prod(size for size, stride in zip(values.shape, values.stride(), strict=True) if stride)


def _gate_products(form: InferenceForm, spec: LayerSpec, call: LayerCall) -> int:
    """Products of a gate's two matrices: for each example of a convolution, for each row of a linear layer."""
    assert form.gate is not None
    rows = 1 if spec.spatial_axes else call.outputs // spec.out_channels
    return rows * (form.gate.down.numel() + form.gate.up.numel())


def leftover_operations(form: InferenceForm, spec: LayerSpec, call: LayerCall) -> dict[str, int]:
    """Full-precision element operations of one call beside the binary product.

    K ("spatial") takes |x| summed over the channels, a box filter of k products per position and group,
    and a product per output; "token" and "sample" have no filter.
    """
    found = {
        "channel_scale": call.outputs if form.channel_scale is not None else 0,
        "threshold": call.inputs if form.threshold is not None else 0,
        "spatial_scale": call.outputs if form.spatial_scale else 0,
        "centre": 2 * call.inputs if form.centre is not None else 0,
        # The sums are counted once per group, each of as many terms as a filter has weights, then scaled and added.
        "window": call.outputs // spec.out_channels * spec.groups * spec.fan_in + 2 * call.outputs
        if form.window is not None
        else 0,
        "offset": call.outputs if form.offset is not None else 0,
        "gate": call.inputs + _gate_products(form, spec, call) + call.outputs if form.gate is not None else 0,
    }
    if form.activation_scale is not None:
        positions = call.outputs // spec.out_channels * spec.groups
        filtered = positions * math.prod(spec.kernel_size) if form.activation_scale == "spatial" else 0
        found["activation_scale"] = call.inputs + filtered + call.outputs
    return {name: n for name, n in found.items() if n}
