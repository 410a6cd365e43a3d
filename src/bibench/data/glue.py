"""Readers of GLUE (Wang et al., 2018): the official TSV files, and folders in the form of Hugging Face `datasets`.

https://gluebenchmark.com. Both forms lie in one folder per task. Nothing is dropped silently: a damaged
line is an error with file and line, and what a format tolerates is skipped with a warning that counts it.
"""

from __future__ import annotations

import csv
import reprlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bibench.data.text import Example
from bibench.errors import DataError, require
from bibench.files import unreadable
from bibench.finding import listed
from bibench.lines import read_lines
from bibench.numbers import number as number_of
from bibench.numbers import parse_number

VALIDATION_SHARE = 0.05
"""Of the training examples, set aside for validation; the public test split has no labels."""


@dataclass(frozen=True)
class Format:
    """Where one GLUE task keeps what.

    Attributes:
        columns: names of the columns in the TSV header: first sentence, second (or none), label.
        header: the number of TSV columns when there is no header line (CoLA); `columns` are then indices.
        hf_columns: the sentence columns in `datasets` folders; the label column is ``label``.
        classes: the labels as the TSV spells them, in the order of Hugging Face's class indices;
            none for a score from 0 to 5.
        dev: TSV file and `datasets` split of the development set.
        sizes: examples in the published training and development files.
        tolerated: share of examples that lack a column or a sentence in the published file itself; they
            are skipped and counted. More of them, or any in another task, are damage.
    """

    folder: str
    columns: tuple[str, ...]
    hf_columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    headerless: int = 0
    dev: tuple[str, str] = ("dev.tsv", "validation")
    sizes: tuple[int, int] = (0, 0)
    tolerated: float = 0.0


BINARY = ("0", "1")
PAIR = ("sentence1", "sentence2")
ENTAILMENT = ("entailment", "not_entailment")
MNLI = Format(
    folder="MNLI",
    columns=(*PAIR, "gold_label"),
    hf_columns=("premise", "hypothesis"),
    classes=("entailment", "neutral", "contradiction"),
    dev=("dev_matched.tsv", "validation_matched"),
    sizes=(392702, 9815),
)
FORMATS: dict[str, Format] = {
    "cola": Format("CoLA", ("3", "1"), ("sentence",), BINARY, headerless=4, sizes=(8551, 1043)),
    "sst2": Format("SST-2", ("sentence", "label"), ("sentence",), BINARY, sizes=(67349, 872)),
    "mrpc": Format("MRPC", ("#1 String", "#2 String", "Quality"), PAIR, BINARY, sizes=(3668, 408)),
    "stsb": Format("STS-B", (*PAIR, "score"), PAIR, sizes=(5749, 1500)),
    "qqp": Format(
        "QQP",
        ("question1", "question2", "is_duplicate"),
        ("question1", "question2"),
        BINARY,
        sizes=(363846, 40430),
        tolerated=0.001,
    ),
    "mnli": MNLI,
    "mnli_mm": Format(
        MNLI.folder,
        MNLI.columns,
        MNLI.hf_columns,
        MNLI.classes,
        dev=("dev_mismatched.tsv", "validation_mismatched"),
        sizes=(392702, 9832),
    ),
    "qnli": Format(
        "QNLI", ("question", "sentence", "label"), ("question", "sentence"), ENTAILMENT, sizes=(104743, 5463)
    ),
    "rte": Format("RTE", (*PAIR, "label"), PAIR, ENTAILMENT, sizes=(2490, 277)),
    "wnli": Format("WNLI", (*PAIR, "label"), PAIR, BINARY, sizes=(635, 71)),
}

ARCHIVES_URL = "https://dl.fbaipublicfiles.com/glue/data"
ARCHIVES: dict[str, tuple[str, str]] = {
    "CoLA": ("CoLA.zip", "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),
    "SST-2": ("SST-2.zip", "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"),
    "STS-B": ("STS-B.zip", "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85"),
    "QQP": ("QQP-clean.zip", "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0"),
    "MNLI": ("MNLI.zip", "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633"),
    "QNLI": ("QNLIv2.zip", "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5"),
    "RTE": ("RTE.zip", "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"),
    "WNLI": ("WNLI.zip", "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46"),
}
"""By folder: the archive at `ARCHIVES_URL` and its SHA-256. There is none of MRPC, whose publisher has it."""


@dataclass
class Skipped:
    """What was left out of one file: numbers of lines or rows by reason."""

    file: Path
    places: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, number: int) -> None:
        """Note one line or row."""
        self.places.setdefault(reason, []).append(number)

    def close(self, examples: int, tolerated: float) -> None:
        """Warn with the counts; `DataError` when there are more damaged ones than `tolerated`."""
        for reason, numbers in self.places.items():
            listed = ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
            told = f"{self.file}: {len(numbers)} with {reason} (number {listed})"
            if reason != EMPTY and len(numbers) > max(1, tolerated * examples):
                raise DataError(f"{told}; the published file has at most {tolerated:.1%} of them, fetch it again")
            warnings.warn(f"{told}; skipped", stacklevel=3)


EMPTY, SHORT, BLANK = "nothing in the line", "missing columns", "an empty sentence"


def read(folder: Path, form: Format, part: str) -> list[Example]:
    """All examples of `part` (``train`` or ``dev``) of the task in `folder`, in whichever form is there."""
    file = tsv_file(folder, form, part)
    if file.is_file():
        examples = read_tsv(file, form)
    elif found := table_files(folder, form, part):
        examples = [example for file in found for example in read_table(file, form)]
        file = found[0]
    else:
        raise DataError(missing(folder, form))
    if not examples:
        raise DataError(f"{file} has no examples; fetch it again")
    expected = form.sizes[part == "dev"]
    if len(examples) != expected:
        warnings.warn(f"{file}: {len(examples)} examples; the published {part} set has {expected}", stacklevel=2)
    return examples


def missing(folder: Path, form: Format) -> str:
    """What is not there, in either form, or an empty string."""
    lacking = [
        part
        for part in ("train", "dev")
        if not tsv_file(folder, form, part).is_file() and not table_files(folder, form, part)
    ]
    if not lacking:
        return ""
    names = ", ".join(tsv_file(folder, form, part).name for part in lacking)
    splits = ", ".join(hf_split(form, part) for part in lacking)
    return (
        f"{folder} has no {names} (official TSV form), nor {splits} as .parquet, .arrow or .csv (Hugging Face form); "
        f"{_fetch(folder, form)}"
    )


def _fetch(folder: Path, form: Format) -> str:
    hugging_face = f"the files of its folder in huggingface.co/datasets/nyu-mll/glue into {folder}"
    if form.folder not in ARCHIVES:
        return f"fetch {hugging_face}"
    return f"fetch {ARCHIVES_URL}/{ARCHIVES[form.folder][0]} and unpack it in {folder.parent}, or put {hugging_face}"


def hf_split(form: Format, part: str) -> str:
    """The name of a part in Hugging Face's form."""
    return "train" if part == "train" else form.dev[1]


def split_by_text(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Training and validation parts of the published training set; the same for everyone, in any order of lines.

    Examples with the same first sentence stay together, so nothing is in both: groups are ranked by a
    hash of that sentence, and the first ones make up `VALIDATION_SHARE`.
    """
    groups: dict[str, int] = {}
    for example in examples:
        groups[example.first] = groups.get(example.first, 0) + 1
    chosen: set[str] = set()
    taken = 0
    for text in sorted(groups, key=lambda text: sha256(text.encode()).digest()):
        if taken and taken + groups[text] > VALIDATION_SHARE * len(examples):
            break
        chosen.add(text)
        taken += groups[text]
    train = [e for e in examples if e.first not in chosen]
    validation = [e for e in examples if e.first in chosen]
    if not train:
        raise DataError(
            f"all {len(examples)} training examples have the same first sentence, so nothing is left to train on when "
            "validation is cut from them; at least 2 different ones are needed. Is the file the published one?"
        )
    return train, validation


# -- TSV -------------------------------------------------------------------------------------------


def tsv_file(folder: Path, form: Format, part: str) -> Path:
    """The official file of a part."""
    return folder / ("train.tsv" if part == "train" else form.dev[0])


def read_tsv(file: Path, form: Format) -> list[Example]:
    """Examples of an official TSV file, whose quotes are plain characters and mean nothing."""
    lines = _lines(file)
    if form.headerless:
        width, places = form.headerless, [int(c) for c in form.columns]
    else:
        number, header = next(lines, (1, []))
        absent = [c for c in form.columns if c not in header]
        if absent:
            raise DataError(
                f"{file}, line {number}: the header has no column {', '.join(map(repr, absent))}; it has: "
                f"{', '.join(header) or 'nothing'}. Expected the file of the GLUE distribution"
            )
        width, places = len(header), [header.index(c) for c in form.columns]
    skipped, examples = Skipped(file), []
    for number, cells in lines:
        place = f"{file}, line {number}"
        if cells == [""]:
            skipped.add(EMPTY, number)
        elif len(cells) == width:
            *sentences, label = (cells[column] for column in places)
            if example := _example(sentences, label, form, place, _tsv_label):
                examples.append(example)
            else:
                skipped.add(BLANK, number)
        elif form.tolerated:
            skipped.add(SHORT, number)
        else:
            raise DataError(f"{place}: {len(cells)} columns, expected {width}; fetch the file again")
    skipped.close(len(examples), form.tolerated)
    return examples


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers from 1 and cells. Only a newline ends a line: sentences contain other separators."""
    try:
        for number, line in enumerate(read_lines(file), 1):
            yield number, line.split("\t")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(unreadable(file, error) or f"{file} cannot be read ({error}); fetch it again") from error


def _example(
    sentences: Sequence[Any], label: Any, form: Format, place: str, parse: Callable[[Any, Format], float]
) -> Example | None:
    """The example, or None where a sentence is empty and the format tolerates that."""
    if not all(isinstance(text, str) and text.strip() for text in sentences):
        if form.tolerated:
            return None
        raise DataError(f"{place}: a sentence is empty or missing; fetch the file again")
    try:
        value = parse(label, form)
    except ValueError as error:
        expected = " or ".join(form.classes) if form.classes else "a number from 0 to 5"
        raise DataError(f"{place}: label {reprlib.repr(label)}, expected {expected}; fetch the file again") from error
    return Example(sentences[0], sentences[1] if len(sentences) > 1 else None, value)


def _tsv_label(text: str, form: Format) -> float:
    return form.classes.index(text) if form.classes else parse_number(text, "the score", low=0, high=5)


# -- Hugging Face `datasets` -----------------------------------------------------------------------


def table_files(folder: Path, form: Format, part: str) -> list[Path]:
    """Files of a part as saved by `datasets`: ``train.csv``, ``train-00000-of-00001.parquet``,
    ``train/data-00000-of-00001.arrow``, ..., in the order of their numbers."""
    split = hf_split(form, part)
    for suffix in TABLES:
        patterns = (f"{split}{suffix}", f"{split}-?????-of-?????{suffix}", f"{split}/*{suffix}")
        for place in (folder, folder / "data"):
            for pattern in patterns:
                if found := listed(place, pattern):
                    return _complete(found)
    return []


def _complete(files: list[Path]) -> list[Path]:
    """`files`, unless their names (``...-of-00003``) say that some are missing."""
    total = files[0].stem.rpartition("-of-")[2]
    if total.isdigit() and len(files) != int(total):
        raise DataError(f"{files[0].parent} has {len(files)} of {int(total)} files like {files[0].name}; fetch all")
    return files


def read_table(file: Path, form: Format) -> list[Example]:
    """Examples of one file of a `datasets` folder."""
    columns = (*form.hf_columns, "label")
    skipped, examples = Skipped(file), []
    parse = _csv_label if file.suffix == ".csv" else _table_label
    for number, row in enumerate(TABLES[file.suffix](file, columns), 1):
        *sentences, label = row
        if example := _example(sentences, label, form, f"{file}, row {number}", parse):
            examples.append(example)
        else:
            skipped.add(BLANK, number)
    skipped.close(len(examples), form.tolerated)
    return examples


def _table_label(value: Any, form: Format, check: Callable[..., float] = number_of) -> float:
    if not form.classes:
        return check(value, "the score", low=0, high=5)
    # -1 marks the unlabelled test split.
    return check(value, "the class", whole=True, low=0, high=len(form.classes) - 1)


def _csv_label(value: Any, form: Format) -> float:
    return _table_label(value, form, parse_number)


def _check_columns(file: Path, present: Sequence[str], columns: Sequence[str]) -> None:
    if twice := [c for c in columns if list(present).count(c) > 1]:
        raise DataError(f"{file} has the column {twice[0]!r} twice; fetch it again")
    absent = [c for c in columns if c not in present]
    if absent:
        raise DataError(
            f"{file} has no column {', '.join(map(repr, absent))}; it has: {', '.join(present) or 'nothing'}"
        )


def _csv_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            _check_columns(file, header, columns)
            places = [header.index(c) for c in columns]
            for row in filter(None, reader):  # of a blank line nothing comes
                if len(row) != len(header):
                    raise DataError(
                        f"{file}, line {reader.line_num}: {len(row)} columns, expected {len(header)}; fetch it again"
                    )
                yield tuple(row[place] for place in places)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(unreadable(file, error) or f"{file} cannot be read ({error}); fetch it again") from error


def _polars_rows(file: Path, columns: Sequence[str], readers: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    require("polars", extra="bench", purpose=f"reading {file.suffix} files")
    import polars

    problem: Exception | None = None
    for reader in readers:
        try:
            table = getattr(polars, reader)(file)
        except Exception as error:  # polars has a dozen kinds for damaged files
            problem = problem or error
        else:
            _check_columns(file, table.columns, columns)
            return iter(table.select(columns).rows())
    said = unreadable(file, problem) if problem else ""
    raise DataError(said or f"{file} is damaged ({problem}); fetch it again")


def _parquet_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return _polars_rows(file, columns, ("read_parquet",))


def _arrow_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return _polars_rows(file, columns, ("read_ipc_stream", "read_ipc"))  # `datasets` writes streams


TABLES: Mapping[str, Callable[[Path, Sequence[str]], Iterator[tuple[Any, ...]]]] = {
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
    ".csv": _csv_rows,
}
