"""Sensitivity under resampling: the ratio of two standard deviations, which is no mean over seeds (Eq. 6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bibench.operators import FULL_PRECISION
from bibench.records.record import Record

Floats = npt.NDArray[np.float64]


@dataclass
class Spread:
    """Accuracies of one task × model under a study: (settings, seeds, operators), NaN where a run is missing."""

    operators: list[str]
    accuracies: Floats

    def of(self, operators: Sequence[str]) -> Spread:
        """Full precision and these operators, in this order; all NaN for one without runs."""
        names = [FULL_PRECISION, *operators]
        empty = np.full(self.accuracies.shape[:2], np.nan)
        known = {name: self.accuracies[..., i] for i, name in enumerate(self.operators)}
        return Spread(names, np.stack([known.get(name, empty) for name in names], -1))

    def ratios(self, draws: npt.NDArray[np.int64] | None = None) -> Floats:
        """(..., O) std of full precision / std of each operator over all runs pooled, in percent.

        `draws` (..., settings, seeds): which seeds of each setting make a sample, the same for all operators.
        """
        chosen = self.accuracies
        if draws is not None:
            chosen = chosen[np.arange(chosen.shape[0])[:, None], draws]
        runs = chosen.reshape(*chosen.shape[:-3], -1, chosen.shape[-1])
        known = np.isfinite(runs)
        count = known.sum(-2)
        filled = np.where(known, runs, 0.0)
        mean = filled.sum(-2) / np.maximum(count, 1)
        squares = (np.where(known, runs - mean[..., None, :], 0.0) ** 2).sum(-2)
        deviation = np.sqrt(squares / np.maximum(count - 1, 1))
        usable = (count >= 2) & (deviation > 0)
        own, reference = deviation[..., 1:], deviation[..., :1]
        both = usable[..., 1:] & usable[..., :1]
        return 100 * np.divide(np.broadcast_to(reference, own.shape), own, out=np.full(own.shape, np.nan), where=both)

    def draw(self, samples: int, random: np.random.Generator) -> Floats:
        """(samples, O) ratios of resampled seeds within each setting."""
        settings, seeds = self.accuracies.shape[:2]
        return self.ratios(random.integers(0, seeds, (samples, settings, seeds)))


def spreads(records: Sequence[Record], study: str) -> dict[tuple[str, str], Spread]:
    """By task and model, the test scores of all runs of a study."""
    runs: dict[tuple[str, str], dict[tuple[str, int, str], float]] = defaultdict(dict)
    for r in records:
        if r.kind == "score" and r.split == "test" and r.study == study and study and r.value is not None:
            runs[r.task, r.model][r.recipe, r.seed, r.operator] = r.value
    made = {}
    for place, found in runs.items():
        settings, seeds, operators = (sorted({key[axis] for key in found}) for axis in range(3))
        values = np.full((len(settings), len(seeds), len(operators)), np.nan)
        for (setting, seed, operator), value in found.items():
            values[settings.index(setting), seeds.index(seed), operators.index(operator)] = value
        made[place] = Spread([str(o) for o in operators], values)
    return made
