"""Measurements by hand: read whole, or refused with line and column."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bibench.deploy.imported import IMPORTED, read_measurements
from bibench.foundation.errors import DataError

HEADER = "device,threads,model,engine,operator,latency_ms\n"
GOOD = "Raspberry Pi 4B,1,resnet18,larq,bnn,51.2\n"


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


def test_the_papers_own_table_can_be_read() -> None:
    published = Path(__file__).parents[2] / "src" / "bibench" / "published" / "raw" / "latency.csv"
    records = read_measurements(published)
    assert len(records) == len(published.read_text().splitlines()) - 1 == 570
    assert {r.device for r in records} >= {"Kirin 970", "Apple M1 Max"}


def test_fields(sheet: Path) -> None:
    sheet.write_text(
        "\ufeffoperator, device,threads,engine,model,latency,unit,low,high,samples,task,batch_size,seed,cpu,note\r\n"
        '"recu","Raspberry Pi 4B",4,larq,resnet18[width=32],51200,us,50000,60000,50,cifar10,2,3,Cortex,"fan, 20 °C"\r\n'
    )
    [record] = read_measurements(sheet)
    assert (record.kind, record.metric, record.value, record.low, record.high) == (
        "latency",
        "latency_ms",
        51.2,
        50,
        60,
    )
    assert (record.device, record.threads, record.engine, record.samples) == ("Raspberry Pi 4B", 4, "larq", 50)
    assert (record.model, record.family, record.operator) == ("resnet18[width=32]", "cnn", "recu")
    assert (record.task, record.batch_size, record.seed, record.cpu) == ("cifar10", 2, 3, "Cortex")
    assert (record.reason, record.flags, record.unit) == ("fan, 20 °C", IMPORTED, "ms")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: column 'device' is missing"),
        (HEADER, "no measurements below the header"),
        (HEADER.replace("device,", ""), "line 1: column 'device' is missing"),
        (HEADER.replace("latency_ms", "latency"), "line 1: column 'unit' is missing; add it .ns, us, ms, s."),
        (HEADER.replace("latency_ms", "latency_ms,unit"), "line 1: column 'unit' beside 'latency_ms'"),
        (HEADER.replace("device", "phone"), "line 1: unknown column 'phone'; expected device, threads"),
        (HEADER.replace(",", ";"), "line 1: unknown column 'device;.*' .columns are separated by commas.; expected"),
        (HEADER.replace("device", "model"), "line 1: column 'model' is there twice"),
        (HEADER.replace("engine", "architecture"), "line 1: column 'model' is there twice"),
        (HEADER + GOOD + GOOD, "line 3: column 'latency': the same was measured in line 2"),
        (HEADER + GOOD + GOOD.replace("51.2", "60"), "line 3: column 'latency': the same was measured in line 2"),
        (HEADER + GOOD.replace("Pi 4B", "Pi 9"), "line 2: column 'device': unknown device 'Raspberry Pi 9'; did you"),
        (HEADER + GOOD.replace("larq", "lark"), "line 2: column 'engine': unknown engine 'lark'; expected bibench"),
        (
            HEADER + GOOD.replace("bnn", "bmm"),
            "line 2: column 'operator': unknown operator 'bmm'. Known operators: bireal, bnn",
        ),
        (HEADER + GOOD.replace("resnet18", "resnet"), "line 2: column 'model': unknown model 'resnet'"),
        (HEADER + GOOD.replace("51.2", "-1"), "line 2: column 'latency': '-1', expected a number above 0"),
        (HEADER + GOOD.replace("51.2", "0"), "line 2: column 'latency': '0', expected a number above 0"),
        (HEADER + GOOD.replace("51.2", "nan"), "line 2: column 'latency': 'nan', expected"),
        (HEADER + GOOD.replace("51.2", "inf"), "line 2: column 'latency': 'inf', expected"),
        (HEADER + GOOD.replace("51.2", "1_0"), "line 2: column 'latency': '1_0', expected"),
        (HEADER + GOOD.replace("51.2", '"51,2"'), "line 2: column 'latency': '51,2' is no number; .*with a point"),
        (HEADER + GOOD.replace("51.2", ""), "line 2: column 'latency' is empty"),
        (HEADER + GOOD.replace(",1,", ",0,"), "line 2: column 'threads': '0', expected a whole number above 0"),
        (HEADER + GOOD.replace(",1,", ",1.5,"), "line 2: column 'threads': '1.5', expected a whole number"),
        (HEADER + GOOD.replace(",1,", ",²,"), "line 2: column 'threads': '²', expected a whole number"),
        (HEADER + GOOD.replace(",51.2", ""), "line 2: 5 columns, the header has 6"),
        (HEADER + GOOD.replace("51.2", "51.2,7"), "line 2: 7 columns, the header has 6"),
        (HEADER + 'a,"b\n', r"line 2: no CSV \("),
        (HEADER.replace("_ms", ",unit") + GOOD.replace("\n", ",min\n"), "line 2: column 'unit': unknown unit 'min'"),
        (HEADER[:-1] + ",low\n" + GOOD.replace("\n", ",60\n"), "line 2: column 'low': 60 is on the wrong side"),
        (HEADER[:-1] + ",high\n" + GOOD.replace("\n", ",50\n"), "line 2: column 'high': 50 is on the wrong side"),
        (HEADER[:-1] + ",task\n" + GOOD.replace("\n", ",mnist\n"), "line 2: column 'task': unknown task 'mnist'"),
    ],
)
def test_the_first_fault_is_named(sheet: Path, text: str, message: str) -> None:
    sheet.write_text(text)
    with pytest.raises(DataError, match=f"mine.csv[,:].*{message}"):
        read_measurements(sheet)


def test_no_text(sheet: Path) -> None:
    sheet.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"cannot be read .*expected a CSV file in UTF-8"):
        read_measurements(sheet)
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        read_measurements(sheet.with_name("none.csv"))


cells = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["1", "larq", "bnn", "resnet18", "Apple M1"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(cells, min_size=6, max_size=6), max_size=3))
def test_any_table_is_read_or_refused(sheet: Path, rows: list[list[str]]) -> None:
    sheet.write_text(HEADER + "".join(",".join(row) + "\n" for row in rows), newline="")
    try:
        assert read_measurements(sheet)
    except DataError as error:
        assert "mine.csv" in str(error)


@given(value=st.floats(1e-6, 1e6), unit=st.sampled_from(["ns", "us", "ms", "s"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_units(sheet: Path, value: float, unit: str) -> None:
    sheet.write_text(HEADER.replace("_ms", ",unit") + GOOD.replace("51.2", f"{value!r},{unit}"))
    [record] = read_measurements(sheet)
    assert record.value == pytest.approx(value * {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}[unit], rel=1e-12)
