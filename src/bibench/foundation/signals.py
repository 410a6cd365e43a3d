"""What SIGINT and SIGTERM do to a command: one line and the exit code 130 or 143, whenever they come."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import Any

GRACE_SECONDS = 20.0
"""How long a command may clean up after itself before it is ended; a second signal ends it at once."""

LINE = "interrupted: what was finished is kept, and no file is half written"
SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM raises `KeyboardInterrupt`, of which no more is seen than `LINE`.

    Where raising would not do, the process ends at once: while something is imported (a half-initialized library of
    C++ aborts), where an exception would be swallowed, at a second signal, and `GRACE_SECONDS` after the first.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may have handlers
        yield
        return
    stop = _Stop()
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    hook, sys.unraisablehook = sys.unraisablehook, stop.unraisable
    try:
        try:
            yield
        finally:
            stop.over = True
    except BaseException as error:
        if stop.number is not None:
            _leave(stop.number, "" if isinstance(error, SystemExit) and not _interrupted(error) else LINE)
        raise
    finally:
        sys.unraisablehook = hook
        _let_end()
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Stop:
    """The handler of both signals."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.over:
            return  # all is done, and the exit code is that of success or failure
        if self.number is not None or _importing(frame):
            _leave(number, LINE)
        self.number = number
        threading.Thread(target=self._end, daemon=True).start()
        raise KeyboardInterrupt

    def _end(self) -> None:
        threading.Event().wait(GRACE_SECONDS)
        assert self.number is not None
        _leave(self.number, LINE)

    def unraisable(self, unraisable: Any) -> None:
        """In a destructor or a callback of C, the exception of the handler goes nowhere."""
        if self.number is not None and unraisable.exc_type is KeyboardInterrupt:
            _leave(self.number, LINE)
        sys.__unraisablehook__(unraisable)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interruption led to `error`, as the exit that the command line makes of one."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _leave(number: int, line: str) -> None:
    """End the process now, with what was printed, and without the destructors of libraries whose threads go on."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    say(line)
    os._exit(128 + number)


def say(line: str = LINE) -> None:
    """Write to the standard error what became of the command, past buffers that what was interrupted may hold."""
    with suppress(OSError):
        os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + f"{line}\n".encode() * bool(line))


@cache
def _let_end() -> None:
    """While the interpreter shuts down nothing is left to interrupt, and whatever came up would be a traceback."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """A process started inside never sees the SIGINT of a terminal, not even before its first line of Python."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # would be started inside, and release the signal (Python 3.11)
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
