"""Readers of GLUE on tiny files in the true formats, whole and damaged."""

import csv
from pathlib import Path

import pytest

from bibench.data import glue
from bibench.data.glue import FORMATS
from bibench.data.text import Example
from bibench.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*the published (train|dev) set has")

HEADERS = {
    "sst2": "sentence\tlabel",
    "mrpc": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "mnli": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
    "qnli": "index\tquestion\tsentence\tlabel",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
}
HEADERS["mnli_mm"] = HEADERS["mnli"]
A, B = 'A "quoted sentence, half', "Its pair’s other\x85half"


def line(name: str, label: str, first: str = A, second: str = B) -> str:
    """One line of an official file."""
    if name == "cola":
        return f"gj04\t{label}\t*\t{first}"
    columns = dict.fromkeys(glue.PAIR, (first, second))
    named = dict(
        zip(FORMATS[name].columns, (first, second, label) if len(FORMATS[name].columns) == 3 else (first, label))
    )
    return "\t".join(named.get(column, columns.get(column, "7")) for column in HEADERS[name].split("\t"))


def labels(name: str) -> list[str]:
    return list(FORMATS[name].classes) or ["0.000", "5.000", "3.25"]


def write(folder: Path, name: str, *, end: str = "\n", part: str = "train", lines: list[str] | None = None) -> Path:
    file = glue.tsv_file(folder, FORMATS[name], part)
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = lines if lines is not None else [line(name, label) for label in labels(name)]
    header = [HEADERS[name]] if name != "cola" else []
    file.write_bytes((end.join([*header, *rows]) + end).encode())
    return file


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("part", ["train", "dev"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_official_files_of_every_task(name: str, part: str, end: str, tmp_path: Path) -> None:
    write(tmp_path, name, part=part, end=end)
    found = glue.read(tmp_path, FORMATS[name], part)
    second = B if len(FORMATS[name].columns) == 3 else None
    numbers = [0.0, 5.0, 3.25] if name == "stsb" else [float(i) for i in range(len(FORMATS[name].classes))]
    assert found == [Example(A, second, number) for number in numbers]


def test_the_two_development_sets_of_mnli_are_two_files() -> None:
    files = {glue.tsv_file(Path(), FORMATS[name], "dev").name for name in ("mnli", "mnli_mm")}
    assert files == {"dev_matched.tsv", "dev_mismatched.tsv"}


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    file = write(tmp_path, "mrpc")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(glue.read_tsv(file, FORMATS["mrpc"])) == 2


@pytest.mark.parametrize(
    ("name", "bad", "told"),
    [
        ("rte", line("rte", "maybe"), "line 3: label 'maybe', expected entailment or not_entailment"),
        ("rte", line("rte", ""), "line 3: label ''"),
        ("stsb", line("stsb", "5.5"), "line 3: label '5.5', expected a number from 0 to 5"),
        ("stsb", line("stsb", "nan"), "line 3: label 'nan'"),
        ("sst2", "a sentence cut off", "line 3: 1 columns, expected 2"),
        ("sst2", "one\ttoo many\t1", "line 3: 3 columns, expected 2"),
        ("mrpc", line("mrpc", "1", second="  "), "line 3: a sentence is empty"),
        ("cola", "gj04\t2\t*\tA sentence", "line 2: label '2', expected 0 or 1"),
    ],
)
def test_damage_is_named_by_file_and_line(name: str, bad: str, told: str, tmp_path: Path) -> None:
    file = write(tmp_path, name, lines=[line(name, labels(name)[0]), bad, line(name, labels(name)[1])])
    with pytest.raises(DataError, match=f"{file}, {told}"):
        glue.read(tmp_path, FORMATS[name], "train")


def test_empty_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path, "rte", lines=[line("rte", "entailment"), "", "", line("rte", "not_entailment"), ""])
    with pytest.warns(UserWarning, match=f"{file}: 3 with nothing in the line .number 3, 4, 6.; skipped"):
        assert len(glue.read(tmp_path, FORMATS["rte"], "train")) == 2


def test_qqp_has_damaged_lines_of_its_own_but_few(tmp_path: Path) -> None:
    good = [line("qqp", "0")] * 5
    file = write(tmp_path, "qqp", lines=[*good, "12\t13\t14\tcut off"])
    with pytest.warns(UserWarning, match="1 with missing columns .number 7.; skipped"):
        assert len(glue.read(tmp_path, FORMATS["qqp"], "train")) == 5
    write(tmp_path, "qqp", lines=[*good, line("qqp", "1", second="")])
    with pytest.warns(UserWarning, match="1 with an empty sentence"):
        assert len(glue.read(tmp_path, FORMATS["qqp"], "train")) == 5
    write(tmp_path, "qqp", lines=[*good, "cut", "cut"])
    with pytest.raises(DataError, match=f"{file}: 2 with missing columns .*at most 0.1%"):
        glue.read(tmp_path, FORMATS["qqp"], "train")


def test_wrong_empty_and_undecodable_files(tmp_path: Path) -> None:
    file = write(tmp_path, "rte")
    file.write_text("sentence\tlabel\nGood\t1\n")
    with pytest.raises(DataError, match="line 1: the header has no column 'sentence1', 'sentence2'; it has: sentence"):
        glue.read(tmp_path, FORMATS["rte"], "train")
    file.write_text("")
    with pytest.raises(DataError, match="it has: nothing"):
        glue.read(tmp_path, FORMATS["rte"], "train")
    write(tmp_path, "rte", lines=[])
    with pytest.raises(DataError, match="has no examples"):
        glue.read(tmp_path, FORMATS["rte"], "train")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        glue.read(tmp_path, FORMATS["rte"], "train")
    with pytest.raises(DataError, match=r"no dev.tsv .*nor validation as .parquet.*RTE.zip"):
        glue.read(tmp_path, FORMATS["rte"], "dev")


def test_another_number_of_examples_than_published_is_told(tmp_path: Path) -> None:
    write(tmp_path, "rte")
    with pytest.warns(UserWarning, match="2 examples; the published train set has 2490"):
        glue.read(tmp_path, FORMATS["rte"], "train")


# -- Hugging Face form -----------------------------------------------------------------------------


def table(name: str, label=None) -> dict[str, list]:
    form = FORMATS[name]
    count = len(form.classes) or 2
    texts = {column: [f"{column} {i}" for i in range(count)] for column in form.hf_columns}
    return texts | {"label": label or (list(range(count)) if form.classes else [0.5, 4.75]), "idx": list(range(count))}


def save(file: Path, data: dict[str, list]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerows([list(data), *zip(*data.values(), strict=True)])
        return file
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(data)
    frame.write_parquet(file) if file.suffix == ".parquet" else frame.write_ipc_stream(file)
    return file


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize(
    "pattern",
    ["{}-00000-of-00001.parquet", "data/{}-00000-of-00001.parquet", "{}/data-00000-of-00001.arrow", "{}.csv"],
)
def test_datasets_folders_of_every_task(name: str, pattern: str, tmp_path: Path) -> None:
    for part in ("train", "dev"):
        split = glue.hf_split(FORMATS[name], part)
        save(tmp_path / pattern.format(split), table(name))
        found = glue.read(tmp_path, FORMATS[name], part)
        assert [e.label for e in found] == table(name)["label"]
        assert found[1].first == f"{FORMATS[name].hf_columns[0]} 1"
        assert found[1].second == (f"{FORMATS[name].hf_columns[1]} 1" if len(FORMATS[name].hf_columns) == 2 else None)


def test_several_files_in_order_and_all_of_them(tmp_path: Path) -> None:
    for i in range(2):
        save(tmp_path / f"train-0000{i}-of-00002.parquet", table("rte", [i, i]))
    assert [e.label for e in glue.read(tmp_path, FORMATS["rte"], "train")] == [0, 0, 1, 1]
    (tmp_path / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"has 1 of 2 files like train-00001-of-00002.parquet"):
        glue.read(tmp_path, FORMATS["rte"], "train")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_damaged_tables(suffix: str, tmp_path: Path) -> None:
    file = save(tmp_path / f"train{suffix}", table("rte", [0, -1]))
    with pytest.raises(DataError, match=f"{file}, row 2: label '?-1'?, expected entailment or not_entailment"):
        glue.read(tmp_path, FORMATS["rte"], "train")
    save(file, {"sentence1": ["a"], "label": [0]})
    with pytest.raises(DataError, match=f"{file} has no column 'sentence2'; it has: sentence1, label"):
        glue.read(tmp_path, FORMATS["rte"], "train")
    file.write_bytes(file.read_bytes()[:-9] if suffix != ".csv" else b"sentence1,sentence2,label\n\xff,b,0\n")
    with pytest.raises(DataError, match=f"{file}.*(is damaged|cannot be read|has no)"):
        glue.read(tmp_path, FORMATS["rte"], "train")


def test_polars_missing_is_said_with_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "train.parquet", table("rte"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"reading .parquet files needs the library polars.*bibench\[bench\]"):
        glue.read(tmp_path, FORMATS["rte"], "train")


# -- validation ------------------------------------------------------------------------------------


def test_validation_is_cut_by_text_not_by_place() -> None:
    examples = [Example(f"sentence {i // 2}", f"other {i}", float(i % 2)) for i in range(400)]
    train, validation = glue.split_by_text(examples)
    assert len(validation) == 20
    assert sorted(train + validation) == sorted(examples)
    assert not {e.first for e in train} & {e.first for e in validation}
    again = glue.split_by_text(examples[::-1])
    assert {e.second for e in again[1]} == {e.second for e in validation}
    few, one = glue.split_by_text(examples[:4])
    assert len(few) == len(one) == 2
    with pytest.raises(DataError, match="same first sentence"):
        glue.split_by_text(examples[:2])


@pytest.mark.parametrize("score", ["nan", "inf", "1e999", "3_0", "３", "-0.5", "5.01", "True", ""])
def test_scores_are_finite_numbers_from_0_to_5(score: str, tmp_path: Path) -> None:
    file = write(tmp_path, "stsb", lines=[line("stsb", "1.0"), line("stsb", score)])
    with pytest.raises(DataError, match=r"train\.tsv, line 3: label '.*', expected a number from 0 to 5; fetch"):
        glue.read_tsv(file, FORMATS["stsb"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "1", 0.5, -1, 2, None])
def test_labels_of_tables_are_numbers_of_classes(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(glue.TABLES, ".parquet", lambda file, columns: iter([("fine", 1), ("odd", value)]))
    with pytest.raises(DataError, match=r"train\.parquet, row 2: label .*, expected 0 or 1; fetch the file again"):
        glue.read_table(Path("train.parquet"), FORMATS["sst2"])


def test_separators_and_marks_in_tables_of_commas(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_bytes('\ufeffsentence,label\r\n"one\u2028two\x85,\rthree\nfour",1\r\n\r\nfive,0\r\n'.encode())
    assert glue.read_table(file, FORMATS["sst2"]) == [
        Example("one\u2028two\x85,\rthree\nfour", None, 1),
        Example("five", None, 0),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sentence,label\none,1,2\n", "line 2: 3 columns, expected 2"),
        ("sentence,label\none\n", "line 2: 1 columns, expected 2"),
        ("sentence,label,label\none,1,0\n", "has the column 'label' twice"),
        ("sentence,label\none\rtwo,1\n", "cannot be read"),  # only a newline ends a line, and the reader knows it not
    ],
)
def test_odd_tables_of_commas_are_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(text.encode())
    with pytest.raises(DataError, match=rf"train\.csv.*{told}"):
        glue.read_table(tmp_path / "train.csv", FORMATS["sst2"])


def test_too_few_sentences_to_cut_validation_from() -> None:
    with pytest.raises(DataError, match=r"all 2 training examples .* at least 2 different ones are needed"):
        glue.split_by_text([Example("same", None, 0), Example("same", None, 1)])
    train, validation = glue.split_by_text([Example("one", None, 0), Example("two", None, 1)])
    assert len(train) == len(validation) == 1
