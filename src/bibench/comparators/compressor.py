"""What may be done to a whole model to compress it: before training, while it trains, and after.

An operator works layer by layer; `LayerByLayer` makes a compressor of it. A pruning method is a compressor of
its own, written in one file with the decorator `compressor`, and named where a cell names its operator.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from torch import Tensor, nn

from bibench.foundation.choice import Choice
from bibench.foundation.errors import BiBenchError, SpeedWarning
from bibench.foundation.registry import Registry, check_name
from bibench.foundation.slips import slips, tell
from bibench.kernels.spec import of_layer
from bibench.nn import layers
from bibench.nn.auditing import Audit
from bibench.nn.calls import Call
from bibench.nn.conversion import binarize, resolve
from bibench.operators import OPERATORS, Method, Operator

COMPRESSORS: Registry[type[Compressor]] = Registry("compressor", "bibench.comparators")


class Compressor(Method):
    """Base class of compressors, which does nothing. One is made for each training, with its options.

    The model is changed in place, by `prepare` before the optimizer exists and by `finish` after training.
    What training has decided must be in the model's state dict, so that a checkpoint continues exactly.
    """

    comparator = True

    def check(self, model: nn.Module, calls: Mapping[nn.Module, Call]) -> None:
        """Raise `UnsupportedError` if it cannot serve `model` (on the meta device); `calls` were traced."""

    def prepare(self, model: nn.Module, example_inputs: Any, *, pad_value: float = 0.0) -> Audit | None:
        """Change the model before training, full-precision weights loaded; an audit if it has one."""

    def progress(self, model: nn.Module, t: float, dt: float) -> None:
        """Before each training step; `t` and `dt` as in `bibench.progress`."""
        layers.progress(model, t, dt)

    def finish(self, model: nn.Module, example_inputs: Any) -> Audit | None:
        """Change the model after training, to what inference runs; an audit if that changed it."""

    def restore(self, model: nn.Module, example_inputs: Any, state: Mapping[str, Tensor], **prepared: Any) -> None:
        """Give the full-precision `model` the form in which the state dict `state` of a finished one fits."""
        self.prepare(model, example_inputs, **prepared)

    def outline(self, model: nn.Module, example_inputs: Any, *, pad_value: float = 0.0) -> nn.Module:
        """`model` in the form that inference will run, as far as that is known without training.

        Raises:
            UnsupportedError: training decides it.
        """
        self.prepare(model, example_inputs, pad_value=pad_value)
        return model


class LayerByLayer(Compressor):
    """An operator as a compressor: it replaces layers before training and leaves them."""

    def __init__(self, operator: type[Operator], options: dict[str, Any]) -> None:
        self.operator, self.given = operator, options

    def check(self, model: nn.Module, calls: Mapping[nn.Module, Call]) -> None:
        seen = set()

        def choose(name: str, module: nn.Module) -> type[Operator] | None:
            """The operator, once for equal layers."""
            geometry = _geometry(module, calls)
            known = geometry in seen
            seen.add(geometry)
            return None if known else self.operator

        resolve(model, choose, dict(calls), options=self.given)

    def prepare(self, model: nn.Module, example_inputs: Any, *, pad_value: float = 0.0) -> Audit:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpeedWarning)  # what stays in float is the benchmark's choice
            return binarize(model, self.operator, example_inputs=example_inputs, pad_value=pad_value, **self.given)


def _geometry(module: nn.Module, calls: Mapping[nn.Module, Call]) -> Any:
    call = calls.get(module)
    if call is None or not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        return module
    return type(module), of_layer(module, input_shape=call.input_shape, output_shape=call.output_shape)


Class = TypeVar("Class", bound=type[Compressor])


def compressor(name: str) -> Callable[[Class], Class]:
    """Class decorator: enter a `Compressor` subclass into the catalogue as `name`."""
    check_name("compressor", name)

    def enter(cls: Class) -> Class:
        if not (inspect.isclass(cls) and issubclass(cls, Compressor)):
            raise BiBenchError(f"@compressor({name!r}) decorates a subclass of Compressor, got {cls!r}")
        if name in OPERATORS:
            raise BiBenchError(f"@compressor({name!r}): an operator has this name; choose another one")
        cls.name = name
        cls.title = cls.title or name
        COMPRESSORS.register(name, cls)
        tell(f"compressor {name!r}: {slip}" for slip in slips(cls, Compressor))
        return cls

    return enter


def method(name: str) -> type[Operator] | type[Compressor]:
    """What a cell means by its operator: a compressor, or an operator; `UnknownNameError` for any other name."""
    meant = name in COMPRESSORS or (name not in OPERATORS and get_close_matches(name, list(COMPRESSORS), cutoff=0.7))
    return COMPRESSORS[name] if meant else OPERATORS[name]


def compressor_of(chosen: Choice) -> Compressor:
    """The compressor of one training."""
    cls = method(chosen.name)
    cls.check_options(chosen.options)
    return LayerByLayer(cls, chosen.options) if issubclass(cls, Operator) else cls(**chosen.options)
