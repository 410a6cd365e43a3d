"""Parameters, storage and operations of a model, layer by layer, for full precision and any operator."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bibench.comparators.compressor import COMPRESSORS
from bibench.complexity.leftovers import leftover_numbers, leftover_operations
from bibench.complexity.result import Complexity, Row
from bibench.foundation.errors import BiBenchError
from bibench.nn.attention import Attention, BinaryAttention
from bibench.nn.calls import WEIGHT_LAYERS, trace
from bibench.nn.conversion import Keep, OperatorChoice, resolve
from bibench.nn.embedding import BinarizableEmbedding, BinaryEmbedding
from bibench.nn.layers import BinaryLayer
from bibench.nn.tracing.inputs import zeros
from bibench.nn.tracing.work import LayerCall, Work
from bibench.operators import Operator

Forms = Mapping[nn.Module, Operator | None]
"""Binarized layers with their operators; None for attention and embedding, which have one binarized form."""


def complexity(model: nn.Module, example_inputs: Any) -> Complexity:
    """Count any model as it is, full-precision or binarized.

    Args:
        example_inputs: what it is called with: a tensor, a tuple of positional or a dict of keyword
            arguments, with a batch axis. The counts are of one example.
        model: any module; it is not changed.
    """
    forms: dict[nn.Module, Operator | None] = {}
    for module in model.modules():
        if isinstance(module, BinaryLayer) and not module.operator.full_precision:
            forms[module] = module.operator
        elif isinstance(module, BinaryAttention | BinaryEmbedding):
            forms[module] = None
    return count(model, trace(model, example_inputs).work, forms, {})


class Comparison:
    """One full-precision model, traced once, counted under any number of operators. It is not changed.

    Args:
        model: not binarized; may be on the meta device.
        example_inputs: see `complexity`.
    """

    def __init__(self, model: nn.Module, example_inputs: Any) -> None:
        self.model = model
        self._example_inputs = example_inputs
        self._calls = trace(model, example_inputs)
        self.full = count(model, self._calls.work, {}, {})

    def under(
        self, operator: OperatorChoice, *, keep: Keep | None = None, pad_value: float = 0.0, **options: Any
    ) -> Complexity:
        """The model as `bibench.binarize` would make it with these arguments; raises what that would raise.

        The name of a compressor gives the model that it leaves, as far as that is known without training.

        Args:
            operator: as `bibench.binarize` takes it, or the name of a compressor.
            keep: layers that stay in full precision, as there.
            pad_value: what convolutions see at the border after the sign, as there.

        Raises:
            BiBenchError: whatever `bibench.binarize` raises (such as `UnknownNameError`), or what a compressor refuses.
        """
        if isinstance(operator, str) and operator in COMPRESSORS:
            return self._outlined(operator, options)
        try:
            return self._under(operator, keep, pad_value, options)
        except BiBenchError:
            raise
        except Exception:  # of a stranger's operator that looks at values, which the meta device does not have
            if not self._on_meta:
                raise
            return self._with_values._under(operator, keep, pad_value, options)

    def _under(
        self, operator: OperatorChoice, keep: Keep | None, pad_value: float, options: dict[str, Any]
    ) -> Complexity:
        with torch.device("meta") if self._on_meta else nullcontext():
            converted, reasons = resolve(
                self.model, operator, self._calls, keep=keep, pad_value=pad_value, options=options
            )
            forms = {module: op for module, op in converted if op is None or not op.full_precision}
            return count(self.model, self._calls.work, forms, reasons)

    def _outlined(self, compressor: str, options: dict[str, Any]) -> Complexity:
        COMPRESSORS[compressor].check_options(options)
        with torch.device("meta") if self._on_meta else nullcontext():
            model = COMPRESSORS[compressor](**options).outline(copy.deepcopy(self.model), self._example_inputs)
            return complexity(model, self._example_inputs)

    @property
    def _on_meta(self) -> bool:
        return any(p.is_meta for p in self.model.parameters())

    @cached_property
    def _with_values(self) -> Comparison:
        """The same with random weights on the CPU."""
        model = copy.deepcopy(self.model).to_empty(device="cpu")
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                _ = value.uniform_(0.5, 1) if value.is_floating_point() else value.zero_()
        return Comparison(model, zeros(self._example_inputs))


def count(model: nn.Module, work: Work, forms: Forms, reasons: Mapping[nn.Module, str]) -> Complexity:
    """The rows of `model` from the work of one example and the binarized `forms` of its layers."""
    rows: list[Row] = []
    counted: set[int] = set()
    inside: set[nn.Module] = {
        part for layer in model.modules() if isinstance(layer, BinaryLayer) for part in layer.operator.modules()
    }
    for name, module in model.named_modules():
        if module in inside:
            continue
        own = {k: p for k, p in module.named_parameters(recurse=False) if id(p) not in counted}
        counted.update(map(id, own.values()))
        row = _row(name, module, own, work, forms, reasons.get(module, ""))
        if row is not None:
            rows.append(row)
    names = {module: name for name, module in model.named_modules()}
    called = (names[m] for m, calls in work.calls.items() if m not in forms and sum(c.macs for c in calls) > 0)
    return Complexity(tuple(rows), next(map(_shown, called), ""))


def _row(name: str, module: nn.Module, own: Mapping[str, Tensor], work: Work, forms: Forms, reason: str) -> Row | None:
    calls = work.calls.get(module, [])
    elements, macs = Counter(work.elements.get(name, {})), work.layer_macs(module) + work.product_macs(name)
    numbers = sum(p.numel() for p in own.values())
    if not (calls or elements or macs or numbers):
        return None
    weights = own["weight"].numel() if "weight" in own and isinstance(module, WEIGHT_LAYERS) else 0
    if isinstance(getattr(module, "bias", None), Tensor) and calls:
        elements["bias"] += sum(call.outputs for call in calls)
    facts: dict[str, Any] = {"weights": weights, "others": numbers - weights, "macs": macs, "reason": reason}
    if module in forms:
        facts |= _form(module, forms[module], calls, elements)
    else:
        elements["softmax"] += sum(call.scores for call in calls)
    kind = facts.pop("kind", "") or getattr(module, "kind", "") or _kind(module)
    return Row(name=_shown(name), kind=kind, elements={k: work.of_one(n) for k, n in elements.items() if n}, **facts)


def _shown(name: str) -> str:
    return name or "(the model itself)"


def _kind(module: nn.Module) -> str:
    if isinstance(module, BinaryLayer):
        return module.spec.kind
    return {nn.Conv1d: "conv1d", nn.Conv2d: "conv2d", nn.Linear: "linear", nn.Embedding: "embedding"}.get(
        type(module), type(module).__name__
    )


def _form(module: nn.Module, op: Operator | None, calls: list[LayerCall], elements: Counter[str]) -> dict[str, Any]:
    """Bits and leftovers of a binarized layer; its element operations are added to `elements`."""
    if isinstance(module, Attention):
        # Q, K and V are signed; 1/√d > 0 moves no score across its threshold, and there is no softmax.
        elements["sign"] += sum(_attention_signs(call) for call in calls)
        return {"weight_bits": 1, "activation_bits": 1, "operator": BinaryAttention.operator_name}
    if isinstance(module, BinarizableEmbedding):
        elements["channel_scale"] += sum(call.outputs for call in calls)
        return {
            "weight_bits": 1,
            "operator": BinaryEmbedding.operator_name,
            "leftovers": {"row_scale": module.num_embeddings},
        }
    assert op is not None
    weight = module.weight
    assert isinstance(weight, Tensor)
    form = op.inference_form(weight)
    for call in calls:
        elements.update(leftover_operations(form, op.spec, call))
        if op.activation_bits < 32:
            elements["sign" if form.activation_step is None else "quantize"] += call.inputs
    return {
        "kind": op.spec.kind,
        "weight_bits": op.weight_bits,
        "activation_bits": op.activation_bits,
        "operator": op.name,
        "leftovers": leftover_numbers(form),
    }


def _attention_signs(call: LayerCall) -> int:
    queries = math.prod(call.output_shape[:-1])
    keys = math.prod(call.output_shape[:-2]) * call.scores // max(1, queries)
    return call.inputs + keys * (call.input_shape[-1] + call.output_shape[-1]) + call.scores
