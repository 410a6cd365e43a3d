"""Where the compiled core does not apply, PyTorch alone gives the same numbers: absent, other dtypes, transforms."""

import json
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bibench
from bibench.kernels import native
from bibench.nn.layers import progress, set_backward_precision

from .native import ISAS, identical, needs_core

TRAIN = """
import torch, bibench, json
from bibench.kernels import native
from bibench.nn.layers import progress
torch.set_num_threads(1)
torch.manual_seed(0)
model = bibench.models.create("resnet20", width=4)
x, y = torch.randn(4, 3, 32, 32), torch.arange(4)
bibench.binarize(model, "recu", example_inputs=x)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(4):
    progress(model, step / 4, 1 / 4)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item().hex())
print(json.dumps([native.isa(), native.available(), losses]))
"""

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "bibench._core":
            raise ImportError("not built")
sys.meta_path.insert(0, Absent())
"""


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k != "BIBENCH_ISA"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**clean, **environment}, timeout=300)


@pytest.mark.slow
def test_without_the_module_training_is_the_same() -> None:
    absent, here = python(ABSENT + TRAIN), python(TRAIN)
    assert absent.returncode == 0, absent.stderr
    isa, available, losses = json.loads(absent.stdout)
    assert (isa, available) == ("none", [])
    assert losses == json.loads(here.stdout)[2]


@pytest.mark.slow
def test_without_the_module_the_environment_says_so_and_asking_for_kernels_is_an_error() -> None:
    code = """
from bibench.kernels import native
from bibench.cli.app import main
with native.using("none"):
    pass
try:
    with native.using("portable"):
        pass
except ValueError as error:
    print(error)
sys.argv = ["bibench", "env"]
main()
"""
    done = python(ABSENT + code, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert "no kernels 'portable': the compiled core is not there. Why: it was " in done.stdout
    lines = [line for line in done.stdout.splitlines() if "kernels" in line]
    assert any("none" in line and "available" not in line for line in lines), done.stdout
    assert any("none, without the compiled core: it was " in line for line in lines)


@needs_core
class TestTheEnvironmentVariable:
    @pytest.mark.parametrize("isa", ["portable", native.NONE])
    @pytest.mark.slow_but("none")
    def test_chooses(self, isa: str) -> None:
        done = python("from bibench.kernels import native; print(native.isa())", BIBENCH_ISA=isa)
        assert done.stdout.strip() == isa, done.stderr

    @pytest.mark.slow
    def test_unknown_names_what_there_is(self) -> None:
        done = python("from bibench.kernels import native; print(native.isa())", BIBENCH_ISA="mmx")
        assert f"BIBENCH_ISA=mmx: this processor has {', '.join(ISAS)}" in done.stderr


def layer_of(kind: str, name: str = "bireal") -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    module, x = {
        "conv2d": lambda: (nn.Conv2d(40, 24, 3, padding=1), torch.randn(3, 40, 9, 8)),
        "conv1d": lambda: (nn.Conv1d(40, 24, 3, padding=1, stride=2), torch.randn(3, 40, 20)),
        "linear": lambda: (nn.Linear(300, 24), torch.randn(3, 7, 300)),
    }[kind]()
    bibench.binarize(module, name, example_inputs=x, keep=())
    progress(module, 0.5, 0.1)
    return module, x


KINDS = ("conv2d", "conv1d", "linear")


def on(isa: str, function, *arguments):
    with native.using(isa):
        return function(*arguments)


def both(function, *arguments) -> tuple:
    """On the compiled core (where it applies) and on PyTorch alone."""
    return tuple(on(isa, function, *arguments) for isa in (ISAS[0] if ISAS else native.NONE, native.NONE))


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = module(x)
    upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return [y, *torch.autograd.grad(y, [x, *module.parameters()], upstream)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))


def exact(module: nn.Module, x: Tensor) -> Tensor:
    """The layer without estimators, in float64."""
    signs, weight = (torch.where(t.detach() >= 0, 1.0, -1.0).double() for t in (x, module.weight))
    if isinstance(module, nn.Linear):
        return F.linear(signs, weight)
    function = F.conv2d if isinstance(module, nn.Conv2d) else F.conv1d
    return function(signs, weight, None, module.stride, module.padding, module.dilation, module.groups)


class TestDtypes:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
    def test_a_layer_of_another_dtype(self, kind: str, dtype: torch.dtype) -> None:
        module, x = layer_of(kind)
        module, x = module.to(dtype), x.to(dtype)
        ours, pure = both(gradients, module, x)
        assert same(ours, pure)
        assert all(t.dtype == dtype for t in ours)

    @pytest.mark.parametrize("kind", KINDS)
    def test_autocast_leaves_products_exact_and_the_dtype_alone(self, kind: str) -> None:
        """A float32 input gives a float32 output; one that autocast has made bfloat16 gives bfloat16."""
        module, x = layer_of(kind, "bnn")
        module.bias = None
        for given in (x, x.bfloat16()):
            with torch.autocast("cpu", torch.bfloat16):
                ours, pure = both(gradients, module, given)
            assert same(ours, pure)
            assert ours[0].dtype == given.dtype
            assert torch.equal(ours[0].double(), exact(module, given).to(given.dtype).double())
            assert ours[1].dtype == given.dtype
            assert ours[2].dtype == torch.float32

    @pytest.mark.parametrize("kind", KINDS)
    def test_autocast_changes_no_bit_of_the_gradients(self, kind: str) -> None:
        module, x = layer_of(kind)
        plain = gradients(module, x)
        with torch.autocast("cpu", torch.bfloat16):
            assert same(gradients(module, x), plain)

    @pytest.mark.parametrize("kind", KINDS)
    def test_backward_in_bfloat16(self, kind: str) -> None:
        module, x = layer_of(kind)
        plain = gradients(module, x)
        set_backward_precision(module, "bfloat16")
        ours, pure = both(gradients, module, x)
        assert same(ours, pure)
        assert torch.equal(ours[0], plain[0])  # forward is exact
        for rounded, full in zip(ours[1:3], plain[1:3], strict=True):
            assert rounded.dtype == torch.float32
            assert not torch.equal(rounded, full)
            assert (rounded - full).norm() < 0.02 * full.norm()
        set_backward_precision(module, "float32")
        assert same(gradients(module, x), plain)

    def test_precision_is_checked(self) -> None:
        module, _ = layer_of("linear")
        with pytest.raises(ValueError, match=r"must be one of float32, bfloat16, lookup; got 'int8'"):
            set_backward_precision(module, "int8")


class TestCompilers:
    @pytest.mark.parametrize("backend", ["eager", "aot_eager"])
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.filterwarnings("ignore")
    def test_compile(self, kind: str, backend: str) -> None:
        module, x = layer_of(kind)
        expected = gradients(module, x)
        torch._dynamo.reset()
        compiled = torch.compile(module, backend=backend)
        x = x.detach().requires_grad_()
        y = compiled(x)
        upstream = torch.linspace(-1, 1, y.numel()).view(y.shape)
        got = [y, *torch.autograd.grad(y, [x, *module.parameters()], upstream)]
        for ours, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        assert torch.equal(got[0], expected[0])

    @pytest.mark.filterwarnings("ignore")
    def test_compiled_graphs_are_whole(self) -> None:
        module, x = layer_of("conv2d", "bnn")
        torch._dynamo.reset()
        with torch.no_grad():
            assert torch.equal(torch.compile(module.eval(), backend="eager", fullgraph=True)(x), module(x))

    @pytest.mark.parametrize("kind", KINDS)
    def test_export(self, kind: str) -> None:
        module, x = layer_of(kind)
        with torch.no_grad():
            exported = torch.export.export(module.eval(), (x,))
            assert torch.equal(exported.module()(x), module(x))

    @pytest.mark.filterwarnings("ignore")
    def test_trace(self) -> None:
        module, x = layer_of("conv2d")
        with torch.no_grad():
            traced = torch.jit.trace(module.eval(), (x,))
            assert torch.equal(traced(x.roll(1)), module(x.roll(1)))


class TestTransforms:
    @pytest.mark.parametrize("kind", KINDS)
    def test_vmap_and_grad(self, kind: str) -> None:
        module, x = layer_of(kind)
        parameters = dict(module.named_parameters())

        def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
            return torch.func.functional_call(module, parameters, (x[None],)).square().sum()

        each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
        for name, p in parameters.items():
            expected = torch.stack([torch.autograd.grad(loss(parameters, row), p)[0] for row in x])
            torch.testing.assert_close(each[name], expected, rtol=1e-4, atol=1e-4)

    def test_forward_mode_is_refused_as_before(self) -> None:
        module, x = layer_of("conv2d")

        def attempt() -> str:
            with pytest.raises(RuntimeError) as error:
                torch.func.jvp(module, (x,), (x,))
            return str(error.value)

        ours, pure = both(attempt)
        assert ours == pure
        assert "jvp" in ours

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", ["bireal", "recu", "fda"])
    def test_second_derivatives(self, kind: str, name: str) -> None:
        module, x = layer_of(kind, name)

        def second() -> list[Tensor]:
            leaf = x.detach().requires_grad_()
            (first,) = torch.autograd.grad(module(leaf).square().sum(), leaf, create_graph=True)
            return [first, *torch.autograd.grad(first.square().sum(), [leaf, module.weight])]

        assert same(*both(second))


class Marked(Tensor):
    """A subclass that changes nothing."""


class TestTensors:
    @pytest.mark.parametrize("kind", KINDS)
    def test_subclasses_stay_what_they_are(self, kind: str) -> None:
        module, x = layer_of(kind)
        with torch.no_grad():
            got = module(x.as_subclass(Marked))
            assert type(got) is Marked
            assert torch.equal(got.as_subclass(Tensor), module(x))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", ["dorefa", "recu", "xnorpp", "fda"])
    def test_meta(self, kind: str, name: str) -> None:
        module, x = layer_of(kind, name)
        expected = module(x)
        got = module.to("meta")(x.to("meta"))
        assert got.device.type == "meta"
        assert got.shape == expected.shape

    @pytest.mark.parametrize("kind", KINDS)
    def test_without_gradients(self, kind: str) -> None:
        module, x = layer_of(kind)
        expected = module(x).detach()
        with torch.no_grad():
            assert torch.equal(module(x), expected)
        with torch.inference_mode():
            got = module(x)
            assert got.is_inference()
            assert torch.equal(got, expected)
        module.requires_grad_(False)
        assert not module(x).requires_grad

    @pytest.mark.parametrize("kind", KINDS)
    def test_gradients_of_one_operand_alone(self, kind: str) -> None:
        module, x = layer_of(kind)
        _, for_x, for_weight, *_ = gradients(module, x)
        upstream = torch.linspace(-1, 1, module(x).numel()).view(module(x).shape)
        (alone,) = torch.autograd.grad(module(x), module.weight, upstream)
        assert torch.equal(alone, for_weight)
        module.weight.requires_grad_(False)
        leaf = x.requires_grad_()
        assert torch.equal(torch.autograd.grad(module(leaf), leaf, upstream)[0], for_x)
        assert module.weight.grad is None

    def test_sparse_tensors_are_not_served(self) -> None:
        assert not native.serves(torch.eye(3).to_sparse())
        assert not native.serves(torch.eye(3).as_subclass(Marked))
        assert not native.serves(torch.eye(3, device="meta"))
        assert not native.serves(torch.eye(3, dtype=torch.float64))
        assert native.serves(torch.eye(3)) == bool(ISAS)

    @pytest.mark.parametrize("kind", KINDS)
    def test_inputs_and_gradients_are_left_alone(self, kind: str) -> None:
        module, x = layer_of(kind)
        x.requires_grad_()
        y = module(x)
        upstream = torch.randn_like(y)
        before = [t.detach().clone() for t in (x, module.weight, upstream)]
        torch.autograd.grad(y, [x, module.weight], upstream)
        assert all(torch.equal(a, b) for a, b in zip((x, module.weight, upstream), before, strict=True))

    def test_too_small_an_input_names_the_layer(self) -> None:
        module = nn.Sequential(nn.Conv2d(2, 2, 5, dilation=2))
        bibench.binarize(module, "bnn", example_inputs=torch.randn(1, 2, 12, 12), keep=())
        with pytest.raises((ValueError, RuntimeError), match=r"smaller than the filter|greater than actual input size"):
            module(torch.randn(1, 2, 8, 12))

    def test_empty_batches_train(self) -> None:
        for kind in KINDS:
            module, x = layer_of(kind)
            ours, pure = both(gradients, module, x[:0])
            assert same(ours, pure)
            assert not ours[2].any()
