"""Everything once, in under a minute: for tests and for trying an installation."""

from bibench.suite import Suite, suite


@suite
def smoke() -> Suite:
    return Suite(
        name="smoke",
        description="all operators for a handful of steps; checks the machinery, its numbers mean nothing",
        tasks=("digits_photos",),
        models={"digits_photos": ("vgg_small[width=4]",)},
        recipe="smoke",
        seeds=(0,),
    )
