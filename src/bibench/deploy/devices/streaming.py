"""Reading the events of a job from a process, wherever it works."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bibench.deploy.devices.base import Connection
from bibench.errors import BiBenchError, StoreError
from bibench.typed_json import parse_json

TAIL = 600
"""Characters of what a process said on its standard error that an error message shows."""


def stream(
    command: Sequence[str],
    device: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    silence: float = 900.0,
    lost: Sequence[int] = (),
) -> Iterator[dict[str, Any]]:
    """Run `command` and yield the JSON object of every line.

    Raises `Connection` when it ends before it said that it is done with a status in `lost`, or when it says
    nothing for `silence` seconds; `BiBenchError` when it ends otherwise. The process never outlives the iterator.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        watch = _Watch(process, silence)
        done = False
        try:
            assert process.stdout is not None
            for line in process.stdout:
                watch.alive()
                event = _event(line, device)
                done = done or event["event"] == "done"
                yield event
            code = process.wait()
        finally:
            watch.stop()
            process.kill()
            process.wait()
        if done:
            return
        if watch.barked:
            raise Connection(f"{device}: nothing was heard for {silence:.0f} s; the connection or the device hangs")
        said = _tail(errors)
        if code in lost:
            raise Connection(f"{device}: the connection failed or was lost{said}")
        raise BiBenchError(f"{device}: the measurement ended with status {code}{said}")


def _event(line: bytes, device: str) -> dict[str, Any]:
    try:
        event = parse_json(line, device, "")
    except StoreError:
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise BiBenchError(
            f"{device}: unexpected output {line[:200]!r}; if the shell there greets at login, silence it for commands"
        )
    return event


def _tail(errors: Any) -> str:
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip()
    return f": {said[-TAIL:]}" if said else ""


class _Watch:
    """Kills a process that says nothing for too long."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process, self._seconds, self.barked = process, seconds, False
        self._timer = self._start()

    def _start(self) -> threading.Timer:
        timer = threading.Timer(self._seconds, self._bark)
        timer.daemon = True
        timer.start()
        return timer

    def _bark(self) -> None:
        self.barked = True
        self._process.kill()

    def alive(self) -> None:
        self._timer.cancel()
        self._timer = self._start()

    def stop(self) -> None:
        self._timer.cancel()
