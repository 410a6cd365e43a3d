"""A name with options, as users write it: ``resnet20[width=8,stem=cifar]``."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from bibench.errors import BiBenchError

_FORM = re.compile(r"^\s*([\w.+-]+)\s*(?:\[(.*)\])?\s*$", re.DOTALL)
_PLAIN = re.compile(r"^[A-Za-z_][\w.+/-]*$")
_TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|.""", re.DOTALL)
_SCALARS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Choice:
    """A catalogue name and its options, in canonical order, hashable and printable.

    Values are finite numbers, strings, truth values, None, or tuples of them; numbers of NumPy and PyTorch become
    Python's, lists tuples. Raises `BiBenchError` naming the option that is anything else.
    """

    name: str
    items: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if all(type(value) in (str, int, bool) for _, value in self.items):
            return
        object.__setattr__(self, "items", tuple((name, self._accepted(name, value)) for name, value in self.items))

    def _accepted(self, name: str, given: Any) -> Any:
        from bibench.plain import plain_tuple, shown  # seldom needed, and `import bibench` is to stay small

        value = plain_tuple(given)
        if not _is_plain(value):
            raise BiBenchError(
                f"{self.name}[{name}=...]: expected a finite number, a string, True, False, None or a tuple of them; "
                f"got {shown(given)}"
            )
        return value

    @property
    def options(self) -> dict[str, Any]:
        """The options as a dictionary."""
        return dict(self.items)

    def __str__(self) -> str:
        if not self.items:
            return self.name
        return f"{self.name}[{','.join(f'{k}={_format(v)}' for k, v in self.items)}]"

    def fits(self, asked: Choice) -> bool:
        """Whether this is what was `asked` for: the same name, with those options and any others."""
        return self.name == asked.name and set(asked.items) <= set(self.items)

    @property
    def path_name(self) -> str:
        """The same, fit for a file name."""
        return re.sub(r"[^\w.,=+-]", "_", str(self).replace("[", ",").replace("]", ""))


def choice(text: str | Choice, **options: Any) -> Choice:
    """Parse ``name[key=value,...]``; keyword arguments add to the options.

    Values are Python literals (``8``, ``0.5``, ``True``, ``'a, b'``, ``(0.5, 0.75)``); anything else is a string.
    """
    if not isinstance(text, str | Choice):
        raise BiBenchError(f"expected a name or name[option=value,...], got {text!r} of type {type(text).__name__}")
    if isinstance(text, Choice):
        parsed, given = text.name, text.options
    else:
        match = _FORM.match(text)
        if match is None:
            raise BiBenchError(f"{text!r} is not of the form name or name[option=value,...]")
        parsed, given = match[1], _parse_options(match[2] or "", text)
    return Choice(parsed, tuple(sorted({**given, **options}.items())))


@cache
def is_choice(text: str) -> bool:
    """Whether `text` is of the form ``name[key=value,...]``."""
    try:
        choice(text)
    except BiBenchError:
        return False
    return True


def recorded(text: str) -> Choice:
    """What a record's text says: a choice, or where it is not of that form a name as it stands."""
    return choice(text) if is_choice(text) else Choice(text)


def split_list(text: str) -> list[str]:
    """Split ``a,b[x=1,y=2],c`` at the commas outside brackets and quotes."""
    parts, depth, current = [], 0, ""
    for token in _TOKEN.findall(text):
        depth += (token in "[(") - (token in "])")
        if token == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += token
    parts.append(current)
    return [part.strip() for part in parts if part.strip()]


def _parse_options(body: str, text: str) -> dict[str, Any]:
    options = {}
    for part in split_list(body):
        key, equals, value = part.partition("=")
        if not equals or not key.strip().isidentifier():
            raise BiBenchError(f"{text!r}: {part!r} is not of the form option=value")
        options[key.strip()] = _literal(value.strip())
    return options


def _literal(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return value if _is_plain(value) else text


def _is_plain(value: Any) -> bool:
    """Whether `value` can be compared, hashed and written again: a finite number, string, ... or a tuple of them."""
    if isinstance(value, tuple):
        return all(_is_plain(v) for v in value)
    return isinstance(value, _SCALARS) and (not isinstance(value, float) or math.isfinite(value))


def _format(value: Any) -> str:
    return value if isinstance(value, str) and _PLAIN.match(value) and _literal(value) == value else repr(value)
