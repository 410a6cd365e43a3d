"""The shapes that slots of an operator must give, and what to say of one that gives another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bibench.foundation.blame import first_line, last_return, users_line
from bibench.foundation.errors import DefinitionError

if TYPE_CHECKING:
    from bibench.operators.base import Operator


def check_scale(op: Operator, scale: Tensor | None) -> None:
    """Raise `DefinitionError` unless a scale is one factor for each output channel.

    Args:
        scale: of the description; any other shape would be broadcast, or fail far from here.
    """
    if scale is not None and (not isinstance(scale, Tensor) or scale.shape != (op.spec.out_channels,)):
        shape = (op.spec.out_channels,)
        fix = "one factor per output channel, as in w.detach().abs().flatten(1).mean(1)"
        raise DefinitionError(_wrong(op, "scale", scale, shape, type(op).scale, fix))


def check_shapes(op: Operator, w: Tensor, x: Tensor) -> None:
    """Raise `DefinitionError` for the first slot that gives another shape than it must.

    Args:
        w: the latent weight.
        x: an input of the layer, with a batch axis.
    """
    with torch.no_grad():
        check_scale(op, op.scale(w))
        for slot, given in (("activation", x), ("weight", w)):
            found = getattr(op, slot)(given)
            if not isinstance(found, Tensor) or found.shape != given.shape:
                said = "that of what it is given"
                raise DefinitionError(_wrong(op, slot, found, tuple(given.shape), getattr(type(op), slot), said))
        described = op.describe(w)
        check_scale(op, described.scale)
        if op._has("output"):
            y = x.new_zeros(len(x), *op.spec.output_shape)
            found = op.output(y, x)
            if not isinstance(found, Tensor) or found.shape != y.shape:
                said = "that of the product it is given"
                raise DefinitionError(_wrong(op, "output", found, tuple(y.shape), type(op).output, said))
        for signs, given in ((described.activations, x), (described.weights, w)):
            signs.estimator.factor(signs.real(given))


def first_problem(operators: Iterable[tuple[Operator, Tensor]]) -> str:
    """The first wrong shape of some operators with their layers' weights, or an empty string."""
    for op, w in operators:
        try:
            check_shapes(op, w, torch.zeros(1, *op.spec.input_shape, dtype=w.dtype, device=w.device))
        except DefinitionError as error:
            return str(error)
        except TypeError as error:
            if problem := _miscalled(op, error):
                return problem
        except Exception:  # the error at hand says it
            continue
    return ""


def _miscalled(op: Operator, error: TypeError) -> str:
    """What to say of a slot that does not take what a layer gives it; its call is no line of the user's."""
    found = re.match(r"(?:\w+\.)*(\w+)\(\) (?:takes|missing|got)", str(error))
    function = getattr(type(op), found[1], None) if found else None
    line = "" if function is None or users_line(error) else first_line(function)
    return (
        f"operator {op.name!r}: {found[1] if found else ''} does not take what a layer gives it: {error} ({line})"
        * bool(line)
    )


def _wrong(
    op: Operator, slot: str, found: Any, expected: tuple[int, ...], function: Callable[..., Any], said: str
) -> str:
    came = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    line = last_return(function)
    place = f" ({line})" if line else ""
    return f"operator {op.name!r}: {slot} gives {came}, expected the shape {expected}, {said}{place}"
