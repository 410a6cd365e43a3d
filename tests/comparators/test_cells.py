"""Comparators through the cells: trained from the baseline, resumed exactly, stored, loaded, counted and scored."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from bibench.comparators.compressor import compressor_of
from bibench.execution.plan import make_plan
from bibench.execution.worker import run_cell
from bibench.foundation.choice import choice
from bibench.measure.complexity import measure_complexity
from bibench.operators import known_operators
from bibench.recipes.recipe import Recipe
from bibench.records.record import Record, read_file
from bibench.suite.cell import Cell
from bibench.suite.store import RECORDS, CellDirectory
from bibench.tasks import TASKS
from bibench.tracks import TRACKS
from bibench.train import loop
from bibench.train.cell import Hooks, Settings, convert, float_model, load_trained
from bibench.train.seeding import TRAINING, seed_all
from bibench.train.weights import digest

from ..worlds import cell, tiny_world

MODEL = "vgg_small[width=4]"
COMPARATORS = ("dorefa_k[bits=2]", "pact[bits=4]", "lsq[bits=8]", "l1_filters[ratio=0.5]", "resrep[reduction=0.4]")


@pytest.fixture(scope="module", autouse=True)
def _world() -> Iterator[None]:
    with tiny_world():
        yield


def place(operator: str) -> Cell:
    return cell(operator, recipe="paper", model=MODEL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of the baseline, an operator and every comparator."""
    folder = tmp_path_factory.mktemp("runs")
    for operator in ("fp32", "bnn", *COMPARATORS):
        ended = run_cell(place(operator), Settings(runs=folder, device="cpu"), Hooks(), anew=False)
        assert ended.status == "done", ended.reason
    return folder


def records(runs: Path, operator: str) -> dict[tuple[str, str], Record]:
    rows = read_file(CellDirectory(runs, place(operator)).file(RECORDS))
    return {(r.kind, r.metric): r for r in rows if r.split in ("test", "")}


@pytest.mark.parametrize("operator", COMPARATORS)
@pytest.mark.slow
def test_it_learns(runs: Path, operator: str) -> None:
    """Colours of the tiny task, from the baseline: far above chance (0.25)."""
    found = records(runs, operator)
    assert found["score", "accuracy"].value > 0.5
    assert found["score", "accuracy"].operator == operator


@pytest.mark.parametrize("operator", COMPARATORS)
def test_the_stored_model_is_the_one_that_was_judged(runs: Path, operator: str) -> None:
    task = TASKS["tiny"]()
    model = load_trained(runs, place(operator), task)
    judged = task.evaluate(model, task.batches("test", batch_size=16), torch.device("cpu"))
    assert judged.metrics["accuracy"] == records(runs, operator)["score", "accuracy"].value
    audited = records(runs, operator)["model", "parameters"].value
    assert audited == sum(p.numel() for p in model.parameters())


def test_all_start_from_the_same_weights(runs: Path) -> None:
    assert len({records(runs, o)["score", "accuracy"].initial_weights for o in ("bnn", *COMPARATORS)}) == 1
    assert len({records(runs, o)["score", "accuracy"].data_order for o in ("bnn", *COMPARATORS)}) == 1


@pytest.mark.parametrize("operator", COMPARATORS)
@pytest.mark.parametrize("at", [(1, 1), (2, 2)])
def test_an_interrupted_training_continues_exactly(tmp_path: Path, operator: str, at: tuple[int, int]) -> None:
    recipe = Recipe(epochs=4, batch_size=16, lr=1e-2)

    def training(folder: Path) -> tuple[loop.Training, object]:
        task, chosen = TASKS["tiny"](), place(operator)
        model, compressor = float_model(chosen, task), compressor_of(chosen.operator)
        convert(chosen, model, task, recipe, compressor)
        seed_all(0, TRAINING)
        folder.mkdir(exist_ok=True)
        return loop.Training(
            model=model,
            task=task,
            recipe=recipe,
            batches=task.batches("train", batch_size=16, seed=0),
            validation=None,
            fabric=Fabric(accelerator="cpu", devices=1),
            directory=folder,
            identity={},
            compressor=compressor,
        ), compressor

    inputs, ends = TASKS["tiny"]().example_inputs(), []
    whole, compressor = training(tmp_path / "whole")
    whole.run()
    compressor.finish(whole.model, inputs)
    ends.append(digest(whole.model))
    first, _ = training(tmp_path / "parts")
    first.stop = lambda: (first.position.epoch, first.position.step) >= at
    with pytest.raises(loop.Interrupted):
        first.run()
    second, compressor = training(tmp_path / "parts")
    second.run()
    compressor.finish(second.model, inputs)
    assert [*ends, digest(second.model)] == [ends[0]] * 2


@pytest.fixture(scope="module")
def counted(runs: Path) -> dict[tuple[str, str], Record]:
    cells = [place(o) for o in ("bnn", *COMPARATORS)]
    return {(r.operator, r.metric): r for r in measure_complexity(cells, runs, lambda text: None)}


@pytest.fixture(scope="module")
def rows(runs: Path, counted: dict) -> list[Record]:
    return [*counted.values(), *(r for o in ("fp32", "bnn", *COMPARATORS) for r in records(runs, o).values())]


class TestComplexity:
    def test_bits_by_hand(self, counted: dict) -> None:
        """Five of six convolutions of 4-4-8-8-16-16 channels have k bits, with two 32-bit numbers each."""
        quantized = 9 * (4 * 4 + 4 * 8 + 8 * 8 + 8 * 16 + 16 * 16)
        full = 9 * 3 * 4 + 2 * (4 + 4 + 8 + 8 + 16 + 16) + 16 * 4 + 4
        for operator, bits in (("dorefa_k[bits=2]", 2), ("pact[bits=4]", 4), ("lsq[bits=8]", 8)):
            assert counted[operator, "storage"].value == quantized * bits / 8 + 4 * (full + 5 * 2)
            ratio = 32 * (quantized + full) / (quantized * bits + 32 * (full + 10))
            assert counted[operator, "compression"].value == pytest.approx(ratio)
            products = 9 * (4 * 4 * 64 + 4 * 8 * 16 + 8 * 8 * 16 + 8 * 16 * 4 + 16 * 16 * 4)
            rest = 9 * 3 * 4 * 64 + 16 * 4
            assert counted[operator, "bops"].value == products * bits**2 + rest * 32**2

    def test_products_of_k_bits(self, counted: dict) -> None:
        """w·a/64 of an operation each, and one at 8 bits."""
        two, four, eight = (counted[o, "speedup_products"].value for o in COMPARATORS[:3])
        assert counted["bnn", "speedup_products"].value > two > four > eight == pytest.approx(1)

    def test_pruned_models_are_counted_as_they_are(self, runs: Path, counted: dict) -> None:
        for operator in COMPARATORS[3:]:
            trained = records(runs, operator)
            assert counted[operator, "macs"].value == trained["model", "macs"].value
            assert counted[operator, "parameters"].value == trained["model", "parameters"].value
            assert counted[operator, "storage"].value == 4 * trained["model", "parameters"].value
        full = records(runs, "fp32")["model", "macs"].value
        assert 0.4 <= 1 - counted["resrep[reduction=0.4]", "macs"].value / full < 0.6

    def test_what_training_decides_is_not_guessed(self, tmp_path: Path) -> None:
        rows = measure_complexity([place("resrep"), place("l1_filters")], tmp_path, lambda text: None)
        status = {(r.operator, r.metric): (r.status, r.reason) for r in rows}
        assert status["resrep", "compression"][0] == "unsupported"
        assert "decides in training" in status["resrep", "compression"][1]
        assert status["l1_filters", "compression"][0] == "ok"


class TestScores:
    @pytest.mark.parametrize("name", [n for n in TRACKS if n != "other_compression"])
    def test_comparators_are_in_no_other_track(self, rows: list[Record], name: str) -> None:
        operators_alone = [r for r in rows if r.operator in ("fp32", "bnn")]
        scored = TRACKS[name].score(rows)
        assert scored == TRACKS[name].score(operators_alone)
        assert {s.operator for s in scored} <= set(known_operators())

    def test_they_are_beside_the_operators_in_their_own(self, rows: list[Record]) -> None:
        scored = TRACKS["other_compression"].score(rows)
        assert list(dict.fromkeys(s.operator for s in scored)) == [
            *("bnn", "dorefa_k[bits=2]", "lsq[bits=8]", "pact[bits=4]"),
            *("l1_filters[ratio=0.5]", "resrep[reduction=0.4]"),
        ]
        by_key = {(s.operator, s.metric): s for s in scored}
        assert {m for _, m in by_key} == {f"tiny {MODEL}", "compression", "speedup"}
        assert all(("comparator" in s.note) == (s.operator != "bnn") for s in scored)
        own = next(r for r in rows if r.operator == "lsq[bits=8]" and r.kind == "score")
        full = next(r for r in rows if r.operator == "fp32" and r.kind == "score")
        assert by_key["lsq[bits=8]", f"tiny {MODEL}"].value == pytest.approx(100 * own.value / full.value)

    def test_without_comparators_there_is_nothing_to_show(self, rows: list[Record]) -> None:
        assert TRACKS["other_compression"].score([r for r in rows if r.operator in ("fp32", "bnn")]) == []


def test_the_plan_says_what_cannot_be_pruned(tmp_path: Path) -> None:
    cells = [
        Cell(choice(task), choice(model), choice(operator), choice("quick"), 0)
        for task, model in (("tiny", "vgg_small[width=4]"), ("embedded_stsb", "bert"))
        for operator in ("lsq", "l1_filters", "resrep")
    ]
    rows = {(r.cell.task.name, r.cell.operator.name): r for r in make_plan(cells, tmp_path)}
    assert all(rows["tiny", o].state == "missing" for o in ("lsq", "l1_filters", "resrep"))
    assert rows["embedded_stsb", "lsq"].state == "missing"
    for operator in ("l1_filters", "resrep"):
        row = rows["embedded_stsb", operator]
        assert row.state == "unsupported" and "cannot be pruned" in row.reason
