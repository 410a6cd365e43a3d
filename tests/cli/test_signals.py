"""Ctrl-C and SIGTERM at any time of any verb: one line and the exit code 130 or 143, no traceback, no abort."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bibench.foundation import signals

from ..worlds import TINY, command

NOISE = ("Traceback", "terminate called", "core dumped", "Exception ignored", "Aborted", "Fatal Python")


class Victim:
    """A command in a process group of its own, as in a terminal, that sees to signals by now."""

    def __init__(self, *arguments: object) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"TINY_SLEEP": "0.01"}
        self.process = subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment,
        )
        while self.process.poll() is None and not self._handles(signal.SIGTERM):  # which Python alone does not
            time.sleep(0.002)

    def _handles(self, number: signal.Signals) -> bool:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:  # it just ended
            return True
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

    def after(self, seconds: float, *numbers: signal.Signals) -> tuple[int, str, str]:
        """Exit code and what it printed, when it gets the signals one after the other."""
        time.sleep(seconds)
        for number in numbers:
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                time.sleep(0.1)
        out, err = self.process.communicate(timeout=180)
        return self.process.returncode, out, err


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def check(code: int, out: str, err: str, expected: int = 130) -> None:
    # What comes while Python itself shuts down ends it by the signal, which a shell tells as the same 143.
    assert code in ((expected, 0, -signal.SIGTERM) if expected == 143 else (expected, 0)), (code, out, err)
    for noise in NOISE:
        assert noise not in out + err, out + err
    if code > 0 and "stopping: saving checkpoints" not in out:
        assert err.splitlines().count(signals.LINE) == 1


def verbs(folder: Path) -> dict[str, tuple[object, ...]]:
    run = (
        "run",
        "tiny",
        "--load",
        TINY,
        "--runs",
        folder / "runs",
        "--operators",
        "bnn,slow",
        "--workers",
        2,
        "--force",
    )
    return {
        "help": ("--help",),
        "score": ("score", "published"),
        "run": (*run, "--threads", 1, "--recipe", "long"),
        "report": ("report", "published", "-o", folder / "site"),
    }


@linux
@pytest.mark.parametrize("verb", ["help", "score"])
def test_early_and_late(verb: str, tmp_path: Path) -> None:
    for seconds in (0.0, random.uniform(0.2, 3)):
        check(*Victim(*verbs(tmp_path)[verb]).after(seconds, signal.SIGINT))


@linux
@pytest.mark.slow
@pytest.mark.parametrize("verb", ["help", "score", "run", "report"])
def test_at_any_time(verb: str, tmp_path: Path) -> None:
    began = time.monotonic()
    arguments = verbs(tmp_path)[verb]
    check(*Victim(*arguments).after(0, signal.SIGINT))
    whole = min(40.0, max(3.0, 12 * (time.monotonic() - began)))
    for _ in range(5):
        check(*Victim(*arguments).after(random.uniform(0, whole), signal.SIGINT))
    assert not (tmp_path / "site").exists() or (tmp_path / "site" / "index.html").is_file()
    code, out, err = Victim(*arguments).after(0)
    assert code == 0, out + err
    if verb == "report":
        assert [file.name for file in tmp_path.iterdir()] == ["site"]


@linux
@pytest.mark.slow
def test_twice_and_by_sigterm(tmp_path: Path) -> None:
    for verb in ("score", "run"):
        for seconds in (0.5, 5.0):
            check(*Victim(*verbs(tmp_path)[verb]).after(seconds, signal.SIGINT, signal.SIGINT))
            check(*Victim(*verbs(tmp_path)[verb]).after(seconds, signal.SIGTERM), expected=143)


SCENES = {
    "at work": "while True: time.sleep(0.01)",
    "that is swallowed": "while True:\n        try: time.sleep(0.01)\n        except BaseException: pass",
    "in a destructor": "class A:\n        def __del__(self): tell(); time.sleep(60)\n    A()\n    time.sleep(60)",
    "while something is imported": "sys.path.insert(0, sys.argv[1]); import takes_long",
    "in a command that ends well": "try: time.sleep(60)\n    except KeyboardInterrupt: pass\n    sys.exit(0)",
    "in an error of the command": "try: time.sleep(60)\n    finally: raise ValueError('mine')",
}


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("scene", SCENES)
def test_ends_the_process_whatever_it_interrupts(scene: str, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "takes_long.py").write_text(
        "import time\ntry: time.sleep(60)\nexcept BaseException: pass\ntime.sleep(60)"
    )
    code = (
        "import sys, time\nfrom bibench.foundation import signals\nsignals.GRACE_SECONDS = 1.0\n"
        "def tell(): print('here', flush=True)\n"
        f"with signals.stoppable():\n    tell()\n    {SCENES[scene]}\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert err == ("" if scene == "in a command that ends well" else signals.LINE + "\n")


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with signals.stoppable():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    with pytest.raises(ValueError, match="mine"), signals.stoppable():
        raise ValueError("mine")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before
