"""``bibench score``: the paper as a record set, protocols, formats, and what is said of bad input."""

import csv
import io
import json
from pathlib import Path

import pytest

from bibench.operators import PAPER_ORDER

from ..records.test_records import make
from .test_cli import Call, call

__all__ = ["call"]

FP, B = "fp32", "bnn"
METRICS = {
    "learning_task": {
        *("cifar10", "imagenet", "voc07", "coco17", "modelnet40", "shapenet_part", "glue", "speech_commands", "om")
    },
    "neural_architecture": {"cnn", "transformer", "mlp", "om"},
    "corruption_robustness": {"cifar10", "om"},
    "training_consumption": {"sensitivity", "time_cost", "om"},
    "theoretical_complexity": {"speedup", "compression", "om"},
    "hardware_inference": {"speedup", "compression", "om"},
}


def write(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_the_paper_has_all_tracks_and_metrics(call: Call) -> None:
    rows = call("score", "published", "--protocol", "paper", "--format", "json").json
    assert {row["track"] for row in rows} == set(METRICS)
    for track, metrics in METRICS.items():
        mine = [row for row in rows if row["track"] == track]
        assert metrics <= {row["metric"] for row in mine}
        operators = {row["operator"] for row in mine}
        assert operators == ({B, "reactnet"} if track == "hardware_inference" else set(PAPER_ORDER) - {FP})
        assert len({(row["metric"], row["operator"]) for row in mine}) == len(mine)
    found = {(row["track"], row["metric"], row["operator"]): row["value"] for row in rows}
    assert found["neural_architecture", "mlp", "bireal"] == pytest.approx(87.83, abs=0.005)
    assert list(rows[0])[:4] == ["track", "metric", "operator", "value"]


def test_the_default_protocol_is_ours(call: Call) -> None:
    default = call("score", "published", "--format", "json").json
    assert default == call("score", "published", "--format", "json", "--protocol", "bibench").json
    assert {row["protocol"] for row in default} == {"bibench"}
    assert default != call("score", "published", "--format", "json", "--protocol", "paper").json


def test_csv_has_the_same_rows(call: Call) -> None:
    rows = call("score", "published", "--protocol", "paper", "--format", "json").json
    table = list(csv.DictReader(io.StringIO(call("score", "published", "--protocol", "paper", "--format", "csv").out)))
    assert [(r["track"], r["metric"], r["value"]) for r in table] == [
        (r["track"], r["metric"], "" if r["value"] is None else str(r["value"])) for r in rows
    ]


def test_tables_for_people(call: Call) -> None:
    shown = call("score", "published", "--protocol", "paper").out
    assert "Learning task track (Eq. 2), recipe paper, percent of full precision, averaged as in the paper" in shown
    assert "from published, not from runs" in shown
    assert "glue: 7 collapsed" in shown
    assert "Kirin" not in shown
    assert "Kirin 9000E, 2 threads" in call("score", "published", "--details").out
    markdown = call("score", "published", "--format", "markdown").out
    assert markdown.count("### ") == 7  # five tracks, and two corrected for chance; complexity is counted otherwise
    assert markdown.count(", chance-corrected, ") == 2
    latex = call("score", "published", "--format", "latex", "--protocol", "paper").out
    assert latex.count(r"\begin{tabular}") == 6
    assert r"speech\_commands" in latex


def test_accuracies_and_settings_of_the_paper(call: Call) -> None:
    rows = call("score", "published", "--accuracies", "--format", "json", "--models", "resnet20").json
    assert {(r["operator"], r["source"]) for r in rows} == {(o, "published") for o in PAPER_ORDER}
    assert next(r["mean"] for r in rows if r["operator"] == FP) == pytest.approx(91.99)
    settings = call("score", "published", "--settings", "--format", "csv").out
    assert settings.count("\n") == 1 + 9 * (8 + 1)


def test_unknown_names_are_refused(call: Call) -> None:
    assert call("score", "published", "--protocol", "bibnch").err == (
        "error: unknown protocol 'bibnch'; did you mean 'bibench'? Known protocols: bibench, paper.\n"
    )
    wrong = call("score", "published", "--format", "yaml").err
    assert wrong == "error: --format must be table, json, csv, markdown or latex; got 'yaml'\n"


def test_a_folder_of_that_name_is_taken_and_said(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "published", make(operator=FP).to_line(), make(operator=B, value=0.4).to_line())
    monkeypatch.chdir(tmp_path)
    ended = call("score", "published", "--format", "json")
    assert (
        ended.err
        == f"note: published: took {tmp_path / 'published'}, not the paper's results; rename it to reach them\n"
    )
    assert {row["source"] for row in ended.json} == {""}


def test_runs_stand_beside_the_paper(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"task": "cifar10", "model": "resnet20", "recipe": "paper", "embedded": False}
    write(tmp_path / "runs", make(operator=FP, value=0.8, **given).to_line(), make(operator=B, **given).to_line())
    rows = call("score", "runs", "published", "--format", "json").json
    both = {
        r["source"]: r["value"]
        for r in rows
        if (r["metric"], r["operator"]) == ("cifar10", B) and r["track"] == "learning_task"
    }
    assert both == pytest.approx({"": 62.5, "published": 94.543}, abs=0.001)
    shown = call("score", "runs", "published").out
    assert shown.count("accuracy on cifar10, test split") == 2


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda line: line[: len(line) // 2], "records.jsonl:2: not JSON"),
        (lambda line: line.replace("0.5", "NaN"), "records.jsonl:2: not JSON (NaN is no number of JSON)"),
        (lambda line: line.replace("0.5", "1e999"), "records.jsonl:2: field 'value' is inf"),
        (lambda line: line.replace('"schema": 5', '"schema": 99'), "records.jsonl:2: schema 99"),
        (lambda line: line[:-1] + ', "__class__": "os.system"}', "records.jsonl:2: unknown field '__class__'"),
        (lambda line: json.dumps(["not", "a", "record"]), "records.jsonl:2: expected an object, got list"),
        (lambda line: "\x00\x01" + line, "records.jsonl:2: not JSON"),
    ],
)
def test_damaged_records_stop_with_their_line(call: Call, tmp_path: Path, damage: object, problem: str) -> None:
    assert callable(damage)
    write(tmp_path / "runs", make(operator=FP).to_line(), damage(make(operator=B).to_line()))
    ended = call("score", tmp_path / "runs")
    assert ended.code == 2
    assert problem in ended.err
    assert "Traceback" not in ended.err and not ended.out


def test_two_folders_with_the_same_cells(call: Call, tmp_path: Path) -> None:
    first = write(
        tmp_path / "a", make(operator=FP).to_line(), make(operator=B, value=0.1, started="2026-01-01").to_line()
    )
    second = write(tmp_path / "b", make(operator=B, value=0.4, started="2026-02-01").to_line())
    for runs in ((first, second), (second, first)):
        rows = call("score", *runs, "--format", "json").json
        row = next(r for r in rows if r["metric"] == "tiny")
        assert (row["value"], row["note"]) == (pytest.approx(80), "measured twice, the latest counts: 1 cell")


def test_records_that_no_track_scores_say_why(call: Call, tmp_path: Path) -> None:
    alone = make(kind="latency", metric="latency_ms", value=3.0, split="", engine="bibench", device="local")
    out = call("score", write(tmp_path, alone.to_line())).out
    assert out.startswith("No track scores these 1 records (latency)\nhardware_inference: ")


def test_a_folder_that_links_to_itself_ends(call: Call, tmp_path: Path) -> None:
    runs = write(tmp_path / "runs", make(operator=FP).to_line(), make(operator=B).to_line())
    (runs / "again").symlink_to(runs)
    assert call("score", runs, "--format", "json").code == 0
