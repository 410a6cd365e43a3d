"""``bibench recommend`` on a terminal of 80 columns, and what it requires."""

import io
import re

import pytest

from bibench.cli.output import _Console
from bibench.cli.recommending import _print
from bibench.recommend import Wishes, recommend

from ..recommend.test_recommend import DEVICE, WORLD, accuracy, latency, size
from .test_cli import Call, call

__all__ = ["call"]


def test_required_options_say_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = call("recommend", "--help").out
    assert re.search(r"--task .*\[required\]", told)
    for option in ("--max-ms", "--threads", "--engine"):
        assert re.search(rf"{option} .*\[requires --device\]", told)
    assert (
        call("recommend", "published")
        .err.strip()
        .endswith("error: --task is required: which task is to be solved? See: bibench list tasks")
    )
    for option, value in (("--max-ms", "3"), ("--threads", "1"), ("--engine", "larq")):
        ended = call("recommend", "published", "--task", "imagenet", option, value)
        assert ended.code == 2
        assert f"error: {option} {value} asks for a latency" in ended.err and "--device is required" in ended.err


def test_a_slip_of_a_device_is_refused(call: Call) -> None:
    ended = call("recommend", "published", "--task", "imagenet", "--device", "Raspbery Pi 4", "--no-count-sizes")
    assert (ended.code, ended.out) == (2, "")
    assert (
        "error: --device Raspbery Pi 4: nothing was measured under that name; did you mean 'Raspberry Pi 4B'"
        in ended.err
    )


def test_no_number_is_broken_in_80_columns() -> None:
    long = "resnet18[width=16]"
    records = [
        *WORLD,
        *accuracy("recu[scale_init=weight]", 0.70, 0.72, 0.74, model=long),
        latency("recu[scale_init=weight]", 1234.567, model=long, low=1200.0, high=1300.0, samples=50),
        size("recu[scale_init=weight]", 123.45, long),
    ]
    out = io.StringIO()
    _print(
        _Console(file=out, width=80, markup=False, emoji=False),
        recommend(records, Wishes("t", DEVICE, max_ms=30, max_mb=200)),
    )
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for whole in (
        "72.0 ± 1.2",
        "1234.57",
        "1200.00 to 1300.00",
        "123.45",
        "recu[scale_init=weight]",
        long,
    ):
        assert any(whole in line for line in lines), whole
