"""Android over adb, with the benchmark programs of the engines that the user has (`bibench.deploy.bundle.tools`).

Programs and models are pushed into a folder of our own and removed. As on other devices, contenders take turns
in random order until their medians are known; a sample is one run of the program, with several calls.
"""

from __future__ import annotations

import re
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bibench.deploy.bundle import noise, tools, turns
from bibench.deploy.devices.base import Connection, Device, Transport, transport
from bibench.foundation.errors import BiBenchError

PLACE = "/data/local/tmp"
STATUS = re.compile(r"bibench-status:(\d+)\s*\Z")
COUNTS = (1, 2, 4, 8)
GONE = ("no devices", "not found", "offline", "unauthorized", "device still", "closed", "cannot connect", "no device")
PROPERTIES = {"board": "ro.product.model", "cpu": "ro.soc.model", "system": "ro.build.version.release"}


@transport("adb")
class Adb(Transport):
    """Options: ``serial`` (of one among several devices, see ``adb devices``); ``adb`` (the program)."""

    options = {"serial": str, "adb": str}

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        if self.option("serial", "x").startswith("-") or not self.option("serial", "x").isprintable():
            raise BiBenchError(f"device {device.name!r}: 'serial' is no serial number; see: adb devices")

    def run(self, job: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
        for contender in job["contenders"]:
            if contender["engine"] not in tools.TOOLS:
                raise BiBenchError(
                    f"{self.device.name}: engine {contender['engine']!r} does not run over adb; "
                    f"choose from {', '.join(tools.TOOLS)}"
                )
        folder = f"{PLACE}/bibench-{secrets.token_hex(8)}"
        facts = {"event": "machine", **self._facts()}
        self.shell(["mkdir", folder])
        try:
            for number, contender in enumerate(job["contenders"]):
                self._push(files[contender["file"]], f"{folder}/model{number}")
                if contender.get("program"):
                    self._push(files[contender["program"]], f"{folder}/program{number}")
                    self.shell(["chmod", "755", f"{folder}/program{number}"])
            yield facts
            for threads in job["threads"] or [c for c in COUNTS if c <= facts["cpu_count"]]:
                for batch in job["batches"]:
                    yield from self._configuration(job, folder, threads, batch)
            yield {"event": "done"}
        finally:
            with suppress(BiBenchError):  # gone with the connection, which has been told
                self.shell(["rm", "-rf", folder])

    def _configuration(self, job: Mapping[str, Any], folder: str, threads: int, batch: int) -> Iterator[dict[str, Any]]:
        samplers, place = {}, {"threads": threads, "batch": batch}
        for number, contender in enumerate(job["contenders"]):
            try:
                sample = self._sampler(contender, folder, number, threads, batch)
                sample()  # warm, and the proof that it runs
                samplers[contender["name"]] = sample
            except Connection:
                raise
            except (BiBenchError, ValueError) as error:
                reason = turns.describe(error)
                yield {"event": "result", "contender": contender["name"], **place, "status": "failed", "reason": reason}
        found = turns.take_turns(samplers, job["precision"], job["max_seconds"], fatal=(Connection,))
        for name, samples in found.samples.items():
            result = {"event": "result", "contender": name, **place}
            if name in found.failures:
                yield {**result, "status": "failed", "reason": found.failures[name]}
            else:
                flags = {"unpinned": "not pinned", **noise.of_samples(samples, job["precision"])}
                yield {**result, "status": "ok", "samples": samples, "flags": flags}
        yield {"event": "session", **place, "rounds": found.rounds, "seconds": round(found.seconds, 3)}

    def _sampler(
        self, contender: Mapping[str, Any], folder: str, number: int, threads: int, batch: int
    ) -> Callable[[], float]:
        engine = contender["engine"]
        tools.check(engine, threads, batch)
        if not contender.get("program"):
            raise BiBenchError(f"engine {engine!r} needs the program {tools.TOOLS[engine].program}; give --programs")
        program, model = f"{folder}/program{number}", f"{folder}/model{number}"
        words = tools.command(engine, program, model, threads, tools.CALLS, contender.get("arguments", ()))
        return lambda: tools.TOOLS[engine].parse(self.shell(words)).value

    def _facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: self.shell(["getprop", key]).strip() for name, key in PROPERTIES.items()}
        online = self.shell(["cat", "/sys/devices/system/cpu/online"])
        return {**found, "platform": "Android", "cpu_count": _count(online)}

    def _push(self, file: Path, target: str) -> None:
        self._adb(["push", str(file.resolve()), target])

    def shell(self, words: Sequence[str]) -> str:
        """Run a command there; its output. adb hands one string to the device's shell, so words are quoted for it."""
        said = self._adb(["shell", f"{shlex.join(words)} 2>&1; echo bibench-status:$?"])
        status = STATUS.search(said)  # older devices do not pass it on
        if status is None:
            raise Connection(f"{self.device.name}: the connection was lost during {words[0]}")
        said = said[: status.start()]
        if status[1] != "0":
            raise BiBenchError(f"{self.device.name}: {words[0]} ended with {status[1]}: {said.strip()[-300:]}")
        return said

    def _adb(self, arguments: Sequence[str], seconds: float = 900.0) -> str:
        serial = self.option("serial")
        command = [self.option("adb", "adb"), *(["-s", serial] if serial else []), *arguments]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds
            )
        except subprocess.TimeoutExpired as error:
            raise Connection(f"{self.device.name}: adb {arguments[0]} did not end within {seconds:.0f} s") from error
        except OSError as error:
            raise BiBenchError(f"adb cannot be run ({error}); install Android's platform tools") from error
        if (done.returncode and arguments[0] != "shell") or (done.returncode and "bibench-status:" not in done.stdout):
            said = (done.stderr.strip() or done.stdout.strip())[-300:]
            kind = Connection if any(word in said for word in GONE) else BiBenchError
            raise kind(f"{self.device.name}: adb {arguments[0]} failed: {said}")
        return done.stdout


def _count(online: str) -> int:
    from bibench.deploy.bundle.machine import parse_cpu_list

    return len(parse_cpu_list(online)) or 1
