"""Neural architecture: relative accuracy by family of architectures, and its quadratic mean (Eq. 3).

OM_arch = √(⅓ (E²_cnn + E²_transformer + E²_mlp)) of the ratios of Eq. 2. In percent. Under the protocol ``paper``

cnn             is the mean of the ten rows of Table 10: both PointNets of ModelNet40 are among them, SSD300 too
mlp             has these PointNets again, with FSMN and Deep-FSMN; ShapeNet-part is nowhere
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bibench.records.record import Record
from bibench.tracks.base import (
    PAPER,
    Ratio,
    Score,
    chance_corrected,
    nested_mean,
    plain_mean,
    ratios,
    relative_scores,
    track,
)

NAME = "neural_architecture"
FAMILIES = ("cnn", "transformer", "mlp")

COUNTED_TWICE = "modelnet40"
"""Task whose networks, of the family mlp, the paper counts among the CNNs as well."""
LEFT_OUT = "shapenet_part"
"""Group that is in none of the paper's families."""


@track(NAME, "Neural architecture", "Eq. 3")
def score(records: Sequence[Record], protocol: str) -> list[Score]:
    """Per family the mean of accuracy / full-precision accuracy; OM = √(mean over families of squares).

    Under ``bibench`` every cell counts in its own family, where the models of a group of tasks (GLUE, the
    categories of ShapeNet-part) weigh as those of one task.
    """
    found = ratios(records)
    if protocol == PAPER:
        found = [r for r in found if r.group != LEFT_OUT]
        return relative_scores(NAME, found, _by_family(found, papers_families), "families", plain_mean)
    arguments = NAME, found, _by_family(found, lambda r: {r.family}), "families", nested_mean
    return relative_scores(*arguments) + chance_corrected(*arguments)


def papers_families(r: Ratio) -> set[str]:
    """The families that a cell counts in, in the paper."""
    return {r.family, "cnn"} if r.task == COUNTED_TWICE else {r.family}


def _by_family(found: Sequence[Ratio], families: Callable[[Ratio], set[str]]) -> dict[str, list[Ratio]]:
    return {family: [r for r in found if family in families(r)] for family in FAMILIES}
