"""Every embedded task keeps every contract; broken tasks are found."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bibench.contracts import check
from bibench.contracts.task import _Few
from bibench.data.batches import Batch, TensorBatches
from bibench.data.images import Normalize
from bibench.data.location import DATA_ROOT
from bibench.recipes.recipe import Recipe
from bibench.tasks import TASKS, task
from bibench.tasks.base import Evaluation
from bibench.tasks.image_classification import InMemoryImages

EMBEDDED = [name for name in TASKS if TASKS[name].embedded and not TASKS[name]().missing()]  # optional packages
CONTRACTS = ["models_and_recipes_exist", "order_is_reproducible", "loss_and_model_fit", "score_is_in_range"]


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.slow_but("digits_photos", "embedded_cola", "shapes", "embedded_sst2")
def test_embedded_task_keeps_its_contracts(name: str) -> None:
    findings = list(check("task", name))
    assert {finding.contract for finding in findings} >= set(CONTRACTS)
    assert not [finding for finding in findings if finding.problem]


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_a_task_without_its_data_says_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    told = {finding.contract: finding.problem for finding in check("task", name)}
    assert told.pop("models_and_recipes_exist") == ""
    assert set(told.values()) == {TASKS[name](tmp_path).missing()}
    assert str(tmp_path) in told["order_is_reproducible"]


# -- broken tasks ------------------------------------------------------------------------------------------


class Sound(InMemoryImages):
    """Sixteen pictures of 8×8 in four classes."""

    num_classes = 4
    image_shape = (3, 8, 8)
    chance = 0.25
    models = ("resnet20[width=4]",)
    normalize = Normalize((128.0,) * 3, (64.0,) * 3)
    recipes = {name: Recipe(epochs=1, batch_size=4, lr=0.1) for name in ("paper", "quick")}

    def has_validation(self) -> bool:
        return False

    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(len(split))
        images = torch.randint(0, 256, (16, 8, 8, 3), generator=random, dtype=torch.uint8)
        return images, torch.arange(16) % 4


class NoQuickRecipe(Sound):
    recipes = {"paper": Sound.recipes["paper"]}


class MisspeltStage(Sound):
    recipes = Sound.recipes | {"quick": Recipe(epochs=1, batch_size=4, lr=0.1, fp32=(("learning_rate", 0.1),))}


class NoModel(Sound):
    models = ()


class UnknownModel(Sound):
    models = ("resnet21",)


class UnknownOption(Sound):
    models = ("resnet20[depth=4]",)


class Elsewhere(Sound):
    def missing(self) -> str:
        return "fetch the pictures"


class WrongLabels(Sound):
    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        images, labels = super().arrays(split)
        return images, labels + 1


class Forgetful(TensorBatches):
    """Its augmentation draws from the global generator."""

    def epoch(self, epoch: int, start: int = 0) -> Any:
        for batch in super().epoch(epoch, start):
            yield Batch((batch.inputs[0] + torch.rand(()),), batch.targets)


class Unrepeatable(Sound):
    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Any:
        images, labels = self._splits[split]
        return Forgetful(images, labels, batch_size=batch_size, transform=lambda x, r: self.normalize(x), seed=seed)


class SameOrder(TensorBatches):
    def epoch(self, epoch: int, start: int = 0) -> Any:
        return super().epoch(0, start)

    def digest(self, epoch: int) -> bytes:
        return super().digest(0)


class NeverShuffled(Sound):
    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Any:
        images, labels = self._splits[split]
        return SameOrder(images, labels, batch_size=batch_size, transform=lambda x, r: self.normalize(x), seed=seed)


class LossPerExample(Sound):
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return torch.nn.functional.cross_entropy(outputs, batch.targets, reduction="none")


class NotFinite(Sound):
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return super().loss(outputs, batch) / 0


class OtherShape(Sound):
    def example_inputs(self) -> Tensor:
        return torch.zeros(2, 1, 8, 8)


class OtherMetric(Sound):
    metric = "f1"


class Percent(Sound):
    def evaluate(self, model: Any, batches: Any, device: Any) -> Evaluation:
        return Evaluation({"accuracy": 25.0}, 16)


class NoNumber(Sound):
    def evaluate(self, model: Any, batches: Any, device: Any) -> Evaluation:
        return Evaluation({"accuracy": float("nan")}, 16)


class Raises(Sound):
    def evaluate(self, model: Any, batches: Any, device: Any) -> Evaluation:
        raise RuntimeError("boom")


class Trained(Sound):
    trained_as = "sound"

    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        images, labels = super().arrays(split)
        return (images + 1 if split == "test" else images), labels


class TrainedOnOthers(Trained):
    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        images, labels = super().arrays(split)
        return (images + 1 if split == "train" else images), labels


class TrainedByAnotherLoss(Trained):
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return 2 * super().loss(outputs, batch)


class Validated(Trained):
    def has_validation(self) -> bool:
        return True


class TrainedInACircle(Trained):
    trained_as = "broken"


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch):
    """Enter a task for one test."""
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    monkeypatch.setattr(TASKS, "_sources", dict(TASKS._sources))
    return lambda cls: task("broken")(cls)


def problems() -> list[str]:
    return [f"{f.contract}: {f.problem}" for f in check("task", "broken") if f.problem]


@pytest.mark.parametrize("sound", [Sound, Trained])
def test_the_sound_task_keeps_all(enter, sound: type[Sound]) -> None:
    task("sound")(Sound)
    enter(sound)
    assert problems() == []
    applied = {f.contract for f in check("task", "broken")}
    assert applied == {*CONTRACTS, *(["a_shared_training_is_the_same"] if sound is Trained else [])}


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (NoQuickRecipe, "models_and_recipes_exist: has no recipe quick"),
        (MisspeltStage, "models_and_recipes_exist: a recipe has no 'learning_rate'; it has: backward"),
        (NoModel, "models_and_recipes_exist: names no model"),
        (UnknownModel, "models_and_recipes_exist: unknown model 'resnet21'; did you mean 'resnet2"),
        (UnknownOption, "models_and_recipes_exist: model 'resnet20' has no option 'depth'; it has: width=16"),
        (Elsewhere, "order_is_reproducible: fetch the pictures"),
        (WrongLabels, "order_is_reproducible: broken, train split: labels range from 1 to 4, expected 0 to 3"),
        (Unrepeatable, "order_is_reproducible: continuing at step 2 gives another batch than going there"),
        (NeverShuffled, "order_is_reproducible: two epochs have the same order"),
        (LossPerExample, "loss_and_model_fit: the loss is tensor("),
        (NotFinite, "loss_and_model_fit: the loss is inf"),
        (OtherShape, "loss_and_model_fit: raised RuntimeError: "),
        (OtherMetric, "score_is_in_range: evaluate gives ['accuracy', 'loss'], not 'f1'"),
        (Percent, "score_is_in_range: accuracy is 25.0, expected a fraction"),
        (NoNumber, "score_is_in_range: accuracy is nan, expected a fraction"),
        (Raises, "score_is_in_range: raised RuntimeError: boom (test_task_contracts.py:"),
        (TrainedOnOthers, "a_shared_training_is_the_same: has other batches of the train split than 'sound'"),
        (TrainedByAnotherLoss, "a_shared_training_is_the_same: has a loss of "),
        (Validated, "a_shared_training_is_the_same: has the splits ['train', 'validation', 'test'], 'sound' ['train'"),
        (TrainedInACircle, "a_shared_training_is_the_same: is trained as 'broken', which has no training of its own"),
    ],
)
def test_broken_tasks_are_found(enter, broken: type[Sound], problem: str) -> None:
    task("sound")(Sound)
    enter(broken)
    found = problems()
    assert any(line.startswith(problem) for line in found), found


def test_judging_takes_a_few_batches_of_all_parts() -> None:
    data = torch.arange(100)
    batches = TensorBatches(data, data, batch_size=3, transform=lambda x, r: x, seed=None)
    few = _Few(batches, 4)
    assert [batch.targets[0].item() for batch in few.epoch(0)] == [0, 27, 54, 81]
    assert (len(few), few.examples) == (4, 12)
    assert [batch.size for batch in _Few(batches, 1000).epoch(0)] == [3] * 33 + [1]
