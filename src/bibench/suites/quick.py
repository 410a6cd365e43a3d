"""The main job on a fresh machine: real embedded images, no download, minutes on two cores."""

from bibench.suite import Suite, suite


@suite
def quick() -> Suite:
    return Suite(
        name="quick",
        description="all operators on embedded images, 2 architectures × 2 seeds, under 10 minutes on 2 cores",
        tasks=("digits_photos",),
        models={"digits_photos": ("vgg_small[width=8]", "resnet18[width=16,stem=imagenet]")},
        recipe="quick",
        seeds=(0, 1),
    )
