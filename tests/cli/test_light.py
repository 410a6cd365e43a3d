"""No verb imports PyTorch that does not need it; help, versions, closed pipes, and what takes long says so."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bibench.cli import doing
from bibench.cli.commands import VERBS, app
from bibench.cli.groups import DATA, DEPLOY, LATENCY
from bibench.cli.later import Later, Verb
from bibench.cli.measuring import VERBS as MEASURE
from bibench.data.location import CACHE

from ..worlds import bibench_here, command

HELPS = (
    "--help",
    "-h",
    "--version",
    *(f"{verb} --help" for verb in VERBS),
    *(f"measure {verb} -h" for verb in MEASURE),
    *(f"latency {verb} -h" for verb in LATENCY),
    *(f"data {verb} -h" for verb in DATA),
    *(f"deploy {verb} -h" for verb in DEPLOY),
)
ALWAYS = (*HELPS, "list nothing", "score --formt x", "scor")
"""Never need PyTorch."""
ONCE = (
    *(f"list {what}" for what in ("operators", "comparators", "models", "tasks", "suites", "tracks")),
    *("list engines", "list devices", "status smoke RUNS", "coverage RUNS", "score RUNS", "rank RUNS --samples 200"),
    *("score published", "coverage published", "rank published --samples 200 --tracks learning_task"),
    *("versus bnn xnor published --samples 200", "recommend published --task imagenet --device x --no-count-sizes"),
)
"""Need it the first time, and what they were told then is remembered."""

EACH = """
import json, os, sys
from bibench.cli.app import main
for asked in json.loads(sys.argv[1]):
    sys.argv = ["bibench", *asked.split()]
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    sys.stdout.flush()
    print(json.dumps([asked, code, "torch" in sys.modules]), file=sys.stderr)
"""


def each(asked: list[str], cache: Path) -> dict[str, tuple[int, bool]]:
    """Exit code of every verb, one after the other in one process, and whether PyTorch was imported by then."""
    ended = subprocess.run(
        [sys.executable, "-c", EACH, json.dumps(asked)],
        capture_output=True,
        text=True,
        env={**os.environ, CACHE: str(cache)},
    )
    assert ended.returncode == 0, ended.stderr
    told = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("[")]
    return {name: (code, torch) for name, code, torch in told}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one trained cell of an embedded task, and its baseline."""
    folder = tmp_path_factory.mktemp("small")
    asked = ("--tasks", "shapes", "--models", "pointnet_vanilla[width=16]", "--operators", "bnn")
    ended = bibench_here("run", "smoke", "--runs", folder, *asked, "--workers", "1")
    assert ended.returncode == 0, ended.stderr
    return folder


class TestWithoutTorch:
    def test_help_versions_and_mistakes(self, tmp_path: Path) -> None:
        found = each(list(ALWAYS), tmp_path)
        assert [name for name, (_, torch) in found.items() if torch] == []
        assert {name: code for name, (code, _) in found.items() if name in HELPS} == dict.fromkeys(HELPS, 0)
        assert len(found) == len(ALWAYS)

    @pytest.mark.slow
    def test_what_only_looks_does_without_once_it_was_told(self, tmp_path: Path, small: Path) -> None:
        asked = [verb.replace("RUNS", str(small)) for verb in ONCE]
        first = each(asked, tmp_path)
        assert {code for code, _ in first.values()} == {0}
        assert all(torch for _, torch in list(first.values())[:1])  # or the second time would prove nothing
        again = each(asked, tmp_path)
        assert {name: code for name, (code, _) in again.items()} == dict.fromkeys(asked, 0)
        assert [name for name, (_, torch) in again.items() if torch] == []


class TestVersionAndHelp:
    def test_version(self) -> None:
        ended = bibench_here("--version")
        assert ended.returncode == 0
        assert ended.stdout.startswith("bibench 0.")
        assert "PyTorch 2." in ended.stdout
        assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in ended.stdout

    @pytest.mark.parametrize("verb", ["", "run", "latency", "latency import", "data where", "measure"])
    def test_h_is_help(self, verb: str) -> None:
        short, long = bibench_here(*verb.split(), "-h"), bibench_here(*verb.split(), "--help")
        assert (short.returncode, short.stdout) == (0, long.stdout)
        assert f"bibench {verb}".strip() in short.stdout

    @pytest.mark.parametrize("asked", ["--help", "list operators", "score published", "coverage published --json"])
    def test_a_closed_pipe_is_no_error(self, asked: str) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            ended = subprocess.run(command(*asked.split()), stdout=writing, stderr=subprocess.PIPE, text=True)
        finally:
            os.close(writing)
        assert (ended.returncode, ended.stderr) == (0, "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """In the place of standard error, where what takes longer than nothing says so."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(doing, "PATIENCE", 0.05)
    return terminal


class TestDoing:
    def test_what_takes_long_says_what_it_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = at_terminal(monkeypatch)
        doing.doing("reading the records")
        waited()
        assert terminal.getvalue() == "reading the records ...\n"

    def test_what_is_done_before_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = at_terminal(monkeypatch)
        doing.doing("reading the records")
        doing.done()
        waited()
        assert terminal.getvalue() == ""

    def test_what_comes_next_takes_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = at_terminal(monkeypatch)
        doing.doing("reading the records")
        doing.doing("drawing the pages")
        waited()
        assert terminal.getvalue() == "drawing the pages ...\n"

    def test_nothing_is_said_into_a_pipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pipe = io.StringIO()
        monkeypatch.setattr(sys, "stderr", pipe)
        monkeypatch.setattr(doing, "PATIENCE", 0.0)
        doing.doing("reading the records")
        assert (doing._timer, pipe.getvalue()) == (None, "")

    def test_every_verb_says_something_of_itself(self) -> None:
        for verbs in (VERBS, MEASURE, LATENCY, DATA, DEPLOY):
            for name, verb in verbs.items():
                assert verb.doing and not verb.doing.endswith("."), name
                assert verb.help.endswith("."), name

    def test_a_verb_that_takes_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = at_terminal(monkeypatch)
        from bibench.cli import catalogue

        began = threading.Event()

        def slow() -> list[dict[str, str]]:
            began.set()
            waited()
            return [{"name": "slow"}]

        monkeypatch.setattr(catalogue, "CATALOGUES", {"operators": slow})
        monkeypatch.setattr(sys, "argv", ["bibench", "list", "operators"])
        with pytest.raises(SystemExit) as ended:
            app(prog_name="bibench")
        assert ended.value.code == 0
        assert began.is_set()
        assert terminal.getvalue() == f"{VERBS['list'].doing} ...\n"
        assert doing._timer is None


def waited() -> None:
    """Until whoever was to say something has said it."""
    if doing._timer is not None:
        doing._timer.join(10)


def test_a_verb_is_found_where_its_place_says() -> None:
    for verbs in (VERBS, MEASURE, LATENCY, DATA, DEPLOY):
        for name, verb in verbs.items():
            stand_in = type("One", (Later,), {"verb": Verb(*verb)})(name)
            assert stand_in.command().name == name
