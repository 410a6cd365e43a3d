"""``bibench latency``: measuring, importing, and what is wrong on a command line."""

import csv
import io
from pathlib import Path

import pytest

from bibench.records.record import read

from ..deploy.devices.test_adb import ADB
from ..deploy.onnx_files import LCE_OUTPUT, convolution, script, stand_in
from .test_cli import Call, call

__all__ = ["call"]

SOON = ("--max-seconds", "1.5", "--no-memory")


pytestmark = pytest.mark.usefixtures("devices_restored")


@pytest.mark.slow
def test_measures_beside_the_baseline(call: Call, tmp_path: Path) -> None:
    net, base = convolution(tmp_path / "net.onnx"), convolution(tmp_path / "base.onnx", 32)
    ended = call("latency", net, "--baseline", base, "--threads", "1", "--batch", "1,2", "-o", tmp_path / "runs", *SOON)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("Latency on ")
    rows = [line.split() for line in ended.out.splitlines()[3:] if line.strip()]
    assert [row[:2] for row in rows] == [["base", "fp32"], ["net", "onnxruntime"]] * 2
    stored = read([tmp_path / "runs"])
    assert {(r.model, r.operator) for r in stored} == {("base", "fp32"), ("net", "")}
    assert {r.batch_size for r in stored if r.metric == "latency_ms"} == {1, 2}
    assert f"records: {tmp_path / 'runs'}" in ended.err
    assert "1 thread(s), batch 2: base fp32 (onnxruntime): warming up" in ended.err


@pytest.mark.slow
def test_json_and_csv_are_the_records(call: Call, tmp_path: Path) -> None:
    net, file = convolution(tmp_path / "net.onnx"), tmp_path / "mine.jsonl"
    ended = call("latency", net, "--threads", "1", "-o", file, "--format", "json", *SOON)
    assert [r["value"] for r in ended.json] == [r.value for r in read([file])]
    ended = call("latency", "measure", net, "--threads", "1", "-o", file, "--format", "csv", *SOON)
    assert [float(r["value"]) for r in csv.DictReader(io.StringIO(ended.out))] == [r.value for r in read([file])[2:]]


@pytest.mark.slow
def test_a_model_that_fails_is_a_row_and_a_status(call: Call, tmp_path: Path) -> None:
    free = convolution(tmp_path / "free.onnx", size="S")
    ended = call("latency", free, "--threads", "1", "-o", tmp_path / "runs", *SOON)
    assert ended.code == 1
    assert "failed: input 'x' has free axes S, S; give its sizes: --shape x=1x" in ended.out
    shaped = call("latency", free, "--threads", "1", "--shape", "x=1x3x8x8", "-o", tmp_path / "runs", *SOON)
    assert shaped.code == 0


def test_on_a_phone_of_ones_own(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bibench.deploy.devices.adb.PLACE", str(tmp_path))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("BIN", str(tmp_path / "bin"))
    script(tmp_path / "bin" / "getprop", "echo Phone\n")
    (tmp_path / "mine.toml").write_text(f'["Kirin 970"]\ntransport = "adb"\nadb = "{script(tmp_path / "adb", ADB)}"\n')
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    program = stand_in(tmp_path / "lce", LCE_OUTPUT)
    device = ("--devices", tmp_path / "mine.toml", "--device", "Kirin 970", "--threads", "2")
    ended = call(
        "latency", tmp_path / "net.tflite", *device, "--program", f"larq={program}", "-o", tmp_path / "r", *SOON
    )
    assert ended.code == 0, ended.err
    [record] = [r for r in read([tmp_path / "r"]) if r.metric == "latency_ms"]
    assert (record.device, record.engine, record.threads, record.value) == ("Kirin 970", "larq", 2, 31.4206)
    assert record.flags == "unpinned" and record.platform == "Android"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx"], "none.onnx does not exist"),
        (["net.onnx", "--threads", "0"], "--threads: '0' is no positive number"),
        (["net.onnx", "--batch", "x"], "--batch: 'x' is no positive number"),
        (["net.onnx", "--shape", "x"], "--shape: 'x', expected an input's name and sizes, as in: ids=1x128"),
        (["net.onnx", "--shape", "x=1x0"], "--shape: 'x=1x0', expected"),
        (["net.onnx", "--program", "tvm=x"], "--program: 'tvm=x', expected one of larq=FILE, dabnn=FILE"),
        (["net.onnx", "--program", "larq=none"], "--program: there is no file none"),
        (["net.onnx", "--library", "none"], "--library: there is no file none"),
        (["net.onnx", "--engines", "tvm"], "unknown engine 'tvm'"),
        (["net.onnx", "--device", "Raspberry Pi 4B"], "is known, but not how it is reached"),
        (["net.onnx", "--device", "loca"], "unknown device 'loca'; did you mean 'local'"),
        (["net.onnx", "--devices", "none.toml"], "--devices none.toml cannot be read"),
        (["net.onnx", "--format", "xml"], "--format must be table, json or csv"),
        (["import", "none.csv"], "none.csv cannot be read"),
    ],
)
def test_what_is_wrong(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    convolution(Path("net.onnx"))
    ended = call("latency", *arguments, "-o", "runs")
    assert ended.code == 2
    assert message in ended.err
    assert not Path("runs").exists()


def test_import_takes_all_or_nothing(call: Call, tmp_path: Path) -> None:
    sheet, lines = tmp_path / "mine.csv", ["device,threads,model,engine,operator,latency_ms"]
    lines += [f"Apple M1,{threads},resnet18,larq,bnn,{8 / threads}" for threads in (1, 2, 4)]
    sheet.write_text("\n".join([*lines, "Apple M1,8,resnet18,larq,bnn,-1"]))
    ended = call("latency", "import", sheet, "-o", tmp_path / "runs")
    assert (ended.code, (tmp_path / "runs").exists()) == (2, False)
    assert "mine.csv, line 5: column 'latency'" in ended.err
    sheet.write_text("\n".join(lines))
    ended = call("latency", "import", sheet, "-o", tmp_path / "runs")
    assert ended.code == 0 and ended.out.startswith("3 measurements of 1 device(s): ")
    assert [r.value for r in read([tmp_path / "runs"])] == [8, 4, 2]
    call("latency", "import", sheet, "-o", tmp_path / "mine.jsonl")
    call("latency", "import", sheet, "-o", tmp_path / "mine.jsonl")
    assert len(read([tmp_path / "mine.jsonl"])) == 6


def test_devices_are_listed(call: Call) -> None:
    ended = call("list", "devices", "--json")
    found = {row["name"]: row for row in ended.json}
    assert len(found) == 15
    assert found["Raspberry Pi 4B"]["cores"] == "4 × Cortex-A72 1.5 GHz" and found["local"]["reached by"] == "local"


def test_help_names_both_ways(call: Call) -> None:
    said = call("latency", "--help").out
    assert "measure" in said and "import" in said
