"""Processes that are killed at a step on disk of one's choice."""

import os
import signal
import sys
from collections.abc import Callable, Collection

EVENTS = ("os.rename", "shutil.rmtree", "os.remove", "os.rmdir")
"""Audit events of steps that change a folder."""


def killed_at(step: int, action: Callable[[], object], events: Collection[str] = EVENTS) -> bool:
    """Do it in a process that is killed before its nth such step; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        seen = [0]

        def hook(event: str, _: object) -> None:
            if event in events:
                seen[0] += 1
                if seen[0] == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            action()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
