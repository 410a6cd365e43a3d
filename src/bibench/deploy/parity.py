"""Proof that a deployed model is the model it was made from: layer by layer, sign by sign.

The integer products of every 1-bit layer must equal those of the training graph on the same input. Signs
are compared on the way: engines round sums of floats differently, so a value within rounding of its
threshold may get the other sign, after which everything behind it differs too. Such flips are counted
with their margin, and told apart from differences that have no such explanation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bibench.deploy.calling import Example, flat, on_cpu, unwrapped
from bibench.deploy.engine import ENGINES, ROUNDING, Array, LayerValues
from bibench.deploy.exporting import Deployed
from bibench.deploy.parts import deployable_part
from bibench.foundation.errors import BiBenchError
from bibench.kernels.products import product
from bibench.kernels.spec import LayerSpec
from bibench.nn.attention import BinaryAttention
from bibench.nn.layers import BinaryLayer
from bibench.nn.proving import require_proof


@dataclass(frozen=True)
class LayerParity:
    """One 1-bit layer.

    Attributes:
        product_difference: largest difference of its integer products from the training graph's, on the
            input that it got in the deployed model; 0 means equal (None: the engine does not tell).
        signs, flips: of its inputs; those that differ from the training graph's.
        origins: flips that do not follow from earlier ones: the training graph has the other sign even where it is
            given the deployed model's values in all layers before.
        margin: largest distance from the threshold among the origins, in that training graph, in units of its input.
        input_scale: largest magnitude of its input.
        rounding: part of it within which a margin is explained (`Engine.rounding`).
        layer: its name in the model.
    """

    layer: str
    product_difference: float | None
    signs: int = 0
    flips: int = 0
    origins: int = 0
    margin: float = 0.0
    input_scale: float = 0.0
    rounding: float = ROUNDING

    @property
    def explained(self) -> bool:
        """Whether every flip is of a value within rounding of its threshold, or follows from such a one."""
        return self.margin <= self.rounding * max(self.input_scale, 1.0)


@dataclass
class Parity:
    """Of a whole model.

    `max_difference` is that of the outputs, `unflipped_difference` of the examples in which no sign
    flipped, both relative to the largest output; `examples` without any flip of all. `followed_difference`
    is that of all examples from a training graph whose layers take the deployed signs (None without flips):
    flips explain no other difference. Up to `rounding` the engine's differences are rounding.

    Attributes:
        engine: name of the engine (``bibench list engines``).
        layers: the same of each 1-bit layer.
        unflipped: number of examples in which no sign flipped.
        followed_difference: relative to the largest output, as the others are.
    """

    engine: str
    layers: list[LayerParity] = field(default_factory=list)
    max_difference: float = 0.0
    unflipped_difference: float = 0.0
    examples: int = 0
    unflipped: int = 0
    followed_difference: float | None = None
    rounding: float = ROUNDING

    @property
    def equal(self) -> bool:
        """Products are the same integers, flips are explained, and the rest agrees to rounding."""
        apart = max(self.unflipped_difference, self.followed_difference or 0.0)
        return apart <= self.rounding and all(layer.explained and not layer.product_difference for layer in self.layers)

    @property
    def flips(self) -> int:
        """Of all layers."""
        return sum(layer.flips for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON, which has no infinity: differences of NaN and a number are None."""

        def finite(fields: dict[str, Any]) -> dict[str, Any]:
            return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}

        return {**finite(asdict(self)), "layers": [finite(asdict(one)) for one in self.layers], "equal": self.equal}

    def summary(self) -> str:
        """One sentence."""
        verdict = "the same model" if self.equal else "NOT the same model"
        if not self.equal and not ENGINES[self.engine].exact:
            verdict = f"another model, as {ENGINES[self.engine].title} rounds; compare the task metric"
        unseen = any(layer.product_difference is None for layer in self.layers)
        signs = "not told one by one by this engine" if unseen else f"{self.flips} flipped signs"
        return (
            f"{verdict}: {len(self.layers)} 1-bit layers, {signs}; outputs differ by "
            f"{self.max_difference:.2g} of the largest, by {self.unflipped_difference:.2g} in the "
            f"{self.unflipped} of {self.examples} examples without a flip"
            + ("" if self.followed_difference is None else f", by {self.followed_difference:.2g} given the same signs")
        )


def verify(deployed: str | Path | Deployed, model: nn.Module, inputs: Any) -> Parity:
    """Compare a deployed model with the one it was exported from, on a batch of inputs.

    Args:
        deployed: the file, or what `bibench.deploy.load` gives.
        model: the trained model, in evaluation mode.
        inputs: a tensor, a tuple or a dict, as at export; use real data, a few dozen examples.

    Raises:
        ProofError: 1-bit layers of `model` that do not run as such where no hook looks on.
        BiBenchError: a file that was not exported from `model`, or inputs that it does not take.
    """
    if not isinstance(deployed, Deployed):
        deployed = Deployed(deployed)
    model = unwrapped(model)
    if model.training:
        raise BiBenchError("the model is in training mode: call model.eval() first")
    part, inputs, _ = deployable_part(on_cpu(model), inputs)
    example = Example.of(inputs)
    require_proof(part, lambda: example.call(part))  # what hooks see, below, is not what runs without them
    seen, expected = _trained(part, example)
    arrays = [t.numpy() for t in example.tensors]
    outputs = deployed(*arrays)
    rounding = deployed.engine.rounding([_terms(s.module) for s in seen.values()])
    report = Parity(deployed.manifest.engine, examples=example.batch, rounding=rounding)
    flipped = np.zeros(example.batch, bool)
    values = deployed.layer_values(*arrays)
    if seen and not deployed.manifest.layers:
        raise BiBenchError(
            f"{deployed.path.name} has no 1-bit layers, the model has {len(seen)}: it is no export of it"
        )
    for layer, found in (values or {}).items():
        if layer not in seen:
            raise BiBenchError(f"the model has no 1-bit layer {layer!r}: it is not the one that was exported")
        report.layers.append(replace(_compare(layer, found, seen[layer], flipped), rounding=rounding))
    if values is None:
        report.layers = [LayerParity(name, None) for name in seen]
    _judge_outputs(report, outputs, expected, flipped)
    if values and flipped.any():
        _follow(report, part, example, values, outputs)
    missing = () if values is None else seen.keys() - values.keys()
    if missing and not report.equal:  # calls whose output nothing uses are left out of a file
        raise BiBenchError(f"the file has no 1-bit layer {min(missing)!r}: it is not the export of this model")
    return report


@dataclass(frozen=True)
class Seen:
    """A call of a layer in the training graph.

    Attributes:
        module: the layer.
        inputs: what it was called with, the batch first; of the shapes that the layer takes.
        mask: of an attention: which keys count, in a shape that broadcasts over its scores; or None.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    mask: Tensor | None = None


def _trained(
    model: nn.Module, example: Example, values: Mapping[str, LayerValues] | None = None
) -> tuple[dict[str, Seen], list[Array]]:
    """What the layers of the training graph see, and its outputs. Where `values` are given, the layers take these."""
    seen: dict[str, Seen] = {}
    calls: Counter[str] = Counter()

    def note(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            calls[name] += 1
            label = name if calls[name] == 1 else f"{name}#{calls[name]}"
            attention = isinstance(module, BinaryAttention)
            if not args:  # a layer called by name
                args, kwargs = (kwargs["input"],), {}
            signed = args[: 3 if attention else 1]
            mask = (args[3] if len(args) > 3 else kwargs.get("mask")) if attention else None
            seen[label] = Seen(module, tuple(a.detach().clone() for a in signed), mask)  # may be changed in place later
            if values is None or label not in values:
                return None
            taken = (_unpadded(module, a, v) for a, v in zip(signed, values[label].inputs, strict=True))
            return (*taken, *args[len(signed) :]), kwargs

        return hook

    binary = [
        (name, m)
        for name, m in model.named_modules()
        if isinstance(m, BinaryAttention) or (isinstance(m, BinaryLayer) and not m.operator.full_precision)
    ]
    hooks = [m.register_forward_pre_hook(note(name), with_kwargs=True) for name, m in binary]
    try:
        outputs = example.call(model)
    finally:
        for hook in hooks:
            hook.remove()
    return seen, [o.detach().float().numpy() for o in flat(outputs)]


def _unpadded(module: nn.Module, like: Tensor, value: Array) -> Tensor:
    """What the deployed layer saw, in the shape of the layer's argument: without a border that copies values."""
    found = torch.from_numpy(np.array(value))
    if isinstance(module, BinaryLayer) and module.spec.padding_mode != "zeros":
        for axis in range(module.spec.spatial_axes):  # padding counts the last axis first
            found = found.narrow(-1 - axis, module.spec.padding[2 * axis], like.shape[-1 - axis])
    return found.reshape(like.shape).to(like.dtype)


def _follow(
    report: Parity, model: nn.Module, example: Example, values: Mapping[str, LayerValues], outputs: list[Array]
) -> None:
    """Prove by itself what is between two layers: the training graph goes on from the deployed values in each layer."""
    seen, expected = _trained(model, example, values)
    alone = {name: _compare(name, values[name], seen[name], np.zeros(example.batch, bool)) for name in values}
    report.layers = [
        replace(layer, origins=alone[layer.layer].flips, margin=alone[layer.layer].margin) for layer in report.layers
    ]
    apart = [_apart(mine, theirs) for mine, theirs in zip(outputs, expected, strict=True)]
    report.followed_difference = max((float(off.max(initial=0.0)) for off in apart), default=0.0)


def _apart(mine: Array, theirs: Array) -> Array:
    """Differences relative to the largest finite output; see `_distance` for those that are not finite."""
    return _distance(mine, theirs) / max(_largest(theirs), 1e-30)


def _distance(mine: Array, theirs: Array) -> Array:
    """|mine - theirs|: 0 of two NaNs or equal infinities, infinite of NaN and a number."""
    with np.errstate(invalid="ignore"):
        off = np.abs(np.subtract(mine, theirs, dtype=np.float32))
    same = np.equal(mine, theirs) | (np.isnan(mine) & np.isnan(theirs))
    return np.asarray(np.where(same, 0.0, np.nan_to_num(off, nan=np.inf, posinf=np.inf)))


def _largest(values: Array) -> float:
    """The largest magnitude that is finite."""
    magnitudes = np.abs(values)
    return float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0))


def _compare(layer: str, found: LayerValues, seen: Seen, flipped: Array) -> LayerParity:
    """Compare one layer; marks in `flipped` the examples whose signs differ."""
    threshold: Any = 0.0
    if isinstance(seen.module, BinaryLayer):
        form = seen.module.operator.inference_form(seen.module.weight)
        spec = seen.module.spec
        if spec.padding_mode != "zeros":  # copies values, and is done before the operator
            seen = replace(seen, inputs=(spec.pad(seen.inputs[0], 0.0),))
            spec = replace(spec, padding=(0,) * len(spec.padding), padding_mode="zeros")
        _require_shape(layer, "takes", found.inputs[0], seen.inputs[0].shape)
        got = torch.from_numpy(np.ascontiguousarray(found.inputs[0]))
        limit = 0.0 if form.threshold is None else spec.per_input(form.threshold.float())
        signs = torch.where(got >= limit, 1.0, -1.0)
        expected = _product(signs, form.weight.float(), spec)
        threshold = 0.0 if form.threshold is None else np.asarray(limit)
    else:
        found = _without_heads(found, seen.inputs[0].dim())
        with torch.no_grad():
            for mine, theirs in zip(found.inputs, seen.inputs, strict=True):
                _require_shape(layer, "takes", mine, theirs.shape)
            expected = seen.module(*(torch.from_numpy(np.ascontiguousarray(x)) for x in found.inputs), seen.mask)
    _require_shape(layer, "gives", found.product, expected.shape)
    off = float(np.abs(expected.detach().numpy() - found.product).max()) if found.product.size else 0.0
    total = flips = origins = 0
    margin = scale = 0.0
    before = flipped.copy()
    for mine, theirs in zip(found.inputs, seen.inputs, strict=True):
        trained = theirs.numpy()
        # Exactly as the layer decides, whose sum x + b has the sign of x - threshold.
        differs = np.asarray(np.not_equal(mine >= threshold, trained >= threshold))
        total, flips = total + differs.size, flips + int(differs.sum())
        scale = max(scale, _largest(trained))
        if not differs.any():
            continue
        per_example = _examples(differs, len(flipped))
        first = differs & ~_spread(before, differs)
        origins += int(first.sum())
        distance = _distance(trained, np.broadcast_to(threshold, trained.shape))
        margin = max(margin, float(distance[first].max(initial=0.0)))
        np.logical_or(flipped, per_example, out=flipped)
    return LayerParity(layer, off, total, flips, origins, margin, scale)


def _without_heads(found: LayerValues, rank: int) -> LayerValues:
    """What an attention over `rank` axes sees and gives: in the file it has axes of length 1 before these."""

    def fewer(value: Array) -> Array:
        return value.reshape(value.shape[-rank:]) if all(n == 1 for n in value.shape[:-rank]) else value

    return LayerValues(tuple(map(fewer, found.inputs)), fewer(found.product))


def _require_shape(layer: str, what: str, found: Array, expected: tuple[int, ...]) -> None:
    """Refuse a model whose layers have the names of the file's, and other sizes."""
    if found.shape != tuple(expected):
        raise BiBenchError(
            f"layer {layer!r} {what} {found.shape} in the file and {tuple(expected)} in the model: it is not the one "
            "that was exported"
        )


def _terms(module: nn.Module) -> int:
    """How many products an output of a 1-bit layer sums; 0 of an attention, where that depends on the input."""
    return module.weight[0].numel() if isinstance(module, BinaryLayer) else 0


def _product(signs: Tensor, weight: Tensor, spec: LayerSpec) -> Tensor:
    with torch.no_grad():
        return product(signs, weight, spec)


def _examples(differs: Array, count: int) -> Array:
    """Which examples have a difference; all of them where the first axis is not the batch."""
    if differs.shape[0] != count:
        return np.full(count, differs.any())
    return np.asarray(differs.reshape(count, -1).any(axis=1))


def _spread(marked: Array, like: Array) -> Array:
    """`marked` examples in the shape of `like`."""
    if like.shape[0] != len(marked):
        return np.full(like.shape, marked.any())
    return np.broadcast_to(marked.reshape(-1, *(1,) * (like.ndim - 1)), like.shape)


def _judge_outputs(report: Parity, outputs: list[Array], expected: list[Array], flipped: Array) -> None:
    report.unflipped = int((~flipped).sum())
    if len(outputs) != len(expected):
        raise BiBenchError(f"the file gives {len(outputs)} outputs, the model {len(expected)}")
    for mine, theirs in zip(outputs, expected, strict=True):
        if mine.shape != theirs.shape:
            raise BiBenchError(f"the file gives outputs of shape {mine.shape}, the model {theirs.shape}")
        off = _apart(mine, theirs)
        report.max_difference = max(report.max_difference, float(off.max(initial=0.0)))
        if off.shape[:1] == flipped.shape:
            off = off[~flipped]
        elif flipped.any():  # of all examples together: what flips do not explain, `_follow` finds
            continue
        report.unflipped_difference = max(report.unflipped_difference, float(off.max(initial=0.0)))
