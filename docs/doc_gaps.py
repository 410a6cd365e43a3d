"""What the API reference lacks: parameters, shapes, units, errors and sources that the docstrings do not tell.

python docs/doc_gaps.py     one line for each gap; exit 1 if there is one

`doc_rules.py` has the rules, `doc_errors.py` finds what a function can raise.
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

import doc_errors
import doc_rules
import faces

from bibench.comparators.compressor import COMPRESSORS
from bibench.kernels.surrogate import Surrogate
from bibench.operators import OPERATORS
from bibench.recipes.distillation import METHODS
from bibench.tasks import TASKS
from bibench.tracks import TRACKS


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
    yield from sourceless()


def of(value: Any, text: str) -> Iterator[str]:
    """Gaps in the `text` of one function, class, property or other value."""
    if not text.strip():
        yield "no docstring"
        return
    computed = value.fget if isinstance(value, property) else getattr(value, "func", value)
    if not callable(computed):
        return
    told = doc_rules.read(text + _page(text), _fields(value) if inspect.isclass(value) else {})
    parameters, returned = _signature(computed)
    name = "" if inspect.isclass(value) else computed.__name__
    yield from doc_rules.unnamed(told, parameters)
    yield from doc_rules.shapeless(told, parameters, returned)
    yield from doc_rules.unitless(told, parameters, name, returned)
    for function in _run(computed):
        yield from doc_rules.unraised(told, doc_errors.raised(function))


def sourceless() -> Iterator[str]:
    """What should name its source and does not."""
    yield from (f"{name}: names no source" for name, text in sourced().items() if not doc_rules.has_source(text))


def sourced() -> dict[str, str]:
    """What has to name its source, with all that it says: operators, estimators, tracks, metrics, losses, estimates."""
    found = {f"operator {name}": f"{OPERATORS[name].paper} {OPERATORS[name].__doc__}" for name in OPERATORS}
    found |= {f"compressor {name}": f"{COMPRESSORS[name].paper} {COMPRESSORS[name].__doc__}" for name in COMPRESSORS}
    found |= {f"estimator {kind.__qualname__}": kind.__doc__ or "" for kind in _estimators(Surrogate)}
    found |= {f"track {name}": f"{TRACKS[name].equation} {TRACKS[name].score.__doc__}" for name in TRACKS}
    found |= {f"distillation {name}": how.combine.__doc__ or "" for name, how in METHODS.items() if how}
    for task in (TASKS[name] for name in TASKS):
        for function in (task.evaluate, task.loss, task.distillation_loss):
            found[f"{function.__module__}.{function.__qualname__}"] = function.__doc__ or ""
    functions = [m for members in faces.public().values() for m in members if m.kind == "function"]
    return found | {f"{m.face}.{m.name}": m.text for m in functions if _estimates(m.value)}


def _estimates(function: Callable[..., Any]) -> bool:
    """Whether a function gives a number, or something of a confidence `level`: by some formula."""
    parameters, returned = _signature(function)
    return returned == "float" or "level" in parameters


def _estimators(kind: type[Surrogate]) -> Iterator[type[Surrogate]]:
    for derived in kind.__subclasses__():
        if derived.__module__.startswith("bibench."):
            yield derived
            yield from _estimators(derived)


def _of_methods(whole: str, cls: type) -> Iterator[str]:
    for name, found in vars(cls).items():
        if name.startswith("_") or not (inspect.isroutine(found) or isinstance(found, property | cached_property)):
            continue
        method = getattr(cls, name) if inspect.isroutine(found) else found
        method = getattr(method, "__func__", method)
        yield from (f"{whole}.{name}: {gap}" for gap in of(method, inspect.getdoc(getattr(cls, name)) or ""))


def _run(value: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The functions that a call runs: of a class those that make an object."""
    if not inspect.isclass(value):
        return [value] if inspect.isfunction(value) else []
    return [vars(value)[name] for name in ("__init__", "__post_init__") if inspect.isfunction(vars(value).get(name))]


def _signature(value: Callable[..., Any]) -> tuple[dict[str, str], str]:
    """Parameters and what is returned, as annotations; not ``self``, nor what is passed on (``**options``)."""
    if inspect.isclass(value) and getattr(value.__init__, "__module__", "").startswith("torch."):
        return {}, ""  # those of the float layer, which PyTorch explains
    try:
        found = inspect.signature(value)
    except ValueError:
        return {}, ""  # of errors, whose constructor is Python's
    own = [p for p in found.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {p.name: str(p.annotation) for p in own if p.name not in ("self", "cls")}, str(found.return_annotation)


def _page(text: str) -> str:
    """What the table of a page says that a docstring leads to, as entries."""
    rows = [
        row
        for page in re.findall(r"See docs/(\w+\.md)", text)
        for row in re.findall(r"^\| (`.*?`) \| (.*) \|$", (faces.DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    entries = ["    " + ", ".join(re.findall(r"`(\w+)`", names)) + f": {said}" for names, said in rows]
    return "\n\nAttributes:\n" + "\n".join(entries) if entries else ""


def _fields(cls: type) -> dict[str, str]:
    """Fields of a class with the string below them."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: str(after.value.value)
        for field, after in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


def main() -> None:
    """Print the gaps."""
    found = list(gaps())
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
