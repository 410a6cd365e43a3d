"""Which errors a function can raise: by itself, by private helpers beside it, and by what it calls as a check."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from bibench.foundation.errors import BiBenchError, UnknownNameError
from bibench.foundation.registry import Registry

NO_ERRORS = (NotImplementedError, StopIteration, AttributeError, AssertionError)
"""Of abstract methods, iterators, attributes that are not there, and code that is wrong."""
CHECKS = re.compile(r"_?(check|require|expect|refuse|choice)(_\w+)?")
"""Names of what is called to check something."""
LIBRARIES = sys.stdlib_module_names | {"torch", "numpy"}
"""What is not looked into."""


def raised(function: Callable[..., Any]) -> dict[str, set[str]]:
    """Errors by name, each with the names of the wider ones of BiBench that it is one of."""
    kinds = _kinds(inspect.unwrap(function))
    return {k.__name__: {base.__name__ for base in k.__mro__[1:] if issubclass(base, BiBenchError)} for k in kinds}


@cache
def _kinds(function: Callable[..., Any]) -> frozenset[type[Exception]]:
    """The classes of errors, not those of functions that are being looked into already."""
    return frozenset(_walked(function, ()))


def _walked(function: Any, seen: tuple[Any, ...]) -> Iterator[type[Exception]]:
    if not inspect.isfunction(function) or function in seen or function.__module__.partition(".")[0] in LIBRARIES:
        return
    if function.__code__.co_filename == "<string>":  # made by a dataclass
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    known = function.__globals__ | _imported(tree) | _own_class(function)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from _of_class(_raised(node.exc, known))
        elif isinstance(node, ast.Call):
            called = _value(node.func, known)
            name, beside = getattr(called, "__name__", ""), getattr(called, "__module__", "") == function.__module__
            if CHECKS.fullmatch(name) or (beside and name.startswith("_")):
                yield from _walked(inspect.unwrap(called), (*seen, function))
        elif isinstance(node, ast.Subscript) and isinstance(_value(node.value, known), Registry):
            asked = {name.id for name in ast.walk(node.slice) if isinstance(name, ast.Name)} - {"self", "cls"}
            if asked & set(inspect.signature(function).parameters):  # names that users give, not those of a catalogue
                yield UnknownNameError


def _of_class(kind: Any) -> Iterator[type[Exception]]:
    if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, NO_ERRORS):
        yield kind


def _raised(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """The class of what is raised: called or not, or what a helper says that it returns."""
    value = _value(node.func if isinstance(node, ast.Call) else node, known)
    if inspect.isfunction(value):
        said = value.__annotations__.get("return")
        return value.__globals__.get(said) if isinstance(said, str) else said
    return value


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """What a name or a dotted name stands for, as far as that is known without running anything."""
    if isinstance(node, ast.Name):
        return known.get(node.id, getattr(builtins, node.id, None))
    if isinstance(node, ast.Attribute):
        return inspect.getattr_static(_value(node.value, known), node.attr, None)
    return None


def _imported(tree: ast.AST) -> dict[str, Any]:
    """What the code itself imports from `bibench`."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("bibench")]
    return {p.asname or p.name: getattr(import_module(str(n.module)), p.name, None) for n in found for p in n.names}


def _own_class(function: Callable[..., Any]) -> dict[str, Any]:
    """The class of a method, as ``self`` and ``cls``."""
    owner = function.__globals__.get(function.__qualname__.split(".")[0]) if "." in function.__qualname__ else None
    return {"self": owner, "cls": owner} if inspect.isclass(owner) else {}
