"""Binarization beside other compression (Table 21): quantizers of 2, 4 and 8 bits and pruning, on CIFAR-10."""

from bibench.operators import PAPER_ORDER
from bibench.suite.definition import Suite, suite

QUANTIZERS = tuple(f"{name}[bits={bits}]" for bits in (2, 4, 8) for name in ("dorefa_k", "pact", "lsq"))
PRUNING = ("l1_filters[ratio=0.3]", "resrep[reduction=0.5]")
"""Saving 30 % and 50 % of the multiply-accumulates, about what Table 21 prints: 1.43× and 2×."""


@suite
def compression() -> Suite:
    return Suite(
        name="compression",
        description="operators, 2/4/8-bit quantizers and pruning on CIFAR-10 (needs --data-root)",
        tasks=("cifar10",),
        models={"cifar10": ("resnet18", "resnet20", "vgg_small")},
        recipe="paper",
        operators=(*PAPER_ORDER, *QUANTIZERS, *PRUNING),
        tracks=("other_compression",),
    )


@suite
def compression_quick() -> Suite:
    return Suite(
        name="compression_quick",
        description="the same on embedded images and small networks; no download, minutes on 2 cores",
        tasks=("digits_photos",),
        models={"digits_photos": ("resnet20", "vgg_small[width=8]")},
        recipe="quick",
        operators=(*PAPER_ORDER, *QUANTIZERS, *PRUNING),
        tracks=("other_compression",),
    )
