"""Networks of one's own: a function of a file builds them, a checkpoint has their weights."""

import warnings
from pathlib import Path

import pytest
import torch

import bibench
from bibench.deploy.factory import build
from bibench.deploy.measurable import is_source, measurable
from bibench.deploy.source import Named, calibration, some_inputs, trained
from bibench.foundation.errors import BiBenchError, CheckpointError

FILE = """
import torch
from torch import nn
import bibench

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.Hardtanh(), nn.Linear(width, width), nn.Linear(width, 2))

    def forward(self, x):
        return self.body(x)

def floats():
    return Net(), torch.ones(3, 6)

def alone():
    return Net()

def binarized():
    net, x = floats()
    bibench.binarize(net, "xnor", example_inputs=x)
    return net, x

def wide(width, *, depth, more=1):
    return Net(width)

def raises():
    return Net(width="eight")

def three():
    return Net(), 1, 2

def the_class():
    return Net

def nothing():
    pass

number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own_net.py"
    path.write_text(FILE)
    return path


@pytest.fixture(autouse=True)
def quiet() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bibench.foundation.errors.SpeedWarning)
        yield


def test_it_gives_the_network_and_its_inputs(file: Path) -> None:
    built = build(f"{file}:floats")
    assert built.name == "own_net.floats" and built.example_inputs.shape == (3, 6)
    assert build(f"{file}:Net").example_inputs is None  # a class is a function, too


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("", r"--factory .*own_net.py:: expected a Python file and a function of it, as in: net.py:build$"),
        ("not a name", "expected a Python file and a function"),
        ("float", "the file has no function of that name; did you mean 'floats'\\?$"),
        ("xyz", "no function of that name; it defines: Net, alone, binarized, floats, nothing, raises"),
        ("number", "it is of type int, no function"),
        ("wide", r"needs arguments \(width, depth\), .* def build\(\): return wide\(\.\.\.\)$"),
        ("raises", "raised, line 9: TypeError: "),
        ("three", "returned a tuple of Net, int, int, expected a torch.nn.Module, or a tuple of it and"),
        ("the_class", r"returned the class Net \(call it: Net\(\)\)"),
        ("nothing", "returned nothing, expected a torch.nn.Module"),
    ],
)
def test_what_is_no_factory(file: Path, named: str, said: str) -> None:
    with pytest.raises(BiBenchError, match=said) as told:
        build(f"{file}:{named}")
    assert "\n" not in str(told.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BiBenchError, match=r"--factory .*none.py: expected an existing Python file"):
        build(f"{tmp_path / 'none.py'}:build")
    (tmp_path / "broken_net.py").write_text("import torch\ntorch.nope\n")
    with pytest.raises(BiBenchError, match=r"broken_net.py cannot be imported: line 2: AttributeError"):
        build(f"{tmp_path / 'broken_net.py'}:build")
    with pytest.raises(BiBenchError, match="expected a Python file and a function"):
        build("net.py")


def saved(file: Path, function: str, folder: Path) -> tuple[Path, torch.nn.Module]:
    torch.manual_seed(1)
    model = build(f"{file}:{function}").model
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}, "epoch": 3}, folder / "own.pt")
    return folder / "own.pt", model


@pytest.mark.parametrize(("function", "operator"), [("floats", None), ("floats", "xnor"), ("binarized", None)])
def test_the_weights_are_loaded_and_the_model_is_as_in_python(
    file: Path, tmp_path: Path, function: str, operator: str | None
) -> None:
    path, model = saved(file, function, tmp_path)
    if operator:
        bibench.binarize(model, operator, example_inputs=torch.ones(3, 6))
        torch.save(model.state_dict(), path)
    found = trained(path, Named(operator=operator, factory=f"{file}:{function}"))
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.equal(found.model(x), model.eval()(x)) and not found.model.training
    assert found.task is None and found.provenance["model"] == f"own_net.{function}"
    assert found.provenance.get("operator") == operator and found.provenance["checkpoint"] == "own.pt"
    assert torch.equal(some_inputs(found, "test", 32), torch.ones(3, 6))
    with pytest.raises(BiBenchError, match="chooses ranges by training data: give --task"):
        calibration(found)


def test_weights_of_another_network(file: Path, tmp_path: Path) -> None:
    path, model = saved(file, "floats", tmp_path)
    state = model.state_dict()
    torch.save({**state, "body.0.weight": torch.ones(4, 6)}, path)
    with pytest.raises(CheckpointError, match=r"own.pt is not of .*:floats: 5 of 6 tensors fit; 1 of another shape"):
        trained(path, Named(factory=f"{file}:floats"))
    torch.save({k.replace("body", "trunk"): v for k, v in state.items()}, path)
    with pytest.raises(CheckpointError, match=r"is not of .*:floats with xnor: 0 of \d+ tensors fit; .*'trunk.'"):
        trained(path, Named(factory=f"{file}:floats", operator="xnor"))
    torch.save(model, path)
    with pytest.raises(CheckpointError, match=r"was therefore not opened .*of a model save the state_dict\(\) alone"):
        trained(path, Named(factory=f"{file}:floats"))


def test_choices_that_exclude_each_other(file: Path, tmp_path: Path) -> None:
    path, _ = saved(file, "binarized", tmp_path)
    cases = {
        "--model resnet20 and --factory .*: give one of them": Named(model="resnet20", factory=f"{file}:floats"),
        "--factory .*: model is already binarized": Named(operator="bnn", factory=f"{file}:binarized"),
        r"returns a model alone, .* or give --task": Named(factory=f"{file}:alone"),
        "give --task, --model and --operator, or for a model of your own --factory": Named(),
    }
    for said, named in cases.items():
        with pytest.raises(BiBenchError, match=said):
            trained(path, named)


def test_a_task_gives_inputs_to_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "images_net.py").write_text(
        "from bibench.models import create\n\ndef build():\n    return create('vgg_small', width=2)\n"
    )
    torch.save(build(f"{tmp_path / 'images_net.py'}:build").model.state_dict(), tmp_path / "own.pt")
    found = trained(tmp_path / "own.pt", Named("digits_photos", factory=f"{tmp_path / 'images_net.py'}:build"))
    assert found.task is not None and found.provenance["task"] == "digits_photos"
    assert some_inputs(found, "test", 4)[0].shape == (4, *found.example_inputs.shape[1:])


def test_checkpoints_are_exported_to_be_measured(file: Path, tmp_path: Path) -> None:
    path, model = saved(file, "floats", tmp_path)
    base = tmp_path / "base.pt"
    torch.save(model.state_dict(), base)
    bibench.binarize(model, "xnor", example_inputs=torch.ones(3, 6))
    torch.save(model.state_dict(), path)
    named, engines = Named(operator="xnor", factory=f"{file}:floats"), ["onnxruntime", "torch"]
    found = measurable([path], base, engines, named, tmp_path / "made")
    assert [(c.facts["model"], c.facts["operator"], c.engine) for c in found] == [
        ("own_net.floats", "fp32", "onnxruntime"),
        ("own_net.floats", "xnor", "onnxruntime"),
        ("own_net.floats", "xnor", "torch"),
    ]
    assert all(c.file.is_relative_to(tmp_path / "made") for c in found)
    with pytest.raises(BiBenchError, match=r"--baseline .*own.pt is binarized \(xnor\); give"):
        saved(file, "binarized", tmp_path)
        measurable([path], path, ["onnxruntime"], Named(factory=f"{file}:binarized"), tmp_path / "more")
    with pytest.raises(BiBenchError, match=r"--engines: .*own.pt is exported for each of them"):
        measurable([path, found[0].file], None, ["onnxruntime"], named, tmp_path / "mixed")


def test_what_is_a_model_file_and_what_is_trained(tmp_path: Path) -> None:
    for name in ("a.onnx", "a.tflite", "a.dab", "a.pt2", "a.pt", "a.ckpt"):
        (tmp_path / name).touch()
    assert [is_source(tmp_path / f"a.{end}") for end in ("onnx", "tflite", "dab", "pt2", "pt", "ckpt")] == [
        *[False] * 4,
        *[True] * 2,
    ]
    assert is_source(tmp_path) and not is_source(tmp_path / "none.pt")
