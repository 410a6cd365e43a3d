"""What a machine tells about itself, on trees of files like those of /proc and /sys."""

import os
from pathlib import Path
from typing import Any

import pytest

from bibench.deploy.bundle import machine, noise


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


@pytest.fixture
def cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two slow cores (0, 1), two fast ones (2, 3), and second threads of the fast ones (4, 5)."""
    monkeypatch.setattr(machine, "CPUS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5}, raising=False)
    for cpu, (capacity, siblings) in enumerate([(300, "0"), (300, "1"), *[(1024, s) for s in ("2,4", "3,5") * 2]]):
        write(tmp_path / f"cpu{cpu}" / "cpu_capacity", capacity)
        write(tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list", siblings)
        write(tmp_path / f"cpu{cpu}" / "cpufreq" / "scaling_cur_freq", 1_500_000 + cpu)
        write(tmp_path / f"cpu{cpu}" / "cpufreq" / "scaling_governor", "ondemand")
    return tmp_path


@pytest.mark.usefixtures("cpus")
def test_fast_cores_first_and_second_threads_after_first_ones() -> None:
    assert machine.usable_cpus() == [2, 3, 4, 5, 0, 1]


@pytest.mark.usefixtures("cpus")
def test_pinning_takes_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[list[int]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, chosen: bound.append(chosen), raising=False)
    assert machine.pin(2) == [2, 3] == bound[0]
    monkeypatch.delattr(os, "sched_setaffinity")
    assert machine.pin(2) == []


def test_pinning_binds_the_process_for_real() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind processes")
    before = os.sched_getaffinity(0)
    try:
        assert set(machine.pin(1)) == os.sched_getaffinity(0)
    finally:
        os.sched_setaffinity(0, before)


def test_state(cpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(machine, "FIRMWARE_THROTTLE", tmp_path / "get_throttled")
    write(tmp_path / "thermal" / "thermal_zone0" / "temp", 48312)
    write(tmp_path / "thermal" / "thermal_zone0" / "type", "cpu-thermal")
    write(tmp_path / "thermal" / "thermal_zone1" / "temp", "not now")
    write(tmp_path / "cpu2" / "thermal_throttle" / "core_throttle_count", 7)
    state = machine.snapshot([2, 3])
    assert (state["mhz"], state["governors"]) == ([1500, 1500], ["ondemand"])
    assert state["celsius"] == {"cpu-thermal": 48.312}
    assert (state["throttle_count"], state["throttled_now"]) == (7, False)
    write(tmp_path / "get_throttled", "50005")
    assert machine.snapshot([2])["throttled_now"]


def test_a_machine_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CPUS", "THERMAL", "FIRMWARE_THROTTLE"):
        monkeypatch.setattr(machine, name, tmp_path / "nothing")
    state = machine.snapshot([0])
    assert (state["mhz"], state["governors"], state["celsius"]) == ([], [], {})
    assert noise.disturbances(state, machine.snapshot([0]), 0) == {}
    assert machine.usable_cpus()


def test_description_has_what_records_need() -> None:
    facts = machine.describe()
    assert facts["cpu"] and facts["usable_cpus"] >= 1 and facts["numpy"]


def state(**more: Any) -> dict[str, Any]:
    calm = {"time": 0.0, "mhz": [2000], "governors": [], "throttle_count": 0, "throttled_now": False, "own": 0.0}
    return {**calm, "busy": {"busy": 0.0, "steal": 0.0}, **more}


CALM = state(time=10.0, own=9.9, busy={"busy": 10.0, "steal": 0.05})


def test_a_step_of_the_systems_clock_is_no_noise() -> None:
    """Between two moments it may count a whole hundredth of a second; in a second as much as that is little."""
    step = {"busy": 0.01, "steal": 0.01}
    assert noise.disturbances(state(), state(time=1e-4, busy=step), 1) == {}
    assert set(noise.disturbances(state(), state(time=2.0, busy={"busy": 1.0, "steal": 0.0}), 1)) == {"busy"}


@pytest.mark.parametrize(
    ("after", "flag"),
    [
        (CALM, None),
        (CALM | {"own": 5.0}, "busy"),
        (CALM | {"busy": {"busy": 10.0, "steal": 0.5}}, "steal"),
        (CALM | {"mhz": [1700]}, "throttled"),
        (CALM | {"mhz": [1900]}, None),
        (CALM | {"throttle_count": 1}, "throttled"),
        (CALM | {"throttled_now": True}, "throttled"),
    ],
)
def test_disturbances(after: dict[str, Any], flag: str | None) -> None:
    assert list(noise.disturbances(state(), after, 1)) == ([flag] if flag else [])


def test_advice() -> None:
    assert noise.advice(state(governors=["performance"]), [0]) == []
    assert "ondemand" in noise.advice(state(governors=["ondemand"]), [0])[0]
    assert "pinned" in noise.advice(state(), [])[0]


def test_samples_that_are_not_to_be_trusted() -> None:
    assert noise.of_samples([1.0] * 20, 0.02) == {}
    assert set(noise.of_samples([1.0, 2.0] * 10, 0.02)) == {"wide"}
    assert set(noise.of_samples([1.0 + 0.01 * n for n in range(60)], 0.5)) == {"drift"}
