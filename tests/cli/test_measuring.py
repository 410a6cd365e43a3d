"""``bibench measure training-cost``, and what ``score`` makes of it and of a sensitivity study."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bibench.measure import training_cost
from bibench.measure.session import run_session
from bibench.records.record import read
from bibench.suite.store import RECORDS

from ..tracks.test_training_consumption import published, run, runs, timed
from ..worlds import TINY
from .test_cli import Call, call

__all__ = ["call"]

TASK = ("measure", "training-cost", "--load", TINY, "--task", "tiny", "--model", "vgg_small[width=2]", "--rounds", "2")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions run in this process, which spares the start of another one."""

    def in_process(asked, note):
        return run_session(asked, lambda name, news: note(news))

    monkeypatch.setattr(training_cost, "run_isolated", in_process)


@pytest.mark.usefixtures("here")
class TestTrainingCost:
    def test_prints_a_row_for_each_and_writes_the_records(self, call: Call, tmp_path: Path) -> None:
        ended = call(*TASK, "--operators", "bnn,recu", "--threads", "1", "--runs", tmp_path)
        assert ended.code == 0
        lines = ended.out.splitlines()
        assert lines[0].startswith(
            "Training step on tiny, vgg_small[width=2], recipe paper, batch 16, 1 thread(s), cpu: "
        )
        assert "medians of 2 interleaved rounds [quartiles]" in lines[0]
        rows = [re.split(r"\s{2,}", line.strip()) for line in lines[3:7]]
        assert [row[0] for row in rows[:2]] == ["fp32 (contiguous)", "fp32 (channels_last)"]
        assert [row[-1] for row in rows[:2]].count("slower format") == 1
        assert [row[0] for row in rows[2:]] == ["bnn (channels_last)", "recu (channels_last)"]
        for row in rows[2:]:
            assert re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", row[-1])
        assert "1 thread(s): round 1 of at most 2" in ended.err
        stored = read([tmp_path])
        assert {r.operator for r in stored} == {"fp32", "bnn", "recu"}
        assert {(r.kind, r.recipe, r.batch_size, r.threads) for r in stored} == {("cost", "paper", 16, 1)}

    @pytest.mark.slow
    def test_json_and_csv_are_the_records(self, call: Call, tmp_path: Path) -> None:
        ended = call(*TASK, "--operators", "bnn", "--threads", "1", "--runs", tmp_path / "a", "--format", "json")
        assert [r["value"] for r in ended.json] == [r.value for r in read([tmp_path / "a"])]
        ended = call(*TASK, "--operators", "bnn", "--threads", "1", "--runs", tmp_path / "b", "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(ended.out)))
        assert [float(r["value"]) for r in rows] == [r.value for r in read([tmp_path / "b"])]

    @pytest.mark.slow
    def test_every_thread_count_is_a_session(self, call: Call, tmp_path: Path) -> None:
        ended = call(*TASK, "--operators", "bnn", "--threads", "1,2", "--batch-size", "8", "--runs", tmp_path)
        assert ended.out.count("Training step on tiny") == 2
        assert {(r.threads, r.batch_size) for r in read([tmp_path])} == {(1, 8), (2, 8)}

    def test_an_operator_that_fails_is_a_row_and_exit_1(self, call: Call, tmp_path: Path) -> None:
        ended = call(*TASK, "--operators", "raises,bnn,impossible", "--threads", "1", "--runs", tmp_path, "--force")
        assert ended.code == 1
        assert re.search(
            r"^raises \(channels_last\) .* failed: RuntimeError: boom in forward \(.*tiny.py:64: .*\) *$",
            ended.out,
            re.M,
        )
        assert re.search(
            r"^impossible \(channels_last\) .* unsupported: layer .* is too small for it *$", ended.out, re.M
        )
        assert re.search(r"^bnn \(channels_last\) .*\d \[", ended.out, re.M)

    @pytest.mark.slow
    def test_the_embedded_task_is_measured_as_in_the_study(self, call: Call, tmp_path: Path) -> None:
        where = ("--task", "digits_photos", "--model", "vgg_small[width=2]", "--operators", "bnn", "--batch-size", "4")
        call("measure", "training-cost", *where, "--rounds", "2", "--threads", "1", "--runs", tmp_path)
        assert {r.recipe for r in read([tmp_path])} == {"sensitivity"}

    def test_the_score_reads_it(self, call: Call, tmp_path: Path) -> None:
        call(*TASK, "--operators", "bnn", "--threads", "1", "--runs", tmp_path)
        printed = call("score", tmp_path)
        assert (printed.code, printed.err) == (0, "")
        assert "Training consumption track (Eq. 6), recipe paper" in printed.out
        assert re.search(r"^bnn +\d+\.\d +- +om: needs sensitivity \(run the suite", printed.out, re.M)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("--threads", "none"), "--threads: 'none' is no positive number; expected as in: 1,2"),
            (("--threads", "0"), "--threads: '0' is no positive number"),
            (("--format", "xml"), "--format must be table, json or csv; got 'xml'"),
            (("--operators", "bnnn"), "unknown operator 'bnnn'; did you mean 'bnn'"),
            (("--task", "tny"), "unknown task 'tny'; did you mean 'tiny'"),
            (("--model", "vgg_smal"), "unknown model 'vgg_smal'; did you mean 'vgg_small'"),
            (("--recipe", "fast"), "task 'tiny' has no recipe 'fast'"),
            (("--recipe", "quick[lr=0]"), "lr must be a positive number"),
            (("--device", "cuda:7"), "--device cuda:7: this machine has cpu"),
            (("--task", "cifar10", "--model", "resnet20"), "task 'cifar10': no data root given; pass --data-root"),
        ],
    )
    def test_refusals(self, call: Call, tmp_path: Path, arguments: tuple[str, ...], problem: str) -> None:
        ended = call(*TASK, "--runs", tmp_path, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert problem in ended.err
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_in_a_process_of_its_own(call: Call, tmp_path: Path) -> None:
    """One that dies is a row with its reason; the others have their numbers."""
    ended = call(*TASK, "--operators", "dies,bnn", "--threads", "1", "--runs", tmp_path, "--force")
    assert ended.code == 1
    assert re.search(
        r"^dies .* failed: the process died in its turn \(signal SIGKILL; out of memory\?\)", ended.out, re.M
    )
    assert re.search(r"^bnn \(channels_last\) .*\d \[", ended.out, re.M)


class TestScoreOfAStudy:
    @pytest.fixture
    def study(self, tmp_path: Path) -> Path:
        file = tmp_path / RECORDS
        own = {"source": "", "study": "sensitivity"}
        records = [replace(r, recipe=r.recipe.replace(r.study, own["study"]), **own) for r in published()]
        records.append(timed("fda", 0.2062))
        file.write_text("".join(r.to_line() + "\n" for r in records))
        return file

    def test_the_tables(self, call: Call, study: Path) -> None:
        ended = call("score", study)
        assert (ended.code, ended.err) == (0, "")
        accuracies, track = ended.out.split("\nTraining consumption track (Eq. 6), recipe sensitivity, ")
        assert accuracies.startswith("Coverage: 360 of 360 cells (the grid that the records span")
        assert "\n\nStudy sensitivity: scores of the runs on cifar10, resnet18, test split, percent" in accuracies
        assert re.search(r"^bnn +all +78\.\d+ +11\.95 +89\.34 +51\.77 +40 +0 *$", accuracies, re.M)
        assert re.search(r"^fda +36\.6 +20\.6 +29\.7 *$", track, re.M)
        assert re.search(
            r"^xnor +175\.5 +- +- +time_cost: not measured; om: needs time_cost \(bibench measure training-cost\)",
            track,
            re.M,
        )
        assert "Learning task" not in ended.out

    def test_each_setting(self, call: Call, study: Path) -> None:
        ended = call("score", study, "--settings")
        assert len(re.findall(r"^bnn ", ended.out, re.M)) == 9
        assert re.search(r"^fp32 +sgd 0\.1 cosine +94\.\d+ ", ended.out, re.M)
        data = call("score", study, "--settings", "--format", "json").json
        assert len(data) == 9 * 9
        row = next(r for r in data if (r["operator"], r["setting"]) == ("fp32", "sgd 0.1 cosine"))
        assert (row["best"], row["runs"], row["collapsed"]) == (pytest.approx(95.05), 5, 0)

    def test_filters_narrow_it(self, call: Call, study: Path) -> None:
        data = call("score", study, "--recipe", "sensitivity[optimizer=adam]", "--settings", "--format", "json").json
        assert {r["setting"] for r in data} == {
            "all",
            *(f"adam {lr} {s}" for lr in (0.001, 0.0001) for s in ("step", "cosine")),
        }
        ended = call("score", study, "--recipe", "sensitivity[optimizer=adam]", "--operators", "bnn")
        assert "sensitivity: cifar10 resnet18: 4 of 8 settings" in ended.out

    def test_the_plot(self, call: Call, study: Path, tmp_path: Path) -> None:
        ended = call("score", study, "--plot", tmp_path / "figure.svg", "--operators", "bnn")
        assert (ended.code, ended.err) == (0, "")
        assert (tmp_path / "figure.svg").read_text().count("<title>") == 80
        ended = call("score", study, "--plot", tmp_path / "figure.png")
        assert (ended.code, ended.out) == (2, "")
        assert "expected a file name that ends in .svg or .html" in ended.err

    def test_failed_and_collapsed_runs_are_counted(self, call: Call, tmp_path: Path) -> None:
        records = [
            *runs("fp32", 0.8, 0.9),
            run("bnn", 0.1, 0, flags="collapsed"),
            run("bnn", 0.9, 1),
            run("bnn", None, 2),
        ]
        (tmp_path / RECORDS).write_text("".join(r.to_line() + "\n" for r in records))
        assert re.search(r"^bnn +all +50\.00 +56\.57 +90\.00 +10\.00 +2 +50 +1 *$", call("score", tmp_path).out, re.M)
