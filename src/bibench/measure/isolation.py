"""A session in a process of its own, with its threads; what kills it is a row, and the others go on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from bibench.foundation.errors import BiBenchError, DefinitionWarning, ending
from bibench.foundation.registry import load_file
from bibench.foundation.signals import interrupts_held_back
from bibench.measure.session import Request, Result, run_session


def run_isolated(request: Request, note: Callable[[str], None]) -> Result:
    """`run_session` in a child process, started again without a contender that it died of."""
    while True:
        result, culprit, cause = _attempt(request, note)
        if result is not None:
            return result
        if not culprit or culprit in dict(request.excluded):
            raise BiBenchError(f"the measuring process died before anything was measured ({cause})")
        reason = f"the process died in its turn ({cause})"
        note(f"{culprit}: {reason} Starting again without it")
        request = replace(request, excluded=(*request.excluded, (culprit, reason)))


def _attempt(request: Request, note: Callable[[str], None]) -> tuple[Result | None, str, str]:
    """The result, or the contender at work when the process died and how it died."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with _threads(request.threads), interrupts_held_back():
        process = context.Process(target=_main, args=(theirs, request), name="bibench-measure")
        process.start()
    theirs.close()
    culprit, said = "", ""
    try:
        while True:
            try:
                kind, content = ours.recv()
            except (EOFError, OSError):
                process.join()
                return None, culprit, ending(process.exitcode)
            if kind == "at":
                culprit, news = content
                if news != said:
                    note(said := news)
            elif kind == "result":
                return content, culprit, ""
            else:
                raise BiBenchError(content) if kind == "error" else RuntimeError(content)
    finally:
        ours.close()
        process.kill()  # it has said all it had to, or nobody waits for it any more
        process.join()


def _main(connection: Connection, request: Request) -> None:
    """The child: sends ("at", (contender, news)) and ends with ("result", ...), ("error", ...) or ("bug", ...)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    import torch

    from bibench.train.allocator import keep_freed_memory

    torch.set_num_threads(request.threads)
    keep_freed_memory()
    try:
        with warnings.catch_warnings(action="ignore", category=DefinitionWarning):  # which were told before
            for file in request.load:
                load_file(file)
        result = run_session(request, lambda name, news: connection.send(("at", (name, news))))
        for contender in result.contenders:
            contender.step = None
        connection.send(("result", result))
    except BrokenPipeError:  # the parent is gone
        pass
    except BiBenchError as error:
        connection.send(("error", str(error)))
    except Exception:
        connection.send(("bug", traceback.format_exc()))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes started inside have `count` threads in every library that reads the environment."""
    names: dict[str, Any] = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in names.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
