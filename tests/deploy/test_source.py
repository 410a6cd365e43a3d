"""Trained models on the data of their tasks, as files take it: sentences of one length, images of detectors."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import bibench
from bibench.comparators.compressor import compressor_of
from bibench.deploy import ENGINES, load
from bibench.deploy.judging import judge
from bibench.deploy.parity import verify
from bibench.deploy.source import Named, Source, calibration, padded, some_inputs, trained
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, CheckpointError
from bibench.tasks import TASKS

ENGINE = "onnxruntime" if ENGINES["bibench"]().available() else "bibench"
SMALL = {"layers": 1, "hidden": 16, "heads": 2, "ffn": 16}


def test_padding() -> None:
    ids, mask = torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)
    longer, masked = padded((ids, mask), [(5,), (5,)])
    assert longer.tolist() == [[1, 1, 1, 0, 0]] * 2
    assert masked.dtype == torch.bool
    assert masked.sum() == 6
    images = torch.ones(1, 3, 4, 4)
    (wider,) = padded((images,), [(3, 4, 6)])
    assert wider.shape == (1, 3, 4, 6)
    assert wider[..., 4:].sum() == 0
    for sizes in ([(3, 4, 4)], [(3, 2, 2)], [("channels", "h", "w")], [(3, 9)], [(3, 9, 9), (1,)]):
        assert padded((images,), sizes)[0] is images


@pytest.fixture(scope="module")
def sentences() -> Source:
    """A binarized BERT and its task, whose batches are as long as their longest sentence."""
    torch.manual_seed(0)
    task = TASKS["embedded_cola"]()
    model = task.model("bert", SMALL)
    bibench.binarize(model, "xnor", example_inputs=task.example_inputs())
    return Source(model.eval(), task, {})


@pytest.mark.slow
def test_sentences_of_any_length(sentences: Source, tmp_path: Path) -> None:
    task, path = sentences.task, tmp_path / "bert.onnx"
    (batch, *_) = task.batches("test", batch_size=8).epoch(0)
    assert batch.inputs[0].shape[1] < task.example_inputs()[0].shape[1]
    bibench.export(sentences.model, path, task.example_inputs(), ENGINE)
    report = verify(path, sentences.model, some_inputs(sentences, "test", 8))
    assert report.examples == 8
    assert report.equal, report.summary()
    by_file, by_model = judge(load(path), task), judge(sentences.model, task)
    assert by_file.metrics == by_model.metrics


def test_sentences_calibrate(sentences: Source) -> None:
    found = calibration(sentences, batches=2, size=4)
    shapes = [tuple(x.shape) for x in sentences.task.example_inputs()]
    assert [[x.shape for x in batch] for batch in found] == [[(4, *shape[1:]) for shape in shapes]] * 2


@pytest.mark.slow
def test_detectors_calibrate() -> None:
    """A detector is called with a list of images; its deployed part with one tensor of scaled ones."""
    task = TASKS["digit_scenes_voc"]().for_model("faster_rcnn")
    options = {"width": 8, "proposals": 5, "rois": 4, "roi_size": 3}
    source = Source(task.model("faster_rcnn", options).eval(), task, {})
    found = calibration(source, batches=2, size=2)
    assert len(found) == 2
    network: Tensor = torch.from_numpy(found[0][0])
    assert network.shape[:2] == (2, 3)


def test_a_checkpoint_of_ones_own(tmp_path: Path) -> None:
    """A state dictionary says nothing of itself; the task, model and operator are given beside it."""
    task = TASKS["digits_photos"]()
    model = task.model("vgg_small", {"width": 2})
    bibench.binarize(model, "bnn", example_inputs=task.example_inputs())
    path = tmp_path / "mine.pt"
    torch.save({"state_dict": model.state_dict()}, path)
    found = trained(path, Named("digits_photos", "vgg_small[width=2]", "bnn"))
    assert not found.model.training
    assert found.provenance == {
        "task": "digits_photos",
        "model": "vgg_small[width=2]",
        "operator": "bnn",
        "checkpoint": "mine.pt",
    }
    for name, value in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    with pytest.raises(BiBenchError, match="does not say what it is of: give --task, --model and --operator"):
        trained(path)
    with pytest.raises(BiBenchError, match=r"mine.pt is not of vgg_small\[width=3\] with bnn on digits_photos"):
        trained(path, Named("digits_photos", "vgg_small[width=3]", "bnn"))


def test_checkpoints_of_others(tmp_path: Path) -> None:
    task = TASKS["digits_photos"]()
    named = ("digits_photos", "vgg_small[width=2]", "reactnet")
    model = task.model("vgg_small", {"width": 2})
    bibench.binarize(model, "reactnet", example_inputs=task.example_inputs())
    plain = model.state_dict()
    averaged = {name: value * 2 if value.is_floating_point() else value for name, value in plain.items()}
    path = tmp_path / "mine.pt"
    torch.save(
        {"net": {f"module.{name}": v for name, v in plain.items()}, "state_dict_ema": averaged, "epoch": 3}, path
    )
    with pytest.warns(
        UserWarning, match=r"mine.pt: the plain .* not the averaged ones of 'state_dict_ema'; --ema takes"
    ):
        found = trained(path, Named(*named))
    assert all(torch.equal(value, plain[name]) for name, value in found.model.state_dict().items())
    found = trained(path, Named(*named, averaged=True))
    assert all(torch.equal(value, averaged[name]) for name, value in found.model.state_dict().items())
    assert found.provenance["weights"] == "averaged"
    others = {f"encoder.{name}": value for name, value in plain.items()} | {"loss.weight": torch.ones(1)}
    torch.save({"state_dict": others}, path)
    with pytest.raises(CheckpointError, match=r"mine.pt is not of vgg_small.* names in the file begin with 'encoder.'"):
        trained(path, Named(*named))


def test_checkpoints_of_pruned_networks(tmp_path: Path) -> None:
    """How many filters are left is read from the weights, wherever they are in the file."""
    task = TASKS["digits_photos"]()
    model = task.model("vgg_small", {"width": 2})
    compressor_of(choice("l1_filters[ratio=0.5]")).prepare(model, task.example_inputs())
    path = tmp_path / "mine.pt"
    torch.save({"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, path)
    found = trained(path, Named("digits_photos", "vgg_small[width=2]", "l1_filters[ratio=0.5]"))
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.model.state_dict().items())


def test_the_border_of_a_state_dict_is_what_is_said(tmp_path: Path) -> None:
    """It is in no weight: a model trained with another border would become another model."""
    task = TASKS["digits_photos"]()
    model = task.model("vgg_small", {"width": 2})
    bibench.binarize(model, "bnn", example_inputs=task.example_inputs(), pad_value=-1)
    torch.save(model.eval().state_dict(), tmp_path / "mine.pt")
    found = trained(tmp_path / "mine.pt", Named("digits_photos", "vgg_small[width=2]", "bnn", -1))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(found.model(x), model(x))
    assert found.provenance["pad_value"] == "-1"
    other = trained(tmp_path / "mine.pt", Named("digits_photos", "vgg_small[width=2]", "bnn"))
    with torch.no_grad():
        assert not torch.equal(other.model(x), model(x))
