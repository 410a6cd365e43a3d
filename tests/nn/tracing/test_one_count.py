"""Audit and complexity have one count of multiply-accumulates, which is that of the operations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bibench
from bibench.complexity import complexity
from bibench.nn.auditing import BETWEEN
from bibench.nn.calls import trace

from .models import CASES, Conv1D, Does, X, scripted


def total(audit: bibench.Audit) -> int:
    return sum(audit.macs_by_bits().values())


def macs(model: nn.Module, x: Any) -> dict[str, int | None]:
    return {row.name: row.macs for row in bibench.audit(model, x).rows}


@pytest.mark.parametrize("name", CASES)
def test_counts_by_hand(name: str) -> None:
    make, expected = CASES[name]
    model, x = make()
    audit = bibench.audit(model.eval(), x)
    assert total(audit) == expected == complexity(model, x).macs
    assert audit.uncounted == [] and audit.unreached == []


@pytest.mark.parametrize("name", ["multihead_attention", "encoder_with_padding"])
def test_the_fast_path_is_as_it_was(name: str) -> None:
    make, expected = CASES[name]
    model, x = make()
    for enabled in (False, True):
        torch.backends.mha.set_fastpath_enabled(enabled)
        assert total(bibench.audit(model.eval(), x)) == expected
        assert torch.backends.mha.get_fastpath_enabled() is enabled


def transformer(name: str) -> tuple[nn.Module, Any]:
    import transformers

    ids = torch.ones(2, 7, dtype=torch.int64)
    sizes = {"vocab_size": 50}
    if name == "bert":
        config = transformers.BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, **sizes
        )
        inputs = transformers.BatchEncoding({"input_ids": ids, "attention_mask": ids})
        return transformers.BertModel(config, add_pooling_layer=False), inputs
    if name == "gpt2":
        config = transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0, **sizes
        )
        return transformers.GPT2Model(config), ids
    config = transformers.T5Config(
        d_model=32, d_ff=64, num_layers=2, num_heads=2, d_kv=16, decoder_start_token_id=0, **sizes
    )
    return transformers.T5Model(config), {"input_ids": ids, "decoder_input_ids": ids[:, :5]}


T, D, FF = 7, 32, 64
BERT = 2 * (T * (4 * D * D + 2 * D * FF) + 2 * T * T * D)
GPT2 = 2 * (T * (4 * D * D + 2 * D * 4 * D) + 2 * T * T * D)
DECODER = 5 * (4 * D * D + 2 * D * D + 2 * D * FF) + T * 2 * D * D + 2 * 5 * 5 * D + 2 * 5 * T * D
T5 = BERT + 2 * DECODER


@pytest.mark.parametrize(("name", "expected"), [("bert", BERT), ("gpt2", GPT2), ("t5", T5)])
def test_transformers(name: str, expected: int) -> None:
    model, x = transformer(name)
    audit = bibench.audit(model.eval(), x)
    assert total(audit) == expected == complexity(model, x).macs
    rows = {row.name: row for row in audit.rows}
    between = 2 * (2 * T * T * D + (2 * 5 * 5 * D + 2 * 5 * T * D if name == "t5" else 0))
    assert (rows[BETWEEN].macs, rows[BETWEEN].precision, rows[BETWEEN].parameters) == (between, "W32A32", 0)
    audit = bibench.binarize(model, "bnn", example_inputs=x, keep=()) if name != "gpt2" else audit
    assert total(audit) == expected
    if name == "bert":
        assert audit.macs_by_bits() == {(1, 1): expected - between, (32, 32): between}


@pytest.mark.slow
def test_foreign_vision_models() -> None:
    import timm
    import torchvision

    for model, side in (
        (torchvision.models.swin_v2_t(), 64),
        (timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5), 64),
    ):
        x = torch.randn(2, 3, side, side)
        found = total(bibench.audit(model, x))
        assert found == complexity(model, x).macs == total(bibench.audit(model, x[:1]))  # its tables once
        with torch.device("meta"):
            assert found == complexity(model.to("meta"), x.to("meta")).macs


def test_each_product_is_of_the_weight_that_it_uses() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.layer = nn.Embedding(9, 6), nn.Linear(6, 6)
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
            self.recurrent, self.scale = nn.GRU(6, 6, batch_first=True), nn.Parameter(torch.ones(6, 6))

        def forward(self, ids: Tensor) -> Tensor:
            x = self.recurrent(self.normed(self.layer(self.words(ids))))[0]
            x = x @ (self.scale * 2).half().float().T  # cast, scaled and transposed
            return F.linear(x, self.words.weight)  # the embedding's as a classifier

    found = macs(Net(), torch.ones(2, 5, dtype=torch.int64))
    assert found == {
        "scale": 5 * 36,
        "words": 5 * 6 * 9,
        "layer": 5 * 36,
        "normed": 5 * 36,
        "recurrent": 5 * 3 * 6 * 12,
    }


def test_a_layer_with_more_than_its_product_counts_all_of_it() -> None:
    """As low-rank adapters that subclass the layer."""

    class Adapted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(6, 6)
            self.a, self.b = nn.Parameter(torch.randn(2, 6)), nn.Linear(2, 6)

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + self.b(input @ self.a.T)

    audit = bibench.audit(nn.Sequential(Adapted()), X)
    assert {r.name: (r.macs, r.parameters) for r in audit.rows} == {
        "0": (5 * (36 + 12), 36 + 6 + 12),
        "0.b": (5 * 12, 12 + 6),
    }
    assert audit.other_parameters == 0 and total(audit) == complexity(nn.Sequential(Adapted()), X).macs


@pytest.mark.parametrize("keep", [(), None])
def test_recursive_calls_of_binarized_layers(keep: Any) -> None:
    layers = {name: nn.Conv2d(i, o, 3, padding=1) for name, i, o in (("stem", 3, 8), ("block", 8, 8), ("head", 8, 2))}

    def does(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for _ in range(3):
            x = m.block(x)
        return m.head(x) + m.head(F.avg_pool2d(m.block(x), 2)).mean()

    model, x = Does(does, **layers), torch.randn(2, 3, 8, 8)
    audit = bibench.binarize(model, "bnn", example_inputs=x, keep=keep)
    assert next(r.macs for r in audit.rows if r.name == "block") == 4 * 64 * 9 * 64
    assert next(r.macs for r in audit.rows if r.name == "head") == 2 * 8 * 9 * (64 + 16)
    again = bibench.audit(model, x)
    assert again.macs_by_bits() == audit.macs_by_bits() and total(again) == complexity(model, x).macs
    assert {name: call.count for name, call in zip(layers, trace(model, x).values(), strict=True)} == {
        "stem": 1,
        "block": 4,
        "head": 2,
    }
    unknown = bibench.audit(model)
    assert [row.macs for row in unknown.rows] == [None] * 3 and "multiply-accumulates are unknown" in str(unknown)
    assert "% of 0" not in str(unknown) and "multiply-accumulates (per example)" not in str(unknown)


class TestRows:
    def rows(self, model: nn.Module, x: Any, **how: Any) -> dict[str, bibench.AuditRow]:
        return {row.name: row for row in bibench.binarize(model, "bnn", example_inputs=x, **how).rows}

    def test_foreign_and_scripted_modules_with_their_reasons(self) -> None:
        model = nn.Sequential(
            nn.Linear(6, 6), nn.Linear(6, 6), Conv1D(6, 6), scripted(nn.Linear(6, 6)), nn.Linear(6, 2)
        )
        rows = self.rows(model, X)
        assert list(rows) == ["0", "1", "2", "3", "4"]
        assert [row.reason for row in rows.values()][:3] == ["first layer", "", "Conv1D has no binarized form"]
        assert "a scripted module" in rows["3"].reason and rows["3"].kind == "Linear"
        assert rows["4"].reason == "last layer"
        assert [row.parameters for row in rows.values()] == [42, 42, 42, 42, 14]
        assert {row.macs for row in rows.values()} == {5 * 36, 5 * 12}

    def test_single_parameters_are_no_first_layer(self) -> None:
        class Vit(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.positions, self.start = nn.Parameter(torch.randn(1, 5, 6)), nn.Parameter(torch.randn(1, 1, 6))
                self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
                self.norm, self.scale = nn.LayerNorm((5, 6)), nn.Parameter(torch.ones(6, 1, 1))

            def forward(self, x: Tensor) -> Tensor:
                return self.c(self.b(self.norm(self.a(x) + self.positions + self.start)))

        audit = bibench.binarize(Vit(), "bnn", example_inputs=X)
        rows = {row.name: row for row in audit.rows}
        assert list(rows) == ["positions", "a", "b", "c"]
        assert [row.reason for row in rows.values()] == [
            "Vit uses it itself, without a layer",
            "first layer",
            "",
            "last layer",
        ]
        assert (rows["positions"].kind, rows["positions"].macs, rows["positions"].parameters) == ("parameter", 0, 30)
        assert audit.other_parameters == 6 + 60 + 6
        assert audit.summary().startswith("1 of 3 weight layers binarized; W1: 42, ")

    def test_multihead_attention_owns_its_products(self) -> None:
        model = Does(
            lambda m, x: m.head(m.attention(x, x, x)[0]),
            attention=nn.MultiheadAttention(6, 2, batch_first=True),
            head=nn.Linear(6, 2),
        )
        rows = self.rows(model, X, keep=())
        assert rows["attention"].macs == 5 * 4 * 36 + 2 * 25 * 6
        assert (rows["attention.out_proj"].macs, rows["attention.out_proj"].parameters) == (0, 0)
        assert BETWEEN not in rows

    def test_a_matrix_in_a_buffer_is_of_its_module(self) -> None:
        class Packed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("packed", torch.randint(-8, 8, (4, 6), dtype=torch.int8))

            def forward(self, x: Tensor) -> Tensor:
                return x @ self.packed.float().T

        rows = self.rows(nn.Sequential(nn.Linear(6, 6), Packed(), nn.Linear(4, 2)), X, keep=())
        assert (rows["1"].macs, rows["1"].parameters, rows["1"].kind) == (5 * 24, 0, "Packed")

    def test_a_cache_is_no_weight(self) -> None:
        class Cached(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(6, 6)
                self.register_buffer("keys", torch.zeros(2, 5, 6))

            def forward(self, x: Tensor) -> Tensor:
                self.keys[: len(x)] = self.layer(x)
                return x @ self.keys[: len(x)].mT

        assert macs(Cached(), X) == {"layer": 5 * 36, BETWEEN: 25 * 6}

    def test_parameters_in_lists_and_of_composed_modules(self) -> None:
        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.bias_table = nn.Linear(6, 6), nn.Parameter(torch.zeros(5, 6))
                self.experts = nn.ParameterList([torch.randn(6, 6), torch.randn(6, 6)])

            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x @ self.experts[0] + self.bias_table)

        audit = bibench.audit(nn.Sequential(Block()), X)
        assert {r.name: r.macs for r in audit.rows} == {
            "0.bias_table": 0,
            "0.layer": 5 * 36,
            "0.experts.0": 5 * 36,
            "0.experts.1": None,
        }
        assert audit.left_out() == ["not in the traced forward, so not counted: 0.experts.1"]
        assert "not counted: 0.experts.1" in audit.summary()

    def test_operations_of_others_are_told(self) -> None:
        @torch.library.custom_op("bibench_test::twisted", mutates_args=())
        def twisted(x: Tensor, w: Tensor) -> Tensor:
            return x @ w

        model = Does(lambda m, x: twisted(m.layer(x), m.weight), layer=nn.Linear(6, 6), weight=torch.randn(6, 6))
        audit = bibench.audit(model, X)
        assert audit.uncounted == ["bibench_test::twisted"]
        assert "not counted, as their work is not known: calls of bibench_test::twisted" in str(audit)


def test_shares_say_what_they_are_of() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2))
    audit = bibench.binarize(model, "bnn", example_inputs=X)
    shares = "W1: 42, 42.9 % of 98 parameters; W1A1: 180, 42.9 % of 420 traced multiply-accumulates (per example)"
    assert audit.summary() == f"1 of 3 weight layers binarized; {shares}"
    assert str(audit).endswith(shares)


def test_a_forward_that_goes_on_after_an_error_is_traced() -> None:
    class Refuses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    def does(m: Any, x: Tensor) -> Tensor:
        try:
            return m.first(x)
        except RuntimeError:
            return m.second(x) @ x.mT

    model = Does(does, first=nn.Sequential(Refuses()), second=nn.Linear(6, 6))
    assert macs(model, X) == {"second": 5 * 36, BETWEEN: 25 * 6}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
