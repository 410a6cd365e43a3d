"""Filters of convolutions that can be removed without changing anything else, and their removal.

Both pruning papers leave the outputs of residual blocks alone, whose channels are tied together by the sums.
What remains are convolutions whose output reaches other layers through channel-wise functions only: the first
of each residual block, and all of a plain network.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bibench.errors import CheckpointError, UnsupportedError

CHANNELWISE = (
    *(nn.Hardtanh, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Identity, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
_FUNCTIONS = {
    *(F.hardtanh, F.relu, F.leaky_relu, F.gelu, F.silu, F.dropout, F.dropout2d, torch.relu, torch.tanh, torch.sigmoid),
    *(F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d),
}


@dataclass(frozen=True)
class Filters:
    """The filters of one convolution.

    Attributes:
        conv: name of the convolution.
        norm: name of the batch norm behind it, or "".
        adjacent: whether the norm takes the convolution's output itself, with nothing in between.
        consumers: names of the layers that read its channels, with the input features that each channel has there
            (1 for a convolution, the map's size for a linear layer behind a flattening).
    """

    conv: str
    norm: str
    adjacent: bool
    consumers: tuple[tuple[str, int], ...]


def removable(model: nn.Module) -> list[Filters]:
    """All convolutions of `model` whose filters can be removed, in the order of the forward.

    Raises:
        UnsupportedError: the forward cannot be traced, or there is none.
    """
    from torch.fx import symbolic_trace

    try:
        nodes = list(symbolic_trace(model).graph.nodes)
    except Exception as error:  # whatever a model's own code does when it is traced
        raise UnsupportedError(
            f"filters of {type(model).__name__} cannot be pruned: its forward cannot be traced "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        ) from error
    modules = dict(model.named_modules())
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    found = [f for node in nodes if _is_conv(node, modules, calls) and (f := _follow(node, modules, calls))]
    if not found:
        raise UnsupportedError(
            f"filters of {type(model).__name__} cannot be pruned: it has no convolution whose output reaches other "
            "layers through channel-wise functions alone"
        )
    return found


def _is_conv(node: Any, modules: Mapping[str, nn.Module], calls: Counter[Any]) -> bool:
    if node.op != "call_module" or calls[node.target] != 1:
        return False
    module = modules[node.target]
    return type(module) is nn.Conv2d and module.groups == 1


class _Tied(Exception):
    """A use of the output that fixes the number of channels."""


def _follow(node: Any, modules: Mapping[str, nn.Module], calls: Counter[Any]) -> Filters | None:
    conv = modules[node.target]
    assert isinstance(conv, nn.Conv2d)
    norms: list[str] = []
    consumers: list[tuple[str, int]] = []
    try:
        for user, flat in _ends(node, modules, calls, norms):
            layer = modules[user.target]
            if _is_conv(user, modules, calls) and not flat:
                consumers.append((user.target, 1))
            elif type(layer) is nn.Linear and calls[user.target] == 1 and flat:
                if layer.in_features % conv.out_channels:
                    return None
                consumers.append((user.target, layer.in_features // conv.out_channels))
            else:
                return None
    except _Tied:
        return None
    if len(norms) > 1 or not consumers:
        return None
    adjacent = bool(norms) and [u.target for u in node.users] == norms
    return Filters(node.target, norms[0] if norms else "", adjacent, tuple(consumers))


def _ends(
    node: Any, modules: Mapping[str, nn.Module], calls: Counter[Any], norms: list[str]
) -> Iterator[tuple[Any, bool]]:
    """The layers that read the channels of `node`, and whether these were flattened; norms on the way go to `norms`."""
    waiting = [(user, False) for user in node.users]
    if not waiting:
        raise _Tied
    while waiting:
        user, flat = waiting.pop(0)
        module = modules.get(user.target) if user.op == "call_module" else None
        if module is not None and not _passes(module):
            yield user, flat
            continue
        if type(module) is nn.BatchNorm2d:
            if calls[user.target] != 1:
                raise _Tied
            norms.append(user.target)
        elif module is None and not _passing_call(user):
            raise _Tied
        flat = flat or type(module) is nn.Flatten or _flattens(user)
        waiting += [(after, flat) for after in user.users]


def _passes(module: nn.Module) -> bool:
    if isinstance(module, nn.Flatten):
        return module.start_dim == 1 and module.end_dim == -1
    return type(module) in (*CHANNELWISE, nn.BatchNorm2d)


def _passing_call(node: Any) -> bool:
    if _flattens(node):
        return True
    return (node.op == "call_function" and node.target in _FUNCTIONS) or (
        node.op == "call_method" and node.target in ("relu", "tanh", "sigmoid", "contiguous")
    )


def _flattens(node: Any) -> bool:
    """Whether it is ``flatten(x, 1)``, as a function or a method."""
    if not (node.target is torch.flatten or (node.op == "call_method" and node.target == "flatten")):
        return False
    arguments = {"start_dim": 0, "end_dim": -1} | dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False))
    arguments |= node.kwargs
    return arguments["start_dim"] == 1 and arguments["end_dim"] == -1


def sizes(model: nn.Module, found: list[Filters]) -> dict[str, int]:
    """How many filters each of the `found` convolutions has."""
    convs = {filters.conv: model.get_submodule(filters.conv) for filters in found}
    return {name: conv.out_channels for name, conv in convs.items() if isinstance(conv, nn.Conv2d)}


# -- removal -----------------------------------------------------------------------------------------


def keep_filters(model: nn.Module, filters: Filters, kept: Tensor) -> None:
    """Leave the filters of the sorted indices `kept`: smaller tensors in the convolution, its norm and its readers."""
    conv = model.get_submodule(filters.conv)
    assert isinstance(conv, nn.Conv2d)
    conv.weight = _of(conv.weight, 0, kept)
    if conv.bias is not None:
        conv.bias = _of(conv.bias, 0, kept)
    conv.out_channels = kept.numel()
    norm = model.get_submodule(filters.norm) if filters.norm else None
    if isinstance(norm, nn.BatchNorm2d):
        _keep_norm(norm, kept)
    for name, block in filters.consumers:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        features = (kept[:, None] * block + torch.arange(block, device=kept.device)).flatten()
        layer.weight = _of(layer.weight, 1, features)
        if isinstance(layer, nn.Linear):
            layer.in_features = features.numel()
        else:
            layer.in_channels = features.numel()


def _keep_norm(norm: nn.BatchNorm2d, kept: Tensor) -> None:
    if norm.affine:
        norm.weight, norm.bias = _of(norm.weight, 0, kept), _of(norm.bias, 0, kept)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean, norm.running_var = norm.running_mean[kept], norm.running_var[kept]
    norm.num_features = kept.numel()


def _of(parameter: Tensor, axis: int, kept: Tensor) -> nn.Parameter:
    return nn.Parameter(parameter.detach().index_select(axis, kept), requires_grad=parameter.requires_grad)


def fit_to(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give `model` as many filters as the state dict `state` has, and merge the norms that it has merged."""
    for filters in removable(model):
        weight, conv = state.get(f"{filters.conv}.weight"), model.get_submodule(filters.conv)
        assert isinstance(conv, nn.Conv2d)
        if weight is None or weight.dim() != 4 or not 1 <= len(weight) <= conv.out_channels:
            raise CheckpointError(
                f"the stored weights are not those of this model, pruned: expected {filters.conv}.weight with 1 to "
                f"{conv.out_channels} filters, got {'none' if weight is None else tuple(weight.shape)}"
            )
        keep_filters(model, filters, torch.arange(len(weight), device=conv.weight.device))
        if filters.norm and f"{filters.norm}.weight" not in state:
            merge_norm(model, filters)


def merge_norm(model: nn.Module, filters: Filters) -> None:
    """A bias (of zeros) for the convolution in place of its norm."""
    conv = model.get_submodule(filters.conv)
    assert isinstance(conv, nn.Conv2d)
    if conv.bias is None:
        conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels), requires_grad=conv.weight.requires_grad)
    model.set_submodule(filters.norm, nn.Identity())


# -- multiply-accumulates ------------------------------------------------------------------------------


class Products:
    """Multiply-accumulates of a model by how many filters are left in each convolution.

    Args:
        macs: those of every layer with weights, by name.
        sizes: the filters of each removable convolution.
    """

    def __init__(self, macs: Mapping[str, int], found: list[Filters], sizes: Mapping[str, int]) -> None:
        self.macs, self.sizes = dict(macs), dict(sizes)
        self._factors: dict[str, list[str]] = {}  # layer → convolutions whose filters scale it
        for filters in found:
            for name in (filters.conv, *(name for name, _ in filters.consumers)):
                self._factors.setdefault(name, []).append(filters.conv)
        self.total = sum(self.macs.values())

    def of(self, left: Mapping[str, int]) -> float:
        """All multiply-accumulates with `left` filters in each of the convolutions."""
        share = {name: left[name] / size for name, size in self.sizes.items()}
        return sum(n * math.prod(share[c] for c in self._factors.get(layer, ())) for layer, n in self.macs.items())

    def reduction(self, left: Mapping[str, int]) -> float:
        """The share of multiply-accumulates saved."""
        return 1 - self.of(left) / self.total


def weakest(strengths: Mapping[str, list[float]], enough: Callable[[Mapping[str, int]], bool]) -> dict[str, set[int]]:
    """The weakest filters over all convolutions, one after the other until those left are `enough` reduced.

    One filter of each convolution stays. Equal strengths go in the order of the convolutions.
    """
    left = {name: len(values) for name, values in strengths.items()}
    removed: dict[str, set[int]] = {name: set() for name in strengths}
    for _, name, index in sorted(
        ((value, name, index) for name, values in strengths.items() for index, value in enumerate(values)),
        key=lambda item: item[0],
    ):
        if enough(left):
            break
        if left[name] > 1:
            left[name] -= 1
            removed[name].add(index)
    return removed
