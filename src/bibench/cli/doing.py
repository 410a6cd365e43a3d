"""What a verb is busy with, said on a terminal when it takes long and has said nothing by itself."""

from __future__ import annotations

import sys
import threading

PATIENCE = 2.0
"""Seconds."""

_timer: threading.Timer | None = None


def doing(what: str) -> None:
    """From now on the verb is busy with `what`, which is said after `PATIENCE` unless it ends or prints before."""
    global _timer
    done()
    if sys.stderr.isatty():
        _timer = threading.Timer(PATIENCE, _say, (what,))
        _timer.daemon = True
        _timer.start()


def done() -> None:
    """Nobody waits any longer: something was printed, or the verb is at its end."""
    global _timer
    if _timer is not None:
        _timer.cancel()
        _timer = None


def _say(what: str) -> None:
    sys.stderr.write(f"{what} ...\n")
    sys.stderr.flush()
