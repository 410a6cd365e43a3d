"""What precision each layer of a model has, with parameters and multiply-accumulates by bit-width."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from bibench.attention import Attention
from bibench.calls import Call, trace, weight_layers
from bibench.embedding import BinarizableEmbedding
from bibench.layers import BinaryLayer
from bibench.spec import of_layer

NEVER_NEGATIVE_FIX = (
    "Nothing is learned from signs that are always the same: move or replace what comes before such a layer (Hardtanh "
    "in the place of a ReLU), or give it an operator with learned thresholds, such as reactnet"
)


@dataclass(frozen=True)
class AuditRow:
    """One layer. `macs` are of one example; None where no forward reached the layer or none is defined."""

    name: str
    kind: str
    weight_bits: int
    activation_bits: int
    operator: str
    reason: str
    parameters: int
    macs: int | None
    output_shape: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """Like ``W1A1``."""
        return f"W{self.weight_bits}A{self.activation_bits}"


@dataclass
class Audit:
    """All layers of a model that hold weights (`rows`), and the rest of its parameters (norms, scales).

    `warnings` tell, a sentence each, of 1-bit layers none of whose inputs is negative, as behind a ReLU.
    `unproved` says why `bibench.binarize` could not prove that its 1-bit layers are what runs; "" where it did.
    """

    rows: list[AuditRow] = field(default_factory=list)
    other_parameters: int = 0
    warnings: list[str] = field(default_factory=list)
    unproved: str = ""

    @property
    def binarized(self) -> list[AuditRow]:
        """The rows with 1-bit weights."""
        return [row for row in self.rows if row.weight_bits == 1]

    @property
    def parameters(self) -> int:
        """All parameters of the model."""
        return sum(row.parameters for row in self.rows) + self.other_parameters

    def parameters_by_bits(self) -> dict[int, int]:
        """Number of parameters by bit-width; norms, biases of other modules and scales count as 32."""
        counts = Counter({32: self.other_parameters})
        for row in self.rows:
            counts[row.weight_bits] += row.parameters
        return dict(counts)

    def macs_by_bits(self) -> dict[tuple[int, int], int]:
        """Multiply-accumulates by (weight bits, activation bits), of the layers whose shapes are known."""
        counts: Counter[tuple[int, int]] = Counter()
        for row in self.rows:
            counts[row.weight_bits, row.activation_bits] += row.macs or 0
        return dict(counts)

    @property
    def quantized(self) -> list[AuditRow]:
        """The rows with weights of 2 bits or more, but fewer than 32."""
        return [row for row in self.rows if 1 < row.weight_bits < 32]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @property
    def problem(self) -> str:
        """All `warnings` in a few words, with the fix; "" if there are none."""
        if not self.warnings:
            return ""
        more = f" (so it is in {len(self.warnings) - 1} more layers: Audit.warnings)" if self.warnings[1:] else ""
        return f"{self.warnings[0]}{more}. {NEVER_NEGATIVE_FIX}"

    def _problem(self) -> list[str]:
        unproved = [f"not proved to run as listed: {self.unproved}"] if self.unproved else []
        return [f"warning: {self.problem}", *unproved] if self.warnings else unproved

    def _cells(self) -> list[tuple[str, ...]]:
        cells: list[tuple[str, ...]] = [
            (r.name, r.kind, r.precision, r.operator, f"{r.parameters:,}", _count(r.macs), r.reason) for r in self.rows
        ]
        if self.other_parameters:
            other = f"{self.other_parameters:,}"
            cells.append(("(norms, scales, ...)", "", "W32", "", other, "", ""))
        return cells

    def summary(self) -> str:
        """One line: how many layers, parameters and MACs are binary."""
        bits, macs = self.parameters_by_bits(), self.macs_by_bits()
        share = 100 * bits.get(1, 0) / max(1, self.parameters)
        text = (
            f"{len(self.binarized)} of {len(self.rows)} weight layers binarized; "
            f"{bits.get(1, 0):,} of {self.parameters:,} parameters ({share:.1f} %)"
        )
        if self.quantized:
            kinds = ", ".join(dict.fromkeys(row.precision for row in self.quantized))
            text += f"; {len(self.quantized)} quantized ({kinds})"
        total = sum(macs.values())
        if total:
            text += f", {macs.get((1, 1), 0):,} of {total:,} MACs ({100 * macs.get((1, 1), 0) / total:.1f} %)"
        if self.warnings:
            text += f"; layers that see no negative value: {len(self.warnings)}"
        return text

    HEADER = ("layer", "kind", "bits", "operator", "parameters", "MACs", "kept because")

    def __str__(self) -> str:
        table = [self.HEADER, *self._cells()]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.HEADER))]
        right = (4, 5)
        lines = [
            "  ".join(
                c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        return "\n".join([*(line.rstrip() for line in lines), *self._problem(), self.summary()])

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for i, title in enumerate(self.HEADER):
            table.add_column(title, justify="right" if i in (4, 5) else "left")
        for row in self._cells():
            table.add_row(*row)
        return Group(table, *self._problem(), self.summary())


def audit(model: nn.Module, example_inputs: Any = None) -> Audit:
    """Audit any model.

    Args:
        example_inputs: what the model is called with (a tensor, a tuple of positional or a dict of
            keyword arguments); without it, MACs are known only for layers already binarized.
    """
    calls = trace(model, example_inputs) if example_inputs is not None else {}
    return build(model, calls, {})


def build(model: nn.Module, calls: dict[nn.Module, Call], reasons: dict[nn.Module, str]) -> Audit:
    """The audit of `model` from traced `calls` and the `reasons` why layers were kept."""
    result = Audit()
    inside: set[int] = set()
    for module, names in weight_layers(model).items():
        own = [p for p in module.parameters() if id(p) not in inside]
        if isinstance(module, BinaryLayer):
            operator_parameters = {id(p) for p in module.operator.parameters()}
            own = [p for p in own if id(p) not in operator_parameters]
        inside.update(id(p) for p in own)
        result.rows.append(_row(module, names, own, calls.get(module), reasons.get(module, "")))
        if warning := _never_negative(module, names[0], calls.get(module)):
            result.warnings.append(warning)
    result.other_parameters = sum(p.numel() for p in model.parameters() if id(p) not in inside)
    return result


def _never_negative(module: nn.Module, name: str, call: Call | None) -> str:
    """What is wrong with a 1-bit layer none of whose inputs is negative, or "".

    Learned thresholds may move between the values. Nothing is known where all inputs are 0.
    """
    if not isinstance(module, BinaryLayer) or module.operator.activation_bits != 1 or call is None:
        return ""
    if not (call.low >= 0 and call.high > 0) or module.operator.activation_signs().shift is not None:
        return ""
    return f"layer {name!r} takes the signs of inputs between {call.low:.3g} and {call.high:.3g}: all are +1"


def _row(module: nn.Module, names: list[str], own: list[nn.Parameter], call: Call | None, reason: str) -> AuditRow:
    kind = type(module).__name__
    macs, shape = None, call.output_shape if call else ()
    weight_bits = activation_bits = 32
    operator = ""
    if isinstance(module, BinaryLayer):
        op = module.operator
        kind, operator = module.spec.kind, op.name
        weight_bits, activation_bits = op.weight_bits, op.activation_bits
        macs, shape = module.spec.macs, module.spec.output_shape
        if macs is not None and call:
            macs *= call.repeat
    elif isinstance(module, Attention | BinarizableEmbedding):
        kind, operator = module.kind, module.operator_name
        weight_bits, activation_bits = module.weight_bits, module.activation_bits
        macs = _macs(module, call) if call and call.output_shape else module.macs
    elif type(module) in (nn.Conv1d, nn.Conv2d, nn.Linear) and call:
        spec = of_layer(module, input_shape=call.input_shape, output_shape=call.output_shape)
        kind, macs = spec.kind, (spec.macs or 0) * call.repeat
    elif call and call.output_shape:
        macs = _macs(module, call)
    return AuditRow(
        name=names[0] or "(the model itself)",
        kind=kind,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        operator=operator,
        reason=reason,
        parameters=sum(p.numel() for p in own),
        macs=macs,
        output_shape=shape,
        aliases=tuple(names[1:]),
    )


def attention_macs(call: Call) -> int:
    """Multiply-accumulates of the scores and of the context: T·S·d + T·S·e per head.

    Where queries have no batch axis, each is an example.
    """
    *heads, queries, _ = (1, *call.output_shape)
    return call.repeat * math.prod(heads) * queries * call.keys * (call.input_shape[-1] + call.output_shape[-1])


def _macs(module: nn.Module, call: Call) -> int | None:
    if isinstance(module, Attention):
        return attention_macs(call)
    if isinstance(module, nn.modules.conv._ConvNd):
        fan = math.prod(module.weight.shape[1:])
        positions = call.input_shape if module.transposed else call.output_shape
        return call.repeat * fan * math.prod(positions)
    if isinstance(module, nn.Linear):
        return call.repeat * module.in_features * math.prod(call.output_shape)
    return 0 if isinstance(module, nn.Embedding) else None


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
