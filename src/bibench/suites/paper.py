"""The paper's grid (Tables 10-12) for the tasks that exist."""

from bibench.operators import PAPER_ORDER
from bibench.suite import Suite, suite


@suite
def paper() -> Suite:
    return Suite(
        name="paper",
        description="the paper's grid on its own data sets (needs --data-root)",
        tasks=("cifar10", "imagenet"),
        recipe="paper",
        seeds=(0,),
        operators=PAPER_ORDER,
    )
