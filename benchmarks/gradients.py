"""Gradients of products of signs: by table lookup over PyTorch's float32 convolution gradients, one thread."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from bibench.kernels import native
from bibench.kernels.products import factor_gradients
from bibench.kernels.spec import of_layer
from bibench.kernels.surrogate import STE

from .timing import interleave, summarize

CASES = {
    "3×3, 64 channels, 32×32, batch 16": (nn.Conv2d(64, 64, 3, padding=1), (16, 64, 32, 32)),
    "3×3, 64 to 128, stride 2, batch 16": (nn.Conv2d(64, 128, 3, stride=2, padding=1), (16, 64, 32, 32)),
    "3×3, 256 channels, 8×8, batch 16": (nn.Conv2d(256, 256, 3, padding=1), (16, 256, 8, 8)),
    "3×3, 512 channels, 4×4, batch 16": (nn.Conv2d(512, 512, 3, padding=1), (16, 512, 4, 4)),
    "3×3, 16 channels, 32×32, batch 64": (nn.Conv2d(16, 16, 3, padding=1), (64, 16, 32, 32)),
    "3×3, 64 channels, 8×8, batch 64": (nn.Conv2d(64, 64, 3, padding=1), (64, 64, 8, 8)),
    "linear, 768 to 768, 2048 rows": (nn.Linear(768, 768), (2048, 768)),
}
WAYS = {"PyTorch float32": "float32", "lookup": "lookup", "PyTorch bfloat16": "bfloat16"}
FACTORS = {"input": (True, False), "weight": (False, True)}


def run() -> list[dict[str, Any]]:
    """Milliseconds and ratios of both gradients, signs included, for every case."""
    if not native.looks_up():
        raise SystemExit("gradients: this processor has no fast lookups (AVX-512)")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for title, (layer, shape) in CASES.items():
        for factor in FACTORS:
            rows += compare(f"{title}: {factor}", layer, shape, FACTORS[factor])
    torch.set_num_threads(threads)
    return rows


def compare(title: str, layer: nn.Module, shape: tuple[int, ...], needed: tuple[bool, bool]) -> list[dict[str, Any]]:
    """All ways in turn."""
    torch.manual_seed(0)
    spec, estimators = of_layer(layer), (STE(), STE())
    memory = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    x, weight = (
        t.detach().contiguous(memory_format=memory) for t in (torch.randn(shape), layer.get_parameter("weight"))
    )
    with torch.no_grad():
        grad = torch.randn_like(layer(x))
        alternatives = {
            f"{title}, {name}": lambda way=way: factor_gradients(grad, x, weight, None, spec, estimators, needed, way)
            for name, way in WAYS.items()
        }
        times = interleave(alternatives, rounds=15, clock=time.process_time)
    return summarize(times, f"{title}, PyTorch float32")
