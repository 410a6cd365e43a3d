"""What the audit calls 1-bit is what runs where no hook looks on: fused paths, tied weights, forwards of instances."""

import copy
import functools
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import bibench
from bibench.foundation.errors import ConversionError, ProofError
from bibench.nn import fast_paths
from bibench.nn.attention import Attention
from bibench.nn.embedding import BinarizableEmbedding, BinaryEmbedding
from bibench.nn.layers import BinaryLinear, binary_layers
from bibench.nn.proving import prove, proved_at_first_call, require_proof

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.bool)


def encoder(**options: object) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2)


def reasons(model: nn.Module, inputs: object, **options: object) -> dict[str, str]:
    """Why layers were kept, of those that were."""
    audit = bibench.binarize(model, "bnn", example_inputs=inputs, keep=(), **options)
    return {row.name: row.reason for row in audit.layers if row.weight_bits == 32}


def follows_signs_alone(model: nn.Module, *inputs: Tensor, **named: Tensor) -> bool:
    """Whether the magnitude of 1-bit weights is read by nobody (of an operator without scales), without gradients."""
    model.eval()
    with torch.no_grad():
        before = model(*inputs, **named)
        for _, layer in binary_layers(model):
            layer.weight.mul_(3)
        return torch.equal(before, model(*inputs, **named))


class Reading(nn.Module):
    """Calls two layers, and takes the weight of one of them otherwise."""

    def __init__(self, read: Callable[["Reading", Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 8), nn.Linear(8, 8)
        self.read, self.taken = read, self.outer.forward

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(self.read(self, x)))


READERS = {
    "linear": lambda m, x: F.linear(x, m.outer.weight),
    "transposed": lambda m, x: x @ m.outer.weight.t(),
    "data": lambda m, x: x @ m.outer.weight.data,
    "part": lambda m, x: x @ m.outer.weight[:, 2:].detach() @ torch.ones(6, 8),
    "einsum": lambda m, x: torch.einsum("bi,oi->bo", x, m.outer.weight),
    "harmless": lambda m, x: x + 0 * m.outer.weight.sum(),
    "copy": lambda m, x: x @ m.outer.weight.double().float(),
    "own forward, taken before": lambda m, x: m.taken(x),
}


class TestReaders:
    @pytest.mark.parametrize("name", READERS)
    def test_a_layer_that_is_called_and_read_is_kept(self, name: str) -> None:
        model = Reading(READERS[name])
        kept = reasons(model, X)
        assert list(kept) == ["outer"]
        assert kept["outer"].startswith("its weight is read by ")
        assert type(model.outer) is nn.Linear
        assert type(model.inner) is BinaryLinear
        assert follows_signs_alone(model, X)

    def test_the_reader_is_named(self) -> None:
        assert reasons(nn.Sequential(Reading(READERS["linear"])), X)["0.outer"] == (
            "its weight is read by '0' (Reading): aten.mm.default"
        )

    def test_shape_and_dtype_are_no_reading(self) -> None:
        def look(model: Reading, x: Tensor) -> Tensor:
            w = model.outer.weight
            return x.to(w.dtype) + torch.zeros_like(w)[0] + w.new_zeros(w.shape[1])

        assert reasons(Reading(look), X) == {}

    def test_tied_decoder(self) -> None:
        class Tied(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed, self.middle = nn.Embedding(10, 8), nn.Linear(8, 8)
                self.decode = nn.Linear(8, 10, bias=False)
                self.decode.weight = self.embed.weight

            def forward(self, ids: Tensor) -> Tensor:
                return self.decode(self.middle(self.embed(ids)))

        kept = reasons(Tied(), torch.arange(4))
        assert kept["decode"] == "its weight is read by 'embed' (Embedding): aten.embedding.default"
        assert "middle" not in kept

    def test_embedding_whose_rows_decode(self) -> None:
        class Tied(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed, self.middle = BinarizableEmbedding(10, 8), nn.Linear(8, 8)

            def forward(self, ids: Tensor) -> Tensor:
                return F.linear(self.middle(self.embed(ids)), self.embed.weight)

        model = Tied()
        assert reasons(model, torch.arange(4))["embed"].startswith("its weight is read by the model itself (Tied)")
        assert type(model.embed) is BinarizableEmbedding

    def test_layers_that_share_a_weight_are_both_1_bit(self) -> None:
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        model[1].weight = model[0].weight
        assert reasons(model, X) == {}

    def test_weights_that_lie_in_one_storage_are_told_apart(self) -> None:
        model = Reading(READERS["linear"])
        weights = [model.inner.weight, model.outer.weight]
        nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(weights).detach(), weights)
        assert list(reasons(model, X)) == ["outer"]

    def test_traced_part(self) -> None:
        model = Reading(lambda m, x: m.part(x))
        model.part = torch.jit.trace(model.outer, X)
        assert list(reasons(model, X)) == ["outer"]

    def test_on_the_meta_device(self) -> None:
        assert list(reasons(Reading(READERS["transposed"]).to("meta"), X.to("meta"))) == ["outer"]

    def test_model_that_is_traced_on_the_meta_device(self) -> None:
        model = Reading(READERS["transposed"])
        model.outlined_on_meta = True
        assert list(reasons(model, (X,))) == ["outer"]
        assert not any(p.is_meta for p in model.parameters())


class TestEncodersOfPyTorch:
    @pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"activation": "gelu"}], ids=str)
    @pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
    def test_run_as_audited(self, options: dict[str, object], mask: Tensor | None) -> None:
        model = encoder(**options)
        full = copy.deepcopy(model).eval()
        named = {} if mask is None else {"src_key_padding_mask": mask}
        audit = bibench.binarize(model, "bnn", example_inputs={"src": TOKENS, **named}, keep=())
        assert [row.name for row in audit.binarized] == [f"layers.{i}.linear{k}" for i in (0, 1) for k in (1, 2)]
        model.eval()
        with torch.no_grad():
            quick = model(TOKENS, **named)
            assert (quick - full(TOKENS, **named)).abs().max() > 1e-2
        assert torch.allclose(quick, model(TOKENS, **named), atol=1e-6)  # with gradients: what training computes
        assert follows_signs_alone(model, TOKENS, **named)

    def test_also_copied_and_pickled(self) -> None:
        model = encoder()
        bibench.binarize(model, "bnn", example_inputs=TOKENS, keep=())
        assert follows_signs_alone(copy.deepcopy(model), TOKENS)
        assert follows_signs_alone(pickle.loads(pickle.dumps(model)), TOKENS)

    def test_those_without_1_bit_layers_keep_their_fused_path(self) -> None:
        model = nn.Sequential(encoder(), nn.Linear(8, 8))
        bibench.binarize(model, "bnn", example_inputs=TOKENS, keep=("0.*",))
        assert model[0].use_nested_tensor
        assert model[0].layers[0].activation_relu_or_gelu == 1

    def test_masked_float_models_are_audited_and_unchanged(self) -> None:
        model = encoder()
        before = dict(vars(model)), dict(vars(model.layers[0]))
        inputs = {"src": TOKENS, "src_key_padding_mask": MASK}
        assert all(row.macs for row in bibench.audit(model, inputs).rows if row.name.endswith("linear1"))
        assert (dict(vars(model)), dict(vars(model.layers[0]))) == before

    def test_the_proof_finds_a_fused_path(self) -> None:
        """It is switched off by hooks, gradients, tensor subclasses and function modes."""
        model = encoder()
        bibench.binarize(model, "bnn", example_inputs=TOKENS, keep=())
        model.layers[1].activation_relu_or_gelu = 1
        failed = prove(model, lambda: model(TOKENS)).failed
        assert set(failed) == {model.layers[1].linear1, model.layers[1].linear2}
        assert "'layers.1' (TransformerEncoderLayer)" in failed[model.layers[1].linear1]

    def test_without_the_switch_its_layers_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fast_paths, "SWITCHES", {})
        model = nn.Sequential(nn.Linear(8, 8), encoder())
        kept = reasons(model, TOKENS)
        assert "aten._transformer_encoder_layer_fwd" in kept["1.layers.0.linear1"]
        assert type(model[1].layers[0].linear1) is nn.Linear


class TestForwardsOfInstances:
    def test_are_kept(self) -> None:
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        model[0].forward = functools.partial(nn.Linear.forward, model[0])
        assert reasons(model, X)["0"].startswith("its instance has a forward of its own")

    def test_of_convolutions(self) -> None:
        model = nn.Sequential(nn.Conv1d(8, 8, 1), nn.Conv1d(8, 8, 1))
        model[0]._conv_forward = lambda x, w, b: F.conv1d(x, w, b)
        assert reasons(model, X[..., None])["0"].startswith("its instance has a _conv_forward of its own")

    def test_of_attention(self) -> None:
        class Attends(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.line, self.attention = nn.Linear(8, 8), Attention()
                self.attention.forward = lambda q, k, v: v

            def forward(self, x: Tensor) -> Tensor:
                q = self.line(x)
                return self.attention(q, q, q)

        assert reasons(Attends(), TOKENS)["attention"].startswith("its instance has a forward of its own")

    def test_the_method_of_the_class_is_none_of_its_own(self) -> None:
        """As hooks leave it that wrap a forward and put it back."""
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        model[0].forward = model[0].forward
        assert reasons(model, X) == {}
        assert follows_signs_alone(model, X)

    def test_calls_of_a_class_are_kept(self) -> None:
        class Doubled(nn.Linear):
            def __call__(self, x: Tensor) -> Tensor:
                return 2 * super().__call__(x)

        assert reasons(nn.Sequential(Doubled(8, 8), nn.Linear(8, 8)), X)["0"] == "Doubled computes its own __call__"

    def test_wrapped_after_the_conversion(self) -> None:
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        bibench.binarize(model, "bnn", example_inputs=X, keep=())
        forward, layer = model[0].forward, model[1]
        model[0].forward = lambda x: forward(x)
        assert prove(model, lambda: model(X)).failed == {}
        layer.forward = lambda x: x
        assert prove(model, lambda: model(X)).failed == {
            layer: "its instance has a forward of its own: 1 of 1 calls compute something else"
        }
        del layer.forward
        layer.forward = lambda x: BinaryLinear.forward(layer, x) + F.linear(x, layer.weight)
        assert prove(model, lambda: model(X)).failed[layer].startswith("its weight is read by")


class Routed(nn.Module):
    """Values decide which expert is called, and chance how often."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 2)
        self.experts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(torch.randint(1, 4, ()))):
            x = self.experts[int(self.gate(x).mean(0).argmax())](x)
        return x


class TestWhatPasses:
    @pytest.mark.parametrize("seed", range(6))
    def test_models_of_chance_and_experts(self, seed: int) -> None:
        torch.manual_seed(seed)
        kept = reasons(Routed(), X)
        assert set(kept.values()) <= {"not called in the example forward"}

    def test_checkpoints(self) -> None:
        class Saving(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

            def forward(self, x: Tensor) -> Tensor:
                return checkpoint(self.b, checkpoint(self.a, x, use_reentrant=False), use_reentrant=True)

        assert reasons(Saving(), X) == {}

    @pytest.mark.slow
    def test_compiled_parts(self) -> None:
        inner = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
        model = nn.Sequential(torch.compile(inner, backend="eager"), nn.Linear(8, 8)).eval()
        model(X)  # compiled as it was before
        assert reasons(model, X) == {}
        with torch.no_grad():
            assert torch.equal(model(X), model[1](inner(X)))

    def test_higher_order_operations(self) -> None:
        class Branching(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

            def forward(self, x: Tensor) -> Tensor:
                x = self.a(x)
                return self.b(torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)))

        assert reasons(Branching(), X) == {}

    def test_hooks_of_a_layer_may_read_its_weight(self) -> None:
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        model[0].register_forward_pre_hook(lambda layer, inputs: print(end=str(layer.weight.sum())[:0]))
        assert reasons(model, X) == {}


class TestNothingIsLeft:
    def test_modules_and_random_numbers_are_as_without_the_proof(self) -> None:
        model = nn.Sequential(BinarizableEmbedding(10, 8), nn.Dropout(), nn.Linear(8, 8), nn.Linear(8, 8))
        bibench.binarize(model, "bnn", example_inputs=torch.arange(4), keep=())
        model.train()
        state, before = torch.get_rng_state(), {m: dict(vars(m)) for m in model.modules()}
        assert prove(model, lambda: model(torch.arange(4))).failed == {}
        assert torch.equal(torch.get_rng_state(), state)
        assert {m: dict(vars(m)) for m in model.modules()} == before
        assert [type(m) for m in model] == [BinaryEmbedding, nn.Dropout, BinaryLinear, BinaryLinear]

    def test_a_model_that_fails_with_binarized_layers_stays_as_it_was(self) -> None:
        class Doubling(nn.Linear):
            def twice(self, x: Tensor) -> Tensor:
                return 2 * self(x)

        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.line, self.encoder = Doubling(8, 8), encoder()

            def forward(self, x: Tensor) -> Tensor:
                return self.encoder(self.line.twice(x))

        model = Model()
        before = {m: (type(m), dict(vars(m)), dict(m._modules)) for m in model.modules()}
        with pytest.raises(ConversionError, match=r"fails with binarized layers: AttributeError.*'twice'"):
            bibench.binarize(model, "bnn", example_inputs=TOKENS, keep=())
        assert {m: (type(m), dict(vars(m)), dict(m._modules)) for m in model.modules()} == before

    def test_nothing_left_to_convert(self) -> None:
        model = Reading(READERS["linear"])
        with pytest.raises(ConversionError, match=r"outer: its weight is read by the model itself \(Reading\)"):
            bibench.binarize(model, "bnn", example_inputs=X, keep=("inner",))
        assert type(model.outer) is nn.Linear

    def test_an_operator_that_waits_for_the_progress_is_not_proved(self) -> None:
        class Waits(bibench.Operator):
            name = "waits"

            def progress(self, t: float, dt: float) -> None:
                self.factor = 1 + t

            def output(self, y: Tensor, x: Tensor) -> Tensor:
                return y * self.factor

        audit = bibench.binarize(nn.Sequential(nn.Linear(8, 8)), Waits, example_inputs=X, keep=())
        assert "AttributeError" in audit.unproved
        assert "not proved to run as listed" in str(audit)

    @pytest.mark.slow
    def test_the_compiler_is_not_imported(self) -> None:
        code = (
            "import sys, torch, bibench\n"
            "model = torch.nn.Sequential(torch.nn.Linear(8, 8))\n"
            "bibench.binarize(model, 'bnn', example_inputs=torch.randn(2, 8), keep=())\n"
            "print('torch._dynamo' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class Chain(nn.Sequential):
    """Two layers behind whatever `take` makes of the arguments."""

    def __init__(self, take: Callable[..., Tensor]) -> None:
        super().__init__(nn.Linear(8, 8), nn.Linear(8, 8))
        self.take = take

    def forward(self, *args: object, **named: object) -> Tensor:
        return super().forward(self.take(*args, **named))


TAKING: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], object]]] = {
    "pops a key": (lambda batch: batch.pop("x"), lambda x: ({"x": x, "names": ["a"]},)),
    "pops an item": (lambda items: items.pop(0), lambda x: ([x, x],)),
    "empties what holds no tensor": (lambda x, seen: x[: len(seen.pop())], lambda x: (x, [[1]])),
    "writes": (lambda x: x.sub_(0.5), lambda x: x),
    "writes, nested": (lambda *, batch: batch["x"].sub_(0.5), lambda x: {"batch": {"x": x}}),
}


class TestInputsAreCopied:
    """Every forward sees the example inputs as they were given, and so does the user."""

    @pytest.mark.parametrize("name", TAKING)
    @pytest.mark.parametrize("examples", [1, 4])
    def test_of_a_forward_that_changes_them(self, name: str, examples: int) -> None:
        take, given = TAKING[name]
        x = X[:examples].clone()
        inputs = given(x)
        audit = bibench.binarize(Chain(take), "bnn", example_inputs=inputs, keep=())
        assert (len(audit.binarized), audit.unproved) == (2, "")
        assert torch.equal(x, X[:examples])
        assert str(inputs) == str(given(x))

    def test_before_an_evaluation(self) -> None:
        model = Chain(lambda x: x.sub_(0.5))
        bibench.binarize(model, "bnn", example_inputs=X, keep=())
        expected, x = model.eval()(X.clone()), X.clone()
        with proved_at_first_call(model):
            assert torch.equal(model(x), expected)
        assert torch.equal(x, X - 0.5)

    def test_one_tensor_stays_one(self) -> None:
        model = Chain(lambda q, k: q if q is k else None)
        assert len(bibench.binarize(model, "bnn", example_inputs=(X, X), keep=()).binarized) == 2

    def test_gradients_of_inputs(self) -> None:
        @torch.enable_grad()
        def force(x: Tensor) -> Tensor:
            (slope,) = torch.autograd.grad((x * x).sum(), x)
            return slope.detach()

        x = X.clone().requires_grad_()
        assert len(bibench.binarize(Chain(force), "bnn", example_inputs=x, keep=()).binarized) == 2


class TestUnusualForwards:
    def test_gradients_of_the_output(self) -> None:
        """Interatomic forces: the backward reads weights for the layers that the forward entered."""

        class Force(nn.Sequential):
            @torch.enable_grad()
            def forward(self, x: Tensor) -> Tensor:
                x = x.detach().requires_grad_()
                return torch.autograd.grad(super().forward(x).sum(), x)[0]

        assert reasons(Force(nn.Linear(8, 8), nn.Linear(8, 1)), X) == {}

    def test_gradients_of_the_output_and_a_reader(self) -> None:
        def force(model: Reading, x: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                return torch.autograd.grad(F.linear(x, model.outer.weight).sum(), x)[0]

        assert list(reasons(Reading(force), X)) == ["outer"]

    def test_mapped_by_vmap(self) -> None:
        class Mapped(Chain):
            def forward(self, x: Tensor) -> Tensor:
                return torch.vmap(self[1])(self[0](x))

        audit = bibench.binarize(Mapped(lambda x: x), "bnn", example_inputs=X, keep=("1",))
        assert len(audit.binarized) == 1

    def test_threads_are_told(self) -> None:
        def threaded(model: Reading, x: Tensor) -> Tensor:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(lambda: model.inner(x) + F.linear(x, model.inner.weight)).result()

        audit = bibench.binarize(Reading(threaded), "bnn", example_inputs=X, keep=())
        assert "in other threads" in audit.unproved
        assert "layers in other threads" in audit.summary()

    def test_adapters_that_merge_in_evaluation_mode(self) -> None:
        class Merging(nn.Linear):
            merged = False

            def train(self, mode: bool = True) -> "Merging":
                if self.merged == mode:
                    self.weight.data.add_(-1 if mode else 1)
                    self.merged = not mode
                return super().train(mode)

        model = nn.Sequential(Merging(8, 8), nn.Linear(8, 8), Merging(8, 8), nn.Linear(8, 8)).train()
        model[2].eval()
        before = [model[i].weight.detach().clone() for i in (0, 2)]
        bibench.binarize(model, "bnn", example_inputs=X, keep=("0", "2"))
        assert (model[0].training, model[0].merged) == (True, False)
        assert (model[2].training, model[2].merged) == (False, True)
        for i, weight in zip((0, 2), before, strict=True):
            torch.testing.assert_close(model[i].weight, nn.Parameter(weight))


class TestLater:
    """What is asked of a model that was converted before."""

    def test_the_first_call_proves(self) -> None:
        model = Reading(lambda m, x: F.linear(x, m.outer.weight) if len(x) > 4 else x)
        bibench.binarize(model, "bnn", example_inputs=X, keep=())
        with proved_at_first_call(model):
            model(X)
            model(torch.cat([X, X]))  # once is enough: what follows costs nothing
        told = pytest.raises(ProofError, match=r"1 of 2 1-bit layers.*'outer': its weight is read by")
        with told, proved_at_first_call(model):
            model(torch.cat([X, X]))
        assert not model._forward_pre_hooks

    @pytest.mark.parametrize("autocast", [False, True])
    @pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
    def test_as_an_evaluation_runs(self, mode: type, autocast: bool) -> None:
        def look(model: Reading, x: Tensor) -> Tensor:
            return x.type_as(model.outer.weight) if len(x) == 4 else F.linear(x, model.outer.weight)

        model = Reading(look)
        bibench.binarize(model, "bnn", example_inputs=X, keep=())
        with mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            require_proof(model, lambda: model(X))
            for _ in range(2):  # autocast remembers weights that it has cast
                with pytest.raises(ProofError):
                    require_proof(model, lambda: model(torch.cat([X, X])))

    def test_full_precision_needs_no_forward(self) -> None:
        assert prove(nn.Linear(2, 2), lambda: pytest.fail("called")).failed == {}
