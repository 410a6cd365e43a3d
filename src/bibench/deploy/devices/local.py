"""This machine: the bundle runs in processes of its own, with this Python."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bibench.deploy.devices.base import Device, Transport, transport
from bibench.deploy.devices.packing import place
from bibench.deploy.devices.rows import register_device
from bibench.deploy.devices.streaming import stream

LOCAL = "local"


@transport(LOCAL)
class Local(Transport):
    """Runs here. Files are read where they are."""

    def run(self, job: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryDirectory(prefix="bibench-") as folder:
            place(Path(folder), job, files)
            command = [sys.executable, "-m", "bundle", "job.json"]
            yield from stream(command, "this machine", cwd=Path(folder), env={**os.environ, "TMPDIR": folder})


register_device(Device(LOCAL, transport=LOCAL, note="this machine"))
