"""The paper's grid (Tables 10-12): nine data sets, thirteen architectures, full precision and eight operators."""

from bibench.operators import PAPER_ORDER
from bibench.suite.definition import Suite, suite

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "mnli_mm", "qnli", "rte")
"""The nine rows of Table 11, one task in Eq. 2. WNLI is not among them."""
SHAPENET = (
    "airplane",
    "bag",
    "cap",
    "car",
    "chair",
    "earphone",
    "guitar",
    "knife",
    "lamp",
    "laptop",
    "motorbike",
    "mug",
    "pistol",
    "rocket",
    "skateboard",
    "table",
)
"""The sixteen categories of Table 12, each with a model of its own, one task in Eq. 2."""


@suite
def paper() -> Suite:
    return Suite(
        name="paper",
        description="the paper's grid on its own data sets (needs --data-root)",
        tasks=(
            "cifar10",
            "imagenet",
            "voc07",
            "coco17",
            "modelnet40",
            *(f"shapenet_part_{category}" for category in SHAPENET),
            *(f"glue_{row}" for row in GLUE),
            "speech_commands",
        ),
        recipe="paper",
        seeds=(0,),
        operators=PAPER_ORDER,
    )
