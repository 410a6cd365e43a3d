"""Run the cells of a plan: baselines first, several processes at once, failures isolated."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import c_bool
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Protocol

from bibench.execution.plan import PlanRow
from bibench.execution.worker import Result, main, record_failure
from bibench.foundation.errors import BiBenchError, StoreError, ending
from bibench.foundation.signals import interrupts_held_back, say
from bibench.suite.cell import Cell
from bibench.suite.store import Busy, CellDirectory
from bibench.train.cell import Settings

BUSY_RETRY_SECONDS = 5.0
THERE = ("done", "stale", "running")
"""States of cells that are left alone and that others may still be waiting for, or start from."""


KEPT = ("done", "stale", "failed", "unsupported")
"""States of cells that hold something."""


class Display(Protocol):
    """What a running suite tells its watcher."""

    def start(self, worker: int, cell: Cell) -> None:
        """A cell begins (or continues) on a worker."""

    def event(self, worker: int, event: dict[str, Any]) -> None:
        """News of the cell on a worker."""

    def end(self, worker: int, cell: Cell, result: Result, seconds: float) -> None:
        """A cell ended."""

    def note(self, text: str) -> None:
        """Something else to know."""


@dataclass
class _Worker:
    index: int
    process: Any
    connection: Connection
    cell: Cell | None = None
    began: float = 0.0


@dataclass
class Outcome:
    """What became of each cell of the run."""

    results: dict[Cell, Result] = field(default_factory=dict)
    signal: int | None = None

    def count(self, status: str) -> int:
        """Cells that ended with `status`."""
        return sum(r.status == status for r in self.results.values())


class Runner:
    """Runs the cells to do of a plan.

    Args:
        rows: the plan; rows that are not to do are left alone.
        workers: processes, each training one cell at a time with its share of the cores.
    """

    def __init__(self, rows: Sequence[PlanRow], settings: Settings, workers: int, display: Display) -> None:
        self._settings, self._display = settings, display
        self._queue = [row.cell for row in rows if row.todo]
        todo = [row for row in rows if row.todo]
        damaged = {r.cell for r in todo if r.state == "failed" and CellDirectory(settings.runs, r.cell).state == "done"}
        self._anew = {row.cell for row in todo if row.state in ("done", "stale")} | damaged
        self._planned = {row.cell: row for row in rows}
        self._count = max(1, min(workers, len(self._queue)))
        self._busy_until: dict[Cell, float] = {}
        self._told = False
        self._workers: dict[int, _Worker] = {}
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.RawValue(c_bool, False)
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run to the end, or until a signal or a full disk stops it."""
        self._tidy()
        with self._signals():
            try:
                while self._queue or self._active():
                    self._tell_of_signal()
                    if not self._stop.value:
                        self._drop_blocked()
                        self._assign()
                    if not self._active() and (self._stop.value or not self._queue):
                        break
                    self._listen()
            except SystemExit:  # asked a second time
                for worker in self._workers.values():
                    worker.process.kill()
                raise
            finally:
                self._shut_down()
            self._tell_of_signal()
        return self.outcome

    def _tidy(self) -> None:
        """Remove what killed processes left beside results that nobody trains again."""
        for cell, row in self._planned.items():
            directory = CellDirectory(self._settings.runs, cell)
            if not row.todo and row.state in KEPT and directory.has_leftovers:
                with suppress(StoreError), directory.locked():  # unless another works there, or nobody may write
                    pass

    # -- scheduling --------------------------------------------------------------------------------

    def _active(self) -> list[_Worker]:
        return [w for w in self._workers.values() if w.cell is not None]

    def _assign(self) -> None:
        for index in range(self._count):
            worker = self._workers.get(index)
            if worker is not None and worker.cell is not None:
                continue
            cell = self._next()
            if cell is None:
                return
            if worker is None or not worker.process.is_alive():
                worker = self._spawn(index)
            worker.cell, worker.began = cell, time.monotonic()
            worker.connection.send((cell, cell in self._anew))
            self._display.start(index, cell)

    def _next(self) -> Cell | None:
        """The first cell whose baseline and shared training are there; baselines come first in the queue."""
        for cell in self._queue:
            if not self._is_put_off(cell) and self._ready(cell):
                self._queue.remove(cell)
                return cell
        return None

    def _is_put_off(self, cell: Cell) -> bool:
        return time.monotonic() < self._busy_until.get(cell, 0)

    def _put_off(self, cell: Cell, reason: str) -> None:
        """Come back later to a cell that another process works on."""
        self._queue.append(cell)
        if cell not in self._busy_until:
            self._display.note(f"{reason}; coming back to it later")
        self._busy_until[cell] = time.monotonic() + BUSY_RETRY_SECONDS

    def _ready(self, cell: Cell) -> bool:
        if cell.trained_as is not None and self._is_pending(cell.trained_as):
            return False
        baseline = cell.baseline
        if baseline is None or not cell.starts_from_baseline:
            return True
        if self._is_pending(baseline) or self._is_damaged(baseline):
            return False
        return CellDirectory(self._settings.runs, baseline).state == "done"

    def _is_damaged(self, cell: Cell) -> bool:
        """Whether it looks finished, but the plan found that it is not what it was, and it is left alone."""
        row = self._planned.get(cell)
        return row is not None and row.state == "failed" and not row.todo

    def _is_pending(self, cell: Cell) -> bool:
        return cell in self._queue or any(w.cell == cell for w in self._active())

    def _drop_blocked(self) -> None:
        """Cells whose baseline, or the training they share, failed or cannot run become rows that say so."""
        for cell in list(self._queue):
            if self._is_put_off(cell):
                continue
            if reason := self._blocked(cell):
                self._queue.remove(cell)
                self._fail(-1, cell, reason, 0.0)

    def _blocked(self, cell: Cell) -> str:
        shared, baseline = cell.trained_as, cell.baseline
        if shared is not None and (result := self._lacking(shared, fine=(*THERE, "no data"))):
            return f"its training is that of task {shared.task}, which is not available ({result})"
        if baseline is not None and cell.starts_from_baseline and not self._ready(cell):
            result = self._lacking(baseline)
            return f"its full-precision baseline is not available ({result})" if result else ""
        return ""

    def _lacking(self, cell: Cell, fine: Sequence[str] = THERE) -> str:
        """Why a cell that others need will not come: it failed in this run, or is left in a state not `fine`."""
        if self._is_pending(cell):
            return ""
        ended = self.outcome.results.get(cell)
        if ended is not None and ended.status in ("failed", "unsupported"):
            return ended.reason or ended.status
        row = self._planned.get(cell)
        if row is not None and not row.todo and row.state not in fine:
            return f"{row.state}{': ' + row.reason if row.reason else ''}"
        return ""

    # -- processes ---------------------------------------------------------------------------------

    def _spawn(self, index: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        threads = self._settings.threads or max(1, (os.cpu_count() or 1) // self._count)
        settings = _for_worker(self._settings, index)
        with _environment(OMP_NUM_THREADS=str(threads)), interrupts_held_back():
            process = self._context.Process(
                target=main, args=(theirs, settings, self._stop, threads), name=f"bibench-worker-{index}"
            )
            process.start()
        theirs.close()
        self._workers[index] = _Worker(index, process, ours)
        return self._workers[index]

    def _listen(self) -> None:
        connections = {w.connection: w for w in self._active()}
        if not connections:
            time.sleep(0.5)  # only cells that others work on are left
            return
        news = wait(list(connections), timeout=1.0)
        self._tell_of_signal()
        for connection in news:
            worker = connections[connection]  # type: ignore[index]
            try:
                kind, content = worker.connection.recv()
            except (EOFError, OSError):
                self._died(worker)
                continue
            if kind == "event":
                self._display.event(worker.index, content)
            else:
                self._finished(worker, content)

    def _finished(self, worker: _Worker, result: Result) -> None:
        cell, worker.cell = worker.cell, None
        assert cell is not None
        if result.status == "busy":
            self._put_off(cell, result.reason)
            return
        self._close(worker.index, cell, result, time.monotonic() - worker.began)

    def _died(self, worker: _Worker) -> None:
        worker.process.join(5)
        code, cell = worker.process.exitcode, worker.cell
        del self._workers[worker.index]
        if cell is None or self._stop.value:
            return
        self._fail(worker.index, cell, f"the worker process died ({ending(code)})", time.monotonic() - worker.began)

    def _fail(self, index: int, cell: Cell, reason: str, seconds: float) -> None:
        """A cell that no worker can report on becomes a row; an earlier result of it stays, and another's work."""
        directory, result = CellDirectory(self._settings.runs, cell), Result("failed", reason)
        try:
            with directory.locked():
                if directory.state != "done":
                    record_failure(directory, "failed", reason, "")
                elif cell not in self._anew:
                    result = Result("done", "by another process")
        except Busy as error:
            self._put_off(cell, str(error))
            return
        except StoreError as error:
            result = Result("fatal", str(error))
        self._close(index, cell, result, seconds)

    def _close(self, index: int, cell: Cell, result: Result, seconds: float) -> None:
        if result.status == "fatal":  # nothing more can be stored
            self._stop.value = True
        self.outcome.results[cell] = result
        self._display.end(index, cell, result, seconds)

    def _shut_down(self) -> None:
        self._stop.value = True
        for worker in self._workers.values():
            worker.connection.close()
        for worker in self._workers.values():
            worker.process.join(30)
            if worker.process.is_alive():
                worker.process.kill()

    def _tell_of_signal(self) -> None:
        if self.outcome.signal is not None and not self._told:
            self._told = True
            self._display.note("stopping: saving checkpoints (again to quit at once)")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM let running cells save their checkpoints; a second one ends at once."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.outcome.signal is not None:
                raise SystemExit(128 + number)
            self.outcome.signal = number
            self._stop.value = True  # and no word: what it interrupts may be printing

        old = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except SystemExit:  # asked a second time, before or after the note on the first
            say()
            raise
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def _for_worker(settings: Settings, index: int) -> Settings:
    """With several CUDA devices and none chosen, workers take turns."""
    import torch

    if settings.device in ("auto", "cuda") and torch.cuda.is_available():
        from dataclasses import replace

        return replace(settings, device=f"cuda:{index % torch.cuda.device_count()}")
    return settings


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    old = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def prepare_data(rows: Sequence[PlanRow], settings: Settings, note: Callable[[str], None]) -> None:
    """Bring the data of all tasks to do into place once; a task without data takes its cells out of the plan."""
    from bibench.tasks import TASKS

    for name in sorted({row.cell.task.name for row in rows if row.todo}):
        try:
            TASKS[name](settings.data_root, download=settings.download).prepare()
        except BiBenchError as error:
            note(str(error))
            for row in rows:
                if row.todo and row.cell.task.name == name:
                    row.todo, row.state, row.reason = False, "no data", str(error)
