"""Every way to put a wrong value into a JSON document, one place at a time."""

import copy
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (None, True, 3, -1, 0.5, 10**400, float("nan"), float("inf"), "x", "", [], {}, [1], {"a": 1})
"""What stands in the place of each value: other types, and numbers that overflow or are none."""


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document, the document itself first."""
    yield path
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            yield from places(data[key], (*path, key))


def changed(data: Any) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """(path, new value, document) for every place and value, and every member of an object left out (`...`)."""
    for path in places(data):
        for value in VALUES:
            yield path, value, _with(data, path, value)
        if path and isinstance(path[-1], str):
            yield path, ..., _with(data, path, ...)


def _with(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    made = copy.deepcopy(data)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made
