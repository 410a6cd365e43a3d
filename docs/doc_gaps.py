"""What the API reference lacks: public names without text, parameters that it does not name, errors that it leaves out.

python docs/doc_gaps.py     one line for each gap; exit 1 if there is one
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import faces

from bibench.foundation.errors import BiBenchError


def gaps() -> Iterator[str]:
    """All of them, as ``name: what is missing``."""
    seen: set[int] = set()
    for members in faces.public().values():
        for member in members:
            if member.kind == "module" or id(member.value) in seen:
                continue
            seen.add(id(member.value))
            whole = f"{member.face}.{member.name}"
            yield from (f"{whole}: {gap}" for gap in of(member.value, member.text))
            if member.kind == "class":
                yield from _of_methods(whole, member.value)


def of(value: Any, text: str) -> Iterator[str]:
    """Gaps in the `text` of one function, class or other value."""
    if not text.strip():
        yield "no docstring"
        return
    if not callable(value):
        return
    told = names_told(text) | (_told_by_fields(value) if inspect.isclass(value) else set())
    for name in _parameters(value):
        if name not in told:
            yield f"parameter {name} is not named"
    if inspect.isfunction(value) and raises(value) and not re.search(r"\b[Rr]aises\b", text):
        yield "raises a BiBenchError, but has no Raises"


def names_told(text: str) -> set[str]:
    """What a docstring names: words in backticks, entries of its sections, and of the table on the page it leads to."""
    for page in re.findall(r"See docs/(\w+\.md)", text):
        text += "\n".join(re.findall(r"^\| (`.*?) \|", (faces.DOCS / page).read_text(encoding="utf-8"), re.MULTILINE))
    code = " ".join(re.findall(r"`+([^`]+)`+", text))
    entries = re.findall(r"^ {4}\*{0,2}([\w, *]+):", text, re.MULTILINE)
    return set(re.findall(r"\w+", " ".join([code, *entries])))


def _of_methods(whole: str, cls: type) -> Iterator[str]:
    for name, found in vars(cls).items():
        if name.startswith("_") or not (inspect.isroutine(found) or isinstance(found, property | cached_property)):
            continue
        method = getattr(cls, name) if inspect.isroutine(found) else found
        method = getattr(method, "__func__", method)
        yield from (f"{whole}.{name}: {gap}" for gap in of(method, inspect.getdoc(getattr(cls, name)) or ""))


def _parameters(value: Callable[..., Any]) -> list[str]:
    if inspect.isclass(value) and getattr(value.__init__, "__module__", "").startswith("torch."):
        return []  # those of the float layer, which PyTorch explains
    try:
        found = inspect.signature(value).parameters.values()
    except ValueError:
        return []  # of errors, whose constructor is Python's
    own = [p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [name for name in own if name not in ("self", "cls")]


def _told_by_fields(cls: type) -> set[str]:
    """Fields of a class with a string below them."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id
        for field, after in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


def raises(function: Callable[..., Any]) -> bool:
    """Whether a function's own code raises a `BiBenchError`."""
    module = sys.modules[function.__module__]
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            kind = getattr(module, raised.id, None) if isinstance(raised, ast.Name) else None
            if inspect.isclass(kind) and issubclass(kind, BiBenchError):
                return True
    return False


def main() -> None:
    """Print the gaps."""
    found = list(gaps())
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
