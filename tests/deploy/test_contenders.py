"""Who takes part: identities from manifests, baselines in the engines of the models, and files that are not whole."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import export, manifest
from bibench.deploy.contenders import contenders
from bibench.deploy.identity import identify
from bibench.foundation.checksums import file_sha256
from bibench.foundation.errors import BiBenchError, StoreError, UnknownNameError

from ..worlds import cell, tiny_world
from .onnx_files import convolution


def exported(path: Path, operator: str | None, **provenance: object) -> Path:
    model: nn.Module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 12 * 12, 4)
    )
    x = torch.randn(2, 3, 16, 16)
    if operator:
        bibench.binarize(model, operator, example_inputs=x)
    export(model.eval(), path, x, engine="onnxruntime", provenance=dict(provenance))
    return path


def test_a_cell_in_the_manifest_is_what_the_records_say(tmp_path: Path) -> None:
    with tiny_world():
        file = exported(tmp_path / "m.onnx", "bnn", cell=cell("bnn").to_dict())
        facts, engine = identify(file)
        assert engine == "onnxruntime"
        assert (facts["task"], facts["model"], facts["operator"]) == ("tiny", "vgg_small[width=2]", "bnn")
        assert facts["cell"] == cell("bnn").path.as_posix()


def test_without_a_cell_the_audit_tells_the_operator(tmp_path: Path) -> None:
    assert identify(exported(tmp_path / "a.onnx", "recu"))[0]["operator"] == "recu"
    assert identify(exported(tmp_path / "b.onnx", None))[0]["operator"] == "fp32"


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    file = exported(tmp_path / "a.onnx", "bnn")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(StoreError, match="truncated or was changed"):
        contenders([file], None, [])


def test_a_plain_file_is_known_by_its_name_and_a_plain_baseline_by_its_models(tmp_path: Path) -> None:
    plain = convolution(tmp_path / "net.onnx")
    [one] = contenders([plain], None, [])
    assert (one.facts["model"], one.facts["operator"], one.engine, one.bytes) == (
        *("net", "", "onnxruntime"),
        plain.stat().st_size,
    )
    with tiny_world():
        file = exported(tmp_path / "m.onnx", "bnn", cell=cell("bnn").to_dict())
        base, model = contenders([file], plain, [])
    assert base.baseline and base.facts["operator"] == "fp32" and base.facts["cell"] == ""
    assert all(base.facts[name] == model.facts[name] for name in ("task", "model", "recipe", "seed", "family"))


@pytest.mark.slow
def test_exports_without_a_cell_are_related_to_their_baseline(tmp_path: Path) -> None:
    """What records are scored by: `bibench.export` knows no model's name, so it is the file's."""
    file, plain = exported(tmp_path / "bnn.onnx", "bnn"), exported(tmp_path / "fp32.onnx", None)
    base, model = contenders([file], plain, [])
    assert (base.facts["operator"], model.facts["operator"]) == ("fp32", "bnn")
    assert all(base.facts[name] == model.facts[name] for name in ("task", "model", "recipe", "seed"))
    other = contenders([exported(tmp_path / "other.onnx", None)], plain, [])
    assert [one.facts["model"] for one in other] == ["fp32", "other"]


def test_the_baseline_takes_part_in_every_engine_of_the_models_that_reads_it(tmp_path: Path) -> None:
    base, net = convolution(tmp_path / "base.onnx"), convolution(tmp_path / "net.onnx")
    found = contenders([net], base, ["bibench", "onnxruntime"])
    assert [(c.key, c.engine, c.baseline) for c in found] == [
        ("baseline", "bibench", True),
        ("baseline1", "onnxruntime", True),
        ("model0", "bibench", False),
        ("model1", "onnxruntime", False),
    ]
    lite = tmp_path / "net.tflite"
    lite.write_bytes(b"TFL3")
    assert [c.engine for c in contenders([lite], base, [])] == ["onnxruntime", "larq"]


@pytest.mark.slow
def test_a_binarized_or_foreign_baseline_is_refused(tmp_path: Path) -> None:
    net = exported(tmp_path / "net.onnx", "bnn")
    with pytest.raises(BiBenchError, match=r"is binarized \(bnn\); give the full-precision model"):
        contenders([net], net, [])
    with tiny_world():
        one = exported(tmp_path / "one.onnx", "bnn", cell=cell("bnn").to_dict())
        other = exported(tmp_path / "other.onnx", None, cell={**cell("fp32").to_dict(), "model": "vgg_small[width=4]"})
        with pytest.raises(
            BiBenchError, match=r"is of model 'vgg_small\[width=4\]', .*one.onnx of 'vgg_small\[width=2"
        ):
            contenders([one], other, [])


def test_two_that_could_not_be_told_apart(tmp_path: Path) -> None:
    files = [convolution(tmp_path / folder / "net.onnx") for folder in ("a", "b")]
    with pytest.raises(BiBenchError, match=r"would both be recorded as net \(onnxruntime\); rename"):
        contenders(files, None, [])


def test_unknown_engines_and_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown engine 'tensorrt'; known: .*dabnn, larq, onnxruntime"):
        contenders([convolution(tmp_path / "net.onnx")], None, ["tensorrt"])
    (tmp_path / "x.bin").touch()
    with pytest.raises(BiBenchError, match=r"x.bin: no engine is known for .bin; name one with --engines"):
        contenders([tmp_path / "x.bin"], None, [])
    with pytest.raises(BiBenchError, match=r"none.onnx does not exist"):
        contenders([tmp_path / "none.onnx"], None, [])
    with pytest.raises(BiBenchError, match=r"is a folder; expected a model file"):
        contenders([tmp_path], None, [])
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(BiBenchError, match=r"bad.onnx is no ONNX model, or damaged"):
        contenders([tmp_path / "bad.onnx"], None, [])


def with_weights_beside(path: Path, location: str) -> Path:
    model = onnx.load(convolution(path))
    onnx.external_data_helper.convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    onnx.save(model, path)
    unread = onnx.load(path, load_external_data=False)
    for entry in unread.graph.initializer[0].external_data:
        entry.value = location if entry.key == "location" else entry.value
    path.write_bytes(unread.SerializeToString())
    return path


def test_weights_in_other_files_count_and_must_be_there(tmp_path: Path) -> None:
    [one] = contenders([with_weights_beside(tmp_path / "a" / "net.onnx", "w.bin")], None, [])
    assert set(one.parts) == {"net.onnx", "w.bin"}
    assert one.bytes == sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    (tmp_path / "a" / "w.bin").unlink()
    with pytest.raises(BiBenchError, match=r"its weights 'w.bin' are missing; copy them beside it"):
        contenders([tmp_path / "a" / "net.onnx"], None, [])


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret"])
def test_weights_elsewhere_are_not_touched(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").touch()
    file = with_weights_beside(tmp_path / "b" / "net.onnx", location)
    with pytest.raises(BiBenchError, match=r"lie outside of its folder"):
        contenders([file], None, [])


def test_digests_are_those_of_manifests(tmp_path: Path) -> None:
    file = exported(tmp_path / "a.onnx", "bnn")
    described = manifest.read(file)
    assert described is not None and described.sha256 == file_sha256(file)


def test_files_of_another_engine(tmp_path: Path) -> None:
    net = convolution(tmp_path / "net.onnx")
    lite = tmp_path / "net.tflite"
    lite.write_bytes(b"TFL3")
    for file, engine, words in (
        (net, "larq", r"net.onnx: engine 'larq' reads .tflite files; bibench export --engine larq writes one"),
        (net, "dabnn", r"net.onnx: engine 'dabnn' reads .dab files; .*to_dab makes one"),
        (lite, "bibench", r"net.tflite: engine 'bibench' reads .onnx files"),
    ):
        with pytest.raises(BiBenchError, match=words):
            contenders([file], None, [engine])
