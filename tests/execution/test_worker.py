"""Worker processes and their scheduler, when one end of the line is gone."""

import multiprocessing
import signal
from collections.abc import Iterator
from ctypes import c_bool
from pathlib import Path

import pytest

from bibench.cli.display import LineDisplay
from bibench.cli.output import console
from bibench.execution.plan import make_plan
from bibench.execution.runner import Runner
from bibench.execution.worker import Result, main
from bibench.suite.cell import Cell
from bibench.suite.store import CHECKPOINT, CellDirectory
from bibench.train.cell import Settings

from ..worlds import TINY, cell, tiny_world

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("runs 2")]


@pytest.fixture(autouse=True)
def _world() -> Iterator[None]:
    with tiny_world():
        yield


def test_a_worker_that_nobody_listens_to_saves_its_cell_and_ends(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    settings = Settings(tmp_path, device="cpu", load=(str(TINY),))
    process = context.Process(target=main, args=(theirs, settings, context.RawValue(c_bool, False), 1))
    process.start()
    theirs.close()
    ours.send((cell("fp32", "paper"), False))
    ours.close()
    process.join(60)
    assert process.exitcode == 0
    directory = CellDirectory(tmp_path, cell("fp32", "paper"))
    assert directory.state == "interrupted"
    assert directory.file(CHECKPOINT).exists()
    assert not directory.is_locked


def test_an_idle_worker_that_died_is_replaced(tmp_path: Path) -> None:
    class Killer(LineDisplay):
        def end(self, worker: int, chosen: Cell, result: Result, seconds: float) -> None:
            super().end(worker, chosen, result, seconds)
            process = runner._workers[worker].process
            pids.append(process.pid)
            process.kill()
            process.join()

    pids: list[int] = []
    rows = make_plan([cell("fp32"), cell("bnn")], tmp_path)
    runner = Runner(rows, Settings(tmp_path, device="cpu", load=(str(TINY),)), 1, Killer(console(), 2))
    before = signal.getsignal(signal.SIGINT)
    outcome = runner.run()
    assert {str(c.operator): r for c, r in outcome.results.items()} == {"fp32": Result("done"), "bnn": Result("done")}
    assert len(set(pids)) == 2
    assert signal.getsignal(signal.SIGINT) is before
