"""What a cell may name as its operator: an entry of a catalogue, with options and with words for the documentation."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

from bibench.foundation.errors import BiBenchError
from bibench.foundation.slips import did_you_mean


@dataclass(frozen=True)
class Techniques:
    """One row of the paper's Table 6: what is done to weights and activations.

    Attributes:
        weight_scale: how weights are scaled; ``w/o`` if not.
        activation_scale: how activations are scaled.
        weight_redistribution: how weights are moved or shaped before the sign.
        activation_redistribution: how activations are, likewise.
        weight_gradient: the surrogate gradient of weights.
        activation_gradient: the surrogate gradient of activations.
    """

    weight_scale: str = "w/o"
    activation_scale: str = "w/o"
    weight_redistribution: str = "w/o"
    activation_redistribution: str = "w/o"
    weight_gradient: str = "STE"
    activation_gradient: str = "STE"


class Method:
    """What a cell may name as its operator: a catalogue entry with options, an `Operator` or a `Compressor`.

    Class attributes:
        name, title, paper, formula: how it is called, where it is from, and what it computes (LaTeX).
        full_precision: whether it is a baseline that nothing is done to.
        comparator: whether it is another kind of compression, which is run and reported beside the operators
            (``bibench list comparators``) and never enters their ranks, averages and overall metrics.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    full_precision: ClassVar[bool] = False
    comparator: ClassVar[bool] = False

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Names and defaults of the options its constructor takes.

        Those of the classes it is derived from are among them if it passes them on (``**options``).
        """
        found: list[dict[str, Any]] = []
        for base in cls.__mro__:
            if not (issubclass(base, Method) and "__init__" in vars(base)):
                continue
            parameters = inspect.signature(base.__init__).parameters.values()
            found.append(
                {
                    p.name: None if p.default is p.empty else p.default
                    for p in parameters
                    if p.kind is p.KEYWORD_ONLY or (p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty)
                }
            )
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return {name: default for options in reversed(found) for name, default in options.items()}

    @classmethod
    def check_options(cls, options: dict[str, Any]) -> None:
        """Raise `BiBenchError` for an option it does not have.

        Args:
            options: by name.

        Raises:
            BiBenchError: an option that it does not have; it names those that it has.
        """
        known = cls.options()
        unknown = [name for name in options if name not in known]
        if unknown:
            has = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "none"
            meant = did_you_mean(unknown[0], known)
            raise BiBenchError(f"operator {cls.name!r} has no option {unknown[0]!r}{meant}; it has: {has}")


def choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value` if it is among `allowed`, else a `BiBenchError` naming them."""
    if value not in allowed:
        raise BiBenchError(f"{option} must be one of {', '.join(allowed)}; got {value!r}")
    return value
