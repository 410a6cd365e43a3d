"""PointNet: parameter counts, invariances, the aggregator's offset, T-Nets, scale recovery, all operators."""

import math

import pytest
import torch
from torch import nn

import bibench
from bibench.foundation.errors import BiBenchError
from bibench.models import create
from bibench.models.points import (
    Aggregator,
    LayerScaleRecovery,
    TransformNet,
    ema_max_offset,
    orthogonality,
    transformed_coordinates,
)
from bibench.operators import PAPER_ORDER

CLASSIFIERS = ("pointnet_vanilla", "pointnet")
ALL = (*CLASSIFIERS, "pointnet_seg")


def build(name: str, *, points: int = 32, **options: object) -> tuple[nn.Module, torch.Tensor]:
    model = create(name, num_classes=5, input_shape=(6, points), width=4, **options)
    return model, torch.randn(6, 6, points)


@pytest.mark.parametrize(
    ("name", "channels", "classes", "parameters"),
    [
        ("pointnet_vanilla", 3, 40, 811_048),  # Qi et al., Table 6: 0.8 M
        ("pointnet", 3, 40, 3_471_473),  # Qi et al., Table 6: 3.5 M
        ("pointnet_vanilla", 6, 40, 811_240),
        ("pointnet", 6, 40, 3_471_857),
        ("pointnet_seg", 6, 50, 8_338_683),  # 8.34 M
        ("pointnet_seg", 6, 4, 8_332_749),
    ],
)
def test_parameter_counts(name: str, channels: int, classes: int, parameters: int) -> None:
    with torch.device("meta"):
        model = create(name, num_classes=classes, input_shape=(channels, 1024))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_concatenated_features_of_the_segmentation() -> None:
    with torch.device("meta"):
        model = create("pointnet_seg", num_classes=4, input_shape=(6, 4096))
    assert model.head1.layer.in_channels == 4928  # 2048 + 64 + 128 + 128 + 512 + 2048
    assert model.feature_transform.size == 128


# -- the aggregator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("points", "offset"), [(1024, -3.2044), (2048, -3.3988), (4096, -3.5840), (2500, -3.4530)])
def test_offset_of_ema_max(points: int, offset: float) -> None:
    assert ema_max_offset(points) == pytest.approx(offset, abs=5e-5)
    assert Aggregator("ema-max").offset(points) == ema_max_offset(points)


def test_the_offset_is_the_median_of_the_maximum() -> None:
    for points in (1, 2, 100):
        maxima = torch.randn(20_000, points).max(1).values
        assert (maxima + ema_max_offset(points) > 0).float().mean() == pytest.approx(0.5, abs=0.015)


def test_kinds_of_pooling() -> None:
    x = torch.randn(2, 3, 10)
    torch.testing.assert_close(Aggregator("ema-max")(x), x.amax(2) + ema_max_offset(10))
    torch.testing.assert_close(Aggregator("ema-max", normalized=False)(x), x.amax(2) - 0.3)
    torch.testing.assert_close(Aggregator("ema-avg")(x), x.mean(2))
    torch.testing.assert_close(Aggregator("max")(x), x.amax(2))
    with pytest.raises(BiBenchError, match="aggregator must be one of ema-max, ema-avg, max; got 'mean'"):
        Aggregator("mean")


def test_in_full_precision_the_offset_is_absorbed_by_the_next_norm() -> None:
    """The baselines with and without it are the same network."""
    plain, x = build("pointnet_vanilla", aggregator="max")
    shifted, _ = build("pointnet_vanilla")
    shifted.load_state_dict(plain.state_dict())
    torch.testing.assert_close(shifted.train()(x), plain.train()(x), atol=1e-4, rtol=1e-3)


def test_the_options_of_a_model_reach_every_pooling() -> None:
    model, _ = build("pointnet", aggregator="ema-avg", batch_norm=False)
    kinds = [(m.kind, m.normalized) for m in model.modules() if isinstance(m, Aggregator)]
    assert kinds == [("ema-avg", False)] * 3
    assert not any(isinstance(m, nn.BatchNorm1d) for m in model.modules())


# -- invariances -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("aggregator", ["ema-max", "ema-avg", "max"])
def test_classifiers_do_not_see_the_order_of_points(name: str, aggregator: str) -> None:
    model, x = build(name, aggregator=aggregator)
    model.eval()
    torch.testing.assert_close(model(x[..., torch.randperm(32)]), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("operator", [op for op in PAPER_ORDER if op not in ("fp32", "xnorpp")])
def test_binarized_classifiers_do_not_see_it_either(operator: str) -> None:
    model, x = build("pointnet")
    bibench.binarize(model, operator, example_inputs=x)
    model.eval()
    order = torch.randperm(32)
    # T-Nets are taken at the identity: a product of floats in another order may turn a sign otherwise.
    for net in (model.input_transform, model.feature_transform):
        net.forward = lambda x, size=net.size: torch.eye(size).expand(len(x), size, size)
    torch.testing.assert_close(model(x[..., order]), model(x), atol=1e-4, rtol=1e-4)


def test_segmentation_follows_the_order_of_points() -> None:
    model, x = build("pointnet_seg")
    model.eval()
    order = torch.randperm(32)
    torch.testing.assert_close(model(x[..., order]), model(x)[..., order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_any_number_of_points(name: str) -> None:
    model, _ = build(name)
    out = model.eval()(torch.randn(2, 6, 77))
    assert out.shape == ((2, 5, 77) if name == "pointnet_seg" else (2, 5))


# -- transforms --------------------------------------------------------------------------------------------


def test_transforms_start_near_the_identity_and_turn_coordinates_alone() -> None:
    model, x = build("pointnet")
    net = model.input_transform
    assert isinstance(net, TransformNet)
    torch.testing.assert_close(net(x), torch.eye(3).expand(6, 3, 3), atol=0.05, rtol=0)
    matrix = torch.randn(6, 3, 3)
    turned = transformed_coordinates(x, matrix)
    assert torch.equal(turned[:, 3:], x[:, 3:])
    torch.testing.assert_close(turned[2, :3, 5], x[2, :3, 5] @ matrix[2])


def test_orthogonality_by_hand() -> None:
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    matrices = torch.stack([turn, 2 * turn])  # I - 4 I has the norm 3 √2
    assert orthogonality(matrices).item() == pytest.approx(3 * math.sqrt(2) / 2)


@pytest.mark.parametrize("name", ["pointnet", "pointnet_seg"])
def test_the_penalty_enters_the_gradient_and_nothing_else(name: str) -> None:
    plain, x = build(name)
    model, _ = build(name, orthogonality=0.5)
    model.load_state_dict(plain.state_dict())
    for net in (plain, model):
        net.train()
    assert torch.equal(model(x), plain(x))
    matrices: list[torch.Tensor] = []
    plain.feature_transform.register_forward_hook(lambda module, args, out: matrices.append(out))
    (plain(x).square().mean() + 0.5 * orthogonality(matrices.pop())).backward()
    model(x).square().mean().backward()
    for (key, theirs), (_, ours) in zip(plain.named_parameters(), model.named_parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4, msg=key)
    assert plain.feature_transform.fc3.weight.grad.abs().max() > 0


def test_default_is_no_penalty() -> None:
    assert build("pointnet")[0].penalty == 0
    with pytest.raises(BiBenchError, match="orthogonality is the weight of a penalty, at least 0; got -1"):
        build("pointnet", orthogonality=-1)


# -- layer-wise scale recovery -----------------------------------------------------------------------------


def scale_recoveries(model: nn.Module) -> list[LayerScaleRecovery]:
    return [m for m in model.modules() if isinstance(m, LayerScaleRecovery)]


def test_the_first_training_batch_sets_the_scale() -> None:
    model, x = build("pointnet_vanilla", lsr=True)
    full = [m.layer.weight.detach().clone() for m in scale_recoveries(model)]
    bibench.binarize(model, "bnn", example_inputs=x)
    found = scale_recoveries(model)
    seen: dict[LayerScaleRecovery, tuple[torch.Tensor, torch.Tensor]] = {}
    for m in found:
        m.layer.register_forward_hook(lambda module, args, out, m=m: seen.update({m: (args[0], out)}))
    model.eval()(x)
    assert all(m.alpha.item() == 1 for m in found)  # evaluation sets nothing
    seen.clear()
    model.train()(x)
    for m, weight in zip(found, full, strict=True):
        binary = isinstance(m.layer, bibench.nn.layers.BinaryLayer)
        assert bool(m.calibrated) == binary
        given, out = seen[m]
        product = torch.tensordot(weight.flatten(1), given, dims=([1], [1]))
        expected = (product.std() / out.std()).item() if binary else 1.0
        assert m.alpha.item() == pytest.approx(expected, rel=1e-4)
    before = [m.alpha.item() for m in found]
    model(torch.randn_like(x))
    assert [m.alpha.item() for m in found] == before  # learned from here on


def test_the_scale_survives_a_checkpoint() -> None:
    model, x = build("pointnet_vanilla", lsr=True)
    bibench.binarize(model, "reactnet", example_inputs=x)
    model.train()(x)
    again, _ = build("pointnet_vanilla", lsr=True)
    bibench.binarize(again, "reactnet", example_inputs=x)
    again.load_state_dict(model.state_dict())
    again.train()(torch.randn_like(x) * 3)
    assert [m.alpha.item() for m in scale_recoveries(again)] == [m.alpha.item() for m in scale_recoveries(model)]


# -- binarization ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("pointnet_vanilla", ["conv1.layer", "fc3"]),
        ("pointnet", ["input_transform.conv1.layer", "conv1.layer", "fc3"]),
        ("pointnet_seg", ["input_transform.conv1.layer", "conv1.layer", "head4"]),
    ],
)
@pytest.mark.parametrize("lsr", [False, True])
def test_what_stays_full_precision(name: str, kept: list[str], lsr: bool) -> None:
    model, x = build(name, lsr=lsr)
    audit = bibench.binarize(model, "bnn", example_inputs=x)
    names = [row.name.replace(".layer.layer", ".layer") for row in audit.layers if row.weight_bits == 32]
    assert names == kept


@pytest.mark.parametrize("operator", PAPER_ORDER)
@pytest.mark.parametrize("name", ALL)
def test_all_operators_train(name: str, operator: str) -> None:
    model, x = build(name)
    if operator != "fp32":
        assert bibench.binarize(model, operator, example_inputs=x).binarized
    bibench.progress(model, 0.0, 0.5)
    model.train()
    model(x).square().mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    out = model.eval()(x)
    assert torch.isfinite(out).all()
    assert out.std() > 0


@pytest.mark.parametrize(
    ("name", "shape"), [("pointnet", (3, 32, 32)), ("pointnet_vanilla", (2, 100)), ("pointnet_seg", (6, 0))]
)
def test_other_inputs_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(BiBenchError, match=rf"model '{name}' takes point clouds: input_shape must be \(C, N\)"):
        create(name, input_shape=shape)
