"""The canonical graph: a trained model as one ONNX model with 1-bit operators, from which all engines start.

Everything that is not binarized is standard ONNX of `OPSET`. The binarized layers are single nodes of the
domain `bibench`, named as the layers; `passes` folds into them what follows them.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from bibench.deploy import domain, operations
from bibench.deploy.calling import Example, on_cpu, unwrapped
from bibench.deploy.freezing import freeze
from bibench.deploy.frozen import LEFT, Frozen
from bibench.deploy.parts import deployable_part
from bibench.foundation.errors import BiBenchError, UnsupportedError, require
from bibench.nn.auditing import Audit
from bibench.nn.auditing import audit as audit_of

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

OPSET = 20
"""Of the standard operators."""
BATCH = "batch"
DEPENDS_ON_VALUES = ("GuardOnDataDependentSymNode", "PendingUnbackedSymbolNotFound", "DynamicOutputShapeException")
"""Errors of the tracer whose cause is a forward that is no fixed graph."""


@dataclass
class Canonical:
    """A model ready for engines.

    Attributes:
        model: the graph (`onnx_ir.Model`); `proto` is it as protobuf.
        frozen: the same as a PyTorch module, without folding.
        example: inputs that the graph was traced with, at least two examples.
        audit: of the trained model.
        notes: what a user should know: what was left out, what could not be done.
        folded: how often each pass applied.
        dynamic: whether the batch is open.
        winograd: whether engines may compute float convolutions by algorithms that round differently.
    """

    model: ir.Model
    frozen: nn.Module
    example: Example
    audit: Audit
    notes: list[str] = field(default_factory=list)
    folded: dict[str, int] = field(default_factory=dict)
    dynamic: bool = True
    winograd: bool = True

    @property
    def proto(self) -> onnx.ModelProto:
        """The graph as protobuf."""
        import onnx_ir as ir

        return ir.to_proto(self.model)

    @property
    def nodes(self) -> dict[str, ir.Node]:
        """The 1-bit nodes by layer name, in the order of the graph."""
        return {n.name or "": n for n in self.model.graph if n.domain == domain.DOMAIN and n.op_type in domain.BINARY}


def canonical(model: nn.Module, example_inputs: Any, *, fold: bool = True) -> Canonical:
    """The canonical graph of a model in evaluation mode, binarized or not.

    Args:
        model: a trained model; it is not changed.
        example_inputs: what it is called with: a tensor, a tuple of positional or a dict of keyword
            arguments. Their first axis is the batch, which the graph leaves open.
        fold: whether norms, biases, residuals and activations are folded into the 1-bit operators.

    Raises:
        BiBenchError: a model in training mode, or inputs that it does not take.
        UnsupportedError: a layer without a 1-bit inference form, or a model that cannot be traced.
    """
    for library in ("onnx", "onnxscript"):
        require(library, extra="deploy", purpose="export")
    if isinstance(model, nn.Module):
        model = unwrapped(model)
    _check(model)
    model = on_cpu(model)
    part, example_inputs, notes = deployable_part(model, example_inputs)
    example = Example.of(example_inputs)
    part.eval()
    example.call(part)
    example = example.repeated()
    frozen = freeze(part, example.args, example.kwargs)
    audit = audit_of(part, example.kwargs or example.args)
    graph, fixed = _trace(frozen, example)
    if fixed:
        notes.append(f"the batch is fixed to {example.batch}: the model's graph depends on it ({fixed})")
    made = Canonical(graph, frozen, example, audit, notes, dynamic=not fixed)
    _name_nodes(graph)
    _name_constants(graph, frozen)
    if fold:
        from bibench.deploy.passes import fold as fold_all

        made.folded = fold_all(graph)
    return made


def _check(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise BiBenchError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if any(p.is_meta for p in model.parameters()):
        raise BiBenchError("the model is on the meta device and has no weights: build and train it on a real one")
    others = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()} - {"float32"}
    if others:
        raise BiBenchError(
            f"the model has {min(others)} parameters; engines compute in float32: export (and verify) "
            "copy.deepcopy(model).float(), with float32 inputs"
        )
    if model.training:
        raise BiBenchError("the model is in training mode, where norms and dropout differ: call model.eval() first")
    if any(m.training and isinstance(m, nn.modules.batchnorm._BatchNorm | nn.Dropout) for m in model.modules()):
        raise BiBenchError("a norm or dropout of the model is in training mode: call model.eval() first")


def _trace(frozen: nn.Module, example: Example) -> tuple[ir.Model, str]:
    """The graph, and why its batch is fixed ("": it is open)."""
    failure = ""
    for dynamic in (True, False):
        try:
            with _quiet():
                program = torch.onnx.export(
                    frozen,
                    example.args,
                    kwargs=example.kwargs or None,
                    dynamo=True,
                    opset_version=OPSET,
                    input_names=example.names(frozen),
                    custom_translation_table=operations.translations(),
                    dynamic_shapes=dynamic_shapes(frozen, example) if dynamic else None,
                    optimize=True,
                    verbose=False,
                )
        except Exception as error:  # the exporter raises many kinds; what it says is all that helps
            failure = failure or _reason(error)
            continue
        assert program is not None
        if dynamic:
            failure = _name_batch(program.model, example)
        return program.model, failure
    raise UnsupportedError(f"the model cannot be traced to ONNX: {failure}")


def _name_batch(model: ir.Model, example: Example) -> str:
    """Give the open axis its name, which the tracer forgets where an argument is None; why it is fixed, if it is."""
    batched = [v for v, t in zip(model.graph.inputs, example.tensors, strict=True) if example.batched(t)]
    given = batched[0].shape[0] if batched and batched[0].shape is not None else BATCH
    if isinstance(given, int):
        return f"its forward takes {given} examples only"
    if str(given) == BATCH:
        return ""
    values = [*model.graph.inputs, *(output for node in model.graph.all_nodes() for output in node.outputs)]
    for value in values:
        for axis, size in enumerate(value.shape or ()):
            if not isinstance(size, int) and size.value is not None:
                value.shape[axis] = re.sub(rf"\b{re.escape(str(given))}\b", BATCH, size.value)  # type: ignore[index]
    return ""


def dynamic_shapes(model: nn.Module, example: Example) -> Any:
    """The open batch axis of each input, as `torch.export` takes it: by the names of the model's parameters."""
    axis = torch.export.Dim(BATCH)
    arguments = inspect.signature(model.forward).bind(*example.args, **example.kwargs).arguments
    return tree_map(lambda value: {0: axis} if example.batched(value) else None, arguments)


@contextlib.contextmanager
def _quiet() -> Any:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = f"{type(error).__name__}: {' '.join(lines[:3])[:400]}"
    if type(error).__name__ in DEPENDS_ON_VALUES:
        told = f"its forward decides by the values of a tensor (if, while, a length); use torch.where instead ({told})"
    return told


def _name_nodes(model: ir.Model) -> None:
    """Name each node of the domain as its layer.

    What the tracer noted beside the graph (stack traces with the paths of this machine) is dropped.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)
    for node in model.graph:
        if node.domain == domain.DOMAIN:
            node.name = node.attributes.pop("layer").as_string()


def _name_constants(model: ir.Model, frozen: nn.Module) -> None:
    """Name the packed tensors of each layer as the layer's own: ``L.weight`` is what the file holds of its weight.

    Unless the layer's float tensor of that name is in the graph, too, because a forward computes with it.
    """
    names: dict[str, str] = {}
    for layer, module in frozen.named_modules():
        if isinstance(module, Frozen):
            start = f"{layer}." if layer else ""
            names |= {f"{start}{LEFT}.{name}": f"{start}{name}" for name in module.operator._buffers}
    values = list(model.graph.initializers.values())
    taken = {value.name for value in values}
    for value in values:
        model.graph.initializers.pop(value.name or "")
    for value in values:  # all of them, in their order
        name = names.get(value.name or "")
        if name and name not in taken:
            said, says = (one.replace(".", "_") for one in (value.name or "", name))  # by the tracer, beside the value
            value.metadata_props.update({k: v.replace(said, says) for k, v in value.metadata_props.items()})
            value.name = name
            if value.const_value is not None:
                value.const_value.name = name
        model.graph.register_initializer(value)
