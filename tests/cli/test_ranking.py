"""``bibench rank`` and ``bibench coverage`` as a user meets them."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from bibench.records.record import Record

from ..statistics.worlds import B, D, X, cell, world
from ..worlds import TINY
from .test_cli import Call, call, runs

__all__ = ["call", "runs"]


def written(folder: Path, records: list[Record]) -> Path:
    file = folder / "records.jsonl"
    file.write_text("".join(r.to_line() + "\n" for r in records))
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    means = {B: {"t": 0.5, "u": 0.6}, X: {"t": 0.7, "u": 0.8}, D: {"t": 0.7, "u": 0.8}}
    return written(tmp_path, world(means, 3, 0.02))


def test_coverage_stands_before_the_ranks_and_tells_of_failures(call: Call, tmp_path: Path) -> None:
    records = [*world({B: {"t": 0.5}, X: {"t": 0.7}}, 3), *cell(D, 0.6, None, 0.6)]
    out = call("rank", written(tmp_path, records), "--track", "learning_task").out
    assert "11 of 12 cells: 1 failed" in out
    assert out.index("11 of 12 cells") < out.index("Learning task track, om")
    assert "95 % intervals over seeds" in out and "without one task" in out
    assert "corrected by Holm for 3 comparisons at 95 %" in out


def test_the_first_line_says_how_little_there_is(call: Call, file: Path, tmp_path: Path) -> None:
    few = "Three seeds, two tasks: so few tasks hardly speak for others."
    assert call("rank", file, "--track", "learning_task").out.splitlines()[0] == few
    for format in ("markdown", "latex"):
        assert call("rank", file, "--track", "learning_task", "--format", format).out.startswith(few)
    assert call("rank", file, "--track", "learning_task", "--format", "csv").err.splitlines()[0] == few
    (found,) = call("rank", file, "--track", "learning_task", "--format", "json").json
    assert found["evidence"] == few
    out = call("rank", file, "--track", "learning_task", "--seeds", "0", "--tasks", "t").out
    assert out.startswith("One seed, one task: one seed does not tell how far another would move a score, and one task")
    many = {f"t{n}": 0.5 for n in range(11)}
    (tmp_path / "more").mkdir()
    enough = written(tmp_path / "more", world({B: many, X: many}, 3))
    assert call("rank", enough, "--track", "learning_task").out.startswith("Learning task track: cells")


def test_average_ranks_and_their_critical_difference(call: Call, file: Path, tmp_path: Path) -> None:
    many = {f"t{n}": 0.5 for n in range(11)}
    records = world({B: many, X: dict.fromkeys(many, 0.7)}, 2)
    (tmp_path / "more").mkdir()
    out = call("rank", written(tmp_path / "more", records), "--track", "learning_task").out
    assert "Average ranks over 11 tasks; Friedman F(1, 10) = ∞, p < 0.0001; critical difference 0.59 (Nemenyi" in out
    assert [line.split() for line in out.splitlines() if line.strip().startswith(("1.00", "2.00"))] == [
        ["1.00", "a", "xnor"],
        ["2.00", "b", "bnn"],
    ]
    alone = call("rank", file, "--track", "learning_task", "--tasks", "t").out
    assert "no critical difference: it needs two operators and two tasks, there are 3 and 1" in alone


def test_the_correction_is_chosen(call: Call, file: Path) -> None:
    asked = ("rank", file, "--track", "learning_task", "--format", "json", "--correction", "bonferroni")
    (found,) = call(*asked).json
    assert {row["correction"] for row in [*found["ranks"], *found["comparisons"]]} == {"bonferroni"}
    assert len(found["comparisons"]) == 3


def test_json_has_everything(call: Call, file: Path) -> None:
    (found,) = call("rank", file, "--track", "learning_task", "--format", "json").json
    assert found["coverage"][0]["line"] == "24 of 24 cells"
    ranks = {row["operator"]: row for row in found["ranks"]}
    assert (ranks[D]["rank"], ranks[X]["rank"], ranks[B]["rank"]) == (1, 2, 3)
    assert (ranks[X]["ties"], ranks[X]["best"], ranks[X]["worst"]) == (D, 1, 2)
    assert [row["better"] for row in found["comparisons"]] == [X, D, ""]
    assert [row["operators"][-1] for row in found["critical_differences"]] == [B]
    assert [row["left_out"] for row in found["leave_one_out"]] == ["", "t", "u"]


def test_rows_in_csv_and_tables_for_papers(call: Call, file: Path) -> None:
    ended = call("rank", file, "--track", "learning_task", "--format", "csv")
    assert [row["operator"] for row in csv.DictReader(io.StringIO(ended.out))][-1] == B
    assert "learning_task: 24 of 24 cells" in ended.err
    assert "| 3 | 3 | b |" in call("rank", file, "--track", "learning_task", "--format", "markdown").out
    assert r"\begin{tabular}" in call("rank", file, "--track", "learning_task", "--format", "latex").out


def test_filters_and_options(call: Call, file: Path) -> None:
    (found,) = call(
        *("rank", file, "--track", "learning_task", "--format", "json", "--tasks", "t", "--operators", "bnn,xnor"),
        *("--level", "0.5", "--samples", "200", "--random-seed", "3"),
    ).json
    assert {row["operator"] for row in found["ranks"]} == {B, X}
    assert {row["level"] for row in found["ranks"]} == {0.5}
    assert [row["left_out"] for row in found["leave_one_out"]] == [""]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "xml"], "--format must be table"),
        (["--track", "learning"], "learning_task"),
        (["--track", "other_compression"], "compared, not ranked"),
        (["--protocol", "papre"], "paper"),
        (["--metric", "nothing"], "has the metric 'nothing'"),
        (["--over", "luck"], "seeds, tasks"),
        (["--samples", "3"], "at least 100"),
        (["--level", "95"], "between 0 and 1"),
        (["--correction", "tukey"], "holm, bonferroni, bh, none"),
    ],
)
def test_errors_say_what_to_do(call: Call, file: Path, arguments: list[str], said: str) -> None:
    ended = call("rank", file, *arguments)
    assert ended.code == 2
    assert said in ended.err and "Traceback" not in ended.err


def test_coverage_of_a_run_folder_is_what_is_on_disk(call: Call, runs: Path) -> None:
    (found,) = [call("coverage", runs, "--load", TINY, "--format", "json").json]
    assert found["states"] == {"done": 6, "failed": 2}
    assert found["basis"] == "the cells of the plan"
    (failed,) = (row for row in found["rows"] if row["operator"] == "raises")
    assert any("boom" in reason for reason in failed["reasons"])
    out = call("coverage", runs, "--load", TINY, "--operators", "bnn").out
    assert "4 of 4 cells" in out


def test_coverage_of_a_suite_counts_what_never_ran(call: Call, runs: Path) -> None:
    found = call("coverage", runs, "--suite", "tiny", "--load", TINY, "--seeds", "0-2", "--format", "json").json
    assert found["states"] == {"done": 6, "never ran": 3}
    assert call("coverage", runs, "--load", TINY, "--format", "csv").err == "6 of 8 cells: 2 failed\n"


class TestWhatIsMissing:
    def test_of_a_run_folder(self, call: Call, runs: Path) -> None:
        found = call("coverage", runs, "--load", TINY, "--incomplete", "--format", "json").json
        assert found["line"] == "6 of 8 cells: 2 failed"
        assert {row["operator"] for row in found["rows"]} == {"raises"}
        whole = call("coverage", runs, "--load", TINY, "--operators", "bnn", "--incomplete").out
        assert whole.startswith("4 of 4 cells (the cells of the plan): nothing is missing.")

    def test_of_records_a_failed_and_an_absent_cell(self, call: Call, tmp_path: Path) -> None:
        records = [*world({B: {"t": 0.5}, X: {"t": 0.7}}, 3), *cell(D, 0.6, None)]
        rows = call("coverage", written(tmp_path, records), "--incomplete", "--format", "csv")
        (row,) = csv.DictReader(io.StringIO(rows.out))
        assert (row["operator"], row["cells"], row["done"], row["failed"], row["never ran"]) == (D, "3", "1", "1", "1")

    def test_published_has_the_whole_grid_of_the_paper(self, call: Call) -> None:
        out = call("coverage", "published", "--suite", "paper", "--incomplete").out
        assert out.startswith("495 of 495 cells (the cells of suite paper; staleness is unknown): nothing is missing.")
        assert "latencies: reactnet lacks 24." in out

    def test_a_suite_counts_what_the_records_do_not_have(self, call: Call, tmp_path: Path) -> None:
        (full_precision,) = cell("fp32", 0.9, task="cifar10", model="resnet20", recipe="paper")
        file = written(tmp_path, [full_precision, *cell(B, None, task="cifar10", model="resnet20", recipe="paper")])
        asked = ("coverage", file, "--suite", "paper", "--tasks", "cifar10", "--models", "resnet20")
        found = call(*asked, "--operators", "bnn,xnor", "--incomplete", "--format", "json").json
        assert found["states"] == {"done": 1, "failed": 1, "never ran": 1}
        assert [row["operator"] for row in found["rows"]] == [B, X]
        assert found["basis"] == "the cells of suite paper; staleness is unknown"


def test_a_suite_is_looked_for_in_one_folder(call: Call, tmp_path: Path, file: Path) -> None:
    (tmp_path / "more").mkdir()
    ended = call("coverage", tmp_path, tmp_path / "more", "--suite", "quick")
    assert (ended.code, "--suite quick looks into one run folder; got 2" in ended.err) == (2, True)


def test_the_report_tells_what_is_stale_and_what_is_not(call: Call, runs: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(runs, tmp_path / "runs"))
    site = tmp_path / "site"

    def coverage() -> tuple[str, list[dict[str, str]]]:
        ended = call("report", copied, "--load", TINY, "-o", site)
        assert ended.code == 0, ended.err
        text = (site / "tables" / "coverage.csv").read_text()
        return (site / "coverage.html").read_text("utf-8"), list(csv.DictReader(io.StringIO(text)))

    page, rows = coverage()
    assert "stale" not in page.partition('id="cells"')[2]
    (file,) = copied.glob("tiny/*/bnn/quick/seed0/cell.json")
    described = json.loads(file.read_text())
    described["code"]["operator"] = "another"
    file.write_text(json.dumps(described))
    page, rows = coverage()
    assert "Stale cells: 1. Their code or their baseline changed" in page
    (stale,) = (row for row in rows if row["stale"] == "1")
    assert (stale["operator"], stale["reasons"]) == ("bnn", "stale: changed since: operator code")


def test_where_a_cell_is_of_unknown_making_the_records_tell_the_coverage(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "nothing" / "m" / "bnn" / "quick" / "seed0"
    folder.mkdir(parents=True)
    who = {"task": "nothing", "model": "m", "operator": "bnn", "recipe": "quick", "seed": 0}
    (folder / "cell.json").write_text(json.dumps({"cell": who}))
    written(folder, cell(B, 0.5))
    ended = call("coverage", tmp_path)
    assert ended.code == 0, ended.err
    assert "the grid that the records span" in ended.out
    assert "--load the file that defines it" in ended.err


@pytest.mark.parametrize("verb", [["score"], ["rank"], ["coverage"], ["report"], ["recommend", "--task", "t"]])
def test_without_names_the_folder_that_a_run_writes_is_read(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "runs does not exist; expected a run folder, a records file or published" in call(*verb).err
    (tmp_path / "runs").mkdir()
    written(tmp_path / "runs", world({B: {"t": 0.5}, X: {"t": 0.7}}, 2))
    ended = call(*verb)
    assert (ended.code, ended.err.count("error")) == (0, 0), ended.err
    assert (tmp_path / "site" / "index.html").exists() == (verb == ["report"])


def test_recommend_in_every_format(call: Call, tmp_path: Path) -> None:
    asked = ("recommend", "published", "--task", "cifar10", "--device", "Kirin 970", "--threads", "1")
    out = call(*asked, "--max-ms", "30", "--max-mb", "2").out
    assert "2 of 36 candidates are recommended" in out
    assert "Kirin 970, larq, 1 thread, batch 1, measured with vgg_small as cifar10 uses it" in out
    assert "Not judged, for want of a measurement" in out
    found = call(*asked, "--max-ms", "30", "--no-count-sizes", "--format", "json").json
    assert [c["operator"] for c in found["recommended"]] == ["reactnet", "bnn"]
    rows = list(csv.DictReader(io.StringIO(call(*asked, "--no-count-sizes", "--format", "csv").out)))
    assert {row["verdict"] for row in rows} == {"recommended", "unknown"}


def test_recommend_says_that_nothing_qualifies(call: Call) -> None:
    ended = call(
        "recommend", "published", "--task", "imagenet", "--device", "Kirin 970", "--max-ms", "1", "--max-mb", "2"
    )
    assert ended.code == 0
    assert "Nothing qualifies" in ended.out and "Nearest misses" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--task is required"),
        (["--task", "cifar"], "Did you mean cifar10?"),
        (["--task", "cifar10", "--max-ms", "3"], "--device is required"),
        (["--task", "cifar10", "--format", "latex"], "table, json or csv"),
    ],
)
def test_errors_of_recommend(call: Call, arguments: list[str], said: str) -> None:
    ended = call("recommend", "published", *arguments)
    assert ended.code == 2 and said in ended.err


def test_all_verbs_agree_on_cells_behind_links_and_tell_what_they_leave_out(call: Call, tmp_path: Path) -> None:
    runs, disk = tmp_path / "runs", tmp_path / "disk"
    means = {B: {"t": 0.5, "u": 0.6}, X: {"t": 0.7, "u": 0.8}}
    for operator in ("fp32", B, X):
        place = disk if operator == X else runs / operator
        place.mkdir(parents=True)
        written(place, [r for r in world(means, 3, 0.02) if r.operator == operator])
    (runs / X).symlink_to(disk)
    (runs / "gone").symlink_to(tmp_path / "nowhere")
    verbs = {
        "score": ("score", runs, "--accuracies", "--format", "json"),
        "coverage": ("coverage", runs, "--format", "json"),
        "rank": ("rank", runs, "--track", "learning_task", "--format", "json"),
        "recommend": ("recommend", runs, "--task", "t", "--no-count-sizes"),
        "report": ("report", runs, "-o", tmp_path / "site"),
    }
    for verb, arguments in verbs.items():
        ended = call(*arguments)
        assert ended.code == 0, (verb, ended.err)
        assert ended.err.count(f"note: {runs / 'gone'} is a link that cannot be followed") == 1, verb
    assert {row["operator"] for row in call(*verbs["score"]).json} == {"fp32", B, X}
    assert sum(row["done"] for row in call(*verbs["coverage"]).json["rows"]) == 18
    assert {row["operator"] for row in call(*verbs["rank"]).json[0]["ranks"]} == {B, X}
    assert any("XNOR" in page.read_text("utf-8") for page in (tmp_path / "site" / "tracks").glob("*.html"))
