"""Neural architecture: the families beside each other."""

from __future__ import annotations

from collections.abc import Iterator

from bibench.report.blocks import Block, Heading, Multiples
from bibench.report.material import Material
from bibench.report.ranked import scores_figure
from bibench.report.section import section
from bibench.statistics import claims
from bibench.tracks import TRACKS
from bibench.tracks.neural_architecture import FAMILIES

NAMES = {"cnn": "CNNs", "transformer": "Transformers", "mlp": "MLPs on points"}


@section("neural_architecture")
def neural_architecture(material: Material) -> Iterator[Block]:
    """A dot plot for every family that was measured."""
    name = "neural_architecture"
    recipe = material.main_recipe(name)
    figures = []
    for family in FAMILIES:
        rows = [r for r in material.scores[name] if (r.metric, r.recipe) == (family, recipe) and r.value is not None]
        if not rows:
            continue
        bounds = material.ranks(name, recipe, family)
        takeaway = claims.best(bounds, material.title, material.lacking(name, family))
        takeaway += f" {claims.span(bounds, TRACKS[name].digits, TRACKS[name].unit)}"
        unit = "percent of full precision"
        figures.append(scores_figure(material, f"family-{family}", NAMES[family], unit, bounds, takeaway))
    if figures:
        yield Heading("By family of architectures", "families")
        yield Multiples(figures)
