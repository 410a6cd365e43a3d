"""Complexity against computation by hand, the audit and the paper's ratios for ResNet-18."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bibench
from bibench.complexity import (
    BIBENCH,
    CONVENTIONS,
    PAPER,
    PRODUCTS,
    Comparison,
    Complexity,
    Row,
    complexity,
    compression,
    convention,
    overall,
    speedup,
)
from bibench.foundation.errors import ConversionError, UnknownNameError
from bibench.nn.attention import Attention
from bibench.nn.embedding import BinarizableEmbedding
from bibench.nn.layers import BinaryLayer
from bibench.operators import known_operators

BINARY = [name for name in known_operators() if name != "fp32"]


def by_name(counted: Complexity) -> dict[str, Row]:
    return {row.name: row for row in counted.rows}


class Small(nn.Module):
    """Two 3×3 convolutions in the middle of two kept layers; 3×6×6 images."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
        self.last = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardtanh(self.bn(self.first(x)))
        return self.last(F.max_pool2d(self.grouped(x), 3).flatten(1))


@pytest.fixture
def small() -> Comparison:
    return Comparison(Small(), torch.zeros(2, 3, 6, 6))


@pytest.fixture(scope="module")
def resnet18() -> Comparison:
    with torch.device("meta"):
        model = bibench.models.create("resnet18", num_classes=1000, input_shape=(3, 224, 224), binarize_downsample=True)
        return Comparison(model, torch.zeros(2, 3, 224, 224))


class TestByHand:
    def test_full_precision(self, small: Comparison) -> None:
        rows = by_name(small.full)
        assert rows["first"].macs == 3 * 9 * 4 * 36
        assert rows["grouped"].macs == 2 * 9 * 6 * 9
        assert rows["last"].macs == 30
        assert small.full.elements() == {
            "batch_norm": 4 * 36,
            "activation": 4 * 36,
            "pool": 6 * 9,
            "bias": 4 * 36 + 5,
        }
        assert small.full.parameters == 108 + 4 + 8 + 108 + 30 + 5
        assert small.full.storage_bytes == 4 * small.full.parameters
        assert small.full.bops == 1024 * small.full.macs
        assert small.full.first == "first"

    @pytest.mark.parametrize(
        ("operator", "leftovers", "elements"),
        [
            ("bnn", {}, {}),
            ("dorefa", {"channel_scale": 6}, {"channel_scale": 54}),
            ("dorefa[original]", {"channel_scale": 1}, {"channel_scale": 54}),
            ("recu", {"channel_scale": 6}, {"channel_scale": 54}),
            ("reactnet", {"channel_scale": 6, "threshold": 4}, {"channel_scale": 54, "threshold": 144}),
            # |x| of 144 inputs, 9 positions × 2 groups × 9 products of the box filter, 54 products
            ("xnor", {"channel_scale": 6}, {"channel_scale": 54, "activation_scale": 144 + 162 + 54}),
            ("xnorpp", {"channel_scale": 6, "spatial_scale": 6}, {"channel_scale": 54, "spatial_scale": 54}),
        ],
    )
    def test_operators(
        self, small: Comparison, operator: str, leftovers: dict[str, int], elements: dict[str, int]
    ) -> None:
        name, _, profile = operator.rstrip("]").partition("[")
        counted = small.under(name, profile=profile or "default")
        row = by_name(counted)["grouped"]
        assert (row.precision, row.operator, row.macs) == ("W1A1", name, 972)
        assert row.leftovers == leftovers
        assert row.elements == {"sign": 144, **elements}
        assert row.storage_bytes == 14 + 4 * sum(leftovers.values())  # 108 bits fill 13.5 bytes
        assert row.storage_bits == 108 + 32 * sum(leftovers.values())
        assert row.bops == 972
        assert row.operations() == pytest.approx(972 / 64 + 144 + sum(elements.values()))
        kept = small.full.storage_bits - 32 * 108
        assert compression(small.full, counted) == small.full.storage_bits / (kept + row.storage_bits)

    def test_a_binarized_linear_layer_over_tokens(self) -> None:
        model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2))
        comparison = Comparison(model, torch.zeros(3, 5, 8))
        row = by_name(comparison.under("xnor"))["1"]
        assert row.macs == 5 * 16 * 16
        # no box filter: |x| of 80 inputs and 80 products
        assert row.elements == {"bias": 80, "sign": 80, "channel_scale": 80, "activation_scale": 160}
        assert (row.weights, row.others) == (256, 16)

    def test_attention_and_embedding(self) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.words = BinarizableEmbedding(10, 8)
                self.inner, self.products, self.out = nn.Linear(8, 8), Attention(), nn.Linear(8, 2)
                self.embedding = nn.Linear(8, 8)

            def forward(self, ids: Tensor) -> Tensor:
                x = self.inner(self.embedding(self.words(ids)))
                heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
                return self.out(self.products(heads, heads, heads).transpose(1, 2).flatten(2))

        comparison = Comparison(Net(), torch.zeros(2, 5, dtype=torch.int64))
        full, binary = by_name(comparison.full), by_name(comparison.under("bnn"))
        assert full["products"].macs == binary["products"].macs == 2 * 5 * 5 * (4 + 4)
        assert full["products"].elements == {"softmax": 2 * 5 * 5}
        assert binary["products"].elements == {"sign": 3 * 2 * 5 * 4 + 2 * 5 * 5}
        assert binary["products"].precision == "W1A1"
        assert (binary["words"].weights, binary["words"].leftovers) == (80, {"row_scale": 10})
        assert binary["words"].storage_bytes == 10 + 40
        assert binary["words"].precision == "W1A32"
        assert binary["words"].elements == {"channel_scale": 40}

    def test_repeated_shared_and_functional_layers(self) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.twice, self.tied = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
                self.tied.weight = self.twice.weight

            def forward(self, x: Tensor) -> Tensor:
                x = self.tied(self.twice(self.twice(x)))
                return torch.relu(x @ torch.ones(4, 3)) + x.mean(-1, keepdim=True)

        counted = complexity(Net(), torch.zeros(2, 4))
        rows = by_name(counted)
        assert (rows["twice"].macs, rows["tied"].macs, rows["(the model itself)"].macs) == (32, 16, 12)
        assert counted.parameters == 16
        assert counted.elements() == {"activation": 3, "pool": 4, "arithmetic": 3}

    def test_layers_without_a_binarized_form(self) -> None:
        model = nn.Sequential(nn.ConvTranspose1d(4, 2, 2, stride=2), nn.LSTM(6, 3, batch_first=True))
        counted = by_name(complexity(model, torch.zeros(1, 4, 3)))
        assert counted["0"].macs == 2 * 4 * 2 * 3
        assert counted["1"].macs == 2 * 4 * 3 * (6 + 3)  # 2 steps × 4 gates

        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        # 4 projections and 2 products of 5 × 5 × 4, then 4 → 8 → 4
        assert complexity(layer, torch.zeros(2, 5, 4)).macs == 5 * 4 * 4 * 4 + 2 * 5 * 5 * 4 + 2 * 5 * 4 * 8

    def test_positional_and_named_arguments_and_lists(self) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 2)

            def forward(self, images: list[Tensor], factor: Tensor) -> Tensor:
                return self.layer(torch.stack(list(images))) * factor

        assert complexity(Net(), ([torch.zeros(4)] * 4, torch.ones(()))).macs == 8
        assert complexity(Net(), {"images": torch.zeros(4, 4), "factor": torch.ones(())}).macs == 8


class TestPaper:
    def test_operations_of_full_precision(self, resnet18: Comparison) -> None:
        assert resnet18.full.operations(PAPER) == 1_822_176_768
        assert resnet18.full.first == "conv1"

    def test_compression_and_speedup(self, resnet18: Comparison) -> None:
        bnn = resnet18.under("bnn")
        assert compression(resnet18.full, bnn) == pytest.approx(13.27, abs=0.005)
        assert speedup(resnet18.full, bnn, PAPER) == pytest.approx(12.60, abs=0.005)
        for operator in ("xnor", "dorefa", "bireal", "recu", "fda"):
            assert compression(resnet18.full, resnet18.under(operator)) == pytest.approx(13.20, abs=0.005)

    def test_equation_7_in_its_own_terms(self, resnet18: Comparison) -> None:
        kept = 532_008
        expected = 11_689_512 / ((11_689_512 - kept) / 32 + kept)
        assert compression(resnet18.full, resnet18.under("bnn")) == pytest.approx(expected, rel=1e-12)
        operations, stem = 1_822_176_768, 118_013_952
        expected = operations / ((operations - stem) / 64 + stem)
        assert speedup(resnet18.full, resnet18.under("bnn"), PAPER) == pytest.approx(expected, rel=1e-12)

    def test_scales_cost_speed(self, resnet18: Comparison) -> None:
        speeds = {o: speedup(resnet18.full, resnet18.under(o), PAPER) for o in BINARY}
        assert max(speeds, key=speeds.__getitem__) == "bnn"
        assert speeds["dorefa"] == speeds["bireal"] == speeds["recu"] == speeds["fda"]
        assert all(speeds[o] < speeds["dorefa"] for o in ("xnor", "xnorpp", "reactnet"))

    def test_kept_downsamples_cost_compression(self, resnet18: Comparison) -> None:
        model = bibench.models.create("resnet18", num_classes=1000, input_shape=(3, 224, 224))
        comparison = Comparison(model, torch.zeros(1, 3, 224, 224))
        kept = 532_008 + 172_032
        expected = 11_689_512 / ((11_689_512 - kept) / 32 + kept)
        assert compression(comparison.full, comparison.under("bnn")) == pytest.approx(expected, rel=1e-12)

    def test_equation_8(self) -> None:
        assert overall(13.27, 12.60) == pytest.approx(math.sqrt((13.27**2 + 12.60**2) / 2))


class TestConventions:
    def test_every_layer_sums_to_the_total(self, small: Comparison) -> None:
        for chosen in CONVENTIONS.values():
            for counted in (small.full, small.under("reactnet")):
                rows = sum(counted.row_operations(row, chosen) for row in counted.rows)
                assert rows == pytest.approx(counted.operations(chosen))

    def test_products_are_bops_and_flops_alone(self, small: Comparison) -> None:
        counted = small.under("xnor")
        assert counted.operations(PRODUCTS) == pytest.approx(972 / 64 + 3888 + 30)

    def test_shares(self) -> None:
        assert [BIBENCH.share(*bits) for bits in ((1, 1), (2, 2), (8, 8), (1, 32), (32, 32))] == [
            1 / 64,
            4 / 64,
            1,
            1,
            1,
        ]

    def test_unknown(self) -> None:
        with pytest.raises(UnknownNameError, match="no convention 'papper'; choose from bibench, paper, products"):
            convention("papper")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20", (3, 32, 32)),
        ("vgg_small", (3, 32, 32)),
        ("bert", (16,)),
        ("fsmn", (1, 32, 32)),
        ("deep_fsmn", (1, 32, 32)),
        ("pointnet_vanilla", (6, 32)),
    ],
)
@pytest.mark.parametrize("operator", BINARY)
@pytest.mark.slow_but(
    *(
        f"reactnet-{shape}"
        for shape in ("resnet20-shape0", "vgg_small-shape1", "bert-shape2", "fsmn-shape3", "deep_fsmn-shape4")
    )
)
def test_totals_are_the_audits_before_and_after_conversion(name: str, shape: tuple[int, ...], operator: str) -> None:
    """What is counted ahead, on the float model, is what the converted model gives, and the audit agrees."""
    model = bibench.models.create(name, num_classes=12, input_shape=shape)
    inputs = model.example_inputs() if hasattr(model, "example_inputs") else torch.zeros(2, *shape)
    comparison = Comparison(model, inputs)
    audit = bibench.audit(model, inputs)
    assert comparison.full.parameters == audit.parameters == sum(p.numel() for p in model.parameters())
    assert comparison.full.macs == sum(audit.macs_by_bits().values())
    ahead = comparison.under(operator)
    audit = bibench.binarize(model, operator, example_inputs=inputs)
    after = complexity(model, inputs)
    assert {b: n for b, n in audit.macs_by_bits().items() if n} == after.macs_by_bits() == ahead.macs_by_bits()
    assert after.parameters == ahead.parameters == comparison.full.parameters
    assert (after.storage_bytes, after.elements()) == (ahead.storage_bytes, ahead.elements())
    assert after.operations() == pytest.approx(ahead.operations())


def test_detection_heads_are_counted_for_every_proposal() -> None:
    with torch.device("meta"):
        model = bibench.models.create(
            "faster_rcnn", num_classes=3, input_shape=(3, 64, 64), width=8, proposals=50, roi_size=5, rois=8
        )
        comparison = Comparison(model, torch.zeros(1, 3, 64, 64))
    head = [row for row in comparison.full.rows if row.kind == "linear"]
    features = 64
    assert sum(row.macs for row in head) == 50 * features * (4 + 4 * 4)  # classes and background, boxes of each


def test_the_meta_device_gives_the_same_numbers() -> None:
    counted = []
    for device in ("meta", "cpu"):
        with torch.device(device):
            model = bibench.models.create("resnet20")
            comparison = Comparison(model, torch.zeros(2, 3, 32, 32))
        counted.append([comparison.full, *(comparison.under(o) for o in BINARY)])
    assert counted[0] == counted[1]


def test_an_operator_that_looks_at_values_is_counted_on_the_meta_device() -> None:
    class Curious(bibench.Operator):
        name = "curious"

        def reset_parameters(self, w: Tensor) -> None:
            assert w.abs().mean().item() > 0

    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
        comparison = Comparison(model, torch.zeros(1, 4))
    assert comparison.under(Curious).macs_by_bits() == {(32, 32): 32, (1, 1): 16}


def test_the_model_stays_as_it_was() -> None:
    model = Small().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    comparison = Comparison(model, torch.ones(2, 3, 6, 6))
    comparison.under("fda")
    assert all(m.training for m in model.modules())
    assert type(model.grouped) is nn.Conv2d
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_refusals() -> None:
    comparison = Comparison(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), torch.zeros(1, 4))
    with pytest.raises(ConversionError, match="nothing to binarize"):
        comparison.under("bnn")
    with pytest.raises(UnknownNameError, match="unknown operator 'bnnn'"):
        comparison.under("bnnn")


@pytest.mark.parametrize("operator", BINARY)
def test_storage_is_the_length_of_the_packed_bytes(operator: str) -> None:
    """Every number of a converted network written out: packed signs, 32-bit scales, norms folded to two vectors."""
    model = bibench.models.create("deep_fsmn", num_classes=12, input_shape=(1, 32, 32))
    inputs = torch.zeros(1, 1, 32, 32)
    bibench.binarize(model, operator, example_inputs=inputs)
    blob, inside = b"", set()
    for module in model.modules():
        if module in inside:
            continue
        if isinstance(module, BinaryLayer):
            inside |= set(module.operator.modules())
            form = module.operator.inference_form(module.weight)
            blob += np.packbits(form.weight.numpy() > 0).tobytes()
            tensors = [form.channel_scale, form.threshold, *(form.spatial_scale or ()), module.bias]
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            factor = module.weight / (module.running_var + module.eps).sqrt()
            tensors = [factor, module.bias - factor * module.running_mean]
        else:
            tensors = list(module.parameters(recurse=False))
        blob += b"".join(t.detach().numpy().tobytes() for t in tensors if t is not None)
    assert complexity(model, inputs).storage_bytes == len(blob)
