"""Trained cells on corrupted images: records, what is measured only once, official files, and rows for failures."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bibench.data import parts
from bibench.data.corruptions import CORRUPTIONS, corrupt, sets
from bibench.data.corruptions.official import CIFAR_10_C, IMAGENET_C
from bibench.data.corruptions.sets import IMAGES, CleanSet, generated
from bibench.execution.worker import run_cell
from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import DataError
from bibench.measure import corruptions
from bibench.measure.corruptions import FOLDER, Request, finished_cells, measure_corruptions
from bibench.records.record import Record, read
from bibench.suite.definition import Filters
from bibench.suite.store import DONE, MODEL, CellDirectory
from bibench.tasks import TASKS
from bibench.tasks.image_classification import RawImages
from bibench.tracks import TRACKS
from bibench.train.cell import Hooks, Settings, load_trained

from ..worlds import cell, tiny_world

SOME = ("fog", "pixelate")
EVERYTHING = Filters()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with tiny_world():
        for operator in ("fp32", "bnn", "recu", "raises"):
            run_cell(cell(operator), Settings(folder, device="cpu"), Hooks(), anew=False)
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(trained, tmp_path / "runs")
    with tiny_world():
        yield tmp_path / "runs"


def measured(runs: Path, *, operators: tuple[str, ...] = (), **more: object) -> list[Record]:
    request = Request(runs, **{"corruptions": SOME, **more})
    return measure_corruptions(finished_cells(runs, Filters(operators=list(operators))), request, lambda text: None)


def test_only_finished_cells_and_full_precision_always(runs: Path) -> None:
    assert {str(c.operator) for c in finished_cells(runs, EVERYTHING)} == {"fp32", "bnn", "recu"}
    assert {str(c.operator) for c in finished_cells(runs, Filters(operators=["bnn"]))} == {"fp32", "bnn"}
    assert finished_cells(runs, Filters(tasks=["cifar10"])) == []


def test_a_record_for_each_condition(runs: Path) -> None:
    records = measured(runs)
    conditions = {("none", 0), *((name, severity) for name in SOME for severity in range(1, 6))}
    for operator in ("fp32", "bnn", "recu"):
        mine = [r for r in records if r.operator == operator]
        assert {(r.corruption, r.severity) for r in mine} == conditions
        assert {(r.kind, r.metric, r.split, r.status) for r in mine} == {("corruption", "accuracy", "test", "ok")}
    assert {(r.corruption, r.flags.removeprefix("collapsed,")) for r in records if r.severity} == {
        (name, "generated") for name in SOME
    }
    stored = [r for r in read([runs]) if r.kind == "corruption"]
    assert sorted(map(repr, stored)) == sorted(map(repr, records))


def test_clean_images_give_the_score_of_the_training(runs: Path) -> None:
    records = measured(runs)
    scores = {r.operator: r.value for r in read([runs]) if r.kind == "score" and r.value is not None}
    assert {r.operator: r.value for r in records if r.corruption == "none"} == scores


def test_the_accuracy_is_that_on_the_corrupted_images(runs: Path) -> None:
    found = {(r.corruption, r.severity): r.value for r in measured(runs) if r.operator == "recu"}
    task = TASKS["tiny"]()
    images, labels, _ = task.test_images()
    assert isinstance(images, torch.Tensor)
    changed = torch.from_numpy(corrupt(images.numpy(), "fog", 5))
    model = load_trained(runs, cell("recu"), task)
    with torch.no_grad():
        right = (model(task.normalize(changed)).argmax(1) == labels).float().mean()
    assert found["fog", 5] == pytest.approx(float(right))


def test_what_was_measured_is_not_measured_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(runs)
    monkeypatch.setattr(corruptions, "load_trained", lambda *a: pytest.fail("measured again"))
    assert measured(runs) == first


def test_new_corruptions_join_and_again_starts_over(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(runs, corruptions=("fog",))
    judged: list[str] = []
    original = corruptions._judged
    monkeypatch.setattr(corruptions, "_judged", lambda *a: judged.append(a[5].corruption) or original(*a))
    measured(runs, corruptions=("contrast",), operators=("bnn",))
    assert set(judged) == {"contrast"}
    assert {r.corruption for r in read([runs]) if r.kind == "corruption"} == {"none", "fog", "contrast"}
    assert {r.flags for r in read([runs]) if r.corruption == "none"} <= {"", "collapsed"}
    judged.clear()
    measured(runs, corruptions=("contrast",), operators=("bnn",), again=True)
    assert set(judged) == {"none", "contrast"}
    assert {r.corruption for r in read([runs]) if r.kind == "corruption"} == {"none", "fog", "contrast"}


def test_other_weights_are_measured_anew(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(runs)
    done = CellDirectory(runs, cell("bnn")).file(DONE)
    later = (runs / FOLDER / cell("bnn").path / "records.jsonl").stat().st_mtime_ns + 10**9
    import os

    os.utime(done, ns=(later, later))
    loaded: list[str] = []
    original = corruptions.load_trained
    monkeypatch.setattr(
        corruptions, "load_trained", lambda r, c, t: loaded.append(str(c.operator)) or original(r, c, t)
    )
    measured(runs)
    assert loaded == ["bnn"]


def test_what_another_process_measures_meanwhile_is_kept(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, other = corruptions._judged, []

    def judged(*arguments: Any) -> Record:
        if not other:
            other.append("begun")
            other.append(measured(runs, operators=("fp32",), corruptions=("contrast",)))
        return original(*arguments)

    monkeypatch.setattr(corruptions, "_judged", judged)
    measured(runs, operators=("fp32",), corruptions=("fog",))
    stored = read([runs / FOLDER / cell("fp32").path / "records.jsonl"])
    assert {r.corruption for r in stored} == {"none", "fog", "contrast"}
    assert len(stored) == len({(r.corruption, r.severity) for r in stored}) == 11


def test_a_cell_that_is_trained_anew_meanwhile_is_a_row_that_says_so(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, done = corruptions._judged, CellDirectory(runs, cell("fp32")).file(DONE)

    def judged(*arguments: Any) -> Record:
        done.touch()
        return original(*arguments)

    monkeypatch.setattr(corruptions, "_judged", judged)
    (row,) = measured(runs, operators=("fp32",))
    assert row.status == "failed"
    assert row.reason.endswith("was trained anew while it was measured; measure it again")
    assert not (runs / FOLDER / cell("fp32").path / "records.jsonl").exists()


def test_a_damaged_cell_is_a_row_and_the_others_go_on(runs: Path) -> None:
    CellDirectory(runs, cell("bnn")).file(MODEL).write_bytes(b"nothing")
    records = measured(runs)
    (row,) = [r for r in records if r.operator == "bnn"]
    assert (row.status, row.value, row.corruption) == ("failed", None, "none")
    assert "model.pt is damaged" in row.reason
    assert len([r for r in records if r.operator == "recu"]) == 11
    scored = {(s.operator, s.metric): s for s in TRACKS["corruption_robustness"].score(read([runs]))}
    assert scored["bnn", "om"].value is None
    assert scored["recu", "mce"].cells == 1


def test_drawn_frost_is_marked(runs: Path) -> None:
    flags = {r.flags.removeprefix("collapsed,") for r in measured(runs, corruptions=("frost",)) if r.severity}
    assert flags == {"generated,drawn_frost"}


def test_a_task_that_has_no_bytes_is_unsupported(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bibench.tasks.image_classification import ImageClassification

    monkeypatch.setattr(TASKS["tiny"], "test_images", ImageClassification.test_images)
    records = measured(runs)
    assert {r.status for r in records} == {"unsupported"}
    assert "does not serve its test images as bytes" in records[0].reason


class TestOfficialFiles:
    @pytest.fixture
    def root(self, tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(TASKS["tiny"], "corrupted", replace(CIFAR_10_C, folder="TINY-C"))
        folder = tmp_path / "data" / "TINY-C"
        folder.mkdir(parents=True)
        labels = TASKS["tiny"]().test_images().labels
        np.save(folder / "fog.npy", np.zeros((5 * len(labels), 8, 8, 3), np.uint8))
        np.save(folder / "labels.npy", np.tile(labels.numpy(), 5))
        return folder.parent

    def test_they_are_read_where_they_are(self, runs: Path, root: Path) -> None:
        records = measured(runs, corruptions=("fog",), data_root=root)
        assert {r.value for r in records if r.severity} == {0.25}  # black images, one answer, four classes
        assert {r.flags for r in records if r.severity} == {"collapsed"}

    def test_or_left_alone(self, runs: Path, root: Path) -> None:
        official, made = (measured(runs, corruptions=("fog",), data_root=root, source=s) for s in ("auto", "generated"))
        assert {r.data for r in official if r.severity}.isdisjoint(r.data for r in made if r.severity)

    def test_a_missing_file_stops_it(self, runs: Path, root: Path) -> None:
        with pytest.raises(DataError, match=r"snow\.npy is missing"):
            measured(runs, corruptions=("fog", "snow"), data_root=root)

    def test_asked_for_and_not_there(self, runs: Path) -> None:
        with pytest.raises(DataError, match=r"--source official: nothing of it found in task 'tiny'"):
            measured(runs, source="official")


@pytest.mark.parametrize("name", ["digits_photos", "photo_patches"])
@pytest.mark.slow_but("digits_photos")
def test_embedded_tasks_serve_their_test_images(name: str) -> None:
    task = TASKS[name]()
    images, labels, files = task.test_images()
    assert images[:8].dtype == torch.uint8
    assert images.shape == (len(labels), 32, 32, 3)
    assert len(files) == (len(labels) if name == "photo_patches" else 0)
    assert len(images[len(labels) - 3 : len(labels)]) == 3
    (batch, *_) = task.batches("test", batch_size=8).epoch(0)
    torch.testing.assert_close(task.to_inputs()(images[:8]), batch.inputs[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(batch.targets, labels[:8])


def test_all_corruptions_of_an_embedded_task_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels, _ = TASKS["digits_photos"]().test_images()
    few = CleanSet("few", images[:16].numpy(), "", labels[:16].numpy())
    monkeypatch.setenv("BIBENCH_CACHE", str(tmp_path))
    for name in CORRUPTIONS:
        assert {condition.read()[0].shape for condition in generated(few, name)} == {(16, 32, 32, 3)}


class TestLargeSets:
    """Sets that are not kept: the same numbers, each set of images made once for all cells."""

    @pytest.fixture
    def large(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setenv("BIBENCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(sets, "SMALL", 0)
        monkeypatch.setattr(parts, "PART", 5 * 8 * 8 * 3)
        return tmp_path / "cache"

    def test_records_are_those_of_the_kept_way(
        self, runs: Path, trained: Path, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        kept = measured(runs, corruptions=("fog", "frost", "glass_blur"))
        cache = request.getfixturevalue("large")
        shutil.copytree(trained, tmp_path / "other")
        passed = measured(tmp_path / "other", corruptions=("fog", "frost", "glass_blur"), threads=2)
        timeless = {"started": "", "seconds": 0.0}
        assert [replace(r, **timeless) for r in passed] == [replace(r, **timeless) for r in kept]
        assert len(passed) == 3 * 16
        assert not list(cache.rglob(IMAGES))

    def test_each_is_made_once_for_all_cells(self, runs: Path, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[int] = []
        original = sets.corrupt
        monkeypatch.setattr(sets, "corrupt", lambda *a, **k: made.append(len(a[0])) or original(*a, **k))
        assert len({r.operator for r in measured(runs, corruptions=("fog",))}) == 3
        assert sum(made) == 5 * 48
        measured(runs, corruptions=("fog",))
        assert sum(made) == 5 * 48  # what is known is not even made

    def test_a_limited_number_of_models_is_loaded(
        self, runs: Path, large: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(corruptions, "TOGETHER", 2)
        assert len({r.operator for r in measured(runs, corruptions=("fog",))}) == 3

    def test_an_interrupted_measurement_continues(
        self, runs: Path, large: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = corruptions._judged
        judged: list[tuple[str, str, int]] = []

        def until_the_tenth(*arguments: Any) -> Record:
            if len(judged) == 10:
                raise KeyboardInterrupt
            record = original(*arguments)
            judged.append((record.operator, record.corruption, record.severity or 0))
            return record

        monkeypatch.setattr(corruptions, "_judged", until_the_tenth)
        with pytest.raises(KeyboardInterrupt):
            measured(runs)
        first, judged = judged, []
        assert {(r.operator, r.corruption, r.severity) for r in read([runs]) if r.kind == "corruption"} == set(first)
        monkeypatch.setattr(corruptions, "_judged", lambda *a: judged.append(a[0]) or original(*a))
        assert len(measured(runs)) == 3 * 11
        assert len(judged) == 3 * 11 - 10


class TestImageNetC:
    def test_its_folders_are_read_where_they_are(
        self, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The tiny task with its test images as files, and one corruption of them that somebody published."""
        images, labels, _ = TASKS["tiny"]().test_images()
        files = tuple(f"{label}/{number:03}.png" for number, label in enumerate(labels.tolist()))
        order = sorted(range(len(files)), key=lambda i: files[i])
        served = RawImages(images[order], labels[order], tuple(files[i] for i in order))
        monkeypatch.setattr(TASKS["tiny"], "test_images", lambda self: served)
        monkeypatch.setattr(TASKS["tiny"], "corrupted", IMAGENET_C)
        for severity in range(1, 6):
            for image, name in zip(served.images, served.files, strict=True):
                file = tmp_path / "data" / "ImageNet-C" / "fog" / str(severity) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = image if severity < 5 else torch.zeros_like(image)
                Image.fromarray(pixels.numpy()).save(file)
        records = measured(runs, corruptions=("fog",), data_root=tmp_path / "data")
        for operator in ("fp32", "bnn", "recu"):
            values = {r.severity: r.value for r in records if r.operator == operator}
            assert values[0] == values[1] == values[4]
            assert values[5] == 0.25
        assert {r.flags.removeprefix("collapsed") for r in records} == {""}
        with pytest.raises(DataError, match=r"snow.1 is missing; .* unpack the archives of ImageNet-C"):
            measured(runs, corruptions=("snow",), data_root=tmp_path / "data")


def test_choices_with_options_are_found_by_name(runs: Path) -> None:
    model = choice("vgg_small[width=2]")
    assert {c.model for c in finished_cells(runs, Filters(models=["vgg_small"]))} == {model}
    assert finished_cells(runs, Filters(models=[str(Choice("resnet20"))])) == []
