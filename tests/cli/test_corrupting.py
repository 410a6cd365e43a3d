"""``bibench measure corruptions``, and what ``score`` makes of it."""

import re
from pathlib import Path

import pytest

from bibench.records.record import read

from ..worlds import TINY
from .test_cli import Call, call, runs

__all__ = ["call", "runs"]

ASKED = ("--load", TINY, "--corruptions", "fog,contrast", "--operators", "bnn")


def test_prints_tables_and_writes_records(call: Call, runs: Path) -> None:
    ended = call("measure", "corruptions", runs, *ASKED)
    assert ended.code == 0
    assert re.search(r"^accuracy on tiny, .*, percent, by corruption: mean over seeds and severities", ended.out, re.M)
    assert re.search(r"^none +\d+\.\d +\d+\.\d *$", ended.out, re.M)
    assert re.search(r"^5 +\d+\.\d +\d+\.\d *$", ended.out, re.M)
    assert "tiny: fog" in ended.err
    stored = [r for r in read([runs]) if r.kind == "corruption"]
    assert len(stored) == 2 * 2 * 11  # operators, seeds, conditions
    printed = call("score", runs)
    assert "Corruption robustness track (Eq. 5), recipe quick" in printed.out
    again = call("measure", "corruptions", runs, *ASKED, "--format", "json")
    assert [r["value"] for r in again.json] == [r.value for r in stored]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--corruptions", "rain"), "unknown corruption 'rain'; there are: gaussian_noise"),
        (("--source", "web"), "--source must be auto, official or generated; got 'web'"),
        (("--format", "xml"), "--format must be table, json or csv; got 'xml'"),
        (("--tasks", "tny"), "unknown task 'tny'; did you mean 'tiny'"),
        (("--models", "resnet20"), "has no finished cell of an image classification task that the options name"),
        (("--source", "official"), "nothing of it found in task 'tiny'"),
        (("--accelerator", "cuda:7"), "--accelerator cuda:7: this machine has cpu"),
    ],
)
def test_refusals(call: Call, runs: Path, arguments: tuple[str, ...], problem: str) -> None:
    ended = call("measure", "corruptions", runs, "--load", TINY, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err


def test_a_folder_that_does_not_exist(call: Call, tmp_path: Path) -> None:
    ended = call("measure", "corruptions", tmp_path / "none")
    assert ended.code == 2
    assert "does not exist; expected a run folder" in ended.err
