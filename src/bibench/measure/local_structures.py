"""Binarization error of local structures (appendix A.7, Eq. 41, Table 7): attention, convolutions, MLP.

Each structure is built with random weights, copied, binarized, and both see the same random input. What
the paper leaves open is chosen as in its networks and stated in `STRUCTURES`; docs/theoretical_complexity.md
says how far that explains its numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from bibench.foundation.choice import Choice
from bibench.foundation.errors import BiBenchError, ConversionError, UnsupportedError
from bibench.nn.attention import Attention
from bibench.nn.conversion import binarize

DIMENSIONS = (64, 128, 256, 512)
HEAD = 64
"""Width of an attention head, as in BERT."""


class Bottleneck(nn.Module):
    """ResNet's 1×1, 3×3 and 1×1 convolution, a quarter as wide inside, and the shortcut: (B, D, S, S) alike."""

    def __init__(self, dim: int, normalized: bool) -> None:
        super().__init__()
        inner = dim // 4
        sizes = ((dim, inner, 1), (inner, inner, 3), (inner, dim, 1))
        self.units = nn.ModuleList(nn.Conv2d(i, o, k, padding=k // 2, bias=False) for i, o, k in sizes)
        self.norms = nn.ModuleList(_batch_norm(nn.BatchNorm2d, o, normalized) for _, o, _ in sizes)
        self.act = nn.Hardtanh()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for unit, norm in zip(self.units[:-1], self.norms[:-1], strict=True):
            y = self.act(norm(unit(y)))
        return self.act(x + self.norms[-1](self.units[-1](y)))


class SelfAttention(nn.Module):
    """BERT's query, key and value layers and the two products of each head: (B, T, D) alike."""

    def __init__(self, dim: int, normalized: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Linear(dim, dim) for _ in range(3))
        self.products = Attention()
        self.norm = nn.LayerNorm(dim) if normalized else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (unit(x).unflatten(-1, (-1, HEAD)).transpose(1, 2) for unit in self.units)
        return self.norm(self.products(q, k, v).transpose(1, 2).flatten(2))


class SubMLP(nn.Module):
    """Three of PointNet's shared layers in series: (B, D, N) alike."""

    def __init__(self, dim: int, normalized: bool) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Conv1d(dim, dim, 1) for _ in range(3))
        self.norms = nn.ModuleList(_batch_norm(nn.BatchNorm1d, dim, normalized) for _ in range(3))
        self.act = nn.Hardtanh()

    def forward(self, x: Tensor) -> Tensor:
        for unit, norm in zip(self.units, self.norms, strict=True):
            x = self.act(norm(unit(x)))
        return x


def _batch_norm(cls: Callable[..., nn.Module], channels: int, normalized: bool) -> nn.Module:
    """By the statistics of the input itself: with random weights there are no others."""
    return cls(channels, track_running_stats=False) if normalized else nn.Identity()


@dataclass(frozen=True)
class Structure:
    """One local structure, the sizes it is fed, and the paper's errors of BNN by size and dimension (Table 7)."""

    name: str
    title: str
    build: Callable[[int, bool], nn.Module]
    shape: Callable[[int, int], tuple[int, ...]]
    sizes: tuple[int, ...]
    published: tuple[tuple[float, ...], ...]
    series: bool = True
    """Whether its units follow one another, so that one of them is the first."""


STRUCTURES = {
    s.name: s
    for s in (
        Structure(
            "attention",
            "self-attention (tokens)",
            SelfAttention,
            lambda size, dim: (1, size, dim),
            (64, 128, 256, 512),
            ((0.97, 0.99, 1.02, 1.03), (0.97, 0.98, 1.01, 1.03), (0.94, 0.96, 0.99, 1.01), (0.89, 0.92, 0.97, 0.99)),
            series=False,
        ),
        Structure(
            "cnn",
            "ResNet bottleneck (width, height)",
            Bottleneck,
            lambda size, dim: (1, dim, size, size),
            (14, 28, 56, 112),
            ((0.59, 0.59, 0.59, 0.59), (0.59, 0.58, 0.59, 0.59), (0.59, 0.59, 0.59, 0.59), (0.59, 0.59, 0.59, 0.59)),
        ),
        Structure(
            "mlp",
            "PointNet sub-MLP (points)",
            SubMLP,
            lambda size, dim: (1, dim, size),
            (64, 128, 256, 512),
            ((0.84, 0.85, 0.84, 0.86), (0.84, 0.84, 0.85, 0.84), (0.84, 0.84, 0.84, 0.84), (0.84, 0.84, 0.84, 0.84)),
        ),
    )
}


@dataclass(frozen=True)
class StructureError:
    """The error of one structure, size, dimension and operator: mean and deviation over `seeds`.

    None with a `reason` for an operator that cannot be built for it.
    """

    structure: str
    size: int
    dim: int
    operator: str
    error: float | None
    std: float | None
    seeds: int
    published: float | None
    """The paper's, of BNN; None for a size it does not have."""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


def relative_error(full: Tensor, binarized: Tensor) -> float:
    """‖f(x) - f̂(x)‖₁ / ‖f(x)‖₁ of one input (Eq. 41)."""
    norm = full.abs().sum()
    if not norm > 0:
        raise BiBenchError("the full-precision output is zero or not finite; its relative error is undefined")
    return float((full - binarized).abs().sum() / norm)


@torch.no_grad()
def structure_errors(
    structure: Structure,
    operators: Sequence[Choice],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    sizes: Sequence[int] | None = None,
    dimensions: Sequence[int] = DIMENSIONS,
    normalized: bool = True,
    keep_first: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> list[StructureError]:
    """The errors of all operators on the same weights and inputs, standard normal, one example each.

    Args:
        normalized: batch norm after every unit, layer norm after the attention, as in the networks. Without,
            the operators' own scales show.
        keep_first: leave the first unit in full precision, where units follow one another.
    """
    rows = []
    for size in sizes or structure.sizes:
        for dim in dimensions:
            note(f"{structure.name} {size} × {dim}")
            found = [dict(_errors(structure, operators, size, dim, seed, normalized, keep_first)) for seed in seeds]
            for operator in operators:
                rows.append(_row(structure, size, dim, operator, [errors[operator] for errors in found]))
    return rows


def _row(structure: Structure, size: int, dim: int, operator: Choice, results: Sequence[float | str]) -> StructureError:
    values = [result for result in results if not isinstance(result, str)]
    reason = next((result for result in results if isinstance(result, str)), "")
    return StructureError(
        structure.name,
        size,
        dim,
        str(operator),
        error=mean(values) if values else None,
        std=stdev(values) if len(values) > 1 else None,
        seeds=len(values),
        published=_published(structure, size, dim),
        reason=reason,
    )


def _published(structure: Structure, size: int, dim: int) -> float | None:
    if size not in structure.sizes or dim not in DIMENSIONS:
        return None
    return structure.published[structure.sizes.index(size)][DIMENSIONS.index(dim)]


def _errors(
    structure: Structure,
    operators: Sequence[Choice],
    size: int,
    dim: int,
    seed: int,
    normalized: bool,
    keep_first: bool,
) -> Iterator[tuple[Choice, float | str]]:
    if dim % HEAD:
        raise BiBenchError(f"dimensions must be multiples of {HEAD}, the width of an attention head; got {dim}")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        float_structure = structure.build(dim, normalized).eval()
        x = torch.randn(structure.shape(size, dim))
        expected = float_structure(x)
        for operator in operators:
            torch.manual_seed(seed)  # scales that start at random do so alike, whoever came before
            binarized = copy.deepcopy(float_structure)
            keep = ("units.0",) if keep_first and structure.series else ()
            try:
                binarize(binarized, operator.name, example_inputs=x, keep=keep, **operator.options)
            except (UnsupportedError, ConversionError) as error:
                yield operator, str(error)
                continue
            yield operator, relative_error(expected, binarized.eval()(x))
