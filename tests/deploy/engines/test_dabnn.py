"""daBNN: the strict form, proved equal to the training graph, its check, and a stand-in of its converter."""

import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import Deployed
from bibench.deploy.dabnn.pattern import check_pattern
from bibench.deploy.engines.dabnn import VARIABLE, DaBNN, to_dab
from bibench.deploy.parity import verify
from bibench.foundation.errors import BiBenchError, MissingLibraryError, UnsupportedError
from bibench.operators import known_operators

from ..models import Around, binary, stir

RUNS = [name for name in known_operators() if name not in ("fp32", "xnor", "xnorpp", "reactnet")]


@pytest.mark.parametrize("operator", RUNS)
@pytest.mark.parametrize("name", ["resnet18", "vgg_small"])
@pytest.mark.slow_but("vgg_small-bnn")
def test_whole_models(operator: str, name: str, tmp_path: Path) -> None:
    model, x = binary(name, operator, pad_value=-1)
    path = tmp_path / "model.onnx"
    made = bibench.export(model, path, x, "dabnn")
    assert any("sign(0) = -1" in note for note in made.notes)
    report = verify(path, model, x)
    assert len(report.layers) == len(made.layers)
    assert report.equal, report.summary()
    proto = onnx.load(path)
    assert check_pattern(proto) == []
    onnx.checker.check_model(proto)
    assert {n.op_type for n in proto.graph.node} <= {
        *("Pad", "Sign", "Conv", "BatchNormalization", "Add", "Relu", "MaxPool", "AveragePool", "Reshape", "Gemm")
    }
    assert sum(n.op_type == "Pad" for n in proto.graph.node) == len(made.layers)


@pytest.mark.slow
def test_activations_and_another_epsilon(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tails = [
        nn.PReLU(6),
        nn.ReLU(),
        nn.Hardtanh(-0.5, 2.0),
        nn.ReLU6(),
        nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(6, 0.3)),
    ]
    for tail in tails:
        layer = nn.Sequential(nn.Conv2d(5, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6, eps=0.5))
        model = stir(Around(layer, tail))
        x = torch.randn(3, 5, 9, 8)
        bibench.binarize(model, "recu", example_inputs=x, keep=(), pad_value=-1)
        model.eval()
        bibench.export(model, tmp_path / "m.onnx", x, "dabnn")
        report = verify(tmp_path / "m.onnx", model, x)
        assert report.equal, (tail, report.summary())


def test_a_zero_has_the_sign_of_dabnn(tmp_path: Path) -> None:
    model = Around(nn.Conv2d(4, 3, 1, bias=False))
    x = torch.zeros(2, 4, 2, 2)
    bibench.binarize(model, "bnn", example_inputs=x, keep=())
    bibench.export(model.eval(), tmp_path / "m.onnx", x, "dabnn")
    with torch.no_grad():
        np.testing.assert_array_equal(Deployed(tmp_path / "m.onnx")(x)[0], -model(x).numpy())


@pytest.mark.parametrize(
    ("operator", "layer", "shape", "options", "reason"),
    [
        ("bnn", nn.Conv2d(4, 4, 3, padding=1), (4, 5, 5), {}, r"a border of 0; .* pad_value=-1"),
        ("bnn", nn.Conv2d(4, 4, 3, groups=2), (4, 5, 5), {}, "groups=2"),
        ("bnn", nn.Conv1d(4, 4, 3), (4, 5), {}, "1-bit conv1d"),
        ("bnn", nn.Linear(4, 4), (4,), {}, "1-bit linear"),
        ("reactnet", nn.Conv2d(4, 4, 3), (4, 5, 5), {}, "mean-shift"),
        ("xnor", nn.Conv2d(4, 4, 3), (4, 5, 5), {}, "computed at run time"),
        ("xnorpp", nn.Conv2d(4, 4, 3), (4, 5, 5), {}, "axes of the map"),
    ],
)
def test_refusals(
    operator: str, layer: nn.Module, shape: tuple[int, ...], options: dict[str, int], reason: str, tmp_path: Path
) -> None:
    model, x = Around(layer), torch.randn(2, *shape)
    bibench.binarize(model, operator, example_inputs=x, keep=(), **options)
    with pytest.raises(UnsupportedError, match=reason):
        bibench.export(model.eval(), tmp_path / "m", x, "dabnn")


class TestCheck:
    """Every rule of the form is seen when it is broken."""

    @pytest.fixture(scope="class")
    def proto(self, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
        model, x = binary("vgg_small", "dorefa", pad_value=-1)
        path = tmp_path_factory.mktemp("strict") / "m.onnx"
        bibench.export(model, path, x, "dabnn")
        return onnx.load(path)

    @pytest.mark.parametrize(
        ("kind", "change", "found"),
        [
            ("Pad", lambda n: n.attribute.append(onnx.helper.make_attribute("value", 0.0)), "constants -1"),
            ("Sign", lambda n: setattr(n, "op_type", "Erf"), "Erf is unknown"),
            ("Conv", lambda n: n.attribute.append(onnx.helper.make_attribute("group", 2)), "2 groups"),
            ("BatchNormalization", lambda n: n.attribute.append(onnx.helper.make_attribute("epsilon", 0.1)), "epsilon"),
            ("BatchNormalization", lambda n: setattr(n, "op_type", "Relu"), "followed by BatchNormalization"),
        ],
    )
    def test_of_nodes(self, proto: onnx.ModelProto, kind: str, change: object, found: str) -> None:
        broken = onnx.ModelProto()
        broken.CopyFrom(proto)
        binary_conv = next(n for n in broken.graph.node if n.op_type == "Conv" and "/dot" in n.output[0])
        after = next(n for n in broken.graph.node if binary_conv.output[0] in n.input)
        node = {"Conv": binary_conv, "BatchNormalization": after}.get(kind) or next(
            n for n in broken.graph.node if n.op_type == kind
        )
        kept = [a for a in node.attribute if a.name not in ("value", "group", "epsilon")]
        del node.attribute[:]
        node.attribute.extend(kept)
        change(node)  # type: ignore[operator]
        assert any(found in problem for problem in check_pattern(broken)), check_pattern(broken)

    def test_of_the_file(self, proto: onnx.ModelProto) -> None:
        newer = onnx.ModelProto()
        newer.CopyFrom(proto)
        newer.ir_version, newer.opset_import[0].version = 8, 17
        newer.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
        newer.graph.input.pop()
        found = " ".join(check_pattern(newer))
        for part in ("IR version 8", "opset 9 alone", "batch 1", "is not listed as an input"):
            assert part in found

    def test_of_a_naive_export(self, tmp_path: Path) -> None:
        model, x = binary("vgg_small", "dorefa")
        bibench.export(model, tmp_path / "m.onnx", x, "onnxruntime")
        with pytest.raises(BiBenchError, match="not in the form that daBNN takes"):
            DaBNN().load(tmp_path / "m.onnx")


def converter(folder: Path, script: str) -> Path:
    program = folder / "onnx2bnn"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_the_users_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = binary("vgg_small", "bnn", pad_value=-1)
    path = tmp_path / "a model;.onnx"
    bibench.export(model, path, x, "dabnn")
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(MissingLibraryError, match=VARIABLE):
        to_dab(path)
    monkeypatch.setenv(VARIABLE, str(converter(tmp_path, '[ "$3" = --strict ] && cp "$1" "$2"')))
    assert to_dab(path).read_bytes() == path.read_bytes()
    assert to_dab(path).name == "a model;-dabnn.dab"
    monkeypatch.setenv(VARIABLE, str(converter(tmp_path, "echo Unsupported operator Sign >&2; exit 3")))
    with pytest.raises(BiBenchError, match=r"refuses .*Unsupported operator Sign"):
        to_dab(path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(BiBenchError, match="cannot be run"):
        to_dab(path)
