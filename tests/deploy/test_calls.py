"""Models that are called, or that answer, in other ways than one tensor in and one out."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bibench
from bibench import deploy
from bibench.deploy import ENGINES
from bibench.deploy.parity import verify
from bibench.foundation.errors import BiBenchError, StoreError, UnsupportedError
from bibench.nn.attention import Attention

ENGINE = "onnxruntime" if ENGINES["bibench"]().available() else "bibench"
HERE = [name for name in (ENGINE, "torch") if not ENGINES[name]().available()]


class Net(nn.Module):
    """Optional arguments, one layer called for both inputs, by name too, and under two names, nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.inner = nn.Linear(16, 16)
        self.again = self.inner
        self.last = nn.Linear(16, 4)

    def forward(self, x: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Any:
        hidden = self.inner(input=self.first(input=x))
        if y is not None:
            hidden = hidden - self.inner(F.hardtanh(self.first(y)))
        if z is not None:
            hidden = hidden * z
        return self.last(self.again(hidden)), {"hidden": hidden, "more": [None, hidden + 1]}


def net(example: Any) -> Net:
    torch.manual_seed(0)
    model = Net()
    bibench.binarize(model, "reactnet", example_inputs=example)
    return model.eval()


def values(batch: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"x": torch.randn(batch, 8), "y": torch.randn(batch, 8), "z": torch.randn(batch, 16)}


CALLS = {
    "by position": ("x", "y", "z"),
    "with none between": ("x", None, "z"),
    "by name": {"z": "z", "x": "x"},
}


def arguments(call: Any, batch: int) -> Any:
    found = values(batch)
    if isinstance(call, dict):
        return {name: found[key] for name, key in call.items()}
    return tuple(None if key is None else found[key] for key in call)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("engine", HERE)
@pytest.mark.slow_but("bibench-by name")
def test_arguments_and_outputs(call: Any, engine: str, tmp_path: Path) -> None:
    model = net(arguments(call, 3))
    path = (tmp_path / "m").with_suffix(ENGINES[engine].extension)
    made = bibench.export(model, path, arguments(call, 3), engine)
    order = call.values() if isinstance(call, dict) else call
    assert [t.name for t in made.inputs] == [name for name in order if name]
    assert {t.shape[0] for t in (*made.inputs, *made.outputs)} == {"batch"}
    assert len(made.outputs) == 3
    report = verify(path, model, arguments(call, 5))
    assert len(report.layers) >= 2
    assert report.equal, report.summary()


def test_numbers_of_another_kind(tmp_path: Path) -> None:
    for dtype, name in ((torch.float64, "float64"), (torch.bfloat16, "bfloat16")):
        model, x = net(values(2)["x"]).to(dtype), values(2)["x"].to(dtype)
        with pytest.raises(BiBenchError, match=rf"the model has {name} parameters.*copy.deepcopy\(model\).float\(\)"):
            bibench.export(model, tmp_path / "m", x, ENGINE)
    with pytest.raises(BiBenchError, match=r"empty tensor, \(0, 8\)"):
        bibench.export(net(values(2)["x"]), tmp_path / "m", torch.zeros(0, 8), ENGINE)
    assert not list(tmp_path.iterdir())


class Changing(Net):
    """Changes a layer's input in place after the layer has seen it, and gives a number."""

    def forward(self, x: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Any:
        hidden = self.first(x)
        hidden += self.inner(hidden)
        return self.last(F.relu6(hidden, inplace=True)), x.shape[0]


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.slow
def test_changes_in_place_and_wrapped_models(engine: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Changing(), values(4)["x"]
    bibench.binarize(model, "bnn", example_inputs=x)
    model.eval()
    path = (tmp_path / "m").with_suffix(ENGINES[engine].extension)
    made = bibench.export(torch.compile(model), path, x, engine)
    assert list(made.layers) == ["inner"]
    for same in (model, torch.compile(model), nn.DataParallel(model)):
        report = verify(path, same, values(7)["x"])
        assert report.flips == 0
        assert report.equal, report.summary()


def test_numbers_that_are_none(tmp_path: Path) -> None:
    model = Net()
    bibench.binarize(model, "xnor", example_inputs=values(2)["x"])
    with pytest.raises(UnsupportedError, match="layer 'inner' gives numbers that are not finite"):
        bibench.export(model.eval(), tmp_path / "m", torch.full((2, 8), float("nan")), ENGINE)


def test_a_forward_that_decides_by_values(tmp_path: Path) -> None:
    class Decides(Net):
        def forward(self, x: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Any:
            x = self.first(x)
            return self.last(self.inner(-x if x.sum() > 0 else x))

    with pytest.raises(UnsupportedError, match=r"cannot be traced.*decides by the values of a tensor.*torch.where"):
        bibench.export(Decides().eval(), tmp_path / "m", values(2)["x"], ENGINE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, Path]:
    """A model and its file."""
    model, x = net(values(2)["x"]), values(2)["x"]
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    bibench.export(model, path, x, ENGINE)
    return model, path


def test_what_a_deployed_model_is_called_with(exported: tuple[Net, Path]) -> None:
    deployed = deploy.load(exported[1])
    x = values(2)["x"]
    expected = deployed(x.numpy())
    for same in (x, x.clone().requires_grad_(), x.T.contiguous().T):
        assert all(np.array_equal(a, b) for a, b in zip(expected, deployed(same), strict=True))
    for wrong in (x.bfloat16(), [[1.0], [2.0, 3.0]], "x", x.double(), None):
        with pytest.raises(BiBenchError, match="input"):
            deployed(wrong)


@pytest.mark.slow
def test_file_names(exported: tuple[Net, Path], tmp_path: Path) -> None:
    model, x = exported[0], values(2)["x"]
    with pytest.raises(BiBenchError, match=r"engine 'torch' writes \.pt2 files; name the model file m\.pt2"):
        bibench.export(model, tmp_path / "m.onnx", x, "torch")
    made = bibench.export(model, tmp_path / "net[width=0.5].v1", x, "torch")
    assert made.file == "net[width=0.5].v1.pt2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net[width=0.5].v1.json", "net[width=0.5].v1.pt2"]
    before = (tmp_path / "net[width=0.5].v1.json").read_bytes()
    with pytest.raises(StoreError, match=r"is the manifest of net\[width=0.5\].v1.pt2, which needs it"):
        bibench.export(model, tmp_path / "net[width=0.5].v1.onnx", x, ENGINE)
    assert (tmp_path / "net[width=0.5].v1.json").read_bytes() == before
    (tmp_path / "cell.json").write_text('{"cell": {}}')
    with pytest.raises(StoreError, match=r"cell\.json is where the manifest of cell\.onnx belongs, and is another"):
        bibench.export(model, tmp_path / "cell.onnx", x, ENGINE)
    (tmp_path / "net[width=0.5].v1.json").write_text("{")  # damaged: the model says itself what to do
    assert bibench.export(model, tmp_path / "net[width=0.5].v1", x, "torch").bytes


def test_sessions(exported: tuple[Net, Path]) -> None:
    if ENGINE != "bibench":
        pytest.skip("bibench was installed without its compiled module")
    _, path = exported
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2

    def threads(**given: Any) -> int:
        return deploy.ort_session(path, **given).get_session_options().intra_op_num_threads

    assert threads() == 1
    assert threads(threads=2) == 2
    assert threads(options=options) == 2
    assert threads(options=options, threads=1) == 1
    for wrong in (0, -1, 1.5, True, 1025):
        with pytest.raises(BiBenchError, match="threads must be an integer from 1 to 1024"):
            deploy.ort_session(path, threads=wrong)


class TwoSizes(nn.Module):
    """One convolution for maps of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.inner(self.inner(self.first(x))))
        return y


def test_one_layer_for_maps_of_two_sizes(tmp_path: Path) -> None:
    """Where nothing depends on the size, that is one layer called twice; scales of rows and columns do."""
    x = torch.randn(2, 3, 12, 12)
    for operator in ("xnor", "xnorpp"):
        model = TwoSizes().eval()
        bibench.binarize(model, operator, example_inputs=x)
        if operator == "xnor":
            bibench.export(model, tmp_path / "m.onnx", x, ENGINE)
            assert verify(tmp_path / "m.onnx", model, x).equal
        else:
            with pytest.raises(
                UnsupportedError, match="layer 'inner' cannot be exported: it is called for maps of several"
            ):
                bibench.export(model, tmp_path / "m.onnx", x, ENGINE)


def test_what_is_no_model_and_what_is_no_provenance(exported: tuple[Net, Path], tmp_path: Path) -> None:
    with pytest.raises(BiBenchError, match=r"model must be a torch\.nn\.Module, got OrderedDict"):
        bibench.export(exported[0].state_dict(), tmp_path / "m.onnx", values(2)["x"])  # type: ignore[arg-type]
    for wrong in (object(), float("nan")):
        with pytest.raises(BiBenchError, match="provenance goes into a JSON file, which it does not fit"):
            bibench.export(exported[0], tmp_path / "m.onnx", values(2)["x"], ENGINE, provenance={"loss": wrong})
    with pytest.raises(StoreError, match=r"cannot write .*too long"):
        bibench.export(exported[0], tmp_path / ("m" * 300), values(2)["x"], ENGINE)
    assert not list(tmp_path.iterdir())


class Several(Net):
    """Any number of inputs, by position and by name; one layer for all of them, twice for the first."""

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        found = [*inputs, *named.values()]
        hidden = [self.inner(self.first(x)) for x in (found[0], *found)]
        self.last(hidden[-1])  # nothing uses it
        return sum(hidden) - self.inner(hidden[0])


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("by_name", [False, True], ids=["by position", "by name"])
@pytest.mark.slow_but("by position-bibench")
def test_any_number_of_arguments_and_calls(engine: str, by_name: bool, tmp_path: Path) -> None:
    def given(batch: int) -> Any:
        named = {"y": values(batch)["y"], "x": values(batch)["x"]}
        return named if by_name else tuple(named.values())

    torch.manual_seed(0)
    model = Several()
    bibench.binarize(model, "reactnet", example_inputs=given(3), keep=())
    path = (tmp_path / "m").with_suffix(ENGINES[engine].extension)
    made = bibench.export(model.eval(), path, given(3), engine)
    assert [t.name for t in made.inputs] == (["y", "x"] if by_name else ["input0", "input1"])
    assert {t.shape[0] for t in (*made.inputs, *made.outputs)} == {"batch"}
    assert sorted(made.layers) == ["first", "first#2", "first#3", "inner", "inner#2", "inner#3", "inner#4"]
    report = verify(path, model, given(5))
    assert len(report.layers) == (8 if engine == "torch" else 7)
    assert report.equal, report.summary()


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.slow
def test_a_batch_that_the_forward_fixes(engine: str, tmp_path: Path) -> None:
    class Fixed(Net):
        def forward(self, x: Tensor, y: Tensor | None = None, z: Tensor | None = None) -> Any:
            return self.last(self.inner(self.first(x.reshape(3, 8))))

    model, x = Fixed(), values(3)["x"]
    bibench.binarize(model, "bnn", example_inputs=x)
    path = (tmp_path / "m").with_suffix(ENGINES[engine].extension)
    made = bibench.export(model.eval(), path, x, engine)
    assert made.inputs[0].shape == (3, 8)
    assert "the batch is fixed to 3: the model's graph depends on it (its forward takes 3 examples only)" in made.notes
    assert verify(path, model, x).equal


class Attending(nn.Module):
    """Attention over (B, 1, T, d) or (B, T, d)."""

    def __init__(self, heads: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.attention = *(nn.Linear(8, 8) for _ in "qkv"), Attention()
        self.heads = heads

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (f(x).unsqueeze(1) if self.heads else f(x) for f in (self.q, self.k, self.v))
        y: Tensor = self.attention(q, k, v, mask)
        return y


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("heads", [True, False], ids=["heads", "no heads"])
@pytest.mark.slow
def test_attention_with_and_without_heads(engine: str, heads: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Attending(heads), torch.randn(4, 6, 8)
    bibench.binarize(model, "bnn", example_inputs=x, keep=())
    path = (tmp_path / "m").with_suffix(ENGINES[engine].extension)
    bibench.export(model.eval(), path, x, engine)
    report = verify(path, model, torch.randn(5, 6, 8))
    assert len(report.layers) == 4
    assert report.equal, report.summary()
