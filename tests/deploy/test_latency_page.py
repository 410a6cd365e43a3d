"""docs/latency.md is true: its commands run, its files are read, and it has all flags, metrics and columns."""

import inspect
import re
import shlex
from pathlib import Path

import pytest

from bibench.deploy import imported, latency
from bibench.deploy.bundle import noise
from bibench.deploy.devices import load_devices
from bibench.records.record import read

from ..cli.test_cli import Call, call
from .onnx_files import convolution

__all__ = ["call"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "latency.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


pytestmark = pytest.mark.usefixtures("devices_restored")


@pytest.mark.slow
def test_commands_and_files(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    convolution(Path("bnn.onnx")), convolution(Path("fp32.onnx"), 16)
    Path("measured.csv").write_text(blocks("csv")[0])
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 2
    for command in commands:
        ended = call(*shlex.split(command)[1:])
        assert ended.code == 0, ended.err
    assert {r.model for r in read([Path("runs")])} == {"bnn", "fp32", "resnet18"}


def test_rows_of_devices(tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(blocks("toml")[0])
    found = {device.name: device for device in load_devices(tmp_path / "devices.toml")}
    assert {device.open().name for device in found.values()} == {"ssh", "adb"}
    assert found["Raspberry Pi 4B"].soc and found["Rock 5B"].cores == 8


def test_all_flags_metrics_and_columns_are_described() -> None:
    described = set(re.findall(r"`(\w+)`", PAGE))
    set_by = inspect.getsource(noise) + inspect.getsource(__import__("bibench.deploy.bundle.job", fromlist=["x"]))
    flags = set(re.findall(r'found\["(\w+)"\] =', set_by)) | {"unpinned", imported.IMPORTED}
    assert flags >= {"busy", "steal", "throttled", "wide", "drift"}
    metrics = {latency.LATENCY, latency.SPEEDUP, latency.THEORY, latency.SIZE, latency.PEAK, latency.PROCESS}
    assert flags | metrics | {*imported.REQUIRED, *imported.OPTIONAL, *imported.UNITS} <= described
    records = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    assert all(f"`{flag}`" in records for flag in flags)
