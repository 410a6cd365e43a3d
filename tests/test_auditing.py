"""The audit: bits, parameters, MACs, reasons, and how it prints."""

import json

import torch
from rich.console import Console
from torch import nn

import bibench


def test_counts_of_resnet18() -> None:
    model = bibench.models.create("resnet18", num_classes=1000, input_shape=(3, 224, 224))
    x = torch.zeros(1, 3, 224, 224)
    audit = bibench.audit(model, x)
    assert audit.parameters == 11_689_512
    assert sum(audit.macs_by_bits().values()) == 1_814_073_344  # convolutions and classifier of the literature
    assert audit.binarized == []


def test_downsample_kept_or_binarized() -> None:
    for binarize_downsample in (False, True):
        model = bibench.models.create(
            "resnet18", num_classes=1000, input_shape=(3, 224, 224), binarize_downsample=binarize_downsample
        )
        audit = bibench.binarize(model, "bnn", example_inputs=torch.zeros(1, 3, 224, 224))
        # what stays 32-bit when the downsamples are binarized, as in the paper: stem, classifier, norms
        kept = audit.parameters_by_bits()[32]
        assert kept == 532_008 if binarize_downsample else kept == 532_008 + 172_032


def test_operator_parameters_are_counted_apart_from_the_layers() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(4, 2))
    audit = bibench.binarize(model, "recu", example_inputs=torch.zeros(1, 8))
    assert audit.rows[1].parameters == 8 * 4 + 4
    assert audit.other_parameters == 4  # ReCU's scales
    assert audit.parameters == sum(p.numel() for p in model.parameters())


def test_macs_of_every_kind() -> None:
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3, groups=2), nn.ConvTranspose1d(4, 2, 2, stride=2), nn.Flatten(), nn.Linear(2 * 12, 3)
    )
    audit = bibench.audit(model, torch.zeros(1, 2, 8))
    assert [row.macs for row in audit.rows] == [1 * 3 * 4 * 6, 2 * 2 * 4 * 6, 24 * 3]
    assert [row.macs for row in bibench.audit(model).rows] == [None, None, None]


def test_linear_over_tokens_counts_every_token() -> None:
    audit = bibench.audit(nn.Linear(4, 3), torch.zeros(2, 7, 4))
    assert audit.rows[0].macs == 7 * 4 * 3


def test_plain_text_says_what_matters() -> None:
    model = bibench.models.create("resnet20")
    text = str(bibench.binarize(model, "reactnet", example_inputs=torch.zeros(1, 3, 32, 32)))
    assert "18 of 22 weight layers binarized" in text
    assert "W1A1" in text
    assert "first layer" in text
    assert "downsample (binarize_downsample=False)" in text
    assert text.splitlines()[-1].startswith("18 of 22")


def test_rich_table_and_json() -> None:
    model = bibench.models.create("resnet20")
    audit = bibench.binarize(model, "bnn", example_inputs=torch.zeros(1, 3, 32, 32))
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(audit)
    assert "stages.0.0.conv1" in console.export_text()
    assert len(json.loads(json.dumps(audit.to_dict()))["rows"]) == 22
