"""What a task is: its data in splits, how a model is judged on it, and how it is trained.

The training loop knows tasks only through this class, so a modality may batch, feed and score as it
must. A new image task subclasses `bibench.tasks.image_classification.ImageClassification`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from bibench.data.batches import Batch, Batches
from bibench.data.layout import Expected
from bibench.foundation.errors import BiBenchError, DataError
from bibench.foundation.registry import Registry, check_name
from bibench.foundation.slips import slips, tell
from bibench.models import create
from bibench.recipes.distillation import soft_cross_entropy
from bibench.recipes.recipe import Recipe

TASKS: Registry[type[Task]] = Registry("task", "bibench.tasks")
"""The tasks by name; `task` enters one."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one split: the metrics by name, and the share of the commonest answer."""

    metrics: dict[str, float]
    examples: int
    commonest_answer: float | None = None


class Task:
    """Base class of tasks.

    Args:
        data_root: the user's data root, or None.
        download: whether missing data may be downloaded.
        workers: processes that read data beside the training; 0 for none.

    Class attributes:
        metric: name of the metric that scores are made of, a key of `Evaluation.metrics`, in [0, 1]
            or [-1, 1]; higher is better. `chance` is its value for a constant answer.
        group: tasks of one group count as one task in the scores, each with an equal share of it; empty
            for a task that stands for itself.
        embedded: True when the data is made from what BiBench's dependencies carry. `stands_in_for`
            names the data set it resembles; results on it are never labelled as that data set.
        cache: which folders of the cache hold the data of an embedded task; "" if it is made in memory.
        extra: the optional extra of BiBench that it needs beside ``bench``, or "".
        models: the architectures the paper trains on this task (as in ``resnet20[width=8]``).
        recipes: by name; every task has ``paper`` and ``quick``.
        model_recipes: by model and name, those of models that are trained otherwise.
        train_examples: size of the training split, for estimates made without reading data.
        trained_as: the task that is trained alike, on the same examples, where only the test split is another; a
            finished training of that one then serves both. Empty for a task with a training of its own.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    modality: ClassVar[str] = ""
    metric: ClassVar[str] = "accuracy"
    chance: ClassVar[float] = 0.0
    group: ClassVar[str] = ""
    embedded: ClassVar[bool] = False
    stands_in_for: ClassVar[str] = ""
    cache: ClassVar[str] = "{task}-v*"
    source: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    models: ClassVar[tuple[str, ...]] = ()
    recipes: ClassVar[dict[str, Recipe]] = {}
    model_recipes: ClassVar[dict[str, dict[str, Recipe]]] = {}
    channels_last: ClassVar[bool] = False
    train_examples: ClassVar[int] = 0
    trained_as: ClassVar[str] = ""

    def __init__(self, data_root: Path | None = None, *, download: bool = False, workers: int = 0) -> None:
        self.data_root = data_root
        self.download = download
        self.workers = workers

    # -- data --------------------------------------------------------------------------------------

    def missing(self) -> str:
        """What is missing and where to get it, or an empty string; reads no data."""
        return ""

    def layout(self) -> tuple[Expected, ...]:
        """The files and folders it reads below the data root, for ``bibench data check``; reads no data.

        Without a data root, it is the published data set as a whole, which the documentation shows.
        Where there is no layout, the check tells what `missing` says.
        """
        return ()

    def prepare(self) -> None:
        """Bring the data into place (download, unpack, compose) so that `batches` can read it.

        Raises:
            DataError: it is `missing`.
        """
        if problem := self.missing():
            raise DataError(f"task {self.name!r}: {problem}")

    def has_validation(self) -> bool:
        """Whether there is a validation split; test data never serves for choices."""
        return True

    def splits(self) -> list[str]:
        """Names of its splits."""
        return [split for split in SPLITS if split != "validation" or self.has_validation()]

    def require_split(self, split: str) -> None:
        """Raise `BiBenchError` for a split this task does not have.

        Args:
            split: its name.

        Raises:
            BiBenchError: no such split; it names those that there are.
        """
        if split not in self.splits():
            raise BiBenchError(f"task {self.name!r} has no split {split!r}; it has: {', '.join(self.splits())}")

    def for_model(self, name: str) -> Task:
        """This task as the model `name` is trained on it, where models differ in what they are fed."""
        return self

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        """Batches of a split: shuffled and augmented by `seed`, or as stored without one.

        Args:
            split: ``train``, ``validation`` or ``test``.
            batch_size: examples in a batch; the last may have fewer.
        """
        raise NotImplementedError

    def checksum(self) -> str:
        """A fingerprint of the data as read."""
        raise NotImplementedError

    # -- models ------------------------------------------------------------------------------------

    def model(self, name: str, options: dict[str, Any]) -> nn.Module:
        """The full-precision model for this task.

        Args:
            name: see ``bibench list models``.
            options: the architecture's own, by name.
        """
        return create(name, **self.model_arguments(), **options)

    def model_arguments(self) -> dict[str, Any]:
        """``num_classes`` and ``input_shape`` of this task's models."""
        raise NotImplementedError

    def example_inputs(self) -> Any:
        """What the model is called with, for tracing (values do not matter)."""
        raise NotImplementedError

    # -- training and judging ----------------------------------------------------------------------

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """The model's outputs for a training batch.

        Args:
            model: in training mode.
            batch: of the training split, on the model's device.
        """
        return model(*batch.inputs)

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """The training loss of a batch (mean over its examples), a scalar.

        Args:
            outputs: what `forward` gave.
            batch: the batch that they are of.
        """
        raise NotImplementedError

    def trial_loss(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """Something to take gradients of, for timing a step on example `inputs`; its value, a scalar, means nothing.

        Args:
            model: in training mode.
            inputs: what the model is called with, in the shapes of `example_inputs` but for the batch.
        """
        return model(*inputs).float().pow(2).mean()

    def distillation_loss(self, outputs: Any, taught: Any) -> Tensor:
        """How far the outputs are from those of the full-precision teacher (recipes with distillation), a scalar.

        Here the soft cross entropy mean(-p_T · log p_S), as the official release of BiBench trains BERT
        (https://github.com/htqin/BiBench).

        Args:
            outputs: of the model.
            taught: of the teacher, on the same batch.
        """
        return soft_cross_entropy(outputs, taught)

    def evaluate(self, model: nn.Module, batches: Batches, device: Any) -> Evaluation:
        """Judge `model` (in evaluation mode) on all of `batches`.

        Args:
            device: where it computes.
        """
        raise NotImplementedError

    @classmethod
    def recipe(cls, name: str, model: str = "") -> Recipe:
        """A recipe by name, the one of `model` if it has its own; an error lists the known ones.

        Args:
            name: ``paper``, ``quick`` or another of its own.

        Raises:
            BiBenchError: no such recipe; it names the known ones.
        """
        if name not in cls.recipes:
            raise BiBenchError(f"task {cls.name!r} has no recipe {name!r}; it has: {', '.join(cls.recipes) or 'none'}")
        return cls.model_recipes.get(model, {}).get(name, cls.recipes[name])


Class = TypeVar("Class", bound=type[Task])


def task(name: str) -> Callable[[Class], Class]:
    """Class decorator: enter a `Task` subclass into the catalogue as `name`.

    Raises:
        BiBenchError: the name is none, or what is decorated is no `Task` subclass.
    """
    check_name("task", name)

    def enter(cls: Class) -> Class:
        if not (inspect.isclass(cls) and issubclass(cls, Task)):
            raise BiBenchError(f"@task({name!r}) decorates a subclass of bibench.tasks.Task, got {cls!r}")
        cls.name = name
        cls.title = cls.title or name
        TASKS.register(name, cls)
        tell(f"task {name!r}: {slip}" for slip in slips(cls, Task))
        return cls

    return enter
