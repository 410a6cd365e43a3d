"""`bibench data check` and `data where`: tables, JSON and exit codes."""

import json
from pathlib import Path

import pytest

from bibench.cli.data import amount
from bibench.data.location import CACHE, DATA_ROOT
from bibench.tasks import TASKS

from ..worlds import TINY
from .test_cli import Call, call  # noqa: F401


def test_usable_data_ends_with_0(call: Call) -> None:  # noqa: F811
    ended = call("data", "check", "digits_photos")
    assert (ended.code, ended.err) == (0, "")
    assert "Digits over photographs (embedded) (digits_photos), made in" in ended.out
    assert "\nUsable.\n" in ended.out
    assert "Licence: digits: UCI, CC BY 4.0." in ended.out


def test_missing_data_ends_with_1_and_says_what_to_fetch(call: Call, tmp_path: Path) -> None:  # noqa: F811
    ended = call("data", "check", "digits_photos", "cifar10", "--data-root", tmp_path)
    assert (ended.code, ended.err) == (1, "")
    assert f"CIFAR-10 (cifar10), below {tmp_path}" in ended.out
    assert "published: md5:c58f30108f718f92721af3b95e74349a" in ended.out
    assert "Not usable: " in ended.out and "fetch https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in ended.out


def test_json(call: Call, tmp_path: Path) -> None:  # noqa: F811
    ended = call(
        "data", "check", "speech_commands", "tiny", "--load", TINY, "--data-root", tmp_path, "--read", "--json"
    )
    assert ended.code == 1
    speech, tiny = json.loads(ended.out)
    assert (speech["task"], speech["usable"], speech["data_root"]) == ("speech_commands", False, str(tmp_path))
    assert speech["found"][0]["state"] == "missing"
    assert tiny["usable"] and tiny["examples"] == {"train": 64, "validation": 32, "test": 48}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("speech_comands",), "unknown task 'speech_comands'; did you mean 'speech_commands'"),
        (("cifar10", "--data-root", "/nowhere"), "--data-root: /nowhere is not an existing folder"),
    ],
)
def test_user_errors_end_with_2(call: Call, arguments: tuple, told: str) -> None:  # noqa: F811
    ended = call("data", "check", *arguments)
    assert ended.code == 2
    assert told in ended.err and ended.out == ""


def test_where(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    ended = call("data", "where")
    assert ended.code == 0
    assert "Data root: none; pass --data-root or set $BIBENCH_DATA" in ended.out
    assert f"Cache: {tmp_path / 'cache'} (from $BIBENCH_CACHE), 0 files, 0 B" in ended.out
    assert "Your data sets: looked for below the data root, and there is none" in ended.out
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    assert f"Data root: {tmp_path} (from $BIBENCH_DATA)" in call("data", "where").out
    told = json.loads(call("data", "where", "--json").out)
    assert told["data_root"] == str(tmp_path) and told["cache_bytes"] == 0
    rows = {row["task"]: row for row in told["tasks"]}
    assert set(rows) == set(TASKS)
    assert rows["digits_photos"]["usable"] and rows["digits_photos"]["data"] == "embedded"
    assert not rows["imagenet"]["usable"] and "imagenet/train is missing" in rows["imagenet"]["problem"]


def test_where_lists_every_task_with_its_folder(call: Call, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "glue" / "RTE" / name).touch()
    out = call("data", "where", "--data-root", tmp_path).out
    lines = {line.split()[0]: line.strip().split(maxsplit=3)[1:] for line in out.splitlines() if line.split()}
    assert set(TASKS) <= set(lines)
    assert lines["glue_rte"] == ["glue/RTE", "yes"]
    assert lines["glue_cola"] == ["glue/CoLA", "no", "not there"]
    assert lines["imagenet"][:2] == ["imagenet", "no"] and "has no class folders" in lines["imagenet"][2]
    assert lines["digits_photos"] == ["CIFAR-10", "yes"]
    assert "bibench data check TASK" in out


def test_amounts_read_well() -> None:
    assert [amount(n) for n in (None, 0, 999, 1000, 170_498_071, 147_897_477_120)] == [
        *("", "0 B", "999 B", "1.0 kB", "170.5 MB", "147.9 GB")
    ]
