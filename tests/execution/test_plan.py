"""Plans: states and their reasons, what is to do, and hours with the basis they rest on."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import bibench
from bibench.execution.estimating import OF_SCALING, OF_SEED, PROBE_STEPS, REACH
from bibench.execution.plan import RERUN, PlanRow, _Geometry, make_plan
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, StoreError, UnsupportedError
from bibench.foundation.files import write_json
from bibench.foundation.registry import load_file
from bibench.models.base import model
from bibench.nn.calls import trace
from bibench.records.provenance import environment
from bibench.records.record import Record
from bibench.statistics.coverage import coverage
from bibench.suite.cell import Cell
from bibench.suite.definition import SUITES, Filters, cells
from bibench.suite.store import CELL, CHECKPOINT, DONE, CellDirectory
from bibench.tasks import TASKS
from bibench.tasks.base import task
from bibench.train.cell import convert, identity_fields
from bibench.train.code import code_of

from ..worlds import TINY, cell

FP, BNN, RECU = cell("fp32"), cell("bnn"), cell("recu")


pytestmark = pytest.mark.usefixtures("in_tiny_world")


@pytest.fixture(autouse=True)
def _no_data(in_tiny_world: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning reads no data."""

    def read(*arguments: object, **more: object) -> None:
        raise AssertionError("a plan read data")

    for name in TASKS:
        for method in ("arrays", "prepare", "batches", "checksum"):
            if hasattr(TASKS[name], method):
                monkeypatch.setattr(TASKS[name], method, read)


def finish(runs: Path, chosen: Cell, *, seconds: float = 10.0, macs: float = 1000.0, **facts: object) -> CellDirectory:
    """Leave what a finished training leaves, as the plan reads it."""
    directory = CellDirectory(runs, chosen)
    directory.create()
    baseline = "" if chosen.full_precision else "weights of fp32"
    directory.describe(
        code=code_of(chosen),
        initial_weights=baseline,
        baseline_weights=baseline,
        recipe=chosen.resolved_recipe().to_dict(),
    )
    shared = identity_fields(chosen) | environment("cpu") | facts
    directory.write_records(
        [
            Record(kind="training", metric="train_seconds", value=seconds, **shared),
            Record(kind="model", metric="macs", value=macs, **shared),
        ]
    )
    directory.finish({"weights": "weights of fp32" if chosen.full_precision else "others"})
    return directory


def plan(runs: Path, *chosen: Cell, **options: object) -> dict[Cell, PlanRow]:
    rows = make_plan(chosen, runs, **options)
    assert [row.cell for row in rows] == list(chosen)
    return {row.cell: row for row in rows}


def change(directory: CellDirectory, file: str, **values: object) -> None:
    write_json(directory.file(file), json.loads(directory.file(file).read_text()) | values)


class TestStates:
    def test_nothing_done_yet(self, tmp_path: Path) -> None:
        rows = plan(tmp_path / "none", FP, BNN)
        assert {(row.state, row.reason, row.todo) for row in rows.values()} == {("missing", "", True)}
        assert not (tmp_path / "none").exists()

    def test_done_interrupted_and_failed(self, tmp_path: Path) -> None:
        finish(tmp_path, FP)
        CellDirectory(tmp_path, RECU).create()
        CellDirectory(tmp_path, RECU).file(CHECKPOINT).touch()
        CellDirectory(tmp_path, BNN).fail("failed", "boom", "", [])
        rows = plan(tmp_path, FP, BNN, RECU)
        assert {c: (r.state, r.reason, r.todo) for c, r in rows.items()} == {
            FP: ("done", "", False),
            BNN: ("failed", "boom", False),
            RECU: ("interrupted", "", True),
        }

    def test_running_elsewhere_is_waited_for(self, tmp_path: Path) -> None:
        CellDirectory(tmp_path, BNN).create()
        with CellDirectory(tmp_path, BNN).locked():
            row = plan(tmp_path, BNN)[BNN]
        assert (row.state, row.reason, row.todo) == ("running", "another process works on it", True)

    def test_missing_data_says_what_to_do(self, tmp_path: Path) -> None:
        chosen = Cell(choice("cifar10"), choice("resnet20"), choice("bnn"), choice("paper"), 0)
        row = plan(tmp_path, chosen)[chosen]
        assert (row.state, row.todo) == ("no data", False)
        assert "pass --data-root" in row.reason
        finish(tmp_path, chosen)
        assert plan(tmp_path, chosen)[chosen].state == "done"  # needs no data any more

    def test_impossible_combinations_have_a_reason(self, tmp_path: Path) -> None:
        chosen = cell("impossible")
        row = plan(tmp_path, chosen)[chosen]
        assert (row.state, row.todo) == ("unsupported", False)
        assert row.reason.endswith("is too small for it")
        original = cell("bnn[profile=bibench]", model="mobilenetv2")
        assert "the official release ignores" in plan(tmp_path, original)[original].reason

    def test_what_only_training_can_tell_is_left_to_training(self, tmp_path: Path) -> None:
        @model("peeks", family="cnn", paper="")
        def peeks(*, num_classes, input_shape):
            made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.LazyLinear(num_classes))
            assert made[0].weight.sum().item() != 0, "no values on the meta device"
            return made

        for chosen in (cell("asks_values"), cell("bnn", model="peeks")):
            row = plan(tmp_path, chosen)[chosen]
            assert (row.state, row.reason, row.todo) == ("missing", "", True)

    @pytest.mark.parametrize(
        ("chosen", "problem"),
        [
            (cell(model="resnet18[stem=x]"), "stem must be auto, cifar or imagenet; got 'x'"),
            (cell("recu[scale_init=x]"), "scale_init must be one of paper, weight; got 'x'"),
            (cell("bnn[profile=x]"), "operator 'bnn' has no profile 'x'; it has: default, original, bibench"),
        ],
    )
    def test_an_option_with_a_wrong_value_stops_the_plan(self, tmp_path: Path, chosen: Cell, problem: str) -> None:
        with pytest.raises(BiBenchError, match=problem):
            plan(tmp_path, chosen)

    def test_a_model_without_options_that_does_not_fit_is_a_row(self, tmp_path: Path) -> None:
        @task("dots")
        class Dots(TASKS["tiny"]):
            image_shape = (3, 4, 4)

        chosen = Cell(choice("dots"), choice("vgg_small"), choice("bnn"), choice("quick"), 0)
        row = plan(tmp_path, chosen)[chosen]
        assert (row.state, row.todo) == ("unsupported", False)
        assert "images need at least 8×8" in row.reason

    @pytest.mark.parametrize("file", [DONE, CHECKPOINT, None])
    def test_a_foreign_folder_is_refused(self, tmp_path: Path, file: str | None) -> None:
        finish(tmp_path, BNN)
        directory = CellDirectory(tmp_path, BNN)
        directory.file(DONE).unlink()
        if file:
            write_json(directory.file(file), {})
        write_json(directory.file(CELL), {"cell": RECU.to_dict()})
        with pytest.raises(StoreError, match=r"cell\.json does not describe tiny .* bnn quick seed 0; move the folder"):
            plan(tmp_path, BNN)

    def test_models_are_built_on_the_meta_device(self, tmp_path: Path) -> None:
        devices = set()

        @model("notes", family="cnn", paper="")
        def notes(*, num_classes, input_shape):
            made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, num_classes))
            devices.update(p.device.type for p in made.parameters())
            return made

        assert plan(tmp_path, cell(model="notes"))[cell(model="notes")].state == "missing"
        assert devices == {"meta"}

    @pytest.mark.parametrize("name", ["paper", "quick", "smoke", "embedded"])
    @pytest.mark.slow_but("quick", "smoke")
    def test_suites_can_be_planned(self, tmp_path: Path, name: str) -> None:
        rows = make_plan(cells(SUITES[name]), tmp_path)
        expected = {"no data"} if name == "paper" else {"missing", "unsupported"}
        assert {row.state for row in rows} == expected  # of the tiny file's operators one is impossible
        assert {row.cell.operator.name for row in rows if row.state == "unsupported"} <= {"impossible"}

    @pytest.mark.slow
    def test_the_papers_grid_takes_one_trace_for_each_model_of_a_task(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which is what planning hundreds of cells takes its seconds for."""
        found = cells(SUITES["paper"])
        traced = []
        monkeypatch.setattr(
            "bibench.execution.plan.trace", lambda model, inputs: traced.append(model) or trace(model, inputs)
        )
        make_plan(found, tmp_path)
        assert 0 < len(traced) <= len({(cell.task, cell.model) for cell in found}) < len(found) / 5


class TestGeometry:
    """What the plan knows of models without training them."""

    def test_macs_are_those_that_training_records(self) -> None:
        for task_name, chosen in (
            ("embedded_stsb", "bert"),
            ("shapes", "pointnet"),
            ("formant_words", "fsmn"),
            ("digit_scenes_voc", "faster_rcnn[proposals=20,roi_size=4,rois=4,width=8]"),
            ("digit_scenes_voc", "ssd300[batch_norm=True,width=8]"),
        ):
            place = Cell(choice(task_name), choice(chosen), choice("bnn"), choice("quick"), 0)
            made = TASKS[task_name]()
            model = made.model(place.model.name, place.model.options)
            recorded = convert(place, model, made, place.resolved_recipe()).macs_by_bits()
            assert _Geometry().macs(place) == sum(recorded.values()) > 0, (task_name, chosen)

    def test_tasks_that_train_the_same_network_share_a_trace(self) -> None:
        def place(task_name: str, chosen: str = "bert_base[pretrained=bert-base-uncased]") -> Cell:
            return Cell(choice(task_name), choice(chosen), choice("bnn"), choice("paper"), 0)

        geometry = _Geometry()
        traced = {n: geometry._model(place(f"glue_{n}")) for n in ("mrpc", "rte", "sst2", "mnli", "stsb")}
        assert traced["mrpc"] is traced["rte"]
        assert len({id(t) for t in traced.values()}) == 4  # another length, another number of classes
        assert geometry._model(place("glue_mrpc", "bert_base")) is not traced["mrpc"]

    def test_the_only_layer_that_an_operator_cannot_serve_is_found(self, tmp_path: Path) -> None:
        @bibench.operator("no_stride")
        class NoStride(bibench.Operator):
            def __init__(self, spec, *, profile="default"):
                if spec.stride == (2, 2) and spec.out_channels == 64:
                    raise UnsupportedError(f"layer {spec.name!r} has a stride")
                super().__init__(spec, profile=profile)

        chosen = Cell(choice("digits_photos"), choice("resnet20"), choice("no_stride"), choice("quick"), 0)
        row = plan(tmp_path, chosen)[chosen]
        assert (row.state, row.reason) == ("unsupported", "layer 'stages.2.0.conv1' has a stride")


class TestStale:
    def test_parts_that_changed_are_named(self, tmp_path: Path) -> None:
        directory = finish(tmp_path, FP)
        code = code_of(FP)
        change(directory, CELL, code={**code, "operator": "0", "training": "0"})
        row = plan(tmp_path, FP)[FP]
        assert (row.state, row.reason, row.todo) == ("stale", "changed since: training, operator code", False)
        change(directory, CELL, code={})
        assert plan(tmp_path, FP)[FP].reason == "changed since: training, task, model, operator, conversion code"
        assert plan(tmp_path, FP, rerun="stale")[FP].todo

    def test_operators_follow_their_baseline(self, tmp_path: Path) -> None:
        for chosen in (FP, BNN):
            finish(tmp_path, chosen)
        assert plan(tmp_path, FP, BNN)[BNN].state == "done"
        change(CellDirectory(tmp_path, FP), DONE, weights="trained again")
        row = plan(tmp_path, FP, BNN)[BNN]
        assert (row.state, row.reason) == ("stale", "its full-precision baseline was trained anew")
        assert plan(tmp_path, FP, BNN)[FP].state == "done"

    def test_a_stale_baseline_makes_its_operators_stale_so_that_one_run_repairs_all(self, tmp_path: Path) -> None:
        for chosen in (FP, BNN):
            finish(tmp_path, chosen)
        change(CellDirectory(tmp_path, FP), CELL, code={**code_of(FP), "operator": "0"})
        rows = plan(tmp_path, FP, BNN, rerun="stale")
        assert rows[BNN].reason == "its full-precision baseline is stale"
        assert [row.todo for row in rows.values()] == [True, True]

    @pytest.mark.parametrize(("recipe", "state"), [("scratch", "done"), ("distilled", "stale")])
    def test_only_what_uses_the_baseline(self, tmp_path: Path, recipe: str, state: str) -> None:
        baseline, chosen = cell("fp32", recipe), cell("bnn", recipe)
        finish(tmp_path, baseline)
        change(finish(tmp_path, chosen), CELL, initial_weights="those of the seed")
        assert plan(tmp_path, chosen)[chosen].state == "done"
        change(CellDirectory(tmp_path, baseline), DONE, weights="trained again")
        assert plan(tmp_path, chosen)[chosen].state == state

    def test_other_seeds_are_not_concerned(self, tmp_path: Path) -> None:
        for chosen in (FP, BNN, cell("fp32", seed=1), cell("bnn", seed=1)):
            finish(tmp_path, chosen)
        change(CellDirectory(tmp_path, FP), DONE, weights="trained again")
        assert plan(tmp_path, cell("bnn", seed=1))[cell("bnn", seed=1)].state == "done"


class TestSharedTraining:
    """Of `twins.py`: cells that took over the training of the tiny task, or will."""

    OTHER = [replace(chosen, task=choice("tiny_twin")) for chosen in (FP, BNN)]

    @pytest.fixture(autouse=True)
    def _twins(self, in_tiny_world: None) -> None:
        load_file(TINY.with_name("twins.py"))

    def shared(self, runs: Path) -> None:
        """Both tasks finished, one training for both."""
        for chosen, other in zip((FP, BNN), self.OTHER, strict=True):
            finish(runs, chosen)
            change(finish(runs, other), CELL, trained_as=chosen.path.as_posix())

    def states(self, runs: Path, *chosen: Cell, **options: object) -> list[tuple[str, str, bool]]:
        return [(row.state, row.reason, row.todo) for row in plan(runs, *chosen, **options).values()]

    def test_done_anew_it_leaves_stale_results(self, tmp_path: Path) -> None:
        self.shared(tmp_path)
        assert self.states(tmp_path, *self.OTHER) == [("done", "", False)] * 2
        change(CellDirectory(tmp_path, BNN), DONE, weights="trained again")
        reason = "the training it shares with task tiny was done anew"
        assert self.states(tmp_path, BNN, *self.OTHER, rerun="stale") == [
            ("done", "", False),
            ("done", "", False),
            ("stale", reason, True),
        ]
        (row,) = coverage([], list(plan(tmp_path, self.OTHER[1]).values())).rows
        assert (row.states, row.reasons) == ({"stale": 1}, (f"stale: {reason}",))

    @pytest.mark.parametrize("among", [True, False])
    def test_stale_it_makes_them_stale(self, tmp_path: Path, among: bool) -> None:
        """Whether the other task is planned, too, or not."""
        self.shared(tmp_path)
        change(CellDirectory(tmp_path, BNN), CELL, code={**code_of(BNN), "task": "0"})
        rows = plan(tmp_path, *((FP, BNN) if among else ()), *self.OTHER, rerun="stale")
        assert rows[self.OTHER[1]].reason == "the training it shares with task tiny is stale"
        assert [c for c in rows if rows[c].todo] == ([BNN] if among else []) + [self.OTHER[1]]

    def test_of_a_stale_baseline_it_is_stale_with_all_that_follows(self, tmp_path: Path) -> None:
        self.shared(tmp_path)
        change(CellDirectory(tmp_path, FP), CELL, code={**code_of(FP), "task": "0"})
        rows = plan(tmp_path, FP, *self.OTHER, BNN, rerun="stale")
        assert {row.state for row in rows.values()} == {"stale"}

    def test_what_is_gone_takes_nothing_with_it(self, tmp_path: Path) -> None:
        self.shared(tmp_path)
        for chosen in (FP, BNN):
            shutil.rmtree(CellDirectory(tmp_path, chosen).path)
        assert self.states(tmp_path, *self.OTHER) == [("done", "", False)] * 2

    def test_a_training_of_its_own_is_not_concerned(self, tmp_path: Path) -> None:
        for chosen in (FP, BNN, *self.OTHER):
            finish(tmp_path, chosen)
        change(CellDirectory(tmp_path, BNN), DONE, weights="trained again")
        assert self.states(tmp_path, *self.OTHER) == [("done", "", False)] * 2

    @pytest.mark.parametrize("first", [True, False])
    def test_costs_no_time_where_the_other_comes(self, tmp_path: Path, first: bool) -> None:
        finish(tmp_path, cell(seed=1), seconds=36.0)
        rows = plan(tmp_path, *((BNN, self.OTHER[1]) if first else (self.OTHER[1], BNN)))
        assert rows[BNN].hours == 0.01
        assert (rows[self.OTHER[1]].hours, rows[self.OTHER[1]].basis) == (0.0, "evaluation alone: trained as tiny")

    def test_costs_no_time_where_the_other_is_there(self, tmp_path: Path) -> None:
        finish(tmp_path, BNN, seconds=36.0)
        assert plan(tmp_path, self.OTHER[1])[self.OTHER[1]].hours == 0.0

    @pytest.mark.parametrize("stale", [True, False])
    def test_costs_its_own_training_where_nothing_serves(self, tmp_path: Path, stale: bool) -> None:
        other = self.OTHER[1]
        directory = finish(tmp_path, replace(other, seed=1), seconds=36.0, trained_as="that of tiny, seed 1")
        assert directory.state == "done"
        if stale:
            change(finish(tmp_path, BNN), CELL, code={})
            assert plan(tmp_path, BNN, other)[BNN].state == "stale"
        rows = plan(tmp_path, *((BNN,) if stale else ()), other)
        assert (rows[other].hours, rows[other].basis) == (0.01, "mean of 1 finished seed")

    def test_of_other_settings_costs_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = TASKS["tiny"].recipes
        monkeypatch.setattr(TASKS["tiny_twin"], "recipes", {**own, "quick": replace(own["quick"], epochs=3)})
        finish(tmp_path, BNN, seconds=36.0)
        assert plan(tmp_path, self.OTHER[1])[self.OTHER[1]].hours > 0.01

    def test_is_one_run_to_go_by(self, tmp_path: Path) -> None:
        finish(tmp_path, BNN)
        finish(tmp_path, self.OTHER[1], trained_as=BNN.path.as_posix())
        assert plan(tmp_path, RECU)[RECU].basis.startswith(
            "scaled by MACs × examples from 1 finished run of other cells, the nearest "
        )

    def test_of_mnli_is_half_of_the_plan_of_both(self, tmp_path: Path) -> None:
        finish(tmp_path, BNN, seconds=3600.0, macs=5e13)
        rows = make_plan(cells(SUITES["paper"], Filters(tasks=("glue_mnli", "glue_mnli_mm"))), tmp_path)
        hours = {name: [row.hours for row in rows if row.cell.task.name == name] for name in TASKS}
        assert len(hours["glue_mnli"]) == len(hours["glue_mnli_mm"]) == 27
        assert all(hours["glue_mnli"])
        assert set(hours["glue_mnli_mm"]) == {0.0}


class TestRerun:
    STATES = {"missing", "interrupted", "running", "failed", "unsupported", "stale", "done"}

    @pytest.mark.parametrize(
        ("policy", "spared"),
        [
            ("missing", {"failed", "unsupported", "stale", "done"}),
            ("failed", {"stale", "done"}),
            ("stale", {"failed", "unsupported", "done"}),
            ("all", set()),
        ],
    )
    def test_policies(self, policy: str, spared: set[str]) -> None:
        assert RERUN[policy] == self.STATES - spared

    def test_unknown_policies_name_the_known_ones(self, tmp_path: Path) -> None:
        with pytest.raises(BiBenchError, match="--rerun must be one of missing, failed, stale, all; got 'everything'"):
            plan(tmp_path, FP, rerun="everything")

    def test_a_done_cell_may_be_asked_for_again(self, tmp_path: Path) -> None:
        finish(tmp_path, FP)
        row = plan(tmp_path, FP, rerun="all")[FP]
        assert (row.state, row.todo) == ("done", True)


def plan_macs(chosen: Cell) -> float:
    """Multiply-accumulates of an example of a cell."""
    return float(_Geometry().macs(chosen))


class TestEstimates:
    def test_without_records_there_is_none(self, tmp_path: Path) -> None:
        row = plan(tmp_path, FP)[FP]
        assert (row.hours, row.basis) == (None, "no finished run to go by; --probe measures a few steps")

    def test_other_seeds_of_the_same_cell_come_first(self, tmp_path: Path) -> None:
        for seed, seconds in ((1, 30.0), (2, 90.0)):
            finish(tmp_path, cell(seed=seed), seconds=seconds)
        finish(tmp_path, RECU, seconds=1e6)
        row = plan(tmp_path, BNN)[BNN]
        assert (row.hours, row.basis) == (60 / 3600, "mean of 2 finished seeds")

    def test_then_the_same_operator_scaled_by_its_work(self, tmp_path: Path) -> None:
        """Per MAC and example: 8 s / (10,000 · 64 · 2 epochs); the new cell has its own MACs and 4 epochs."""
        finish(tmp_path, BNN, seconds=8.0, macs=10_000.0)
        finish(tmp_path, RECU, seconds=1e6)
        chosen = cell("bnn", "paper", model="vgg_small[width=4]")
        w = 4
        work = 64 * (3 * w * 9) + 64 * (w * w * 9) + 16 * (w * 2 * w * 9) + 16 * (4 * w * w * 9)
        work += 4 * (2 * w * 4 * w * 9) + 4 * (16 * w * w * 9) + 4 * w * 4
        row = plan(tmp_path, chosen)[chosen]
        factor = work * 64 * 4 / (10_000 * 64 * 2)
        assert row.hours == pytest.approx(8 * factor / 3600)
        assert (row.low, row.high) == pytest.approx((row.hours / OF_SCALING, row.hours * OF_SCALING))
        assert row.basis.startswith("scaled by MACs × examples from 1 finished run of this operator and task, the near")
        assert row.basis.endswith(f"{factor:.2g}× (tiny vgg_small[width=2] bnn, 8 s)")

    def test_then_any_other_by_its_median(self, tmp_path: Path) -> None:
        for operator, seconds in (("fp32", 1.0), ("recu", 3.0), ("fda", 1e6)):
            finish(tmp_path, cell(operator), seconds=seconds)
        row = plan(tmp_path, BNN)[BNN]
        assert row.basis.startswith("scaled by MACs × examples from 3 finished runs of other cells, ")
        finish(tmp_path, cell("bnn", seed=5), seconds=3.0)
        same = plan(tmp_path, cell("bnn", "paper"))[cell("bnn", "paper")]
        assert row.hours is not None
        assert same.hours == pytest.approx(2 * row.hours)  # the median is 3 s, of half as many epochs

    @pytest.mark.parametrize("other", [{"cpu": "another processor"}, {"accelerator": "a big GPU"}])
    def test_other_machines_do_not_count(self, tmp_path: Path, other: dict[str, str]) -> None:
        finish(tmp_path, cell(seed=1), **other)
        assert plan(tmp_path, BNN)[BNN].hours is None

    def test_finished_cells_cost_nothing(self, tmp_path: Path) -> None:
        finish(tmp_path, BNN)
        row = plan(tmp_path, BNN)[BNN]
        assert (row.hours, row.basis) == (None, "")

    def test_missing_data_still_has_a_price(self, tmp_path: Path) -> None:
        chosen = Cell(choice("cifar10"), choice("resnet20"), choice("bnn"), choice("paper"), 0)
        finish(tmp_path, BNN, seconds=3600.0, macs=1e13)
        row = plan(tmp_path, chosen)[chosen]
        assert row.state == "no data"
        assert row.hours is not None
        assert row.hours > 0

    def test_a_range_and_the_device_come_with_it(self, tmp_path: Path) -> None:
        for seed, seconds in ((1, 30.0), (2, 90.0)):
            finish(tmp_path, cell(seed=seed), seconds=seconds)
        row = plan(tmp_path, BNN)[BNN]
        assert (row.low, row.high) == pytest.approx((30 / OF_SEED / 3600, 90 * OF_SEED / 3600))
        here = environment("cuda" if torch.cuda.is_available() else "cpu")
        assert row.device == (here["accelerator"] if torch.cuda.is_available() else here["cpu"])

    @pytest.mark.parametrize("least", [True, False])
    def test_nothing_is_scaled_beyond_reach(self, tmp_path: Path, least: bool) -> None:
        """On one side of the bound there is a number, on the other what to measure."""
        macs = plan_macs(BNN)
        for n, within in enumerate((True, False)):
            factor = REACH * (0.99 if within else 1.01)
            runs = tmp_path / str(n)
            finish(runs, RECU, seconds=4.0, macs=macs / factor if least else macs * factor)
            row = plan(runs, BNN)[BNN]
            assert (row.hours is not None) == within == (row.low is not None)
            if not within:
                assert "the work of the nearest finished run (tiny vgg_small[width=2] recu, 4 s)" in row.basis
                assert f"(at most {REACH}); --probe measures a few steps" in row.basis

    def test_imagenet_is_not_told_by_seconds(self, tmp_path: Path) -> None:
        chosen = Cell(choice("imagenet"), choice("resnet18"), choice("bnn"), choice("paper"), 0)
        finish(tmp_path, BNN, seconds=4.0, macs=plan_macs(BNN))
        row = plan(tmp_path, chosen)[chosen]
        assert (row.state, row.hours, row.high) == ("no data", None, None)
        assert "000× the work of the nearest finished run" in row.basis

    def test_a_run_that_is_near_goes_before_one_of_the_same_operator_that_is_far(self, tmp_path: Path) -> None:
        chosen = cell("bnn", "paper")
        finish(tmp_path, BNN, seconds=1e6, macs=1.0)
        finish(tmp_path, RECU, seconds=5.0, macs=plan_macs(BNN))
        row = plan(tmp_path, chosen)[chosen]
        assert row.hours == pytest.approx(2 * 5 / 3600)  # of half as many epochs
        assert "1 finished run of other cells" in row.basis

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("operator", ["fp32", "fda"])
    def test_a_probe_measures_some_steps(self, tmp_path: Path, operator: str) -> None:
        row = plan(tmp_path, cell(operator), probe=True)[cell(operator)]
        assert row.basis.startswith(f"probe of {PROBE_STEPS} steps on ")
        assert row.low is not None and row.high is not None
        assert row.low < row.hours < row.high if row.hours else False
        assert row.hours is not None
        assert 0 < row.hours < 0.1

    def test_a_probe_costs_in_proportion_to_the_examples(self, tmp_path: Path) -> None:
        @bibench.operator("sleeps")
        class Sleeps(bibench.Operator):
            def output(self, y, x):
                time.sleep(0.02)
                return y

        row = plan(tmp_path, cell("sleeps"), probe=True)[cell("sleeps")]
        steps, layers = 2 * 64 / 16, 5
        assert row.hours is not None
        assert 1 < row.hours * 3600 / (steps * layers * 0.02) < 10

    def test_a_probe_that_fails_says_why_and_spares_the_rest(self, tmp_path: Path) -> None:
        rows = plan(tmp_path, FP, cell("raises"), probe=True)
        assert rows[FP].hours is not None
        assert rows[cell("raises")].hours is None
        assert (
            rows[cell("raises")].basis
            == 'the probe failed: RuntimeError: boom in forward (tiny.py:64: raise RuntimeError("boom in forward"))'
        )
        assert rows[cell("raises")].todo

    def test_records_go_before_a_probe(self, tmp_path: Path) -> None:
        finish(tmp_path, cell(seed=1), seconds=36.0)
        assert plan(tmp_path, BNN, probe=True)[BNN].hours == 0.01


def test_rows_are_plain_data(tmp_path: Path) -> None:
    row = plan(tmp_path, BNN)[BNN].to_dict()
    assert json.loads(json.dumps(row)) == {
        "task": "tiny",
        "model": "vgg_small[width=2]",
        "operator": "bnn",
        "recipe": "quick",
        "seed": 0,
        "state": "missing",
        "reason": "",
        "todo": True,
        "hours": None,
        "low": None,
        "high": None,
        "basis": "no finished run to go by; --probe measures a few steps",
        "device": "",
    }
