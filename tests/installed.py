"""What an installed wheel must do, with torch, NumPy and ONNX Runtime alone: python tests/installed.py

cibuildwheel runs it on every wheel, tests/test_wheel.py in a virtual environment without a compiler. It prints the
kernels that served, or fails.
"""

import tempfile
from importlib import metadata, resources
from pathlib import Path

import torch

import bibench
from bibench import deploy
from bibench.kernels import native


def has_its_data() -> None:
    package = resources.files("bibench")
    for name in ("_core.pyi", "deploy/devices/known.toml", "published/raw/accuracy.csv", "published/raw/latency.csv"):
        assert package.joinpath(name).is_file(), name
    files = metadata.files("bibench") or []
    assert any(file.name == "LICENSE" for file in files)


def kernels_equal_torch(model: torch.nn.Module, images: torch.Tensor) -> None:
    assert native.isa() != native.NONE, "the compiled core does not load"
    found = {}
    for name in (*native.available(), native.NONE):
        with native.using(name):
            model.zero_grad()
            model(images).square().sum().backward()
            found[name] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for name, gradients in found.items():
        assert all(map(torch.equal, gradients, found[native.NONE])), name


def exported_model_runs(model: torch.nn.Module, images: torch.Tensor, folder: Path) -> None:
    made = bibench.export(model.eval(), folder / "model.onnx", images)
    assert made.layers and made.engine == "bibench"
    with torch.no_grad():
        expected = model(images)
    for threads in (1, 2):
        outputs = deploy.load(folder / "model.onnx", threads=threads)(images)
        torch.testing.assert_close(torch.from_numpy(outputs[0]), expected, rtol=1e-4, atol=1e-5)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = bibench.models.create("resnet20", width=8)
    images = torch.randn(4, 3, 32, 32)
    bibench.binarize(model, "xnor", example_inputs=images)
    has_its_data()
    kernels_equal_torch(model, images)
    with tempfile.TemporaryDirectory() as folder:
        exported_model_runs(model, images, Path(folder))
    print(bibench.__file__, native.isa())


if __name__ == "__main__":
    main()
