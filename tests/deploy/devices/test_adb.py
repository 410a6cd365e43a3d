"""Android, against a program that stands in for adb: it copies, and has a real shell run what it is given."""

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bibench.deploy.contenders import contenders
from bibench.deploy.devices import Connection, Device, adb
from bibench.deploy.devices.adb import Adb
from bibench.deploy.latency import Request, to_job
from bibench.foundation.errors import BiBenchError

from ..onnx_files import DABNN_OUTPUT, LCE_OUTPUT, script, stand_in

ADB = """\
echo "$*" >>"$LOG"
[ "$1" = -s ] && { [ "$2" = "it's 5554" ] || { echo "error: device '$2' not found" >&2; exit 1; }; shift 2; }
if [ -e "$LOG.gone" ]; then echo "error: no devices/emulators found" >&2; exit 1; fi
verb=$1; shift
case $verb in
push) cp "$1" "$2"; echo "1 file pushed" ;;
shell) PATH="$BIN:$PATH" sh -c "$*"; [ -e "$LOG.old" ] && exit 0 ;;  # joined by spaces, as adb does
*) exit 9 ;;
esac
"""


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The phone's folder, whose name needs quoting; the stand-in's log lies beside it."""
    place = tmp_path / "pho ne's $(touch hacked)"
    place.mkdir()
    script(tmp_path / "adb", ADB)
    script(tmp_path / "bin" / "getprop", 'echo "a $1"\n')
    monkeypatch.setattr(adb, "PLACE", str(place))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("BIN", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    return place


def device(phone: Path, **more: Any) -> Device:
    return Device("phone", transport="adb", options={"adb": str(phone.parent / "adb"), **more})


def job(phone: Path, *outputs: str, engine: str = "larq", **more: Any) -> tuple[dict[str, Any], dict[str, Path]]:
    """A model, and a benchmark program that prints `outputs` in a way of its own."""
    ending = {"larq": ".tflite", "dabnn": ".dab"}[engine]
    models = [phone.parent / f"mo del's{ending}", phone.parent / f"-other $(touch hacked){ending}"]
    for model in models:
        model.write_bytes(b"TFL3")
    program = stand_in(phone.parent / "bench mark", "".join(outputs))
    with program.open("a") as stream:
        stream.write(f'echo "$*" >>{shlex.quote(str(phone.parent / "arguments"))}\n')
    asked = {"threads": (4,), "max_seconds": 1.5, "programs": {engine: program}, "device": "local", **more}
    return to_job(Request(tuple(contenders(models, None, [engine])), **asked))


def test_measures_and_leaves_nothing(phone: Path) -> None:
    events = list(Adb(device(phone)).run(*job(phone, LCE_OUTPUT, arguments=("--use_xnnpack=true", "a b;'$(x)"))))
    assert events[0]["board"] == "a ro.product.model"
    assert events[-1] == {"event": "done"}
    results = [event for event in events if event["event"] == "result"]
    assert [(r["status"], r["threads"], r["batch"]) for r in results] == [("ok", 4, 1)] * 2
    assert all(len(r["samples"]) >= 15 and set(r["samples"]) == {31.4206} for r in results)
    said = (phone.parent / "arguments").read_text().splitlines()
    order = [line.split("/model")[-1][0] for line in said]
    assert set(order) == {"0", "1"}
    assert all(line.endswith("--use_xnnpack=true a b;'$(x)") and "--num_threads=4" in line for line in said)
    assert order != sorted(order)  # they take turns
    assert list(phone.iterdir()) == []
    assert not list(phone.parent.rglob("hacked"))


def test_dabnn_has_one_thread(phone: Path) -> None:
    asked, files = job(phone, DABNN_OUTPUT, engine="dabnn", threads=(1, 2))
    results = [e for e in Adb(device(phone)).run(asked, files) if e["event"] == "result"]
    assert [r["status"] for r in results if r["threads"] == 1] == ["ok", "ok"]
    assert all("one thread" in r["reason"] for r in results if r["threads"] == 2)


@pytest.mark.parametrize("old", [False, True])
def test_a_program_that_fails_is_told_also_by_devices_that_hide_its_status(phone: Path, old: bool) -> None:
    if old:
        (phone.parent / "log.old").touch()
    asked, files = job(phone)
    script(phone.parent / "bench mark", "echo GLIBC_2.34 not found; exit 7\n")
    results = [e for e in Adb(device(phone)).run(asked, files) if e["event"] == "result"]
    assert [r["status"] for r in results] == ["failed", "failed"]
    assert all(r["reason"].endswith("ended with 7: GLIBC_2.34 not found") for r in results)
    assert list(phone.iterdir()) == []


def test_output_that_is_none(phone: Path) -> None:
    results = [e for e in Adb(device(phone)).run(*job(phone, "hello\n")) if e["event"] == "result"]
    assert all("no line 'Inference (avg)" in r["reason"] for r in results)


def test_a_lost_connection_is_told_and_keeps_what_came(phone: Path) -> None:
    found = []
    with pytest.raises(Connection, match="phone: adb shell failed: error: no devices/emulators found"):
        for event in Adb(device(phone)).run(*job(phone, LCE_OUTPUT, threads=(1, 2))):
            found.append(event)
            if event["event"] == "session":
                (phone.parent / "log.gone").touch()
    assert {e["threads"] for e in found if e["event"] == "result"} == {1}


def test_the_serial_number_chooses(phone: Path) -> None:
    asked = job(phone, LCE_OUTPUT)
    assert list(Adb(device(phone, serial="it's 5554")).run(*asked))[-1] == {"event": "done"}
    with pytest.raises(Connection, match="device 'other' not found"):
        next(Adb(device(phone, serial="other")).run(*asked))
    with pytest.raises(BiBenchError, match="'serial' is no serial number"):
        Adb(device(phone, serial="-x"))


def test_no_adb_and_no_program(phone: Path) -> None:
    with pytest.raises(BiBenchError, match=r"adb cannot be run .*install Android's platform tools"):
        next(Adb(device(phone, adb="/none/adb")).run(*job(phone)))
    results = [e for e in Adb(device(phone)).run(*job(phone, programs={})) if e["event"] == "result"]
    assert all("needs the program lce_benchmark_model; give --programs" in r["reason"] for r in results)


def test_other_engines_do_not_run_there(phone: Path) -> None:
    asked, files = job(phone)
    asked["contenders"][0]["engine"] = "onnxruntime"
    with pytest.raises(BiBenchError, match="engine 'onnxruntime' does not run over adb; choose from larq, dabnn"):
        next(Adb(device(phone)).run(asked, files))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0\r", codec="utf-8")), min_size=1, max_size=3))
def test_any_words_reach_the_device_as_they_are(phone: Path, words: list[str]) -> None:
    said = Adb(device(phone)).shell(["printf", "%s\\n", *words])
    assert said == "".join(f"{word}\n" for word in words)
    assert not (phone.parent / "hacked").exists()


def test_the_status_of_the_last_command_is_read_and_not_one_that_was_printed(phone: Path) -> None:
    assert Adb(device(phone)).shell(["echo", "bibench-status:3"]) == "bibench-status:3\n"
    with pytest.raises(BiBenchError, match="sh ended with 3"):
        Adb(device(phone)).shell(["sh", "-c", "exit 3"])
    assert os.environ["LOG"]
