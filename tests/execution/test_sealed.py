"""Damaged results in a run folder: what plans, runs and verbs say of them, and how they are made again."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bibench.cli.scoring import read_runs
from bibench.execution.plan import PlanRow, make_plan
from bibench.execution.worker import run_cell
from bibench.foundation.checksums import file_sha256
from bibench.foundation.errors import DamagedError
from bibench.foundation.files import write_json
from bibench.records.record import read, read_compared, write_file
from bibench.records.sealed import beside, compare, sealed, told
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, DONE, FAILURE, MODEL, RECORDS, CellDirectory
from bibench.train.cell import Hooks, Settings

from ..flips import flips
from ..records.test_records import make
from ..worlds import TINY, bibench_here, cell, tiny_world

FP, BNN = cell("fp32"), cell("bnn")


@pytest.fixture(autouse=True)
def _world() -> Iterator[None]:
    with tiny_world():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    with tiny_world():
        for chosen in (FP, BNN):
            assert run_cell(chosen, Settings(folder, device="cpu"), Hooks(), anew=False).status == "done"
    return folder


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """A copy of a run folder with two finished cells."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def damage(runs: Path, chosen: Cell, name: str) -> Path:
    """Change one bit in the middle of one of a cell's files."""
    file = CellDirectory(runs, chosen).file(name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def plan(runs: Path, *chosen: Cell, **options: object) -> dict[Cell, PlanRow]:
    return {row.cell: row for row in make_plan(chosen, runs, **options)}


class TestPlan:
    @pytest.mark.parametrize("name", [RECORDS, DONE])
    def test_a_damaged_result_has_failed(self, runs: Path, name: str) -> None:
        assert {row.state for row in plan(runs, FP, BNN).values()} == {"done"}
        file = damage(runs, FP, name)
        rows = plan(runs, FP, BNN)
        assert (rows[FP].state, rows[FP].todo, rows[BNN].state) == ("failed", False, "done")
        assert rows[FP].reason.startswith(f"{file} is damaged")
        assert "train the cell anew with --rerun failed" in rows[FP].reason
        assert plan(runs, FP, rerun="failed")[FP].todo

    def test_a_changed_description_too_unless_it_says_other_code(self, runs: Path) -> None:
        file = CellDirectory(runs, FP).file(CELL)
        described = json.loads(file.read_text())
        write_json(file, {**described, "recipe": {**described["recipe"], "epochs": 3}})
        assert plan(runs, FP)[FP].reason.startswith(f"{file} is damaged")
        write_json(file, {**described, "code": {}})
        assert plan(runs, FP)[FP].state == "stale"

    def test_weights_are_looked_at_where_they_are_needed(self, runs: Path) -> None:
        file = damage(runs, FP, MODEL)
        other = cell("recu")
        assert plan(runs, FP)[FP].state == plan(runs, FP, BNN, weights=True)[FP].state == "done"  # nothing to do
        rows = plan(runs, FP, BNN, other, weights=True)
        assert (rows[FP].state, rows[FP].todo, rows[BNN].state, rows[other].todo) == ("failed", False, "done", True)
        assert rows[FP].reason.startswith(f"{file} is damaged")
        rows = plan(runs, FP, BNN, weights=True, rerun="failed")
        assert (rows[FP].state, rows[FP].todo, rows[BNN].todo) == ("failed", True, False)

    def test_an_estimate_rests_on_no_damaged_record(self, runs: Path) -> None:
        damage(runs, BNN, RECORDS)
        row = plan(runs, cell("bnn", seed=1))[cell("bnn", seed=1)]
        assert row.basis.endswith("from 1 finished run(s) of other cells")


@pytest.mark.slow
class TestVerbs:
    def call(self, *arguments: object, expect: int = 0) -> tuple[str, str]:
        ended = bibench_here(*arguments)
        assert ended.returncode == expect, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout, ended.stderr

    @pytest.mark.parametrize("verb", ["score", "coverage", "report"])
    def test_a_note_says_what_is_left_out(self, runs: Path, tmp_path: Path, verb: str) -> None:
        file = damage(runs, BNN, RECORDS)
        more = ("-o", tmp_path / "site") if verb == "report" else ()
        out, err = self.call(verb, runs, "--load", TINY, *more)
        assert f"note: left out: {file} is damaged: it differs from what done.json tells of" in err
        assert "UserWarning" not in err
        if verb != "report":
            assert re.search(r"1 of 2 cells: 1 failed", out)

    def test_a_file_that_is_asked_for_itself_is_an_error(self, runs: Path) -> None:
        file = damage(runs, BNN, RECORDS)
        _, err = self.call("score", file, expect=2)
        assert err.startswith(f"error: {file} is damaged")

    def test_status_names_it(self, runs: Path) -> None:
        damage(runs, BNN, RECORDS)
        out, _ = self.call("status", "tiny", runs, "--load", TINY, "--operators", "fp32,bnn")
        assert "1 done, 1 failed" in out
        assert "damaged" in out

    def test_damaged_baselines_block_until_they_are_made_again(self, runs: Path) -> None:
        """Weights of one seed, records of another: in one run, whose worker takes seconds to start."""
        damaged = {FP: MODEL, cell("fp32", seed=1): RECORDS}
        run_cell(cell("fp32", seed=1), Settings(runs, device="cpu"), Hooks(), anew=False)
        whole = CellDirectory(runs, FP).file(MODEL).read_bytes()
        weights = {chosen: told(CellDirectory(runs, chosen).path)["weights"] for chosen in damaged}
        files = {chosen: damage(runs, chosen, name) for chosen, name in damaged.items()}
        changed = {chosen: file.read_bytes() for chosen, file in files.items()}
        words = ("run", "tiny", "--load", TINY, "--runs", runs, "--operators", "recu", "--seeds", "0,1")
        words += ("--threads", 1, "--workers", 1)
        out, _ = self.call(*words, expect=1)
        assert "0 trained, 4 failed" in out
        for chosen, file in files.items():
            reason = f"its full-precision baseline is not available (failed: {file} is damaged: it differs"
            assert f"recu quick seed {chosen.seed}: failed: {reason}" in out
            failure = json.loads(CellDirectory(runs, cell("recu", seed=chosen.seed)).file(FAILURE).read_text())
            assert failure["reason"].startswith(reason)
            assert file.read_bytes() == changed[chosen]

        out, _ = self.call(*words, "--rerun", "failed")
        assert "4 trained in" in out
        for chosen, name in damaged.items():
            (kept,) = CellDirectory(runs, chosen).file("superseded").iterdir()
            assert (kept / name).read_bytes() == changed[chosen]
            assert told(CellDirectory(runs, chosen).path)["weights"] == weights[chosen]
        assert plan(runs, FP, BNN)[BNN].state == "done"  # the same weights came out
        assert CellDirectory(runs, FP).file(MODEL).read_bytes() == whole


class TestDoneJson:
    def test_has_checksums_that_others_can_take(self, runs: Path) -> None:
        folder = CellDirectory(runs, FP).path
        assert told(folder)["files"] == {
            name: file_sha256(folder / name) for name in (CELL, "curve.csv", MODEL, RECORDS)
        }

    def test_what_is_written_anew_meanwhile_is_not_damaged(self, tmp_path: Path, monkeypatch) -> None:
        (tmp_path / RECORDS).write_text("old")
        write_json(tmp_path / DONE, sealed({}, tmp_path, [RECORDS]))
        (tmp_path / RECORDS).write_text("new")
        new = sealed({}, tmp_path, [RECORDS])
        calls = iter(["old", "new"])

        def read(folder: Path) -> dict:
            if next(calls) == "new":
                write_json(tmp_path / DONE, new)
            return told(folder)

        monkeypatch.setattr("bibench.records.sealed.told", read)
        assert compare(tmp_path, RECORDS)["files"] == new["files"]

    def test_a_file_that_is_gone_is_named(self, runs: Path) -> None:
        CellDirectory(runs, FP).file(MODEL).unlink()
        with pytest.raises(DamagedError, match=r"model\.pt is damaged: it cannot be read \(No such file"):
            compare(CellDirectory(runs, FP).path, MODEL)


class TestMeasuredRecords:
    def test_have_their_checksum_beside_them(self, tmp_path: Path) -> None:
        file = tmp_path / "measurements" / "x" / RECORDS
        write_file(file, [make()], checksum=True)
        write_file(file, [make(), make(seed=2)], checksum=True)
        assert beside(file).read_text() == f"{file_sha256(file)}  {RECORDS}\n"
        assert len(read_compared(file)) == 2
        for at in flips(file):
            with pytest.raises(DamagedError, match=r"differs from its checksum in records\.jsonl\.sha256; restore"):
                read_compared(file)
            with pytest.warns(UserWarning, match="left out: "):
                assert read([tmp_path]) == [], f"byte {at}"
        assert len(read([tmp_path])) == 2

    @pytest.mark.parametrize("writes", [0, 1, 2])
    def test_killed_while_they_are_written_they_are_the_old_or_the_new(
        self, tmp_path: Path, monkeypatch, writes: int
    ) -> None:
        from bibench.records import sealed as module

        file, left, original = tmp_path / RECORDS, iter(range(writes)), module.write_text

        def write(path: Path, text: str) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            original(path, text)

        write_file(file, [make()], checksum=True)
        monkeypatch.setattr(module, "write_text", write)
        with pytest.raises(KeyboardInterrupt):
            write_file(file, [make(), make(seed=2)], checksum=True)
        assert len(read_compared(file)) == (2 if writes == 2 else 1)

    def test_of_older_versions_have_none(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_file(tmp_path / RECORDS, [make()])
        assert len(read_runs([tmp_path])) == 1
        assert capsys.readouterr().err == ""
