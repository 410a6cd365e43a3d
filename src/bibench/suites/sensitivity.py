"""The paper's sensitivity study (Tables 15-16): ResNet-18 on CIFAR-10 under eight settings × five seeds."""

from bibench.operators import PAPER_ORDER
from bibench.suite.definition import Suite, suite
from bibench.tasks.sensitivity import RELEASE, SENSITIVITY, settings


@suite
def sensitivity() -> Suite:
    return Suite(
        name="sensitivity",
        description="8 optimizer settings × 5 seeds, ResNet-18 on CIFAR-10 from scratch (needs --data-root)",
        tasks=("cifar10",),
        models={"cifar10": ("resnet18",)},
        recipe=settings(SENSITIVITY),
        seeds=(0, 1, 2, 3, 4),
        operators=PAPER_ORDER,
        tracks=("training_consumption",),
    )


@suite
def sensitivity_release() -> Suite:
    return Suite(
        name="sensitivity_release",
        description="as sensitivity, with the release's settings: SGD with the step schedule has no momentum",
        tasks=("cifar10",),
        models={"cifar10": ("resnet18",)},
        recipe=settings(RELEASE),
        seeds=(0, 1, 2, 3, 4),
        operators=PAPER_ORDER,
        tracks=("training_consumption",),
    )
