"""Two tasks with one training: the tiny one, and one that is judged on other images. Loaded after `tiny.py`."""

from bibench.suite.definition import Suite, suite
from bibench.tasks import TASKS
from bibench.tasks.base import task


@task("tiny_twin")
class Twin(TASKS["tiny"]):
    """The same question about darker images."""

    title = "Darker colours"
    trained_as = "tiny"

    def arrays(self, split):
        images, labels = super().arrays(split)
        return (images // 3 if split == "test" else images), labels


@suite
def twins():
    """The one that waits comes first."""
    return Suite(
        name="twins", description="for tests", tasks=("tiny_twin", "tiny"), recipe="quick", operators=("bnn", "recu")
    )
