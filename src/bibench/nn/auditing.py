"""What precision each layer of a model has, with parameters and multiply-accumulates by bit-width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from bibench.kernels.spec import of_layer
from bibench.nn import gains, one_sign
from bibench.nn.attention import Attention
from bibench.nn.calls import Call, Calls, trace, weight_layers
from bibench.nn.embedding import BinarizableEmbedding
from bibench.nn.layers import BinaryLayer
from bibench.nn.tracing.listing import Entry, Listing
from bibench.nn.tracing.work import Work

BETWEEN = "(between layers)"
"""Name of the row of products that no listed layer or weight has a part in."""
WITHOUT_WEIGHTS = "products between activations, without weights"
PARAMETER = "parameter"


@dataclass(frozen=True)
class AuditRow:
    """One layer, another module or a parameter with a matrix, or the products between layers.

    `macs` are of one example, over all calls; None where no forward reached it or none was traced.

    Attributes:
        macs: multiply-accumulates of one example.
        name: of the module, as in ``named_modules``.
        kind: ``conv1d``, ``conv2d``, ``linear``, another module's class, ``parameter``, ``buffer`` or
            ``products``.
        weight_bits: bits of a weight: 1, 32, or what a comparator leaves.
        activation_bits: bits of an input, likewise.
        operator: name of the operator of a binarized layer; else empty.
        reason: why it was kept in full precision; empty for a binarized layer.
        parameters: their number, shared ones once.
        output_shape: of one example; empty where no forward reached it.
        aliases: other names of the same module.
        slow: why 1 bit makes a binarized layer no faster (`bibench.nn.gains.no_gain`); else empty.
    """

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
    slow: str = ""

    @property
    def precision(self) -> str:
        """Like ``W1A1``."""
        return f"W{self.weight_bits}A{self.activation_bits}"


@dataclass
class Audit:
    """All of a model that holds weights (`rows`), the products between, and its other parameters (norms, scales).

    Attributes:
        warnings: a sentence for each 1-bit layer whose signs are all the same, as behind a ReLU.
        uncounted: operations that the traced forward called and whose multiply-accumulates are not known, by name.
        traced: whether a forward was traced; without one, multiply-accumulates are unknown.
        unproved: why `bibench.binarize` could not prove that its 1-bit layers are what runs; "" where it did.
        other_parameters: number of parameters in no row: norms, scales, biases of other modules.
    """

    rows: list[AuditRow] = field(default_factory=list)
    other_parameters: int = 0
    warnings: list[str] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)
    traced: bool = False
    unproved: str = ""

    @property
    def layers(self) -> list[AuditRow]:
        """The rows of modules: neither single parameters nor the products between layers."""
        return [row for row in self.rows if row.name != BETWEEN and row.kind not in (PARAMETER, "buffer")]

    @property
    def unreached(self) -> list[AuditRow]:
        """The rows with parameters whose work is in no total, as the traced forward did not use them."""
        return [row for row in self.rows if self.traced and row.macs is None and row.parameters]

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
        return f"{self.warnings[0]}{more}. {one_sign.fix(self.warnings[0])}"

    @property
    def slow(self) -> list[AuditRow]:
        """The 1-bit layers that 1 bit makes no faster; `AuditRow.slow` says why."""
        return [row for row in self.rows if row.slow]

    @property
    def keep(self) -> tuple[str, ...]:
        """What `bibench.binarize` takes as `keep` so that these stay in float, beside what is float now."""
        kept = [row for row in self.layers if row.slow or gains.is_float(vars(row))]
        return gains.keep_patterns([r.name for r in kept], [r.name for r in self.binarized if not r.slow])

    @property
    def slowness(self) -> str:
        """All `slow` layers in a few words, with the fix; "" if there are none."""
        told = gains.told({row.name: row.slow for row in self.slow}, len(self.binarized))
        return f"{told}. {gains.fix(self.keep)}" if told else ""

    def _problem(self) -> list[str]:
        told = [f"warning: {text}" for text in (self.problem, self.slowness) if text]
        return [*told, f"not proved to run as listed: {self.unproved}"] if self.unproved else told

    def _cells(self) -> list[tuple[str, ...]]:
        cells: list[tuple[str, ...]] = [
            (r.name, r.kind, r.precision, r.operator, f"{r.parameters:,}", _count(r.macs), r.reason) for r in self.rows
        ]
        if self.other_parameters:
            other = f"{self.other_parameters:,}"
            cells.append(("(norms, scales, ...)", "", "W32", "", other, "", ""))
        return cells

    def summary(self) -> str:
        """One line: how many layers, parameters and multiply-accumulates are binary, and what they are a share of."""
        text = f"{len(self.binarized)} of {len(self.layers)} weight layers binarized; W1: {self._shares()}"
        if self.quantized:
            kinds = ", ".join(dict.fromkeys(row.precision for row in self.quantized))
            text += f"; {len(self.quantized)} quantized ({kinds})"
        text += "".join(f"; {told}" for told in self.left_out())
        if self.warnings:
            text += f"; layers that see no negative value: {len(self.warnings)}"
        if self.slow:
            text += f"; layers that 1 bit makes no faster: {len(self.slow)}"
        return text

    def _shares(self) -> str:
        text = _share(self.parameters_by_bits().get(1, 0), self.parameters, "parameters")
        macs = self.macs_by_bits()
        total = sum(macs.values()) if self.traced else 0
        if total:
            text += f"; W1A1: {_share(macs.get((1, 1), 0), total, 'traced multiply-accumulates (per example)')}"
        return text

    def left_out(self) -> list[str]:
        """What the number of multiply-accumulates leaves out, in a few words each."""
        if not self.traced:
            return ["multiply-accumulates are unknown: no forward was traced (give example_inputs)"]
        told = []
        if missing := [row.name for row in self.unreached]:
            told.append(f"not in the traced forward, so not counted: {_some(missing)}")
        if self.uncounted:
            told.append(f"not counted, as their work is not known: calls of {_some(self.uncounted)}")
        return told

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
            keyword arguments); without it, multiply-accumulates are unknown.
        model: any module; it is not changed.
    """
    calls = trace(model, example_inputs) if example_inputs is not None else {}
    return build(model, calls, {})


def build(model: nn.Module, calls: Mapping[nn.Module, Call], reasons: Mapping[nn.Module, str]) -> Audit:
    """The audit of `model` from traced `calls` and the `reasons` why layers were kept.

    Multiply-accumulates are those of the forward that was traced (`Calls.work`); they are unknown without one.
    """
    work = calls.work if isinstance(calls, Calls) else None
    listing = Listing(model, weight_layers(model), calls.keys(), work)
    result = Audit(traced=work is not None)
    for entry in listing.entries:
        module = entry.module
        call, reason = calls.get(module), reasons.get(module, "") if entry.layer else _foreign(entry)
        result.rows.append(_row(entry, call, work, reason))
        if entry.layer and (warning := one_sign.one_sign(module, entry.names[0], call)):
            result.warnings.append(warning)
    total = listing.between + sum(row.macs or 0 for row in result.rows)
    result.rows = [
        replace(row, slow=_slow(entry, calls.get(entry.module), total))
        for row, entry in zip(result.rows, listing.entries, strict=True)
    ]
    if listing.between:
        facts: dict[str, Any] = {"weight_bits": 32, "activation_bits": 32, "operator": "", "parameters": 0}
        result.rows.append(AuditRow(BETWEEN, "products", reason=WITHOUT_WEIGHTS, macs=listing.between, **facts))
    held = {id(p) for entry in listing.entries for p in entry.parameters}
    result.other_parameters = sum(p.numel() for p in model.parameters() if id(p) not in held)
    result.uncounted = sorted(work.uncounted) if work else []
    return result


def _slow(entry: Entry, call: Call | None, total: int) -> str:
    """Why 1 bit makes a layer no faster, or ""."""
    module = entry.module
    if not (entry.layer and isinstance(module, BinaryLayer)) or module.operator.weight_bits != 1:
        return ""
    return gains.no_gain(module.spec, call.output_shape if call else (), total)


def _row(entry: Entry, call: Call | None, work: Work | None, reason: str) -> AuditRow:
    module = entry.module
    kind, shape = _kind(entry), call.output_shape if call else ()
    weight_bits = activation_bits = 32
    operator = ""
    if entry.layer and isinstance(module, BinaryLayer):
        op = module.operator
        kind, operator = module.spec.kind, op.name
        weight_bits, activation_bits = op.weight_bits, op.activation_bits
        shape = module.spec.output_shape
    elif entry.layer and isinstance(module, Attention | BinarizableEmbedding):
        kind, operator = module.kind, module.operator_name
        weight_bits, activation_bits = module.weight_bits, module.activation_bits
    return AuditRow(
        name=entry.names[0] or "(the model itself)",
        kind=kind,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        operator=operator,
        reason=reason,
        parameters=sum(p.numel() for p in entry.parameters),
        macs=_macs(entry, work),
        output_shape=shape,
        aliases=tuple(entry.names[1:]),
    )


def _kind(entry: Entry) -> str:
    module = entry.module
    if entry.weight:
        return PARAMETER if entry.weight in module._parameters else "buffer"
    if type(module) in (nn.Conv1d, nn.Conv2d, nn.Linear):
        return of_layer(module).kind
    return str(getattr(module, "original_name", "")) or type(module).__name__


def _foreign(entry: Entry) -> str:
    """Why what is no known layer stays as it is."""
    if entry.weight:
        return f"{type(entry.module).__name__} uses it itself, without a layer"
    if isinstance(entry.module, torch.jit.ScriptModule):
        return "a scripted module, whose layers cannot be replaced: binarize it first, then script it"
    return f"{_kind(entry)} has no binarized form"


def _macs(entry: Entry, work: Work | None) -> int | None:
    module = entry.module
    if work is None:
        return module.macs if isinstance(module, Attention | BinarizableEmbedding) else None
    if not entry.reached:
        return None
    return entry.macs + (work.layer_macs(module) if entry.layer else 0)


def attention_macs(call: Call) -> int | None:
    """Multiply-accumulates of the scores and of the context of all calls: T·S·d + T·S·e per head.

    Where queries have no batch axis, each is an example.
    """
    return call.macs


def _share(part: int, whole: int, of: str) -> str:
    """Like ``1, 50.0 % of 2 parameters``."""
    return f"{part:,}, {100 * part / max(1, whole):.1f} % of {whole:,} {of}"


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
