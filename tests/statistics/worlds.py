"""Simulated benchmarks for the tests of statistics: the truth is known."""

from collections.abc import Mapping, Sequence

import numpy as np

from bibench.records.record import Record

from ..tracks.records import scored

FP, B, X, D = "fp32", "bnn", "xnor", "dorefa"


def table(
    means: Mapping[str, Mapping[str, float]], seeds: int, noise: float, random: np.random.Generator, shared: float = 0.0
) -> dict[tuple[str, str, str, int], float]:
    """Accuracies of operators (rows of `means`) on tasks: `noise` per run, `shared` by the runs of one seed."""
    found = {}
    for task in dict.fromkeys(task for own in means.values() for task in own):
        for seed in range(seeds):
            luck = shared * random.standard_normal()
            found[task, "m", FP, seed] = 1.0
            for operator, own in means.items():
                if task in own:
                    found[task, "m", operator, seed] = own[task] + luck + noise * random.standard_normal()
    return found


def world(
    means: Mapping[str, Mapping[str, float]], seeds: int, noise: float = 0.01, *, of: int = 0, **more: object
) -> list[Record]:
    """Records of such a table, reproducible by `of`."""
    shared = float(more.pop("shared", 0.0))  # type: ignore[arg-type]
    return scored(table(means, seeds, noise, np.random.default_rng(of), shared), **more)


def cell(
    operator: str, *values: float | None, task: str = "t", model: str = "m", first: int = 0, **more: object
) -> list[Record]:
    """One cell with a value per seed; None failed."""
    return scored({(task, model, operator, first + n): v for n, v in enumerate(values)}, **more)


def full(seeds: int, tasks: Sequence[str] = ("t",), value: float = 1.0, **more: object) -> list[Record]:
    """Full precision of some tasks."""
    return [r for task in tasks for r in cell(FP, *[value] * seeds, task=task, **more)]
