"""Table 21 of the paper, as printed: binarization beside other compression.

Its "FLOPs (Res20, G)" and "Param (Res20, K)" are not those of a CIFAR ResNet-20 (0.04 G, 272 K): 11,690 K
parameters and 13.2× are ResNet-18 on ImageNet. The paper does not say what k bits cost. Its 8.07× fewer FLOPs at
2 bits are ours in the convention ``paper``, 4/64 of an operation for each product (8.06×); its 1.87× at 8 bits
would be half an operation each, where 64/64 gives 1×. By Eq. 7 with k bits the parameters would be 1,229 K
(9.51×) at 2 bits and 3,321 K (3.52×) at 8, not the 1,681 K and 4,067 K printed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Printed:
    """A row: accuracies in percent on CIFAR-10, FLOPs in G, parameters in K (of 32 bits)."""

    method: str
    resnet18: float
    resnet20: float
    flops: float
    parameters: float
    operator: str = ""
    """What it is called here; "" for rows that are no single method."""


TABLE_21 = (
    Printed("FP32", 94.82, 91.99, 13.61, 11690, "fp32"),
    Printed("Binary (overall)", 91.08, 85.74, 1.105, 884),
    Printed("DoReFa-INT2", 92.71, 87.56, 1.686, 1681, "dorefa_k[bits=2]"),
    Printed("PACT-INT2", 92.98, 88.12, 1.686, 1681, "pact[bits=2]"),
    Printed("LSQ-INT2", 93.11, 89.26, 1.686, 1681, "lsq[bits=2]"),
    Printed("INT2 (overall)", 92.93, 88.31, 1.686, 1681),
    Printed("DoReFa-INT8", 94.79, 91.83, 7.278, 4067, "dorefa_k[bits=8]"),
    Printed("PACT-INT8", 94.80, 91.87, 7.278, 4067, "pact[bits=8]"),
    Printed("LSQ-INT8", 94.78, 91.95, 7.278, 4067, "lsq[bits=8]"),
    Printed("INT8 (overall)", 94.79, 91.88, 7.278, 4067),
    Printed("L1-norm (Li et al., 2016)", 94.47, 91.32, 9.527, 9936, "l1_filters[ratio=0.3]"),
    Printed("ResRep", 94.53, 91.76, 6.805, 7247, "resrep[reduction=0.5]"),
    Printed("Pruning (overall)", 94.50, 91.54, 8.166, 8591),
)


def printed_accuracy(task: str, model: str, operator: str) -> float | None:
    """The printed accuracy of a cell in percent, None if Table 21 does not have it."""
    if task != "cifar10" or model not in ("resnet18", "resnet20"):
        return None
    return next((float(getattr(row, model)) for row in TABLE_21 if row.operator == operator), None)
