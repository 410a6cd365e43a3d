"""A changed bit in what a training left is noticed by whoever reads it, and nothing is lost by looking."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bibench.deploy import source
from bibench.execution.worker import run_cell
from bibench.foundation.errors import BiBenchError, CheckpointError, DamagedError
from bibench.foundation.files import load_checkpoint, write_json
from bibench.foundation.registry import load_file
from bibench.records.record import read, read_compared
from bibench.records.sealed import DONE, told
from bibench.report.curves import read_curve
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, CHECKPOINT, CURVE, FAILURE, MODEL, RECORDS, CellDirectory
from bibench.tasks import TASKS
from bibench.train.cell import Hooks, Settings, load_trained
from bibench.train.stored import compare_model, read_model
from bibench.train.weights import digest

from ..flips import flips
from ..worlds import cell, tiny_world
from .test_loop import interrupt, start
from .test_sharing import TWINS, twin

pytestmark = pytest.mark.usefixtures("in_tiny_world")

FP, BNN = cell("fp32"), cell("bnn")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a finished baseline."""
    folder = tmp_path_factory.mktemp("finished")
    with tiny_world():
        assert run_cell(FP, Settings(folder, device="cpu"), Hooks(), anew=False).status == "done"
    return folder


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def of(runs: Path, name: str) -> Path:
    return CellDirectory(runs, FP).file(name)


def make_older(runs: Path) -> None:
    """Leave in done.json what it had before it had checksums, and in model.pt as much."""
    before = {"weights", "score", "train_seconds", "seconds"}
    write_json(of(runs, DONE), {k: v for k, v in json.loads(of(runs, DONE).read_text()).items() if k in before})
    torch.save(load_checkpoint(of(runs, MODEL)), of(runs, MODEL))


def run(runs: Path, chosen: Cell, **more: bool) -> tuple[str, str]:
    ended = run_cell(chosen, Settings(runs, device="cpu"), Hooks(), anew=more.get("anew", False))
    return ended.status, ended.reason


class TestWeights:
    @pytest.mark.parametrize("age", ["of today", "older"])
    def test_no_bit_changes_them_unnoticed(self, runs: Path, age: str) -> None:
        if age == "older":
            make_older(runs)
        weights = json.loads(of(runs, DONE).read_text())["weights"]
        assert digest(load_trained(runs, FP, TASKS["tiny"]())) == weights
        noticed = 0
        for at in flips(of(runs, MODEL)):
            try:
                found = digest(load_trained(runs, FP, TASKS["tiny"]()))
            except BiBenchError as error:
                noticed += 1
                assert str(of(runs, MODEL)) in str(error)
            else:
                assert age == "older", f"byte {at}"
                assert found == weights  # bits between the parts of the archive, which nobody reads
        assert noticed >= (40 if age == "older" else 60)
        assert digest(load_trained(runs, FP, TASKS["tiny"]())) == weights

    def test_progress_counts_as_much(self, runs: Path) -> None:
        make_older(runs)
        whole = of(runs, MODEL).read_bytes()
        saved = load_checkpoint(of(runs, MODEL))
        changed = {**saved, "progress": [value / 2 for value in saved["progress"]]}
        torch.save(changed, of(runs, MODEL))
        other = of(runs, MODEL).read_bytes()
        assert len(other) == len(whole)
        (at, *_) = [i for i in range(len(whole)) if whole[i] != other[i]]
        of(runs, MODEL).write_bytes(whole[:at] + other[at : at + 1] + whole[at + 1 :])
        with pytest.raises(DamagedError, match=r"data\.pkl in it has another checksum than it says"):
            read_model(of(runs, MODEL))

    def test_a_copy_in_another_place_tells_by_itself(self, runs: Path, tmp_path: Path) -> None:
        file = tmp_path / "copied.pt"
        shutil.copy(of(runs, MODEL), file)
        known = load_checkpoint(file)["model"]
        torch.load(file, weights_only=True)  # is still a file of torch
        for at in flips(file):
            try:
                found = source.trained(file)
            except CheckpointError as error:
                assert str(file) in str(error)
            else:  # the place of the checksum is damaged, and nothing else
                assert at > file.stat().st_size - 100
                assert all(torch.equal(v, known[k]) for k, v in found.model.state_dict().items())

    @pytest.mark.parametrize("read", [compare_model, read_model, lambda file: source.trained(file.parent)])
    def test_every_reader_compares(self, runs: Path, read: Callable[[Path], object]) -> None:
        read(of(runs, MODEL))
        before = {f: f.read_bytes() for f in runs.rglob("*") if f.is_file()}
        damage(of(runs, MODEL))
        before[of(runs, MODEL)] = of(runs, MODEL).read_bytes()
        with pytest.raises(
            DamagedError, match=r"model\.pt is damaged: it differs from .*; restore it, or train the cell"
        ):
            read(of(runs, MODEL))
        assert {f: f.read_bytes() for f in runs.rglob("*") if f.is_file()} == before

    def test_those_of_another_seed_are_not_the_cells(self, runs: Path) -> None:
        other = cell("fp32", seed=1)
        assert run(runs, other)[0] == "done"
        shutil.copy(CellDirectory(runs, other).file(MODEL), of(runs, MODEL))
        with pytest.raises(DamagedError, match=r"model\.pt is damaged: it differs"):
            load_trained(runs, FP, TASKS["tiny"]())
        make_older(runs)
        with pytest.raises(DamagedError, match="its weights have the fingerprint"):
            load_trained(runs, FP, TASKS["tiny"]())

    def test_nothing_is_trained_from_a_damaged_baseline(self, runs: Path) -> None:
        damage(of(runs, MODEL))
        status, reason = run(runs, BNN)
        assert status == "failed"
        assert reason.startswith(f"{of(runs, MODEL)} is damaged: it differs from what done.json tells of")
        (row,) = read([CellDirectory(runs, BNN).path])
        assert (row.status, row.value, row.reason) == ("failed", None, reason)
        assert of(runs, MODEL).exists()


class TestSharedTraining:
    @pytest.fixture(autouse=True)
    def _twins(self, in_tiny_world: None) -> None:
        load_file(TWINS)

    @pytest.mark.parametrize("name", [MODEL, CURVE, RECORDS, DONE])
    def test_nothing_damaged_is_taken_over(self, runs: Path, name: str) -> None:
        file = of(runs, name)
        if name == RECORDS:
            text = file.read_text()
            file.write_text(text.replace('"metric": "throughput", "value": ', '"metric": "throughput", "value": 1'))
            assert file.read_text() != text
        else:
            damage(file)
        status, reason = run(runs, twin(FP))
        assert status == "failed"
        assert reason.startswith(f"{file} is damaged")

    def test_what_cannot_be_read_is_a_row_and_does_not_end_the_run(self, runs: Path) -> None:
        of(runs, RECORDS).write_text("{\n")
        status, reason = run(runs, twin(FP))
        assert status == "failed"
        assert f"{of(runs, RECORDS)}:1: not JSON" in reason


class TestDescriptions:
    @pytest.mark.parametrize("age", ["of today", "older"])
    def test_no_bit_of_done_json_changes_what_it_tells(self, runs: Path, age: str) -> None:
        if age == "older":
            make_older(runs)
        known = told(of(runs, DONE).parent)
        for at in flips(of(runs, DONE), 200):
            try:
                found = told(of(runs, DONE).parent)
                read_compared(of(runs, RECORDS))
                load_trained(runs, FP, TASKS["tiny"]())
            except DamagedError as error:
                assert DONE in str(error)
            else:  # layout; in an older one what nobody believes
                assert {k: v for k, v in found.items() if "seconds" not in k} == {
                    k: v for k, v in known.items() if "seconds" not in k
                }, f"byte {at}"

    def test_every_bit_of_the_records_counts(self, runs: Path) -> None:
        for at in flips(of(runs, RECORDS)):
            with pytest.raises(DamagedError, match=r"records\.jsonl is damaged: it differs"):
                read_compared(of(runs, RECORDS))
            with pytest.warns(UserWarning, match=r"left out: .*records\.jsonl is damaged"):
                assert read([runs]) == [], f"byte {at}"
            with pytest.raises(DamagedError, match="differs"):
                read([of(runs, RECORDS)])
        assert len(read([runs])) == len(read_compared(of(runs, RECORDS))) > 5

    def test_an_older_cells_score_is_that_of_done_json(self, runs: Path) -> None:
        make_older(runs)
        known = read_compared(of(runs, RECORDS))
        score = next(r.value for r in known if r.kind == "score")
        of(runs, RECORDS).write_text(
            of(runs, RECORDS).read_text().replace(f'"value": {score},', '"value": 0.98765,', 1)
        )
        with pytest.raises(DamagedError, match=rf"done\.json has the score {score}, not \[0\.98765\]"):
            read_compared(of(runs, RECORDS))

    def test_a_damaged_curve_is_not_drawn(self, runs: Path) -> None:
        assert len(read_curve(of(runs, CURVE))) == 2
        for at in flips(of(runs, CURVE), 10):
            with pytest.warns(UserWarning, match=r".*curve\.csv is damaged: it differs.*leaves this curve out"):
                assert read_curve(of(runs, CURVE)) == [], f"byte {at}"

    def test_an_export_of_a_cell_that_another_seed_describes_is_refused(self, runs: Path) -> None:
        of(runs, CELL).write_text(of(runs, CELL).read_text().replace('"seed": 0', '"seed": 1'))
        with pytest.raises(DamagedError, match=r"cell\.json is damaged"):
            source.trained(of(runs, CELL).parent)


class TestCheckpoints:
    def test_no_bit_of_one_is_trained_on_from(self, tmp_path: Path) -> None:
        interrupt(start(tmp_path), 1, 2)
        again, file = start(tmp_path), tmp_path / CHECKPOINT
        before = digest(again.model)
        for at in flips(file, 120):
            changed = file.read_bytes()
            with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged.*run with --rerun failed"):
                again.load()
            assert digest(again.model) == before, f"byte {at}"
            assert file.read_bytes() == changed
        again.load()
        assert (again.position.epoch, again.position.step) == (1, 2)

    @pytest.mark.parametrize("left", range(1, 100, 7))
    def test_an_end_that_is_missing_is_noticed(self, tmp_path: Path, left: int) -> None:
        interrupt(start(tmp_path), 0, 1)
        file = tmp_path / CHECKPOINT
        file.write_bytes(file.read_bytes()[:-left])
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged"):
            start(tmp_path).load()

    def test_a_damaged_one_fails_the_cell_until_it_may_be_discarded(self, tmp_path: Path) -> None:
        steps = iter(range(100))
        run_cell(FP, Settings(tmp_path, device="cpu"), Hooks(stop=lambda: next(steps) > 5), anew=False)
        file = of(tmp_path, CHECKPOINT)
        damage(file)
        status, reason = run(tmp_path, FP)
        assert status == "failed"
        assert "checkpoint.pt is damaged, its bytes are not those that were written" in reason
        assert file.exists()
        assert of(tmp_path, FAILURE).exists()
        assert run_cell(FP, Settings(tmp_path, device="cpu", discard_stale=True), Hooks(), anew=False).status == "done"


def damage(file: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
