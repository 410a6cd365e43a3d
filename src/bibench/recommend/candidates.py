"""What is asked for, what could be deployed, and the answer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from bibench.foundation.errors import BiBenchError

MISSES = 5
_GOALS = (("accuracy", -1), ("latency_ms", 1), ("megabytes", 1))
"""What a candidate is judged by, and the sign with which less is better."""


@dataclass(frozen=True)
class Wishes:
    """What is asked for: `max_ms` per input on `device`, `max_mb` of 10⁶ bytes, `min_accuracy` in percent.

    Attributes:
        max_ms: the longest latency of one input, in ms.
        task: name of the task.
        threads: the number that latencies were measured with; None for any.
        engine: the engine that latencies were measured with; empty for any.

    Raises:
        BiBenchError: a limit that is no positive number, or a wish for a latency without a device.
    """

    task: str
    device: str = ""
    max_ms: float | None = None
    max_mb: float | None = None
    min_accuracy: float | None = None
    threads: int | None = None
    engine: str = ""

    def __post_init__(self) -> None:
        for name in ("max_ms", "max_mb", "min_accuracy"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise BiBenchError(f"{name} must be a positive number; got {value}")
        if self.threads is not None and self.threads < 1:
            raise BiBenchError(f"threads must be at least 1; got {self.threads}")
        if not self.device and (self.max_ms is not None or self.engine or self.threads is not None):
            raise BiBenchError("max_ms, engine and threads ask for a latency, which belongs to a device: give device")


@dataclass(frozen=True)
class Candidate:
    """One operator on one model, as it would be deployed.

    `accuracy` is the task's metric in percent, mean over `seeds`, with standard error and t-interval; `latency_ms`
    with the quartiles of its measurement. `front` is the share of bootstrap samples in which it fulfils the wishes
    and nothing dominates it (None when nothing varies). `excess` is by how much, relative to the limit, it misses
    the constraint it misses most. `evidence`, `missing` and `broken` are sentences.

    Attributes:
        model: name of the model, with its options.
        operator: name of the operator, with its options.
        recipe: name of the recipe, with its options.
        engine: name of the engine (``bibench list engines``).
        threads: number of threads; None for any.
        accuracy_error: standard error of `accuracy`, in percent.
        accuracy_low: lower end of its interval, in percent.
        accuracy_high: upper end of its interval, in percent.
        latency_low: lower quartile, in ms.
        latency_high: upper quartile, in ms.
        latency_ms: median latency of one input, in ms.
        latency_samples: number of timings.
        megabytes: size of the packed model, in 10⁶ bytes.
        verdict: the list that it is in.
        caution: what its numbers leave open, in sentences.
        source: the published set that the numbers are from; empty for runs.
    """

    model: str
    operator: str
    recipe: str
    engine: str
    threads: int | None
    accuracy: float | None
    accuracy_error: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    seeds: int
    latency_ms: float | None
    latency_low: float | None
    latency_high: float | None
    latency_samples: int | None
    megabytes: float | None
    verdict: str
    front: float | None
    excess: float
    evidence: tuple[str, ...]
    missing: tuple[str, ...]
    broken: tuple[str, ...]
    caution: tuple[str, ...]
    source: str = ""

    @property
    def name(self) -> str:
        """For sentences."""
        return f"{self.operator} on {self.model}" + (f" with {self.engine}" if self.engine else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Advice:
    """The answer. Every candidate is in exactly one list; `said` are the sentences to print.

    Attributes:
        wishes: what was asked for.
        metric: name of the task's metric.
        recommended: what fulfils the wishes, and nothing dominates.
        dominated: what fulfils them, but another is better.
        excluded: what breaks a constraint.
        unknown: what lacks a number that was asked for.
    """

    wishes: Wishes
    metric: str
    recommended: tuple[Candidate, ...]
    dominated: tuple[Candidate, ...]
    excluded: tuple[Candidate, ...]
    unknown: tuple[Candidate, ...]
    said: tuple[str, ...]

    @property
    def nearest(self) -> tuple[Candidate, ...]:
        """The nearest misses: what breaks a constraint by least, of what has every number that was asked for."""
        measured = [c for c in self.excluded if not lacks(c, self.wishes)]
        return tuple(sorted(measured, key=lambda c: (c.excess, -(c.accuracy or 0)))[:MISSES])

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        lists = ("recommended", "dominated", "excluded", "unknown")
        return {
            "wishes": asdict(self.wishes),
            "metric": self.metric,
            "said": list(self.said),
            **{name: [c.to_dict() for c in getattr(self, name)] for name in lists},
        }


def lacks(c: Candidate, wishes: Wishes) -> bool:
    """Whether something is unknown that was asked for, or accuracy, without which there is nothing to weigh.

    Args:
        c: a candidate.
        wishes: what is asked for.
    """
    return (
        c.accuracy is None
        or (bool(wishes.device) and c.latency_ms is None)
        or (wishes.max_mb is not None and c.megabytes is None)
    )


def dominates(one: Candidate, other: Candidate) -> bool:
    """Whether `one` is nowhere worse and somewhere better; what only one of them has cannot be compared.

    Args:
        other: what it is compared with.
    """
    pairs = [(getattr(one, name), getattr(other, name), sign) for name, sign in _GOALS]
    if any((a is None) != (b is None) for a, b, _ in pairs):
        return False
    differences = [sign * (a - b) for a, b, sign in pairs if a is not None]
    return all(d <= 0 for d in differences) and any(d < 0 for d in differences)
