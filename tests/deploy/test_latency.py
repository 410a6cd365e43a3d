"""Measurements as records: what is stored of a session, of one that broke, and where."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import export, latency
from bibench.deploy.contenders import contenders
from bibench.deploy.devices import DEVICES, TRANSPORTS, Connection, Device, Transport, register_device, transport
from bibench.deploy.latency import Measured, Request, measure, to_job
from bibench.deploy.storing import append, require_writable, store
from bibench.foundation.errors import BiBenchError, StoreError
from bibench.records.record import Record, read
from bibench.tracks import TRACKS

from ..kernels.native import needs_core
from .onnx_files import convolution

EVENTS: list[dict[str, Any]] = []


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A device that tells the events in the list; one that is an exception is raised."""
    len(DEVICES), len(TRANSPORTS)
    for registry in (DEVICES, TRANSPORTS):
        for catalogue in ("_entries", "_sources"):
            monkeypatch.setattr(registry, catalogue, dict(getattr(registry, catalogue)))

    @transport("replay")
    class Replay(Transport):
        def run(self, job: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
            for event in EVENTS:
                if "raise" in event:
                    raise event["raise"]
                yield event

    register_device(Device("replay", transport="replay"))
    EVENTS.clear()
    yield EVENTS
    EVENTS.clear()


def request(folder: Path, **more: Any) -> Request:
    files = [convolution(folder / name) for name in ("base.onnx", "net.onnx")]
    return Request(tuple(contenders(files[1:], files[0], [])), **{"device": "replay", **more})


def result(name: str, samples: list[float], threads: int = 1, **more: Any) -> dict[str, Any]:
    place = {"event": "result", "contender": name, "threads": threads, "batch": 1}
    return {**place, "status": "ok", "samples": samples, "flags": {}, **more}


MACHINE = {
    "event": "machine",
    "board": "Board 3",
    "cpu": "Core",
    "cpu_count": 4,
    "platform": "Linux aarch64",
    "python": "3.9.2",
    "numpy": "1.26.4",
}
BASE, NET = [8.0, 10.0, 12.0, 9.0, 11.0, 10.0], [2.0, 2.0, 3.0, 2.0, 2.0, 2.0]


def by_metric(measured: Measured) -> dict[tuple[str, str, int | None], Record]:
    return {(r.operator, r.metric, r.threads): r for r in measured.records}


def test_records_of_a_session(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    replay += [MACHINE, result("baseline", BASE), result("model0", NET, flags={"busy": "words"})]
    replay += [{**result("model0", []), "event": "memory", "process": 9000, "model": 700}, {"event": "done"}]
    measured = measure(request(tmp_path), lambda text: None)
    found = by_metric(measured)
    time = found["", "latency_ms", 1]
    assert (time.kind, time.value, time.low, time.high, time.samples, time.unit) == ("latency", 2.0, 2.0, 2.0, 6, "ms")
    assert (time.device, time.engine, time.batch_size, time.flags) == ("replay", "onnxruntime", 1, "busy")
    assert (time.cpu, time.cpu_count, time.platform, time.python, time.torch) == (
        *("Core", 4, "Linux aarch64", "3.9.2"),
        "",  # ours is not that of the device
    )
    assert found["fp32", "latency_ms", 1].value == 10.0
    assert found["", "speedup", 1].value == 4.75  # the median of the rounds' ratios, not the ratio of medians
    assert ("fp32", "speedup", 1) not in found
    assert found["", "storage", None].value == (tmp_path / "net.onnx").stat().st_size
    assert found["", "peak_memory", 1].value == 700 and found["", "process_memory", 1].value == 9000


def test_a_failure_is_a_row_and_no_speed_up_is_made_up(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    failed = {**result("baseline", []), "status": "failed", "reason": "no memory"}
    replay += [MACHINE, failed, result("model0", NET), {"event": "done"}]
    measured = measure(request(tmp_path), lambda text: None)
    found = by_metric(measured)
    assert (found["fp32", "latency_ms", 1].status, found["fp32", "latency_ms", 1].reason) == ("failed", "no memory")
    assert set(found) == {("fp32", "latency_ms", 1), ("", "latency_ms", 1), ("", "storage", None)}


def test_what_came_before_a_connection_broke_is_kept(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    replay += [MACHINE, result("baseline", BASE), result("model0", NET), {"raise": Connection("board: lost")}]
    measured = measure(request(tmp_path, threads=(1, 2)), lambda text: None)
    assert measured.problem == "board: lost"
    folder = store(measured, request(tmp_path), tmp_path / "runs")
    assert by_metric(measured)["", "speedup", 1].value == 4.75
    assert json.loads((folder / "session.json").read_text())["problem"] == "board: lost"
    assert len(read([tmp_path / "runs"])) == len(measured.records)


def test_what_came_before_an_interrupt_is_kept(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    replay += [MACHINE, result("baseline", BASE), result("model0", NET), {"raise": KeyboardInterrupt()}]
    measured = measure(request(tmp_path, threads=(1, 2)), lambda text: None)
    assert measured.problem == "interrupted"
    assert by_metric(measured)["", "speedup", 1].value == 4.75
    replay[:] = [MACHINE, {"raise": KeyboardInterrupt()}]
    with pytest.raises(KeyboardInterrupt):
        measure(request(tmp_path), lambda text: None)


def test_a_place_for_records_is_tried_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "damaged.jsonl").write_text("{damaged\n")
    (tmp_path / "folder.jsonl").mkdir()
    for place in ("file", "file/runs", "file/mine.jsonl", "damaged.jsonl", "folder.jsonl"):
        with pytest.raises(BiBenchError, match=r"cannot write|not JSON|expected a file"):
            require_writable(tmp_path / place)
    for place in ("runs", "more/runs", "more/mine.jsonl"):
        require_writable(tmp_path / place)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "more").exists()  # nothing is measured yet


def test_a_device_that_was_never_reached_leaves_nothing(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    replay += [{"raise": Connection("board: no answer")}]
    with pytest.raises(Connection, match="no answer"):
        measure(request(tmp_path), lambda text: None)


def test_news_and_warnings(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    session = {"event": "session", "threads": 1, "batch": 1, "flags": {"busy": "others work"}, "advice": ["governor"]}
    at = {**result("model0", []), "event": "at", "doing": "round 3"}
    replay += [MACHINE, at, result("model0", NET, flags={"wide": "± 9 %", "busy": "others work"}), session]
    replay += [{**result("baseline", []), "status": "failed", "reason": "why"}, {"event": "done"}]
    said: list[str] = []
    measure(request(tmp_path), said.append)
    assert said == [
        "1 thread(s), batch 1: net (onnxruntime): round 3",
        "warning: 1 thread(s), batch 1: net (onnxruntime): ± 9 %",
        "warning: 1 thread(s), batch 1: others work",
        "warning: 1 thread(s), batch 1: governor",
        "1 thread(s), batch 1: base fp32 (onnxruntime): failed: why",
    ]


def test_the_run_folder(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    profile = {**result("model0", []), "event": "profile", "rows": [{"order": 1, "node": "a", "percent": 100.0}]}
    replay += [MACHINE, result("baseline", BASE), result("model0", NET), profile, {"event": "done"}]
    asked = request(tmp_path, name="My board / 3")
    folder = store(measure(asked, lambda text: None), asked, tmp_path / "runs")
    assert folder.parent == tmp_path / "runs" / "measurements" / "latency" / "my-board-3"
    assert {r.device for r in read([tmp_path / "runs"])} == {"My board / 3"}
    rows = list(csv.DictReader((folder / "samples.csv").open()))
    assert [float(row["ms"]) for row in rows if row["contender"] == "baseline"] == BASE
    assert (folder / "profile-model0-1threads-batch1.csv").read_text() == "order,node,percent\n1,a,100.0\n"
    session = json.loads((folder / "session.json").read_text())
    assert session["machine"]["board"] == "Board 3"
    assert session["statistics"][0] == {
        "contender": "baseline",
        "threads": 1,
        "batch": 1,
        "median": 10.0,
        "interval": [8.0, 12.0],
        "minimum": 8.0,
        "p05": pytest.approx(8.25),
        "p95": pytest.approx(11.75),
        "samples": 6,
    }
    assert session["models"][1]["files"]["net.onnx"]["sha256"]


def test_a_file_of_records_grows_or_stays_as_it_is(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    replay += [MACHINE, result("model0", NET), {"event": "done"}]
    asked, file = request(tmp_path), tmp_path / "new" / "mine.jsonl"
    measured = measure(asked, lambda text: None)
    for times in (1, 2):
        assert store(measured, asked, file) == file
        assert len(read([file])) == times * len(measured.records)
    file.write_text(file.read_text() + "{damaged\n")
    before = file.read_text()
    with pytest.raises(StoreError, match=r"mine.jsonl:\d+: not JSON"):
        append(measured.records, file)
    assert file.read_text() == before


def test_the_track_scores_what_was_measured(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    model: nn.Module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 14 * 14, 4))
    x = torch.randn(1, 3, 16, 16)
    export(model.eval(), tmp_path / "net.onnx", x, engine="onnxruntime")
    export(model.eval(), tmp_path / "base.onnx", x, engine="onnxruntime")
    found = contenders([tmp_path / "net.onnx"], tmp_path / "base.onnx", [])
    same = {"task": "digits_photos", "model": "vgg_small", "recipe": "quick", "family": "cnn"}
    named = [latency.Contender(**{**vars(c), "facts": {**c.facts, **same}}) for c in found]
    named[1] = latency.Contender(**{**vars(named[1]), "facts": {**named[1].facts, "operator": "bnn"}})
    replay += [MACHINE, result("baseline", BASE), result("model0", NET), {"event": "done"}]
    measured = measure(Request(tuple(named), device="replay"), lambda text: None)
    scores = {(s.metric, s.operator): s.value for s in TRACKS["hardware_inference"].score(measured.records)}
    assert scores["speedup", "bnn"] == pytest.approx(5)
    assert scores["compression", "bnn"] == pytest.approx(1)


def test_jobs_name_what_a_device_needs(tmp_path: Path) -> None:
    library, program = tmp_path / "core.so", tmp_path / "lce"
    library.touch(), program.touch()
    (tmp_path / "lite.tflite").write_bytes(b"TFL3")
    files = [convolution(tmp_path / "net.onnx"), tmp_path / "lite.tflite"]
    found = tuple(contenders(files[:1], None, ["bibench"]) + contenders(files[1:], None, []))
    found = tuple(latency.Contender(**{**vars(c), "key": f"c{n}"}) for n, c in enumerate(found))
    job, needed = to_job(Request(found, library=library, programs={"larq": program}, arguments=("--x",)))
    assert job["contenders"][0]["library"] == "files/core.so"
    assert (job["contenders"][1]["program"], job["contenders"][1]["arguments"]) == ("programs/lce", ["--x"])
    assert {needed[name] for name in needed} == {*files, library, program}
    assert json.loads(json.dumps(job)) == job


def test_a_shape_of_an_input_that_no_model_has(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    export(model, tmp_path / "net.onnx", torch.zeros(1, 3, 4), engine="onnxruntime")
    found = tuple(contenders([tmp_path / "net.onnx"], None, []))
    with pytest.raises(BiBenchError, match="--shape ids: no model has an input of that name; known: input"):
        to_job(Request(found, shapes={"ids": [1, 3]}))
    plain = tuple(contenders([convolution(tmp_path / "plain.onnx")], None, []))  # says nothing of its inputs
    assert to_job(Request(plain, shapes={"ids": [1, 3]}))


def test_our_operators_for_another_machine_must_be_given(replay: list[dict[str, Any]], tmp_path: Path) -> None:
    found = tuple(contenders([convolution(tmp_path / "net.onnx")], None, ["bibench"]))
    with pytest.raises(BiBenchError, match=r"engine 'bibench' on device 'replay' needs the library .*--library"):
        to_job(Request(found, device="replay"))


@pytest.mark.slow
def test_this_machine_for_real(tmp_path: Path) -> None:
    asked = request(tmp_path, device="local", threads=(1,), max_seconds=1.5, profile=True)
    measured = measure(asked, lambda text: None)
    found = by_metric(measured)
    assert found["", "latency_ms", 1].value and found["", "speedup", 1].value
    assert found["", "latency_ms", 1].torch
    assert found["", "latency_ms", 1].device not in ("", "local")
    assert set(measured.profiles) == {("baseline", 1, 1), ("model0", 1, 1)}


@pytest.mark.parametrize("engine", [pytest.param("bibench", marks=needs_core), "onnxruntime"])
def test_theory_stands_beside_what_was_measured(replay: list[dict[str, Any]], tmp_path: Path, engine: str) -> None:
    """64 bit operations as one, of an engine with bits: 512 multiply-accumulates beside float ones of 96 and 32."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 32), nn.Linear(32, 1))
    export(model.eval(), tmp_path / "base.onnx", torch.randn(2, 6), engine="onnxruntime")
    bibench.binarize(model, "bnn", example_inputs=torch.randn(2, 6))
    export(model.eval(), tmp_path / "net.onnx", torch.randn(2, 6), engine=engine)
    nodes = [{"order": 1, "node": "1", "op": "BinaryLinear", "microseconds": 20.0, "percent": 100.0}]
    profile = {**result("model0", []), "event": "profile", "rows": nodes}
    replay += [MACHINE, result("baseline", BASE), result("model0", NET), profile]
    found = tuple(contenders([tmp_path / "net.onnx"], tmp_path / "base.onnx", []))
    asked = Request(found, device="replay", library=tmp_path / "net.onnx")
    measured = measure(asked, lambda text: None)
    [theory] = [r for r in measured.records if r.metric == latency.THEORY]
    expected = (96 + 512 + 32) / (96 + 512 / 64 + 32) if engine == "bibench" else 1
    assert (theory.operator, theory.value) == ("bnn", pytest.approx(expected))
    job, _ = to_job(asked)
    assert [row.get("peer") for row in job["contenders"]] == [None, "baseline"]
    assert job["contenders"][1]["least"] == pytest.approx(max(1, expected / 2))
    [said] = measured.explanations.values()
    assert said[0].endswith(f"4.75 times as fast as full precision, {expected:.2f} in theory")
    folder = store(measured, asked, tmp_path / "runs")
    assert json.loads((folder / "session.json").read_text())["explanations"][0]["sentences"] == said
