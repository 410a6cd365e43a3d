"""The one record format: round trips, refusals with file and line, and other tools reading it."""

import dataclasses
import json
import math
import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.foundation.errors import StoreError
from bibench.records.record import COLUMNS, Record, distinct, parse, read, read_file


def make(**changes: object) -> Record:
    given = {
        "kind": "score",
        "metric": "accuracy",
        "value": 0.5,
        "split": "test",
        "cell": "tiny/vgg_small/bnn/quick/seed0",
        "task": "tiny",
        "embedded": True,
        "model": "vgg_small",
        "family": "cnn",
        "operator": "bnn",
        "recipe": "quick",
        "seed": 0,
        **changes,
    }
    return Record(**given)


def line(**changes: object) -> str:
    return json.dumps({**dataclasses.asdict(make()), **changes})


text = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
records = st.builds(
    make,
    kind=text,
    metric=text,
    value=numbers,
    flags=text,
    cell=text,
    stands_in_for=text,
    chance=numbers,
    operator=text,
    seed=st.integers(0, 2**64 - 1),
    seconds=st.none() | numbers,
    git_dirty=st.none() | st.booleans(),
    threads=st.none() | st.integers(-(2**64) + 1, 2**64 - 1),
)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(text | st.sampled_from(list(COLUMNS)), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(records)
def test_a_line_reads_back_as_the_same_record(record: Record) -> None:
    assert "\n" not in record.to_line()
    assert parse(record.to_line(), "here") == record


@given(st.text(max_size=200) | jsons.map(json.dumps))
def test_anything_else_is_refused_with_its_place(content: str) -> None:
    with pytest.raises(StoreError, match=r"^runs/records\.jsonl:7: "):
        parse(content, "runs/records.jsonl:7")


@given(st.sampled_from(list(COLUMNS)), jsons)
def test_a_changed_field_gives_a_record_or_a_refusal(name: str, value: object) -> None:
    try:
        record = parse(line(**{name: value}), "file:1")
    except StoreError as error:
        assert str(error).startswith("file:1: ")
    else:
        assert getattr(record, name) == value
        assert parse(record.to_line(), "file:1") == record


@given(st.integers(0, len(line()) - 1), st.characters())
def test_a_damaged_character_never_raises_anything_else(place: int, other: str) -> None:
    damaged = line()[:place] + other + line()[place + 1 :]
    try:
        parse(damaged, "file:1")
    except StoreError as error:
        assert str(error).startswith("file:1: ")


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ('{"schema": 1,', "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("[]", "expected an object, got list"),
            ("{}", "schema None; this version of BiBench reads schema 1, 2, 3, 4 and 5"),
            (line(schema=6), "schema 6; this version of BiBench reads schema 1, 2, 3, 4 and 5"),
            (line(schema=True), "field 'schema' is True, expected int"),
            (line(surprise=1), "unknown field 'surprise'"),
            (line(seed="0"), "field 'seed' is '0', expected int"),
            (line(seed=1.0), "field 'seed' is 1.0, expected int"),
            (line(embedded=1), "field 'embedded' is 1, expected bool"),
            (line(value="0.5"), "field 'value' is '0.5', expected float"),
            (line(value=True), "field 'value' is True, expected float"),
            (line(operator=None), "field 'operator' is None, expected str"),
            (line(value=math.nan), "NaN is no number of JSON"),
            (line(seconds=-math.inf), "-Infinity is no number of JSON"),
            (line().replace(": 0.5", ": 1e999"), "field 'value' is inf, expected float"),
            (line(seconds=10**400), "field 'seconds' is 1"),
            (line(samples=10**400), "field 'samples' is 1"),
            (line(seed=-(2**64)), "field 'seed' is -18446744073709551616"),
            (line(status="great"), "unknown status 'great'"),
            (line(value=None), "status 'ok' with value None"),
            (line(division="ajar"), "unknown division 'ajar'"),
            (line()[:-1] + ', "value": 0.9}', "field 'value' is there twice"),
            (line(low=math.inf), "Infinity is no number of JSON"),
            (line(samples=1.5), "field 'samples' is 1.5, expected int"),
            (line(status="failed"), "status 'failed' with value 0.5"),
        ],
    )
    def test_each_says_what_is_wrong(self, content: str, problem: str) -> None:
        with pytest.raises(StoreError) as caught:
            parse(content, "file:3")
        assert str(caught.value).startswith("file:3: ")
        assert problem in str(caught.value)

    @pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Record) if f.default is dataclasses.MISSING])
    def test_required_fields(self, name: str) -> None:
        data = dataclasses.asdict(make())
        del data[name]
        with pytest.raises(StoreError, match=f"^file:1: field '{name}' is missing"):
            parse(json.dumps(data), "file:1")

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_number_that_is_not_finite_is_no_record(self, value: float) -> None:
        with pytest.raises(StoreError, match="expected a finite number"):
            make(value=value)

    @pytest.mark.parametrize("bound", ["low", "high"])
    def test_a_spread_is_finite_too(self, bound: str) -> None:
        with pytest.raises(StoreError, match=f"{bound} is nan, expected a finite number"):
            make(**{bound: math.nan})

    @pytest.mark.parametrize(
        ("schema", "new"),
        [
            (1, ("low", "high", "samples", "study", "batch_size", "memory_format", "group")),
            (2, ("group", "device", "engine", "source")),
            (3, ("device", "engine", "source")),
            (4, ("trained_as",)),
        ],
    )
    def test_records_of_earlier_versions_can_be_read(self, schema: int, new: tuple[str, ...]) -> None:
        data = {k: v for k, v in dataclasses.asdict(make(schema=schema)).items() if k not in new}
        assert parse(json.dumps(data), "file:1") == make(schema=schema)

    def test_optional_fields_have_defaults(self) -> None:
        data = {k: v for k, v in dataclasses.asdict(make()).items() if k not in ("unit", "cpu", "seconds")}
        assert parse(json.dumps(data), "file:1") == make()


class TestDistinct:
    def test_the_latest_started_counts_whatever_the_order(self) -> None:
        old, new = make(value=0.1, started="2026-01-01"), make(value=0.9, started="2026-02-01")
        assert distinct([old, new]) == distinct([new, old]) == ([new], [old])

    def test_of_equal_times_the_last_read_counts(self) -> None:
        first, last = make(value=0.1), make(value=0.9)
        assert distinct([first, last]) == ([last], [first])

    def test_equal_records_are_one(self) -> None:
        assert distinct([make(), make(), make(seed=1)]) == ([make(), make(seed=1)], [])

    def test_a_later_failure_displaces_an_earlier_number(self) -> None:
        """A number that could not be had again is not to be trusted more than the failure."""
        failed = make(value=None, status="failed", started="2026-02-01")
        assert distinct([make(started="2026-01-01"), failed])[0] == [failed]


class TestPublished:
    def test_the_papers_results_are_read_by_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read([Path("published")])
        assert len(found) > 2000
        assert {r.source for r in found} == {"published"}

    @pytest.mark.parametrize("kind", ["folder", "file"])
    def test_a_path_of_that_name_goes_first(self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        file = tmp_path / "published"
        if kind == "folder":
            file.mkdir()
            file /= "records.jsonl"
        file.write_text(line())
        with pytest.warns(UserWarning, match=r"^published: took .*published, not the paper's results"):
            assert read([Path("published")]) == [make()]


whole = "\n".join(line(seed=seed) for seed in range(3)).encode()


@given(
    st.binary(max_size=300)
    | st.integers(0, len(whole)).map(lambda n: whole[:n])  # truncated
    | st.tuples(st.integers(0, len(whole) - 1), st.binary(max_size=4)).map(
        lambda t: whole[: t[0]] + t[1] + whole[t[0] :]
    )
    | st.lists(jsons.map(json.dumps), max_size=3).map(lambda texts: "\n".join([line(), *texts]).encode())
)
def test_a_damaged_file_is_read_whole_or_refused_with_its_place(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "records.jsonl"
        file.write_bytes(content)
        try:
            found = read([Path(folder)])
        except StoreError as error:
            assert re.match(rf"{re.escape(str(file))}(:\d+: | cannot be read: )", str(error))
        else:
            lines = [text for text in content.decode().split("\n") if text.strip()]
            assert [r.seed for r in found] == [json.loads(text)["seed"] for text in lines]
            assert all(r.value is None or math.isfinite(r.value) for r in found)


class TestFiles:
    def test_all_records_below_a_folder_but_not_the_superseded(self, tmp_path: Path) -> None:
        for place, seed in (("b/seed0", 0), ("a/seed1", 1), ("a/seed1/superseded/2020", 2)):
            (tmp_path / place).mkdir(parents=True)
            (tmp_path / place / "records.jsonl").write_text(
                line(seed=seed) + "\n\n" + line(seed=seed, metric="x") + "\n"
            )
        assert [(r.seed, r.metric) for r in read([tmp_path])] == [(1, "accuracy"), (1, "x"), (0, "accuracy"), (0, "x")]
        assert [r.seed for r in read([tmp_path / "b/seed0/records.jsonl", tmp_path / "a/seed1/superseded"])] == [
            0,
            0,
            2,
            2,
        ]

    def test_the_line_at_fault_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "records.jsonl"
        file.write_text(f"{line()}\n{line(flags='a b')}\n{line()[:-5]}\n")
        with pytest.raises(StoreError, match=rf"^{file}:3: not JSON .*delete the cell's folder and run it again"):
            read_file(file)

    def test_other_tools_line_separators_in_texts_do_not_split_a_record(self, tmp_path: Path) -> None:
        record = make(status="failed", value=None, reason="one\u2028two\x85three")
        (tmp_path / "records.jsonl").write_text(json.dumps(dataclasses.asdict(record), ensure_ascii=False))
        assert read([tmp_path]) == [record]

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "records.jsonl").write_bytes(b"\xff")
        with pytest.raises(StoreError, match=r"records\.jsonl cannot be read: 'utf-8'"):
            read([tmp_path])
        with pytest.raises(StoreError, match="none does not exist; expected a run folder, a records file or published"):
            read([tmp_path / "none"])

    @pytest.fixture
    def written(self, tmp_path: Path) -> list[Record]:
        """Three cells; the first one that a reader sees has no number at all."""
        failed = make(seed=0, value=None, status="failed", reason="boom", seconds=None)
        whole = [make(seed=1, value=3), make(seed=1, metric="macs", value=7)]
        rest = [make(seed=2, value=0.25, seconds=1.5, git_dirty=True, cpu_count=2)]
        for name, group in (("a", [failed]), ("b", whole), ("c", rest)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "records.jsonl").write_text("".join(r.to_line() + "\n" for r in group))
        return [failed, *whole, *rest]

    def test_polars_reads_them_in_one_line(self, tmp_path: Path, written: list[Record]) -> None:
        import polars

        table = polars.read_ndjson(f"{tmp_path}/**/records.jsonl", schema=polars.Schema(COLUMNS))
        assert table.columns == [f.name for f in dataclasses.fields(Record)]
        assert table.schema["value"] == polars.Float64
        assert table.to_dicts() == [dataclasses.asdict(record) for record in written]

    def test_duckdb_reads_them_in_one_line(self, tmp_path: Path, written: list[Record]) -> None:
        import duckdb

        rows = duckdb.sql(f"select seed, metric, value from '{tmp_path}/**/records.jsonl' order by all").fetchall()
        assert rows == sorted((r.seed, r.metric, r.value) for r in written)
