"""Pruning of the filters with the smallest L1 norms (Li et al., ICLR 2017).

https://arxiv.org/abs/1608.08710
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bibench.comparators.compressor import Compressor, compressor
from bibench.comparators.filters import Filters, fit_to, keep_filters, removable, sizes
from bibench.foundation.errors import BiBenchError
from bibench.nn.auditing import Audit, audit
from bibench.nn.calls import Call


@compressor("l1_filters")
class L1Filters(Compressor):
    r"""Filters with the smallest s_j = Σ|K_j| are removed from the trained network, which is then trained on.

    All at once ("one-shot", section 3.4): of each convolution whose channels are not tied by a sum (the first of a
    residual block, section 3.3; all of a plain network) the share `ratio` with the smallest s_j goes, with the
    channels of the norm behind it and of the layers that read it. What is left keeps its weights and is trained
    by the recipe of the operators, from the full-precision network as they are.

    Args:
        ratio: share of the filters to remove, in [0, 1); or one for each width of the removable convolutions,
            narrowest first, as in ``(0.6,0.3,0.1)``, the paper's for the CIFAR ResNets.
    """

    title = "L1-norm filter pruning"
    paper = "Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (arXiv:1608.08710)"
    formula = r"s_j = \sum |K_j|"

    def __init__(self, *, ratio: float | tuple[float, ...] = 0.3) -> None:
        values = ratio if isinstance(ratio, tuple) else (ratio,)
        if not values or not all(isinstance(r, int | float) and 0 <= r < 1 for r in values):
            raise BiBenchError(f"l1_filters: ratio must be a number in [0, 1), or a tuple of them; got {ratio!r}")
        self.ratio = ratio

    def check(self, model: nn.Module, calls: Mapping[nn.Module, Call]) -> None:
        self._counts(model, removable(model))

    def prepare(self, model: nn.Module, example_inputs: Any, *, pad_value: float = 0.0) -> Audit:
        found = removable(model)
        for filters, count in self._counts(model, found).items():
            weight = model.get_submodule(filters.conv).weight
            assert isinstance(weight, Tensor)
            keep_filters(model, filters, strongest(weight, count))
        return audit(model, example_inputs)

    def restore(self, model: nn.Module, example_inputs: Any, state: Mapping[str, Tensor], **prepared: Any) -> None:
        fit_to(model, state)

    def _counts(self, model: nn.Module, found: list[Filters]) -> dict[Filters, int]:
        """How many filters stay of each."""
        given = sizes(model, found)
        widths = sorted(set(given.values()))
        ratios = self.ratio if isinstance(self.ratio, tuple) else (self.ratio,) * len(widths)
        if len(ratios) != len(widths):
            raise BiBenchError(
                f"l1_filters: ratio has {len(ratios)} numbers, but the removable convolutions have {len(widths)} "
                f"widths ({', '.join(map(str, widths))}); give one for each, or a single number"
            )
        share = dict(zip(widths, ratios, strict=True))
        return {f: max(1, size - math.floor(size * share[size] + 1e-9)) for f in found for size in (given[f.conv],)}


def strongest(weight: Tensor, count: int) -> Tensor:
    """Indices, sorted, of the `count` filters with the largest L1 norms; the first ones of equal norm."""
    norms = torch.linalg.vector_norm(weight.detach().flatten(1), 1, 1)
    return norms.sort(descending=True, stable=True).indices[:count].sort().values
