"""A measured step is the training loop's step, and its phases have no gaps."""

import time
from itertools import islice

import pytest
import torch
from torch import nn

from bibench.foundation.errors import BiBenchError
from bibench.measure.step import PHASES, Clock, TrainingStep, has_layouts
from bibench.recipes.recipe import Recipe, learning_rate, make_optimizer
from bibench.tasks import TASKS
from bibench.train.cell import convert, float_model

from ..worlds import cell

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("in_tiny_world")


def made(operator: str = "bnn", memory_format: str = "channels_last", **options: object) -> TrainingStep:
    chosen = cell(operator)
    task, recipe = TASKS["tiny"](), chosen.resolved_recipe().with_options(options)
    model = float_model(chosen, task)
    convert(chosen, model, task, recipe)
    batches = list(islice(task.batches("train", batch_size=16, seed=0).epoch(0), 2))
    return TrainingStep(model, task, recipe, batches, device=CPU, memory_format=memory_format)


def test_a_step_trains_as_a_plain_loop_does() -> None:
    step = made("fda", optimizer="sgd", clip_grad_norm=0.5)
    for _ in range(3):
        step()
    chosen = cell("fda")
    task, recipe = step.task, step.recipe
    model = float_model(chosen, task)
    convert(chosen, model, task, recipe)
    model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(0.5, recipe)
    from bibench.nn.layers import progress

    for batch in (step.batches[0], step.batches[1], step.batches[0]):
        progress(model, 0.5, 1 / recipe.epochs)
        optimizer.zero_grad()
        task.loss(model(*batch.inputs), batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    for ours, theirs in zip(step.model.state_dict().values(), model.state_dict().values(), strict=True):
        # Fabric and torch add up the gradient's norm in different orders: the clipping differs by a rounding.
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_phases_add_up_to_the_step() -> None:
    times = made()()
    assert set(times) == {*PHASES, "step"}
    for kind in ("wall", "cpu"):
        parts = [getattr(times[phase], kind) for phase in PHASES]
        assert all(part > 0 for part in parts)
        assert getattr(times["step"], kind) == pytest.approx(sum(parts))


def test_time_goes_to_the_phase_that_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_SLEEP", "0.02")  # in each of five layers
    times = made("slow")()
    assert times["forward"].wall > 0.1 > times["backward"].wall
    assert times["forward"].cpu < 0.1  # sleep is no work


def test_the_clock_books_each_lap() -> None:
    clock = Clock(CPU)
    time.sleep(0.02)
    clock.lap("forward")
    clock.lap("backward")
    time.sleep(0.03)
    clock.lap("forward")
    times = clock.read()
    assert times["forward"].wall > 0.05 > times["backward"].wall
    assert times["optimizer"].wall == 0


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_weights_and_inputs_have_the_memory_format(memory_format: str) -> None:
    step = made(memory_format=memory_format)
    layout = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[memory_format]
    tensors = [*step.batches[0].inputs, *(p for p in step.model.parameters() if p.dim() == 4 and p.shape[1] > 1)]
    assert tensors
    assert all(tensor.is_contiguous(memory_format=layout) for tensor in tensors)


def test_formats_matter_to_models_with_filters() -> None:
    assert has_layouts(nn.Conv2d(3, 4, 3))
    assert not has_layouts(nn.Sequential(nn.Linear(3, 4), nn.Conv1d(3, 4, 3)))


def test_distillation_needs_the_teachers_forward() -> None:
    chosen = cell("bnn", "distilled")
    task, recipe = TASKS["tiny"](), chosen.resolved_recipe()
    calls = []
    teacher = float_model(chosen, task).eval()
    teacher.register_forward_hook(lambda *_: calls.append(1))
    batches = list(islice(task.batches("train", batch_size=16, seed=0).epoch(0), 1))
    model = float_model(chosen, task)
    convert(chosen, model, task, recipe)
    step = TrainingStep(model, task, recipe, batches, device=CPU, memory_format="contiguous", teacher=teacher)
    step()
    assert calls == [1]
    held = {id(t) for t in step.persistent()}
    assert {id(p) for p in teacher.parameters()} <= held


def test_other_devices_are_refused() -> None:
    recipe = Recipe(epochs=1, batch_size=1, lr=0.1)
    with pytest.raises(BiBenchError, match="measured on cpu and cuda; got device meta"):
        TrainingStep(
            nn.Linear(1, 1), TASKS["tiny"](), recipe, [], device=torch.device("meta"), memory_format="contiguous"
        )
