"""Layers that 1 bit makes no faster: their products fill no word of bits, or are too few for the call to matter.

Measured layer by layer: docs/latency.md has the table.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from bibench.kernels.spec import LayerSpec

BINARIZABLE = ("conv1d", "conv2d", "linear")
"""Kinds of layers, in lower case, that `bibench.binarize` may be told to keep."""
WORD = 32
"""Bits of a word of our kernels (``csrc/isa/kernels.h``); those of other engines are no smaller. Where all products of
an output fit into one, taking signs and writing the output cost more than the products of a float layer."""
PER_WORD = 4
"""Words hold the channels of one tap and one group. A word costs xor, popcount and sum, a float product one
multiply-add in as many lanes: three products or fewer in a word are no gain."""
CALL = 100_000
"""Products of a call on one position that take as long in float, within microseconds: a call costs as much."""
SHARE = 0.01
"""Of the model's products: a layer below has nothing to give to the model's speed, whatever its bits."""


def no_gain(spec: LayerSpec, output_shape: tuple[int, ...], total: int) -> str:
    """Why 1 bit makes a layer no faster, as ``kind: reason``; "" if it may.

    Args:
        spec: the layer.
        output_shape: of one example in a traced forward; () if unknown.
        total: multiply-accumulates of the whole model for one example; 0 if unknown.
    """
    channels = spec.in_channels // spec.groups
    if spec.groups > 1 and (channels < PER_WORD or spec.fan_in <= WORD):
        kind = "depthwise" if channels == 1 else f"{spec.groups} groups"
        return f"{kind}: {spec.fan_in} products per output, of {channels} input channel{'s' * (channels > 1)}"
    if output_shape and total:
        positions = math.prod(output_shape) // spec.out_channels
        products = spec.fan_in * math.prod(output_shape)
        if positions == 1 and products < min(CALL, SHARE * total):
            return f"one position: {products:,} products in all, as in squeeze-excite"
    return ""


def told(slow: Mapping[str, str], binarized: int) -> str:
    """Layers (name → reason, as `no_gain` says it) in a sentence: how many of each kind, and the first one's reason."""
    if not slow:
        return ""
    by_kind: dict[str, list[str]] = {}
    for name, reason in slow.items():
        by_kind.setdefault(reason.partition(":")[0], []).append(name)
    parts = [f"{len(names)} like {names[0]!r} ({slow[names[0]]})" for names in by_kind.values()]
    return f"1 bit makes {len(slow)} of {binarized} binarized layers no faster than float: {'; '.join(parts)}"


def fix(patterns: Iterable[str]) -> str:
    """What to do about `told`, with `keep_patterns`."""
    return f"Keep them in float: binarize the float model with keep={list(patterns)}"


def is_float(row: Mapping[str, Any]) -> bool:
    """Whether a row of an audit, as a dictionary, is of a layer in float that could have been binarized."""
    return row.get("weight_bits") == 32 and str(row.get("kind", "")).lower() in BINARIZABLE


def keep_patterns(float_layers: Iterable[str], binary_layers: Collection[str]) -> tuple[str, ...]:
    """What to give to ``bibench.binarize(keep=...)`` so that `float_layers` stay in float and `binary_layers` do not.

    Layers are named by the shortest end of their names that no binary layer has (``*.conv_dw``); a layer that has none
    or is the only one, by its name.

    Args:
        float_layers: names of layers, first and last included, as `keep` replaces what is kept by default.
        binary_layers: names of all others.
    """
    found: list[str] = []
    names = list(float_layers)
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in found):
            continue
        parts = name.split(".")
        ends = [f"*.{'.'.join(parts[-n:])}" for n in range(1, len(parts))]
        end = next((end for end in ends if not any(fnmatchcase(other, end) for other in binary_layers)), name)
        found.append(end if sum(fnmatchcase(other, end) for other in names) > 1 else name)
    return tuple(found)
