"""The audit: bits, parameters, MACs, reasons, and how it prints."""

import json
import warnings

import pytest
import torch
import torchvision
from rich.console import Console
from torch import nn

import bibench
import bibench.nn.attention
from bibench.foundation.errors import BinarizationWarning, SpeedWarning
from bibench.kernels.spec import of_layer
from bibench.kernels.surrogate import STE
from bibench.nn.gains import keep_patterns, no_gain

from ..deploy.models import CATALOGUE, binary


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


class Regions(nn.Module):
    """Three rows for each example go through the head; over two frames each at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 5, 3)
        self.frames = nn.Conv1d(5, 6, 1)
        self.products = bibench.nn.attention.Attention()
        self.out = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.stem(x).repeat(3, 1, 1, 1)).flatten(2)
        x = self.frames(x).transpose(1, 2)[:, None]
        return self.out(self.products(x, x, x).flatten(0, 2))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("binarized", [False, True])
def test_rows_of_the_batch_axis_beyond_the_examples_count(batch: int, binarized: bool) -> None:
    model, x = Regions(), torch.randn(batch, 3, 6, 6)
    audit = bibench.binarize(model, "bnn", example_inputs=x, keep=()) if binarized else bibench.audit(model, x)
    positions = 3 * 16
    expected = [36 * 4 * 27, positions * 5 * 36, positions * 6 * 5, positions * 16 * (6 + 6), positions * 2 * 6]
    assert [row.macs for row in audit.rows] == expected


def test_regions_of_a_detector_count_whatever_its_weights_find() -> None:
    """As many as it judges at most."""
    macs = {}
    for proposals in (12, 16):
        model = bibench.models.create(
            "faster_rcnn", num_classes=3, input_shape=(3, 64, 64), width=4, roi_size=4, proposals=proposals
        )
        audits = []
        for _ in range(2):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter))
            audits.append(bibench.audit(model, torch.rand(1, 3, 64, 64)))
        first, second = ({row.name: row.macs for row in audit.rows} for audit in audits)
        assert first == second
        assert model.network.backbone.conv1.weight.device.type == "cpu"
        macs[proposals] = first
    head = "network.roi_heads.box_predictor.cls_score"
    assert macs[12][head] == 12 * 32 * 4
    assert macs[16][head] == 16 * 32 * 4
    assert macs[12]["network.rpn.head.bbox_pred"] == macs[16]["network.rpn.head.bbox_pred"] > 0


class TestOneSign:
    """Layers none of whose inputs is negative."""

    def model(self, activation: nn.Module) -> nn.Sequential:
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), activation, nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 4)
        return nn.Sequential(*layers)

    @pytest.mark.parametrize("x", [torch.randn(2, 3, 8, 8), torch.zeros(1, 3, 8, 8)], ids=["values", "zeros"])
    def test_behind_a_relu_is_told_with_layer_and_fix(self, x: torch.Tensor) -> None:
        with pytest.warns(BinarizationWarning, match=r"^layer '3' takes the signs of inputs between 0 and \d") as told:
            audit = bibench.binarize(self.model(nn.ReLU()), "bnn", example_inputs=x)
        assert [str(w.message) for w in told] == [audit.problem]
        assert audit.problem.startswith(audit.warnings[0]) and audit.warnings[0].endswith(": all are +1")
        assert "Hardtanh in the place of a ReLU" in audit.problem and "such as reactnet" in audit.problem
        assert told[0].filename == __file__
        assert audit.summary().endswith("; layers that see no negative value: 1")
        assert f"\nwarning: {audit.problem}\n" in str(audit) and len(audit.to_dict()["warnings"]) == 1

    def test_many_layers_are_one_warning(self) -> None:
        model = torchvision.models.resnet18(num_classes=10)
        with pytest.warns(
            BinarizationWarning, match=r"^layer 'layer1\.0\.conv1' .*\(so it is in 18 more layers"
        ) as told:
            audit = bibench.binarize(model, "bnn", example_inputs=torch.zeros(1, 3, 32, 32))
        assert (len(told), len(audit.warnings)) == (1, 19)

    def test_so_is_it_of_a_model_that_is_binarized_already(self) -> None:
        model, x = self.model(nn.ReLU6()), torch.randn(2, 3, 8, 8)
        with pytest.warns(BinarizationWarning):
            bibench.binarize(model, "fda", example_inputs=x)  # its noise is gone at inference
        assert len(bibench.audit(model, x).warnings) == 1
        assert bibench.audit(model).warnings == []  # nothing was traced

    @pytest.mark.parametrize(
        ("activation", "operator"), [(nn.Hardtanh(), "bnn"), (nn.PReLU(), "dorefa"), (nn.ReLU(), "fp32")]
    )
    def test_not_where_signs_differ_or_nothing_is_signed(self, activation: nn.Module, operator: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            audit = bibench.binarize(self.model(activation), operator, example_inputs=torch.zeros(1, 3, 8, 8))
        assert audit.warnings == [] and "negative" not in audit.summary()

    @pytest.mark.parametrize("operator", ["bnn", "xnor", "dorefa", "bireal", "xnorpp", "reactnet", "recu", "fda"])
    def test_behind_a_relu_all_signs_of_every_operator_are_plus_one_as_it_says(self, operator: str) -> None:
        model, seen = self.model(nn.ReLU()), []
        with pytest.warns(BinarizationWarning) as told:
            bibench.binarize(model, operator, example_inputs=torch.randn(2, 3, 8, 8))
        model[3].register_forward_pre_hook(lambda layer, x: seen.append(layer.operator.eval().activation_signs()(*x)))
        model.eval()(torch.randn(2, 3, 8, 8))
        assert (seen[0] == 1).all()
        learned = "thresholds, which are learned, lie between the inputs. Training begins" in str(told[0].message)
        moved = [p for n, p in model[3].operator.named_parameters() if n == "shift"]
        assert learned == bool(moved) == (operator == "reactnet")

    def test_thresholds_that_were_moved_are_no_fault_and_those_that_nothing_moves_are(self) -> None:
        model, x = self.model(nn.ReLU()), torch.randn(2, 3, 8, 8)
        with pytest.warns(BinarizationWarning, match="which are learned"):
            bibench.binarize(model, "reactnet", example_inputs=x)
        with torch.no_grad():
            model[3].operator.shift.fill_(-0.3)
        assert bibench.audit(model, x).warnings == []
        linear = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
        with pytest.warns(BinarizationWarning, match=r"all are \+1\. Nothing is learned"):
            bibench.binarize(linear, "reactnet[profile=bibench]", example_inputs=torch.randn(8, 4))

    def test_not_of_an_operator_that_centres_them(self) -> None:
        class Centred(bibench.Operator):
            activation_estimator = STE()

            def activation(self, x: torch.Tensor) -> torch.Tensor:
                return x - x.mean()

        Centred.name = "centred"
        audit = bibench.binarize(self.model(nn.ReLU()), Centred, example_inputs=torch.randn(2, 3, 8, 8))
        assert audit.warnings == []

    def test_nor_of_layers_that_are_kept_or_called_with_both(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.shared, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.first(x)
                return self.last(self.shared(x.relu()) + self.shared(-x.relu()))

        assert bibench.binarize(Twice(), "bnn", example_inputs=torch.randn(8, 4)).warnings == []
        assert bibench.audit(self.model(nn.ReLU()), torch.randn(2, 3, 8, 8)).warnings == []

    @pytest.mark.slow
    def test_no_model_of_the_catalogue_has_such_layers(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", BinarizationWarning)
            for name in CATALOGUE:
                model, x = binary(name)
                assert bibench.audit(model, x).warnings == [], name


class TestNoGain:
    """Layers that 1 bit makes no faster."""

    def model(self) -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = nn.Conv2d(3, 16, 3, padding=1)
                self.dw, self.gate, self.pw = (
                    nn.Conv2d(16, 16, 5, padding=2, groups=16),
                    nn.Conv2d(16, 16, 1),
                    nn.Conv2d(16, 64, 1),
                )
                self.grouped = nn.Conv2d(64, 64, 3, groups=8)
                self.head = nn.Linear(64, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = nn.functional.hardtanh(self.dw(nn.functional.hardtanh(self.stem(x))))
                x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
                return self.head(self.grouped(nn.functional.hardtanh(self.pw(x))).mean((2, 3)))

        return Net()

    def test_they_are_told_with_the_keep_that_helps(self) -> None:
        x = torch.randn(1, 3, 32, 32)
        with pytest.warns(SpeedWarning) as told:
            audit = bibench.binarize(self.model(), "bnn", example_inputs=x)
        assert {row.name: row.slow for row in audit.slow} == {
            "dw": "depthwise: 25 products per output, of 1 input channel",
            "gate": "one position: 256 products in all, as in squeeze-excite",
        }  # neither 16 channels in one group, nor groups of 8 with 72 products
        assert [str(w.message) for w in told] == [audit.slowness]
        assert told[0].filename == __file__
        assert audit.slowness.endswith("binarize the float model with keep=['stem', 'dw', 'gate', 'head']")
        assert "warning: 1 bit makes 2 of 4 binarized layers no faster" in str(audit)
        again = self.model()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kept = bibench.binarize(again, "bnn", example_inputs=x, keep=audit.keep)
        assert kept.slow == [] and [row.name for row in kept.binarized] == ["pw", "grouped"]

    def test_a_float_model_and_one_without_a_trace_of_gates(self) -> None:
        model, x = self.model(), torch.randn(1, 3, 32, 32)
        assert bibench.audit(model, x).slow == []
        with pytest.warns(SpeedWarning):
            bibench.binarize(model, "bnn", example_inputs=x)
        assert [row.name for row in bibench.audit(model).slow] == ["dw"]

    @pytest.mark.parametrize(
        ("layer", "slow"),
        [
            (nn.Conv2d(32, 32, 9, groups=32), True),  # 81 products, of which no two share a word
            (nn.Conv2d(32, 32, 3, groups=8), False),
            (nn.Conv2d(32, 32, 1, groups=8), True),
            (nn.Conv2d(32, 32, 1), False),
            (nn.Conv1d(32, 64, 3, groups=32), True),
        ],
    )
    def test_what_fills_words(self, layer: nn.Conv2d, slow: bool) -> None:
        assert bool(no_gain(of_layer(layer), (), 0)) == slow

    def test_a_large_layer_on_one_position_gains(self) -> None:
        assert no_gain(of_layer(nn.Linear(1024, 1024)), (1024,), 10**9) == ""
        assert no_gain(of_layer(nn.Linear(64, 64)), (64,), 10**9) != ""
        assert no_gain(of_layer(nn.Linear(64, 64)), (128, 64), 10**9) == ""
        assert no_gain(of_layer(nn.Linear(64, 64)), (64,), 64 * 64) == ""  # it is all that the model computes

    def test_patterns_name_the_layers_and_no_others(self) -> None:
        of = keep_patterns(["stem", "a.0.dw", "a.1.dw", "b.0.1.0", "b.1.1.0", "head"], ["a.0.pw", "b.0.0.0", "b.1.2.0"])
        assert of == ("stem", "*.dw", "*.1.0", "head")
        assert keep_patterns(["a.x"], ["b.x"]) == ("a.x",)
