"""The weights with which a track averages cells within a part."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bibench.operators import FULL_PRECISION
from bibench.records.record import Record
from bibench.tracks import Score

Floats = npt.NDArray[np.float64]


def nested_weights(keys: Sequence[Hashable], there: npt.NDArray[Any]) -> Floats:
    """(C, O): cells of a key share its weight and keys weigh alike; `there` (C, O) is how often a cell counts."""
    of: dict[Hashable, int] = {}
    index = np.array([of.setdefault(key, len(of)) for key in keys], dtype=np.int64)
    counts = np.zeros((len(of), there.shape[1]))
    np.add.at(counts, index, there)
    share = counts[index]
    return np.divide(1.0, share, out=np.zeros(share.shape), where=(there > 0) & (share > 0))


def probed_weights(
    cells: Sequence[tuple[str, Any]],
    there: npt.NDArray[np.bool_],
    score: Callable[[Sequence[Record]], list[Score]],
    recipe: str,
) -> Floats:
    """(C, O): what a protocol really weighs, asked of it with scores that are 1 in one place and 0 in all others."""
    weights = np.zeros(there.shape)
    for pattern in np.unique(there, axis=1).T:
        places = list(dict.fromkeys(place for (_, place), has in zip(cells, pattern, strict=True) if has))
        probes = [_probe(place, FULL_PRECISION, 1.0, recipe) for place in places]
        probes += [
            _probe(place, f"probe[at={n}]", float(place == at), recipe)
            for n, at in enumerate(places)
            for place in places
        ]
        found = {(row.metric, row.operator): row.value or 0.0 for row in score(probes)}
        column = [
            found.get((part, f"probe[at={places.index(place)}]"), 0.0) / 100 if has else 0.0
            for (part, place), has in zip(cells, pattern, strict=True)
        ]
        alike = (there == pattern[:, None]).all(0)
        weights[:, alike] = np.array(column)[:, None]
    return weights


def _probe(place: Any, operator: str, value: float, recipe: str) -> Record:
    return Record(
        kind="task" if place.metric else "score",
        metric=place.metric or "probe",
        split="test",
        value=value,
        cell=f"{place.task}/{place.model}/{operator}",
        task=place.task,
        group=place.group if place.group != place.task or place.metric else "",
        embedded=False,
        model=place.model,
        family=place.family,
        operator=operator,
        recipe=recipe,
        seed=0,
    )
