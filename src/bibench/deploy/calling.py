"""Example inputs: what a model is called with, checked, named and on the processor."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from bibench.foundation.errors import BiBenchError
from bibench.nn.tracing.inputs import fresh


@dataclass(frozen=True)
class Example:
    """Tensors that a model is called with, by position or name."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Any) -> Example:
        """From a tensor, a tuple of positional or a dict of keyword arguments."""
        if isinstance(inputs, dict):
            example = cls(kwargs={k: _tensor(k, v) for k, v in inputs.items()})
        else:
            given = inputs if isinstance(inputs, tuple | list) else (inputs,)
            example = cls(args=tuple(_tensor(str(i), v) for i, v in enumerate(given)))
        if not example.tensors:
            raise BiBenchError("example_inputs holds no tensor: give what the model is called with")
        empty = [tuple(t.shape) for t in example.tensors if not t.numel()]
        if empty:
            raise BiBenchError(f"example_inputs holds an empty tensor, {empty[0]}: give one example at least")
        return example

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, positional first."""
        return [v for v in (*self.args, *self.kwargs.values()) if v is not None]

    @property
    def batch(self) -> int:
        """Length of the batch axis, the first axis of the first tensor (0 if it has none)."""
        first = self.tensors[0]
        return first.shape[0] if first.dim() else 0

    def batched(self, value: Any) -> bool:
        """Whether `value` is a tensor with the batch axis."""
        return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == self.batch > 0

    def repeated(self) -> Example:
        """At least two examples: a batch of one would be taken for a property of the model."""
        if self.batch != 1:
            return self

        def twice(v: Any) -> Any:
            return torch.cat([v, v]) if self.batched(v) else v

        return Example(tuple(map(twice, self.args)), {k: twice(v) for k, v in self.kwargs.items()})

    def names(self, model: nn.Module) -> list[str]:
        """Names of the tensors: those of the parameters of the model's `forward`."""
        parameters = list(inspect.signature(model.forward).parameters.values())
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            positional = [f"input{i}" for i in range(len(self.args))]
        else:
            positional = [p.name for p in parameters[: len(self.args)]]
        given = dict(zip(positional, self.args, strict=False)) | self.kwargs
        return [name for name, value in given.items() if value is not None]

    def call(self, model: nn.Module) -> Any:
        """The model's outputs without gradients; a `BiBenchError` when it does not take these inputs."""
        try:
            args, kwargs = fresh((self.args, self.kwargs))
            with torch.no_grad():
                return model(*args, **kwargs)
        except BiBenchError:
            raise
        except Exception as error:
            shapes = ", ".join(f"{tuple(t.shape)} {t.dtype}".replace("torch.", "") for t in self.tensors)
            raise BiBenchError(
                f"the model cannot be called with example_inputs ({shapes}): {str(error).splitlines()[0]}"
            ) from error


def unwrapped(model: nn.Module) -> nn.Module:
    """The model in `torch.compile`, `DataParallel` and `DistributedDataParallel`: its layers have their own names."""
    while True:
        if "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def on_cpu(model: nn.Module) -> nn.Module:
    """`model`, or a copy of it on the processor if it is on another device: inputs and proofs are there."""
    held = (*model.parameters(), *model.buffers())
    return model if all(value.device.type == "cpu" for value in held) else copied(model).cpu()


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model`, also where a hook (of pruning, of a norm of weights) left a computed weight in a module.

    PyTorch copies no tensor with a history of gradients; such a weight is computed anew in each forward.
    """
    computed = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor) and not v.is_leaf]
    made = copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in made.named_modules():  # copies of graphs of torch.fx forget theirs
        module.training = modes.get(name, module.training)
    return made


def flat(outputs: Any) -> list[Tensor]:
    """What a model gives, out of tuples, lists and dictionaries, in the order of a graph; numbers as tensors."""
    found = [value for value in tree_leaves(outputs) if isinstance(value, Tensor | bool | int | float)]
    return [torch.as_tensor(value) for value in found]


def arrays(inputs: Sequence[Any]) -> list[NDArray[Any]]:
    """Tensors and whatever else NumPy takes, as arrays; a `BiBenchError` for what it does not take."""
    found = []
    for index, value in enumerate(inputs):
        try:
            found.append(value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value))
        except (TypeError, ValueError) as error:
            raise BiBenchError(f"input {index} cannot be an array ({error}); give it as float32") from error
    return found


def _tensor(name: str, value: Any) -> Tensor | None:
    if value is None or isinstance(value, Tensor):
        return None if value is None else value.detach().cpu()
    raise BiBenchError(f"example_inputs[{name}] must be a tensor, got {type(value).__name__}")
