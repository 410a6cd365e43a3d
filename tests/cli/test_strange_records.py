"""Records with names that nothing of ours writes: every verb keeps the rest, and nothing in them acts."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bibench.cli.commands import app
from bibench.cli.display import LiveDisplay
from bibench.cli.output import console
from bibench.execution.worker import Result
from bibench.foundation.choice import Choice
from bibench.foundation.visible import visible
from bibench.records.record import Record, read_file, write_file

from ..records.test_records import make
from ..worlds import bibench, bibench_here, cell, command

NAMES = (
    "my net[",
    "a b",
    "",
    "[red]x[/red]",
    "[/",
    "x]",
    "m[w",
    "m[=]",
    "../..",
    "-",
    "=1+1",
    "é\u202eé",
    "a\nb",
    "\x1b[2J",
)
ACTING = "t\x1b[2J\x1b]0;owned\x07\x9b31m\r\u202e\u2066"


FIELDS = ("task", "model", "operator", "recipe", "study", "group", "family", "flags", "profile", "stands_in_for")


def records(**names: str) -> list[Record]:
    """Full precision and two operators, two seeds each; `names` are those of all, or of the second operator."""
    found = []
    for operator, value in (("fp32", 0.9), ("bnn", 0.6), (names.get("operator", "xnor"), 0.7)):
        for seed in (0, 1):
            fields = {"task": "t", "model": "m", "recipe": "r", **names, "operator": operator}
            found.append(make(**fields, value=value + seed / 100, seed=seed, cell=f"{names}/{operator}/{seed}"))
    return found


def world(*fields: str) -> list[Record]:
    """Sound records, and such with every strange name in each of the fields."""
    return [*records(), *(one for field in fields for name in NAMES for one in records(**{field: name}))]


VERBS = {
    "score": (),
    "score details": ("--details",),
    "score accuracies": ("--accuracies", "--format", "csv"),
    "score markdown": ("--format", "markdown"),
    "score settings": ("--settings",),
    "rank": (),
    "rank latex": ("--format", "latex"),
    "coverage": (),
    "recommend": ("--task", "t"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_goes_on(verb: str, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    write_file(file, world(*FIELDS))
    ended = CliRunner().invoke(app, [verb.split()[0], str(file), *VERBS[verb]])
    assert ended.exit_code == 0, (ended.output, ended.exception)
    assert "bnn" in ended.output
    assert not hidden(ended.output)


def test_a_report_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    write_file(file, [one for one in world(*FIELDS, "device", "engine", "cpu") if not one.source])
    ended = bibench_here("report", file, "-o", tmp_path / "site")
    assert ended.returncode == 0, ended.stderr
    assert not hidden(ended.stdout + ended.stderr)
    for page in (tmp_path / "site").rglob("*.html"):
        assert not hidden(page.read_text("utf-8")), page.name


def hidden(text: str) -> str:
    """The characters of `text` that act instead of showing."""
    return "".join(sorted(set(text) - set(visible(text))))


@pytest.mark.parametrize("verb", ["score", "coverage"])
def test_control_characters_of_names_are_shown(verb: str, tmp_path: Path) -> None:
    write_file(tmp_path / "records.jsonl", records(task=ACTING))
    ended = CliRunner().invoke(app, [verb, str(tmp_path)])
    assert not hidden(ended.output)
    assert r"t\x1b[2J\x1b]0;owned\x07\x9b31m\r\u202e\u2066" in ended.output


class TestWholeCommand:
    """As it is started by a shell."""

    def test_a_damaged_name_in_an_error(self, tmp_path: Path) -> None:
        file = tmp_path / "records.jsonl"
        file.write_text(json.dumps({**vars(make()), "status": ACTING}) + "\n")
        ended = bibench_here("score", file)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"error: {file}:1: record of")
        assert not hidden(ended.stderr)

    @pytest.mark.parametrize(
        "content",
        ["raise ValueError('x\\x1b[2Jy')", "import sys; print('a\\x1b[2Jb'); sys.stderr.write('c\\x1b[2Jd\\n')"],
    )
    def test_what_a_loaded_file_says(self, content: str, tmp_path: Path) -> None:
        file = tmp_path / "mine.py"
        file.write_text(content)
        ended = bibench_here("list", "tracks", "--load", file)
        assert not hidden(ended.stdout + ended.stderr)
        assert "\\x1b" in ended.stderr

    def test_warnings_and_logs(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.py"
        said = "import logging, warnings\nwarnings.warn('e\\x1b[2Jf')\nlogging.getLogger('x').warning('g\\x1b[2Jh')\n"
        file.write_text(said)
        ended = bibench("list", "tracks", "--load", file)
        assert not hidden(ended.stdout + ended.stderr)
        assert r"note: e\x1b[2Jf" in ended.stderr and r"g\x1b[2Jh" in ended.stderr

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
    @pytest.mark.slow
    def test_on_a_terminal_only_our_own_colours_act(self, tmp_path: Path) -> None:
        import pty

        write_file(tmp_path / "records.jsonl", records(task=ACTING, operator="[red]x[/red]\x1b[31m"))
        ours, theirs = pty.openpty()
        subprocess.run(command("score", tmp_path), stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "300"})
        os.close(theirs)
        shown = b""
        try:
            while more := os.read(ours, 65536):
                shown += more
        except OSError:  # how Linux tells the end
            pass
        os.close(ours)
        text = shown.decode()
        assert b"\x1b[1m" in shown  # titles are bold
        assert re.sub(r"\x1b\[[0-9;]*m", "", text).count("\x1b") == 0
        assert "\x1b[31m" not in text and r"[red]x[/red]\x1b[31m" in text
        assert r"t\x1b[2J\x1b]0;owned" in text


def test_the_live_display_shows_names_of_cells_as_text() -> None:
    screen = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        out = console()
    out._force_terminal = True
    with LiveDisplay(out, 1) as display:
        one = replace(cell(), model=Choice("\x1b[2Jm\u202e"))
        display.start(0, one)
        display.note("a\x1b[2Jb")
        display.end(0, one, Result("failed", "c\x9b2Jd"), 1.0)
    assert "\x1b[2J" not in screen.getvalue() and "\u202e" not in screen.getvalue() and "\x9b" not in screen.getvalue()
    assert r"a\x1b[2Jb" in screen.getvalue() and r"c\x9b2Jd" in screen.getvalue()


class TestArguments:
    def test_names_of_files_and_arguments(self, tmp_path: Path) -> None:
        for arguments in (
            ["score", tmp_path / "no\x1b[2Jne"],
            ["score", "--no\x1b[2Jne"],
            ["sc\x1b[2Jre"],
            ["list", "a\x1b[2J"],
            ["measure", "o\x1b[2Jps"],
            ["score", os.fsdecode(bytes(tmp_path) + b"/\xff\x9b31m")],
        ):
            ended = bibench_here(*arguments)
            assert ended.returncode == 2
            assert not hidden(ended.stdout + ended.stderr), arguments

    def test_a_bug_shows_its_traceback_and_nothing_acts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("a\x1b[2Jb")

        monkeypatch.setattr("bibench.cli.scoring.read", broken)
        ended = bibench_here("score", tmp_path)
        assert ended.returncode == 1
        assert "Traceback (most recent call last)" in ended.stderr
        assert r"RuntimeError: a\x1b[2Jb" in ended.stderr
        assert not hidden(ended.stderr)


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    bad = '=HYPERLINK("http://x",A1)'
    file = tmp_path / "records.jsonl"
    write_file(file, [*records(task=bad), *records(operator="@SUM(A1)"), *records(model="+1+cmd|' /C calc'!A0")])
    for verb in (("score", "--accuracies"), ("score",), ("rank",), ("coverage",)):
        ended = CliRunner().invoke(app, [*verb, str(file), "--format", "csv"])
        cells = [cell for row in csv.reader(io.StringIO(ended.stdout)) for cell in row]
        assert cells and not [cell for cell in cells if cell[:1] in "=+@" and cell], verb
        assert any(cell.startswith("'") for cell in cells)


def test_what_is_read_again_is_what_was_written(tmp_path: Path) -> None:
    """Records are data: nothing in them is changed, whatever it is."""
    file = tmp_path / "records.jsonl"
    write_file(file, records(task=ACTING))
    assert read_file(file) == records(task=ACTING)
