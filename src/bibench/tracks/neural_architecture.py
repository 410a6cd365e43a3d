"""Neural architecture: relative accuracy by family of architectures, and its quadratic mean (Eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence

from bibench.records import Record
from bibench.tracks.base import Score, average, expected_cells, operators_of, quadratic_mean, ratios, track

NAME = "neural_architecture"
FAMILIES = ("cnn", "transformer", "mlp")


@track(NAME, "Neural architecture", "Eq. 3")
def score(records: Sequence[Record]) -> list[Score]:
    """Per family the mean of accuracy / full-precision accuracy; OM = √(mean over families of squares).

    Within a family the models of a group of tasks (GLUE, the categories of ShapeNet-part) weigh as those of
    one task, see `average`.
    """
    found, _ = ratios(records)
    operators = operators_of(found)
    rows = []
    for operator in operators:
        values = []
        for family in FAMILIES:
            chosen = [r for r in found if r.operator == operator and r.family == family]
            value, error, count = average(chosen)
            expected = expected_cells(found, operators, family=family)
            note = "no cells" if not expected else "" if count == expected else f"{count} of {expected} cells"
            rows.append(Score(NAME, family, operator, value, error, count, expected, note))
            values.append(value)
        count = sum(v is not None for v in values)
        note = "" if count == len(FAMILIES) else f"{count} of {len(FAMILIES)} families"
        rows.append(Score(NAME, "om", operator, quadratic_mean(values), None, count, len(FAMILIES), note))
    return rows
