"""The sensitivity study on embedded images: the same grid on a small network, without a download."""

from bibench.suite.definition import Suite, suite
from bibench.tasks.sensitivity import SENSITIVITY, settings


@suite
def sensitivity_quick() -> Suite:
    return Suite(
        name="sensitivity_quick",
        description="8 optimizer settings × 2 seeds on embedded images, all operators from scratch",
        tasks=("digits_photos",),
        models={"digits_photos": ("vgg_small[width=8]",)},
        recipe=settings(SENSITIVITY),
        seeds=(0, 1),
        tracks=("training_consumption",),
    )
