"""A worker process: trains the cells it is sent, one after the other, and reports."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from ctypes import c_bool
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any

from bibench.contracts.base import KINDS
from bibench.foundation.blame import told
from bibench.foundation.errors import BiBenchError, DefinitionWarning, StoreError, UnsupportedError
from bibench.foundation.registry import load_file
from bibench.foundation.visible import visible_streams
from bibench.suite.cell import Cell
from bibench.suite.store import Busy, CellDirectory
from bibench.train.allocator import keep_freed_memory
from bibench.train.cell import Hooks, Settings, failure_record, train_cell
from bibench.train.loop import Interrupted


@dataclass(frozen=True)
class Result:
    """How a cell ended: done, failed, unsupported, interrupted, busy, or fatal (nothing can be stored)."""

    status: str
    reason: str = ""


def run_cell(cell: Cell, settings: Settings, hooks: Hooks, *, anew: bool) -> Result:
    """Train one cell under its lock and leave its outcome on disk.

    `anew` trains a finished cell again, keeping what was there under ``superseded/``.
    """
    directory = CellDirectory(settings.runs, cell)
    try:
        with directory.locked():
            if directory.state == "done":
                if not anew:
                    return Result("done", "by another process")
                directory.supersede()
            directory.clear_failure()
            return _attempt(cell, directory, settings, hooks)
    except Busy as error:
        return Result("busy", str(error))
    except StoreError as error:
        return Result("fatal", str(error))


def _attempt(cell: Cell, directory: CellDirectory, settings: Settings, hooks: Hooks) -> Result:
    try:
        train_cell(cell, settings, hooks)
        return Result("done")
    except Interrupted:
        return Result("interrupted")
    except StoreError:
        raise
    except Exception as error:
        status = "unsupported" if isinstance(error, UnsupportedError) else "failed"
        reason = str(error) if isinstance(error, BiBenchError) else told(error)
        record_failure(directory, status, reason, traceback.format_exc())
        return Result(status, reason)


def record_failure(directory: CellDirectory, status: str, reason: str, trace: str) -> None:
    """Leave a failed cell as a row with its reason."""
    record = failure_record(directory.cell, status, reason.splitlines()[0] if reason else status)
    directory.fail(status, reason, trace, [record])


def main(connection: Connection, settings: Settings, stop: c_bool, threads: int) -> None:
    """The process: receive (cell, anew), send ("event", ...) while training and ("result", ...).

    `stop` is shared by all processes of a run. It has no lock, which a killed process would never release.
    """

    def request_stop(*_: Any) -> None:
        stop.value = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    signal.signal(signal.SIGTERM, request_stop)
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    keep_freed_memory()

    def report(event: dict[str, Any]) -> None:
        try:
            connection.send(("event", event))
        except ConnectionError:  # the parent is gone
            request_stop()

    with visible_streams():
        with warnings.catch_warnings(action="ignore", category=DefinitionWarning):  # which were told before
            for file in settings.load:
                load_file(file)
        for kind, chosen, flags in settings.marks:
            KINDS[kind].mark(chosen, *flags)
        _serve(connection, settings, stop, Hooks(report, lambda: stop.value))


def _serve(connection: Connection, settings: Settings, stop: c_bool, hooks: Hooks) -> None:
    """Train what is asked for until asked to stop, or nobody is there to ask."""
    try:
        while not stop.value:
            cell, anew = connection.recv()
            connection.send(("result", run_cell(cell, settings, hooks, anew=anew)))
    except (EOFError, ConnectionError):
        pass


def _stop_with_parent(stop: c_bool) -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        stop.value = True  # a training in progress saves its checkpoint and ends
        threading.Timer(60, os._exit, (1,)).start()
