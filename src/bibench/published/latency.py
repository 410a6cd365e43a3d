"""Tables 17-20: inference times on fourteen ARM devices with Larq Compute Engine and daBNN.

The paper does not state the sizes of the images. ResNet-18 takes three times as long as VGG-Small, as it has
three times the operations when it sees 224 × 224 pixels and VGG-Small 32 × 32: they are ImageNet's and CIFAR-10's.
"""

from __future__ import annotations

from bibench.published.tables import Row, record, rows
from bibench.records.record import Record

COLUMNS = ("device", "threads", "architecture", "library", "operator", "latency_ms")
TASKS = {"resnet18": "imagenet", "resnet34": "imagenet", "vgg_small": "cifar10"}


def records() -> list[Record]:
    """Kind ``latency``, in milliseconds."""
    return [_record(row) for row in rows("latency.csv", COLUMNS, ("threads", "latency_ms"))]


def _record(row: Row) -> Record:
    return record(
        kind="latency",
        metric="latency_ms",
        value=float(row["latency_ms"]),
        unit="ms",
        task=TASKS[row["architecture"]],
        model=row["architecture"],
        operator=row["operator"],
        batch_size=1,
        device=row["device"],
        engine=row["library"],
        threads=int(row["threads"]),
    )
