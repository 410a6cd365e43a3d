"""A tiny benchmark for tests: a task of 64 images, operators that misbehave, and a suite.

Loaded like any stranger's file: by ``--load`` in subprocesses, by `worlds.tiny_world` in the test process.
"""

import os
import signal
import time

import torch
from torch import nn

import bibench
from bibench.data.images import Normalize
from bibench.foundation.errors import UnsupportedError
from bibench.models import create
from bibench.models.base import model
from bibench.recipes.recipe import Recipe
from bibench.suite.definition import Suite, suite
from bibench.tasks.base import task
from bibench.tasks.image_classification import InMemoryImages

CLASSES = 4
EXAMPLES = {"train": 64, "validation": 32, "test": 48}


@task("tiny")
class Tiny(InMemoryImages):
    """Which colour does a noisy 8×8 image have: red, green, blue or none?"""

    title = "Colours"
    embedded = True
    stands_in_for = "nothing"
    num_classes = CLASSES
    image_shape = (3, 8, 8)
    train_examples = EXAMPLES["train"]
    chance = 1 / CLASSES
    models = ("vgg_small[width=2]",)
    normalize = Normalize((100.0, 100.0, 100.0), (60.0, 60.0, 60.0))
    flip = False
    recipes = {
        "paper": Recipe(epochs=4, batch_size=16, lr=1e-2),
        "quick": Recipe(epochs=2, batch_size=16, lr=1e-2),
        "long": Recipe(epochs=12, batch_size=16, lr=1e-2, fp32=(("epochs", 1),)),
        "scratch": Recipe(epochs=2, batch_size=16, lr=1e-2, init="scratch"),
        "distilled": Recipe(epochs=2, batch_size=16, lr=1e-2, init="scratch", distillation="logits"),
    }

    def arrays(self, split):
        random = torch.Generator().manual_seed(sorted(EXAMPLES).index(split))
        labels = torch.arange(EXAMPLES[split]) % CLASSES
        images = torch.randint(0, 120, (EXAMPLES[split], 8, 8, 3), generator=random, dtype=torch.uint8)
        for image, label in zip(images, labels.tolist(), strict=True):
            image[..., label : label + 1] += 100
        return images, labels


@bibench.operator("raises")
class Raises(bibench.Operator):
    """Works when it is planned, fails in the first training step."""

    def output(self, y, x):
        if self.training:
            raise RuntimeError("boom in forward")
        return y


@bibench.operator("slow")
class Slow(bibench.Operator):
    """Leaves time to be interrupted: $TINY_SLEEP seconds per layer."""

    def output(self, y, x):
        if self.training:
            time.sleep(float(os.environ.get("TINY_SLEEP", "0")))
        return y


@model("breakable", family="cnn", paper="")
def breakable(*, num_classes, input_shape):
    """Cannot be trained while $TINY_BROKEN is set."""
    made = create("vgg_small", num_classes=num_classes, input_shape=input_shape, width=2)
    made.register_forward_pre_hook(_break)
    return made


def _break(module, inputs):
    if module.training and "TINY_BROKEN" in os.environ:
        raise RuntimeError("the model is broken")


@bibench.operator("dies")
class Dies(bibench.Operator):
    """As the kernel does when memory is short."""

    def output(self, y, x):
        if self.training:
            os.kill(os.getpid(), signal.SIGKILL)
        return y


@bibench.operator("heavy")
class Heavy(bibench.Operator):
    """Two megabytes per layer."""

    def __init__(self, spec, *, profile="default"):
        super().__init__(spec, profile=profile)
        self.ballast = nn.Parameter(torch.zeros(500_000))

    def output(self, y, x):
        return y + self.ballast.sum()


@bibench.operator("impossible")
class Impossible(bibench.Operator):
    """Cannot be built for any layer."""

    def __init__(self, spec, *, profile="default"):
        raise UnsupportedError(f"layer {spec.name!r} is too small for it")

    def output(self, y, x):
        return y + 1


@bibench.operator("asks_values")
class AsksValues(bibench.Operator):
    """Looks at values when it is built, which the meta device of the plan does not have."""

    def reset_parameters(self, w):
        assert w.abs().mean().item() > 0


@bibench.operator("silent")
class Silent(bibench.Operator):
    """Nothing of the input gets through."""

    def output(self, y, x):
        return y * 0


@suite
def tiny():
    return Suite(name="tiny", description="for tests", tasks=("tiny",), recipe="quick", operators=("bnn", "recu"))
