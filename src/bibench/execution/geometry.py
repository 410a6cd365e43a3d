"""Models on the meta device: whether an operator can serve one, and what one costs. No data, no numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bibench.comparators.compressor import compressor_of
from bibench.foundation.choice import Choice
from bibench.foundation.errors import (
    BiBenchError,
    ConversionError,
    DefinitionError,
    ExampleInputsError,
    UnsupportedError,
)
from bibench.nn.auditing import build
from bibench.nn.calls import Call, on_meta, trace
from bibench.nn.tracing.inputs import first_of
from bibench.suite.cell import Cell
from bibench.tasks import TASKS


@dataclass(frozen=True)
class _Traced:
    """A model on the meta device with the calls of its layers."""

    model: nn.Module
    calls: dict[nn.Module, Call]

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one example."""
        return sum(build(self.model, self.calls, {}).macs_by_bits().values())

    def unsupported(self, operator: Choice) -> str:
        """Why the operator cannot serve the model, or an empty string."""
        try:
            with torch.device("meta"):
                compressor_of(operator).check(self.model, self.calls)
        except DefinitionError:  # as below
            pass
        except BiBenchError as error:
            return _by_nature(error, operator)
        except Exception:  # of a stranger's operator; training will tell
            pass
        return ""


class Geometry:
    """Models on the meta device; those that several tasks train alike are traced once."""

    def __init__(self) -> None:
        self._models: dict[tuple[Choice, Choice], _Traced | str] = {}
        self._traced: dict[Any, _Traced] = {}
        self._problems: dict[tuple[int, Choice], str] = {}

    def _model(self, cell: Cell) -> _Traced | str:
        """What is known of the cell's model, or why it cannot be built."""
        key = (cell.task, cell.model)
        if key not in self._models:
            try:
                self._models[key] = self._trace(cell)
            except ExampleInputsError:  # of a stranger's model, which may need values; training will tell
                self._models[key] = ""
            except BiBenchError as error:
                self._models[key] = _by_nature(error, cell.model)
            except Exception:  # as above
                self._models[key] = ""
        return self._models[key]

    def _trace(self, cell: Cell) -> _Traced:
        with torch.device("meta"), _WithoutInitialization():
            task = TASKS[cell.task.name]()
            model, inputs = task.model(cell.model.name, cell.model.options), on_meta(first_of(task.example_inputs()))
            tensors = [*model.named_parameters(), *enumerate(_tensors(inputs))]
            alike = cell.model, repr(model), tuple((name, x.shape, x.dtype) for name, x in tensors)
            if alike not in self._traced:
                self._traced[alike] = _Traced(model, trace(model, inputs))
        return self._traced[alike]

    def unsupported(self, cell: Cell) -> str:
        """Why the combination cannot work, or an empty string."""
        traced = self._model(cell)
        if isinstance(traced, str):
            return traced
        if cell.full_precision:
            return ""
        key = id(traced), cell.operator
        if key not in self._problems:
            self._problems[key] = traced.unsupported(cell.operator)
        return self._problems[key]

    def macs(self, cell: Cell) -> int:
        """Multiply-accumulates of one example, 0 if nothing is known."""
        traced = self._model(cell)
        return 0 if isinstance(traced, str) else traced.macs


class _WithoutInitialization(TorchFunctionMode):
    """Leaves tensors as they come: on the meta device they have no values, and initializing costs a third of a plan."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if getattr(func, "__module__", "") == "torch.nn.init" or name in ("uniform_", "normal_", "fill_", "zero_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _by_nature(error: BiBenchError, chosen: Choice) -> str:
    """The reason why what was `chosen` cannot work; raises the error if one of its options is to blame."""
    if chosen.items and not isinstance(error, UnsupportedError | ConversionError):
        raise error
    return str(error)


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    return [inputs] if isinstance(inputs, Tensor) else [x for item in inputs for x in _tensors(item)]
