"""What runs where, before any training: one row per operator, model and engine, with the layers that do not run."""

import pytest
import torch

from bibench.deploy.matrix import Deployability, matrix
from bibench.foundation.choice import choice
from bibench.foundation.errors import UnknownNameError
from bibench.tasks import TASKS

VGG = "vgg_small[width=4]"


def rows(
    operators: str, engines: str, task: str = "digits_photos", model: str = VGG
) -> dict[tuple[str, str], Deployability]:
    chosen = [choice(name) for name in operators.split()]
    found = matrix(TASKS[task](), [choice(model)], chosen, engines.split())
    return {(row.operator, row.engine): row for row in found}


def test_reasons_name_their_layers() -> None:
    found = rows("fp32 bnn xnor", "bibench larq dabnn onnxruntime_int8")
    assert len(found) == 12
    assert all(row.deployable for (_, engine), row in found.items() if engine == "bibench")
    assert all(row.deployable and row.layers == 0 for (operator, _), row in found.items() if operator == "fp32")
    assert found["bnn", "larq"].deployable and found["bnn", "larq"].layers == 5
    xnor = found["xnor", "larq"]
    assert not xnor.deployable
    [(reason, layers)] = xnor.reasons.items()
    assert reason.startswith("an activation scale computed at run time")
    assert len(layers) == xnor.layers == 5 and "features.3" in layers
    assert xnor.to_dict()["obstacles"][0] == {"layer": layers[0], "reason": reason}
    assert "pads with -1" in found["bnn", "dabnn"].obstacles[0].reason
    assert "already 1-bit" in found["bnn", "onnxruntime_int8"].obstacles[0].reason


def test_attention_and_depthwise() -> None:
    bert = rows("bireal", "bibench larq dabnn", "embedded_cola", "bert[layers=1]")
    assert bert["bireal", "bibench"].deployable
    assert any("two binarized activations" in reason for reason in bert["bireal", "larq"].reasons)
    fsmn = rows("bireal", "bibench larq", "formant_words", "fsmn[num_blocks=2,width=8]")
    assert fsmn["bireal", "bibench"].deployable
    assert all("memory" in layer for layer, _ in fsmn["bireal", "larq"].obstacles)


def test_a_third_value_and_what_cannot_be_built() -> None:
    found = rows("recu[profile=bibench]", "bibench torch")
    assert all("third value" in reason for row in found.values() for reason in row.reasons)
    [row] = rows("bnn", "bibench", model="vgg_small[depth=3]").values()
    assert not row.deployable
    assert "depth" in row.problem
    with pytest.raises(UnknownNameError, match="unknown model 'vgg_smal'; did you mean 'vgg_small'"):
        rows("bnn", "bibench", model="vgg_smal")


def test_nothing_is_computed() -> None:
    before = torch.get_rng_state()
    rows("reactnet", "bibench", model="vgg_small[width=512]")
    assert torch.equal(torch.get_rng_state(), before)
