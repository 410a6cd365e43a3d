"""A model of one's own, built by a function of a Python file: ``net.py:build``."""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from bibench.foundation.errors import BiBenchError
from bibench.foundation.registry import fault, import_file

OPTION = "--factory"
EXAMPLE = "net.py:build"


class Built(NamedTuple):
    """What a factory gave.

    Attributes:
        model: on the CPU, with the weights that it was built with.
        example_inputs: what it is called with; None where the factory gives the model alone.
        name: ``net.build``, for records.
    """

    model: nn.Module
    example_inputs: Any
    name: str


def build(given: str) -> Built:
    """Call the factory that is named as ``file.py:function``; importing the file runs it.

    It takes no arguments and returns a module, or a tuple of a module and its example inputs.

    Raises:
        BiBenchError: there is no such file or function, it needs arguments, raises, or returns no module.
    """
    place, colon, name = given.rpartition(":")
    if not colon or not name.isidentifier():
        raise BiBenchError(f"{OPTION} {given}: expected a Python file and a function of it, as in: {EXAMPLE}")
    file, module = import_file(place, OPTION)
    function = _function(module, name, given)
    made = _call(function, file, given)
    model, *inputs = made if isinstance(made, tuple) else (made,)
    if not isinstance(model, nn.Module) or len(inputs) > 1:
        raise BiBenchError(
            f"{OPTION} {given} returned {_described(made)}, expected a torch.nn.Module, or a tuple of it and its "
            "example inputs"
        )
    return Built(model.cpu(), inputs[0] if inputs else None, f"{file.stem}.{name}")


def _function(module: ModuleType, name: str, given: str) -> Any:
    """What `name` is in the file, which has to be callable without arguments."""
    own = sorted(n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__)
    found = getattr(module, name, None)
    if not callable(found):
        near = difflib.get_close_matches(name, own, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it defines: {', '.join(own) or 'none'}"
        what = (
            "the file has no function of that name"
            if found is None
            else f"it is of type {type(found).__name__}, no function"
        )
        raise BiBenchError(f"{OPTION} {given}: {what}; {hint}")
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # of a builtin that does not tell
        return found
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if needed := [p.name for p in parameters if p.default is p.empty and p.kind not in variable]:
        raise BiBenchError(
            f"{OPTION} {given} needs arguments ({', '.join(needed)}), and is called without any; give them "
            f"defaults, or name a function that calls it: def build(): return {name}(...)"
        )
    return found


def _call(function: Any, file: Path, given: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise BiBenchError(f"{OPTION} {given} raised, {fault(file, error)}") from error


def _described(made: Any) -> str:
    """What a factory gave that is no module, in words."""
    if isinstance(made, tuple):
        return f"a tuple of {', '.join(type(one).__name__ for one in made) or 'nothing'}"
    if inspect.isclass(made) and issubclass(made, nn.Module):
        return f"the class {made.__name__} (call it: {made.__name__}())"
    return "nothing" if made is None else f"{type(made).__name__}"
