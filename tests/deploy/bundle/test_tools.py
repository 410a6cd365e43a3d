"""Outputs of benchmark programs: the documented ones exactly, any other with a clear refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.deploy.bundle import tools
from bibench.deploy.bundle.tools import Timing, parse_dabnn, parse_google_benchmark, parse_lce

from ..onnx_files import DABNN_OUTPUT, LCE_NEWER, LCE_OUTPUT


def test_lce_as_documented() -> None:
    assert parse_lce(LCE_OUTPUT) == Timing(31.4206, "mean", 50, 31.138, 31.929)


def test_newer_tflite_tells_the_median() -> None:
    assert parse_lce(LCE_NEWER) == Timing(1230.0, "median", 20, 1200.0, 1300.0)


def test_a_single_line_may_be_the_warm_up() -> None:
    alone = "\n".join(line for line in LCE_OUTPUT.splitlines() if "count=50" not in line)
    assert parse_lce(alone) == Timing(31.4206, "mean", 1)


def test_equal_times_have_no_spread() -> None:
    assert parse_lce("count=1 curr=9\ncount=3 curr=2000\nInference (avg): 2000") == Timing(2.0, "mean", 3)


@pytest.mark.parametrize(
    "output",
    [
        "",
        "Segmentation fault",
        LCE_OUTPUT.replace("Inference (avg)", "Inference"),
        LCE_OUTPUT.replace(": 31420.6", ": -1"),
    ],
)
def test_lce_says_what_is_wrong(output: str) -> None:
    with pytest.raises(ValueError, match=r"no line 'Inference \(avg\)"):
        parse_lce(output)


def test_dabnn_as_documented() -> None:
    assert parse_dabnn(DABNN_OUTPUT) == Timing(16.996961, "mean", 41)


@pytest.mark.parametrize(("unit", "expected"), [("ns", 2e-6), ("us", 2e-3), ("ms", 2.0), ("s", 2000.0)])
def test_google_benchmark_units(unit: str, expected: float) -> None:
    found = parse_google_benchmark(f"BM_a 2 {unit} 1 {unit} 7 items/s=3\n")
    assert found == {"BM_a": Timing(pytest.approx(expected), "mean", 7)}


def test_repetitions_give_their_median_and_aggregates_are_no_measurements() -> None:
    lines = "".join(f"BM_a {t} ms {t} ms 10\n" for t in (3, 1, 2)) + "BM_a_mean 9 ms 9 ms 3\nBM_b 5 us 5 us 1\n"
    found = parse_google_benchmark(lines)
    assert (found["BM_a"].value, found["BM_b"].value, len(found)) == (2.0, 0.005, 2)


def test_dabnn_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(ValueError, match="expected one benchmark in the output of daBNN, got BM_a, BM_b"):
        parse_dabnn("BM_a 1 ms 1 ms 1\nBM_b 1 ms 1 ms 1\n")
    with pytest.raises(ValueError, match=r"no line of google-benchmark .*its last line: killed"):
        parse_dabnn("loading\nkilled\n")
    with pytest.raises(ValueError, match="is no time of an inference"):
        parse_dabnn("BM_a 0 ms 0 ms 1\n")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_lce, parse_dabnn):
        try:
            assert parse(text).value > 0
        except ValueError as error:
            assert str(error)


@given(
    st.floats(1e-2, 1e8),
    st.integers(1, 10_000),
    st.sampled_from(["", "INFO: "]),
    st.sampled_from(["{:.1f}", "{:g}", "{:e}"]),
)
def test_what_lce_prints_is_read_back(microseconds: float, count: int, prefix: str, form: str) -> None:
    shown = form.format(microseconds)
    if float(shown) == 0:
        return
    line = f"{prefix}count={{}} first={shown} curr={shown} min={shown} max={shown} avg={shown} std=1\n"
    output = (
        line.format(1) + line.format(count) + f"{prefix}Inference timings in us: Init: 1, Inference (avg): {shown}\n"
    )
    found = parse_lce(output)
    assert (found.value, found.calls) == (pytest.approx(float(shown) / 1e3), count)


@given(st.floats(1e-3, 1e5), st.integers(1, 10**6), st.sampled_from(list(tools.UNITS)))
def test_what_google_benchmark_prints_is_read_back(value: float, calls: int, unit: str) -> None:
    shown = f"{value:.3f}"
    if float(shown) == 0:
        return
    found = parse_dabnn(f"BM_model/real_time   {shown} {unit}   {shown} {unit}   {calls}\n")
    assert found.value == pytest.approx(float(shown) / tools.UNITS[unit])
    assert found.calls == calls


def test_own_arguments_come_last() -> None:
    words = tools.command("larq", "/p", "/m", 4, 10, ["--num_runs=50"])
    assert words[0] == "/p" and words[-1] == "--num_runs=50"
    assert {"--graph=/m", "--num_threads=4"} <= set(words)


def test_what_a_program_cannot_measure() -> None:
    with pytest.raises(ValueError, match="'dabnn' has one thread, 2 were asked for"):
        tools.check("dabnn", 2, 1)
    with pytest.raises(ValueError, match="measured at batch 1, got 8"):
        tools.check("larq", 1, 8)
