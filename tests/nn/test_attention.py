"""Softmax attention and bi-attention: formulas against float64, gradients, masks, conversion, audit."""

import math

import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.foundation.errors import BiBenchError, ConversionError
from bibench.nn.attention import Attention, BinaryAttention, binary_context, binary_scores, booleanize
from bibench.nn.embedding import BinarizableEmbedding, BinaryEmbedding
from bibench.operators import known_operators

HEADS, QUERIES, KEYS, WIDTH = 2, 5, 7, 6


def inputs(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    q = torch.randn(3, HEADS, QUERIES, WIDTH, generator=random, dtype=torch.float64)
    k, v = (torch.randn(3, HEADS, KEYS, WIDTH, generator=random, dtype=torch.float64) for _ in "kv")
    mask = torch.rand(3, 1, 1, KEYS, generator=random) < 0.7
    mask[..., 0] = True
    return q.to(dtype), k.to(dtype), v.to(dtype), mask


def binary(*, dropout: float = 0.0, strict: bool = False) -> BinaryAttention:
    module = Attention(dropout, strict=strict)
    BinaryAttention.convert_(module)
    return module


def reference(q, k, v, mask, upstream, strict=False):
    """Output and gradients of bi-attention in plain loops over float64 numbers, from the formulas alone."""

    def sign(x):
        return 1.0 if x >= 0 else -1.0

    out = torch.zeros_like(q)
    gq, gk, gv = (torch.zeros_like(x) for x in (q, k, v))
    batch, heads, queries, width = q.shape
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                for j in range(k.shape[2]):
                    a = sum(sign(q[b, h, i, c]) * sign(k[b, h, j, c]) for c in range(width)) / math.sqrt(width)
                    attends = (a > 0 if strict else a >= 0) and bool(mask[b, 0, 0, j])
                    g_p = 0.0
                    for c in range(width):
                        g = upstream[b, h, i, c]
                        g_p += g * sign(v[b, h, j, c])
                        if attends:
                            out[b, h, i, c] += sign(v[b, h, j, c])
                            gv[b, h, j, c] += g * (abs(v[b, h, j, c]) <= 1)
                    if not mask[b, 0, 0, j] or abs(a) > 1:
                        continue
                    for c in range(width):
                        gq[b, h, i, c] += g_p / math.sqrt(width) * sign(k[b, h, j, c]) * (abs(q[b, h, i, c]) <= 1)
                        gk[b, h, j, c] += g_p / math.sqrt(width) * sign(q[b, h, i, c]) * (abs(k[b, h, j, c]) <= 1)
    return out, gq, gk, gv


@pytest.mark.parametrize("strict", [False, True])
def test_bi_attention_and_its_gradients_equal_the_formulas(strict: bool) -> None:
    q, k, v, mask = inputs()
    upstream = torch.randn(q.shape, dtype=torch.float64)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = binary(strict=strict)(*leaves, mask)
    out.backward(upstream)
    expected = reference(q, k, v, mask, upstream, strict)
    for got, want in zip((out, *(x.grad for x in leaves)), expected, strict=True):
        torch.testing.assert_close(got.detach(), want, rtol=0, atol=1e-12)
    assert all(x.grad.abs().sum() > 0 for x in leaves)


def test_ties_are_attended_unless_strict() -> None:
    q = torch.tensor([[[[1.0, 1.0]]]])
    k = torch.tensor([[[[1.0, -1.0], [1.0, 1.0]]]])  # scores 0 and 2
    v = torch.tensor([[[[1.0, 1.0], [1.0, 1.0]]]])
    assert binary()(q, k, v).tolist() == [[[[2.0, 2.0]]]]
    assert binary(strict=True)(q, k, v).tolist() == [[[[1.0, 1.0]]]]


def test_attention_is_zero_or_one_and_masked_positions_stay_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    from bibench.nn import attention as module

    seen = []
    monkeypatch.setattr(module, "binary_context", lambda p, v: seen.append(p) or binary_context(p, v))
    q, k, v, mask = inputs()
    binary(dropout=0.5).train()(q, k, v, mask)
    (p,) = seen
    assert set(p.unique().tolist()) == {0.0, 1.0}
    assert not p.masked_select(~mask.expand_as(p)).any()


def test_products_are_exact_integers_in_low_precision() -> None:
    q, k, v = (torch.ones(1, 1, 3, 2049, dtype=torch.bfloat16) for _ in "qkv")
    assert binary_scores(q, k).unique().tolist() == [2049.0]  # bfloat16 has no 2049
    p = torch.ones(1, 1, 1, 513, dtype=torch.bfloat16)
    assert binary_context(p, torch.ones(1, 1, 513, 4, dtype=torch.bfloat16)).unique().tolist() == [513.0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert binary_scores(q.float(), k.float()).unique().tolist() == [2049.0]
        assert binary()(q.float(), k.float(), v.float()).dtype == torch.float32


def test_booleanize_passes_the_gradient_inside_the_window() -> None:
    x = torch.tensor([-1.5, -1.0, -0.0, 0.0, 1.0, 1.5], requires_grad=True)
    y = booleanize(x)
    y.sum().backward()
    assert y.tolist() == [0, 0, 1, 1, 1, 1]
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


def test_full_precision_is_softmax_attention() -> None:
    q, k, v, mask = inputs()
    scores = (q @ k.mT / math.sqrt(WIDTH)).masked_fill(~mask, -torch.inf)
    torch.testing.assert_close(Attention(0.5).eval()(q, k, v, mask), scores.softmax(-1) @ v)


# -- conversion ------------------------------------------------------------------------------------


class Small(nn.Module):
    """Embedding, projections, attention, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.words = BinarizableEmbedding(11, 8)
        self.plain = nn.Embedding(4, 8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.attention = Attention()
        self.classifier = nn.Linear(8, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.plain(ids % 4)
        x = self.attention(self.query(x), self.key(x), self.value(x))
        return self.classifier(x.mean(1))


IDS = torch.arange(10).reshape(2, 5)


def rows(audit: bibench.Audit) -> dict[str, bibench.AuditRow]:
    return {row.name: row for row in audit.rows}


@pytest.mark.parametrize("operator", [name for name in known_operators() if name != "fp32"])
def test_every_operator_shares_the_fixed_forms(operator: str) -> None:
    model = Small()
    audit = rows(bibench.binarize(model, operator, example_inputs=IDS))
    assert type(model.attention) is BinaryAttention
    assert type(model.words) is BinaryEmbedding
    found = audit["attention"]
    assert (found.kind, found.precision, found.operator, found.parameters) == ("attention", "W1A1", "bi-attention", 0)
    assert found.macs == 2 * 5 * 5 * 8
    assert (audit["words"].precision, audit["words"].operator, audit["words"].parameters) == ("W1A32", "1-bit rows", 88)
    assert audit["plain"].reason == "first layer"
    assert audit["classifier"].reason == "last layer"
    model(IDS).sum().backward()
    for name in ("query", "key", "value"):
        assert model.get_submodule(name).weight.grad.abs().sum() > 0, name
    assert rows(bibench.audit(model))["attention"].macs == 2 * 5 * 5 * 8  # known without another forward


class WithoutBatch(nn.Module):
    """Attention of one sequence, without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.attention = Attention()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(self.attention(self.inner(x), x, x))


def test_without_a_batch_axis_each_query_is_an_example() -> None:
    audit = rows(bibench.binarize(WithoutBatch(), "bnn", example_inputs=torch.randn(5, 8)))
    assert audit["attention"].macs == 2 * 5 * 8


def test_full_precision_keeps_softmax_bit_for_bit() -> None:
    model = Small().eval()
    before = model(IDS)
    audit = rows(bibench.binarize(model, "fp32", example_inputs=IDS))
    assert torch.equal(model(IDS), before)
    assert audit["attention"].reason == audit["words"].reason == "operator fp32"
    assert audit["attention"].precision == "W32A32"
    assert audit["attention"].macs == 2 * 5 * 5 * 8


def test_keep_and_choice_per_layer_reach_the_fixed_forms() -> None:
    model = Small()
    audit = rows(bibench.binarize(model, "bnn", example_inputs=IDS, keep=["attention", "words", "classifier"]))
    assert type(model.attention) is Attention
    assert audit["attention"].reason == "chosen by keep (attention)"
    model = Small()
    audit = rows(bibench.binarize(model, {"attention": None, "*": "bnn"}, example_inputs=IDS))
    assert audit["attention"].reason == "no operator chosen for it"
    model = Small()
    bibench.binarize(model, {"attention": "bnn", "*": None}, example_inputs=IDS)
    assert type(model.attention) is BinaryAttention
    assert type(model.query) is nn.Linear


def test_a_model_whose_attention_is_binarized_is_refused() -> None:
    model = Small()
    bibench.binarize(model, {"attention": "bnn", "*": None}, example_inputs=IDS)
    with pytest.raises(ConversionError, match=r"already binarized .layer 'attention' has operator 'bi-attention'"):
        bibench.binarize(model, "bnn", example_inputs=IDS)
    with pytest.raises(BiBenchError, match="matches no weight layer"):
        bibench.binarize(Small(), "bnn", example_inputs=IDS, keep=["attnetion"])


# -- embedding -------------------------------------------------------------------------------------


def test_embedding_rows_and_their_gradient_equal_the_formulas() -> None:
    module = BinarizableEmbedding(5, 6, dtype=torch.float64)
    with torch.no_grad():
        module.weight.mul_(1.5)
    w = module.weight.detach().clone()
    BinaryEmbedding.convert_(module)
    ids = torch.tensor([[1, 3, 3]])
    out = module(ids)
    upstream = torch.randn_like(out)
    out.backward(upstream)
    expected, gradient = torch.zeros_like(out), torch.zeros_like(w)
    for place, row in enumerate(ids[0].tolist()):
        centred = w[row] - w[row].mean()
        expected[0, place] = w[row].abs().mean() * torch.where(centred >= 0, 1.0, -1.0)
        passed = upstream[0, place] * (centred.abs() <= 1)
        gradient[row] += passed - passed.mean()  # through the centring
    torch.testing.assert_close(out.detach(), expected)
    torch.testing.assert_close(module.weight.grad, gradient)
