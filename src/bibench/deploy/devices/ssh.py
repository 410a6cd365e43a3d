"""Any Linux or macOS machine over SSH.

The system's own client does it: a user's ``~/.ssh/config``, agent, hardware keys, jump hosts and known hosts apply
as on the command line, and the operating system keeps it secure; a library would know half of that. It is never
asked to trust an unknown host or for a password. No name that a user chose gets into a remote command: files
travel inside an archive, into a folder that the device itself names.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bibench.deploy.devices.base import Connection, Device, Transport, transport
from bibench.deploy.devices.packing import pack
from bibench.deploy.devices.streaming import TAIL, stream
from bibench.foundation.errors import BiBenchError

FAILED = 255
"""Status of the client itself, when there is no connection."""
ALIVE_SECONDS, ALIVE_COUNT, CONNECT_SECONDS = 5, 4, 15
HOST = re.compile(r"(?!-)(?:[A-Za-z0-9_.+-]+@)?(?!-)[A-Za-z0-9_.:%-]+")
FOLDER = re.compile(r"/[A-Za-z0-9_./+-]*/bibench-[A-Za-z0-9]{6,}")
CREATE = 'umask 077 && d=$(mktemp -d "${TMPDIR:-/tmp}/bibench-XXXXXXXX") && d=$(cd "$d" && pwd -P) && echo "bibench:$d"'


@transport("ssh")
class Ssh(Transport):
    """Copies the bundle, runs it with the device's Python, and removes it.

    Options: ``host`` (``user@host`` or a name of ``~/.ssh/config``); ``port``; ``python`` (default ``python3``,
    with NumPy and ONNX Runtime; ``~/`` is the home there); ``ssh_config`` (instead of ``~/.ssh/config``).
    """

    options = {"host": str, "port": int, "python": str, "ssh_config": Path}
    required = ("host",)

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        if not HOST.fullmatch(self.option("host", "")):  # its text may hold what should not be shown
            raise BiBenchError(f"device {device.name!r}: 'host' is no host; expected as in pi@raspberrypi.local")

    def run(self, job: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
        folder = self._create()
        try:
            self._upload(folder, job, files)
        except BaseException:
            self._remove(folder)
            raise
        # The device cleans up, so that it also does when we are gone: the runner dies of its next word to nobody.
        # ONNX Runtime leaves a file of its own among the temporary ones: it goes with the folder.
        work = f'cd {shlex.quote(folder)} && TMPDIR="$PWD" {self._python()} -m bundle job.json'
        script = f"{work}; code=$?; {_removal(folder)}; exit $code"
        yield from stream(self._command(script), self.device.name, lost=(FAILED,))

    def _create(self) -> str:
        said = self._call(CREATE)
        found = [line.removeprefix("bibench:") for line in said.splitlines() if line.startswith("bibench:")]
        if len(found) != 1 or not FOLDER.fullmatch(found[0]) or ".." in found[0]:
            raise BiBenchError(f"{self.device.name}: could not make a folder there; mktemp said {said[:200]!r}")
        return found[0]

    def _upload(self, folder: str, job: Mapping[str, Any], files: Mapping[str, Path]) -> None:
        with tempfile.TemporaryFile() as archive:
            pack(archive, job, files)
            archive.seek(0)
            self._call(f"cd {shlex.quote(folder)} && tar -xf -", archive, seconds=None)

    def _remove(self, folder: str) -> None:
        with suppress(BiBenchError):  # what went wrong before is what the user needs to hear
            self._call(_removal(folder))

    def _call(self, script: str, stdin: Any = subprocess.DEVNULL, seconds: float | None = 60.0) -> str:
        try:
            done = subprocess.run(self._command(script), stdin=stdin, capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise Connection(f"{self.device.name}: no answer within {seconds:.0f} s") from error
        except OSError as error:
            raise BiBenchError(f"the program ssh cannot be run ({error}); install OpenSSH's client") from error
        said = done.stderr.decode(errors="replace").replace("\r", "").strip()
        if done.returncode == FAILED:
            raise Connection(f"{self.device.name}: {said[-TAIL:] or 'no connection'}{_advice(said)}")
        if done.returncode:
            raise BiBenchError(f"{self.device.name}: a command ended with status {done.returncode}: {said[-TAIL:]}")
        return done.stdout.decode(errors="replace")

    def _command(self, script: str) -> list[str]:
        config = self.option("ssh_config")
        port = self.option("port")
        return [
            "ssh",
            *(["-F", str(config)] if config else []),
            *(["-p", str(port)] if port else []),
            *("-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=yes"),  # whatever a configuration says
            *("-o", f"ConnectTimeout={CONNECT_SECONDS}"),
            *("-o", f"ServerAliveInterval={ALIVE_SECONDS}"),
            *("-o", f"ServerAliveCountMax={ALIVE_COUNT}"),
            *("-T", "--", self.option("host")),
            f"exec sh -c {shlex.quote(script)}",
        ]

    def _python(self) -> str:
        return quote_home(self.option("python", "python3"))


def quote_home(path: str) -> str:
    """A word of a remote shell command for a path; a leading ``~/`` becomes the home over there."""
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


def _removal(folder: str) -> str:
    return f"cd / && rm -rf {shlex.quote(folder)}"


def _advice(said: str) -> str:
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        return "; the host's key is not the known one: find out why before you trust it (ssh-keygen -R removes the old)"
    if "Host key verification failed" in said:
        return "; the host is not known: connect once with ssh, compare its fingerprint and accept it"
    if "Permission denied" in said:
        return "; only keys are used, never passwords: ssh-copy-id installs yours"
    return ""
