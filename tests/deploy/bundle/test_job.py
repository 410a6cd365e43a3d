"""Jobs as a device runs them: each step in a process of its own, whatever a contender does."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bibench.deploy import bundle
from bibench.deploy.bundle import engines, job, marker
from bibench.deploy.bundle.memory import peak_memory
from bibench.deploy.bundle.profiling import per_node
from bibench.deploy.devices.packing import place

from ..onnx_files import LCE_OUTPUT, convolution, script, stand_in

Events = list[dict[str, Any]]


def run(folder: Path, contenders: list[dict[str, Any]], **more: Any) -> Events:
    """Events of a job, run as on a device."""
    asked = {"threads": [1], "batches": [1], "precision": 0.5, "max_seconds": 2.0, "memory": False, "profile": False}
    place(folder, {"contenders": contenders, **asked, **more}, {})
    command, env = [sys.executable, "-m", "bundle", "job.json"], {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def results(events: Events) -> dict[str, dict[str, Any]]:
    return {e["contender"]: e for e in events if e["event"] == "result"}


def onnx(name: str, file: Path, **more: Any) -> dict[str, Any]:
    return {"name": name, "engine": "onnxruntime", "file": str(file), **more}


@pytest.mark.slow
def test_memory_profile_and_a_contender_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    contenders = [
        onnx("small", convolution(tmp_path / "a.onnx", 2)),
        onnx("large", convolution(tmp_path / "b.onnx", 64, size=128)),
        onnx("broken", tmp_path / "broken.onnx"),
    ]
    events = run(tmp_path, contenders, memory=True, profile=True)
    found = results(events)
    assert [found[n]["status"] for n in ("small", "large", "broken")] == ["ok", "ok", "failed"]
    assert "broken.onnx" in found["broken"]["reason"]
    memory = {e["contender"]: e for e in events if e["event"] == "memory"}
    assert set(memory) == {"small", "large"}
    output = 64 * 128 * 128 * 4
    assert memory["large"]["model"] - memory["small"]["model"] > output / 2
    assert memory["large"]["process"] > memory["large"]["model"] > 0
    for event in (e for e in events if e["event"] == "profile"):
        assert "Conv" in {row["op"] for row in event["rows"]}
        assert sum(row["percent"] for row in event["rows"]) == pytest.approx(100, abs=0.1)


def test_a_contender_that_kills_its_process_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    deadly = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"  # its parent: the process that takes turns
    program = script(tmp_path / "program", deadly, f"/usr/bin/env {sys.executable}".replace("/usr/bin/env ", ""))
    contenders = [
        onnx("good", convolution(tmp_path / "a.onnx")),
        {"name": "deadly", "engine": "larq", "file": "x.tflite", "program": str(program)},
        onnx("none", tmp_path / "none.onnx"),
    ]
    events = run(tmp_path, contenders)
    found = results(events)
    assert found["good"]["status"] == "ok"
    assert found["deadly"]["reason"] == "the process died in its turn (signal SIGKILL; out of memory?)"
    assert [e["contender"] for e in events if e["event"] == "result"].count("none") == 1


def test_a_step_that_dies_is_told_and_the_latency_is_kept(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif sys.argv[0] == '-m' and 'memory' in sys.orig_argv:\n    os._exit(3)\n"
    )
    events = run(tmp_path, [onnx("a", convolution(tmp_path / "a.onnx"))], memory=True)
    assert results(events)["a"]["status"] == "ok"
    assert [(e["step"], e["reason"]) for e in events if e["event"] == "problem"] == [("memory", "exit code 3")]


def test_threads_and_batches(tmp_path: Path) -> None:
    many = (os.cpu_count() or 1) + 1
    fixed = convolution(tmp_path / "fixed.onnx", batch=1)
    contenders = [onnx("free", convolution(tmp_path / "free.onnx")), onnx("fixed", fixed)]
    events = run(tmp_path, contenders, threads=[1, many], batches=[2])
    found = [e for e in events if e["event"] == "result"]
    assert {(e["threads"], e["contender"], e["status"]) for e in found} == {
        (1, "free", "ok"),
        (1, "fixed", "failed"),
        (many, "free", "unsupported"),
        (many, "fixed", "unsupported"),
    }
    assert "fixed batch size of 1, batch 2 was asked for" in next(e for e in found if e["status"] == "failed")["reason"]
    assert "threads were asked for, the machine has" in found[-1]["reason"]


@pytest.mark.slow
def test_a_program_of_an_engine_takes_turns_with_the_rest(tmp_path: Path) -> None:
    program = stand_in(tmp_path / "lce benchmark", LCE_OUTPUT)
    contenders = [
        onnx("onnx", convolution(tmp_path / "a.onnx")),
        {"name": "larq", "engine": "larq", "file": "m.tflite", "program": str(program)},
        {"name": "without", "engine": "larq", "file": "m.tflite"},
        {"name": "unknown", "engine": "pigeon", "file": "m"},
    ]
    found = results(run(tmp_path, contenders))
    assert set(found["larq"]["samples"]) == {31.4206}
    assert len(found["onnx"]["samples"]) == len(found["larq"]["samples"])
    assert "give it with --program" in found["without"]["reason"]
    assert found["unknown"]["status"] == "failed" and "pigeon" in found["unknown"]["reason"]


def test_sessions_tell_the_state_of_the_machine(tmp_path: Path) -> None:
    [session] = [e for e in run(tmp_path, [onnx("a", convolution(tmp_path / "a.onnx"))]) if e["event"] == "session"]
    assert len(session["cpus"]) in (0, 1)
    assert {"mhz", "governors", "celsius", "load"} <= set(session["before"]) == set(session["after"])
    assert session["rounds"] >= 15 and session["seconds"] >= 1


def test_free_axes_and_types_of_inputs(tmp_path: Path) -> None:
    free = onnx("free", convolution(tmp_path / "free.onnx", size="S"))
    with pytest.raises(ValueError, match="input 'x' has free axes S, S; give its sizes: --shape x=1x"):
        engines.load(free, 1, 1)
    assert engines.load({**free, "shapes": {"x": [1, 3, 8, 8]}}, 1, 1)()[0].shape == (1, 4, 8, 8)
    for wrong in ([1, 4, 8, 8], [1, 3, 8]):
        with pytest.raises(ValueError, match=r"--shape x=1x.* does not fit: the model takes …x3x…x…"):
            engines.load({**free, "shapes": {"x": wrong}}, 1, 1)
    whole = onnx("whole", convolution(tmp_path / "whole.onnx", dtype="int64"))
    assert engines.load(whole, 1, 3)()[0].shape[0] == 3
    with pytest.raises(ValueError, match=r"input 'x' is a tensor\(uint16\), which cannot be made up"):
        engines.load(onnx("other", convolution(tmp_path / "other.onnx", dtype="uint16")), 1, 1)


def test_without_onnxruntime_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"ONNX Runtime cannot be imported .* -m pip install onnxruntime numpy"):
        engines.load(onnx("a", convolution(tmp_path / "a.onnx")), 1, 1)


def test_sessions_have_exactly_the_threads_asked_for_and_do_not_spin(tmp_path: Path) -> None:
    session = engines.onnx_session(onnx("a", convolution(tmp_path / "a.onnx")), 2)
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_sample_is_warm_and_long_enough_to_be_timed() -> None:
    now, calls = [0.0], [0]

    def call() -> None:
        calls[0] += 1
        now[0] += 0.3 if calls[0] == 1 else 0.00011  # the first one is cold

    sample = engines.timed(call, lambda: now[0])
    warm = calls[0]
    assert warm >= 3 and now[0] >= engines.WARM_SECONDS
    assert sample() == pytest.approx(0.11)
    assert calls[0] - warm == 1 + 5  # one untimed, and as many as make half a millisecond
    slow = engines.timed(lambda: now.__setitem__(0, now[0] + 0.25), lambda: now[0])
    assert slow() == pytest.approx(250)


def test_time_per_node_leaves_the_first_runs_out() -> None:
    def event(name: str, duration: float, **more: Any) -> dict[str, Any]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": duration, "args": {"op_name": "Conv"}, **more}

    events = [event("a", 900), event("b", 10), event("a", 30), event("b", 10), event("a", 30), event("b", 10)]
    events.append({"cat": "Session", "name": "model_run", "dur": 5000})
    rows = per_node(events, 1)
    assert [(r["order"], r["node"], r["microseconds"], r["percent"]) for r in rows] == [
        (1, "a", 30, 75),
        (2, "b", 10, 25),
    ]


def test_memory_counts_the_peak_and_not_what_is_left() -> None:
    def load() -> Any:
        return lambda: bytes(b"x" * 50_000_000)[:1]

    assert 45e6 < peak_memory(load)["model"] < 120e6


def test_the_marker_outlives_its_writer(tmp_path: Path) -> None:
    marker.create(tmp_path / "m")
    assert marker.read(tmp_path / "m") is None
    writer = marker.Marker(tmp_path / "m")
    for number in (12, 3):
        writer.leave(number)
        assert marker.read(tmp_path / "m") == number


@pytest.mark.parametrize("file", sorted(Path(bundle.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_the_bundle_needs_nothing_but_old_python_and_itself(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 9))
    for node in tree.body:
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.module or "").split(".")[0] in sys.stdlib_module_names


def test_who_is_slower_than_expected_is_profiled_once(tmp_path: Path) -> None:
    small, large = convolution(tmp_path / "a.onnx", 2), convolution(tmp_path / "b.onnx", 64, size=64)
    contenders = [
        onnx("base", large),
        onnx("slow", large, peer="base", least=5.0),
        onnx("fast", small, peer="base", least=1.0),
        onnx("alone", large, peer="gone", least=9.0),
    ]
    events = run(tmp_path, contenders, batches=[1, 2], max_seconds=1.0)
    assert [(e["contender"], e["batch"]) for e in events if e["event"] == "profile"] == [("slow", 1)]


@pytest.mark.parametrize(("mine", "least", "said"), [(4.0, 1.0, True), (1.0, 1.0, False), (1.0, 3.0, True)])
def test_disappointing_is_below_the_least_of_the_medians(mine: float, least: float, said: bool) -> None:
    samples = {"base": [2.0, 2.0, 90.0], "one": [mine] * 3}
    assert job.disappoints({"name": "one", "peer": "base", "least": least}, samples) == said
    assert not job.disappoints({"name": "one"}, samples) and not job.disappoints(
        {"name": "none", "peer": "base"}, samples
    )
