"""One training for two tasks: the same numbers as two trainings, taken over only from what did the same."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import pytest
import torch

from bibench.data import grammar
from bibench.data.text import Example
from bibench.execution.worker import Result, run_cell
from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import BiBenchError, UnknownNameError
from bibench.foundation.files import load_checkpoint, write_json
from bibench.foundation.registry import load_file
from bibench.records.record import Record, read_file
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, CURVE, DONE, MODEL, RECORDS, CellDirectory
from bibench.tasks import TASKS
from bibench.tasks.base import task
from bibench.tasks.embedded_text import EmbeddedSST2
from bibench.train import loop
from bibench.train.cell import Hooks, Settings, load_trained
from bibench.train.weights import digest

from ..tasks.test_text import glue_root
from ..worlds import TINY, cell, tiny_world

TWINS = TINY.with_name("twins.py")


@pytest.fixture(autouse=True)
def _world() -> Iterator[None]:
    with tiny_world():
        load_file(TWINS)
        yield


def twin(of: Cell) -> Cell:
    return replace(of, task=Choice("tiny_twin"))


def train(runs: Path, *cells: Cell) -> None:
    for chosen in cells:
        ended = run_cell(chosen, Settings(runs=runs, device="cpu"), Hooks(), anew=False)
        assert ended == Result("done"), ended


def records(runs: Path, chosen: Cell) -> list[Record]:
    return read_file(CellDirectory(runs, chosen).file(RECORDS))


def content(runs: Path, chosen: Cell, name: str) -> dict:
    return json.loads(CellDirectory(runs, chosen).file(name).read_text())


def judged(runs: Path, chosen: Cell) -> dict[tuple[str, str], float | None]:
    """All its numbers but those of time and memory."""
    measured = ("train_seconds", "throughput", "data_loading_share", "peak_memory")
    return {(r.metric, r.split): r.value for r in records(runs, chosen) if r.metric not in measured}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run folders in which the twin's cells took over a training, and trained by themselves."""
    shared, alone = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("alone")
    with tiny_world():
        load_file(TWINS)
        ours = [cell(operator) for operator in ("fp32", "bnn", "fda")]
        train(shared, *ours, *map(twin, ours))
        train(alone, *map(twin, ours))
    return shared, alone


class TestSameResult:
    @pytest.mark.parametrize("operator", ["fp32", "bnn", "fda"])
    def test_as_by_a_training_of_its_own(self, both: tuple[Path, Path], operator: str) -> None:
        chosen = twin(cell(operator))
        one, other = (load_checkpoint(CellDirectory(runs, chosen).file(MODEL)) for runs in both)
        assert one["cell"] == other["cell"] == chosen.to_dict()
        assert one["progress"] == other["progress"]
        assert one["model"].keys() == other["model"].keys()
        assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
        assert judged(both[0], chosen) == judged(both[1], chosen)
        same = ("flags", "data", "data_order", "initial_weights", "code", "precision", "task", "cell", "division")
        for name in same:
            assert len({getattr(r, name) for runs in both for r in records(runs, chosen)}) == 1, name
        assert len({content(runs, chosen, DONE)["weights"] for runs in both}) == 1
        assert len({content(runs, chosen, DONE)["score"] for runs in both}) == 1

    @pytest.mark.parametrize("operator", ["fp32", "bnn", "reactnet"])
    @pytest.mark.slow
    def test_on_embedded_text_with_a_teacher(self, tmp_path: Path, operator: str) -> None:
        @task("other_films")
        class OtherFilms(EmbeddedSST2):
            title = "Other judgements"
            trained_as = "embedded_sst2"

            @cached_property
            def _parts(self) -> list[list[Example]]:
                train_, validation, _ = super()._parts
                known = {e.first for e in (*train_, *validation)}
                fresh = grammar.draw(self.form[0], (800, 1, 1), seed=2)[0]
                return [train_, validation, [e for e in fresh if e.first not in known][:200]]

        place = Cell(choice("embedded_sst2"), choice("bert"), choice(operator), choice("smoke"), 3)
        ours = list(dict.fromkeys((replace(place, operator=Choice("fp32")), place)))
        others = [replace(c, task=Choice("other_films")) for c in ours]
        train(tmp_path / "shared", *ours, *others)
        train(tmp_path / "alone", *others)
        for chosen in others:
            one, other = (load_checkpoint(CellDirectory(tmp_path / n, chosen).file(MODEL)) for n in ("shared", "alone"))
            assert all(torch.equal(one["model"][name], other["model"][name]) for name in other["model"])
            assert judged(tmp_path / "shared", chosen) == judged(tmp_path / "alone", chosen)
            assert {r.trained_as for r in records(tmp_path / "shared", chosen)} != {""}
            assert {r.trained_as for r in records(tmp_path / "alone", chosen)} == {""}
        own = judged(tmp_path / "shared", ours[-1])
        assert own["loss", "test"] != judged(tmp_path / "shared", others[-1])["loss", "test"]  # other sentences

    @pytest.mark.filterwarnings("ignore:.*the published (train|dev) set has")
    def test_on_mnli_read_from_its_files(self, tmp_path: Path) -> None:
        for name in ("mnli", "mnli_mm"):
            glue_root(tmp_path, name)
        file = tmp_path / "glue" / "MNLI" / "dev_mismatched.tsv"
        header, *lines = file.read_text().splitlines()
        file.write_text("\n".join([header, *lines[:7]]) + "\n")
        place = Cell(choice("glue_mnli"), choice("bert[layers=1]"), choice("fp32"), choice("smoke[epochs=2]"), 0)
        settings = Settings(tmp_path / "runs", device="cpu", data_root=tmp_path)
        for chosen in (place, replace(place, task=Choice("glue_mnli_mm"))):
            assert run_cell(chosen, settings, Hooks(), anew=False) == Result("done")
        ours, theirs = (records(settings.runs, replace(place, task=Choice(n))) for n in ("glue_mnli", "glue_mnli_mm"))
        assert {r.trained_as for r in theirs} == {place.path.as_posix()}
        seventh = next(r.value for r in theirs if r.kind == "score") * 7
        assert seventh == pytest.approx(round(seventh), abs=1e-5)
        assert {r.data for r in ours} != {r.data for r in theirs}

    def test_of_a_pruned_network_without_a_step(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen = cell("l1_filters[ratio=0.3]", model="vgg_small[width=8]")
        assert chosen.baseline is not None
        train(tmp_path, chosen.baseline, chosen)
        monkeypatch.delattr(loop.Training, "run")
        train(tmp_path, twin(chosen.baseline), twin(chosen))
        states = [load_checkpoint(CellDirectory(tmp_path, c).file(MODEL))["model"] for c in (chosen, twin(chosen))]
        assert [v.shape for v in states[0].values()] == [v.shape for v in states[1].values()]
        numbers = [{r.metric: r.value for r in records(tmp_path, c)} for c in (chosen, twin(chosen))]
        assert numbers[0]["macs"] == numbers[1]["macs"]


class TestWhatIsLeft:
    def test_a_folder_like_any_other(self, both: tuple[Path, Path]) -> None:
        chosen = twin(cell("fda"))
        names = [{p.name for p in CellDirectory(runs, chosen).path.iterdir()} for runs in both]
        assert names[0] == names[1]
        curves = [CellDirectory(both[0], c).file(CURVE).read_text() for c in (cell("fda"), chosen)]
        assert curves[0] == curves[1]
        model = load_trained(both[0], chosen, TASKS["tiny_twin"]())
        assert digest(model) == content(both[0], chosen, DONE)["weights"]

    def test_it_says_whose_training_it_was(self, both: tuple[Path, Path]) -> None:
        for operator in ("fp32", "bnn", "fda"):
            place = cell(operator).path.as_posix()
            assert {r.trained_as for r in records(both[0], twin(cell(operator)))} == {place}
            assert content(both[0], twin(cell(operator)), CELL)["trained_as"] == place
            assert content(both[0], cell(operator), CELL)["trained_as"] == ""
            assert {r.trained_as for r in records(both[0], cell(operator))} == {""}

    def test_the_training_cost_what_it_cost_there(self, both: tuple[Path, Path]) -> None:
        for operator in ("fp32", "bnn"):
            ours, theirs = ({r.metric: r for r in records(both[0], c)} for c in (cell(operator), twin(cell(operator))))
            for metric in ("train_seconds", "throughput", "peak_memory"):
                assert (metric in ours) == (metric in theirs)
                if metric in ours:
                    assert ours[metric].value == theirs[metric].value
                    assert ours[metric].unit == theirs[metric].unit
            done = content(both[0], twin(cell(operator)), DONE)
            assert done["train_seconds"] == ours["train_seconds"].value
            assert {r.seconds for r in theirs.values()} == {done["seconds"]}
            assert done["seconds"] != content(both[0], cell(operator), DONE)["seconds"]

    def test_what_was_measured_in_training_keeps_its_machine(self, tmp_path: Path) -> None:
        train(tmp_path, cell("fp32"))
        file = CellDirectory(tmp_path, cell("fp32")).file(RECORDS)
        elsewhere = [replace(r, cpu="another", threads=77) for r in read_file(file)]
        file.write_text("".join(json.dumps(asdict(r)) + "\n" for r in elsewhere))
        train(tmp_path, twin(cell("fp32")))
        for r in records(tmp_path, twin(cell("fp32"))):
            assert (r.cpu == "another", r.threads == 77) == (r.split != "test",) * 2, r.metric

    def test_a_divergence_is_told_again(self, tmp_path: Path) -> None:
        train(tmp_path, cell("fp32"))
        file = CellDirectory(tmp_path, cell("fp32")).file(RECORDS)
        file.write_text("".join(replace(r, flags="collapsed,diverged").to_line() + "\n" for r in read_file(file)))
        train(tmp_path, twin(cell("fp32")))
        flags = {r.flags for r in records(tmp_path, twin(cell("fp32")))}
        assert flags == {"diverged"}  # a collapse is judged on its own test split


class TestNothingElseIsTakenOver:
    @pytest.mark.parametrize("name", [MODEL, CURVE, RECORDS, DONE])
    def test_what_is_not_whole(self, tmp_path: Path, name: str) -> None:
        train(tmp_path, cell("fp32"))
        CellDirectory(tmp_path, cell("fp32")).file(name).unlink()
        train(tmp_path, twin(cell("fp32")))
        assert {r.trained_as for r in records(tmp_path, twin(cell("fp32")))} == {""}

    def test_what_another_process_works_on_is_waited_for(self, tmp_path: Path) -> None:
        settings = Settings(runs=tmp_path, device="cpu")
        with CellDirectory(tmp_path, cell("fp32")).locked():
            ended = run_cell(twin(cell("fp32")), settings, Hooks(), anew=False)
            assert ended.status == "busy"
            assert ended.reason.startswith("another process works on tiny vgg_small[width=2] fp32 quick seed 0, whose")
        assert CellDirectory(tmp_path, twin(cell("fp32"))).state == "missing"
        assert run_cell(twin(cell("fp32")), settings, Hooks(), anew=False) == Result("done")

    @pytest.mark.parametrize(
        "change", [{"code": {}}, {"initial_weights": "others"}, {"baseline_weights": "others"}, {}], ids=str
    )
    def test_what_was_made_otherwise(self, tmp_path: Path, change: dict) -> None:
        train(tmp_path, cell("fp32"))
        described = content(tmp_path, cell("fp32"), CELL)
        write_json(CellDirectory(tmp_path, cell("fp32")).file(CELL), {**described, **change})
        train(tmp_path, twin(cell("fp32")))
        taken = content(tmp_path, twin(cell("fp32")), CELL)["trained_as"]
        assert taken == ("" if change else cell("fp32").path.as_posix())

    def test_what_saw_other_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        train(tmp_path, cell("fp32"))
        arrays = TASKS["tiny_twin"].arrays

        def changed(self, split):
            images, labels = arrays(self, split)
            return (255 - images if split == "train" else images), labels

        monkeypatch.setattr(TASKS["tiny_twin"], "arrays", changed)
        train(tmp_path, twin(cell("fp32")))
        assert content(tmp_path, twin(cell("fp32")), CELL)["trained_as"] == ""

    def test_damaged_weights_are_a_row_that_names_the_file(self, tmp_path: Path) -> None:
        train(tmp_path, cell("fp32"))
        file = CellDirectory(tmp_path, cell("fp32")).file(MODEL)
        file.write_bytes(file.read_bytes()[:200])
        ended = run_cell(twin(cell("fp32")), Settings(runs=tmp_path, device="cpu"), Hooks(), anew=False)
        assert ended.status == "failed"
        assert str(file) in ended.reason


class TestCell:
    def test_it_is_that_of_the_other_task(self) -> None:
        assert twin(cell("fda", "paper", seed=4)).trained_as == cell("fda", "paper", seed=4)
        assert cell("fda").trained_as is None

    def test_mnli_is_trained_once(self) -> None:
        place = Cell(choice("glue_mnli_mm"), choice("bert_tiny4"), choice("bnn"), choice("paper"), 0)
        assert place.trained_as == replace(place, task=Choice("glue_mnli"))
        trained_as = {name: TASKS[name].trained_as for name in TASKS if name.startswith("glue")}
        assert [name for name, other in trained_as.items() if other] == ["glue_mnli_mm"]

    @pytest.mark.parametrize("operator", ["fp32", "bnn"])
    def test_another_recipe_is_another_training(self, monkeypatch: pytest.MonkeyPatch, operator: str) -> None:
        own = TASKS["tiny"].recipes
        monkeypatch.setattr(
            TASKS["tiny_twin"], "recipes", {**own, "quick": replace(own["quick"], lr=1.0), "new": own["quick"]}
        )
        assert twin(cell(operator, "quick")).trained_as is None
        assert twin(cell(operator, "new")).trained_as is None
        assert twin(cell(operator, "paper")).trained_as is not None

    def test_the_full_precision_stage_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = TASKS["tiny"].recipes
        other = replace(own["quick"], fp32=(("epochs", 1),))
        monkeypatch.setattr(TASKS["tiny_twin"], "recipes", {**own, "quick": other})
        assert twin(cell("bnn")).trained_as is None

    def test_a_recipe_of_the_models_own_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = replace(TASKS["tiny"].recipes["quick"], lr=1.0)
        monkeypatch.setattr(TASKS["tiny_twin"], "model_recipes", {"vgg_small": {"quick": other}})
        assert twin(cell("bnn")).trained_as is None
        assert twin(cell("bnn", model="resnet20[width=4]")).trained_as is not None

    def test_a_chain_and_an_unknown_task_are_errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TASKS["tiny"], "trained_as", "tiny_twin")
        problem = (
            "task 'tiny_twin': trained_as must name a task with a training of its own; got 'tiny', which is trained as"
        )
        with pytest.raises(BiBenchError, match=problem):
            twin(cell()).validate()
        monkeypatch.setattr(TASKS["tiny_twin"], "trained_as", "tinny")
        with pytest.raises(UnknownNameError, match="tinny"):
            twin(cell()).validate()
