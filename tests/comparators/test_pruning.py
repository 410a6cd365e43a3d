"""Filters that can go, their removal, the two pruning methods, and what is left counted by hand."""

import pytest
import torch
from torch import Tensor, nn

from bibench.comparators.filters import Products, keep_filters, removable, weakest
from bibench.comparators.l1_filters import L1Filters, strongest
from bibench.comparators.resrep import Compactor, ResRep, merge, merged
from bibench.complexity import complexity
from bibench.foundation.errors import BiBenchError, CheckpointError, UnsupportedError
from bibench.models import create
from bibench.nn import auditing

X = torch.randn(2, 3, 32, 32)


def lively(model: nn.Module) -> nn.Module:
    """`model` in float64 with norms that do something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1, 1)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 2)
    return model.double().eval()


class TestRemovable:
    def test_the_first_convolution_of_each_block(self) -> None:
        found = removable(create("resnet20"))
        assert [f.conv for f in found] == [f"stages.{s}.{b}.conv1" for s in range(3) for b in range(3)]
        assert all(f.adjacent and f.norm == f.conv.replace("conv1", "bn1") for f in found)
        assert found[0].consumers == (("stages.0.0.conv2", 1),)

    def test_all_of_a_plain_network_with_its_flattened_classifier(self) -> None:
        found = removable(create("vgg_small", width=8))
        assert len(found) == 6
        assert [f.adjacent for f in found] == [True, False] * 3  # each second one is pooled before its norm
        assert found[-1].consumers == (("classifier", 16),)

    @pytest.mark.parametrize("change", ["tied", "twice", "grouped", "returned"])
    def test_what_fixes_the_number_of_channels(self, change: str) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a = nn.Conv2d(3, 4, 3, padding=1)
                self.b = nn.Conv2d(4, 4, 3, padding=1, groups=4 if change == "grouped" else 1)
                self.c = nn.Conv2d(4, 4, 3, padding=1)

            def forward(self, x: Tensor) -> Tensor:
                x = self.a(x)
                y = self.b(x)
                if change == "tied":
                    y = y + x
                if change == "twice":
                    y = self.b(y)
                return x if change == "returned" else self.c(y)

        with pytest.raises(UnsupportedError, match="no convolution whose output"):
            removable(Net())

    def test_a_forward_that_looks_at_values(self) -> None:
        class Net(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x if x.sum() > 0 else -x

        with pytest.raises(UnsupportedError, match="cannot be traced"):
            removable(Net())


@pytest.mark.parametrize("name", ["resnet20", "vgg_small"])
def test_removing_filters_that_are_zero_changes_nothing(name: str) -> None:
    model = lively(create(name, width=8))
    for filters in removable(model):
        conv, norm = model.get_submodule(filters.conv), model.get_submodule(filters.norm)
        with torch.no_grad():  # the filter, and what the norm would make of its zeros
            conv.weight[2], norm.bias[2], norm.running_mean[2] = 0, 0, 0
    with torch.no_grad():
        expected = model(X.double())
        for filters in removable(model):
            conv = model.get_submodule(filters.conv)
            keep_filters(model, filters, torch.tensor([i for i in range(conv.out_channels) if i != 2]))
        assert torch.allclose(model(X.double()), expected, rtol=1e-12, atol=1e-12)


def test_the_strongest_filters_by_their_l1_norm() -> None:
    weight = torch.tensor([3.0, -1.0, 2.0, -3.0, 1.0])[:, None, None, None].expand(5, 2, 3, 3)
    assert strongest(weight, 3).tolist() == [0, 2, 3]
    assert strongest(weight, 4).tolist() == [0, 1, 2, 3]  # equal ones: the first


class TestL1:
    def test_what_is_left_of_resnet20_counted_by_hand(self) -> None:
        """Half of conv1's filters: both convolutions of each block halve, all else stays."""
        model = create("resnet20")
        L1Filters(ratio=0.5).prepare(model, X)
        left = complexity(model, X)
        positions = (32 * 32, 16 * 16, 8 * 8)
        macs = 3 * 16 * 9 * positions[0] + 64 * 10  # stem and classifier
        weights = 3 * 16 * 9 + 64 * 10 + 10 + 2 * 16
        for stage, width in enumerate((16, 32, 64)):
            for block in range(3):
                inputs = width // 2 if stage and not block else width
                pair = 9 * (inputs * width // 2 + width // 2 * width)
                macs += pair * positions[stage]
                weights += pair + 2 * width // 2 + 2 * width  # and the norms
                if stage and not block:
                    macs += inputs * width * positions[stage]
                    weights += inputs * width + 2 * width
        assert left.macs == macs and left.parameters == weights
        audit = auditing.audit(model, X)
        assert (sum(audit.macs_by_bits().values()), audit.parameters) == (macs, weights)

    def test_weights_that_stay_are_those_that_were(self) -> None:
        model = create("vgg_small", width=4)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        L1Filters(ratio=0.25).prepare(model, X)
        kept = strongest(before["features.0.weight"], 3)
        second = strongest(before["features.3.weight"], 3)
        assert torch.equal(model.features[0].weight, before["features.0.weight"][kept])
        assert torch.equal(model.features[3].weight, before["features.3.weight"][second][:, kept])

    def test_a_ratio_for_each_width(self) -> None:
        model = create("resnet20")
        L1Filters(ratio=(0.6, 0.3, 0.1)).prepare(model, X)
        assert [model.stages[s][0].conv1.out_channels for s in range(3)] == [7, 23, 58]
        with pytest.raises(BiBenchError, match=r"ratio has 2 numbers.*3 widths \(16, 32, 64\)"):
            L1Filters(ratio=(0.6, 0.3)).check(create("resnet20"), {})

    @pytest.mark.parametrize("ratio", [1.0, -0.1, "much", (), (0.5, 2)])
    def test_a_ratio_that_is_none(self, ratio: object) -> None:
        with pytest.raises(BiBenchError, match="ratio must be a number in"):
            L1Filters(ratio=ratio)


class TestResRep:
    def prepared(self, name: str = "resnet20", **options: float) -> tuple[nn.Module, ResRep]:
        model, method = lively(create(name, width=8)), ResRep(**options)
        method.prepare(model, X.double())
        return model, method

    def test_compactors_at_first_change_nothing(self) -> None:
        model = lively(create("resnet20", width=8))
        expected = model(X.double())
        ResRep().prepare(model, X.double())
        assert torch.equal(model(X.double()), expected)

    def test_frozen_norms_have_frozen_compactors_and_frozen_convolutions_frozen_biases(self) -> None:
        model = create("resnet20", width=8).requires_grad_(False)
        method = ResRep()
        method.prepare(model, X)
        assert [name for name, p in model.named_parameters() if p.requires_grad] == []
        method.finish(model, X)
        assert any(name.endswith("conv1.bias") for name, _ in model.named_parameters())
        assert [name for name, p in model.named_parameters() if p.requires_grad] == []

    def test_resetting(self) -> None:
        """G(Q_j) = m_j ∂L/∂Q_j + λ Q_j/‖Q_j‖."""
        compactor, x = Compactor(3, strength=0.5).double(), torch.randn(4, 3, 5, 5, dtype=torch.float64)
        with torch.no_grad():
            compactor.weight.normal_()
            compactor.mask[1] = 0
        compactor(x).square().sum().backward()
        free = compactor.weight.detach().clone().requires_grad_()
        torch.nn.functional.conv2d(x, free).square().sum().backward()
        rows = free.detach().flatten(1)
        expected = free.grad.flatten(1) * torch.tensor([[1.0], [0.0], [1.0]]) + 0.5 * rows / rows.norm(dim=1)[:, None]
        assert torch.allclose(compactor.weight.grad.flatten(1), expected)

    def test_a_row_of_zeros_has_a_finite_gradient(self) -> None:
        compactor = Compactor(2, strength=0.5)
        nn.init.zeros_(compactor.weight)
        compactor(torch.randn(1, 2, 3, 3)).sum().backward()
        assert torch.isfinite(compactor.weight.grad).all()

    @pytest.mark.parametrize("name", ["resnet20", "vgg_small"])
    @pytest.mark.parametrize("bias", [True, False])
    def test_merging_is_exact(self, name: str, bias: bool) -> None:
        """Compactors with full rows and vanished ones become convolutions that compute the same."""
        model = lively(create(name, width=8))
        if bias:
            for filters in removable(model):
                conv = model.get_submodule(filters.conv)
                conv.bias = nn.Parameter(torch.randn(conv.out_channels).double())
        method = ResRep()
        method.prepare(model, X.double())
        for compactor in method._compactors(model):
            with torch.no_grad():
                compactor.weight.normal_()
                compactor.mask[::3] = 0
                compactor.weight[::3] = 0
            compactor.double()
        with torch.no_grad():
            expected = model(X.double())
            for filters in method._found:
                merge(model, filters)
            assert torch.allclose(model(X.double()), expected, rtol=1e-11, atol=1e-11)
        assert not any(isinstance(m, Compactor) for m in model.modules())

    def test_merging_of_whole_numbers_is_exact_to_the_bit(self) -> None:
        model, _ = self.prepared()
        norm = model.stages[0][0].bn1
        conv = model.stages[0][0].conv1
        with torch.no_grad():
            for tensor in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.operator.weight):
                tensor.copy_(torch.randint_like(tensor, -3, 4))
            norm.running_var.fill_(1 - norm.eps)
            x = torch.randint(-3, 4, (2, 8, 6, 6)).double()
            expected = norm(conv(x))
            weight, bias = merged(conv, norm)
            assert torch.equal(torch.nn.functional.conv2d(x, weight, bias, padding=1).round(), expected.round())

    def test_the_weakest_rows_go_until_the_target(self) -> None:
        full = sum(auditing.audit(create("resnet20", width=8), X).macs_by_bits().values())  # no compactors
        model, method = self.prepared(reduction=0.4)
        with torch.no_grad():
            for number, compactor in enumerate(method._compactors(model)):
                compactor.weight[0] *= 0.5 + 0.01 * number
        method.finish(model, X.double())
        left = sum(auditing.audit(model, X.double()).macs_by_bits().values())
        assert 0.4 <= 1 - left / full < 0.43
        assert all(model.stages[s][b].conv1.out_channels < 8 * 2**s for s in range(3) for b in range(3))

    def test_marked_rows_are_held_at_zero_in_the_second_half(self) -> None:
        model, method = self.prepared(reduction=0.4)
        for t in (0.0, 0.1, 0.3, 0.5, 0.8):
            method.progress(model, t, 0.1)
        marks = [c.mask.clone() for c in method._compactors(model)]
        with torch.no_grad():
            for compactor in method._compactors(model):
                compactor.weight.normal_()  # what an optimizer's momentum would do
            expected = model(X.double())
            method.finish(model, X.double())
            assert torch.allclose(model(X.double()), expected, rtol=1e-11, atol=1e-11)
        convs = [model.get_submodule(f.conv) for f in method._found]
        assert [c.out_channels for c in convs] == [int(m.sum()) for m in marks]

    def test_marks_grow_to_the_target_at_a_quarter_and_are_made_once_an_epoch(self) -> None:
        model, method = self.prepared(reduction=0.4)
        marked = []
        for epoch in range(20):
            method.progress(model, epoch / 20, 0.05)
            masks = torch.cat([c.mask for c in method._compactors(model)])
            with torch.no_grad():  # other rows become the weakest within the epoch
                for compactor in method._compactors(model):
                    compactor.weight.mul_(torch.rand(len(compactor.mask), 1, 1, 1))
            method.progress(model, epoch / 20, 0.05)
            assert torch.equal(masks, torch.cat([c.mask for c in method._compactors(model)]))
            marked.append(int((masks == 0).sum()))
        assert marked[0] == 0 < marked[1] < marked[3] < marked[5]
        assert len(set(marked[10:])) == 1

    def test_a_target_out_of_reach(self) -> None:
        with pytest.raises(BiBenchError, match=r"reduction=0.99 cannot be reached.*0\.\d+ of the"):
            ResRep(reduction=0.99).prepare(create("resnet20", width=8), X)

    @pytest.mark.parametrize("options", [{"reduction": 0}, {"reduction": 1.0}, {"strength": "x"}])
    def test_options_out_of_range(self, options: dict) -> None:
        with pytest.raises(BiBenchError, match="must be a number between 0 and 1"):
            ResRep(**options)

    def test_a_network_without_conv_and_norm_in_a_row(self) -> None:
        plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
        with pytest.raises(UnsupportedError, match="no convolution that a BN follows"):
            ResRep().prepare(plain, X)


def test_weights_of_another_model_do_not_fit() -> None:
    for state in ({}, {"features.0.weight": torch.zeros(99, 3, 3, 3)}, {"features.0.weight": torch.zeros(3)}):
        with pytest.raises(CheckpointError, match=r"expected features.0.weight with 1 to 4 filters"):
            L1Filters().restore(create("vgg_small", width=4), X, state)


def test_products_and_the_weakest() -> None:
    model = create("vgg_small", width=4)
    found = removable(model)[:1]
    products = Products({"features.0": 100, "features.3": 200, "classifier": 50}, found, {"features.0": 4})
    assert products.of({"features.0": 4}) == 350 and products.of({"features.0": 1}) == 125
    assert products.reduction({"features.0": 2}) == pytest.approx(150 / 350)
    strengths = {"a": [0.3, 0.1, 0.2], "b": [0.15, 0.01]}
    assert weakest(strengths, lambda left: sum(left.values()) <= 3) == {"a": {1}, "b": {1}}
    assert weakest(strengths, lambda left: False) == {"a": {1, 2}, "b": {1}}  # one of each stays


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "vgg_small"])
def test_removal_is_that_of_torch_pruning(name: str) -> None:
    """Against the dependency graph of Fang et al. (CVPR 2023), where it is installed: the same tensors to the bit."""
    tp = pytest.importorskip("torch_pruning")
    ours, theirs = (create(name, width=8).eval() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    graph = tp.DependencyGraph().build_dependency(theirs, example_inputs=X)
    for filters in removable(ours):
        conv = theirs.get_submodule(filters.conv)
        keep = strongest(conv.weight, conv.out_channels // 2)
        removed = sorted(set(range(conv.out_channels)) - set(keep.tolist()))
        graph.get_pruning_group(conv, tp.prune_conv_out_channels, idxs=removed).prune()
        keep_filters(ours, filters, keep)
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
