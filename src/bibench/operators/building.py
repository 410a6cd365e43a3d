"""An operator built for its layer, with an error that names the line where its class forgets to build its base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from bibench.foundation.blame import assignment, first_line, told, users_line
from bibench.foundation.errors import BiBenchError, DefinitionError
from bibench.kernels.spec import LayerSpec
from bibench.operators.base import Operator


def build(cls: type[Operator], spec: LayerSpec, options: Mapping[str, Any]) -> Operator:
    """An operator of a class for a layer.

    Raises:
        DefinitionError: its constructor does not build its base, or sets something before.
    """
    op = cls.__new__(cls)
    try:
        op.__init__(spec, **options)  # type: ignore[misc]
    except BiBenchError:
        raise
    except Exception as error:
        if "_parameters" not in vars(op):
            first = "something is set on it before super().__init__(spec) has run"
            raise DefinitionError(_unbuilt(cls, first, users_line(error))) from error
        raise DefinitionError(f"operator {cls.name!r} cannot be built: {told(error)}") from error
    if "_parameters" not in vars(op) or "spec" not in vars(op):
        raise DefinitionError(
            _unbuilt(cls, "its __init__ never calls super().__init__(spec)", first_line(cls.__init__))
        )
    return op


def check_parameters(op: Operator | None, before: Mapping[str, nn.Parameter]) -> None:
    """Raise `DefinitionError` when an operator has other parameters than it was built with.

    Args:
        before: those that it was built with, by name.
    """
    made = [n for n, p in op.named_parameters() if before.get(n) is not p] if op is not None else []
    if op is None or not made:
        return
    where = next((line for c in type(op).__mro__ if (line := assignment(c, made[0]))), "")
    raise DefinitionError(
        f"operator {op.name!r}: its forward created parameters, which no optimizer would train: {', '.join(made)}; "
        f"create them in __init__, from the LayerSpec, and give them values in reset_parameters{_at(where)}"
    )


def _unbuilt(cls: type[Operator], what: str, line: str) -> str:
    fix = "let __init__ begin with super().__init__(spec, profile=profile), or super().__init__(spec)"
    return f"operator {cls.name!r}: {what}; {fix}{_at(line)}"


def _at(line: str) -> str:
    return f" ({line})" if line else ""
