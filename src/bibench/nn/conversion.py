"""`binarize`: convert the layers of any model to binarized ones, and say what was done."""

from __future__ import annotations

import difflib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from bibench.foundation.blame import told
from bibench.foundation.choice import choice
from bibench.foundation.errors import (
    BiBenchError,
    BinarizationWarning,
    ConversionError,
    DefinitionError,
    DefinitionWarning,
    SpeedWarning,
)
from bibench.foundation.slips import CLOSE
from bibench.kernels.spec import LayerSpec, of_layer
from bibench.nn import auditing, fast_paths, latent
from bibench.nn.attention import Attention, BinaryAttention
from bibench.nn.auditing import Audit
from bibench.nn.calls import Call, trace, weight_layers
from bibench.nn.embedding import BinarizableEmbedding, BinaryEmbedding
from bibench.nn.layers import BINARY_LAYERS, BinaryLayer
from bibench.nn.proving import Proof, prove_traced
from bibench.nn.undo import Before
from bibench.operators import OPERATORS, Operator, building
from bibench.operators.shapes import first_problem

OperatorLike = str | type[Operator]
OperatorChoice = OperatorLike | Mapping[str, OperatorLike | None] | Callable[[str, nn.Module], OperatorLike | None]
Keep = Iterable[str] | Callable[[str, nn.Module], bool | str]

MARK = "full_precision_layers"
"""Attribute by which a model marks layers to keep: a mapping of name (or pattern) to reason."""

FIXED_FORMS: dict[type[nn.Module], type[BinaryAttention] | type[BinaryEmbedding]] = {
    Attention: BinaryAttention,
    BinarizableEmbedding: BinaryEmbedding,
}
"""What has one binarized form, whatever the operator."""

COMPUTING = ("forward", "_conv_forward", "__call__")
"""The methods by which a layer computes."""


def binarize(
    model: nn.Module,
    operator: OperatorChoice,
    *,
    example_inputs: Any,
    keep: Keep | None = None,
    pad_value: float = 0.0,
    **options: Any,
) -> Audit:
    """Binarize a model in place and return the audit of what was replaced and what was kept.

    Every `nn.Conv1d`, `nn.Conv2d` and `nn.Linear` that `keep` does not exclude becomes a binarized
    layer with the same parameters under the same state-dict keys. Nothing changes if anything fails.
    One more forward, without hooks and gradients, proves that the 1-bit layers are what runs (`bibench.nn.proving`):
    those that are passed by, or whose weight is read by others, stay as they were. Encoders of PyTorch with
    1-bit layers are told to call them (`bibench.nn.fast_paths`).
    `bibench.nn.attention.Attention` becomes bi-attention and `bibench.nn.embedding.BinarizableEmbedding` gets
    1-bit rows, the same for every operator (but stay as they are where it is ``fp32`` or a comparator).

    Args:
        model: a plain module (not wrapped by DDP, compiled or scripted).
        operator: a name (see ``bibench list operators``), also with options as ``recu[scale_init=weight]``, or
            an `Operator` subclass; or one per layer: a mapping of name patterns to operators (first match
            decides, None keeps the layer) or a function of (name, module).
        example_inputs: what the model is called with: a tensor, a tuple of positional or a dict of
            keyword arguments. One forward in evaluation mode tells order and shapes of the layers.
        keep: layers that stay full precision. Default: the first and the last weight layer of the
            traced forward, and what the model marks itself. ``()`` keeps none; names or patterns
            (``"head*"``) keep those; a function of (name, module) decides (a string is the reason).
        pad_value: what zero-padded convolutions see at the border after the sign: 0 (default), 1 or -1.
        **options: options of the operator, such as ``profile="original"``.

    Warns:
        BinarizationWarning: no input of a 1-bit layer is negative in the traced forward, as behind a ReLU; or many of
            its weights are exactly 0, as pruning leaves them.
        SpeedWarning: 1 bit makes layers no faster, such as depthwise convolutions; with the `keep` that helps.

    Raises:
        ConversionError: a wrapped or already binarized model, or nothing left to replace, or a model that fails
            with binarized layers.
        UnknownNameError: no such operator.
        BiBenchError: an option the operator does not have, or a pattern that matches no layer.
    """
    _check_model(model)
    calls = trace(model, example_inputs)
    called = Counter({module: call.count for module, call in calls.items()})
    converted, reasons = resolve(model, operator, calls, keep=keep, pad_value=pad_value, options=options)
    unproved = _convert(model, converted, calls, reasons, lambda: prove_traced(model, calls.arguments, called))
    audit = auditing.build(model, calls, reasons)
    audit.unproved = unproved
    if audit.warnings:
        warnings.warn(audit.problem, BinarizationWarning, stacklevel=2)
    if audit.slow:
        warnings.warn(audit.slowness, SpeedWarning, stacklevel=2)
    signed = [(n, m) for n, m in model.named_modules() if isinstance(m, BinaryLayer | BinaryEmbedding)]
    if told := latent.zeros_told(signed):
        warnings.warn(told, BinarizationWarning, stacklevel=2)
    return audit


def _convert(
    model: nn.Module,
    converted: list[tuple[nn.Module, Operator | None]],
    calls: dict[nn.Module, Call],
    reasons: dict[nn.Module, str],
    prove: Callable[[], Proof],
) -> str:
    """Convert in place; what fails the proof goes back, for `reasons` that are added. Why there is no proof, or ""."""
    before, switched = Before(), fast_paths.Switched()
    known = {module: dict(op.named_parameters()) for module, op in converted if op is not None}
    try:
        for module, op in converted:
            before.save(module)
            for method in COMPUTING:
                vars(module).pop(method, None)  # that of its class, see `_unfit`
            if op is None:
                FIXED_FORMS[type(module)].convert_(module, _fixed_macs(module, calls))
            else:
                BINARY_LAYERS[_float_class(module)].convert_(module, op)
        while before:
            switched = fast_paths.switch_off(model, before)
            proof = prove()
            if not proof.failed:
                for module, op in converted:
                    building.check_parameters(op, known.get(module, {}))
                return proof.skipped
            fast_paths.switch_back(switched)
            before.restore(proof.failed)
            reasons |= proof.failed
        raise ConversionError(_nothing(weight_layers(model), reasons))
    except BaseException as error:
        fast_paths.switch_back(switched)
        before.restore()
        if isinstance(error, BiBenchError) or not isinstance(error, Exception):
            raise
        pairs = ((op, module.weight) for module, op in converted if op is not None)
        if problem := first_problem(pairs):  # type: ignore[arg-type]
            raise DefinitionError(problem) from error
        raise ConversionError(f"the model fails with binarized layers: {told(error)}") from error


def resolve(
    model: nn.Module,
    operator: OperatorChoice,
    calls: dict[nn.Module, Call],
    *,
    keep: Keep | None = None,
    pad_value: float = 0.0,
    options: dict[str, Any] | None = None,
) -> tuple[list[tuple[nn.Module, Operator | None]], dict[nn.Module, str]]:
    """What `binarize` would do, given the traced `calls`: layers with their operators (None for one of
    `FIXED_FORMS`), and kept layers with the reason. Builds the operators but changes nothing."""
    if pad_value not in (0, 1, -1):
        raise BiBenchError(f"pad_value must be 0, 1 or -1 (the border after the sign); got {pad_value!r}")
    options = options or {}
    layers = weight_layers(model)
    choose = _chooser(operator, options, [names[0] for names in layers.values()])
    reasons = _kept(model, layers, calls, keep)
    converted: list[tuple[nn.Module, Operator | None]] = []
    for module, names in layers.items():
        if module in reasons:
            continue
        reason, rule = _unfit(module, calls), choose(names[0], module)
        if reason or rule is None:
            reasons[module] = reason or "no operator chosen for it"
            continue
        cls, own = rule
        if type(module) in FIXED_FORMS:
            if cls.full_precision or cls.comparator:
                reasons[module] = f"operator {cls.name}"
            else:
                converted.append((module, None))
            continue
        spec = _spec(module, calls[module], names[0], float(pad_value))
        converted.append((module, _build(cls, spec, module, own)))
    if not converted:
        raise ConversionError(_nothing(layers, reasons))
    return converted, reasons


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ConversionError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    wrappers = {
        "DataParallel": "model.module",
        "DistributedDataParallel": "model.module",
        "FullyShardedDataParallel": "model.module",
        "OptimizedModule": "model._orig_mod",
        "_FabricModule": "model.module",
    }
    kind = type(model).__name__
    if kind in wrappers:
        raise ConversionError(
            f"model is wrapped ({kind}); binarize {wrappers[kind]} first and wrap it again afterwards"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise ConversionError("model is a ScriptModule, whose layers cannot be replaced; binarize the original")
    for name, module in model.named_modules():
        if isinstance(module, BinaryLayer | BinaryAttention | BinaryEmbedding):
            by = module.operator.name if isinstance(module, BinaryLayer) else module.operator_name
            raise ConversionError(
                f"model is already binarized (layer {name!r} has operator {by!r}); start from the float model"
            )


Chosen = tuple[type[Operator], dict[str, Any]]
"""An operator and the options it is built with."""


def _chooser(
    chosen: OperatorChoice, options: dict[str, Any], names: Iterable[str]
) -> Callable[[str, nn.Module], Chosen | None]:
    def resolve(operator: OperatorLike | None) -> Chosen | None:
        if operator is None:
            return None
        own = options
        if isinstance(operator, str):
            named = choice(operator)
            operator, own = OPERATORS[named.name], {**options, **named.options}
        if not (isinstance(operator, type) and issubclass(operator, Operator)):
            raise BiBenchError(f"operator must be a name or a subclass of bibench.Operator, got {operator!r}")
        operator.check_options(own)
        return operator, own

    if isinstance(chosen, Mapping):
        rules = [(pattern, resolve(operator)) for pattern, operator in chosen.items()]
        for pattern, _ in rules:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise BiBenchError(f"operator: {pattern!r} {_unmatched(names)}")
        return lambda name, _: next((rule for pattern, rule in rules if fnmatchcase(name, pattern)), None)
    if isinstance(chosen, str | type):
        rule = resolve(chosen)
        return lambda name, module: rule
    if callable(chosen):
        return lambda name, module: resolve(chosen(name, module))
    raise BiBenchError(f"operator must be a name, an Operator class, a mapping or a function; got {chosen!r}")


def _unmatched(names: Iterable[str]) -> str:
    return f"matches no weight layer; the model has: {', '.join(names)}"


def _kept(
    model: nn.Module,
    layers: dict[nn.Module, list[str]],
    calls: dict[nn.Module, Call],
    keep: Keep | None,
) -> dict[nn.Module, str]:
    if keep is None:
        return _default_keep(model, layers, calls)
    if isinstance(keep, str):
        keep = (keep,)
    if callable(keep):
        answers = {m: keep(names[0], m) for m, names in layers.items()}
        return {m: a if isinstance(a, str) else "chosen by keep" for m, a in answers.items() if a}
    patterns = list(keep)
    reasons = {}
    for pattern in patterns:
        matched = [m for m, names in layers.items() if any(fnmatchcase(n, pattern) for n in names)]
        if not matched:
            raise BiBenchError(f"keep={pattern!r} {_unmatched([names[0] for names in layers.values()])}")
        reasons.update(dict.fromkeys(matched, f"chosen by keep ({pattern})"))
    return reasons


def _default_keep(
    model: nn.Module, layers: dict[nn.Module, list[str]], calls: dict[nn.Module, Call]
) -> dict[nn.Module, str]:
    reasons: dict[nn.Module, str] = {}
    _tell_of_misspelled_mark(model)
    for pattern, reason in getattr(model, MARK, {}).items():
        for module, names in layers.items():
            if any(fnmatchcase(name, pattern) for name in names):
                reasons.setdefault(module, reason)
    weighted = [m for m in calls if type(m) not in FIXED_FORMS]
    order = sorted(weighted, key=lambda m: calls[m].order)
    for module, reason in zip((order[:1] + order[-1:]), ("first layer", "last layer"), strict=False):
        reasons.setdefault(module, reason)
    return reasons


def _tell_of_misspelled_mark(model: nn.Module) -> None:
    """Warn of an attribute that is almost the mark by which layers are kept."""
    names = (
        {*vars(model), *(name for cls in type(model).__mro__ for name in vars(cls))} if not hasattr(model, MARK) else ()
    )
    if near := difflib.get_close_matches(MARK, sorted(names), n=1, cutoff=CLOSE):
        kind = type(model).__name__
        text = f"{kind}: nothing asks for {near[0]!r}; did you mean {MARK!r}? No layer is kept by it"
        warnings.warn(text, DefinitionWarning, stacklevel=2)


def _fixed_macs(module: nn.Module, calls: dict[nn.Module, Call]) -> int | None:
    return auditing.attention_macs(calls[module]) if isinstance(module, Attention) else 0


def _float_class(module: nn.Module) -> type[nn.Module]:
    return next(cls for cls in BINARY_LAYERS if isinstance(module, cls))


def _unfit(module: nn.Module, calls: dict[nn.Module, Call]) -> str:
    """Why this layer cannot be binarized, or an empty string."""
    if own := [method for method in vars(module) if method in COMPUTING and not _of_class(module, method)]:
        return (
            f"its instance has a {own[0]} of its own, as hooks of accelerate give it: binarize first, or take them off"
        )
    if type(module) in FIXED_FORMS:
        masked = latent.replaced(module) if isinstance(module, BinarizableEmbedding) else ""
        return masked or ("" if module in calls else "not called in the example forward")
    base = next((cls for cls in BINARY_LAYERS if isinstance(module, cls)), None)
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return "lazy layer without weights yet"
    if base is None:
        return f"{type(module).__name__} has no binarized form"
    if parametrize.is_parametrized(module) or "weight" not in dict(module.named_parameters(recurse=False)):
        return latent.replaced(module) or latent.PARAMETRIZED
    for method in COMPUTING:
        if getattr(type(module), method, None) is not getattr(base, method, None):
            return f"{type(module).__name__} computes its own {method}"
    if module not in calls:
        return "not called in the example forward"
    if not module.weight.is_floating_point():  # type: ignore[operator]
        return f"weight is {module.weight.dtype}"
    return ""


def _of_class(module: nn.Module, method: str) -> bool:
    """Whether an attribute of the instance is the method of its class, as accelerate leaves it behind its hooks."""
    attribute = vars(module)[method]
    own = getattr(attribute, "__self__", None) is module
    return own and getattr(attribute, "__func__", None) is getattr(type(module), method, None)


def _spec(module: nn.Module, call: Call, name: str, pad_value: float) -> LayerSpec:
    return of_layer(
        module,
        pad_value=pad_value,
        input_shape=call.input_shape,
        output_shape=call.output_shape,
        name=name,
    )


def _build(cls: type[Operator], spec: LayerSpec, module: nn.Module, options: dict[str, Any]) -> Operator:
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    op = building.build(cls, spec, options).to(device=weight.device, dtype=weight.dtype)
    if not weight.requires_grad:
        op.requires_grad_(False)
    with torch.no_grad():
        op.reset_parameters(weight)
    return op


def _nothing(layers: dict[nn.Module, list[str]], reasons: dict[nn.Module, str]) -> str:
    if not layers:
        return "nothing to binarize: the model has no convolution or linear layer"
    kept = "; ".join(f"{names[0] or 'the model itself'}: {reasons.get(m, '?')}" for m, names in layers.items())
    return f"nothing to binarize: every weight layer is kept ({kept}). keep=() keeps none"
