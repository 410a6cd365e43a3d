"""The paper's tables as records: complete, under our names, and refused with file and line when damaged."""

import csv
import subprocess
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibench import published
from bibench.choice import choice
from bibench.data.corruptions import CORRUPTIONS
from bibench.errors import DataError
from bibench.models import MODELS
from bibench.operators import PAPER_ORDER
from bibench.published import accuracy, names, tables
from bibench.records import Record, parse
from bibench.suite import SUITES, cells
from bibench.tasks import TASKS

RAW = files("bibench.published") / "raw"
RECORDS = published.records()
ROOT = Path(__file__).parents[2]


def raw(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((RAW / name).read_text(encoding="utf-8").splitlines()))


def of(kind: str) -> list[Record]:
    return [r for r in RECORDS if r.kind == kind]


class TestRecords:
    def test_every_row_of_every_table_is_a_record_of_its_own(self) -> None:
        tables_ = [file for file in RAW.iterdir() if file.name.endswith(".csv")]
        assert len(tables_) == 6
        assert len(RECORDS) == sum(len(raw(file.name)) for file in tables_) == 2404
        assert len({r.identity for r in RECORDS}) == len(RECORDS)

    def test_they_are_valid_records_that_say_where_they_are_from(self) -> None:
        for record in RECORDS:
            assert parse(record.to_line(), "here") == record
            assert record.source == published.PUBLISHED
            assert record.cell.startswith("published/")
            assert not record.embedded
            assert record.operator in PAPER_ORDER

    def test_values_are_as_printed(self) -> None:
        by_name = {(r.task, choice(r.model).name, r.operator): r for r in of("score") if not r.study}
        for row in raw("accuracy.csv"):
            if row["subtask"] != names.OVERALL:
                task = names.our_task(row["task"], row["subtask"])
                model = choice(names.our_model(row["task"], row["architecture"], task)).name
                assert 100 * (by_name[task, model, row["operator"]].value or 0) == pytest.approx(
                    float(row["score_percent"]), abs=1e-9
                )
        latencies = {(r.device, r.threads, r.model, r.engine, r.operator): r.value for r in of("latency")}
        for row in raw("latency.csv"):
            key = row["device"], int(row["threads"]), row["architecture"], row["library"], row["operator"]
            assert latencies[key] == float(row["latency_ms"])

    def test_names_are_those_of_our_grid(self) -> None:
        """Numbers of a run of the suite `paper` stand beside the paper's: same tasks, models, groups, families."""
        ours = {(str(c.task), str(c.model), str(c.operator)) for c in cells(SUITES["paper"])}
        theirs = {(r.task, r.model, r.operator) for r in of("score") if not r.study}
        assert theirs == ours
        for record in of("score"):
            assert (record.group, record.metric) == (TASKS[record.task].group, TASKS[record.task].metric)
            assert record.family == MODELS[choice(record.model).name].family

    def test_corruptions_are_complete(self) -> None:
        found = Counter((r.model, r.operator) for r in of("corruption"))
        assert found == {("resnet18", o): 96 for o in PAPER_ORDER} | {("resnet20", "fp32"): 96}
        assert {r.corruption for r in of("corruption")} == {"none", *CORRUPTIONS}

    def test_every_latency_has_its_full_precision(self) -> None:
        places = {(r.device, r.threads, r.engine, r.model) for r in of("latency") if r.operator == "fp32"}
        assert {(r.device, r.threads, r.engine, r.model) for r in of("latency")} == places
        assert len(places) == 198
        assert len({r.device for r in of("latency")}) == 14

    def test_collapsed_runs_are_flagged(self) -> None:
        """Scores at the level of constant answers, to the last printed digit: MNLI, QQP, Speech Commands."""
        flagged = Counter(r.task for r in of("score") if r.flags == "collapsed")
        assert flagged["speech_commands"] == 5
        assert {(r.operator, r.model) for r in of("score") if r.task == "speech_commands" and r.flags} == {
            *((operator, "fsmn") for operator in ("bnn", "xnor", "recu", "fda")),
            ("xnorpp", "deep_fsmn"),
        }
        of_mnli = {(r.operator, choice(r.model).name) for r in of("score") if r.task == "glue_mnli" and r.flags}
        assert of_mnli == {(operator, "bert_base") for operator in ("bnn", "xnorpp", "recu")}
        assert not [r for r in of("score") if r.operator == "fp32" and r.flags]
        assert not [r for r in of("score") if r.family == "cnn" and r.flags]

    def test_overall_is_no_score_of_its_own(self) -> None:
        overall = [r for r in of("task") if r.metric == "overall"]
        assert len(overall) == len(PAPER_ORDER)
        assert not [r for r in of("score") if names.OVERALL in r.task]


def test_tables_are_in_the_package() -> None:
    """Where an installed package or a wheel reads them: next to the code, not at a path of the checkout."""
    package = Path(published.__file__).parent
    assert {p.name for p in (package / "raw").iterdir()} >= {"accuracy.csv", "latency.csv"}


def test_the_build_takes_them_into_the_wheel() -> None:
    """Every file below `wheel.packages` is packed unless git ignores it or the build excludes it."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]
    assert build["wheel"]["packages"] == ["src/bibench"]
    assert "exclude" not in build["wheel"]
    assert not [pattern for pattern in build["sdist"]["exclude"] if "csv" in pattern or "src" in pattern]
    tables_ = [str(file) for file in (ROOT / "src/bibench/published/raw").glob("*.csv")]
    ignored = subprocess.run(["git", "check-ignore", *tables_], cwd=ROOT, capture_output=True, text=True)
    assert (len(tables_), ignored.stdout) == (6, "")


HEADER = ",".join(accuracy.COLUMNS)
ROW = "cifar10,,resnet20,bnn,85.31"


def read(path: Path, content: bytes) -> list[dict[str, str]]:
    path.write_bytes(content)
    return tables.read_rows(path, accuracy.COLUMNS, accuracy.COLUMNS[-1:])


class TestDamagedTables:
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("", "expected the columns task, subtask"),
            ("a,b\n1,2\n", "got a, b"),
            (f"{HEADER}\n{ROW}\ncifar10,,resn", r"table\.csv:3: expected 5 values, got 3"),
            (f"{HEADER}\n{ROW},1\n", r"table\.csv:2: expected 5 values, got 6"),
            (f"{HEADER}\n{ROW[:-5]}nan\n", r"table\.csv:2: score_percent is 'nan', expected a finite number"),
            (f"{HEADER}\n{ROW[:-5]}high\n", r"table\.csv:2: score_percent is 'high', expected a finite number"),
            (f"{HEADER}\n{ROW.replace('bnn', 'bnm')}\n", r"table\.csv:2: unknown operator 'bnm'"),
            (f'{HEADER}\n"{ROW}\n', "not CSV"),
        ],
    )
    def test_each_says_what_is_wrong(self, content: str, problem: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=problem):
            read(tmp_path / "table.csv", content.encode())

    def test_not_text(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path / "table.csv", b"\xff\xfe\x00")
        with pytest.raises(DataError, match="cannot be read"):
            tables.read_rows(tmp_path / "none.csv", accuracy.COLUMNS, ())

    @settings(deadline=None)
    @given(
        content=st.binary(max_size=300) | st.text(max_size=300).map(lambda t: f"{HEADER}\n{t}".encode(errors="replace"))
    )
    def test_anything_gives_whole_rows_or_a_refusal(
        self, content: bytes, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("raw") / "table.csv"
        try:
            rows = read(path, content)
        except DataError as error:
            assert str(error).startswith(str(path))
        else:
            assert all(row["operator"] in PAPER_ORDER and float(row["score_percent"]) < 1e999 for row in rows)
