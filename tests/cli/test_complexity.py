"""``bibench complexity``, ``measure complexity`` and ``measure structures``."""

import csv
import io
import math
import re
from pathlib import Path

import pytest

from bibench.complexity import Comparison, compression
from bibench.operators import known_operators
from bibench.records.record import read

from ..worlds import TINY
from .test_cli import Call, call

__all__ = ["call"]

RESNET = ("complexity", "resnet18", "--input-shape", "3x224x224")
RESNET20 = ("complexity", "resnet20", "--task", "cifar10")


class TestComplexity:
    def test_the_papers_convention(self, call: Call) -> None:
        ended = call(*RESNET, "--convention", "paper")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith(
            "resnet18[binarize_downsample=True], input 3×224×224, 1000 classes; convention paper"
        )
        rows = {w[0]: w for line in ended.out.splitlines() if len(w := re.split(r"\s{2,}", line.strip())) > 8}
        assert list(rows)[1:] == known_operators()
        assert (rows["bnn"][2], rows["bnn"][7], rows["bnn"][8]) == ("13.27", "12.60", "12.94")
        assert rows["dorefa"][2] == "13.20"
        assert "A W1A1 multiply-accumulate is 1/64 operation" in ended.out

    def test_an_option_that_was_given_stays(self, call: Call) -> None:
        asked = ("complexity", "resnet18[binarize_downsample=False]", "--input-shape", "3,224,224", "--format", "json")
        (_, row) = call(*asked, "--convention", "paper", "--operators", "bnn").json
        assert row["compression"] == pytest.approx(11_689_512 / (704_040 + (11_689_512 - 704_040) / 32))

    def test_json_and_csv_are_the_same_numbers(self, call: Call) -> None:
        data = call(*RESNET20, "--format", "json").json
        rows = list(csv.DictReader(io.StringIO(call(*RESNET20, "--format", "csv").out)))
        assert [row["operator"] for row in rows] == [row["operator"] for row in data] == known_operators()
        assert [float(row["speedup"] or "nan") for row in rows] == pytest.approx(
            [row["speedup"] or math.nan for row in data], rel=0, nan_ok=True
        )
        assert data[0]["parameters"] == 272_474
        assert {row["macs"] for row in data if not row["reason"]} == {40_813_184}

    def test_layers(self, call: Call) -> None:
        ended = call(*RESNET20, "--operators", "xnor", "--layers")
        assert re.search(
            r"^stages\.0\.0\.conv1 +conv2d +W1A1 +2,304 +352 +channel scale 16 +2,359,296 ", ended.out, re.M
        )
        assert re.search(r"^conv1 +conv2d +W32A32 .* first layer *$", ended.out, re.M)
        data = call(*RESNET20, "--operators", "xnor", "--layers", "--format", "json").json
        for counted in data.values():
            for what in ("storage_bytes", "macs", "bops"):
                assert sum(row[what] for row in counted["rows"]) == counted[what]
            assert sum(row["operations"] for row in counted["rows"]) == pytest.approx(counted["operations"])
        rows = list(csv.DictReader(io.StringIO(call(*RESNET20, "--layers", "--format", "csv").out)))
        assert {row["model_operator"] for row in rows} == set(known_operators())

    def test_operations_per_word(self, call: Call) -> None:
        speeds = [
            call(*RESNET20, "--operators", "bnn", "--operations-per-word", n, "--format", "json").json[1]["speedup"]
            for n in (1, 32, 64)
        ]
        assert speeds[0] < 1 < speeds[1] < speeds[2]  # the signs are work too

    def test_an_operator_that_does_not_fit_is_a_row_with_its_reason(self, call: Call) -> None:
        ended = call(
            *("complexity", "vgg_small[width=2]", "--load", TINY, "--task", "tiny", "--operators", "impossible,bnn")
        )
        assert ended.code == 0
        assert re.search(r"^impossible +- .*is too small for it *$", ended.out, re.M)
        assert re.search(r"^bnn +\d", ended.out, re.M)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("resnet18",), "give either --task, whose inputs and classes count, or --input-shape"),
            (("resnet18", "--task", "cifar10", "--input-shape", "3x8x8"), "give either --task"),
            (("resnet18", "--input-shape", "3x-2"), "--input-shape: '3x-2' is no shape"),
            (("resnet18", "--input-shape", "3x8"), "input_shape must be (C, H, W)"),
            (("resnt18", "--input-shape", "3x8x8"), "unknown model 'resnt18'; did you mean"),
            (("resnet18[depth=3]", "--input-shape", "3x8x8"), "model 'resnet18' has no option 'depth'"),
            (("resnet18", "--task", "cifr10"), "unknown task 'cifr10'; did you mean 'cifar10'"),
            (("resnet18", "--task", "cifar10", "--convention", "x"), "no convention 'x'; choose from bibench, paper"),
            (("resnet18", "--task", "cifar10", "--operators", "bnnn"), "unknown operator 'bnnn'"),
            (("resnet18", "--task", "cifar10", "--operators", "bnn[x=1]"), "operator 'bnn' has no option 'x'"),
            (("resnet18", "--task", "cifar10", "--format", "xml"), "--format must be table, json or csv; got 'xml'"),
        ],
    )
    def test_refusals(self, call: Call, arguments: tuple[str, ...], problem: str) -> None:
        ended = call("complexity", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert problem in ended.err


class TestMeasure:
    def test_a_suite_without_training(self, call: Call, tmp_path: Path) -> None:
        ended = call("measure", "complexity", "tiny", "--load", TINY, "--runs", tmp_path)
        assert ended.code == 0
        stored = read([tmp_path])
        assert {r.operator for r in stored} == {"fp32", "bnn", "recu"}
        assert {(r.kind, r.task, r.model, r.recipe) for r in stored} == {
            ("complexity", "tiny", "vgg_small[width=2]", "quick")
        }
        found = {r.metric: r.value for r in stored if r.operator == "bnn"}
        assert {"compression", "speedup", "compression_paper", "speedup_paper", "storage", "bops"} <= found.keys()
        baseline = {r.metric: r.value for r in stored if r.operator == "fp32"}
        assert baseline["storage"] == 4 * baseline["parameters"]
        assert found["parameters"] == baseline["parameters"]

    def test_measuring_again_replaces_it_and_the_score_reads_it(self, call: Call, tmp_path: Path) -> None:
        asked = ("measure", "complexity", "imagenetxresnet18", "--operators", "bnn,dorefa", "--runs", tmp_path)
        assert call(*asked).code == 0
        count = len(read([tmp_path]))
        assert call(*asked).code == 0
        stored = read([tmp_path])
        assert len(stored) == count
        by_key = {(r.operator, r.metric): r.value for r in stored}
        assert by_key["bnn", "compression_paper"] == pytest.approx(13.27, abs=0.005)
        assert by_key["bnn", "speedup_paper"] == pytest.approx(12.60, abs=0.005)
        assert by_key["dorefa", "compression_paper"] == pytest.approx(13.20, abs=0.005)
        printed = call("score", tmp_path)
        assert (printed.code, printed.err) == (0, "")
        title = "Theoretical complexity track (Eq. 8), recipe paper, times full precision"
        assert title in printed.out
        expected = f"{by_key['bnn', 'speedup']:.2f} +{by_key['bnn', 'compression']:.2f}"
        assert re.search(rf"^bnn +{expected} +\d+\.\d\d *$", printed.out, re.M)
        rows = call("score", tmp_path, "--format", "json").json
        assert {r["metric"] for r in rows if r["track"] == "theoretical_complexity"} == {"speedup", "compression", "om"}

    def test_json_is_the_records(self, call: Call, tmp_path: Path) -> None:
        asked = ("measure", "complexity", "cifar10×resnet20", "--operators", "bnn", "--runs", tmp_path)
        printed = call(*asked, "--format", "json").json
        assert sorted(str(r["value"]) for r in printed) == sorted(str(r.value) for r in read([tmp_path]))
        rows = list(csv.DictReader(io.StringIO(call(*asked, "--format", "csv").out)))
        assert [float(r["value"]) for r in rows] == [r["value"] for r in printed]

    def test_what_cannot_be_counted_is_a_record(self, call: Call, tmp_path: Path) -> None:
        place = "tinyxvgg_small[width=2]"
        asked = ("measure", "complexity", place, "--load", TINY, "--runs", tmp_path, "--force")
        ended = call(*asked, "--operators", "impossible,asks_values")
        assert ended.code == 0
        stored = read([tmp_path])
        assert {(r.metric, r.status) for r in stored if r.operator == "impossible"} == {
            ("compression", "unsupported"),
            ("speedup", "unsupported"),
        }
        assert {r.status for r in stored if r.operator == "asks_values"} == {"ok"}

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("quik",), "unknown suite 'quik'; did you mean 'quick'"),
            (("cifar10xresnt20",), "unknown model 'resnt20'"),
            (("cifar10xresnet20", "--tasks", "cifar10"), "names a task and a model already"),
            (("cifar10xresnet20", "--recipe", "fast"), "task 'cifar10' has no recipe 'fast'"),
            (("quick", "--format", "xml"), "--format must be table, json or csv"),
        ],
    )
    def test_refusals(self, call: Call, tmp_path: Path, arguments: tuple[str, ...], problem: str) -> None:
        ended = call("measure", "complexity", *arguments, "--runs", tmp_path)
        assert (ended.code, ended.out) == (2, "")
        assert problem in ended.err
        assert not list(tmp_path.iterdir())

    def test_a_bug_of_a_stranger_is_a_failed_record(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*arguments: object, **options: object) -> None:
            raise RuntimeError("boom")

        monkeypatch.setattr(Comparison, "under", broken)
        ended = call("measure", "complexity", "cifar10xresnet20", "--operators", "bnn", "--runs", tmp_path)
        assert ended.code == 1
        told = {(r.status, re.sub(r"py:\d+", "py:LINE", r.reason)) for r in read([tmp_path]) if r.operator == "bnn"}
        assert told == {("failed", 'RuntimeError: boom (test_complexity.py:LINE: raise RuntimeError("boom"))')}
        assert {r.status for r in read([tmp_path]) if r.operator == "fp32"} == {"ok"}


class TestStructures:
    SHORT = ("measure", "structures", "--sizes", "16", "--dims", "64", "--seeds", "1", "--operators", "fp32,bnn,xnor")

    def test_table(self, call: Call) -> None:
        ended = call(*self.SHORT)
        assert ended.code == 0
        assert ended.out.startswith(
            "Relative error ‖f - f̂‖₁ / ‖f‖₁ (Eq. 41), mean over sizes, dimensions and 1 seed(s)"
        )
        assert re.search(r"^operator +attention +cnn +mlp +note *$", ended.out, re.M)
        assert re.search(r"^BNN, as published( +-){3}", ended.out, re.M)  # the paper has no size 16
        assert re.search(r"^xnor( +\d\.\d{3}){3}", ended.out, re.M)
        assert "fp32" not in ended.out

    def test_an_operator_that_does_not_fit_is_a_row_with_its_reason(self, call: Call) -> None:
        ended = call(*self.SHORT[:-1], "bnn,impossible", "--load", TINY)
        assert ended.code == 0
        assert re.search(r"^impossible( +-){3} +layer 'units.0' is too small for it *$", ended.out, re.M)
        assert re.search(r"^bnn( +\d\.\d{3}){3}", ended.out, re.M)

    def test_by_size(self, call: Call) -> None:
        asked = ("measure", "structures", "--structures", "mlp", "--sizes", "64,100", "--dims", "64", "--seeds", "1")
        ended = call(*asked, "--operators", "bnn", "--by-size")
        assert re.search(r"^ *64 +64 +0\.84 +\d\.\d{3}", ended.out, re.M)
        assert re.search(r"^ *100 +64 +- +\d\.\d{3}", ended.out, re.M)

    def test_data(self, call: Call) -> None:
        data = call(*self.SHORT, "--format", "json").json
        assert {(r["structure"], r["operator"]) for r in data} == {
            (s, o) for s in ("attention", "cnn", "mlp") for o in ("bnn", "xnor")
        }
        rows = list(csv.DictReader(io.StringIO(call(*self.SHORT, "--format", "csv").out)))
        assert [float(r["error"]) for r in rows] == [r["error"] for r in data]
        bare = call(*self.SHORT, "--format", "json", "--bare").json
        assert bare[0]["error"] != data[0]["error"]

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("--structures", "rnn"), "no structure 'rnn'; choose from attention, cnn, mlp"),
            (("--dims", "100"), "multiples of 64"),
            (("--sizes", "a"), "--sizes: 'a' is no positive number"),
            (("--operators", "bnnn"), "unknown operator 'bnnn'"),
            (("--operators", "fp32"), "name at least one operator that binarizes"),
            (("--format", "xml"), "--format must be table, json or csv"),
        ],
    )
    def test_refusals(self, call: Call, arguments: tuple[str, ...], problem: str) -> None:
        ended = call("measure", "structures", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert problem in ended.err


def test_ratios_agree_with_the_library(call: Call) -> None:
    import torch

    import bibench

    comparison = Comparison(bibench.models.create("resnet20"), torch.zeros(1, 3, 32, 32))
    (_, row) = call(*RESNET20, "--operators", "reactnet", "--format", "json").json
    assert row["compression"] == compression(comparison.full, comparison.under("reactnet"))
