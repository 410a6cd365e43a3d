"""`bibench data check` and `data where`: tables, JSON and exit codes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bibench.cli.data import amount
from bibench.data.corruptions import CORRUPTIONS
from bibench.data.corruptions.official import CIFAR_10_C
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


def test_corrupted_sets_are_listed_and_checked(call: Call, tmp_path: Path) -> None:  # noqa: F811
    def row(name: str) -> list[str]:
        lines = call("data", "where", "--data-root", tmp_path).out.splitlines()
        return next(line.split() for line in lines if line.startswith(name))[1:]

    assert row("cifar10_c") == ["cifar10", "CIFAR-10-C", "no", "not", "there"]
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for name in CORRUPTIONS[4:]:
        np.save(folder / f"{name}.npy", np.zeros((2, 32, 32, 3), np.uint8))
    assert " ".join(row("cifar10_c")) == (
        "cifar10 CIFAR-10-C no lacks gaussian_noise, shot_noise, impulse_noise and 1 more"
    )
    ended = call("data", "check", "cifar10_c", "imagenet_c", "--data-root", tmp_path)
    assert ended.code == 1
    assert (
        f"{folder / 'fog.npy'} holds uint8 (2, 32, 32, 3), expected uint8 (50000, 32, 32, 3); fetch https" in ended.out
    )
    assert f"Not usable: {folder / 'gaussian_noise.npy'} is missing; fetch https" in ended.out
    assert "ImageNet-C is missing or empty; fetch noise.tar, blur.tar" in ended.out
    for name in CORRUPTIONS:
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (50_000, 32, 32, 3))  # sparse
    np.save(folder / "labels.npy", np.tile(np.arange(10_000) % 10, 5))
    ended = call("data", "check", "cifar10_c", "--data-root", tmp_path)
    assert (ended.code, ended.err) == (0, "") and "\nUsable.\n" in ended.out
    assert row("cifar10_c") == ["cifar10", "CIFAR-10-C", "yes"]
    (read,) = json.loads(call("data", "check", "cifar10_c", "--data-root", tmp_path, "--read", "--json").out)
    assert not read["usable"] and read["problem"].startswith("without the test set it cannot be told")
    assert "cifar-10-python.tar.gz" in read["problem"]
    ended = call("data", "check", "cifar10_c")
    assert ended.code == 1 and "no data root given" in ended.out
    ended = call("data", "check", "cifar_10c")
    assert ended.code == 2 and "Corrupted test sets: cifar10_c, imagenet_c." in ended.err


def test_reading_a_corrupted_set_compares_it_with_the_test_set(
    call: Call,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert call("data", "check", "tiny", "--load", TINY).code == 0
    task = TASKS["tiny"]()
    images, labels, _ = task.test_images()
    small = replace(CIFAR_10_C, name="tiny_c", folder="TINY-C", examples=len(labels), size=images.shape[1:3])
    monkeypatch.setattr(TASKS["tiny"], "corrupted", small)
    (tmp_path / "TINY-C").mkdir()
    for name in CORRUPTIONS:
        np.save(tmp_path / "TINY-C" / f"{name}.npy", np.zeros((5 * len(labels), *images.shape[1:]), np.uint8))
    np.save(tmp_path / "TINY-C" / "labels.npy", np.tile(labels.numpy(), 5))
    words = ("data", "check", "tiny_c", "--data-root", tmp_path, "--read", "--json")
    (report,) = json.loads(call(*words).out)
    assert report["usable"] and report["examples"] == dict.fromkeys(CORRUPTIONS, 5 * len(labels))
    np.save(tmp_path / "TINY-C" / "labels.npy", np.tile(labels.numpy()[::-1], 5))
    (report,) = json.loads(call(*words).out)
    assert "does not repeat the labels of the test set" in report["problem"] and "\n" not in report["problem"]


def test_amounts_read_well() -> None:
    assert [amount(n) for n in (None, 0, 999, 1000, 170_498_071, 147_897_477_120)] == [
        *("", "0 B", "999 B", "1.0 kB", "170.5 MB", "147.9 GB")
    ]
