"""Whole models: every architecture, the manifest, task metrics, the command line, and bad input."""

import json
import platform
from collections import Counter
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import bibench
from bibench import deploy
from bibench.deploy import ENGINES
from bibench.deploy.judging import judge
from bibench.deploy.parity import verify
from bibench.deploy.session import open_session, session_options
from bibench.deploy.source import trained
from bibench.execution.worker import run_cell
from bibench.foundation.errors import BiBenchError, StoreError, UnsupportedError
from bibench.models import MODELS
from bibench.train.cell import Hooks, Settings

from ..cli.test_cli import Call, call
from ..worlds import TINY, cell, tiny_world
from .models import CATALOGUE, Around, binary, inputs

__all__ = ["call"]

ENGINE = "onnxruntime" if ENGINES["bibench"]().available() else "bibench"
ARCHITECTURES = dict(zip(CATALOGUE, cycle(["reactnet", "xnorpp", "recu", "fda", "xnor", "bireal", "dorefa"])))

# Two convolutions in each of 2 + 2 + 2 + 2 or 3 + 4 + 6 + 3 blocks; the first and those of shortcuts are float. A layer
# of a transformer has six products with weights and one attention; the pooler is one more.
NODES = {
    "resnet18": {"BinaryConv": 16},
    "resnet34": {"BinaryConv": 32},
    **{
        name: {"BinaryLinear": 6 * layers + 1, "BinaryAttention": layers}
        for name, layers in (("bert_tiny4", 4), ("bert_tiny6", 6), ("bert_base", 12))
    },
}


def test_no_architecture_is_left_out() -> None:
    assert set(CATALOGUE) == set(MODELS)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.slow_but("resnet20")
def test_every_architecture_is_the_same_model(name: str, tmp_path: Path) -> None:
    model, x = binary(name, ARCHITECTURES[name])
    path = tmp_path / "model.onnx"
    made = bibench.export(model, path, x, ENGINE)
    report = verify(path, model, x)
    assert report.layers
    if name in NODES and ENGINE == "bibench":
        nodes = Counter(n.op_type for n in onnx.load(path).graph.node)
        assert {kind: nodes[kind] for kind in NODES[name]} == NODES[name]
    assert report.equal, report.summary()
    assert made.inputs[0].shape[0] == "batch"
    assert not shapeless(path)
    assert any("detector" in note for note in made.notes) == (name in ("ssd300", "faster_rcnn"))


def shapeless(path: Path) -> list[str]:
    """Outputs of 1-bit nodes whose shapes the file does not state: the library infers none."""
    graph = onnx.load(path).graph
    stated = {v.name for v in (*graph.value_info, *graph.output) if v.type.tensor_type.HasField("shape")}
    return [name for node in graph.node if node.domain == "bibench" for name in node.output if name not in stated]


Deployed = tuple[nn.Module, torch.Tensor, Path]


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, torch.Tensor, Path]:
    """A model, inputs and its export as plain ONNX."""
    model, x = binary("vgg_small", "xnor")
    path = tmp_path_factory.mktemp("vgg") / "model.onnx"
    bibench.export(model, path, x, "onnxruntime")
    return model, x, path


@pytest.mark.slow
class TestManifest:
    def test_says_what_the_model_is(self, vgg: Deployed) -> None:
        data = json.loads(vgg[2].with_suffix(".json").read_text())
        assert data["engine"] == "onnxruntime"
        assert data["bytes"] == vgg[2].stat().st_size
        assert data["opset"] == {"ai.onnx": 20, "bibench": 1}
        assert data["inputs"] == [{"name": "x", "shape": ["batch", 3, 16, 16], "dtype": "float32"}]
        assert len(data["layers"]) == sum(row["weight_bits"] == 1 for row in data["audit"]["rows"]) == 5
        assert data["provenance"]["torch"]
        proto = onnx.load(vgg[2])
        inside = {p.key: json.loads(p.value) for p in proto.metadata_props}
        assert inside["bibench"]["provenance"] == data["provenance"]
        assert {i.domain for i in proto.opset_import} == {""}

    def test_nothing_of_this_machine_or_of_training_is_in_the_file(self, tmp_path: Path) -> None:
        model, x = binary("vgg_small", "fda")
        bibench.export(model, tmp_path / "model.onnx", x, "bibench")
        content = (tmp_path / "model.onnx").read_bytes()
        assert str(Path(bibench.__file__).parent).encode() not in content
        proto = onnx.load(tmp_path / "model.onnx")
        assert not [t.name for t in proto.graph.initializer if "operator" in t.name or "noise" in t.name]
        assert not [n.op_type for n in proto.graph.node if n.op_type in ("Sin", "RandomNormal", "Sign")]
        packed = [t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.UINT8]
        weights = sum(m.weight.numel() for _, m in bibench.binary_layers(model))
        assert weights / 8 <= sum(np.prod(t.dims) for t in packed) <= weights / 8 + 5 * 64

    def test_a_changed_or_cut_file_is_refused(self, vgg: Deployed, tmp_path: Path) -> None:
        for change in (lambda b: b[:-100], lambda b: b[:99] + bytes([b[99] ^ 1]) + b[100:]):
            path = tmp_path / "model.onnx"
            path.write_bytes(change(vgg[2].read_bytes()))
            path.with_suffix(".json").write_bytes(vgg[2].with_suffix(".json").read_bytes())
            for open_ in (deploy.load, deploy.ort_session):
                with pytest.raises(StoreError, match="truncated or was changed"):
                    open_(path)


class TestBadInput:
    def test_training_mode(self, vgg: Deployed, tmp_path: Path) -> None:
        model = Around(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        with pytest.raises(BiBenchError, match=r"training mode.*model.eval\(\)"):
            bibench.export(model, tmp_path / "m.onnx", vgg[1])
        assert not list(tmp_path.iterdir())

    def test_inputs_that_do_not_fit(self, vgg: Deployed, tmp_path: Path) -> None:
        with pytest.raises(BiBenchError, match=r"cannot be called with example_inputs \(\(2, 5\) float32\)"):
            bibench.export(vgg[0], tmp_path / "m.onnx", torch.randn(2, 5), ENGINE)
        deployed = deploy.load(vgg[2])
        with pytest.raises(BiBenchError, match=r"input 'x' must be .*3, 16, 16\) float32, got \(1, 3, 15, 16\)"):
            deployed(torch.randn(1, 3, 15, 16))
        with pytest.raises(BiBenchError, match=r"1 inputs \(x\), got 2"):
            deployed(vgg[1], vgg[1])

    def test_an_operator_that_needs_a_third_value(self, tmp_path: Path) -> None:
        model, x = binary("vgg_small", "recu", profile="bibench")
        with pytest.raises(UnsupportedError, match=r"layer|third value"):
            bibench.export(model, tmp_path / "m.onnx", x)

    def test_an_operator_whose_statement_is_not_true(self, tmp_path: Path) -> None:
        class Doubles(bibench.Operator):
            name = "doubles"

            def output(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
                return 2 * y

        x = torch.randn(2, 3, 6, 6)
        model = Around(nn.Conv2d(3, 4, 3))
        bibench.binarize(model, Doubles, example_inputs=x, keep=())
        with pytest.raises(UnsupportedError, match="layer 'layer' cannot be exported: what its operator states"):
            bibench.export(model.eval(), tmp_path / "m.onnx", x)

    def test_paths(self, vgg: Deployed, tmp_path: Path) -> None:
        with pytest.raises(BiBenchError, match="is a folder"):
            bibench.export(vgg[0], tmp_path, vgg[1], ENGINE)
        with pytest.raises(BiBenchError, match=r"\.json is the manifest's"):
            bibench.export(vgg[0], tmp_path / "m.json", vgg[1], ENGINE)
        with pytest.raises(StoreError, match="cannot write"):
            bibench.export(vgg[0], tmp_path / "none" / "m.onnx", vgg[1], ENGINE)
        with pytest.raises(StoreError, match="does not exist"):
            deploy.load(tmp_path / "nothing.onnx")

    def test_another_model(self, vgg: Deployed) -> None:
        other, x = binary("resnet20")
        with pytest.raises(BiBenchError, match="not the one that was exported"):
            verify(vgg[2], other, x)

    def test_int8_wants_data_and_full_precision(self, vgg: Deployed, tmp_path: Path) -> None:
        with pytest.raises(BiBenchError, match="give calibration"):
            bibench.export(vgg[0], tmp_path / "m.onnx", vgg[1], "onnxruntime_int8")
        with pytest.raises(UnsupportedError, match="already 1-bit"):
            bibench.export(vgg[0], tmp_path / "m.onnx", vgg[1], "onnxruntime_int8", calibration=[[vgg[1].numpy()]])


def int8_tolerance() -> float:
    """ONNX Runtime adds pairs of 8-bit products in 16 bits, which saturate, on x86 processors without VNNI."""
    processor = Path("/proc/cpuinfo")
    saturates = platform.machine() == "x86_64" and processor.exists() and "vnni" not in processor.read_text()
    return 0.25 if saturates else 0.1


@pytest.mark.slow
def test_int8_is_close_to_full_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = bibench.models.create("resnet20", width=4, num_classes=4, input_shape=(3, 16, 16)).eval()
    x = torch.randn(16, 3, 16, 16)
    bibench.export(model, tmp_path / "m.onnx", x, "onnxruntime_int8", calibration=[[x.numpy()]])
    with torch.no_grad():
        expected = model(x).numpy()
    found = deploy.load(tmp_path / "m.onnx")(x)[0]
    assert 0 < np.abs(found - expected).max() < int8_tolerance() * np.abs(expected).max()


def optimized(path: Path) -> Counter[str]:
    """What ONNX Runtime makes of the nodes of a file."""
    options = session_options(1)
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    open_session(path.read_bytes(), options, str(path))
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.slow
def test_int8_leaves_no_convolution_in_float(tmp_path: Path) -> None:
    """Also behind shortcuts, which two nodes read: a baseline that falls back to float32 there is none."""
    torch.manual_seed(0)
    model = bibench.models.create("resnet18", width=4, num_classes=4, input_shape=(3, 32, 32)).eval()
    x = torch.randn(4, 3, 32, 32)
    bibench.export(model, tmp_path / "m.onnx", x, "onnxruntime_int8", calibration=[[x.numpy()]])
    nodes = optimized(tmp_path / "m.onnx")
    assert nodes["QLinearConv"] == sum(isinstance(m, torch.nn.Conv2d) for m in model.modules()) == 20
    assert nodes["QLinearAdd"] == 8 and nodes["Conv"] == nodes["FusedConv"] == nodes["Add"] == 0


def test_int8_makes_no_remarks_on_norms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2), torch.nn.BatchNorm2d(4)).eval()
    x = torch.randn(2, 3, 8, 8)
    bibench.export(model, tmp_path / "m.onnx", x, "onnxruntime_int8", calibration=[[x.numpy()]])
    assert not [record for record in caplog.records if "weight" in record.getMessage()]


@pytest.mark.slow
def test_int8_of_a_transformer_has_its_products_in_8_bits_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = bibench.models.create("bert", vocabulary=50, max_length=32, num_classes=4, input_shape=(16,)).eval()
    x = inputs("bert", 8)
    bibench.export(model, tmp_path / "m.onnx", x, "onnxruntime_int8", calibration=[[one.numpy() for one in x]])
    nodes = optimized(tmp_path / "m.onnx")
    linear = sum(isinstance(m, torch.nn.Linear) for m in model.modules())
    products = [kind for kind in nodes if "MatMul" in kind or "Gemm" in kind]
    assert set(products) <= {"QLinearMatMul", "MatMulIntegerToFloat", "QGemm"}
    assert sum(nodes[kind] for kind in products) == linear + 2 * nodes["Softmax"] and nodes["Softmax"] > 0
    with torch.no_grad():
        expected = model(*x).numpy()
    found = deploy.load(tmp_path / "m.onnx")(*x)[0]
    assert 0 < np.abs(found - expected).max() < int8_tolerance() * np.abs(expected).max()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained cell of the tiny task."""
    folder = tmp_path_factory.mktemp("runs")
    with tiny_world():
        for operator in ("fp32", "reactnet"):
            run_cell(cell(operator), Settings(folder, device="cpu"), Hooks(), anew=False)
    return folder / cell("reactnet").path


@pytest.mark.slow
def test_task_metric_equals_the_training_graph(run: Path, tmp_path: Path) -> None:
    with tiny_world():
        source = trained(run)
        for engine in ("bibench", "onnxruntime", "torch"):
            if ENGINES[engine]().available():
                continue
            path = tmp_path / f"{engine}{ENGINES[engine].extension}"
            deploy.export(source.model, path, source.task.example_inputs(), engine)
            by_file, by_model = judge(deploy.load(path), source.task), judge(source.model, source.task)
            assert by_file.metrics["accuracy"] == by_model.metrics["accuracy"]
            assert replace(by_file, metrics={}) == replace(by_model, metrics={})


def test_command_line(run: Path, call: Call, tmp_path: Path) -> None:
    for source in (run, run / "model.pt"):
        made = call("export", source, "--engine", ENGINE, "-o", tmp_path / "m", "--load", TINY)
        assert made.code == 0, made.err
        assert f"for engine {ENGINE}" in made.out
    manifest = json.loads((tmp_path / "m.json").read_text())
    assert manifest["provenance"]["cell"]["operator"] == "reactnet"
    proof = call("verify", tmp_path / "m.onnx", "--against", run, "--load", TINY)
    assert proof.code == 0, proof.err
    assert "the same model" in proof.out
    assert "accuracy on the test split: trained" in proof.out
    proof = call("verify", tmp_path / "m.onnx", "--against", run, "--load", TINY, "--json", "--no-metric")
    assert proof.json["equal"] is True
    wrong = call("export", tmp_path, "-o", tmp_path / "n", "--load", TINY)
    assert wrong.code == 2
    assert "is no cell" in wrong.err
    grid = call("deploy", "matrix", "--task", "tiny", "--operators", "bnn,xnor", "--json", "--load", TINY)
    assert {row["engine"]: row["deployable"] for row in grid.json}["bibench"] is True
    assert {row["engine"]: row["deployable"] for row in grid.json}["onnxruntime_int8"] is False
