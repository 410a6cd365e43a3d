"""Inner values of every JSON file that is read: a wrong one is one error that says where it is, never a traceback."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NotRequired, TypedDict

import pytest
from PIL import Image

from bibench.data.coco import read_coco
from bibench.deploy import manifest
from bibench.deploy.devices.events import checked
from bibench.deploy.identity import identify
from bibench.deploy.manifest import Manifest, Tensor
from bibench.deploy.theory import theoretical_speedup
from bibench.foundation.errors import BiBenchError, DataError, StoreError
from bibench.foundation.files import read_json
from bibench.foundation.typed_json import conform, parse_json, problem
from bibench.models import pretrained
from bibench.records.record import parse
from bibench.suite.cell import Cell
from bibench.suite.store import (
    CELL,
    DONE,
    FAILURE,
    RECORDS,
    CellDirectory,
    cells_below,
    described_cell,
    described_epochs,
)

from ..changing import changed
from ..records.test_records import make
from ..worlds import cell

pytestmark = pytest.mark.usefixtures("in_tiny_world")


class Row(TypedDict):
    macs: int | None
    name: NotRequired[str]


class Whole(TypedDict):
    kind: Literal["a", "b"]
    audit: NotRequired[dict[str, list[Row]]]
    share: float | None


class TestConform:
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (3, int),
            (3, float),
            (0.5, float),
            (10**18, int),
            ("", str),
            (None, None),
            (None, int | None),
            ([], list[int]),
            ([[1], []], list[list[int]]),
            ({"any": {"thing": [None]}}, dict[str, Any]),
            ({"kind": "a", "share": None, "more": object()}, Whole),
            ({"kind": "b", "share": 1, "audit": {"rows": [{"macs": None}]}}, Whole),
        ],
    )
    def test_what_fits_is_returned(self, value: object, kind: Any) -> None:
        assert conform(value, kind, "f.json", "mend it") is value

    @pytest.mark.parametrize(
        ("value", "kind", "said"),
        [
            (True, int, "f.json holds True, expected a whole number; mend it"),
            (1.0, int, "f.json holds 1.0, expected a whole number; mend it"),
            (2**64, int, "f.json holds 18446744073709551616, expected a whole number; mend it"),
            (True, float, "f.json holds True, expected a number; mend it"),
            (float("nan"), float, "f.json holds nan, expected a number; mend it"),
            (float("inf"), float | None, "f.json holds inf, expected a number or null; mend it"),
            (10**400, float, "f.json holds 1000"),
            (0, bool, "f.json holds 0, expected true or false; mend it"),
            ([], dict[str, int], "f.json holds a list, expected an object; mend it"),
            ({}, Whole, "f.json: kind is missing, expected 'a' or 'b'; mend it"),
            ({"kind": "c", "share": 1}, Whole, "f.json: kind is 'c', expected 'a' or 'b'; mend it"),
            ({"kind": "a", "share": "1"}, Whole, "f.json: share is '1', expected a number or null; mend it"),
            (
                {"kind": "a", "share": 1, "audit": {"rows": [{"macs": 1}, {"macs": "x"}]}},
                Whole,
                "f.json: audit.rows[1].macs is 'x', expected a whole number or null; mend it",
            ),
            (
                {"kind": "a", "share": 1, "audit": {"a b": [{"macs": 1, "name": []}]}},
                Whole,
                "f.json: audit['a b'][0].name is a list, expected a string; mend it",
            ),
            ([1, "x"], list[int] | None, "f.json: [1] is 'x', expected a whole number; mend it"),
        ],
    )
    def test_what_does_not_is_told_with_its_place(self, value: object, kind: Any, said: str) -> None:
        with pytest.raises(DataError, match=re.escape(said)):
            conform(value, kind, "f.json", "mend it", DataError)

    def test_an_enormous_value_is_told_in_a_few_words(self) -> None:
        assert len(problem({"kind": "x" * 10**6, "share": 1}, Whole)) < 200

    @pytest.mark.parametrize(
        "text", ["", "{", "NaN", '{"a": -Infinity}', "1e999", "[" * 100_000, "9" * 5000, b"\xff", b'"\xed\xa0\x80"']
    )
    def test_what_is_no_json(self, text: str | bytes, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"^f\.json cannot be read \(.*\); mend it$"):
            parse_json(text, "f.json", "mend it")
        (tmp_path / "f.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(StoreError, match=r"f\.json cannot be read \(.*\); delete it or restore it$"):
            read_json(tmp_path / "f.json")

    def test_a_mark_of_utf_8_is_no_damage(self) -> None:
        assert parse_json(b"\xef\xbb\xbf[1]", "f.json", "") == [1]


# -- every kind of file, with each value in turn replaced ------------------------------------------------------

Read = Callable[[Any], object]


def in_file(path: Path, *readers: Callable[[], object]) -> Read:
    """Write the document to `path`, and read it in every way that there is."""

    def read(data: Any) -> None:
        path.write_text(json.dumps(data))
        for reader in readers:
            tolerate(reader, path)

    return read


def tolerate(reader: Callable[[], object], path: Path) -> None:
    try:
        reader()
    except BiBenchError as error:
        assert path.name in str(error), error


def manifests(folder: Path) -> tuple[Any, Read]:
    model = folder / "m.onnx"
    model.write_bytes(b"model")
    row = {"name": "c", "operator": "bnn", "weight_bits": 1, "activation_bits": 1, "macs": 9, "aliases": []}
    whole = Manifest(
        "onnxruntime",
        "m.onnx",
        (Tensor("x", ("batch", 3), "float32"),),
        (Tensor("y", (2,), "float32"),),
        sha256=manifest.checksum(b"model"),
        bytes=5,
        layers={"c": {"inputs": ["x"], "output": "y", "shift": [[0.5], [1.0]]}},
        opset={"ai.onnx": 21},
        audit={"rows": [row], "other_parameters": 3, "warnings": []},
        folded={"norm": 1},
        notes=("note",),
        provenance={"cell": cell().to_dict(), "task": "tiny", "torch": "2"},
    )
    described = manifest.path_of(model)
    readers = (
        lambda: identify(model),
        lambda: theoretical_speedup(model, "bibench"),
        lambda: manifest.require_free(model),
    )
    return whole.to_dict(), in_file(described, *readers)


def cells(folder: Path) -> tuple[Any, Read]:
    directory = CellDirectory(folder, cell())
    directory.create()
    facts = {"code": {"task": "1"}, "initial_weights": "2", "baseline_weights": "", "trained_as": ""}
    whole = {"cell": cell().to_dict(), **facts, "recipe": {"epochs": 3, "milestones": [0.5]}}
    file = directory.file(CELL)
    readers = (directory.description, lambda: list(cells_below(folder)))
    return whole, in_file(file, *readers, lambda: described_cell(file), lambda: described_epochs(file) + 1)


def failures(folder: Path) -> tuple[Any, Read]:
    directory = CellDirectory(folder, cell())
    directory.create()
    whole = {"status": "failed", "reason": "boom", "traceback": "Traceback"}
    return whole, in_file(directory.file(FAILURE), lambda: {directory.state}, lambda: directory.reason.splitlines())


def summaries(folder: Path) -> tuple[Any, Read]:
    directory = CellDirectory(folder, cell())
    directory.create()
    directory.file(RECORDS).write_text("")
    whole = {"weights": "1", "score": 0.5, "train_seconds": 1.5, "seconds": 2}
    return whole, in_file(directory.file(DONE), lambda: {str(v) for v in directory.summary().values()})


def lines(folder: Path) -> tuple[Any, Read]:
    def read(data: Any) -> None:
        try:
            record = parse(json.dumps(data), "records.jsonl:1")
        except StoreError as error:
            assert str(error).startswith("records.jsonl:1: ")
        else:
            assert parse(record.to_line(), "again") == record

    return dataclasses.asdict(make(low=0.1, samples=3)), read


def instances(folder: Path) -> tuple[Any, Read]:
    Image.new("RGB", (60, 50)).save(folder / "a.jpg")
    file = folder / "instances.json"
    whole = {
        "images": [{"id": 9, "file_name": "a.jpg", "width": 60, "height": 50}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 13, "bbox": [1, 2.5, 3, 4], "iscrowd": 0, "area": 12.5}
        ],
        "categories": [{"id": 13, "name": "dog"}, {"id": 90, "name": "cat"}],
    }
    return whole, in_file(file, lambda: read_coco(file, folder, 2).images[0].areas.sum())


def configurations(folder: Path) -> tuple[Any, Read]:
    whole = {"hidden_act": "gelu", "num_attention_heads": 4, **dict.fromkeys(pretrained.CONFIG, 4), "other": [1]}
    attention: Any = SimpleNamespace(get_submodule=lambda name: SimpleNamespace(heads=4))
    file = folder / "config.json"
    readers = (lambda: pretrained._check_config(folder, attention), lambda: pretrained._options(folder))
    return whole, in_file(file, *readers)


def events(folder: Path) -> tuple[Any, Read]:
    place = {"contender": "model0", "threads": 1, "batch": 1}
    whole = [
        {"event": "machine", "cpu": "c", "cpu_count": 4},
        {"event": "at", **place, "doing": "warming up"},
        {"event": "result", **place, "status": "ok", "samples": [1.0, 2], "flags": {"busy": "words"}},
        {"event": "result", **place, "status": "failed", "reason": "why"},
        {"event": "problem", **place, "step": "memory", "reason": "why"},
        {"event": "memory", **place, "model": 7, "process": 9},
        {"event": "profile", **place, "rows": [{"order": 1, "node": "a"}]},
        {"event": "session", "threads": 1, "batch": 1, "flags": {"busy": "words"}, "advice": ["words"]},
    ]

    def read(data: Any) -> None:
        for event in data if isinstance(data, list) else [data]:
            try:
                found = checked(event, "device 7")
            except BiBenchError as error:
                assert str(error).startswith("device 7: ")
            else:
                assert all(sample > 0 for sample in found.get("samples", ()) if found.get("status") == "ok")

    return whole, read


KINDS: dict[str, Callable[[Path], tuple[Any, Read]]] = {
    kind.__name__: kind for kind in (manifests, cells, failures, summaries, lines, instances, configurations, events)
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_wrong_value_is_accepted_or_one_error_with_its_file(kind: str, tmp_path: Path) -> None:
    whole, read = KINDS[kind](tmp_path)
    read(whole)
    for path, value, data in changed(whole):
        try:
            read(data)
        except Exception as error:
            raise AssertionError(f"{path} = {value!r}: {type(error).__name__}: {error}") from error


def wrong(kind: str) -> Iterator[tuple[str, Any]]:
    """Some places and values of each kind that must be refused, and not only survived."""
    yield from {
        "manifests": [("audit.rows", 3), ("audit.rows", None), ("audit.rows.0", "x"), ("audit.rows.0.macs", "many")],
        "cells": [("cell.seed", "0"), ("cell.model", 3), ("code", []), ("recipe.epochs", "3"), ("recipe", 3)],
        "failures": [("status", "great"), ("reason", 3)],
        "summaries": [("weights", 3), ("score", "x"), ("seconds", float("nan"))],
        "instances": [("annotations.0.image_id", []), ("categories.0.name", None), ("annotations.0.area", 10**400)],
        "configurations": [("hidden_act", 3), ("num_attention_heads", [])],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [(kind, place, value) for kind in KINDS if kind not in ("lines", "events") for place, value in wrong(kind)],
)
def test_wrong_values_are_refused(kind: str, place: str, value: Any, tmp_path: Path) -> None:
    whole, read = KINDS[kind](tmp_path)
    inner, keys = whole, [int(key) if key.isdecimal() else key for key in place.split(".")]
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.foundation.test_typed_json.tolerate", lambda reader, path: said.append(error_of(reader)))
        read(whole)
    assert any(said), f"{place} = {value!r} was accepted"


def error_of(reader: Callable[[], object]) -> str:
    try:
        reader()
    except BiBenchError as error:
        return str(error)
    return ""


def test_a_cell_says_what_is_wrong_with_its_description() -> None:
    with pytest.raises(
        BiBenchError, match=r"^not the description of a cell: cell\.seed is '0', expected a whole number$"
    ):
        Cell.from_dict({**cell().to_dict(), "seed": "0"})
    with pytest.raises(BiBenchError, match=r"^not the description of a cell: 'my net\[' is not of the form name"):
        Cell.from_dict({**cell().to_dict(), "model": "my net["})
