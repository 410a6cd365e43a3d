"""The training loop: exact continuation, what stops it, what it writes."""

import copy
import csv
import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import bibench
from bibench.foundation.errors import CheckpointError, TrainingError
from bibench.recipes.recipe import Recipe, learning_rate
from bibench.tasks import TASKS
from bibench.train import loop
from bibench.train.cell import arrange, convert, float_model
from bibench.train.seeding import TRAINING, random_state, seed_all, set_random_state
from bibench.train.weights import digest

from ..worlds import cell

RECIPE = Recipe(epochs=3, batch_size=16, lr=1e-2)
STEPS = 4
"""Steps per epoch of the tiny task at this batch size."""


pytestmark = pytest.mark.usefixtures("in_tiny_world")


def start(directory: Path, operator: str = "bnn", recipe: Recipe = RECIPE, **more: object) -> loop.Training:
    """A training of the tiny task, set up as for a cell, in a folder of its own."""
    from lightning_fabric import Fabric

    directory.mkdir(exist_ok=True)
    chosen = cell(operator)
    task = TASKS["tiny"]()
    model = float_model(chosen, task)
    convert(chosen, model, task, recipe)
    model = arrange(model, task)
    seed_all(0, TRAINING)
    arguments = {
        "validation": task.batches("validation", batch_size=32),
        "identity": {"made": "for this test"},
        **more,
    }
    return loop.Training(
        model=model,
        task=task,
        recipe=recipe,
        batches=task.batches("train", batch_size=recipe.batch_size, seed=0),
        fabric=Fabric(accelerator="cpu", devices=1, precision=recipe.precision),
        directory=directory,
        **arguments,
    )


def interrupt(training: loop.Training, epoch: int, step: int) -> None:
    """Run until that many steps of the epoch are done."""
    training.stop = lambda: (training.position.epoch, training.position.step) >= (epoch, step)
    with pytest.raises(loop.Interrupted):
        training.run()


def result(training: loop.Training) -> tuple[object, ...]:
    """All that must not depend on interruptions."""
    at = training.position
    curve = [(e.epoch, e.learning_rate, e.train_loss, e.examples, e.validation, e.validation_loss) for e in at.curve]
    return digest(training.model), curve, at.digests


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[object, ...]]:
    """The result of an operator's uninterrupted training."""
    known: dict[str, tuple[object, ...]] = {}

    def get(operator: str) -> tuple[object, ...]:
        if operator not in known:
            training = start(tmp_path_factory.mktemp("whole"), operator)
            training.run()
            known[operator] = result(training)
        return known[operator]

    return get


class TestContinuation:
    @pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, STEPS), (1, 2), (2, STEPS - 1)])
    @pytest.mark.parametrize("operator", ["fp32", "recu", "fda"])
    def test_ends_with_the_same_bits(self, tmp_path: Path, operator: str, epoch: int, step: int, whole) -> None:
        interrupt(start(tmp_path, operator), epoch, step)
        again, done = start(tmp_path, operator), []
        again.stop = lambda: done.append(again.position.step)  # after every step, and after every epoch with 0
        again.run()
        assert result(again) == whole(operator)
        assert len([s for s in done if s]) == 3 * STEPS - (epoch * STEPS + step)

    def test_however_often_it_is_stopped(self, tmp_path: Path, whole) -> None:
        for epoch, step in itertools.product(range(3), range(1, STEPS)):
            interrupt(start(tmp_path, "fda"), epoch, step)
        again = start(tmp_path, "fda")
        again.run()
        assert result(again) == whole("fda")

    def test_also_from_the_last_regular_checkpoint_after_a_crash(self, tmp_path: Path, whole) -> None:
        def crash() -> bool:
            if (crashed.position.epoch, crashed.position.step) == (1, 3):
                raise MemoryError
            return False

        crashed = start(tmp_path, "recu", stop=crash, checkpoint_seconds=0)
        with pytest.raises(MemoryError):
            crashed.run()
        again = start(tmp_path, "recu")
        again.load()
        assert (again.position.epoch, again.position.step) == (1, 2)  # saved after the step before
        again.run()
        assert result(again) == whole("recu")

    def test_after_the_last_epoch_nothing_is_trained_and_operators_know_it(self, tmp_path: Path) -> None:
        first = start(tmp_path, "fda[profile=bibench]")
        first.run()
        again = start(tmp_path, "fda[profile=bibench]")
        again.run()
        assert result(again) == result(first)
        scales = [m.operator.noise_scale for _, m in bibench.binary_layers(again.model)]
        assert scales == [m.operator.noise_scale for _, m in bibench.binary_layers(first.model)]
        assert set(scales) == {0.0}

    def test_every_source_of_random_numbers_continues(self, tmp_path: Path) -> None:
        @bibench.operator("noisy")
        class Noisy(bibench.Operator):
            def output(self, y, x):
                if not self.training:
                    return y
                return y + torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002

        once = start(tmp_path / "a", "noisy")
        once.run()
        interrupt(start(tmp_path / "b", "noisy"), 1, 1)
        again = start(tmp_path / "b", "noisy")
        again.run()
        assert result(again) == result(once)

    def test_random_states_are_plain_data(self) -> None:
        def draw() -> tuple[object, ...]:
            return random.random(), random.gauss(), np.random.rand(), np.random.randn(), torch.rand(()).item()  # noqa: NPY002

        seed_all(3, TRAINING)
        draw()
        state = random_state(torch.device("cpu"))
        expected = [draw(), draw()]
        set_random_state(copy.deepcopy(state), torch.device("cpu"))
        assert [draw(), draw()] == expected

    def test_stopping_in_the_last_step_finishes(self, tmp_path: Path, whole) -> None:
        training = start(tmp_path, "fda")
        training.stop = lambda: (training.position.epoch, training.position.step) >= (2, STEPS)
        training.run()
        assert result(training) == whole("fda")


class TestCheckpointsThatDoNotFit:
    @pytest.fixture
    def interrupted(self, tmp_path: Path) -> Path:
        interrupt(start(tmp_path), 0, 2)
        return tmp_path

    def test_one_of_another_training_is_refused(self, interrupted: Path) -> None:
        other = start(interrupted, identity={"made": "elsewhere"})
        before = digest(other.model)
        with pytest.raises(
            CheckpointError,
            match=r"checkpoint\.pt belongs to another training or was made by other code; run with --rerun failed",
        ):
            other.run()
        assert digest(other.model) == before
        assert (interrupted / "checkpoint.pt").exists()

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_a_truncated_one_is_refused(self, interrupted: Path, share: float) -> None:
        file = interrupted / "checkpoint.pt"
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged"):
            start(interrupted).run()

    @pytest.mark.parametrize("part", ["model", "optimizer", "position", "random"])
    @pytest.mark.parametrize("value", [None, 5, {}, [1], "absent"])
    def test_one_with_other_content_is_refused(self, interrupted: Path, part: str, value: object) -> None:
        file = interrupted / "checkpoint.pt"
        data = torch.load(file, weights_only=True)
        data.pop(part) if value == "absent" else data.update({part: value})
        torch.save(data, file)
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged \(\w+: .*run with --rerun failed"):
            start(interrupted).run()


class TestNumbersThatAreNotFinite:
    def test_a_loss_names_epoch_step_and_fix(self, tmp_path: Path) -> None:
        @bibench.operator("explodes")
        class Explodes(bibench.Operator):
            def progress(self, t, dt):
                self.factor = math.nan if t > 0.5 else 1.0

            def output(self, y, x):
                return y * self.factor

        training = start(tmp_path, "explodes")
        with pytest.raises(
            TrainingError,
            match=rf"the loss is no longer finite \(epoch 2, step {STEPS}\); lower the learning rate, set clip_grad",
        ):
            training.run()
        assert [row.epoch for row in training.position.curve] == [0, 1]
        saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert saved["position"]["epoch"] == 2  # the last good state is kept
        assert all(torch.isfinite(v).all() for v in saved["model"].values())

    def test_a_long_epoch_is_not_trained_to_its_end(self, tmp_path: Path, monkeypatch) -> None:
        def poison() -> bool:
            if training.position.step == 3:
                training.model.classifier.bias.data[0] = math.inf
            return False

        monkeypatch.setattr(loop, "CHECK_EVERY", 2)
        training = start(tmp_path, "fp32", Recipe(epochs=1, batch_size=4, lr=1e-3), stop=poison)
        assert len(training.batches) == 16
        with pytest.raises(TrainingError, match=r"no longer finite \(epoch 0, step 4\)"):
            training.run()

    def test_one_hidden_in_a_batch_norm_is_found_after_the_epoch(self, tmp_path: Path) -> None:
        """Training uses the statistics of the batch, and signs hide what comes after."""
        name = "features.1.running_mean"

        def poison() -> bool:
            training.model.get_buffer(name)[1] = math.nan
            return False

        training = start(tmp_path, stop=poison)
        with pytest.raises(TrainingError, match=rf"^{name} is no longer finite after epoch 0; lower the learning rate"):
            training.run()
        assert not (tmp_path / "checkpoint.pt").exists()

    def test_an_evaluation_that_is_not_finite_fails(self, tmp_path: Path) -> None:
        @bibench.operator("overflows")
        class Overflows(bibench.Operator):
            def output(self, y, x):
                return y if self.training else y * math.inf

        with pytest.raises(TrainingError, match="the loss in evaluation is nan; lower the learning rate"):
            start(tmp_path, "overflows").run()


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


ONE_STEP = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "momentum": 0.0, "schedule": "constant"}


class TestSteps:
    def test_one_step_is_the_learning_rate_times_the_gradient(self, tmp_path: Path) -> None:
        training = start(tmp_path, "fp32", Recipe(lr=0.25, **ONE_STEP))
        copied, before = copy.deepcopy(training.model).train(), flat(training.model)
        batch = next(training.batches.epoch(0))
        F.cross_entropy(copied(*batch.inputs), batch.targets).backward()
        gradient = torch.cat([p.grad.flatten() for p in copied.parameters()])
        training.run()
        torch.testing.assert_close(flat(training.model), before - 0.25 * gradient)

    def test_the_schedule_sets_the_rate_of_every_step(self, tmp_path: Path) -> None:
        rates = []

        def note() -> bool:
            if training.position.step:  # asked once more after each epoch
                rates.append([group["lr"] for group in training.optimizer.param_groups])
            return False

        recipe = Recipe(epochs=2, batch_size=16, lr=0.1, schedule="cosine", warmup=0.25)
        training = start(tmp_path, "fp32", recipe, stop=note)
        training.run()
        total = 2 * STEPS
        assert rates == [[learning_rate(k / total, recipe)] * len(rates[0]) for k in range(total)]
        assert rates[0] == [0.0] * len(rates[0])
        assert max(rates)[0] == 0.1

    def test_a_rate_of_zero_moves_nothing(self, tmp_path: Path) -> None:
        recipe = Recipe(lr=0.25, warmup=0.5, **ONE_STEP)
        training = start(tmp_path, "fp32", recipe)
        before = flat(training.model)
        training.run()
        assert torch.equal(flat(training.model), before)

    def test_gradients_are_clipped_to_the_norm(self, tmp_path: Path) -> None:
        free, clipped = (
            start(tmp_path / str(norm), "fp32", Recipe(lr=1.0, clip_grad_norm=norm, **ONE_STEP)) for norm in (0.0, 0.01)
        )
        moved = []
        for training in (free, clipped):
            before = flat(training.model)
            training.run()
            moved.append(flat(training.model) - before)
        assert moved[0].norm() > 0.1
        assert moved[1].norm().item() == pytest.approx(0.01, rel=1e-3)
        torch.testing.assert_close(moved[1], moved[0] * (0.01 / moved[0].norm()), rtol=1e-3, atol=1e-6)

    def test_operators_follow_the_epochs(self, tmp_path: Path) -> None:
        seen = []

        @bibench.operator("follows")
        class Follows(bibench.Operator):
            def progress(self, t, dt):
                seen.append((t, dt))

        training = start(tmp_path, "follows")
        layers = len(list(bibench.binary_layers(training.model)))
        training.run()
        assert seen[:: STEPS * layers] == [(0, 1 / 3), (1 / 3, 1 / 3), (2 / 3, 1 / 3), (2 / 3, 1 / 3)]

    def test_bf16_mixed_precision_trains_float32_weights(self, tmp_path: Path) -> None:
        full, mixed = (
            start(tmp_path / p, "reactnet", Recipe(epochs=2, batch_size=16, lr=1e-2, precision=p))
            for p in ("32-true", "bf16-mixed")
        )
        full.run()
        mixed.run()
        assert {p.dtype for p in mixed.model.parameters()} == {torch.float32}
        assert digest(mixed.model) != digest(full.model)
        assert mixed.position.curve[-1].train_loss == pytest.approx(full.position.curve[-1].train_loss, rel=0.3)

    def test_bf16_mixed_precision_continues_exactly(self, tmp_path: Path) -> None:
        recipe = Recipe(epochs=2, batch_size=16, lr=1e-2, precision="bf16-mixed")
        whole = start(tmp_path / "a", "recu", recipe)
        whole.run()
        interrupt(start(tmp_path / "b", "recu", recipe), 1, 1)
        again = start(tmp_path / "b", "recu", recipe)
        again.run()
        assert result(again) == result(whole)


class TestDistillation:
    def test_the_frozen_teacher_enters_the_loss(self, tmp_path: Path) -> None:
        recipe = Recipe(lr=0.1, distillation="logits", **ONE_STEP)
        task = TASKS["tiny"]()
        teacher = float_model(cell("fp32", seed=7), task)
        teacher(torch.randn(64, 3, 8, 8))  # move its running statistics away from where they began
        teacher.eval().requires_grad_(False)
        before = digest(teacher)
        training = start(tmp_path, "bnn", recipe, teacher=teacher)
        student = copy.deepcopy(training.model).train()
        batch = next(training.batches.epoch(0))
        answer, taught = student(*batch.inputs), teacher(*batch.inputs)
        expected = -(taught.softmax(1) * answer.log_softmax(1)).mean() + 0.5 * F.cross_entropy(answer, batch.targets)
        training.run()
        assert training.position.curve[0].train_loss == pytest.approx(expected.item(), rel=1e-5)
        assert digest(teacher) == before
        assert not teacher.training
        assert all(p.grad is None for p in teacher.parameters())

    def test_unknown_methods_name_the_known_ones(self, tmp_path: Path) -> None:
        with pytest.raises(bibench.BiBenchError, match="distillation must be one of none, logits, dmd; got 'feature'"):
            start(tmp_path, recipe=Recipe(epochs=1, batch_size=16, lr=0.1, distillation="feature"))


class TestWhatItTells:
    def test_the_curve_is_a_csv_file(self, tmp_path: Path) -> None:
        training = start(tmp_path)
        training.run()
        with (tmp_path / "curve.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
        for row, epoch in zip(rows, training.position.curve, strict=True):
            assert float(row["train_loss"]) == epoch.train_loss
            assert float(row["validation"]) == epoch.validation
            assert float(row["validation_loss"]) == epoch.validation_loss
            assert int(row["examples"]) == 64
            assert float(row["seconds"]) > float(row["data_seconds"]) > 0
        assert float(rows[-1]["learning_rate"]) == learning_rate((3 * STEPS - 1) / (3 * STEPS), RECIPE)

    def test_the_training_loss_is_the_mean_over_the_steps(self, tmp_path: Path) -> None:
        recipe = Recipe(epochs=1, batch_size=16, lr=1e-30)
        training = start(tmp_path, "fp32", recipe)
        copied = copy.deepcopy(training.model).train()
        losses = [F.cross_entropy(copied(*b.inputs), b.targets).item() for b in training.batches.epoch(0)]
        training.run()
        assert training.position.curve[0].train_loss == pytest.approx(sum(losses) / STEPS, rel=1e-5)

    def test_without_validation_data_the_curve_has_none(self, tmp_path: Path) -> None:
        training = start(tmp_path, validation=None)
        training.run()
        assert {e.validation for e in training.position.curve} == {None}
        assert (tmp_path / "curve.csv").read_text().splitlines()[1].endswith(",,")

    def test_validation_is_that_of_the_model_after_the_epoch(self, tmp_path: Path) -> None:
        training = start(tmp_path, "recu")
        training.run()
        assert training.validation is not None
        judged = loop.evaluate(training.model, training.task, training.validation, training.fabric)
        assert judged.metrics["accuracy"] == training.position.curve[-1].validation
        assert judged.examples == 32

    def test_displays_hear_how_far_it_is(self, tmp_path: Path) -> None:
        heard = []
        start(tmp_path, report=heard.append).run()
        assert [e["fraction"] for e in heard] == sorted(e["fraction"] for e in heard)
        assert heard[-1]["fraction"] == 1.0
        assert [e["epoch"] for e in heard if e["loss"] is not None] == [1, 2, 3]
        assert all(e["epochs"] == 3 and 0 <= e["validation"] <= 1 for e in heard)

    def test_batches_are_those_of_the_seed(self, tmp_path: Path) -> None:
        one, two = start(tmp_path / "a", "bnn"), start(tmp_path / "b", "fda")
        one.run()
        two.run()
        assert one.position.digests == two.position.digests
        assert len(set(one.position.digests)) == 3
