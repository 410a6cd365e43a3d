"""One way to say a thing: the options of all verbs, their old spellings, and mistakes, which all look alike."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bibench.cli.commands import app as all_verbs
from bibench.cli.later import Later
from bibench.cli.spellings import OLD, renamed

from ..worlds import TINY
from .test_cli import Call

ROOT = Path(__file__).parents[2]


def walked(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    command = command.command() if isinstance(command, Later) else command
    for name, one in getattr(command, "commands", {}).items():
        yield from walked(one, (*words, name))
    if not hasattr(command, "commands"):
        yield " ".join(words), command


VERBS = dict(walked(typer.main.get_command(all_verbs)))
OPTIONS = {
    verb: {name: one for one in command.params for name in (*one.opts, *one.secondary_opts) if name[0] == "-"}
    for verb, command in VERBS.items()
}
ARGUMENTS = {
    verb: [
        (one.metavar or one.name.upper()).strip("[].") for one in command.params if one.param_type_name == "argument"
    ]
    for verb, command in VERBS.items()
}


def test_every_verb_is_found() -> None:
    assert len(VERBS) > 20
    assert {"run", "latency measure", "deploy matrix", "data where", "measure structures"} <= VERBS.keys()


class TestConventions:
    def test_a_run_folder_is_an_argument_where_it_is_read_and_an_option_where_it_is_written(self) -> None:
        assert {verb for verb, found in OPTIONS.items() if "--runs" in found} == {
            *("run", "measure training-cost", "measure complexity", "latency measure", "latency import"),
        }
        assert {verb for verb, found in ARGUMENTS.items() if "RUNS" in found} == {
            *("plan", "status", "score", "report", "rank", "versus", "coverage", "recommend", "measure corruptions"),
        }

    def test_output_is_a_file_or_site_to_make(self) -> None:
        for verb, found in OPTIONS.items():
            assert ("-o" in found) == ("--output" in found), verb
            if "-o" in found:
                assert not found["-o"].multiple and not found["-o"].is_flag, verb

    def test_what_prints_has_every_format_and_its_short_form(self) -> None:
        for verb, found in OPTIONS.items():
            assert ("--format" in found) == ("--json" in found), verb
        assert {verb for verb, found in OPTIONS.items() if "--format" not in found} == {"report", "latency import"}

    def test_plural_options_take_lists_and_singular_ones_a_value(self) -> None:
        for verb, found in OPTIONS.items():
            for name, one in found.items():
                if one.multiple:
                    assert name.endswith("s") or name in ("--load", "--against"), (verb, name)
                assert not one.multiple or not one.is_flag, (verb, name)

    def test_one_name_for_one_idea(self) -> None:
        having = {name: {verb for verb, found in OPTIONS.items() if name in found} for name in _names()}
        assert having["--device"] == {"latency measure", "recommend"}  # what is measured on
        assert having["--accelerator"] == {"run", "measure training-cost", "measure corruptions"}  # what computes here
        assert having["--random-seed"] == {"rank", "versus", "measure training-cost", "measure corruptions"}
        assert having["--rerun"] == {"run", "plan", "measure corruptions"}
        assert all(OPTIONS[verb]["--seeds"].multiple for verb in having["--seeds"])
        assert not {"--seed", "--again", "--name", "--batch", "--plot", "--precision"} & having.keys()


def _names() -> set[str]:
    return {name for found in OPTIONS.values() for name in found}


class TestOldSpellings:
    @pytest.mark.parametrize("verb", OLD)
    def test_what_they_mean_today_exists_and_they_do_not(self, verb: str) -> None:
        for old, now in OLD[verb].items():
            assert now.name.split(" ")[0] in (*OPTIONS[verb], *ARGUMENTS[verb]), old
            assert (old in OPTIONS[verb]) == (old in ("-o", "--output")), old

    @pytest.mark.parametrize(
        ("verb", "old", "new"),
        [
            ("plan", "smoke --runs r --json", "smoke --json r"),
            ("plan", "--runs=r smoke", "smoke r"),
            ("plan", "smoke --runs r -- --odd", "smoke r -- --odd"),
            ("run", "smoke --device cuda:1", "smoke --accelerator cuda:1"),
            ("run", "smoke --load --device", "smoke --load --device"),  # the value of another option
            ("measure corruptions", "r --again --device=cpu", "r --rerun all --accelerator=cpu"),
            ("measure structures", "--seeds 3 --sizes 64", "--draws 3 --sizes 64"),
            ("latency measure", "m.onnx -o runs --batch 1,8", "m.onnx --runs runs --batch-sizes 1,8"),
            ("latency measure", "m.onnx -oruns", "m.onnx --runs runs"),
            ("latency measure", "m.onnx -o mine.jsonl", "m.onnx -o mine.jsonl"),
            ("latency measure", "m --argument=--use_x=1", "m --program-arguments=--use_x=1"),
            ("latency measure", "m --argument --batch", "m --program-arguments --batch"),
            ("verify", "m --no-metric", "m --no-task-metric"),
            ("score", "r --plot f.svg", "r --output f.svg"),
            ("env", "--seeds 3", "--seeds 3"),
        ],
    )
    def test_are_read_as_todays(
        self, verb: str, old: str, new: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bibench.cli.spellings.TOLD", set())
        valued = {name for name, one in OPTIONS[verb].items() if not one.is_flag}
        assert renamed(verb, old.split(), valued) == new.split()
        assert ("note: --" in (said := capsys.readouterr().err) or "note: -o" in said) == (old != new)

    def test_tell_their_new_name_once_and_work_on(self, call: Call, runs: Path) -> None:
        asked = ("--load", TINY, "--operators", "bnn", "--seeds", "0", "--json")
        old, new = call("status", "tiny", "--runs", runs, *asked), call("status", "tiny", runs, *asked)
        assert (old.code, old.json) == (0, new.json)
        assert old.err == "note: --runs is now the argument RUNS; the old spelling works in this version alone\n"
        assert new.err == ""

    def test_are_not_in_the_documents(self) -> None:
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
            for line in page.read_text("utf-8").splitlines():
                if line.strip().startswith("bibench "):
                    words = shlex.split(line.partition(" #")[0], comments=True)[1:]
                    verb = next((v for n in (2, 1) if (v := " ".join(words[:n])) in VERBS), None)
                    verb = verb or ("latency measure" if words[0] == "latency" else None)
                    assert verb, f"{page.name}: {line}"
                    unknown = {w.partition("=")[0] for w in words if w[:1] == "-" and not _is_number(w)}
                    assert unknown <= {*OPTIONS[verb], "--help", "-h"}, f"{page.name}: {line}"


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdecimal()


class TestMistakes:
    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ("", None),
            ("plan", "missing argument 'suite'; see: bibench plan --help"),
            ("plan smoke --tasc x", "no such option: --tasc; did you mean --tasks? see: bibench plan --help"),
            ("scor", "no such command 'scor'"),
            ("measure structurs", "no such command 'structurs'"),
            ("run smoke --workers x", "invalid value for '--workers'"),
            ("rank published --format xml", "--format must be table, json, csv, markdown or latex; got 'xml'"),
            (
                "export runs -o f --format latex",
                "--format must be table or json; got 'latex': bibench export",
            ),
            ("list operators --json --format csv", "--json is --format json, and --format csv is given too"),
            ("measure corruptions runs --rerun stale", "--rerun must be missing or all; got 'stale'"),
            ("latency import none.csv", "none.csv cannot be read"),
            ("data check nothing", "unknown task 'nothing'"),
            ("status nothing", "unknown suite 'nothing'"),
        ],
    )
    def test_are_one_line_of_the_same_form(self, call: Call, asked: str, said: str | None) -> None:
        ended = call(*asked.split())
        assert ended.code == 2
        if said is None:  # all verbs, as with --help
            assert "Usage: bibench" in ended.out + ended.err
            return
        assert (ended.out, ended.err.count("\n")) == ("", 1), ended.err
        assert ended.err.startswith("error: ")
        assert said in ended.err
