"""How processes ended is told with what it may mean."""

import signal

import pytest

from bibench.foundation.errors import ending


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (-signal.SIGKILL, "signal SIGKILL; out of memory?"),
        (-signal.SIGSEGV, "signal SIGSEGV"),
        (3, "exit code 3"),
        (None, "exit code None"),
    ],
)
def test_only_being_killed_may_mean_short_memory(code: int | None, told: str) -> None:
    assert ending(code) == told
