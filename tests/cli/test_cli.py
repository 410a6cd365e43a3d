"""Every verb as a user meets it: what is printed where, exit codes, JSON, pipes, errors."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from bibench.cli import app
from bibench.cli.display import LineDisplay, LiveDisplay, make_display
from bibench.cli.output import duration
from bibench.cli.scoring import select
from bibench.execution.worker import Result, run_cell
from bibench.foundation.errors import BiBenchError
from bibench.operators import known_operators
from bibench.records.record import Record
from bibench.suite.definition import Filters
from bibench.suite.store import RECORDS, CellDirectory
from bibench.train.cell import Hooks, Settings

from ..tracks.records import scored
from ..worlds import TINY, bibench_here, cell, command, fresh_registries, tiny_world


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> list:
        return json.loads(self.out)


Call = Callable[..., Ended]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """The command's entry point, in this process and with its output in a pipe."""

    def main(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["bibench", *map(str, arguments)])
        code = 0
        try:
            app.main()
        except SystemExit as ending:
            code = ending.code
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    with tiny_world():
        yield main


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of three finished operators, and one that fails."""
    folder = tmp_path_factory.mktemp("runs")
    with tiny_world():
        for seed in (0, 1):
            for operator in ("fp32", "bnn", "recu", "raises"):
                run_cell(cell(operator, seed=seed), Settings(folder, device="cpu"), Hooks(), anew=False)
    return folder


SELECTED = ("--load", TINY, "--operators", "bnn,recu,raises", "--seeds", "0,1")


class TestList:
    @pytest.mark.parametrize(
        ("what", "columns", "row"),
        [
            ("operators", ("name", "title", "profiles", "options", "source"), ("recu", "ReCU", "default, bibench")),
            ("models", ("name", "family", "options", "source"), ("vgg_small", "cnn", "width=128")),
            (
                "tasks",
                ("name", "title", "data", "metric", "models", "recipes"),
                ("digits_photos", "Digits over photographs (embedded)", "embedded, stands in for CIFAR-10"),
            ),
            ("suites", ("name", "cells", "tasks", "description"), ("sensitivity", "360", "cifar10")),
            ("tracks", ("name", "title", "equation"), ("learning_task", "Learning task", "Eq. 2")),
        ],
    )
    def test_catalogues(self, call: Call, what: str, columns: tuple[str, ...], row: tuple[str, ...]) -> None:
        shown, read = call("list", what), call("list", what, "--json")
        assert (shown.code, shown.err, read.code, read.err) == (0, "", 0, "")
        lines = shown.out.splitlines()
        assert tuple(re.split(r"\s{2,}", lines[0].strip())) == columns
        found = [line for line in lines if line.startswith(f"{row[0]} ")]
        assert len(found) == 1
        assert re.split(r"\s{2,}", found[0].strip())[: len(row)] == list(row)
        assert tuple(read.json[0]) == columns
        assert len([line for line in lines[2:] if line.strip()]) == len(read.json)

    def test_operators_are_in_the_papers_order_with_strangers_after_them(self, call: Call) -> None:
        names = [row["name"] for row in call("list", "operators", "--json", "--load", TINY).json]
        assert names == known_operators()
        assert names[:3] == ["fp32", "bnn", "xnor"]
        sources = {row["name"]: row["source"] for row in call("list", "operators", "--json").json}
        assert re.fullmatch(r"bibench/operators/bnn\.py:\d+", sources["bnn"])
        assert re.fullmatch(rf"{re.escape(str(TINY))}:\d+", sources["slow"])

    def test_other_things_cannot_be_listed(self, call: Call) -> None:
        ended = call("list", "operator")
        assert (ended.code, ended.out) == (2, "")
        kinds = "operators, comparators, models, tasks, suites, tracks, engines, devices"
        assert ended.err == f"error: cannot list 'operator'; choose from {kinds}\n"


class TestPlan:
    def test_groups_seeds_and_gives_reasons_once(self, call: Call, runs: Path) -> None:
        ended = call("plan", "tiny", "--runs", runs, *SELECTED)
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert lines[0] == "Plan of suite tiny"
        assert re.split(r"\s{2,}", lines[1].strip()) == [
            *("task", "model", "operator", "recipe", "seeds", "state", "time", "likely"),
        ]
        assert [re.split(r"\s{2,}", line.strip())[2:6] for line in lines[3:7]] == [
            ["fp32", "quick", "0,1", "2 done"],
            ["bnn", "quick", "0,1", "2 done"],
            ["recu", "quick", "0,1", "2 done"],
            ["raises", "quick", "0,1", "2 failed"],
        ]
        boom = 'RuntimeError: boom in forward (tiny.py:64: raise RuntimeError("boom in forward"))'
        assert f"failed: 2 cells of tiny: {boom}" in lines
        assert "8 cells: 6 done, 2 failed." in lines
        assert "To do" not in ended.out

    def test_prices_what_is_to_do(self, call: Call, runs: Path) -> None:
        ended = call("plan", "tiny", "--runs", runs, "--load", TINY, "--operators", "bnn", "--seeds", "0-3")
        assert "8 cells: 4 done, 4 missing." in ended.out
        assert re.search(r"To do: 4 cells, about \d+ s of one worker( \(\d+ to \d+ s\))? on \S", ended.out)
        assert "time: 4 cells of tiny: mean of 2 finished seeds" in ended.out
        new = call("plan", "tiny", "--runs", runs.parent / "none", "--load", TINY)
        assert "To do: 3 cells; nothing near enough tells how long they take. --probe measures a few" in new.out

    @pytest.mark.slow
    def test_rerun_and_probe(self, call: Call, runs: Path) -> None:
        rows = call("plan", "tiny", "--runs", runs, *SELECTED, "--rerun", "failed", "--json").json
        assert {row["operator"] for row in rows if row["todo"]} == {"raises"}
        (probed, *_) = call("plan", "tiny", "--runs", runs.parent / "none", "--load", TINY, "--probe", "--json").json
        assert probed["basis"].startswith("probe of 3 steps on ")
        assert 0 < probed["low"] < probed["hours"] < probed["high"]

    def test_json_has_a_row_per_cell(self, call: Call, runs: Path) -> None:
        rows = call("plan", "tiny", "--runs", runs, *SELECTED, "--json").json
        assert len(rows) == 8
        assert list(rows[0]) == [
            *("task", "model", "operator", "recipe", "seed", "state", "reason", "todo"),
            *("hours", "low", "high", "basis", "device"),
        ]


class TestStatus:
    def test_tells_what_is_neither_done_nor_missing(self, call: Call, runs: Path) -> None:
        more = ("--operators", "bnn,raises,fda", "--seeds", "0,1")
        ended = call("status", "tiny", "--runs", runs, "--load", TINY, *more)
        assert (ended.code, ended.err) == (0, "")
        boom = 'RuntimeError: boom in forward (tiny.py:64: raise RuntimeError("boom in forward"))'
        assert [line.split() for line in ended.out.splitlines() if line.startswith("tiny ")] == [
            ["tiny", "vgg_small[width=2]", "raises", str(s), "failed", *boom.split()] for s in (0, 1)
        ]
        assert f"Suite tiny in {runs}: 8 cells: 4 done, 2 failed, 2 missing." in ended.out
        assert "Failed cells keep their traceback in failure.json; run with --rerun failed" in ended.out

    def test_all_done_needs_one_line(self, call: Call, runs: Path) -> None:
        ended = call("status", "tiny", "--runs", runs, "--load", TINY)
        assert ended.out == f"Suite tiny in {runs}: 3 cells: 3 done.\n"

    def test_json(self, call: Call, runs: Path) -> None:
        rows = call("status", "tiny", "--runs", runs, *SELECTED, "--json").json
        assert [row["state"] for row in rows] == ["done"] * 6 + ["failed"] * 2


class TestScore:
    def test_tables(self, call: Call, runs: Path) -> None:
        ended = call("score", runs)
        assert (ended.code, ended.err) == (0, "")
        tables = re.split(r"\n(?=\w+ .*track \()", ended.out)
        accuracies, learning, _, architecture, corrected = tables
        assert "Neural architecture track (Eq. 3), chance-corrected, recipe quick" in corrected
        covered, accuracies = accuracies.split("\n\n", 1)
        assert covered == "Coverage: 6 of 8 cells: 2 failed (the cells of the plan)"
        assert accuracies.startswith(
            "accuracy on tiny, test split, percent: mean ± standard deviation over seeds - emb"
        )
        assert "not comparable with published numbers" in accuracies
        number = r"\d+\.\d ± \d+\.\d"
        assert re.search(rf"^fp32 +{number}", accuracies, re.M)
        assert re.search(r"^raises +failed", accuracies, re.M)
        assert learning.startswith(
            "Learning task track (Eq. 2), recipe quick, percent of full precision ± standard error"
        )
        chance = r"(\w+: .*collapsed(; )?)?"  # networks this small may be no better than a constant answer
        assert re.search(rf"^bnn +{number} +\d+\.\d +{chance} *$", learning, re.M)
        assert re.search(r"^raises +- +- +tiny: 0 of 2 cells; om: 0 of 1 tasks *$", learning, re.M)
        assert not re.search(r"^fp32", learning, re.M)
        assert re.search(rf"^recu +{number} +\d+\.\d +{chance}om: 1 of 3 families *$", architecture, re.M)

    def test_json_and_csv_say_the_same(self, call: Call, runs: Path) -> None:
        data = call("score", runs, "--format", "json").json
        text = call("score", runs, "--format", "csv").out
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [list(row) for row in rows] == [list(row) for row in data]
        assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in data] == rows
        assert {row["track"] for row in data} == {"learning_task", "neural_architecture"}
        assert {row["recipe"] for row in data} == {"quick"}

    def test_accuracies(self, call: Call, runs: Path) -> None:
        data = call("score", runs, "--format", "json", "--accuracies").json
        assert [(row["operator"], row["seeds"], row["missing"]) for row in data] == [
            *(("fp32", 2, 0), ("bnn", 2, 0), ("recu", 2, 0), ("raises", 0, 2)),
        ]
        rows = list(csv.DictReader(io.StringIO(call("score", runs, "--format", "csv", "--accuracies").out)))
        assert [float(row["mean"] or "nan") for row in rows[:3]] == [row["mean"] for row in data[:3]]

    def test_several_folders_and_files(self, call: Call, runs: Path) -> None:
        files = [CellDirectory(runs, cell(o)).file(RECORDS) for o in ("fp32", "bnn")]
        data = call("score", *files, "--format", "json", "--accuracies").json
        assert [(row["operator"], row["seeds"]) for row in data] == [("fp32", 1), ("bnn", 1)]

    def test_recipes_get_tables_of_their_own(self, call: Call, tmp_path: Path) -> None:
        for recipe in ("quick", "quick[epochs=1]"):
            for operator in ("fp32", "bnn"):
                run_cell(cell(operator, recipe), Settings(tmp_path, device="cpu"), Hooks(), anew=False)
        printed = call("score", tmp_path).out
        assert re.search(r"^operator +vgg_small quick +vgg_small quick\[epochs=1\] ", printed, re.M)
        assert printed.count("Learning task track (Eq. 2), recipe quick, ") == 1
        assert printed.count("Learning task track (Eq. 2), recipe quick[epochs=1], ") == 1

    def test_what_cannot_be_scored(self, call: Call, runs: Path, tmp_path: Path) -> None:
        (tmp_path / RECORDS).write_text('{"schema": 1}\n')
        for arguments, problem in (
            ((tmp_path / "none",), "none does not exist; expected a run folder, a records file or published"),
            ((tmp_path.parent / tmp_path.name,), f"{RECORDS}:1: field 'kind' is missing"),
            ((runs, "--format", "xml"), "--format must be table, json, csv, markdown or latex; got 'xml'"),
        ):
            ended = call("score", *arguments)
            assert (ended.code, ended.out) == (2, "")
            assert ended.err.startswith("error: ")
            assert problem in ended.err
        (tmp_path / RECORDS).unlink()
        assert call("score", tmp_path).err == f"error: no records in {tmp_path}; run a suite first\n"


class TestCheck:
    @pytest.fixture(autouse=True)
    def _forget(self) -> Iterator[None]:
        with fresh_registries():
            yield

    def test_the_example_keeps_all_contracts(self, call: Call, root: Path) -> None:
        ended = call("check", root / "examples" / "my_operator.py")
        assert (ended.code, ended.err) == (0, "")
        rows = [line for line in ended.out.splitlines() if line.startswith("operator my_operator ")]
        assert len(rows) >= 8
        assert all(re.search(r" holds *$", row) for row in rows)
        assert f"{len(rows)} of {len(rows)} contracts hold." in ended.out

    def test_a_broken_contract_is_shown_and_exits_1(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "bad.py").write_text(
            "import bibench\n\n@bibench.operator('bad')\nclass Bad(bibench.Operator):\n"
            "    def output(self, y, x):\n        return y[..., :-1]\n"
        )
        ended = call("check", tmp_path / "bad.py")
        assert ended.code == 1
        assert re.search(r"^operator bad +output has the float layers shape +BROKEN *$", ended.out, re.M)
        assert re.search(r"^operator bad: output has the float layers shape: \S", ended.out, re.M)
        read = call("check", tmp_path / "bad.py", "--json")
        assert read.code == 1
        broken = [row for row in read.json if row["problem"]]
        assert "output_has_the_float_layers_shape" in {row["contract"] for row in broken}
        assert list(broken[0]) == ["kind", "name", "contract", "problem"]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (
                "import bibench\n\n1 / 0\n",
                "stranger.py cannot be imported: line 3: ZeroDivisionError: division by zero",
            ),
            ("def f(:\n", "stranger.py cannot be imported: line 1: SyntaxError: "),
            ("import no_such_library\n", "line 1: ModuleNotFoundError: No module named 'no_such_library'"),
            ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
            ("x = 1\n", "stranger.py defines no operator, compressor, model or task; decorate one"),
            (
                "import bibench\n@bibench.operator('bnn')\nclass B(bibench.Operator):\n    pass\n",
                "operator 'bnn' is defined twice: in ",
            ),
            (
                "import bibench\n@bibench.operator('x')\nclass B:\n    pass\n",
                "decorates a subclass of bibench.Operator",
            ),
        ],
    )
    def test_files_that_define_nothing_usable(self, call: Call, tmp_path: Path, content: str, problem: str) -> None:
        (tmp_path / "stranger.py").write_text(content)
        ended = call("check", tmp_path / "stranger.py")
        assert (ended.code, ended.out) == (2, "")
        assert problem in ended.err
        assert "Traceback" not in ended.err

    @pytest.mark.parametrize("name", ["none.py", "folder", "text.txt"])
    def test_what_is_no_python_file(self, call: Call, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "text.txt").write_text("x")
        for arguments in (("check", tmp_path / name), ("plan", "quick", "--load", tmp_path / name)):
            ended = call(*arguments)
            assert ended.code == 2
            assert f"{name}: expected an existing Python file (.py), found none there" in ended.err


class TestEnv:
    def test_tells_versions_and_machine(self, call: Call) -> None:
        import torch

        shown, read = call("env"), call("env", "--json")
        assert (shown.code, shown.err, read.code) == (0, "", 0)
        facts = json.loads(read.out)
        assert torch.__version__.startswith(facts["torch"])
        assert facts["$BIBENCH_CACHE"] == os.environ["BIBENCH_CACHE"]
        assert facts["$BIBENCH_DATA"] == "not set"
        for name in facts:
            assert re.search(rf"^{re.escape(name)} +\S", shown.out, re.M), name


class TestErrors:
    @pytest.mark.parametrize("verb", ["plan", "status", "run"])
    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("quik",), "unknown suite 'quik'; did you mean 'quick'?"),
            (("quick", "--operators", "reactnt"), "unknown operator 'reactnt'; did you mean 'reactnet'"),
            (("quick", "--models", "vgg_smal"), "unknown model 'vgg_smal'; did you mean 'vgg_small'?"),
            (("quick", "--tasks", "digit_photos"), "unknown task 'digit_photos'; did you mean 'digits_photos'"),
            (
                ("quick", "--operators", "xnor[act=1]"),
                "operator 'xnor' has no option 'act'; it has: profile='default', act",
            ),
            (("quick", "--recipe", "slow"), "task 'digits_photos' has no recipe 'slow'; it has: paper, quick, smoke"),
            (("quick", "--tasks", "imagenet"), "task 'imagenet' is not in suite 'quick', which has: digits_photos"),
            (("quick", "--seeds", "one"), "--seeds: 'one' is neither a number nor a range such as 0-4"),
            (("quick", "--data-root", "/no/such/folder"), "/no/such/folder is not an existing folder"),
        ],
    )
    def test_names_and_filters(self, call: Call, tmp_path: Path, verb: str, arguments: tuple, problem: str) -> None:
        ended = call(verb, *arguments, "--runs", tmp_path / "runs")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: ")
        assert ended.err.count("\n") == 1
        assert problem in ended.err
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("--rerun", "everything"), "--rerun must be one of missing, failed, stale, all; got 'everything'"),
            (("--device", "cuda:77"), "--device cuda:77: this machine has cpu"),
            (("--device", "cuda:0,1"), "--device cuda:0,1: a cell trains on one device; name one of them, or"),
            (("--device", "abacus"), "--device abacus: this machine has cpu"),
            (("--workers", "0"), "Invalid value for '--workers'"),
            (("--operator", "bnn"), "No such option: --operator"),
        ],
    )
    def test_options_of_run(self, call: Call, tmp_path: Path, arguments: tuple, problem: str) -> None:
        ended = call("run", "quick", "--runs", tmp_path / "runs", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert problem in " ".join(ended.err.replace("│", " ").split())
        assert not (tmp_path / "runs").exists()

    def test_help_tells_verbs_and_exit_codes(self, call: Call) -> None:
        ended = call("--help")
        assert ended.code == 0
        for verb in ("list", "plan", "run", "status", "score", "data", "check", "env"):
            assert re.search(rf"^│ {verb} +\w", ended.out, re.M)
        assert "Exit codes: 0 success, 1 failed cells, broken contracts or unusable data, 2 user error" in " ".join(
            ended.out.split()
        )

    def test_examples_in_the_help_are_whole(self, call: Call) -> None:
        printed = " ".join(call("run", "--help").out.replace("│", " ").split())
        for example in ("bnn,recu[scale_init=weight]", "resnet20[width=8]", "paper[epochs=50]"):
            assert example in printed


WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in names else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

names = sys.argv.pop(1).split(",")
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from bibench.cli.app import main
main()
"""


class TestMissingLibraries:
    def without(self, names: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run ``bibench`` where some libraries are not installed."""
        return subprocess.run(
            [sys.executable, "-c", WITHOUT, names, *map(str, arguments)], capture_output=True, text=True, timeout=300
        )

    @pytest.mark.parametrize("name", ["lightning_fabric", "torchmetrics", "filelock"])
    @pytest.mark.slow
    def test_run_names_the_line_that_installs_them(self, tmp_path: Path, name: str) -> None:
        ended = self.without(name, "run", "quick", "--runs", tmp_path / "runs")
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.endswith(
            f"needs the library {name.replace('_', '-')}, which is not installed; "
            "install it with: pip install 'bibench[bench]'\n"
        )
        assert not (tmp_path / "runs").exists()

    def test_so_does_the_command_itself(self) -> None:
        ended = self.without("typer", "list", "operators")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == f"error: {app.INSTALL}\n"
        assert "pip install 'bibench[bench]'" in app.INSTALL

    @pytest.mark.slow
    def test_looking_needs_no_library_of_training(self, runs: Path) -> None:
        heavy = "lightning_fabric,torchmetrics,filelock,sklearn,skimage,tensorboard"
        ended = self.without(heavy, "plan", "quick", "--operators", "bnn", "--runs", runs)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "12 cells: 12 missing." in ended.stdout


@pytest.mark.slow
class TestPipes:
    @pytest.mark.slow
    def test_no_colour_and_no_cut_columns(self, tmp_path: Path) -> None:
        long = "bnn[profile=original,clip_latent_weights=True],recu[profile=bibench,scale_init=weight]"
        options = (
            "--operators",
            long,
            "--recipe",
            "quick[epochs=3,batch_size=33,lr=0.0123,schedule=linear,warmup=0.1]",
        )
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "40"}
        ended = subprocess.run(
            command("plan", "quick", "--runs", tmp_path, *options),
            capture_output=True,
            text=True,
            timeout=300,
            env={k: v for k, v in environment.items() if k not in ("NO_COLOR", "FORCE_COLOR")},
        )
        assert ended.returncode == 0
        assert "\x1b" not in ended.stdout
        assert "…" not in ended.stdout
        rows = [line for line in ended.stdout.splitlines() if line.startswith("digits_photos ")]
        assert len(rows) == 6
        assert all("quick[batch_size=33,epochs=3,lr=0.0123,schedule=linear,warmup=0.1]" in row for row in rows)
        assert sum("recu[profile=bibench,scale_init=weight]" in row for row in rows) == 2

    @pytest.mark.parametrize("arguments", [("list", "operators"), ("list", "operators", "--json"), ("plan", "paper")])
    @pytest.mark.slow_but("arguments0")
    def test_a_reader_that_goes_away_is_no_error(self, arguments: tuple[str, ...]) -> None:
        process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.close()  # before anything was written, as `| head -0` may
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(60) in (0, 1)

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
    @pytest.mark.slow_but("ascii")
    def test_a_locale_without_our_signs_loses_no_output(self, encoding: str) -> None:
        ended = subprocess.run(
            command("score", "published", "--tasks", "cifar10", "--operators", "bnn"),
            capture_output=True,
            timeout=300,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert "Learning task track" in ended.stdout.decode(encoding)

    @pytest.mark.slow
    def test_a_narrow_terminal_folds_but_cuts_nothing(self) -> None:
        pty = pytest.importorskip("pty")
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm"}
        process = subprocess.Popen(command("list", "operators"), stdout=theirs, env=environment)
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # Linux: the other end is closed
            pass
        assert process.wait(60) == 0
        text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 60
        for name in known_operators():
            assert re.search(rf"^{name[:6]}", text, re.M)

    @pytest.mark.slow
    def test_run_json_is_alone_on_standard_output(self, runs: Path, tmp_path: Path) -> None:
        ended = bibench_here(
            "run", "tiny", "--runs", tmp_path, "--load", TINY, "--operators", "bnn,impossible", "--json"
        )
        assert ended.returncode == 0, ended.stderr
        data = json.loads(ended.stdout)
        assert [(c["operator"], c["status"]) for c in data["cells"]] == [
            *(("fp32", "done"), ("bnn", "done"), ("impossible", "unsupported")),
        ]
        assert data["cells"][2]["reason"].endswith("too small for it")
        assert {s["operator"] for s in data["scores"]} == {"bnn"}
        assert "[1/2] tiny vgg_small[width=2] fp32 quick seed 0: done, validation" in ended.stderr
        assert "2 trained, 1 unsupported in" in ended.stderr


class TestDisplay:
    EVENT = {"epoch": 1, "epochs": 4, "fraction": 0.25, "loss": 1.5, "validation": 0.5}

    def show(self, terminal: bool) -> tuple[LineDisplay, str]:
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=terminal, width=120, markup=False, highlight=False)
        with make_display(console, 3) as display:
            display.start(0, cell("bnn"))
            display.event(0, self.EVENT)
            display.start(1, cell("recu"))
            display.end(0, cell("bnn"), Result("done"), 1.2)
            display.start(0, cell("fda"))
            display.event(0, {**self.EVENT, "loss": None, "validation": None})
            display.end(0, cell("fda"), Result("failed", "RuntimeError: [boom]\nsecond line"), 130.0)
            display.end(-1, cell("xnor"), Result("failed", "blocked"), 0.0)
            display.note("a note with [brackets]")
        return display, stream.getvalue()

    def test_in_a_pipe_each_cell_is_a_line(self) -> None:
        display, shown = self.show(terminal=False)
        assert type(display) is LineDisplay
        assert shown.splitlines() == [
            "[1/3] tiny vgg_small[width=2] bnn quick seed 0: done, validation 50.0 % (1 s)",
            "[2/3] tiny vgg_small[width=2] fda quick seed 0: failed: RuntimeError: [boom] (2 min)",
            "[3/3] tiny vgg_small[width=2] xnor quick seed 0: failed: blocked (0 s)",
            "a note with [brackets]",
        ]

    def test_on_a_terminal_bars_move_below_these_lines(self) -> None:
        display, shown = self.show(terminal=True)
        assert type(display) is LiveDisplay
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        assert "[1/3] tiny vgg_small[width=2] bnn quick seed 0: done, validation 50.0 % (1 s)" in text
        assert "[2/3] tiny vgg_small[width=2] fda quick seed 0: failed: RuntimeError: [boom] (2 min)" in text
        assert "all cells" in text

    @pytest.mark.parametrize(
        ("hours", "text"),
        [
            (None, "?"),
            (0, "0 s"),
            (119 / 3600, "119 s"),
            (0.05, "3 min"),
            (1.9, "114 min"),
            (2.04, "2.0 h"),
            (50, "50.0 h"),
        ],
    )
    def test_durations(self, hours: float | None, text: str) -> None:
        assert duration(hours) == text


class TestScoreFilters:
    """`bibench score` takes the filters of the other verbs."""

    def records(self) -> list[Record]:
        return scored(
            {
                ("digits_photos", model, operator, seed): value
                for operator, value in (("fp32", 0.8), ("bnn", 0.4), ("recu[scale_init=weight]", 0.6))
                for model in ("resnet20", "vgg_small[width=8]")
                for seed in (0, 1)
            }
        )

    def test_bare_names_and_baselines(self) -> None:
        chosen = select(self.records(), Filters(operators=["recu"], models=["vgg_small"], seeds=[1]))
        assert [(r.operator, r.model, r.seed) for r in chosen] == [
            ("fp32", "vgg_small[width=8]", 1),
            ("recu[scale_init=weight]", "vgg_small[width=8]", 1),
        ]

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            (Filters(operators=["fda"]), r"no record has the operator fda; the records have: bnn, fp32, recu\["),
            (Filters(models=["resnet20[width=8]"]), r"no record has the model resnet20\[width=8\]"),
            (Filters(recipe="paper"), "no record has the recipe paper; the records have: quick"),
            (Filters(seeds=[7]), "no record has a seed among 7"),
        ],
    )
    def test_filters_that_leave_nothing(self, wanted: Filters, message: str) -> None:
        with pytest.raises(BiBenchError, match=message):
            select(self.records(), wanted)
