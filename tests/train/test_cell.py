"""One cell from its folder to its done marker: starting weights, records, provenance, stored models."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bibench
from bibench.execution.worker import Result, run_cell
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import CheckpointError
from bibench.foundation.files import load_checkpoint, save_checkpoint
from bibench.kernels import native
from bibench.records.provenance import environment
from bibench.records.record import Record, read_file
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, CHECKPOINT, CURVE, DONE, FAILURE, MODEL, RECORDS, CellDirectory
from bibench.tasks import TASKS
from bibench.tasks.base import Evaluation
from bibench.train import loop
from bibench.train.cell import (
    COLLAPSE,
    Hooks,
    Settings,
    convert,
    float_model,
    load_trained,
    train_cell,
)
from bibench.train.code import code_of
from bibench.train.networks import start_from_baseline
from bibench.train.telling import flags_of
from bibench.train.weights import digest, first_not_finite, load_full_precision

from ..worlds import cell, tiny_world

BOOM = 'RuntimeError: boom in forward (tiny.py:64: raise RuntimeError("boom in forward"))'
pytestmark = pytest.mark.usefixtures("in_tiny_world")


def train(runs: Path, *cells: Cell, anew: bool = False, **settings: object) -> Result:
    """Run cells one after the other in this process; the last one's result."""
    for chosen in cells:
        ended = run_cell(chosen, Settings(runs=runs, device="cpu", **settings), Hooks(), anew=anew)
    return ended


def described(runs: Path, chosen: Cell) -> dict:
    return json.loads(CellDirectory(runs, chosen).file(CELL).read_text())


def done(runs: Path, chosen: Cell) -> dict:
    return json.loads(CellDirectory(runs, chosen).file(DONE).read_text())


def records(runs: Path, chosen: Cell) -> dict[tuple[str, str], Record]:
    found = read_file(CellDirectory(runs, chosen).file(RECORDS))
    assert len({(r.metric, r.split) for r in found}) == len(found)
    return {(r.metric, r.split): r for r in found}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four finished cells of one seed and two of another."""
    folder = tmp_path_factory.mktemp("runs")
    with tiny_world():
        for seed in (0, 1):
            for operator in ("fp32", "bnn", "fda") if seed == 0 else ("fp32", "bnn"):
                assert train(folder, cell(operator, seed=seed)) == Result("done")
    return folder


class TestProof:
    """A number is of the 1-bit layers that the cell names, or there is none."""

    def bypass(self) -> None:
        """A model whose last part, where its batch is large, reads a weight in place of calling the layer."""

        class Bypassing(torch.nn.Module):
            def __init__(self, channels: int, classes: int) -> None:
                super().__init__()
                self.first, self.inner = torch.nn.Conv2d(channels, 4, 3), torch.nn.Linear(4, 4)
                self.last = torch.nn.Linear(4, classes)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.first(x).mean((-2, -1))
                large = not torch.is_grad_enabled() and len(x) > 16
                out: torch.Tensor = self.last(x @ self.inner.weight.t() if large else self.inner(x))
                return out

        @bibench.models.base.model("bypassing", family="cnn", paper="")
        def bypassing(*, num_classes: int, input_shape: tuple[int, ...]) -> torch.nn.Module:
            return Bypassing(input_shape[0], num_classes)

    def test_a_cell_that_computes_something_else_fails_before_it_is_trained_to_its_end(self, tmp_path: Path) -> None:
        self.bypass()
        assert train(tmp_path, cell("fp32", model="bypassing")) == Result("done")
        ended = train(tmp_path, cell("bnn", model="bypassing"))
        assert ended.status == "failed"
        assert "1 of 1 1-bit layers do not run as such in evaluation ('inner': its weight is read by" in ended.reason
        directory = CellDirectory(tmp_path, cell("bnn", model="bypassing"))
        (row,) = read_file(directory.file(RECORDS))
        assert (row.value, row.status, row.reason) == (None, "failed", ended.reason)
        assert not directory.file(CHECKPOINT).exists()  # it failed at the end of the first epoch


class TestFolder:
    def test_a_finished_cell_leaves_what_is_documented(self, runs: Path) -> None:
        path = CellDirectory(runs, cell()).path
        assert {p.name for p in path.iterdir()} == {CELL, CURVE, MODEL, RECORDS, DONE}

    def test_what_a_killed_process_left_half_written_is_cleared_away(self, tmp_path: Path) -> None:
        directory = CellDirectory(tmp_path, cell("fp32"))
        directory.create()
        directory.file(".checkpoint.pt-0123abcd").write_bytes(b"half")
        assert train(tmp_path, cell("fp32")) == Result("done")
        assert not directory.file(".checkpoint.pt-0123abcd").exists()

    def test_it_is_not_trained_twice(self, runs: Path) -> None:
        before = CellDirectory(runs, cell()).file(MODEL).stat().st_mtime_ns
        assert train(runs, cell()) == Result("done", "by another process")
        assert CellDirectory(runs, cell()).file(MODEL).stat().st_mtime_ns == before

    def test_training_it_anew_keeps_the_old_result_and_repeats_it(self, runs: Path) -> None:
        chosen = cell("fda")
        before = done(runs, chosen)
        assert train(runs, chosen, anew=True) == Result("done")
        (old,) = CellDirectory(runs, chosen).file("superseded").iterdir()
        assert json.loads((old / DONE).read_text()) == before
        assert done(runs, chosen)["weights"] == before["weights"]

    def test_the_stored_model_has_the_recorded_accuracy_and_weights(self, runs: Path) -> None:
        task = TASKS["tiny"]()
        for operator in ("fp32", "bnn", "fda"):
            model = load_trained(runs, cell(operator), task)
            assert not model.training
            assert model.features[3].weight.is_contiguous(memory_format=torch.channels_last)  # as it was judged
            with torch.inference_mode():
                judged = task.evaluate(model, task.batches("test", batch_size=128), torch.device("cpu"))
            found = records(runs, cell(operator))
            assert judged.metrics["accuracy"] == found["accuracy", "test"].value == done(runs, cell(operator))["score"]
            assert judged.metrics["loss"] == found["loss", "test"].value
            assert digest(model) == done(runs, cell(operator))["weights"]

    def test_a_stored_model_of_another_cell_is_refused(self, runs: Path, tmp_path: Path) -> None:
        chosen = cell("fda")
        target = CellDirectory(tmp_path, chosen)
        target.create()
        for content in (load_checkpoint(CellDirectory(runs, cell("bnn")).file(MODEL)), {"model": {}}, {}):
            save_checkpoint(target.file(MODEL), content)
            with pytest.raises(CheckpointError, match=r"model\.pt does not hold the model of tiny .* fda quick seed 0"):
                load_trained(tmp_path, chosen, TASKS["tiny"]())


class TestFairness:
    def test_operators_of_one_seed_share_start_and_order_other_seeds_do_not(self, runs: Path) -> None:
        facts = {
            (o, s): {(r.initial_weights, r.data_order, r.data) for r in records(runs, cell(o, seed=s)).values()}
            for o, s in (("bnn", 0), ("fda", 0), ("bnn", 1), ("fp32", 0), ("fp32", 1))
        }
        assert all(len(found) == 1 for found in facts.values())
        start, order, data = ({k: next(iter(v))[i] for k, v in facts.items()} for i in range(3))
        assert start["bnn", 0] == start["fda", 0] != start["bnn", 1]
        assert start["fp32", 0] != start["fp32", 1]
        assert order["bnn", 0] == order["fda", 0] == order["fp32", 0] != order["bnn", 1]
        assert len(set(data.values())) == 1
        assert all((*start.values(), *order.values(), *data.values()))

    def test_operators_start_from_the_trained_baseline(self, runs: Path) -> None:
        weights = done(runs, cell("fp32"))["weights"]
        for operator in ("bnn", "fda"):
            description = described(runs, cell(operator))
            assert description["initial_weights"] == description["baseline_weights"] == weights
        assert described(runs, cell("fp32"))["initial_weights"] != weights

    def test_from_scratch_all_start_from_the_seeds_own_weights(self, tmp_path: Path) -> None:
        for operator in ("fp32", "bnn", "recu"):
            assert train(tmp_path, cell(operator, "scratch")).status == "done"
        starts = {described(tmp_path, cell(o, "scratch"))["initial_weights"] for o in ("fp32", "bnn", "recu")}
        assert starts == {digest(float_model(cell("bnn", "scratch"), TASKS["tiny"]()))}
        assert described(tmp_path, cell("bnn", "scratch"))["baseline_weights"] == ""

    def test_conversion_keeps_the_starting_weights(self) -> None:
        chosen, task = cell("fda"), TASKS["tiny"]()
        model = float_model(chosen, task)
        before = model.state_dict()
        audit = convert(chosen, model, task, chosen.resolved_recipe())
        assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
        assert audit.parameters_by_bits()[1] > 0

    def test_a_teacher_is_the_trained_baseline_and_frozen(self, tmp_path: Path) -> None:
        train(tmp_path, cell("fp32", "distilled"))
        chosen, task = cell("bnn", "distilled"), TASKS["tiny"]()
        model = float_model(chosen, task)
        before = digest(model)
        teacher, weights = start_from_baseline(chosen, tmp_path, task, chosen.resolved_recipe(), model)
        assert teacher is not None
        assert digest(teacher) == weights == done(tmp_path, cell("fp32", "distilled"))["weights"]
        assert not teacher.training
        assert not any(p.requires_grad for p in teacher.parameters())
        assert digest(model) == before  # the student starts from its seed

    def test_a_teacher_is_remembered(self, tmp_path: Path) -> None:
        assert train(tmp_path, cell("fp32", "distilled"), cell("bnn", "distilled")).status == "done"
        description = described(tmp_path, cell("bnn", "distilled"))
        assert description["baseline_weights"] == done(tmp_path, cell("fp32", "distilled"))["weights"]
        assert description["initial_weights"] == digest(float_model(cell("bnn"), TASKS["tiny"]()))


class TestCoverage:
    def test_every_tensor_must_find_its_place(self) -> None:
        task = TASKS["tiny"]()
        source, target = task.model("vgg_small", {"width": 2}), task.model("vgg_small", {"width": 2})
        state = source.state_dict()
        load_full_precision(target, state, "here")
        assert digest(target) == digest(source)
        wrapped = {"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}}
        again = task.model("vgg_small", {"width": 2})
        load_full_precision(again, wrapped, "here")
        assert digest(again) == digest(source)
        names = list(state)
        broken = {k: v for k, v in state.items() if k not in names[:5]}
        broken["classifier.weight"] = torch.zeros(4, 9)
        broken |= {"head.weight": torch.zeros(1), "head.bias": torch.zeros(1)}
        before = digest(target)
        with pytest.raises(CheckpointError) as caught:
            load_full_precision(target, broken, "here.pt")
        assert str(caught.value) == (
            f"here.pt does not belong to this architecture: {len(state) - 6} of {len(state)} tensors fit; "
            f"5 missing ({', '.join(sorted(names[:5])[:3])}, ...); 2 unexpected (head.bias, head.weight); "
            "1 of another shape (classifier.weight (4, 9) instead of (4, 8)). "
            "Train the full-precision cell of the same model, or use init=scratch"
        )
        assert digest(target) == before

    @pytest.mark.parametrize("other", ["vgg_small[width=4]", "resnet20[width=4]"])
    def test_a_checkpoint_of_another_architecture_fails_the_cell(self, runs: Path, tmp_path: Path, other: str) -> None:
        chosen = cell(model=other)
        baseline = CellDirectory(tmp_path, cell("fp32", model=other))
        baseline.create()
        file = CellDirectory(runs, cell("fp32")).file(MODEL)
        save_checkpoint(baseline.file(MODEL), load_checkpoint(file))
        ended = train(tmp_path, chosen)
        assert ended.status == "failed"
        assert f"{baseline.file(MODEL)} does not belong to this architecture: " in ended.reason
        assert "tensors fit; " in ended.reason
        assert CellDirectory(tmp_path, chosen).state == "failed"

    @pytest.mark.parametrize("content", [{}, {"model": {}}, {"model": {"x": torch.zeros(1)}}])
    def test_a_checkpoint_without_weights_fails_the_cell(self, tmp_path: Path, content: dict) -> None:
        baseline = CellDirectory(tmp_path, cell("fp32"))
        baseline.create()
        save_checkpoint(baseline.file(MODEL), content)
        count = len(TASKS["tiny"]().model("vgg_small", {"width": 2}).state_dict())
        reason = train(tmp_path, cell()).reason
        assert f"does not belong to this architecture: 0 of {count} tensors fit; {count} missing" in reason

    def test_a_missing_baseline_fails_the_cell(self, tmp_path: Path) -> None:
        ended = train(tmp_path, cell())
        assert ended.status == "failed"
        assert ended.reason.endswith("model.pt does not exist")

    def test_first_not_finite_names_the_tensor(self) -> None:
        model = TASKS["tiny"]().model("vgg_small", {"width": 2})
        assert first_not_finite(model) is None
        model.features[1].running_var[1] = torch.inf
        assert first_not_finite(model) == "features.1.running_var"


class TestRecords:
    def test_numbers(self, runs: Path) -> None:
        found, model = records(runs, cell()), TASKS["tiny"]().model("vgg_small", {"width": 2})
        curve = CellDirectory(runs, cell()).file(CURVE).read_text().splitlines()
        last = dict(zip(curve[0].split(","), curve[-1].split(","), strict=True))
        assert found["accuracy", "test"].kind == "score"
        assert found["loss", "test"].kind == "task"
        assert found["accuracy", "validation"].value == float(last["validation"])
        assert found["train_loss", "train"].value == float(last["train_loss"])
        assert found["parameters", ""].value == sum(p.numel() for p in model.parameters())
        convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        assert found["binary_parameters", ""].value == sum(m.weight.numel() for m in convolutions[1:])
        sides = (8, 8, 4, 4, 2, 2)  # of the maps that the convolutions make, before pooling
        macs = [m.weight.numel() * side**2 for m, side in zip(convolutions, sides, strict=True)]
        assert found["binary_macs", ""].value == sum(macs[1:])
        assert found["macs", ""].value == sum(macs) + model.classifier.weight.numel()
        assert found["train_seconds", ""].unit == "s"
        assert found["throughput", ""].value == pytest.approx(2 * 64 / found["train_seconds", ""].value, rel=1e-6)
        assert 0 < found["data_loading_share", ""].value < 1
        if ("peak_memory", "") in found:
            assert found["peak_memory", ""].value > 50e6
        assert records(runs, cell("fp32"))["binary_macs", ""].value == 0

    def test_every_one_says_where_it_is_from(self, runs: Path) -> None:
        here = environment("cpu")
        task = TASKS["tiny"]()
        for record in records(runs, cell("fda", seed=0)).values():
            assert {name: getattr(record, name) for name in here} == here
            assert record.cell == cell("fda").path.as_posix()
            assert (record.task, record.embedded, record.stands_in_for, record.chance) == (
                "tiny",
                True,
                "nothing",
                0.25,
            )
            assert (record.model, record.family) == ("vgg_small[width=2]", "cnn")
            assert (record.operator, record.profile) == ("fda", "default")
            assert (record.recipe, record.division, record.precision) == ("quick", "closed", "32-true")
            assert (record.seed, record.status, record.reason) == (0, "ok", "")
            assert record.code == "-".join(code_of(cell("fda")).values())
            assert record.data == task.checksum()[:16]
            assert len(record.initial_weights) == len(record.data_order) == 16
            assert record.seconds >= records(runs, cell("fda"))["train_seconds", ""].value
            assert record.started.endswith("+00:00")

    def test_the_order_is_the_fingerprint_of_all_epochs(self, runs: Path) -> None:
        batches = TASKS["tiny"]().batches("train", batch_size=16, seed=0)
        digests = "".join(batches.digest(epoch).hex()[:16] for epoch in range(2))
        assert records(runs, cell())["accuracy", "test"].data_order == sha256(digests.encode())[:16]

    def test_options_open_the_division_and_name_the_profile(self, runs: Path, tmp_path: Path) -> None:
        chosen = cell("bnn[profile=original]", "quick[epochs=1,init=scratch]")
        assert train(tmp_path, chosen).status == "done"
        record = records(tmp_path, chosen)["accuracy", "test"]
        assert (record.division, record.profile, record.operator) == ("open", "original", "bnn[profile=original]")
        assert described(tmp_path, chosen)["recipe"]["epochs"] == 1

    @pytest.mark.parametrize("isa", [native.NONE, *native.available()])
    def test_the_way_of_the_backward_pass_is_the_one_that_ran(self, isa: str, tmp_path: Path) -> None:
        """Lookups were asked for; a processor that has none computes in float32, and its record says so."""
        chosen = cell("bnn", "quick[epochs=1,init=scratch,backward=lookup]")
        with native.using(isa):
            assert train(tmp_path, chosen).status == "done"
        record = records(tmp_path, chosen)["accuracy", "test"]
        assert record.precision == ("32-true, backward lookup" if isa == "avx512" else "32-true")
        assert record.division == "open"

    def test_a_model_with_one_answer_is_flagged(self, tmp_path: Path) -> None:
        chosen = cell("silent", "scratch")
        assert train(tmp_path, chosen).status == "done"
        assert "collapsed" in records(tmp_path, chosen)["accuracy", "test"].flags.split(",")
        assert records(tmp_path, chosen)["accuracy", "test"].value == 0.25

    @pytest.mark.parametrize(
        ("losses", "share", "flags"),
        [
            ((1.0, 0.5), 0.5, []),
            ((1.0, 1.0), COLLAPSE - 0.01, []),
            ((1.0, 1.1), None, ["diverged"]),
            ((1.0, 9.0, 0.9), COLLAPSE, ["collapsed"]),
            ((1.0, 9.0), 1.0, ["collapsed", "diverged"]),
        ],
    )
    def test_flags(self, losses: tuple[float, ...], share: float | None, flags: list[str]) -> None:
        curve = [loop.Epoch(i, 0.1, loss, 1.0, 0.1, 64) for i, loss in enumerate(losses)]
        assert flags_of(loop.Position(curve=curve).diverged, Evaluation({"accuracy": 0.5}, 48, share)) == flags

    def test_tensorboard_gets_the_curve(self, tmp_path: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        assert train(tmp_path, cell("fp32"), tensorboard=True).status == "done"
        folder = CellDirectory(tmp_path, cell("fp32")).file("tensorboard")
        events = EventAccumulator(str(folder))
        events.Reload()
        curve = CellDirectory(tmp_path, cell("fp32")).file(CURVE).read_text().splitlines()[1:]
        found = [(e.step, e.value) for e in events.Scalars("train_loss")]
        assert found == [(int(row.split(",")[0]), pytest.approx(float(row.split(",")[2]))) for row in curve]
        assert "validation" in events.Tags()["scalars"]


class TestFailures:
    def test_an_operator_that_raises_is_a_row_with_its_traceback(self, runs: Path, tmp_path: Path) -> None:
        chosen = cell("raises", "scratch")
        assert train(tmp_path, chosen) == Result("failed", BOOM)
        failure = json.loads(CellDirectory(tmp_path, chosen).file(FAILURE).read_text())
        assert failure["reason"] == BOOM
        assert 'raise RuntimeError("boom in forward")' in failure["traceback"]
        (record,) = records(tmp_path, chosen).values()
        assert (record.status, record.value, record.reason) == ("failed", None, BOOM)
        assert record.operator == "raises"
        assert record.torch

    def test_an_impossible_combination_is_a_row_with_its_reason(self, tmp_path: Path) -> None:
        chosen = cell("impossible", "scratch")
        ended = train(tmp_path, chosen)
        assert ended.status == "unsupported"
        assert ended.reason.endswith("is too small for it")
        (record,) = records(tmp_path, chosen).values()
        assert (record.status, record.value, record.reason) == ("unsupported", None, ended.reason)
        assert CellDirectory(tmp_path, chosen).state == "unsupported"

    def test_trying_again_forgets_the_failure(self, tmp_path: Path) -> None:
        chosen = cell("flaky", "scratch")

        @bibench.operator("flaky")
        class Flaky(bibench.Operator):
            fails = True

            def output(self, y, x):
                if self.fails and self.training:
                    raise RuntimeError("not yet")
                return y

        assert train(tmp_path, chosen).status == "failed"
        Flaky.fails = False
        assert train(tmp_path, chosen).status == "done"
        assert not CellDirectory(tmp_path, chosen).file(FAILURE).exists()
        assert records(tmp_path, chosen)["accuracy", "test"].status == "ok"

    @pytest.mark.parametrize("damage", ["other code", "truncated"])
    def test_a_checkpoint_that_does_not_fit_fails_until_it_may_be_discarded(self, tmp_path: Path, damage: str) -> None:
        chosen = cell("fp32", "paper")
        steps = iter(range(100))
        stopped = run_cell(chosen, Settings(tmp_path), Hooks(stop=lambda: next(steps) > 6), anew=False)
        assert stopped == Result("interrupted")
        directory = CellDirectory(tmp_path, chosen)
        assert directory.state == "interrupted"
        file = directory.file(CHECKPOINT)
        if damage == "truncated":
            file.write_bytes(file.read_bytes()[:1000])
        else:
            data = load_checkpoint(file)
            data["identity"]["code"]["operator"] = "0" * 16
            save_checkpoint(file, data)
        ended = train(tmp_path, chosen)
        assert ended.status == "failed"
        assert "damaged" in ended.reason if damage == "truncated" else "made by other code" in ended.reason
        assert file.exists()
        assert train(tmp_path, chosen, discard_stale=True) == Result("done")

    def test_discarding_spares_a_checkpoint_that_fits(self, tmp_path: Path) -> None:
        chosen, heard = cell("fp32", "paper"), []
        steps = iter(range(100))
        run_cell(chosen, Settings(tmp_path), Hooks(stop=lambda: next(steps) > 6), anew=False)
        settings = replace(Settings(tmp_path), discard_stale=True)
        assert run_cell(chosen, settings, Hooks(report=heard.append), anew=False) == Result("done")
        assert [e["epoch"] for e in heard] == [2, 3, 4]  # the first epoch was done before

    def test_a_folder_that_cannot_be_written_is_fatal(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        ended = train(tmp_path / "file", cell())
        assert ended.status == "fatal"
        assert "check the folder" in ended.reason

    def test_the_device_must_exist(self, tmp_path: Path) -> None:
        ended = run_cell(cell("fp32"), Settings(tmp_path, device="cuda:99"), Hooks(), anew=False)
        assert ended.status == "failed"


def test_train_cell_needs_no_more_than_a_folder(tmp_path: Path) -> None:
    CellDirectory(tmp_path, cell("fp32")).create()
    train_cell(cell("fp32"), Settings(tmp_path), Hooks())
    assert CellDirectory(tmp_path, cell("fp32")).state == "done"
